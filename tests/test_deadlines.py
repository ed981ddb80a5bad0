"""Waits that take too long, very many of them looked after by one timer."""

import asyncio
import time
from collections.abc import Callable, Coroutine

import pytest

from receiver.inbound.deadlines import Deadlines

SECONDS = 0.05
PATIENCE_SECONDS = 20


class Overdue:
    """What was found to be late, in order, and when."""

    def __init__(self) -> None:
        self.things: list[str] = []
        self.at: dict[str, float] = {}

    def __call__(self, thing: str) -> None:
        self.things.append(thing)
        self.at[thing] = time.monotonic()

    async def wait_for(self, *things: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not set(things) <= set(self.things):
                await asyncio.sleep(0.005)


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scenario())


def test_what_is_not_ended_is_late_once_and_not_too_early() -> None:
    async def scenario() -> None:
        overdue = Overdue()
        deadlines = Deadlines(SECONDS, overdue)
        began = time.monotonic()
        deadlines.begin("a")
        await overdue.wait_for("a")
        assert overdue.at["a"] - began >= SECONDS

        # By the time that another one is late, the first has not been so again.
        deadlines.begin("b")
        await overdue.wait_for("b")
        assert overdue.things == ["a", "b"]

    run(scenario)


def test_what_has_ended_is_never_late() -> None:
    async def scenario() -> None:
        overdue = Overdue()
        deadlines = Deadlines(SECONDS, overdue)
        for thing in ("ended", "also ended", "left"):
            deadlines.begin(thing)
        deadlines.end("ended")
        deadlines.end("also ended")

        await overdue.wait_for("left")

        assert overdue.things == ["left"]

    run(scenario)


def test_the_time_counts_from_when_a_thing_was_begun_anew() -> None:
    async def scenario() -> None:
        overdue = Overdue()
        deadlines = Deadlines(0.5, overdue)
        for thing in ("first", "anew", "last"):
            deadlines.begin(thing)
        await asyncio.sleep(0.3)
        again = time.monotonic()
        deadlines.begin("anew")

        await overdue.wait_for("first", "last", "anew")

        assert overdue.things == ["first", "last", "anew"]
        assert overdue.at["anew"] - again >= 0.5

    run(scenario)


def test_each_thing_has_its_own_time() -> None:
    async def scenario() -> None:
        overdue = Overdue()
        deadlines = Deadlines(SECONDS, overdue)
        began = {}
        for number in range(20):
            began[str(number)] = time.monotonic()
            deadlines.begin(str(number))
            await asyncio.sleep(0.02)

        await overdue.wait_for(*began)

        assert overdue.things == list(began)
        assert min(overdue.at[thing] - began[thing] for thing in began) >= SECONDS

    run(scenario)


def test_what_is_late_or_unknown_may_be_ended() -> None:
    async def scenario() -> None:
        overdue = Overdue()
        deadlines = Deadlines(SECONDS, overdue)
        deadlines.end("unknown")
        deadlines.begin("a")
        await overdue.wait_for("a")
        deadlines.end("a")

        deadlines.begin("b")
        await overdue.wait_for("b")
        assert overdue.things == ["a", "b"]

    run(scenario)


@pytest.mark.parametrize("ended_first", [True, False])
def test_the_next_one_is_looked_after_when_all_before_have_ended_or_were_late(ended_first: bool) -> None:
    async def scenario() -> None:
        overdue = Overdue()
        deadlines = Deadlines(SECONDS, overdue)
        deadlines.begin("before")
        if ended_first:
            deadlines.end("before")
        # Longer than until the timer finds that there is nothing left.
        await asyncio.sleep(1)

        deadlines.begin("next")
        await overdue.wait_for("next")

    run(scenario)


def test_what_is_late_may_be_begun_again_at_once() -> None:
    async def scenario() -> None:
        again: list[float] = []

        def begin_again(thing: str) -> None:
            again.append(time.monotonic())
            deadlines.begin(thing)

        deadlines = Deadlines(SECONDS, begin_again)
        deadlines.begin("a")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(again) < 3:
                await asyncio.sleep(0.005)
        deadlines.end("a")

        assert again[1] - again[0] >= SECONDS
        assert again[2] - again[1] >= SECONDS

    run(scenario)


def test_very_many_waits_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later
        timers = []

        def counting(seconds: float, look: Callable[[], None]) -> asyncio.TimerHandle:
            timers.append(seconds)
            return call_later(seconds, look)

        monkeypatch.setattr(loop, "call_later", counting)
        deadlines: Deadlines[int] = Deadlines(PATIENCE_SECONDS, lambda _: None)
        for number in range(1000):
            deadlines.begin(number)
            if number % 2:
                deadlines.end(number)

        assert len(timers) == 1

    run(scenario)
