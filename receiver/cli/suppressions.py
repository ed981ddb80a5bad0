"""``receiver suppressions``: who gets no letter."""

import time
from collections.abc import Sequence
from contextlib import closing
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
    project_of,
    question_of,
)
from receiver.cli.session import answer_json, failed, opened, settings_or_exit
from receiver.cli.showing import write_table
from receiver.inbound.deliveries import Policy
from receiver.outbound.suppressing import suppress
from receiver.settings import Settings
from receiver.store import reports, suppressions, writes
from receiver.store.mailings import Kind
from receiver.store.sets import Ledger
from receiver.web.mailing_documents import (
    LiftedDocument,
    SuppressionDocument,
    SuppressionsDocument,
    suppressions_of,
)
from receiver.web.mailing_questions import NewSuppression, SuppressionsQuestion, WhichToLift

Customer = Annotated[
    str | None, typer.Option(metavar="NAME=VALUE", help="Who holds this ID, as registered=X.")
]
OfKind = Annotated[str | None, typer.Option(metavar="KIND", help=f"Only {' or '.join(Kind)}.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Who gets no letter, and why.")
    group.command("list")(list_suppressions)
    group.command("add")(add)
    group.command("lift")(lift)
    app.add_typer(group, name="suppressions")


def list_suppressions(
    project_token: ProjectToken,
    kind: OfKind = None,
    customer: Customer = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show who gets no letter, the newest first."""
    settings = settings_or_exit()
    question = question_of(
        SuppressionsQuestion,
        settings,
        kind=kind,
        customer=customer,
        all=all_,
        limit=limit,
        cursor=cursor,
    )
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        wanted = question.filter(connection, project_id)
        page = suppressions.suppressions_page(
            connection, project_id, wanted, after=question.cursor, limit=question.limit
        )
    document = SuppressionsDocument.of(page)
    if json:
        answer_json(document.model_dump())
        return
    _show(document.data)
    if document.next:
        typer.echo(f"There is more: --cursor {document.next}", err=True)


def add(
    project_token: ProjectToken,
    customer: Annotated[
        str, typer.Option(metavar="NAME=VALUE", help="An ID, as registered=X; also of somebody new.")
    ],
    kind: Annotated[
        str,
        typer.Option(metavar="KIND", help="objection: for good; bad_address: until the address changes."),
    ],
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    json: Json = False,
) -> None:
    """Let somebody get no letter.  An open suppression that says the same stands."""
    settings = settings_or_exit()
    # Read twice: as an ID on the command line, and as one that a customer may be made of.
    named = question_of(SuppressionsQuestion, settings, customer=customer).customer
    ids = dict([named]) if named else {}
    new = question_of(NewSuppression, settings, customer_ids=ids, kind=kind, note=note)
    with opened(settings) as engine:
        project_id = project_in(engine, project_token)
        number = _suppress(engine, settings, project_id, new)
        _answer(engine, project_id, [number], json=json, alone=True)


def _suppress(engine: Engine, settings: Settings, project_id: int, new: NewSuppression) -> int:
    with closing(Ledger(engine)) as ledger, ledger.transaction() as transaction:
        return suppress(
            transaction,
            project_id,
            new.customer_ids,
            new.kind,
            new.note or "",
            Policy.of(settings),
            _now_us(),
        )


def lift(
    project_token: ProjectToken,
    number: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="See `receiver suppressions list`.")
    ] = None,
    customer: Customer = None,
    kind: OfKind = None,
    json: Json = False,
) -> None:
    """Let somebody get letters again: by the ID of one suppression, or all of a customer."""
    settings = settings_or_exit()
    which = question_of(WhichToLift, settings, id=number, customer=customer, kind=kind)
    with opened(settings) as engine:
        project_id = project_in(engine, project_token)
        with closing(Ledger(engine)) as ledger, ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            if which.customer is None:
                lifted = suppressions.lift(transaction, project_id, which.id or 0, _now_us())
            else:
                lifted = suppressions.lift_of(transaction, project_id, which.customer, which.kind, _now_us())
        if not lifted:
            raise failed("There is no such suppression, or none that is still open.")
        _answer(engine, project_id, lifted, json=json)


def _answer(
    engine: Engine, project_id: int, numbers: Sequence[int], *, json: bool, alone: bool = False
) -> None:
    with reports.reading(engine) as connection:
        rows = list(suppressions_of(suppressions.find(connection, project_id, numbers)))
    if not json:
        _show(rows)
    else:
        answer_json((rows[0] if alone else LiftedDocument(data=rows)).model_dump())


def _show(rows: Sequence[SuppressionDocument]) -> None:
    head = ("id", "kind", "customer", "letter", "note", "since", "lifted")
    cells = [
        (row.id, row.kind.value, _ids(row), row.mailing_id, row.note, row.created_at, row.lifted_at)
        for row in rows
    ]
    write_table(head, cells)


def _ids(row: SuppressionDocument) -> str:
    return " ".join(f"{kind}={value}" for kind, values in row.customer_ids.items() for value in values)


def _now_us() -> int:
    return time.time_ns() // 1000
