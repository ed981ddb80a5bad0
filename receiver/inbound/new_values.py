"""What a group of commands leaves of customers' properties, of which each may have been set several times."""

from collections.abc import Mapping

from receiver.store.sets import Row

_Place = tuple[int, str]


class NewValues:
    """Values of properties in the order in which they were set."""

    def __init__(self) -> None:
        self._set: list[tuple[int, str, str, int, bool]] = []

    def add(self, customer: int, name: str, value: str, updated_us: int, *, dated: bool) -> None:
        """*value* is JSON text; *dated*: an older one never replaces a newer one."""
        self._set.append((customer, name, value, updated_us, dated))

    def left(self, merged: Mapping[int, int]) -> tuple[list[Row], list[Row]]:
        """Of each property its last value without a time, then its newest one with a time.

        *merged* names the survivor of each customer who is no more.
        """
        undated: dict[_Place, tuple[str, int]] = {}
        newest: dict[_Place, tuple[str, int]] = {}
        latest_us: dict[_Place, int] = {}
        for customer, name, value, updated_us, dated in self._set:
            place = merged.get(customer, customer), name
            before_us = latest_us.get(place, updated_us)
            latest_us[place] = max(before_us, updated_us)
            if not dated:
                undated[place] = value, latest_us[place]
                newest.pop(place, None)
            elif updated_us >= before_us:
                newest[place] = value, updated_us
        return _rows(undated), _rows(newest)


def _rows(values: Mapping[_Place, tuple[str, int]]) -> list[Row]:
    return [place + value for place, value in values.items()]
