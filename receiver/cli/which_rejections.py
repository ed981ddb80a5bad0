"""What the commands about rejections share: which ones, who does it, and how far it has come."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from sqlalchemy import Engine

from receiver.cli.session import failed
from receiver.inbound.bulk import Report
from receiver.inbound.rejections import Who
from receiver.store import refused, reports
from receiver.store.refused import KeptRejection

Reason = Annotated[str | None, typer.Option(metavar="CODE", help="All refused for this reason.")]
Since = Annotated[str | None, typer.Option(metavar="ISO", help="All seen from this time on.")]
Until = Annotated[str | None, typer.Option(metavar="ISO", help="All seen before this time.")]
Text = Annotated[str | None, typer.Option("--q", metavar="TEXT", help="All with this text in the body.")]

STOPPED = "Stopped; the same command goes on."
"""After a Ctrl-C."""


def given(options: dict[str, str | None]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


def found(engine: Engine, project_id: int, rejection_id: int) -> KeptRejection:
    with reports.reading(engine) as connection:
        kept = refused.find_rejection(connection, project_id, rejection_id)
    if kept is None:
        raise failed(f"There is no rejection {rejection_id} in this project.")
    return kept


def who() -> Who:
    return Who(None, time.time_ns() // 1000)


@contextmanager
def progress() -> Iterator[Report]:
    """How many were looked at, on standard error, where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("Looking at rejections"), BarColumn(), TextColumn("{task.completed}"))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("rejections", total=None)
        yield lambda more: bar.advance(task, more)
