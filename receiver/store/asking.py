"""Statements of asking and settling: which letters are due, and what became of them.

As in receiver.store.writes every function takes the caller's transaction, which holds the one lock.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, and_, bindparam, exists, or_, select

from receiver.store.mailings import MOST_TOGETHER, Reason, Route, State, listed
from receiver.store.sets import Given, Transaction
from receiver.store.tables import mailings, slots


class Due(NamedTuple):
    """A letter whose turn it is, at most so many *together*.

    *body* is the recipient as JSON, *ids* the text of an object.
    """

    id: str
    project_id: int
    customer_id: int | None
    automation: str
    campaign: str | None
    variation: str | None
    ids: str
    body: bytes
    address_key: bytes | None
    together: int


class Settled(NamedTuple):
    """What became of a letter that *owner* asked for; *at_us* only where it is settled."""

    id: str
    owner: str
    state: State
    reason: str | None
    message: str | None
    vendor_id: str | None
    at_us: int | None
    together: int
    untold: bool


# -- asking ---------------------------------------------------------------------------------------

_ASK = Given(
    {name: mailings.c[name] for name in ("id", "asked_by", "asked_until_us", "asked_us")},
    "UPDATE mailings SET state = 'asked', asked_by = given.asked_by, asked_until_us = given.asked_until_us,"
    " asked_us = given.asked_us, attempts = attempts + 1 FROM given WHERE mailings.id = given.id",
)


_ANYTHING = select(
    or_(
        and_(
            exists().where(mailings.c.run_id.is_(None), mailings.c.state == State.INTENDED),
            exists().where(slots.c.number == 0, slots.c.busy_until_us <= bindparam("now_us")),
        ),
        exists().where(mailings.c.state == State.ASKED, mailings.c.asked_until_us < bindparam("now_us")),
    )
)


def is_anything_due(connection: Connection, now_us: int) -> bool:
    """Whether a letter of the gateway is due and Optilyz may be asked, or any letter was asked for too
    long ago.  Only reads."""
    return bool(connection.execute(_ANYTHING, {"now_us": now_us}).scalar_one())


def forsake(transaction: Transaction, now_us: int) -> None:
    """Letters that were asked for too long ago: nobody can say any more what became of them, unless a
    callback has."""
    transaction.execute(
        "UPDATE mailings SET settled_us = ?, untold = untold OR heard_us IS NULL,"
        f" state = CASE WHEN heard_us IS NULL THEN '{State.UNKNOWN}' ELSE '{State.QUEUED}' END,"
        f" reason = CASE WHEN heard_us IS NULL THEN '{Reason.NO_ANSWER}' ELSE '{Reason.HEARD_OF}' END,"
        " body = CASE WHEN heard_us IS NULL THEN body END"
        " WHERE state = 'asked' AND asked_until_us < ?",
        (now_us, now_us),
    )


def due(
    transaction: Transaction, run_id: int | None, most: int, up_to: int | None = None
) -> tuple[Route, list[Due]] | None:
    """The letters of the next request, at most so many: those of a run, *up_to* a row of its file, or of
    the gateway (None)."""
    which, place = ("run_id = ?", (run_id,)) if run_id is not None else ("run_id IS NULL", ())
    which += f" AND state = '{State.INTENDED}'"
    if up_to is not None:
        which, place = f"{which} AND place <= ?", (*place, up_to)
    first = transaction.execute(
        f"SELECT project_id, automation, route, together FROM mailings WHERE {which} ORDER BY id LIMIT 1",
        place,
    )()
    if not first:
        return None
    project_id, automation, route, together = first[0]
    most = 1 if route == Route.ONE else min(most, together)
    rows = transaction.execute(
        f"SELECT {', '.join(Due._fields)} FROM mailings WHERE {which}"
        " AND project_id = ? AND automation = ? AND route = ? AND together = ? ORDER BY id LIMIT ?",
        (*place, project_id, automation, route, together, most),
    )()
    return Route(route), [Due(*row) for row in rows]


def asked_until(transaction: Transaction, run_id: int) -> int | None:
    """When the last letter of the run that somebody asks for now is given up; None where there is none."""
    until_us: int | None = transaction.execute(
        f"SELECT max(asked_until_us) FROM mailings WHERE run_id = ? AND state = '{State.ASKED}'", (run_id,)
    )()[0][0]
    return until_us


def ask(transaction: Transaction, letters: Iterable[Due], owner: str, now_us: int, until_us: int) -> None:
    """*letters* are being asked by *owner*, who is given up after *until_us*."""
    transaction.run(_ASK, [(letter.id, owner, until_us, now_us) for letter in letters])


# -- settling -------------------------------------------------------------------------------------

_SETTLED: dict[str, Column[Any]] = {
    "id": mailings.c.id,
    "owner": mailings.c.asked_by,
    "state": mailings.c.state,
    "reason": mailings.c.reason,
    "message": mailings.c.message,
    "vendor_id": mailings.c.vendor_id,
    "at_us": mailings.c.settled_us,
    "together": mailings.c.together,
    "untold": mailings.c.untold,
}
# A callback came before the answer that never came.
_HEARD_OF = f"given.state = '{State.UNKNOWN}' AND mailings.heard_us IS NOT NULL"
_SETTLE = Given(
    _SETTLED,
    f"UPDATE mailings SET state = CASE WHEN {_HEARD_OF} THEN '{State.QUEUED}' ELSE given.state END,"
    f" reason = CASE WHEN {_HEARD_OF} THEN '{Reason.HEARD_OF}' ELSE given.reason END,"
    " message = given.message,"
    " vendor_id = coalesce(given.vendor_id, mailings.vendor_id), settled_us = given.at_us,"
    f" together = given.together, untold = mailings.untold OR (given.untold AND NOT ({_HEARD_OF})),"
    " asked_by = NULL, asked_until_us = NULL,"
    f" body = CASE WHEN given.state IN ('queued', 'cancelled') OR {_HEARD_OF} THEN NULL"
    " ELSE mailings.body END"
    " FROM given WHERE mailings.id = given.id AND mailings.asked_by = given.owner"
    " AND mailings.state IN ('asked', 'unknown') RETURNING mailings.id, mailings.customer_id",
)


def settle(transaction: Transaction, letters: Sequence[Settled]) -> dict[str, int | None]:
    """Write what became of *letters*; those that still were their owner's to settle -> their customers."""
    return dict(transaction.run(_SETTLE, letters)())


