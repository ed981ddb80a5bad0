"""The simulated Tracking API on a port of its own, for the time of a test: in a thread, or as a process."""

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import uvicorn

from receiver.simulator.bloomreach import KEY_ID, PROJECT_TOKEN, SECRET, Bloomreach, Options


class SimulatedBloomreach:
    """What a test asks it; *url* is what RECEIVER_BLOOMREACH_BASE_URL takes."""

    project_token = PROJECT_TOKEN
    key_id = KEY_ID
    secret = SECRET

    def __init__(self, url: str) -> None:
        self.url = url
        # One for all questions: each new one reads the certificates of the whole world first.
        self._client = httpx2.Client(timeout=60, trust_env=False)

    @property
    def settings(self) -> dict[str, str]:
        """With which receiver relays to it, by the names of the fields of `Settings`."""
        return {
            "bloomreach_base_url": self.url,
            "bloomreach_project_token": self.project_token,
            "bloomreach_key_id": self.key_id,
            "bloomreach_secret": self.secret,
        }

    def post(self, route: str, body: object, **options: Any) -> httpx2.Response:
        """Ask the Tracking API itself, with the right key: *route* is ``batch``, ``customers/events`` ..."""
        url = f"{self.url}/track/v2/projects/{self.project_token}/{route}"
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        options = {"auth": (self.key_id, self.secret), **content, **options}
        return self._client.post(url, **options)

    def state(self) -> dict[str, Any]:
        """Everything it has seen; see ``GET /simulator/state``."""
        return self._asked("GET", "/simulator/state")

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """All that it kept, in order: ``number``, ``repeat_of``, ``customer_ids``, ``event_type``,
        ``timestamp``, ``properties``."""
        return self._records("events", after)

    def updates(self, after: int = 0) -> list[dict[str, Any]]:
        """All that it kept, in order: ``number``, ``customer_ids``, ``properties``, ``update_timestamp``."""
        return self._records("updates", after)

    def customer(self, name: str, value: str) -> dict[str, Any]:
        """The properties of the customer with this ID."""
        client = self._client.get(f"{self.url}/simulator/customer", params={name: value})
        properties: dict[str, Any] = client.raise_for_status().json()["properties"]
        return properties

    def fail(self, *faults: str) -> None:
        """What goes wrong with the next requests, one each."""
        self.trouble(faults=faults)

    def trouble(self, **what: object) -> None:
        """What goes wrong: the fields of `Troubles`, as ``chance=0.05, kinds=["cut"], seed=7``."""
        self._asked("POST", "/simulator/faults", what)

    def access(self, **what: object) -> None:
        """Who may do what: the fields of `Access`, as ``revoked=True``, ``denied_event_types=["x"]``."""
        self._asked("POST", "/simulator/access", what)

    def reset(self) -> None:
        """Forget everything."""
        self._asked("POST", "/simulator/reset")

    def close(self) -> None:
        self._client.close()

    def _records(self, what: str, after: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while page := self._asked("GET", f"/simulator/{what}?after={after}&limit=10000")["records"]:
            found += page
            after = page[-1]["number"]
        return found

    def _asked(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._client.request(method, self.url + path, json=body)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document


class BloomreachInThread(SimulatedBloomreach):
    """Can be stopped and started again on its port: what it kept stays, and connections are refused."""

    def __init__(self, options: Options) -> None:
        self._bloomreach = Bloomreach(options)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._port = self._socket.getsockname()[1]
        super().__init__(f"http://127.0.0.1:{self._port}")
        self.start()

    def start(self) -> None:
        """Listen again."""
        self._socket.listen(100)
        self._running: uvicorn.Server = self._bloomreach.server(host="127.0.0.1", port=self._port)
        self._thread = threading.Thread(
            target=self._running.run, kwargs={"sockets": [self._socket]}, name="simulated-bloomreach"
        )
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections; hanging requests are given up within a second."""
        self._running.should_exit = True
        self._thread.join()
        # The server has closed its socket; the port stays ours, and nobody listens on it.
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self._port))

    def close(self) -> None:
        if self._thread.is_alive():
            self.stop()
        self._socket.close()
        self._bloomreach.close()
        super().close()


@contextmanager
def simulated_bloomreach(**options: Any) -> Iterator[BloomreachInThread]:
    """Listens from the first moment on; the options are those of `Options`."""
    bloomreach = BloomreachInThread(Options(**options))
    try:
        yield bloomreach
    finally:
        bloomreach.close()


COMMAND = (
    "import typer; from receiver.cli import simulating; app = typer.Typer(); simulating.register(app); app()"
)


@contextmanager
def bloomreach_process(*options: str) -> Iterator[SimulatedBloomreach]:
    """``receiver simulate bloomreach`` as a process, which does not take turns with the test's threads."""
    command = [sys.executable, "-c", COMMAND, "simulate", "bloomreach", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline() + process.stdout.readline())
        assert found
        bloomreach = SimulatedBloomreach(found[0])
        try:
            yield bloomreach
        finally:
            bloomreach.close()
            process.send_signal(signal.SIGTERM)
            process.communicate()
