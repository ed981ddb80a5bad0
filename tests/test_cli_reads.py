"""``receiver events``, ``outcomes`` and ``rejections`` as somebody at a terminal or a script sees them."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import Engine, text
from typer.testing import CliRunner, Result

from receiver.cli import reads
from receiver.domain.moments import DAY_US
from receiver.store import reports
from receiver.store.engine import connect
from tests.rows import T0, Rows

SECOND = 1_000_000


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def run(command: str, rows: Rows | None, *arguments: str) -> Result:
    app = typer.Typer(add_completion=False)
    reads.register(app)
    token = [rows.project.token] if rows else []
    return CliRunner().invoke(app, [*command.split(), *token, *arguments])


def said(command: str, rows: Rows, *arguments: str) -> str:
    """What a command that ends well writes to standard output."""
    result = run(command, rows, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def cells(command: str, rows: Rows, *arguments: str) -> list[list[str]]:
    """The table as a pipe gets it, without its head."""
    lines = said(command, rows, *arguments).splitlines()
    return [line.split("\t") for line in lines[1:]]


def document(command: str, rows: Rows, *arguments: str) -> Any:
    return json.loads(said(command, rows, *arguments, "--json"))


# -- events ---------------------------------------------------------------------------------------


def test_events_are_a_table_with_tabs_where_nobody_looks(rows: Rows) -> None:
    number = rows.event(campaign="spring", status="delivered", ids='{"registered":"anna","cookie":"k"}')

    head, line = said("events", rows).splitlines()

    assert head.split("\t") == ["happened", "customer", "type", "campaign", "status", "stage", "id"]
    assert line.split("\t") == [
        "2025-10-09T08:53:20.250000Z",
        "registered=anna cookie=k",
        "campaign",
        "spring",
        "delivered",
        "",
        str(number),
    ]


def test_a_table_has_a_hundred_events_unless_told_and_an_export_all(rows: Rows) -> None:
    for _ in range(101):
        rows.event()

    assert len(cells("events", rows)) == 100
    assert len(cells("events", rows, "--limit", "3")) == 3
    assert said("events", rows, "--format", "jsonl").count("\n") == 101
    assert said("events", rows, "--format", "jsonl", "--limit", "2").count("\n") == 2


def test_every_filter_of_events_reaches_the_database(rows: Rows) -> None:
    anna = rows.customer({"registered": "a=b:c"})
    match = rows.event(anna, T0, campaign="c", status="s", stage="posted", type="t")
    rows.event(anna, T0 + DAY_US, campaign="c", status="s", stage="posted", type="t")
    for _ in range(2):
        rows.event()
    filters = {
        "--customer": "registered=a=b:c",
        "--campaign": "c",
        "--status": "s",
        "--stage": "posted",
        "--type": "t",
        "--since": "2025-10-09",
        "--until": "2025-10-10",
    }

    together = [part for option in filters.items() for part in option]
    assert [line[-1] for line in cells("events", rows, *together)] == [str(match)]
    for option in filters.items():
        if option[0] != "--since":
            assert len(cells("events", rows, *option)) < 4


def test_json_lines_and_csv_carry_the_same_events(rows: Rows) -> None:
    rows.event(campaign="=1+1", properties='{"n":1.50}')

    (line,) = said("events", rows, "--format", "jsonl").splitlines()
    (record,) = csv.DictReader(io.StringIO(said("events", rows, "--format", "csv"), newline=""))

    assert '"properties":{"n":1.50}' in line
    assert json.loads(line)["campaign"] == "=1+1"
    assert (record["campaign"], record["properties"]) == ("'=1+1", '{"n":1.50}')


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_events_go_into_a_file_when_told(rows: Rows, tmp_path: Path, form: str) -> None:
    rows.event(properties='{"stadt":"Köln"}')
    file = tmp_path / "events"

    expected = said("events", rows, "--format", form)
    assert said("events", rows, "--format", form, "-o", str(file)) == ""
    assert file.read_text(encoding="utf-8").splitlines() == expected.splitlines()  # the runner has no \r\n


def test_half_an_export_is_not_left_behind(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 1)
    rows.event(ids='{"registered":"anna"}')
    rows.event(occurred_us=T0 - 1, ids="no JSON, on which the table fails")
    file = tmp_path / "events"

    assert run("events", rows, "-o", str(file)).exit_code == 1
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_said_so(rows: Rows, tmp_path: Path) -> None:
    result = run("events", rows, "--format", "csv", "-o", str(tmp_path / "no" / "where"))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "The file cannot be written (No such file or directory).\n"


def test_what_a_sender_wrote_cannot_move_the_cursor_of_a_terminal(rows: Rows) -> None:
    rows.event(campaign="\x1b[2J\tgone", ids='{"registered":"a\\u009b\\u202e"}')
    (line,) = cells("events", rows)
    number = rows.rejection(b"\x1b]0;title\x07\r\n", pointer="/\x1b")

    assert line[1:4:2] == ["registered=a��", "�[2J�gone"]
    for command in (["rejections list"], ["rejections show", str(number)]):
        shown = said(command[0], rows, *command[1:])
        assert not any(sign in shown for sign in "\x1b\x07\r")


def test_a_terminal_gets_a_table_and_markup_in_it_stays_text(rows: Rows) -> None:
    rows.event(campaign="[red]sale[/red]")

    shown = _at_a_terminal("events", rows.project.token)

    assert "│" in shown
    assert "[red]sale" in shown


def _at_a_terminal(*arguments: str) -> str:
    """What the command writes where standard output is a terminal."""
    program = "import typer; from receiver.cli import reads; a = typer.Typer(); reads.register(a); a()"
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # how Linux says that the other side is closed
        os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_a_reader_who_leaves_early_is_no_error_worth_a_traceback(rows: Rows) -> None:
    for n in range(5):
        rows.event(properties=json.dumps({"long": "x" * 200_000, "n": n}))
    program = "import typer; from receiver.cli import reads; a = typer.Typer(); reads.register(a); a()"
    command = [sys.executable, "-c", program, "events", rows.project.token, "--format", "jsonl"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        complaint = process.stderr.read()

    assert complaint == b""


# -- outcomes -------------------------------------------------------------------------------------


def test_outcomes_are_listed_by_day_and_source(rows: Rows) -> None:
    rows.counter(5, 3, 1, 1)
    rows.counter(2, 2, 0, 0, at_us=T0 + DAY_US)

    assert cells("outcomes", rows) == [
        ["2025-10-09", "callback", "5", "3", "1", "1"],
        ["2025-10-10", "callback", "2", "2", "0", "0"],
    ]
    assert len(cells("outcomes", rows, "--since", "2025-10-10")) == 1
    total = document("outcomes", rows, "--until", "2025-10-10")["total"]
    assert total == {"received": 5, "accepted": 3, "duplicate": 1, "rejected": 1}


def test_a_check_that_finds_nothing_says_so(rows: Rows) -> None:
    rows.counter(3, 2, 1, 0)
    rows.event()

    assert said("outcomes", rows, "--check").splitlines()[-1] == "Everything adds up."
    assert document("outcomes", rows, "--check")["disagreements"] == []


def test_a_check_that_finds_something_names_the_hour_and_fails(rows: Rows) -> None:
    rows.counter(5, 3, 1, 0)
    rows.counter(0, 0, 0, 0, at_us=T0 + DAY_US)
    rows.event(received_us=T0 + DAY_US)

    plain, machine = run("outcomes", rows, "--check"), run("outcomes", rows, "--check", "--json")

    assert (plain.exit_code, machine.exit_code) == (1, 1)
    assert plain.stderr.splitlines() == [
        "2025-10-09T08:00:00.000000Z, callback: 5 received, but 3 accepted + 1 duplicate + 0 rejected.",
        "2025-10-10T08:00:00.000000Z, callback: 1 as kept events, but only 0 as accepted commands.",
    ]
    assert [each["events"] for each in json.loads(machine.stdout)["disagreements"]] == [0, 1]
    assert run("outcomes", rows, "--check", "--since", "2025-10-11").exit_code == 0
    assert run("outcomes", rows).exit_code == 0


# -- rejections -----------------------------------------------------------------------------------


def test_rejections_are_listed_and_filtered(rows: Rows) -> None:
    first = rows.rejection(b"hay", count=3)
    second = rows.rejection(b"needle", reason="malformed_json", state="dismissed")

    listed = cells("rejections list", rows)
    assert [line[0] for line in listed] == [str(second), str(first)]
    assert listed[1][2:6] == ["3", "open", "empty_customer_id", "customers/events"]
    for option in (("--q", "needle"), ("--state", "dismissed"), ("--reason", "malformed_json")):
        found = document("rejections list", rows, *option)
        assert [each["id"] for each in found["data"]] == [second]


def test_a_cut_list_of_rejections_tells_how_to_go_on(rows: Rows) -> None:
    first, second = rows.rejection(), rows.rejection()

    result = run("rejections list", rows, "--limit", "1")
    following = result.stderr.split()[-1]

    assert result.stderr.startswith("There is more")
    assert result.stdout.splitlines()[1].split("\t")[0] == str(second)
    assert [line[0] for line in cells("rejections list", rows, "--cursor", following)] == [str(first)]


def test_a_rejection_is_shown_with_its_body(rows: Rows) -> None:
    number = rows.rejection('{"name":\n "Köln"}'.encode())

    shown = said("rejections show", rows, str(number))

    assert '{"name":\n "Köln"}\n' in shown
    assert "content-type: application/json" in shown
    assert "/customer_ids/registered" in shown
    assert document("rejections show", rows, str(number))["body"] == '{"name":\n "Köln"}'


def test_a_body_that_is_no_text_is_shown_in_base64(rows: Rows) -> None:
    number = rows.rejection(b"\xff\x00")

    assert "body, in base64\n/wA=\n" in said("rejections show", rows, str(number))
    assert document("rejections show", rows, str(number))["body_base64"] == "/wA="


def test_the_summary_is_by_reason(rows: Rows) -> None:
    rows.rejection(count=3)
    rows.rejection(reason="malformed_json", state="dismissed")

    assert [line[:2] for line in cells("rejections summary", rows)] == [
        ["empty_customer_id", "3"],
        ["malformed_json", "1"],
    ]
    assert len(document("rejections summary", rows, "--state", "open")["data"]) == 1


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["events", "outcomes", "rejections list", "rejections show", "rejections summary"]
)
def test_an_unknown_project_is_a_sentence(rows: Rows, command: str) -> None:
    for token in ("nope", "Köln\udcff"):
        result = run(command, None, token, *(["1"] if command.endswith("show") else []))

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "There is no project with this token; `receiver project list` shows them all.\n"
        )


def test_rejections_of_another_project_are_not_shown(rows: Rows) -> None:
    number = rows.rejection()
    rows.begin_project()

    result = run("rejections show", rows, str(number))

    assert (result.exit_code, result.stderr) == (1, "There is no such rejection in this project.\n")


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("events", "--stage", "Delivered"),
        ("events", "--since", "yesterday"),
        ("events", "--customer", "email=anna@example.com"),
        ("events", "--limit", "0"),
        ("events", "--format", "xml"),
        ("outcomes", "--until", "tomorrow"),
        ("rejections list", "--reason", "nope"),
        ("rejections list", "--limit", "1001"),
        ("rejections summary", "--state", "shut"),
    ],
)
def test_a_wrong_option_is_wrong_usage_and_named(rows: Rows, command: str, option: str, value: str) -> None:
    result = run(command, rows, option, value)

    assert (result.exit_code, result.stdout) == (2, "")
    assert option in result.stderr
    assert "example.com" not in result.stderr


def test_parquet_says_that_it_comes_later(rows: Rows) -> None:
    result = run("events", rows, "--format", "parquet")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Parquet is not available yet; take jsonl or csv.\n"


def test_a_database_that_cannot_be_asked_ends_the_command_in_a_sentence(rows: Rows) -> None:
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO events_away"))

    result = run("events", rows)

    assert result.exit_code == 1
    assert result.stderr.startswith("The database refused the command")
    assert "Traceback" not in result.stderr
