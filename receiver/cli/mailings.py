"""``receiver mailings``: letters, and what became of them."""

import time
from typing import Annotated

import typer

from receiver.cli import deciding
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
from receiver.cli.session import answer_json, settings_or_exit
from receiver.cli.showing import Cells, write_table
from receiver.store import letters, reports
from receiver.store.mailings import State
from receiver.web.mailing_documents import MailingDocument, MailingsDocument, MailingsSummaryDocument
from receiver.web.mailing_questions import MailingsQuestion, WhichMailings

Campaign = Annotated[str | None, typer.Option(metavar="REF", help="Of this campaign.")]
Customer = Annotated[
    str | None, typer.Option(metavar="NAME=VALUE", help="Of who holds this ID now, as registered=X.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    mailings = typer.Typer(no_args_is_help=True, help="Letters, and what became of them.")
    mailings.command("list")(list_mailings)
    mailings.command("summary")(show_summary)
    deciding.register(mailings)
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
    show_sql: ShowSql = False,
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
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
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


def show_summary(
    project_token: ProjectToken,
    campaign: Campaign = None,
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show how many letters are in which state and why, and how far the queued ones have come."""
    settings = settings_or_exit()
    question = question_of(WhichMailings, settings, campaign=campaign)
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
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


def _now_us() -> int:
    return time.time_ns() // 1000
