"""``receiver funnel``: one campaign, as far as its letters came or by when they did."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from receiver.cli.campaigns import (
    RATES,
    Csv,
    Output,
    percent,
    rates,
    see_that_one_form_is_asked,
    write_document,
    write_text,
)
from receiver.cli.questions import Json, ProjectToken, ShowSql, asking, project_of, question_of
from receiver.cli.session import failed, settings_or_exit
from receiver.cli.showing import Cells, write_table
from receiver.domain.local_time import Span
from receiver.domain.stages import STAGES
from receiver.store import reports
from receiver.store.campaigns import find_campaign
from receiver.store.series import TooLong, find_series
from receiver.web.campaign_documents import FunnelDocument, LettersFollowedDocument, SeriesDocument
from receiver.web.campaign_questions import SeriesQuestion, is_reference
from receiver.web.campaign_tables import BESIDE, NONE, funnel_csv, groups, series_csv
from receiver.web.campaigns import UNHEARD, too_long


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("funnel")(show_funnel)


def show_funnel(
    project_token: ProjectToken,
    reference: Annotated[str, typer.Argument(metavar="REF", help="The campaign reference.")],
    by: Annotated[
        Span | None, typer.Option(help="Not how far letters came, but when they reached each stage.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="With --by: as Europe/Berlin; UTC unless told.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="ISO", help="With --by: from this time on; in that zone.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="ISO", help="With --by: before this time; in that zone.")
    ] = None,
    variations: Annotated[
        bool, typer.Option("--variations", help="With --by: a row for each variation.")
    ] = False,
    json: Json = False,
    as_csv: Csv = False,
    output: Output = None,
    show_sql: ShowSql = False,
) -> None:
    """Show how far the letters of one campaign came, how long it took them, and what is silent."""
    see_that_one_form_is_asked(json=json, as_csv=as_csv)
    if by is None and output is not None and not (json or as_csv):
        raise typer.BadParameter("--output: give --json or --csv with it, or --by.")
    settings = settings_or_exit()
    options = {"timezone": timezone, "since": since, "until": until, "variations": variations or None}
    if by is None and (given := [name for name, value in options.items() if value is not None]):
        raise typer.BadParameter(" ".join(f"--{name}: only with --by." for name in given))
    question = question_of(SeriesQuestion, settings, bucket=by, **options)
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        found: FunnelDocument | SeriesDocument | None = None
        if is_reference(reference) and by is None:
            found = _funnel(connection, project_id, reference)
        elif is_reference(reference):
            found = _series(connection, project_id, reference, question)
        if found is None:
            raise failed(UNHEARD)
    if json:
        write_document(found, output)
    elif isinstance(found, SeriesDocument):
        _write_series(found, by_variation=variations, as_csv=as_csv, output=output)
    elif as_csv:
        write_text(funnel_csv(found), output)
    else:
        _show(found)


def _funnel(connection: Connection, project_id: int, reference: str) -> FunnelDocument | None:
    found = find_campaign(connection, project_id, reference, now_us=time.time_ns() // 1000)
    return None if found is None else FunnelDocument.of(found)


def _series(
    connection: Connection, project_id: int, reference: str, question: SeriesQuestion
) -> SeriesDocument | None:
    wanted = question.wanted()
    series = find_series(connection, project_id, reference, wanted)
    if isinstance(series, TooLong):
        raise failed(too_long(series))
    return None if series is None else SeriesDocument.of(reference, wanted, series)


# -- the funnel -----------------------------------------------------------------------------------


def _show(funnel: FunnelDocument) -> None:
    head = ("first event", "last event", "events", "letters", "mailed", *RATES)
    when = funnel.first_event, funnel.last_event
    write_table(head, [(*when, funnel.events, funnel.letters, funnel.mailed, *rates(funnel))])
    _show_groups(("stage", "letters", "reached", "of mailed", "of step before"), funnel, _steps)
    _show_groups(("since", "stage", "letters", "median", "p90"), funnel, _times)
    heard = [(each.status, each.stage, each.events) for each in funnel.events_by_status]
    _show_more(("status", "stage", "events"), heard)
    _show_more(("mailings", "number"), [(state.value, number) for state, number in funnel.mailings.items()])
    silent = [
        (_days(each.from_days, each.to_days), each.mailings)
        for each in funnel.silent_mailings
        if each.mailings
    ]
    _show_more(("days silent", "mailings"), silent)


def _show_groups(
    head: Sequence[str], funnel: FunnelDocument, cells: Callable[[LettersFollowedDocument], Iterator[Cells]]
) -> None:
    if not funnel.variations:
        _show_more(head, list(cells(funnel)))
        return
    rows = [(name, *row) for name, letters in groups(funnel) for row in cells(letters)]
    _show_more(("variation", *head), rows)


def _show_more(head: Sequence[str], rows: Sequence[Cells]) -> None:
    if rows:
        typer.echo()
        write_table(head, rows)


def _steps(letters: LettersFollowedDocument) -> Iterator[Cells]:
    for step in letters.funnel:
        shares = percent(step.of_mailed), percent(step.of_previous)
        yield step.stage, step.letters, step.reached, *shares
    for stage in BESIDE:
        if letters.stages[stage]:
            yield stage, letters.stages[stage], None, None, None


def _times(letters: LettersFollowedDocument) -> Iterator[Cells]:
    for each in letters.times:
        yield each.since, each.stage, each.letters, _long(each.median_seconds), _long(each.p90_seconds)


def _long(seconds: int) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds} s"


def _days(first: int, last: int | None) -> str:
    return f"{first} and more" if last is None else f"{first} to {last}"


# -- the series -----------------------------------------------------------------------------------


def _write_series(series: SeriesDocument, *, by_variation: bool, as_csv: bool, output: Path | None) -> None:
    if as_csv:
        write_text(series_csv(series, by_variation=by_variation), output)
        return
    head = ("begin", *(["variation"] * by_variation), *STAGES)
    rows = [
        (each.begin, *([each.variation or NONE] * by_variation), *each.stages.values())
        for each in series.data
    ]
    write_table(head, rows, output)
