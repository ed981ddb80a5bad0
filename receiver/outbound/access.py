"""The right to ask Optilyz: one of the few requests that all processes together may have under way.

It is taken in the transaction before a request, and given back, with what came of the request, in the one
after it.
"""

import logging
import secrets
import time
from collections.abc import Callable
from random import uniform
from typing import NamedTuple, TypeVar

from receiver import telemetry
from receiver.outbound.optilyz import Unreached
from receiver.settings import Settings
from receiver.store import slots
from receiver.store.engine import Fault, fault
from receiver.store.sets import Ledger, Transaction
from receiver.store.slots import Lease, Wait

LEAVE_SECONDS = 5.0
"""A request that has not left by then must not be sent any more: somebody else may soon believe it lost."""

# Beyond the time for an answer: how long its owner has to write down what it was.
_SETTLE_SECONDS = 10.0
# So long is that tried while the database is away.
_PATIENCE_SECONDS = 300.0
_MOST_BACK_OFF_SECONDS = 300.0

Done = TypeVar("Done")


class Limits(NamedTuple):
    """How Optilyz may be asked; see the settings of the same names."""

    batch_size: int
    concurrency: int
    per_minute: int
    seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(
            settings.optilyz_batch_size,
            settings.optilyz_concurrency,
            settings.optilyz_per_minute,
            settings.optilyz_seconds,
        )

    def deadline_us(self, now_us: int) -> int:
        """When a request that is begun now, and all about it, is over, or its owner is gone."""
        return now_us + int((self.seconds + LEAVE_SECONDS + _SETTLE_SECONDS) * 1_000_000)


def take(transaction: Transaction, limits: Limits, now_us: int) -> Lease | Wait:
    """The right to one request, or until when there is none."""
    return slots.take(
        transaction,
        secrets.token_hex(8),
        now_us,
        limits.deadline_us(now_us),
        most=limits.concurrency,
        spacing_us=60_000_000 // limits.per_minute,
    )


def give_back(transaction: Transaction, lease: Lease, answer: object, now_us: int) -> int:
    """The request is over; until when nobody asks, which is now unless Optilyz could not be reached."""
    slots.give_back(transaction, lease)
    if not isinstance(answer, Unreached):
        slots.reached(transaction)
        return now_us
    seconds = answer.retry_after
    if seconds is None:
        back_off = min(_MOST_BACK_OFF_SECONDS, 2.0 ** slots.failures(transaction))
        seconds = back_off * uniform(0.5, 1)  # noqa: S311  # no secret
    until_us = now_us + int(seconds * 1_000_000)
    slots.close(transaction, until_us)
    return until_us


def write_down(ledger: Ledger, write: Callable[[Transaction], Done]) -> Done:
    """Run *write*, which keeps what Optilyz said, in a transaction; again while the database is away.

    Raises what it raises when that lasts too long, or is no outage.
    """
    give_up, pause = time.monotonic() + _PATIENCE_SECONDS, 0.1
    while True:
        try:
            with ledger.transaction() as transaction:
                done = write(transaction)
        except Exception as error:
            if fault(error) not in {Fault.AWAY, Fault.REPEAT} or time.monotonic() > give_up:
                raise
            telemetry.log("answer_not_kept", level=logging.WARNING, **telemetry.described(error))
            time.sleep(pause)
            pause = min(2 * pause, 5.0)
        else:
            return done
