"""The composition root: settings in, the whole service out."""

import asyncio
import functools
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver import telemetry
from receiver.console import routes as console
from receiver.inbound.deliveries import Policy
from receiver.inbound.writer import Writer
from receiver.outbound.gateway import Gateway
from receiver.outbound.pump import Pump
from receiver.outbound.relay_thread import RelayThread
from receiver.settings import Settings, read_settings
from receiver.store import engine as database
from receiver.store.checkpoints import Checkpoints
from receiver.store.sets import Ledger
from receiver.web import answers, api, data, gateway, health, openapi, tracking
from receiver.web.auth import LiveKeyring
from receiver.web.intake import Intake
from receiver.web.state import State


def create_app(settings: Settings) -> ASGIApp:
    """The service for *settings*; the database is opened, and must be at head, when it starts."""
    framework = Starlette(
        routes=[
            *data.routes,
            *api.routes,
            *gateway.routes,
            *health.routes,
            *console.routes,
            openapi.route(settings),
        ],
        exception_handlers=answers.exception_handlers,
        lifespan=functools.partial(_lifespan, settings=settings),
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Callbacks take the short way; everything else goes through the framework."""
        if scope["type"] == "http" and (route := tracking.route_of(scope["path"])):
            await tracking.track(scope, receive, send, *route)
        else:
            await framework(scope, receive, send)

    return app


def from_environment() -> ASGIApp:
    """What each worker process makes of its environment."""
    settings = read_settings()
    telemetry.configure_logging(settings.log_level)
    return create_app(settings)


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings) -> AsyncIterator[State]:
    engine = database.connect(
        settings.database_url, wait_seconds=settings.database_seconds, checkpoints=False
    )
    policy = Policy.of(settings)
    try:
        with LiveKeyring(engine) as keys, Checkpoints(engine):
            # A lock may be waited for as long, and the group before may have waited for one too.
            answer_seconds = 2 * settings.database_seconds + 1
            writer = Writer(
                Ledger(engine), policy, queue_bytes=settings.queue_bytes, answer_seconds=answer_seconds
            )
            passing = Gateway(engine, settings)
            pump = Pump(engine, settings)
            relay = RelayThread(engine, settings, writer.idle_seconds)
            # First of all: nothing that is accepted from now on shall be left out.
            relay.start()
            writer.start()
            passing.start()
            pump.start()
            # What lives as long as the process need not be looked at by each collection.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            telemetry.log("started")
            try:
                yield {
                    "settings": settings,
                    "engine": engine,
                    "keys": keys,
                    "policy": policy,
                    "writer": writer,
                    "intake": Intake(settings),
                    "gateway": passing,
                    "pump": pump,
                }
            finally:
                # A far side that hangs shall not keep the others from their end.
                relay_ends = asyncio.create_task(asyncio.to_thread(relay.stop))
                await writer.stop()
                await asyncio.to_thread(passing.stop, answer_seconds)
                await pump.stop()
                await relay_ends
                telemetry.log("stopped")
    finally:
        engine.dispose()
