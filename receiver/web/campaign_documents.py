"""The documents about campaigns, for what builds them and for /openapi.json."""

from collections.abc import Mapping
from itertools import product
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from receiver.domain.funnels import Delays, Reached, durations, funnel, tally
from receiver.domain.json_text import encode
from receiver.domain.local_time import Span, begin
from receiver.domain.moments import iso
from receiver.domain.stages import STAGES
from receiver.store.campaigns import AGES, Campaign, CampaignPage, CampaignRow, StatusRow
from receiver.store.mailings import State
from receiver.store.series import Series, Wanted
from receiver.web.documents import Time


class _Document(BaseModel):
    """Of several bases the fields of the last one come first."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RatesDocument(_Document):
    """Letters of which a stage was reported, to those that were mailed; null where none was."""

    delivered: float | None
    returned: float | None
    failed: float | None


class LettersCountedDocument(_Document):
    """*stages* are all of ours: how many letters each was reported of, each letter once.

    *mailed* are those of which anything was reported by which they are on their way: queued, printing,
    posted, delivered, returned or deferred.
    """

    letters: int
    mailed: int
    stages: dict[str, int]
    rates: RatesDocument


class HeardDocument(_Document):
    """What was heard of something, and when that happened."""

    first_event: Time
    last_event: Time
    events: int


class _NamedDocument(_Document):
    campaign: str | None = Field(description="Its reference; null for letters that have none.")


class CampaignDocument(LettersCountedDocument, HeardDocument, _NamedDocument):
    """One campaign."""

    @classmethod
    def of(cls, row: CampaignRow) -> Self:
        return cls(
            campaign=row.campaign,
            first_event=iso(row.first_us),
            last_event=iso(row.last_us),
            events=row.events,
            **_counted(row.reached),
        )


class CampaignsDocument(_Document):
    data: list[CampaignDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")

    @classmethod
    def of(cls, page: CampaignPage, following: str | None) -> Self:
        return cls(data=list(map(CampaignDocument.of, page.rows)), next=following)


# -- the funnel -----------------------------------------------------------------------------------


class StepDocument(_Document):
    """How many letters have come so far.  *letters* are those of which the stage was reported, *reached*
    also those of which only a later one was; the shares are of *reached*."""

    stage: str
    letters: int
    reached: int
    of_mailed: float | None
    of_previous: float | None = Field(description="Of those that have reached the step before.")


class DurationDocument(_Document):
    """How long letters took from one stage to another; the times are 3 % off at most."""

    since: str
    stage: str
    letters: int
    median_seconds: int
    p90_seconds: int


class LettersFollowedDocument(LettersCountedDocument):
    funnel: list[StepDocument]
    times: list[DurationDocument]


class _VariationDocument(_Document):
    variation: str | None


class VariationDocument(LettersFollowedDocument, _VariationDocument):
    """The letters of one variation; null for those that tell none."""


class _WordDocument(_Document):
    status: str | None
    stage: str | None


class StatusDocument(HeardDocument, _WordDocument):
    """How often a word of the sender was heard, and what it means to us."""


class SilentDocument(_Document):
    """Mailings of which nothing was heard for so many whole days, though more is to come."""

    from_days: int
    to_days: int | None
    mailings: int


class _FoundDocument(_Document):
    campaign: str
    first_event: Time | None
    last_event: Time | None
    events: int


class FunnelDocument(LettersFollowedDocument, _FoundDocument):
    """Everything that is counted of one campaign.

    *variations* are empty where there is none but the empty one.  *mailings* are by state.
    """

    variations: list[VariationDocument]
    events_by_status: list[StatusDocument]
    mailings: dict[State, int]
    silent_mailings: list[SilentDocument]

    @classmethod
    def of(cls, found: Campaign) -> Self:
        heard = found.statuses
        return cls(
            campaign=found.campaign,
            first_event=iso(min(each.first_us for each in heard)) if heard else None,
            last_event=iso(max(each.last_us for each in heard)) if heard else None,
            events=sum(each.events for each in heard),
            **_followed(_together(found.reached), _together(found.delays)),
            variations=_variations(found),
            events_by_status=list(map(_status, heard)),
            mailings={state: found.mailings[state] for state in State if state in found.mailings},
            silent_mailings=[
                SilentDocument(from_days=days, to_days=last, mailings=found.silent[days])
                for days, last in zip(AGES, (*[days - 1 for days in AGES[1:]], None), strict=True)
            ],
        )


def _variations(found: Campaign) -> list[VariationDocument]:
    if not any(found.reached):
        return []
    return [
        VariationDocument(variation=name or None, **_followed(reached, found.delays.get(name, {})))
        for name, reached in found.reached.items()
    ]


def _status(row: StatusRow) -> StatusDocument:
    return StatusDocument(
        status=row.status,
        stage=row.stage,
        events=row.events,
        first_event=iso(row.first_us),
        last_event=iso(row.last_us),
    )


def _together(by_variation: Mapping[str, Mapping[Any, int]]) -> Mapping[Any, int]:
    """The sums over all variations."""
    sums: dict[Any, int] = {}
    for counts in by_variation.values():
        for key, letters in counts.items():
            sums[key] = sums.get(key, 0) + letters
    return sums


def _followed(reached: Reached, delays: Delays) -> dict[str, Any]:
    return {
        **_counted(reached),
        "funnel": [StepDocument(**step._asdict()) for step in funnel(reached)],
        "times": [DurationDocument(**each._asdict()) for each in durations(delays)],
    }


def _counted(reached: Reached) -> dict[str, Any]:
    counted = tally(reached)
    rates = {name: counted.share(name) for name in RatesDocument.model_fields}
    return {**counted._asdict(), "rates": RatesDocument(**rates)}


# -- time series ----------------------------------------------------------------------------------


class BucketDocument(_Document):
    """How many letters first reached each of our stages within a span of time.

    *begin* is a date in the time zone, of weeks that of the Monday; of hours the time with its offset.
    """

    begin: str
    variation: str | None = Field(None, description="Where asked by variation; null for none told.")
    stages: dict[str, int]


class SeriesDocument(_Document):
    """Every span between the first and the last one with a letter, the oldest first."""

    campaign: str
    bucket: Span
    timezone: str
    data: list[BucketDocument]

    @classmethod
    def of(cls, campaign: str, wanted: Wanted, series: Series) -> Self:
        return cls.model_validate_json(series_json(campaign, wanted, series))


def series_json(campaign: str, wanted: Wanted, series: Series) -> str:
    """The text of a `SeriesDocument`: documents of its thousands of rows would take most of the time."""
    stages = ",".join(f"{encode(stage)}:%d" for stage in STAGES)
    names = [""]
    if series.variations is not None:
        # The text is a pattern for the counts.
        names = [f',"variation":{encode(name or None)}'.replace("%", "%%") for name in series.variations]
    begins = [begin(wanted.span, number, wanted.zone) for number in series.numbers]
    rows = ",".join(f'{{"begin":"{at}"{name},"stages":{{{stages}}}}}' for at, name in product(begins, names))
    return (
        f'{{"campaign":{encode(campaign)},"bucket":"{wanted.span}","timezone":{encode(str(wanted.zone))}'
        f',"data":[{rows % tuple(series.counts)}]}}'
    )
