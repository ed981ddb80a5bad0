"""The statements of ingest: what a group of commands looks up, and what it leaves behind.

Every function takes the caller's transaction first and never commits.  Each statement serves a whole
group, however large.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from receiver.store import journeys, mailings, outbox, shapes
from receiver.store.sets import Fetch, Given, Insert, Row, Transaction, columns_of
from receiver.store.tables import (
    claims,
    counters,
    customer_ids,
    customer_properties,
    customers,
    events,
    rejections,
)


class Source(StrEnum):
    """Where a command came from."""

    CALLBACK = "callback"
    REPLAY = "replayed"  # what operations replayed
    SENDING = "sending"  # the sender's events about its letters
    IDENTITY = "identity"  # our own events about merges and moved IDs; not commands, so not counted


class Turn(NamedTuple):
    """The last number that was reserved, whether there is any mailing, and whether what is accepted is
    relayed."""

    last_id: int
    mailed: bool
    relays: bool


class KnownClaim(NamedTuple):
    content: bytes
    claimed_us: int
    row_id: int


class KnownHolding(NamedTuple):
    project_id: int
    kind: str
    value: str
    customer_id: int
    used_us: int


@dataclass(slots=True)
class Writes:
    """Everything that a group leaves behind, as rows in the order of the tables' columns."""

    customers: list[Row] = field(default_factory=list)
    customer_ids: list[Row] = field(default_factory=list)
    moved_ids: list[Row] = field(default_factory=list)  # as customer_ids, of IDs that are there
    dropped_ids: list[Row] = field(default_factory=list)  # (project_id, kind, value)
    merges: list[Row] = field(default_factory=list)  # (source, survivor)
    undated_properties: list[Row] = field(default_factory=list)  # as properties, and before them
    properties: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    rejections: list[Row] = field(default_factory=list)
    repeated_rejections: list[Row] = field(default_factory=list)  # (id, times, last_seen_us, its hour)
    rejections_met_again: list[Row] = field(default_factory=list)  # (id, whose replay met it)
    shapes: list[Row] = field(default_factory=list)
    shape_states: list[Row] = field(default_factory=list)
    shape_hours: list[Row] = field(default_factory=list)
    rejection_hours: list[Row] = field(default_factory=list)
    claims: list[Row] = field(default_factory=list)
    renewed_claims: list[Row] = field(default_factory=list)  # as claims, of keys that are there
    counters: list[Row] = field(default_factory=list)
    heard: list[Row] = field(default_factory=list)  # as store.mailings.HEARD
    suppressions: list[Row] = field(default_factory=list)
    relayed_events: list[Row] = field(default_factory=list)  # as store.outbox.GIVE
    relayed_updates: list[Row] = field(default_factory=list)  # as store.outbox.GIVE_UPDATES
    given: list[Row] = field(default_factory=list)  # as store.outbox.RAISE


