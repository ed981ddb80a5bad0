"""Senders are killed, doubled, cut off from their database and told to end: no letter goes out twice, and
none is forgotten."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from pathlib import Path

import httpx2
import pytest

from tests.conftest import DIALECTS
from tests.databases import running_postgresql
from tests.system import outages
from tests.system.conftest import Installation, install, with_password
from tests.system.sending import Sending, asked, ended, kill, registered, write_people
from tests.system.service import PATIENCE_SECONDS, PRIVATE, Client, Service, event, succeed
from tests.system.simulated import AUTOMATION, Optilyz, optilyz
from tests.waiting import wait_until


@pytest.fixture(params=DIALECTS)
def fresh(request: pytest.FixtureRequest) -> Installation:
    """A database of the test's own, of each kind."""
    installation: Installation = request.getfixturevalue(request.param)
    return installation


def test_wherever_a_sender_is_killed_no_letter_goes_twice_and_none_is_forgotten(
    fresh: Installation, tmp_path: Path
) -> None:
    everybody = {registered(number) for number in range(2000)}
    # Some stand there twice.
    people = write_people(tmp_path / "people.csv", [*range(2000), *range(10)])
    with (
        optilyz(tmp_path, "--latency", "0.4") as printer,
        Sending(fresh, printer, people, optilyz_batch_size=200, optilyz_seconds=3) as sending,
    ):
        _kill_while_it_prepares(sending)
        _kill_between_two_requests(sending)
        lost = _kill_before_the_answer(sending, printer)
        arrived = _kill_after_the_answer(sending, printer)
        said = sending.run(optilyz_concurrency=2)

        assert said.states == {"queued": 1997, "unknown": 3, "suppressed": 10}
        assert sending.recipients("unknown") == lost | arrived
        assert printer.letters() == dict.fromkeys(everybody - lost, 1)
        # Nobody but a person decides about the rest.
        assert sending.run().states == said.states
        assert printer.letters() == dict.fromkeys(everybody - lost, 1)

        _resolve(fresh, printed=arrived, not_printed=lost)
        assert sending.run().states == {"queued": 2000, "suppressed": 10}
        assert printer.letters() == dict.fromkeys(everybody, 1)


def _kill_while_it_prepares(sending: Sending) -> None:
    process = sending.start()
    wait_until(lambda: sending.prepared, "the first rows are prepared")
    kill(process)
    assert 0 < sending.prepared < 2010
    assert sending.recipients("asked") | sending.recipients("queued") == set()


def _kill_between_two_requests(sending: Sending) -> None:
    # One a minute: after the first one it waits for as long as this test takes.
    process = sending.start(optilyz_per_minute=1)
    wait_until(lambda: sending.recipients("queued"), "the first request is settled")
    kill(process)
    assert len(sending.recipients("queued")) == 200
    assert sending.recipients("asked") == set()


def _kill_before_the_answer(sending: Sending, printer: Optilyz) -> set[str]:
    """Whose letters were in a request of which Optilyz makes nothing."""
    before = printer.state()
    printer.fail("hang")
    process = sending.start(optilyz_batch_size=2)
    printer.wait_for(requests=before["requests"] + 1)
    kill(process)
    wait_until(lambda: not printer.state()["faults"], "Optilyz has lost it")
    assert printer.state()["queued"] == before["queued"]
    lost = sending.recipients("asked")
    assert len(lost) == 2
    return lost


def _kill_after_the_answer(sending: Sending, printer: Optilyz) -> set[str]:
    """Whose letters were in a request that Optilyz answered, to a sender that could not write it down."""
    lost, requests = sending.recipients("asked"), printer.state()["requests"]
    # One of the two slots is still that of the killed one.
    process = sending.start(optilyz_batch_size=1, optilyz_concurrency=2)
    printer.wait_for(requests=requests + 1)
    with _locked(sending):
        arrived = sending.recipients("asked") - lost
        wait_until(lambda: arrived <= printer.letters().keys(), "Optilyz has answered")
        kill(process)
    assert sending.recipients("asked") == lost | arrived
    assert len(arrived) == 1
    return arrived


def _locked(sending: Sending) -> AbstractContextManager[None]:
    sqlite = sending.database_url.startswith("sqlite")
    return outages.sqlite_locked(sending) if sqlite else outages.postgresql_locked(sending)


def _resolve(fresh: Installation, *, printed: set[str], not_printed: set[str]) -> None:
    """Say of each unknown letter what has become of it."""
    listed = json.loads(
        succeed(
            *("mailings", "list", fresh.project.token, "--state", "unknown", "--json"),
            database_url=fresh.database_url,
        )
    )
    unknown = {each["customer_ids"]["registered"]: each["id"] for each in listed["data"]}
    assert unknown.keys() == printed | not_printed
    for who, what in ((printed, "--printed"), (not_printed, "--not-printed")):
        for each in who:
            succeed("mailings", "resolve", unknown[each], what, database_url=fresh.database_url)


# -- more than one at once ------------------------------------------------------------------------


def test_two_senders_of_the_same_file_share_its_letters(fresh: Installation, tmp_path: Path) -> None:
    people = write_people(tmp_path / "people.csv", range(600))
    with (
        optilyz(tmp_path, "--latency", "0.1") as printer,
        Sending(fresh, printer, people, optilyz_batch_size=50) as sending,
    ):
        both = [sending.start(), sending.start()]
        said = [ended(each) for each in both]

        assert [each.code for each in said] == [0, 0], said
        assert [each.states for each in said] == [{"queued": 600}] * 2
        assert printer.letters() == dict.fromkeys(map(registered, range(600)), 1)
        assert printer.state()["worst_concurrency"] == 1


