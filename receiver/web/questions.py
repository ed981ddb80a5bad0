"""Who asks and what may be asked: the parameters of our own API and the bodies of the Data API.

Validation needs to know the settings, which go in as its context.  No message quotes a value.
"""

import re
import time
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from receiver.domain.commands import ExternalId, Reason, Rules
from receiver.domain.fields import MAX_TEXT, Refusal, is_storable, read_customer_ids
from receiver.domain.moments import moment_us
from receiver.settings import Settings, Stage
from receiver.store.refused import RejectionFilter
from receiver.store.reports import EventFilter, Position
from receiver.web.auth import Action, Caller, may
from receiver.web.auth import Refusal as NotAllowed
from receiver.web.intake import TurnedAway
from receiver.web.state import State

MOST_TYPES = 1000
_MOST = 2**31 - 1
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


def event_cursor(position: Position | None) -> str | None:
    """*position* as URL-safe text."""
    return position and f"{position.occurred_us:x}-{position.id:x}"


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


Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_storable)]
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
Format = Annotated[
    Literal["json", "jsonl", "csv", "parquet"],
    # Parquet is understood and answered 501 as yet, so nobody is told of it.
    WithJsonSchema({"type": "string", "enum": ["json", "jsonl", "csv"]}),
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


class WhichEvents(Period):
    """Which events; the period is about when they happened."""

    customer: Customer | None = Field(None, description="name:value of an ID, as registered:c-1001.")
    campaign: Text | None = Field(None, description="The campaign reference.")
    status: Text | None = Field(None, description="The sender's own word.")
    stage: Stage | None = Field(None, description="Our word.")
    type: Text | None = Field(None, description="The type of event.")

    def filter(self) -> EventFilter:
        return EventFilter(
            customer=(self.customer,) if self.customer else (),
            campaign=self.campaign,
            status=self.status,
            stage=self.stage,
            types=(self.type,) if self.type else (),
            since_us=self.since,
            until_us=self.until,
        )


class EventsQuestion(WhichEvents):
    limit: PageSize | None = Field(
        None, description="Most events: of a page of JSON (100 unless told), or of a whole export (all)."
    )
    cursor: Cursor | None = Field(None, description="The `next` of the page before.")
    format: Format = Field("json", description="One page as JSON, or all events as JSON Lines or CSV.")


class WhichRejections(Period):
    """Which rejections; the period is about when they were seen, the first or the last time."""

    reason: Reason | None = None
    state: Literal["open", "replayed", "dismissed"] | None = None

    def filter(self, text: str | None = None) -> RejectionFilter:
        return RejectionFilter(
            reason=self.reason, state=self.state, since_us=self.since, until_us=self.until, text=text
        )


class RejectionsQuestion(WhichRejections):
    q: Text | None = Field(
        None, description="Text within the body, as it was written there.  Pages may then be short."
    )
    limit: PageSize = 100
    cursor: Cursor | None = Field(None, description="The `next` of the page before.")


# -- the Data API: bodies -------------------------------------------------------------------------


class CustomerQuestion(BaseModel):
    """Whom the question is about; other keys are ignored, as by the vendor."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    customer_ids: CustomerIds


class CustomerEventsQuestion(CustomerQuestion):
    event_types: Annotated[list[Text], Field(min_length=1, max_length=MOST_TYPES)]
    order: Literal["asc", "desc"] = "asc"
    limit: Annotated[int, Field(ge=0, le=_MOST)] | None = Field(None, description="All unless told.")
    skip: Annotated[int, Field(ge=0, le=_MOST)] = 0


class Attribute(BaseModel):
    """``{"type": "property", "property": NAME}`` or ``{"type": "id", "id": NAME}``; we have no others."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    property: str | None = None
    id: str | None = None

    @model_validator(mode="after")
    def _names_what_it_asks_for(self) -> Self:
        if self.type in {"property", "id"} and getattr(self, self.type) is None:
            raise PydanticCustomError("unnamed", "Name the property, or the id")
        return self


class AttributesQuestion(CustomerQuestion):
    attributes: list[Attribute]
