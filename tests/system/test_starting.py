"""A service that could not do its work does not start, and says in sentences why."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DIALECTS
from tests.databases import PostgresqlServer
from tests.system.conftest import Installation, with_password
from tests.system.outages import immutable, postgresql_read_only, sqlite_path
from tests.system.service import PRIVATE, Service, Settings, run

# Should it start after all, then where nobody else is.
FREE_PORT: Settings = {"port": 0}


def refusal(database_url: str, *arguments: str, settings: Settings = FREE_PORT) -> str:
    """What ``receiver serve`` says instead of starting; it must end with 1, without a traceback, and say
    nothing on standard output."""
    done = run("serve", *arguments, database_url=database_url, settings=settings)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert PRIVATE not in done.stderr
    assert done.stderr.strip()
    return done.stderr


@pytest.fixture(params=DIALECTS)
def unmigrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that is there and has no tables."""
    if request.param == "sqlite":
        (tmp_path / "receiver.db").touch()
        yield f"sqlite:///{tmp_path}/receiver.db"
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        name = server.create_database()
        yield with_password(server.url(name))
        server.drop_database(name)


def test_a_database_that_was_not_migrated(unmigrated: str) -> None:
    assert "receiver migrate" in refusal(unmigrated)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "receiver migrate" in refusal(f"sqlite:///{tmp_path}/absent/receiver.db")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    said = refusal(f"postgresql://postgres:{PRIVATE}@/receiver?host={tmp_path}", "--init")

    assert "database" in said.lower()
    assert len(said.splitlines()) <= 3


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "receiver.db"
    path.write_bytes(b"this is a letter, not a database" * 100)

    assert "database" in refusal(f"sqlite:///{path}")


def test_a_read_only_file(sqlite: Installation) -> None:
    with immutable(sqlite_path(sqlite.database_url)):
        assert "database" in refusal(sqlite.database_url)


def test_a_read_only_server(postgresql: Installation, tmp_path: Path) -> None:
    with postgresql_read_only(Service(tmp_path, *postgresql)):
        assert "read-only" in refusal(postgresql.database_url)


def test_two_workers_on_sqlite(sqlite: Installation) -> None:
    assert "PostgreSQL" in refusal(sqlite.database_url, "--workers", "2")


def test_all_mistakes_of_the_settings_are_told_at_once_and_no_value(sqlite: Installation) -> None:
    wrong = {
        "reject_status": f"{PRIVATE}1",
        "max_commands": -7731,
        "empty_ids": f"{PRIVATE}2",
        "individualisations": f"{PRIVATE}3",
        "database_seconds": f"{PRIVATE}4",
    }

    said = refusal(sqlite.database_url, settings=wrong)

    assert {f"RECEIVER_{name.upper()}" for name in wrong} == set(re.findall(r"RECEIVER_[A-Z_]+", said))
    assert "7731" not in said


def test_a_database_of_a_kind_that_we_do_not_know() -> None:
    said = refusal(f"mysql://user:{PRIVATE}@localhost/receiver")

    assert "DATABASE_URL" in said


def test_a_port_that_is_taken(sqlite: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        said = refusal(sqlite.database_url, settings={"port": other.getsockname()[1]})

    assert "address already in use" in said


def test_the_same_is_said_by_check(tmp_path: Path) -> None:
    done = run("check", database_url=f"sqlite:///{tmp_path}/receiver.db")

    assert (done.returncode, done.stdout) == (1, "")
    assert "receiver migrate" in done.stderr
