"""What became of the commands: the counters, and whether they agree with themselves and with the events.

Periods are counted by the hour: an hour that a period cuts is counted whole.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from receiver.domain.moments import DAY_US, HOUR_US
from receiver.store.tables import counters, events, withdrawn_events
from receiver.store.writes import Source


class Counts(NamedTuple):
    """Commands, by what became of them."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0

    def add_up(self) -> bool:
        return self.received == self.accepted + self.duplicate + self.rejected

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


class Span(NamedTuple):
    """One source within one day or hour (UTC), which begins at *begin_us*."""

    begin_us: int
    source: str


class Disagreement(NamedTuple):
    """An hour of a source whose counters are wrong; *events* are those that are kept of it."""

    hour: Span
    counts: Counts
    events: int


def outcomes(
    connection: Connection,
    project_id: int,
    since_us: int | None,
    until_us: int | None,
    *,
    span_us: int = DAY_US,
) -> dict[Span, Counts]:
    """The counters by day (or by *span_us*, whole hours) and source, in order."""
    begin = counters.c.hour_us // span_us * span_us
    sums = [func.sum(counters.c[name]) for name in Counts._fields]
    query = (
        select(begin, counters.c.source, *sums)
        .where(counters.c.project_id == project_id, *_within(counters.c.hour_us, since_us, until_us))
        .group_by(begin, counters.c.source)
        .order_by(begin, counters.c.source)
    )
    return {Span(at, source): Counts(*map(int, counts)) for at, source, *counts in connection.execute(query)}


def disagreements(
    connection: Connection, project_id: int, since_us: int | None, until_us: int | None
) -> list[Disagreement]:
    """Where the counters do not add up, or more events are kept than commands were accepted.

    Fewer are as they should be: accepted customer updates leave no event.  Reads every event of the
    project.
    """
    counted = outcomes(connection, project_id, since_us, until_us, span_us=HOUR_US)
    kept = _kept_events(connection, project_id, since_us, until_us)
    hours = [
        Disagreement(hour, counted.get(hour, Counts()), kept.get(hour, 0))
        for hour in sorted(counted.keys() | kept.keys())
    ]
    return [each for each in hours if not each.counts.add_up() or each.events > each.counts.accepted]


def _kept_events(
    connection: Connection, project_id: int, since_us: int | None, until_us: int | None
) -> dict[Span, int]:
    """Events of commands, also withdrawn ones, by the hour in which they were received and by source."""
    kept: Counter[Span] = Counter()
    for table in (events, withdrawn_events):
        begin = table.c.received_us // HOUR_US * HOUR_US
        query = (
            select(begin, table.c.source, func.count())
            .where(table.c.project_id == project_id, table.c.source != Source.IDENTITY)
            .where(*_within(table.c.received_us, since_us, until_us))
            .group_by(begin, table.c.source)
        )
        kept.update({Span(at, source): number for at, source, number in connection.execute(query)})
    return kept


def _within(
    time: ColumnElement[int], since_us: int | None, until_us: int | None
) -> Iterator[ColumnElement[bool]]:
    """*time* lies in an hour of the period."""
    if since_us is not None:
        yield time >= since_us - since_us % HOUR_US
    if until_us is not None:
        yield time < until_us + -until_us % HOUR_US
