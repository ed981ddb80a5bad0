"""The trace of what operations did about rejections: statements that only read."""

from dataclasses import dataclass, fields
from typing import NamedTuple

from sqlalchemy import Connection, select

from receiver.store.tables import attempts

MOST_STEPS = 1000
"""Of one rejection, the newest."""


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
