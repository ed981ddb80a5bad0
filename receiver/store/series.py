"""When the letters of a campaign reached their stages: by hour, day or week of a time zone."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import Connection, TextClause, select, text

from receiver.domain.local_time import Offset, Span, ahead_at, edges, number, offsets
from receiver.domain.moments import DAY_US, HOUR_US
from receiver.store.campaigns import is_known
from receiver.store.tables import HOURS, campaign_letters

MOST_ROWS = 10_000
"""Rows of one series."""


class Wanted(NamedTuple):
    """Which series: *since_us* and *until_us* bound the beginnings of its hours.

    With *variations* each of them has rows of its own.
    """

    span: Span
    zone: tzinfo
    since_us: int | None = None
    until_us: int | None = None
    variations: bool = False


class Series(NamedTuple):
    """How many letters first reached a stage within a span of time.

    Attributes:
        numbers: of all spans between the first and the last one with a letter; see local_time.number.
        variations: those that there are, in order, empty for none told; None where nobody asks.
        letters: by stage, of each number and variation (empty where nobody asks) that has any.
    """

    numbers: range
    variations: Sequence[str] | None
    letters: Mapping[tuple[int, str], dict[str, int]]


class TooLong(NamedTuple):
    """The series would have so many *rows*, which are more than MOST_ROWS."""

    rows: int


_OURS = "FROM campaign_days WHERE project_id = :project_id AND campaign = :campaign"
_WHOLE = f"{_OURS} AND day_us >= :since_us AND day_us <= :until_us - {DAY_US} AND {' + '.join(HOURS)} > 0"
_ENDS = text(
    f"SELECT day_us, {', '.join(f'sum({hour})' for hour in HOURS)} {_OURS} AND day_us IN"
    f" ((SELECT min(day_us) {_WHOLE}), (SELECT max(day_us) {_WHOLE}), :since_day_us, :until_day_us)"
    " GROUP BY day_us"
)
_EVER = range(-1_000_000 * DAY_US, 1_000_000 * DAY_US)

Ours = Mapping[str, int | str]

Piece = tuple[int, int]
"""Hours of a day in UTC, from the one on and before the other."""


def find_series(
    connection: Connection, project_id: int, campaign: str, wanted: Wanted
) -> Series | TooLong | None:
    """The series of one campaign; empty where none of its letters has reached anything.

    None where there is neither an event nor a mailing of it.
    """
    if not is_known(connection, project_id, campaign):
        return None
    ours: Ours = {"project_id": project_id, "campaign": campaign}
    names = _variations(connection, project_id, campaign)
    variations = names if wanted.variations else None
    hours = _hours_at_the_ends(connection, ours, _period(wanted))
    if not hours:
        return Series(range(0), variations, {})
    first_us, last_us = min(hours), max(hours)
    known = offsets(wanted.zone, first_us, last_us)

    def at(hour_us: int) -> int:
        return number(wanted.span, hour_us, ahead_at(known, hour_us))

    numbers = range(at(first_us), at(last_us) + 1)
    rows = len(numbers) * (1 if variations is None else len(variations))
    if rows > MOST_ROWS:
        return TooLong(rows)
    pieces = _pieces(wanted, known)
    query = _days(pieces, by_variation=wanted.variations, several=len(names) > 1)
    days = {"first_us": first_us - first_us % DAY_US, "last_us": last_us}
    found = connection.execute(query, {**ours, **days}).all()
    return Series(numbers, variations, _letters(found, pieces, (first_us, last_us), at))


def _period(wanted: Wanted) -> range:
    since_us = _EVER.start if wanted.since_us is None else wanted.since_us
    return range(since_us, _EVER.stop if wanted.until_us is None else wanted.until_us)


def _variations(connection: Connection, project_id: int, campaign: str) -> list[str]:
    counted = campaign_letters.c
    query = select(counted.variation).distinct().order_by(counted.variation)
    query = query.where(counted.project_id == project_id, counted.campaign == campaign, counted.letters > 0)
    return list(connection.execute(query).scalars())


def _hours_at_the_ends(connection: Connection, ours: Ours, period: range) -> list[int]:
    """Some hours with a letter, among them the first and the last one.

    They are on the first and the last of the days that are wholly in the period, or on one that is in
    part.
    """
    bounds = {"since_us": period.start, "since_day_us": period.start - period.start % DAY_US}
    bounds |= {"until_us": period.stop, "until_day_us": period.stop - period.stop % DAY_US}
    return [
        hour_us
        for day_us, *numbers in connection.execute(_ENDS, {**ours, **bounds}).all()
        for hour_us, letters in zip(range(day_us, day_us + DAY_US, HOUR_US), numbers, strict=True)
        if letters and hour_us in period
    ]


def _pieces(wanted: Wanted, known: Sequence[Offset]) -> list[Piece]:
    """A day, cut where another span may begin, and where the period begins and ends."""
    period = _period(wanted)
    bounds = {-(-bound // HOUR_US) % 24 for bound in (period.start, period.stop)}
    return list(pairwise([*sorted(edges(wanted.span, known) | bounds), 24]))


def _days(pieces: Sequence[Piece], *, by_variation: bool, several: bool) -> TextClause:
    """Day, stage, variation (empty where nobody asks), and the letters of each piece of the day.

    The database adds them up, of *several* variations too, so that there is less to fetch.
    """
    counts = [" + ".join(HOURS[begin:end]) for begin, end in pieces]
    within = f"{_OURS} AND day_us >= :first_us AND day_us <= :last_us"
    if several and not by_variation:
        sums = ", ".join(f"sum({each})" for each in counts)
        return text(f"SELECT day_us, stage, '', {sums} {within} GROUP BY day_us, stage")
    name = "variation" if by_variation else "''"
    return text(f"SELECT day_us, stage, {name}, {', '.join(counts)} {within}")


def _letters(
    rows: Iterable[Sequence[Any]], pieces: Sequence[Piece], ends: tuple[int, int], at: Callable[[int], int]
) -> dict[tuple[int, str], dict[str, int]]:
    """The letters of *rows*, as `_days` gives them, that are neither before nor behind the hours *ends*.

    *at* tells which span an hour of these belongs to.
    """
    first_us, last_us = ends

    @cache
    def places(day_us: int) -> list[tuple[int, int]]:
        """Which span each piece of a day belongs to, and which piece it is."""
        found = []
        for which, (begin, end) in enumerate(pieces):
            hour_us = max(first_us, day_us + begin * HOUR_US)
            if hour_us <= last_us and hour_us < day_us + end * HOUR_US:
                found.append((at(hour_us), which))
        return found

    letters: defaultdict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for day_us, stage, variation, *counts in rows:
        for place, which in places(day_us):
            if count := counts[which]:
                stages = letters[place, variation]
                stages[stage] = stages.get(stage, 0) + count
    return letters
