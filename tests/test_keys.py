"""Projects and keys as rows, on both databases."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, select

from receiver.store import keys, tables
from receiver.store.keys import GRACE_US, KeyRefused, NewKey, NewProject, Role, RotatedKey

NOW = 1_760_000_000_000_000


def make_project(engine: Engine, name: str = "letters", *, public: bool = False) -> NewProject:
    with engine.begin() as connection:
        return keys.create_project(connection, name, public=public, now_us=NOW)


def rotate(engine: Engine, key_id: str, now_us: int = NOW) -> RotatedKey:
    with engine.execution_options(writes=True).begin() as connection:
        return keys.rotate(connection, key_id, now_us=now_us)


def revoke(engine: Engine, key_id: str, now_us: int = NOW) -> None:
    with engine.begin() as connection:
        keys.revoke(connection, key_id, now_us=now_us)


def stored(engine: Engine, key_id: str) -> keys.AccessKey:
    with engine.connect() as connection:
        (project,) = keys.projects(connection)
        return next(key for key in keys.keys_of(connection, project.token) if key.id == key_id)


def sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def test_a_project_comes_with_one_key_for_each_private_role(engine: Engine) -> None:
    made = make_project(engine)

    assert [key.role for key in made.keys] == ["tracking", "data", "ops", "sender"]
    assert len({key.key_id for key in made.keys}) == len({key.secret for key in made.keys}) == 4
    assert made.public_token is None
    with engine.connect() as connection:
        assert [(each.token, each.name) for each in keys.projects(connection)] == [(made.token, "letters")]
        assert {key.id for key in keys.keys_of(connection, made.token)} == {key.key_id for key in made.keys}


def test_a_public_token_is_a_key_of_its_own_role(engine: Engine) -> None:
    made = make_project(engine, public=True)

    assert made.public_token is not None
    with engine.connect() as connection:
        public = [key for key in keys.valid_keys(connection) if key.role == Role.PUBLIC]
    assert [key.secret_hash for key in public] == [sha256(made.public_token)]


def test_no_secret_is_in_the_database(engine: Engine) -> None:
    made = make_project(engine, public=True)
    rotated = rotate(engine, made.keys[0].key_id)
    with engine.begin() as connection:
        added = keys.create_key(connection, made.token, Role.SENDER, now_us=NOW)
        values = [
            value
            for table in tables.metadata.sorted_tables
            for row in connection.execute(select(table))
            for value in row
        ]

    assert made.public_token is not None
    for secret in [made.public_token, *(key.secret for key in (*made.keys, rotated.key, added))]:
        assert len(bytes.fromhex(secret)) == 32
        assert sha256(secret) in values
        assert not {secret, secret.encode(), bytes.fromhex(secret)} & set(values)


def test_values_that_hold_secrets_do_not_show_them(engine: Engine) -> None:
    made = make_project(engine, public=True)
    shown = repr(made) + repr(rotate(engine, made.keys[0].key_id)) + repr(stored(engine, made.keys[0].key_id))

    assert made.public_token is not None
    assert made.public_token not in shown
    assert made.keys[1].key_id in shown
    assert not any(key.secret in shown for key in made.keys)
    assert "hash" not in shown


def test_a_rotation_keeps_the_old_secret_for_24_hours(engine: Engine) -> None:
    old = make_project(engine).keys[0]
    rotated = rotate(engine, old.key_id)

    key = stored(engine, old.key_id)
    assert rotated.key.secret != old.secret
    assert (rotated.key.key_id, rotated.key.role) == (old.key_id, old.role)
    assert (key.secret_hash, key.previous_hash) == (sha256(rotated.key.secret), sha256(old.secret))
    assert rotated.old_valid_until_us == key.previous_until_us == NOW + 24 * 3600 * 1_000_000


def test_a_second_rotation_waits_until_the_first_old_secret_has_ended(engine: Engine) -> None:
    old = make_project(engine).keys[0]
    rotate(engine, old.key_id)
    before = stored(engine, old.key_id)

    with pytest.raises(KeyRefused, match="24 hours"):
        rotate(engine, old.key_id, NOW + GRACE_US - 1)
    assert stored(engine, old.key_id) == before
    assert rotate(engine, old.key_id, NOW + GRACE_US).old_valid_until_us == NOW + 2 * GRACE_US


def test_of_two_rotations_at_once_one_is_done(engine: Engine) -> None:
    key_id = make_project(engine).keys[0].key_id

    def attempt(_: int) -> NewKey | None:
        try:
            return rotate(engine, key_id).key
        except KeyRefused:
            return None

    with ThreadPoolExecutor(2) as pool:
        done = [key for key in pool.map(attempt, range(2)) if key is not None]
    assert [sha256(key.secret) for key in done] == [stored(engine, key_id).secret_hash]


def test_a_revoked_key_is_no_longer_valid_but_still_listed(engine: Engine) -> None:
    key_id = make_project(engine).keys[0].key_id
    revoke(engine, key_id)

    assert stored(engine, key_id).revoked_us == NOW
    with engine.connect() as connection:
        assert key_id not in {key.id for key in keys.valid_keys(connection)}


def test_a_key_keeps_the_time_of_its_first_revocation(engine: Engine) -> None:
    key_id = make_project(engine).keys[0].key_id
    revoke(engine, key_id)
    revoke(engine, key_id, NOW + 1)

    assert stored(engine, key_id).revoked_us == NOW


def test_a_revoked_key_cannot_be_rotated(engine: Engine) -> None:
    key_id = make_project(engine).keys[0].key_id
    revoke(engine, key_id)

    with pytest.raises(KeyRefused, match="revoked"):
        rotate(engine, key_id)


@pytest.mark.parametrize("unknown", ["", "nobody", "b5a1b5a1-0000-4000-8000-000000000000", "\udcff", "a\0b"])
def test_an_unknown_project_or_key_is_refused_in_a_sentence(engine: Engine, unknown: str) -> None:
    make_project(engine)
    with engine.connect() as connection:
        with pytest.raises(KeyRefused, match="no project"):
            keys.create_key(connection, unknown, Role.DATA, now_us=NOW)
        with pytest.raises(KeyRefused, match="no project"):
            keys.keys_of(connection, unknown)
        with pytest.raises(KeyRefused, match="no key"):
            keys.rotate(connection, unknown, now_us=NOW)
        with pytest.raises(KeyRefused, match="no key"):
            keys.revoke(connection, unknown, now_us=NOW)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\0", "\udcff", "x" * 201])
def test_a_name_that_cannot_be_shown_is_refused(engine: Engine, name: str) -> None:
    with pytest.raises(KeyRefused, match="name"):
        make_project(engine, name)


def test_two_projects_may_have_one_name_and_are_listed_in_their_order(engine: Engine) -> None:
    first, second = make_project(engine, " Müller & Söhne "), make_project(engine, "Müller & Söhne")

    with engine.connect() as connection:
        found = keys.projects(connection)
    assert [each.token for each in found] == [first.token, second.token]
    assert {each.name for each in found} == {"Müller & Söhne"}


def test_nothing_is_committed_before_the_caller_does(engine: Engine) -> None:
    with engine.connect() as connection:
        keys.create_project(connection, "letters", public=True, now_us=NOW)
        connection.rollback()

        assert keys.projects(connection) == []
        assert keys.valid_keys(connection) == []
