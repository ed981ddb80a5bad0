"""How the reading routes answer: problems (RFC 9457) of our own API, the vendor's shapes of the Data API."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from receiver import telemetry
from receiver.web.auth import Action, Caller, Refusal
from receiver.web.state import State

_RETRY_LATER = {"retry-after": "5"}
_WHO = {"www-authenticate": 'Basic realm="receiver"'}


class Operation(NamedTuple):
    """One route: what it is made from, and what /openapi.json says of it.

    Attributes:
        question: the model of the parameters, or of the body.
        answer: called in a thread, with the question read and the caller known.
        document: the model of a good answer in JSON.
        errors: the statuses of all other answers.
        files: the media types that a good answer may have instead of JSON.
        method: of our own API; the question of a POST is its body.  The Data API knows no other.
    """

    path: str
    action: Action
    question: type[BaseModel]
    answer: Callable[[Request[State], Caller, Any], Response]
    document: type[BaseModel]
    errors: tuple[int, ...]
    files: tuple[str, ...] = ()
    method: str = "GET"


AWAY = "The database cannot be asked now; ask again later."


def streamed(texts: Iterable[str], media_type: str, name: str | None = None) -> Response:
    """An answer of any length, made while it is sent; *name* is the file that a browser makes of it.

    The first text is made now, so that a database that is away is still an answer and not half of one.
    """
    # Encoded here, in the thread that makes the text: left to the framework it would hold up the event loop.
    return streamed_bytes((text.encode() for text in texts), media_type, name)


def streamed_bytes(parts: Iterator[bytes], media_type: str, name: str | None = None) -> Response:
    """The same of what is no text."""
    first = next(parts, b"")
    headers = {"content-disposition": f'attachment; filename="{name}"'} if name else None
    return StreamingResponse(chain([first], parts), media_type=media_type, headers=headers)


def _headers(status: int) -> Mapping[str, str] | None:
    return {401: _WHO, 503: _RETRY_LATER}.get(status)


def sentences(error: ValidationError) -> Iterator[tuple[Sequence[int | str], str]]:
    """Where each mistake is, and what it is; no sentence quotes a value."""
    for mistake in error.errors(include_url=False, include_context=False, include_input=False):
        yield mistake["loc"], f"{_WORDS.get(mistake['type'], mistake['msg']).removesuffix('.')}."


_WORDS = {
    "extra_forbidden": "There is nothing of this name",
    "json_invalid": "Invalid JSON",
    "missing": "It is missing",
    "model_type": "Send an object",
}


# -- our own API ----------------------------------------------------------------------------------


def problem(status: int, detail: str, errors: Sequence[Mapping[str, str]] = ()) -> Response:
    """An error by RFC 9457; *errors* say where: ``{"parameter" or "pointer", "detail"}``."""
    document: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = errors
    return JSONResponse(document, status, _headers(status), "application/problem+json")


def document(answer: BaseModel, status: int = 200) -> Response:
    text = answer.model_dump_json(exclude_unset=True)
    return Response(text, status, _headers(status), "application/json")


def refused(refusal: Refusal) -> Response:
    return problem(refusal.status, f"{refusal.message.removesuffix('.')}.")


def wrong_parameters(error: ValidationError) -> Response:
    errors = [
        {**({"parameter": str(where[0])} if where else {}), "detail": said}
        for where, said in sentences(error)
    ]
    return problem(400, "A parameter cannot be used; `errors` says which.", errors)


def wrong_fields(error: ValidationError) -> Response:
    errors = [{"pointer": _pointer(where), "detail": said} for where, said in sentences(error)]
    return problem(400, "The body cannot be used; `errors` says why.", errors)


def _pointer(where: Sequence[int | str]) -> str:
    """By RFC 6901; empty for the whole body."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in where)


# -- the vendor's shapes --------------------------------------------------------------------------

NO_PERMISSION = "No permission"


def vendor_error(status: int, message: str) -> Response:
    """The vendor's shape of what is wrong with the request as such."""
    return JSONResponse({"success": False, "error": message}, status, _headers(status))


def vendor_errors(status: int, errors: Mapping[str, Sequence[str]]) -> Response:
    """The vendor's shape of what is wrong with a field; ``_global`` where it is no field."""
    return JSONResponse({"success": False, "errors": errors}, status)


def wrong_body(error: ValidationError) -> Response:
    errors: dict[str, list[str]] = {}
    for where, said in sentences(error):
        # Of the way into a field only the places in lists: a key there may be somebody's address.
        places = "".join(f"Item {step + 1}: " for step in where if isinstance(step, int))
        errors.setdefault(str(where[0]) if where else "_global", []).append(places + said)
    return vendor_errors(400, errors)


# -- what no route answers ------------------------------------------------------------------------

_VENDOR_PATHS = ("/track/", "/optilyz/", "/data/", "/api/")


async def _not_answered(request: Request[State], error: Exception) -> Response:
    """A path or method that is not there, or a body that is too large, in the shape of its neighbours."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _in_shape(request, status, f"{HTTPStatus(status).phrase}.")


async def _failed(request: Request[State], error: Exception) -> Response:
    telemetry.log("request_failed", level=logging.ERROR, **telemetry.described(error))
    return _in_shape(request, 500, "Something went wrong here; the log says where.")


def _in_shape(request: Request[State], status: int, detail: str) -> Response:
    if request.url.path.startswith(_VENDOR_PATHS):
        errors = {"code": status, "description": detail}
        return JSONResponse({"success": False, "errors": errors}, status, _headers(status))
    return problem(status, detail)


exception_handlers: Mapping[Any, Any] = {HTTPException: _not_answered, Exception: _failed}
