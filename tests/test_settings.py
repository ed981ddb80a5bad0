"""What an operator sets, and what a mistake looks like."""

from pathlib import Path

import pytest

from receiver.settings import WrongSettings, read_settings


def test_without_any_setting_it_runs_on_an_embedded_database() -> None:
    settings = read_settings()

    assert settings.database_url == "sqlite:///var/receiver.db"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.individualisations == {"registered": 1, "cookie": 2, "campaign": 3}


def test_lists_and_pairs_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_HARD_IDS", "registered, email_id")
    monkeypatch.setenv("RECEIVER_INDIVIDUALISATIONS", "registered=7, mailing=9")
    monkeypatch.setenv("RECEIVER_STAGE_WORDS", "gedruckt=printing")

    settings = read_settings()

    assert settings.hard_ids == ("registered", "email_id")
    assert settings.individualisations == {"registered": 7, "mailing": 9}
    assert settings.stage_words == {"gedruckt": "printing"}


def test_every_mistake_is_listed_at_once_and_no_value_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_PORT", "secret-port")
    monkeypatch.setenv("RECEIVER_EMPTY_IDS", "secret-policy")
    monkeypatch.setenv("RECEIVER_MAX_COMMANDS", "-1")

    with pytest.raises(WrongSettings) as caught:
        read_settings()

    lines = str(caught.value).splitlines()
    assert {line.partition(":")[0] for line in lines} == {
        "RECEIVER_PORT",
        "RECEIVER_EMPTY_IDS",
        "RECEIVER_MAX_COMMANDS",
    }
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("INDIVIDUALISATIONS", "registered=1,nobody=2", "no such ID: nobody"),
        ("INDIVIDUALISATIONS", "registered=1,cookie=1", "a number stands there twice"),
        ("INDIVIDUALISATIONS", "registered", "write it as name=value"),
        ("SOFT_IDS", "registered", "an ID name stands there twice"),
        ("WORKERS", "2", "more than one process needs PostgreSQL"),
        ("DATABASE_URL", "mysql://host/db", "begin it with sqlite:/// or postgresql://"),
        ("STAGE_WORDS", "weg=gone", "'queued'"),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"RECEIVER_{name}", value)

    with pytest.raises(WrongSettings, match=words):
        read_settings()


def test_a_setting_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://user:f00-ba7@host/db\n")
    monkeypatch.setenv("RECEIVER_DATABASE_URL_FILE", str(tmp_path / "url"))

    settings = read_settings()

    assert settings.database_url == "postgresql://user:f00-ba7@host/db"
    assert "f00-ba7" not in repr(settings)


def test_a_file_that_is_not_there_is_a_mistake_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL_FILE", str(tmp_path / "nothing"))

    with pytest.raises(WrongSettings, match="RECEIVER_DATABASE_URL_FILE: cannot be read"):
        read_settings()


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_PORT", "8001")

    assert read_settings(port=8002, host=None).port == 8002
