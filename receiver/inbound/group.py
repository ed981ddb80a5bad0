"""What a group of commands decides, command by command, and the rows that this leaves to be written.

No statement is run here: what the store knows comes in, what is to be written goes out.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from receiver.domain.commands import CustomerUpdate, Event, ExternalId, Form, Outcome, Rejection, Rules
from receiver.domain.identity import Directory, Holding, Resolution
from receiver.settings import Settings
from receiver.store.writes import KnownClaim, KnownHolding, Source, Writes

HOUR_US = 3_600_000_000

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Policy:
    """How callbacks are read and kept: the rules of reading, and two decisions that need the store."""

    rules: Rules
    create_unknown: bool
    window_us: int

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        rules = Rules(
            hard_ids=settings.hard_ids,
            soft_ids=settings.soft_ids,
            empty_ids=settings.empty_ids,
            individualisations={number: name for name, number in settings.individualisations.items()},
            campaign_properties=settings.campaign_properties,
            status_properties=settings.status_properties,
            stage_words=settings.stage_words,
            max_commands=settings.max_commands,
        )
        return cls(rules, settings.unknown_customers == "create", settings.duplicate_window * 1_000_000)


Headers = Sequence[tuple[bytes, bytes]]

# Never kept, whoever sends them.
_CREDENTIALS = {b"authorization", b"proxy-authorization", b"cookie"}


def _kept(headers: Headers) -> str:
    """Header lines as JSON text, a list of pairs, since a name may stand there twice."""
    return _encode([(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers if n not in _CREDENTIALS])


class Delivery(NamedTuple):
    """One body and what it says; *headers*, without credentials, are kept beside what is refused."""

    project_id: int
    source: Source
    received_us: int
    headers: Headers
    form: Form
    body: bytes
    outcomes: Sequence[Outcome]


class Became(StrEnum):
    """What became of a command; it never changes."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class Verdict(NamedTuple):
    """What became of one command.

    Attributes:
        row_id: the event (of a customer update: the customer), or the rejection.
        rejection: there where it was refused, also where only the store could tell.
    """

    became: Became
    row_id: int
    rejection: Rejection | None


class Item(NamedTuple):
    """One command of a delivery, *number* counted from zero in the delivery's outcomes."""

    delivery: Delivery
    number: int
    outcome: Event | CustomerUpdate | Rejection


Place = tuple[int, bytes]
"""A project and the key of a claim."""


