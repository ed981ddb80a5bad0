"""``receiver relay run``: relays in a process of its own, also what was there before the relay was on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import Engine

from receiver import telemetry
from receiver.cli.progress import shown
from receiver.cli.questions import question_of
from receiver.cli.relay_settings import relay_needs
from receiver.cli.session import failed, opened, settings_or_exit, stopping
from receiver.cli.showing import printable, write_table
from receiver.domain.moments import SECOND_US, iso
from receiver.outbound import outbox_repairs
from receiver.outbound.relay_thread import RelayThread
from receiver.settings import Settings
from receiver.store import backfill, keys, outbox, relay_pump, relay_status, reports
from receiver.store.backfill import Missing
from receiver.store.engine import Fault, fault
from receiver.store.relay_pump import Pump
from receiver.store.sets import Ledger
from receiver.web.questions import Period

_LOOK_SECONDS = 0.25
_STOPPING = "Stopping after the request that is under way; the same command goes on later."


def register(relay: typer.Typer) -> None:
    """Add the command of this module to the group."""
    relay.command("run")(run)


def run(
    drain: Annotated[
        bool, typer.Option("--drain", help="End when all that waits at the start was sent or set aside.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="ISO",
            help="Also relay the events received from this time on that never were given to the relay; then"
            " end as with --drain.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --since: only say which events those are.")
    ] = False,
) -> None:
    """Relay to Bloomreach in this process, until Ctrl-C; where another one relays, show how it goes."""
    settings = settings_or_exit()
    if dry_run and since is None:
        raise typer.BadParameter("--dry-run is for --since.")
    since_us = question_of(Period, settings, since=since).since
    if dry_run and since_us is not None:
        _rehearse(settings, since_us)
        return
    if settings.missing_for_relay:
        raise failed(relay_needs(settings))
    # Where somebody watches, the bar says it.
    telemetry.configure_logging("critical" if Console(stderr=True).is_terminal else settings.log_level)
    stop = threading.Event()
    ends = drain or since_us is not None
    # It relays whatever the service is told to do.
    thread_settings = settings.model_copy(update={"relay_in_service": True})
    with opened(settings) as engine, stopping(stop, _STOPPING):
        first = _look(engine, 0)
        with _relaying(RelayThread(engine, thread_settings)):
            if since_us is not None:
                _fill_in(engine, settings, since_us, stop)
            problem = _watch(engine, first, stop, ends=ends)
    if problem:
        raise failed(problem)
    if ends and stop.is_set():
        raise failed("Stopped; the same command goes on.")


@contextmanager
def _relaying(thread: RelayThread) -> Iterator[None]:
    thread.start()
    try:
        yield
    finally:
        thread.stop()


# -- what was never given -------------------------------------------------------------------------


def _rehearse(settings: Settings, since_us: int) -> None:
    with opened(settings) as engine:
        found = outbox_repairs.missing(engine, since_us, settings.relay_sources)
        with reports.reading(engine) as connection:
            tokens = {each.id: each.token for each in keys.projects(connection)}
    head = ("project", "source", "events", "first received", "last received")
    rows = [
        (tokens.get(each.project_id), each.source, each.events, iso(each.first_us), iso(each.last_us))
        for each in found
    ]
    write_table(head, [*rows, ("all", "", _number(found), "", "")])
    typer.echo("This was a dry run: nothing is changed.", err=True)


def _fill_in(engine: Engine, settings: Settings, since_us: int, stop: threading.Event) -> None:
    number = _number(outbox_repairs.missing(engine, since_us, settings.relay_sources))
    with closing(Ledger(engine)) as ledger, shown("Filling in", number) as report:
        done = outbox_repairs.fill_in(
            engine, ledger, since_us, settings.relay_sources, stop=stop, report=report
        )
    typer.echo(f"{'1 event is' if done == 1 else f'{done} events are'} to be relayed from before.")


def _number(found: list[Missing]) -> int:
    return sum(each.events for each in found)


# -- how it goes ----------------------------------------------------------------------------------


class _Now(NamedTuple):
    """How it goes, of all projects together: counts since ever, what waits, and whether that is all new."""

    sent: int
    set_aside: int
    withdrawn: int
    waiting: int
    is_drained: bool
    per_second: int | None
    pump: Pump

    @property
    def left(self) -> int:
        return self.sent + self.set_aside + self.withdrawn

    @property
    def is_turned_away(self) -> bool:
        """Bloomreach has turned us away, and nobody tries again just now."""
        return self.pump.stopped and self.pump.open_us > _now_us()


def _watch(engine: Engine, first: _Now, stop: threading.Event, *, ends: bool) -> str | None:
    """Show how it goes since *first*, until *stop*, or where it *ends* until what waits now is gone.

    A sentence about what keeps us from relaying at the end; None where nothing does.
    """
    with reports.reading(engine) as connection:
        last_id = backfill.last_number(connection)
    now = _look(engine, last_id)
    with _bar() as show:
        while not (ends and now.is_drained) and not stop.is_set() and not (ends and now.is_turned_away):
            show(now.left - first.left, now)
            stop.wait(_LOOK_SECONDS)
            try:
                now = _look(engine, last_id)
            except Exception as error:
                # Who is to relay for good outlives an outage, as what relays beside us does.
                if ends or fault(error) is not Fault.AWAY:
                    raise
        show(now.left - first.left, now)
    if ends:
        sent, set_aside = now.sent - first.sent, now.set_aside - first.set_aside
        typer.echo(f"Sent: {sent}.  Set aside: {set_aside}.  Waiting: {now.waiting}.")
    if now.is_turned_away and not (ends and now.is_drained):
        return f"{now.pump.problem} Nothing is lost: {now.waiting} waiting."
    return None


def _look(engine: Engine, last_id: int) -> _Now:
    with reports.reading(engine) as connection:
        found = relay_status.statuses(connection, _now_us())
        pump = relay_pump.read(connection)
        oldest = outbox.page(connection, after=0, limit=1)
    totals = [each.totals for each in found]
    return _Now(
        sum(each.sent for each in totals),
        sum(each.set_aside for each in totals),
        sum(each.withdrawn for each in totals),
        sum(each.waiting for each in totals),
        not oldest or oldest[0].id > last_id,
        next((each.per_second for each in found), None),
        pump,
    )


@contextmanager
def _bar() -> Iterator[Callable[[int, _Now], None]]:
    """On standard error, where that is a terminal: how many have left since the start, of how many."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _, __: None
        return
    words = TextColumn("{task.description}", markup=False)
    columns = (TextColumn("Relaying"), BarColumn(), MofNCompleteColumn(), words)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def show(left: int, now: _Now) -> None:
            bar.update(task, completed=left, total=left + now.waiting, description=_words(now))

        yield show


def _words(now: _Now) -> str:
    if now.pump.problem and now.waiting:
        seconds = max(0, round((now.pump.open_us - _now_us()) / SECOND_US))
        return printable(f"{now.pump.problem} Tried again {f'in {seconds} s' if seconds else 'now'}.")
    return "" if now.per_second is None else f"{now.per_second} a second"


def _now_us() -> int:
    return time.time_ns() // 1000
