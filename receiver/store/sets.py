"""Set-based statements, written once and run on both databases, and the transaction they run in.

A `Given` statement sees its rows as a table named ``given``; an `Insert` puts its rows into a table.
How the rows get there differs, and both ways were measured (docs/decisions/0001):

- PostgreSQL takes one JSON parameter however many rows there are, and the statements of a
  transaction travel together (`Pipeline`): two round trips for a group of any size.
- SQLite takes plain parameters and prepared ``executemany``; there is no network to save.

These two go below SQLAlchemy to the driver, as its layer would cost more than the statements do.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

import orjson
from sqlalchemy import Column, Engine, LargeBinary, Table

if TYPE_CHECKING:
    from receiver.store.pipeline import Pipeline

Row = tuple[Any, ...]
Rows = Sequence[Row]
Fetch = Callable[[], Rows]

# Rows of one statement on SQLite, whose statements take 32,766 parameters at most.
_MOST_ROWS = 4096


class Insert:
    """Rows for the *columns* of *table*, all unless told; *then* follows, such as ``ON CONFLICT ...``."""

    def __init__(self, table: Table[Any], then: str = "", columns: Sequence[str] = ()) -> None:
        self._columns = [table.columns[name] for name in columns] if columns else list(table.columns)
        self._then = then
        names = ", ".join(column.name for column in self._columns)
        self._into = f"INSERT INTO {table.name} ({names})"
        self.sqlite = f"{self._into} VALUES ({_marks(len(self._columns))}) {then}"
        self.bytes_at = _bytes_at(self._columns)

    @cached_property
    def postgresql(self) -> str:
        return f"{self._into} {_select_given(self._columns)} {self._then}"


def columns_of(table: Table[Any], first: int | None = None) -> dict[str, Column[Any]]:
    """The columns of *table* by name, or only the *first* so many, for `Given`."""
    return {column.name: column for column in list(table.columns)[:first]}


class Given:
    """A statement over the rows of a table ``given``, whose columns are named and typed as *columns*.

    On SQLite rows may be given to it twice: it must not matter how often a row is there.
    """

    def __init__(self, columns: dict[str, Column[Any]], statement: str) -> None:
        self._columns = list(columns.values())
        self._names = ", ".join(columns)
        self._statement = statement
        self._sqlite: dict[int, str] = {}
        self.bytes_at = _bytes_at(self._columns)

    def sqlite(self, rows: int) -> str:
        """For so many *rows*."""
        statement = self._sqlite.get(rows)
        if statement is None:
            values = ", ".join([f"({_marks(len(self._columns))})"] * rows)
            statement = f"WITH given ({self._names}) AS (VALUES {values}) {self._statement}"
            self._sqlite[rows] = statement
        return statement

    @cached_property
    def postgresql(self) -> str:
        return f"WITH given ({self._names}) AS ({_select_given(self._columns)}) {self._statement}"


def _marks(width: int) -> str:
    return ", ".join("?" * width)


def _bytes_at(columns: Sequence[Column[Any]]) -> tuple[int, ...]:
    return tuple(n for n, column in enumerate(columns) if isinstance(column.type, LargeBinary))


def _select_given(columns: Sequence[Column[Any]]) -> str:
    """The rows of a JSON array of arrays; bytes travel as hexadecimal digits."""
    from sqlalchemy.dialects import postgresql  # not at a start with SQLite, which it would make longer

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy left it so
    fields = [
        f"decode(v->>{n}, 'hex')"
        if isinstance(column.type, LargeBinary)
        else f"(v->>{n})::{column.type.compile(dialect)}"
        for n, column in enumerate(columns)
    ]
    return f"SELECT {', '.join(fields)} FROM jsonb_array_elements($1::jsonb) AS v"


class Transaction(Protocol):
    """What may be done between the begin and the commit of `Ledger.transaction`."""

    def execute(self, statement: str, parameters: Row = ()) -> Fetch:
        """Run one statement with ``?`` for its *parameters*."""

    def run(self, statement: Given, rows: Rows) -> Fetch:
        """Run *statement* over *rows*; the result is fetched when it is asked for, and only then
        has the statement certainly succeeded."""

    def insert(self, statement: Insert, rows: Rows) -> None: ...


class _SqliteTransaction:
    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def execute(self, statement: str, parameters: Row = ()) -> Fetch:
        return _fetched(self._cursor.execute(statement, parameters).fetchall())

    def run(self, statement: Given, rows: Rows) -> Fetch:
        found: list[Row] = []
        for start in range(0, len(rows), _MOST_ROWS):
            some = rows[start : start + _MOST_ROWS]
            # Padded to a power of two, so that a few statements are prepared and not one per size.
            padded = [*some, *repeat(some[-1], (1 << (len(some) - 1).bit_length()) - len(some))]
            self._cursor.execute(statement.sqlite(len(padded)), tuple(chain.from_iterable(padded)))
            found += self._cursor.fetchall()
        return _fetched(found)

    def insert(self, statement: Insert, rows: Rows) -> None:
        self._cursor.executemany(statement.sqlite, rows)


def _fetched(rows: Rows) -> Fetch:
    return lambda: rows


class _PostgresqlTransaction:
    def __init__(self, pipeline: "Pipeline") -> None:
        self._pipeline = pipeline

    def execute(self, statement: str, parameters: Row = ()) -> Fetch:
        for number in range(1, len(parameters) + 1):
            statement = statement.replace("?", f"${number}", 1)
        return self._pipeline.execute(statement, *map(_as_text, parameters))

    def run(self, statement: Given, rows: Rows) -> Fetch:
        return self._pipeline.execute(statement.postgresql, _as_json(rows, statement.bytes_at))

    def insert(self, statement: Insert, rows: Rows) -> None:
        self._pipeline.execute(statement.postgresql, _as_json(rows, statement.bytes_at))


def _as_text(value: object) -> bytes:
    assert value is not None, "a parameter that may be null travels in a row"
    return b"\\x" + value.hex().encode() if isinstance(value, bytes) else str(value).encode()


def _as_json(rows: Rows, bytes_at: tuple[int, ...]) -> bytes:
    if bytes_at:
        rows = [
            tuple(v.hex() if v is not None and n in bytes_at else v for n, v in enumerate(row))
            for row in rows
        ]
    return orjson.dumps(rows, default=tuple)  # of itself it writes no named ones


# All that a writer asks for it finds by a key.  Statistics that are older than the last million rows
# must not talk the planner out of that, and planning costs more than most of the statements.
_LOOK_UP_BY_KEY = (
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    " SET plan_cache_mode = force_generic_plan"
)


class _Turnstile:
    """A lock that goes to whoever has waited for it longest.

    SQLite lets those who wait ask again and again: of two threads of ours, the one that is always back
    at once would keep the other one out for seconds.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def __exit__(self, *_: object) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


