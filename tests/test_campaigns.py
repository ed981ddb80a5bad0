"""Campaigns: the list, the funnel of one, and its series, by HTTP and on the command line."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
import typer.main
from sqlalchemy import Table, insert, text
from starlette.testclient import TestClient

from receiver.cli import build
from receiver.domain.funnels import Duration, Step, durations, funnel, tally
from receiver.domain.journeys import MAILED, bucket_of
from receiver.domain.kinds import Kind
from receiver.domain.local_time import Span, ahead_at, begin, edges, number, offsets
from receiver.domain.moments import DAY_US, HOUR_US, hour_of, iso, moment_us
from receiver.domain.stages import FUNNEL, STAGES
from receiver.store import tables
from receiver.store.campaigns import AGES, find_campaign
from receiver.store.mailings import State
from receiver.store.reports import reading
from receiver.store.series import MOST_ROWS, Series, Wanted, find_series
from receiver.store.sets import Ledger
from receiver.store.writes import Writes, write
from receiver.web.campaign_documents import (
    CampaignDocument,
    CampaignsDocument,
    DurationDocument,
    FunnelDocument,
    SeriesDocument,
    StepDocument,
)
from receiver.web.campaign_questions import SeriesQuestion
from receiver.web.documents import ProblemDocument
from tests.reading_app import authorization
from tests.reading_commands import cells, document, run, said
from tests.rows import T0, Rows
from tests.serving_app import serving

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE_US = HOUR_US // 60


def get(client: TestClient, rows: Rows, path: str, role: str = "data", **parameters: Any) -> Any:
    url = f"/v1/projects/{rows.project.token}/campaigns{path}"
    return client.get(url, params=parameters, headers=authorization(rows.project, role))


def good(client: TestClient, rows: Rows, path: str = "", **parameters: Any) -> Any:
    answer = get(client, rows, path, **parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def problem(answer: Any, status: int) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    ProblemDocument.model_validate_json(answer.content, strict=True)
    return answer.json()


# -- letters --------------------------------------------------------------------------------------


def letters(rows: Rows, number: int = 1, **told: Any) -> None:
    """So many letters alike; *told* is as for `letter`."""
    keep(rows, [event for _ in range(number) for event in letter(rows, **told)])


def letter(
    rows: Rows, campaign: str | None = "spring", variation: str | None = None, **times: int
) -> Iterator[dict[str, Any]]:
    """The events of a letter that reached each stage of *times* at that time.

    It is known by its customer and campaign, or where there is no campaign by its mailing.
    """
    customer = next(_NUMBERS)
    for stage, at_us in times.items():
        kind = Kind(rows.project_id, "campaign", campaign, f"was {stage}", stage)
        event = {**kind._asdict(), "id": next(_NUMBERS), "customer_id": customer, "kind_id": kind.id}
        event |= {"occurred_us": at_us, "received_us": at_us, "source": "callback", "ids": "{}"}
        event |= {"properties": "{}", "variation": variation}
        yield event if campaign else event | {"mailing_id": f"{customer:024x}"}


def keep(rows: Rows, events: Iterable[dict[str, Any]]) -> None:
    kept = [tuple(event.get(column.name) for column in tables.events.c) for event in events]
    with closing(Ledger(rows.engine)) as ledger, ledger.transaction() as transaction:
        write(transaction, Writes(events=kept))


_NUMBERS = count(1_000_000)
"""Numbers that Rows does not come to."""


def mailed(rows: Rows, number: int, campaign: str | None = "spring", **columns: Any) -> None:
    """A letter of our own, queued at Optilyz, of which nothing was heard."""
    row = {"id": f"{number:024x}", "project_id": rows.project_id, "campaign": campaign, "state": State.QUEUED}
    row |= {"route": "many", "automation": "a" * 24, "ids": "{}", "together": 1, "attempts": 1}
    row |= {"created_us": T0, "settled_us": T0, "untold": False}
    put(rows, tables.mailings, **(row | columns))


def put(rows: Rows, table: Table, **row: Any) -> None:
    with rows.engine.execution_options(writes=True).begin() as connection:
        connection.execute(insert(table), row)


def masks(*letters: tuple[str, ...]) -> Counter[int]:
    """Letters by what they have reached."""
    return Counter(sum(1 << STAGES.index(stage) for stage in stages) for stages in letters)


# -- folding --------------------------------------------------------------------------------------


def test_a_stage_that_the_sender_leaves_out_does_not_break_the_funnel() -> None:
    steps = funnel(masks(("queued",), ("queued", "delivered"), ("posted",), ("returned",)))

    assert steps == [
        Step(MAILED, 4, 4, 1.0, None),
        Step("queued", 2, 4, 1.0, 1.0),
        Step("printing", 0, 3, 0.75, 0.75),
        Step("posted", 1, 3, 0.75, 1.0),
        Step("delivered", 1, 1, 0.25, 0.3333),
        Step("returned", 1, 1, 0.25, 0.3333),
    ]


def test_a_letter_that_came_back_after_its_delivery_counts_as_both() -> None:
    steps = funnel(masks(FUNNEL))

    assert [(step.letters, step.reached) for step in steps] == [(1, 1)] * 6


def test_a_letter_is_mailed_once_anything_says_that_it_is_on_its_way() -> None:
    counted = tally(masks(("deferred",), ("failed",), ("suppressed",), ("unknown",), ("queued", "failed")))

    assert (counted.letters, counted.mailed) == (5, 2)
    assert {stage: letters for stage, letters in counted.stages.items() if letters} == {
        "queued": 1,
        "deferred": 1,
        "suppressed": 1,
        "failed": 2,
        "unknown": 1,
    }
    assert (counted.share("failed"), counted.share("delivered")) == (0.4, 0.0)


def test_where_nothing_was_mailed_there_are_no_shares() -> None:
    alone = tally(masks(("failed",)))
    assert (alone.share("failed"), alone.share("delivered")) == (1.0, None)
    assert tally({}).share("failed") is None
    assert {(step.of_mailed, step.of_previous) for step in funnel({})} == {(None, None)}


def test_times_are_those_of_the_letter_at_the_rank() -> None:
    def took(*seconds: int) -> Duration:
        counts = Counter((MAILED, "posted", bucket_of(each * 1_000_000)) for each in seconds)
        (found,) = durations(counts)
        return found

    assert took(7) == Duration(MAILED, "posted", 1, 7, 7)
    assert took(1, 2) == Duration(MAILED, "posted", 2, 1, 2)
    assert took(*range(1, 11)) == Duration(MAILED, "posted", 10, 5, 9)
    assert took(*range(1, 12)) == Duration(MAILED, "posted", 11, 6, 10)
    days = took(*(86_400 * day for day in (1, 2, 3)))
    assert abs(days.median_seconds / (2 * 86_400) - 1) < 0.03
    assert abs(days.p90_seconds / (3 * 86_400) - 1) < 0.03


def test_times_come_in_the_order_of_the_funnel() -> None:
    counts = {(since, stage, 1): 1 for stage, since in [("returned", "posted"), ("posted", "queued")]}
    counts |= {(MAILED, stage, 1): 1 for stage in ("returned", "delivered", "posted")}

    found = [(each.since, each.stage) for each in durations(counts)]

    assert found == [
        (MAILED, "posted"),
        ("queued", "posted"),
        (MAILED, "delivered"),
        (MAILED, "returned"),
        ("posted", "returned"),
    ]


# -- hours of time zones --------------------------------------------------------------------------

ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca"]


@pytest.mark.parametrize("name", ZONES)
def test_every_hour_has_the_offset_that_its_zone_says(name: str) -> None:
    zone = ZoneInfo(name)
    first_us, last_us = moment_us("2024-12-30"), moment_us("2026-01-02")

    known = offsets(zone, first_us, last_us)

    assert known[0].since_us == first_us
    for hour_us in range(first_us, last_us + 1, HOUR_US):
        local = datetime.fromtimestamp(hour_us // 10**6, zone).utcoffset()
        (*_, ahead_us) = [each.ahead_us for each in known if each.since_us <= hour_us]
        assert timedelta(microseconds=ahead_us) == local, hour_us


@pytest.mark.parametrize("span", ["day", "week"])
@pytest.mark.parametrize(
    ("name", "year"),
    [
        *((name, 2025) for name in ZONES),
        ("America/Sao_Paulo", 2017),  # changes its clock at midnight
        ("Pacific/Apia", 2011),  # has no 30 December
        ("Antarctica/Casey", 2010),  # goes back from 2:00 to 23:00 of the day before
    ],
)
def test_from_one_edge_to_the_next_all_hours_of_a_day_are_of_one_span(
    name: str, year: int, span: Span
) -> None:
    first_us, last_us = moment_us(f"{year}-01-01"), moment_us(f"{year + 1}-01-01") - HOUR_US
    known = offsets(ZoneInfo(name), first_us, last_us)

    found = edges(span, known)

    assert len(found) <= 2 + len({each.ahead_us for each in known})
    hours = range(first_us, last_us + 1, HOUR_US)
    numbers = [number(span, hour_us, ahead_at(known, hour_us)) for hour_us in hours]
    changed = {place % 24 for place in range(1, len(hours)) if numbers[place] != numbers[place - 1]}
    assert changed <= found


def test_days_and_weeks_have_their_date_and_weeks_begin_on_monday() -> None:
    sunday_us, ahead_us = moment_us("2026-11-22T22:00Z"), HOUR_US

    def begins(span: Any, hour_us: int) -> str:
        return begin(span, number(span, hour_us, ahead_us), BERLIN)

    assert [begins("day", sunday_us + hours * HOUR_US) for hours in (0, 1)] == ["2026-11-22", "2026-11-23"]
    assert [begins("week", sunday_us + hours * HOUR_US) for hours in (0, 1)] == ["2026-11-16", "2026-11-23"]
    assert begins("hour", sunday_us) == "2026-11-22T23:00:00+01:00"
    assert (
        begin("hour", number("hour", T0, 0), timezone(timedelta(hours=5.75))) == "2025-10-09T13:45:00+05:45"
    )


# -- all campaigns --------------------------------------------------------------------------------


def test_the_list_tells_of_each_campaign_what_was_heard_and_how_far_its_letters_came(
    client: TestClient, rows: Rows
) -> None:
    letters(rows, 3, queued=T0, delivered=T0 + DAY_US)
    letters(rows, 3, variation="B", queued=T0)
    letters(rows, campaign="autumn", failed=T0 + 1)
    rows.event(campaign="spring", status="seen", occurred_us=T0 + 2 * DAY_US)

    found = good(client, rows)

    none = dict.fromkeys(STAGES, 0)
    assert found == {
        "data": [
            {
                "campaign": "spring",
                "first_event": iso(T0),
                "last_event": iso(T0 + 2 * DAY_US),
                "events": 10,
                "letters": 6,
                "mailed": 6,
                "stages": none | {"queued": 6, "delivered": 3},
                "rates": {"delivered": 0.5, "returned": 0.0, "failed": 0.0},
            },
            {
                "campaign": "autumn",
                "first_event": iso(T0 + 1),
                "last_event": iso(T0 + 1),
                "events": 1,
                "letters": 1,
                "mailed": 0,
                "stages": none | {"failed": 1},
                "rates": {"delivered": None, "returned": None, "failed": 1.0},
            },
        ],
        "next": None,
    }
    CampaignsDocument.model_validate_json(json.dumps(found), strict=True)


def test_other_projects_and_what_is_no_longer_there_are_not_listed(client: TestClient, rows: Rows) -> None:
    letters(rows, queued=T0)
    rows.begin_project()
    kind = Kind(rows.project_id, "campaign", "gone", "queued", "queued")
    put(rows, tables.event_kinds, id=kind.id, **kind._asdict(), events=0)
    place = {"project_id": rows.project_id, "campaign": "gone", "variation": ""}
    put(rows, tables.campaign_letters, **place, stages=1, letters=0)
    day_us = T0 - T0 % DAY_US
    put(rows, tables.campaign_days, **place, stage="queued", day_us=day_us, **dict.fromkeys(tables.HOURS, 0))
    put(rows, tables.campaign_delays, **place, since="queued", stage="posted", bucket=1, letters=0)

    assert good(client, rows)["data"] == []
    problem(get(client, rows, "/gone"), 404)
    # A letter of it keeps it known, and what is gone stays gone.
    mailed(rows, 1, "gone")
    found = good(client, rows, "/gone")
    assert (found["letters"], found["times"], found["variations"], found["events_by_status"]) == (
        0,
        [],
        [],
        [],
    )
    assert good(client, rows, "/gone/timeseries")["data"] == []


def test_what_names_no_campaign_is_listed_where_there_are_letters_of_it(
    client: TestClient, rows: Rows
) -> None:
    rows.event(type="purchase", occurred_us=T0 + DAY_US)
    rows.event(status="delivered", stage="delivered")
    assert good(client, rows)["data"] == []

    letters(rows, campaign=None, queued=T0, delivered=T0 + 5)

    (found,) = good(client, rows)["data"]
    assert (found["campaign"], found["events"], found["letters"]) == (None, 3, 1)
    assert found["last_event"] == iso(T0 + 5)
    assert [each[0] for each in cells("campaigns", rows)] == ["(none)"]


def test_of_a_period_those_are_listed_that_were_heard_of_within_it(client: TestClient, rows: Rows) -> None:
    letters(rows, campaign="before", queued=T0 - 1)
    letters(rows, campaign="begin", queued=T0, posted=T0 + 9 * DAY_US)
    letters(rows, campaign="end", queued=T0 + DAY_US)
    letters(rows, campaign="around", queued=T0 - DAY_US, posted=T0 + 2 * DAY_US)

    period = {"since": iso(T0), "until": iso(T0 + DAY_US)}
    (found,) = good(client, rows, **period)["data"]

    assert (found["campaign"], found["events"], found["last_event"]) == ("begin", 2, iso(T0 + 9 * DAY_US))
    by_command = cells("campaigns", rows, "--since", period["since"], "--until", period["until"])
    assert [each[0] for each in by_command] == ["begin"]
    until = [each["campaign"] for each in good(client, rows, until=iso(T0))["data"]]
    assert until == ["around", "before"]


def test_pages_of_campaigns_follow_each_other_whatever_their_references(
    client: TestClient, rows: Rows
) -> None:
    names = ["a", "Z", "ü/😀", "\n", "x" * 500, "-", None]
    for place, name in enumerate(names):
        letters(rows, campaign=name, queued=T0 + place // 3)

    seen: list[Any] = []
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        page = good(client, rows, limit=2, **cursor)
        seen += [each["campaign"] for each in page["data"]]
        cursor = {"cursor": page["next"]} if page["next"] else None

    assert seen == [None, "\n", "-", "x" * 500, "Z", "a", "ü/😀"]
    assert seen == [each["campaign"] for each in good(client, rows)["data"]]


@pytest.mark.parametrize(
    ("name", "value"),
    [("cursor", "x"), ("cursor", "1-!"), ("cursor", "1-_w"), ("cursor", "1-AA"), ("limit", "0"), ("by", "x")],
)
def test_a_wrong_parameter_of_the_list_is_named(
    client: TestClient, rows: Rows, name: str, value: str
) -> None:
    found = problem(get(client, rows, "", **{name: value}), 400)

    assert [error["parameter"] for error in found["errors"]] == [name]


# -- the funnel of one ----------------------------------------------------------------------------


def test_the_funnel_tells_everything_that_is_counted_of_a_campaign(client: TestClient, rows: Rows) -> None:
    letters(rows, 3, queued=T0, delivered=T0 + 7_000_000)
    letters(rows, returned=T0 + 1)
    letters(rows, campaign="other", queued=T0 - 1)
    rows.event(campaign="spring", occurred_us=T0 + 8_000_000)
    rows.event(campaign="spring", type="mail", occurred_us=T0 - 2)

    found = good(client, rows, "/spring")

    steps = [
        ("mailed", 4, 4, 1.0, None),
        ("queued", 3, 4, 1.0, 1.0),
        ("printing", 0, 4, 1.0, 1.0),
        ("posted", 0, 4, 1.0, 1.0),
        ("delivered", 3, 3, 0.75, 0.75),
        ("returned", 1, 1, 0.25, 0.25),
    ]
    words = [
        ("was queued", "queued", 3, T0, T0),
        ("was delivered", "delivered", 3, T0 + 7_000_000, T0 + 7_000_000),
        (None, None, 2, T0 - 2, T0 + 8_000_000),
        ("was returned", "returned", 1, T0 + 1, T0 + 1),
    ]
    took = {"letters": 3, "median_seconds": 7, "p90_seconds": 7}
    assert found == {
        "campaign": "spring",
        "first_event": iso(T0 - 2),
        "last_event": iso(T0 + 8_000_000),
        "events": 9,
        "letters": 4,
        "mailed": 4,
        "stages": dict.fromkeys(STAGES, 0) | {"queued": 3, "delivered": 3, "returned": 1},
        "rates": {"delivered": 0.75, "returned": 0.25, "failed": 0.0},
        "funnel": [
            dict(zip(("stage", "letters", "reached", "of_mailed", "of_previous"), step, strict=True))
            for step in steps
        ],
        "times": [
            {"since": "mailed", "stage": "delivered", **took},
            {"since": "queued", "stage": "delivered", **took},
            {"since": "mailed", "stage": "returned", "letters": 1, "median_seconds": 0, "p90_seconds": 0},
        ],
        "variations": [],
        "events_by_status": [
            {
                "status": status,
                "stage": stage,
                "first_event": iso(first),
                "last_event": iso(last),
                "events": events,
            }
            for status, stage, events, first, last in words
        ],
        "mailings": {},
        "silent_mailings": [
            {"from_days": first, "to_days": last, "mailings": 0}
            for first, last in [(0, 2), (3, 6), (7, 13), (14, 29), (30, None)]
        ],
    }
    FunnelDocument.model_validate_json(json.dumps(found), strict=True)


def test_each_variation_has_a_funnel_of_its_own_and_together_they_are_the_whole(
    client: TestClient, rows: Rows
) -> None:
    letters(rows, 5, variation="A", queued=T0, posted=T0 + 4_000_000)
    letters(rows, 2, variation="B", queued=T0, posted=T0 + 9_000_000)
    letters(rows, queued=T0)

    found = good(client, rows, "/spring")

    counted = [(each["variation"], each["letters"]) for each in found["variations"]]
    assert counted == [(None, 1), ("A", 5), ("B", 2)]
    assert [each["times"][0]["median_seconds"] for each in found["variations"][1:]] == [4, 9]
    assert found["variations"][0]["times"] == []
    whole = found["times"][0]
    assert (whole["letters"], whole["median_seconds"], whole["p90_seconds"]) == (7, 4, 9)
    for place, step in enumerate(found["funnel"]):
        parts = [each["funnel"][place] for each in found["variations"]]
        for name in ("letters", "reached"):
            assert step[name] == sum(each[name] for each in parts)


def test_mailings_are_told_by_state_and_the_silent_ones_by_how_long_they_are(rows: Rows) -> None:
    now_us = T0 + 100 * DAY_US
    ages = [0, 3, 7, 14, 30, 99]
    heard_us = [now_us - days * DAY_US for days in ages] + [now_us - days * DAY_US + 1 for days in ages[1:]]
    for place, time_us in enumerate(heard_us):
        mailed(rows, place, heard_us=time_us, stage="printing")
    mailed(rows, 50, heard_us=now_us, stage="delivered")
    mailed(rows, 51, stage=None, settled_us=now_us - 4 * DAY_US)
    mailed(rows, 52, state=State.REFUSED)
    mailed(rows, 53, "other")
    mailed(rows, 54, None)

    with reading(rows.engine) as connection:
        found = find_campaign(connection, rows.project_id, "spring", now_us=now_us)

    assert found is not None
    assert found.mailings == {State.QUEUED: len(heard_us) + 2, State.REFUSED: 1}
    # Each age once with its very first moment and once a moment before the next one.
    assert found.silent == {0: 2, 3: 3, 7: 2, 14: 2, 30: 3}
    assert tuple(found.silent) == AGES


def test_a_campaign_whose_letters_only_wait_is_known_though_nothing_was_heard(
    client: TestClient, rows: Rows
) -> None:
    mailed(rows, 1, state=State.INTENDED, settled_us=None)

    found = good(client, rows, "/spring")

    assert (found["events"], found["first_event"], found["letters"]) == (0, None, 0)
    assert found["mailings"] == {"intended": 1}
    assert good(client, rows, "/spring/timeseries")["data"] == []
    assert good(client, rows)["data"] == []


@pytest.mark.parametrize("path", ["/nobody", "/nobody/timeseries", "/", f"/{'x' * 501}", "/%00", "/spring"])
def test_a_campaign_of_which_nothing_is_known_is_a_404_with_a_sentence(
    client: TestClient, rows: Rows, path: str
) -> None:
    letters(rows, queued=T0)
    rows.begin_project()

    assert problem(get(client, rows, path), 404)["detail"].endswith(".")


@pytest.mark.parametrize(
    "name", ["a b", "a/b", "/", "a/", "timeseries", "a/timeseries/b", "100 %", "?x=1#y", "ü😀", "a\nb"]
)
def test_a_reference_may_hold_any_text(client: TestClient, rows: Rows, name: str) -> None:
    letters(rows, campaign=name, queued=T0)

    assert good(client, rows, f"/{quote(name, safe='')}")["campaign"] == name
    assert good(client, rows, f"/{quote(name, safe='')}/timeseries")["campaign"] == name
    assert document("funnel", rows, name)["campaign"] == name


# -- series ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("Europe/Berlin", 2025),
        ("America/St_Johns", 2025),
        ("Australia/Lord_Howe", 2025),
        ("America/Sao_Paulo", 2017),  # changes its clock at midnight
        ("Pacific/Apia", 2011),  # has no 30 December
    ],
)
def test_letters_stand_on_the_day_on_which_their_hour_begins_in_the_time_zone(
    rows: Rows, name: str, year: int
) -> None:
    zone = ZoneInfo(name)
    first_us = moment_us(f"{year}-03-20T09:00Z")
    # Over both ends of summer time.
    times = [first_us + place * 11 * HOUR_US + place for place in range(700)]
    keep(rows, [event for at_us in times for event in letter(rows, queued=at_us)])

    def told(span: Span, period: range | None) -> dict[str, int]:
        since_us, until_us = (period.start, period.stop) if period else (None, None)
        with reading(rows.engine) as connection:
            wanted = Wanted(span, zone, since_us, until_us)
            found = find_series(connection, rows.project_id, "spring", wanted)
        assert isinstance(found, Series)
        queued = found.counts[STAGES.index("queued") :: len(STAGES)]
        assert sum(found.counts) == sum(queued)
        assert queued[0]
        assert queued[-1]
        told = zip(found.numbers, queued, strict=True)
        return {begin(span, at, zone): letters for at, letters in told if letters}

    # Within days, with letters of the same days before and behind.
    parts = [range(times[at] + HOUR_US, times[at + length]) for at, length in ((1, 3), (7, 500), (350, 40))]
    for period in (None, *parts):
        within = [hour_of(each) for each in times if period is None or hour_of(each) in period]
        hours = [datetime.fromtimestamp(each // 10**6, zone) for each in within]
        assert told("hour", period) == Counter(hour.isoformat() for hour in hours)
        assert told("day", period) == Counter(hour.date().isoformat() for hour in hours)
        mondays = [hour.date() - timedelta(days=hour.weekday()) for hour in hours]
        assert told("week", period) == Counter(monday.isoformat() for monday in mondays)


def test_a_series_begins_and_ends_with_letters_of_its_period(client: TestClient, rows: Rows) -> None:
    def days(since: int, until: int) -> list[str]:
        period = {"since": iso(day_us + since * HOUR_US), "until": iso(day_us + until * HOUR_US)}
        return [each["begin"][-2:] for each in good(client, rows, "/spring/timeseries", **period)["data"]]

    day_us = moment_us("2026-07-01")
    for hour in (8, 5 * 24 + 12, 9 * 24 + 20):
        letters(rows, queued=day_us + hour * HOUR_US)

    assert days(0, 240) == [f"{day:02}" for day in range(1, 11)]
    # There are letters on the first and the last day, but not within the period.
    assert days(9, 9 * 24 + 20) == ["06"]
    assert days(8, 9) == ["01"]
    assert days(9, 10) == days(9, 5 * 24) == []
    assert days(5 * 24 + 12, 9 * 24 + 21) == ["06", "07", "08", "09", "10"]


def test_a_series_has_every_span_between_the_first_and_the_last_letter(
    client: TestClient, rows: Rows
) -> None:
    letters(rows, queued=moment_us("2025-10-24T22:30Z"), delivered=moment_us("2025-10-27T23:00Z"))

    found = good(client, rows, "/spring/timeseries", timezone="Europe/Berlin")

    none = dict.fromkeys(STAGES, 0)
    assert found == {
        "campaign": "spring",
        "bucket": "day",
        "timezone": "Europe/Berlin",
        "data": [
            {"begin": "2025-10-25", "stages": none | {"queued": 1}},
            {"begin": "2025-10-26", "stages": none},
            {"begin": "2025-10-27", "stages": none},
            {"begin": "2025-10-28", "stages": none | {"delivered": 1}},
        ],
    }
    SeriesDocument.model_validate_json(json.dumps(found), strict=True)
    weeks = good(client, rows, "/spring/timeseries", timezone="Europe/Berlin", bucket="week")["data"]
    assert [each["begin"] for each in weeks] == ["2025-10-20", "2025-10-27"]
    hours = good(client, rows, "/spring/timeseries", timezone="Europe/Berlin", bucket="hour")["data"]
    twice = [each["begin"] for each in hours if each["begin"].startswith("2025-10-26T02")]
    assert twice == ["2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00"]
    assert len(hours) == 74
    utc = good(client, rows, "/spring/timeseries")["data"]
    assert [each["begin"] for each in utc][::3] == ["2025-10-24", "2025-10-27"]


def test_a_series_by_variation_has_a_row_for_each_of_them(client: TestClient, rows: Rows) -> None:
    letters(rows, variation="A", queued=T0)
    letters(rows, variation="B", queued=T0 + DAY_US)
    letters(rows, 2, queued=T0)

    found = good(client, rows, "/spring/timeseries", variations="true")["data"]

    told = [(each["begin"], each["variation"], each["stages"]["queued"]) for each in found]
    assert told == [
        ("2025-10-09", None, 2),
        ("2025-10-09", "A", 1),
        ("2025-10-09", "B", 0),
        ("2025-10-10", None, 0),
        ("2025-10-10", "A", 0),
        ("2025-10-10", "B", 1),
    ]
    together = good(client, rows, "/spring/timeseries")["data"]
    assert [each["stages"]["queued"] for each in together] == [3, 1]


def test_a_variation_of_which_no_letter_is_left_is_not_told_of(client: TestClient, rows: Rows) -> None:
    letters(rows, variation="B", queued=T0)
    place = {"project_id": rows.project_id, "campaign": "spring", "variation": "A"}
    put(rows, tables.campaign_letters, **place, stages=1, letters=0)
    day_us = T0 - T0 % DAY_US
    put(rows, tables.campaign_days, **place, stage="posted", day_us=day_us, **dict.fromkeys(tables.HOURS, 0))

    (found,) = good(client, rows, "/spring/timeseries", variations="true")["data"]

    assert found["variation"] == "B"
    assert found["stages"] == dict.fromkeys(STAGES, 0) | {"queued": 1}


@pytest.mark.parametrize("name", ["100 %", "%d %s %%", 'a"b\\', "ü😀\x7f\n\t\x01", "{0}"])
def test_the_text_of_a_series_is_that_of_its_document(client: TestClient, rows: Rows, name: str) -> None:
    letters(rows, campaign=name, variation=name, queued=T0)
    letters(rows, campaign=name, queued=T0, posted=T0 + 3 * DAY_US)

    path = f"/{quote(name, safe='')}/timeseries"
    for asked in ({}, {"variations": "true"}, {"bucket": "hour", "timezone": "Asia/Kolkata"}):
        answer = get(client, rows, path, **asked)
        document = SeriesDocument.model_validate_json(answer.content, strict=True)
        assert answer.content.decode() == document.model_dump_json(exclude_unset=True)
        assert document.campaign == name
        assert sum(sum(each.stages.values()) for each in document.data) == 3
    told = good(client, rows, path, variations="true")["data"]
    assert [each["variation"] for each in told[:2]] == [None, name]


def test_a_period_of_a_series_is_one_of_its_time_zone_unless_it_says(client: TestClient, rows: Rows) -> None:
    first_us = moment_us("2026-06-30T20:00Z")
    keep(rows, [event for hour in range(30) for event in letter(rows, queued=first_us + hour * HOUR_US)])

    def hours(**period: str) -> tuple[str, str, int]:
        asked = {"bucket": "hour", "timezone": "Europe/Berlin", **period}
        data = good(client, rows, "/spring/timeseries", **asked)["data"]
        return data[0]["begin"][:13], data[-1]["begin"][:13], len(data)

    assert hours() == ("2026-06-30T22", "2026-07-02T03", 30)
    assert hours(since="2026-07-01", until="2026-07-02") == ("2026-07-01T00", "2026-07-01T23", 24)
    assert hours(since="2026-07-01T00:00Z") == ("2026-07-01T02", "2026-07-02T03", 26)
    assert hours(since="2026-07-01T00:30") == ("2026-07-01T01", "2026-07-02T03", 27)
    assert good(client, rows, "/spring/timeseries", since="2026-08-01")["data"] == []


def test_a_series_of_too_many_rows_is_refused_and_says_what_to_do(client: TestClient, rows: Rows) -> None:
    def refused(**more: Any) -> None:
        found = problem(get(client, rows, path, bucket="hour", **more), 400)
        assert [error["parameter"] for error in found["errors"]] == ["bucket"]

    path = "/spring/timeseries"
    end_us = T0 + (MOST_ROWS - 1) * HOUR_US
    letters(rows, variation="A", queued=T0, posted=end_us)
    assert len(good(client, rows, path, bucket="hour", variations=True)["data"]) == MOST_ROWS

    letters(rows, variation="B", queued=T0)
    assert len(good(client, rows, path, bucket="hour")["data"]) == MOST_ROWS
    refused(variations=True)

    letters(rows, variation="B", queued=end_us + HOUR_US)
    refused()
    assert len(good(client, rows, path, bucket="hour", since=iso(T0 + 1))["data"]) == 2
    assert len(good(client, rows, path, bucket="week", variations=True)["data"]) == 2 * 61


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timezone", "Europe/Nowhere"),
        ("timezone", "Europe"),
        ("timezone", "../../etc/passwd"),
        ("timezone", "x" * 5000),
        ("timezone", "a\0b"),
        ("timezone", ""),
        ("bucket", "month"),
        ("since", "today"),
        ("until", "2026-13-01"),
        ("variations", "x"),
        ("limit", "1"),
    ],
)
def test_a_wrong_parameter_of_a_series_is_named(
    client: TestClient, rows: Rows, name: str, value: str
) -> None:
    found = problem(get(client, rows, "/spring/timeseries", **{name: value}), 400)

    assert [error["parameter"] for error in found["errors"]] == [name]
    assert all(error["detail"].endswith(".") for error in found["errors"])


# -- who may ask ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/spring", "/spring/timeseries"])
def test_analysts_and_operations_may_ask_and_senders_may_not(
    client: TestClient, rows: Rows, path: str
) -> None:
    letters(rows, queued=T0)

    assert {get(client, rows, path, role).status_code for role in ("data", "ops")} == {200}
    for role in ("tracking", "sender"):
        problem(get(client, rows, path, role), 403)


# -- the command line -----------------------------------------------------------------------------


@pytest.fixture
def some(rows: Rows) -> Rows:
    """Two campaigns, one of them with a variation."""
    letters(rows, 2, queued=T0, posted=T0 + 5 * HOUR_US)
    letters(rows, 2, failed=T0)
    letters(rows, campaign="=SUM(1)", variation="+B", queued=T0 - 3 * DAY_US, delivered=T0)
    mailed(rows, 1, heard_us=T0)
    return rows


def test_the_command_says_what_http_says(client: TestClient, some: Rows) -> None:
    assert document("campaigns", some) == good(client, some)
    assert document("campaigns", some, "--limit", "1")["data"] == good(client, some, limit=1)["data"]
    assert document("funnel", some, "spring") == good(client, some, "/spring")
    asked = {"bucket": "hour", "timezone": "Europe/Berlin", "since": "2025-10-09", "variations": "true"}
    options = ["--by", "hour", "--timezone", "Europe/Berlin", "--since", "2025-10-09", "--variations"]
    assert document("funnel", some, "spring", *options) == good(client, some, "/spring/timeseries", **asked)


def test_campaigns_are_a_table_with_tabs_where_nobody_looks(some: Rows) -> None:
    head, first, second = said("campaigns", some).splitlines()

    assert head.split("\t")[:5] == ["campaign", "first event", "last event", "letters", "mailed"]
    counted = ["4", "2", "2", "0", "2", "0", "0", "2", "0.0%", "0.0%", "50.0%"]
    assert first.split("\t") == ["spring", "2025-10-09", "2025-10-09", *counted]
    assert second.split("\t")[0] == "=SUM(1)"


def test_a_table_says_where_it_goes_on(some: Rows) -> None:
    result = run("campaigns", some, "--limit", "1")

    cursor = result.stderr.split()[-1]
    assert [line[0] for line in cells("campaigns", some, "--cursor", cursor)] == ["=SUM(1)"]


def test_a_funnel_is_a_few_tables(some: Rows) -> None:
    tables_of = said("funnel", some, "spring").split("\n\n")

    assert [each.splitlines()[0].split("\t")[0] for each in tables_of] == [
        "first event",
        "stage",
        "since",
        "status",
        "mailings",
        "days silent",
    ]
    assert tables_of[1].splitlines()[1:] == [
        "mailed\t2\t2\t100.0%\t",
        "queued\t2\t2\t100.0%\t100.0%",
        "printing\t0\t2\t100.0%\t100.0%",
        "posted\t2\t2\t100.0%\t100.0%",
        "delivered\t0\t0\t0.0%\t0.0%",
        "returned\t0\t0\t0.0%\t0.0%",
        "failed\t2\t\t\t",
    ]
    assert tables_of[2].splitlines()[1:] == [
        "mailed\tposted\t2\t5.0 h\t5.0 h",
        "queued\tposted\t2\t5.0 h\t5.0 h",
    ]
    by_variation = said("funnel", some, "=SUM(1)").split("\n\n")[1].splitlines()
    assert {line.split("\t")[0] for line in by_variation} == {"variation", "(all)", "+B"}


def records(written: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written)))


def test_csv_has_a_record_for_each_row_and_no_formulas(some: Rows, tmp_path: Path) -> None:
    first, second = records(said("campaigns", some, "--csv"))
    assert (first["campaign"], first["mailed"], first["failed_rate"]) == ("spring", "2", "0.5")
    assert second["campaign"] == "'=SUM(1)"

    steps = records(said("funnel", some, "=SUM(1)", "--csv"))
    assert len(steps) == 2 * 10
    assert {(each["campaign"], each["variation"]) for each in steps} == {
        ("'=SUM(1)", "(all)"),
        ("'=SUM(1)", "'+B"),
    }
    (delivered,) = [each for each in steps if (each["stage"], each["variation"]) == ("delivered", "(all)")]
    assert delivered["letters"] == "1"
    assert abs(int(delivered["median_seconds_since_mailed"]) / (3 * 86_400) - 1) < 0.03

    path = tmp_path / "days.csv"
    assert said("funnel", some, "=SUM(1)", "--by", "day", "--variations", "--csv", "-o", str(path)) == ""
    days = records(path.read_text())
    assert [(each["begin"], each["variation"]) for each in days] == [
        (f"2025-10-{day:02}", "'+B") for day in range(6, 10)
    ]
    assert [each["delivered"] for each in days] == ["0", "0", "0", "1"]


def test_a_series_is_a_table_too(some: Rows) -> None:
    head, only = said("funnel", some, "spring", "--by", "week").splitlines()

    assert head.split("\t") == ["begin", *STAGES]
    assert only.split("\t") == ["2025-10-06", "2", "0", "2", "0", "0", "0", "0", "2", "0"]


@pytest.mark.parametrize("form", ["--json", "--csv"])
def test_every_report_goes_to_a_file_where_told(some: Rows, tmp_path: Path, form: str) -> None:
    path = tmp_path / "report"
    for words in (["campaigns"], ["funnel", "spring"], ["funnel", "spring", "--by", "day"]):
        told = said(words[0], some, *words[1:], form)

        assert said(words[0], some, *words[1:], form, "-o", str(path)) == ""

        assert path.read_bytes().decode().splitlines() == told.splitlines()


@pytest.mark.parametrize(
    "options",
    [
        ["--since", "2025-10-09"],
        ["--timezone", "Europe/Berlin"],
        ["--variations"],
        ["--by", "month"],
        ["--by", "day", "--timezone", "Europe/Nowhere"],
        ["--json", "--csv"],
        ["-o", "x"],
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(some: Rows, options: list[str]) -> None:
    assert run("funnel", some, "spring", *options).exit_code == 2


def test_a_command_that_cannot_answer_ends_with_a_sentence(some: Rows) -> None:
    for words in (["nobody"], ["nobody", "--by", "day"], ["\udcff"], ["x" * 501]):
        result = run("funnel", some, *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.endswith("with this reference.\n")
    letters(some, queued=T0 + MOST_ROWS * HOUR_US)
    result = run("funnel", some, "spring", "--by", "hour")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "longer spans" in result.stderr


# -- from callback to report ----------------------------------------------------------------------


def callback(customer: str, status: str, at_us: int, **properties: str) -> dict[str, Any]:
    told = {"campaign_id": "winter / 2", "status": status, **properties}
    event = {"customer_ids": {"registered": customer}, "event_type": "campaign", "properties": told}
    return {"name": "customers/events", "data": event | {"timestamp": at_us / 1_000_000}}


def test_what_the_sender_calls_back_is_told_alike_by_every_report(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    commands = [
        callback("a", "booked", T0, variation="A"),
        callback("a", "queued", T0 + MINUTE_US),  # the same stage once more
        callback("a", "delivered", T0 + 2 * DAY_US),
        callback("a", "delivered", T0 + 2 * DAY_US),  # the same event once more
        callback("b", "Gedruckt", T0, variation="B"),
        callback("b", "returned", T0 + 3 * DAY_US),
        callback("c", "preblocked", T0 + DAY_US),
        callback("", "delivered", T0),  # refused
    ]
    with serving(database_url) as sender:
        for command in commands:
            sender.send("batch", {"commands": [command]})

        def ask(path: str, **parameters: Any) -> Any:
            url = f"/v1/projects/{sender.project.token}/campaigns{path}"
            return sender.client.get(
                url, params=parameters, headers={"authorization": sender.authorization("data")}
            ).json()

        (listed,) = ask("")["data"]
        found = ask("/winter%20%2F%202")
        days = ask("/winter%20%2F%202/timeseries", timezone="Europe/Berlin")["data"]
        with sender.engine.connect() as connection:
            query = f"SELECT sum(mailed), {', '.join(f'sum({stage})' for stage in STAGES)}"
            by_sql = list(map(int, connection.execute(text(f"{query} FROM campaign_funnel_v")).one()))

    stages = {"queued": 1, "delivered": 1, "returned": 1, "suppressed": 1, "unknown": 1}
    assert {stage: number for stage, number in listed["stages"].items() if number} == stages
    names = ("campaign", "events", "letters", "mailed")
    assert [listed[name] for name in names] == ["winter / 2", 6, 3, 2]
    assert listed == {name: found[name] for name in listed}
    assert [listed["mailed"], *listed["stages"].values()] == by_sql
    totals = Counter(dict.fromkeys(STAGES, 0))
    for each in days:
        totals.update(each["stages"])
    assert totals == listed["stages"]
    assert [each["begin"] for each in days] == [f"2025-10-{day:02}" for day in range(9, 13)]
    assert [each["variation"] for each in found["variations"]] == [None, "A", "B"]
    (took,) = [each for each in found["times"] if (each["since"], each["stage"]) == ("queued", "delivered")]
    assert (took["letters"], abs(took["median_seconds"] / (2 * 86_400) - 1) < 0.03) == (1, True)
    words = {each["status"]: each["events"] for each in found["events_by_status"]}
    assert words == dict.fromkeys(words, 1)
    assert words.keys() == {"delivered", "booked", "queued", "Gedruckt", "returned", "preblocked"}

    def said_by_command(*arguments: str) -> Any:
        result = run(arguments[0], None, sender.project.token, *arguments[1:], "--json")
        assert result.exit_code == 0
        return json.loads(result.stdout)

    assert said_by_command("campaigns")["data"] == [listed]
    assert said_by_command("funnel", "winter / 2") == found
    by_day = said_by_command("funnel", "winter / 2", "--by", "day", "--timezone", "Europe/Berlin")
    assert by_day["data"] == days


# -- the document for analysts --------------------------------------------------------------------


def test_every_number_is_explained_to_analysts() -> None:
    told = (Path(__file__).parent.parent / "docs/campaigns.md").read_text()
    names = {
        name
        for model in (CampaignDocument, FunnelDocument, StepDocument, DurationDocument, SeriesDocument)
        for name in model.model_fields
    } | set(SeriesQuestion.model_fields)

    assert {name for name in names if f"`{name}`" not in told} == set()
    options = typer.main.get_command(build("funnel")).commands["funnel"].params  # type: ignore[attr-defined]
    assert [each.opts[0] for each in options[2:] if f"`{each.opts[0]}`" not in told] == []
