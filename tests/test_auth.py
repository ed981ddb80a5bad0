"""Who is calling: the refusals of wire-facts 1.6 in their order, and keys that change while we run."""

import asyncio
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from receiver.store import keys
from receiver.store.keys import GRACE_US, AccessKey, NewProject, Project, Role, hash_of
from receiver.web.auth import Action, Caller, Keyring, LiveKeyring, Refusal, may

NOW = 1_760_000_000_000_000
TOKEN = "0b0e7a9c-53d5-4d3a-9a1c-6f2f3a9f1c11"
OTHER = "1b0e7a9c-53d5-4d3a-9a1c-6f2f3a9f1c11"
NOWHERE = "2b0e7a9c-53d5-4d3a-9a1c-6f2f3a9f1c11"
SECRET, OLD_SECRET, PUBLIC, OLD_PUBLIC = "5e" * 32, "01" * 32, "ab" * 32, "02" * 32


def key(key_id: str, secret: str, role: Role, project_id: int = 1, old: str = "") -> AccessKey:
    previous, until = (hash_of(old.encode()), NOW + GRACE_US) if old else (None, None)
    return AccessKey(key_id, project_id, role, hash_of(secret.encode()), previous, until, NOW, None)


RING = Keyring(
    [Project(1, TOKEN, "letters", NOW), Project(2, OTHER, "other", NOW)],
    [
        key("tracker", SECRET, Role.TRACKING, old=OLD_SECRET),
        key("browser", PUBLIC, Role.PUBLIC, old=OLD_PUBLIC),
        key("reader", "cd" * 32, Role.DATA, project_id=2),
        key("foreign", "ef" * 32, Role.PUBLIC, project_id=2),
        replace(key("gone", "aa" * 32, Role.OPS), revoked_us=NOW),
        replace(key("gone too", "bb" * 32, Role.PUBLIC), revoked_us=NOW),
        key("homeless", "dd" * 32, Role.DATA, project_id=3),
    ],
)
TRACKER, BROWSER = Caller(1, "tracking", "tracker"), Caller(1, "public", "browser")


def basic(key_id: str, secret: str, scheme: str = "Basic") -> bytes:
    return scheme.encode() + b" " + b64encode(f"{key_id}:{secret}".encode())


def ask(
    header: bytes | str | None = None, token: str | None = None, *, project: str = TOKEN, now_us: int = NOW
) -> Caller | tuple[int, str]:
    found = RING.authenticate(project, header, token, now_us)
    return found if isinstance(found, Caller) else (found.status, found.message)


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc"])
def test_a_key_and_its_secret_are_recognised_with_the_scheme_in_any_case(scheme: str) -> None:
    assert ask(basic("tracker", SECRET, scheme)) == TRACKER
    assert ask(basic("tracker", SECRET, scheme).decode()) == TRACKER
    assert ask(scheme.encode() + b"  " + basic("tracker", SECRET)[6:] + b" ") == TRACKER


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN"])
def test_a_public_token_is_recognised_in_the_header(scheme: str) -> None:
    assert ask(f"{scheme} {PUBLIC}".encode()) == BROWSER


def test_a_public_token_is_recognised_in_the_query() -> None:
    assert ask(None, PUBLIC) == BROWSER
    assert ask(b"", PUBLIC) == BROWSER


def test_the_header_decides_where_there_is_one() -> None:
    assert ask(basic("tracker", SECRET), "nonsense") == TRACKER
    assert ask(b"Token nonsense", PUBLIC) == (401, "access key not found")


@pytest.mark.parametrize(
    "project", ["", "x", TOKEN[:-1], TOKEN + "0", f"{{{TOKEN}}}", "g" + TOKEN[1:], "\udcff\0"]
)
def test_a_project_token_that_is_no_uuid_is_told_first(project: str) -> None:
    assert ask(None, project=project) == (400, "Invalid project id")


def test_an_unknown_project_is_told_before_anything_of_the_key() -> None:
    assert ask(None, project=NOWHERE) == (400, "Could not authenticate")
    assert ask(basic("tracker", SECRET), project=NOWHERE) == (400, "Could not authenticate")


