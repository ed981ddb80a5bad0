"""Databases with a project in them, and services on them, on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import DIALECTS
from tests.databases import PostgresqlServer
from tests.system.service import PRIVATE, Client, Project, Service, create_project, succeed

MEBIBYTE = 1024 * 1024

IMPATIENT = {"database_seconds": 1, "body_seconds": 2, "held_bytes": 8 * MEBIBYTE}
"""Settings with which limits are reached soon."""

WITHOUT_OPTILYZ = {"optilyz_api_key": f"{PRIVATE}-key", "optilyz_base_url": "http://127.0.0.1:9/api"}
"""Settings of an account at an Optilyz that nobody reaches: letters are taken and wait."""


LONGEST = (
    "test_relaying",
    "test_the_repair_job",
    "test_sending",
    "test_outages",
    "test_openapi",
    "test_the_console",
)
"""Modules in which tests take up to a minute each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that at the end no worker is alone with one of them."""
    order = {f"{__package__}.{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(_module(item), len(order)))


def _module(item: pytest.Item) -> str:
    module = item.getparent(pytest.Module)
    return module.obj.__name__ if module else ""


class Installation(NamedTuple):
    """A migrated database, as RECEIVER_DATABASE_URL takes it, and the one project in it."""

    database_url: str
    project: Project


class Original(NamedTuple):
    """What installations are copied from: *place* is a file of SQLite or the name of a database."""

    place: str
    project: Project


@pytest.fixture(scope="session")
def sqlite_original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    path = str(tmp_path_factory.mktemp("original") / "receiver.db")
    return Original(path, install(f"sqlite:///{path}"))


@pytest.fixture(scope="session")
def postgresql_original(postgresql_server: PostgresqlServer) -> Original:
    name = postgresql_server.create_database()
    return Original(name, install(with_password(postgresql_server.url(name))))


def install(database_url: str) -> Project:
    """Migrate the database and make its project."""
    succeed("migrate", database_url=database_url)
    return create_project(database_url)


def with_password(url: str) -> str:
    """The server takes everybody who comes by its socket; a password that nobody asks for must still not
    appear in a log."""
    return url.replace("postgres@", f"postgres:{PRIVATE}-password@")


@contextmanager
def sqlite_copy(original: Original, folder: Path) -> Iterator[Installation]:
    shutil.copyfile(original.place, folder / "receiver.db")
    yield Installation(f"sqlite:///{folder}/receiver.db", original.project)


@contextmanager
def postgresql_copy(original: Original, server: PostgresqlServer) -> Iterator[Installation]:
    name = server.create_database(original.place)
    yield Installation(with_password(server.url(name)), original.project)
    server.drop_database(name)


@pytest.fixture
def sqlite(sqlite_original: Original, tmp_path: Path) -> Iterator[Installation]:
    """A database of the test's own."""
    with sqlite_copy(sqlite_original, tmp_path) as installation:
        yield installation


@pytest.fixture
def postgresql(postgresql_original: Original, postgresql_server: PostgresqlServer) -> Iterator[Installation]:
    """A database of the test's own."""
    with postgresql_copy(postgresql_original, postgresql_server) as installation:
        yield installation


@pytest.fixture(scope="module", params=DIALECTS)
def installation(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A database that the tests of a module share, of each kind."""
    original: Original = request.getfixturevalue(f"{request.param}_original")
    if request.param == "sqlite":
        copy = sqlite_copy(original, tmp_path_factory.mktemp("shared"))
    else:
        copy = postgresql_copy(original, request.getfixturevalue("postgresql_server"))
    with copy as installation:
        yield installation


@pytest.fixture(scope="module")
def _shared_service(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    settings = {**IMPATIENT, **WITHOUT_OPTILYZ}
    with Service(tmp_path_factory.mktemp("service"), *installation, settings=settings) as service:
        yield service


@pytest.fixture
def service(_shared_service: Service) -> Service:
    """Runs, on the shared database, with little patience; a test may stop it."""
    if not _shared_service.running:
        _shared_service.start()
    return _shared_service


@pytest.fixture
def project(installation: Installation) -> Project:
    return installation.project


@pytest.fixture
def client(service: Service, project: Project) -> Iterator[Client]:
    with Client(service, project) as client:
        yield client
