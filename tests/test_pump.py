"""The service sends what came through the gateway, right after it is on disk, on both databases."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.outbound import pump as pump_module
from receiver.outbound.pump import Pump
from receiver.store.engine import connect
from tests.posting import Post, person, posting
from tests.rows import locked
from tests.simulated import SimulatedOptilyz, simulated_optilyz
from tests.waiting import wait_until


@contextmanager
def pumping(post: Post, **settings: Any) -> Iterator[Pump]:
    engine = connect(post.settings.database_url, wait_seconds=0.2)
    pump = Pump(engine, post.settings.model_copy(update=settings))
    pump.start()
    try:
        yield pump
    finally:
        asyncio.run(pump.stop())
        engine.dispose()


def _are_sent(post: Post, number: int) -> bool:
    return post.states() == {"queued": number}


def through_the_gateway(post: Post, number: int = 1) -> None:
    people = [person("anna", houseNumber=str(each + 1)) for each in range(number)]
    post.intend(*people, run_id=None, once=False)


def test_a_letter_is_sent_when_the_pump_is_woken(
    post: Post, optilyz: SimulatedOptilyz, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump_module, "_IDLE_SECONDS", 3600.0)
    with pumping(post) as pump:
        for number in (1, 2):
            through_the_gateway(post)
            pump.wake()
            wait_until(partial(_are_sent, post, number))

    assert optilyz.state()["queued"] == 2


def test_letters_of_another_process_and_those_of_before_the_start_are_sent(
    post: Post, optilyz: SimulatedOptilyz
) -> None:
    through_the_gateway(post, 3)
    with pumping(post):
        wait_until(lambda: post.states() == {"queued": 3})
        through_the_gateway(post)
        wait_until(lambda: post.states() == {"queued": 4})


def test_letters_of_a_file_are_left_to_their_own_command(post: Post, optilyz: SimulatedOptilyz) -> None:
    post.intend(person("bert"))
    with pumping(post) as pump:
        through_the_gateway(post)
        pump.wake()
        wait_until(lambda: post.states() == {"queued": 1, "intended": 1})

    assert optilyz.state()["queued"] == 1


def test_two_processes_send_each_letter_once(post: Post, optilyz: SimulatedOptilyz) -> None:
    with pumping(post, optilyz_concurrency=2) as one, pumping(post, optilyz_concurrency=2) as other:
        for _ in range(5):
            through_the_gateway(post, 4)
            one.wake()
            other.wake()
        wait_until(lambda: post.states() == {"queued": 20})

    state = optilyz.state()
    assert (state["queued"], state["turned_away"]) == (20, 0)
    assert state["worst_concurrency"] <= 2
    assert {each.attempts for each in post.letters()} == {1}


def test_the_pump_outlives_an_outage_of_the_database(
    post: Post, optilyz: SimulatedOptilyz, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.outbound.tireless._TROUBLE_SECONDS", 0.05)
    through_the_gateway(post)
    with capture_logs() as logs, ExitStack() as stack:
        with locked(post.settings.database_url):
            stack.enter_context(pumping(post))
            wait_until(lambda: [each["event"] for each in logs] == ["sending_failed"])
        wait_until(lambda: post.states() == {"queued": 1})

    assert optilyz.state()["queued"] == 1


def test_optilyz_away_and_back_is_logged_once_each_and_letters_wait(
    post: Post, optilyz: SimulatedOptilyz
) -> None:
    optilyz.fail("429", "429")
    with capture_logs() as logs, pumping(post) as pump:
        through_the_gateway(post)
        pump.wake()
        wait_until(lambda: post.states() == {"queued": 1})
        wait_until(lambda: len(logs) == 2)

    assert [each["event"] for each in logs] == ["optilyz_away", "optilyz_back"]


def test_a_pump_without_a_key_leaves_letters_for_later(post: Post, optilyz: SimulatedOptilyz) -> None:
    through_the_gateway(post)
    with pumping(post, optilyz_api_key=None) as pump:
        pump.wake()
    assert post.states() == {"intended": 1}
    with pumping(post):
        wait_until(lambda: post.states() == {"queued": 1})


def test_a_pump_that_is_stopped_has_written_down_what_was_under_way(database_url: str) -> None:
    with (
        simulated_optilyz(latency=0.4) as optilyz,
        posting(database_url, optilyz.url, optilyz_batch_size=1) as post,
    ):
        through_the_gateway(post, 3)
        with pumping(post):
            wait_until(lambda: post.states() == {"asked": 1, "intended": 2})

        assert post.states() == {"queued": 1, "intended": 2}
        assert optilyz.state()["queued"] == 1