_KNOWN_CLAIMS = Given(
    columns_of(claims, 2),
    # CROSS JOIN keeps SQLite from scanning `claims` and looking into `given`.
    "SELECT c.project_id, c.key, c.content, c.claimed_us, c.row_id FROM given CROSS JOIN claims AS c"
    " WHERE c.project_id = given.project_id AND c.key = given.key",
)
_KNOWN_HOLDINGS = Given(
    columns_of(customer_ids, 3),
    "SELECT i.project_id, i.kind, i.value, i.customer_id, i.used_us"
    " FROM (SELECT DISTINCT h.customer_id FROM given CROSS JOIN customer_ids AS h"
    " WHERE h.project_id = given.project_id AND h.kind = given.kind AND h.value = given.value) AS held"
    " CROSS JOIN customer_ids AS i WHERE i.customer_id = held.customer_id",
)
_DROP_IDS = Given(
    columns_of(customer_ids, 3),
    "DELETE FROM customer_ids WHERE (project_id, kind, value) IN (SELECT project_id, kind, value FROM given)",
)
_MERGE = {"source": customers.c.id, "survivor": customers.c.id}
_MERGE_CUSTOMERS = Given(
    _MERGE, "UPDATE customers SET merged_into = given.survivor FROM given WHERE customers.id = given.source"
)
_MERGE_EVENTS = Given(
    _MERGE,
    "UPDATE events SET customer_id = given.survivor FROM given WHERE events.customer_id = given.source",
)
# Two sources of one survivor may both have a property: the newest one is moved.
_MERGE_PROPERTIES = Given(
    _MERGE,
    "INSERT INTO customer_properties (customer_id, name, value, updated_us)"
    " SELECT survivor, name, value, updated_us FROM (SELECT survivor, name, value, updated_us, row_number()"
    " OVER (PARTITION BY survivor, name ORDER BY updated_us DESC, source DESC) AS place"
    " FROM given CROSS JOIN customer_properties AS p WHERE p.customer_id = given.source) AS moved"
    " WHERE place = 1"
    " ON CONFLICT (customer_id, name) DO UPDATE SET value = excluded.value, updated_us = excluded.updated_us"
    " WHERE excluded.updated_us >= customer_properties.updated_us",
)
_DROP_MERGED_PROPERTIES = Given(
    _MERGE, "DELETE FROM customer_properties WHERE customer_id IN (SELECT source FROM given)"
)
# What two bodies hold goes with neither of them.
_SHARE_REJECTIONS = Given(
    {"id": rejections.c.id, "other_id": rejections.c.id},
    "UPDATE rejections SET parent_id = NULL FROM given"
    " WHERE rejections.id = given.id AND rejections.parent_id <> given.other_id",
)
_INSERT_CUSTOMERS = Insert(customers)
# Without ON CONFLICT, which costs PostgreSQL as much again: under the lock we know what is there.
_INSERT_CUSTOMER_IDS = Insert(customer_ids)
_INSERT_CLAIMS = Insert(claims)
_MOVE_IDS = Given(
    columns_of(customer_ids),
    "UPDATE customer_ids SET customer_id = given.customer_id, used_us = given.used_us FROM given"
    " WHERE customer_ids.project_id = given.project_id AND customer_ids.kind = given.kind"
    " AND customer_ids.value = given.value",
)
_RENEW_CLAIMS = Given(
    columns_of(claims),
    "UPDATE claims SET content = given.content, claimed_us = given.claimed_us, row_id = given.row_id"
    " FROM given WHERE claims.project_id = given.project_id AND claims.key = given.key",
)
# What has no time of its own counts from its arrival, whatever the clock says and the last one said.
_INSERT_UNDATED_PROPERTIES = Insert(
    customer_properties,
    "ON CONFLICT (customer_id, name) DO UPDATE SET value = excluded.value, updated_us ="
    " CASE WHEN excluded.updated_us > customer_properties.updated_us"
    " THEN excluded.updated_us ELSE customer_properties.updated_us END",
)
_INSERT_PROPERTIES = Insert(
    customer_properties,
    "ON CONFLICT (customer_id, name) DO UPDATE SET value = excluded.value, updated_us = excluded.updated_us"
    " WHERE excluded.updated_us >= customer_properties.updated_us",
)
_INSERT_EVENTS = Insert(events)
_INSERT_REJECTIONS = Insert(rejections)
_RAISE_COUNTERS = Insert(
    counters,
    "ON CONFLICT (project_id, source, hour_us, campaign) DO UPDATE SET"
    " received = counters.received + excluded.received, accepted = counters.accepted + excluded.accepted,"
    " duplicate = counters.duplicate + excluded.duplicate, rejected = counters.rejected + excluded.rejected,"
    " events = counters.events + excluded.events, last_us = CASE WHEN excluded.last_us > counters.last_us"
    " THEN excluded.last_us ELSE counters.last_us END",
)


