"""A file of people tried out: who would get a letter, who would not and why.  Nothing is stored or sent."""

import base64
import shlex
from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from receiver.console.pages import Page, Visit, page
from receiver.outbound.templates import PRESETS
from receiver.web.auth import Action

_ROWS = 5000
_FIELDS = ("automation", "campaign", "template", "variation", "again", "text")
_LONGEST = 20_000
"""Characters of a pasted text that a page shows again."""


def rehearsal(visit: Visit) -> Page:
    """Ask for a file, then show what would become of it."""
    form = {name: visit.form.get(name, "").strip() for name in _FIELDS}
    found: Mapping[str, Any] | None = None
    said = None
    if visit.form:
        file = _file(visit)
        if file is None:
            said = "The file is empty." if "file" in visit.files else "Choose a file, or paste its text."
        elif not form["automation"]:
            said = "Say which automation: its ID stands in the portal of Optilyz."
        else:
            asked = {**file, **_how(form), "limit": _ROWS}
            answer = visit.ask("The dry run", "/mailings/preview", asked, method="POST")
            found, said = (answer.document, None) if answer.good else (None, answer.said)
    return Page(
        "rehearsal.html",
        {
            "form": {**form, "text": form["text"] if len(form["text"]) <= _LONGEST else ""},
            "templates": list(PRESETS),
            "found": found,
            "counts": _counts(found["letters"]) if found else {},
            "file": visit.files["file"].name if "file" in visit.files else None,
            "command": _command(visit.session.project_token, form),
            "said": said,
            "proof": visit.session.proof,
        },
        200 if said is None else 422,
    )


def _file(visit: Visit) -> dict[str, str] | None:
    if (upload := visit.files.get("file")) and upload.content:
        # In base64, because it may be no UTF-8: the API says so in a sentence.
        return {"file_base64": base64.b64encode(upload.content).decode(), "name": upload.name[-200:]}
    # Browsers send line breaks of forms as CR LF, whatever stood there.
    text = visit.form.get("text", "").replace("\r\n", "\n")
    return {"file": text, "name": "pasted"} if text.strip() else None


def _how(form: Mapping[str, str]) -> dict[str, Any]:
    how: dict[str, Any] = {name: form[name] for name in ("automation", "campaign", "template", "variation")}
    return {**how, "again": True} if form["again"] else how


def _command(token: str, form: Mapping[str, str]) -> str:
    """What sends the file in earnest."""
    words = ["receiver", "send", token, "FILE", "--automation", form["automation"]]
    for name in ("campaign", "variation"):
        words += [f"--{name}", form[name]] if form[name] else []
    return shlex.join(words + (["--again"] if form["again"] else []))


def _counts(letters: list[Mapping[str, Any]]) -> dict[str, int]:
    counts = {"intended": 0, "refused": 0, "suppressed": 0}
    for each in letters:
        counts[each["state"]] = counts.get(each["state"], 0) + each["count"]
    return counts


routes: list[Route] = [
    page("/mailings/try", rehearsal, action=Action.OPERATE, methods=("GET", "POST")),
]
