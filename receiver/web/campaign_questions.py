"""What may be asked about campaigns, and the cursor between two pages of them."""

import base64
import re
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from receiver.domain.fields import MAX_TEXT, is_storable
from receiver.domain.local_time import Span
from receiver.domain.moments import moment_us
from receiver.store.campaigns import Position
from receiver.store.series import Wanted
from receiver.web.questions import PageSize, Parameters, Period

_CURSOR = re.compile("([0-9a-f]{1,15})-([A-Za-z0-9_-]*)")


def campaign_cursor(position: Position | None) -> str | None:
    """*position* as URL-safe text."""
    if position is None:
        return None
    reference = base64.urlsafe_b64encode(position.campaign.encode()).decode().rstrip("=")
    return f"{position.last_us:x}-{reference}"


def _position(text: object) -> Position:
    match = _CURSOR.fullmatch(str(text))
    reference = _reference(match[2]) if match else None
    if match is None or reference is None:
        raise PydanticCustomError("cursor", "This is no cursor; take the `next` of the page before")
    return Position(int(match[1], 16), reference)


def _reference(encoded: str) -> str | None:
    try:
        text = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        return None
    return text if is_reference(text) else None


def is_reference(text: str) -> bool:
    """A campaign can have this reference; no database can be asked for others."""
    return len(text) <= MAX_TEXT and is_storable(text)


class CampaignsQuestion(Period):
    """Of a period only campaigns that something was heard of within it; their figures are of all time."""

    limit: PageSize = 100
    cursor: Annotated[Position, BeforeValidator(_position), WithJsonSchema({"type": "string"})] | None = (
        Field(None, description="The `next` of the page before.")
    )


class FunnelQuestion(Parameters):
    format: Literal["json", "csv"] = Field(
        "json", description="Everything as JSON, or the funnel as CSV: a line for each step and variation."
    )


# -- time series ----------------------------------------------------------------------------------


def _zone(name: str) -> tzinfo | None:
    try:
        # Everybody knows UTC, also where the list of time zones is not installed.
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _known_zone(name: str) -> str:
    if _zone(name) is None:
        raise PydanticCustomError("timezone", "There is no such time zone; write it as Europe/Berlin")
    return name


def _local_moment(text: object, info: ValidationInfo) -> int:
    zone = _zone(info.data.get("timezone", "UTC"))  # none where that was wrong itself
    try:
        written = datetime.fromisoformat(str(text).strip().upper())
        return moment_us(written.isoformat() if written.tzinfo else written.replace(tzinfo=zone).isoformat())
    except ValueError:
        raise PydanticCustomError(
            "time", "Write it in ISO 8601, as 2026-11-23T09:30:00Z; in a URL the + of a zone is %2B"
        ) from None


_LocalMoment = Annotated[
    int,
    BeforeValidator(_local_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation"),
]


class SeriesQuestion(Parameters):
    """Hours belong to the day and to the period in which they begin."""

    bucket: Span = Field("day", description="What is counted together; weeks begin on Monday.")
    timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="As Europe/Berlin: days and weeks are those of this time zone."
    )
    since: _LocalMoment | None = Field(
        None, description="ISO 8601; without a zone in `timezone`; a date is its midnight."
    )
    until: _LocalMoment | None = Field(None, description="Likewise; itself excluded.")
    variations: bool = Field(False, description="A row for each variation.")
    format: Literal["json", "csv"] = "json"

    def wanted(self) -> Wanted:
        return Wanted(self.bucket, _zone(self.timezone) or UTC, self.since, self.until, self.variations)
