"""The file of people that a mailing goes to: CSV, JSON Lines or JSON in, one person a row, in order.

A bad row is an answer, not an exception, and leaves its neighbours alone; only a file that cannot be
used at all is a WrongFile.  Whatever its size, no more than a few rows of it are in memory.
"""

import codecs
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property
from io import SEEK_END, TextIOWrapper
from itertools import compress, islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

from receiver.domain.exact_json import parse
from receiver.domain.fields import Refusal, is_storable, kind_of
from receiver.domain.json_text import encode
from receiver.outbound.given import Given
from receiver.outbound.rows import NOT_UTF_8, Broken, as_bytes, csv_rows, json_lines, json_values

MAX_RAW_BYTES = 64 * 1024

_HEAD_BYTES = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t|"

_DAMAGED = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile("[^\0-\x7f\udc80-\udcff]")
_QUOTED = re.compile('"[^"]*"')


class WrongFile(Exception):
    """The file cannot be used at all; the message is a sentence without any value of a row."""


class Person(NamedTuple):
    """One row that could be read.

    Attributes:
        row: counted from 1, without the header and without blank rows.
        customer: properties by name; from CSV they are texts as they stand there, the empty ones too.
        customer_ids: what stands under each ID name, neither trimmed nor checked: texts from CSV, anything
            from JSON.  Names with a blank text, null or an empty list are left out.
    """

    row: int
    customer: Mapping[str, object]
    customer_ids: Mapping[str, object]


class Unreadable(NamedTuple):
    """One row that could not be read.

    Attributes:
        row: counted as for a Person.
        detail: a sentence without any value of the row.
        raw: what stood there, at most the first ``MAX_RAW_BYTES`` of it.
    """

    row: int
    detail: str
    raw: bytes


