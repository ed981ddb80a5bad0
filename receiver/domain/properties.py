"""What may be asked about a property of an event: whether it has a certain value."""

import json
import re
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from receiver.domain.json_text import encode

# Shorter than what Python refuses to read as a number.
_NO_TEXT = re.compile(
    r"-?(?:0|[1-9][0-9]{0,999})(?:\.[0-9]{1,999})?(?:[eE][+-]?[0-9]{1,4})?|true|false|null", re.ASCII
)
_ABSENT = object()


class PropertyEquals(NamedTuple):
    """The property *name* has the *value*, which is written as people write it.

    ``2.50`` is the text and every number as large (2.5, 25e-1), ``true`` the text and the word of JSON.
    """

    name: str
    value: str


def having(wanted: PropertyEquals) -> Callable[[str], bool]:
    """What tells whether the JSON text of an object has *wanted*."""
    values = _readings(wanted.value)

    def has(properties: str) -> bool:
        found = json.loads(properties).get(wanted.name, _ABSENT)
        return any(_is_same(found, value) for value in values)

    return has


def fragments(wanted: PropertyEquals) -> list[str]:
    """Texts of which one stands in the JSON text that `encode` makes of any object that has *wanted*.

    Some others have them too: those with a number that begins alike, or with the property deeper within.
    """
    name = encode(wanted.name)
    written = {writing for value in _readings(wanted.value) for writing in _writings(value)}
    # Where one begins as another does, that other is enough.
    return [
        f"{name}:{each}" for each in written if not any(each[:end] in written for end in range(len(each)))
    ]


def _readings(value: str) -> list[str | float | None]:
    other = json.loads(value) if _NO_TEXT.fullmatch(value) else inf
    return [value, *([] if other in {inf, -inf} else [other])]


def _writings(value: str | float | None) -> set[str]:
    """How `encode` may have written what is the same as *value*."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return {encode(value)}
    same = [value, -0.0] if value == 0 else [value]
    if value % 1 == 0:
        same.append(int(value))
    if abs(value) < 10**300:
        same.append(float(value))
    # Its two encoders write large and small numbers each in their own style.
    return {writing for number in same for writing in (encode(number), repr(number))}


def _is_same(one: object, other: object) -> bool:
    # Python takes true for 1.
    return one == other and isinstance(one, bool) == isinstance(other, bool)
