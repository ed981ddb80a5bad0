"""The description of the service: whole, valid, and true of what is read by hand."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import given
from hypothesis import settings as examples
from hypothesis.strategies import SearchStrategy
from schemathesis.core.result import Ok
from starlette.testclient import TestClient

from receiver.app import create_app
from receiver.domain.callbacks import read
from receiver.domain.commands import Form, Reason, Rejection
from receiver.inbound.deliveries import Policy
from receiver.settings import Settings, read_settings
from receiver.web import api, callback_schemas, data, gateway, health, openapi, tracking
from receiver.web import openapi_parts as parts

METHODS = {"get", "post"}


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    methods = METHODS | {"delete"}
    return {(path, method) for path, item in document["paths"].items() for method in methods & item.keys()}


def responses(document: dict[str, Any], path: str, method: str = "post") -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]["responses"]
    return found


# -- the whole of it ------------------------------------------------------------------------------


def test_it_is_given_to_everybody_as_json() -> None:
    answer = TestClient(create_app(read_settings())).get("/openapi.json")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == json.loads(json.dumps(openapi.document(read_settings())))
    assert answer.json()["info"]["version"] == version("receiver")


def test_it_is_openapi_without_loose_ends() -> None:
    schema = schemathesis.openapi.from_dict(openapi.document(read_settings()), config=schemathesis.Config())

    schema.validate()

    assert all(isinstance(operation, Ok) for operation in schema.get_all_operations())


def test_every_route_that_answers_stands_in_it_and_nothing_else() -> None:
    by_framework = {
        (route.path_format, method.lower())
        for route in (*data.routes, *api.routes, *gateway.routes, *health.routes)
        if route.include_in_schema
        for method in (route.methods or set()) - {"HEAD"}
    }
    by_hand = {(path, "post") for path in tracking.FORMS}
    by_hand |= {(tracking.SYSTEM_TIME, method) for method in METHODS}
    with_token = {
        (path.replace("projects/", "projects/{project_token}/"), method) for path, method in by_hand
    }

    assert operations(openapi.document(read_settings())) == by_framework | with_token


def test_every_operation_has_words_and_a_name_of_its_own() -> None:
    document = openapi.document(read_settings())
    described = [document["paths"][path][method] for path, method in operations(document)]

    assert all(each["summary"] for each in described)
    assert len({each["operationId"] for each in described}) == len(described)


def test_every_schema_in_it_is_referred_to() -> None:
    document = openapi.document(read_settings())
    text = json.dumps(document)

    assert [name for name in document["components"]["schemas"] if f'/{name}"' not in text] == []


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        (
            "/track/v2/projects/{project_token}/batch",
            [{"Basic": ["tracking"]}, {"Token": ["public"]}, {"AccessToken": ["public"]}],
        ),
        ("/data/v2/projects/{project_token}/customers/events", [{"Basic": ["data"]}, {"Basic": ["ops"]}]),
    ],
)
def test_an_operation_names_the_roles_that_may(path: str, keys: list[dict[str, list[str]]]) -> None:
    assert openapi.document(read_settings())["paths"][path]["post"]["security"] == keys


@pytest.mark.parametrize("status", [200, 400, 422, 299])
def test_a_refused_event_has_the_status_of_the_settings(status: int) -> None:
    document = openapi.document(read_settings(reject_status=status))

    found = responses(document, "/track/v2/projects/{project_token}/customers/events")

    assert "CallbackDocument" in json.dumps(found[str(status)])
    assert {"200", "400", "401", "403", "408", "413", "503"} | {str(status)} == found.keys()


def test_a_parameter_is_never_null() -> None:
    document = openapi.document(read_settings())
    parameters = [
        parameter
        for path, method in operations(document)
        for parameter in document["paths"][path][method].get("parameters", ())
    ]

    assert len(parameters) > 10
    assert [each["name"] for each in parameters if "null" in json.dumps(each)] == []


# -- what is read by hand -------------------------------------------------------------------------

BODIES = {Form.EVENT: "Event", Form.UPDATE: "CustomerUpdate", Form.BATCH: "Batch", Form.FLAT: "FlatBody"}

SETTINGS = [
    read_settings(),
    read_settings(
        hard_ids=("registered", "email"),
        soft_ids=(),
        empty_ids="drop",
        individualisations={"email": 7, "campaign": 1, "mailing": 2},
        max_commands=3,
    ),
]

# In the year 5138, so that no number of seconds is too far ahead.
NOW = 10**11 * 10**6

OF_VALUES = {
    Reason.EMPTY_CUSTOMER_ID,
    Reason.PLACEHOLDER_CUSTOMER_ID,
    Reason.UNUSABLE_CUSTOMER_ID,
    Reason.INVALID_TIMESTAMP,
    Reason.TIMESTAMP_OUT_OF_RANGE,
    Reason.PROPERTY_TOO_LARGE,
    Reason.UNSTORABLE_TEXT,
}
"""These say what a text holds or what time it is now: no schema can."""


def reasons(form: Form, body: object, settings: Settings) -> set[Reason]:
    """Why something in *body* is refused; nothing where all of it is taken."""
    outcomes = read(form, json.dumps(body).encode(), Policy.of(settings).rules, NOW)
    return {outcome.reason for outcome in outcomes if isinstance(outcome, Rejection)}


def accepted_bodies(form: Form, settings: Settings) -> SearchStrategy[Any]:
    """Whatever the schema of *form* accepts."""
    content = {"application/json": {"schema": parts.ref(BODIES[form])}}
    operation = {
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "OK"}},
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "One body", "version": "1"},
        "paths": {"/": {"post": operation}},
        "components": {"schemas": callback_schemas.schemas(settings)},
    }
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config())
    return schema["/"]["POST"].as_strategy().map(lambda case: case.body)


@pytest.mark.parametrize("settings", SETTINGS, ids=["default", "other IDs"])
@pytest.mark.parametrize("form", BODIES)
def test_what_the_schema_accepts_is_refused_for_its_values_at_most(form: Form, settings: Settings) -> None:
    @examples(max_examples=50)
    @given(accepted_bodies(form, settings))
    def holds(body: object) -> None:
        assert reasons(form, body, settings) <= OF_VALUES

    holds()


IDS = {"registered": "c-1001", "email": "ada@example.com"}
EVENT = {
    "customer_ids": IDS,
    "event_type": "campaign",
    "timestamp": 1_760_000_000.5,
    "properties": {"n": [1]},
}
AGED = {"customer_ids": IDS, "event_type": "campaign", "age": 12.5}
UPDATE = {"customer_ids": IDS, "properties": {"city": "Dresden"}, "update_timestamp": "2026-11-23T09:30:00Z"}
FLAT = {"individualisation1": "spring", "individualization7": "ada@example.com", "status": "delivered"}
FLAT_WITH_IDS = {**AGED, "individualisation1": "spring"}
COMMANDS = [
    {"name": "customers/events", "data": EVENT, "command_id": "a"},
    {"name": "customers", "data": UPDATE},
    {"name": "system/time"},
]

GOOD: list[tuple[Form, Any]] = [
    (Form.EVENT, EVENT),
    (Form.EVENT, AGED),
    (Form.UPDATE, UPDATE),
    (Form.BATCH, {"commands": COMMANDS}),
    (Form.FLAT, FLAT),
    (Form.FLAT, {**FLAT, "customer_ids": None, "event_type": None, "timestamp": None, "age": None}),
    (Form.FLAT, [FLAT, FLAT_WITH_IDS]),
]

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e11,
    1e12,
    "",
    " ",
    "x",
    "x" * 501,
    "1760000000",
    [],
    [1],
    {},
    {"x": 1},
    {"x" * 501: 1},
)


def near(value: Any) -> Iterator[Any]:
    """*value* with an odd one in one of its places, or with one of its places left out or doubled."""
    yield from ODD
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield from ({**value, key: changed} for changed in near(inner))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            before, after = value[:place], value[place + 1 :]
            yield [*before, *after]
            yield [*before, inner, inner, *after]
            yield from ([*before, changed, *after] for changed in near(inner))


@pytest.mark.parametrize(("form", "good"), GOOD)
def test_the_schema_and_the_reader_agree_about_all_that_is_nearly_good(form: Form, good: object) -> None:
    settings = SETTINGS[1]
    schema = {**parts.ref(BODIES[form]), "components": {"schemas": callback_schemas.schemas(settings)}}
    validator = jsonschema_rs.Draft202012Validator(schema)

    assert validator.is_valid(good)
    assert reasons(form, good, settings) == set()
    for body in near(good):
        found = reasons(form, body, settings)
        assert found <= OF_VALUES if validator.is_valid(body) else found, body
