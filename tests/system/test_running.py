"""What an operator does and sees while the service runs: keys, metrics, readiness."""

import json
from collections import Counter

from tests.system.conftest import Installation
from tests.system.service import Client, Key, Service, commands, create_project, event, succeed
from tests.waiting import wait_until

PROMISED_SECONDS = 5


def test_a_project_that_was_made_a_moment_ago_can_send(service: Service, installation: Installation) -> None:
    project = create_project(installation.database_url, "second")
    service.must_not_log(project)

    with Client(service, project) as client:
        assert client.track("customers/events", event(1, registered="new")).status_code == 200


def test_a_rotated_key_opens_with_both_secrets(client: Client, installation: Installation) -> None:
    old = installation.project.keys["tracking"]
    said = succeed("key", "rotate", old.key_id, "--json", database_url=installation.database_url)
    new = Key(old.key_id, json.loads(said)["secret"])
    assert new != old

    wait_until(lambda: _status(client, new) == 200, "the new secret opens", seconds=PROMISED_SECONDS)

    assert _status(client, old) == 200


def test_a_revoked_key_is_refused_within_five_seconds(client: Client, installation: Installation) -> None:
    database_url, project = installation
    made = json.loads(
        succeed("key", "create", project.token, "tracking", "--json", database_url=database_url)
    )
    key = Key(made["key_id"], made["secret"])
    wait_until(lambda: _status(client, key) == 200, "the new key opens", seconds=PROMISED_SECONDS)

    succeed("key", "revoke", key.key_id, database_url=database_url)

    wait_until(lambda: _status(client, key) == 401, "the key is refused", seconds=PROMISED_SECONDS)


def _status(client: Client, key: Key) -> int:
    return client.track("system/time", b"", method="GET", key=key).status_code


def test_the_metrics_add_up(service: Service, client: Client) -> None:
    before = Counter(service.metrics())
    once = event(1, registered="metrics")
    client.track("customers/events", once)
    client.track("customers/events", {"customer_ids": {}})
    client.track("batch", commands([once, event(2, registered="metrics"), None]))
    client.track("customers/events", once, key=Key("unknown", "unknown"))
    client.track("system/time", b"", method="GET")

    now = service.metrics()
    counted = {name: value - before[name] for name, value in now.items() if value != before[name]}

    outcomes = {name[1:]: value for name, value in counted.items() if name[0] == "receiver_outcomes_total"}
    assert outcomes == {
        ("accepted", ""): 2,
        ("duplicate", ""): 1,
        ("rejected", "no_customer_ids"): 1,
        ("rejected", "missing_field"): 1,
    }
    assert counted["receiver_received_total",] == sum(outcomes.values()) == 5
    assert counted["receiver_turned_away_total", "unauthorised"] == 1
    assert counted["receiver_group_commands_sum",] == 5
    assert counted["receiver_group_seconds_count",] == counted["receiver_group_commands_count",] == 3
    assert counted["receiver_http_seconds_count", "/track/v2/projects/{project_token}/batch", "200"] == 1
    assert now["receiver_queue_depth",] == 0
