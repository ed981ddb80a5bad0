"""What may be asked about mailings and suppressions, and what people decide about them."""

import time
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection

from receiver.domain.moments import DAY_US
from receiver.store.holders import customer_of
from receiver.store.letters import MailingFilter
from receiver.store.mailings import Kind, State
from receiver.store.suppressions import SuppressionFilter
from receiver.web.questions import Customer, CustomerIds, PageSize, Parameters, Text

_MOST_DAYS = 36_500
NOBODY = 0
"""Of all numbers of customers the one that nobody has."""

Days = Annotated[int, Field(ge=0, le=_MOST_DAYS)]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
MailingId = Annotated[str, Field(pattern="^[0-9a-f]{24}$")]


class WhichMailings(Parameters):
    campaign: Text | None = Field(None, description="The campaign reference.")


class MailingsSummaryQuestion(WhichMailings):
    by: Literal["reason", "state"] = Field(
        "reason",
        description="A row for each state and reason, and the stages of what is queued: reads every letter;"
        " or a row for each state, which is known at once.",
    )


class MailingsQuestion(WhichMailings):
    state: State | None = None
    customer: Customer | None = Field(None, description="name:value of an ID, as registered:c-1001.")
    silent_days: Days | None = Field(
        None, description="Queued, more is to be heard of it, and for so many days nothing was."
    )
    limit: PageSize = 100
    cursor: MailingId | None = Field(None, description="The `next` of the page before.")

    def filter(self, connection: Connection, project_id: int) -> MailingFilter:
        since_us = None
        if self.silent_days is not None:
            since_us = time.time_ns() // 1000 - self.silent_days * DAY_US
        return MailingFilter(
            state=self.state,
            campaign=self.campaign,
            customer=_holder(connection, project_id, self.customer),
            silent_since_us=since_us,
        )


class Resolution(Parameters):
    """What somebody has found out at Optilyz."""

    printed: StrictBool = Field(description="If it is not, the letter is to be sent again.")
    note: Text | None = Field(None, description="Kept as the message of the mailing.")


class Cancellation(Parameters):
    """Nothing more is to be said."""


class CampaignResolution(Resolution):
    """The same of all letters of a campaign whose fate is unknown."""

    campaign: Text


class CampaignCancellation(Cancellation):
    campaign: Text
    cursor: MailingId | None = Field(None, description="The `next` of the answer before.")


class SuppressionsQuestion(Parameters):
    kind: Kind | None = None
    customer: Customer | None = Field(None, description="name:value of an ID, as registered:c-1001.")
    all: bool = Field(False, description="Also those that were lifted.")
    limit: PageSize = 100
    cursor: Number | None = Field(None, description="The `next` of the page before.")

    def filter(self, connection: Connection, project_id: int) -> SuppressionFilter:
        holder = _holder(connection, project_id, self.customer)
        return SuppressionFilter(kind=self.kind, customer=holder, lifted=self.all)


class NewSuppression(Parameters):
    """Somebody shall get no letter."""

    customer_ids: CustomerIds
    kind: Kind = Field(description="For good, or to the address of the newest letter.")
    note: Text | None = Field(None, description="Why, in people's words.")


class WhichToLift(Parameters):
    """One by its number, or all of a customer."""

    id: Number | None = None
    customer: Customer | None = Field(None, description="name:value of an ID, as registered:c-1001.")
    kind: Kind | None = Field(None, description="Of the customer only those of this kind.")

    @model_validator(mode="after")
    def _names_one_way(self) -> Self:
        if (self.id is None) == (self.customer is None) or (self.id is not None and self.kind is not None):
            raise PydanticCustomError("which", "Give an id, or a customer and perhaps a kind")
        return self


def _holder(connection: Connection, project_id: int, customer: Customer | None) -> int | None:
    """Who holds the ID now; None where nobody is asked for."""
    if customer is None:
        return None
    found = customer_of(connection, project_id, (customer,))
    return NOBODY if found is None else found
