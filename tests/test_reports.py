"""What is asked about events, customers, outcomes and rejections, on both databases."""

import csv
import io
import json
from itertools import pairwise
from typing import Any

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import event, text

from receiver.domain.commands import ExternalId
from receiver.domain.json_text import encode
from receiver.domain.moments import DAY_US, iso, moment_us
from receiver.domain.properties import PropertyEquals
from receiver.store import event_statements, export, holders, refusal_counts, refused, reports
from receiver.store.event_places import EventFilter
from receiver.store.refused import RejectionFilter
from receiver.store.reports import EventRow, reading
from tests.rows import T0, Rows

SECOND = 1_000_000
ANNA = (ExternalId("registered", "anna"),)


def found(rows: Rows, wanted: EventFilter, **how: Any) -> list[int]:
    with reading(rows.engine) as connection:
        return [each.id for each in reports.events_page(connection, rows.project_id, wanted, **how).rows]


def found_rejections(rows: Rows, **filters: Any) -> list[int]:
    with reading(rows.engine) as connection:
        page = refused.rejections_page(connection, rows.project_id, RejectionFilter(**filters))
    return [each.id for each in page.rows]


# -- events ---------------------------------------------------------------------------------------


def test_events_come_newest_first_and_of_one_time_the_last_stored_first(rows: Rows) -> None:
    early, late = rows.event(occurred_us=T0), rows.event(occurred_us=T0 + SECOND)
    early_too = rows.event(occurred_us=T0)

    assert found(rows, EventFilter()) == [late, early_too, early]
    assert found(rows, EventFilter(), oldest_first=True) == [early, early_too, late]


def test_each_filter_leaves_only_what_matches(rows: Rows) -> None:
    wanted: dict[str, Any] = {"campaign": "c", "status": "printed", "stage": "printing", "type": "campaign"}
    match = rows.event(**wanted)
    for column in wanted:
        rows.event(**(wanted | {column: "other" if column != "stage" else "posted"}))
    rows.event(campaign=None, status=None, stage=None)

    names = EventFilter(campaign="c", status="printed", stage="printing", types=("campaign",))
    assert found(rows, names) == [match]
    assert len(found(rows, EventFilter(campaign="c"))) == 4
    assert found(rows, EventFilter(campaign="unheard")) == []
    assert len(found(rows, EventFilter(types=("campaign", "other")))) == 6


def test_a_period_includes_its_beginning_and_excludes_its_end(rows: Rows) -> None:
    first, second, third = (rows.event(occurred_us=T0 + n) for n in range(3))

    assert found(rows, EventFilter(since_us=T0 + 1)) == [third, second]
    assert found(rows, EventFilter(until_us=T0 + 1)) == [first]
    assert found(rows, EventFilter(since_us=T0 + 1, until_us=T0 + 2)) == [second]


def test_when_it_arrived_is_another_period(rows: Rows) -> None:
    first, second, third = (rows.event(occurred_us=T0 - n, received_us=T0 + n) for n in range(3))

    assert found(rows, EventFilter(received_since_us=T0 + 1)) == [second, third]
    assert found(rows, EventFilter(received_until_us=T0 + 1)) == [first]
    assert found(rows, EventFilter(received_since_us=T0 + 1, received_until_us=T0 + 2)) == [second]


def having(name: str, value: str, **others: Any) -> EventFilter:
    return EventFilter(property=PropertyEquals(name, value), **others)


def test_a_property_with_its_value_is_found_whatever_its_name(rows: Rows) -> None:
    names = [
        "variation",
        "with space",
        "it's",
        'say "hi"',
        "back\\slash",
        "a.b[0]",
        "$",
        "%_",
        "1",
        "ü😀",
        "\n",
    ]
    names += ["x') OR 1=1 --", ""]
    kept = {name: rows.event(properties=encode({"first": 1, name: "B"})) for name in names}
    rows.event(properties=encode({"other": "B", "deep": dict.fromkeys(names, "B")}))

    for name, number in kept.items():
        assert found(rows, having(name, "B")) == [number], name
    assert found(rows, having("variation", "') OR 1=1 --")) == []
    assert found(rows, having("variation", "B", campaign="other")) == []


