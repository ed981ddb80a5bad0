"""How far letters came, and what they are counted as."""

from functools import reduce
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.journeys import (
    MAILED,
    ON_ITS_WAY,
    SINCE,
    Counted,
    Journey,
    bucket_of,
    delays,
    seconds_of,
)
from receiver.domain.moments import DAY_US, HOUR_US, SECOND_US
from receiver.domain.stages import FUNNEL, STAGES

T0 = 1_760_000_000 * SECOND_US

NAMES = st.sampled_from(["", "a", "b", "z", "Z", "\u00e4", "\uffff", "\U0001f4ee"])
TIMES = st.integers(T0, T0 + 3 * DAY_US)
JOURNEYS = st.builds(
    Journey,
    st.just(1),
    NAMES,
    NAMES,
    st.tuples(*[st.none() | TIMES] * len(STAGES)),
)
EVENTS = st.tuples(st.none() | NAMES, st.none() | NAMES, st.sampled_from(STAGES), TIMES)


def times(**at: int) -> tuple[int | None, ...]:
    """When each stage was reached, in seconds."""
    return tuple(None if (seconds := at.get(stage)) is None else seconds * SECOND_US for stage in STAGES)


def journey(campaign: str = "", variation: str = "", **at: int) -> Journey:
    return Journey(1, campaign, variation, times(**at))


def named(found: list[tuple[int, int, int]]) -> list[tuple[str, str, int]]:
    return [(SINCE[since], STAGES[stage], delay_us) for since, stage, delay_us in found]


# -- what events tell together ----------------------------------------------------------------------


@given(JOURNEYS, JOURNEYS, JOURNEYS)
def test_journeys_are_joined_in_any_order_and_as_often_as_one_likes(
    one: Journey, two: Journey, three: Journey
) -> None:
    assert one.joined(two) == two.joined(one)
    assert one.joined(two).joined(three) == one.joined(two.joined(three))
    assert one.joined(one) == one
    assert one.joined(two).joined(two) == one.joined(two)


@given(st.lists(EVENTS, min_size=1, max_size=12))
def test_a_journey_is_the_earliest_time_of_each_stage_and_the_first_of_the_names(
    events: list[tuple[str | None, str | None, str, int]],
) -> None:
    journey = reduce(lambda known, event: known.reached(*event), events, Journey(1))
    joined = reduce(Journey.joined, [Journey(1).reached(*event) for event in events])

    assert journey == joined

    for number, stage in enumerate(STAGES):
        assert journey.times[number] == min((at for *_, of, at in events if of == stage), default=None)
    assert journey.campaign == min((each for each, *_ in events if each), default="")
    assert journey.variation == min((each for _, each, *_ in events if each), default="")


