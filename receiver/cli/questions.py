"""What commands that ask have in common: the project, options read as HTTP would read them, and their SQL."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError
from sqlalchemy import Connection, Engine

from receiver.cli.session import failed, opened
from receiver.cli.showing import printable
from receiver.settings import Settings
from receiver.store import reports
from receiver.store.shown import listening
from receiver.web.answers import sentences
from receiver.web.questions import Parameters

ProjectToken = Annotated[str, typer.Argument(metavar="PROJECT_TOKEN", help="See `receiver project list`.")]
Since = Annotated[str | None, typer.Option(metavar="ISO", help="From this time on; UTC unless it says.")]
Until = Annotated[str | None, typer.Option(metavar="ISO", help="Before this time.")]
Limit = Annotated[int, typer.Option(metavar="N", help="At most so many, up to 1000.")]
Cursor = Annotated[str | None, typer.Option(help="Go on where a page ended.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")]
ShowSql = Annotated[
    bool, typer.Option("--show-sql", help="Not the report, but the statements that it is made with.")
]

Question = TypeVar("Question", bound=Parameters)


def question_of(model: type[Question], settings: Settings, **options: object) -> Question:
    """The options as HTTP would read them; a wrong one is wrong usage."""
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return model.model_validate(given, context=settings)
    except ValidationError as error:
        wrong = [f"{_option(where)}{said}" for where, said in sentences(error)]
        raise typer.BadParameter(" ".join(wrong)) from None


def _option(where: object) -> str:
    return f"--{str(where[0]).replace('_', '-')}: " if isinstance(where, tuple) and where else ""


def project_of(connection: Connection, token: str) -> int:
    """The number of the project, or the end of the command."""
    # A token is ASCII; a broken command line can hold what no database can be asked for.
    project_id = reports.find_project(connection, token) if token.isascii() else None
    if project_id is None:
        raise failed("There is no project with this token; `receiver project list` shows them all.")
    return project_id


def project_in(engine: Engine, token: str) -> int:
    """The same, where nothing else is read with it."""
    with reports.reading(engine) as connection:
        return project_of(connection, token)


@contextmanager
def asking(settings: Settings | None = None, *, show_sql: bool) -> Iterator[Engine]:
    """As `opened`, for a block that asks and leaves it to what follows to show the answer.

    Where the SQL is to be shown that is done at the end of the block, and the command ends there.
    """
    with opened(settings) as engine:
        if not show_sql:
            yield engine
            return
        heard, statements = listening(engine)
        yield heard
    for statement in statements:
        typer.echo(_shown(statement))
    raise typer.Exit


def _shown(statement: str) -> str:
    # What was read may stand in what is asked next; only a terminal has anything to fear from it.
    lines = statement.split("\n")
    return "\n".join(map(printable, lines) if sys.stdout.isatty() else lines) + ";"
