"""``receiver mailings``: what became of letters, and what people decide about them."""

import signal
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Engine

from receiver import telemetry
from receiver.cli.questions import Cursor, Json, Limit, ProjectToken, project_of, question_of
from receiver.cli.session import answer_json, failed, opened, settings_or_exit
from receiver.cli.showing import Cells, printable, write_table
from receiver.outbound.cancellations import UNDECIDED, Cancelled
from receiver.outbound.deciding import Decider, Report
from receiver.settings import Settings
from receiver.store import letters, reports
from receiver.store.mailings import State
from receiver.web.mailing_documents import MailingDocument, MailingsDocument, MailingsSummaryDocument
from receiver.web.mailing_questions import MailingsQuestion, Resolution, WhichMailings

MailingIdArgument = Annotated[str, typer.Argument(metavar="ID", help="See `receiver mailings list`.")]
Campaign = Annotated[str | None, typer.Option(metavar="REF", help="Of this campaign.")]
Customer = Annotated[
    str | None, typer.Option(metavar="NAME=VALUE", help="Of who holds this ID now, as registered=X.")
]

# Somebody watches it, and others may be sending for a while.
_PATIENCE_SECONDS = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    mailings = typer.Typer(no_args_is_help=True, help="Letters, and what became of them.")
    mailings.command("list")(list_mailings)
    mailings.command("summary")(show_summary)
    mailings.command("resolve")(resolve)
    mailings.command("cancel")(cancel)
    app.add_typer(mailings, name="mailings")


