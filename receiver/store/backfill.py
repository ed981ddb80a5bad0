"""Events from before the relay was on, or from while it was off: which were never given to the outbox.

Functions that take a `Transaction` belong to one that holds the one lock (receiver.store.writes).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from receiver.store import outbox, relay_pump
from receiver.store.sets import Transaction
from receiver.store.tables import events, ledger, outbox_spans

Span = tuple[int, int]
"""The first and the last one of some numbers."""


class Missing(NamedTuple):
    """Events that were never given; *first_us* and *last_us* are when they were received."""

    project_id: int
    source: str
    events: int
    first_us: int
    last_us: int


class Filled(NamedTuple):
    """So many events were given; *next_id* is the number to go on at."""

    given: int
    next_id: int


def first_event(connection: Connection, since_us: int) -> int | None:
    """The lowest number of an event that was received since then; None where there is none."""
    return connection.execute(select(func.min(events.c.id)).where(events.c.received_us >= since_us)).scalar()


def last_number(connection: Connection) -> int:
    """The last number that anything was given."""
    return connection.execute(select(ledger.c.last_id)).scalar_one()


def missing(connection: Connection, first_id: int, sources: Sequence[str]) -> list[Missing]:
    """What `fill` would give from *first_id* on, by project and source; reads all of it."""
    relay_from, last_id = connection.execute(select(ledger.c.relay_from, ledger.c.last_id)).one()
    spans = select(outbox_spans.c.first_id, outbox_spans.c.last_id).where(outbox_spans.c.last_id >= first_id)
    given = [(first, last) for first, last in connection.execute(spans.order_by(outbox_spans.c.first_id))]
    found: dict[tuple[int, str], Missing] = {}
    for first, last in _gaps(first_id, _last(relay_from, last_id), given):
        received = events.c.received_us
        query = (
            select(events.c.project_id, events.c.source, func.count(), func.min(received), func.max(received))
            .where(events.c.id.between(first, last), events.c.source.in_(sources))
            .group_by(events.c.project_id, events.c.source)
        )
        for row in map(Missing._make, connection.execute(query)):
            place = row.project_id, row.source
            found[place] = _together(found[place], row) if place in found else row
    return [found[place] for place in sorted(found)]


def fill(transaction: Transaction, first_id: int, sources: Sequence[str], now_us: int) -> Filled | None:
    """Give the outbox the next events from *first_id* on that it was not given; None where all were.

    At most `outbox.MOST_TOGETHER`, and all that is to be relayed of the numbers they stand among: those
    count as given from now on.
    """
    ((relay_from, last_id),) = transaction.execute("SELECT relay_from, last_id FROM ledger")()
    given = transaction.execute(
        "SELECT first_id, last_id FROM outbox_spans WHERE last_id >= ? ORDER BY first_id", (first_id,)
    )()
    gap = next(_gaps(first_id, _last(relay_from, last_id), given), None)
    if gap is None:
        return None
    first, last = gap[0], _end(transaction, gap)
    projects = transaction.execute(
        # The type must be said, as PostgreSQL takes what it selects for text.
        "INSERT INTO outbox (id, project_id, given_us) SELECT id, project_id, CAST(? AS BIGINT) FROM events"
        f" WHERE id BETWEEN ? AND ? AND source IN ({', '.join('?' * len(sources))}) RETURNING project_id",
        (now_us, first, last, *sources),
    )()
    outbox.count(transaction, now_us, given=[project for (project,) in projects])
    outbox.add_span(transaction, first, last)
    relay_pump.rewind(transaction)
    return Filled(len(projects), last + 1)


def _end(transaction: Transaction, gap: Span) -> int:
    """The last number of *gap* that one transaction gets to."""
    ((number, highest),) = transaction.execute(
        "SELECT count(*), max(id) FROM (SELECT id FROM events WHERE id BETWEEN ? AND ?"
        f" ORDER BY id LIMIT {outbox.MOST_TOGETHER}) AS next_ones",
        gap,
    )()
    return gap[1] if number < outbox.MOST_TOGETHER else int(highest)


def _last(relay_from: int | None, last_id: int) -> int:
    """The last number that is not given anyway."""
    return last_id if relay_from is None else relay_from - 1


def _gaps(first: int, last: int, given: Iterable[Sequence[int]]) -> Iterator[Span]:
    """What of the numbers from *first* to *last* is in none of *given*, in order as those are."""
    for begin, end in given:
        if begin > last:
            break
        if begin > first:
            yield first, begin - 1
        first = max(first, end + 1)
    if first <= last:
        yield first, last


def _together(one: Missing, other: Missing) -> Missing:
    return one._replace(
        events=one.events + other.events,
        first_us=min(one.first_us, other.first_us),
        last_us=max(one.last_us, other.last_us),
    )
