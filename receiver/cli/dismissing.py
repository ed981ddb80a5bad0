"""``receiver rejections dismiss``, ``reopen``, ``undo`` and ``audit``."""

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Annotated

import typer
from sqlalchemy import Engine

from receiver.cli.questions import (
    Cursor,
    Json,
    Limit,
    ProjectToken,
    ShowSql,
    asking,
    project_in,
    question_of,
)
from receiver.cli.session import answer_json, failed, opened, settings_or_exit, stopping
from receiver.cli.showing import Cells, write_table
from receiver.cli.which_rejections import NAMES, STOPPED, Chosen, choosing, found, progress, who
from receiver.inbound import bulk, rejections, undoing
from receiver.inbound.rejections import Action
from receiver.settings import Settings
from receiver.store import reports, trail
from receiver.store.sets import Ledger
from receiver.web.documents import RejectionDocument
from receiver.web.questions import rejection_cursor
from receiver.web.repair_documents import AuditDocument, AuditRowDocument, StepDocument, UndoneDocument
from receiver.web.repair_questions import (
    AuditQuestion,
    DismissMatching,
    MatchingDismissed,
    MatchingOpen,
    Note,
    ReopenMatching,
)

Ids = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID]...", min=1, max=2**63 - 1, help="Without any all that match."),
]
Words = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why; kept in the trace.")]


def register(group: typer.Typer) -> None:
    """Add the commands of this module to the group."""
    for command in (choosing(dismiss), choosing(reopen), undo, audit):
        group.command(command.__name__)(command)


def dismiss(
    project_token: ProjectToken,
    rejection_ids: Ids = None,
    note: Words = None,
    json: Json = False,
    *,
    which: Chosen,
) -> None:
    """Say of open rejections that nothing is to be done, by their IDs or of all that match."""
    settings = settings_or_exit()
    matching = question_of(MatchingOpen, settings, **which)
    question = question_of(DismissMatching, settings, filter=matching, note=note)
    _decide(settings, project_token, rejection_ids or (), Action.DISMISS, question, bool(which), json=json)


def reopen(
    project_token: ProjectToken,
    rejection_ids: Ids = None,
    note: Words = None,
    json: Json = False,
    *,
    which: Chosen,
) -> None:
    """Say of dismissed rejections that something is to be done after all."""
    settings = settings_or_exit()
    matching = question_of(MatchingDismissed, settings, **which)
    question = question_of(ReopenMatching, settings, filter=matching, note=note)
    _decide(settings, project_token, rejection_ids or (), Action.REOPEN, question, bool(which), json=json)


def _decide(
    settings: Settings,
    project_token: str,
    ids: Sequence[int],
    action: Action,
    question: DismissMatching | ReopenMatching,
    chosen: bool,
    *,
    json: bool,
) -> None:
    if bool(ids) == chosen:
        raise typer.BadParameter(f"Give IDs, or say which by {NAMES}.")
    stop = threading.Event()
    with opened(settings) as engine, closing(Ledger(engine)) as ledger, stopping(stop):
        project_id = project_in(engine, project_token)
        if ids:
            done = _decide_each(engine, ledger, project_id, ids, action, question)
        else:
            wanted = question.filter.filter()
            state = bulk.WAS[action].value
            with progress(engine, project_id, replace(wanted, state=state)) as report:
                done = bulk.decide_matching(
                    engine,
                    ledger,
                    project_id,
                    wanted,
                    action,
                    question.note,
                    who(),
                    stop=stop,
                    report=report,
                )
    if json:
        answer_json({"done": done})
    else:
        many = "1 rejection" if done == 1 else f"{done} rejections"
        typer.echo(f"{many} {'dismissed' if action is Action.DISMISS else 'reopened'}.")
    if stop.is_set():
        raise failed(STOPPED)


def _decide_each(
    engine: Engine, ledger: Ledger, project_id: int, ids: Sequence[int], action: Action, question: Note
) -> int:
    # Looked up before the first is decided: who mistypes one shall not have to find out which are done.
    wanted = bulk.WAS[action]
    for number in dict.fromkeys(ids):
        state = found(engine, project_id, number).row.state
        if state != wanted:
            raise failed(f"The rejection {number} is {state}, and not {wanted}.")
    return len(rejections.decide(ledger, project_id, list(dict.fromkeys(ids)), action, question.note, who()))


def undo(
    project_token: ProjectToken,
    rejection_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1)],
    note: Words = None,
    json: Json = False,
) -> None:
    """Take the last replay of a rejection back: its events leave all reports, and it is open again."""
    settings = settings_or_exit()
    said = question_of(Note, settings, note=note).note
    with opened(settings) as engine, closing(Ledger(engine)) as ledger:
        project_id = project_in(engine, project_token)
        try:
            withdrawn = undoing.undo(ledger, project_id, rejection_id, said, who())
        except undoing.NotDone as error:
            raise failed(str(error)) from None
        row = RejectionDocument.of(found(engine, project_id, rejection_id).row)
    if json:
        answer_json(UndoneDocument(**row.model_dump(), withdrawn=withdrawn).model_dump())
    else:
        many = "1 event has" if len(withdrawn) == 1 else f"{len(withdrawn)} events have"
        typer.echo(f"{many} left all reports; the rejection is open again.")


# -- the trace ------------------------------------------------------------------------------------


def audit(
    project_token: ProjectToken,
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show all that was done about rejections, the newest first."""
    settings = settings_or_exit()
    question = question_of(AuditQuestion, settings, limit=limit, cursor=cursor)
    with asking(settings, show_sql=show_sql) as engine:
        project_id = project_in(engine, project_token)
        after = question.cursor and question.cursor.id
        with reports.reading(engine) as connection:
            page = trail.trail_page(connection, project_id, after=after, limit=question.limit)
    following = rejection_cursor(page.next)
    document = AuditDocument.of(page, following)
    if json:
        answer_json(document.model_dump())
        return
    write_table(
        ("at", "key", "action", "rejection", "how", "outcomes", "note", "undone"), map(_cells, document.data)
    )
    if following:
        typer.echo(f"There is more: --cursor {following}", err=True)


def _cells(row: AuditRowDocument) -> Cells:
    key, how, outcomes = told(row)
    return row.at, key, row.action, row.rejection_id, how, outcomes, row.note, row.undone_at


def told(step: StepDocument) -> tuple[str, str, str]:
    """Who did it, how it was mended, and what became of the commands."""
    how = step.how or {}
    outcomes = " ".join(str(result["outcome"]) for result in step.results or ())
    return step.key_id or "command line", how.get("repair") or ", ".join(how), outcomes
