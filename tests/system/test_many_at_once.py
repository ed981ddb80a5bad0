"""The same thing at the same time: repeats, two processes on one database, two migrations."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg

from tests.system.conftest import IMPATIENT, Installation
from tests.system.load import NO_ANSWER, Load, assert_kept
from tests.system.service import PRIVATE, Client, Project, Service, event, run
from tests.waiting import wait_until


def test_fifty_identical_callbacks_at_once_are_one_event_and_fifty_successes(
    service: Service, client: Client, project: Project
) -> None:
    timed = event(1, registered="parallel")
    untimed = {key: value for key, value in event(2, registered="parallel").items() if key != "timestamp"}

    def send(body: Mapping[str, Any]) -> int:
        with Client(service, project) as sender:
            return sender.track("customers/events", body).status_code

    with ThreadPoolExecutor(50) as threads:
        answers = Counter(threads.map(send, [timed, untimed] * 50))

    assert answers == {200: 100}
    found = client.customer_events({"registered": f"{PRIVATE}-parallel"}, "campaign").json()["data"]
    assert sorted(each["properties"]["number"] for each in found) == [1, 2]
    total = client.our_own("outcomes")["total"]
    assert (total["accepted"], total["duplicate"]) == (2, 98)


def test_two_processes_on_one_database_agree_about_who_is_who(
    postgresql: Installation, tmp_path: Path
) -> None:
    with (
        Service(tmp_path, *postgresql) as one,
        Service(tmp_path, *postgresql) as other,
        Client(one, postgresql.project) as client,
    ):

        def send(make: Callable[[int], Mapping[str, Any]]) -> set[int]:
            with Load(postgresql.project, one, other, connections=16, make=make) as load:
                load.go_on(1500)
            assert set(load.statuses) == {200}
            assert load.acknowledged == load.sent
            assert_kept(load, client)
            _assert_identities_are_whole(postgresql.database_url)
            return load.sent

        sent = send(_of_one_person)
        _assert_each_person_is_one_customer(postgresql.database_url, sent)
        send(_of_a_shared_device)

    token = postgresql.project.token
    checked = run("outcomes", token, "--check", database_url=postgresql.database_url)
    assert checked.returncode == 0, checked.stderr + checked.stdout


_ABOUT_ONE_PERSON = 15


def _of_one_person(number: int) -> dict[str, Any]:
    """Each person has six IDs that no other one has.  They are told alone and in pairs by fifteen events
    that leave at about the same time, to either process, so that in the end all must have met in one
    customer, whatever the order was."""
    person, part = divmod(number, _ABOUT_ONE_PERSON)
    registered, cookies = f"{person}-", [f"{person}-{n}" for n in range(5)]
    told: list[dict[str, str]] = [
        *({"cookie": cookie} for cookie in cookies),
        *({"registered": registered, "cookie": cookie} for cookie in cookies),
        *({"registered": registered} for _ in cookies),
    ]
    random.Random(person).shuffle(told)
    return event(number, **told[part])


def _of_a_shared_device(number: int) -> dict[str, Any]:
    """Few cookies go to and fro between few registered customers."""
    chance = random.Random(number)
    registered, cookie = f"r-{chance.randrange(12)}", f"k-{chance.randrange(24)}"
    if chance.randrange(4) == 0:
        return event(number, cookie=cookie)
    return event(number, registered=registered, cookie=cookie)


# What follows is looked up in the tables, since no answer would show an orphan.


def _assert_each_person_is_one_customer(database_url: str, sent: set[int]) -> None:
    told = Counter(number // _ABOUT_ONE_PERSON for number in sent)
    complete = {str(person) for person, times in told.items() if times == _ABOUT_ONE_PERSON}
    assert len(complete) > 50
    with psycopg.connect(database_url) as connection:
        persons = connection.execute(
            "SELECT split_part(value, '-', 2) AS person, count(*), count(DISTINCT customer_id)"
            " FROM customer_ids GROUP BY person"
        ).fetchall()
    assert {tuple(rest) for person, *rest in persons if person in complete} == {(6, 1)}


def _assert_identities_are_whole(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:

        def number_of(query: str) -> object:
            [(number,)] = connection.execute(query.encode()).fetchall()
            return number

        living = "SELECT id FROM customers WHERE merged_into IS NULL"
        assert number_of(f"SELECT count(*) FROM customer_ids WHERE customer_id NOT IN ({living})") == 0
        assert number_of(f"SELECT count(*) FROM events WHERE customer_id NOT IN ({living})") == 0
        held = number_of("SELECT count(*) FROM customer_ids")
        assert number_of("SELECT count(DISTINCT (project_id, kind, value)) FROM customer_ids") == held
        merged = number_of("SELECT count(*) FROM customers WHERE merged_into IS NOT NULL")
        assert number_of("SELECT count(*) FROM events WHERE type = 'merge'") == merged != 0


def test_two_migrations_at_once_both_succeed(empty_database_url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        migrations = list(threads.map(lambda _: run("migrate", database_url=empty_database_url), range(2)))

    assert [done.returncode for done in migrations] == [0, 0], [done.stderr for done in migrations]
    assert run("check", database_url=empty_database_url).returncode == 0


def test_two_workers_share_a_port_count_together_and_end_in_order(
    postgresql: Installation, tmp_path: Path
) -> None:
    service = Service(tmp_path, *postgresql, settings=IMPATIENT)
    service.start("--workers", "2")
    with Client(service, postgresql.project) as client:
        with Load(postgresql.project, service, connections=16) as load:
            load.go_on(500)
        assert set(load.statuses) == {200}
        assert_kept(load, client)
        counted = service.metrics()
        accepted, duplicate = (
            counted["receiver_outcomes_total", outcome, ""] for outcome in ("accepted", "duplicate")
        )
        assert accepted == len(load.sent)
        assert counted["receiver_received_total",] == accepted + duplicate

    with Load(postgresql.project, service) as load:
        load.go_on()
        service.stop()
        load.give_up()
    assert set(load.statuses) <= {200, 503, NO_ANSWER}
    service.check_log()

    with Service(tmp_path, *postgresql) as after, Client(after, postgresql.project) as client:
        assert_kept(load, client)


def test_a_worker_that_is_killed_takes_no_acknowledged_event_with_it_and_is_replaced(
    postgresql: Installation, tmp_path: Path
) -> None:
    with (
        Service(tmp_path, *postgresql, settings={"workers": 2}) as service,
        Client(service, postgresql.project) as client,
    ):
        first = _workers_of(service)
        assert len(first) == 2
        with Load(postgresql.project, service, connections=16) as load:
            load.go_on()
            # Both, one after the other, so that in the end only those serve that came in their place.
            for worker in first:
                os.kill(worker, signal.SIGKILL)
                load.go_on()
                wait_until(lambda: len(_workers_of(service)) == 2, "another worker is there")
                load.go_on()

        assert first.isdisjoint(_workers_of(service))
        assert set(load.statuses) == {200, NO_ANSWER}
        assert load.acknowledged == load.sent
        assert_kept(load, client)


def _workers_of(service: Service) -> set[int]:
    """Its living processes that receive; beside them it has one that looks after their resources."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    return {int(child) for child in children if "spawn_main" in _command_line(child)}


def _command_line(process: str) -> str:
    """Empty for one that has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
