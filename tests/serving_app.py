"""The whole service within a test, and a sender with the keys of its one project."""

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2
from sqlalchemy import Engine
from starlette.testclient import TestClient
from starlette.types import Message, Receive

from receiver.app import create_app
from receiver.settings import Settings
from receiver.store.engine import connect
from receiver.store.keys import NewProject
from tests.rows import Rows

TRACK = "/track/v2/projects/{token}/"
FLAT = "/optilyz/v1/projects/{token}/callbacks"


class Answer(NamedTuple):
    """What left the service, without an HTTP client in between."""

    status: int
    headers: Mapping[bytes, bytes]
    document: Any


class Sender:
    """One who may send to the project; *engine* looks into the same database past the service."""

    def __init__(self, client: TestClient, engine: Engine, project: NewProject) -> None:
        self.client = client
        self.engine = engine
        self.project = project
        self._basic = {
            key.role: "Basic " + b64encode(f"{key.key_id}:{key.secret}".encode()).decode()
            for key in project.keys
        }

    def authorization(self, role: str = "tracking") -> str:
        return self._basic[role]

    def path(self, route: str) -> str:
        """*route* is ``FLAT`` or what follows the project token in the Tracking API."""
        return (route if route.startswith("/") else TRACK + route).format(token=self.project.token)

    def send(
        self, route: str, body: object, *, method: str = "POST", role: str = "tracking"
    ) -> httpx2.Response:
        """*body* is sent as it is where it is bytes, otherwise as JSON."""
        headers = {"authorization": self.authorization(role)}
        return self.client.request(method, self.path(route), content=encoded(body), headers=headers)

    def raw(
        self, route: str, receive: Receive, *headers: tuple[bytes, bytes], role: str = "tracking"
    ) -> Answer | None:
        """Call the service as a server would; None where it had nothing to say."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": self.path(route),
            "query_string": b"",
            "headers": [(b"authorization", self.authorization(role).encode()), *headers],
            "state": self.client.app_state.copy(),
        }
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def call() -> None:
            await self.client.app(scope, receive, send)

        self.within(call)
        if not sent:
            return None
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"]))

    def within(self, call: Callable[[], Awaitable[None]]) -> None:
        """Run *call* in the event loop of the service."""
        assert self.client.portal is not None
        self.client.portal.call(call)


def encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@contextmanager
def serving(database_url: str, **settings: Any) -> Iterator[Sender]:
    """A service on a migrated database; *settings* differ from the defaults."""
    engine = connect(database_url)
    project = Rows(engine).project
    try:
        with TestClient(create_app(Settings(database_url=database_url, **settings))) as client:
            yield Sender(client, engine, project)
    finally:
        engine.dispose()


def in_parts(parts: Sequence[bytes], then: Message | None = None) -> Receive:
    """What a server hands over of a body in *parts*; *then* comes where the body does not end."""
    messages: list[Message] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append(then or {"type": "http.request"})
    remaining = iter(messages)

    async def receive() -> Message:
        return next(remaining)

    return receive


HANGS_UP: Message = {"type": "http.disconnect"}
