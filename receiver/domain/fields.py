"""The fields of a command: customer IDs, event type, properties; and what may be kept as text.

Every function takes what the sender wrote, as parsed JSON, and gives the value that we keep or a
Refusal.  No sentence of a refusal quotes a value: the sentences travel into answers and logs.
"""

import re
from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import NamedTuple

from receiver.domain.commands import ExternalId, Reason, Rules
from receiver.domain.json_text import encode

MAX_TEXT = 500
"""Characters of an ID, an event type, a campaign reference, or the name of a customer's property."""

MAX_VARIATION = 100
MAX_STATUS = 200
MAX_PROPERTY_BYTES = 16 * 1024

# Templates print an absent value as one of these words (contract, 8, pitfall 2).
_WORDS_FOR_NOTHING = frozenset({"null", "none", "undefined", "nan"})
# As nearly all IDs are: of these nothing but the words for nothing is to be refused.
_PLAIN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.@:+-]{0,99}")
_UNFILLED_TEMPLATE = re.compile(r"\{\{|\}\}|\{%|\$\{")
_KINDS = {int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class Refusal(NamedTuple):
    """Why a command is refused, before anybody knows which bytes it came in."""

    reason: Reason
    pointer: str
    detail: str


class Place(NamedTuple):
    """Where named values stand in what was sent.

    Attributes:
        prefix: the JSON pointer (RFC 6901) to the object that holds them.
        keys: what a value is called there, where that is not its name.
    """

    prefix: str
    keys: Mapping[str, str] = MappingProxyType({})

    def of(self, name: str) -> str:
        """Give the pointer to the value called *name*."""
        return f"{self.prefix}/{_step(self.keys.get(name, name))}"


def _step(key: str | int) -> str:
    """Give one step of a pointer; what no database can hold becomes U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", str(key)).replace("~", "~0").replace("/", "~1")


IN_CUSTOMER_IDS = Place("/customer_ids")
IN_PROPERTIES = Place("/properties")


def read_customer_ids(
    sent: object, rules: Rules, place: Place = IN_CUSTOMER_IDS
) -> tuple[tuple[ExternalId, ...], int] | Refusal:
    """Give the IDs in the order of the settings, hard ones first, and how many empty ones were left out."""
    if sent is None or sent == {}:
        return Refusal(Reason.NO_CUSTOMER_IDS, "/customer_ids", "No customer ID was sent; send at least one.")
    if not isinstance(sent, dict):
        return Refusal(
            Reason.WRONG_TYPE,
            "/customer_ids",
            f"customer_ids is {kind_of(sent)}; send an object of names and values.",
        )

    kinds = rules.hard_ids + rules.soft_ids
    for kind in sent:
        if kind not in kinds:
            return Refusal(
                Reason.UNKNOWN_ID_TYPE,
                place.of(kind),
                "No customer ID of this name is configured; correct the name or add it to the settings.",
            )

    ids = []
    empty = []
    for kind in kinds:
        if kind not in sent:
            continue
        value = _read_id(sent[kind])
        if isinstance(value, str):
            ids.append(ExternalId(kind, value))
        elif value[0] is Reason.EMPTY_CUSTOMER_ID and rules.empty_ids == "drop":
            empty.append(kind)
        else:
            return Refusal(value[0], place.of(kind), f"The customer ID {kind} {value[1]}")
    if ids:
        return tuple(ids), len(empty)
    return Refusal(
        Reason.EMPTY_CUSTOMER_ID,
        place.of(empty[0]),
        f"The customer ID {empty[0]} is empty and no other one was sent; send at least one.",
    )


def _read_id(sent: object) -> str | tuple[Reason, str]:
    """Give the ID as text, or the reason and the end of the sentence."""
    if isinstance(sent, str) and _PLAIN_ID.fullmatch(sent) and sent.lower() not in _WORDS_FOR_NOTHING:
        return sent
    if sent is None:
        return Reason.EMPTY_CUSTOMER_ID, "is null; leave it out when there is no value."
    text = text_of(sent)
    if text is None:
        return Reason.UNUSABLE_CUSTOMER_ID, f"is {kind_of(sent)}; send one text or number."
    if not text:
        return Reason.EMPTY_CUSTOMER_ID, "is empty; leave it out when there is no value."
    if text.lower() in _WORDS_FOR_NOTHING:
        return Reason.PLACEHOLDER_CUSTOMER_ID, "is a word for nothing; leave it out when there is no value."
    if ("{" in text or "}" in text) and _UNFILLED_TEMPLATE.search(text):
        return (
            Reason.PLACEHOLDER_CUSTOMER_ID,
            "is template text that was not filled in; correct the template of the letter.",
        )
    if len(text) > MAX_TEXT:
        return Reason.UNUSABLE_CUSTOMER_ID, f"has over {MAX_TEXT} characters; send the ID alone."
    if not is_storable(text):
        return (
            Reason.UNUSABLE_CUSTOMER_ID,
            "holds NUL or half of a surrogate pair; send valid Unicode without NUL.",
        )
    if text[0] == "[" and text[-1] == "]":
        return Reason.UNUSABLE_CUSTOMER_ID, "is a list printed as text; send one of its values."
    if not text[0].isalnum() and not any(map(str.isalnum, text)):
        return Reason.UNUSABLE_CUSTOMER_ID, "has no letter and no digit; leave it out when there is no value."
    return text


def text_of(sent: object) -> str | None:
    """Give a text trimmed, a number as its digits (12.0 as 12), and None for all else."""
    if isinstance(sent, str):
        return sent.strip()
    if isinstance(sent, bool):
        return None
    if isinstance(sent, float):
        if not isfinite(sent):
            return None
        return str(int(sent)) if sent.is_integer() else str(sent)
    return str(sent) if isinstance(sent, int) else None


def read_event_type(sent: object) -> str | Refusal:
    """Give the event's type as sent."""
    if sent is None or (isinstance(sent, str) and not sent.strip()):
        return Refusal(Reason.MISSING_EVENT_TYPE, "/event_type", "The event has no type; send event_type.")
    if not isinstance(sent, str):
        return Refusal(Reason.WRONG_TYPE, "/event_type", f"event_type is {kind_of(sent)}; send a text.")
    if len(sent) > MAX_TEXT:
        return Refusal(
            Reason.WRONG_TYPE, "/event_type", f"event_type has over {MAX_TEXT} characters; send a short name."
        )
    if not is_storable(sent):
        return _unstorable("/event_type")
    return sent


def first_text(properties: Mapping[str, object], names: tuple[str, ...], limit: int) -> str | None:
    """Give the first text or number under *names* that is not empty and has at most *limit* characters."""
    for name in names:
        if name in properties:
            text = text_of(properties[name])
            if text and len(text) <= limit:
                return text
    return None


def is_storable(text: str) -> bool:
    """Tell whether both databases can hold *text*: no NUL and no half of a surrogate pair."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unstorable(pointer: str) -> Refusal:
    return Refusal(
        Reason.UNSTORABLE_TEXT,
        pointer,
        "The text holds NUL or half of a surrogate pair; send valid Unicode without NUL.",
    )


def kind_of(sent: object) -> str:
    """Name the type of *sent* within a sentence."""
    if sent is None:
        return "null"
    if isinstance(sent, bool):
        return "true or false"
    if _is_no_number(sent):
        return "no finite number"
    return _KINDS[type(sent)]


def properties_text(properties: Mapping[str, object], place: Place = IN_PROPERTIES) -> str | Refusal:
    """Give the properties as JSON text, in the sender's order of keys."""
    try:
        text = encode(properties)
    except ValueError:
        return Refusal(
            Reason.WRONG_TYPE,
            _pointer_to_first(_is_no_number, properties, place) or place.prefix,
            "The property holds no finite number, or one of thousands of digits; send it as text.",
        )
    # The encoder writes NUL as this escape, but a backslash and u0000 of the sender's look the same.
    if "\\u0000" in text or not is_storable(text):
        pointer = _pointer_to_first(_is_unstorable, properties, place)
        if pointer is not None:
            return _unstorable(pointer)
    # A character has at most four bytes, so that most properties need no measuring.
    if len(text) * 4 > MAX_PROPERTY_BYTES:
        for name, value in properties.items():
            if len((value if isinstance(value, str) else encode(value)).encode()) > MAX_PROPERTY_BYTES:
                return Refusal(
                    Reason.PROPERTY_TOO_LARGE,
                    place.of(name),
                    f"The value of the property has over {MAX_PROPERTY_BYTES} bytes; shorten it.",
                )
    return text


def _pointer_to_first(
    is_bad: Callable[[object], bool], properties: Mapping[str, object], place: Place
) -> str | None:
    """Find the first bad name or value in the properties, at any depth, in the sender's order."""
    # Not recursive, because depth is the sender's; and pointers are made for the one that is found.
    waiting: list[_Found] = []
    waiting += [(None, name, value) for name, value in properties.items()][::-1]
    while waiting:
        found = waiting.pop()
        _, key, value = found
        if is_bad(key) or is_bad(value):
            return _pointer(found, place)
        if isinstance(value, dict):
            waiting += [(found, name, inner) for name, inner in value.items()][::-1]
        elif isinstance(value, list):
            waiting += [(found, index, inner) for index, inner in enumerate(value)][::-1]
    return None


_Found = tuple["_Found | None", str | int, object]


def _pointer(found: _Found, place: Place) -> str:
    steps = []
    outer, key, _ = found
    while outer is not None:
        steps.append(_step(key))
        outer, key, _ = outer
    return "/".join([place.of(str(key)), *reversed(steps)])


def _is_no_number(value: object) -> bool:
    return isinstance(value, float) and not isfinite(value)


def _is_unstorable(value: object) -> bool:
    return isinstance(value, str) and not is_storable(value)
