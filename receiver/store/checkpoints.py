"""SQLite's write-ahead log is copied into the database beside the commits, not within one.

By itself SQLite copies inside whichever commit made the log long, and that sender waits for it.
"""

import sqlite3
import threading
from pathlib import Path
from types import TracebackType

from sqlalchemy import Engine, exc

from receiver import telemetry

_LONG_BYTES = 16 * 1024 * 1024
_LOOK_SECONDS = 0.5


class Checkpoints:
    """Keeps the log short from a thread of its own; for any other database it does nothing.

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
        log = Path(f"{self._engine.url.database}-wal")
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                if log.exists() and log.stat().st_size > _LONG_BYTES:
                    self._copy()
            except (OSError, sqlite3.Error, exc.SQLAlchemyError) as error:
                telemetry.log("checkpoint_failed", error=type(error).__name__)

    def _copy(self) -> None:
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            # The bulk, while others write; then the little that came meanwhile, with the writer held
            # up for a moment, so that the log begins anew instead of growing for ever.
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