# -- how long it took -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ({}, set()),
        ({"suppressed": 5, "failed": 6, "unknown": 7}, set()),
        ({"queued": 5}, set()),
        ({"deferred": 5}, set()),
        ({"queued": 5, "printing": 7}, {(MAILED, "printing", 2), ("queued", "printing", 2)}),
        # Nothing before it is known: it was mailed when it was posted, at the latest.
        ({"posted": 9}, {(MAILED, "posted", 0)}),
        ({"deferred": 3, "posted": 9}, {(MAILED, "posted", 6)}),
        ({"unknown": 3, "failed": 4, "suppressed": 5, "posted": 9}, {(MAILED, "posted", 0)}),
        (
            {"queued": 0, "posted": 9, "delivered": 12, "returned": 20},
            {
                (MAILED, "posted", 9),
                ("queued", "posted", 9),
                (MAILED, "delivered", 12),
                ("posted", "delivered", 3),
                (MAILED, "returned", 20),
                ("posted", "returned", 11),
            },
        ),
        (
            {"queued": 0, "printing": 4, "returned": 20},
            {
                (MAILED, "printing", 4),
                ("queued", "printing", 4),
                (MAILED, "returned", 20),
                ("printing", "returned", 16),
            },
        ),
        # What was printed before it was queued took less than no time.
        ({"queued": 9, "printing": 4}, {(MAILED, "printing", 0), ("queued", "printing", -5)}),
        # A letter is delivered or returned; neither follows the other.
        ({"delivered": 4, "returned": 9}, {(MAILED, "delivered", 0), (MAILED, "returned", 5)}),
    ],
)
def test_a_stage_is_timed_since_the_one_before_and_since_it_was_mailed(
    at: dict[str, int], expected: set[tuple[str, str, int]]
) -> None:
    found = named(delays(times(**at)))

    assert {(since, stage, delay_us // SECOND_US) for since, stage, delay_us in found} == expected
    assert len(found) == len(expected)


@given(st.tuples(*[st.none() | TIMES] * len(STAGES)))
def test_nothing_is_timed_twice_and_nothing_before_it_was_mailed(at: tuple[int | None, ...]) -> None:
    reached = {stage for stage, at_us in zip(STAGES, at, strict=True) if at_us is not None}
    found = named(delays(at))

    assert len({each[:2] for each in found}) == len(found)
    assert {stage for since, stage, _ in found if since == MAILED} == reached & {*FUNNEL[1:]}
    assert {since for since, _, _ in found} <= reached | {MAILED}
    assert all(delay_us >= 0 for since, _, delay_us in found if since == MAILED)
    for stage in reached & {*FUNNEL[1:]}:
        assert len([since for since, of, _ in found if of == stage]) <= 2


def test_what_is_on_its_way_can_be_told_from_what_is_not() -> None:
    assert {*STAGES} - {*ON_ITS_WAY} == {"suppressed", "failed", "unknown"}


# -- about how long ---------------------------------------------------------------------------------

LONG_US = 10_000 * 366 * DAY_US


@given(st.integers(0, LONG_US))
def test_a_bucket_tells_whole_seconds_to_three_percent(delay_us: int) -> None:
    seconds, about = delay_us // SECOND_US, seconds_of(bucket_of(delay_us))

    assert abs(about - seconds) <= 0.032 * seconds
    if seconds < 32:
        assert about == seconds


@given(st.integers(-LONG_US, LONG_US), st.integers(-LONG_US, LONG_US))
def test_what_took_longer_is_in_no_earlier_bucket(one: int, two: int) -> None:
    assert bucket_of(min(one, two)) <= bucket_of(max(one, two))


@given(st.integers(-LONG_US, 0))
def test_what_goes_back_in_time_took_none(delay_us: int) -> None:
    assert bucket_of(delay_us) == 0
    assert seconds_of(0) == 0


def test_buckets_meet_without_a_gap_and_fit_a_small_number() -> None:
    seconds, last = 0, bucket_of(LONG_US)
    for bucket in range(last + 1):
        width = 2 * (seconds_of(bucket) - seconds) + 1
        assert width == int(width) >= 1
        within = range(seconds, seconds + int(width))
        assert {bucket_of(at * SECOND_US) for at in (within[0], within[-1])} == {bucket}
        seconds += int(width)

    assert last < 2**15
    assert all(seconds_of(one) < seconds_of(two) for one, two in pairwise(range(last + 1)))


# -- counting ---------------------------------------------------------------------------------------


def test_a_letter_is_counted_once_for_each_stage() -> None:
    counted = Counted()

    counted.add(journey("winback", "B", queued=0, posted=7200, unknown=1))

    place = 1, "winback", "B"
    assert counted.stages == {(*place, 0b100000101): 1}
    assert counted.hours == {
        (*place, "queued", 0): 1,
        (*place, "posted", 2 * HOUR_US): 1,
        (*place, "unknown", 0): 1,
    }
    bucket = bucket_of(2 * HOUR_US)
    assert counted.delays == {
        (*place, MAILED, "posted", bucket): 1,
        (*place, "queued", "posted", bucket): 1,
    }


@given(st.lists(JOURNEYS, max_size=5), st.randoms())
def test_what_is_counted_and_taken_off_again_is_nothing(journeys: list[Journey], random: Any) -> None:
    counted, changes = Counted(), [(each, letters) for each in journeys for letters in (1, -1)]
    random.shuffle(changes)

    for each, letters in changes:
        counted.add(each, letters)

    assert not any(any(counts.values()) for counts in (counted.stages, counted.hours, counted.delays))
