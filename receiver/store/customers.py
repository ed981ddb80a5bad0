"""All customers of a project, for who takes them elsewhere: statements that only read."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, select

from receiver.store.reports import reading
from receiver.store.tables import customer_ids, customer_properties, customers

PAGE = 1000
"""Customers that are read at once, at most."""

MOST_VALUES = 20_000
"""Columns times customers that are read at once, at most, unless one customer alone has more."""


class Column(NamedTuple):
    """An ``id`` or a ``property``, by its name."""

    type: str
    name: str


class Customer(NamedTuple):
    """IDs by kind, the least recently used one first, and properties by name as JSON texts."""

    ids: dict[str, list[str]]
    properties: dict[str, str]


def id_kinds(connection: Connection, project_id: int) -> list[str]:
    """The names of all IDs that customers of the project have, in order."""
    # From one name to the next by the primary key, whose entries are as many as IDs.
    kind = customer_ids.c.kind
    query = select(func.min(kind)).where(customer_ids.c.project_id == project_id)
    found: list[str] = []
    last = connection.execute(query).scalar()
    while last is not None:
        found.append(last)
        last = connection.execute(query.where(kind > last)).scalar()
    return found


def property_names(connection: Connection, project_id: int) -> list[str]:
    """The names of all properties that customers of the project have, in order."""
    names = (
        select(customer_properties.c.name)
        .distinct()
        .join(customers, customers.c.id == customer_properties.c.customer_id)
        .where(customers.c.project_id == project_id, customers.c.merged_into.is_(None))
    )
    return sorted(connection.scalars(names))


def all_customers(
    engine: Engine, project_id: int, columns: Sequence[Column], *, are_all: bool
) -> Iterator[list[Customer]]:
    """Everybody who was not merged away, the oldest first, with what these *columns* hold.

    Each list is a short transaction of its own: however slowly they are taken, memory stays flat and
    no old moment has to be kept by the database.  So who is merged meanwhile may be told of twice, or
    within the other only.

    Args:
        are_all: the columns are all that there are, and may be more than a statement can name.
    """
    kinds = None if are_all else [column.name for column in columns if column.type == "id"]
    names = None if are_all else [column.name for column in columns if column.type == "property"]
    size = max(1, min(PAGE, MOST_VALUES // max(1, len(columns))))
    after = -1
    while True:
        with reading(engine) as connection:
            numbers = _numbers(connection, project_id, after, size)
            page = {number: Customer({}, {}) for number in numbers}
            for number, kind, value in _ids(connection, numbers, kinds):
                page[number].ids.setdefault(kind, []).append(value)
            for number, name, value in _properties(connection, numbers, names):
                page[number].properties[name] = value
        yield list(page.values())
        if len(numbers) < size:
            return
        after = numbers[-1]


def _numbers(connection: Connection, project_id: int, after: int, size: int) -> list[int]:
    query = (
        select(customers.c.id)
        .where(customers.c.project_id == project_id, customers.c.id > after)
        .where(customers.c.merged_into.is_(None))
        .order_by(customers.c.id)
        .limit(size)
    )
    return list(connection.scalars(query))


def _ids(
    connection: Connection, numbers: Sequence[int], kinds: Sequence[str] | None
) -> Sequence[tuple[int, str, str]]:
    columns = customer_ids.c
    query = (
        select(columns.customer_id, columns.kind, columns.value)
        .where(columns.customer_id.in_(numbers))
        .order_by(columns.customer_id, columns.used_us, columns.value)
    )
    return connection.execute(query if kinds is None else query.where(columns.kind.in_(kinds))).all()


def _properties(
    connection: Connection, numbers: Sequence[int], names: Sequence[str] | None
) -> Sequence[tuple[int, str, str]]:
    columns = customer_properties.c
    query = select(columns.customer_id, columns.name, columns.value).where(columns.customer_id.in_(numbers))
    return connection.execute(query if names is None else query.where(columns.name.in_(names))).all()
