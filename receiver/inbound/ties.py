"""Which letter a callback is about: by our own ID where it came back, else by the IDs that travelled."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from json import loads
from typing import NamedTuple

from receiver.domain.commands import Event
from receiver.store.mailings import PERHAPS_PRINTED, KnownLetter
from receiver.store.sets import Row


class Tie(StrEnum):
    """How an event was tied to its letter, or why it was tied to none."""

    MAILING_ID = "mailing_id"
    IDS = "ids"
    UNKNOWN_MAILING = "unknown_mailing"
    NO_MAILING = "no_mailing"
    SEVERAL_MAILINGS = "several_mailings"


class _Heard(NamedTuple):
    """What was heard of a letter, as a row of store.mailings.HEARD."""

    mailing: str
    status: str | None
    stage: str | None
    stage_us: int
    heard_us: int

    def then(self, later: "_Heard") -> "_Heard":
        """Both: the stage of what happened last, whatever came in last."""
        heard_us = max(self.heard_us, later.heard_us)
        newer = later.stage is not None and (self.stage is None or later.stage_us >= self.stage_us)
        return (later if newer else self)._replace(heard_us=heard_us)


class Letters:
    """The letters that the events of a group may be about.

    Args:
        known: those that have one of the group's mailing IDs, and those that carry one of its
            customer IDs for one of its campaigns.
    """

    def __init__(self, known: Iterable[KnownLetter]) -> None:
        self._heard: dict[str, _Heard] = {}
        self._by_id: dict[tuple[int, str], KnownLetter] = {}
        self._by_campaign: dict[tuple[int, str], list[tuple[Mapping[str, str], KnownLetter]]] = {}
        for letter in known:
            if self._by_id.setdefault((letter.project_id, letter.id), letter) is not letter:
                continue
            if letter.campaign is not None and letter.state in PERHAPS_PRINTED:
                of_campaign = self._by_campaign.setdefault((letter.project_id, letter.campaign), [])
                of_campaign.append((loads(letter.ids), letter))

    def hear(self, letter: KnownLetter, event: Event, heard_us: int) -> None:
        """*event* is about *letter*, and came in then."""
        heard = _Heard(letter.id, event.status, event.stage, event.occurred_us, heard_us)
        before = self._heard.get(letter.id)
        self._heard[letter.id] = heard if before is None else before.then(heard)

    def heard(self) -> list[Row]:
        """What was heard of letters, a row for each."""
        return list(self._heard.values())

    def tie(self, project_id: int, event: Event) -> tuple[KnownLetter | None, Tie | None]:
        """The letter of *event* and how it was told, or None and why; (None, None) where nothing of the
        event says that it is about a letter."""
        if event.mailing is not None:
            letter = self._by_id.get((project_id, event.mailing))
            return (letter, Tie.MAILING_ID) if letter else (None, Tie.UNKNOWN_MAILING)
        if event.campaign is None:
            return None, None
        fitting = [
            letter
            for ids, letter in self._by_campaign.get((project_id, event.campaign), ())
            if _fits(ids, event)
        ]
        if len(fitting) == 1:
            return fitting[0], Tie.IDS
        return None, Tie.SEVERAL_MAILINGS if fitting else Tie.NO_MAILING


def _fits(ids: Mapping[str, str], event: Event) -> bool:
    """One ID at least came back as it travelled, and none as another one."""
    same = [ids[kind] == value for kind, value in event.ids if kind in ids]
    return bool(same) and all(same)
