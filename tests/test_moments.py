"""Times as text, to and fro."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.moments import day, hour_of, iso, moment_us

FIRST_US = moment_us("0001-01-01")
LAST_US = moment_us("9999-12-31T23:59:59.999999Z")


@given(st.integers(FIRST_US, LAST_US))
def test_a_time_is_written_as_the_standard_library_writes_it(time_us: int) -> None:
    there = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)

    assert iso(time_us) == there.isoformat("T", "microseconds").replace("+00:00", "Z")
    assert moment_us(iso(time_us)) == time_us
    assert day(time_us) == there.date().isoformat()
    assert iso(hour_of(time_us))[13:] == ":00:00.000000Z"


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (59_999_999, "1970-01-01T00:00:59.999999Z"),
        (60_000_000, "1970-01-01T00:01:00.000000Z"),
        (1_000_000, "1970-01-01T00:00:01.000000Z"),
        (FIRST_US, "0001-01-01T00:00:00.000000Z"),
        (LAST_US, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_the_ends_of_minutes_and_of_time_itself(time_us: int, text: str) -> None:
    assert iso(time_us) == text
