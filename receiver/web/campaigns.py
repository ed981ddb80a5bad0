"""Campaigns under ``/v1``: all of them, the funnel of one, and when its letters reached their stages."""

import time

from starlette.requests import Request
from starlette.responses import Response

from receiver.store import reports
from receiver.store.campaigns import campaigns_page, find_campaign
from receiver.store.series import MOST_ROWS, TooLong, find_series
from receiver.web import answers
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.campaign_documents import (
    CampaignsDocument,
    FunnelDocument,
    SeriesDocument,
    series_json,
)
from receiver.web.campaign_questions import (
    CampaignsQuestion,
    FunnelQuestion,
    SeriesQuestion,
    campaign_cursor,
    is_reference,
)
from receiver.web.campaign_tables import funnel_csv, series_csv
from receiver.web.state import State

UNHEARD = "Nothing is known of a campaign with this reference."


def too_long(series: TooLong) -> str:
    """What is to be done about it, in a sentence."""
    return f"That would be {series.rows:,} rows; at most {MOST_ROWS:,}: ask for longer spans or for a period."


def campaigns(request: Request[State], caller: Caller, question: CampaignsQuestion) -> Response:
    """Campaigns with their letters by stage and their rates, the one that was heard of last first."""
    with reports.reading(request.state["engine"]) as connection:
        page = campaigns_page(
            connection,
            caller.project_id,
            since_us=question.since,
            until_us=question.until,
            after=question.cursor,
            limit=question.limit,
        )
    return answers.document(CampaignsDocument.of(page, campaign_cursor(page.next)))


def campaign(request: Request[State], caller: Caller, question: FunnelQuestion) -> Response:
    """How far the letters of one campaign came and how long it took them, and what is silent."""
    reference = request.path_params["ref"]
    if not is_reference(reference):
        return problem(404, UNHEARD)
    with reports.reading(request.state["engine"]) as connection:
        found = find_campaign(connection, caller.project_id, reference, now_us=time.time_ns() // 1000)
    if found is None:
        return problem(404, UNHEARD)
    document = FunnelDocument.of(found)
    if question.format == "csv":
        return answers.streamed([funnel_csv(document)], _CSV, "funnel.csv")
    return answers.document(document)


def timeseries(request: Request[State], caller: Caller, question: SeriesQuestion) -> Response:
    """When the letters of one campaign first reached each stage, by hour, day or week of a time zone."""
    reference, wanted = request.path_params["ref"], question.wanted()
    if not is_reference(reference):
        return problem(404, UNHEARD)
    with reports.reading(request.state["engine"]) as connection:
        series = find_series(connection, caller.project_id, reference, wanted)
    if series is None:
        return problem(404, UNHEARD)
    if isinstance(series, TooLong):
        return problem(
            400,
            "The series is too long; `errors` says what to do.",
            [{"parameter": "bucket", "detail": too_long(series)}],
        )
    if question.format == "csv":
        document = SeriesDocument.of(reference, wanted, series)
        table = series_csv(document, by_variation=question.variations)
        return answers.streamed([table], _CSV, "timeseries.csv")
    return Response(series_json(reference, wanted, series), media_type="application/json")


_CSV = "text/csv"
_ERRORS = (400, 401, 403, 503)
_OF_ONE = (*_ERRORS, 404)
_ONE = "/campaigns/{ref}"

OPERATIONS = (
    Operation("/campaigns", Action.READ, CampaignsQuestion, campaigns, CampaignsDocument, _ERRORS),
    # Before the other one, whose reference may hold slashes.
    Operation(
        f"{_ONE}/timeseries", Action.READ, SeriesQuestion, timeseries, SeriesDocument, _OF_ONE, (_CSV,)
    ),
    Operation(_ONE, Action.READ, FunnelQuestion, campaign, FunnelDocument, _OF_ONE, (_CSV,)),
)
