"""The simulated Optilyz, asked by the real client, calling back the real service."""

import json
import shlex
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from typer.testing import CliRunner

from receiver.cli import simulating
from receiver.outbound.optilyz import Answer, Answered, Denied, Optilyz, Queued, Refused, TakenBack, Unreached
from tests.serving_app import FLAT, Sender, serving
from tests.simulated import SimulatedOptilyz, simulated_optilyz

AUTOMATION = SimulatedOptilyz.automation
ADDRESS = {"lastName": "Beispiel", "street": "Hauptstr.", "zipCode": "01067", "city": "Dresden"}


@pytest.fixture
def simulated() -> Iterator[SimulatedOptilyz]:
    with simulated_optilyz() as simulated:
        yield simulated


def client(simulated: SimulatedOptilyz, key: str = "any", seconds: float = 20) -> Optilyz:
    return Optilyz(simulated.url, key, seconds=seconds)


def address(number: int, **fields: object) -> dict[str, object]:
    return {**ADDRESS, "individualisation1": f"c-{number}", "individualisation3": "winback", **fields}


def enqueue(simulated: SimulatedOptilyz, *addresses: object, seconds: float = 20) -> Answer:
    body = json.dumps({"addresses": [{"address": each} for each in addresses]}).encode()
    return client(simulated, seconds=seconds).enqueue_many(AUTOMATION, body, len(addresses))


def enqueue_one(simulated: SimulatedOptilyz, address: object, **more: object) -> Answer:
    body = json.dumps({"address": address, **more}).encode()
    return client(simulated).enqueue_one(AUTOMATION, body)


def numbers(simulated: SimulatedOptilyz, *names: str) -> list[Any]:
    state = simulated.state()
    return [state[name] for name in names]


# -- letters --------------------------------------------------------------------------------------


def test_a_good_letter_is_queued_beside_a_bad_one(simulated: SimulatedOptilyz) -> None:
    answer = enqueue(simulated, address(1), address(2, zipCode="00000"), address(3))

    assert isinstance(answer, Answered)
    first, bad, last = answer.fates
    assert bad == Refused("Address not deliverable")
    assert [first, last] == [Queued(each["id"]) for each in simulated.recipients()]
    assert [each["address"] for each in simulated.recipients()] == [address(1), address(3)]
    assert numbers(simulated, "requests", "letters_per_request", "queued", "refused") == [1, [3], 2, 1]


def test_one_letter_is_queued_or_refused(simulated: SimulatedOptilyz) -> None:
    queued, refused = (
        enqueue_one(simulated, address(1), variation=2),
        enqueue_one(simulated, {"city": "Dresden"}),
    )

    (kept,) = simulated.recipients()
    assert (kept["variation"], kept["automation"]) == (2, AUTOMATION)
    assert queued == Answered([Queued(kept["id"])])
    assert refused == Answered([Refused("companyName1 or lastName or fullName is required")])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lastName": " "}, "companyName1 or lastName or fullName is required"),
        ({"street": None}, "street or address1 is required"),
        ({"zipCode": 1067}, "zipCode is required"),
        ({"city": ""}, "city is required"),
        ({"fullName": "Ada Beispiel"}, "fullName is not allowed with lastName"),
        ({"address1": "Hauptstr. 1"}, "address1 is not allowed with street"),
    ],
)
def test_an_address_must_be_complete(simulated: SimulatedOptilyz, fields: Any, message: str) -> None:
    assert enqueue(simulated, address(1, **fields)) == Answered([Refused(message)])


def test_what_we_promise_never_to_do_is_counted(simulated: SimulatedOptilyz) -> None:
    enqueue(simulated, address(1), address(2, individualisation2=""), address(3, individualization4="x"))
    enqueue_one(simulated, address(4), individualisation1="c-4")
    assert numbers(simulated, "breaches", "duplicates") == [3, 0]

    enqueue(simulated, address(1))
    assert numbers(simulated, "breaches", "duplicates") == [3, 1]


def test_more_letters_than_the_vendor_takes_are_refused_whole(simulated: SimulatedOptilyz) -> None:
    answer = enqueue(simulated, *map(address, range(1001)))

    assert type(answer).__name__ == "RefusedWhole"
    assert numbers(simulated, "queued", "breaches", "letters_per_request") == [0, 1, [1001]]


