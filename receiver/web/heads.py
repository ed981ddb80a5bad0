"""HTTP as Uvicorn speaks it, with a limit on the head of a request.

httptools gathers a head of any length before anybody has said who they are.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024


class BoundedHeads(HttpToolsProtocol):
    """Hangs up on a sender whose request line and headers are longer than MOST_HEAD_BYTES."""

    _in_head = True
    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # Looked at afterwards: what came may have been the end of the head and much of a body.
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
