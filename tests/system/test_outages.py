"""Something breaks while senders are at work: nothing acknowledged is lost, nothing is stored twice, and
what was broken being mended, the service goes on by itself."""

import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.databases import PostgresqlServer, running_postgresql
from tests.system import outages
from tests.system.conftest import IMPATIENT, Installation, Original, install, with_password
from tests.system.load import NO_ANSWER, Load, assert_kept
from tests.system.outages import full, small_disk, sqlite_path
from tests.system.raw import connected, head, status_of
from tests.system.service import Client, Project, Service, commands, event
from tests.waiting import wait_until

Outage = Callable[[Service], AbstractContextManager[None]]


@pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("outage", "seconds"),
    [(outages.sqlite_locked, 10), (outages.sqlite_read_only, 0)],
)
def test_sqlite_may_be_away_for_a_while(
    service: Service, client: Client, project: Project, outage: Outage, seconds: float
) -> None:
    assert_survives(service, client, project, outage, seconds)


@pytest.mark.parametrize("installation", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "outage", [outages.postgresql_locked, outages.postgresql_read_only, outages.postgresql_hanging]
)
def test_postgresql_may_be_away_for_a_while(
    service: Service, client: Client, project: Project, outage: Outage
) -> None:
    assert_survives(service, client, project, outage)


def assert_survives(
    service: Service, client: Client, project: Project, outage: Outage, seconds: float = 0
) -> None:
    """Senders are told to come again as long as it lasts, and then all goes on."""
    with Load(project, service) as load:
        load.go_on()
        with outage(service):
            until = time.monotonic() + seconds
            load.meet(503, 30)
            assert_alive_but_not_ready(service)
            wait_until(lambda: time.monotonic() >= until, "it lasted as long as it should")
        load.go_on()

    assert_went_on(load, service, client)


def assert_alive_but_not_ready(service: Service) -> None:
    assert httpx2.get(f"{service.url}/healthz", timeout=10).status_code == 200
    not_ready = httpx2.get(f"{service.url}/readyz", timeout=20)
    assert (not_ready.status_code, not_ready.headers["retry-after"].isdigit()) == (503, True)


def assert_went_on(load: Load, service: Service, client: Client) -> None:
    """Nobody met anything but a success or a 503, and all that was sent is stored."""
    assert load.statuses[NO_ANSWER] == 0
    assert load.acknowledged == load.sent
    assert_kept(load, client)
    wait_until(lambda: service.ready, "ready again", seconds=10)


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(
    service: Service, client: Client, project: Project
) -> None:
    with Load(project, service) as load:
        load.go_on()
        service.kill()
        service.start()
        load.go_on()

    assert load.acknowledged == load.sent
    assert_kept(load, client)


def test_nothing_acknowledged_is_lost_when_the_service_is_told_to_end(
    service: Service, client: Client, project: Project
) -> None:
    with Load(project, service) as load:
        load.go_on()
        service.stop()
        load.give_up()
    assert set(load.statuses) <= {200, 503, NO_ANSWER}

    service.start()
    assert_kept(load, client)


def test_the_service_ends_also_while_the_database_is_away(
    service: Service, client: Client, project: Project
) -> None:
    sqlite = service.database_url.startswith("sqlite")
    outage = outages.sqlite_locked if sqlite else outages.postgresql_hanging

    with Load(project, service) as load:
        load.go_on()
        with outage(service):
            load.meet(503, 1)
            service.stop()
        load.give_up()
    assert set(load.statuses) <= {200, 503, NO_ANSWER}

    service.start()
    assert_kept(load, client)


def test_a_sender_in_the_middle_of_a_body_is_told_to_come_again_when_the_service_ends(
    sqlite: Installation, tmp_path: Path
) -> None:
    with (
        # More patience than a supervisor has.
        Service(tmp_path, *sqlite, settings={"body_seconds": 60}) as service,
        connected(service) as slow,
    ):
        slow.sendall(head(sqlite.project, "Content-Length: 500", "Expect: 100-continue"))
        assert slow.recv(1000).startswith(b"HTTP/1.1 100")
        slow.sendall(b"{")

        service.stop()

        assert status_of(slow) == 503


