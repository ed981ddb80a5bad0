"""The documents about mailings and suppressions, for what builds them and for /openapi.json."""

import json
from collections.abc import Iterable, Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from receiver.domain.moments import DAY_US, iso
from receiver.outbound.cancellations import Cancelled, Outcome
from receiver.store.letters import Counts, Fates, MailingRow
from receiver.store.mailings import Kind, State
from receiver.store.suppressions import SuppressionPage
from receiver.web.documents import EventDocument, Time


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MailingDocument(_Document):
    """One letter.  *customer_ids* are those that travel in it; *status* and *stage* are the last that was
    heard of it; *silent_days* are counted where more is to be heard."""

    id: str
    state: State
    reason: str | None
    message: str | None
    customer_ids: dict[str, str]
    automation: str
    campaign: str | None
    variation: str | None
    vendor_id: str | None
    attempts: int
    created_at: Time
    asked_at: Time | None
    settled_at: Time | None
    status: str | None
    stage: str | None
    stage_at: Time | None
    heard_at: Time | None
    silent_days: int | None

    @classmethod
    def of(cls, row: MailingRow, now_us: int) -> Self:
        return cls.model_validate(_fields(row, now_us))


class MailingsDocument(_Document):
    data: list[MailingDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class KeptMailingDocument(MailingDocument):
    """With what happened to it, the newest first."""

    events: list[EventDocument]


class CancelledMailingDocument(MailingDocument):
    """As it is now, and what became of the wish to cancel it; *detail* says so in a sentence."""

    outcome: Outcome
    detail: str

    @classmethod
    def of_cancelled(cls, row: MailingRow, cancelled: Cancelled, now_us: int) -> Self:
        return cls.model_validate({**_fields(row, now_us), **cancelled._asdict()})


class OutcomeDocument(_Document):
    """What became of the wish to cancel so many letters."""

    outcome: Outcome
    detail: str
    count: int


class CancelledMailingsDocument(_Document):
    data: list[OutcomeDocument]
    next: str | None = Field(description="The cursor to go on with; null where nothing is left.")

    @classmethod
    def of(cls, done: Mapping[Cancelled, int], following: str | None) -> Self:
        rows = sorted(done.items(), key=lambda each: -each[1])
        return cls(
            data=[OutcomeDocument(**each._asdict(), count=count) for each, count in rows], next=following
        )


class ResolvedMailingsDocument(_Document):
    """How many letters of unknown fate there were."""

    resolved: int


def _fields(row: MailingRow, now_us: int) -> dict[str, object]:
    since_us = row.silent_since_us
    return {
        "id": row.id,
        "state": row.state,
        "reason": row.reason,
        "message": row.message,
        "customer_ids": json.loads(row.ids),
        "automation": row.automation,
        "campaign": row.campaign,
        "variation": row.variation,
        "vendor_id": row.vendor_id,
        "attempts": row.attempts,
        "created_at": iso(row.created_us),
        "asked_at": _iso(row.asked_us),
        "settled_at": _iso(row.settled_us),
        "status": row.status,
        "stage": row.stage,
        "stage_at": _iso(row.stage_us),
        "heard_at": _iso(row.heard_us),
        "silent_days": None if since_us is None else max(0, now_us - since_us) // DAY_US,
    }


def _iso(time_us: int | None) -> str | None:
    return None if time_us is None else iso(time_us)


class FateDocument(_Document):
    """How many letters are in a state, for one reason."""

    state: State
    reason: str | None
    count: int


def fates_of(found: Fates) -> list[FateDocument]:
    """In the order of the states."""
    places = list(State)
    fates = [
        FateDocument(state=State(state), reason=reason, count=count)
        for (state, reason), count in found.items()
    ]
    return sorted(fates, key=lambda each: (places.index(each.state), each.reason or ""))


class StageDocument(_Document):
    """How many queued letters were last heard of in a stage; null: of so many nothing was heard."""

    stage: str | None
    count: int


class MailingsSummaryDocument(_Document):
    data: list[FateDocument]
    stages: list[StageDocument] | None = Field(description="Null where only states were asked for.")

    @classmethod
    def of(cls, found: Counts) -> Self:
        stages = [StageDocument(stage=stage, count=count) for stage, count in found.stages.items()]
        return cls(data=fates_of(found.fates), stages=sorted(stages, key=lambda each: each.stage or ""))


# -- suppressions ---------------------------------------------------------------------------------


class SuppressionDocument(_Document):
    """Somebody who gets no letter.  *customer_ids* are all that the customer has now."""

    id: int
    kind: Kind
    customer_ids: dict[str, list[str]]
    note: str
    mailing_id: str | None = Field(description="The letter that told; null where a person did.")
    created_at: Time
    lifted_at: Time | None


class SuppressionsDocument(_Document):
    data: list[SuppressionDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")

    @classmethod
    def of(cls, page: SuppressionPage) -> Self:
        following = None if page.next is None else str(page.next)
        return cls(data=list(suppressions_of(page)), next=following)


class LiftedDocument(_Document):
    """Those that were open until now."""

    data: list[SuppressionDocument]


def suppressions_of(page: SuppressionPage) -> Iterable[SuppressionDocument]:
    for row in page.rows:
        yield SuppressionDocument(
            id=row.id,
            kind=Kind(row.kind),
            customer_ids=page.ids.get(row.customer_id, {}),
            note=row.note,
            mailing_id=row.mailing_id,
            created_at=iso(row.created_us),
            lifted_at=_iso(row.lifted_us),
        )
