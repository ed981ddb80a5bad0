"""Times as senders write them, read into whole microseconds in UTC."""

import re
from math import inf, isfinite

from receiver.domain.commands import Reason
from receiver.domain.fields import Refusal
from receiver.domain.moments import DAY_US, SECOND_US, moment_us

_EARLIEST = moment_us("2000-01-01") // SECOND_US

# In seconds the year 5138, in milliseconds 1973 (contract, 8, pitfall 6).
_MILLISECONDS_FROM = 1e11

# Templates print numbers as text.  Nine digits, because eight are a date (20260131).
_SECONDS_AS_TEXT = re.compile(r"[0-9]{9,20}(?:\.[0-9]{1,20})?")

# The standard library lets any sign stand between date and time, and so takes long digits for a time.
_DATE_AND_REST = re.compile(r"[0-9Ww-]{7,10}(?:[Tt ].+)?")


def read_time(sent: object, *, now_us: int, pointer: str) -> int | Refusal:
    """Give UNIX seconds (a number, or its digits as text) or ISO 8601 text as microseconds.

    A text without a zone is UTC; a date alone is its midnight.
    """
    if isinstance(sent, str):
        text = sent.strip()
        if _SECONDS_AS_TEXT.fullmatch(text):
            sent = float(text)
        else:
            iso_us = _iso_us(text)
            return _invalid_time(pointer) if iso_us is None else _in_range(iso_us, now_us, pointer)
    if isinstance(sent, bool) or not isinstance(sent, (int, float)) or not -inf < sent < inf:
        return _invalid_time(pointer)
    if sent >= _MILLISECONDS_FROM:
        return Refusal(
            Reason.TIMESTAMP_IN_MILLISECONDS,
            pointer,
            "The time looks like milliseconds; send UNIX seconds, fractions are allowed.",
        )
    if sent < _EARLIEST:
        return _out_of_range(pointer)
    # Rounding is exact: in this range neighbouring floats are less than half a microsecond apart.
    return _in_range(round(sent * SECOND_US), now_us, pointer)


def read_age(sent: object, *, now_us: int) -> int | Refusal:
    """Give the time that was *sent* seconds ago as microseconds."""
    if isinstance(sent, bool) or not isinstance(sent, (int, float)) or not 0 <= sent < inf:
        return Refusal(
            Reason.INVALID_TIMESTAMP,
            "/age",
            "age is no number of seconds from 0 up; send one or leave it out.",
        )
    if sent >= _MILLISECONDS_FROM:
        return _out_of_range("/age")
    return _in_range(now_us - round(sent * SECOND_US), now_us, "/age")


def is_time(sent: object) -> bool:
    """Tell whether *sent* names a time at all, also one that we would refuse."""
    if isinstance(sent, str):
        text = sent.strip()
        return bool(_SECONDS_AS_TEXT.fullmatch(text)) or _iso_us(text) is not None
    if isinstance(sent, float):
        return isfinite(sent)
    return isinstance(sent, int) and not isinstance(sent, bool)


def _iso_us(text: str) -> int | None:
    if not _DATE_AND_REST.fullmatch(text):
        return None
    try:
        return moment_us(text)
    except ValueError:
        return None


def _in_range(time_us: int, now_us: int, pointer: str) -> int | Refusal:
    return time_us if _EARLIEST * SECOND_US <= time_us <= now_us + DAY_US else _out_of_range(pointer)


def _out_of_range(pointer: str) -> Refusal:
    return Refusal(
        Reason.TIMESTAMP_OUT_OF_RANGE,
        pointer,
        "The time is before the year 2000 or more than a day ahead; correct it.",
    )


def _invalid_time(pointer: str) -> Refusal:
    return Refusal(
        Reason.INVALID_TIMESTAMP,
        pointer,
        "The time cannot be read; send UNIX seconds or ISO 8601, or leave it out.",
    )
