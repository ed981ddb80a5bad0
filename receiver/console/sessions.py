"""Who has signed in: a cookie that only we can make, and that ends with the key it stands for.

Nothing is kept of a session.  It is signed with the hash of the key's secret, which never leaves the
database: a key that is revoked or rotated ends all its sessions, in all processes, and no secret of our own
has to be made, kept or shared.
"""

import hmac
import time
from collections import OrderedDict
from hashlib import sha256
from typing import NamedTuple

from receiver.web.auth import Caller, Keyring, KnownKey

COOKIE = "receiver_session"
LASTS_SECONDS = 12 * 3600
"""So long after signing in one has to do so again."""

MOST_FAILURES = 5
FORGOTTEN_SECONDS = 60.0
_MOST_PAIRS = 10_000


class Session(NamedTuple):
    """Somebody who has signed in; *proof* goes into every form, so that no other site can send one."""

    caller: Caller
    project_token: str
    project_name: str
    proof: str


def begin(keyring: Keyring, caller: Caller, now: float | None = None) -> str | None:
    """The cookie for *caller*; None where the key has gone meanwhile."""
    known = keyring.find(caller.key_id)
    if known is None:
        return None
    begun = str(int(time.time() if now is None else now))
    return f"{caller.key_id}.{begun}.{_signature(known, 'session', begun)}"


def read(keyring: Keyring, cookie: str | None, now: float | None = None) -> Session | None:
    """Who shows this *cookie*; None for nobody, or nobody any more."""
    parts = (cookie or "").split(".")
    known = keyring.find(parts[0])
    if len(parts) != 3 or known is None:
        return None
    _, begun, signature = parts
    if not _same(_signature(known, "session", begun), signature):
        return None
    # From here on it is text of our own making.
    project = keyring.project(known.caller.project_id)
    if project is None or not 0 <= (time.time() if now is None else now) - int(begun) < LASTS_SECONDS:
        return None
    return Session(known.caller, project.token, project.name, _signature(known, "form", begun))


def is_proof(session: Session, given: str | None) -> bool:
    """Whether a form that carries *given* was made by us for this session."""
    return _same(session.proof, given or "")


def _signature(known: KnownKey, purpose: str, begun: str) -> str:
    text = f"{purpose}|{known.caller.key_id}|{begun}"
    return hmac.new(known.hash, text.encode(), sha256).hexdigest()


def _same(right: str, given: str) -> bool:
    return hmac.compare_digest(right.encode(), given.encode(errors="replace"))


class Throttle:
    """Slows down who guesses: after MOST_FAILURES in a row one has to wait.  Each process counts for itself.

    What is counted is a pair of host and key ID.  Behind a proxy all come from one host, and nobody shall
    lock out the others; who knows no ID of a key has nothing to guess the secret of.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_seconds(self, host: str, key_id: str) -> float:
        """How long one has to wait before the next try; 0 for not at all."""
        failures, at = self._failures.get((host, key_id), (0, 0.0))
        return max(0.0, at + FORGOTTEN_SECONDS - time.monotonic()) if failures >= MOST_FAILURES else 0.0

    def failed(self, host: str, key_id: str) -> None:
        failures, at = self._failures.pop((host, key_id), (0, 0.0))
        now = time.monotonic()
        self._failures[host, key_id] = (failures + 1 if now - at < FORGOTTEN_SECONDS else 1), now
        if len(self._failures) > _MOST_PAIRS:
            self._failures.popitem(last=False)

    def succeeded(self, host: str, key_id: str) -> None:
        self._failures.pop((host, key_id), None)
