"""Readers: users of PostgreSQL who may read the views, and nothing else.

PostgreSQL has its users for all databases of a server.  A reader of *this* database is a user without any
power who may read ``events_v`` in it, and for whom it is set to be read only.  There is no other list.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, exc, text

VIEWS = (
    "events_v",
    "letters_v",
    "campaign_funnel_v",
    "campaign_days_v",
    "mailings_v",
    "outcomes_v",
    "rejections_v",
)
"""What readers may read; docs/sql.md describes it."""

MOST_CONNECTIONS = 20
LONGEST_STATEMENT = "5min"
LONGEST_NAME = 63


class ReaderRefused(Exception):
    """What was asked cannot be done.  The message is a sentence without secrets."""


@dataclass(frozen=True, slots=True)
class NewReader:
    """A reader with its password: the only moment at which that can be read.

    *url* says where to connect to as far as it is known: the host is where receiver finds the server.
    """

    name: str
    password: str = field(repr=False)
    url: str = field(repr=False)


def create(connection: Connection, name: str) -> NewReader:
    """A reader, or a new password for the one of this name.

    Raises ReaderRefused on SQLite, for an unfit name, for that of a user who is no reader of this database,
    and where our own user may not do it.
    """
    known = name in readers(connection)
    if not (name.isascii() and name.isidentifier() and name.islower() and len(name) <= LONGEST_NAME):
        raise ReaderRefused(
            f"A reader's name is up to {LONGEST_NAME} of a-z, 0-9 and _, and does not begin with a digit."
        )
    if not known and connection.execute(_TAKEN, {"name": name}).scalar_one():
        raise ReaderRefused("The server keeps this name for somebody else; take another one.")
    password = secrets.token_hex(32)
    with _power_needed():
        if not known:
            _introduce(connection, name)
        _run(connection, f"ALTER ROLE {_quoted(name)} PASSWORD '{_scrambled(connection, name, password)}'")
        _open_views(connection, name)
    return NewReader(name, password, _url(connection, name, password))


def drop(connection: Connection, name: str) -> None:
    """Take a reader away; where it is connected it can read nothing more.

    Raises ReaderRefused on SQLite, for somebody who is no reader, and where our own user may not do it.
    """
    if name not in readers(connection):
        raise ReaderRefused("There is no reader of this name; `receiver reader list` shows them all.")
    with _power_needed():
        # Who made a user may let it go, but take away what it was given only as one of its group.
        for statement in ("GRANT {} TO CURRENT_USER", "DROP OWNED BY {}", "DROP ROLE {}"):
            _run(connection, statement.format(_quoted(name)))


def readers(connection: Connection) -> list[str]:
    """The names of all readers of this database, in their order.

    Raises ReaderRefused on SQLite.
    """
    if connection.dialect.name == "sqlite":
        path = quote(connection.engine.url.database or "")
        raise ReaderRefused(
            "SQLite has no users: whoever may read the file may read all of it."
            f" Open it so that nothing can be written: sqlite3 'file:{path}?mode=ro'"
        )
    return list(connection.execute(_READERS).scalars())


@contextmanager
def still_reading(connection: Connection) -> Iterator[None]:
    """Whoever may read a view may still do so after the block, in which views may be made anew.

    Readers may then read all views, also those that were none before.
    """
    if connection.dialect.name == "sqlite":
        yield
        return
    grants = list(connection.execute(_GRANTS, {"views": list(VIEWS)}).scalars())
    yield
    for grant in grants:
        _run(connection, grant)
    for name in readers(connection):
        _open_views(connection, name)


# -- statements -----------------------------------------------------------------------------------

_GRANTED = (
    "FROM pg_class AS view CROSS JOIN aclexplode(view.relacl) AS granted"
    " WHERE view.relkind = 'v' AND view.relnamespace = to_regnamespace(quote_ident(current_schema()))"
    " AND granted.privilege_type = 'SELECT' AND granted.grantee <> view.relowner"
)
_GRANTS = text(
    "SELECT format('GRANT SELECT ON %I TO %s', view.relname,"
    " CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(granted.grantee)) END)"
    f" {_GRANTED} AND view.relname = ANY(:views)"
)
_READERS = text(
    "SELECT rolname FROM pg_roles AS role JOIN pg_db_role_setting ON setrole = role.oid"
    " WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND 'default_transaction_read_only=on' = ANY(setconfig) AND rolcanlogin"
    " AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)"
    f" AND role.oid IN (SELECT granted.grantee {_GRANTED} AND view.relname = 'events_v') ORDER BY rolname"
)
# Words that stand for all users, or for none, are no names, and those with pg_ are the server's own.
_TAKEN = text(
    "SELECT :name IN ('public', 'none') OR :name LIKE 'pg\\_%'"
    " OR EXISTS (SELECT FROM pg_roles WHERE rolname = :name)"
)
_SETTINGS = text(
    "SELECT format('ALTER ROLE %I IN DATABASE %I SET ', CAST(:name AS text), current_database()) || setting"
    " FROM unnest(ARRAY['default_transaction_read_only = on',"
    f" 'statement_timeout = ''{LONGEST_STATEMENT}''', format('search_path = %I', current_schema())])"
    " AS setting"
)
# Nearly always everybody has these.
_WAY_IN = text(
    "SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), CAST(:name AS text))"
    " WHERE NOT has_database_privilege(CAST(:name AS text), current_database(), 'CONNECT')"
    " UNION ALL SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), CAST(:name AS text))"
    " WHERE NOT has_schema_privilege(CAST(:name AS text), current_schema(), 'USAGE')"
)


def _introduce(connection: Connection, name: str) -> None:
    _run(connection, f"CREATE ROLE {_quoted(name)} LOGIN CONNECTION LIMIT {MOST_CONNECTIONS}")
    for statements in (_SETTINGS, _WAY_IN):
        for statement in connection.execute(statements, {"name": name}).scalars().all():
            _run(connection, statement)


def _open_views(connection: Connection, name: str) -> None:
    _run(connection, f"GRANT SELECT ON {', '.join(VIEWS)} TO {_quoted(name)}")


def _run(connection: Connection, statement: str) -> None:
    # As it is: a name may hold what stands for a parameter.
    connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _scrambled(connection: Connection, name: str, password: str) -> str:
    """What the server keeps of a password; made here, so that its log cannot show the password."""
    driver: Any = connection.connection.driver_connection
    kept: bytes = driver.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return kept.decode()


def _url(connection: Connection, name: str, password: str) -> str:
    ours = connection.engine.url
    query = {key: value for key, value in ours.query.items() if key in {"host", "port", "sslmode"}}
    database = connection.execute(text("SELECT current_database()")).scalar_one()
    url = ours.set(drivername="postgresql", username=name, password=password, database=database, query=query)
    return url.render_as_string(hide_password=False)


@contextmanager
def _power_needed() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        match getattr(error.orig, "sqlstate", None):
            case "42501":
                raise ReaderRefused(
                    "The user in RECEIVER_DATABASE_URL may not do this: it must own the views and have"
                    " CREATEROLE, and another one's readers are for that one to change."
                ) from None
            case "2BP01":
                raise ReaderRefused(
                    "This reader has rights in other databases of the server, so it was left as it is;"
                    " take them away there first, with DROP OWNED BY."
                ) from None
            case _:
                raise
