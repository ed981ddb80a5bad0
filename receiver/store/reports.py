"""What is asked about events and customers: statements that only read.

Times are microseconds; a period includes its ``since_us`` and excludes its ``until_us``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Engine, Select, func, or_, select, tuple_

from receiver.domain.commands import ExternalId
from receiver.domain.properties import PropertyEquals, fragments, having
from receiver.store.tables import customer_ids, customer_properties, events, mailings, projects

PAGE = 2000
"""Rows that a walk over many pages reads at once."""

SEARCHED = 10_000
"""Events whose properties one page looks into."""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction whose statements all see the same moment, and that cannot write."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with engine.begin() as connection:
        yield connection


def find_project(connection: Connection, token: str) -> int | None:
    """The number of the project with this token."""
    return connection.execute(select(projects.c.id).where(projects.c.token == token)).scalar()


# -- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events; what is None or empty does not matter.

    Attributes:
        customer: IDs of one customer; the first one that somebody holds says who it is *now*.
        mailing: the ID of a letter.
        types: any of these.
        since_us, until_us: when it happened.
        received_since_us, received_until_us: when it arrived.
    """

    customer: tuple[ExternalId, ...] = ()
    campaign: str | None = None
    status: str | None = None
    stage: str | None = None
    mailing: str | None = None
    types: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    received_since_us: int | None = None
    received_until_us: int | None = None
    property: PropertyEquals | None = None


class Position(NamedTuple):
    """Where a page ended.  Events that arrive meanwhile change nothing for the next page."""

    occurred_us: int
    id: int


class EventRow(NamedTuple):
    """One event; *ids* and *properties* are JSON texts of objects.

    *mailing* is the letter that it is about; *tied* says how that is known, or why it is not.
    """

    id: int
    customer: int
    ids: str
    type: str
    occurred_us: int
    received_us: int
    source: str
    campaign: str | None
    status: str | None
    stage: str | None
    mailing: str | None
    tied: str | None
    properties: str


class EventPage(NamedTuple):
    """*next* is where the next page begins; None where nothing is left.

    Where a property is asked for a page may hold few rows, or none, and still have a next one.
    """

    rows: list[EventRow]
    next: Position | None


def events_page(
    connection: Connection,
    project_id: int,
    wanted: EventFilter,
    *,
    after: Position | None = None,
    limit: int = PAGE,
    skip: int = 0,
    oldest_first: bool = False,
) -> EventPage:
    """At most *limit* events, the newest first, from behind *after*.

    *skip* leaves out the first ones; it is not for questions about a property.
    """
    time, number = events.c.occurred_us, events.c.id
    query = _SELECT_EVENTS.where(*_conditions(connection, project_id, wanted))
    query = query.order_by(time, number) if oldest_first else query.order_by(time.desc(), number.desc())
    if after:
        query = query.where(_place > after if oldest_first else _place < after)
    if wanted.property is not None:
        return _page_of_those_having(
            connection, query, wanted.property, limit=limit, oldest_first=oldest_first
        )
    rows = list(map(EventRow._make, connection.execute(query.limit(limit + 1).offset(skip))))
    if len(rows) <= limit:
        return EventPage(rows, None)
    return EventPage(rows[:limit], _position(rows[limit - 1]))


def _page_of_those_having(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    wanted: PropertyEquals,
    *,
    limit: int,
    oldest_first: bool,
) -> EventPage:
    """At most *limit* of the first SEARCHED events of *query*."""
    places = query.with_only_columns(events.c.occurred_us, events.c.id)
    end = connection.execute(places.offset(SEARCHED - 1).limit(1)).one_or_none()
    if end:
        query = query.where(_place <= end if oldest_first else _place >= end)
    place_of = func.instr if connection.dialect.name == "sqlite" else func.strpos
    query = query.where(or_(*[place_of(events.c.properties, text) > 0 for text in fragments(wanted)]))
    # The last word is ours: the databases differ in how they read names, numbers and escapes in JSON.
    has = having(wanted)
    rows: list[EventRow] = []
    # Row by row, because the first ones may be enough.
    with connection.execute(query, execution_options={"stream_results": True}) as found:
        for event in map(EventRow._make, found):
            if has(event.properties):
                rows.append(event)
            if len(rows) > limit:
                return EventPage(rows[:limit], _position(rows[limit - 1]))
    return EventPage(rows, Position(*end) if end else None)


