"""What happened to a customer, in words of fact.  They quote IDs and the sender's words, no addresses."""

from json import loads

from receiver.store.customer_story import ID_MOVED, MERGE, Entry, Moment, Step
from receiver.store.mailings import State
from receiver.store.reports import EventRow
from receiver.store.writes import Source


def said(entry: Entry) -> str:
    """One entry of the timeline."""
    if isinstance(entry, Moment):
        return _of_letter(entry)
    if entry.source == Source.IDENTITY and entry.type == MERGE:
        return f"merged: {merge_said(entry)}"
    if entry.source == Source.IDENTITY and entry.type == ID_MOVED:
        return f"ID moved: {move_said(entry)}"
    return _of_event(entry)


def merge_said(trace: EventRow) -> str:
    """Who became part of whom, and by which IDs that was known."""
    of_it = loads(trace.properties)
    return f"customer {of_it['source']} became part of customer {of_it['survivor']}, as {_together(trace)}"


def move_said(trace: EventRow) -> str:
    """Which ID went to whom, and by which IDs that was known."""
    of_it = loads(trace.properties)
    moved = f"{of_it['id']}={loads(trace.ids)[of_it['id']]}"
    return f"{moved} went from this customer to customer {of_it['to']}, as {_together(trace)}"


def _together(trace: EventRow) -> str:
    ids = [f"{kind}={value}" for kind, value in loads(trace.ids).items()]
    return f"{' and '.join(ids)} came in together"


def _of_event(event: EventRow) -> str:
    # Nearly all are of the type campaign, which says nothing beside a status.
    names = [event.status] if event.type == "campaign" and event.status else [event.type, event.status]
    words = ["event", *names]
    if event.campaign is not None:
        words += ["campaign", event.campaign]
    if event.mailing is not None:
        words.append(f"(letter {event.mailing})")
    return " ".join(word for word in words if word)


_SETTLED = {
    State.QUEUED: "queued at Optilyz",
    State.REFUSED: "refused",
    State.SUPPRESSED: "not sent",
    State.UNKNOWN: "asked for, but nobody knows what became of it",
    State.CANCELLED: "cancelled",
}


def _of_letter(moment: Moment) -> str:
    letter = moment.letter
    if moment.step is Step.MADE:
        campaign = "" if letter.campaign is None else f" campaign {letter.campaign}"
        return f"letter made{campaign} ({letter.id})"
    if moment.step is Step.ASKED:
        return f"letter asked for at Optilyz ({letter.id})"
    if moment.step is Step.HEARD:
        heard = f": {letter.stage}" if letter.stage else ""
        return f"letter last heard of{heard} ({letter.id})"
    reason = f": {letter.reason}" if letter.reason else ""
    return f"letter {_SETTLED.get(State(letter.state), letter.state)}{reason} ({letter.id})"
