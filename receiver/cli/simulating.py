"""``receiver simulate optilyz`` and ``receiver simulate bloomreach``."""

import os
import signal
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from jinja2 import TemplateSyntaxError
from jinja2.sandbox import SandboxedEnvironment

from receiver.cli.session import failed
from receiver.simulator import bloomreach
from receiver.simulator.callbacks import TEMPLATE, Target
from receiver.simulator.obstacles import FAULTS, USUAL
from receiver.simulator.service import AUTOMATION, Options, server


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    simulate = typer.Typer(no_args_is_help=True, help="Stand-ins for the vendors.")
    simulate.command("optilyz")(simulate_optilyz)
    simulate.command("bloomreach")(simulate_bloomreach)
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
    with _listening(host, port) as listener:
        port = listener.getsockname()[1]
        typer.echo(_about_optilyz(f"http://{host}:{port}", key or "any-key"))
        _run(server(options, host=host, port=port), listener)


def simulate_bloomreach(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8002,
    project_token: Annotated[str, typer.Option(help="The token of the project.")] = bloomreach.PROJECT_TOKEN,
    key_id: Annotated[str, typer.Option(help="The ID of the API key.")] = bloomreach.KEY_ID,
    secret: Annotated[str, typer.Option(help="The secret of the API key.")] = bloomreach.SECRET,
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="NAME", help="A name of IDs that it knows: registered and cookie."),
    ] = None,
    per_minute: Annotated[
        int, typer.Option(min=1, help="Requests a minute of one address; one more is answered 429.")
    ] = 6000,
    per_second: Annotated[
        int | None, typer.Option(min=1, help="Requests a second of one address, if that is bound too.")
    ] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that an answer takes.")] = 0.0,
    chance: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the requests that go wrong, at random.")
    ] = 0.0,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", metavar="FAULT", help="How they go wrong: any of these.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same one makes the same faults.")] = 0,
) -> None:
    """Stand in for Bloomreach's Tracking API: keep its rules, and what it is told, until it ends."""
    unknown = sorted(set(kinds or ()) - FAULTS)
    if unknown:
        message = f"{', '.join(unknown)}: there are only {', '.join(sorted(FAULTS))}"
        raise typer.BadParameter(message, param_hint="--kind")
    options = bloomreach.Options(
        project_token,
        key_id,
        secret,
        tuple(ids or ("registered", "cookie")),
        per_minute,
        per_second,
        troubles={"latency": latency, "chance": chance, "kinds": kinds or USUAL, "seed": seed},
    )
    with _listening(host, port) as listener, closing(bloomreach.Bloomreach(options)) as simulated:
        port = listener.getsockname()[1]
        typer.echo(_about_bloomreach(f"http://{host}:{port}", options))
        _run(simulated.server(host=host, port=port), listener)


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "there is no such address"
        raise failed(f"Cannot listen on {host}:{port}: {why}.") from None


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    # After its orderly end uvicorn sends itself the signal again: what was asked for is no failure.
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: sys.exit(0))
    server.run(sockets=[listener])


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


def _about_optilyz(url: str, key: str) -> str:
    return (
        f"A simulated Optilyz listens; set RECEIVER_OPTILYZ_BASE_URL={url}/api and stop it with Ctrl-C.\n"
        f"What it has seen: {url}/simulator/state\n\n"
        f"curl -u '{key}:' {url}/api/v2/automations/{AUTOMATION}/recipient"
        " -H 'Content-Type: application/json' -d '"
        '{"address": {"lastName": "Beispiel", "street": "Hauptstr.", "zipCode": "01067", "city": "Dresden"}}'
        "'\n"
    )


def _about_bloomreach(url: str, options: bloomreach.Options) -> str:
    return (
        "A simulated Tracking API of Bloomreach listens; stop it with Ctrl-C.  Set:\n"
        f"RECEIVER_BLOOMREACH_BASE_URL={url}\n"
        f"RECEIVER_BLOOMREACH_PROJECT_TOKEN={options.project_token}\n"
        f"RECEIVER_BLOOMREACH_KEY_ID={options.key_id}\n"
        f"RECEIVER_BLOOMREACH_SECRET={options.secret}\n"
        f"What it has seen and kept: {url}/simulator/state and {url}/simulator/events\n\n"
        f"curl -u '{options.key_id}:{options.secret}' {url}/track/v2/projects/{options.project_token}/batch"
        " -H 'Content-Type: application/json' -d '"
        '{"commands": [{"name": "customers/events", "data": {"customer_ids": {"'
        f'{options.ids[0]}": "c-1001"'
        '}, "event_type": "campaign", "properties": {"status": "posted"}}}]}'
        "'\n"
    )
