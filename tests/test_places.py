"""Where in a refused body stands what a rejection names."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.commands import Form
from receiver.domain.exact_json import MAX_DEPTH
from receiver.domain.places import Location, locate

NAMES = st.sampled_from(["a", "b", "", "~", "/", "~1", "ä", "0", '"', "\\", "\n"])
SPACE = st.text(" \t\n\r", max_size=2)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(-9, 9) | st.text(max_size=4)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(NAMES, v, max_size=4))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, str, Any]:
    """A text with random white space, a pointer into it, and what that names."""
    value = draw(VALUES)
    text = draw(SPACE) + _written(draw, value) + draw(SPACE)
    pointer = ""
    while isinstance(value, dict | list) and value and draw(st.integers(0, 4)):
        step: Any = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        pointer += "/" + str(step).replace("~", "~0").replace("/", "~1")
        value = value[step]
    return text, pointer, value


def _written(draw: st.DrawFn, value: Any) -> str:
    def spaced(text: str) -> str:
        return draw(SPACE) + text + draw(SPACE)

    if isinstance(value, list):
        return "[" + (",".join([spaced(_written(draw, each)) for each in value]) or draw(SPACE)) + "]"
    if isinstance(value, dict):
        members = [
            spaced(json.dumps(name, ensure_ascii=draw(st.booleans()))) + ":" + spaced(_written(draw, each))
            for name, each in value.items()
        ]
        return "{" + (",".join(members) or draw(SPACE)) + "}"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@given(documents(), st.sampled_from(["", "\ufeff"]))
def test_what_stands_at_the_place_is_what_the_pointer_names(found: tuple[str, str, Any], mark: str) -> None:
    text, pointer, value = mark + found[0], found[1], found[2]

    place = locate(Form.EVENT, text.encode(), pointer)

    assert place is not None
    assert not place.missing
    assert json.loads(text[place.start : place.end]) == value
    lines = text.split("\n")
    assert sum(len(line) + 1 for line in lines[: place.line - 1]) + place.column - 1 == place.start


@given(
    st.sampled_from(Form), st.binary(max_size=20) | st.text('{}[]":,a1\\ \n').map(str.encode), st.text("/~a0")
)
def test_whatever_the_bytes_there_is_an_answer(form: Form, body: bytes, pointer: str) -> None:
    place = locate(form, body, pointer)

    assert place is None or 0 <= place.start <= place.end <= len(body.decode())


@pytest.mark.parametrize(
    ("form", "body", "pointer", "text", "missing"),
    [
        (Form.COMMAND, '{"name":"customers","data": {"a":7}}', "/a", "7", False),
        (Form.COMMAND, '{"name":"customers","data": {"a":7}}', "", '{"a":7}', False),
        (Form.COMMAND, '{"name":"unknown","data":{}}', "", '"unknown"', False),
        (Form.COMMAND, '{"name":"customers"}', "", '{"name":"customers"}', True),
        (Form.COMMAND, " 7 ", "", "7", False),
        (Form.FLAT_ITEM, '{"a":{"b":1}}', "/a/c/d", '{"b":1}', True),
        (Form.EVENT, '{"a":{"b":1},"a":{"c":2}}', "/a/b", '{"c":2}', True),
        (Form.EVENT, '{"a":1,"\\u0061":2}', "/a", "2", False),
        (Form.EVENT, '{"a\\u0000":2}', "/a\ufffd", "2", False),
        (Form.EVENT, "[1,2]", "/01", "[1,2]", True),
        (Form.EVENT, "[1,2]", "/-", "[1,2]", True),
    ],
)
def test_the_last_value_of_the_name_counts(
    form: Form, body: str, pointer: str, text: str, missing: bool
) -> None:
    place = locate(form, body.encode(), pointer)

    assert place is not None
    assert (body[place.start : place.end], place.missing) == (text, missing)


@pytest.mark.parametrize("number", [0, 99, 100, 250, 998, 999])
def test_one_of_many_entries_and_members_is_found(number: int) -> None:
    many: list[Any] = [[[[each]]] if each % 150 == 7 else each for each in range(1000)]
    for body, start in (
        (json.dumps(many), "["),
        (json.dumps({str(number): 5} | {str(each): value for each, value in enumerate(many)}), "{"),
    ):
        place = locate(Form.EVENT, body.encode(), f"/{number}")

        assert place is not None
        assert (json.loads(body[place.start : place.end]), body[0]) == (many[number], start)


def test_the_deepest_value_is_found() -> None:
    body = '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH

    assert locate(Form.EVENT, body.encode(), "/a" * MAX_DEPTH) == Location(2500, 2501, 1, 2501, False)


def test_a_body_that_is_no_json_has_the_place_where_reading_it_fails() -> None:
    assert locate(Form.EVENT, b'\xef\xbb\xbf{\n "a": x}', "") == Location(9, 10, 2, 7, False)
    assert locate(Form.EVENT, b"", "") == Location(0, 0, 1, 1, False)
    assert locate(Form.EVENT, b"\xff", "") is None
