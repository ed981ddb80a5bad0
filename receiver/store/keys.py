"""Projects and access keys: who may call us, as rows.

A secret is known only at the moment it is made; what is kept is its SHA-256.  That needs no salt and no
slow hash, because a secret is 256 random bits.  A public token is a key of the role ``public``.
"""

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection, or_, select

from receiver.store import tables

GRACE_US = 24 * 3600 * 1_000_000
"""How long an old secret stays valid after a rotation."""

LONGEST_NAME = 200


class Role(StrEnum):
    """What a key is for.  ``public`` is the role of a token that may stand in a browser."""

    TRACKING = "tracking"
    DATA = "data"
    OPS = "ops"
    SENDER = "sender"
    PUBLIC = "public"


PRIVATE_ROLES = (Role.TRACKING, Role.DATA, Role.OPS, Role.SENDER)


class KeyRefused(Exception):
    """What was asked cannot be done with this project or key.  The message is a sentence without secrets."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key as it is made: the only moment at which its secret can be read."""

    key_id: str
    role: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NewProject:
    """A project as it is made, with one key for each private role."""

    name: str
    token: str
    public_token: str | None = field(repr=False)
    keys: tuple[NewKey, ...]


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """The key with its new secret, and until when the old one is valid too."""

    key: NewKey
    old_valid_until_us: int


@dataclass(frozen=True, slots=True)
class Project:
    id: int
    token: str
    name: str
    created_us: int


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A row of access_keys.  The previous secret is valid before *previous_until_us*."""

    id: str
    project_id: int
    role: str
    secret_hash: bytes = field(repr=False)
    previous_hash: bytes | None = field(repr=False)
    previous_until_us: int | None
    created_us: int
    revoked_us: int | None


def hash_of(secret: bytes) -> bytes:
    """The 32 bytes by which a secret is kept and found."""
    return hashlib.sha256(secret).digest()


def create_project(connection: Connection, name: str, *, public: bool, now_us: int) -> NewProject:
    """A project with a key for each private role and, if *public*, a public token.

    Raises KeyRefused for a name that is empty, longer than LONGEST_NAME or not printable.
    """
    name = name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise KeyRefused(f"A project's name is printable text of 1 to {LONGEST_NAME} characters.")
    token = str(uuid.uuid4())
    statement = tables.projects.insert().values(token=token, name=name, created_us=now_us)
    project_id = connection.execute(statement.returning(tables.projects.c.id)).scalar_one()
    made = [_insert_key(connection, project_id, role, now_us) for role in PRIVATE_ROLES]
    public_token = _insert_key(connection, project_id, Role.PUBLIC, now_us).secret if public else None
    return NewProject(name, token, public_token, tuple(made))


def create_key(connection: Connection, project_token: str, role: Role, *, now_us: int) -> NewKey:
    """One more key; for the role ``public`` its secret is the public token.

    Raises KeyRefused for an unknown project.
    """
    return _insert_key(connection, _project_id(connection, project_token), role, now_us)


def rotate(connection: Connection, key_id: str, *, now_us: int) -> RotatedKey:
    """A new secret for a key; the old one stays valid for GRACE_US.

    Raises KeyRefused for a key that is unknown, revoked, or whose last rotation is in its grace: a second
    one would end the first secret before its time.
    """
    secret, columns = _new_secret(), tables.access_keys.c
    statement = (
        tables.access_keys.update()
        .where(columns.id == key_id, columns.revoked_us.is_(None))
        .where(or_(columns.previous_until_us.is_(None), columns.previous_until_us <= now_us))
        .values(
            secret_hash=hash_of(secret.encode()),
            previous_hash=columns.secret_hash,
            previous_until_us=now_us + GRACE_US,
        )
        .returning(columns.role)
    )
    role = connection.execute(statement).scalar() if _plain(key_id) else None
    if role is not None:
        return RotatedKey(NewKey(key_id, role, secret), now_us + GRACE_US)
    if _key(connection, key_id).revoked_us is not None:
        raise KeyRefused("This key is revoked and cannot be rotated; create another one.")
    raise KeyRefused(
        "This key was rotated less than 24 hours ago and its old secret is still promised to be valid; "
        "create another key, or revoke this one."
    )


def revoke(connection: Connection, key_id: str, *, now_us: int) -> None:
    """End a key with all its secrets; a key that is revoked already keeps its time.

    Raises KeyRefused for an unknown key.
    """
    if _key(connection, key_id).revoked_us is None:
        columns = tables.access_keys.c
        statement = tables.access_keys.update().where(columns.id == key_id, columns.revoked_us.is_(None))
        connection.execute(statement.values(revoked_us=now_us))


def projects(connection: Connection) -> list[Project]:
    """All projects, oldest first."""
    columns = tables.projects.c
    query = select(columns.id, columns.token, columns.name, columns.created_us).order_by(columns.id)
    return [Project(*row) for row in connection.execute(query)]


def keys_of(connection: Connection, project_token: str) -> list[AccessKey]:
    """The keys of one project, oldest first, also the revoked ones.

    Raises KeyRefused for an unknown project.
    """
    columns = tables.access_keys.c
    query = _SELECT_KEYS.where(columns.project_id == _project_id(connection, project_token))
    query = query.order_by(columns.created_us, columns.role, columns.id)
    return [AccessKey(*row) for row in connection.execute(query)]


def valid_keys(connection: Connection) -> list[AccessKey]:
    """Every key of every project that is not revoked."""
    query = _SELECT_KEYS.where(tables.access_keys.c.revoked_us.is_(None))
    return [AccessKey(*row) for row in connection.execute(query)]


_SELECT_KEYS = select(
    tables.access_keys.c.id,
    tables.access_keys.c.project_id,
    tables.access_keys.c.role,
    tables.access_keys.c.secret_hash,
    tables.access_keys.c.previous_hash,
    tables.access_keys.c.previous_until_us,
    tables.access_keys.c.created_us,
    tables.access_keys.c.revoked_us,
)


def _new_secret() -> str:
    return secrets.token_hex(32)


def _insert_key(connection: Connection, project_id: int, role: Role, now_us: int) -> NewKey:
    key = NewKey(secrets.token_hex(16), role.value, _new_secret())
    row = {
        "id": key.key_id,
        "project_id": project_id,
        "role": key.role,
        "secret_hash": hash_of(key.secret.encode()),
        "created_us": now_us,
    }
    connection.execute(tables.access_keys.insert().values(row))
    return key


def _project_id(connection: Connection, project_token: str) -> int:
    query = select(tables.projects.c.id).where(tables.projects.c.token == project_token)
    project_id = connection.execute(query).scalar() if _plain(project_token) else None
    if project_id is None:
        raise KeyRefused("There is no project with this token; `receiver project list` shows them all.")
    return project_id


def _key(connection: Connection, key_id: str) -> AccessKey:
    query = _SELECT_KEYS.where(tables.access_keys.c.id == key_id)
    row = connection.execute(query).one_or_none() if _plain(key_id) else None
    if row is None:
        raise KeyRefused(
            "There is no key with this ID; `receiver key list PROJECT_TOKEN` shows those of a project."
        )
    return AccessKey(*row)


def _plain(text: str) -> bool:
    # What a database cannot be asked for: NUL, and the lone surrogates of a broken command line.
    return text.isascii() and text.isprintable()
