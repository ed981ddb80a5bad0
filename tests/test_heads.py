"""Heads without end take no memory: what hangs up, and what it leaves alone, over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import repeat
from typing import NamedTuple

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from receiver.web.heads import MOST_HEAD_BYTES, BoundedHeads

PATIENCE_SECONDS = 30

# What the machine's sockets and the server's last reading may swallow before a hang-up is felt.
MOST_SENT_BYTES = 24 * 1024 * 1024


async def length_of_body(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers how many bytes the body had; where the path is /unread, without having asked for it."""
    length, more = 0, scope["path"] != "/unread"
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    answer = str(length).encode()
    headers = [(b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> str:
        """The body of the next answer."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n") if b": " in line)
        return (await self.reader.readexactly(int(lines[b"content-length"]))).decode()

    async def is_hung_up_on(self, parts: Iterator[bytes]) -> bool:
        """Whether the server hangs up while *parts*, which have no end, are sent."""
        sent = 0
        with suppress(ConnectionError):
            while sent < MOST_SENT_BYTES:
                part = next(parts)
                await self.send(part)
                sent += len(part)
            return False
        return True


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    config = uvicorn.Config(length_of_body, http=BoundedHeads, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            server.should_exit = True
            await serving


def run(scenario: Callable[[Connection], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), connected() as connection:
            await scenario(connection)

    asyncio.run(bounded())


def head(*lines: bytes, path: bytes = b"/") -> bytes:
    return b"\r\n".join((b"POST %b HTTP/1.1" % path, b"Host: x", *lines, b"", b""))


def padding(length: int) -> list[bytes]:
    """Header lines of about *length* bytes together."""
    return [b"X-%d: %b" % (n, b"x" * 990) for n in range(length // 1000)]


def test_a_head_just_within_the_limit_is_answered_in_one_piece_and_in_many() -> None:
    whole = head(b"Content-Length: 0", *padding(MOST_HEAD_BYTES - 2000))
    assert MOST_HEAD_BYTES - 3000 < len(whole) <= MOST_HEAD_BYTES

    async def scenario(connection: Connection) -> None:
        await connection.send(whole)
        assert await connection.answer() == "0"
        await connection.send(*[whole[n : n + 1000] for n in range(0, len(whole), 1000)])
        assert await connection.answer() == "0"

    run(scenario)


ENDLESS = {
    "request line": (b"GET /", b"x" * 4096),
    "name of a header": (b"GET / HTTP/1.1\r\n", b"x" * 4096),
    "value of a header": (b"GET / HTTP/1.1\r\nX: ", b"x" * 4096),
    "headers": (b"GET / HTTP/1.1\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize(("begin", "more"), ENDLESS.values(), ids=ENDLESS.keys())
def test_a_head_without_end_is_hung_up_on(begin: bytes, more: bytes) -> None:
    async def scenario(connection: Connection) -> None:
        await connection.send(begin)
        assert await connection.is_hung_up_on(repeat(more))

    run(scenario)


def test_the_next_head_of_a_connection_is_bounded_too() -> None:
    async def scenario(connection: Connection) -> None:
        await connection.send(head(b"Content-Length: 5"), b"hello")
        assert await connection.answer() == "5"
        await connection.send(b"GET / HTTP/1.1\r\n")
        assert await connection.is_hung_up_on(repeat(b"X: " + b"x" * 1000 + b"\r\n"))

    run(scenario)


@pytest.mark.parametrize("path", [b"/", b"/unread"])
@pytest.mark.parametrize("more", [b"X: " + b"x" * 1000 + b"\r\n", b"x" * 4096], ids=["lines", "one line"])
def test_trailers_without_end_are_hung_up_on(path: bytes, more: bytes) -> None:
    async def scenario(connection: Connection) -> None:
        await connection.send(head(b"Transfer-Encoding: chunked", path=path), b"0\r\n")
        assert await connection.is_hung_up_on(repeat(more))

    run(scenario)


def test_a_long_body_is_no_long_head() -> None:
    length = 4 * MOST_HEAD_BYTES

    async def scenario(connection: Connection) -> None:
        # In one piece, so that most of what comes with the head is body.
        await connection.send(head(b"Content-Length: %d" % length) + b"x" * length)
        assert await connection.answer() == str(length)
        chunks = [b"3e8\r\n%b\r\n" % (b"x" * 1000)] * (length // 1000)
        await connection.send(head(b"Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n")
        assert await connection.answer() == str(length // 1000 * 1000)

    run(scenario)


def test_many_short_heads_on_one_connection_are_no_long_one() -> None:
    short = head(b"Content-Length: 0", *padding(MOST_HEAD_BYTES // 4))

    async def scenario(connection: Connection) -> None:
        for _ in range(2 * MOST_HEAD_BYTES // len(short)):
            await connection.send(short)
            assert await connection.answer() == "0"

    run(scenario)


def test_requests_that_come_in_one_piece_are_all_answered() -> None:
    async def scenario(connection: Connection) -> None:
        await connection.send((head(b"Content-Length: 2") + b"ab") * 50)
        assert [await connection.answer() for _ in range(50)] == ["2"] * 50

    run(scenario)
