"""``receiver rejections replay``, ``repair`` and ``retry``: what was refused comes in once more."""

import json as json_text
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Engine

from receiver.cli import dismissing
from receiver.cli.questions import Json, ProjectToken, project_in, question_of
from receiver.cli.session import answer_json, failed, opened, settings_or_exit, stopping
from receiver.cli.showing import Cells, printable, write_table
from receiver.cli.which_rejections import NAMES, STOPPED, Chosen, choosing, found, progress, who
from receiver.domain.repairs import REPAIRS
from receiver.inbound import bulk, replaying
from receiver.inbound.bulk import Totals
from receiver.inbound.deliveries import Policy
from receiver.settings import Settings
from receiver.store import refused, reports
from receiver.store.sets import Ledger
from receiver.web.repair_documents import ReplayDocument, SampleDocument, TotalsDocument
from receiver.web.repair_questions import MatchingOpen, Replay, ReplayMatching

Id = Annotated[
    int | None, typer.Argument(metavar="[ID]", min=1, max=2**63 - 1, help="One; without it all that match.")
]
Repair = Annotated[str | None, typer.Option(metavar="NAMES", help="A repair, or several with commas.")]
Patch = Annotated[str | None, typer.Option(metavar="FILE_OR_TEXT", help="A JSON Patch.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would become of it.")]
Yes = Annotated[bool, typer.Option("--yes", "--apply", help="Do it to all that match.")]


def register(group: typer.Typer) -> None:
    """Add the commands of this module and of dismissing to the group."""
    for command in (choosing(replay), choosing(repair), retry):
        group.command(command.__name__)(command)
    dismissing.register(group)


def replay(
    project_token: ProjectToken,
    rejection_id: Id = None,
    repair: Repair = None,
    patch: Patch = None,
    body: Annotated[Path | None, typer.Option(metavar="FILE", help="Instead of what came.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
    *,
    which: Chosen,
) -> None:
    """Let open rejections come in once more, as they came or mended.

    Without an ID it is all that match, and a dry run unless --yes is there.
    """
    settings = settings_or_exit()
    mending = {"repair": repair, "patch": None if patch is None else _patch_of(patch)}
    if dry_run and yes:
        raise typer.BadParameter("Give --dry-run or --yes.")
    if rejection_id is None:
        if body is not None:
            raise typer.BadParameter("--body is for one rejection; give its ID.")
        wanted = question_of(MatchingOpen, settings, **which)
        matching = question_of(ReplayMatching, settings, filter=wanted, **mending, dry_run=not yes)
        _replay_matching(settings, project_token, matching, json=json)
        return
    if which:
        raise typer.BadParameter(f"Give an ID, or say which by {NAMES}.")
    text = None if body is None else _body_of(body)
    question = question_of(Replay, settings, body=text, **mending, dry_run=dry_run)
    _replay_one(settings, project_token, rejection_id, question, json=json)


def repair(
    project_token: ProjectToken,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID] [NAMES]", help="One rejection; without it all that match.  The repair."),
    ] = None,
    repair: Repair = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
    *,
    which: Chosen,
) -> None:
    """Mend open rejections by a named repair, and replay them.

    Without an ID it is all that match, and a dry run unless --yes is there.
    """
    numbers = [each for each in what or () if each.isdecimal()]
    names = [each for each in what or () if not each.isdecimal()]
    if len(numbers) > 1 or any(int(each) not in range(1, 2**63) for each in numbers):
        raise typer.BadParameter(f"Give one ID, or say which by {NAMES}.")
    if len(names) + (repair is not None) != 1:
        raise typer.BadParameter(f"Name one repair, or several with commas: {', '.join(REPAIRS)}.")
    replay(
        project_token,
        int(numbers[0]) if numbers else None,
        repair=names[0] if names else repair,
        dry_run=dry_run,
        yes=yes,
        json=json,
        which=which,
    )


def retry(project_token: ProjectToken, dry_run: DryRun = False, json: Json = False) -> None:
    """Replay all open rejections as they came: by the rules of today some may pass."""
    settings = settings_or_exit()
    question = question_of(ReplayMatching, settings, filter={}, dry_run=dry_run)
    _replay_matching(settings, project_token, question, json=json, again="without --dry-run")


