"""A file of people becomes letters: prepared on disk first, then sent; the same job goes on after a break.

from receiver.outbound.sender import Job, Sender

with Sender.from_environment() as sender:
    summary = sender.send(Job("PROJECT_TOKEN", "people.csv", "AUTOMATION_ID", campaign="winback"))
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import Self

from sqlalchemy import Engine

from receiver.inbound.deliveries import Policy
from receiver.outbound.access import Limits
from receiver.outbound.asking import Asked, Asker, Closed, Hear, Step, Stopped, ask_until_done
from receiver.outbound.intending import intend
from receiver.outbound.jobs import PRESET, Job, NotSent, Progress, Rehearsal, Report, Summary, optilyz_of
from receiver.outbound.letters import Draft, LetterRules, Order
from receiver.outbound.opening import Opened, chunks, open_job
from receiver.outbound.optilyz import Optilyz
from receiver.outbound.rehearsing import rehearse
from receiver.settings import Settings, read_settings
from receiver.store import engine as database
from receiver.store import letters, mailings, reports, writes
from receiver.store.mailings import State
from receiver.store.sets import Ledger

__all__ = ["PRESET", "Job", "NotSent", "Progress", "Rehearsal", "Sender", "Summary"]

# So often in a row may Optilyz be out of reach before a run gives up; with the pauses about a minute.
_MOST_UNREACHED = 6


class Sender:
    """Sends files of people through Optilyz.  Not to be shared between threads; anybody may set *stop*,
    and the request that is under way is the last one then."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._ledger = Ledger(engine)
        self._policy = Policy.of(settings)
        self._rules = LetterRules.of(settings)
        self.stop = threading.Event()

    @classmethod
    def from_environment(cls) -> Self:
        """For the settings of this process.  Raises WrongSettings."""
        settings = read_settings()
        return cls(settings, database.connect(settings.database_url, wait_seconds=settings.database_seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.close()
        self._engine.dispose()

    def send(self, job: Job, report: Report = lambda _: None) -> Summary:
        """Prepare and send; where the same job was broken off it goes on.

        Raises WrongFile, WrongTemplate, NotSent, and what the database raises: then all that was done so
        far is on disk.
        """
        optilyz = optilyz_of(self._settings)
        opened = open_job(self._engine, self._rules, job)
        run_id, before = self._begin(opened)
        self._prepare(run_id, before, opened, job.limit, report)
        stopped = None if self.stop.is_set() else self._ask(optilyz, run_id, opened, job.limit, report)
        summary = self._summary(run_id)._replace(stopped=stopped, before=before)
        if self.stop.is_set() and not stopped and summary.count(State.INTENDED, State.ASKED):
            return summary._replace(stopped="It was told to stop.")
        return summary

    def rehearse(self, job: Job, report: Report = lambda _: None) -> Rehearsal:
        """Say what `send` would do with the whole job; nothing is written and nobody is asked."""
        return rehearse(self._engine, self._settings, job, report)

    # -- preparing --------------------------------------------------------------------------------

    def _prepare(self, run_id: int, done: int, opened: Opened, limit: int | None, report: Report) -> None:
        """Put the letters of all rows on disk that are not there yet."""
        people = opened.people
        some = chunks(people.rows(done), None if limit is None else max(0, limit - done))
        drafted: Iterator[list[Draft]] = map(opened.drafts, some)
        if self._engine.dialect.name == "postgresql":
            # SQLite has no server that works meanwhile.
            drafted = _ahead(drafted)
        for drafts in drafted:
            # Somebody else may be at the same run; then we share it.
            while rest := [letter for letter in drafts if letter.place > done]:
                if self.stop.is_set():
                    return
                done = self._intend(run_id, done, rest, opened.order)
            report(Progress("prepared", people.position, people.size))

    def _begin(self, opened: Opened) -> tuple[int, int]:
        """The run and how many of its rows are prepared."""
        order, key = opened.order, opened.key
        with self._ledger.transaction() as transaction:
            number = writes.take_turn(transaction, 1)().last_id
            found = mailings.find_run(transaction, order.project_id, key)
            if found is None:
                row = (number, order.project_id, key, order.automation, order.campaign, 0, _now_us())
                mailings.add_run(transaction, row)
                found = number, 0
        return found

    def _intend(self, run_id: int, done: int, drafts: Sequence[Draft], order: Order) -> int:
        """Prepare *drafts*, unless somebody else has prepared rows meanwhile; how many are done now."""
        with self._ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            rows = mailings.rows_of(transaction, run_id)
            if rows == done:
                rows += len(drafts)
                mailings.prepared(transaction, run_id, rows)
                intend(
                    transaction,
                    order,
                    drafts,
                    self._policy,
                    self._rules,
                    run_id=run_id,
                    now_us=_now_us(),
                )
        return rows

    # -- sending ----------------------------------------------------------------------------------

    def _ask(
        self, optilyz: Optilyz, run_id: int, opened: Opened, up_to: int | None, report: Report
    ) -> str | None:
        """Ask for all letters of the run that are due; why some still are, if so."""
        unreached = 0
        why: list[str] = []
        over = threading.Event()
        summary = self._summary(run_id)
        total = summary.rows - summary.count(State.SUPPRESSED)
        done = total - summary.count(State.INTENDED, State.ASKED)
        report(Progress("sent", done, total))

        def hear(step: Step) -> bool:
            nonlocal unreached, done
            if isinstance(step, Stopped | Closed):
                unreached += 1
                if isinstance(step, Stopped) or unreached >= _MOST_UNREACHED:
                    why.append(step.detail)
                    over.set()
            elif isinstance(step, Asked):
                unreached = 0
                done = min(total, done + step.letters)
                report(Progress("sent", done, total))
            return not (over.is_set() or self.stop.is_set())

        threads = self._settings.optilyz_concurrency
        with ThreadPoolExecutor(threads) as pool:
            works = [pool.submit(self._work, optilyz, run_id, opened, up_to, hear) for _ in range(threads)]
            try:
                for work in as_completed(works):
                    work.result()
            finally:
                over.set()
        return why[0] if why else None

    def _work(self, optilyz: Optilyz, run_id: int, opened: Opened, up_to: int | None, hear: Hear) -> None:
        ledger = Ledger(self._engine)
        asker = Asker(
            ledger,
            optilyz,
            self._policy,
            self._rules,
            Limits.of(self._settings),
            run_id=run_id,
            up_to=up_to,
            compose=opened.compose,
        )
        try:
            ask_until_done(asker, self.stop, hear)
        finally:
            ledger.close()

    def _summary(self, run_id: int) -> Summary:
        with reports.reading(self._engine) as connection:
            return Summary(run_id, *letters.fates_of_run(connection, run_id))


def _ahead(items: Iterator[list[Draft]]) -> Iterator[list[Draft]]:
    """The same, each made in a thread while the one before is at work."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, items, None)
            yield item


def _now_us() -> int:
    return time.time_ns() // 1000
