"""Commands leave in order, as fast as is allowed, and nobody is blamed who is not to blame."""

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.relaying import Command
from receiver.outbound import courier as courier_module
from receiver.outbound.bloomreach import (
    Answer,
    Answered,
    Bloomreach,
    Denied,
    Fate,
    NotAllowed,
    Refused,
    RefusedWhole,
    Sent,
    Unreached,
)
from receiver.outbound.courier import Carried, Courier, Pace
from receiver.store.outbox import Reason, SetAside

Asked = Callable[[Sequence[int]], Answer]
AWAY = Unreached("Bloomreach cannot take it now (503).", None, False)
LIMITED = Unreached("Bloomreach cannot take it now (429).", None, True)


class Far:
    """Answers with what *asked* makes of the numbers of a request, 0 being the probe; notes what it was
    asked."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.requests: list[list[int]] = []

    def batch(self, commands: Sequence[tuple[str, bytes]]) -> Answer:
        assert 1 <= len(commands) <= 50
        self.requests.append([int(command_id) for command_id, _ in commands])
        return self._asked(self.requests[-1])

    def close(self) -> None:
        """Nothing is open."""


class Time:
    """Stands still, but for who waits; as the module `time` and as a `threading.Event` that is never set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.now += seconds
        return False


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    names = SimpleNamespace(monotonic=time.monotonic, perf_counter=time.perf_counter)
    monkeypatch.setattr(courier_module, "time", names)
    return time


def carry(far: Far, numbers: Sequence[int], has_time: Callable[[], bool] = lambda: True) -> Carried:
    courier = Courier(cast("Bloomreach", far), 6_000_000, threading.Event())
    return courier.carry([Command(number, b"{}") for number in numbers], has_time)


def taking(_: Sequence[int]) -> Answer:
    return Answered([Sent()] * len(_))


def in_turn(*answers: Asked | Answer) -> Asked:
    """Each for one request, then everything is taken."""
    turns = iter(answers)

    def asked(numbers: Sequence[int]) -> Answer:
        turn = next(turns, taking)
        return turn(numbers) if callable(turn) else turn

    return asked


# -- the pace ---------------------------------------------------------------------------------------


def pace(time: Time, per_minute: int) -> Pace:
    return Pace(per_minute, cast("threading.Event", time))


def leaves(time: Time, pace: Pace, requests: int, seconds: float = 0.0) -> list[float]:
    """When each of them leaves, where an answer takes so many seconds."""
    found = []
    for _ in range(requests):
        assert pace.wait()
        pace.leave()
        found.append(time.now)
        time.now += seconds
    return found


def test_requests_are_spaced_evenly(time: Time) -> None:
    moments = leaves(time, pace(time, 6000), 500)

    assert moments == pytest.approx([1000 + n * 0.01 for n in range(500)])


def test_who_was_slow_does_not_catch_up(time: Time) -> None:
    moments = leaves(time, pace(time, 60), 3, seconds=7.5)

    assert moments == pytest.approx([1000, 1007.5, 1015])
    assert leaves(time, pace(time, 60), 2)[1] - time.now == pytest.approx(0)


def test_a_turn_that_is_not_taken_is_not_lost(time: Time) -> None:
    slow = pace(time, 1)
    leaves(time, slow, 1)

    assert slow.wait()
    assert time.now == pytest.approx(1060)
    assert slow.wait()
    slow.leave()
    assert time.now == pytest.approx(1060)


def test_who_was_too_fast_slows_down_and_recovers(time: Time) -> None:
    wary = pace(time, 6000)
    wary.slower()
    one, two = leaves(time, wary, 2)
    assert two - one == pytest.approx(0.02)
    for _ in range(20):
        wary.slower()
    one, two = leaves(time, wary, 3)[1:]
    assert two - one == pytest.approx(0.2)
    for _ in range(200):
        wary.faster()
    one, two = leaves(time, wary, 3)[1:]
    assert two - one == pytest.approx(0.01)


