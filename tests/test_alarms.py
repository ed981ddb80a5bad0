"""People are told what changed: a reason of rejections begins or is over, and silence; over real HTTP."""

from collections.abc import Callable, Iterator
from threading import Barrier, Thread

import pytest
from sqlalchemy import text

from receiver.domain.commands import Form
from receiver.inbound.rejections import How
from receiver.outbound import notices
from receiver.outbound.alarms import Alarms
from receiver.outbound.notices import Notices
from receiver.store import alarms as kept_alarms
from receiver.store.alarms import Alarm
from receiver.store.sets import Transaction
from receiver.store.tables import alarms, counters
from tests.inbox import Inbox, receiving
from tests.mending import HOUR_US, MINUTE_US, T0, Bench, bench, command, event, without_id
from tests.posting import person
from tests.rows import locked

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning:apprise")

SEE_THEM = "To see them: receiver rejections list PROJECT_TOKEN --reason "


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as inbox:
        yield inbox


@pytest.fixture
def desk(database_url: str, inbox: Inbox) -> Iterator[Bench]:
    """It begins at 08:55; callbacks are silent after two hours."""
    with bench(database_url, alert_urls=inbox.url, alert_silence_hours=2, max_commands=2) as desk:
        yield desk


@pytest.fixture
def watch(desk: Bench) -> Iterator[Alarms]:
    watch = Alarms(desk.engine, desk.post.settings)
    yield watch
    watch.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks all the time."""
    monkeypatch.setattr(notices, "_SECONDS", 0.01)
    monkeypatch.setattr(notices, "_ALARM_SECONDS", 0.01)


def news(inbox: Inbox) -> list[str]:
    """The lines that came since the last time."""
    lines = []
    for message in inbox.messages:
        title, *of_message = message.splitlines()
        assert title == "receiver: callbacks"
        lines += of_message
    inbox.messages.clear()
    return lines


def began(reason: str = "empty_customer_id", times: str = "once", last: str = "08:55") -> str:
    return (
        f"Project letters: callbacks are refused as {reason}, {times} since 2025-10-09T08:00Z,"
        f" the last one at 2025-10-09T{last}Z. {SEE_THEM}{reason}"
    )


def is_over(reason: str = "empty_customer_id", times: str = "once", last: str = "08:55") -> str:
    return (
        f"Project letters: no more callbacks are refused as {reason}."
        f" It was {times} since 2025-10-09T08:00Z, the last one at 2025-10-09T{last}Z."
    )


# -- reasons --------------------------------------------------------------------------------------


def test_a_reason_is_told_of_when_it_begins_and_when_it_is_over_and_not_between(
    desk: Bench, watch: Alarms, inbox: Inbox
) -> None:
    desk.send(without_id())
    watch.look(T0 + MINUTE_US)
    assert news(inbox) == [began()]

    desk.send(without_id(), event(), without_id(event_type="other"), at_us=T0 + 50 * MINUTE_US)
    for minute in (51, 80, 109):
        watch.look(T0 + minute * MINUTE_US)
    assert news(inbox) == []

    for minute in (110, 111):
        watch.look(T0 + minute * MINUTE_US)
    assert news(inbox) == [is_over(times="3 times", last="09:45")]

    desk.send(without_id(), at_us=T0 + 130 * MINUTE_US)
    for minute in (130, 131):
        watch.look(T0 + minute * MINUTE_US)
    (line,) = news(inbox)
    assert "are refused as empty_customer_id, once since 2025-10-09T11:00Z" in line


def test_reasons_and_projects_are_told_of_apart_in_one_message(
    desk: Bench, watch: Alarms, inbox: Inbox
) -> None:
    desk.send(without_id(), b"no JSON")
    desk.project_id = desk.post.rows.begin_project()
    desk.send(without_id(), without_id(event_type="other"))

    watch.look(T0)

    assert len(inbox.messages) == 1
    assert news(inbox) == [began(), began("malformed_json"), began(times="2 times")]


def test_what_ended_before_anybody_looked_is_not_told(desk: Bench, watch: Alarms, inbox: Inbox) -> None:
    desk.send(without_id())

    watch.look(T0 + HOUR_US)

    assert news(inbox) == []


def test_no_message_holds_what_the_sender_wrote(desk: Bench, watch: Alarms, inbox: Inbox) -> None:
    desk.send(
        event(
            {"registered": "", "cookie": "anna"}, event_type="letterword", properties={"campaign": "spring"}
        ),
        event({"registered": "anna"}, properties={"streetword": "x" * 200_000}),
        event({"kindword": "anna"}),
        b'{"anna": ',
    )

    watch.look(T0)

    lines = news(inbox)
    assert len(lines) == 4
    for word in ("anna", "registered", "cookie", "kind", "street", "letterword", "spring", "xx", "/"):
        assert word not in "".join(lines).removesuffix("/")
    assert desk.post.rows.project.token not in "".join(lines)


def test_a_replay_begins_nothing(desk: Bench, watch: Alarms, inbox: Inbox) -> None:
    batch = {"commands": [command(without_id()), command(event()), command(without_id(event_type="other"))]}
    whole = desk.refused(batch, Form.BATCH)
    desk.replay(whole, how=How(names=("split-batch",)), at_us=T0 + MINUTE_US)
    watch.look(T0 + MINUTE_US)
    assert news(inbox) == [began("too_many_commands")]

    alone = desk.refused(without_id(event_type="third"), at_us=T0 + MINUTE_US)
    watch.look(T0 + MINUTE_US)
    assert len(news(inbox)) == 1
    for hours in (2, 4):
        desk.replay(alone, at_us=T0 + hours * HOUR_US)
        watch.look(T0 + hours * HOUR_US)
    assert [line for line in news(inbox) if "are refused as" in line and "no more" not in line] == []


# -- whom it reaches ------------------------------------------------------------------------------


def test_of_two_processes_one_tells(desk: Bench, watch: Alarms, inbox: Inbox) -> None:
    other = Alarms(desk.engine, desk.post.settings)
    desk.send(without_id())

    inbox.open.clear()
    slow = Thread(target=watch.look, args=(T0,))
    slow.start()
    assert inbox.asked.wait(30)
    other.look(T0)
    inbox.open.set()
    slow.join()
    assert news(inbox) == [began()]

    together = Barrier(2)

    def look(of_one: Callable[[int], None]) -> None:
        together.wait()
        of_one(T0 + HOUR_US)

    threads = [Thread(target=look, args=(each.look,)) for each in (watch, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert news(inbox) == [is_over()]


def test_what_could_not_be_sent_is_told_later_and_once(desk: Bench, watch: Alarms, inbox: Inbox) -> None:
    desk.send(without_id())
    for at_us, line in ((T0, began()), (T0 + HOUR_US, is_over())):
        inbox.status = 500
        watch.look(at_us)
        assert news(inbox) == []

        inbox.status = 200
        watch.look(at_us + MINUTE_US // 2)
        watch.look(at_us + MINUTE_US)
        assert news(inbox) == [line]


def test_what_began_and_ended_while_nobody_could_be_told_is_not_told(
    desk: Bench, watch: Alarms, inbox: Inbox
) -> None:
    desk.send(without_id())
    inbox.status = 500
    watch.look(T0)
    inbox.status = 200
    watch.look(T0 + HOUR_US)

    assert news(inbox) == []
    assert desk.post.query(alarms.select()) == []


def test_a_message_that_broke_is_told_later(
    desk: Bench, watch: Alarms, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.send(without_id())
    with monkeypatch.context() as broken:
        broken.setattr("apprise.Apprise.notify", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            watch.look(T0)

    watch.look(T0)
    assert news(inbox) == [began()]


@pytest.mark.parametrize("told", [False, True])
def test_another_one_tells_in_place_of_one_who_died_over_it(
    desk: Bench, watch: Alarms, inbox: Inbox, told: bool
) -> None:
    desk.send(without_id())
    looks_us = T0
    if told:
        watch.look(T0)
        looks_us = T0 + HOUR_US
        news(inbox)
    with desk.post.ledger.transaction() as transaction:
        alarm = Alarm(
            desk.project_id, "refused empty_customer_id", T0 - T0 % HOUR_US, told, looks_us + 10 * MINUTE_US
        )
        assert kept_alarms.take(transaction, alarm, looks_us)

    watch.look(looks_us + 9 * MINUTE_US)
    assert news(inbox) == []
    watch.look(looks_us + 10 * MINUTE_US)
    assert news(inbox) == [is_over() if told else began()]


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("sent", [False, True])
def test_who_took_too_long_spoils_nothing_for_the_one_who_took_over(
    desk: Bench, told: bool, sent: bool
) -> None:
    def do(work: Callable[[Transaction], object]) -> object:
        with desk.post.ledger.transaction() as transaction:
            return work(transaction)

    slow = Alarm(desk.project_id, "refused empty_customer_id", T0, False, T0 + 1)
    assert do(lambda transaction: kept_alarms.take(transaction, slow, T0))
    if told:
        do(lambda transaction: kept_alarms.settle(transaction, slow, sent=True))
        slow = slow._replace(told=True)
        assert do(lambda transaction: kept_alarms.take(transaction, slow, T0))
    assert not do(lambda transaction: kept_alarms.take(transaction, slow, T0))

    quick = slow._replace(telling_until_us=T0 + 2)
    assert do(lambda transaction: kept_alarms.take(transaction, quick, T0 + 1))
    do(lambda transaction: kept_alarms.settle(transaction, slow, sent=sent))
    with desk.engine.connect() as connection:
        assert kept_alarms.standing(connection) == [quick]


def test_nobody_is_told_where_no_url_is_set(database_url: str) -> None:
    with bench(database_url) as desk:
        desk.send(without_id())
        watch = Alarms(desk.engine, desk.post.settings)
        watch.look(T0)
        watch.close()

        assert desk.post.query(alarms.select()) == []


@pytest.mark.usefixtures("quick")
def test_the_service_looks_by_itself(database_url: str, inbox: Inbox) -> None:
    with bench(database_url, alert_urls=inbox.url, alert_silence_hours=1) as desk:
        desk.send(event())
        bell = Notices(desk.engine, desk.post.settings)
        bell.start()
        assert inbox.asked.wait(30)
        for thread in bell.stop():
            thread.join()

    assert news(inbox) == ["Project letters: no callback was heard since 2025-10-09T08:55Z."]


def test_while_nothing_changes_nobody_waits_for_a_writer(
    desk: Bench, watch: Alarms, inbox: Inbox, database_url: str
) -> None:
    desk.send(without_id())
    watch.look(T0)
    news(inbox)

    with locked(database_url):
        watch.look(T0 + MINUTE_US)

    assert news(inbox) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_but_projects_is_read_whole(desk: Bench) -> None:
    with desk.engine.connect() as connection:
        steps = [
            row[3]
            for query in (kept_alarms.RECENTLY_REFUSED, kept_alarms.HEARD)
            for row in connection.execute(
                text(f"EXPLAIN QUERY PLAN {query}"), {"hour_us": T0, "after_us": T0}
            )
        ]

    assert {step.split()[1] for step in steps if step.startswith("SCAN")} == {"p"}
    assert [step for step in steps if step.startswith("SEARCH")] == [
        "SEARCH h USING PRIMARY KEY (project_id=? AND hour_us>?)",
        "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH c USING PRIMARY KEY (project_id=? AND source=? AND hour_us=?)",
        "SEARCH h USING PRIMARY KEY (project_id=? AND source=?)",
        "SEARCH m USING INDEX ix_mailings_state (project_id=? AND state=?)",
    ]
    assert not any("ORDER BY" in step for step in steps[4:])


# -- silence --------------------------------------------------------------------------------------


def test_silence_and_its_end_are_told(desk: Bench, watch: Alarms, inbox: Inbox) -> None:
    desk.send(event(), at_us=T0 - MINUTE_US)
    desk.send(event(), at_us=T0)
    watch.look(T0 + 2 * HOUR_US - 1)
    assert news(inbox) == []

    for hours in (2, 3, 4):
        watch.look(T0 + hours * HOUR_US)
    assert news(inbox) == ["Project letters: no callback was heard since 2025-10-09T08:55Z."]

    desk.send(event(event_type="other"), at_us=T0 + 4 * HOUR_US)
    for hours in (4, 5):
        watch.look(T0 + hours * HOUR_US)
    assert news(inbox) == [
        "Project letters: callbacks are heard again; the last one came at 2025-10-09T12:55Z."
    ]

    watch.look(T0 + 6 * HOUR_US)
    assert news(inbox) == ["Project letters: no callback was heard since 2025-10-09T12:55Z."]


def test_who_never_heard_a_callback_waits_for_one_since_the_first_letter(
    desk: Bench, watch: Alarms, inbox: Inbox
) -> None:
    watch.look(T0)
    assert news(inbox) == []

    desk.post.intend(person("anna-1"))
    watch.look(T0 + 24 * HOUR_US)
    assert news(inbox) == []

    desk.post.change(state="queued", asked_us=T0)
    watch.look(T0 + 2 * HOUR_US - 1)
    assert news(inbox) == []
    for hours in (2, 3):
        watch.look(T0 + hours * HOUR_US)
    assert news(inbox) == [
        "Project letters: no callback was heard ever, though its first letter was sent at 2025-10-09T08:55Z."
    ]

    desk.send(event(), at_us=T0 + 3 * HOUR_US)
    watch.look(T0 + 3 * HOUR_US)
    assert len(news(inbox)) == 1


def test_a_replay_breaks_no_silence(desk: Bench, watch: Alarms, inbox: Inbox) -> None:
    refused = desk.refused(without_id())
    watch.look(T0 + 2 * HOUR_US)
    assert news(inbox) == ["Project letters: no callback was heard since 2025-10-09T08:55Z."]

    desk.replay(refused, at_us=T0 + 2 * HOUR_US, how=How(names=("drop-empty-ids",)))
    watch.look(T0 + 2 * HOUR_US)
    assert news(inbox) == []


def test_silence_is_nobodys_concern_unless_it_is_set(database_url: str, inbox: Inbox) -> None:
    with bench(database_url, alert_urls=inbox.url) as desk:
        desk.send(event())
        watch = Alarms(desk.engine, desk.post.settings)
        watch.look(T0 + 10_000 * HOUR_US)
        watch.close()

    assert news(inbox) == []


def test_a_clock_that_went_back_does_not_make_it_look_silent_earlier(desk: Bench) -> None:
    desk.send(event(), at_us=T0)
    desk.send(event(), at_us=T0 - MINUTE_US)

    assert [row.last_us for row in desk.post.query(counters.select())] == [T0]
