"""What events have in common by which they are looked for."""

from typing import NamedTuple

from receiver.domain.hashes import number_of


class Kind(NamedTuple):
    """Everything that events of one kind share."""

    project_id: int
    type: str
    campaign: str | None
    status: str | None
    stage: str | None

    @property
    def id(self) -> int:
        """Its number: a hash, so that whoever stores an event need not look it up."""
        return number_of(self)
