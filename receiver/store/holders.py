"""Who holds an ID, and the IDs and properties of them: statements that only read."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    Select,
    func,
    literal_column,
    select,
    union_all,
)

from receiver.domain.commands import ExternalId
from receiver.store.event_places import values_of_ids
from receiver.store.event_statements import holder
from receiver.store.tables import customer_ids, customer_properties


class HeldId(NamedTuple):
    """An ID that the customer has now; *used_us* is as receiver.domain.identity.Holding has it."""

    kind: str
    value: str
    used_us: int


class Property(NamedTuple):
    """*value* is a JSON text; it holds since *updated_us*."""

    name: str
    value: str
    updated_us: int


class Holder(NamedTuple):
    """Who holds an ID.

    Attributes:
        number: of the customer.
        ids: by kind; of one kind in the order of their last use, the last one last.
        properties: in the order of their names.
    """

    number: int
    ids: Sequence[HeldId]
    properties: Sequence[Property]

    def values(self) -> dict[str, list[str]]:
        """The values of the IDs by kind, in their order."""
        found: dict[str, list[str]] = {}
        for kind, value, _ in self.ids:
            found.setdefault(kind, []).append(value)
        return found


def customer_of(connection: Connection, project_id: int, ids: Sequence[ExternalId]) -> int | None:
    """Who holds the first of *ids* (at least one) that anybody holds."""
    return connection.execute(_number(len(ids)), _values(project_id, ids)).scalar()


def find_holder(connection: Connection, project_id: int, ids: Sequence[ExternalId]) -> Holder | None:
    """The same, with what is known of them; one statement."""
    rows = connection.execute(_all(len(ids)), _values(project_id, ids)).all()
    if not rows:
        return None
    held = [HeldId(name, value, at_us) for _, is_id, _, name, value, at_us in rows if is_id]
    properties = [Property(name, value, at_us) for _, is_id, _, name, value, at_us in rows if not is_id]
    return Holder(rows[0][0], held, properties)


def _values(project_id: int, ids: Sequence[ExternalId]) -> dict[str, Any]:
    return {"project_id": project_id, **values_of_ids(ids)}


# Made once: it takes longer to build such a statement than to run it.
@cache
def _number(ids: int) -> Select[int]:
    return select(holder(ids))


@cache
def _all(ids: int) -> Select[Any]:
    """(customer, whether it is an ID, its place, kind or name, value, since when)."""
    held, properties = customer_ids.c, customer_properties.c
    of_ids = _part(ids, 1, (held.kind, held.used_us, held.value), held.kind, held.value, held.used_us)
    of_properties = _part(
        ids, 0, (properties.name,), properties.name, properties.value, properties.updated_us
    )
    both = union_all(of_ids, of_properties).subquery("known")
    return select(both).order_by(both.c.is_id, both.c.place)


def _part(
    ids: int, is_id: int, order: Sequence[Column[Any]], *columns: Column[Any]
) -> Select[tuple[Any, ...]]:
    customer: ColumnElement[int] = columns[0].table.c.customer_id
    # Numbered by the database, whose order of names may be that of a language.
    place = func.row_number().over(order_by=order).label("place")
    kind = literal_column(str(is_id), Integer).label("is_id")
    names = [column.label(name) for column, name in zip(columns, ("name", "value", "at_us"), strict=True)]
    return select(customer, kind, place, *names).where(customer == holder(ids))
