"""The one path of a callback, for HTTP and for replay: read, decide, write.

`keep` stores what many deliveries brought, in one transaction, and says what became of each command.
Nobody may be told of success before it has returned.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import TypeVar

from receiver.domain import callbacks
from receiver.domain.commands import CustomerUpdate, Event, Outcome, Reason, Rejection, SystemTime
from receiver.domain.moments import hour_of
from receiver.inbound.deliveries import Became, Delivery, Item, Part, Policy, Verdict
from receiver.inbound.group import Group
from receiver.inbound.ties import Letters
from receiver.store import mailings, writes
from receiver.store.engine import Fault, fault
from receiver.store.sets import Ledger, Row, Transaction, savepoint

# How often a group is done again when the database says that another transaction got in its way.
_ATTEMPTS = 4

_SENTENCES = {
    Reason.UNKNOWN_CUSTOMER: (
        "/customer_ids",
        "Nobody here has any of these IDs. Send one of a known customer, or set UNKNOWN_CUSTOMERS to create.",
    ),
    Reason.REFUSED_BY_DATABASE: (
        "",
        "The database refused to store this. Look into the database's own log, mend the cause, then replay.",
    ),
}


def read(delivery: Delivery, policy: Policy) -> Iterable[Outcome]:
    """What *delivery* says; never raises, whatever the bytes."""
    return callbacks.read(delivery.form, delivery.body, policy.rules, delivery.received_us)


def keep(ledger: Ledger, parts: Sequence[Part], policy: Policy) -> list[list[Verdict | None]]:
    """Store what *parts* of deliveries brought; when this returns it is on disk.

    The answer has a list per part with a verdict per outcome, None for a `SystemTime`.  A row that
    the database refuses is found, kept as a rejection, and costs no other one.  Raises what the driver
    raises where nothing could be stored.
    """
    items = [
        Item(delivery, number, outcome)
        for delivery, first, outcomes in parts
        for number, outcome in enumerate(outcomes, first)
        if not isinstance(outcome, SystemTime)
    ]
    verdicts = iter(_keep(ledger, items, policy) if items else ())
    return [
        [None if isinstance(outcome, SystemTime) else next(verdicts) for outcome in part.outcomes]
        for part in parts
    ]


def _keep(ledger: Ledger, items: Sequence[Item], policy: Policy) -> list[Verdict]:
    return in_transaction(ledger, lambda transaction, keep_items: keep_items(transaction, items, policy))


_Result = TypeVar("_Result")
Keep = Callable[[Transaction, Sequence[Item], Policy], list[Verdict]]
"""Stores items in a transaction, with one verdict for each."""


def in_transaction(
    ledger: Ledger, work: Callable[[Transaction, Keep], _Result], *, rehearsal: bool = False
) -> _Result:
    """Do *work*, which is given what to keep its items with, in one transaction.

    It is done again where another transaction got in its way, and where the database refused a row.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with ledger.transaction(rehearsal=rehearsal) as transaction:
                return work(transaction, keep_group)
        except Exception as error:
            meaning = fault(error)
            if meaning is Fault.DATA:
                break
            if meaning is not Fault.REPEAT or attempt == _ATTEMPTS:
                raise
    with ledger.transaction(stepwise=True, rehearsal=rehearsal) as transaction:
        return work(transaction, _isolate)


def _isolate(transaction: Transaction, items: Sequence[Item], policy: Policy) -> list[Verdict]:
    """Store *items* but for those that the database refuses, by halving."""
    try:
        with savepoint(transaction):
            return keep_group(transaction, items, policy)
    except Exception as error:
        if fault(error) is not Fault.DATA or (len(items) == 1 and isinstance(items[0].outcome, Rejection)):
            raise
    if len(items) == 1:
        return keep_group(transaction, _refused(items, Reason.REFUSED_BY_DATABASE, policy), policy)
    half = len(items) // 2
    return [*_isolate(transaction, items[:half], policy), *_isolate(transaction, items[half:], policy)]


