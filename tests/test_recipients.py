"""Recipients: who may get a letter, what is wrong with the others, and what must hold whatever is sent."""

import json
import math
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.domain.commands import Reason
from receiver.domain.fields import MAX_PROPERTY_BYTES, MAX_TEXT, is_storable, properties_text
from receiver.domain.json_text import encode
from receiver.domain.recipients import (
    FIELDS,
    Code,
    Recipient,
    Violation,
    address_key,
    carried,
    carry,
    individualisation,
    read_recipient,
)

PLACE = {"zipCode": "01067", "city": "Dresden"}
HOME = {"street": "Hauptstr.", "houseNumber": "1a", **PLACE}
ADA = {"firstName": "Ada", "lastName": "Beispiel", **HOME}
FIRST_NAME = ("excluded_field", "firstName")
LAST_NAME = ("excluded_field", "lastName")
STREET = ("excluded_field", "street")
HOUSE_NUMBER = ("excluded_field", "houseNumber")
NO_NAME = ("missing_name", "lastName")
NO_STREET = ("missing_street", "street")
NO_ZIP_CODE = ("missing_field", "zipCode")
NO_CITY = ("missing_field", "city")
TAKEN = "individualisation_taken"


def codes(violations: list[Violation]) -> list[tuple[str, str]]:
    return [(each.code.value, each.field) for each in violations]


def violations_of(sent: object, *, known_only: bool = True) -> list[tuple[str, str]]:
    return codes(read_recipient(sent, known_only=known_only)[1])


def address_of(sent: object, *, known_only: bool = True) -> dict[str, str]:
    recipient, violations = read_recipient(sent, known_only=known_only)
    assert violations == []
    return recipient.address


# -- names and streets ----------------------------------------------------------------------------

NAMES: list[tuple[str, list[tuple[str, str]]]] = [
    ("", [NO_NAME]),
    ("firstName", [NO_NAME]),
    ("companyName2 companyName3", [NO_NAME]),
    ("lastName", []),
    ("firstName lastName", []),
    ("fullName", []),
    ("fullName lastName", [LAST_NAME]),
    ("fullName firstName", [FIRST_NAME]),
    ("fullName firstName lastName", [FIRST_NAME, LAST_NAME]),
    ("companyName1", []),
    ("companyName1 companyName2 companyName3", []),
    ("companyName1 firstName", []),
    ("companyName1 firstName lastName", []),
    ("companyName1 fullName", []),
    ("companyName1 fullName lastName", [LAST_NAME]),
    ("companyName1 fullName firstName lastName", [FIRST_NAME, LAST_NAME]),
]
STREETS: list[tuple[str, list[tuple[str, str]]]] = [
    ("", [NO_STREET]),
    ("houseNumber", [NO_STREET]),
    ("address2 address3 careOf", [NO_STREET]),
    ("street", []),
    ("street houseNumber", []),
    ("street houseNumber address2 address3", []),
    ("address1", []),
    ("address1 address2 address3", []),
    ("address1 street", [STREET]),
    ("address1 houseNumber", [HOUSE_NUMBER]),
    ("address1 street houseNumber", [STREET, HOUSE_NUMBER]),
]


@pytest.mark.parametrize(("fields", "expected"), NAMES)
def test_what_a_name_needs_and_excludes(fields: str, expected: list[tuple[str, str]]) -> None:
    assert violations_of(HOME | dict.fromkeys(fields.split(), "Ada")) == expected


@pytest.mark.parametrize(("fields", "expected"), STREETS)
def test_what_a_street_needs_and_excludes(fields: str, expected: list[tuple[str, str]]) -> None:
    assert violations_of({"lastName": "B", **PLACE} | dict.fromkeys(fields.split(), "1a")) == expected


@pytest.mark.parametrize(("street", "of_street"), STREETS)
@pytest.mark.parametrize(("name", "of_name"), NAMES)
def test_names_and_streets_do_not_mind_each_other(
    name: str, of_name: list[tuple[str, str]], street: str, of_street: list[tuple[str, str]]
) -> None:
    fields = [*street.split(), *name.split()]

    assert violations_of(PLACE | dict.fromkeys(fields, "1a")) == of_name + of_street


