"""The repair of rejections as somebody at a terminal or a script sees it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from receiver.cli import build
from receiver.inbound import bulk
from receiver.inbound.rejections import How
from tests.mending import event, in_milliseconds, without_id
from tests.serving_app import Sender, serving

REPAIR = ("--repair", "milliseconds-to-seconds")
PATCH = json.dumps([{"op": "replace", "path": "/timestamp", "value": 1_760_000_000}])


@pytest.fixture
def sender(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    with serving(database_url) as sender:
        yield sender


def run(command: str, sender: Sender, *arguments: object) -> Result:
    return CliRunner().invoke(build(), ["rejections", command, sender.project.token, *map(str, arguments)])


def said(command: str, sender: Sender, *arguments: object) -> str:
    """What a command that ends well writes to standard output."""
    result = run(command, sender, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def cells(command: str, sender: Sender, *arguments: object) -> list[list[str]]:
    """The table as a pipe gets it, without its head."""
    return [line.split("\t") for line in said(command, sender, *arguments).splitlines()[1:]]


def document(command: str, sender: Sender, *arguments: object) -> Any:
    return json.loads(said(command, sender, *arguments, "--json"))


def failed(command: str, sender: Sender, *arguments: object) -> str:
    """What a command that fails writes to standard error."""
    result = run(command, sender, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def refuse(sender: Sender, *bodies: object) -> list[int]:
    """The numbers of the rejections that *bodies* become."""
    for body in bodies:
        sender.send("customers/events", body)
    return [each["id"] for each in document("list", sender)["data"]][: len(bodies)][::-1]


def refuse_many(sender: Sender) -> None:
    refuse(sender, *(in_milliseconds({"registered": f"c-{number}"}) for number in range(3)), without_id())


def events_of(sender: Sender) -> list[int]:
    result = CliRunner().invoke(build(), ["events", sender.project.token, "--format", "jsonl"])
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def counts(sender: Sender) -> dict[str, Any]:
    """What became of all commands; that it adds up is seen to."""
    result = CliRunner().invoke(build(), ["outcomes", sender.project.token, "--check", "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return {"sent": found["total"], "replayed": found.get("replayed")}


# -- replaying one --------------------------------------------------------------------------------


def test_a_mended_rejection_becomes_one_event_and_the_counts_add_up(sender: Sender) -> None:
    (number,) = refuse(sender, in_milliseconds())
    before = counts(sender)

    ((outcome, made, *_),) = cells("replay", sender, number, *REPAIR)

    assert (outcome, [int(made)]) == ("accepted", events_of(sender))
    after = counts(sender)
    assert after["sent"] == before["sent"] == {"received": 1, "accepted": 0, "duplicate": 0, "rejected": 1}
    assert (before["replayed"], after["replayed"]["accepted"]) == (None, 1)


def test_a_rejection_is_mended_by_a_patch_or_by_another_body(sender: Sender, tmp_path: Path) -> None:
    bodies = [in_milliseconds({"registered": name}) for name in "abc"]
    first, second, third = refuse(sender, *bodies)
    patch, body = tmp_path / "patch.json", tmp_path / "body.json"
    patch.write_text(PATCH)
    body.write_text(json.dumps(event({"registered": "c"})))

    answers = [
        document("replay", sender, first, "--patch", PATCH),
        document("replay", sender, second, "--patch", patch),
        document("replay", sender, third, "--body", body),
    ]

    assert [each["outcome"] for each in answers] == ["accepted"] * 3
    assert sorted(each["event_id"] for each in answers) == sorted(events_of(sender))


def test_a_dry_run_shows_both_bodies_and_changes_nothing(sender: Sender) -> None:
    (number,) = refuse(sender, in_milliseconds())

    shown = said("repair", sender, number, *REPAIR, "--dry-run").splitlines()

    before, after = json.dumps(in_milliseconds()), json.dumps(event())
    assert shown[:5] == ["before", f"  {before}", "after", f"  {after}", ""]
    assert shown[6].startswith("accepted\t")
    assert (events_of(sender), document("audit", sender)["data"]) == ([], [])


def test_a_repair_is_named_as_it_comes_to_mind(sender: Sender) -> None:
    first, second = refuse(
        sender, in_milliseconds({"registered": "c-1"}), in_milliseconds({"registered": "c-2"})
    )

    assert said("repair", sender, first, "milliseconds-to-seconds").splitlines()[1].startswith("accepted\t")
    assert "accepted\t1" in said("repair", sender, "milliseconds-to-seconds", "--yes")
    assert document("show", sender, second)["state"] == "replayed"


def test_what_cannot_be_replayed_ends_in_a_sentence(sender: Sender, tmp_path: Path) -> None:
    (number,) = refuse(sender, without_id())
    no_text = tmp_path / "no_text"
    no_text.write_bytes(b"\xff")

    assert failed("replay", sender, number, *REPAIR).startswith("There is no time in milliseconds;")
    assert failed("replay", sender, 4711).startswith("There is no rejection 4711")
    assert failed("replay", sender, number, "--body", tmp_path / "none").startswith("The file cannot be read")
    assert failed("replay", sender, number, "--body", no_text) == "The file is no text in UTF-8.\n"
    said("dismiss", sender, number)
    assert failed("replay", sender, number) == (
        "The rejection is dismissed; only an open one can be replayed.\n"
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "1", "--repair", "magic"],
        ["replay", "1", "--patch", "["],
        ["replay", "1", "--patch", '[{"op": "\\ud800"}]'],
        ["replay", "1", "--patch", "[" * 5000 + "]" * 5000],
        ["replay", "1", *REPAIR, "--patch", "[]"],
        ["replay", "1", "--reason", "malformed_json"],
        ["replay", "0"],
        ["replay", "--body", "file"],
        ["replay", "--reason", "mood"],
        ["replay", "--since", "soon"],
        ["replay", "--yes", "--dry-run"],
        ["repair", "1"],
        ["repair", "1", "2", "drop-empty-ids"],
        ["repair", str(2**63), "drop-empty-ids"],
        ["repair", "magic"],
        ["repair", "drop-empty-ids", *REPAIR],
        ["dismiss"],
        ["dismiss", "1", "--q", "x"],
        ["reopen", "1", "--reason", "malformed_json"],
        ["replay", "1", "--pointer", ""],
        ["dismiss", "--route", "flat"],
        ["undo"],
        ["audit", "--limit", "0"],
    ],
)
def test_wrong_usage_is_exit_code_two(sender: Sender, arguments: list[str]) -> None:
    command, *options = arguments

    assert run(command, sender, *options).exit_code == 2


def test_a_wrong_filter_is_named_as_the_option_it_is(sender: Sender) -> None:
    shown = run("replay", sender, "--reason", "mood").stderr

    assert "--reason: " in re.sub(r"\x1b\[[\d;]*m", "", shown)


def test_a_project_that_is_not_there_ends_in_a_sentence(sender: Sender) -> None:
    for command in (
        ["replay", "nobody", "1"],
        ["replay", "nobody"],
        ["repair", "nobody", *REPAIR],
        ["retry", "nobody"],
        ["dismiss", "nobody", "1"],
        ["reopen", "nobody", "--q", "x"],
        ["undo", "nobody", "1"],
        ["audit", "nobody"],
    ):
        result = CliRunner().invoke(build(), ["rejections", *command])

        assert result.exit_code == 1
        assert result.stderr.startswith("There is no project with this token")


# -- all that match -------------------------------------------------------------------------------


def test_many_are_first_shown_and_then_replayed(sender: Sender) -> None:
    refuse_many(sender)
    command = ["repair", sender, *REPAIR, "--reason", "timestamp_in_milliseconds"]

    shown = run(*command)  # type: ignore[arg-type]  # a command and its sender come first

    assert shown.stdout.splitlines()[:5] == [
        "rejections\tnumber",
        "matched\t3",
        "accepted\t3",
        "duplicate\t0",
        "rejected\t0",
    ]
    assert "This was a dry run: nothing is changed." in shown.stderr
    assert (shown.exit_code, events_of(sender)) == (0, [])
    applied = document(*command, "--yes")  # type: ignore[arg-type]
    assert (applied["dry_run"], applied["matched"], applied["accepted"]) == (False, 3, 3)
    assert len(events_of(sender)) == 3
    assert counts(sender)["replayed"]["accepted"] == 3
    assert document(*command, "--apply")["matched"] == 0  # type: ignore[arg-type]


def test_what_is_still_refused_is_counted_and_shown(sender: Sender) -> None:
    refuse_many(sender)

    lines = said("replay", sender, "--repair", "drop-empty-ids").splitlines()

    place = lines.index("still rejected because\tcommands")
    assert lines[place + 1] == "not_mended\t3"
    samples = [line.split("\t") for line in lines[lines.index("some of them\toutcome\tdetail") + 1 :]]
    assert sorted(each[1] for each in samples) == ["accepted", "rejected", "rejected", "rejected"]
    assert {each[2] for each in samples if each[1] == "rejected"} == {
        "No customer ID is empty; choose another repair."
    }


def test_what_the_rules_of_today_let_pass_is_retried(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_many(sender)
    monkeypatch.setenv("RECEIVER_EMPTY_IDS", "drop")

    shown = document("retry", sender, "--dry-run")
    retried = document("retry", sender)

    for each in (shown, retried):
        assert (each["matched"], each["accepted"], each["rejected"]) == (4, 1, 3)
        assert each["reasons"] == {"timestamp_in_milliseconds": 3}
    assert len(events_of(sender)) == 1
    assert [row[3] for row in cells("list", sender)] == ["replayed", "open", "open", "open"]


def test_a_command_that_is_stopped_goes_on_later(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_many(sender)
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", 1)
    mend = How.mend

    def interrupted(self: How, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return mend(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(How, "mend", interrupted)
        result = run("replay", sender, *REPAIR, "--q", "c-", "--yes", "--json")

    assert (result.exit_code, result.stderr) == (1, "Stopped; the same command goes on.\n")
    assert json.loads(result.stdout)["accepted"] == len(events_of(sender)) == 1
    assert document("replay", sender, *REPAIR, "--q", "c-", "--yes")["accepted"] == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bar_shows_how_far_it_is_at_a_terminal(sender: Sender) -> None:
    refuse_many(sender)
    code = "from receiver.cli import main; main()"
    arguments = ["rejections", "retry", sender.project.token, "--json"]
    terminal, end = pty.openpty()

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        timeout=60,
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)

    assert re.search(r"Looking at rejections.* 4\b", re.sub(r"\x1b\[[\d;]*m", "", shown))
    assert json.loads(done.stdout)["matched"] == 4


# -- deciding and undoing -------------------------------------------------------------------------


def test_rejections_are_dismissed_and_reopened_by_their_ids(sender: Sender) -> None:
    first, second = refuse(sender, in_milliseconds(), without_id())

    assert said("dismiss", sender, first, second, first, "--note", "Theirs") == "2 rejections dismissed.\n"
    assert failed("dismiss", sender, first) == f"The rejection {first} is dismissed, and not open.\n"
    assert said("reopen", sender, first) == "1 rejection reopened.\n"

    assert [row[3] for row in cells("list", sender)] == ["dismissed", "open"]


def test_nothing_is_dismissed_where_one_id_is_wrong(sender: Sender) -> None:
    (number,) = refuse(sender, in_milliseconds())

    assert failed("dismiss", sender, number, 4711).startswith("There is no rejection 4711")

    assert [row[3] for row in cells("list", sender)] == ["open"]


def test_all_that_match_are_dismissed_and_reopened(sender: Sender) -> None:
    refuse_many(sender)

    assert document("dismiss", sender, "--reason", "timestamp_in_milliseconds") == {"done": 3}
    assert document("reopen", sender, "--q", "c-1") == {"done": 1}

    states = sorted(row[3] for row in cells("list", sender))
    assert states == ["dismissed", "dismissed", "open", "open"]


def test_only_what_has_that_in_common_is_decided_about(sender: Sender) -> None:
    refuse_many(sender)
    alike = ["--pointer", "/timestamp", "--type", "campaign", "--campaign", "winback"]
    alike += ["--route", "customers/events"]

    assert document("repair", sender, *REPAIR, *alike)["accepted"] == 3
    assert document("replay", sender, *alike, "--type", "other")["matched"] == 0
    assert document("dismiss", sender, *alike, "--campaign", "other") == {"done": 0}
    assert document("dismiss", sender, *alike) == {"done": 3}
    assert document("reopen", sender, *alike, "--route", "batch") == {"done": 0}
    assert document("reopen", sender, *alike) == {"done": 3}


def test_a_replay_is_taken_back(sender: Sender) -> None:
    (number,) = refuse(sender, in_milliseconds())
    made = document("replay", sender, number, *REPAIR)["event_id"]

    undone = document("undo", sender, number, "--note", "The wrong one")

    assert (undone["state"], undone["withdrawn"], events_of(sender)) == ("open", [made], [])
    assert counts(sender)["sent"]["rejected"] == 1
    assert failed("undo", sender, number).startswith("The rejection is open;")
    assert failed("undo", sender, 4711) == "There is no such rejection.\n"
    said("replay", sender, number, *REPAIR)
    assert said("undo", sender, number) == "1 event has left all reports; the rejection is open again.\n"


# -- the trace ------------------------------------------------------------------------------------


def test_all_that_was_done_is_listed_the_newest_first(sender: Sender) -> None:
    first, second = refuse(sender, in_milliseconds(), without_id())
    said("replay", sender, first, *REPAIR)
    said("undo", sender, first, "--note", "No")
    said("dismiss", sender, second)

    rows = cells("audit", sender)

    assert [row[1:7] for row in rows] == [
        ["command line", "dismiss", str(second), "", "", ""],
        ["command line", "undo", str(first), "", "", "No"],
        ["command line", "replay", str(first), REPAIR[1], "accepted", ""],
    ]
    assert [bool(row[7]) for row in rows] == [False, False, True]
    shown = said("show", sender, first)
    assert [line.split()[1:] for line in shown.splitlines() if line.startswith("  20")] == [
        ["undo", "command", "line", "No"],
        ["replay", "command", "line", REPAIR[1], "accepted"],
    ]
    assert len(document("show", sender, first)["attempts_made"]) == 2
    page = run("audit", sender, "--limit", "2")
    assert page.stderr.startswith("There is more: --cursor ")
    cursor = page.stderr.split()[-1]
    assert cells("audit", sender, "--cursor", cursor) == rows[2:]
