"""``receiver rejections``: what was refused, and why."""

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from receiver.cli import dismissing, marking, repairs
from receiver.cli.questions import (
    Cursor,
    Json,
    Limit,
    ProjectToken,
    ShowSql,
    asking,
    project_of,
    question_of,
)
from receiver.cli.session import answer_json, failed, settings_or_exit
from receiver.cli.showing import printable, write_table
from receiver.cli.which_rejections import Chosen, choosing
from receiver.store import refusal_counts, refused, reports, trail
from receiver.web.documents import RejectionDocument, RejectionsDocument, SummaryDocument
from receiver.web.questions import RejectionsQuestion, SummaryQuestion, rejection_cursor
from receiver.web.repair_documents import TracedRejectionDocument

State = Annotated[str | None, typer.Option(metavar="STATE", help="open, replayed or dismissed.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    rejections = typer.Typer(no_args_is_help=True, help="What was refused, and why.")
    rejections.command("list")(choosing(list_rejections))
    rejections.command("show")(show_rejection)
    rejections.command("summary")(choosing(show_summary, text=False))
    repairs.register(rejections)
    app.add_typer(rejections, name="rejections")


def list_rejections(
    project_token: ProjectToken,
    state: State = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
    show_sql: ShowSql = False,
    *,
    which: Chosen,
) -> None:
    """Show what was refused, the newest first."""
    settings = settings_or_exit()
    question = question_of(RejectionsQuestion, settings, **which, state=state, limit=limit, cursor=cursor)
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        page = refused.rejections_page(
            connection,
            project_of(connection, project_token),
            question.filter(),
            after=question.cursor and question.cursor.id,
            limit=question.limit,
        )
    rows, following = list(map(RejectionDocument.of, page.rows)), rejection_cursor(page.next)
    if json:
        answer_json(RejectionsDocument(data=rows, next=following).model_dump())
        return
    head = ("id", "last seen", "count", "state", "reason", "route", "pointer")
    cells = [(r.id, r.last_seen, r.count, r.state, r.reason, r.route, r.pointer) for r in rows]
    write_table(head, cells)
    if following:
        typer.echo(f"There is more: --cursor {following}", err=True)


def show_rejection(
    project_token: ProjectToken,
    rejection_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1)],
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show one rejection with its body as it was received, and what was done about it."""
    with asking(show_sql=show_sql) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        kept = refused.find_rejection(connection, project_id, rejection_id)
        steps = trail.steps_of(connection, project_id, rejection_id)
        similar = trail.similar_events(connection, steps)
        if kept is None:
            raise failed("There is no such rejection in this project.")
    document = TracedRejectionDocument.of_traced(kept, steps, similar)
    if json:
        answer_json(document.model_dump(exclude_unset=True))
        return
    for name, value in RejectionDocument.of(kept.row).model_dump().items():
        typer.echo(f"{name:12} {printable(str(value)) if value is not None else '-'}")
    typer.echo("\nheaders")
    for name, value in document.headers:
        typer.echo(f"  {printable(f'{name}: {value}')}")
    if document.attempts_made:
        typer.echo("\ndone about it")
    for step in document.attempts_made:
        told = (step.at, step.action, *dismissing.told(step), step.note)
        typer.echo(f"  {printable(' '.join(map(str, filter(None, told))))}")
    if similar:
        typer.echo(f"\nother events that say the same within a second: {', '.join(map(str, similar))}")
    if document.body is not None and document.place is not None:
        place = document.place
        typer.echo(f"\nline {place.line}, column {place.column}")
        gone = f"{document.pointer} is missing. " if place.missing and document.pointer else ""
        for line in marking.marked(document.body, place, gone + document.detail):
            typer.echo(line)
    in_base64 = document.body is None
    typer.echo("\nbody, in base64" if in_base64 else "\nbody")
    for line in (document.body or document.body_base64 or "").split("\n"):
        typer.echo(printable(line))


def show_summary(
    project_token: ProjectToken,
    state: State = None,
    by: Annotated[
        str, typer.Option(metavar="GROUP", help="reason, or shape: the reason and the failing place.")
    ] = "reason",
    trend: Annotated[
        str | None, typer.Option(metavar="SPAN", help="hour: of the last 24; day: of the last 14 (UTC).")
    ] = None,
    json: Json = False,
    show_sql: ShowSql = False,
    *,
    which: Chosen,
) -> None:
    """Show how often something was refused, by reason."""
    settings = settings_or_exit()
    question = question_of(SummaryQuestion, settings, **which, state=state, by=by, trend=trend)
    wanted = question.filter()
    trends = None
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        found = refusal_counts.summary(connection, project_id, wanted, question.by)
        if question.trend is not None:
            now_us = time.time_ns() // 1000
            trends = refusal_counts.trends(
                connection, project_id, wanted, question.by, question.trend, now_us
            )
    document = SummaryDocument.of(found, trends)
    if json:
        answer_json(document.model_dump(exclude_unset=True))
        return
    shaped, drawn = question.by == "shape", trends is not None
    head = ["reason", *(["pointer"] * shaped), "count", "rejections", "open", "first seen", "last seen"]
    cells = [
        (
            each.reason,
            *([each.pointer] * shaped),
            *(each.count, each.rejections, each.open, each.first_seen, each.last_seen),
            *([_drawn(each.trend or [])] * drawn),
        )
        for each in document.data
    ]
    write_table((*head, *([f"by {trend}"] * drawn)), cells)


_BARS = "▁▂▃▄▅▆▇█"


def _drawn(counts: Sequence[int]) -> str:
    """A bar for each count; a dot where nothing came."""
    most = max(counts, default=0)
    return "".join(_BARS[(each * len(_BARS) - 1) // most] if each else "·" for each in counts)
