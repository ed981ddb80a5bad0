"""The commands: ``receiver ...``.  Each module of this room adds its own."""

import sys
from collections.abc import Mapping
from importlib import import_module, metadata
from typing import Annotated

import typer

MODULES: Mapping[str, tuple[str, ...]] = {
    "serving": ("serve", "migrate", "check"),
    "keys": ("project", "key"),
    "readers": ("reader",),
    "events": ("events", "outcomes"),
    "properties": ("properties",),
    "customer": ("customer",),
    "campaigns": ("campaigns",),
    "funnel": ("funnel",),
    "rejections": ("rejections",),
    "sending": ("send",),
    "mailings": ("mailings",),
    "suppressions": ("suppressions",),
    "relay": ("relay",),
    "simulating": ("simulate",),
    "demo": ("demo",),
}
"""The commands of each module."""


def build(command: str | None = None) -> typer.Typer:
    """The whole command line, or what is needed of it for one *command*: a start need not wait for what
    the others import."""
    app = typer.Typer(
        name="receiver",
        help="The two-way gateway between Bloomreach Engagement and Optilyz direct mail.",
        no_args_is_help=True,
        add_completion=False,
        # Pretty tracebacks can print local variables, and with them secrets.
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    wanted = [name for name, commands in MODULES.items() if command in commands] or MODULES
    for name in wanted:
        import_module(f"receiver.cli.{name}").register(app)
    return app


def main() -> None:
    """The console script."""
    build(sys.argv[1] if len(sys.argv) > 1 else None)()


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
