"""One customer under ``/v1``: everything that is known, in one answer."""

from starlette.requests import Request
from starlette.responses import Response

from receiver.store import reports
from receiver.store.customer_story import story
from receiver.web.answers import Operation, problem
from receiver.web.auth import Action, Caller
from receiver.web.customer_documents import StoryDocument, StoryQuestion, story_json
from receiver.web.state import State

NOBODY = "Nobody has this ID."


def customer(request: Request[State], caller: Caller, question: StoryQuestion) -> Response:
    """Everything about who holds an ID now: IDs, properties, and all that happened, the newest first."""
    with reports.reading(request.state["engine"]) as connection:
        found = story(
            connection, caller.project_id, question.customer, after=question.cursor, limit=question.limit
        )
    if found is None:
        return problem(404, NOBODY)
    return Response(story_json(found), media_type="application/json")


OPERATIONS = (
    Operation("/customer", Action.READ, StoryQuestion, customer, StoryDocument, (400, 401, 403, 404, 503)),
)
