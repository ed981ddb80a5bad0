"""JSON whose bytes matter: parse it the same way everywhere, and find what its parts were sent as.

Whatever the bytes, ``parse`` gives a value or a Refusal.  The other functions take bytes that it accepted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder
from math import inf
from typing import NamedTuple

import orjson

from receiver.domain.commands import Reason
from receiver.domain.fields import Place, Refusal

MAX_DEPTH = 500
"""Brackets within brackets.  The parser's own limit differs between versions of Python and between
callers; with ours the same bytes have the same outcome today and after an upgrade."""


def _int_or_infinity(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:
        return inf


# From so many digits on the quick parser would make a whole number inexact.
_LONG_NUMBER = b"0" * 19
_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_decoder = JSONDecoder()
# For numbers of thousands of digits, which the usual decoder takes for an attack: here they become
# infinite, like 1e400, and cost only the command that holds them.
_patient_decoder = JSONDecoder(parse_int=_int_or_infinity)


class Failure(NamedTuple):
    """Why bytes are no JSON; *at* is the character from which on, where that can be told."""

    detail: str
    at: int | None = None


def parse(body: bytes) -> object:
    """Give the value that *body* holds, or a Refusal.

    NaN and infinite numbers, halves of surrogate pairs and repeated keys (the last one counts) are
    let through, because only their command shall suffer from them.
    """
    value = parse_or_fail(body)
    return Refusal(Reason.MALFORMED_JSON, "", value.detail) if isinstance(value, Failure) else value


def parse_or_fail(body: bytes) -> object:
    """As `parse`, with a Failure in place of the Refusal.  A byte order mark is no character here."""
    # A short body, or few brackets, cannot be deep: most are told by looking at no more than that.
    if len(body) > MAX_DEPTH and body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        return Failure(f"Brackets are nested over {MAX_DEPTH} deep; send flatter JSON.")
    if _LONG_NUMBER not in body.translate(_DIGITS_ALIKE):
        try:
            return orjson.loads(body)
        except JSONDecodeError:
            pass  # It does not tell where, and refuses some of what we take.
    try:
        text = _text(body)
    except UnicodeDecodeError as error:
        return Failure(f"The body is not UTF-8 from byte {error.start} on; send UTF-8.")
    try:
        return _parse_text(text)
    except JSONDecodeError as error:
        return Failure(f"The body is not JSON from character {error.pos} on; send valid JSON.", error.pos)
    except RecursionError:
        return Failure("Brackets are nested too deep; send flatter JSON.")


def _text(body: bytes) -> str:
    return body.decode().removeprefix("\ufeff")


def _parse_text(text: str) -> object:
    try:
        return _decoder.decode(text)
    except JSONDecodeError:
        raise
    except ValueError:
        return _patient_decoder.decode(text)


_NO_BRACKET_OR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", bytes([1, 1, 255, 255]))


def _depth(body: bytes) -> int:
    """Tell how deep the brackets outside of texts are nested."""
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    brackets = b"".join(unescaped.translate(None, _NO_BRACKET_OR_QUOTE).split(b'"')[::2])
    return max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b")), default=0)


def entries_as_sent(body: bytes, member: str | None = None) -> Iterator[bytes]:
    """Give the exact bytes of each entry of a list: the whole *body*, or that *member* of it."""
    text = _text(body)
    return (text[begin:end].encode() for begin, end in entry_spans(text, member))


def entry_spans(text: str, member: str | None = None) -> Iterable["Span"]:
    """Find each entry of a list: the whole *text*, without a byte order mark, or that *member* of it."""
    begin = _skip(text, 0)
    return _spans(text, begin) if member is None else _spans_in_member(text, begin, member)


def member_as_sent(body: bytes, member: str) -> bytes:
    """Give the exact bytes of a *member* of the object *body*, none where it has no such member."""
    text = _text(body)
    _, *found = spans_along(text, [member])
    begin, end = found[0] if found else (0, 0)
    return text[begin:end].encode()


Span = tuple[int, int]
"""Where a value begins and ends, in characters."""


def _spans_in_member(text: str, begin: int, member: str) -> list[Span]:
    """Find the entries of the last *member* of the object at *begin*, none where it is no list."""
    found: list[Span] = []
    at = _skip(text, begin + 1)
    while text[at] != "}":
        name, at = _name(text, at)
        spans: list[Span] = []
        if name == member and text[at] == "[":
            spans = list(_spans(text, at))
            end = (_skip(text, spans[-1][1]) if spans else _skip(text, at + 1)) + 1
        else:
            end = _end(text, at)
        if name == member:
            found = spans
        at = _skip(text, end)
    return found


def _spans(text: str, begin: int) -> Iterator[Span]:
    at = _skip(text, begin + 1)
    while text[at] != "]":
        end = _end(text, at)
        yield at, end
        at = _skip(text, end)


_gap = re.compile(r"[ \t\n\r]*+[,:]?[ \t\n\r]*+")


def _skip(text: str, at: int) -> int:
    """Pass over white space, with a comma or colon in it."""
    match = _gap.match(text, at)
    assert match, "nothing at all matches too"
    return match.end()


def _name(text: str, at: int) -> tuple[str, int]:
    """Give the name of the member at *at*, and where its value begins."""
    name, end = _patient_decoder.raw_decode(text, at)
    return name, _skip(text, end)


def _end(text: str, at: int) -> int:
    return _patient_decoder.raw_decode(text, at)[1]


# The way to one value.  Each character is looked at once: what the way leads through is opened, all else
# passed over, in runs where that can be, because a body may hold millions of entries.


def spans_along(text: str, steps: Sequence[str]) -> list[Span]:
    """Find the whole value, then what each step of a JSON pointer names within, as far as there is something.

    Where a name is repeated the last one counts.  U+FFFD in a step stands for itself, and for what a
    pointer of ours cannot hold.
    """
    spans: list[Span] = []
    _follow(text, _skip(text, 0), steps, spans)
    return spans


def _follow(text: str, begin: int, steps: Sequence[str], spans: list[Span]) -> int:
    """Add the value at *begin*, and what the further steps name within it; give where it ends."""
    # One frame a level, so that all the depth that may be sent can be followed.
    depth = len(spans)
    spans.append((begin, begin))
    opened = text[begin] if depth < len(steps) else ""
    if opened not in ("{", "["):
        end = _end(text, begin)
    else:
        step = steps[depth]
        number = int(step) if _number.fullmatch(step) else None
        at = looked_at = _skip(text, begin + 1)
        while True:
            if opened == "{":
                at, looked_at = _to_member(text, at, step, looked_at)
            else:
                at = _to_entry(text, at, number)
            if text[at] in "}]":
                break
            del spans[depth + 1 :]
            at = _skip(text, _follow(text, at, steps, spans))
            number = None
        end = at + 1
    spans[depth] = (begin, end)
    return end


_number = re.compile("0|[1-9][0-9]{0,9}")
_AT_ONCE = 100
_FURTHER = r"[ \t\n\r]*+,[ \t\n\r]*+"
_TEXT = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rf'[\[{{](?:[^][{{}}"]++|{_TEXT})*+[\]}}]'
_SHALLOW = rf'[\[{{](?:[^][{{}}"]++|{_TEXT}|{_FLAT})*+[\]}}]'
_VALUE = rf'(?:{_TEXT}|[^][{{}}", \t\n\r]++|{_SHALLOW})'
_some_members = re.compile(rf'(?:"[^"\\]*+"[ \t\n\r]*+:[ \t\n\r]*+{_VALUE}{_FURTHER}){{1,{_AT_ONCE}}}+')
_many_entries = re.compile(rf"(?:{_VALUE}{_FURTHER}){{{_AT_ONCE}}}+")


def _to_member(text: str, at: int, step: str, looked_at: int) -> tuple[int, int]:
    """Go from the member at *at* to the next value of this name, or to the end of the object.

    Up to *looked_at*, which is given again, a member may have the name.
    """
    quoted = f'"{step}"'
    while text[at] != "}":
        if at >= looked_at and (run := _some_members.match(text, at)):
            looked_at = run.end()
            # The names in a run hold no escapes.
            if text.find(quoted, at, looked_at) < 0:
                at = looked_at
                continue
        name, at = _name(text, at)
        if name == step or ("\ufffd" in step and _ROOT.of(name) == _ROOT.of(step)):
            return at, looked_at
        at = _skip(text, _end(text, at))
    return at, looked_at


_ROOT = Place("")


def _to_entry(text: str, at: int, number: int | None) -> int:
    """Go from the entry at *at* to the one so many further on, or to the end of the list; None: to that."""
    passed = looked_at = 0
    while text[at] != "]" and passed != number:
        is_far = number is None or number - passed >= _AT_ONCE
        if is_far and passed >= looked_at:
            looked_at = passed + _AT_ONCE
            if run := _many_entries.match(text, at):
                passed, at = looked_at, run.end()
                continue
        at = _skip(text, _end(text, at))
        passed += 1
    return at
