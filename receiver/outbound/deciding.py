"""What people decide about letters: whether one of unknown fate is printed, and that one shall not be sent.

As in receiver.outbound.asking no transaction is open while Optilyz is asked, and each request needs a
slot.  What state a letter is in is looked up under the lock that its sender needs too.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Engine

from receiver import telemetry
from receiver.inbound.deliveries import Policy
from receiver.outbound import access
from receiver.outbound.access import Limits
from receiver.outbound.cancellations import Cancelled, Outcome, outcome_of
from receiver.outbound.jobs import NotSent, optilyz_of
from receiver.outbound.letters import LetterRules
from receiver.outbound.optilyz import Denied, Optilyz, TakenBack, Unknown, Unreached
from receiver.outbound.settling import tell, told_of
from receiver.settings import Settings
from receiver.store import asking, writes
from receiver.store.asking import Letter
from receiver.store.mailings import Reason, State
from receiver.store.sets import Ledger, Transaction
from receiver.store.slots import Lease, Wait

# Letters of one transaction: callbacks wait only for a moment.
_LETTERS_A_TIME = 200

Report = Callable[[int], None]


class _Claim(NamedTuple):
    lease: Lease
    letter: Letter
    vendor_id: str
    optilyz: Optilyz


_Answer = TakenBack | Unreached | Denied | Unknown


class Decider:
    """Writes down what people decide.  Not to be shared between threads; anybody may set *stop*, and
    the letter that is under way is the last one then.

    *patience* is how many seconds a slot is waited for, and Optilyz while it cannot be reached.
    """

    def __init__(self, engine: Engine, settings: Settings, *, patience: float) -> None:
        self._ledger = Ledger(engine)
        self._policy = Policy.of(settings)
        self._rules = LetterRules.of(settings)
        self._limits = Limits.of(settings)
        self._patience = patience
        self._optilyz: Optilyz | NotSent
        try:
            self._optilyz = optilyz_of(settings)
        except NotSent as error:
            # What is not sent yet can be cancelled all the same.
            self._optilyz = error
        self.stop = threading.Event()

    def close(self) -> None:
        self._ledger.close()

    def resolve(self, project_id: int, mailing_id: str, *, printed: bool, note: str | None) -> State | None:
        """Say of a letter of unknown fate whether it is printed; if not, it is to be sent again.

        The state that the letter was in: of any other one than `unknown` nothing was changed.
        None where there is no such letter.
        """
        now_us = _now_us()
        with self._ledger.transaction() as transaction:
            letter = self._look_up(transaction, project_id, mailing_id, now_us)
            if letter is None or letter.state != State.UNKNOWN:
                return letter and State(letter.state)
            self._resolve(transaction, [letter], printed, note, now_us)
        return State.UNKNOWN

    def resolve_campaign(self, project_id: int, campaign: str, *, printed: bool, note: str | None) -> int:
        """As `resolve`, for all letters of the campaign whose fate is unknown; how many those are."""
        done, after = 0, ""
        while True:
            now_us = _now_us()
            with self._ledger.transaction() as transaction:
                writes.take_turn(transaction, 0)
                asking.forsake(transaction, now_us)
                letters = asking.of_campaign(
                    transaction, project_id, campaign, {State.UNKNOWN}, after=after, most=_LETTERS_A_TIME
                )
                if not letters:
                    return done
                self._resolve(transaction, letters, printed, note, now_us)
            done, after = done + len(letters), letters[-1].id

    def _resolve(
        self,
        transaction: Transaction,
        letters: Sequence[Letter],
        printed: bool,
        note: str | None,
        now_us: int,
    ) -> None:
        """*letters*, all of one project, are or are not printed."""
        state, reason = (State.QUEUED, Reason.RESOLVED) if printed else (State.INTENDED, None)
        settled_us = now_us if printed else None
        asking.decide(transaction, [(each.id, state, reason, note, settled_us) for each in letters])
        told = [told_of(each, state, reason)._replace(message=note) for each in letters]
        tell(transaction, letters[0].project_id, told, self._policy, self._rules, now_us)

    # -- one letter -------------------------------------------------------------------------------

    def cancel(self, project_id: int, mailing_id: str) -> Cancelled | None:
        """Keep a letter from being sent, or take it back from Optilyz; None where there is no such letter."""
        give_up, why = time.monotonic() + self._patience, ""
        while True:
            step = self._try_to_cancel(project_id, mailing_id)
            if isinstance(step, Unreached):
                why, pause = step.detail, 0.0
            elif isinstance(step, Wait):
                # Looked at again soon: whoever holds the slot may be done before its lease ends.
                pause = max(0.01, min((step.until_us - _now_us()) / 1_000_000, 0.25))
            else:
                return step
            if time.monotonic() > give_up or self.stop.wait(pause):
                return Cancelled.of(Outcome.UNREACHED, why)

    def _try_to_cancel(self, project_id: int, mailing_id: str) -> Cancelled | Wait | Unreached | None:
        step = self._claim(project_id, mailing_id)
        if not isinstance(step, _Claim):
            return step
        began = time.monotonic()
        answer = step.optilyz.take_back(step.letter.automation, step.vendor_id)
        telemetry.OPTILYZ_SECONDS.labels(type(answer).__name__.lower()).observe(time.monotonic() - began)
        return access.write_down(self._ledger, lambda each: self._keep(each, step, answer))

    def _claim(self, project_id: int, mailing_id: str) -> _Claim | Cancelled | Wait | None:
        """What can be decided here is done; for what Optilyz must be asked there is a slot."""
        now_us = _now_us()
        with self._ledger.transaction() as transaction:
            letter = self._look_up(transaction, project_id, mailing_id, now_us)
            if letter is None:
                return None
            if letter.state == State.INTENDED:
                self._end(transaction, [letter], None, now_us)
                return Cancelled.of(Outcome.CANCELLED)
            if (outcome := outcome_of(letter)) is not None:
                return Cancelled.of(outcome)
            if letter.vendor_id is None:
                return Cancelled.of(Outcome.NO_VENDOR_ID)
            if isinstance(self._optilyz, NotSent):
                return Cancelled.of(Outcome.UNREACHED, str(self._optilyz))
            lease = access.take(transaction, self._limits, now_us)
            return (
                lease if isinstance(lease, Wait) else _Claim(lease, letter, letter.vendor_id, self._optilyz)
            )

    def _keep(self, transaction: Transaction, claim: _Claim, answer: _Answer) -> Cancelled | Unreached:
        now_us, before = _now_us(), claim.letter
        letter = self._look_up(transaction, before.project_id, before.id, now_us)
        access.give_back(transaction, claim.lease, answer, now_us)
        if isinstance(answer, Unreached):
            return answer
        if not isinstance(answer, TakenBack):
            return Cancelled.of(Outcome.UNREACHED, answer.detail)
        if letter is None or letter.state != State.QUEUED:
            # Somebody else took it back at the same time.
            return Cancelled.of(Outcome.WAS_CANCELLED)
        if not answer.taken:
            return Cancelled.of(Outcome.TOO_LATE)
        self._end(transaction, [letter], Reason.TAKEN_BACK, now_us)
        return Cancelled.of(Outcome.TAKEN_BACK)

    # -- all letters of a campaign ----------------------------------------------------------------

    def cancel_campaign(
        self, project_id: int, campaign: str, report: Report = lambda _: None
    ) -> Counter[Cancelled]:
        """Cancel what is not sent yet, then take back what is queued; how many letters ended how.

        *report* is told each time how many more letters are done.  Once Optilyz could not be asked it is
        not asked again; this may be called again, and goes on with what is left.
        """
        return self.cancel_further(project_id, campaign, "", report)[0]

    def cancel_further(
        self, project_id: int, campaign: str, behind: str, report: Report = lambda _: None
    ) -> tuple[Counter[Cancelled], str | None]:
        """As `cancel_campaign`, of what is queued only the letters *behind* one; and behind which one to go
        on, None where it was not stopped."""
        done: Counter[Cancelled] = Counter()
        after = ""
        while not self.stop.is_set() and (letters := self._cancel_intended(project_id, campaign, after)):
            done[Cancelled.of(Outcome.CANCELLED)] += len(letters)
            report(len(letters))
            after = letters[-1].id
        unreached: Cancelled | None = None
        for letter in self._left(project_id, campaign, behind):
            cancelled = self._of_campaign(letter, unreached)
            if cancelled.outcome is Outcome.UNREACHED:
                unreached = cancelled
            done[cancelled] += 1
            behind = letter.id
            report(1)
        return done, behind if self.stop.is_set() else None

    def _of_campaign(self, letter: Letter, unreached: Cancelled | None) -> Cancelled:
        if letter.state == State.QUEUED:
            # Nobody can take it back any more: no transaction is needed to say so.
            if (outcome := outcome_of(letter)) is not None:
                return Cancelled.of(outcome)
            if unreached is not None and letter.vendor_id is not None:
                return unreached
        return self.cancel(letter.project_id, letter.id) or Cancelled.of(Outcome.NOT_SENT)

    def _cancel_intended(self, project_id: int, campaign: str, after: str) -> Sequence[Letter]:
        now_us = _now_us()
        with self._ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            asking.forsake(transaction, now_us)
            letters = asking.of_campaign(
                transaction, project_id, campaign, {State.INTENDED}, after=after, most=_LETTERS_A_TIME
            )
            if letters:
                self._end(transaction, letters, None, now_us)
        return letters

    def _left(self, project_id: int, campaign: str, after: str) -> Iterator[Letter]:
        """What is at Optilyz or on its way there; also what has come back from that way meanwhile."""
        states = {State.INTENDED, State.ASKED, State.QUEUED}
        while not self.stop.is_set():
            with self._ledger.transaction() as transaction:
                writes.take_turn(transaction, 0)
                letters = asking.of_campaign(
                    transaction, project_id, campaign, states, after=after, most=_LETTERS_A_TIME
                )
            if not letters:
                return
            for letter in letters:
                if self.stop.is_set():
                    return
                yield letter
            after = letters[-1].id

    # -- under the lock ---------------------------------------------------------------------------

    def _look_up(
        self, transaction: Transaction, project_id: int, mailing_id: str, now_us: int
    ) -> Letter | None:
        """The letter as it is now, and stays until the commit."""
        writes.take_turn(transaction, 0)
        asking.forsake(transaction, now_us)
        return asking.find(transaction, project_id, mailing_id)

    def _end(
        self, transaction: Transaction, letters: Sequence[Letter], reason: Reason | None, now_us: int
    ) -> None:
        """*letters*, all of one project, are cancelled."""
        asking.decide(transaction, [(each.id, State.CANCELLED, reason, None, now_us) for each in letters])
        told = [told_of(each, State.CANCELLED, reason) for each in letters]
        tell(transaction, letters[0].project_id, told, self._policy, self._rules, now_us)


def _now_us() -> int:
    return time.time_ns() // 1000
