"""Who asks and what may be asked: the parameters of our own API, and what other questions are made of.

Validation needs to know the settings, which go in as its context.  No message quotes a value.
"""

import re
import time
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from receiver.domain.commands import ExternalId, Reason, Rules
from receiver.domain.fields import MAX_TEXT, Refusal, is_storable, read_customer_ids
from receiver.domain.moments import moment_us
from receiver.settings import Settings
from receiver.store.refused import RejectionFilter
from receiver.store.reports import Position
from receiver.web.auth import Action, Caller, may
from receiver.web.auth import Refusal as NotAllowed
from receiver.web.documents import ROUTES
from receiver.web.intake import TurnedAway
from receiver.web.state import State

_NAMED_ID = re.compile("([^:=]*)[:=](.*)", re.DOTALL)
_CURSOR = re.compile("([0-9a-f]{1,15})-([0-9a-f]{1,15})")


async def caller_of(request: Request[State], action: Action) -> Caller | NotAllowed:
    """Who asks, or why there is no answer.  A public token is never enough, so none is looked for."""
    caller = await request.state["keys"].authenticate(
        request.path_params["project_token"],
        request.headers.get("authorization"),
        None,
        time.time_ns() // 1000,
    )
    if isinstance(caller, Caller) and not may(caller.role, action):
        return NotAllowed(403, f"No permission: this key may not {action.value}")
    return caller


async def body_of(request: Request[State]) -> bytes | TurnedAway:
    """The whole body, or why it is not taken."""
    length = request.headers.get("content-length", "")
    announced_bytes = int(length[:20]) if length.isascii() and length.isdigit() else 0
    return await request.state["intake"].body(request.receive, announced_bytes)


def rejection_cursor(rejection_id: int | None) -> str | None:
    """The position behind a rejection as URL-safe text."""
    return None if rejection_id is None else f"0-{rejection_id:x}"


def _settings(info: ValidationInfo) -> Settings:
    assert isinstance(info.context, Settings)
    return info.context


def _storable(text: str) -> str:
    if not is_storable(text):
        raise PydanticCustomError("unstorable", "Send valid Unicode without NUL")
    return text


def _moment(text: object) -> int:
    try:
        return moment_us(str(text))
    except ValueError:
        raise PydanticCustomError(
            "time", "Write it in ISO 8601, as 2026-11-23T09:30:00Z; in a URL the + of a zone is %2B"
        ) from None


def _position(text: object) -> Position:
    match = _CURSOR.fullmatch(str(text))
    if match is None:
        raise PydanticCustomError("cursor", "This is no cursor; take the `next` of the page before")
    return Position(int(match[1], 16), int(match[2], 16))


def _customer(text: object, info: ValidationInfo) -> ExternalId:
    settings = _settings(info)
    kinds = settings.hard_ids + settings.soft_ids
    match = _NAMED_ID.fullmatch(str(text))
    if match is None or match[1] not in kinds or not match[2].strip():
        raise PydanticCustomError(
            "customer",
            "Write it as NAME:VALUE (or NAME=VALUE); the names are {names}",
            {"names": ", ".join(kinds)},
        )
    return ExternalId(match[1], _storable(match[2].strip()))


def _customer_ids(sent: object, info: ValidationInfo) -> tuple[ExternalId, ...]:
    settings = _settings(info)
    # A question cannot spoil anything, so an empty ID beside a valid one may stay.
    rules = Rules(hard_ids=settings.hard_ids, soft_ids=settings.soft_ids, empty_ids="drop")
    found = read_customer_ids(sent, rules)
    if isinstance(found, Refusal):
        raise PydanticCustomError("customer_ids", "{detail}", {"detail": found.detail})
    return found[0]


Name = Annotated[str, AfterValidator(_storable)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_storable)]
Pointer = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_storable)]
Moment = Annotated[
    int,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation"),
]
Cursor = Annotated[Position, BeforeValidator(_position), WithJsonSchema({"type": "string"})]
Customer = Annotated[ExternalId, BeforeValidator(_customer), WithJsonSchema({"type": "string"})]
CustomerIds = Annotated[
    tuple[ExternalId, ...],
    BeforeValidator(_customer_ids),
    # Which names there are is a setting: /openapi.json puts them here.
    WithJsonSchema({"type": "object"}),
]
PageSize = Annotated[int, Field(ge=1, le=1000)]


# -- our own API: parameters ----------------------------------------------------------------------


class Parameters(BaseModel):
    """No parameters: every other name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Period(Parameters):
    """From *since* on, and before *until*."""

    since: Moment | None = Field(None, description="ISO 8601; without a zone UTC; a date is its midnight.")
    until: Moment | None = Field(None, description="ISO 8601; itself excluded.")


class OutcomesQuestion(Period):
    by: Literal["day", "hour", "campaign"] = Field(
        "day", description="A row for each day or hour (UTC), or for each campaign."
    )
    campaign: Text | None = Field(None, description="Only commands and letters of this campaign.")


class RejectedAlike(Period):
    """Which rejections, by what they have in common and when they were seen, the first or the last time."""

    reason: Reason | None = None
    type: Text | None = Field(None, description="The type of event, as far as it could be read.")
    campaign: Text | None = Field(None, description="The campaign reference, as far as it could be read.")
    route: Literal["customers/events", "customers", "batch", "callbacks"] | None = None
    pointer: Pointer | None = Field(None, description="The failing place, as /customer_ids/registered.")

    def alike(self, *, state: str | None = None, text: str | None = None) -> RejectionFilter:
        return RejectionFilter(
            reason=self.reason,
            state=state,
            event_type=self.type,
            campaign=self.campaign,
            pointer=self.pointer,
            forms=tuple(form for form, route in ROUTES.items() if route == self.route),
            since_us=self.since,
            until_us=self.until,
            text=text,
        )


class WhichRejections(RejectedAlike):
    state: Literal["open", "replayed", "dismissed"] | None = None

    def filter(self) -> RejectionFilter:
        return self.alike(state=self.state)


class SummaryQuestion(WhichRejections):
    by: Literal["reason", "shape"] = Field(
        "reason", description="A row for each reason; or for each reason and failing place."
    )
    trend: Literal["hour", "day"] | None = Field(
        None, description="How often it came in each of the last 24 hours, or 14 days (UTC)."
    )


class RejectionsQuestion(WhichRejections):
    q: Text | None = Field(
        None, description="Text within the body, as it was written there.  Pages may then be short."
    )
    limit: PageSize = 100
    cursor: Cursor | None = Field(None, description="The `next` of the page before.")

    def filter(self) -> RejectionFilter:
        return self.alike(state=self.state, text=self.q)
