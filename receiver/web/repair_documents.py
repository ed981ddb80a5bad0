"""The documents about the repair of rejections, for what builds them and for /openapi.json."""

import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from receiver.domain.commands import Reason
from receiver.domain.moments import iso
from receiver.inbound.bulk import Totals
from receiver.inbound.deliveries import Became
from receiver.inbound.rejections import Action, Replayed, Result
from receiver.store.refused import KeptRejection
from receiver.store.trail import Step, TrailPage
from receiver.web.documents import KeptRejectionDocument, RejectionDocument, Time
from receiver.web.questions import rejection_cursor

NOT_MENDED = "not_mended"
"""Stands among the reasons where a repair could not be applied; no reason code has this name."""

_NOTHING = "The body holds no event and no update."


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


# -- what becomes of a replay ---------------------------------------------------------------------


class ResultDocument(_Document):
    """What became of one command.  A refused one of a whole body is kept as *rejection_id*.  *similar* are
    events of the same customer that say the same less than a second apart: perhaps the sender's own
    correction."""

    outcome: Became
    event_id: int | None = None
    rejection_id: int | None = None
    reason: Reason | None = None
    detail: str | None = None
    pointer: str | None = None
    similar: list[int] | None = None

    @classmethod
    def of(cls, result: Result) -> Self:
        return cls(**_result(result))


class ReplayDocument(_Document):
    """What became of a rejection: of its one command, or of each of a whole body under *results*.

    A dry run tells the body as it came and the bodies that would be replayed.
    """

    outcome: Became | None = None
    event_id: int | None = None
    reason: Reason | None = None
    detail: str | None = None
    pointer: str | None = None
    similar: list[int] | None = None
    results: list[ResultDocument] | None = None
    before: str | None = None
    after: list[str] | None = None

    @classmethod
    def of(cls, done: Replayed, before: bytes | None) -> Self:
        """*before* is there where the bodies are to be told."""
        return cls(**_became(done), **({} if before is None else _bodies(done, before)))


class SampleDocument(ReplayDocument):
    """One of many; *detail* also says why it could not be mended."""

    id: int


class TotalsDocument(_Document):
    """What became of all that matched: one count per rejection, and a few of them whole.

    *reasons* count why commands are still rejected; ``not_mended`` is where the repair could not be applied.
    """

    dry_run: bool
    matched: int
    accepted: int
    duplicate: int
    rejected: int
    reasons: dict[str, int]
    samples: list[SampleDocument]
    next: str | None = Field(description="The cursor to go on with, where only so many were wanted.")

    @classmethod
    def of(cls, totals: Totals, before: dict[int, bytes], *, dry_run: bool) -> Self:
        """*before* are the bodies of samples, where they are to be told."""
        return cls(
            dry_run=dry_run,
            matched=totals.matched,
            accepted=totals.accepted,
            duplicate=totals.duplicate,
            rejected=totals.rejected,
            reasons={reason or NOT_MENDED: count for reason, count in totals.reasons.most_common()},
            samples=[_sample(done, before.get(done.rejection_id)) for done in totals.samples],
            next=rejection_cursor(totals.next),
        )


def _sample(done: Replayed, before: bytes | None) -> SampleDocument:
    fields = ReplayDocument.of(done, before).model_dump(exclude_unset=True)
    return SampleDocument(id=done.rejection_id, **fields)


def _became(done: Replayed) -> dict[str, Any]:
    if done.refused is not None:
        return {"outcome": Became.REJECTED, "detail": done.refused}
    if done.whole:
        return {"results": [ResultDocument.of(result) for result in done.results]}
    if not done.results:
        return {"outcome": Became.REJECTED, "detail": _NOTHING}
    return _result(done.results[0])


def _result(result: Result) -> dict[str, Any]:
    return {
        name: list(value) if name == "similar" else value
        for name, value in result._asdict().items()
        if value not in (None, ())
    }


def _bodies(done: Replayed, before: bytes) -> dict[str, Any]:
    return {"before": _text(before), "after": [_text(mended.body) for mended in done.bodies]}


def _text(body: bytes) -> str:
    # Not UTF-8 only where the sender's bytes were none; they are kept, and shown whole, elsewhere.
    return body.decode(errors="replace")


# -- what else is done ----------------------------------------------------------------------------


class UndoneDocument(RejectionDocument):
    """The rejection as it is now, and the events that left all reports."""

    withdrawn: list[int]


class DoneDocument(_Document):
    """How many rejections it was done to."""

    done: int


# -- the trace ------------------------------------------------------------------------------------


class StepDocument(_Document):
    """What somebody did about a rejection.  No *key_id*: on the command line."""

    id: int
    at: Time
    key_id: str | None
    action: Action
    how: dict[str, Any] | None = Field(description="The repair; null where nothing was mended.")
    note: str | None
    results: list[dict[str, Any]] | None = Field(description="Of a replay: what became of each command.")
    undone_at: Time | None = Field(description="When the replay was taken back.")

    @classmethod
    def of(cls, step: Step) -> Self:
        return cls(**_step(step))


class AuditRowDocument(StepDocument):
    rejection_id: int

    @classmethod
    def of(cls, step: Step) -> Self:
        return cls(**_step(step), rejection_id=step.rejection_id)


class AuditDocument(_Document):
    data: list[AuditRowDocument]
    next: str | None = Field(description="The cursor of the next page; null on the last one.")

    @classmethod
    def of(cls, page: TrailPage, following: str | None) -> Self:
        return cls(data=[AuditRowDocument.of(step) for step in page.steps], next=following)


def _step(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "at": iso(step.at_us),
        "key_id": step.key_id,
        "action": step.action,
        "how": None if step.how is None else json.loads(step.how),
        "note": step.note,
        "results": None if step.results is None else json.loads(step.results),
        "undone_at": None if step.undone_us is None else iso(step.undone_us),
    }


class TracedRejectionDocument(KeptRejectionDocument):
    """With the bytes as received, as text, or in base64 where they are no UTF-8; and with all that was
    done about it, the newest first."""

    attempts_made: list[StepDocument]
    similar: list[int] = Field(
        description="Other events that say the same as one that a replay made, within less than a second."
    )

    @classmethod
    def of_traced(cls, kept: KeptRejection, steps: list[Step], similar: list[int]) -> Self:
        fields = KeptRejectionDocument.of_kept(kept).model_dump(exclude_unset=True)
        return cls(**fields, attempts_made=[StepDocument.of(step) for step in steps], similar=similar)
