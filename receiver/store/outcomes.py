"""What became of the commands: the counters, and whether they agree with themselves and with the events.

Periods are counted by the hour: an hour that a period cuts is counted whole.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, func, literal, select, union_all

from receiver.domain.moments import DAY_US, HOUR_US
from receiver.store.mailings import PERHAPS_PRINTED
from receiver.store.tables import campaign_letters, campaign_mailings, counters, events, withdrawn_events
from receiver.store.writes import Source

MOST_DISAGREEMENTS = 1000
"""So many are told; where there are more, something is wrong everywhere."""


class Counts(NamedTuple):
    """Commands, by what became of them."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0

    def add_up(self) -> bool:
        return self.received == self.accepted + self.duplicate + self.rejected

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(one + two for one, two in zip(self, other, strict=True)))


class Span(NamedTuple):
    """One source within one day or hour (UTC), which begins at *begin_us*."""

    begin_us: int
    source: str


class OfCampaign(NamedTuple):
    """What became of the commands of a campaign by source, and of its letters, whenever they were sent.

    Attributes:
        sent: mailings that were perhaps printed.
        heard: those of them of which the sender told anything.
        letters: all that events tell of: mailings, and such as only the sender knows.
    """

    counts: dict[str, Counts]
    sent: int
    heard: int
    letters: int


class Disagreement(NamedTuple):
    """What is wrong within an hour of a source, or within one campaign of it.

    Attributes:
        campaign: empty: commands without any; None: all commands of the hour.
        counts: its counters.
        counted: events that the commands left, by the counters.
        events: those that are kept.
    """

    hour: Span
    campaign: str | None
    counts: Counts
    counted: int
    events: int

    def is_possible(self) -> bool:
        """The counters do not contradict themselves."""
        return self.counts.add_up() and self.counted <= self.counts.accepted


# -- the counters ---------------------------------------------------------------------------------


def outcomes(
    connection: Connection,
    project_id: int,
    since_us: int | None,
    until_us: int | None,
    *,
    campaign: str | None = None,
    span_us: int = DAY_US,
) -> dict[Span, Counts]:
    """The counters by day (or by *span_us*, whole hours) and source, in order; of one *campaign* if told."""
    begin = counters.c.hour_us // span_us * span_us
    found = _summed(connection, begin, _counted(project_id, since_us, until_us, campaign))
    return {Span(at, source): counts for at, source, counts in found}


def campaigns(
    connection: Connection,
    project_id: int,
    since_us: int | None,
    until_us: int | None,
    *,
    campaign: str | None = None,
) -> dict[str, OfCampaign]:
    """The counters and the letters by campaign, in order, empty where commands tell none.

    Of a period there is every campaign that had commands in it.
    """
    found: dict[str, dict[str, Counts]] = {}
    conditions = _counted(project_id, since_us, until_us, campaign)
    for name, source, counts in _summed(connection, counters.c.campaign, conditions):
        found.setdefault(name, {})[source] = counts
    mailed, told = _mailed(connection, project_id, campaign), _told(connection, project_id, campaign)
    names = set(found)
    if since_us is None and until_us is None:
        names |= mailed.keys() | told.keys()
    return {
        name: OfCampaign(found.get(name, {}), *mailed.get(name, (0, 0)), told.get(name, 0))
        for name in sorted(names)
    }


def _mailed(connection: Connection, project_id: int, campaign: str | None) -> dict[str, tuple[int, int]]:
    """Mailings that were sent, and those that were heard of, by campaign."""
    columns = campaign_mailings.c
    query = select(columns.campaign, func.sum(columns.mailings), func.sum(columns.heard)).where(
        columns.project_id == project_id, columns.state.in_(sorted(PERHAPS_PRINTED)), columns.mailings > 0
    )
    if campaign is not None:
        query = query.where(columns.campaign == campaign)
    rows = connection.execute(query.group_by(columns.campaign))
    return {name: (int(sent), int(heard)) for name, sent, heard in rows}


def _told(connection: Connection, project_id: int, campaign: str | None) -> dict[str, int]:
    """Letters that events tell of, by campaign."""
    columns = campaign_letters.c
    query = select(columns.campaign, func.sum(columns.letters)).where(
        columns.project_id == project_id, columns.letters != 0
    )
    if campaign is not None:
        query = query.where(columns.campaign == campaign)
    return {name: int(letters) for name, letters in connection.execute(query.group_by(columns.campaign))}


