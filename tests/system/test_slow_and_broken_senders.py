"""Senders that are slow, broken or hostile cost the others nothing, and memory stays bounded."""

import resource
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count

import httpx2
import pytest

from tests.system.conftest import IMPATIENT, MEBIBYTE
from tests.system.raw import connected, head, status_of
from tests.system.service import Client, Project, Service, event
from tests.waiting import wait_until

# The database has no part in this.
pytestmark = pytest.mark.parametrize("installation", ["sqlite"], indirect=True)

BODY_SECONDS = IMPATIENT["body_seconds"]
HELD_BYTES = IMPATIENT["held_bytes"]
MOST_BODY_BYTES = 4 * MEBIBYTE

# Many times what a request takes on a busy machine, and still before anybody's patience ends.
SOON_SECONDS = 1.0

# What the server itself may keep of a connection that is read slower than it is written.
BYTES_PER_CONNECTION = 64 * 1024
SLACK_BYTES = 24 * MEBIBYTE

_numbers = count(1)


def seconds_for_one(client: Client) -> float:
    """How long one small event takes now."""
    started = time.monotonic()
    assert client.track("customers/events", event(next(_numbers), registered="other")).status_code == 200
    return time.monotonic() - started


def assert_served_soon(client: Client, *, times: int = 20) -> None:
    """Others are."""
    assert max(seconds_for_one(client) for _ in range(times)) < SOON_SECONDS


def test_a_body_over_the_limit_is_answered_413(client: Client) -> None:
    assert client.track("batch", b" " * (MOST_BODY_BYTES + 1)).status_code == 413
    assert client.track("batch", b" " * MOST_BODY_BYTES).status_code == 400
    assert_served_soon(client)


def test_a_body_in_chunks_is_taken(service: Service, client: Client, project: Project) -> None:
    with connected(service) as connection:
        connection.sendall(head(project, "Transfer-Encoding: chunked"))
        for part in (b'{"customer_ids": {"registered": "ch', b'unked"}, "event_type": "campaign"}', b""):
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))

        assert status_of(connection) == 200
    assert len(client.customer_events({"registered": "chunked"}, "campaign").json()["data"]) == 1


def test_a_body_in_chunks_is_answered_413_when_it_becomes_too_large(
    service: Service, client: Client, project: Project
) -> None:
    with connected(service) as connection:
        connection.sendall(head(project, "Transfer-Encoding: chunked"))
        for _ in range(MOST_BODY_BYTES // MEBIBYTE):
            connection.sendall(b"%x\r\n%b\r\n" % (MEBIBYTE, b" " * MEBIBYTE))
        connection.sendall(b"1\r\n \r\n")

        assert status_of(connection) == 413
    assert_served_soon(client)


def test_a_body_that_never_comes_to_its_announced_end_is_answered_408(
    service: Service, client: Client, project: Project
) -> None:
    with connected(service) as connection:
        connection.sendall(head(project, "Content-Length: 1000") + b'{"customer_ids": {}}')
        started = time.monotonic()
        assert_served_soon(client)

        assert status_of(connection) == 408
        assert BODY_SECONDS / 2 < time.monotonic() - started < BODY_SECONDS + SOON_SECONDS
        assert connection.recv(1) == b""


def test_a_body_longer_than_announced_is_read_to_its_announced_end(
    service: Service, client: Client, project: Project
) -> None:
    with connected(service) as connection:
        connection.sendall(head(project, "Content-Length: 5") + b'{"customer_ids": {"registered": "x"}}')

        assert status_of(connection) == 400
    assert_served_soon(client)


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: -1"],
        ["Content-Length: many"],
        ["Content-Length: 2", "Content-Length: 3"],
        ["Content-Length: 99999999999999999999999"],
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
    ],
)
def test_a_length_that_is_none_is_refused(
    service: Service, client: Client, project: Project, lines: list[str]
) -> None:
    with connected(service) as connection:
        connection.sendall(head(project, *lines) + b"{}")

        assert status_of(connection) == 400
    assert_served_soon(client, times=1)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\xff\r\n\r\n",
        b"POST\r\n\r\n",
        b"POST /track/v2/projects/\xff\xfe/batch HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["tls", "http2", "bytes", "no path", "path not ascii", "path not utf-8", "broken url"],
)
def test_garbage_is_answered_or_hung_up_on(service: Service, client: Client, garbage: bytes) -> None:
    with connected(service) as connection:
        connection.sendall(garbage)

        first_line = connection.recv(100).partition(b"\r\n")[0]
        assert first_line[:12] in {b"", b"HTTP/1.1 400", b"HTTP/1.1 404"}
    assert_served_soon(client, times=1)


