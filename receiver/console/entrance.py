"""Signing in and out, and the viewer's time zone."""

import base64
import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.console import rendering, sessions
from receiver.console.pages import (
    PREFIX,
    SIGN_IN,
    Page,
    Visit,
    failed,
    page,
    read_form,
    route,
    session_of,
    show,
)
from receiver.web.auth import Action, Caller, may
from receiver.web.intake import TurnedAway
from receiver.web.outside import scheme_of
from receiver.web.questions import body_of
from receiver.web.state import State

_THROTTLE = sessions.Throttle()
_YEAR_SECONDS = 365 * 24 * 3600
_LONGEST_ID = 100


async def sign_in(request: Request[State]) -> Response:
    """Ask for a key, and remember whose it is."""
    there = _within(request.query_params.get("next"))
    if request.method in {"GET", "HEAD"}:
        if session_of(request) is not None:
            return RedirectResponse(there, 303)
        return show(request, None, Page("sign_in.html", {"said": None, "next": there, "key_id": ""}))
    body = await body_of(request)
    if isinstance(body, TurnedAway):
        return failed(request, None, body.status or 400, body.message or "The form has not arrived.")
    form = read_form(body)
    key_id, secret = form.get("key_id", "").strip()[:_LONGEST_ID], form.get("secret", "").strip()

    def again(said: str, status: int) -> Response:
        values = {"said": said, "next": there, "key_id": key_id}
        return show(request, None, Page("sign_in.html", values, status))

    if _comes_from_elsewhere(request):
        return again("This form came from another site. Sign in here.", 403)
    host = request.client.host if request.client else ""
    if wait := _THROTTLE.wait_seconds(host, key_id):
        return again(f"Too many wrong tries. Wait {int(wait) + 1} seconds.", 429)
    header = b"Basic " + base64.b64encode(f"{key_id}:{secret}".encode())
    keys = request.state["keys"]
    caller = await keys.authenticate_alone(header, time.time_ns() // 1000)
    if not isinstance(caller, Caller) or caller.key_id != key_id:
        _THROTTLE.failed(host, key_id)
        return again("No key has this ID and secret.", 403)
    _THROTTLE.succeeded(host, key_id)
    if not may(caller.role, Action.READ):
        return again(
            "This key has the role " + caller.role + "; sign in with one of the role ops or data.", 403
        )
    cookie = sessions.begin(keys.keyring, caller)
    if cookie is None:
        return again("The key has just been revoked.", 403)
    answer = RedirectResponse(there, 303)
    _set(request, answer, sessions.COOKIE, cookie, sessions.LASTS_SECONDS)
    return answer


def sign_out(_: Visit) -> Response:
    """Forget who it was."""
    answer = RedirectResponse(SIGN_IN, 303)
    answer.delete_cookie(sessions.COOKIE, path=PREFIX)
    return answer


def set_zone(visit: Visit) -> Response:
    """Remember the time zone in which times are shown."""
    answer = RedirectResponse(_within(visit.form.get("next")), 303)
    if (zone := visit.form.get("zone", "")) in rendering.zones():
        _set(visit.request, answer, rendering.ZONE_COOKIE, zone, _YEAR_SECONDS)
    return answer


def _within(path: str | None) -> str:
    """A page of ours to go to; never another site."""
    there = path or ""
    fits = there.startswith(f"{PREFIX}/") and not there.startswith(SIGN_IN) and there.isprintable()
    return there if fits else f"{PREFIX}/"


def _comes_from_elsewhere(request: Request[State]) -> bool:
    """Browsers say which site a form was on."""
    return request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}


def _set(request: Request[State], answer: Response, name: str, value: str, seconds: int) -> None:
    answer.set_cookie(
        name,
        value,
        max_age=seconds,
        path=PREFIX,
        httponly=True,
        samesite="strict",
        secure=scheme_of(request) == "https",
    )


routes = [
    route("/sign-in", sign_in, methods=("GET", "POST")),
    page("/sign-out", sign_out, methods=("POST",)),
    page("/zone", set_zone, methods=("POST",)),
]
