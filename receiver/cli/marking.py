"""A place in a body shown to people: its line, and a marker below."""

from rich.cells import cell_len

from receiver.cli.showing import printable
from receiver.web.documents import PlaceDocument

_COLUMNS = 100
_BEFORE = 40
"""Columns that what stands before the place may have at least."""


def marked(body: str, place: PlaceDocument, sentence: str) -> list[str]:
    """Give the line of *body* that holds the beginning of *place*, the marker, and beside it the *sentence*.

    A long line is cut around the place; a sentence that does not fit beside the marker follows below.
    """
    line_end = body.find("\n", place.start)
    line_end = len(body) if line_end < 0 else line_end
    line_begin = place.start - place.column + 1
    # One character too many is enough to see that something is cut.
    before = printable(body[max(line_begin, place.start - _COLUMNS - 1) : place.start])
    after = printable(body[place.start : min(line_end, place.start + _COLUMNS + 1)])

    before = _cut(before[::-1], max(_BEFORE, _COLUMNS - cell_len(after)))[::-1]
    after = _cut(after, _COLUMNS - cell_len(before))
    indent = " " * cell_len(before)
    marker = indent + "^" * max(1, cell_len(after[: place.end - place.start]))
    beside = f"{marker} {printable(sentence)}"
    if cell_len(beside) <= _COLUMNS:
        return [before + after, beside]
    return [before + after, marker, printable(sentence)]


def _cut(text: str, columns: int) -> str:
    """Give as much of the beginning as fits, and … where something is left out."""
    if len(text) <= columns and cell_len(text) <= columns:
        return text
    text = text[: columns - 1]
    while cell_len(text) > columns - 1:
        text = text[:-1]
    return f"{text}…"
