"""The Data API v2: what is known of one customer, asked and answered in the vendor's shapes.

Soft IDs are lists, the most recently used one last.
"""

import json
from collections.abc import Iterator

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.settings import Settings
from receiver.store import export, reports
from receiver.store.engine import Fault, fault
from receiver.store.reports import EventFilter, EventRow
from receiver.web import answers
from receiver.web.answers import NO_PERMISSION, Operation, vendor_error, vendor_errors
from receiver.web.auth import Action, Caller, Refusal
from receiver.web.documents import AttributesDocument, CustomerDocument, CustomerEventsDocument
from receiver.web.intake import TurnedAway
from receiver.web.questions import (
    Attribute,
    AttributesQuestion,
    CustomerEventsQuestion,
    CustomerQuestion,
    body_of,
    caller_of,
)
from receiver.web.state import State

PREFIX = "/data/v2/projects/{project_token}/customers/"


def customer_events(request: Request[State], caller: Caller, question: CustomerEventsQuestion) -> Response:
    """Events of the types that were asked for, the oldest first unless told."""
    with reports.reading(request.state["engine"]) as connection:
        if reports.customer_of(connection, caller.project_id, question.customer_ids) is None:
            return _no_customer()
    pages = reports.all_events(
        request.state["engine"],
        caller.project_id,
        EventFilter(customer=question.customer_ids, types=tuple(question.event_types)),
        limit=question.limit,
        skip=question.skip,
        oldest_first=question.order == "asc",
    )
    texts = export.json_array('{"success":true,"data":[', _event_texts(pages), "]}")
    return answers.streamed(texts, "application/json")


def export_one(request: Request[State], caller: Caller, question: CustomerQuestion) -> Response:
    """Everything that is known of one customer: IDs, properties, all events."""
    with reports.reading(request.state["engine"]) as connection:
        customer = reports.customer_of(connection, caller.project_id, question.customer_ids)
        if customer is None:
            return _no_customer()
        ids = reports.ids_of(connection, customer)
        properties = reports.properties_of(connection, customer)
    settings = request.state["settings"]
    kinds = [*settings.hard_ids, *settings.soft_ids, *ids]
    known_ids = json.dumps({kind: _id_value(kind, ids, settings) for kind in kinds})
    known_properties = ",".join(f"{export.quoted(name)}:{value}" for name, value in properties.items())
    pages = reports.all_events(
        request.state["engine"],
        caller.project_id,
        EventFilter(customer=question.customer_ids),
        oldest_first=True,
    )
    head = f'{{"success":true,"ids":{known_ids},"properties":{{{known_properties}}},"events":['
    return answers.streamed(export.json_array(head, _event_texts(pages), "]}"), "application/json")


def attributes(request: Request[State], caller: Caller, question: AttributesQuestion) -> Response:
    """Single properties and IDs, answered one by one in the order of the question."""
    with reports.reading(request.state["engine"]) as connection:
        customer = reports.customer_of(connection, caller.project_id, question.customer_ids)
        if customer is None:
            return _no_customer()
        ids = reports.ids_of(connection, customer)
        properties = reports.properties_of(connection, customer)

    def result(asked: Attribute) -> str:
        if asked.type == "property" and asked.property is not None:
            value = properties.get(asked.property, "null")
        elif asked.type == "id" and asked.id is not None:
            value = json.dumps(_id_value(asked.id, ids, request.state["settings"]))
        else:
            return _NOT_FOR_US
        return f'{{"success":true,"value":{value}}}'

    texts = export.json_array('{"success":true,"results":[', [map(result, question.attributes)], "]}")
    return Response("".join(texts), media_type="application/json")


_NOT_FOR_US = json.dumps({"success": False, "error": NO_PERMISSION})


def _no_customer() -> Response:
    return vendor_errors(404, {"_global": ["Customer does not exist"]})


def _id_value(kind: str, ids: dict[str, list[str]], settings: Settings) -> str | list[str] | None:
    """A hard ID as text or None, a soft one as a list, which may be empty."""
    values = ids.get(kind, [])
    if kind in settings.hard_ids:
        return values[0] if values else None
    return values


def _event_texts(pages: Iterator[list[EventRow]]) -> Iterator[list[str]]:
    for page in pages:
        yield [
            f'{{"type":{export.quoted(event.type)},"timestamp":{event.occurred_us / 1e6}'
            f',"properties":{event.properties}}}'
            for event in page
        ]


_ERRORS = (400, 401, 403, 404, 408, 413, 503)

OPERATIONS = (
    Operation(
        "events", Action.READ, CustomerEventsQuestion, customer_events, CustomerEventsDocument, _ERRORS
    ),
    Operation("export-one", Action.READ, CustomerQuestion, export_one, CustomerDocument, _ERRORS),
    Operation("attributes", Action.READ, AttributesQuestion, attributes, AttributesDocument, _ERRORS),
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
    _later("export", "Exporting all customers"),
    _later("anonymize", "Anonymizing a customer"),
    _later("anonymize_bulk", "Anonymizing customers"),
]