def test_a_head_without_end_does_not_fill_the_memory(service: Service, client: Client) -> None:
    before = service.memory_bytes
    with connected(service) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        # The service may end this whenever it likes.
        with suppress(OSError):
            for _ in range(128):
                connection.sendall(b"X-Long: %b\r\n" % (b"x" * MEBIBYTE))
        assert service.memory_bytes - before < SLACK_BYTES
    assert_served_soon(client)


def test_a_sender_that_hangs_up_in_the_middle_leaves_nothing(
    service: Service, client: Client, project: Project
) -> None:
    def hung_up() -> float:
        return service.metrics().get(("receiver_turned_away_total", "hung_up"), 0)

    before = hung_up()
    with connected(service) as connection:
        connection.sendall(head(project, "Content-Length: 90") + b'{"customer_ids": {"registered": "gone"}')

    wait_until(lambda: hung_up() == before + 1, "it is noticed")
    assert client.customer_events({"registered": "gone"}, "campaign").status_code == 404


def test_a_sender_that_drips_is_ended_in_time_and_others_are_served(
    service: Service, client: Client, project: Project
) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(20)]
        for connection in slow:
            connection.sendall(head(project, "Content-Length: 1000"))
        started = time.monotonic()
        while time.monotonic() - started < BODY_SECONDS - 0.5:
            for connection in slow:
                connection.sendall(b" ")
            assert_served_soon(client, times=10)

        assert {status_of(connection) for connection in slow} == {408}
        assert time.monotonic() - started < BODY_SECONDS + SOON_SECONDS


def test_others_are_served_beside_a_thousand_idle_connections(service: Service, client: Client) -> None:
    _may_open(4096)
    before = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
    # What a process may open on an ordinary machine.
    resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (1024, before[1]))
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(connected(service))

        assert_served_soon(client)
    resource.prlimit(service.pid, resource.RLIMIT_NOFILE, before)


def test_five_hundred_slow_large_bodies_leave_memory_bounded_and_others_served(
    service: Service, client: Client, project: Project
) -> None:
    _may_open(4096)
    before = service.memory_bytes
    most = before
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(service)) for _ in range(500)]
        for connection in slow:
            connection.sendall(head(project, f"Content-Length: {MOST_BODY_BYTES}"))
        stack.enter_context(_trickling(slow))
        until = time.monotonic() + BODY_SECONDS + 1
        while time.monotonic() < until:
            assert_served_soon(client, times=5)
            most = max(most, service.memory_bytes)
        turned_away = service.metrics()

    assert most - before < HELD_BYTES + 500 * BYTES_PER_CONNECTION + SLACK_BYTES
    assert turned_away["receiver_turned_away_total", "busy"] > 0
    # What was held is free again.
    large = b" " * (MOST_BODY_BYTES - 10)
    wait_until(lambda: client.track("batch", large).status_code == 400, "large bodies are read again")


@contextmanager
def _trickling(connections: Sequence[socket.socket]) -> Iterator[None]:
    """Send a little on each, again and again, without ever waiting for one."""
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.1):
            for connection in connections:
                # Full for now, or ended by the service.
                with suppress(OSError):
                    connection.send(bytes(8 * 1024), socket.MSG_DONTWAIT)

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _may_open(files: int) -> None:
    """The test itself needs as many connections as it tries the service with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < files:
        pytest.skip(f"no more than {hard} files may be open here")
    if 0 <= soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def test_others_are_served_while_a_body_of_a_million_trifles_is_read(
    service: Service, client: Client, project: Project
) -> None:
    def send() -> None:
        with Client(service, project) as sender, suppress(httpx2.TimeoutException):
            sender.flat(b"[" + b"1," * 1_000_000 + b"1]")

    before = most = service.memory_bytes
    slowest = 0.0
    thread = threading.Thread(target=send)
    thread.start()
    while thread.is_alive():
        slowest = max(slowest, seconds_for_one(client))
        most = max(most, service.memory_bytes)
    assert slowest < 5
    assert most - before < 128 * MEBIBYTE