def test_a_letter_is_taken_back_once(simulated: SimulatedOptilyz) -> None:
    answer = enqueue(simulated, address(1), address(2))
    assert isinstance(answer, Answered)
    vendor_id = answer.fates[0][0]
    assert vendor_id

    taken = [client(simulated).take_back(AUTOMATION, vendor_id) for _ in range(2)]

    assert [isinstance(each, TakenBack) and each.taken for each in taken] == [True, False]
    assert [each["address"] for each in simulated.recipients()] == [address(2)]


# -- who may ask, and how much --------------------------------------------------------------------


def test_the_key_must_be_the_right_one() -> None:
    with simulated_optilyz(key="right") as simulated:
        assert client(simulated, "right").check() is None
        assert client(simulated, "wrong").check() == "Optilyz refuses the API key (401)."
        assert isinstance(enqueue(simulated, address(1)), Denied)
        assert httpx2.get(f"{simulated.url}/v2/automations", trust_env=False).status_code == 401
        assert simulated.state()["queued"] == 0


def test_an_automation_has_24_hexadecimal_digits(simulated: SimulatedOptilyz) -> None:
    denied = client(simulated).enqueue_one("winback", b"{}")

    assert isinstance(denied, Denied)
    assert denied.status == 404


def test_automations_are_listed_and_described(simulated: SimulatedOptilyz) -> None:
    url = f"{simulated.url}/v2/automations"
    with httpx2.Client(auth=("any", ""), trust_env=False) as asking:
        (listed,) = asking.get(url).json()
        described = asking.get(f"{url}/{AUTOMATION}").json()
        unknown = asking.get(f"{url}/winback")

    assert listed == described
    assert (described["_id"], described["state"]) == (AUTOMATION, "live")
    assert unknown.status_code == 404


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "queued"),
    [
        ("429", "Unreached", 0),
        ("503", "Unknown", 0),
        ("503-retry", "Unreached", 0),
        ("500", "Unknown", 0),
        ("refuse-whole", "RefusedWhole", 0),
        ("garbage", "Unknown", 0),
        ("short", "Unknown", 2),
        ("cut", "Unknown", 0),
        ("reset", "Unknown", 0),
        ("hang", "Unknown", 0),
        ("queue-then-cut", "Unknown", 2),
        ("queue-then-hang", "Unknown", 2),
    ],
)
def test_a_fault_strikes_the_next_request_and_no_other(
    simulated: SimulatedOptilyz, fault: str, kind: str, queued: int
) -> None:
    simulated.fail(fault)

    answer = enqueue(simulated, address(1), address(2), seconds=0.5 if "hang" in fault else 20)
    kinds = {type(each).__name__ for each in (answer.fates if isinstance(answer, Answered) else [answer])}

    assert kinds == {kind}
    assert numbers(simulated, "queued", "faults") == [queued, []]
    assert isinstance(enqueue(simulated, address(3)), Answered)
    assert simulated.state()["queued"] == queued + 1


@contextmanager
def hanging(simulated: SimulatedOptilyz) -> Iterator[None]:
    """A request that is not answered for the time of the block."""
    simulated.fail("hang")
    authorization = b64encode(b"any:").decode()
    head = (
        f"POST /api/v2/automations/{AUTOMATION}/recipient HTTP/1.1",
        "Host: simulated",
        f"Authorization: Basic {authorization}",
        "Content-Length: 2",
    )
    with socket.create_connection(("127.0.0.1", int(simulated.root.rpartition(":")[2]))) as connection:
        connection.sendall("\r\n".join([*head, "", "{}"]).encode())
        while simulated.state()["faults"]:
            pass
        yield


def test_more_requests_at_once_than_allowed_are_turned_away() -> None:
    with simulated_optilyz(max_concurrency=2, latency=0.01) as simulated:
        with hanging(simulated), hanging(simulated):
            assert isinstance(enqueue(simulated, address(1)), Unreached)
        assert numbers(simulated, "worst_concurrency", "turned_away", "queued") == [3, 1, 0]
        while isinstance(enqueue(simulated, address(1)), Unreached):
            pass
        assert simulated.state()["queued"] == 1