def test_postgresql_may_be_stopped_in_either_way_and_started(tmp_path: Path) -> None:
    with running_postgresql() as server:
        url = with_password(server.url(server.create_database()))
        project = install(url)
        with (
            Service(tmp_path, url, project, settings=IMPATIENT) as service,
            Client(service, project) as client,
        ):
            with Load(project, service) as load:
                for how in (signal.SIGQUIT, signal.SIGINT):
                    load.go_on()
                    server.stop(how)
                    load.meet(503, 30)
                    assert_alive_but_not_ready(service)
                    server.start()
                load.go_on()
            assert_went_on(load, service, client)


def test_the_disk_of_sqlite_may_run_full(sqlite_original: Original, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", mebibytes=48) as disk:
        shutil.copyfile(sqlite_original.place, disk / "receiver.db")
        _assert_survives_a_full_disk(f"sqlite:///{disk}/receiver.db", sqlite_original, disk, tmp_path)


def test_the_disk_of_postgresql_may_run_full(
    postgresql_original: Original, postgresql_server: PostgresqlServer, tmp_path: Path
) -> None:
    with ExitStack() as undo:
        # Not under pytest's own folder, which is closed to the user that PostgreSQL runs as.
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="receiver-disk-")))
        folder.chmod(0o755)
        disk = undo.enter_context(small_disk(folder / "disk", mebibytes=32))
        url = undo.enter_context(_in_a_tablespace(disk, postgresql_original, postgresql_server))
        _assert_survives_a_full_disk(url, postgresql_original, disk, tmp_path)


def _assert_survives_a_full_disk(database_url: str, original: Original, disk: Path, folder: Path) -> None:
    project = original.project
    with Service(folder, database_url, project) as service, Client(service, project) as client:
        with Load(project, service) as load:
            load.go_on()
            with full(disk):
                load.meet(503, 30)
            load.go_on()
        assert_went_on(load, service, client)


@contextmanager
def _in_a_tablespace(disk: Path, original: Original, server: PostgresqlServer) -> Iterator[str]:
    """The URL of a copy of *original* whose tables lie on *disk*; the server's own log does not."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        [(data,)] = connection.execute("SHOW data_directory").fetchall()
        owner = Path(data).stat()
        os.chown(disk, owner.st_uid, owner.st_gid)
        connection.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
        template = f"TEMPLATE {original.place} TABLESPACE small"
        connection.execute(f"CREATE DATABASE on_small_disk {template}".encode())
        yield with_password(server.url("on_small_disk"))
        connection.execute("DROP DATABASE on_small_disk WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")


def test_a_row_that_the_database_refuses_takes_no_other_one_with_it(
    service: Service, client: Client, installation: Installation
) -> None:
    poison = event(10**6, registered="poison") | {"event_type": "poison"}
    beside = event(10**6 + 1, registered="beside")

    with _poison_refused(installation.database_url), Load(installation.project, service) as load:
        load.go_on()
        single = client.track("customers/events", poison)
        batch = client.track("batch", commands([beside, poison]))
        load.go_on()

    assert (single.status_code, single.json()["success"]) == (400, False)
    assert [each["success"] for each in batch.json()["results"]] == [True, False]
    assert load.statuses[503] == 0
    assert_went_on(load, service, client)
    found = client.customer_events(beside["customer_ids"], "campaign").json()["data"]
    assert [each["properties"]["number"] for each in found] == [10**6 + 1]
    summary = client.our_own("rejections/summary")["data"]
    assert [(each["reason"], each["count"]) for each in summary] == [("refused_by_database", 2)]


@contextmanager
def _poison_refused(database_url: str) -> Iterator[None]:
    """Stands for what no reader of callbacks can foresee, such as a constraint of a zealous operator."""
    if database_url.startswith("sqlite"):
        connection = sqlite3.connect(sqlite_path(database_url))
        connection.execute(
            "CREATE TRIGGER no_poison BEFORE INSERT ON events WHEN NEW.type = 'poison'"
            " BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        yield
        connection.execute("DROP TRIGGER no_poison")
        connection.close()
    else:
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("ALTER TABLE events ADD CONSTRAINT no_poison CHECK (type <> 'poison')")
            yield
            other.execute("ALTER TABLE events DROP CONSTRAINT no_poison")
