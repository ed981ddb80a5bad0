"""Everything about one customer: a few statements that only read, each by an index of the customer's rows."""

from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from json import loads
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    Select,
    bindparam,
    literal_column,
    select,
    tuple_,
    union_all,
)

from receiver.domain.commands import ExternalId
from receiver.store import reports
from receiver.store.event_places import EventFilter
from receiver.store.holders import HeldId, Property, find_holder
from receiver.store.letters import MailingRow
from receiver.store.mailings import State
from receiver.store.reports import EventRow, Position
from receiver.store.suppressions import SuppressionRow
from receiver.store.tables import customers, mailings, suppressions
from receiver.store.writes import Source

MOST = 1000
"""Merges and moved IDs that are told of one customer, and suppressions: the newest."""


MERGE = "merge"
ID_MOVED = "id_moved"


class Known(NamedTuple):
    """A row of the table of customers."""

    id: int
    created_us: int
    merged_into: int | None


class Step(IntEnum):
    """What a letter's time is the time of."""

    MADE = 1
    ASKED = 2
    SETTLED = 3
    HEARD = 4


class Moment(NamedTuple):
    """A time that is known of a letter.  A letter that goes on has other moments later."""

    at_us: int
    step: Step
    letter: MailingRow


Entry = EventRow | Moment


class Place(NamedTuple):
    """Where in the timeline an entry stands: an event by its number, a moment by its letter and step."""

    at_us: int
    event: int = 0
    mailing: str = ""
    step: int = 0


class Story(NamedTuple):
    """One customer.

    Attributes:
        ids: by kind; of one kind in the order of their last use, the last one last.
        properties: in the order of their names.
        traces: our own events about merges and moved IDs, the newest first.
        merged: who was merged into this customer, also by way of others, the oldest first.
        suppressions: also those that were lifted, the newest first.
        timeline: events and moments of letters, the newest first.
        next: behind which entry the timeline goes on; None where nothing is left.
    """

    customer: Known
    ids: Sequence[HeldId]
    properties: Sequence[Property]
    traces: Sequence[EventRow]
    merged: Sequence[Known]
    suppressions: Sequence[SuppressionRow]
    timeline: Sequence[Entry]
    next: Place | None


def story(
    connection: Connection, project_id: int, who: ExternalId, *, after: Place | None = None, limit: int
) -> Story | None:
    """Everything about who holds the ID *who* now, with at most *limit* entries of the timeline from behind
    *after*; None where nobody holds it."""
    holder = find_holder(connection, project_id, (who,))
    if holder is None:
        return None
    customer = holder.number
    traces = _traces(connection, project_id, who)
    # Of a merge the trace moves on with all events: so it leads to everybody without an index for it.
    sources = [loads(trace.properties)["source"] for trace in traces if trace.type == MERGE]
    found = map(Known._make, connection.execute(_KNOWN, {"numbers": [customer, *sources]}))
    known = {each.id: each for each in found}
    timeline, following = _timeline(connection, project_id, who, customer, after, limit)
    suppressed = connection.execute(_SUPPRESSIONS, {"customer": customer})
    return Story(
        known.pop(customer),
        holder.ids,
        holder.properties,
        traces,
        [each for each in known.values() if each.merged_into is not None],
        [SuppressionRow._make(row) for row in suppressed],
        timeline,
        following,
    )


# Made once: it takes longer to build such a statement than to run it.
_CUSTOMER = bindparam("customer", type_=BigInteger)
_SUPPRESSIONS = (
    select(*[suppressions.c[name] for name in SuppressionRow._fields])
    .where(suppressions.c.customer_id == _CUSTOMER)
    .order_by(suppressions.c.id.desc())
    .limit(MOST)
)
_KNOWN = (
    select(*[customers.c[name] for name in Known._fields])
    .where(customers.c.id.in_(bindparam("numbers", expanding=True)))
    .order_by(customers.c.id)
)


def _traces(connection: Connection, project_id: int, who: ExternalId) -> list[EventRow]:
    wanted = EventFilter(customer=(who,), types=(MERGE, ID_MOVED))
    found = reports.events_page(connection, project_id, wanted, limit=MOST).rows
    # Senders may call an event as they like.
    return [event for event in found if event.source == Source.IDENTITY]


# -- the timeline ---------------------------------------------------------------------------------


def place_of(entry: Entry) -> Place:
    """Where *entry* stands; of the same time an event stands above a moment of a letter."""
    if isinstance(entry, EventRow):
        return Place(entry.occurred_us, entry.id)
    return Place(entry.at_us, 0, entry.letter.id, entry.step)


def _timeline(
    connection: Connection,
    project_id: int,
    who: ExternalId,
    customer: int,
    after: Place | None,
    limit: int,
) -> tuple[list[Entry], Place | None]:
    page = reports.events_page(
        connection,
        project_id,
        EventFilter(customer=(who,)),
        after=after and Position(after.at_us, after.event),
        limit=limit,
    )
    moments = _moments(connection, customer, after, limit + 1)
    entries: list[Entry] = [*page.rows, *moments]
    entries.sort(key=place_of, reverse=True)
    goes_on = page.next is not None or len(entries) > limit
    return entries[:limit], place_of(entries[limit - 1]) if goes_on else None


_OPEN = (State.INTENDED, State.ASKED)
# What is to be asked for once more may have been settled before; what is settled says when it was asked for.
_TIMES = (
    (Step.MADE, mailings.c.created_us, ()),
    (Step.ASKED, mailings.c.asked_us, (mailings.c.state.in_(_OPEN),)),
    (Step.SETTLED, mailings.c.settled_us, (mailings.c.state.not_in(_OPEN),)),
    (Step.HEARD, mailings.c.heard_us, ()),
)
_LETTER = tuple(mailings.c[name] for name in MailingRow._fields)
_MOMENTS = union_all(
    *[
        select(time.label("at_us"), literal_column(str(int(step)), Integer).label("step"), *_LETTER).where(
            mailings.c.customer_id == _CUSTOMER, time.is_not(None), *conditions
        )
        for step, time, conditions in _TIMES
    ]
).subquery("moments")
_MOMENT = _MOMENTS.c.at_us, _MOMENTS.c.id, _MOMENTS.c.step


@cache
def _newest(behind: tuple[str, ...]) -> Select[Any]:
    """The newest moments of the customer, ``most`` of them, from behind those *behind* which are named."""
    query = select(_MOMENTS).order_by(*[column.desc() for column in _MOMENT])
    values = [bindparam(name, type_=column.type) for name, column in zip(behind, _MOMENT, strict=False)]
    if len(values) == 1:
        # Of the same time, moments of letters stand below events.
        query = query.where(_MOMENTS.c.at_us <= values[0])
    elif values:
        query = query.where(tuple_(*_MOMENT) < tuple_(*values))
    return query.limit(bindparam("most", type_=Integer))


def _moments(connection: Connection, customer: int, after: Place | None, limit: int) -> list[Moment]:
    behind: dict[str, Any] = {}
    if after is not None and after.event:
        behind = {"after_us": after.at_us}
    elif after is not None:
        behind = {"after_us": after.at_us, "after_mailing": after.mailing, "after_step": after.step}
    values = {"customer": customer, "most": limit, **behind}
    return [
        Moment(at_us, Step(number), MailingRow._make(row))
        for at_us, number, *row in connection.execute(_newest(tuple(behind)), values)
    ]
