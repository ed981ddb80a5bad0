"""One event or customer update: what stands in the ``data`` of a command, or in the flat form.

The first violation counts, in this order: structure, customer IDs, event type, time, properties.
"""

import re
from collections.abc import Mapping

from receiver.domain.claims import event_claim, update_claim
from receiver.domain.commands import CustomerUpdate, Event, Reason, Rules
from receiver.domain.fields import (
    IN_CUSTOMER_IDS,
    IN_PROPERTIES,
    MAX_STATUS,
    MAX_TEXT,
    MAX_VARIATION,
    Place,
    Refusal,
    first_text,
    kind_of,
    properties_text,
    read_customer_ids,
    read_event_type,
    text_of,
)
from receiver.domain.json_text import encode
from receiver.domain.stages import stage_of
from receiver.domain.timestamps import read_age, read_time

MAILING_PROPERTIES = ("mailing_id",)
"""The property that our own ID of a letter comes back in."""

VARIATION_PROPERTIES = ("variation", "variation_id")
"""The properties that tell which version of a letter it was, the first one that does."""


def refuse_no_object(sent: object) -> Refusal:
    """Refuse what stands where a command should."""
    return Refusal(Reason.COMMAND_NOT_AN_OBJECT, "", f"The command is {kind_of(sent)}; send an object.")


def read_event(
    sent: object, rules: Rules, now_us: int, command_id: str | int | None = None
) -> Event | Refusal:
    """Read an event as the Tracking API has it (contract, 1.3)."""
    if not isinstance(sent, dict):
        return refuse_no_object(sent)
    return _event(
        sent,
        rules,
        now_us,
        customer_ids=sent.get("customer_ids"),
        event_type=sent.get("event_type"),
        properties=sent.get("properties"),
        command_id=command_id,
    )


def _event(
    sent: Mapping[str, object],
    rules: Rules,
    now_us: int,
    *,
    customer_ids: object,
    event_type: object,
    properties: object,
    ids_at: Place = IN_CUSTOMER_IDS,
    properties_at: Place = IN_PROPERTIES,
    campaign: str | None = None,
    command_id: str | int | None = None,
) -> Event | Refusal:
    """Read an event from its parts; its time is still in *sent*."""
    identified = read_customer_ids(customer_ids, rules, ids_at)
    if isinstance(identified, Refusal):
        return identified
    ids, dropped_ids = identified
    event_type = read_event_type(event_type)
    if isinstance(event_type, Refusal):
        return event_type
    timestamp = sent.get("timestamp")
    occurred_us = _occurred(timestamp, sent.get("age"), now_us)
    if isinstance(occurred_us, Refusal):
        return occurred_us
    if properties is None:
        properties = {}
    elif not isinstance(properties, dict):
        return _refuse_properties(properties)
    text = properties_text(properties, properties_at)
    if isinstance(text, Refusal):
        return text

    status = first_text(properties, rules.status_properties, MAX_STATUS)
    sent_us = None if timestamp is None else occurred_us
    return Event(
        ids=ids,
        type=event_type,
        occurred_us=occurred_us,
        properties=text,
        campaign=campaign or first_text(properties, rules.campaign_properties, MAX_TEXT),
        status=status,
        stage=None if status is None else stage_of(status, rules.stage_words),
        mailing=first_text(properties, MAILING_PROPERTIES, MAX_TEXT),
        variation=first_text(properties, VARIATION_PROPERTIES, MAX_VARIATION),
        claim=event_claim(ids, event_type, sent_us, properties),
        command_id=command_id,
        dropped_ids=dropped_ids,
    )


def _occurred(timestamp: object, age: object, now_us: int) -> int | Refusal:
    if timestamp is not None:
        return read_time(timestamp, now_us=now_us, pointer="/timestamp")
    return now_us if age is None else read_age(age, now_us=now_us)


def _refuse_properties(sent: object) -> Refusal:
    return Refusal(
        Reason.WRONG_TYPE,
        "/properties",
        f"properties is {kind_of(sent)}; send an object of names and values.",
    )


