"""What machines that watch the service are told, on both databases."""

import time
from collections.abc import Iterator

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from tests.databases import PostgresqlServer
from tests.rows import locked
from tests.serving_app import FLAT, Sender, in_parts, serving
from tests.waiting import wait_until


@pytest.fixture
def sender(database_url: str) -> Iterator[Sender]:
    with serving(database_url, database_seconds=0.3) as sender:
        yield sender


def event(who: str) -> dict[str, object]:
    return {"customer_ids": {"registered": who}, "event_type": "campaign", "timestamp": 1_760_000_000}


def ready(sender: Sender) -> bool:
    answer = sender.client.get("/readyz")
    assert answer.status_code in {200, 503}
    assert answer.json() == {"status": "ready" if answer.status_code == 200 else "not ready"}
    assert ("retry-after" in answer.headers) is (answer.status_code == 503)
    return answer.status_code == 200


def assert_alive(sender: Sender) -> None:
    answer = sender.client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


# -- ready or not ---------------------------------------------------------------------------------


def test_it_is_alive_and_ready_without_anybody_saying_who_asks(sender: Sender) -> None:
    assert_alive(sender)
    assert ready(sender)
    assert sender.client.post("/readyz").status_code == 405


def test_it_is_not_ready_while_nothing_can_be_written_but_alive(sender: Sender, database_url: str) -> None:
    with locked(database_url):
        assert not ready(sender)
        assert_alive(sender)

    assert ready(sender)


def test_it_is_not_ready_on_a_database_that_is_behind(sender: Sender) -> None:
    def move_to(revision: str) -> str:
        with sender.engine.execution_options(writes=True).begin() as connection:
            before = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
            connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
        return before

    head = move_to("0000")
    assert not ready(sender)
    assert_alive(sender)

    move_to(head)
    assert ready(sender)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_it_is_not_ready_while_the_database_takes_no_connections_and_ready_when_it_does(
    sender: Sender, postgresql_server: PostgresqlServer
) -> None:
    name = sender.engine.url.database
    sender.engine.dispose()
    with psycopg.connect(postgresql_server.url("postgres"), autocommit=True) as connection:
        connection.execute("UPDATE pg_database SET datallowconn = false WHERE datname = %s", (name,))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        assert not ready(sender)
        assert sender.send("customers/events", event("away")).status_code == 503
        assert_alive(sender)

        connection.execute("UPDATE pg_database SET datallowconn = true WHERE datname = %s", (name,))
    wait_until(lambda: ready(sender))
    assert sender.send("customers/events", event("back")).status_code == 200


def test_it_is_not_ready_after_a_group_failed_until_another_one_is_stored(
    sender: Sender, database_url: str
) -> None:
    with locked(database_url):
        assert sender.send("customers/events", event("a")).status_code == 503
    failed = time.monotonic()
    seen = ready(sender)

    # Where the machine was so slow that the failure is forgotten by now, nothing can be said.
    assert not seen or time.monotonic() - failed > 5
    assert sender.send("customers/events", event("a")).status_code == 200
    assert ready(sender)


def test_a_group_that_failed_is_forgotten_though_nobody_sends_anything(
    sender: Sender, database_url: str
) -> None:
    # Or a service that nobody sends to because it is not ready would never be ready again.
    with locked(database_url):
        assert sender.send("customers/events", event("a")).status_code == 503

    wait_until(lambda: ready(sender))


# -- metrics --------------------------------------------------------------------------------------


def metrics(sender: Sender) -> dict[tuple[str, ...], float]:
    """All samples: name and label values, in the order of the labels' names."""
    answer = sender.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_what_was_received_is_counted_by_what_became_of_it(sender: Sender) -> None:
    before = metrics(sender)
    batch = [{"name": "customers/events", "data": each} for each in (event("m"), event("m"), event(""))]

    sender.send("batch", {"commands": [*batch, {"name": "system/time"}]})

    after = metrics(sender)
    counted = {
        key: after[key] - before.get(key, 0)
        for key in after
        if key[0] in {"receiver_received_total", "receiver_outcomes_total"}
        and after[key] != before.get(key, 0)
    }
    assert counted == {
        ("receiver_received_total",): 3,
        ("receiver_outcomes_total", "accepted", ""): 1,
        ("receiver_outcomes_total", "duplicate", ""): 1,
        ("receiver_outcomes_total", "rejected", "empty_customer_id"): 1,
    }


def test_empty_ids_that_were_left_out_are_counted(database_url: str) -> None:
    with serving(database_url, empty_ids="drop") as sender:
        before = metrics(sender)[("receiver_dropped_ids_total",)]
        sent = event("d") | {"customer_ids": {"registered": "d", "cookie": ""}}
        assert sender.send("customers/events", sent).status_code == 200

        assert metrics(sender)[("receiver_dropped_ids_total",)] == before + 1


def test_what_was_turned_away_is_counted_by_its_cause(sender: Sender, database_url: str) -> None:
    async def hung_up() -> dict[str, str]:
        return {"type": "http.disconnect"}

    before = metrics(sender)

    sender.client.post(sender.path("batch"))
    sender.raw("batch", in_parts([b"x" * 5_000_000]))
    sender.raw("batch", hung_up)
    with locked(database_url):
        sender.send("customers/events", event("a"))

    after = metrics(sender)
    name = "receiver_turned_away_total"
    raised = {
        key[1]: after[key] - before.get(key, 0)
        for key in after
        if key[0] == name and after[key] != before.get(key, 0)
    }
    assert raised == {"unauthorised": 1, "too_large": 1, "hung_up": 1, "database": 1}


def test_times_are_told_by_route_and_status_and_by_nothing_that_was_sent(sender: Sender) -> None:
    sender.send("customers/events", event("t"))

    found = {key[1:3] for key in metrics(sender) if key[0] == "receiver_http_seconds_count"}

    assert ("/track/v2/projects/{project_token}/customers/events", "200") in found
    assert not any(sender.project.token in value for key in found for value in key)


def test_no_metric_says_anything_of_people_or_secrets(sender: Sender) -> None:
    secret = "Beispiel-4711"
    public = sender.project.public_token
    assert public is not None
    sender.send("customers/events", event(secret) | {"event_type": secret, "properties": {secret: secret}})
    sender.send("customers", {"customer_ids": {secret: secret}, "properties": {secret: secret}})
    sender.send(
        FLAT, [{"individualisation1": secret, "status": secret}, {"individualisation1": "", secret: 1}]
    )
    sender.send("batch", secret.encode())
    sender.send(secret, b"")
    sender.client.post(f"/track/v2/projects/{secret}/batch?access_token={secret}")
    sender.client.post(f"{sender.path('batch')}?access_token={public}", headers={"user-agent": secret})
    sender.client.request(secret.upper(), f"/{secret}", headers={"host": secret})
    sender.client.get(f"/v1/projects/{secret}/events?customer=registered:{secret}")

    said = sender.client.get("/metrics").text

    assert "receiver_outcomes_total" in said
    for private in (secret, secret.upper(), sender.project.token, public, *_keys(sender)):
        assert private not in said


def _keys(sender: Sender) -> list[str]:
    return [value for key in sender.project.keys for value in (key.key_id, key.secret)]
