"""The main job of the relay: whatever breaks, Bloomreach has each event that we took, once, or once more as a
repeat that can be told as one; and the relay's own table says the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import DIALECTS
from tests.system.conftest import Installation
from tests.system.relaying import (
    LIST,
    REFUSED_ALONE,
    REFUSED_WHOLE,
    REFUSED_WORDS,
    Arrived,
    Table,
    Traffic,
    set_aside,
    table,
    wait_until_nothing_waits,
)
from tests.system.service import Service, free_port
from tests.system.simulated_bloomreach import Bloomreach, bloomreach
from tests.waiting import wait_until

PAGE = 500
"""So many events are sent again at most where a process is killed."""

REQUEST = 50

KEPT_UNSAID = (
    "short",
    *(f"keep-then-{how}" for how in ("500", "502", "503", "429", "garbage", "cut", "reset")),
)
"""After these Bloomreach has the events, and has not said so."""

EVERY_WAY = (
    *KEPT_UNSAID,
    *("500", "502", "503", "503-retry", "429", "429-retry", "garbage", "cut", "reset", "hang"),
    *("shuffled", "refuse-whole"),
)


@pytest.fixture(params=DIALECTS)
def fresh(request: pytest.FixtureRequest) -> Installation:
    """A database of the test's own, of each kind."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation


@contextmanager
def relaying(
    folder: Path, fresh: Installation, far_side: Bloomreach, **settings: object
) -> Iterator[Service]:
    """A service that relays to *far_side*, and admits no fault of its own."""
    with Service(folder, *fresh, settings={**far_side.settings, **settings}) as service:
        yield service
    assert '"relay_failed"' not in service.log


