"""How it goes with what is relayed, from what the tables say, on both databases."""

from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from receiver.store import relay_status, reports
from receiver.store.relay_pump import Pump
from receiver.store.relay_status import Hour, RelayStatus, State, Totals
from receiver.store.tables import ledger, outbox, outbox_hours, relay_pump
from tests.mending import HOUR_US, MINUTE_US, SECOND_US, T0
from tests.rows import Rows

NOW = T0
LEASED: dict[str, Any] = {"owner": "x", "until_us": NOW + 30 * SECOND_US}
FAILED: dict[str, Any] = {
    "failures": 2,
    "problem": "Away.",
    "problem_us": NOW - MINUTE_US,
    "open_us": NOW + SECOND_US,
}
STOPPED: dict[str, Any] = FAILED | {"stopped": True}


def status_of(*, on: bool = True, waits_seconds: float | None = 60, **of_pump: Any) -> RelayStatus:
    """One command waits, unless *waits_seconds* is None."""
    waiting = waits_seconds is not None
    oldest_us = NOW - int(waits_seconds * SECOND_US) if waits_seconds is not None else None
    quiet = Pump(1, None, 0, 0, 0, False, None, None, None, 0, 0)
    return RelayStatus(on, Totals(1, 5 + waiting, 5, 0, 0, 0, 0, oldest_us), quiet._replace(**of_pump), NOW)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (status_of(on=False, waits_seconds=None), State.OFF),
        (status_of(waits_seconds=None), State.QUIET),
        # Of another project something waits.
        (status_of(waits_seconds=None, **STOPPED), State.QUIET),
        (status_of(**LEASED), State.RELAYING),
        # Who relays looks again in a moment.
        (status_of(waits_seconds=1), State.RELAYING),
        (status_of(), State.UNATTENDED),
        (status_of(until_us=NOW, owner="x"), State.UNATTENDED),
        (status_of(**LEASED, **FAILED), State.AWAY),
        # It is known when it will be tried again.
        (status_of(**FAILED), State.AWAY),
        (status_of(**FAILED | {"open_us": NOW - MINUTE_US}), State.UNATTENDED),
        (status_of(**LEASED, **STOPPED), State.STOPPED),
        (status_of(**STOPPED), State.STOPPED),
        (status_of(**STOPPED | {"open_us": NOW - MINUTE_US}), State.UNATTENDED),
        # It was switched off, and what waits is relayed to its end, or not.
        (status_of(on=False, **LEASED), State.RELAYING),
        (status_of(on=False), State.OFF),
        (status_of(on=False, waits_seconds=1), State.OFF),
    ],
)
def test_a_word_says_how_it_goes(status: RelayStatus, state: State) -> None:
    assert status.state is state


def test_what_waits_has_an_age() -> None:
    assert status_of(waits_seconds=2.5).age_us == 2_500_000
    assert status_of(waits_seconds=None).age_us is None
    # Clocks of two machines differ.
    assert status_of(waits_seconds=-5).age_us == 0


def test_a_rate_is_told_while_commands_leave() -> None:
    just_now: dict[str, Any] = {"sent_us": NOW - SECOND_US, "per_second": 4000}

    assert status_of(**LEASED, **just_now).per_second == 4000
    assert status_of(**LEASED, **just_now, **FAILED).per_second is None
    assert status_of(**LEASED, **just_now | {"sent_us": NOW - MINUTE_US}).per_second is None
    assert status_of().per_second is None


# -- from the tables ------------------------------------------------------------------------------


def add(engine: Engine, table: Any, *rows: dict[str, Any]) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        for row in rows:
            connection.execute(insert(table), row)


def an_hour(project_id: int, hour_us: int, **counts: int) -> dict[str, Any]:
    nothing = dict.fromkeys(Hour._fields[1:], 0)
    return {"project_id": project_id, "hour_us": hour_us, **nothing, **counts}


@pytest.fixture
def hour_us() -> int:
    return NOW - NOW % HOUR_US


def test_a_project_is_told_with_its_own_counts(rows: Rows, hour_us: int) -> None:
    first, second = rows.project_id, rows.begin_project()
    add(
        rows.engine,
        outbox_hours,
        an_hour(first, hour_us - 40 * HOUR_US, given=9, sent=4, set_aside=3),
        an_hour(first, hour_us, given=2, retried=1, withdrawn=1, discarded=1),
        an_hour(second, hour_us, given=1, sent=1),
    )
    given = {"project_id": first, "given_us": NOW - MINUTE_US}
    late = {"project_id": first, "given_us": NOW - 5}
    add(
        rows.engine,
        outbox,
        {"id": 3, **given, "given_us": 1, "set_aside_us": NOW, "reason": "refused", "message": "No."},
        {"id": 4, **given},
        *({"id": number, **late} for number in range(5, 8)),
    )
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(ledger).values(relay_from=1))
        connection.execute(update(relay_pump).values(sent_us=NOW - 1, per_second=7))

    with reports.reading(rows.engine) as connection:
        one, other = (relay_status.status(connection, each, NOW) for each in (first, second))
        all_of_them = relay_status.statuses(connection, NOW)

    assert all_of_them == [one, other]
    assert one.totals == Totals(first, 11, 4, 3, 1, 1, 1, NOW - MINUTE_US)
    # Of 11 that were given 4 were sent, 1 was withdrawn, 1 discarded, and 1 of 3 put back.
    assert (one.totals.waiting, one.totals.aside) == (4, 1)
    assert (one.on, one.per_second, one.age_us) == (True, 7, MINUTE_US)
    assert other.totals == Totals(second, 1, 1, 0, 0, 0, 0, None)
    assert (other.state, other.age_us) == (State.QUIET, None)


def test_who_was_never_given_anything_has_no_counts(rows: Rows) -> None:
    with reports.reading(rows.engine) as connection:
        status = relay_status.status(connection, rows.project_id, NOW)

    assert status.totals == Totals(rows.project_id, 0, 0, 0, 0, 0, 0, None)
    assert (status.on, status.state) == (False, State.OFF)


def test_the_last_hours_are_told_one_by_one_also_those_without_anything(rows: Rows, hour_us: int) -> None:
    first, other = rows.project_id, rows.begin_project()
    add(
        rows.engine,
        outbox_hours,
        an_hour(first, hour_us - 3 * HOUR_US, sent=1),
        an_hour(first, hour_us - 2 * HOUR_US, sent=2),
        an_hour(first, hour_us, given=1, sent=2, set_aside=3, retried=4, withdrawn=5, discarded=6),
        an_hour(other, hour_us - HOUR_US, sent=5),
    )

    with reports.reading(rows.engine) as connection:
        hours = relay_status.last_hours(connection, first, NOW, 3)
        day = relay_status.last_hours(connection, first, NOW)

    assert hours == [
        Hour(hour_us - 2 * HOUR_US, 0, 2, 0, 0, 0, 0),
        Hour(hour_us - HOUR_US, 0, 0, 0, 0, 0, 0),
        Hour(hour_us, 1, 2, 3, 4, 5, 6),
    ]
    assert (len(day), day[-3:], day[0].hour_us) == (24, hours, hour_us - 23 * HOUR_US)
