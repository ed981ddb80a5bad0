"""What is asked about rejections: statements that only read.

They are found by their shape (receiver.domain.shapes): each of those that a filter means gives its newest
ones from an index, so that no page reads what it does not show, however many there are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, Select, func, select, true, union_all

from receiver.domain.moments import hour_of
from receiver.store.tables import rejection_hours, rejections, shape_states, shapes

SEARCHED = 10_000
"""Rejections whose bodies one page of a text search looks into."""

_STATES = ("open", "replayed", "dismissed")
# Of each of them a whole page is read; where there are more, rejections of them are dense.
_MOST_LEGS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionFilter:
    """Which rejections; what is None or empty does not matter.

    Attributes:
        forms: any of these.
        since_us, until_us: it was seen within: last not before the one, first before the other.
        text: stands in the body, in the very same bytes.
    """

    reason: str | None = None
    state: str | None = None
    event_type: str | None = None
    campaign: str | None = None
    pointer: str | None = None
    forms: tuple[str, ...] = ()
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
    event_type: str | None
    campaign: str | None


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


_OF_SHAPES = {"event_type", "campaign"}
_COLUMNS = tuple(
    (shapes if each.name in _OF_SHAPES else rejections).c[each.name] for each in fields(RejectionRow)
)
_WITH_SHAPES = rejections.join(shapes, rejections.c.shape_id == shapes.c.id)
_NEWEST_FIRST = rejections.c.id.desc()


def rejections_page(
    connection: Connection,
    project_id: int,
    wanted: RejectionFilter,
    *,
    after: int | None = None,
    limit: int = 100,
) -> RejectionPage:
    """At most *limit* rejections, the newest first, from behind the ID *after*."""
    lowest = None
    if wanted.text is None:
        found = matching_ids(connection, project_id, wanted, after=after, limit=limit + 1)
        conditions: list[ColumnElement[bool]] = [rejections.c.id.in_([number for number, _ in found])]
    else:
        # The bodies are looked into one by one, so not all of a million in one request.
        conditions = list(_conditions(connection, project_id, wanted, after))
        ids = select(rejections.c.id).where(*conditions).order_by(_NEWEST_FIRST)
        lowest = connection.execute(ids.offset(SEARCHED - 1).limit(1)).scalar()
        conditions.append(_body_holds(connection, wanted.text))
        if lowest is not None:
            conditions.append(rejections.c.id >= lowest)
    query = select(*_COLUMNS).select_from(_WITH_SHAPES).where(*conditions)
    rows = [RejectionRow(*row) for row in connection.execute(query.order_by(_NEWEST_FIRST).limit(limit + 1))]
    if len(rows) > limit:
        return RejectionPage(rows[:limit], rows[limit - 1].id)
    return RejectionPage(rows, lowest)


def find_rejection(connection: Connection, project_id: int, rejection_id: int) -> KeptRejection | None:
    query = select(*_COLUMNS, rejections.c.headers, rejections.c.body).select_from(_WITH_SHAPES)
    query = query.where(rejections.c.id == rejection_id, rejections.c.project_id == project_id)
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
    newest = None if wanted.text is not None else _newest(connection, project_id, wanted, after, limit)
    if newest is None:
        conditions = list(_conditions(connection, project_id, wanted, after))
        if wanted.text is not None:
            conditions.append(_body_holds(connection, wanted.text))
        newest = select(rejections.c.id).where(*conditions).order_by(_NEWEST_FIRST).limit(limit)
    ids = list(connection.execute(newest).scalars())
    sizes = select(rejections.c.id, func.length(rejections.c.body)).where(rejections.c.id.in_(ids))
    return [(number, size) for number, size in connection.execute(sizes.order_by(_NEWEST_FIRST))]


def bodies(connection: Connection, project_id: int, ids: Iterable[int]) -> dict[int, bytes]:
    """The bodies, as received, of the rejections with these *ids*."""
    query = select(rejections.c.id, rejections.c.body).where(
        rejections.c.id.in_(ids), rejections.c.project_id == project_id
    )
    return {row.id: row.body for row in connection.execute(query)}


def shape_conditions(project_id: int, wanted: RejectionFilter) -> Iterator[ColumnElement[bool]]:
    """Which shapes have what is wanted."""
    yield shapes.c.project_id == project_id
    for column, value in (
        (shapes.c.reason, wanted.reason),
        (shapes.c.event_type, wanted.event_type),
        (shapes.c.campaign, wanted.campaign),
        (shapes.c.pointer, wanted.pointer),
    ):
        if value is not None:
            yield column == value
    if wanted.forms:
        yield shapes.c.form.in_(wanted.forms)


def within(connection: Connection, project_id: int, wanted: RejectionFilter) -> Iterator[ColumnElement[bool]]:
    """Of rejections: they were seen in the period; with the bounds of their IDs, which an index knows."""
    hours = rejection_hours.c
    if wanted.since_us is not None:
        yield rejections.c.last_seen_us >= wanted.since_us
        first = select(func.min(hours.first_id)).where(
            hours.project_id == project_id, hours.hour_us >= hour_of(wanted.since_us)
        )
        yield rejections.c.id >= (connection.execute(first).scalar() or _NO_ID)
    if wanted.until_us is not None:
        yield rejections.c.received_us < wanted.until_us
        last = select(func.max(hours.last_id)).where(
            hours.project_id == project_id, hours.hour_us < wanted.until_us
        )
        yield rejections.c.id <= (connection.execute(last).scalar() or 0)


_NO_ID = 2**63 - 1


def _newest(
    connection: Connection, project_id: int, wanted: RejectionFilter, after: int | None, limit: int
) -> Select[int] | None:
    """The IDs of what is wanted, the newest first, from the index entries of each shape and state.

    None where those are too many.
    """
    common = list(within(connection, project_id, wanted))
    if after is not None:
        common.append(rejections.c.id < after)

    def leg(*place: ColumnElement[bool]) -> Select[int]:
        return select(rejections.c.id).where(*place, *common).order_by(_NEWEST_FIRST).limit(limit)

    if not any((wanted.reason, wanted.event_type, wanted.campaign, wanted.pointer is not None, wanted.forms)):
        ours = rejections.c.project_id == project_id
        states = _STATES if wanted.state is None else (wanted.state,)
        legs = [select(leg(ours, rejections.c.state == each).subquery().c.id) for each in states]
        together = union_all(*legs).subquery()
        return select(together.c.id).order_by(together.c.id.desc()).limit(limit)

    places = select(shape_states.c.shape_id, shape_states.c.state).join(
        shapes, shapes.c.id == shape_states.c.shape_id
    )
    places = places.where(*shape_conditions(project_id, wanted), *_seen(wanted))
    counted = select(func.count()).select_from(places.subquery())
    if connection.execute(counted).scalar_one() > _MOST_LEGS:
        return None
    place = places.subquery()
    of_place = leg(rejections.c.shape_id == place.c.shape_id, rejections.c.state == place.c.state)
    of_place = of_place.correlate(place)
    found: FromClause
    if connection.dialect.name == "sqlite":
        # It knows no LATERAL, but a function of a table's columns may stand beside the table.
        numbers = select(func.json_group_array(of_place.subquery().c.id)).correlate(place)
        found = func.json_each(numbers.scalar_subquery()).table_valued("value", name="found")
    else:
        found = of_place.with_only_columns(rejections.c.id.label("value")).lateral()
    number = found.c.value
    return select(number).select_from(place.join(found, true())).order_by(number.desc()).limit(limit)


def _seen(wanted: RejectionFilter) -> Iterator[ColumnElement[bool]]:
    """Of what a shape has in a state: it is wanted, and some of it may have been seen in the period."""
    if wanted.state is not None:
        yield shape_states.c.state == wanted.state
    if wanted.since_us is not None:
        yield shape_states.c.last_us >= wanted.since_us
    if wanted.until_us is not None:
        yield shape_states.c.first_us < wanted.until_us


def _conditions(
    connection: Connection, project_id: int, wanted: RejectionFilter, after: int | None
) -> Iterator[ColumnElement[bool]]:
    """For a walk over rejections from the newest one on."""
    # Not the bare columns: SQLite would take an index that begins with them, and sort all by their ID.
    plain = connection.dialect.name != "sqlite"
    if wanted.state is None:
        yield (rejections.c.project_id if plain else rejections.c.project_id + 0) == project_id
    else:
        yield rejections.c.project_id == project_id
        yield rejections.c.state == wanted.state
    of_shapes = select(shapes.c.id).where(*shape_conditions(project_id, wanted))
    yield (rejections.c.shape_id if plain else rejections.c.shape_id + 0).in_(of_shapes)
    yield from within(connection, project_id, wanted)
    if after is not None:
        yield rejections.c.id < after


def _body_holds(connection: Connection, text: str) -> ColumnElement[bool]:
    # Qualified, because PostgreSQL reads the bare word as the start of `position(a IN b)`.
    place_of = func.instr if connection.dialect.name == "sqlite" else func.pg_catalog.position
    found: ColumnElement[bool] = place_of(rejections.c.body, text.encode()) > 0
    return found
