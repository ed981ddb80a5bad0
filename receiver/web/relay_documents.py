"""The documents about the relay to Bloomreach, for what builds them and for /openapi.json."""

import json
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from receiver.domain.moments import SECOND_US, iso
from receiver.settings import Settings
from receiver.store.outbox import Reason
from receiver.store.relay_status import Aside, Hour, RelayStatus, State
from receiver.store.set_aside import AsideRow
from receiver.web.documents import Time

MOST_GROUPS = 100


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SentDocument(_Document):
    """Commands that Bloomreach has, by the clock in UTC."""

    total: int
    this_hour: int
    last_24_hours: int = Field(description="This hour and the 23 before it.")


class SetAsideGroupDocument(_Document):
    """Commands that were set aside with the same words: Bloomreach's, or ours about what was never sent."""

    reason: Reason
    message: str
    commands: int
    first_at: Time
    last_at: Time

    @classmethod
    def of(cls, group: Aside) -> Self:
        return cls(
            reason=Reason(group.reason),
            message=group.message,
            commands=group.commands,
            first_at=iso(group.first_us),
            last_at=iso(group.last_us),
        )


class SetAsideTotalsDocument(_Document):
    """Commands that wait for a person."""

    commands: int
    groups: list[SetAsideGroupDocument] = Field(
        default=[],
        description=f"Those with the most commands first, at most {MOST_GROUPS}; where they are asked for.",
    )

    @classmethod
    def of(cls, commands: int, groups: Sequence[Aside] | None) -> Self:
        if groups is None:
            return cls(commands=commands)
        most = [SetAsideGroupDocument.of(each) for each in groups[:MOST_GROUPS]]
        return cls(commands=commands, groups=most)


class RelayHourDocument(_Document):
    """What happened within an hour: *given* and *retried* made commands wait, *sent*, *set_aside* and
    *withdrawn* ended that."""

    hour: Time
    given: int
    sent: int
    set_aside: int
    retried: int
    withdrawn: int
    discarded: int

    @classmethod
    def of(cls, hour: Hour) -> Self:
        return cls(hour=iso(hour.hour_us), **dict(zip(Hour._fields[1:], hour[1:], strict=True)))


class RelayDocument(_Document):
    """How it goes with what is relayed.

    What was *given* is *sent*, *waiting*, *set_aside*, *withdrawn* or *discarded*.  *state* is ``off``,
    ``quiet`` (nothing waits), ``relaying``, ``away`` (Bloomreach cannot be reached), ``stopped`` (it turns us
    away: do what *problem* says) or ``unattended`` (nobody relays what waits).
    """

    state: State
    on: bool = Field(description="What is accepted is relayed.")
    missing_settings: list[str] = Field(
        description="Those that the service which answers would need to relay by itself."
    )
    given: int
    waiting: int
    oldest_at: Time | None = Field(description="When the first of those that wait was given.")
    age_seconds: float | None
    sent: SentDocument
    sent_at: Time | None = Field(description="When anything was sent last, of any project.")
    per_second: int | None = Field(
        description="How quickly commands leave, of all projects; null while none does."
    )
    set_aside: SetAsideTotalsDocument
    withdrawn: int = Field(description="Taken back before they were sent.")
    discarded: int = Field(description="Let go after they were set aside.")
    problem: str | None = Field(description="Why Bloomreach does not take what is sent.")
    problem_since: Time | None
    next_try: Time | None = Field(description="Nobody asks Bloomreach before.")
    hours: list[RelayHourDocument] = Field(description="The last 24, this one included, the oldest first.")

    @classmethod
    def of(
        cls, status: RelayStatus, hours: Sequence[Hour], groups: Sequence[Aside] | None, settings: Settings
    ) -> Self:
        totals, pump, now_us = status.totals, status.pump, status.now_us
        sent = [each.sent for each in hours]
        return cls(
            state=status.state,
            on=status.on,
            missing_settings=settings.missing_for_relay,
            given=totals.given,
            waiting=totals.waiting,
            oldest_at=_moment(totals.oldest_us),
            age_seconds=None if status.age_us is None else round(status.age_us / SECOND_US, 1),
            sent=SentDocument(total=totals.sent, this_hour=sent[-1], last_24_hours=sum(sent)),
            sent_at=_moment(pump.sent_us),
            per_second=status.per_second,
            set_aside=SetAsideTotalsDocument.of(totals.aside, groups),
            withdrawn=totals.withdrawn,
            discarded=totals.discarded,
            problem=pump.problem,
            problem_since=_moment(pump.problem_us),
            next_try=_moment(pump.open_us if pump.problem and pump.open_us > now_us else None),
            hours=[RelayHourDocument.of(each) for each in hours],
        )


class SetAsideDocument(_Document):
    """One command that was set aside; *message* is in Bloomreach's words, or ours where it was never sent.

    Of a customer update *type*, *campaign*, *status* and *occurred_at* are null.  *customer_ids* are as
    received.
    """

    id: int
    reason: Reason
    message: str
    given_at: Time
    set_aside_at: Time
    type: str | None
    campaign: str | None
    status: str | None
    occurred_at: Time | None
    customer: int | None
    customer_ids: dict[str, str]

    @classmethod
    def of(cls, row: AsideRow) -> Self:
        return cls(
            id=row.id,
            reason=Reason(row.reason),
            message=row.message,
            given_at=iso(row.given_us),
            set_aside_at=iso(row.set_aside_us),
            type=row.type,
            campaign=row.campaign,
            status=row.status,
            occurred_at=_moment(row.occurred_us),
            customer=row.customer_id,
            customer_ids=json.loads(row.customer_ids or "{}"),
        )


class SetAsidePageDocument(_Document):
    data: list[SetAsideDocument]
    next: int | None = Field(description="The cursor of the next page; null on the last one.")

    @classmethod
    def of(cls, rows: Sequence[AsideRow], limit: int) -> Self:
        """*rows* are one more than *limit* where there is a next page."""
        data = [SetAsideDocument.of(each) for each in rows[:limit]]
        return cls(data=data, next=data[-1].id if len(rows) > limit else None)


class MatchedDocument(_Document):
    """So many commands it was done to, or in a dry run would be."""

    matched: int
    dry_run: bool


def _moment(time_us: int | None) -> str | None:
    return None if time_us is None else iso(time_us)
