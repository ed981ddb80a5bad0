"""``receiver send``: a file of people becomes letters."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from receiver import telemetry
from receiver.cli.session import answer_json, failed, opened, settings_or_exit, stopping
from receiver.cli.showing import write_table
from receiver.outbound.jobs import PRESET, Job, NotSent, Progress, Rehearsal, Report, Summary
from receiver.outbound.notices import Notices
from receiver.outbound.people import WrongFile
from receiver.outbound.sender import Sender
from receiver.outbound.templates import WrongTemplate
from receiver.store.letters import Fates
from receiver.store.mailings import Route, State

_STOPPING = "Stopping after the request that is under way; the same command goes on later."


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("send")(send)


def send(
    project_token: Annotated[
        str, typer.Argument(metavar="PROJECT_TOKEN", help="See `receiver project list`.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV, JSON or JSON Lines; see docs/operations.md.")
    ],
    automation: Annotated[
        str, typer.Option(metavar="ID", help="The automation at Optilyz: 24 hexadecimal digits.")
    ],
    campaign: Annotated[
        str | None, typer.Option(metavar="REF", help="The campaign reference that travels in the letters.")
    ] = None,
    template: Annotated[
        str, typer.Option(metavar="NAME_OR_FILE", help="A preset, or a file; see docs/templates.md.")
    ] = PRESET,
    batch: Annotated[bool, typer.Option("--batch/--single", help="Many letters a request, or one.")] = True,
    variation: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="For all; else the template's, else Optilyz picks.")
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Also to who has a letter of this automation and campaign already."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and show the first request.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N rows of the file.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")] = False,
) -> None:
    """Send a letter to everybody in FILE.  After a break the same command goes on."""
    settings = settings_or_exit()
    telemetry.configure_logging("warning")
    route = Route.MANY if batch else Route.ONE
    job = Job(project_token, file, automation, campaign, template, route, variation, not again, limit)
    with opened(settings) as engine, Sender(settings, engine) as sender:
        try:
            if dry_run:
                with _progress() as report:
                    rehearsal = sender.rehearse(job, report)
                _show_rehearsal(rehearsal, json=json)
            else:
                with _progress() as report, stopping(sender.stop, _STOPPING):
                    summary = sender.send(job, report)
                _notify(Notices(engine, settings), summary)
                _show(summary, json=json)
        except (WrongFile, WrongTemplate, NotSent) as error:
            raise failed(str(error)) from None


def _notify(notices: Notices, summary: Summary) -> None:
    try:
        notices.tell(run_id=summary.run_id)
    finally:
        notices.close()


# -- what people see ------------------------------------------------------------------------------


def _show(summary: Summary, *, json: bool) -> None:
    if json:
        answer_json({"rows": summary.rows, "letters": _documents(summary.fates), "stopped": summary.stopped})
    else:
        _show_fates(summary.rows, summary.fates)
    if 0 < summary.rows == summary.before:
        typer.echo(
            "All rows were prepared by an earlier call of the same command, so the figures are of both. For"
            " one more letter to the same people give another --campaign.",
            err=True,
        )
    if summary.count(State.UNKNOWN):
        typer.echo(
            "Of the unknown ones nobody knows whether they are printed: look them up at Optilyz, then run"
            " `receiver mailings resolve`.",
            err=True,
        )
    if summary.stopped:
        raise failed(f"{summary.stopped} Nothing is lost: the same command goes on.")


def _show_rehearsal(rehearsal: Rehearsal, *, json: bool) -> None:
    url, body = rehearsal.request or (None, None)
    if json:
        letters = _documents(rehearsal.fates)
        answer_json({"rows": rehearsal.rows, "letters": letters, "request": {"url": url, "body": body}})
        return
    _show_fates(rehearsal.rows, rehearsal.fates)
    if url:
        typer.echo(f"\nThe first request would be:\n\nPOST {url}\n\n{body}")
    else:
        typer.echo("\nNothing would be sent.")


def _documents(fates: Fates) -> list[dict[str, object]]:
    return [{"state": state, "reason": reason, "count": count} for (state, reason), count in _sorted(fates)]


def _sorted(fates: Fates) -> list[tuple[tuple[str, str | None], int]]:
    places = list(State)
    return sorted(fates.items(), key=lambda fate: (places.index(State(fate[0][0])), fate[0][1] or ""))


def _show_fates(rows: int, fates: Fates) -> None:
    """A small table that adds up."""
    if not rows:
        typer.echo("There is nobody in the file.")
        return
    cells = [(state, reason or "", count) for (state, reason), count in _sorted(fates)]
    write_table(("letters", "why", "number"), [*cells, ("all rows of the file", "", rows)])


# -- while it goes on -----------------------------------------------------------------------------


@contextmanager
def _progress() -> Iterator[Report]:
    """A bar for each phase, on standard error where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    reading = Bar(
        TextColumn("Preparing"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console
    )
    sending = Bar(
        TextColumn("Sending  "), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    bars = {"prepared": reading, "sent": sending}
    shown: list[Bar] = []

    def report(progress: Progress) -> None:
        bar = bars[progress.phase]
        if bar not in shown:
            for before in shown:
                before.stop()
            shown.append(bar)
            bar.add_task(progress.phase)
            bar.start()
        bar.update(bar.task_ids[0], completed=progress.done, total=progress.total)

    try:
        yield report
    finally:
        for bar in shown:
            bar.stop()
