"""Whether the command line, HTTP and SQL tell the same, and what the events say themselves."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

from benchmarks.contestants import PROGRAMS
from benchmarks.service import Service
from receiver.domain.journeys import MAILED, ON_ITS_WAY
from receiver.domain.stages import STAGES
from receiver.store.engine import connect

Funnel = dict[str | None, dict[str, int]]
"""Letters by variation, and by stage or MAILED."""

_NAMES = (MAILED, *STAGES)
_OUTCOMES = ("received", "accepted", "duplicate", "rejected")

_REACHED = ", ".join(
    f"max(CASE WHEN stage IN ({', '.join(repr(each) for each in stages)}) THEN 1 ELSE 0 END) AS {name}"
    for name, stages in {MAILED: ON_ITS_WAY, **{stage: (stage,) for stage in STAGES}}.items()
)
_BY_EVENTS = (
    f"SELECT variation, {', '.join(f'sum({name})' for name in _NAMES)} FROM ("
    f"SELECT coalesce(mailing_id, 'of ' || customer_id) AS letter, min(variation) AS variation, {_REACHED}"
    " FROM events WHERE campaign = :campaign AND stage IS NOT NULL GROUP BY letter) AS letters"
    " GROUP BY variation"
)
_BY_VIEW = (
    f"SELECT variation, {', '.join(_NAMES)} FROM campaign_funnel_v"
    " WHERE project = :project AND campaign = :campaign"
)
_OUTCOMES_BY_VIEW = (
    f"SELECT {', '.join(f'sum({name})' for name in _OUTCOMES)} FROM outcomes_v"
    " WHERE project = :project AND source = 'callback'"
)


def disagreements(url: str, service: Service, campaigns: Sequence[str]) -> list[str]:
    """In sentences: what is not told alike of the funnels of *campaigns* and of what became of commands."""
    engine = connect(url)
    with engine.begin() as connection:
        funnels = [each for campaign in campaigns for each in _of_funnel(connection, url, service, campaign)]
        row = connection.execute(text(_OUTCOMES_BY_VIEW), {"project": service.token}).one()
    engine.dispose()
    return funnels + list(_of_outcomes(url, service, dict(zip(_OUTCOMES, map(int, row), strict=True))))


def _of_funnel(connection: Connection, url: str, service: Service, campaign: str) -> Iterator[str]:
    asked = {"project": service.token, "campaign": campaign}
    by_events = _by_sql(connection, _BY_EVENTS, asked)
    told = {
        "SQL": _by_sql(connection, _BY_VIEW, asked),
        "HTTP": _of_document(json.loads(service.ask(f"{service.v1}/campaigns/{campaign}"))),
        "the command line": _of_document(_said(url, "funnel", service.token, campaign, "--json")),
    }
    for who, funnel in told.items():
        if funnel != by_events:
            yield f"{campaign}, {who}: {funnel}, by the events {by_events}"


def _of_outcomes(url: str, service: Service, by_view: dict[str, int]) -> Iterator[str]:
    checked = _said(url, "outcomes", service.token, "--check", "--json")
    by_http = json.loads(service.ask(f"{service.v1}/outcomes"))
    for who, total in {"HTTP": by_http["total"], "the command line": checked["total"]}.items():
        if total != by_view:
            yield f"outcomes, {who}: {total}, by SQL {by_view}"
    for wrong in checked["disagreements"]:
        yield f"outcomes --check: {wrong['detail']}"


def _by_sql(connection: Connection, query: str, asked: dict[str, str]) -> Funnel:
    rows = connection.execute(text(query), asked)
    return {variation: dict(zip(_NAMES, map(int, numbers), strict=True)) for variation, *numbers in rows}


def _of_document(document: dict[str, Any]) -> Funnel:
    variations = document["variations"] or [{**document, "variation": None}]
    return {each["variation"]: {MAILED: each["mailed"], **each["stages"]} for each in variations}


def _said(url: str, *arguments: str) -> Any:
    """What ``receiver`` prints, as parsed; it may find something wrong."""
    environment = {**os.environ, "RECEIVER_DATABASE_URL": url}
    command = [str(PROGRAMS / "receiver"), *arguments]
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False).stdout)
