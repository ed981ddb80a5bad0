"""The first page: whether things are well, at a glance."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from receiver.console.pages import Page, Visit
from receiver.domain.moments import DAY_US, HOUR_US, hour_of, iso

_OUTCOMES = ("accepted", "duplicate", "rejected")
_HOURS = 24


class Finding(NamedTuple):
    """Something that somebody should look at; *path* is where."""

    sort: str
    sentence: str
    path: str | None


def overview(visit: Visit) -> Page:
    """What came in, what waits, what was refused."""
    now_us = time.time_ns() // 1000
    status = visit.ask("What waits", "/status").document
    hours = visit.ask(
        "The last 24 hours",
        "/outcomes",
        {"by": "hour", "since": iso(hour_of(now_us) - (_HOURS - 1) * HOUR_US)},
    ).document["hours"]
    week = visit.ask("The last 7 days", "/outcomes", {"since": iso(hour_of(now_us) - 7 * DAY_US)}).document
    refused: Sequence[Mapping[str, Any]] = []
    if visit.operates:
        asked = {"state": "open", "trend": "day"}
        refused = visit.ask("Open rejections", "/rejections/summary", asked).document["data"]
    campaigns = visit.ask("The newest campaigns", "/campaigns", {"limit": 5}).document["data"]
    by_hour = _by_hour(hours, now_us)
    return Page(
        "overview.html",
        {
            "findings": list(_findings(status, visit.operates)),
            "status": status,
            "spans": {
                "The last hour": _sum(list(by_hour.values())[-1:]),
                "The last 24 hours": _sum(by_hour.values()),
                "The last 7 days": week["total"],
            },
            "labels": list(by_hour),
            "series": {name: [each[name] for each in by_hour.values()] for name in _OUTCOMES},
            "refused": refused,
            "campaigns": campaigns,
            "is_new": status["last_callback"] is None and not campaigns,
        },
    )


def _findings(status: Mapping[str, Any], operates: bool) -> Iterator[Finding]:
    if number := status["open_rejections"]["number"]:
        what = "rejection is open and waits" if number == 1 else "rejections are open and wait"
        yield Finding("bad", f"{number} {what} to be mended.", "/rejections?state=open" if operates else None)
    if number := status["unknown"]["number"]:
        what = "Of 1 letter" if number == 1 else f"Of {number} letters"
        path = "/mailings?state=unknown" if operates else None
        yield Finding("bad", f"{what} nobody knows whether it was printed; somebody has to say.", path)


def _by_hour(hours: Sequence[Mapping[str, Any]], now_us: int) -> dict[str, Mapping[str, int]]:
    """The last hours, also those in which nothing came, by the hour of the day (UTC)."""
    known = {each["hour"]: each for each in hours}
    nothing = dict.fromkeys(_OUTCOMES, 0)
    found: dict[str, Mapping[str, int]] = {}
    for back in reversed(range(_HOURS)):
        at = iso(hour_of(now_us) - back * HOUR_US)
        found[at[11:16]] = known.get(at, nothing)
    return found


def _sum(counts: Any) -> dict[str, int]:
    return {name: sum(each[name] for each in counts) for name in _OUTCOMES}
