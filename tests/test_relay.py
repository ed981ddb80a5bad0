"""What is accepted arrives at the far side, in order, whatever goes wrong between, on both databases."""

import json
import logging
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from threading import Timer
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, select
from sqlalchemy import update as sa_update
from structlog.testing import capture_logs

from receiver.domain.commands import Form
from receiver.inbound.rejections import How
from receiver.outbound.relay import (
    CIRCUIT,
    MOST_COMMANDS,
    STOPPED_SECONDS,
    Away,
    Held,
    Idle,
    Relay,
    Relayed,
    Stopped,
)
from receiver.store import outbox as outbox_store
from receiver.store import relay_pump
from receiver.store.engine import Fault, fault
from receiver.store.outbox import Reason
from receiver.store.tables import events
from tests.mending import LATER, SECOND_US, T0, in_milliseconds
from tests.posting import person
from tests.relaying import (
    SENT_SECONDS,
    Books,
    Clock,
    Station,
    by_customer,
    numbered,
    run,
    run_through,
    standing_still,
    station,
    update,
)
from tests.rows import locked
from tests.simulated_bloomreach import BloomreachInThread, simulated_bloomreach

SECONDS = How(names=("milliseconds-to-seconds",))


@pytest.fixture
def at(database_url: str, far: BloomreachInThread) -> Iterator[Station]:
    with station(database_url, far) as at:
        yield at
        assert far.state()["breaches_by"] == {}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return standing_still(monkeypatch)


# -- what arrives -----------------------------------------------------------------------------------


def test_an_event_arrives_as_it_came_with_its_number(at: Station) -> None:
    (number,) = at.take(7)

    assert run(at.relay()) == [Relayed(1, 0), Idle()]

    (there,) = at.far.events()
    assert there == {
        "number": 1,
        "repeat_of": None,
        "customer_ids": {"registered": "c-1"},
        "event_type": "campaign",
        "timestamp": SENT_SECONDS + 7,
        "properties": {"n": 7, "receiver_event_id": str(number)},
    }
    assert at.books() == Books(given=1, sent=1)
    assert at.outbox() == []


def test_microseconds_arrive(at: Station) -> None:
    at.send(numbered(1, timestamp=1_760_000_000.123456), numbered(2, timestamp="2025-10-09T08:53:20.000001Z"))

    run(at.relay())

    assert [each["timestamp"] for each in at.far.events()] == [1_760_000_000.123456, 1_760_000_000.000001]


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"Straße": 'Grüße "ß" \\ / 🖂\n\t\u2028', "": "no name", "a.b $c": "'"},
        {"big": 12345678901234567890123, "small": 1e-300, "large": 1e300, "zero": -0.0, "not": None},
        {"deep": {"list": [1, [2, {"three": [True, False, None]}]], "empty": {}, "none": []}},
        {"looks_like": '"}],"customer_ids":{"registered":"x"}', "braces": "{}", "empty": '""'},
    ],
)
def test_properties_arrive_as_they_came(at: Station, properties: dict[str, Any]) -> None:
    (verdict,) = at.send(numbered(1, properties=properties))

    run(at.relay())

    (there,) = at.far.events()
    assert there["properties"].pop("receiver_event_id") == str(verdict.row_id)
    # It reads a number of so many digits as one with a fraction.
    assert there["properties"] == {n: float(v) if n == "big" else v for n, v in properties.items()}
    assert list(there["properties"]) == sorted(properties)


@pytest.mark.parametrize("name", ["receiver_event_id", 'quoted "name" \\', "Grüße 🖂"])
def test_the_property_that_carries_the_number_can_have_any_name(at: Station, name: str) -> None:
    (verdict,) = at.send(numbered(1))

    run(at.relay(relay_id_property=name))

    assert at.there(name) == [str(verdict.row_id)]


def test_the_property_can_be_left_out(at: Station) -> None:
    at.send(numbered(1), numbered(2, properties={}))

    run(at.relay(relay_id_property="off"))

    assert [each["properties"] for each in at.far.events()] == [{"n": 1}, {}]


def test_our_number_wins_over_a_property_of_the_sender_with_its_name(at: Station) -> None:
    (verdict,) = at.send(numbered(1, properties={"receiver_event_id": "theirs", "n": 1}))

    run(at.relay())

    assert at.there() == [str(verdict.row_id)]


def test_customer_updates_arrive_with_their_time_or_that_of_their_arrival(at: Station) -> None:
    at.send(
        update(timestamp=1_760_000_000.25, city="Köln", size=[1, {"a": None}]),
        update(note="later"),
        form=Form.UPDATE,
        at_us=1_760_000_100_500_000,
    )

    assert run(at.relay()) == [Relayed(2, 0), Idle()]

    assert at.far.updates() == [
        {
            "number": 1,
            "customer_ids": {"registered": "c-1"},
            "properties": {"city": "Köln", "size": [1, {"a": None}]},
            "update_timestamp": 1_760_000_000.25,
        },
        {
            "number": 2,
            "customer_ids": {"registered": "c-1"},
            "properties": {"note": "later"},
            "update_timestamp": 1_760_000_100.5,
        },
    ]
    assert at.books() == Books(given=2, sent=2)


def test_of_updates_that_came_at_once_the_last_one_wins_there_too(at: Station) -> None:
    earlier = update(step="4", timestamp=1_760_000_000)
    at.send(update(step="1"), update(step="2"), update(step="3"), earlier, form=Form.UPDATE)

    run(at.relay())

    assert at.far.customer("registered", "c-1") == {"step": "3"}


