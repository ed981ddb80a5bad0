"""The views that analysts' tools rely on say what the tables say, and are described."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from receiver.domain.moments import DAY_US, SECOND_US, iso
from receiver.domain.stages import STAGES
from receiver.store.engine import connect
from receiver.store.readers import VIEWS
from tests.posting import NOW_US, Post, person, posting
from tests.rows import T0, Rows

DOCS = Path(__file__).parent.parent / "docs" / "sql.md"


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    engine = connect(database_url)
    yield Rows(engine)
    engine.dispose()


def asked(rows: Rows, statement: str) -> list[dict[str, Any]]:
    """With times as text on both databases."""
    with rows.engine.connect() as connection:
        found = connection.execute(text(statement)).mappings().all()
    return [
        {name: written(value) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in found
    ]


def written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat("T", "microseconds").replace("+00:00", "Z")


def test_an_event_is_seen_with_its_times_and_its_json(rows: Rows) -> None:
    number = rows.event(
        7, T0 + 1, received_us=T0 + 2_000_000, campaign="spring", status="sent", stage="posted"
    )

    (seen,) = asked(rows, "SELECT * FROM events_v")

    (ids, properties) = (seen.pop(name) for name in ("customer_ids", "properties"))
    assert seen == {
        "project": rows.project.token,
        "id": number,
        "customer": 7,
        "type": "campaign",
        "occurred_at": iso(T0 + 1),
        "received_at": iso(T0 + 2_000_000),
        "source": "callback",
        "campaign": "spring",
        "variation": None,
        "status": "sent",
        "stage": "posted",
        "mailing": None,
        "tied": None,
        "occurred_us": T0 + 1,
    }
    # SQLite keeps JSON as text.
    assert [each if isinstance(each, dict) else json.loads(each) for each in (ids, properties)] == [
        {"registered": "c-1"},
        {"status": "delivered"},
    ]


def test_counters_and_rejections_are_seen_and_no_body(rows: Rows) -> None:
    rows.counter(3, 1, 1, 1)
    number = rows.rejection(b"secret", count=2, last_seen_us=T0 + 5, campaign="spring", event_type="letter")

    (counted,) = asked(rows, "SELECT * FROM outcomes_v")
    (refused,) = asked(rows, "SELECT * FROM rejections_v")

    assert counted["hour"] == iso(T0 - T0 % 3_600_000_000)
    assert [counted[name] for name in ("received", "accepted", "duplicate", "rejected")] == [3, 1, 1, 1]
    assert (refused["id"], refused["count"], refused["type"]) == (number, 2, "letter")
    assert refused["last_seen_at"] == iso(T0 + 5)
    assert "body" not in refused


# -- letters and campaigns, from what came in -------------------------------------------------------

DAY_S = DAY_US // SECOND_US


def heard(customer: str, campaign: str, status: str, after_s: int = 0, **more: str) -> dict[str, Any]:
    """A callback about something that happened so long after NOW_US."""
    return {
        "customer_ids": {"registered": customer},
        "event_type": "campaign",
        "timestamp": NOW_US // SECOND_US + after_s,
        "properties": {"status": status, "campaign_id": campaign} | more,
    }


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    """Two letters of one campaign without a mailing, three of variation B, and two mailings."""
    with posting(database_url) as post:
        post.intend(person("c-8", street=""), person("c-9"))
        post.change(state="queued")
        post.call_back(
            heard("c-1", "spring", "returned", 2 * DAY_S),
            heard("c-1", "spring", "sent", DAY_S),
            heard("c-1", "spring", "sent"),
            heard("c-2", "spring", "rejected"),
            heard("c-3", "spring", "soft_bounced", variation="B"),
            heard("c-4", "spring", "delivered", variation="B"),
            heard("c-4", "spring", "delivered", 60, variation="B"),
            heard("c-5", "spring", "never heard of", variation="B"),
            heard("c-9", "winback", "booked"),
            heard("c-9", "winback", "printed", 60),
            heard("c-9", "winback", "printed", 60),
            heard("", "winback", "printed"),
            at_us=NOW_US + 3 * DAY_US,
        )
        yield post


def test_a_letter_is_counted_once_in_each_stage_that_it_came_to(post: Post) -> None:
    found = asked(post.rows, "SELECT * FROM campaign_funnel_v ORDER BY campaign, coalesce(variation, '')")

    assert {each.pop("project") for each in found} == {post.rows.project.token}
    assert [{name: value for name, value in each.items() if value != 0} for each in found] == [
        {"campaign": "spring", "variation": None, "mailed": 1, "posted": 1, "returned": 1, "failed": 1},
        {"campaign": "spring", "variation": "B", "mailed": 2, "delivered": 1, "deferred": 1, "unknown": 1},
        {"campaign": "winback", "variation": None, "mailed": 1, "queued": 1, "printing": 1, "failed": 1},
    ]


def test_a_letter_is_counted_on_the_day_when_it_first_came_to_a_stage(post: Post) -> None:
    found = asked(post.rows, "SELECT * FROM campaign_days_v WHERE campaign = 'spring'")

    assert {each.pop("project") for each in found} == {post.rows.project.token}
    assert sorted(
        (str(each["day"]), each["stage"], each["variation"], each["letters"]) for each in found
    ) == [
        ("2025-10-09", "deferred", "B", 1),
        ("2025-10-09", "delivered", "B", 1),
        ("2025-10-09", "failed", None, 1),
        ("2025-10-09", "posted", None, 1),
        ("2025-10-09", "unknown", "B", 1),
        ("2025-10-11", "returned", None, 1),
    ]


def test_a_letter_is_a_mailing_or_a_customer_and_a_campaign(post: Post) -> None:
    by_mailing = {each.id: each.customer_id for each in post.letters()}
    found = asked(post.rows, "SELECT * FROM letters_v")

    assert {each["mailing"]: each["customer"] for each in found if each["mailing"]} == by_mailing
    assert len(by_mailing) == 2
    assert None not in by_mailing.values()
    assert len({each["customer"] for each in found}) == len(found) == 7
    (sent,) = [each for each in found if each["posted_at"]]
    at = {name: value for name, value in sent.items() if name.endswith("_at") and value}
    assert at == {
        "mailed_at": iso(NOW_US),
        "posted_at": iso(NOW_US),
        "returned_at": iso(NOW_US + 2 * DAY_US),
    }
    unmailed = [each["campaign"] for each in found if each["mailed_at"] is None]
    assert sorted(unmailed) == ["spring", "spring", "winback"]


def test_the_views_of_letters_agree(post: Post) -> None:
    sums = ", ".join(f"count({name}_at) AS {name}" for name in ("mailed", *STAGES))
    place = "project, campaign, variation"
    counted = asked(post.rows, f"SELECT {place}, {sums} FROM letters_v GROUP BY {place}")
    funnel = asked(post.rows, "SELECT * FROM campaign_funnel_v")
    days = asked(post.rows, "SELECT campaign, variation, stage, letters FROM campaign_days_v")

    assert len(funnel) == 3
    assert sorted(counted, key=str) == sorted(funnel, key=str)
    by_stage = Counter[tuple[str, str, str]]()
    for each in days:
        by_stage[each["campaign"], each["variation"], each["stage"]] += each["letters"]
    assert by_stage == Counter(
        {(each["campaign"], each["variation"], stage): each[stage] for each in funnel for stage in STAGES}
    )


def test_outcomes_are_seen_by_campaign(post: Post) -> None:
    found = asked(post.rows, "SELECT * FROM outcomes_v WHERE source = 'callback' ORDER BY campaign")

    counts = ("campaign", "received", "accepted", "duplicate", "rejected", "events")
    assert [tuple(each[name] for name in counts) for each in found] == [
        ("spring", 8, 8, 0, 0, 8),
        ("winback", 4, 2, 1, 1, 2),
    ]


# -- the contract -----------------------------------------------------------------------------------


def test_the_columns_are_those_that_are_described_in_their_order(rows: Rows) -> None:
    described: dict[str, list[str]] = {}
    view = ""
    for line in DOCS.read_text().splitlines():
        if heading := re.fullmatch("## `(.+)`", line):
            view = heading[1]
        elif line.startswith("## "):
            view = ""
        elif view and line.startswith("| `"):
            described.setdefault(view, []).extend(re.findall("`([a-z_]+)`", line.split("|")[1]))

    inspector = inspect(rows.engine)
    assert sorted(inspector.get_view_names()) == sorted(VIEWS)
    assert {view: [each["name"] for each in inspector.get_columns(view)] for view in VIEWS} == described


def test_the_questions_of_the_docs_are_answered(post: Post) -> None:
    post.call_back(heard("c-6", "spring", "posted", template="t"))
    questions = re.findall("```sql\n(.+?)```", DOCS.read_text(), re.DOTALL)
    other = "substr(" if post.engine.dialect.name == "postgresql" else "date_trunc("

    answers = [asked(post.rows, question) for question in questions if other not in question]

    assert [len(answer) for answer in answers] == [3, 1, 7, 2, 2]