def _replay_one(
    settings: Settings, project_token: str, rejection_id: int, question: Replay, *, json: bool
) -> None:
    with opened(settings) as engine, closing(Ledger(engine)) as ledger:
        project_id = project_in(engine, project_token)
        kept = found(engine, project_id, rejection_id)
        replayed = replaying.replay(
            ledger,
            Policy.of(settings),
            project_id,
            [rejection_id],
            question.how(),
            who(),
            rehearsal=question.dry_run,
        )
        if not replayed:
            state = found(engine, project_id, rejection_id).row.state
            raise failed(f"The rejection is {state}; only an open one can be replayed.")
    if replayed[0].refused is not None:
        raise failed(replayed[0].refused)
    document = ReplayDocument.of(replayed[0], kept.body if question.dry_run else None)
    if json:
        answer_json(document.model_dump(exclude_unset=True))
        return
    if document.before is not None:
        _show_bodies(document.before, document.after or ())
    rows = document.results if document.results is not None else [document]
    head = ("outcome", "event", "reason", "pointer", "detail", "similar events")
    write_table(
        head,
        [
            (r.outcome, r.event_id, r.reason, r.pointer, r.detail, " ".join(map(str, r.similar or ())))
            for r in rows
        ],
    )


def _show_bodies(before: str, after: Sequence[str]) -> None:
    for name, text in [("before", before), *(("after", text) for text in after)]:
        typer.echo(name)
        for line in text.split("\n"):
            typer.echo(f"  {printable(line)}")
    typer.echo()


def _replay_matching(
    settings: Settings, project_token: str, question: ReplayMatching, *, json: bool, again: str = "with --yes"
) -> None:
    stop = threading.Event()
    with opened(settings) as engine, closing(Ledger(engine)) as ledger, stopping(stop):
        project_id = project_in(engine, project_token)
        wanted = question.filter.filter()
        with progress(engine, project_id, replace(wanted, state="open")) as report:
            totals = bulk.replay_matching(
                engine,
                ledger,
                Policy.of(settings),
                project_id,
                wanted,
                question.how(),
                who(),
                dry_run=question.dry_run,
                stop=stop,
                report=report,
            )
        before = _bodies_before(engine, project_id, totals) if question.dry_run else {}
    document = TotalsDocument.of(totals, before, dry_run=question.dry_run)
    if json:
        answer_json(document.model_dump(exclude_unset=True))
    else:
        _show_totals(document)
    if question.dry_run:
        typer.echo(f"This was a dry run: nothing is changed. Run it {again} to do it.", err=True)
    if stop.is_set():
        raise failed(STOPPED)


def _bodies_before(engine: Engine, project_id: int, totals: Totals) -> dict[int, bytes]:
    with reports.reading(engine) as connection:
        return refused.bodies(connection, project_id, [done.rejection_id for done in totals.samples])


def _show_totals(document: TotalsDocument) -> None:
    names = ("matched", "accepted", "duplicate", "rejected")
    write_table(("rejections", "number"), [(name, getattr(document, name)) for name in names])
    if document.reasons:
        typer.echo()
        write_table(("still rejected because", "commands"), list(document.reasons.items()))
    if document.samples:
        typer.echo()
        write_table(("some of them", "outcome", "detail"), map(_sample_cells, document.samples))


def _sample_cells(sample: SampleDocument) -> Cells:
    results = [sample, *(sample.results or ())]
    outcomes = " ".join(str(each.outcome) for each in results if each.outcome)
    details = dict.fromkeys(each.detail for each in results if each.detail)
    return sample.id, outcomes, " ".join(details)


def _patch_of(said: str) -> object:
    """The JSON of a file, or of the text itself where it begins like a list."""
    text = said if said.lstrip().startswith("[") else _body_of(Path(said))
    try:
        return json_text.loads(text)
    except (ValueError, RecursionError):
        raise typer.BadParameter("--patch: Give a JSON Patch, or a file that holds one.") from None


def _body_of(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise failed(f"The file cannot be read ({error.strerror}).") from None
    except ValueError:
        raise failed("The file is no text in UTF-8.") from None