class Group:
    """Decides one command after the other; each sees what the earlier ones of the group did.

    Args:
        ids: hands out numbers for new rows, ascending.
        claims: what was seen before, of the places of the group's commands.
        holdings: every ID of every customer who holds one of the group's IDs.
    """

    def __init__(
        self,
        policy: Policy,
        ids: Iterator[int],
        claims: dict[Place, KnownClaim],
        holdings: Iterable[KnownHolding],
    ) -> None:
        self._policy = policy
        self._ids = ids
        self._claims = claims
        self._stored_claims = set(claims)
        self._stored_ids: set[tuple[int, str, str]] = set()
        self._directories: dict[int, Directory] = {}
        self._created_us: dict[int, int] = {}
        self._new_claims: dict[Place, KnownClaim] = {}
        self._properties: list[tuple[Directory, int, str, str, int]] = []
        self._events: list[tuple[Directory, int, tuple[object, ...]]] = []
        self._rejections: list[tuple[object, ...]] = []
        self._repeats: dict[int, tuple[int, int]] = {}
        self._counts: dict[tuple[int, Source, int], dict[str, int]] = {}
        by_project: dict[int, list[Holding]] = {}
        for project_id, kind, value, customer_id, used_us in holdings:
            holding = Holding(ExternalId(kind, value), customer_id, used_us)
            by_project.setdefault(project_id, []).append(holding)
            self._stored_ids.add((project_id, kind, value))
        for project_id, known in by_project.items():
            self._directories[project_id] = self._directory(known)

    def learn(self, claims: dict[Place, KnownClaim]) -> None:
        """Further claims of the store; those of this group are newer and stand."""
        self._claims = {**claims, **self._claims}
        self._stored_claims |= set(claims)

    def decide(self, item: Item) -> Verdict | None:
        """What becomes of *item*; None, and nothing has changed, where nobody has its IDs and nobody
        may be created for them."""
        delivery, _, outcome = item
        place = delivery.project_id, outcome.claim.key
        known = self._seen_before(place, item)
        if isinstance(outcome, Rejection):
            row_id = (
                self._reject(delivery, outcome) if known is None else self._repeat(known.row_id, delivery)
            )
            verdict = Verdict(Became.REJECTED, row_id, outcome)
        elif known is not None:
            verdict = Verdict(Became.DUPLICATE, known.row_id, None)
        else:
            row = self._accept(delivery, outcome)
            if row is None:
                return None
            verdict = Verdict(Became.ACCEPTED, row, None)
        if known is None:
            claim = KnownClaim(outcome.claim.content, delivery.received_us, verdict.row_id)
            self._claims[place] = self._new_claims[place] = claim
        self._count(delivery, verdict.became)
        return verdict

    def _seen_before(self, place: Place, item: Item) -> KnownClaim | None:
        """The claim that makes *item* a repeat, if there is one that has not faded."""
        known = self._claims.get(place)
        if known is None:
            return None
        claim = item.outcome.claim
        if known.content != claim.content:
            return None
        faded = claim.windowed and item.delivery.received_us - known.claimed_us >= self._policy.window_us
        return None if faded else known

    def _accept(self, delivery: Delivery, command: Event | CustomerUpdate) -> int | None:
        """Attach *command* to its customer; the number of what it became."""
        directory = self._directories.get(delivery.project_id)
        if directory is None:
            directory = self._directories[delivery.project_id] = self._directory([])
        now_us = delivery.received_us
        resolution = directory.resolve(command.ids, now_us, create=self._policy.create_unknown)
        if resolution is None:
            return None
        customer = resolution.customer
        if resolution.created:
            self._created_us[customer] = now_us
        if resolution.merged or resolution.stolen:
            self._trace(directory, delivery, command, resolution)
        if isinstance(command, CustomerUpdate):
            for name, value in command.properties.items():
                self._properties.append((directory, customer, name, value, command.updated_us))
            return customer
        fields = (
            command.campaign,
            command.status,
            command.stage,
            _encode(dict(command.ids)),
            command.properties,
        )
        return self._add_event(
            directory, delivery, customer, command.type, command.occurred_us, delivery.source, *fields
        )

    def _add_event(
        self,
        directory: Directory,
        delivery: Delivery,
        customer: int,
        event_type: str,
        occurred_us: int,
        source: Source,
        *fields: str | None,
    ) -> int:
        event_id = next(self._ids)
        row = event_type, occurred_us, delivery.received_us, source, *fields
        self._events.append((directory, customer, (event_id, delivery.project_id, *row)))
        return event_id

    def _trace(
        self, directory: Directory, delivery: Delivery, command: Event | CustomerUpdate, done: Resolution
    ) -> None:
        """Leave events of our own where customers were merged or an ID changed hands."""
        traces = [
            (survivor, "merge", {"source": source, "survivor": survivor}) for source, survivor in done.merged
        ] + [(before, "id_moved", {"id": each.kind, "to": after}) for each, before, after in done.stolen]
        ids = _encode(dict(command.ids))
        for customer, event_type, properties in traces:
            fields = None, None, None, ids, _encode(properties)
            self._add_event(
                directory, delivery, customer, event_type, delivery.received_us, Source.IDENTITY, *fields
            )

    def _reject(self, delivery: Delivery, rejection: Rejection) -> int:
        rejection_id = next(self._ids)
        what = rejection.form, rejection.reason, rejection.detail, rejection.pointer
        state, times, attempts = "open", 1, 0
        seen = delivery.received_us, delivery.received_us
        kept = _kept(delivery.headers), rejection.body
        self._rejections.append(
            (rejection_id, delivery.project_id, *what, state, times, attempts, *seen, *kept)
        )
        return rejection_id

    def _repeat(self, rejection_id: int, delivery: Delivery) -> int:
        times, _ = self._repeats.get(rejection_id, (0, 0))
        self._repeats[rejection_id] = times + 1, delivery.received_us
        return rejection_id

    def _count(self, delivery: Delivery, became: Became) -> None:
        hour_us = delivery.received_us - delivery.received_us % HOUR_US
        counts = self._counts.setdefault((delivery.project_id, delivery.source, hour_us), {})
        counts[became] = counts.get(became, 0) + 1

    def _directory(self, holdings: list[Holding]) -> Directory:
        rules = self._policy.rules
        return Directory(rules.hard_ids, rules.soft_ids, holdings, self._ids.__next__)

    def writes(self, items: Sequence[Item]) -> Writes:
        """What is left to be written; *items* are what came in, which the counters must add up to."""
        result = Writes()
        for project_id, directory in self._directories.items():
            changes = directory.changes()
            result.customers += [(each, project_id, self._created_us[each], None) for each in changes.created]
            for each, holder, used_us in changes.held:
                there = (project_id, *each) in self._stored_ids
                rows = result.moved_ids if there else result.customer_ids
                rows.append((project_id, *each, holder, used_us))
            result.dropped_ids += [(project_id, *each) for each in changes.evicted]
            result.merges += changes.merged.items()
        result.events = [
            (event_id, project_id, directory.survivor(customer), *row)
            for directory, customer, (event_id, project_id, *row) in self._events
        ]
        result.properties = self._newest_properties()
        result.rejections = self._rejections
        result.repeated_rejections = [(row_id, *seen) for row_id, seen in self._repeats.items()]
        for place, claim in self._new_claims.items():
            rows = result.renewed_claims if place in self._stored_claims else result.claims
            rows.append((*place, *claim))
        result.counters = self._counters(items)
        return result

    def _newest_properties(self) -> list[tuple[object, ...]]:
        newest: dict[tuple[int, str], tuple[str, int]] = {}
        for directory, customer, name, value, updated_us in self._properties:
            place = directory.survivor(customer), name
            if place not in newest or updated_us >= newest[place][1]:
                newest[place] = value, updated_us
        return [(*place, *value) for place, value in newest.items()]

    def _counters(self, items: Sequence[Item]) -> list[tuple[object, ...]]:
        received: dict[tuple[int, Source, int], int] = {}
        for delivery, _, _ in items:
            place = (
                delivery.project_id,
                delivery.source,
                delivery.received_us - delivery.received_us % HOUR_US,
            )
            received[place] = received.get(place, 0) + 1
        return [
            (*place, n, *(self._counts.get(place, {}).get(became, 0) for became in Became))
            for place, n in received.items()
        ]
