"""How fast events leave as JSON Lines, against a bare cursor of the database that reads the same rows.

The promise: half as fast at least, in memory that does not grow with the export.  Each turn is a process of
its own, which asks the HTTP application for the export and drops what comes.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

GOAL = 0.5
"""Of the speed of the cursor."""

_FEW = 10_000
_TOGETHER = 2000
_COLUMNS = (
    "id, customer_id, ids, type, occurred_us, received_us, source, campaign, status, stage, mailing_id, tied,"
    " variation, properties"
)
_QUERY = f"SELECT {_COLUMNS} FROM events WHERE project_id = 1 ORDER BY occurred_us DESC, id DESC"


class Exported(NamedTuple):
    """Medians: rows a second, and MB of memory for few rows and for many."""

    cursor: float
    service: float
    few_mb: float
    many_mb: float

    @property
    def ratio(self) -> float:
        return self.service / self.cursor


def exported(url: str, rows: int, rounds: int) -> Exported:
    """The newest *rows* of the project, by turns."""
    turns = [(_turn("cursor", url, rows), _turn("service", url, rows)) for _ in range(rounds)]
    cursors, services = zip(*turns, strict=True)
    return Exported(
        median(each["rate"] for each in cursors),
        median(each["rate"] for each in services),
        _turn("service", url, _FEW)["mb"],
        max(each["mb"] for each in services),
    )


def _turn(who: str, url: str, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.exporting", who, url, str(rows)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """One turn."""
    who, url, rows = sys.argv[1:]
    turn = _bare(url, int(rows)) if who == "cursor" else _served(url, int(rows))
    next(turn)
    began = time.perf_counter()
    read = sum(turn)
    seconds = time.perf_counter() - began
    assert read >= int(rows), "all rows that are asked for are there"
    print(json.dumps({"rate": read / seconds, "mb": _peak_mb()}))


def _peak_mb() -> float:
    # Not by getrusage, which knows the memory of whoever started this process as well.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _bare(url: str, rows: int) -> Iterator[int]:
    """Nothing once it is ready, then how many rows came."""
    query = f"{_QUERY} LIMIT {rows}"
    if url.startswith("sqlite"):
        import sqlite3

        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            yield 0
            cursor = file.execute(query)
            while some := cursor.fetchmany(_TOGETHER):
                yield len(some)
        return
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor("bare") as server_side:
        yield 0
        server_side.execute(query.encode())
        while some := server_side.fetchmany(_TOGETHER):
            yield len(some)


def _served(url: str, rows: int) -> Iterator[int]:
    """As `_bare`."""
    from benchmarks.service import Service
    from receiver.store.keys import Role

    lines = 0

    def counted(part: bytes) -> bool:
        nonlocal lines
        lines += part.count(b"\n")
        return lines < rows

    with Service(url, Role.DATA) as service:
        yield 0
        service.stream(f"{service.v1}/events", counted, format="jsonl")
    yield lines


if __name__ == "__main__":
    main()
