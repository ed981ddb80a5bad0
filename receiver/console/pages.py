"""What every page has in common: somebody has signed in, may see it, and gets it in their time zone."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver import telemetry
from receiver.console import asking, rendering, sessions
from receiver.console.asking import Answer
from receiver.console.rendering import SECURITY_HEADERS, query
from receiver.console.sessions import Session
from receiver.console.uploads import MULTIPART, Upload, read_parts
from receiver.store.engine import Fault, fault
from receiver.web.auth import Action, may
from receiver.web.intake import TurnedAway
from receiver.web.questions import body_of
from receiver.web.state import State

PREFIX = "/console"
SIGN_IN = f"{PREFIX}/sign-in"


class Page(NamedTuple):
    """What makes a page: a template and its values; *status* of the answer."""

    template: str
    values: Mapping[str, object]
    status: int = 200


class Elsewhere(NamedTuple):
    """The page is another one, behind PREFIX."""

    path: str


class Visit:
    """One request of somebody who has signed in.

    Attributes:
        question: the parameters of the URL, each as it was given last.
        form: the fields of the form that was sent; empty for a page that is only looked at.
        files: those that came with the form.
    """

    def __init__(
        self,
        request: Request[State],
        session: Session,
        form: Mapping[str, str],
        files: Mapping[str, Upload] = MappingProxyType({}),
    ) -> None:
        self.request = request
        self.session = session
        self.question = dict(request.query_params)
        self.form = form
        self.files = files
        self.zone = zone_of(request)
        self.asked: list[tuple[str, Answer]] = []

    @property
    def operates(self) -> bool:
        """Whether the key may see and repair what was refused."""
        return may(self.session.caller.role, Action.OPERATE)

    def ask(
        self,
        what: str,
        path: str,
        question: Mapping[str, object] | None = None,
        *,
        method: str = "GET",
    ) -> Answer:
        """The API's answer; *what* names it where the page says how it was asked."""
        sql = self.question.get("show") == "sql" and method == "GET"
        answer = asking.ask(self.request, self.session, path, question, method=method, sql=sql)
        self.asked.append((what, answer))
        return answer

    def file(self, path: str, question: Mapping[str, object]) -> Page | Response:
        """The file that the API answers with, handed on as it is; a page where it has none."""
        response = asking.respond(self.request, self.session, path, question)
        if response.status_code >= 400:
            said = json.loads(bytes(response.body))["detail"]
            return Page("failed.html", {"said": said}, response.status_code)
        return response


Make = Callable[[Visit], Page | Elsewhere | Response]


def page(
    path: str, make: Make, *, action: Action = Action.READ, methods: tuple[str, ...] = ("GET",)
) -> Route:
    """The route of a page that *make* makes, in a thread, for who may do *action*."""

    async def endpoint(request: Request[State]) -> Response:
        session = session_of(request)
        if session is None:
            there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            # Behind a form that has no page of its own there is nothing to come back to.
            return RedirectResponse(SIGN_IN + (f"?{query({'next': there})}" if "GET" in methods else ""), 303)
        form: Mapping[str, str] = {}
        files: Mapping[str, Upload] = {}
        if request.method == "POST":
            body = await body_of(request)
            if isinstance(body, TurnedAway):
                return failed(
                    request, session, body.status or 400, body.message or "The form has not arrived."
                )
            kind = request.headers.get("content-type", "")
            form, files = (
                await read_parts(kind, body) if kind.startswith(MULTIPART) else (read_form(body), {})
            )
            if not sessions.is_proof(session, form.get("proof")):
                return failed(
                    request, session, 403, "This form is not ours, or too old. Load the page again."
                )
        if not may(session.caller.role, action):
            return failed(
                request, session, 403, f"This key may not {action.value}; sign in with one of the role ops."
            )
        return await run_in_threadpool(_made, make, Visit(request, session, form, files))

    return route(path, endpoint, methods=methods)


def route(
    path: str, endpoint: Callable[[Request[State]], Awaitable[Response]], *, methods: Iterable[str] = ("GET",)
) -> Route:
    """A route whose answers all carry the SECURITY_HEADERS."""
    guarded = [Middleware(_Guarded)]
    return Route(PREFIX + path, endpoint, methods=list(methods), include_in_schema=False, middleware=guarded)


class _Guarded:
    """Whatever is answered, a browser is told what it may not do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded)


def _made(make: Make, visit: Visit) -> Response:
    try:
        made = make(visit)
        if isinstance(made, Response):
            return made
        if isinstance(made, Elsewhere):
            return RedirectResponse(PREFIX + made.path, 303)
        return show(visit.request, visit.session, made, visit)
    except Exception as error:
        if fault(error) in {Fault.AWAY, Fault.REPEAT}:
            return failed(
                visit.request, visit.session, 503, "The database cannot be asked now; try again in a moment."
            )
        telemetry.log("request_failed", level=logging.ERROR, **telemetry.described(error))
        return failed(visit.request, visit.session, 500, "Something went wrong here; the log says where.")


def show(
    request: Request[State], session: Session | None, made: Page, visit: Visit | None = None
) -> Response:
    """The response for a page."""
    common: dict[str, Any] = {
        "session": session,
        "operates": session is not None and may(session.caller.role, Action.OPERATE),
        "path": request.url.path.removeprefix(PREFIX) or "/",
        "question": dict(request.query_params),
        "asked": visit.asked if visit else [],
        "prefix": PREFIX,
    }
    return rendering.page(made.template, {**common, **made.values}, zone=zone_of(request), status=made.status)


def failed(request: Request[State], session: Session | None, status: int, said: str) -> Response:
    """A page that says in a sentence why there is no other."""
    return show(request, session, Page("failed.html", {"said": said}, status))


def session_of(request: Request[State]) -> Session | None:
    return sessions.read(request.state["keys"].keyring, request.cookies.get(sessions.COOKIE))


def zone_of(request: Request[State]) -> ZoneInfo:
    return rendering.zone_of(request.cookies.get(rendering.ZONE_COOKIE))


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form as a browser sends it; what is no such form has none."""
    try:
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=200))
    except ValueError:
        return {}