def test_events_and_updates_of_a_customer_keep_their_order(at: Station) -> None:
    at.take(1)
    at.send(update(step="1"), form=Form.UPDATE)
    at.take(2, 3)
    at.send(update(step="2"), form=Form.UPDATE, at_us=T0 + 1)
    at.send(update(step="3"), form=Form.UPDATE, at_us=T0 + 2)
    at.take(4)

    run(at.relay())

    told = {each["number"]: each["properties"]["n"] for each in at.far.events()}
    told |= {each["number"]: each["properties"]["step"] for each in at.far.updates()}
    assert [told[number] for number in sorted(told)] == [1, "1", 2, 3, "2", "3", 4]
    assert at.far.customer("registered", "c-1") == {"step": "3"}


def test_our_own_events_arrive_where_that_is_wanted(database_url: str, far: BloomreachInThread) -> None:
    with station(database_url, far, relay_sources=("sending",)) as at:
        at.take(1)
        at.post.intend(person("anna", zipCode=""))
        assert run(at.relay()) == [Relayed(1, 0), Idle()]

        (there,) = far.events()
        assert there["customer_ids"] == {"registered": "anna"}
        assert there["properties"]["status"] == "enqueue_failed"
        assert at.books() == Books(given=1, sent=1)


# -- with which IDs ---------------------------------------------------------------------------------


def customer_ids(at: Station) -> list[dict[str, str]]:
    return [each["customer_ids"] for each in at.far.events()]


def current(at: Station) -> Relay:
    return at.relay(relay_ids="current")


def test_ids_arrive_as_they_came_whatever_has_become_of_their_customer(at: Station) -> None:
    at.send(numbered(1, ids := "u-1", customer_ids={"cookie": ids}))
    at.send(numbered(2, customer_ids={"registered": "c-1", "cookie": "u-1"}))

    run(at.relay())

    assert customer_ids(at) == [{"cookie": "u-1"}, {"cookie": "u-1", "registered": "c-1"}]


def test_current_ids_are_those_after_a_merge(at: Station) -> None:
    at.send(numbered(1, customer_ids={"cookie": "u-1"}))
    at.send(update() | {"customer_ids": {"cookie": "u-1"}, "properties": {"a": 1}}, form=Form.UPDATE)
    at.send(numbered(2, customer_ids={"registered": "c-1", "cookie": "u-1"}))

    run(current(at))

    assert customer_ids(at) == [{"cookie": "u-1", "registered": "c-1"}] * 2
    assert [each["customer_ids"] for each in at.far.updates()] == [{"cookie": "u-1", "registered": "c-1"}]


def test_two_profiles_that_became_one_are_one_in_what_waits(at: Station) -> None:
    at.send(numbered(1, customer_ids={"cookie": "u-1"}), numbered(2, customer_ids={"cookie": "u-2"}))
    at.send(update() | {"customer_ids": {"cookie": "u-2"}, "properties": {"a": 1}}, form=Form.UPDATE)
    for cookie in ("u-1", "u-2"):
        at.send(numbered(3, customer_ids={"registered": "c-1", "cookie": cookie}, event_type=cookie))

    run(current(at))

    assert customer_ids(at) == [{"cookie": "u-2", "registered": "c-1"}] * 4
    assert at.far.updates()[0]["customer_ids"] == {"cookie": "u-2", "registered": "c-1"}


def test_a_stolen_id_is_no_longer_current(at: Station) -> None:
    at.send(numbered(1, customer_ids={"registered": "c-1", "cookie": "u-1"}))
    at.send(numbered(2, customer_ids={"registered": "c-2", "cookie": "u-1"}))

    run(current(at))

    assert customer_ids(at) == [{"registered": "c-1"}, {"cookie": "u-1", "registered": "c-2"}]


def test_who_has_lost_all_ids_is_told_of_with_those_that_came(at: Station) -> None:
    at.send(numbered(1, customer_ids={"registered": "c-1"}))
    at.change(lambda transaction: transaction.execute("DELETE FROM customer_ids"))

    run(current(at))

    assert customer_ids(at) == [{"registered": "c-1"}]


def test_what_would_go_out_with_an_empty_id_is_set_aside(at: Station) -> None:
    first, bad, nobody, last = at.take(1, 2, 3, 4)
    with at.engine.execution_options(writes=True).begin() as connection:
        for number, ids in ((bad, '{"registered":""}'), (nobody, "{}")):
            connection.execute(sa_update(events).where(events.c.id == number).values(ids=ids))

    assert run(at.relay()) == [Relayed(2, 2), Idle()]

    assert at.there() == [str(first), str(last)]
    assert [(number, reason) for number, reason, _ in at.aside()] == [
        (bad, Reason.NO_CUSTOMER_ID),
        (nobody, Reason.NO_CUSTOMER_ID),
    ]
    assert at.books() == Books(given=4, sent=2, aside=2)


# -- in order, page after page ----------------------------------------------------------------------


def test_pages_leave_in_order_in_full_requests_one_at_a_time(at: Station) -> None:
    at.take_many(1020)

    steps = run(at.relay())

    assert steps == [Relayed(500, 0), Relayed(500, 0), Relayed(20, 0), Idle()]
    assert at.there() == at.here()
    state = at.far.state()
    assert state["commands_per_request"] == {"20": 1, "50": 20}
    assert (state["worst_concurrency"], state["repeats"], state["turned_away"]) == (1, 0, 0)
    assert state["most_in_a_second"] <= 101
    assert at.books() == Books(given=1020, sent=1020)