def test_a_fault_must_be_known(simulated: SimulatedOptilyz) -> None:
    answer = httpx2.post(f"{simulated.root}/simulator/faults", json={"faults": ["fire"]}, trust_env=False)

    assert answer.status_code == 400
    assert "queue-then-hang" in answer.json()["error"]["message"]


def test_everything_can_be_forgotten(simulated: SimulatedOptilyz) -> None:
    fresh = simulated.state()
    enqueue(simulated, address(1), address(1))
    simulated.fail("500")

    simulated.reset()

    assert simulated.state() == fresh


# -- callbacks ------------------------------------------------------------------------------------


@contextmanager
def called_back(service: Sender) -> Iterator[tuple[str, list[bytes]]]:
    """A URL that hands every callback on to *service*, and the bodies that came."""
    bodies: list[bytes] = []

    async def callbacks(request: Request) -> Response:
        bodies.append(await request.body())
        assert request.headers["authorization"] == "Basic " + b64encode(b"key:secret").decode()
        answer = await run_in_threadpool(service.send, FLAT, bodies[-1])
        return Response(answer.content, answer.status_code, media_type="application/json")

    app = Starlette(routes=[Route("/callbacks", callbacks, methods=["POST"])])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/callbacks", bodies
        finally:
            running.should_exit = True
            thread.join()


def test_every_stage_is_told_in_batches_with_all_that_is_odd(migrated_sqlite: Path, tmp_path: Path) -> None:
    (tmp_path / "receiver.db").write_bytes(migrated_sqlite.read_bytes())
    with (
        serving(f"sqlite:///{tmp_path}/receiver.db") as service,
        called_back(service) as (url, bodies),
        simulated_optilyz(callbacks_url=url, callbacks_user="key:secret", batch=8) as simulated,
    ):
        enqueue(simulated, *map(address, range(20)))

        posted = simulated.call_back(repeat=0.1, control_addresses=2, unfilled=1, returned_share=0.25)

        events = service.client.get(
            f"/v1/projects/{service.project.token}/events?limit=1000",
            headers={"authorization": service.authorization("data")},
        ).json()["data"]
        outcomes = service.client.get(
            f"/v1/projects/{service.project.token}/outcomes",
            headers={"authorization": service.authorization("data")},
        ).json()["total"]

    # Of each stage: the letters, a tenth of them again, two control addresses, one unfilled.
    stages = [20 + 2 + 3, 20 + 2 + 3, 20 + 2 + 3, 5 + 0 + 3]
    assert posted == {"posted": sum(stages), "accepted": 3 * 22 + 5, "requests": 4 + 4 + 4 + 1, "failed": 0}
    assert [len(json.loads(body)) for body in bodies] == [8, 8, 8, 1] * 3 + [8]
    assert (outcomes["accepted"], outcomes["duplicate"], outcomes["rejected"]) == (65, 6, 12)
    told = sorted((event["customer_ids"]["registered"], event["status"]) for event in events)
    assert told == sorted(
        [(f"c-{number}", stage) for number in range(20) for stage in ("booked", "printing", "posted")]
        + [(f"c-{number}", "returned") for number in (3, 7, 11, 15, 19)]
    )
    entries = [entry for body in bodies for entry in json.loads(body)]
    assert {"individualisation1": "", "individualisation3": ""}.items() <= entries[22].items()
    assert entries[24]["individualisation1"] == "{{ recipient.individualisation1 }}"