def test_a_page_looks_into_a_bounded_number_of_events_and_says_where_to_go_on(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "SEARCHED", 3)
    b, c = encode({"v": "B"}), encode({"v": "C"})
    kept = [rows.event(occurred_us=T0 + n, properties=b if n in {0, 7} else c) for n in range(8)]

    for oldest_first, order in ((False, kept[::-1]), (True, kept)):
        pages = []
        after = None
        while True:
            with reading(rows.engine) as connection:
                page = reports.events_page(
                    connection, rows.project_id, having("v", "B"), after=after, oldest_first=oldest_first
                )
            pages.append([each.id for each in page.rows])
            after = page.next
            if after is None:
                break
        assert pages == [[order[0]], [], [order[-1]]]


def test_a_page_of_those_with_a_property_ends_at_its_limit_and_the_next_one_goes_on_there(
    rows: Rows,
) -> None:
    kept = [rows.event(properties=encode({"v": 1})) for _ in range(3)]

    with reading(rows.engine) as connection:
        first = reports.events_page(connection, rows.project_id, having("v", "1"), limit=2)
        second = reports.events_page(connection, rows.project_id, having("v", "1"), limit=2, after=first.next)

    assert [each.id for page in (first, second) for each in page.rows] == kept[::-1]
    assert (len(first.rows), second.next) == (2, None)


