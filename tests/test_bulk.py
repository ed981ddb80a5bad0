"""All rejections that match are mended alike, whoever else is at work."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.domain.commands import Form
from receiver.inbound import bulk
from receiver.inbound.deliveries import Policy
from receiver.inbound.rejections import Action, How, Who
from receiver.store.refused import RejectionFilter
from receiver.store.sets import Ledger
from tests.mending import (
    HOUR_US,
    LATER,
    MINUTE_US,
    T0,
    Bench,
    as_bytes,
    bench,
    event,
    in_milliseconds,
    without_id,
)

SECONDS = How(names=("milliseconds-to-seconds",))
NO_EMPTY_IDS = How(names=("drop-empty-ids",))
ALL = RejectionFilter()
MILLISECONDS = RejectionFilter(reason="timestamp_in_milliseconds")


@pytest.fixture
def at(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as at:
        yield at


def fill(at: Bench) -> None:
    """250 rejections: 210 in milliseconds, of which 10 are there already and 20 have an empty ID beside
    that no repair of the time mends; 30 with an empty ID; 10 that are not JSON."""
    late = [in_milliseconds({"registered": f"c-{number}"}) for number in range(190)]
    both = [in_milliseconds({"registered": f"d-{number}"}, properties={"a": [1]}) for number in range(20)]
    bad = [body | {"properties": "none"} for body in both]
    empty = [event({"registered": "", "cookie": f"u-{number}"}) for number in range(30)]
    broken = [b"{%d" % number for number in range(10)]
    at.send(*late[:100], *broken)
    at.send(*empty, *bad, *late[100:])
    at.send(*[event({"registered": f"c-{number}"}) for number in range(10)])
    assert len(at.states()) == 250


def replay_matching(
    at: Bench, wanted: RejectionFilter, how: How, *, dry_run: bool = False, **more: Any
) -> bulk.Totals:
    who = Who(None, LATER)
    return bulk.replay_matching(
        at.engine, at.post.ledger, at.policy, at.project_id, wanted, how, who, dry_run=dry_run, **more
    )


def numbers(totals: bulk.Totals) -> tuple[int, int, int, int]:
    return totals.matched, totals.accepted, totals.duplicate, totals.rejected


def test_large_bodies_have_a_transaction_of_their_own(at: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    at.send(*[in_milliseconds({"registered": f"c-{number}"}) for number in range(7)])
    size = len(as_bytes(in_milliseconds({"registered": "c-0"})))
    at_once: list[int] = []

    for most in (3 * size, 1):
        monkeypatch.setattr(bulk, "_MOST_BYTES", most)
        totals = replay_matching(at, MILLISECONDS, SECONDS, dry_run=most > 1, report=at_once.append)
        assert numbers(totals) == (7, 7, 0, 0)

    assert at_once == [3, 3, 1, 1, 1, 1, 1, 1, 1, 1]


def test_a_dry_run_changes_nothing_and_says_what_applying_does(at: Bench) -> None:
    fill(at)
    before, states = at.post.sizes(), at.states()

    rehearsed = replay_matching(at, MILLISECONDS, SECONDS, dry_run=True)
    assert (at.post.sizes(), at.states()) == (before, states)
    applied = replay_matching(at, MILLISECONDS, SECONDS)

    assert numbers(applied) == (210, 180, 10, 20)
    assert applied.reasons == Counter({"wrong_type": 20})
    assert numbers(rehearsed) == numbers(applied)
    assert rehearsed.reasons == applied.reasons
    assert [each.rejection_id for each in rehearsed.samples] == [
        each.rejection_id for each in applied.samples
    ]
    assert at.counts() == (210, 180, 10, 20)
    assert len(at.events()) == 190
    assert Counter(at.states().values()) == {"open": 60, "replayed": 190}


def test_samples_are_few_and_of_each_outcome(at: Bench) -> None:
    fill(at)

    totals = replay_matching(at, ALL, SECONDS, dry_run=True)

    assert len(totals.samples) <= bulk.SAMPLES
    assert {each.outcome for each in totals.samples} == {"accepted", "duplicate", "rejected"}


def test_what_the_repair_does_not_fit_is_counted_and_left_open(at: Bench) -> None:
    fill(at)

    totals = replay_matching(at, ALL, NO_EMPTY_IDS)

    assert numbers(totals) == (250, 30, 0, 220)
    assert totals.reasons == Counter({"": 220})
    assert Counter(at.states().values()) == {"open": 220, "replayed": 30}


def test_applied_twice_it_makes_nothing_twice(at: Bench) -> None:
    fill(at)
    replay_matching(at, MILLISECONDS, SECONDS)
    made = at.events()

    again = replay_matching(at, MILLISECONDS, SECONDS)

    assert numbers(again) == (20, 0, 0, 20)
    assert at.events() == made


def test_some_at_a_time_come_to_the_same_as_all_at_once(at: Bench) -> None:
    fill(at)
    whole = replay_matching(at, ALL, SECONDS, dry_run=True)

    parts, after = [], None
    while True:
        parts.append(replay_matching(at, ALL, SECONDS, after=after, limit=70))
        if parts[-1].next is None:
            break
        after = parts[-1].next

    assert [part.matched for part in parts] == [70, 70, 70, 40]
    assert [sum(each) for each in zip(*map(numbers, parts), strict=True)] == list(numbers(whole))


def test_broken_off_it_goes_on_where_it_was(at: Bench) -> None:
    fill(at)
    stop = threading.Event()
    reported: list[int] = []

    def report(done: int) -> None:
        reported.append(done)
        stop.set()

    first = replay_matching(at, MILLISECONDS, SECONDS, stop=stop, report=report)
    assert (reported, first.matched) == ([100], 100)
    assert len(at.events()) == 10 + first.accepted
    rest = replay_matching(at, MILLISECONDS, SECONDS)

    assert first.accepted + rest.accepted == 180
    assert first.duplicate + rest.duplicate == 10
    assert len(at.events()) == 190
    at.counts()


def test_what_was_stopped_before_it_began_does_nothing(at: Bench) -> None:
    fill(at)
    stop = threading.Event()
    stop.set()
    before = at.post.sizes()

    assert numbers(replay_matching(at, ALL, SECONDS, stop=stop)) == (0, 0, 0, 0)
    assert at.post.sizes() == before


def test_it_is_safe_beside_live_traffic(at: Bench) -> None:
    fill(at)
    begun, stop = threading.Event(), threading.Event()
    sent: list[str] = []

    def send_on() -> None:
        """Resend, corrected, what is being mended, with repeats of the originals and new events between."""
        ledger = Ledger(at.engine)
        while not stop.is_set() and len(sent) < 3 * 190:
            who = {"registered": f"c-{189 - len(sent) // 3}"}
            new = event({"registered": "live"}, timestamp=1_760_000_000 + len(sent))
            done = at.send(event(who), in_milliseconds(who), new, at_us=T0 + HOUR_US, ledger=ledger)
            sent.extend(each.became.value for each in done)
            begun.set()
        ledger.close()

    live = threading.Thread(target=send_on)
    live.start()
    begun.wait(30)
    totals = replay_matching(at, MILLISECONDS, SECONDS)
    stop.set()
    live.join()

    assert totals.rejected == 20
    assert totals.accepted + totals.duplicate == 190
    sender, mended = at.counts("callback"), at.counts("replayed")
    # One for each of 190 customers, whoever was first, and all that was new.
    assert len(at.events()) == 190 + len(sent) // 3 == sender.accepted + mended.accepted
    assert Counter(at.states().values()) == {"open": 60, "replayed": 190}


def test_the_filter_decides_what_is_mended(at: Bench) -> None:
    early, late = (
        at.refused(in_milliseconds({"registered": name}), at_us=T0 + hours * HOUR_US)
        for name, hours in (("anna", 0), ("bert", 5))
    )

    by_text = replay_matching(at, RejectionFilter(text='"anna"'), SECONDS, dry_run=True)
    by_time = replay_matching(at, RejectionFilter(since_us=T0 + HOUR_US), SECONDS, dry_run=True)

    assert [each.rejection_id for each in by_text.samples] == [early]
    assert [each.rejection_id for each in by_time.samples] == [late]


def test_only_open_ones_are_mended_whatever_the_filter_says(at: Bench) -> None:
    number = at.refused(in_milliseconds())
    at.decide(Action.DISMISS, number)

    assert numbers(replay_matching(at, RejectionFilter(state="dismissed"), SECONDS)) == (0, 0, 0, 0)
    assert at.now(number).state == "dismissed"


def test_another_project_is_left_alone(at: Bench) -> None:
    number = at.refused(in_milliseconds())
    of_ours, at.project_id = at.project_id, at.post.rows.begin_project()
    assert numbers(replay_matching(at, ALL, SECONDS)) == (0, 0, 0, 0)
    at.project_id = of_ours
    assert at.now(number).state == "open"


def test_after_a_change_of_settings_what_passes_today_is_replayed_as_it_is(at: Bench) -> None:
    fill(at)
    at.policy = Policy.of(at.post.settings.model_copy(update={"empty_ids": "drop"}))

    rehearsed = replay_matching(at, ALL, How(), dry_run=True)
    applied = replay_matching(at, ALL, How())

    assert numbers(rehearsed) == numbers(applied) == (250, 30, 0, 220)
    assert rehearsed.reasons == applied.reasons
    assert applied.reasons == Counter({"timestamp_in_milliseconds": 210, "malformed_json": 10})


def test_all_that_match_are_dismissed_and_opened_again(at: Bench) -> None:
    fill(at)

    def decide(action: Action, wanted: RejectionFilter) -> int:
        ledger, who = at.post.ledger, Who("key-1", LATER)
        return bulk.decide_matching(at.engine, ledger, at.project_id, wanted, action, "known", who)

    assert decide(Action.DISMISS, MILLISECONDS) == 210
    assert Counter(at.states().values()) == {"open": 40, "dismissed": 210}
    assert decide(Action.DISMISS, MILLISECONDS) == 0
    assert decide(Action.REOPEN, ALL) == 210
    assert Counter(at.states().values()) == {"open": 250}


def test_what_is_refused_meanwhile_is_not_among_them(at: Bench) -> None:
    at.send(*[in_milliseconds({"registered": f"c-{number}"}) for number in range(150)])
    report_once = threading.Event()

    def report(_: int) -> None:
        if not report_once.is_set():
            report_once.set()
            at.refused(in_milliseconds({"registered": "late"}), at_us=T0 + MINUTE_US)

    assert numbers(replay_matching(at, ALL, SECONDS, report=report)) == (150, 150, 0, 0)
    assert Counter(at.states().values()) == {"open": 1, "replayed": 150}


def test_the_parts_of_bodies_are_kept_once_however_often_they_are_split(at: Bench) -> None:
    commands = [
        {"name": "customers/events", "data": without_id(timestamp=1_760_000_000 + n)} for n in range(60)
    ]
    number = at.refused(as_bytes({"commands": commands}), Form.BATCH)
    split = How(names=("split-batch",))

    for _ in range(2):
        assert numbers(replay_matching(at, RejectionFilter(reason="too_many_commands"), split)) == (
            1,
            0,
            0,
            1,
        )

    assert Counter(at.states().values()) == {"open": 61}
    assert at.now(number).attempts == 2