def take_turn(transaction: Transaction, ids: int) -> Callable[[], Turn]:
    """Wait until no other writer is at work, and reserve *ids* numbers, the last of which is fetched.

    The one lock of all that write.  Held until the commit, so what is looked up after it stays true,
    and numbers ascend in the order of the commits: a reader who pages by them misses nothing.
    """
    fetch = transaction.execute(
        # Not IS NOT NULL, which SQLite 3.40 answers with 1 there, whatever the value.
        "UPDATE ledger SET last_id = last_id + ? WHERE id = 1"
        " RETURNING last_id, mailed, coalesce(relay_from, 0) > 0",
        (ids,),
    )
    return lambda: Turn(*fetch()[0])


def find_claims(transaction: Transaction, keys: Sequence[tuple[int, bytes]]) -> Fetch:
    return transaction.run(_KNOWN_CLAIMS, keys)


def known_claims(fetch: Fetch) -> dict[tuple[int, bytes], KnownClaim]:
    return {
        (project_id, bytes(key)): KnownClaim(bytes(content), claimed_us, row_id)
        for project_id, key, content, claimed_us, row_id in fetch()
    }


def find_holdings(transaction: Transaction, ids: Sequence[tuple[int, str, str]]) -> Fetch:
    """Every ID of every customer who holds one of *ids* (project, kind, value)."""
    return transaction.run(_KNOWN_HOLDINGS, ids)


def known_holdings(fetch: Fetch) -> Iterable[KnownHolding]:
    return map(KnownHolding._make, set(fetch()))


def write(transaction: Transaction, writes: Writes) -> None:
    """One statement for each kind of row; those without rows are left out."""
    steps: tuple[tuple[Insert | Given, list[Row]], ...] = (
        (_INSERT_CUSTOMERS, writes.customers),
        (_INSERT_CUSTOMER_IDS, writes.customer_ids),
        (_MOVE_IDS, writes.moved_ids),
        (_DROP_IDS, writes.dropped_ids),
        (_MERGE_CUSTOMERS, writes.merges),
        (_MERGE_EVENTS, writes.merges),
        (_MERGE_PROPERTIES, writes.merges),
        (_DROP_MERGED_PROPERTIES, writes.merges),
        (_INSERT_UNDATED_PROPERTIES, writes.undated_properties),
        (_INSERT_PROPERTIES, writes.properties),
        (mailings.MERGE_MAILINGS, writes.merges),
        (mailings.MERGE_SUPPRESSIONS, writes.merges),
        (outbox.MERGE, writes.merges),
        (_INSERT_EVENTS, writes.events),
        (outbox.GIVE, writes.relayed_events),
        (outbox.GIVE_UPDATES, writes.relayed_updates),
        (outbox.RAISE, writes.given),
        (mailings.HEARD, writes.heard),
        (mailings.ADD_SUPPRESSIONS, writes.suppressions),
        (_INSERT_REJECTIONS, writes.rejections),
        (_SHARE_REJECTIONS, writes.rejections_met_again),
        (shapes.ADD, writes.shapes),
        (shapes.ADD_TO_STATES, writes.shape_states),
        (shapes.ADD_TO_HOURS, writes.shape_hours),
        (shapes.ADD_SEEN, writes.rejection_hours),
        (shapes.REPEAT_REJECTIONS, writes.repeated_rejections),
        (shapes.REPEAT_IN_STATES, writes.repeated_rejections),
        (shapes.REPEAT_IN_HOURS, writes.repeated_rejections),
        (shapes.REPEAT_SEEN, writes.repeated_rejections),
        (_INSERT_CLAIMS, writes.claims),
        (_RENEW_CLAIMS, writes.renewed_claims),
        (_RAISE_COUNTERS, writes.counters),
    )
    for statement, rows in steps:
        if rows and isinstance(statement, Insert):
            transaction.insert(statement, rows)
        elif rows and isinstance(statement, Given):
            transaction.run(statement, rows)
    new_customers = [row[0] for row in writes.customers]
    journeys.advance(transaction, writes.events, writes.merges, new_customers)
