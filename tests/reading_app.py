"""A service that only answers questions, over rows that a test wrote."""

from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from receiver.settings import Settings
from receiver.store.keys import NewProject
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
            state = {"engine": engine, "keys": keys, "settings": chosen, "intake": Intake(chosen)}
            yield cast(State, state)  # without a writer, since nothing is written

    with TestClient(Starlette(routes=[*data.routes, *api.routes], lifespan=lifespan)) as client:
        yield client


def authorization(project: NewProject, role: str) -> dict[str, str]:
    """The header of the project's key of this *role*."""
    key = next(key for key in project.keys if key.role == role)
    return {"authorization": "Basic " + b64encode(f"{key.key_id}:{key.secret}".encode()).decode()}
