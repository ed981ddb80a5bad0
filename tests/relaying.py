"""What every test of the relay needs: callbacks, who relays them, and whether it adds up."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

import pytest
from sqlalchemy import func, select

from receiver.outbound import relay as relay_module
from receiver.outbound.bloomreach import bloomreach_of
from receiver.outbound.relay import Away, Held, Idle, Relay, Relayed, Rules, Step, Stopped
from receiver.outbound.relay_thread import switch_on
from receiver.store import relay_pump, relay_status, reports, set_aside, writes
from receiver.store.relay_pump import Pump
from receiver.store.sets import Ledger, Transaction
from receiver.store.tables import events, outbox, outbox_hours
from tests.mending import Bench, event
from tests.posting import Post, posting
from tests.simulated_bloomreach import SimulatedBloomreach

SENT_SECONDS = 1_760_000_000
Done = TypeVar("Done")


class Books(NamedTuple):
    """What was counted of all projects together, which agrees with the rows."""

    given: int = 0
    sent: int = 0
    waiting: int = 0
    aside: int = 0
    withdrawn: int = 0
    discarded: int = 0


class Clock:
    """Stands still unless it is set; for what is asked in microseconds."""

    def __init__(self, now_us: int = 1_790_000_000_000_000) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us

    def advance(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)


def numbered(number: int, who: str = "c-1", **members: Any) -> dict[str, Any]:
    """An event that says which one it is."""
    return event(
        {"registered": who}, **({"timestamp": SENT_SECONDS + number, "properties": {"n": number}} | members)
    )


def update(who: str = "c-1", timestamp: float | None = None, **properties: Any) -> dict[str, Any]:
    time = {} if timestamp is None else {"update_timestamp": timestamp}
    return {"customer_ids": {"registered": who}, "properties": properties, **time}


class Station(Bench):
    """Callbacks come in on one side and leave on the other, for the simulated Bloomreach."""

    def __init__(self, post: Post, far: SimulatedBloomreach, stack: ExitStack) -> None:
        super().__init__(post)
        self.far = far
        self._stack = stack

    def switch_on(self) -> None:
        switch_on(self.engine)

    def take(self, *numbers: int, who: str = "c-1") -> list[int]:
        """The numbers that events of *numbers* have here; one group."""
        return [verdict.row_id for verdict in self.send(*(numbered(each, who) for each in numbers))]

    def take_many(self, count: int, customers: int = 7, **of_each: Any) -> None:
        """Events with their numbers from 0, of some customers, in groups of a hundred."""
        for first in range(0, count, 100):
            numbers = range(first, min(first + 100, count))
            self.send(*(numbered(n, f"c-{n % customers}", **of_each) for n in numbers))

    def relay(self, stop: threading.Event | None = None, **of_settings: Any) -> Relay:
        """Another one, in the end closed."""
        settings = self.post.settings.model_copy(update=of_settings)
        bloomreach = bloomreach_of(settings)
        assert bloomreach is not None
        relay = Relay(self.engine, bloomreach, Rules.of(settings), stop or threading.Event())
        self._stack.callback(relay.close)
        return relay

    def change(self, change: Callable[[Transaction], Done]) -> Done:
        """In a transaction of its own, with the one lock."""
        ledger = Ledger(self.engine)
        try:
            with ledger.transaction() as transaction:
                writes.take_turn(transaction, 0)
                return change(transaction)
        finally:
            ledger.close()

    def put_back(self, *ids: int, at_us: int = 5) -> None:
        assert self.change(lambda transaction: set_aside.put_back(transaction, ids, at_us)) == len(ids)

    # -- what the tables and the far side say -----------------------------------------------------

    def pump(self) -> Pump:
        with reports.reading(self.engine) as connection:
            return relay_pump.read(connection)

    def outbox(self) -> list[Any]:
        return self.post.query(select(outbox).order_by(outbox.c.id))

    def waiting(self) -> list[int]:
        query = select(outbox.c.id).where(outbox.c.set_aside_us.is_(None))
        return [number for (number,) in self.post.query(query.order_by(outbox.c.id))]

    def aside(self) -> list[tuple[int, str, str]]:
        """Number, reason and message."""
        columns = outbox.c.id, outbox.c.reason, outbox.c.message
        query = select(*columns).where(outbox.c.set_aside_us.is_not(None)).order_by(outbox.c.id)
        return [tuple(each) for each in self.post.query(query)]

    def books(self) -> Books:
        """What was counted; that it adds up, and agrees with the rows, is seen to."""
        with reports.reading(self.engine) as connection:
            totals, kept = relay_status.totals(connection), relay_status.kept(connection)
        rows = {each.project_id: (each.waiting, each.aside) for each in kept}
        assert {each.project_id: (each.waiting, each.aside) for each in totals} == {
            each.project_id: rows.get(each.project_id, (0, 0)) for each in totals
        }
        for each in totals:
            assert each.given == sum((each.sent, each.waiting, each.aside, each.withdrawn, each.discarded))
        (negative,) = self.post.query(
            select(func.count()).select_from(outbox_hours).where(outbox_hours.c.sent < 0)
        )
        assert negative == (0,)
        sums = [sum(getattr(each, name) for each in totals) for name in Books._fields]
        return Books(*sums)

    def here(self) -> list[str]:
        """The numbers, as texts, of all events that callbacks made and that were not withdrawn."""
        made = select(events.c.id).where(events.c.source.in_(["callback", "replayed"]))
        return [str(number) for (number,) in self.post.query(made.order_by(events.c.id))]

    def there(self, name: str = "receiver_event_id") -> list[Any]:
        """This property of all events that the far side kept, in the order in which they came."""
        return [each["properties"].get(name) for each in self.far.events()]


def run(relay: Relay, most: int = 200) -> list[Step]:
    """What it says until nothing can be sent."""
    steps: list[Step] = []
    while len(steps) < most:
        steps.append(relay.step())
        if not isinstance(steps[-1], Relayed):
            return steps
    raise AssertionError(f"it goes on after {most} steps")


def run_through(relay: Relay, clock: Clock, most: int = 400) -> list[Step]:
    """What it says until nothing waits, though the far side fails; the time to wait passes at once."""
    steps: list[Step] = []
    while len(steps) < most:
        steps.append(relay.step())
        match steps[-1]:
            case Idle():
                return steps
            case Away(until_us, _) | Stopped(until_us, _) | Held(until_us):
                clock.now_us = until_us
            case Relayed():
                # The pause of a resume is over by then.
                clock.advance(2)
    raise AssertionError(f"it goes on after {most} steps")


@contextmanager
def station(
    database_url: str, far: SimulatedBloomreach, *, wait_seconds: float = 5.0, **of_settings: Any
) -> Iterator[Station]:
    """Relaying is on; the far side may be asked as fast as it allows."""
    of_settings = {
        "unknown_customers": "create",
        "bloomreach_per_minute": 6000,
        "bloomreach_seconds": 5.0,
        **far.settings,
        **of_settings,
    }
    with posting(database_url, wait_seconds=wait_seconds, **of_settings) as post, ExitStack() as stack:
        at = Station(post, far, stack)
        at.switch_on()
        yield at


def by_customer(far: SimulatedBloomreach) -> dict[str, list[int]]:
    """The ``n`` of the events of each customer, in the order in which they came, repeats left out."""
    found: dict[str, list[int]] = {}
    for each in far.events():
        if each["repeat_of"] is None:
            found.setdefault(each["customer_ids"]["registered"], []).append(each["properties"]["n"])
    return found


def standing_still(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock on the wall of whoever relays."""
    clock = Clock()
    monkeypatch.setattr(relay_module, "_now_us", clock)
    return clock
