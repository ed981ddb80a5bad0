"""Rows that come while PostgreSQL still looks for more: all of them, none, some, and a server that fails."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, CursorResult, Engine, text
from sqlalchemy.exc import DBAPIError

from receiver.store.engine import Fault, connect, fault
from receiver.store.streaming import ROWS

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

NUMBERS = "SELECT n, n::text AS words FROM generate_series(1, :value) n"
ENDLESS = "SELECT n FROM (SELECT generate_series(1, 100000000) n) numbers, pg_sleep(:value)"
SLEEPS = "SELECT CASE WHEN n > 1000 THEN pg_sleep(3600) END FROM generate_series(1, :value) n"
FAILS = "SELECT 1 / (:value - n) FROM generate_series(1, 2000) n"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Of a single connection: what is left on it meets whoever comes next."""
    engine = connect(database_url, pool_size=1)
    yield engine
    engine.dispose()


def streamed(connection: Connection, query: str, value: int) -> "CursorResult[int, str]":
    return connection.execute(text(query), {"value": value}, execution_options={"stream_results": True})


def stands(engine: Engine) -> bool:
    """The next question is answered."""
    with engine.connect() as connection:
        found: int = connection.execute(text("SELECT 7")).scalar_one()
        return found == 7


@pytest.mark.parametrize("number", [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 1050])
def test_all_rows_come_however_they_are_taken(engine: Engine, number: int) -> None:
    rows = [(each, str(each)) for each in range(1, number + 1)]
    with engine.connect() as connection:
        at_once = streamed(connection, NUMBERS, number).all()
        one_by_one = list(streamed(connection, NUMBERS, number))
        first = streamed(connection, NUMBERS, number).first()
        parts = [list(part) for part in streamed(connection, NUMBERS, number).partitions(70)]

    assert at_once == one_by_one == [row for part in parts for row in part] == rows
    assert first == (rows[0] if rows else None)
    assert stands(engine)


def test_the_first_rows_are_there_before_the_last_ones_are_found(engine: Engine) -> None:
    with engine.connect() as connection, streamed(connection, SLEEPS, 2000) as found:
        assert len(found.fetchmany(500)) == 500

    assert stands(engine)


def test_who_goes_away_leaves_a_connection_that_others_can_use(engine: Engine) -> None:
    for _ in range(3):
        with engine.connect() as connection, streamed(connection, ENDLESS, 0) as found:
            assert found.fetchone() == (1,)
        assert stands(engine)


@pytest.mark.parametrize("row", [1, 50, 1500])
def test_an_error_on_the_way_is_told_as_any_other(engine: Engine, row: int) -> None:
    with engine.connect() as connection:
        with pytest.raises(DBAPIError) as error:
            streamed(connection, FAILS, row).all()
        connection.rollback()
        assert streamed(connection, NUMBERS, 1).all() == [(1, "1")]

    assert fault(error.value) is Fault.DATA


def test_a_server_that_goes_away_meanwhile_is_away(engine: Engine, database_url: str) -> None:
    other = connect(database_url)
    with engine.connect() as connection:
        backend = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        found = streamed(connection, SLEEPS, 2000)
        found.fetchmany(500)
        with other.connect() as ending:
            assert ending.execute(text(f"SELECT pg_terminate_backend({backend})")).scalar_one()
        with pytest.raises(DBAPIError) as error:
            found.all()
    other.dispose()

    assert fault(error.value) is Fault.AWAY
    assert stands(engine)
