"""Letters and their counts are what the events tell, whatever was done."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, text

from receiver.domain.commands import Form
from receiver.domain.stages import STAGES
from receiver.inbound.deliveries import Became
from receiver.inbound.rejections import How
from receiver.inbound.undoing import NotDone
from receiver.outbound.deciding import Decider
from receiver.outbound.letters import LetterRules
from receiver.outbound.optilyz import (
    Answer,
    Answered,
    Denied,
    Queued,
    Refused,
    RefusedWhole,
    Unknown,
    Unreached,
)
from receiver.outbound.settling import hold_back, settle
from receiver.store import asking, recounting, reports, writes
from receiver.store.mailings import State
from receiver.store.refusal_counts import Miscount
from receiver.store.sets import Transaction
from receiver.store.tables import (
    events,
    mailings,
    rejections,
    withdrawn_events,
)
from tests.letters_by_hand import Told, by_hand, miscounts_of, what_is_kept
from tests.mending import HOUR_US, SECOND_US, SENT_US, T0, Bench, bench, command
from tests.posting import person

SECONDS = How(names=("milliseconds-to-seconds",))
NO_EMPTY_IDS = How(names=("drop-empty-ids",))
AS_IT_IS = How()


@pytest.fixture
def at(database_url: str) -> Iterator[Bench]:
    with bench(database_url, max_commands=20) as at:
        yield at


def event(who: str | None = "c-1", *, at_us: int = SENT_US, **properties: Any) -> dict[str, Any]:
    """A letter of the campaign was posted, unless *properties* say otherwise; None leaves one out."""
    said = {"status": "posted", "campaign_id": "winback"} | properties
    return {
        "customer_ids": {"registered": who},
        "event_type": "campaign",
        "timestamp": at_us // SECOND_US,
        "properties": {name: value for name, value in said.items() if value is not None},
    }


def kept(at: Bench) -> Told:
    return what_is_kept(at.engine)


def miscounts(at: Bench) -> list[Miscount]:
    return miscounts_of(at.engine)


def check(at: Bench) -> None:
    assert kept(at) == by_hand(at.engine)
    assert miscounts(at) == []


def recount(at: Bench) -> None:
    with at.engine.execution_options(writes=True).begin() as connection:
        recounting.recount(connection, at.project_id)


# -- whatever is done -------------------------------------------------------------------------------

WORDS = (
    *("booked", "enqueued", "printing", "posted", "delivered", "returned"),
    *("soft_bounced", "preblocked", "enqueue_failed", "never heard of", None),
)
CAMPAIGNS = ("winback", "winback", "winback", "spring", 'Stra\u00dfe \'n "x"; --', None)
VARIATIONS = (None, None, None, "A", "B", 2)
POISON = "poison"


class Walk:
    """Does whatever comes to mind to two projects that know the same people and campaigns."""

    def __init__(self, at: Bench, seed: int) -> None:
        self.at = at
        self.random = Random(seed)  # nothing is secret
        self.rules = LetterRules.of(at.post.settings)
        self.sent: list[dict[str, Any]] = []
        self.projects = at.project_id, at.post.rows.begin_project()
        self.decider = Decider(at.engine, at.post.settings, patience=0)

    def step(self) -> None:
        self.at.project_id = self.at.post.rows.project_id = self.random.choice(self.projects)
        doing = (
            *(self.send, self.send, self.send_batch, self.send_bad, self.send_bad, self.repeat),
            *(self.replay, self.replay, self.replay, self.undo),
            *(self.intend, self.ask, self.ask, self.decide),
        )
        self.random.choice(doing)()

    # -- callbacks --------------------------------------------------------------------------------

    def ids(self) -> dict[str, str]:
        """Few of them, and both together often: people are merged, and cookies change hands."""
        some = {"registered": self.random.choice("abcd"), "cookie": self.random.choice("uvwxyz")}
        return self.random.choice(
            (some, some, {"cookie": some["cookie"]}, {"registered": some["registered"]})
        )

    def event(self) -> dict[str, Any]:
        # Few moments, so that stages coincide and come in any order.
        moment_us = SENT_US + self.random.choice((0, 1, 40 * 60, 3 * 3600, 5 * 86_400)) * SECOND_US
        mailing = self.random.choice((None, None, None, "f" * 24, *self.mailings()[:4]))
        made = event(
            at_us=moment_us + self.random.choice((0, 0, 7 * SECOND_US)),
            status=self.random.choice(WORDS),
            campaign_id=self.random.choice(CAMPAIGNS),
            variation=self.random.choice(VARIATIONS),
            mailing_id=mailing,
        )
        kind = self.random.choice((*["campaign"] * 9, *["other"] * 3, POISON))
        return made | {"customer_ids": self.ids(), "event_type": kind}

    def send(self) -> None:
        some = [self.event() for _ in range(self.random.randint(1, 9))]
        self.sent += some
        self.at.send(*some)

    def send_batch(self) -> None:
        self.at.send(
            {"commands": [command(self.event()) for _ in range(self.random.randint(1, 9))]}, form=Form.BATCH
        )

    def send_bad(self) -> None:
        bad = [self.event() for _ in range(self.random.randint(1, 4))]
        for each in bad:
            if self.random.random() < 0.5:
                each["timestamp"] *= 1000
            else:
                each["customer_ids"] = {"registered": "", "cookie": self.random.choice("uvw")}
        self.at.send(*bad, self.event())

    def repeat(self) -> None:
        if self.sent:
            self.at.send(*self.random.choices(self.sent, k=4))

    # -- repair -----------------------------------------------------------------------------------

    def rejections(self, state: str) -> list[int]:
        query = select(rejections.c.id).where(
            rejections.c.state == state, rejections.c.project_id == self.at.project_id
        )
        known = sorted(row.id for row in self.at.post.query(query))
        return self.random.sample(known, min(self.random.randint(1, 9), len(known)))

    def replay(self) -> None:
        before = kept(self.at)
        rehearsal = self.random.random() < 0.3
        how = self.random.choice((SECONDS, SECONDS, NO_EMPTY_IDS, AS_IT_IS))
        self.at.replay(*self.rejections("open"), how=how, rehearsal=rehearsal)
        if rehearsal:
            assert kept(self.at) == before

    def undo(self) -> None:
        for number in self.rejections("replayed"):
            with suppress(NotDone):
                self.at.undo(number)

    # -- sending ----------------------------------------------------------------------------------

    def mailings(self, *states: State) -> list[str]:
        query = select(mailings.c.id, mailings.c.state).where(mailings.c.project_id == self.at.project_id)
        known = sorted(row.id for row in self.at.post.query(query) if not states or row.state in states)
        return self.random.sample(known, len(known))

    @property
    def run_id(self) -> int:
        return self.at.project_id

    def intend(self) -> None:
        people = [
            person(self.ids(), city=self.random.choice(("Dresden", "Ulm", "")))
            for _ in range(self.random.randint(1, 4))
        ]
        self.at.post.intend(
            *people,
            run_id=self.run_id,
            campaign=self.random.choice(CAMPAIGNS),
            variation=self.random.choice((None, 1, 2)),
            once=self.random.random() < 0.5,
        )

    def ask(self) -> None:
        now_us = T0 + self.random.choice((0, HOUR_US))
        with self.at.post.ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            due = asking.due(transaction, self.run_id, self.random.randint(1, 5))
            if due is None:
                return
            of_due = hold_back(transaction, due[1], self.at.policy, self.rules, now_us)
            if not of_due:
                return
            asking.ask(transaction, of_due, "we", now_us, now_us + 1)
        with self.at.post.ledger.transaction() as transaction:
            self.answer(transaction, of_due, now_us + HOUR_US)

    def answer(self, transaction: Transaction, of_due: list[asking.Due], now_us: int) -> None:
        fates = [
            self.random.choice((Queued(f"o-{number}"), Queued(None), Refused("no"), Unknown("lost")))
            for number in range(len(of_due))
        ]
        others = Unreached("away", None), Denied(404, "gone"), RefusedWhole(400, "one of them")
        answers: list[Answer] = [*[Answered(fates)] * 5, *others]
        gateway = self.random.random() < 0.5
        writes.take_turn(transaction, 0)
        settle(
            transaction,
            "we",
            of_due,
            self.random.choice(answers),
            self.at.policy,
            self.rules,
            gateway=gateway,
            now_us=now_us,
        )

    def decide(self) -> None:
        for mailing in self.mailings(State.INTENDED)[:2]:
            self.decider.cancel(self.at.project_id, mailing)
        for mailing in self.mailings(State.UNKNOWN)[:2]:
            printed = self.random.random() < 0.5
            self.decider.resolve(self.at.project_id, mailing, printed=printed, note=None)


@contextmanager
def walking(at: Bench, seed: int) -> Iterator[Walk]:
    refuse(at, "events", "type")
    walk = Walk(at, seed)
    try:
        yield walk
    finally:
        walk.decider.close()


def refuse(at: Bench, table: str, column: str) -> None:
    """Let the database refuse poison."""
    with at.engine.execution_options(writes=True).begin() as connection:
        if at.engine.dialect.name == "postgresql":
            connection.execute(
                text(f"ALTER TABLE {table} ADD CONSTRAINT refuse CHECK ({column} <> '{POISON}')")
            )
        else:
            connection.execute(
                text(
                    f"CREATE TRIGGER refuse BEFORE INSERT ON {table} WHEN NEW.{column} = '{POISON}'"
                    " BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
            )


@pytest.mark.parametrize("seed", range(3))
def test_letters_are_what_their_events_tell_whatever_was_done(at: Bench, seed: int) -> None:
    with walking(at, seed) as walk:
        for _ in range(80):
            walk.step()
            check(at)

    told = kept(at)
    assert {stage for *_, times in told.letters.values() for stage in times} == {*STAGES}
    assert {bool(customer) for customer, _ in told.letters} == {True, False}
    assert len({project_id for project_id, *_ in told.letters.values()}) == 2
    there, gone = at.post.query(select(events)), at.post.query(select(withdrawn_events))
    assert {row.source for row in [*there, *gone]} == {"callback", "replayed", "sending", "identity"}
    assert {row.type for row in there} == {"campaign", "other", "merge", "id_moved"}
    assert gone
    assert "refused_by_database" in {row.reason for row in at.post.query(select(rejections))}
    for project_id in walk.projects:
        at.project_id = project_id
        recount(at)
        assert kept(at) == told
    assert miscounts(at) == []


# -- each for itself --------------------------------------------------------------------------------


def one_letter(at: Bench) -> tuple[str, str, dict[str, int]]:
    """Campaign, variation and times of the only letter there is; that it is counted is seen to."""
    check(at)
    (letter,) = kept(at).letters.values()
    return letter[1:]


def test_a_stage_that_comes_late_and_earlier_moves_what_was_counted(at: Bench) -> None:
    at.send(event(at_us=SENT_US + 3 * HOUR_US), event(status="booked", at_us=SENT_US + 2 * HOUR_US))
    at.send(event(at_us=SENT_US))

    times = {"queued": SENT_US + 2 * HOUR_US, "posted": SENT_US}
    assert one_letter(at) == ("winback", "", times)
    assert sum(kept(at).hours.values()) == 2
    assert sum(kept(at).delays.values()) == 2


def test_a_letter_that_two_people_got_who_are_one_is_one(at: Bench) -> None:
    at.send(event(None) | {"customer_ids": {"cookie": "u"}}, event(status="booked"))
    assert len(kept(at).letters) == 2
    check(at)

    # Together they merge; its own events are of the one who is left, and so is one that comes before.
    both = {"customer_ids": {"registered": "c-1", "cookie": "u"}}
    at.send(
        event(None, status="delivered") | {"customer_ids": {"cookie": "u"}},
        event(status="printing") | both,
        event(status="returned", at_us=SENT_US + 7 * SECOND_US),
    )

    _, _, times = one_letter(at)
    assert times == {
        **dict.fromkeys(("queued", "printing", "posted", "delivered"), SENT_US),
        "returned": SENT_US + 7 * SECOND_US,
    }


def test_several_are_merged_within_one_group(at: Bench) -> None:
    at.send(*[event(None) | {"customer_ids": {"cookie": each}} for each in "uvwx"])
    at.send(
        *[
            event(at_us=SENT_US - 1 - n) | {"customer_ids": {"registered": "c-1", "cookie": each}}
            for n, each in enumerate("uvwx")
        ]
    )

    assert len({row.customer_id for row in at.events()}) == 1
    one_letter(at)


def test_a_campaign_that_is_called_like_a_mailing_is_no_mailing(at: Bench) -> None:
    (decided,) = at.post.intend(person("c-1"), campaign="winback")
    at.post.change(state="queued")
    at.send(event("c-2", campaign_id=decided.mailing), event(mailing_id=decided.mailing))

    assert {*kept(at).letters} == {(0, decided.mailing), (at.events()[0].customer_id, decided.mailing)}
    check(at)


def test_what_is_known_of_a_letter_is_the_first_of_what_its_events_say(at: Bench) -> None:
    (decided,) = at.post.intend(person("c-1"), campaign="winback", variation=2)
    at.post.change(state="queued")
    told: dict[str, Any] = {"mailing_id": decided.mailing}
    at.send(event(campaign_id=None, **told))
    assert one_letter(at)[:2] == ("", "")
    at.send(event(status="booked", campaign_id="\u00e4", variation="\U0001f4ee", **told))
    assert one_letter(at)[:2] == ("\u00e4", "\U0001f4ee")
    at.send(event(status="printing", variation="\uffff", **told))
    assert one_letter(at)[:2] == ("winback", "\uffff")
    at.send(event(status="delivered", variation=2, **told))
    assert one_letter(at)[:2] == ("winback", "2")
    # Z is before a in both databases, whatever the server's locale.
    at.send(event(status="returned", campaign_id="Z", **told))
    assert one_letter(at)[:2] == ("Z", "2")


def test_what_the_sender_says_of_its_letters_tells_their_variation(at: Bench) -> None:
    at.post.intend(person("c-1", city=""), campaign="winback", variation=2)

    assert {(row.variation, row.stage) for row in at.post.events("sending")} == {("2", "failed")}
    assert one_letter(at)[:2] == ("winback", "2")


@pytest.mark.parametrize("number", range(1, 10))
def test_letters_of_any_number_of_events_that_are_withdrawn(at: Bench, number: int) -> None:
    # Of any number: some databases are given rows twice.
    at.send(*[event(f"c-{n}", status="booked") for n in range(0, number, 2)])
    before = kept(at)
    bad = [event(f"c-{n}") for n in range(number)]
    body = {"commands": [command(each) for each in bad] * 21}
    rejected = at.refused(body, Form.BATCH)
    at.replay(rejected, how=How(names=("split-batch",)))
    assert len(kept(at).letters) == number
    check(at)

    assert len(at.undo(rejected)) == number

    assert kept(at) == before
    check(at)


def test_a_mailing_is_again_what_we_know_of_it_when_its_callback_is_withdrawn(at: Bench) -> None:
    (decided,) = at.post.intend(person("c-1", city=""), campaign="winback", variation=2)
    before = kept(at)
    bad = event(status="delivered", campaign_id="another", variation="1", mailing_id=decided.mailing)
    rejected = at.refused(bad | {"timestamp": bad["timestamp"] * 1000})
    at.replay(rejected, how=SECONDS)
    campaign, variation, times = one_letter(at)
    assert (campaign, variation, {*times}) == ("another", "1", {"failed", "delivered"})

    at.undo(rejected)

    assert kept(at) == before
    check(at)


def test_events_without_a_stage_or_a_letter_are_of_a_kind_all_the_same(at: Bench) -> None:
    at.send(event(status=None), event(campaign_id=None), event(campaign_id=None, status=None))

    assert kept(at).letters == {}
    assert {kind[2:] for kind in kept(at).kinds} == {
        ("campaign", "winback", None, None),
        ("campaign", None, "posted", "posted"),
        ("campaign", None, None, None),
    }
    check(at)


def test_a_letter_that_the_database_refuses_costs_no_other(at: Bench) -> None:
    refuse(at, "letters", "campaign")
    some = [event(f"c-{n}", campaign_id="poison" if n in {2, 5} else "winback") for n in range(7)]

    became = [verdict.became for verdict in at.send(*some)]

    assert [n for n, each in enumerate(became) if each is Became.REJECTED] == [2, 5]
    assert len(kept(at).letters) == 5
    check(at)


@pytest.mark.parametrize(("length", "most"), [(100, 100), (101, 0), (500, 0)])
def test_the_longest_names_can_be_counted(at: Bench, length: int, most: int) -> None:
    random = Random(1)  # nothing is secret; such characters take four bytes each, and cannot be compressed
    campaign, variation = (
        "".join(chr(random.randrange(0x10000, 0x30000)) for _ in range(each)) for each in (500, length)
    )
    some = [event(status=word, campaign_id=campaign, variation=variation) for word in WORDS[:-1]]

    assert {verdict.became for verdict in at.send(*some)} == {Became.ACCEPTED}

    # An index of PostgreSQL holds both, and no more than 2.7 kB.
    assert one_letter(at)[:2] == (campaign, variation[:most])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_group_of_many_large_events_is_counted(at: Bench) -> None:
    large = "x" * 16_000
    some = [event(f"c-{n}", large=large) for n in range(1000)]

    assert {verdict.became for verdict in at.send(*some)} == {Became.ACCEPTED}

    assert kept(at).stages == {(at.project_id, "winback", "", 2 ** STAGES.index("posted")): 1000}
    check(at)


# -- what was counted wrong -------------------------------------------------------------------------

WRONG = {
    "letters": (
        "posted_us = posted_us + 1",
        "posted_us = NULL",
        "variation = 'B'",
        "reference = 'spring'",
    ),
    "campaign_letters": ("letters = letters + 1", "stages = 1", "letters = 0"),
    "campaign_days": ("h0 = h0 + 1", "day_us = day_us + 1", "h23 = -1"),
    "campaign_delays": ("letters = letters + 1", "bucket = bucket + 1", "since = 'printing'"),
    "event_kinds": ("events = events + 1", "stage = 'queued'", "status = NULL"),
}


@pytest.mark.parametrize(
    ("table", "change"), [(table, change) for table, changes in WRONG.items() for change in changes]
)
def test_what_was_counted_wrong_is_told_and_can_be_counted_anew(at: Bench, table: str, change: str) -> None:
    at.send(event(status="booked"), event(at_us=SENT_US + HOUR_US))
    good = kept(at)
    one = {
        "letters": "posted_us IS NOT NULL",
        "campaign_letters": "stages = 5",
        "campaign_days": "stage = 'posted'",
        "campaign_delays": "since = 'queued'",
        "event_kinds": "stage = 'posted'",
    }[table]
    with at.engine.execution_options(writes=True).begin() as connection:
        assert connection.execute(text(f"UPDATE {table} SET {change} WHERE {one}")).rowcount == 1

    assert kept(at) != good
    (first, *_) = miscounts(at)
    what = "times between stages" if table == "campaign_delays" else f"rows of {table} that do not agree"
    assert first.what.startswith(what)
    recount(at)
    assert kept(at) == good
    assert miscounts(at) == []


@pytest.mark.parametrize("table", sorted(WRONG))
def test_what_is_not_counted_at_all_is_told(at: Bench, table: str) -> None:
    at.send(event(status="booked"), event(at_us=SENT_US + HOUR_US))
    good = kept(at)
    with at.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(f"DELETE FROM {table}"))

    assert miscounts(at)
    recount(at)
    assert kept(at) == good
    assert miscounts(at) == []


def test_one_project_is_counted_anew_without_the_others(at: Bench) -> None:
    first = at.project_id
    at.send(event())
    at.project_id = at.post.rows.begin_project()
    at.send(event(), event(campaign_id="spring"))
    good = kept(at)
    assert len(good.letters) == 3
    with at.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(f"UPDATE letters SET posted_us = 7 WHERE project_id = {first}"))

    recount(at)
    with reports.reading(at.engine) as connection:
        assert recounting.miscounts(connection, at.project_id) == []
        assert recounting.miscounts(connection, first) != []
    at.project_id = first
    recount(at)
    assert kept(at) == good
