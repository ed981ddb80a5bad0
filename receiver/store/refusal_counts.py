"""How often what was refused: answered from the counters of receiver.store.shapes, not by counting."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, Select, case, func, null, select

from receiver.domain.moments import DAY_US, HOUR_US, hour_of
from receiver.store.refused import RejectionFilter, shape_conditions, within
from receiver.store.tables import rejections, shape_hours, shape_states, shapes

By = Literal["reason", "shape"]
"""What makes a group: the reason; or the reason and the failing place."""

SPANS: dict[str, tuple[int, int]] = {"hour": (HOUR_US, 24), "day": (DAY_US, 14)}
"""A trend: how long each of its spans is, and how many there are."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was refused for one reason; where it is grouped by shape, at one failing place.

    Attributes:
        count: how often something came, repeats included.
        rejections: how many rejections that are; None where it was counted by the hour.
        open: how many of them are open; likewise.
    """

    reason: str
    pointer: str | None
    count: int
    rejections: int | None
    open: int | None
    first_seen_us: int
    last_seen_us: int


@dataclass(frozen=True, slots=True)
class Trends:
    """How often something came in the last *length* spans of time, by group."""

    length: int
    counts: dict[tuple[str, str | None], list[int]]

    def of(self, group: Summary) -> list[int]:
        """The oldest span first, the present one last."""
        return self.counts.get((group.reason, group.pointer), [0] * self.length)


def summary(
    connection: Connection, project_id: int, wanted: RejectionFilter, by: By = "reason"
) -> list[Summary]:
    """By group, the most frequent first.

    Of a period without a state it is what came within its hours, as the trend has it; with a state, all
    that came of those that were seen within the period, whose rows are read.
    """
    if wanted.since_us is None and wanted.until_us is None:
        query = _of_states(project_id, wanted, by)
    elif wanted.state is None:
        query = _of_hours(project_id, wanted, by)
    else:
        query = _of_rows(connection, project_id, wanted, by)
    found = []
    for row in connection.execute(query):
        *group, count, number, still_open, first_us, last_us = row
        reason, pointer = (*group, None)[:2]
        number, still_open = _whole(number), _whole(still_open)
        found.append(Summary(reason, pointer, int(count), number, still_open, first_us, last_us))
    return sorted(found, key=lambda each: (-each.count, each.reason, each.pointer or ""))


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)  # PostgreSQL adds whole numbers up to decimal ones


def trends(
    connection: Connection, project_id: int, wanted: RejectionFilter, by: By, span: str, now_us: int
) -> Trends:
    """How often something came in the spans up to now; of the filter the state and the period say nothing."""
    span_us, number = SPANS[span]
    begin_us = now_us - now_us % span_us - (number - 1) * span_us
    at = (shape_hours.c.hour_us - begin_us) // span_us
    wanted = replace(wanted, since_us=begin_us, until_us=None)
    query = (
        select(*_KEYS[by], at, func.sum(shape_hours.c.times))
        .join_from(shape_hours, shapes, shape_hours.c.shape_id == shapes.c.id)
        .where(*_in_hours(project_id, wanted))
        .group_by(*_KEYS[by], at)
    )
    found: dict[tuple[str, str | None], list[int]] = {}
    for *group, place, times in connection.execute(query):
        reason, pointer = (*group, None)[:2]
        # A clock that went back has left something in the future.
        found.setdefault((reason, pointer), [0] * number)[min(int(place), number - 1)] += int(times)
    return Trends(number, found)


def how_many(connection: Connection, project_id: int, wanted: RejectionFilter) -> int | None:
    """The number of rejections that match; None where only counting would tell."""
    if wanted.text is not None or wanted.since_us is not None or wanted.until_us is not None:
        return None
    query = select(func.coalesce(func.sum(shape_states.c.rejections), 0)).join(
        shapes, shapes.c.id == shape_states.c.shape_id
    )
    query = query.where(*shape_conditions(project_id, wanted))
    if wanted.state is not None:
        query = query.where(shape_states.c.state == wanted.state)
    return int(connection.execute(query).scalar_one())


class Miscount(NamedTuple):
    """What the rejections of a project come to, and what they are counted as; *what* in words."""

    what: str
    kept: int
    counted: int


def miscounts(connection: Connection, project_id: int) -> list[Miscount]:
    """Where the counters do not agree with the rejections.  Reads every rejection of the project."""
    kept: dict[str, tuple[int, int]] = {}
    query = select(rejections.c.state, func.count(), func.sum(rejections.c.count))
    for state, number, times in connection.execute(
        query.where(rejections.c.project_id == project_id).group_by(rejections.c.state)
    ):
        kept[state] = int(number), int(times)
    counted: dict[str, tuple[int, int]] = {}
    sums = func.sum(shape_states.c.rejections), func.sum(shape_states.c.times)
    for state, number, times in connection.execute(
        select(shape_states.c.state, *sums)
        .join(shapes, shapes.c.id == shape_states.c.shape_id)
        .where(shapes.c.project_id == project_id)
        .group_by(shape_states.c.state)
    ):
        counted[state] = int(number), int(times)
    hours = select(func.coalesce(func.sum(shape_hours.c.times), 0)).where(
        shape_hours.c.project_id == project_id
    )
    came = sum(times for _, times in kept.values())
    found = [Miscount("times by hour", came, int(connection.execute(hours).scalar_one()))]
    for state in kept.keys() | counted.keys():
        for what, one, other in zip(
            (f"{state} rejections", f"times of {state} rejections"),
            kept.get(state, (0, 0)),
            counted.get(state, (0, 0)),
            strict=True,
        ):
            found.append(Miscount(what, one, other))
    return sorted(each for each in found if each.kept != each.counted)


_KEYS: dict[By, tuple[Column[Any], ...]] = {
    "reason": (shapes.c.reason,),
    "shape": (shapes.c.reason, shapes.c.pointer),
}


def _of_states(project_id: int, wanted: RejectionFilter, by: By) -> Select[Any]:
    columns = shape_states.c
    query = (
        select(
            *_KEYS[by],
            func.sum(columns.times),
            func.sum(columns.rejections),
            func.sum(case((columns.state == "open", columns.rejections), else_=0)),
            func.min(columns.first_us),
            func.max(columns.last_us),
        )
        .join_from(shape_states, shapes, columns.shape_id == shapes.c.id)
        .where(*shape_conditions(project_id, wanted))
        .group_by(*_KEYS[by])
    )
    return query if wanted.state is None else query.where(columns.state == wanted.state)


def _of_hours(project_id: int, wanted: RejectionFilter, by: By) -> Select[Any]:
    columns = shape_hours.c
    # Of what a replay alone made new the sender was not heard then: the hour is all that is known.
    heard_us = case((columns.last_us > columns.hour_us, columns.last_us), else_=columns.hour_us)
    return (
        select(
            *_KEYS[by],
            func.sum(columns.times),
            null(),
            null(),
            func.min(columns.hour_us),
            func.max(heard_us),
        )
        .join_from(shape_hours, shapes, columns.shape_id == shapes.c.id)
        .where(*_in_hours(project_id, wanted), columns.times > 0)
        .group_by(*_KEYS[by])
    )


def _of_rows(connection: Connection, project_id: int, wanted: RejectionFilter, by: By) -> Select[Any]:
    columns = rejections.c
    return (
        select(
            *_KEYS[by],
            func.sum(columns.count),
            func.count(),
            func.sum(case((columns.state == "open", 1), else_=0)),
            func.min(columns.received_us),
            func.max(columns.last_seen_us),
        )
        .join_from(rejections, shapes, columns.shape_id == shapes.c.id)
        .where(*shape_conditions(project_id, wanted), columns.project_id == project_id)
        .where(columns.state == wanted.state, *within(connection, project_id, wanted))
        .group_by(*_KEYS[by])
    )


def _in_hours(project_id: int, wanted: RejectionFilter) -> list[ColumnElement[bool]]:
    """The hours that the period touches, of the shapes that are wanted."""
    conditions = [shape_hours.c.project_id == project_id, *shape_conditions(project_id, wanted)]
    if wanted.since_us is not None:
        conditions.append(shape_hours.c.hour_us >= hour_of(wanted.since_us))
    if wanted.until_us is not None:
        conditions.append(shape_hours.c.hour_us < wanted.until_us)
    return conditions
