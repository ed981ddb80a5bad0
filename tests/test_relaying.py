"""Commands for Bloomreach, made of what is stored."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.claims import event_claim
from receiver.domain.commands import CustomerUpdate, ExternalId
from receiver.domain.json_text import encode
from receiver.domain.relaying import (
    MOST_COMMANDS,
    Command,
    batches,
    event_command,
    has_empty_id,
    update_body,
    update_command,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers(1, 2**63 - 1)


def parsed(command: Command) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(command.json)
    assert document["command_id"] == str(command.id)
    return document


def update_of(updated_us: int, properties: dict[str, str]) -> CustomerUpdate:
    ids = (ExternalId("registered", "c-1"),)
    return CustomerUpdate(ids, properties, updated_us, event_claim(ids, "x", 0, {}), None, 0)


@given(
    NUMBERS,
    st.dictionaries(TEXT, TEXT),
    TEXT,
    st.integers(-(10**15), 10**16),
    st.dictionaries(TEXT, JSON, max_size=4),
    st.none() | TEXT.filter(bool),
)
def test_an_event_is_what_was_stored_and_its_number(
    number: int,
    ids: dict[str, str],
    event_type: str,
    occurred_us: int,
    properties: dict[str, Any],
    name: str | None,
) -> None:
    command = event_command(number, encode(ids), event_type, occurred_us, encode(properties), name)

    document = parsed(command)
    assert document == {
        "name": "customers/events",
        "command_id": str(number),
        "data": {
            "customer_ids": ids,
            "event_type": event_type,
            "timestamp": document["data"]["timestamp"],
            "properties": properties | ({name: str(number)} if name else {}),
        },
    }


@given(st.integers(-(10**15), 10**16))
def test_no_microsecond_of_a_time_is_lost(occurred_us: int) -> None:
    command = event_command(1, "{}", "x", occurred_us, "{}", None)

    (seconds,) = (part.split(b",")[0] for part in command.json.split(b'"timestamp":')[1:])
    whole, dot, fraction = seconds.decode().removeprefix("-").partition(".")
    assert (dot, len(fraction)) == (".", 6)
    assert int(whole + fraction) == abs(occurred_us)
    assert seconds.startswith(b"-") == (occurred_us < 0)


def test_what_is_json_already_is_not_written_again() -> None:
    properties = '{"a": 1e400,"b":\t12345678901234567890.10, "a":"\\u00e4"}'

    command = event_command(7, '{"x" :"1"}', "t", 0, properties, "id")

    assert command.json.decode() == (
        '{"name":"customers/events","command_id":"7","data":{"customer_ids":{"x" :"1"},"event_type":"t",'
        '"timestamp":0.000000,'
        '"properties":{"a": 1e400,"b":\t12345678901234567890.10, "a":"\\u00e4","id":"7"}}}'
    )


def test_our_number_stands_behind_one_of_the_sender_with_the_same_name() -> None:
    command = event_command(7, "{}", "t", 0, '{"id":"theirs"}', "id")

    assert b'{"id":"theirs","id":"7"}' in command.json
    assert parsed(command)["data"]["properties"] == {"id": "7"}


@given(NUMBERS, st.integers(0, 10**16), st.dictionaries(TEXT, JSON, min_size=1, max_size=4))
def test_an_update_is_what_was_accepted_with_its_time(
    number: int, updated_us: int, properties: dict[str, Any]
) -> None:
    texts = {name: encode(value) for name, value in properties.items()}

    command = update_command(number, '{"registered":"c-1"}', update_body(update_of(updated_us, texts)))

    document = parsed(command)
    seconds = document["data"]["update_timestamp"]
    assert round(seconds * 1_000_000) == updated_us or updated_us > 2**53
    assert document == {
        "name": "customers",
        "command_id": str(number),
        "data": {
            "customer_ids": {"registered": "c-1"},
            "update_timestamp": seconds,
            "properties": properties,
        },
    }


@given(st.dictionaries(TEXT | st.just('"'), TEXT | st.sampled_from(["", '"', '""', '\\"'])))
def test_an_empty_id_is_found_and_nothing_else(ids: dict[str, str]) -> None:
    assert has_empty_id(encode(ids)) == (not ids or "" in ids.values())


def test_who_has_an_empty_name_has_no_empty_id() -> None:
    assert not has_empty_id('{"":"x"}')
    assert has_empty_id('{"a":"x","b":""}')
    assert has_empty_id('{ "b" : "" }')


@given(st.lists(st.integers(1, 1_500_000), max_size=140))
def test_batches_hold_everything_in_order_and_no_more_than_a_request_may(sizes: list[int]) -> None:
    commands = [Command(n, _Sized(size)) for n, size in enumerate(sizes)]

    found = list(batches(iter(commands)))

    assert [each for batch in found for each in batch] == commands
    for batch in found:
        assert 1 <= len(batch) <= MOST_COMMANDS
        assert len(batch) == 1 or sum(len(each.json) for each in batch) <= 2 * 1024 * 1024
    # None could have been put before.
    for before, batch in pairwise(found):
        full = sum(len(each.json) for each in (*before, batch[0])) > 2 * 1024 * 1024
        assert full or len(before) == MOST_COMMANDS


class _Sized(bytes):
    """As long as it says, without the memory."""

    def __new__(cls, size: int) -> "_Sized":
        made = super().__new__(cls)
        made.size = size
        return made

    size: int

    def __len__(self) -> int:
        return self.size
