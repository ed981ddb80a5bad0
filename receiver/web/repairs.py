"""The repair of rejections in our own API: replay, perhaps mended, dismiss, reopen, undo; and the trace."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from receiver.inbound import bulk, rejections, undoing
from receiver.inbound.deliveries import Policy
from receiver.inbound.rejections import Who
from receiver.inbound.replaying import replay
from receiver.store import refused, reports, trail
from receiver.store.refused import KeptRejection
from receiver.store.sets import Ledger
from receiver.web import answers
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.documents import RejectionDocument
from receiver.web.questions import Parameters, rejection_cursor
from receiver.web.repair_documents import (
    AuditDocument,
    DoneDocument,
    ReplayDocument,
    TotalsDocument,
    TracedRejectionDocument,
    UndoneDocument,
)
from receiver.web.repair_questions import (
    AuditQuestion,
    DismissMatching,
    Note,
    ReopenMatching,
    Replay,
    ReplayMatching,
)
from receiver.web.state import State


def rejection(request: Request[State], caller: Caller, _: Parameters) -> Response:
    """One rejection with its bytes, and all that was done about it."""
    number = _rejection_id(request)
    with reports.reading(request.state["engine"]) as connection:
        found = refused.find_rejection(connection, caller.project_id, number)
        steps = trail.steps_of(connection, caller.project_id, number)
        similar = trail.similar_events(connection, steps)
    if found is None:
        return _no_rejection()
    return answers.document(TracedRejectionDocument.of_traced(found, steps, similar))


def rejections_audit(request: Request[State], caller: Caller, question: AuditQuestion) -> Response:
    """All that was done about rejections, the newest first."""
    after = question.cursor and question.cursor.id
    with reports.reading(request.state["engine"]) as connection:
        page = trail.trail_page(connection, caller.project_id, after=after, limit=question.limit)
    return answers.document(AuditDocument.of(page, rejection_cursor(page.next)))


# -- one rejection --------------------------------------------------------------------------------


def replay_rejection(request: Request[State], caller: Caller, question: Replay) -> Response:
    """Let an open rejection come in once more, as it came or mended.

    A dry run shows what would become of it, and the bodies before and after.
    """
    number = _rejection_id(request)
    with _ledger(request) as ledger:
        replayed = replay(
            ledger,
            _policy(request),
            caller.project_id,
            [number],
            question.how(),
            _who(caller),
            rehearsal=question.dry_run,
        )
    if not replayed:
        return _conflict(request, caller, "only an open one can be replayed")
    (done,) = replayed
    if done.refused is not None:
        return problem(422, done.refused)
    before = None
    if question.dry_run:
        kept = _found(request, caller)
        assert kept is not None, "rejections stay"
        before = kept.body
    return answers.document(ReplayDocument.of(done, before))


def dismiss_rejection(request: Request[State], caller: Caller, question: Note) -> Response:
    """Say that nothing is to be done about an open rejection."""
    return _decide(request, caller, rejections.Action.DISMISS, question, "only an open one can be dismissed")


def reopen_rejection(request: Request[State], caller: Caller, question: Note) -> Response:
    """Say that something is to be done about a dismissed rejection after all."""
    return _decide(
        request, caller, rejections.Action.REOPEN, question, "only a dismissed one can be reopened"
    )


def _decide(
    request: Request[State], caller: Caller, action: rejections.Action, question: Note, otherwise: str
) -> Response:
    number = _rejection_id(request)
    with _ledger(request) as ledger:
        done = rejections.decide(ledger, caller.project_id, [number], action, question.note, _who(caller))
    kept = _found(request, caller)
    if not done or kept is None:
        return _conflict(request, caller, otherwise)
    return answers.document(RejectionDocument.of(kept.row))


def undo_replay(request: Request[State], caller: Caller, question: Note) -> Response:
    """Take the last replay of a rejection back: its events leave all reports, and it is open again."""
    number = _rejection_id(request)
    try:
        with _ledger(request) as ledger:
            withdrawn = undoing.undo(ledger, caller.project_id, number, question.note, _who(caller))
    except undoing.NotDone as error:
        return problem(409, str(error)) if _found(request, caller) else _no_rejection()
    kept = _found(request, caller)
    assert kept is not None, "rejections stay"
    row = RejectionDocument.of(kept.row).model_dump()
    return answers.document(UndoneDocument(**row, withdrawn=withdrawn))


# -- all that match -------------------------------------------------------------------------------


def replay_rejections(request: Request[State], caller: Caller, question: ReplayMatching) -> Response:
    """Let all open rejections that match come in once more, as they came or mended.

    It is a dry run unless told: nothing is written, and samples show the bodies before and after.
    Broken off, it can be asked for again: what is replayed is open no more.  Where they are many, ask for
    some at a time, and show people how far it has come.
    """
    engine = request.state["engine"]
    with _ledger(request) as ledger:
        totals = bulk.replay_matching(
            engine,
            ledger,
            _policy(request),
            caller.project_id,
            question.filter.filter(),
            question.how(),
            _who(caller),
            dry_run=question.dry_run,
            after=question.cursor and question.cursor.id,
            limit=question.limit,
        )
    before: dict[int, bytes] = {}
    if question.dry_run:
        ids = [done.rejection_id for done in totals.samples]
        with reports.reading(engine) as connection:
            before = refused.bodies(connection, caller.project_id, ids)
    return answers.document(TotalsDocument.of(totals, before, dry_run=question.dry_run))


def dismiss_rejections(request: Request[State], caller: Caller, question: DismissMatching) -> Response:
    """Say of all open rejections that match that nothing is to be done."""
    return _decide_matching(request, caller, rejections.Action.DISMISS, question)


def reopen_rejections(request: Request[State], caller: Caller, question: ReopenMatching) -> Response:
    """Say of all dismissed rejections that match that something is to be done after all."""
    return _decide_matching(request, caller, rejections.Action.REOPEN, question)


def _decide_matching(
    request: Request[State],
    caller: Caller,
    action: rejections.Action,
    question: DismissMatching | ReopenMatching,
) -> Response:
    with _ledger(request) as ledger:
        done = bulk.decide_matching(
            request.state["engine"],
            ledger,
            caller.project_id,
            question.filter.filter(),
            action,
            question.note,
            _who(caller),
        )
    return answers.document(DoneDocument(done=done))


# -- what they share ------------------------------------------------------------------------------


@contextmanager
def _ledger(request: Request[State]) -> Iterator[Ledger]:
    with closing(Ledger(request.state["engine"])) as ledger:
        yield ledger


def _policy(request: Request[State]) -> Policy:
    return Policy.of(request.state["settings"])


def _who(caller: Caller) -> Who:
    return Who(caller.key_id, time.time_ns() // 1000)


def _rejection_id(request: Request[State]) -> int:
    """As the path says; nobody's where it says what no database can be asked for."""
    said: str = request.path_params["rejection_id"]
    return int(said) if said.isascii() and said.isdigit() and len(said) <= 18 else 0


