"""What was refused: groups, list, one of them with its bytes, mending with a preview, and the trace."""

import base64
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from receiver.console.asking import Answer, Document
from receiver.console.pages import Elsewhere, Page, Visit, page
from receiver.console.rendering import query
from receiver.domain.commands import Reason
from receiver.domain.repairs import REPAIRS
from receiver.web.auth import Action

FILTERS = ("reason", "state", "type", "campaign", "route", "pointer", "q", "since", "until")
_OF_MENDING = tuple(name for name in FILTERS if name != "state")

_PAGE = 50
_MOST_GROUPS = 20
_SHOWN = 5_000
"""Characters of a body that a page shows at most, around the place that failed."""

_COMPARED = 800
_MOST_AFTER = 2
_MOST_SAMPLES = 6
"""Of bodies before and after: characters of each, how many of those after, and of how many rejections."""

_SOME = 200
_BULK_SECONDS = 5.0
"""So long does a page mend before it shows how far it has come."""


def listed(visit: Visit) -> Page:
    """Groups of what matches, and the rejections themselves."""
    wanted = {name: visit.question.get(name, "") for name in FILTERS}
    if not visit.question:
        wanted["state"] = "open"
    # Nobody counts by what stands in the bodies.
    countable = {**wanted, "q": ""}
    groups = visit.ask(
        "By reason and place", "/rejections/summary", {**countable, "by": "shape", "trend": "day"}
    )
    found = visit.ask(
        "The rejections",
        "/rejections",
        {**wanted, "limit": _PAGE, "cursor": visit.question.get("cursor")},
    )
    said = next((each.said for each in (found, groups) if not each.good), None)
    return Page(
        "rejections.html",
        {
            "wanted": wanted,
            "reasons": [reason.value for reason in Reason],
            "most_groups": _MOST_GROUPS,
            "groups": groups.document["data"] if groups.good and not wanted["q"] else [],
            "rows": found.document["data"] if found.good else [],
            "next": found.document["next"] if found.good else None,
            "said": said,
        },
    )


# -- one ------------------------------------------------------------------------------------------


def one(visit: Visit) -> Page | Elsewhere:
    """One rejection; a form of its own page mends, replays, dismisses, reopens or undoes."""
    number = visit.request.path_params["number"]
    path = f"/rejections/{number}"
    tried, said = None, None
    if do := visit.form.get("do"):
        answer = _do(visit, path, do)
        if answer.good and do != "preview":
            return Elsewhere(f"{path}?{query({'done': do})}")
        if answer.good:
            tried = _compared(answer.document)
        said = None if answer.good else answer.said
    found = visit.ask("This rejection", path)
    if not found.good:
        return Page("failed.html", {"said": found.document["detail"]}, found.status)
    rejection = found.document
    return Page(
        "rejection.html",
        {
            "rejection": rejection,
            "body": _around(rejection),
            "repairs": list(REPAIRS),
            "form": dict(visit.form) or {"body": _text_of(rejection)},
            "tried": tried,
            "said": said,
            "done": visit.question.get("done"),
            "proof": visit.session.proof,
        },
        200 if said is None else 422,
    )


def _do(visit: Visit, path: str, do: str) -> Answer:
    note = {"note": visit.form.get("note", "").strip()}
    if do in {"preview", "replay"}:
        mending = _mending(visit.form)
        return visit.ask(
            "The replay", f"{path}/replay", {**mending, "dry_run": do == "preview"}, method="POST"
        )
    if do in {"dismiss", "reopen", "undo"}:
        return visit.ask("What was done", f"{path}/{do}", note, method="POST")
    return Answer(400, {"detail": "Nothing of this name can be done."}, "")


def _mending(form: Mapping[str, str]) -> dict[str, Any]:
    """How the form wants it mended: by a named repair, by other text, or not at all."""
    how = form.get("how", "as_it_came")
    if how == "repair":
        return {"repair": form.get("repair", "")}
    # Browsers send line breaks of forms as CR LF, whatever stood there.
    return {"body": form.get("body", "").replace("\r\n", "\n")} if how == "body" else {}


def body_file(visit: Visit) -> Response:
    """The bytes as received."""
    number = visit.request.path_params["number"]
    found = visit.ask("This rejection", f"/rejections/{number}")
    if not found.good:
        return Response("There is no such rejection.", found.status, media_type="text/plain")
    encoded = found.document.get("body_base64")
    body = base64.b64decode(encoded) if encoded else (found.document.get("body") or "").encode()
    headers = {
        "content-disposition": f'attachment; filename="rejection-{number}.txt"',
        "x-content-type-options": "nosniff",
    }
    return Response(body, media_type="application/octet-stream", headers=headers)


def _text_of(rejection: Mapping[str, Any]) -> str:
    """The body as people may edit it; empty where it is no text, or too long for a page."""
    body = rejection.get("body") or ""
    return body if len(body) <= _SHOWN else ""


