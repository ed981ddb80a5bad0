"""``receiver reader``: who may read the views of a PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from sqlalchemy import Connection

from receiver.cli.session import answer_json, failed, opened
from receiver.store import readers
from receiver.store.readers import NewReader, ReaderRefused

Name = Annotated[str, typer.Argument(metavar="NAME", help="A user of the database server.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    reader = typer.Typer(no_args_is_help=True, help="Users of PostgreSQL who may read the views alone.")
    reader.command("create")(create)
    reader.command("drop")(drop)
    reader.command("list")(show)
    app.add_typer(reader, name="reader")


def create(name: Name, json: Json = False) -> None:
    """Make a reader with a password, which is shown here only; for one that is there, a new password."""
    with _connection() as connection:
        made = readers.create(connection, name)
    if json:
        answer_json({"name": made.name, "password": made.password, "url": made.url})
    else:
        typer.echo(_text(made))


def drop(name: Name) -> None:
    """Take a reader away."""
    with _connection() as connection:
        readers.drop(connection, name)
    typer.echo("The reader is gone; where it is still connected it can read nothing more.")


def show(json: Json = False) -> None:
    """Show the readers of this database."""
    with _connection() as connection:
        found = readers.readers(connection)
    if json:
        answer_json([{"name": name} for name in found])
    else:
        typer.echo("\n".join(found) or "There is no reader; make one with `receiver reader create NAME`.")


def _text(made: NewReader) -> str:
    return (
        f"Reader {made.name}\n\n"
        f"password  {made.password}\n"
        f"URL       {made.url}\n\n"
        "Write the password down: it is shown only now. An earlier one is no longer valid.\n"
        "The URL names the server as RECEIVER_DATABASE_URL does; from elsewhere it may have another name."
    )


@contextmanager
def _connection() -> Iterator[Connection]:
    """One transaction, committed at the end of the block; a refusal ends the command with its sentence."""
    with opened() as engine, engine.begin() as connection:
        try:
            yield connection
        except ReaderRefused as refusal:
            raise failed(str(refusal)) from None
