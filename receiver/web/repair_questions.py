"""What operations may say about rejections: how to mend them, which ones, and why."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from receiver.domain.json_text import encode
from receiver.domain.repairs import REPAIRS
from receiver.inbound.rejections import How
from receiver.store.refused import RejectionFilter
from receiver.web.questions import Cursor, PageSize, Parameters, RejectedAlike, Text

Steps = list[Any]
"""Operations of JSON Patch; whether they are any is said when they are applied."""


def _written(sent: object) -> str:
    """*sent* as JSON text, which bodies and traces are kept in."""
    try:
        text = encode(sent)
        text.encode()
    except (ValueError, RecursionError):
        raise PydanticCustomError(
            "unwritable", "Send valid Unicode and numbers that are some, not nested too deep"
        ) from None
    return text


def _body(sent: object) -> str:
    if isinstance(sent, str):
        return sent
    if not isinstance(sent, dict | list):
        raise PydanticCustomError("body", "Send the body as text, or as an object or a list")
    return _written(sent)


def _patch(sent: Steps) -> Steps:
    _written(sent)
    return sent


def _names(sent: object) -> tuple[str, ...]:
    names = tuple(name.strip() for name in sent.split(",")) if isinstance(sent, str) else ()
    if not names or any(name not in REPAIRS for name in names):
        raise PydanticCustomError(
            "repair", "Give one of {names}, or several with commas", {"names": ", ".join(REPAIRS)}
        )
    return names


_OF_A_PATCH = "A JSON Patch (RFC 6902), applied to the event or update itself."
_OF_A_REPAIR = f"One of {', '.join(REPAIRS)}, or several of them with commas."

Body = Annotated[
    str, BeforeValidator(_body), WithJsonSchema({"type": ["string", "object", "array"]}, mode="validation")
]
Patch = Annotated[
    Steps,
    AfterValidator(_patch),
    WithJsonSchema({"type": "array", "items": {"type": "object"}}, mode="validation"),
]
Repairs = Annotated[tuple[str, ...], BeforeValidator(_names), WithJsonSchema({"type": "string"})]


class Mending(Parameters):
    """How a rejection is mended before it is replayed; with nothing said it is replayed as it came."""

    patch: Patch | None = Field(None, description=_OF_A_PATCH)
    repair: Repairs | None = Field(None, description=_OF_A_REPAIR)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if sum(getattr(self, name, None) is not None for name in ("body", "patch", "repair")) > 1:
            raise PydanticCustomError("which", "Give one of body, patch and repair, or none")
        return self

    def how(self) -> How:
        return How(None, self.patch, self.repair or ())


class Replay(Mending):
    """How one rejection is replayed."""

    body: Body | None = Field(
        None, description="Instead of what came: text, or JSON that is written as text."
    )
    dry_run: StrictBool = Field(False, description="Only show what would become of it; nothing is written.")

    def how(self) -> How:
        return super().how()._replace(body=self.body)


class Matching(RejectedAlike):
    """Which rejections, of those that it can be done to; with nothing said all of them."""

    q: Text | None = Field(None, description="Text within the body, as it was written there.")

    def filter(self) -> RejectionFilter:
        return self.alike(text=self.q)


class MatchingOpen(Matching):
    """Which open rejections."""

    state: Literal["open"] | None = Field(None, description="Only open ones are looked at in any case.")


class MatchingDismissed(Matching):
    """Which dismissed rejections."""

    state: Literal["dismissed"] | None = Field(None, description="Only those are looked at in any case.")


class ReplayMatching(Mending):
    """Which rejections are replayed, and how each is mended."""

    filter: MatchingOpen
    dry_run: StrictBool = Field(
        True, description="Only show what would become of them; false does it.  A dry run unless told."
    )
    limit: Annotated[int, Field(ge=1)] | None = Field(
        None, description="At most so many in this request; all unless told."
    )
    cursor: Cursor | None = Field(None, description="The `next` of the request before.")


class Note(Parameters):
    """Why, in people's words."""

    note: Text | None = Field(None, description="Kept in the trace.")


class DismissMatching(Note):
    """Which rejections are dismissed, and why."""

    filter: MatchingOpen


class ReopenMatching(Note):
    """Which rejections are reopened, and why."""

    filter: MatchingDismissed


class AuditQuestion(Parameters):
    limit: PageSize = 100
    cursor: Cursor | None = Field(None, description="The `next` of the page before.")
