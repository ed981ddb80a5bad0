"""The bodies of the Data API.  Other keys are ignored, and null is as absent, as by the vendor.

No message quotes a value.
"""

import time
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from receiver.store.customers import Column
from receiver.web.questions import CustomerIds, Name, Text

MOST_TYPES = 1000
MOST_ATTRIBUTES = 2000
_MOST = 2**31 - 1
_AS_GOOD_AS_NOW_SECONDS = 3600


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CustomerQuestion(_Body):
    """Whom the question is about; other keys are ignored, as by the vendor."""

    customer_ids: CustomerIds


class CustomerEventsQuestion(CustomerQuestion):
    event_types: Annotated[list[Text], Field(min_length=1, max_length=MOST_TYPES)]
    order: Literal["asc", "desc"] | None = Field(None, description="The oldest first (asc) unless told.")
    limit: Annotated[int, Field(ge=0, le=_MOST)] | None = Field(None, description="All unless told.")
    skip: Annotated[int, Field(ge=0, le=_MOST)] | None = Field(None, description="None unless told.")


# -- attributes -----------------------------------------------------------------------------------


class Attribute(_Body):
    """``{"type": "property", "property": NAME}`` or ``{"type": "id", "id": NAME}``; we have no others."""

    type: str
    property: Name | None = None
    id: Name | None = None

    @model_validator(mode="after")
    def _names_what_it_asks_for(self) -> Self:
        if self.type in {"property", "id"} and self.column() is None:
            raise PydanticCustomError("unnamed", "Name the property, or the id")
        return self

    def column(self) -> Column | None:
        """None for what we do not have."""
        name = {"property": self.property, "id": self.id}.get(self.type)
        return None if name is None else Column(self.type, name)


class AttributesQuestion(CustomerQuestion):
    attributes: Annotated[list[Attribute], Field(max_length=MOST_ATTRIBUTES)]


# -- export ---------------------------------------------------------------------------------------


class ExportedAttributes(_Body):
    """All IDs and properties; or ``some`` of them, which ``list`` names in the order of the columns."""

    type: Literal["properties_and_ids", "some"] | None = None
    columns: Annotated[list[Attribute], Field(min_length=1, max_length=MOST_ATTRIBUTES)] | None = Field(
        None, alias="list"
    )

    @model_validator(mode="after")
    def _lists_what_is_some(self) -> Self:
        if (self.type == "some") != (self.columns is not None):
            raise PydanticCustomError("list", "The type some goes with a list, and a list with the type some")
        return self


def _everybody(sent: object) -> None:
    if sent not in (None, {}, {"type": "all"}):
        raise PydanticCustomError(
            "filter", "There are no segmentations here; leave the filter out, or send the type all alone"
        )


def _about_now(seconds: float) -> float:
    if seconds < time.time() - _AS_GOOD_AS_NOW_SECONDS:
        raise PydanticCustomError(
            "past", "IDs and properties are known as they are now, not as they were; leave it out"
        )
    return seconds


Everybody = Annotated[
    None,
    BeforeValidator(_everybody),
    WithJsonSchema(
        {
            "type": ["object", "null"],
            "properties": {"type": {"const": "all"}},
            "additionalProperties": False,
        }
    ),
]
Now = Annotated[float, Field(allow_inf_nan=False), AfterValidator(_about_now)]


class ExportQuestion(_Body):
    """Which columns of all customers, and in which form."""

    format: Literal["native_json", "table_json", "csv"]
    attributes: ExportedAttributes | None = Field(None, description="All IDs and properties unless told.")
    filter: Everybody = Field(None, description="Customers cannot be filtered.")
    execution_time: Now | None = Field(None, description="UNIX seconds; only the present can be told.")
    timezone: str | None = Field(None, description="Read and not needed: no column is a time.")
