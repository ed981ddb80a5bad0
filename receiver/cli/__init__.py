"""The commands: ``receiver ...``.  Each module of this room adds its own."""

from importlib import metadata
from typing import Annotated

import typer

from receiver.cli import demo, keys, mailings, reads, sending, serving, simulating, suppressions


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="receiver",
        help="The two-way gateway between Bloomreach Engagement and Optilyz direct mail.",
        no_args_is_help=True,
        add_completion=False,
        # Pretty tracebacks can print local variables, and with them secrets.
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for module in (serving, keys, reads, sending, mailings, suppressions, simulating, demo):
        module.register(app)
    return app


def main() -> None:
    """The console script."""
    build()()


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"receiver {metadata.version('receiver')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version.")
    ] = False,
) -> None:
    """What stands before a command."""
