"""What the commands about rejections share: which ones, who does it, and how far it has come."""

import inspect
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated

import typer
from sqlalchemy import Engine

from receiver.cli.progress import shown
from receiver.cli.session import failed
from receiver.inbound.bulk import Report
from receiver.inbound.rejections import Who
from receiver.store import refusal_counts, refused, reports
from receiver.store.refused import KeptRejection, RejectionFilter

Chosen = Mapping[str, str]

STOPPED = "Stopped; the same command goes on."
"""After a Ctrl-C."""

_OPTIONS = {
    "reason": ("CODE", "Refused for this reason."),
    "type": ("TYPE", "Of this type of event."),
    "campaign": ("REF", "Of this campaign."),
    "route": ("ROUTE", "Came in by this route, as customers/events."),
    "pointer": ("POINTER", "Failed at this place, as /customer_ids/registered."),
    "since": ("ISO", "Seen from this time on; UTC unless it says."),
    "until": ("ISO", "Seen before this time."),
    "q": ("TEXT", "With this text in the body, as it came."),
}
NAMES = ", ".join(f"--{name}" for name in _OPTIONS)
"""Of the options that say which rejections."""


def choosing(command: Callable[..., None], *, text: bool = True) -> Callable[..., None]:
    """*command* with the options that say which rejections; it takes those that were given as ``which``.

    Without *text* there is none for what stands in the body.
    """
    own = [each for each in inspect.signature(command).parameters.values() if each.name != "which"]
    names = [name for name in _OPTIONS if text or name != "q"]
    options = [
        inspect.Parameter(
            f"which_{name}",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(f"--{name}", metavar=metavar, help=words)],
        )
        for name, (metavar, words) in _OPTIONS.items()
        if name in names
    ]

    def chosen(**given: object) -> None:
        said = {name: given.pop(f"which_{name}") for name in names}
        command(**given, which={name: value for name, value in said.items() if value is not None})

    chosen.__name__, chosen.__doc__ = command.__name__, command.__doc__
    parameters = [*(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *options]
    chosen.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what the framework reads
    chosen.__annotations__ = {each.name: each.annotation for each in parameters}
    return chosen


def found(engine: Engine, project_id: int, rejection_id: int) -> KeptRejection:
    with reports.reading(engine) as connection:
        kept = refused.find_rejection(connection, project_id, rejection_id)
    if kept is None:
        raise failed(f"There is no rejection {rejection_id} in this project.")
    return kept


def who() -> Who:
    return Who(None, time.time_ns() // 1000)


def progress(engine: Engine, project_id: int, wanted: RejectionFilter) -> AbstractContextManager[Report]:
    """How many were looked at, of how many where that is known."""
    with reports.reading(engine) as connection:
        number = refusal_counts.how_many(connection, project_id, wanted)
    return shown("Looking at rejections", number)
