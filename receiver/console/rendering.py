"""How pages are made: templates, and how numbers and times look in them.

Every value is escaped.  No page holds a script or a style of its own, and none asks another host.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from receiver.console import charts
from receiver.console.sheet import marked_up

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}

ZONE_COOKIE = "receiver_zone"


@cache
def zone_of(name: str | None) -> ZoneInfo:
    """The time zone of this name, UTC where there is none."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


@cache
def zones() -> list[str]:
    """The names of all time zones that people choose from."""
    return [
        "UTC",
        *sorted(each for each in available_timezones() if "/" in each and not each.startswith("Etc/")),
    ]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("receiver.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "share": share,
        "query": query,
        "short": short,
        "words": words,
        "span": span,
        "marked_up": marked_up,
    }
    environment.globals |= {"charts": charts, "zones": zones}
    return environment


def page(template: str, values: Mapping[str, object], *, zone: ZoneInfo, status: int = 200) -> HTMLResponse:
    """The page that *template* makes of *values*."""
    made = (
        _environment()
        .get_template(template)
        .render(
            **values, zone=zone, time=lambda text: time_of(text, zone), day=lambda text: day_of(text, zone)
        )
    )
    return HTMLResponse(made, status)


# -- how values look ------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """``1 234 567``, with spaces that do not break; a dash for nothing."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def share(value: float | None) -> str:
    """``12.3 %``; a dash where there is nothing to compare."""
    return "–" if value is None else f"{100 * value:.1f}\u202f%"


def span(seconds: float | None) -> str:
    """``3.2 days``, ``5 hours``, ``40 seconds``."""
    if seconds is None:
        return "–"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            amount = f"{seconds / length:.1f}".removesuffix(".0")
            return f"{amount} {unit}{'' if amount == '1' else 's'}"
    amount = f"{seconds:.0f}"
    return f"{amount} second{'' if amount == '1' else 's'}"


def words(code: str | None) -> str:
    """A code as people read it: ``empty_customer_id`` is ``empty customer id``."""
    return (code or "–").replace("_", " ")


def short(text: str, most: int = 120) -> str:
    """The beginning of what may be long: a list of fifty is still to be read, and small."""
    return text if len(text) <= most else f"{text[:most]}…"


def query(values: Mapping[str, object], **changes: object) -> str:
    """The part of a URL behind the question mark: *values* with *changes*, without what is empty."""
    together = {**values, **changes}
    return urlencode({name: str(value) for name, value in together.items() if value not in (None, "")})


def time_of(text: str | None, zone: ZoneInfo) -> Markup:
    """A time of the API (ISO 8601, UTC) in the viewer's zone, in UTC when it is pointed at."""
    if text is None:
        return Markup("–")
    there = datetime.fromisoformat(text).astimezone(zone)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        text, text[:19].replace("T", " "), there.strftime("%Y-%m-%d %H:%M")
    )


def day_of(text: str | None, zone: ZoneInfo) -> Markup:
    """Only the day of it."""
    if text is None:
        return Markup("–")
    there = datetime.fromisoformat(text).astimezone(zone)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        text, text[:19].replace("T", " "), there.strftime("%Y-%m-%d")
    )


def joined(parts: list[str]) -> Markup:
    return Markup("").join(escape(part) for part in parts)
