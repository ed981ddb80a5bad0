"""Events as Parquet: typed columns, in groups of rows.

pyarrow is an extra (``receiver[parquet]``), so it is imported when a file is made and not before.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from receiver.store.export import COLUMNS
from receiver.store.reports import EventRow

GROUP = 20_000
"""Events of a group of rows, which is held in memory until it is written; a page more at most."""

_GROUP_CHARACTERS = 32_000_000
"""After so many characters of properties a group ends too."""

MISSING = (
    "Parquet needs pyarrow, which is not installed; install receiver with its extra `parquet` "
    "(in its folder: pip install '.[parquet]'), or take jsonl or csv."
)

_MAY_BE_NULL = {"campaign", "status", "stage", "mailing", "tied", "variation"}


def is_installed() -> bool:
    return find_spec("pyarrow") is not None


def parquet_parts(pages: Iterable[Sequence[EventRow]]) -> Iterator[bytes]:
    """The bytes of one file: a part for each group of rows, and one for the end.

    IDs of customers and properties are JSON texts.  Without the end, no reader takes it for a file.
    """
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    schema = _schema(arrow)
    file = io.BytesIO()
    writer = parquet.ParquetWriter(file, schema, compression="zstd")
    for group in _groups(pages):
        writer.write_batch(_batch(arrow, schema, group))
        yield _taken(file)
    writer.close()
    yield _taken(file)


def _schema(arrow: Any) -> Any:
    moment, number = arrow.timestamp("us", "UTC"), arrow.int64()
    types = {"id": number, "customer": number, "occurred_at": moment, "received_at": moment}
    return arrow.schema(
        arrow.field(name, types.get(name, arrow.string()), nullable=name in _MAY_BE_NULL) for name in COLUMNS
    )


def _batch(arrow: Any, schema: Any, group: Sequence[EventRow]) -> Any:
    columns = zip(*group, strict=True)
    arrays = [arrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return arrow.record_batch(arrays, schema=schema)


def _groups(pages: Iterable[Sequence[EventRow]]) -> Iterator[list[EventRow]]:
    group: list[EventRow] = []
    characters = 0
    for page in pages:
        group += page
        characters += sum(len(event.properties) for event in page)
        if len(group) >= GROUP or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _taken(file: io.BytesIO) -> bytes:
    """What was written since the last time.  The writer counts its place by itself."""
    written = file.getvalue()
    file.seek(0)
    file.truncate()
    return written
