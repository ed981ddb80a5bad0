"""What can become of the wish to cancel a letter, and what its state alone says of that."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from receiver.store.asking import Letter
from receiver.store.mailings import State
from receiver.store.tables import HEARD_LAST


class Outcome(StrEnum):
    """What became of the wish to cancel a letter.  Outside users rely on the words: add, never rename."""

    CANCELLED = "cancelled"
    TAKEN_BACK = "taken_back"
    TOO_LATE = "too_late"
    UNREACHED = "unreached"
    BEING_SENT = "being_sent"
    UNKNOWN = "unknown"
    NO_VENDOR_ID = "no_vendor_id"
    NOT_SENT = "not_sent"
    WAS_CANCELLED = "was_cancelled"


SENTENCES: Mapping[Outcome, str] = {
    Outcome.CANCELLED: "It was not sent yet and will not be.",
    Outcome.TAKEN_BACK: "Optilyz has dropped it.",
    Outcome.TOO_LATE: "Optilyz has it no longer in its queue: it is printed, or was dropped before.",
    Outcome.UNREACHED: "Optilyz could not be asked, so it stays queued; cancel it again later.",
    Outcome.BEING_SENT: "Optilyz is being asked for it just now; cancel it again in a minute.",
    Outcome.UNKNOWN: "Nobody knows whether it is printed; look it up at Optilyz, then resolve it.",
    Outcome.NO_VENDOR_ID: "Optilyz gave it no ID by which it could be taken back; ask Optilyz itself.",
    Outcome.NOT_SENT: "It was never sent, so there is nothing to cancel.",
    Outcome.WAS_CANCELLED: "It was cancelled before.",
}

UNDECIDED = frozenset({Outcome.UNREACHED, Outcome.BEING_SENT})
"""Cancelling again may end otherwise."""

_WITHOUT_ASKING: Mapping[str, Outcome] = {
    State.ASKED: Outcome.BEING_SENT,
    State.UNKNOWN: Outcome.UNKNOWN,
    State.REFUSED: Outcome.NOT_SENT,
    State.SUPPRESSED: Outcome.NOT_SENT,
    State.CANCELLED: Outcome.WAS_CANCELLED,
}


class Cancelled(NamedTuple):
    """What became of it, and the sentence that says so."""

    outcome: Outcome
    detail: str

    @classmethod
    def of(cls, outcome: Outcome, why: str = "") -> "Cancelled":
        return cls(outcome, f"{why} {SENTENCES[outcome]}".lstrip())


def outcome_of(letter: Letter) -> Outcome | None:
    """What can be said of it without asking Optilyz; None where it is not sent yet, or queued there."""
    if letter.state == State.QUEUED:
        return Outcome.TOO_LATE if letter.stage in HEARD_LAST else None
    return _WITHOUT_ASKING.get(letter.state)
