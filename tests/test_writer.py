"""Many requests, one commit: who is answered what and when, on both databases."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from structlog.testing import capture_logs

from receiver.domain.commands import Event, Form, Outcome, Rules
from receiver.inbound.deliveries import Delivery, Policy, Verdict
from receiver.inbound.writer import NotStored, Writer
from receiver.store.engine import connect
from receiver.store.sets import Ledger, Transaction
from receiver.store.tables import customer_ids, events, rejections
from receiver.store.writes import Source
from tests.rows import locked

NOW_US = 1_760_000_100_000_000
POLICY = Policy(Rules(), create_unknown=True, window_us=600_000_000)

PATIENCE_SECONDS = 30
"""For what comes for certain, on whatever machine."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Gives up soon where the database is locked."""
    engine = connect(database_url, wait_seconds=0.3)
    yield engine
    engine.dispose()


@pytest.fixture
def patient_engine(database_url: str) -> Iterator[Engine]:
    """Waits for a lock longer than any sender."""
    engine = connect(database_url, wait_seconds=PATIENCE_SECONDS)
    yield engine
    engine.dispose()


def event(who: str, **members: Any) -> dict[str, Any]:
    return {
        "customer_ids": {"registered": who},
        "event_type": "campaign",
        "timestamp": 1_760_000_000,
    } | members


def delivered(body: object, form: Form = Form.EVENT) -> Delivery:
    return Delivery(1, Source.CALLBACK, form, json.dumps(body).encode(), [], NOW_US)


def what(_: Outcome, verdict: Verdict | None) -> Verdict | None:
    """What is wanted of each command."""
    return verdict


def became(verdicts: Sequence[Verdict | None]) -> list[str | None]:
    return [verdict and verdict.became.value for verdict in verdicts]


def stored(engine: Engine) -> int:
    """Events that somebody else sees."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(events)).scalar_one()


@asynccontextmanager
async def writing(
    ledger: Ledger,
    *,
    policy: Policy = POLICY,
    queue_bytes: int = 1_000_000,
    answer_seconds: float = PATIENCE_SECONDS,
) -> AsyncIterator[Writer]:
    writer = Writer(ledger, policy, queue_bytes=queue_bytes, answer_seconds=answer_seconds)
    writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * PATIENCE_SECONDS):
            await scenario()

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


async def refused(writer: Writer, delivery: Delivery) -> str:
    """Why it was not stored."""
    with pytest.raises(NotStored) as caught:
        await writer.keep(delivery, what)
    return caught.value.cause


async def cause(writer: Writer, delivery: Delivery) -> str | None:
    """Why it was not stored, None where it was."""
    try:
        await writer.keep(delivery, what)
    except NotStored as refusal:
        return refusal.cause
    return None


class Gate(Ledger):
    """Commits only after `let`; *reached* tells that a group has been written and waits for that."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.reached = threading.Event()
        self.let = threading.Event()
        self.commits = 0

    @contextmanager
    def transaction(self, *, stepwise: bool = False, rehearsal: bool = False) -> Iterator[Transaction]:
        with super().transaction(stepwise=stepwise, rehearsal=rehearsal) as transaction:
            yield transaction
            self.reached.set()
            assert self.let.wait(2 * PATIENCE_SECONDS), "never let through"
        self.commits += 1


