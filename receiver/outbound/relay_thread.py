"""The background task of the service that relays, and looks how much there is to relay."""

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy import Engine

from receiver import telemetry
from receiver.outbound.bloomreach import bloomreach_of
from receiver.outbound.relay import Away, Held, Idle, Relay, Relayed, Rules, Step, Stopped
from receiver.outbound.tireless import again_and_again
from receiver.settings import Settings
from receiver.store import outbox, relay_pump, relay_status, reports, writes
from receiver.store.sets import Ledger

_IDLE_SECONDS = 0.5
_LOOK_SECONDS = 15.0
# Of a core: what relaying may use in any case, and what all together may.
_LEAST_SHARE = 0.02
_MOST_SHARE = 0.8
_END_SECONDS = 5.0


def switch_on(engine: Engine) -> None:
    """From now on what is accepted is relayed, and what kept us from it may have been mended."""
    ledger = Ledger(engine)
    try:
        with ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            outbox.switch_on(transaction)
            relay_pump.open_now(transaction)
    finally:
        ledger.close()


def pause_after(step: Step) -> float:
    """Seconds until the next look, 0 for none."""
    match step:
        case Relayed():
            return 0.0
        case Idle():
            return _IDLE_SECONDS
        case Held(until_us) | Away(until_us, _) | Stopped(until_us, _):
            return min(_IDLE_SECONDS, max(0.01, until_us / 1_000_000 - time.time()))


class Courtesy:
    """Lets receiving go first: of the core that all threads of a process share, and of the writer's time,
    relaying takes what the others leave, and a little in any case.

    Python runs one thread at a time, so nobody is answered while we compute; what waits is on disk.
    *idle_seconds* tells how long in all the writer has had nothing to do.
    """

    def __init__(self, idle_seconds: Callable[[], float]) -> None:
        self._idle_seconds = idle_seconds
        self._before = self._now()
        self._pause = 0.0

    def _now(self) -> tuple[float, ...]:
        return time.monotonic(), time.process_time(), time.thread_time(), self._idle_seconds()

    def pause(self) -> float:
        """Seconds to wait after what this thread did since it was asked last."""
        before, self._before = self._before, self._now()
        wall, process, own, idle = (one - other for one, other in zip(self._before, before, strict=True))
        wall = max(wall, 0.001)
        left = max(_LEAST_SHARE, min(_MOST_SHARE - (process - own) / wall, idle / wall))
        # What was paused before it worked is no part of its work.
        self._pause = max(0.0, own / left - (wall - self._pause))
        return self._pause


class RelayThread:
    """Relays where all four settings of Bloomreach are there, and tells the metrics.

    *idle_seconds* is as of `Courtesy`; without it nobody receives in this process.
    """

    def __init__(
        self, engine: Engine, settings: Settings, idle_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._idle_seconds = idle_seconds
        self._stop = threading.Event()
        self._told: type[Step] | None = None  # of the trouble that lasts
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Raises what the database raises."""
        bloomreach = bloomreach_of(self._settings)
        if bloomreach is None:
            return
        switch_on(self._engine)
        if not self._settings.relay_in_service:
            bloomreach.close()
            return
        relay = Relay(self._engine, bloomreach, Rules.of(self._settings), self._stop)
        self._thread = threading.Thread(target=self._run, args=(relay,), name="relay", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the request that is under way, where that is not long in coming to its end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _run(self, relay: Relay) -> None:
        look_at = 0.0
        courtesy = Courtesy(self._idle_seconds)

        def step() -> float:
            nonlocal look_at
            if time.monotonic() >= look_at:
                self._look()
                look_at = time.monotonic() + _LOOK_SECONDS
            done = relay.step()
            self._tell(done)
            return max(courtesy.pause(), pause_after(done))

        again_and_again(step, self._stop, self._stop.wait, failed="relay_failed")
        try:
            relay.close()
        except Exception as error:
            telemetry.log("relay_failed", level=logging.WARNING, **telemetry.described(error))

    def _tell(self, step: Step) -> None:
        if isinstance(step, Away | Stopped) and step.problem:
            if type(step) is not self._told:
                event = "relay_away" if isinstance(step, Away) else "relay_denied"
                telemetry.log(event, level=logging.ERROR)
            self._told = type(step)
        elif isinstance(step, Relayed) and any(step) and self._told:
            self._told = None
            telemetry.log("relay_back")

    def _look(self) -> None:
        with reports.reading(self._engine) as connection:
            found = relay_status.totals(connection)
        now_us = time.time_ns() // 1000
        telemetry.RELAY_WAITING.set(sum(each.waiting for each in found))
        telemetry.RELAY_SET_ASIDE.set(sum(each.aside for each in found))
        oldest_us = min((each.oldest_us for each in found if each.oldest_us is not None), default=now_us)
        telemetry.RELAY_AGE.set((now_us - oldest_us) / 1_000_000)
