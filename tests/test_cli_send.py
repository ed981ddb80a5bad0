"""``receiver send`` as somebody at a terminal or a script sees it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from receiver.cli import sending
from receiver.simulator.service import AUTOMATION
from tests.posting import Post, posting
from tests.rows import locked
from tests.simulated import SimulatedOptilyz, simulated_optilyz

HEADER = "registered,lastName,address1,zipCode,city\n"
ANNA = "anna,Beispiel,Weg 1,01067,Dresden\n"
BERT = "bert,Beispiel,Weg 2,00000,Dresden\n"
CARL = "carl,Beispiel,Weg 3,01067,\n"


@pytest.fixture
def post(database_url: str, optilyz: SimulatedOptilyz, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    environment = {
        "DATABASE_URL": database_url,
        "OPTILYZ_BASE_URL": optilyz.url,
        "OPTILYZ_API_KEY": "k",
        "OPTILYZ_PER_MINUTE": "600000",
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"RECEIVER_{name}", value)
    with posting(database_url, optilyz.url) as post:
        yield post


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(HEADER + ANNA + BERT + CARL + ANNA)
    return path


def send(post: Post, path: Path, *options: str, automation: str = AUTOMATION) -> Result:
    app = typer.Typer(add_completion=False)
    sending.register(app)
    arguments = [post.rows.project.token, str(path), "--automation", automation, "--campaign", "winback"]
    return CliRunner().invoke(app, [*arguments, *options])


def table(result: Result) -> list[list[str]]:
    return [line.split("\t") for line in result.stdout.splitlines()]


def test_what_became_of_all_rows_is_a_table_that_adds_up(
    post: Post, optilyz: SimulatedOptilyz, people: Path
) -> None:
    result = send(post, people)

    assert (result.exit_code, result.stderr) == (0, "")
    head, *lines, last = table(result)
    assert head == ["letters", "why", "number"]
    assert lines == [
        ["queued", "", "1"],
        ["refused", "missing_field", "1"],
        ["refused", "refused_by_optilyz", "1"],
        ["suppressed", "already_mailed", "1"],
    ]
    assert last == ["all rows of the file", "", "4"]
    assert optilyz.state()["queued"] == 1
    again = send(post, people)
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert again.stderr.startswith("All rows were prepared by an earlier call")


def test_for_machines_it_is_one_document(post: Post, people: Path) -> None:
    result = send(post, people, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "rows": 4,
        "letters": [
            {"state": "queued", "reason": None, "count": 1},
            {"state": "refused", "reason": "missing_field", "count": 1},
            {"state": "refused", "reason": "refused_by_optilyz", "count": 1},
            {"state": "suppressed", "reason": "already_mailed", "count": 1},
        ],
        "stopped": None,
    }


def test_a_dry_run_says_what_would_be_done_and_shows_the_first_request(
    post: Post, optilyz: SimulatedOptilyz, people: Path
) -> None:
    before = post.sizes()
    result = send(post, people, "--dry-run")
    document: dict[str, Any] = json.loads(send(post, people, "--dry-run", "--json").stdout)

    assert (result.exit_code, result.stderr) == (0, "")
    assert table(result)[1:5] == [
        ["intended", "", "2"],
        ["refused", "missing_field", "1"],
        ["suppressed", "already_mailed", "1"],
        ["all rows of the file", "", "4"],
    ]
    url = f"{optilyz.url}/v2/automations/{AUTOMATION}/recipients"
    assert f"POST {url}" in result.stdout
    assert document["request"]["url"] == url
    assert document["request"]["body"] in result.stdout
    addresses = json.loads(document["request"]["body"])["addresses"]
    assert [each["address"]["individualisation1"] for each in addresses] == ["anna", "bert"]
    assert (document["rows"], sum(each["count"] for each in document["letters"])) == (4, 4)
    assert post.sizes() == before
    assert optilyz.state()["requests"] == 0


def test_the_options_reach_the_letters(post: Post, optilyz: SimulatedOptilyz, people: Path) -> None:
    limited = send(post, people, "--limit", "1", "--single", "--variation", "2")
    again = send(post, people, "--again", "--limit", "1", "--json")

    assert (limited.exit_code, again.exit_code) == (0, 0)
    assert [each["variation"] for each in optilyz.recipients()] == [2, None]
    assert [each.route for each in post.letters()] == ["recipient", "recipients"]


def test_an_empty_file_sends_nothing(post: Post, tmp_path: Path) -> None:
    path = tmp_path / "nobody.csv"
    path.write_text(HEADER)

    result = send(post, path)
    assert (result.exit_code, result.stdout) == (0, "There is nobody in the file.\n")
    result = send(post, path, "--dry-run")
    assert result.stdout == "There is nobody in the file.\n\nNothing would be sent.\n"


def test_letters_without_an_answer_are_pointed_out(
    post: Post, optilyz: SimulatedOptilyz, people: Path
) -> None:
    optilyz.fail("500")

    result = send(post, people)

    assert result.exit_code == 0
    assert ["unknown", "no_answer", "2"] in table(result)
    assert "receiver mailings resolve" in result.stderr


def test_what_is_still_waiting_is_exit_code_one_with_the_reason(post: Post, people: Path) -> None:
    result = send(post, people, "--json", automation="nonsense")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["stopped"] == (
        "Optilyz knows no such automation, or it is not live (404)."
    )
    assert result.stderr == (
        "Optilyz knows no such automation, or it is not live (404)."
        " Nothing is lost: the same command goes on.\n"
    )


def test_what_cannot_be_begun_is_one_sentence(
    post: Post, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spreadsheet = tmp_path / "people.xlsx"
    spreadsheet.write_bytes(b"PK\3\4\0\0\n")
    results = [
        send(post, tmp_path / "nowhere.csv"),
        send(post, spreadsheet),
        send(post, people, "--template", "nowhere"),
        send(post, people, "--campaign", "x" * 501),
    ]
    monkeypatch.delenv("RECEIVER_OPTILYZ_API_KEY")
    results.append(send(post, people))

    for result in results:
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.output
    assert post.letters() == []


@pytest.mark.parametrize(
    "options", [("--variation", "0"), ("--limit", "0"), ("--limit", "many"), ("--nonsense",)]
)
def test_wrong_usage_is_exit_code_two(post: Post, people: Path, options: tuple[str, ...]) -> None:
    assert send(post, people, *options).exit_code == 2


def test_a_database_that_is_away_is_a_sentence_and_no_traceback(
    post: Post, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_SECONDS", "0.2")
    with locked(post.settings.database_url):
        results = [send(post, people), send(post, people, "--dry-run")]

    for result in results:
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "database" in result.stderr
    assert send(post, people).exit_code == 0


def test_a_run_that_is_interrupted_ends_in_order_and_goes_on_later(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(HEADER + "".join(f"c-{n},Beispiel,Weg {n + 1},01067,Dresden\n" for n in range(30)))
    # Three requests; from the first answer to the end there are four seconds, enough for a busy machine.
    with simulated_optilyz(latency=2.0) as slow:
        monkeypatch.setenv("RECEIVER_OPTILYZ_BASE_URL", slow.url)
        monkeypatch.setenv("RECEIVER_OPTILYZ_BATCH_SIZE", "10")
        command = [
            str(Path(sys.executable).with_name("receiver")),
            "send",
            post.rows.project.token,
            str(path),
        ]
        command += ["--automation", AUTOMATION, "--json"]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ.copy(),
        )
        deadline = time.monotonic() + 30
        while not post.states()["queued"]:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=30)

        assert process.returncode == 1
        assert "Traceback" not in stderr
        assert "goes on" in stderr
        states = {each["state"]: each["count"] for each in json.loads(stdout)["letters"]}
        assert set(states) == {"queued", "intended"}
        assert post.states() == states

        again = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(again.stdout)["letters"] == [{"state": "queued", "reason": None, "count": 30}]
        state = slow.state()
        assert (state["queued"], state["duplicates"]) == (30, 0)
