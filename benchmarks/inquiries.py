"""The questions of ``benchmarks.analysts`` with their goals."""

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from sqlalchemy import Connection, text

from benchmarks.questions import PAGE_MS, Ask
from benchmarks.rows import RARE_PROPERTY
from benchmarks.service import Service
from benchmarks.traffic import campaign
from benchmarks.year import RARE_STATUS, RARE_TYPE, RESPONSE
from receiver.domain.moments import DAY_US, HOUR_US, iso
from receiver.store.engine import connect

_CUSTOMER_MS = 5
_ZONE = "Europe/Berlin"
_SAMPLE = 400

BIG, TESTED, OVER, SMALL = (campaign(number).decode() for number in (0, 1, 4, 39))
"""Campaigns: of all year, of all year with variations, of some weeks, and the smallest."""

Inquiries = Mapping[str, tuple[Ask, float | None]]
"""What to ask, and within how many milliseconds it should be answered; None where nothing is promised."""


class _Example(NamedTuple):
    """Whom to ask for, by how many events they have (with their number), and when the last event was."""

    customers: Mapping[str, tuple[str, int]]
    now_us: int


def inquiries(service: Service, url: str) -> Inquiries:
    """All of them, in the order of the report."""
    engine = connect(url)
    with engine.begin() as connection:
        example = _example(connection)
    engine.dispose()
    return {
        "nothing: the way there and back": (lambda: service.ask("/healthz"), None),
        **_of_customers(service, example),
        **_of_events(service, example),
        **_of_campaigns(service, example),
    }


