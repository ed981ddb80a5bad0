"""Where each row of a long text begins and ends: CSV, JSON Lines, or JSON values.

A row that cannot be told apart is Broken and leaves its neighbours alone where that is possible at all.
No more than a few rows are in memory.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from json import JSONDecoder
from typing import BinaryIO, NamedTuple, TextIO

from receiver.domain.fields import is_storable

MAX_ROW = 1_000_000
"""Bytes of a line of JSON, characters of any other row; the csv module allows 131,072 of them in a cell."""

NOT_UTF_8 = "surrogateescape"
"""How the texts are decoded: a byte that is not UTF-8 becomes half of a surrogate pair, and can go back."""


class Broken(NamedTuple):
    """What stands where a row should; *detail* is a sentence without any value of it."""

    detail: str
    raw: bytes


def as_bytes(text: str) -> bytes:
    """Give the bytes that were decoded to *text*."""
    return text.encode("utf-8", NOT_UTF_8)


_TOO_LONG = f"The row has over {MAX_ROW:,} characters; shorten it."
_QUOTES = "The quotes in the row are not in pairs, or a cell has over 131,072 characters; correct the row."
_NO_TEXT = "The row holds NUL or bytes that are not UTF-8; save the file as UTF-8, or correct the row."
_REST = (
    f"What follows is not JSON, nested too deep, or of over {MAX_ROW:,} characters, so that nobody can tell "
    "where its rows begin; correct the file and send it again."
)


# CSV


def csv_rows(text: TextIO, delimiter: str, width: int | None = None) -> Iterator[list[str] | Broken]:
    """Give the cells of each row, the header as all others; rows without any text are left out.

    With a *width*, each row has at least so many cells, and those beyond are blank.

    Where quotes are broken, the first line is Broken and the next one begins a row: usually one quote is
    missing, and the text up to the next quote in the file is not a cell but other rows.
    """
    lines = _Lines(text)
    # Strict, or else the cells of two rows are glued together where a quote is missing.
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            detail = _TOO_LONG if lines.length > MAX_ROW else _QUOTES
            yield Broken(detail, as_bytes(lines.give_back()))
            continue
        if not any(map(str.strip, cells)):
            continue
        detail = _problem(lines.row, cells, width)
        yield Broken(detail, as_bytes("".join(lines.row))) if detail else cells


def _problem(row: list[str], cells: list[str], width: int | None) -> str:
    if not all(map(is_storable, row)):
        return _NO_TEXT
    if width is None or len(cells) == width:
        return ""
    if len(cells) > width and not any(map(str.strip, cells[width:])):
        return ""
    return (
        f"The row has {len(cells)} cells and the header {width}; "
        "put cells that hold a delimiter or a line break in quotes."
    )


class _Lines:
    """The lines that the CSV reader asks for; those of the current row are kept.

    Attributes:
        row: the lines of the current row so far.
        length: how many characters these have.
    """

    def __init__(self, text: TextIO) -> None:
        self._readline = text.readline
        self._given_back: deque[str] = deque()
        self.begin()

    def begin(self) -> None:
        """Begin a row."""
        self.row: list[str] = []
        self.length = 0

    def give_back(self) -> str:
        """Let all lines of the row but the first come again, and give that one."""
        self._given_back.extendleft(reversed(self.row[1:]))
        return self.row[0]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._given_back.popleft() if self._given_back else self._read()
        if not line:
            raise StopIteration
        self.row.append(line)
        self.length += len(line)
        if self.length > MAX_ROW:
            raise csv.Error
        return line

    def _read(self) -> str:
        line = self._readline(MAX_ROW + 1)
        if len(line) > MAX_ROW:
            rest = line
            while rest and not rest.endswith(("\n", "\r")):
                rest = self._readline(MAX_ROW)
        return line


# JSON


def json_lines(file: BinaryIO) -> Iterator[bytes | Broken]:
    """Give each line that is not blank."""
    while line := file.readline(MAX_ROW + 1):
        if len(line) <= MAX_ROW:
            if not line.isspace():
                yield line
            continue
        yield Broken(_TOO_LONG, line)
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_ROW)


def json_values(text: TextIO) -> Iterator[bytes | Broken]:
    """Give each entry where *text* begins a list, else each value; only white space is between values.

    Where one cannot be told apart, neither can all that follows: the last thing given is Broken.
    """
    window = _Window(text)
    values = _entries(window) if window.sign() == "[" else _values(window)
    for value in values:
        if value is None:
            yield Broken(_REST, as_bytes(window.rest()))
            return
        raw = as_bytes(value)
        yield raw if len(value) <= MAX_ROW else Broken(_TOO_LONG, raw)


def _values(window: "_Window") -> Iterator[str | None]:
    while window.sign():
        yield window.value()


def _entries(window: "_Window") -> Iterator[str | None]:
    window.skip()
    more = window.sign() != "]"
    while more:
        yield window.value()
        more = window.sign() == ","
        if more:
            window.skip()
    if window.sign() != "]":
        yield None
    window.skip()
    if window.sign():
        yield None


_CHUNK = 64 * 1024
_space = re.compile(r"[ \t\n\r]*")
# What becomes of a number does not matter here, and the usual decoder refuses one of thousands of digits.
_raw_decode = JSONDecoder(parse_int=len).raw_decode


class _Window:
    """What is held of a text: from the next character that nobody has taken to the end of a chunk."""

    def __init__(self, text: TextIO) -> None:
        self._read = text.read
        self._held = ""
        self._at = 0
        self._ended = False

    def sign(self) -> str:
        """Give the next character that is no white space, none at the end; it is not taken."""
        while True:
            match = _space.match(self._held, self._at)
            assert match, "no space at all matches too"
            self._at = match.end()
            if self._at < len(self._held) or self._ended:
                return self._held[self._at : self._at + 1]
            self._hold_more()

    def skip(self) -> None:
        """Take the character that ``sign`` gave."""
        self._at += 1

    def value(self) -> str | None:
        """Take the next value; None where there is none, or it is too long or too deep."""
        self.sign()
        while True:
            try:
                _, end = _raw_decode(self._held, self._at)
            except (ValueError, RecursionError):
                end = None
            # A number may go on behind the chunk: "1" with "e+9".
            if end is not None and (self._ended or end + 2 < len(self._held)):
                value, self._at = self._held[self._at : end], end
                return value
            if self._ended or len(self._held) - self._at > MAX_ROW:
                return None
            self._hold_more()

    def rest(self) -> str:
        """Give what is held of all that nobody has taken."""
        return self._held[self._at :]

    def _hold_more(self) -> None:
        # At least as much again, so that a long value is tried a few times only.
        wanted = max(_CHUNK, len(self._held) - self._at)
        more = self._read(wanted)
        self._ended = len(more) < wanted
        self._held = self._held[self._at :] + more
        self._at = 0
