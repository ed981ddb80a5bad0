"""The task of the service that relays in the background, on both databases."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver import telemetry
from receiver.outbound import relay_thread as relay_thread_module
from receiver.outbound.relay import Away, Held, Idle, Relayed, Stopped
from receiver.outbound.relay_thread import RelayThread, pause_after
from receiver.store import outbox, relay_pump, reports
from receiver.store.engine import connect
from tests.relaying import Books, Station
from tests.rows import locked
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_thread_module, "_IDLE_SECONDS", 0.02)
    monkeypatch.setattr("receiver.outbound.tireless._TROUBLE_SECONDS", 0.02)
    monkeypatch.setattr(relay_thread_module, "_LOOK_SECONDS", 0.02)


@contextmanager
def relaying(at: Station, **of_settings: Any) -> Iterator[RelayThread]:
    engine = connect(at.post.settings.database_url, wait_seconds=0.2)
    thread = RelayThread(engine, at.post.settings.model_copy(update=of_settings))
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
        engine.dispose()


def is_on(at: Station) -> bool:
    with reports.reading(at.engine) as connection:
        return outbox.is_on(connection)


def told(logs: list[Any]) -> list[str]:
    return [each["event"] for each in logs if each["event"].startswith("relay_")]


def test_it_relays_until_it_is_stopped_and_gives_the_lease_back(at: Station) -> None:
    at.take_many(120)
    with relaying(at):
        wait_until(lambda: at.books().sent == 120)
        at.take(1000)
        wait_until(lambda: at.books().sent == 121)

    assert at.there() == at.here()
    assert at.pump().until_us == 0
    assert at.pump().owner is not None


def test_to_start_switches_it_on_and_opens_the_door(at: Station) -> None:
    at.take(1)
    at.change(outbox.switch_off)
    at.change(lambda t: relay_pump.close(t, "See it.", 5, 2**60, failures=1, stopped=True))

    with relaying(at, relay_in_service=False) as thread:
        assert is_on(at)
        assert at.pump().open_us == 0
        assert thread._thread is None
        at.take(2)

    assert at.books() == Books(given=2, waiting=2)


@pytest.mark.parametrize("missing", ["base_url", "project_token", "key_id", "secret"])
def test_without_all_four_settings_nothing_happens(at: Station, missing: str) -> None:
    at.change(outbox.switch_off)
    with relaying(at, **{f"bloomreach_{missing}": None}):
        assert not is_on(at)
        at.take(1)
    assert at.outbox() == []
    assert at.far.state()["requests"] == 0


def test_two_of_them_send_everything_once(at: Station) -> None:
    at.take_many(300)
    with relaying(at), relaying(at):
        at.take_many(300, event_type="second")
        wait_until(lambda: at.books().waiting == 0)

    assert at.there() == at.here()
    assert at.far.state()["worst_concurrency"] == 1


def test_each_trouble_is_told_once_and_its_end(at: Station) -> None:
    at.take(1)
    at.far.trouble(outage=True)
    with capture_logs() as logs, relaying(at):
        wait_until(lambda: "relay_away" in told(logs))
        at.far.access(revoked=True)
        at.far.trouble(outage=False)
        at.change(relay_pump.open_now)
        wait_until(lambda: "relay_denied" in told(logs))
        at.far.access(revoked=False)
        at.change(relay_pump.open_now)
        wait_until(lambda: "relay_back" in told(logs))
        at.take(2)
        wait_until(lambda: at.books().sent == 2)

    assert told(logs) == ["relay_away", "relay_denied", "relay_back"]
    assert all(
        each["log_level"] == "error" for each in logs if each["event"] in ("relay_away", "relay_denied")
    )


def test_it_goes_on_when_the_database_is_back(at: Station) -> None:
    with capture_logs() as logs, relaying(at):
        soon_us = time.time_ns() // 1000 + 2_000_000
        at.change(lambda t: relay_pump.close(t, "Soon.", 5, soon_us, failures=1, stopped=False))
        at.take(1)
        with locked(at.post.settings.database_url):
            # It may ask, and has to write that it does.
            wait_until(lambda: "relay_failed" in told(logs))
        wait_until(lambda: at.books().sent == 1)

    assert at.there() == at.here()
    assert [each["log_level"] for each in logs if each["event"] == "relay_failed"] == ["warning"]


def test_an_error_that_nobody_expected_is_told_once_and_does_not_end_it(
    at: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("erika@example.org")

    settle = outbox.settle
    monkeypatch.setattr(outbox, "settle", fail)
    at.take(1, who="erika@example.org")
    with caplog.at_level(logging.DEBUG), capture_logs() as logs, relaying(at):
        wait_until(lambda: at.far.state()["requests"] > 3)
        monkeypatch.setattr(outbox, "settle", settle)
        wait_until(lambda: at.books().sent == 1)

    assert told(logs) == ["relay_failed"]
    assert "erika" not in f"{logs} {caplog.text}"
    assert len(set(at.there())) == 1


def test_the_metrics_tell_what_waits_and_since_when(at: Station) -> None:
    at.far.trouble(outage=True, poison={"bad": "Bad"})
    now_us = time.time_ns() // 1000
    at.send({"customer_ids": {"registered": "c-1"}, "event_type": "x"}, at_us=now_us - 90_000_000)
    at.take(1)

    def told() -> tuple[float, float]:
        return telemetry.RELAY_WAITING._value.get(), telemetry.RELAY_AGE._value.get()

    with relaying(at):
        wait_until(lambda: told()[0] == 2 and told()[1] >= 90)
        at.far.trouble(outage=False)
        at.change(relay_pump.open_now)
        wait_until(lambda: told() == (0, 0))


def test_it_stops_at_once_while_it_waits(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_thread_module, "_IDLE_SECONDS", 3600.0)
    with relaying(at) as thread:
        thread.stop()
        assert thread._thread is not None
        assert not thread._thread.is_alive()


def test_a_stop_in_the_middle_of_a_page_loses_and_repeats_nothing(at: Station) -> None:
    at.take_many(400)
    at.far.trouble(latency=0.05)
    with relaying(at):
        wait_until(lambda: at.far.state()["events"] >= 50)
    books = at.books()
    assert 0 < books.sent < 400
    assert at.there() == at.here()[: books.sent]
    at.far.trouble(latency=0.0)

    with relaying(at):
        wait_until(lambda: at.books().sent == 400)

    assert at.there() == at.here()


def test_it_looks_again_soon_whatever_it_was_told() -> None:
    now_us = time.time_ns() // 1000
    assert pause_after(Relayed(500, 0)) == 0
    assert 0 < pause_after(Idle()) <= 1
    for until_us in (0, now_us, now_us + 10, now_us + 10**12):
        for step in (Held(until_us), Away(until_us, "x"), Stopped(until_us, "x")):
            assert 0 < pause_after(step) <= 1


# -- receiving goes first ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "idle", "pause"),
    [
        (0.0, 1.0, 0.0),  # nobody else is at work
        (0.4, 0.6, 0.0),  # there is room for both
        (0.7, 0.9, 0.2),  # the core is nearly used up: a tenth of it is left
        (0.1, 0.1, 0.2),  # the writer is busy, though it computes little
        (0.9, 0.5, 1.4),  # nothing is left
        (0.0, 0.0, 1.4),
    ],
)
def test_relaying_pauses_as_long_as_others_need_the_core(
    monkeypatch: pytest.MonkeyPatch, others: float, idle: float, pause: float
) -> None:
    now, own, process, idled = 0.0, 0.0, 0.0, 0.0
    clocks = SimpleNamespace(monotonic=lambda: now, process_time=lambda: process, thread_time=lambda: own)
    monkeypatch.setattr(relay_thread_module, "time", clocks)
    courtesy = relay_thread_module.Courtesy(lambda: idled)

    paused = 0.0
    for _ in range(5):  # the pause goes into the time that the next share is of
        work, cpu = 0.1, 0.03
        now += paused + work
        own += cpu
        process += cpu + others * (paused + work)
        idled += idle * (paused + work)
        paused = courtesy.pause()
        assert paused == pytest.approx(pause, abs=1e-9)
