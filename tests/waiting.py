"""Waiting for what happens by itself."""

import time
from collections.abc import Callable

PATIENCE_SECONDS = 30


def wait_until(condition: Callable[[], object], what: str = "", *, seconds: float = PATIENCE_SECONDS) -> None:
    """Return when *condition* holds; fails with *what* when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)
