"""The HTTP application of the service within this process, asked as a client would."""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Self
from urllib.parse import urlencode

import anyio
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from receiver.app import create_app
from receiver.settings import read_settings
from receiver.store import keys
from receiver.store.engine import connect


class Service:
    """Answers about the first project of the database at *url*, with a new key of *role*.

    Attributes:
        token: of the project.
        v1, data: where our own API and the Data API begin.
    """

    def __init__(self, url: str, role: keys.Role) -> None:
        engine = connect(url)
        with engine.execution_options(writes=True).begin() as connection:
            self.token = keys.projects(connection)[0].token
            key = keys.create_key(connection, self.token, role, now_us=0)
        engine.dispose()
        self._app = create_app(read_settings(database_url=url))
        self._headers = [
            (b"authorization", b"Basic " + b64encode(f"{key.key_id}:{key.secret}".encode())),
            (b"content-type", b"application/json"),
        ]
        self._client = TestClient(self._app)
        self.v1 = f"/v1/projects/{self.token}"
        self.data = f"/data/v2/projects/{self.token}/customers"

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.__exit__()

    def ask(self, path: str, body: object = None, **question: object) -> bytes:
        """The whole answer to a GET, or to a POST of *body*."""
        parts: list[bytes] = []

        def take(part: bytes) -> bool:
            parts.append(part)
            return True

        self.stream(path, take, body, **question)
        return b"".join(parts)

    def stream(
        self, path: str, take: Callable[[bytes], bool], body: object = None, **question: object
    ) -> None:
        """Give *take* each part of the answer as it leaves; the client goes away when it says no."""
        # Not by the client for tests: it takes longer than many answers, and holds all of them in memory.
        assert self._client.portal is not None
        sent = b"" if body is None else json.dumps(body).encode()
        self._client.portal.call(self._exchange, path, urlencode(question).encode(), sent, take)

    async def _exchange(self, path: str, question: bytes, body: bytes, take: Callable[[bytes], bool]) -> None:
        received, gone = False, anyio.Event()

        async def receive() -> Message:
            nonlocal received
            if received:
                await gone.wait()
                return {"type": "http.disconnect"}
            received = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message.get("status", 200) >= 300:
                raise AssertionError(f"{path}?{question.decode()} is answered {message['status']}")
            if (part := message.get("body")) and not take(part):
                gone.set()

        await self._app(self._scope(path, question, body), receive, send)

    def _scope(self, path: str, question: bytes, body: bytes) -> Scope:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST" if body else "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": question,
            "root_path": "",
            "headers": self._headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": dict(self._client.app_state),
        }
