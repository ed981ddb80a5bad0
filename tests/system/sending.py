"""``receiver send`` as its users run it: a process, which may be killed, and given again."""

import csv
import json
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Self

import psycopg

from tests.system.conftest import Installation
from tests.system.outages import sqlite_path
from tests.system.service import PRIVATE, RECEIVER, Settings, environment
from tests.system.simulated import AUTOMATION, Optilyz

_IN_TIME = 100


def write_people(path: Path, numbers: Iterable[int]) -> Path:
    """Customers, each with the registered ID ``registered(number)`` and an address of its own."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("registered", "cookie", "lastName", "street", "zipCode", "city"))
        for number in numbers:
            cookie = f"{PRIVATE}-k{number}"
            table.writerow(
                (registered(number), cookie, PRIVATE, f"{PRIVATE}-Str. {number}", "01067", "Dresden")
            )
    return path


def registered(number: int) -> str:
    return f"{PRIVATE}-c{number}"


class Said(NamedTuple):
    """How ``receiver send --json`` ended; *states* and *rows* are of its document, *complaint* is what it
    wrote to standard error."""

    code: int
    rows: int
    states: Mapping[str, int]
    complaint: str


class Sending:
    """One command; given again it goes on.  At the end of the context none of its processes is left."""

    def __init__(self, installation: Installation, optilyz: Optilyz, file: Path, **settings: object) -> None:
        self.database_url = installation.database_url
        self._settings: Settings = {
            "database_url": self.database_url,
            **optilyz.settings,
            "optilyz_per_minute": 6000,
            **settings,
        }
        token = installation.project.token
        what = ("--automation", AUTOMATION, "--campaign", "winback", "--json")
        self._command = [RECEIVER, "send", token, str(file), *what]
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()

    def start(self, **settings: object) -> "subprocess.Popen[str]":
        """The running command; *settings* are for this time only."""
        process = subprocess.Popen(
            self._command,
            env=environment({**self._settings, **settings}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def run(self, **settings: object) -> Said:
        """What comes of it when it is left alone; it must succeed."""
        said = ended(self.start(**settings))
        assert said.code == 0, said.complaint
        return said

    def recipients(self, state: str) -> set[str]:
        """The registered IDs of the letters in *state*."""
        rows = asked(self.database_url, f"SELECT ids FROM mailings WHERE state = '{state}'")
        return {json.loads(ids)["registered"] for (ids,) in rows}

    @property
    def prepared(self) -> int:
        """Rows that are on disk."""
        [(rows,)] = asked(self.database_url, "SELECT coalesce(sum(rows), 0) FROM runs")
        return int(rows)


def ended(process: "subprocess.Popen[str]") -> Said:
    """What it said at its end; none of it is about people."""
    output, complaint = process.communicate(timeout=_IN_TIME)
    for unwanted in (PRIVATE, "Traceback"):
        assert unwanted not in output + complaint, complaint
    document: dict[str, Any] = json.loads(output) if output else {"rows": 0, "letters": []}
    states: Counter[str] = Counter()
    for each in document["letters"]:
        states[each["state"]] += each["count"]
    assert sum(states.values()) == document["rows"]
    return Said(process.returncode, document["rows"], states, complaint)


def kill(process: "subprocess.Popen[str]") -> None:
    """End it as a power cut would; it must have been running."""
    process.kill()
    process.communicate()
    assert process.returncode == -9, "it had come to its end before"


def asked(database_url: str, query: str) -> list[tuple[Any, ...]]:
    """What the database itself answers."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(sqlite_path(database_url), timeout=20)) as lite:
            return lite.execute(query).fetchall()
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()
