"""Which events are wanted, and where in an index they are found.

What no index knows is searched for, event by event: a property, and unless a customer, a letter or a time is
given when few arrived also a variation, when it arrived, and words that more kinds of events have than are
asked one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, or_, select

from receiver.domain.commands import ExternalId
from receiver.domain.properties import PropertyEquals, fragments
from receiver.store.kinds import kinds_of, time_of
from receiver.store.tables import events


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
        conditions: those that the index answers.
        in_order: it gives them in the order of their times.
        kinds: the index has each of these by itself; None where kinds do not matter.
        since_us, until_us: bounds of their times.
        searched: conditions that the index does not answer.
    """

    conditions: list[ColumnElement[bool]]
    in_order: bool
    kinds: list[int] | None
    since_us: int
    until_us: int
    searched: list[ColumnElement[bool]]


NEVER_US = 2**63 - 1


def place_of(
    connection: Connection, project_id: int, wanted: EventFilter, own: Sequence[ColumnElement[bool]]
) -> Place:
    """Where the events are that are *wanted*; *own* says which those of its customer or its letter are."""
    since_us = 0 if wanted.since_us is None else wanted.since_us
    until_us = NEVER_US if wanted.until_us is None else wanted.until_us
    words, having = list(_words(wanted)), list(_having(connection, wanted))
    if not own and _few_arrived(connection, wanted):
        # As these are to be found by when they arrived, no index shall help that begins with the project.
        ours = events.c.project_id + 0 == project_id
        arrived = list(_arrived(events.c.received_us, wanted))
        return Place([ours, *arrived, *words, *_others(wanted)], False, None, since_us, until_us, having)
    # Likewise: SQLite, which has no statistics, takes a period for narrow.
    others = [*_others(wanted), *_arrived(events.c.received_us + 0, wanted)]
    if own:
        # They are few.  Without the project, or SQLite takes an index that begins with it.
        return Place([*own, *words, *others], True, None, since_us, until_us, having)
    kinds = _kinds(connection, project_id, wanted) if words else None
    if kinds is not None:
        return Place([], False, kinds, since_us, until_us, [*others, *having])
    ours = events.c.project_id == project_id
    return Place([ours], True, None, since_us, until_us, [*words, *others, *having])


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
    time = events.c.occurred_us
    query = select(time).where(*place.conditions, time >= since_us, time < until_us)
    query = query.order_by(time if oldest_first else time.desc())
    return connection.execute(query.offset(number - 1).limit(1)).scalar()


def _kinds(connection: Connection, project_id: int, wanted: EventFilter) -> list[int] | None:
    words = {"campaign": wanted.campaign, "status": wanted.status, "stage": wanted.stage}
    return kinds_of(connection, project_id, types=wanted.types, **words)


def _words(wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    """What makes a kind of event."""
    if wanted.types:
        yield events.c.type.in_(wanted.types)
    if wanted.campaign is not None:
        yield events.c.campaign == wanted.campaign
    if wanted.status is not None:
        yield events.c.status == wanted.status
    if wanted.stage is not None:
        yield events.c.stage == wanted.stage


def _others(wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.variation is not None:
        yield events.c.variation == wanted.variation


def _few_arrived(connection: Connection, wanted: EventFilter) -> bool:
    conditions = list(_arrived(events.c.received_us, wanted))
    if not conditions:
        return False
    query = select(events.c.received_us).where(*conditions).order_by(events.c.received_us)
    return connection.execute(query.offset(ARRIVED).limit(1)).scalar() is None


def _arrived(time: ColumnElement[int], wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.received_since_us is not None:
        yield time >= wanted.received_since_us
    if wanted.received_until_us is not None:
        yield time < wanted.received_until_us


def _having(connection: Connection, wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    """It may have the property; receiver.domain.properties has the last word."""
    if wanted.property is not None:
        position = func.instr if connection.dialect.name == "sqlite" else func.strpos
        texts = fragments(wanted.property)
        yield or_(*[position(events.c.properties, text) > 0 for text in texts])