def read_update(
    sent: object, rules: Rules, now_us: int, command_id: str | int | None = None
) -> CustomerUpdate | Refusal:
    """Read new values of a customer's properties (contract, 1.3)."""
    if not isinstance(sent, dict):
        return refuse_no_object(sent)
    identified = read_customer_ids(sent.get("customer_ids"), rules)
    if isinstance(identified, Refusal):
        return identified
    ids, dropped_ids = identified
    timestamp = sent.get("update_timestamp")
    updated_us = (
        now_us if timestamp is None else read_time(timestamp, now_us=now_us, pointer="/update_timestamp")
    )
    if isinstance(updated_us, Refusal):
        return updated_us
    properties = sent.get("properties")
    if properties is None or properties == {}:
        return Refusal(Reason.MISSING_FIELD, "/properties", "There are no properties; send at least one.")
    if not isinstance(properties, dict):
        return _refuse_properties(properties)
    text = properties_text(properties)
    if isinstance(text, Refusal):
        return text
    for name in properties:
        # Each is a row of its own, found by its name, and an index of PostgreSQL holds no more.
        if len(name) > MAX_TEXT:
            return Refusal(
                Reason.PROPERTY_TOO_LARGE,
                IN_PROPERTIES.of(name),
                f"The name of the property has over {MAX_TEXT} characters; shorten it.",
            )
    return CustomerUpdate(
        ids=ids,
        properties={name: encode(value) for name, value in properties.items()},
        updated_us=updated_us,
        claim=update_claim(ids, None if timestamp is None else updated_us, properties),
        command_id=command_id,
        dropped_ids=dropped_ids,
    )


_INDIVIDUALISATION = re.compile(r"individuali[sz]ation([1-9][0-9]{0,3})")
FLAT_EVENT_TYPE = "campaign"
"""Where the flat form names none."""

_FLAT_FIELDS = frozenset({"customer_ids", "event_type", "timestamp", "age"})
_KEPT_AS = {"campaign": "campaign_reference", "mailing": MAILING_PROPERTIES[0]}


def read_flat_event(sent: object, rules: Rules, now_us: int) -> Event | Refusal:
    """Read one object of the flat form.

    What is neither a field of an event nor an individualisation of a known meaning is a property.
    Where ``customer_ids`` was sent, the individualisations that carry IDs are not looked at.
    """
    if not isinstance(sent, dict):
        return refuse_no_object(sent)
    ids: dict[str, object] = {}
    id_keys: dict[str, str] = {}
    properties: dict[str, object] = {}
    property_keys: dict[str, str] = {}
    campaign = None
    for key, value in sent.items():
        if key in _FLAT_FIELDS:
            continue
        meaning = _meaning(key, rules)
        if meaning is None:
            properties[key] = value
        elif meaning not in _KEPT_AS:
            ids[meaning] = value
            id_keys[meaning] = key
        elif value is not None and (text := text_of(value)) != "":
            if meaning == "campaign" and text and len(text) <= MAX_TEXT:
                campaign = text
            # Where the sender uses our name itself, both are kept, each under its own.
            name = key if _KEPT_AS[meaning] in sent else _KEPT_AS[meaning]
            properties[name] = value
            property_keys[name] = key

    customer_ids = sent.get("customer_ids")
    event_type = sent.get("event_type")
    return _event(
        sent,
        rules,
        now_us,
        customer_ids=ids if customer_ids is None else customer_ids,
        event_type=FLAT_EVENT_TYPE if event_type is None else event_type,
        properties=properties,
        ids_at=Place("", id_keys) if customer_ids is None else IN_CUSTOMER_IDS,
        properties_at=Place("", property_keys),
        campaign=campaign,
    )


def flat_campaign(sent: Mapping[str, object], rules: Rules) -> str | None:
    """The campaign that an individualisation of the flat form carries, None where none does."""
    for key, value in sent.items():
        if _meaning(key, rules) == "campaign" and (text := text_of(value)) and len(text) <= MAX_TEXT:
            return text
    return None


def _meaning(key: str, rules: Rules) -> str | None:
    """Tell what an individualisation carries: the name of an ID, ``campaign`` or ``mailing``."""
    if not key.startswith("individuali"):
        return None
    match = _INDIVIDUALISATION.fullmatch(key)
    return rules.individualisations.get(int(match[1])) if match else None