def list_mailings(
    project_token: ProjectToken,
    state: Annotated[str | None, typer.Option(metavar="STATE", help=f"One of {', '.join(State)}.")] = None,
    campaign: Campaign = None,
    customer: Customer = None,
    silent_days: Annotated[
        int | None, typer.Option(metavar="N", help="Queued, and for N days nothing was heard of it.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Show letters, the newest first."""
    settings = settings_or_exit()
    question = question_of(
        MailingsQuestion,
        settings,
        state=state,
        campaign=campaign,
        customer=customer,
        silent_days=silent_days,
        limit=limit,
        cursor=cursor,
    )
    with opened(settings) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        wanted = question.filter(connection, project_id)
        page = letters.mailings_page(
            connection, project_id, wanted, after=question.cursor, limit=question.limit
        )
    rows = [MailingDocument.of(row, _now_us()) for row in page.rows]
    if json:
        answer_json(MailingsDocument(data=rows, next=page.next).model_dump())
        return
    head = ("id", "state", "reason", "customer", "campaign", "last stage", "silent days", "made")
    write_table(head, map(_cells, rows))
    if page.next:
        typer.echo(f"There is more: --cursor {page.next}", err=True)


def _cells(row: MailingDocument) -> Cells:
    ids = " ".join(f"{kind}={value}" for kind, value in row.customer_ids.items())
    heard = (row.stage, row.silent_days, row.created_at)
    return (row.id, row.state.value, row.reason, ids, row.campaign, *heard)


def show_summary(project_token: ProjectToken, campaign: Campaign = None, json: Json = False) -> None:
    """Show how many letters are in which state and why, and how far the queued ones have come."""
    settings = settings_or_exit()
    question = question_of(WhichMailings, settings, campaign=campaign)
    with opened(settings) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        found = letters.summary(connection, project_id, question.campaign)
    document = MailingsSummaryDocument.of(found)
    if json:
        answer_json(document.model_dump())
        return
    write_table(("letters", "why", "number"), [(e.state.value, e.reason, e.count) for e in document.data])
    if document.stages:
        typer.echo()
        stages = [(each.stage or "nothing heard yet", each.count) for each in document.stages]
        write_table(("queued, last heard of as", "number"), stages)


# -- deciding -------------------------------------------------------------------------------------


def resolve(
    mailing_id: Annotated[str, typer.Argument(metavar="ID", help="See `receiver mailings list`.")],
    printed: Annotated[
        bool, typer.Option("--printed/--not-printed", help="Whether it is printed, or will be.")
    ],
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with the letter.")] = None,
    json: Json = False,
) -> None:
    """Say of a letter of unknown fate whether it is printed.  If not, it is to be sent again."""
    settings = settings_or_exit()
    said = question_of(Resolution, settings, printed=printed, note=note)
    with opened(settings) as engine, _deciding(engine, settings) as decider:
        project_id = _project_of_letter(engine, mailing_id)
        was = decider.resolve(project_id, mailing_id, printed=printed, note=said.note)
        if was != State.UNKNOWN:
            raise failed(f"The letter is {was}; only one whose fate is unknown can be resolved.")
        with reports.reading(engine) as connection:
            row = letters.find_mailing(connection, project_id, mailing_id)
    assert row is not None, "letters stay"
    if json:
        answer_json(MailingDocument.of(row, _now_us()).model_dump())
    elif printed:
        typer.echo("The letter counts as queued at Optilyz.")
    elif row.run_id is None:
        typer.echo("The letter is to be sent again; the service does so by itself.")
    else:
        typer.echo("The letter is to be sent again; run the same `receiver send` once more.")


def cancel(
    mailing_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="See `receiver mailings list`.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="REF", help="All letters of this campaign; needs --project.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="PROJECT_TOKEN", help="Whose campaign it is.")
    ] = None,
    json: Json = False,
) -> None:
    """Keep letters from being sent; Optilyz is asked to drop what is queued there.

    It can be run again.  Exit code 1: something could not be decided yet.
    """
    if bool(mailing_ids) == bool(campaign) or bool(campaign) != bool(project):
        raise typer.BadParameter("Give IDs, or --campaign and --project.")
    settings = settings_or_exit()
    telemetry.configure_logging("warning")
    with opened(settings) as engine, _deciding(engine, settings) as decider, _stopping(decider):
        if project:
            question = question_of(WhichMailings, settings, campaign=campaign)
            done = _cancel_campaign(engine, decider, project, question.campaign or "", json=json)
        else:
            done = _cancel_each(engine, decider, mailing_ids or (), json=json)
        stopped = decider.stop.is_set()
    if stopped or any(each.outcome in UNDECIDED for each in done):
        raise failed("Not everything is decided; the same command goes on.")


def _cancel_each(engine: Engine, decider: Decider, ids: Sequence[str], *, json: bool) -> list[Cancelled]:
    # Looked up before the first is cancelled: who mistypes one shall not have to find out which are done.
    projects = {each: _project_of_letter(engine, each) for each in ids}
    done: list[Cancelled] = []
    for mailing_id, project_id in projects.items():
        cancelled = decider.cancel(project_id, mailing_id)
        assert cancelled is not None, "letters stay"
        done.append(cancelled)
    if json:
        rows = zip(projects, done, strict=True)
        answer_json({"data": [{"id": each, **cancelled._asdict()} for each, cancelled in rows]})
    else:
        cells = [(each, *cancelled) for each, cancelled in zip(projects, done, strict=True)]
        write_table(("id", "outcome", "that is"), cells)
    return done


def _cancel_campaign(
    engine: Engine, decider: Decider, project: str, campaign: str, *, json: bool
) -> Collection[Cancelled]:
    with reports.reading(engine) as connection:
        project_id = project_of(connection, project)
        fates = letters.summary(connection, project_id, campaign).fates
    open_ones = {State.INTENDED, State.ASKED, State.QUEUED}
    with _progress(sum(count for (state, _), count in fates.items() if state in open_ones)) as report:
        done = decider.cancel_campaign(project_id, campaign, report)
    if json:
        rows = [{**each._asdict(), "count": count} for each, count in done.most_common()]
        answer_json({"data": rows})
    elif done:
        cells = [(each.outcome, count, each.detail) for each, count in done.most_common()]
        write_table(("outcome", "letters", "that is"), cells)
    else:
        typer.echo("No letter of this campaign is waiting or queued.")
    return done


# -- what they share ------------------------------------------------------------------------------


@contextmanager
def _deciding(engine: Engine, settings: Settings) -> Iterator[Decider]:
    with closing(Decider(engine, settings, patience=_PATIENCE_SECONDS)) as decider:
        yield decider


def _project_of_letter(engine: Engine, mailing_id: str) -> int:
    """Of which project the letter is, or the end of the command."""
    found = None
    if mailing_id.isascii() and mailing_id.isalnum():
        with reports.reading(engine) as connection:
            found = letters.project_of(connection, mailing_id)
    if found is None:
        raise failed(f"There is no letter {printable(mailing_id)}; see `receiver mailings list`.")
    return found


@contextmanager
def _progress(letters: int) -> Iterator[Report]:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("Cancelling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("cancel", total=letters)
        yield lambda more: bar.advance(task, more)


@contextmanager
def _stopping(decider: Decider) -> Iterator[None]:
    """The first Ctrl-C, or SIGTERM, lets the letter that is under way end; the second one ends all."""

    def stop(number: int, _: FrameType | None) -> None:
        if decider.stop.is_set():
            raise KeyboardInterrupt
        decider.stop.set()

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _now_us() -> int:
    return time.time_ns() // 1000
