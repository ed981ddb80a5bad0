"""Statements that travel together, on a real PostgreSQL: results, errors, large values and broken servers."""

import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors

from receiver.store.engine import Fault, fault
from receiver.store.pipeline import Pipeline, Rows
from tests.waiting import wait_until

PATIENCE_SECONDS = 30
MEGABYTE = 1_000_000

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """What the pipeline runs on."""
    with closing(psycopg.connect(database_url)) as connection:
        connection.execute("CREATE TABLE cards (name text UNIQUE, pages int CHECK (pages < 100))")
        connection.commit()
        yield connection


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    """Somebody else at the same database."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def begun(connection: Connection, *, stepwise: bool = False) -> Pipeline:
    pipeline = Pipeline(connection, {}, stepwise=stepwise)
    pipeline.begin()
    return pipeline


def found(connection: Connection, query: LiteralString) -> list[Any]:
    """The one column of what *query* finds."""
    return [value for (value,) in connection.execute(query).fetchall()]


INSERT = "INSERT INTO cards (name, pages) VALUES ($1, $2::int)"


# -- results --------------------------------------------------------------------------------------


def test_results_have_their_types_and_belong_to_their_statements_however_they_are_fetched(
    connection: Connection,
) -> None:
    pipeline = begun(connection)
    series = pipeline.execute("SELECT n, n * 10 FROM generate_series(1, $1::int) AS n", b"3")
    types = pipeline.execute(
        "SELECT $1::bigint, $2::text, decode($3, 'hex'), $4::float8, true, NULL::text",
        *(b"9007199254740993", "Köln".encode(), b"00ff", b"0.25"),
    )
    nothing = pipeline.execute("SELECT 1 WHERE false")

    assert nothing() == []
    assert types() == [(9007199254740993, "Köln", b"\x00\xff", 0.25, True, None)]
    later = pipeline.execute("SELECT 'later'")
    assert series() == [(1, 10), (2, 20), (3, 30)]
    pipeline.commit()
    assert later() == [("later",)]
    assert series() == [(1, 10), (2, 20), (3, 30)]


def test_a_statement_sees_what_the_earlier_ones_did_and_others_see_it_after_the_commit(
    connection: Connection, other: Connection
) -> None:
    pipeline = begun(connection)
    pipeline.execute(INSERT, b"a", b"1")
    seen = pipeline.execute("SELECT name FROM cards")

    assert seen() == [("a",)]
    assert found(other, "SELECT name FROM cards") == []
    pipeline.commit()
    assert found(other, "SELECT name FROM cards") == ["a"]


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_statement_leaves_when_a_result_is_wanted_and_a_stepwise_one_at_once(
    connection: Connection, other: Connection, stepwise: bool
) -> None:
    locks: LiteralString = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"
    pipeline = begun(connection, stepwise=stepwise)

    lock = pipeline.execute("SELECT pg_advisory_xact_lock(4711)")

    assert found(other, locks) == [int(stepwise)]
    lock()
    assert found(other, locks) == [1]
    pipeline.commit()


def test_a_statement_is_prepared_once_for_all_transactions_of_a_connection(connection: Connection) -> None:
    prepared: dict[str, bytes] = {}
    for number in range(3):
        pipeline = Pipeline(connection, prepared, stepwise=number == 1)
        pipeline.begin()
        for copy in range(2):
            pipeline.execute(INSERT, b"%d-%d" % (number, copy), b"1")
        pipeline.commit()

    statements: LiteralString = "SELECT statement FROM pg_prepared_statements ORDER BY statement"
    assert found(connection, statements) == ["BEGIN", "COMMIT", INSERT]
    assert found(connection, "SELECT count(*) FROM cards") == [6]


# -- errors ---------------------------------------------------------------------------------------


def raising(sqlstate: str) -> str:
    return f"DO $$BEGIN RAISE 'SECRET' USING ERRCODE = '{sqlstate}'; END$$"


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize(
    ("statement", "parameters", "kind", "meaning"),
    [
        (INSERT, (b"SECRET", b"1"), errors.UniqueViolation, Fault.DATA),
        (INSERT, (b"SECRET 2", b"100"), errors.CheckViolation, Fault.DATA),
        ("SELECT $1::int", (b"SECRET",), errors.InvalidTextRepresentation, Fault.DATA),
        ("SELECT $1::text", (b"SECRET \xff",), errors.CharacterNotInRepertoire, Fault.DATA),
        (raising("40001"), (), errors.SerializationFailure, Fault.REPEAT),
        (raising("53100"), (), errors.DiskFull, Fault.AWAY),
        ('SELECT * FROM "SECRET"', (), errors.UndefinedTable, Fault.AWAY),
        (raising("ZZ123"), (), psycopg.OperationalError, Fault.AWAY),
    ],
)
def test_an_error_has_the_class_of_its_sqlstate_and_quotes_no_row(
    connection: Connection,
    stepwise: bool,
    statement: str,
    parameters: tuple[bytes, ...],
    kind: type[Exception],
    meaning: Fault,
) -> None:
    connection.execute("INSERT INTO cards VALUES ('SECRET', 1)")
    connection.commit()
    pipeline = begun(connection, stepwise=stepwise)

    with pytest.raises(psycopg.Error) as caught:
        pipeline.execute(statement, *parameters)()

    error = caught.value
    assert type(error) is kind
    assert fault(error) is meaning
    assert str(error).startswith("SQLSTATE ")
    assert error.diag.message_primary is None
    assert "SECRET" not in "".join(traceback.format_exception_only(error))
    assert error.__context__ is None or "SECRET" not in repr(error.__context__)


def test_of_several_errors_the_first_one_is_raised(connection: Connection) -> None:
    pipeline = begun(connection)
    good = pipeline.execute("SELECT 1")
    pipeline.execute(INSERT, b"a", b"100")
    pipeline.execute("SELECT 1 / 0")
    with pytest.raises(errors.CheckViolation):
        good()


def test_after_an_error_nothing_is_stored(connection: Connection, other: Connection) -> None:
    pipeline = begun(connection)
    pipeline.execute(INSERT, b"a", b"1")
    pipeline.execute(INSERT, b"a", b"1")
    pipeline.execute(INSERT, b"b", b"1")

    with pytest.raises(errors.UniqueViolation):
        pipeline.commit()

    connection.close()
    assert found(other, "SELECT name FROM cards") == []


def test_after_a_stepwise_error_a_savepoint_is_rolled_back_and_the_transaction_goes_on(
    connection: Connection,
) -> None:
    pipeline = begun(connection, stepwise=True)
    pipeline.execute(INSERT, b"a", b"1")
    for name in (b"a", b"b", b"b", b"c"):
        pipeline.execute("SAVEPOINT part")
        try:
            pipeline.execute("INSERT INTO cards (name, pages) SELECT $1, 2", name)
        except errors.UniqueViolation:
            pipeline.execute("ROLLBACK TO SAVEPOINT part")
    count = pipeline.execute("SELECT count(*) FROM cards")
    pipeline.commit()

    assert count() == [(3,)]
    stored = connection.execute("SELECT name, pages FROM cards ORDER BY name").fetchall()
    assert stored == [("a", 1), ("b", 2), ("c", 2)]


# -- large values ---------------------------------------------------------------------------------


def test_a_large_parameter_and_a_large_result_travel_at_once(connection: Connection) -> None:
    """A server whose results nobody takes stops reading: who only wrote would wait for it for ever."""
    size = 20 * MEGABYTE
    pipeline = begun(connection)
    results = [
        pipeline.execute("SELECT repeat('x', $1::int)", b"%d" % size),
        pipeline.execute("SELECT length($1)", b"y" * size),
        pipeline.execute("SELECT $1::text", b"z" * size),
    ]

    [[(repeated,)], [(length,)], [(echoed,)]] = [fetch() for fetch in results]
    pipeline.commit()

    assert (len(repeated), length, len(echoed)) == (size, size, size)


# -- waiting --------------------------------------------------------------------------------------


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """While the block runs nobody else can read or write the letters."""
    with psycopg.connect(database_url) as connection:
        connection.execute("LOCK TABLE cards")
        yield


def read_letters(connection: Connection) -> Rows:
    pipeline = begun(connection)
    letters = pipeline.execute("SELECT name FROM cards")()
    pipeline.commit()
    return letters


def test_other_threads_run_on_while_it_waits(connection: Connection, database_url: str) -> None:
    connection.execute("SET lock_timeout = '1s'")
    connection.commit()
    done = threading.Event()
    turns = 0

    def work() -> None:
        nonlocal turns
        while not done.wait(0.001):
            turns += 1

    with locked(database_url), ThreadPoolExecutor(1) as threads:
        threads.submit(work)
        before = turns
        try:
            with pytest.raises(errors.LockNotAvailable):
                read_letters(connection)
            taken = turns - before
        finally:
            done.set()

    assert taken > 50


def test_a_server_that_ends_the_connection_while_it_waits_is_away(
    connection: Connection, other: Connection, database_url: str
) -> None:
    backend = connection.info.backend_pid
    with locked(database_url), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(read_letters, connection)
        wait_until(lambda: found(other, "SELECT pid FROM pg_locks WHERE NOT granted") == [backend])
        other.execute("SELECT pg_terminate_backend(%s)", (backend,))

        error = waiting.exception(PATIENCE_SECONDS)

    assert error is not None
    assert fault(error) is Fault.AWAY


@pytest.mark.parametrize("parameter", [b"short", b"x" * 20 * MEGABYTE], ids=["short", "long"])
def test_a_server_that_has_ended_the_connection_before_is_away(
    connection: Connection, other: Connection, parameter: bytes
) -> None:
    read_letters(connection)
    other.execute("SELECT pg_terminate_backend(%s, 30000)", (connection.info.backend_pid,))

    with pytest.raises(psycopg.Error) as caught:
        begun(connection).execute("SELECT $1::text", parameter)()

    assert fault(caught.value) is Fault.AWAY
    # Again, as it is then known to be broken.
    with pytest.raises(psycopg.Error) as caught:
        read_letters(connection)
    assert fault(caught.value) is Fault.AWAY
