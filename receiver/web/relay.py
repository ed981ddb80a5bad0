"""The relay to Bloomreach in our own API: how it goes, what was set aside, and what people decide then."""

import time
from collections.abc import Callable
from contextlib import closing

from starlette.requests import Request
from starlette.responses import Response

from receiver.outbound import outbox_repairs
from receiver.store import relay_status, reports
from receiver.store.set_aside import aside_page, aside_summary
from receiver.store.sets import Ledger
from receiver.web import answers
from receiver.web.answers import Operation
from receiver.web.auth import Action, Caller
from receiver.web.relay_documents import MatchedDocument, RelayDocument, SetAsidePageDocument
from receiver.web.relay_questions import RelayQuestion, SetAsideDecision, SetAsideQuestion
from receiver.web.state import State


def relay(request: Request[State], caller: Caller, question: RelayQuestion) -> Response:
    """How it goes with what is relayed to Bloomreach."""
    now_us = _now_us()
    with reports.reading(request.state["engine"]) as connection:
        status = relay_status.status(connection, caller.project_id, now_us)
        hours = relay_status.last_hours(connection, caller.project_id, now_us)
        groups = aside_summary(connection, caller.project_id) if question.groups else None
    return answers.document(RelayDocument.of(status, hours, groups, request.state["settings"]))


def relay_set_aside(request: Request[State], caller: Caller, question: SetAsideQuestion) -> Response:
    """What Bloomreach would not take, the newest first."""
    with reports.reading(request.state["engine"]) as connection:
        rows = aside_page(
            connection,
            caller.project_id,
            question.which(),
            after=question.cursor,
            limit=question.limit + 1,
        )
    return answers.document(SetAsidePageDocument.of(rows, question.limit))


def retry_set_aside(request: Request[State], caller: Caller, question: SetAsideDecision) -> Response:
    """Let all that match wait for Bloomreach once more.

    It is a dry run unless told.  Broken off, it can be asked for again.
    """
    return _decide(request, caller, question, outbox_repairs.retry)


def discard_set_aside(request: Request[State], caller: Caller, question: SetAsideDecision) -> Response:
    """Let go of all that match: they are never relayed; our own events stay.

    It is a dry run unless told.  Broken off, it can be asked for again.
    """
    return _decide(request, caller, question, outbox_repairs.discard)


def _decide(
    request: Request[State], caller: Caller, question: SetAsideDecision, decide: Callable[..., int]
) -> Response:
    engine = request.state["engine"]
    with closing(Ledger(engine)) as ledger:
        matched = decide(engine, ledger, caller.project_id, question.filter.which(), dry_run=question.dry_run)
    return answers.document(MatchedDocument(matched=matched, dry_run=question.dry_run))


def _now_us() -> int:
    return time.time_ns() // 1000


_ERRORS = (400, 401, 403, 503)
_OF_A_BODY = (*_ERRORS, 408, 413)

OPERATIONS = (
    Operation("/relay", Action.READ, RelayQuestion, relay, RelayDocument, _ERRORS),
    Operation(
        "/relay/set-aside", Action.OPERATE, SetAsideQuestion, relay_set_aside, SetAsidePageDocument, _ERRORS
    ),
    Operation(
        "/relay/retry",
        Action.OPERATE,
        SetAsideDecision,
        retry_set_aside,
        MatchedDocument,
        _OF_A_BODY,
        method="POST",
    ),
    Operation(
        "/relay/discard",
        Action.OPERATE,
        SetAsideDecision,
        discard_set_aside,
        MatchedDocument,
        _OF_A_BODY,
        method="POST",
    ),
)