@pytest.mark.parametrize("missing", ["zipCode", "city"])
def test_postcode_and_city_are_always_needed(missing: str) -> None:
    assert violations_of({name: ADA[name] for name in ADA if name != missing}) == [("missing_field", missing)]


def test_every_violation_is_found_at_once_in_the_order_of_the_fields() -> None:
    sent = {
        "address": {
            "individualisation1": [],
            "shoeSize": "38",
            "country": "XX",
            "houseNumber": "1",
            "address1": "Hauptstr. 1",
            "firstName": "Ada",
            "fullName": "Ada Beispiel",
            "title": "x" * 501,
        },
        "vouchers": [{"code": "a\0"}],
        "variation": 0,
    }

    assert violations_of(sent) == [
        ("text_too_long", "title"),
        FIRST_NAME,
        HOUSE_NUMBER,
        NO_ZIP_CODE,
        NO_CITY,
        ("unknown_country", "country"),
        ("wrong_type", "individualisation1"),
        ("unknown_field", "shoeSize"),
        ("wrong_variation", "variation"),
        ("unstorable_text", "vouchers/0/code"),
    ]


def test_a_field_with_a_wrong_value_is_not_missing_and_excludes_all_the_same() -> None:
    sent = {**PLACE, "fullName": ["Ada"], "lastName": True, "address1": "x" * 501}

    assert violations_of(sent) == [
        ("wrong_type", "lastName"),
        LAST_NAME,
        ("wrong_type", "fullName"),
        ("text_too_long", "address1"),
    ]


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [None, "", "   ", "-", "--", ".", " - ", "?!", "\u200b"])
def test_an_empty_value_is_left_out_before_the_rules_apply(empty: object) -> None:
    assert address_of({**HOME, "fullName": "Ada Beispiel", "firstName": empty, "lastName": empty}) == {
        **HOME,
        "fullName": "Ada Beispiel",
    }
    assert violations_of({**ADA, "zipCode": empty, "lastName": empty, "street": empty, "city": empty}) == [
        NO_NAME,
        NO_STREET,
        NO_ZIP_CODE,
        NO_CITY,
    ]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("01067", "01067"),
        (" 01067\n", "01067"),
        (1067, "1067"),
        (1067.0, "1067"),
        (0, "0"),
        (10**400, "1" + "0" * 400),
        ("1-", "1-"),
        ("-1", "-1"),
        ("ä", "ä"),
        ("京", "京"),
    ],
)
def test_a_value_is_trimmed_and_a_number_becomes_text(sent: object, kept: str) -> None:
    assert address_of({**ADA, "zipCode": sent}) == {**ADA, "zipCode": kept}


@pytest.mark.parametrize("field", ["lastName", "zipCode", "individualisation7"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (True, "wrong_type"),
        (False, "wrong_type"),
        ([], "wrong_type"),
        (["Ada"], "wrong_type"),
        ({}, "wrong_type"),
        (math.nan, "wrong_type"),
        (math.inf, "wrong_type"),
        ("a\0", "unstorable_text"),
        ("\0", "unstorable_text"),
        ("a\ud800", "unstorable_text"),
        ("\udfff", "unstorable_text"),
        ("x" * (MAX_TEXT + 1), "text_too_long"),
        (10**500, "text_too_long"),
        pytest.param(10**5000, "text_too_long", id="a number of thousands of digits"),
    ],
)
def test_a_value_that_cannot_be_printed_is_a_violation_and_left_out(
    field: str, value: object, code: str
) -> None:
    recipient, violations = read_recipient({**ADA, field: value})

    assert codes(violations) == [(code, field)]
    assert recipient.address == {name: text for name, text in ADA.items() if name != field}


def test_a_text_may_have_just_the_longest_length() -> None:
    assert address_of({**ADA, "city": "x" * MAX_TEXT + " "})["city"] == "x" * MAX_TEXT


def test_every_known_field_is_let_through() -> None:
    ruled_out = {"fullName", "address1"}
    sent = {name: "1" for name in FIELDS if name not in ruled_out}

    assert address_of(sent) == sent


