"""What is asked about the properties of events: statements that only read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, func, select, true

from receiver.domain.property_counts import Properties, Values
from receiver.store import reports
from receiver.store.event_places import EventFilter
from receiver.store.reports import EventRow
from receiver.store.tables import event_kinds, events

MOST_OF_A_KIND = 50
MOST_SAMPLED = 20_000
"""Events that are read to learn which properties there are."""

MOST_PAGES = 50
"""Of events, that one answer by HTTP counts the values of: 100,000 events, or fewer that have a property."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFilter:
    """Which kinds of event; what is None does not matter."""

    type: str | None = None
    campaign: str | None = None
    status: str | None = None
    stage: str | None = None


def known_properties(connection: Connection, project_id: int, wanted: KindFilter) -> Properties:
    """What the newest events of each kind have, MOST_OF_A_KIND of it or as many as MOST_SAMPLED allows.

    Of more than MOST_SAMPLED kinds it is the most frequent ones.
    """
    found = Properties()
    conditions = list(_conditions(project_id, wanted))
    kinds = connection.execute(select(func.count()).select_from(event_kinds).where(*conditions)).scalar_one()
    of_each = min(MOST_OF_A_KIND, max(1, MOST_SAMPLED // max(1, kinds)))
    query = _sample(connection.dialect.name, conditions, of_each)
    # Row by row, because an event may be large.
    with connection.execute(query, execution_options={"stream_results": True}) as rows:
        for (_, number), sample in groupby(rows, itemgetter(0, 1)):
            found.add(number, (properties for *_, properties in sample))
    return found


def _conditions(project_id: int, wanted: KindFilter) -> Iterator[ColumnElement[bool]]:
    yield event_kinds.c.project_id == project_id
    yield event_kinds.c.events > 0
    for name in KindFilter.__slots__:
        if (value := getattr(wanted, name)) is not None:
            yield event_kinds.c[name] == value


def _sample(dialect: str, conditions: list[ColumnElement[bool]], of_each: int) -> Select[Any]:
    """(kind, how many events are of it, properties of one) of the newest *of_each* of each kind."""
    kinds = (
        select(event_kinds.c.id, event_kinds.c.events)
        .where(*conditions)
        .order_by(event_kinds.c.events.desc(), event_kinds.c.id)
        .limit(MOST_SAMPLED)
        .subquery("kinds")
    )
    newest = select(events.c.properties).where(events.c.kind_id == kinds.c.id)
    newest = newest.order_by(events.c.occurred_us.desc()).limit(of_each)
    of_kind = kinds.c.id, kinds.c.events
    if dialect == "sqlite":
        # It knows no lateral join, but asks for such a list once for each kind.
        ids = newest.with_only_columns(events.c.id).correlate(kinds)
        found = select(*of_kind, events.c.properties).join_from(kinds, events, events.c.id.in_(ids))
    else:
        one = newest.lateral("newest")
        found = select(*of_kind, one.c.properties).join_from(kinds, one, true())
    return found.order_by(kinds.c.id)


def count_values(
    engine: Engine,
    project_id: int,
    wanted: EventFilter,
    name: str,
    *,
    most_pages: int | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> tuple[Values, bool]:
    """The values of the property *name*, and whether all events that match are counted.

    Without *most_pages* they are; else it is the newest.  *report* is told how many more are.
    """
    values = Values(name)
    for number, page in enumerate(reports.all_events(engine, project_id, wanted, EventRow._make)):
        if number == most_pages:
            return values, False
        for event in page:
            values.add(event.properties, event.occurred_us)
        report(len(page))
    return values, True
