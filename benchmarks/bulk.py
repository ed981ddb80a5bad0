"""Very many rows into the tables of the service, past the service."""

import sqlite3
from collections.abc import Iterable
from itertools import islice
from typing import Any

import psycopg
from sqlalchemy import Table

from receiver.store.sets import Insert, Row

_TOGETHER = 50_000
_CACHE_KB = 500_000


class Bulk:
    """Rows of the tables of the database at *url*, which is migrated and not in use.

    Indexes are there from the start, as in life.  Rows of a table are written in the order in which they
    were added; a hundred thousand at most wait in memory.
    """

    def __init__(self, url: str) -> None:
        self._database = _Sqlite(url) if url.startswith("sqlite") else _Postgresql(url)
        self._waiting: dict[Table[Any], list[Row]] = {}

    def add(self, table: Table[Any], rows: Iterable[Row]) -> None:
        """*rows* have all columns of *table*, in their order."""
        waiting, rows = self._waiting.setdefault(table, []), iter(rows)
        while some := list(islice(rows, _TOGETHER)):
            waiting += some
            if len(waiting) >= _TOGETHER:
                self._database.insert(table, waiting)
                waiting.clear()

    def close(self, last_id: int, *, mailed: bool) -> None:
        """Write what waits, and let the ledger know of it."""
        for table, rows in self._waiting.items():
            self._database.insert(table, rows)
        self._database.close(f"UPDATE ledger SET last_id = {last_id}, mailed = {str(mailed).lower()}")


class _Sqlite:
    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KB}"):
            self._connection.execute(f"PRAGMA {pragma}")

    def insert(self, table: Table[Any], rows: list[Row]) -> None:
        self._connection.execute("BEGIN")
        self._connection.executemany(Insert(table).sqlite, rows)
        self._connection.execute("COMMIT")

    def close(self, ending: str) -> None:
        self._connection.execute(ending)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.close()


class _Postgresql:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def insert(self, table: Table[Any], rows: list[Row]) -> None:
        columns = ", ".join(column.name for column in table.columns)
        with self._connection.cursor().copy(f"COPY {table.name} ({columns}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def close(self, ending: str) -> None:
        self._connection.execute(ending.encode())
        self._connection.close()
