"""How many requests are under way at once, and how far apart they begin, on both databases."""

from collections.abc import Iterator

import pytest

from receiver.store import slots
from receiver.store.engine import connect
from receiver.store.sets import Ledger
from receiver.store.slots import Lease, Wait

NOW_US = 1_760_000_100_000_000
SECOND_US = 1_000_000
LEASE_US = 45 * SECOND_US


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    engine = connect(database_url)
    ledger = Ledger(engine)
    yield ledger
    ledger.close()
    engine.dispose()


def take(
    ledger: Ledger, at_us: int, *, owner: str = "me", most: int = 1, spacing_us: int = 0
) -> Lease | Wait:
    with ledger.transaction() as transaction:
        return slots.take(transaction, owner, at_us, at_us + LEASE_US, most=most, spacing_us=spacing_us)


def give_back(ledger: Ledger, lease: Lease) -> None:
    with ledger.transaction() as transaction:
        slots.give_back(transaction, lease)


def close(ledger: Ledger, until_us: int) -> None:
    with ledger.transaction() as transaction:
        slots.close(transaction, until_us)


def failures(ledger: Ledger) -> int:
    with ledger.transaction() as transaction:
        return slots.failures(transaction)


def test_one_slot_is_free_again_when_it_is_given_back(ledger: Ledger) -> None:
    assert take(ledger, NOW_US) == Lease(1, "me")
    assert take(ledger, NOW_US + 1) == Wait(NOW_US + LEASE_US)

    give_back(ledger, Lease(1, "me"))
    assert take(ledger, NOW_US + 2) == Lease(1, "me")


def test_two_slots_are_two_requests_and_a_third_waits_for_the_first_to_end(ledger: Ledger) -> None:
    leases = [take(ledger, NOW_US + number, owner=str(number), most=2) for number in range(3)]

    assert leases == [Lease(1, "0"), Lease(2, "1"), Wait(NOW_US + LEASE_US)]
    give_back(ledger, Lease(2, "1"))
    assert take(ledger, NOW_US + 4, owner="3", most=2) == Lease(2, "3")


def test_the_lease_of_who_never_comes_back_ends_by_itself(ledger: Ledger) -> None:
    take(ledger, NOW_US, owner="killed")

    assert take(ledger, NOW_US + LEASE_US) == Lease(1, "me")
    give_back(ledger, Lease(1, "killed"))
    assert take(ledger, NOW_US + LEASE_US + 1) == Wait(NOW_US + 2 * LEASE_US)


def test_requests_begin_apart_also_in_different_slots(ledger: Ledger) -> None:
    assert take(ledger, NOW_US, most=2, spacing_us=SECOND_US) == Lease(1, "me")
    assert take(ledger, NOW_US + 1, most=2, spacing_us=SECOND_US) == Wait(NOW_US + SECOND_US)
    assert take(ledger, NOW_US + SECOND_US, most=2, spacing_us=SECOND_US) == Lease(2, "me")


def test_a_clock_that_went_back_keeps_nobody_waiting_for_what_it_said(ledger: Ledger) -> None:
    lease = take(ledger, NOW_US)
    assert isinstance(lease, Lease)
    give_back(ledger, lease)

    assert take(ledger, NOW_US - 3600 * SECOND_US, spacing_us=SECOND_US) == Lease(1, "me")


def test_a_closed_door_keeps_everybody_out_until_its_time_is_over(ledger: Ledger) -> None:
    close(ledger, NOW_US + 5 * SECOND_US)
    close(ledger, NOW_US + SECOND_US)

    assert take(ledger, NOW_US + SECOND_US, most=2) == Wait(NOW_US + 5 * SECOND_US)
    assert take(ledger, NOW_US + 5 * SECOND_US, most=2) == Lease(1, "me")


def test_failures_are_counted_until_an_answer_comes(ledger: Ledger) -> None:
    for number in range(3):
        assert failures(ledger) == number
        close(ledger, NOW_US)
    with ledger.transaction() as transaction:
        slots.reached(transaction)
    assert failures(ledger) == 0
