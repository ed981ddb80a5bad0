"""Everything about one customer: over HTTP, on the command line, and how it is read, on both databases."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text
from starlette.testclient import TestClient

from receiver.domain.commands import ExternalId
from receiver.domain.moments import iso
from receiver.store import tables
from receiver.store.customer_story import Place, story
from receiver.store.mailings import State
from receiver.store.reports import reading
from receiver.web.customer_documents import StoryDocument
from receiver.web.documents import ProblemDocument
from tests.posting import NOW_US, Post, person, posting
from tests.reading_app import asking, authorization
from tests.reading_commands import run, said
from tests.rows import T0, Rows

SECOND = 1_000_000
ANNA = "registered:anna"


@pytest.fixture
def post(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    with posting(database_url, unknown_customers="create") as post:
        yield post


@pytest.fixture
def rows(post: Post) -> Rows:
    return post.rows


@pytest.fixture
def client(post: Post) -> Iterator[TestClient]:
    with asking(post.engine) as client:
        yield client


def ask(client: TestClient, rows: Rows, role: str = "data", **parameters: Any) -> Any:
    url = f"/v1/projects/{rows.project.token}/customer"
    return client.get(url, params=parameters, headers=authorization(rows.project, role))


def told(client: TestClient, rows: Rows, customer: str = ANNA, **parameters: Any) -> Any:
    answer = ask(client, rows, customer=customer, **parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    StoryDocument.model_validate_json(answer.content, strict=True)
    return answer.json()


def call_back(post: Post, at: int, status: str = "booked", /, **ids: str) -> None:
    """A callback that comes in, and tells of something, *at* seconds after NOW_US."""
    at_us = NOW_US + at * SECOND
    properties = {"status": status, "campaign_id": "spring"}
    body = {"customer_ids": ids, "event_type": "campaign", "timestamp": at_us / 1e6, "properties": properties}
    (verdict,) = post.call_back(body, at_us=at_us)
    assert verdict.rejection is None


def lines(document: Any) -> list[tuple[str, str]]:
    return [(entry["at"], entry["said"]) for entry in document["timeline"]]


def sentences(document: Any) -> list[str]:
    return [entry["said"] for entry in document["timeline"]]


def after(seconds: int) -> str:
    return iso(NOW_US + seconds * SECOND)


# -- IDs, properties, merges ----------------------------------------------------------------------


def test_ids_stand_in_the_order_of_their_use_and_properties_with_when_they_were_set(
    client: TestClient, rows: Rows
) -> None:
    number = rows.customer({"registered": "anna", "cookie": ["k1", "k2"]}, {"city": "Köln", "a": [1]})

    found = told(client, rows, "cookie:k1")

    assert found == {
        "customer": number,
        "created_at": iso(T0),
        "ids": {
            "cookie": [{"value": "k1", "used_at": iso(0)}, {"value": "k2", "used_at": iso(1)}],
            "registered": [{"value": "anna", "used_at": iso(0)}],
        },
        "properties": {
            "a": {"value": [1], "set_at": iso(T0)},
            "city": {"value": "Köln", "set_at": iso(T0)},
        },
        "merges": [],
        "moved_ids": [],
        "suppressions": [],
        "timeline": [],
        "next": None,
    }


def test_what_senders_wrote_is_answered_to_the_letter(client: TestClient, rows: Rows) -> None:
    number = rows.customer({"registered": "anna"}, {'quo"ted': None})
    rows.event(number, properties='{"b":1.50,"a":1e400}', campaign='say "hi"', status="Zugestellt ü")

    answer = ask(client, rows, customer=ANNA)

    assert '"properties":{"b":1.50,"a":1e400}' in answer.text
    assert answer.json()["properties"] == {'quo"ted': {"value": None, "set_at": iso(T0)}}
    assert sentences(answer.json()) == ['event Zugestellt ü campaign say "hi"']


def test_a_merge_is_explained_by_the_ids_that_came_together(client: TestClient, post: Post) -> None:
    call_back(post, 0, cookie="k1")
    call_back(post, 1, registered="anna")
    first, second = (each.customer_id for each in post.events("callback"))
    call_back(post, 2, "posted", registered="anna", cookie="k1")

    found = told(client, post.rows)

    together = "registered=anna and cookie=k1 came in together"
    why = f"customer {second} became part of customer {first}, as {together}"
    assert found["customer"] == first
    assert found["merges"] == [
        {"at": after(2), "customer": second, "into": first, "created_at": after(1), "detail": why}
    ]
    assert lines(found) == [
        (after(2), "event posted campaign spring"),
        (after(2), f"merged: {why}"),
        (after(1), "event booked campaign spring"),
        (after(0), "event booked campaign spring"),
    ]
    assert told(client, post.rows, "cookie:k1") == found


def test_who_was_merged_by_way_of_another_is_told_too(client: TestClient, post: Post) -> None:
    for at, ids in enumerate(({"cookie": "k1"}, {"cookie": "k2"}, {"registered": "anna"})):
        call_back(post, at, **ids)
    first, second, third = (each.customer_id for each in post.events("callback"))
    call_back(post, 3, registered="anna", cookie="k2")
    call_back(post, 4, registered="anna", cookie="k1")

    found = told(client, post.rows)

    assert [(each["customer"], each["into"]) for each in found["merges"]] == [
        (second, first),
        (third, second),
    ]
    assert [each["created_at"] for each in found["merges"]] == [after(1), after(2)]


def test_an_id_that_changed_hands_is_explained(client: TestClient, post: Post) -> None:
    call_back(post, 0, registered="anna", cookie="k1")
    call_back(post, 1, registered="bert", cookie="k1")
    _, bert = (each.customer_id for each in post.events("callback"))

    hers, his = told(client, post.rows), told(client, post.rows, "cookie:k1")

    together = "registered=bert and cookie=k1 came in together"
    why = f"cookie=k1 went from this customer to customer {bert}, as {together}"
    assert hers["moved_ids"] == [{"at": after(1), "kind": "cookie", "value": "k1", "to": bert, "detail": why}]
    assert lines(hers) == [(after(1), f"ID moved: {why}"), (after(0), "event booked campaign spring")]
    assert list(hers["ids"]) == ["registered"]
    assert (his["customer"], his["moved_ids"]) == (bert, [])


@pytest.mark.parametrize("name", ["merge", "id_moved"])
def test_what_a_sender_calls_a_merge_is_none(client: TestClient, rows: Rows, name: str) -> None:
    rows.event(rows.customer({"registered": "anna"}), type=name)

    found = told(client, rows)

    assert (found["merges"], found["moved_ids"], sentences(found)) == ([], [], [f"event {name}"])


# -- letters --------------------------------------------------------------------------------------


def test_a_letter_stands_in_the_timeline_at_its_times_and_without_its_address(
    client: TestClient, post: Post
) -> None:
    (letter,) = post.intend(person("anna", street="Geheimweg"), campaign="spring")
    post.change(state=State.QUEUED, attempts=1, created_us=NOW_US - SECOND, settled_us=NOW_US + SECOND)
    post.change(asked_us=NOW_US, message="Geheimweg 1 is no street")
    call_back(post, 2, "posted", registered="anna")

    answer = ask(client, post.rows, customer=ANNA)
    found = told(client, post.rows)

    assert lines(found) == [
        (after(2), f"event posted campaign spring (letter {letter.mailing})"),
        (after(2), f"letter last heard of: posted ({letter.mailing})"),
        (after(1), f"letter queued at Optilyz ({letter.mailing})"),
        (after(-1), f"letter made campaign spring ({letter.mailing})"),
    ]
    assert [(entry["event"] is None, entry["letter"] is None) for entry in found["timeline"]] == [
        (False, True),
        *[(True, False)] * 3,
    ]
    assert found["timeline"][1]["letter"] == {
        "id": letter.mailing,
        "state": "queued",
        "reason": None,
        "automation": "64b0c0ffee0000000000abcd",
        "campaign": "spring",
        "variation": None,
        "created_at": after(-1),
        "asked_at": after(0),
        "settled_at": after(1),
        "status": "posted",
        "stage": "posted",
        "stage_at": after(2),
        "heard_at": after(2),
    }
    assert "Geheimweg" not in answer.text


@pytest.mark.parametrize(
    ("state", "reason", "sentence"),
    [
        ("refused", "refused_by_optilyz", "letter refused: refused_by_optilyz"),
        ("suppressed", "objection", "letter not sent: objection"),
        ("unknown", "no_answer", "letter asked for, but nobody knows what became of it: no_answer"),
        ("cancelled", "taken_back", "letter cancelled: taken_back"),
        ("queued", "heard_of", "letter queued at Optilyz: heard_of"),
        ("asked", None, "letter asked for at Optilyz"),
        ("intended", None, "letter asked for at Optilyz"),
    ],
)
def test_the_newest_moment_of_a_letter_says_what_became_of_it(
    client: TestClient, post: Post, state: str, reason: str | None, sentence: str
) -> None:
    (letter,) = post.intend(person("anna"))
    post.change(state=state, reason=reason, asked_us=NOW_US + 10**9, settled_us=NOW_US + 10**9 + 1)

    found = told(client, post.rows)

    assert sentences(found) == [
        f"{sentence} ({letter.mailing})",
        f"letter made campaign winback ({letter.mailing})",
    ]


def test_suppressions_are_told_also_those_that_were_lifted(client: TestClient, post: Post) -> None:
    number = post.rows.customer({"registered": "anna"})
    other = post.rows.customer({"registered": "bert"})
    row = {"project_id": post.rows.project_id, "kind": "objection", "mailing_id": None, "address_key": None}
    with post.engine.execution_options(writes=True).begin() as connection:
        for each, customer, lifted_us in ((901, number, T0 + 1), (902, number, None), (903, other, None)):
            of_it = {"id": each, "customer_id": customer, "note": "by phone", "created_us": T0}
            connection.execute(tables.suppressions.insert(), row | of_it | {"lifted_us": lifted_us})

    found = told(client, post.rows)["suppressions"]

    assert [(each["id"], each["lifted_at"]) for each in found] == [(902, None), (901, iso(T0 + 1))]
    assert found[0]["note"] == "by phone"


# -- pages ----------------------------------------------------------------------------------------


def walk(client: TestClient, rows: Rows, limit: int) -> list[Any]:
    entries: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = told(client, rows, limit=limit, **cursor)
        assert len(page["timeline"]) <= limit
        entries += page["timeline"]
        if page["next"] is None:
            return entries
        assert page["timeline"]
        cursor = {"cursor": page["next"]}


def test_pages_of_any_size_make_up_the_whole_though_much_happened_at_one_time(
    client: TestClient, post: Post
) -> None:
    for _ in range(2):
        post.intend(person("anna"), once=False)
    post.change(state=State.QUEUED, created_us=NOW_US, settled_us=NOW_US, heard_us=NOW_US)
    (number,) = {each.customer_id for each in post.letters()}
    for at_us in (NOW_US - 1, NOW_US, NOW_US, NOW_US + 1):
        post.rows.event(number, at_us)

    whole = told(client, post.rows)["timeline"]

    assert len(whole) == 10
    assert [entry["at"] for entry in whole] == sorted((entry["at"] for entry in whole), reverse=True)
    assert len({(entry["said"], str(entry["event"])) for entry in whole}) == 10
    for limit in (1, 2, 3, 9, 10):
        assert walk(client, post.rows, limit) == whole


def test_what_happens_meanwhile_does_not_move_the_next_page(client: TestClient, rows: Rows) -> None:
    number = rows.customer({"registered": "anna"})
    kept = [rows.event(number, T0 + n) for n in range(4)]
    first = told(client, rows, limit=2)
    rows.event(number, T0 + 9)

    second = told(client, rows, limit=2, cursor=first["next"])

    entries = first["timeline"] + second["timeline"]
    assert [entry["event"]["id"] for entry in entries] == kept[::-1]
    assert second["next"] is None


# -- who may ask, and for whom --------------------------------------------------------------------


def test_nobody_is_found_by_an_unknown_id_or_in_another_project(client: TestClient, rows: Rows) -> None:
    rows.customer({"registered": "anna"})
    rows.begin_project()

    for customer in (ANNA, "cookie:nobody"):
        answer = ask(client, rows, customer=customer)

        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        ProblemDocument.model_validate_json(answer.content, strict=True)
        assert answer.json()["detail"] == "Nobody has this ID."


@pytest.mark.parametrize("role", ["data", "ops", "tracking", "sender"])
def test_only_those_who_read_may_ask(client: TestClient, rows: Rows, role: str) -> None:
    rows.customer({"registered": "anna"})

    assert ask(client, rows, role, customer=ANNA).status_code == (200 if role in {"data", "ops"} else 403)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"customer": "secret@example.com"},
        {"customer": ANNA, "cursor": "secret@example.com"},
        {"customer": ANNA, "cursor": "5-" + "0" * 24 + "-5"},
        {"customer": ANNA, "limit": "0"},
        {"customer": ANNA, "limit": "1001"},
        {"customer": ANNA, "other": "1"},
    ],
)
def test_a_wrong_parameter_is_named_and_never_quoted(
    client: TestClient, rows: Rows, parameters: dict[str, str]
) -> None:
    answer = ask(client, rows, **parameters)

    assert answer.status_code == 400
    wrong = list(parameters)[-1] if parameters else "customer"
    assert [each["parameter"] for each in answer.json()["errors"]] == [wrong]
    assert "secret" not in answer.text


# -- on the command line --------------------------------------------------------------------------


def test_the_command_shows_it_on_a_screen(post: Post) -> None:
    call_back(post, 0, registered="anna", cookie="k1")
    post.rows.customer({"registered": "bert"}, {"city": "Köln"})

    hers = said("customer", post.rows, "registered=anna").splitlines()
    his = said("customer", post.rows, "registered=bert").splitlines()

    assert hers == [
        "ID\tvalue\tused last",
        f"cookie\tk1\t{after(0)}",
        f"registered\tanna\t{after(0)}",
        "",
        "time\twhat",
        f"{after(0)}\tevent booked campaign spring",
    ]
    assert his[3:5] == ["property\tvalue\tset", f'city\t"K\\u00f6ln"\t{iso(T0)}']


def test_the_command_gives_the_same_document_as_http(client: TestClient, post: Post) -> None:
    post.intend(person("anna"))
    call_back(post, 0, registered="anna", cookie="k1")

    assert json.loads(said("customer", post.rows, "registered=anna", "--json")) == told(client, post.rows)


def test_the_command_says_where_to_go_on(post: Post) -> None:
    for at in range(3):
        call_back(post, at, registered="anna")

    first = run("customer", post.rows, "registered=anna", "--limit", "2")
    cursor = first.stderr.removeprefix("There is more: --cursor ").strip()
    second = said("customer", post.rows, "registered=anna", "--limit", "2", "--cursor", cursor)

    assert first.exit_code == 0
    assert second.splitlines()[-2:] == ["time\twhat", f"{after(0)}\tevent booked campaign spring"]


def test_the_command_ends_with_1_where_nobody_has_the_id(post: Post) -> None:
    result = run("customer", post.rows, "registered=secret")

    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Nobody has this ID.\n")


def test_the_command_names_a_wrong_id_and_does_not_quote_it(post: Post) -> None:
    result = run("customer", post.rows, "mail=secret@example.com")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "NAME=VALUE" in result.stderr
    assert "secret" not in result.stderr


# -- how it is read -------------------------------------------------------------------------------

MANY = 2000


def test_every_statement_finds_the_rows_of_the_customer_by_an_index(post: Post) -> None:
    _fill(post.rows)

    for after in (None, Place(T0 + MANY, 5), Place(T0 + MANY, 0, "f" * 24, 1)):
        plans = _plans(post, after)

        assert len(plans) == 6
        for plan in plans:
            for table in tables.metadata.tables:
                assert f"Seq Scan on {table}" not in plan, plan
                assert f"SCAN {table}" not in plan, plan
        for index in ("ix_events_customer", "ix_mailings_customer", "ix_suppressions_customer"):
            assert any(index in plan for plan in plans), plans


def _plans(post: Post, after: Place | None) -> list[str]:
    """How each statement is run that tells of one of many customers."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    explain = "EXPLAIN QUERY PLAN" if post.engine.dialect.name == "sqlite" else "EXPLAIN"
    with reading(post.engine) as connection:
        event.listen(post.engine, "before_cursor_execute", note)
        who = ExternalId("registered", "c-7")
        found = story(connection, post.rows.project_id, who, after=after, limit=100)
        event.remove(post.engine, "before_cursor_execute", note)
        assert found is not None
        plans = [connection.exec_driver_sql(f"{explain} {sql}", values) for sql, values in statements]
        return ["\n".join(str(line[-1]) for line in plan) for plan in plans]


