"""What would become of a body, command by command, before anybody sends it: a verdict, and what is worth
knowing of what would be accepted.

Pure, and nothing is looked up: whether it was sent before, or the customer is known, is not told.
"""

import json
import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from receiver.domain.callbacks import read
from receiver.domain.commands import (
    Claim,
    CustomerUpdate,
    Event,
    Form,
    Outcome,
    Reason,
    Rejection,
    Rules,
    SystemTime,
)
from receiver.domain.events import FLAT_EVENT_TYPE
from receiver.domain.exact_json import entry_spans
from receiver.domain.places import Location, locate
from receiver.domain.stages import UNKNOWN

OF_THE_WHOLE = frozenset(
    {Reason.MALFORMED_JSON, Reason.NOT_A_BATCH, Reason.NO_COMMANDS, Reason.TOO_MANY_COMMANDS}
)
"""These refuse a batch or a flat list as a whole; every other reason is one command's own."""

_AHEAD_US = 60 * 1_000_000
"""Clocks differ by so much without a reason."""


class Worth(StrEnum):
    """What is worth knowing of a command that is accepted.  Outside users rely on the codes: add, never
    rename."""

    REPEATED = "repeated"
    NO_TIME = "no_time"
    TIME_AHEAD = "time_ahead"
    NO_STATUS = "no_status"
    UNKNOWN_STATUS = "unknown_status"
    NO_CAMPAIGN = "no_campaign"
    IDS_LEFT_OUT = "ids_left_out"
    UNUSED_INDIVIDUALISATION = "unused_individualisation"


class Remark(NamedTuple):
    """Something worth knowing, in a sentence that quotes no value."""

    code: Worth
    detail: str


class Graded(NamedTuple):
    """One command: *number* is counted from 1; *place* is where in the whole body a rejected one fails."""

    number: int
    outcome: Outcome
    place: Location | None
    remarks: tuple[Remark, ...]


class Grades(NamedTuple):
    """All of a body.

    Attributes:
        commands: the first ones, as many as were wanted.
        accepted, rejected: of all of them; questions for the time are neither.
        whole: the body is refused as a whole, so that *commands* holds its one rejection.
    """

    commands: list[Graded]
    accepted: int
    rejected: int
    whole: bool


def grade(form: Form, body: bytes, rules: Rules, now_us: int, *, most: int) -> Grades:
    """Read *body* as it would be read if it came in now; at most so many commands are told one by one."""
    outcomes = iter(read(form, body, rules, now_us))
    first = list(islice(outcomes, most))
    places = _places(form, body, first)
    seen: dict[Claim, int] = {}
    commands = [
        Graded(number, outcome, next(places), tuple(_remarks(number, outcome, rules, now_us, seen)))
        for number, outcome in enumerate(first, 1)
    ]
    accepted = rejected = 0
    for each in first:
        accepted += isinstance(each, Event | CustomerUpdate)
        rejected += isinstance(each, Rejection)
    for each in outcomes:
        accepted += isinstance(each, Event | CustomerUpdate)
        rejected += isinstance(each, Rejection)
    return Grades(commands, accepted, rejected, _is_whole(form, first[0]))


def _is_whole(form: Form, outcome: Outcome) -> bool:
    return (
        isinstance(outcome, Rejection) and outcome.reason in OF_THE_WHOLE and form in {Form.BATCH, Form.FLAT}
    )


# -- where it fails -------------------------------------------------------------------------------


def _places(form: Form, body: bytes, outcomes: list[Outcome]) -> Iterator[Location | None]:
    """For each of *outcomes* where in *body* it fails, None where it does not."""
    if not any(isinstance(each, Rejection) for each in outcomes):
        yield from [None] * len(outcomes)
        return
    if isinstance(one := outcomes[0], Rejection) and one.form is form:
        yield locate(form, body, one.pointer)
        return
    text = body.decode()
    mark = int(text.startswith("\ufeff"))
    spans = entry_spans(text[mark:], "commands" if form is Form.BATCH else None)
    for outcome, (begin, _) in zip(outcomes, spans, strict=False):
        if not isinstance(outcome, Rejection):
            yield None
            continue
        found = locate(outcome.form, outcome.body, outcome.pointer)
        yield None if found is None else _within(text, begin + mark, found)


def _within(text: str, begin: int, found: Location) -> Location:
    """The same place, counted from the beginning of the whole *text*."""
    start = begin + found.start
    line = text.count("\n", 0, start) + 1
    column = start - text.rfind("\n", 0, start)
    return Location(start, begin + found.end, line, column, found.missing)


# -- what is worth knowing ------------------------------------------------------------------------


def _remarks(
    number: int, outcome: Outcome, rules: Rules, now_us: int, seen: dict[Claim, int]
) -> Iterator[Remark]:
    if isinstance(outcome, Rejection | SystemTime):
        return
    earlier = seen.setdefault(outcome.claim, number)
    if earlier != number:
        yield Remark(
            Worth.REPEATED, f"It says the same as number {earlier}; it is taken, and stored only once."
        )
    if outcome.claim.windowed:
        yield Remark(
            Worth.NO_TIME,
            "No time was sent, so it happened when it arrives; two that are alike may count as one."
            " Send the time when it happened.",
        )
    at_us = outcome.occurred_us if isinstance(outcome, Event) else outcome.updated_us
    if at_us > now_us + _AHEAD_US:
        yield Remark(
            Worth.TIME_AHEAD, "The time is ahead of now. A text without a zone is read as UTC: send the zone."
        )
    if outcome.dropped_ids:
        yield Remark(Worth.IDS_LEFT_OUT, "An empty customer ID stands beside a good one; it is left out.")
    if isinstance(outcome, Event):
        yield from _of_a_letter(outcome, rules)


def _of_a_letter(event: Event, rules: Rules) -> Iterator[Remark]:
    is_of_a_letter = event.type == FLAT_EVENT_TYPE
    if event.status is None and is_of_a_letter and rules.status_properties:
        names = " or ".join(rules.status_properties)
        yield Remark(Worth.NO_STATUS, f"It does not say what became of the letter; send {names}.")
    if event.status is not None and _is_unknown(event, rules):
        yield Remark(
            Worth.UNKNOWN_STATUS,
            "The word for the state is none that we know: the event is kept with the stage unknown, and no"
            " report counts the letter further. Use one of the words, or have the operator add yours.",
        )
    if event.campaign is None and is_of_a_letter:
        yield Remark(
            Worth.NO_CAMPAIGN, "It names no campaign, so it is found with the customer and in no campaign."
        )
    if unused := _unused(event, rules):
        yield Remark(
            Worth.UNUSED_INDIVIDUALISATION,
            f"{', '.join(unused)}: nothing is read from this number here; it is kept as a property.",
        )


def _is_unknown(event: Event, rules: Rules) -> bool:
    # An operator may have said of a word that it means no stage.
    return event.stage == UNKNOWN and (event.status or "").strip().lower() not in rules.stage_words


_NUMBERED = re.compile("individuali[sz]ation([1-9][0-9]{0,3})")


def _unused(event: Event, rules: Rules) -> list[str]:
    if "individuali" not in event.properties:
        return []
    return [
        name
        for name in json.loads(event.properties)
        if (match := _NUMBERED.fullmatch(name)) and int(match[1]) not in rules.individualisations
    ]
