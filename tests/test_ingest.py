"""The one path of a callback, from bytes to rows, on both databases."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text

from receiver.domain.commands import Form, Reason, Rules
from receiver.domain.identity import SOFT_LIMIT
from receiver.inbound import ingest
from receiver.inbound.deliveries import Became, Delivery, Part, Policy, Verdict
from receiver.store.sets import Fetch, Given, Insert, Ledger, Row, Rows, Transaction
from receiver.store.tables import (
    claims,
    counters,
    customer_ids,
    customer_properties,
    customers,
    events,
    rejections,
)
from receiver.store.writes import Source

NOW_US = 1_760_000_100_000_000
SECOND_US = 1_000_000
POLICY = Policy(Rules(), create_unknown=True, window_us=600 * SECOND_US)


@pytest.fixture
def ledger(engine: Engine) -> Iterator[Ledger]:
    ledger = Ledger(engine)
    yield ledger
    ledger.close()


def event(ids: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """An event as wire-facts 7 expects it; *members* replace its own."""
    return {
        "customer_ids": {"registered": "c-1"} if ids is None else ids,
        "event_type": "campaign",
        "timestamp": 1_760_000_000,
        "properties": {"status": "delivered", "campaign_id": "winback"},
    } | members


def delivered(body: object, *, form: Form = Form.EVENT, at_us: int = NOW_US) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Delivery(1, Source.CALLBACK, form, raw, [(b"user-agent", b"optilyz")], at_us)


def keep_all(ledger: Ledger, *deliveries: Delivery, policy: Policy = POLICY) -> list[list[Verdict | None]]:
    """One group."""
    parts = [Part(each, 0, list(ingest.read(each, policy))) for each in deliveries]
    return ingest.keep(ledger, parts, policy)


def keep(ledger: Ledger, *deliveries: Delivery, policy: Policy = POLICY) -> list[Verdict]:
    """One group of single calls."""
    verdicts = [verdict for (verdict,) in keep_all(ledger, *deliveries, policy=policy)]
    return [verdict for verdict in verdicts if verdict is not None]


def became(verdicts: Sequence[Verdict]) -> list[str]:
    return [verdict.became.value for verdict in verdicts]


def rows(engine: Engine, query: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def holders(engine: Engine) -> dict[tuple[str, str], int]:
    columns = customer_ids.c
    found = rows(engine, select(columns.kind, columns.value, columns.customer_id))
    return {(kind, value): customer for kind, value, customer in found}


def counted(engine: Engine) -> tuple[Any, ...]:
    columns = counters.c
    sums = [func.sum(c) for c in (columns.received, columns.accepted, columns.duplicate, columns.rejected)]
    return tuple(map(int, rows(engine, select(*sums))[0]))


# -- repeats --------------------------------------------------------------------------------------


def test_the_same_event_twice_is_stored_once_whatever_its_spacing_and_order_of_keys(
    ledger: Ledger, engine: Engine
) -> None:
    again = json.dumps(dict(reversed(event().items())), indent=3).encode()

    first = keep(ledger, delivered(event()))
    second = keep(ledger, delivered(again), delivered(event()))

    assert [*became(first), *became(second)] == ["accepted", "duplicate", "duplicate"]
    assert {verdict.row_id for verdict in (*first, *second)} == {first[0].row_id}
    assert rows(engine, select(func.count()).select_from(events)) == [(1,)]
    assert counted(engine) == (3, 1, 2, 0)


def test_a_repeat_moves_no_id(ledger: Ledger, engine: Engine) -> None:
    original = delivered(event({"registered": "c-1", "cookie": "u1"}))
    keep(ledger, original)
    keep(ledger, delivered(event({"registered": "c-2", "cookie": "u1"})))
    before = holders(engine)

    assert became(keep(ledger, original)) == ["duplicate"]
    assert holders(engine) == before


def test_without_a_time_a_repeat_counts_as_the_same_only_within_the_window(ledger: Ledger) -> None:
    def at(seconds: int) -> Delivery:
        return delivered(event(timestamp=None), at_us=NOW_US + seconds * SECOND_US)

    outcomes = [became(keep(ledger, at(seconds)))[0] for seconds in (0, 599, 600, 1199, 1200)]

    assert outcomes == ["accepted", "duplicate", "accepted", "duplicate", "accepted"]


def test_an_age_does_not_tell_repeats_apart(ledger: Ledger) -> None:
    first = delivered(event(timestamp=None, age=1.5))
    second = delivered(event(timestamp=None, age=9.5))

    assert became(keep(ledger, first, second)) == ["accepted", "duplicate"]


def test_a_value_set_changed_and_set_again_ends_as_it_was_set_last(ledger: Ledger, engine: Engine) -> None:
    def update(city: str) -> Delivery:
        body = {"customer_ids": {"registered": "c-1"}, "properties": {"city": city}}
        return delivered(body, form=Form.UPDATE)

    outcomes = became(keep(ledger, update("Bonn"), update("Bonn"), update("Köln"), update("Bonn")))

    assert outcomes == ["accepted", "duplicate", "accepted", "accepted"]
    assert rows(engine, select(customer_properties.c.value)) == [('"Bonn"',)]


def test_an_older_update_never_replaces_a_newer_value(ledger: Ledger, engine: Engine) -> None:
    def update(city: str, timestamp: float) -> Delivery:
        body = {
            "customer_ids": {"registered": "c-1"},
            "properties": {"city": city},
            "update_timestamp": timestamp,
        }
        return delivered(body, form=Form.UPDATE)

    keep(ledger, update("Köln", 1_760_000_002))
    keep(ledger, update("Bonn", 1_760_000_001), update("Ulm", 1_760_000_000.5))

    assert rows(engine, select(customer_properties.c.value)) == [('"Köln"',)]


# -- a clock that steps ---------------------------------------------------------------------------

HOUR = 3600
STEPS = (0, 60, 60 - HOUR, 120 - HOUR, 120 + HOUR, 180 + HOUR, 180)
"""What the clock said, in seconds, when each group came in: an hour back, two forward, then right again."""


def at(seconds: int) -> int:
    return NOW_US + seconds * SECOND_US


def test_a_clock_that_steps_loses_nothing_and_stores_nothing_twice(ledger: Ledger, engine: Engine) -> None:
    def group(number: int) -> list[Delivery]:
        """With what all earlier groups brought, as a sender would repeat it that heard no answer."""
        bodies: list[object] = [b"no json %d" % number]
        for n in range(number + 1):
            bodies.append(event(timestamp=1_760_000_000 + n))
            bodies.append(event({"registered": f"c-{n}", "cookie": f"u-{n}"}))
        bodies.append(event(properties={"status": "unlike any other", "number": number}, timestamp=None))
        return [delivered(body, at_us=at(STEPS[number])) for body in bodies]

    verdicts = [keep(ledger, *group(number)) for number in range(len(STEPS))]

    for number, of_group in enumerate(verdicts):
        repeats = ["duplicate"] * (2 * number)
        assert became(of_group) == ["rejected", *repeats, "accepted", "accepted", "accepted"]
    stored = [v.row_id for of_group in verdicts for v in of_group if v.became is not Became.DUPLICATE]
    assert stored == sorted(set(stored))
    kept = rows(engine, select(events.c.id).where(events.c.source == "callback").order_by(events.c.id))
    refused = rows(engine, select(rejections.c.id))
    assert sorted(kept + refused) == [(row_id,) for row_id in stored]
    times = rows(engine, select(events.c.received_us).order_by(events.c.id))
    assert times == [(at(seconds),) for seconds in STEPS for _ in range(3)]
    repeated = len(STEPS) * (len(STEPS) - 1)
    assert counted(engine) == (4 * len(STEPS) + repeated, 3 * len(STEPS), repeated, len(STEPS))


def test_without_a_time_a_repeat_counts_as_the_same_also_when_the_clock_has_gone_back(
    ledger: Ledger, engine: Engine
) -> None:
    def again(seconds: int) -> Delivery:
        return delivered(event(timestamp=None), at_us=at(seconds))

    outcomes = [became(keep(ledger, again(seconds)))[0] for seconds in (0, -HOUR, 1 - HOUR, 599)]
    assert outcomes == ["accepted", "duplicate", "duplicate", "duplicate"]

    # As if the window had passed: nobody can tell. But then the right time is no reason to store it again.
    outcomes = [became(keep(ledger, again(seconds)))[0] for seconds in (HOUR, 600, 1200)]
    assert outcomes == ["accepted", "duplicate", "duplicate"]
    assert counted(engine) == (7, 2, 5, 0)


def test_refusals_without_a_time_collapse_also_when_the_clock_has_gone_back(
    ledger: Ledger, engine: Engine
) -> None:
    for seconds in (0, -HOUR, 599):
        keep(ledger, delivered(b"no json", at_us=at(seconds)))

    assert rows(engine, select(rejections.c.count)) == [(3,)]


def test_the_least_recently_used_cookie_makes_room_whatever_the_clock_says(
    ledger: Ledger, engine: Engine
) -> None:
    used: list[str] = []

    def use(cookie: str, seconds: int) -> None:
        used.append(cookie)
        body = event({"registered": "c-1", "cookie": cookie}, timestamp=1_760_000_000 + len(used))
        assert became(keep(ledger, delivered(body, at_us=at(seconds)))) == ["accepted"]

    for number in range(SOFT_LIMIT):
        use(f"u-{number}", 0)
    for number, seconds in enumerate(STEPS):
        use(f"u-{2 * number}", seconds)  # so that it is used last
        use(f"new-{number}", seconds)

    columns = customer_ids.c
    query = select(columns.value).where(columns.kind == "cookie").order_by(columns.used_us.desc())
    latest = list(dict.fromkeys(reversed(used)))[:SOFT_LIMIT]
    assert [value for (value,) in rows(engine, query)] == latest


# -- identity -------------------------------------------------------------------------------------


def test_a_merge_moves_events_and_properties_and_leaves_an_event(ledger: Ledger, engine: Engine) -> None:
    def update(ids: dict[str, str], properties: dict[str, str], at: int) -> Delivery:
        body = {"customer_ids": ids, "properties": properties, "update_timestamp": at}
        return delivered(body, form=Form.UPDATE)

    keep(ledger, delivered(event({"registered": "c-1"})), delivered(event({"cookie": "u1"})))
    keep(ledger, update({"registered": "c-1"}, {"city": "Bonn", "name": "old"}, 1_760_000_000))
    keep(ledger, update({"cookie": "u1"}, {"city": "Köln", "lang": "de"}, 1_760_000_009))
    keep(ledger, delivered(event({"registered": "c-1", "cookie": "u1"})))

    survivor = holders(engine)["registered", "c-1"]
    assert set(holders(engine).values()) == {survivor}
    found = rows(engine, select(events.c.type, events.c.source, events.c.customer_id).order_by(events.c.id))
    assert found == [
        ("campaign", "callback", survivor),
        ("campaign", "callback", survivor),
        ("merge", "identity", survivor),
        ("campaign", "callback", survivor),
    ]
    columns = customer_properties.c
    kept = rows(engine, select(columns.customer_id, columns.name, columns.value).order_by(columns.name))
    assert kept == [(survivor, "city", '"Köln"'), (survivor, "lang", '"de"'), (survivor, "name", '"old"')]
    merged = rows(engine, select(customers.c.merged_into).where(customers.c.id != survivor))
    assert merged == [(survivor,)]


def test_a_stolen_cookie_leaves_a_trace_on_the_customer_who_lost_it(ledger: Ledger, engine: Engine) -> None:
    keep(ledger, delivered(event({"registered": "c-1", "cookie": "u1"})))
    keep(ledger, delivered(event({"registered": "c-2", "cookie": "u1"})))

    held = holders(engine)
    assert held["cookie", "u1"] == held["registered", "c-2"] != held["registered", "c-1"]
    moved = select(events.c.customer_id, events.c.properties).where(events.c.type == "id_moved")
    ((customer, properties),) = rows(engine, moved)
    assert customer == held["registered", "c-1"]
    assert json.loads(properties) == {"id": "cookie", "to": held["registered", "c-2"]}


_IDS = st.fixed_dictionaries(
    {}, optional={"registered": st.sampled_from("abc"), "cookie": st.sampled_from(["u", "v", "w", "x"])}
).filter(bool)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_IDS, min_size=1, max_size=12))
def test_a_group_gives_the_same_as_its_commands_one_by_one(
    engine: Engine, ledger: Ledger, calls: list[dict[str, str]]
) -> None:
    deliveries = [delivered(event(ids, timestamp=1_760_000_000 + n)) for n, ids in enumerate(calls)]
    grouped, single = [
        [replace(delivery, project_id=_next_project()) for delivery in deliveries] for _ in range(2)
    ]
    grouped = [replace(delivery, project_id=grouped[0].project_id) for delivery in grouped]
    single = [replace(delivery, project_id=single[0].project_id) for delivery in single]

    keep(ledger, *grouped)
    for delivery in single:
        keep(ledger, delivery)

    assert _partition(engine, grouped[0].project_id) == _partition(engine, single[0].project_id)


_projects = iter(range(100, 1_000_000))


def _next_project() -> int:
    return next(_projects)


def _partition(engine: Engine, project_id: int) -> list[tuple[Any, ...]]:
    """Who holds what and whose the events are, with customers named by their place in the order."""
    ids = customer_ids.c
    held = rows(engine, select(ids.kind, ids.value, ids.customer_id).where(ids.project_id == project_id))
    kept = rows(
        engine,
        select(events.c.type, events.c.occurred_us, events.c.customer_id)
        .where(events.c.project_id == project_id, events.c.source == "callback")
        .order_by(events.c.id),
    )
    order = {customer: n for n, customer in enumerate(sorted({row[2] for row in (*held, *kept)}))}
    return sorted((kind, str(value), order[customer]) for kind, value, customer in (*held, *kept))


# -- refusals -------------------------------------------------------------------------------------


def test_identical_rejections_collapse_into_one_row_with_a_count(ledger: Ledger, engine: Engine) -> None:
    bad = delivered(event({"registered": ""}))
    later = delivered(event({"registered": ""}), at_us=NOW_US + 86_400 * SECOND_US)

    verdicts = [*keep(ledger, bad, bad), *keep(ledger, later)]

    assert became(verdicts) == ["rejected"] * 3
    assert len({verdict.row_id for verdict in verdicts}) == 1
    columns = rejections.c
    query = select(columns.reason, columns.count, columns.received_us, columns.last_seen_us, columns.body)
    assert rows(engine, query) == [("empty_customer_id", 3, NOW_US, NOW_US + 86_400 * SECOND_US, bad.body)]
    assert counted(engine) == (3, 0, 0, 3)


def test_rejections_without_a_time_collapse_only_within_the_window(ledger: Ledger, engine: Engine) -> None:
    for seconds in (0, 599, 600):
        keep(ledger, delivered(b"no json", at_us=NOW_US + seconds * SECOND_US))

    assert rows(engine, select(rejections.c.count).order_by(rejections.c.id)) == [(2,), (1,)]


def test_a_bad_command_leaves_its_neighbours_alone_and_keeps_its_exact_bytes(
    ledger: Ledger, engine: Engine
) -> None:
    bad = b'{ "name":"customers/events",  "data": {"event_type": "campaign"} }'
    good = [json.dumps({"name": "customers/events", "data": event({"registered": each})}) for each in "ab"]
    body = b'{"commands": [%b, %b , %b]}' % (good[0].encode(), bad, good[1].encode())

    (verdicts,) = keep_all(ledger, delivered(body, form=Form.BATCH))

    assert [verdict and verdict.became for verdict in verdicts] == ["accepted", "rejected", "accepted"]
    columns = rejections.c
    found = rows(engine, select(columns.form, columns.reason, columns.pointer, columns.body))
    assert found == [("command", "no_customer_ids", "/customer_ids", bad)]


def test_headers_are_kept_beside_a_rejection_without_credentials(ledger: Ledger, engine: Engine) -> None:
    bad = replace(
        delivered(event({})),
        headers=[(b"user-agent", b"optilyz"), (b"authorization", b"Basic c2VjcmV0"), (b"cookie", b"s=1")],
    )

    keep(ledger, bad)

    ((headers,),) = rows(engine, select(rejections.c.headers))
    assert json.loads(headers) == [["user-agent", "optilyz"]]


def test_an_unknown_customer_is_refused_where_the_settings_say_so(ledger: Ledger, engine: Engine) -> None:
    strict = Policy(Rules(), create_unknown=False, window_us=POLICY.window_us)
    known = delivered(event({"registered": "c-1"}))
    keep(ledger, known)
    command = {"name": "customers/events", "data": event({"registered": "nobody"}), "command_id": "x"}
    body = {"commands": [command, {"name": "customers/events", "data": event({"registered": "c-1"}, age=1)}]}

    keep_all(ledger, delivered(body, form=Form.BATCH), policy=strict)
    ((refused, _),) = keep_all(ledger, delivered(body, form=Form.BATCH), policy=strict)

    assert refused is not None
    assert refused.rejection is not None
    assert refused.rejection.reason is Reason.UNKNOWN_CUSTOMER
    assert refused.rejection.command_id == "x"
    columns = rejections.c
    ((count, kept),) = rows(engine, select(columns.count, columns.body))
    assert count == 2
    assert json.loads(kept) == command
    assert ("registered", "nobody") not in holders(engine)


@pytest.mark.parametrize("poisoned", [[0], [3], [0, 6], list(range(7))])
def test_a_row_that_the_database_refuses_is_kept_as_a_rejection_and_costs_no_other(
    ledger: Ledger, engine: Engine, poisoned: list[int]
) -> None:
    _refuse_type(engine, "poison")
    calls = [
        event({"registered": f"c-{n}"}, event_type="poison" if n in poisoned else "campaign")
        for n in range(7)
    ]

    verdicts = keep(ledger, *map(delivered, calls))

    expected = ["rejected" if n in poisoned else "accepted" for n in range(7)]
    assert became(verdicts) == expected
    assert rows(engine, select(func.count()).select_from(events)) == [(7 - len(poisoned),)]
    columns = rejections.c
    kept = rows(engine, select(columns.reason, columns.body).order_by(columns.id))
    assert kept == [("refused_by_database", json.dumps(calls[n]).encode()) for n in poisoned]
    assert counted(engine) == (7, 7 - len(poisoned), 0, len(poisoned))


def _refuse_type(engine: Engine, event_type: str) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text(f"ALTER TABLE events ADD CHECK (type <> '{event_type}')"))
        else:
            connection.execute(
                text(
                    f"CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.type = '{event_type}'"
                    " BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            )


# -- groups, writers, everything that can be sent ---------------------------------------------------


class _Counting:
    """A transaction that counts its statements."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self.statements = 0

    def execute(self, statement: str, parameters: Row = ()) -> Fetch:
        self.statements += 1
        return self._transaction.execute(statement, parameters)

    def run(self, statement: Given, rows: Rows) -> Fetch:
        self.statements += 1
        return self._transaction.run(statement, rows)

    def insert(self, statement: Insert, rows: Rows) -> None:
        self.statements += 1
        self._transaction.insert(statement, rows)


