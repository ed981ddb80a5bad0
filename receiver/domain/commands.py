"""What a callback says, as values: events, customer updates, rejections and the rules that tell them apart.

Times are whole microseconds since 1970 in UTC (names end in ``_us``): both databases keep and order
them alike, and a fraction of a second survives the way in and out.

The commands are named tuples rather than frozen data classes because one is built for every command
on the hot path, where a frozen data class costs three times as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple


class Reason(StrEnum):
    """Why something was refused.  Outside users rely on the codes: add, never rename."""

    MALFORMED_JSON = "malformed_json"
    NOT_A_BATCH = "not_a_batch"
    NO_COMMANDS = "no_commands"
    TOO_MANY_COMMANDS = "too_many_commands"
    COMMAND_NOT_AN_OBJECT = "command_not_an_object"
    UNKNOWN_COMMAND = "unknown_command"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    NO_CUSTOMER_IDS = "no_customer_ids"
    EMPTY_CUSTOMER_ID = "empty_customer_id"
    PLACEHOLDER_CUSTOMER_ID = "placeholder_customer_id"
    UNUSABLE_CUSTOMER_ID = "unusable_customer_id"
    UNKNOWN_ID_TYPE = "unknown_id_type"
    UNKNOWN_CUSTOMER = "unknown_customer"
    MISSING_EVENT_TYPE = "missing_event_type"
    INVALID_TIMESTAMP = "invalid_timestamp"
    TIMESTAMP_IN_MILLISECONDS = "timestamp_in_milliseconds"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    PROPERTY_TOO_LARGE = "property_too_large"
    EVENT_TOO_LARGE = "event_too_large"
    UNSTORABLE_TEXT = "unstorable_text"
    REFUSED_BY_DATABASE = "refused_by_database"


class Form(StrEnum):
    """What a run of bytes is, so that it can be read again the same way.

    The first three and ``FLAT`` are bodies of requests; ``COMMAND`` is one entry of a batch and
    ``FLAT_ITEM`` one entry of a flat list, kept by themselves when they are refused.
    """

    EVENT = "event"
    UPDATE = "update"
    BATCH = "batch"
    COMMAND = "command"
    FLAT = "flat"
    FLAT_ITEM = "flat_item"


class ExternalId(NamedTuple):
    """One ID of a customer: its configured name and its value, trimmed and never empty."""

    kind: str
    value: str


class Claim(NamedTuple):
    """What makes two commands the same one; see docs/decisions/0003-the-dedupe-key.md.

    Attributes:
        key: names what is claimed, unique within a project.  Begins with six bytes of the event's
            time in milliseconds (zero where it has none), so that neighbours in time are
            neighbours in the index; a hash follows.
        content: compared as well.  Empty for all but customer updates without a time, whose key
            names the customer: there only a repeat of the *latest* update is a duplicate, or
            setting a value, changing it, and setting it again would lose the third.
        windowed: the claim fades after ``DUPLICATE_WINDOW`` seconds, because nothing in the
            command says that it happened at one certain time.
    """

    key: bytes
    content: bytes
    windowed: bool


class Event(NamedTuple):
    """One event that we can keep.

    Attributes:
        ids: as sent, trimmed, in the order of the settings (hard IDs first), at least one.
        properties: JSON text of an object, in the sender's order of keys.
        campaign, status: the first non-empty one of the configured properties, or None.
        stage: our word for *status*, None where there is no status.
        mailing: the ID of ours that travelled in the letter, where it came back.
        variation: which version of the letter it was, where a property tells.
        dropped_ids: how many empty IDs were left out (only with ``EMPTY_IDS=drop``).
    """

    ids: tuple[ExternalId, ...]
    type: str
    occurred_us: int
    properties: str
    campaign: str | None
    status: str | None
    stage: str | None
    mailing: str | None
    variation: str | None
    claim: Claim
    command_id: str | int | None
    dropped_ids: int


class CustomerUpdate(NamedTuple):
    """New values of a customer's properties.

    Attributes:
        properties: JSON text of each value, by name; at least one.
        updated_us: since when the values hold; an older one never replaces a newer one.
    """

    ids: tuple[ExternalId, ...]
    properties: Mapping[str, str]
    updated_us: int
    claim: Claim
    command_id: str | int | None
    dropped_ids: int


class SystemTime(NamedTuple):
    """A question for the time within a batch: answered, neither kept nor counted."""

    command_id: str | int | None


class Rejection(NamedTuple):
    """A command, or a whole body, that was refused.  It is an answer, not an exception.

    Attributes:
        detail: a sentence that says what is wrong and what to do; never quotes a value.
        pointer: RFC 6901, from the event or update itself (for a body that is no batch, its root).
        body: the exact bytes, which ``read(form, body, ...)`` refuses again for the same reason.
        claim: identical rejections collapse by it.
        event_type, campaign: as far as they can be read.
    """

    reason: Reason
    detail: str
    pointer: str
    form: Form
    body: bytes
    claim: Claim
    command_id: str | int | None
    event_type: str | None
    campaign: str | None


Command = Event | CustomerUpdate
Outcome = Event | CustomerUpdate | SystemTime | Rejection


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator decided about reading callbacks; see the settings of the same names.

    Attributes:
        individualisations: what the flat form's ``individualisationN`` carries, by N: the name
            of an ID, or ``campaign``, or ``mailing``.
        stage_words: the sender's word in lower case -> our stage.
    """

    hard_ids: tuple[str, ...] = ("registered",)
    soft_ids: tuple[str, ...] = ("cookie",)
    empty_ids: Literal["reject", "drop"] = "reject"
    individualisations: Mapping[int, str] = field(
        default_factory=lambda: {1: "registered", 2: "cookie", 3: "campaign"}
    )
    campaign_properties: tuple[str, ...] = ("campaign_id", "campaign_reference", "scenario_id")
    status_properties: tuple[str, ...] = ("status", "state")
    stage_words: Mapping[str, str] = field(default_factory=dict)
    max_commands: int = 50
