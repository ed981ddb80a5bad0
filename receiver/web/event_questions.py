"""What may be asked about events, and the cursor between two pages of them."""

import json
import re
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from receiver.domain.fields import is_storable
from receiver.domain.properties import PropertyEquals
from receiver.settings import Stage
from receiver.store.event_places import EventFilter
from receiver.store.reports import Position
from receiver.web.questions import Customer, Moment, PageSize, Period, Text

_CURSOR = re.compile("(oldest-)?([0-9a-f]{1,15})-([0-9a-f]{1,15})")
_NAMED_VALUE = re.compile(r'([^:="][^:=]*|"(?:[^"\\]|\\.)*")[:=](.*)', re.DOTALL)


class EventCursor(NamedTuple):
    """Where a page ended, in which order."""

    position: Position
    oldest_first: bool


def event_cursor(position: Position | None, *, oldest_first: bool) -> str | None:
    """*position* as URL-safe text."""
    return position and f"{'oldest-' if oldest_first else ''}{position.occurred_us:x}-{position.id:x}"


def _cursor(text: object) -> EventCursor:
    match = _CURSOR.fullmatch(str(text))
    if match is None:
        raise PydanticCustomError("cursor", "This is no cursor; take the `next` of the page before")
    return EventCursor(Position(int(match[2], 16), int(match[3], 16)), bool(match[1]))


def _property(text: object) -> PropertyEquals:
    match = _NAMED_VALUE.fullmatch(str(text))
    name, value = (_name(match[1]), match[2]) if match else (None, "")
    if name is None or not is_storable(name + value):
        raise PydanticCustomError(
            "property",
            "Write it as NAME:VALUE (or NAME=VALUE), in valid Unicode without NUL;"
            ' a name that holds : or = or begins with " stands in quotes, as in JSON',
        )
    return PropertyEquals(name, value)


def _name(written: str) -> str | None:
    try:
        return str(json.loads(written)) if written.startswith('"') else written
    except ValueError:
        return None


class WhichEvents(Period):
    """Which events; the period is about when they happened."""

    customer: Customer | None = Field(None, description="name:value of an ID, as registered:c-1001.")
    campaign: Text | None = Field(None, description="The campaign reference.")
    status: Text | None = Field(None, description="The sender's own word.")
    stage: Stage | None = Field(None, description="Our word.")
    type: Text | None = Field(None, description="The type of event.")
    variation: Text | None = Field(None, description="The variation of an A/B test. Pages may then be short.")
    property: (
        Annotated[PropertyEquals, BeforeValidator(_property), WithJsonSchema({"type": "string"})] | None
    ) = Field(
        None,
        description="name:value of a property of the event, as variation:B; a number has any of its forms. "
        "Pages may then be short.",
    )
    received_since: Moment | None = Field(
        None, description="It arrived from then on. Pages may then be short."
    )
    received_until: Moment | None = Field(None, description="It arrived before. Pages may then be short.")

    def filter(self) -> EventFilter:
        return EventFilter(
            customer=(self.customer,) if self.customer else (),
            campaign=self.campaign,
            status=self.status,
            stage=self.stage,
            variation=self.variation,
            types=(self.type,) if self.type else (),
            since_us=self.since,
            until_us=self.until,
            received_since_us=self.received_since,
            received_until_us=self.received_until,
            property=self.property,
        )


class EventsQuestion(WhichEvents):
    order: Literal["newest", "oldest"] = Field("newest", description="Which come first.")
    limit: PageSize | None = Field(
        None, description="Most events: of a page of JSON (100 unless told), or of a whole export (all)."
    )
    cursor: Annotated[EventCursor, BeforeValidator(_cursor), WithJsonSchema({"type": "string"})] | None = (
        Field(None, description="The `next` of the page before, which had the same order.")
    )
    format: Literal["json", "jsonl", "csv", "parquet"] = Field(
        "json", description="One page as JSON, or all events as JSON Lines, CSV or Parquet."
    )

    @field_validator("cursor")
    @classmethod
    def _is_of_this_order(cls, cursor: EventCursor | None, info: ValidationInfo) -> EventCursor | None:
        order = info.data.get("order")  # none where it was wrong itself
        if cursor and order and cursor.oldest_first != (order == "oldest"):
            raise PydanticCustomError(
                "order", "The page before had the other order; ask in that one, or without a cursor"
            )
        return cursor
