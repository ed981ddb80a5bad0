"""Every page of the console."""

from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from receiver.console import (
    campaigns,
    customer,
    entrance,
    grader,
    handover,
    mailings,
    overview,
    rehearsal,
    rejections,
    relay,
    suppressions,
)
from receiver.console.pages import PREFIX, failed, page, route, session_of
from receiver.web.state import State

_ALL = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_KEPT = {"cache-control": "max-age=300"}


@cache
def _static(name: str) -> bytes:
    return files("receiver.console").joinpath("static", name).read_bytes()


async def style(_: Request[State]) -> Response:
    """The one style sheet."""
    return Response(_static("console.css"), media_type="text/css", headers=_KEPT)


async def icon(_: Request[State]) -> Response:
    """What stands before the title of a page."""
    return Response(_static("icon.svg"), media_type="image/svg+xml", headers=_KEPT)


async def front(_: Request[State]) -> Response:
    """Where people who type the short address want to be."""
    return RedirectResponse(f"{PREFIX}/", 303)


async def nothing(request: Request[State]) -> Response:
    """Whatever else somebody has typed."""
    return failed(request, session_of(request), 404, "There is no such page.")


routes = [
    route("", front, methods=_ALL),
    route("/static/console.css", style),
    route("/static/icon.svg", icon),
    *entrance.routes,
    page("/", overview.overview),
    *campaigns.routes,
    *customer.routes,
    *rejections.routes,
    *rehearsal.routes,
    *suppressions.routes,
    *mailings.routes,
    *relay.routes,
    *handover.routes,
    *grader.routes,
    route("/{rest:path}", nothing, methods=_ALL),
]
