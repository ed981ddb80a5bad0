"""Ways for a world to break under a running service, each as a context: broken inside, mended after."""

import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
import pytest


class Installed(Protocol):
    """Something that runs on a database."""

    @property
    def database_url(self) -> str: ...


def sqlite_path(database_url: str) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@contextmanager
def sqlite_locked(service: Installed) -> Iterator[None]:
    """Another process, this one, holds the write lock."""
    connection = sqlite3.connect(sqlite_path(service.database_url), isolation_level=None, timeout=20)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


@contextmanager
def sqlite_read_only(service: Installed) -> Iterator[None]:
    """The file and its log, as `immutable` does it."""
    path = sqlite_path(service.database_url)
    with immutable(path, Path(f"{path}-wal")):
        yield


@contextmanager
def postgresql_locked(service: Installed) -> Iterator[None]:
    """Another session holds what every writer needs."""
    with psycopg.connect(service.database_url) as connection:
        connection.execute("LOCK TABLE ledger IN EXCLUSIVE MODE")
        yield


@contextmanager
def postgresql_read_only(service: Installed) -> Iterator[None]:
    """All writes are refused, as after a fail-over to a standby."""
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        yield
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())


@contextmanager
def postgresql_hanging(service: Installed) -> Iterator[None]:
    """The server is there and does nothing, as with storage or a virtual machine that stands still."""
    with psycopg.connect(service.database_url) as connection:
        [(data,)] = connection.execute("SHOW data_directory").fetchall()
        sessions = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    postmaster = int((Path(data) / "postmaster.pid").read_text().split()[0])
    processes = [postmaster, *(pid for (pid,) in sessions)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


@contextmanager
def immutable(*paths: Path) -> Iterator[None]:
    """Nobody may write the files, not even root or who has them open; skips the test where that is not to
    be had."""
    if os.geteuid() != 0 or shutil.which("chattr") is None:
        pytest.skip("only root with chattr can take away the right to write from an open file")
    names = [str(path) for path in paths]
    try:
        subprocess.run(["chattr", "+i", *names], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("this file system has no immutable files")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *names], check=True)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A file system of that size at *folder*; skips the test where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root may mount a small disk to fill it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a page is left on *disk*."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
        try:
            yield
        finally:
            ballast.unlink()
