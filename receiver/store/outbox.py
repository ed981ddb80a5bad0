"""The outbox: what is accepted and yet to be relayed to Bloomreach.

A row is written in the transaction that accepts its command, and leaves in the one that writes down that
it was sent, so that the table holds what waits, what was set aside, and nothing else.  Each row that comes
or leaves is counted beside it, so that the two can be compared.

Functions that take a `Transaction` belong to one that holds the one lock (receiver.store.writes).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Text, text

from receiver.domain.moments import hour_of
from receiver.store.sets import Given, Insert, Row, Transaction
from receiver.store.tables import outbox, outbox_hours


class Reason(StrEnum):
    """Why a command was set aside."""

    REFUSED = "refused"  # by the vendor, this one alone
    UNREADABLE = "unreadable"  # the vendor refused any request that held it
    NO_CUSTOMER_ID = "no_customer_id"  # it would have gone out with an empty one


WAITING = "set_aside_us IS NULL"

# Of a page, in characters: an event may have 800,000.
_MOST_SIZE = 4_000_000

MOST_TOGETHER = 5000
"""Rows that one transaction gives, puts back or lets go."""


def _columns(**types: Any) -> dict[str, Column[Any]]:
    return {name: Column(name, kind) for name, kind in types.items()}


# -- what receiver.store.writes runs beside its own -----------------------------------------------

GIVE = Insert(outbox, columns=("id", "project_id", "given_us"))
GIVE_UPDATES = Insert(outbox, columns=("id", "project_id", "customer_id", "given_us", "ids", "body"))
_COUNTS = ("given", "sent", "set_aside", "retried", "withdrawn", "discarded")
RAISE = Insert(
    outbox_hours,
    "ON CONFLICT (project_id, hour_us) DO UPDATE SET "
    + ", ".join(f"{name} = outbox_hours.{name} + excluded.{name}" for name in _COUNTS),
)
"""Rows of (project, hour, then a number for each of the counts, in the order of the table)."""

MERGE = Given(
    _columns(source=BigInteger, survivor=BigInteger),
    "UPDATE outbox SET customer_id = given.survivor FROM given WHERE outbox.customer_id = given.source",
)


Place = tuple[int, int]
"""A project and the beginning of an hour."""


def raised(**counts: Mapping[Place, int]) -> list[Row]:
    """Rows of `RAISE`: by the name of a count how many in each place."""
    places = sorted({place for of_count in counts.values() for place in of_count})
    return [(*place, *(counts.get(name, {}).get(place, 0) for name in _COUNTS)) for place in places]


def count(transaction: Transaction, now_us: int, **projects: Iterable[int]) -> None:
    """By the name of a count the project of each command that did so now."""
    hour_us = hour_of(now_us)
    rows = raised(**{name: Counter((each, hour_us) for each in ids) for name, ids in projects.items()})
    if rows:
        transaction.insert(RAISE, rows)


# -- on and off -----------------------------------------------------------------------------------


def switch_on(transaction: Transaction) -> None:
    """From now on what is accepted is given to the outbox; nothing happens where it is already."""
    transaction.execute("UPDATE ledger SET relay_from = last_id + 1 WHERE relay_from IS NULL")


def switch_off(transaction: Transaction) -> None:
    """Nothing more is given to the outbox; what waits there stays."""
    rows = transaction.execute("SELECT relay_from, last_id FROM ledger WHERE relay_from IS NOT NULL")()
    for first_id, last_id in rows:
        if first_id <= last_id:
            add_span(transaction, first_id, last_id)
    transaction.execute("UPDATE ledger SET relay_from = NULL WHERE id = 1")


def is_on(connection: Connection) -> bool:
    return connection.execute(text("SELECT relay_from FROM ledger")).scalar() is not None


def add_span(transaction: Transaction, first_id: int, last_id: int) -> None:
    """All of these numbers that is to be relayed was given; spans that touch become one."""
    touching = transaction.execute(
        "DELETE FROM outbox_spans WHERE last_id = ? OR first_id = ? RETURNING first_id, last_id",
        (first_id - 1, last_id + 1),
    )()
    whole = (
        min([first_id, *(first for first, _ in touching)]),
        max([last_id, *(last for _, last in touching)]),
    )
    transaction.execute("INSERT INTO outbox_spans (first_id, last_id) VALUES (?, ?)", whole)


# -- what is sent ---------------------------------------------------------------------------------


class Waiting(NamedTuple):
    """A command that waits: a customer update has a *body*, an event the fields that follow.

    Where it has neither the event is no more.  *ids*, *body* and *properties* are JSON texts of objects.
    """

    id: int
    project_id: int
    customer_id: int | None
    ids: str | None
    body: str | None
    type: str | None
    occurred_us: int | None
    properties: str | None


_SIZE = "coalesce(length(e.properties), length(o.body), 0)"
_PAGE = text(
    f"SELECT {', '.join(Waiting._fields)} FROM (SELECT o.id, o.project_id,"
    " coalesce(e.customer_id, o.customer_id) AS customer_id, coalesce(e.ids, o.ids) AS ids, o.body,"
    f" e.type, e.occurred_us, e.properties, sum({_SIZE}) OVER (ORDER BY o.id) - {_SIZE} AS before"
    f" FROM (SELECT * FROM outbox WHERE id > :after AND {WAITING} ORDER BY id LIMIT :limit) AS o"
    f" LEFT JOIN events AS e ON e.id = o.id) AS page WHERE before < {_MOST_SIZE} ORDER BY id"
)
_IDS_OF = (
    "SELECT customer_id, kind, value FROM customer_ids WHERE customer_id IN ({})"
    " ORDER BY customer_id, used_us, kind, value"
)


def page(connection: Connection, *, after: int, limit: int) -> list[Waiting]:
    """What waits behind the number *after*, in the order in which it was accepted.

    At most *limit* commands, and fewer where they are large.
    """
    return [Waiting(*row) for row in connection.execute(_PAGE, {"after": after, "limit": limit})]


def current_ids(connection: Connection, customers: Iterable[int]) -> dict[int, dict[str, str]]:
    """The IDs that each customer has now: of a kind with several the one that was used last."""
    found: dict[int, dict[str, str]] = {}
    numbers = ", ".join(str(int(each)) for each in sorted(set(customers)))
    for customer, kind, value in connection.execute(text(_IDS_OF.format(numbers))) if numbers else ():
        found.setdefault(customer, {})[kind] = value
    return found


_ID = _columns(id=BigInteger)
# Not RETURNING ... IS NULL, which SQLite 3.40 answers as if no column could be null.
_LEAVE = Given(
    _ID, "DELETE FROM outbox WHERE id IN (SELECT id FROM given) RETURNING project_id, set_aside_us"
)
_SET_ASIDE = Given(
    _columns(id=BigInteger, reason=Text, message=Text, set_aside_us=BigInteger),
    "UPDATE outbox SET reason = given.reason, message = given.message, set_aside_us = given.set_aside_us"
    f" FROM given WHERE outbox.id = given.id AND outbox.{WAITING} RETURNING outbox.project_id",
)


class SetAside(NamedTuple):
    """A command that must not go out again before somebody has looked at it."""

    id: int
    reason: Reason
    message: str


def settle(
    transaction: Transaction,
    sent: Sequence[int],
    refused: Sequence[SetAside],
    gone: Sequence[int],
    now_us: int,
) -> None:
    """Write down what became of commands: *sent*, *refused*, or withdrawn (*gone*) meanwhile."""
    refusals = [(each.id, each.reason.value, each.message, now_us) for each in refused]
    sent_rows = transaction.run(_LEAVE, [(each,) for each in sent]) if sent else tuple
    set_aside = transaction.run(_SET_ASIDE, refusals) if refused else tuple
    # Somebody else may have set it aside before it was written down that it was sent.
    counts = {
        "sent": [project for project, _ in sent_rows()],
        "retried": [project for project, set_aside_us in sent_rows() if set_aside_us is not None],
        "set_aside": [project for (project,) in set_aside()],
    }
    count(transaction, now_us, **counts)
    if gone:
        withdraw(transaction, gone, now_us)


def withdraw(transaction: Transaction, events: Sequence[int], now_us: int) -> None:
    """These events are taken back: those that were not sent never will be."""
    rows = transaction.run(_LEAVE, [(each,) for each in events])()
    count(
        transaction,
        now_us,
        withdrawn=[project for project, set_aside_us in rows if set_aside_us is None],
        discarded=[project for project, set_aside_us in rows if set_aside_us is not None],
    )
