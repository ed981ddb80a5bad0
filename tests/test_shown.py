"""The SQL that a report shows is the SQL that it is made with, on both databases."""

import re
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Engine, LargeBinary, bindparam, literal, select, text
from starlette.testclient import TestClient

from receiver.domain.commands import ExternalId
from receiver.domain.properties import PropertyEquals
from receiver.settings import read_settings
from receiver.store import reports
from receiver.store.event_places import EventFilter
from receiver.store.reports import EventRow
from receiver.store.shown import listening
from receiver.web import api, openapi
from tests.reading_app import authorization
from tests.reading_commands import run, said
from tests.rows import T0, Rows

HOSTILE = (
    "it's",
    "''",
    "'; DROP TABLE events; --",
    'say "hi"',
    "back\\slash",
    "\\",
    "\\'",
    "100%",
    "%s %(name)s %%",
    ":name ::text",
    "?",
    "what? '?'",
    "$1 $$ $a$",
    "line\nbreak\r\n\ttab",
    ";\n.quit\n\\q",
    "ü 😀 \u2028 \x01\x1b[31m",
    "",
)


def pasted(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    """What the driver itself answers to the bare text."""
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(statement)
        return list(map(tuple, cursor.fetchall()))


def get(client: TestClient, rows: Rows, path: str, **parameters: Any) -> Any:
    url = f"/v1/projects/{rows.project.token}{path}"
    return client.get(url, params=parameters, headers=authorization(rows.project, "ops"))


def shown(client: TestClient, rows: Rows, path: str, **parameters: Any) -> list[str]:
    answer = get(client, rows, path, show="sql", **parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert list(answer.json()) == ["sql"]
    statements: list[str] = answer.json()["sql"]
    return statements


# -- how values are written -----------------------------------------------------------------------


def test_a_value_means_the_same_when_it_is_pasted(engine: Engine) -> None:
    for value in (*HOSTILE, 0, -7, 2**63 - 1, None, True, False, 2.5, -0.5):
        heard, statements = listening(engine)
        with heard.begin() as connection:
            found = connection.execute(select(literal(value), literal("?'%\\"))).one()

        assert [pasted(engine, each) for each in statements] == [[tuple(found)]]


def test_so_do_bytes(engine: Engine) -> None:
    for value in (b"", b"'\\%s?:\x00\xff", bytes(range(256))):
        heard, statements = listening(engine)
        with heard.begin() as connection:
            connection.execute(select(bindparam("body", value, LargeBinary)))

        assert pasted(engine, statements[0]) == [(value,)]


def test_so_does_a_list_of_hostile_texts_and_a_quoted_question_mark(engine: Engine) -> None:
    query = text(r"""SELECT '?', '\:a', '%', "id"."?" FROM (SELECT 1 AS "?") AS "id" WHERE :b IN :many""")
    query = query.bindparams(bindparam("many", HOSTILE, expanding=True), b="it's")
    heard, statements = listening(engine)
    with heard.begin() as connection:
        connection.execute(query)

    assert pasted(engine, statements[0]) == [("?", ":a", "%", 1)]


# -- what is heard --------------------------------------------------------------------------------


def test_nothing_is_heard_of_what_others_ask(engine: Engine) -> None:
    one, of_one = listening(engine)
    other, of_other = listening(engine)
    with one.connect() as first, other.connect() as second, engine.connect() as third:
        first.execute(select(literal(1)))
        second.execute(select(literal(2)))
        third.execute(select(literal(3)))

    assert [pasted(engine, each) for each in of_one] == [[(1,)]]
    assert [pasted(engine, each) for each in of_other] == [[(2,)]]


def test_what_is_asked_page_after_page_is_shown_once(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [rows.event() for _ in range(6)]
    monkeypatch.setattr(reports, "PAGE", 1)
    heard, statements = listening(rows.engine)

    pages = list(reports.all_events(heard, rows.project_id, EventFilter(), EventRow._make))

    first, following = (pasted(rows.engine, each) for each in statements)
    assert [page[0].id for page in pages] == numbers[::-1]
    assert first[0][0] == numbers[-1]
    assert following[0][0] == numbers[-2]


def test_events_that_are_found_by_a_hostile_word_are_found_by_its_sql(rows: Rows) -> None:
    for word in HOSTILE:
        anna = rows.customer({"registered": word})
        number = rows.event(anna, campaign=word, status=word, type=word)
        rows.event(anna, campaign="other", type="other")
        customer = (ExternalId("cookie", word), ExternalId("registered", word))
        wanted = EventFilter(customer=customer, campaign=word, status=word, types=(word, *HOSTILE))
        heard, statements = listening(rows.engine)

        with reports.reading(heard) as connection:
            page = reports.events_page(connection, rows.project_id, wanted)

        assert [event.id for event in page.rows] == [number]
        assert [tuple(event) for event in page.rows] == pasted(rows.engine, statements[-1])


def test_what_only_we_can_look_for_is_shown_as_far_as_the_database_looks(rows: Rows) -> None:
    for value in ("B", "C"):
        rows.event(properties=f'{{"variation":"{value}"}}')
    heard, statements = listening(rows.engine)

    with reports.reading(heard) as connection:
        wanted = EventFilter(property=PropertyEquals("variation", "B"))
        page = reports.events_page(connection, rows.project_id, wanted)

    assert [tuple(event) for event in page.rows] == pasted(rows.engine, statements[-1])


# -- by HTTP --------------------------------------------------------------------------------------


def filled(rows: Rows) -> None:
    anna = rows.customer({"registered": "it's"}, {"city": "Dresden"})
    rows.event(anna, campaign="it's", status="printed", stage="printing")
    rows.event(rows.customer())
    rows.rejection(b"{'}", reason="malformed_json")
    rows.rejection(b"[%]", T0 + 1, campaign="it's")
    rows.counter(3, 1, 0, 2)


GETS = [
    operation.path for operation in api.OPERATIONS if operation.method == "GET" and "{" not in operation.path
]


def test_every_report_shows_statements_that_run(client: TestClient, rows: Rows) -> None:
    filled(rows)
    needed = {"/customer": {"customer": "registered:it's"}}

    found = {path: shown(client, rows, path, **needed.get(path, {})) for path in GETS}

    assert {
        "/events",
        "/campaigns",
        "/customer",
        "/outcomes",
        "/rejections/summary",
        "/mailings",
    } < found.keys()
    # The settings alone answer this one.
    assert [path for path, statements in found.items() if not statements] == ["/handover"]
    for statement in [each for statements in found.values() for each in statements]:
        pasted(rows.engine, statement)


def test_the_statements_of_a_report_give_its_answer(client: TestClient, rows: Rows) -> None:
    filled(rows)

    events = pasted(rows.engine, shown(client, rows, "/events", campaign="it's", since="2025-10-01")[-1])
    told = get(client, rows, "/events", campaign="it's", since="2025-10-01").json()["data"]
    assert [row[0] for row in events] == [event["id"] for event in told]
    assert len(told) == 1

    outcomes = pasted(rows.engine, *shown(client, rows, "/outcomes"))
    total = get(client, rows, "/outcomes").json()["total"]
    assert [int(number) for number in outcomes[0][2:6]] == [total[name] for name in list(total)[:4]]

    summary = pasted(rows.engine, *shown(client, rows, "/rejections/summary"))
    told = get(client, rows, "/rejections/summary").json()["data"]
    assert {(row[0], int(row[1])) for row in summary} == {(each["reason"], each["count"]) for each in told}
    assert len(told) == 2


def test_an_export_shows_its_first_page(client: TestClient, rows: Rows) -> None:
    filled(rows)

    *_, statement = shown(client, rows, "/events", format="jsonl")

    assert len(pasted(rows.engine, statement)) == len(
        get(client, rows, "/events", format="jsonl").text.splitlines()
    )


@pytest.mark.parametrize("value", ["", "SQL", "json"])
def test_nothing_else_can_be_shown(client: TestClient, rows: Rows, value: str) -> None:
    answer = get(client, rows, "/outcomes", show=value)

    assert (answer.status_code, answer.json()["errors"][0]["parameter"]) == (400, "show")


def test_what_cannot_be_asked_is_refused_all_the_same(client: TestClient, rows: Rows) -> None:
    headers = authorization(rows.project, "ops")
    url = f"/v1/projects/{rows.project.token}/suppressions"

    assert get(client, rows, "/outcomes", show=["sql", "sql"]).status_code == 400
    assert get(client, rows, "/outcomes", show="sql", since="never").status_code == 400
    assert get(client, rows, "/customer", show="sql", customer="registered:nobody").status_code == 404
    assert client.delete(url, params={"show": "sql", "id": "1"}, headers=headers).status_code == 400
    assert client.get(url, params={"show": "sql"}).status_code == 401


def test_the_description_has_it_for_every_report_and_for_nothing_else() -> None:
    paths = openapi.document(read_settings())["paths"]
    for operation in api.OPERATIONS:
        described = paths[api.PREFIX + operation.path][operation.method.lower()]
        is_shown = {each["name"]: each["schema"] for each in described.get("parameters", ())}.get("show")
        answer = str(described["responses"]["200"])

        assert (is_shown is not None, "SqlDocument" in answer) == (operation.method == "GET",) * 2


# -- on the command line --------------------------------------------------------------------------

COMMANDS = [
    ("events", "/events", ["--campaign", "it's"], {"campaign": "it's"}),
    ("events --format parquet", "/events", ["--limit", "3"], {"limit": "3"}),
    ("customer", "/customer", ["registered=it's"], {"customer": "registered:it's"}),
    ("outcomes", "/outcomes", ["--since", "2025-10-01"], {"since": "2025-10-01"}),
    ("rejections list", "/rejections", ["--campaign", "it's"], {"campaign": "it's"}),
    ("rejections summary", "/rejections/summary", ["--by", "shape"], {"by": "shape"}),
    ("campaigns", "/campaigns", [], {}),
    ("funnel", "/campaigns/it's", ["it's"], {}),
    ("funnel", "/campaigns/it's/timeseries", ["it's", "--by", "day"], {"bucket": "day"}),
    ("rejections audit", "/rejections/audit", [], {}),
    ("mailings list", "/mailings", ["--state", "queued"], {"state": "queued"}),
    ("mailings summary", "/mailings/summary", [], {}),
    ("suppressions list", "/suppressions", [], {}),
]


@pytest.mark.parametrize(("command", "path", "options", "parameters"), COMMANDS, ids=lambda each: str(each))
def test_a_command_shows_the_statements_that_http_shows(
    client: TestClient, rows: Rows, command: str, path: str, options: list[str], parameters: dict[str, str]
) -> None:
    filled(rows)

    told = said(command.split(" --")[0], rows, *options, *_rest(command), "--show-sql")

    # Which project it is about HTTP knows from the key.
    project, rest = told.split(";\n", 1)
    statements = rest.removesuffix(";\n").split(";\n")
    parameters = {"limit": "100", **parameters} if path == "/events" else parameters
    assert pasted(rows.engine, project) == [(rows.project_id,)]
    assert [without_times(each) for each in statements] == [
        without_times(each) for each in shown(client, rows, path, **parameters)
    ]
    for statement in statements:
        pasted(rows.engine, statement)


def without_times(statement: str) -> str:
    """What is silent is so since a time before now."""
    return re.sub(r"\d{16}", "TIME", statement)


def _rest(command: str) -> list[str]:
    _, dashes, option = command.partition(" --")
    return f"--{option}".split() if dashes else []


def test_what_a_command_checks_is_shown_too(rows: Rows) -> None:
    filled(rows)

    told = said("outcomes", rows, "--check", "--show-sql")

    assert told.count(";\n") > said("outcomes", rows, "--show-sql").count(";\n")
    for statement in told.removesuffix(";\n").split(";\n"):
        pasted(rows.engine, statement)


def test_a_command_that_finds_nothing_to_ask_about_says_so(rows: Rows) -> None:
    nobody = run("customer", rows, "registered=nobody", "--show-sql")

    assert (nobody.exit_code, nobody.stdout) == (1, "")


def test_one_rejection_is_shown_by_its_statements(rows: Rows) -> None:
    number = rows.rejection(b"'%\\")

    statements = said("rejections show", rows, str(number), "--show-sql").removesuffix(";\n").split(";\n")

    assert pasted(rows.engine, statements[1])[0][-1] == b"'%\\"
