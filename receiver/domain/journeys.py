"""How far letters came, and what they are counted as.

What is known of a letter is a `Journey`.  An event tells a short one; the journey of a letter is all
of its events `joined`.  Joining does not ask for their order, and joining the same once more changes
nothing: so what comes in late, twice, or by a merge of two customers leads to the same journey.
"""

from collections import defaultdict
from typing import NamedTuple

from receiver.domain.moments import SECOND_US, hour_of
from receiver.domain.stages import BITS, FUNNEL, STAGES

MAILED = "mailed"
"""What a letter is once anything is heard of it by which it is on its way: see ON_ITS_WAY."""

ON_ITS_WAY = (*FUNNEL, "deferred")
"""Stages that only a letter has that was taken."""

_NUMBER = {stage: number for number, stage in enumerate(STAGES)}
# They stand first among all stages.
_TAKEN = len(ON_ITS_WAY)
_QUEUED, _PRINTING, _POSTED, _DELIVERED, _RETURNED = range(len(FUNNEL))
# What may come directly before each, the nearest first.
_BEFORE = (
    (_PRINTING, (_QUEUED,)),
    (_POSTED, (_PRINTING, _QUEUED)),
    (_DELIVERED, (_POSTED, _PRINTING, _QUEUED)),
    (_RETURNED, (_POSTED, _PRINTING, _QUEUED)),
)


Times = tuple[int | None, ...]
"""When each of STAGES was first reached, in microseconds; None for those that were not."""


class Journey(NamedTuple):
    """How far a letter came.

    Attributes:
        campaign, variation: empty where nothing tells; where there are several, the first of the alphabet.
    """

    project_id: int
    campaign: str
    variation: str
    times: Times

    def joined(self, other: "Journey") -> "Journey":
        """What both tell together."""
        times = [
            two if one is None or (two is not None and two < one) else one
            for one, two in zip(self.times, other.times, strict=True)
        ]
        campaign = _first(self.campaign, other.campaign)
        return Journey(self.project_id, campaign, _first(self.variation, other.variation), tuple(times))


def told(project_id: int, campaign: str | None, variation: str | None, stage: str, at_us: int) -> Journey:
    """What one event tells of its letter."""
    number = _NUMBER[stage]
    times = (*_NOTHING[:number], at_us, *_NOTHING[number + 1 :])
    return Journey(project_id, campaign or "", variation or "", times)


_NOTHING: Times = (None,) * len(STAGES)


def _first(one: str, two: str) -> str:
    return min(one, two) if one and two else one or two


class Counted:
    """How many letters there are of each sort, or by how many more or fewer that is.

    Attributes:
        stages: by place and what was reached, a bit for each of STAGES.
        hours: by place, stage and hour of reaching it.
        delays: by place, the stage before (or MAILED), the stage, and the bucket of the time between.
    """

    def __init__(self) -> None:
        self.stages: defaultdict[tuple[int, str, str, int], int] = defaultdict(int)
        self.hours: defaultdict[tuple[int, str, str, str, int], int] = defaultdict(int)
        self.delays: defaultdict[tuple[int, str, str, str, str, int], int] = defaultdict(int)

    def add(self, journey: Journey, letters: int = 1) -> None:
        """Count so many *letters* more."""
        project_id, campaign, variation, times = journey
        for stage, at_us in zip(STAGES, times, strict=True):
            if at_us is not None:
                self.hours[project_id, campaign, variation, stage, hour_of(at_us)] += letters
        for since, stage, delay_us in delays(times):
            self.delays[project_id, campaign, variation, since, stage, bucket_of(delay_us)] += letters
        self.stages[project_id, campaign, variation, _bits(times)] += letters

    def change(self, before: Journey, after: Journey) -> None:
        """Count a letter as *after*, which was counted as *before*: the difference, for they share most."""
        if before[:3] != after[:3]:
            self.add(before, -1)
            self.add(after)
            return
        (project_id, campaign, variation), was, now = after[:3], before.times, after.times
        for stage, was_us, now_us in zip(STAGES, was, now, strict=True):
            if was_us != now_us and was_us is not None:
                self.hours[project_id, campaign, variation, stage, hour_of(was_us)] -= 1
            if was_us != now_us and now_us is not None:
                self.hours[project_id, campaign, variation, stage, hour_of(now_us)] += 1
        took, takes = delays(was), delays(now)
        for letters, those, others in ((-1, took, takes), (1, takes, took)):
            for each in those:
                if each not in others:
                    since, stage, delay_us = each
                    self.delays[project_id, campaign, variation, since, stage, bucket_of(delay_us)] += letters
        reached, reaches = _bits(was), _bits(now)
        if reached != reaches:
            self.stages[project_id, campaign, variation, reached] -= 1
            self.stages[project_id, campaign, variation, reaches] += 1


def _bits(times: Times) -> int:
    """What was reached, a bit for each of STAGES."""
    bits = 0
    for bit, at_us in zip(BITS.values(), times, strict=True):
        if at_us is not None:
            bits |= bit
    return bits


def delays(times: Times) -> list[tuple[str, str, int]]:
    """How long each further stage took, in microseconds: since it was mailed, and since the one before."""
    found: list[tuple[str, str, int]] = []
    mailed_us = min([at_us for at_us in times[:_TAKEN] if at_us is not None], default=0)
    for number, befores in _BEFORE:
        at_us = times[number]
        if at_us is None:
            continue
        found.append((MAILED, STAGES[number], at_us - mailed_us))
        for before in befores:
            if (before_us := times[before]) is not None:
                found.append((STAGES[before], STAGES[number], at_us - before_us))
                break
    return found


# -- how long, about ------------------------------------------------------------------------------

_FINE = 4  # so many binary digits after the first one are kept


def bucket_of(delay_us: int) -> int:
    """About how long: seconds, and above 32 of them 16 steps for each doubling, so 3 % off at most.

    What seems to go back in time took no time.
    """
    seconds = max(0, delay_us) // SECOND_US
    coarse = max(0, seconds.bit_length() - _FINE - 1)
    return (coarse << _FINE) + (seconds >> coarse)


def seconds_of(bucket: int) -> float:
    """The middle of what is in a bucket."""
    coarse = max(0, (bucket >> _FINE) - 1)
    lowest = (bucket - (coarse << _FINE)) << coarse
    return lowest + ((1 << coarse) - 1) / 2
