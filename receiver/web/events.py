"""Events under ``/v1``: a page of them as JSON, or all as a file."""

from collections.abc import Callable, Iterable, Iterator

from starlette.requests import Request
from starlette.responses import Response

from receiver.store import export, parquet, reports
from receiver.store.event_rows import EventRow, Fields, Made, Part, whole
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
    lines = reports.read_pages(
        request.state["engine"],
        caller.project_id,
        question.filter(),
        whole(export.event_lines),
        _part(question, question.limit),
    )
    return answers.streamed_bytes(map(b"".join, lines), _JSONL, "events.jsonl")


def _page(request: Request[State], caller: Caller, question: EventsQuestion) -> Response:
    wanted, part = question.filter(), _part(question, question.limit or 100)
    with reports.reading(request.state["engine"], once=reports.is_one_statement(wanted)) as connection:
        page = reports.read_page(connection, caller.project_id, wanted, whole(_listed), part)
    following = export.quoted(event_cursor(page.next, oldest_first=part.oldest_first))
    text = f'{{"data":[{",".join(page.made)}],"next":{following}}}'
    return Response(text, media_type="application/json")


def _part(question: EventsQuestion, limit: int | None) -> Part:
    after = question.cursor and question.cursor.position
    return Part(after, limit, oldest_first=question.order == "oldest")


def _listed(some: Iterable[Fields]) -> str:
    return ",".join(map(export.event_json, some))


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
