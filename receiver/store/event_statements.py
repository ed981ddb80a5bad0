"""Statements that find events.  Each is made once, as it takes longer to build one than to run it.

What a statement depends on is the `Shape` of a question; its values are bound to their names when it is run.
"""

from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    or_,
    select,
    tuple_,
)

from receiver.store.tables import customer_ids, events, mailings

_MOST_KEPT = 512
"""Statements; nearly all questions have one of a few shapes."""


class Way(Enum):
    """By which index events are found."""

    OWN = "those of their customer, or of their letter"
    ARRIVED = "when they arrived"
    KINDS = "their kinds, each by itself"
    TIME = "when they happened"


class Shape(NamedTuple):
    """Of a question about events all but its values.

    Attributes:
        names: of its values: columns of events, ``types``, ``received_since_us``, ``received_until_us``; of
            IDs ``kind_0``, ``value_0`` and so on, of texts within the properties ``text_0`` and so on.
    """

    dialect: str
    names: tuple[str, ...]
    way: Way

    def having(self, name: str) -> list[str]:
        """The names that begin so: all of those that stand for several values."""
        return [each for each in self.names if each.startswith(name)]


Form = Literal["whole", "short"]

COLUMNS = {
    "whole": (
        *("id", "customer_id", "ids", "type", "occurred_us", "received_us", "source", "campaign", "status"),
        *("stage", "mailing_id", "tied", "properties", "variation"),
    ),
    "short": ("id", "type", "occurred_us", "properties"),
}
"""What is told of an event, by the form."""

_time = events.c.occurred_us


@lru_cache(_MOST_KEPT)
def times(shape: Shape, *, oldest_first: bool) -> Select[Any]:
    """When that event happened, from ``since_us`` on and before ``until_us``, which ``before`` others come
    before.  Whether they have what is searched for does not matter."""
    within = _time >= _whole("since_us"), _time < _whole("until_us")
    query = select(_time).where(*_found(shape), *within).order_by(_time if oldest_first else _time.desc())
    return query.offset(bindparam("before", type_=Integer)).limit(1)


@lru_cache(_MOST_KEPT)
def page(
    shape: Shape, form: Form, *, after: bool, since: bool, until: bool, oldest_first: bool, every: bool
) -> Select[Any]:
    """Events in the order of their times, with those bounds that are there: ``since_us``, ``until_us``, and
    ``after_us`` with ``after_id``.  They are ``most`` behind ``skip``, or *every* one.
    """
    whole = select(*[events.c[name] for name in COLUMNS[form]])
    order = (_time, events.c.id) if oldest_first else (_time.desc(), events.c.id.desc())
    query = whole.where(*_found(shape)).order_by(*order)
    if shape.way is Way.KINDS:
        query = query.where(events.c.kind_id.in_(bindparam("kinds", expanding=True)))
    if since:
        query = query.where(_time >= _whole("since_us"))
    if until:
        query = query.where(_time < _whole("until_us"))
    if after:
        here, there = tuple_(_time, events.c.id), tuple_(_whole("after_us"), _whole("after_id"))
        query = query.where(here > there if oldest_first else here < there)
    query = query.where(*_searched(shape))
    if every:
        return query
    query = query.limit(bindparam("most", type_=Integer)).offset(bindparam("skip", type_=Integer))
    if shape.way in {Way.OWN, Way.TIME}:
        return query
    # They come in another order.  The numbers first, as whole events take longer to sort.
    return whole.where(events.c.id.in_(query.with_only_columns(events.c.id))).order_by(*order)


@lru_cache(_MOST_KEPT)
def holder(ids: int) -> ColumnElement[int]:
    """Who holds the first of so many IDs that anybody holds.

    Asked within the statement that needs it: between two statements a merge could move the events.
    """
    columns = customer_ids.c
    holders = [
        select(columns.customer_id)
        .where(columns.project_id == bindparam("project_id"))
        .where(columns.kind == bindparam(f"kind_{place}"), columns.value == bindparam(f"value_{place}"))
        .scalar_subquery()
        for place in range(ids)
    ]
    return func.coalesce(*holders) if ids > 1 else holders[0]


@lru_cache(_MOST_KEPT)
def is_searched(shape: Shape) -> bool:
    """Events must be looked into one by one."""
    return bool(_searched(shape))


def _found(shape: Shape) -> list[ColumnElement[bool]]:
    """What the index answers."""
    project_id = bindparam("project_id", type_=Integer)
    match shape.way:
        case Way.OWN:
            # They are few.  Without the project, or SQLite takes an index that begins with it.
            return [*_own(shape), *_words(shape), *_others(shape)]
        case Way.ARRIVED:
            # As these are to be found by when they arrived, no index shall help that begins with the project.
            ours = events.c.project_id + 0 == project_id
            return [ours, *_arrived(shape, events.c.received_us), *_words(shape), *_variation(shape)]
        case Way.KINDS:
            return []
        case Way.TIME:
            return [events.c.project_id == project_id]


def _searched(shape: Shape) -> list[ColumnElement[bool]]:
    """What the index does not answer."""
    match shape.way:
        case Way.OWN | Way.ARRIVED:
            return list(_having(shape))
        case Way.KINDS:
            return [*_others(shape), *_having(shape)]
        case Way.TIME:
            return [*_words(shape), *_others(shape), *_having(shape)]


def _own(shape: Shape) -> Iterator[ColumnElement[bool]]:
    """Events are of a customer, or about a letter."""
    if ids := shape.having("kind_"):
        yield events.c.customer_id == holder(len(ids))
    if "mailing_id" in shape.names:
        of_project = select(mailings.c.id).where(
            mailings.c.id == bindparam("mailing_id"), mailings.c.project_id == bindparam("project_id")
        )
        yield events.c.mailing_id == of_project.scalar_subquery()


def _words(shape: Shape) -> Iterator[ColumnElement[bool]]:
    """What makes a kind of event."""
    if "types" in shape.names:
        yield events.c.type.in_(bindparam("types", expanding=True))
    for name in ("campaign", "status", "stage"):
        if name in shape.names:
            yield events.c[name] == bindparam(name)


def _others(shape: Shape) -> Iterator[ColumnElement[bool]]:
    yield from _variation(shape)
    # SQLite, which has no statistics, would take a period for narrow and the index of it.
    yield from _arrived(shape, events.c.received_us + 0)


def _variation(shape: Shape) -> Iterator[ColumnElement[bool]]:
    if "variation" in shape.names:
        yield events.c.variation == bindparam("variation")


def _arrived(shape: Shape, time: ColumnElement[int]) -> Iterator[ColumnElement[bool]]:
    if "received_since_us" in shape.names:
        yield time >= _whole("received_since_us")
    if "received_until_us" in shape.names:
        yield time < _whole("received_until_us")


@lru_cache
def arrivals(shape: Shape) -> Select[Any]:
    """When that event of any project arrived, within the period, which ``before`` others came before."""
    time = events.c.received_us
    query = select(time).where(*_arrived(shape, time)).order_by(time)
    return query.offset(bindparam("before", type_=Integer)).limit(1)


def _having(shape: Shape) -> Iterator[ColumnElement[bool]]:
    """They may have the property; receiver.domain.properties has the last word."""
    if texts := shape.having("text_"):
        position = func.instr if shape.dialect == "sqlite" else func.strpos
        yield or_(*[position(events.c.properties, bindparam(text, type_=Text)) > 0 for text in texts])


def _whole(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger)
