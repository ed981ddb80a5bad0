"""People are told of alarms when they begin and when they are over; what lasts is not told of again."""

import time
from collections.abc import Iterator

from sqlalchemy import Connection, Engine

from receiver.domain.moments import HOUR_US, SECOND_US
from receiver.outbound.callback_alarms import of_rejections, of_silence
from receiver.outbound.changes import Change
from receiver.outbound.messenger import Messenger
from receiver.outbound.relay_alarms import of_relay
from receiver.settings import Settings
from receiver.store import alarms, keys, reports, writes
from receiver.store.sets import Ledger

_MINUTE_US = 60 * SECOND_US
# Longer than all URLs take to answer or to be given up.
_TELLING_US = 10 * _MINUTE_US


class Alarms:
    """Looks for what changed and tells of it; any number of processes may do so."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._messenger = Messenger(settings)
        self._engine = engine
        self._ledger = Ledger(engine)
        self._quiet_us = settings.alert_quiet_minutes * _MINUTE_US
        self._silence_us = settings.alert_silence_hours * HOUR_US
        self._behind_us = settings.relay_alert_minutes * _MINUTE_US

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
            title = f"receiver: {' and '.join(dict.fromkeys(each.area for each in news))}"
            lines = [f"Project {names[each.alarm.project_id]}: {each.sentence}" for each in news]
            sent = sent or self._messenger.send(title, lines)
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
            *of_rejections(connection, told, now_us, self._quiet_us),
            *of_silence(connection, told, now_us, self._silence_us),
            *of_relay(connection, told, now_us, self._behind_us),
        ):
            if (change.alarm.project_id, change.alarm.subject) not in busy:
                yield change._replace(alarm=change.alarm._replace(telling_until_us=until_us))
