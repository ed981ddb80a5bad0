"""Rows of every kind reach both databases as they are, and whoever waits for a turn gets one."""

import threading
from typing import NamedTuple

from sqlalchemy import Engine, func, select

from receiver.store import tables
from receiver.store.sets import Given, Insert, Ledger

_INSERT = Insert(tables.claims)
_SOME = Insert(tables.suppressions, columns=("id", "project_id", "customer_id", "kind", "note", "created_us"))


class Row(NamedTuple):
    """A row that has names of its own."""

    project_id: int
    key: bytes
    content: bytes
    claimed_us: int
    row_id: int


def test_rows_with_names_are_rows(engine: Engine) -> None:
    ledger = Ledger(engine)
    with ledger.transaction() as transaction:
        transaction.insert(_INSERT, [Row(1, b"\0\xff", b"", 2, 3)])
    ledger.close()

    with engine.connect() as connection:
        assert [tuple(row) for row in connection.execute(select(tables.claims))] == [
            (1, b"\0\xff", b"", 2, 3)
        ]


def test_bytes_may_be_missing_and_columns_left_out(engine: Engine) -> None:
    whole = Insert(tables.suppressions)
    ledger = Ledger(engine)
    with ledger.transaction() as transaction:
        transaction.insert(whole, [(1, 1, 7, "bad_address", None, "", None, 5, None)])
        transaction.insert(whole, [(2, 1, 7, "bad_address", b"\x01", "", None, 5, None)])
        transaction.insert(_SOME, [(3, 1, 8, "objection", "by phone", 5)])
    ledger.close()

    with engine.connect() as connection:
        rows = connection.execute(
            select(tables.suppressions.c.address_key).order_by(tables.suppressions.c.id)
        )
        assert list(rows.scalars()) == [None, b"\x01", None]


def test_a_statement_sees_its_rows_whatever_their_number(engine: Engine) -> None:
    given = Given(
        {name: tables.claims.c[name] for name in ("project_id", "key")},
        "SELECT given.key FROM given LEFT JOIN claims AS c ON c.key = given.key WHERE c.key IS NULL",
    )
    ledger = Ledger(engine)
    with ledger.transaction() as transaction:
        for number in (1, 2, 3, 5000):
            keys = {each.to_bytes(3) for each in range(number)}
            assert {row[0] for row in transaction.run(given, [(1, key) for key in keys])()} == keys
    ledger.close()


def test_nothing_stays_of_a_rehearsal(engine: Engine) -> None:
    ledger = Ledger(engine)
    with ledger.transaction(rehearsal=True) as transaction:
        transaction.insert(_INSERT, [(1, b"k", b"", 2, 3)])
        assert transaction.execute("SELECT count(*) FROM claims WHERE project_id = ?", (1,))() == [(1,)]
    with ledger.transaction() as transaction:
        assert transaction.execute("SELECT count(*) FROM claims WHERE project_id = ?", (1,))() == [(0,)]
    ledger.close()


def test_bytes_are_parameters_too(engine: Engine) -> None:
    ledger = Ledger(engine)
    with ledger.transaction() as transaction:
        transaction.insert(_INSERT, [(1, b"\\x00", b"", 2, 3)])
        found = transaction.execute("SELECT row_id FROM claims WHERE key = ?", (b"\\x00",))()
    ledger.close()

    assert list(found) == [(3,)]


def test_who_waits_longest_is_next(engine: Engine) -> None:
    """One thread that is always back at once does not keep the other one out."""
    turns: list[str] = []
    ready = threading.Barrier(2)

    def take_turns(name: str) -> None:
        ledger = Ledger(engine)
        with ledger.transaction() as transaction:
            transaction.execute("SELECT 1")()  # to be connected is no part of the race
        ready.wait()
        for _ in range(100):
            with ledger.transaction() as transaction:
                transaction.execute("UPDATE ledger SET last_id = last_id + ?", (1,))()
                turns.append(name)
        ledger.close()

    threads = [threading.Thread(target=take_turns, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(turns) == ["a"] * 100 + ["b"] * 100
    # Who is kept out comes to its first turn when the other one has had all of its own.
    first_half = turns[:100]
    assert min(first_half.count("a"), first_half.count("b")) > 10
    with engine.connect() as connection:
        assert connection.execute(select(func.max(tables.ledger.c.last_id))).scalar_one() == 200
