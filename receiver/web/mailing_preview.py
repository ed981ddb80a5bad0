"""What sending a file of people would do: the same as ``receiver send --dry-run`` says; nothing is stored."""

import base64
import binascii
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from receiver.outbound.given import Given
from receiver.outbound.jobs import Job, NotSent, Rehearsal, Sample
from receiver.outbound.people import WrongFile
from receiver.outbound.rehearsing import rehearse
from receiver.store.mailings import Route, State
from receiver.web import answers
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.mailing_documents import FateDocument, fates_of
from receiver.web.questions import Parameters, Text
from receiver.web.state import State as Held

MOST_ROWS = 10_000

AutomationId = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_-]{1,100}$")]


class PreviewQuestion(Parameters):
    """The file is given as text, or in base64 where it may be no UTF-8."""

    file: str | None = None
    file_base64: str | None = None
    name: Text = Field("people.csv", description="Its extension tells the form, as of a file on disk.")
    automation: AutomationId = Field(description="The automation at Optilyz.")
    campaign: Text | None = Field(None, description="The campaign reference.")
    # Templates of one's own are programs, and run only where the operator starts them.
    template: Literal["individual-post"] = "individual-post"
    variation: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    again: bool = Field(False, description="Also to who has a letter of this automation and campaign.")
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = Field(1000, description="Only so many rows.")

    @model_validator(mode="after")
    def _has_one_file(self) -> Self:
        if (self.file is None) == (self.file_base64 is None):
            raise PydanticCustomError("which", "Give either file or file_base64")
        return self


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PreviewedDocument(_Document):
    """A letter as it would be, or why it would not; *row* is counted from 1, without the header."""

    row: int
    state: State
    reason: str | None
    customer_ids: dict[str, str]
    detail: str | None
    recipient: dict[str, Any] | None = Field(description="What Optilyz would get; null where nothing.")


class RequestDocument(_Document):
    """The first request, which nobody has sent."""

    url: str
    body: str


class PreviewDocument(_Document):
    """What would become of the rows; *samples* are the first ones of each state and reason."""

    rows: int
    more: bool = Field(description="The file has more rows than were looked at.")
    letters: list[FateDocument]
    samples: list[PreviewedDocument]
    request: RequestDocument | None

    @classmethod
    def of(cls, found: Rehearsal) -> Self:
        request = found.request and RequestDocument(url=found.request[0], body=found.request[1])
        return cls(
            rows=found.rows,
            more=found.more,
            letters=fates_of(found.fates),
            samples=[_sample(each) for each in found.samples],
            request=request,
        )


def _sample(sample: Sample) -> PreviewedDocument:
    return PreviewedDocument(
        row=sample.row,
        state=sample.state,
        reason=sample.reason,
        customer_ids=dict(sample.ids),
        detail=sample.message or None,
        recipient=None if sample.recipient is None else json.loads(sample.recipient),
    )


def preview_mailings(request: Request[Held], caller: Caller, question: PreviewQuestion) -> Response:
    """Say who of a file would get a letter, who would not and why; nothing is stored and nobody is asked."""
    file = _file(question)
    project = request.state["keys"].keyring.project(caller.project_id)
    if file is None or project is None:
        return problem(422, "file_base64 is no base64 text.")
    job = Job(
        project.token,
        file,
        question.automation,
        question.campaign,
        question.template,
        Route.MANY,
        question.variation,
        once=not question.again,
        limit=question.limit,
    )
    try:
        found = rehearse(request.state["engine"], request.state["settings"], job)
    except (WrongFile, NotSent) as error:
        return problem(422, str(error))
    return answers.document(PreviewDocument.of(found))


def _file(question: PreviewQuestion) -> Given | None:
    if question.file is not None:
        return Given(question.name, question.file.encode())
    try:
        return Given(question.name, base64.b64decode(question.file_base64 or "", validate=True))
    except (binascii.Error, ValueError):
        return None


OPERATIONS = (
    Operation(
        "/mailings/preview",
        Action.OPERATE,
        PreviewQuestion,
        preview_mailings,
        PreviewDocument,
        (400, 401, 403, 408, 413, 422, 503),
        method="POST",
    ),
)
