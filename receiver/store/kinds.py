"""Events by their kind (receiver.domain.kinds): which kinds a filter means, and when the newest or oldest
events of several kinds happened.

An index holds the times of each kind in their order, so that a page of any kinds is found without reading
what it does not show, however many events there are.
"""

from collections.abc import Sequence
from functools import cache

from sqlalchemy import BigInteger, Connection, Integer, Select, bindparam, select

from receiver.store.tables import event_kinds, events

MOST = 300
"""Kinds that are asked one by one."""


def kinds_of(
    connection: Connection,
    project_id: int,
    *,
    types: Sequence[str],
    campaign: str | None,
    status: str | None,
    stage: str | None,
) -> list[int] | None:
    """The kinds that have one of these *types* and the others; what is None or empty does not matter.

    None where they are more than MOST.
    """
    query = select(event_kinds.c.id).where(event_kinds.c.project_id == project_id)
    if types:
        query = query.where(event_kinds.c.type.in_(types))
    for column, value in (
        (event_kinds.c.campaign, campaign),
        (event_kinds.c.status, status),
        (event_kinds.c.stage, stage),
    ):
        if value is not None:
            query = query.where(column == value)
    found = list(connection.scalars(query.limit(MOST + 1)))
    return found if len(found) <= MOST else None


def time_of(
    connection: Connection,
    kinds: Sequence[int],
    number: int,
    *,
    since_us: int,
    until_us: int,
    oldest_first: bool,
) -> int | None:
    """A time since which at least *number* events of the *kinds* happened, of those in the period.

    Seldom are they more than four times as many.  None where there are not so many, or few more.  With
    *oldest_first* it is a time until which they happened.
    """
    # To read so many of each kind would be that much for every kind.  Where several kinds have each had a few
    # since some time, and these together are enough, nothing from before it matters; and not many kinds can
    # have had more than a few since then, so that a larger few is then asked for cheaply.
    few, found = 1 + 2 * number // len(kinds), None
    while True:
        few = min(few, number)
        values = {"kinds": kinds, "since_us": since_us, "until_us": until_us, "before": few - 1}
        times = [time for time in connection.scalars(_times(oldest_first), values) if time is not None]
        times.sort(reverse=not oldest_first)
        enough = -(-number // few)
        if len(times) >= enough:
            found = times[enough - 1]
            since_us, until_us = (since_us, found + 1) if oldest_first else (found, until_us)
        if few == number or not times:
            return found
        few *= 4


# Made once: it takes longer to build such a statement than to run it.
@cache
def _times(oldest_first: bool) -> Select[int | None]:
    """For each kind, when that event happened which *before* others are newer than."""
    time = events.c.occurred_us
    since_us, until_us = bindparam("since_us", type_=BigInteger), bindparam("until_us", type_=BigInteger)
    of_kind = (
        select(time)
        .where(events.c.kind_id == event_kinds.c.id, time >= since_us, time < until_us)
        .order_by(time if oldest_first else time.desc())
        .offset(bindparam("before", type_=Integer))
        .limit(1)
        .correlate(event_kinds)
    )
    return select(of_kind.scalar_subquery()).where(event_kinds.c.id.in_(bindparam("kinds", expanding=True)))
