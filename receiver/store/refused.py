"""What is asked about rejections: statements that only read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from receiver.store.tables import rejections

SEARCHED = 10_000
"""Rejections whose bodies one page of a text search looks into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionFilter:
    """Which rejections; what is None does not matter.

    Attributes:
        since_us, until_us: it was seen within: last not before the one, first before the other.
        text: stands in the body, in the very same bytes.
    """

    reason: str | None = None
    state: str | None = None
    since_us: int | None = None
    until_us: int | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class RejectionRow:
    """One rejection without its bytes; see receiver.store.tables."""

    id: int
    form: str
    reason: str
    detail: str
    pointer: str
    state: str
    count: int
    attempts: int
    received_us: int
    last_seen_us: int


class KeptRejection(NamedTuple):
    """One rejection whole; *headers* is the JSON text of an object."""

    row: RejectionRow
    headers: str
    body: bytes


class RejectionPage(NamedTuple):
    """*next* is the ID behind which the next page begins; None where nothing is left.

    With a text search a page may hold few rows, or none, and still have a next one.
    """

    rows: list[RejectionRow]
    next: int | None


@dataclass(frozen=True, slots=True)
class ReasonSummary:
    """How often something was refused for one reason, repeats included."""

    reason: str
    count: int
    first_seen_us: int
    last_seen_us: int


_COLUMNS = tuple(rejections.c[field.name] for field in fields(RejectionRow))


def rejections_page(
    connection: Connection,
    project_id: int,
    wanted: RejectionFilter,
    *,
    after: int | None = None,
    limit: int = 100,
) -> RejectionPage:
    """At most *limit* rejections, the newest first, from behind the ID *after*."""
    conditions = [
        *_conditions(connection, project_id, wanted),
        *([rejections.c.id < after] if after is not None else []),
    ]
    newest_first = rejections.c.id.desc()
    lowest = None
    if wanted.text is not None:
        # The bodies are looked into one by one, so not all of a million in one request.
        ids = select(rejections.c.id).where(*conditions).order_by(newest_first)
        lowest = connection.execute(ids.offset(SEARCHED - 1).limit(1)).scalar()
        conditions.append(_body_holds(connection, wanted.text))
        if lowest is not None:
            conditions.append(rejections.c.id >= lowest)
    query = select(*_COLUMNS).where(*conditions).order_by(newest_first).limit(limit + 1)
    rows = [RejectionRow(*row) for row in connection.execute(query)]
    if len(rows) > limit:
        return RejectionPage(rows[:limit], rows[limit - 1].id)
    return RejectionPage(rows, lowest)


def find_rejection(connection: Connection, project_id: int, rejection_id: int) -> KeptRejection | None:
    query = select(*_COLUMNS, rejections.c.headers, rejections.c.body).where(
        rejections.c.id == rejection_id, rejections.c.project_id == project_id
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        return None
    *row, headers, body = found
    return KeptRejection(RejectionRow(*row), headers, body)


def matching_ids(
    connection: Connection, project_id: int, wanted: RejectionFilter, *, after: int | None, limit: int
) -> list[tuple[int, int]]:
    """The IDs and bytes of at most *limit* rejections, the newest first, from behind *after*.

    With a text search it reads as many bodies as it takes to find so many.
    """
    conditions = list(_conditions(connection, project_id, wanted))
    if after is not None:
        conditions.append(rejections.c.id < after)
    if wanted.text is not None:
        conditions.append(_body_holds(connection, wanted.text))
    query = select(rejections.c.id, func.length(rejections.c.body)).where(*conditions)
    return [
        (number, size)
        for number, size in connection.execute(query.order_by(rejections.c.id.desc()).limit(limit))
    ]


def bodies(connection: Connection, project_id: int, ids: Iterable[int]) -> dict[int, bytes]:
    """The bodies, as received, of the rejections with these *ids*."""
    query = select(rejections.c.id, rejections.c.body).where(
        rejections.c.id.in_(ids), rejections.c.project_id == project_id
    )
    return {row.id: row.body for row in connection.execute(query)}


def summary(connection: Connection, project_id: int, wanted: RejectionFilter) -> list[ReasonSummary]:
    """By reason, the most frequent first.  Reads every rejection that matches."""
    times = func.sum(rejections.c.count)
    query = (
        select(
            rejections.c.reason,
            times,
            func.min(rejections.c.received_us),
            func.max(rejections.c.last_seen_us),
        )
        .where(*_conditions(connection, project_id, wanted))
        .group_by(rejections.c.reason)
        .order_by(times.desc(), rejections.c.reason)
    )
    return [ReasonSummary(reason, int(times), *seen) for reason, times, *seen in connection.execute(query)]


def _conditions(
    connection: Connection, project_id: int, wanted: RejectionFilter
) -> Iterator[ColumnElement[bool]]:
    if wanted.reason is None and wanted.state is None and connection.dialect.name == "sqlite":
        # Not the bare column: SQLite would take an index that begins with it, and sort all rejections by ID.
        yield rejections.c.project_id + 0 == project_id
    else:
        yield rejections.c.project_id == project_id
    if wanted.reason is not None:
        yield rejections.c.reason == wanted.reason
    if wanted.state is not None:
        yield rejections.c.state == wanted.state
    if wanted.since_us is not None:
        yield rejections.c.last_seen_us >= wanted.since_us
    if wanted.until_us is not None:
        yield rejections.c.received_us < wanted.until_us


def _body_holds(connection: Connection, text: str) -> ColumnElement[bool]:
    # Qualified, because PostgreSQL reads the bare word as the start of `position(a IN b)`.
    place_of = func.instr if connection.dialect.name == "sqlite" else func.pg_catalog.position
    found: ColumnElement[bool] = place_of(rejections.c.body, text.encode()) > 0
    return found
