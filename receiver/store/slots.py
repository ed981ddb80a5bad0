"""How many requests to Optilyz are under way, in all processes together, and when the next may begin.

Kept in the database, because processes share one vendor: a slot is a lease, which ends by itself when
its owner was killed.  Every function takes the caller's transaction, which holds the one lock.
"""

from typing import NamedTuple

from receiver.store.sets import Transaction

_DOOR = 0


class Lease(NamedTuple):
    """The right to one request; *owner* names nobody else's."""

    number: int
    owner: str


class Wait(NamedTuple):
    """No request may begin before *until_us*."""

    until_us: int


def take(
    transaction: Transaction, owner: str, now_us: int, until_us: int, *, most: int, spacing_us: int
) -> Lease | Wait:
    """A slot of the first *most*, until it is given back or *until_us* has passed.

    Requests begin at least *spacing_us* apart.
    """
    rows = transaction.execute("SELECT number, busy_until_us, begun_us FROM slots ORDER BY number")()
    busy_until_us = {number: until for number, until, _ in rows}
    # A clock that went back shall not keep us waiting for what it once said.
    begun_us = max((begun for *_, begun in rows if begun <= now_us), default=0)
    number = min(range(1, most + 1), key=busy_until_us.__getitem__)
    free_us = max(busy_until_us[_DOOR], busy_until_us[number], begun_us + spacing_us)
    if free_us > now_us:
        return Wait(free_us)
    transaction.execute(
        "UPDATE slots SET owner = ?, busy_until_us = ?, begun_us = ? WHERE number = ?",
        (owner, until_us, now_us, number),
    )
    return Lease(number, owner)


def give_back(transaction: Transaction, lease: Lease) -> None:
    """The request is over; nothing happens where the lease has passed to somebody else."""
    transaction.execute(
        "UPDATE slots SET owner = NULL, busy_until_us = 0 WHERE number = ? AND owner = ?", lease
    )


def reached(transaction: Transaction) -> None:
    """Optilyz has answered."""
    transaction.execute("UPDATE slots SET failures = 0 WHERE number = ? AND failures > 0", (_DOOR,))


def failures(transaction: Transaction) -> int:
    """How often in a row it could not be reached."""
    count: int = transaction.execute("SELECT failures FROM slots WHERE number = ?", (_DOOR,))()[0][0]
    return count


def close(transaction: Transaction, until_us: int) -> None:
    """Nobody asks before *until_us*: Optilyz could not be reached, or wants to be left alone."""
    transaction.execute(
        "UPDATE slots SET failures = failures + 1, busy_until_us = CASE WHEN busy_until_us > ?"
        " THEN busy_until_us ELSE ? END WHERE number = ?",
        (until_us, until_us, _DOOR),
    )
