"""What is asked about events: statements that only read.

Times are microseconds; a period includes its ``since_us`` and excludes its ``until_us``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, CursorResult, Engine, Select, select

from receiver.domain.properties import PropertyEquals, having
from receiver.store import event_statements
from receiver.store.event_places import NEVER_US, EventFilter, Place, place_of, time_at
from receiver.store.event_rows import EventRow as EventRow
from receiver.store.event_rows import Fields as Fields
from receiver.store.event_rows import Made as Made
from receiver.store.event_rows import Part, Read, Told, whole
from receiver.store.event_rows import Position as Position
from receiver.store.event_statements import Form
from receiver.store.tables import projects

PAGE = 5000
"""Rows that a walk over many pages reads at once."""

SEARCHED = 4000
"""Events that one page of a search looks into, beside others of the last one's microsecond."""

_TOGETHER = 100
"""Rows that leave the database's driver together: few enough to be still in the processor's cache."""


@contextmanager
def reading(engine: Engine, *, once: bool = False) -> Iterator[Connection]:
    """A transaction whose statements all see the same moment, and that cannot write.

    *once* is for a single statement, which sees one moment by itself: there is then no transaction, to
    begin and end which would take as long as a small question.
    """
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.execution_options(once=once)
        elif once:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield connection


def find_project(connection: Connection, token: str) -> int | None:
    """The number of the project with this token."""
    return connection.execute(select(projects.c.id).where(projects.c.token == token)).scalar()


# -- events ---------------------------------------------------------------------------------------


def _each(made: Callable[[Fields], Made]) -> Told[list[Made]]:
    return whole(lambda some: list(map(made, some)))


class EventPage(NamedTuple):
    """As `Read`."""

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

    *skip* leaves out the first ones; it is not for a search.
    """
    part = Part(after, limit, skip, oldest_first)
    page = read_page(connection, project_id, wanted, _each(EventRow._make), part)
    return EventPage(list(chain.from_iterable(page.made)), page.next)


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
    """What is *made* of each event, as `events_page` finds them, without an end, in lists of at most PAGE."""
    part = Part(after, limit, skip, oldest_first)
    for page in read_pages(engine, project_id, wanted, _each(made), part):
        yield list(chain.from_iterable(page))


def read_pages(
    engine: Engine, project_id: int, wanted: EventFilter, told: Told[Made], part: Part
) -> Iterator[list[Made]]:
    """What is made of all events, in lists for at most PAGE.

    Each list is a short transaction of its own: however slowly they are taken, memory stays flat and
    no old moment has to be kept by the database.
    """
    while part.limit is None or part.limit > 0:
        size = PAGE if part.limit is None else min(PAGE, part.limit)
        with reading(engine, once=is_one_statement(wanted)) as connection:
            page = read_page(connection, project_id, wanted, told, part._replace(limit=size))
        yield page.made
        if page.next is None:
            return
        left = None if part.limit is None else part.limit - page.events
        part = Part(page.next, left, oldest_first=part.oldest_first)


def is_one_statement(wanted: EventFilter) -> bool:
    """A page is found at once."""
    return bool(wanted.customer or wanted.mailing is not None) and wanted.property is None


def read_page(
    connection: Connection, project_id: int, wanted: EventFilter, told: Told[Made], part: Part
) -> Read[Made]:
    """What is made of the events of one page: PAGE of them unless *part* says."""
    after, limit, skip, oldest_first = part
    limit = PAGE if limit is None else limit
    place = place_of(connection, project_id, wanted)
    if place.kinds == []:
        return Read([], 0, None)
    end_us = None
    if place.is_searched or place.kinds:
        # Of several kinds there may be three times as many.
        most = -(-SEARCHED // 3) if place.kinds else SEARCHED
        number = most if place.is_searched else skip + limit + 1
        after_us = None if after is None else after.occurred_us
        end_us = time_at(connection, place, number, after_us, oldest_first=oldest_first)
    if place.kinds and connection.dialect.name == "postgresql":
        # It takes the time of an event and its kind for independent, and would rather read all events.
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    found = _found(connection, place, wanted.property, told, part._replace(limit=limit), end_us)
    made, number, last = _first(found, limit, told)
    if last is not None or end_us is None:
        return Read(made, number, last)
    # All events of that microsecond were looked into: the next page begins behind any of their numbers.
    return Read(made, number, Position(end_us + 1 if oldest_first else end_us, 0))


def _found(
    connection: Connection,
    place: Place,
    wanted: PropertyEquals | None,
    told: Told[Any],
    part: Part,
    end_us: int | None,
) -> Iterator[Sequence[Any]]:
    """Events of *place* that have what is *wanted*, a few at a time, up to the time *end_us*: one more than
    the limit of *part*, or all that there are."""
    assert part.limit is not None
    most = part.limit + 1
    statement, values = _statement(place, told.form, part, end_us)
    streamed = {"stream_results": connection.dialect.name == "postgresql"}
    if wanted is None:
        options = streamed if most > _TOGETHER else {}
        with connection.execute(
            statement(every=False), {**values, "most": most}, execution_options=options
        ) as found:
            yield from _fetched(found)
        return
    # The last word is ours: the databases differ in how they read names, numbers and escapes in JSON.
    has, where = having(wanted), told.row._fields.index("properties")
    with connection.execute(statement(every=False), {**values, "most": 2 * most}) as found:
        likely = list(chain.from_iterable(_fetched(found)))
    having_it = list(islice((event for event in likely if has(event[where])), most))
    if len(likely) < 2 * most or len(having_it) >= most:
        yield having_it
        return
    # The database was often wrong.
    with connection.execute(statement(every=True), values, execution_options=streamed) as found:
        for some in _fetched(found):
            yield [event for event in some if has(event[where])]


def _statement(
    place: Place, form: Form, part: Part, end_us: int | None
) -> tuple[Callable[..., Select[Any]], dict[str, Any]]:
    """For *part* of the events of *place*, up to the time *end_us*; with its values but how many."""
    since_us, until_us = place.since_us, place.until_us
    if end_us is not None and part.oldest_first:
        until_us = end_us + 1
    elif end_us is not None:
        since_us = end_us
    values = {"kinds": place.kinds, "since_us": since_us, "until_us": until_us, "skip": part.skip}
    if part.after is not None:
        values |= {"after_us": part.after.occurred_us, "after_id": part.after.id}
    bounds = {"after": part.after is not None, "since": since_us > 0, "until": until_us < NEVER_US}

    order = {"oldest_first": part.oldest_first}
    return partial(event_statements.page, place.shape, form, **bounds, **order), {**place.values, **values}


def _fetched(found: CursorResult[*tuple[Any, ...]]) -> Iterator[Sequence[Any]]:
    """The driver's own tuples: a `Row` of each would take a tenth of the time of an export."""
    while some := found.cursor_strategy.fetchmany(found, found.cursor, _TOGETHER):
        yield some


def _first(
    found: Iterable[Sequence[Any]], limit: int, told: Told[Made]
) -> tuple[list[Made], int, Position | None]:
    """What is made of the first *limit* of *found*, how many they are, where they end if there are more."""
    made: list[Made] = []
    number, last = 0, None
    for some in found:
        taken = some[: limit - number]
        if taken:
            made.append(told.made(taken))
            number, last = number + len(taken), taken[-1]
        if last is not None and len(taken) < len(some):
            end = told.row._make(last)
            return made, number, Position(end.occurred_us, end.id)
    return made, number, None
