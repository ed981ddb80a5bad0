"""What a group of commands decides, command by command, and the rows that this leaves to be written.

No statement is run here: what the store knows comes in, what is to be written goes out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from receiver.domain import kinds
from receiver.domain.commands import CustomerUpdate, Event, ExternalId, Rejection
from receiver.domain.identity import Directory, Holding, Resolution
from receiver.domain.json_text import encode
from receiver.domain.moments import hour_of
from receiver.domain.relaying import update_body
from receiver.domain.stages import RETURNED
from receiver.inbound.deliveries import Became, Delivery, Item, Policy, Verdict
from receiver.inbound.new_values import NewValues
from receiver.inbound.refusals import Refusals
from receiver.inbound.ties import Letters, Tie
from receiver.store import outbox
from receiver.store.attempts import MENDED
from receiver.store.mailings import Kind
from receiver.store.sets import Row
from receiver.store.writes import KnownClaim, KnownHolding, Source, Writes

_UNTIED = (None, None)

Place = tuple[int, bytes]
"""A project and the key of a claim."""


class Group:
    """Decides one command after the other; each sees what the earlier ones of the group did.

    Args:
        ids: hands out numbers for new rows, ascending.
        claims: what was seen before, of the places of the group's commands.
        holdings: every ID of every customer who holds one of the group's IDs.
        letters: what events may be about; None where there are none.
        relays: what is accepted is given to the outbox, where the policy says so of its source.
    """

    def __init__(
        self,
        policy: Policy,
        ids: Iterator[int],
        claims: dict[Place, KnownClaim],
        holdings: Iterable[KnownHolding],
        letters: Letters | None = None,
        *,
        relays: bool = False,
    ) -> None:
        self._policy = policy
        self._relayed = policy.relayed if relays else frozenset()
        self._letters = letters
        self._ids = ids
        self._claims = claims
        self._stored_claims = set(claims)
        self._stored_ids: set[tuple[int, str, str]] = set()
        self._directories: dict[int, Directory] = {}
        self._created_us: dict[int, int] = {}
        self._new_claims: dict[Place, KnownClaim] = {}
        # Rows as they will be written, but for merges that are yet to come: see `writes`.
        self._properties = NewValues()
        self._events: list[Row] = []
        self._updates: list[Row] = []
        self._undated: Counter[int] = Counter()
        self._refusals = Refusals()
        self._suppressions: dict[tuple[int, bytes], Row] = {}
        self._any_merged = False
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
        if (
            isinstance(outcome, Rejection)
            and outcome.form is delivery.form
            and delivery.source is Source.REPLAY
        ):
            # It is kept already, and stays where it is.
            return Verdict(Became.REJECTED, 0, outcome)
        known = self._claims.get(place)
        if known is not None and not self._stands(known, item):
            known = None
        if known is not None and known.content == MENDED:
            return Verdict(Became.DUPLICATE, known.row_id, None)
        if isinstance(outcome, Rejection):
            row_id = (
                self._refusals.add(next(self._ids), delivery, outcome)
                if known is None
                else self._refusals.repeat(known.row_id, delivery)
            )
            verdict = Verdict(Became.REJECTED, row_id, outcome)
        elif known is not None:
            return Verdict(Became.DUPLICATE, known.row_id, None)
        else:
            row = self._accept(delivery, outcome)
            if row is None:
                return None
            verdict = Verdict(Became.ACCEPTED, row, None)
        if known is None and not self._is_outdated(place, delivery):
            claim = KnownClaim(outcome.claim.content, delivery.sent_us, verdict.row_id)
            self._claims[place] = self._new_claims[place] = claim
        return verdict

    def _is_outdated(self, place: Place, delivery: Delivery) -> bool:
        """What is replayed came in before that which holds the claim, whose repeats are still to be known."""
        if delivery.first_us is None:
            return False
        known = self._claims.get(place)
        return known is not None and delivery.first_us < known.claimed_us

    def _stands(self, known: KnownClaim, item: Item) -> bool:
        """Whether the claim makes *item* a repeat: it is of the same content, and has not faded."""
        claim = item.outcome.claim
        mended = isinstance(item.outcome, Rejection) and known.content == MENDED
        if known.content != claim.content and not mended:
            return False
        if not claim.windowed:
            return True
        passed_us = item.delivery.sent_us - known.claimed_us
        # A replay may be older than what holds the claim; a clock that went back makes nothing new.
        return (passed_us if item.delivery.first_us is None else abs(passed_us)) < self._policy.window_us

    def _accept(self, delivery: Delivery, command: Event | CustomerUpdate) -> int | None:
        """Attach *command* to its customer; the number of what it became."""
        now_us = delivery.received_us
        # A customer who was sent a letter is known.
        create = self._policy.create_unknown or delivery.source is Source.SENDING
        customer = self.identify(delivery, command.ids, create=create)
        if customer is None:
            return None
        if isinstance(command, CustomerUpdate):
            # What is replayed holds since it came in, and replaces nothing newer.
            dated = not command.claim.windowed or delivery.first_us is not None
            for name, value in command.properties.items():
                self._properties.add(customer, name, value, command.updated_us, dated=dated)
            if delivery.source.value in self._relayed:
                about = next(self._ids), delivery.project_id, customer, now_us
                # Of two that came at once the later one is to win, at Bloomreach too.
                since_us = command.updated_us if dated else command.updated_us + self._undated[now_us]
                self._undated[now_us] += not dated
                body = update_body(command._replace(updated_us=since_us))
                self._updates.append((*about, encode(dict(command.ids)), body))
            return customer
        event_id, project_id = next(self._ids), delivery.project_id
        kind = kinds.Kind(project_id, command.type, command.campaign, command.status, command.stage)
        self._events.append(
            (
                *(event_id, project_id, customer, command.type, command.occurred_us, now_us),
                *(delivery.source.value, command.campaign, command.status, command.stage),
                *(encode(dict(command.ids)), command.properties),
                *(self._tie(delivery, command) if self._letters or command.mailing else _UNTIED),
                *(command.variation, kind.id),
            )
        )
        return event_id

    def identify(self, delivery: Delivery, ids: Sequence[ExternalId], *, create: bool = True) -> int | None:
        """The customer whom *ids* mean from now on; None if nobody holds any and none is to be created."""
        directory = self._directories.get(delivery.project_id)
        if directory is None:
            directory = self._directories[delivery.project_id] = self._directory([])
        resolution = directory.resolve(ids, delivery.received_us, create=create)
        if resolution is None:
            return None
        customer, created, merged, stolen = resolution
        if created:
            self._created_us[customer] = delivery.received_us
        if merged or stolen:
            self._any_merged |= bool(merged)
            self._trace(delivery, ids, resolution)
        return customer

    def _tie(self, delivery: Delivery, event: Event) -> tuple[str | None, str | None]:
        """The letter that *event* is about, and how that is known; what was heard of it is noted."""
        if delivery.source is Source.SENDING:
            return event.mailing, Tie.MAILING_ID.value
        if self._letters is None:
            return None, Tie.UNKNOWN_MAILING.value
        letter, tie = self._letters.tie(delivery.project_id, event)
        if letter is None:
            return None, tie and tie.value
        self._letters.hear(letter, event, delivery.received_us)
        if event.stage == RETURNED:
            self.flag_address(delivery, letter.customer_id, letter.address_key, letter.id, RETURNED)
        return letter.id, tie and tie.value

    def flag_address(
        self, delivery: Delivery, customer: int | None, address_key: bytes | None, mailing: str, note: str
    ) -> None:
        """Let *customer* get no letter to this address, and take back the consent if that is wanted."""
        if customer is None or address_key is None:
            return
        now_us = delivery.received_us
        if (customer, address_key) not in self._suppressions:
            about = next(self._ids), delivery.project_id, customer, Kind.BAD_ADDRESS.value
            row = (*about, address_key, note, mailing, now_us, None)
            self._suppressions[customer, address_key] = row
        if self._policy.revoked_property:
            self._properties.add(customer, self._policy.revoked_property, "false", now_us, dated=False)

    def _trace(self, delivery: Delivery, ids: Sequence[ExternalId], done: Resolution) -> None:
        """Leave events of our own where customers were merged or an ID changed hands."""
        traces = [
            (survivor, "merge", {"source": source, "survivor": survivor}) for source, survivor in done.merged
        ] + [(before, "id_moved", {"id": each.kind, "to": after}) for each, before, after in done.stolen]
        sent = encode(dict(ids))
        now_us = delivery.received_us
        for customer, event_type, properties in traces:
            about = next(self._ids), delivery.project_id, customer, event_type, now_us, now_us
            what = Source.IDENTITY.value, None, None, None, sent, encode(properties)
            kind = kinds.Kind(delivery.project_id, event_type, None, None, None)
            self._events.append((*about, *what, *_UNTIED, None, kind.id))

    def _directory(self, holdings: list[Holding]) -> Directory:
        rules = self._policy.rules
        return Directory(rules.hard_ids, rules.soft_ids, holdings, self._ids.__next__)

    def merged(self) -> dict[int, int]:
        """Each customer who was merged away so far -> who is left."""
        if not self._any_merged:
            return {}
        return {
            source: survivor
            for directory in self._directories.values()
            for source, survivor in directory.changes().merged.items()
        }

    def writes(self) -> Writes:
        """What is left to be written, but for the counters."""
        result = Writes()
        merged = self.merged()
        for project_id, directory in self._directories.items():
            changes = directory.changes()
            result.customers += [(each, project_id, self._created_us[each], None) for each in changes.created]
            for (kind, value), holder, used_us in changes.held:
                there = (project_id, kind, value) in self._stored_ids
                rows = result.moved_ids if there else result.customer_ids
                rows.append((project_id, kind, value, holder, used_us))
            result.dropped_ids += [(project_id, *each) for each in changes.evicted]
        result.merges = list(merged.items())
        result.events, result.suppressions = self._events, list(self._suppressions.values())
        result.relayed_updates = self._updates
        if merged:
            result.events = [_of_survivor(row, merged) for row in result.events]
            result.relayed_updates = [_of_survivor(row, merged) for row in result.relayed_updates]
            result.suppressions = [_of_survivor(row, merged) for row in result.suppressions]
        result.heard = self._letters.heard() if self._letters else []
        result.undated_properties, result.properties = self._properties.left(merged)
        self._relay(result)
        self._refusals.write(result)
        for place, claim in self._new_claims.items():
            rows = result.renewed_claims if place in self._stored_claims else result.claims
            rows.append(place + claim)
        return result

    def _relay(self, result: Writes) -> None:
        """Give the outbox what is to be relayed, and count it."""
        if not self._relayed:
            return
        result.relayed_events = [(row[0], row[1], row[5]) for row in result.events if row[6] in self._relayed]
        given = Counter((project, hour_of(given_us)) for _, project, given_us in result.relayed_events)
        given.update((row[1], hour_of(row[3])) for row in result.relayed_updates)
        result.given = outbox.raised(given=given)


def _of_survivor(row: Row, merged: dict[int, int]) -> Row:
    """*row*, whose third column is a customer."""
    return (*row[:2], merged.get(row[2], row[2]), *row[3:])
