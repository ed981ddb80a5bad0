"""Campaigns as tables for spreadsheets: one campaign's funnel, and when its letters reached each stage.

A text that a spreadsheet would take for a formula has an apostrophe in front.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from receiver.domain.journeys import MAILED
from receiver.domain.stages import FUNNEL, STAGES
from receiver.store.export import defused
from receiver.web.campaign_documents import (
    BucketDocument,
    FunnelDocument,
    LettersFollowedDocument,
    SeriesDocument,
)

ALL = "(all)"
NONE = "(none)"
"""What tells no campaign, or no variation."""

BESIDE = STAGES[len(FUNNEL) :]
"""Stages that are no step of the funnel."""

Record = Sequence[object]

_FUNNEL = (
    *("campaign", "variation", "stage", "letters", "reached", "of_mailed", "of_previous"),
    *("median_seconds_since_mailed", "p90_seconds_since_mailed"),
)


def funnel_csv(funnel: FunnelDocument) -> str:
    """A record for each step and each other stage: of all letters, then of those of each variation."""
    return csv_text(_FUNNEL, _steps(funnel))


def groups(funnel: FunnelDocument) -> Iterable[tuple[str, LettersFollowedDocument]]:
    """All letters, then those of each variation, with the name of the group."""
    yield ALL, funnel
    for each in funnel.variations:
        yield each.variation or NONE, each


def _steps(funnel: FunnelDocument) -> Iterator[Record]:
    for name, letters in groups(funnel):
        place = defused(funnel.campaign), defused(name)
        times = {each.stage: each for each in letters.times if each.since == MAILED}
        for step in letters.funnel:
            took = times.get(step.stage)
            seconds = (took.median_seconds, took.p90_seconds) if took else (None, None)
            yield *place, *step.model_dump().values(), *seconds
        for stage in BESIDE:
            yield *place, stage, letters.stages[stage], None, None, None, None, None


def series_csv(series: SeriesDocument, *, by_variation: bool) -> str:
    """A record for each span, or for each variation within it."""
    head = ("begin", *(["variation"] * by_variation), *STAGES)
    return csv_text(head, (_bucket(each, by_variation=by_variation) for each in series.data))


def _bucket(bucket: BucketDocument, *, by_variation: bool) -> Record:
    told = [defused(bucket.variation or NONE)] if by_variation else []
    return bucket.begin, *told, *bucket.stages.values()


def csv_text(head: Sequence[str], records: Iterable[Record]) -> str:
    """RFC 4180; what is None is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(records)
    return text.getvalue()
