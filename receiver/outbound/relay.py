"""What waits in the outbox is told to Bloomreach, in order, a page at a time.

One process relays at a time (receiver.store.relay_pump).  A page is read, sent, and settled in one
transaction; who dies in between leaves it to be sent once more, which the far side can tell by the
property that carries our number.
"""

import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from random import uniform
from typing import NamedTuple

from sqlalchemy import Engine

from receiver import telemetry
from receiver.domain.json_text import encode
from receiver.domain.moments import SECOND_US
from receiver.domain.relaying import Command, event_command, has_empty_id, update_command
from receiver.outbound.access import write_down
from receiver.outbound.answers import MAX_RETRY_SECONDS
from receiver.outbound.bloomreach import Bloomreach, Denied, Unreached
from receiver.outbound.courier import Carried, Courier
from receiver.settings import Settings
from receiver.store import outbox, relay_pump, reports, writes
from receiver.store.outbox import Reason, SetAside, Waiting
from receiver.store.relay_pump import Pump
from receiver.store.sets import Ledger, Transaction

MOST_COMMANDS = 500
"""Of a page: as many may be sent twice where a process is killed."""

CIRCUIT = 3
"""After so many failures in a row one command alone is tried, until it gets through."""

STOPPED_SECONDS = 300.0
"""Who was turned away tries again after that time."""

_FIRST_BACK_OFF_SECONDS = 0.25  # most often the first failure is the only one
_MOST_BACK_OFF_SECONDS = 240.0
_MOST_CLOSED_SECONDS = MAX_RETRY_SECONDS
# After an outage not everybody shall come back in the same moment.
_RESUME_SECONDS = 2.0
# Beyond the time for an answer: how long the owner of the lease has to write down what it was.
_SETTLE_SECONDS = 5.0
# Longer than both: each page that is settled begins it anew, and who was killed holds others up as long.
_LEASE = 1.25


class Idle(NamedTuple):
    """Nothing waits."""


class Relayed(NamedTuple):
    """So many commands were sent, and so many were set aside."""

    sent: int
    set_aside: int


class Held(NamedTuple):
    """Another process relays, at least until then."""

    until_us: int


class Away(NamedTuple):
    """Bloomreach cannot be reached, or wants to be left alone, until *open_us*; *problem* is a sentence."""

    open_us: int
    problem: str


class Stopped(NamedTuple):
    """Bloomreach turns us away: a person must mend what *problem* says; tried again at *open_us*."""

    open_us: int
    problem: str


Step = Idle | Relayed | Held | Away | Stopped


class Rules(NamedTuple):
    """How it is relayed; see the settings of the same names."""

    current_ids: bool
    id_property: str | None
    per_minute: int
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        name = settings.relay_id_property
        return cls(
            settings.relay_ids == "current",
            None if name == "off" else name,
            settings.bloomreach_per_minute,
            settings.bloomreach_seconds,
        )


_Page = Sequence[tuple[Waiting, Command | SetAside | None]]
"""What waits, and as what it is sent, or why not; None for what was withdrawn meanwhile."""


