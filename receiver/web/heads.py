"""HTTP as Uvicorn speaks it, with a limit on the head of a request and on what follows its body.

httptools gathers headers, and trailers, of any length before anybody has said who they are.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024


class BoundedHeads(HttpToolsProtocol):
    """Hangs up on a sender from whom more than MOST_HEAD_BYTES came, and one read, without the parser
    getting on: to the end of a head, to a part of a body, or to the end of a request."""

    _gathered_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._gathered_bytes += len(data)
        super().data_received(data)
        # Looked at afterwards: what came may have been the end of the head and much of a body.
        if self._gathered_bytes > MOST_HEAD_BYTES:
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._gathered_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._gathered_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._gathered_bytes = 0
        super().on_message_complete()
