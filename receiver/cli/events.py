"""``receiver events`` and ``outcomes``: what analysts ask."""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from json import loads
from pathlib import Path
from typing import Annotated, Literal

import typer

from receiver.cli import progress
from receiver.cli.questions import Json, ProjectToken, Since, Until, project_in, project_of, question_of
from receiver.cli.session import answer_json, failed, opened, settings_or_exit
from receiver.cli.showing import Cells, opened_for_writing, write_table
from receiver.domain.moments import day, iso
from receiver.store import export, outcomes, parquet, refusal_counts, reports
from receiver.store.outcomes import Counts, Disagreement
from receiver.store.refusal_counts import Miscount
from receiver.store.reports import EventRow
from receiver.web.documents import OutcomesDocument
from receiver.web.event_questions import WhichEvents
from receiver.web.questions import Period


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("events")(show_events)
    app.command("outcomes")(show_outcomes)


_Pages = Iterator[list[EventRow]]
_Format = Literal["table", "jsonl", "csv", "parquet"]


def show_events(
    project_token: ProjectToken,
    customer: Annotated[
        str | None, typer.Option(metavar="NAME=VALUE", help="Of who holds this ID now, as registered=X.")
    ] = None,
    campaign: Annotated[str | None, typer.Option(metavar="REF", help="Of this campaign.")] = None,
    status: Annotated[str | None, typer.Option(metavar="WORD", help="With this word of the sender.")] = None,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="With this stage.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type.")] = None,
    of_property: Annotated[
        str | None,
        typer.Option("--property", metavar="NAME=VALUE", help="With this property, as variation=B."),
    ] = None,
    since: Since = None,
    until: Until = None,
    received_since: Annotated[
        str | None, typer.Option(metavar="ISO", help="Arrived from this time on.")
    ] = None,
    received_until: Annotated[
        str | None, typer.Option(metavar="ISO", help="Arrived before this time.")
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Not the newest first.")] = False,
    form: Annotated[_Format, typer.Option("--format", help="A table, or all of it.")] = "table",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many; 100 in a table.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write, if not here.")
    ] = None,
) -> None:
    """Show events, the newest first unless told."""
    settings = settings_or_exit()
    which = {"customer": customer, "campaign": campaign, "status": status, "stage": stage, "type": event_type}
    arrived = {"received_since": received_since, "received_until": received_until}
    wanted = question_of(
        WhichEvents, settings, **which, property=of_property, since=since, until=until, **arrived
    ).filter()
    if form == "parquet":
        _see_that_parquet_can_be_written(output)
    if limit is None and form == "table":
        limit = 100
    with opened(settings) as engine:
        pages = reports.all_events(
            engine, project_in(engine, project_token), wanted, limit=limit, oldest_first=oldest_first
        )
        if output is None:
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
        wrong: list[dict[str, object]] = []
        if check:
            disagreements = outcomes.disagreements(connection, project_id, period.since, period.until)
            miscounts = refusal_counts.miscounts(connection, project_id)
            wrong = [*map(_disagreement, disagreements), *map(_miscount, miscounts)]
    if json:
        document = OutcomesDocument.of(found).model_dump()
        answer_json({**document, "disagreements": wrong} if check else document)
    else:
        rows = [(day(span.begin_us), span.source, *counts) for span, counts in found.items()]
        write_table(("day", "source", *Counts._fields), rows)
    for each in wrong:
        typer.echo(each["detail"], err=True)
    if wrong:
        raise typer.Exit(1)
    if check and not json:
        typer.echo("Everything adds up.")


def _miscount(wrong: Miscount) -> dict[str, object]:
    detail = f"{wrong.what}: {wrong.kept} by the rejections themselves, {wrong.counted} by their counters."
    return {**wrong._asdict(), "detail": detail}


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
