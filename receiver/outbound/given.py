"""A file that is in memory, with the few things of a path that its readers ask for."""

from io import BytesIO
from pathlib import PurePath


class Given:
    """What somebody handed over under a *name*, whose extension tells what it is."""

    def __init__(self, name: str, content: bytes) -> None:
        self.suffix = PurePath(name).suffix
        self._content = content

    def is_file(self) -> bool:
        return True

    def open(self, mode: str) -> BytesIO:
        """To be read from its beginning, as often as one likes."""
        assert mode == "rb", "it is only read"
        return BytesIO(self._content)
