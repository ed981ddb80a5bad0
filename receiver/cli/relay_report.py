"""``receiver relay status``: how it goes with what is relayed, and whether it adds up."""

import time
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer
from sqlalchemy import Connection

from receiver.cli.questions import Json, ShowSql, asking
from receiver.cli.relay_settings import relay_needs
from receiver.cli.session import answer_json, failed, settings_or_exit
from receiver.cli.showing import Cells, printable, write_table
from receiver.domain.moments import iso
from receiver.settings import Settings
from receiver.store import keys, outbox, relay_pump, relay_status, reports, set_aside
from receiver.store.keys import Project
from receiver.store.relay_pump import Pump
from receiver.store.relay_status import Kept, Totals
from receiver.web.relay_documents import RelayDocument


def register(relay: typer.Typer) -> None:
    """Add the command of this module to the group."""
    relay.command("status")(show_status)


class _Found(NamedTuple):
    """How it goes, of all projects together and of each."""

    settings: Settings
    now_us: int
    on: bool
    pump: Pump
    of_each: list[tuple[Project, RelayDocument]]


def show_status(
    json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare what was counted with what is there; exit code 1.")
    ] = False,
    show_sql: ShowSql = False,
) -> None:
    """Show whether events are relayed, what waits, how quickly it leaves, and what was set aside and why."""
    settings = settings_or_exit()
    with asking(settings, show_sql=show_sql) as engine, reports.reading(engine) as connection:
        found = _find(connection, settings)
        wrong = list(_differences(connection, found)) if check else []
    if json:
        answer_json(_answer(found) | ({"differences": wrong} if check else {}))
    else:
        _show(found)
        if check and not wrong:
            typer.echo("\nIt adds up: what was counted as waiting and as set aside is there.")
    if wrong:
        raise failed("\n".join(wrong))


def _find(connection: Connection, settings: Settings) -> _Found:
    now_us = time.time_ns() // 1000
    of_each = []
    for project in keys.projects(connection):
        status = relay_status.status(connection, project.id, now_us)
        hours = relay_status.last_hours(connection, project.id, now_us)
        groups = set_aside.aside_summary(connection, project.id)
        of_each.append((project, RelayDocument.of(status, hours, groups, settings)))
    return _Found(settings, now_us, outbox.is_on(connection), relay_pump.read(connection), of_each)


def _differences(connection: Connection, found: _Found) -> Iterator[str]:
    """A sentence for each project and state of which the outbox holds more or fewer than were counted."""
    counted = {each.project_id: each for each in relay_status.totals(connection)}
    kept = {each.project_id: each for each in relay_status.kept(connection)}
    names = {project.id: f"Project {project.token}" for project, _ in found.of_each}
    for number in sorted(counted.keys() | kept.keys()):
        totals = counted.get(number, Totals(number, 0, 0, 0, 0, 0, 0, None))
        rows = kept.get(number, Kept(number, 0, 0))
        for what, said, there in (
            ("waiting", totals.waiting, rows.waiting),
            ("set aside", totals.aside, rows.aside),
        ):
            if said != there:
                name = names.get(number, f"Project number {number}, of which nothing is known")
                yield f"{name}: counted as {what} were {said} commands, and {there} are there."


# -- for machines ---------------------------------------------------------------------------------

_SUMS = ("given", "waiting", "withdrawn", "discarded")
_OF_ALL = {"on", "missing_settings", "sent_at", "per_second", "problem", "problem_since", "next_try"}


def _answer(found: _Found) -> dict[str, object]:
    """Of each project what /relay answers, and what they have in common once."""
    documents = [document for _, document in found.of_each]
    common = documents[0].model_dump(include=_OF_ALL) if documents else {}
    return common | {
        "on": found.on,
        "missing_settings": found.settings.missing_for_relay,
        "leased_until": _leased_until(found),
        "total": {
            **{name: sum(getattr(each, name) for each in documents) for name in _SUMS},
            "sent": {
                name: sum(getattr(each.sent, name) for each in documents)
                for name in ("total", "this_hour", "last_24_hours")
            },
            "set_aside": sum(each.set_aside.commands for each in documents),
            "oldest_at": min((each.oldest_at for each in documents if each.oldest_at), default=None),
        },
        "projects": [
            {"project": project.token, "name": project.name, **document.model_dump(exclude=_OF_ALL)}
            for project, document in found.of_each
        ],
    }


def _leased_until(found: _Found) -> str | None:
    return iso(found.pump.until_us) if found.pump.until_us > found.now_us else None


# -- for people -----------------------------------------------------------------------------------


def _show(found: _Found) -> None:
    for name, value in _lines(found):
        typer.echo(f"{name:10} {value}")
    if not found.of_each:
        return
    typer.echo()
    head = ("project", "state", "given", "waiting", "oldest", "sent", "this hour", "24 hours")
    rows = [_cells(project.token, document.state.value, document) for project, document in found.of_each]
    write_table((*head, "set aside", "withdrawn", "discarded"), [*rows, _sum(found)])
    groups = [
        (project.token, each.reason.value, each.message, each.commands, each.first_at, each.last_at)
        for project, document in found.of_each
        for each in document.set_aside.groups
    ]
    if groups:
        typer.echo()
        write_table(("set aside of", "reason", "message", "commands", "first", "last"), groups)


def _lines(found: _Found) -> Iterator[tuple[str, str]]:
    pump = found.pump
    yield "relay", "on" if found.on else "off"
    if found.settings.missing_for_relay:
        yield "settings", relay_needs(found.settings)
    until = _leased_until(found)
    nobody = "nobody just now" if any(each.waiting for _, each in found.of_each) else "- (nothing waits)"
    yield "relayed by", f"a process, whose right to it lasts until {until}" if until else nobody
    rate = next((document.per_second for _, document in found.of_each), None)
    yield "rate", "-" if rate is None else f"{rate} commands a second"
    yield "last sent", "-" if pump.sent_us is None else iso(pump.sent_us)
    if pump.problem:
        yield "problem", printable(pump.problem)
        yield "since", "-" if pump.problem_us is None else iso(pump.problem_us)
        yield "next try", iso(pump.open_us) if pump.open_us > found.now_us else "now"


def _cells(name: str, state: str, document: RelayDocument) -> Cells:
    sent, kept = document.sent, document.set_aside.commands
    numbers = (sent.total, sent.this_hour, sent.last_24_hours, kept, document.withdrawn, document.discarded)
    return name, state, document.given, document.waiting, document.oldest_at, *numbers


def _sum(found: _Found) -> Cells:
    _, *columns = zip(*(_cells("", "", document) for _, document in found.of_each), strict=True)
    return ["all", *(_added(column) for column in columns)]


def _added(column: Cells) -> int | None:
    numbers = [each for each in column if isinstance(each, int)]
    return sum(numbers) if len(numbers) == len(column) else None
