"""What every vendor's answer is read with: JSON, words however wrapped, and a time to come back at."""

import json
import re
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_RETRY_SECONDS = 3600.0


def parsed(body: bytes | None) -> object:
    """*body* as JSON, None where it is none."""
    try:
        # Patient where a quicker parser gives up, such as at half a surrogate pair in one message of many.
        return json.loads(body or b"")
    except (ValueError, RecursionError):
        return None


def words(value: object, most: int, depth: int = 5) -> str:
    """The message within *value*, storable and at most *most* characters; empty where there is none."""
    found = ""
    if isinstance(value, str):
        found = value.encode(errors="replace").decode().replace("\0", "?").strip()
    elif isinstance(value, dict) and depth:
        parts = (value.get(name) for name in ("message", "description", "error", "errors"))
        found = next(filter(None, (words(part, most, depth - 1) for part in parts)), "")
    elif isinstance(value, list) and depth:
        found = "; ".join(filter(None, (words(part, most, depth - 1) for part in value[:100])))
    return found[:most]


def words_without_json(body: bytes | None, most: int) -> str:
    """The message of an answer that is plain text; empty where it is a page for a browser, or nothing."""
    if body is None or body.lstrip().startswith(b"<"):
        return ""
    return words(body.decode(errors="replace"), most)


def retry_after(text: str | None) -> float | None:
    """Read seconds or an HTTP date, as seconds from now, at most `MAX_RETRY_SECONDS`."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        seconds = float(text)
    else:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_SECONDS)