_turnstiles: "WeakKeyDictionary[Engine, _Turnstile]" = WeakKeyDictionary()


class Ledger:
    """The writing end of the database: one connection, kept between transactions.

    Not of the pool, so that a small pool cannot keep the writer waiting, nor the writer the readers.
    Not to be shared between threads.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turnstile = _turnstiles.setdefault(engine, _Turnstile())
        self._connection: Any = None  # the driver's own
        self._prepared: dict[str, bytes] = {}

    @contextmanager
    def transaction(self, *, stepwise: bool = False, rehearsal: bool = False) -> Iterator[Transaction]:
        """Committed when the block ends well, otherwise nothing has happened; nor after a *rehearsal*.

        *stepwise*: each statement is answered before the next one leaves, so that `savepoint` can
        tell which one failed.  Raises what the driver raises; `receiver.store.engine.fault` says
        what it means.  A connection that failed is thrown away rather than trusted again.
        """
        try:
            driver = self._connected()
            if self._engine.dialect.name == "sqlite":
                with self._turnstile:
                    driver.execute("BEGIN IMMEDIATE")
                    yield _SqliteTransaction(driver)
                    driver.execute("ROLLBACK" if rehearsal else "COMMIT")
            else:
                from receiver.store.pipeline import Pipeline  # nor is the driver imported for SQLite

                pipeline = Pipeline(driver, self._prepared, stepwise=stepwise)
                pipeline.begin()
                yield _PostgresqlTransaction(pipeline)
                pipeline.end("ROLLBACK" if rehearsal else "COMMIT")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next transaction opens another."""
        connection, self._connection = self._connection, None
        self._prepared = {}
        if isinstance(connection, sqlite3.Connection):
            # It would live on with its lock for as long as anybody knows one of its cursors.
            with suppress(sqlite3.Error):
                connection.rollback()
        if connection is not None:
            connection.close()

    def _connected(self) -> Any:
        if self._connection is None:
            of_pool = self._engine.raw_connection()
            of_pool.detach()
            self._connection = of_pool.dbapi_connection
            if self._engine.dialect.name == "postgresql":
                self._connection.execute(_LOOK_UP_BY_KEY)
                self._connection.commit()
        return self._connection


@contextmanager
def savepoint(transaction: Transaction) -> Iterator[None]:
    """A part of a stepwise transaction that can fail by itself."""
    transaction.execute("SAVEPOINT part")
    try:
        yield
    except Exception:
        transaction.execute("ROLLBACK TO SAVEPOINT part")
        raise
    transaction.execute("RELEASE SAVEPOINT part")
