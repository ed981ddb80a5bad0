"""What an answer of Optilyz, or a person's word, makes of letters, and the events that tell of it."""

from collections.abc import Sequence
from itertools import count
from json import loads
from typing import NamedTuple

from receiver.domain.commands import ExternalId, Form
from receiver.inbound import ingest
from receiver.inbound.deliveries import Delivery, Item, Policy
from receiver.inbound.group import Group
from receiver.outbound.intending import speaks_against
from receiver.outbound.letters import STATUS, LetterRules, letter_event
from receiver.outbound.optilyz import Answer, Answered, Denied, Queued, Refused, Unreached
from receiver.store import asking, mailings, writes
from receiver.store.asking import Due, Letter, Settled
from receiver.store.mailings import MOST_TOGETHER, Reason, State
from receiver.store.sets import Transaction
from receiver.store.writes import Source

NO_SUCH_AUTOMATION = 404


class Told(NamedTuple):
    """A letter that has come to an end here, as an event tells of it.

    *ids* is the JSON text of an object; *bad_address* is whose and which, where that is to blame.
    """

    mailing: str
    automation: str
    campaign: str | None
    variation: str | None
    ids: str
    state: State
    reason: str | None
    message: str | None
    bad_address: tuple[int | None, bytes | None] | None = None


def hold_back(
    transaction: Transaction, letters: Sequence[Due], policy: Policy, rules: LetterRules, now_us: int
) -> list[Due]:
    """Those of *letters*, all due, that may still be sent; the others are suppressed.

    Between the preparing of a letter and its sending somebody may have objected.
    """
    customers = sorted({letter.customer_id for letter in letters if letter.customer_id is not None})
    if not customers:
        return list(letters)
    known = mailings.known_of(transaction, customers, name=rules.consent_property, once=None)
    reasons = {
        letter.id: reason
        for letter in letters
        if (reason := speaks_against(letter.customer_id, letter.address_key, known, rules))
    }
    if reasons:
        rows = [(each, State.SUPPRESSED, reason, None, now_us) for each, reason in reasons.items()]
        asking.decide(transaction, rows)
        told = [told_of(each, State.SUPPRESSED, reasons[each.id]) for each in letters if each.id in reasons]
        tell(transaction, letters[0].project_id, told, policy, rules, now_us)
    return [letter for letter in letters if letter.id not in reasons]


def settle(
    transaction: Transaction,
    owner: str,
    letters: Sequence[Due],
    answer: Answer,
    policy: Policy,
    rules: LetterRules,
    *,
    gateway: bool,
    now_us: int,
) -> list[State]:
    """Write down what *answer* means for *letters*, which *owner* asked for; their states."""
    settled = [
        _settled(letter, owner, answer, number, len(letters), now_us, gateway=gateway)
        for number, letter in enumerate(letters)
    ]
    customers = asking.settle(transaction, settled)
    told = [
        told_of(letter, what.state, what.reason)._replace(
            message=what.message,
            bad_address=(customers[letter.id], letter.address_key)
            if what.reason == Reason.REFUSED_BY_OPTILYZ
            else None,
        )
        for letter, what in zip(letters, settled, strict=True)
        if letter.id in customers
    ]
    tell(transaction, letters[0].project_id, told, policy, rules, now_us)
    return [each.state for each in told]


def tell(
    transaction: Transaction,
    project_id: int,
    letters: Sequence[Told],
    policy: Policy,
    rules: LetterRules,
    now_us: int,
) -> None:
    """Leave an event with the customer of each letter that has come to an end, and flag bad addresses.

    The events go through the same ingest as callbacks.
    """
    letters = [letter for letter in letters if letter.state in STATUS]
    if not letters:
        return
    ids = [tuple(ExternalId(*each) for each in loads(letter.ids).items()) for letter in letters]
    # At most: a customer, an event, a suppression, and an event of our own for each ID.
    reserved = len(letters) * (3 + len(rules.kinds))
    turn = writes.take_turn(transaction, reserved)
    sought = dict.fromkeys((project_id, *each) for of_letter in ids for each in of_letter)
    holdings = writes.known_holdings(writes.find_holdings(transaction, list(sought))) if sought else ()
    last_id, _, relays = turn()
    group = Group(policy, count(last_id - reserved + 1), {}, holdings, relays=relays)
    delivery = Delivery(project_id, Source.SENDING, Form.EVENT, b"", (), now_us)
    items = []
    for letter, of_letter in zip(letters, ids, strict=True):
        event = letter_event(
            rules.rules,
            of_letter,
            mailing=letter.mailing,
            automation=letter.automation,
            campaign=letter.campaign,
            variation=letter.variation,
            status=STATUS[letter.state],
            now_us=now_us,
            reason=letter.reason,
            message=letter.message,
        )
        if event is not None:
            items.append(Item(delivery, 0, event))
        if letter.bad_address:
            group.flag_address(delivery, *letter.bad_address, letter.mailing, letter.state)
    verdicts = [verdict for verdict in map(group.decide, items) if verdict is not None]
    ingest.write(transaction, group, items, verdicts)


def told_of(letter: Due | Letter, state: State, reason: str | None) -> Told:
    """What has become of *letter*."""
    about = letter.id, letter.automation, letter.campaign, letter.variation, letter.ids
    return Told(*about, state, reason, None)


def _settled(
    letter: Due, owner: str, answer: Answer, number: int, together: int, now_us: int, *, gateway: bool
) -> Settled:
    """What *answer* means for the letter with this *number* of a request of so many *together*."""

    def became(
        state: State,
        reason: str | None = None,
        message: str | None = None,
        *,
        vendor_id: str | None = None,
        most: int = MOST_TOGETHER,
    ) -> Settled:
        at_us = None if state is State.INTENDED else now_us
        untold = state in {State.REFUSED, State.UNKNOWN}
        return Settled(letter.id, owner, state, reason, message, vendor_id, at_us, most, untold)

    if isinstance(answer, Answered):
        fate = answer.fates[number]
        if isinstance(fate, Queued):
            return became(State.QUEUED, vendor_id=fate.vendor_id)
        if isinstance(fate, Refused):
            return became(State.REFUSED, Reason.REFUSED_BY_OPTILYZ, fate.message)
        return became(State.UNKNOWN, Reason.NO_ANSWER, fate.detail)
    if isinstance(answer, Denied) and gateway and answer.status == NO_SUCH_AUTOMATION:
        return became(State.REFUSED, Reason.UNKNOWN_AUTOMATION, answer.detail)
    if isinstance(answer, Unreached | Denied):
        return became(State.INTENDED)
    # Somewhere among them is the one that Optilyz dislikes: halves find it.
    return became(State.INTENDED, most=max(1, together // 2))
