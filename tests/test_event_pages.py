"""Pages of events by any filter: exact whatever it is, and found in an index."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations, product
from random import Random
from typing import Any

import pytest
from sqlalchemy import event, text

from receiver.domain.commands import ExternalId
from receiver.domain.json_text import encode
from receiver.domain.kinds import Kind
from receiver.domain.properties import PropertyEquals
from receiver.store import event_places, kinds, reports, tables
from receiver.store.event_places import EventFilter
from receiver.store.reports import Position, reading
from tests.rows import T0, Rows

SECOND = 1_000_000
ANNA = (ExternalId("registered", "anna"),)

Row = dict[str, Any]


def keep(rows: Rows, some: Iterable[Row]) -> list[Row]:
    """Stores events whose numbers ascend, with what each of them says; all at once, as they may be many."""
    kept = []
    number_of: Counter[Kind] = Counter()
    for number, row in enumerate(some, 1001):
        whole: Row = {
            "type": "campaign",
            "campaign": None,
            "status": None,
            "stage": None,
            "variation": None,
        } | row
        kind = Kind(rows.project_id, *[whole[name] for name in Kind._fields[1:]])
        number_of[kind] += 1
        kept.append(
            {
                "id": number,
                "project_id": rows.project_id,
                "customer_id": 0,
                "received_us": T0,
                "source": "callback",
                "ids": '{"registered":"c-1"}',
                "properties": "{}",
                "kind_id": kind.id,
                **whole,
            }
        )
    of_kinds = [{"id": kind.id, **kind._asdict(), "events": count} for kind, count in number_of.items()]
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(tables.events.insert(), kept)
        connection.execute(tables.event_kinds.insert(), of_kinds)
    return kept


def walked(
    rows: Rows, wanted: EventFilter, limit: int, *, oldest_first: bool, searches: bool = False
) -> list[int]:
    """The numbers of all events that are wanted, page by page; only those of a search may be short."""
    found: list[int] = []
    after = None
    for _ in range(1000):
        with reading(rows.engine) as connection:
            page = reports.events_page(
                connection, rows.project_id, wanted, after=after, limit=limit, oldest_first=oldest_first
            )
        assert len(page.rows) <= limit
        found += [each.id for each in page.rows]
        if page.next is None:
            return found
        assert searches or len(page.rows) == limit
        after = page.next
    raise AssertionError("the pages have no end")


# -- what pages hold ------------------------------------------------------------------------------


def mixed(random: Random) -> Iterator[Row]:
    """Events of some 70 kinds, some of which are rare; many happened in the same microsecond."""
    for number in range(600):
        campaign = random.choice(["spring", "spring", "summer", None])
        yield {
            "type": random.choices(["campaign", "view", "once"], [90, 9, 1])[0],
            "campaign": campaign,
            "status": random.choice(["printed", "delivered", "returned", "lost"]),
            "stage": random.choice(["printing", "delivered", None]),
            "variation": campaign and random.choice(["A", "B"]),
            "occurred_us": T0 + random.choice([random.randrange(1000), 500, 500, 700]),
            # As of clocks that are set forward and back.
            "received_us": T0 + (number + random.choice([0, 0, 0, 400, -400])) * SECOND,
            "properties": encode({"n": number % 5}),
        }


def has(row: Row, wanted: EventFilter) -> bool:
    """Whether *row* is wanted, told without a database."""
    words = ("campaign", "status", "stage", "variation")
    periods = (
        ("occurred_us", wanted.since_us, wanted.until_us),
        ("received_us", wanted.received_since_us, wanted.received_until_us),
    )
    return (
        all(getattr(wanted, name) in {None, row[name]} for name in words)
        and (not wanted.types or row["type"] in wanted.types)
        and all(since is None or row[name] >= since for name, since, _ in periods)
        and all(until is None or row[name] < until for name, _, until in periods)
        and (wanted.property is None or row["properties"] == encode({"n": int(wanted.property.value)}))
    )


MIXED: list[dict[str, Any]] = [
    {},
    {"campaign": "spring"},
    {"stage": "delivered"},
    {"status": "returned", "campaign": "summer"},
    {"types": ("view", "once")},
    {"types": ("once",)},
    {"types": ("campaign",), "status": "lost", "stage": "printing", "campaign": "spring"},
    {"campaign": "spring", "since_us": T0 + 500, "until_us": T0 + 700},
    {"stage": "printing", "until_us": T0 + 500},
    {"since_us": T0 + 500, "until_us": T0 + 501},
    {"variation": "B"},
    {"variation": "B", "campaign": "spring"},
    {"variation": "C", "stage": "delivered"},
    {"received_since_us": T0 + 300 * SECOND},
    {"received_since_us": T0 + 300 * SECOND, "received_until_us": T0 + 310 * SECOND},
    {"received_until_us": T0 + 200 * SECOND, "campaign": "spring"},
    {"property": PropertyEquals("n", "3")},
    {"property": PropertyEquals("n", "3"), "stage": "delivered", "since_us": T0 + 100},
    {"campaign": "spring", "status": "nowhere"},
]


SURE = {"campaign", "status", "stage", "types", "since_us", "until_us"}
"""What is found without a search."""


@pytest.mark.parametrize(("most_kinds", "arrived"), [(300, 20_000), (3, 5)])
def test_pages_hold_each_event_that_is_wanted_once_and_in_order(
    rows: Rows, most_kinds: int, arrived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "MOST", most_kinds)
    monkeypatch.setattr(event_places, "ARRIVED", arrived)
    monkeypatch.setattr(reports, "SEARCHED", 50)
    kept = keep(rows, mixed(Random(1)))
    kept.sort(key=lambda row: (row["occurred_us"], row["id"]))

    for filters, oldest_first in product(MIXED, (False, True)):
        wanted = EventFilter(**filters)
        expected = [row["id"] for row in kept if has(row, wanted)]
        searches = most_kinds == 3 or not filters.keys() <= SURE
        found = walked(rows, wanted, 40, oldest_first=oldest_first, searches=searches)
        assert found == (expected if oldest_first else expected[::-1]), filters


@pytest.mark.parametrize(
    "filters", [{"campaign": "spring"}, {"campaign": "spring", "status": "lost"}], ids=str
)
@pytest.mark.parametrize("oldest_first", [False, True])
def test_events_of_one_microsecond_are_divided_between_pages_by_their_numbers(
    rows: Rows, filters: dict[str, Any], oldest_first: bool
) -> None:
    words = [{"campaign": "spring", "status": status} for status in ("lost", "found", "kept")]
    of_one_time = [{**words[n % 3], "occurred_us": T0} for n in range(100)]
    beside = [{**words[n % 3], "occurred_us": T0 + (n % 2 or -1)} for n in range(20)]
    kept = keep(rows, [*of_one_time[:50], *beside, *of_one_time[50:]])

    kept.sort(key=lambda row: (row["occurred_us"], row["id"]), reverse=not oldest_first)
    expected = [row["id"] for row in kept if has(row, EventFilter(**filters))]
    for limit in (1, 7, 33, 1000):
        assert walked(rows, EventFilter(**filters), limit, oldest_first=oldest_first) == expected


@pytest.mark.parametrize("filters", [{}, {"campaign": "spring"}, {"customer": ANNA}], ids=str)
def test_the_first_ones_can_be_left_out(rows: Rows, filters: dict[str, Any]) -> None:
    anna = rows.customer({"registered": "anna"})
    row = {"customer_id": anna, "campaign": "spring"}
    kept = keep(rows, [{**row, "status": f"s{n % 4}", "occurred_us": T0 + n // 2} for n in range(30)])

    for skip in (0, 1, 13, 30, 31):
        with reading(rows.engine) as connection:
            page = reports.events_page(
                connection, rows.project_id, EventFilter(**filters), skip=skip, limit=5, oldest_first=True
            )
        assert [each.id for each in page.rows] == [row["id"] for row in kept[skip : skip + 5]]
        assert (page.next is None) == (skip + 5 >= 30)


@pytest.mark.parametrize("oldest_first", [False, True])
def test_new_events_of_the_same_kinds_move_nothing(rows: Rows, oldest_first: bool) -> None:
    kept = [rows.event(occurred_us=T0 + n // 3, campaign="spring", status=f"s{n % 2}") for n in range(7)]

    seen: list[int] = []
    after = None
    while len(seen) < len(kept):
        with reading(rows.engine) as connection:
            page = reports.events_page(
                connection,
                rows.project_id,
                EventFilter(campaign="spring"),
                after=after,
                limit=2,
                oldest_first=oldest_first,
            )
        seen += [each.id for each in page.rows]
        for n in (-SECOND, SECOND):
            rows.event(occurred_us=T0 + n, campaign="spring", status="new")
        after = page.next
        assert after

    assert seen[: len(kept)] == (kept if oldest_first else kept[::-1])


def test_what_no_event_has_is_known_without_looking_at_any(rows: Rows) -> None:
    rows.event(campaign="spring", status="printed")
    rows.begin_project()
    statements: list[str] = []
    event.listen(rows.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))

    assert walked(rows, EventFilter(campaign="spring"), 10, oldest_first=False) == []

    assert not any("FROM events" in each for each in statements)


# -- how much is read -----------------------------------------------------------------------------


@pytest.mark.parametrize(("oldest_first", "in_turn"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(
    "of_each",
    [[200] * 30, [2000] + [4] * 40, [500] * 10 + [3] * 30, [1000, 10] * 3, [2000], [20] * 10, [11] * 30],
    ids=lambda of_each: f"{sum(of_each)} of {len(of_each)} kinds",
)
def test_few_more_events_are_read_than_are_asked_for_however_they_are_spread_over_kinds(
    rows: Rows, of_each: list[int], oldest_first: bool, in_turn: bool
) -> None:
    every = [
        {
            "status": f"s{kind}",
            "occurred_us": T0 + (kind * 10_000 + number if in_turn else number * (kind + 1)),
        }
        for kind, count in enumerate(of_each)
        for number in range(count)
    ]
    kept = keep(rows, every)
    number = 150
    with reading(rows.engine) as connection:
        time = kinds.time_of(
            connection,
            list({row["kind_id"] for row in kept}),
            number,
            since_us=0,
            until_us=event_places.NEVER_US,
            oldest_first=oldest_first,
        )

    times = [row["occurred_us"] for row in kept]
    read = [each for each in times if time is None or (each <= time if oldest_first else each >= time)]
    assert number <= len(read) <= 4 * number


FILTERS: dict[str, Any] = {
    "customer": ANNA,
    "campaign": "camp-7",
    "stage": "delivered",
    "types": ("campaign",),
    "variation": "B",
    "since_us": T0 + 100 * SECOND,
    "until_us": T0 + 900 * SECOND,
    "received_since_us": T0 + SECOND,
}


@pytest.mark.parametrize("most_kinds", [300, 3])
def test_every_combination_of_filters_is_answered_by_an_index(
    rows: Rows, most_kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step scans the table.  Sorted is nothing but what several kinds have since a time."""
    monkeypatch.setattr(kinds, "MOST", most_kinds)
    monkeypatch.setattr(reports, "SEARCHED", 500)
    monkeypatch.setattr(event_places, "ARRIVED", 100)
    _fill(rows)
    after = Position(T0 + 800 * SECOND, 1)
    combined = [names for size in range(len(FILTERS) + 1) for names in combinations(FILTERS, size)]

    for names, position in product(combined, (None, after)):
        wanted = EventFilter(**{name: FILTERS[name] for name in names})
        plan = _plan(rows, wanted, position)

        index = _expected_index(names, most_kinds)
        assert index in plan, (names, plan)
        assert "Seq Scan on events" not in plan, (names, plan)
        assert "SCAN events" not in plan, (names, plan)
        assert "TEMP B-TREE" not in plan or index == "ix_events_kind", (names, plan)


