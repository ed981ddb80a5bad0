"""Commands as Bloomreach takes them, made of what is stored.  Pure.

Texts that are JSON already are put together as they are: what a sender wrote comes out unchanged.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from receiver.domain.commands import CustomerUpdate
from receiver.domain.json_text import encode
from receiver.domain.moments import SECOND_US

MOST_COMMANDS = 50
"""Of one request; a limit of the vendor."""

_MOST_BYTES = 2 * 1024 * 1024


class Command(NamedTuple):
    """One entry of a batch: its number, which is its ``command_id``, and its JSON text."""

    id: int
    json: bytes


def event_command(
    number: int, ids: str, event_type: str, occurred_us: int, properties: str, id_property: str | None
) -> Command:
    """An event; *ids* and *properties* are JSON texts of objects.

    *id_property* names the property that carries the number, by which a repeat is known as one; it stands
    last, so that it wins over one of the sender's with the same name.
    """
    if id_property:
        separator = "" if properties == "{}" else ","
        properties = f'{properties[:-1]}{separator}{encode(id_property)}:"{number}"}}'
    return _command(
        number,
        "customers/events",
        f'{{"customer_ids":{ids},"event_type":{encode(event_type)},"timestamp":{_seconds(occurred_us)},'
        f'"properties":{properties}}}',
    )


def update_body(update: CustomerUpdate) -> str:
    """The JSON text of an object: all but the IDs; it replaces nothing newer there either."""
    properties = ",".join(f"{encode(name)}:{value}" for name, value in update.properties.items())
    return f'{{"update_timestamp":{_seconds(update.updated_us)},"properties":{{{properties}}}}}'


def update_command(number: int, ids: str, body: str) -> Command:
    """A customer update; *ids* is the JSON text of an object, *body* that of `update_body`."""
    return _command(number, "customers", f'{{"customer_ids":{ids},{body[1:]}')


def has_empty_id(ids: str) -> bool:
    """Whether *ids*, the JSON text of an object, names nobody, or somebody by nothing."""
    if ids != "{}" and '""' not in ids:
        return False
    values = json.loads(ids).values()
    return not values or not all(values)


def batches(commands: Iterable[Command]) -> Iterator[list[Command]]:
    """*commands* in their order, as many in each list as one request may hold."""
    batch: list[Command] = []
    size = 0
    for command in commands:
        if batch and (len(batch) == MOST_COMMANDS or size + len(command.json) > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(command)
        size += len(command.json)
    if batch:
        yield batch


def _command(number: int, name: str, data: str) -> Command:
    return Command(number, f'{{"name":"{name}","command_id":"{number}","data":{data}}}'.encode())


def _seconds(time_us: int) -> str:
    """As the vendor counts, without the loss of a binary fraction."""
    sign, time_us = ("-", -time_us) if time_us < 0 else ("", time_us)
    return f"{sign}{time_us // SECOND_US}.{time_us % SECOND_US:06d}"
