"""Rejections come in once more: what becomes of each form, and that no event is ever there twice."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, text

from receiver.domain.commands import Form
from receiver.inbound.deliveries import Policy
from receiver.inbound.rejections import Action, How
from receiver.store.sets import Ledger
from receiver.store.tables import customer_properties, rejections
from tests.mending import (
    HOUR_US,
    LATER,
    MINUTE_US,
    SECOND_US,
    SENT_US,
    T0,
    Bench,
    Now,
    as_bytes,
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
TO_KNOWN = How(patch=[{"op": "replace", "path": "/customer_ids/registered", "value": "c-1"}])


@pytest.fixture
def at(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as at:
        yield at


def update(ids: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"customer_ids": ids, "properties": properties}


BAD = {
    "event": (Form.EVENT, in_milliseconds()),
    "update": (Form.UPDATE, update({"registered": ""}, city="Dresden")),
    "batch refused whole": (Form.BATCH, {"commands": []}),
    "command of a batch": (Form.BATCH, {"commands": [command(in_milliseconds())]}),
    "flat object": (Form.FLAT, {"individualisation1": "", "individualisation2": "u-1", "status": "sent"}),
    "item of a flat list": (Form.FLAT, [{"individualisation1": "", "status": "sent"}]),
    "no JSON": (Form.EVENT, b'{"customer_ids": {"registered": "c-1"},'),
    "no text": (Form.EVENT, b'{"a": "\xff\x00"}'),
}
BAD_ONES = pytest.mark.parametrize(("form", "body"), BAD.values(), ids=BAD)


# -- as it is, and mended ---------------------------------------------------------------------------


@BAD_ONES
def test_what_is_as_bad_as_before_stays_open_and_leaves_only_the_trace(
    at: Bench, form: Form, body: object
) -> None:
    number = at.refused(body, form)
    before = at.post.sizes()

    (done,) = at.replay(number)

    assert (done.outcome, done.over, done.refused) == ("rejected", False, None)
    assert [result.outcome for result in done.results] == ["rejected"]
    assert done.results[0].reason == at.post.query(select(rejections.c.reason))[0][0]
    assert at.now(number) == Now("open", 1, 1)
    after = at.post.sizes()
    grown = {name for name, size in after.items() if size != before[name]}
    assert grown == {"attempts", "counters", "last_id"}
    assert at.counts() == (1, 0, 0, 1)
    # And its repeat is still the same rejection.
    assert at.refused(body, form, T0 + MINUTE_US) == number
    assert at.now(number) == Now("open", 2, 1)


GOOD = json.dumps(event())
REPAIRED = {
    "event by a repair": (*BAD["event"], SECONDS),
    "event by a patch": (
        *BAD["event"],
        How(patch=[{"op": "replace", "path": "/timestamp", "value": 1760000000}]),
    ),
    "event by another body": (*BAD["event"], How(body=GOOD)),
    "event with an empty ID": (Form.EVENT, without_id(), NO_EMPTY_IDS),
    "event by two repairs": (
        Form.EVENT,
        without_id(timestamp=SENT_US // 1000),
        How(names=(*SECONDS.names, *NO_EMPTY_IDS.names)),
    ),
    "event without a readable time": (
        Form.EVENT,
        event(timestamp="soon"),
        How(names=("set-timestamp-from-received",)),
    ),
    "batch refused whole": (
        *BAD["batch refused whole"],
        How(body=json.dumps({"commands": [command(event())]})),
    ),
    "command of a batch": (*BAD["command of a batch"], SECONDS),
    "command of a batch by a patch": (
        *BAD["command of a batch"],
        How(patch=[{"op": "replace", "path": "/timestamp", "value": 1760000000}]),
    ),
    "flat object": (*BAD["flat object"], NO_EMPTY_IDS),
    "item of a flat list": (
        *BAD["item of a flat list"],
        How(patch=[{"op": "replace", "path": "/individualisation1", "value": "c-1"}]),
    ),
    "no JSON": (*BAD["no JSON"], How(body=GOOD)),
    "no text": (*BAD["no text"], How(body=GOOD)),
}


@pytest.mark.parametrize(("form", "body", "how"), REPAIRED.values(), ids=REPAIRED)
def test_what_was_mended_becomes_an_event_and_its_repeat_none(
    at: Bench, form: Form, body: object, how: How
) -> None:
    number = at.refused(body, form)
    bytes_before = at.post.query(select(rejections.c.body, rejections.c.headers))

    (done,) = at.replay(number, how=how)

    (made,) = at.events()
    assert [(result.outcome, result.event_id) for result in done.results] == [("accepted", made.id)]
    assert (made.source, made.received_us) == ("replayed", LATER)
    has_time = form is not Form.FLAT and how.names != ("set-timestamp-from-received",)
    assert made.occurred_us == (SENT_US if has_time else T0)
    assert at.now(number) == Now("replayed", 1, 1)
    assert at.counts() == (1, 1, 0, 0)
    assert at.post.query(select(rejections.c.body, rejections.c.headers)) == bytes_before

    assert at.became(body, form=form, at_us=T0 + MINUTE_US) == [("duplicate", made.id)]
    assert [each.id for each in at.events()] == [made.id]
    assert at.now(number) == Now("replayed", 1, 1)


def test_the_trace_tells_who_when_how_and_what_became_of_it(at: Bench) -> None:
    number = at.refused(in_milliseconds())

    at.replay(number, at_us=LATER)
    at.replay(
        number, how=How(patch=[{"op": "replace", "path": "/timestamp", "value": "\ud800"}]), at_us=LATER + 1
    )
    at.replay(number, how=How(body="no JSON"), at_us=LATER + 2)
    at.replay(number, how=SECONDS, at_us=LATER + 3)

    first, patched, replaced, last = at.trace(number)
    assert [each.at_us for each in at.trace(number)] == [LATER + seconds for seconds in range(4)]
    assert {(each.key_id, each.action, each.note, each.undone_us) for each in at.trace(number)} == {
        ("key-1", "replay", None, None)
    }
    assert (first.how, first.bodies) == (None, None)
    assert json.loads(first.results)[0] == {
        "outcome": "rejected",
        "reason": "timestamp_in_milliseconds",
        "detail": "The time looks like milliseconds; send UNIX seconds, fractions are allowed.",
        "pointer": "/timestamp",
    }
    assert json.loads(patched.how)["patch"][0]["path"] == "/timestamp"
    assert json.loads(replaced.how) == {"body": True}
    assert json.loads(replaced.bodies) == [["event", "no JSON"]]
    assert json.loads(last.how) == {"repair": "milliseconds-to-seconds"}
    assert json.loads(last.bodies) == [["event", json.dumps(event())]]
    assert json.loads(last.results) == [{"outcome": "accepted", "event_id": at.events()[0].id}]
    assert at.now(number) == Now("replayed", 1, 4)


def test_what_cannot_be_mended_is_not_replayed(at: Bench) -> None:
    number = at.refused(in_milliseconds())
    before = at.post.sizes()

    (done,) = at.replay(number, how=NO_EMPTY_IDS)

    assert (done.refused, done.results) == ("No customer ID is empty; choose another repair.", ())
    assert done.outcome == "rejected"
    assert at.post.sizes() == before
    assert at.now(number) == Now("open", 1, 0)


def test_one_that_cannot_be_mended_leaves_its_neighbours_alone(at: Bench) -> None:
    numbers = [at.refused(body) for body in (without_id(), in_milliseconds(), b"{")]

    done = at.replay(*numbers, how=SECONDS)

    assert [each.rejection_id for each in done] == numbers
    assert [each.outcome for each in done] == ["rejected", "accepted", "rejected"]
    assert [at.now(number).state for number in numbers] == ["open", "replayed", "open"]


def test_a_replayed_event_is_tied_to_its_letter_as_a_callback_is(at: Bench) -> None:
    at.post.intend(person("c-1"))
    at.post.change(state="queued")
    (letter,) = at.post.letters()
    number = at.refused(in_milliseconds())

    at.replay(number, how=SECONDS)

    assert [(each.mailing_id, each.tied) for each in at.events()] == [(letter.id, "ids")]
    (heard,) = at.post.letters()
    assert (heard.status, heard.stage, heard.stage_us) == ("delivered", "delivered", SENT_US)
    assert heard.heard_us == LATER


def test_nothing_stays_of_a_rehearsal_which_says_what_would_be(at: Bench) -> None:
    numbers = [at.refused(body) for body in (in_milliseconds(), without_id(), b"{")]
    before, states = at.post.sizes(), at.states()

    rehearsed = at.replay(*numbers, how=SECONDS, rehearsal=True)

    assert (at.post.sizes(), at.states()) == (before, states)
    assert at.replay(*numbers, how=SECONDS) == rehearsed


def test_others_than_open_ones_and_those_of_others_are_left_out(at: Bench) -> None:
    dismissed, there = at.refused(without_id()), at.refused(in_milliseconds())
    at.decide(Action.DISMISS, dismissed)
    of_ours, at.project_id = at.project_id, at.post.rows.begin_project()
    assert at.replay(there, how=SECONDS) == []
    at.project_id = of_ours

    assert [each.rejection_id for each in at.replay(dismissed, there, 999_999, how=SECONDS)] == [there]
    assert at.replay(dismissed, how=NO_EMPTY_IDS) == []
    assert at.decide(Action.REOPEN, dismissed) == [dismissed]
    (done,) = at.replay(dismissed, how=NO_EMPTY_IDS)
    assert done.outcome == "accepted"
    assert at.now(dismissed) == Now("replayed", 1, 1)


# -- never a second event ---------------------------------------------------------------------------


def test_a_corrected_resend_after_a_replay_is_a_duplicate(at: Bench) -> None:
    at.replay(at.refused(in_milliseconds()), how=SECONDS)

    assert at.became(event(), at_us=LATER + HOUR_US) == [("duplicate", at.events()[0].id)]


def test_a_replay_after_a_corrected_resend_is_a_duplicate(at: Bench) -> None:
    number = at.refused(in_milliseconds())
    (resent,) = at.send(event(), at_us=T0 + HOUR_US)

    (done,) = at.replay(number, how=SECONDS)

    assert [(result.outcome, result.event_id) for result in done.results] == [("duplicate", resent.row_id)]
    assert done.outcome == "duplicate"
    assert at.now(number) == Now("replayed", 1, 1)
    assert at.became(in_milliseconds(), at_us=LATER + HOUR_US) == [("duplicate", resent.row_id)]
    assert len(at.events()) == 1
    assert at.counts() == (1, 0, 1, 0)


def test_the_repeat_of_what_names_a_time_is_a_duplicate_however_late_it_comes(at: Bench) -> None:
    at.replay(at.refused(in_milliseconds()), how=SECONDS)

    repeated = at.became(in_milliseconds(), at_us=LATER + 24 * HOUR_US)

    assert repeated == [("duplicate", at.events()[0].id)]


def test_the_repeat_of_what_names_none_is_another_one_after_the_window(at: Bench) -> None:
    bad = without_id(timestamp=None)
    number = at.refused(bad)
    at.replay(number, how=NO_EMPTY_IDS, at_us=T0 + MINUTE_US)

    assert at.became(bad, at_us=T0 + 9 * MINUTE_US) == [("duplicate", at.events()[0].id)]
    assert at.refused(bad, at_us=T0 + 11 * MINUTE_US) != number


@pytest.mark.parametrize(("minutes", "outcome"), [(9, "duplicate"), (11, "accepted")])
def test_what_names_no_time_is_compared_by_when_it_came_in_and_not_by_when_it_is_replayed(
    at: Bench, minutes: int, outcome: str
) -> None:
    number = at.refused(without_id(timestamp=None))
    at.send(event({"cookie": "u-1"}, timestamp=None), at_us=T0 + minutes * MINUTE_US)

    assert at.outcome(number, NO_EMPTY_IDS, LATER) == [outcome]


def test_two_that_came_in_far_apart_without_a_time_stay_two_when_they_are_replayed_together(
    at: Bench,
) -> None:
    numbers = [at.refused(without_id(timestamp=None), at_us=T0 + hours * HOUR_US) for hours in (0, 1)]

    at.replay(*numbers, how=NO_EMPTY_IDS)

    assert [each.occurred_us for each in at.events()] == [T0, T0 + HOUR_US]


def test_a_replay_of_an_older_one_does_not_let_in_the_repeat_of_a_newer_one(at: Bench) -> None:
    number = at.refused(without_id(timestamp=None))
    good = event({"cookie": "u-1"}, timestamp=None)
    ((_, newer),) = at.became(good, at_us=T0 + HOUR_US)

    assert at.outcome(number, NO_EMPTY_IDS, T0 + HOUR_US + MINUTE_US) == ["accepted"]

    assert at.became(good, at_us=T0 + HOUR_US + 2 * MINUTE_US) == [("duplicate", newer)]


def test_the_replay_of_an_older_one_is_not_the_repeat_of_a_newer_one_that_is_still_open(at: Bench) -> None:
    body = without_id(timestamp=None)
    older, newer = [at.refused(body, at_us=T0 + hours * HOUR_US) for hours in (0, 1)]

    at.replay(older, how=NO_EMPTY_IDS)

    assert at.became(body, at_us=T0 + HOUR_US + MINUTE_US) == [("rejected", newer)]
    assert [at.now(each).state for each in (older, newer)] == ["replayed", "open"]
    at.undo(older)
    assert at.became(body, at_us=T0 + HOUR_US + 2 * MINUTE_US) == [("rejected", newer)]


def test_an_update_without_a_time_does_not_replace_what_came_in_since(at: Bench) -> None:
    number = at.refused(update({"registered": "", "cookie": "u-1"}, city="Old"), Form.UPDATE)
    at.send(update({"cookie": "u-1"}, city="New"), form=Form.UPDATE, at_us=T0 + HOUR_US)

    assert at.outcome(number, NO_EMPTY_IDS) == ["accepted"]

    values = customer_properties.c.value, customer_properties.c.updated_us
    assert [tuple(row) for row in at.post.query(select(*values))] == [('"New"', T0 + HOUR_US)]


def test_a_time_that_was_ahead_stays_refused_however_late_it_is_replayed(at: Bench) -> None:
    number = at.refused(event(timestamp=(T0 + 25 * HOUR_US) // SECOND_US))

    assert at.outcome(number, at_us=T0 + 30 * 24 * HOUR_US) == ["rejected"]
    corrected = How(patch=[{"op": "replace", "path": "/timestamp", "value": T0 // SECOND_US}])
    assert at.outcome(number, corrected) == ["accepted"]


def test_an_age_counts_back_from_when_it_came_in(at: Bench) -> None:
    number = at.refused(without_id(timestamp=None, age=30))

    at.replay(number, how=NO_EMPTY_IDS)

    assert [each.occurred_us for each in at.events()] == [T0 - 30 * SECOND_US]


def test_a_resend_a_fraction_of_a_second_off_is_told_and_not_guessed_about(at: Bench) -> None:
    number = at.refused(in_milliseconds(timestamp=SENT_US // 1000 + 250))
    (resent,) = at.send(event(), at_us=T0 + MINUTE_US)
    at.send(event(timestamp=SENT_US // SECOND_US + 2), at_us=T0 + MINUTE_US)
    at.send(event(properties={"status": "sent"}), event({"registered": "c-2"}), at_us=T0 + MINUTE_US)

    (done,) = at.replay(number, how=SECONDS)

    assert [(result.outcome, result.similar) for result in done.results] == [("accepted", (resent.row_id,))]
    assert json.loads(at.trace(number)[-1].results)[0]["similar"] == [resent.row_id]


def test_a_second_replay_does_nothing(at: Bench) -> None:
    number = at.refused(in_milliseconds())
    at.replay(number, how=SECONDS)
    before = at.post.sizes()

    assert at.replay(number, how=SECONDS) == []
    assert at.post.sizes() == before


def test_a_rejection_named_twice_is_replayed_once(at: Bench) -> None:
    number = at.refused(in_milliseconds())

    assert len(at.replay(number, number, how=SECONDS)) == 1
    assert len(at.trace(number)) == 1


def test_two_who_replay_the_same_rejections_at_once_make_each_event_once(at: Bench) -> None:
    numbers = [at.refused(in_milliseconds({"registered": f"c-{each}"})) for each in range(20)]
    together = threading.Barrier(2)
    done: list[list[str]] = []

    def replay_all() -> None:
        ledger = Ledger(at.engine)
        together.wait()
        done.append(
            [each.outcome.value for n in numbers for each in at.replay(n, how=SECONDS, ledger=ledger)]
        )
        ledger.close()

    threads = [threading.Thread(target=replay_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(map(len, done)) == 20
    assert set().union(*done) == {"accepted"}
    assert len(at.events()) == 20
    assert at.counts() == (20, 20, 0, 0)
    assert {at.now(number) for number in numbers} == {Now("replayed", 1, 1)}


def test_two_that_are_mended_to_the_same_event_make_it_once(at: Bench) -> None:
    numbers = [at.refused(in_milliseconds()), at.refused(in_milliseconds(timestamp=str(SENT_US // 1000)))]

    first, second = at.replay(*numbers, how=SECONDS)

    (made,) = at.events()
    assert [each.results[0].outcome for each in (first, second)] == ["accepted", "duplicate"]
    assert {each.results[0].event_id for each in (first, second)} == {made.id}
    assert {at.now(number) for number in numbers} == {Now("replayed", 1, 1)}
    assert at.counts() == (2, 1, 1, 0)


# -- whole batches ----------------------------------------------------------------------------------


def too_many(bad: int, **members: Any) -> dict[str, Any]:
    """400 commands, the last *bad* of which are."""
    commands = [command(event({"registered": f"c-{number}"}, **members)) for number in range(400 - bad)]
    commands += [
        command(event({"registered": "", "cookie": f"u-{number}"}, **members)) for number in range(bad)
    ]
    return {"commands": commands}


def test_a_batch_of_too_many_is_split_and_its_bad_commands_are_kept_by_themselves(at: Bench) -> None:
    body = too_many(bad=3, timestamp=None)
    number = at.refused(body, Form.BATCH)

    (done,) = at.replay(number, how=SPLIT)

    assert (done.outcome, done.over, len(done.results)) == ("accepted", True, 400)
    assert len(at.events()) == 397
    assert at.counts() == (400, 397, 0, 3)
    assert at.now(number) == Now("replayed", 1, 1)
    kept = at.post.query(select(rejections).where(rejections.c.id != number).order_by(rejections.c.id))
    assert [(each.form, each.state, each.reason) for each in kept] == [
        ("command", "open", "empty_customer_id")
    ] * 3
    assert {each.headers for each in kept} == {'[["x-a","b"]]'}
    # They came in when the batch did, so that what has no time of its own gets that one.
    assert {(each.received_us, each.last_seen_us) for each in kept} == {(T0, LATER)}
    assert at.became(body, form=Form.BATCH, at_us=T0 + MINUTE_US) == [("duplicate", at.events()[0].id)]

    at.replay(*[each.id for each in kept], how=NO_EMPTY_IDS)

    assert len(at.events()) == 400
    assert {each.occurred_us for each in at.events()} == {T0}
    assert set(at.states().values()) == {"replayed"}


def test_a_batch_of_which_nothing_could_be_kept_stays_open(at: Bench) -> None:
    number = at.refused(too_many(bad=400), Form.BATCH)

    (done,) = at.replay(number, how=SPLIT)

    assert (done.outcome, done.over) == ("rejected", False)
    assert at.now(number) == Now("open", 1, 1)
    assert at.counts() == (400, 0, 0, 400)


def test_a_command_that_was_mended_by_itself_is_a_duplicate_of_the_whole(at: Bench) -> None:
    alone = at.refused({"commands": [command(without_id())]}, Form.BATCH)
    at.replay(alone, how=NO_EMPTY_IDS)
    body = {"commands": [command(without_id()), *too_many(bad=0)["commands"]]}

    results = at.outcome(at.refused(body, Form.BATCH), SPLIT)

    assert (results[0], set(results[1:])) == ("duplicate", {"accepted"})
    assert len(at.events()) == 401


# -- today's rules ----------------------------------------------------------------------------------


def test_what_todays_rules_allow_passes_as_it_is(at: Bench) -> None:
    numbers = [
        at.refused(without_id()),
        at.refused({"commands": [command(event({"registered": f"c-{n}"})) for n in range(60)]}, Form.BATCH),
        at.refused(in_milliseconds()),
    ]
    today = {"empty_ids": "drop", "max_commands": 100}
    at.policy = Policy.of(at.post.settings.model_copy(update=today))

    rehearsed = at.replay(*numbers, rehearsal=True)
    done = at.replay(*numbers)

    assert [each.outcome for each in done] == ["accepted", "accepted", "rejected"]
    assert rehearsed == done
    assert [at.now(number).state for number in numbers] == ["replayed", "replayed", "open"]
    assert at.became(without_id(), at_us=LATER) == [("duplicate", done[0].results[0].event_id)]


def test_who_has_become_known_since_is_found(database_url: str) -> None:
    with bench(database_url, unknown_customers="reject") as at:
        number = at.refused(event())
        assert at.outcome(number) == ["rejected"]
        assert len(at.states()) == 1
        at.post.rows.customer({"registered": "c-1"})

        assert at.outcome(number) == ["accepted"]
        assert at.became(event(), at_us=LATER) == [("duplicate", at.events()[0].id)]
        assert at.now(number) == Now("replayed", 1, 2)


# -- what the database refuses ----------------------------------------------------------------------


def refuse_type(at: Bench, event_type: str) -> None:
    with at.engine.execution_options(writes=True).begin() as connection:
        if at.engine.dialect.name == "postgresql":
            connection.execute(
                text(f"ALTER TABLE events ADD CONSTRAINT refuse CHECK (type <> '{event_type}')")
            )
        else:
            connection.execute(
                text(
                    f"CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.type = '{event_type}'"
                    " BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            )


def allow_all_types(at: Bench) -> None:
    with at.engine.execution_options(writes=True).begin() as connection:
        postgresql = at.engine.dialect.name == "postgresql"
        connection.execute(
            text("ALTER TABLE events DROP CONSTRAINT refuse" if postgresql else "DROP TRIGGER refuse")
        )


def test_what_the_database_refuses_costs_no_other_one(at: Bench) -> None:
    refuse_type(at, "poison")
    poison = in_milliseconds(event_type="poison")
    numbers = [
        at.refused(body) for body in (in_milliseconds(), poison, in_milliseconds({"registered": "c-2"}))
    ]
    before = at.post.sizes()

    rehearsed = at.replay(*numbers, how=SECONDS, rehearsal=True)
    assert at.post.sizes() == before
    done = at.replay(*numbers, how=SECONDS)

    assert [each.outcome for each in rehearsed] == [each.outcome for each in done]
    assert [each.outcome for each in done] == ["accepted", "rejected", "accepted"]
    assert done[1].results[0].reason == "refused_by_database"
    assert [at.now(number) for number in numbers] == [
        Now("replayed", 1, 1),
        Now("open", 1, 1),
        Now("replayed", 1, 1),
    ]
    assert at.counts() == (3, 2, 0, 1)


def test_what_the_database_refused_is_replayed_as_it_is_once_that_is_mended(at: Bench) -> None:
    refuse_type(at, "poison")
    number = at.refused(event(event_type="poison"))
    allow_all_types(at)

    assert at.outcome(number) == ["accepted"]
    assert at.became(event(event_type="poison"), at_us=LATER) == [("duplicate", at.events()[0].id)]


def test_the_repeat_of_what_was_given_a_known_customer_is_a_duplicate(database_url: str) -> None:
    with bench(database_url, unknown_customers="reject") as at:
        at.post.rows.customer({"registered": "c-1"})
        number = at.refused(event({"registered": "typo"}))

        assert at.outcome(number, TO_KNOWN) == ["accepted"]

        assert at.became(event({"registered": "typo"}), at_us=LATER) == [("duplicate", at.events()[0].id)]


def test_the_repeat_is_a_duplicate_also_where_its_own_customer_became_known_since(database_url: str) -> None:
    with bench(database_url, unknown_customers="reject") as at:
        at.post.rows.customer({"registered": "c-1"})
        number = at.refused(event({"registered": "typo"}))
        assert at.outcome(number, TO_KNOWN) == ["accepted"]
        at.post.rows.customer({"registered": "typo"})

        assert at.became(event({"registered": "typo"}), at_us=LATER) == [("duplicate", at.events()[0].id)]


def test_a_replay_is_not_counted_as_sent_once_more(at: Bench) -> None:
    child = at.refused({"commands": [command(without_id())]}, Form.BATCH)
    whole = at.refused({"commands": [*map(command, [event()] * 60), command(without_id())]}, Form.BATCH)

    (done,) = at.replay(whole, how=SPLIT)

    assert done.results[-1].rejection_id == child
    assert at.now(child) == Now("open", 1, 0)
    assert at.refused({"commands": [command(without_id())]}, Form.BATCH, LATER) == child
    assert at.now(child) == Now("open", 2, 0)


def test_what_is_kept_by_itself_is_named_but_not_by_a_rehearsal(at: Bench) -> None:
    whole = at.refused({"commands": [*map(command, [event()] * 60), command(without_id())]}, Form.BATCH)

    (rehearsed,) = at.replay(whole, how=SPLIT, rehearsal=True)
    (done,) = at.replay(whole, how=SPLIT)

    (child,) = at.states().keys() - {whole}
    assert [each.rejection_id for each in rehearsed.results] == [None] * 61
    assert [each.rejection_id for each in done.results] == [None] * 60 + [child]
    assert json.loads(at.trace(whole)[0].results)[-1]["rejection_id"] == child


def test_the_exact_bytes_are_read_again(at: Bench) -> None:
    body = as_bytes(without_id()).replace(b'"delivered"', b'"deliv\\u0065red", "weight": 1.50')
    number = at.refused(body)

    at.replay(number, how=NO_EMPTY_IDS)

    assert json.loads(at.trace(number)[0].bodies)[0][1] == body.decode().replace('"registered": "", ', "")
