"""What is told of a campaign: counts, shares and times, folded from what its letters are counted as."""

from collections.abc import Mapping
from typing import NamedTuple

from receiver.domain.journeys import MAILED, ON_ITS_WAY, seconds_of
from receiver.domain.stages import BITS, FUNNEL

Reached = Mapping[int, int]
"""A bit for each of STAGES -> how many letters have reached just these."""

Delays = Mapping[tuple[str, str, int], int]
"""(since, stage, bucket of receiver.domain.journeys) -> how many letters took about as long."""

_BEFORE = {
    "queued": MAILED,
    "printing": "queued",
    "posted": "printing",
    "delivered": "posted",
    "returned": "posted",
}


def _any_of(*stages: str) -> int:
    return sum(BITS[stage] for stage in stages)


# Senders leave stages out: who is told that a letter was delivered knows that it was printed.
_AS_FAR_AS = {
    MAILED: _any_of(*ON_ITS_WAY),
    "queued": _any_of(*FUNNEL),
    "printing": _any_of(*FUNNEL[1:]),
    "posted": _any_of(*FUNNEL[2:]),
    "delivered": _any_of("delivered"),
    "returned": _any_of("returned"),
}


class Tally(NamedTuple):
    """How many letters there are, how many of them are on their way or were, and by each of STAGES."""

    letters: int
    mailed: int
    stages: Mapping[str, int]

    def share(self, stage: str) -> float | None:
        """Letters of which *stage* was reported, to those mailed; None where there are none.

        Failed ones to all letters, as one may fail before it is mailed.
        """
        return _share(self.stages[stage], self.letters if stage == "failed" else self.mailed)


class Step(NamedTuple):
    """One stage of the funnel.

    Attributes:
        letters: of which it was reported.
        reached: of which it was, or one that only comes later.
        of_mailed, of_previous: shares of those that have reached that; None where none has.
    """

    stage: str
    letters: int
    reached: int
    of_mailed: float | None
    of_previous: float | None


class Duration(NamedTuple):
    """How long letters took from one stage (or MAILED) to another, in seconds, 3 % off at most."""

    since: str
    stage: str
    letters: int
    median_seconds: int
    p90_seconds: int


def tally(reached: Reached) -> Tally:
    stages = {stage: _letters(reached, bit) for stage, bit in BITS.items()}
    return Tally(sum(reached.values()), _letters(reached, _AS_FAR_AS[MAILED]), stages)


def funnel(reached: Reached) -> list[Step]:
    """MAILED, then each stage of FUNNEL."""
    as_far_as = {stage: _letters(reached, bits) for stage, bits in _AS_FAR_AS.items()}
    mailed = as_far_as[MAILED]
    steps = [Step(MAILED, mailed, mailed, _share(mailed, mailed), None)]
    for stage in FUNNEL:
        far = as_far_as[stage]
        previous = _share(far, as_far_as[_BEFORE[stage]])
        steps.append(Step(stage, _letters(reached, BITS[stage]), far, _share(far, mailed), previous))
    return steps


def _letters(reached: Reached, bits: int) -> int:
    """Those that have reached any of the stages of *bits*."""
    return sum(letters for stages, letters in reached.items() if stages & bits)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def durations(delays: Delays) -> list[Duration]:
    """In the order of the funnel, those since MAILED first."""
    buckets: dict[tuple[str, str], dict[int, int]] = {}
    for (since, stage, bucket), letters in delays.items():
        buckets.setdefault((stage, since), {})[bucket] = letters
    found = []
    for stage, since in sorted(buckets, key=lambda each: tuple(map(_PLACES.index, each))):
        counts = buckets[stage, since]
        median, p90 = (_at_rank(counts, percent) for percent in (50, 90))
        found.append(Duration(since, stage, sum(counts.values()), median, p90))
    return found


_PLACES = (MAILED, *FUNNEL)


def _at_rank(counts: Mapping[int, int], percent: int) -> int:
    """The time that so many of a hundred letters did not exceed, by nearest rank."""
    rank = -(-sum(counts.values()) * percent // 100)
    for bucket in sorted(counts):
        rank -= counts[bucket]
        if rank <= 0:
            break
    return round(seconds_of(bucket))
