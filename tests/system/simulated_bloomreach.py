"""The simulated Bloomreach as its users run it: a process, asked over HTTP."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.system.service import PRIVATE, RECEIVER, Settings
from tests.waiting import wait_until

_SECRET = f"{PRIVATE}-secret"


class Bloomreach:
    """What a test asks it."""

    def __init__(self, url: str) -> None:
        self._url = url
        # One for all questions: each new one reads the certificates of the whole world first.
        self._client = httpx2.Client(timeout=60, trust_env=False)

    @property
    def settings(self) -> Settings:
        """With which receiver relays to it."""
        return {
            "bloomreach_base_url": self._url,
            "bloomreach_project_token": "b1005ea0-0000-4000-8000-000000000007",
            "bloomreach_key_id": "simulated-key",
            "bloomreach_secret": _SECRET,
            "bloomreach_per_minute": 6000,
            # What a hanging answer costs, and, several times, who relays after one that was killed.
            "bloomreach_seconds": 1,
        }

    def state(self) -> dict[str, Any]:
        """What it has seen, without the events."""
        return self._asked("GET", "/simulator/state")

    @property
    def kept(self) -> int:
        """How many events it has, repeats among them."""
        events: int = self.state()["events"]
        return events

    def wait_for(self, *, seconds: float = 60, **least: int) -> None:
        """Return when each of these counts of its state is at least so high."""
        what = ", ".join(f"{count} {name}" for name, count in least.items())
        wait_until(
            lambda: _reaches(self.state(), least), f"Bloomreach has {what}: {self.state()}", seconds=seconds
        )

    def events(self) -> list[dict[str, Any]]:
        """All that it kept, in order: ``number`` in that order, ``repeat_of`` the number of an equal one,
        and what was sent."""
        return self._records("events")

    def updates(self) -> list[dict[str, Any]]:
        """All updates of customers that it kept, numbered together with the events."""
        return self._records("updates")

    def trouble(self, **what: object) -> None:
        """What goes wrong from now on."""
        self._asked("POST", "/simulator/faults", what)

    def meet(self, fault: str) -> None:
        """Let the next request fail so, and return when one got through after it."""
        spoiled = self.state()["spoiled"].get(fault, 0)
        self.trouble(faults=[fault])
        wait_until(lambda: self.state()["spoiled"].get(fault, 0) > spoiled, f"{fault} has struck")
        self.go_on()

    def go_on(self, events: int = 1) -> None:
        """Return when it has so many more."""
        self.wait_for(events=self.kept + events)

    def access(self, **what: object) -> None:
        """Who may do what."""
        self._asked("POST", "/simulator/access", what)

    def close(self) -> None:
        self._client.close()

    def _records(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = 0
        while page := self._asked("GET", f"/simulator/{what}?after={after}&limit=20000")["records"]:
            found += page
            after = page[-1]["number"]
        return found

    def _asked(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._client.request(method, self._url + path, json=body)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document


def _reaches(state: Mapping[str, int], least: Mapping[str, int]) -> bool:
    return all(state[name] >= count for name, count in least.items())


@contextmanager
def bloomreach(folder: Path, *options: str, port: int = 0) -> Iterator[Bloomreach]:
    """``receiver simulate bloomreach``; *port* is a free one unless told."""
    said = folder / "bloomreach.txt"
    command = [RECEIVER, "simulate", "bloomreach", "--port", str(port), "--secret", _SECRET, *options]
    with said.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        wait_until(lambda: process.poll() is not None or _url(said), "the far side says where it is")
        url = _url(said)
        assert url is not None, said.read_text()
        far_side = Bloomreach(url)
        try:
            yield far_side
        finally:
            far_side.close()
    finally:
        process.terminate()
        process.wait(15)


def _url(said: Path) -> str | None:
    found = re.search(r"RECEIVER_BLOOMREACH_BASE_URL=(\S+)", said.read_text())
    return found[1] if found else None
