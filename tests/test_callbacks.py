"""Reading callbacks: what is kept, what is refused and why, and what holds whatever the bytes."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.domain.callbacks import as_sent, read, refuse
from receiver.domain.commands import (
    Claim,
    CustomerUpdate,
    Event,
    ExternalId,
    Form,
    Outcome,
    Reason,
    Rejection,
    Rules,
    SystemTime,
)
from receiver.domain.json_text import encode

SAMPLES = Path(__file__).parent / "samples"
SECOND = 1_000_000
NOW = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()) * SECOND
SENT = 1_760_000_000
RULES = Rules(
    hard_ids=("registered", "email"),
    soft_ids=("cookie",),
    individualisations={1: "registered", 2: "cookie", 3: "campaign", 9: "mailing"},
)
DROP = Rules(empty_ids="drop")

EVENT: dict[str, Any] = {
    "customer_ids": {"registered": "c-1001", "cookie": "9b2f6c1e-0c1a-4a53-9a0e-0b7d1f0f9d11"},
    "event_type": "campaign",
    "timestamp": SENT,
    "properties": {"status": "delivered", "campaign_id": "64b0c0ffee0000000000abcd"},
}
UPDATE: dict[str, Any] = {
    "customer_ids": {"registered": "c-1001"},
    "properties": {"city": "Dresden", "size": 38.5},
    "update_timestamp": SENT,
}
FLAT: dict[str, Any] = {
    "individualisation1": "c-1001",
    "individualisation2": "9b2f6c1e-0c1a-4a53-9a0e-0b7d1f0f9d11",
    "timestamp": SENT,
    "status": "delivered",
    "campaign_id": "64b0c0ffee0000000000abcd",
}
LEFT_OUT = object()


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def changed(base: dict[str, Any], **fields: object) -> dict[str, Any]:
    """The same with other fields; LEFT_OUT leaves one out."""
    return {name: value for name, value in {**base, **fields}.items() if value is not LEFT_OUT}


def command(data: object, name: object = "customers/events", **fields: object) -> dict[str, Any]:
    return changed({"name": name, "data": data}, **fields)


def batch(*commands: object) -> bytes:
    return dumped({"commands": commands})


def read_all(form: Form, body: bytes, rules: Rules = RULES) -> list[Outcome]:
    """Read, and insist on what holds for each reading: a rejection can be read again."""
    outcomes = list(read(form, body, rules, NOW))
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            assert list(read(outcome.form, outcome.body, rules, NOW)) == [outcome]
    return outcomes


def read_one(form: Form, value: object, rules: Rules = RULES) -> Outcome:
    [outcome] = read_all(form, value if isinstance(value, bytes) else dumped(value), rules)
    return outcome


def kept(value: object, rules: Rules = RULES, form: Form = Form.EVENT) -> Event:
    outcome = read_one(form, value, rules)
    assert isinstance(outcome, Event), outcome
    return outcome


def kept_update(value: object) -> CustomerUpdate:
    outcome = read_one(Form.UPDATE, value)
    assert isinstance(outcome, CustomerUpdate), outcome
    return outcome


def refused(value: object, rules: Rules = RULES, form: Form = Form.EVENT) -> tuple[str, str]:
    """The reason and the pointer of the only outcome."""
    outcome = read_one(form, value, rules)
    assert isinstance(outcome, Rejection), outcome
    return outcome.reason, outcome.pointer


def raw(value: object, **tokens: str) -> bytes:
    """JSON with tokens that Python would not write, each in place of the text of its name."""
    body = dumped(value)
    for name, token in tokens.items():
        assert dumped(name) in body
        body = body.replace(dumped(name), token.encode())
    return body


# Bodies as received


def summary(outcome: Outcome) -> str:
    if isinstance(outcome, Rejection):
        return f"{outcome.reason} {outcome.pointer}".strip()
    return type(outcome).__name__


EXPECTED = {
    "batch_cut_off": (Form.BATCH, ["malformed_json"]),
    "batch_of_two_as_optilyz_will_likely_send_it": (Form.BATCH, ["Event", "Event"]),
    "batch_with_a_control_address": (
        Form.BATCH,
        ["empty_customer_id /customer_ids/cookie", "empty_customer_id /customer_ids/registered", "Event"],
    ),
    "batch_with_a_trailing_comma_of_a_template_loop": (Form.BATCH, ["malformed_json"]),
    "batch_with_broken_unicode": (
        Form.BATCH,
        [
            "unusable_customer_id /customer_ids/registered",
            "unstorable_text /properties/greeting/text",
            "unstorable_text /properties/a~1b\ufffd",
            "Event",
        ],
    ),
    "batch_with_names_sent_twice": (
        Form.BATCH,
        ["placeholder_customer_id /customer_ids/registered", "Event"],
    ),
    "batch_with_null_entries_of_a_go_client": (
        Form.BATCH,
        ["Event", "command_not_an_object", "command_not_an_object"],
    ),
    "batch_with_numbers_that_are_none": (
        Form.BATCH,
        [
            "wrong_type /properties/costs/print/1",
            "invalid_timestamp /timestamp",
            "unusable_customer_id /customer_ids/registered",
            "Event",
        ],
    ),
    "batch_with_system_time_of_an_old_client": (Form.BATCH, ["SystemTime", "CustomerUpdate"]),
    "event_in_latin_1": (Form.EVENT, ["malformed_json"]),
    "event_in_milliseconds_of_a_javascript_client": (
        Form.EVENT,
        ["timestamp_in_milliseconds /timestamp"],
    ),
    "event_of_an_android_client_with_an_age": (Form.EVENT, ["Event"]),
    "event_of_the_python_client_with_nulls": (Form.EVENT, ["Event"]),
    "event_with_a_byte_order_mark": (Form.EVENT, ["Event"]),
    "event_with_a_list_of_cookies_printed_as_text": (
        Form.EVENT,
        ["unusable_customer_id /customer_ids/cookie"],
    ),
    "event_with_a_time_without_zone": (Form.EVENT, ["Event"]),
    "event_with_an_unfilled_template": (Form.EVENT, ["placeholder_customer_id /customer_ids/registered"]),
    "flat_list_in_american_spelling": (Form.FLAT, ["Event", "empty_customer_id /individualization1"]),
    "flat_object_with_an_empty_cookie": (Form.FLAT, ["empty_customer_id /individualisation2"]),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("*.json")))
def test_a_body_as_received_has_one_outcome_for_each_command(name: str) -> None:
    form, expected = EXPECTED[name]

    outcomes = read_all(form, (SAMPLES / f"{name}.json").read_bytes())

    assert [summary(outcome) for outcome in outcomes] == expected


def test_the_likely_callback_is_read_whole() -> None:
    body = (SAMPLES / "batch_of_two_as_optilyz_will_likely_send_it.json").read_bytes()

    event, *_ = read(Form.BATCH, body, RULES, NOW)

    assert isinstance(event, Event)
    assert event._replace(claim=Claim(b"", b"", windowed=False)) == Event(
        ids=(
            ExternalId("registered", "c-1001"),
            ExternalId("cookie", "9b2f6c1e-0c1a-4a53-9a0e-0b7d1f0f9d11"),
        ),
        type="campaign",
        occurred_us=SENT * SECOND,
        properties='{"action_type":"direct mail","status":"delivered",'
        '"campaign_id":"64b0c0ffee0000000000abcd","campaign_name":"Winback","platform":"optilyz"}',
        campaign="64b0c0ffee0000000000abcd",
        status="delivered",
        stage="delivered",
        mailing=None,
        variation=None,
        claim=Claim(b"", b"", windowed=False),
        command_id="opt-1",
        dropped_ids=0,
    )


# Structure


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"nil", b"\xff", b'{"a": 1}x', '{"a": "ä"}'.encode("latin-1"), "{}".encode("utf-16")]
)
def test_what_is_no_json_is_refused_whole_in_its_form(form: Form, body: bytes) -> None:
    [outcome] = read_all(form, body)

    assert isinstance(outcome, Rejection)
    assert (outcome.reason, outcome.form, outcome.body) == (Reason.MALFORMED_JSON, form, body)


@pytest.mark.parametrize(
    ("form", "body", "reason", "pointer"),
    [
        (Form.BATCH, b"[]", "not_a_batch", ""),
        (Form.BATCH, b'{"commands": {}}', "not_a_batch", "/commands"),
        (Form.BATCH, b'{"commands": NaN}', "not_a_batch", "/commands"),
        (Form.BATCH, b"{}", "no_commands", "/commands"),
        (Form.BATCH, b'{"commands": null}', "no_commands", "/commands"),
        (Form.BATCH, b'{"commands": []}', "no_commands", "/commands"),
        (Form.BATCH, batch(*[command(EVENT)] * 51), "too_many_commands", "/commands"),
        (Form.FLAT, b"[]", "no_commands", ""),
        (Form.FLAT, b'"text"', "not_a_batch", ""),
        (Form.FLAT, b"1e400", "not_a_batch", ""),
        (Form.EVENT, b"[]", "command_not_an_object", ""),
        (Form.UPDATE, b"null", "command_not_an_object", ""),
        (Form.COMMAND, b"true", "command_not_an_object", ""),
        (Form.FLAT_ITEM, b"0", "command_not_an_object", ""),
    ],
)
def test_a_body_of_another_structure_is_refused_whole(
    form: Form, body: bytes, reason: str, pointer: str
) -> None:
    outcome = read_one(form, body)

    assert isinstance(outcome, Rejection)
    assert (outcome.reason, outcome.pointer, outcome.form) == (reason, pointer, form)
    assert outcome.claim.windowed, "what is no command has no time"


def test_fifty_commands_are_read_and_a_flat_list_has_no_limit() -> None:
    assert {type(o) for o in read_all(Form.BATCH, batch(*[command(EVENT)] * 50))} == {Event}
    assert len(read_all(Form.FLAT, dumped([FLAT] * 200))) == 200


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (None, "command_not_an_object"),
        (5, "command_not_an_object"),
        ([command(EVENT)], "command_not_an_object"),
        ({"data": EVENT}, "missing_field"),
        (command(EVENT, name=None), "missing_field"),
        (command(EVENT, name=["customers"]), "wrong_type"),
        (command(EVENT, name="customers/event"), "unknown_command"),
        ({"name": "customers/events"}, "missing_field"),
        (command(None), "missing_field"),
        (command([]), "wrong_type"),
        (command("{}", name="customers"), "wrong_type"),
    ],
)
def test_a_command_of_another_structure_is_refused_alone(sent: object, reason: str) -> None:
    outcomes = read_all(Form.BATCH, batch(command(EVENT), sent, command(UPDATE, name="customers")))

    assert [summary(outcome) for outcome in outcomes] == ["Event", reason, "CustomerUpdate"]


def test_a_flat_entry_that_is_no_object_is_refused_alone() -> None:
    outcomes = read_all(Form.FLAT, dumped([FLAT, None, [FLAT], FLAT]))

    assert [summary(o) for o in outcomes] == ["Event", *["command_not_an_object"] * 2, "Event"]
    assert [o.body for o in outcomes if isinstance(o, Rejection)] == [b"null", dumped([FLAT])]


@pytest.mark.parametrize(
    ("command_id", "echoed"),
    [
        ("opt-1", "opt-1"),
        (17, 17),
        (0, 0),
        ("", ""),
        (None, None),
        (True, None),
        (1.5, None),
        ([1], None),
        ("\udc00", None),
    ],
)
def test_a_command_id_is_echoed_where_it_is_text_or_a_whole_number(
    command_id: object, echoed: object
) -> None:
    outcomes = read_all(
        Form.BATCH,
        batch(
            command(EVENT, command_id=command_id),
            command(UPDATE, name="customers", command_id=command_id),
            command(LEFT_OUT, name="system/time", command_id=command_id),
            command(None, command_id=command_id),
        ),
    )

    assert [type(outcome) for outcome in outcomes] == [Event, CustomerUpdate, SystemTime, Rejection]
    assert [outcome.command_id for outcome in outcomes] == [echoed] * 4
    assert {type(outcome.command_id) for outcome in outcomes} == {type(echoed)}


def test_a_refused_command_keeps_its_exact_bytes() -> None:
    bad = (
        '{"name" : "customers/events",\t"data":{"customer_ids":{"registered":"ü\\u0020"},'
        '\n "event_type":1e2,"x":[{}]} }'
    )
    body = (
        '\ufeff {"a": [1, {"commands": 2}], "commands": [9], "commands" :\n[ '
        + json.dumps(command(EVENT))
        + f' ,{bad}\r\n, null ], "z": {{}}}}'
    ).encode()

    outcomes = read_all(Form.BATCH, body)

    assert [summary(o) for o in outcomes] == ["Event", "wrong_type /event_type", "command_not_an_object"]
    assert [o.body for o in outcomes if isinstance(o, Rejection)] == [bad.encode(), b"null"]


@pytest.mark.parametrize(
    ("form", "body", "expected"),
    [
        (Form.EVENT, b' {"a": 1} ', [(Form.EVENT, b' {"a": 1} ')]),
        (Form.FLAT, b' {"a": 1} ', [(Form.FLAT, b' {"a": 1} ')]),
        (Form.FLAT, b"[ 1,[2 ]]", [(Form.FLAT_ITEM, b"1"), (Form.FLAT_ITEM, b"[2 ]")]),
        (Form.BATCH, b'{"commands":[{}, 5 ]}', [(Form.COMMAND, b"{}"), (Form.COMMAND, b"5")]),
    ],
)
def test_each_command_of_a_body_can_be_had_as_sent(
    form: Form, body: bytes, expected: list[tuple[Form, bytes]]
) -> None:
    assert as_sent(form, body) == expected


@pytest.mark.parametrize(
    ("form", "value", "command_id"),
    [(Form.EVENT, EVENT, None), (Form.COMMAND, command(EVENT, command_id="a"), "a"), (Form.FLAT, FLAT, None)],
)
def test_a_command_that_reads_well_can_be_refused_for_another_reason(
    form: Form, value: object, command_id: object
) -> None:
    rejection = refuse(form, dumped(value), RULES, Reason.UNKNOWN_CUSTOMER, "/customer_ids", "Nobody.")

    assert (rejection.reason, rejection.pointer) == ("unknown_customer", "/customer_ids")
    assert (rejection.form, rejection.body, rejection.command_id) == (form, dumped(value), command_id)
    assert not rejection.claim.windowed, "the command carried a time"


# Customer IDs


@pytest.mark.parametrize(
    ("customer_ids", "reason", "pointer"),
    [
        (LEFT_OUT, "no_customer_ids", "/customer_ids"),
        (None, "no_customer_ids", "/customer_ids"),
        ({}, "no_customer_ids", "/customer_ids"),
        ([], "wrong_type", "/customer_ids"),
        ("c-1", "wrong_type", "/customer_ids"),
        ({"customer": "c-1"}, "unknown_id_type", "/customer_ids/customer"),
        ({"registered": "", "a/b~c": 1}, "unknown_id_type", "/customer_ids/a~1b~0c"),
        ({"\0\ud800": 1}, "unknown_id_type", "/customer_ids/\ufffd\ufffd"),
        ({"registered": ""}, "empty_customer_id", "/customer_ids/registered"),
        ({"registered": None, "cookie": "u1"}, "empty_customer_id", "/customer_ids/registered"),
        ({"registered": "c-1", "cookie": " \t\u00a0\n"}, "empty_customer_id", "/customer_ids/cookie"),
        ({"registered": "{{ customer.id }}"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"registered": "a}}"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"registered": "{% if a"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"registered": "${id}"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"registered": " NULL "}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"registered": "None"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"registered": "undefined"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"registered": "NaN"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"cookie": "--"}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": "\u200b"}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": "c" * 501}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": "c\0"}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": "c\ud800"}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": '["u1"]'}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": float("nan")}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": float("-inf")}, "unusable_customer_id", "/customer_ids/cookie"),
        ({"cookie": 10**500}, "unusable_customer_id", "/customer_ids/cookie"),
    ],
)
@pytest.mark.parametrize(("form", "base"), [(Form.EVENT, EVENT), (Form.UPDATE, UPDATE), (Form.FLAT, FLAT)])
def test_customer_ids_that_name_nobody_are_refused(
    form: Form, base: dict[str, Any], customer_ids: object, reason: str, pointer: str
) -> None:
    if form is Form.FLAT:
        base = changed(base, individualisation1=LEFT_OUT, individualisation2=LEFT_OUT)

    assert refused(changed(base, customer_ids=customer_ids), form=form) == (reason, pointer)


@pytest.mark.parametrize(
    ("value", "word"), [(["u1"], "a list"), ({"a": 1}, "an object"), (True, "true or false")]
)
def test_a_customer_id_of_another_type_is_refused_by_name(value: object, word: str) -> None:
    outcome = read_one(Form.EVENT, changed(EVENT, customer_ids={"cookie": value}))

    assert isinstance(outcome, Rejection)
    assert (outcome.reason, outcome.pointer) == ("unusable_customer_id", "/customer_ids/cookie")
    assert f"The customer ID cookie is {word};" in outcome.detail


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" c 1 ", "c 1"),
        (12, "12"),
        (-5, "-5"),
        (0, "0"),
        (12.0, "12"),
        (1.5, "1.5"),
        (1e22, "10000000000000000000000"),
        (2**80, str(2**80)),
        ("Ann@x.de", "Ann@x.de"),
        ("ü", "ü"),
        ("#1", "#1"),
        ("nullable", "nullable"),
        ("{c1}", "{c1}"),
        ("[c1", "[c1"),
        ("c" * 500, "c" * 500),
    ],
)
def test_a_customer_id_is_text_trimmed_or_the_digits_of_a_number(value: object, text: str) -> None:
    event = kept(changed(EVENT, customer_ids={"registered": value}))

    assert event.ids == (ExternalId("registered", text),)


def test_customer_ids_come_in_the_order_of_the_settings() -> None:
    event = kept(changed(EVENT, customer_ids={"cookie": "u1", "email": "e", "registered": "c"}))

    assert [each.kind for each in event.ids] == ["registered", "email", "cookie"]


def test_an_empty_id_beside_a_valid_one_is_left_out_where_the_settings_say_so() -> None:
    event = kept(changed(EVENT, customer_ids={"registered": None, "cookie": "u1"}), DROP)
    flat = kept(changed(FLAT, individualisation1=" "), DROP, Form.FLAT)

    assert (event.ids, event.dropped_ids) == ((ExternalId("cookie", "u1"),), 1)
    assert ([each.kind for each in flat.ids], flat.dropped_ids) == (["cookie"], 1)


@pytest.mark.parametrize(
    ("customer_ids", "reason", "pointer"),
    [
        ({"cookie": "", "registered": None}, "empty_customer_id", "/customer_ids/registered"),
        ({"cookie": "", "registered": "null"}, "placeholder_customer_id", "/customer_ids/registered"),
        ({"cookie": "u1", "registered": "-"}, "unusable_customer_id", "/customer_ids/registered"),
        ({"cookie": "u1", "other": ""}, "unknown_id_type", "/customer_ids/other"),
    ],
)
def test_where_empty_ids_are_left_out_the_rest_must_still_name_somebody(
    customer_ids: object, reason: str, pointer: str
) -> None:
    assert refused(changed(EVENT, customer_ids=customer_ids), DROP) == (reason, pointer)


# Event type


@pytest.mark.parametrize(
    ("event_type", "reason"),
    [
        (LEFT_OUT, "missing_event_type"),
        (None, "missing_event_type"),
        (" \n", "missing_event_type"),
        (5, "wrong_type"),
        (["campaign"], "wrong_type"),
        ("c" * 501, "wrong_type"),
        ("a\0", "unstorable_text"),
        ("a\ud800", "unstorable_text"),
    ],
)
def test_an_event_needs_a_type(event_type: object, reason: str) -> None:
    assert refused(changed(EVENT, event_type=event_type)) == (reason, "/event_type")


# Times


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        (1533495544.34, 1533495544.34),
        (1760000000, 1760000000),
        (1.76e9, 1760000000),
        ("1760000000", 1760000000),
        (" 1760000000.25 ", 1760000000.25),
        ("2025-10-09T08:53:20Z", 1760000000),
        ("2025-10-09t08:53:20.25z", 1760000000.25),
        ("2025-10-09T10:53:20+02:00", 1760000000),
        ("2025-10-09 08:53:20", 1760000000),
        ("2025-10-09", 1759968000),
        ("20251009", 1759968000),
        (946684800, 946684800),
        (NOW / SECOND + 86_400, NOW / SECOND + 86_400),
    ],
)
def test_a_time_is_unix_seconds_or_iso_8601_and_utc_unless_it_says_otherwise(
    sent: object, seconds: float
) -> None:
    assert kept(changed(EVENT, timestamp=sent)).occurred_us / SECOND == seconds
    assert kept_update(changed(UPDATE, update_timestamp=sent)).updated_us / SECOND == seconds


@given(st.integers(946_684_800 * SECOND, NOW))
def test_no_fraction_of_a_second_is_lost(time_us: int) -> None:
    assert kept(changed(EVENT, timestamp=time_us / SECOND)).occurred_us == time_us


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (True, "invalid_timestamp"),
        ([SENT], "invalid_timestamp"),
        ({}, "invalid_timestamp"),
        ("", "invalid_timestamp"),
        ("yesterday", "invalid_timestamp"),
        ("{{ now }}", "invalid_timestamp"),
        ("09.10.2025", "invalid_timestamp"),
        ("2025-02-30", "invalid_timestamp"),
        ("2025-10-09T08:53:20\ud800", "invalid_timestamp"),
        ("1" * 5000, "invalid_timestamp"),
        ("2025-10-09_08:53:20", "invalid_timestamp"),
        (float("nan"), "invalid_timestamp"),
        (float("inf"), "invalid_timestamp"),
        (float("-inf"), "invalid_timestamp"),
        (1e11, "timestamp_in_milliseconds"),
        (1760000000000, "timestamp_in_milliseconds"),
        ("1760000000000", "timestamp_in_milliseconds"),
        (10**400, "timestamp_in_milliseconds"),
        (946684799.999, "timestamp_out_of_range"),
        (0, "timestamp_out_of_range"),
        (-1e18, "timestamp_out_of_range"),
        (-(10**400), "timestamp_out_of_range"),
        ("0001-01-01T00:00:00+14:00", "timestamp_out_of_range"),
        ("9999-12-31T23:59:59-14:00", "timestamp_out_of_range"),
        (NOW / SECOND + 86_401, "timestamp_out_of_range"),
    ],
)
def test_a_time_that_cannot_be_is_refused(sent: object, reason: str) -> None:
    assert refused(changed(EVENT, timestamp=sent)) == (reason, "/timestamp")
    assert refused(changed(UPDATE, update_timestamp=sent), form=Form.UPDATE) == (reason, "/update_timestamp")
    assert refused(changed(FLAT, timestamp=sent), form=Form.FLAT) == (reason, "/timestamp")


@pytest.mark.parametrize(("age", "ago_us"), [(0, 0), (0.12, 120_000), (3600, 3_600 * SECOND), (None, 0)])
def test_without_a_time_an_event_is_as_old_as_its_age_says(age: object, ago_us: int) -> None:
    assert kept(changed(EVENT, timestamp=None, age=age)).occurred_us == NOW - ago_us


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (-1, "invalid_timestamp"),
        ("5", "invalid_timestamp"),
        (True, "invalid_timestamp"),
        (float("nan"), "invalid_timestamp"),
        (float("inf"), "invalid_timestamp"),
        (1e9, "timestamp_out_of_range"),
        (10**400, "timestamp_out_of_range"),
    ],
)
def test_an_age_that_cannot_be_is_refused(age: object, reason: str) -> None:
    assert refused(changed(EVENT, timestamp=LEFT_OUT, age=age)) == (reason, "/age")


def test_a_time_goes_before_an_age() -> None:
    assert kept(changed(EVENT, age="old")).occurred_us == SENT * SECOND


def test_an_update_without_a_time_holds_from_now() -> None:
    assert kept_update(changed(UPDATE, update_timestamp=None)).updated_us == NOW


# Properties


@pytest.mark.parametrize("properties", [LEFT_OUT, None, {}])
def test_an_event_needs_no_properties(properties: object) -> None:
    event = kept(changed(EVENT, properties=properties))

    assert (event.properties, event.campaign, event.status, event.stage) == ("{}", None, None, None)


def test_properties_are_kept_in_the_sender_s_order() -> None:
    sent = '{"b":{"z":[1,2.5,null],"a":"Köln 😀"},"a":true,"big":1208925819614629174706176}'

    assert kept(raw(changed(EVENT, properties="P"), P=sent)).properties == sent


@pytest.mark.parametrize("properties", [[], "text", True, 0])
def test_properties_that_are_no_object_are_refused(properties: object) -> None:
    for form, base in ((Form.EVENT, EVENT), (Form.UPDATE, UPDATE)):
        assert refused(changed(base, properties=properties), form=form) == ("wrong_type", "/properties")


@pytest.mark.parametrize("properties", [LEFT_OUT, None, {}])
def test_an_update_needs_properties(properties: object) -> None:
    sent = changed(UPDATE, properties=properties)

    assert refused(sent, form=Form.UPDATE) == ("missing_field", "/properties")


@pytest.mark.parametrize(
    ("properties", "reason", "pointer"),
    [
        ({"a": 1, "b": float("nan")}, "wrong_type", "/b"),
        ({"a": {"b/c": [1, {"~": float("inf")}]}, "b": float("nan")}, "wrong_type", "/a/b~1c/1/~0"),
        ({"a": {"x": 1, "y": float("nan"), "z": float("nan")}}, "wrong_type", "/a/y"),
        ({"a": [1, float("nan"), float("nan")]}, "wrong_type", "/a/1"),
        ({"a": "\0"}, "unstorable_text", "/a"),
        ({"a": ["\\u0000", {"b": "x\ud800"}]}, "unstorable_text", "/a/1/b"),
        ({"a": {"b\0": 1}}, "unstorable_text", "/a/b\ufffd"),
        ({"\udfff": 1}, "unstorable_text", "/\ufffd"),
        ({"a": "x" * 16384, "b": "x" * 16385}, "property_too_large", "/b"),
        ({"a": "ä" * 8193}, "property_too_large", "/a"),
        ({"a": ["x" * 16381]}, "property_too_large", "/a"),
    ],
)
def test_a_property_that_cannot_be_kept_is_refused(
    properties: dict[str, object], reason: str, pointer: str
) -> None:
    assert refused(changed(EVENT, properties=properties)) == (reason, f"/properties{pointer}")
    assert refused(changed(UPDATE, properties=properties), form=Form.UPDATE) == (
        reason,
        f"/properties{pointer}",
    )
    assert refused({**FLAT, **properties}, form=Form.FLAT) == (reason, pointer)


@pytest.mark.parametrize("value", ["x" * 16384, "ä" * 8192, ["x" * 16380], "\\u0000", '"' * 16384])
def test_a_property_of_16_kib_is_kept(value: object) -> None:
    assert json.loads(kept(changed(EVENT, properties={"a": value})).properties) == {"a": value}


def test_a_property_is_measured_as_we_write_it_wherever_it_stands() -> None:
    # Each number is written longer than it was sent, so that the property is larger than its body.
    body = raw(changed(EVENT, properties={"a": "P"}), P=f"[{','.join(['1e15'] * 1000)}]")

    assert len(body) < 16384
    assert refused(body) == ("property_too_large", "/properties/a")


def test_the_name_of_a_customer_s_property_has_a_limit() -> None:
    for length, reason in ((500, None), (501, "property_too_large")):
        outcome = read_one(Form.UPDATE, changed(UPDATE, properties={"n" * length: 1}))
        assert getattr(outcome, "reason", None) == reason


def test_an_update_keeps_each_value_as_json() -> None:
    update = kept_update(changed(UPDATE, properties={"b": "Köln", "a": [1, None], "c": None}))

    assert list(update.properties.items()) == [("b", '"Köln"'), ("a", "[1,null]"), ("c", "null")]


@pytest.mark.parametrize(("form", "base"), [(Form.EVENT, EVENT), (Form.UPDATE, UPDATE), (Form.FLAT, FLAT)])
def test_an_event_or_update_of_more_than_800_000_bytes_is_refused(form: Form, base: dict[str, Any]) -> None:
    properties = {f"p{number}": "x" * 16000 for number in range(49)}
    sent = {**base, **properties} if form is Form.FLAT else changed(base, properties=properties)
    room = 800_000 - len(dumped({**sent, "filled": ""}))

    just = read_one(form, {**sent, "filled": "x" * room})
    over = read_one(form, {**sent, "filled": "x" * (room + 1)})

    assert not isinstance(just, Rejection)
    assert summary(over) == "event_too_large"


def test_a_large_command_is_refused_alone_and_by_the_size_of_its_event_only() -> None:
    large = changed(EVENT, ignored="x" * (800_000 - len(dumped({**EVENT, "ignored": ""}))))
    too_large = changed(large, ignored=large["ignored"] + "x")
    sent = [
        command(EVENT),
        command(too_large),
        command(large),
        command(LEFT_OUT, name="system/time", command_id="x" * 900_000),
    ]

    outcomes = read_all(Form.BATCH, batch(*sent))

    assert [summary(o) for o in outcomes] == ["Event", "event_too_large", "Event", "SystemTime"]


def test_a_large_flat_entry_is_refused_alone() -> None:
    large = {**FLAT, **{f"p{number}": "x" * 16000 for number in range(50)}}

    outcomes = read_all(Form.FLAT, dumped([FLAT, large, FLAT]))

    assert [summary(o) for o in outcomes] == ["Event", "event_too_large", "Event"]


# Campaign, status, stage


@pytest.mark.parametrize(
    ("properties", "campaign"),
    [
        ({"campaign_reference": "r", "campaign_id": "i"}, "i"),
        ({"campaign_id": "", "campaign_reference": " r "}, "r"),
        ({"campaign_id": None, "campaign_reference": True, "scenario_id": 12.0}, "12"),
        ({"campaign_id": "c" * 501, "scenario_id": "s"}, "s"),
        ({"campaign_id": ["c"], "scenario_id": {}}, None),
        ({"campaign": "c"}, None),
    ],
)
def test_the_first_campaign_reference_that_is_not_empty_wins(
    properties: object, campaign: str | None
) -> None:
    assert kept(changed(EVENT, properties=properties)).campaign == campaign


@pytest.mark.parametrize(
    ("properties", "status", "stage"),
    [
        ({"state": "sent", "status": " Delivered "}, "Delivered", "delivered"),
        ({"status": " ", "state": "live"}, "live", "unknown"),
        ({"status": "s" * 201, "state": 7}, "7", "unknown"),
        ({"status": None}, None, None),
    ],
)
def test_the_first_status_that_is_not_empty_wins_and_has_a_stage(
    properties: object, status: str | None, stage: str | None
) -> None:
    event = kept(changed(EVENT, properties=properties))

    assert (event.status, event.stage) == (status, stage)


def test_an_operator_s_words_lead_to_stages() -> None:
    event = kept(
        changed(EVENT, properties={"status": "Im Druck"}), Rules(stage_words={"im druck": "printing"})
    )

    assert event.stage == "printing"


# The flat form


@pytest.mark.parametrize("spelling", ["individualisation", "individualization"])
def test_individualisations_become_ids_campaign_and_mailing(spelling: str) -> None:
    event = kept(
        {
            f"{spelling}2": "u1",
            f"{spelling}1": 1001,
            f"{spelling}3": "ref",
            f"{spelling}9": "m-1",
            f"{spelling}4": "SAVE10",
            f"{spelling}01": "x",
            "campaign_id": "other",
            "age": 5,
        },
        form=Form.FLAT,
    )

    assert event.ids == (ExternalId("registered", "1001"), ExternalId("cookie", "u1"))
    assert event.type == "campaign"
    assert event.campaign == "ref"
    assert event.occurred_us == NOW - 5 * SECOND
    assert json.loads(event.properties) == {
        "campaign_reference": "ref",
        "mailing_id": "m-1",
        f"{spelling}4": "SAVE10",
        f"{spelling}01": "x",
        "campaign_id": "other",
    }


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_an_empty_campaign_individualisation_is_absent(empty: object) -> None:
    event = kept({**FLAT, "individualisation3": empty, "individualisation9": empty}, form=Form.FLAT)

    assert event == kept(FLAT, form=Form.FLAT)


def test_a_property_named_like_ours_is_kept_beside_the_individualisation() -> None:
    event = kept({**FLAT, "individualisation3": "ref", "campaign_reference": "own"}, form=Form.FLAT)

    assert event.campaign == "ref"
    assert json.loads(event.properties) == {
        "status": "delivered",
        "campaign_id": "64b0c0ffee0000000000abcd",
        "individualisation3": "ref",
        "campaign_reference": "own",
    }


@pytest.mark.parametrize("unusable", [["ref"], "r" * 501, True])
def test_a_campaign_individualisation_that_is_no_reference_stays_a_property(unusable: object) -> None:
    event = kept({**FLAT, "individualisation3": unusable}, form=Form.FLAT)

    assert event.campaign == "64b0c0ffee0000000000abcd"
    assert json.loads(event.properties)["campaign_reference"] == unusable


def test_customer_ids_stand_instead_of_individualisations() -> None:
    event = kept({**FLAT, "individualisation1": "", "customer_ids": {"email": "e"}}, form=Form.FLAT)

    assert event.ids == (ExternalId("email", "e"),)
    assert "individualisation" not in event.properties


@pytest.mark.parametrize(
    ("fields", "reason", "pointer"),
    [
        ({"individualisation1": None}, "empty_customer_id", "/individualisation1"),
        ({"individualisation1": ["a"]}, "unusable_customer_id", "/individualisation1"),
        ({"individualization1": "{{ x }}"}, "placeholder_customer_id", "/individualization1"),
        ({"customer_ids": {}}, "no_customer_ids", "/customer_ids"),
        ({"event_type": ""}, "missing_event_type", "/event_type"),
        ({"individualisation3": "\0"}, "unstorable_text", "/individualisation3"),
        ({"individualisation9": ["x" * 16384]}, "property_too_large", "/individualisation9"),
        ({"a/b": float("nan")}, "wrong_type", "/a~1b"),
    ],
)
def test_a_pointer_into_the_flat_form_leads_to_the_key_as_spelled(
    fields: dict[str, object], reason: str, pointer: str
) -> None:
    if "individualization1" in fields:
        fields = {**fields, "individualisation1": LEFT_OUT}

    assert refused(changed(FLAT, **fields), form=Form.FLAT) == (reason, pointer)


def test_a_flat_object_without_any_id_is_refused() -> None:
    assert refused({"status": "sent"}, form=Form.FLAT) == ("no_customer_ids", "/customer_ids")


# The first violation counts


def test_the_first_violation_is_the_one_that_counts() -> None:
    fields = ["customer_ids", "event_type", "timestamp", "properties"]
    mended: dict[str, Any] = {
        "customer_ids": {"registered": ""},
        "event_type": "",
        "timestamp": "",
        "properties": {"a": "\0"},
        "filled": "x" * 800_000,
    }
    reasons = []
    for field in fields:
        reasons.append(refused(mended)[0])
        mended[field] = EVENT[field]
    reasons.append(refused(mended)[0])

    assert reasons == [
        "empty_customer_id",
        "missing_event_type",
        "invalid_timestamp",
        "unstorable_text",
        "event_too_large",
    ]


# Claims


def claim_of(value: object, form: Form = Form.EVENT) -> Claim:
    outcome = read_one(form, value)
    assert not isinstance(outcome, SystemTime)
    return outcome.claim


def shuffled(value: object, chance: random.Random) -> object:
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: shuffled(value[name], chance) for name in names}
    if isinstance(value, list):
        return [shuffled(entry, chance) for entry in value]
    return value


names = st.text("abcü\U0001f600", min_size=1, max_size=3)
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
properties_of_events = st.dictionaries(names, plain_json, max_size=4)


@given(properties_of_events, st.randoms(use_true_random=False), st.sampled_from([None, 0, 2, "\t"]))
def test_order_of_keys_and_spacing_do_not_change_a_claim(
    properties: dict[str, Any], chance: random.Random, indent: int | str | None
) -> None:
    event = changed(EVENT, properties=properties, customer_ids={"registered": "c1", "cookie": "u1"})
    same = changed(event, customer_ids={"cookie": " u1", "registered": "c1\n"})

    again = json.dumps(shuffled(same, chance), indent=indent, ensure_ascii=False).encode()

    assert claim_of(again) == claim_of(event)


@given(properties_of_events, st.sampled_from([None, SENT, SENT + 0.25]))
def test_the_same_event_has_the_same_claim_in_each_form(properties: dict[str, Any], sent: object) -> None:
    event = changed(EVENT, properties=properties, timestamp=sent)
    flat = {**properties, "customer_ids": event["customer_ids"], "timestamp": sent}
    individualised = {
        **properties,
        "individualisation1": event["customer_ids"]["registered"],
        "individualisation2": event["customer_ids"]["cookie"],
        "timestamp": sent,
    }

    [of_command] = read_all(Form.BATCH, batch(command(event, command_id="any")))

    assert isinstance(of_command, Event)
    assert {claim_of(event), claim_of(flat, Form.FLAT), claim_of(individualised, Form.FLAT)} == {
        of_command.claim
    }
    assert of_command.claim.windowed == (sent is None)


def test_the_same_time_written_otherwise_is_the_same_claim() -> None:
    spellings = [SENT, float(SENT), str(SENT), "2025-10-09T08:53:20Z", "2025-10-09T10:53:20+02:00"]

    assert len({claim_of(changed(EVENT, timestamp=sent)) for sent in spellings}) == 1


def test_whatever_differs_changes_a_claim() -> None:
    different: list[dict[str, Any]] = [
        EVENT,
        changed(EVENT, event_type="campaig"),
        changed(EVENT, customer_ids={"registered": "c-1001"}),
        changed(EVENT, customer_ids={"cookie": "c-1001"}),
        changed(
            EVENT, customer_ids={"registered": "c-1001", "email": "9b2f6c1e-0c1a-4a53-9a0e-0b7d1f0f9d11"}
        ),
        changed(EVENT, timestamp=SENT + 0.000001),
        changed(EVENT, timestamp=None),
        changed(EVENT, properties={}),
        changed(EVENT, properties={"a": 1}),
        changed(EVENT, properties={"a": "1"}),
        changed(EVENT, properties={"a": [1, 2]}),
        changed(EVENT, properties={"a": [2, 1]}),
        changed(EVENT, properties={"a": None}),
        changed(EVENT, event_type='campaign",null,{}'),
        changed(EVENT, event_type="customers"),
    ]
    claims = {claim_of(event) for event in different}
    updates = {claim_of(changed(UPDATE, update_timestamp=sent), Form.UPDATE) for sent in (SENT, None)}

    assert len(claims | updates) == len(different) + 2


def test_a_claim_begins_with_the_milliseconds_of_the_time_as_sent() -> None:
    timed = claim_of(changed(EVENT, timestamp=SENT + 0.0259))
    updated = claim_of(changed(UPDATE, update_timestamp=SENT), Form.UPDATE)

    assert (int.from_bytes(timed.key[:6]), len(timed.key)) == (SENT * 1000 + 25, 22)
    assert (int.from_bytes(updated.key[:6]), len(updated.key)) == (SENT * 1000, 22)
    assert not timed.windowed
    assert not updated.windowed
    assert timed.content == updated.content == b""


def test_without_a_time_a_claim_begins_with_zeros_and_fades() -> None:
    now = claim_of(changed(EVENT, timestamp=None))
    older = claim_of(changed(EVENT, timestamp=None, age=3600))

    assert (now.key[:6], len(now.key), now.windowed) == (bytes(6), 22, True)
    assert older == now, "an age changes with each try and is no part of the claim"


def test_updates_without_a_time_share_a_key_and_differ_by_content() -> None:
    first, other = (
        claim_of(changed(UPDATE, update_timestamp=None, properties=properties), Form.UPDATE)
        for properties in ({"a": 1, "b": 2}, {"a": 2})
    )
    again = claim_of(changed(UPDATE, update_timestamp=None, properties={"b": 2, "a": 1}), Form.UPDATE)
    nobody = claim_of(changed(UPDATE, update_timestamp=None, customer_ids={"registered": "c-2"}), Form.UPDATE)

    assert first == again
    assert first.key == other.key
    assert first.content != other.content
    assert nobody.key != first.key
    assert (first.key[:6], first.windowed) == (bytes(6), True)


def test_only_identical_rejections_share_a_claim() -> None:
    bodies = [b"5", b"6", b"5 ", b"{", b"[", dumped(changed(EVENT, customer_ids={}))]

    assert len({claim_of(body) for body in bodies}) == len(bodies)
    assert claim_of(b"5", Form.COMMAND) != claim_of(b"5")


@pytest.mark.parametrize(
    ("sent", "has_time"),
    [
        (SENT, True),
        (SENT * 1000, True),
        (-1e18, True),
        ("2025-10-09", True),
        (None, False),
        ("", False),
        (True, False),
        (float("nan"), False),
        ("1" * 30, False),
    ],
)
def test_the_claim_of_a_rejection_fades_unless_the_command_carried_a_time(
    sent: object, has_time: bool
) -> None:
    nobody: dict[str, object] = {"customer_ids": {}}
    claims = [
        claim_of(changed(EVENT, timestamp=sent, **nobody)),
        claim_of(changed(UPDATE, update_timestamp=sent, **nobody), Form.UPDATE),
        claim_of(command(changed(EVENT, timestamp=sent, **nobody)), Form.COMMAND),
        claim_of({"timestamp": sent}, Form.FLAT),
        claim_of({"timestamp": sent}, Form.FLAT_ITEM),
    ]

    assert [claim.windowed for claim in claims] == [not has_time] * 5
    assert {claim.key[:6] for claim in claims} == {bytes(6)}
    assert len(set(claims)) == 5


# Whatever the bytes

ODD_TEXTS = [
    "",
    " ",
    "null",
    "{{ a }}",
    "\0",
    "\ud800",
    "\udc00x",
    "a/~",
    "['a']",
    "é\U0001f600",
    "9" * 501,
    "2025-10-09",
]
ODD_TOKENS = {
    "@nan": "NaN",
    "@inf": "-Infinity",
    "@1e400": "1e400",
    "@-1e18": "-1e18",
    "@digits": "7" * 5000,
    "@twice": '{"a":1,"a":"\\u0000","customer_ids":{},"customer_ids":1}',
    "@deep": "[" * 60 + "]" * 60,
}
odd_text = st.sampled_from([*ODD_TEXTS, *ODD_TOKENS]) | st.text(max_size=5)
odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | odd_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(odd_text, inner, max_size=4),
    max_leaves=10,
)


def with_odd_tokens(value: object) -> bytes:
    body = json.dumps(value)
    for name, token in ODD_TOKENS.items():
        # As a value only: the name of a member must stay text.
        body = body.replace(f'"{name}"', token).replace(f"{token}: ", f'"{name}": ')
    return body.encode()


def paths(value: object) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *[(key, *path) for key, inner in below for path in paths(inner)]]


def put(value: Any, path: tuple[Any, ...], odd: object) -> Any:
    if not path:
        return odd
    key, *rest = path
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = put(value[key], tuple(rest), odd)
    return copy


BODIES: dict[Form, Any] = {
    Form.EVENT: EVENT,
    Form.UPDATE: UPDATE,
    Form.BATCH: {"commands": [command(EVENT, command_id="a"), command(UPDATE, name="customers")]},
    Form.COMMAND: command(EVENT, command_id=1),
    Form.FLAT: [FLAT, {**FLAT, "individualisation3": "ref"}],
    Form.FLAT_ITEM: FLAT,
}


@st.composite
def mutated_bodies(draw: st.DrawFn) -> tuple[Form, bytes]:
    """A good body with odd values in a few of its places, and now and then with its bytes cut and pasted."""
    form = draw(st.sampled_from(list(Form)))
    value = BODIES[form]
    for _ in range(draw(st.integers(0, 2))):
        value = put(value, draw(st.sampled_from(paths(value))), draw(odd_json))
    body = with_odd_tokens(value)
    if draw(st.integers(0, 3)) == 0:
        begin = draw(st.integers(0, len(body)))
        end = draw(st.integers(begin, min(len(body), begin + 20)))
        body = body[:begin] + draw(st.binary(max_size=6)) + body[end:]
    return form, body


def assert_kept_can_be_stored(outcome: Event | CustomerUpdate) -> None:
    ids = [text for each in outcome.ids for text in each]
    if isinstance(outcome, Event):
        values = [outcome.properties]
        texts = [*ids, outcome.type, outcome.campaign or "", outcome.status or "", outcome.properties]
    else:
        values = list(outcome.properties.values())
        texts = [*ids, *outcome.properties, *values]
    assert ids
    assert all(ids)
    for text in texts:
        assert "\0" not in text.encode().decode()
    for text in values:
        assert encode(json.loads(text)) == text


@settings(max_examples=600)
@given(mutated_bodies(), st.sampled_from([RULES, DROP]))
@example((Form.BATCH, b"[" * 200_000), RULES)
@example((Form.EVENT, b'{"a":' * 200_000), RULES)
@example((Form.FLAT, b"[" * 499 + b"{}" + b"]" * 499), RULES)
@example((Form.FLAT, b"7" * 10_000_000), RULES)
@example((Form.EVENT, raw(changed(EVENT, properties={"a": "@"}), **{"@": "7" * 4300})), RULES)
@example(
    (Form.COMMAND, raw(command(changed(EVENT, properties={"a": "@"})), **{"@": "-" + "7" * 5000})), RULES
)
@example((Form.EVENT, b'{"customer_ids":{"registered":' + b"7" * 10_000_000 + b"}}"), RULES)
def test_whatever_the_bytes_reading_answers(given_body: tuple[Form, bytes], rules: Rules) -> None:
    form, body = given_body

    outcomes = read_all(form, body, rules)

    assert outcomes
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            assert outcome.body in body
            assert outcome.form is form or (form, outcome.form) in {
                (Form.BATCH, Form.COMMAND),
                (Form.FLAT, Form.FLAT_ITEM),
            }
            assert outcome.pointer.encode().count(b"\0") == 0
        elif not isinstance(outcome, SystemTime):
            assert_kept_can_be_stored(outcome)


@given(st.sampled_from(list(Form)), st.binary(max_size=60))
def test_arbitrary_bytes_are_answered(form: Form, body: bytes) -> None:
    assert len(read_all(form, body)) == 1


@settings(max_examples=300)
@given(odd_json)
@example({"name": "customers/events", "data": {**EVENT, "timestamp": "@digits"}})
@example({"name": "customers/events", "data": {**EVENT, "properties": {"a": "@digits"}}})
@example({"name": "customers/events", "data": {**EVENT, "customer_ids": {"registered": "@digits"}}})
def test_a_bad_command_leaves_its_neighbours_alone(odd: object) -> None:
    before, after = command(EVENT, command_id="a"), command(UPDATE, name="customers", command_id="b")
    alone = read_all(Form.BATCH, batch(before, after))

    first, second, third = read_all(Form.BATCH, with_odd_tokens({"commands": [before, odd, after]}))

    assert isinstance(second, Rejection)
    assert [first, third] == alone
    assert second.body == with_odd_tokens(odd)


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("timestamp", "invalid_timestamp /timestamp"),
        ("customer_ids", "unusable_customer_id /customer_ids/registered"),
        ("properties", "wrong_type /properties/registered"),
    ],
)
def test_a_number_of_thousands_of_digits_costs_its_own_command_only(field: str, reason: str) -> None:
    value = "@" if field == "timestamp" else {"registered": "@"}
    body = raw(
        {"commands": [command(EVENT), command(changed(EVENT, **{field: value})), command(EVENT)]},
        **{"@": "7" * 5000},
    )

    assert [summary(o) for o in read_all(Form.BATCH, body)] == ["Event", reason, "Event"]


@pytest.mark.parametrize("depth", [500, 501])
def test_how_deep_brackets_may_be_nested_does_not_depend_on_the_parser(depth: int) -> None:
    text = '\\" ]]]' * 10
    deep = "[" * (depth - 2) + "]" * (depth - 2)
    body = raw(changed(EVENT, properties={"a": "@deep"}), **{"@deep": deep})
    body = body.replace(b'"campaign"', f'"{text}"'.encode())

    assert summary(read_one(Form.EVENT, body)) == ("Event" if depth == 500 else "malformed_json")


MARK = "qzxw"


def marked(value: object) -> object:
    """The same with a mark in each text, and in each name that is no field."""
    if isinstance(value, str):
        return f"{value}{MARK}"
    if isinstance(value, dict):
        return {
            f"{name}{MARK}" if name in ODD_TEXTS else name: marked(inner) for name, inner in value.items()
        }
    return [marked(entry) for entry in value] if isinstance(value, list) else value


def assert_no_sentence_quotes(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            assert MARK not in outcome.detail
            assert outcome.detail.endswith(".")


@settings(max_examples=200)
@given(st.sampled_from(list(Form)), st.data())
def test_no_sentence_quotes_what_was_sent(form: Form, data: st.DataObject) -> None:
    value = BODIES[form]
    place = data.draw(st.sampled_from(paths(value)))
    odd = data.draw(odd_json | st.dictionaries(st.sampled_from(ODD_TEXTS), odd_json, min_size=1))

    assert_no_sentence_quotes(read_all(form, dumped(put(value, place, marked(odd)))))


@pytest.mark.parametrize("form", Form)
def test_no_sentence_quotes_an_odd_text_wherever_it_stands(form: Form) -> None:
    for place in paths(BODIES[form]):
        for odd in (f"{text[:1]}{MARK}{text[1:]}" for text in ODD_TEXTS):
            for value in (odd, [odd], {odd: odd}):
                assert_no_sentence_quotes(read_all(form, dumped(put(BODIES[form], place, value))))
