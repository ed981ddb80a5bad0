"""Mending what was refused: named repairs and JSON Patch, from bytes to mended bytes.

A named repair cuts and pastes the text of the members that it is about, so that all else stays byte
for byte as it was sent: spelling of numbers, escapes, spacing, order and repeats of keys.  A patch may
change anything, so that the event is written anew; there each number that the patch does not name keeps
its spelling, because it is carried as text and never comes out of a float.

What is an ID, what is empty and what is in milliseconds is asked of the functions that read callbacks,
so that a repair cannot see it otherwise than they do.

Whatever the bytes and the operations: the answer is a value, and its sentence never quotes what was sent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Context, Decimal
from functools import partial
from typing import NamedTuple

import jsonpatch

from receiver.domain.commands import Form, Reason, Rules
from receiver.domain.events import read_flat_event
from receiver.domain.exact_json import entries_as_sent, parse
from receiver.domain.fields import Refusal, read_customer_ids
from receiver.domain.json_edits import (
    Edit,
    by_name,
    cuts_of,
    edited,
    entries_of,
    members_of,
    skip_space,
    value_at,
    written,
)
from receiver.domain.timestamps import read_time

MAX_PATCHED_BYTES = 4 * 1024 * 1024
"""How far the ``copy`` operations of a patch may let a body grow: each can double it."""


class Mended(NamedTuple):
    """What to read instead of the bytes that were refused."""

    form: Form
    body: bytes


class CannotMend(NamedTuple):
    """Nothing was mended; *detail* is a sentence: why, and what to do."""

    detail: str


class Circumstances(NamedTuple):
    """What a repair may know beside the bytes.

    Attributes:
        received_us: when they were first received.
        rules: today's, by which the mended bytes will be read.
    """

    received_us: int
    rules: Rules


Repair = Callable[[Form, bytes, Circumstances], Sequence[Mended] | CannotMend]

_NO_JSON = CannotMend("The body is not valid JSON; send a replacement body.")
_NO_EVENT = CannotMend("The body holds no event or update that is an object; send a replacement body.")


def mend(
    names: Sequence[str], form: Form, body: bytes, circumstances: Circumstances
) -> Sequence[Mended] | CannotMend:
    """Apply the repairs of these *names*, one after the other, each to all that the one before gave.

    A repair that finds nothing to mend is passed over; CannotMend where that holds for each of them.
    """
    if not all(name in REPAIRS for name in names):
        return CannotMend(f"There is no repair of this name; there are {', '.join(REPAIRS)}.")
    pieces = [Mended(form, body)]
    is_mended = not names
    details: list[str] = []
    for name in names:
        before, pieces = pieces, []
        for piece in before:
            result = REPAIRS[name](piece.form, piece.body, circumstances)
            if isinstance(result, CannotMend):
                details.append(result.detail)
                pieces.append(piece)
            else:
                is_mended = True
                pieces += result
    return pieces if is_mended else CannotMend(" ".join(dict.fromkeys(details)))


# Named repairs


class _Target(NamedTuple):
    """An event (``EVENT``, ``FLAT_ITEM``) or an update (``UPDATE``): an object that begins at *at*."""

    form: Form
    at: int

    @property
    def time(self) -> str:
        """The name of the member that holds its time."""
        return "update_timestamp" if self.form is Form.UPDATE else "timestamp"


def _targets(form: Form, text: str, at: int) -> Iterator[_Target]:
    """Find each event and update in the JSON at *at*, which is of this *form*."""
    if text[at] == "[" and form is Form.FLAT:
        for entry in entries_of(text, at):
            yield from _targets(Form.FLAT_ITEM, text, entry)
    elif text[at] != "{":
        return
    elif form is Form.BATCH:
        commands = by_name(members_of(text, at)).get("commands")
        if commands and isinstance(commands.value, list):
            for entry in entries_of(text, commands.at):
                yield from _targets(Form.COMMAND, text, entry)
    elif form is Form.COMMAND:
        members = by_name(members_of(text, at))
        is_update = "name" in members and members["name"].value == "customers"
        if "data" in members:
            yield from _targets(Form.UPDATE if is_update else Form.EVENT, text, members["data"].at)
    else:
        yield _Target(Form.FLAT_ITEM if form is Form.FLAT else form, at)


_Fix = Callable[[str, _Target, Circumstances], list[Edit] | CannotMend]


def _repair(fix: _Fix) -> Repair:
    """Make a repair that mends each event and update where *fix* can, and leaves the others alone."""

    def repair(form: Form, body: bytes, circumstances: Circumstances) -> Sequence[Mended] | CannotMend:
        if isinstance(parse(body), Refusal):
            return _NO_JSON
        text = body.decode()
        edits: list[Edit] = []
        failure = _NO_EVENT
        for target in _targets(form, text, skip_space(text, 0)):
            fixed = fix(text, target, circumstances)
            if isinstance(fixed, CannotMend):
                failure = fixed
            else:
                edits += fixed
        return [Mended(form, edited(text, edits).encode())] if edits else failure

    return repair


def _drop_empty_ids(text: str, target: _Target, circumstances: Circumstances) -> list[Edit] | CannotMend:
    rules = circumstances.rules
    members = members_of(text, target.at)
    customer_ids = by_name(members).get("customer_ids")
    read: Callable[[dict[str, object]], object]
    if customer_ids and isinstance(customer_ids.value, dict):
        members = members_of(text, customer_ids.at)
        read = partial(read_customer_ids, rules=rules)
    elif target.form is Form.FLAT_ITEM and (customer_ids is None or customer_ids.value is None):
        # An individualisation that carries a usable ID is an event by itself.
        read = partial(read_flat_event, rules=rules, now_us=circumstances.received_us)
    else:
        return CannotMend("There are no customer IDs to choose from; send a replacement body.")

    by_itself = {member.name: read({member.name: member.value}) for member in members}
    refused = {name: result for name, result in by_itself.items() if isinstance(result, Refusal)}
    empty = {name for name, refusal in refused.items() if refusal.reason is Reason.EMPTY_CUSTOMER_ID}
    if not empty:
        return CannotMend("No customer ID is empty; choose another repair.")
    if len(refused) == len(by_itself):
        return CannotMend("No usable customer ID would be left; add one by a patch.")
    return cuts_of(members, empty)


def _milliseconds_to_seconds(
    text: str, target: _Target, circumstances: Circumstances
) -> list[Edit] | CannotMend:
    time = by_name(members_of(text, target.at)).get(target.time)
    if time is None or not _is_in_milliseconds(time.value, circumstances):
        return CannotMend("There is no time in milliseconds; choose another repair.")
    is_text = isinstance(time.value, str)
    seconds = _shifted(str(time.value).strip() if is_text else text[time.at : time.end], -3)
    if _is_in_milliseconds(float(seconds), circumstances):
        return CannotMend("A thousandth of the time is no time in seconds either; set it by a patch.")
    return [(time.at, time.end, f'"{seconds}"' if is_text else seconds)]


def _is_in_milliseconds(sent: object, circumstances: Circumstances) -> bool:
    time = read_time(sent, now_us=circumstances.received_us, pointer="")
    return isinstance(time, Refusal) and time.reason is Reason.TIMESTAMP_IN_MILLISECONDS


def _shifted(digits: str, places: int) -> str:
    """Move the decimal point, without the noise of floats: 1760000000250 by -3 is 1760000000.25."""
    plain = f"{Decimal(digits).scaleb(places, Context(prec=len(digits))):f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _set_timestamp_from_received(text: str, target: _Target, circumstances: Circumstances) -> list[Edit]:
    seconds = _shifted(str(circumstances.received_us), -6)
    members = members_of(text, target.at)
    # An age counts back from when it is read, and so says something else with each replay.
    outdated = set() if target.form is Form.UPDATE else {"age"}
    edits = cuts_of(members, outdated)
    time = by_name(members).get(target.time)
    if time:
        return [*edits, (time.at, time.end, seconds)]
    is_only = all(member.name in outdated for member in members)
    begin = target.at + 1
    return [*edits, (begin, begin, f'"{target.time}":{seconds}{"" if is_only else ","}')]


def _split_batch(form: Form, body: bytes, circumstances: Circumstances) -> Sequence[Mended] | CannotMend:
    sent = parse(body)
    if isinstance(sent, Refusal):
        return _NO_JSON
    if form is not Form.BATCH:
        return CannotMend("Only a batch has a limit of commands; choose another repair.")
    limit = circumstances.rules.max_commands
    commands = sent.get("commands") if isinstance(sent, dict) else None
    if not isinstance(commands, list) or len(commands) <= limit:
        return CannotMend(f"The batch has no list of over {limit} commands; choose another repair.")
    # What stands beside the commands is read by nobody; with it each part could be as large as the whole.
    entries = list(entries_as_sent(body, "commands"))
    parts = [entries[begin : begin + limit] for begin in range(0, len(entries), limit)]
    return [Mended(Form.BATCH, b'{"commands":[' + b",".join(part) + b"]}") for part in parts]


REPAIRS: Mapping[str, Repair] = {
    "drop-empty-ids": _repair(_drop_empty_ids),
    "milliseconds-to-seconds": _repair(_milliseconds_to_seconds),
    "set-timestamp-from-received": _repair(_set_timestamp_from_received),
    "split-batch": _split_batch,
}


# JSON Patch


def patched(form: Form, body: bytes, operations: object) -> Mended | CannotMend:
    """Apply JSON Patch (RFC 6902) to the event or update itself: the ``data`` of a command, else the root."""
    if isinstance(parse(body), Refusal):
        return _NO_JSON
    if not isinstance(operations, list):
        return CannotMend("The patch is no list of operations; send a JSON Patch (RFC 6902).")
    text = body.decode()
    at = skip_space(text, 0)
    if form is Form.COMMAND:
        data = by_name(members_of(text, at)).get("data") if text[at] == "{" else None
        if data is None:
            return CannotMend("The command has no data that could be patched; send a replacement body.")
        at = data.at
    document, end = value_at(text, at)
    try:
        result = _applied(document, operations, MAX_PATCHED_BYTES - len(body))
        if isinstance(result, CannotMend):
            return result
        if isinstance(document, dict) and not isinstance(result, dict):
            return CannotMend("The patch leaves no object; send a patch that does, or a replacement body.")
        replacement = written(result)
    except RecursionError:
        return CannotMend("The patch works on brackets nested too deep; send a replacement body.")
    except ValueError:
        return CannotMend("The patch holds a number that is none; send valid JSON.")
    mended = text[:at].encode() + replacement + text[end:].encode()
    refusal = parse(mended)
    return CannotMend(refusal.detail) if isinstance(refusal, Refusal) else Mended(form, mended)


def _applied(document: object, operations: Sequence[object], room: int) -> object:
    """Give the *document*, changed in place where it can be, or CannotMend; it may grow by *room* bytes."""
    for number, operation in enumerate(operations, 1):
        this = f"Operation {number} of {len(operations)}"
        try:
            patch = jsonpatch.JsonPatch([operation])  # type: ignore[list-item]  # what it is, is its own first question
            copied = _copied_bytes(document, operation)
            room -= copied
            if copied and room < 0:
                return CannotMend(f"{this} lets the body grow over {MAX_PATCHED_BYTES} bytes; copy less.")
            document = patch.apply(document, in_place=True)
        except jsonpatch.InvalidJsonPatch:
            return CannotMend(f"{this} is none of JSON Patch (RFC 6902); correct it.")
        except jsonpatch.JsonPatchTestFailed:
            return CannotMend(f"{this} tests for a value that is not there; correct it or the place.")
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError):
            return CannotMend(f"{this} names a place that is not there; correct its path or from.")
    return document


def _copied_bytes(document: object, operation: object) -> int:
    source = operation.get("from") if isinstance(operation, dict) and operation["op"] == "copy" else None
    return len(written(jsonpatch.JsonPointer(source).resolve(document))) if isinstance(source, str) else 0