def test_the_first_of_a_stage_may_tell_the_time_in_milliseconds(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    (tmp_path / "receiver.db").write_bytes(migrated_sqlite.read_bytes())
    with (
        serving(f"sqlite:///{tmp_path}/receiver.db") as service,
        called_back(service) as (url, bodies),
        simulated_optilyz(callbacks_url=url, callbacks_user="key:secret") as simulated,
    ):
        enqueue(simulated, *map(address, range(20)))

        posted = simulated.call_back(
            stages=["booked", "posted"], control_addresses=0, unfilled=0, in_milliseconds={"posted": 10}
        )

    # Those in milliseconds do not come again.
    assert posted == {"posted": 22 + 21, "accepted": 22 + 11, "requests": 2, "failed": 0}
    booked, late = ([entry["timestamp"] > 1e11 for entry in json.loads(body)] for body in bodies)
    assert (booked, late) == ([False] * 22, [True] * 10 + [False] * 11)


TEMPLATE = """{"customer_ids": {"registered": "{{ recipient.individualisation1 }}"}, "status": "{{ status }}",
"town": "{{ recipient.city }}", "letter": "{{ recipient_id }}", "nothing": "{{ recipient.street2 }}"}"""


def test_letters_are_told_of_by_themselves_with_a_template_of_ones_own(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    (tmp_path / "receiver.db").write_bytes(migrated_sqlite.read_bytes())
    with (
        serving(f"sqlite:///{tmp_path}/receiver.db") as service,
        called_back(service) as (url, bodies),
        simulated_optilyz(
            callbacks_url=url, callbacks_user="key:secret", template=TEMPLATE, auto=0.01
        ) as simulated,
    ):
        enqueue(simulated, address(1))
        (queued,) = simulated.recipients()
        while simulated.state()["callbacks"]["requests"] < 4:
            pass

    first = json.loads(bodies[0])[0]
    assert first == {
        "customer_ids": {"registered": "c-1"},
        "status": "booked",
        "town": "Dresden",
        "letter": queued["id"],
        "nothing": "",
    }
    assert len(bodies) == 4


def test_a_letter_that_was_taken_back_is_never_heard_of() -> None:
    with simulated_optilyz(callbacks_url="http://127.0.0.1:1/nobody-listens") as simulated:
        answer = enqueue(simulated, address(1))
        assert isinstance(answer, Answered)
        client(simulated).take_back(AUTOMATION, str(answer.fates[0][0]))

        posted = simulated.call_back(control_addresses=0, unfilled=0)

    assert posted == {"posted": 0, "accepted": 0, "requests": 0, "failed": 0}


def test_callbacks_that_nobody_takes_are_counted() -> None:
    with simulated_optilyz(callbacks_url="http://127.0.0.1:1/nobody-listens") as simulated:
        enqueue(simulated, address(1))

        posted = simulated.call_back(stages=["booked"], control_addresses=0, unfilled=0)

    assert posted == {"posted": 1, "accepted": 0, "requests": 1, "failed": 1}


def test_without_a_url_nothing_is_told(simulated: SimulatedOptilyz) -> None:
    bodies: list[object] = [{}, {"stages": ["booked"], "speed": 1}, []]
    for body in bodies:
        answer = httpx2.post(f"{simulated.root}/simulator/callbacks", json=body, trust_env=False)
        assert answer.status_code == 400


# -- the command ----------------------------------------------------------------------------------

COMMAND = (
    "import typer; from receiver.cli import simulating; app = typer.Typer(); simulating.register(app); app()"
)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_shows_a_request_that_works_and_ends_without_noise(ending: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "simulate", "optilyz", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        curl, option, user, url, header, content_type, data, body = shlex.split(lines[3])
        name, _, value = content_type.partition(": ")
        answer = httpx2.post(
            url,
            content=body,
            auth=(user.removesuffix(":"), ""),
            headers={name: value},
            trust_env=False,
        )
        process.send_signal(ending)
        output, errors = process.communicate()

    assert (curl, option, header, data) == ("curl", "-u", "-H", "-d")
    assert len(answer.json()["id"]) == 24
    assert lines[0].startswith("A simulated Optilyz listens; set RECEIVER_OPTILYZ_BASE_URL=http://127.0.0.1:")
    assert (process.returncode, output.strip(), errors) == (0, "", "")


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    simulating.register(app)
    result = CliRunner().invoke(app, ["simulate", "optilyz", *arguments])
    return result.exit_code, result.stderr


def test_a_wrong_start_is_explained(tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    template.write_text('{\n"status": {{ status }')

    assert run("--template", str(template)) == (
        1,
        f"The template {template} is wrong in line 2: unexpected '}}'.\n",
    )
    assert run("--template", f"{tmp_path}/nothing")[0] == 1
    assert run("--auto", "1")[0] == 2
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert run("--port", str(port)) == (
            1,
            f"Cannot listen on 127.0.0.1:{port}: address already in use.\n",
        )
