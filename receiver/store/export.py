"""Events as text: JSON, and CSV for spreadsheets.

What the database keeps as JSON text is put in its place as it is: neither read nor written again.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache

from receiver.domain.moments import iso
from receiver.store.reports import EventRow

COLUMNS = (
    "id",
    "customer",
    "customer_ids",
    "type",
    "occurred_at",
    "received_at",
    "source",
    "campaign",
    "status",
    "stage",
    "mailing",
    "tied",
    "properties",
)
"""What a file calls the fields of `EventRow`, in their order."""

# What a spreadsheet takes for the beginning of a formula, or drops before one (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def event_json(event: EventRow) -> str:
    """One event as a JSON object, without a line break."""
    (
        number,
        customer,
        ids,
        event_type,
        occurred_us,
        received_us,
        source,
        campaign,
        status,
        stage,
        mailing,
        tied,
        properties,
    ) = event
    return (
        f'{{"id":{number},"customer":{customer},"customer_ids":{ids},"type":{quoted(event_type)}'
        f',"occurred_at":"{iso(occurred_us)}","received_at":"{iso(received_us)}","source":{quoted(source)}'
        f',"campaign":{quoted(campaign)},"status":{quoted(status)},"stage":{quoted(stage)}'
        f',"mailing":{quoted(mailing)},"tied":{quoted(tied)},"properties":{properties}}}'
    )


def json_lines(pages: Iterable[Iterable[EventRow]]) -> Iterator[str]:
    """A line for each event, in one text for each page."""
    for page in pages:
        yield "".join([f"{event_json(event)}\n" for event in page])


def json_array(head: str, pages: Iterable[Iterable[str]], tail: str) -> Iterator[str]:
    """*head*, all JSON texts of *pages* with commas between them, *tail*.

    Nothing is given before the first page is there.
    """
    before = head
    for page in pages:
        texts = ",".join(page)
        if texts:
            yield before + texts
            before = ","
    yield tail if before == "," else head + tail


def csv_lines(pages: Iterable[Iterable[EventRow]]) -> Iterator[str]:
    """RFC 4180: the names of the columns, then a record for each event; IDs and properties are JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    before = ",".join(COLUMNS) + "\r\n"
    for page in pages:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows(map(_cells, page))
        yield before + text.getvalue()
        before = ""
    if before:
        yield before


def _cells(event: EventRow) -> tuple[object, ...]:
    return (
        event.id,
        event.customer,
        event.ids,
        defused(event.type),
        iso(event.occurred_us),
        iso(event.received_us),
        event.source,
        defused(event.campaign),
        defused(event.status),
        event.stage,
        event.mailing,
        event.tied,
        event.properties,
    )


def defused(text: str | None) -> str | None:
    """*text* as a spreadsheet takes it for a text, and never for a formula."""
    return f"'{text}" if text and text.startswith(_FORMULA_STARTS) else text


_encode = json.JSONEncoder(ensure_ascii=False).encode


# The same few words in most events.
@lru_cache(maxsize=4096)
def quoted(text: str | None) -> str:
    """*text* as JSON."""
    return _encode(text)