class PeopleFile:
    """A file of people, which can be read more than once.

    The form is told by the extension (.csv, .tsv, .txt; .jsonl, .ndjson; .json), else by the content.
    Text is UTF-8, with or without a byte order mark.

    CSV: the first row names the columns; the delimiter (comma, semicolon, tab or bar) is told from it.
    A column named like one of *id_names*, or ``customer_ids.NAME``, is a customer ID; any other one, or
    ``customer.NAME``, is a property.  Rows without any text are no rows.  A row with cells beyond the
    header is unreadable unless these are empty, and so is one with fewer cells: after a line break without
    quotes nobody can say which cells are missing, and half an address would be printed (PostgreSQL's COPY
    refuses both, too).  Where quotes are broken, one line is unreadable and the next one begins a row.

    JSON: each row is ``{"customer": {...}, "customer_ids": {...}}``, one of which may be missing.  A syntax
    error costs one line where each has its own, else all that follows.

    Raises WrongFile here and not later.  Errors of the disk while reading are OSErrors.

    Attributes:
        size: in bytes.
    """

    size: int

    def __init__(self, path: Path | Given, id_names: Sequence[str]) -> None:
        head, self.size = _look_at(path)
        text = _text_of(head)
        self._path = path
        self._begin = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
        self._tell: Callable[[], int] = lambda: 0
        self._form = _form_of(path.suffix.lower(), text)
        self._delimiter = _delimiter_of(text)
        if self._form is _Form.CSV:
            with path.open("rb") as file, self._decoded(file) as opened:
                header = next(csv_rows(opened, self._delimiter), [])
            self._columns = _columns_of(header, id_names)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the content: 32 bytes."""
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()

    @property
    def position(self) -> int:
        """Bytes that the latest reading has taken from the file so far, a little ahead of its rows."""
        return self._tell()

    def __iter__(self) -> Iterator[Person | Unreadable]:
        return self.rows()

    def rows(self, after: int = 0) -> Iterator[Person | Unreadable]:
        """Give all rows but the first *after*, which are passed over without making people of them."""
        with self._path.open("rb") as file, self._decoded(file) as text:
            self._tell = file.tell
            try:
                for row, found in enumerate(islice(self._found(file, text), after, None), after + 1):
                    yield self._read(row, found)
            finally:
                reached = file.tell()
                self._tell = lambda: reached

    def _decoded(self, file: BinaryIO) -> TextIOWrapper:
        file.seek(self._begin)
        return TextIOWrapper(file, "utf-8", NOT_UTF_8, newline="")

    def _found(self, file: BinaryIO, text: TextIO) -> Iterator["_Found"]:
        if self._form is _Form.CSV:
            return islice(csv_rows(text, self._delimiter, self._columns.width), 1, None)
        return json_lines(file) if self._form is _Form.JSON_LINES else json_values(text)

    def _read(self, row: int, found: "_Found") -> Person | Unreadable:
        if isinstance(found, list):
            return _read_cells(row, found, self._columns)
        if isinstance(found, bytes):
            return _read_json(row, found)
        return Unreadable(row, found.detail, found.raw[:MAX_RAW_BYTES])


class _Form(Enum):
    CSV = "CSV"
    JSON_LINES = "a value of JSON on each line"
    JSON = "a list, or values one after the other"


_Found = list[str] | bytes | Broken
"""What stands for one row: the cells of CSV, JSON text, or what could not be told apart."""


# What kind of file it is


def _look_at(path: Path | Given) -> tuple[bytes, int]:
    """Give the first bytes of the file, and how many it has."""
    try:
        if not path.is_file():
            raise WrongFile("There is no such file; give the path of a CSV or JSON file.")
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES), file.seek(0, SEEK_END)
    except OSError as error:
        raise WrongFile(f"The file cannot be opened: {error.strerror}.") from error


def _text_of(head: bytes) -> str:
    """Give the text that the file begins with.

    Where no character beyond ASCII is UTF-8, the whole file is in another encoding, and half of its people
    would be unreadable; where some are, single rows are damaged, and are told when they are read.
    """
    if head.startswith(_UTF_16_MARKS) or b"\0" in head.split(b"\n", 1)[0]:
        raise WrongFile(
            "Line 1 is no UTF-8 text, but UTF-16 or a spreadsheet; save the file as CSV in UTF-8."
        )
    text = codecs.getincrementaldecoder("utf-8")(NOT_UTF_8).decode(head)
    damage = _DAMAGED.search(text)
    if damage and not _BEYOND_ASCII.search(text.removeprefix("\ufeff")):
        line = text.count("\n", 0, damage.start()) + 1
        byte = len(as_bytes(text[: damage.start()])) + 1
        raise WrongFile(f"Line {line} is not UTF-8, from byte {byte} of the file on; save the file as UTF-8.")
    return text.removeprefix("\ufeff")


def _form_of(extension: str, text: str) -> _Form:
    if extension in (".csv", ".tsv", ".txt"):
        return _Form.CSV
    if extension in (".jsonl", ".ndjson"):
        return _Form.JSON_LINES
    begin = text.lstrip()
    if begin.startswith("{"):
        first_line_is_whole = not isinstance(parse(as_bytes(begin.split("\n", 1)[0])), Refusal)
        return _Form.JSON_LINES if first_line_is_whole else _Form.JSON
    if begin.startswith("[") or (extension == ".json" and not begin):
        return _Form.JSON
    if extension == ".json":
        line = text[: -len(begin)].count("\n") + 1
        raise WrongFile(f"Line {line} begins neither a list nor an object; send JSON, or call a table .csv.")
    return _Form.CSV


# CSV


class _Columns(NamedTuple):
    """The header: how many columns, where each ID stands, which columns are properties and their names."""

    width: int
    ids: list[tuple[str, int]]
    is_property: list[bool]
    properties: list[str]


def _delimiter_of(text: str) -> str:
    header = _QUOTED.sub("", text).lstrip("\r\n").split("\n", 1)[0].split("\r", 1)[0]
    return max(_DELIMITERS, key=header.count)


def _columns_of(header: "_Found", id_names: Sequence[str]) -> _Columns:
    if not isinstance(header, list):
        raise WrongFile("The header line is damaged; write it again: names with delimiters, in UTF-8.")
    names = [cell.strip() for cell in header]
    while names and not names[-1]:  # as spreadsheets leave behind the table
        names.pop()
    columns: dict[tuple[bool, str], int] = {}
    for column, each in enumerate(names):
        is_id = each.startswith("customer_ids.") or each in id_names
        name = each.removeprefix("customer_ids." if is_id else "customer.")
        if not name:
            raise WrongFile(f"Column {column + 1} of the header line has no name; name it or delete it.")
        first = columns.setdefault((is_id, name), column)
        if first != column:
            raise WrongFile(
                f"Columns {first + 1} and {column + 1} of the header line have the same name; "
                "rename or delete one."
            )
    return _Columns(
        len(names),
        [(name, column) for (is_id, name), column in columns.items() if is_id],
        [not is_id for is_id, _ in columns],
        [name for is_id, name in columns if not is_id],
    )


def _read_cells(row: int, cells: list[str], columns: _Columns) -> Person:
    customer = dict(zip(columns.properties, compress(cells, columns.is_property), strict=True))
    return Person(row, customer, {name: cells[at] for name, at in columns.ids if cells[at].strip()})


# JSON


def _read_json(row: int, raw: bytes) -> Person | Unreadable:
    sent = parse(raw)
    if isinstance(sent, Refusal):
        return _unreadable(row, sent.detail.replace("The body", "The row"), raw)
    if not isinstance(sent, dict):
        return _unreadable(row, f"The row is {kind_of(sent)}; {_SEND}", raw)
    customer, customer_ids = sent.get("customer"), sent.get("customer_ids")
    if customer is None and customer_ids is None:
        return _unreadable(row, f"The row has neither customer nor customer_ids; {_SEND}", raw)
    for name, value in (("customer", customer), ("customer_ids", customer_ids)):
        if value is not None and not isinstance(value, dict):
            return _unreadable(row, f"{name} is {kind_of(value)}; {_SEND}", raw)
    if not _is_writable([customer, customer_ids]):
        return _unreadable(row, _NOT_WRITABLE, raw)
    ids = {name: value for name, value in (customer_ids or {}).items() if not _is_blank(value)}
    return Person(row, customer or {}, ids)


def _unreadable(row: int, detail: str, raw: bytes) -> Unreadable:
    return Unreadable(row, detail, raw[:MAX_RAW_BYTES])


_SEND = "send an object with the objects customer and customer_ids."
_NOT_WRITABLE = (
    "The row holds no finite number, one of thousands of digits, NUL, or half of a surrogate pair; "
    "correct the row."
)


def _is_writable(value: object) -> bool:
    """Tell whether *value* can be written as JSON again, and both databases can hold its texts."""
    try:
        text = encode(value)
    except ValueError:
        return False
    # NUL is written as this escape, which after a second backslash is a text of the sender's.
    return is_storable(text) and ("\\u0000" not in text or "\\u0000" not in text.replace("\\\\", ""))


def _is_blank(value: object) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())
