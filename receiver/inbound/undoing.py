"""A replay is taken back: its events leave all reports, and the rejection is open again."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from receiver.domain.claims import event_claim, rejection_claim
from receiver.domain.commands import ExternalId, Form, Reason
from receiver.inbound.deliveries import Became
from receiver.inbound.rejections import Action, State, Who, noted
from receiver.inbound.replaying import claim_key
from receiver.store import attempts, writes
from receiver.store.sets import Ledger, Row, Transaction


class NotDone(Exception):
    """It could not be done; the message is a sentence."""


def undo(ledger: Ledger, project_id: int, rejection_id: int, note: str | None, who: Who) -> list[int]:
    """Take the last replay back: its events leave all reports, its claims are released, and the rejection
    is open again.  The events that were withdrawn.

    What was refused of a whole body is let go where nothing has become of it since: it is in the body.
    What an event did beside that stays: customers who were merged, an address that was flagged.
    Raises NotDone.
    """
    with ledger.transaction() as transaction:
        number = writes.take_turn(transaction, 1)().last_id
        kept = attempts.find(transaction, project_id, [rejection_id]).get(rejection_id)
        last = attempts.last_replay(transaction, project_id, rejection_id)
        if kept is None:
            raise NotDone("There is no such rejection.")
        if kept.state != State.REPLAYED or last is None:
            raise NotDone(f"The rejection is {kept.state}; only a replayed one can be undone.")
        results = json.loads(last.results or "[]")
        events = [each["event_id"] for each in results if _is_ours(each)]
        if any(each["outcome"] == Became.ACCEPTED and "event_id" not in each for each in results):
            raise NotDone("A customer update cannot be taken back; send the old values as a new one.")
        if events:
            attempts.release(transaction, list(_claims_of(project_id, attempts.made(transaction, events))))
            attempts.withdraw(transaction, events, last.id, who.now_us)
        _let_go_of_refused(transaction, project_id, results, kept.id)
        stood_for = _first_event(results) or kept.id
        if last.claimed is not None:
            attempts.release(transaction, [(project_id, bytes(last.claimed), stood_for)])
        attempts.reclaim(transaction, [(project_id, claim_key(kept), stood_for, b"", kept.id)])
        attempts.undo(transaction, last.id, who.now_us)
        attempts.settle(transaction, [(kept.id, State.OPEN.value, 0)])
        attempts.add(transaction, [noted(number, project_id, rejection_id, Action.UNDO, note, who)])
    return events


def _let_go_of_refused(
    transaction: Transaction, project_id: int, results: Iterable[Mapping[str, Any]], parent_id: int
) -> None:
    made = [each["rejection_id"] for each in results if each.get("rejection_id")]
    gone = attempts.forget_untouched(transaction, project_id, made, parent_id) if made else ()
    if gone:
        claims = [
            (project_id, rejection_claim(Form(form), Reason(reason), bytes(body), has_time=True).key, number)
            for number, form, reason, body in gone
        ]
        attempts.release(transaction, claims)


def _first_event(results: Iterable[Mapping[str, Any]]) -> int | None:
    """What the claim of the original bytes stands for after a replay."""
    return next((each["event_id"] for each in results if each.get("event_id")), None)


def _is_ours(result: Mapping[str, object]) -> bool:
    """The event was made by this replay, and not there before."""
    return result["outcome"] == Became.ACCEPTED and "event_id" in result


def _claims_of(project_id: int, events: Iterable[Row]) -> Iterator[tuple[int, bytes, int]]:
    """What *events* may have claimed: with their time, or without it where the sender gave none.

    From what they say, as the bytes that were replayed may be read otherwise by today's rules.
    """
    for number, sent_ids, event_type, occurred_us, properties in events:
        ids = tuple(ExternalId(*each) for each in json.loads(sent_ids).items())
        for sent_us in (occurred_us, None):
            yield project_id, event_claim(ids, event_type, sent_us, json.loads(properties)).key, number
