"""The trace of what operations did about rejections: statements that only read."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple

from sqlalchemy import Connection, select

from receiver.domain.moments import SECOND_US
from receiver.store.tables import attempts, events

MOST_STEPS = 1000
"""Of one rejection, the newest."""

# Events of one rejection that are looked at for similar ones; only of a whole batch there are so many.
_MOST_MADE = 500


@dataclass(frozen=True, slots=True)
class Step:
    """What somebody did about a rejection, without the bodies; see receiver.store.tables."""

    id: int
    rejection_id: int
    at_us: int
    key_id: str | None
    action: str
    how: str | None
    note: str | None
    results: str | None
    undone_us: int | None


class TrailPage(NamedTuple):
    """*next* is the ID behind which the next page begins; None where nothing is left."""

    steps: list[Step]
    next: int | None


_COLUMNS = tuple(attempts.c[field.name] for field in fields(Step))
_NEWEST_FIRST = attempts.c.id.desc()


def steps_of(connection: Connection, project_id: int, rejection_id: int) -> list[Step]:
    """What was done about one rejection, the newest first."""
    query = select(*_COLUMNS).where(
        attempts.c.rejection_id == rejection_id, attempts.c.project_id == project_id
    )
    return [Step(*row) for row in connection.execute(query.order_by(_NEWEST_FIRST).limit(MOST_STEPS))]


def similar_events(connection: Connection, steps: Iterable[Step]) -> list[int]:
    """Events that say the same as one that these replays made, less than a second before or after: perhaps
    the sender's own correction of what was mended."""
    made = [
        result["event_id"]
        for step in steps
        if step.results is not None and step.undone_us is None
        for result in json.loads(step.results)
        if "event_id" in result
    ][:_MOST_MADE]
    ours, other = events.alias("ours"), events.alias("other")
    query = select(other.c.id).where(
        ours.c.id.in_(made),
        other.c.customer_id == ours.c.customer_id,
        other.c.occurred_us.between(ours.c.occurred_us - SECOND_US + 1, ours.c.occurred_us + SECOND_US - 1),
        other.c.id.not_in(made),
        other.c.type == ours.c.type,
        other.c.properties == ours.c.properties,
        other.c.project_id == ours.c.project_id,
    )
    return sorted(set(connection.execute(query).scalars())) if made else []


def trail_page(
    connection: Connection, project_id: int, *, after: int | None = None, limit: int = 100
) -> TrailPage:
    """What was done about all rejections, at most *limit* steps from behind the ID *after*."""
    query = select(*_COLUMNS).where(attempts.c.project_id == project_id)
    if after is not None:
        query = query.where(attempts.c.id < after)
    steps = [Step(*row) for row in connection.execute(query.order_by(_NEWEST_FIRST).limit(limit + 1))]
    if len(steps) > limit:
        return TrailPage(steps[:limit], steps[limit - 1].id)
    return TrailPage(steps, None)
