"""Rows of PostgreSQL that come while the server still looks for more.

By themselves its driver's cursors wait until all rows are there, and those that the server keeps wait for
each part anew.  Taken in chunks instead, the rows of an export are written while the server reads on.
"""

from collections.abc import Generator
from itertools import islice
from typing import Any, Self, cast

from psycopg import Column, Connection, Cursor, capabilities
from psycopg.abc import Params, Query

ROWS = 100
"""In a chunk."""


def _nothing() -> Generator[Any, None, None]:
    yield from ()


class StreamingCursor(Cursor[Any]):
    """Takes the place of a cursor that the server keeps, which SQLAlchemy asks for where it shall stream.

    Nothing else can be asked of its connection until it has been read to its end or closed.
    """

    def __init__(self, connection: Connection[Any], *, name: str, **_: object) -> None:
        super().__init__(connection)
        self.name = name
        self._coming = _nothing()

    @property
    def description(self) -> list[Column]:
        # Where there are no rows the driver has dropped what it was told of their columns.
        return super().description or []

    def execute(self, query: Query, params: Params | None = None, **_: Any) -> Self:
        size = ROWS if capabilities.has_stream_chunked() else 1
        self._coming = cast(Generator[Any, None, None], self.stream(query, params, size=size))
        return self

    def fetchmany(self, size: int = 0) -> list[Any]:
        return list(islice(self._coming, size or ROWS))

    def fetchall(self) -> list[Any]:
        return list(self._coming)

    def fetchone(self) -> Any:
        return next(self._coming, None)

    def close(self) -> None:
        # The server breaks off what it is still at.
        self._coming.close()
        super().close()
