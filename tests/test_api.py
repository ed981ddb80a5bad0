"""Our own API over HTTP, on both databases."""

import csv
import io
import json
import sys
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet
import pytest
from sqlalchemy import Engine, insert, text
from starlette.testclient import TestClient

from receiver.domain.json_text import encode
from receiver.domain.moments import DAY_US, iso
from receiver.store import parquet, reports, tables
from receiver.store.engine import connect
from receiver.web import api
from receiver.web.documents import EventsDocument, ProblemDocument
from tests.reading_app import authorization
from tests.rows import T0, Rows

SECOND = 1_000_000


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url, wait_seconds=0.5)
    yield engine
    engine.dispose()


def get(client: TestClient, rows: Rows, path: str, role: str = "ops", **parameters: Any) -> Any:
    url = f"/v1/projects/{rows.project.token}{path}"
    return client.get(url, params=parameters, headers=authorization(rows.project, role))


def good(client: TestClient, rows: Rows, path: str, **parameters: Any) -> Any:
    answer = get(client, rows, path, **parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def problem(answer: Any, status: int) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    ProblemDocument.model_validate_json(answer.content, strict=True)
    assert answer.json()["status"] == status
    return answer.json()


def wrong_parameters(client: TestClient, rows: Rows, path: str, **parameters: Any) -> list[str]:
    found = problem(get(client, rows, path, **parameters), 400)
    assert all(error["detail"].endswith(".") for error in found["errors"])
    return [error["parameter"] for error in found["errors"]]


# -- events ---------------------------------------------------------------------------------------


def test_an_event_is_told_with_all_that_is_known_of_it(client: TestClient, rows: Rows) -> None:
    anna = rows.customer({"registered": "anna"})
    number = rows.event(
        anna,
        received_us=T0 + SECOND,
        campaign="spring",
        status="Zugestellt",
        stage="unknown",
        variation="B",
        ids='{"registered":"anna","cookie":"k"}',
        properties='{"n":1}',
    )

    assert good(client, rows, "/events") == {
        "data": [
            {
                "id": number,
                "customer": anna,
                "customer_ids": {"registered": "anna", "cookie": "k"},
                "type": "campaign",
                "occurred_at": "2025-10-09T08:53:20.250000Z",
                "received_at": "2025-10-09T08:53:21.250000Z",
                "source": "callback",
                "campaign": "spring",
                "status": "Zugestellt",
                "stage": "unknown",
                "mailing": None,
                "tied": None,
                "variation": "B",
                "properties": {"n": 1},
            }
        ],
        "next": None,
    }


def test_every_filter_reaches_the_database(client: TestClient, rows: Rows) -> None:
    anna = rows.customer({"registered": "a:n=na"})
    wanted = {
        "campaign": "c",
        "status": "s",
        "stage": "posted",
        "type": "t",
        "variation": "B",
        "properties": encode({"v:1": 2.5}),
    }
    match = rows.event(anna, T0, **wanted)
    rows.event(anna, T0 + DAY_US, received_us=T0 + DAY_US, **wanted)
    rows.event(received_us=T0 - DAY_US)
    rows.event(received_us=T0 + DAY_US)

    filters = {
        "customer": "registered:a:n=na",
        "campaign": "c",
        "status": "s",
        "stage": "posted",
        "type": "t",
        "variation": "B",
        "since": "2025-10-09",
        "until": "2025-10-10T00:00:00+02:00",
        "property": '"v:1":2.50',
        "received_since": "2025-10-09",
        "received_until": "2025-10-10",
    }
    assert [each["id"] for each in good(client, rows, "/events", **filters)["data"]] == [match]
    for name in filters.keys() - {"since"}:
        found = good(client, rows, "/events", **{name: filters[name]})["data"]
        assert match in [each["id"] for each in found]
        assert len(found) < 4


def test_an_id_that_nobody_holds_has_no_events(client: TestClient, rows: Rows) -> None:
    rows.event(rows.customer({"registered": "anna"}))

    assert good(client, rows, "/events", customer="registered:bert") == {"data": [], "next": None}


@pytest.mark.parametrize("order", [None, "newest", "oldest"])
def test_pages_follow_each_other_by_their_cursor(client: TestClient, rows: Rows, order: str | None) -> None:
    kept = [rows.event(occurred_us=T0 + n // 2) for n in range(5)]

    seen: list[int] = []
    parameters = {"order": order} if order else {}
    while True:
        page = good(client, rows, "/events", limit=2, **parameters)
        seen += [each["id"] for each in page["data"]]
        if page["next"] is None:
            break
        assert page["next"].replace("-", "").isalnum()  # URL-safe
        parameters["cursor"] = page["next"]

    assert seen == (kept if order == "oldest" else kept[::-1])


def test_a_cursor_is_of_one_order(client: TestClient, rows: Rows) -> None:
    for _ in range(2):
        rows.event()

    said = "The page before had the other order; ask in that one, or without a cursor."
    for order, other in (("newest", "oldest"), ("oldest", "newest")):
        cursor = good(client, rows, "/events", limit=1, order=order)["next"]
        for form in ("json", "jsonl"):
            answer = get(client, rows, "/events", order=other, cursor=cursor, format=form)
            assert problem(answer, 400)["errors"] == [{"parameter": "cursor", "detail": said}]
        assert wrong_parameters(client, rows, "/events", order="up", cursor=cursor) == ["order"]


def test_the_name_of_a_property_ends_at_the_first_sign_unless_it_stands_in_quotes(
    client: TestClient, rows: Rows
) -> None:
    short = rows.event(properties=encode({"a": 'b:c="'}))
    long = rows.event(properties=encode({"a:b": 'c="'}))
    quoted = rows.event(properties=encode({'"a"\n': ""}))

    def ids(wanted: str) -> list[int]:
        return [each["id"] for each in good(client, rows, "/events", property=wanted)["data"]]

    assert ids('a:b:c="') == ids('a=b:c="') == ids('"a":b:c="') == [short]
    assert ids('"a:b":c="') == ids('"a\\u003ab"=c="') == [long]
    assert ids('"\\"a\\"\\n":') == [quoted]


def test_a_page_of_a_rare_property_is_short_and_the_export_walks_on(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "SEARCHED", 2)
    first = rows.event(properties='{"v":"B"}')
    for n in range(1, 5):
        rows.event(occurred_us=T0 + n)

    page = good(client, rows, "/events", property="v:B")
    export = get(client, rows, "/events", property="v:B", format="jsonl").text.splitlines()

    assert page["data"] == []
    assert page["next"]
    assert [json.loads(line)["id"] for line in export] == [first]


def test_a_page_has_a_hundred_events_unless_told(client: TestClient, rows: Rows) -> None:
    for _ in range(101):
        rows.event()

    assert len(good(client, rows, "/events")["data"]) == 100
    assert len(good(client, rows, "/events", limit=1000)["data"]) == 101


def test_json_lines_stream_every_match(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 2)
    for n in range(5):
        rows.event(occurred_us=T0 + n, campaign="c", properties=f'{{"n":{n}}}')
    rows.event()

    answer = get(client, rows, "/events", format="jsonl", campaign="c")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["properties"]["n"] for line in lines] == [4, 3, 2, 1, 0]
    assert get(client, rows, "/events", format="jsonl", limit=3).text.count("\n") == 3
    assert get(client, rows, "/events", format="jsonl", type="never").text == ""


def test_csv_streams_every_match_with_formulas_defused(client: TestClient, rows: Rows) -> None:
    number = rows.event(campaign="=1+1", properties='{"a":"x,\\"y"}')

    answer = get(client, rows, "/events", format="csv")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    (record,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert (record["id"], record["campaign"]) == (str(number), "'=1+1")
    assert json.loads(record["properties"]) == {"a": 'x,"y'}
    assert get(client, rows, "/events", format="csv", type="never").text.count("\r\n") == 1


def test_parquet_streams_every_match_in_parts(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 2)
    monkeypatch.setattr(parquet, "GROUP", 2)
    kept = [rows.event(occurred_us=T0 + n, campaign="c") for n in range(5)]
    rows.event()

    answer = get(client, rows, "/events", format="parquet", campaign="c", order="oldest")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.apache.parquet")
    assert answer.headers["content-disposition"] == 'attachment; filename="events.parquet"'
    file = pyarrow.parquet.ParquetFile(io.BytesIO(answer.content))
    assert file.num_row_groups == 3
    assert [row["id"] for row in file.read().to_pylist()] == kept


def test_parquet_without_its_extra_says_how_to_get_it(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    detail = problem(get(client, rows, "/events", format="parquet"), 501)["detail"]

    assert "pip install '.[parquet]'" in detail


def test_the_text_of_a_page_is_what_the_model_describes(client: TestClient, rows: Rows) -> None:
    rows.event(campaign='quo"ted')

    EventsDocument.model_validate_json(get(client, rows, "/events", limit=1).content, strict=True)


# -- rejections -----------------------------------------------------------------------------------


def test_a_rejection_is_told_with_what_came(client: TestClient, rows: Rows) -> None:
    number = rows.rejection(
        b'{"a":  1, "a": 1e400}',
        form="command",
        count=2,
        last_seen_us=T0 + SECOND,
        attempts=1,
        campaign="spring",
    )
    listed = {
        "id": number,
        "received_at": "2025-10-09T08:53:20.250000Z",
        "last_seen": "2025-10-09T08:53:21.250000Z",
        "route": "batch",
        "reason": "empty_customer_id",
        "detail": "The customer ID registered is empty; leave it out when there is no value.",
        "pointer": "/customer_ids/registered",
        "state": "open",
        "count": 2,
        "attempts": 1,
        "type": None,
        "campaign": "spring",
    }

    assert good(client, rows, "/rejections") == {"data": [listed], "next": None}
    assert good(client, rows, f"/rejections/{number}") == {
        **listed,
        "body": '{"a":  1, "a": 1e400}',
        "place": {"start": 0, "end": 21, "line": 1, "column": 1, "missing": True},
        "headers": [["content-type", "application/json"]],
        "attempts_made": [],
        "similar": [],
    }


def test_a_body_that_is_no_text_comes_in_base64(client: TestClient, rows: Rows) -> None:
    number = rows.rejection(b"\xff\x00")

    found = good(client, rows, f"/rejections/{number}")

    assert "body" not in found
    assert b64decode(found["body_base64"]) == b"\xff\x00"


def test_rejections_are_filtered_and_paged(client: TestClient, rows: Rows) -> None:
    first = rows.rejection(b"hay")
    second = rows.rejection(b"needle", reason="malformed_json", state="dismissed", received_us=T0 + DAY_US)

    def ids(**filters: str) -> list[int]:
        return [each["id"] for each in good(client, rows, "/rejections", **filters)["data"]]

    assert ids() == [second, first]
    assert ids(reason="malformed_json") == ids(state="dismissed") == ids(q="needle") == [second]
    assert ids(since="2025-10-10") == [second]
    assert ids(until="2025-10-10") == [first]
    page = good(client, rows, "/rejections", limit=1)
    assert ids(cursor=page["next"]) == [first]


def test_rejections_are_filtered_by_what_they_have_in_common(client: TestClient, rows: Rows) -> None:
    listed = rows.rejection(form="flat", reason="malformed_json", pointer="", event_type="t", campaign="c")
    item = rows.rejection(form="flat_item", pointer="/a~1b", event_type="t é", campaign="a b")
    rows.rejection(form="update")

    def ids(**filters: str) -> list[int]:
        found = [each["id"] for each in good(client, rows, "/rejections", **filters)["data"]]
        assert ids_by_reason(filters) == len(found)
        return found

    def ids_by_reason(filters: dict[str, str]) -> int:
        summary = good(client, rows, "/rejections/summary", **filters)["data"]
        return sum(each["rejections"] for each in summary)

    assert ids(type="t") == ids(campaign="c") == ids(pointer="") == [listed]
    assert ids(type="t é") == ids(campaign="a b") == ids(pointer="/a~1b") == [item]
    assert ids(route="callbacks") == [item, listed]
    assert ids(route="callbacks", pointer="/a~1b", state="open") == [item]
    assert ids(route="batch") == ids(route="customers/events") == ids(type="t", campaign="a b") == []
    assert len(ids(route="customers")) == 1


def test_the_summary_counts_by_reason(client: TestClient, rows: Rows) -> None:
    rows.rejection(count=3, last_seen_us=T0 + SECOND)
    rows.rejection(state="replayed", received_us=T0 - SECOND)
    rows.rejection(reason="malformed_json", state="dismissed")

    whole = {
        "reason": "empty_customer_id",
        "count": 4,
        "rejections": 2,
        "open": 1,
        "first_seen": "2025-10-09T08:53:19.250000Z",
        "last_seen": "2025-10-09T08:53:21.250000Z",
    }
    of_open = {"count": 3, "rejections": 1, "first_seen": "2025-10-09T08:53:20.250000Z"}
    assert good(client, rows, "/rejections/summary", state="open") == {"data": [whole | of_open]}
    assert good(client, rows, "/rejections/summary")["data"][0] == whole
    assert len(good(client, rows, "/rejections/summary")["data"]) == 2


def test_the_summary_of_a_period_is_by_whole_hours_unless_a_state_is_asked_for(
    client: TestClient, rows: Rows
) -> None:
    rows.rejection(count=3, last_seen_us=T0 + SECOND)

    of_hours = good(client, rows, "/rejections/summary", since="2025-10-09T08:59", until="2025-10-09T09:00")
    of_rows = good(client, rows, "/rejections/summary", since="2025-10-09T08:53", state="open")

    assert of_hours["data"] == [
        {
            "reason": "empty_customer_id",
            "count": 3,
            "rejections": None,
            "open": None,
            "first_seen": "2025-10-09T08:00:00.000000Z",
            "last_seen": "2025-10-09T08:53:21.250000Z",
        }
    ]
    assert [(each["count"], each["rejections"], each["open"]) for each in of_rows["data"]] == [(3, 1, 1)]
    assert good(client, rows, "/rejections/summary", since="2025-10-09T08:59", state="open")["data"] == []


def test_the_summary_by_shape_has_a_row_for_each_failing_place(client: TestClient, rows: Rows) -> None:
    for form, pointer in (("event", "/a"), ("command", "/a"), ("event", "/b")):
        rows.rejection(form=form, pointer=pointer)

    found = good(client, rows, "/rejections/summary", by="shape")["data"]

    assert [(each["pointer"], each["count"]) for each in found] == [("/a", 2), ("/b", 1)]
    assert not any("trend" in each for each in found)


def test_a_trend_has_a_number_for_each_span_the_present_one_last(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: (T0 + DAY_US) * 1000)
    rows.rejection(count=3)
    rows.rejection(received_us=T0 + DAY_US)

    def trend(**parameters: str) -> Any:
        return good(client, rows, "/rejections/summary", **parameters)["data"][0]["trend"]

    assert trend(trend="hour") == [*[0] * 23, 1]
    assert trend(trend="day", by="shape", state="open") == [*[0] * 12, 3, 1]


def test_a_rejection_that_is_not_there_or_not_ones_own_is_a_404(client: TestClient, rows: Rows) -> None:
    number = rows.rejection()
    rows.begin_project()

    for unknown in (number, 0, 2**63, "-1", "x", "٣", "1" * 5000):
        problem(get(client, rows, f"/rejections/{unknown}"), 404)


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("customer", "registered"),
        ("customer", "registered: "),
        ("customer", "email:anna@example.com"),
        ("customer", "registered:a\0"),
        ("campaign", ""),
        ("campaign", "x" * 501),
        ("status", "a\0"),
        ("type", "\0"),
        ("variation", ""),
        ("stage", "Delivered"),
        ("since", "yesterday"),
        ("until", "2025-10-09T08:53:20 02:00"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "many"),
        ("limit", "9" * 5000),
        ("cursor", ""),
        ("cursor", "nonsense"),
        ("cursor", "-1-1"),
        ("cursor", "f" * 16 + "-1"),
        ("cursor", "1-1 OR 1=1"),
        ("cursor", "newest-1-1"),
        ("property", "variation"),
        ("property", ":B"),
        ("property", '"open:example.com'),
        ("property", '"\\x":example.com'),
        ("property", '"a"b:example.com'),
        ("property", "a:\0"),
        ("property", '"\\u0000":example.com'),
        ("property", '"\\ud800":example.com'),
        ("received_since", "yesterday"),
        ("received_until", "1760000000"),
        ("order", "desc"),
        ("format", "xml"),
        ("campain", "x"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named_and_its_value_not_repeated(
    client: TestClient, rows: Rows, name: str, value: str
) -> None:
    assert wrong_parameters(client, rows, "/events", **{name: value}) == [name]
    assert "example.com" not in get(client, rows, "/events", **{name: value}).text


def test_all_wrong_parameters_are_named_at_once(client: TestClient, rows: Rows) -> None:
    wrong = wrong_parameters(client, rows, "/rejections", reason="nope", state="shut", q="", x="1")

    assert sorted(wrong) == ["q", "reason", "state", "x"]


def test_a_parameter_that_stands_there_twice_is_no_question(client: TestClient, rows: Rows) -> None:
    assert wrong_parameters(client, rows, "/events", stage=["posted", "delivered"]) == ["stage"]


@pytest.mark.parametrize("path", ["/outcomes", "/rejections/summary", "/rejections/1"])
def test_no_route_overlooks_a_parameter_that_it_does_not_know(
    client: TestClient, rows: Rows, path: str
) -> None:
    assert wrong_parameters(client, rows, path, limitt="1") == ["limitt"]


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("/events", {"data", "ops"}),
        ("/outcomes", {"data", "ops"}),
        ("/rejections", {"ops"}),
        ("/rejections/summary", {"ops"}),
        ("/rejections/1", {"ops"}),
    ],
)
def test_each_route_is_open_to_its_roles_alone(
    client: TestClient, rows: Rows, path: str, roles: set[str]
) -> None:
    for role in ("tracking", "data", "ops", "sender"):
        answer = get(client, rows, path, role)
        if role in roles:
            assert answer.status_code in {200, 404}
        else:
            problem(answer, 403)


def test_who_has_no_key_is_refused(client: TestClient, rows: Rows) -> None:
    path = f"/v1/projects/{rows.project.token}/events"

    nobody = client.get(path)
    by_token = client.get(path, params={"access_token": str(rows.project.public_token)})

    assert problem(nobody, 401)["detail"] == "Access key not provided."
    assert nobody.headers["www-authenticate"].startswith("Basic")
    problem(by_token, 401)
    problem(client.get("/v1/projects/x/events"), 400)


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "parquet"])
def test_a_database_that_is_away_is_a_503_and_no_half_answer(
    client: TestClient, rows: Rows, form: str
) -> None:
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO events_away"))

    answer = get(client, rows, "/events", format=form)

    problem(answer, 503)
    assert answer.headers["retry-after"] == "5"


def test_every_operation_has_a_route_and_says_what_it_does() -> None:
    paths = {route.path_format for route in api.routes}

    for operation in api.OPERATIONS:
        assert api.PREFIX + operation.path in paths
        assert operation.answer.__doc__


def _mailing(rows: Rows, number: int) -> dict[str, Any]:
    """The first one unknown, two intended, one queued."""
    return {
        "id": f"{number:024x}",
        "project_id": rows.project_id,
        "route": "recipient",
        "automation": "a",
        "state": ("unknown", "intended", "intended", "queued")[number],
        "ids": "{}",
        "together": 1,
        "attempts": 0,
        "created_us": T0 + number,
        "untold": False,
    }


def test_the_status_tells_what_waits_and_when_somebody_was_heard_of_last(
    client: TestClient, rows: Rows
) -> None:
    nothing = {"number": 0, "since": None}
    assert good(client, rows, "/status") == {
        "last_callback": None,
        "to_store": 0,
        "to_send": nothing,
        "unknown": nothing,
        "open_rejections": nothing,
    }
    rows.counter(3, 3, 0, 0, T0, campaign="spring")
    rows.counter(1, 1, 0, 0, T0 + 5 * SECOND)
    rows.counter(1, 1, 0, 0, T0 + DAY_US, source="replayed")
    rows.rejection(received_us=T0 + 1, count=7)
    rows.rejection(received_us=T0, state="dismissed")
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(insert(tables.mailings), [_mailing(rows, number) for number in range(4)])

    found = good(client, rows, "/status")

    assert found == {
        "last_callback": iso(T0 + 5 * SECOND),
        "to_store": 0,
        "to_send": {"number": 2, "since": iso(T0 + 1)},
        "unknown": {"number": 1, "since": iso(T0)},
        "open_rejections": {"number": 1, "since": iso(T0 + 1)},
    }
