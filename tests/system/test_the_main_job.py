"""The main job, on real input: install, send what Optilyz sends, find every event again."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import DIALECTS
from tests.databases import PostgresqlServer
from tests.system.conftest import with_password
from tests.system.service import PRIVATE, Client, Key, Project, Service, succeed


@pytest.fixture(params=DIALECTS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Nothing at all yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/var/receiver.db"
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        name = server.create_database()
        yield with_password(server.url(name))
        server.drop_database(name)


def test_what_a_new_installation_prints_is_enough_to_send_and_to_find_again(
    database_url: str, tmp_path: Path
) -> None:
    service = Service(tmp_path, database_url)
    service.start("--init")
    try:
        introduction = service.output
        project = _introduced(introduction)
        service.must_not_log(project)
        _paste(introduction)
        _send_and_find_a_batch(service, project)

        service.stop()
        service.start("--init")
        again = service.output.removeprefix(introduction)
    finally:
        service.stop()
    service.check_log()
    # Whatever was printed the second time, there was no secret in it, and nothing was made.
    assert "curl" not in again
    assert not any(key.secret in again for key in project.keys.values())
    projects = json.loads(succeed("project", "list", "--json", database_url=database_url))
    assert [each["project_token"] for each in projects] == [project.token]


def _send_and_find_a_batch(service: Service, project: Project) -> None:
    sent = _campaign_events(50)
    with Client(service, project) as client:
        _assert_each_succeeded(client.track("batch", _batch(sent)))
        # A retry of the whole batch, as after a lost answer, changes nothing.
        _assert_each_succeeded(client.track("batch", _batch(sent)))

        for each in sent:
            said = client.customer_events(each["customer_ids"], "campaign").json()
            assert said["success"] is True
            assert said["data"] == [
                {"type": "campaign", "timestamp": each["timestamp"], "properties": each["properties"]}
            ]
    found = _listed(service.database_url, project.token)
    pasted = found.pop("c-1001")
    assert pasted["properties"] == {"status": "delivered", "campaign_id": "winback"}
    for each in sent:
        listed = found.pop(each["customer_ids"]["registered"])
        assert (listed["customer_ids"], listed["type"]) == (each["customer_ids"], "campaign")
        assert listed["properties"] == each["properties"]
    assert found == {}


def _introduced(text: str) -> Project:
    token = re.search(r"Token: (\S+)", text)
    assert token is not None, text
    keys = re.findall(r"^ *(\w+) +key ID (\S+) +secret (\S+)$", text, re.MULTILINE)
    assert {role for role, _, _ in keys} == {"tracking", "data", "ops", "sender"}
    return Project(token[1], token[1], {role: Key(key_id, secret) for role, key_id, secret in keys})


def _paste(text: str) -> None:
    """Run the curl line of *text* as a reader of it would."""
    line = next(line for line in text.splitlines() if line.startswith("curl "))
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here to run the printed line with")
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout) == {"success": True, "errors": []}


def _campaign_events(number: int) -> list[dict[str, Any]]:
    """Events of the kind that Optilyz will send, by wire-facts section 7."""
    return [
        {
            "customer_ids": {
                "registered": f"{PRIVATE}-{n}",
                "cookie": f"9b2f6c1e-0c1a-4a53-9a0e-{PRIVATE}{n:08d}",
            },
            "event_type": "campaign",
            "timestamp": 1_760_000_000 + n,
            "properties": {
                "action_type": "direct mail",
                "status": ("queued", "printing", "delivered")[n % 3],
                "campaign_id": "64b0c0ffee0000000000abcd",
                "campaign_name": "Rückgewinnung 💌",
                "platform": "optilyz",
                "number": n,
                "price": 0.85,
                "tags": ["a", None, {"deep": True}],
            },
        }
        for n in range(number)
    ]


def _batch(events: list[dict[str, Any]]) -> dict[str, object]:
    return {
        "commands": [
            {"name": "customers/events", "command_id": f"opt-{n}", "data": each}
            for n, each in enumerate(events)
        ]
    }


def _assert_each_succeeded(answer: httpx2.Response) -> None:
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert results == [{"success": True, "command_id": f"opt-{n}"} for n in range(len(results))]
    assert len(results) == 50


def _listed(database_url: str, token: str) -> dict[str, dict[str, Any]]:
    """What ``receiver events`` prints, by registered ID; each must be there once."""
    lines = succeed("events", token, "--format", "jsonl", database_url=database_url).splitlines()
    events = [json.loads(line) for line in lines]
    found = {each["customer_ids"]["registered"]: each for each in events}
    assert len(found) == len(events)
    return found