def _found(request: Request[State], caller: Caller) -> KeptRejection | None:
    with reports.reading(request.state["engine"]) as connection:
        return refused.find_rejection(connection, caller.project_id, _rejection_id(request))


def _conflict(request: Request[State], caller: Caller, otherwise: str) -> Response:
    kept = _found(request, caller)
    if kept is None:
        return _no_rejection()
    return problem(409, f"The rejection is {kept.row.state}; {otherwise}.")


def _no_rejection() -> Response:
    return problem(404, "There is no such rejection.")


_ERRORS = (400, 401, 403, 503)
_OF_A_BODY = (*_ERRORS, 408, 413)
_OF_ONE = (*_OF_A_BODY, 404, 409)
_ONE = "/rejections/{rejection_id}"


_Answer = Callable[[Request[State], Caller, Any], Response]


def _post(
    path: str,
    question: type[Parameters],
    answer: _Answer,
    document: type[BaseModel],
    errors: tuple[int, ...],
) -> Operation:
    return Operation(path, Action.OPERATE, question, answer, document, errors, method="POST")


OPERATIONS = (
    # Before those by ID, which would take the word for one.
    Operation("/rejections/audit", Action.OPERATE, AuditQuestion, rejections_audit, AuditDocument, _ERRORS),
    Operation(_ONE, Action.OPERATE, Parameters, rejection, TracedRejectionDocument, (*_ERRORS, 404)),
    _post(f"{_ONE}/replay", Replay, replay_rejection, ReplayDocument, (*_OF_ONE, 422)),
    _post(f"{_ONE}/dismiss", Note, dismiss_rejection, RejectionDocument, _OF_ONE),
    _post(f"{_ONE}/reopen", Note, reopen_rejection, RejectionDocument, _OF_ONE),
    _post(f"{_ONE}/undo", Note, undo_replay, UndoneDocument, _OF_ONE),
    _post("/rejections/replay", ReplayMatching, replay_rejections, TotalsDocument, _OF_A_BODY),
    _post("/rejections/dismiss", DismissMatching, dismiss_rejections, DoneDocument, _OF_A_BODY),
    _post("/rejections/reopen", ReopenMatching, reopen_rejections, DoneDocument, _OF_A_BODY),
)
