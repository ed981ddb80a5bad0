"""What is asked about campaigns: statements that only read.

Letters come from the counters that are kept with the events, not from the events themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
)

from receiver.domain.funnels import Delays, Reached
from receiver.domain.moments import DAY_US
from receiver.store.mailings import State
from receiver.store.tables import (
    MORE_TO_COME,
    campaign_delays,
    campaign_letters,
    campaign_mailings,
    event_kinds,
    events,
    mailings,
)

AGES = (0, 3, 7, 14, 30)
"""Silent mailings are counted by these ages: so many days and more, up to the next one."""


# -- all of them ----------------------------------------------------------------------------------


class Position(NamedTuple):
    """Where a page ended; *campaign* is empty for what has no reference."""

    last_us: int
    campaign: str


class CampaignRow(NamedTuple):
    """One campaign; None for letters without a reference."""

    campaign: str | None
    first_us: int
    last_us: int
    events: int
    reached: Reached


class CampaignPage(NamedTuple):
    """*next* is where the next page begins; None where nothing is left."""

    rows: list[CampaignRow]
    next: Position | None


def campaigns_page(
    connection: Connection,
    project_id: int,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    after: Position | None = None,
    limit: int,
) -> CampaignPage:
    """At most *limit* campaigns, the one that was heard of last first, from behind *after*.

    With a period those of which an event happened within it; all figures are of the whole campaign.
    """
    kinds = _kinds_of_campaigns(project_id, since_us, until_us)
    last_us = func.max(kinds.c.last_us)
    query = select(kinds.c.campaign, func.min(kinds.c.first_us), last_us, func.sum(kinds.c.events)).group_by(
        kinds.c.campaign
    )
    if since_us is not None or until_us is not None:
        query = query.having(func.max(kinds.c.within) == 1)
    if after is not None:
        behind = and_(last_us == after.last_us, kinds.c.campaign > after.campaign)
        query = query.having(or_(last_us < after.last_us, behind))
    query = query.order_by(last_us.desc(), kinds.c.campaign).limit(limit + 1)
    found = list(connection.execute(query))
    reached = _reached_of(connection, project_id, [row[0] for row in found[:limit]])
    rows = [
        CampaignRow(campaign or None, first, last, int(number), reached.get(campaign, {}))
        for campaign, first, last, number in found[:limit]
    ]
    following = Position(rows[-1].last_us, rows[-1].campaign or "") if len(found) > limit else None
    return CampaignPage(rows, following)


def _kinds_of_campaigns(project_id: int, since_us: int | None, until_us: int | None) -> Any:
    kinds, counted = event_kinds.c, campaign_letters.c
    without = exists().where(counted.project_id == project_id, counted.campaign == "", counted.letters > 0)
    within = exists().where(events.c.kind_id == kinds.id, *_happened(since_us, until_us))
    query = select(
        func.coalesce(kinds.campaign, "").label("campaign"),
        kinds.events,
        _of_events(func.min(events.c.occurred_us)).label("first_us"),
        _of_events(func.max(events.c.occurred_us)).label("last_us"),
        case((within, 1), else_=0).label("within"),
    )
    # Without a reference only what is about letters, where there are such letters.
    named = or_(kinds.campaign.is_not(None), and_(kinds.stage.is_not(None), without))
    return query.where(kinds.project_id == project_id, kinds.events > 0, named).subquery()


def _happened(since_us: int | None, until_us: int | None) -> Iterator[ColumnElement[bool]]:
    if since_us is not None:
        yield events.c.occurred_us >= since_us
    if until_us is not None:
        yield events.c.occurred_us < until_us


def _of_events(value: ColumnElement[int]) -> ColumnElement[int]:
    """The first or last of the events of a kind, which its index gives."""
    return select(value).where(events.c.kind_id == event_kinds.c.id).scalar_subquery()


def _reached_of(
    connection: Connection, project_id: int, campaigns: Sequence[str]
) -> Mapping[str, dict[int, int]]:
    counted = campaign_letters.c
    query = (
        select(counted.campaign, counted.stages, func.sum(counted.letters))
        .where(counted.project_id == project_id, counted.campaign.in_(campaigns), counted.letters > 0)
        .group_by(counted.campaign, counted.stages)
    )
    found: dict[str, dict[int, int]] = {}
    for campaign, stages, letters in connection.execute(query).all():
        found.setdefault(campaign, {})[stages] = int(letters)
    return found


# -- one of them ----------------------------------------------------------------------------------


class StatusRow(NamedTuple):
    """How often a word of the sender was heard; *status* and *stage* are None where an event tells none."""

    status: str | None
    stage: str | None
    events: int
    first_us: int
    last_us: int


class Campaign(NamedTuple):
    """All that is counted of one campaign.

    Attributes:
        statuses: the most frequent first.
        reached, delays: by variation, in order; empty for letters that tell none.
        mailings: how many there are, by state.
        silent: how many nothing was heard of, though more is to come, by the age of AGES.
    """

    campaign: str
    statuses: Sequence[StatusRow]
    reached: Mapping[str, Reached]
    delays: Mapping[str, Delays]
    mailings: Mapping[State, int]
    silent: Mapping[int, int]


def is_known(connection: Connection, project_id: int, campaign: str) -> bool:
    """There is an event or a mailing of the campaign."""
    kinds, counted = event_kinds.c, campaign_mailings.c
    heard = exists().where(kinds.project_id == project_id, kinds.campaign == campaign, kinds.events > 0)
    sent = exists().where(
        counted.project_id == project_id, counted.campaign == campaign, counted.mailings > 0
    )
    return bool(connection.execute(select(or_(heard, sent))).scalar_one())


def find_campaign(connection: Connection, project_id: int, campaign: str, *, now_us: int) -> Campaign | None:
    """What is counted of the campaign; None where there is neither an event nor a mailing of it."""
    values = {"project_id": project_id, "campaign": campaign}
    statuses = [
        StatusRow(status, stage, int(times), first, last)
        for status, stage, times, first, last in connection.execute(_STATUSES, values).all()
    ]
    sent = {State(state): number for state, number in connection.execute(_MAILINGS, values).all()}
    if not statuses and not sent:
        return None
    reached: dict[str, dict[int, int]] = {}
    for variation, stages, letters in connection.execute(_REACHED, values).all():
        reached.setdefault(variation, {})[stages] = letters
    delays: dict[str, dict[tuple[str, str, int], int]] = {}
    for variation, since, stage, bucket, letters in connection.execute(_DELAYS, values).all():
        delays.setdefault(variation, {})[since, stage, bucket] = letters
    return Campaign(campaign, statuses, reached, delays, sent, _silent(connection, values, now_us))


# -- their statements, made once: it takes longer to build one than to run it ----------------------


def _of_campaign(counted: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return counted.project_id == bindparam("project_id"), counted.campaign == bindparam("campaign")


def _by_word() -> Select[Any]:
    kinds = event_kinds.c
    each = (
        select(
            kinds.status,
            kinds.stage,
            kinds.events,
            _of_events(func.min(events.c.occurred_us)).label("first_us"),
            _of_events(func.max(events.c.occurred_us)).label("last_us"),
        )
        .where(*_of_campaign(kinds), kinds.events > 0)
        .subquery()
    )
    number = func.sum(each.c.events)
    return (
        select(each.c.status, each.c.stage, number, func.min(each.c.first_us), func.max(each.c.last_us))
        .group_by(each.c.status, each.c.stage)
        .order_by(number.desc(), func.min(each.c.first_us), each.c.status)
    )


_STATUSES = _by_word()
_MAILINGS = select(campaign_mailings.c.state, campaign_mailings.c.mailings).where(
    *_of_campaign(campaign_mailings.c), campaign_mailings.c.mailings > 0
)
_REACHED = (
    select(campaign_letters.c.variation, campaign_letters.c.stages, campaign_letters.c.letters)
    .where(*_of_campaign(campaign_letters.c), campaign_letters.c.letters > 0)
    .order_by(campaign_letters.c.variation)
)
_DELAYS = select(
    *[campaign_delays.c[name] for name in ("variation", "since", "stage", "bucket", "letters")]
).where(*_of_campaign(campaign_delays.c), campaign_delays.c.letters > 0)


def _by_age() -> Select[*tuple[Any, ...]]:
    heard_us = func.coalesce(mailings.c.heard_us, mailings.c.settled_us)
    # Not by groups, which SQLite would sort them for.
    older = [
        func.count().filter(heard_us <= bindparam(f"before_{days}", type_=BigInteger)) for days in AGES[1:]
    ]
    numbers: list[ColumnElement[int]] = [func.count(), *older]
    return select(*numbers).where(
        *_of_campaign(mailings.c),
        literal_column(MORE_TO_COME),  # in the very words of the index
    )


_SILENT = _by_age()


def _silent(connection: Connection, values: Mapping[str, Any], now_us: int) -> dict[int, int]:
    """By age.  Reads every silent mailing of the campaign, in their index alone."""
    before = {f"before_{days}": now_us - days * DAY_US for days in AGES[1:]}
    numbers = *connection.execute(_SILENT, {**values, **before}).one(), 0
    return {age: number - rest for age, (number, rest) in zip(AGES, pairwise(numbers), strict=True)}
