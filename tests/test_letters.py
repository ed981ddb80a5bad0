"""What is asked about letters: pages, filters, counts; and that no page costs a walk over all of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event

from receiver.domain.moments import DAY_US
from receiver.store import letters, reports, suppressions
from receiver.store.event_places import EventFilter
from receiver.store.letters import MailingFilter
from receiver.store.reports import reading
from receiver.store.suppressions import SuppressionFilter
from receiver.store.tables import HEARD_LAST
from tests.posting import NOW_US, Post, person, posting


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    with posting(database_url) as post:
        yield post


def page(post: Post, *, limit: int = 100, after: str | None = None, **wanted: Any) -> letters.MailingPage:
    with reading(post.engine) as connection:
        return letters.mailings_page(
            connection, post.rows.project_id, MailingFilter(**wanted), after=after, limit=limit
        )


def found(post: Post, **wanted: Any) -> list[str]:
    """The registered IDs of the letters of a page."""
    return [row.ids.split('"')[3] for row in page(post, **wanted).rows]


def intend(post: Post, *names: str, **how: Any) -> list[str]:
    return [each.mailing for each in post.intend(*map(person, names), **how)]


# -- pages ----------------------------------------------------------------------------------------


def test_the_newest_letter_comes_first_and_pages_follow_each_other(post: Post) -> None:
    intend(post, "anna", "bert", "cora")
    intend(post, "dora")

    first = page(post, limit=3)
    second = page(post, limit=3, after=first.next)

    assert [row.ids.split('"')[3] for row in first.rows] == ["dora", "cora", "bert"]
    assert first.next == first.rows[-1].id
    assert [row.ids.split('"')[3] for row in second.rows] == ["anna"]
    assert second.next is None


def test_a_page_that_just_fits_is_the_last_one(post: Post) -> None:
    intend(post, "anna", "bert")

    assert page(post, limit=2).next is None


def test_letters_of_another_project_are_nobodys_business(post: Post) -> None:
    (mailing,) = intend(post, "anna")
    own = post.rows.project_id
    other = post.rows.begin_project()

    assert found(post) == []
    assert found(post, campaign="winback") == []
    with reading(post.engine) as connection:
        assert letters.find_mailing(connection, other, mailing) is None
        assert letters.find_mailing(connection, own, mailing) is not None
        assert letters.project_of(connection, mailing) == own
        assert letters.project_of(connection, "0" * 24) is None


def test_every_filter_leaves_out_the_others(post: Post) -> None:
    intend(post, "anna", campaign="spring")
    intend(post, "bert", campaign="winback")
    customer = post.letters()[0].customer_id
    post.change(state="queued", settled_us=NOW_US, heard_us=None)

    intend(post, "cora", campaign=None)

    assert found(post, campaign="spring") == ["anna"]
    assert found(post, state="intended") == ["cora"]
    assert found(post, state="queued", campaign="winback") == ["bert"]
    assert found(post, customer=customer) == ["anna"]
    assert found(post, customer=customer, state="intended") == []


# -- silence --------------------------------------------------------------------------------------


def test_silence_counts_from_what_was_heard_last_else_from_the_queue(post: Post) -> None:
    intend(post, "anna")
    post.change(state="queued", settled_us=NOW_US, stage=None, heard_us=None)
    (row,) = page(post).rows
    assert row.silent_since_us == NOW_US

    post.change(stage="printing", heard_us=NOW_US + DAY_US)

    (row,) = page(post).rows
    assert row.silent_since_us == NOW_US + DAY_US
    assert found(post, silent_since_us=NOW_US + DAY_US - 1) == []
    assert found(post, silent_since_us=NOW_US + DAY_US) == ["anna"]


@pytest.mark.parametrize("stage", HEARD_LAST)
def test_a_letter_of_which_no_more_is_to_come_is_not_silent(post: Post, stage: str) -> None:
    intend(post, "anna")
    post.change(state="queued", settled_us=NOW_US, stage=stage, heard_us=NOW_US)

    assert found(post, silent_since_us=NOW_US + DAY_US) == []
    assert page(post).rows[0].silent_since_us is None


@pytest.mark.parametrize("state", ["intended", "asked", "refused", "suppressed", "unknown", "cancelled"])
def test_only_a_queued_letter_is_silent(post: Post, state: str) -> None:
    intend(post, "anna")
    post.change(state=state, settled_us=NOW_US)

    assert found(post, silent_since_us=NOW_US + DAY_US) == []
    assert page(post).rows[0].silent_since_us is None


# -- counts ---------------------------------------------------------------------------------------


def test_a_summary_counts_by_state_and_reason_and_the_queued_ones_by_stage(post: Post) -> None:
    intend(post, "anna", "bert")
    post.change(state="queued", settled_us=NOW_US)
    intend(post, "anna", "cora")  # anna has had one
    intend(post, "dora", campaign="spring")
    post.call_back(
        {
            "customer_ids": {"registered": "anna"},
            "event_type": "campaign",
            "timestamp": NOW_US / 1e6,
            "properties": {"status": "printing", "campaign_id": "winback"},
        }
    )

    with reading(post.engine) as connection:
        of_all = letters.summary(connection, post.rows.project_id, None)
        of_one = letters.summary(connection, post.rows.project_id, "spring")

    assert of_all.fates == {
        ("queued", None): 2,
        ("intended", None): 2,
        ("suppressed", "already_mailed"): 1,
    }
    assert of_all.stages == {"printing": 1, None: 1}
    assert of_one == ({("intended", None): 1}, {})


# -- events of a letter ---------------------------------------------------------------------------


def test_events_are_found_by_their_letter_in_its_own_project(post: Post) -> None:
    (mailing,) = intend(post, "anna")
    mine = post.rows.event(mailing_id=mailing, tied="ids")
    post.rows.event()
    own = post.rows.project_id
    other = post.rows.begin_project()

    with reading(post.engine) as connection:
        of_own = reports.events_page(connection, own, EventFilter(mailing=mailing)).rows
        of_other = reports.events_page(connection, other, EventFilter(mailing=mailing)).rows

    assert [each.id for each in of_own] == [mine]
    assert of_other == []


# -- what it costs --------------------------------------------------------------------------------

Ask = Callable[[Connection, int], object]


def mailings_of(**wanted: Any) -> Ask:
    return lambda connection, project: letters.mailings_page(
        connection, project, MailingFilter(**wanted), limit=100
    )


def suppressions_of(**wanted: Any) -> Ask:
    return lambda connection, project: suppressions.suppressions_page(
        connection, project, SuppressionFilter(**wanted), limit=100
    )


ASKED = [
    (mailings_of(), "autoindex_mailings"),
    (mailings_of(state="queued"), "ix_mailings_state"),
    (mailings_of(campaign="c"), "ix_mailings_campaign"),
    (mailings_of(state="queued", campaign="c"), "ix_mailings_campaign"),
    (mailings_of(customer=3), "ix_mailings_customer"),
    (mailings_of(customer=3, campaign="c", state="queued"), "ix_mailings_customer"),
    (mailings_of(silent_since_us=1), "ix_mailings_silent"),
    (mailings_of(silent_since_us=1, state="queued"), "ix_mailings_silent"),
    (lambda connection, project: letters.summary(connection, project, "c"), "ix_mailings_campaign"),
    (
        lambda connection, project: reports.events_page(connection, project, EventFilter(mailing="a")),
        "ix_events_mailing",
    ),
    (suppressions_of(customer=3), "ix_suppressions_customer"),
    (suppressions_of(customer=3, kind="objection", lifted=True), "ix_suppressions_customer"),
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("ask", "index"), ASKED)
def test_every_question_takes_the_index_that_is_there_for_it(post: Post, ask: Ask, index: str) -> None:
    # PostgreSQL's planner knows better how few there are; SQLite's goes by the form of the question.
    plan = _plan(post, ask, "EXPLAIN QUERY PLAN")

    assert index in plan
    # Of one customer there are few enough to be put in order.
    assert "ORDER BY" not in plan or "customer" in index


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_can_find_the_silent_ones_by_their_index(post: Post) -> None:
    with reading(post.engine) as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")

        plan = _plan_of(connection, post, mailings_of(silent_since_us=1), "EXPLAIN")

    assert "ix_mailings_silent" in plan


def _plan(post: Post, ask: Ask, explain: str) -> str:
    with reading(post.engine) as connection:
        return _plan_of(connection, post, ask, explain)


def _plan_of(connection: Connection, post: Post, ask: Ask, explain: str) -> str:
    """How the first statement of *ask* is run."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    event.listen(post.engine, "before_cursor_execute", note)
    ask(connection, post.rows.project_id)
    event.remove(post.engine, "before_cursor_execute", note)
    statement, parameters = statements[0]
    plan = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    return "\n".join(str(line[-1]) for line in plan)
