"""Times as people and machines write them, to and from whole microseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND_US = 1_000_000
_MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * _MINUTE_US
DAY_US = 24 * HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment_us(text: str) -> int:
    """ISO 8601 -> microseconds; a text without a zone is UTC, a date alone its midnight.

    Raises ValueError for what is no such text, or beyond the years 1 to 9999.
    """
    try:
        moment = datetime.fromisoformat(text.strip().upper())  # RFC 3339 allows small letters
        return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise ValueError("no ISO 8601 time") from None


def iso(time_us: int) -> str:
    """Microseconds -> ``2026-11-23T09:30:00.250000Z``."""
    # Exports write two times an event: by the minute that takes half as long, and six decimals are exact.
    return f"{_minute(time_us // _MINUTE_US)}:{time_us % _MINUTE_US / SECOND_US:09.6f}Z"


@lru_cache(maxsize=4096)
def _minute(number: int) -> str:
    return (_EPOCH + timedelta(minutes=number)).isoformat("T", "minutes")[:16]


def hour_of(time_us: int) -> int:
    """The beginning of the hour (UTC)."""
    return time_us - time_us % HOUR_US


def day(time_us: int) -> str:
    """Microseconds -> ``2026-11-23``."""
    return iso(time_us)[:10]
