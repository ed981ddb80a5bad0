"""Who gets a letter, and where: the fields of an address, what excludes what, and what travels with them.

The rules for names and streets are those of Bloomreach's guide to Optilyz; the other fields are those
that the clients of Optilyz fill in (contract, 5.3).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from string import ascii_letters, digits
from typing import NamedTuple
from unicodedata import category, normalize

from receiver.domain import countries
from receiver.domain.commands import Reason
from receiver.domain.fields import MAX_TEXT, Refusal, is_storable, kind_of, properties_text, text_of
from receiver.domain.violations import HERE, pointer_to, taken, too_long, unstorable
from receiver.domain.violations import Code as Code
from receiver.domain.violations import Violation as Violation


class Recipient(NamedTuple):
    """Somebody who gets a letter, as Optilyz is told of them.

    Attributes:
        address: trimmed texts, none of them empty; individualisations are spelled with an s.
        variation: its number, its ID, or None where Optilyz shall pick one.
        extras: what else stands beside the address, as sent: ``vouchers``.
    """

    address: dict[str, str]
    variation: int | str | None
    extras: Mapping[str, object]

    def document(self) -> dict[str, object]:
        """Give what goes to Optilyz, as JSON values."""
        variation = {} if self.variation is None else {"variation": self.variation}
        return {"address": self.address, **variation, **self.extras}


FIELDS = (
    *("companyName1", "companyName2", "companyName3"),
    *("gender", "title", "jobTitle", "otherTitles", "firstName", "lastName", "fullName"),
    *("careOf", "street", "houseNumber", "address1", "address2", "address3"),
    *("zipCode", "city", "country"),
)
"""Every field of an address that Optilyz knows, without the individualisations."""

_ORDER = {name: index for index, name in enumerate(FIELDS)}
_NAMES = ("companyName1", "lastName", "fullName")
_EXCLUDED_BY = {"fullName": ("firstName", "lastName"), "address1": ("street", "houseNumber")}
_LINE = ("street", "houseNumber", "address1")
_POSTAL = ("careOf", "address2", "address3", "zipCode", "city", "country")
_BARE = ("variation", "vouchers")

_INDIVIDUALISATION = re.compile("individuali[sz]ation([1-9][0-9]{0,3})")
_VARIATION_NUMBER = re.compile("[1-9][0-9]{0,3}")
_VARIATION_ID = re.compile("[0-9a-fA-F]{24}")


def individualisation(number: int) -> str:
    """Name the field of individualisation *number*, from 1 to 9999."""
    return f"individualisation{number}"


def read_recipient(sent: object, *, known_only: bool = True) -> tuple[Recipient, list[Violation]]:
    """Read ``{"address": {...}, "variation": 1, "vouchers": [...]}``, or the address by itself.

    An address by itself may hold ``variation`` and ``vouchers``.  Violations come in the order of
    FIELDS, all others after those; a value that is refused is not in the recipient.

    Args:
        sent: parsed JSON.
        known_only: a field that we do not know is a violation; else it travels along.
    """
    if not isinstance(sent, dict):
        detail = f"The recipient is {kind_of(sent)}; send an object that holds the address."
        return Recipient({}, None, {}), [Violation(Code.NOT_A_RECIPIENT, "", detail)]

    if "address" in sent:
        fields, beside = sent["address"], sent
    else:
        fields = {name: value for name, value in sent.items() if name not in _BARE}
        beside = {name: sent[name] for name in _BARE if name in sent}
    address, violations = _read_address(fields, known_only)
    variation = _read_variation(beside.get("variation"))
    if isinstance(variation, Violation):
        violations.append(variation)
        variation = None
    extras = {}
    for name, value in beside.items():
        if name in ("address", "variation") or value is None:
            continue
        violation = _wrong_extra(name, value)
        if violation:
            violations.append(violation)
        else:
            extras[name] = value
    return Recipient(address, variation, extras), violations


def _read_address(sent: object, known_only: bool) -> tuple[dict[str, str], list[Violation]]:
    if not isinstance(sent, dict):
        detail = f"address is {kind_of(sent)}; send an object of fields and texts."
        return {}, [Violation(Code.WRONG_TYPE, "address", detail)]
    address, violations = _read_fields(sent, known_only)
    # A field with a wrong value is there all the same: it is neither missing nor may it stand beside others.
    given = address.keys() | {each.field for each in violations} if violations else address
    violations += _broken_rules(given)
    violations += _wrong_country(address)
    return address, sorted(violations, key=lambda each: _ORDER.get(each.field, len(FIELDS)))


def _read_fields(sent: Mapping[str, object], known_only: bool) -> tuple[dict[str, str], list[Violation]]:
    """Give each field that is not empty, and what is wrong with each by itself."""
    address: dict[str, str] = {}
    violations = []
    for name, value in sent.items():
        # Nearly all are plain texts in fields that we know, and need not be looked at so closely.
        if name in _ORDER and type(value) is str and _is_plain(plain := value.strip()):
            address[name] = plain
            continue
        numbered = None if name in _ORDER else _INDIVIDUALISATION.fullmatch(name)
        field = individualisation(int(numbered[1])) if numbered else name
        text = _read_text(field, value, any_character=numbered is not None)
        if text == "":
            continue
        if name not in _ORDER and not numbered and (wrong_name := _wrong_name(name, known_only)):
            violations.append(wrong_name)
        elif isinstance(text, Violation):
            violations.append(text)
        elif address.setdefault(field, text) != text:
            violations.append(taken(field))
    return address, violations


def _is_plain(text: str) -> bool:
    """Tell whether *text* is storable, neither empty nor too long, and begins with a letter or digit."""
    return text[:1].isalnum() and len(text) <= MAX_TEXT and is_storable(text)


def _read_text(field: str, sent: object, any_character: bool) -> str | Violation:
    """Give the text, empty also where it has no letter and no digit unless *any_character* will do."""
    if sent is None:
        return ""
    try:
        text = text_of(sent)
    except ValueError:
        return too_long(field)
    if text is None:
        detail = f"The field is {kind_of(sent)}; send a text or a number."
        return Violation(Code.WRONG_TYPE, pointer_to(field), detail)
    if not is_storable(text):
        return unstorable(field)
    if not any_character and not _has_letter_or_digit(text):
        return ""
    return text if len(text) <= MAX_TEXT else too_long(field)


def _wrong_name(name: str, known_only: bool) -> Violation | None:
    if known_only:
        detail = "No address field of this name is known; correct the name or leave the field out."
        return Violation(Code.UNKNOWN_FIELD, pointer_to(name), detail)
    if not is_storable(name):
        return unstorable(name)
    return too_long(name) if len(name) > MAX_TEXT else None


def _has_letter_or_digit(text: str) -> bool:
    # The first character tells it nearly always.
    return text[:1].isalnum() or any(map(str.isalnum, text))


def _broken_rules(given: Collection[str]) -> Iterator[Violation]:
    """Tell which of the *given* fields exclude each other, and which are missing."""
    if not any(name in given for name in _NAMES):
        detail = "There is no name; send lastName, fullName or companyName1."
        yield Violation(Code.MISSING_NAME, "lastName", detail)
    if "street" not in given and "address1" not in given:
        yield Violation(Code.MISSING_STREET, "street", "There is no street; send street or address1.")
    for name in ("zipCode", "city"):
        if name not in given:
            yield Violation(Code.MISSING_FIELD, name, f"{name} is missing; a letter always needs it.")
    for ruling, excluded in _EXCLUDED_BY.items():
        if ruling in given:
            for name in excluded:
                if name in given:
                    detail = f"{name} may not stand beside {ruling}; leave one of them out."
                    yield Violation(Code.EXCLUDED_FIELD, name, detail)


def _wrong_country(address: Mapping[str, str]) -> Iterator[Violation]:
    country = address.get("country", "")
    if not countries.is_code(country):
        return
    if not countries.is_known(country):
        detail = "No country has this code of two letters; send its ISO code, or its name."
        yield Violation(Code.UNKNOWN_COUNTRY, "country", detail)
    elif "zipCode" in address and not countries.fits(address["zipCode"], country):
        detail = (
            "The postcode is none of this country; correct one of them, "
            "and send the postcode as a text, so that no zero is lost."
        )
        yield Violation(Code.WRONG_ZIP_CODE, "zipCode", detail)


def _read_variation(sent: object) -> int | str | Violation | None:
    if sent is None:
        return None
    try:
        text = text_of(sent)
    except ValueError:
        text = None
    if text is not None:
        if not _has_letter_or_digit(text):
            return None
        if _VARIATION_NUMBER.fullmatch(text):
            return int(text)
        if isinstance(sent, str) and _VARIATION_ID.fullmatch(text):
            return text
    detail = "The variation is neither a number from 1 to 9999 nor an ID of 24 hexadecimal digits; send one."
    return Violation(Code.WRONG_VARIATION, "variation", detail)


def _wrong_extra(name: str, value: object) -> Violation | None:
    try:
        read = properties_text({name: value}, HERE)
    except RecursionError:
        detail = "The value is nested too deep; send flatter JSON."
        return Violation(Code.WRONG_TYPE, pointer_to(name), detail)
    if not isinstance(read, Refusal):
        return None
    code = Code.TEXT_TOO_LONG if read.reason is Reason.PROPERTY_TOO_LARGE else Code(read.reason)
    return Violation(code, read.pointer[1 : MAX_TEXT + 1] or pointer_to(name), read.detail)


def carry(address: Mapping[str, str], values: Mapping[int, str]) -> tuple[dict[str, str], list[Violation]]:
    """Put each value into the individualisation of its number, empty ones into none.

    A field that holds another text already keeps it, and that is a violation.
    """
    carrying = dict(address)
    violations = []
    for number, value in values.items():
        field = individualisation(number)
        text = value.strip()
        if text and carrying.setdefault(field, text) != text:
            violations.append(taken(field))
    return carrying, violations


def carried(address: Mapping[str, object], numbers: Mapping[str, int]) -> dict[str, object]:
    """Give by its meaning what travels in each of the *numbers*, in either spelling, as sent."""
    found: dict[str, object] = {}
    for meaning, number in numbers.items():
        for field in (individualisation(number), f"individualization{number}"):
            # An empty field does not hide the one in the other spelling.
            if field in address and found.get(meaning) in (None, ""):
                found[meaning] = address[field]
    return found


def address_key(address: Mapping[str, str]) -> bytes:
    """Give 16 bytes that stay the same as long as the postal address does, however it is written.

    Names do not count: a letter to somebody else at a bad address comes back too.  Neither do case,
    punctuation and white space, nor whether street and number stand in one field or two.
    """
    line = b"".join([_bare(address[name]) for name in _LINE if name in address])
    parts = [line, *[_bare(address[name]) if name in address else b"" for name in _POSTAL]]
    return blake2b(b"\n".join(parts), digest_size=16).digest()


_NEITHER_LETTER_NOR_DIGIT = bytes(set(range(128)) - set((ascii_letters + digits).encode()))


def _bare(text: str) -> bytes:
    """Give the letters, marks and digits of *text* in one case and one way of composing them."""
    if text.isascii():
        return text.lower().encode().translate(None, _NEITHER_LETTER_NOR_DIGIT)
    return _folded(text)


# Many people live in few streets and cities.
@lru_cache(8192)
def _folded(text: str) -> bytes:
    # First and last: an accent that stands alone (l´Église) would be put on another letter, and a
    # fraction comes apart into digits and a stroke.
    folded = normalize("NFKC", normalize("NFKC", _lettered(text)).casefold())
    return _lettered(folded).encode()


def _lettered(text: str) -> str:
    return "".join(each for each in text if category(each)[0] in "LMN")
