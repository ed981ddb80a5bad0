"""A letter before it is on disk: what it says, whom it is for, what is wrong with it.  Pure."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from receiver.domain.commands import Event, ExternalId, Reason, Rules
from receiver.domain.events import MAILING_PROPERTIES, VARIATION_PROPERTIES, read_event
from receiver.domain.fields import Refusal
from receiver.domain.recipients import Code, Violation
from receiver.settings import Settings
from receiver.store.mailings import Route, State

LETTER_EVENT = "campaign"

STATUS: Mapping[State, str] = {
    State.QUEUED: "enqueued",
    State.REFUSED: "enqueue_failed",
    State.SUPPRESSED: "suppressed",
    State.CANCELLED: "cancelled",
}
"""The vendor's words (contract, 4.2); what is open or unknown makes no event."""


@dataclass(frozen=True, slots=True)
class LetterRules:
    """How letters are made.

    Attributes:
        rules: as those of callbacks, but an empty ID is just left out: a file has empty cells.
        numbers: which individualisation carries which ID, the ``campaign`` or the ``mailing``.
        consent_property: of the customer, which must say yes; None where nobody is asked.
    """

    rules: Rules
    numbers: Mapping[str, int]
    consent_property: str | None

    @classmethod
    def of(cls, settings: Settings) -> "LetterRules":
        rules = Rules(
            hard_ids=settings.hard_ids,
            soft_ids=settings.soft_ids,
            empty_ids="drop",
            campaign_properties=settings.campaign_properties or ("campaign_id",),
            status_properties=settings.status_properties or ("status",),
            stage_words=settings.stage_words,
        )
        return cls(rules, settings.individualisations, settings.consent_property)

    @property
    def kinds(self) -> tuple[str, ...]:
        return self.rules.hard_ids + self.rules.soft_ids


class Order(NamedTuple):
    """What the letters of one run, or of one request, have in common.

    Attributes:
        variation: for all of them; None leaves it to the template or to Optilyz.
        once: a customer gets one letter of this automation and campaign.
    """

    project_id: int
    project_token: str
    automation: str
    campaign: str | None
    route: Route
    variation: int | None
    once: bool


class Draft(NamedTuple):
    """One letter as it would be sent, or all that is wrong with it.

    Attributes:
        place: the row of the file, 0 where there is none.
        mailing: the ID that it will have.
        ids: those that travel in it, hard ones first.
        body: the recipient as JSON, or what was given instead.
        consent: what the row itself says of the consent; None where it says nothing.
    """

    place: int
    mailing: str
    ids: tuple[ExternalId, ...]
    body: bytes
    address_key: bytes | None
    variation: str | None
    consent: object
    violations: Sequence[Violation]


def mailing_id(now_us: int, number: int = 0) -> str:
    """24 hexadecimal digits, which ascend with the time and *number* and cannot be guessed."""
    return f"{now_us + number:014x}{secrets.token_hex(5)}"


def as_violation(refusal: Refusal) -> Violation:
    """An ID that cannot be used, in the words of letters; both lists have the same codes for it."""
    none = refusal.reason in {Reason.NO_CUSTOMER_IDS, Reason.EMPTY_CUSTOMER_ID}
    code = Code.NO_CUSTOMER_IDS if none else Code(refusal.reason.value)
    return Violation(code, refusal.pointer.lstrip("/"), refusal.detail)


def letter_event(
    rules: Rules,
    ids: Sequence[ExternalId],
    *,
    mailing: str,
    automation: str,
    campaign: str | None,
    variation: str | None,
    status: str,
    now_us: int,
    reason: str | None = None,
    message: str | None = None,
) -> Event | None:
    """What happened to a letter, as an event of its customer like any other; None where it has no IDs
    that we know.

    It looks like a callback would: event type, properties and words are those of campaigns.
    """
    if not ids:
        return None
    properties = {
        "action_type": "direct mail",
        rules.status_properties[0]: status,
        rules.campaign_properties[0]: campaign,
        "automation_id": automation,
        MAILING_PROPERTIES[0]: mailing,
        VARIATION_PROPERTIES[0]: variation,
        "type": reason,
        "message": message,
    }
    event = read_event(
        {
            "customer_ids": dict(ids),
            "event_type": LETTER_EVENT,
            "timestamp": now_us / 1_000_000,
            "properties": {name: value for name, value in properties.items() if value is not None},
        },
        rules,
        now_us,
    )
    # Only where the settings have changed meanwhile: the names of its IDs are none any more.
    return event if isinstance(event, Event) else None
