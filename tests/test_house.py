"""What the documents say, the code does, and the other way round; and the house is kept in order."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main
from starlette.routing import Route
from starlette.types import Message

from receiver import telemetry
from receiver.cli import MODULES, build
from receiver.domain.callbacks import MAX_EVENT_BYTES
from receiver.domain.commands import Reason
from receiver.domain.exact_json import MAX_DEPTH
from receiver.domain.fields import MAX_PROPERTY_BYTES, MAX_TEXT
from receiver.domain.repairs import REPAIRS
from receiver.domain.stages import STAGE_WORDS
from receiver.domain.violations import Code
from receiver.outbound.cancellations import Outcome
from receiver.settings import PREFIX, Settings, read_settings
from receiver.store import mailings
from receiver.store.keys import Role
from receiver.store.mailings import State
from receiver.web import api, data, gateway, health, openapi, tracking
from receiver.web.answers import Operation
from receiver.web.auth import Action, may
from receiver.web.event_questions import EventsQuestion
from tests.serving_app import FLAT, Sender, in_parts, serving

HERE = Path(__file__).resolve().parent.parent
README = (HERE / "README.md").read_text()
OPERATIONS = (HERE / "docs/operations.md").read_text()
EVENTS = (HERE / "docs/events.md").read_text()
SHEET = (HERE / "docs/tracking-sheet.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_explained(name: str) -> None:
    assert f"| `{PREFIX}{name.upper()}` |" in OPERATIONS


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_listed(reason: Reason) -> None:
    assert f"`{reason}`" in OPERATIONS


@pytest.mark.parametrize("word", [*State, *mailings.Reason, *Code, *Outcome])
def test_every_word_about_letters_is_explained(word: str) -> None:
    assert f"| `{word}` |" in OPERATIONS


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


def test_every_command_is_in_the_readme() -> None:
    commands = typer.main.get_command(build()).commands  # type: ignore[attr-defined]  # a group, which has them

    assert len(commands) > 5
    assert [name for name in commands if f"`receiver {name}" not in README] == []


def test_every_command_about_rejections_is_in_the_readme() -> None:
    commands = typer.main.get_command(build()).commands  # type: ignore[attr-defined]  # a group, which has them
    told = {
        name
        for row in re.findall(r"^\| `receiver rejections (.*?) \|", README, re.MULTILINE)
        for name in re.findall(r"\w+", row)
    }

    assert told == set(commands["rejections"].commands)


@pytest.mark.parametrize("name", REPAIRS)
def test_every_repair_is_explained(name: str) -> None:
    assert f"| `{name}` |" in OPERATIONS


def test_every_filter_of_events_is_explained() -> None:
    table = EVENTS.partition("| HTTP | command line |")[2].partition("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines()[2:]]
    by_http, by_command = ({name for row in rows for name in re.findall("`(.*?)`", row[n])} for n in (1, 2))
    command = typer.main.get_command(build("events")).commands["events"]  # type: ignore[attr-defined]  # a group

    assert by_http == set(EventsQuestion.model_fields)
    assert by_command == {option.opts[0] for option in command.params[1:]} - {"--output", "--show-sql"}


def test_each_command_comes_from_the_module_that_is_said_to_have_it() -> None:
    for commands in MODULES.values():
        for name in commands:
            group = typer.main.get_command(build(name))
            assert set(group.commands) == set(commands)  # type: ignore[attr-defined]  # a group, which has them


# -- routes and who may ask them ------------------------------------------------------------------

Routes = dict[str, frozenset[str]]
"""The roles that may ask, by path."""


def routes_of_the_readme() -> Routes:
    """Of its table: the first path of a row stands there whole, those beside it as they differ."""
    found: Routes = {}
    for first, second in re.findall(r"^\| (`(?:GET|POST).*?) \| (.*?) \|$", README, re.MULTILINE):
        roles = frozenset(re.findall(r"`(\w+)`", second))
        spans = [span.rpartition(" ")[2] for span in re.findall(r"`([^`]+)`", first)]
        paths = [span for span in spans if span.startswith("/")]
        base = paths[0].rpartition("/")[0]
        found |= {path if path == paths[0] else base + path: roles for path in paths}
    return found


def routes_that_answer() -> Routes:
    """All but those that are to come (501)."""
    senders = roles_of(Action.TRACK)
    found = {_with_token(route): senders for route in (*tracking.FORMS, tracking.SYSTEM_TIME)}
    operations = [(api.PREFIX, each) for each in api.OPERATIONS]
    operations += [(data.PREFIX, each) for each in data.OPERATIONS]
    for prefix, operation in operations:
        found[_path(prefix, operation)] = roles_of(operation.action)
    found |= {route.path: roles_of(Action.SEND) for route in gateway.routes}
    return found | {route.path: frozenset() for route in (*health.routes, openapi.route(read_settings()))}


def roles_of(action: Action) -> frozenset[str]:
    return frozenset(role for role in Role if may(role, action))


def _with_token(route: str) -> str:
    return route.replace("projects/", "projects/{project_token}/")


def _path(prefix: str, operation: Operation) -> str:
    return _with_id(prefix + operation.path)


def _with_id(path: str) -> str:
    return re.sub(r"\{(rejection|mailing)_id\}", "{id}", path)


def test_the_readme_lists_the_routes_that_answer_and_the_roles_that_may_ask() -> None:
    assert routes_of_the_readme() == routes_that_answer()


def test_no_other_route_answers() -> None:
    routes = [*api.routes, *data.routes, *gateway.routes, *health.routes]

    assert all(isinstance(route, Route) for route in routes)
    answering = {_with_id(route.path_format) for route in routes if route.include_in_schema}
    assert answering <= routes_that_answer().keys()


# -- docs/tracking-sheet.md -----------------------------------------------------------------------


class Example(NamedTuple):
    """A request of the sheet and the answer below it."""

    method: str
    path: str
    headers: dict[str, str]
    body: str
    status: int
    answer: Any


def examples() -> list[Example]:
    blocks = re.findall(r"^```http\n(.*?)^```$", SHEET, re.MULTILINE | re.DOTALL)
    assert len(blocks) % 2 == 0
    found = []
    for request, answer in zip(blocks[::2], blocks[1::2], strict=True):
        head, _, body = request.partition("\n\n")
        first, *lines = head.splitlines()
        method, _, path = first.partition(" ")
        headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
        status, _, document = answer.partition("\n\n")
        found.append(Example(method, path, headers, body, int(status), json.loads(document)))
    return found


def without_times(document: Any) -> Any:
    """What differs each time becomes the name of its type."""
    return {
        name: type(value).__name__ if name in {"time", "start_time", "end_time"} else value
        for name, value in document.items()
    }


def test_the_sheet_has_an_example_of_each_form_and_of_each_way_to_be_refused() -> None:
    paths = {example.path.replace("PROJECT_TOKEN/", "") for example in examples()}
    keys = {key for example in examples() for key in ("error", "errors", "message") if key in example.answer}

    assert paths == set(tracking.FORMS)
    assert keys == {"error", "errors", "message"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_example_of_the_sheet_is_answered_as_it_says(database_url: str) -> None:
    with serving(database_url) as sender:
        for example in examples():
            path = example.path.replace("PROJECT_TOKEN", sender.project.token)
            headers = {
                name: value.replace("Basic BASE64(KEY_ID:SECRET)", sender.authorization())
                for name, value in example.headers.items()
            }

            answer = sender.client.request(example.method, path, content=example.body, headers=headers)

            assert answer.status_code == example.status, example
            assert without_times(answer.json()) == without_times(example.answer)


def key_of_the_reason(document: Any) -> str:
    if "results" in document:
        return "results[].errors"
    if "errors" in document:
        return "errors" if isinstance(document["errors"], list) else "errors.description"
    return "message" if "message" in document else "error"


def answers_of_each_kind(sender: Sender) -> set[tuple[int, str]]:
    """Status and key of the reason of everything that a sender can meet."""

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("waited for ever")

    secret = sender.authorization()[:-8] + "AAAA" + sender.authorization()[-4:]
    answers = [
        sender.send("batch", {"commands": [None]}),
        sender.send("customers/events", {}),
        sender.send("batch", {}),
        sender.client.post(tracking.TRACK + "nonsense/batch"),
        sender.client.post(sender.path("batch")),
        sender.client.post(sender.path("batch"), headers={"authorization": secret}),
        sender.send("nonsense", {}),
        sender.send(FLAT, {}, method="PUT"),
        sender.send("batch", b" " * (read_settings().max_body_bytes + 1)),
    ]
    raw = [sender.raw("batch", never), sender.raw("batch", in_parts([b"x" * 2000]))]
    return {(answer.status_code, key_of_the_reason(answer.json())) for answer in answers} | {
        (answer.status, key_of_the_reason(answer.document)) for answer in raw if answer is not None
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_sheet_lists_every_status_and_where_its_reason_stands(database_url: str) -> None:
    rows = re.findall(r"^\| (\d{3}) \|.*?\| `([^`]+)`[^|]*\|[^|]*\|$", SHEET, re.MULTILINE)

    with serving(database_url, body_seconds=0.1, held_bytes=1000) as sender:
        answered = answers_of_each_kind(sender)

    assert {(int(status), key) for status, key in rows} == answered


def test_the_sheet_tells_the_limits_that_hold() -> None:
    settings = read_settings()
    limits = {
        "commands of a batch (not of the flat form)": f"{settings.max_commands}",
        "body": f"{settings.max_body_bytes:,} bytes",
        "one event or update": f"{MAX_EVENT_BYTES:,} bytes",
        "value of a property": f"{MAX_PROPERTY_BYTES:,} bytes",
        "ID, event type, campaign reference": f"{MAX_TEXT} characters",
        "brackets within brackets": f"{MAX_DEPTH}",
        "time to hand over a body": f"{settings.body_seconds:.0f} seconds",
    }

    table = SHEET.partition("| limit | value |\n|---|---|\n")[2].partition("\n\n")[0]
    assert dict(line.strip("| ").split(" | ") for line in table.splitlines()) == limits
    assert f"within {settings.duplicate_window} seconds" in SHEET


def test_the_sheet_lists_the_words_that_are_understood() -> None:
    table = SHEET.partition("| stage | words |\n|---|---|\n")[2].partition("\n\n")[0]
    told = {
        word: stage
        for stage, words in re.findall(r"\| `(\w+)` \| (.*?) \|", table)
        for word in words.split(", ")
    }

    assert told == STAGE_WORDS


# -- the house itself -----------------------------------------------------------------------------

LONGER_THAN_300_LINES: dict[str, str] = {
    "receiver/store/tables.py": "all tables stand side by side, as in the database",
}
"""Modules, each with the reason why it is that long."""


def test_no_module_is_long_without_a_reason() -> None:
    lengths = {
        str(path.relative_to(HERE)): len(path.read_text().splitlines())
        for path in (HERE / "receiver").rglob("*.py")
    }

    assert len(lengths) > 30
    assert {name for name, length in lengths.items() if length > 300} == set(LONGER_THAN_300_LINES)


def test_every_sample_is_used_by_a_test() -> None:
    tests = "".join(path.read_text() for path in (HERE / "tests").rglob("*.py"))
    samples = [path.stem for path in (HERE / "tests/samples").iterdir()]

    assert len(samples) > 10
    assert [name for name in samples if f'"{name}' not in tests] == []
