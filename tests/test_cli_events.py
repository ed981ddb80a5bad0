"""``receiver events`` as somebody at a terminal or a script sees it."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from sqlalchemy import text

from receiver.domain.moments import DAY_US
from receiver.store import reports
from tests.reading_commands import cells, run, said
from tests.rows import T0, Rows

RECEIVER = (sys.executable, "-c", "from receiver.cli import main; main()")


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
    words = {"campaign": "c", "status": "s", "stage": "posted", "type": "t"}
    wanted = words | {"variation": "B", "properties": '{"v":"B=:"}'}
    match = rows.event(anna, T0, **wanted)
    rows.event(anna, T0 + DAY_US, received_us=T0 + DAY_US, **wanted)
    rows.event(received_us=T0 - DAY_US)
    rows.event(occurred_us=T0 - DAY_US, received_us=T0 + DAY_US)
    filters = {
        "--customer": "registered=a=b:c",
        "--campaign": "c",
        "--status": "s",
        "--stage": "posted",
        "--type": "t",
        "--variation": "B",
        "--property": "v=B=:",
        "--since": "2025-10-09",
        "--until": "2025-10-10",
        "--received-since": "2025-10-09",
        "--received-until": "2025-10-10",
    }

    together = [part for option in filters.items() for part in option]
    assert [line[-1] for line in cells("events", rows, *together)] == [str(match)]
    for option in filters.items():
        assert len(cells("events", rows, *option)) < 4


@pytest.mark.parametrize("form", ["table", "jsonl"])
def test_the_oldest_come_first_when_told(rows: Rows, form: str) -> None:
    for n in range(3):
        rows.event(campaign=f"spring{n}", occurred_us=T0 + n)

    def campaigns(*options: str) -> list[str]:
        return re.findall("spring[0-2]", said("events", rows, "--format", form, *options))

    assert campaigns("--oldest-first") == ["spring0", "spring1", "spring2"]
    assert campaigns() == ["spring2", "spring1", "spring0"]
    assert campaigns("--oldest-first", "--limit", "1") == ["spring0"]


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


def test_parquet_goes_into_a_file_or_a_pipe(rows: Rows, tmp_path: Path) -> None:
    kept = [rows.event(occurred_us=T0 + n) for n in range(3)]
    file = tmp_path / "events.parquet"

    assert said("events", rows, "--format", "parquet", "--oldest-first", "-o", str(file)) == ""
    piped = run("events", rows, "--format", "parquet", "--oldest-first").stdout_bytes

    assert [row["id"] for row in pyarrow.parquet.read_table(file).to_pylist()] == kept
    assert piped == file.read_bytes()


def test_parquet_without_its_extra_says_how_to_get_it(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    result = run("events", rows, "--format", "parquet")

    assert (result.exit_code, result.stdout) == (1, "")
    assert "pip install '.[parquet]'" in result.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("form", ["table", "jsonl", "csv", "parquet"])
def test_half_an_export_is_not_left_behind_and_the_one_before_stays(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, error: type[BaseException]
) -> None:
    rows.event()
    file = tmp_path / "events"
    file.write_text("the one before")

    def broken_off(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield from all_events(*arguments, **options)
        assert [each.name for each in tmp_path.glob("events.*")] == [f"events.{os.getpid()}.part"]
        raise error

    all_events = reports.all_events
    monkeypatch.setattr(reports, "all_events", broken_off)

    assert run("events", rows, "--format", form, "-o", str(file)).exit_code != 0
    assert file.read_text() == "the one before"
    assert list(tmp_path.glob("events.*")) == []


def test_a_link_stays_one_and_a_pipe_is_written_as_it_is(rows: Rows, tmp_path: Path) -> None:
    rows.event()
    link, file, pipe = tmp_path / "link", tmp_path / "file", tmp_path / "pipe"
    link.symlink_to(file)
    os.mkfifo(pipe)

    said("events", rows, "--format", "jsonl", "-o", str(link))
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        said("events", rows, "--format", "jsonl", "-o", str(pipe))
        piped, _ = reader.communicate()

    assert link.is_symlink()
    assert piped == file.read_bytes() != b""
    assert pipe.is_fifo()


def test_a_file_that_cannot_be_written_is_said_so(rows: Rows, tmp_path: Path) -> None:
    result = run("events", rows, "--format", "csv", "-o", str(tmp_path / "no" / "where"))

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "The file cannot be written (No such file or directory).\n"


def test_what_a_sender_wrote_cannot_move_the_cursor_of_a_terminal(rows: Rows) -> None:
    rows.event(campaign="\x1b[2J\tgone", ids='{"registered":"a\\u009b\\u202e"}')

    (line,) = cells("events", rows)

    assert line[1:4:2] == ["registered=a��", "�[2J�gone"]


def test_a_terminal_gets_a_table_and_markup_in_it_stays_text(rows: Rows) -> None:
    rows.event(campaign="[red]sale[/red]")

    shown = _at_a_terminal("events", rows.project.token)

    assert "│" in shown
    assert "[red]sale" in shown


def _at_a_terminal(*arguments: str) -> str:
    """What the command writes where standard output and standard error are a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    command = [*RECEIVER, *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # how Linux says that the other side is closed
        os.close(ours)
    return shown.decode()


def test_a_terminal_sees_how_far_an_export_to_a_file_is(rows: Rows, tmp_path: Path) -> None:
    for _ in range(3):
        rows.event()
    file = tmp_path / "events.csv"

    shown = _at_a_terminal("events", rows.project.token, "--format", "csv", "-o", str(file))

    assert "Writing events" in shown
    assert shown.split()[-1] == "3"
    assert len(file.read_text().splitlines()) == 4


def test_parquet_is_not_written_to_a_terminal(rows: Rows) -> None:
    shown = _at_a_terminal("events", rows.project.token, "--format", "parquet")

    assert "name a file with -o" in shown
    assert "PAR1" not in shown


def test_a_reader_who_leaves_early_is_no_error_worth_a_traceback(rows: Rows) -> None:
    for n in range(5):
        rows.event(properties=json.dumps({"long": "x" * 200_000, "n": n}))
    command = [*RECEIVER, "events", rows.project.token, "--format", "jsonl"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        complaint = process.stderr.read()

    assert complaint == b""


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["events", "outcomes"])
def test_an_unknown_project_is_a_sentence(rows: Rows, command: str) -> None:
    for token in ("nope", "Köln\udcff"):
        result = run(command, None, token)

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "There is no project with this token; `receiver project list` shows them all.\n"
        )


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("events", "--stage", "Delivered"),
        ("events", "--since", "yesterday"),
        ("events", "--customer", "email=anna@example.com"),
        ("events", "--property", "anna@example.com"),
        ("events", "--received-since", "yesterday"),
        ("events", "--received-until", "tomorrow"),
        ("events", "--limit", "0"),
        ("events", "--format", "xml"),
        ("outcomes", "--until", "tomorrow"),
    ],
)
def test_a_wrong_option_is_wrong_usage_and_named(rows: Rows, command: str, option: str, value: str) -> None:
    result = run(command, rows, option, value)

    assert (result.exit_code, result.stdout) == (2, "")
    assert option in result.stderr
    assert "example.com" not in result.stderr


def test_a_database_that_cannot_be_asked_ends_the_command_in_a_sentence(rows: Rows) -> None:
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("ALTER TABLE events RENAME TO events_away"))

    result = run("events", rows)

    assert result.exit_code == 1
    assert result.stderr.startswith("The database refused the command")
    assert "Traceback" not in result.stderr
