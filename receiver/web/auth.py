"""Who is calling and what may they do: from memory, without a database on the way."""

import asyncio
import binascii
import logging
import re
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from enum import Enum
from hmac import compare_digest
from types import TracebackType
from typing import NamedTuple

from sqlalchemy import Engine

from receiver import telemetry
from receiver.store import keys
from receiver.store.keys import AccessKey, Project, Role, hash_of

RELOAD_SECONDS = 2.0
"""How often the keys are read again: a change promised within 5 seconds has two chances."""

LEAST_RELOAD_SECONDS = 1.0
"""At most so often do unknown keys cause a reading of their own."""

STOP_SECONDS = 2.0

# Ours take 138 bytes, the vendor's 178.
LONGEST_HEADER = 4096

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class Caller(NamedTuple):
    """Who was recognised.  *role* is one of receiver.store.keys.Role."""

    project_id: int
    role: str
    key_id: str


class Refusal(NamedTuple):
    """Who was not, in the vendor's words; *perhaps_new* where a key made a moment ago looks the same."""

    status: int
    message: str
    perhaps_new: bool = False


INVALID_PROJECT = Refusal(400, "Invalid project id")
UNKNOWN_PROJECT = Refusal(400, "Could not authenticate", perhaps_new=True)
NO_KEY = Refusal(401, "Access key not provided")
UNKNOWN_KEY = Refusal(401, "access key not found", perhaps_new=True)
WRONG_SECRET = Refusal(403, "invalid secret", perhaps_new=True)


class Action(Enum):
    """What a route asks for."""

    TRACK = "send events and customer updates"
    READ = "read events, customers, campaigns and outcomes"
    OPERATE = "see and repair rejections, mailings and suppressions"
    SEND = "send letters"
    GRADE = "have bodies of callbacks graded"


_ALLOWED: Mapping[Action, frozenset[str]] = {
    Action.TRACK: frozenset({Role.TRACKING, Role.PUBLIC}),
    Action.READ: frozenset({Role.DATA, Role.OPS}),
    Action.OPERATE: frozenset({Role.OPS}),
    Action.SEND: frozenset({Role.SENDER}),
    Action.GRADE: frozenset({Role.TRACKING, Role.DATA, Role.OPS}),
}


def may(role: str, action: Action) -> bool:
    """Whether a key of this role may do that; the refusal of one that may not is a 403."""
    return role in _ALLOWED[action]


class KnownKey(NamedTuple):
    """A valid key; *hash* is that of its secret, and may sign what the key's owner shows us again."""

    caller: Caller
    hash: bytes
    previous_hash: bytes | None
    previous_until_us: int


class Keyring:
    """Every valid key at one moment; never changed, only replaced."""

    def __init__(self, projects: Iterable[Project], access_keys: Iterable[AccessKey]) -> None:
        self._by_number = {project.id: project for project in projects}
        self._projects = {project.token: project.id for project in self._by_number.values()}
        self._by_id: dict[bytes, KnownKey] = {}
        self._by_hash: dict[bytes, KnownKey] = {}
        for key in access_keys:
            if key.revoked_us is None:
                self._hang(key)

    def _hang(self, key: AccessKey) -> None:
        caller = Caller(key.project_id, key.role, key.id)
        entry = KnownKey(caller, key.secret_hash, key.previous_hash, key.previous_until_us or 0)
        # A public token comes without the ID of its key, and only so.
        if key.role != Role.PUBLIC:
            self._by_id[key.id.encode()] = entry
        self._by_hash[key.secret_hash] = entry
        if key.previous_hash is not None:
            self._by_hash[key.previous_hash] = entry

    def authenticate(
        self, project_token: str, authorization: bytes | str | None, access_token: str | None, now_us: int
    ) -> Caller | Refusal:
        """Who calls, by the header ``Authorization`` or, without one, by ``?access_token=``; never raises.

        *now_us* ends the grace of rotated secrets.
        """
        project_id = self._projects.get(project_token)
        if project_id is None:
            return UNKNOWN_PROJECT if _UUID.fullmatch(project_token) else INVALID_PROJECT
        if not authorization:
            return self._by_token(project_id, _bytes(access_token), now_us) if access_token else NO_KEY
        if isinstance(authorization, str):
            authorization = _bytes(authorization)
        if len(authorization) > LONGEST_HEADER:
            return NO_KEY
        scheme, _, credentials = authorization.partition(b" ")
        scheme = scheme.lower()
        if scheme == b"basic":
            return self._by_key(project_id, credentials, now_us)
        if scheme == b"token" and (token := credentials.strip()):
            return self._by_token(project_id, token, now_us)
        return NO_KEY

    def authenticate_alone(self, authorization: bytes | str | None, now_us: int) -> Caller | Refusal:
        """Who calls, where no path names the project, by Basic alone; never raises.

        The user is a key's ID and the password its secret, or the user is the secret itself: Optilyz
        wants its key as the user, and a password that some leave blank and some fill with a space.
        """
        authorization = _bytes(authorization) if isinstance(authorization, str) else authorization or b""
        scheme, _, credentials = authorization[: LONGEST_HEADER + 1].partition(b" ")
        pair = None if len(authorization) > LONGEST_HEADER else _user_and_password(credentials)
        if scheme.lower() != b"basic" or pair is None:
            return NO_KEY
        user, password = pair
        key = self._by_id.get(user)
        if key is not None:
            return key.caller if _opens(key, hash_of(password), now_us) else WRONG_SECRET
        digest = hash_of(user)
        key = self._by_hash.get(digest)
        return key.caller if key is not None and _opens(key, digest, now_us) else UNKNOWN_KEY

    def find(self, key_id: str) -> KnownKey | None:
        """The key with this ID, as long as it is valid; a public token has none."""
        return self._by_id.get(_bytes(key_id))

    def project(self, project_id: int) -> Project | None:
        """The project with this number."""
        return self._by_number.get(project_id)

    def _by_key(self, project_id: int, credentials: bytes, now_us: int) -> Caller | Refusal:
        """*credentials* are ``base64(key_id:secret)``."""
        pair = _user_and_password(credentials)
        if pair is None:
            return NO_KEY
        key_id, secret = pair
        key = self._by_id.get(key_id)
        if key is None or key.caller.project_id != project_id:
            return UNKNOWN_KEY
        return key.caller if _opens(key, hash_of(secret), now_us) else WRONG_SECRET

    def _by_token(self, project_id: int, token: bytes, now_us: int) -> Caller | Refusal:
        digest = hash_of(token)
        key = self._by_hash.get(digest)
        if key is None or key.caller.role != Role.PUBLIC or key.caller.project_id != project_id:
            return UNKNOWN_KEY
        return key.caller if _opens(key, digest, now_us) else UNKNOWN_KEY