def _around(rejection: Mapping[str, Any]) -> dict[str, Any]:
    """The body in three pieces, the middle one is the place that failed; cut where it is long."""
    body = rejection.get("body")
    if body is None:
        size = len(base64.b64decode(rejection.get("body_base64") or ""))
        return {"text": False, "cut": False, "size": size}
    place = rejection["place"] or {"start": 0, "end": 0, "missing": False}
    first = max(0, place["start"] - _SHOWN // 4)
    last = min(len(body), first + _SHOWN)
    end = min(place["end"], last)
    return {
        "text": True,
        "before": body[first : place["start"]],
        "place": body[place["start"] : end],
        "after": body[end:last],
        "missing": place["missing"],
        "cut": first > 0 or last < len(body),
        "size": len(body.encode()),
    }


def _compared(tried: Document) -> Document:
    """With its bodies before and after, around the first place in which they differ; cut where they are
    long."""
    before, after = tried["before"], tried["after"]
    pairs = zip(before, after[0] if after else before, strict=False)
    same = next((place for place, (one, other) in enumerate(pairs) if one != other), 0)
    first = max(0, same - _COMPARED // 3)
    parts = [text[first : first + _COMPARED] for text in (before, *after[:_MOST_AFTER])]
    cut = max(map(len, (before, *after))) > _COMPARED
    more = max(0, len(after) - _MOST_AFTER)
    return Document(tried, before=parts[0], after=parts[1:], cut=cut, more=more)


# -- all that match -------------------------------------------------------------------------------


def mend(visit: Visit) -> Page:
    """Mend all open rejections that match: first as a dry run, then some at a time."""
    given = visit.form or visit.question
    wanted = {name: given[name] for name in _OF_MENDING if given.get(name)}
    how = {"repair": visit.form["repair"]} if visit.form.get("repair") else {}
    do = visit.form.get("do")
    done: dict[str, Any] | None = None
    said = None
    if do == "preview":
        asked = {"filter": wanted, **how, "dry_run": True, "limit": _SOME}
        answer = visit.ask("The dry run", "/rejections/replay", asked, method="POST")
        done, said = (answer.document, None) if answer.good else (None, answer.said)
        if done:
            done["samples"] = [_compared(each) for each in done["samples"][:_MOST_SAMPLES]]
    elif do == "replay":
        done, said = _replay_some(visit, {"filter": wanted, **how, "dry_run": False, "limit": _SOME})
    elif do == "dismiss":
        asked = {"filter": wanted, "note": visit.form.get("note", "").strip()}
        answer = visit.ask("The dismissal", "/rejections/dismiss", asked, method="POST")
        done, said = (answer.document, None) if answer.good else (None, answer.said)
    # Nobody counts by what stands in the bodies, so of those it is not known how many there are.
    countable = {**wanted, "q": "", "state": "open"}
    left = visit.ask("How many are open", "/rejections/summary", countable)
    number = sum(each["open"] or 0 for each in left.document["data"]) if left.good else 0
    return Page(
        "mend.html",
        {
            "wanted": wanted,
            "left": number,
            "counted": "q" not in wanted,
            "repairs": list(REPAIRS),
            "repair": visit.form.get("repair", ""),
            "do": do,
            "done": done,
            "said": said or (None if left.good else left.said),
            "proof": visit.session.proof,
        },
        200 if said is None else 422,
    )


def _replay_some(visit: Visit, asked: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """As many as there is time for; the cursor of the rest, and the sums over all pages so far."""
    sums = {name: int(visit.form.get(name) or 0) for name in ("matched", "accepted", "duplicate", "rejected")}
    cursor = visit.form.get("cursor") or None
    until = time.monotonic() + _BULK_SECONDS
    while True:
        question = {**asked, **({"cursor": cursor} if cursor else {})}
        answer = visit.ask("The replay", "/rejections/replay", question, method="POST")
        if not answer.good:
            return None, answer.said
        sums = {name: before + answer.document[name] for name, before in sums.items()}
        cursor = answer.document["next"]
        if cursor is None or time.monotonic() > until:
            return {**answer.document, **sums}, None


def audit(visit: Visit) -> Page:
    """Who did what, the newest first."""
    asked = {"limit": _PAGE, "cursor": visit.question.get("cursor")}
    found = visit.ask("What was done", "/rejections/audit", asked)
    if not found.good:
        return Page("failed.html", {"said": found.said}, found.status)
    return Page("audit.html", {"rows": found.document["data"], "next": found.document["next"]})


routes: list[Route] = [
    page("/rejections", listed, action=Action.OPERATE),
    page("/rejections/audit", audit, action=Action.OPERATE),
    page("/rejections/mend", mend, action=Action.OPERATE, methods=("GET", "POST")),
    page("/rejections/{number:int}", one, action=Action.OPERATE, methods=("GET", "POST")),
    page("/rejections/{number:int}/body", body_file, action=Action.OPERATE),
]
