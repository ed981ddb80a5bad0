"""The simulated Optilyz as its users run it: a process, asked over HTTP."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from tests.system.service import RECEIVER, Settings
from tests.waiting import wait_until

AUTOMATION = "64b0c0ffee0000000000abcd"


class Optilyz:
    """What a test asks it."""

    def __init__(self, root: str) -> None:
        self._root = root

    @property
    def settings(self) -> Settings:
        """With which receiver sends to it."""
        return {"optilyz_base_url": f"{self._root}/api", "optilyz_api_key": "any-key"}

    def state(self) -> dict[str, Any]:
        """What it has seen, without the letters."""
        return self._asked("GET", "/simulator/state")

    def wait_for(self, **least: int) -> None:
        """Return when each of these counts of its state is at least so high."""
        what = ", ".join(f"{count} {name}" for name, count in least.items())
        wait_until(
            lambda: all(self.state()[name] >= count for name, count in least.items()), f"Optilyz has {what}"
        )

    def letters(self) -> Counter[str]:
        """How often who stands in individualisation1 is in its queue."""
        found = self._asked("GET", "/simulator/state?recipients=1")["recipients"]
        return Counter(each["address"]["individualisation1"] for each in found)

    def fail(self, *faults: str) -> None:
        """What goes wrong with the next requests, one each."""
        self._asked("POST", "/simulator/faults", {"faults": faults})

    def _asked(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = httpx2.request(method, self._root + path, json=body, timeout=60, trust_env=False)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document


@contextmanager
def optilyz(folder: Path, *options: str) -> Iterator[Optilyz]:
    """``receiver simulate optilyz`` on a port of its own."""
    said = folder / "optilyz.txt"
    with said.open("wb") as file:
        process = subprocess.Popen(
            [RECEIVER, "simulate", "optilyz", "--port", "0", *options], stdout=file, stderr=file
        )
    try:
        wait_until(lambda: process.poll() is not None or _url(said), "the simulated Optilyz says where it is")
        url = _url(said)
        assert url is not None, said.read_text()
        yield Optilyz(url)
    finally:
        process.terminate()
        process.wait(15)


def _url(said: Path) -> str | None:
    found = re.search(r"What it has seen: (\S+)/simulator/state", said.read_text())
    return found[1] if found else None