def _user_and_password(credentials: bytes) -> tuple[bytes, bytes] | None:
    """Both of ``base64(user:password)``; None where it is no such thing or has no user."""
    try:
        user, colon, password = binascii.a2b_base64(credentials).partition(b":")
    except binascii.Error:
        return None
    return (user, password) if colon and user else None


def _opens(key: KnownKey, digest: bytes, now_us: int) -> bool:
    if compare_digest(digest, key.hash):
        return True
    previous = key.previous_hash
    return previous is not None and now_us < key.previous_until_us and compare_digest(digest, previous)


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


class LiveKeyring:
    """The keys as they are now: read again every RELOAD_SECONDS by a thread of its own.

    While the database is away the last keys stay valid: nothing can be stored then anyway.
    """

    keyring: Keyring

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wake = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._waiting: list[Future[None]] = []
        self._thread = threading.Thread(target=self._run, name="receiver-keyring", daemon=True)

    def __enter__(self) -> "LiveKeyring":
        """Read the keys, then keep them fresh.  Raises what the database raises now."""
        self._read()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._wake.set()
        # Not for ever: it may be waiting for a database that is gone.
        self._thread.join(STOP_SECONDS)

    async def authenticate(
        self, project_token: str, authorization: bytes | str | None, access_token: str | None, now_us: int
    ) -> Caller | Refusal:
        """As Keyring.authenticate, but asks the database once more before it refuses what may be new."""
        found = self.keyring.authenticate(project_token, authorization, access_token, now_us)
        if isinstance(found, Refusal) and found.perhaps_new and await self._reloaded():
            found = self.keyring.authenticate(project_token, authorization, access_token, now_us)
        return found

    async def authenticate_alone(self, authorization: bytes | str | None, now_us: int) -> Caller | Refusal:
        """As Keyring.authenticate_alone, with the same second look."""
        found = self.keyring.authenticate_alone(authorization, now_us)
        if isinstance(found, Refusal) and found.perhaps_new and await self._reloaded():
            found = self.keyring.authenticate_alone(authorization, now_us)
        return found

    async def _reloaded(self) -> bool:
        """Have the keys read now and wait for it; False when somebody did a moment ago."""
        reload = self.reload_soon()
        if reload is None:
            return False
        # Not awaited as such: whoever is cancelled there would cancel it for all.
        await asyncio.wait([asyncio.wrap_future(reload)], timeout=LEAST_RELOAD_SECONDS)
        return True

    def reload_soon(self) -> "Future[None] | None":
        """Have the keys read now; done when they are, or could not be.  Never blocks.

        None when somebody asked less than LEAST_RELOAD_SECONDS ago: then nothing is done.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._asked < LEAST_RELOAD_SECONDS:
                return None
            self._asked = now
            reload: Future[None] = Future()
            self._waiting.append(reload)
        self._wake.set()
        return reload

    def _run(self) -> None:
        failing = False
        while True:
            self._wake.wait(RELOAD_SECONDS)
            if self._stopping:
                return
            self._wake.clear()
            with self._lock:
                waiting, self._waiting = self._waiting, []
            try:
                self._read()
                failing = False
            except Exception as error:
                # Whatever it is: a thread that ended here would leave revoked keys valid for ever.
                if not failing:
                    telemetry.log("keys_not_loaded", level=logging.WARNING, **telemetry.described(error))
                failing = True
            for reload in waiting:
                if reload.set_running_or_notify_cancel():
                    reload.set_result(None)

    def _read(self) -> None:
        with self._engine.connect() as connection:
            self.keyring = Keyring(keys.projects(connection), keys.valid_keys(connection))
