"""Who gets no letter: what is asked about it, and the statements that add and lift.

Rows are never deleted; a lifted one stays as a trace.  When customers merge, receiver.store.writes
moves the suppressions to who is left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, select

from receiver.domain.commands import ExternalId
from receiver.store.mailings import Kind
from receiver.store.sets import Insert, Row, Transaction
from receiver.store.tables import customer_ids, suppressions

Ids = dict[str, list[str]]
"""All IDs of a customer by kind; of one kind the least recently used value first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionFilter:
    """Which suppressions; what is None does not matter.

    Attributes:
        customer: the number of a customer.
        lifted: also those that were lifted.
    """

    kind: str | None = None
    customer: int | None = None
    lifted: bool = False


class SuppressionRow(NamedTuple):
    """One suppression; *mailing_id* is the letter that told, None where a person did."""

    id: int
    customer_id: int
    kind: str
    note: str
    mailing_id: str | None
    created_us: int
    lifted_us: int | None


class SuppressionPage(NamedTuple):
    """*ids* are those of each customer; *next* is the number behind which the next page begins."""

    rows: list[SuppressionRow]
    ids: dict[int, Ids]
    next: int | None


_COLUMNS = tuple(suppressions.c[name] for name in SuppressionRow._fields)


def suppressions_page(
    connection: Connection,
    project_id: int,
    wanted: SuppressionFilter,
    *,
    after: int | None = None,
    limit: int,
) -> SuppressionPage:
    """At most *limit* suppressions, the newest first, from behind *after*."""
    query = select(*_COLUMNS).where(suppressions.c.project_id == project_id)
    if wanted.kind is not None:
        query = query.where(suppressions.c.kind == wanted.kind)
    if wanted.customer is not None:
        query = query.where(suppressions.c.customer_id == wanted.customer)
    if not wanted.lifted:
        query = query.where(suppressions.c.lifted_us.is_(None))
    if after is not None:
        query = query.where(suppressions.c.id < after)
    query = query.order_by(suppressions.c.id.desc()).limit(limit + 1)
    rows = list(map(SuppressionRow._make, connection.execute(query)))
    following = rows[limit - 1].id if len(rows) > limit else None
    return SuppressionPage(rows[:limit], _ids_of(connection, rows[:limit]), following)


def find(connection: Connection, project_id: int, numbers: Iterable[int]) -> SuppressionPage:
    """The suppressions with these *numbers*, all on one page."""
    query = select(*_COLUMNS).where(
        suppressions.c.project_id == project_id, suppressions.c.id.in_(list(numbers))
    )
    rows = list(map(SuppressionRow._make, connection.execute(query.order_by(suppressions.c.id.desc()))))
    return SuppressionPage(rows, _ids_of(connection, rows), None)


def _ids_of(connection: Connection, rows: Sequence[SuppressionRow]) -> dict[int, Ids]:
    columns = customer_ids.c
    query = (
        select(columns.customer_id, columns.kind, columns.value)
        .where(columns.customer_id.in_({row.customer_id for row in rows}))
        .order_by(columns.kind, columns.used_us, columns.value)
    )
    found: dict[int, Ids] = {}
    for customer, kind, value in connection.execute(query):
        found.setdefault(customer, {}).setdefault(kind, []).append(value)
    return found


# -- under the lock -------------------------------------------------------------------------------


def newest_address(transaction: Transaction, customer: int) -> bytes | None:
    """The key of the address of the customer's newest letter that has one."""
    rows = transaction.execute(
        "SELECT address_key FROM mailings WHERE customer_id = ? AND address_key IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        (customer,),
    )()
    return bytes(rows[0][0]) if rows else None


def open_one(transaction: Transaction, customer: int, kind: Kind, address_key: bytes | None) -> int | None:
    """The number of the open suppression that says the same."""
    rows = transaction.execute(
        "SELECT id, address_key FROM suppressions"
        " WHERE customer_id = ? AND kind = ? AND lifted_us IS NULL ORDER BY id",
        (customer, kind.value),
    )()
    return next((number for number, key in rows if (key and bytes(key)) == address_key), None)


_INSERT = Insert(suppressions)


def add(transaction: Transaction, row: Row) -> None:
    """*row* in the order of the columns of the table."""
    transaction.insert(_INSERT, [row])


def exists(transaction: Transaction, project_id: int, number: int) -> bool:
    """Whether there is a suppression with this number, open or lifted."""
    return bool(
        transaction.execute(
            "SELECT 1 FROM suppressions WHERE id = ? AND project_id = ?", (number, project_id)
        )()
    )


def lift(transaction: Transaction, project_id: int, number: int, now_us: int) -> list[int]:
    """Lift the one with this *number*; the numbers of those that were open."""
    rows = transaction.execute(
        "UPDATE suppressions SET lifted_us = ?"
        " WHERE id = ? AND project_id = ? AND lifted_us IS NULL RETURNING id",
        (now_us, number, project_id),
    )()
    return [number for (number,) in rows]


def lift_of(
    transaction: Transaction, project_id: int, customer: ExternalId, kind: Kind | None, now_us: int
) -> list[int]:
    """Lift all of whoever holds this ID, or those of one *kind*; the numbers of those that were open."""
    which, place = ("", ()) if kind is None else (" AND kind = ?", (kind.value,))
    rows = transaction.execute(
        "UPDATE suppressions SET lifted_us = ? WHERE lifted_us IS NULL AND customer_id ="
        " (SELECT i.customer_id FROM customer_ids AS i"
        f" WHERE i.project_id = ? AND i.kind = ? AND i.value = ?){which} RETURNING id",
        (now_us, project_id, *customer, *place),
    )()
    return [number for (number,) in rows]
