"""The Data API over HTTP, in the vendor's shapes, on both databases."""

import csv
import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import Engine, QueuePool, text
from starlette.testclient import TestClient

from receiver.store import customers, reports
from receiver.store.customers import Column
from receiver.store.engine import connect
from receiver.web.data_documents import (
    AttributesDocument,
    CustomerDocument,
    CustomerEventsDocument,
    CustomersDocument,
)
from receiver.web.data_questions import MOST_ATTRIBUTES
from tests.reading_app import asking, authorization
from tests.rows import T0, Rows

SECOND = 1_000_000


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url, wait_seconds=0.5)
    yield engine
    engine.dispose()


def ask(client: TestClient, rows: Rows, route: str, body: object, role: str = "data") -> Any:
    """The answer as it came; *body* is sent as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(
        f"/data/v2/projects/{rows.project.token}/customers/{route}",
        content=content,
        headers=authorization(rows.project, role),
    )


def good(client: TestClient, rows: Rows, route: str, body: object) -> Any:
    answer = ask(client, rows, route, body)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def errors(client: TestClient, rows: Rows, route: str, body: object) -> Any:
    answer = ask(client, rows, route, body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    return answer.json()["errors"]


ANNA = {"customer_ids": {"registered": "anna"}}
CAMPAIGNS = {**ANNA, "event_types": ["campaign"]}


# -- events ---------------------------------------------------------------------------------------


def test_events_of_a_customer_come_in_the_vendors_shape_the_oldest_first(
    client: TestClient, rows: Rows
) -> None:
    anna = rows.customer({"registered": "anna"})
    rows.event(anna, T0 + SECOND, properties='{"status":"delivered","n":1.50}')
    rows.event(anna, T0, properties='{"status":"printed"}')

    assert good(client, rows, "events", CAMPAIGNS) == {
        "success": True,
        "data": [
            {"type": "campaign", "timestamp": 1760000000.25, "properties": {"status": "printed"}},
            {
                "type": "campaign",
                "timestamp": 1760000001.25,
                "properties": {"status": "delivered", "n": 1.5},
            },
        ],
    }


def test_properties_are_answered_to_the_letter(client: TestClient, rows: Rows) -> None:
    kept = '{"b":1.50,"a":1e400,"é":"\\u00e9"}'
    rows.event(rows.customer({"registered": "anna"}), properties=kept)

    assert f'"properties":{kept}' in ask(client, rows, "events", CAMPAIGNS).text


def test_only_the_types_that_were_asked_for_are_answered(client: TestClient, rows: Rows) -> None:
    anna = rows.customer({"registered": "anna"})
    for n, event_type in enumerate(["campaign", "merge", "consent"]):
        rows.event(anna, T0 + n, type=event_type)

    question = {**ANNA, "event_types": ["consent", "merge", "never"]}
    types = [each["type"] for each in good(client, rows, "events", question)["data"]]

    assert types == ["merge", "consent"]


def test_order_limit_and_skip_work_together(client: TestClient, rows: Rows) -> None:
    anna = rows.customer({"registered": "anna"})
    for n in range(5):
        rows.event(anna, T0 + n * SECOND, properties=f'{{"n":{n}}}')

    def numbers(**how: Any) -> list[int]:
        data = good(client, rows, "events", {**CAMPAIGNS, **how})["data"]
        return [each["properties"]["n"] for each in data]

    assert numbers() == [0, 1, 2, 3, 4]
    assert numbers(order="desc", limit=2) == [4, 3]
    assert numbers(skip=1, limit=2) == [1, 2]
    assert numbers(order="desc", skip=3) == [1, 0]
    assert numbers(limit=0) == []
    assert numbers(limit=None, skip=None, order=None) == [0, 1, 2, 3, 4]


def test_an_answer_of_many_pages_is_one_document(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 2)
    anna = rows.customer({"registered": "anna"})
    for n in range(5):
        rows.event(anna, T0 + n * SECOND)

    kept = [each["timestamp"] for each in good(client, rows, "events", CAMPAIGNS)["data"]]
    assert kept == [(T0 + n * SECOND) / 1e6 for n in range(5)]
    assert len(good(client, rows, "export-one", ANNA)["events"]) == 5


@pytest.mark.parametrize(("page", "length"), [(4, True), (5, True), (3, False)])
def test_an_answer_of_one_page_is_sent_at_once(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch, page: int, length: bool
) -> None:
    monkeypatch.setattr(reports, "PAGE", page)
    anna = rows.customer({"registered": "anna"})
    for n in range(4):
        rows.event(anna, T0 + n * SECOND)

    for route, body in (("events", CAMPAIGNS), ("export-one", ANNA)):
        assert ("content-length" in ask(client, rows, route, body).headers) == length


def test_who_has_no_event_of_a_type_is_known_all_the_same(client: TestClient, rows: Rows) -> None:
    rows.event(rows.customer({"registered": "anna"}), type="consent")
    nobody = {**CAMPAIGNS, "customer_ids": {"registered": "nobody"}}

    assert good(client, rows, "events", CAMPAIGNS) == {"success": True, "data": []}
    assert good(client, rows, "events", {**CAMPAIGNS, "limit": 0})["data"] == []
    for how in ({}, {"limit": 0}, {"skip": 3}):
        assert ask(client, rows, "events", {**nobody, **how}).status_code == 404


def test_an_id_may_be_a_number_and_an_empty_one_beside_it_does_not_matter(
    client: TestClient, rows: Rows
) -> None:
    rows.event(rows.customer({"registered": "12"}))

    for ids in ({"registered": 12}, {"registered": " 12 "}, {"registered": 12, "cookie": None}):
        assert len(good(client, rows, "events", {**CAMPAIGNS, "customer_ids": ids})["data"]) == 1


def test_the_hard_id_says_who_is_meant_and_a_soft_one_where_it_is_unknown(
    client: TestClient, rows: Rows
) -> None:
    rows.event(rows.customer({"registered": "anna"}), properties='{"of":"anna"}')
    rows.event(rows.customer({"cookie": "k1"}), properties='{"of":"k1"}')

    for ids, whose in (
        ({"cookie": "k1", "registered": "anna"}, "anna"),
        ({"cookie": "k1", "registered": "nobody"}, "k1"),
    ):
        (found,) = good(client, rows, "events", {**CAMPAIGNS, "customer_ids": ids})["data"]
        assert found["properties"] == {"of": whose}


# -- export-one and attributes --------------------------------------------------------------------


def test_export_one_tells_everything_with_soft_ids_as_a_list_the_last_used_last(
    client: TestClient, rows: Rows
) -> None:
    anna = rows.customer({"registered": "anna", "cookie": ["k1", "k2"]}, {"city": "Köln", "age": 41})
    rows.event(anna, type="merge")

    assert good(client, rows, "export-one", ANNA) == {
        "success": True,
        "ids": {"registered": "anna", "cookie": ["k1", "k2"]},
        "properties": {"age": 41, "city": "Köln"},
        "events": [
            {"type": "merge", "timestamp": 1760000000.25, "properties": {"status": "delivered"}},
        ],
    }


def test_export_one_says_what_is_not_there(client: TestClient, rows: Rows) -> None:
    rows.customer({"cookie": "k1"})
    rows.customer({"registered": "anna"})

    assert good(client, rows, "export-one", {"customer_ids": {"cookie": "k1"}}) == {
        "success": True,
        "ids": {"registered": None, "cookie": ["k1"]},
        "properties": {},
        "events": [],
    }
    assert good(client, rows, "export-one", ANNA)["ids"] == {"registered": "anna", "cookie": []}


def test_attributes_are_answered_one_by_one_in_order(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna", "cookie": ["k1", "k2"]}, {"city": "Köln", "tags": [1]})
    attributes = [
        {"type": "id", "id": "cookie"},
        {"type": "property", "property": "tags"},
        {"type": "segmentation", "id": "5f"},
        {"type": "property", "property": "unknown"},
        {"type": "id", "id": "registered"},
        {"type": "id", "id": "unknown"},
        {"type": "consent", "category": "post"},
        {"type": "property", "property": "city"},
    ]

    answer = good(client, rows, "attributes", {**ANNA, "attributes": attributes})

    not_for_us = {"success": False, "error": "No permission"}
    assert answer == {
        "success": True,
        "results": [
            {"success": True, "value": ["k1", "k2"]},
            {"success": True, "value": [1]},
            not_for_us,
            {"success": True, "value": None},
            {"success": True, "value": "anna"},
            {"success": True, "value": None},
            not_for_us,
            {"success": True, "value": "Köln"},
        ],
    }


def test_the_text_that_is_answered_is_what_the_models_describe(client: TestClient, rows: Rows) -> None:
    rows.event(rows.customer({"registered": "anna", "cookie": "k"}, {'quo"ted': None}))
    attributes = {**ANNA, "attributes": [{"type": "id", "id": "cookie"}, {"type": "prediction", "id": "x"}]}
    questions: tuple[tuple[str, object, type[BaseModel]], ...] = (
        ("events", CAMPAIGNS, CustomerEventsDocument),
        ("export-one", ANNA, CustomerDocument),
        ("attributes", attributes, AttributesDocument),
        ("export", {"format": "native_json"}, CustomersDocument),
        ("export", {"format": "table_json"}, CustomersDocument),
    )

    for route, question, model in questions:
        model.model_validate_json(ask(client, rows, route, question).content, strict=True)


# -- export ---------------------------------------------------------------------------------------

NATIVE = {"format": "native_json"}
COOKIE = {"type": "id", "id": "cookie"}
CITY = {"type": "property", "property": "city"}


def some(*attributes: object) -> dict[str, object]:
    return {**NATIVE, "attributes": {"type": "some", "list": attributes}}


def records(client: TestClient, rows: Rows, question: dict[str, object]) -> list[list[str]]:
    answer = ask(client, rows, "export", {**question, "format": "csv"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="customers.csv"'
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


def merge(engine: Engine, source: int, survivor: int) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(f"UPDATE customers SET merged_into = {survivor} WHERE id = {source}"))


def test_an_export_tells_ids_and_properties_of_all_customers(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna", "cookie": ["k2", "k1"]}, {"city": "Köln", "age": 41})
    rows.customer({"cookie": "k3"}, {"tags": ["a", None]})

    assert good(client, rows, "export", NATIVE) == {
        "success": True,
        "fields": [
            {"type": "id", "id": "registered"},
            {"type": "id", "id": "cookie"},
            {"type": "property", "property": "age"},
            {"type": "property", "property": "city"},
            {"type": "property", "property": "tags"},
        ],
        "data": [["anna", ["k2", "k1"], 41, "Köln", None], [None, ["k3"], None, None, ["a", None]]],
    }
    assert good(client, rows, "export", {"format": "table_json"}) == {
        "success": True,
        "header": ["registered", "cookie", "age", "city", "tags"],
        "rows": [["anna", ["k2", "k1"], 41, "Köln", None], [None, ["k3"], None, None, ["a", None]]],
    }
    assert records(client, rows, {}) == [
        ["registered", "cookie", "age", "city", "tags"],
        ["anna", '["k2","k1"]', "41", "Köln", ""],
        ["", '["k3"]', "", "", '["a", null]'],
    ]


def test_an_export_has_the_columns_that_are_asked_for_in_their_order(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna", "cookie": "k1"}, {"city": "Köln", "age": 41})
    rows.customer({"registered": "ben"}, {"age": 42})
    unknown = {"type": "property", "property": "unknown"}, {"type": "id", "id": "unknown"}
    question = some(CITY, COOKIE, *unknown, CITY)

    assert good(client, rows, "export", question) == {
        "success": True,
        "fields": [CITY, COOKIE, *unknown, CITY],
        "data": [["Köln", ["k1"], None, None, "Köln"], [None, [], None, None, None]],
    }
    assert records(client, rows, question) == [
        ["city", "cookie", "unknown", "unknown", "city"],
        ["Köln", '["k1"]', "", "", "Köln"],
        ["", "", "", "", ""],
    ]


@pytest.mark.parametrize("attributes", [None, {}, {"type": None}, {"type": "properties_and_ids"}])
def test_an_export_has_all_columns_unless_told(client: TestClient, rows: Rows, attributes: object) -> None:
    rows.customer({"registered": "anna"}, {"city": "Köln"})

    answer = good(client, rows, "export", {**NATIVE, "attributes": attributes})

    assert answer["data"] == [["anna", [], "Köln"]]


def test_properties_are_exported_to_the_letter(client: TestClient, rows: Rows) -> None:
    anna = rows.customer({"registered": "anna"}, {"n": 0})
    kept = '{"b":1.50,"a":1e400,"é":"\\u00e9"}'
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            text("UPDATE customer_properties SET value = :kept WHERE customer_id = :anna"),
            {"kept": kept, "anna": anna},
        )

    assert ask(client, rows, "export", NATIVE).text.endswith(f'"data":[["anna",[],{kept}]]}}')
    assert records(client, rows, {})[1] == ["anna", "", kept]


def test_no_cell_of_an_export_is_a_formula(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "=1+1"}, {"+name": "@SUM(A1)", "debt": -5, "text": "-5"})

    assert records(client, rows, {}) == [
        ["registered", "cookie", "'+name", "debt", "text"],
        ["'=1+1", "", "'@SUM(A1)", "-5", "'-5"],
    ]


def test_who_was_merged_away_is_not_exported(client: TestClient, rows: Rows) -> None:
    anna = rows.customer({"registered": "anna"})
    merge(rows.engine, rows.customer(), anna)

    assert good(client, rows, "export", NATIVE)["data"] == [["anna", []]]


def test_an_export_of_nobody_has_its_columns(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna", "email": "anna@example.com"}, {"city": "Köln"})
    rows.begin_project()

    assert good(client, rows, "export", NATIVE) == {
        "success": True,
        "fields": [{"type": "id", "id": "registered"}, COOKIE],
        "data": [],
    }
    assert good(client, rows, "export", {"format": "table_json"})["rows"] == []
    assert records(client, rows, {}) == [["registered", "cookie"]]


def test_ids_that_the_settings_no_longer_name_are_exported_as_lists(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna", "email": "a@example.com", "zip": "1"})
    rows.customer({"registered": "ben"})

    answer = good(client, rows, "export", NATIVE)

    assert [field["id"] for field in answer["fields"]] == ["registered", "cookie", "email", "zip"]
    assert answer["data"] == [["anna", [], ["a@example.com"], ["1"]], ["ben", [], None, None]]


@pytest.mark.parametrize(("most", "value"), [("PAGE", 2), ("MOST_VALUES", 6), ("MOST_VALUES", 1)])
@pytest.mark.parametrize("table", ["native_json", "table_json", "csv"])
def test_an_export_of_many_pages_is_one_document(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch, table: str, most: str, value: int
) -> None:
    monkeypatch.setattr(customers, most, value)
    for n in range(5):
        rows.customer({"registered": f"c-{n}"}, {"n": n})

    if table == "csv":
        found = [record[0] for record in records(client, rows, {})[1:]]
    else:
        answer = good(client, rows, "export", {"format": table})
        found = [each[0] for each in answer["data" if table == "native_json" else "rows"]]

    assert found == [f"c-{n}" for n in range(5)]


def test_the_more_columns_the_fewer_customers_are_read_at_once(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customers, "PAGE", 3)
    monkeypatch.setattr(customers, "MOST_VALUES", 10)
    for n in range(4):
        rows.customer({"registered": f"c-{n}"})

    def sizes(columns: int) -> list[int]:
        asked = [Column("property", str(n)) for n in range(columns)]
        pages = customers.all_customers(rows.engine, rows.project_id, asked, are_all=False)
        return [len(page) for page in pages]

    assert sizes(1) == [3, 1]
    assert sizes(5) == [2, 2, 0]
    assert sizes(50) == [1, 1, 1, 1, 0]


def test_an_export_under_way_holds_no_transaction_and_ends_with_who_came_meanwhile(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customers, "PAGE", 1)
    rows.customer({"registered": "anna"})
    asked = [Column("id", "registered")]
    pages = customers.all_customers(rows.engine, rows.project_id, asked, are_all=False)
    first = next(pages)
    assert isinstance(rows.engine.pool, QueuePool)
    assert rows.engine.pool.checkedout() == 0

    rows.customer({"registered": "ben"})

    names = [customer.ids["registered"] for page in (first, *pages) for customer in page]
    assert names == [["anna"], ["ben"]]


@pytest.mark.parametrize(
    "attribute",
    [
        {"type": "segmentation", "id": "5f"},
        {"type": "expression", "id": "5f"},
        {"type": "aggregate", "id": "5f"},
        {"type": "prediction", "id": "5f"},
        {"type": "consent", "category": "post"},
        {"type": "recommendations", "id": "5f"},
    ],
)
def test_what_we_do_not_have_is_not_permitted(client: TestClient, rows: Rows, attribute: object) -> None:
    answer = ask(client, rows, "export", some(CITY, attribute, COOKIE, attribute))

    assert answer.status_code == 403
    assert answer.json() == {
        "success": False,
        "errors": {"attributes": ["Item 2: No permission", "Item 4: No permission"]},
    }


@pytest.mark.parametrize("everybody", [None, {}, {"type": "all"}])
def test_a_filter_that_lets_everybody_through_is_no_filter(
    client: TestClient, rows: Rows, everybody: object
) -> None:
    rows.customer({"registered": "anna"})

    assert good(client, rows, "export", {**NATIVE, "filter": everybody})["data"] == [["anna", []]]


@pytest.mark.parametrize(
    "segment",
    [
        {"type": "segment", "segmentation_id": "5f", "segment_index": 0},
        {"segmentation_id": "5f"},
        {"type": "all", "segmentation_id": "5f"},
        {"type": "anna"},
        [],
        "all",
    ],
)
def test_any_other_filter_is_refused(client: TestClient, rows: Rows, segment: object) -> None:
    rows.customer({"registered": "anna"})

    assert errors(client, rows, "export", {**NATIVE, "filter": segment}) == {
        "filter": ["There are no segmentations here; leave the filter out, or send the type all alone."]
    }


def test_only_the_present_is_exported(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna"})
    present = {**NATIVE, "execution_time": time.time(), "timezone": "Africa/Lagos"}
    past = {**NATIVE, "execution_time": 1_700_000_000}

    assert len(good(client, rows, "export", present)["data"]) == 1
    assert errors(client, rows, "export", past) == {
        "execution_time": ["IDs and properties are known as they are now, not as they were; leave it out."]
    }


def test_a_wrong_export_names_the_fields(client: TestClient, rows: Rows) -> None:
    list_and_type = {"attributes": ["The type some goes with a list, and a list with the type some."]}
    unnamed = {"attributes": ["Item 2: Name the property, or the id."]}

    assert errors(client, rows, "export", {}) == {"format": ["It is missing."]}
    assert set(errors(client, rows, "export", {"format": "xml"})) == {"format"}
    for attributes in ({"type": "some"}, {"list": [CITY]}, {"type": "properties_and_ids", "list": [CITY]}):
        assert errors(client, rows, "export", {**NATIVE, "attributes": attributes}) == list_and_type
    assert errors(client, rows, "export", some(CITY, {"type": "id"})) == unnamed
    assert set(errors(client, rows, "export", some())) == {"attributes"}
    assert errors(client, rows, "export", some({"type": "property", "property": "a\0"})) == {
        "attributes": ["Item 1: Send valid Unicode without NUL."]
    }


def test_nobody_makes_an_answer_of_one_value_many_thousand_times(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna"}, {"city": "Köln"})
    most = [CITY] * MOST_ATTRIBUTES

    assert good(client, rows, "export", some(*most))["data"] == [["Köln"] * MOST_ATTRIBUTES]
    assert len(good(client, rows, "attributes", {**ANNA, "attributes": most})["results"]) == len(most)
    for route, question in (
        ("export", some(*most, CITY)),
        ("attributes", {**ANNA, "attributes": [*most, CITY]}),
    ):
        assert set(errors(client, rows, route, question)) == {"attributes"}


# -- errors ---------------------------------------------------------------------------------------

OF_ONE = [
    ("events", CAMPAIGNS),
    ("export-one", ANNA),
    ("attributes", {**ANNA, "attributes": [COOKIE]}),
]
OF_ALL = [("export", NATIVE), ("export", some(COOKIE)), ("export", {"format": "csv"})]


@pytest.mark.parametrize(("route", "question"), OF_ONE)
def test_an_unknown_customer_is_a_404_in_the_vendors_words(
    client: TestClient, rows: Rows, route: str, question: object
) -> None:
    answer = ask(client, rows, route, question)

    assert answer.status_code == 404
    assert answer.json() == {"success": False, "errors": {"_global": ["Customer does not exist"]}}


def test_customers_of_another_project_are_unknown(client: TestClient, rows: Rows) -> None:
    rows.event(rows.customer({"registered": "anna"}))
    rows.begin_project()

    assert ask(client, rows, "export-one", ANNA).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[1", b'{"customer_ids": {"registered": "\\ud800"}}', b"\xff"])
def test_what_is_no_json_is_said_so(client: TestClient, rows: Rows, body: bytes) -> None:
    assert errors(client, rows, "export-one", body) == {"_global": ["Invalid JSON."]}


def test_a_wrong_body_names_the_fields(client: TestClient, rows: Rows) -> None:
    assert errors(client, rows, "export-one", []) == {"_global": ["Send an object."]}
    assert errors(client, rows, "events", {}) == {
        "customer_ids": ["It is missing."],
        "event_types": ["It is missing."],
    }
    wrong = errors(client, rows, "events", {**ANNA, "event_types": [], "order": "up", "limit": -1})
    assert set(wrong) == {"event_types", "order", "limit"}
    assert errors(client, rows, "events", {**ANNA, "event_types": ["campaign", "a\0b"]}) == {
        "event_types": ["Item 2: Send valid Unicode without NUL."]
    }
    attributes = [{"type": "id", "id": "cookie"}, {"type": "property"}]
    assert errors(client, rows, "attributes", {**ANNA, "attributes": attributes}) == {
        "attributes": ["Item 2: Name the property, or the id."]
    }


@pytest.mark.parametrize(
    "ids",
    [
        None,
        {},
        "anna",
        {"registered": None},
        {"registered": ""},
        {"registered": "a\0"},
        {"registered": ["anna"]},
        {"registered": "{{ customer.id }}"},
        {"registered": "x" * 501},
        {"email": "anna@example.com"},
        {"registered": 10**600},
    ],
)
def test_ids_that_mean_nobody_are_refused_without_quoting_them(
    client: TestClient, rows: Rows, ids: object
) -> None:
    (sentence,) = errors(client, rows, "export-one", {"customer_ids": ids})["customer_ids"]

    assert sentence.endswith(".")
    assert not any(word in sentence for word in ("anna", "example.com", "xxx", "customer.id", "000"))


@pytest.mark.parametrize(
    "body",
    [
        b'{"customer_ids": {"registered": ' + b"9" * 5000 + b"}}",
        b'{"customer_ids": {"registered": NaN}}',
        b'{"customer_ids": ' + b"[" * 100_000,
        b'{"customer_ids": {"registered": "anna"}, "event_types": ["x"], "limit": 1e400}',
        b'{"customer_ids": {"registered": "anna"}, "event_types": ["x"], "skip": 99999999999999999999}',
        b'{"customer_ids": {"registered": "anna"}, "event_types": '
        + json.dumps(["x"] * 40_000).encode()
        + b"}",
    ],
)
def test_monstrous_bodies_are_the_askers_mistake(client: TestClient, rows: Rows, body: bytes) -> None:
    assert errors(client, rows, "events", body)


def test_a_body_over_the_limit_is_turned_away(rows: Rows) -> None:
    with asking(rows.engine, max_body_bytes=100) as client:
        answer = ask(client, rows, "export-one", b" " * 101)

    assert (answer.status_code, answer.json()["success"]) == (413, False)


@pytest.mark.parametrize(
    ("role", "status"), [("data", 404), ("ops", 404), ("tracking", 403), ("sender", 403)]
)
def test_customers_are_told_to_the_roles_data_and_ops(
    client: TestClient, rows: Rows, role: str, status: int
) -> None:
    answer = ask(client, rows, "export-one", ANNA, role)
    of_all = ask(client, rows, "export", NATIVE, role)

    assert answer.status_code == status
    assert of_all.status_code == (403 if status == 403 else 200)
    if status == 403:
        assert answer.json() == of_all.json()
        assert answer.json()["success"] is False
        assert answer.json()["error"].startswith("No permission")


def test_who_has_no_key_is_refused_in_the_vendors_shape(client: TestClient, rows: Rows) -> None:
    path = f"/data/v2/projects/{rows.project.token}/customers/export-one"
    public = {"authorization": f"Token {rows.project.public_token}"}

    nobody, by_token = client.post(path, json=ANNA), client.post(path, json=ANNA, headers=public)
    elsewhere = client.post("/data/v2/projects/x/customers/export-one", json=ANNA, headers=public)

    assert (nobody.status_code, nobody.json()) == (
        401,
        {"success": False, "error": "Access key not provided"},
    )
    assert nobody.headers["www-authenticate"].startswith("Basic")
    assert by_token.status_code == 403
    assert (elsewhere.status_code, elsewhere.json()["error"]) == (400, "Invalid project id")


@pytest.mark.parametrize("route", ["anonymize", "anonymize_bulk"])
def test_what_comes_later_says_so(client: TestClient, rows: Rows, route: str) -> None:
    answer = ask(client, rows, route, {})

    assert (answer.status_code, answer.json()["success"]) == (501, False)
    assert answer.json()["error"].endswith("is not available yet.")


@pytest.mark.parametrize(("route", "question"), [*OF_ONE, *OF_ALL])
def test_a_database_that_is_away_is_a_503_and_no_half_answer(
    client: TestClient, rows: Rows, route: str, question: object
) -> None:
    rows.customer({"registered": "anna"})
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("ALTER TABLE customer_ids RENAME TO customer_ids_away"))

    answer = ask(client, rows, route, question)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json() == {"success": False, "error": "The database cannot be asked now; ask again later."}
