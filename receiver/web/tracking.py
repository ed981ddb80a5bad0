"""Tracking API routes and the flat form: what comes in from Optilyz, answered in the vendor's shapes.

These routes are a small ASGI function of their own in front of the framework, because a quarter of the
time of a request would otherwise go into routing and request objects.  Shapes and texts: the vendor's
documentation of the Tracking API v2, as collected in docs/tracking-sheet.md.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import cast
from urllib.parse import parse_qsl

from prometheus_client import Histogram
from starlette.types import Receive, Scope, Send

from receiver import telemetry
from receiver.domain.commands import Form, Outcome, Reason, Rejection
from receiver.domain.grading import OF_THE_WHOLE
from receiver.inbound.deliveries import Delivery, Verdict
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

# More results than these are sent in parts of so many.
_MANY = 1000

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
    try:
        answer = await _answer(scope, receive, route, project_token)
    except Exception as error:
        # Nothing was answered yet, so nothing was promised; the framework would have done the same.
        telemetry.log("request_failed", level=logging.ERROR, **telemetry.described(error))
        answer = _json(500, _errors(500, "Something went wrong here; the log says where."))
    if answer is None:
        telemetry.TURNED_AWAY.labels("hung_up").inc()
        return
    status, headers, body = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if isinstance(body, bytes):
        await send({"type": "http.response.body", "body": body})
    else:
        for part in body:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    _http_seconds(route, status).observe(time.perf_counter() - started)


Answer = tuple[int, list[tuple[bytes, bytes]], bytes | Iterator[bytes]]
"""Status, headers, and the body: whole, or in parts that are made while it is sent."""


async def _answer(scope: Scope, receive: Receive, route: str, project_token: str) -> Answer | None:
    """Status, headers and body; None where the sender has hung up."""
    method = scope["method"]
    if method != "POST" and not (method == "GET" and route == SYSTEM_TIME):
        allowed = b"GET, POST" if route == SYSTEM_TIME else b"POST"
        return _json(
            405, _errors(405, "The method is not allowed for the requested URL."), (b"allow", allowed)
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
    delivery = Delivery(caller.project_id, Source.CALLBACK, form, body, scope["headers"], now_us)
    try:
        if form is Form.EVENT or form is Form.UPDATE:
            (verdict,) = await state["writer"].keep(delivery, _verdict)
            return _of_single(verdict, state["settings"].reject_status)
        return _of_batch(now_us, await state["writer"].keep(delivery, _result))
    except NotStored as outage:
        return _turned_away(TurnedAway(outage.cause, 503, _NOT_STORED[outage.cause]))


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
    return status, [*_of_length(len(body)), *headers], body


def _of_length(length: int) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]


_encode = json.JSONEncoder().encode
_SINGLE_DONE = _json(200, {"success": True, "errors": []})


def _turned_away(why: TurnedAway) -> Answer:
    telemetry.TURNED_AWAY.labels(why.cause).inc()
    # What was not read to its end cannot be followed by another request on the same connection.
    headers = [_RETRY_LATER] if why.status == 503 else [(b"connection", b"close")]
    return _json(why.status, {"success": False, "error": why.message}, *headers)


def _errors(status: int, text: str) -> dict[str, object]:
    return {"success": False, "errors": {"code": status, "description": text}}


def _verdict(_: Outcome, verdict: Verdict | None) -> Verdict | None:
    return verdict


def _of_single(verdict: Verdict | None, reject_status: int) -> Answer:
    if verdict is None or verdict.rejection is None:
        return _SINGLE_DONE
    return _json(reject_status, {"success": False, "errors": _reasons(*verdict.rejection[:3])})


def _result(outcome: Outcome, verdict: Verdict | None) -> bytes | Rejection:
    """What stands in ``results``; the Rejection where a batch or list was refused as a whole."""
    if verdict is None:
        result = b'{"success": true, "time": %.6f}' % (time.time_ns() / 1e9)
    elif verdict.rejection is None:
        result = b'{"success": true}'
    elif verdict.rejection.reason in OF_THE_WHOLE:
        return verdict.rejection
    else:
        result = _refused(*verdict.rejection[:3])
    command_id = outcome.command_id
    if command_id is None:
        return result
    return b'%b, "command_id": %b}' % (result[:-1], _encode(command_id).encode())


def _of_batch(received_us: int, described: Sequence[bytes | Rejection]) -> Answer:
    if isinstance(refused := described[0], Rejection):
        return _json(400, {"success": False, "message": VENDOR_TEXTS.get(refused.reason, refused.detail)})
    results = cast(Sequence[bytes], described)  # what is refused as a whole stands alone
    tail = b'], "start_time": %.6f, "end_time": %.6f}' % (received_us / 1e6, time.time_ns() / 1e9)
    if len(results) <= _MANY:
        return _bytes(200, _BEGIN + b", ".join(results) + tail)
    length = len(_BEGIN) + sum(map(len, results)) + 2 * (len(results) - 1) + len(tail)
    return 200, _of_length(length), _parts(results, tail)


_BEGIN = b'{"success": true, "results": ['


def _parts(results: Sequence[bytes], tail: bytes) -> Iterator[bytes]:
    """A long answer, made while it is sent."""
    before = _BEGIN
    for start in range(0, len(results), _MANY):
        yield before + b", ".join(results[start : start + _MANY])
        before = b", "
    yield tail


@lru_cache(maxsize=256)
def _refused(reason: Reason, detail: str, pointer: str) -> bytes:
    """A result; in a list of a million that are wrong alike it is in memory once."""
    return b'{"success": false, "errors": %b}' % _encode(_reasons(reason, detail, pointer)).encode()


def _reasons(reason: Reason, detail: str, pointer: str) -> list[str]:
    """The vendor's text where there is one, then ours: which field, what is wrong, what to do."""
    ours = f"{reason} at {pointer or 'the command itself'}: {detail}"
    vendors = VENDOR_TEXTS.get(reason)
    return [ours] if vendors is None else [vendors, ours]


@cache
def _http_seconds(route: str, status: int) -> Histogram:
    return telemetry.HTTP_SECONDS.labels(route.replace("projects/", "projects/{project_token}/"), str(status))
