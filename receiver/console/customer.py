"""One customer, found by any ID: who it is, and one timeline of letters and events.

The ID stands in the URL, as it does when the API is asked: so the page can be loaded again, gone back to and
linked.  Nothing here writes an access log, and no page is stored or told to other sites.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from receiver.console.pages import Page, Visit, page
from receiver.web.events import file_formats

_PAGE = 30
_MOST_IDS = 20
_MOST_PROPERTIES = 50
_MOST_OF_EVENT = 20
_SHORT = 120
"""A page shows so much of each; all of it is in the answer of the API and in the files."""

_ROOM = 15_000
"""So many characters of properties of events does a page have room for; events below show none."""


def found(visit: Visit) -> Page:
    """The form to search with, and whom it finds."""
    settings = visit.request.state["settings"]
    kind, value = _wanted(visit)
    values: dict[str, object] = {
        "kinds": [*settings.hard_ids, *settings.soft_ids],
        "kind": kind,
        "value": value,
        "customer": None,
        "said": None,
        "nobody": False,
        "cursor": visit.question.get("cursor"),
    }
    if not value:
        return Page("customer.html", values)
    asked = {"customer": f"{kind}:{value}", "limit": _PAGE, "cursor": visit.question.get("cursor")}
    answer = visit.ask("Everything about this customer", "/customer", asked)
    if not answer.good:
        nobody = answer.status == 404
        return Page(
            "customer.html",
            {**values, "nobody": nobody, "said": None if nobody else answer.said},
            answer.status,
        )
    customer = answer.document
    return Page(
        "customer.html",
        {
            **values,
            "customer": customer,
            "ids": {name: list(reversed(held)) for name, held in customer["ids"].items()},
            "most_ids": _MOST_IDS,
            "properties": _some(
                {name: each["value"] for name, each in customer["properties"].items()}, _MOST_PROPERTIES
            ),
            "set_at": {name: each["set_at"] for name, each in customer["properties"].items()},
            "groups": _groups(customer["timeline"]),
            "formats": file_formats(),
        },
    )


def _wanted(visit: Visit) -> tuple[str, str]:
    """The kind of ID and its value, as the form sends them or together, as the API takes them."""
    if together := visit.question.get("customer"):
        kind, _, value = together.partition(":")
        return kind, value.strip()
    return visit.question.get("kind", ""), visit.question.get("value", "").strip()


def _groups(timeline: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What belongs to the same letter together, in the order of what is newest of each; what is about no
    letter stays between them.

    A letter is known by its mailing; where none is known, by its campaign.
    """
    groups: list[dict[str, Any]] = []
    letters: dict[tuple[str, str], dict[str, Any]] = {}
    room = _ROOM
    for entry in timeline:
        event, letter = entry["event"], entry["letter"]
        about = letter or event
        mailing = letter["id"] if letter else event["mailing"]
        is_letter = mailing is not None or (about["campaign"] is not None and about["stage"] is not None)
        key = ("mailing", mailing) if mailing else ("campaign", about["campaign"])
        group = letters.get(key) if is_letter else (groups[-1] if groups else None)
        if group is None or group["is_letter"] != is_letter:
            group = {
                "is_letter": is_letter,
                "mailing": mailing,
                "campaign": None,
                "variation": None,
                "stage": None,
                "state": None,
                "entries": [],
            }
            groups.append(group)
            if is_letter:
                letters[key] = group
        for name in ("campaign", "variation", "stage", "state") if is_letter else ():
            # The newest that tells it.
            group[name] = group[name] or about.get(name)
        properties = _some(event["properties"] if event else {}, _MOST_OF_EVENT if room > 0 else 0)
        room -= sum(len(name) + len(text) for name, text in properties["shown"].items())
        group["entries"].append({**entry, "properties": properties})
    return groups


def _some(properties: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The first of them as people read them, cut where they are long, and how many there are beside them."""
    shown = {name: _text(value) for name, value in islice(properties.items(), most)}
    return {"shown": shown, "more": len(properties) - len(shown)}


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"


def events_file(visit: Visit) -> Page | Response:
    """All events of the customer."""
    kind, value = _wanted(visit)
    asked = {"customer": f"{kind}:{value}", "format": visit.question.get("format", "")}
    return visit.file("/events", asked)


routes: list[Route] = [
    page("/customer", found),
    page("/customer/events", events_file),
]
