"""Many requests, one commit: the thread that stores what all waiting requests brought.

While one group is on its way to the disk the next one gathers, so the cost of a durable commit is
shared by as many requests as there are: latency of one, throughput of many.  An answer leaves only
after the commit of its group.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

from receiver import telemetry
from receiver.inbound import ingest
from receiver.inbound.group import Delivery, Policy, Verdict
from receiver.store.engine import fault
from receiver.store.sets import Ledger

# Commands of one group: enough to share a commit well, few enough that nobody waits long for the others.
_MOST_COMMANDS = 1000

# So long does a group that could not be stored count against us, when no other one follows.
_FAILED_SECONDS = 5.0


class NotStored(Exception):
    """Nothing of the delivery was stored, or nobody knows: the sender should come again.

    Attributes:
        cause: a short word for the metric: ``busy``, ``database`` or ``stopping``.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class _Waiting(NamedTuple):
    delivery: Delivery
    answer: asyncio.Future[Sequence[Verdict | None]]


class Writer:
    """Takes deliveries from the event loop and stores them in a thread of its own.

    A request waits at most *answer_seconds*.  At most *queue_bytes* of bodies wait; more are turned
    away, because a sender who comes again later is better than one that times out.
    """

    def __init__(self, ledger: Ledger, policy: Policy, *, queue_bytes: int, answer_seconds: float) -> None:
        self._ledger = ledger
        self._policy = policy
        self._answer_seconds = answer_seconds
        self._busy_since: float | None = None
        self._failed_at = float("-inf")
        self._free_bytes = queue_bytes
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()  # None is the end
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether deliveries can be handed over, and the database has been storing them of late."""
        now = time.monotonic()
        since = self._busy_since
        stuck = since is not None and now - since > self._answer_seconds
        failed = now - self._failed_at < _FAILED_SECONDS
        return self._thread.is_alive() and not self._stopping and not stuck and not failed

    async def keep(self, delivery: Delivery) -> Sequence[Verdict | None]:
        """What became of each outcome of *delivery*; when this returns, it is on disk.

        Raises NotStored.
        """
        size = len(delivery.body)
        if self._stopping:
            raise NotStored("stopping")
        if size > self._free_bytes:
            raise NotStored("busy")
        self._free_bytes -= size
        waiting = _Waiting(delivery, self._loop.create_future())
        self._queue.put(waiting)
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await waiting.answer
        except TimeoutError:
            # It may yet be stored; the sender's repeat is then a duplicate.
            raise NotStored("database") from None
        finally:
            self._free_bytes += size

    async def stop(self) -> None:
        """Store what was taken, take nothing more, and close the connection.

        Not for ever: the thread may be waiting for a database that has stopped to answer.
        """
        self._stopping = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._answer_seconds)
        if not self._thread.is_alive():
            self._ledger.close()

    def _work(self) -> None:
        going_on = True
        while going_on:
            group, going_on = self._gather()
            if group:
                self._busy_since = time.monotonic()
                self._store(group)
                self._busy_since = None

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Wait for one, then take all that wait with it, up to the size of a group; False at the end."""
        group: list[_Waiting] = []
        commands = 0
        waiting = self._queue.get()
        try:
            while waiting is not None:
                group.append(waiting)
                commands += len(waiting.delivery.outcomes)
                if commands >= _MOST_COMMANDS:
                    return group, True
                waiting = self._queue.get_nowait()
        except Empty:
            return group, True
        return group, False

    def _store(self, group: list[_Waiting]) -> None:
        started = time.perf_counter()
        deliveries = [waiting.delivery for waiting in group]
        try:
            verdicts = ingest.keep(self._ledger, deliveries, self._policy)
        except Exception as error:
            self._failed_at = time.monotonic()
            telemetry.group_failed(error, len(group), expected=fault(error) is not None)
            self._answer(group, lambda waiting, _: waiting.answer.set_exception(NotStored("database")))
            return
        self._failed_at = float("-inf")
        _report(verdicts, time.perf_counter() - started, self._queue.qsize())
        self._answer(group, lambda waiting, n: waiting.answer.set_result(verdicts[n]))

    def _answer(self, group: list[_Waiting], give: Callable[[_Waiting, int], None]) -> None:
        """Wake the requests of *group*, all in one turn of the event loop."""

        def wake() -> None:
            for n, waiting in enumerate(group):
                # Cancelled where the sender has hung up: then nobody waits for an answer.
                if not waiting.answer.done():
                    give(waiting, n)

        self._loop.call_soon_threadsafe(wake)


def _report(verdicts: Sequence[Sequence[Verdict | None]], seconds: float, waiting: int) -> None:
    outcomes = Counter(
        (verdict.became.value, verdict.rejection.reason.value if verdict.rejection else "")
        for of_delivery in verdicts
        for verdict in of_delivery
        if verdict is not None
    )
    telemetry.group_stored(outcomes, seconds, waiting)
