"""Bodies come in: how large, how slow, how many at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message

from receiver.settings import Settings
from receiver.web.intake import BUSY, HUNG_UP, STOPPING, TOO_LARGE, TOO_SLOW, Intake, TurnedAway

PATIENCE_SECONDS = 20


def intake(**settings: Any) -> Intake:
    return Intake(Settings(**settings))


def part(body: bytes, *, last: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": not last}


END = part(b"", last=True)
HANGS_UP: Message = {"type": "http.disconnect"}


class Sender:
    """Hands over *messages*, then nothing more; *asked* counts how often it was asked for one."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)
        self.asked = 0
        self.out_of_messages = asyncio.Event()

    async def receive(self) -> Message:
        self.asked += 1
        if self._messages:
            return self._messages.pop(0)
        self.out_of_messages.set()
        await asyncio.Event().wait()
        raise AssertionError("waited for ever")


def read(intake: Intake, *messages: Message, announced_bytes: int = 0) -> bytes | TurnedAway:
    async def scenario() -> bytes | TurnedAway:
        return await intake.body(Sender(*messages).receive, announced_bytes)

    return asyncio.run(scenario())


# -- whole bodies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"abcdef", last=True)],
        [part(b"abc"), part(b"def", last=True)],
        [part(b""), part(b"a"), part(b"bcde"), part(b""), part(b"f"), END],
        [{"type": "http.request", "body": b"abcdef"}],
    ],
)
def test_a_body_is_given_whole_however_it_came(messages: Sequence[Message]) -> None:
    assert read(intake(), *messages) == b"abcdef"


def test_no_body_is_an_empty_one() -> None:
    assert read(intake(), {"type": "http.request"}) == b""
    assert read(intake(), END) == b""


# -- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"x" * 101, last=True)],
        [part(b"x" * 101), END],
        [part(b"x" * 100), part(b"x", last=True)],
        [part(b"x" * 60), part(b"x" * 60), END],
    ],
)
def test_one_byte_over_the_limit_is_too_large_and_the_limit_itself_is_not(messages: list[Message]) -> None:
    assert read(intake(max_body_bytes=100), *messages) == TOO_LARGE
    assert read(intake(max_body_bytes=120), *messages) == b"x" * sum(len(m["body"]) for m in messages)


def test_a_length_that_was_announced_too_large_is_turned_away_before_anything_is_read() -> None:
    assert read(intake(max_body_bytes=100), HANGS_UP, announced_bytes=101) == TOO_LARGE
    assert read(intake(max_body_bytes=100), HANGS_UP, announced_bytes=100) == HUNG_UP


def test_what_became_too_large_is_not_read_any_further() -> None:
    async def scenario() -> tuple[bytes | TurnedAway, int]:
        sender = Sender(*[part(b"x" * 60)] * 9)
        return await intake(max_body_bytes=100).body(sender.receive, 0), sender.asked

    assert asyncio.run(scenario()) == (TOO_LARGE, 2)


@pytest.mark.parametrize("messages", [[], [part(b"begun")], [part(b"begun"), part(b"going on")]])
def test_a_sender_that_falls_silent_is_too_slow(messages: list[Message]) -> None:
    assert read(intake(body_seconds=0.05), *messages) == TOO_SLOW


def test_a_sender_that_drips_is_too_slow_though_it_is_never_silent_for_long() -> None:
    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return part(b"x")

    async def scenario() -> bytes | TurnedAway:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await intake(body_seconds=0.1).body(receive, 0)

    assert asyncio.run(scenario()) == TOO_SLOW


@pytest.mark.parametrize(
    "messages", [[HANGS_UP], [part(b"half"), HANGS_UP], [part(b"a"), part(b"b"), HANGS_UP]]
)
def test_a_sender_that_hangs_up_is_nobody_to_answer(messages: list[Message]) -> None:
    assert read(intake(), *messages) == HUNG_UP
    assert HUNG_UP.status == 0


