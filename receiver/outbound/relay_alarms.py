"""Alarms about the relay: Bloomreach turns us away, something has waited too long, or was set aside."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from sqlalchemy import Connection

from receiver.outbound.changes import Change, Told, at, begun
from receiver.store import relay_status
from receiver.store.alarms import RELAY_BEHIND, RELAY_SET_ASIDE, RELAY_STOPPED
from receiver.store.relay_status import RelayStatus, State

_AREA = "relay"


class _Subject(NamedTuple):
    """One alarm of each project.

    Attributes:
        occurs: whether it is so.
        lasts: whether it is not over yet; which is not the same where it would come and go.
    """

    name: str
    occurs: Callable[[RelayStatus, int], bool]
    lasts: Callable[[RelayStatus, int], bool]
    began: Callable[[RelayStatus], str]
    is_over: Callable[[RelayStatus], str]


def of_relay(connection: Connection, told: Told, now_us: int, behind_us: int) -> Iterator[Change]:
    """*behind_us*: so long may something wait for Bloomreach."""
    for status in relay_status.statuses(connection, now_us):
        project_id = status.totals.project_id
        for subject in _SUBJECTS:
            alarm = told.get((project_id, subject.name))
            if alarm is None and subject.occurs(status, behind_us):
                yield Change(begun(project_id, subject.name, now_us), subject.began(status), _AREA)
            elif alarm is not None and not subject.lasts(status, behind_us):
                yield Change(alarm, subject.is_over(status), _AREA)


# -- Bloomreach turns us away ---------------------------------------------------------------------


def _is_stopped(status: RelayStatus, _: int) -> bool:
    return status.pump.stopped and status.totals.waiting > 0


def _is_kept_out(status: RelayStatus, _: int) -> bool:
    # Who cannot reach Bloomreach meanwhile does not know whether it would still turn us away.
    return status.pump.failures > 0 and status.totals.waiting > 0


def _stopped(status: RelayStatus) -> str:
    # The problem is a sentence of ours.
    return f"the relay to Bloomreach has stopped. {status.pump.problem} {_waiting(status)}"


def _goes_on(status: RelayStatus) -> str:
    return f"the relay to Bloomreach is stopped no more. {_waiting(status)}"


# -- it takes too long ----------------------------------------------------------------------------


def _is_behind(status: RelayStatus, behind_us: int) -> bool:
    return status.on and (status.age_us or 0) > behind_us


def _stays_behind(status: RelayStatus, behind_us: int) -> bool:
    # Half of it, so that it does not come and go every minute.
    return _is_behind(status, behind_us // 2)


def _behind(status: RelayStatus) -> str:
    if status.state is State.UNATTENDED:
        why = (
            " Nobody relays: start the service with all four settings RECEIVER_BLOOMREACH_*, or"
            " `receiver relay run`."
        )
    else:
        why = f" {status.pump.problem}" if status.pump.problem else ""
    return f"the relay to Bloomreach is behind. {_waiting(status)}{why}"


def _keeps_up(status: RelayStatus) -> str:
    if not status.on:
        return f"the relay to Bloomreach was switched off. {_waiting(status)}"
    return f"the relay to Bloomreach keeps up again. {_waiting(status)}"


# -- what was set aside ---------------------------------------------------------------------------


def _has_set_aside(status: RelayStatus, _: int) -> bool:
    return status.totals.aside > 0


def _set_aside(status: RelayStatus) -> str:
    number = status.totals.aside
    what = "1 command was" if number == 1 else f"{number} commands were"
    return f"{what} set aside and not relayed to Bloomreach. To see why: receiver relay status"


def _none_set_aside(_: RelayStatus) -> str:
    return "nothing is set aside any more that was to be relayed to Bloomreach."


_SUBJECTS = (
    _Subject(RELAY_STOPPED, _is_stopped, _is_kept_out, _stopped, _goes_on),
    _Subject(RELAY_BEHIND, _is_behind, _stays_behind, _behind, _keeps_up),
    _Subject(RELAY_SET_ASIDE, _has_set_aside, _has_set_aside, _set_aside, _none_set_aside),
)


def _waiting(status: RelayStatus) -> str:
    oldest_us, number = status.totals.oldest_us, status.totals.waiting
    if oldest_us is None:
        return "Nothing waits for it."
    what = "1 command waits" if number == 1 else f"{number} commands wait"
    return f"{what} for it, the oldest since {at(oldest_us)}; nothing is lost."
