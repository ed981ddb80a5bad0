"""Statements of repair: what operations do about rejections, and what they withdraw.

As in receiver.store.writes every function takes the caller's transaction, which holds the one lock.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column

from receiver.store import journeys, outbox, shapes
from receiver.store.sets import Given, Insert, Rows, Transaction, columns_of
from receiver.store.tables import attempts, claims, events, rejections

MENDED = b"mended"
"""The content of a rejection's claim once it was replayed: a repeat of the same bytes is a duplicate then."""


class Kept(NamedTuple):
    """A rejection as it is replayed; *headers* is JSON text."""

    id: int
    form: str
    reason: str
    state: str
    received_us: int
    headers: str
    body: bytes


class Attempt(NamedTuple):
    """What somebody did about a rejection; see receiver.store.tables."""

    id: int
    project_id: int
    rejection_id: int
    at_us: int
    key_id: str | None
    action: str
    how: str | None
    note: str | None
    results: str | None
    bodies: str | None
    claimed: bytes | None
    undone_us: int | None


def _columns(**types: Any) -> dict[str, Column[Any]]:
    return {name: Column(name, kind) for name, kind in types.items()}


_FIND = Given(
    {name: rejections.c[name] for name in ("project_id", "id")},
    f"SELECT {', '.join(f'r.{name}' for name in Kept._fields)} FROM given CROSS JOIN rejections AS r"
    " WHERE r.id = given.id AND r.project_id = given.project_id",
)
_SETTLE = Given(
    {name: rejections.c[name] for name in ("id", "state", "attempts")},
    "UPDATE rejections SET state = given.state, attempts = rejections.attempts + given.attempts FROM given"
    " WHERE rejections.id = given.id",
)
_INSERT = Insert(attempts)
_RECLAIM = Given(
    {
        "project_id": claims.c.project_id,
        "key": claims.c.key,
        "was": claims.c.row_id,
        "content": claims.c.content,
        "becomes": claims.c.row_id,
    },
    "UPDATE claims SET content = given.content, row_id = given.becomes FROM given"
    " WHERE claims.project_id = given.project_id AND claims.key = given.key AND claims.row_id = given.was",
)
_UNTOUCHED = Given(
    {name: rejections.c[name] for name in ("project_id", "id", "parent_id")},
    "SELECT r.id, r.form, r.reason, r.body FROM given CROSS JOIN rejections AS r"
    " WHERE r.id = given.id AND r.project_id = given.project_id AND r.parent_id = given.parent_id"
    " AND r.state = 'open' AND r.count = 1"
    " AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.rejection_id = r.id)",
)
_DELETE_REJECTIONS = Given(
    {"id": rejections.c.id}, "DELETE FROM rejections WHERE id IN (SELECT id FROM given)"
)
_CLAIM = Insert(claims)
_RELEASE = Given(
    {name: claims.c[name] for name in ("project_id", "key", "row_id")},
    "DELETE FROM claims WHERE (project_id, key, row_id) IN (SELECT project_id, key, row_id FROM given)",
)
_EVENT_COLUMNS = ", ".join(columns_of(events))
_WITHDRAWN = _columns(id=BigInteger, attempt_id=BigInteger, withdrawn_us=BigInteger)
_WITHDRAW = Given(
    _WITHDRAWN,
    f"INSERT INTO withdrawn_events ({_EVENT_COLUMNS}, attempt_id, withdrawn_us)"
    f" SELECT DISTINCT {', '.join(f'e.{name}' for name in columns_of(events))},"
    " given.attempt_id, given.withdrawn_us FROM given CROSS JOIN events AS e WHERE e.id = given.id",
)
_IDS = _columns(id=BigInteger)
_MADE = Given(
    _IDS,
    "SELECT e.id, e.ids, e.type, e.occurred_us, e.properties FROM given CROSS JOIN events AS e"
    " WHERE e.id = given.id",
)
_DELETE_EVENTS = Given(_IDS, "DELETE FROM events WHERE id IN (SELECT id FROM given)")
# What is left of what was heard of the letters that the events were about.
_HEAR_AGAIN = Given(
    _IDS,
    "UPDATE mailings SET (status, stage, stage_us) ="
    " (SELECT e.status, e.stage, e.occurred_us FROM events AS e"
    " WHERE e.mailing_id = mailings.id AND e.stage IS NOT NULL AND e.source <> 'sending'"
    " AND e.id NOT IN (SELECT id FROM given) ORDER BY e.occurred_us DESC, e.id DESC LIMIT 1),"
    " heard_us = (SELECT max(e.received_us) FROM events AS e WHERE e.mailing_id = mailings.id"
    " AND e.source <> 'sending' AND e.id NOT IN (SELECT id FROM given))"
    " WHERE id IN (SELECT e.mailing_id FROM given CROSS JOIN events AS e WHERE e.id = given.id"
    " AND e.mailing_id IS NOT NULL)",
)
_SIMILAR = Given(
    _IDS,
    "SELECT e.id, o.id FROM given CROSS JOIN events AS e CROSS JOIN events AS o WHERE e.id = given.id"
    " AND o.customer_id = e.customer_id AND o.occurred_us > e.occurred_us - 1000000"
    " AND o.occurred_us < e.occurred_us + 1000000 AND o.id <> e.id AND o.type = e.type"
    " AND o.properties = e.properties AND o.project_id = e.project_id",
)


