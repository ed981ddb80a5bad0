"""People are told when a reason of rejections begins to occur and when that is over, and of silence.

Told is what changed, and only that: a reason that goes on is not told of again, and one that comes back
within ALERT_QUIET_MINUTES has gone on.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from receiver.domain.moments import HOUR_US, SECOND_US, iso
from receiver.outbound.messenger import Messenger
from receiver.settings import Settings
from receiver.store import alarms, keys, reports, writes
from receiver.store.alarms import SILENCE, Alarm, Refused
from receiver.store.sets import Ledger

_MINUTE_US = 60 * SECOND_US
# Longer than all URLs take to answer or to be given up.
_TELLING_US = 10 * _MINUTE_US
_NOBODY_TELLS = 0


class Change(NamedTuple):
    """An alarm that has begun (nobody was told) or that is over, and the sentence about it."""

    alarm: Alarm
    sentence: str


class Alarms:
    """Looks for what changed and tells of it; any number of processes may do so."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._messenger = Messenger(settings)
        self._engine = engine
        self._ledger = Ledger(engine)
        self._quiet_us = settings.alert_quiet_minutes * _MINUTE_US
        self._silence_us = settings.alert_silence_hours * HOUR_US

    def look(self, now_us: int | None = None) -> None:
        """Tell of all that changed.  Where nothing did, or nobody is to be told, this only reads."""
        if not self._messenger.reaches_anybody:
            return
        now_us = time.time_ns() // 1000 if now_us is None else now_us
        with reports.reading(self._engine) as connection:
            changes = list(self._changes(connection, now_us))
            names = {project.id: project.name for project in keys.projects(connection)} if changes else {}
        if not changes:
            return
        with self._ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            news = [each for each in changes if alarms.take(transaction, each.alarm, now_us)]
        # Without the lock, as it takes as long as others take.
        sent = not news
        try:
            lines = [f"Project {names[each.alarm.project_id]}: {each.sentence}" for each in news]
            sent = sent or self._messenger.send("receiver: callbacks", lines)
        finally:
            if news:
                with self._ledger.transaction() as transaction:
                    writes.take_turn(transaction, 0)
                    for each in news:
                        alarms.settle(transaction, each.alarm, sent=sent)

    def close(self) -> None:
        self._ledger.close()

    def _changes(self, connection: Connection, now_us: int) -> Iterator[Change]:
        """What people do not know of, and nobody is just telling them."""
        until_us = now_us + _TELLING_US
        standing = {(each.project_id, each.subject): each for each in alarms.standing(connection)}
        busy = {place for place, each in standing.items() if each.telling_until_us > now_us}
        told = {place: each for place, each in standing.items() if each.told}
        for change in (
            *self._rejections(connection, told, now_us),
            *self._silences(connection, told, now_us),
        ):
            if (change.alarm.project_id, change.alarm.subject) not in busy:
                yield change._replace(alarm=change.alarm._replace(telling_until_us=until_us))

    def _rejections(
        self, connection: Connection, told: dict[tuple[int, str], Alarm], now_us: int
    ) -> Iterator[Change]:
        recent = {
            (each.project_id, each.subject): each
            for each in alarms.recently_refused(connection, now_us - self._quiet_us)
        }
        for place, refused in recent.items():
            if place not in told:
                alarm = Alarm(*place, refused.since_us, False, _NOBODY_TELLS)
                yield Change(alarm, _began(refused))
        for place, alarm in told.items():
            if place not in recent and alarm.subject != SILENCE:
                yield Change(alarm, _is_over(alarms.refused_since(connection, alarm)))

    def _silences(
        self, connection: Connection, told: dict[tuple[int, str], Alarm], now_us: int
    ) -> Iterator[Change]:
        for project_id, callback_us, letter_us in alarms.heard(connection):
            alarm = told.get((project_id, SILENCE))
            since_us = letter_us if callback_us is None else callback_us
            if alarm is not None:
                if callback_us is not None and callback_us > alarm.since_us:
                    yield Change(
                        alarm, f"callbacks are heard again; the last one came at {_at(callback_us)}."
                    )
            elif self._silence_us and since_us is not None and since_us <= now_us - self._silence_us:
                alarm = Alarm(project_id, SILENCE, since_us, False, _NOBODY_TELLS)
                yield Change(alarm, _silent(since_us, ever_heard=callback_us is not None))


# Counts and codes only: a message is nobody's place to read names, and a pointer may hold what the sender
# calls things.


def _began(refused: Refused) -> str:
    return (
        f"callbacks are refused as {refused.reason}, {_times(refused)}."
        f" To see them: receiver rejections list PROJECT_TOKEN --reason {refused.reason}"
    )


def _is_over(refused: Refused) -> str:
    return f"no more callbacks are refused as {refused.reason}. It was {_times(refused)}."


def _times(refused: Refused) -> str:
    count = "once" if refused.times == 1 else f"{refused.times} times"
    return f"{count} since {_at(refused.since_us)}, the last one at {_at(refused.last_us)}"


def _silent(since_us: int, *, ever_heard: bool) -> str:
    if ever_heard:
        return f"no callback was heard since {_at(since_us)}."
    return f"no callback was heard ever, though its first letter was sent at {_at(since_us)}."


def _at(time_us: int) -> str:
    """``2026-11-23T09:30Z``."""
    return f"{iso(time_us)[:16]}Z"
