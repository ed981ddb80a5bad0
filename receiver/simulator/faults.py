"""What goes wrong at the simulated Optilyz, down to its connections."""

import socket
import struct
from collections.abc import Callable

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message}}, status, headers)


class _CutOff(Response):
    """Ends in the middle of its body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b'{"results": [', "more_body": True})


class _Reset(Response):
    """Resets the connection instead of answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["state"]["transport"]
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()


class Severable(HttpToolsProtocol):
    """Lets an answer reach its connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


FAILURES: dict[str, Callable[[], Response]] = {
    "500": lambda: error(500, "Internal error"),
    "503": lambda: error(503, "Unavailable"),
    "refuse-whole": lambda: error(400, "The request is invalid"),
    "garbage": lambda: HTMLResponse("<html>Not what you expect"),
    "hang": lambda: Response(),
    "cut": _CutOff,
    "reset": _Reset,
}
FAULTS = {*FAILURES, "429", "503-retry", "short", "queue-then-hang", "queue-then-cut"}
