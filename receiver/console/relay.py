"""The relay to Bloomreach: how it goes, what was set aside, and putting that back or letting go of it."""

from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from receiver.console.asking import Answer
from receiver.console.pages import Elsewhere, Page, Visit, page
from receiver.console.rendering import query
from receiver.store.outbox import Reason
from receiver.web.auth import Action

_PATH = "/relay"
_PAGE = 50
_MOST_GROUPS = 10
_FILTERS = ("reason", "message", "type", "campaign", "since", "until")
_DONE = {"retry": "put back", "discard": "discarded"}

MEANING: Mapping[str, str] = {
    Reason.REFUSED: "Bloomreach refused it",
    Reason.UNREADABLE: "Bloomreach refused each request that held it",
    Reason.NO_CUSTOMER_ID: "it would have gone out with an empty ID",
}


def shown(visit: Visit) -> Page:
    """How it goes; for operations also what was set aside."""
    found = visit.ask("How it goes", _PATH)
    wanted = {name: visit.question.get(name, "") for name in _FILTERS}
    aside = _aside(visit, wanted) if visit.operates and found.document["set_aside"]["commands"] else None
    said = None if aside is None or aside.good else aside.said
    hours = found.document["hours"]
    rows = aside.document["data"] if aside and aside.good else []
    return Page(
        "relay.html",
        {
            "relay": found.document,
            "labels": [each["hour"][11:16] for each in hours],
            "series": {
                "sent": [each["sent"] for each in hours],
                "aside": [each["set_aside"] for each in hours],
            },
            "wanted": wanted,
            "meaning": MEANING,
            "most_groups": _MOST_GROUPS,
            "rows": rows,
            "next": aside.document["next"] if aside and aside.good else None,
            "matching": _matching(visit, wanted, found.document) if rows else 0,
            "done": _DONE.get(visit.question.get("done", "")),
            "number": visit.question.get("number", ""),
            "said": said,
            "proof": visit.session.proof,
        },
        200 if said is None else 400,
    )


def _aside(visit: Visit, wanted: Mapping[str, str]) -> Answer:
    asked = {**wanted, "limit": _PAGE, "cursor": visit.question.get("cursor")}
    return visit.ask("What was set aside", f"{_PATH}/set-aside", asked)


def _matching(visit: Visit, wanted: Mapping[str, str], relay: Mapping[str, Any]) -> int:
    """How many match, on all pages."""
    if not any(wanted.values()):
        number: int = relay["set_aside"]["commands"]
        return number
    return _tried(visit, "retry", wanted).document["matched"] or 0


def decide(visit: Visit) -> Page | Elsewhere:
    """Put back what matches; or ask once more before letting go of it."""
    wanted = {name: visit.form.get(name, "") for name in _FILTERS}
    do = visit.form.get("do", "")
    if do == "ask":
        tried = _tried(visit, "discard", wanted)
        if not tried.good:
            return Page("failed.html", {"said": tried.said}, tried.status)
        values = {"wanted": wanted, "matching": tried.document["matched"], "proof": visit.session.proof}
        return Page("relay_discard.html", values)
    if do not in _DONE:
        return Page("failed.html", {"said": "Nothing of this name can be done."}, 400)
    done = _tried(visit, do, wanted, dry_run=False)
    if not done.good:
        return Page("failed.html", {"said": done.said}, done.status)
    return Elsewhere(f"{_PATH}?{query({'done': do, 'number': done.document['matched']})}")


def _tried(visit: Visit, do: str, wanted: Mapping[str, str], *, dry_run: bool = True) -> Answer:
    what = "How many match" if dry_run else "What was done"
    which = {name: value for name, value in wanted.items() if value}
    return visit.ask(what, f"{_PATH}/{do}", {"filter": which, "dry_run": dry_run}, method="POST")


routes: list[Route] = [
    page(_PATH, shown),
    page(f"{_PATH}/decide", decide, action=Action.OPERATE, methods=("POST",)),
]
