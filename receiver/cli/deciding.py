"""``receiver mailings resolve`` and ``cancel``: what people decide about letters."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Engine

from receiver import telemetry
from receiver.cli.questions import Json, project_of, question_of
from receiver.cli.session import answer_json, failed, opened, settings_or_exit, stopping
from receiver.cli.showing import printable, write_table
from receiver.outbound.cancellations import UNDECIDED, Cancelled
from receiver.outbound.deciding import Decider, Report
from receiver.settings import Settings
from receiver.store import letters, reports
from receiver.store.letters import MailingRow
from receiver.store.mailings import State
from receiver.web.mailing_documents import MailingDocument
from receiver.web.mailing_questions import Resolution, WhichMailings

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="See `receiver mailings list`.")]
Project = Annotated[str | None, typer.Option(metavar="PROJECT_TOKEN", help="Whose campaign it is.")]

# Somebody watches it, and others may be sending for a while.
_PATIENCE_SECONDS = 60.0


def register(mailings: typer.Typer) -> None:
    """Add the commands of this module to the group."""
    mailings.command("resolve")(resolve)
    mailings.command("cancel")(cancel)


def resolve(
    printed: Annotated[
        bool, typer.Option("--printed/--not-printed", help="Whether they are printed, or will be.")
    ],
    mailing_ids: Ids = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="REF", help="All unknown ones of this campaign; needs --project.")
    ] = None,
    project: Project = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Kept with each letter.")] = None,
    json: Json = False,
) -> None:
    """Say of letters of unknown fate whether they are printed.  If not, they are to be sent again."""
    _refuse_half_a_choice(mailing_ids, campaign, project)
    settings = settings_or_exit()
    said = question_of(Resolution, settings, printed=printed, note=note)
    with opened(settings) as engine, _deciding(engine, settings) as decider:
        if project:
            question = question_of(WhichMailings, settings, campaign=campaign)
            with reports.reading(engine) as connection:
                project_id = project_of(connection, project)
            number = decider.resolve_campaign(
                project_id, question.campaign or "", printed=printed, note=said.note
            )
            document: object = {"resolved": number}
        else:
            rows = _resolve_each(engine, decider, mailing_ids or (), said)
            documents = [MailingDocument.of(row, _now_us()).model_dump() for row in rows]
            number = len(rows)
            document = documents[0] if number == 1 else {"data": documents}
    if json:
        answer_json(document)
        return
    many = "1 letter" if number == 1 else f"{number} letters"
    if printed:
        typer.echo(f"{many}: from now on queued at Optilyz.")
    else:
        typer.echo(
            f"{many}: to be sent again. For those of a file run the same `receiver send` once more; those"
            " that came through the gateway are sent by the service."
        )


def _resolve_each(engine: Engine, decider: Decider, ids: Sequence[str], said: Resolution) -> list[MailingRow]:
    # Looked up before the first is resolved: who mistypes one shall not have to find out which are done.
    projects = {each: _project_of_letter(engine, each) for each in ids}
    rows = []
    for mailing_id, project_id in projects.items():
        was = decider.resolve(project_id, mailing_id, printed=said.printed, note=said.note)
        if was != State.UNKNOWN:
            raise failed(f"The letter {mailing_id} is {was}; only one whose fate is unknown can be resolved.")
        with reports.reading(engine) as connection:
            row = letters.find_mailing(connection, project_id, mailing_id)
        assert row is not None, "letters stay"
        rows.append(row)
    return rows


def cancel(
    mailing_ids: Ids = None,
    campaign: Annotated[
        str | None, typer.Option(metavar="REF", help="All letters of this campaign; needs --project.")
    ] = None,
    project: Project = None,
    json: Json = False,
) -> None:
    """Keep letters from being sent; Optilyz is asked to drop what is queued there.

    It can be run again.  Exit code 1: something could not be decided yet.
    """
    _refuse_half_a_choice(mailing_ids, campaign, project)
    settings = settings_or_exit()
    telemetry.configure_logging("warning")
    with opened(settings) as engine, _deciding(engine, settings) as decider, stopping(decider.stop):
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


def _refuse_half_a_choice(
    mailing_ids: Sequence[str] | None, campaign: str | None, project: str | None
) -> None:
    if bool(mailing_ids) == bool(campaign) or bool(campaign) != bool(project):
        raise typer.BadParameter("Give IDs, or --campaign and --project.")


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


def _now_us() -> int:
    return time.time_ns() // 1000