def _fill(rows: Rows) -> None:
    """Enough for a planner to think: 2,000 customers, each with an ID, a property, a letter, 10 events."""
    of_project = {"project_id": rows.project_id}
    each_event = of_project | {
        "type": "campaign",
        "kind_id": 1,
        "received_us": T0,
        "source": "callback",
        "ids": "{}",
        "properties": '{"padding":"' + "x" * 200 + '"}',
    }
    letter = of_project | {
        "route": "recipient",
        "automation": "a",
        "state": "queued",
        "ids": "{}",
        "together": 1,
        "attempts": 1,
        "created_us": T0,
        "untold": False,
    }
    bad = of_project | {"kind": "objection", "note": "", "created_us": T0}
    numbers = range(1, MANY + 1)
    many: dict[str, list[dict[str, Any]]] = {
        "customers": [of_project | {"id": n, "created_us": T0} for n in numbers],
        "customer_ids": [
            of_project | {"kind": "registered", "value": f"c-{n}", "customer_id": n, "used_us": 0}
            for n in numbers
        ],
        "customer_properties": [
            {"customer_id": n, "name": "city", "value": '"Bonn"', "updated_us": T0} for n in numbers
        ],
        "events": [
            each_event | {"id": n + 1, "customer_id": n % MANY + 1, "occurred_us": T0 + n}
            for n in range(10 * MANY)
        ],
        "mailings": [letter | {"id": f"{n:024x}", "customer_id": n} for n in numbers],
        "suppressions": [bad | {"id": n, "customer_id": n} for n in numbers],
    }
    with rows.engine.execution_options(writes=True).begin() as connection:
        for name, some in many.items():
            connection.execute(tables.metadata.tables[name].insert(), some)
    if rows.engine.dialect.name == "postgresql":
        with rows.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
