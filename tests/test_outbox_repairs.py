"""What was set aside is put back or let go, and what never was given is filled in, on both databases."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import select

from receiver.domain.commands import Form
from receiver.inbound.rejections import How
from receiver.outbound import outbox_repairs
from receiver.store import outbox, relay_pump, reports, set_aside
from receiver.store.outbox import Reason, SetAside
from receiver.store.relay_status import Aside
from receiver.store.set_aside import WhichAside
from receiver.store.sets import Ledger
from receiver.store.tables import events, outbox_spans
from tests.mending import MINUTE_US, T0, event, in_milliseconds
from tests.posting import person
from tests.relaying import Books, Station, numbered, run, station, update
from tests.simulated_bloomreach import BloomreachInThread

ALL = WhichAside()
SOURCES = ("callback", "replayed")
SECONDS = How(names=("milliseconds-to-seconds",))


def few_together(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """So many rows are all that one transaction takes on."""
    monkeypatch.setattr(outbox, "MOST_TOGETHER", number)


def enough(reports_to_come: int, stop: threading.Event) -> Callable[[int], None]:
    """Sets *stop* after so many reports."""
    heard: list[int] = []

    def report(number: int) -> None:
        heard.append(number)
        if len(heard) == reports_to_come:
            stop.set()

    return report


# -- what was set aside ---------------------------------------------------------------------------


class Refusing:
    """Five commands of one project that were set aside, and one of another project."""

    def __init__(self, at: Station) -> None:
        self.at = at
        no_campaign = event({"registered": "c-2"}, event_type="other", properties={"a": 1})
        self.first, self.second, self.other = (
            verdict.row_id for verdict in at.send(numbered(1001), numbered(1002), no_campaign)
        )
        posted = {"status": "posted", "campaign_id": "winback"}
        (self.of_campaign,) = (each.row_id for each in at.send(event(properties=posted)))
        at.send(update("c-3", city="Dresden"), form=Form.UPDATE)
        self.update = at.waiting()[-1]
        self.set_aside(self.first, Reason.REFUSED, "Too old.", T0)
        self.set_aside(self.second, Reason.REFUSED, "Too odd.", T0 + MINUTE_US)
        self.set_aside(self.other, Reason.UNREADABLE, "Too old.", T0 + 2 * MINUTE_US)
        self.set_aside(self.of_campaign, Reason.REFUSED, "Too old.", T0 + 3 * MINUTE_US)
        self.set_aside(self.update, Reason.NO_CUSTOMER_ID, "Nobody.", T0 + 4 * MINUTE_US)

    def set_aside(self, number: int, reason: Reason, message: str, at_us: int) -> None:
        refused = [SetAside(number, reason, message)]
        self.at.change(lambda transaction: outbox.settle(transaction, [], refused, [], at_us))

    def numbers(self, wanted: WhichAside) -> list[int]:
        """As a page shows them, the newest first; that they are counted alike is seen to."""
        with reports.reading(self.at.engine) as connection:
            rows = set_aside.aside_page(connection, self.at.project_id, wanted, after=None, limit=100)
            assert set_aside.how_many(connection, self.at.project_id, wanted) == len(rows)
        return [row.id for row in rows]

    def retry(self, wanted: WhichAside, **how: Any) -> int:
        return self._decide(outbox_repairs.retry, wanted, how)

    def discard(self, wanted: WhichAside, **how: Any) -> int:
        return self._decide(outbox_repairs.discard, wanted, how)

    def _decide(self, decide: Callable[..., int], wanted: WhichAside, how: dict[str, Any]) -> int:
        with closing(Ledger(self.at.engine)) as ledger:
            return decide(self.at.engine, ledger, self.at.project_id, wanted, **how)


@pytest.fixture
def refusing(at: Station) -> Refusing:
    return Refusing(at)


FILTERS = [
    (ALL, ["update", "of_campaign", "other", "second", "first"]),
    (WhichAside(reason="refused"), ["of_campaign", "second", "first"]),
    (WhichAside(message="Too old."), ["of_campaign", "other", "first"]),
    (WhichAside(message="Too old"), []),
    (WhichAside(event_type="other"), ["other"]),
    (WhichAside(campaign="winback"), ["of_campaign"]),
    (WhichAside(since_us=T0 + 2 * MINUTE_US), ["update", "of_campaign", "other"]),
    (WhichAside(until_us=T0 + 2 * MINUTE_US), ["second", "first"]),
    (WhichAside("refused", "Too old.", "campaign", None, T0 + MINUTE_US), ["of_campaign"]),
]


@pytest.mark.parametrize(("wanted", "names"), FILTERS)
def test_each_filter_finds_puts_back_and_lets_go_of_the_same_ones(
    refusing: Refusing, wanted: WhichAside, names: list[str]
) -> None:
    wanted_numbers = [getattr(refusing, name) for name in names]

    assert refusing.numbers(wanted) == wanted_numbers
    assert refusing.retry(wanted, dry_run=True) == refusing.discard(wanted, dry_run=True) == len(names)
    assert refusing.at.books() == Books(5, 0, 0, 5)

    assert refusing.retry(wanted) == len(names)
    assert sorted(wanted_numbers) == refusing.at.waiting()
    assert refusing.at.books() == Books(5, 0, len(names), 5 - len(names))

    assert refusing.discard(ALL) == 5 - len(names)
    assert refusing.at.books() == Books(5, 0, len(names), 0, 0, 5 - len(names))


def test_of_each_one_is_told_what_it_is(refusing: Refusing) -> None:
    with reports.reading(refusing.at.engine) as connection:
        page = set_aside.aside_page(connection, refusing.at.project_id, ALL, after=None, limit=2)
        rest = set_aside.aside_page(connection, refusing.at.project_id, ALL, after=page[-1].id, limit=9)

    newest, of_campaign = page
    assert (newest.id, newest.type, newest.campaign, newest.occurred_us) == (
        refusing.update,
        None,
        None,
        None,
    )
    assert (newest.reason, newest.message, newest.customer_ids) == (
        "no_customer_id",
        "Nobody.",
        '{"registered":"c-3"}',
    )
    assert (of_campaign.type, of_campaign.campaign, of_campaign.status) == ("campaign", "winback", "posted")
    assert of_campaign.set_aside_us == T0 + 3 * MINUTE_US
    assert [row.id for row in rest] == [refusing.other, refusing.second, refusing.first]


def test_they_are_summed_up_by_reason_and_words(refusing: Refusing) -> None:
    with reports.reading(refusing.at.engine) as connection:
        found = set_aside.aside_summary(connection, refusing.at.project_id)

    assert found == [
        Aside("refused", "Too old.", 2, T0, T0 + 3 * MINUTE_US),
        Aside("no_customer_id", "Nobody.", 1, T0 + 4 * MINUTE_US, T0 + 4 * MINUTE_US),
        Aside("refused", "Too odd.", 1, T0 + MINUTE_US, T0 + MINUTE_US),
        Aside("unreadable", "Too old.", 1, T0 + 2 * MINUTE_US, T0 + 2 * MINUTE_US),
    ]


def test_those_of_another_project_are_nobodys_business(refusing: Refusing) -> None:
    mine = refusing.at.project_id
    refusing.at.project_id = refusing.at.post.rows.begin_project()

    assert refusing.numbers(ALL) == []
    assert (refusing.retry(ALL), refusing.discard(ALL)) == (0, 0)
    refusing.at.project_id = mine
    assert len(refusing.numbers(ALL)) == 5


@pytest.mark.parametrize("decide", ["retry", "discard"])
def test_broken_off_the_same_call_goes_on(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch, decide: str
) -> None:
    few_together(monkeypatch, 2)
    stop = threading.Event()
    act = getattr(refusing, decide)

    assert act(ALL, stop=stop, report=enough(2, stop)) == 4
    assert refusing.numbers(ALL) == [refusing.first]
    assert act(ALL, stop=stop) == 0
    assert act(ALL) == 1
    assert refusing.at.books().aside == 0


def test_what_is_set_aside_again_meanwhile_is_left_for_the_next_time(
    refusing: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_together(monkeypatch, 1)

    def refuse_again(_: int) -> None:
        for number in refusing.at.waiting():
            refusing.set_aside(number, Reason.REFUSED, "Still too old.", T0)

    assert refusing.retry(ALL, report=refuse_again) == 5
    assert len(refusing.numbers(WhichAside(message="Still too old."))) == 5
    assert refusing.at.books() == Books(5, 0, 0, 5)


def test_two_who_decide_about_the_same_ones_are_counted_once(refusing: Refusing) -> None:
    """Both have read them before either of them wrote."""
    one, two, waiting = refusing.first, refusing.second, refusing.at.take(5)[0]
    books = [
        (set_aside.put_back, (one, waiting), 1, Books(6, 0, 2, 4)),
        (set_aside.put_back, (one, waiting), 0, Books(6, 0, 2, 4)),
        (set_aside.discard, (one, two), 1, Books(6, 0, 2, 3, 0, 1)),
        (set_aside.discard, (one, two), 0, Books(6, 0, 2, 3, 0, 1)),
    ]

    for decide, ids, number, after in books:
        assert refusing.at.change(partial(decide, ids=ids, now_us=T0)) == number
        assert refusing.at.books() == after


def test_what_is_put_back_is_tried_at_once(refusing: Refusing) -> None:
    at = refusing.at
    far_away = 10**18
    shut = at.change(
        lambda transaction: relay_pump.close(transaction, "Away.", T0, far_away, failures=1, stopped=True)
    )
    assert shut is None

    assert refusing.retry(WhichAside(event_type="unheard of")) == 0
    assert at.pump().open_us == far_away
    refusing.retry(ALL, dry_run=True)
    assert at.pump().open_us == far_away
    refusing.retry(ALL)
    assert at.pump().open_us == 0


def test_what_the_far_side_refused_arrives_after_a_retry(at: Station, far: BloomreachInThread) -> None:
    far.trouble(poison={"bad": "No such thing."})
    at.send(*(numbered(n, properties={"n": n, "is": "bad" if n == 2 else "good"}) for n in range(4)))
    first = at.relay()
    run(first)
    first.close()
    assert [message for *_, message in at.aside()] == ["No such thing."]

    far.trouble(poison={})
    with closing(Ledger(at.engine)) as ledger:
        wanted = WhichAside(message="No such thing.")
        assert outbox_repairs.retry(at.engine, ledger, at.project_id, wanted) == 1
    run(at.relay())

    assert at.there("n") == [0, 1, 3, 2]
    assert at.books() == Books(4, 4)


def test_all_that_waits_can_be_let_go(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    few_together(monkeypatch, 3)
    at.take_many(8)
    stop, kept = threading.Event(), Refusing(at)

    with closing(Ledger(at.engine)) as ledger:
        assert outbox_repairs.discard_waiting(ledger, stop=stop, report=enough(2, stop)) == 6
        assert at.books() == Books(13, 0, 2, 5, 6)
        assert outbox_repairs.discard_waiting(ledger) == 2

    assert at.books() == Books(13, 0, 0, 5, 8)
    assert len(kept.numbers(ALL)) == 5


# -- what never was given -------------------------------------------------------------------------


def switch_off(at: Station) -> None:
    at.change(outbox.switch_off)


def spans(at: Station) -> list[tuple[int, int]]:
    columns = outbox_spans.c.first_id, outbox_spans.c.last_id
    return [tuple(each) for each in at.post.query(select(*columns).order_by(columns[0]))]


def all_of(at: Station) -> list[int]:
    """The numbers of all events that are to be relayed."""
    query = select(events.c.id).where(events.c.source.in_(SOURCES)).order_by(events.c.id)
    return [number for (number,) in at.post.query(query)]


def fill_in(at: Station, since_us: int = 0, **how: Any) -> int:
    sources = how.pop("sources", SOURCES)
    with closing(Ledger(at.engine)) as ledger:
        return outbox_repairs.fill_in(at.engine, ledger, since_us, sources, **how)


@pytest.fixture
def before(database_url: str, far: BloomreachInThread) -> Iterator[Station]:
    """Eleven events came before the relay was switched on, and three after."""
    with station(database_url, far) as at:
        switch_off(at)
        for n in range(11):
            at.send(numbered(n, f"c-{n % 3}"), at_us=T0 + n * MINUTE_US)
        at.switch_on()
        at.take(*range(11, 14))
        yield at


def test_what_came_before_is_given_once_and_arrives(before: Station, far: BloomreachInThread) -> None:
    assert before.waiting() == all_of(before)[11:]

    assert fill_in(before) == 11
    assert fill_in(before) == 0

    assert before.waiting() == all_of(before)
    run(before.relay())
    assert before.there("n") == list(range(14))
    assert before.books() == Books(14, 14)
    assert fill_in(before) == 0


def test_only_what_was_received_since_then_is_given(before: Station) -> None:
    assert fill_in(before, T0 + 4 * MINUTE_US) == 7
    assert before.waiting() == all_of(before)[4:]

    assert fill_in(before, T0 + 20 * MINUTE_US) == 0
    assert fill_in(before, T0 + 2 * MINUTE_US) == 2
    assert before.waiting() == all_of(before)[2:]
    assert len(spans(before)) == 1
    assert fill_in(before) == 2


def test_only_events_of_the_sources_that_are_relayed_are_given(before: Station) -> None:
    switch_off(before)
    # Our own events: two customers become one, and of a letter.
    before.send(event({"registered": "m-1", "cookie": "u-1"}), event({"registered": "m-2", "cookie": "u-1"}))
    before.post.intend(person(""))
    before.switch_on()

    made = {source for (source,) in before.post.query(select(events.c.source).distinct())}
    assert made > set(SOURCES[:1])
    assert fill_in(before, sources=("callback",)) == 13
    assert before.waiting() == all_of(before)


@pytest.mark.parametrize("together", [1, 2, 3, 11])
def test_broken_off_after_any_part_it_goes_on_there(
    before: Station, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    few_together(monkeypatch, together)
    given = []
    while True:
        stop = threading.Event()
        given.append(fill_in(before, stop=stop, report=enough(1, stop)))
        if not given[-1]:
            break
        assert len(spans(before)) == 1
        assert before.books().waiting == 3 + sum(given)

    assert given[0] == together
    assert sum(given) == 11
    assert before.waiting() == all_of(before)


def test_a_part_that_fails_leaves_nothing_behind(before: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    few_together(monkeypatch, 4)
    calls: list[int] = []
    real = outbox.add_span

    def fail_at_the_second(*what: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("killed")
        real(*what)

    monkeypatch.setattr(outbox, "add_span", fail_at_the_second)
    with pytest.raises(RuntimeError, match="killed"):
        fill_in(before)

    assert before.books() == Books(7, 0, 7)
    assert len(spans(before)) == 1
    assert fill_in(before) == 7
    assert before.waiting() == all_of(before)


def test_two_at_once_give_each_event_once(before: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    few_together(monkeypatch, 1)
    both, given = threading.Barrier(2), []

    def fill() -> None:
        both.wait()
        given.append(fill_in(before))

    threads = [threading.Thread(target=fill) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(given) == 11
    assert before.waiting() == all_of(before)
    assert before.books() == Books(14, 0, 14)


def test_what_is_accepted_while_it_fills_in_is_given_too(
    before: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_together(monkeypatch, 2)
    more = iter(range(100, 200))

    assert fill_in(before, report=lambda _: before.take(next(more)) and None) == 11

    assert len(before.waiting()) == 14 + 6
    assert before.waiting() == all_of(before)


def test_spans_that_touch_become_one(before: Station) -> None:
    switch_off(before)
    assert len(spans(before)) == 1  # what was given while it was on
    before.take(20, 21)
    before.switch_on()
    before.take(22)
    switch_off(before)
    assert len(spans(before)) == 2
    before.take(23)

    # Between the two, before both and behind both.
    assert fill_in(before) == 11 + 2 + 1

    last_id = before.post.sizes()["last_id"]
    assert spans(before) == [(all_of(before)[0], last_id)]
    assert before.waiting() == all_of(before)
    before.switch_on()
    before.take(24)
    switch_off(before)
    assert spans(before) == [(all_of(before)[0], before.post.sizes()["last_id"])]
    assert fill_in(before) == 0


@pytest.mark.parametrize("seed", range(6))
def test_however_often_it_goes_off_and_on_each_event_is_given_once(
    database_url: str, far: BloomreachInThread, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    with station(database_url, far) as at:
        came = iter(range(1, 10_000))

        def take() -> None:
            numbers = [next(came) for _ in range(chance.randrange(1, 5))]
            at.send(*(numbered(n, f"c-{n % 5}") for n in numbers), at_us=T0 + numbers[0] * MINUTE_US)

        def fill() -> None:
            few_together(monkeypatch, chance.randrange(1, 6))
            stop = threading.Event()
            since_us = T0 + chance.randrange(60) * MINUTE_US
            fill_in(at, since_us, stop=stop, report=enough(chance.randrange(1, 4), stop))

        for _ in range(25):
            chance.choice([take, take, at.switch_on, lambda: switch_off(at), fill])()
            assert at.books().waiting == len(at.waiting())
        fill_in(at)

        assert at.waiting() == all_of(at)
        found = spans(at)
        assert all(first <= last for first, last in found)
        # Neither do they overlap nor touch.
        assert all(one[1] + 1 < other[0] for one, other in pairwise(found))
        run(at.relay())
        assert len(at.there()) == len(set(at.there())) == len(all_of(at))


def test_a_dry_run_says_by_project_and_source_what_would_be_given(before: Station) -> None:
    number = before.refused(in_milliseconds())
    switch_off(before)
    before.replay(number, how=SECONDS, at_us=T0 + 99 * MINUTE_US)
    one = before.project_id
    before.project_id = before.post.rows.begin_project()
    before.send(numbered(7), at_us=T0 + 5 * MINUTE_US)
    sizes = before.post.sizes()

    found = outbox_repairs.missing(before.engine, T0 + MINUTE_US, SOURCES)

    assert [tuple(each) for each in found] == [
        (one, "callback", 10, T0 + MINUTE_US, T0 + 10 * MINUTE_US),
        (one, "replayed", 1, T0 + 99 * MINUTE_US, T0 + 99 * MINUTE_US),
        (before.project_id, "callback", 1, T0 + 5 * MINUTE_US, T0 + 5 * MINUTE_US),
    ]
    assert before.post.sizes() == sizes
    assert fill_in(before, T0 + MINUTE_US) == 12
    assert outbox_repairs.missing(before.engine, T0 + MINUTE_US, SOURCES) == []
    assert outbox_repairs.missing(before.engine, 10**18, SOURCES) == []


def test_what_was_taken_back_is_not_given(before: Station) -> None:
    switch_off(before)
    number = before.refused(in_milliseconds({"registered": "c-9"}))
    before.replay(number, how=SECONDS)
    assert len(all_of(before)) == 15
    before.undo(number)
    before.switch_on()

    assert fill_in(before) == 11
    assert len(before.waiting()) == 14


def test_without_any_event_there_is_nothing_to_give(at: Station) -> None:
    assert fill_in(at) == 0
    assert spans(at) == []
