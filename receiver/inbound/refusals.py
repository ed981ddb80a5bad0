"""What a group of commands leaves behind of those that were refused: rows, and what they are counted by."""

from receiver.domain.commands import Rejection
from receiver.domain.moments import hour_of
from receiver.domain.shapes import Shape
from receiver.inbound.deliveries import Delivery, kept
from receiver.store.sets import Row
from receiver.store.shapes import counts_of
from receiver.store.writes import Writes

OPEN = "open"


class Refusals:
    """Takes one refused command after the other."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._shapes: dict[int, Shape] = {}
        self._met_again: set[tuple[int, int]] = set()
        self._repeats: dict[int, tuple[int, int]] = {}

    def add(self, rejection_id: int, delivery: Delivery, rejection: Rejection) -> int:
        """Something is refused for the first time; its number."""
        form, reason, pointer = rejection.form.value, rejection.reason.value, rejection.pointer
        about = rejection.event_type, rejection.campaign
        shape = Shape(delivery.project_id, form, reason, pointer, *about)
        self._shapes[shape.id] = shape
        what = form, reason, rejection.detail, pointer, OPEN, 1, 0
        seen = delivery.sent_us, delivery.received_us
        kept_as = kept(delivery.headers), rejection.body
        self._rows.append(
            (rejection_id, delivery.project_id, shape.id, delivery.rejection_id, *what, *seen, *kept_as)
        )
        return rejection_id

    def repeat(self, rejection_id: int, delivery: Delivery) -> int:
        """The same is refused once more; a replay is not the sender's, so nobody counts it."""
        if delivery.rejection_id is not None:
            self._met_again.add((rejection_id, delivery.rejection_id))
        else:
            times, seen_us = self._repeats.get(rejection_id, (0, 0))
            self._repeats[rejection_id] = times + 1, max(seen_us, delivery.received_us)
        return rejection_id

    def write(self, writes: Writes) -> None:
        """Put the rows where they belong."""
        writes.rejections = self._rows
        writes.rejections_met_again = list(self._met_again)
        writes.shapes = [(number, *shape) for number, shape in self._shapes.items()]
        writes.repeated_rejections = [
            (number, times, seen_us, hour_of(seen_us)) for number, (times, seen_us) in self._repeats.items()
        ]
        writes.shape_states, writes.shape_hours, writes.rejection_hours = counts_of(self._rows)
