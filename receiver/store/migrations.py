"""Bringing the database to head, with Alembic.

A module of its own, because Alembic takes half a second to import and only `receiver migrate` and
`receiver serve --init` need it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, select, text

from receiver.store.readers import still_reading
from receiver.store.recounting import recount
from receiver.store.tables import projects

_COUNTS_LETTERS = "0006"
"""The migration that makes the tables of receiver.store.journeys, empty."""


def migrate(engine: Engine) -> None:
    """Bring the database to head; safe when several processes do so at once."""
    if engine.dialect.name == "sqlite" and engine.url.database not in {None, "", ":memory:"}:
        _make_folder(Path(str(engine.url.database)))
    with _alone(engine) as connection:
        config = _alembic_config()
        config.attributes["connection"] = connection
        before = MigrationContext.configure(connection).get_current_revision()
        with still_reading(connection):
            command.upgrade(config, "head")
        if before is not None and before < _COUNTS_LETTERS:
            for project_id in list(connection.execute(select(projects.c.id)).scalars()):
                recount(connection, project_id)


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other migration runs beside; the second one waits, and finds it done."""
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('receiver.migrate'))"))
        yield connection


def _make_folder(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Customers' IDs and addresses are nobody else's business on a shared machine.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _alembic_config() -> Config:
    here = Path(__file__).resolve().parent.parent
    # In the wheel the migrations lie inside the package, in a checkout beside it.
    folder = here / "migrations" if (here / "migrations").is_dir() else here.parent / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config
