"""One HTTP request and its answer within a given time, told so that nobody repeats what may have been done.

The difference that matters is between `NotSent` and `Lost`: after the first the request may be repeated.
"""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2

from receiver.outbound.heard import Heard, Lost, NotSent

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_CONNECT_SECONDS = 10.0


class Exchange:
    """Asks one server in the name of *user* (Basic); may be used by several threads.

    *seconds* is what a whole request may take, to the last byte of its answer.

    Each request has a connection of its own, as one that the server closes just when it is used again would
    lose the request for no reason.  With *keep* the connection is kept for the next request, there is one
    request at a time, and one that is lost so is sent again at once: only for what may be done twice.
    """

    def __init__(
        self,
        user: str,
        password: str = "",
        *,
        seconds: float,
        keep: bool = False,
        content_type: str = "application/json;charset=utf-8",
    ) -> None:
        self._content_type = content_type
        self._watchdog = _Watchdog(seconds)
        self._turn = threading.Lock() if keep else nullcontext()
        self._kept = _Line() if keep else None
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        self._client = httpx2.Client(
            auth=httpx2.BasicAuth(user, password),
            headers=headers if keep else {"connection": "close", **headers},
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=int(keep)),
            timeout=httpx2.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    def ask(self, method: str, url: str, json: bytes | None = None) -> Heard | NotSent | Lost:
        """Send *json* as it is; without it the request acts by its head alone."""
        with self._turn, _Deadline(self._watchdog, self._kept or _Line()) as deadline:
            heard = self._asked(method, url, json, deadline)
            if isinstance(heard, Lost) and heard.error in _CLOSED_WHILE_KEPT and not deadline.connected:
                heard = self._asked(method, url, json, deadline)
            return heard

    def close(self) -> None:
        """End a kept connection, after the last request."""
        with self._turn:
            self._client.close()

    def _asked(
        self, method: str, url: str, json: bytes | None, deadline: "_Deadline"
    ) -> Heard | NotSent | Lost:
        body = _Body(json, self._content_type)
        request = self._client.build_request(
            method, url, content=body, headers=body.headers, extensions={"trace": deadline.watch}
        )
        try:
            response = self._client.send(request, stream=True)
        except (httpx2.HTTPError, OSError) as error:
            name = "Timeout" if deadline.passed else type(error).__name__
            return NotSent(name) if isinstance(error, _NEVER_SENT) or not body.left else Lost(name)
        try:
            return Heard(response.status_code, response.headers, _read(response, deadline))
        finally:
            response.close()


_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_CLOSED_WHILE_KEPT = {
    each.__name__ for each in (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)
}


class _Body:
    """The body of a request, which notes when it leaves our hands.

    That is surer than the kind of an error: one and the same is raised for a proxy that hangs before it has
    connected us and for a server that hangs with the whole request in its hands.
    """

    def __init__(self, json: bytes | None, content_type: str) -> None:
        self.headers = {} if json is None else {"content-type": content_type}
        self.headers["content-length"] = str(len(json or b""))
        self.left = json is None
        self._json = json or b""

    def __iter__(self) -> Iterator[bytes]:
        self.left = True
        yield self._json


class _Line:
    """The socket of a connection, from when it is made; a kept one carries many requests."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None

    def cut(self) -> None:
        """End the connection, also while somebody waits for its bytes."""
        if self.socket is not None:
            with suppress(OSError):  # it has ended by itself
                # Past the TLS layer, which would go on in plain text if it were the one to be shut down.
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


class _Deadline:
    """Ends the connection of a request when its time is over.

    The time-outs of the HTTP client begin anew with every byte, so a server that trickles would hold the
    request for ever.

    Attributes:
        passed: the time is over.
        connected: a connection was made for this request.
    """

    def __init__(self, watchdog: "_Watchdog", line: _Line) -> None:
        self.passed = False
        self.connected = False
        self._watchdog = watchdog
        self._line = line

    def __enter__(self) -> "_Deadline":
        self._watchdog.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.remove(self)

    def watch(self, step: str, details: Mapping[str, object]) -> None:
        """Follow the connection while it is made; *step* and *details* are the HTTP client's own."""
        if step.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._line.socket = details["return_value"].get_extra_info("socket")  # type: ignore[attr-defined]
            self.connected = True
        elif self.passed and step.endswith(".send_request_headers.started"):
            raise httpx2.ConnectTimeout("the time was over before anything was sent")

    def end(self) -> None:
        """The time is over."""
        self.passed = True
        self._line.cut()


class _Watchdog:
    """Ends each request that is not over after *seconds*.

    One thread watches them all, as a timer for each would cost nearly as much as the request.  It sleeps
    until the first of them would have to end, and goes when it wakes to find none.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: dict[_Deadline, float] = {}  # in the order in which they end, as all have the same time
        self._watching = False
        self._lock = threading.Lock()

    def add(self, deadline: _Deadline) -> None:
        with self._lock:
            self._ends[deadline] = time.monotonic() + self._seconds
            if not self._watching:
                threading.Thread(target=self._watch, daemon=True).start()
                self._watching = True

    def remove(self, deadline: _Deadline) -> None:
        with self._lock:
            self._ends.pop(deadline, None)

    def _watch(self) -> None:
        while (seconds := self._end_the_late()) is not None:
            time.sleep(seconds)

    def _end_the_late(self) -> float | None:
        """Give the seconds until the next one has to end; None where there is none."""
        with self._lock:
            while self._ends:
                deadline, ends = next(iter(self._ends.items()))
                if (seconds := ends - time.monotonic()) > 0:
                    return seconds
                del self._ends[deadline]
                # With the lock, so that a request which is over never loses the connection of the next one.
                deadline.end()
            self._watching = False
            return None


def _read(response: httpx2.Response, deadline: _Deadline) -> bytes | None:
    body = bytearray()
    try:
        for part in response.iter_bytes():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                return None
    except (httpx2.HTTPError, OSError):
        return None
    # An answer without a length ends with its connection, also where we were the ones to end it.
    return None if deadline.passed else bytes(body)
