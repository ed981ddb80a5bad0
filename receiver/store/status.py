"""Whether things are well: what waits, since when, and when somebody was heard of last."""

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from receiver.store.mailings import State
from receiver.store.tables import counters, mailings, shape_states, shapes
from receiver.store.writes import Source


class Waiting(NamedTuple):
    """So many wait, the first one of them since then (None where there is none)."""

    number: int
    since_us: int | None


class Status(NamedTuple):
    """What an operator looks at first.

    Attributes:
        heard_us: when the last callback came; None for never.
        to_send: letters that are to be sent.
        unknown: letters of which nobody knows whether they are printed.
        open_rejections: what was refused and nothing was done about.
    """

    heard_us: int | None
    to_send: Waiting
    unknown: Waiting
    open_rejections: Waiting


def status(connection: Connection, project_id: int) -> Status:
    """How things are now; all from indexes and counters."""
    last_hour = (
        select(func.max(counters.c.hour_us))
        .where(counters.c.project_id == project_id, counters.c.source == Source.CALLBACK)
        .scalar_subquery()
    )
    heard = select(func.max(counters.c.last_us)).where(
        counters.c.project_id == project_id,
        counters.c.source == Source.CALLBACK,
        counters.c.hour_us == last_hour,
    )
    still_open = (
        select(func.coalesce(func.sum(shape_states.c.rejections), 0), func.min(shape_states.c.first_us))
        .join_from(shape_states, shapes, shapes.c.id == shape_states.c.shape_id)
        .where(shapes.c.project_id == project_id, shape_states.c.state == "open")
    )
    rejected, since_us = connection.execute(still_open).one()
    return Status(
        connection.execute(heard).scalar(),
        _letters(connection, project_id, State.INTENDED),
        _letters(connection, project_id, State.UNKNOWN),
        Waiting(int(rejected), since_us),
    )


def _letters(connection: Connection, project_id: int, state: State) -> Waiting:
    ours = mailings.c.project_id == project_id, mailings.c.state == state
    number = connection.execute(select(func.count()).select_from(mailings).where(*ours)).scalar_one()
    # IDs ascend with time, so the lowest one is the oldest.
    first = select(mailings.c.created_us).where(*ours).order_by(mailings.c.id).limit(1)
    return Waiting(number, connection.execute(first).scalar())
