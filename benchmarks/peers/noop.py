"""A route that does nothing: the most that this HTTP server and framework can do on one core."""

import argparse

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def answer(request: Request) -> JSONResponse:
    return JSONResponse({"success": True, "errors": []})


app = Starlette(
    routes=[
        Route("/track/v2/projects/{project_token}/customers/events", answer, methods=["POST"]),
        Route("/readyz", answer),
    ]
)


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
