"""The letters of the simulated Optilyz, and its own idea of which are good."""

from collections.abc import Mapping
from typing import NamedTuple


class Recipient(NamedTuple):
    """A letter in the queue, as it came."""

    id: str
    automation: str
    address: Mapping[str, object]
    variation: object

    def individualisations(self) -> dict[str, object]:
        return {name: value for name, value in self.address.items() if name.startswith("individuali")}


def complaint(address: dict[str, object]) -> str | None:
    given = {name for name, value in address.items() if isinstance(value, str) and value.strip()}
    for choices in (
        ("companyName1", "lastName", "fullName"),
        ("street", "address1"),
        ("zipCode",),
        ("city",),
    ):
        if not given.intersection(choices):
            return f"{' or '.join(choices)} is required"
    for one, others in (("fullName", {"firstName", "lastName"}), ("address1", {"street", "houseNumber"})):
        if one in given and given & others:
            return f"{one} is not allowed with {' or '.join(sorted(given & others))}"
    return "Address not deliverable" if address["zipCode"] == "00000" else None


def breaches(entry: dict[str, object], address: dict[str, object]) -> int:
    """How many individualisations are empty, misspelled or misplaced, none of which we ever send."""
    wrong = [name for name in entry if name.startswith("individuali")]
    wrong += [
        name
        for name, value in address.items()
        if name.startswith("individuali")
        and (not name.startswith("individualisation") or value is None or not str(value).strip())
    ]
    return len(wrong)
