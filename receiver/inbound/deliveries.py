"""What comes in and what becomes of it: a body as it came, its commands, and a verdict on each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from receiver.domain.callbacks import as_sent
from receiver.domain.commands import CustomerUpdate, Event, Form, Outcome, Rejection, Rules
from receiver.domain.json_text import encode
from receiver.settings import Settings
from receiver.store.writes import Source


@dataclass(frozen=True, slots=True)
class Policy:
    """How callbacks are read and kept: the rules of reading, and decisions that need the store.

    Attributes:
        revoked_property: of a customer whose letter came back; None where nothing is revoked.
        relayed: sources of what goes on to Bloomreach, while that is on.
    """

    rules: Rules
    create_unknown: bool
    window_us: int
    revoked_property: str | None = None
    relayed: frozenset[str] = frozenset({Source.CALLBACK.value, Source.REPLAY.value})

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        rules = Rules(
            hard_ids=settings.hard_ids,
            soft_ids=settings.soft_ids,
            empty_ids=settings.empty_ids,
            individualisations={number: name for name, number in settings.individualisations.items()},
            campaign_properties=settings.campaign_properties,
            status_properties=settings.status_properties,
            stage_words=settings.stage_words,
            max_commands=settings.max_commands,
        )
        return cls(
            rules,
            settings.unknown_customers == "create",
            settings.duplicate_window * 1_000_000,
            settings.consent_property if settings.revoke_consent else None,
            frozenset(settings.relay_sources),
        )


Headers = Sequence[tuple[bytes, bytes]]

# Never kept, whoever sends them.
_CREDENTIALS = {b"authorization", b"proxy-authorization", b"cookie"}


def kept(headers: Headers) -> str:
    """Header lines as JSON text, a list of pairs, since a name may stand there twice."""
    return encode([(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers if n not in _CREDENTIALS])


@dataclass(eq=False, repr=False)  # the body and the headers are nobody's to print
class Delivery:
    """One body as it came in; *headers*, without credentials, are kept beside what is refused.

    Attributes:
        first_us: of a replay, when the sender's bytes were first received.
        rejection_id: of a replay, what is replayed.
    """

    project_id: int
    source: Source
    form: Form
    body: bytes
    headers: Headers
    received_us: int
    first_us: int | None = None
    rejection_id: int | None = None

    @property
    def sent_us(self) -> int:
        """When it came in from the sender: what has no time of its own is told apart by that."""
        return self.received_us if self.first_us is None else self.first_us

    @cached_property
    def commands(self) -> list[tuple[Form, bytes]]:
        """The exact bytes of each command; found once, however many of them are refused."""
        return as_sent(self.form, self.body)


class Part(NamedTuple):
    """Some commands of a delivery, in order; *first* is the place of the first one, counted from zero."""

    delivery: Delivery
    first: int
    outcomes: Sequence[Outcome]


class Became(StrEnum):
    """What became of a command; it never changes."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Verdict(NamedTuple):
    """What became of one command.

    Attributes:
        row_id: the event (of a customer update: the customer), or the rejection.
        rejection: there where it was refused, also where only the store could tell.
    """

    became: Became
    row_id: int
    rejection: Rejection | None


class Item(NamedTuple):
    """One command of a delivery, *number* counted from zero."""

    delivery: Delivery
    number: int
    outcome: Event | CustomerUpdate | Rejection
