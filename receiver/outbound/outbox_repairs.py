"""What people decide about the outbox, a bounded number of commands at a time, safe beside live traffic."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, TypeVarTuple

from sqlalchemy import Engine

from receiver.store import backfill, outbox, relay_pump, reports, set_aside, writes
from receiver.store.set_aside import WhichAside
from receiver.store.sets import Ledger, Transaction

Report = Callable[[int], None]
"""Takes how many more were looked at."""


def _silent(_: int) -> None:
    """Nobody watches."""


def retry(
    engine: Engine,
    ledger: Ledger,
    project_id: int,
    wanted: WhichAside,
    *,
    dry_run: bool = False,
    stop: threading.Event | None = None,
    report: Report = _silent,
) -> int:
    """Let all that match wait once more, and try them at once; how many.  Broken off, call it again."""

    def put_back(transaction: Transaction, ids: Sequence[int], now_us: int) -> int:
        done = set_aside.put_back(transaction, ids, now_us)
        if done:
            relay_pump.open_now(transaction)
        return done

    if dry_run:
        return _number(engine, project_id, wanted)
    return _decide(engine, ledger, project_id, wanted, put_back, stop, report)


def discard(
    engine: Engine,
    ledger: Ledger,
    project_id: int,
    wanted: WhichAside,
    *,
    dry_run: bool = False,
    stop: threading.Event | None = None,
    report: Report = _silent,
) -> int:
    """Let go of all that match, for good; how many.  Broken off, call it again."""
    if dry_run:
        return _number(engine, project_id, wanted)
    return _decide(engine, ledger, project_id, wanted, set_aside.discard, stop, report)


def _number(engine: Engine, project_id: int, wanted: WhichAside) -> int:
    with reports.reading(engine) as connection:
        return set_aside.how_many(connection, project_id, wanted)


def _decide(
    engine: Engine,
    ledger: Ledger,
    project_id: int,
    wanted: WhichAside,
    decide: Callable[[Transaction, Sequence[int], int], int],
    stop: threading.Event | None,
    report: Report,
) -> int:
    done = 0
    for ids in _pages(engine, project_id, wanted, stop):
        done += _in_turn(ledger, stop, decide, ids, _now_us())
        report(len(ids))
    return done


def _pages(
    engine: Engine, project_id: int, wanted: WhichAside, stop: threading.Event | None
) -> Iterator[list[int]]:
    """The numbers of all that match now; what is set aside again meanwhile is not among them."""
    after = None
    while stop is None or not stop.is_set():
        with reports.reading(engine) as connection:
            ids = set_aside.aside_ids(connection, project_id, wanted, after=after, limit=outbox.MOST_TOGETHER)
        if not ids:
            return
        yield ids
        after = ids[-1]


def discard_waiting(ledger: Ledger, *, stop: threading.Event | None = None, report: Report = _silent) -> int:
    """Let go of all that waits, in every project; how many.  What is under way may have been sent."""
    done = 0
    while stop is None or not stop.is_set():
        number = _in_turn(ledger, stop, set_aside.discard_waiting, _now_us())
        if not number:
            break
        done += number
        report(number)
    return done


# -- what was never given -------------------------------------------------------------------------


def missing(engine: Engine, since_us: int, sources: Sequence[str]) -> list[backfill.Missing]:
    """What `fill_in` would give."""
    with reports.reading(engine) as connection:
        first_id = backfill.first_event(connection, since_us)
        return [] if first_id is None else backfill.missing(connection, first_id, sources)


def fill_in(
    engine: Engine,
    ledger: Ledger,
    since_us: int,
    sources: Sequence[str],
    *,
    stop: threading.Event | None = None,
    report: Report = _silent,
) -> int:
    """Give the outbox the events of *sources* received since then that it never was given; how many.

    Broken off, or done by two at once, each is given once.  Switch the relay on before, or what is
    accepted meanwhile is given by nobody.
    """
    with reports.reading(engine) as connection:
        next_id = backfill.first_event(connection, since_us)
    done = 0
    while next_id is not None and (stop is None or not stop.is_set()):
        filled = _in_turn(ledger, stop, backfill.fill, next_id, sources, _now_us())
        if filled is None:
            break
        next_id = filled.next_id
        done += filled.given
        report(filled.given)
    return done


Done = TypeVar("Done")
Arguments = TypeVarTuple("Arguments")


def _in_turn(
    ledger: Ledger,
    stop: threading.Event | None,
    write: Callable[[Transaction, *Arguments], Done],
    *arguments: *Arguments,
) -> Done:
    """What *write* does under the one lock, which others get for as long before the next time."""
    with ledger.transaction() as transaction:
        writes.take_turn(transaction, 0)()
        began = time.monotonic()
        done = write(transaction, *arguments)
    # SQLite lets those who wait ask again and again: who is always back at once would keep them out.
    (stop or threading.Event()).wait(min(1.0, time.monotonic() - began))
    return done


def _now_us() -> int:
    return time.time_ns() // 1000
