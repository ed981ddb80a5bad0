"""``receiver campaigns``: all of them, and how their reports are written."""

import json as json_text
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from receiver.cli.questions import (
    Cursor,
    Json,
    Limit,
    ProjectToken,
    ShowSql,
    Since,
    Until,
    asking,
    project_of,
    question_of,
)
from receiver.cli.session import settings_or_exit
from receiver.cli.showing import Cells, opened_for_writing, write_table
from receiver.domain.stages import FUNNEL, STAGES
from receiver.store import reports
from receiver.store.campaigns import campaigns_page
from receiver.store.export import defused
from receiver.web.campaign_documents import CampaignsDocument, LettersCountedDocument
from receiver.web.campaign_questions import CampaignsQuestion, campaign_cursor
from receiver.web.campaign_tables import NONE, csv_text

Csv = Annotated[bool, typer.Option("--csv", help="For spreadsheets.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write, if not here.")
]
RATES = ("delivered %", "returned %", "failed %")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("campaigns")(show_campaigns)


def show_campaigns(
    project_token: ProjectToken,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
    as_csv: Csv = False,
    output: Output = None,
    show_sql: ShowSql = False,
) -> None:
    """Show campaigns, the one that was heard of last first; of a period only those heard of within it."""
    see_that_one_form_is_asked(json=json, as_csv=as_csv)
    settings = settings_or_exit()
    question = question_of(CampaignsQuestion, settings, since=since, until=until, limit=limit, cursor=cursor)
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        page = campaigns_page(
            connection,
            project_of(connection, project_token),
            since_us=question.since,
            until_us=question.until,
            after=question.cursor,
            limit=question.limit,
        )
    document = CampaignsDocument.of(page, campaign_cursor(page.next))
    if json:
        write_document(document, output)
        return
    if as_csv:
        write_text(csv_text(_COLUMNS, _records(document)), output)
    else:
        head = ("campaign", "first event", "last event", "letters", "mailed", *_SHOWN, *RATES)
        write_table(head, _rows(document), output)
    if document.next:
        typer.echo(f"There is more: --cursor {document.next}", err=True)


_SHOWN = (*FUNNEL, "failed")
_COLUMNS = (
    *("campaign", "first_event", "last_event", "events", "letters", "mailed", *STAGES),
    *("delivered_rate", "returned_rate", "failed_rate"),
)


def _rows(document: CampaignsDocument) -> Iterator[Cells]:
    for each in document.data:
        days = each.first_event[:10], each.last_event[:10]
        stages = [each.stages[stage] for stage in _SHOWN]
        yield each.campaign or NONE, *days, each.letters, each.mailed, *stages, *rates(each)


def _records(document: CampaignsDocument) -> Iterator[Cells]:
    for each in document.data:
        counted = each.events, each.letters, each.mailed, *each.stages.values()
        shares = each.rates.model_dump().values()
        yield defused(each.campaign), each.first_event, each.last_event, *counted, *shares


# -- how reports about campaigns are written ------------------------------------------------------


def see_that_one_form_is_asked(*, json: bool, as_csv: bool) -> None:
    """Two of them are wrong usage."""
    if json and as_csv:
        raise typer.BadParameter("--json, --csv: give one of them.")


def write_document(document: BaseModel, path: Path | None) -> None:
    """The document as HTTP gives it."""
    text = json_text.dumps(document.model_dump(mode="json", exclude_unset=True), indent=2)
    write_text(f"{text}\n", path)


def write_text(text: str, path: Path | None) -> None:
    """To the file, or here."""
    with opened_for_writing(path) as file:
        file.write(text.encode())


def rates(counted: LettersCountedDocument) -> Sequence[str]:
    """As RATES."""
    return [percent(share) for share in counted.rates.model_dump().values()]


def percent(share: float | None) -> str:
    """For people."""
    return "" if share is None else f"{share:.1%}"
