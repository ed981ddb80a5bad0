"""What is kept about letters and kinds of events, and what a look at every event tells of them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Engine, select

from receiver.domain.journeys import MAILED, bucket_of
from receiver.domain.kinds import Kind
from receiver.domain.moments import HOUR_US
from receiver.domain.stages import STAGES
from receiver.store import recounting, reports
from receiver.store.refusal_counts import Miscount
from receiver.store.tables import (
    campaign_days,
    campaign_delays,
    campaign_letters,
    event_kinds,
    events,
    letters,
    projects,
)

NOT_ON_ITS_WAY = {"suppressed", "failed", "unknown"}
BEFORE = {
    "printing": ["queued"],
    "posted": ["queued", "printing"],
    "delivered": ["queued", "printing", "posted"],
    "returned": ["queued", "printing", "posted"],
}
"""What a stage may follow, the farthest last."""


class Told(NamedTuple):
    """Everything that is kept about letters and kinds of events, of all projects."""

    letters: dict[tuple[int, str], tuple[int, str, str, dict[str, int]]]
    stages: dict[tuple[Any, ...], int]
    hours: dict[tuple[Any, ...], int]
    delays: dict[tuple[Any, ...], int]
    kinds: dict[tuple[Any, ...], int]


def what_is_kept(engine: Engine) -> Told:
    """What the tables say, without what nothing is left of."""
    found = {}
    for row in _rows(engine, select(letters)):
        times = {stage: at_us for stage in STAGES if (at_us := getattr(row, f"{stage}_us")) is not None}
        found[row.customer_id, row.reference] = row.project_id, row.campaign, row.variation, times
    stages, delays, kinds = (
        {tuple(row[:-1]): row[-1] for row in _rows(engine, select(table)) if row[-1]}
        for table in (campaign_letters, campaign_delays, event_kinds)
    )
    hours = {
        (project_id, campaign, variation, stage, day_us + hour * HOUR_US): number
        for project_id, campaign, day_us, stage, variation, *numbers in _rows(engine, select(campaign_days))
        for hour, number in enumerate(numbers)
        if number
    }
    return Told(found, stages, hours, delays, kinds)


def by_hand(engine: Engine) -> Told:
    """What one look at every event tells."""
    said: dict[tuple[int, str], list[Any]] = {}
    kinds: Counter[tuple[Any, ...]] = Counter()
    for row in _rows(engine, select(events)):
        kind = row.project_id, row.type, row.campaign, row.status, row.stage
        assert row.kind_id == Kind(*kind).id
        kinds[row.kind_id, *kind] += 1
        if row.stage is None or (row.mailing_id is None and row.campaign is None):
            continue
        letter = (0, row.mailing_id) if row.mailing_id is not None else (row.customer_id, row.campaign)
        said.setdefault(letter, []).append(row)
    found = {}
    stages: Counter[tuple[Any, ...]] = Counter()
    hours: Counter[tuple[Any, ...]] = Counter()
    delays: Counter[tuple[Any, ...]] = Counter()
    for letter, rows in said.items():
        (project_id,) = {row.project_id for row in rows}
        campaign, variation = (
            min((each for row in rows if (each := getattr(row, name)) is not None), default="")
            for name in ("campaign", "variation")
        )
        times: dict[str, int] = {}
        for row in rows:
            times[row.stage] = min(row.occurred_us, times.get(row.stage, row.occurred_us))
        place = project_id, campaign, variation
        found[letter] = (*place, times)
        stages[*place, sum(2 ** STAGES.index(stage) for stage in times)] += 1
        for stage, at_us in times.items():
            hours[*place, stage, at_us // HOUR_US * HOUR_US] += 1
        for since, stage, delay_us in delays_by_hand(times):
            delays[*place, since, stage, bucket_of(delay_us)] += 1
    return Told(found, stages, hours, delays, kinds)


def delays_by_hand(times: dict[str, int]) -> Iterator[tuple[str, str, int]]:
    mailed = [at_us for stage, at_us in times.items() if stage not in NOT_ON_ITS_WAY]
    for stage, before in BEFORE.items():
        if stage in times:
            yield MAILED, stage, times[stage] - min(mailed)
            if reached := [each for each in before if each in times]:
                yield reached[-1], stage, times[stage] - times[reached[-1]]


def miscounts_of(engine: Engine) -> list[Miscount]:
    """Of all projects."""
    with reports.reading(engine) as connection:
        ids = list(connection.execute(select(projects.c.id)).scalars())
        return [each for project_id in ids for each in recounting.miscounts(connection, project_id)]


def _rows(engine: Engine, query: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(query))