@pytest.mark.parametrize("messages", [[], [part(b"half")]])
def test_a_sender_that_is_interrupted_by_the_end_of_the_service_is_told_so(messages: list[Message]) -> None:
    async def scenario() -> bytes | TurnedAway:
        sender = Sender(*messages)
        reading = asyncio.create_task(intake().body(sender.receive, 0))
        await sender.out_of_messages.wait()
        reading.cancel()
        return await reading

    assert asyncio.run(scenario()) == STOPPING


def test_whoever_is_turned_away_gets_the_status_and_a_sentence_of_what_to_do() -> None:
    statuses = {why.cause: why.status for why in (TOO_LARGE, TOO_SLOW, BUSY, STOPPING)}

    assert statuses == {"too_large": 413, "too_slow": 408, "busy": 503, "stopping": 503}
    assert all("send" in why.message for why in (TOO_LARGE, TOO_SLOW, BUSY, STOPPING))


# -- all half-read bodies together ----------------------------------------------------------------


def test_half_read_bodies_together_are_bounded_and_room_is_free_again_when_one_is_read() -> None:
    async def scenario() -> list[bytes | TurnedAway]:
        shared, first = intake(held_bytes=100), Sender(part(b"x" * 60))
        reading = asyncio.create_task(shared.body(first.receive, 0))
        await first.out_of_messages.wait()
        fits = await shared.body(Sender(part(b"y" * 40), END).receive, 0)
        too_much = await shared.body(Sender(part(b"y" * 41), END).receive, 0)
        grown_too_much = await shared.body(Sender(part(b"y" * 40), part(b"y"), END).receive, 0)
        reading.cancel()
        await reading
        again = await shared.body(Sender(part(b"y" * 41), END).receive, 0)
        return [fits, too_much, grown_too_much, again]

    assert asyncio.run(scenario()) == [b"y" * 40, BUSY, BUSY, b"y" * 41]


def test_a_body_that_came_in_one_piece_takes_no_room_of_the_half_read_ones() -> None:
    assert read(intake(held_bytes=10), part(b"x" * 11, last=True)) == b"x" * 11


async def _interrupted(shared: Intake, sender: Sender) -> bytes | TurnedAway:
    reading = asyncio.create_task(shared.body(sender.receive, 0))
    await sender.out_of_messages.wait()
    reading.cancel()
    return await reading


async def _left_alone(shared: Intake, sender: Sender) -> bytes | TurnedAway:
    return await shared.body(sender.receive, 0)


@pytest.mark.parametrize(
    ("how", "messages", "becomes"),
    [
        (_left_alone, [part(b"x" * 60), part(b"x" * 40), END], b"x" * 100),
        (_left_alone, [part(b"x" * 60), part(b"x" * 41), END], BUSY),
        (_left_alone, [part(b"x" * 101)], BUSY),
        (_left_alone, [part(b"x" * 80), part(b"x" * 5), HANGS_UP], HUNG_UP),
        (_left_alone, [part(b"x" * 80)], TOO_SLOW),
        (_interrupted, [part(b"x" * 80)], STOPPING),
    ],
    ids=["read", "busy later", "busy at once", "hung up", "too slow", "stopping"],
)
def test_room_is_given_back_whatever_became_of_a_body(
    how: Any, messages: list[Message], becomes: bytes | TurnedAway
) -> None:
    async def scenario() -> tuple[bytes | TurnedAway, bytes | TurnedAway]:
        shared = intake(held_bytes=100, body_seconds=0.2)
        first = await how(shared, Sender(*messages))
        return first, await shared.body(Sender(part(b"y" * 100), END).receive, 0)

    assert asyncio.run(scenario()) == (becomes, b"y" * 100)


def test_room_is_given_back_where_a_body_is_too_large() -> None:
    async def scenario() -> tuple[bytes | TurnedAway, bytes | TurnedAway]:
        shared = intake(held_bytes=60, max_body_bytes=50)
        first = await _left_alone(shared, Sender(part(b"x" * 40), part(b"x" * 20)))
        return first, await _left_alone(shared, Sender(part(b"y" * 50), END))

    assert asyncio.run(scenario()) == (TOO_LARGE, b"y" * 50)
