"""``receiver simulate optilyz``."""

import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer
from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from receiver.cli.session import failed
from receiver.simulator.callbacks import TEMPLATE, Target
from receiver.simulator.service import AUTOMATION, Options, server


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    simulate = typer.Typer(no_args_is_help=True, help="Stand-ins for the vendors.")
    # Keeps the name of the only command, which Typer would leave out.
    simulate.callback()(lambda: None)
    simulate.command("optilyz")(simulate_optilyz)
    app.add_typer(simulate, name="simulate")


def simulate_optilyz(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8001,
    key: Annotated[str | None, typer.Option(help="The API key; without it any but an empty one.")] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that an answer takes, on average.")] = 0.0,
    max_concurrency: Annotated[
        int, typer.Option(min=1, help="Requests at once; one more is answered 429.")
    ] = 2,
    callbacks: Annotated[str | None, typer.Option(metavar="URL", help="Where callbacks are posted.")] = None,
    callbacks_user: Annotated[
        str, typer.Option(metavar="USER:PASSWORD", help="Basic authentication of the callbacks.")
    ] = ":",
    template: Annotated[
        Path | None, typer.Option(help="Jinja template of one callback; without it the flat form.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Callbacks in a request.")] = 50,
    auto: Annotated[
        float | None,
        typer.Option(min=0.1, metavar="SECONDS", help="Post callbacks so long after letters are queued."),
    ] = None,
) -> None:
    """Stand in for Optilyz: queue letters, refuse bad addresses, post callbacks; nothing is printed."""
    if auto is not None and callbacks is None:
        raise typer.BadParameter("needs --callbacks", param_hint="--auto")
    target = Target(callbacks, callbacks_user, _template(template), batch)
    options = Options(key, latency, max_concurrency, callbacks=target, auto=auto)
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "there is no such address"
        raise failed(f"Cannot listen on {host}:{port}: {why}.") from None
    port = listener.getsockname()[1]
    typer.echo(_introduction(f"http://{host}:{port}", key or "any-key"))
    # After its orderly end uvicorn sends itself the signal again: what was asked for is no failure.
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: sys.exit(0))
    server(options, host=host, port=port).run(sockets=[listener])


def _template(path: Path | None) -> str:
    if path is None:
        return TEMPLATE
    try:
        text = path.read_text(encoding="utf-8")
        SandboxedEnvironment().parse(text)
    except (OSError, UnicodeDecodeError) as error:
        raise failed(f"Cannot read the template {path} ({type(error).__name__}).") from None
    except TemplateSyntaxError as error:
        raise failed(f"The template {path} is wrong in line {error.lineno}: {error.message}.") from None
    return text


def _introduction(url: str, key: str) -> str:
    return (
        f"A simulated Optilyz listens; set RECEIVER_OPTILYZ_BASE_URL={url}/api and stop it with Ctrl-C.\n"
        f"What it has seen: {url}/simulator/state\n\n"
        f"curl -u '{key}:' {url}/api/v2/automations/{AUTOMATION}/recipient"
        " -H 'Content-Type: application/json' -d '"
        '{"address": {"lastName": "Beispiel", "street": "Hauptstr.", "zipCode": "01067", "city": "Dresden"}}'
        "'\n"
    )