def _summed(
    connection: Connection, group: ColumnElement[Any], conditions: Iterable[ColumnElement[bool]]
) -> Iterator[tuple[Any, str, Counts]]:
    source, sums = counters.c.source, [func.sum(counters.c[name]) for name in Counts._fields]
    query = select(group, source, *sums).where(*conditions).group_by(group, source).order_by(group, source)
    for of_group, of_source, *counts in connection.execute(query):
        yield of_group, of_source, Counts(*map(int, counts))


def _counted(
    project_id: int, since_us: int | None, until_us: int | None, campaign: str | None = None
) -> Iterator[ColumnElement[bool]]:
    yield counters.c.project_id == project_id
    yield from _within(counters.c.hour_us, since_us, until_us)
    if campaign is not None:
        yield counters.c.campaign == campaign


# -- whether they agree ---------------------------------------------------------------------------


def disagreements(
    connection: Connection, project_id: int, since_us: int | None, until_us: int | None
) -> list[Disagreement]:
    """Where counters do not add up, or do not count the very events that are kept; in order, the first
    MOST_DISAGREEMENTS.

    Of hours before an upgrade to counters by campaign these are not known: all of such an hour is counted
    as without a campaign, while its events have theirs.  The upgrade was at the latest in the first hour
    in which a campaign is counted.  Up to that one only the sums by hour have to agree, and no campaign may
    have fewer events than were counted; after it each campaign has to agree by itself.

    Reads every event of the project.
    """
    first_us = connection.execute(
        select(func.min(counters.c.hour_us)).where(
            counters.c.project_id == project_id, counters.c.campaign != ""
        )
    ).scalar()
    found = connection.execute(
        _beside_each_other(project_id, since_us, until_us), execution_options={"yield_per": 10_000}
    )
    with found:
        wrong = (
            each
            for hour, rows in groupby(found, key=lambda row: Span(*row[:2]))
            for each in _judged(hour, rows, strictly=first_us is not None and hour.begin_us > first_us)
        )
        return list(islice(wrong, MOST_DISAGREEMENTS))


def _judged(hour: Span, rows: Iterable[Any], *, strictly: bool) -> list[Disagreement]:
    """What is wrong with an hour; *rows* are what stands beside each other of its campaigns.

    *strictly*: each campaign has to agree by itself.
    """
    campaigns = []
    for _, _, campaign, *numbers in rows:
        *counts, counted, kept = map(int, numbers)
        campaigns.append(Disagreement(hour, campaign, Counts(*counts), counted, kept))
    wrong = [
        each
        for each in campaigns
        if not each.is_possible()
        or (strictly and each.counted != each.events)
        or (each.campaign and each.counted > each.events)
    ]
    if wrong or sum(each.counted for each in campaigns) == sum(each.events for each in campaigns):
        return wrong
    _, _, counts_of_each, counted_of_each, events_of_each = zip(*campaigns, strict=True)
    sums = Counts(*map(sum, zip(*counts_of_each, strict=True)))
    return [Disagreement(hour, None, sums, sum(counted_of_each), sum(events_of_each))]


def _beside_each_other(
    project_id: int, since_us: int | None, until_us: int | None
) -> Select[*tuple[Any, ...]]:
    """By hour, source and campaign: the counters, and how many events of commands are kept."""
    columns = counters.c
    nothing = [literal(0).label(name) for name in (*Counts._fields, "counted")]
    parts: list[Select[*tuple[Any, ...]]] = [
        select(
            columns.hour_us,
            columns.source,
            columns.campaign,
            *(columns[name] for name in Counts._fields),
            columns.events.label("counted"),
            literal(0).label("kept"),
        ).where(*_counted(project_id, since_us, until_us))
    ]
    for table in (events, withdrawn_events):
        place = (
            (table.c.received_us // HOUR_US * HOUR_US).label("hour_us"),
            table.c.source,
            func.coalesce(table.c.campaign, "").label("campaign"),
        )
        # What is ours alone is no command.
        ours = table.c.project_id == project_id, table.c.source != Source.IDENTITY
        within = _within(table.c.received_us, since_us, until_us)
        kept = func.count().label("kept")
        parts.append(select(*place, *nothing, kept).where(*ours, *within).group_by(*place))
    each = union_all(*parts).subquery()
    of_each = [each.c[name] for name in ("hour_us", "source", "campaign")]
    sums = [func.sum(each.c[name]) for name in (*Counts._fields, "counted", "kept")]
    return select(*of_each, *sums).group_by(*of_each).order_by(*of_each)


def _within(
    time: ColumnElement[int], since_us: int | None, until_us: int | None
) -> Iterator[ColumnElement[bool]]:
    """*time* lies in an hour of the period."""
    if since_us is not None:
        yield time >= since_us - since_us % HOUR_US
    if until_us is not None:
        yield time < until_us + -until_us % HOUR_US
