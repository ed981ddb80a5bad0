"""The server of the simulated vendors, and what goes wrong with its connections."""

import socket
import struct

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class CutOff(Response):
    """Ends in the middle of its body, of which only *start* is sent."""

    def __init__(self, start: bytes) -> None:
        super().__init__()
        self._start = start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        promised = b"%d" % (len(self._start) + 1000)
        head = [(b"content-type", b"application/json"), (b"content-length", promised)]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": self._start, "more_body": True})


class Reset(Response):
    """Resets the connection instead of answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["state"]["transport"]
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()


async def hang(request: Request) -> None:
    """Return when the other side has given up; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Severable(HttpToolsProtocol):
    """Lets an answer reach its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


def server_of(app: ASGIApp, *, host: str, port: int) -> uvicorn.Server:
    """Ready to run, and its connections can be reset; says nothing by itself."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=_Severable,
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