def test_after_a_failure_in_the_middle_of_a_page_nothing_is_skipped_or_repeated(
    at: Station, clock: Clock
) -> None:
    at.take_many(1020)
    here = at.here()
    relay, sent = at.relay(), 0
    for place in (0, 3, 9):
        at.far.fail(*["shuffled"] * place, "503")
        step = relay.step()
        assert isinstance(step, Away)
        sent += 50 * place
        assert at.there() == here[:sent]
        assert at.waiting() == [int(number) for number in here[sent:]]
        assert at.books() == Books(given=1020, sent=sent, waiting=1020 - sent)
        clock.now_us = step.open_us

    run_through(relay, clock)

    assert at.there() == here


@pytest.mark.parametrize("lost", ["keep-then-500", "keep-then-cut", "keep-then-garbage", "short"])
def test_a_lost_answer_repeats_its_batch_and_nothing_else(at: Station, clock: Clock, lost: str) -> None:
    at.take_many(170)
    at.far.fail("shuffled", lost)

    run_through(at.relay(), clock)

    here = at.here()
    assert at.there() == here[:100] + here[50:]
    repeated = [each for each in at.far.events() if each["repeat_of"] is not None]
    assert [each["properties"]["receiver_event_id"] for each in repeated] == here[50:100]
    assert at.far.state()["repeats"] == 50
    assert at.books() == Books(given=170, sent=170)


@pytest.mark.parametrize("fault", ["429", "500", "502", "503", "garbage", "cut", "reset", "shuffled"])
def test_an_answer_that_was_none_costs_nothing(at: Station, clock: Clock, fault: str) -> None:
    at.take_many(120)
    at.far.fail(fault)

    run_through(at.relay(), clock)

    assert at.there() == at.here()
    assert at.books() == Books(given=120, sent=120)


def test_order_and_number_hold_whatever_the_far_side_does(at: Station, clock: Clock) -> None:
    at.take_many(600, customers=11)
    poison = {f"p{n}": "The property n is bad" for n in (3, 250)}
    bad = {3: "p3", 250: "p250", 77: "whole", 333: "whole", 334: "whole"}
    at.send(*(numbered(1000 + n, f"c-{n % 11}", properties={"n": 1000 + n, "p": p}) for n, p in bad.items()))
    at.take_many(650, customers=11, event_type="second")
    at.far.trouble(
        chance=0.3,
        seed=11,
        poison=poison,
        poison_whole=["whole"],
        kinds=[
            "429",
            "503",
            "cut",
            "reset",
            "garbage",
            "keep-then-cut",
            "keep-then-500",
            "short",
            "shuffled",
        ],
    )
    relay = at.relay()

    run_through(relay, clock)

    assert at.books() == Books(given=1255, sent=1250, aside=5)
    assert [(reason, words) for _, reason, words in at.aside()].count(
        ("refused", "The property n is bad")
    ) == 2
    assert [reason for _, reason, _ in at.aside()].count("unreadable") == 3
    aside = {str(number) for number, _, _ in at.aside()}
    there = list(dict.fromkeys(at.there()))
    assert there == [number for number in at.here() if number not in aside]
    first = {n: ns for n, ns in by_customer(at.far).items() if ns}
    assert sum(map(len, first.values())) == 1250
    assert at.far.state()["worst_concurrency"] == 1


def test_events_of_all_projects_arrive_in_their_order(at: Station) -> None:
    at.take(1)
    first, at.project_id = at.project_id, at.post.rows.begin_project()
    at.take(2)
    at.project_id = first
    at.take(3)

    assert run(at.relay()) == [Relayed(3, 0), Idle()]

    assert by_customer(at.far) == {"c-1": [1, 2, 3]}
    assert at.books() == Books(given=3, sent=3)


def test_large_events_share_a_request_only_as_far_as_it_is_not_too_large(at: Station) -> None:
    large = {f"p{n}": "x" * 16_000 for n in range(45)}
    for number in range(7):
        at.send(numbered(number, properties=large | {"n": number}))

    assert run(at.relay(bloomreach_seconds=60.0)) == [Relayed(6, 0), Relayed(1, 0), Idle()]

    assert at.there() == at.here()
    assert at.far.events()[0]["properties"]["p44"] == "x" * 16_000
    assert at.far.state()["commands_per_request"] == {"1": 1, "2": 3}


# -- refusals ---------------------------------------------------------------------------------------


def test_a_refused_command_is_set_aside_with_the_vendors_words_and_holds_up_nobody(at: Station) -> None:
    at.far.trouble(poison={"bad": "At least one valid id should be specified"})
    at.send(*(numbered(n, properties={"n": n, "p": "bad" if n in (0, 7, 59) else "good"}) for n in range(60)))

    assert run(at.relay()) == [Relayed(57, 3), Idle()]

    here = at.here()
    words = "At least one valid id should be specified"
    assert at.aside() == [(int(here[n]), "refused", words) for n in (0, 7, 59)]
    assert at.there() == [number for n, number in enumerate(here) if n not in (0, 7, 59)]
    assert at.books() == Books(given=60, sent=57, aside=3)
    assert at.far.state()["requests"] == 2