MALFORMED = {
    "nothing": None,
    "empty": b"",
    "scheme alone": b"Basic",
    "scheme and a space": b"Basic ",
    "token without a token": b"Token  ",
    "another scheme": b"Bearer " + SECRET.encode(),
    "no scheme": basic("tracker", SECRET)[6:],
    "a tab instead of the space": basic("tracker", SECRET).replace(b" ", b"\t"),
    "no base64": b"Basic !!!!",
    "cut base64": basic("tracker", SECRET)[:-1],
    "bytes that are no text": b"\xff\xfe \xff",
    "no colon": b"Basic " + b64encode(b"tracker"),
    "no key": basic("", SECRET),
    "only a colon": basic("", ""),
    "100 KB": basic("tracker", SECRET + "x" * 100_000),
    "100 KB of a scheme": b"B" * 100_000,
}


@pytest.mark.parametrize("header", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_missing_or_malformed_header_is_no_key(header: bytes | None) -> None:
    assert ask(header) == (401, "Access key not provided")
    assert ask(header and header.decode("latin-1")) == (401, "Access key not provided")


UNKNOWN = {
    "unknown": basic("nobody", SECRET),
    "other case": basic("Tracker", SECRET),
    "not UTF-8": b"Basic " + b64encode(b"\xff\xfe:\xff"),
    "revoked": basic("gone", "aa" * 32),
    "of another project": basic("reader", "cd" * 32),
    "of no project": basic("homeless", "dd" * 32),
    "a public token as a key": basic("browser", PUBLIC),
    "the secret as the key": basic(SECRET, ""),
    "unknown token": b"Token " + b"0" * 64,
    "a secret as a token": b"Token " + SECRET.encode(),
    "a token of another project": b"Token " + b"ef" * 32,
    "revoked token": b"Token " + b"bb" * 32,
    "token in other case": b"Token " + PUBLIC.upper().encode(),
    "token that is no text": b"Token \xff\xfe",
}


@pytest.mark.parametrize("header", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_an_unknown_revoked_or_foreign_key_is_not_found(header: bytes) -> None:
    assert ask(header) == (401, "access key not found")


@pytest.mark.parametrize("token", ["x", "\udcff", PUBLIC + " ", SECRET])
def test_an_unknown_token_in_the_query_is_not_found(token: str) -> None:
    assert ask(None, token) == (401, "access key not found")


@pytest.mark.parametrize(
    "secret", ["", "wrong", SECRET[:-1], SECRET + "0", SECRET.upper(), SECRET + ":", "ü"]
)
def test_a_wrong_secret_is_told_as_such(secret: str) -> None:
    assert ask(basic("tracker", secret)) == (403, "invalid secret")


def test_an_old_secret_is_valid_until_its_grace_ends() -> None:
    last, over = NOW + GRACE_US - 1, NOW + GRACE_US

    assert ask(basic("tracker", OLD_SECRET), now_us=last) == TRACKER
    assert ask(basic("tracker", OLD_SECRET), now_us=over) == (403, "invalid secret")
    assert ask(basic("tracker", SECRET), now_us=over) == TRACKER


def test_an_old_public_token_is_valid_until_its_grace_ends() -> None:
    last, over = NOW + GRACE_US - 1, NOW + GRACE_US

    assert ask(None, OLD_PUBLIC, now_us=last) == BROWSER
    assert ask(None, OLD_PUBLIC, now_us=over) == (401, "access key not found")
    assert ask(None, PUBLIC, now_us=over) == BROWSER


@given(st.binary(), st.sampled_from([b"", b"Basic ", b"Token ", b"basic ", b"Basic dHJhY2tlcjo"]), st.text())
def test_whatever_is_sent_is_refused_and_never_raises(rest: bytes, start: bytes, text: str) -> None:
    for project in (TOKEN, text):
        assert isinstance(RING.authenticate(project, start + rest, text, NOW), Refusal)
        assert isinstance(RING.authenticate(project, text, None, NOW), Refusal)


def test_only_what_a_new_key_could_change_is_worth_another_look() -> None:
    def new(header: bytes | None, project: str = TOKEN) -> bool:
        found = RING.authenticate(project, header, None, NOW)
        return isinstance(found, Refusal) and found.perhaps_new

    assert new(basic("nobody", SECRET))
    assert new(basic("tracker", "rotated elsewhere"))
    assert new(None, project=NOWHERE)
    assert not new(None, project="x")
    assert not new(b"Basic !!!!")


def test_each_role_may_do_what_it_is_for() -> None:
    allowed = {(role.value, action.name) for role in Role for action in Action if may(role, action)}

    assert allowed == {
        ("tracking", "TRACK"),
        ("tracking", "GRADE"),
        ("data", "GRADE"),
        ("ops", "GRADE"),
        ("public", "TRACK"),
        ("data", "READ"),
        ("ops", "READ"),
        ("ops", "OPERATE"),
        ("sender", "SEND"),
    }
    assert not any(may("a role of a later version", action) for action in Action)


# -- keys that change while we run ----------------------------------------------------------------


def make_project(engine: Engine) -> NewProject:
    with engine.begin() as connection:
        return keys.create_project(connection, "letters", public=True, now_us=NOW)


def header_of(project: NewProject) -> bytes:
    return basic(project.keys[0].key_id, project.keys[0].secret)


def awaited(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_revocation_reaches_a_running_process_within_5_seconds(engine: Engine) -> None:
    project = make_project(engine)
    header = header_of(project)
    with LiveKeyring(engine) as live:
        assert isinstance(live.keyring.authenticate(project.token, header, None, NOW), Caller)
        with engine.begin() as connection:
            keys.revoke(connection, project.keys[0].key_id, now_us=NOW)

        def refused() -> bool:
            return isinstance(live.keyring.authenticate(project.token, header, None, NOW), Refusal)

        assert awaited(refused, 5)


def test_a_key_made_a_moment_ago_is_let_in_at_once(engine: Engine) -> None:
    with LiveKeyring(engine) as live:
        project = make_project(engine)
        found = asyncio.run(live.authenticate(project.token, header_of(project), None, NOW))

    assert found == Caller(1, "tracking", project.keys[0].key_id)


def test_a_rotation_made_a_moment_ago_is_let_in_at_once_beside_the_old_secret(engine: Engine) -> None:
    project = make_project(engine)
    with LiveKeyring(engine) as live:
        with engine.begin() as connection:
            new = keys.rotate(connection, project.keys[0].key_id, now_us=NOW).key
        for secret in (new.secret, project.keys[0].secret):
            found = asyncio.run(live.authenticate(project.token, basic(new.key_id, secret), None, NOW))
            assert isinstance(found, Caller)


def test_unknown_keys_cause_one_reading_a_second_and_wait_for_no_other(engine: Engine) -> None:
    make_project(engine)
    with LiveKeyring(engine) as live:
        first = live.reload_soon()
        assert first is not None
        assert [live.reload_soon() for _ in range(100)] == [None] * 100
        first.result(timeout=5)
        assert awaited(lambda: live.reload_soon() is not None, 5)


def test_while_the_keys_cannot_be_read_the_last_ones_stay_valid(engine: Engine) -> None:
    first = make_project(engine)
    with capture_logs() as lines, LiveKeyring(engine) as live:
        _rename(engine, "access_keys", "mislaid")
        reload = live.reload_soon()
        assert reload is not None
        reload.result(timeout=5)
        assert isinstance(live.keyring.authenticate(first.token, header_of(first), None, NOW), Caller)

        _rename(engine, "mislaid", "access_keys")
        second = make_project(engine)

        def known() -> bool:
            found = live.keyring.authenticate(second.token, header_of(second), None, NOW)
            return isinstance(found, Caller)

        assert awaited(known, 5)
    assert [line["event"] for line in lines] == ["keys_not_loaded"]


def _rename(engine: Engine, table: str, name: str) -> None:
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_database_that_does_not_answer_holds_up_neither_callers_nor_the_end(engine: Engine) -> None:
    project = make_project(engine)
    known, unknown = header_of(project), basic("nobody", SECRET)

    async def both(live: LiveKeyring) -> tuple[Caller | Refusal, list[Caller | Refusal]]:
        waiting = asyncio.create_task(live.authenticate(project.token, unknown, None, NOW))
        others = []
        while not waiting.done():
            others.append(await live.authenticate(project.token, known, None, NOW))
            await asyncio.sleep(0.01)
        return await waiting, others

    with engine.connect() as blocking:
        with LiveKeyring(engine) as live:
            blocking.execute(text("LOCK TABLE access_keys IN ACCESS EXCLUSIVE MODE"))
            started = time.monotonic()
            refused, others = asyncio.run(both(live))
        took = time.monotonic() - started
        blocking.rollback()
        assert awaited(lambda: "receiver-keyring" not in {thread.name for thread in threading.enumerate()}, 5)

    assert refused == Refusal(401, "access key not found", perhaps_new=True)
    assert len(others) > 10
    assert set(others) == {Caller(1, "tracking", project.keys[0].key_id)}
    assert took < 4.5  # the database itself would have given up after 5 seconds
