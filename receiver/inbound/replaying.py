"""Rejections come in once more, as they were or mended, by the one path that callbacks take."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice

from receiver.domain import callbacks
from receiver.domain.claims import rejection_claim
from receiver.domain.commands import Event, Form, Reason, SystemTime
from receiver.domain.json_text import encode
from receiver.domain.repairs import CannotMend, Mended
from receiver.inbound import ingest
from receiver.inbound.deliveries import Became, Delivery, Item, Policy, Verdict
from receiver.inbound.rejections import Action, How, Replayed, Result, State, Who
from receiver.store import attempts, writes
from receiver.store.attempts import MENDED, Attempt, Kept
from receiver.store.sets import Ledger, Transaction
from receiver.store.writes import Source


def replay(
    ledger: Ledger,
    policy: Policy,
    project_id: int,
    ids: Sequence[int],
    how: How,
    who: Who,
    *,
    rehearsal: bool = False,
) -> list[Replayed]:
    """Replay those of the rejections *ids*, at most MOST_AT_ONCE, that are open; others are left out.

    Nothing stays of a *rehearsal*.
    """

    def work(transaction: Transaction, keep: ingest.Keep) -> list[Replayed]:
        writes.take_turn(transaction, 0)
        found = attempts.find(transaction, project_id, ids)
        wanted = [
            found[each] for each in dict.fromkeys(ids) if each in found and found[each].state == State.OPEN
        ]
        replayed = _replay(transaction, keep, policy, project_id, wanted, how, who)
        return list(map(_without_new, replayed)) if rehearsal else replayed

    return ingest.in_transaction(ledger, work, rehearsal=rehearsal)


def _without_new(done: Replayed) -> Replayed:
    """Without the numbers of rejections, which a rehearsal does not keep."""
    return done._replace(results=tuple(result._replace(rejection_id=None) for result in done.results))


def _replay(
    transaction: Transaction,
    keep: ingest.Keep,
    policy: Policy,
    project_id: int,
    kept: Sequence[Kept],
    how: How,
    who: Who,
) -> list[Replayed]:
    mended = [how.mend(each, policy) for each in kept]
    items = [
        (place, item)
        for place, (each, bodies) in enumerate(zip(kept, mended, strict=True))
        if not isinstance(bodies, CannotMend)
        for item in items_of(project_id, each, bodies, policy, who.now_us)
    ]
    verdicts = keep(transaction, [item for _, item in items], policy) if items else []
    accepted = [v.row_id for (_, item), v in zip(items, verdicts, strict=True) if _is_new_event(item, v)]
    similar = attempts.similar(transaction, accepted) if accepted else {}
    results: dict[int, list[Result]] = {place: [] for place in range(len(kept))}
    for (place, item), verdict in zip(items, verdicts, strict=True):
        results[place].append(_result(item, verdict, similar))
    replayed = [
        _replayed(each, bodies, results[place])
        for place, (each, bodies) in enumerate(zip(kept, mended, strict=True))
    ]
    _write(transaction, policy, project_id, kept, replayed, how, who)
    return replayed


def items_of(
    project_id: int, kept: Kept, bodies: Sequence[Mended], policy: Policy, now_us: int
) -> list[Item]:
    """Read as it would have been read when it came in, so that what has no time of its own has that one."""
    items = []
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(kept.headers)]
    for form, body in bodies:
        delivery = Delivery(project_id, Source.REPLAY, form, body, headers, now_us, kept.received_us, kept.id)
        outcomes = callbacks.read(form, body, policy.rules, kept.received_us)
        for number, outcome in enumerate(outcomes):
            if not isinstance(outcome, SystemTime):
                items.append(Item(delivery, number, outcome))
    return items


def _is_new_event(item: Item, verdict: Verdict) -> bool:
    return verdict.became is Became.ACCEPTED and isinstance(item.outcome, Event)


def _result(item: Item, verdict: Verdict, similar: Mapping[int, Sequence[int]]) -> Result:
    if verdict.rejection is not None:
        refused = verdict.rejection
        return Result(
            verdict.became, None, verdict.row_id or None, refused.reason, refused.detail, refused.pointer
        )
    event_id = verdict.row_id if isinstance(item.outcome, Event) else None
    return Result(verdict.became, event_id, similar=tuple(similar.get(verdict.row_id, ())))


def _replayed(kept: Kept, bodies: Sequence[Mended] | CannotMend, results: Sequence[Result]) -> Replayed:
    whole = kept.form in {Form.BATCH, Form.FLAT}
    if isinstance(bodies, CannotMend):
        return Replayed(kept.id, (), bodies.detail, whole)
    return Replayed(kept.id, tuple(results), None, whole, bodies)


def _write(
    transaction: Transaction,
    policy: Policy,
    project_id: int,
    kept: Sequence[Kept],
    replayed: Sequence[Replayed],
    how: How,
    who: Who,
) -> None:
    """Leave behind what was done, and what the sender's repeat of the same bytes means from now on."""
    tried = [(each, done) for each, done in zip(kept, replayed, strict=True) if done.refused is None]
    if not tried:
        return
    last_id = writes.take_turn(transaction, len(tried))().last_id
    originals = _claim_originals(transaction, policy, project_id, tried)
    rows, states, claims = [], [], []
    for number, (each, done) in enumerate(tried):
        states.append((each.id, State.REPLAYED.value if done.over else State.OPEN.value, 1))
        if done.over:
            claims.append((project_id, claim_key(each), each.id, MENDED, _event_of(done) or each.id))
        rows.append(
            Attempt(
                last_id - number,
                project_id,
                each.id,
                who.now_us,
                who.key_id,
                Action.REPLAY.value,
                None if (document := how.document()) is None else json.dumps(document),
                None,
                encode([_document(result) for result in done.results]),
                None if _is_as_received(done, each) else _texts(done.bodies),
                originals.get(each.id),
                None,
            )
        )
    attempts.add(transaction, rows)
    attempts.settle(transaction, states)
    if claims:
        attempts.reclaim(transaction, claims)


