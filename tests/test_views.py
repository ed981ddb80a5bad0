"""The views that analysts' tools rely on say what the tables say, and are described."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from receiver.domain.moments import iso
from receiver.store.engine import connect
from tests.rows import T0, Rows

VIEWS = ("events_v", "mailings_v", "outcomes_v", "rejections_v")
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


def test_the_questions_of_the_docs_are_answered(rows: Rows) -> None:
    rows.counter(3, 1, 1, 1)
    rows.event(campaign="spring", properties='{"template":"t"}')
    questions = re.findall("```sql\n(.+?)```", DOCS.read_text(), re.DOTALL)
    other = "substr(" if rows.engine.dialect.name == "postgresql" else "date_trunc("

    answers = [asked(rows, question) for question in questions if other not in question]

    assert [len(answer) for answer in answers] == [1, 1, 1]