class Relay:
    """Relays page after page, until *stop* is set; not to be shared between threads."""

    def __init__(self, engine: Engine, bloomreach: Bloomreach, rules: Rules, stop: threading.Event) -> None:
        self._engine = engine
        self._ledger = Ledger(engine)
        self._courier = Courier(bloomreach, rules.per_minute, stop)
        self._rules = rules
        self._owner = secrets.token_hex(8)
        self._held_until = float("-inf")  # by the monotonic clock
        self._held_until_us = 0
        # Nothing waits up to this number, as long as nobody has said that it does.
        self._after = 0
        self._rewinds = 0
        self._hurried = False  # the last page had no time for anything

    def step(self) -> Step:
        """Send one page, and write down what became of it.  Raises what the database raises."""
        pump, page = self._look()
        if page and not self._holds(pump):
            if (barred := self._barred(pump)) is not None:
                return barred
            self._take_lease()
            # Once more: what was there before may have been sent by who had the lease.
            pump, page = self._look()
        if not page:
            return Idle()
        if (barred := self._barred(pump)) is not None:
            return barred
        if pump.stopped or pump.failures >= CIRCUIT or self._hurried:
            page = _as_trial(page)
        began = time.monotonic()
        done = self._courier.carry([each for _, each in page if isinstance(each, Command)], self._has_time)
        return self._settle(page, done, pump, time.monotonic() - began)

    def close(self) -> None:
        """Let another process relay at once."""
        try:
            if self._held_until > time.monotonic():
                with self._ledger.transaction() as transaction:
                    writes.take_turn(transaction, 0)
                    relay_pump.give_back(transaction, self._owner)
        finally:
            self._ledger.close()
            self._courier.close()

    # -- what waits, and who sends it -------------------------------------------------------------

    def _look(self) -> tuple[Pump, _Page]:
        """Who relays and how that goes, and the next page."""
        with reports.reading(self._engine) as connection:
            pump = relay_pump.read(connection)
            if pump.rewinds != self._rewinds:
                self._rewinds, self._after = pump.rewinds, 0
            page = outbox.page(connection, after=self._after, limit=MOST_COMMANDS)
            holders = [each.customer_id for each in page if each.customer_id and self._rules.current_ids]
            current = outbox.current_ids(connection, holders)
        return pump, [(each, _command(each, current, self._rules.id_property)) for each in page]

    def _barred(self, pump: Pump) -> Held | Away | Stopped | None:
        """Why nothing can be sent now."""
        now_us = _now_us()
        if pump.owner != self._owner and pump.is_held(now_us):
            return Held(pump.until_us)
        if _is_closed(pump, now_us):
            return (Stopped if pump.stopped else Away)(pump.open_us, pump.problem or "")
        return None

    def _holds(self, pump: Pump) -> bool:
        return pump.owner == self._owner and self._has_time()

    def _take_lease(self) -> None:
        with self._ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            self._take(transaction)

    def _take(self, transaction: Transaction) -> None:
        seconds = _LEASE * (self._rules.seconds + _SETTLE_SECONDS)
        until, now_us = time.monotonic() + seconds, _now_us()
        until_us = now_us + int(seconds * SECOND_US)
        taken = relay_pump.take(transaction, self._owner, now_us, until_us)
        self._held_until = until if taken else float("-inf")
        self._held_until_us = until_us

    def _has_time(self) -> bool:
        """Whether a request that begins now is over, and written down, while the lease is ours.

        By both clocks: one stands still while the machine sleeps, the other may be set.
        """
        seconds = self._rules.seconds + _SETTLE_SECONDS
        by_wall = _now_us() + seconds * SECOND_US < self._held_until_us
        return by_wall and time.monotonic() + seconds < self._held_until

    # -- what became of it ------------------------------------------------------------------------

    def _settle(self, page: _Page, done: Carried, pump: Pump, seconds: float) -> Step:
        now_us = _now_us()
        gone = [waiting.id for waiting, command in page if command is None]
        set_aside = [command for _, command in page if isinstance(command, SetAside)] + done.set_aside

        def write(transaction: Transaction) -> Step:
            writes.take_turn(transaction, 0)
            outbox.settle(transaction, done.sent, set_aside, gone, now_us)
            step = self._note_problem(transaction, done, pump, now_us)
            if step is None and done.answered:
                relay_pump.reached(transaction, _resumes_us(pump, now_us))
            if done.sent:
                relay_pump.sent(transaction, now_us, round(len(done.sent) / max(seconds, 0.001)))
            self._take(transaction)
            return step or Relayed(len(done.sent), len(set_aside))

        step = write_down(self._ledger, write)
        settled = len(done.sent) + len(set_aside) + len(gone)
        self._hurried = not settled and done.problem is None
        if settled == len(page):
            self._after = page[-1][0].id
        telemetry.RELAYED.labels("sent").inc(len(done.sent))
        telemetry.RELAYED.labels("set_aside").inc(len(set_aside))
        return step

    def _note_problem(
        self, transaction: Transaction, done: Carried, pump: Pump, now_us: int
    ) -> Away | Stopped | None:
        problem = done.problem
        if problem is None:
            return None
        stopped = isinstance(problem, Denied)
        # In a row: what got through before it ends the row.
        before = 0 if done.answered else pump.failures
        wait = STOPPED_SECONDS if isinstance(problem, Denied) else _back_off(problem, before)
        open_us = now_us + int(wait * SECOND_US)
        failures = before + 1
        relay_pump.close(transaction, problem.detail, now_us, open_us, failures=failures, stopped=stopped)
        return (Stopped if stopped else Away)(open_us, problem.detail)


def _as_trial(page: _Page) -> _Page:
    """What of *page* is sent to see whether anything gets through: one command."""
    first = next((n for n, (_, command) in enumerate(page, 1) if isinstance(command, Command)), len(page))
    return page[:first]


def _is_closed(pump: Pump, now_us: int) -> bool:
    """Nobody asks yet.  What opens later than anything is ever closed for was closed before the clock was
    set back."""
    return 0 < pump.open_us - now_us <= _MOST_CLOSED_SECONDS * SECOND_US


def _back_off(problem: Unreached, failures: int) -> float:
    """Seconds to wait after *failures* before this one; whoever says that we need not wait gets a little."""
    jitter = uniform(0.5, 1)  # noqa: S311  # no secret
    if problem.retry_after is not None:
        return max(problem.retry_after, jitter)
    return min(_MOST_BACK_OFF_SECONDS, _FIRST_BACK_OFF_SECONDS * 2.0 ** min(failures, 12)) * jitter


def _resumes_us(pump: Pump, now_us: int) -> int:
    """When the next page may leave, after *pump* was as it was."""
    if pump.failures < CIRCUIT:
        return 0
    return now_us + int(uniform(0, _RESUME_SECONDS) * SECOND_US)  # noqa: S311  # no secret


def _command(
    waiting: Waiting, current: Mapping[int, Mapping[str, str]], id_property: str | None
) -> Command | SetAside | None:
    ids = waiting.ids
    if ids is None:
        return None
    if waiting.customer_id is not None and waiting.customer_id in current:
        ids = encode(current[waiting.customer_id])
    if has_empty_id(ids):
        return SetAside(waiting.id, Reason.NO_CUSTOMER_ID, "It would have gone out with an empty ID.")
    if waiting.body is not None:
        return update_command(waiting.id, ids, waiting.body)
    assert waiting.type is not None
    assert waiting.occurred_us is not None
    assert waiting.properties is not None
    return event_command(waiting.id, ids, waiting.type, waiting.occurred_us, waiting.properties, id_property)


def _now_us() -> int:
    return time.time_ns() // 1000
