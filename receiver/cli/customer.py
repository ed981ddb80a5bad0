"""``receiver customer``: everything about one customer on one screen."""

from typing import Annotated

import typer

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
from receiver.cli.session import failed, settings_or_exit
from receiver.cli.showing import write_table
from receiver.domain.moments import iso
from receiver.store import reports
from receiver.store.customer_story import Story, place_of, story
from receiver.web.customer import NOBODY
from receiver.web.customer_documents import StoryQuestion, story_cursor, story_json
from receiver.web.customer_words import said


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("customer")(show_customer)


def show_customer(
    project_token: ProjectToken,
    customer: Annotated[
        str, typer.Argument(metavar="NAME=VALUE", help="Who holds this ID now, as registered=X.")
    ],
    limit: Limit = 100,
    cursor: Cursor = None,
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show everything about one customer: IDs, properties, and all that happened, the newest first."""
    settings = settings_or_exit()
    question = question_of(StoryQuestion, settings, customer=customer, limit=limit, cursor=cursor)
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        found = story(connection, project_id, question.customer, after=question.cursor, limit=question.limit)
        if found is None:
            raise failed(NOBODY)
    if json:
        typer.echo(story_json(found))
    else:
        _show(found)


def _show(found: Story) -> None:
    write_table(("ID", "value", "used last"), [(kind, value, iso(at)) for kind, value, at in found.ids])
    if found.properties:
        typer.echo()
        write_table(
            ("property", "value", "set"), [(name, value, iso(at)) for name, value, at in found.properties]
        )
    if found.suppressions:
        typer.echo()
        rows = [
            (each.kind, each.note, iso(each.created_us), _lifted(each.lifted_us))
            for each in found.suppressions
        ]
        write_table(("gets no letter", "why", "since", "until"), rows)
    typer.echo()
    write_table(("time", "what"), [(iso(place_of(each).at_us), said(each)) for each in found.timeline])
    if found.next:
        typer.echo(f"There is more: --cursor {story_cursor(found.next)}", err=True)


def _lifted(time_us: int | None) -> str | None:
    return None if time_us is None else iso(time_us)
