"""Optilyz is asked for letters that are on disk: none twice, none forgotten.

A letter is marked as asked, with its owner and a deadline, and that is committed before the request
leaves; no transaction is open while it is under way.  Who is killed in between leaves letters behind
that become `unknown` when their deadline has passed, and wait for a person's word.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from receiver import telemetry
from receiver.inbound.deliveries import Policy
from receiver.outbound import access
from receiver.outbound.access import Limits
from receiver.outbound.letters import LetterRules
from receiver.outbound.optilyz import Answer, Answered, Denied, Optilyz, Queued, Refused, Unreached
from receiver.outbound.settling import NO_SUCH_AUTOMATION, hold_back, settle
from receiver.store import asking, slots, writes
from receiver.store.asking import Due
from receiver.store.mailings import Route, State
from receiver.store.sets import Ledger, Transaction
from receiver.store.slots import Lease, Wait

# Somebody who has mended the key or the automation shall not wait long to see it work.
_DENIED_SECONDS = 60.0

# So many letters in a row, each alone after a request that was refused as a whole, may be refused.
_MOST_REFUSED_ALONE = 3

Compose = Callable[[Sequence[str]], str | Denied]
"""Recipients, each as JSON, into the body of a request for many."""

Hear = Callable[["Step"], bool]
"""Told of each step; False ends the asking."""


def compose(recipients: Sequence[str]) -> str:
    """The body that Optilyz documents."""
    return '{"addresses":[' + ",".join(recipients) + "]}"


class Asked(NamedTuple):
    """So many letters are settled: a request was made, or none of them may be sent any more."""

    letters: int


class Idle(NamedTuple):
    """No letter is due."""


class Closed(NamedTuple):
    """Optilyz could not be reached, or asks to come later; letters are due again then."""

    detail: str
    until_us: int


class Stopped(NamedTuple):
    """Asking on is of no use before somebody has done something; letters are due again."""

    detail: str


Step = Asked | Idle | Wait | Closed | Stopped


class _Claim(NamedTuple):
    lease: Lease
    route: Route
    letters: list[Due]


class Asker:
    """Makes one request after the other for the letters of a run, or of the gateway (*run_id* None); of a
    run perhaps only for the rows *up_to* one of the file.

    For one thread; the number of requests at once is bound in the database, for all of them together.
    """

    def __init__(
        self,
        ledger: Ledger,
        optilyz: Optilyz,
        policy: Policy,
        rules: LetterRules,
        limits: Limits,
        *,
        run_id: int | None = None,
        up_to: int | None = None,
        compose: Compose = compose,
    ) -> None:
        self._ledger = ledger
        self._optilyz = optilyz
        self._policy = policy
        self._rules = rules
        self._limits = limits
        self._run_id = run_id
        self._up_to = up_to
        self._refused_alone = 0
        self._compose = compose

    def step(self) -> Step:
        """Make the next request, or say why there is none.  Raises what the database raises."""
        began = time.monotonic()
        claim = self._claim()
        if not isinstance(claim, _Claim):
            return claim
        if time.monotonic() - began > access.LEAVE_SECONDS:
            answer: Answer = Unreached("This machine was too busy to send the request in time.", None)
        else:
            answer = self._doubted(claim, self._ask(claim))
        return self._settle(claim, answer)

    def _claim(self) -> _Claim | Asked | Idle | Wait:
        """Mark the next letters as being asked by us; committed when this returns."""
        now_us = time.time_ns() // 1000
        with self._ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            asking.forsake(transaction, now_us)
            due = asking.due(transaction, self._run_id, self._limits.batch_size, self._up_to)
            if due is None:
                return self._others(transaction)
            lease = access.take(transaction, self._limits, now_us)
            if isinstance(lease, Wait):
                return lease
            letters = hold_back(transaction, due[1], self._policy, self._rules, now_us)
            if not letters:
                slots.give_back(transaction, lease)
                return Asked(len(due[1]))
            asking.ask(transaction, letters, lease.owner, now_us, self._limits.deadline_us(now_us))
        return _Claim(lease, due[0], letters)

    def _others(self, transaction: Transaction) -> Idle | Wait:
        """Nothing is left for us; a run is over only when nobody else is asking for letters of it."""
        until_us = None if self._run_id is None else asking.asked_until(transaction, self._run_id)
        return Idle() if until_us is None else Wait(until_us)

    def _ask(self, claim: _Claim) -> Answer:
        automation = claim.letters[0].automation
        bodies = [letter.body.decode() for letter in claim.letters]
        began = time.monotonic()
        if claim.route is Route.ONE:
            answer = self._optilyz.enqueue_one(automation, bodies[0].encode())
        elif isinstance(body := self._compose(bodies), Denied):
            answer = body
        else:
            answer = self._optilyz.enqueue_many(automation, body.encode(), len(bodies))
        telemetry.OPTILYZ_SECONDS.labels(type(answer).__name__.lower()).observe(time.monotonic() - began)
        return answer

    def _doubted(self, claim: _Claim, answer: Answer) -> Answer:
        """*answer*, unless one letter after the other is refused, alone after the request that it was in:
        then it is not they who are to blame, and no more addresses are marked as bad for it."""
        if not isinstance(answer, Answered):
            return answer
        if (
            claim.route is Route.MANY
            and claim.letters[0].together == 1
            and isinstance(answer.fates[0], Refused)
        ):
            self._refused_alone += 1
            if self._refused_alone >= _MOST_REFUSED_ALONE:
                # Not in its words, which may quote an address.
                return Denied(0, "Optilyz refuses every request; `receiver mailings list` says why.")
        elif any(isinstance(fate, Queued) for fate in answer.fates):
            self._refused_alone = 0
        return answer

    # -- what became of them ----------------------------------------------------------------------

    def _settle(self, claim: _Claim, answer: Answer) -> Step:
        """Write down what Optilyz said, however long the database is away for."""
        step, states = access.write_down(self._ledger, lambda each: self._write(each, claim, answer))
        for state in states:
            telemetry.LETTERS.labels(state).inc()
        return step

    def _write(self, transaction: Transaction, claim: _Claim, answer: Answer) -> tuple[Step, list[State]]:
        now_us = time.time_ns() // 1000
        writes.take_turn(transaction, 0)
        gateway = self._run_id is None
        states = settle(
            transaction,
            claim.lease.owner,
            claim.letters,
            answer,
            self._policy,
            self._rules,
            gateway=gateway,
            now_us=now_us,
        )
        closed_us = access.give_back(transaction, claim.lease, answer, now_us)
        if isinstance(answer, Unreached):
            return Closed(answer.detail, closed_us), states
        if not isinstance(answer, Denied) or (gateway and answer.status == NO_SUCH_AUTOMATION):
            return Asked(len(claim.letters)), states
        if gateway:
            slots.close(transaction, now_us + int(_DENIED_SECONDS * 1_000_000))
        return Stopped(answer.detail), states


def ask_until_done(asker: Asker, stop: threading.Event, hear: Hear) -> None:
    """Ask until nothing is due, *stop* is set, or *hear* says so."""
    while not stop.is_set():
        step = asker.step()
        if not hear(step) or isinstance(step, Idle | Stopped):
            return
        if isinstance(step, Wait | Closed):
            # Looked at again soon: whoever holds the slot may be done before its lease ends.
            seconds = (step.until_us - time.time_ns() // 1000) / 1_000_000
            stop.wait(max(0.01, min(seconds, 0.25)))
