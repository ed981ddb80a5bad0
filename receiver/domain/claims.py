"""What makes two commands the same one: the dedupe key (docs/decisions/0003-the-dedupe-key.md)."""

from collections.abc import Mapping
from hashlib import blake2b

from receiver.domain.commands import Claim, ExternalId, Form, Reason
from receiver.domain.json_text import encode_canonically

_DIGEST_BYTES = 16
_TIME_BYTES = 6
_NO_TIME = bytes(_TIME_BYTES)


def event_claim(
    ids: tuple[ExternalId, ...], event_type: str, sent_us: int | None, properties: Mapping[str, object]
) -> Claim:
    """Claim an event; *sent_us* is the time that the sender gave, None where it gave none or an age."""
    return _timed((dict(ids), event_type, sent_us, properties), sent_us)


def update_claim(ids: tuple[ExternalId, ...], sent_us: int | None, properties: Mapping[str, object]) -> Claim:
    """Claim new properties of a customer, without a time by what the latest update said."""
    if sent_us is None:
        return Claim(_NO_TIME + _digest(("customers", dict(ids))), _digest(properties), windowed=True)
    return _timed(("customers", dict(ids), sent_us, properties), sent_us)


def rejection_claim(form: Form, reason: Reason, body: bytes, *, has_time: bool) -> Claim:
    """Claim the exact bytes that were refused."""
    digest = blake2b(f"{form}\0{reason}\0".encode(), digest_size=_DIGEST_BYTES)
    digest.update(body)
    return Claim(_NO_TIME + digest.digest(), b"", windowed=not has_time)


def _timed(parts: tuple[object, ...], sent_us: int | None) -> Claim:
    time = _NO_TIME if sent_us is None else (sent_us // 1000).to_bytes(_TIME_BYTES)
    return Claim(time + _digest(parts), b"", windowed=sent_us is None)


def _digest(parts: object) -> bytes:
    # As JSON with its keys in order: no two different values have the same text.
    return blake2b(encode_canonically(parts), digest_size=_DIGEST_BYTES).digest()
