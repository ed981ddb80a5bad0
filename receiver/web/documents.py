"""The documents that routes answer with, for what builds them and for /openapi.json.

Events, customers and answers to callbacks are written as text; a test holds that against their models.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from receiver.domain.commands import Form
from receiver.domain.moments import day, iso
from receiver.store.outcomes import Counts, Span
from receiver.store.refused import KeptRejection, ReasonSummary, RejectionRow
from receiver.store.writes import Source

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
    properties: dict[str, Any]


class EventsDocument(_Document):
    data: list[EventDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


# -- outcomes -------------------------------------------------------------------------------------


class CountsDocument(BaseModel):
    """Commands of the sender: received = accepted + duplicate + rejected."""

    model_config = ConfigDict(frozen=True, extra="allow")

    received: int
    accepted: int
    duplicate: int
    rejected: int


class DayDocument(CountsDocument):
    """One day (UTC); what had another source stands beside, under the name of the source."""

    day: str


class OutcomesDocument(BaseModel):
    """What has another source than the sender stands beside ``total``, under the name of the source."""

    model_config = ConfigDict(frozen=True, extra="allow")

    total: CountsDocument
    days: list[DayDocument]

    @classmethod
    def of(cls, found: Mapping[Span, Counts]) -> Self:
        """*found* is by day, in order."""
        total: dict[str, Counts] = {}
        days: dict[int, dict[str, Counts]] = {}
        for (begin_us, source), counts in found.items():
            total[source] = total.get(source, Counts()).plus(counts)
            days.setdefault(begin_us, {})[source] = counts
        listed = [{"day": day(begin_us), **_sent(each), **_beside(each)} for begin_us, each in days.items()]
        return cls.model_validate({"total": _sent(total), "days": listed, **_beside(total)})


def _sent(counts: Mapping[str, Counts]) -> dict[str, int]:
    return counts.get(Source.CALLBACK, Counts())._asdict()


def _beside(counts: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    return {source: each._asdict() for source, each in counts.items() if source != Source.CALLBACK}


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

    @classmethod
    def of(cls, row: RejectionRow) -> Self:
        return cls(**_fields(row))


class RejectionsDocument(_Document):
    data: list[RejectionDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")


class KeptRejectionDocument(RejectionDocument):
    """With the bytes as received: as text, or in base64 where they are no UTF-8."""

    body: str | None = None
    body_base64: str | None = None
    headers: list[Pair] = Field(description="Pairs of name and value, without credentials.")

    @classmethod
    def of_kept(cls, kept: KeptRejection) -> Self:
        try:
            body: dict[str, Any] = {"body": kept.body.decode()}
        except UnicodeDecodeError:
            body = {"body_base64": base64.b64encode(kept.body).decode()}
        return cls(**_fields(kept.row), **body, headers=json.loads(kept.headers))


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
    }


class ReasonDocument(_Document):
    """How often something was refused for one reason, repeats included."""

    reason: str
    count: int
    first_seen: Time
    last_seen: Time


class SummaryDocument(_Document):
    data: list[ReasonDocument]

    @classmethod
    def of(cls, found: Iterable[ReasonSummary]) -> Self:
        return cls(
            data=[
                ReasonDocument(
                    reason=each.reason,
                    count=each.count,
                    first_seen=iso(each.first_seen_us),
                    last_seen=iso(each.last_seen_us),
                )
                for each in found
            ]
        )


# -- the Data API ---------------------------------------------------------------------------------


class CustomerEventDocument(_Document):
    type: str
    timestamp: float = Field(description="UNIX seconds, with their fraction.")
    properties: dict[str, Any]


class CustomerEventsDocument(_Document):
    success: bool
    data: list[CustomerEventDocument]


class CustomerDocument(_Document):
    """Hard IDs are texts, null where there is none; soft IDs are lists, the most recently used one last."""

    success: bool
    ids: dict[str, str | list[str] | None]
    properties: dict[str, Any]
    events: list[CustomerEventDocument]


class AttributeDocument(_Document):
    """A value, or why there is none."""

    success: bool
    value: Any = None
    error: str | None = None


class AttributesDocument(_Document):
    success: bool
    results: list[AttributeDocument]


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