def test_an_unknown_field_is_a_violation_unless_it_is_empty() -> None:
    assert violations_of({**ADA, "lastname": "Beispiel", "individualisation0": "a"}) == [
        ("unknown_field", "lastname"),
        ("unknown_field", "individualisation0"),
    ]
    assert address_of({**ADA, "lastname": " - ", "salutation": None}) == ADA


def test_the_name_of_an_unknown_field_is_shown_as_far_as_a_database_can_hold_it() -> None:
    violations = read_recipient({**ADA, "a\0\ud800" + "x" * 1000: "1"})[1]

    assert codes(violations) == [("unknown_field", "a\ufffd\ufffd" + "x" * (MAX_TEXT - 3))]


def test_letters_that_pass_through_keep_their_unknown_fields() -> None:
    sent = {**ADA, "shoeSize": 38, "individualisation0": "a", "note": "-"}

    assert address_of({"address": sent}, known_only=False) == {
        **ADA,
        "shoeSize": "38",
        "individualisation0": "a",
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("note", ["x"], ("wrong_type", "note")),
        ("no\0te", "x", ("unstorable_text", "no\ufffdte")),
        ("n" * 501, "x", ("text_too_long", "n" * 500)),
    ],
)
def test_letters_that_pass_through_are_checked_in_their_unknown_fields_too(
    name: str, value: object, expected: tuple[str, str]
) -> None:
    assert violations_of({**ADA, name: value}, known_only=False) == [expected]
    assert read_recipient({**ADA, name: value}, known_only=False)[0].address == ADA


# -- countries ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("country", "zip_code"),
    [
        ("DE", "01067"),
        ("de", "01067"),
        ("AT", 1010),
        ("GB", "ec1a 1hq"),
        ("HK", "1"),
        ("Deutschland", "1067"),
        ("D", "1067"),
        ("DEU", "1067"),
        (None, "1067"),
        ("-", "1067"),
    ],
)
def test_a_postcode_that_fits_the_country_or_has_no_rule(country: object, zip_code: object) -> None:
    assert violations_of({**ADA, "country": country, "zipCode": zip_code}) == []


@pytest.mark.parametrize(
    ("country", "zip_code"),
    [("DE", 1067), ("de", "1010"), ("AT", "01067"), ("GB", "01067"), ("GB", "GIR 0AA 1"), ("NL", "0000 AA")],
)
def test_a_postcode_that_does_not_fit_the_country(country: str, zip_code: object) -> None:
    assert violations_of({**ADA, "country": country, "zipCode": zip_code}) == [("wrong_zip_code", "zipCode")]


@pytest.mark.parametrize("country", ["UK", "xx", "ZZ"])
def test_two_letters_that_no_country_has(country: str) -> None:
    assert violations_of({**ADA, "country": country}) == [("unknown_country", "country")]


@pytest.mark.parametrize("country", ["IE", "HK", "DE"])
def test_a_postcode_is_needed_whatever_the_country(country: str) -> None:
    assert violations_of({**ADA, "country": country, "zipCode": ""}) == [NO_ZIP_CODE]


# -- what stands beside the address ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (1, 1),
        (1.0, 1),
        ("1", 1),
        (" 12 ", 12),
        ("5fc6ca6a89b5e200e0de42e1", "5fc6ca6a89b5e200e0de42e1"),
        (" 123456789012345678901234", "123456789012345678901234"),
        (None, None),
        ("", None),
        (" ", None),
        ("-", None),
    ],
)
def test_a_variation_is_a_number_an_id_or_left_to_optilyz(sent: object, kept: object) -> None:
    recipient, violations = read_recipient({"address": ADA, "variation": sent})

    assert violations == []
    assert recipient.variation == kept
    assert type(recipient.variation) is type(kept)
    assert recipient.document() == {"address": ADA, **({"variation": kept} if kept else {})}
    assert read_recipient({**ADA, "variation": sent})[0] == recipient


@pytest.mark.parametrize(
    "sent",
    [
        0,
        -1,
        1.5,
        10_000,
        pytest.param(10**5000, id="a number of thousands of digits"),
        True,
        False,
        math.nan,
        [],
        {},
        "0",
        "-1",
        "01",
        "x",
        "١",
        "5fc6ca6a89b5e200e0de42e",
        123456789012345678901234,
    ],
)
def test_any_other_variation_is_a_violation(sent: object) -> None:
    recipient, violations = read_recipient({"address": ADA, "variation": sent})

    assert codes(violations) == [("wrong_variation", "variation")]
    assert recipient == Recipient(ADA, None, {})