def _position(event: EventRow) -> Position:
    return Position(event.occurred_us, event.id)


def all_events(
    engine: Engine,
    project_id: int,
    wanted: EventFilter,
    *,
    after: Position | None = None,
    limit: int | None = None,
    skip: int = 0,
    oldest_first: bool = False,
) -> Iterator[list[EventRow]]:
    """As `events_page`, without an end, in lists of at most PAGE.

    Each list is a short transaction of its own: however slowly they are taken, memory stays flat and
    no old moment has to be kept by the database.
    """
    while limit is None or limit > 0:
        with reading(engine) as connection:
            size = PAGE if limit is None else min(PAGE, limit)
            page = events_page(
                connection,
                project_id,
                wanted,
                after=after,
                limit=size,
                skip=skip,
                oldest_first=oldest_first,
            )
        yield page.rows
        if page.next is None:
            return
        after, skip = page.next, 0
        limit = None if limit is None else limit - len(page.rows)


_place = tuple_(events.c.occurred_us, events.c.id)
_SELECT_EVENTS = select(
    events.c.id,
    events.c.customer_id,
    events.c.ids,
    events.c.type,
    events.c.occurred_us,
    events.c.received_us,
    events.c.source,
    events.c.campaign,
    events.c.status,
    events.c.stage,
    events.c.mailing_id,
    events.c.tied,
    events.c.properties,
)


def _conditions(
    connection: Connection, project_id: int, wanted: EventFilter
) -> Iterator[ColumnElement[bool]]:
    # Without the project, which customer and letter imply: or SQLite takes an index that begins with it.
    if wanted.customer:
        yield events.c.customer_id == _holder(project_id, wanted.customer)
    elif wanted.mailing is None:
        yield events.c.project_id == project_id
    if wanted.mailing is not None:
        of_project = select(mailings.c.id).where(
            mailings.c.id == wanted.mailing, mailings.c.project_id == project_id
        )
        yield events.c.mailing_id == of_project.scalar_subquery()
    if wanted.campaign is not None:
        campaign = events.c.campaign == wanted.campaign
        # SQLite, which has no statistics, takes a period for as narrow as a campaign.
        yield func.unlikely(campaign) if connection.dialect.name == "sqlite" else campaign
    if wanted.status is not None:
        yield events.c.status == wanted.status
    if wanted.stage is not None:
        yield events.c.stage == wanted.stage
    if wanted.types:
        yield events.c.type.in_(wanted.types)
    if wanted.since_us is not None:
        yield events.c.occurred_us >= wanted.since_us
    if wanted.until_us is not None:
        yield events.c.occurred_us < wanted.until_us
    if wanted.received_since_us is not None:
        yield events.c.received_us >= wanted.received_since_us
    if wanted.received_until_us is not None:
        yield events.c.received_us < wanted.received_until_us


# -- customers ------------------------------------------------------------------------------------


def customer_of(connection: Connection, project_id: int, ids: Sequence[ExternalId]) -> int | None:
    """Who holds the first of *ids* (at least one) that anybody holds."""
    return connection.execute(select(_holder(project_id, ids))).scalar()


def _holder(project_id: int, ids: Sequence[ExternalId]) -> ColumnElement[int]:
    # Asked within the statement that needs it: between two statements a merge could move the events.
    holders = [
        select(customer_ids.c.customer_id)
        .where(customer_ids.c.project_id == project_id)
        .where(customer_ids.c.kind == kind, customer_ids.c.value == value)
        .scalar_subquery()
        for kind, value in ids
    ]
    return func.coalesce(*holders) if len(holders) > 1 else holders[0]


def ids_of(connection: Connection, customer: int) -> dict[str, list[str]]:
    """All IDs by kind; of one kind the least recently used value first."""
    query = (
        select(customer_ids.c.kind, customer_ids.c.value)
        .where(customer_ids.c.customer_id == customer)
        .order_by(customer_ids.c.kind, customer_ids.c.used_us, customer_ids.c.value)
    )
    found: dict[str, list[str]] = {}
    for kind, value in connection.execute(query):
        found.setdefault(kind, []).append(value)
    return found


def properties_of(connection: Connection, customer: int) -> dict[str, str]:
    """The JSON text of each property, by name, in the order of the names."""
    columns = customer_properties.c
    query = select(columns.name, columns.value).where(columns.customer_id == customer).order_by(columns.name)
    return dict(connection.execute(query).all())
