"""Campaigns: all of them, and one with its funnel, its times, what is silent, and everything as files."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from starlette.responses import Response
from starlette.routing import Route

from receiver.console.pages import Elsewhere, Page, Visit, page
from receiver.domain.stages import FUNNEL, STAGES
from receiver.web.events import file_formats

_PAGE = 50
_MOST_VARIATIONS = 12
_MOST_WORDS = 25

_DAYS = {"hour": 2, "day": 42, "week": 52 * 7}
"""So many days are drawn at once by each span: a page stays small, and its columns can be told apart."""

_SERIES = "/timeseries"


def listed(visit: Visit) -> Page:
    """All campaigns, the one that was heard of last first."""
    wanted = {name: visit.question.get(name, "") for name in ("since", "until")}
    asked = {name: _midnight(text, visit.zone) for name, text in wanted.items()}
    cursor = visit.question.get("cursor")
    found = visit.ask("The campaigns", "/campaigns", {**asked, "limit": _PAGE, "cursor": cursor})
    return Page(
        "campaigns.html",
        {
            "wanted": wanted,
            "rows": found.document["data"] if found.good else [],
            "next": found.document["next"] if found.good else None,
            "cursor": cursor,
            "stages": FUNNEL,
            "said": None if found.good else found.said,
        },
        found.status,
    )


def _midnight(text: str, zone: ZoneInfo) -> str:
    """Dates are those of the viewer; what is none is left for the API to refuse."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (at if at.tzinfo else at.replace(tzinfo=zone)).isoformat()


# -- one ------------------------------------------------------------------------------------------


def one(visit: Visit) -> Page | Elsewhere:
    """One campaign."""
    reference = visit.question.get("ref", "")
    if not reference:
        return Elsewhere("/campaigns")
    if reference.endswith(_SERIES):
        said = "A reference that ends in /timeseries can be asked for on the command line: receiver funnel."
        return Page("failed.html", {"said": said}, 404)
    found = visit.ask("This campaign", f"/campaigns/{reference}")
    if not found.good:
        values = {"said": found.document["detail"], "reference": reference}
        return Page("campaign_unknown.html", values, found.status)
    campaign = found.document
    return Page(
        "campaign.html",
        {
            "campaign": campaign,
            "reference": reference,
            "stages": FUNNEL,
            "beside": [stage for stage in STAGES if stage not in FUNNEL and campaign["stages"][stage]],
            "variations": campaign["variations"][:_MOST_VARIATIONS],
            "more_variations": max(0, len(campaign["variations"]) - _MOST_VARIATIONS),
            "statuses": campaign["events_by_status"][:_MOST_WORDS],
            "more_statuses": max(0, len(campaign["events_by_status"]) - _MOST_WORDS),
            "silent": sum(each["mailings"] for each in campaign["silent_mailings"]),
            "formats": file_formats(),
            "series": _series(visit, campaign) if campaign["letters"] else None,
        },
    )


# -- when letters reached their stages ------------------------------------------------------------


class Window(NamedTuple):
    """The days that are drawn, *until* excluded; *earlier* and *later* are the last days of the windows
    beside it, where there is something."""

    by: str
    since: date
    until: date
    earlier: date | None
    later: date | None


def window(first: date, last: date, by: str | None, upto: str | None) -> Window:
    """As asked, of a campaign that was heard of from *first* to *last*; else the spans that suit it, up to
    its last day."""
    if by not in _DAYS:
        by = next((each for each, days in _DAYS.items() if (last - first).days < days), "week")
    days, one_day = timedelta(_DAYS[by]), timedelta(1)
    try:
        end = min(max(date.fromisoformat(upto or ""), first), last)
    except ValueError:
        end = last
    if by == "week":  # whole ones
        end += timedelta(6 - end.weekday())
    since, end = max(end - days + one_day, first), min(end, last)
    earlier = since - one_day if since > first else None
    return Window(by, since, end + one_day, earlier, min(end + days, last) if end < last else None)


def _series(visit: Visit, campaign: Mapping[str, Any]) -> dict[str, Any]:
    first, last = (_day(campaign[name], visit.zone) for name in ("first_event", "last_event"))
    shown = window(first, last, visit.question.get("by"), visit.question.get("upto"))
    asked = {
        "bucket": shown.by,
        "timezone": visit.zone.key,
        "since": shown.since.isoformat(),
        "until": shown.until.isoformat(),
    }
    found = visit.ask(
        "When its letters reached their stages", f"/campaigns/{campaign['campaign']}{_SERIES}", asked
    )
    rows = found.document["data"] if found.good else []
    stages = [stage for stage in STAGES if campaign["stages"][stage]]
    return {
        "said": None if found.good else found.said,
        "window": shown,
        "last_day": shown.until - timedelta(1),
        "drawn": "lines" if visit.question.get("as") == "lines" else "columns",
        "labels": [_label(each["begin"]) for each in rows],
        "counts": {stage: [each["stages"][stage] for each in rows] for stage in stages},
        "rows": [(_written(each["begin"]), [each["stages"][stage] for stage in stages]) for each in rows],
        "file": asked,
    }


def _day(time: str, zone: ZoneInfo) -> date:
    return datetime.fromisoformat(time).astimezone(zone).date()


def _label(begin: str) -> str:
    """``23 Nov``, ``23 Nov 14 h``: short enough to stand below a column."""
    at = datetime.fromisoformat(begin)
    return f"{at.day} {at:%b}" + (f" {at.hour} h" if "T" in begin else "")


def _written(begin: str) -> str:
    return begin[:16].replace("T", " ")


# -- files ----------------------------------------------------------------------------------------


def events_file(visit: Visit) -> Page | Response:
    """All events of a campaign."""
    return visit.file("/events", _given(visit, campaign="ref", format="format"))


def funnel_file(visit: Visit) -> Page | Response:
    """The funnel of a campaign, also of each variation."""
    return visit.file(f"/campaigns/{visit.question.get('ref', '')}", {"format": "csv"})


def times_file(visit: Visit) -> Page | Response:
    """When the letters of a campaign reached their stages."""
    asked = _given(visit, **{name: name for name in ("bucket", "timezone", "since", "until")})
    return visit.file(f"/campaigns/{visit.question.get('ref', '')}{_SERIES}", {**asked, "format": "csv"})


def _given(visit: Visit, **names: str) -> dict[str, object]:
    return {name: visit.question.get(parameter, "") for name, parameter in names.items()}


routes: list[Route] = [
    page("/campaigns", listed),
    page("/campaigns/one", one),
    page("/campaigns/events", events_file),
    page("/campaigns/funnel", funnel_file),
    page("/campaigns/times", times_file),
]