def test_vouchers_and_all_else_beside_the_address_travel_as_they_are() -> None:
    vouchers = [{"code": "WELCOME-10", "name": "ten"}]
    sent = {"address": ADA, "vouchers": vouchers, "note": {"a": [1, None]}, "nothing": None, "variation": 2}
    kept = {"address": ADA, "variation": 2, "vouchers": vouchers, "note": {"a": [1, None]}}

    assert read_recipient(sent)[0].document() == kept
    assert violations_of(sent) == []


def test_an_address_by_itself_may_hold_variation_and_vouchers() -> None:
    vouchers = [{"code": "WELCOME-10", "name": "ten"}]

    bare = read_recipient({**ADA, "variation": "2", "vouchers": vouchers})

    assert bare == (Recipient(ADA, 2, {"vouchers": vouchers}), [])
    assert bare == read_recipient({"address": ADA, "variation": 2, "vouchers": vouchers})


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"code": "a\0"}], ("unstorable_text", "vouchers/0/code")),
        ([{"a\ud800": 1}], ("unstorable_text", "vouchers/0/a\ufffd")),
        ({"x" * 600: "\0"}, ("unstorable_text", "vouchers/" + "x" * (MAX_TEXT - 9))),
        ([{"code": math.nan}], ("wrong_type", "vouchers/0/code")),
        ([{"code": 10**5000}], ("wrong_type", "vouchers")),
        (nested(5000), ("wrong_type", "vouchers")),
        (["x" * MAX_PROPERTY_BYTES], ("text_too_long", "vouchers")),
    ],
)
def test_what_cannot_travel_beside_the_address_is_a_violation(
    value: object, expected: tuple[str, str]
) -> None:
    recipient, violations = read_recipient({"address": ADA, "vouchers": value, "note": 1})

    assert codes(violations) == [expected]
    assert recipient == Recipient(ADA, None, {"note": 1})


@pytest.mark.parametrize("address", [None, "Hauptstr. 1a", 1, [], True])
def test_an_address_that_is_no_object(address: object) -> None:
    assert violations_of({"address": address, "variation": "x"}) == [
        ("wrong_type", "address"),
        ("wrong_variation", "variation"),
    ]


@pytest.mark.parametrize("sent", [None, [], [ADA], "Ada", 1, 1.5, math.nan, True])
def test_what_is_no_object_is_no_recipient(sent: object) -> None:
    assert violations_of(sent) == [("not_a_recipient", "")]


# -- individualisations ---------------------------------------------------------------------------


def test_both_spellings_are_read_and_one_is_written() -> None:
    sent = {**ADA, "individualization1": "c-1001", "individualisation9999": 7, "individualization3": "--"}

    assert address_of(sent) == {
        **ADA,
        "individualisation1": "c-1001",
        "individualisation9999": "7",
        "individualisation3": "--",
    }


@pytest.mark.parametrize("blank", [None, "", " \n"])
def test_an_individualisation_is_never_blank(blank: object) -> None:
    assert address_of({**ADA, "individualisation1": blank}) == ADA
    assert address_of({**ADA, "individualisation1": blank, "individualization1": "a"}) == {
        **ADA,
        "individualisation1": "a",
    }


def test_one_number_in_both_spellings_has_one_value() -> None:
    assert (
        address_of({**ADA, "individualisation1": "1", "individualization1": 1})["individualisation1"] == "1"
    )
    assert violations_of({**ADA, "individualisation1": "1", "individualization1": "2"}) == [
        (TAKEN, "individualisation1")
    ]


@pytest.mark.parametrize("number", ["0", "01", "10000", "", "-1", "1a", "١"])
def test_an_individualisation_has_a_number_from_1_to_9999(number: str) -> None:
    name = f"individualisation{number}"

    assert violations_of({**ADA, name: "a"}) == [("unknown_field", name)]


