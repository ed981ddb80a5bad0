"""What would become of a body, before anybody sends it: graded, and nothing is stored."""

import time
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from receiver.domain.commands import CustomerUpdate, Event, Form, Reason, Rejection
from receiver.domain.grading import Graded, Grades, Worth, grade
from receiver.domain.moments import iso
from receiver.inbound.deliveries import Policy
from receiver.web import answers
from receiver.web.answers import Operation
from receiver.web.auth import Action, Caller
from receiver.web.documents import PlaceDocument, Time
from receiver.web.questions import PageSize, Parameters
from receiver.web.state import State

FORMS: Mapping[str, Form] = {
    "customers/events": Form.EVENT,
    "customers": Form.UPDATE,
    "batch": Form.BATCH,
    "callbacks": Form.FLAT,
}
"""What each route takes."""


class GradeQuestion(Parameters):
    route: Literal["customers/events", "customers", "batch", "callbacks"] = Field(
        description="Where it would be posted; callbacks is the flat form."
    )
    body: str = Field(description="The body as it would be posted.")
    limit: PageSize = Field(100, description="So many commands are told one by one; all are counted.")


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RemarkDocument(_Document):
    code: Worth
    detail: str


class GradedDocument(_Document):
    """One command as it was understood, or why it would be refused, and where in the body.

    A question for the time is ``answered``."""

    number: int = Field(description="Counted from 1.")
    outcome: Literal["accepted", "rejected", "answered"]
    command_id: str | int | None
    kind: Literal["event", "update"] | None = None
    customer_ids: dict[str, str] | None = None
    type: str | None = None
    at: Time | None = Field(None, description="When it happened, or since when the values hold.")
    campaign: str | None = None
    status: str | None = Field(None, description="The sender's word.")
    stage: str | None = Field(None, description="What it means to us.")
    mailing: str | None = None
    variation: str | None = None
    reason: Reason | None = None
    detail: str | None = None
    pointer: str | None = None
    place: PlaceDocument | None = None
    remarks: list[RemarkDocument]

    @classmethod
    def of(cls, graded: Graded) -> Self:
        remarks = [RemarkDocument(code=each.code, detail=each.detail) for each in graded.remarks]
        return cls(number=graded.number, **_told(graded), remarks=remarks)


def _told(graded: Graded) -> dict[str, Any]:
    outcome = graded.outcome
    told: dict[str, Any] = {"command_id": outcome.command_id}
    if isinstance(outcome, Rejection):
        place = None if graded.place is None else PlaceDocument(**graded.place._asdict())
        return told | {
            "outcome": "rejected",
            "type": outcome.event_type,
            "campaign": outcome.campaign,
            "reason": outcome.reason,
            "detail": outcome.detail,
            "pointer": outcome.pointer,
            "place": place,
        }
    if isinstance(outcome, CustomerUpdate):
        ids, at = dict(outcome.ids), iso(outcome.updated_us)
        return told | {"outcome": "accepted", "kind": "update", "customer_ids": ids, "at": at}
    if not isinstance(outcome, Event):
        return told | {"outcome": "answered"}
    return told | {
        "outcome": "accepted",
        "kind": "event",
        "customer_ids": dict(outcome.ids),
        "type": outcome.type,
        "at": iso(outcome.occurred_us),
        "campaign": outcome.campaign,
        "status": outcome.status,
        "stage": outcome.stage,
        "mailing": outcome.mailing,
        "variation": outcome.variation,
    }


class GradesDocument(_Document):
    """What would become of a body.  *status* is that of the answer which its sender would get."""

    status: int
    whole: bool = Field(description="It is refused as a whole: no command was read.")
    accepted: int
    rejected: int
    commands: list[GradedDocument] = Field(description="The first ones.")
    unknown_customers: Literal["create", "reject"] = Field(
        description="What happens to who is not known yet; nobody was looked up."
    )


def grade_body(request: Request[State], _: Caller, question: GradeQuestion) -> Response:
    """Say what would become of a body that is posted, command by command; nothing is stored.

    What was sent before, and who is known, is not looked up.
    """
    settings = request.state["settings"]
    form = FORMS[question.route]
    now_us = time.time_ns() // 1000
    rules = Policy.of(settings).rules
    found = grade(form, question.body.encode(), rules, now_us, most=question.limit)
    return answers.document(
        GradesDocument(
            status=_status(form, found, settings.reject_status),
            whole=found.whole,
            accepted=found.accepted,
            rejected=found.rejected,
            commands=[GradedDocument.of(each) for each in found.commands],
            unknown_customers=settings.unknown_customers,
        )
    )


def _status(form: Form, found: Grades, reject_status: int) -> int:
    if form in {Form.EVENT, Form.UPDATE}:
        return reject_status if found.rejected else 200
    return 400 if found.whole else 200


OPERATIONS = (
    Operation(
        "/grade",
        Action.GRADE,
        GradeQuestion,
        grade_body,
        GradesDocument,
        (400, 401, 403, 408, 413, 503),
        method="POST",
    ),
)
