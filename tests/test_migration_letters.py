"""Events from before letters were counted."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from alembic import command as alembic
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, select, text

from receiver.domain.kinds import Kind
from receiver.domain.moments import HOUR_US, hour_of
from receiver.domain.stages import STAGES
from receiver.store.engine import connect
from receiver.store.migrations import migrate
from receiver.store.tables import counters, event_kinds, events, letters, metadata, withdrawn_events
from tests.letters_by_hand import by_hand, miscounts_of, what_is_kept
from tests.rows import T0

SQUARES = "".join(chr(0x20000 + number) for number in range(500))
"""As long as a name can be, of characters that take four bytes each."""

TYPES = ("campaign", "campaign", "a\x01b", "a", "merge", "' OR 1=1; --", SQUARES)
CAMPAIGNS = (None, "winback", "winback", "b\x01", "b", 'Stra\u00dfe "x" :id %s \\', SQUARES[::-1])
STATUSES = (None, "posted", "booked", "\x01", "50 %", SQUARES[:200])
OLD = (
    *("id", "project_id", "customer_id", "type", "occurred_us", "received_us", "source", "campaign"),
    *("status", "stage", "ids", "properties", "mailing_id", "tied"),
)


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    """A database at revision 0005."""
    engine = connect(empty_database_url)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, "0005")
    yield engine
    engine.dispose()


def add(engine: Engine, table: str, rows: list[dict[str, Any]]) -> None:
    marks = ", ".join(f":{name}" for name in rows[0])
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({marks})"), rows)


def add_projects(engine: Engine) -> None:
    rows = [{"id": each, "token": f"t-{each}", "name": "letters", "created_us": T0} for each in (1, 2)]
    add(engine, "projects", rows)


def of_old(first_id: int, number: int) -> list[dict[str, Any]]:
    """Events of two projects as 0005 has them."""
    random = Random(first_id)  # nothing is secret
    rows = []
    for event_id in range(first_id, first_id + number):
        project_id = random.choice((1, 2))
        status = random.choice(STATUSES)
        received_us = T0 + random.randrange(5 * HOUR_US)
        mailing, tied = random.choice(
            ((None, None), (None, "no_mailing"), ("m", "ids"), ("'\u00e4\"", "ids"))
        )
        rows.append(
            {
                "id": event_id,
                "project_id": project_id,
                "customer_id": 10 * project_id + random.randrange(4),
                "type": random.choice(TYPES),
                "occurred_us": received_us - random.choice((0, 1, HOUR_US)),
                "received_us": received_us,
                "source": random.choice(("callback", "callback", "sending", "replayed", "identity")),
                "campaign": random.choice(CAMPAIGNS),
                "status": status,
                "stage": None if status is None else random.choice(STAGES),
                "ids": '{"registered":"c-1"}',
                "properties": '{"variation":"A\\"\u00e4"}',
                "mailing_id": mailing and f"{mailing}{project_id}",
                "tied": tied,
            }
        )
    # What a separator between their parts would make the same.
    rows[0] |= {"project_id": 1, "type": "a\x01b", "campaign": None, "status": None, "stage": None}
    rows[1] |= {"project_id": 1, "type": "a", "campaign": "b\x01", "status": None, "stage": None}
    return rows


def test_events_of_old_are_counted_as_if_they_came_in_today(engine: Engine) -> None:
    add_projects(engine)
    kept, gone = of_old(1, 400), of_old(1001, 60)
    add(engine, "events", kept)
    add(engine, "withdrawn_events", [row | {"attempt_id": 7, "withdrawn_us": T0} for row in gone])

    migrate(engine)

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        for table, old in ((events, kept), (withdrawn_events, gone)):
            found = connection.execute(select(table).order_by(table.c.id)).all()
            assert [{name: row._mapping[name] for name in OLD} for row in found] == old
            kinds = [Kind(row.project_id, row.type, row.campaign, row.status, row.stage).id for row in found]
            assert [row.kind_id for row in found] == kinds
            assert {row.variation for row in found} == {None}
        withdrawn = connection.execute(select(*withdrawn_events.c["attempt_id", "withdrawn_us"])).all()
        assert {tuple(row) for row in withdrawn} == {(7, T0)}
    told = what_is_kept(engine)
    assert told == by_hand(engine)
    assert miscounts_of(engine) == []
    assert sum(told.kinds.values()) == len(kept)
    assert {bool(customer) for customer, _ in told.letters} == {True, False}


def test_outcomes_of_old_belong_to_no_campaign(engine: Engine) -> None:
    add_projects(engine)
    kept, gone = of_old(1, 300), of_old(1001, 60)
    left: Counter[tuple[int, str, int]] = Counter()
    for row in [*kept, *gone]:
        left[row["project_id"], row["source"], hour_of(row["received_us"])] += 1
    add(engine, "events", kept)
    add(engine, "withdrawn_events", [row | {"attempt_id": 7, "withdrawn_us": T0} for row in gone])
    # Nobody counts what was not sent to us; in one hour nothing but updates came.
    counted = {place: number for place, number in left.items() if place[1] != "identity"}
    counted[1, "callback", hour_of(T0) - HOUR_US] = 0
    add(
        engine,
        "counters",
        [
            {
                "project_id": project_id,
                "source": source,
                "hour_us": hour_us,
                "received": number + 6,
                "accepted": number + 1,
                "duplicate": 2,
                "rejected": 3,
                "last_us": hour_us + 5,
            }
            for (project_id, source, hour_us), number in counted.items()
        ],
    )

    migrate(engine)

    with engine.connect() as connection:
        found = {tuple(row) for row in connection.execute(select(counters))}
    assert found == {
        (*place, "", number + 6, number + 1, 2, 3, number, place[-1] + 5) for place, number in counted.items()
    }


def test_a_database_without_events_is_brought_to_letters(engine: Engine) -> None:
    migrate(engine)

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        for table in (events, event_kinds, letters, counters):
            assert connection.execute(select(table)).all() == []
