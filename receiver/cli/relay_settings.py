"""What the commands say where the settings do not let events be relayed."""

from receiver.settings import Settings


def relay_needs(settings: Settings) -> str:
    """A sentence about those that are missing."""
    *others, last = settings.missing_for_relay
    names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
    return f"Nothing is relayed to Bloomreach from here: {names} not set."
