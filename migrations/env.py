"""Alembic's entry: migrates the connection that receiver.store.engine.migrate hands over.

For `alembic revision` on a developer's machine it opens the database of the settings itself.
"""

from alembic import context
from sqlalchemy import Connection

from receiver.settings import read_settings
from receiver.store.engine import connect
from receiver.store.tables import metadata


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    migrate(connection)
else:
    engine = connect(read_settings().database_url)
    with engine.execution_options(writes=True).begin() as connection:
        migrate(connection)
    engine.dispose()
