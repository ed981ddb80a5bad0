"""``receiver project`` and ``receiver key`` as somebody at a terminal or a script sees them."""

import json
import subprocess
import sys
import time
from base64 import b64encode
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from receiver import cli
from receiver.store import keys
from receiver.store.engine import connect
from receiver.web.auth import Caller, Keyring, Refusal


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    return database_url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.build(), arguments)


def document(*arguments: str) -> Any:
    """What a command says to a machine: one document and nothing else."""
    result = run(*arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(*arguments: str) -> str:
    """What a command says when it fails."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def authenticate(database_url: str, project_token: str, key_id: str, secret: str) -> Caller | Refusal:
    engine = connect(database_url)
    with engine.connect() as connection:
        ring = Keyring(keys.projects(connection), keys.valid_keys(connection))
    engine.dispose()
    header = b"Basic " + b64encode(f"{key_id}:{secret}".encode())
    return ring.authenticate(project_token, header, None, time.time_ns() // 1000)


def test_a_new_project_is_told_with_all_its_keys_which_let_in(database: str) -> None:
    made = document("project", "create", "letters")

    assert list(made) == ["name", "project_token", "public_token", "keys"]
    assert (made["name"], made["public_token"]) == ("letters", None)
    assert list(made["keys"]) == ["tracking", "data", "ops", "sender"]
    for role, key in made["keys"].items():
        assert list(key) == ["key_id", "secret"]
        found = authenticate(database, made["project_token"], **key)
        assert found == Caller(1, role, key["key_id"])


def test_a_public_token_is_made_when_it_is_asked_for(database: str) -> None:
    made = document("project", "create", "letters", "--public")

    assert len(made["public_token"]) == 64
    assert "public" not in made["keys"]


@pytest.mark.usefixtures("database")
def test_people_get_a_text_with_everything_in_it() -> None:
    result = run("project", "create", "Müller [bold]", "--public")

    assert result.exit_code == 0
    assert "Müller [bold]" in result.stdout
    (project,) = document("project", "list")
    assert project["project_token"] in result.stdout
    for key in document("key", "list", project["project_token"]):
        assert key["role"] in result.stdout
        assert (key["key_id"] in result.stdout) == (key["role"] != "public")
    assert len([word for word in result.stdout.split() if len(word) == 64]) == 5


@pytest.mark.usefixtures("database")
def test_projects_are_listed_by_name_and_token() -> None:
    assert document("project", "list") == []
    assert "project create" in run("project", "list").stdout
    made = [document("project", "create", name) for name in ("letters", "Müller & Söhne")]

    listed = document("project", "list")
    assert [(each["name"], each["project_token"]) for each in listed] == [
        (each["name"], each["project_token"]) for each in made
    ]
    assert all(datetime.fromisoformat(each["created_at"]).tzinfo for each in listed)
    assert "Müller & Söhne" in run("project", "list").stdout


def test_a_further_key_lets_in_too(database: str) -> None:
    token = document("project", "create", "letters")["project_token"]
    key = document("key", "create", token, "data")

    assert list(key) == ["key_id", "role", "secret"]
    assert authenticate(database, token, key["key_id"], key["secret"]) == Caller(1, "data", key["key_id"])


def test_after_a_rotation_both_secrets_let_in_and_the_end_of_the_old_one_is_told(database: str) -> None:
    made = document("project", "create", "letters")
    token, old = made["project_token"], made["keys"]["tracking"]
    before = time.time()
    new = document("key", "rotate", old["key_id"])

    until = datetime.fromisoformat(new["old_secret_valid_until"])
    assert (new["key_id"], new["role"]) == (old["key_id"], "tracking")
    assert abs(until.timestamp() - before - timedelta(hours=24).total_seconds()) < 60
    for secret in (old["secret"], new["secret"]):
        assert isinstance(authenticate(database, token, old["key_id"], secret), Caller)
    assert "24 hours" in refused("key", "rotate", old["key_id"])


def test_a_revoked_key_no_longer_lets_in_and_cannot_be_rotated(database: str) -> None:
    made = document("project", "create", "letters")
    key = made["keys"]["tracking"]
    assert run("key", "revoke", key["key_id"]).exit_code == 0

    assert isinstance(authenticate(database, made["project_token"], **key), Refusal)
    assert "revoked" in refused("key", "rotate", key["key_id"])
    listed = {each["key_id"]: each for each in document("key", "list", made["project_token"])}
    assert [key_id for key_id, each in listed.items() if each["revoked_at"]] == [key["key_id"]]


@pytest.mark.usefixtures("database")
def test_no_list_shows_a_secret() -> None:
    made = document("project", "create", "letters", "--public")
    token = made["project_token"]
    new = [
        document("key", "rotate", made["keys"]["ops"]["key_id"]),
        document("key", "create", token, "public"),
    ]
    secrets = [made["public_token"], *(key["secret"] for key in (*made["keys"].values(), *new))]

    shown = "".join(
        run(*command, *form).output
        for command in (("project", "list"), ("key", "list", token))
        for form in ((), ("--json",))
    )
    assert all(key["key_id"] in shown for key in made["keys"].values())
    assert not any(secret in shown for secret in secrets)
    assert not any(keys.hash_of(secret.encode()).hex() in shown for secret in secrets)


@pytest.mark.usefixtures("database")
def test_what_does_not_exist_is_told_in_a_sentence() -> None:
    nobody = "0b0e7a9c-53d5-4d3a-9a1c-6f2f3a9f1c11"

    assert "no project" in refused("key", "list", nobody)
    assert "no project" in refused("key", "create", nobody, "data")
    assert "no key" in refused("key", "rotate", nobody)
    assert "no key" in refused("key", "revoke", "\udcff")
    assert "name" in refused("project", "create", " ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("project", "create"),
        ("key", "create", "x", "boss"),
        ("key", "rotate"),
        ("project", "list", "--xml"),
        ("keys",),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_a_database_that_was_not_migrated_is_told(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", empty_database_url)

    assert "receiver migrate" in refused("project", "create", "letters")
    assert "receiver migrate" in refused("project", "list")
    assert not (tmp_path / "receiver.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:geheim@127.0.0.1:1/receiver",
        "postgresql://u:geheim@127.0.0.1:port/receiver",
        "postgresql:geheim",
        "sqlite:////proc/nowhere/receiver.db",
        "postgresql://u:geheim@127.0.0.1:1/receiver?nonsense=geheim",
        "sqlite:///.",
        "mysql://u:geheim@localhost/receiver",
    ],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", url)

    said = refused("project", "list", "--json")
    assert "database" in said.lower()
    assert ":geheim" not in said


def test_the_version_is_told() -> None:
    assert run("--version").stdout.startswith("receiver 0.")


def test_an_error_of_ours_shows_no_local_variable() -> None:
    program = """
import sys
from receiver.cli import build
app = build()
@app.command()
def fail() -> None:
    secret = "".join(reversed("miehegeheim"))
    raise RuntimeError("broken")
sys.argv[1:] = ["fail"]
app()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert "RuntimeError: broken" in result.stderr
    assert "miehegeheim"[::-1] not in result.stderr
