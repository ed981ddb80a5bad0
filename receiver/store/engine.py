"""The one engine: URL, pragmas, pool, time-outs, whether it can be used, and what a database error means."""

import sqlite3
import time
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from receiver.store import tables

Problem = str

# A connection of the pool that was used within that time stands, or its question fails as in any outage.
_IDLE_SECONDS = 1.0

_MOST_LOG_BYTES = 128 * 1024 * 1024


class Fault(Enum):
    """What an error of the database asks of us."""

    DATA = "a row that the database refuses: find it, keep it as a rejection, store the others"
    REPEAT = "two transactions got into each other's way: do the whole again"
    AWAY = "nothing can be stored now: tell the sender to come back"


def connect(
    database_url: str, *, pool_size: int = 5, wait_seconds: float = 5.0, checkpoints: bool = True
) -> Engine:
    """An engine for *database_url*; nothing is opened yet.

    *wait_seconds* bounds the waits for a connection of the pool, for the server and for a lock.
    Without *checkpoints* SQLite's log is left to `receiver.store.checkpoints`.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url, pool_size, wait_seconds, checkpoints)
    url = url.set(drivername="postgresql+psycopg")
    milliseconds = int(wait_seconds * 1000)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        connect_args={
            "connect_timeout": max(2, round(wait_seconds)),
            "options": f"-c lock_timeout={milliseconds} -c timezone=UTC",
            "application_name": "receiver",
            # A server that vanished without a word is noticed by TCP, not after hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        },
    )
    _ask_idle_connections(engine)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # Not imported where there is only SQLite.
        from receiver.store.streaming import StreamingCursor

        connection.server_cursor_factory = StreamingCursor

    return engine


def _ask_idle_connections(engine: Engine) -> None:
    """Have a connection of the pool asked first whether it still stands, where it has lain idle.

    What `pool_pre_ping` does each time, which takes as long as a small question.
    """

    @event.listens_for(engine, "checkin")
    def note(_: object, record: ConnectionPoolEntry) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        if time.monotonic() - record.info.get("used", time.monotonic()) < _IDLE_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            # The pool throws all of them away, and makes a new one.
            raise exc.InvalidatePoolError from None


def _connect_sqlite(url: URL, pool_size: int, wait_seconds: float, checkpoints: bool) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        connect_args={"timeout": wait_seconds, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # None: the driver begins no transaction of its own accord; `begin` below and
        # receiver.store.sets do, because only a BEGIN IMMEDIATE waits for its turn to write.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000"):
            connection.execute(f"PRAGMA {pragma}")
        if not checkpoints:
            connection.execute("PRAGMA wal_autocheckpoint=0")
            # What the file of the log shrinks to, should a long reading have made it longer.
            connection.execute(f"PRAGMA journal_size_limit={_MOST_LOG_BYTES}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("once"):
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")

    return engine


def fault(error: BaseException) -> Fault | None:
    """What *error* asks of us; None where it did not come from the database."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, exc.TimeoutError):
        return Fault.AWAY
    # An error of PostgreSQL, told without importing its driver where there is only SQLite.
    if hasattr(error, "sqlstate"):
        return _fault_of_sqlstate(error.sqlstate or "")
    # The driver of SQLite raises the last two before the database sees the row.
    if isinstance(
        error,
        (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError, UnicodeError),
    ):
        return Fault.DATA
    if isinstance(error, sqlite3.Error | exc.SQLAlchemyError):
        return Fault.AWAY
    return None


def _fault_of_sqlstate(sqlstate: str) -> Fault:
    """By class of PostgreSQL's appendix A: 22 data, 23 integrity, 54 limits such as an index row."""
    if sqlstate[:2] in {"22", "23", "54"}:
        return Fault.DATA
    return Fault.REPEAT if sqlstate in {"40001", "40P01"} else Fault.AWAY


# -- can it be used ------------------------------------------------------------------------------


def problems(engine: Engine) -> list[Problem]:
    """Why the database cannot be used now, in sentences; empty when it can."""
    try:
        with engine.execution_options(writes=True).begin() as connection:
            revision = _revision(connection)
            if revision != tables.HEAD:
                return [_behind(revision)]
            # A write that changes nothing, but reaches the disk: it fails where that takes no more.
            connection.execute(tables.ledger.update().values(last_id=tables.ledger.c.last_id))
    except exc.SQLAlchemyError as error:
        return [f"The database cannot be used: {_said(error)}"]
    return []


def _revision(connection: Connection) -> str | None:
    # Asked without Alembic, which takes half a second to import.
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _behind(revision: str | None) -> Problem:
    if revision is None:
        return "The database is empty; run `receiver migrate`."
    return (
        f"The database is at revision {revision}, this version needs {tables.HEAD}; run `receiver migrate`."
    )


def _said(error: exc.SQLAlchemyError) -> str:
    """The driver's own words, without the statement and its parameters, in one line."""
    said: Any = error.orig if isinstance(error, exc.DBAPIError) else error
    return " ".join(str(said).split()) or type(said).__name__
