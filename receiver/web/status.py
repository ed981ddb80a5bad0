"""``GET /status``: whether things are well."""

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from receiver.domain.moments import iso
from receiver.store import reports
from receiver.store import status as asked
from receiver.web import answers
from receiver.web.answers import Operation
from receiver.web.auth import Action, Caller
from receiver.web.questions import Parameters
from receiver.web.state import State


class WaitingDocument(BaseModel):
    """So many wait; *since* is when the first of them came."""

    number: int
    since: str | None

    @classmethod
    def of(cls, waiting: asked.Waiting) -> "WaitingDocument":
        return cls(number=waiting.number, since=_moment(waiting.since_us))


class OverviewDocument(BaseModel):
    """What waits, and when the last callback came.

    *to_store* are requests that this process has taken and not stored yet; *unknown* letters of which nobody
    knows whether they are printed.
    """

    last_callback: str | None
    to_store: int
    to_send: WaitingDocument
    unknown: WaitingDocument
    open_rejections: WaitingDocument


class NoQuestion(Parameters):
    """Nothing is asked beside."""


def status(request: Request[State], caller: Caller, _: NoQuestion) -> Response:
    """How things are now."""
    with reports.reading(request.state["engine"]) as connection:
        found = asked.status(connection, caller.project_id)
    return answers.document(
        OverviewDocument(
            last_callback=_moment(found.heard_us),
            to_store=request.state["writer"].waiting,
            to_send=WaitingDocument.of(found.to_send),
            unknown=WaitingDocument.of(found.unknown),
            open_rejections=WaitingDocument.of(found.open_rejections),
        )
    )


def _moment(time_us: int | None) -> str | None:
    return None if time_us is None else iso(time_us)


OPERATIONS = (Operation("/status", Action.READ, NoQuestion, status, OverviewDocument, (400, 401, 403, 503)),)
