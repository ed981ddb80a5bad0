"""Rejections counted by what they have in common, in the transaction that changes them.

What is asked of them is never counted at the time of the question (receiver.store.refused).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Text

from receiver.domain.moments import hour_of
from receiver.store.sets import Given, Insert, Row, Transaction
from receiver.store.tables import rejection_hours, rejections, shape_hours, shape_states, shapes


def _earlier(one: str, other: str) -> str:
    return f"CASE WHEN {one} < {other} THEN {one} ELSE {other} END"


def _later(one: str, other: str) -> str:
    return f"CASE WHEN {one} > {other} THEN {one} ELSE {other} END"


_MORE_IN_STATE = (
    "ON CONFLICT (shape_id, state) DO UPDATE SET rejections = shape_states.rejections + excluded.rejections,"
    " times = shape_states.times + excluded.times,"
    f" first_us = {_earlier('shape_states.first_us', 'excluded.first_us')},"
    f" last_us = {_later('shape_states.last_us', 'excluded.last_us')}"
)
_MORE_IN_HOUR = (
    "ON CONFLICT (project_id, hour_us, shape_id) DO UPDATE SET times = shape_hours.times + excluded.times,"
    f" last_us = {_later('shape_hours.last_us', 'excluded.last_us')}"
)
_MORE_SEEN = (
    "ON CONFLICT (project_id, hour_us) DO UPDATE SET"
    f" first_id = {_earlier('rejection_hours.first_id', 'excluded.first_id')},"
    f" last_id = {_later('rejection_hours.last_id', 'excluded.last_id')}"
)

ADD = Insert(shapes, "ON CONFLICT (id) DO NOTHING")
ADD_TO_STATES = Insert(shape_states, _MORE_IN_STATE)
ADD_TO_HOURS = Insert(shape_hours, _MORE_IN_HOUR)
ADD_SEEN = Insert(rejection_hours, _MORE_SEEN)

_REPEATED: dict[str, Column[Any]] = {
    "id": rejections.c.id,
    "again": Column("again", BigInteger),
    "seen_us": rejections.c.last_seen_us,
    "hour_us": shape_hours.c.hour_us,
}
REPEAT_REJECTIONS = Given(
    _REPEATED,
    "UPDATE rejections SET count = count + again,"
    # A clock that went back does not make it look as if it had not been seen since.
    f" last_seen_us = {_later('seen_us', 'last_seen_us')}"
    " FROM given WHERE rejections.id = given.id",
)
# DISTINCT where rows are added up: on SQLite they may be given twice.
_REPEATED_ROWS = (
    " FROM (SELECT DISTINCT id, again, seen_us, hour_us FROM given) AS g"
    " CROSS JOIN rejections AS r WHERE r.id = g.id"
)
REPEAT_IN_STATES = Given(
    _REPEATED,
    "UPDATE shape_states SET times = shape_states.times + more.again,"
    f" last_us = {_later('last_us', 'more.seen_us')}"
    " FROM (SELECT r.shape_id, r.state, sum(g.again) AS again, max(g.seen_us) AS seen_us"
    f"{_REPEATED_ROWS} GROUP BY r.shape_id, r.state) AS more"
    " WHERE shape_states.shape_id = more.shape_id AND shape_states.state = more.state",
)
REPEAT_IN_HOURS = Given(
    _REPEATED,
    "INSERT INTO shape_hours (project_id, hour_us, shape_id, times, last_us)"
    f" SELECT r.project_id, g.hour_us, r.shape_id, sum(g.again), max(g.seen_us){_REPEATED_ROWS}"
    f" GROUP BY r.project_id, g.hour_us, r.shape_id {_MORE_IN_HOUR}",
)

REPEAT_SEEN = Given(
    _REPEATED,
    "INSERT INTO rejection_hours (project_id, hour_us, first_id, last_id)"
    f" SELECT r.project_id, g.hour_us, min(r.id), 0{_REPEATED_ROWS}"
    f" GROUP BY r.project_id, g.hour_us {_MORE_SEEN}",
)

_MOVED: dict[str, Column[Any]] = {"id": rejections.c.id, "state": Column("state", Text)}
_MOVED_ROWS = (
    " FROM (SELECT DISTINCT id, state FROM given) AS g CROSS JOIN rejections AS r"
    " WHERE r.id = g.id AND r.state <> g.state"
)
_LEAVE_STATES = Given(
    _MOVED,
    "UPDATE shape_states SET rejections = shape_states.rejections - gone.rejections,"
    " times = shape_states.times - gone.times"
    " FROM (SELECT r.shape_id, r.state, count(*) AS rejections, sum(r.count) AS times"
    f"{_MOVED_ROWS} GROUP BY r.shape_id, r.state) AS gone"
    " WHERE shape_states.shape_id = gone.shape_id AND shape_states.state = gone.state",
)
_ENTER_STATES = Given(
    _MOVED,
    "INSERT INTO shape_states (shape_id, state, rejections, times, first_us, last_us)"
    " SELECT r.shape_id, g.state, count(*), sum(r.count), min(r.received_us), max(r.last_seen_us)"
    f"{_MOVED_ROWS} GROUP BY r.shape_id, g.state {_MORE_IN_STATE}",
)
_LEAVE_HOURS = Given(
    {"id": rejections.c.id},
    "UPDATE shape_hours SET times = shape_hours.times - gone.times"
    " FROM (SELECT r.project_id, r.received_us - r.received_us % 3600000000 AS hour_us, r.shape_id,"
    " sum(r.count) AS times FROM (SELECT DISTINCT id FROM given) AS g CROSS JOIN rejections AS r"
    " WHERE r.id = g.id GROUP BY 1, 2, 3) AS gone WHERE shape_hours.project_id = gone.project_id"
    " AND shape_hours.hour_us = gone.hour_us AND shape_hours.shape_id = gone.shape_id",
)
_FORGET_EMPTY = Given(
    {"id": rejections.c.id},
    "DELETE FROM shape_states WHERE rejections = 0 AND shape_id IN"
    " (SELECT r.shape_id FROM given CROSS JOIN rejections AS r WHERE r.id = given.id)",
)
_NO_STATE = ""


class Counts(NamedTuple):
    """Rows for ADD_TO_STATES, ADD_TO_HOURS and ADD_SEEN."""

    states: list[Row]
    hours: list[Row]
    seen: list[Row]


def counts_of(rows: Iterable[Row]) -> Counts:
    """What new *rows* of rejections, as in their table, are counted as."""
    states: dict[tuple[int, str], list[int]] = {}
    hours: dict[tuple[int, int, int], list[int]] = {}
    seen: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        number, project_id, shape_id, parent_id, *_, state, times, _attempts, first_us, last_us, _, _ = row
        of_state = states.setdefault((shape_id, state), [0, 0, first_us, last_us])
        of_state[:] = (
            of_state[0] + 1,
            of_state[1] + times,
            min(of_state[2], first_us),
            max(of_state[3], last_us),
        )
        # What a replay left behind did not come from the sender then.
        for us, came, last_id in ((last_us, 0, 0), (first_us, times, number)):
            of_hour = hours.setdefault((project_id, hour_of(us), shape_id), [0, 0])
            of_hour[:] = of_hour[0] + came, max(of_hour[1], us if parent_id is None else 0)
            in_hour = seen.setdefault((project_id, hour_of(us)), [number, 0])
            in_hour[:] = min(in_hour[0], number), max(in_hour[1], last_id)
    return Counts(*([(*place, *counts) for place, counts in each.items()] for each in (states, hours, seen)))


def move(transaction: Transaction, rows: Sequence[tuple[int, str]]) -> None:
    """Count these rejections for their new state; to be said before they have it: (rejection, state)."""
    transaction.run(_LEAVE_STATES, rows)
    transaction.run(_ENTER_STATES, rows)
    transaction.run(_FORGET_EMPTY, [(number,) for number, _ in rows])


def forget(transaction: Transaction, ids: Sequence[int]) -> None:
    """Count these rejections no more; to be said before they are deleted.

    They came only once, within the hour of their receipt.
    """
    transaction.run(_LEAVE_STATES, [(number, _NO_STATE) for number in ids])
    transaction.run(_LEAVE_HOURS, [(number,) for number in ids])
    transaction.run(_FORGET_EMPTY, [(number,) for number in ids])
