"""People are told of letters that need them: once per run, not once per letter.

A letter that Optilyz refused, of which nobody knows, or that came back, waits until somebody was
notified.  A run tells once of each of these; what came through the gateway once a day per automation
and campaign.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Engine

from receiver import telemetry
from receiver.domain.moments import DAY_US
from receiver.outbound.alarms import Alarms
from receiver.outbound.messenger import Messenger
from receiver.settings import Settings
from receiver.store import reports, said, writes
from receiver.store.engine import fault
from receiver.store.said import Untold
from receiver.store.sets import Ledger

_SECONDS = 5.0
# Of callbacks that are refused, or that do not come.
_ALARM_SECONDS = 60.0
# Letters of one run come to their end together: a moment's patience makes one notice of them.
_SETTLING_US = 10 * 1_000_000

_SENTENCES = {
    "refused": "{count} refused by Optilyz; their addresses are marked as bad until they change.",
    "unknown_automation": "{count} refused: Optilyz has no such automation, or it is not live.",
    "unknown": "{count} without an answer: nobody knows whether they are printed. Look them up at Optilyz,"
    " then run `receiver mailings resolve`.",
    "returned": "{count} came back; their addresses are marked as bad until they change.",
}


class Notices:
    """Looks for letters that nobody was told of, in a thread of its own, where ALERT_URLS are set.

    The same thread looks for alarms about callbacks.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._messenger = Messenger(settings)
        self._alarms = Alarms(engine, settings)
        self._engine = engine
        self._ledger = Ledger(engine)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        if self._messenger.reaches_anybody:
            self._thread.start()

    def stop(self) -> Sequence[threading.Thread]:
        """What is to be waited for."""
        self._stop.set()
        return [self._thread]

    def _run(self) -> None:
        alarms_at = time.monotonic()
        while not self._stop.wait(_SECONDS):
            _attempt(self._look)
            if time.monotonic() >= alarms_at:
                _attempt(self._alarms.look)
                alarms_at = time.monotonic() + _ALARM_SECONDS
        self.close()

    def _look(self) -> None:
        with reports.reading(self._engine) as connection:
            news = said.is_anything_untold(connection)
        if news:
            self.tell(before_us=time.time_ns() // 1000 - _SETTLING_US)

    def tell(self, *, run_id: int | None = None, before_us: int | None = None) -> None:
        """Notify of all that nobody was told of, or of one run only; of what happened before that time.

        A run is told of when it is over; of what came back since then at any time.
        """
        if not self._messenger.reaches_anybody:
            return
        now_us = time.time_ns() // 1000
        before_us = before_us or now_us
        with self._ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            untold = said.untold(transaction, run_id, before_us)
            news = [
                each for each in untold if said.may_notify(transaction, each, now_us, _since_us(each, now_us))
            ]
        # Without the lock, as it takes as long as others take; nobody else tells of the same meanwhile.
        sent = not news
        try:
            sent = sent or self._messenger.send("receiver: letters need you", list(map(_line, news)))
        finally:
            with self._ledger.transaction() as transaction:
                writes.take_turn(transaction, 0)
                if sent:
                    said.told(transaction, untold, before_us)
                else:
                    said.not_notified(transaction, news)

    def close(self) -> None:
        self._ledger.close()
        self._alarms.close()


def _attempt(look: Callable[[], None]) -> None:
    """Whatever it is: a thread that ended would leave people in the dark for ever."""
    try:
        look()
    except Exception as error:
        level = logging.ERROR if fault(error) is None else logging.WARNING
        telemetry.log("notice_failed", level=level, **telemetry.described(error))


def _since_us(news: Untold, now_us: int) -> int:
    """Nobody is told again who was told after this."""
    return now_us - DAY_US if news.run_id is None else 0


def _line(news: Untold) -> str:
    """Counts and codes only: a notice is nobody's place to read names."""
    where = f"campaign {news.campaign}" if news.campaign else "no campaign"
    what = _SENTENCES[news.what].format(count="1 letter" if news.letters == 1 else f"{news.letters} letters")
    return f"Automation {news.automation}, {where}: {what}"