@pytest.mark.parametrize("bad", [[0], [49], [17], [0, 1, 30], list(range(50))])
def test_a_request_that_is_refused_as_one_is_halved_until_the_bad_command_stands_alone(
    at: Station, bad: list[int]
) -> None:
    at.far.trouble(poison_whole=["bad"])
    at.send(*(numbered(n, properties={"n": n, "p": "bad" if n in bad else "good"}) for n in range(60)))

    assert run(at.relay(bloomreach_seconds=30.0)) == [Relayed(60 - len(bad), len(bad)), Idle()]

    here = at.here()
    assert at.aside() == [(int(here[n]), "unreadable", "Invalid JSON") for n in bad]
    assert at.there() == [number for n, number in enumerate(here) if n not in bad]
    assert at.far.state()["repeats"] == 0
    assert at.books() == Books(given=60, sent=60 - len(bad), aside=len(bad))


def test_there_is_an_end_to_halving_also_where_answers_are_slow(at: Station, clock: Clock) -> None:
    at.far.trouble(poison_whole=["bad"])
    at.send(*(numbered(n, properties={"n": n, "p": "bad" if n == 0 else "good"}) for n in range(60)))
    relay = at.relay()
    ask = relay._courier._bloomreach.batch

    def ask_slowly(commands: Any) -> Any:
        # After two of them the lease has to be taken anew.
        clock.advance(2)
        return ask(commands)

    relay._courier._bloomreach.batch = ask_slowly  # type: ignore[method-assign]
    run_through(relay, clock, most=40)

    assert at.there() == at.here()[1:]
    assert at.books() == Books(given=60, sent=59, aside=1)


def test_whoever_refuses_everything_as_a_whole_gets_nothing_set_aside(at: Station, clock: Clock) -> None:
    at.take_many(60)
    # The first of them to be sent was good.
    at.far.fail("shuffled", *["refuse-whole"] * 100)

    (step,) = run(at.relay())

    assert isinstance(step, Stopped)
    assert "Invalid JSON" in step.problem
    assert at.aside() == []
    assert at.books() == Books(given=60, sent=50, waiting=10)
    assert at.pump().stopped


def test_a_probe_that_gets_no_answer_blames_nobody_and_stops_nothing(at: Station, clock: Clock) -> None:
    at.take(1)
    at.far.fail("refuse-whole", "503")
    relay = at.relay()

    (step,) = run(relay)

    assert isinstance(step, Away)
    assert not at.pump().stopped
    assert at.books() == Books(given=1, waiting=1)
    run_through(relay, clock)
    assert at.books() == Books(given=1, sent=1)


@pytest.mark.parametrize(
    "what",
    [{"revoked": True}, {"secrets": ["another"]}, {"project_token": "b1005ea0-0000-4000-8000-000000000008"}],
)
def test_who_is_turned_away_stops_and_burns_nothing(at: Station, clock: Clock, what: dict[str, Any]) -> None:
    at.take_many(120)
    at.far.access(**what)
    relay = at.relay()

    step = relay.step()

    assert isinstance(step, Stopped)
    assert step.open_us == clock.now_us + int(STOPPED_SECONDS) * SECOND_US
    assert "BLOOMREACH" in step.problem
    assert relay.step() == step
    assert at.far.state()["requests"] == 1
    assert at.books() == Books(given=120, waiting=120)

    # Every five minutes one command is tried.
    clock.advance(STOPPED_SECONDS)
    assert isinstance(relay.step(), Stopped)
    assert at.far.state()["requests"] == 2
    at.far.access(revoked=False, secrets=[at.far.secret], project_token=at.far.project_token)
    assert isinstance(relay.step(), Stopped)
    at.change(relay_pump.open_now)

    run_through(relay, clock)

    assert at.far.state()["commands_per_request"] == {"1": 1, "19": 1, "50": 2}
    assert at.there() == at.here()
    pump = at.pump()
    assert (pump.stopped, pump.failures, pump.problem, pump.problem_us) == (False, 0, None, None)


def test_a_missing_right_keeps_what_got_through_and_lets_all_else_wait(at: Station, clock: Clock) -> None:
    at.far.trouble(poison={"bad": "Too bad"})
    at.far.access(denied_event_types=["secret"])
    at.take_many(40)
    at.send(numbered(1, event_type="secret"), numbered(2, properties={"p": "bad"}))
    at.take_many(60, event_type="second")
    here = at.here()
    relay = at.relay()

    (step,) = run(relay)

    assert isinstance(step, Stopped)
    assert "Events > Set" in step.problem
    # The rest of its request was looked at, in the order of the vendor.
    assert at.there() == here[:40] + here[42:50]
    assert at.aside() == [(int(here[41]), "refused", "Too bad")]
    assert at.waiting() == [int(number) for number in (here[40], *here[50:])]
    assert at.books() == Books(given=102, sent=48, waiting=53, aside=1)

    at.far.access(denied_event_types=[])
    at.change(relay_pump.open_now)
    run_through(relay, clock)
    assert at.there() == here[:40] + here[42:50] + [here[40]] + here[50:]
    assert at.books() == Books(given=102, sent=101, aside=1)


def test_a_missing_right_for_properties_stops_too(at: Station, clock: Clock) -> None:
    at.far.access(customers=False)
    at.send(update(a="1"), form=Form.UPDATE)

    (step,) = run(at.relay())

    assert isinstance(step, Stopped)
    assert "Customer properties > Set" in step.problem
    assert at.books() == Books(given=1, waiting=1)


# -- away, and back ---------------------------------------------------------------------------------


def test_the_pause_doubles_with_jitter_and_has_an_end(at: Station, clock: Clock) -> None:
    at.take(1)
    at.far.trouble(outage=True)
    relay = at.relay()

    for failures in range(12):
        step = relay.step()
        assert isinstance(step, Away)
        seconds = (step.open_us - clock.now_us) / SECOND_US
        assert min(2.0**failures / 4, 240) / 2 <= seconds <= min(2.0**failures / 4, 240)
        assert at.pump().failures == failures + 1
        clock.now_us = step.open_us

    assert at.books() == Books(given=1, waiting=1)


