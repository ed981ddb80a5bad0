"""One HTTP request and its answer within a given time, told so that nobody repeats what may have been done.

The difference that matters is between `NotSent` and `Lost`: after the first the request may be repeated.
"""

import socket
import threading
from collections.abc import Iterator, Mapping

import httpx2

from receiver.outbound.heard import Heard, Lost, NotSent

MAX_ANSWER_BYTES = 16 * 1024 * 1024
_CONNECT_SECONDS = 10.0


class Exchange:
    """Asks one server in the name of *user* (Basic, blank password); may be used by several threads.

    *seconds* is what a whole request may take, to the last byte of its answer.
    """

    def __init__(self, user: str, *, seconds: float) -> None:
        self._seconds = seconds
        self._client = httpx2.Client(
            auth=httpx2.BasicAuth(user, ""),
            # A connection that the server closes just when it is used again would lose a request for no
            # reason, so each request has its own.
            headers={"connection": "close", "accept": "application/json", "accept-encoding": "identity"},
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            timeout=httpx2.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds)),
            follow_redirects=False,
        )

    def ask(self, method: str, url: str, json: bytes | None = None) -> Heard | NotSent | Lost:
        """Send *json* as it is; without it the request acts by its head alone."""
        body = _Body(json)
        with _Deadline(self._seconds) as deadline:
            extensions = {"trace": deadline.watch}
            request = self._client.build_request(
                method, url, content=body, headers=body.headers, extensions=extensions
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


class _Body:
    """The body of a request, which notes when it leaves our hands.

    That is surer than the kind of an error: one and the same is raised for a proxy that hangs before it has
    connected us and for a server that hangs with the whole request in its hands.
    """

    def __init__(self, json: bytes | None) -> None:
        self.headers = {} if json is None else {"content-type": "application/json;charset=utf-8"}
        self.headers["content-length"] = str(len(json or b""))
        self.left = json is None
        self._json = json or b""

    def __iter__(self) -> Iterator[bytes]:
        self.left = True
        yield self._json


class _Deadline:
    """Ends the connection of a request when its time is over.

    The time-outs of the HTTP client begin anew with every byte, so a server that trickles would hold the
    request for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> "_Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, step: str, details: Mapping[str, object]) -> None:
        """Follow the connection while it is made; *step* and *details* are the HTTP client's own."""
        if step.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = details["return_value"].get_extra_info("socket")  # type: ignore[attr-defined]
        elif self.passed and step.endswith(".send_request_headers.started"):
            raise httpx2.ConnectTimeout("the time was over before anything was sent")

    def _end(self) -> None:
        self.passed = True
        if self._socket is not None:
            try:
                # Past the TLS layer, which would go on in plain text if it were the one to be shut down.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself


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
