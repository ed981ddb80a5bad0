"""Readers of a PostgreSQL database see the views and nothing else."""

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from psycopg import errors
from psycopg.sql import SQL, Identifier
from sqlalchemy import Engine, make_url, text
from typer.testing import CliRunner, Result

from receiver import cli
from receiver.store.engine import connect
from receiver.store.migrations import migrate
from receiver.store.readers import VIEWS
from receiver.store.tables import metadata
from tests.databases import PostgresqlServer

HERE = Path(__file__).parent.parent
_numbers = count(1)


@pytest.fixture
def database(
    postgresql_server: PostgresqlServer, migrated_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Of the test's own, which the commands ask."""
    own = postgresql_server.create_database(migrated_postgresql)
    monkeypatch.setenv("RECEIVER_DATABASE_URL", postgresql_server.url(own))
    yield postgresql_server.url(own)
    postgresql_server.drop_database(own)


@pytest.fixture
def name(database: str) -> str:
    """Of a user, who outlives the *database* of a test."""
    return f"reader_{next(_numbers)}"


@pytest.fixture(scope="module")
def asks_for_passwords(postgresql_server: PostgresqlServer) -> Iterator[None]:
    """The server asks everybody but its own user."""
    with psycopg.connect(postgresql_server.url("postgres"), autocommit=True) as connection:
        (file,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        rules = Path(file).read_text()
        connection.execute("CREATE ROLE nobody_known LOGIN")
        try:
            Path(file).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + 30
            while may_enter(postgresql_server.url("postgres").replace("postgres@", "nobody_known:x@")):
                assert time.monotonic() < deadline, "PostgreSQL does not ask for passwords"
            yield
        finally:
            Path(file).write_text(rules)
            connection.execute("SELECT pg_reload_conf()")


def may_enter(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.build("reader"), ["reader", *arguments])


def document(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(*arguments: str) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def by_hand(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def count_of(connection: psycopg.Connection[Any], relation: str) -> int:
    found = connection.execute(SQL("SELECT count(*) FROM {}").format(Identifier(relation))).fetchone()
    assert found is not None
    return int(found[0])


def test_a_reader_reads_every_view_and_no_table_and_writes_nothing(name: str, database: str) -> None:
    engine = connect(database)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO projects VALUES (7, 'token', 'letters', 0)"))
        connection.execute(text("INSERT INTO counters VALUES (7, 'callback', 0, 'spring', 3, 1, 1, 1, 1, 0)"))
    engine.dispose()

    made = document("create", name)

    tables = [*metadata.tables, "alembic_version"]
    with psycopg.connect(made["url"], autocommit=True) as reader:
        assert reader.execute("SELECT current_user, campaign FROM outcomes_v").fetchone() == (name, "spring")
        assert {view: count_of(reader, view) for view in VIEWS} == {
            **dict.fromkeys(VIEWS, 0),
            "outcomes_v": 1,
        }
        for table in tables:
            with pytest.raises(errors.InsufficientPrivilege):
                count_of(reader, table)
        with pytest.raises(errors.ReadOnlySqlTransaction):
            reader.execute("CREATE TABLE own (id int)")
        reader.execute("SET default_transaction_read_only = off")
        for statement in (
            b"CREATE TABLE own (id int)",
            b"DELETE FROM counters",
            b"SELECT pg_read_file('postgresql.conf')",
            b"ALTER ROLE CURRENT_USER CREATEDB",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                reader.execute(statement)


def test_a_reader_does_not_keep_the_server_busy(name: str) -> None:
    made = document("create", name)

    with psycopg.connect(made["url"]) as reader:
        found = reader.execute(
            "SELECT current_setting('statement_timeout'), rolconnlimit FROM pg_roles"
            " WHERE rolname = current_user"
        ).fetchone()

    assert found == ("5min", 20)


@pytest.mark.usefixtures("asks_for_passwords")
def test_the_password_that_was_shown_last_is_the_one_that_is_valid(name: str) -> None:
    first = document("create", name)
    second = document("create", name)

    assert may_enter(second["url"])
    assert not may_enter(first["url"])
    assert not may_enter(second["url"].replace(f":{second['password']}@", "@"))
    assert len({first["password"], second["password"]}) == 2
    assert len(bytes.fromhex(second["password"])) == 32


def test_the_server_never_sees_the_password(name: str, postgresql_server: PostgresqlServer) -> None:
    password = document("create", name)["password"]

    with psycopg.connect(postgresql_server.url("postgres")) as connection:
        (kept,) = connection.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", [name]
        ).fetchone() or ("",)

    assert kept.startswith("SCRAM-SHA-256$")
    assert password not in kept


def test_people_are_shown_the_same(name: str, database: str) -> None:
    shown = run("create", name).stdout

    words = dict(
        line.split(maxsplit=1) for line in shown.splitlines() if line.startswith(("password", "URL"))
    )
    url, ours = make_url(words["URL"]), make_url(database)
    assert url.render_as_string(hide_password=False) == words["URL"]
    assert (url.username, url.password, url.database) == (name, words["password"], ours.database)
    assert url.query == ours.query


def test_readers_are_listed_and_dropped(name: str) -> None:
    assert "There is no reader" in run("list").stdout
    made = document("create", name)
    assert document("list") == [{"name": name}]
    assert run("list").stdout == f"{name}\n"

    with psycopg.connect(made["url"], autocommit=True) as reader:
        assert count_of(reader, "events_v") == 0
        assert run("drop", name).exit_code == 0
        with pytest.raises(psycopg.Error):
            count_of(reader, "events_v")

    assert document("list") == []
    assert not may_enter(made["url"])
    assert "There is no reader of this name" in refused("drop", name)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    "unfit", ["", "Anna", "1a", 'a"b', "a b", "a;b", "ä", "x" * 64, "a\0", "\udcff", "a-b", "a%b"]
)
def test_an_unfit_name_is_refused(unfit: str) -> None:
    assert "A reader's name is up to 63" in refused("create", "--", unfit)


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("word", ["select", "user", "current_user", "x" * 63])
def test_a_word_of_sql_is_a_name_as_any_other(word: str) -> None:
    made = document("create", word)

    with psycopg.connect(made["url"], autocommit=True) as reader:
        assert count_of(reader, "events_v") == 0
    assert run("drop", word).exit_code == 0


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("taken", ["postgres", "public", "none", "pg_monitor", "pg_x"])
def test_the_names_of_others_are_refused(taken: str) -> None:
    assert "keeps this name for somebody else" in refused("create", taken)
    assert "There is no reader of this name" in refused("drop", taken)


def test_a_reader_of_one_database_is_none_of_another(
    name: str, database: str, monkeypatch: pytest.MonkeyPatch, postgresql_server: PostgresqlServer
) -> None:
    made = document("create", name)
    other = postgresql_server.create_database(str(make_url(database).database))
    monkeypatch.setenv("RECEIVER_DATABASE_URL", postgresql_server.url(other))

    # A copy of a database has the rights that were given in it.
    by_hand(postgresql_server.url(other), f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {name}")

    assert document("list") == []
    assert "keeps this name for somebody else" in refused("create", name)
    url = make_url(made["url"]).set(database=other).render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as reader, pytest.raises(errors.InsufficientPrivilege):
        count_of(reader, "events_v")
    postgresql_server.drop_database(other)


def test_a_reader_with_rights_elsewhere_is_left_as_it_is(
    name: str, postgresql_server: PostgresqlServer
) -> None:
    document("create", name)
    other = postgresql_server.create_database()
    by_hand(postgresql_server.url(other), f"CREATE TABLE elsewhere (); GRANT SELECT ON elsewhere TO {name}")

    assert "has rights in other databases" in refused("drop", name)

    assert document("list") == [{"name": name}]
    postgresql_server.drop_database(other)
    assert run("drop", name).exit_code == 0


def test_an_owner_who_may_make_users_needs_no_more_power(
    name: str, database: str, monkeypatch: pytest.MonkeyPatch, postgresql_server: PostgresqlServer
) -> None:
    by_hand(database, f"CREATE ROLE owner_of_{name} LOGIN CREATEROLE PASSWORD 'x'")
    own = postgresql_server.create_database()
    by_hand(database, f"ALTER DATABASE {own} OWNER TO owner_of_{name}")
    by_hand(database, f"REVOKE CONNECT ON DATABASE {own} FROM PUBLIC")
    url = postgresql_server.url(own).replace("postgres@", f"owner_of_{name}:x@")
    by_hand(url, "CREATE SCHEMA letters; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    by_hand(url, f"ALTER ROLE CURRENT_USER IN DATABASE {own} SET search_path = letters")
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    monkeypatch.setenv("RECEIVER_DATABASE_URL", url)

    made = document("create", name)

    assert document("list") == [{"name": name}]
    with psycopg.connect(made["url"], autocommit=True) as reader:
        assert {view: count_of(reader, view) for view in VIEWS} == dict.fromkeys(VIEWS, 0)
    assert document("create", name)["password"] != made["password"]
    assert run("drop", name).exit_code == 0
    postgresql_server.drop_database(own)


def test_who_may_not_make_users_is_told_so(name: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand(database, f"CREATE ROLE plain_{name} LOGIN PASSWORD 'x'")
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database.replace("postgres@", f"plain_{name}:x@"))

    assert "must own the views and have CREATEROLE" in refused("create", name)


def at_0005(url: str) -> Engine:
    engine = connect(url)
    config = Config(HERE / "alembic.ini")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
    return engine


def test_who_could_read_the_views_still_can_when_a_migration_made_them_anew(
    name: str, postgresql_server: PostgresqlServer
) -> None:
    url = postgresql_server.url(postgresql_server.create_database())
    engine = at_0005(url)
    by_hand(url, f"CREATE ROLE {name} LOGIN PASSWORD 'x'; CREATE ROLE other_{name} LOGIN PASSWORD 'x'")
    by_hand(url, f"GRANT SELECT ON events_v, mailings_v, outcomes_v, rejections_v TO {name}")
    by_hand(
        url, f"ALTER ROLE {name} IN DATABASE {make_url(url).database} SET default_transaction_read_only = on"
    )
    by_hand(url, f'GRANT SELECT ON outcomes_v TO "other_{name}"; GRANT SELECT ON mailings_v TO PUBLIC')

    migrate(engine)
    engine.dispose()

    with psycopg.connect(url.replace("postgres@", f"{name}:x@"), autocommit=True) as reader:
        assert {view: count_of(reader, view) for view in VIEWS} == dict.fromkeys(VIEWS, 0)
    with psycopg.connect(url.replace("postgres@", f"other_{name}:x@"), autocommit=True) as other:
        assert [count_of(other, view) for view in ("outcomes_v", "mailings_v")] == [0, 0]
        with pytest.raises(errors.InsufficientPrivilege):
            count_of(other, "events_v")


@pytest.mark.parametrize("arguments", [("create", "anna"), ("drop", "anna"), ("list",)])
def test_on_sqlite_a_sentence_says_what_to_do_instead(
    arguments: tuple[str, ...], migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copyfile(migrated_sqlite, tmp_path / "our letters.db"))
    monkeypatch.setenv("RECEIVER_DATABASE_URL", f"sqlite:///{path}")

    address = refused(*arguments).split("'")[1]

    assert unquote(address) == f"file:{path}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM events_v").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM events")
