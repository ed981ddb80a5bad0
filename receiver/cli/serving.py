"""``receiver serve``, ``migrate`` and ``check``."""

import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import closing
from typing import Annotated

import typer
import uvicorn
from sqlalchemy import Engine

from receiver import telemetry
from receiver.cli.relay_settings import relay_needs
from receiver.cli.session import failed, opened, settings_or_exit
from receiver.settings import Settings
from receiver.store import engine as database
from receiver.store import keys
from receiver.web.heads import BoundedHeads

# Senders that are still talking when the service is told to end get this long.
_GRACE_SECONDS = 10


def register(app: typer.Typer) -> None:
    app.command()(serve)
    app.command()(migrate)
    app.command()(check)


def serve(
    init: Annotated[
        bool, typer.Option("--init", help="Migrate first, and make the project `default` if there is none.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; more than 1 needs PostgreSQL.")] = None,
) -> None:
    """Receive callbacks over HTTP."""
    settings = settings_or_exit(host=host, port=port, workers=workers)
    with opened(settings, create=init) as engine:
        if init:
            _migrate(engine)
        if problems := database.problems(engine):
            raise failed("\n".join(problems))
        if init:
            _introduce(engine, settings)
    _say_half_a_relay(settings)
    telemetry.configure_logging(settings.log_level)
    if settings.workers > 1:
        # Worker processes count together through files; they end with the service.
        with tempfile.TemporaryDirectory(prefix="receiver-metrics-") as folder:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            _run(settings)
    else:
        _run(settings)


def _run(settings: Settings) -> None:
    # Each worker process reads the environment, so what the command line said must stand there too.
    for name in ("host", "port", "workers"):
        os.environ[f"RECEIVER_{name.upper()}"] = str(getattr(settings, name))
    _refuse_a_taken_port(settings)
    # After its orderly end uvicorn sends itself the signal again: what was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        "receiver.app:from_environment",
        factory=True,
        http=BoundedHeads,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _refuse_a_taken_port(settings: Settings) -> None:
    try:
        socket.create_server((settings.host, settings.port)).close()
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else "there is no such address"
        raise failed(f"Cannot listen on {settings.host}:{settings.port}: {why}.") from None


def _introduce(engine: Engine, settings: Settings) -> None:
    """Make the first project and show, this once, how to send to it."""
    with engine.execution_options(writes=True).begin() as connection:
        if keys.projects(connection):
            return
        project = keys.create_project(connection, "default", public=False, now_us=time.time_ns() // 1000)
    typer.echo(f"Project `default` made.  Token: {project.token}\n")
    for key in project.keys:
        typer.echo(f"  {key.role:<9} key ID {key.key_id}  secret {key.secret}")
    tracking = next(key for key in project.keys if key.role == keys.Role.TRACKING)
    typer.echo(
        "\nThe secrets are shown this once.  When it runs, send a first event:\n\n"
        f"curl -u {tracking.key_id}:{tracking.secret}"
        f" http://{settings.host}:{settings.port}/track/v2/projects/{project.token}/customers/events"
        " -H 'Content-Type: application/json'"
        """ -d '{"customer_ids": {"registered": "c-1001"}, "event_type": "campaign","""
        """ "properties": {"status": "delivered", "campaign_id": "winback"}}'\n"""
    )


def _migrate(engine: Engine) -> None:
    # Imported here, because a start without --init does without Alembic, which takes half a second.
    from receiver.store.migrations import migrate

    migrate(engine)


def migrate() -> None:
    """Bring the database to the state that this version needs."""
    with opened(create=True) as engine:
        _migrate(engine)
    typer.echo("The database is at head.")


def check(
    optilyz: Annotated[bool, typer.Option("--optilyz", help="Also try the key at Optilyz.")] = False,
    bloomreach: Annotated[
        bool, typer.Option("--bloomreach", help="Also try the key at Bloomreach, for the relay.")
    ] = False,
) -> None:
    """Say whether the settings are valid and the database can be used; exit code 0 or 1."""
    settings = settings_or_exit()
    with opened(settings) as engine:
        problems = database.problems(engine)
    if optilyz and (problem := _problem_at_optilyz(settings)):
        problems.append(problem)
    if bloomreach and (problem := _problem_at_bloomreach(settings)):
        problems.append(problem)
    if problems:
        raise failed("\n".join(problems))
    typer.echo("The settings are valid; the database is reachable, at head and writable.")
    if optilyz:
        typer.echo("Optilyz accepts the key.")
    if bloomreach:
        typer.echo(
            "Bloomreach accepts the key; whether it may do all that the relay does shows when it does."
        )
    else:
        _say_half_a_relay(settings)


def _say_half_a_relay(settings: Settings) -> None:
    """Who has set some of what the relay needs wants it to be on."""
    if len(settings.missing_for_relay) in {1, 2, 3}:
        typer.echo(relay_needs(settings), err=True)


def _problem_at_bloomreach(settings: Settings) -> str | None:
    # Imported here, as below.
    from receiver.outbound.bloomreach import bloomreach_of

    bloomreach = bloomreach_of(settings)
    if bloomreach is None:
        return relay_needs(settings)
    with closing(bloomreach):
        return bloomreach.check()


def _problem_at_optilyz(settings: Settings) -> str | None:
    # Imported here: a start of the service need not wait for it twice.
    from receiver.outbound.jobs import NotSent, optilyz_of

    try:
        return optilyz_of(settings).check()
    except NotSent as error:
        return str(error)
