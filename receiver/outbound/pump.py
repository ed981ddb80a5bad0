"""The background task of the service: sends what came through the gateway, right after it is on disk.

Every process has one; how many requests are under way at once is bound in the database.
"""

import asyncio
import logging
import threading
import time

from sqlalchemy import Engine

from receiver import telemetry
from receiver.inbound.deliveries import Policy
from receiver.outbound.access import Limits
from receiver.outbound.asking import Asked, Asker, Closed, Idle, Step, Stopped
from receiver.outbound.jobs import optilyz_of
from receiver.outbound.letters import LetterRules
from receiver.outbound.notices import Notices
from receiver.outbound.optilyz import Optilyz
from receiver.outbound.tireless import again_and_again
from receiver.settings import Settings
from receiver.store import asking, reports
from receiver.store.sets import Ledger

# Letters of another process, and those that a person made sendable again, are found by looking.
_IDLE_SECONDS = 1.0


class Pump:
    """Threads that ask Optilyz, as many as requests may be under way; none without a key."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._stop = threading.Event()
        self._woken = threading.Condition()
        self._letters_came = 0
        self._away = False
        self._threads: list[threading.Thread] = []
        if settings.optilyz_api_key:
            optilyz = optilyz_of(settings)
            for number in range(settings.optilyz_concurrency):
                name = f"pump-{number}"
                self._threads.append(
                    threading.Thread(target=self._run, args=(optilyz,), name=name, daemon=True)
                )
        self._notices = Notices(engine, settings)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        self._notices.start()

    def wake(self) -> None:
        """There are new letters."""
        with self._woken:
            self._letters_came += 1
            self._woken.notify_all()

    async def stop(self) -> None:
        """End after the requests that are under way, but do not wait for them for ever."""
        self._stop.set()
        self.wake()
        for thread in [*self._threads, *self._notices.stop()]:
            if thread.is_alive():
                await asyncio.to_thread(thread.join, self._settings.optilyz_seconds)

    def _run(self, optilyz: Optilyz) -> None:
        ledger = Ledger(self._engine)
        asker = Asker(
            ledger,
            optilyz,
            Policy.of(self._settings),
            LetterRules.of(self._settings),
            Limits.of(self._settings),
        )
        seen = 0

        def step() -> float:
            nonlocal seen
            seen = self._letters_came
            with reports.reading(self._engine) as connection:
                due = asking.is_anything_due(connection, time.time_ns() // 1000)
            return self._pause_after(asker.step()) if due else _IDLE_SECONDS

        again_and_again(step, self._stop, lambda pause: self._wait(pause, seen), failed="sending_failed")
        ledger.close()

    def _pause_after(self, step: Step) -> float:
        """Seconds until the next look, 0 for none."""
        if isinstance(step, Closed | Stopped):
            if not self._away:
                event = "optilyz_away" if isinstance(step, Closed) else "optilyz_denied"
                telemetry.log(event, level=logging.ERROR)
            self._away = True
        elif isinstance(step, Asked) and self._away:
            self._away = False
            telemetry.log("optilyz_back")
        if isinstance(step, Asked | Stopped):
            return 0.0
        if isinstance(step, Idle):
            return _IDLE_SECONDS
        return min(_IDLE_SECONDS, max(0.01, (step.until_us - time.time_ns() // 1000) / 1_000_000))

    def _wait(self, seconds: float, seen: int) -> None:
        with self._woken:
            self._woken.wait_for(lambda: self._letters_came != seen or self._stop.is_set(), seconds)
