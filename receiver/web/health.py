"""Is the process alive, can it store now, and what has it counted: for machines that watch it."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver import telemetry
from receiver.store import engine as database
from receiver.web.state import State


async def healthz(_: Request[State]) -> Response:
    """The process answers.  Deliberately says nothing about the database: a restart would not mend that."""
    return JSONResponse({"status": "alive"})


def readyz(request: Request[State]) -> Response:
    """Whether a callback could be stored now; why not stands in the log and in `receiver check`."""
    if not request.state["writer"].alive or database.problems(request.state["engine"]):
        return JSONResponse({"status": "not ready"}, 503, {"retry-after": "5"})
    return JSONResponse({"status": "ready"})


def metrics(_: Request[State]) -> Response:
    body, content_type = telemetry.exposition()
    return Response(body, media_type=content_type)


routes = [
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/metrics", metrics),
]
