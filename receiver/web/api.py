"""Our own API under ``/v1``; every error is a problem (RFC 9457)."""

import time
from collections import Counter

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.domain.moments import DAY_US, HOUR_US
from receiver.store import outcomes as counted
from receiver.store import refusal_counts, refused, reports
from receiver.store.engine import Fault, fault
from receiver.web import (
    answers,
    campaigns,
    customer,
    event_properties,
    events,
    grading,
    handover,
    mailing_preview,
    mailings,
    relay,
    repairs,
    status,
    suppressions,
)
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller, Refusal
from receiver.web.documents import (
    RejectionDocument,
    RejectionsDocument,
    SummaryDocument,
)
from receiver.web.intake import TurnedAway
from receiver.web.outcome_documents import OutcomesDocument
from receiver.web.questions import (
    OutcomesQuestion,
    RejectionsQuestion,
    SummaryQuestion,
    body_of,
    caller_of,
    rejection_cursor,
)
from receiver.web.shown import Shown, in_sql
from receiver.web.state import State

PREFIX = "/v1/projects/{project_token}"


def outcomes(request: Request[State], caller: Caller, question: OutcomesQuestion) -> Response:
    """What became of every command, in all and by day or hour (UTC), or by campaign beside its letters."""
    period = question.since, question.until
    with reports.reading(request.state["engine"]) as connection:
        if question.by == "campaign":
            found = counted.campaigns(connection, caller.project_id, *period, campaign=question.campaign)
            return answers.document(OutcomesDocument.by_campaign(found))
        spans = counted.outcomes(
            connection,
            caller.project_id,
            *period,
            campaign=question.campaign,
            span_us=HOUR_US if question.by == "hour" else DAY_US,
        )
    return answers.document(OutcomesDocument.of(spans, question.by))


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
    *event_properties.OPERATIONS,
    *customer.OPERATIONS,
    *status.OPERATIONS,
    *campaigns.OPERATIONS,
    Operation("/outcomes", Action.READ, OutcomesQuestion, outcomes, OutcomesDocument, _ERRORS),
    Operation("/rejections", Action.OPERATE, RejectionsQuestion, rejections, RejectionsDocument, _ERRORS),
    Operation(
        "/rejections/summary", Action.OPERATE, SummaryQuestion, rejections_summary, SummaryDocument, _ERRORS
    ),
    *repairs.OPERATIONS,
    *mailings.OPERATIONS,
    *mailing_preview.OPERATIONS,
    *suppressions.OPERATIONS,
    *relay.OPERATIONS,
    *handover.OPERATIONS,
    *grading.OPERATIONS,
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
        shows_sql = operation.method == "GET" and "show" in request.query_params
        answer = in_sql(operation.answer) if shows_sql else operation.answer
        try:
            return await run_in_threadpool(answer, request, caller, question)
        except Exception as error:
            # Who writes talks to the driver itself, which raises errors of its own.
            if fault(error) not in {Fault.AWAY, Fault.REPEAT}:
                raise
            return problem(503, answers.AWAY)

    return Route(
        PREFIX + pattern(operation), endpoint, methods=[operation.method], name=operation.answer.__name__
    )


def pattern(operation: Operation) -> str:
    """Its path as the framework matches it."""
    return operation.path.replace("{name}", "{name:text}").replace("{ref}", "{ref:text}")


class _Text(PathConvertor):
    """Any text: slashes and line breaks are part of it."""

    regex = "(?s:.*)"


register_url_convertor("text", _Text())


async def _read_parameters(request: Request[State], model: type[BaseModel]) -> BaseModel | Response:
    parameters = request.query_params
    times = Counter(name for name, _ in parameters.multi_items())
    if twice := [{"parameter": name, "detail": "Give it once."} for name in times if times[name] > 1]:
        return problem(400, "A parameter stands there twice; `errors` says which.", twice)
    given = dict(parameters)
    try:
        if request.method in {"GET", "HEAD"}:
            Shown.model_validate({name: given.pop(name) for name in Shown.model_fields if name in given})
        return model.model_validate(given, context=request.state["settings"])
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


routes = list(map(_route, OPERATIONS))
