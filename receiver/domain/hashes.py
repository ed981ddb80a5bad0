"""Numbers for what things have in common: a hash, so that whoever stores one need not look it up."""

from functools import lru_cache
from hashlib import blake2b

_BYTES = 8


@lru_cache(maxsize=4096)
def number_of(parts: tuple[int | str | None, ...]) -> int:
    """The number of *parts*, none of which holds a NUL; no text that is stored does."""
    text = "\0".join("" if part is None else f"={part}" for part in parts)
    digest = blake2b(text.encode(), digest_size=_BYTES).digest()
    return int.from_bytes(digest, "big", signed=True)
