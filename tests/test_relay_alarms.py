"""People are told when the relay is stopped, behind, or has set something aside, and when that is over."""

from collections.abc import Iterator

import pytest

from receiver.domain.moments import iso
from receiver.outbound.alarms import Alarms
from receiver.store import outbox, relay_pump, set_aside
from receiver.store.alarms import Alarm
from receiver.store.outbox import Reason, SetAside
from receiver.store.tables import alarms
from tests.inbox import Inbox, receiving
from tests.mending import HOUR_US, MINUTE_US, SECOND_US, T0, without_id
from tests.relaying import Clock, Station, numbered, run, run_through, standing_still, station
from tests.simulated_bloomreach import BloomreachInThread

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning:apprise")

OF_KEY = "Bloomreach says “Access key not found”; see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET."
NOBODY = (
    "Nobody relays: start the service with all four settings RECEIVER_BLOOMREACH_*, or `receiver relay run`."
)
NOTHING = "Nothing waits for it."
TITLE = "receiver: relay"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Of who relays; people look when it is that time."""
    clock = standing_still(monkeypatch)
    clock.now_us = T0
    return clock


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as inbox:
        yield inbox


@pytest.fixture
def at(database_url: str, far: BloomreachInThread, inbox: Inbox) -> Iterator[Station]:
    """Callbacks come at 08:55, and are behind after a quarter of an hour."""
    with station(database_url, far, alert_urls=inbox.url, relay_alert_minutes=15) as at:
        yield at


@pytest.fixture
def watch(at: Station) -> Iterator[Alarms]:
    watch = Alarms(at.engine, at.post.settings)
    yield watch
    watch.close()


def news(inbox: Inbox, title: str = TITLE) -> list[str]:
    """The lines about the project that came since the last time."""
    lines = []
    for message in inbox.messages:
        its_title, *of_message = message.splitlines()
        assert its_title == title
        lines += [line.removeprefix("Project letters: ") for line in of_message]
    inbox.messages.clear()
    return lines


def waiting(number: int, since_us: int = T0) -> str:
    what = "1 command waits" if number == 1 else f"{number} commands wait"
    return f"{what} for it, the oldest since {iso(since_us)[:16]}Z; nothing is lost."


def set_some_aside(at: Station, *ids: int, words: str = "anna is too old") -> None:
    refused = [SetAside(each, Reason.REFUSED, words) for each in ids]
    at.change(lambda transaction: outbox.settle(transaction, [], refused, [], T0))


# -- Bloomreach turns us away ---------------------------------------------------------------------


def test_it_is_told_that_the_relay_has_stopped_and_that_it_goes_on(
    at: Station, far: BloomreachInThread, clock: Clock, watch: Alarms, inbox: Inbox
) -> None:
    far.access(revoked=True)
    relay = at.relay()
    run(relay)
    watch.look(clock.now_us)
    assert news(inbox) == []  # nothing waits

    at.take(1, 2)
    run(relay)
    watch.look(clock.now_us)
    assert news(inbox) == [f"the relay to Bloomreach has stopped. {OF_KEY} {waiting(2)}"]

    for _ in range(2):
        clock.advance(300)
        run(relay)
        watch.look(clock.now_us)
    assert news(inbox) == []

    far.access(revoked=False)
    run_through(relay, clock)
    for _ in range(2):
        watch.look(clock.now_us)
    assert news(inbox) == [f"the relay to Bloomreach is stopped no more. {NOTHING}"]


def test_who_cannot_reach_bloomreach_does_not_know_that_it_is_stopped_no_more(
    at: Station, far: BloomreachInThread, clock: Clock, watch: Alarms, inbox: Inbox
) -> None:
    far.access(revoked=True)
    at.take(1)
    relay = at.relay()
    run(relay)
    watch.look(clock.now_us)
    assert len(news(inbox)) == 1

    far.trouble(outage=True)
    clock.advance(300)
    run(relay)
    assert not at.pump().stopped
    watch.look(clock.now_us)
    assert news(inbox) == []

    far.trouble(outage=False)
    clock.advance(300)
    run(relay)
    assert at.pump().stopped
    watch.look(clock.now_us)
    assert news(inbox) == []


# -- it takes too long ----------------------------------------------------------------------------


def test_it_is_told_that_nobody_relays_and_that_it_keeps_up_again(
    at: Station, clock: Clock, watch: Alarms, inbox: Inbox
) -> None:
    at.take(1, 2, 3)
    watch.look(T0 + 15 * MINUTE_US)
    assert news(inbox) == []

    for minute in (16, 17, 60):
        watch.look(T0 + minute * MINUTE_US)
    assert news(inbox) == [f"the relay to Bloomreach is behind. {waiting(3)} {NOBODY}"]

    clock.now_us = T0 + HOUR_US
    run(at.relay())
    for minute in (61, 62):
        watch.look(T0 + minute * MINUTE_US)
    assert news(inbox) == [f"the relay to Bloomreach keeps up again. {NOTHING}"]


def test_who_is_behind_because_bloomreach_is_away_is_told_so(
    at: Station, far: BloomreachInThread, clock: Clock, watch: Alarms, inbox: Inbox
) -> None:
    at.take(1)
    clock.now_us = T0 + 16 * MINUTE_US
    far.trouble(outage=True)
    run(at.relay())

    watch.look(clock.now_us)

    assert news(inbox) == [
        f"the relay to Bloomreach is behind. {waiting(1)} Bloomreach cannot take it now (503)."
    ]


def test_it_keeps_up_when_the_oldest_has_waited_for_half_of_the_time(
    at: Station, watch: Alarms, inbox: Inbox
) -> None:
    first = at.take(1)
    at.send(numbered(2), at_us=T0 + 20 * MINUTE_US)
    watch.look(T0 + 21 * MINUTE_US)
    assert len(news(inbox)) == 1

    at.change(lambda transaction: outbox.settle(transaction, first, [], [], T0))
    watch.look(T0 + 28 * MINUTE_US)
    assert news(inbox) == []
    watch.look(T0 + 27 * MINUTE_US)
    since_us = T0 + 20 * MINUTE_US
    assert news(inbox) == [f"the relay to Bloomreach keeps up again. {waiting(1, since_us)}"]


def test_what_waits_is_late_only_while_the_relay_is_on(at: Station, watch: Alarms, inbox: Inbox) -> None:
    at.take(1)
    at.change(outbox.switch_off)
    watch.look(T0 + HOUR_US)
    assert news(inbox) == []

    at.change(outbox.switch_on)
    watch.look(T0 + HOUR_US)
    assert len(news(inbox)) == 1

    at.change(outbox.switch_off)
    watch.look(T0 + HOUR_US)
    assert news(inbox) == [f"the relay to Bloomreach was switched off. {waiting(1)}"]


# -- what was set aside ---------------------------------------------------------------------------


def test_it_is_told_that_something_was_set_aside_without_the_words_about_it(
    at: Station, far: BloomreachInThread, clock: Clock, watch: Alarms, inbox: Inbox
) -> None:
    far.trouble(poison={"bad": "c-1 is a word of the vendor"})
    at.send(numbered(1, properties={"x": "bad"}), numbered(2))
    run(at.relay())
    for _ in range(2):
        watch.look(T0)
    assert news(inbox) == [
        "1 command was set aside and not relayed to Bloomreach. To see why: receiver relay status"
    ]

    ((number, _, words),) = at.aside()
    assert words == "c-1 is a word of the vendor"
    set_some_aside(at, *at.take(3))
    watch.look(T0)
    assert news(inbox) == []

    far.trouble(poison={})
    at.put_back(number, at_us=T0)
    watch.look(T0)
    assert news(inbox) == []
    assert len(at.aside()) == 1
    at.change(lambda transaction: set_aside.discard(transaction, [at.aside()[0][0]], T0))
    watch.look(T0)
    assert news(inbox) == ["nothing is set aside any more that was to be relayed to Bloomreach."]


def test_many_are_told_with_their_number(at: Station, watch: Alarms, inbox: Inbox) -> None:
    set_some_aside(at, *at.take(1, 2, 3))

    watch.look(T0)

    assert news(inbox) == [
        "3 commands were set aside and not relayed to Bloomreach. To see why: receiver relay status"
    ]


# -- beside each other ----------------------------------------------------------------------------


def test_callbacks_and_the_relay_are_told_of_in_one_message(at: Station, watch: Alarms, inbox: Inbox) -> None:
    set_some_aside(at, *at.take(1))
    at.send(without_id())

    watch.look(T0)

    refused, aside = news(inbox, "receiver: callbacks and relay")
    assert refused.startswith("callbacks are refused as empty_customer_id, once")
    assert aside.startswith("1 command was set aside")


def test_a_reason_and_the_relay_are_over_each_by_itself(at: Station, watch: Alarms, inbox: Inbox) -> None:
    set_some_aside(at, *at.take(1))
    at.send(without_id())
    watch.look(T0)
    inbox.messages.clear()

    watch.look(T0 + HOUR_US)

    (over,) = news(inbox, "receiver: callbacks")
    assert over.startswith("no more callbacks are refused as empty_customer_id")
    assert [subject for (_, subject, *_) in at.post.query(alarms.select())] == ["relay set aside"]


def test_only_projects_of_which_something_waits_are_told_of(at: Station, watch: Alarms, inbox: Inbox) -> None:
    until_us = T0 + SECOND_US
    at.change(lambda each: relay_pump.close(each, "No.", T0, until_us, failures=1, stopped=True))
    at.project_id = at.post.rows.begin_project()
    at.take(1)

    watch.look(T0)

    assert news(inbox) == [f"the relay to Bloomreach has stopped. No. {waiting(1)}"]
    assert [project for (project, *_) in at.post.query(alarms.select())] == [at.project_id]


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ("refused malformed_json", "malformed_json"),
        ("silence", None),
        ("relay stopped", None),
        ("relay behind", None),
        ("relay set aside", None),
    ],
)
def test_an_alarm_has_a_reason_where_it_is_about_rejections(subject: str, reason: str | None) -> None:
    assert Alarm(1, subject, T0, True, 0).reason == reason
