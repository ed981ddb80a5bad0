"""SQLite's log does not grow for ever while others write, and no writer waits for that."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from receiver.store.checkpoints import Checkpoints
from receiver.store.engine import connect
from tests.waiting import wait_until

WAIT_SECONDS = 2.0
MEBIBYTE = 1024 * 1024
ROUNDS = 8
LONG_BYTES = 24 * MEBIBYTE
"""Certainly longer than is let be."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "receiver.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """Leaves the log to us, as the service does."""
    engine = connect(f"sqlite:///{path}", wait_seconds=WAIT_SECONDS, checkpoints=False)
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("CREATE TABLE letters (content BLOB)"))
    yield engine
    engine.dispose()


def write(engine: Engine, length: int = MEBIBYTE) -> float:
    """Write *length* bytes; gives the seconds that it took."""
    started = time.monotonic()
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("INSERT INTO letters VALUES (zeroblob(:length))"), {"length": length})
    return time.monotonic() - started


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def write_much(engine: Engine) -> None:
    for _ in range(LONG_BYTES // MEBIBYTE):
        write(engine)


def written_bytes(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT sum(length(content)) FROM letters")).scalar_one())


def test_without_it_the_log_grows_for_ever(engine: Engine, path: Path) -> None:
    write_much(engine)

    assert log_bytes(path) >= LONG_BYTES


def test_a_long_log_begins_anew_while_others_write(engine: Engine, path: Path) -> None:
    with Checkpoints(engine):
        for _ in range(ROUNDS):
            write_much(engine)
            wait_until(lambda: not grows(engine, path), "the log did not begin anew", seconds=60)

    assert log_bytes(path) < ROUNDS * LONG_BYTES / 2
    assert written_bytes(engine) >= ROUNDS * LONG_BYTES


def grows(engine: Engine, path: Path) -> bool:
    """Whether one more write makes the log longer."""
    before = log_bytes(path)
    write(engine, 1000)
    return log_bytes(path) > before


def test_what_the_log_held_is_in_the_database_itself(engine: Engine, path: Path) -> None:
    write_much(engine)

    with Checkpoints(engine):
        wait_until(lambda: path.stat().st_size >= LONG_BYTES, "the log was not copied", seconds=60)

    assert written_bytes(engine) >= LONG_BYTES


def test_a_long_reading_holds_up_neither_writers_nor_the_end(engine: Engine, path: Path) -> None:
    write(engine)
    reading = connect(f"sqlite:///{path}")
    with reading.connect() as connection:
        connection.execute(text("SELECT count(*) FROM letters")).scalar_one()
        write_much(engine)
        with Checkpoints(engine):
            # Long enough for the copying to be tried more than once.
            ending = time.monotonic() + 2 * WAIT_SECONDS
            slowest = 0.0
            while time.monotonic() < ending:
                slowest = max(slowest, write(engine, 1000))
                time.sleep(0.01)
    reading.dispose()

    assert slowest < WAIT_SECONDS / 2


def test_a_database_that_cannot_be_used_for_a_while_is_logged_and_tried_again(
    engine: Engine, path: Path
) -> None:
    write_much(engine)
    taken = [engine.connect() for _ in range(5)]  # all that the pool has

    with capture_logs() as logs, Checkpoints(engine):
        wait_until(lambda: logs, "nothing was logged", seconds=60)
        for connection in taken:
            connection.close()
        wait_until(lambda: path.stat().st_size >= LONG_BYTES, "not tried again", seconds=60)

    assert {(log["event"], log["error"]) for log in logs} == {("checkpoint_failed", "TimeoutError")}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_for_postgresql_nothing_is_done(database_url: str) -> None:
    engine = connect(database_url)
    before = set(threading.enumerate())

    with Checkpoints(engine):
        assert set(threading.enumerate()) == before
    engine.dispose()


def test_for_sqlite_it_ends_with_its_block(engine: Engine) -> None:
    before = set(threading.enumerate())

    with Checkpoints(engine):
        assert set(threading.enumerate()) > before

    assert set(threading.enumerate()) == before
