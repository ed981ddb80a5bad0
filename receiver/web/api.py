"""Our own API under ``/v1``; every error is a problem (RFC 9457)."""

import time
from collections import Counter

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.store import outcomes as counted
from receiver.store import refusal_counts, refused, reports
from receiver.store.engine import Fault, fault
from receiver.web import answers, customer, events, mailings, repairs
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller, Refusal
from receiver.web.documents import (
    OutcomesDocument,
    RejectionDocument,
    RejectionsDocument,
    SummaryDocument,
)
from receiver.web.intake import TurnedAway
from receiver.web.questions import (
    Period,
    RejectionsQuestion,
    SummaryQuestion,
    body_of,
    caller_of,
    rejection_cursor,
)
from receiver.web.state import State

PREFIX = "/v1/projects/{project_token}"


def outcomes(request: Request[State], caller: Caller, question: Period) -> Response:
    """What became of every command, in all and by day (UTC)."""
    with reports.reading(request.state["engine"]) as connection:
        found = counted.outcomes(connection, caller.project_id, question.since, question.until)
    return answers.document(OutcomesDocument.of(found))


def rejections(request: Request[State], caller: Caller, question: RejectionsQuestion) -> Response:
    """What was refused, the newest first."""
    with reports.reading(request.state["engine"]) as connection:
        page = refused.rejections_page(
            connection,
            caller.project_id,
            question.filter(),
            after=question.cursor and question.cursor.id,
            limit=question.limit,
        )
    rows = [RejectionDocument.of(row) for row in page.rows]
    return answers.document(RejectionsDocument(data=rows, next=rejection_cursor(page.next)))


def rejections_summary(request: Request[State], caller: Caller, question: SummaryQuestion) -> Response:
    """How often something was refused, by reason, or by reason and failing place."""
    wanted = question.filter()
    trends = None
    with reports.reading(request.state["engine"]) as connection:
        found = refusal_counts.summary(connection, caller.project_id, wanted, question.by)
        if question.trend is not None:
            now_us = time.time_ns() // 1000
            trends = refusal_counts.trends(
                connection, caller.project_id, wanted, question.by, question.trend, now_us
            )
    return answers.document(SummaryDocument.of(found, trends))


_ERRORS = (400, 401, 403, 503)

OPERATIONS = (
    *events.OPERATIONS,
    *customer.OPERATIONS,
    Operation("/outcomes", Action.READ, Period, outcomes, OutcomesDocument, _ERRORS),
    Operation("/rejections", Action.OPERATE, RejectionsQuestion, rejections, RejectionsDocument, _ERRORS),
    Operation(
        "/rejections/summary", Action.OPERATE, SummaryQuestion, rejections_summary, SummaryDocument, _ERRORS
    ),
    *repairs.OPERATIONS,
    *mailings.OPERATIONS,
)


def _route(operation: Operation) -> Route:
    read = _read_body if operation.method == "POST" else _read_parameters

    async def endpoint(request: Request[State]) -> Response:
        caller = await caller_of(request, operation.action)
        if isinstance(caller, Refusal):
            return answers.refused(caller)
        question = await read(request, operation.question)
        if isinstance(question, Response):
            return question
        try:
            return await run_in_threadpool(operation.answer, request, caller, question)
        except Exception as error:
            # Who writes talks to the driver itself, which raises errors of its own.
            if fault(error) not in {Fault.AWAY, Fault.REPEAT}:
                raise
            return problem(503, answers.AWAY)

    return Route(
        PREFIX + operation.path, endpoint, methods=[operation.method], name=operation.answer.__name__
    )


async def _read_parameters(request: Request[State], model: type[BaseModel]) -> BaseModel | Response:
    parameters = request.query_params
    times = Counter(name for name, _ in parameters.multi_items())
    if twice := [{"parameter": name, "detail": "Give it once."} for name in times if times[name] > 1]:
        return problem(400, "A parameter stands there twice; `errors` says which.", twice)
    try:
        return model.model_validate(dict(parameters), context=request.state["settings"])
    except ValidationError as error:
        return answers.wrong_parameters(error)


async def _read_body(request: Request[State], model: type[BaseModel]) -> BaseModel | Response:
    body = await body_of(request)
    if isinstance(body, TurnedAway):
        # Who has hung up (status 0) hears no answer; the framework wants one all the same.
        return problem(body.status or 400, body.message or "The body has not arrived.")
    try:
        return model.model_validate_json(body or b"{}", context=request.state["settings"])
    except ValidationError as error:
        return answers.wrong_fields(error)


def _later(method: str, path: str, what: str) -> Route:
    async def endpoint(_: Request[State]) -> Response:
        return problem(501, f"{what} not available yet.")

    return Route(PREFIX + path, endpoint, methods=[method], include_in_schema=False)


routes = [
    *map(_route, OPERATIONS),
    _later("GET", "/campaigns", "Campaigns are"),
    _later("GET", "/campaigns/{ref}", "Campaigns are"),
    _later("GET", "/campaigns/{ref}/timeseries", "Campaigns are"),
]
