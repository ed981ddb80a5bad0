"""What an OpenAPI description is put together from: schemas, parameters, answers, and who may."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from receiver.store.keys import Role
from receiver.web.auth import Action, may
from receiver.web.documents import ProblemDocument

Schema = dict[str, Any]
"""JSON Schema, or any other object of the description."""

_REFERENCE = "#/components/schemas/{model}"
_JSON = "application/json"


def ref(name: str) -> Schema:
    """Refer to the schema that stands under *name* in the description."""
    return {"$ref": _REFERENCE.format(model=name)}


def schemas_of(questions: Iterable[type[BaseModel]], documents: Iterable[type[BaseModel]]) -> Schema:
    """The schemas of what is read and of what is written, by the names of the models."""
    _, made = models_json_schema(
        [
            *[(model, "validation") for model in dict.fromkeys(questions)],
            *[(model, "serialization") for model in dict.fromkeys(documents)],
        ],
        ref_template=_REFERENCE,
        schema_generator=_WithoutTitles,
    )
    schemas: Schema = made["$defs"]
    return schemas


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        """The title of a field would be its name once more."""
        return False


def words(text: str | None) -> Schema:
    """The first paragraph of a docstring sums up; the rest, where there is one, describes."""
    summary, _, rest = (text or "").partition("\n\n")
    return {"summary": summary.removesuffix("."), **({"description": rest} if rest else {})}


# -- what is asked --------------------------------------------------------------------------------


def body(name: str) -> Schema:
    """A body in JSON by the schema of that *name*."""
    return {"required": True, "content": {_JSON: {"schema": ref(name)}}}


def query_parameters(question: Schema) -> list[Schema]:
    """The fields of the schema of a model, each as a parameter."""
    required = question.get("required", ())
    return [
        _query_parameter(name, field, required=name in required)
        for name, field in question.get("properties", {}).items()
    ]


def _query_parameter(name: str, field: Schema, *, required: bool) -> Schema:
    schema = dict(field)
    parameter = {"name": name, "in": "query", "required": required, "schema": schema}
    if "description" in schema:
        parameter["description"] = schema.pop("description")
    # No query can say null: what may be None is left out there.
    if schema.get("default", "") is None:
        del schema["default"]
    for option in schema.pop("anyOf", ()):
        if option != {"type": "null"}:
            schema |= option
    return parameter


_PATH_PARAMETERS: Mapping[str, Schema] = {
    "project_token": {"type": "string", "format": "uuid"},
    "rejection_id": {"type": "integer", "minimum": 1},
    "mailing_id": {"type": "string", "pattern": "^[0-9a-f]{24}$"},
    "automation_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$"},
    "name": {"type": "string"},
    "ref": {"type": "string"},
}


def path_parameters(path: str) -> list[Schema]:
    """The parameters that stand in braces in *path*."""
    return [
        {"name": name, "in": "path", "required": True, "schema": _PATH_PARAMETERS[name]}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


# -- what is answered -----------------------------------------------------------------------------


class Answer(NamedTuple):
    """One that a route can give; without a *model* it is no JSON."""

    status: int
    model: type[BaseModel] | None
    media_type: str = _JSON


def errors(statuses: Iterable[int], model: type[BaseModel]) -> Iterator[Answer]:
    """One answer for each status."""
    media_type = "application/problem+json" if model is ProblemDocument else _JSON
    return (Answer(status, model, media_type) for status in statuses)


def responses(*answers: Answer) -> Schema:
    """All answers by status and media type; where both are the same it is either."""
    found: dict[int, dict[str, list[Schema]]] = {}
    for answer in dict.fromkeys(answers):
        schemas = found.setdefault(answer.status, {}).setdefault(answer.media_type, [])
        if answer.model:
            schemas.append(ref(answer.model.__name__))
    return {str(status): _response(status, found[status]) for status in sorted(found)}


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def _response(status: int, content: Mapping[str, Sequence[Schema]]) -> Schema:
    response: Schema = {
        # RECEIVER_REJECT_STATUS may be a number without a name.
        "description": _PHRASES.get(status, "Refused"),
        "content": {media_type: _either(schemas) for media_type, schemas in content.items()},
    }
    if status == 503:
        response["headers"] = {"Retry-After": {"required": True, "schema": {"type": "integer"}}}
    return response


def _either(schemas: Sequence[Schema]) -> Schema:
    if not schemas:
        return {}
    return {"schema": {"anyOf": schemas} if len(schemas) > 1 else schemas[0]}


# -- who may --------------------------------------------------------------------------------------

SECURITY_SCHEMES: Mapping[str, Schema] = {
    "Basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The key's ID as user, its secret as password; "
        "with the role sender also its secret as user, and any password.",
    },
    "Token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token`, a space, and the project's public token.",
    },
    "AccessToken": {
        "type": "apiKey",
        "in": "query",
        "name": "access_token",
        "description": "The project's public token.",
    },
}


def security(action: Action) -> list[Schema]:
    """Any one of these lets in, each with a key of the role that it names."""
    return [
        {scheme: [role]}
        for role in Role
        if may(role, action)
        for scheme in (("Token", "AccessToken") if role is Role.PUBLIC else ("Basic",))
    ]
