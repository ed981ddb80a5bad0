"""Optilyz is asked: what is asked together, what goes wrong, and what is never asked twice."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update
from structlog.testing import capture_logs

from receiver.domain.commands import Form
from receiver.outbound import access
from receiver.outbound.asking import Asked, Asker, Closed, Idle, Stopped, ask_until_done
from receiver.outbound.deciding import Decider
from receiver.store.mailings import Route
from receiver.store.sets import Ledger
from receiver.store.slots import Wait
from receiver.store.tables import customer_properties, mailings, slots
from tests.posting import NOW_US, Post, person, posting, steps
from tests.rows import locked
from tests.simulated import SimulatedOptilyz, simulated_optilyz
from tests.waiting import wait_until

"""For what comes for certain, on whatever machine."""

UNDELIVERABLE = {"zipCode": "00000"}


@pytest.fixture(scope="module")
def slow_optilyz() -> Iterator[SimulatedOptilyz]:
    """Takes its time, so that something can happen meanwhile."""
    with simulated_optilyz(latency=0.4) as optilyz:
        yield optilyz


@pytest.fixture
def post(database_url: str, optilyz: SimulatedOptilyz) -> Iterator[Post]:
    with posting(database_url, optilyz.url, optilyz_batch_size=4, optilyz_seconds=0.5) as post:
        yield post


def intend(post: Post, number: int, **how: Any) -> None:
    post.intend(*(person(f"c-{each}", houseNumber=str(each + 1)) for each in range(number)), **how)


def set_slot(engine: Engine, number: int, **values: object) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(slots).where(slots.c.number == number).values(**values))


def open_door(engine: Engine) -> None:
    set_slot(engine, 0, busy_until_us=0)


# -- what is asked together -----------------------------------------------------------------------


def test_letters_are_asked_for_in_full_batches_and_in_order(post: Post, optilyz: SimulatedOptilyz) -> None:
    intend(post, 10)

    assert steps(post.asker()) == [Asked(4), Asked(4), Asked(2), Idle()]

    state = optilyz.state()
    assert state["letters_per_request"] == [4, 4, 2]
    assert (state["queued"], state["duplicates"], state["breaches"]) == (10, 0, 0)
    assert post.states() == {"queued": 10}
    letters = post.letters()
    for letter, queued in zip(letters, optilyz.recipients(), strict=True):
        assert letter.vendor_id == queued["id"]
        assert json.loads(letter.ids) == {"registered": queued["address"]["individualisation1"]}
        assert (letter.body, letter.asked_by, letter.asked_until_us, letter.attempts) == (None, None, None, 1)
        assert letter.created_us < letter.asked_us <= letter.settled_us
        assert not letter.untold
    assert [(told["status"], told["mailing_id"]) for told in post.told()] == [
        ("enqueued", each.id) for each in letters
    ]
    assert {(event.stage, event.tied, event.type) for event in post.events()} == {
        ("queued", "mailing_id", "campaign")
    }
    assert not post.disagreements()
    assert steps(post.asker()) == [Idle()]


def test_the_other_endpoint_takes_one_letter_a_request(post: Post, optilyz: SimulatedOptilyz) -> None:
    intend(post, 3, route=Route.ONE, variation=2)

    assert steps(post.asker()) == [Asked(1), Asked(1), Asked(1), Idle()]
    assert optilyz.state()["letters_per_request"] == [1, 1, 1]
    assert {each["variation"] for each in optilyz.recipients()} == {2}


def test_only_letters_of_one_automation_and_endpoint_travel_together(
    post: Post, optilyz: SimulatedOptilyz
) -> None:
    one, other = "a" * 24, "b" * 24
    for automation, campaign in ((one, "spring"), (other, "spring"), (one, "summer")):
        post.intend(person("anna", city=campaign), automation=automation, campaign=campaign)
    post.intend(person("anna", city="x"), automation=one, campaign="alone", route=Route.ONE)
    post.intend(person("bert"), run_id=8)
    post.intend(person("carl"), run_id=None)

    assert steps(post.asker()) == [Asked(2), Asked(1), Asked(1), Idle()]
    assert post.states() == {"queued": 4, "intended": 2}


# -- how often ------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 2])
def test_two_who_ask_at_once_keep_to_the_number_of_requests_and_ask_for_no_letter_twice(
    database_url: str, concurrency: int
) -> None:
    with (
        simulated_optilyz(latency=0.05, max_concurrency=2) as optilyz,
        posting(database_url, optilyz.url, optilyz_batch_size=5, optilyz_concurrency=concurrency) as post,
    ):
        intend(post, 40)

        def ask() -> None:
            ledger = Ledger(post.engine)
            ask_until_done(post.asker(ledger), threading.Event(), lambda _: True)
            ledger.close()

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(ask) for _ in range(3)]:
                done.result()

        state = optilyz.state()
        assert post.states() == {"queued": 40}
        assert (state["queued"], state["requests"], state["duplicates"]) == (40, 8, 0)
        assert (state["worst_concurrency"], state["turned_away"]) == (concurrency, 0)
        assert len(post.told()) == 40
        assert not post.disagreements()


def test_requests_begin_as_far_apart_as_the_rate_says(database_url: str, optilyz: SimulatedOptilyz) -> None:
    with posting(
        database_url, optilyz.url, optilyz_batch_size=1, optilyz_per_minute=2, optilyz_concurrency=2
    ) as post:
        intend(post, 2)
        asker = post.asker()

        assert asker.step() == Asked(1)
        ((begun_us,),) = post.query(select(func.max(slots.c.begun_us)))
        assert asker.step() == Wait(begun_us + 30_000_000)
        assert optilyz.state()["requests"] == 1


# -- what goes wrong ------------------------------------------------------------------------------

UNKNOWN = {"unknown: no_answer": 4}
DUE = {"intended": 4}


@pytest.mark.parametrize(
    ("fault", "step", "first", "last"),
    [
        ("500", Asked, UNKNOWN, UNKNOWN),
        ("503", Asked, UNKNOWN, UNKNOWN),
        ("garbage", Asked, UNKNOWN, UNKNOWN),
        ("short", Asked, UNKNOWN, UNKNOWN),
        ("cut", Asked, UNKNOWN, UNKNOWN),
        ("reset", Asked, UNKNOWN, UNKNOWN),
        ("hang", Asked, UNKNOWN, UNKNOWN),
        ("queue-then-cut", Asked, UNKNOWN, UNKNOWN),
        ("queue-then-hang", Asked, UNKNOWN, UNKNOWN),
        ("429", Closed, DUE, {"queued": 4}),
        ("503-retry", Closed, DUE, {"queued": 4}),
        ("refuse-whole", Asked, DUE, {"queued": 4}),
    ],
)
def test_only_what_cannot_be_printed_is_asked_for_again(
    post: Post,
    optilyz: SimulatedOptilyz,
    fault: str,
    step: type,
    first: dict[str, int],
    last: dict[str, int],
) -> None:
    intend(post, 4)
    optilyz.fail(fault)
    asker = post.asker()

    assert type(asker.step()) is step
    assert post.states() == first
    assert {each.attempts for each in post.letters()} == {1}
    assert {each.untold for each in post.letters()} == {first is UNKNOWN}
    assert all(each.body for each in post.letters())
    assert post.told() == []

    open_door(post.engine)
    steps(asker)
    assert post.states() == last
    state = optilyz.state()
    assert state["duplicates"] == 0
    assert state["queued"] == (4 if last != UNKNOWN or fault == "short" or "queue" in fault else 0)
    assert not post.suppressions()
    assert not post.disagreements()


def test_halves_find_the_letter_that_optilyz_dislikes(post: Post, optilyz: SimulatedOptilyz) -> None:
    intend(post, 12)
    optilyz.fail(*["refuse-whole"] * 3)

    steps(post.asker())

    first, *others = post.letters()
    assert (first.state, first.reason, first.message) == (
        "refused",
        "refused_by_optilyz",
        "The request is invalid",
    )
    assert {each.state for each in others} == {"queued"}
    state = optilyz.state()
    assert (state["letters_per_request"], state["duplicates"]) == ([1, 2, 4, 4], 0)


def test_where_optilyz_refuses_everything_few_addresses_are_blamed_for_it(
    post: Post, optilyz: SimulatedOptilyz
) -> None:
    intend(post, 12)
    optilyz.fail(*["refuse-whole"] * 30)

    said = [step for step in steps(post.asker()) if isinstance(step, Stopped)]

    assert [each.detail for each in said] == [
        "Optilyz refuses every request; `receiver mailings list` says why."
    ]
    assert post.states() == {"refused: refused_by_optilyz": 2, "intended": 10}
    assert len(post.suppressions()) == 2


@pytest.mark.parametrize("run_id", [7, None])
def test_a_key_that_is_refused_stops_the_asking_and_leaves_every_letter_due(
    database_url: str, run_id: int | None
) -> None:
    with (
        simulated_optilyz(key="another") as optilyz,
        posting(database_url, optilyz.url) as post,
    ):
        intend(post, 4, run_id=run_id)
        asker = post.asker(run_id=run_id)

        step = asker.step()
        assert isinstance(step, Stopped)
        assert "key" in step.detail
        assert post.states() == DUE
        # A person sees that a run has stopped; the service tries again by itself, after a while.
        assert isinstance(asker.step(), Stopped if run_id else Wait)
        assert not post.suppressions()
        assert post.told() == []


def test_an_automation_that_is_not_live_stops_a_run(post: Post) -> None:
    intend(post, 2, automation="nonsense")

    (step,) = steps(post.asker())
    assert isinstance(step, Stopped)
    assert post.states() == {"intended": 2}


def test_letters_of_the_gateway_to_an_automation_that_is_not_live_hold_up_no_others(post: Post) -> None:
    intend(post, 2, automation="nonsense", run_id=None)
    post.intend(person("other"), run_id=None)

    assert steps(post.asker(run_id=None)) == [Asked(2), Asked(1), Idle()]
    assert post.states() == {"refused: unknown_automation": 2, "queued": 1}
    assert not post.suppressions()
    assert [told["status"] for told in post.told()] == ["enqueue_failed", "enqueue_failed", "enqueued"]


def test_the_door_stays_closed_longer_each_time_and_opens_when_optilyz_answers(
    database_url: str, optilyz: SimulatedOptilyz
) -> None:
    with posting(database_url) as away, posting(database_url, optilyz.url) as back:
        intend(away, 2)
        asker = away.asker()
        for failures in range(1, 4):
            before_us = time.time_ns() // 1000
            step = asker.step()
            assert isinstance(step, Closed)
            most_us = 2 ** (failures - 1) * 1_000_000
            after_us = time.time_ns() // 1000
            assert before_us + most_us // 2 <= step.until_us <= after_us + most_us
            assert away.query(select(slots.c.failures, slots.c.busy_until_us).where(slots.c.number == 0)) == [
                (failures, step.until_us)
            ]
            assert back.asker().step() == Wait(step.until_us)
            open_door(away.engine)
        assert away.states() == {"intended": 2}

        assert steps(back.asker()) == [Asked(2), Idle()]
        assert back.query(select(slots.c.failures).where(slots.c.number == 0)) == [(0,)]
        assert {each.attempts for each in back.letters()} == {4}


# -- whose fate nobody knows ----------------------------------------------------------------------


def test_letters_of_who_was_killed_become_unknown_when_their_time_is_over(
    post: Post, optilyz: SimulatedOptilyz
) -> None:
    intend(post, 2)
    far_us = time.time_ns() // 1000 + 3_600_000_000
    post.change(state="asked", asked_by="killed", asked_until_us=far_us)
    asker = post.asker()
    assert asker.step() == Wait(far_us)

    post.change(asked_until_us=NOW_US)
    assert steps(asker) == [Idle()]
    assert post.states() == {"unknown: no_answer": 2}
    assert {each.untold for each in post.letters()} == {True}
    assert optilyz.state()["requests"] == 0


def test_the_slot_of_who_was_killed_is_free_when_its_lease_is_over(post: Post) -> None:
    intend(post, 1)
    far_us = time.time_ns() // 1000 + 3_600_000_000
    set_slot(post.engine, 1, owner="killed", busy_until_us=far_us)
    assert post.asker().step() == Wait(far_us)

    set_slot(post.engine, 1, busy_until_us=time.time_ns() // 1000 - 1)
    assert steps(post.asker()) == [Asked(1), Idle()]


def forsaken(post: Post, other: Asker) -> None:
    """Let the letter that is being asked for be given up."""
    wait_until(lambda: post.states() == {"asked": 1})
    post.change(asked_until_us=NOW_US)
    other.step()
    assert post.states() == {"unknown: no_answer": 1}


@pytest.mark.parametrize("resolved", [None, True, False])
def test_a_late_answer_counts_unless_a_person_was_quicker(
    database_url: str, slow_optilyz: SimulatedOptilyz, resolved: bool | None
) -> None:
    slow_optilyz.reset()
    with posting(database_url, slow_optilyz.url) as post, ThreadPoolExecutor(1) as pool:
        (decided,) = post.intend(person("anna"))
        ledger = Ledger(post.engine)
        asked = pool.submit(post.asker(ledger).step)
        forsaken(post, post.asker())
        if resolved is not None:
            decider = Decider(post.engine, post.settings, patience=0)
            decider.resolve(post.rows.project_id, decided.mailing, printed=resolved, note=None)
            decider.close()
        assert asked.result() == Asked(1)
        ledger.close()

        fates = {None: {"queued": 1}, True: {"queued: resolved": 1}, False: {"intended": 1}}
        assert post.states() == fates[resolved]
        ((vendor_id,),) = post.query(select(mailings.c.vendor_id))
        assert (vendor_id is None) == (resolved is not None)
        assert len(post.told()) == (0 if resolved is False else 1)
        assert not post.disagreements()


def test_an_answer_is_written_down_once_the_database_is_back(
    database_url: str, slow_optilyz: SimulatedOptilyz
) -> None:
    slow_optilyz.reset()
    with posting(database_url, slow_optilyz.url, wait_seconds=0.2) as post, ThreadPoolExecutor(1) as pool:
        intend(post, 3)
        ledger = Ledger(post.engine)
        with capture_logs() as logs:
            asked = pool.submit(post.asker(ledger).step)
            wait_until(lambda: post.states() == {"asked": 3})
            with locked(database_url):
                wait_until(lambda: "answer_not_kept" in [each["event"] for each in logs])
                assert post.states() == {"asked": 3}
            assert asked.result() == Asked(3)
        ledger.close()

        assert post.states() == {"queued": 3}
        assert slow_optilyz.state()["requests"] == 1
        assert len(post.told()) == 3


def test_nothing_leaves_that_waited_too_long_for_the_database(
    post: Post, optilyz: SimulatedOptilyz, monkeypatch: pytest.MonkeyPatch
) -> None:
    intend(post, 1)
    monkeypatch.setattr(access, "LEAVE_SECONDS", -1.0)

    assert isinstance(post.asker().step(), Closed)
    assert post.states() == {"intended": 1}
    assert optilyz.state()["requests"] == 0


@pytest.mark.parametrize("how", ["answer", "deadline"])
def test_a_letter_that_was_heard_of_while_it_was_asked_for_is_not_unknown(
    post: Post, optilyz: SimulatedOptilyz, how: str
) -> None:
    (decided,) = post.intend(person("anna"))
    heard = {
        "customer_ids": {"registered": "anna"},
        "event_type": "campaign",
        "properties": {"status": "booked", "mailing_id": decided.mailing},
    }
    if how == "deadline":
        post.change(state="asked", asked_by="killed", asked_until_us=NOW_US)
        post.call_back(heard)
        steps(post.asker())
    else:
        optilyz.fail("queue-then-hang")
        with ThreadPoolExecutor(1) as pool:
            ledger = Ledger(post.engine)
            asked = pool.submit(post.asker(ledger).step)
            wait_until(lambda: post.states() == {"asked": 1})
            post.call_back(heard)
            asked.result()
            ledger.close()

    (letter,) = post.letters()
    assert (letter.state, letter.reason, letter.stage) == ("queued", "heard_of", "queued")
    assert (letter.untold, letter.body) == (False, None)


# -- refused by Optilyz ---------------------------------------------------------------------------


def test_a_refused_letter_is_told_of_and_its_address_gets_no_other_one(
    post: Post, optilyz: SimulatedOptilyz
) -> None:
    people = person("anna"), person("bert", **UNDELIVERABLE)
    anna, bert = post.intend(*people)

    steps(post.asker())

    assert post.states() == {"queued": 1, "refused: refused_by_optilyz": 1}
    refused = post.letter(bert.mailing)
    assert (refused.message, refused.untold, refused.vendor_id) == ("Address not deliverable", True, None)
    assert refused.body
    queued, failed = post.told()
    assert (queued["mailing_id"], failed["mailing_id"]) == (anna.mailing, bert.mailing)
    assert (failed["status"], failed["type"], failed["message"]) == (
        "enqueue_failed",
        "refused_by_optilyz",
        "Address not deliverable",
    )
    ((flagged),) = post.suppressions()
    assert (flagged.customer_id, flagged.address_key, flagged.kind, flagged.mailing_id) == (
        refused.customer_id,
        refused.address_key,
        "bad_address",
        bert.mailing,
    )
    assert not post.disagreements()

    assert post.fates(*people, campaign="next") == ["intended", "suppressed: bad_address"]
    assert post.fates(person("bert")) == ["intended"]


@pytest.mark.parametrize("revoke", [True, False])
def test_a_refused_letter_takes_the_consent_back_where_that_is_wanted(
    database_url: str, optilyz: SimulatedOptilyz, revoke: bool
) -> None:
    with posting(database_url, optilyz.url, consent_property="post", revoke_consent=revoke) as post:
        bert = post.rows.customer({"registered": "bert"}, {"post": True})
        post.intend(person("bert", **UNDELIVERABLE))
        steps(post.asker())

        assert post.query(select(customer_properties.c.customer_id, customer_properties.c.value)) == [
            (bert, "false" if revoke else "true")
        ]
        assert post.fates(person("bert")) == ["suppressed: no_consent" if revoke else "intended"]


def test_what_is_settled_for_a_customer_who_was_merged_meanwhile_is_told_of_who_is_left(
    database_url: str, slow_optilyz: SimulatedOptilyz
) -> None:
    slow_optilyz.reset()
    with posting(database_url, slow_optilyz.url) as post, ThreadPoolExecutor(1) as pool:
        anna = post.rows.customer({"registered": "anna"})
        post.intend(person({"cookie": "k"}, **UNDELIVERABLE))
        ledger = Ledger(post.engine)
        asked = pool.submit(post.asker(ledger).step)
        wait_until(lambda: post.states() == {"asked": 1})
        post.call_back({"customer_ids": {"registered": "anna", "cookie": "k"}, "event_type": "visit"})
        asked.result()
        ledger.close()

        assert [each.customer_id for each in post.suppressions()] == [anna]
        assert [each.customer_id for each in post.events()] == [anna]
        assert [each.customer_id for each in post.letters()] == [anna]


def test_the_service_is_not_disturbed_while_a_request_is_under_way(
    database_url: str, slow_optilyz: SimulatedOptilyz
) -> None:
    slow_optilyz.reset()
    with posting(database_url, slow_optilyz.url, wait_seconds=0.2) as post, ThreadPoolExecutor(1) as pool:
        intend(post, 3)
        ledger = Ledger(post.engine)
        asked = pool.submit(post.asker(ledger).step)
        wait_until(lambda: slow_optilyz.state()["requests"] == 1)
        for number in range(5):
            (verdict,) = post.call_back(
                {"customer_ids": {"registered": f"x-{number}"}, "event_type": "visit"}
            )
            assert verdict.became == "accepted"
        assert not asked.done()
        asked.result()
        ledger.close()


def test_what_has_come_up_since_a_letter_was_prepared_counts(
    database_url: str, optilyz: SimulatedOptilyz
) -> None:
    with posting(database_url, optilyz.url, consent_property="post", unknown_customers="reject") as post:
        post.rows.customer({"registered": "anna"}, {"post": True})
        anna, bert, carl = (
            each.mailing
            for each in post.intend(*(person(who, post="yes") for who in ("anna", "bert", "carl")))
        )
        withdrawn = {"customer_ids": {"registered": "bert"}, "properties": {"post": False}}
        post.call_back(withdrawn, form=Form.UPDATE)
        moved = {"status": "returned", "mailing_id": carl}
        post.call_back(
            {"customer_ids": {"registered": "carl"}, "event_type": "campaign", "properties": moved}
        )

        steps(post.asker())

        fates = {each.id: (each.state, each.reason) for each in post.letters()}
        assert fates == {
            anna: ("queued", None),
            bert: ("suppressed", "no_consent"),
            carl: ("suppressed", "bad_address"),
        }
        assert optilyz.state()["queued"] == 1
        assert sorted(told["status"] for told in post.told()) == ["enqueued", "suppressed", "suppressed"]
        assert not post.disagreements()
