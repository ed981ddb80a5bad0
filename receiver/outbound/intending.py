"""May we send?  Letters are decided about and put on disk, before anybody is asked.

In one short transaction, under the lock that callbacks take too: the customers are registered by the
same rules, what speaks against a letter is looked up, and each letter becomes a mailing: intended,
refused for what is wrong with it, or suppressed.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from receiver.domain.commands import Event, Form
from receiver.domain.json_text import encode
from receiver.inbound import ingest
from receiver.inbound.deliveries import Delivery, Item, Policy
from receiver.inbound.group import Group
from receiver.outbound.letters import STATUS, Draft, LetterRules, Order, letter_event
from receiver.outbound.optilyz import MAX_MESSAGE
from receiver.store import mailings, writes
from receiver.store.mailings import MOST_TOGETHER, Kind, Known, NewMailing, Reason, State
from receiver.store.sets import Row, Transaction
from receiver.store.writes import Source

_YES = frozenset({"true", "yes", "y", "1", "on", "granted", "accept", "accepted", "opt-in", "opted in"})


class _Verdict(NamedTuple):
    state: State
    reason: str | None = None
    message: str | None = None


class Decided(NamedTuple):
    """What a letter became; *reason* is a code where it is not sent."""

    mailing: str
    state: State
    reason: str | None


def intend(
    transaction: Transaction,
    order: Order,
    drafts: Sequence[Draft],
    policy: Policy,
    rules: LetterRules,
    *,
    run_id: int | None,
    now_us: int,
) -> list[Decided]:
    """Put *drafts* on disk as mailings; the caller commits."""
    delivery = Delivery(order.project_id, Source.SENDING, Form.EVENT, b"", (), now_us)
    group = _group(transaction, delivery, drafts, policy)
    customers = [group.identify(delivery, each.ids) if each.ids else None for each in drafts]
    merged = group.merged()
    customers = [merged.get(each, each) if each is not None else None for each in customers]
    known = _known_of(transaction, order, rules, customers, merged)
    decided, rows, items = [], [], []
    for letter, customer in zip(drafts, customers, strict=True):
        verdict = _decide(letter, customer, known, order, rules, from_file=run_id is not None)
        decided.append(Decided(letter.mailing, verdict.state, verdict.reason))
        rows.append(_row(letter, customer, order, run_id, now_us, verdict))
        if verdict.state is State.INTENDED:
            if customer is not None and order.once:
                known.mailed.add(customer)
        elif event := _event(letter, order, rules, now_us, verdict):
            items.append(Item(delivery, 0, event))
    verdicts = [verdict for verdict in map(group.decide, items) if verdict is not None]
    ingest.write(transaction, group, items, verdicts)
    mailings.add(transaction, rows, _carried(drafts, decided, order))
    return decided


def _group(transaction: Transaction, delivery: Delivery, drafts: Sequence[Draft], policy: Policy) -> Group:
    # At most: a customer, an event, and for each ID an event of our own, when the letter is looked at and
    # once more when it is told of.
    reserved = len(drafts) * 2 * (1 + len(policy.rules.hard_ids) + len(policy.rules.soft_ids))
    turn = writes.take_turn(transaction, reserved)
    ids = dict.fromkeys((delivery.project_id, *each) for letter in drafts for each in letter.ids)
    holdings = writes.find_holdings(transaction, list(ids)) if ids else (lambda: ())
    last_id, _, relays = turn()
    numbers = count(last_id - reserved + 1)
    return Group(policy, numbers, {}, writes.known_holdings(holdings), relays=relays)


def _known_of(
    transaction: Transaction,
    order: Order,
    rules: LetterRules,
    customers: Sequence[int | None],
    merged: Mapping[int, int],
) -> Known:
    asked = sorted({each for each in customers if each is not None} | set(merged))
    if not asked:
        return Known({}, {}, set())
    once = (order.automation, order.campaign) if order.once else None
    known = mailings.known_of(transaction, asked, name=rules.consent_property, once=once)
    # What is stored still stands with those who have just been merged away.
    for source, survivor in merged.items():
        known.suppressed.setdefault(survivor, []).extend(known.suppressed.get(source, ()))
        if (said := known.properties.get(source)) and said[0] >= known.properties.get(survivor, said)[0]:
            known.properties[survivor] = said
        if source in known.mailed:
            known.mailed.add(survivor)
    return known


def _decide(
    letter: Draft, customer: int | None, known: Known, order: Order, rules: LetterRules, *, from_file: bool
) -> _Verdict:
    """What is wrong with the letter, then what speaks against it."""
    if letter.violations:
        said = " ".join(each.detail for each in letter.violations)[:MAX_MESSAGE]
        return _Verdict(State.REFUSED, letter.violations[0].code.value, said)
    reason = speaks_against(customer, letter.address_key, known, rules, letter.consent, from_file=from_file)
    if reason is None and order.once and customer in known.mailed:
        reason = Reason.ALREADY_MAILED
    return _Verdict(State.INTENDED) if reason is None else _Verdict(State.SUPPRESSED, reason)


def speaks_against(
    customer: int | None,
    address_key: bytes | None,
    known: Known,
    rules: LetterRules,
    consent: object = None,
    *,
    from_file: bool = False,
) -> Reason | None:
    """Why *customer* gets no letter to this address; None where nothing speaks against it.

    *consent* is what the row of the file says of it, where that was asked.
    """
    if customer is None:
        return None
    against = known.suppressed.get(customer, ())
    if any(kind == Kind.OBJECTION for kind, _ in against):
        return Reason.OBJECTION
    _, stored = known.properties.get(customer, (0, None))
    if rules.consent_property and not consents(consent, stored, from_file):
        return Reason.NO_CONSENT
    if any(kind == Kind.BAD_ADDRESS and key in (None, address_key) for kind, key in against):
        return Reason.BAD_ADDRESS
    return None


def consents(given: object, stored: str | None, from_file: bool) -> bool:
    """Whether a letter may be sent by what the row itself and what we keep (JSON text) say of it.

    One no is enough.  A file needs a yes; who comes through the gateway was asked by Bloomreach.
    """
    said = [given, None if stored is None else json.loads(stored)]
    words = {str(each).strip().lower() for each in said if each is not None} - {""}
    return words <= _YES and (bool(words) or not from_file)


def _row(
    letter: Draft, customer: int | None, order: Order, run_id: int | None, now_us: int, verdict: _Verdict
) -> NewMailing:
    intended = verdict.state is State.INTENDED
    return NewMailing(
        id=letter.mailing,
        project_id=order.project_id,
        customer_id=customer,
        run_id=run_id,
        place=letter.place or None,
        route=order.route.value,
        automation=order.automation,
        campaign=order.campaign,
        state=verdict.state.value,
        reason=verdict.reason,
        message=verdict.message,
        ids=encode(dict(letter.ids)),
        body=None if verdict.state is State.SUPPRESSED else letter.body,
        address_key=letter.address_key,
        variation=letter.variation,
        together=MOST_TOGETHER,
        attempts=0,
        created_us=now_us,
        settled_us=None if intended else now_us,
        untold=False,
    )


def _carried(drafts: Sequence[Draft], decided: Sequence[Decided], order: Order) -> list[Row]:
    """By what a callback can find the letters that may be printed."""
    if order.campaign is None:
        return []
    return [
        (order.project_id, *each, order.campaign, letter.mailing)
        for letter, (_, state, _) in zip(drafts, decided, strict=True)
        if state is State.INTENDED
        for each in letter.ids
    ]


def _event(letter: Draft, order: Order, rules: LetterRules, now_us: int, verdict: _Verdict) -> Event | None:
    return letter_event(
        rules.rules,
        letter.ids,
        mailing=letter.mailing,
        automation=order.automation,
        campaign=order.campaign,
        variation=letter.variation,
        status=STATUS[verdict.state],
        now_us=now_us,
        reason=verdict.reason,
        message=verdict.message,
    )
