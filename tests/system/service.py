"""The service as its users run it: a process, settings in its environment, its command line, its log.

Everything that these tests send about people contains PRIVATE, so that a log line which repeats any of it
is noticed: a service that ends is only then all right when neither that nor a secret stands in its log.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import wait_until

RECEIVER = str(Path(sys.executable).with_name("receiver"))

PRIVATE = "q7zv"
"""In every ID, name and property value that the tests send, and in the password of the database."""

# Log events that are faults of ours, whatever the world did; the last one is the server's own.
_OUR_FAULTS = {"group_failed", "request_failed", "Exception in ASGI application\n"}


PATIENCE_SECONDS = 20
"""Longer than any answer may take, whatever is broken."""


class Key(NamedTuple):
    key_id: str
    secret: str


class Project(NamedTuple):
    """What ``receiver project create --public --json`` said; *keys* by role."""

    token: str
    public_token: str
    keys: Mapping[str, Key]


Settings = Mapping[str, object]
"""Of the service, without the prefix and in lower case."""

_NONE: Settings = {}


def run(*arguments: str, database_url: str, settings: Settings = _NONE) -> subprocess.CompletedProcess[str]:
    """``receiver ...``, whatever comes of it."""
    return subprocess.run(
        [RECEIVER, *arguments],
        env=environment({"database_url": database_url, **settings}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def succeed(*arguments: str, database_url: str) -> str:
    """What ``receiver ...`` wrote to standard output; its exit code must be 0."""
    done = run(*arguments, database_url=database_url)
    assert done.returncode == 0, done.stderr
    return done.stdout


def create_project(database_url: str, name: str = "letters") -> Project:
    document = json.loads(succeed("project", "create", name, "--public", "--json", database_url=database_url))
    keys = {role: Key(**key) for role, key in document["keys"].items()}
    return Project(document["project_token"], document["public_token"], keys)


def environment(settings: Settings) -> dict[str, str]:
    """That of a process of ours: of the settings only *settings*."""
    # Compiled files must be kept: the service is started so often that it would otherwise cost minutes.
    dropped = ("RECEIVER_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {f"RECEIVER_{name.upper()}": str(value) for name, value in settings.items()}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Service:
    """``receiver serve`` on a port of its own; as a context it is started, and at the end stopped and its
    log looked through.

    Args:
        directory: where the log and the standard output go.
        project: its token and secrets must not appear in the log.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        project: Project | None = None,
        *,
        settings: Settings = _NONE,
    ) -> None:
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self._secrets = {PRIVATE}
        if project is not None:
            self.must_not_log(project)
        self._output = directory / f"out-{self.port}.txt"
        self._log = directory / f"log-{self.port}.jsonl"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None and kind is None:
                self.stop()
        finally:
            if self._process is not None:
                self.kill()
        if kind is None:
            self.check_log()

    def must_not_log(self, project: Project) -> None:
        secrets = (key.secret for key in project.keys.values())
        self._secrets.update((project.token, project.public_token, *secrets))

    def start(self, *arguments: str) -> None:
        """Start it and wait until it can store."""
        assert self._process is None
        with self._output.open("ab") as output, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [RECEIVER, "serve", "--port", str(self.port), *arguments],
                env=environment({"database_url": self.database_url, **self._settings}),
                stdout=output,
                stderr=log,
            )
        wait_until(self._ready_or_ended, "the service is ready")
        assert self.running, f"it did not start:\n{self.log}"

    def _ready_or_ended(self) -> bool:
        return self.ready or not self.running

    @property
    def ready(self) -> bool:
        """What /readyz says; False also where nobody answers."""
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=10).status_code == 200
        except httpx2.TransportError:
            return False

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, *, seconds: float = 15) -> None:
        """Ask it to end, as a process supervisor does; it must do so in time and with exit code 0."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {seconds} s after SIGTERM\n{self.log}") from None
        self._process = None
        assert code == 0, f"exit code {code}\n{self.log}"

    def kill(self) -> None:
        """End it as a power cut would, from its point of view."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def memory_bytes(self) -> int:
        """What the process itself holds in memory now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def check_log(self) -> None:
        """It is JSON, line by line, says nothing of people and secrets, and admits no fault of ours."""
        for line in self.log.splitlines():
            document = json.loads(line)
            assert document["event"] not in _OUR_FAULTS, line
            assert "Traceback" not in line, line
            assert not any(secret in line for secret in self._secrets), line

    def metrics(self) -> Mapping[tuple[str, ...], float]:
        """All samples of /metrics: name and label values, in the order of the labels' names."""
        answer = httpx2.get(f"{self.url}/metrics")
        assert answer.status_code == 200
        families = text_string_to_metric_families(answer.text)
        return {_name(sample): sample.value for family in families for sample in family.samples}


def _name(sample: Any) -> tuple[str, ...]:
    return (sample.name, *(value for _, value in sorted(sample.labels.items())))


class Client:
    """Talks to a service as one who holds the project's keys.

    The methods that send return the answer as it came; those that read return what was asked for.
    """

    def __init__(self, service: Service, project: Project) -> None:
        self._project = project
        self._http = httpx2.Client(base_url=service.url, timeout=PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def track(
        self, route: str, body: object, *, method: str = "POST", key: Key | None = None
    ) -> httpx2.Response:
        """Call a route of the Tracking API; *body* is sent as it is where it is bytes, otherwise as JSON."""
        path = f"/track/v2/projects/{self._project.token}/{route}"
        return self._send(method, path, body, key or self._project.keys["tracking"])

    def flat(self, body: object) -> httpx2.Response:
        path = f"/optilyz/v1/projects/{self._project.token}/callbacks"
        return self._send("POST", path, body, self._project.keys["tracking"])

    def customer_events(self, customer_ids: Mapping[str, str], *event_types: str) -> httpx2.Response:
        """What the Data API says."""
        path = f"/data/v2/projects/{self._project.token}/customers/events"
        body = {"customer_ids": customer_ids, "event_types": event_types}
        return self._send("POST", path, body, self._project.keys["data"])

    def our_own(self, route: str, **parameters: str | int) -> Any:
        """What a GET of our own API answers, which must be a 200."""
        path = f"/v1/projects/{self._project.token}/{route}"
        answer = self._http.get(path, params=parameters, auth=self._project.keys["ops"])
        assert answer.status_code == 200, answer.text
        return answer.json()

    def events(self, **filters: str) -> list[dict[str, Any]]:
        """All events that match, page by page."""
        found: list[dict[str, Any]] = []
        page = self.our_own("events", limit=1000, **filters)
        found += page["data"]
        while page["next"]:
            page = self.our_own("events", limit=1000, cursor=page["next"], **filters)
            found += page["data"]
        return found

    def _send(self, method: str, path: str, body: object, key: Key) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        return self._http.request(method, path, content=content, headers=headers, auth=key)


def event(number: int, /, **customer_ids: str) -> dict[str, Any]:
    """A campaign event like no other: *number* is told apart by, and its time."""
    return {
        "customer_ids": {kind: f"{PRIVATE}-{value}" for kind, value in customer_ids.items()},
        "event_type": "campaign",
        "timestamp": 1_760_000_000 + number,
        "properties": {"status": "delivered", "number": number, "note": f"{PRIVATE} Straße 5"},
    }


def commands(events: Iterable[object]) -> dict[str, list[dict[str, object]]]:
    """The body of a batch."""
    return {"commands": [{"name": "customers/events", "data": each} for each in events]}
