"""Mailings are counted by campaign and state, whatever becomes of them and whoever writes them."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command as alembic
from alembic.config import Config
from sqlalchemy import event, select, text

from receiver.inbound.rejections import How
from receiver.outbound.deciding import Decider
from receiver.outbound.letters import LetterRules
from receiver.outbound.optilyz import Answer, Answered, Queued, Refused, RefusedWhole, Unknown
from receiver.outbound.settling import settle
from receiver.store import asking, reports, writes
from receiver.store.campaigns import find_campaign, is_known
from receiver.store.engine import connect
from receiver.store.mailings import State
from receiver.store.recounting import recount
from receiver.store.sets import Transaction, savepoint
from receiver.store.tables import campaign_mailings, mailings
from tests.letters_by_hand import miscounts_of
from tests.mending import T0, Bench, bench
from tests.mending import event as said
from tests.posting import NOW_US, RUN, person

OWNER = "we"

Counted = dict[tuple[str, str], tuple[int, int]]
"""(campaign, state) -> how many mailings, and how many of them were heard of."""


@pytest.fixture
def at(database_url: str) -> Iterator[Bench]:
    with bench(database_url) as at:
        yield at


def counted(at: Bench) -> Counted:
    """What is counted of the project, without what nothing is left of; that is right of all projects."""
    there: Counter[tuple[int, str, str]] = Counter()
    heard: Counter[tuple[int, str, str]] = Counter()
    for row in at.post.query(select(mailings)):
        place = row.project_id, row.campaign or "", row.state
        there[place] += 1
        heard[place] += row.heard_us is not None
    kept = {tuple(row[:3]): (*row[3:],) for row in at.post.query(select(campaign_mailings)) if any(row[3:])}
    assert kept == {place: (number, heard[place]) for place, number in there.items()}
    assert miscounts_of(at.engine) == []
    return {place[1:]: numbers for place, numbers in kept.items() if place[0] == at.project_id}


def intend(at: Bench, number: int, **how: Any) -> list[str]:
    return [each.mailing for each in at.post.intend(*[person(f"c-{n}") for n in range(number)], **how)]


def ask(at: Bench, until_us: int = NOW_US + 1) -> list[asking.Due]:
    with at.post.ledger.transaction() as transaction:
        writes.take_turn(transaction, 0)
        due = asking.due(transaction, RUN, 1000)
        assert due is not None
        asking.ask(transaction, due[1], OWNER, NOW_US, until_us)
    return due[1]


def answer(at: Bench, due: list[asking.Due], said: Answer) -> None:
    with at.post.ledger.transaction() as transaction:
        writes.take_turn(transaction, 0)
        rules = LetterRules.of(at.post.settings)
        settle(transaction, OWNER, due, said, at.policy, rules, gateway=False, now_us=NOW_US)


def heard_of(mailing: str, status: str = "printing", who: str = "c-0") -> dict[str, Any]:
    properties = {"status": status, "campaign_id": "winback", "mailing_id": mailing}
    return said({"registered": who}, properties=properties)


def change(at: Bench, *statements: str) -> None:
    with at.engine.execution_options(writes=True).begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


# -- each way from state to state -------------------------------------------------------------------


def test_letters_are_counted_from_the_first_to_the_last(at: Bench) -> None:
    # Three: SQLite is given some of them twice.
    intend(at, 3)
    assert counted(at) == {("winback", "intended"): (3, 0)}

    due = ask(at)
    assert counted(at) == {("winback", "asked"): (3, 0)}

    answer(at, due, Answered([Queued("o-1"), Refused("no"), Unknown("lost")]))
    states = ("queued", "refused", "unknown")
    assert counted(at) == {("winback", state): (1, 0) for state in states}

    at.send(*[heard_of(each.id, who=f"c-{n}") for n, each in enumerate(due)])
    assert counted(at) == {("winback", "queued"): (2, 2), ("winback", "refused"): (1, 1)}


def test_letters_that_are_asked_for_again_wait_again(at: Bench) -> None:
    intend(at, 3)

    answer(at, ask(at), RefusedWhole(400, "one of them"))

    assert counted(at) == {("winback", "intended"): (3, 0)}


def test_what_is_not_even_intended_is_counted(at: Bench) -> None:
    at.post.intend(person("c-1"), person("c-2", city=""))
    at.post.intend(person("c-1"))

    assert counted(at) == {
        ("winback", "intended"): (1, 0),
        ("winback", "refused"): (1, 0),
        ("winback", "suppressed"): (1, 0),
    }


def test_a_letter_is_heard_of_once_however_often(at: Bench) -> None:
    intend(at, 2)
    due = ask(at)
    answer(at, due, Answered([Queued(None)] * 2))

    at.send(*[heard_of(due[0].id, status) for status in ("printing", "posted", "printing")])
    at.send(heard_of(due[0].id, "delivered"))

    assert counted(at) == {("winback", "queued"): (2, 1)}


def test_a_letter_that_is_heard_of_before_it_is_answered_keeps_it(at: Bench) -> None:
    intend(at, 1)
    due = ask(at)
    at.send(heard_of(due[0].id))
    assert counted(at) == {("winback", "asked"): (1, 1)}

    answer(at, due, Answered([Unknown("lost")]))

    assert counted(at) == {("winback", "queued"): (1, 1)}


def test_letters_whose_asker_is_gone_are_of_unknown_fate_or_queued(at: Bench) -> None:
    intend(at, 3)
    due = ask(at)
    at.send(heard_of(due[1].id, who="c-1"))

    with at.post.ledger.transaction() as transaction:
        writes.take_turn(transaction, 0)
        asking.forsake(transaction, NOW_US + 2)

    assert counted(at) == {("winback", "unknown"): (2, 0), ("winback", "queued"): (1, 1)}


def test_what_people_decide_is_counted(at: Bench) -> None:
    ids = intend(at, 4)
    change(at, f"UPDATE mailings SET state = 'unknown' WHERE id IN ('{ids[0]}', '{ids[1]}')")
    with closing(Decider(at.engine, at.post.settings, patience=0)) as decider:
        decider.resolve(at.project_id, ids[0], printed=True, note=None)
        decider.resolve(at.project_id, ids[1], printed=False, note=None)
        decider.cancel(at.project_id, ids[2])

    assert counted(at) == {
        ("winback", "queued"): (1, 0),
        ("winback", "intended"): (2, 0),
        ("winback", "cancelled"): (1, 0),
    }


def test_what_was_heard_and_is_withdrawn_was_not_heard(at: Bench) -> None:
    intend(at, 1)
    due = ask(at)
    answer(at, due, Answered([Queued(None)]))
    bad = heard_of(due[0].id)
    rejected = at.refused(bad | {"timestamp": bad["timestamp"] * 1000})
    at.replay(rejected, how=How(names=("milliseconds-to-seconds",)))
    assert counted(at) == {("winback", "queued"): (1, 1)}

    at.undo(rejected)

    assert counted(at) == {("winback", "queued"): (1, 0)}


def test_letters_of_people_who_are_one_are_still_two(at: Bench) -> None:
    at.post.intend(person({"cookie": "u"}), person("c-1"))

    at.send(said({"registered": "c-1", "cookie": "u"}))

    assert len({row.customer_id for row in at.post.letters()}) == 1
    assert counted(at) == {("winback", "intended"): (2, 0)}


# -- where they are counted ---------------------------------------------------------------------------


def test_letters_without_a_campaign_are_counted_by_themselves(at: Bench) -> None:
    intend(at, 2, campaign=None)
    intend(at, 1)

    assert counted(at) == {("", "intended"): (2, 0), ("winback", "intended"): (1, 0)}


def test_each_project_has_its_own(at: Bench) -> None:
    intend(at, 1)
    at.project_id = at.post.rows.begin_project()
    intend(at, 2)

    assert counted(at) == {("winback", "intended"): (2, 0)}


def test_whoever_changes_mailings_by_hand_changes_the_counts(at: Bench) -> None:
    ids = intend(at, 3)
    change(at, f"UPDATE mailings SET campaign = 'spring', heard_us = 1 WHERE id <> '{ids[0]}'")
    assert counted(at) == {("winback", "intended"): (1, 0), ("spring", "intended"): (2, 2)}

    change(at, f"UPDATE mailings SET campaign = NULL, heard_us = NULL WHERE id = '{ids[1]}'")
    assert counted(at) == {
        (each, "intended"): (1, int(each == "spring")) for each in ("winback", "", "spring")
    }

    change(at, f"DELETE FROM mailings WHERE id <> '{ids[0]}'")
    assert counted(at) == {("winback", "intended"): (1, 0)}


def test_what_is_not_counted_costs_nothing(at: Bench) -> None:
    intend(at, 2)
    change(at, "UPDATE mailings SET heard_us = 1", "DELETE FROM campaign_mailings")

    change(
        at,
        "UPDATE mailings SET untold = NOT untold, customer_id = 7",
        "UPDATE mailings SET state = state, campaign = campaign, heard_us = 2",
    )

    assert at.post.query(select(campaign_mailings)) == []


# -- all or nothing -----------------------------------------------------------------------------------


class Away(Exception):
    """Something fails in the midst of a transaction."""


def ask_for_one(transaction: Transaction) -> None:
    writes.take_turn(transaction, 0)
    due = asking.due(transaction, RUN, 1)
    assert due is not None
    asking.ask(transaction, due[1], OWNER, NOW_US, NOW_US + 1)


def test_what_is_rolled_back_was_never_counted(at: Bench) -> None:
    intend(at, 2)

    def fail() -> None:
        with at.post.ledger.transaction() as transaction:
            ask_for_one(transaction)
            raise Away

    with pytest.raises(Away):
        fail()
    assert counted(at) == {("winback", "intended"): (2, 0)}

    with at.post.ledger.transaction(rehearsal=True) as transaction:
        ask_for_one(transaction)
    assert counted(at) == {("winback", "intended"): (2, 0)}


def test_a_part_that_fails_takes_its_counts_back(at: Bench) -> None:
    intend(at, 2)

    def fail(transaction: Transaction) -> None:
        with savepoint(transaction):
            ask_for_one(transaction)
            raise Away

    with at.post.ledger.transaction(stepwise=True) as transaction:
        ask_for_one(transaction)
        with pytest.raises(Away):
            fail(transaction)

    assert counted(at) == {("winback", "asked"): (1, 0), ("winback", "intended"): (1, 0)}


# -- what reads them ----------------------------------------------------------------------------------


def test_a_campaign_of_which_no_mailing_is_left_is_not_known(at: Bench) -> None:
    intend(at, 1)
    with reports.reading(at.engine) as connection:
        assert is_known(connection, at.project_id, "winback")
    change(at, "UPDATE mailings SET campaign = 'spring'")

    with reports.reading(at.engine) as connection:
        assert not is_known(connection, at.project_id, "winback")
        found = find_campaign(connection, at.project_id, "spring", now_us=T0)
    assert found is not None
    assert found.mailings == {State.INTENDED: 1}


def test_silent_mailings_are_counted_without_reading_them(at: Bench) -> None:
    intend(at, 1)
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    with reports.reading(at.engine) as connection:
        event.listen(at.engine, "before_cursor_execute", note)
        find_campaign(connection, at.project_id, "winback", now_us=T0)
        event.remove(at.engine, "before_cursor_execute", note)
        ((statement, parameters),) = [each for each in statements if "heard_us" in each[0]]
        explain = "EXPLAIN QUERY PLAN"
        if at.engine.dialect.name == "postgresql":
            explain = "EXPLAIN"
            # Its planner knows how few there are.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        found = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        plan = "\n".join(str(row[-1]) for row in found)

    assert re.search("(COVERING INDEX|Index Only Scan using) ix_mailings_silence", plan)


# -- what is wrong ------------------------------------------------------------------------------------

WRONG = ("mailings = mailings + 1", "mailings = 0", "heard = heard + 1", "state = 'asked'", "campaign = ''")


@pytest.mark.parametrize(
    "wrong", [*(f"UPDATE campaign_mailings SET {each}" for each in WRONG), "DELETE FROM campaign_mailings"]
)
def test_what_is_counted_wrong_is_told_and_can_be_counted_anew(at: Bench, wrong: str) -> None:
    intend(at, 2)
    good = counted(at)
    change(at, wrong)

    (found,) = miscounts_of(at.engine)
    assert found.what == "rows of campaign_mailings that do not agree with the mailings"
    with at.engine.execution_options(writes=True).begin() as connection:
        recount(connection, at.project_id)

    assert counted(at) == good
    ask(at)
    assert counted(at) == {("winback", "asked"): (2, 0)}


def test_mailings_from_before_they_were_counted_are_counted(empty_database_url: str) -> None:
    engine = connect(empty_database_url)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    columns = (
        "id, project_id, campaign, state, heard_us, route, automation, ids, together, attempts, created_us"
    )
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, "0005")
        connection.execute(text("INSERT INTO projects VALUES (1, 't', 'letters', 0)"))
        for number, of_it in enumerate(("'a', 'queued', 5", "'a', 'queued', NULL", "NULL, 'refused', NULL")):
            row = f"'m-{number}', 1, {of_it}, 'recipients', 'x', '{{}}', 1, 0, 0, false"
            connection.execute(text(f"INSERT INTO mailings ({columns}, untold) VALUES ({row})"))

        alembic.upgrade(config, "0006")

        found = connection.execute(select(campaign_mailings)).all()
    engine.dispose()
    assert {*map(tuple, found)} == {(1, "a", "queued", 2, 1), (1, "", "refused", 1, 0)}
