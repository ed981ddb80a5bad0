"""``show=sql``: how a report is asked of the database, instead of the report.

For every GET of our own API, beside the parameters that it has itself.
"""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from receiver.store.shown import listening
from receiver.web import answers
from receiver.web.auth import Caller
from receiver.web.questions import Parameters
from receiver.web.state import State

Answer = Callable[[Request[State], Caller, Any], Response]


class Shown(Parameters):
    """What any report can be asked to show."""

    show: Literal["sql"] | None = Field(
        None, description="`sql`: not the report, but the statements that it is made with."
    )


class SqlDocument(BaseModel):
    """The statements that a report is made with, in their order, each as it can be run by itself."""

    sql: list[str]


def in_sql(answer: Answer) -> Answer:
    """What answers with the statements that *answer* asks; where that is an error, with the error."""

    def told(request: Request[State], caller: Caller, question: Any) -> Response:
        # The state of the request is its own, so nobody else's statements are heard.
        request.state["engine"], statements = listening(request.state["engine"])
        found = answer(request, caller, question)
        return found if found.status_code >= 400 else answers.document(SqlDocument(sql=statements))

    return told
