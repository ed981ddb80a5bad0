"""The SQL of a report: its statements as text that can be pasted into sqlite3 or psql."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, event

_PLACEHOLDER = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\?")


def listening(engine: Engine) -> tuple[Engine, list[str]]:
    """The same *engine*, and the list to which everything is added that is asked by way of it.

    Nothing is heard of what others ask meanwhile.  A statement that is asked again with other values, as
    page after page does, stands there as it was asked first.
    """
    # An engine of its own, over the same connections; whatever is derived from it is heard too.
    heard = engine.execution_options()
    statements: list[str] = []
    asked: set[str] = set()

    @event.listens_for(heard, "before_cursor_execute")
    def hear(_: Connection, cursor: Any, statement: str, values: Any, *__: object) -> None:
        if statement in asked or statement.startswith(("BEGIN", "SET")):
            return
        asked.add(statement)
        statements.append(_with_values(heard.dialect.name, cursor, statement, values))

    return heard, statements


def _with_values(dialect: str, cursor: Any, statement: str, values: Any) -> str:
    if dialect == "sqlite":
        return _of_sqlite(statement, values)
    # Here, because there may be only SQLite.
    from psycopg import ClientCursor

    # The driver's own way to write them, which knows what the server's settings ask for.
    return ClientCursor(cursor.connection).mogrify(statement, values)


def _of_sqlite(statement: str, values: Sequence[object]) -> str:
    following = iter(values)
    # A question mark within quotes is none.
    return _PLACEHOLDER.sub(
        lambda found: _literal(next(following)) if found[0] == "?" else found[0], statement
    )


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(int(value))
        case float():
            return repr(value)
        case bytes() | memoryview():
            return f"X'{value.hex()}'"
        case str() if "\r" in value:
            # Where it ends a line the shell would leave it out.
            return f"CAST(X'{value.encode().hex()}' AS TEXT)"
    return "'" + str(value).replace("'", "''") + "'"
