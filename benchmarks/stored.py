"""A database of the service that already holds millions of events, written past the service.

The names of tables and columns stand here once; what they mean is in ``receiver.store.tables``.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import blake2b
from itertools import islice

import psycopg

from benchmarks.traffic import CAMPAIGNS, CUSTOMERS, STATUSES, campaign, cookie, customer, registered

_COLUMNS = {
    "customers": ("id", "project_id", "created_us"),
    "customer_ids": ("project_id", "kind", "value", "customer_id", "used_us"),
    "events": (
        *("id", "project_id", "customer_id", "type", "occurred_us", "received_us", "source"),
        *("campaign", "status", "stage", "ids", "properties"),
    ),
    "claims": ("project_id", "key", "content", "claimed_us", "row_id"),
}
_PROJECT = 1
_STAGES = {b"print": "printing", b"posted": "posted", b"delivered": "delivered", b"returned": "returned"}
_SPREAD_US = 90 * 86_400 * 1_000_000
_ROWS_IN_A_TRANSACTION = 100_000

Row = tuple[object, ...]


def fill(url: str, events: int, until_s: int) -> None:
    """Writes so many events of the traffic's customers, over the 90 days before *until_s*.

    The database is migrated, has one project and is not in use.
    """
    rows = {
        "customers": _customers(until_s),
        "customer_ids": _customer_ids(until_s),
        "events": _events(events, until_s),
        "claims": _claims(events, until_s),
    }
    last_id = f"UPDATE ledger SET last_id = {CUSTOMERS + events}"
    if url.startswith("sqlite:///"):
        _fill_sqlite(url.removeprefix("sqlite:///"), rows, last_id)
    else:
        _fill_postgresql(url, rows, last_id)


def _fill_sqlite(file: str, rows: dict[str, Iterator[Row]], last_id: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-1000000")
        for table, columns in _COLUMNS.items():
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
            while some := list(islice(rows[table], _ROWS_IN_A_TRANSACTION)):
                connection.executemany(statement, some)
                connection.commit()
        connection.execute(last_id)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _fill_postgresql(url: str, rows: dict[str, Iterator[Row]], last_id: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for table, columns in _COLUMNS.items():
            statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
            with connection.cursor().copy(statement.encode()) as copy:
                for row in rows[table]:
                    copy.write_row(row)
        connection.execute(last_id.encode())
        # As autovacuum and time would have done.
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _customers(until_s: int) -> Iterator[Row]:
    """Their IDs come first, the events' follow."""
    created_us = until_s * 1_000_000 - _SPREAD_US
    return ((who + 1, _PROJECT, created_us) for who in range(CUSTOMERS))


def _customer_ids(until_s: int) -> Iterator[Row]:
    used_us = until_s * 1_000_000 - _SPREAD_US
    for who in range(CUSTOMERS):
        yield _PROJECT, "registered", registered(who).decode(), who + 1, used_us
        yield _PROJECT, "cookie", cookie(who).decode(), who + 1, used_us


def _occurred_us(number: int, events: int, until_s: int) -> int:
    return until_s * 1_000_000 - _SPREAD_US + number * _SPREAD_US // events


def _events(events: int, until_s: int) -> Iterator[Row]:
    for number in range(events):
        who = customer(number)
        at_us = _occurred_us(number, events, until_s)
        word = STATUSES[number // CUSTOMERS % len(STATUSES)]
        mailing = campaign((who + number // CUSTOMERS) % CAMPAIGNS).decode()
        ids = f'{{"registered":"{registered(who).decode()}","cookie":"{cookie(who).decode()}"}}'
        properties = (
            f'{{"action_type":"direct mail","status":"{word.decode()}","campaign_id":"{mailing}",'
            f'"campaign_name":"Winback","platform":"optilyz"}}'
        )
        yield (
            *(CUSTOMERS + 1 + number, _PROJECT, who + 1, "campaign", at_us, at_us, "callback"),
            *(mailing, word.decode(), _STAGES[word], ids, properties),
        )


def _claims(events: int, until_s: int) -> Iterator[Row]:
    for number in range(events):
        at_us = _occurred_us(number, events, until_s)
        key = (at_us // 1000).to_bytes(6) + blake2b(b"%d" % number, digest_size=16).digest()
        yield _PROJECT, key, b"", at_us, CUSTOMERS + 1 + number
