"""Alarms about callbacks: a reason of rejections begins to occur, or does so no more; and silence.

A reason that goes on is not told of again, and one that comes back within ALERT_QUIET_MINUTES has gone on.
"""

from collections.abc import Iterator

from sqlalchemy import Connection

from receiver.outbound.changes import Change, Told, at, begun
from receiver.store import alarms
from receiver.store.alarms import SILENCE, Refused

_AREA = "callbacks"


def of_rejections(connection: Connection, told: Told, now_us: int, quiet_us: int) -> Iterator[Change]:
    """A reason is over when nothing was refused for it for *quiet_us*."""
    recent = {
        (each.project_id, each.subject): each
        for each in alarms.recently_refused(connection, now_us - quiet_us)
    }
    for place, refused in recent.items():
        if place not in told:
            yield Change(begun(*place, refused.since_us), _began(refused), _AREA)
    for place, alarm in told.items():
        if place not in recent and alarm.reason is not None:
            refused = alarms.refused_since(connection, alarm.project_id, alarm.reason, alarm.since_us)
            yield Change(alarm, _is_over(refused), _AREA)


def of_silence(connection: Connection, told: Told, now_us: int, silence_us: int) -> Iterator[Change]:
    """Nothing was heard for *silence_us*, where that is not 0."""
    for project_id, callback_us, letter_us in alarms.heard(connection):
        alarm = told.get((project_id, SILENCE))
        since_us = letter_us if callback_us is None else callback_us
        if alarm is not None:
            if callback_us is not None and callback_us > alarm.since_us:
                again = f"callbacks are heard again; the last one came at {at(callback_us)}."
                yield Change(alarm, again, _AREA)
        elif silence_us and since_us is not None and since_us <= now_us - silence_us:
            alarm = begun(project_id, SILENCE, since_us)
            yield Change(alarm, _silent(since_us, ever_heard=callback_us is not None), _AREA)


# A pointer may hold what the sender calls things, so there is none in a sentence.


def _began(refused: Refused) -> str:
    return (
        f"callbacks are refused as {refused.reason}, {_times(refused)}."
        f" To see them: receiver rejections list PROJECT_TOKEN --reason {refused.reason}"
    )


def _is_over(refused: Refused) -> str:
    return f"no more callbacks are refused as {refused.reason}. It was {_times(refused)}."


def _times(refused: Refused) -> str:
    count = "once" if refused.times == 1 else f"{refused.times} times"
    return f"{count} since {at(refused.since_us)}, the last one at {at(refused.last_us)}"


def _silent(since_us: int, *, ever_heard: bool) -> str:
    if ever_heard:
        return f"no callback was heard since {at(since_us)}."
    return f"no callback was heard ever, though its first letter was sent at {at(since_us)}."
