"""Statements that travel to PostgreSQL together: pipeline mode of libpq, on a connection of psycopg.

psycopg's own pipeline talks to the server at each statement: for a group of one that took 0.9 ms of
CPU, most of a transaction (docs/decisions/0004).  Here a statement is only queued, and whatever was
queued leaves when the first result is wanted.
"""

import select
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

Rows = Sequence[tuple[Any, ...]]


class Pipeline:
    """Runs prepared statements on *connection*, which must not be used otherwise meanwhile.

    *prepared* are the statements that this connection has prepared, by their text; it grows.
    A *stepwise* pipeline sends each statement at once, so that it is known which one failed.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], prepared: dict[str, bytes], *, stepwise: bool
    ) -> None:
        self._libpq = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared = prepared
        self._stepwise = stepwise
        self._sent = 0
        self._results: list[PGresult] = []

    def begin(self) -> None:
        self._libpq.enter_pipeline_mode()
        self.execute("BEGIN")

    def commit(self) -> None:
        self.end("COMMIT")

    def end(self, how: str) -> None:
        """``COMMIT`` or ``ROLLBACK``."""
        self.execute(how)
        self._receive()
        self._libpq.exit_pipeline_mode()

    def execute(self, statement: str, *parameters: bytes) -> Callable[[], Rows]:
        """Queue *statement*, with ``$1`` for its first parameter, as text; its rows can be fetched.

        Fetching, like `commit`, raises what went wrong with any statement since the last time.
        """
        name = self._prepared.get(statement)
        if name is None:
            name = self._prepared[statement] = b"s%d" % len(self._prepared)
            self._libpq.send_prepare(name, statement.encode())
            self._sent += 1
        self._libpq.send_query_prepared(name, parameters)
        place = self._sent
        self._sent += 1
        if self._stepwise:
            self._receive()

        def fetch() -> Rows:
            if place >= len(self._results):
                self._receive()
            result = self._results[place]
            self._transformer.set_pgresult(result)
            return self._transformer.load_rows(0, result.ntuples, tuple)

        return fetch

    def _receive(self) -> None:
        """Send what is queued and take all results of it, or raise what went wrong first."""
        self._libpq.pipeline_sync()
        failed: PGresult | None = None
        while True:
            result = self._next()
            if result is None:
                continue  # the end of one statement
            if result.status == ExecStatus.PIPELINE_SYNC:
                break
            if result.status == ExecStatus.FATAL_ERROR and failed is None:
                failed = result
            self._results.append(result)
        if failed is not None:
            raise _error(failed)

    def _next(self) -> PGresult | None:
        """The next result, without holding up other threads while it is waited for."""
        while (unsent := self._libpq.flush()) or self._libpq.is_busy():
            poll = select.poll()
            # Both at once: a server that waits for us to read would never read the rest of it.
            poll.register(self._libpq.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            if any(event & ~select.POLLOUT for _, event in poll.poll()):
                self._libpq.consume_input()
        return self._libpq.get_result()


def _error(result: PGresult) -> psycopg.Error:
    """Without the server's sentences, which may quote a row."""
    sqlstate = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    try:
        return errors.lookup(sqlstate)(f"SQLSTATE {sqlstate}")
    except KeyError:
        return psycopg.OperationalError(f"SQLSTATE {sqlstate or 'unknown'}")
