"""Letters: what became of them, and what people decide about them."""

from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from receiver.console.asking import Answer
from receiver.console.pages import Elsewhere, Page, Visit, page
from receiver.console.rendering import query
from receiver.store.mailings import State
from receiver.web.auth import Action

FILTERS = ("state", "campaign", "customer", "silent_days")
_PAGE = 50

MEANING: Mapping[str, str] = {
    State.INTENDED: "waits to be sent",
    State.ASKED: "is in a request to Optilyz just now",
    State.QUEUED: "is at Optilyz, which prints it",
    State.REFUSED: "is not sent, because something is wrong with it",
    State.SUPPRESSED: "is not sent, because something speaks against it",
    State.UNKNOWN: "was asked for, and nobody knows whether it is printed",
    State.CANCELLED: "is not sent, or was taken back",
}
"""What a letter of each state is or does."""

_CAN_BE_CANCELLED = (State.INTENDED, State.ASKED, State.QUEUED)
_DONE = {
    "printed": "Resolved: the letter counts as queued at Optilyz from now on.",
    "not_printed": "Resolved: the same letter is to be sent again.",
}


def listed(visit: Visit) -> Page:
    """How many letters are in which state, and the letters that match."""
    wanted = {name: visit.question.get(name, "").strip() for name in FILTERS}
    why = bool(visit.question.get("why"))
    counted = {"campaign": wanted["campaign"], "by": "reason" if why else "state"}
    counts = visit.ask("By state", "/mailings/summary", counted)
    asked = {**wanted, "limit": _PAGE, "cursor": visit.question.get("cursor")}
    found = visit.ask("The letters", "/mailings", asked)
    said = next((each.said for each in (found, counts) if not each.good), None)
    return Page(
        "mailings.html",
        {
            "wanted": wanted,
            "states": list(State),
            "meaning": MEANING,
            "fates": counts.document["data"] if counts.good else [],
            "totals": _totals(counts.document["data"]) if counts.good else {},
            "why": why,
            "stages": counts.document["stages"] if counts.good else None,
            "rows": found.document["data"] if found.good else [],
            "next": found.document["next"] if found.good else None,
            "said": said,
        },
        200 if said is None else 400,
    )


def _totals(fates: list[Mapping[str, Any]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for each in fates:
        totals[each["state"]] = totals.get(each["state"], 0) + each["count"]
    return totals


# -- one letter -----------------------------------------------------------------------------------


def one(visit: Visit) -> Page | Elsewhere:
    """One letter: what it is, what was heard of it; a form of it resolves it."""
    path = f"/mailings/{visit.request.path_params['mailing_id']}"
    said = None
    if printed := _printed(visit):
        answer = visit.ask("The decision", f"{path}/resolve", _resolution(visit, printed), method="POST")
        if answer.good:
            return Elsewhere(f"{path}?{query({'done': printed})}")
        said = answer.said
    found = visit.ask("This letter", path)
    if not found.good:
        return Page("failed.html", {"said": found.said}, found.status)
    letter = found.document
    return Page(
        "mailing.html",
        {
            "letter": letter,
            "meaning": MEANING,
            "can_be_cancelled": letter["state"] in _CAN_BE_CANCELLED,
            "done": _DONE.get(visit.question.get("done", "")),
            "said": said,
            "proof": visit.session.proof,
        },
        200 if said is None else 422,
    )


def _printed(visit: Visit) -> str | None:
    said = visit.form.get("printed")
    return said if said in _DONE else None


def _resolution(visit: Visit, printed: str) -> dict[str, Any]:
    return {"printed": printed == "printed", "note": visit.form.get("note", "").strip()}


def cancel(visit: Visit) -> Page:
    """Ask once more before a letter is cancelled, then say what became of that."""
    path = f"/mailings/{visit.request.path_params['mailing_id']}"
    done: Answer | None = None
    if visit.form.get("do") == "cancel":
        done = visit.ask("The cancellation", f"{path}/cancel", method="POST")
    found = visit.ask("This letter", path)
    if not found.good:
        return Page("failed.html", {"said": found.said}, found.status)
    return Page(
        "mailing_cancel.html",
        {
            "letter": found.document,
            "meaning": MEANING,
            "can_be_cancelled": found.document["state"] in _CAN_BE_CANCELLED,
            "done": done.document if done and done.good else None,
            "said": done.said if done and not done.good else None,
            "proof": visit.session.proof,
        },
        200 if done is None else done.status,
    )


# -- all letters of a campaign --------------------------------------------------------------------


def of_campaign(visit: Visit) -> Page:
    """Cancel all letters of a campaign, or resolve its unknown ones, with how many those are."""
    campaign = (visit.form.get("campaign") or visit.question.get("campaign") or "").strip()
    if not campaign:
        return Page("failed.html", {"said": "Say which campaign: filter the mailings by it first."}, 400)
    done: Answer | None = None
    if visit.form.get("do") == "cancel":
        asked = {"campaign": campaign, "cursor": visit.form.get("cursor")}
        done = visit.ask("The cancellation", "/mailings/cancel", asked, method="POST")
    elif printed := _printed(visit):
        resolution = {"campaign": campaign, **_resolution(visit, printed)}
        done = visit.ask("The decision", "/mailings/resolve", resolution, method="POST")
    counts = visit.ask("By state", "/mailings/summary", {"campaign": campaign, "by": "state"})
    if not counts.good:
        return Page("failed.html", {"said": counts.said}, counts.status)
    totals = _totals(counts.document["data"])
    return Page(
        "mailings_campaign.html",
        {
            "campaign": campaign,
            "totals": totals,
            "meaning": MEANING,
            "open": sum(totals.get(state, 0) for state in _CAN_BE_CANCELLED),
            "unknown": totals.get(State.UNKNOWN, 0),
            "done": done.document if done and done.good else None,
            "did": visit.form.get("do") or visit.form.get("printed"),
            "said": done.said if done and not done.good else None,
            "proof": visit.session.proof,
        },
        200 if done is None else done.status,
    )


routes: list[Route] = [
    page("/mailings", listed, action=Action.OPERATE),
    page("/mailings/campaign", of_campaign, action=Action.OPERATE, methods=("GET", "POST")),
    page("/mailings/{mailing_id}", one, action=Action.OPERATE, methods=("GET", "POST")),
    page("/mailings/{mailing_id}/cancel", cancel, action=Action.OPERATE, methods=("GET", "POST")),
]
