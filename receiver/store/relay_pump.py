"""Who relays, for all processes together, and how that goes.

One row is a lease, which ends by itself when its owner was killed, and a door: nobody asks Bloomreach
before it opens.  Functions that take a `Transaction` belong to one that holds the one lock.
"""

from typing import NamedTuple

from sqlalchemy import Connection

from receiver.domain.moments import SECOND_US
from receiver.store.sets import Transaction
from receiver.store.tables import relay_pump

# A lease that ends later was taken before the clock was set back, and may be nobody's any more.
_MOST_LEASE_US = 900 * SECOND_US


class Pump(NamedTuple):
    """As in receiver.store.tables."""

    id: int
    owner: str | None
    until_us: int
    open_us: int
    failures: int
    stopped: bool
    problem: str | None
    problem_us: int | None
    sent_us: int | None
    per_second: int
    rewinds: int

    def is_held(self, now_us: int) -> bool:
        """Whether the lease is somebody's."""
        return 0 < self.until_us - now_us <= _MOST_LEASE_US


def take(transaction: Transaction, owner: str, now_us: int, until_us: int) -> bool:
    """Whether *owner* has the lease until *until_us*: it was theirs, or nobody's."""
    rows = transaction.execute(
        "UPDATE relay_pump SET owner = ?, until_us = ?"
        " WHERE id = 1 AND (owner = ? OR until_us <= ? OR until_us > ?) RETURNING id",
        (owner, until_us, owner, now_us, now_us + _MOST_LEASE_US),
    )()
    return bool(rows)


def give_back(transaction: Transaction, owner: str) -> None:
    transaction.execute("UPDATE relay_pump SET until_us = 0 WHERE id = 1 AND owner = ?", (owner,))


def open_now(transaction: Transaction) -> None:
    """What kept us from asking may have been mended: try again now."""
    transaction.execute("UPDATE relay_pump SET open_us = 0 WHERE id = 1 AND open_us > 0")


def rewind(transaction: Transaction) -> None:
    """Something waits from now on that may stand before what was looked at last."""
    transaction.execute("UPDATE relay_pump SET rewinds = rewinds + 1 WHERE id = 1")


def reached(transaction: Transaction, open_us: int) -> None:
    """Bloomreach looks at what is sent; the next time nobody asks before *open_us*."""
    transaction.execute(
        "UPDATE relay_pump SET failures = 0, stopped = false, problem = NULL, problem_us = NULL,"
        " open_us = ? WHERE id = 1",
        (open_us,),
    )


def sent(transaction: Transaction, now_us: int, per_second: int) -> None:
    transaction.execute(
        "UPDATE relay_pump SET sent_us = ?, per_second = ? WHERE id = 1", (now_us, per_second)
    )


def close(
    transaction: Transaction, problem: str, now_us: int, open_us: int, *, failures: int, stopped: bool
) -> None:
    """Nobody asks before *open_us*, because of *problem*; *stopped*: only a person can mend it."""
    transaction.execute(
        "UPDATE relay_pump SET failures = ?, stopped = ?, problem = ?,"
        " problem_us = coalesce(problem_us, ?), open_us = ? WHERE id = 1",
        (failures, stopped, problem, now_us, open_us),
    )


def read(connection: Connection) -> Pump:
    return Pump(*connection.execute(relay_pump.select()).one())
