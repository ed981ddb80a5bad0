"""The simulated Optilyz on a port of its own, for the time of a test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from receiver.simulator.callbacks import TEMPLATE, Target
from receiver.simulator.service import AUTOMATION, Options, server


class SimulatedOptilyz:
    """What a test asks it; *url* is what RECEIVER_OPTILYZ_BASE_URL takes."""

    automation = AUTOMATION

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/api"
        # One for all questions: each new one reads the certificates of the whole world first.
        self._client = httpx2.Client(timeout=60, trust_env=False)

    def state(self) -> dict[str, Any]:
        """Everything it has seen; see ``GET /simulator/state``."""
        return self._asked("GET", "/simulator/state")

    def recipients(self) -> list[dict[str, Any]]:
        """What is queued, in order: ``id``, ``automation``, ``address``, ``variation``."""
        recipients: list[dict[str, Any]] = self._asked("GET", "/simulator/state?recipients=1")["recipients"]
        return recipients

    def fail(self, *faults: str) -> None:
        """What goes wrong with the next enqueue requests, one each."""
        self._asked("POST", "/simulator/faults", {"faults": faults})

    def call_back(self, **what: object) -> dict[str, int]:
        """Post callbacks for all that is queued; returns when they are answered."""
        return self._asked("POST", "/simulator/callbacks", what)

    def reset(self) -> None:
        """Forget everything."""
        self._asked("POST", "/simulator/reset")

    def close(self) -> None:
        self._client.close()

    def _asked(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer = self._client.request(method, self.root + path, json=body)
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document


@contextmanager
def simulated_optilyz(
    *,
    key: str | None = None,
    latency: float = 0.0,
    max_concurrency: int = 2,
    retry_after: int = 0,
    callbacks_url: str | None = None,
    callbacks_user: str = ":",
    template: str = TEMPLATE,
    batch: int = 50,
    auto: float | None = None,
) -> Iterator[SimulatedOptilyz]:
    """Listens from the first moment on; the options are those of the command and of `Options`."""
    target = Target(callbacks_url, callbacks_user, template, batch)
    options = Options(key, latency, max_concurrency, retry_after, target, auto)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        running = server(options, host="127.0.0.1", port=port)
        thread = threading.Thread(
            target=running.run, kwargs={"sockets": [listener]}, name="simulated-optilyz"
        )
        thread.start()
        optilyz = SimulatedOptilyz(port)
        try:
            yield optilyz
        finally:
            optilyz.close()
            running.should_exit = True
            thread.join()
