"""The year of letters that benchmarks ask about is one that the service could have stored."""

from collections.abc import Iterator
from itertools import pairwise
from json import loads

import pytest
from sqlalchemy import Connection, func, select

from benchmarks.history import count, fill
from benchmarks.rows import PROJECT
from benchmarks.year import RARE_STATUS, RARE_TYPE, Size
from receiver.domain.commands import Event
from receiver.domain.events import read_event
from receiver.domain.json_text import encode
from receiver.domain.kinds import Kind
from receiver.domain.moments import DAY_US
from receiver.inbound.deliveries import Policy
from receiver.settings import read_settings
from receiver.store import outcomes, recounting
from receiver.store.engine import connect
from receiver.store.tables import customer_ids, customers, event_kinds, events, mailings

UNTIL_US = 20_000 * DAY_US


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    fill(database_url, Size(events=2000, customers=400, campaigns=12), UNTIL_US)
    count(database_url)
    engine = connect(database_url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_everything_adds_up(connection: Connection) -> None:
    assert outcomes.disagreements(connection, PROJECT, None, None) == []
    assert recounting.miscounts(connection, PROJECT) == []


def test_events_are_as_a_callback_would_have_left_them(connection: Connection) -> None:
    rules = Policy.of(read_settings()).rules
    told = connection.execute(select(events).where(events.c.source == "callback")).all()
    assert 1500 < len(told) < 2500
    for event in told:
        sent = {
            "customer_ids": loads(event.ids),
            "event_type": event.type,
            "timestamp": event.occurred_us / 1_000_000,
            "properties": loads(event.properties),
        }
        read = read_event(sent, rules, event.received_us)
        assert isinstance(read, Event)
        about = event.type, event.campaign, event.status, event.stage
        assert (read.type, read.campaign, read.status, read.stage) == about
        assert (encode(dict(read.ids)), read.properties) == (event.ids, event.properties)
        assert read.variation == event.variation
        assert read.mailing in (None, event.mailing_id)
        assert event.kind_id == Kind(PROJECT, *about).id
        assert event.occurred_us < event.received_us < UNTIL_US


def test_numbers_ascend_with_the_time_of_arrival(connection: Connection) -> None:
    arrived = connection.execute(select(events.c.received_us).order_by(events.c.id)).scalars().all()
    assert all(before <= after for before, after in pairwise(arrived))


def test_customers_hold_the_ids_that_their_events_have(connection: Connection) -> None:
    held = {
        (kind, value): who
        for kind, value, who in connection.execute(
            select(customer_ids.c.kind, customer_ids.c.value, customer_ids.c.customer_id)
        )
    }
    for who, ids in connection.execute(select(events.c.customer_id, events.c.ids)):
        assert {held[each] for each in loads(ids).items()} == {who}


def test_mailings_know_what_was_heard_of_them_last(connection: Connection) -> None:
    heard = (
        select(func.max(events.c.received_us))
        .where(events.c.mailing_id == mailings.c.id, events.c.source == "callback")
        .scalar_subquery()
    )
    told = connection.execute(select(mailings.c.heard_us, heard, mailings.c.state)).all()
    assert len(told) > 50
    assert all(kept == found for kept, found, _ in told)
    assert "queued" in {state for *_, state in told}


def test_something_of_it_is_rare(connection: Connection) -> None:
    columns = event_kinds.c
    counted = select(func.sum(columns.events))
    assert connection.execute(counted.where(columns.type == RARE_TYPE)).scalar() == 5
    assert connection.execute(counted.where(columns.status == RARE_STATUS)).scalar() == 7
    merged = select(func.count()).where(customers.c.merged_into.is_not(None))
    assert connection.execute(merged).scalar() == 2
