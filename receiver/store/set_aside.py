"""Commands of the outbox that were set aside: which there are, and what people decide about the outbox.

Functions that take a `Transaction` belong to one that holds the one lock (receiver.store.writes).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, func, select

from receiver.store import outbox as rows
from receiver.store import relay_pump
from receiver.store.relay_status import Aside
from receiver.store.sets import Given, Transaction
from receiver.store.tables import events, outbox


class WhichAside(NamedTuple):
    """Which of them; what is None does not matter.

    Attributes:
        message: the vendor's words, exactly.
        event_type, campaign: customer updates have neither.
        since_us, until_us: set aside not before the one, and before the other.
    """

    reason: str | None = None
    message: str | None = None
    event_type: str | None = None
    campaign: str | None = None
    since_us: int | None = None
    until_us: int | None = None


class AsideRow(NamedTuple):
    """One of them; *customer_ids* is the JSON text of an object, as received.

    Of a customer update *type*, *campaign*, *status* and *occurred_us* are None.
    """

    id: int
    given_us: int
    set_aside_us: int
    reason: str
    message: str
    type: str | None
    campaign: str | None
    status: str | None
    occurred_us: int | None
    customer_id: int | None
    customer_ids: str | None


_WITH_EVENTS = outbox.outerjoin(events, events.c.id == outbox.c.id)
_COLUMNS = (
    *(outbox.c[name] for name in ("id", "given_us", "set_aside_us", "reason", "message")),
    *(events.c[name] for name in ("type", "campaign", "status", "occurred_us")),
    func.coalesce(events.c.customer_id, outbox.c.customer_id),
    func.coalesce(events.c.ids, outbox.c.ids),
)


def aside_page(
    connection: Connection, project_id: int, wanted: WhichAside, *, after: int | None, limit: int
) -> list[AsideRow]:
    """At most *limit* of them, the highest numbers first, from behind the number *after*."""
    query = select(*_COLUMNS).select_from(_WITH_EVENTS).where(*_conditions(project_id, wanted, after))
    return [AsideRow(*row) for row in connection.execute(query.order_by(outbox.c.id.desc()).limit(limit))]


def aside_ids(
    connection: Connection, project_id: int, wanted: WhichAside, *, after: int | None, limit: int
) -> list[int]:
    """The numbers of such a page."""
    query = select(outbox.c.id).select_from(_WITH_EVENTS).where(*_conditions(project_id, wanted, after))
    return list(connection.execute(query.order_by(outbox.c.id.desc()).limit(limit)).scalars())


def how_many(connection: Connection, project_id: int, wanted: WhichAside) -> int:
    query = select(func.count()).select_from(_WITH_EVENTS).where(*_conditions(project_id, wanted))
    return connection.execute(query).scalar_one()


def aside_summary(connection: Connection, project_id: int) -> list[Aside]:
    """By reason and message, those of which there are most first."""
    when, number = outbox.c.set_aside_us, func.count()
    query = select(outbox.c.reason, outbox.c.message, number, func.min(when), func.max(when))
    query = query.where(outbox.c.project_id == project_id, when.is_not(None))
    query = query.group_by(outbox.c.reason, outbox.c.message)
    query = query.order_by(number.desc(), outbox.c.reason, outbox.c.message)
    return [Aside._make(row) for row in connection.execute(query)]


def _conditions(project_id: int, wanted: WhichAside, after: int | None = None) -> list[ColumnElement[bool]]:
    conditions = [outbox.c.project_id == project_id, outbox.c.set_aside_us.is_not(None)]
    for column, value in (
        (outbox.c.reason, wanted.reason),
        (outbox.c.message, wanted.message),
        (events.c.type, wanted.event_type),
        (events.c.campaign, wanted.campaign),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.since_us is not None:
        conditions.append(outbox.c.set_aside_us >= wanted.since_us)
    if wanted.until_us is not None:
        conditions.append(outbox.c.set_aside_us < wanted.until_us)
    if after is not None:
        conditions.append(outbox.c.id < after)
    return conditions


# -- what is decided ------------------------------------------------------------------------------

_ID: dict[str, Column[Any]] = {"id": Column("id", BigInteger)}
_OURS = "id IN (SELECT id FROM given) AND set_aside_us IS NOT NULL RETURNING project_id"
_PUT_BACK = Given(
    {**_ID, "given_us": outbox.c.given_us},
    "UPDATE outbox SET reason = NULL, message = NULL, set_aside_us = NULL, given_us = given.given_us"
    " FROM given WHERE outbox.id = given.id AND outbox.set_aside_us IS NOT NULL RETURNING outbox.project_id",
)
_DISCARD = Given(_ID, f"DELETE FROM outbox WHERE {_OURS}")


def put_back(transaction: Transaction, ids: Sequence[int], now_us: int) -> int:
    """Let those of *ids* that are set aside wait once more, since now; how many those were."""
    projects = [project for (project,) in transaction.run(_PUT_BACK, [(each, now_us) for each in ids])()]
    rows.count(transaction, now_us, retried=projects)
    relay_pump.rewind(transaction)
    return len(projects)


def discard(transaction: Transaction, ids: Sequence[int], now_us: int) -> int:
    """Let go of those of *ids* that are set aside, for good; how many those were."""
    projects = [project for (project,) in transaction.run(_DISCARD, [(each,) for each in ids])()]
    rows.count(transaction, now_us, discarded=projects)
    return len(projects)


def discard_waiting(transaction: Transaction, now_us: int) -> int:
    """Let go of some of what waits, the lowest numbers first; how many, 0 where nothing is left."""
    gone = transaction.execute(
        f"DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE {rows.WAITING} ORDER BY id"
        f" LIMIT {rows.MOST_TOGETHER}) RETURNING project_id"
    )()
    rows.count(transaction, now_us, withdrawn=[project for (project,) in gone])
    return len(gone)
