"""Tracking API routes and the flat form: what comes in from Optilyz, answered in the vendor's shapes.

These routes are a small ASGI function of their own in front of the framework, because a quarter of the
time of a request would otherwise go into routing and request objects.  Shapes and texts: the vendor's
documentation of the Tracking API v2, as collected in docs/tracking-sheet.md.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from functools import cache
from urllib.parse import parse_qsl

from prometheus_client import Histogram
from starlette.types import Receive, Scope, Send

from receiver import telemetry
from receiver.domain.commands import Form, Outcome, Reason, Rejection
from receiver.inbound import ingest
from receiver.inbound.group import Delivery, Verdict
from receiver.inbound.writer import NotStored
from receiver.store.writes import Source
from receiver.web.auth import Action, Refusal, may
from receiver.web.intake import HUNG_UP, TurnedAway
from receiver.web.state import State

TRACK = "/track/v2/projects/"
OPTILYZ = "/optilyz/v1/projects/"

FORMS: Mapping[str, Form] = {
    TRACK + "customers/events": Form.EVENT,
    TRACK + "customers": Form.UPDATE,
    TRACK + "batch": Form.BATCH,
    OPTILYZ + "callbacks": Form.FLAT,
}
"""What each route takes, without the project token in the middle."""

_LARGE_BYTES = 128 * 1024

SYSTEM_TIME = TRACK + "system/time"

# The vendor's own words; senders compare them.
VENDOR_TEXTS = {
    Reason.NO_CUSTOMER_IDS: "At least one id should be specified.",
    Reason.EMPTY_CUSTOMER_ID: "At least one valid id should be specified",
    Reason.PLACEHOLDER_CUSTOMER_ID: "At least one valid id should be specified",
    Reason.UNUSABLE_CUSTOMER_ID: "At least one valid id should be specified",
    Reason.UNKNOWN_ID_TYPE: "Invalid customer_id",
    Reason.UNKNOWN_CUSTOMER: "Invalid customer_id",
    Reason.MALFORMED_JSON: "Invalid JSON",
    Reason.NOT_A_BATCH: "Invalid JSON",
    Reason.NO_COMMANDS: "No commands",
}

# These refuse a batch or a flat list as a whole; every other reason is one command's own.
OF_THE_WHOLE = {Reason.MALFORMED_JSON, Reason.NOT_A_BATCH, Reason.NO_COMMANDS, Reason.TOO_MANY_COMMANDS}

_FORBIDDEN = Refusal(403, "This key may not send events; use one with the role tracking.")
_NOT_STORED = {
    "busy": "Too much is waiting to be stored; send it again later.",
    "database": "It could not be stored now; send it again later.",
    "stopping": "The service is being restarted; send it again in a moment.",
}


def route_of(path: str) -> tuple[str, str] | None:
    """The route as `FORMS` names it and the project token, of a *path* that this module answers."""
    for prefix in (TRACK, OPTILYZ):
        if path.startswith(prefix):
            token, _, tail = path[len(prefix) :].partition("/")
            route = prefix + tail
            return (route, token) if route in FORMS or route == SYSTEM_TIME else None
    return None


async def track(scope: Scope, receive: Receive, send: Send, route: str, project_token: str) -> None:
    """Answer one request for *route*."""
    started = time.perf_counter()
    answer = await _answer(scope, receive, route, project_token)
    if answer is None:
        telemetry.TURNED_AWAY.labels("hung_up").inc()
        return
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    _http_seconds(route, status).observe(time.perf_counter() - started)


Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


async def _answer(scope: Scope, receive: Receive, route: str, project_token: str) -> Answer | None:
    """Status, headers and body; None where the sender has hung up."""
    method = scope["method"]
    if method != "POST" and not (method == "GET" and route == SYSTEM_TIME):
        return _json(
            405, _errors(405, "The method is not allowed for the requested URL."), (b"allow", b"POST")
        )
    state: State = scope["state"]
    now_us = time.time_ns() // 1000
    authorization, announced_bytes = _headers(scope)
    caller = await state["keys"].authenticate(project_token, authorization, _access_token(scope), now_us)
    if isinstance(caller, Refusal) or not may(caller.role, Action.TRACK):
        refusal = caller if isinstance(caller, Refusal) else _FORBIDDEN
        telemetry.TURNED_AWAY.labels("unauthorised").inc()
        return _json(refusal.status, {"success": False, "error": refusal.message})
    if route == SYSTEM_TIME:
        return _json(200, {"success": True, "errors": [], "time": now_us / 1e6})
    body = await state["intake"].body(receive, announced_bytes)
    if isinstance(body, TurnedAway):
        return None if body is HUNG_UP else _turned_away(body)
    form = FORMS[route]
    brought = caller.project_id, Source.CALLBACK, form, body, scope["headers"], state["policy"], now_us
    # A large body is read beside the event loop, or it would hold up everybody else.
    large = len(body) > _LARGE_BYTES
    delivery = await asyncio.to_thread(ingest.read, *brought) if large else ingest.read(*brought)
    try:
        verdicts = await state["writer"].keep(delivery)
    except NotStored as outage:
        return _turned_away(TurnedAway(outage.cause, 503, _NOT_STORED[outage.cause]))
    if form in (Form.EVENT, Form.UPDATE):
        return _of_single(verdicts[0], state["settings"].reject_status)
    return _of_batch(delivery, verdicts)


def _headers(scope: Scope) -> tuple[bytes | None, int]:
    """The ``Authorization`` and the ``Content-Length``."""
    authorization, length = None, 0
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value
        elif name == b"content-length" and value.isdigit():
            length = int(value[:20])
    return authorization, length


def _access_token(scope: Scope) -> str | None:
    query = scope["query_string"]
    if b"access_token" not in query:
        return None
    return dict(parse_qsl(query.decode("latin-1"))).get("access_token")


# -- answers --------------------------------------------------------------------------------------

_RETRY_LATER = (b"retry-after", b"5")


def _json(status: int, document: object, *headers: tuple[bytes, bytes]) -> Answer:
    return _bytes(status, json.dumps(document).encode(), *headers)


def _bytes(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    length = str(len(body)).encode()
    return status, [(b"content-type", b"application/json"), (b"content-length", length), *headers], body


_DONE = b'{"success": true}'
_SINGLE_DONE = _json(200, {"success": True, "errors": []})


def _turned_away(why: TurnedAway) -> Answer:
    telemetry.TURNED_AWAY.labels(why.cause).inc()
    # What was not read to its end cannot be followed by another request on the same connection.
    headers = [_RETRY_LATER] if why.status == 503 else [(b"connection", b"close")]
    return _json(why.status, {"success": False, "error": why.message}, *headers)


def _errors(status: int, text: str) -> dict[str, object]:
    return {"success": False, "errors": {"code": status, "description": text}}


def _of_single(verdict: Verdict | None, reject_status: int) -> Answer:
    if verdict is None or verdict.rejection is None:
        return _SINGLE_DONE
    return _json(reject_status, {"success": False, "errors": _reasons(verdict.rejection)})


def _of_batch(delivery: Delivery, verdicts: Sequence[Verdict | None]) -> Answer:
    first = verdicts[0].rejection if verdicts[0] else None
    if first is not None and first.reason in OF_THE_WHOLE:
        return _json(400, {"success": False, "message": VENDOR_TEXTS.get(first.reason, first.detail)})
    results = b", ".join(map(_result, delivery.outcomes, verdicts))
    times = delivery.received_us / 1e6, time.time_ns() / 1e9
    return _bytes(
        200, b'{"success": true, "results": [%b], "start_time": %.6f, "end_time": %.6f}' % (results, *times)
    )


def _result(outcome: Outcome, verdict: Verdict | None) -> bytes:
    rejection = verdict.rejection if verdict else None
    if rejection is None and outcome.command_id is None and verdict is not None:
        return _DONE
    result: dict[str, object] = {"success": rejection is None}
    if rejection is not None:
        result["errors"] = _reasons(rejection)
    if verdict is None:
        result["time"] = time.time()
    if outcome.command_id is not None:
        result["command_id"] = outcome.command_id
    return json.dumps(result).encode()


def _reasons(rejection: Rejection) -> list[str]:
    """The vendor's text where there is one, then ours: which field, what is wrong, what to do."""
    ours = f"{rejection.reason} at {rejection.pointer or 'the command itself'}: {rejection.detail}"
    vendors = VENDOR_TEXTS.get(rejection.reason)
    return [ours] if vendors is None else [vendors, ours]


@cache
def _http_seconds(route: str, status: int) -> Histogram:
    return telemetry.HTTP_SECONDS.labels(route.replace("projects/", "projects/{project_token}/"), str(status))
