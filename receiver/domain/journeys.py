"""How far letters came, and what they are counted as.

What is known of a letter is a `Journey`.  An event tells a short one; the journey of a letter is all
of its events `joined`.  Joining does not ask for their order, and joining the same once more changes
nothing: so what comes in late, twice, or by a merge of two customers leads to the same journey.
"""

from collections import defaultdict
from typing import NamedTuple

from receiver.domain.moments import HOUR_US, SECOND_US
from receiver.domain.stages import FUNNEL, STAGES

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
SINCE = (*STAGES, MAILED)
"""What delays are counted from; the last one is number -1."""
_MAILED = -1


Times = tuple[int | None, ...]
"""When each of STAGES was first reached, in microseconds; None for those that were not."""

_NOTHING: Times = (None,) * len(STAGES)


class Journey(NamedTuple):
    """How far a letter came.

    Attributes:
        campaign, variation: empty where nothing tells; where there are several, the first of the alphabet.
    """

    project_id: int
    campaign: str = ""
    variation: str = ""
    times: Times = _NOTHING

    def reached(self, campaign: str | None, variation: str | None, stage: str, at_us: int) -> "Journey":
        """With what one event tells of the letter."""
        number, times = _NUMBER[stage], self.times
        before_us = times[number]
        if before_us is None or at_us < before_us:
            times = (*times[:number], at_us, *times[number + 1 :])
        return Journey(
            self.project_id,
            _first(self.campaign, campaign or ""),
            _first(self.variation, variation or ""),
            times,
        )

    def joined(self, other: "Journey") -> "Journey":
        """What both tell together."""
        times = [
            two if one is None or (two is not None and two < one) else one
            for one, two in zip(self.times, other.times, strict=True)
        ]
        campaign = _first(self.campaign, other.campaign)
        return Journey(self.project_id, campaign, _first(self.variation, other.variation), tuple(times))


def _first(one: str, two: str) -> str:
    return one if one == two else min(one, two) if one and two else one or two


_Place = tuple[int, str, str]


class _Sums:
    """What is counted in one place, by the numbers of stages."""

    def __init__(self) -> None:
        self.stages: defaultdict[int, int] = defaultdict(int)
        self.hours: defaultdict[tuple[int, int], int] = defaultdict(int)
        self.delays: defaultdict[tuple[int, int, int], int] = defaultdict(int)

    def add(self, times: Times, letters: int) -> None:
        bits = 0
        for number, at_us in enumerate(times):
            if at_us is not None:
                bits |= 1 << number
                self.hours[number, at_us // HOUR_US] += letters
        self.stages[bits] += letters
        for since, number, delay_us in delays(times):
            self.delays[since, number, bucket_of(delay_us)] += letters


class Counted:
    """How many letters there are of each sort, or by how many more or fewer that is."""

    def __init__(self) -> None:
        self._places: defaultdict[_Place, _Sums] = defaultdict(_Sums)

    def add(self, journey: Journey, letters: int = 1) -> None:
        """Count so many *letters* more."""
        self._places[journey[:3]].add(journey.times, letters)

    def change(self, before: Journey, after: Journey) -> None:
        """Count a letter as *after*, which was counted as *before*."""
        self.add(before, -1)
        self.add(after)

    # What cancels itself out is left out: a letter shares most with what it was before.

    @property
    def stages(self) -> dict[tuple[int, str, str, int], int]:
        """By place and what was reached, a bit for each of STAGES."""
        return {
            (*place, bits): number
            for place, sums in self._places.items()
            for bits, number in sums.stages.items()
            if number
        }

    @property
    def hours(self) -> dict[tuple[int, str, str, str, int], int]:
        """By place, stage and the hour of reaching it, in microseconds."""
        return {
            (*place, STAGES[stage], hour * HOUR_US): number
            for place, sums in self._places.items()
            for (stage, hour), number in sums.hours.items()
            if number
        }

    @property
    def delays(self) -> dict[tuple[int, str, str, str, str, int], int]:
        """By place, the stage before (or MAILED), the stage, and the bucket of the time between."""
        return {
            (*place, SINCE[since], STAGES[stage], bucket): number
            for place, sums in self._places.items()
            for (since, stage, bucket), number in sums.delays.items()
            if number
        }


def delays(times: Times) -> list[tuple[int, int, int]]:
    """How long each further stage took, in microseconds: since it was mailed, and since the one before.

    Each is (number in SINCE, number in STAGES, time).
    """
    if times[_PRINTING : _RETURNED + 1] == _NO_FURTHER:
        return []
    found = []
    mailed_us = min([at_us for at_us in times[:_TAKEN] if at_us is not None])
    for number, befores in _BEFORE:
        at_us = times[number]
        if at_us is None:
            continue
        found.append((_MAILED, number, at_us - mailed_us))
        for before in befores:
            if (before_us := times[before]) is not None:
                found.append((before, number, at_us - before_us))
                break
    return found


_NO_FURTHER = (None,) * len(_BEFORE)


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
