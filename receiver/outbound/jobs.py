"""What is to be sent, how far it has come, and what became of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from receiver.outbound.given import Given
from receiver.outbound.optilyz import Optilyz
from receiver.settings import Settings
from receiver.store.letters import Fates
from receiver.store.mailings import Route, State

PRESET = "individual-post"


class NotSent(Exception):
    """Nothing could be begun; the message is a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Job:
    """A file of people, and what its letters have in common.

    Attributes:
        template: the name of a preset, or a file.
        variation: for all letters; None leaves it to the template, or else to Optilyz.
        once: who has, or will have, a letter of this automation and campaign gets no other one.
        limit: only so many rows of the file, from its beginning.
    """

    project_token: str
    file: Path | str | Given
    automation: str
    campaign: str | None = None
    template: str = PRESET
    route: Route = Route.MANY
    variation: int | None = None
    once: bool = True
    limit: int | None = None


class Progress(NamedTuple):
    """How far it has come: bytes of the file while it is ``prepared``, letters while they are ``sent``."""

    phase: str
    done: int
    total: int


Report = Callable[[Progress], None]


class Summary(NamedTuple):
    """What became of the letters of a run.

    Attributes:
        rows: of the file, prepared so far; as many letters are in *fates*.
        fates: (state, reason) -> letters; the reason is None for those that are in order.
        stopped: why letters are still waiting, in a sentence; None where none are.
        before: rows that an earlier call for the same job had prepared.
    """

    run_id: int
    rows: int
    fates: Fates
    stopped: str | None = None
    before: int = 0

    def count(self, *states: State) -> int:
        """Letters in any of *states*."""
        return sum(count for (state, _), count in self.fates.items() if state in states)


class Sample(NamedTuple):
    """One letter of a rehearsal.

    Attributes:
        row: of the file, counted from 1.
        ids: those that would travel in it.
        message: what is wrong with it, in sentences; empty where nothing is.
        recipient: as JSON, where it would be sent.
    """

    row: int
    ids: Mapping[str, str]
    state: State
    reason: str | None
    message: str
    recipient: str | None


class Rehearsal(NamedTuple):
    """What would be done.

    Attributes:
        request: the first one, its URL and its body; None where nothing is sent.
        samples: the first letters of each fate, in the order of the file.
        more: the file has more rows than were wanted.
    """

    rows: int
    fates: Fates
    request: tuple[str, str] | None
    samples: Sequence[Sample] = ()
    more: bool = False


def optilyz_of(settings: Settings) -> Optilyz:
    """The account of this installation.  Raises NotSent where there is no key."""
    key = settings.optilyz_api_key
    if key is None:
        raise NotSent("There is no key for Optilyz; set RECEIVER_OPTILYZ_API_KEY.")
    return Optilyz(settings.optilyz_base_url, key.get_secret_value(), seconds=settings.optilyz_seconds)
