"""The Data API v2: what is known of one customer or of all, asked and answered in the vendor's shapes.

Soft IDs are lists, the most recently used one last.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.store import customers, export, reports
from receiver.store.customers import Column, Customer
from receiver.store.engine import Fault, fault
from receiver.store.event_places import EventFilter
from receiver.store.event_rows import Part, short
from receiver.store.holders import customer_of, find_holder
from receiver.web import answers
from receiver.web.answers import NO_PERMISSION, Operation, vendor_error, vendor_errors
from receiver.web.auth import Action, Caller, Refusal
from receiver.web.customer_tables import csv_lines, id_value, native_json, table_json, value_json
from receiver.web.data_documents import (
    AttributesDocument,
    CustomerDocument,
    CustomerEventsDocument,
    CustomersDocument,
)
from receiver.web.data_questions import (
    Attribute,
    AttributesQuestion,
    CustomerEventsQuestion,
    CustomerQuestion,
    ExportQuestion,
)
from receiver.web.intake import TurnedAway
from receiver.web.questions import body_of, caller_of
from receiver.web.state import State

PREFIX = "/data/v2/projects/{project_token}/customers/"


def customer_events(request: Request[State], caller: Caller, question: CustomerEventsQuestion) -> Response:
    """Events of the types that were asked for, the oldest first unless told."""
    wanted = EventFilter(customer=question.customer_ids, types=tuple(question.event_types))
    part = Part(None, question.limit, question.skip or 0, question.order != "desc")
    pages = _pages(request, caller, wanted, part)
    first = next(pages, [])
    if not first:
        with reports.reading(request.state["engine"], once=True) as connection:
            if customer_of(connection, caller.project_id, question.customer_ids) is None:
                return _no_customer()
    return _array('{"success":true,"data":[', chain([first], pages))


def export_one(request: Request[State], caller: Caller, question: CustomerQuestion) -> Response:
    """Everything that is known of one customer: IDs, properties, all events."""
    with reports.reading(request.state["engine"], once=True) as connection:
        known = find_holder(connection, caller.project_id, question.customer_ids)
    if known is None:
        return _no_customer()
    settings, ids = request.state["settings"], known.values()
    kinds = [*settings.hard_ids, *settings.soft_ids, *ids]
    known_ids = json.dumps({kind: id_value(kind, ids, settings) for kind in kinds})
    known_properties = ",".join(f"{export.quoted(name)}:{value}" for name, value, _ in known.properties)
    head = f'{{"success":true,"ids":{known_ids},"properties":{{{known_properties}}},"events":['
    wanted = EventFilter(customer=question.customer_ids)
    return _array(head, _pages(request, caller, wanted, Part(oldest_first=True)))


def _pages(request: Request[State], caller: Caller, wanted: EventFilter, part: Part) -> Iterator[list[str]]:
    return reports.read_pages(request.state["engine"], caller.project_id, wanted, short(_events_json), part)


def _array(head: str, pages: Iterator[list[str]]) -> Response:
    """*pages* as a JSON array behind *head*: sent at once where they are only one, as nearly always."""
    end = "]}"
    texts = export.json_array(head, pages, end)
    first = list(islice(texts, 2))
    if len(first) < 2 or first[1] == end:
        return Response("".join(first), media_type="application/json")
    return answers.streamed(chain(first, texts), "application/json")


def attributes(request: Request[State], caller: Caller, question: AttributesQuestion) -> Response:
    """Single properties and IDs, answered one by one in the order of the question."""
    with reports.reading(request.state["engine"], once=True) as connection:
        known = find_holder(connection, caller.project_id, question.customer_ids)
    if known is None:
        return _no_customer()
    customer = Customer(known.values(), {each.name: each.value for each in known.properties})

    def result(asked: Attribute) -> str:
        column = asked.column()
        if column is None:
            return _NOT_FOR_US
        return f'{{"success":true,"value":{value_json(column, customer, request.state["settings"])}}}'

    texts = export.json_array('{"success":true,"results":[', [map(result, question.attributes)], "]}")
    return Response("".join(texts), media_type="application/json")


def export_all(request: Request[State], caller: Caller, question: ExportQuestion) -> Response:
    """All customers as a table: their IDs and then their properties, or the columns that are asked for."""
    asked = question.attributes.columns if question.attributes else None
    if asked is None:
        columns = _all_columns(request, caller)
    else:
        columns = [column for each in asked if (column := each.column())]
        if len(columns) < len(asked):
            places = [place for place, each in enumerate(asked, 1) if each.column() is None]
            return vendor_errors(403, {"attributes": [f"Item {place}: {NO_PERMISSION}" for place in places]})
    pages = customers.all_customers(
        request.state["engine"], caller.project_id, columns, are_all=asked is None
    )
    settings = request.state["settings"]
    if question.format == "csv":
        return answers.streamed(csv_lines(columns, pages, settings), _CSV, "customers.csv")
    table = native_json if question.format == "native_json" else table_json
    return answers.streamed(table(columns, pages, settings), "application/json")


def _all_columns(request: Request[State], caller: Caller) -> list[Column]:
    """The IDs of the settings, others that somebody has, and all properties."""
    with reports.reading(request.state["engine"]) as connection:
        held = customers.id_kinds(connection, caller.project_id)
        names = customers.property_names(connection, caller.project_id)
    settings = request.state["settings"]
    kinds = dict.fromkeys([*settings.hard_ids, *settings.soft_ids, *held])
    return [*(Column("id", kind) for kind in kinds), *(Column("property", name) for name in names)]


_CSV = "text/csv"
_NOT_FOR_US = json.dumps({"success": False, "error": NO_PERMISSION})


def _no_customer() -> Response:
    return vendor_errors(404, {"_global": ["Customer does not exist"]})


def _events_json(some: Iterable[tuple[int, str, int, str]]) -> str:
    """Of the fields of short events."""
    return ",".join(
        [
            f'{{"type":{export.quoted(name)},"timestamp":{occurred_us / 1e6},"properties":{properties}}}'
            for _, name, occurred_us, properties in some
        ]
    )


_ERRORS_OF_ALL = (400, 401, 403, 408, 413, 503)
_ERRORS = (*_ERRORS_OF_ALL, 404)

OPERATIONS = (
    Operation(
        "events", Action.READ, CustomerEventsQuestion, customer_events, CustomerEventsDocument, _ERRORS
    ),
    Operation("export-one", Action.READ, CustomerQuestion, export_one, CustomerDocument, _ERRORS),
    Operation("attributes", Action.READ, AttributesQuestion, attributes, AttributesDocument, _ERRORS),
    Operation("export", Action.READ, ExportQuestion, export_all, CustomersDocument, _ERRORS_OF_ALL, (_CSV,)),
)


def _route(operation: Operation) -> Route:
    async def endpoint(request: Request[State]) -> Response:
        caller = await caller_of(request, operation.action)
        if isinstance(caller, Refusal):
            return vendor_error(caller.status, caller.message)
        body = await body_of(request)
        if isinstance(body, TurnedAway):
            # Who has hung up (status 0) hears no answer; the framework wants one all the same.
            return vendor_error(body.status or 400, body.message)
        try:
            question = operation.question.model_validate_json(body, context=request.state["settings"])
        except ValidationError as error:
            return answers.wrong_body(error)
        try:
            return await run_in_threadpool(operation.answer, request, caller, question)
        except SQLAlchemyError as error:
            if fault(error) is not Fault.AWAY:
                raise
            return vendor_error(503, answers.AWAY)

    return Route(PREFIX + operation.path, endpoint, methods=["POST"], name=operation.answer.__name__)


def _later(path: str, what: str) -> Route:
    async def endpoint(_: Request[State]) -> Response:
        return vendor_error(501, f"{what} is not available yet.")

    return Route(PREFIX + path, endpoint, methods=["POST"], include_in_schema=False)


routes = [
    *map(_route, OPERATIONS),
    _later("anonymize", "Anonymizing a customer"),
    _later("anonymize_bulk", "Anonymizing customers"),
]