def _example(connection: Connection) -> _Example:
    highest = connection.execute(text("SELECT max(id) FROM customers")).scalar_one()
    sample = ", ".join(map(str, Random(5).sample(range(1, highest), _SAMPLE)))
    counted = connection.execute(
        text(
            "SELECT i.value, count(*) AS events FROM events AS e JOIN customer_ids AS i"
            " ON i.customer_id = e.customer_id AND i.kind = 'registered'"
            f" WHERE e.customer_id IN ({sample}) GROUP BY i.value ORDER BY events, i.value"
        )
    ).all()
    (most,) = connection.execute(
        text(
            "SELECT i.value, count(*) AS events FROM events AS e JOIN customer_ids AS i"
            " ON i.customer_id = e.customer_id AND i.kind = 'registered'"
            " WHERE e.customer_id IN (1, 2, 3) GROUP BY i.value ORDER BY events DESC LIMIT 1"
        )
    ).all()
    now_us = connection.execute(text("SELECT max(occurred_us) FROM events")).scalar_one()
    chosen = {"few": counted[0], "typical": counted[len(counted) // 2], "most": most}
    return _Example({name: (f"registered:{who}", number) for name, (who, number) in chosen.items()}, now_us)


def _of_customers(service: Service, example: _Example) -> dict[str, tuple[Ask, float | None]]:
    asked: dict[str, tuple[Ask, float | None]] = {}
    for name, (who, events) in example.customers.items():
        ids = {"customer_ids": dict([who.split(":")])}
        types = {**ids, "event_types": ["campaign", RESPONSE, RARE_TYPE]}
        pairs = [{"type": "property", "property": "first_name"}, {"type": "id", "id": "cookie"}]
        asked |= {
            f"all events of a customer, {name}: {events}": (
                _get(service, "/events", customer=who, limit=1000),
                _CUSTOMER_MS,
            ),
            f"customer, {name}": (_get(service, "/customer", customer=who), PAGE_MS),
            f"Data API customers/events, {name}": (_post(service, "/events", types), _CUSTOMER_MS),
            f"Data API customers/export-one, {name}": (_post(service, "/export-one", ids), _CUSTOMER_MS),
            f"Data API customers/attributes, {name}": (
                _post(service, "/attributes", {**ids, "attributes": pairs}),
                _CUSTOMER_MS,
            ),
        }
    everything = {"format": "native_json"}
    some = {"format": "csv", "attributes": {"type": "some", "list": [{"type": "id", "id": "registered"}]}}
    return asked | {
        "Data API customers/export, everything: first part": (_first_part(service, everything), None),
        "Data API customers/export, one column: first part": (_first_part(service, some), None),
    }


def _of_events(service: Service, example: _Example) -> dict[str, tuple[Ask, float | None]]:
    then_us, now_us = example.now_us - 330 * DAY_US, example.now_us
    month, day = {"since": iso(now_us - 30 * DAY_US)}, {"since": iso(then_us), "until": iso(then_us + DAY_US)}
    came = {"received_since": iso(then_us), "received_until": iso(then_us + HOUR_US)}
    filters: dict[str, dict[str, str]] = {
        "all": {},
        "type, common": {"type": "campaign"},
        "type, 1 in 100": {"type": RESPONSE},
        "type, 5 in all": {"type": RARE_TYPE},
        "type, of nothing": {"type": "nothing"},
        "campaign, big": {"campaign": BIG},
        "campaign, small": {"campaign": SMALL},
        "campaign of some weeks": {"campaign": OVER},
        "status, common": {"status": "posted"},
        "status, 7 in all": {"status": RARE_STATUS},
        "stage, common": {"stage": "delivered"},
        "stage, 3 in 100": {"stage": "returned"},
        "stage, 1 in 10,000": {"stage": "unknown"},
        "campaign and common status": {"campaign": BIG, "status": "delivered"},
        "campaign and status, 7 in all": {"campaign": BIG, "status": RARE_STATUS},
        "campaign and stage": {"campaign": TESTED, "stage": "returned"},
        "campaign and type": {"campaign": BIG, "type": RESPONSE},
        "campaign and a month after it": {"campaign": OVER, **month},
        "campaign and a day 11 months ago": {"campaign": BIG, **day},
        "rare status and a month": {"status": RARE_STATUS, **month},
        "since a month": month,
        "until 11 months ago": {"until": iso(then_us)},
        "a day 11 months ago": day,
        "a day 11 months ago and stage": {**day, "stage": "returned"},
        "received within the last hour": {"received_since": iso(now_us - HOUR_US)},
        "received since 11 months": {"received_since": iso(then_us)},
        "received until 11 months ago": {"received_until": iso(then_us)},
        "received within an hour 11 months ago": came,
        "received within an hour 11 months ago, and campaign": {**came, "campaign": BIG},
        "received within an hour 11 months ago, and rare status": {**came, "status": RARE_STATUS},
        "property, in all": {"property": "platform:optilyz"},
        "property, 1 in 2,000": {"property": f"{RARE_PROPERTY}:K3"},
        "property, of nothing": {"property": "platform:other"},
        "property and campaign": {"property": f"{RARE_PROPERTY}:K3", "campaign": BIG},
        "variation": {"variation": "2"},
        "variation and campaign": {"variation": "2", "campaign": TESTED},
        "variation as property, and campaign": {"property": "variation:2", "campaign": TESTED},
    }
    return {
        f"events: {name}{', oldest first' if order == 'oldest' else ''}": (
            _get(service, "/events", order=order, **wanted),
            PAGE_MS,
        )
        for name, wanted in filters.items()
        for order in ("newest", "oldest")
    }


def _of_campaigns(service: Service, example: _Example) -> dict[str, tuple[Ask, float | None]]:
    month_us, year_us = (example.now_us - days * DAY_US for days in (30, 365))
    asked: dict[str, tuple[Ask, float | None]] = {"campaigns": (_get(service, "/campaigns"), PAGE_MS)}
    for name, reference in {"big": BIG, "with variations": TESTED, "small": SMALL}.items():
        path = f"/campaigns/{reference}"
        series = f"{path}/timeseries"
        asked |= {
            f"funnel of a campaign, {name}": (_get(service, path), PAGE_MS),
            f"series by day, {name}": (_get(service, series, bucket="day", timezone=_ZONE), PAGE_MS),
            f"series by week, {name}": (_get(service, series, bucket="week", timezone=_ZONE), PAGE_MS),
            f"series by hour of a month, {name}": (
                _get(service, series, bucket="hour", timezone=_ZONE, since=iso(month_us)),
                PAGE_MS,
            ),
        }
    by_variation = {"bucket": "day", "timezone": _ZONE, "variations": "true"}
    return asked | {
        "series by day and variation": (
            _get(service, f"/campaigns/{TESTED}/timeseries", **by_variation),
            PAGE_MS,
        ),
        "outcomes of a month": (_get(service, "/outcomes", since=iso(month_us)), None),
        "outcomes of a year": (_get(service, "/outcomes", since=iso(year_us)), None),
        "events/properties": (_get(service, "/events/properties"), None),
    }


def _get(service: Service, path: str, **question: object) -> Ask:
    return lambda: service.ask(service.v1 + path, **question)


def _post(service: Service, path: str, body: object) -> Ask:
    return lambda: service.ask(service.data + path, body)


def _first_part(service: Service, body: object) -> Ask:
    return lambda: service.stream(f"{service.data}/export", lambda _: False, body)
