"""What people decide about letters: resolved, cancelled, taken back; and suppressions by hand."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text, update
from structlog.testing import capture_logs

from receiver.domain.commands import ExternalId
from receiver.inbound.deliveries import Policy
from receiver.outbound import deciding as decider_module
from receiver.outbound.cancellations import SENTENCES, UNDECIDED, Outcome
from receiver.outbound.deciding import Decider
from receiver.outbound.suppressing import suppress
from receiver.settings import Settings
from receiver.store import suppressions as kept
from receiver.store import writes
from receiver.store.mailings import Kind, State
from receiver.store.sets import Ledger
from receiver.store.tables import mailings, slots
from tests.posting import NOW_US, NOWHERE, Post, person, steps
from tests.simulated import SimulatedOptilyz
from tests.vendor import Vendor, running_vendor, saying
from tests.waiting import wait_until

DELETED = b'HTTP/1.1 200 Words\r\nContent-Length: 14\r\n\r\n{"deleted": 1}'


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as vendor:
        yield vendor


@pytest.fixture
def decider(post: Post) -> Iterator[Decider]:
    with closing(deciding(post)) as decider:
        yield decider


def deciding(post: Post, *, patience: float = 0.0, **of_settings: Any) -> Decider:
    """By default with no patience at all."""
    settings = post.settings.model_copy(update=of_settings)
    return Decider(post.engine, settings, patience=patience)


def intend(post: Post, number: int = 1, **how: Any) -> list[str]:
    """So many letters that wait to be sent."""
    people = (person(f"c-{each}", houseNumber=str(each + 1)) for each in range(number))
    return [each.mailing for each in post.intend(*people, **how)]


def queue(post: Post, number: int = 1, **how: Any) -> list[str]:
    """So many letters that Optilyz has."""
    ids = intend(post, number, **how)
    steps(post.asker())
    assert {post.letter(each).state for each in ids} == {"queued"}
    return ids


def cancel(post: Post, decider: Decider, mailing: str) -> Outcome | None:
    cancelled = decider.cancel(post.rows.project_id, mailing)
    return cancelled and cancelled.outcome


def resolve(post: Post, decider: Decider, mailing: str, *, printed: bool, note: str | None = None) -> Any:
    return decider.resolve(post.rows.project_id, mailing, printed=printed, note=note)


def campaign(post: Post, decider: Decider, ref: str = "winback") -> dict[Outcome, int]:
    done = decider.cancel_campaign(post.rows.project_id, ref)
    return {cancelled.outcome: number for cancelled, number in done.items()}


def statuses(post: Post) -> list[str]:
    """The words of the events that we left about letters."""
    return [told["status"] for told in post.told()]


# -- resolving ------------------------------------------------------------------------------------


def test_a_letter_of_unknown_fate_that_is_printed_counts_as_queued(post: Post, decider: Decider) -> None:
    (mailing,) = intend(post)
    post.change(state="unknown", reason="no_answer", message="It broke.", settled_us=NOW_US)

    assert resolve(post, decider, mailing, printed=True, note="seen in their portal") is State.UNKNOWN

    letter = post.letter(mailing)
    assert (letter.state, letter.reason, letter.message) == ("queued", "resolved", "seen in their portal")
    assert letter.settled_us > NOW_US
    assert letter.body is None
    (told,) = post.told()
    assert (told["status"], told["type"], told["message"]) == (
        "enqueued",
        "resolved",
        "seen in their portal",
    )


def test_a_letter_that_is_not_printed_is_sent_again_and_not_before(
    post: Post, decider: Decider, optilyz: SimulatedOptilyz
) -> None:
    (mailing,) = intend(post)
    optilyz.fail("500")
    steps(post.asker())
    assert post.states() == {"unknown: no_answer": 1}
    assert optilyz.state()["requests"] == 1

    assert resolve(post, decider, mailing, printed=False) is State.UNKNOWN

    letter = post.letter(mailing)
    assert (letter.state, letter.reason, letter.settled_us) == ("intended", None, None)
    assert post.told() == []
    steps(post.asker())
    assert post.letter(mailing).state == "queued"
    assert len(optilyz.recipients()) == 1


def test_without_a_note_the_reason_why_nobody_knew_stays(post: Post, decider: Decider) -> None:
    (mailing,) = intend(post)
    post.change(state="unknown", reason="no_answer", message="It broke.", settled_us=NOW_US)

    resolve(post, decider, mailing, printed=True)

    assert post.letter(mailing).message == "It broke."
    assert "message" not in post.told()[0]


def test_a_letter_whose_asker_is_given_up_can_be_resolved_at_once(post: Post, decider: Decider) -> None:
    (mailing,) = intend(post)
    post.change(state="asked", asked_by="gone", asked_until_us=NOW_US)

    assert resolve(post, decider, mailing, printed=False) is State.UNKNOWN
    assert post.letter(mailing).state == "intended"


@pytest.mark.parametrize("state", [each for each in State if each is not State.UNKNOWN])
def test_no_other_letter_can_be_resolved(post: Post, decider: Decider, state: State) -> None:
    (mailing,) = intend(post)
    post.change(state=state.value, asked_by="somebody", asked_until_us=2**62)
    before = post.letter(mailing)

    assert resolve(post, decider, mailing, printed=True) is state

    assert post.letter(mailing) == before
    assert post.told() == []


def test_a_letter_of_another_project_is_not_there(post: Post, decider: Decider) -> None:
    (mailing,) = intend(post)
    post.rows.begin_project()

    assert resolve(post, decider, mailing, printed=True) is None
    assert cancel(post, decider, mailing) is None
    assert post.letter(mailing).state == "intended"


# -- cancelling one letter ------------------------------------------------------------------------


def test_a_letter_that_is_not_sent_is_cancelled_without_asking_anybody(
    post: Post, decider: Decider, optilyz: SimulatedOptilyz
) -> None:
    (mailing,) = intend(post)

    assert cancel(post, decider, mailing) is Outcome.CANCELLED

    letter = post.letter(mailing)
    assert (letter.state, letter.reason, letter.body) == ("cancelled", None, None)
    assert statuses(post) == ["cancelled"]
    steps(post.asker())
    assert optilyz.state()["requests"] == 0


def test_a_queued_letter_is_taken_back_from_optilyz(
    post: Post, decider: Decider, optilyz: SimulatedOptilyz
) -> None:
    mailing, other = queue(post, 2)

    assert cancel(post, decider, mailing) is Outcome.TAKEN_BACK

    assert post.states() == {"cancelled: taken_back": 1, "queued": 1}
    assert [each["id"] for each in optilyz.recipients()] == [post.letter(other).vendor_id]
    assert statuses(post) == ["enqueued", "enqueued", "cancelled"]
    assert post.told()[-1]["type"] == "taken_back"
    assert post.events()[-1].stage == "suppressed"
    assert post.disagreements() == []


def test_what_is_cancelled_stays_so(post: Post, decider: Decider, optilyz: SimulatedOptilyz) -> None:
    (mailing,) = queue(post)
    cancel(post, decider, mailing)
    before = post.letter(mailing)

    assert cancel(post, decider, mailing) is Outcome.WAS_CANCELLED

    assert post.letter(mailing) == before
    assert statuses(post) == ["enqueued", "cancelled"]
    assert optilyz.state()["taken_back"] == 1


def test_what_optilyz_has_no_longer_stays_queued(
    post: Post, decider: Decider, optilyz: SimulatedOptilyz
) -> None:
    (mailing,) = queue(post)
    optilyz.reset()

    assert cancel(post, decider, mailing) is Outcome.TOO_LATE

    assert post.letter(mailing).state == "queued"
    assert statuses(post) == ["enqueued"]


def test_a_letter_that_is_posted_is_not_asked_for(post: Post, decider: Decider, vendor: Vendor) -> None:
    (mailing,) = queue(post)
    post.change(stage="posted")

    with closing(deciding(post, optilyz_base_url=vendor.url)) as asking_the_vendor:
        assert cancel(post, asking_the_vendor, mailing) is Outcome.TOO_LATE
    assert vendor.requests == []


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("asked", Outcome.BEING_SENT),
        ("unknown", Outcome.UNKNOWN),
        ("refused", Outcome.NOT_SENT),
        ("suppressed", Outcome.NOT_SENT),
        ("cancelled", Outcome.WAS_CANCELLED),
        ("queued", Outcome.NO_VENDOR_ID),
    ],
)
def test_what_cannot_be_cancelled_says_why_and_stays_as_it_is(
    post: Post, decider: Decider, state: str, outcome: Outcome
) -> None:
    (mailing,) = intend(post)
    post.change(state=state, asked_by="somebody", asked_until_us=2**62)
    before = post.letter(mailing)

    assert cancel(post, decider, mailing) is outcome

    assert post.letter(mailing) == before
    assert post.told() == []


def test_every_outcome_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Outcome)
    assert set(Outcome) > UNDECIDED


# -- when Optilyz cannot be asked -----------------------------------------------------------------


def refusing(post: Post, vendor: Vendor, **of_settings: Any) -> Decider:
    return deciding(post, optilyz_base_url=vendor.url, optilyz_seconds=2.0, **of_settings)


def test_a_letter_stays_queued_while_optilyz_is_out_of_reach_and_can_be_cancelled_later(
    post: Post, decider: Decider
) -> None:
    (mailing,) = queue(post)

    with closing(deciding(post, optilyz_base_url=NOWHERE)) as nowhere:
        cancelled = nowhere.cancel(post.rows.project_id, mailing)

    assert cancelled is not None
    assert cancelled.outcome is Outcome.UNREACHED
    assert cancelled.detail.startswith("Optilyz could not be reached")
    assert post.letter(mailing).state == "queued"
    # Nor does anybody else ask for a while.
    assert door(post).busy_until_us > NOW_US
    assert door(post).failures == 1
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(slots).values(busy_until_us=0))
    assert cancel(post, decider, mailing) is Outcome.TAKEN_BACK
    assert door(post).failures == 0


def door(post: Post) -> Any:
    (row,) = post.query(slots.select().where(slots.c.number == 0))
    return row


def busy_slots(post: Post) -> list[int]:
    return sorted(each.number for each in post.query(slots.select()) if each.owner is not None)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "said"),
    [
        (200, {"deleted": 1}, Outcome.TAKEN_BACK, "has dropped it"),
        (200, {"deleted": 0}, Outcome.TOO_LATE, "no longer"),
        (404, {}, Outcome.TOO_LATE, "no longer"),
        (409, {}, Outcome.TOO_LATE, "no longer"),
        (200, {}, Outcome.UNREACHED, "not whether it dropped"),
        (500, {}, Outcome.UNREACHED, "Optilyz answered 500"),
        (401, {}, Outcome.UNREACHED, "refuses the API key"),
        (429, {}, Outcome.UNREACHED, "come back later"),
    ],
)
def test_every_answer_has_an_outcome_and_gives_the_slot_back(
    post: Post, vendor: Vendor, status: int, body: object, outcome: Outcome, said: str
) -> None:
    (mailing,) = queue(post)
    vendor.answers(status, body)

    with closing(refusing(post, vendor)) as decider:
        cancelled = decider.cancel(post.rows.project_id, mailing)

    assert cancelled is not None
    assert (cancelled.outcome, said in cancelled.detail) == (outcome, True)
    assert post.letter(mailing).state == ("cancelled" if outcome is Outcome.TAKEN_BACK else "queued")
    assert len(vendor.requests) == 1
    assert vendor.requests[0].startswith(b"DELETE ")
    assert busy_slots(post) == []


def test_who_is_patient_asks_again_when_optilyz_wants_it(post: Post, vendor: Vendor) -> None:
    (mailing,) = queue(post)

    def first_busy(connection: Any) -> None:
        vendor.answers(200, {"deleted": 1})
        saying(b"HTTP/1.1 429 Words\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")(connection)

    vendor.behave = first_busy

    with closing(deciding(post, patience=30, optilyz_base_url=vendor.url)) as decider:
        assert cancel(post, decider, mailing) is Outcome.TAKEN_BACK
    assert len(vendor.requests) == 2


def test_a_slot_that_others_hold_is_waited_for_no_longer_than_patience_lasts(
    post: Post, decider: Decider, optilyz: SimulatedOptilyz
) -> None:
    (mailing,) = queue(post)
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(slots).values(owner="somebody", busy_until_us=2**62))

    assert cancel(post, decider, mailing) is Outcome.UNREACHED
    assert optilyz.state()["taken_back"] == 0
    assert busy_slots(post) == [0, 1, 2]


def test_who_waits_for_a_slot_can_be_stopped(post: Post) -> None:
    (mailing,) = queue(post)
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(slots).values(owner="somebody", busy_until_us=2**62))

    with closing(deciding(post, patience=3600)) as decider, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cancel, post, decider, mailing)
        decider.stop.set()
        assert waiting.result(30) is Outcome.UNREACHED


def test_without_a_key_only_what_is_not_sent_can_be_cancelled(post: Post) -> None:
    (queued,) = queue(post)
    (waiting,) = intend(post, campaign="spring")

    with closing(deciding(post, optilyz_api_key=None)) as decider:
        cancelled = decider.cancel(post.rows.project_id, queued)
        assert cancelled is not None
        assert cancelled.outcome is Outcome.UNREACHED
        assert "There is no key for Optilyz" in cancelled.detail
        assert cancel(post, decider, waiting) is Outcome.CANCELLED


# -- at the same time -----------------------------------------------------------------------------


def test_nothing_is_locked_while_optilyz_is_asked(post: Post, vendor: Vendor) -> None:
    (mailing,) = queue(post)
    seen: list[str] = []

    def look(connection: Any) -> None:
        # Would wait for the lock in vain if a transaction were open.
        with closing(Ledger(post.engine)) as ledger, ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            seen.append(post.letter(mailing).state)
        saying(DELETED)(connection)

    vendor.behave = look

    with closing(deciding(post, optilyz_base_url=vendor.url)) as decider:
        assert cancel(post, decider, mailing) is Outcome.TAKEN_BACK
    assert seen == ["queued"]


def test_two_who_cancel_the_same_letter_leave_one_event(post: Post, vendor: Vendor) -> None:
    (mailing,) = queue(post)

    def somebody_is_quicker(connection: Any) -> None:
        with closing(deciding(post, optilyz_concurrency=2)) as other:
            assert cancel(post, other, mailing) is Outcome.TAKEN_BACK
        saying(DELETED)(connection)

    vendor.behave = somebody_is_quicker

    with closing(deciding(post, optilyz_base_url=vendor.url, optilyz_concurrency=2)) as decider:
        assert cancel(post, decider, mailing) is Outcome.WAS_CANCELLED
    assert statuses(post) == ["enqueued", "cancelled"]
    assert busy_slots(post) == []


def test_what_optilyz_said_is_kept_although_the_database_was_away(post: Post, vendor: Vendor) -> None:
    (mailing,) = queue(post)
    away = threading.Event()

    def take_the_database_away(connection: Any) -> None:
        rename("mailings", "mailings_away")
        away.set()
        saying(DELETED)(connection)

    def rename(before: str, after: str) -> None:
        with post.engine.execution_options(writes=True).begin() as connection:
            connection.execute(text(f"ALTER TABLE {before} RENAME TO {after}"))

    vendor.behave = take_the_database_away

    with capture_logs() as logs, closing(refusing(post, vendor)) as decider, ThreadPoolExecutor(1) as pool:
        cancelling = pool.submit(cancel, post, decider, mailing)
        assert away.wait(30)
        wait_until(lambda: any(each["event"] == "answer_not_kept" for each in logs))
        rename("mailings_away", "mailings")
        assert cancelling.result(30) is Outcome.TAKEN_BACK
    assert post.letter(mailing).state == "cancelled"


# -- a campaign -----------------------------------------------------------------------------------


def test_a_whole_campaign_is_cancelled_and_adds_up(
    post: Post, decider: Decider, optilyz: SimulatedOptilyz
) -> None:
    queued = queue(post, 3)
    post.change(stage="printing")
    set_letter(post, queued[0], stage="posted")
    post.intend(*(person(f"d-{each}") for each in range(2)))
    set_letter(post, post.letters()[3].id, state="unknown", reason="no_answer")
    (other,) = intend(post, campaign="spring")

    assert campaign(post, decider) == {Outcome.CANCELLED: 1, Outcome.TAKEN_BACK: 2, Outcome.TOO_LATE: 1}

    assert post.states() == {
        "cancelled": 1,
        "cancelled: taken_back": 2,
        "queued": 1,
        "unknown: no_answer": 1,
        "intended": 1,
    }
    assert post.letter(other).state == "intended"
    assert optilyz.state()["taken_back"] == 2
    assert campaign(post, decider) == {Outcome.TOO_LATE: 1}


def set_letter(post: Post, mailing: str, **values: object) -> None:
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(mailings).where(mailings.c.id == mailing).values(**values))


def test_a_large_campaign_is_cancelled_in_parts(
    post: Post, decider: Decider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decider_module, "_LETTERS_A_TIME", 2)
    queued = queue(post, 3)
    for number in range(5):
        post.intend(person(f"d-{number}"))
    told: list[int] = []

    done = decider.cancel_campaign(post.rows.project_id, "winback", told.append)

    assert told == [2, 2, 1, 1, 1, 1]
    assert done.total() == 8
    assert {post.letter(each).reason for each in queued} == {"taken_back"}
    assert Counter(statuses(post)) == {"enqueued": 3, "cancelled": 8}


def test_after_the_first_letter_that_cannot_be_asked_for_the_rest_is_left_for_later(
    post: Post, vendor: Vendor, decider: Decider
) -> None:
    queue(post, 3)
    vendor.answers(401, {})

    with closing(refusing(post, vendor)) as denied:
        assert campaign(post, denied) == {Outcome.UNREACHED: 3}

    assert len(vendor.requests) == 1
    assert post.states() == {"queued": 3}
    assert campaign(post, decider) == {Outcome.TAKEN_BACK: 3}


def test_a_letter_that_is_being_asked_for_is_told_of(post: Post, decider: Decider) -> None:
    intend(post)
    post.change(state="asked", asked_by="somebody", asked_until_us=2**62)

    assert campaign(post, decider) == {Outcome.BEING_SENT: 1}


def test_what_waits_is_cancelled_before_optilyz_is_asked_for_anything(post: Post, vendor: Vendor) -> None:
    queue(post)
    post.intend(person("d"))
    seen: list[dict[str, int]] = []

    def look(connection: Any) -> None:
        seen.append(dict(post.states()))
        saying(DELETED)(connection)

    vendor.behave = look

    with closing(refusing(post, vendor)) as decider:
        campaign(post, decider)
    assert seen == [{"queued": 1, "cancelled": 1}]


def test_who_is_stopped_goes_on_another_time(post: Post, vendor: Vendor, decider: Decider) -> None:
    queue(post, 3)
    stopped = refusing(post, vendor)

    def stop(connection: Any) -> None:
        stopped.stop.set()
        saying(DELETED)(connection)

    vendor.behave = stop

    with closing(stopped):
        assert campaign(post, stopped) == {Outcome.TAKEN_BACK: 1}
    assert post.states() == {"cancelled: taken_back": 1, "queued": 2}
    assert campaign(post, decider) == {Outcome.TAKEN_BACK: 2}


# -- suppressions by hand -------------------------------------------------------------------------


def suppressed(post: Post, kind: Kind, note: str = "", **ids: str) -> int:
    settings: Settings = post.settings
    with post.ledger.transaction() as transaction:
        return suppress(
            transaction,
            post.rows.project_id,
            [ExternalId(*each) for each in ids.items()],
            kind,
            note,
            Policy.of(settings),
            NOW_US,
        )


def lift(post: Post, number: int) -> list[int]:
    with post.ledger.transaction() as transaction:
        writes.take_turn(transaction, 0)
        return kept.lift(transaction, post.rows.project_id, number, NOW_US)


def lift_of(post: Post, kind: Kind | None = None, **ids: str) -> list[int]:
    ((name, value),) = ids.items()
    with post.ledger.transaction() as transaction:
        writes.take_turn(transaction, 0)
        return kept.lift_of(transaction, post.rows.project_id, ExternalId(name, value), kind, NOW_US)


def test_somebody_unknown_can_object_and_gets_no_letter(post: Post) -> None:
    number = suppressed(post, Kind.OBJECTION, "called us", registered="anna")

    (row,) = post.suppressions()
    assert (row.id, row.kind, row.note, row.mailing_id, row.address_key) == (
        number,
        "objection",
        "called us",
        None,
        None,
    )
    assert post.fates(person("anna"), person("bert")) == ["suppressed: objection", "intended"]


def test_the_same_word_again_is_the_same_suppression(post: Post) -> None:
    first = suppressed(post, Kind.OBJECTION, "called us", registered="anna")

    assert suppressed(post, Kind.OBJECTION, "wrote to us", registered="anna") == first
    assert suppressed(post, Kind.BAD_ADDRESS, registered="anna") != first
    assert [row.note for row in post.suppressions()] == ["called us", ""]


def test_a_bad_address_is_that_of_the_newest_letter_until_it_changes(post: Post) -> None:
    post.intend(person("anna", city="Leipzig"), campaign="spring")
    post.intend(person("anna"))

    suppressed(post, Kind.BAD_ADDRESS, registered="anna")

    assert post.suppressions()[0].address_key == post.letters()[-1].address_key
    assert post.fates(person("anna"), once=False) == ["suppressed: bad_address"]
    assert post.fates(person("anna", city="Leipzig"), once=False) == ["intended"]


def test_a_bad_address_without_any_letter_is_any_address(post: Post) -> None:
    suppressed(post, Kind.BAD_ADDRESS, registered="anna")

    assert post.fates(person("anna"), once=False) == ["suppressed: bad_address"]
    assert post.fates(person("anna", city="Leipzig"), once=False) == ["suppressed: bad_address"]


def test_ids_of_two_customers_make_them_one_who_gets_no_letter(post: Post) -> None:
    post.intend(person("anna"), person({"cookie": "k"}))

    number = suppressed(post, Kind.BAD_ADDRESS, registered="anna", cookie="k")

    customers = {row.customer_id for row in post.letters()}
    (row,) = post.suppressions()
    assert ({row.customer_id}, row.id) == (customers, number)
    assert row.address_key is not None
    assert post.fates(person({"cookie": "k"}), once=False) == ["suppressed: bad_address"]


def test_a_lifted_suppression_stays_as_a_trace_and_holds_no_more(post: Post) -> None:
    number = suppressed(post, Kind.OBJECTION, registered="anna")

    assert lift(post, number) == [number]
    assert lift(post, number) == []

    assert [row.lifted_us for row in post.suppressions()] == [NOW_US]
    assert post.fates(person("anna")) == ["intended"]
    assert suppressed(post, Kind.OBJECTION, registered="anna") != number


def test_all_of_a_customer_or_one_kind_can_be_lifted(post: Post) -> None:
    objection = suppressed(post, Kind.OBJECTION, registered="anna")
    bad_address = suppressed(post, Kind.BAD_ADDRESS, registered="anna")
    bert = suppressed(post, Kind.OBJECTION, registered="bert")

    assert lift_of(post, Kind.BAD_ADDRESS, registered="anna") == [bad_address]
    assert lift_of(post, registered="anna") == [objection]
    assert lift_of(post, registered="nobody") == []
    post.rows.begin_project()
    assert lift_of(post, registered="bert") == []
    assert lift(post, bert) == []
