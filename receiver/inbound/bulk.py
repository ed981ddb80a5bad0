"""All rejections that match are treated alike, a bounded number at a time, safe beside live traffic."""

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate

from sqlalchemy import Engine

from receiver.domain.commands import Reason
from receiver.inbound.deliveries import Became, Policy
from receiver.inbound.rejections import MOST_AT_ONCE, Action, How, Replayed, State, Who, decide
from receiver.inbound.replaying import replay
from receiver.store import refused, reports
from receiver.store.refused import RejectionFilter
from receiver.store.sets import Ledger

# Of one transaction: some hundreds of commands.
_MOST_BYTES = 128 * 1024

SAMPLES = 12

WAS = {Action.DISMISS: State.OPEN, Action.REOPEN: State.DISMISSED}
"""The state of those that something can be decided about."""


@dataclass
class Totals:
    """What became of all that matched: one count per rejection, and a few of them whole.

    Attributes:
        reasons: why what is still rejected is; "" where a repair could not be applied.
        samples: up to SAMPLES, of each outcome at most a third.
        next: behind which rejection to go on, where only so many were wanted.
    """

    matched: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[Replayed] = field(default_factory=list)
    next: int | None = None

    def add(self, done: Replayed) -> None:
        self.matched += 1
        outcome = done.outcome
        setattr(self, outcome.value, getattr(self, outcome.value) + 1)
        for result in done.results:
            if result.outcome is Became.REJECTED:
                self.reasons[Reason(result.reason).value if result.reason else ""] += 1
        if done.refused is not None:
            self.reasons[""] += 1
        of_its_kind = sum(1 for each in self.samples if each.outcome is outcome)
        if of_its_kind < SAMPLES // len(Became):
            self.samples.append(done)


Report = Callable[[int], None]


def replay_matching(
    engine: Engine,
    ledger: Ledger,
    policy: Policy,
    project_id: int,
    wanted: RejectionFilter,
    how: How,
    who: Who,
    *,
    dry_run: bool,
    after: int | None = None,
    limit: int | None = None,
    stop: threading.Event | None = None,
    report: Report = lambda _: None,
) -> Totals:
    """Replay every open rejection that matches, or the newest *limit* of those behind *after*; nothing
    stays of a *dry_run*.

    Broken off, it can be called again: what is replayed is open no more.  A dry run looks at each
    hundred by themselves: of two that are mended to the same event in different hundreds it counts
    both as accepted.
    """
    totals = Totals()
    left = limit
    for page in _pages(engine, project_id, replace(wanted, state="open"), stop, after):
        ids = page[:left]
        for done in replay(ledger, policy, project_id, ids, how, who, rehearsal=dry_run):
            totals.add(done)
        report(len(ids))
        if left is not None:
            left -= len(ids)
            if not left:
                totals.next = ids[-1]
                break
    return totals


def decide_matching(
    engine: Engine,
    ledger: Ledger,
    project_id: int,
    wanted: RejectionFilter,
    action: Action,
    note: str | None,
    who: Who,
    *,
    stop: threading.Event | None = None,
    report: Report = lambda _: None,
) -> int:
    """Dismiss, or reopen, all that match; how many could be."""
    done = 0
    for ids in _pages(engine, project_id, replace(wanted, state=WAS[action].value), stop):
        done += len(decide(ledger, project_id, ids, action, note, who))
        report(len(ids))
    return done


def _pages(
    engine: Engine,
    project_id: int,
    wanted: RejectionFilter,
    stop: threading.Event | None,
    after: int | None = None,
) -> Iterator[list[int]]:
    """The IDs of all that match now, the newest first; what comes in meanwhile is not among them.

    Each list is for one transaction: few bytes too, as a body can hold thousands of commands.
    """
    while stop is None or not stop.is_set():
        with reports.reading(engine) as connection:
            found = refused.matching_ids(connection, project_id, wanted, after=after, limit=MOST_AT_ONCE)
        if not found:
            return
        sizes = accumulate(size for _, size in found)
        number = max(1, bisect_right(list(sizes), _MOST_BYTES))
        yield [each for each, _ in found[:number]]
        after = found[number - 1][0]