def test_values_are_carried_in_the_individualisations_of_their_numbers() -> None:
    address = {**ADA, "individualisation3": "WELCOME-10"}

    carrying, violations = carry(address, {1: "c-1001", 2: "", 4: "  ", 9: " m-1 "})

    assert violations == []
    assert carrying == {**address, "individualisation1": "c-1001", "individualisation9": "m-1"}
    assert "individualisation1" not in address


def test_a_field_that_carries_the_same_already_is_fine_and_another_text_is_a_violation() -> None:
    address = {**ADA, "individualisation1": "c-1001", "individualisation2": "WELCOME-10"}

    carrying, violations = carry(address, {1: "c-1001", 2: "u-1"})

    assert codes(violations) == [(TAKEN, "individualisation2")]
    assert carrying == address


def test_what_is_carried_is_found_by_its_meaning_in_either_spelling() -> None:
    address: dict[str, object] = {
        "individualisation1": 1001,
        "individualization2": "u-1",
        "individualisation3": "",
        "individualization3": "spring",
        "individualisation4": "WELCOME-10",
        "individualisation6": None,
    }
    numbers = {"registered": 1, "cookie": 2, "campaign": 3, "mailing": 5, "email": 6}

    assert carried(address, numbers) == {
        "registered": 1001,
        "cookie": "u-1",
        "campaign": "spring",
        "email": None,
    }
    assert carried(address, {}) == {}


values_to_carry = st.dictionaries(st.integers(1, 9999), st.text(st.characters(exclude_categories=["Cs"])))


@given(values_to_carry)
def test_what_was_carried_comes_back(values: dict[int, str]) -> None:
    carrying, violations = carry(ADA, values)

    assert violations == []
    assert carried(carrying, {str(number): number for number in values}) == {
        str(number): value.strip() for number, value in values.items() if value.strip()
    }


# -- codes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    [
        Reason.NO_CUSTOMER_IDS,
        Reason.WRONG_TYPE,
        Reason.UNKNOWN_ID_TYPE,
        Reason.EMPTY_CUSTOMER_ID,
        Reason.PLACEHOLDER_CUSTOMER_ID,
        Reason.UNUSABLE_CUSTOMER_ID,
        Reason.MALFORMED_JSON,
    ],
)
def test_a_letter_is_refused_in_the_words_in_which_a_callback_is(reason: Reason) -> None:
    assert Code(reason).value == reason.value


@pytest.mark.parametrize("value", ["Geheim", ["Geheim"], "Geheim\0", "Geheim" * 100])
@pytest.mark.parametrize("field", [*FIELDS, "individualisation1", "shoeSize", "variation", "address"])
def test_no_violation_quotes_a_value(field: str, value: object) -> None:
    everything = dict.fromkeys(FIELDS, "Geheim") | {"country": "XX", "individualization1": "geheim"}

    violations = read_recipient({**everything, field: value})[1]

    assert violations
    assert [each for each in violations if "geheim" in f"{each.field} {each.detail}".lower()] == []


# -- the key of an address ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"address1": "hauptstr 1A", **PLACE},
        {"address1": "HAUPT-STR. 1 a", "zipCode": "01067 ", "city": "DRESDEN"},
        {"street": "Hauptstr.1", "houseNumber": "a", **PLACE, "address2": "-"},
        {**HOME, "fullName": "Somebody Else", "title": "Dr.", "individualisation1": "c-7"},
    ],
)
def test_the_same_place_written_differently_has_the_same_key(other: dict[str, str]) -> None:
    assert address_key(other) == address_key(ADA)
    assert len(address_key(other)) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Königstraße", "KÖNIGSTRASSE"),
        ("Königstraße", normalize("NFD", "Königstraße")),
        ("Rue de l'Église", "rue de l´église"),
        ("Ⅷ. Straße", "viii straße"),
        ("Weg 1½", "weg 1 1/2"),
        ("Ｗｅｇ　１", "Weg 1"),
        ("Οδός", "ΟΔΌΣ"),
        ("𝐖eg 1", "weg 1"),
    ],
)
def test_the_same_street_in_other_characters_has_the_same_key(one: str, other: str) -> None:
    assert address_key({**PLACE, "address1": one}) == address_key({**PLACE, "address1": other})


