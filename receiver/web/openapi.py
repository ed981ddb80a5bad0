"""/openapi.json: what every route takes and answers, from the models that the routes use themselves.

Routes that answer 501 as yet are left out, and so is what any path can answer (405, 500).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import metadata
from inspect import getdoc

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.domain.commands import Form
from receiver.settings import Settings
from receiver.web import api, callback_schemas, data, gateway, health
from receiver.web import openapi_parts as parts
from receiver.web.answers import Operation
from receiver.web.auth import Action
from receiver.web.documents import (
    CallbackDocument,
    HealthDocument,
    ProblemDocument,
    RefusedBatchDocument,
    ResultsDocument,
    TimeDocument,
    VendorErrorDocument,
)
from receiver.web.gateway_documents import (
    AutomationsDocument,
    LetterDocument,
    LettersDocument,
    RecipientQuestion,
    RecipientsQuestion,
    RefusedLettersDocument,
)
from receiver.web.openapi_parts import Answer, Schema, errors, responses, security, words
from receiver.web.shown import Shown, SqlDocument
from receiver.web.state import State
from receiver.web.tracking import FORMS, SYSTEM_TIME


def route(settings: Settings) -> Route:
    """The route of the document, which is made when it is first asked for."""

    @cache
    def text() -> bytes:
        return json.dumps(document(settings)).encode()

    def openapi(_: Request[State]) -> Response:
        return Response(text(), media_type="application/json")

    return Route("/openapi.json", openapi, include_in_schema=False)


def document(settings: Settings) -> Schema:
    """Describe the service that has these *settings*, by OpenAPI 3.1."""
    schemas = _schemas(settings)
    paths: dict[str, Schema] = {}
    for path, method, described in (
        *_callbacks(settings, schemas),
        *map(_told, data.OPERATIONS),
        *[_asked(operation, schemas) for operation in api.OPERATIONS],
        *_passed_on(),
        *_watched(),
    ):
        paths.setdefault(path, {"parameters": parts.path_parameters(path)})[method] = described
    # The fields of such a question are parameters; nobody refers to the whole.
    questions: list[type[BaseModel]] = [Shown]
    questions += [each.question for each in api.OPERATIONS if each.method != "POST"]
    for name in {each.__name__ for each in questions}:
        del schemas[name]
    package = metadata("receiver")
    return {
        "openapi": "3.1.0",
        "info": {"title": package["Name"], "summary": package["Summary"], "version": package["Version"]},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": parts.SECURITY_SCHEMES},
    }


def _schemas(settings: Settings) -> Schema:
    operations = (*api.OPERATIONS, *data.OPERATIONS)
    schemas = parts.schemas_of(
        [*(operation.question for operation in operations), Shown, RecipientQuestion, RecipientsQuestion],
        [*(operation.document for operation in operations), *_OF_NO_OPERATION],
    )
    for operation in operations:
        # Which IDs there are is a setting, which no model knows.
        fields = schemas[operation.question.__name__].get("properties", {})
        if "customer_ids" in fields:
            fields["customer_ids"] = parts.ref("CustomerIds")
    return {**callback_schemas.schemas(settings), **schemas}


_OF_NO_OPERATION = (
    CallbackDocument,
    HealthDocument,
    ProblemDocument,
    RefusedBatchDocument,
    ResultsDocument,
    SqlDocument,
    TimeDocument,
    VendorErrorDocument,
    AutomationsDocument,
    LetterDocument,
    LettersDocument,
    RefusedLettersDocument,
)


# -- a path, a method, and what is said of them ---------------------------------------------------

_Described = tuple[str, str, Schema]


def _callbacks(settings: Settings, schemas: Schema) -> Iterator[_Described]:
    single = Answer(200, CallbackDocument), Answer(settings.reject_status, CallbackDocument)
    several = Answer(200, ResultsDocument), Answer(400, RefusedBatchDocument)
    bodies: Mapping[Form, tuple[str, Sequence[Answer]]] = {
        Form.EVENT: ("Event", single),
        Form.UPDATE: ("CustomerUpdate", single),
        Form.BATCH: ("Batch", several),
        Form.FLAT: ("FlatBody", several),
    }
    for path, form in FORMS.items():
        body, answers = bodies[form]
        turned_away = errors((400, 401, 403, 408, 413, 503), VendorErrorDocument)
        described = {
            "operationId": f"track_{form}",
            **words(schemas[body]["description"]),
            "security": security(Action.TRACK),
            "requestBody": parts.body(body),
            "responses": responses(*answers, *turned_away),
        }
        yield _with_token(path), "post", described
    for method in ("get", "post"):
        described = {
            "operationId": f"{method}_system_time",
            **words(getdoc(TimeDocument)),
            "security": security(Action.TRACK),
            "responses": responses(Answer(200, TimeDocument), *errors((400, 401, 403), VendorErrorDocument)),
        }
        yield _with_token(SYSTEM_TIME), method, described


def _with_token(path: str) -> str:
    return path.replace("projects/", "projects/{project_token}/")


def _told(operation: Operation) -> _Described:
    """Describe an operation of the Data API, whose question is a body."""
    described = _common(operation, VendorErrorDocument)
    described["requestBody"] = parts.body(operation.question.__name__)
    return data.PREFIX + operation.path, "post", described


def _asked(operation: Operation, schemas: Schema) -> _Described:
    """Describe an operation of our own API, whose question is a query, or the body of a POST."""
    is_report = operation.method == "GET"
    described = _common(operation, ProblemDocument, *([SqlDocument] if is_report else []))
    if operation.method == "POST":
        described["requestBody"] = parts.body(operation.question.__name__)
    else:
        described["parameters"] = parts.query_parameters(schemas[operation.question.__name__])
        if is_report:
            described["parameters"] += parts.query_parameters(schemas[Shown.__name__])
        described["description"] = getdoc(operation.question)
    return api.PREFIX + operation.path, operation.method.lower(), described


def _common(operation: Operation, error: type[BaseModel], *others: type[BaseModel]) -> Schema:
    """*others* are what a good answer may be besides."""
    return {
        "operationId": operation.answer.__name__,
        **words(getdoc(operation.answer)),
        "security": security(operation.action),
        "responses": responses(
            *(Answer(200, document) for document in (operation.document, *others)),
            *(Answer(200, None, media_type) for media_type in operation.files),
            *errors(operation.errors, error),
        ),
    }


def _passed_on() -> Iterator[_Described]:
    """Describe the gateway."""
    said: Mapping[str, tuple[type[BaseModel] | None, Sequence[type[BaseModel]]]] = {
        "recipient": (RecipientQuestion, [LetterDocument]),
        "recipients": (RecipientsQuestion, [LettersDocument, RefusedLettersDocument]),
        "automations": (None, [AutomationsDocument]),
    }
    for method, path, endpoint in gateway.OPERATIONS:
        question, answers = said[endpoint.__name__]
        turned_away = (401, 403, 408, 413, 503) if question else (401, 403, 503)
        described = {
            "operationId": endpoint.__name__,
            **words(getdoc(endpoint)),
            "security": security(Action.SEND),
            **({"requestBody": parts.body(question.__name__)} if question else {}),
            "responses": responses(
                *(Answer(200, each) for each in answers), *errors(turned_away, VendorErrorDocument)
            ),
        }
        yield gateway.PREFIX + path, method.lower(), described


def _watched() -> Iterator[_Described]:
    answers: Mapping[str, Sequence[Answer]] = {
        "/healthz": (Answer(200, HealthDocument),),
        "/readyz": (Answer(200, HealthDocument), Answer(503, HealthDocument)),
        "/metrics": (Answer(200, None, "text/plain"),),
    }
    for each in health.routes:
        described = {
            "operationId": each.name,
            **words(getdoc(each.endpoint)),
            "security": [],
            "responses": responses(*answers[each.path]),
        }
        yield each.path, "get", described
