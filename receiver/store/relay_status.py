"""What is asked about the outbox: statements that only read."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from receiver.domain.moments import HOUR_US, SECOND_US, hour_of
from receiver.store import outbox, relay_pump
from receiver.store.outbox import WAITING
from receiver.store.relay_pump import Pump

# Who relays looks every half second, and has the lease while anything waits.
_LOOKS_US = 10 * SECOND_US


class Totals(NamedTuple):
    """What came into the outbox of a project and left it, ever; and when its oldest command was given.

    Attributes:
        oldest_us: of those that wait; None where none does.
    """

    project_id: int
    given: int
    sent: int
    set_aside: int
    retried: int
    withdrawn: int
    discarded: int
    oldest_us: int | None

    @property
    def waiting(self) -> int:
        return self.given + self.retried - self.sent - self.set_aside - self.withdrawn

    @property
    def aside(self) -> int:
        """How many are set aside now."""
        return self.set_aside - self.retried - self.discarded


class Kept(NamedTuple):
    """How many rows the outbox itself holds, to be compared with `Totals`."""

    project_id: int
    waiting: int
    aside: int


class Aside(NamedTuple):
    """Commands that were set aside for the same reason; *first_us* and *last_us* are when."""

    reason: str
    message: str
    commands: int
    first_us: int
    last_us: int


class Hour(NamedTuple):
    """What came into the outbox of a project and left it within an hour."""

    hour_us: int
    given: int
    sent: int
    set_aside: int
    retried: int
    withdrawn: int
    discarded: int


class State(StrEnum):
    """How it goes with what is relayed of a project."""

    OFF = "off"
    """What is accepted is not relayed."""
    QUIET = "quiet"
    """It is on, and nothing waits."""
    STOPPED = "stopped"
    """Bloomreach turns us away, which only a person can mend."""
    UNATTENDED = "unattended"
    """Something waits and nobody relays."""
    AWAY = "away"
    """Bloomreach cannot be reached; that is tried again by itself."""
    RELAYING = "relaying"


class RelayStatus(NamedTuple):
    """How it goes with what is relayed of one project, at *now_us*.

    Attributes:
        on: what is accepted is given to the outbox.
        pump: of all projects together.
    """

    on: bool
    totals: Totals
    pump: Pump
    now_us: int

    @property
    def state(self) -> State:
        pump, now_us = self.pump, self.now_us
        if not self.totals.waiting:
            return State.QUIET if self.on else State.OFF
        if not pump.is_held(now_us):
            if not self.on:
                return State.OFF
            if max(pump.open_us, self.totals.oldest_us or 0) < now_us - _LOOKS_US:
                return State.UNATTENDED
        if pump.stopped:
            return State.STOPPED
        return State.AWAY if pump.failures else State.RELAYING

    @property
    def age_us(self) -> int | None:
        """How long the oldest one has waited; None where none waits."""
        oldest_us = self.totals.oldest_us
        return None if oldest_us is None else max(0, self.now_us - oldest_us)

    @property
    def per_second(self) -> int | None:
        """How quickly commands leave, of all projects; None where none does now."""
        relays = (self.pump.sent_us or 0) > self.now_us - _LOOKS_US
        return self.pump.per_second if relays and not self.pump.failures else None


# Who has nothing to wait for need not look for the first one.
_TOTALS = (
    "SELECT p.id, coalesce(sum(h.given), 0), coalesce(sum(h.sent), 0), coalesce(sum(h.set_aside), 0),"
    " coalesce(sum(h.retried), 0), coalesce(sum(h.withdrawn), 0), coalesce(sum(h.discarded), 0),"
    " CASE WHEN sum(h.given + h.retried - h.sent - h.set_aside - h.withdrawn) > 0 THEN (SELECT o.given_us"
    f" FROM outbox AS o WHERE o.project_id = p.id AND o.{WAITING} ORDER BY o.id LIMIT 1) END"
    " FROM projects AS p LEFT JOIN outbox_hours AS h ON h.project_id = p.id"
)
_OF_ALL = text(f"{_TOTALS} GROUP BY p.id ORDER BY p.id")
_OF_ONE = text(f"{_TOTALS} WHERE p.id = :project_id GROUP BY p.id")
_HOURS = text(
    f"SELECT {', '.join(Hour._fields)} FROM outbox_hours"
    " WHERE project_id = :project_id AND hour_us >= :since_us ORDER BY hour_us"
)
_KEPT = text(
    f"SELECT project_id, sum(CASE WHEN {WAITING} THEN 1 ELSE 0 END),"
    f" sum(CASE WHEN {WAITING} THEN 0 ELSE 1 END) FROM outbox GROUP BY project_id ORDER BY project_id"
)


def totals(connection: Connection) -> list[Totals]:
    """Of every project."""
    return [_totals(row) for row in connection.execute(_OF_ALL)]


def status(connection: Connection, project_id: int, now_us: int) -> RelayStatus:
    """Of one project; from counters, and the first row that waits."""
    of_one = _totals(connection.execute(_OF_ONE, {"project_id": project_id}).one())
    return RelayStatus(outbox.is_on(connection), of_one, relay_pump.read(connection), now_us)


def statuses(connection: Connection, now_us: int) -> list[RelayStatus]:
    """Of every project."""
    on, pump = outbox.is_on(connection), relay_pump.read(connection)
    return [RelayStatus(on, each, pump, now_us) for each in totals(connection)]


def last_hours(connection: Connection, project_id: int, now_us: int, number: int = 24) -> list[Hour]:
    """What happened within that many hours, this one included, the oldest first; also where nothing did."""
    this_us = hour_of(now_us)
    since_us = this_us - (number - 1) * HOUR_US
    rows = connection.execute(_HOURS, {"project_id": project_id, "since_us": since_us})
    known = {each.hour_us: each for each in (Hour(*row) for row in rows)}
    return [known.get(each, Hour(each, 0, 0, 0, 0, 0, 0)) for each in range(since_us, this_us + 1, HOUR_US)]


def _totals(row: Sequence[Any]) -> Totals:
    # PostgreSQL's sums are no whole numbers.
    *counts, oldest_us = row
    return Totals._make([*map(int, counts), oldest_us])


def kept(connection: Connection) -> list[Kept]:
    """Of every project that has a row there; reads all of them."""
    return [Kept(*map(int, row)) for row in connection.execute(_KEPT)]
