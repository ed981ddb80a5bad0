"""Bodies to show to whoever sets up a sender: a template for each form, and examples of good and bad, by
the rules of the installation.  Pure.
"""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from receiver.domain.commands import Form, Reason, Rules
from receiver.domain.events import FLAT_EVENT_TYPE, MAILING_PROPERTIES

_TIME = 1_760_000_000
_CAMPAIGN = "64b0c0ffee0000000000abcd"
_VALUES = ("c-1001", "9b2f6c1e-0c1a-4a53-9a0e-0b7d1f0f9d11")


class Example(NamedTuple):
    """A body and what becomes of it: *reason* is why its last command is refused, None where all is well."""

    title: str
    detail: str
    form: Form
    body: str
    reason: Reason | None = None


def template(form: Form, rules: Rules) -> str:
    """A body of this form (``BATCH`` or ``FLAT``) with a place, in double braces, for all that changes."""
    if form is Form.FLAT:
        return _text(_flat(rules, _placeholders(rules), _place("the new state"), _place("when it happened")))
    ids = {name: place for name, place in _placeholders(rules).items() if name in _kinds(rules)}
    return _text({"commands": [_command(_event(rules, ids, _placeholders(rules)))]})


def examples(rules: Rules) -> list[Example]:
    """Good ones first."""
    return [*_good(rules), *_bad(rules)]


# -- what is filled in ----------------------------------------------------------------------------


def _kinds(rules: Rules) -> tuple[str, ...]:
    return rules.hard_ids + rules.soft_ids


def carried(rules: Rules) -> dict[str, int]:
    """Which IDs come back in which individualisation, in the order of the settings."""
    numbers = {name: number for number, name in rules.individualisations.items()}
    return {kind: numbers[kind] for kind in _kinds(rules) if kind in numbers}


def _placeholders(rules: Rules) -> dict[str, str]:
    """For each ID that travels, the campaign and the mailing: the place where it is filled in."""
    numbers = {name: number for number, name in rules.individualisations.items()}
    ids = {kind: _place(f"individualisation{number}") for kind, number in carried(rules).items()}
    # Where no ID travels in the letters the sender must know one from elsewhere.
    ids = ids or {_kinds(rules)[0]: _place(f"the ID {_kinds(rules)[0]}")}
    campaign = (
        f"individualisation{numbers['campaign']}" if "campaign" in numbers else "the campaign reference"
    )
    beside = {"campaign": _place(campaign)}
    if "mailing" in numbers:
        beside["mailing"] = _place(f"individualisation{numbers['mailing']}")
    return ids | beside


def _place(what: str) -> str:
    return "{{ " + what + " }}"


def _event(
    rules: Rules,
    ids: dict[str, str],
    beside: dict[str, str],
    *,
    status: str | None = None,
    time: object = None,
) -> dict[str, object]:
    properties: dict[str, object] = {_status_name(rules): status or _place("the new state")}
    if rules.campaign_properties and "campaign" in beside:
        properties[rules.campaign_properties[0]] = beside["campaign"]
    if "mailing" in beside:
        properties[MAILING_PROPERTIES[0]] = beside["mailing"]
    return {
        "customer_ids": ids,
        "event_type": FLAT_EVENT_TYPE,
        "timestamp": time or _place("when it happened"),
        "properties": properties,
    }


def _status_name(rules: Rules) -> str:
    return (rules.status_properties or ("status",))[0]


def _command(data: object, name: str = "customers/events") -> dict[str, object]:
    return {"name": name, "data": data}


def _flat(rules: Rules, values: dict[str, str], status: object, time: object) -> dict[str, object]:
    """The flat form of *values*, by the names of IDs, ``campaign`` and ``mailing``."""
    numbers = {name: number for number, name in rules.individualisations.items()}
    body: dict[str, object] = {}
    if not carried(rules):
        body["customer_ids"] = {name: value for name, value in values.items() if name in _kinds(rules)}
    for name, value in values.items():
        if name in numbers:
            body[f"individualisation{numbers[name]}"] = value
        elif name == "campaign" and rules.campaign_properties:
            body[rules.campaign_properties[0]] = value
    return body | {_status_name(rules): status, "timestamp": time}


_WIDTH = 88


