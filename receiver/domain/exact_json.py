"""JSON whose bytes matter: parse it the same way everywhere, and find what its parts were sent as.

Whatever the bytes, ``parse`` gives a value or a Refusal.  The other functions take bytes that it accepted.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from json import JSONDecodeError, JSONDecoder
from math import inf

from receiver.domain.commands import Reason
from receiver.domain.fields import Refusal

MAX_DEPTH = 500
"""Brackets within brackets.  The parser's own limit differs between versions of Python and between
callers; with ours the same bytes have the same outcome today and after an upgrade."""


def _int_or_infinity(digits: str) -> float:
    try:
        return int(digits)
    except ValueError:
        return inf


_decoder = JSONDecoder()
# For numbers of thousands of digits, which the usual decoder takes for an attack: here they become
# infinite, like 1e400, and cost only the command that holds them.
_patient_decoder = JSONDecoder(parse_int=_int_or_infinity)


def parse(body: bytes) -> object:
    """Give the value that *body* holds, or a Refusal.

    NaN and infinite numbers, halves of surrogate pairs and repeated keys (the last one counts) are
    let through, because only their command shall suffer from them.
    """
    # A short body, or few brackets, cannot be deep: most are told by looking at no more than that.
    if len(body) > MAX_DEPTH and body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        return _malformed(f"Brackets are nested over {MAX_DEPTH} deep; send flatter JSON.")
    try:
        text = _text(body)
    except UnicodeDecodeError as error:
        return _malformed(f"The body is not UTF-8 from byte {error.start} on; send UTF-8.")
    try:
        return _parse_text(text)
    except JSONDecodeError as error:
        return _malformed(f"The body is not JSON from character {error.pos} on; send valid JSON.")
    except RecursionError:
        return _malformed("Brackets are nested too deep; send flatter JSON.")


def _text(body: bytes) -> str:
    return body.decode().removeprefix("\ufeff")


def _parse_text(text: str) -> object:
    try:
        return _decoder.decode(text)
    except JSONDecodeError:
        raise
    except ValueError:
        return _patient_decoder.decode(text)


def _malformed(detail: str) -> Refusal:
    return Refusal(Reason.MALFORMED_JSON, "", detail)


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
    spans = _spans(text, _skip_space(text, 0)) if member is None else _member(text, member)[2]
    return (text[begin:end].encode() for begin, end in spans)


def member_as_sent(body: bytes, member: str) -> bytes:
    """Give the exact bytes of a *member* of the object *body*, none where it has no such member."""
    text = _text(body)
    begin, end, _ = _member(text, member)
    return text[begin:end].encode()


_Spans = list[tuple[int, int]]


def _member(text: str, member: str) -> tuple[int, int, _Spans]:
    """Find where the last *member* of an object begins and ends, and its entries where it is a list."""
    found: tuple[int, int, _Spans] = (0, 0, [])
    at = _skip_space(text, _skip_space(text, 0) + 1)
    while text[at] != "}":
        name, at = _patient_decoder.raw_decode(text, at)
        begin = _skip_space(text, _skip_space(text, at) + 1)
        spans: _Spans = []
        if name == member and text[begin] == "[":
            spans, at = _entries(text, begin)
        else:
            _, at = _patient_decoder.raw_decode(text, begin)
        if name == member:
            found = (begin, at, spans)
        at = _skip_comma(text, at)
    return found


def _entries(text: str, begin: int) -> tuple[_Spans, int]:
    """Find where each entry of the list at *begin* begins and ends, and where the list ends."""
    spans = list(_spans(text, begin))
    end = _skip_comma(text, spans[-1][1]) if spans else _skip_space(text, begin + 1)
    return spans, end + 1


def _spans(text: str, begin: int) -> Iterator[tuple[int, int]]:
    at = _skip_space(text, begin + 1)
    while text[at] != "]":
        _, end = _patient_decoder.raw_decode(text, at)
        yield at, end
        at = _skip_comma(text, end)


_space = re.compile(r"[ \t\n\r]*")


def _skip_space(text: str, at: int) -> int:
    match = _space.match(text, at)
    assert match, "no space at all matches too"
    return match.end()


def _skip_comma(text: str, at: int) -> int:
    at = _skip_space(text, at)
    return _skip_space(text, at + 1) if text[at] == "," else at