@pytest.mark.parametrize("fault", ["429-retry", "503-retry"])
def test_who_says_when_to_come_back_is_obeyed(at: Station, clock: Clock, fault: str) -> None:
    at.take(1)
    at.far.trouble(retry_after=77, faults=[fault])
    relay = at.relay()

    step = relay.step()

    assert step == Away(clock.now_us + 77 * SECOND_US, step.problem)  # type: ignore[union-attr]
    clock.advance(76.9)
    assert isinstance(relay.step(), Away)
    assert at.far.state()["requests"] == 1
    clock.advance(0.1)
    assert relay.step() == Relayed(1, 0)


def test_who_lets_us_come_back_at_once_is_not_overrun(at: Station, clock: Clock) -> None:
    at.take(1)
    at.far.trouble(retry_after=0, faults=["503-retry"])

    step = at.relay().step()

    assert isinstance(step, Away)
    assert step.open_us >= clock.now_us + SECOND_US // 2


def test_after_three_failures_in_a_row_one_command_is_tried_until_it_gets_through(
    at: Station, clock: Clock
) -> None:
    at.take_many(120)
    at.far.trouble(outage=True)
    relay = at.relay()
    for _ in range(CIRCUIT + 2):
        clock.now_us = getattr(relay.step(), "open_us", 0)
    at.far.trouble(outage=False)

    assert relay.step() == Relayed(1, 0)

    pump = at.pump()
    assert pump.failures == 0
    assert 0 <= pump.open_us - clock.now_us <= 2 * SECOND_US
    steps = run_through(relay, clock)
    assert Relayed(119, 0) in steps
    assert at.far.state()["commands_per_request"] == {"1": 1, "19": 1, "50": 2}
    assert at.there() == at.here()


def test_what_got_through_ends_a_row_of_failures(at: Station, clock: Clock) -> None:
    at.take_many(500)
    relay = at.relay()
    for _ in range(CIRCUIT + 1):
        at.far.fail("shuffled", "503")
        step = relay.step()
        assert isinstance(step, Away)
        assert at.pump().failures == 1
        assert step.open_us <= clock.now_us + SECOND_US
        clock.now_us = step.open_us


def test_who_was_told_to_be_slower_is_and_loses_nothing(database_url: str) -> None:
    with simulated_bloomreach(per_second=20) as far, station(database_url, far) as at:
        at.take_many(300)
        relay = at.relay()
        for _ in range(100):
            if isinstance(relay.step(), Idle):
                break
            at.change(relay_pump.open_now)
        assert at.there() == at.here()
        assert far.state()["repeats"] == 0


def test_nothing_is_asked_while_nobody_listens_and_all_arrives_when_somebody_does(
    database_url: str, clock: Clock
) -> None:
    with simulated_bloomreach() as far, station(database_url, far) as at:
        at.take_many(70)
        relay = at.relay()
        far.stop()
        step = relay.step()
        assert isinstance(step, Away)
        assert "could not be reached" in step.problem
        far.start()

        run_through(relay, clock)

        assert at.there() == at.here()


# -- one at a time ----------------------------------------------------------------------------------


def test_two_never_relay_at_once_and_the_other_takes_over_when_the_lease_is_given_back(at: Station) -> None:
    at.take_many(20)
    one, other = at.relay(), at.relay()
    assert one.step() == Relayed(20, 0)
    at.take_many(20, event_type="second")

    held = other.step()

    assert isinstance(held, Held)
    assert held.until_us == at.pump().until_us
    one.close()
    assert run(other) == [Relayed(20, 0), Idle()]
    assert at.there() == at.here()


def test_the_other_takes_over_when_the_lease_has_ended(at: Station, clock: Clock) -> None:
    at.take_many(20)
    one, other = at.relay(), at.relay()
    assert one.step() == Relayed(20, 0)
    at.take_many(20, event_type="second")
    assert isinstance(other.step(), Held)

    clock.now_us = at.pump().until_us

    assert other.step() == Relayed(20, 0)
    assert at.there() == at.here()


def test_a_page_that_another_has_sent_meanwhile_is_not_sent_again(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.take_many(20)
    one, other = at.relay(), at.relay()
    look = other._look

    def look_and_be_overtaken() -> Any:
        seen = look()
        monkeypatch.undo()
        assert one.step() == Relayed(20, 0)
        one.close()
        return seen

    monkeypatch.setattr(other, "_look", look_and_be_overtaken)
    run(other)

    assert at.there() == at.here()
    assert at.books() == Books(given=20, sent=20)


def test_many_threads_send_one_at_a_time_each_event_once(at: Station) -> None:
    at.take_many(700)
    failures: list[BaseException] = []

    def relay() -> None:
        try:
            for _ in range(4000):
                with closing(at.relay()) as mine:
                    step = mine.step()
                if isinstance(step, Idle):
                    return
            raise AssertionError("it never ends")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=relay) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert at.far.state()["worst_concurrency"] == 1
    assert at.there() == at.here()
    assert at.books() == Books(given=700, sent=700)


def paused(relay: Relay, monkeypatch: pytest.MonkeyPatch, meanwhile: Any) -> None:
    """Let *meanwhile* happen between the sending of its next page and its being written down."""
    carry = relay._courier.carry

    def carry_and_pause(*given: Any) -> Any:
        done = carry(*given)
        meanwhile()
        return done

    monkeypatch.setattr(relay._courier, "carry", carry_and_pause)


