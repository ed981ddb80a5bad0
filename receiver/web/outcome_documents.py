"""The documents about outcomes, for what builds them and for /openapi.json."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from receiver.domain.moments import day, iso
from receiver.store.outcomes import Counts, OfCampaign, Span
from receiver.store.writes import Source
from receiver.web.documents import Time


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


class HourDocument(CountsDocument):
    """One hour; what had another source stands beside, under the name of the source."""

    hour: Time


class CampaignOutcomesDocument(CountsDocument):
    """One campaign; what had another source stands beside, under the name of the source.

    Its letters are those of all times.
    """

    campaign: str | None = Field(description="Null: what tells no campaign.")
    sent: int = Field(description="Mailings that were perhaps printed.")
    heard: int = Field(description="Those of them of which the sender told anything.")
    letters: int = Field(description="All letters that events tell of, also those that we did not send.")


class OutcomesDocument(BaseModel):
    """What has another source than the sender stands beside ``total``, under the name of the source."""

    model_config = ConfigDict(frozen=True, extra="allow")

    total: CountsDocument
    days: list[DayDocument] | None = Field(None, description="There unless asked for otherwise.")
    hours: list[HourDocument] | None = Field(None, description="There if asked for by hour.")
    campaigns: list[CampaignOutcomesDocument] | None = Field(
        None, description="There if asked for by campaign."
    )

    @classmethod
    def of(cls, found: Mapping[Span, Counts], by: Literal["day", "hour"] = "day") -> Self:
        """*found* is in order."""
        spans: dict[int, dict[str, Counts]] = {}
        for (begin_us, source), counts in found.items():
            spans.setdefault(begin_us, {})[source] = counts
        told = day if by == "day" else iso
        listed = [{by: told(begin_us), **_sent(each), **_beside(each)} for begin_us, each in spans.items()]
        return cls._whole(spans.values(), **{f"{by}s": listed})

    @classmethod
    def by_campaign(cls, found: Mapping[str, OfCampaign]) -> Self:
        """*found* is in order."""
        listed = [
            {
                "campaign": campaign or None,
                **_sent(each.counts),
                "sent": each.sent,
                "heard": each.heard,
                "letters": each.letters,
                **_beside(each.counts),
            }
            for campaign, each in found.items()
        ]
        return cls._whole((each.counts for each in found.values()), campaigns=listed)

    @classmethod
    def _whole(cls, parts: Iterable[Mapping[str, Counts]], **listed: Any) -> Self:
        total: dict[str, Counts] = {}
        for part in parts:
            for source, counts in part.items():
                total[source] = total.get(source, Counts()).plus(counts)
        return cls.model_validate({"total": _sent(total), **listed, **_beside(total)})


def _sent(counts: Mapping[str, Counts]) -> dict[str, int]:
    return counts.get(Source.CALLBACK, Counts())._asdict()


def _beside(counts: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    return {source: each._asdict() for source, each in counts.items() if source != Source.CALLBACK}
