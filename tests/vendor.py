"""A server that answers, or fails to, byte by byte as a test says."""

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from receiver.outbound.exchange import MAX_ANSWER_BYTES

Behave = Callable[[socket.socket], None]


class Vendor:
    """A server that reads a request and then does to the connection whatever a test says.

    It has one connection at a time.

    Attributes:
        requests: what it has read.
        reads: it does so at all.
        keeps: it goes on with the next request of a connection, until the client goes away or *behave*
            raises an OSError; else it closes after each.
        connections: how many there were.
    """

    def __init__(self, listener: socket.socket) -> None:
        self.requests: list[bytes] = []
        self.behave: Behave = lambda _connection: None
        self.reads = True
        self.keeps = False
        self.connections = 0
        self._listener = listener
        self._connection: socket.socket | None = None
        self.port: int = listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def answers(self, status: int, body: bytes | object = b"", *headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.behave = saying(head(status, f"Content-Length: {len(data)}", *headers) + data)

    def serve(self) -> None:
        # accept raises when the test is over and the listener is shut down
        with suppress(OSError):
            while True:
                self._connection, _ = self._listener.accept()
                self.connections += 1
                with self._connection as connection, suppress(OSError):
                    self._attend(connection)

    def stop(self) -> None:
        """End everything, also a connection that nobody else ends."""
        self._listener.shutdown(socket.SHUT_RDWR)
        if self._connection:
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def _attend(self, connection: socket.socket) -> None:
        while True:
            if self.reads:
                self.requests.append(whole_request(connection))
            self.behave(connection)
            if not self.keeps:
                return


@contextmanager
def running_vendor() -> Iterator[Vendor]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        vendor = Vendor(listener)
        thread = threading.Thread(target=vendor.serve)
        thread.start()
        try:
            yield vendor
        finally:
            vendor.stop()
            thread.join()


def whole_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += more(connection)
    before, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in before.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        body += more(connection)
    return before + b"\r\n\r\n" + body


def more(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65536)):
        raise OSError("the client has gone")
    return data


def head(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Words", *headers, "", ""]).encode()


def saying(data: bytes) -> Behave:
    return lambda connection: connection.sendall(data)


def then_hanging(data: bytes) -> Behave:
    """Say *data* and then nothing more, until the client goes away."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        while connection.recv(65536):
            pass

    return behave


def trickling(data: bytes, again: bytes) -> Behave:
    """Say *data* and then *again* and again, much more often than the client's patience ends."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.settimeout(0.02)
        while True:
            with suppress(TimeoutError):
                more(connection)
            connection.sendall(again)

    return behave


def resetting(connection: socket.socket) -> None:
    """Have it end by a reset when it is closed, which is next."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# What every vendor would take for a good answer, in each way in which it does not arrive whole.
PROMISED = head(200, "Content-Length: 1000")
RESULTS = b'{"success": true, "results": [{"success": true, "id": "a"}, {"success": true, "id": "b"}]}'
BROKEN: dict[str, tuple[Behave, float]] = {
    "closes without a word": (saying(b""), 20),
    "resets without a word": (resetting, 20),
    "never answers": (then_hanging(b""), 0.3),
    "hangs in the head": (then_hanging(b"HTTP/1.1 200 OK\r\nConte"), 0.3),
    "is cut off in the head": (saying(b"HTTP/1.1 200 OK\r\nConte"), 20),
    "hangs in the body": (then_hanging(PROMISED + RESULTS), 0.3),
    "is cut off in the body": (saying(PROMISED + RESULTS), 20),
    "is cut off in a chunk": (saying(head(200, "Transfer-Encoding: chunked") + b"fff\r\n" + RESULTS), 20),
    "trickles the head": (trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x"), 0.3),
    "trickles the body": (trickling(head(200), b" "), 0.3),
    "asks for patience for ever": (trickling(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), 0.3),
    "speaks something else": (saying(b"220 mail.example ESMTP\r\n"), 20),
    "has two lengths": (saying(head(200, "Content-Length: 1", "Content-Length: 2") + RESULTS), 20),
    "has no usable length": (saying(head(200, "Content-Length: some") + RESULTS), 20),
    "says that it is packed": (
        saying(head(200, "Content-Encoding: gzip", f"Content-Length: {len(RESULTS)}") + RESULTS),
        20,
    ),
    "is too long": (saying(head(200) + RESULTS + b" " * MAX_ANSWER_BYTES), 20),
    "is packed and too long": (saying(head(200, "Content-Encoding: gzip") + gzip.compress(bytes(2**25))), 20),
    "wants another protocol": (saying(head(101, "Upgrade: other", "Connection: upgrade")), 20),
}