@pytest.mark.parametrize(
    "change",
    [
        {"street": "Hauptweg"},
        {"houseNumber": "1b"},
        {"zipCode": "01069"},
        {"city": "Leipzig"},
        {"careOf": "Muster"},
        {"address2": "Hinterhaus"},
        {"address3": "Hinterhaus"},
        {"country": "DE"},
        {"zipCode": "", "city": "01067Dresden"},
        {"city": "Dresdén"},
    ],
)
def test_another_place_has_another_key(change: dict[str, str]) -> None:
    assert address_key(ADA | change) != address_key(ADA)


def test_the_same_text_in_another_line_is_another_place() -> None:
    keys = {address_key(ADA | {field: "Hinterhaus"}) for field in ("careOf", "address2", "address3")}

    assert len(keys) == 3


european = st.text(st.characters(codec="iso8859-15"), max_size=30)
between = st.text(st.sampled_from(" .,-/'’´\t\n\u00a0\u200b"), max_size=3)


@given(european, st.sampled_from(["street", "zipCode", "city", "careOf", "address3"]), between)
def test_neither_case_nor_spacing_nor_punctuation_changes_the_key(text: str, field: str, gap: str) -> None:
    key = address_key({**ADA, field: text})

    for other in (
        text.upper(),
        text.lower(),
        text.swapcase(),
        normalize("NFD", text),
        gap.join(text),
        gap + text + gap,
    ):
        assert address_key({**ADA, field: other}) == key


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(st.characters())))
def test_every_address_has_a_key(address: dict[str, str]) -> None:
    assert len(address_key(address)) == 16


# -- whatever is sent -----------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([64, 5000]).map(lambda digits: 10**digits)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["-", "DE", "GB", "01067", "1", "5fc6ca6a89b5e200e0de42e1"])
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner), max_leaves=10
)
names = st.sampled_from(
    [*FIELDS, "individualisation1", "individualization1", "individualisation0", "variation", "vouchers"]
)
addresses = st.dictionaries(names | st.text(st.characters()), scalars | json_values)
good_texts = st.sampled_from(["Ada", " 7 ", "-", "", "DE", "01067"]) | st.text(max_size=10)
nearly_good = st.builds(
    lambda base, more: base | more,
    st.sampled_from([ADA, {"fullName": "Ada", "address1": "Hauptstr. 1", **PLACE}]),
    st.dictionaries(names, good_texts, max_size=3),
)
letters = st.builds(
    lambda address, beside: beside | {"address": address},
    addresses | nearly_good | json_values,
    st.dictionaries(st.sampled_from(["variation", "vouchers", "note"]), json_values),
)


@given(letters | addresses | nearly_good | json_values, st.booleans())
@example(nested(5000), True)
@example({"address": {**ADA, "city": nested(5000)}}, True)
@example({"address": {**ADA, "a": nested(5000)}}, False)
def test_whatever_is_sent_a_recipient_comes_out(sent: object, known_only: bool) -> None:
    recipient, violations = read_recipient(sent, known_only=known_only)

    assert all(text == text.strip() != "" for text in recipient.address.values())
    # What was read can be stored, whatever was wrong with the rest.
    assert isinstance(properties_text(recipient.document()), str)
    assert all(is_storable(each.field) and len(each.field) <= MAX_TEXT for each in violations)
    if not violations:
        assert read_recipient(recipient.document(), known_only=known_only) == (recipient, [])
        assert read_recipient(json.loads(encode(recipient.document())), known_only=known_only)[1] == []


@given(nearly_good)
def test_what_may_be_sent_has_a_name_a_street_a_postcode_and_a_city(sent: dict[str, str]) -> None:
    recipient, violations = read_recipient(sent)

    if not violations:
        given = recipient.address.keys()
        assert {"zipCode", "city"} <= given
        assert given & {"lastName", "fullName", "companyName1"}
        assert not ("fullName" in given and given & {"firstName", "lastName"})
        assert ("street" in given) != ("address1" in given)
        assert not {"houseNumber", "address1"} <= given


@given(st.integers(1, 9999))
def test_every_number_names_an_individualisation(number: int) -> None:
    assert address_of({**ADA, individualisation(number): "a"}) == {**ADA, individualisation(number): "a"}
