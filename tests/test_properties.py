"""Whether an event has a property with a certain value."""

import json
from typing import Any

import pytest

from receiver.domain.json_text import encode
from receiver.domain.properties import PropertyEquals, fragments, having


def has(properties: Any, name: str, value: str) -> bool:
    wanted = PropertyEquals(name, value)
    text = encode(properties)
    found = having(wanted)(text)
    if found:
        assert any(fragment in text for fragment in fragments(wanted)), text
    return found


BOTH_ENCODERS = pytest.mark.parametrize("other", [1, 2**70], ids=["quick encoder", "patient encoder"])


@BOTH_ENCODERS
@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("B", "B"),
        ("", ""),
        (' "a"\n', ' "a"\n'),
        (2.5, "2.5"),
        (2.5, "2.50"),
        (2.5, "25e-1"),
        ("2.50", "2.50"),
        (2, "2.0"),
        (-0.0, "0"),
        (2**70, str(2**70)),
        (2.0, "2"),
        (0.0, "-0"),
        (1e16, "10000000000000000"),
        (10**16, "1e16"),
        (1e-7, "0.0000001"),
        (1e300, "1e300"),
        (10**301, "1" + "0" * 301),
        (True, "true"),
        ("true", "true"),
        (False, "false"),
        (None, "null"),
    ],
)
def test_a_value_is_equal_to_how_people_write_it(kept: object, asked: str, place: str, other: int) -> None:
    properties = {"name": kept, "other": other} if place == "first" else {"other": other, "name": kept}

    assert has(properties, "name", asked)


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("B", "b"),
        ("B", "B "),
        ("B", '"B"'),
        ("2.5", "2.50"),
        (1, "true"),
        (True, "1"),
        (0, "false"),
        (None, ""),
        (None, "0"),
        (7, "07"),
        (1, " 1"),
        (1, "1٠"),
        (2**70, str(2**70 + 1)),
        ([1], "1"),
        ([1], "[1]"),
        ({}, "{}"),
        ("x", "[" * 5000),
        (1, "1" * 5000),
        (1, "Infinity"),
        (1, "1e999"),
    ],
)
def test_no_other_value_is(kept: object, asked: str) -> None:
    assert not has({"name": kept}, "name", asked)


def test_only_a_property_of_the_event_itself_counts() -> None:
    assert not has({"other": "name", "deep": {"name": "B"}}, "name", "B")
    assert not has({}, "name", "null")


def test_few_others_have_a_fragment() -> None:
    text = encode({"n": 6, "m": 5, "t": '"n":5', "5": "n"})

    assert not any(fragment in text for fragment in fragments(PropertyEquals("n", "5")))


@BOTH_ENCODERS
def test_a_name_and_a_text_may_hold_any_sign(other: int) -> None:
    for code in (*range(1, 0x300), 0x2028, 0xFEFF, 0xFFFF, 0x1F600):
        text = f"a{chr(code)}b"

        assert has({text: text, "other": other}, text, text), json.dumps(text)
