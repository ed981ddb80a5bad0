"""What the Data API answers, for /openapi.json.  It is written as text; a test holds that against these."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CustomerEventDocument(_Document):
    type: str
    timestamp: float = Field(description="UNIX seconds, with their fraction.")
    properties: dict[str, Any]


class CustomerEventsDocument(_Document):
    success: bool
    data: list[CustomerEventDocument]


class CustomerDocument(_Document):
    """Hard IDs are texts, null where there is none; soft IDs are lists, the most recently used one last."""

    success: bool
    ids: dict[str, str | list[str] | None]
    properties: dict[str, Any]
    events: list[CustomerEventDocument]


class AttributeDocument(_Document):
    """A value, or why there is none."""

    success: bool
    value: Any = None
    error: str | None = None


class AttributesDocument(_Document):
    success: bool
    results: list[AttributeDocument]


class ColumnDocument(_Document):
    """An ID or a property, by its name."""

    type: Literal["id", "property"]
    id: str | None = None
    property: str | None = None


class NativeCustomersDocument(_Document):
    """One list for each customer, with a value for each of ``fields``."""

    success: bool
    fields: list[ColumnDocument]
    data: list[list[Any]]


class TableCustomersDocument(_Document):
    """One list for each customer, with a value for each name of ``header``."""

    success: bool
    header: list[str]
    rows: list[list[Any]]


class CustomersDocument(RootModel[NativeCustomersDocument | TableCustomersDocument]):
    """As ``native_json`` or ``table_json``."""
