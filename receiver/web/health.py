"""Is the process alive, can it store now, and what has it counted: for machines that watch it."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver import telemetry
from receiver.store import engine as database
from receiver.web.answers import document
from receiver.web.documents import HealthDocument
from receiver.web.state import State


async def healthz(_: Request[State]) -> Response:
    """The process answers.

    Deliberately says nothing about the database: a restart would not mend that.
    """
    return document(HealthDocument(status="alive"))


def readyz(request: Request[State]) -> Response:
    """Whether a callback, or a letter, could be stored now.

    Why not stands in the log and in `receiver check`.
    """
    state = request.state
    alive = state["writer"].alive and state["gateway"].alive
    if not alive or database.problems(state["engine"]):
        return document(HealthDocument(status="not ready"), 503)
    return document(HealthDocument(status="ready"))


def metrics(_: Request[State]) -> Response:
    """What was counted and measured, as text for Prometheus."""
    body, content_type = telemetry.exposition()
    return Response(body, media_type=content_type)


routes = [
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/metrics", metrics),
]
