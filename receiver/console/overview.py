"""The first page: whether things are well, at a glance."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from receiver.console.pages import Page, Visit
from receiver.domain.moments import DAY_US, HOUR_US, hour_of, iso

_OUTCOMES = ("accepted", "duplicate", "rejected")
_HOURS = 24
_RELAY = {"stopped": "bad", "unattended": "bad", "away": "late"}
"""How bad it is, by the state of the relay; the others are well."""


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
    relay = visit.ask("The relay to Bloomreach", "/relay", {"groups": "no"}).document
    campaigns = visit.ask("The newest campaigns", "/campaigns", {"limit": 5}).document["data"]
    by_hour = _by_hour(hours, now_us)
    return Page(
        "overview.html",
        {
            "findings": list(_findings(status, relay, visit.operates)),
            "status": status,
            "relay": relay,
            "relay_sort": _RELAY.get(relay["state"]),
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


def _findings(status: Mapping[str, Any], relay: Mapping[str, Any], operates: bool) -> Iterator[Finding]:
    if number := status["open_rejections"]["number"]:
        what = "rejection is open and waits" if number == 1 else "rejections are open and wait"
        yield Finding("bad", f"{number} {what} to be mended.", "/rejections?state=open" if operates else None)
    if number := status["unknown"]["number"]:
        what = "Of 1 letter" if number == 1 else f"Of {number} letters"
        path = "/mailings?state=unknown" if operates else None
        yield Finding("bad", f"{what} nobody knows whether it was printed; somebody has to say.", path)
    if number := relay["set_aside"]["commands"]:
        what = "1 command was" if number == 1 else f"{number} commands were"
        yield Finding("bad", f"{what} set aside: Bloomreach would not take {_them(number)}.", "/relay#aside")


def _them(number: int) -> str:
    return "it" if number == 1 else "them"


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
