"""What was refused is counted as it is written, and asked for without counting it again."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from alembic import command as alembic
from alembic.config import Config
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete, select, text

from receiver.domain.commands import Form, Rules
from receiver.domain.fields import is_storable
from receiver.domain.moments import DAY_US, hour_of
from receiver.domain.shapes import Shape
from receiver.domain.shapes import told as told_of
from receiver.inbound.rejections import Action, How
from receiver.inbound.undoing import NotDone
from receiver.store import migrations, refusal_counts, refused, reports
from receiver.store.engine import connect
from receiver.store.refusal_counts import By, Summary, Trends
from receiver.store.refused import RejectionFilter
from receiver.store.tables import rejection_hours, rejections, shape_hours, shape_states, shapes
from tests.mending import (
    AS_IT_IS,
    HOUR_US,
    LATER,
    SENT_US,
    T0,
    Bench,
    bench,
    command,
    event,
    in_milliseconds,
    without_id,
)
from tests.rows import Rows

SECONDS = How(names=("milliseconds-to-seconds",))
NO_EMPTY_IDS = How(names=("drop-empty-ids",))
SPLIT = How(names=("split-batch",))

EVERYTHING = RejectionFilter()


@pytest.fixture
def at(database_url: str) -> Iterator[Bench]:
    with bench(database_url, max_commands=3, duplicate_window=3 * 3600) as at:
        yield at


def summary(at: Bench, wanted: RejectionFilter = EVERYTHING, by: By = "reason") -> list[Summary]:
    with reports.reading(at.engine) as connection:
        return refusal_counts.summary(connection, at.project_id, wanted, by)


def trends(at: Bench, span: str, now_us: int, wanted: RejectionFilter = EVERYTHING) -> Trends:
    with reports.reading(at.engine) as connection:
        return refusal_counts.trends(connection, at.project_id, wanted, "reason", span, now_us)


def ids(at: Bench, wanted: RejectionFilter = EVERYTHING, page: int = 1000) -> list[int]:
    """Of all pages."""
    found: list[int] = []
    after: int | None = None
    with reports.reading(at.engine) as connection:
        while True:
            some = refused.rejections_page(connection, at.project_id, wanted, after=after, limit=page)
            found += [row.id for row in some.rows]
            if some.next is None:
                return found
            after = some.next


def kept(at: Bench) -> list[Any]:
    """Every rejection with its shape, the newest first."""
    own = [column for column in shapes.c if column.name not in rejections.c]
    query = select(*rejections.c, *own).join(shapes, shapes.c.id == rejections.c.shape_id)
    query = query.where(rejections.c.project_id == at.project_id)
    return at.post.query(query.order_by(rejections.c.id.desc()))


def counters(at: Bench) -> list[list[Any]]:
    return [
        at.post.query(select(table).order_by(*table.primary_key))
        for table in (shape_states, shape_hours, rejection_hours)
    ]


# -- whatever is done -------------------------------------------------------------------------------


def batch(*commands: object) -> dict[str, Any]:
    return {"commands": list(commands)}


BODIES: dict[Form, list[object]] = {
    Form.EVENT: [
        in_milliseconds(),
        in_milliseconds({"registered": "c-2"}),
        in_milliseconds(event_type="other"),
        without_id(),
        without_id(timestamp=None),
        without_id(properties={"campaign_id": "spring"}),
        event(),
        event(timestamp="soon"),
        b"{",
        b"[]",
    ],
    Form.UPDATE: [
        {"customer_ids": {"registered": "", "cookie": "u-1"}, "properties": {"city": "Dresden"}},
        {"customer_ids": {"registered": "c-3"}, "properties": 7},
    ],
    Form.BATCH: [
        batch(command(event()), command(without_id()), command(in_milliseconds())),
        batch(*[command(event({"registered": f"c-{n}"})) for n in range(4)], command(without_id())),
        batch(command(without_id()), command(without_id(timestamp=None)), *[command(event())] * 3),
        batch(*[command(in_milliseconds({"registered": f"c-{n}"})) for n in range(4)]),
        batch(command(event()), *[command({}, "other")] * 4),
        batch(),
    ],
    Form.FLAT: [
        [{"individualisation2": "c-1"}, {"individualisation2": ""}, {}],
        {"customer_ids": {"registered": ""}, "event_type": "campaign"},
        {"timestamp": SENT_US // 1000, "customer_ids": {"registered": "c-4"}, "campaign_id": "winback"},
    ],
}
MENDING = (AS_IT_IS, SECONDS, NO_EMPTY_IDS, SPLIT, How(names=("split-batch", "drop-empty-ids")))


class Walk:
    """Does whatever comes to mind to one project, and notes in which hours its sender was refused."""

    def __init__(self, at: Bench, seed: int) -> None:
        self.at = at
        self.random = Random(seed)  # nothing is secret
        self.now_us = T0
        self.hours: dict[int, list[int]] = {}
        self.any_gone = False

    def step(self) -> None:
        # A clock goes back now and then.
        self.now_us += self.random.choice((-HOUR_US, 1, 1, 7, HOUR_US // 3, 2 * HOUR_US))
        doing = (self.send, self.send, self.replay, self.replay, self.undo, self.decide)
        self.random.choice(doing)()
        self.note_children()

    def send(self) -> None:
        form = self.random.choice(list(BODIES))
        bodies = self.random.choices(BODIES[form], k=self.random.randint(1, 9))
        for verdict in self.at.send(*bodies, form=form, at_us=self.now_us):
            if verdict.rejection is not None:
                self.hours.setdefault(verdict.row_id, []).append(hour_of(self.now_us))

    def some(self) -> list[int]:
        known = sorted(self.hours)
        return self.random.sample(known, self.random.randint(1, min(9, len(known)))) if known else []

    def replay(self) -> None:
        before = counters(self.at)
        rehearsal = self.random.random() < 0.2
        how = self.random.choice(MENDING)
        self.at.replay(*self.some(), at_us=self.now_us, how=how, rehearsal=rehearsal)
        if rehearsal:
            assert counters(self.at) == before

    def undo(self) -> None:
        for number in self.some():
            with suppress(NotDone):
                self.at.undo(number, at_us=self.now_us)

    def decide(self) -> None:
        action = self.random.choice((Action.DISMISS, Action.REOPEN, Action.REOPEN))
        self.at.decide(action, *self.some(), at_us=self.now_us)

    def note_children(self) -> None:
        """What a replay kept by itself was sent when its body was; what is gone was let go of."""
        there = {row.id: row for row in kept(self.at)}
        self.any_gone |= not self.hours.keys() <= there.keys()
        self.hours = {number: hours for number, hours in self.hours.items() if number in there}
        for number, row in there.items():
            self.hours.setdefault(number, [hour_of(row.received_us)])


@dataclass(frozen=True)
class Counted:
    """One group of a summary, but for the times that are only bounds."""

    count: int
    rejections: int | None
    open: int | None


def by_hand(rows: list[Any], by: By) -> dict[tuple[str, ...], Counted]:
    found: dict[tuple[str, ...], Counted] = {}
    for row in rows:
        group = (row.reason,) if by == "reason" else (row.reason, row.pointer)
        was = found.get(group, Counted(0, 0, 0))
        assert was.rejections is not None
        assert was.open is not None
        found[group] = Counted(was.count + row.count, was.rejections + 1, was.open + (row.state == "open"))
    return found


def told(found: list[Summary]) -> dict[tuple[str, ...], Counted]:
    return {
        (each.reason,) if each.pointer is None else (each.reason, each.pointer): Counted(
            each.count, each.rejections, each.open
        )
        for each in found
    }


def check(walk: Walk) -> None:
    at, rows = walk.at, kept(walk.at)
    with reports.reading(at.engine) as connection:
        assert refusal_counts.miscounts(connection, at.project_id) == []
    assert at.post.disagreements() == []
    for by in ("reason", "shape"):
        assert told(summary(at, by=by)) == by_hand(rows, by)
        for state in ("open", "replayed", "dismissed"):
            there = by_hand([row for row in rows if row.state == state], by)
            assert told(summary(at, RejectionFilter(state=state), by)) == there
    for each in summary(at):
        of_it = [row for row in rows if row.reason == each.reason]
        seen = min(row.received_us for row in of_it), max(row.last_seen_us for row in of_it)
        if walk.any_gone:
            # Nobody looks for what the others were when one is let go of.
            assert each.first_seen_us <= seen[0]
            assert seen[1] <= each.last_seen_us
        else:
            assert (each.first_seen_us, each.last_seen_us) == seen
    check_shapes(walk, rows)


def check_shapes(walk: Walk, rows: list[Any]) -> None:
    at = walk.at
    states: Counter[tuple[int, str]] = Counter()
    times: Counter[tuple[int, str]] = Counter()
    hours: Counter[tuple[int, int]] = Counter()
    for row in rows:
        about = row.form, row.reason, row.pointer, row.event_type, row.campaign
        assert row.shape_id == Shape(row.project_id, *about).id
        states[row.shape_id, row.state] += 1
        times[row.shape_id, row.state] += row.count
        assert row.count == len(walk.hours[row.id])
        hours.update((row.shape_id, hour_us) for hour_us in walk.hours[row.id])
    kept_states = at.post.query(select(shape_states))
    assert {(row.shape_id, row.state): row.rejections for row in kept_states} == states
    assert {(row.shape_id, row.state): row.times for row in kept_states} == times
    kept_hours = at.post.query(select(shape_hours))
    assert {(row.shape_id, row.hour_us): row.times for row in kept_hours if row.times} == hours
    for row in rows:
        (of_state,) = [
            each for each in kept_states if (each.shape_id, each.state) == (row.shape_id, row.state)
        ]
        assert of_state.first_us <= row.received_us
        assert row.last_seen_us <= of_state.last_us


def check_periods(walk: Walk, rows: list[Any]) -> None:
    """Any period gives what a look at every row gives."""
    moments = sorted({row.received_us for row in rows} | {row.last_seen_us for row in rows})
    for _ in range(30):
        since_us, until_us = sorted(
            walk.random.choice(moments) + walk.random.choice((-1, 0, 1)) for _ in range(2)
        )
        one = walk.random.choice(rows)
        state = walk.random.choice((None, "open", "replayed"))
        wanted = RejectionFilter(
            since_us=walk.random.choice((None, since_us)),
            until_us=walk.random.choice((None, until_us)),
            state=state,
            reason=walk.random.choice((None, None, one.reason)),
            pointer=walk.random.choice((None, None, one.pointer)),
            event_type=walk.random.choice((None, None, one.event_type)),
            campaign=walk.random.choice((None, None, one.campaign)),
            forms=walk.random.choice(((), (), (one.form,))),
        )
        matching = [row for row in rows if matches(row, wanted)]
        assert ids(walk.at, wanted, page=5) == [row.id for row in matching]
        # With an empty text every body is looked into.
        assert ids(walk.at, replace(wanted, text="")) == [row.id for row in matching]
        if state is not None:
            assert told(summary(walk.at, wanted)) == by_hand(matching, "reason")
        elif None not in (wanted.since_us, wanted.until_us):
            check_hours(walk, wanted, rows)


def check_hours(walk: Walk, wanted: RejectionFilter, rows: list[Any]) -> None:
    """A period without a state is counted by its hours."""
    assert wanted.since_us is not None
    assert wanted.until_us is not None
    came: Counter[str] = Counter()
    for row in rows:
        if matches(row, replace(wanted, since_us=None, until_us=None)):
            hours = [
                each for each in walk.hours[row.id] if hour_of(wanted.since_us) <= each < wanted.until_us
            ]
            came.update([row.reason] * len(hours))
    found = summary(walk.at, wanted)
    assert {each.reason: each.count for each in found} == came
    assert all((each.rejections, each.open) == (None, None) for each in found)
    assert all(wanted.until_us > each.first_seen_us <= each.last_seen_us for each in found)


def check_trends(walk: Walk, rows: list[Any]) -> None:
    now_us = walk.now_us
    for span, span_us, length in (("hour", HOUR_US, 24), ("day", DAY_US, 14)):
        expected: dict[str, list[int]] = {}
        for row in rows:
            for hour_us in walk.hours[row.id]:
                back = max(0, now_us // span_us - hour_us // span_us)
                if back < length:
                    expected.setdefault(row.reason, [0] * length)[-1 - back] += 1
        found = trends(walk.at, span, now_us).counts
        assert {reason: counts for (reason, _), counts in found.items() if any(counts)} == expected


def matches(row: Any, wanted: RejectionFilter) -> bool:
    return (
        (wanted.since_us is None or row.last_seen_us >= wanted.since_us)
        and (wanted.until_us is None or row.received_us < wanted.until_us)
        and wanted.state in (None, row.state)
        and wanted.reason in (None, row.reason)
        and wanted.pointer in (None, row.pointer)
        and wanted.event_type in (None, row.event_type)
        and wanted.campaign in (None, row.campaign)
        and (not wanted.forms or row.form in wanted.forms)
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_counters_agree_with_the_rows_whatever_was_done(at: Bench, seed: int) -> None:
    walk = Walk(at, seed)
    walk.send()
    for number in range(60):
        walk.step()
        if number % 6 == 0:
            check(walk)

    check(walk)
    rows = kept(at)
    assert {"open", "replayed"} <= {row.state for row in rows}
    assert any(row.count > 1 for row in rows)
    check_periods(walk, rows)
    check_trends(walk, rows)


# -- each for itself --------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 10))
def test_several_repeats_of_one_group_are_each_counted_once(at: Bench, number: int) -> None:
    # Of any number: some databases are given rows twice.
    bodies = [in_milliseconds({"registered": f"c-{n}"}) for n in range(number)]
    at.send(*bodies, *bodies)
    at.send(*bodies, at_us=T0 + HOUR_US)

    (found,) = summary(at)
    assert (found.count, found.rejections, found.open) == (3 * number, number, number)
    assert (found.first_seen_us, found.last_seen_us) == (T0, T0 + HOUR_US)
    assert trends(at, "hour", T0 + HOUR_US).of(found)[-3:] == [0, 2 * number, number]
    at.decide(Action.DISMISS, *ids(at))
    assert [each[1:3] for each in at.post.query(select(shape_states))] == [("dismissed", number)]


def test_a_replay_is_no_repeat_of_the_senders(at: Bench) -> None:
    whole = batch(*[command(in_milliseconds())] * 4)
    number = at.refused(whole, Form.BATCH)
    child = at.refused(batch(command(in_milliseconds())), Form.BATCH, T0 + HOUR_US)
    before = summary(at)

    at.replay(number, child)
    at.replay(number, how=SPLIT)

    assert at.now(number).times == 1
    assert at.now(child).times == 1
    assert summary(at) == before
    assert trends(at, "day", LATER).of(before[0])[-2:] == [1, 0]


def test_what_a_replay_keeps_by_itself_came_when_its_body_did(at: Bench) -> None:
    whole = batch(command(event()), *[command(without_id())] * 3)
    number = at.refused(whole, Form.BATCH)
    at.replay(number, how=SPLIT)
    (child,) = set(ids(at)) - {number}

    hour_us = hour_of(T0)
    period = RejectionFilter(reason="empty_customer_id", since_us=hour_us, until_us=hour_us + HOUR_US)
    (found,) = summary(at, period)
    assert found.count == 1
    assert hour_us <= found.first_seen_us <= found.last_seen_us < hour_us + HOUR_US
    assert ids(at, RejectionFilter(until_us=T0 + 1, state="open")) == [child]
    assert ids(at, RejectionFilter(since_us=LATER)) == [child]
    assert trends(at, "hour", LATER).of(found) == [0] * 24


def test_one_that_is_seen_again_much_later_is_in_every_period_between(at: Bench) -> None:
    again = at.refused(in_milliseconds())
    other = at.refused(without_id(), at_us=T0 + HOUR_US)
    assert at.refused(in_milliseconds(), at_us=T0 + 5 * DAY_US) == again

    assert ids(at, RejectionFilter(since_us=T0 + 5 * DAY_US)) == [again]
    assert ids(at, RejectionFilter(since_us=T0 + 2 * HOUR_US, until_us=T0 + DAY_US)) == [again]
    assert ids(at, RejectionFilter(since_us=T0 + 5 * DAY_US + 1)) == []
    assert ids(at, RejectionFilter(until_us=T0 + 1)) == [again]
    assert ids(at, RejectionFilter(until_us=T0)) == []
    assert ids(at, RejectionFilter(until_us=T0 + 6 * DAY_US)) == [other, again]
    between = RejectionFilter(since_us=T0 + HOUR_US, until_us=T0 + DAY_US)
    # Within its hours nothing of it came, though it was seen before and after them.
    assert [each.reason for each in summary(at, between)] == ["empty_customer_id"]
    assert len(summary(at, replace(between, state="open"))) == 2


@pytest.mark.parametrize("number", [99, 100, 101, 320])
def test_pages_are_the_same_with_many_shapes(at: Bench, number: int) -> None:
    groups = [event({"registered": ""}, event_type=f"t-{n}") for n in range(number)]
    expected = [verdict.row_id for verdict in at.send(*groups)][::-1]
    at.decide(Action.DISMISS, *expected[::2])
    assert len(at.post.query(select(shapes))) == number

    for state, some in ((None, expected), ("open", expected[1::2]), ("dismissed", expected[::2])):
        for wanted in (
            RejectionFilter(state=state),
            RejectionFilter(state=state, reason="empty_customer_id"),
        ):
            assert ids(at, wanted, page=40) == ids(at, wanted) == some
    assert ids(at, RejectionFilter(event_type="t-7")) == [expected[-8]]


def test_projects_are_counted_by_themselves(at: Bench) -> None:
    first = at.project_id
    mine = at.refused(in_milliseconds())
    at.project_id = second = at.post.rows.begin_project()
    theirs = [at.refused(in_milliseconds(), at_us=T0 + n * 4 * HOUR_US) for n in range(2)]

    assert len({row.shape_id for row in at.post.query(select(rejections))}) == 2
    for project_id, there, times in ((first, [mine], 1), (second, sorted(set(theirs), reverse=True), 2)):
        at.project_id = project_id
        for wanted in (EVERYTHING, RejectionFilter(reason="timestamp_in_milliseconds", since_us=T0)):
            assert ids(at, wanted) == there
            assert [each.count for each in summary(at, wanted)] == [times]
        assert sum(trends(at, "day", LATER).of(summary(at)[0])) == times
        with reports.reading(at.engine) as connection:
            assert refusal_counts.miscounts(connection, project_id) == []
            assert refusal_counts.how_many(connection, project_id, EVERYTHING) == len(there)


def test_a_trend_ends_in_the_present_span_and_begins_at_midnight(at: Bench) -> None:
    midnight_us = T0 - T0 % DAY_US
    for days, hours in ((0, 0), (0, 23), (1, 0), (-13, 0), (-14, 23)):
        at.send(b"{", at_us=midnight_us + days * DAY_US + hours * HOUR_US)
    now_us = midnight_us + DAY_US - 1
    (found,) = summary(at)

    of_days = trends(at, "day", now_us).of(found)
    # What a clock that was ahead has left counts for the present.
    assert of_days == [1, *[0] * 12, 3]
    assert trends(at, "hour", now_us).of(found) == [1, *[0] * 22, 2]
    assert trends(at, "hour", now_us, RejectionFilter(reason="not_a_batch")).of(found) == [0] * 24
    # Neither the period nor the state change it.
    wanted = RejectionFilter(since_us=now_us, until_us=now_us, state="dismissed")
    assert trends(at, "day", now_us, wanted).of(found) == of_days


def test_how_many_there_are_is_known_but_for_a_period_or_a_text(at: Bench) -> None:
    at.send(in_milliseconds(), without_id(), b"{")

    with reports.reading(at.engine) as connection:

        def number(**filters: Any) -> int | None:
            return refusal_counts.how_many(connection, at.project_id, RejectionFilter(**filters))

        assert number() == number(state="open") == 3
        assert number(state="dismissed") == number(campaign="never") == 0
        assert number(campaign="winback") == 2
        assert number(text="c-1") is None
        assert number(since_us=T0) is None
        assert number(until_us=T0) is None


def test_what_was_counted_wrong_is_told(at: Bench) -> None:
    at.send(in_milliseconds(), without_id())
    with at.engine.execution_options(writes=True).begin() as connection:
        connection.execute(rejections.update().values(state="dismissed", count=2))

    with reports.reading(at.engine) as connection:
        found = refusal_counts.miscounts(connection, at.project_id)

    assert [tuple(each) for each in found] == [
        ("dismissed rejections", 2, 0),
        ("open rejections", 0, 2),
        ("times by hour", 4, 2),
        ("times of dismissed rejections", 4, 0),
        ("times of open rejections", 0, 2),
    ]


# -- what a refused command tells -------------------------------------------------------------------

BAD: dict[str, Any] = {"customer_ids": {"registered": ""}}


@pytest.mark.parametrize(
    ("form", "body", "told"),
    [
        (Form.EVENT, event({"registered": ""}), ("campaign", "winback")),
        (Form.EVENT, event({"registered": ""}, event_type=" a b "), (" a b ", "winback")),
        (Form.EVENT, BAD | {"event_type": 7, "properties": {"scenario_id": 12.0}}, ("7", "12")),
        (Form.EVENT, BAD | {"event_type": None, "properties": []}, (None, None)),
        (Form.EVENT, BAD | {"event_type": ["x"], "properties": {"campaign_id": {}}}, (None, None)),
        (Form.EVENT, BAD | {"event_type": True, "properties": {"campaign_id": False}}, (None, None)),
        (Form.EVENT, BAD | {"event_type": "a\0", "properties": {"campaign_id": "\0"}}, (None, None)),
        (Form.EVENT, BAD | {"event_type": "\ud800", "properties": {"campaign_id": "\udfff"}}, (None, None)),
        (Form.EVENT, BAD | {"event_type": "x" * 501, "properties": {"campaign_id": "y" * 501}}, (None, None)),
        (
            Form.EVENT,
            BAD | {"event_type": "x" * 500, "properties": {"campaign_id": "y" * 500}},
            ("x" * 500, "y" * 500),
        ),
        (
            Form.EVENT,
            BAD | {"event_type": "e", "properties": {"campaign_id": " ", "scenario_id": "s"}},
            ("e", "s"),
        ),
        (Form.EVENT, BAD | {"event_type": "e", "campaign_id": "beside"}, ("e", None)),
        (
            Form.EVENT,
            BAD | {"event_type": 10**400, "properties": {"campaign_id": 10**600}},
            (str(10**400), None),
        ),
        (Form.EVENT, b'{"event_type": 1e999, "properties": {"campaign_id": -1e999}}', (None, None)),
        (Form.EVENT, b'{"event_type": %s}' % (b"7" * 5000), (None, None)),
        (Form.EVENT, BAD | {"event_type": " ", "properties": {"campaign_id": None}}, (None, None)),
        (Form.EVENT, [event()], (None, None)),
        (Form.EVENT, "event", (None, None)),
        (Form.EVENT, b'{"event_type": "campaign"', (None, None)),
        (Form.UPDATE, BAD | {"properties": {"campaign_id": "c", "event_type": "e"}}, (None, "c")),
        (Form.BATCH, batch(command(event({"registered": ""}))), ("campaign", "winback")),
        (Form.BATCH, batch(command([event()])), (None, None)),
        (Form.BATCH, batch(*[command(event())] * 4), (None, None)),
        (Form.FLAT, {"individualisation3": "spring"}, ("campaign", "spring")),
        (Form.FLAT, {"individualization3": " spring ", "event_type": "e"}, ("e", "spring")),
        (Form.FLAT, {"individualisation3": " ", "campaign_id": "beside"}, ("campaign", "beside")),
        (Form.FLAT, {"individualisation3": 3, "campaign_id": "beside"}, ("campaign", "3")),
        (Form.FLAT, {"individualisation3": "\0"}, ("campaign", None)),
        (Form.FLAT, {"individualisation" + "9" * 99: "x"}, ("campaign", None)),
        (Form.FLAT, [{"individualisation3": "spring"}], ("campaign", "spring")),
        (Form.FLAT, [[]], (None, None)),
    ],
)
def test_type_and_campaign_are_read_as_well_as_they_can_be(
    at: Bench, form: Form, body: object, told: tuple[str | None, str | None]
) -> None:
    number = at.refused(body, form)

    (row,) = kept(at)
    assert (row.id, row.event_type, row.campaign) == (number, *told)
    event_type, campaign = told
    assert ids(at, RejectionFilter(event_type=event_type, campaign=campaign)) == [number]
    assert ids(at, RejectionFilter(event_type="never")) == ids(at, RejectionFilter(campaign="never")) == []
    assert at.refused(body, form) == number


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (Form.EVENT, event(event_type=" a b ")),
        (Form.EVENT, event(properties={"campaign_id": " c ", "scenario_id": "s"})),
        (Form.EVENT, event(properties={"campaign_id": "", "scenario_id": 7.0})),
        (Form.EVENT, event(properties={"campaign_id": "c" * 501, "campaign_reference": "r"})),
        (Form.FLAT, {"individualisation1": "c-1", "individualisation3": "spring", "campaign_id": "other"}),
        (Form.FLAT, {"individualisation1": "c-1", "individualisation3": " ", "campaign_id": "other"}),
        (Form.FLAT, {"individualisation1": "c-1", "individualization3": 12, "event_type": "e"}),
        (Form.FLAT, {"individualisation1": "c-1", "scenario_id": "s", "individualisation9": "no"}),
    ],
)
def test_a_refused_command_tells_the_same_as_an_accepted_one(
    at: Bench, form: Form, body: dict[str, Any]
) -> None:
    at.refused(body | {"timestamp": "soon"}, form)
    assert at.became(body, form=form)[0][0] == "accepted"

    (refused_one,), (accepted,) = kept(at), at.events()
    assert (refused_one.event_type, refused_one.campaign) == (accepted.type, accepted.campaign)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=600),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["event_type", "properties", "campaign_id", "individualisation3"]) | st.text(),
            inner,
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(Form), ANYTHING)
def test_whatever_was_sent_its_shape_can_be_kept(form: Form, sent: object) -> None:
    about = told_of(form, sent, Rules())

    assert all(each is None or (0 < len(each) <= 500 and is_storable(each)) for each in about)
    assert -(2**63) <= Shape(1, form.value, "r", "", *about).id < 2**63


def test_shapes_that_differ_in_anything_have_other_numbers() -> None:
    some = [
        Shape(project_id, form, reason, pointer, event_type, campaign)
        for project_id in (1, 11)
        for form in ("event", "")
        for reason in ("r", "")
        for pointer in ("", "=", "p")
        for event_type in (None, "t", "=", "None")
        for campaign in (None, "t", "=", "None")
    ]

    assert len({each.id for each in some}) == len(some)


# -- what was refused before it was counted ---------------------------------------------------------


@dataclass(frozen=True)
class Old:
    """A rejection as 0003 has it."""

    project_id: int
    form: str
    reason: str
    pointer: str
    state: str
    count: int
    received_us: int
    last_seen_us: int


def of_old() -> list[Old]:
    random = Random(7)  # nothing is secret
    found = []
    for number in range(120):
        received_us = T0 + number * HOUR_US // 7
        count = random.choice((1, 1, 2, 5))
        found.append(
            Old(
                1 + number % 40 // 30,
                random.choice(("event", "command", "flat")),
                random.choice(("malformed_json", "empty_customer_id")),
                random.choice(("", "/customer_ids/registered", "/properties/Stra\u00dfe")),
                random.choice(("open", "replayed", "dismissed")),
                count,
                received_us,
                received_us + random.choice((0, 1, HOUR_US, 40 * DAY_US)) * (count > 1),
            )
        )
    return found


def write_of_old(connection: Connection, number: int, row: Old) -> None:
    columns = "project_id, form, reason, pointer, state, count, received_us, last_seen_us"
    marks = ", ".join(f":{name}" for name in asdict(row))
    connection.execute(
        text(
            f"INSERT INTO rejections (id, detail, attempts, headers, body, {columns})"
            f" VALUES (:id, 'd', 0, '[]', :body, {marks})"
        ),
        {"id": number, "body": b"{}"} | asdict(row),
    )


@contextmanager
def engine_of(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def migrate_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, revision)


def counted(engine: Engine) -> list[list[Any]]:
    with engine.connect() as connection:
        tables = shapes, shape_states, shape_hours, rejection_hours
        found = [list(connection.execute(select(each).order_by(*each.primary_key))) for each in tables]
        ids = select(rejections.c.id, rejections.c.shape_id).order_by(rejections.c.id)
        return [*found, list(connection.execute(ids))]


def test_what_was_refused_before_counts_as_if_it_came_in_today(empty_database_url: str) -> None:
    with engine_of(empty_database_url) as engine:
        migrate_to(engine, "0003")
        old = of_old()
        with engine.execution_options(writes=True).begin() as connection:
            for number, row in enumerate(old, 1):
                write_of_old(connection, number, row)

        migrations.migrate(engine)

        migrated = counted(engine)
        with reports.reading(engine) as connection:
            assert [refusal_counts.miscounts(connection, each) for each in (1, 2)] == [[], []]
        with engine.execution_options(writes=True).begin() as connection:
            for table in (rejections, shapes, shape_states, shape_hours, rejection_hours):
                connection.execute(delete(table))
        rows = Rows(engine)
        rows.begin_project()
        for row in old:
            rows.project_id = row.project_id
            values = asdict(row)
            del values["project_id"]
            rows.rejection(**values)
        assert migrated == counted(engine)


def test_a_database_without_rejections_is_brought_to_the_counters(empty_database_url: str) -> None:
    with engine_of(empty_database_url) as engine:
        migrate_to(engine, "0003")
        migrations.migrate(engine)

        assert counted(engine) == [[], [], [], [], []]
