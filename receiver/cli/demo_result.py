"""What came of the demo: everybody's counts, whether they agree, and how they are shown."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Engine

from receiver.cli.demo_people import NUMBER
from receiver.store import letters, outcomes, refusal_counts, reports
from receiver.store.event_places import EventFilter
from receiver.store.mailings import Reason, State
from receiver.store.outcomes import Counts
from receiver.store.refused import RejectionFilter
from receiver.store.writes import Source

Fate = tuple[str, str | None, str | None]
"""A letter's state, the reason for it, and the stage that was heard of last."""


class Result(NamedTuple):
    """What each of those who took part counted.

    Attributes:
        fates: letters by fate, as the database has them.
        sent: what `receiver send` said.
        seen: what the simulated Optilyz saw.
        callbacks: what the service counted of the commands that came in.
        refused: rejections by reason.
        disagreements: hours whose counters and events do not agree.
        returned: the IDs of somebody whose letter came back; empty where there is none.
    """

    fates: Mapping[Fate, int]
    sent: Mapping[str, Any]
    seen: Mapping[str, Any]
    callbacks: Counts
    refused: Mapping[str, int]
    disagreements: int
    returned: Mapping[str, str]

    def wrong(self) -> list[str]:
        """Sentences about what does not add up; each number is compared with somebody else's."""
        posted, callbacks = self.seen["callbacks"], self.callbacks
        known = callbacks.accepted + callbacks.duplicate
        unheard = sum(
            count for (state, _, stage), count in self.fates.items() if state == State.QUEUED and not stage
        )
        compared = (
            ("rows of the file", NUMBER, "letters", sum(self.fates.values())),
            ("rows of the file", NUMBER, "rows that were sent", self.sent["rows"]),
            ("letters queued", self._count(State.QUEUED), "at Optilyz", self.seen["queued"]),
            ("refused by Optilyz", self._refused_there(), "it says", self.seen["refused"]),
            ("letters still open", self._count(State.INTENDED, State.ASKED, State.UNKNOWN), "wanted", 0),
            ("letters sent twice", self.seen["duplicates"], "wanted", 0),
            ("queued letters of which nothing was heard", unheard, "wanted", 0),
            ("callbacks posted", posted["posted"], "received", callbacks.received),
            ("callbacks that succeeded", posted["accepted"], "kept or known", known),
            ("callbacks refused", callbacks.rejected, "rejections", sum(self.refused.values())),
            ("hours in which counters and events disagree", self.disagreements, "wanted", 0),
        )
        return [f"{what}: {one}, {other}: {two}" for what, one, other, two in compared if one != two]

    def document(self) -> dict[str, object]:
        """For machines."""
        return {
            "rows": NUMBER,
            "letters": [
                {"state": state, "reason": reason, "stage": stage, "count": count}
                for (state, reason, stage), count in self.fates.items()
            ],
            "send": self.sent,
            "optilyz": self.seen,
            "callbacks": self.callbacks._asdict(),
            "rejections": [{"reason": reason, "count": count} for reason, count in self.refused.items()],
            "wrong": self.wrong(),
        }

    def text(self) -> str:
        """For people: two tables that add up."""
        callbacks = self.callbacks
        became = [
            ("kept with their customers and letters", callbacks.accepted),
            ("repeats, known already", callbacks.duplicate),
            *((_why_refused(reason), count) for reason, count in self.refused.items()),
        ]
        return "\n\n".join(
            (
                "What became of the rows of the file:",
                _sum(((_fate(*fate), count) for fate, count in self.fates.items()), "rows"),
                "What became of the callbacks:",
                _sum(became, "callbacks"),
            )
        )

    def _count(self, *states: State) -> int:
        return sum(count for (state, *_), count in self.fates.items() if state in states)

    def _refused_there(self) -> int:
        return sum(
            count for (_, reason, _), count in self.fates.items() if reason == Reason.REFUSED_BY_OPTILYZ
        )


def read(engine: Engine, project_token: str, sent: Mapping[str, Any], seen: Mapping[str, Any]) -> Result:
    """Ask the database, and put what it says beside what others *sent* and have *seen*."""
    with reports.reading(engine) as connection:
        project_id = reports.find_project(connection, project_token)
        assert project_id is not None, "the demo has made it"
        mailings = letters.summary(connection, project_id, None)
        counted = outcomes.outcomes(connection, project_id, None, None)
        disagreements = outcomes.disagreements(connection, project_id, None, None)
        reasons = refusal_counts.summary(connection, project_id, RejectionFilter())
        returned = reports.events_page(connection, project_id, EventFilter(stage="returned"), limit=1).rows
    # Two of them, where midnight has passed.
    callbacks = [counts for span, counts in counted.items() if span.source == Source.CALLBACK]
    return Result(
        _fates(mailings),
        sent,
        seen,
        Counts(*map(sum, zip(*callbacks, strict=True))),
        {each.reason: each.count for each in reasons},
        len(disagreements),
        json.loads(returned[0].ids) if returned else {},
    )


def _fates(mailings: letters.Counts) -> dict[Fate, int]:
    """In the order of the states, the most frequent ones first."""
    states = list(State)
    fates: dict[Fate, int] = {(State.QUEUED, None, stage): count for stage, count in mailings.stages.items()}
    for (state, reason), count in mailings.fates.items():
        if state != State.QUEUED:
            fates[state, reason, None] = count
    return dict(sorted(fates.items(), key=lambda fate: (states.index(State(fate[0][0])), -fate[1])))


# -- in words -------------------------------------------------------------------------------------


def _fate(state: str, reason: str | None, stage: str | None) -> str:
    if state == State.QUEUED:
        return f"queued at Optilyz; heard of last: {stage or 'nothing yet'}"
    if reason == Reason.REFUSED_BY_OPTILYZ:
        return "refused by Optilyz"
    return f"{state} before they were sent: {reason}" if reason else state


def _why_refused(reason: str) -> str:
    why = {
        "empty_customer_id": ", as control addresses have no customer",
        "placeholder_customer_id": ", as the sender's template was not filled",
        "timestamp_in_milliseconds": ", as a template counts in them",
    }
    return f"refused: {reason}{why.get(reason, '')}"


def _sum(parts: Iterable[tuple[str, int]], what: str) -> str:
    parts = list(parts)
    lines = [f"  {count:7,}  {words}" for words, count in parts]
    return "\n".join([*lines, "  -------", f"  {sum(count for _, count in parts):7,}  {what}"])
