"""``receiver events`` and ``outcomes``: what analysts ask."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, starmap
from json import loads
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from sqlalchemy import Connection

from receiver.cli import progress
from receiver.cli.questions import (
    Json,
    ProjectToken,
    ShowSql,
    Since,
    Until,
    asking,
    project_in,
    project_of,
    question_of,
)
from receiver.cli.session import answer_json, failed, settings_or_exit
from receiver.cli.showing import Cells, opened_for_writing, printable, write_table
from receiver.cli.which_events import (
    Campaign,
    Customer,
    Property,
    ReceivedSince,
    ReceivedUntil,
    Stage,
    Status,
    Type,
    Variation,
)
from receiver.domain.moments import day, iso
from receiver.store import export, outcomes, parquet, recounting, refusal_counts, reports
from receiver.store.outcomes import Counts, Disagreement, OfCampaign
from receiver.store.refusal_counts import Miscount
from receiver.store.reports import EventRow, Fields
from receiver.store.writes import Source
from receiver.web.event_questions import WhichEvents
from receiver.web.outcome_documents import OutcomesDocument
from receiver.web.questions import OutcomesQuestion


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("events")(show_events)
    app.command("outcomes")(show_outcomes)


_Pages = Iterator[list[Any]]
_Format = Literal["table", "jsonl", "csv", "parquet"]
_MADE: dict[_Format, Callable[[Fields], object]] = {
    "table": EventRow._make,
    "jsonl": export.event_json,
    "csv": export.cells,
    "parquet": EventRow._make,
}


def show_events(
    project_token: ProjectToken,
    customer: Customer = None,
    campaign: Campaign = None,
    status: Status = None,
    stage: Stage = None,
    event_type: Type = None,
    variation: Variation = None,
    of_property: Property = None,
    since: Since = None,
    until: Until = None,
    received_since: ReceivedSince = None,
    received_until: ReceivedUntil = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Not the newest first.")] = False,
    form: Annotated[_Format, typer.Option("--format", help="A table, or all of it.")] = "table",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many; 100 in a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write, if not here.")
    ] = None,
    show_sql: ShowSql = False,
) -> None:
    """Show events, the newest first unless told."""
    settings = settings_or_exit()
    words = {"campaign": campaign, "status": status, "stage": stage, "type": event_type}
    others = {"customer": customer, "variation": variation, "property": of_property}
    arrived = {"received_since": received_since, "received_until": received_until}
    wanted = question_of(
        WhichEvents, settings, **words, **others, since=since, until=until, **arrived
    ).filter()
    if form == "parquet" and not show_sql:
        _see_that_parquet_can_be_written(output)
    if limit is None and form == "table":
        limit = 100
    with asking(settings, show_sql=show_sql) as engine:
        project_id = project_in(engine, project_token)
        pages = reports.all_events(
            engine, project_id, wanted, _MADE[form], limit=limit, oldest_first=oldest_first
        )
        if show_sql:
            next(pages)
        elif output is None:
            _write(pages, form, None)
        else:
            with progress.shown("Writing events") as report:
                _write(_told(pages, report), form, output)


def _see_that_parquet_can_be_written(output: Path | None) -> None:
    if not parquet.is_installed():
        raise failed(parquet.MISSING)
    if output is None and sys.stdout.isatty():
        raise typer.BadParameter("--format: Parquet is nothing to look at; name a file with -o.")


def _told(pages: _Pages, report: Callable[[int], None]) -> _Pages:
    """The same *pages*; how many events they hold is told when they are written."""
    for page in pages:
        yield page
        report(len(page))


def _write(pages: _Pages, form: _Format, output: Path | None) -> None:
    if form == "table":
        write_table(_HEAD, map(_cells, chain.from_iterable(pages)), output)
        return
    with opened_for_writing(output) as file:
        file.writelines(_parts(pages, form))


def _parts(pages: _Pages, form: _Format) -> Iterable[bytes]:
    if form == "parquet":
        return parquet.parquet_parts(pages)
    texts = export.csv_lines(pages) if form == "csv" else export.json_lines(pages)
    return (text.encode() for text in texts)


_HEAD = ("happened", "customer", "type", "campaign", "status", "stage", "id")


def _cells(event: EventRow) -> Cells:
    ids = " ".join(f"{kind}={value}" for kind, value in loads(event.ids).items())
    return iso(event.occurred_us), ids, event.type, event.campaign, event.status, event.stage, event.id


def show_outcomes(
    project_token: ProjectToken,
    by: Annotated[
        Literal["day", "campaign"], typer.Option(help="A row for each day (UTC), or each campaign.")
    ] = "day",
    campaign: Annotated[
        str | None, typer.Option(metavar="REF", help="Only of this campaign; all are checked.")
    ] = None,
    since: Since = None,
    until: Until = None,
    check: Annotated[
        bool, typer.Option("--check", help="Recompute, and exit with 1 when something does not add up.")
    ] = False,
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show what became of all commands, by day (UTC), or by campaign beside its letters."""
    settings = settings_or_exit()
    asked = question_of(OutcomesQuestion, settings, by=by, campaign=campaign, since=since, until=until)
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        document, head, rows = _outcomes(connection, project_id, asked)
        wrong = list(_found_wrong(connection, project_id, asked)) if check else []
    if json:
        shown = document.model_dump(exclude_unset=True)
        answer_json({**shown, "disagreements": wrong} if check else shown)
    else:
        write_table(head, rows)
    for each in wrong:
        typer.echo(printable(str(each["detail"])), err=True)
    if wrong:
        raise typer.Exit(1)
    if check and not json:
        typer.echo("Everything adds up.")


