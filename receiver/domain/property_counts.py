"""Which properties events have, and how often each value of one comes: counting in bounded memory.

Names and values that come after the first MOST different ones, or after so many characters of them, are
only counted together.  What is counted by itself is counted in full.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from receiver.domain.json_text import encode, encode_canonically

MOST = 10_000
MOST_TEXT = 10_000_000
LISTED = 1000
"""Names, or values, that an answer lists: those that come most often."""

_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


class _Room:
    """Whether there is still room for another name or value."""

    def __init__(self) -> None:
        self._taken = self._text = 0

    def takes(self, text: str | bytes) -> bool:
        """Whether *text* is to be kept; it is counted as kept."""
        if self._taken >= MOST or self._text + len(text) > MOST_TEXT:
            return False
        self._taken += 1
        self._text += len(text)
        return True


# -- the properties that there are ----------------------------------------------------------------


class Property(NamedTuple):
    """What a sample tells of a property.

    Attributes:
        types: by JSON's names, the most frequent first.
        share: of all events that the sample stands for, from 0 to 1.
        kinds: how many kinds of event have it.
    """

    name: str
    types: tuple[str, ...]
    share: float
    kinds: int


class Properties:
    """What the events of a sample have.

    Attributes:
        names: how many different ones there are, MOST at most.
        events: how many events the sample stands for.
        sampled: how many it holds.
        kinds: of how many kinds they are.
    """

    def __init__(self) -> None:
        self.events = self.sampled = self.kinds = 0
        self._room = _Room()
        self._types: dict[str, dict[str, float]] = {}
        self._kinds: Counter[str] = Counter()

    @property
    def names(self) -> int:
        return len(self._types)

    def add(self, events: int, sample: Iterable[str]) -> None:
        """Add a kind that so many *events* are of; *sample* are the properties of some, as JSON texts."""
        sampled, found = 0, Counter[tuple[str, str]]()
        for properties in sample:
            sampled += 1
            found.update((name, _TYPES[type(value)]) for name, value in json.loads(properties).items())
        self.events += events
        self.sampled += sampled
        self.kinds += 1
        for (name, type_name), times in found.items():
            if name in self._types or self._room.takes(name):
                types = self._types.setdefault(name, {})
                types[type_name] = types.get(type_name, 0) + times * events / sampled
        self._kinds.update({name for name, _ in found} & self._types.keys())

    def listed(self) -> list[Property]:
        """The most frequent, by their names where they are as frequent."""
        shares = {name: sum(types.values()) / self.events for name, types in self._types.items()}
        chosen = heapq.nsmallest(LISTED, shares, key=lambda name: (-shares[name], name))
        return [
            Property(
                name,
                tuple(sorted(self._types[name], key=self._types[name].__getitem__, reverse=True)),
                shares[name],
                self._kinds[name],
            )
            for name in chosen
        ]


# -- the values of one ----------------------------------------------------------------------------


class Value(NamedTuple):
    """A value that *events* have, the last of them at *last_us*; *text* is its JSON."""

    text: str
    events: int
    last_us: int


class Values:
    """What a property of events comes to.

    Two values are the same where `receiver.domain.properties.having` says so, 1 and 1.0 for example; and
    lists and objects where all that they hold is.

    Attributes:
        counted: how many events were looked at.
        without: how many of them do not have it.
    """

    def __init__(self, name: str) -> None:
        self.counted = self.without = 0
        self._name = name
        # As `encode` writes it in any object that has it.
        self._written = f"{encode(name)}:"
        self._room = _Room()
        self._times: dict[bytes, list[int]] = {}

    def add(self, properties: str, occurred_us: int) -> None:
        """Count an event whose *properties* are this JSON text."""
        self.counted += 1
        # Looked for before it is read: most properties are those of others.
        found = json.loads(properties) if self._written in properties else {}
        if self._name not in found:
            self.without += 1
            return
        value = encode_canonically(_plain(found[self._name]))
        if times := self._times.get(value):
            times[0] += 1
            times[1] = max(times[1], occurred_us)
        elif self._room.takes(value):
            self._times[value] = [1, occurred_us]

    def listed(self) -> list[Value]:
        """The most frequent; of those that are as frequent the one that came last."""
        found = (Value(text.decode(), *times) for text, times in self._times.items())
        return heapq.nsmallest(LISTED, found, key=lambda each: (-each.events, -each.last_us, each.text))


def _plain(value: object) -> object:
    """*value* with whole numbers in one form."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_plain(each) for each in value]
        case dict():
            return {name: _plain(each) for name, each in value.items()}
    return value
