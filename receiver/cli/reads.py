"""``receiver events``, ``outcomes`` and ``rejections``: what analysts and operations ask."""

from itertools import chain
from json import loads
from pathlib import Path
from typing import Annotated, Literal

import typer

from receiver.cli import dismissing, repairs
from receiver.cli.questions import Cursor, Json, Limit, ProjectToken, project_in, project_of, question_of
from receiver.cli.session import answer_json, failed, opened, settings_or_exit
from receiver.cli.showing import Cells, opened_for_writing, printable, write_table
from receiver.domain.moments import day, iso
from receiver.store import export, outcomes, refused, reports, trail
from receiver.store.outcomes import Counts, Disagreement
from receiver.store.reports import EventRow
from receiver.web.documents import (
    OutcomesDocument,
    RejectionDocument,
    RejectionsDocument,
    SummaryDocument,
)
from receiver.web.questions import (
    Period,
    RejectionsQuestion,
    WhichEvents,
    WhichRejections,
    rejection_cursor,
)
from receiver.web.repair_documents import TracedRejectionDocument

Since = Annotated[str | None, typer.Option(metavar="ISO", help="From this time on; UTC unless it says.")]
Until = Annotated[str | None, typer.Option(metavar="ISO", help="Before this time.")]
Reason = Annotated[str | None, typer.Option(metavar="CODE", help="Refused for this reason.")]
State = Annotated[str | None, typer.Option(metavar="STATE", help="open, replayed or dismissed.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("events")(show_events)
    app.command("outcomes")(show_outcomes)
    rejections = typer.Typer(no_args_is_help=True, help="What was refused, and why.")
    rejections.command("list")(list_rejections)
    rejections.command("show")(show_rejection)
    rejections.command("summary")(show_summary)
    repairs.register(rejections)
    app.add_typer(rejections, name="rejections")


def show_events(
    project_token: ProjectToken,
    customer: Annotated[
        str | None, typer.Option(metavar="NAME=VALUE", help="Of who holds this ID now, as registered=X.")
    ] = None,
    campaign: Annotated[str | None, typer.Option(metavar="REF", help="Of this campaign.")] = None,
    status: Annotated[str | None, typer.Option(metavar="WORD", help="With this word of the sender.")] = None,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="With this stage.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type.")] = None,
    since: Since = None,
    until: Until = None,
    form: Annotated[
        Literal["table", "jsonl", "csv", "parquet"], typer.Option("--format", help="A table, or all of it.")
    ] = "table",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many; 100 in a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write, if not here.")
    ] = None,
) -> None:
    """Show events, the newest first."""
    settings = settings_or_exit()
    which = {"customer": customer, "campaign": campaign, "status": status, "stage": stage, "type": event_type}
    wanted = question_of(WhichEvents, settings, **which, since=since, until=until).filter()
    if form == "parquet":
        raise failed("Parquet is not available yet; take jsonl or csv.")
    if limit is None and form == "table":
        limit = 100
    with opened(settings) as engine:
        pages = reports.all_events(engine, project_in(engine, project_token), wanted, limit=limit)
        if form == "table":
            write_table(_EVENT_HEAD, map(_event_cells, chain.from_iterable(pages)), output)
        else:
            texts = export.csv_lines(pages) if form == "csv" else export.json_lines(pages)
            with opened_for_writing(output) as file:
                file.writelines(text.encode() for text in texts)


_EVENT_HEAD = ("happened", "customer", "type", "campaign", "status", "stage", "id")


def _event_cells(event: EventRow) -> Cells:
    ids = " ".join(f"{kind}={value}" for kind, value in loads(event.ids).items())
    return iso(event.occurred_us), ids, event.type, event.campaign, event.status, event.stage, event.id


def show_outcomes(
    project_token: ProjectToken,
    since: Since = None,
    until: Until = None,
    check: Annotated[
        bool, typer.Option("--check", help="Recompute, and exit with 1 when something does not add up.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what became of all commands, by day (UTC)."""
    settings = settings_or_exit()
    period = question_of(Period, settings, since=since, until=until)
    with opened(settings) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        found = outcomes.outcomes(connection, project_id, period.since, period.until)
        wrong = outcomes.disagreements(connection, project_id, period.since, period.until) if check else []
    if json:
        document = OutcomesDocument.of(found).model_dump()
        answer_json({**document, "disagreements": list(map(_disagreement, wrong))} if check else document)
    else:
        rows = [(day(span.begin_us), span.source, *counts) for span, counts in found.items()]
        write_table(("day", "source", *Counts._fields), rows)
    for each in wrong:
        typer.echo(_disagreement(each)["detail"], err=True)
    if wrong:
        raise typer.Exit(1)
    if check and not json:
        typer.echo("Everything adds up.")


def _disagreement(wrong: Disagreement) -> dict[str, object]:
    begin, counts = iso(wrong.hour.begin_us), wrong.counts
    if not counts.add_up():
        said = f"{counts.received} received, but {counts.accepted} accepted"
        said += f" + {counts.duplicate} duplicate + {counts.rejected} rejected"
    else:
        said = f"{wrong.events} as kept events, but only {counts.accepted} as accepted commands"
    detail = f"{begin}, {wrong.hour.source}: {said}."
    return {
        "hour": begin,
        "source": wrong.hour.source,
        **counts._asdict(),
        "events": wrong.events,
        "detail": detail,
    }


def list_rejections(
    project_token: ProjectToken,
    reason: Reason = None,
    state: State = None,
    since: Since = None,
    until: Until = None,
    q: Annotated[
        str | None, typer.Option("--q", metavar="TEXT", help="This text stands in the body as it came.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Show what was refused, the newest first."""
    settings = settings_or_exit()
    question = question_of(
        RejectionsQuestion,
        settings,
        reason=reason,
        state=state,
        since=since,
        until=until,
        q=q,
        limit=limit,
        cursor=cursor,
    )
    with opened(settings) as engine, reports.reading(engine) as connection:
        page = refused.rejections_page(
            connection,
            project_of(connection, project_token),
            question.filter(question.q),
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
) -> None:
    """Show one rejection with its body as it was received, and what was done about it."""
    with opened() as engine, reports.reading(engine) as connection:
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
        typer.echo(f"{name:12} {printable(str(value))}")
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
    in_base64 = document.body is None
    typer.echo("\nbody, in base64" if in_base64 else "\nbody")
    for line in (document.body or document.body_base64 or "").split("\n"):
        typer.echo(printable(line))


def show_summary(
    project_token: ProjectToken,
    reason: Reason = None,
    state: State = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Show how often something was refused, by reason."""
    settings = settings_or_exit()
    question = question_of(WhichRejections, settings, reason=reason, state=state, since=since, until=until)
    with opened(settings) as engine, reports.reading(engine) as connection:
        found = refused.summary(connection, project_of(connection, project_token), question.filter())
    document = SummaryDocument.of(found)
    if json:
        answer_json(document.model_dump())
    else:
        cells = [(each.reason, each.count, each.first_seen, each.last_seen) for each in document.data]
        write_table(("reason", "count", "first seen", "last seen"), cells)
