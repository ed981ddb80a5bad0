"""Events under ``/v1``: a page of them as JSON, or all as a file."""

from collections.abc import Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response

from receiver.store import export, parquet, reports
from receiver.store.reports import EventRow, Fields, Made
from receiver.web import answers
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.documents import EventsDocument
from receiver.web.event_questions import EventsQuestion, event_cursor
from receiver.web.state import State

_JSONL = "application/x-ndjson"
_CSV = "text/csv"
_PARQUET = "application/vnd.apache.parquet"


def file_formats() -> list[str]:
    """What all events can be had as here, beside pages of JSON."""
    return ["csv", "jsonl", *(["parquet"] if parquet.is_installed() else [])]


def events(request: Request[State], caller: Caller, question: EventsQuestion) -> Response:
    """Events, the newest first unless told: a page of them as JSON, or all as a file."""
    if question.format == "json":
        return _page(request, caller, question)
    if question.format == "parquet" and not parquet.is_installed():
        return problem(501, parquet.MISSING)

    def pages(made: Callable[[Fields], Made]) -> Iterator[list[Made]]:
        return reports.all_events(
            request.state["engine"],
            caller.project_id,
            question.filter(),
            made,
            after=question.cursor and question.cursor.position,
            limit=question.limit,
            oldest_first=question.order == "oldest",
        )

    if question.format == "parquet":
        parts = parquet.parquet_parts(pages(EventRow._make))
        return answers.streamed_bytes(parts, _PARQUET, "events.parquet")
    if question.format == "csv":
        return answers.streamed(export.csv_lines(pages(export.cells)), _CSV, "events.csv")
    return answers.streamed(export.json_lines(pages(export.event_json)), _JSONL, "events.jsonl")


def _page(request: Request[State], caller: Caller, question: EventsQuestion) -> Response:
    oldest_first = question.order == "oldest"
    with reports.reading(request.state["engine"]) as connection:
        page = reports.events_page(
            connection,
            caller.project_id,
            question.filter(),
            after=question.cursor and question.cursor.position,
            limit=question.limit or 100,
            oldest_first=oldest_first,
        )
    following = export.quoted(event_cursor(page.next, oldest_first=oldest_first))
    texts = export.json_array('{"data":[', [map(export.event_json, page.rows)], f'],"next":{following}}}')
    return Response("".join(texts), media_type="application/json")


OPERATIONS = (
    Operation(
        "/events",
        Action.READ,
        EventsQuestion,
        events,
        EventsDocument,
        (400, 401, 403, 501, 503),
        (_JSONL, _CSV, _PARQUET),
    ),
)
