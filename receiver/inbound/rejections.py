"""What operations do about rejections: replay, perhaps mended, dismiss, reopen, undo; and the trace of it.

A replay takes the one path that callbacks take (receiver.inbound.ingest), on the bytes as received or on
what a repair made of them.  The bytes that were received are never changed.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from receiver.domain import repairs
from receiver.domain.commands import Form, Reason
from receiver.domain.repairs import CannotMend, Circumstances, Mended
from receiver.inbound.deliveries import Became, Policy
from receiver.store import attempts, writes
from receiver.store.attempts import Attempt, Kept
from receiver.store.sets import Ledger

# Of one transaction: callbacks wait only for a moment.
MOST_AT_ONCE = 100


class Action(StrEnum):
    """What can be done about a rejection."""

    REPLAY = "replay"
    DISMISS = "dismiss"
    REOPEN = "reopen"
    UNDO = "undo"


class State(StrEnum):
    """Whether anything is to be done about a rejection."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISMISSED = "dismissed"


class How(NamedTuple):
    """How a rejection is mended before it is replayed: at most one of these; none leaves it as it is.

    Attributes:
        body: the whole text instead.
        patch: the operations of a JSON Patch (RFC 6902), on the event or update itself.
        names: of repairs, one after the other.
    """

    body: str | None = None
    patch: object = None
    names: tuple[str, ...] = ()

    def mend(self, kept: Kept, policy: Policy) -> Sequence[Mended] | CannotMend:
        """What is to be replayed of *kept*."""
        form = Form(kept.form)
        if self.body is not None:
            return [Mended(form, self.body.encode(errors="surrogatepass"))]
        if self.patch is not None:
            mended = repairs.patched(form, kept.body, self.patch)
            return mended if isinstance(mended, CannotMend) else [mended]
        if self.names:
            circumstances = Circumstances(kept.received_us, policy.rules)
            return repairs.mend(self.names, form, kept.body, circumstances)
        return [Mended(form, kept.body)]

    def document(self) -> Mapping[str, object] | None:
        """As the trace keeps it; a body is kept as what was replayed."""
        if self.body is not None:
            return {"body": True}
        if self.patch is not None:
            return {"patch": self.patch}
        return {"repair": ",".join(self.names)} if self.names else None


class Result(NamedTuple):
    """What became of one command of a replay.

    Attributes:
        event_id: of an event, accepted or known already.
        rejection_id: under which a refused command of a whole body is kept by itself.
        similar: other events of the customer that say the same less than a second apart: perhaps the
            sender's own correction.
    """

    outcome: Became
    event_id: int | None = None
    rejection_id: int | None = None
    reason: Reason | None = None
    detail: str | None = None
    pointer: str | None = None
    similar: tuple[int, ...] = ()


class Replayed(NamedTuple):
    """What became of one rejection.

    Attributes:
        results: one per command; empty where nothing was replayed.
        refused: why nothing was, in a sentence.
        whole: it is a body with several commands.
        bodies: what was replayed.
    """

    rejection_id: int
    results: Sequence[Result]
    refused: str | None
    whole: bool
    bodies: Sequence[Mended] = ()

    @property
    def over(self) -> bool:
        """Nothing is left to be done: of a body that could be read, what was refused is kept by itself."""
        refused = sum(1 for each in self.results if each.outcome is Became.REJECTED)
        return bool(self.results) and (not refused or (self.whole and refused < len(self.results)))

    @property
    def outcome(self) -> Became:
        """Rejected where something is left to be done, else accepted where anything was."""
        if not self.over:
            return Became.REJECTED
        accepted = any(each.outcome is Became.ACCEPTED for each in self.results)
        return Became.ACCEPTED if accepted else Became.DUPLICATE


class Who(NamedTuple):
    """Who does it and when; no key is the command line."""

    key_id: str | None
    now_us: int


def decide(
    ledger: Ledger,
    project_id: int,
    ids: Sequence[int],
    action: Action,
    note: str | None,
    who: Who,
) -> list[int]:
    """Dismiss or reopen those of *ids* that can be; which those were."""
    was, becomes = _STEPS[action]
    with ledger.transaction() as transaction:
        last_id = writes.take_turn(transaction, len(ids))().last_id
        found = attempts.find(transaction, project_id, ids)
        done = [each for each in dict.fromkeys(ids) if each in found and found[each].state == was]
        if done:
            attempts.settle(transaction, [(each, becomes.value, 0) for each in done])
            attempts.add(
                transaction,
                [
                    noted(last_id - number, project_id, each, action, note, who)
                    for number, each in enumerate(done)
                ],
            )
    return done


_STEPS: Mapping[Action, tuple[State, State]] = {
    Action.DISMISS: (State.OPEN, State.DISMISSED),
    Action.REOPEN: (State.DISMISSED, State.OPEN),
}


def noted(
    number: int, project_id: int, rejection_id: int, action: Action, note: str | None, who: Who
) -> Attempt:
    nothing = (None, None, None, None)
    return Attempt(
        number, project_id, rejection_id, who.now_us, who.key_id, action.value, None, note, *nothing
    )