@pytest.mark.parametrize("filters", [{}, {"campaign": "camp-7"}, {"since_us": T0, "variation": "B"}], ids=str)
def test_what_few_events_arrived_is_found_by_when_they_did(rows: Rows, filters: dict[str, Any]) -> None:
    _fill(rows)
    period: dict[str, Any] = {"received_since_us": T0 + 900 * SECOND, "received_until_us": T0 + 1000 * SECOND}

    for position in (None, Position(T0 + 800 * SECOND, 1)):
        plan = _plan(rows, EventFilter(**filters, **period), position)

        assert plan.count("ix_events_received") >= 2, plan
        assert "ix_events_time" not in plan, plan
        assert "Seq Scan on events" not in plan, plan
        assert "SCAN events" not in plan, plan


def _expected_index(names: tuple[str, ...], most_kinds: int) -> str:
    if "customer" in names:
        return "ix_events_customer"
    # Of one campaign and stage there is one kind.
    few = most_kinds > 3 or {"campaign", "stage"} <= set(names)
    return "ix_events_kind" if few and {"campaign", "stage", "types"} & set(names) else "ix_events_time"


def _fill(rows: Rows) -> None:
    """Enough for a planner to think: 20,000 events of 80 kinds, 2,000 customers."""
    rows.customer({"registered": "anna"})
    stages = ("queued", "printing", "posted", "delivered")
    keep(
        rows,
        [
            {
                "customer_id": n % 2000,
                "campaign": f"camp-{n % 20}",
                "stage": stages[n // 20 % 4],
                "occurred_us": T0 + n % 1000 * SECOND,
                "received_us": T0 + n * SECOND,
                "properties": '{"padding":"' + "x" * 200 + '"}',
            }
            for n in range(20_000)
        ],
    )
    if rows.engine.dialect.name == "postgresql":
        with rows.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE events"))


def _plan(rows: Rows, wanted: EventFilter, after: Position | None) -> str:
    """How all statements of a page are run."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    with reading(rows.engine) as connection:
        event.listen(rows.engine, "before_cursor_execute", note)
        reports.events_page(connection, rows.project_id, wanted, after=after, limit=100)
        event.remove(rows.engine, "before_cursor_execute", note)
        explain = "EXPLAIN QUERY PLAN" if rows.engine.dialect.name == "sqlite" else "EXPLAIN"
        plans = [
            connection.exec_driver_sql(f"{explain} {asked}", values).all() for asked, values in statements
        ]
    return "\n".join(str(line[-1]) for plan in plans for line in plan)
