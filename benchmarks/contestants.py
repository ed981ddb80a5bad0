"""The service and its peers, each started as its users would start it."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks.databases import Databases, analyze, count_rows
from benchmarks.load import Load, Measurement
from benchmarks.processes import ROOT, Command, LoadGenerator, Process, Unavailable, on_server_core
from benchmarks.stored import fill
from benchmarks.traffic import Kind, Traffic

PROGRAMS = Path(sys.executable).parent

_SINGLE = "/track/v2/projects/{}/customers/events"
_BATCH = "/track/v2/projects/{}/batch"


class Contestant(Protocol):
    """Who can be measured."""

    def measure(self, traffic: Traffic, *, seconds: float, base_s: int) -> Measurement: ...

    def warm_up(self, traffic: Traffic, *, seconds: float, base_s: int) -> None: ...

    def kept(self) -> tuple[int, int] | None:
        """How many new events it acknowledged and how many it has; None where it keeps none."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where contestants are measured.

    Attributes:
        database: the kind of it.
    """

    databases: Databases
    database: str
    generator: LoadGenerator

    def fresh(self, name: str) -> str:
        """URL of an empty database."""
        return self.databases.fresh(self.database, name)


class Server:
    """A contestant that answers HTTP.

    Attributes:
        next: index of the next new event, from *first* on.
    """

    def __init__(self, name: str, command: Command, place: Place, *, first: int = 0) -> None:
        self._command = command
        self._generator = place.generator
        self._log = place.databases.folder / f"{name}.log"
        self._process = Process(command, self._log)
        self.next = first
        self._last_new: tuple[int, int] | None = None
        self._kept = command.rows

    def measure(self, traffic: Traffic, *, seconds: float, base_s: int) -> Measurement:
        """Sends *traffic* for so long and tells how it went."""
        first, count = self._indices(traffic)
        load = Load(
            port=self._process.port,
            path=(_SINGLE if traffic.batch == 1 else _BATCH).format(self._command.project_token),
            authorization=self._command.authorization,
            status=traffic.status,
            kind=traffic.kind,
            batch=traffic.batch,
            connections=traffic.connections,
            seconds=seconds,
            warm_up_s=min(0.5, seconds / 4),
            first=first,
            count=count,
            base_s=base_s,
        )
        cpu_s = self._process.cpu_s()
        measurement = self._generator.measure(load)
        cpu_s = self._process.cpu_s() - cpu_s
        if traffic.kind is Kind.NEW:
            self._last_new = (first, measurement.sent)
            self._kept += measurement.sent
        if traffic.kind is not Kind.REPEATED:
            # A request more than was answered may have been made on each connection.
            self.next = first + measurement.sent + traffic.connections * traffic.batch
        now_mb, peak_mb = self._process.memory_mb()
        requests = measurement.sent / traffic.batch
        return replace(
            measurement,
            server_us=cpu_s * 1e6 / requests if requests else 0.0,
            rss_mb=now_mb,
            peak_rss_mb=peak_mb,
        )

    def _indices(self, traffic: Traffic) -> tuple[int, int | None]:
        if traffic.kind is not Kind.REPEATED:
            return self.next, None
        if self._last_new is None:
            raise ValueError("there is nothing yet to repeat")
        return self._last_new

    def warm_up(self, traffic: Traffic, *, seconds: float, base_s: int) -> None:
        """What comes before the first round: compiled code and planned statements, as after an hour."""
        self.measure(traffic, seconds=seconds, base_s=base_s)
        analyze(self._command.database)

    def start_again(self) -> Measurement:
        """Stops it and measures how long it takes from its start until it is ready."""
        self._process.close()
        self._process = Process(self._command, self._log)
        now_mb, peak_mb = self._process.memory_mb()
        return Measurement(
            rate=0.0, p50_ms=self._process.ready_after_s * 1000, rss_mb=now_mb, peak_rss_mb=peak_mb
        )

    def kept(self) -> tuple[int, int] | None:
        if not self._command.database:
            return None
        return self._kept, count_rows(self._command.database, "events")

    def close(self) -> None:
        self._process.close()


class Raw:
    """The database alone, driven from the server's core."""

    def __init__(self, place: Place) -> None:
        self._database = place.fresh("raw")

    def measure(self, traffic: Traffic, *, seconds: float, base_s: int) -> Measurement:
        """Inserts rows for so long: one at a time for single events, else as many as in a batch."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.peers.raw", "--database", self._database),
                *("--seconds", str(seconds), "--rows", str(traffic.batch)),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            preexec_fn=on_server_core,
        )
        if done.returncode:
            raise Unavailable(f"the bare database failed: {done.stderr[-300:].strip()}")
        return Measurement(rate=json.loads(done.stdout)["rate"])

    def warm_up(self, traffic: Traffic, *, seconds: float, base_s: int) -> None:
        """It has nothing to warm."""

    def kept(self) -> tuple[int, int] | None:
        return None

    def close(self) -> None:
        """Nothing is running between its turns."""


def noop(place: Place) -> Server:
    """A route that returns a constant."""
    module = (sys.executable, "-m", "benchmarks.peers.noop", "--port", "{port}")
    return Server("noop", Command(module), place)


def naive(place: Place) -> Server:
    """FastAPI with the ORM, one transaction for each request."""
    url = place.fresh("naive")
    module = (sys.executable, "-m", "benchmarks.peers.naive", "--port", "{port}", "--database", url)
    return Server("naive", Command(module, database=url), place)


def node(place: Place) -> Server:
    """fastify, one transaction for each request."""
    folder = _installed_node_peer()
    url = place.fresh("node")
    if place.database == "sqlite":
        where: tuple[str, ...] = ("sqlite", url.removeprefix("sqlite:///"))
        environment = {}
    else:
        where = ("postgresql",)
        environment = {
            "PGHOST": str(place.databases.socket_folder),
            "PGUSER": "postgres",
            "PGDATABASE": url.partition("?")[0].rpartition("/")[2],
        }
    arguments = ("node", "server.js", "{port}", *where)
    return Server("node", Command(arguments, folder=folder, environment=environment, database=url), place)


def _installed_node_peer() -> Path:
    """A copy of the Node.js peer with its packages; kept, since better-sqlite3 may have to be compiled."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Unavailable("node and npm are not installed")
    source = ROOT / "benchmarks" / "peers" / "node"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    packages = hashlib.sha256((source / "package.json").read_bytes() + version.encode()).hexdigest()[:12]
    folder = ROOT / ".cache" / "bench-node" / packages
    shutil.copytree(source, folder, dirs_exist_ok=True)
    if not (folder / "installed").exists():
        print("installing the node peer (once; it may have to be compiled) ...", flush=True)
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if done.returncode:
            raise Unavailable(f"npm install failed: {done.stderr.strip()[-300:]}")
        (folder / "installed").touch()
    return folder


