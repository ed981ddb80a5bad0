"""What was said once and is not to be said again: answers of the gateway, and notices to people."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, exists, select, text

from receiver.store.mailings import Reason, State
from receiver.store.sets import Insert, Transaction
from receiver.store.tables import gateway_answers, mailings, notices

_INSERT_ANSWER = Insert(
    gateway_answers,
    "ON CONFLICT (project_id, key) DO UPDATE SET"
    " answered_us = excluded.answered_us, answer = excluded.answer",
)
_INSERT_NOTICE = Insert(notices, "ON CONFLICT (project_id, subject) DO UPDATE SET sent_us = excluded.sent_us")


def first_answer(transaction: Transaction, project_id: int, key: bytes, since_us: int) -> str | None:
    """What the same request was answered since then."""
    rows = transaction.execute(
        "SELECT answer FROM gateway_answers WHERE project_id = ? AND key = ? AND answered_us > ?",
        (project_id, key, since_us),
    )()
    return rows[0][0] if rows else None


def keep_answer(
    transaction: Transaction, project_id: int, key: bytes, now_us: int, answer: str, forget_us: int
) -> None:
    """Keep it, and let a few go that were given before *forget_us*."""
    transaction.insert(_INSERT_ANSWER, [(project_id, key, now_us, answer)])
    transaction.execute(
        "DELETE FROM gateway_answers WHERE (project_id, key) IN (SELECT project_id, key FROM gateway_answers"
        " WHERE answered_us < ? ORDER BY answered_us LIMIT 10)",
        (forget_us,),
    )


class Untold(NamedTuple):
    """Letters of one kind that nobody was told of; *what* is ``refused``, ``unknown_automation``,
    ``unknown`` or ``returned``."""

    project_id: int
    run_id: int | None
    automation: str
    campaign: str | None
    what: str
    letters: int

    @property
    def subject(self) -> str:
        """What is told of once."""
        if self.run_id is not None:
            return f"{self.what} {self.run_id}"
        return f"{self.what} {self.automation} {self.campaign or ''}"


_WHAT = (
    "CASE WHEN stage = 'returned' THEN 'returned'"
    f" WHEN reason = '{Reason.UNKNOWN_AUTOMATION}' THEN reason ELSE state END"
)
# What was heard or decided meanwhile may have made it all good.
_NEWS = f"untold AND (stage = 'returned' OR state IN ('{State.REFUSED}', '{State.UNKNOWN}'))"
_BEFORE = f"{_NEWS} AND coalesce(heard_us, settled_us) < ?"


def is_anything_untold(connection: Connection) -> bool:
    """Whether there may be news.  Only reads."""
    return bool(connection.execute(select(exists().where(text(_NEWS)).select_from(mailings))).scalar_one())


def untold(transaction: Transaction, run_id: int | None, before_us: int) -> list[Untold]:
    """What happened before that time to letters of the run, or (None) of all; a run that is not over is
    only told of what came back."""
    rows = transaction.execute(
        f"SELECT project_id, run_id, automation, campaign, {_WHAT}, count(*) FROM mailings AS m"
        f" WHERE {_BEFORE}"
        + ("" if run_id is None else f" AND run_id = {run_id:d}")
        + " AND (stage = 'returned' OR NOT EXISTS (SELECT 1 FROM mailings AS o WHERE o.run_id = m.run_id"
        f" AND o.state IN ('{State.INTENDED}', '{State.ASKED}')))"
        f" GROUP BY project_id, run_id, automation, campaign, {_WHAT}",
        (before_us,),
    )()
    return [Untold(*row) for row in rows]


def told(transaction: Transaction, news: Iterable[Untold], before_us: int) -> None:
    """Nobody needs to be told of them any more."""
    for each in news:
        transaction.execute(
            f"UPDATE mailings SET untold = false WHERE {_BEFORE}"
            " AND project_id = ? AND coalesce(run_id, 0) = ?"
            f" AND automation = ? AND coalesce(campaign, '') = ? AND {_WHAT} = ?",
            (before_us, each.project_id, each.run_id or 0, each.automation, each.campaign or "", each.what),
        )


def may_notify(transaction: Transaction, news: Untold, now_us: int, since_us: int) -> bool:
    """Whether nobody was notified of the subject since then; from now on somebody was."""
    rows = transaction.execute(
        "SELECT 1 FROM notices WHERE project_id = ? AND subject = ? AND sent_us > ?",
        (news.project_id, news.subject, since_us),
    )()
    if rows:
        return False
    transaction.insert(_INSERT_NOTICE, [(news.project_id, news.subject, now_us)])
    return True


def not_notified(transaction: Transaction, news: Iterable[Untold]) -> None:
    """The notification did not get through."""
    for each in news:
        statement = "DELETE FROM notices WHERE project_id = ? AND subject = ?"
        transaction.execute(statement, (each.project_id, each.subject))
