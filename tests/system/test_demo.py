"""``receiver demo``: the main job, on real input, by one command."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.service import PRIVATE, RECEIVER
from tests.waiting import wait_until


def test_everything_of_the_demo_adds_up(empty_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "kept"

    done = subprocess.run(
        [RECEIVER, "demo", "--json", "--keep", folder, "--database-url", empty_database_url],
        capture_output=True,
        text=True,
        timeout=100,
        # The installation that the environment names is none of the demo's business.
        env=os.environ | {"RECEIVER_DATABASE_URL": "sqlite:////nowhere/at/all.db", "RECEIVER_PORT": "x"},
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["wrong"] == []
    assert sum(each["count"] for each in said["letters"]) == said["rows"] == 1000
    _assert_the_letters_agree_with_optilyz(said)
    _assert_the_callbacks_add_up(said)
    assert "Traceback" not in (folder / "service.log").read_text()
    assert left_over(empty_database_url) == []


def _assert_the_letters_agree_with_optilyz(said: dict[str, Any]) -> None:
    fates = {(each["state"], each["reason"], each["stage"]): each["count"] for each in said["letters"]}
    queued = {stage: count for (state, _, stage), count in fates.items() if state == "queued"}
    assert queued.keys() == {"printing", "posted", "returned"}
    assert sum(queued.values()) == said["optilyz"]["queued"]
    assert fates["refused", "refused_by_optilyz", None] == said["optilyz"]["refused"] == 10
    assert fates["suppressed", "already_mailed", None] == 8
    assert sum(count for (state, *_), count in fates.items() if state == "refused") == 30
    assert (said["optilyz"]["duplicates"], said["optilyz"]["breaches"]) == (0, 0)


def _assert_the_callbacks_add_up(said: dict[str, Any]) -> None:
    callbacks, posted = said["callbacks"], said["optilyz"]["callbacks"]
    assert callbacks["received"] == posted["posted"] > 3000
    assert callbacks["accepted"] + callbacks["duplicate"] == posted["accepted"]
    # Of each of four stages two control addresses and one template that was not filled; and a template that
    # counts in milliseconds.
    refused = {each["reason"]: each["count"] for each in said["rejections"]}
    assert refused == {
        "timestamp_in_milliseconds": 50,
        "empty_customer_id": 8,
        "placeholder_customer_id": 4,
    }
    assert callbacks["rejected"] == 62
    # Three callbacks of each letter, one of each that came back; every tenth comes twice.
    letters = {each["stage"]: each["count"] for each in said["letters"] if each["state"] == "queued"}
    assert callbacks["accepted"] == 3 * sum(letters.values()) + letters["returned"] - 50


def test_the_lines_at_the_end_of_the_demo_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "with a blank"
    done = subprocess.run(
        [RECEIVER, "demo", "--keep", folder], capture_output=True, text=True, timeout=100, check=True
    )

    _, _, below = done.stdout.partition("Where to look next:\n")
    *lines, serve = [line.strip() for line in below.splitlines() if line.strip()]
    pasted = subprocess.run(
        ["sh", "-e", "-x"], input="\n".join(lines), capture_output=True, text=True, timeout=60, check=False
    )

    assert len(lines) == 6
    assert pasted.returncode == 0, pasted.stderr
    assert "\treturned\t" in pasted.stdout
    assert pasted.stdout.endswith("Everything adds up.\n")
    assert serve.endswith("receiver serve")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_broken_off_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    url = f"sqlite:///{tmp_path}/kept/receiver.db"
    command = [RECEIVER, "demo", "--keep", str(tmp_path / "kept")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        wait_until(lambda: len(left_over(url)) == 3 or process.poll() is not None, "three processes run")
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)

    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert left_over(url) == []


def test_the_demo_touches_no_folder_in_which_there_is_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(PRIVATE)

    done = subprocess.run(
        [RECEIVER, "demo", "--keep", tmp_path], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stderr == "The folder is not empty; give a new one, or run it without --keep.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def left_over(database_url: str) -> list[int]:
    """Processes that were started with this database in their environment."""
    return list(_with_setting(f"RECEIVER_DATABASE_URL={database_url}".encode()))


def _with_setting(setting: bytes) -> Iterator[int]:
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and setting in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