class Paced(Ledger):
    """Begins a transaction only when it is let.

    Attributes:
        gathered: how many groups came to that point; what is sent later belongs to the next one.
        sizes: how many events each group has stored.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._looking = engine
        self._turns = threading.Semaphore(0)
        self.gathered = 0
        self.sizes: list[int] = []

    def let(self, groups: int = 1) -> None:
        self._turns.release(groups)

    @contextmanager
    def transaction(self, *, stepwise: bool = False, rehearsal: bool = False) -> Iterator[Transaction]:
        self.gathered += 1
        assert self._turns.acquire(timeout=2 * PATIENCE_SECONDS), "never let"
        with super().transaction(stepwise=stepwise, rehearsal=rehearsal) as transaction:
            yield transaction
        self.sizes.append(stored(self._looking) - sum(self.sizes))


# -- answers --------------------------------------------------------------------------------------


def test_the_answer_comes_after_the_commit_and_not_before(engine: Engine) -> None:
    async def scenario() -> None:
        gate = Gate(engine)
        async with writing(gate) as writer:
            request = asyncio.create_task(writer.keep(delivered(event("a")), what))
            await until(gate.reached.is_set)

            assert (request.done(), stored(engine)) == (False, 0)
            gate.let.set()
            assert (became(await request), stored(engine)) == (["accepted"], 1)

    run(scenario)


def test_each_request_is_answered_for_its_own_commands(engine: Engine) -> None:
    command = {"name": "customers/events", "data": event("a")}
    batch = {"commands": [command, {"name": "system/time"}, command, None]}

    async def scenario() -> None:
        gate = Gate(engine)
        async with writing(gate) as writer:
            # The first one keeps the writer busy until all others wait together.
            requests = [asyncio.create_task(writer.keep(delivered(event("first")), what))]
            await until(gate.reached.is_set)
            for each in (delivered(batch, Form.BATCH), delivered(event("b")), delivered(event("a"))):
                requests.append(asyncio.create_task(writer.keep(each, what)))
                await asyncio.sleep(0)
            gate.let.set()
            answers = await asyncio.gather(*requests)

        assert [became(answer) for answer in answers] == [
            ["accepted"],
            ["accepted", None, "duplicate", "rejected"],
            ["accepted"],
            ["duplicate"],
        ]

    run(scenario)


def test_all_that_wait_share_one_commit(engine: Engine) -> None:
    async def scenario() -> None:
        gate = Gate(engine)
        async with writing(gate) as writer:
            first = asyncio.create_task(writer.keep(delivered(event("first")), what))
            await until(gate.reached.is_set)
            others = [asyncio.create_task(writer.keep(delivered(event(f"c-{n}")), what)) for n in range(20)]
            await asyncio.sleep(0)
            gate.let.set()
            await asyncio.gather(first, *others)

        assert (gate.commits, stored(engine)) == (2, 21)

    run(scenario)


def test_those_who_come_again_as_soon_as_they_are_answered_share_each_commit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.inbound.writer._GAP_SECONDS", 0.3)

    async def scenario() -> None:
        gate = Gate(engine)
        gate.let.set()
        async with writing(gate) as writer:
            await asyncio.gather(*(_send(writer, f"c-{sender}", times=5) for sender in range(4)))

        # By turns they would have come in ten groups, three and one and three and one.
        assert stored(engine) == 20
        assert gate.commits <= 7

    run(scenario)


def test_nobody_waits_for_others_where_there_are_none_or_none_any_more(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        gate = Gate(engine)
        gate.let.set()
        async with writing(gate) as writer:
            await asyncio.gather(*(_send(writer, f"c-{sender}", times=1) for sender in range(4)))
            await _send(writer, "c-0", times=2)
            began = time.monotonic()
            monkeypatch.setattr("receiver.inbound.writer._GAP_SECONDS", PATIENCE_SECONDS)
            await _send(writer, "c-0", times=10)

        assert time.monotonic() - began < PATIENCE_SECONDS

    run(scenario)


async def _send(writer: Writer, who: str, *, times: int) -> None:
    """One after the other, each when the one before is answered."""
    for _ in range(times):
        await writer.keep(delivered(event(who, properties={"number": next(_NUMBERS)})), what)


_NUMBERS = count()


def test_a_sender_that_hangs_up_while_it_waits_costs_nobody_an_answer_and_is_stored(engine: Engine) -> None:
    async def scenario() -> None:
        gate = Gate(engine)
        async with writing(gate) as writer:
            gone, there = (asyncio.create_task(writer.keep(delivered(event(who)), what)) for who in "ab")
            await until(gate.reached.is_set)
            gone.cancel()
            await asyncio.wait([gone])
            gate.let.set()

            assert became(await there) == ["accepted"]
            assert became(await writer.keep(delivered(event("a")), what)) == ["duplicate"]
        assert gone.cancelled()

    run(scenario)


# -- long lists -----------------------------------------------------------------------------------

MOST = 1000
"""Commands of one part."""

LONG = 2 * MOST + 500


def listed(length: int, who: str = "c") -> Delivery:
    """A flat list of so many events, each of its own customer and time."""
    items = [
        {"individualisation1": f"{who}-{number}", "status": "posted", "timestamp": 1_760_000_000 + number}
        for number in range(length)
    ]
    return delivered(items, Form.FLAT)


def keeping(writer: Writer, delivery: Delivery) -> asyncio.Task[list[Verdict | None]]:
    return asyncio.create_task(writer.keep(delivery, what))


@pytest.mark.parametrize("length", [MOST - 1, MOST, MOST + 1, 2 * MOST, LONG])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_list_of_whatever_length_is_stored_whole(engine: Engine, length: int) -> None:
    async def scenario() -> None:
        ledger = Paced(engine)
        ledger.let(1 + length // MOST)
        async with writing(ledger) as writer:
            assert became(await writer.keep(listed(length), what)) == ["accepted"] * length
        assert (sum(ledger.sizes), max(ledger.sizes)) == (length, min(length, MOST))

    run(scenario)


def test_others_are_answered_between_the_parts_of_a_long_list(engine: Engine) -> None:
    async def scenario() -> None:
        ledger = Paced(engine)
        async with writing(ledger) as writer:
            long = keeping(writer, listed(LONG))
            await until(lambda: ledger.gathered == 1)
            others: list[asyncio.Task[list[Verdict | None]]] = []
            for who in ("other", "another"):
                others.append(keeping(writer, delivered(event(who))))
                await asyncio.sleep(0)
                ledger.let()
                await until(lambda: ledger.gathered > len(others))

            assert became(await others[0]) == ["accepted"]
            assert (long.done(), others[1].done()) == (False, False)
            assert stored(engine) == 2 * MOST + 1
            ledger.let()
            assert became(await long) == ["accepted"] * LONG
            assert became(await others[1]) == ["accepted"]
        assert ledger.sizes == [MOST, MOST + 1, LONG - 2 * MOST + 1]

    run(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_long_lists_take_turns(engine: Engine) -> None:
    length = 5 * MOST + 1

    async def scenario() -> None:
        ledger = Paced(engine)
        async with writing(ledger) as writer:
            lists = [keeping(writer, listed(length, who)) for who in ("a", "b")]
            ledger.let(6)
            await until(lambda: len(ledger.sizes) == 6)

            with engine.connect() as connection:
                held = Counter(
                    value[0] for value in connection.execute(select(customer_ids.c.value)).scalars()
                )
            assert sum(held.values()) == 7 * MOST
            assert abs(held["a"] - held["b"]) == MOST
            ledger.let(2 * length)
            assert [became(await each) for each in lists] == [["accepted"] * length] * 2

    run(scenario)


def test_each_command_of_a_long_list_is_described_once_and_in_its_place(engine: Engine) -> None:
    items: list[dict[str, Any]] = []
    expected: list[tuple[str, int | None]] = []
    for number in range(LONG):
        time_s = 1_760_000_000 + number
        if number % 7 == 0:
            expected.append(("rejected", None))
            items.append({"individualisation1": "", "timestamp": time_s})
        elif number % 5 == 3:
            expected.append(("duplicate", 1_760_000_001_000_000))
            items.append(items[1])
        else:
            expected.append(("accepted", time_s * 1_000_000))
            items.append({"individualisation1": "c", "timestamp": time_s})
    described = []

    def describe(outcome: Outcome, verdict: Verdict | None) -> tuple[str, int | None]:
        assert verdict is not None
        said = verdict.became.value, outcome.occurred_us if isinstance(outcome, Event) else None
        described.append(said)
        return said

    async def scenario() -> None:
        async with writing(Ledger(engine)) as writer:
            assert await writer.keep(delivered(items, Form.FLAT), describe) == expected
        assert described == expected

    run(scenario)


def test_what_only_the_store_can_refuse_in_a_later_part_is_kept_with_its_own_bytes(engine: Engine) -> None:
    delivery = listed(LONG)
    strict = Policy(POLICY.rules, create_unknown=False, window_us=POLICY.window_us)

    async def scenario() -> None:
        async with writing(Ledger(engine), policy=strict) as writer:
            assert became(await writer.keep(delivery, what)) == ["rejected"] * LONG

    run(scenario)
    with engine.connect() as connection:
        bodies = connection.execute(select(rejections.c.body).order_by(rejections.c.id)).scalars().all()
    assert b"[" + b", ".join(bodies) + b"]" == delivery.body


def test_a_list_that_was_stored_in_part_when_the_database_went_away_ends_whole_when_it_is_sent_again(
    engine: Engine, database_url: str
) -> None:
    async def scenario() -> None:
        ledger = Paced(engine)
        async with writing(ledger) as writer:
            long = keeping(writer, listed(LONG))
            ledger.let()
            await until(lambda: ledger.gathered == 2)
            with locked(database_url):
                ledger.let()
                with pytest.raises(NotStored, match="database"):
                    await long
            assert stored(engine) == MOST

            ledger.let()
            assert became(await writer.keep(delivered(event("other")), what)) == ["accepted"]
            assert ledger.sizes == [MOST, 1], "nobody has sent it again"
            ledger.let(3)
            again = became(await writer.keep(listed(LONG), what))
            assert again == ["duplicate"] * MOST + ["accepted"] * (LONG - MOST)
            assert stored(engine) == LONG + 1
        with engine.connect() as connection:
            times = connection.execute(select(func.count(events.c.occurred_us.distinct()))).scalar_one()
        assert times == LONG

    run(scenario)


def test_a_sender_that_hangs_up_between_two_parts_is_stored_to_the_end_and_gives_its_room_back(
    engine: Engine,
) -> None:
    delivery = listed(LONG)

    async def scenario() -> None:
        ledger = Paced(engine)
        async with writing(ledger, queue_bytes=len(delivery.body)) as writer:
            gone = keeping(writer, delivery)
            ledger.let()
            await until(lambda: ledger.gathered == 2)
            gone.cancel()
            assert await refused(writer, delivery) == "busy"
            ledger.let(2)
            await until(lambda: stored(engine) == LONG)

            ledger.let(3)
            async with asyncio.timeout(PATIENCE_SECONDS):
                # Until the event loop has heard that it is stored.
                while await cause(writer, delivery) == "busy":
                    await asyncio.sleep(0.005)
            assert stored(engine) == LONG
        assert gone.cancelled()

    run(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_long_list_may_take_longer_than_an_answer_where_no_part_of_it_does(engine: Engine) -> None:
    async def scenario() -> None:
        ledger = Paced(engine)
        async with writing(ledger, answer_seconds=1.5) as writer:
            long = keeping(writer, listed(LONG))
            for _ in range(3):
                await asyncio.sleep(0.75)
                ledger.let()
            assert became(await long) == ["accepted"] * LONG

            late = keeping(writer, listed(LONG, "late"))
            ledger.let()
            with pytest.raises(NotStored, match="database"):
                await late
            ledger.let(2)

    run(scenario)


def test_a_long_list_that_was_begun_is_stored_whole_before_the_end(engine: Engine) -> None:
    async def scenario() -> None:
        ledger = Paced(engine)
        async with writing(ledger) as writer:
            long = keeping(writer, listed(3 * MOST + 1))
            ledger.let()
            await until(lambda: ledger.gathered == 2)
            stopping = asyncio.create_task(writer.stop())
            await asyncio.sleep(0)
            assert await refused(writer, delivered(event("late"))) == "stopping"
            assert not stopping.done()
            ledger.let(3)
            await stopping

            assert stored(engine) == 3 * MOST + 1
            assert became(await long) == ["accepted"] * (3 * MOST + 1)

    run(scenario)


# -- outages --------------------------------------------------------------------------------------


def test_while_the_database_cannot_be_written_each_request_is_told_so_and_nothing_is_kept(
    engine: Engine, database_url: str
) -> None:
    async def scenario() -> None:
        async with writing(Ledger(engine)) as writer:
            with locked(database_url):
                causes = await asyncio.gather(
                    *[refused(writer, delivered(event(f"c-{n}"))) for n in range(3)]
                )
                assert not writer.alive
            assert (causes, stored(engine)) == (["database"] * 3, 0)

            assert became(await writer.keep(delivered(event("c-0")), what)) == ["accepted"]
            assert writer.alive
            assert stored(engine) == 1

    run(scenario)


def test_nobody_waits_for_ever_for_a_database_that_hangs(patient_engine: Engine, database_url: str) -> None:
    async def scenario() -> None:
        async with writing(Ledger(patient_engine), answer_seconds=0.3) as writer:
            with locked(database_url):
                assert await refused(writer, delivered(event("a"))) == "database"
                await until(lambda: not writer.alive)
            # Nobody knew: in fact it was stored, once the database went on.
            await until(lambda: stored(patient_engine) == 1)
            await until(lambda: writer.alive)
            assert became(await writer.keep(delivered(event("a")), what)) == ["duplicate"]

    run(scenario)


class Mistaken(Ledger):
    """Has a mistake that shows once."""

    shown = False

    @contextmanager
    def transaction(self, *, stepwise: bool = False, rehearsal: bool = False) -> Iterator[Transaction]:
        if not self.shown:
            self.shown = True
            raise KeyError("SECRET")
        with super().transaction(stepwise=stepwise, rehearsal=rehearsal) as transaction:
            yield transaction


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_mistake_of_ours_costs_its_group_alone_and_is_logged_without_what_it_quotes(engine: Engine) -> None:
    async def scenario() -> None:
        async with writing(Mistaken(engine)) as writer:
            with capture_logs() as logs:
                assert await refused(writer, delivered(event("SECRET"))) == "database"
            assert became(await writer.keep(delivered(event("SECRET")), what)) == ["accepted"]

        assert [(log["event"], log["error"]) for log in logs] == [("group_failed", "KeyError")]
        assert "SECRET" not in str(logs)

    run(scenario)


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(engine: Engine, database_url: str) -> None:
    async def scenario() -> None:
        async with writing(Ledger(engine)) as writer:
            await writer.keep(delivered(event("before")), what)
            with capture_logs() as logs:
                with locked(database_url):
                    for _ in range(3):
                        assert await refused(writer, delivered(event("SECRET"))) == "database"
                for n in range(2):
                    await writer.keep(delivered(event(f"SECRET {n}")), what)

        assert [log["event"] for log in logs] == ["database_away", "database_back"]
        assert "SECRET" not in str(logs)

    run(scenario)


# -- how much may wait ----------------------------------------------------------------------------


def test_more_bytes_than_may_wait_are_turned_away_until_those_before_are_stored(engine: Engine) -> None:
    first, second = delivered(event("a")), delivered(event("b"))
    size = len(first.body)

    async def scenario() -> None:
        gate = Gate(engine)
        async with writing(gate, queue_bytes=2 * size - 1) as writer:
            request = asyncio.create_task(writer.keep(first, what))
            await until(gate.reached.is_set)
            assert await refused(writer, second) == "busy"
            gate.let.set()
            await request

            assert became(await writer.keep(second, what)) == ["accepted"]

    run(scenario)


def test_a_body_larger_than_all_that_may_wait_is_turned_away(engine: Engine) -> None:
    delivery = delivered(event("a"))

    async def scenario() -> None:
        async with writing(Ledger(engine), queue_bytes=len(delivery.body) - 1) as writer:
            assert await refused(writer, delivery) == "busy"

    run(scenario)


def test_room_is_given_back_also_by_what_could_not_be_stored(engine: Engine, database_url: str) -> None:
    delivery = delivered(event("a"))

    async def scenario() -> None:
        async with writing(Ledger(engine), queue_bytes=len(delivery.body)) as writer:
            with locked(database_url):
                assert [await refused(writer, delivery) for _ in range(2)] == ["database"] * 2
            for _ in range(2):
                await writer.keep(delivery, what)

    run(scenario)


def test_what_nobody_waits_for_any_more_still_takes_room_until_the_writer_has_taken_it(
    patient_engine: Engine, database_url: str
) -> None:
    deliveries = [delivered(event(f"c-{n}")) for n in range(10)]
    room = 3 * len(deliveries[0].body)

    async def scenario() -> None:
        async with writing(Ledger(patient_engine), queue_bytes=room, answer_seconds=0.1) as writer:
            with locked(database_url):
                causes = [await refused(writer, delivery) for delivery in deliveries]
            assert causes == ["database"] * 3 + ["busy"] * 7
            await until(lambda: stored(patient_engine) == 3)
            await until(lambda: stored(patient_engine) == 3)
            async with asyncio.timeout(PATIENCE_SECONDS):
                # Until the event loop has heard that they are stored.
                while await cause(writer, deliveries[9]) == "busy":
                    await asyncio.sleep(0.005)
            assert stored(patient_engine) == 4

    run(scenario)


# -- the beginning and the end --------------------------------------------------------------------


def test_a_writer_is_alive_from_its_start_to_its_end(engine: Engine) -> None:
    async def scenario() -> None:
        writer = Writer(Ledger(engine), POLICY, queue_bytes=1000, answer_seconds=PATIENCE_SECONDS)
        assert not writer.alive
        writer.start()
        assert writer.alive
        await writer.stop()
        assert not writer.alive

    run(scenario)


def test_what_was_taken_is_stored_before_the_end_and_nothing_more_is_taken(engine: Engine) -> None:
    async def scenario() -> None:
        gate = Gate(engine)
        async with writing(gate) as writer:
            taken = [asyncio.create_task(writer.keep(delivered(event("first")), what))]
            await until(gate.reached.is_set)
            taken += [asyncio.create_task(writer.keep(delivered(event(f"c-{n}")), what)) for n in range(5)]
            await asyncio.sleep(0)
            stopping = asyncio.create_task(writer.stop())
            await asyncio.sleep(0)
            assert await refused(writer, delivered(event("late"))) == "stopping"
            assert not stopping.done()
            gate.let.set()
            await stopping

            assert stored(engine) == 6
            assert [became(answer) for answer in await asyncio.gather(*taken)] == [["accepted"]] * 6
        with engine.connect() as connection:
            held = set(connection.execute(select(customer_ids.c.value)).scalars())
        assert held == {"first", *(f"c-{n}" for n in range(5))}

    run(scenario)


def test_the_end_does_not_wait_for_ever_for_a_database_that_hangs(
    patient_engine: Engine, database_url: str
) -> None:
    async def scenario() -> None:
        writer = Writer(Ledger(patient_engine), POLICY, queue_bytes=1000, answer_seconds=0.2)
        writer.start()
        with locked(database_url):
            assert await refused(writer, delivered(event("a"))) == "database"
            started = time.monotonic()
            await writer.stop()
            assert time.monotonic() - started < PATIENCE_SECONDS / 2
        # The thread ends by itself when the database goes on.
        await until(lambda: stored(patient_engine) == 1)
        await writer.stop()

    run(scenario)
