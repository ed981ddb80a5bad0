"""Customers as the vendor writes them: single IDs, and everybody as a table in three forms."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence

import orjson

from receiver.domain.json_text import encode
from receiver.settings import Settings
from receiver.store import export
from receiver.store.customers import Column, Customer

Pages = Iterable[Sequence[Customer]]


def id_value(kind: str, ids: Mapping[str, list[str]], settings: Settings) -> str | list[str] | None:
    """A hard ID as text, a soft one as a list, which may be empty; None for a hard or unknown one that is
    not there."""
    values = ids.get(kind, [])
    if kind in settings.hard_ids:
        return values[0] if values else None
    return values if values or kind in settings.soft_ids else None


def value_json(column: Column, customer: Customer, settings: Settings) -> str:
    """The JSON text of one value, ``null`` where there is none."""
    if column.type == "property":
        return customer.properties.get(column.name, "null")
    return encode(id_value(column.name, customer.ids, settings))


# -- everybody ------------------------------------------------------------------------------------


def native_json(columns: Sequence[Column], pages: Pages, settings: Settings) -> Iterator[str]:
    """``{"success", "fields": [{"type", "id" or "property"}], "data": [[value]]}``."""
    fields = encode([{"type": column.type, column.type: column.name} for column in columns])
    head = f'{{"success":true,"fields":{fields},"data":['
    return export.json_array(head, _lists(columns, pages, settings), "]}")


def table_json(columns: Sequence[Column], pages: Pages, settings: Settings) -> Iterator[str]:
    """``{"success", "header": [name], "rows": [[value]]}``, as the vendor's other tables of this form."""
    header = encode([column.name for column in columns])
    head = f'{{"success":true,"header":{header},"rows":['
    return export.json_array(head, _lists(columns, pages, settings), "]}")


def csv_lines(columns: Sequence[Column], pages: Pages, settings: Settings) -> Iterator[str]:
    """RFC 4180: the names, then a record for each customer; lists and objects are JSON.

    Nothing is given before the first page is there.
    """
    head: list[list[str | None]] = [[export.defused(column.name) for column in columns]]
    for page in pages:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows(head)
        for customer in page:
            writer.writerow([_cell(value) for value in _values(columns, customer, settings)])
        yield text.getvalue()
        head = []


def _lists(columns: Sequence[Column], pages: Pages, settings: Settings) -> Iterator[list[str]]:
    for page in pages:
        yield [f"[{','.join(_values(columns, customer, settings))}]" for customer in page]


def _values(columns: Sequence[Column], customer: Customer, settings: Settings) -> Iterator[str]:
    return (value_json(column, customer, settings) for column in columns)


def _cell(value: str) -> str | None:
    if value in {"null", "[]"}:
        return None
    return export.defused(orjson.loads(value)) if value.startswith('"') else value