class _CountingLedger(Ledger):
    statements = 0

    @contextmanager
    def transaction(self, *, stepwise: bool = False, rehearsal: bool = False) -> Iterator[Transaction]:
        with super().transaction(stepwise=stepwise, rehearsal=rehearsal) as transaction:
            counting = _Counting(transaction)
            yield counting
            self.statements = counting.statements


def test_a_group_takes_the_same_number_of_statements_however_large_it_is(engine: Engine) -> None:
    ledger = _CountingLedger(engine)
    taken = []
    for start, size in ((0, 1), (1000, 10), (2000, 500)):
        keep(ledger, *[delivered(event({"registered": f"c-{start + n}"})) for n in range(size)])
        taken.append(ledger.statements)
    ledger.close()

    assert len(set(taken)) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_writers_lose_no_event_and_share_no_id(engine: Engine) -> None:
    """Overlapping new, merging and stolen IDs from two writers at once."""
    failures: list[BaseException] = []

    def write(offset: int) -> None:
        ledger = Ledger(engine)
        try:
            for n in range(60):
                who, cookie = (n * 7 + offset) % 9, (n * 5 + offset * 3) % 7
                ids = [{"registered": f"r{who}"}, {"cookie": f"u{cookie}"}]
                ids.append(ids[0] | ids[1])
                group = [
                    delivered(event(each, timestamp=1_760_000_000 + offset * 10_000 + n * 3 + k))
                    for k, each in enumerate(ids)
                ]
                assert became(keep(ledger, *group)) == ["accepted"] * 3
        except BaseException as error:
            failures.append(error)
        finally:
            ledger.close()

    threads = [threading.Thread(target=write, args=(offset,)) for offset in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    own = rows(engine, select(func.count()).select_from(events).where(events.c.source == "callback"))
    assert own == [(360,)]
    gone = select(customers.c.id).where(customers.c.merged_into.is_not(None))
    assert rows(engine, select(events.c.id).where(events.c.customer_id.in_(gone))) == []
    assert rows(engine, select(customer_ids.c.value).where(customer_ids.c.customer_id.in_(gone))) == []
    assert counted(engine) == (360, 360, 0, 0)


_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(_TEXT, _JSON, max_size=4), _TEXT, _TEXT)
def test_whatever_is_accepted_can_be_stored(
    ledger: Ledger, properties: dict[str, Any], value: str, event_type: str
) -> None:
    body = event({"registered": value}, event_type=event_type, properties=properties)

    (verdict,) = keep(ledger, delivered(body))

    assert verdict.rejection is None or verdict.rejection.reason is not Reason.REFUSED_BY_DATABASE


