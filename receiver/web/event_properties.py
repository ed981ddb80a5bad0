"""Properties of events under ``/v1``: which there are, and the values of one."""

from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from receiver.domain.json_text import encode
from receiver.domain.moments import iso
from receiver.domain.property_counts import Properties, Values
from receiver.settings import Stage
from receiver.store import event_properties as asked
from receiver.store import reports
from receiver.store.event_properties import KindFilter
from receiver.web import answers
from receiver.web.answers import Operation
from receiver.web.auth import Action, Caller
from receiver.web.documents import Time
from receiver.web.event_questions import WhichEvents
from receiver.web.questions import Parameters, Text
from receiver.web.state import State


class PropertiesQuestion(Parameters):
    """Of which kinds of event."""

    type: Text | None = Field(None, description="The type of event.")
    campaign: Text | None = Field(None, description="The campaign reference.")
    status: Text | None = Field(None, description="The sender's own word.")
    stage: Stage | None = Field(None, description="Our word.")

    def filter(self) -> KindFilter:
        return KindFilter(type=self.type, campaign=self.campaign, status=self.status, stage=self.stage)


class PropertyQuestion(WhichEvents):
    """Of which events; the period is about when they happened."""


class PropertyDocument(BaseModel):
    """`types` are JSON's, the most frequent first; `share` is that of the events that have it, and `kinds`
    are the kinds of event that do."""

    name: str
    types: list[str]
    share: float
    kinds: int


class PropertiesDocument(BaseModel):
    """What a sample tells: `sampled` events of `kinds` kinds, which stand for `events`.

    `names` is how many different properties it has; at most 1,000 are listed, those of most events first.
    """

    data: list[PropertyDocument]
    names: int
    events: int
    sampled: int
    kinds: int

    @classmethod
    def of(cls, found: Properties) -> "PropertiesDocument":
        rows = [
            PropertyDocument(
                name=each.name, types=list(each.types), share=_rounded(each.share), kinds=each.kinds
            )
            for each in found.listed()
        ]
        return cls(
            data=rows, names=found.names, events=found.events, sampled=found.sampled, kinds=found.kinds
        )


class ValueDocument(BaseModel):
    """How many events have this value, and when the last of them happened."""

    value: Any
    events: int
    share: float
    last_at: Time


class ValuesDocument(BaseModel):
    """The values of a property, the most frequent first.

    `counted` events were looked at, which are all that match where it is `complete`, else the newest.
    Of these `without` do not have the property, and `others` have values that are not listed.
    """

    name: str
    data: list[ValueDocument]
    others: int
    without: int
    counted: int
    complete: bool


def values_json(name: str, values: Values, *, complete: bool) -> str:
    """A `ValuesDocument`, with the values as they are kept."""
    listed = values.listed()
    rows = [
        f'{{"value":{each.text},"events":{each.events},"share":{_rounded(each.events / values.counted)}'
        f',"last_at":"{iso(each.last_us)}"}}'
        for each in listed
    ]
    others = values.counted - values.without - sum(each.events for each in listed)
    rest = {"others": others, "without": values.without, "counted": values.counted, "complete": complete}
    return f'{{"name":{encode(name)},"data":[{",".join(rows)}],{encode(rest)[1:]}'


def _rounded(share: float) -> float:
    return round(share, 6)


def event_properties(request: Request[State], caller: Caller, question: PropertiesQuestion) -> Response:
    """The properties that events have, with types and shares, as a sample of each kind of event tells."""
    with reports.reading(request.state["engine"]) as connection:
        found = asked.known_properties(connection, caller.project_id, question.filter())
    return answers.document(PropertiesDocument.of(found))


def event_property(request: Request[State], caller: Caller, question: PropertyQuestion) -> Response:
    """The values that a property of events has, and how many events have each."""
    name = request.path_params["name"]
    values, complete = asked.count_values(
        request.state["engine"], caller.project_id, question.filter(), name, most_pages=asked.MOST_PAGES
    )
    return Response(values_json(name, values, complete=complete), media_type="application/json")


_ERRORS = (400, 401, 403, 503)

OPERATIONS = (
    Operation(
        "/events/properties",
        Action.READ,
        PropertiesQuestion,
        event_properties,
        PropertiesDocument,
        _ERRORS,
    ),
    Operation(
        "/events/properties/{name}", Action.READ, PropertyQuestion, event_property, ValuesDocument, _ERRORS
    ),
)
