"""Repairs and patches: what they change, what they leave as it was sent, and that they never raise."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import as_sent, read
from receiver.domain.commands import Event, Form, Reason, Rejection
from receiver.domain.repairs import (
    MAX_PATCHED_BYTES,
    REPAIRS,
    CannotMend,
    Circumstances,
    Mended,
    mend,
    patched,
)
from tests.test_callbacks import (
    EVENT,
    FLAT,
    LEFT_OUT,
    MARK,
    NOW,
    RULES,
    SENT,
    UPDATE,
    batch,
    changed,
    command,
    dumped,
    mutated_bodies,
    odd_json,
)

CIRCUMSTANCES = Circumstances(SENT * 1_000_000 + 250_000, RULES)
REASONS_OF = {
    "drop-empty-ids": {Reason.EMPTY_CUSTOMER_ID},
    "milliseconds-to-seconds": {Reason.TIMESTAMP_IN_MILLISECONDS},
    "set-timestamp-from-received": {
        Reason.INVALID_TIMESTAMP,
        Reason.TIMESTAMP_IN_MILLISECONDS,
        Reason.TIMESTAMP_OUT_OF_RANGE,
    },
    "split-batch": {Reason.TOO_MANY_COMMANDS},
}
NO_JSON = [b"", b"{", b"\xff", b'{"a": 1}x', b"[" * 200_000, "{}".encode("utf-16")]


def repaired(name: str, form: Form, body: str) -> str:
    """The one body that the repair gives."""
    result = mend([name], form, body.encode(), CIRCUMSTANCES)
    assert not isinstance(result, CannotMend), result
    [mended] = result
    assert mended.form is form
    return mended.body.decode()


def why_not(result: Sequence[Mended] | Mended | CannotMend) -> str:
    assert isinstance(result, CannotMend), result
    return result.detail


def unmended(name: str, form: Form, body: str) -> str:
    return why_not(mend([name], form, body.encode(), CIRCUMSTANCES))


# Dropping empty IDs


@pytest.mark.parametrize(
    ("form", "body", "expected"),
    [
        (
            Form.EVENT,
            '{"customer_ids" : { "registered": "", "cookie":"u\\u0031" }, "n":1.50}',
            '{"customer_ids" : { "cookie":"u\\u0031" }, "n":1.50}',
        ),
        (
            Form.UPDATE,
            '{"customer_ids":{"cookie":"u1", "registered": null , "email":" \\n"}}',
            '{"customer_ids":{"cookie":"u1"}}',
        ),
        (
            Form.COMMAND,
            '\ufeff {"data":0,"command_id": 1.0,"data":{"customer_ids":{"email":"\u00a0","cookie":7}} }',
            '\ufeff {"data":0,"command_id": 1.0,"data":{"customer_ids":{"cookie":7}} }',
        ),
        (
            Form.EVENT,
            '{"customer_ids":{"registered":"old","cookie":"u1","registered":""}}',
            '{"customer_ids":{"cookie":"u1"}}',
        ),
        (
            Form.FLAT,
            '{"individualisation1":"c1", "individualization2":"","individualisation3":"", "note":""}',
            '{"individualisation1":"c1", "individualisation3":"", "note":""}',
        ),
        (
            Form.FLAT_ITEM,
            '{"customer_ids":{"cookie":null,"email":"a@b"},"individualisation1":""}',
            '{"customer_ids":{"email":"a@b"},"individualisation1":""}',
        ),
        (
            Form.FLAT,
            '[ {"individualisation1":"","individualisation2":"u1"} ,5, {"individualisation1":""} ]',
            '[ {"individualisation2":"u1"} ,5, {"individualisation1":""} ]',
        ),
        (
            Form.BATCH,
            '{"commands":[],"commands": [{"data":{"customer_ids":{"cookie":"","email":"e"}}}, 5 ],"x":1e2}',
            '{"commands":[],"commands": [{"data":{"customer_ids":{"email":"e"}}}, 5 ],"x":1e2}',
        ),
    ],
)
def test_empty_ids_are_cut_out_and_all_else_stays_as_sent(form: Form, body: str, expected: str) -> None:
    assert repaired("drop-empty-ids", form, body) == expected


@pytest.mark.parametrize(
    ("form", "body", "because"),
    [
        (Form.EVENT, '{"customer_ids":{"registered":"","cookie":null}}', "No usable customer ID"),
        (Form.EVENT, '{"customer_ids":{"registered":"","cookie":"{{ id }}"}}', "No usable customer ID"),
        (Form.EVENT, '{"customer_ids":{"registered":"c1"}}', "No customer ID is empty"),
        (Form.EVENT, '{"customer_ids":{}}', "No customer ID is empty"),
        (Form.EVENT, '{"customer_ids":[""]}', "no customer IDs to choose from"),
        (Form.EVENT, '{"individualisation1":"","individualisation2":"u"}', "no customer IDs to choose from"),
        (Form.FLAT, '{"individualisation1":"","individualisation3":"ref"}', "No usable customer ID"),
        (Form.FLAT, '{"individualisation1":"c","individualisation3":""}', "No customer ID is empty"),
        (Form.COMMAND, '{"data":[]}', "no event or update"),
        (Form.COMMAND, "null", "no event or update"),
        (Form.BATCH, '{"commands":{}}', "no event or update"),
        (Form.BATCH, "[]", "no event or update"),
    ],
)
def test_without_another_usable_id_none_is_dropped(form: Form, body: str, because: str) -> None:
    assert because in unmended("drop-empty-ids", form, body)


# Times


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("1760000000250", "1760000000.25"),
        ("1760000000000", "1760000000"),
        ("1760000000001.5", "1760000000.0015"),
        ("1.76E12", "1760000000"),
        ("17600000000.0e+2", "1760000000"),
        ("1760000000250." + "0" * 50 + "1", "1760000000.250" + "0" * 50 + "1"),
        ('"1760000000250"', '"1760000000.25"'),
        ('" 1760000000250.5\\t"', '"1760000000.2505"'),
    ],
)
def test_milliseconds_become_seconds_exactly(sent: str, expected: str) -> None:
    for form, body in [
        (Form.EVENT, '{"timestamp": @ , "update_timestamp":1760000000250}'),
        (Form.FLAT, '[{"n":-0, "timestamp":@}, {"timestamp":1.50}]'),
        (Form.UPDATE, '{"update_timestamp": @,"timestamp":1760000000250}'),
        (Form.COMMAND, '{"name":"customers","data":{"update_timestamp":@},"command_id":1760000000250}'),
        (Form.COMMAND, '{"name":"customers/events","data":{"timestamp":5, "timestamp":@}}'),
    ]:
        mended = repaired("milliseconds-to-seconds", form, body.replace("@", sent))

        assert mended == body.replace("@", expected)


@pytest.mark.parametrize(
    "sent", ["1760000000", "99999999999.9", "1e400", "NaN", "true", "null", '"2026-01-31"', '"1e12"']
)
def test_what_is_no_time_in_milliseconds_is_not_divided(sent: str) -> None:
    detail = unmended("milliseconds-to-seconds", Form.EVENT, f'{{"timestamp":{sent}}}')

    assert "no time in milliseconds" in detail


@pytest.mark.parametrize("sent", ["1760000000250000", "1e14", '"99999999999999.99999999"'])
def test_microseconds_are_left_to_a_patch(sent: str) -> None:
    assert "by a patch" in unmended("milliseconds-to-seconds", Form.EVENT, f'{{"timestamp":{sent}}}')


@pytest.mark.parametrize(
    ("form", "body", "expected"),
    [
        (Form.EVENT, '{"timestamp":"soon" , "n":1.0}', '{"timestamp":1760000000.25 , "n":1.0}'),
        (Form.EVENT, '{ "age": 5 }', '{"timestamp":1760000000.25  }'),
        (Form.EVENT, "{}", '{"timestamp":1760000000.25}'),
        (Form.EVENT, '{"age":1,"a":2,"age":3}', '{"timestamp":1760000000.25,"a":2}'),
        (Form.EVENT, '{"timestamp":0,"age":1}', '{"timestamp":1760000000.25}'),
        (
            Form.UPDATE,
            '{"age":1, "timestamp":0}',
            '{"update_timestamp":1760000000.25,"age":1, "timestamp":0}',
        ),
        (Form.UPDATE, '{"update_timestamp":[{}]}', '{"update_timestamp":1760000000.25}'),
        (
            Form.COMMAND,
            '{"command_id":"\\u0061", "data":{"timestamp":0}}',
            '{"command_id":"\\u0061", "data":{"timestamp":1760000000.25}}',
        ),
        (Form.FLAT_ITEM, '{"age":"x"}', '{"timestamp":1760000000.25}'),
    ],
)
def test_the_time_becomes_when_it_was_received(form: Form, body: str, expected: str) -> None:
    assert repaired("set-timestamp-from-received", form, body) == expected


def test_a_whole_second_has_no_fraction() -> None:
    result = mend(["set-timestamp-from-received"], Form.EVENT, b"{}", Circumstances(SENT * 1_000_000, RULES))

    assert result == [Mended(Form.EVENT, b'{"timestamp":1760000000}')]


# Splitting


@pytest.mark.parametrize(("count", "sizes"), [(51, [50, 1]), (100, [50, 50]), (400, [50] * 8)])
def test_a_batch_is_split_into_batches_within_the_limit(count: int, sizes: list[int]) -> None:
    commands = [f'{{"name" : "customers/events", "n": {n}.50, "t":"\\u00e4\u00e4"}}' for n in range(count)]
    body = ('\ufeff{"commands":[1],"commands" : [ ' + " ,\n".join(commands) + '], "x":1}').encode()

    result = mend(["split-batch"], Form.BATCH, body, CIRCUMSTANCES)

    assert not isinstance(result, CannotMend)
    parts = [as_sent(*mended) for mended in result]
    assert [len(part) for part in parts] == sizes
    assert [entry.decode() for part in parts for _, entry in part] == commands


@pytest.mark.parametrize(
    ("form", "body", "because"),
    [
        (Form.BATCH, batch(*[command(EVENT)] * 50), "no list of over 50 commands"),
        (Form.BATCH, b'{"commands":{}}', "no list of over 50 commands"),
        (Form.BATCH, b"[]", "no list of over 50 commands"),
        (Form.FLAT, dumped([FLAT] * 60), "Only a batch"),
        (Form.EVENT, dumped(EVENT), "Only a batch"),
    ],
)
def test_what_is_within_the_limit_is_not_split(form: Form, body: bytes, because: str) -> None:
    assert because in why_not(mend(["split-batch"], form, body, CIRCUMSTANCES))


# Several


def test_repairs_follow_one_another_and_pass_over_what_needs_none() -> None:
    bad = changed(EVENT, timestamp=SENT * 1000, customer_ids={"registered": "", "cookie": "u1"})
    body = batch(*[command(EVENT)] * 50, command(bad, command_id="late"))

    result = mend(
        ["split-batch", "drop-empty-ids", "milliseconds-to-seconds"], Form.BATCH, body, CIRCUMSTANCES
    )

    assert not isinstance(result, CannotMend)
    outcomes = [outcome for form, part in result for outcome in read(form, part, RULES, NOW)]
    assert [type(outcome) for outcome in outcomes] == [Event] * 51
    assert outcomes[-1].command_id == "late"


def test_where_no_repair_finds_anything_each_says_why() -> None:
    detail = why_not(mend(["split-batch", "drop-empty-ids"], Form.EVENT, dumped(EVENT), CIRCUMSTANCES))

    assert detail.count(".") == 2


def test_an_unknown_repair_is_told_without_quoting_it() -> None:
    detail = why_not(mend(["drop-empty-ids", MARK], Form.EVENT, dumped(EVENT), CIRCUMSTANCES))

    assert MARK not in detail
    assert "split-batch" in detail


def test_no_repairs_leave_a_body_as_it_is() -> None:
    assert mend([], Form.FLAT, b"{", CIRCUMSTANCES) == [Mended(Form.FLAT, b"{")]


@pytest.mark.parametrize("body", NO_JSON)
@pytest.mark.parametrize("form", Form)
def test_what_is_no_json_needs_a_replacement(form: Form, body: bytes) -> None:
    details = {why_not(mend([name], form, body, CIRCUMSTANCES)) for name in REPAIRS}

    assert {*details, why_not(patched(form, body, []))} == {
        "The body is not valid JSON; send a replacement body."
    }


# JSON Patch

EXACT = '{"a": 1.50, "big":123456789012345678901, "e":1E+2, "z":-0, "o":NaN, "t":"\\ud800ä", "a/b":[1.0]}'
EXACT_WRITTEN = EXACT.replace(", ", ",").replace(": ", ":")


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([], EXACT_WRITTEN),
        (
            [{"op": "replace", "path": "/a", "value": {"c": [2.5, None]}}],
            EXACT_WRITTEN.replace("1.50", '{"c":[2.5,null]}'),
        ),
        (
            [{"op": "move", "from": "/a", "path": "/a~1b/0"}],
            EXACT_WRITTEN[:1] + EXACT_WRITTEN[10:-5] + "1.50,1.0]}",
        ),
        ([{"op": "copy", "from": "/e", "path": "/f"}], EXACT_WRITTEN[:-1] + ',"f":1E+2}'),
        (
            [{"op": "test", "path": "/a", "value": 1.5}, {"op": "test", "path": "/z", "value": 0}],
            EXACT_WRITTEN,
        ),
        ([{"op": "replace", "path": "", "value": {"k": "\ud800"}}], '{"k":"\\ud800"}'),
    ],
)
@pytest.mark.parametrize(
    ("form", "frame"),
    [
        (Form.EVENT, "\ufeff @\n"),
        (Form.FLAT, "@"),
        (Form.COMMAND, '{"data":[], "command_id" : 1.0,"data" : @ , "name":"customers\\/events"}'),
    ],
)
def test_a_patch_changes_the_event_itself_and_keeps_numbers_as_sent(
    form: Form, frame: str, operations: list[Any], expected: str
) -> None:
    given_operations = json.dumps(operations)

    mended = patched(form, frame.replace("@", EXACT).encode(), operations)

    assert mended == Mended(form, frame.replace("@", expected).encode())
    assert json.dumps(operations) == given_operations


def test_a_patch_of_a_batch_acts_on_its_root() -> None:
    operations = [{"op": "move", "from": "/command", "path": "/commands"}]

    mended = patched(Form.BATCH, dumped({"command": [command(EVENT)]}), operations)

    assert isinstance(mended, Mended)
    assert [type(outcome) for outcome in read(*mended, RULES, NOW)] == [Event]


@pytest.mark.parametrize(
    ("operations", "because"),
    [
        (None, "no list of operations"),
        ({"op": "remove", "path": "/n"}, "no list of operations"),
        ("[]", "no list of operations"),
        ([{"op": "test", "path": "/n", "value": 1.5}, 5], "Operation 2 of 2 is none of"),
        ([{"op": "erase", "path": "/n"}], "Operation 1 of 1 is none of"),
        ([{"op": "add", "path": "/n"}], "Operation 1 of 1 is none of"),
        ([{"op": "add", "path": 1, "value": 1}], "Operation 1 of 1 is none of"),
        ([{"op": "copy", "path": "/x"}], "Operation 1 of 1 is none of"),
        ([{"op": "copy", "path": "/x", "from": 1}], "Operation 1 of 1 is none of"),
        ([{"op": "remove", "path": "/gone"}], "names a place that is not there"),
        ([{"op": "remove", "path": "n"}], "names a place that is not there"),
        ([{"op": "replace", "path": "/n/deep", "value": 1}], "names a place that is not there"),
        ([{"op": "copy", "path": "/x", "from": "/list/-"}], "names a place that is not there"),
        ([{"op": "add", "path": "/list/9", "value": 1}], "names a place that is not there"),
        ([{"op": "test", "path": "/n", "value": MARK}], "tests for a value that is not there"),
        ([{"op": "test", "path": "/gone", "value": None}], "tests for a value that is not there"),
        ([{"op": "replace", "path": "", "value": []}], "leaves no object"),
        ([{"op": "add", "path": "/n", "value": float("nan")}], "a number that is none"),
        ([{"op": "copy", "from": "", "path": f"/{n}"} for n in range(30)], "of 30 lets the body grow"),
        ([{"op": "copy", "from": "/list", "path": "/list/-"}] * 30, "of 30 lets the body grow"),
        ([{"op": "add", "path": "/n", "value": json.loads("[" * 600 + "]" * 600)}], "nested"),
        ([{"op": "copy", "from": "", "path": "/n" * depth} for depth in range(1, 600)], "nested"),
    ],
)
def test_a_patch_that_does_not_fit_is_told_by_the_number_of_its_operation(
    operations: object, because: str
) -> None:
    body = dumped({"n": 1.5, "list": [MARK, "x" * 50]})

    detail = why_not(patched(Form.EVENT, body, operations))

    assert because in detail
    assert MARK not in detail


@pytest.mark.parametrize("body", [b"null", b"[]", b'{"name":"customers/events"}'])
def test_a_command_without_data_cannot_be_patched(body: bytes) -> None:
    assert "no data" in why_not(patched(Form.COMMAND, body, []))


def test_what_was_no_object_may_become_one() -> None:
    operations = [{"op": "replace", "path": "", "value": EVENT}]

    mended = patched(Form.COMMAND, b'{"data":null,"name":"customers/events","command_id":7}', operations)

    assert isinstance(mended, Mended)
    [event] = read(*mended, RULES, NOW)
    assert isinstance(event, Event)
    assert event.command_id == 7


def test_a_patch_without_copies_has_no_limit_of_size() -> None:
    body = dumped({"a": "x" * MAX_PATCHED_BYTES, "b": 1})

    assert patched(Form.EVENT, body, [{"op": "remove", "path": "/a"}]) == Mended(Form.EVENT, b'{"b":1}')


# Whatever the bytes and the operations


def reasons(form: Form, body: bytes) -> list[Reason | None]:
    return [
        outcome.reason if isinstance(outcome, Rejection) else None for outcome in read(form, body, RULES, NOW)
    ]


@settings(max_examples=400, deadline=None)
@given(mutated_bodies(), st.sampled_from(sorted(REPAIRS)))
def test_a_repair_answers_and_changes_nothing_when_done_again(
    given_body: tuple[Form, bytes], name: str
) -> None:
    result = mend([name], *given_body, CIRCUMSTANCES)

    if isinstance(result, CannotMend):
        assert result.detail.endswith(".")
        return
    for mended in result:
        again = mend([name], *mended, CIRCUMSTANCES)
        assert isinstance(again, CannotMend) or again == [mended]


ids = st.dictionaries(
    st.sampled_from(["registered", "email", "cookie"]),
    st.sampled_from([None, "", " ", "c-1", 17]),
    max_size=3,
)
times = st.sampled_from([SENT, SENT * 1000, SENT * 1000 + 0.25, str(SENT * 1000), "soon", 5, LEFT_OUT])


@st.composite
def refused_commands(draw: st.DrawFn) -> tuple[Form, bytes]:
    """One event or update in any form, well but for its IDs and its time."""
    form = draw(st.sampled_from([Form.EVENT, Form.UPDATE, Form.COMMAND, Form.FLAT, Form.FLAT_ITEM]))
    indent = draw(st.sampled_from([None, 1]))
    is_update = form is Form.UPDATE or (form is Form.COMMAND and draw(st.booleans()))
    base, time = (UPDATE, "update_timestamp") if is_update else (EVENT, "timestamp")
    value = changed(base, customer_ids=draw(ids), age=draw(st.sampled_from([LEFT_OUT, 5])))
    value = changed(value, **{time: draw(times)})
    if form is Form.COMMAND:
        value = command(value, "customers" if is_update else "customers/events", command_id="\u00e4")
    elif form is not Form.EVENT and not is_update and draw(st.booleans()):
        sent = value.pop("customer_ids")
        value |= {"individualisation1": sent.get("registered"), "individualization2": sent.get("cookie")}
    return form, json.dumps(value, indent=indent).encode()


@settings(max_examples=400, deadline=None)
@given(refused_commands(), st.sampled_from(sorted(REPAIRS)))
def test_what_is_mended_is_no_longer_refused_for_that_reason(refused: tuple[Form, bytes], name: str) -> None:
    [before] = read(*refused, RULES, NOW)
    result = mend([name], *refused, CIRCUMSTANCES)

    if isinstance(result, CannotMend):
        assert reasons(*refused)[0] not in REASONS_OF[name] or "No usable customer ID" in result.detail
        return
    [mended] = result
    [after] = read(*mended, RULES, NOW)
    assert reasons(*mended)[0] not in REASONS_OF[name]
    assert after.command_id == before.command_id


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(set(REPAIRS) - {"split-batch"})), odd_json)
def test_the_neighbours_of_what_is_mended_stay_byte_for_byte(name: str, odd: object) -> None:
    bad = changed(EVENT, timestamp=SENT * 1000, customer_ids={"registered": "", "cookie": "u1"})
    neighbour = dumped({"name": "customers/none", "data": [odd], "n": 1})
    body = (
        b'{"commands": [ '
        + neighbour
        + b" ,\t"
        + dumped(command(bad))
        + b" , "
        + neighbour
        + b' ], "x": 1.0}'
    )

    result = mend([name], Form.BATCH, body, CIRCUMSTANCES)

    assert not isinstance(result, CannotMend)
    [mended] = result
    assert mended.body != body
    assert mended.body.startswith(b'{"commands": [ ' + neighbour + b" ,\t{")
    assert mended.body.endswith(b" , " + neighbour + b' ], "x": 1.0}')


@given(
    st.sampled_from(list(Form)),
    st.binary(max_size=60),
    st.lists(st.sampled_from(sorted(REPAIRS)), max_size=3),
)
def test_arbitrary_bytes_are_answered(form: Form, body: bytes, names: list[str]) -> None:
    result = mend(names, form, body, CIRCUMSTANCES)

    if isinstance(result, CannotMend):
        assert result.detail.endswith(".")
    elif not names:
        assert result == [Mended(form, body)]
    else:
        assert all(json.loads(mended.body) for mended in result)


pointers = st.sampled_from(
    [
        *["", "/", "/commands", "/commands/0/data", "/commands/-/a", "/customer_ids", "/timestamp"],
        *["/customer_ids/registered", "/properties/-", "/properties/status/0", "/0", "/-", "/01", "/~2", "x"],
    ]
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "append"]), "path": pointers},
    optional={"value": odd_json, "from": pointers},
)


@settings(max_examples=400, deadline=None)
@given(mutated_bodies(), st.lists(operations | odd_json, max_size=4) | odd_json)
@example((Form.EVENT, b'{"a":' * 499 + b"1" + b"}" * 499), [{"op": "copy", "from": "", "path": "/a"}])
@example((Form.EVENT, b"{}"), [{"op": "add", "path": "/\ud800", "value": "\0"}])
def test_a_patch_answers_with_json(given_body: tuple[Form, bytes], patch: object) -> None:
    result = patched(*given_body, patch)

    if isinstance(result, CannotMend):
        assert result.detail.endswith(".")
    else:
        json.loads(result.body.decode("utf-8-sig"), parse_int=float)


@settings(max_examples=200, deadline=None)
@given(mutated_bodies())
@example((Form.EVENT, b"[" * 499 + b'{"\\ud800":[-0,1e400,' + b"7" * 5000 + b"]}" + b"]" * 499))
def test_an_empty_patch_gives_an_equal_document(given_body: tuple[Form, bytes]) -> None:
    form, body = given_body
    result = patched(form, body, [])

    if isinstance(result, Mended):
        both = [
            json.loads(text.decode("utf-8-sig"), parse_int=str, parse_float=str, parse_constant=str)
            for text in (body, result.body)
        ]
        assert both[0] == both[1]
        assert reasons(form, body) == reasons(*result)
