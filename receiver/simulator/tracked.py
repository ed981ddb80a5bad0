"""What the simulated Tracking API makes of a command, and what it keeps: its own idea of the vendor's rules.

The exact words are the vendor's where they are publicly known; the others are marked.
"""

import json
import re
import time
from array import array
from bisect import bisect_right
from collections.abc import Collection, Mapping
from datetime import datetime
from hashlib import blake2b
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple

import orjson

# The vendor documents both as "less than".
PROPERTY_BYTES = 16 * 1024
MESSAGE_BYTES = 800_000

_NO_ID = "At least one id should be specified."
_NO_VALID_ID = "At least one valid id should be specified"
_BAD_ID = "Invalid customer_id"
# Unknown: the vendor's words for these.
_NO_TYPE = "event_type is required"
_BAD_TIME = "timestamp is not a number of seconds"
_BAD_PROPERTIES = "properties is not an object"
_NO_PROPERTIES = "properties are required"
_BIG_PROPERTY = "A property value has 16 KB or more"
_BIG_MESSAGE = "The message has 800 KB or more"

# A record beyond this much memory goes to a file that nobody sees.
_BYTES_IN_MEMORY = 64 * 1024 * 1024


class Log:
    """Records in the order in which they came, each under an ascending number."""

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._starts = array("Q", [0])
        self._file = SpooledTemporaryFile(_BYTES_IN_MEMORY)  # noqa: SIM115  # lives as long as the log

    def __len__(self) -> int:
        return len(self._numbers)

    def append(self, number: int, record: bytes) -> None:
        self._file.write(record)
        self._numbers.append(number)
        self._starts.append(self._starts[-1] + len(record))

    def after(self, number: int, limit: int) -> list[bytes]:
        """The first *limit* records whose number is above *number*."""
        first = bisect_right(self._numbers, number)
        last = min(first + limit, len(self))
        start = self._starts[first]
        self._file.seek(start)
        page = self._file.read(self._starts[last] - start)
        self._file.seek(0, 2)
        ends = [end - start for end in self._starts[first : last + 1]]
        return [page[ends[place] : ends[place + 1]] for place in range(last - first)]

    def close(self) -> None:
        self._file.close()


class Event(NamedTuple):
    """A good one; *timestamp* is as it came, or the server's where none came."""

    customer_ids: dict[str, Any]
    event_type: str
    timestamp: float | str
    properties: dict[str, Any]


class Update(NamedTuple):
    """Of customer properties; *update_timestamp* in seconds, the server's where none came."""

    customer_ids: dict[str, Any]
    properties: dict[str, Any]
    update_timestamp: float


def event_of(data: object, ids: Collection[str]) -> Event | str:
    """The event in *data*, or the words of its refusal; *ids* are the names of IDs that the project has."""
    if not isinstance(data, dict):
        return _NO_ID
    properties, moment = data.get("properties"), data.get("timestamp")
    if complaint := _about_ids(data.get("customer_ids"), ids) or _about_properties(properties):
        return complaint
    event_type = data.get("event_type")
    if not isinstance(event_type, str) or not event_type.strip():
        return _NO_TYPE
    if moment is not None and not _is_time(moment):
        return _BAD_TIME
    moment = time.time() if moment is None else moment
    if not isinstance(moment, str):
        moment = float(moment)
    return Event(data["customer_ids"], event_type, moment, properties or {})


def update_of(data: object, ids: Collection[str]) -> Update | str:
    """The update of customer properties in *data*, or the words of its refusal."""
    if not isinstance(data, dict):
        return _NO_ID
    properties, moment = data.get("properties"), data.get("update_timestamp")
    if complaint := _about_ids(data.get("customer_ids"), ids) or _about_properties(properties):
        return complaint
    if not properties:
        return _NO_PROPERTIES
    if moment is not None and not _is_number(moment):
        return _BAD_TIME
    return Update(data["customer_ids"], properties, time.time() if moment is None else float(moment))