def receiver(place: Place) -> Server:
    """The service: migrated, with one project, and started by its own command."""
    return Server("receiver", prepared(place), place)


def full_receiver(place: Place, events: int, until_s: int) -> Server:
    """The service with so many events in its database from the start, all before *until_s*."""
    command = replace(prepared(place), rows=events)
    fill(command.database, events, until_s)
    return Server("full-receiver", command, place)


def prepared(place: Place, settings: Mapping[str, str] | None = None) -> Command:
    """Migrates a fresh database and creates a project in it; *settings* are those of the service besides."""
    url = place.fresh("receiver")
    environment = {**(settings or {}), "RECEIVER_DATABASE_URL": url}
    _receiver(environment, "migrate")
    project = json.loads(_receiver(environment, "project", "create", "bench", "--json"))
    key = project["keys"]["tracking"]
    return Command(
        (str(PROGRAMS / "receiver"), "serve", "--port", "{port}"),
        environment=environment,
        project_token=project["project_token"],
        authorization=_basic(key["key_id"], key["secret"]),
        database=url,
    )


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _receiver(environment: Mapping[str, str], *arguments: str) -> str:
    """Runs ``receiver`` and returns what it printed."""
    try:
        done = subprocess.run(
            [str(PROGRAMS / "receiver"), *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
    except FileNotFoundError:
        raise Unavailable("the command `receiver` is not installed; run `make setup`") from None
    if done.returncode:
        raise Unavailable(f"`receiver {arguments[0]}` failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout
