"""The load generator: one process, N connections, one request in flight on each.

Reads a ``Load`` as JSON from each line of standard input and answers with a ``Measurement`` on
standard output.
It speaks just enough HTTP/1.1 to be several times faster than what it measures; it tells how much
of its core it used, because a figure that it bounded itself would be worth nothing.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import cast

import uvloop

from benchmarks.traffic import Kind, bodies


@dataclass(frozen=True)
class Load:
    """What to send where.

    Attributes:
        authorization: value of the header, or empty.
        status: the HTTP status of every right answer.
        seconds: time that counts, after *warm_up_s*.
        first, count, base_s: which events; see ``traffic.bodies``.
    """

    port: int
    path: str
    authorization: str
    status: int
    kind: Kind
    batch: int
    connections: int
    seconds: float
    warm_up_s: float
    first: int
    count: int | None
    base_s: int


@dataclass(frozen=True)
class Measurement:
    """What one turn showed.

    Attributes:
        rate: commands (rows, for a bare database) answered a second.
        p50_ms, p99_ms: from the last byte written to the whole answer read, a request.
        sent: all commands that were sent and answered, those of the warm-up too.
        wrong: answers that were not as expected; *complaint* is one of them.
        generator_busy: share of its core that the load generator used.
        server_us: CPU time of the server for a request, in microseconds; 0 where unknown.
        rss_mb, peak_rss_mb: memory of the server at the end of the turn, and its peak so far.
    """

    rate: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    sent: int = 0
    wrong: int = 0
    complaint: str = ""
    generator_busy: float = 0.0
    server_us: float = 0.0
    rss_mb: float = 0.0
    peak_rss_mb: float = 0.0


class Run:
    """What the connections of one load have in common."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = _requests(load)
        self.latencies: list[float] = []
        self.answered = 0
        self.wrong = 0
        self.complaint = ""
        self.counts_from = self.until = self.last = 0.0
        self.open = 0
        self.done = asyncio.get_running_loop().create_future()
        # A refusal inside an answer of 200 is wrong too, unless refusals are what we asked for.
        self.refusal = b"\0" if load.kind is Kind.BAD else b"false"
        self.results = load.batch + 1 if load.batch > 1 else 1

    def start(self) -> None:
        now = time.perf_counter()
        self.counts_from = self.last = now + self.load.warm_up_s
        self.until = self.counts_from + self.load.seconds

    def answer(self, started: float, status: bytes, body: bytes) -> None:
        """Takes note of one answer."""
        now = time.perf_counter()
        self.answered += 1
        if (
            int(status) != self.load.status
            or self.refusal in body
            or body.count(b'"success"') != self.results
        ):
            self.complain(f"{status.decode()} {body[:300].decode(errors='replace')}")
        if now >= self.counts_from:
            self.latencies.append(now - started)
            self.last = now

    def complain(self, complaint: str) -> None:
        self.wrong += 1
        self.complaint = self.complaint or complaint

    def closed(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


class Connection(asyncio.Protocol):
    """One keep-alive connection: the next request leaves when the last one is answered."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.received = b""
        self.started = 0.0
        self.waiting = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class, of the same shape
        self.run.open += 1

    def send(self) -> None:
        assert self.transport is not None
        if time.perf_counter() >= self.run.until:
            self.waiting = False
            self.transport.close()
            return
        request = next(self.run.requests)
        self.waiting = True
        self.started = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self.received + data if self.received else data
        end = received.find(b"\r\n\r\n") + 4
        if end < 4 or len(received) < end + _content_length(received, end):
            self.received = received
            return
        self.received = b""
        self.run.answer(self.started, received[9:12], received[end:])
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting:
            self.run.complain(f"the connection was closed without an answer ({error})")
        self.run.closed()


def _content_length(received: bytes, end: int) -> int:
    head = received[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError("an answer without Content-Length")
    return int(head[at + 17 : head.index(b"\r\n", at + 2)])


def _requests(load: Load) -> Iterator[bytes]:
    """Whole HTTP requests without end."""
    authorization = f"Authorization: {load.authorization}\r\n" if load.authorization else ""
    head = (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n"
        f"Content-Type: application/json\r\n{authorization}Content-Length: "
    ).encode()
    for body in bodies(load.kind, batch=load.batch, first=load.first, count=load.count, base_s=load.base_s):
        yield b"%b%d\r\n\r\n%b" % (head, len(body), body)


async def measure(load: Load) -> Measurement:
    """Sends *load* and tells how it went."""
    loop = asyncio.get_running_loop()
    run = Run(load)
    connections = [
        (await loop.create_connection(lambda: Connection(run), "127.0.0.1", load.port))[1]
        for _ in range(load.connections)
    ]
    run.start()
    cpu, started = time.process_time(), time.perf_counter()
    for connection in connections:
        connection.send()
    await asyncio.wait_for(run.done, timeout=load.warm_up_s + load.seconds + 30)
    busy = (time.process_time() - cpu) / (time.perf_counter() - started)
    latencies = sorted(run.latencies) or [0.0]
    # Until the last answer: a slow server would else be credited with, or robbed of, a whole wave.
    lasted = max(run.last - run.counts_from, load.seconds)
    return Measurement(
        rate=len(run.latencies) * load.batch / lasted,
        p50_ms=latencies[len(latencies) // 2] * 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1000,
        sent=run.answered * load.batch,
        wrong=run.wrong,
        complaint=run.complaint,
        generator_busy=busy,
    )


def main() -> None:
    """Runs one load for each line, until there is none."""
    gc.disable()  # a collection would look like a slow answer
    for line in sys.stdin:
        sent = json.loads(line)
        load = Load(**{**sent, "kind": Kind(sent["kind"])})
        try:
            measurement = uvloop.run(measure(load))
        except (OSError, TimeoutError) as error:
            measurement = Measurement(rate=0.0, wrong=1, complaint=f"{type(error).__name__}: {error}")
        print(json.dumps(asdict(measurement)), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
