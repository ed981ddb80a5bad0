"""What the routes of callbacks take, as JSON Schema for /openapi.json.

These routes are read by hand in receiver.domain, for speed and because the exact bytes matter; a test
holds the schemas against that reading.  They say which structure is read.  What depends on a value
(a word for nothing as an ID, a time next year) is said in words at most.  Each docstring is published.
"""

from collections.abc import Callable, Mapping
from inspect import getdoc

from receiver.domain.fields import MAX_PROPERTY_BYTES, MAX_TEXT
from receiver.settings import Settings
from receiver.web.openapi_parts import Schema, ref


def schemas(settings: Settings) -> Mapping[str, Schema]:
    """Give the schemas by name; the *settings* decide which IDs and how many commands there are."""
    return {name: {"description": getdoc(made), **made(settings)} for name, made in _MADE.items()}


def customer_ids(settings: Settings) -> Schema:
    """Who it is: by at least one of the IDs that are configured."""
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {kind: _id_value(settings) for kind in settings.hard_ids + settings.soft_ids},
    }


def _id_value(settings: Settings) -> Schema:
    return {
        "type": ["string", "number"] + ["null"] * (settings.empty_ids == "drop"),
        "description": f"Trimmed; at most {MAX_TEXT} characters, at least one of them a letter or digit; "
        "no word for nothing (null, none, undefined, nan) and no template that was not filled in.",
    }


def time(_: Settings) -> Schema:
    """UNIX seconds or ISO 8601, from the year 2000 to a day ahead; null is as good as absent: now.

    A text without a zone is UTC, and a date alone is its midnight.
    """
    return {
        "anyOf": [
            {"type": "number", "minimum": 946_684_800, "exclusiveMaximum": 100_000_000_000},
            {"type": "string", "format": "date-time"},
            {"type": "string", "format": "date"},
            {"type": "string", "pattern": r"^[0-9]{9,11}(\.[0-9]{1,20})?$"},
            {"type": "null"},
        ],
        "examples": [1_760_000_000.25, "2026-11-23T09:30:00+01:00"],
    }


_EVENT_TYPE: Schema = {
    "type": "string",
    # Not blank, by what Python calls white space; others call a few of these signs something else.
    "pattern": r"[^\s\x1c-\x1f\x85]",
    "maxLength": MAX_TEXT,
    "examples": ["campaign"],
}
_AGE: Schema = {
    "type": ["number", "null"],
    "minimum": 0,
    "description": "How many seconds ago it was; not looked at where a timestamp stands.",
}


def event(_: Settings) -> Schema:
    """One event of one customer."""
    return {
        "type": "object",
        "required": ["customer_ids", "event_type"],
        "properties": {
            "customer_ids": ref("CustomerIds"),
            "event_type": _EVENT_TYPE,
            "timestamp": ref("Time"),
            "age": _AGE,
            "properties": {"type": ["object", "null"], "description": _IN_PROPERTIES},
        },
    }


_IN_PROPERTIES = f"Each value is kept as it was sent, and has at most {MAX_PROPERTY_BYTES} bytes."


def customer_update(_: Settings) -> Schema:
    """New values of properties of one customer; an older one never replaces a newer one."""
    return {
        "type": "object",
        "required": ["customer_ids", "properties"],
        "properties": {
            "customer_ids": ref("CustomerIds"),
            "properties": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"maxLength": MAX_TEXT},
                "description": _IN_PROPERTIES,
            },
            "update_timestamp": ref("Time"),
        },
    }


def command(_: Settings) -> Schema:
    """One entry of a batch."""
    return {
        "type": "object",
        "required": ["name"],
        "properties": {
            "command_id": {"description": "Stands in the result too where it is a text or a whole number."}
        },
        "oneOf": [
            _named("customers/events", {"data": ref("Event")}),
            _named("customers", {"data": ref("CustomerUpdate")}),
            _named("system/time", {}),
        ],
    }


def _named(name: str, others: Schema) -> Schema:
    return {"required": ["name", *others], "properties": {"name": {"const": name}, **others}}


def batch(settings: Settings) -> Schema:
    """Several commands; one that is refused leaves its neighbours alone."""
    return {
        "type": "object",
        "required": ["commands"],
        "properties": {"commands": {**_list_of("Command"), "maxItems": settings.max_commands}},
    }


def flat_event(settings: Settings) -> Schema:
    """One event in the flat form: IDs and the campaign in individualisations, all else its properties.

    Where `customer_ids` stand, the individualisations that carry IDs are not looked at.
    """
    numbers = settings.individualisations
    ids = {number: meaning for meaning, number in numbers.items() if meaning not in ("campaign", "mailing")}
    identified = [f"individuali{letter}ation{number}" for number in ids for letter in "sz"]
    return {
        "type": "object",
        "properties": {
            "customer_ids": {"anyOf": [ref("CustomerIds"), {"type": "null"}]},
            "event_type": {**_EVENT_TYPE, "type": ["string", "null"], "default": "campaign"},
            "timestamp": ref("Time"),
            "age": _AGE,
        },
        "patternProperties": {
            f"^individuali[sz]ation{number}$": {"title": meaning, **_id_value(settings)}
            if number in ids
            else {"title": meaning}
            for meaning, number in numbers.items()
        },
        "anyOf": [
            {"required": ["customer_ids"], "properties": {"customer_ids": {"type": "object"}}},
            *({"required": [name]} for name in identified),
        ],
    }


def flat_body(_: Settings) -> Schema:
    """Callbacks in the flat form: one object, or a list of them."""
    return {"anyOf": [ref("FlatEvent"), _list_of("FlatEvent")]}


def _list_of(name: str) -> Schema:
    return {"type": "array", "minItems": 1, "items": ref(name)}


_MADE: Mapping[str, Callable[[Settings], Schema]] = {
    "CustomerIds": customer_ids,
    "Time": time,
    "Event": event,
    "CustomerUpdate": customer_update,
    "Command": command,
    "Batch": batch,
    "FlatEvent": flat_event,
    "FlatBody": flat_body,
}