def _outcomes(
    connection: Connection, project_id: int, asked: OutcomesQuestion
) -> tuple[OutcomesDocument, Sequence[str], Iterable[Cells]]:
    """The answer as a document, and as the head and the rows of a table."""
    period = asked.since, asked.until
    if asked.by == "campaign":
        campaigns = outcomes.campaigns(connection, project_id, *period, campaign=asked.campaign)
        head = ("campaign", "source", *Counts._fields, "sent", "heard", "letters")
        document = OutcomesDocument.by_campaign(campaigns)
        return document, head, chain.from_iterable(starmap(_rows_of_campaign, campaigns.items()))
    days = outcomes.outcomes(connection, project_id, *period, campaign=asked.campaign)
    rows = [(day(span.begin_us), span.source, *counts) for span, counts in days.items()]
    return OutcomesDocument.of(days), ("day", "source", *Counts._fields), rows


def _rows_of_campaign(campaign: str, found: OfCampaign) -> Iterator[Cells]:
    """A row for each source; what is known of the letters stands beside what their sender sent."""
    of_letters = found.sent, found.heard, found.letters
    for source, counts in {Source.CALLBACK: Counts(), **found.counts}.items():
        yield (campaign, source, *counts, *(of_letters if source == Source.CALLBACK else [None] * 3))


def _found_wrong(
    connection: Connection, project_id: int, asked: OutcomesQuestion
) -> Iterator[dict[str, object]]:
    hours = outcomes.disagreements(connection, project_id, asked.since, asked.until)
    yield from map(_disagreement, hours)
    if len(hours) == outcomes.MOST_DISAGREEMENTS:
        yield {"detail": "There may be more: no further hours were compared."}
    for wrong in refusal_counts.miscounts(connection, project_id):
        yield _miscount(wrong, "the rejections themselves", "their counters")
    for wrong in recounting.miscounts(connection, project_id):
        yield _miscount(wrong, "the events themselves", "what is kept of them")


def _miscount(wrong: Miscount, truth: str, count: str) -> dict[str, object]:
    detail = f"{wrong.what}: {wrong.kept} by {truth}, {wrong.counted} by {count}."
    return {**wrong._asdict(), "detail": detail}


def _disagreement(wrong: Disagreement) -> dict[str, object]:
    begin, counts = iso(wrong.hour.begin_us), wrong.counts
    if not counts.add_up():
        said = f"{counts.received} received, but {counts.accepted} accepted"
        said += f" + {counts.duplicate} duplicate + {counts.rejected} rejected"
    elif wrong.counted > counts.accepted:
        said = f"{wrong.counted} counted as events, but only {counts.accepted} as accepted commands"
    else:
        said = f"{wrong.events} as kept events, but {wrong.counted} as counted ones"
    where = f"{begin}, {wrong.hour.source}"
    if wrong.campaign is not None:
        where += f", campaign {wrong.campaign}" if wrong.campaign else ", without a campaign"
    return {
        "hour": begin,
        "source": wrong.hour.source,
        "campaign": wrong.campaign,
        **counts._asdict(),
        "counted": wrong.counted,
        "events": wrong.events,
        "detail": f"{where}: {said}.",
    }
