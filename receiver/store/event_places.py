"""Which events are wanted, and where in an index they are found.

What no index knows is searched for, event by event: a property, and unless a customer, a letter or a time is
given when few arrived also a variation, when it arrived, and words that more kinds of events have than are
asked one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection

from receiver.domain.commands import ExternalId
from receiver.domain.properties import PropertyEquals, fragments
from receiver.store import event_statements
from receiver.store.event_statements import Shape, Way
from receiver.store.kinds import kinds_of, time_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events; what is None or empty does not matter.

    Attributes:
        customer: IDs of one customer; the first one that somebody holds says who it is *now*.
        mailing: the ID of a letter.
        variation: of an A/B test.
        types: any of these.
        since_us, until_us: when it happened.
        received_since_us, received_until_us: when it arrived.
    """

    customer: tuple[ExternalId, ...] = ()
    campaign: str | None = None
    status: str | None = None
    stage: str | None = None
    mailing: str | None = None
    variation: str | None = None
    types: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    received_since_us: int | None = None
    received_until_us: int | None = None
    property: PropertyEquals | None = None


ARRIVED = 20_000
"""Events that arrived in a period, of all projects, which are sorted where there are not more."""


class Place(NamedTuple):
    """Where in an index events are looked for.

    Attributes:
        values: by the names of the shape, and of the project.
        kinds: the index has each of these by itself; None where kinds do not matter.
        since_us, until_us: bounds of their times.
    """

    shape: Shape
    values: Mapping[str, Any]
    kinds: list[int] | None
    since_us: int
    until_us: int

    @property
    def is_searched(self) -> bool:
        """Events must be looked into one by one."""
        return event_statements.is_searched(self.shape)


NEVER_US = 2**63 - 1


def place_of(connection: Connection, project_id: int, wanted: EventFilter) -> Place:
    """Where the events are that are *wanted*."""
    values = dict(_values(wanted))
    shape = Shape(connection.dialect.name, tuple(values), Way.TIME)
    kinds = None
    if wanted.customer or wanted.mailing is not None:
        shape = shape._replace(way=Way.OWN)
    elif _few_arrived(connection, shape, values):
        shape = shape._replace(way=Way.ARRIVED)
    elif not values.keys().isdisjoint(_WORDS):
        kinds = _kinds(connection, project_id, wanted)
        shape = shape._replace(way=Way.TIME if kinds is None else Way.KINDS)
    since_us = 0 if wanted.since_us is None else wanted.since_us
    until_us = NEVER_US if wanted.until_us is None else wanted.until_us
    return Place(shape, {**values, "project_id": project_id}, kinds, since_us, until_us)


def time_at(
    connection: Connection, place: Place, number: int, after_us: int | None, *, oldest_first: bool
) -> int | None:
    """A time since which *number* events of *place* happened, before the microsecond *after_us*; None where
    there are fewer.  With *oldest_first* until when so many happened after it.

    Whether they have what is searched for does not matter.  Of several kinds it is as `time_of` has it.
    """
    since_us, until_us = place.since_us, place.until_us
    if after_us is not None and oldest_first:
        since_us = max(since_us, after_us + 1)
    elif after_us is not None:
        until_us = min(until_us, after_us)
    if place.kinds:
        return time_of(
            connection, place.kinds, number, since_us=since_us, until_us=until_us, oldest_first=oldest_first
        )
    bounds = {"since_us": since_us, "until_us": until_us, "before": number - 1}
    query = event_statements.times(place.shape, oldest_first=oldest_first)
    return connection.execute(query, {**place.values, **bounds}).scalar()


_WORDS = ("types", "campaign", "status", "stage")
"""What makes a kind of event."""

_AS_THEY_ARE = ("campaign", "status", "stage", "variation", "received_since_us", "received_until_us")


def _values(wanted: EventFilter) -> Iterator[tuple[str, Any]]:
    """All but the times, with the names of `Shape`."""
    yield from values_of_ids(wanted.customer).items()
    if wanted.mailing is not None:
        yield "mailing_id", wanted.mailing
    if wanted.types:
        yield "types", wanted.types
    for name in _AS_THEY_ARE:
        if (value := getattr(wanted, name)) is not None:
            yield name, value
    if wanted.property is not None:
        for place, text in enumerate(fragments(wanted.property)):
            yield f"text_{place}", text


def values_of_ids(ids: Sequence[ExternalId]) -> dict[str, str]:
    """For `event_statements.holder`."""
    return {
        f"{name}_{place}": each for place, of_it in enumerate(ids) for name, each in of_it._asdict().items()
    }


def _kinds(connection: Connection, project_id: int, wanted: EventFilter) -> list[int] | None:
    words = {"campaign": wanted.campaign, "status": wanted.status, "stage": wanted.stage}
    return kinds_of(connection, project_id, types=wanted.types, **words)


def _few_arrived(connection: Connection, shape: Shape, values: Mapping[str, Any]) -> bool:
    if values.keys().isdisjoint(("received_since_us", "received_until_us")):
        return False
    return (
        connection.execute(event_statements.arrivals(shape), {**values, "before": ARRIVED}).scalar() is None
    )