def test_a_walk_goes_on_over_pages_without_a_match_until_it_has_enough(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "SEARCHED", 2)
    kept = [rows.event(properties=encode({"v": n % 5})) for n in range(20)]

    def walk(limit: int | None) -> list[int]:
        pages = reports.all_events(
            rows.engine, rows.project_id, having("v", "0"), EventRow._make, oldest_first=True, limit=limit
        )
        return [each.id for page in pages for each in page]

    assert walk(None) == kept[::5]
    assert walk(3) == kept[:15:5]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_events_that_only_look_as_if_they_had_the_property_leave_none_out(rows: Rows, limit: int) -> None:
    """The database finds the text of the property, wherever it stands."""
    deeper, real = encode({"other": {"v": 1}}), encode({"v": 1})
    kept = [rows.event(occurred_us=T0 + n, properties=real if n % 11 == 0 else deeper) for n in range(34)]

    seen: list[int] = []
    after, pages = None, 0
    while pages == 0 or after is not None:
        with reading(rows.engine) as connection:
            page = reports.events_page(
                connection, rows.project_id, having("v", "1"), after=after, limit=limit
            )
        seen += [each.id for each in page.rows]
        after, pages = page.next, pages + 1

    assert seen == kept[::-11]
    assert pages == -(-4 // limit)


def test_a_statement_is_made_once_whatever_its_values_are(rows: Rows) -> None:
    anna = rows.customer({"registered": "anna"})
    numbers = [rows.event(anna, campaign="a", status="s"), rows.event(anna, campaign="b", status="s")]

    of_a = found(rows, EventFilter(customer=ANNA, campaign="a", status="s", variation=None))
    made = event_statements.page.cache_info().misses
    of_b = found(rows, EventFilter(customer=ANNA, campaign="b", status="s"))

    assert [*of_a, *of_b] == numbers
    assert event_statements.page.cache_info().misses == made
    assert found(rows, EventFilter(customer=ANNA, status="s")) == numbers[::-1]


def test_events_of_other_projects_are_never_shown(rows: Rows) -> None:
    customer = rows.customer({"registered": "anna"})
    rows.event(customer)
    rows.begin_project()

    assert found(rows, EventFilter()) == []
    assert found(rows, EventFilter(customer=ANNA)) == []


def test_events_of_a_customer_are_those_of_who_holds_the_id_now(rows: Rows) -> None:
    anna = rows.customer({"registered": "anna", "cookie": ["k1", "k2"]})
    rows.event(rows.customer({"cookie": "k3"}), ids='{"cookie":"k1"}')
    hers = rows.event(anna, ids='{"cookie":"k3"}')

    assert found(rows, EventFilter(customer=ANNA)) == [hers]
    assert found(rows, EventFilter(customer=(ExternalId("cookie", "k2"),))) == [hers]
    assert found(rows, EventFilter(customer=(ExternalId("registered", "bert"),))) == []


def test_of_several_ids_the_first_one_that_anybody_holds_says_who_is_meant(rows: Rows) -> None:
    anna, bert = rows.customer({"registered": "anna"}), rows.customer({"cookie": "k1"})
    hers, his = rows.event(anna), rows.event(bert)
    unknown, cookie = ExternalId("registered", "nobody"), ExternalId("cookie", "k1")

    with reading(rows.engine) as connection:
        assert holders.customer_of(connection, rows.project_id, (unknown, cookie)) == bert
        assert holders.customer_of(connection, rows.project_id, (*ANNA, cookie)) == anna
        assert holders.customer_of(connection, rows.project_id, (unknown,)) is None
    assert found(rows, EventFilter(customer=(unknown, cookie))) == [his]
    assert found(rows, EventFilter(customer=(*ANNA, cookie))) == [hers]


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_page_begins_where_the_one_before_ended_though_new_events_arrive(
    rows: Rows, oldest_first: bool
) -> None:
    kept = [rows.event(occurred_us=T0 + n // 3) for n in range(7)]  # many of the same time

    seen: list[int] = []
    after = None
    while len(seen) < len(kept):
        with reading(rows.engine) as connection:
            page = reports.events_page(
                connection, rows.project_id, EventFilter(), after=after, limit=2, oldest_first=oldest_first
            )
        seen += [each.id for each in page.rows]
        for occurred_us in (T0 - DAY_US, T0 + DAY_US):
            rows.event(occurred_us=occurred_us)
        after = page.next
        assert after

    assert seen[: len(kept)] == (kept if oldest_first else kept[::-1])


def test_a_walk_over_all_events_reads_bounded_pages_in_transactions_of_their_own(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 3)
    kept = [rows.event(occurred_us=T0 + n) for n in range(8)]
    walk = reports.all_events(rows.engine, rows.project_id, EventFilter(), EventRow._make, oldest_first=True)

    sizes, seen = [], []
    for page in walk:
        assert rows.engine.pool.status().endswith("Current Checked out connections: 0")
        sizes.append(len(page))
        seen += [each.id for each in page]

    assert (sizes, seen) == ([3, 3, 2], kept)


def test_a_walk_can_skip_and_stop(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PAGE", 3)
    kept = [rows.event(occurred_us=T0 + n) for n in range(9)]

    def walk(**how: Any) -> list[int]:
        pages = reports.all_events(
            rows.engine, rows.project_id, EventFilter(), EventRow._make, oldest_first=True, **how
        )
        return [each.id for page in pages for each in page]

    assert walk(skip=2, limit=4) == kept[2:6]
    assert walk(limit=6) == kept[:6]
    assert walk(limit=0) == []
    assert walk(skip=20) == []


def test_a_customer_merged_in_the_middle_of_a_walk_is_followed(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 2)
    survivor, anna = rows.customer(), rows.customer({"registered": "anna"})
    kept = [rows.event(anna, occurred_us=T0 + n) for n in range(4)]
    walk = reports.all_events(
        rows.engine, rows.project_id, EventFilter(customer=ANNA), EventRow._make, oldest_first=True
    )

    first = next(walk)
    with rows.engine.execution_options(writes=True).begin() as connection:
        for table in ("events", "customer_ids"):
            connection.execute(text(f"UPDATE {table} SET customer_id = {survivor}"))

    assert [each.id for page in (first, *walk) for each in page] == kept


def test_what_reads_cannot_write_on_postgresql(rows: Rows) -> None:
    if rows.engine.dialect.name == "sqlite":
        pytest.skip("SQLite knows no transaction that only reads")
    with pytest.raises(Exception, match="read-only transaction"), reading(rows.engine) as connection:
        connection.execute(text("DELETE FROM events"))


def test_a_single_question_asks_for_no_transaction_and_leaves_no_mark_on_the_next_one(rows: Rows) -> None:
    def is_in_one(*, once: bool) -> bool:
        with reading(rows.engine, once=once) as connection:
            assert connection.execute(text("SELECT 7")).scalar() == 7
            driver: Any = connection.connection.driver_connection
            if rows.engine.dialect.name == "sqlite":
                return bool(driver.in_transaction)
            return driver.info.transaction_status is not TransactionStatus.IDLE

    assert [is_in_one(once=once) for once in (True, False, True, False)] == [False, True, False, True]


# -- events as text -------------------------------------------------------------------------------

EVENT = EventRow(
    7,
    3,
    '{"registered":"c-1","cookie":"k"}',
    "campaign",
    T0,
    T0 + SECOND,
    "callback",
    'say "hi" \n',
    "Zugestellt ü",
    None,
    "0645d1c2",
    "ids",
    '{"b":1,"a":[1e400,"\\u0000"]}',
    "B",
)


def test_json_of_an_event_keeps_the_properties_to_the_letter() -> None:
    line = export.event_json(EVENT)

    assert "\n" not in line
    assert line.endswith(f'"properties":{EVENT.properties}}}')
    assert json.loads(line) == {
        "id": 7,
        "customer": 3,
        "customer_ids": {"registered": "c-1", "cookie": "k"},
        "type": "campaign",
        "occurred_at": "2025-10-09T08:53:20.250000Z",
        "received_at": "2025-10-09T08:53:21.250000Z",
        "source": "callback",
        "campaign": 'say "hi" \n',
        "status": "Zugestellt ü",
        "stage": None,
        "mailing": "0645d1c2",
        "tied": "ids",
        "variation": "B",
        "properties": {"b": 1, "a": [float("inf"), "\0"]},
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_csv_defuses_what_a_spreadsheet_would_take_for_a_formula(start: str) -> None:
    bomb = f"{start}HYPERLINK(1)"
    texts = export.csv_lines(
        [[export.cells(EVENT._replace(type=bomb, campaign=bomb, status=bomb, variation=bomb))]]
    )

    (record,) = csv.DictReader(io.StringIO("".join(texts), newline=""))

    assert [record[name] for name in ("type", "campaign", "status", "variation")] == [f"'{bomb}"] * 4
    assert record["customer_ids"] == EVENT.ids
    assert record["properties"] == EVENT.properties
    assert (record["occurred_at"], record["stage"]) == ("2025-10-09T08:53:20.250000Z", "")


def test_csv_of_no_events_still_names_the_columns() -> None:
    assert "".join(export.csv_lines([])) == "".join(export.csv_lines([[], []]))
    assert "".join(export.csv_lines([])).split(",")[:2] == ["id", "customer"]


def test_an_array_is_whole_however_its_pages_fall() -> None:
    several: list[list[list[str]]] = [[], [[]], [[], ["1"], []], [["1", "2"], ["3"]]]
    for pages in several:
        assert json.loads("".join(export.json_array("[", pages, "]"))) == [
            int(each) for page in pages for each in page
        ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-10-09T08:53:20.25Z", T0),
        ("2025-10-09t10:53:20.25+02:00", T0),
        ("2025-10-09T08:53:20.250000", T0),
        ("2025-10-09", T0 - T0 % DAY_US),
    ],
)
def test_a_moment_is_iso_8601_and_utc_unless_it_says(text: str, moment: int) -> None:
    assert moment_us(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "1760000000", "0001-01-01T00:00:00+14:00", "2025-13-01"])
def test_what_is_no_moment_is_a_value_error(text: str) -> None:
    if text == "0001-01-01T00:00:00+14:00":
        assert moment_us(text) < 0  # out of the calendar, not out of the arithmetic
    else:
        with pytest.raises(ValueError, match="no ISO 8601 time"):
            moment_us(text)


@pytest.mark.parametrize(
    "time_us",
    [moment_us("2000-01-01"), moment_us("2026-02-28T23:59:59.999999Z"), T0 + 1, T0 - T0 % 60_000_000 + 5],
)
def test_events_tell_their_times_as_everybody_does(time_us: int) -> None:
    later_us = time_us + 59_000_001
    told = json.loads(export.event_json(EVENT._replace(occurred_us=time_us, received_us=later_us)))

    assert (told["occurred_at"], told["received_at"]) == (iso(time_us), iso(later_us))


def test_minutes_that_were_told_of_are_forgotten_in_time() -> None:
    for minute in range(10_000):
        time_us = T0 + minute * 60_000_000
        told = json.loads(export.event_json(EVENT._replace(occurred_us=time_us)))
        assert told["occurred_at"] == iso(time_us)

    assert len(export._MINUTES) <= export._MOST_MINUTES + 1


def test_lines_of_some_events_are_those_of_each() -> None:
    some = [EVENT, EVENT._replace(id=8, campaign=None, properties='{"é":1}')]

    assert export.event_lines(some) == b"".join(f"{export.event_json(each)}\n".encode() for each in some)
    assert export.event_lines([]) == b""


def test_a_moment_is_written_with_all_its_microseconds() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
    assert iso(moment_us("2026-11-23T23:59:59.999999Z")) == "2026-11-23T23:59:59.999999Z"


# -- customers ------------------------------------------------------------------------------------


def test_ids_come_by_kind_with_the_most_recently_used_one_last(rows: Rows) -> None:
    anna = rows.customer({"registered": "anna", "cookie": ["old", "middle", "a-new"]})
    rows.customer({"cookie": "other"})

    with reading(rows.engine) as connection:
        known = holders.find_holder(connection, rows.project_id, ANNA)

    assert known is not None
    assert known.number == anna
    assert known.values() == {"cookie": ["old", "middle", "a-new"], "registered": ["anna"]}
    assert [each.value for each in known.ids] == ["old", "middle", "a-new", "anna"]
    assert known.properties == []


def test_properties_come_as_the_json_that_was_kept_in_the_order_of_their_names(rows: Rows) -> None:
    rows.customer({"registered": "anna"}, {"name": "Anna", "age": 41, "tags": [1, None]})
    rows.customer({"registered": "bert"}, {"name": "Bert"})

    with reading(rows.engine, once=True) as connection:
        known = holders.find_holder(connection, rows.project_id, ANNA)

    assert known is not None
    found = [(each.name, each.value) for each in known.properties]
    assert found == [("age", "41"), ("name", '"Anna"'), ("tags", "[1, null]")]


def test_of_several_ids_the_first_that_anybody_holds_tells_of_whom_everything_is(rows: Rows) -> None:
    rows.customer({"registered": "anna"}, {"name": "Anna"})
    bert = rows.customer({"cookie": "k1"}, {"name": "Bert"})
    unknown, cookie = ExternalId("registered", "nobody"), ExternalId("cookie", "k1")

    with reading(rows.engine) as connection:
        known = holders.find_holder(connection, rows.project_id, (unknown, cookie, *ANNA))
        nobody = holders.find_holder(connection, rows.project_id, (unknown,))

    assert known is not None
    assert (known.number, known.values()) == (bert, {"cookie": ["k1"]})
    assert [each.value for each in known.properties] == ['"Bert"']
    assert nobody is None


# -- rejections -----------------------------------------------------------------------------------


def test_rejections_come_newest_first_and_only_those_that_match(rows: Rows) -> None:
    first = rows.rejection()
    dismissed = rows.rejection(state="dismissed")
    other = rows.rejection(reason="malformed_json")

    assert found_rejections(rows) == [other, dismissed, first]
    assert found_rejections(rows, reason="malformed_json") == [other]
    assert found_rejections(rows, state="open") == [other, first]
    assert found_rejections(rows, state="dismissed", reason="malformed_json") == []
    rows.begin_project()
    assert found_rejections(rows) == []


def test_a_collapsed_rejection_belongs_to_every_period_from_its_first_to_its_last_time(rows: Rows) -> None:
    long = rows.rejection(received_us=T0, last_seen_us=T0 + 10)
    short = rows.rejection(received_us=T0 + 5)

    assert found_rejections(rows, since_us=T0 + 5, until_us=T0 + 6) == [short, long]
    assert found_rejections(rows, since_us=T0 + 6) == [long]
    assert found_rejections(rows, since_us=T0 + 11) == []
    assert found_rejections(rows, until_us=T0 + 5) == [long]
    assert found_rejections(rows, until_us=T0) == []


def test_text_is_found_in_bodies_also_in_those_that_are_no_text(rows: Rows) -> None:
    plain = rows.rejection('{"street":"Größe 5%_"}'.encode())
    binary = rows.rejection(b"\xff\x00needle\xfe")

    assert found_rejections(rows, text="Größe") == [plain]
    assert found_rejections(rows, text="5%_") == [plain]
    assert found_rejections(rows, text="needle") == [binary]
    assert found_rejections(rows, text="NEEDLE") == []


def test_a_search_for_text_looks_into_so_many_bodies_and_goes_on_from_there(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused, "SEARCHED", 3)
    kept = [rows.rejection(b"needle" if n in {0, 5} else b"hay") for n in range(7)]

    pages, after = [], None
    while True:
        with reading(rows.engine) as connection:
            page = refused.rejections_page(
                connection, rows.project_id, RejectionFilter(text="needle"), after=after
            )
        pages.append([each.id for each in page.rows])
        if page.next is None:
            break
        after = page.next

    assert pages == [[kept[5]], [], [kept[0]]]


def test_pages_of_rejections_follow_each_other(rows: Rows) -> None:
    kept = [rows.rejection() for _ in range(5)]

    with reading(rows.engine) as connection:
        first = refused.rejections_page(connection, rows.project_id, RejectionFilter(), limit=3)
        rest = refused.rejections_page(
            connection, rows.project_id, RejectionFilter(), after=first.next, limit=3
        )

    assert [each.id for each in (*first.rows, *rest.rows)] == kept[::-1]
    assert rest.next is None


def test_one_rejection_comes_with_its_bytes_and_only_within_its_project(rows: Rows) -> None:
    body = bytes(range(256))
    rejection = rows.rejection(body)
    project = rows.project_id

    with reading(rows.engine) as connection:
        kept = refused.find_rejection(connection, project, rejection)
        assert refused.find_rejection(connection, project + 1, rejection) is None
        assert refused.find_rejection(connection, project, 2**63 - 1) is None

    assert kept is not None
    assert (kept.row.id, kept.body, kept.row.form) == (rejection, body, "event")


def test_the_summary_counts_every_time_that_something_came(rows: Rows) -> None:
    rows.rejection(count=3, received_us=T0, last_seen_us=T0 + 9)
    rows.rejection(count=1, received_us=T0 + 1)
    rows.rejection(reason="malformed_json", count=40, received_us=T0 + 2, state="dismissed")

    with reading(rows.engine) as connection:
        found = refusal_counts.summary(connection, rows.project_id, RejectionFilter())
        opened = refusal_counts.summary(connection, rows.project_id, RejectionFilter(state="open"))

    assert [(each.reason, each.count) for each in found] == [("malformed_json", 40), ("empty_customer_id", 4)]
    assert (found[1].first_seen_us, found[1].last_seen_us) == (T0, T0 + 9)
    assert [each.reason for each in opened] == ["empty_customer_id"]


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"state": "open"},
        {"reason": "malformed_json"},
        {"reason": "malformed_json", "state": "open"},
        {"campaign": "spring"},
        {"event_type": "campaign", "forms": ("event",)},
        {"since_us": T0},
        {"until_us": T0 + 1, "pointer": ""},
    ],
    ids=str,
)
def test_no_page_of_rejections_reads_or_sorts_more_than_it_shows(rows: Rows, filters: dict[str, Any]) -> None:
    rows.rejection(reason="malformed_json", pointer="", campaign="spring", event_type="campaign")
    statements: list[Any] = []
    event.listen(rows.engine, "before_cursor_execute", lambda *call: statements.append(call))
    with reading(rows.engine) as connection:
        if rows.engine.dialect.name == "postgresql":
            # Of a handful of rows it would rather read all.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
        refused.rejections_page(connection, rows.project_id, RejectionFilter(**filters))
        explain = "EXPLAIN" if rows.engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        (asked,) = [call for call in statements if "UNION ALL" in call[2] or call[2].count("LIMIT") == 2]
        plan = [
            str(line[-1]).strip() for line in connection.exec_driver_sql(f"{explain} {asked[2]}", asked[3])
        ]

    assert any("ix_rejections_shape" in line or "ix_rejections_state" in line for line in plan)
    assert not any("SCAN rejections" in line or "Seq Scan on rejections" in line for line in plan)
    for before, line in pairwise(plan):
        # What is sorted is only the few that the legs gave together.
        if "TEMP B-TREE" in line:
            assert before.startswith("SCAN anon")
        assert not (line.startswith("->  Sort") and "rejections" in plan[plan.index(line) + 2])