def _event_of(done: Replayed) -> int | None:
    """What the sender's repeat of the bytes as received stands for."""
    return next((result.event_id for result in done.results if result.event_id), None)


def _claim_originals(
    transaction: Transaction, policy: Policy, project_id: int, tried: Sequence[tuple[Kept, Replayed]]
) -> dict[int, bytes]:
    """Claim what the bytes as received would be taken for by the rules of today, or now that a customer is
    known: their repeat is no second event.  The keys that were claimed, by rejection."""
    wanted: dict[bytes, tuple[Kept, int]] = {}
    for kept, done in tried:
        event_id = _event_of(done)
        if done.over and event_id is not None:
            body = callbacks.read(Form(kept.form), kept.body, policy.rules, kept.received_us)
            outcomes = list(islice(body, 2))
            # Of a body that holds several commands each has its own claim.
            if len(outcomes) == 1 and isinstance(outcomes[0], Event):
                wanted.setdefault(outcomes[0].claim.key, (kept, event_id))
    if not wanted:
        return {}
    there = writes.known_claims(writes.find_claims(transaction, [(project_id, key) for key in wanted]))
    new = {key: said for key, said in wanted.items() if (project_id, key) not in there}
    attempts.claim(
        transaction,
        [(project_id, key, b"", kept.received_us, event_id) for key, (kept, event_id) in new.items()],
    )
    return {kept.id: key for key, (kept, _) in new.items()}


def claim_key(kept: Kept) -> bytes:
    return rejection_claim(Form(kept.form), Reason(kept.reason), kept.body, has_time=True).key


def _is_as_received(done: Replayed, kept: Kept) -> bool:
    return [each.body for each in done.bodies] == [kept.body]


def _texts(bodies: Sequence[Mended]) -> str:
    # Not UTF-8 only where the sender's bytes were none, and then no repair could read them.
    return json.dumps([[form.value, body.decode(errors="replace")] for form, body in bodies])


def _document(result: Result) -> dict[str, object]:
    values = result._asdict()
    return {name: value for name, value in values.items() if value not in (None, ())}
