"""When the letters of a campaign reached their stages: by hour, day or week of a time zone."""

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from functools import lru_cache
from itertools import compress, pairwise, repeat
from operator import add
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, TextClause, bindparam, select, text

from receiver.domain.local_time import Offset, Span, ahead_at, edges, number, offsets
from receiver.domain.moments import DAY_US, HOUR_US
from receiver.domain.stages import STAGES
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
    """How many letters first reached each stage within a span of time.

    Attributes:
        numbers: of all spans between the first and the last one with a letter; see local_time.number.
        variations: those that there are, in order, empty for none told; None where nobody asks.
        counts: of each number, each variation where asked, and each of STAGES, one after the other.
    """

    numbers: range
    variations: Sequence[str] | None
    counts: Sequence[int]


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
_VARIATIONS = (
    select(campaign_letters.c.variation)
    .distinct()
    .where(campaign_letters.c.project_id == bindparam("project_id"))
    .where(campaign_letters.c.campaign == bindparam("campaign"), campaign_letters.c.letters > 0)
    .order_by(campaign_letters.c.variation)
)
_STAGES = len(STAGES)
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
    ours: Ours = {"project_id": project_id, "campaign": campaign}
    names = connection.execute(_VARIATIONS, ours).scalars().all()
    # Whoever has letters is known.
    if not names and not is_known(connection, project_id, campaign):
        return None
    variations = names if wanted.variations else None
    hours = _hours_at_the_ends(connection, ours, _period(wanted))
    if not hours:
        return Series(range(0), variations, [])
    first_us, last_us = min(hours), max(hours)
    known = offsets(wanted.zone, first_us, last_us)

    def at(hour_us: int) -> int:
        return number(wanted.span, hour_us, ahead_at(known, hour_us))

    numbers = range(at(first_us), at(last_us) + 1)
    rows = len(numbers) * (1 if variations is None else len(variations))
    if rows > MOST_ROWS:
        return TooLong(rows)
    pieces = _pieces(wanted, known)
    together = len(names) > 1 and not wanted.variations
    query = _columns(connection.dialect.name, pieces, by_variation=wanted.variations, together=together)
    days = {"first_us": first_us - first_us % DAY_US, "last_us": last_us}
    columns = [orjson.loads(each) for each in connection.execute(query, {**ours, **days}).one()]
    places = [_place(piece, (first_us, last_us), at) for piece in pieces]
    return Series(numbers, variations, _counts(columns, places, numbers, variations))


def _period(wanted: Wanted) -> range:
    since_us = _EVER.start if wanted.since_us is None else wanted.since_us
    return range(since_us, _EVER.stop if wanted.until_us is None else wanted.until_us)


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


def _pieces(wanted: Wanted, known: Sequence[Offset]) -> tuple[Piece, ...]:
    """A day, cut where another span may begin, and where the period begins and ends."""
    period = _period(wanted)
    bounds = {-(-bound // HOUR_US) % 24 for bound in (period.start, period.stop)}
    return tuple(pairwise([*sorted(edges(wanted.span, known) | bounds), 24]))


@lru_cache(maxsize=256)
def _columns(dialect: str, pieces: Sequence[Piece], *, by_variation: bool, together: bool) -> TextClause:
    """Days, stages, variations where asked, and the letters of each piece: all rows in one, each column as a
    JSON array.

    As rows they would take twice as long, which is the time to make an object of each value.  The arrays have
    the same order, whichever it is, because the database makes them of the same rows at the same time.
    Several variations *together* are added up by PostgreSQL, so that there is less to fetch; SQLite takes as
    long for that as it saves.
    """
    array = "json_group_array({})" if dialect == "sqlite" else "json_agg({})::text"
    key = ["day_us", "stage", *["variation"] * by_variation]
    counts = [" + ".join(HOURS[begin:end]) for begin, end in pieces]
    rows = f"{_OURS} AND day_us >= :first_us AND day_us <= :last_us"
    if together and dialect != "sqlite":
        names = [f"piece_{place}" for place in range(len(counts))]
        sums = [f"sum({count}) AS {name}" for count, name in zip(counts, names, strict=True)]
        rows = f"FROM (SELECT {', '.join([*key, *sums])} {rows} GROUP BY day_us, stage) AS days"
        counts = names
    return text(f"SELECT {', '.join(map(array.format, [*key, *counts]))} {rows}")


def _place(piece: Piece, ends: tuple[int, int], at: Callable[[int], int]) -> Callable[[int], int | None]:
    """What tells of a day which span the *piece* of it belongs to: None for one before or behind the *ends*,
    which are hours.  *at* tells it of an hour."""
    (begin, end), (first_us, last_us) = piece, ends

    def place(day_us: int) -> int | None:
        hour_us = max(first_us, day_us + begin * HOUR_US)
        return at(hour_us) if hour_us <= last_us and hour_us < day_us + end * HOUR_US else None

    return place


def _counts(
    columns: Sequence[Sequence[Any]],
    places: Sequence[Callable[[int], int | None]],
    numbers: range,
    variations: Sequence[str] | None,
) -> list[int]:
    """The letters of *columns*, as the statement gives them, where `Series` has them."""
    days, stages, *rest = columns
    within = list(map(_NUMBER.__getitem__, stages))
    width = _STAGES
    if variations is not None:
        named = {name: _STAGES * number for number, name in enumerate(variations)}
        # A variation whose letters were all withdrawn is not named any more, but has rows of zeros.
        within = list(map(add, within, map(named.get, rest.pop(0), repeat(0))))
        width = _STAGES * len(variations)
    # Behind all others stands what nobody asks for.
    counts = [0] * (width * (len(numbers) + 1))
    known = set(days)
    for place, letters in zip(places, rest, strict=True):
        begins = {
            day_us: width * (len(numbers) if at is None else at - numbers.start)
            for day_us, at in zip(known, map(place, known), strict=True)
        }
        cells = map(add, map(begins.__getitem__, days), within)
        # By night there are seldom any.
        for cell, number_of_letters in compress(zip(cells, letters, strict=True), letters):
            counts[cell] += number_of_letters
    return counts[: width * len(numbers)]


_NUMBER = {stage: number for number, stage in enumerate(STAGES)}
