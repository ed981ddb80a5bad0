"""What may be asked about one customer, and the document that answers it.

The document is written as text, so that properties stay as they are to the letter; a test holds it
against its models.
"""

import re
from collections.abc import Iterable
from json import loads
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from receiver.domain.json_text import encode
from receiver.domain.moments import iso
from receiver.store import export
from receiver.store.customer_story import ID_MOVED, MERGE, Entry, Moment, Place, Story, place_of
from receiver.store.export import quoted
from receiver.store.letters import MailingRow
from receiver.store.mailings import Kind, State
from receiver.store.suppressions import SuppressionRow
from receiver.web.customer_words import merge_said, move_said, said
from receiver.web.documents import EventDocument, Time
from receiver.web.questions import Customer, PageSize, Parameters

_CURSOR = re.compile("([0-9a-f]{1,15})-(?:([0-9a-f]{1,15})|([0-9a-f]{24})-([1-4]))")


def story_cursor(place: Place | None) -> str | None:
    """*place* as URL-safe text."""
    if place is None:
        return None
    last = f"{place.event:x}" if place.event else f"{place.mailing}-{place.step}"
    return f"{place.at_us:x}-{last}"


def _place(text: object) -> Place:
    match = _CURSOR.fullmatch(str(text))
    if match is None:
        raise PydanticCustomError("cursor", "This is no cursor; take the `next` of the page before")
    at_us, event, mailing, step = match.groups()
    return Place(int(at_us, 16), int(event or "0", 16), mailing or "", int(step or "0"))


class StoryQuestion(Parameters):
    """Whom it is about, and which page of the timeline."""

    customer: Customer = Field(description="name:value of an ID, as registered:c-1001.")
    limit: PageSize = Field(100, description="Most entries of the timeline.")
    cursor: Annotated[Place, BeforeValidator(_place), WithJsonSchema({"type": "string"})] | None = Field(
        None, description="The `next` of the page before."
    )


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HeldIdDocument(_Document):
    """An ID that the customer has now."""

    value: str
    used_at: Time = Field(
        description="When it became the one used last; an ID that goes on being that is not noted again."
    )


class HeldPropertyDocument(_Document):
    value: Any
    set_at: Time


class MergeDocument(_Document):
    """Somebody who became part of this customer, or of one who did; *detail* says how that was known."""

    at: Time
    customer: int
    into: int
    created_at: Time | None = Field(description="When the other one was first known.")
    detail: str


class MovedIdDocument(_Document):
    """An ID that went to another customer, whose number then was *to*; *detail* says how that was known."""

    at: Time
    kind: str
    value: str
    to: int
    detail: str


class StorySuppressionDocument(_Document):
    """Why the customer gets no letter, or got none until it was lifted."""

    id: int
    kind: Kind
    note: str
    mailing_id: str | None = Field(description="The letter that told; null where a person did.")
    created_at: Time
    lifted_at: Time | None


class StoryLetterDocument(_Document):
    """A letter as it is now."""

    id: str
    state: State
    reason: str | None
    automation: str
    campaign: str | None
    variation: str | None
    created_at: Time
    asked_at: Time | None
    settled_at: Time | None
    status: str | None
    stage: str | None
    stage_at: Time | None
    heard_at: Time | None


class EntryDocument(_Document):
    """An event, or a time that is known of a letter; *said* is it in words."""

    at: Time
    said: str
    event: EventDocument | None
    letter: StoryLetterDocument | None


class StoryDocument(_Document):
    """Everything about one customer.

    *ids* by kind, the one used last at the end; *timeline* the newest first, by when it happened.  Of
    *merges*, *moved_ids* and *suppressions* the newest 1000, the newest first.
    """

    customer: int
    created_at: Time
    ids: dict[str, list[HeldIdDocument]]
    properties: dict[str, HeldPropertyDocument]
    merges: list[MergeDocument]
    moved_ids: list[MovedIdDocument]
    suppressions: list[StorySuppressionDocument]
    timeline: list[EntryDocument]
    next: str | None = Field(description="The cursor of the next page of the timeline; null on the last one.")


# -- written as text ------------------------------------------------------------------------------


def story_json(story: Story) -> str:
    """The text of a `StoryDocument`."""
    ids: dict[str, list[HeldIdDocument]] = {}
    for kind, value, used_us in story.ids:
        ids.setdefault(kind, []).append(HeldIdDocument(value=value, used_at=iso(used_us)))
    properties = [
        f'{quoted(name)}:{{"value":{value},"set_at":"{iso(set_us)}"}}'
        for name, value, set_us in story.properties
    ]
    of_ids = [f"{quoted(kind)}:{_listed(held)}" for kind, held in ids.items()]
    timeline = ",".join(map(_entry_json, story.timeline))
    return (
        f'{{"customer":{story.customer.id},"created_at":"{iso(story.customer.created_us)}"'
        f',"ids":{{{",".join(of_ids)}}},"properties":{{{",".join(properties)}}}'
        f',"merges":{_listed(_merges(story))},"moved_ids":{_listed(_moved(story))}'
        f',"suppressions":{_listed(map(_suppression, story.suppressions))}'
        f',"timeline":[{timeline}],"next":{quoted(story_cursor(story.next))}}}'
    )


def _listed(documents: Iterable[BaseModel]) -> str:
    return f"[{','.join(each.model_dump_json() for each in documents)}]"


def _merges(story: Story) -> Iterable[MergeDocument]:
    created_us = {each.id: each.created_us for each in story.merged}
    for trace in story.traces:
        if trace.type == MERGE:
            of_it = loads(trace.properties)
            yield MergeDocument(
                at=iso(trace.occurred_us),
                customer=of_it["source"],
                into=of_it["survivor"],
                created_at=_iso(created_us.get(of_it["source"])),
                detail=merge_said(trace),
            )


def _moved(story: Story) -> Iterable[MovedIdDocument]:
    for trace in story.traces:
        if trace.type == ID_MOVED:
            of_it = loads(trace.properties)
            yield MovedIdDocument(
                at=iso(trace.occurred_us),
                kind=of_it["id"],
                value=loads(trace.ids)[of_it["id"]],
                to=of_it["to"],
                detail=move_said(trace),
            )


def _suppression(row: SuppressionRow) -> StorySuppressionDocument:
    return StorySuppressionDocument(
        id=row.id,
        kind=Kind(row.kind),
        note=row.note,
        mailing_id=row.mailing_id,
        created_at=iso(row.created_us),
        lifted_at=_iso(row.lifted_us),
    )


def _entry_json(entry: Entry) -> str:
    if isinstance(entry, Moment):
        event, letter = "null", _letter(entry.letter).model_dump_json()
    else:
        event, letter = export.event_json(entry), "null"
    at = iso(place_of(entry).at_us)
    return f'{{"at":"{at}","said":{encode(said(entry))},"event":{event},"letter":{letter}}}'


def _letter(row: MailingRow) -> StoryLetterDocument:
    return StoryLetterDocument(
        id=row.id,
        state=State(row.state),
        reason=row.reason,
        automation=row.automation,
        campaign=row.campaign,
        variation=row.variation,
        created_at=iso(row.created_us),
        asked_at=_iso(row.asked_us),
        settled_at=_iso(row.settled_us),
        status=row.status,
        stage=row.stage,
        stage_at=_iso(row.stage_us),
        heard_at=_iso(row.heard_us),
    )


def _iso(time_us: int | None) -> str | None:
    return None if time_us is None else iso(time_us)
