"""``receiver check``: what an operator hears before the first letter."""

import pytest
from typer.testing import CliRunner

from receiver.cli import build
from tests.simulated import simulated_optilyz


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)


def check(*options: str) -> tuple[int, str]:
    done = CliRunner().invoke(build(), ["check", *options])
    return done.exit_code, done.output


def test_all_is_well() -> None:
    assert check() == (0, "The settings are valid; the database is reachable, at head and writable.\n")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_key_is_tried_at_optilyz(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_optilyz(key="right") as optilyz:
        monkeypatch.setenv("RECEIVER_OPTILYZ_BASE_URL", optilyz.url)
        assert check("--optilyz") == (1, "There is no key for Optilyz; set RECEIVER_OPTILYZ_API_KEY.\n")

        monkeypatch.setenv("RECEIVER_OPTILYZ_API_KEY", "wrong-one")
        code, said = check("--optilyz")
        assert (code, "401" in said, "wrong-one" in said) == (1, True, False)

        monkeypatch.setenv("RECEIVER_OPTILYZ_API_KEY", "right")
        code, said = check("--optilyz")
        assert (code, said.splitlines()[-1]) == (0, "Optilyz accepts the key.")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_optilyz_that_is_away_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_OPTILYZ_BASE_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("RECEIVER_OPTILYZ_API_KEY", "key")

    code, said = check("--optilyz")

    assert code == 1
    assert said.startswith("Optilyz could not be reached")
