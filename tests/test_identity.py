"""Who is the customer: the worked cases, what the vendor leaves open, and what must hold whatever comes."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from receiver.domain.commands import ExternalId
from receiver.domain.identity import (
    SOFT_LIMIT,
    Changes,
    Directory,
    Holding,
    Merged,
    Resolution,
    Stolen,
)

HARD = ("registered", "email", "loyalty")
SOFT = ("cookie", "device")
NOW = 1_760_000_000_000_000

Ids = tuple[ExternalId, ...]


def one(text: str) -> ExternalId:
    kind, value = text.split(" ", 1)
    return ExternalId(kind, value)


def ids(text: str) -> Ids:
    """Turn "registered 1, cookie u1" into IDs; nothing into none."""
    return tuple(one(each) for each in text.split(", ") if each)


def survivor(directory: Directory, customer: int) -> int:
    """Who *customer* is after the merges so far."""
    return directory.changes().merged.get(customer, customer)


class Command(NamedTuple):
    ids: Ids
    now_us: int = NOW


class Store:
    """What a database keeps, in memory: it applies changes and insists on what a database would."""

    def __init__(self, customers: dict[int, str] | None = None) -> None:
        self.held: dict[ExternalId, Holding] = {}
        self.customers: set[int] = set()
        self.merged_into: dict[int, int] = {}
        self.events: list[int] = []  # the customer of each, in the order of the commands
        for customer, text in (customers or {}).items():
            self.customers.add(customer)
            for used_us, each in enumerate(ids(text)):
                self.held[each] = Holding(each, customer, used_us)
        self._numbers = itertools.count(max(self.customers, default=0) + 1)

    def directory(self, wanted: Iterable[ExternalId]) -> Directory:
        """All holdings of everybody who holds one of *wanted*, and of nobody else."""
        holders = {self.held[each].customer for each in wanted if each in self.held}
        holdings = [holding for holding in self.held.values() if holding.customer in holders]
        return Directory(HARD, SOFT, holdings, lambda: next(self._numbers))

    def run(self, group: Sequence[Command]) -> list[Resolution]:
        directory = self.directory(each for command in group for each in command.ids)
        resolutions = []
        for command in group:
            resolution = directory.resolve(command.ids, command.now_us)
            assert resolution is not None
            resolutions.append(resolution)
        assert_that_nothing_is_held_twice(directory)
        self.apply(directory.changes())
        self.events += [survivor(directory, resolution.customer) for resolution in resolutions]
        return resolutions

    def apply(self, changes: Changes) -> None:
        named = [*(holding.id for holding in changes.held), *changes.evicted]
        assert len(named) == len(set(named)), "a database refuses to touch a row twice in one statement"
        assert list(changes.created) == sorted(set(changes.created) - self.customers)
        self.customers |= set(changes.created)
        assert changes.merged.keys() <= self.customers
        self.customers -= changes.merged.keys()
        self.merged_into |= changes.merged
        self.events = [changes.merged.get(customer, customer) for customer in self.events]
        for holding in changes.held:
            assert self.held.get(holding.id) != holding, "a write that changes nothing"
            self.held[holding.id] = holding
        for each in changes.evicted:
            del self.held[each]

    def of(self, customer: int) -> set[ExternalId]:
        return {each for each, holding in self.held.items() if holding.customer == customer}

    def everybody(self) -> dict[int, set[ExternalId]]:
        return {customer: self.of(customer) for customer in self.customers}


def assert_that_nothing_is_held_twice(directory: Directory) -> None:
    """Looks inside: the store has a row per ID, which would hide a second holder."""
    held = [
        (ExternalId(kind, value), customer)
        for customer, kinds in directory._customers.items()
        for kind, values in kinds.items()
        for value in values
    ]

    assert len(held) == len(directory._holders)
    assert dict(held) == directory._holders


def cookies(first: int, count: int) -> str:
    return ", ".join(f"cookie u{number}" for number in range(first, first + count))


def kinds_of(store: Store, customer: int, kind: str) -> int:
    return sum(each.kind == kind for each in store.of(customer))


class Case(NamedTuple):
    """IDs by customer before and after one call; a customer with a higher number was created later."""

    before: dict[int, str]
    call: str
    after: dict[int, str]
    customer: int
    merged: tuple[Merged, ...] = ()
    stolen: tuple[Stolen, ...] = ()


WORKED_CASES = {
    "1: an unknown hard ID makes a customer": Case({}, "registered 1", {1: "registered 1"}, 1),
    "2: an unknown soft ID makes a customer": Case({}, "cookie u1", {1: "cookie u1"}, 1),
    "3: a known hard ID leaves the other IDs alone": Case(
        {1: "registered 1, cookie u1"}, "registered 1", {1: "registered 1, cookie u1"}, 1
    ),
    "4: an anonymous customer gains a hard ID": Case(
        {1: "cookie u1"}, "registered 1, cookie u1", {1: "registered 1, cookie u1"}, 1
    ),
    "5: hard and soft ID of two customers merge them": Case(
        {1: "registered 1", 2: "cookie u1"},
        "registered 1, cookie u1",
        {1: "registered 1, cookie u1"},
        1,
        merged=(Merged(source=2, survivor=1),),
    ),
    "5: the anonymous one survives if it was created first": Case(
        {1: "cookie u1", 2: "registered 1"},
        "registered 1, cookie u1",
        {1: "registered 1, cookie u1"},
        1,
        merged=(Merged(source=2, survivor=1),),
    ),
    "6: a second soft ID is gained": Case(
        {1: "registered 1, cookie u1"},
        "registered 1, cookie u2",
        {1: "registered 1, cookie u1, cookie u2"},
        1,
    ),
    "7: a new customer takes the soft ID of another": Case(
        {1: "registered 1, cookie u1"},
        "registered 2, cookie u1",
        {1: "registered 1", 2: "registered 2, cookie u1"},
        2,
        stolen=(Stolen(one("cookie u1"), before=1, after=2),),
    ),
    "7: a known customer takes the soft ID of another": Case(
        {1: "registered 2", 2: "registered 1, cookie u1"},
        "registered 2, cookie u1",
        {1: "registered 2, cookie u1", 2: "registered 1"},
        1,
        stolen=(Stolen(one("cookie u1"), before=2, after=1),),
    ),
    "8: the 65th soft ID evicts the least recently used": Case(
        {1: f"registered 1, {cookies(1, 64)}"},
        "registered 1, cookie u65",
        {1: f"registered 1, {cookies(2, 64)}"},
        1,
    ),
    "9: hard IDs are case-sensitive": Case(
        {1: "registered Ann@x.de"},
        "registered ann@x.de",
        {1: "registered Ann@x.de", 2: "registered ann@x.de"},
        2,
    ),
    # Reading has trimmed it; white space inside is part of the ID.
    "10: the trimmed ID is the same ID": Case(
        {1: "registered c1", 2: "registered c 1"},
        "registered c 1",
        {1: "registered c1", 2: "registered c 1"},
        2,
    ),
    # Reading refuses this command by default; with EMPTY_IDS=drop only the cookie arrives here.
    "11: without its empty hard ID the soft ID counts alone": Case(
        {1: "registered 1, cookie u1"}, "cookie u1", {1: "registered 1, cookie u1"}, 1
    ),
    "13: two hard IDs of different kinds merge their holders": Case(
        {1: "registered 1", 2: "email x"},
        "registered 1, email x",
        {1: "registered 1, email x"},
        1,
        merged=(Merged(source=2, survivor=1),),
    ),
    "13: not if they clash on a third hard ID": Case(
        {1: "registered 1, loyalty p", 2: "email x, loyalty q"},
        "registered 1, email x",
        {1: "registered 1, loyalty p", 2: "email x, loyalty q"},
        1,
    ),
}

CHOSEN_CASES = {
    "a hard ID that clashes stays, an unheld one is gained": Case(
        {1: "registered 1", 2: "registered 2, email x"},
        "registered 1, email x, loyalty p",
        {1: "registered 1, loyalty p", 2: "registered 2, email x"},
        1,
    ),
    "the first configured hard ID decides, not the older customer": Case(
        {1: "registered 1, email x", 2: "registered 2"},
        "registered 2, email x",
        {1: "registered 1, email x", 2: "registered 2"},
        2,
    ),
    "the older value of a hard ID stays": Case(
        {1: "registered 1, email x"}, "registered 1, email y", {1: "registered 1, email x"}, 1
    ),
    "a hard ID gained in this command counts for the next one": Case(
        {1: "registered 1", 2: "email y, loyalty p"},
        "registered 1, email x, loyalty p",
        {1: "registered 1, email x", 2: "email y, loyalty p"},
        1,
    ),
    "a merge brings a hard ID that keeps the next one out": Case(
        {1: "registered 1", 2: "email x, loyalty q"},
        "registered 1, email x, loyalty p",
        {1: "registered 1, email x, loyalty q"},
        1,
        merged=(Merged(2, 1),),
    ),
    "an unheld first hard ID goes to the holder of a second one": Case(
        {1: "email x"}, "registered 1, email x", {1: "registered 1, email x"}, 1
    ),
    "an unheld first hard ID makes a customer if the second one's holder has another": Case(
        {1: "registered 1, email x"},
        "registered 2, email x, cookie u1",
        {1: "registered 1, email x", 2: "registered 2, cookie u1"},
        2,
    ),
    "a soft ID is taken from a holder who clashes on a hard ID that is about to be gained": Case(
        {1: "email y, cookie u1"},
        "registered 1, email x, cookie u1",
        {1: "email y", 2: "registered 1, email x, cookie u1"},
        2,
        stolen=(Stolen(one("cookie u1"), 1, 2),),
    ),
    "the first soft ID is taken, the holder of the second one gains the hard ID": Case(
        {1: "registered 1, cookie u1", 2: "device d1"},
        "registered 2, cookie u1, device d1",
        {1: "registered 1", 2: "registered 2, cookie u1, device d1"},
        2,
        stolen=(Stolen(one("cookie u1"), 1, 2),),
    ),
    "a theft names the customer who is left after the merge that follows it": Case(
        {1: "device d1", 2: "registered 1, cookie u1", 3: "registered 2"},
        "registered 2, cookie u1, device d1",
        {1: "registered 2, cookie u1, device d1", 2: "registered 1"},
        1,
        merged=(Merged(3, 1),),
        stolen=(Stolen(one("cookie u1"), 2, 1),),
    ),
    "three customers become one": Case(
        {1: "device d1", 2: "cookie u1", 3: "registered 1, cookie u2"},
        "registered 1, cookie u1, device d1",
        {1: "registered 1, cookie u1, cookie u2, device d1"},
        1,
        merged=(Merged(3, 2), Merged(2, 1)),
    ),
    "of three customers the one who clashes after the first merge stays apart": Case(
        {1: "registered 1", 2: "email x, cookie u1", 3: "email y, device d1"},
        "registered 1, cookie u1, device d1",
        {1: "registered 1, email x, cookie u1, device d1", 3: "email y"},
        1,
        merged=(Merged(2, 1),),
        stolen=(Stolen(one("device d1"), 3, 1),),
    ),
    "soft IDs alone merge customers who do not clash": Case(
        {1: "cookie u1", 2: "registered 1, device d1"},
        "cookie u1, device d1",
        {1: "registered 1, cookie u1, device d1"},
        1,
        merged=(Merged(2, 1),),
    ),
    "soft IDs alone take nothing from a customer who clashes": Case(
        {1: "registered 1, device d1", 2: "registered 2, cookie u1"},
        "cookie u1, device d1",
        {1: "registered 1, device d1", 2: "registered 2, cookie u1"},
        2,
    ),
    "soft IDs alone: the holder of the second one gains the first": Case(
        {1: "registered 1, device d1"},
        "cookie u1, device d1",
        {1: "registered 1, cookie u1, device d1"},
        1,
    ),
    "an ID of a kind that is no longer configured follows its customer": Case(
        {1: "registered 1", 2: "cookie u1, fax 7"},
        "registered 1, cookie u1",
        {1: "registered 1, cookie u1, fax 7"},
        1,
        merged=(Merged(2, 1),),
    ),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=name) for name, case in (WORKED_CASES | CHOSEN_CASES).items()]
)
def test_a_command_finds_its_customer(case: Case) -> None:
    store = Store(case.before)

    [resolution] = store.run([Command(ids(case.call))])

    assert resolution == Resolution(
        customer=case.customer,
        created=case.customer not in case.before,
        merged=case.merged,
        stolen=case.stolen,
    )
    assert store.everybody() == {customer: set(ids(text)) for customer, text in case.after.items()}


def test_case_12_a_command_without_ids_makes_no_customer() -> None:
    directory = Store().directory(())

    with pytest.raises(ValueError, match="without IDs"):
        directory.resolve((), NOW)

    assert directory.changes() == Changes((), (), (), {})


def test_past_events_stay_with_the_customer_whose_cookie_is_taken() -> None:
    store = Store()

    store.run([Command(ids("registered 1, cookie u1"))])
    store.run([Command(ids("registered 2, cookie u1"))])

    assert store.events == [1, 2]


def test_past_events_follow_a_merge() -> None:
    store = Store()

    store.run([Command(ids("registered 1")), Command(ids("cookie u1"))])
    store.run([Command(ids("registered 1, cookie u1"))])

    assert store.events == [1, 1, 1]


def test_nobody_is_created_unless_wanted() -> None:
    directory = Store().directory(())

    assert directory.resolve(ids("registered 1, cookie u1"), NOW, create=False) is None
    assert directory.changes() == Changes((), (), (), {})


def test_a_known_customer_is_found_and_gains_ids_without_creating() -> None:
    store = Store({1: "cookie u1"})
    directory = store.directory(ids("registered 1, cookie u1"))

    resolution = directory.resolve(ids("registered 1, cookie u1"), NOW, create=False)

    assert resolution == Resolution(1, created=False, merged=(), stolen=())
    assert directory.changes().held == (Holding(one("registered 1"), 1, NOW),)


def test_the_cookie_of_a_known_customer_makes_an_unknown_hard_id_known_enough() -> None:
    store = Store({1: "registered 1, cookie u1"})
    directory = store.directory(ids("registered 2, cookie u1"))

    resolution = directory.resolve(ids("registered 2, cookie u1"), NOW, create=False)

    assert resolution == Resolution(2, True, (), (Stolen(one("cookie u1"), 1, 2),))


def test_without_creating_a_customer_of_the_same_group_is_known() -> None:
    directory = Store().directory(())
    directory.resolve(ids("registered 1"), NOW)

    resolution = directory.resolve(ids("registered 1"), NOW, create=False)

    assert resolution == Resolution(1, created=False, merged=(), stolen=())


@pytest.mark.parametrize("call", ["registered 1, cookie u1", "registered 1", "cookie u1"])
def test_the_usual_customer_costs_no_write(call: str) -> None:
    store = Store({1: "registered 1, cookie u1"})
    directory = store.directory(ids(call))

    directory.resolve(ids(call), NOW)

    assert directory.changes() == Changes((), (), (), {})


def test_an_older_cookie_that_is_used_outlives_a_newer_one() -> None:
    store = Store({1: f"registered 1, {cookies(1, 64)}"})

    store.run([Command(ids("registered 1, cookie u1"))])
    store.run([Command(ids("registered 1, cookie u65"))])

    assert one("cookie u1") in store.held
    assert one("cookie u2") not in store.held


def test_only_the_used_cookie_is_written() -> None:
    store = Store({1: "registered 1, cookie u1, cookie u2"})
    directory = store.directory(ids("cookie u1"))

    directory.resolve(ids("cookie u1"), NOW)

    assert directory.changes() == Changes((), (Holding(one("cookie u1"), 1, NOW),), (), {})


def test_a_clock_that_went_back_does_not_age_the_cookie_just_used() -> None:
    store = Store({1: "registered 1, cookie u1, cookie u2"})
    newest_us = store.held[one("cookie u2")].used_us

    store.run([Command(ids("registered 1, cookie u1"), now_us=-5)])

    assert store.held[one("cookie u1")].used_us == newest_us + 1


def test_each_soft_id_has_a_limit_of_its_own() -> None:
    devices = cookies(1, 64).replace("cookie u", "device d")
    store = Store({1: f"registered 1, {cookies(1, 64)}, {devices}"})

    store.run([Command(ids("registered 1, device d65"))])

    assert kinds_of(store, 1, "cookie") == SOFT_LIMIT
    assert kinds_of(store, 1, "device") == SOFT_LIMIT
    assert one("device d1") not in store.held


def test_of_cookies_used_at_once_the_same_one_leaves_however_they_were_loaded() -> None:
    holdings = [Holding(each, 1, NOW) for each in ids(f"registered 1, {cookies(1, 64)}")]
    evicted = []
    for order in (holdings, holdings[::-1]):
        directory = Directory(HARD, SOFT, order, itertools.count(2).__next__)
        directory.resolve(ids("registered 1, cookie u65"), NOW)
        evicted.append(directory.changes().evicted)

    assert evicted[0] == evicted[1]
    assert len(evicted[0]) == 1


def test_a_merge_over_the_limit_keeps_what_was_used_last() -> None:
    store = Store({1: f"registered 1, {cookies(1, 40)}", 2: f"device d1, {cookies(41, 40)}"})
    for holding in store.held.values():  # both used their nth cookie at the same time
        if holding.id.kind == "cookie":
            number = int(holding.id.value[1:])
            store.held[holding.id] = holding._replace(used_us=(number - 1) % 40)

    store.run([Command(ids("registered 1, device d1"))])

    gone = {one(f"cookie u{number}") for number in [*range(1, 9), *range(41, 49)]}
    assert store.of(1) == {*ids(f"registered 1, device d1, {cookies(1, 80)}")} - gone


def test_a_cookie_used_by_the_command_survives_the_merge_that_it_causes() -> None:
    store = Store({1: "cookie old", 2: f"registered 1, {cookies(1, 64)}"})

    store.run([Command(ids("registered 1, cookie old"))])

    assert store.of(1) == {*ids(f"registered 1, cookie old, {cookies(2, 63)}")}


def test_a_cookie_used_by_the_command_survives_a_merge_through_a_later_id() -> None:
    store = Store({1: "registered 1, cookie old", 2: f"device d1, {cookies(1, 64)}"})

    store.run([Command(ids("registered 1, cookie old, device d1"))])

    assert store.of(1) == {*ids(f"registered 1, device d1, cookie old, {cookies(2, 63)}")}


def test_a_stolen_cookie_counts_against_the_limit_of_the_thief() -> None:
    store = Store({1: "registered 1, cookie u0", 2: f"registered 2, {cookies(1, 64)}"})

    store.run([Command(ids("registered 2, cookie u0"))])

    assert store.everybody() == {
        1: {*ids("registered 1")},
        2: {*ids(f"registered 2, cookie u0, {cookies(2, 63)}")},
    }


def test_a_cookie_evicted_earlier_in_the_group_is_free_for_somebody_else() -> None:
    store = Store({1: f"registered 1, {cookies(1, 64)}"})

    _, resolution = store.run(
        [Command(ids("registered 1, cookie u65")), Command(ids("registered 2, cookie u1"))]
    )

    assert resolution == Resolution(2, created=True, merged=(), stolen=())
    assert store.everybody() == {
        1: {*ids(f"registered 1, {cookies(2, 64)}")},
        2: {*ids("registered 2, cookie u1")},
    }


def test_a_cookie_that_came_and_went_within_a_group_leaves_no_trace() -> None:
    directory = Store().directory(())

    for number in range(SOFT_LIMIT + 1):
        directory.resolve(ids(f"registered 1, cookie u{number}"), NOW)

    changes = directory.changes()
    assert one("cookie u0") not in {holding.id for holding in changes.held}
    assert changes.evicted == ()


def test_the_survivor_follows_a_chain_of_merges_of_the_group() -> None:
    store = Store({1: "email x", 2: "cookie u1, loyalty p", 3: "device d1"})
    directory = store.directory(ids("email x, loyalty p, cookie u1, device d1"))

    directory.resolve(ids("cookie u1, device d1"), NOW)
    assert survivor(directory, 3) == 2
    directory.resolve(ids("email x, cookie u1"), NOW)

    assert [survivor(directory, customer) for customer in (1, 2, 3)] == [1, 1, 1]
    assert directory.changes().merged == {3: 1, 2: 1}


def test_a_customer_created_and_merged_away_in_one_group_is_reported_as_both() -> None:
    directory = Store().directory(())

    for call in ("registered 1", "cookie u1", "registered 1, cookie u1"):
        directory.resolve(ids(call), NOW)

    assert directory.changes() == Changes(
        created=(1, 2),
        held=(Holding(one("registered 1"), 1, NOW), Holding(one("cookie u1"), 1, NOW)),
        evicted=(),
        merged={2: 1},
    )


# Few values, so that they meet; the cookies overlap with those of `crowds`.
IDS = st.tuples(
    st.none() | st.sampled_from("123").map(lambda value: ExternalId("registered", value)),
    st.none() | st.sampled_from("xyz").map(lambda value: ExternalId("email", value)),
    st.none() | st.sampled_from("pq").map(lambda value: ExternalId("loyalty", value)),
    st.none() | st.integers(0, 8).map(lambda number: ExternalId("cookie", f"u{number * 10}")),
    st.none() | st.integers(0, 3).map(lambda number: ExternalId("device", f"d{number}")),
).map(lambda maybe: tuple(each for each in maybe if each is not None))
COMMANDS = st.builds(Command, IDS.filter(bool), st.integers(0, 3))
GROUPS = st.lists(COMMANDS, min_size=1, max_size=12)


def crowd(owner: ExternalId, first: int, count: int, now_us: int) -> list[Command]:
    return [
        Command((owner, ExternalId("cookie", f"u{number}")), now_us) for number in range(first, first + count)
    ]


# One customer uses many cookies, which the limit takes notice of.
CROWDS = st.builds(
    crowd,
    st.sampled_from(ids("registered 1, registered 2, email x")),
    st.integers(0, 60),
    st.integers(30, 80),
    st.integers(0, 3),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(GROUPS | CROWDS | st.tuples(CROWDS, GROUPS).map(lambda both: both[0] + both[1]), max_size=6))
def test_a_group_ends_as_its_commands_would_have_ended_one_by_one(groups: list[list[Command]]) -> None:
    together, apart = Store(), Store()

    for group in groups:
        resolutions = together.run(group)

        assert [apart.run([command]) for command in group] == [[resolution] for resolution in resolutions]
        assert together.held == apart.held
        assert together.events == apart.events
        assert together.customers == apart.customers
        assert together.merged_into.keys() == apart.merged_into.keys()


class History(RuleBasedStateMachine):
    """Any commands, alone and in groups, and what holds after each of them."""

    @initialize()
    def begin(self) -> None:
        self.store = Store()
        self.sent = 0

    def send(self, group: list[Command]) -> list[Resolution]:
        hard_before = {each: row.customer for each, row in self.store.held.items() if each.kind in HARD}
        resolutions = self.store.run(group)
        self.sent += len(group)
        for each, customer in hard_before.items():
            while customer in self.store.merged_into:
                customer = self.store.merged_into[customer]
            assert self.store.held[each].customer == customer, "a hard ID moves by a merge only"
        return resolutions

    @rule(group=GROUPS)
    def several_commands_come(self, group: list[Command]) -> None:
        self.send(group)

    @rule(group=CROWDS)
    def somebody_uses_many_cookies(self, group: list[Command]) -> None:
        self.send(group)

    @rule(command=COMMANDS)
    def one_command_comes(self, command: Command) -> None:
        [resolution] = self.send([command])

        holders = {each: self.store.held[each].customer for each in command.ids if each in self.store.held}
        first = command.ids[0]
        assert resolution.customer in holders.values()
        if first.kind in HARD:
            assert holders[first] == resolution.customer, "the first hard ID decides"
            soft = [holders.get(each) for each in command.ids if each.kind in SOFT]
            assert set(soft) <= {resolution.customer}, "who is named holds the soft IDs"
        else:
            assert holders.keys() == set(command.ids)
            assert not resolution.stolen
        for stolen in resolution.stolen:
            before = {each.kind for each in self.store.of(stolen.before)}
            after = {each.kind for each in self.store.of(stolen.after)}
            assert before & after & set(HARD), "only people whom a hard ID tells apart steal"
        for merged in resolution.merged:
            assert merged.survivor < merged.source

    @invariant()
    def no_id_belongs_to_a_customer_who_is_gone_and_nobody_is_without(self) -> None:
        assert {row.customer for row in self.store.held.values()} == self.store.customers

    @invariant()
    def every_event_belongs_to_a_customer_who_exists(self) -> None:
        assert len(self.store.events) == self.sent
        assert set(self.store.events) <= self.store.customers

    @invariant()
    def nobody_has_two_values_of_a_hard_id_or_too_many_of_a_soft_one(self) -> None:
        for customer in self.store.customers:
            for kind, most in [*((kind, 1) for kind in HARD), *((kind, SOFT_LIMIT) for kind in SOFT)]:
                assert kinds_of(self.store, customer, kind) <= most


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