def test_nobody_waits_who_is_to_stop() -> None:
    stop = threading.Event()
    slow = Pace(1, stop)
    slow.leave()
    stop.set()

    assert not slow.wait()


def test_a_429_makes_the_courier_slower_and_answers_make_it_faster(time: Time) -> None:
    far = Far(in_turn(LIMITED))
    courier = Courier(cast("Bloomreach", far), 6000, cast("threading.Event", time))

    def moment_of_next() -> float:
        before = time.now
        courier.carry([Command(1, b"{}")], lambda: True)
        return time.now - before

    assert moment_of_next() == 0
    waits = [moment_of_next() for _ in range(60)]
    # The request that was too fast had its space already.
    assert waits[0] == pytest.approx(0.01)
    assert waits[1:3] == pytest.approx([0.02, 0.02 * 0.98])
    assert waits == [waits[0], *sorted(waits[1:], reverse=True)]
    assert waits[-1] == pytest.approx(0.01)


# -- what is sent, in which order -------------------------------------------------------------------


def test_commands_leave_in_order_fifty_at_a_time() -> None:
    far = Far(taking)

    done = carry(far, range(1, 121))

    assert far.requests == [list(range(1, 51)), list(range(51, 101)), list(range(101, 121))]
    assert done.sent == list(range(1, 121))
    assert (done.set_aside, done.answered, done.problem) == ([], True, None)


@pytest.mark.parametrize("problem", [AWAY, LIMITED, Denied("See BLOOMREACH_SECRET.")])
def test_nothing_is_sent_behind_a_failure(problem: Unreached | Denied) -> None:
    far = Far(in_turn(taking, problem))

    done = carry(far, range(1, 201))

    assert len(far.requests) == 2
    assert done.sent == list(range(1, 51))
    assert done.problem == problem


def test_a_failure_at_once_is_no_answer() -> None:
    done = carry(Far(in_turn(AWAY)), [1, 2])

    assert (done.sent, done.answered, done.problem) == ([], False, AWAY)


def test_a_missing_right_ends_it_with_the_rest_of_its_request_looked_at() -> None:
    fates: list[Fate] = [Sent(), NotAllowed("Give it."), Refused("Bad"), Sent()]
    far = Far(in_turn(Answered(fates)))

    done = carry(far, [1, 2, 3, 4])

    assert done.sent == [1, 4]
    assert done.set_aside == [SetAside(3, Reason.REFUSED, "Bad")]
    assert done.problem == Denied("Give it.")


def test_nothing_leaves_without_time_for_it() -> None:
    times = iter([True, True, False, True])
    far = Far(taking)

    done = carry(far, range(1, 201), lambda: next(times))

    assert done.sent == list(range(1, 101))
    assert done.problem is None


def test_the_time_is_looked_at_after_a_turn_was_waited_for(time: Time) -> None:
    far = Far(taking)
    courier = Courier(cast("Bloomreach", far), 1, cast("threading.Event", time))
    commands = [Command(number, b"{}") for number in range(1, 101)]

    # There is time for a request that begins within ten seconds, and the next one's turn comes in sixty.
    until = time.now + 10
    assert courier.carry(commands, lambda: time.now < until).sent == list(range(1, 51))
    until = time.now + 10
    assert courier.carry(commands[50:], lambda: time.now < until).sent == list(range(51, 101))


def test_nothing_leaves_when_all_is_to_stop() -> None:
    stop = threading.Event()
    stop.set()
    far = Far(taking)

    done = Courier(cast("Bloomreach", far), 6000, stop).carry([Command(1, b"{}")], lambda: True)

    assert far.requests == []
    assert (done.sent, done.answered, done.problem) == ([], False, None)


# -- whose fault it is ------------------------------------------------------------------------------


def refusing(bad: set[int]) -> Asked:
    return lambda numbers: RefusedWhole("Invalid JSON") if bad & set(numbers) else taking(numbers)


