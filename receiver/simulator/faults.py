"""What goes wrong at the simulated Optilyz."""

from collections.abc import Callable

from starlette.responses import HTMLResponse, JSONResponse, Response

from receiver.simulator.connections import CutOff, Reset


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message}}, status, headers)


FAILURES: dict[str, Callable[[], Response]] = {
    "500": lambda: error(500, "Internal error"),
    "503": lambda: error(503, "Unavailable"),
    "refuse-whole": lambda: error(400, "The request is invalid"),
    "garbage": lambda: HTMLResponse("<html>Not what you expect"),
    "hang": lambda: Response(),
    "cut": lambda: CutOff(b'{"results": ['),
    "reset": Reset,
}
FAULTS = {*FAILURES, "429", "503-retry", "short", "queue-then-hang", "queue-then-cut"}
