"""Migrations, checks, and what an error of the database means."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, exc, text

from receiver.store.engine import Fault, connect, fault, problems
from receiver.store.migrations import migrate
from receiver.store.tables import metadata
from tests.databases import PostgresqlServer


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Engine]:
    engine = connect(empty_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def migrated(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


def test_the_migrations_make_the_tables(empty: Engine) -> None:
    migrate(empty)

    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_several_migrations_at_once_do_no_harm(empty_database_url: str) -> None:
    failures: list[BaseException] = []
    together = threading.Barrier(3)

    def run() -> None:
        engine = connect(empty_database_url, wait_seconds=30)
        try:
            together.wait()
            migrate(engine)
            assert problems(engine) == []
        except BaseException as error:
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_a_database_that_is_behind_is_told_apart_from_an_empty_one(empty: Engine) -> None:
    migrate(empty)
    assert problems(empty) == []

    with empty.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    assert "is at revision 0000" in problems(empty)[0]

    with empty.execution_options(writes=True).begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    assert problems(empty) == ["The database is empty; run `receiver migrate`."]


def test_a_check_changes_nothing(migrated: Engine) -> None:
    assert problems(migrated) == []

    with migrated.connect() as connection:
        assert connection.execute(text("SELECT last_id FROM ledger")).scalar_one() == 0


def test_a_server_that_is_not_there_is_said_in_one_line() -> None:
    engine = connect("postgresql://somebody:secret@127.0.0.1:1/db", wait_seconds=1)

    (problem,) = problems(engine)
    engine.dispose()

    assert "\n" not in problem
    assert "secret" not in problem
    assert "refused" in problem


def test_a_connection_that_ended_while_it_lay_idle_is_replaced(
    postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.store.engine._IDLE_SECONDS", 0)
    engine = connect(postgresql_server.url("postgres"), pool_size=1)
    number = text("SELECT pg_backend_pid()")
    with engine.connect() as connection:
        before = connection.execute(number).scalar_one()

    other = connect(postgresql_server.url("postgres"))
    with other.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": before})
    other.dispose()

    with engine.connect() as connection:
        after = connection.execute(number).scalar_one()
    engine.dispose()
    assert before != after


def test_a_connection_that_was_used_just_now_is_not_asked_first(
    postgresql_server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = connect(postgresql_server.url("postgres"), pool_size=1)
    asked: list[object] = []
    monkeypatch.setattr(engine.dialect, "do_ping", asked.append)

    def use() -> int:
        with engine.connect():
            return len(asked)

    monkeypatch.setattr("receiver.store.engine._IDLE_SECONDS", 600)
    assert (use(), use(), use()) == (0, 0, 0)
    monkeypatch.setattr("receiver.store.engine._IDLE_SECONDS", 0)
    assert (use(), use()) == (1, 2)
    engine.dispose()


def test_a_new_sqlite_file_is_nobody_elses_to_read(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/new/receiver.db")
    migrate(engine)
    engine.dispose()

    assert (tmp_path / "new/receiver.db").stat().st_mode & 0o077 == 0


def test_sqlite_answers_only_for_what_is_on_disk(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/receiver.db")
    with engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous")
        ]
    engine.dispose()

    assert pragmas == ["wal", 2]


@pytest.mark.parametrize(
    ("make", "meaning"),
    [
        (lambda: sqlite3.IntegrityError(), Fault.DATA),
        (lambda: OverflowError(), Fault.DATA),
        (lambda: "\ud800".encode(), Fault.DATA),
        (lambda: sqlite3.OperationalError("database is locked"), Fault.AWAY),
        (lambda: psycopg.errors.NotNullViolation(), Fault.DATA),
        (lambda: psycopg.errors.UntranslatableCharacter(), Fault.DATA),
        (lambda: psycopg.errors.ProgramLimitExceeded(), Fault.DATA),
        (lambda: psycopg.errors.DeadlockDetected(), Fault.REPEAT),
        (lambda: psycopg.errors.SerializationFailure(), Fault.REPEAT),
        (lambda: psycopg.errors.LockNotAvailable(), Fault.AWAY),
        (lambda: psycopg.errors.DiskFull(), Fault.AWAY),
        (lambda: psycopg.OperationalError("server closed the connection"), Fault.AWAY),
        (lambda: exc.TimeoutError(), Fault.AWAY),
        (lambda: exc.OperationalError("x", {}, sqlite3.OperationalError("disk I/O error")), Fault.AWAY),
        (lambda: KeyError("a mistake of ours"), None),
    ],
)
def test_an_error_says_what_it_asks_of_us(make: Callable[[], BaseException], meaning: Fault | None) -> None:
    try:
        error = make()
    except UnicodeError as raised:
        error = raised

    assert fault(error) is meaning
