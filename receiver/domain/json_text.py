"""Values written as JSON: compact, and never a number that is none."""

from json import JSONEncoder

import orjson

_SORTED = orjson.OPT_SORT_KEYS
_patient_encode = JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode
_patient_encode_sorted = JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode


def encode(value: object) -> str:
    """Give *value*, as parsed, as JSON text.

    Raises ValueError for a number that is none: the encoder finds it while it writes, so that nobody
    else has to look.
    """
    try:
        text = orjson.dumps(value)
    except orjson.JSONEncodeError:
        # Whole numbers over 64 bits, halves of surrogate pairs, and deep nesting.
        return _patient_encode(value)
    # The quick encoder writes null for what is no number.
    return _patient_encode(value) if b"null" in text else text.decode()


def encode_canonically(value: object) -> bytes:
    """As `encode`, with keys in order and as bytes: no two different values have the same."""
    try:
        text = orjson.dumps(value, None, _SORTED)
    except orjson.JSONEncodeError:
        return _patient_encode_sorted(value).encode()
    return _patient_encode_sorted(value).encode() if b"null" in text else text
