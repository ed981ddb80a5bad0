"""Who gets no letter: the list, adding to it, and lifting."""

from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from receiver.console.asking import Answer
from receiver.console.pages import Elsewhere, Page, Visit, page
from receiver.console.rendering import query
from receiver.store.mailings import Kind
from receiver.web.auth import Action

_PAGE = 50
_PATH = "/mailings/suppressions"
_FILTERS = ("kind", "customer", "all")
_DONE = {"added": "Added: this customer gets no letter.", "lifted": "Lifted: letters may go out again."}

MEANING: Mapping[str, str] = {
    Kind.OBJECTION: "objected, for good",
    Kind.BAD_ADDRESS: "bad address, until another one is sent to",
}


def listed(visit: Visit) -> Page | Elsewhere:
    """The list; its forms add and lift."""
    said = None
    if visit.form:
        answer = _do(visit)
        if answer.good:
            return Elsewhere(f"{_PATH}?{query({'done': visit.form.get('do')})}")
        said = answer.said
    wanted = {name: visit.question.get(name, "").strip() for name in _FILTERS}
    asked = {**wanted, "limit": _PAGE, "cursor": visit.question.get("cursor")}
    found = visit.ask("Who gets no letter", "/suppressions", asked)
    settings = visit.request.state["settings"]
    return Page(
        "suppressions.html",
        {
            "wanted": wanted,
            "meaning": MEANING,
            "names": settings.hard_ids + settings.soft_ids,
            "rows": found.document["data"] if found.good else [],
            "next": found.document["next"] if found.good else None,
            "form": visit.form,
            "done": _DONE.get(visit.question.get("done", "")),
            "said": said or (None if found.good else found.said),
            "proof": visit.session.proof,
        },
        200 if found.good and said is None else 422,
    )


def _do(visit: Visit) -> Answer:
    form = visit.form
    if form.get("do") == "lifted":
        return visit.ask("The lifting", "/suppressions", {"id": form.get("id")}, method="DELETE")
    new: dict[str, Any] = {
        "customer_ids": {form.get("name", ""): form.get("value", "").strip()},
        "kind": form.get("kind"),
        "note": form.get("note", "").strip(),
    }
    return visit.ask("The new one", "/suppressions", new, method="POST")


routes: list[Route] = [page(_PATH, listed, action=Action.OPERATE, methods=("GET", "POST"))]