def test_an_owner_that_slept_beyond_its_lease_settles_without_harm(
    at: Station, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.take_many(120)
    one, other = at.relay(), at.relay()

    def take_over() -> None:
        clock.now_us = at.pump().until_us
        # The far side has them, and nobody here knows: it gets them again.
        assert other.step() == Relayed(120, 0)
        assert at.take(1000)

    paused(one, monkeypatch, take_over)
    assert one.step() == Relayed(120, 0)

    assert at.books() == Books(given=121, sent=120, waiting=1)
    assert isinstance(one.step(), Held)
    assert other.step() == Relayed(1, 0)
    assert at.books() == Books(given=121, sent=121)
    assert at.far.state()["repeats"] == 120


def test_what_was_sent_by_one_and_refused_to_the_other_is_counted_once(
    at: Station, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.send(*(numbered(n, properties={"n": n, "p": f"p{n}"}) for n in range(3)))
    one, other = at.relay(), at.relay()

    def take_over() -> None:
        clock.now_us = at.pump().until_us
        at.far.trouble(poison={"p1": "No more"})
        assert other.step() == Relayed(2, 1)

    paused(one, monkeypatch, take_over)
    one.step()

    assert at.books() == Books(given=3, sent=3)
    assert at.outbox() == []


def test_what_was_refused_to_one_and_sent_by_the_other_is_counted_once(
    at: Station, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.send(*(numbered(n, properties={"n": n, "p": f"p{n}"}) for n in range(3)))
    at.far.trouble(poison={"p1": "Not yet"})
    one, other = at.relay(), at.relay()

    def take_over() -> None:
        clock.now_us = at.pump().until_us
        at.far.trouble(poison={})
        assert other.step() == Relayed(3, 0)

    paused(one, monkeypatch, take_over)
    one.step()

    assert at.books() == Books(given=3, sent=3)
    assert at.outbox() == []


def test_who_was_killed_after_sending_has_sent_at_most_a_page_that_is_sent_again(
    at: Station, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.take_many(MOST_COMMANDS + 50)

    def die() -> None:
        raise KeyboardInterrupt

    one = at.relay()
    paused(one, monkeypatch, die)
    with pytest.raises(KeyboardInterrupt):
        one.step()
    assert at.books() == Books(given=550, waiting=550)
    clock.now_us = at.pump().until_us

    run_through(at.relay(), clock)

    here = at.here()
    assert at.there() == here[:500] + here
    assert [each["repeat_of"] for each in at.far.events()[500:1000]] == list(range(1, 501))
    assert at.books() == Books(given=550, sent=550)


@pytest.mark.parametrize("seconds", [3600, 86400 * 400])
def test_a_clock_that_is_set_back_holds_nobody_up(at: Station, clock: Clock, seconds: int) -> None:
    at.take_many(20)
    killed, other = at.relay(), at.relay()
    assert killed.step() == Relayed(20, 0)
    at.take_many(20, event_type="second")
    clock.advance(-seconds)

    assert other.step() == Relayed(20, 0)


def test_a_door_that_was_closed_before_the_clock_was_set_back_is_open(at: Station, clock: Clock) -> None:
    at.take(1)
    at.far.access(revoked=True)
    relay = at.relay()
    assert isinstance(relay.step(), Stopped)
    at.far.access(revoked=False)
    clock.advance(-86400)

    assert relay.step() == Relayed(1, 0)


def test_a_clock_that_jumps_ahead_ends_the_lease_for_its_owner_too(at: Station, clock: Clock) -> None:
    at.take_many(150)
    one = at.relay()
    ask = one._courier._bloomreach.batch

    def ask_and_jump(commands: Any) -> Any:
        clock.advance(3600)
        return ask(commands)

    one._courier._bloomreach.batch = ask_and_jump  # type: ignore[method-assign]
    assert one.step() == Relayed(50, 0)
    assert run(one) == [Relayed(50, 0), Relayed(50, 0), Idle()]

    assert at.there() == at.here()


# -- the database -----------------------------------------------------------------------------------


def test_what_was_sent_is_written_down_when_the_database_is_back(
    database_url: str, far: BloomreachInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack, station(database_url, far, wait_seconds=0.2) as at:
        at.take_many(70)
        relay = at.relay()

        def lock() -> None:
            stack.enter_context(locked(database_url))
            Timer(1.0, stack.close).start()

        paused(relay, monkeypatch, lock)
        with capture_logs() as logs:
            assert relay.step() == Relayed(70, 0)

        assert "answer_not_kept" in [each["event"] for each in logs]
        assert at.there() == at.here()
        assert at.books() == Books(given=70, sent=70)


def test_nothing_is_sent_while_the_database_is_away(database_url: str, far: BloomreachInThread) -> None:
    with station(database_url, far, wait_seconds=0.2) as at:
        at.take_many(70)
        relay = at.relay()
        with locked(database_url), pytest.raises(Exception) as raised:  # noqa: PT011  # as the driver says
            relay.step()
        assert fault(raised.value) is Fault.AWAY
        assert far.state()["requests"] == 0

        assert run(relay) == [Relayed(70, 0), Idle()]


# -- withdrawn, put back ----------------------------------------------------------------------------


def test_a_withdrawn_event_is_not_sent(at: Station) -> None:
    at.take(1)
    number = at.refused(in_milliseconds())
    at.replay(number, how=SECONDS)
    assert at.books() == Books(given=2, waiting=2)

    at.undo(number)

    assert at.books() == Books(given=2, waiting=1, withdrawn=1)
    assert run(at.relay()) == [Relayed(1, 0), Idle()]
    assert at.there() == at.here()


def test_what_is_withdrawn_while_it_is_sent_is_counted_as_withdrawn(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.take(1)
    number = at.refused(in_milliseconds())
    at.replay(number, how=SECONDS)
    at.take(2)
    relay = at.relay()
    paused(relay, monkeypatch, lambda: at.undo(number))

    relay.step()

    assert len(at.there()) == 3
    assert at.books() == Books(given=3, sent=2, withdrawn=1)
    assert at.outbox() == []


def test_what_is_withdrawn_while_it_is_refused_is_not_set_aside(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = at.refused(in_milliseconds())
    at.replay(number, how=SECONDS)
    at.far.trouble(poison={"delivered": "Bad"})
    relay = at.relay()
    paused(relay, monkeypatch, lambda: at.undo(number))

    relay.step()

    assert at.books() == Books(given=1, withdrawn=1)
    assert at.outbox() == []


def test_a_set_aside_event_that_is_withdrawn_is_let_go(at: Station) -> None:
    number = at.refused(in_milliseconds())
    at.replay(number, how=SECONDS)
    at.far.trouble(poison={"delivered": "Bad"})
    run(at.relay())
    assert at.books() == Books(given=1, aside=1)

    at.undo(number)

    assert at.books() == Books(given=1, discarded=1)


def test_an_event_that_is_no_more_leaves_the_outbox(at: Station) -> None:
    first, gone, last = at.take(1, 2, 3)
    with at.engine.execution_options(writes=True).begin() as connection:
        connection.execute(delete(events).where(events.c.id == gone))

    run(at.relay())

    assert at.there() == [str(first), str(last)]
    assert at.books() == Books(given=3, sent=2, withdrawn=1)


def test_what_is_put_back_is_found_though_others_have_passed_it(at: Station) -> None:
    at.far.trouble(poison={"delivered": "Bad"})
    (verdict,) = at.send(numbered(1, properties={"status": "delivered", "n": 1}))
    at.take_many(20)
    relay = at.relay()
    run(relay)
    assert at.books() == Books(given=21, sent=20, aside=1)
    at.far.trouble(poison={})

    at.put_back(verdict.row_id)
    at.take(1000)
    run(relay)
    assert at.books() == Books(given=22, sent=22)
    assert str(verdict.row_id) in at.there()


def test_what_is_put_back_goes_before_what_came_later(at: Station, clock: Clock) -> None:
    at.far.trouble(poison={"delivered": "Bad"})
    (verdict,) = at.send(numbered(1, properties={"status": "delivered", "n": 1}))
    run(at.relay())
    later = at.take(2)
    at.far.trouble(poison={})
    at.put_back(verdict.row_id)
    clock.now_us = at.pump().until_us

    run(at.relay())

    assert at.there() == [str(verdict.row_id), *map(str, later)]


# -- at last ----------------------------------------------------------------------------------------


def test_nothing_personal_is_told(
    at: Station, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, cookie, street = "erika.mustermann@example.org", "cookie-of-erika", "Geheimgasse 7"
    body = {"customer_ids": {"registered": who, "cookie": cookie}, "properties": {"street": street}}
    at.send(numbered(1) | body, numbered(2) | body)
    at.send(update() | body, form=Form.UPDATE)
    at.far.fail("503", "reset", "garbage", "keep-then-cut", "refuse-whole", "refuse-whole", "503")
    relay = at.relay()
    for library in (None, "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, library)
    steps = run_through(relay, clock)
    monkeypatch.setattr(outbox_store, "settle", _raising)
    at.send(numbered(3) | body)
    with pytest.raises(Exception) as raised:  # noqa: PT011  # whatever it is
        relay.step()

    assert Relayed(3, 0) in steps or Relayed(2, 0) in steps
    said = f"{caplog.text} {steps} {raised.value!r} {at.pump()} {relay!r} {at.far.secret in caplog.text}"
    assert "127.0.0.1" in said
    for private in (who, cookie, street, "Geheim", at.far.secret + " "):
        assert private not in said


def _raising(*_: object) -> None:
    raise RuntimeError("as if")


SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_the_books_agree_and_everything_arrives(
    at: Station, clock: Clock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    walk = Walk(at, clock, monkeypatch, random.Random(seed))

    for _ in range(60):
        walk.step()
        at.books()
    walk.end()


class Walk:
    """A seeded walk over all that happens to a relay and its surroundings."""

    def __init__(
        self, at: Station, clock: Clock, monkeypatch: pytest.MonkeyPatch, chance: random.Random
    ) -> None:
        self.at = at
        self.clock = clock
        self.monkeypatch = monkeypatch
        self.chance = chance
        self.number = 0
        self.on = True
        self.relays = [at.relay(), at.relay(relay_ids="current")]
        self.replayed: list[int] = []
        self.unsent: set[int] = set()  # accepted while it was off
        self.ever_aside: set[int] = set()
        self.lost = False

    def step(self) -> None:
        moves = {
            self.callbacks: 6,
            self.updates: 2,
            self.replay: 2,
            self.undo: 1,
            self.merge: 2,
            self.trouble: 3,
            self.relay: 8,
            self.kill: 1,
            self.put_back: 1,
            self.switch: 1,
            self.wait: 2,
        }
        self.chance.choices(list(moves), list(moves.values()))[0]()

    # -- what happens -----------------------------------------------------------------------------

    def callbacks(self) -> None:
        bodies = [self._body() for _ in range(self.chance.randint(1, 90))]
        bodies += bodies[:2]  # repeats
        self._accepted(self.at.send(*bodies))

    def updates(self) -> None:
        self.number += 1
        self.at.send(update(self._who(), step=self.number), form=Form.UPDATE)

    def replay(self) -> None:
        self.number += 1
        number = self.at.refused(
            in_milliseconds({"registered": self._who()}, properties={"n": self.number, "replayed": True})
        )
        (done,) = self.at.replay(number, how=SECONDS, at_us=LATER + self.number)
        if not self.on:
            self.unsent |= {result.event_id for result in done.results if result.event_id}
        self.replayed.append(number)

    def undo(self) -> None:
        if self.replayed:
            self.at.undo(self.replayed.pop(self.chance.randrange(len(self.replayed))))

    def merge(self) -> None:
        self.number += 1
        ids = {"registered": self._who(), "cookie": f"u-{self.chance.randrange(3)}"}
        self._accepted(self.at.send(numbered(self.number, customer_ids=ids)))

    def trouble(self) -> None:
        kinds = ["429", "503", "cut", "garbage", "keep-then-500", "keep-then-cut", "short", "refuse-whole"]
        faults = self.chance.choices(kinds, k=self.chance.randint(1, 3))
        self.lost |= any(fault.startswith("keep") or fault == "short" for fault in faults)
        self.at.far.fail(*faults)
        self.at.far.trouble(
            poison={"bad-1": "Bad"} if self.chance.random() < 0.5 else {},
            poison_whole=["bad-2"] if self.chance.random() < 0.5 else [],
        )
        self.at.far.access(denied_event_types=["denied"] if self.chance.random() < 0.2 else [])

    def relay(self) -> None:
        step = self.chance.choice(self.relays).step()
        assert isinstance(step, Idle | Relayed | Held | Away | Stopped)
        self.ever_aside |= {number for number, _, _ in self.at.aside()}

    def kill(self) -> None:
        """Between sending and writing down."""
        place = self.chance.randrange(len(self.relays))
        killed, seen = self.relays[place], self.at.far.state()["events"]

        def die() -> None:
            raise KeyboardInterrupt

        paused(killed, self.monkeypatch, die)
        try:
            killed.step()
        except KeyboardInterrupt:
            self.lost |= self.at.far.state()["events"] > seen
        self.relays[place] = self.at.relay(relay_ids=self.chance.choice(["received", "current"]))

    def put_back(self) -> None:
        if aside := self.at.aside():
            self.at.put_back(*(number for number, _, _ in self.chance.sample(aside, len(aside) // 2 + 1)))

    def switch(self) -> None:
        self.at.change(outbox_store.switch_off if self.on else outbox_store.switch_on)
        self.on = not self.on

    def wait(self) -> None:
        self.clock.advance(self.chance.choice([0.3, 2, 30, 400]))

    # -- what is to be seen in the end --------------------------------------------------------------

    def end(self) -> None:
        self.at.far.trouble(poison={}, poison_whole=[], chance=0.0)
        self.at.far.access(denied_event_types=[])
        # Faults that were ordered and have not happened yet.
        while self.at.far.state()["faults"]:
            with suppress(httpx2.HTTPError):
                self.at.far.post("system/time", {})
        self.clock.advance(4000)
        if aside := self.at.aside():
            self.at.put_back(*(number for number, _, _ in aside))
        run_through(self.relays[0], self.clock)

        books = self.at.books()
        assert (books.waiting, books.aside) == (0, 0)
        withdrawn = {str(each.id) for each in self.at.withdrawn()}
        there = self.at.there()
        wanted = [number for number in self.at.here() if int(number) not in self.unsent]
        first_times = [number for number in dict.fromkeys(there) if number not in withdrawn]
        assert sorted(first_times, key=int) == wanted
        # What was refused without anybody hearing of it comes after others, which are then repeated.
        last_times = list(dict.fromkeys(reversed(there)))[::-1]
        assert self._is_in_order([int(each) for each in last_times if int(each) not in self.ever_aside])
        if not self.lost:
            assert len(there) == len(set(there))
            assert self.at.far.state()["repeats"] == 0
        assert self.at.far.state()["worst_concurrency"] == 1

    def _is_in_order(self, numbers: list[int]) -> bool:
        """Whether *numbers* ascend for each of the IDs as received; one that we had no right to send was
        overtaken by those beside it."""
        query = select(events.c.id, events.c.ids).where(events.c.type != "denied")
        who = {number: json.loads(ids).get("registered") for number, ids in self.at.post.query(query)}
        of_each: dict[str, list[int]] = {}
        for number in (each for each in numbers if each in who):
            of_each.setdefault(who[number], []).append(number)
        return all(one < two for each in of_each.values() for one, two in pairwise(each))

    def _accepted(self, verdicts: list[Any]) -> None:
        if not self.on:
            self.unsent |= {verdict.row_id for verdict in verdicts if verdict.became == "accepted"}

    def _body(self) -> dict[str, Any]:
        self.number += 1
        what = self.chance.choices(["good", "bad-1", "bad-2"], [95, 3, 2])[0]
        kind = "denied" if self.chance.random() < 0.01 else "campaign"
        return numbered(self.number, self._who(), properties={"n": self.number, "p": what}, event_type=kind)

    def _who(self) -> str:
        return f"c-{self.chance.randrange(5)}"