def _text(value: object, before: int = 0) -> str:
    """JSON as people write it: on one line what fits there, *before* characters into it."""
    flat = json.dumps(value, ensure_ascii=False)
    if before + len(flat) <= _WIDTH or not isinstance(value, dict | list):
        return flat
    indent = before + 2
    if isinstance(value, list):
        inner = [_text(each, indent) for each in value]
    else:
        inner = [f"{json.dumps(name)}: {_text(each, indent)}" for name, each in value.items()]
    begin, end = ("[", "]") if isinstance(value, list) else ("{", "}")
    space = " " * indent
    return f"{begin}\n{space}" + f",\n{space}".join(inner) + f"\n{' ' * before}{end}"


# -- examples -------------------------------------------------------------------------------------


def _good(rules: Rules) -> Iterator[Example]:
    first = _kinds(rules)[0]
    both: dict[str, str] = dict(zip(_kinds(rules), _VALUES, strict=False))
    beside = {"campaign": _CAMPAIGN}
    delivered = _event(rules, {first: _VALUES[0]}, beside, status="delivered", time=_TIME)
    printed = _event(rules, both, beside, status="printed", time="2025-10-09T10:53:20+02:00")
    many = [_command(printed), _command(delivered)][: rules.max_commands]
    yield Example(
        "A batch",
        f"Up to {rules.max_commands} commands, each one letter and one change of its state. A time is UNIX"
        " seconds, or ISO 8601 with its zone.",
        Form.BATCH,
        _text({"commands": many}),
    )
    yield Example("One event alone", "The data of a command, by itself.", Form.EVENT, _text(delivered))
    flat = [_flat(rules, _flat_values(rules, value), "posted", _TIME) for value in ("c-1001", "c-1002")]
    yield Example(
        "The flat form",
        "One object or a list of any length; every other field is kept as a property.",
        Form.FLAT,
        _text(flat),
    )


def _flat_values(rules: Rules, value: str) -> dict[str, str]:
    kind = next(iter(carried(rules)), _kinds(rules)[0])
    return {kind: value, "campaign": _CAMPAIGN}


def _bad(rules: Rules) -> Iterator[Example]:
    first = _kinds(rules)[0]

    def event(ids: dict[str, str], time: object = _TIME) -> str:
        return _text(_event(rules, ids, {"campaign": _CAMPAIGN}, status="delivered", time=time))

    yield Example(
        "An empty ID",
        "Whoever has no ID, as a control address, gets no callback.",
        Form.EVENT,
        event({first: ""}),
        Reason.EMPTY_CUSTOMER_ID,
    )
    if len(_kinds(rules)) > 1:
        yield _empty_beside(rules, event({first: _VALUES[0], _kinds(rules)[1]: ""}))
    yield Example(
        "A template that was not filled in",
        "The placeholder itself was sent.",
        Form.EVENT,
        event({first: _place("individualisation1")}),
        Reason.PLACEHOLDER_CUSTOMER_ID,
    )
    yield Example(
        "A word for nothing",
        "null, none, undefined and nan are no IDs, in upper or lower case.",
        Form.EVENT,
        event({first: "null"}),
        Reason.PLACEHOLDER_CUSTOMER_ID,
    )
    yield Example(
        "An ID of another name",
        f"Known are: {', '.join(_kinds(rules))}.",
        Form.EVENT,
        event({_unknown(_kinds(rules)): _VALUES[0]}),
        Reason.UNKNOWN_ID_TYPE,
    )
    yield Example(
        "Milliseconds",
        "Send UNIX seconds; fractions are allowed.",
        Form.EVENT,
        event({first: _VALUES[0]}, _TIME * 1000),
        Reason.TIMESTAMP_IN_MILLISECONDS,
    )
    yield Example(
        "A batch without its list",
        "The commands stand in a list called commands.",
        Form.BATCH,
        _text({"command": _command({"customer_ids": {first: _VALUES[0]}})}),
        Reason.NO_COMMANDS,
    )
    yield Example(
        "Not JSON",
        "A comma too many refuses the whole body, with all that is in it.",
        Form.BATCH,
        '{"commands": [\n  {"name": "customers/events", "data": {}},\n]}',
        Reason.MALFORMED_JSON,
    )


def _empty_beside(rules: Rules, body: str) -> Example:
    title = "An empty ID beside a good one"
    if rules.empty_ids == "drop":
        detail = "Here it is left out, and the rest is taken. Better leave it out yourself."
        return Example(title, detail, Form.EVENT, body)
    detail = "Leave out an ID that has no value: the key and all."
    return Example(title, detail, Form.EVENT, body, Reason.EMPTY_CUSTOMER_ID)


def _unknown(kinds: Sequence[str]) -> str:
    return next(name for name in ("email", "customer_number", "other", "none of these") if name not in kinds)
