"""What the documents say, the code does, and the other way round."""

from pathlib import Path

import pytest
import typer.main

from receiver import telemetry
from receiver.cli import build
from receiver.domain.commands import Reason
from receiver.settings import PREFIX, Settings
from receiver.web import health, tracking

HERE = Path(__file__).resolve().parent.parent
README = (HERE / "README.md").read_text()
OPERATIONS = (HERE / "docs/operations.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_explained(name: str) -> None:
    assert f"| `{PREFIX}{name.upper()}` |" in OPERATIONS


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_listed(reason: Reason) -> None:
    assert f"`{reason}`" in OPERATIONS


def test_every_metric_is_explained() -> None:
    names = {
        name
        for line in telemetry.exposition()[0].decode().splitlines()
        if line.startswith("# HELP receiver_")
        for name in [line.split()[2].removesuffix("_total")]
    }

    assert len(names) > 5
    assert {name for name in names if f"| `{name}` |" not in OPERATIONS} == set()


@pytest.mark.parametrize("event", telemetry.LOG_EVENTS)
def test_every_log_event_is_explained(event: str) -> None:
    assert f"| `{event}` |" in OPERATIONS


def test_every_route_that_answers_is_in_the_readme() -> None:
    own = [route.replace("projects/", "projects/{project_token}/") for route in tracking.FORMS]
    plain = [route.path for route in health.routes]

    assert [path for path in (*own, *plain) if path not in README] == []


def test_every_command_is_in_the_readme() -> None:
    commands = typer.main.get_command(build()).commands  # type: ignore[attr-defined]  # a group, which has them

    assert len(commands) > 5
    assert [name for name in commands if f"`receiver {name}" not in README] == []
