"""A file of people becomes letters: prepared on disk first, then sent; the same job goes on after a break.

from receiver.outbound.sender import Job, Sender

with Sender.from_environment() as sender:
    summary = sender.send(Job("PROJECT_TOKEN", "people.csv", "AUTOMATION_ID", campaign="winback"))
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from sqlalchemy import Engine

from receiver.domain.fields import MAX_TEXT, is_storable
from receiver.domain.json_text import encode_canonically
from receiver.inbound.deliveries import Policy
from receiver.outbound.access import Limits
from receiver.outbound.asking import Asked, Asker, Closed, Hear, Step, Stopped, ask_until_done
from receiver.outbound.drafting import context_of, draft
from receiver.outbound.intending import intend
from receiver.outbound.jobs import PRESET, Job, NotSent, Progress, Rehearsal, Report, Summary, optilyz_of
from receiver.outbound.letters import Draft, LetterRules, Order, mailing_id
from receiver.outbound.optilyz import Denied, Optilyz
from receiver.outbound.people import PeopleFile, Person, Unreadable
from receiver.outbound.templates import Template, TemplateFault
from receiver.settings import Settings, read_settings
from receiver.store import engine as database
from receiver.store import letters, mailings, reports, writes
from receiver.store.mailings import Reason, Route, State
from receiver.store.sets import Ledger

__all__ = ["PRESET", "Job", "NotSent", "Progress", "Rehearsal", "Sender", "Summary"]

# Enough to share a commit well, few enough that callbacks wait only for a moment.
_ROWS_A_TIME = 200

# So often in a row may Optilyz be out of reach before a run gives up; with the pauses about a minute.
_MOST_UNREACHED = 6


class _Opened(NamedTuple):
    people: PeopleFile
    template: Template
    order: Order

    def compose(self, recipients: Sequence[str]) -> str | Denied:
        body = self.template.request(recipients, context_of(self.order))
        return Denied(0, body.detail) if isinstance(body, TemplateFault) else body

    @property
    def key(self) -> bytes:
        """The same file and the same order are the same run."""
        order = self.order
        what = (order.automation, order.campaign, order.route.value, order.variation, order.once)
        return sha256(self.people.digest + self.template.digest + encode_canonically(what)).digest()


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
        opened = self._open(job)
        run_id, before = self._begin(opened)
        self._prepare(run_id, before, opened, job.limit, report)
        stopped = None if self.stop.is_set() else self._ask(optilyz, run_id, opened, job.limit, report)
        summary = self._summary(run_id)._replace(stopped=stopped, before=before)
        if self.stop.is_set() and not stopped and summary.count(State.INTENDED, State.ASKED):
            return summary._replace(stopped="It was told to stop.")
        return summary

    def rehearse(self, job: Job, report: Report = lambda _: None) -> Rehearsal:
        """Say what `send` would do with the whole job; nothing is written and nobody is asked."""
        opened = self._open(job)
        fates: Counter[tuple[str, str | None]] = Counter()
        together = 1 if job.route is Route.ONE else self._settings.optilyz_batch_size
        first: list[str] = []
        # Of each chunk nothing stays in the database, so that the next one could find it.
        seen: set[int] = set()
        # Soft IDs of people without a hard one: who brings both is one of them.
        alone: set[int] = set()
        rows = 0
        for chunk in _chunks(opened.people.rows(), job.limit):
            drafts = self._drafts(chunk, opened)
            with self._ledger.transaction(rehearsal=True) as transaction:
                decided = intend(
                    transaction, opened.order, drafts, self._policy, self._rules, run_id=0, now_us=_now_us()
                )
            for letter, (_, state, reason) in zip(drafts, decided, strict=True):
                ids = {hash(each) for each in letter.ids}
                hard = {hash(each) for each in letter.ids if each.kind in self._rules.rules.hard_ids}
                mailed = not (seen.isdisjoint(hard or ids) and alone.isdisjoint(ids))
                if state is State.INTENDED and job.once and mailed:
                    state, reason = State.SUPPRESSED, Reason.ALREADY_MAILED
                fates[state, reason] += 1
                if state is State.INTENDED:
                    seen |= ids
                    alone |= set() if hard else ids
                    first += [letter.body.decode()] if len(first) < together else []
            rows += len(drafts)
            report(Progress("prepared", opened.people.position, opened.people.size))
        return Rehearsal(rows, fates, self._request(opened, first) if first else None)

    def _open(self, job: Job) -> _Opened:
        people = PeopleFile(Path(job.file), self._rules.kinds)
        template = Template.load(job.template, self._rules.kinds)
        with reports.reading(self._engine) as connection:
            project_id = reports.find_project(connection, job.project_token)
        if project_id is None:
            raise NotSent("There is no such project; see `receiver project list`.")
        campaign = (job.campaign or "").strip() or None
        if campaign and not (len(campaign) <= MAX_TEXT and is_storable(campaign)):
            raise NotSent(f"The campaign reference cannot be used; send at most {MAX_TEXT} valid characters.")
        order = Order(
            project_id, job.project_token, job.automation, campaign, job.route, job.variation, job.once
        )
        opened = _Opened(people, template, order)
        if isinstance(denied := opened.compose(['{"address":{}}']), Denied):
            raise NotSent(denied.detail)
        return opened

    # -- preparing --------------------------------------------------------------------------------

    def _prepare(self, run_id: int, done: int, opened: _Opened, limit: int | None, report: Report) -> None:
        """Put the letters of all rows on disk that are not there yet."""
        people = opened.people
        chunks = _chunks(people.rows(done), None if limit is None else max(0, limit - done))
        drafted: Iterator[list[Draft]] = (self._drafts(chunk, opened) for chunk in chunks)
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

    def _begin(self, opened: _Opened) -> tuple[int, int]:
        """The run and how many of its rows are prepared."""
        order, key = opened.order, opened.key
        with self._ledger.transaction() as transaction:
            number = writes.take_turn(transaction, 1)()[0][0]
            found = mailings.find_run(transaction, order.project_id, key)
            if found is None:
                row = (number, order.project_id, key, order.automation, order.campaign, 0, _now_us())
                mailings.add_run(transaction, row)
                found = number, 0
        return found

    def _drafts(self, people: Sequence[Person | Unreadable], opened: _Opened) -> list[Draft]:
        now_us = _now_us()
        template, order, context = opened.template, opened.order, context_of(opened.order)
        return [
            draft(person, template, order, context, self._rules, mailing_id(now_us, number))
            for number, person in enumerate(people)
        ]

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
        self, optilyz: Optilyz, run_id: int, opened: _Opened, up_to: int | None, report: Report
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

    def _work(self, optilyz: Optilyz, run_id: int, opened: _Opened, up_to: int | None, hear: Hear) -> None:
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

    def _request(self, opened: _Opened, recipients: Sequence[str]) -> tuple[str, str]:
        """Where the first request would go, and what it would say."""
        order = opened.order
        url = f"{self._settings.optilyz_base_url}/v2/automations/{order.automation}/{order.route}"
        body = recipients[0] if order.route is Route.ONE else opened.compose(recipients)
        return url, body.detail if isinstance(body, Denied) else body

    def _summary(self, run_id: int) -> Summary:
        with reports.reading(self._engine) as connection:
            return Summary(run_id, *letters.fates_of_run(connection, run_id))


def _chunks(
    people: Iterator[Person | Unreadable], limit: int | None
) -> Iterator[Sequence[Person | Unreadable]]:
    people = islice(people, limit)
    while chunk := list(islice(people, _ROWS_A_TIME)):
        yield chunk


def _ahead(items: Iterator[list[Draft]]) -> Iterator[list[Draft]]:
    """The same, each made in a thread while the one before is at work."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, items, None)
            yield item


def _now_us() -> int:
    return time.time_ns() // 1000
