"""What is told of events, and which part of them is asked for."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from receiver.store.event_statements import Form


class Position(NamedTuple):
    """Where a page ended.  Events that arrive meanwhile change nothing for the next page."""

    occurred_us: int
    id: int


class EventRow(NamedTuple):
    """One event; *ids* and *properties* are JSON texts of objects.

    *mailing* is the letter that it is about; *tied* says how that is known, or why it is not.
    """

    id: int
    customer: int
    ids: str
    type: str
    occurred_us: int
    received_us: int
    source: str
    campaign: str | None
    status: str | None
    stage: str | None
    mailing: str | None
    tied: str | None
    properties: str
    variation: str | None


class ShortEvent(NamedTuple):
    """What some need to know of an event."""

    id: int
    type: str
    occurred_us: int
    properties: str


_Word = str | None
Fields = tuple[int, int, str, str, int, int, str, _Word, _Word, _Word, _Word, _Word, str, _Word]
"""As those of `EventRow`."""

Made = TypeVar("Made")
"""What is made of the fields of events while they are read: what is not kept costs no time later."""


class Told(NamedTuple, Generic[Made]):
    """What is asked of events, and what is *made* of a few at a time, each with the fields of *row*."""

    form: Form
    row: type[EventRow | ShortEvent]
    made: Callable[[Sequence[Any]], Made]


def whole(made: Callable[[Sequence[Fields]], Made]) -> Told[Made]:
    """All fields of events."""
    return Told("whole", EventRow, made)


def short(made: Callable[[Sequence[tuple[int, str, int, str]]], Made]) -> Told[Made]:
    """Those of `ShortEvent`."""
    return Told("short", ShortEvent, made)


class Part(NamedTuple):
    """Which of the events, in their order: at most *limit*, from behind *after*, without the first *skip*."""

    after: Position | None = None
    limit: int | None = None
    skip: int = 0
    oldest_first: bool = False


class Read(NamedTuple, Generic[Made]):
    """*made* of so many *events*; *next* is where the next page begins, None where nothing is left.

    Of a search a page may hold few events, or none, and still have a next one.
    """

    made: list[Made]
    events: int
    next: Position | None
