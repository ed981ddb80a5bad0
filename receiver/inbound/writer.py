"""Many requests, one commit: the thread that reads and stores what all waiting requests brought.

While one group is on its way to the disk the next one gathers, so the cost of a durable commit is
shared by as many requests as there are: latency of one, throughput of many.  Who is answered mostly
comes again at once, so a group waits a moment for those who were there last: together they cost less
than in two groups by turns.  An answer leaves only after the commit of its group.
"""

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from receiver import telemetry
from receiver.domain.commands import CustomerUpdate, Event, Outcome
from receiver.inbound import ingest
from receiver.inbound.deadlines import Deadlines
from receiver.inbound.deliveries import Delivery, Part, Policy, Verdict
from receiver.store.engine import fault
from receiver.store.sets import Ledger

Result = TypeVar("Result")

# So many are read of a delivery at a time, and a group that holds them is full: enough to share a commit
# well, few enough that nobody waits long for the others.
_MOST_COMMANDS = 1000

# So long may nobody come before a group goes on without those that are expected.
_GAP_SECONDS = 0.0002

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


Describe = Callable[[Outcome, Verdict | None], Result]
"""What a sender hears of one command, made of what it said and of what became of it (None: a question
for the time)."""


class _Waiting:
    """A delivery that somebody waits for.

    Attributes:
        read: how many commands were read.
        unread: those that were not, None as long as it was not begun.
    """

    __slots__ = ("answer", "delivery", "describe", "read", "results", "unread")

    def __init__(
        self, delivery: Delivery, describe: Describe[Any], answer: asyncio.Future[list[Any]]
    ) -> None:
        self.delivery = delivery
        self.describe = describe
        self.answer = answer
        self.results: list[Any] = []
        self.read = 0
        self.unread: Iterator[Outcome] | None = None


