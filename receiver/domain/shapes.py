"""What refused commands have in common, by which people look at them: the reason, the failing place, the
event type and campaign as far as they can be read."""

from collections.abc import Mapping
from typing import NamedTuple

from receiver.domain.commands import Form, Rules
from receiver.domain.events import FLAT_EVENT_TYPE, flat_campaign
from receiver.domain.fields import MAX_TEXT, first_text, is_storable, text_of
from receiver.domain.hashes import number_of


class Shape(NamedTuple):
    """Everything that rejections of one shape share."""

    project_id: int
    form: str
    reason: str
    pointer: str
    event_type: str | None
    campaign: str | None

    @property
    def id(self) -> int:
        """Its number: a hash, so that whoever refuses something need not look it up."""
        return number_of(self)


def told(form: Form, sent: object, rules: Rules) -> tuple[str | None, str | None]:
    """The event type and the campaign of a command that was refused, None where it does not tell.

    *sent* is the event or update itself, which may be anything.
    """
    if not isinstance(sent, Mapping):
        return None, None
    flat = form in {Form.FLAT, Form.FLAT_ITEM}
    event_type = sent.get("event_type")
    if event_type is None and flat:
        event_type = FLAT_EVENT_TYPE
    campaign = flat_campaign(sent, rules) if flat else None
    properties = sent if flat else sent.get("properties")
    if campaign is None and isinstance(properties, Mapping):
        campaign = first_text(properties, rules.campaign_properties, MAX_TEXT)
    # As sent, as an accepted one is kept.
    named = event_type if isinstance(event_type, str) else text_of(event_type)
    return _storable(named), _storable(campaign)


def _storable(text: str | None) -> str | None:
    return text if text and text.strip() and len(text) <= MAX_TEXT and is_storable(text) else None
