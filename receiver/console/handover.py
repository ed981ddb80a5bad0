"""The handover sheet: what to give to whoever sets up the callbacks, as a page to print and as a file.

The facts of every installation are those of docs/tracking-sheet.md; what differs, the API tells.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from receiver.console.pages import Page, Visit, page
from receiver.console.sheet import (
    Block,
    Code,
    Example,
    Examples,
    Heading,
    Part,
    Points,
    Sentence,
    Table,
    as_markdown,
    code,
)

_Facts = Mapping[str, Any]

_ROUTES = {
    "batch": "many commands at once (use this where you can)",
    "callbacks": "the flat form: the fields of the letter, as they are",
    "customers/events": "one event",
    "customers": "new properties of a customer",
    "system/time": "the time: to try the key",
}


def handover(visit: Visit) -> Page:
    """The sheet as a page."""
    found = visit.ask("The facts of this installation", "/handover")
    if not found.good:
        return Page("failed.html", {"said": found.said}, found.status)
    facts = found.document
    return Page("handover.html", {"title": _title(facts), "blocks": list(_blocks(facts)), "facts": facts})


def as_file(visit: Visit) -> Page | Response:
    """The sheet as a Markdown file."""
    found = visit.ask("The facts of this installation", "/handover")
    if not found.good:
        return Page("failed.html", {"said": found.said}, found.status)
    text = as_markdown(_title(found.document), _blocks(found.document))
    headers = {
        "content-disposition": 'attachment; filename="handover.md"',
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    return Response(text, media_type="text/markdown; charset=utf-8", headers=headers)


def _title(facts: _Facts) -> str:
    return f"How to post callbacks to us: {facts['project']}"


def _blocks(facts: _Facts) -> Iterator[Block]:
    yield Sentence(
        "For whoever sets up the callbacks at Optilyz. After each change of a letter's state (booked,"
        " printed, posted, delivered, returned) we want to hear of it, for each recipient."
    )
    yield from _where(facts)
    yield from _what(facts)
    yield from _rules(facts)
    yield from _answers(facts)
    yield from _examples(facts)


def _where(facts: _Facts) -> Iterator[Block]:
    urls = facts["urls"]
    yield Heading("Where to")
    rows = [[f"POST {code(urls[route])}", what] for route, what in _ROUTES.items() if route in urls]
    yield Table("Where callbacks are posted", ["request", "for"], rows)
    yield Points(
        [
            "`POST` with a body in JSON, in UTF-8, not compressed; no slash at the end of the URL.",
            "Give us 30 seconds to answer.",
        ]
    )
    yield Heading("Who you are")
    yield Points(
        [
            "`Authorization: Basic` and the base64 of `KEY_ID:SECRET`, with the colon between them.",
            f"The key has the role {code(facts['role'])}. You get its ID and its secret apart from this"
            " sheet; keep the secret secret.",
            "Where you can set no header: `?access_token=PUBLIC_TOKEN`, if we give you a public token.",
        ]
    )
    yield Sentence("Try it first. The answer has `true` and the time of now:")
    yield Code("To try the key", f"curl -u KEY_ID:SECRET '{urls['system/time']}'", "sh")


def _what(facts: _Facts) -> Iterator[Block]:
    yield Heading("What to send")
    rows = [
        [code(f"individualisation{each['individualisation']}"), f"the customer's ID {code(each['name'])}"]
        for each in facts["customer_ids"]
        if each["individualisation"]
    ]
    if number := facts["campaign_individualisation"]:
        rows.append([code(f"individualisation{number}"), "the campaign reference"])
    if number := facts["mailing_individualisation"]:
        rows.append([code(f"individualisation{number}"), "our own ID of the letter"])
    if rows:
        yield Sentence("Our letters carry these; bring them back in every callback:")
        yield Table("Which individualisation carries what", ["field of the letter", "holds"], rows)
    yield Sentence(
        "What stands in double braces is filled in for each letter, in the notation of your templates. A line"
        " whose value is empty is left out, the name and all."
    )
    for each in facts["templates"]:
        label = "As a batch" if each["route"] == "batch" else "Or in the flat form"
        yield Part(f"{label}, to {facts['urls'][each['route']]}")
        yield Code(f"{label}: the template", each["body"])
    yield Sentence(
        f"A batch has up to {facts['max_commands']} commands, the flat form is one object or a list of any"
        " length. Every further field is kept as it is."
    )


def _rules(facts: _Facts) -> Iterator[Block]:
    names = ", ".join(code(each["name"]) for each in facts["customer_ids"])
    beside = (
        "an empty one beside a good one is left out by us"
        if facts["empty_ids"] == "drop"
        else "an empty one refuses the event, also beside a good one"
    )
    yield Heading("IDs: leave out what is empty")
    points = [
        f"At least one ID in each event. Known are {names}; any other name is refused.",
        f"Leave out an ID that has no value: {beside}. Empty are also `null`, and the words null, none,"
        " undefined and nan.",
        "Template text that was not filled in, a list, and a value without a letter or digit are refused.",
        "Control addresses have no ID: do not send them, or expect a refusal for each.",
    ]
    if facts["unknown_customers"] == "reject":
        points.append(
            "A customer whom we do not know is refused; everybody who got a letter of ours is known."
        )
    yield Points(points)
    yield Heading("Times")
    yield Points(
        [
            "The time when it happened, not when you send it: UNIX seconds, or ISO 8601 with its zone.",
            "No milliseconds. A text without a zone is UTC.",
            "Without a time it is the moment of arrival, and two that are alike within"
            f" {facts['duplicate_window']} seconds count as one.",
        ]
    )
    yield Heading("Words for the state")
    if names := facts["status_properties"]:
        where = " or ".join(map(code, names))
        yield Sentence(
            f"Read from {where}, in upper or lower case. Any other word is kept, and means nothing."
        )
    rows = [[code(stage), ", ".join(words)] for stage, words in facts["status_words"].items()]
    yield Table("Words that are understood", ["means", "words"], rows)


def _answers(facts: _Facts) -> Iterator[Block]:
    single = facts["reject_status"]
    yield Heading("What the answers mean, and when to send again")
    rows = [
        ["200", "it is stored, or was before; of a batch or list read each result in `results`", "nothing"],
        [str(single), "a single event or update is refused: `errors` say why", "correct it"],
        ["400", "no batch, too many commands, or no such project", "correct it"],
        ["401, 403", "no key, a wrong one, or one that may not send", "correct the key"],
        ["404, 405", "no such URL, or not `POST`", "correct the URL"],
        ["413", f"over {facts['max_body_bytes']:,} bytes", "send fewer at a time"],
        ["408, 503, other 5xx, no answer", "it is not stored", "send it again"],
    ]
    yield Table("Answers", ["status", "when", "what to do"], rows)
    yield Points(
        [
            "A batch is answered 200 although a command in it was refused: the good ones are stored, each bad"
            " one has `success` false and its `errors` in `results`.",
            "Send again the very same body; wait for `Retry-After` or 5 seconds, then twice as long,"
            " up to some minutes. Do not give up within a day.",
            "Sending again is safe: the same event is stored once, and the repeat is answered as a success.",
            "Do not send again as it is what was refused: it is kept here, and our people can mend it.",
        ]
    )


def _examples(facts: _Facts) -> Iterator[Block]:
    for heading, good in (("Good examples", True), ("Bad examples", False)):
        yield Heading(heading)
        yield Examples(
            [
                Example(each["title"], each["body"], good, _verdict(each), each["route"])
                for each in facts["examples"]
                if (each["reason"] is None) == good
            ]
        )


def _verdict(example: _Facts) -> str:
    reason = f"{code(example['reason'])}. " if example["reason"] else ""
    return f"{reason}{example['detail']} Posted to {code(example['route'])}."


routes: list[Route] = [
    page("/handover", handover),
    page("/handover.md", as_file),
]
