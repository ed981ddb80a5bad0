"""Statements of the sender: what it must know before a letter, and what becomes of letters.

As in receiver.store.writes every function takes the caller's transaction, which holds the one lock.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column

from receiver.store.sets import Given, Insert, Row, Transaction, columns_of
from receiver.store.tables import (
    customer_properties,
    mailing_ids,
    mailings,
    runs,
    suppressions,
)


class State(StrEnum):
    """Where a letter is.  It is intended before Optilyz is asked, and settled after."""

    INTENDED = "intended"
    ASKED = "asked"
    QUEUED = "queued"
    REFUSED = "refused"
    SUPPRESSED = "suppressed"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why a letter is where it is; beside these the codes of receiver.domain.recipients."""

    REFUSED_BY_OPTILYZ = "refused_by_optilyz"
    UNKNOWN_AUTOMATION = "unknown_automation"
    NO_CONSENT = "no_consent"
    OBJECTION = "objection"
    BAD_ADDRESS = "bad_address"
    ALREADY_MAILED = "already_mailed"
    NO_ANSWER = "no_answer"
    HEARD_OF = "heard_of"
    RESOLVED = "resolved"
    TAKEN_BACK = "taken_back"


class Kind(StrEnum):
    """Why somebody gets no letter: for good, or as long as the address is that one."""

    OBJECTION = "objection"
    BAD_ADDRESS = "bad_address"


class Route(StrEnum):
    """The two endpoints of Optilyz."""

    ONE = "recipient"
    MANY = "recipients"


PERHAPS_PRINTED = frozenset({State.ASKED, State.QUEUED, State.UNKNOWN})
MOST_TOGETHER = 1000
"""Letters that Optilyz takes in one request."""


class KnownLetter(NamedTuple):
    """What a callback must know of a letter; *ids* is the JSON text of an object."""

    project_id: int
    id: str
    customer_id: int | None
    campaign: str | None
    ids: str
    state: str
    address_key: bytes | None


def _columns(**types: Any) -> dict[str, Column[Any]]:
    return {name: Column(name, kind) for name, kind in types.items()}


def listed(states: Iterable[State]) -> str:
    """As SQL has them between brackets."""
    return ", ".join(f"'{state}'" for state in sorted(states))


# -- what receiver.store.writes runs beside its own -----------------------------------------------

_MERGE = _columns(source=BigInteger, survivor=BigInteger)
MERGE_MAILINGS = Given(
    _MERGE,
    "UPDATE mailings SET customer_id = given.survivor FROM given WHERE mailings.customer_id = given.source",
)
MERGE_SUPPRESSIONS = Given(
    _MERGE,
    "UPDATE suppressions SET customer_id = given.survivor FROM given"
    " WHERE suppressions.customer_id = given.source",
)
_NEWER = "given.stage IS NOT NULL AND given.stage_us >= coalesce(mailings.stage_us, 0)"
# Whoever hears of a letter knows that it was taken, whatever became of the answer, and whatever a person
# said who wants it to be sent again.
_TAKEN = "(mailings.state = 'unknown' OR mailings.state = 'intended' AND mailings.attempts > 0)"
HEARD = Given(
    {name: mailings.c[name] for name in ("id", "status", "stage", "stage_us", "heard_us")},
    "UPDATE mailings SET"
    " heard_us = CASE WHEN mailings.heard_us > given.heard_us THEN mailings.heard_us ELSE given.heard_us END,"
    f" status = CASE WHEN {_NEWER} THEN given.status ELSE mailings.status END,"
    f" stage_us = CASE WHEN {_NEWER} THEN given.stage_us ELSE mailings.stage_us END,"
    f" stage = CASE WHEN {_NEWER} THEN given.stage ELSE mailings.stage END,"
    " untold = mailings.untold OR coalesce(given.stage, '') = 'returned',"
    f" reason = CASE WHEN {_TAKEN} THEN 'heard_of' ELSE mailings.reason END,"
    f" body = CASE WHEN {_TAKEN} THEN NULL ELSE mailings.body END,"
    f" state = CASE WHEN {_TAKEN} THEN 'queued' ELSE mailings.state END"
    " FROM given WHERE mailings.id = given.id",
)
# A letter that comes back is told of more than once.
ADD_SUPPRESSIONS = Given(
    columns_of(suppressions),
    "INSERT INTO suppressions SELECT DISTINCT * FROM given WHERE NOT EXISTS (SELECT 1 FROM suppressions AS s"
    " WHERE s.customer_id = given.customer_id AND s.kind = given.kind"
    " AND s.address_key = given.address_key AND s.lifted_us IS NULL)",
)

# -- what a callback is about ---------------------------------------------------------------------

_LETTER = ", ".join(f"m.{name}" for name in KnownLetter._fields)
_BY_ID = Given(
    {name: mailings.c[name] for name in ("project_id", "id")},
    f"SELECT {_LETTER} FROM given CROSS JOIN mailings AS m"
    " WHERE m.id = given.id AND m.project_id = given.project_id",
)
_BY_CARRIED = Given(
    columns_of(mailing_ids, 4),
    f"SELECT {_LETTER} FROM given CROSS JOIN mailing_ids AS i CROSS JOIN mailings AS m"
    " WHERE i.project_id = given.project_id AND i.kind = given.kind AND i.value = given.value"
    " AND i.campaign = given.campaign AND m.id = i.mailing_id",
)