def find(transaction: Transaction, project_id: int, ids: Iterable[int]) -> dict[int, Kept]:
    """The rejections with these IDs."""
    rows = transaction.run(_FIND, [(project_id, each) for each in ids])()
    return {row[0]: Kept(*row) for row in rows}


def settle(transaction: Transaction, rows: Sequence[tuple[int, str, int]]) -> None:
    """(rejection, state, how many more attempts)."""
    shapes.move(transaction, [row[:2] for row in rows])
    transaction.run(_SETTLE, rows)


def add(transaction: Transaction, rows: Sequence[Attempt]) -> None:
    transaction.insert(_INSERT, rows)


def reclaim(transaction: Transaction, rows: Sequence[tuple[int, bytes, int, bytes, int]]) -> None:
    """Claims mean something else from now on: (project, key, row that they stood for, content, row).

    Where the same bytes came in again later, the claim stands for that rejection, and is left alone.
    """
    transaction.run(_RECLAIM, rows)


def claim(transaction: Transaction, rows: Sequence[tuple[int, bytes, bytes, int, int]]) -> None:
    """Further claims, of keys that nobody has: (project, key, content, when, row)."""
    if rows:
        transaction.insert(_CLAIM, rows)


def release(transaction: Transaction, rows: Sequence[tuple[int, bytes, int]]) -> None:
    """Let go of claims, so that what they stood for can come in again: (project, key, row)."""
    transaction.run(_RELEASE, rows)


def made(transaction: Transaction, ids: Sequence[int]) -> Rows:
    """(event, its IDs as sent, type, when it occurred, properties)."""
    return transaction.run(_MADE, [(each,) for each in ids])()


def withdraw(transaction: Transaction, ids: Sequence[int], attempt_id: int, now_us: int) -> None:
    """Move events to those that are in no report."""
    with journeys.withdrawing(transaction, ids):
        transaction.run(_WITHDRAW, [(each, attempt_id, now_us) for each in ids])
        transaction.run(_HEAR_AGAIN, [(each,) for each in ids])
        transaction.run(_DELETE_EVENTS, [(each,) for each in ids])
    outbox.withdraw(transaction, ids, now_us)


def forget_untouched(transaction: Transaction, project_id: int, ids: Sequence[int], parent_id: int) -> Rows:
    """Let go of rejections that only the replay of *parent_id* left, where nothing has become of them since.

    (number, form, reason, body) of each that is gone.
    """
    rows = transaction.run(_UNTOUCHED, [(project_id, each, parent_id) for each in ids])()
    gone = {row[0]: row[1:] for row in rows}
    if gone:
        shapes.forget(transaction, list(gone))
        transaction.run(_DELETE_REJECTIONS, [(each,) for each in gone])
    return [(number, *what) for number, what in gone.items()]


def similar(transaction: Transaction, ids: Sequence[int]) -> dict[int, list[int]]:
    """For each of these events the others of the same customer that say the same within a second."""
    found: dict[int, list[int]] = {}
    for event, other in sorted(set(transaction.run(_SIMILAR, [(each,) for each in ids])())):
        found.setdefault(event, []).append(other)
    return found


def last_replay(transaction: Transaction, project_id: int, rejection_id: int) -> Attempt | None:
    """The newest replay of the rejection that was not taken back."""
    rows = transaction.execute(
        f"SELECT {', '.join(Attempt._fields)} FROM attempts WHERE rejection_id = ? AND project_id = ?"
        " AND action = 'replay' AND undone_us IS NULL ORDER BY id DESC LIMIT 1",
        (rejection_id, project_id),
    )()
    return Attempt(*rows[0]) if rows else None


def undo(transaction: Transaction, attempt_id: int, now_us: int) -> None:
    transaction.execute("UPDATE attempts SET undone_us = ? WHERE id = ?", (now_us, attempt_id))
