"""Copies of one database on PostgreSQL, which tests use one after the other."""

from collections.abc import Iterable
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from tests.databases import PostgresqlServer


class Copies:
    """Databases like *template*, which nobody may be connected to.

    To make one and to drop it costs the server a hundred times as much as to empty it.  So one that was
    given back with nothing changed but rows is emptied and lent again.  Nobody must be able to tell: what
    was changed otherwise is dropped, and so is what has grown so much that it is asked in another way.
    """

    def __init__(self, server: PostgresqlServer, template: str) -> None:
        self._server = server
        self._template = template
        self._emptied: list[str] = []
        # When it comes by is chance, and with it how queries are planned and which rows come first.
        server.turn_off("autovacuum")
        with psycopg.connect(server.url(template)) as connection:
            self._made = _made(connection)
            self._rows = _rows_of_tables(connection)
            used = connection.execute("SELECT FROM pg_sequences WHERE last_value IS NOT NULL").fetchall()
            assert not used, "sequences would have to begin where those of the template stand"

    def take(self) -> str:
        """The name of a database that holds what the template holds."""
        return self._emptied.pop() if self._emptied else self._server.create_database(self._template)

    def give_back(self, name: str) -> None:
        """It is no longer used; whoever is still connected is put out."""
        with psycopg.connect(self._server.url(name)) as connection:
            connection.execute(_PUT_OUT_OTHERS)
            sizes: dict[str, int] = dict(connection.execute(_SIZES).fetchall())
            reusable = max(sizes.values(), default=0) <= _MOST_BYTES and _made(connection) == self._made
            if reusable:
                self._empty(connection, [name for name in self._rows if sizes[name]])
        if reusable:
            self._emptied.append(name)
        else:
            self._server.drop_database(name)

    def _empty(self, connection: psycopg.Connection, tables: Iterable[str]) -> None:
        # So that foreign keys ask for no order.
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("SELECT setval(seqrelid, seqstart, false) FROM pg_sequence")
        for name in tables:
            connection.execute(SQL("DELETE FROM {}").format(Identifier(name)))
            if self._rows[name]:
                with connection.cursor() as cursor, cursor.copy(_copy("COPY {} FROM STDIN", name)) as copy:
                    copy.write(self._rows[name])


def _rows_of_tables(connection: psycopg.Connection) -> dict[str, bytes]:
    """What all tables hold, as PostgreSQL writes it for itself."""
    rows = {}
    for (name,) in connection.execute(_TABLES).fetchall():
        with connection.cursor() as cursor, cursor.copy(_copy("COPY {} TO STDOUT", name)) as copy:
            rows[name] = b"".join(copy)
    return rows


def _copy(statement: LiteralString, table: str) -> Composed:
    return SQL(statement).format(Identifier(table))


def _made(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Another value after anything was made, changed, granted, analyzed or dropped."""
    return connection.execute(_CATALOGUES).fetchall()


_SIZES = """
SELECT relname, pg_relation_size(oid) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
"""

# A table of up to ten pages is planned with as if it had ten.
_MOST_BYTES = 10 * 8192

_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"

_PUT_OUT_OTHERS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_HERE = "(SELECT oid FROM pg_database WHERE datname = current_database())"

# A change writes a new row with the number of its transaction, except for what is counted about tables.
_CATALOGUES = " UNION ALL ".join(
    f"SELECT count(*), max(xmin::text::bigint), {counted} FROM {catalogue} WHERE {ours}"
    for catalogue, ours, counted in (
        ("pg_class", "oid >= 16384", "sum(relpages + reltuples)"),
        ("pg_attribute", "attrelid >= 16384", "0"),
        ("pg_constraint", "oid >= 16384", "0"),
        ("pg_trigger", "oid >= 16384", "0"),
        ("pg_proc", "oid >= 16384", "0"),
        ("pg_type", "oid >= 16384", "0"),
        ("pg_namespace", "TRUE", "0"),
        ("pg_extension", "TRUE", "0"),
        ("pg_default_acl", "TRUE", "0"),
        ("pg_statistic", "starelid >= 16384", "0"),
        ("pg_statistic_ext", "TRUE", "0"),
        ("pg_shdepend", f"dbid = {_HERE}", "0"),
        ("pg_db_role_setting", f"setdatabase = {_HERE}", "0"),
    )
)