# -- the main job ---------------------------------------------------------------------------------


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("fresh", "lists"), [("sqlite", 100), ("postgresql", 30)], indirect=["fresh"])
def test_whatever_breaks_each_event_arrives_once_or_as_a_repeat(
    fresh: Installation, lists: int, tmp_path: Path
) -> None:
    traffic = Traffic(fresh)
    with bloomreach(tmp_path) as far_side, relaying(tmp_path, fresh, far_side) as service:
        far_side.trouble(poison={REFUSED_ALONE: REFUSED_WORDS}, poison_whole=[REFUSED_WHOLE])
        with traffic.sending(service, range(lists // 2)):
            _fail_at_random(far_side)
            _kill_before_the_answer(service, far_side)
        with traffic.sending(service, range(lists // 2, lists)):
            for fault in EVERY_WAY:
                far_side.meet(fault)
            _go_away_for_a_while(service, far_side)
            _revoke_the_key_and_give_it_back(service, far_side)
            _kill_at_full_speed(service, far_side)
        wait_until_nothing_waits(fresh.database_url)

        _assert_bloomreach_was_treated_well(far_side)
        arrived = Arrived(far_side)
        arrived.assert_complete(traffic, fresh.database_url, refused=traffic.refused)
        arrived.assert_in_order()
        assert 0 < arrived.repeats <= 2 * PAGE + REQUEST * _kept_unsaid(far_side)
        assert set_aside(fresh.database_url) == traffic.refused
        refused = len(traffic.refused)
        given = lists * (LIST + 1)
        assert table(fresh.database_url) == Table(given, sent=given - refused, set_aside=refused)


def _fail_at_random(far_side: Bloomreach) -> None:
    """Every twentieth request goes wrong, in any of the ways that cost nobody a time-out."""
    far_side.trouble(chance=0.05, seed=7)
    wait_until(lambda: sum(far_side.state()["spoiled"].values()) >= 6, "six requests went wrong", seconds=60)
    far_side.trouble(chance=0)


def _kill_before_the_answer(service: Service, far_side: Bloomreach) -> None:
    """Bloomreach has the events of a request, and the relay does not know."""
    far_side.trouble(faults=["keep-then-hang"])
    wait_until(lambda: far_side.state()["spoiled"].get("keep-then-hang"), "Bloomreach hangs")
    service.kill()
    service.start()
    # Not before the right to relay, which the killed one held, is over.
    far_side.go_on()


def _go_away_for_a_while(service: Service, far_side: Bloomreach) -> None:
    """Long enough for the relay to ask with one command only."""
    far_side.trouble(outage=True)
    spoiled = far_side.state()["spoiled"].get("outage", 0)
    wait_until(lambda: far_side.state()["spoiled"].get("outage", 0) >= spoiled + 3, "three in vain")
    before = far_side.state()
    far_side.trouble(outage=False)
    far_side.go_on(LIST)
    assert far_side.state()["commands_per_request"]["1"] > before["commands_per_request"].get("1", 0)
    assert '"relay_away"' in service.log
    assert '"relay_back"' in service.log


def _revoke_the_key_and_give_it_back(service: Service, far_side: Bloomreach) -> None:
    """Nobody tries it again and again; an operator mends it and starts the service anew."""
    far_side.access(revoked=True)
    wait_until(lambda: '"relay_denied"' in service.log, "the relay has stopped")
    far_side.access(revoked=False)
    service.stop()
    service.start()
    far_side.go_on()
    assert far_side.state()["denied"] == 1


def _kill_at_full_speed(service: Service, far_side: Bloomreach) -> None:
    far_side.go_on(PAGE)
    service.kill()
    service.start()


def _assert_bloomreach_was_treated_well(far_side: Bloomreach) -> None:
    state = far_side.state()
    assert state["breaches"] == 0, state["breaches_by"]
    assert state["worst_concurrency"] == 1
    assert state["turned_away"] == 0, "more than 6,000 a minute"
    assert state["most_in_a_minute"] <= 6000
    # Each refused event was told once, and once more with what was repeated.
    assert state["refusals"].keys() == {REFUSED_WORDS}
    assert state["spoiled"].keys() >= {*EVERY_WAY, "outage", "keep-then-hang"}


def _kept_unsaid(far_side: Bloomreach) -> int:
    spoiled = far_side.state()["spoiled"]
    return sum(spoiled[fault] for fault in KEPT_UNSAID)


# -- one thing at a time --------------------------------------------------------------------------


def test_a_service_that_is_told_to_end_relays_nothing_twice(fresh: Installation, tmp_path: Path) -> None:
    traffic = Traffic(fresh)
    with (
        bloomreach(tmp_path) as far_side,
        relaying(tmp_path, fresh, far_side, bloomreach_seconds=100) as service,
    ):
        with traffic.sending(service, range(8)):
            for events in (500, 2000):
                far_side.wait_for(events=events)
                service.stop()
                service.start()
                # Long before anybody could believe the one before it dead.
                far_side.go_on()
        wait_until_nothing_waits(fresh.database_url)

        arrived = Arrived(far_side)
        arrived.assert_complete(traffic, fresh.database_url, refused={})
        arrived.assert_in_order()
        assert arrived.repeats == 0
        assert far_side.state()["worst_concurrency"] == 1


def test_of_two_services_one_relays_and_the_other_takes_over_when_it_is_killed(
    postgresql: Installation, tmp_path: Path
) -> None:
    traffic = Traffic(postgresql)
    with (
        bloomreach(tmp_path) as far_side,
        relaying(tmp_path, postgresql, far_side) as one,
        relaying(tmp_path, postgresql, far_side) as other,
    ):
        # So slow that much is left when one of them dies.
        far_side.trouble(latency=0.05)
        traffic.send(one, range(8))
        wait_until(lambda: _relayed(one) + _relayed(other), "one of them relays")
        [relays] = [each for each in (one, other) if _relayed(each)]
        relays.kill()
        far_side.trouble(latency=0)
        wait_until_nothing_waits(postgresql.database_url)

        [takes_over] = {one, other} - {relays}
        assert _relayed(takes_over) > 0
        arrived = Arrived(far_side)
        arrived.assert_complete(traffic, postgresql.database_url, refused={})
        arrived.assert_in_order()
        assert arrived.repeats <= PAGE
        assert far_side.state()["worst_concurrency"] == 1


def _relayed(service: Service) -> float:
    return service.metrics().get(("receiver_relayed_total", "sent"), 0)


def test_bloomreach_may_be_down_when_the_service_starts(fresh: Installation, tmp_path: Path) -> None:
    traffic, port = Traffic(fresh), free_port()
    nobody = Bloomreach(f"http://127.0.0.1:{port}")
    with relaying(tmp_path, fresh, nobody) as service:
        traffic.send(service, range(2))
        wait_until(lambda: '"relay_away"' in service.log, "that is told")
        given = 2 * (LIST + 1)
        assert table(fresh.database_url) == Table(given, waiting=given)
        assert service.ready
        with bloomreach(tmp_path, port=port) as far_side:
            wait_until_nothing_waits(fresh.database_url)

            arrived = Arrived(far_side)
            arrived.assert_complete(traffic, fresh.database_url, refused={})
            assert arrived.repeats == 0
            wait_until(lambda: '"relay_back"' in service.log, "that is told too")


def test_a_bloomreach_that_takes_less_than_it_says_is_asked_less(fresh: Installation, tmp_path: Path) -> None:
    traffic = Traffic(fresh)
    with (
        bloomreach(tmp_path, "--per-second", "20") as far_side,
        relaying(tmp_path, fresh, far_side) as service,
    ):
        traffic.send(service, range(4))
        wait_until_nothing_waits(fresh.database_url)

        arrived = Arrived(far_side)
        arrived.assert_complete(traffic, fresh.database_url, refused={})
        arrived.assert_in_order()
        # What is turned away is dropped.
        assert arrived.repeats == 0
        state = far_side.state()
        assert 0 < state["turned_away"] < state["requests"] / 4


def test_what_a_service_takes_that_cannot_relay_is_relayed_by_one_that_can(
    fresh: Installation, tmp_path: Path
) -> None:
    before, traffic = Traffic(fresh), Traffic(fresh)
    with bloomreach(tmp_path) as far_side:
        with Service(tmp_path, *fresh) as service:
            before.send(service, [0])
        assert table(fresh.database_url) == Table(given=0)
        with relaying(tmp_path, fresh, far_side):
            pass
        with Service(tmp_path, *fresh) as service:
            traffic.send(service, [1, 2])
        given = 2 * (LIST + 1)
        assert table(fresh.database_url) == Table(given, waiting=given)
        with relaying(tmp_path, fresh, far_side):
            wait_until_nothing_waits(fresh.database_url)

        # Those from before the relay was switched on are not among them.
        Arrived(far_side).assert_complete(traffic, fresh.database_url, refused={})
        assert table(fresh.database_url) == Table(given, sent=given)
