"""Reading callbacks: bytes in, one outcome per command, in order.

Bad input is an answer, not an exception: whatever the bytes, ``read`` returns.  The bytes of a
rejection can be read again to the same rejection, so that replay needs no reader of its own.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from receiver.domain.claims import rejection_claim
from receiver.domain.commands import (
    CustomerUpdate,
    Event,
    Form,
    Outcome,
    Reason,
    Rejection,
    Rules,
    SystemTime,
)
from receiver.domain.events import read_event, read_flat_event, read_update, refuse_no_object
from receiver.domain.exact_json import entries_as_sent, member_as_sent, parse
from receiver.domain.fields import Refusal, is_storable, kind_of
from receiver.domain.shapes import told
from receiver.domain.timestamps import is_time

MAX_EVENT_BYTES = 800_000
"""Of one event or update as sent, white space included."""

_Result = Event | CustomerUpdate | SystemTime | Refusal


def read(form: Form, body: bytes, rules: Rules, now_us: int) -> Iterable[Outcome]:
    """Read *body*, UTF-8 JSON of the given *form* (contract, 1.3; interfaces.md for the flat form).

    A body that is refused as a whole gives one Rejection of its own form.  A refused entry of a
    batch or a flat list gives one Rejection of the form ``COMMAND`` or ``FLAT_ITEM`` with its exact
    slice of *body*, and leaves its neighbours alone.

    The outcomes of a flat list, which can be very long, are made one by one as they are asked for.
    """
    sent = parse(body)
    if isinstance(sent, Refusal):
        return [_reject(sent, form, body, rules)]
    if form is Form.BATCH:
        return _read_batch(sent, body, rules, now_us)
    if form is Form.FLAT and not isinstance(sent, dict):
        return _read_flat_list(sent, body, rules, now_us)
    return [_settle(_READERS[form](sent, rules, now_us), form, body, rules, sent)]


def as_sent(form: Form, body: bytes) -> list[tuple[Form, bytes]]:
    """The exact bytes of each command of a *body* that ``read`` did not refuse as a whole, in order."""
    if form is Form.BATCH:
        return [(Form.COMMAND, entry) for entry in entries_as_sent(body, "commands")]
    if form is Form.FLAT and isinstance(parse(body), list):
        return [(Form.FLAT_ITEM, entry) for entry in entries_as_sent(body, None)]
    return [(form, body)]


def refuse(form: Form, body: bytes, rules: Rules, reason: Reason, pointer: str, detail: str) -> Rejection:
    """Refuse one command, as ``as_sent`` gives it, for a reason that reading alone could not find."""
    return _reject(Refusal(reason, pointer, detail), form, body, rules, parse(body))


def _read_batch(sent: object, body: bytes, rules: Rules, now_us: int) -> list[Outcome]:
    commands = _commands_of(sent, rules)
    if isinstance(commands, Refusal):
        return [_reject(commands, Form.BATCH, body, rules)]
    results = [_read_command(command, rules, now_us) for command in commands]
    return list(_settle_entries(results, commands, Form.COMMAND, body, rules, "commands"))


def _commands_of(sent: object, rules: Rules) -> list[object] | Refusal:
    if not isinstance(sent, dict):
        return Refusal(
            Reason.NOT_A_BATCH, "", f"The body is {kind_of(sent)}; send an object with a list of commands."
        )
    commands = sent.get("commands")
    if commands is None or commands == []:
        return Refusal(Reason.NO_COMMANDS, "/commands", "There are no commands; send at least one.")
    if not isinstance(commands, list):
        return Refusal(Reason.NOT_A_BATCH, "/commands", f"commands is {kind_of(commands)}; send a list.")
    if len(commands) > rules.max_commands:
        return Refusal(
            Reason.TOO_MANY_COMMANDS,
            "/commands",
            f"There are over {rules.max_commands} commands; send them in several batches.",
        )
    return commands


def _read_flat_list(sent: object, body: bytes, rules: Rules, now_us: int) -> Iterable[Outcome]:
    if not isinstance(sent, list):
        refusal = Refusal(
            Reason.NOT_A_BATCH, "", f"The body is {kind_of(sent)}; send an object or a list of objects."
        )
        return [_reject(refusal, Form.FLAT, body, rules)]
    if not sent:
        refusal = Refusal(Reason.NO_COMMANDS, "", "The list is empty; send at least one object.")
        return [_reject(refusal, Form.FLAT, body, rules)]
    results = (read_flat_event(item, rules, now_us) for item in sent)
    return _settle_entries(results, sent, Form.FLAT_ITEM, body, rules, None)


# One command


def _read_command(sent: object, rules: Rules, now_us: int) -> _Result:
    if not isinstance(sent, dict):
        return refuse_no_object(sent)
    name = sent.get("name")
    if name == "system/time":
        return SystemTime(_command_id(sent))
    if name not in ("customers/events", "customers"):
        return _refuse_name(name)
    data = sent.get("data")
    if data is None:
        return Refusal(Reason.MISSING_FIELD, "", "data is missing; send the event or update in it.")
    if not isinstance(data, dict):
        return Refusal(Reason.WRONG_TYPE, "", f"data is {kind_of(data)}; send an object.")
    if name == "customers":
        return read_update(data, rules, now_us, _command_id(sent))
    return read_event(data, rules, now_us, _command_id(sent))


def _refuse_name(name: object) -> Refusal:
    if name is None:
        return Refusal(Reason.MISSING_FIELD, "", "name is missing; send customers/events or customers.")
    if not isinstance(name, str):
        return Refusal(Reason.WRONG_TYPE, "", f"name is {kind_of(name)}; send customers/events or customers.")
    return Refusal(
        Reason.UNKNOWN_COMMAND, "", "No command has this name; send customers/events or customers."
    )


def _command_id(command: dict[str, object]) -> str | int | None:
    """Give what to echo: a text or a whole number, all else is none."""
    sent = command.get("command_id")
    if isinstance(sent, str):
        # Nobody can be answered half of a surrogate pair.
        return sent if is_storable(sent) else None
    return sent if isinstance(sent, int) and not isinstance(sent, bool) else None


_READERS = {
    Form.EVENT: read_event,
    Form.UPDATE: read_update,
    Form.COMMAND: _read_command,
    Form.FLAT: read_flat_event,
    Form.FLAT_ITEM: read_flat_event,
}


# From results to outcomes: a refusal needs the bytes that it came in, and so does the limit on them


def _settle_entries(
    results: Iterable[_Result],
    entries: list[object],
    form: Form,
    body: bytes,
    rules: Rules,
    member: str | None,
) -> Iterator[Outcome]:
    """Settle the *results* of the *entries* of a list: of the body itself, or of that *member* of it."""
    small = len(body) <= MAX_EVENT_BYTES
    slices: Iterator[bytes] | None = None
    passed = 0
    for number, result in enumerate(results):
        if small and not isinstance(result, Refusal):
            yield result
            continue
        if slices is None:
            # Only now, because to find the exact bytes costs as much as parsing them once more.
            slices = entries_as_sent(body, member)
        exact = next(islice(slices, number - passed, None))
        passed = number + 1
        yield _settle(result, form, exact, rules, entries[number])


def _settle(result: _Result, form: Form, body: bytes, rules: Rules, sent: object) -> Outcome:
    """Refuse an event or update that is too large, and give a refusal its bytes."""
    if isinstance(result, Refusal):
        return _reject(result, form, body, rules, sent)
    if len(body) <= MAX_EVENT_BYTES:
        return result
    if form is Form.COMMAND and len(member_as_sent(body, "data")) <= MAX_EVENT_BYTES:
        return result
    too_large = Refusal(
        Reason.EVENT_TOO_LARGE,
        "",
        f"The event or update has over {MAX_EVENT_BYTES} bytes; send fewer or shorter properties.",
    )
    return _reject(too_large, form, body, rules, sent)


def _reject(refusal: Refusal, form: Form, body: bytes, rules: Rules, sent: object = None) -> Rejection:
    """Give the Rejection of *body*; *sent* is the command that it holds, None where it is none."""
    command_id = None
    if form is Form.COMMAND and isinstance(sent, dict):
        command_id = _command_id(sent)
        sent = sent.get("data")
    has_time = isinstance(sent, dict) and (
        is_time(sent.get("timestamp")) or is_time(sent.get("update_timestamp"))
    )
    event_type, campaign = told(form, sent, rules)
    return Rejection(
        reason=refusal.reason,
        detail=refusal.detail,
        pointer=refusal.pointer,
        form=form,
        body=body,
        claim=rejection_claim(form, refusal.reason, body, has_time=has_time),
        command_id=command_id,
        event_type=event_type,
        campaign=campaign,
    )
