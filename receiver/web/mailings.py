"""Mailings and suppressions in our own API: what became of letters, and what people decide about them."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from starlette.requests import Request
from starlette.responses import Response

from receiver.outbound.deciding import Decider
from receiver.store import export, letters, reports
from receiver.store.event_places import EventFilter
from receiver.store.letters import MailingRow
from receiver.store.mailings import State as Fate
from receiver.web import answers
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.mailing_documents import (
    CancelledMailingDocument,
    CancelledMailingsDocument,
    KeptMailingDocument,
    MailingDocument,
    MailingsDocument,
    MailingsSummaryDocument,
    ResolvedMailingsDocument,
    fates_of,
)
from receiver.web.mailing_questions import (
    CampaignCancellation,
    CampaignResolution,
    Cancellation,
    MailingsQuestion,
    MailingsSummaryQuestion,
    Resolution,
)
from receiver.web.questions import Parameters
from receiver.web.state import State

MOST_EVENTS = 1000
"""Of one letter, the newest: nobody writes more callbacks about one."""

# So long does a request wait until Optilyz may be asked.
_PATIENCE_SECONDS = 10.0

# And so long does it cancel one letter of a campaign after the other.
_CAMPAIGN_SECONDS = 10.0

_FIRST = "0" * 24
"""Before the ID of every letter."""


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


def mailings_summary(request: Request[State], caller: Caller, question: MailingsSummaryQuestion) -> Response:
    """How many letters are in which state and why, and how far the queued ones have come."""
    with reports.reading(request.state["engine"]) as connection:
        if question.by == "state":
            states = letters.states(connection, caller.project_id, question.campaign)
            return answers.document(MailingsSummaryDocument(data=fates_of(states), stages=None))
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


def resolve_mailings(request: Request[State], caller: Caller, question: CampaignResolution) -> Response:
    """Say of all letters of a campaign whose fate is unknown whether they are printed."""
    with _decider(request) as decider:
        resolved = decider.resolve_campaign(
            caller.project_id, question.campaign, printed=question.printed, note=question.note
        )
    return answers.document(ResolvedMailingsDocument(resolved=resolved))


def cancel_mailings(request: Request[State], caller: Caller, question: CampaignCancellation) -> Response:
    """Keep all letters of a campaign from being sent; Optilyz is asked to drop those queued there.

    What takes longer is left, and `next` says where to go on.
    """
    with _decider(request) as decider:
        alarm = threading.Timer(_CAMPAIGN_SECONDS, decider.stop.set)
        alarm.start()
        try:
            done, behind = decider.cancel_further(caller.project_id, question.campaign, question.cursor or "")
        finally:
            alarm.cancel()
    following = None if behind is None else behind or _FIRST
    return answers.document(CancelledMailingsDocument.of(done, following))


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
        MailingsSummaryQuestion,
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
        "/mailings/resolve",
        Action.OPERATE,
        CampaignResolution,
        resolve_mailings,
        ResolvedMailingsDocument,
        _OF_A_BODY,
        method="POST",
    ),
    Operation(
        "/mailings/cancel",
        Action.OPERATE,
        CampaignCancellation,
        cancel_mailings,
        CancelledMailingsDocument,
        _OF_A_BODY,
        method="POST",
    ),
)
