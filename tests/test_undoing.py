"""Replays that are taken back, and rejections that nobody wants to replay."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from receiver.domain.commands import Form
from receiver.inbound.deliveries import Policy
from receiver.inbound.rejections import Action, How
from receiver.inbound.undoing import NotDone
from receiver.store.tables import customers, mailings
from tests.mending import (
    HOUR_US,
    LATER,
    MINUTE_US,
    SECOND_US,
    SENT_US,
    T0,
    Bench,
    Now,
    bench,
    command,
    event,
    in_milliseconds,
    without_id,
)
from tests.posting import person

SECONDS = How(names=("milliseconds-to-seconds",))
NO_EMPTY_IDS = How(names=("drop-empty-ids",))
SPLIT = How(names=("split-batch",))


@pytest.fixture
def at(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as at:
        yield at


def replayed(at: Bench, body: object = None, how: How = SECONDS, form: Form = Form.EVENT) -> int:
    """A rejection whose replay made something."""
    number = at.refused(in_milliseconds() if body is None else body, form)
    (done,) = at.replay(number, how=how)
    assert done.over
    return number


# -- undo -------------------------------------------------------------------------------------------


def test_the_event_leaves_all_reports_and_is_kept_beside_them(at: Bench) -> None:
    number = replayed(at)
    (made,) = at.events()

    assert at.undo(number) == [made.id]

    assert at.events() == []
    (gone,) = at.withdrawn()
    replay, undo = at.trace(number)
    assert tuple(gone) == (*made, replay.id, LATER + MINUTE_US)
    assert (replay.undone_us, undo.action, undo.key_id) == (LATER + MINUTE_US, "undo", "key-2")
    assert at.now(number) == Now("open", 1, 1)
    # What was counted stays: it was done.
    assert at.counts() == (1, 1, 0, 0)


def test_the_note_of_an_undo_is_in_the_trace(at: Bench) -> None:
    number = replayed(at)

    at.undo(number, note="wrong customer")

    assert [each.note for each in at.trace(number)] == [None, "wrong customer"]


def test_the_corrected_resend_is_accepted_after_an_undo(at: Bench) -> None:
    number = replayed(at)
    assert at.became(event(), at_us=LATER)[0][0] == "duplicate"
    at.undo(number)

    assert at.became(event(), at_us=LATER + HOUR_US)[0][0] == "accepted"


def test_an_undo_takes_the_corrected_resend_with_it(at: Bench) -> None:
    number = replayed(at)
    (made,) = at.events()
    assert at.became(event(), at_us=LATER) == [("duplicate", made.id)]

    at.undo(number)

    assert at.events() == []
    assert at.outcome(number, SECONDS, LATER + HOUR_US) == ["accepted"]
    assert len(at.events()) == 1


def test_the_original_is_refused_again_after_an_undo_as_the_same_rejection(at: Bench) -> None:
    number = replayed(at)
    assert at.became(in_milliseconds(), at_us=LATER)[0][0] == "duplicate"
    at.undo(number)

    assert at.became(in_milliseconds(), at_us=LATER + HOUR_US) == [("rejected", number)]
    assert at.now(number) == Now("open", 2, 1)


def test_what_was_undone_can_be_replayed_again_and_undone_again(at: Bench) -> None:
    number = replayed(at)
    at.undo(number)

    assert at.outcome(number, SECONDS, LATER + HOUR_US) == ["accepted"]
    (again,) = at.events()
    assert at.now(number) == Now("replayed", 1, 2)
    assert at.became(in_milliseconds(), at_us=LATER + 2 * HOUR_US) == [("duplicate", again.id)]

    assert at.undo(number, at_us=LATER + 3 * HOUR_US) == [again.id]
    assert [each.undone_us is None for each in at.trace(number)] == [False, True, False, True]
    assert len(at.withdrawn()) == 2


def test_an_undo_is_done_once(at: Bench) -> None:
    number = replayed(at)
    at.undo(number)
    before = at.post.sizes()

    with pytest.raises(NotDone, match="The rejection is open; only a replayed one can be undone"):
        at.undo(number)

    assert at.post.sizes() == before


def test_what_was_not_replayed_cannot_be_undone(at: Bench) -> None:
    number = at.refused(in_milliseconds())
    at.replay(number)
    with pytest.raises(NotDone, match="is open"):
        at.undo(number)
    at.decide(Action.DISMISS, number)
    with pytest.raises(NotDone, match="is dismissed"):
        at.undo(number)
    with pytest.raises(NotDone, match="no such rejection"):
        at.undo(999_999)


def test_a_rejection_of_another_project_cannot_be_undone(at: Bench) -> None:
    number = replayed(at)
    at.project_id = at.post.rows.begin_project()

    with pytest.raises(NotDone, match="no such rejection"):
        at.undo(number)


def test_a_customer_update_cannot_be_taken_back(at: Bench) -> None:
    update = {"customer_ids": {"registered": "", "cookie": "u-1"}, "properties": {"city": "Dresden"}}
    number = replayed(at, update, NO_EMPTY_IDS, Form.UPDATE)
    both = {
        "commands": [command(update | {"update_timestamp": 1_760_000_001}, "customers"), command(event())]
        * 30
    }
    whole = replayed(at, both, SPLIT, Form.BATCH)
    before = at.post.sizes()

    with pytest.raises(NotDone, match="A customer update cannot be taken back"):
        at.undo(number)
    assert [each["outcome"] for each in json.loads(at.trace(whole)[0].results)[:2]] == [
        "rejected",
        "accepted",
    ]
    assert at.now(number) == Now("replayed", 1, 1)
    assert at.post.sizes() == before


def test_the_undo_of_a_duplicate_only_opens_it_again(at: Bench) -> None:
    at.send(event())
    number = replayed(at)
    (made,) = at.events()

    assert at.undo(number) == []

    assert at.events() == [made]
    assert at.withdrawn() == []
    assert at.now(number) == Now("open", 1, 1)
    assert at.became(event(), at_us=LATER) == [("duplicate", made.id)]
    assert at.became(in_milliseconds(), at_us=LATER) == [("rejected", number)]


def test_the_undo_of_a_batch_takes_all_its_events_and_no_other(at: Bench) -> None:
    bodies = [event({"registered": f"c-{number}"}) for number in range(60)]
    at.send(bodies[0])
    (there,) = at.events()
    batch = {"commands": [*map(command, bodies), command(without_id())]}
    number = replayed(at, batch, SPLIT, Form.BATCH)
    made = [each.id for each in at.events() if each.id != there.id]
    assert len(made) == 59

    assert sorted(at.undo(number)) == made

    assert at.events() == [there]
    assert at.counts() == (61, 59, 1, 1)
    # The bad command is in the batch, which is open: it is not to be mended twice.
    assert at.states() == {number: "open"}
    outcomes = [each[0] for body in bodies for each in at.became(body, at_us=LATER)]
    assert (outcomes[0], set(outcomes[1:])) == ("duplicate", {"accepted"})


def test_a_batch_that_was_undone_and_replayed_again_keeps_its_bad_command_once(at: Bench) -> None:
    batch = {
        "commands": [command(event({"registered": f"c-{n}"})) for n in range(60)] + [command(without_id())]
    }
    number = replayed(at, batch, SPLIT, Form.BATCH)
    at.undo(number)

    results = at.outcome(number, SPLIT, LATER + HOUR_US)

    assert results == ["accepted"] * 60 + ["rejected"]
    assert sorted(at.states().values()) == ["open", "replayed"]


def test_a_bad_command_of_a_batch_stays_where_something_became_of_it(at: Bench) -> None:
    """Its own history is not thrown away with the replay that made it."""
    for touch, state in (
        (lambda child, body: at.refused(body, Form.BATCH, LATER + MINUTE_US), Now("open", 2, 0)),
        (lambda child, _: at.decide(Action.DISMISS, child), Now("dismissed", 1, 0)),
        (lambda child, _: at.replay(child), Now("open", 1, 1)),
        (lambda child, _: at.replay(child, how=NO_EMPTY_IDS), Now("replayed", 1, 1)),
    ):
        n = len(at.states())
        bad = command(event({"registered": "", "cookie": f"u-{n}"}))
        good = [command(event({"registered": f"c-{n}-{number}"})) for number in range(60)]
        number = replayed(at, {"commands": [*good, bad]}, SPLIT, Form.BATCH)
        child = json.loads(at.trace(number)[0].results)[-1]["rejection_id"]
        touch(child, {"commands": [bad]})

        at.undo(number)

        assert at.now(child) == state
        assert at.now(number).state == "open"


def test_a_bad_command_that_two_batches_hold_goes_with_neither(at: Bench) -> None:
    """Or it would be open nowhere, where the one is undone and dismissed, and the other stays replayed."""
    bad = command(without_id())
    numbers = [
        at.refused(
            {"commands": [*(command(event({"registered": f"{name}-{n}"})) for n in range(60)), bad]},
            Form.BATCH,
        )
        for name in ("a", "b")
    ]
    at.replay(*numbers, how=SPLIT)
    (child,) = at.states().keys() - set(numbers)

    for number in numbers:
        at.undo(number)
        assert at.now(child) == Now("open", 1, 0)


def heard(at: Bench) -> tuple[Any, ...]:
    columns = mailings.c.status, mailings.c.stage, mailings.c.stage_us, mailings.c.heard_us
    return tuple(at.post.query(select(*columns))[0])


def said(status: str, seconds: int, **members: Any) -> dict[str, Any]:
    properties = {"status": status, "campaign_id": "winback"}
    return event(timestamp=SENT_US // SECOND_US + seconds, properties=properties, **members)


def test_the_letter_is_where_the_other_callbacks_say(at: Bench) -> None:
    at.post.intend(person("c-1"))
    at.post.change(state="queued")
    before = heard(at)
    in_milliseconds = said("returned", 50) | {"timestamp": SENT_US // 1000 + 50_000}
    number = replayed(at, in_milliseconds)
    assert heard(at) == ("returned", "returned", SENT_US + 50 * SECOND_US, LATER)

    at.undo(number)
    assert heard(at) == before == (None, None, None, None)

    at.send(said("printed", 20), at_us=T0 + MINUTE_US)
    at.send(said("posted", 10), at_us=T0 + 2 * MINUTE_US)
    printed = heard(at)
    assert printed == ("printed", "printing", SENT_US + 20 * SECOND_US, T0 + 2 * MINUTE_US)
    at.replay(number, how=SECONDS)
    at.undo(number)
    assert heard(at) == printed


def test_an_event_is_taken_back_also_where_its_customer_was_merged_since(at: Bench) -> None:
    number = replayed(at, without_id(), NO_EMPTY_IDS)
    (made,) = at.events()
    at.send(event({"registered": "c-9"}, timestamp=1_760_000_050))
    at.send(event({"registered": "c-9", "cookie": "u-1"}, timestamp=1_760_000_060), at_us=T0 + MINUTE_US)
    survivors = at.post.query(select(customers.c.merged_into).where(customers.c.merged_into.is_not(None)))
    assert len(survivors) == 1

    assert at.undo(number) == [made.id]

    assert made.id not in {each.id for each in at.events()}
    assert [each.id for each in at.withdrawn()] == [made.id]
    assert len({each.customer_id for each in at.events()}) == 1


def test_claims_are_released_also_where_the_rules_have_changed_since(at: Bench) -> None:
    allowing = Policy.of(at.post.settings.model_copy(update={"empty_ids": "drop"}))
    strict, at.policy = at.policy, allowing
    number_of = at.send(event(timestamp="soon"))[0].row_id
    body = json.dumps(without_id())
    at.replay(number_of, how=How(body=body))
    (made,) = at.events()
    at.policy = strict

    assert at.undo(number_of) == [made.id]

    at.policy = allowing
    assert at.became(body.encode(), at_us=LATER + HOUR_US)[0][0] == "accepted"


TO_KNOWN = How(patch=[{"op": "replace", "path": "/customer_ids/registered", "value": "c-1"}])


@pytest.fixture
def strict(database_url: str) -> Iterator[Bench]:
    """Who is unknown is refused; one customer is known."""
    with bench(database_url, unknown_customers="reject") as at:
        at.post.rows.customer({"registered": "c-1"})
        yield at


def test_what_the_original_claimed_is_released_too(strict: Bench) -> None:
    typo = event({"registered": "typo"})
    number = replayed(strict, typo, TO_KNOWN)
    strict.post.rows.customer({"registered": "typo"})
    assert strict.became(typo, at_us=LATER)[0][0] == "duplicate"

    strict.undo(number)

    assert strict.became(typo, at_us=LATER + HOUR_US)[0][0] == "accepted"
    assert strict.became(event(), at_us=LATER + HOUR_US)[0][0] == "accepted"


def test_what_another_replay_claimed_stays(strict: Bench) -> None:
    typo = event({"registered": "typo"})
    first, second = strict.refused(typo), strict.refused(json.dumps(typo, indent=1).encode())
    assert strict.outcome(first, TO_KNOWN) == ["accepted"]
    assert strict.outcome(second, TO_KNOWN) == ["duplicate"]
    strict.post.rows.customer({"registered": "typo"})
    (made,) = strict.events()

    strict.undo(second)

    assert strict.became(typo, at_us=LATER + HOUR_US) == [("duplicate", made.id)]


def test_the_claims_of_an_event_that_was_there_before_stay(strict: Bench) -> None:
    typo = event({"registered": "typo"})
    number = strict.refused(typo)
    strict.post.rows.customer({"registered": "typo"})
    # The sender's own repeat was accepted meanwhile.
    ((_, own),) = strict.became(typo, at_us=T0 + HOUR_US)
    ((_, other),) = strict.became(event(), at_us=T0 + HOUR_US)

    assert strict.outcome(number, TO_KNOWN) == ["duplicate"]
    strict.undo(number)

    assert strict.became(typo, event(), at_us=LATER) == [("duplicate", own), ("duplicate", other)]
    assert strict.outcome(number) == ["duplicate"]
    strict.undo(number)
    assert strict.became(typo, event(), at_us=LATER) == [("duplicate", own), ("duplicate", other)]


# -- dismiss and reopen -----------------------------------------------------------------------------


def test_only_open_ones_are_dismissed_and_only_dismissed_ones_opened_again(at: Bench) -> None:
    done, bad, other = replayed(at), at.refused(without_id()), at.refused(b"{")

    assert at.decide(Action.DISMISS, done, bad, 999_999, note="a test of theirs") == [bad]
    assert [at.now(number).state for number in (done, bad, other)] == ["replayed", "dismissed", "open"]
    assert at.decide(Action.DISMISS, bad) == []
    assert at.decide(Action.REOPEN, done, bad, other, at_us=LATER + 1) == [bad]

    assert at.now(bad) == Now("open", 1, 0)
    assert [(each.action, each.note, each.key_id, each.at_us) for each in at.trace(bad)] == [
        ("dismiss", "a test of theirs", "key-3", LATER),
        ("reopen", None, "key-3", LATER + 1),
    ]
    assert at.trace(other) == []
    assert at.outcome(bad, NO_EMPTY_IDS) == ["accepted"]


def test_one_that_is_named_twice_is_dismissed_once(at: Bench) -> None:
    number = at.refused(b"{")

    assert at.decide(Action.DISMISS, number, number) == [number]
    assert len(at.trace(number)) == 1


def test_a_rejection_of_another_project_is_not_dismissed(at: Bench) -> None:
    number = at.refused(b"{")
    at.project_id = at.post.rows.begin_project()

    assert at.decide(Action.DISMISS, number) == []
    assert at.now(number).state == "open"


def test_a_repeat_of_a_dismissed_one_is_counted_and_leaves_it_dismissed(at: Bench) -> None:
    number = at.refused(in_milliseconds())
    at.decide(Action.DISMISS, number)

    assert at.became(in_milliseconds(), at_us=LATER) == [("rejected", number)]
    assert at.now(number) == Now("dismissed", 2, 0)


def test_a_note_may_hold_any_text_that_a_database_can(at: Bench) -> None:
    number = at.refused(b"{")

    at.decide(Action.DISMISS, number, note='Grüße "ß" \\ 🖂\n')

    assert at.trace(number)[0].note == 'Grüße "ß" \\ 🖂\n'