def test_senders_of_two_files_send_nobody_two_letters(fresh: Installation, tmp_path: Path) -> None:
    files = (
        write_people(tmp_path / "one.csv", range(400)),
        write_people(tmp_path / "two.csv", range(200, 600)),
    )
    with optilyz(tmp_path, "--latency", "0.1") as printer, ExitStack() as ending:
        both = [
            ending.enter_context(
                Sending(fresh, printer, file, optilyz_batch_size=50, optilyz_concurrency=2)
            ).start()
            for file in files
        ]
        said = [ended(each) for each in both]

        assert [each.code for each in said] == [0, 0], said
        # Who stands in both gets the letter of one of them.
        assert sum(each.states["suppressed"] for each in said) == 200
        assert sum(each.states["queued"] for each in said) == 600
        assert printer.letters() == dict.fromkeys(map(registered, range(600)), 1)
        assert printer.state()["worst_concurrency"] <= 2


# -- something else breaks ------------------------------------------------------------------------


def test_a_sender_that_is_told_to_end_settles_what_is_under_way(fresh: Installation, tmp_path: Path) -> None:
    people = write_people(tmp_path / "people.csv", range(600))
    with optilyz(tmp_path, "--latency", "0.3") as printer, Sending(fresh, printer, people) as sending:
        for number, signal_number in ((2, signal.SIGTERM), (4, signal.SIGINT)):
            process = sending.start()
            printer.wait_for(requests=number)
            process.send_signal(signal_number)
            said = ended(process)

            assert said.code == 1
            queued = 100 * printer.state()["requests"]
            assert said.states == {"queued": queued, "intended": 600 - queued}
            assert "the same command goes on" in said.complaint

        assert sending.run().states == {"queued": 600}
        assert printer.letters() == dict.fromkeys(map(registered, range(600)), 1)


def test_a_sender_outlives_its_database(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people.csv", range(500))
    with running_postgresql() as server, optilyz(tmp_path, "--latency", "0.3") as printer:
        database_url = with_password(server.url(server.create_database()))
        with Sending(Installation(database_url, install(database_url)), printer, people) as sending:
            process = sending.start()
            printer.wait_for(requests=2)
            server.stop(signal.SIGQUIT)
            printer.wait_for(queued=200)
            server.start()
            said = ended(process)
            assert said.code == 0 or said.complaint, said

            assert sending.run().states == {"queued": 500}
            assert printer.letters() == dict.fromkeys(map(registered, range(500)), 1)


@pytest.mark.parametrize("fresh", ["sqlite"], indirect=True)
def test_callbacks_do_not_wait_for_a_sender_on_the_same_file(fresh: Installation, tmp_path: Path) -> None:
    people = write_people(tmp_path / "people.csv", range(3000))
    with (
        optilyz(tmp_path) as printer,
        Service(tmp_path, *fresh) as service,
        Sending(fresh, printer, people) as sending,
    ):
        process = sending.start()
        with Client(service, fresh.project) as client:
            waits = list(_call_back_until_ended(client, process))
        said = ended(process)

    assert said.states == {"queued": 3000}
    assert len(waits) > 100
    # Far from what a sender would notice, and from the 503 that they would get after five seconds.
    assert max(waits) < 2


def _call_back_until_ended(client: Client, process: "subprocess.Popen[str]") -> Iterator[float]:
    """Seconds that each callback took, one after the other."""
    for number in count():
        if process.poll() is not None:
            return
        began = time.monotonic()
        answer = client.track("customers/events", event(number, registered=f"c{number % 3000}"))
        assert answer.status_code == 200, answer.text
        yield time.monotonic() - began


# -- through the service --------------------------------------------------------------------------


def test_what_the_gateway_took_goes_out_once_although_the_service_is_killed(
    fresh: Installation, tmp_path: Path
) -> None:
    with optilyz(tmp_path, "--latency", "0.4") as printer:
        one_a_minute = {**printer.settings, "optilyz_per_minute": 1}
        with Service(tmp_path, *fresh, settings=one_a_minute) as service:
            answers = [_pass_on(service, fresh, number) for number in range(3)]
            _wait_for_settled(fresh, 1)
            service.kill()
        assert printer.state()["queued"] == 1

        two_at_once = {**printer.settings, "optilyz_concurrency": 2}
        with Service(tmp_path, *fresh, settings=two_at_once) as service:
            _wait_for_settled(fresh, 3)
            # Who has not heard the answer asks again.
            assert _pass_on(service, fresh, 2) == answers[2]
            _pass_on(service, fresh, 3)
            printer.wait_for(requests=4)
            service.kill()
            service.start()
            # One slot is still that of the killed one, whose letter nobody sends again.
            _pass_on(service, fresh, 4)
            printer.wait_for(queued=5)

        assert printer.letters() == dict.fromkeys(map(registered, range(5)), 1)
        assert printer.state()["requests"] == 5


def _wait_for_settled(fresh: Installation, letters: int) -> None:
    query = "SELECT count(*) FROM mailings WHERE state = 'queued'"
    wait_until(lambda: asked(fresh.database_url, query) == [(letters,)], f"{letters} letters are settled")


def _pass_on(service: Service, fresh: Installation, number: int) -> dict[str, str]:
    """What the webhook of Bloomreach is answered."""
    address = {
        "lastName": PRIVATE,
        "street": f"{PRIVATE}-Str. {number}",
        "zipCode": "01067",
        "city": "Dresden",
    }
    answer = httpx2.post(
        f"{service.url}/api/v2/automations/{AUTOMATION}/recipient",
        json={"address": address | {"individualisation1": registered(number)}},
        auth=fresh.project.keys["sender"],
        timeout=PATIENCE_SECONDS,
    )
    assert answer.status_code == 200, answer.text
    document: dict[str, str] = answer.json()
    assert document["id"]
    return document
