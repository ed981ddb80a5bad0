"""Bodies come in: no larger, no slower and no more at once than the settings allow."""

import asyncio
from typing import NamedTuple

from starlette.types import Receive

from receiver.inbound.deadlines import Deadlines
from receiver.settings import Settings


class TurnedAway(NamedTuple):
    """A request that is answered without being kept.

    Attributes:
        cause: the label of the metric.
        status: of the answer; 0 where the sender has hung up and nobody is left to answer.
    """

    cause: str
    status: int
    message: str


TOO_LARGE = TurnedAway("too_large", 413, "The body is too large; send fewer commands at a time.")
TOO_SLOW = TurnedAway("too_slow", 408, "The body did not arrive in time; send it again.")
BUSY = TurnedAway("busy", 503, "Too much is coming in at once; send it again later.")
STOPPING = TurnedAway("stopping", 503, "The service is being restarted; send it again in a moment.")
HUNG_UP = TurnedAway("hung_up", 0, "")


class Intake:
    """Reads bodies; all half-read ones of the process together stay within ``HELD_BYTES``."""

    def __init__(self, settings: Settings) -> None:
        self._most_bytes = settings.max_body_bytes
        self._free_bytes = settings.held_bytes
        self._deadlines: Deadlines[asyncio.Task[object]] = Deadlines(settings.body_seconds, self._cut_off)
        self._late: set[asyncio.Task[object]] = set()

    def _cut_off(self, request: asyncio.Task[object]) -> None:
        self._late.add(request)
        request.cancel()

    async def body(self, receive: Receive, announced_bytes: int) -> bytes | TurnedAway:
        """The whole body.  *announced_bytes* is the Content-Length, 0 where there is none."""
        if announced_bytes > self._most_bytes:
            return TOO_LARGE
        request = asyncio.current_task()
        assert request is not None, "a request is a task"
        self._deadlines.begin(request)
        try:
            message = await receive()
            if message["type"] != "http.request":
                return HUNG_UP
            body: bytes = message.get("body", b"")
            if message.get("more_body", False):
                return await self._rest(body, receive)
        except asyncio.CancelledError:
            if request in self._late:
                self._late.remove(request)
                request.uncancel()
                return TOO_SLOW
            # Only the end of the service cancels a request; the sender shall know that it may come again.
            return STOPPING
        finally:
            self._deadlines.end(request)
        return body if len(body) <= self._most_bytes else TOO_LARGE

    async def _rest(self, begun: bytes, receive: Receive) -> bytes | TurnedAway:
        parts = bytearray(begun)
        self._free_bytes -= len(begun)
        try:
            while True:
                if self._free_bytes < 0:
                    return BUSY
                if len(parts) > self._most_bytes:
                    return TOO_LARGE
                message = await receive()
                if message["type"] != "http.request":
                    return HUNG_UP
                part: bytes = message.get("body", b"")
                parts += part
                self._free_bytes -= len(part)
                if not message.get("more_body", False):
                    return bytes(parts) if len(parts) <= self._most_bytes else TOO_LARGE
        finally:
            self._free_bytes += len(parts)
