"""What is not as it should be, and whether people know: reasons of rejections that occur, silence, and
the relay.

An alarm stands from its beginning until people were told of its end.  Who tells of either takes it for a
while, so that nobody else does meanwhile; who dies over that leaves it to the others.
"""

from typing import NamedTuple

from sqlalchemy import Connection, text

from receiver.domain.moments import hour_of
from receiver.store.sets import Transaction
from receiver.store.tables import alarms

SILENCE = "silence"
"""The subject of an alarm for a project from which no callback is heard."""

RELAY_STOPPED = "relay stopped"
"""Bloomreach turns us away, and something waits for it."""

RELAY_BEHIND = "relay behind"
"""Something has waited too long for Bloomreach."""

RELAY_SET_ASIDE = "relay set aside"
"""Something was set aside that was to be relayed."""

_REFUSED = "refused "


class Refused(NamedTuple):
    """How often the sender was refused for one reason, since the beginning of an hour, and when last."""

    project_id: int
    reason: str
    times: int
    since_us: int
    last_us: int

    @property
    def subject(self) -> str:
        return _REFUSED + self.reason


class Heard(NamedTuple):
    """When the last callback of a project came, and when its first letter was sent; None for never."""

    project_id: int
    callback_us: int | None
    letter_us: int | None


class Alarm(NamedTuple):
    """An alarm as it stands.

    Attributes:
        since_us: of silence when the last callback came, otherwise the first one was sent; of a reason the
            beginning of the hour since which its rejections are counted; of the relay when it was seen.
    """

    project_id: int
    subject: str
    since_us: int
    told: bool
    telling_until_us: int

    @property
    def reason(self) -> str | None:
        """Of rejections; None where it is not about them."""
        return self.subject.removeprefix(_REFUSED) if self.subject.startswith(_REFUSED) else None


# CROSS JOIN and the plain look-ups by key keep SQLite from reading more than the last hours.
RECENTLY_REFUSED = (
    "SELECT h.project_id, s.reason, sum(h.times), min(h.hour_us), max(h.last_us)"
    " FROM projects AS p CROSS JOIN shape_hours AS h JOIN shapes AS s ON s.id = h.shape_id"
    " WHERE h.project_id = p.id AND h.hour_us >= :hour_us AND h.last_us > :after_us"
    " GROUP BY h.project_id, s.reason ORDER BY h.project_id, s.reason"
)
_REFUSED_SINCE = (
    "SELECT coalesce(sum(h.times), 0), coalesce(max(h.last_us), 0)"
    " FROM shape_hours AS h JOIN shapes AS s ON s.id = h.shape_id"
    " WHERE h.project_id = :project_id AND h.hour_us >= :since_us AND s.reason = :reason"
)
# The first letter by its ID, which ascends with time: it is found by the index.
HEARD = (
    "SELECT p.id, (SELECT max(c.last_us) FROM counters AS c WHERE c.project_id = p.id"
    " AND c.source = 'callback' AND c.hour_us = (SELECT max(h.hour_us) FROM counters AS h"
    " WHERE h.project_id = p.id AND h.source = 'callback')),"
    " (SELECT coalesce(m.asked_us, m.created_us) FROM mailings AS m"
    " WHERE m.project_id = p.id AND m.state = 'queued' ORDER BY m.id LIMIT 1)"
    " FROM projects AS p ORDER BY p.id"
)


def recently_refused(connection: Connection, after_us: int) -> list[Refused]:
    """What the sender sent after that time and was refused, by project and reason; replays do not count."""
    rows = connection.execute(text(RECENTLY_REFUSED), {"hour_us": hour_of(after_us), "after_us": after_us})
    # Of repeats before an upgrade it is not known in which hour they came: the last one came in its own.
    return [
        Refused(project_id, reason, max(int(times), 1), *when) for project_id, reason, times, *when in rows
    ]


def refused_since(connection: Connection, project_id: int, reason: str, since_us: int) -> Refused:
    """What was refused for a reason since an alarm began; reads as many hours as it has lasted."""
    wanted = {"project_id": project_id, "since_us": since_us, "reason": reason}
    times, last_us = connection.execute(text(_REFUSED_SINCE), wanted).one()
    return Refused(project_id, reason, max(int(times), 1), since_us, last_us)


def heard(connection: Connection) -> list[Heard]:
    """Of every project."""
    return [Heard(*row) for row in connection.execute(text(HEARD))]


def standing(connection: Connection) -> list[Alarm]:
    """All alarms, also those of which somebody is just telling."""
    return [Alarm(*row) for row in connection.execute(alarms.select())]


def take(transaction: Transaction, alarm: Alarm, now_us: int) -> bool:
    """Whether the caller tells of *alarm*: of its end if people were told that it began, else of that.

    False where somebody else does, or has done, so.  The caller has it until its ``telling_until_us``.
    """
    place = alarm.project_id, alarm.subject
    if alarm.told:
        statement = (
            "UPDATE alarms SET telling_until_us = ?"
            " WHERE project_id = ? AND subject = ? AND told AND telling_until_us <= ? RETURNING 1"
        )
        return bool(transaction.execute(statement, (alarm.telling_until_us, *place, now_us))())
    statement = (
        "INSERT INTO alarms (project_id, subject, since_us, told, telling_until_us)"
        " VALUES (?, ?, ?, false, ?) ON CONFLICT (project_id, subject) DO UPDATE"
        " SET since_us = excluded.since_us, telling_until_us = excluded.telling_until_us"
        " WHERE NOT alarms.told AND alarms.telling_until_us <= ? RETURNING 1"
    )
    return bool(transaction.execute(statement, (*place, alarm.since_us, alarm.telling_until_us, now_us))())


def settle(transaction: Transaction, alarm: Alarm, *, sent: bool) -> None:
    """What was taken was told of, or the message did not get through and is to be told later.

    Nothing happens where it took so long that somebody else has taken it.
    """
    if alarm.told == sent:  # its end was told, or its beginning was not
        change = "DELETE FROM alarms"
    else:
        change = "UPDATE alarms SET told = true, telling_until_us = 0"
    transaction.execute(
        f"{change} WHERE project_id = ? AND subject = ? AND telling_until_us = ?",
        (alarm.project_id, alarm.subject, alarm.telling_until_us),
    )
