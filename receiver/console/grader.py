"""The grader: a body is pasted, and each of its commands gets a verdict in words.  Nothing is stored."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.routing import Route

from receiver.console.pages import Page, Visit, page
from receiver.web.auth import Action

ROUTES: Mapping[str, str] = {
    "batch": "Tracking API, a batch",
    "customers/events": "Tracking API, one event",
    "customers": "Tracking API, one customer update",
    "callbacks": "The flat form",
}
"""What people call what the API calls routes."""

_SHOWN = 50
_LONGEST = 30_000
"""Characters of a body that a page shows again."""


class Piece(NamedTuple):
    """A part of the body; *number* is that of the command which fails here, 0 where none does."""

    text: str
    number: int


def grader(visit: Visit) -> Page:
    """Grade what the form holds; an example of the handover sheet can be brought along."""
    given = visit.form or visit.question
    route, body = given.get("route", "batch"), given.get("body", "")
    graded: Mapping[str, Any] | None = None
    said = None
    if visit.form and not body.strip():
        said = "There is no body yet: paste one."
    elif visit.form:
        # Browsers send line breaks of forms as CR LF, whatever stood there.
        body = body.replace("\r\n", "\n")
        asked = {"route": route, "body": body, "limit": _SHOWN}
        answer = visit.ask("The grade", "/grade", asked, method="POST")
        graded, said = (answer.document, None) if answer.good else (None, answer.said)
    return Page(
        "grader.html",
        {
            "routes": ROUTES,
            "route": route,
            "body": body if len(body) <= _LONGEST else "",
            "graded": graded,
            "pieces": list(_pieces(body, graded["commands"])) if graded and len(body) <= _LONGEST else [],
            "said": said,
            "proof": visit.session.proof,
        },
        200 if said is None else 422,
    )


def _pieces(body: str, commands: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
    """The body, cut where a command fails; an empty piece with a number stands between two characters."""
    at = 0
    for each in commands:
        place = each["place"]
        if each["outcome"] != "rejected" or place is None or place["start"] < at:
            continue
        # Of what is missing only the beginning of where it would be: else all around it were marked.
        end = min(place["end"], place["start"] + 1) if place["missing"] else place["end"]
        yield Piece(body[at : place["start"]], 0)
        yield Piece(body[place["start"] : end], each["number"])
        at = end
    yield Piece(body[at:], 0)


routes: list[Route] = [page("/grader", grader, action=Action.READ, methods=("GET", "POST"))]
