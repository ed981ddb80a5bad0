"""What many tests share: databases, fresh for each test, and how hypothesis runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.copies import Copies
from tests.databases import PostgresqlServer, running_postgresql

if TYPE_CHECKING:
    # Of the package only where it is used, because tests/system shares this file and imports nothing from it.
    from sqlalchemy import Engine
    from starlette.testclient import TestClient

    from tests.posting import Post
    from tests.relaying import Station
    from tests.rows import Rows
    from tests.simulated import SimulatedOptilyz
    from tests.simulated_bloomreach import BloomreachInThread

DIALECTS = ("sqlite", "postgresql")

# A busy machine is no reason to fail.
settings.register_profile("receiver", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "receiver-ci", settings.get_profile("receiver"), derandomize=True, database=None, print_blob=True
)
settings.load_profile("receiver-ci" if os.environ.get("CI") else "receiver")


@pytest.fixture(scope="session", autouse=True)
def _no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody here speaks TLS, but each new HTTP client, of processes too, would first read the certificates
    of the whole world, for 50 ms."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("SSL_CERT_FILE", raising=False)
        environment.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("certificates")))
        yield


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """One server for all tests that leave it running; who stops it takes ``running_postgresql`` instead."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=DIALECTS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that no migration has seen, as RECEIVER_DATABASE_URL takes it; on SQLite no file as yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/receiver.db"
    else:
        yield from _postgresql_copy(request.getfixturevalue("postgresql_server"), "template1")


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of the test's own, as RECEIVER_DATABASE_URL takes it."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("migrated_sqlite"), tmp_path / "receiver.db")
        yield f"sqlite:///{tmp_path}/receiver.db"
    else:
        copies: Copies = request.getfixturevalue("postgresql_copies")
        name = copies.take()
        yield request.getfixturevalue("postgresql_server").url(name)
        copies.give_back(name)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that each test's SQLite database is a copy of."""
    path = tmp_path_factory.mktemp("migrated") / "receiver.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql_server: PostgresqlServer) -> str:
    """The name of the database that each test's PostgreSQL database is a copy of."""
    name = postgresql_server.create_database()
    _migrate(postgresql_server.url(name))
    return name


@pytest.fixture(scope="session")
def postgresql_copies(postgresql_server: PostgresqlServer, migrated_postgresql: str) -> Copies:
    """Where each test's migrated PostgreSQL database comes from."""
    return Copies(postgresql_server, migrated_postgresql)


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["Engine"]:
    """Of the test's own database, which commands ask too."""
    from receiver.store.engine import connect

    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def rows(engine: "Engine") -> "Rows":
    """A project, and whatever a test puts beside it."""
    from tests.rows import Rows

    return Rows(engine)


@pytest.fixture
def client(rows: "Rows") -> Iterator["TestClient"]:
    """Of a service that answers questions about the rows."""
    from tests.reading_app import asking

    with asking(rows.engine) as client:
        yield client


def _postgresql_copy(server: PostgresqlServer, template: str) -> Iterator[str]:
    name = server.create_database(template)
    yield server.url(name)
    server.drop_database(name)


def _migrate(url: str) -> None:
    from receiver.store.engine import connect
    from receiver.store.migrations import migrate

    engine = connect(url)
    try:
        migrate(engine)
    finally:
        engine.dispose()


# -- the far sides of the network -----------------------------------------------------------------


@pytest.fixture(scope="module")
def one_optilyz() -> Iterator["SimulatedOptilyz"]:
    from tests.simulated import simulated_optilyz

    with simulated_optilyz() as optilyz:
        yield optilyz


@pytest.fixture
def optilyz(one_optilyz: "SimulatedOptilyz") -> "SimulatedOptilyz":
    """One that remembers nothing of other tests."""
    one_optilyz.reset()
    return one_optilyz


@pytest.fixture
def post(database_url: str, optilyz: "SimulatedOptilyz") -> Iterator["Post"]:
    """A post office that sends to it."""
    from tests.posting import posting

    with posting(database_url, optilyz.url) as post:
        yield post


@pytest.fixture(scope="module")
def one_far_side() -> Iterator["BloomreachInThread"]:
    from tests.simulated_bloomreach import simulated_bloomreach

    with simulated_bloomreach() as far:
        yield far


@pytest.fixture
def far(one_far_side: "BloomreachInThread") -> "BloomreachInThread":
    """A Bloomreach that remembers nothing of other tests."""
    one_far_side.reset()
    return one_far_side


@pytest.fixture
def at(database_url: str, far: "BloomreachInThread") -> Iterator["Station"]:
    """A station that relays to it."""
    from tests.relaying import station

    with station(database_url, far) as at:
        yield at
