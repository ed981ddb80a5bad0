"""Where in the bytes that were refused what a rejection names stands, so that people can be shown it."""

from typing import NamedTuple

from receiver.domain.commands import Form
from receiver.domain.exact_json import Failure, parse_or_fail, spans_along


class Location(NamedTuple):
    """A piece of a body, in characters of its text; a byte order mark is one of them.

    Attributes:
        start, end: from here to before there.
        line, column: of the start, counted from 1; a line ends with a newline.
        missing: what was looked for is not there; this is the innermost value in which it would be.
    """

    start: int
    end: int
    line: int
    column: int
    missing: bool


def locate(form: Form, body: bytes, pointer: str) -> Location | None:
    """Find the value that *pointer*, of a rejection of these bytes, names; None where there is no text.

    In bytes that are no JSON it is the first character that cannot be read, or the end.
    """
    sent = parse_or_fail(body)
    if isinstance(sent, Failure):
        if sent.at is None:
            return None
        text = body.decode()
        start = sent.at + text.startswith("\ufeff")
        return _location(text, start, min(start + 1, len(text)), missing=False)
    text = body.decode()
    steps = _steps(form, sent, pointer)
    mark = int(text.startswith("\ufeff"))
    spans = spans_along(text[mark:], steps)
    start, end = spans[-1]
    return _location(text, start + mark, end + mark, missing=len(spans) <= len(steps))


def _steps(form: Form, sent: object, pointer: str) -> list[str]:
    """Give the steps from the root, because a pointer begins at the event or update itself."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    if form is not Form.COMMAND or not isinstance(sent, dict):
        return steps
    if not steps and sent.get("name") not in ("customers/events", "customers"):
        # The command itself is refused for it, before its data is looked at.
        return ["name"]
    return ["data", *steps]


def _location(text: str, start: int, end: int, *, missing: bool) -> Location:
    line = text.count("\n", 0, start) + 1
    return Location(start, end, line, start - text.rfind("\n", 0, start), missing)