def test_a_claim_outlives_its_event(ledger: Ledger, engine: Engine) -> None:
    keep(ledger, delivered(event()))
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(events.delete())

    assert keep(ledger, delivered(event()))[0].became is Became.DUPLICATE
    assert rows(engine, select(func.count()).select_from(claims)) == [(1,)]


def test_an_update_without_a_time_is_not_lost_when_the_clock_has_gone_back(
    ledger: Ledger, engine: Engine
) -> None:
    def update(city: str, seconds: int) -> Delivery:
        body = {"customer_ids": {"registered": "c-1"}, "properties": {"city": city}}
        return delivered(body, form=Form.UPDATE, at_us=at(seconds))

    updates = [update("Bonn", 0), update("Ulm", -HOUR), update("Jena", 1 - HOUR)]
    assert [became(keep(ledger, each)) for each in updates] == [["accepted"]] * 3

    assert rows(engine, select(customer_properties.c.value)) == [('"Jena"',)]


def test_a_refusal_is_never_seen_last_before_it_was_seen_first(ledger: Ledger, engine: Engine) -> None:
    for seconds in (0, -HOUR):
        keep(ledger, delivered(b"no json", at_us=at(seconds)))

    assert rows(engine, select(rejections.c.last_seen_us)) == [(NOW_US,)]


def test_an_update_without_a_time_holds_until_one_of_a_later_time(ledger: Ledger, engine: Engine) -> None:
    def update(city: str, seconds: int, **time: int) -> Delivery:
        body = {"customer_ids": {"registered": "c-1"}, "properties": {"city": city}} | time
        return delivered(body, form=Form.UPDATE, at_us=at(seconds))

    now = NOW_US // SECOND_US
    keep(ledger, update("Bonn", 0, update_timestamp=now))
    keep(
        ledger,
        update("Ulm", -HOUR),
        update("Jena", -HOUR, update_timestamp=now - 1),
        update("Trier", -HOUR, update_timestamp=now - 2),
    )
    assert rows(engine, select(customer_properties.c.value, customer_properties.c.updated_us)) == [
        ('"Ulm"', NOW_US)
    ]

    keep(ledger, update("Kiel", -HOUR), update("Jena", -HOUR, update_timestamp=now + 1))
    assert rows(engine, select(customer_properties.c.value)) == [('"Jena"',)]
