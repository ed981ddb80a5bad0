"""Our own API, asked in the process: the same question, the same answer, the same permission.

So every number on a page can be had by a program, and every page can say how.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from receiver.console.sessions import Session
from receiver.web import answers, api
from receiver.web.answers import Operation
from receiver.web.auth import may
from receiver.web.outside import address_of
from receiver.web.shown import in_sql
from receiver.web.state import State

_OPERATIONS = [(operation, *compile_path(api.pattern(operation))) for operation in api.OPERATIONS]

_LONGEST_BODY = 2000


class Document(dict[str, Any]):
    """An object of an answer.  What the API leaves out, because it is not there, is None for a template."""

    def __missing__(self, name: str) -> None:
        return None


class Answer(NamedTuple):
    """What the API answers to one question, and how to ask it elsewhere.

    Attributes:
        document: the answer as JSON, or a problem (RFC 9457).
        curl: the question as a command line.
        sql: the statements behind the answer, where they were asked for.
    """

    status: int
    document: Any
    curl: str
    sql: list[str] | None = None

    @property
    def good(self) -> bool:
        return self.status < 400

    @property
    def said(self) -> str:
        """Why the API refused, in its own words."""
        mistakes = self.document.get("errors") or []
        whole = self.document["detail"].partition("; `errors`")[0].removesuffix(".")
        return " ".join(
            [f"{whole}.", *(f"{each.get('parameter', 'It')}: {each['detail']}" for each in mistakes)]
        )


def ask(
    request: Request[State],
    session: Session,
    path: str,
    question: Mapping[str, object] | None = None,
    *,
    method: str = "GET",
    sql: bool = False,
) -> Answer:
    """The answer to *question* (parameters, or the body of a POST) at *path* behind the project; blocks.

    What is None or empty in a question is not asked.
    """
    asked = {name: value for name, value in (question or {}).items() if value not in (None, "")}
    response = respond(request, session, path, asked, method=method)
    document = json.loads(bytes(response.body) or b"null", object_hook=Document)
    statements = None
    if sql and response.status_code < 400:
        shown = respond(request, session, path, asked, method=method, sql=True)
        statements = json.loads(bytes(shown.body)).get("sql")
    return Answer(
        response.status_code, document, curl(request, session, path, asked, method=method), statements
    )


def respond(
    request: Request[State],
    session: Session,
    path: str,
    question: Mapping[str, object],
    *,
    method: str = "GET",
    sql: bool = False,
) -> Response:
    """The API's own response, for files too."""
    operation, parts = _operation(method, path)
    if not may(session.caller.role, operation.action):
        return answers.problem(403, f"No permission: this key may not {operation.action.value}.")
    state: dict[str, Any] = {**request.scope["state"]}
    inner: Request[State] = Request({**request.scope, "path_params": parts, "state": state})
    try:
        read = operation.question.model_validate(question, context=state["settings"])
    except ValidationError as error:
        wrong = answers.wrong_fields if method == "POST" else answers.wrong_parameters
        return wrong(error)
    answer = in_sql(operation.answer) if sql else operation.answer
    return answer(inner, session.caller, read)


def _operation(method: str, path: str) -> tuple[Operation, dict[str, Any]]:
    for operation, pattern, _, convertors in _OPERATIONS:
        if operation.method == method and (match := pattern.match(path)):
            parts = match.groupdict()
            return operation, {name: convertors[name].convert(text) for name, text in parts.items()}
    raise LookupError(f"The API has no {method} {path}.")


def curl(
    request: Request[State],
    session: Session,
    path: str,
    question: Mapping[str, object],
    *,
    method: str = "GET",
) -> str:
    """The question as a command for a shell, with a place for the secret."""
    url = f"{address_of(request)}/v1/projects/{session.project_token}{quote(path)}"
    command = f"curl -u {session.caller.key_id}:SECRET "
    if method == "POST":
        body = json.dumps(question, ensure_ascii=False)
        # A page has no room for a whole file.
        data = shlex.quote(body) if len(body) <= _LONGEST_BODY else "@body.json"
        return f"{command}-H 'Content-Type: application/json' -d {data} {shlex.quote(url)}"
    parameters = urlencode({name: str(value) for name, value in question.items()})
    command += "" if method == "GET" else f"-X {method} "
    return command + shlex.quote(f"{url}?{parameters}" if parameters else url)
