"""What the gateway takes and answers, for /openapi.json.  Each docstring is published.

Bodies are read by hand in receiver.outbound.passing, and answers are written as text in
receiver.outbound.gateway_answers, because they are kept; a test holds these models against them.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from receiver.store.mailings import MOST_TOGETHER


class _Question(BaseModel):
    # What Optilyz may know and we do not travels along.
    model_config = ConfigDict(extra="allow")


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class VoucherQuestion(_Question):
    code: str | int | float
    name: str | None = None


class RecipientQuestion(_Question):
    """One recipient: ``lastName``, ``fullName`` or ``companyName1``; ``street`` or ``address1``; ``zipCode``;
    ``city``; other fields of an address, and ``individualisationN``."""

    address: dict[str, str | int | float | None]
    variation: int | str | None = Field(
        None, description="A number from 1, or an ID; without it Optilyz picks one."
    )
    vouchers: list[VoucherQuestion] | None = None


class RecipientsQuestion(_Question):
    """Recipients, each as it would be sent alone."""

    addresses: list[RecipientQuestion] = Field(min_length=1, max_length=MOST_TOGETHER)


class LetterErrorDocument(_Document):
    """*code* is the number of the *reason*; *field* is empty where it is none."""

    code: int
    reason: str
    field: str
    description: str


class QueuedDocument(_Document):
    code: int
    status: Literal["queued"]
    message: str


class LetterDocument(_Document):
    """``result`` where the letter is stored, ``errors`` where it will not be sent; *id* is the mailing's."""

    success: bool
    id: str
    result: QueuedDocument | None = None
    errors: list[LetterErrorDocument] | None = None


class LetterFaultDocument(_Document):
    message: str
    mailing: str = Field(description="The ID of our mailing, which will not be sent.")


class LetterResultDocument(_Document):
    """``id`` where the letter is stored, ``error`` where it will not be sent."""

    id: str | None = None
    error: LetterFaultDocument | None = None


class LettersDocument(_Document):
    """One result for each address, in their order."""

    requestId: str  # noqa: N815  # Optilyz names it so
    queued: int
    ignored: int
    results: list[LetterResultDocument]


class RefusedLettersDocument(_Document):
    """Why none of the addresses was read."""

    success: Literal[False]
    errors: list[LetterErrorDocument]
    queued: Literal[0]
    ignored: Literal[0]
    results: list[Any] = Field(max_length=0)


class AutomationDocument(_Document):
    """An automation of Optilyz; we know it by its ID alone."""

    id: str = Field(alias="_id")
    name: str
    state: Literal["live"]


class AutomationsDocument(RootModel[list[AutomationDocument]]):
    """All that the project sends through."""
