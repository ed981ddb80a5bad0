"""Why somebody gets no letter: the codes, and the sentences that several readers share.

A reader finds all violations of a recipient at once, so that a person corrects a list of customers in
one go.
"""

from enum import StrEnum
from typing import NamedTuple

from receiver.domain.fields import MAX_TEXT, Place

HERE = Place("")
"""The recipient itself."""


class Code(StrEnum):
    """Why somebody gets no letter.  Outside users rely on the codes: add, never rename."""

    MISSING_FIELD = "missing_field"
    """A letter always needs this field: ``zipCode``, ``city``."""
    MISSING_NAME = "missing_name"
    """There is none of ``companyName1``, ``lastName`` and ``fullName``."""
    MISSING_STREET = "missing_street"
    """There is neither ``street`` nor ``address1``."""
    EXCLUDED_FIELD = "excluded_field"
    """Another field that is there excludes this one: ``lastName`` beside ``fullName``."""
    UNKNOWN_FIELD = "unknown_field"
    """Optilyz has no address field of this name."""
    WRONG_TYPE = "wrong_type"
    """It is a list where a text or number belongs, a text where an object does, and the like."""
    UNSTORABLE_TEXT = "unstorable_text"
    """The text holds NUL or half of a surrogate pair."""
    TEXT_TOO_LONG = "text_too_long"
    """The text is longer than any address."""
    UNKNOWN_COUNTRY = "unknown_country"
    """No country has these two letters as its ISO code."""
    WRONG_ZIP_CODE = "wrong_zip_code"
    """The postcode is none of the country."""
    WRONG_VARIATION = "wrong_variation"
    """The variation is neither a number from 1 nor an ID."""
    INDIVIDUALISATION_TAKEN = "individualisation_taken"
    """Two values want to travel in one individualisation."""
    NO_CUSTOMER_IDS = "no_customer_ids"
    """Without a customer ID nobody would know what became of the letter."""
    UNKNOWN_ID_TYPE = "unknown_id_type"
    """No customer ID of this name is configured."""
    EMPTY_CUSTOMER_ID = "empty_customer_id"
    """The ID is null or empty."""
    PLACEHOLDER_CUSTOMER_ID = "placeholder_customer_id"
    """The ID is a word for nothing, or template text that was not filled in."""
    UNUSABLE_CUSTOMER_ID = "unusable_customer_id"
    """The ID cannot be one: a list, too long, punctuation alone."""
    TEMPLATE_FAILED = "template_failed"
    """The template did not render for this customer."""
    UNREADABLE_ROW = "unreadable_row"
    """The row of the file cannot be read."""
    MALFORMED_JSON = "malformed_json"
    """What was rendered or sent is not JSON."""
    NOT_A_RECIPIENT = "not_a_recipient"
    """It is JSON, but no object."""


class Violation(NamedTuple):
    """Why somebody gets no letter, and where to look.

    Attributes:
        field: the name of a field of the address; elsewhere steps from the recipient itself
            (``vouchers/0/code``, ``customer_ids/registered``), or empty for the whole of it.
        detail: a sentence that says what is wrong and what to do; never quotes a value.
    """

    code: Code
    field: str
    detail: str


def unstorable(field: str) -> Violation:
    detail = "The text holds NUL or half of a surrogate pair; send valid Unicode without NUL."
    return Violation(Code.UNSTORABLE_TEXT, pointer_to(field), detail)


def too_long(field: str) -> Violation:
    return Violation(
        Code.TEXT_TOO_LONG, pointer_to(field), f"The field has over {MAX_TEXT} characters; shorten it."
    )


def taken(field: str) -> Violation:
    detail = "Two different values want to travel in this individualisation; use another number for one."
    return Violation(Code.INDIVIDUALISATION_TAKEN, field, detail)


def pointer_to(name: str) -> str:
    """Give the name as it may travel: short, and without what no database can hold."""
    return HERE.of(name)[1 : MAX_TEXT + 1]
