"""IDs and who holds them -> which customer a command is about: found, new, merged, or robbed of a soft ID.

The rule above all others: an ID belongs to at most one customer.  What the vendor leaves open, and
what we chose there, stands in docs/decisions/0002-who-is-the-customer.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from receiver.domain.commands import ExternalId

SOFT_LIMIT = 64
"""Values of one soft ID that a customer can have; the least recently used one makes room for the next."""


class Holding(NamedTuple):
    """One ID and who holds it.

    Attributes:
        used_us: orders the values of one soft ID of one customer by their last use.  It is no exact
            time: the newest value is not touched again, and a clock that went back is overruled.
    """

    id: ExternalId
    customer: int
    used_us: int


class Stolen(NamedTuple):
    """A soft ID that changed hands between two people whose hard IDs tell them apart."""

    id: ExternalId
    before: int
    after: int


class Merged(NamedTuple):
    """Two customers that turned out to be one; the survivor was created first."""

    source: int
    survivor: int


class Resolution(NamedTuple):
    """What one command did; *customer* is its customer when it was done."""

    customer: int
    created: bool
    merged: tuple[Merged, ...]
    stolen: tuple[Stolen, ...]


class Changes(NamedTuple):
    """What a group of commands changed, net.

    Attributes:
        created: new customers, ascending, also those that were merged away within the group.
        held: IDs that are new, have moved or were used: insert, or update by ID.
        evicted: IDs to delete.
        merged: each customer who was merged away -> who is left at the end of the group.
    """

    created: tuple[int, ...]
    held: tuple[Holding, ...]
    evicted: tuple[ExternalId, ...]
    merged: Mapping[int, int]


class Directory:
    """Who holds which ID, as far as one group of commands of one project can see.

    Each command sees what the earlier ones changed, so that a group ends as its commands would have
    ended one by one.

    Args:
        hard_ids, soft_ids: names as configured, the most important first.
        holdings: in any order, *every* ID of each customer who holds one of the group's IDs.
        new_customer: hands out numbers, ascending and above all others, so that of two customers
            the lower number was created first.
    """

    def __init__(
        self,
        hard_ids: Sequence[str],
        soft_ids: Sequence[str],
        holdings: Iterable[Holding],
        new_customer: Callable[[], int],
    ) -> None:
        self._hard_ids = frozenset(hard_ids)
        self._soft_ids = tuple(soft_ids)
        self._new_customer = new_customer
        self._loaded = {holding.id: holding for holding in holdings}
        self._holders: dict[ExternalId, int] = {}
        # customer -> kind -> {value: used_us}, the least recently used value first
        self._customers: dict[int, dict[str, dict[str, int]]] = {}
        self._created: list[int] = []
        self._merged: dict[int, int] = {}
        self._changed: dict[ExternalId, None] = {}  # a set that keeps its order
        for each, customer, used_us in self._loaded.values():
            self._holders[each] = customer
            self._customers.setdefault(customer, {}).setdefault(each.kind, {})[each.value] = used_us
        for kinds in self._customers.values():
            for kind, values in kinds.items():
                if len(values) > 1:
                    kinds[kind] = _by_use(values)

    def resolve(self, ids: Sequence[ExternalId], now_us: int, *, create: bool = True) -> Resolution | None:
        """Find or make the customer whom *ids* mean, and let that customer hold them.

        *ids* are trimmed, not empty, at most one of a kind, hard IDs first and in the configured
        order; an empty sequence raises ``ValueError``.  None, and nothing has changed, if *create*
        is false and nobody holds any of them.  If only somebody else holds one of them (the cookie
        of a known customer beside an unknown hard ID), a customer is created all the same.
        """
        if not ids:
            raise ValueError("a command without IDs means nobody")
        holders = {self._holders.get(each) for each in ids}
        if len(holders) > 1:
            return self._reconcile(ids, now_us)
        (customer,) = holders
        if customer is not None:
            for each in ids:
                if each.kind not in self._hard_ids:
                    self._use(each, customer, now_us)
            return Resolution(customer, created=False, merged=(), stolen=())
        if not create:
            return None
        customer = self._create()
        for each in ids:
            self._hold(each, customer, now_us)
        return Resolution(customer, created=True, merged=(), stolen=())

    def _reconcile(self, ids: Sequence[ExternalId], now_us: int) -> Resolution:
        """Resolve IDs that are not all held by the same customer."""
        customer = self._meant(ids)
        created = customer is None
        if customer is None:
            customer = self._create()
        customer, merged, used, rivals = self._join(ids, customer, now_us)
        for each in used:  # after all merges, or an ID that comes with one could be newer
            self._use(each, customer, now_us)
        self._evict(customer)
        stolen = tuple([Stolen(each, rival, customer) for each, rival in rivals])
        return Resolution(customer, created, tuple(merged), stolen)

    def changes(self) -> Changes:
        """The difference between what was loaded and what is held now."""
        held, evicted = [], []
        for each in self._changed:
            holder = self._holders.get(each)
            if holder is not None:
                now = Holding(each, holder, self._customers[holder][each.kind][each.value])
                if now != self._loaded.get(each):
                    held.append(now)
            elif each in self._loaded:
                evicted.append(each)
        merged: dict[int, int] = {}
        for source, survivor in sorted(self._merged.items()):  # a survivor's own fate is known before
            merged[source] = merged.get(survivor, survivor)
        return Changes(tuple(self._created), tuple(held), tuple(evicted), merged)

    def _meant(self, ids: Sequence[ExternalId]) -> int | None:
        """The first holder who can gain the unheld hard IDs that stand before it; None: a new customer."""
        gained = set()
        for each in ids:
            holder = self._holders.get(each)
            if holder is None:
                if each.kind in self._hard_ids:
                    gained.add(each.kind)
            elif not gained or gained.isdisjoint(self._customers[holder]):
                return holder
        return None

    def _join(
        self, ids: Sequence[ExternalId], customer: int, now_us: int
    ) -> tuple[int, list[Merged], list[ExternalId], list[tuple[ExternalId, int]]]:
        """Give *customer* the hard IDs and merge in whoever else is meant.

        Returns the customer who is left, the merges, the soft IDs that were used, and those among
        them that another customer holds and has to give up, with their holder.
        """
        merged, used, rivals = [], [], []
        somebody_is_named = ids[0].kind in self._hard_ids
        for each in ids:
            hard = each.kind in self._hard_ids
            holder = self._holders.get(each)
            if holder is not None and holder != customer:
                if not self._differ(customer, holder):
                    merged.append(self._merge(customer, holder))
                    customer = merged[-1].survivor
                elif hard or not somebody_is_named:
                    continue  # a hard ID is never stolen, nor is a soft one if we cannot say by whom
                else:
                    rivals.append((each, holder))
            if not hard:
                used.append(each)
            elif holder is None and each.kind not in self._customers[customer]:
                self._hold(each, customer, now_us)
        return customer, merged, used, rivals

    def _differ(self, one: int, other: int) -> bool:
        """Both have a value of the same hard ID, and as each is held once, not the same value."""
        return not self._hard_ids.isdisjoint(self._customers[one].keys() & self._customers[other].keys())

    def _create(self) -> int:
        customer = self._new_customer()
        self._created.append(customer)
        self._customers[customer] = {}
        return customer

    def _merge(self, one: int, other: int) -> Merged:
        survivor, source = sorted((one, other))
        kept = self._customers[survivor]
        for kind, values in self._customers.pop(source).items():
            kept[kind] = _by_use(kept[kind] | values) if kind in kept else values
            for value in values:
                each = ExternalId(kind, value)
                self._holders[each] = survivor
                self._changed[each] = None
        self._merged[source] = survivor
        return Merged(source, survivor)

    def _use(self, each: ExternalId, customer: int, now_us: int) -> None:
        """Make a soft ID the most recently used one of *customer*, whoever held it."""
        values = self._customers[customer].get(each.kind)
        if values:
            newest = next(reversed(values))
            if newest == each.value:
                return  # so the usual customer, who has one cookie, costs no write
            now_us = max(now_us, values[newest] + 1)
        holder = self._holders.get(each)
        if holder is not None:
            del self._customers[holder][each.kind][each.value]
        self._hold(each, customer, now_us)

    def _hold(self, each: ExternalId, customer: int, used_us: int) -> None:
        self._customers[customer].setdefault(each.kind, {})[each.value] = used_us
        self._holders[each] = customer
        self._changed[each] = None

    def _evict(self, customer: int) -> None:
        """Let the least recently used soft IDs go; what was just used stands last and stays."""
        for kind in self._soft_ids:
            values = self._customers[customer].get(kind, {})
            for value in list(values)[:-SOFT_LIMIT]:
                each = ExternalId(kind, value)
                del values[value]
                del self._holders[each]
                self._changed[each] = None


def _by_use(values: Mapping[str, int]) -> dict[str, int]:
    """The least recently used first; the value settles a tie, so the order of loading does not matter."""
    return dict(sorted(values.items(), key=lambda item: (item[1], item[0])))