@given(st.sets(st.integers(1, 120)), st.integers(0, 120))
def test_exactly_the_bad_ones_are_set_aside_and_all_others_leave_once_in_order(
    bad: set[int], count: int
) -> None:
    bad &= set(range(1, count + 1))
    far = Far(refusing(bad))

    done = carry(far, range(1, count + 1))

    assert done.sent == [number for number in range(1, count + 1) if number not in bad]
    assert done.set_aside == [SetAside(n, Reason.UNREADABLE, "Invalid JSON") for n in sorted(bad)]
    assert done.problem is None
    # A request for each half, and a probe for each that is blamed.
    assert len(far.requests) <= 3 + 14 * len(bad)


def test_nobody_is_blamed_where_everything_is_refused() -> None:
    far = Far(lambda _: RefusedWhole("Invalid JSON"))

    done = carry(far, range(1, 121))

    assert (done.sent, done.set_aside) == ([], [])
    assert isinstance(done.problem, Denied)
    assert "Invalid JSON" in done.problem.detail
    assert [len(each) for each in far.requests] == [50, 25, 12, 6, 3, 1, 1]
    assert far.requests[-1] == [0]


def test_nobody_is_blamed_where_everything_is_refused_from_the_middle_on() -> None:
    far = Far(in_turn(taking, *[RefusedWhole("Invalid JSON")] * 500))

    done = carry(far, range(1, 201))

    assert done.sent == list(range(1, 51))
    assert done.set_aside == []
    assert isinstance(done.problem, Denied)


@pytest.mark.parametrize(
    ("probed", "problem"),
    [
        (AWAY, AWAY),
        (Denied("See BLOOMREACH_SECRET."), Denied("See BLOOMREACH_SECRET.")),
        (Answered([NotAllowed("Give it.")]), Denied("Give it.")),
    ],
)
def test_a_probe_that_does_not_get_through_tells_what_is_the_matter(
    probed: Answer, problem: Unreached | Denied
) -> None:
    done = carry(Far(in_turn(RefusedWhole("Invalid JSON"), probed)), [1])

    assert (done.set_aside, done.problem) == ([], problem)


def test_nobody_is_blamed_without_time_for_a_probe() -> None:
    times = iter([True, False])
    far = Far(refusing({1}))

    done = carry(far, [1], lambda: next(times))

    assert far.requests == [[1]]
    assert (done.sent, done.set_aside, done.problem) == ([], [], None)


def test_who_was_refused_without_time_for_a_probe_is_not_asked_about_again() -> None:
    times = iter([True, False])
    far = Far(refusing({1}))
    courier = Courier(cast("Bloomreach", far), 6_000_000, threading.Event())

    courier.carry([Command(1, b"{}")], lambda: next(times))
    done = courier.carry([Command(1, b"{}")], lambda: True)

    assert far.requests == [[1], [0]]
    assert done.set_aside == [SetAside(1, Reason.UNREADABLE, "Invalid JSON")]
    assert courier.carry([Command(1, b"{}"), Command(2, b"{}")], lambda: True).sent == [2]


def test_the_probe_counts_for_the_pace(time: Time) -> None:
    far = Far(refusing({1}))
    courier = Courier(cast("Bloomreach", far), 60, cast("threading.Event", time))

    courier.carry([Command(1, b"{}"), Command(2, b"{}")], lambda: True)

    # [1, 2], [1], the probe, [2]
    assert far.requests == [[1, 2], [1], [0], [2]]
    assert time.now == pytest.approx(1003)


def test_nothing_of_a_command_is_in_what_is_told_about_it() -> None:
    command: Any = Command(1, b'{"customer_ids":{"registered":"erika@example.org"}}')
    courier = Courier(cast("Bloomreach", Far(refusing({1}))), 6000, threading.Event())

    done = courier.carry([command], lambda: True)

    assert "erika" not in f"{vars(done)} {courier!r}"
