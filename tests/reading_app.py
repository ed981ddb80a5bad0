"""A service that only answers questions, over rows that a test wrote."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from receiver.inbound.deliveries import Policy
from receiver.inbound.writer import Writer
from receiver.settings import Settings
from receiver.store.keys import NewProject
from receiver.store.sets import Ledger
from receiver.web import api, data
from receiver.web.auth import LiveKeyring
from receiver.web.intake import Intake
from receiver.web.state import State


@contextmanager
def asking(engine: Engine, **settings: Any) -> Iterator[TestClient]:
    """A client of both reading APIs; *settings* differ from the defaults."""
    chosen = Settings(**settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        with LiveKeyring(engine) as keys:
            # Nothing is written, so the writer is not begun; it is asked how much waits for it.
            writer = Writer(Ledger(engine), Policy.of(chosen), queue_bytes=0, answer_seconds=1)
            state = {
                "engine": engine,
                "keys": keys,
                "settings": chosen,
                "intake": Intake(chosen),
                "writer": writer,
            }
            yield cast(State, state)

    with TestClient(Starlette(routes=[*data.routes, *api.routes], lifespan=lifespan)) as client:
        yield client


def authorization(project: NewProject, role: str) -> dict[str, str]:
    """The header of the project's key of this *role*."""
    key = next(key for key in project.keys if key.role == role)
    return {"authorization": "Basic " + b64encode(f"{key.key_id}:{key.secret}".encode()).decode()}
