"""``receiver properties``: which properties events have, and the values of one."""

from typing import Annotated

import typer

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
from receiver.cli.session import answer_json, settings_or_exit
from receiver.cli.showing import write_table
from receiver.cli.which_events import (
    Campaign,
    Customer,
    Property,
    ReceivedSince,
    ReceivedUntil,
    Stage,
    Status,
    Type,
)
from receiver.domain.fields import is_storable
from receiver.domain.json_text import encode
from receiver.settings import Settings
from receiver.store import event_properties, reports
from receiver.web.event_properties import (
    PropertiesDocument,
    PropertiesQuestion,
    PropertyQuestion,
    ValuesDocument,
    values_json,
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("properties")(show_properties)


def show_properties(
    project_token: ProjectToken,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of which property to show the values.")
    ] = None,
    customer: Customer = None,
    campaign: Campaign = None,
    status: Status = None,
    stage: Stage = None,
    event_type: Type = None,
    of_property: Property = None,
    since: Since = None,
    until: Until = None,
    received_since: ReceivedSince = None,
    received_until: ReceivedUntil = None,
    json: Json = False,
    show_sql: ShowSql = False,
) -> None:
    """Show which properties events have, or how many events have each value of the one that is named."""
    settings = settings_or_exit()
    kinds = {"type": event_type, "campaign": campaign, "status": status, "stage": stage}
    arrived = {"received_since": received_since, "received_until": received_until}
    single = {"customer": customer, "property": of_property, "since": since, "until": until, **arrived}
    if name is None:
        if given := [option for option, value in single.items() if value is not None]:
            options = ", ".join(f"--{option.replace('_', '-')}" for option in given)
            raise typer.BadParameter(f"{options}: only for the values of one property; name it.")
        wanted = question_of(PropertiesQuestion, settings, **kinds)
        _show_all(project_token, wanted, settings, json=json, show_sql=show_sql)
    else:
        asked = question_of(PropertyQuestion, settings, **kinds, **single)
        _show_one(project_token, name, asked, settings, json=json, show_sql=show_sql)


def _show_all(
    project_token: str, question: PropertiesQuestion, settings: Settings, *, json: bool, show_sql: bool
) -> None:
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        project_id = project_of(connection, project_token)
        found = event_properties.known_properties(connection, project_id, question.filter())
    document = PropertiesDocument.of(found)
    if json:
        answer_json(document.model_dump())
        return
    rows = [(each.name, " ".join(each.types), _percent(each.share), each.kinds) for each in document.data]
    write_table(("property", "types", "share", "kinds"), rows)
    said = f"From a sample: {found.sampled:,} events of {found.kinds:,} kinds stand for {found.events:,}."
    typer.echo(said, err=True)


def _show_one(
    project_token: str,
    name: str,
    question: PropertyQuestion,
    settings: Settings,
    *,
    json: bool,
    show_sql: bool,
) -> None:
    if not is_storable(name):
        raise typer.BadParameter("NAME: Send valid Unicode without NUL.")
    # One page says how all are asked for.
    most_pages = 1 if show_sql else None
    with asking(settings, show_sql=show_sql) as engine, progress.shown("Reading events") as report:
        values, complete = event_properties.count_values(
            engine,
            project_in(engine, project_token),
            question.filter(),
            name,
            most_pages=most_pages,
            report=report,
        )
    text = values_json(name, values, complete=complete)
    if json:
        typer.echo(text)
        return
    found = ValuesDocument.model_validate_json(text)
    rows = [(encode(each.value), each.events, _percent(each.share), each.last_at) for each in found.data]
    write_table(("value", "events", "share", "last"), rows)
    said = f"Of {found.counted:,} events {found.without:,} do not have it"
    typer.echo(f"{said}, and {found.others:,} have values that are not listed.", err=True)


def _percent(share: float) -> str:
    return f"{share:.1%}"