class Letter(NamedTuple):
    """One letter as somebody decides about it by hand."""

    id: str
    project_id: int
    customer_id: int | None
    automation: str
    campaign: str | None
    variation: str | None
    ids: str
    state: str
    vendor_id: str | None
    stage: str | None


def find(transaction: Transaction, project_id: int, mailing_id: str) -> Letter | None:
    """The letter with this ID."""
    rows = transaction.execute(
        f"SELECT {', '.join(Letter._fields)} FROM mailings WHERE id = ? AND project_id = ?",
        (mailing_id, project_id),
    )()
    return Letter(*rows[0]) if rows else None


def of_campaign(
    transaction: Transaction,
    project_id: int,
    campaign: str,
    states: Iterable[State],
    *,
    after: str,
    most: int,
) -> list[Letter]:
    """Letters of a campaign, in the order of their IDs from behind *after*."""
    rows = transaction.execute(
        f"SELECT {', '.join(Letter._fields)} FROM mailings WHERE project_id = ? AND campaign = ?"
        f" AND id > ? AND state IN ({listed(states)}) ORDER BY id LIMIT ?",
        (project_id, campaign, after, most),
    )()
    return [Letter(*row) for row in rows]


_DECIDE = Given(
    {name: mailings.c[name] for name in ("id", "state", "reason", "message", "settled_us")},
    "UPDATE mailings SET state = given.state, reason = given.reason, settled_us = given.settled_us,"
    " message = coalesce(given.message, mailings.message),"
    " asked_by = NULL, asked_until_us = NULL, together = CASE WHEN given.state = 'intended'"
    f" THEN {MOST_TOGETHER} ELSE mailings.together END,"
    " body = CASE WHEN given.state IN ('queued', 'suppressed', 'cancelled') THEN NULL ELSE mailings.body END"
    " FROM given WHERE mailings.id = given.id",
)


def decide(
    transaction: Transaction, rows: Sequence[tuple[str, State, Reason | None, str | None, int | None]]
) -> None:
    """What was decided without an answer: (ID, state, reason, message if there is a new one, settled at)."""
    transaction.run(_DECIDE, rows)
