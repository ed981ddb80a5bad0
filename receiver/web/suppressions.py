"""Who gets no letter, in our own API."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from starlette.requests import Request
from starlette.responses import Response

from receiver.inbound.deliveries import Policy
from receiver.outbound.suppressing import suppress
from receiver.store import reports, writes
from receiver.store import suppressions as suppressed
from receiver.store.sets import Ledger, Transaction
from receiver.store.suppressions import SuppressionPage
from receiver.web import answers
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.mailing_documents import (
    LiftedDocument,
    SuppressionDocument,
    SuppressionsDocument,
    suppressions_of,
)
from receiver.web.mailing_questions import NewSuppression, SuppressionsQuestion, WhichToLift
from receiver.web.state import State


def suppressions(request: Request[State], caller: Caller, question: SuppressionsQuestion) -> Response:
    """Who gets no letter, the newest first."""
    with reports.reading(request.state["engine"]) as connection:
        page = suppressed.suppressions_page(
            connection,
            caller.project_id,
            question.filter(connection, caller.project_id),
            after=question.cursor,
            limit=question.limit,
        )
    return answers.document(SuppressionsDocument.of(page))


def add_suppression(request: Request[State], caller: Caller, question: NewSuppression) -> Response:
    """Let somebody get no letter.

    Also somebody whom nobody knows yet.  An open suppression that says the same stands.
    """
    policy = Policy.of(request.state["settings"])
    with _transaction(request) as transaction:
        number = suppress(
            transaction,
            caller.project_id,
            question.customer_ids,
            question.kind,
            question.note or "",
            policy,
            _now_us(),
        )
    (row,) = suppressions_of(_found(request, caller, [number]))
    return answers.document(row)


def lift_suppressions(request: Request[State], caller: Caller, question: WhichToLift) -> Response:
    """Let somebody get letters again."""
    with _transaction(request) as transaction:
        writes.take_turn(transaction, 0)
        if question.id is not None:
            if not suppressed.exists(transaction, caller.project_id, question.id):
                return problem(404, "There is no such suppression.")
            lifted = suppressed.lift(transaction, caller.project_id, question.id, _now_us())
        else:
            assert question.customer is not None, "one of the two is there"
            lifted = suppressed.lift_of(
                transaction, caller.project_id, question.customer, question.kind, _now_us()
            )
    return answers.document(LiftedDocument(data=list(suppressions_of(_found(request, caller, lifted)))))


def _found(request: Request[State], caller: Caller, numbers: list[int]) -> SuppressionPage:
    with reports.reading(request.state["engine"]) as connection:
        return suppressed.find(connection, caller.project_id, numbers)


@contextmanager
def _transaction(request: Request[State]) -> Iterator[Transaction]:
    with closing(Ledger(request.state["engine"])) as ledger, ledger.transaction() as transaction:
        yield transaction


def _now_us() -> int:
    return time.time_ns() // 1000


_ERRORS = (400, 401, 403, 503)
_OF_A_BODY = (*_ERRORS, 408, 413)

OPERATIONS = (
    Operation(
        "/suppressions", Action.OPERATE, SuppressionsQuestion, suppressions, SuppressionsDocument, _ERRORS
    ),
    Operation(
        "/suppressions",
        Action.OPERATE,
        NewSuppression,
        add_suppression,
        SuppressionDocument,
        _OF_A_BODY,
        method="POST",
    ),
    Operation(
        "/suppressions",
        Action.OPERATE,
        WhichToLift,
        lift_suppressions,
        LiftedDocument,
        (*_ERRORS, 404),
        method="DELETE",
    ),
)