def empty_ids(data: object) -> int:
    """How many IDs are none by the vendor's rule, wherever a good one stands beside them."""
    ids = data.get("customer_ids") if isinstance(data, dict) else None
    return sum(not _is_valid(value) for value in ids.values()) if isinstance(ids, dict) else 0


class Tracked:
    """Everything that was accepted.

    Events and updates are numbered together, from 1, in the order in which they came.  An event that is
    1:1 equal to an earlier one is kept like any other and says of which number it is a repeat.  Customers are
    told apart by their first ID in the order of *ids*: nothing is merged.
    """

    def __init__(self, ids: Collection[str]) -> None:
        self._ids = ids
        self._number = 0
        self._seen: dict[bytes, int] = {}
        self._customers: dict[tuple[str, str], dict[str, tuple[float, Any]]] = {}
        self.events = Log()
        self.updates = Log()
        self.repeats = 0

    def add_event(self, event: Event) -> str | None:
        """Keep it, or say why it is too large."""
        body = _json(event._asdict())
        if len(body) >= MESSAGE_BYTES:
            return _BIG_MESSAGE
        self._number += 1
        first = self._seen.setdefault(blake2b(body, digest_size=16).digest(), self._number)
        repeated = first != self._number
        self.repeats += repeated
        head = b'{"number":%d,"repeat_of":%s,' % (self._number, b"%d" % first if repeated else b"null")
        self.events.append(self._number, head + body[1:])
        return None

    def add_update(self, update: Update) -> str | None:
        """Keep it, or say why it is too large; a property is overwritten where what is there is older."""
        body = _json(update._asdict())
        if len(body) >= MESSAGE_BYTES:
            return _BIG_MESSAGE
        self._number += 1
        self.updates.append(self._number, b'{"number":%d,' % self._number + body[1:])
        known = self._customers.setdefault(self._customer(update.customer_ids), {})
        for name, value in update.properties.items():
            if name not in known or known[name][0] < update.update_timestamp:
                known[name] = (update.update_timestamp, value)
        return None

    def properties_of(self, customer_ids: Mapping[str, object]) -> dict[str, object]:
        """What is known of the customer with exactly this first ID."""
        known = self._customers.get(self._customer(customer_ids), {})
        return {name: value for name, (_, value) in known.items()}

    def close(self) -> None:
        self.events.close()
        self.updates.close()

    def _customer(self, customer_ids: Mapping[str, object]) -> tuple[str, str]:
        valid = (name for name in self._ids if name in customer_ids and _is_valid(customer_ids[name]))
        name = next(valid, "")
        return name, str(customer_ids.get(name))


def _about_ids(customer_ids: object, names: Collection[str]) -> str | None:
    if not isinstance(customer_ids, dict) or not customer_ids:
        return _NO_ID
    for name, value in customer_ids.items():
        if name not in names or isinstance(value, bool | list | dict):
            return _BAD_ID
    return None if any(map(_is_valid, customer_ids.values())) else _NO_VALID_ID


def _is_valid(value: object) -> bool:
    if isinstance(value, str):
        return any(map(str.isalnum, value)) and value.strip() not in ("null", "undefined")
    return _is_number(value)


def _about_properties(properties: object) -> str | None:
    if properties is None:
        return None
    if not isinstance(properties, dict):
        return _BAD_PROPERTIES
    for value in properties.values():
        if isinstance(value, str):
            # No character has more than four bytes.
            if len(value) * 4 >= PROPERTY_BYTES and len(value.encode()) >= PROPERTY_BYTES:
                return _BIG_PROPERTY
        elif isinstance(value, list | dict) and len(_json(value)) >= PROPERTY_BYTES:
            return _BIG_PROPERTY
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: object) -> bool:
    """A number of seconds, however large, or ISO 8601."""
    if not isinstance(value, str):
        return _is_number(value)
    try:
        return bool(re.match(r"\d{4}-\d\d-\d\dT", value)) and datetime.fromisoformat(value).year > 0
    except ValueError:
        return False


def _json(value: object) -> bytes:
    """The same text for what is equal, whatever the order of its members."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Deeper than orjson writes, though it reads as much.
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
