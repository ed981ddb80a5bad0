"""What alarms are made of: something has begun, or is over, and a sentence says so.

A sentence holds counts, codes, times and our own words only: a message is nobody's place to read names.
"""

from collections.abc import Mapping
from typing import NamedTuple

from receiver.domain.moments import iso
from receiver.store.alarms import Alarm

Told = Mapping[tuple[int, str], Alarm]
"""What people know of, by project and subject."""

_NOBODY_TELLS = 0


class Change(NamedTuple):
    """An alarm that has begun (nobody was told) or that is over, and the sentence about it.

    Attributes:
        area: a word for what it is about, where several are told of together.
    """

    alarm: Alarm
    sentence: str
    area: str


def begun(project_id: int, subject: str, since_us: int) -> Alarm:
    """An alarm of which nobody was told yet."""
    return Alarm(project_id, subject, since_us, False, _NOBODY_TELLS)


def at(time_us: int) -> str:
    """``2026-11-23T09:30Z``."""
    return f"{iso(time_us)[:16]}Z"
