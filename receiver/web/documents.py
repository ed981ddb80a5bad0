"""The documents that routes answer with, for what builds them and for /openapi.json.

Events and answers to callbacks are written as text; a test holds that against their models.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from receiver.domain.commands import Form
from receiver.domain.moments import iso
from receiver.domain.places import locate
from receiver.store.refusal_counts import Summary, Trends
from receiver.store.refused import KeptRejection, RejectionRow

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]

# Not a tuple: fewer readers of JSON Schema know those.
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]

ROUTES: Mapping[str, str] = {
    Form.EVENT: "customers/events",
    Form.UPDATE: "customers",
    Form.BATCH: "batch",
    Form.COMMAND: "batch",
    Form.FLAT: "callbacks",
    Form.FLAT_ITEM: "callbacks",
}
"""The route that a rejection came in by."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EventDocument(_Document):
    """*customer_ids* are as sent, *customer* is who it is now; *tied* says why *mailing* is its letter."""

    id: int
    customer: int
    customer_ids: dict[str, str]
    type: str
    occurred_at: Time
    received_at: Time
    source: str
    campaign: str | None
    status: str | None
    stage: str | None
    mailing: str | None
    tied: str | None
    variation: str | None
    properties: dict[str, Any]


class EventsDocument(_Document):
    data: list[EventDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


# -- rejections -----------------------------------------------------------------------------------


class RejectionDocument(_Document):
    """One refused command or body.  *count* says how often it came."""

    id: int
    received_at: Time
    last_seen: Time
    route: str
    reason: str
    detail: str
    pointer: str
    state: str
    count: int
    attempts: int
    type: str | None = Field(description="The type of event, as far as it could be read.")
    campaign: str | None = Field(description="The campaign reference, likewise.")

    @classmethod
    def of(cls, row: RejectionRow) -> Self:
        return cls(**_fields(row))


class RejectionsDocument(_Document):
    data: list[RejectionDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class PlaceDocument(_Document):
    """A piece of the body, in characters from 0 on; lines and columns are counted from 1."""

    start: int
    end: int
    line: int
    column: int
    missing: bool = Field(description="It is not there; this is the innermost value in which it would be.")


class KeptRejectionDocument(RejectionDocument):
    """With the bytes as received: as text, or in base64 where they are no UTF-8."""

    place: PlaceDocument | None = Field(
        description="What the pointer names, or where the body ceases to be JSON; null where nobody can tell."
    )
    body: str | None = None
    body_base64: str | None = None
    headers: list[Pair] = Field(description="Pairs of name and value, without credentials.")

    @classmethod
    def of_kept(cls, kept: KeptRejection) -> Self:
        try:
            body: dict[str, Any] = {"body": kept.body.decode()}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(kept.body).decode()}
        found = locate(Form(kept.row.form), kept.body, kept.row.pointer)
        place = None if found is None else PlaceDocument(**found._asdict())
        return cls(**_fields(kept.row), place=place, **body, headers=json.loads(kept.headers))


def _fields(row: RejectionRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "received_at": iso(row.received_us),
        "last_seen": iso(row.last_seen_us),
        "route": ROUTES.get(row.form, row.form),
        "reason": row.reason,
        "detail": row.detail,
        "pointer": row.pointer,
        "state": row.state,
        "count": row.count,
        "attempts": row.attempts,
        "type": row.event_type,
        "campaign": row.campaign,
    }


class ReasonDocument(_Document):
    """How often something was refused for one reason, repeats included.

    ``rejections`` and ``open`` are not known where a period was asked for without a state.
    """

    reason: str
    pointer: str | None = Field(None, description="Of a summary by shape.")
    count: int
    rejections: int | None
    open: int | None = Field(description="Rejections that are open.")
    first_seen: Time
    last_seen: Time
    trend: list[int] | None = Field(None, description="How often it came, the oldest span first.")


class SummaryDocument(_Document):
    data: list[ReasonDocument]

    @classmethod
    def of(cls, found: Iterable[Summary], trends: Trends | None = None) -> Self:
        return cls(data=[_reason(each, trends) for each in found])


def _reason(summary: Summary, trends: Trends | None) -> ReasonDocument:
    optional: dict[str, Any] = {}
    if summary.pointer is not None:
        optional["pointer"] = summary.pointer
    if trends is not None:
        optional["trend"] = trends.of(summary)
    return ReasonDocument(
        reason=summary.reason,
        count=summary.count,
        rejections=summary.rejections,
        open=summary.open,
        first_seen=iso(summary.first_seen_us),
        last_seen=iso(summary.last_seen_us),
        **optional,
    )


# -- the Tracking API, answered by hand -----------------------------------------------------------


class CallbackDocument(_Document):
    """Whether the event or update was taken; else ``errors`` say why, the vendor's words first."""

    success: bool
    errors: list[str]


class TimeDocument(CallbackDocument):
    """What time it is here."""

    time: float = Field(description="UNIX seconds, with their fraction.")


class ResultDocument(_Document):
    """What became of one command; ``time`` answers a ``system/time``."""

    success: bool
    errors: list[str] | None = None
    time: float | None = None
    command_id: str | int | None = None


class ResultsDocument(_Document):
    """One result for each command, in their order."""

    success: bool
    results: list[ResultDocument]
    start_time: float
    end_time: float


class RefusedBatchDocument(_Document):
    """Why none of the commands was read."""

    success: bool
    message: str


# -- health and errors ----------------------------------------------------------------------------


class HealthDocument(_Document):
    status: str


class MistakeDocument(_Document):
    parameter: str | None = None
    pointer: str | None = None
    detail: str


class ProblemDocument(_Document):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[MistakeDocument] | None = None


class VendorErrorDocument(_Document):
    """``error`` where the request as such is wrong, ``errors`` where a field is (``_global``: none)."""

    success: bool
    error: str | None = None
    errors: dict[str, list[str]] | None = None
