"""Hours (UTC) as hours, days and weeks of a time zone.

An hour belongs to the day in which it begins there: where a zone differs from UTC by part of an hour, up
to 45 minutes at the edges of days count for their neighbours.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from math import inf
from typing import Literal, NamedTuple

from receiver.domain.moments import DAY_US, HOUR_US, SECOND_US, hour_of

Span = Literal["hour", "day", "week"]

# Since 2000, from when on there are events, no zone has changed twice within so long (Brazil: seven days).
_STEP_US = 6 * DAY_US
_SECOND = timedelta(seconds=1)
_FIRST_DAY = date(1970, 1, 1)
_MONDAY = 3  # 1970 began on a Thursday: days after a Monday


class Offset(NamedTuple):
    """How far ahead of UTC a zone is, from an hour on."""

    since_us: int
    ahead_us: int


def offsets(zone: tzinfo, first_us: int, last_us: int) -> list[Offset]:
    """Those of the hours from *first_us* to *last_us*, in order."""
    found = [Offset(first_us, _ahead_us(zone, first_us))]
    before_us = first_us
    while before_us < last_us:
        at_us = min(before_us + _STEP_US, last_us)
        if _ahead_us(zone, at_us) != found[-1].ahead_us:
            found.append(_change(zone, before_us, at_us))
        before_us = at_us
    return found


def _change(zone: tzinfo, before_us: int, at_us: int) -> Offset:
    """The offset of the hour *at_us*, and its first hour, behind *before_us*, which has another one."""
    ahead_us = _ahead_us(zone, at_us)
    while at_us - before_us > HOUR_US:
        middle_us = hour_of((before_us + at_us) // 2)
        if _ahead_us(zone, middle_us) == ahead_us:
            at_us = middle_us
        else:
            before_us = middle_us
    return Offset(at_us, ahead_us)


def _ahead_us(zone: tzinfo, hour_us: int) -> int:
    ahead = datetime.fromtimestamp(hour_us // SECOND_US, zone).utcoffset() or timedelta()
    return ahead // _SECOND * SECOND_US


def ahead_at(known: Sequence[Offset], hour_us: int) -> int:
    """How far ahead the zone with these `offsets` is; *hour_us* is not before the first one."""
    return known[bisect_right(known, (hour_us, inf)) - 1].ahead_us


def edges(span: Span, known: Sequence[Offset]) -> set[int]:
    """Hours of the day (UTC, 0 to 23) with which a span may begin, where these are the `offsets`.

    From one to the next, on any day, all hours belong to the same span.
    """
    if span == "hour":
        return set(range(24))
    midnights = {-(each.ahead_us // HOUR_US) % 24 for each in known}
    changes = {
        later.since_us // HOUR_US % 24
        for earlier, later in pairwise(known)
        if number(span, later.since_us - HOUR_US, earlier.ahead_us)
        != number(span, later.since_us, later.ahead_us)
    }
    return {0} | midnights | changes


def number(span: Span, hour_us: int, ahead_us: int) -> int:
    """Which hour, day or week an hour belongs to; those that follow each other differ by 1."""
    if span == "hour":
        return hour_us // HOUR_US
    days = (hour_us + ahead_us) // DAY_US
    return days if span == "day" else (days + _MONDAY) // 7


def begin(span: Span, counted: int, zone: tzinfo) -> str:
    """What `number` has *counted*, by its beginning: a date, of weeks that of the Monday; an hour with its
    offset, as ``2026-11-23T14:00:00+01:00``."""
    if span == "hour":
        return datetime.fromtimestamp(counted * HOUR_US // SECOND_US, UTC).astimezone(zone).isoformat()
    days = counted if span == "day" else counted * 7 - _MONDAY
    return (_FIRST_DAY + timedelta(days=days)).isoformat()
