"""The gateway: routes in the shapes of the Optilyz API v2, for whoever sends letters to Optilyz today.

No project stands in the path: the key tells it.  All that is wrong with a recipient or with a body is
answered 200, because a webhook of Bloomreach stops for everybody on some statuses (contract, 4.4).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver import telemetry
from receiver.inbound.writer import NotStored
from receiver.outbound.passing import Request as Letters
from receiver.store import mailings, reports
from receiver.store.automations import automations_of
from receiver.store.engine import Fault, fault
from receiver.web import answers
from receiver.web.answers import vendor_error
from receiver.web.auth import Action, Caller, Refusal, may
from receiver.web.gateway_documents import AutomationDocument, AutomationsDocument
from receiver.web.intake import TurnedAway
from receiver.web.questions import body_of
from receiver.web.state import State

PREFIX = "/api/v2/automations"

_FORBIDDEN = Refusal(403, "This key may not send letters; use one with the role sender.")
_NO_OPTILYZ_KEY = TurnedAway(
    "no_optilyz_key", 503, "Letters cannot be sent yet: the service has no key for Optilyz."
)
_NOT_STORED = {
    "busy": "Too much is waiting to be stored; send it again later.",
    "database": "It could not be stored now; send it again later.",
    "stopping": "The service is being restarted; send it again in a moment.",
}


async def recipient(request: Request[State], caller: Caller) -> Response:
    """Send one letter.

    What is wrong with it, or speaks against it, is answered 200 with ``success: false``.  An identical
    request within 24 hours gets the first answer again.
    """
    return await _passed_on(request, caller, mailings.Route.ONE)


async def recipients(request: Request[State], caller: Caller) -> Response:
    """Send up to 1000 letters.

    Results stand in the order of the addresses; one that is refused leaves its neighbours alone.  An
    identical request within 24 hours gets the first answer again.
    """
    return await _passed_on(request, caller, mailings.Route.MANY)


async def automations(request: Request[State], caller: Caller) -> Response:
    """The automations that the project sends through, as far as we know: Optilyz is not asked."""

    def found() -> list[str]:
        with reports.reading(request.state["engine"]) as connection:
            return automations_of(connection, caller.project_id)

    try:
        names = await run_in_threadpool(found)
    except SQLAlchemyError as error:
        if fault(error) is not Fault.AWAY:
            raise
        return vendor_error(503, answers.AWAY)
    rows = [AutomationDocument(_id=name, name=name, state="live") for name in names]
    return answers.document(AutomationsDocument(rows))


async def _passed_on(request: Request[State], caller: Caller, route: mailings.Route) -> Response:
    """The answer leaves when the letters are on disk; they are sent right after."""
    state = request.state
    if state["settings"].optilyz_api_key is None:
        return _turned_away(_NO_OPTILYZ_KEY)
    body = await body_of(request)
    if isinstance(body, TurnedAway):
        return _turned_away(body)
    letters = Letters(
        caller.project_id, request.path_params["automation_id"], route, body, time.time_ns() // 1000
    )
    # A lock may be waited for as long, and those before may have waited for one too.
    seconds = 2 * state["settings"].database_seconds + 1
    try:
        answer = asyncio.wrap_future(state["gateway"].take(letters))
        text = await asyncio.wait_for(answer, seconds)
    except (NotStored, TimeoutError) as outage:
        cause = outage.cause if isinstance(outage, NotStored) else "database"
        return _turned_away(TurnedAway(cause, 503, _NOT_STORED[cause]))
    state["pump"].wake()
    return Response(text, media_type="application/json")


def _turned_away(why: TurnedAway) -> Response:
    telemetry.TURNED_AWAY.labels(why.cause).inc()
    # Who has hung up (status 0) hears no answer; the framework wants one all the same.
    answer = vendor_error(why.status or 400, why.message)
    if why.status != 503:
        # What was not read to its end cannot be followed by another request on the same connection.
        answer.headers["connection"] = "close"
    return answer


Endpoint = Callable[[Request[State], Caller], Awaitable[Response]]


def _route(method: str, path: str, answer: Endpoint) -> Route:
    async def endpoint(request: Request[State]) -> Response:
        started = time.perf_counter()
        caller = await request.state["keys"].authenticate_alone(
            request.headers.get("authorization"), time.time_ns() // 1000
        )
        if isinstance(caller, Caller) and not may(caller.role, Action.SEND):
            caller = _FORBIDDEN
        if isinstance(caller, Refusal):
            telemetry.TURNED_AWAY.labels("unauthorised").inc()
            response = vendor_error(caller.status, caller.message)
        else:
            response = await answer(request, caller)
        seconds = telemetry.HTTP_SECONDS.labels(PREFIX + path, str(response.status_code))
        seconds.observe(time.perf_counter() - started)
        return response

    return Route(PREFIX + path, endpoint, methods=[method], name=answer.__name__)


OPERATIONS: tuple[tuple[str, str, Endpoint], ...] = (
    ("POST", "/{automation_id}/recipient", recipient),
    ("POST", "/{automation_id}/recipients", recipients),
    ("GET", "", automations),
)

routes = [_route(*operation) for operation in OPERATIONS]
