"""What a group of commands decides, command by command, and the rows that this leaves to be written.

No statement is run here: what the store knows comes in, what is to be written goes out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from receiver.domain.callbacks import as_sent
from receiver.domain.commands import CustomerUpdate, Event, ExternalId, Form, Outcome, Rejection, Rules
from receiver.domain.identity import Directory, Holding, Resolution
from receiver.domain.json_text import encode
from receiver.settings import Settings
from receiver.store.sets import Row
from receiver.store.writes import KnownClaim, KnownHolding, Source, Writes


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
    return encode([(n.decode("latin-1"), v.decode("latin-1")) for n, v in headers if n not in _CREDENTIALS])


@dataclass(eq=False, repr=False)  # the body and the headers are nobody's to print
class Delivery:
    """One body as it came in; *headers*, without credentials, are kept beside what is refused."""

    project_id: int
    source: Source
    form: Form
    body: bytes
    headers: Headers
    received_us: int

    @cached_property
    def commands(self) -> list[tuple[Form, bytes]]:
        """The exact bytes of each command; found once, however many of them are refused."""
        return as_sent(self.form, self.body)


class Part(NamedTuple):
    """Some commands of a delivery, in order; *first* is the place of the first one, counted from zero."""

    delivery: Delivery
    first: int
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
    """One command of a delivery, *number* counted from zero."""

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
        # Rows as they will be written, but for merges that are yet to come: see `writes`.
        self._properties: list[tuple[int, str, str, int, bool]] = []
        self._events: list[Row] = []
        self._rejections: list[Row] = []
        self._repeats: dict[int, tuple[int, int]] = {}
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
        known = self._claims.get(place)
        if known is not None and not self._stands(known, item):
            known = None
        if isinstance(outcome, Rejection):
            row_id = (
                self._reject(delivery, outcome) if known is None else self._repeat(known.row_id, delivery)
            )
            verdict = Verdict(Became.REJECTED, row_id, outcome)
        elif known is not None:
            return Verdict(Became.DUPLICATE, known.row_id, None)
        else:
            row = self._accept(delivery, outcome)
            if row is None:
                return None
            verdict = Verdict(Became.ACCEPTED, row, None)
        if known is None:
            claim = KnownClaim(outcome.claim.content, delivery.received_us, verdict.row_id)
            self._claims[place] = self._new_claims[place] = claim
        return verdict

    def _stands(self, known: KnownClaim, item: Item) -> bool:
        """Whether the claim makes *item* a repeat: it is of the same content, and has not faded."""
        claim = item.outcome.claim
        if known.content != claim.content:
            return False
        return not claim.windowed or item.delivery.received_us - known.claimed_us < self._policy.window_us

    def _accept(self, delivery: Delivery, command: Event | CustomerUpdate) -> int | None:
        """Attach *command* to its customer; the number of what it became."""
        directory = self._directories.get(delivery.project_id)
        if directory is None:
            directory = self._directories[delivery.project_id] = self._directory([])
        now_us = delivery.received_us
        resolution = directory.resolve(command.ids, now_us, create=self._policy.create_unknown)
        if resolution is None:
            return None
        customer, created, merged, stolen = resolution
        if created:
            self._created_us[customer] = now_us
        if merged or stolen:
            self._trace(delivery, command, resolution)
        if isinstance(command, CustomerUpdate):
            dated = not command.claim.windowed
            for name, value in command.properties.items():
                self._properties.append((customer, name, value, command.updated_us, dated))
            return customer
        event_id = next(self._ids)
        self._events.append(
            (
                *(event_id, delivery.project_id, customer, command.type, command.occurred_us, now_us),
                *(delivery.source.value, command.campaign, command.status, command.stage),
                *(encode(dict(command.ids)), command.properties),
            )
        )
        return event_id

    def _trace(self, delivery: Delivery, command: Event | CustomerUpdate, done: Resolution) -> None:
        """Leave events of our own where customers were merged or an ID changed hands."""
        traces = [
            (survivor, "merge", {"source": source, "survivor": survivor}) for source, survivor in done.merged
        ] + [(before, "id_moved", {"id": each.kind, "to": after}) for each, before, after in done.stolen]
        ids = encode(dict(command.ids))
        now_us = delivery.received_us
        for customer, event_type, properties in traces:
            about = next(self._ids), delivery.project_id, customer, event_type, now_us, now_us
            self._events.append((*about, Source.IDENTITY.value, None, None, None, ids, encode(properties)))

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
        times, seen_us = self._repeats.get(rejection_id, (0, 0))
        self._repeats[rejection_id] = times + 1, max(seen_us, delivery.received_us)
        return rejection_id

    def _directory(self, holdings: list[Holding]) -> Directory:
        rules = self._policy.rules
        return Directory(rules.hard_ids, rules.soft_ids, holdings, self._ids.__next__)

    def writes(self) -> Writes:
        """What is left to be written, but for the counters."""
        result = Writes()
        merged: dict[int, int] = {}
        for project_id, directory in self._directories.items():
            changes = directory.changes()
            merged.update(changes.merged)
            result.customers += [(each, project_id, self._created_us[each], None) for each in changes.created]
            for (kind, value), holder, used_us in changes.held:
                there = (project_id, kind, value) in self._stored_ids
                rows = result.moved_ids if there else result.customer_ids
                rows.append((project_id, kind, value, holder, used_us))
            result.dropped_ids += [(project_id, *each) for each in changes.evicted]
        result.merges = list(merged.items())
        result.events = self._events
        if merged:
            result.events = [(*row[:2], merged.get(row[2], row[2]), *row[3:]) for row in self._events]
        result.undated_properties, result.properties = self._newest_properties(merged)
        result.rejections = self._rejections
        result.repeated_rejections = [(row_id, *seen) for row_id, seen in self._repeats.items()]
        for place, claim in self._new_claims.items():
            rows = result.renewed_claims if place in self._stored_claims else result.claims
            rows.append(place + claim)
        return result

    def _newest_properties(self, merged: dict[int, int]) -> tuple[list[Row], list[Row]]:
        """What is left of each property: its last value without a time, then its newest one with a time."""
        undated: dict[tuple[int, str], tuple[str, int]] = {}
        newest: dict[tuple[int, str], tuple[str, int]] = {}
        latest_us: dict[tuple[int, str], int] = {}
        for customer, name, value, updated_us, dated in self._properties:
            place = merged.get(customer, customer), name
            before_us = latest_us.get(place, updated_us)
            latest_us[place] = max(before_us, updated_us)
            if not dated:
                undated[place] = value, latest_us[place]
                newest.pop(place, None)
            elif updated_us >= before_us:
                newest[place] = value, updated_us
        return _placed(undated), _placed(newest)


def _placed(values: dict[tuple[int, str], tuple[str, int]]) -> list[Row]:
    return [place + value for place, value in values.items()]
