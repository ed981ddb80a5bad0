"""Cutting and pasting in JSON text: all that is not edited stays as it was sent.

Positions are of characters.  The functions take text that `exact_json.parse` accepted, with the byte
order mark that it may begin with.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from json import JSONDecoder
from typing import NamedTuple

from receiver.domain.json_text import encode


class _Number(float):
    """A number that is written as it was sent."""

    sent: str

    def __new__(cls, sent: str) -> "_Number":
        number = super().__new__(cls, sent)
        number.sent = sent
        return number

    def __deepcopy__(self, _: object) -> "_Number":
        return self


def _whole_number(digits: str) -> int | _Number:
    try:
        return int(digits) if digits != "-0" else _Number(digits)
    except ValueError:  # thousands of digits
        return _Number(digits)


_decoder = JSONDecoder(parse_int=_whole_number, parse_float=_Number, parse_constant=_Number)
_space = re.compile("\ufeff?[ \t\n\r]*")


def value_at(text: str, at: int) -> tuple[object, int]:
    """Give the value at *at* and where it ends; `written` writes its numbers as they were sent."""
    value, end = _decoder.raw_decode(text, at)
    return value, end


class Member(NamedTuple):
    """A member of an object; its name begins at *begin*, its value goes from *at* to *end*."""

    name: str
    value: object
    begin: int
    at: int
    end: int


def members_of(text: str, at: int) -> list[Member]:
    """Find the members, repeated ones too, of the object at *at*."""
    members = []
    at = skip_space(text, at + 1)
    while text[at] != "}":
        begin = at
        name, at = _decoder.raw_decode(text, at)
        at = skip_space(text, skip_space(text, at) + 1)
        value, end = value_at(text, at)
        members.append(Member(name, value, begin, at, end))
        at = _skip_comma(text, end)
    return members


def by_name(members: Sequence[Member]) -> dict[str, Member]:
    """Where a name is repeated the last one counts, as in reading."""
    return {member.name: member for member in members}


def entries_of(text: str, at: int) -> Iterator[int]:
    """Find where each entry of the list at *at* begins."""
    at = skip_space(text, at + 1)
    while text[at] != "]":
        yield at
        at = _skip_comma(text, value_at(text, at)[1])


def skip_space(text: str, at: int) -> int:
    """Give the position after white space, at the beginning also after a byte order mark."""
    match = _space.match(text, at)
    assert match, "no space at all matches too"
    return match.end()


def _skip_comma(text: str, at: int) -> int:
    at = skip_space(text, at)
    return skip_space(text, at + 1) if text[at] == "," else at


Edit = tuple[int, int, str]
"""Put a text in place of what goes from here to there."""


def edited(text: str, edits: Sequence[Edit]) -> str:
    """Apply *edits*, which do not overlap, to the *text*."""
    parts = []
    done = 0
    for begin, end, replacement in sorted(edits):
        parts += [text[done:begin], replacement]
        done = end
    return "".join(parts) + text[done:]


def cuts_of(members: Sequence[Member], names: set[str]) -> list[Edit]:
    """Cut the *members* of these *names* out, each with one of the commas beside it."""
    kept = [member for member in members if member.name not in names]
    if not kept:
        return [(members[0].begin, members[-1].end, "")] if members else []
    last = kept[-1]
    cuts = [
        (member.begin, following.begin, "")
        for member, following in pairwise(members)
        if member.name in names and member.begin < last.begin
    ]
    return cuts if last is members[-1] else [*cuts, (last.end, members[-1].end, "")]


def written(value: object) -> bytes:
    """Write JSON, compact; raises ValueError for a number that is none and was not sent so.

    Halves of surrogate pairs, which UTF-8 cannot hold, become escapes: Python's are JSON's too.
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).encode(errors="backslashreplace")


def _write(value: object, parts: list[str]) -> None:
    # One frame a level, so that all the depth that may be sent can be written.
    if isinstance(value, dict):
        parts.append("{")
        for number, (name, inner) in enumerate(value.items()):
            parts.append(f"{',' if number else ''}{encode(name)}:")
            _write(inner, parts)
        parts.append("}")
    elif isinstance(value, list):
        parts.append("[")
        for number, inner in enumerate(value):
            if number:
                parts.append(",")
            _write(inner, parts)
        parts.append("]")
    else:
        parts.append(value.sent if isinstance(value, _Number) else encode(value))
