"""Events as Parquet, read back by a reader of its own."""

import io
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow
import pyarrow.parquet
import pytest

from receiver.store import parquet
from receiver.store.export import COLUMNS
from receiver.store.reports import EventRow
from tests.rows import T0

EVENT = EventRow(
    7,
    3,
    '{"registered":"c-1"}',
    "=1+1",
    T0,
    T0 + 1,
    "callback",
    "Frühling",
    None,
    None,
    "0645d1c2",
    "ids",
    '{"n":1.50}',
    None,
)


def read_back(pages: list[list[EventRow]]) -> pyarrow.parquet.ParquetFile:
    return pyarrow.parquet.ParquetFile(io.BytesIO(b"".join(parquet.parquet_parts(pages))))


def test_columns_have_types_and_ids_and_properties_are_json() -> None:
    table = read_back([[EVENT]]).read()

    assert table.column_names == list(COLUMNS)
    types = {field.name: str(field.type) for field in table.schema if field.type != pyarrow.string()}
    moment = "timestamp[us, tz=UTC]"
    assert types == {"id": "int64", "customer": "int64", "occurred_at": moment, "received_at": moment}
    nullable = {field.name for field in table.schema if field.nullable}
    assert nullable == {"campaign", "status", "stage", "mailing", "tied", "variation"}


def test_values_are_those_of_the_events() -> None:
    (found,) = read_back([[EVENT]]).read().to_pylist()

    assert found == {
        "id": 7,
        "customer": 3,
        "customer_ids": '{"registered":"c-1"}',
        "type": "=1+1",
        "occurred_at": datetime(2025, 10, 9, 8, 53, 20, 250_000, UTC),
        "received_at": datetime(2025, 10, 9, 8, 53, 20, 250_001, UTC),
        "source": "callback",
        "campaign": "Frühling",
        "status": None,
        "stage": None,
        "mailing": "0645d1c2",
        "tied": "ids",
        "properties": '{"n":1.50}',
        "variation": None,
    }


def test_groups_of_rows_are_of_a_bounded_size_and_leave_as_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet, "GROUP", 4)
    asked = []

    def pages() -> Iterator[list[EventRow]]:
        for number in range(5):
            asked.append(number)
            yield [EVENT._replace(id=2 * number), EVENT._replace(id=2 * number + 1)]

    parts, seen = [], []
    for part in parquet.parquet_parts(pages()):
        parts.append(part)
        seen.append(len(asked))

    file = pyarrow.parquet.ParquetFile(io.BytesIO(b"".join(parts)))
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert sizes == [4, 4, 2]
    assert seen == [2, 4, 5, 5]
    assert [row["id"] for row in file.read().to_pylist()] == list(range(10))


def test_large_events_end_a_group_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP_CHARACTERS", 2 * len(EVENT.properties))

    assert read_back([[EVENT], [], [EVENT], [EVENT]]).num_row_groups == 2


@pytest.mark.parametrize("pages", [[], [[]], [[], []]])
def test_no_events_make_a_file_too(pages: list[list[EventRow]]) -> None:
    file = read_back(pages)

    assert (file.metadata.num_rows, file.schema_arrow.names) == (0, list(COLUMNS))


def test_a_file_without_its_end_is_taken_for_none() -> None:
    *parts, _ = parquet.parquet_parts([[EVENT]])

    with pytest.raises(pyarrow.ArrowInvalid):
        pyarrow.parquet.ParquetFile(io.BytesIO(b"".join(parts)))


def test_it_is_known_whether_it_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parquet.is_installed()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert not parquet.is_installed()
