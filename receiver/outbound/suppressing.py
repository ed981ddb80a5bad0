"""Somebody shall get no letter, by a person's word: also somebody whom we do not know yet."""

from collections.abc import Sequence
from itertools import count

from receiver.domain.commands import ExternalId, Form
from receiver.inbound import ingest
from receiver.inbound.deliveries import Delivery, Policy
from receiver.inbound.group import Group
from receiver.store import suppressions, writes
from receiver.store.mailings import Kind
from receiver.store.sets import Transaction
from receiver.store.writes import Source


def suppress(
    transaction: Transaction,
    project_id: int,
    ids: Sequence[ExternalId],
    kind: Kind,
    note: str,
    policy: Policy,
    now_us: int,
) -> int:
    """Suppress whoever *ids* mean, by the rules of callbacks; the number of the suppression.

    An open one that says the same stands, and its note with it.  A bad address is the one of the
    newest letter, or any where there was none.
    """
    # At most: a customer, a suppression, and an event of our own for each ID.
    reserved = 2 + len(policy.rules.hard_ids) + len(policy.rules.soft_ids)
    turn = writes.take_turn(transaction, reserved)
    holdings = writes.find_holdings(transaction, [(project_id, *each) for each in ids])
    numbers = count(turn().last_id - reserved + 1)
    group = Group(policy, numbers, {}, writes.known_holdings(holdings))
    delivery = Delivery(project_id, Source.SENDING, Form.EVENT, b"", (), now_us)
    customer = group.identify(delivery, ids)
    assert customer is not None, "who is not known is created"
    ingest.write(transaction, group, [], [])
    customer = group.merged().get(customer, customer)
    key = suppressions.newest_address(transaction, customer) if kind is Kind.BAD_ADDRESS else None
    number = suppressions.open_one(transaction, customer, kind, key)
    if number is None:
        number = next(numbers)
        suppressions.add(
            transaction, (number, project_id, customer, kind.value, key, note, None, now_us, None)
        )
    return number
