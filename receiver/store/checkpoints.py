"""SQLite's write-ahead log is copied into the database beside the commits, not within one.

By itself SQLite copies inside whichever commit made the log long, and that sender waits for it.  The
file of the log keeps its size and is written anew from its beginning: a commit that overwrites costs
half as much as one that makes the file longer.
"""

import sqlite3
import threading
from types import TracebackType

from sqlalchemy import Engine, exc
from sqlalchemy.pool import PoolProxiedConnection

from receiver import telemetry

_LOOK_SECONDS = 0.5

# So long may all writers wait for one who reads.
_WAIT_MS = 100

# Pages in the log, of 4 KB each, from which on it begins anew.
_LONG_PAGES = 4096


class Checkpoints:
    """Keeps the log from growing for ever, from a thread of its own; for any other database it does nothing.

    Needs an engine whose connections leave this to it: ``connect(..., checkpoints=False)``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)

    def __enter__(self) -> "Checkpoints":
        if self._engine.dialect.name == "sqlite" and self._engine.url.database:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        # One of its own, because those of the pool wait longer for a lock.
        connection: PoolProxiedConnection | None = None
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                if connection is None:
                    connection = self._engine.raw_connection()
                    connection.detach()
                    connection.cursor().execute(f"PRAGMA busy_timeout={_WAIT_MS}")
                _copy(connection)
            except (sqlite3.Error, exc.SQLAlchemyError) as error:
                telemetry.log("checkpoint_failed", error=type(error).__name__)
        if connection is not None:
            connection.close()


def _copy(connection: PoolProxiedConnection) -> None:
    cursor = connection.cursor()
    # The bulk, while others write; it costs nothing where nothing was written.
    cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
    [(_, pages, _)] = cursor.fetchall()
    if pages > _LONG_PAGES:
        # The little that came meanwhile, with the writer held up for a moment, so that the log begins
        # anew instead of growing for ever.  Where somebody reads for long, another time.
        cursor.execute("PRAGMA wal_checkpoint(RESTART)")
        cursor.fetchall()