class Writer:
    """Takes deliveries from the event loop, and reads and stores them in a thread of its own.

    A request waits at most *answer_seconds* until it, or the next part of it, is stored.  At most
    *queue_bytes* of bodies wait; more are turned away, because a sender who comes again later is
    better than one that times out.
    """

    def __init__(self, ledger: Ledger, policy: Policy, *, queue_bytes: int, answer_seconds: float) -> None:
        self._ledger = ledger
        self._policy = policy
        self._answer_seconds = answer_seconds
        self._busy_since: float | None = None
        self._failed_at = float("-inf")
        self._idle_seconds = 0.0
        self._idle_since: float | None = None
        self._free_bytes = queue_bytes
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()  # None is the end
        self._begun: deque[_Waiting] = deque()  # the thread's own: long ones that are stored in part
        self._senders = 0  # the thread's own too: who waited for the last group, or behind it
        self._stopping = False
        self._loop = asyncio.get_running_loop()
        self._deadlines: Deadlines[asyncio.Future[list[Any]]] = Deadlines(answer_seconds, _give_up)
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many requests were taken and not begun."""
        return self._queue.qsize()

    def idle_seconds(self) -> float:
        """How long in all it has had nothing to do."""
        since = self._idle_since
        return self._idle_seconds + (0.0 if since is None else time.monotonic() - since)

    @property
    def alive(self) -> bool:
        """Whether deliveries can be handed over, and the database has been storing them of late."""
        now = time.monotonic()
        since = self._busy_since
        stuck = since is not None and now - since > self._answer_seconds
        failed = now - self._failed_at < _FAILED_SECONDS
        return self._thread.is_alive() and not self._stopping and not stuck and not failed

    async def keep(self, delivery: Delivery, describe: Describe[Result]) -> list[Result]:
        """What is to be said of each command of *delivery*; when this returns, all are on disk.

        Raises NotStored.
        """
        size = len(delivery.body)
        if self._stopping:
            raise NotStored("stopping")
        if size > self._free_bytes:
            raise NotStored("busy")
        self._free_bytes -= size
        # Given back when the thread is done with it, whether or not somebody still waits.
        answer: asyncio.Future[list[Result]] = self._loop.create_future()
        self._deadlines.begin(answer)
        self._queue.put(_Waiting(delivery, describe, answer))
        return await answer

    async def stop(self) -> None:
        """Store what was taken, take nothing more, and close the connection.

        Not for ever: the thread may be waiting for a database that has stopped to answer.
        """
        self._stopping = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, self._answer_seconds)
        if not self._thread.is_alive():
            self._ledger.close()

    # -- what the thread does ---------------------------------------------------------------------

    def _work(self) -> None:
        more_to_come = True
        while more_to_come or self._begun:
            group: dict[_Waiting, Part] = {}
            more_to_come = self._gather(group, more_to_come)
            if group:
                self._busy_since = time.monotonic()
                self._store(group)
                self._busy_since = None

    def _gather(self, group: dict[_Waiting, Part], more_to_come: bool) -> bool:
        """Wait for one, then take all that come with it, up to the size of a group; False at the end.

        Of a long delivery each group takes one part, and others have their turn beside it.
        """
        if self._begun:
            self._take(self._begun.popleft(), group)
        commands = 0
        while more_to_come and commands < _MOST_COMMANDS:
            if (group or self._begun) and not self._is_followed(len(group)):
                break
            waiting = self._wait()
            if waiting is None:
                return False
            commands += self._take(waiting, group)
        return more_to_come

    def _is_followed(self, gathered: int) -> bool:
        """Whether another one waits, or comes at once after so many where as many are expected."""
        if self._queue.empty() and gathered < self._senders:
            time.sleep(_GAP_SECONDS)
        return not self._queue.empty()

    def _wait(self) -> _Waiting | None:
        """The next one, however long that takes."""
        since = self._idle_since = time.monotonic()
        try:
            return self._queue.get()
        finally:
            self._idle_since = None
            self._idle_seconds += time.monotonic() - since

    def _take(self, waiting: _Waiting, group: dict[_Waiting, Part]) -> int:
        """Read the next part of *waiting* into *group*; how many commands that are."""
        try:
            if waiting.unread is None:
                waiting.unread = iter(ingest.read(waiting.delivery, self._policy))
            outcomes = list(islice(waiting.unread, _MOST_COMMANDS))
        except Exception as error:
            # Reading never raises; should it do so after all, it shall cost one delivery and not the thread.
            telemetry.group_failed(error, 1, expected=False)
            self._loop.call_soon_threadsafe(self._fail, [waiting])
            return 0
        group[waiting] = Part(waiting.delivery, waiting.read, outcomes)
        waiting.read += len(outcomes)
        return len(outcomes)

    def _store(self, group: dict[_Waiting, Part]) -> None:
        started = time.perf_counter()
        try:
            verdicts = ingest.keep(self._ledger, list(group.values()), self._policy)
        except Exception as error:
            self._failed_at = time.monotonic()
            telemetry.group_failed(error, len(group), expected=fault(error) is not None)
            self._loop.call_soon_threadsafe(self._fail, list(group))
            return
        self._failed_at = float("-inf")
        self._senders = len(group) + self._queue.qsize()
        telemetry.group_stored(_counted(verdicts), time.perf_counter() - started, self._queue.qsize())
        if self._policy.rules.empty_ids == "drop":
            telemetry.DROPPED_IDS.inc(_dropped_ids(group.values()))
        self._begun += [waiting for waiting, part in group.items() if not _is_last(part)]
        self._loop.call_soon_threadsafe(self._settle, group, verdicts)

    # -- what the event loop does for it, in one turn for a group ---------------------------------

    def _settle(self, group: dict[_Waiting, Part], verdicts: Sequence[Sequence[Verdict | None]]) -> None:
        for (waiting, part), of_part in zip(group.items(), verdicts, strict=True):
            # Done already where the sender has hung up, or was told to come again.
            if not waiting.answer.done():
                waiting.results += map(waiting.describe, part.outcomes, of_part)
            if _is_last(part):
                self._free_bytes += len(waiting.delivery.body)
                self._deadlines.end(waiting.answer)
                if not waiting.answer.done():
                    waiting.answer.set_result(waiting.results)
            elif not waiting.answer.done():
                self._deadlines.begin(waiting.answer)

    def _fail(self, group: Iterable[_Waiting]) -> None:
        for waiting in group:
            self._free_bytes += len(waiting.delivery.body)
            self._deadlines.end(waiting.answer)
            _give_up(waiting.answer)


def _give_up(answer: asyncio.Future[list[Any]]) -> None:
    # It may yet be stored; the sender's repeat is then a duplicate.
    if not answer.done():
        answer.set_exception(NotStored("database"))


def _is_last(part: Part) -> bool:
    return len(part.outcomes) < _MOST_COMMANDS


def _counted(verdicts: Iterable[Iterable[Verdict | None]]) -> Counter[tuple[str, str]]:
    """How often each outcome came, with the reason where it was refused."""
    return Counter(
        (verdict.became.value, verdict.rejection.reason.value if verdict.rejection else "")
        for of_part in verdicts
        for verdict in of_part
        if verdict is not None
    )


def _dropped_ids(group: Iterable[Part]) -> int:
    """Empty IDs that were left out."""
    return sum(
        outcome.dropped_ids
        for part in group
        for outcome in part.outcomes
        if isinstance(outcome, (Event, CustomerUpdate))
    )
