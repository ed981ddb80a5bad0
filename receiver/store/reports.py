"""What is asked about events and customers: statements that only read.

Times are microseconds; a period includes its ``since_us`` and excludes its ``until_us``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, CursorResult, Engine, func, select, tuple_

from receiver.domain.commands import ExternalId
from receiver.domain.properties import PropertyEquals, having
from receiver.store.event_places import NEVER_US, EventFilter, Place, place_of, time_at
from receiver.store.tables import customer_ids, customer_properties, events, mailings, projects

PAGE = 5000
"""Rows that a walk over many pages reads at once."""

SEARCHED = 4000
"""Events that one page of a search looks into, beside others of the last one's microsecond."""

_TOGETHER = 100
"""Rows that leave the database's driver together: few enough to be still in the processor's cache."""


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
    variation: str | None


_Word = str | None
Fields = tuple[int, int, str, str, int, int, str, _Word, _Word, _Word, _Word, _Word, str, _Word]
"""As those of `EventRow`."""

Made = TypeVar("Made")
"""What is made of the fields of an event while it is read: what is not kept costs no time later."""


class EventPage(NamedTuple, Generic[Made]):
    """*next* is where the next page begins; None where nothing is left.

    Of a search a page may hold few rows, or none, and still have a next one.
    """

    rows: list[Made]
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
) -> EventPage[EventRow]:
    """At most *limit* events, the newest first, from behind *after*.

    *skip* leaves out the first ones; it is not for a search.
    """
    return _page(connection, project_id, wanted, EventRow._make, after, limit, skip, oldest_first)


def _page(
    connection: Connection,
    project_id: int,
    wanted: EventFilter,
    made: Callable[[Fields], Made],
    after: Position | None,
    limit: int,
    skip: int,
    oldest_first: bool,
) -> EventPage[Made]:
    place = place_of(connection, project_id, wanted, list(_own(project_id, wanted)))
    if place.kinds == []:
        return EventPage([], None)
    end_us = None
    if place.searched or place.kinds:
        # Of several kinds there may be three times as many.
        most = -(-SEARCHED // 3) if place.kinds else SEARCHED
        number = most if place.searched else skip + limit + 1
        after_us = None if after is None else after.occurred_us
        end_us = time_at(connection, place, number, after_us, oldest_first=oldest_first)
    if place.kinds and connection.dialect.name == "postgresql":
        # It takes the time of an event and its kind for independent, and would rather read all events.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    conditions = _behind(place, after, end_us, oldest_first=oldest_first)
    order = (_time, events.c.id) if oldest_first else (_time.desc(), events.c.id.desc())
    query = _SELECT_EVENTS.where(*conditions).order_by(*order)
    # Of a search the first ones may be enough.
    options = {"stream_results": wanted.property is not None}
    if wanted.property is None:
        query = query.limit(limit + 1).offset(skip)
        if not place.in_order:
            # The numbers first, as whole events take longer to sort.
            query = _SELECT_EVENTS.where(events.c.id.in_(query.with_only_columns(events.c.id)))
            query = query.order_by(*order)
    with connection.execute(query, execution_options=options) as found:
        rows, last = _first(_matching(_fetched(found), wanted.property), limit, made)
    if last is not None or end_us is None:
        return EventPage(rows, last)
    # All events of that microsecond were looked into: the next page begins behind any of their numbers.
    return EventPage(rows, Position(end_us + 1 if oldest_first else end_us, 0))


def _fetched(found: CursorResult[*tuple[Any, ...]]) -> Iterator[Sequence[Fields]]:
    """The driver's own tuples: a `Row` of each would take a tenth of the time of an export."""
    while some := found.cursor_strategy.fetchmany(found, found.cursor, _TOGETHER):
        yield some


def _matching(found: Iterable[Sequence[Fields]], wanted: PropertyEquals | None) -> Iterable[Sequence[Fields]]:
    """Of *found* those that have what is *wanted*."""
    if wanted is None:
        return found
    # The last word is ours: the databases differ in how they read names, numbers and escapes in JSON.
    has = having(wanted)
    return ([event for event in some if has(EventRow._make(event).properties)] for some in found)


def _first(
    found: Iterable[Sequence[Fields]], limit: int, made: Callable[[Fields], Made]
) -> tuple[list[Made], Position | None]:
    """The first *limit* of *found*, and where they end if there are more."""
    rows: list[Made] = []
    last: Fields | None = None
    for some in found:
        taken = some[: limit - len(rows)]
        rows += map(made, taken)
        if taken:
            last = taken[-1]
        if last is not None and len(taken) < len(some):
            end = EventRow._make(last)
            return rows, Position(end.occurred_us, end.id)
    return rows, None


def all_events(
    engine: Engine,
    project_id: int,
    wanted: EventFilter,
    made: Callable[[Fields], Made],
    *,
    after: Position | None = None,
    limit: int | None = None,
    skip: int = 0,
    oldest_first: bool = False,
) -> Iterator[list[Made]]:
    """What is *made* of each event, as `events_page` finds them, without an end, in lists of at most PAGE.

    Each list is a short transaction of its own: however slowly they are taken, memory stays flat and
    no old moment has to be kept by the database.
    """
    while limit is None or limit > 0:
        with reading(engine) as connection:
            size = PAGE if limit is None else min(PAGE, limit)
            page = _page(connection, project_id, wanted, made, after, size, skip, oldest_first)
        yield page.rows
        if page.next is None:
            return
        after, skip = page.next, 0
        limit = None if limit is None else limit - len(page.rows)


_time = events.c.occurred_us
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
    events.c.variation,
)


def _own(project_id: int, wanted: EventFilter) -> Iterator[ColumnElement[bool]]:
    """Events are of a customer, or about a letter."""
    if wanted.customer:
        yield events.c.customer_id == _holder(project_id, wanted.customer)
    if wanted.mailing is not None:
        of_project = select(mailings.c.id).where(
            mailings.c.id == wanted.mailing, mailings.c.project_id == project_id
        )
        yield events.c.mailing_id == of_project.scalar_subquery()


def _behind(
    place: Place, after: Position | None, end_us: int | None, *, oldest_first: bool
) -> Iterator[ColumnElement[bool]]:
    """For events of *place* from behind *after* on, and up to the time *end_us*."""
    yield from place.conditions
    if place.kinds:
        yield events.c.kind_id.in_(place.kinds)
    since_us, until_us = place.since_us, place.until_us
    if end_us is not None and oldest_first:
        until_us = end_us + 1
    elif end_us is not None:
        since_us = end_us
    if since_us > 0:
        yield _time >= since_us
    if until_us < NEVER_US:
        yield _time < until_us
    if after:
        there = tuple_(_time, events.c.id)
        yield there > after if oldest_first else there < after
    yield from place.searched


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
