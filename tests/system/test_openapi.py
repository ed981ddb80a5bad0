"""What /openapi.json promises holds, whatever is sent to the running service."""

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis.strategies import one_of
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.errors import InvalidSchema
from schemathesis.core.result import Err, Result
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.system.service import PRIVATE, Client, Key, Project, Service, event

Operation = APIOperation[Any, Any, Any, Any]

PROMISES = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]

ROLES = {"/track/": "tracking", "/optilyz/": "tracking", "/data/": "data", "/v1/": "ops", "/api/": "sender"}
"""Whose key opens which routes."""

# The document is the same on both.
pytestmark = pytest.mark.parametrize("installation", ["sqlite"], indirect=True)

EXAMPLES = 40
"""Of each operation, half of them as the document asks for, half not."""


def test_every_operation_answers_as_the_document_promises(
    service: Service, client: Client, project: Project, subtests: pytest.Subtests
) -> None:
    # Something to be found.
    client.track("customers/events", event(1, registered="known"))
    client.track("customers/events", {"customer_ids": {"registered": PRIVATE}})
    rejection_id = client.our_own("rejections")["data"][0]["id"]
    letter = {"address": {"lastName": PRIVATE, "street": "Weg", "zipCode": "01067", "city": "Dresden"}}
    sending = f"{service.url}/api/v2/automations/64b0c0ffee0000000000abcd/recipient"
    mailing_id = httpx2.post(sending, json=letter, auth=project.keys["sender"]).json()["id"]

    for operation in _operations(service):
        with subtests.test(operation.label):
            known = {"rejection_id": rejection_id, "mailing_id": mailing_id}
            _try_out(operation, service, project, known)


@pytest.mark.parametrize("key", [None, Key("nobody", PRIVATE)], ids=["no key", "unknown key"])
def test_every_operation_turns_strangers_away_as_the_document_promises(
    service: Service, project: Project, subtests: pytest.Subtests, key: Key | None
) -> None:
    for operation in _operations(service):
        if "{project_token}" in operation.path:
            with subtests.test(operation.label):
                numbers = {"rejection_id": 1, "mailing_id": "0" * 24}
                parameters = {"project_token": project.token, "name": "status", "ref": "spring", **numbers}
                case = operation.Case(path_parameters=parameters)
                answer = case.call_and_validate(service.url, auth=key, checks=PROMISES, timeout=10)
                assert answer.status_code == 401


def _operations(service: Service) -> list[Operation]:
    document = schemathesis.openapi.from_url(f"{service.url}/openapi.json", config=schemathesis.Config())
    operations = [_sound(result) for result in document.get_all_operations()]
    assert len(operations) > 10
    return operations


def _sound(result: Result[Operation, InvalidSchema]) -> Operation:
    if isinstance(result, Err):
        raise result.err()
    return result.ok()


def _try_out(operation: Operation, service: Service, project: Project, known: dict[str, Any]) -> None:
    """Ask for what is *known*, by the names of path parameters, and for what is not."""
    key = next((project.keys[ROLES[start]] for start in ROLES if operation.path.startswith(start)), None)
    ours = _in_path(operation, {"project_token": project.token})
    found = _in_path(operation, {"project_token": project.token, **known})

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
    @given(
        case=one_of(
            operation.as_strategy(GenerationMode.POSITIVE, path_parameters=found),
            operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=ours),
        )
    )
    def answers_as_promised(case: Any) -> None:
        case.call_and_validate(service.url, auth=key, checks=PROMISES, timeout=10)

    answers_as_promised()


def _in_path(operation: Operation, parameters: dict[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in parameters.items() if f"{{{name}}}" in operation.path} or None