def keep_group(transaction: Transaction, items: Sequence[Item], policy: Policy) -> list[Verdict]:
    """Store *items* in the caller's transaction, with one verdict for each."""
    # At most: a customer, an event, rejection or update to relay, a suppression, and an event of our own
    # for each ID.
    reserved = len(items) * (3 + len(policy.rules.hard_ids) + len(policy.rules.soft_ids))
    turn = writes.take_turn(transaction, reserved)
    claims = writes.find_claims(transaction, _places(items))
    holdings = writes.find_holdings(
        transaction,
        list(
            {
                (item.delivery.project_id, *each): None
                for item in items
                if not isinstance(item.outcome, Rejection)
                for each in item.outcome.ids
            }
        ),
    )
    last_id, mailed, relays = turn()
    group = Group(
        policy,
        count(last_id - reserved + 1),
        writes.known_claims(claims),
        writes.known_holdings(holdings),
        _letters(transaction, items) if mailed else None,
        relays=relays,
    )
    verdicts = list(map(group.decide, items))
    unknown = [index for index, verdict in enumerate(verdicts) if verdict is None]
    if unknown:
        refused = _refused([items[index] for index in unknown], Reason.UNKNOWN_CUSTOMER, policy)
        group.learn(writes.known_claims(writes.find_claims(transaction, _places(refused))))
        for index, item in zip(unknown, refused, strict=True):
            verdicts[index] = group.decide(item)
    settled = [verdict for verdict in verdicts if verdict is not None]
    write(transaction, group, items, settled)
    return settled


def write(transaction: Transaction, group: Group, items: Sequence[Item], verdicts: Sequence[Verdict]) -> None:
    """Leave behind what *group* decided: one verdict for each of *items*, which is counted."""
    to_write = group.writes()
    to_write.counters = _counters(items, verdicts)
    writes.write(transaction, to_write)


def _letters(transaction: Transaction, items: Iterable[Item]) -> Letters:
    """The letters that *items* may be about."""
    ids, carried = set(), set()
    for delivery, _, outcome in items:
        if not isinstance(outcome, Event):
            continue
        if outcome.mailing is not None:
            ids.add((delivery.project_id, outcome.mailing))
        elif outcome.campaign is not None:
            carried |= {(delivery.project_id, *each, outcome.campaign) for each in outcome.ids}
    return Letters(mailings.known_letters(transaction, list(ids), list(carried)))


def _places(items: Sequence[Item]) -> list[tuple[int, bytes]]:
    return list({(item.delivery.project_id, item.outcome.claim.key): None for item in items})


def _refused(items: Sequence[Item], reason: Reason, policy: Policy) -> list[Item]:
    """*items* as rejections, for what only the store could tell."""
    pointer, detail = _SENTENCES[reason]
    return [
        item._replace(
            outcome=callbacks.refuse(
                *item.delivery.commands[item.number], policy.rules, reason, pointer, detail
            )
        )
        for item in items
    ]


def _counters(items: Iterable[Item], verdicts: Iterable[Verdict]) -> list[Row]:
    """Rows of the counters: ``received`` from what came in, the others from what was done with it."""
    counts: dict[tuple[int, str, int, str], list[int]] = {}
    for (delivery, _, outcome), verdict in zip(items, verdicts, strict=True):
        said = verdict.rejection or outcome
        campaign = "" if isinstance(said, CustomerUpdate) else said.campaign or ""
        place = delivery.project_id, delivery.source.value, hour_of(delivery.received_us), campaign
        of_place = counts.get(place)
        if of_place is None:
            of_place = counts[place] = [0] * (3 + len(_COUNTED))
        of_place[0] += 1
        of_place[_COUNTED[verdict.became]] += 1
        of_place[-2] += verdict.became is Became.ACCEPTED and isinstance(outcome, Event)
        of_place[-1] = max(of_place[-1], delivery.received_us)
    return [(*place, *of_place) for place, of_place in counts.items()]


# Columns of the counters, between what was received and how many events were left.
_COUNTED = {became: at for at, became in enumerate(Became, start=1)}
