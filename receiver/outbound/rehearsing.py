"""What sending a file would do: every letter is made and decided about, and nothing of it stays."""

import time
from collections import Counter
from contextlib import closing

from sqlalchemy import Engine

from receiver.inbound.deliveries import Policy
from receiver.outbound.intending import intend
from receiver.outbound.jobs import Job, Progress, Rehearsal, Report, Sample
from receiver.outbound.letters import Draft, LetterRules
from receiver.outbound.opening import Opened, chunks, open_job
from receiver.outbound.optilyz import Denied
from receiver.settings import Settings
from receiver.store.mailings import Reason, Route, State
from receiver.store.sets import Ledger

SAMPLES = 5
"""Letters of each fate that are shown."""

_Fate = tuple[str, str | None]


def rehearse(engine: Engine, settings: Settings, job: Job, report: Report = lambda _: None) -> Rehearsal:
    """Say what sending would do with the whole job; nothing is written and nobody is asked.

    Raises WrongFile, WrongTemplate, NotSent, and what the database raises.
    """
    rules = LetterRules.of(settings)
    opened = open_job(engine, rules, job)
    policy = Policy.of(settings)
    together = 1 if job.route is Route.ONE else settings.optilyz_batch_size
    found = _Found(job.once, rules, together)
    people = opened.people.rows()
    with closing(Ledger(engine)) as ledger:
        for chunk in chunks(people, job.limit):
            drafts = opened.drafts(chunk)
            with ledger.transaction(rehearsal=True) as transaction:
                now_us = time.time_ns() // 1000
                decided = intend(transaction, opened.order, drafts, policy, rules, run_id=0, now_us=now_us)
            for letter, (_, state, reason) in zip(drafts, decided, strict=True):
                found.take(letter, state, reason)
            report(Progress("prepared", opened.people.position, opened.people.size))
    more = job.limit is not None and next(people, None) is not None
    request = _request(settings, opened, found.first) if found.first else None
    return Rehearsal(found.fates.total(), found.fates, request, found.samples, more)


class _Found:
    """What became of the letters so far, across the chunks: of each chunk nothing stays in the database,
    so that the next one could find it."""

    def __init__(self, once: bool, rules: LetterRules, together: int) -> None:
        self.fates: Counter[_Fate] = Counter()
        self.samples: list[Sample] = []
        self.first: list[str] = []
        self._once = once
        self._hard = rules.rules.hard_ids
        self._together = together
        self._seen: set[int] = set()
        # Soft IDs of people without a hard one: who brings both is one of them.
        self._alone: set[int] = set()

    def take(self, letter: Draft, state: State, reason: str | None) -> None:
        ids = {hash(each) for each in letter.ids}
        hard = {hash(each) for each in letter.ids if each.kind in self._hard}
        mailed = not (self._seen.isdisjoint(hard or ids) and self._alone.isdisjoint(ids))
        if state is State.INTENDED and self._once and mailed:
            state, reason = State.SUPPRESSED, Reason.ALREADY_MAILED
        self.fates[state, reason] += 1
        intended = state is State.INTENDED
        if intended:
            self._seen |= ids
            self._alone |= set() if hard else ids
            self.first += [letter.body.decode()] if len(self.first) < self._together else []
        if self.fates[state, reason] <= SAMPLES:
            message = " ".join(each.detail for each in letter.violations)
            recipient = letter.body.decode() if intended else None
            self.samples.append(Sample(letter.place, dict(letter.ids), state, reason, message, recipient))


def _request(settings: Settings, opened: Opened, recipients: list[str]) -> tuple[str, str]:
    """Where the first request would go, and what it would say."""
    order = opened.order
    url = f"{settings.optilyz_base_url}/v2/automations/{order.automation}/{order.route}"
    body = recipients[0] if order.route is Route.ONE else opened.compose(recipients)
    return url, body.detail if isinstance(body, Denied) else body
