"""Time limits for very many short waits at once."""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

What = TypeVar("What", bound=Hashable)

# How much too late something may be found out.
_LOOK_SECONDS = 0.25


class Deadlines(Generic[What]):
    """Calls *late* with each thing that was begun and not ended within *seconds*.

    Like ``asyncio.timeout``, which costs a timer for each wait; here one timer looks after all, a
    little late.
    """

    def __init__(self, seconds: float, late: Callable[[What], object]) -> None:
        self._seconds = seconds
        self._late = late
        self._begun: dict[What, float] = {}  # the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, what: What) -> None:
        """From now on, or from now on anew."""
        self._begun.pop(what, None)
        self._begun[what] = time.monotonic()
        if self._timer is None:
            self._arm()

    def end(self, what: What) -> None:
        self._begun.pop(what, None)

    def _look(self) -> None:
        last = time.monotonic() - self._seconds
        overdue = []
        for what, since in self._begun.items():
            if since > last:
                break
            overdue.append(what)
        for what in overdue:
            self.end(what)
        self._timer = None
        if self._begun:
            self._arm()
        for what in overdue:
            self._late(what)

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
