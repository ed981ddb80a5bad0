"""Mailings and suppressions in our own API: what became of letters, and what people decide about them."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from starlette.requests import Request
from starlette.responses import Response

from receiver.inbound.deliveries import Policy
from receiver.outbound.deciding import Decider
from receiver.outbound.suppressing import suppress
from receiver.store import export, letters, reports, writes
from receiver.store import suppressions as suppressed
from receiver.store.letters import MailingRow
from receiver.store.mailings import State as Fate
from receiver.store.reports import EventFilter
from receiver.store.sets import Ledger, Transaction
from receiver.store.suppressions import SuppressionPage
from receiver.web import answers
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.mailing_documents import (
    CancelledMailingDocument,
    KeptMailingDocument,
    LiftedDocument,
    MailingDocument,
    MailingsDocument,
    MailingsSummaryDocument,
    SuppressionDocument,
    SuppressionsDocument,
    suppressions_of,
)
from receiver.web.mailing_questions import (
    Cancellation,
    MailingsQuestion,
    NewSuppression,
    Resolution,
    SuppressionsQuestion,
    WhichMailings,
    WhichToLift,
)
from receiver.web.questions import Parameters
from receiver.web.state import State

MOST_EVENTS = 1000
"""Of one letter, the newest: nobody writes more callbacks about one."""

# So long does a request wait until Optilyz may be asked.
_PATIENCE_SECONDS = 10.0


def mailings(request: Request[State], caller: Caller, question: MailingsQuestion) -> Response:
    """Letters and what became of them, the newest first."""
    with reports.reading(request.state["engine"]) as connection:
        page = letters.mailings_page(
            connection,
            caller.project_id,
            question.filter(connection, caller.project_id),
            after=question.cursor,
            limit=question.limit,
        )
    now_us = _now_us()
    rows = [MailingDocument.of(row, now_us) for row in page.rows]
    return answers.document(MailingsDocument(data=rows, next=page.next))


def mailings_summary(request: Request[State], caller: Caller, question: WhichMailings) -> Response:
    """How many letters are in which state and why, and how far the queued ones have come."""
    with reports.reading(request.state["engine"]) as connection:
        found = letters.summary(connection, caller.project_id, question.campaign)
    return answers.document(MailingsSummaryDocument.of(found))


def mailing(request: Request[State], caller: Caller, _: Parameters) -> Response:
    """One letter with all that happened to it."""
    with reports.reading(request.state["engine"]) as connection:
        row = letters.find_mailing(connection, caller.project_id, _mailing_id(request))
        if row is None:
            return _no_mailing()
        wanted = EventFilter(mailing=row.id)
        events = reports.events_page(connection, caller.project_id, wanted, limit=MOST_EVENTS).rows
    head = MailingDocument.of(row, _now_us()).model_dump_json().removesuffix("}") + ',"events":['
    texts = export.json_array(head, [map(export.event_json, events)], "]}")
    return Response("".join(texts), media_type="application/json")


def resolve_mailing(request: Request[State], caller: Caller, question: Resolution) -> Response:
    """Say of a letter of unknown fate whether it is printed; if not, it is to be sent again."""
    with _decider(request) as decider:
        was = decider.resolve(
            caller.project_id, _mailing_id(request), printed=question.printed, note=question.note
        )
    row = _row(request, caller)
    if row is None:
        return _no_mailing()
    if was != Fate.UNKNOWN:
        return problem(409, f"The letter is {was}; only one whose fate is unknown can be resolved.")
    return answers.document(MailingDocument.of(row, _now_us()))


def cancel_mailing(request: Request[State], caller: Caller, _: Cancellation) -> Response:
    """Keep a letter from being sent; Optilyz is asked to drop what is queued there."""
    with _decider(request) as decider:
        cancelled = decider.cancel(caller.project_id, _mailing_id(request))
    row = _row(request, caller)
    if row is None or cancelled is None:
        return _no_mailing()
    return answers.document(CancelledMailingDocument.of_cancelled(row, cancelled, _now_us()))


@contextmanager
def _decider(request: Request[State]) -> Iterator[Decider]:
    state = request.state
    with closing(Decider(state["engine"], state["settings"], patience=_PATIENCE_SECONDS)) as decider:
        yield decider


def _row(request: Request[State], caller: Caller) -> MailingRow | None:
    with reports.reading(request.state["engine"]) as connection:
        return letters.find_mailing(connection, caller.project_id, _mailing_id(request))


def _mailing_id(request: Request[State]) -> str:
    """As the path says; nobody's where it says what no database can be asked for."""
    said: str = request.path_params["mailing_id"]
    return said if said.isascii() and said.isalnum() else ""


def _no_mailing() -> Response:
    return problem(404, "There is no such mailing.")


# -- suppressions ---------------------------------------------------------------------------------


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
_ONE = "/mailings/{mailing_id}"

OPERATIONS = (
    Operation("/mailings", Action.OPERATE, MailingsQuestion, mailings, MailingsDocument, _ERRORS),
    Operation(
        "/mailings/summary",
        Action.OPERATE,
        WhichMailings,
        mailings_summary,
        MailingsSummaryDocument,
        _ERRORS,
    ),
    Operation(_ONE, Action.OPERATE, Parameters, mailing, KeptMailingDocument, (*_ERRORS, 404)),
    Operation(
        f"{_ONE}/resolve",
        Action.OPERATE,
        Resolution,
        resolve_mailing,
        MailingDocument,
        (*_OF_A_BODY, 404, 409),
        method="POST",
    ),
    Operation(
        f"{_ONE}/cancel",
        Action.OPERATE,
        Cancellation,
        cancel_mailing,
        CancelledMailingDocument,
        (*_OF_A_BODY, 404),
        method="POST",
    ),
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