def known_letters(
    transaction: Transaction,
    ids: Sequence[tuple[int, str]],
    carried: Sequence[tuple[int, str, str, str]],
) -> list[KnownLetter]:
    """Letters by (project, mailing ID), and by (project, kind, value, campaign) of what they carry."""
    fetches = [
        transaction.run(statement, rows)
        for statement, rows in ((_BY_ID, ids), (_BY_CARRIED, carried))
        if rows
    ]
    return [KnownLetter(*row) for fetch in fetches for row in fetch()]


# -- what must be known before a letter -----------------------------------------------------------

_CUSTOMER = _columns(customer_id=BigInteger)
_SUPPRESSED = Given(
    _CUSTOMER,
    "SELECT s.customer_id, s.kind, s.address_key FROM given CROSS JOIN suppressions AS s"
    " WHERE s.customer_id = given.customer_id AND s.lifted_us IS NULL",
)
_PROPERTY = Given(
    {name: customer_properties.c[name] for name in ("customer_id", "name")},
    "SELECT p.customer_id, p.updated_us, p.value FROM given CROSS JOIN customer_properties AS p"
    " WHERE p.customer_id = given.customer_id AND p.name = given.name",
)
_MAILED = Given(
    {name: mailings.c[name] for name in ("customer_id", "automation", "campaign")},
    # Not by their state here: PostgreSQL would look for all in that state, instead of the customer's few.
    "SELECT m.customer_id, m.state FROM given CROSS JOIN mailings AS m"
    " WHERE m.customer_id = given.customer_id AND m.automation = given.automation"
    " AND coalesce(m.campaign, '') = coalesce(given.campaign, '')",
)


_COUNTS = PERHAPS_PRINTED | {State.INTENDED}


class Known(NamedTuple):
    """What speaks against letters to some customers.

    Attributes:
        suppressed: customer -> (kind, key of the bad address or None for any).
        properties: customer -> the property that was asked for: since when, and its JSON text.
        mailed: who has, or will have, a letter of that automation and campaign.
    """

    suppressed: dict[int, list[tuple[str, bytes | None]]]
    properties: dict[int, tuple[int, str]]
    mailed: set[int]


def known_of(
    transaction: Transaction,
    customers: Sequence[int],
    *,
    name: str | None,
    once: tuple[str, str | None] | None,
) -> Known:
    """What is known of *customers*: their property *name*, and letters of the pair *once*."""
    suppressed = transaction.run(_SUPPRESSED, [(each,) for each in customers])
    properties = transaction.run(_PROPERTY, [(each, name) for each in customers]) if name else None
    mailed = transaction.run(_MAILED, [(each, *once) for each in customers]) if once else None
    known = Known(
        {},
        {customer: (updated_us, value) for customer, updated_us, value in properties()} if properties else {},
        {customer for customer, state in mailed() if state in _COUNTS} if mailed else set(),
    )
    for customer, kind, key in set(suppressed()):
        known.suppressed.setdefault(customer, []).append((kind, key))
    return known


# -- intending ------------------------------------------------------------------------------------

_MARK_MAILED = "UPDATE ledger SET mailed = true WHERE id = 1 AND NOT mailed"


class NewMailing(NamedTuple):
    """A row of the table, but for what a mailing has only later."""

    id: str
    project_id: int
    customer_id: int | None
    run_id: int | None
    place: int | None
    route: str
    automation: str
    campaign: str | None
    state: str
    reason: str | None
    message: str | None
    ids: str
    body: bytes | None
    address_key: bytes | None
    variation: str | None
    together: int
    attempts: int
    created_us: int
    settled_us: int | None
    untold: bool


_INSERT_MAILINGS = Insert(mailings, columns=NewMailing._fields)
_INSERT_MAILING_IDS = Insert(mailing_ids)


def add(transaction: Transaction, letters: Sequence[NewMailing], carried: Sequence[Row]) -> None:
    """Put *letters*, and the IDs that they carry: (project, kind, value, campaign, mailing)."""
    transaction.execute(_MARK_MAILED)
    if letters:
        transaction.insert(_INSERT_MAILINGS, letters)
    if carried:
        transaction.insert(_INSERT_MAILING_IDS, carried)


def find_run(transaction: Transaction, project_id: int, key: bytes) -> tuple[int, int] | None:
    """The run with this key: its number and how many rows are prepared."""
    found = transaction.execute(
        "SELECT id, rows FROM runs WHERE project_id = ? AND key = ?", (project_id, key)
    )()
    return (found[0][0], found[0][1]) if found else None


_INSERT_RUN = Insert(runs)


def add_run(transaction: Transaction, row: Row) -> None:
    """*row* in the order of the columns of the table."""
    transaction.insert(_INSERT_RUN, [row])


def rows_of(transaction: Transaction, run_id: int) -> int:
    """How many rows of the file are prepared."""
    rows: int = transaction.execute("SELECT rows FROM runs WHERE id = ?", (run_id,))()[0][0]
    return rows


def prepared(transaction: Transaction, run_id: int, rows: int) -> None:
    """So many rows of the file are prepared now."""
    transaction.execute("UPDATE runs SET rows = ? WHERE id = ?", (rows, run_id))
