"""``receiver relay``: what goes on to Bloomreach, and what people decide about what it would not take."""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Annotated

import typer

from receiver.cli import relay_report, relay_running
from receiver.cli.progress import shown
from receiver.cli.questions import (
    Json,
    Limit,
    ProjectToken,
    ShowSql,
    asking,
    project_in,
    project_of,
    question_of,
)
from receiver.cli.session import answer_json, failed, opened, settings_or_exit, stopping
from receiver.cli.showing import Cells, write_table
from receiver.outbound import outbox_repairs
from receiver.store import outbox, relay_status, reports, set_aside, writes
from receiver.store.outbox import Reason
from receiver.store.set_aside import WhichAside
from receiver.store.sets import Ledger
from receiver.web.relay_documents import SetAsideDocument, SetAsidePageDocument
from receiver.web.relay_questions import SetAsideQuestion, WhichSetAside

_STOPPED = "Stopped; the same command goes on."

OfReason = Annotated[
    str | None, typer.Option("--reason", metavar="CODE", help=f"One of {', '.join(Reason)}.")
]
Message = Annotated[str | None, typer.Option(metavar="TEXT", help="Refused with exactly these words.")]
OfType = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Of this type of event; updates have none.")
]
Campaign = Annotated[str | None, typer.Option(metavar="REF", help="Of this campaign.")]
Since = Annotated[str | None, typer.Option(metavar="ISO", help="Set aside from this time on.")]
Until = Annotated[str | None, typer.Option(metavar="ISO", help="Set aside before this time.")]
All = Annotated[bool, typer.Option("--all", help="All that are set aside, where no filter is given.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many those are.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module and of its neighbours."""
    relay = typer.Typer(no_args_is_help=True, help="What is relayed to Bloomreach.")
    relay_report.register(relay)
    relay_running.register(relay)
    relay.command("list")(list_set_aside)
    relay.command("retry")(retry)
    relay.command("discard")(discard)
    relay.command("off")(off)
    app.add_typer(relay, name="relay")


def list_set_aside(
    project_token: ProjectToken,
    reason: OfReason = None,
    message: Message = None,
    event_type: OfType = None,
    campaign: Campaign = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    cursor: Annotated[int | None, typer.Option(metavar="ID", help="Go on where a page ended.")] = None,
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show what was set aside because Bloomreach would not take it, the newest first."""
    settings = settings_or_exit()
    question = question_of(
        SetAsideQuestion,
        settings,
        reason=reason,
        message=message,
        type=event_type,
        campaign=campaign,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        rows = set_aside.aside_page(
            connection,
            project_of(connection, project_token),
            question.which(),
            after=question.cursor,
            limit=question.limit + 1,
        )
    page = SetAsidePageDocument.of(rows, question.limit)
    if json:
        answer_json(page.model_dump())
        return
    write_table(
        ("id", "set aside", "reason", "message", "type", "campaign", "customer"), map(_cells, page.data)
    )
    if page.next:
        typer.echo(f"There is more: --cursor {page.next}", err=True)


def _cells(row: SetAsideDocument) -> Cells:
    ids = " ".join(f"{kind}={value}" for kind, value in row.customer_ids.items())
    what = "customer update" if row.type is None else row.type
    return row.id, row.set_aside_at, row.reason, row.message, what, row.campaign, ids


def retry(
    project_token: ProjectToken,
    reason: OfReason = None,
    message: Message = None,
    event_type: OfType = None,
    campaign: Campaign = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
) -> None:
    """Let what was set aside wait for Bloomreach once more, and try it at once."""
    wanted = _wanted(reason, message, event_type, campaign, since, until, everything=everything)
    done = _decide(outbox_repairs.retry, "Putting back", project_token, wanted, dry_run=dry_run)
    would = "would wait" if dry_run else "wait" if done != 1 else "waits"
    typer.echo(f"{_commands(done)} {would} for Bloomreach once more.")


def discard(
    project_token: ProjectToken,
    reason: OfReason = None,
    message: Message = None,
    event_type: OfType = None,
    campaign: Campaign = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: DryRun = False,
) -> None:
    """Let go of what was set aside: Bloomreach never gets it; our own events stay."""
    wanted = _wanted(reason, message, event_type, campaign, since, until, everything=everything)
    done = _decide(outbox_repairs.discard, "Discarding", project_token, wanted, dry_run=dry_run)
    would = "would be" if dry_run else "are" if done != 1 else "is"
    typer.echo(f"{_commands(done)} {would} let go and not relayed.")


def _wanted(
    reason: str | None,
    message: str | None,
    event_type: str | None,
    campaign: str | None,
    since: str | None,
    until: str | None,
    *,
    everything: bool,
) -> WhichAside:
    question = question_of(
        WhichSetAside,
        settings_or_exit(),
        reason=reason,
        message=message,
        type=event_type,
        campaign=campaign,
        since=since,
        until=until,
    )
    wanted = question.which()
    if everything == any(each is not None for each in wanted):
        raise typer.BadParameter(
            "Say which by --reason, --message, --type, --campaign, --since or --until, or give --all."
        )
    return wanted


def _decide(
    decide: Callable[..., int], words: str, project_token: str, wanted: WhichAside, *, dry_run: bool
) -> int:
    stop = threading.Event()
    with opened() as engine, closing(Ledger(engine)) as ledger, stopping(stop):
        project_id = project_in(engine, project_token)
        with reports.reading(engine) as connection:
            number = set_aside.how_many(connection, project_id, wanted)
        if dry_run:
            return number
        with shown(words, number) as report:
            done = decide(engine, ledger, project_id, wanted, stop=stop, report=report)
    if stop.is_set():
        raise failed(f"{_commands(done)} done. {_STOPPED}")
    return done


def off(
    discard_waiting: Annotated[
        bool, typer.Option("--discard-waiting", help="Also let go of what waits, in every project.")
    ] = False,
) -> None:
    """Relay nothing of what is accepted from now on; what waits already is still sent."""
    settings = settings_or_exit()
    stop = threading.Event()
    with opened(settings) as engine, closing(Ledger(engine)) as ledger, stopping(stop):
        with ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            outbox.switch_off(transaction)
        with reports.reading(engine) as connection:
            waiting = sum(each.waiting for each in relay_status.totals(connection))
        done = 0
        if discard_waiting:
            with shown("Letting go", waiting) as report:
                done = outbox_repairs.discard_waiting(ledger, stop=stop, report=report)
    typer.echo("The relay is off: what is accepted from now on is not given to it.")
    if discard_waiting:
        typer.echo(f"{_commands(done)} that waited {'is' if done == 1 else 'are'} let go.")
    elif waiting:
        typer.echo(f"{_commands(waiting)} still {'waits' if waiting == 1 else 'wait'} for Bloomreach.")
    if not settings.missing_for_relay:
        typer.echo(
            "The settings of Bloomreach are still there: a service that starts with them switches it on.",
            err=True,
        )
    if stop.is_set():
        raise failed(_STOPPED)


def _commands(number: int) -> str:
    return "1 command" if number == 1 else f"{number} commands"
