"""What is asked about mailings: statements that only read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, select, text

from receiver.domain.moments import SECOND_US
from receiver.store.mailings import State
from receiver.store.tables import HEARD_LAST, MORE_TO_COME, campaign_mailings, mailings, runs

Fates = Mapping[tuple[str, str | None], int]
"""(state, reason) -> how many letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailingFilter:
    """Which mailings; what is None does not matter.

    Attributes:
        customer: the number of a customer.
        silent_since_us: queued at Optilyz, and nothing was heard of it since then, though more is to come.
    """

    state: str | None = None
    campaign: str | None = None
    customer: int | None = None
    silent_since_us: int | None = None


class MailingRow(NamedTuple):
    """One mailing; *ids* is the JSON text of an object; see receiver.store.tables."""

    id: str
    customer_id: int | None
    run_id: int | None
    place: int | None
    automation: str
    campaign: str | None
    state: str
    reason: str | None
    message: str | None
    ids: str
    variation: str | None
    vendor_id: str | None
    attempts: int
    created_us: int
    asked_us: int | None
    settled_us: int | None
    status: str | None
    stage: str | None
    stage_us: int | None
    heard_us: int | None

    @property
    def silent_since_us(self) -> int | None:
        """Since when nothing was heard of a letter of which more is to come; None of all others."""
        if self.state != State.QUEUED or self.stage in HEARD_LAST:
            return None
        return self.settled_us if self.heard_us is None else self.heard_us


class MailingPage(NamedTuple):
    """*next* is the ID behind which the next page begins; None where nothing is left."""

    rows: list[MailingRow]
    next: str | None


class Counts(NamedTuple):
    """How many letters there are, and how many of the queued ones by the last stage heard of them."""

    fates: Fates
    stages: Mapping[str | None, int]


_COLUMNS = tuple(mailings.c[name] for name in MailingRow._fields)


def mailings_page(
    connection: Connection,
    project_id: int,
    wanted: MailingFilter,
    *,
    after: str | None = None,
    limit: int,
) -> MailingPage:
    """At most *limit* mailings, the newest first, from behind *after*."""
    query = select(*_COLUMNS).where(*_conditions(connection, project_id, wanted))
    if after is not None:
        query = query.where(mailings.c.id < after)
    query = query.order_by(mailings.c.id.desc()).limit(limit + 1)
    rows = list(map(MailingRow._make, connection.execute(query)))
    return MailingPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def find_mailing(connection: Connection, project_id: int, mailing_id: str) -> MailingRow | None:
    """The mailing with this ID."""
    query = select(*_COLUMNS).where(mailings.c.project_id == project_id, mailings.c.id == mailing_id)
    row = connection.execute(query).first()
    return None if row is None else MailingRow._make(row)


def project_of(connection: Connection, mailing_id: str) -> int | None:
    """The number of the project that the mailing with this ID belongs to."""
    return connection.execute(select(mailings.c.project_id).where(mailings.c.id == mailing_id)).scalar()


def summary(connection: Connection, project_id: int, campaign: str | None) -> Counts:
    """Of all mailings, or of a campaign.  Reads every mailing that matches."""
    stage = case((mailings.c.state == State.QUEUED, mailings.c.stage))
    query = select(mailings.c.state, mailings.c.reason, stage, func.count()).where(
        mailings.c.project_id == project_id
    )
    if campaign is not None:
        narrow = mailings.c.campaign == campaign
        # SQLite, which has no statistics, would rather have them in the order of their states.
        query = query.where(func.unlikely(narrow) if connection.dialect.name == "sqlite" else narrow)
    fates: dict[tuple[str, str | None], int] = {}
    stages: dict[str | None, int] = {}
    for state, reason, heard, count in connection.execute(
        query.group_by(mailings.c.state, mailings.c.reason, stage)
    ):
        fates[state, reason] = fates.get((state, reason), 0) + count
        if state == State.QUEUED:
            stages[heard] = stages.get(heard, 0) + count
    return Counts(fates, stages)


def states(connection: Connection, project_id: int, campaign: str | None) -> Fates:
    """How many letters are in each state, without a reason: as they are counted while they change."""
    counted = campaign_mailings.c
    query = select(counted.state, func.sum(counted.mailings)).where(counted.project_id == project_id)
    if campaign is not None:
        query = query.where(counted.campaign == campaign)
    rows = connection.execute(query.group_by(counted.state))
    return {(state, None): int(count) for state, count in rows if count}


def _conditions(
    connection: Connection, project_id: int, wanted: MailingFilter
) -> Iterator[ColumnElement[bool]]:
    if wanted.customer is not None:
        # Without the project, which the customer implies: or SQLite takes an index that begins with it.
        yield mailings.c.customer_id == wanted.customer
    elif wanted == MailingFilter() and connection.dialect.name == "sqlite":
        # Nor the bare column where nothing else is asked: SQLite would sort all mailings by their ID.
        yield mailings.c.project_id + 0 == project_id
    else:
        yield mailings.c.project_id == project_id
    if wanted.state is not None:
        yield mailings.c.state == wanted.state
    if wanted.campaign is not None:
        yield mailings.c.campaign == wanted.campaign
    if wanted.silent_since_us is not None:
        # In the very words of the index, which is of these letters alone.
        yield text(MORE_TO_COME)  # type: ignore[misc]  # it stands wherever a condition may
        yield func.coalesce(mailings.c.heard_us, mailings.c.settled_us) <= wanted.silent_since_us
        # IDs ascend with the time: what was asked for later need not be looked at.
        yield mailings.c.id <= f"{wanted.silent_since_us + SECOND_US:014x}g"


def fates_of_run(connection: Connection, run_id: int) -> tuple[int, Fates]:
    """Rows of the file that are prepared, and what became of their letters."""
    rows = connection.execute(select(runs.c.rows).where(runs.c.id == run_id)).scalar_one()
    counted = connection.execute(
        select(mailings.c.state, mailings.c.reason, func.count())
        .where(mailings.c.run_id == run_id)
        .group_by(mailings.c.state, mailings.c.reason)
    )
    return rows, {(state, reason): count for state, reason, count in counted}
