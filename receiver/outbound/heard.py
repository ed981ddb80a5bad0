"""What came of one HTTP request, told so that nobody repeats what may have been done.

Apart from receiver.outbound.exchange, so that nobody imports an HTTP client who asks nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Heard(NamedTuple):
    """An answer whose head arrived; *body* is None where it was cut off, broken, too long or too late."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class NotSent(NamedTuple):
    """The other side has certainly not seen the request; *error* is the name of what was in the way."""

    error: str


class Lost(NamedTuple):
    """The request left and no answer came; *error* names how it ended."""

    error: str
