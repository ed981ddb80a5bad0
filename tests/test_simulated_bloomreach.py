"""The simulated Tracking API, asked by a client that knows nothing of the project: each rule, each fault."""

import gzip
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from receiver.cli import simulating
from receiver.simulator.bloomreach import Bloomreach, Options
from receiver.simulator.obstacles import FAULTS, Troubles, Window
from receiver.simulator.tracked import Log
from tests.simulated_bloomreach import COMMAND, SimulatedBloomreach, bloomreach_process, simulated_bloomreach


@pytest.fixture(scope="module")
def listening() -> Iterator[SimulatedBloomreach]:
    with simulated_bloomreach() as simulated:
        yield simulated


@pytest.fixture
def simulated(listening: SimulatedBloomreach) -> SimulatedBloomreach:
    listening.reset()
    return listening


def event(customer: str = "c-1", /, **fields: object) -> dict[str, Any]:
    event: dict[str, Any] = {
        "customer_ids": {"registered": customer},
        "event_type": "campaign",
        "timestamp": 1760000000.25,
        "properties": {"status": "posted"},
    }
    return event | fields


def update(customer: str = "c-1", /, **fields: object) -> dict[str, Any]:
    return {"customer_ids": {"registered": customer}, "properties": {"city": "Dresden"}, **fields}


def commands(*data: object, name: object = "customers/events") -> dict[str, Any]:
    return {"commands": [{"name": name, "data": each} for each in data]}


def results(simulated: SimulatedBloomreach, body: object) -> list[Any]:
    answer = simulated.post("batch", body)
    assert answer.status_code == 200
    document = answer.json()
    assert document["success"] is True
    assert document["start_time"] <= document["end_time"]
    found: list[Any] = document["results"]
    return found


def refused(simulated: SimulatedBloomreach, data: object, name: str = "customers/events") -> object:
    """The words of a refusal, that stands alone between two good events."""
    good, bad, also_good = results(
        simulated,
        {
            "commands": [
                *commands(event())["commands"],
                {"name": name, "data": data},
                *commands(event())["commands"],
            ]
        },
    )
    assert good == also_good == {"success": True}
    if bad == {"success": True}:
        return None
    assert (bad["success"], len(bad["errors"])) == (False, 1)
    return bad["errors"][0]


def numbers(simulated: SimulatedBloomreach, *names: str) -> list[Any]:
    state = simulated.state()
    return [state[name] for name in names]


# -- what is kept ---------------------------------------------------------------------------------


def test_commands_are_answered_in_order_beside_refused_ones(simulated: SimulatedBloomreach) -> None:
    batch = [
        {"name": "customers/events", "command_id": "a", "data": event("c-1")},
        {"name": "customers/events", "command_id": "b", "data": event("")},
        {"name": "customers", "data": update("c-2", update_timestamp=1.5)},
        {"name": "system/time", "command_id": "d"},
        {"name": "customers/events", "command_id": None, "data": event("c-3", properties=None)},
    ]

    first, second, third, fourth, fifth = results(simulated, {"commands": batch})

    assert first == {"success": True, "command_id": "a"}
    words = "At least one valid id should be specified"
    assert second == {"success": False, "errors": [words], "command_id": "b"}
    assert third == fifth == {"success": True}
    assert fourth.pop("time") == pytest.approx(time.time(), abs=60)
    assert fourth == {"success": True, "command_id": "d"}
    assert simulated.events() == [
        {"number": 1, "repeat_of": None, **event("c-1")},
        {"number": 3, "repeat_of": None, **event("c-3", properties={})},
    ]
    assert simulated.updates() == [{"number": 2, **update("c-2", update_timestamp=1.5)}]
    assert numbers(simulated, "commands", "accepted", "refused", "events", "updates") == [5, 4, 1, 2, 1]
    assert numbers(simulated, "refusals", "commands_per_request") == [{words: 1}, {"5": 1}]


def test_single_routes_keep_too(simulated: SimulatedBloomreach) -> None:
    answers = [
        simulated.post("customers/events", event()),
        simulated.post("customers", update()),
        simulated.post("customers", update("  ")),
        simulated.post("customers/events", b"["),
    ]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (200, {"success": True, "errors": []}),
        (200, {"success": True, "errors": []}),
        (400, {"success": False, "errors": ["At least one valid id should be specified"]}),
        (400, {"success": False, "message": "Invalid JSON"}),
    ]
    assert [kept["customer_ids"] for kept in simulated.events()] == [{"registered": "c-1"}]
    assert simulated.customer("registered", "c-1") == {"city": "Dresden"}
    assert re.fullmatch("[0-9a-f-]{36}", answers[0].headers["x-request-id"])


def test_older_pages_answer_a_bad_single_call_with_200() -> None:
    with simulated_bloomreach(classic=True) as simulated:
        answer = simulated.post("customers/events", event(""))

    assert (answer.status_code, answer.json()["success"]) == (200, False)


def test_the_time_is_told_to_get_and_post(simulated: SimulatedBloomreach) -> None:
    url = f"{simulated.url}/track/v2/projects/{simulated.project_token}/system/time"
    with httpx2.Client(auth=(simulated.key_id, simulated.secret), trust_env=False) as client:
        documents = [client.get(url).json(), client.post(url).json()]

    for document in documents:
        assert document.pop("time") == pytest.approx(time.time(), abs=60)
    assert documents == [{"success": True, "errors": []}] * 2


def test_a_property_is_overwritten_only_where_the_stored_value_is_older(
    simulated: SimulatedBloomreach,
) -> None:
    for moment, properties in [
        (20, {"city": "Dresden", "zip": "01067"}),
        (10, {"city": "Leipzig", "name": "Ada"}),
        (20, {"city": "Berlin"}),
        (30, {"zip": "01069"}),
    ]:
        results(simulated, commands(update(properties=properties, update_timestamp=moment), name="customers"))
    results(simulated, commands(update(properties={"name": "Ada B."}), name="customers"))

    expected = {"city": "Dresden", "zip": "01069", "name": "Ada B."}
    assert simulated.customer("registered", "c-1") == expected
    assert simulated.customer("registered", "c-2") == {}


def test_an_event_without_a_time_gets_the_servers(simulated: SimulatedBloomreach) -> None:
    results(simulated, commands(event(timestamp=None), event(timestamp="2026-01-31T10:00:00Z")))

    server, sent = (kept["timestamp"] for kept in simulated.events())
    assert server == pytest.approx(time.time(), abs=60)
    assert sent == "2026-01-31T10:00:00Z"


def test_milliseconds_are_not_noticed(simulated: SimulatedBloomreach) -> None:
    assert refused(simulated, event(timestamp=1760000000000)) is None


def test_a_page_begins_after_a_number(simulated: SimulatedBloomreach) -> None:
    results(simulated, commands(*(event(f"c-{number}") for number in range(1, 11))))

    page = httpx2.get(f"{simulated.url}/simulator/events?after=3&limit=4", trust_env=False).json()
    wrong = httpx2.get(f"{simulated.url}/simulator/events?after=x", trust_env=False)

    assert (page["total"], [kept["number"] for kept in page["records"]]) == (10, [4, 5, 6, 7])
    assert [kept["number"] for kept in simulated.events(after=7)] == [8, 9, 10]
    assert (simulated.events(after=10), wrong.status_code) == ([], 400)


def test_records_that_memory_would_not_hold_go_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.simulator.tracked._BYTES_IN_MEMORY", 100)
    log = Log()
    for number in range(1, 101):
        log.append(2 * number, b"%d" % (7**number))
        assert log.after(2 * number - 1, 5) == [b"%d" % (7**number)]

    found = log.after(40, 3)
    log.close()

    assert found == [b"%d" % (7**number) for number in (21, 22, 23)]


EVENTS = st.builds(
    event,
    st.sampled_from(["c-1", "c-2", ""]),
    timestamp=st.sampled_from([1, 1.5, 1e12]),
    properties=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "ü", None, [1], {"c": 2}])),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(EVENTS, min_size=1, max_size=12), max_size=5))
def test_order_and_repeats_are_kept(
    listening: SimulatedBloomreach, batches: list[list[dict[str, Any]]]
) -> None:
    listening.reset()
    for batch in batches:
        good = [each["success"] for each in results(listening, commands(*batch))]
        assert good == [bool(each["customer_ids"]["registered"]) for each in batch]

    kept = [each for batch in batches for each in batch if each["customer_ids"]["registered"]]
    first = [kept.index(each) + 1 for each in kept]
    assert listening.events() == [
        {"number": number, "repeat_of": None if first[number - 1] == number else first[number - 1], **each}
        for number, each in enumerate(kept, 1)
    ]
    repeats = len(kept) - len(set(first))
    total = sum(map(len, batches))
    assert numbers(listening, "commands", "accepted", "refused") == [total, len(kept), total - len(kept)]
    assert numbers(listening, "repeats", "breaches") == [repeats, total - len(kept)]


def test_members_in_another_order_are_the_same_event(simulated: SimulatedBloomreach) -> None:
    one, other = {"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}
    results(simulated, commands(event(properties=one), event(properties=other), event(properties={"a": 1})))

    assert [kept["repeat_of"] for kept in simulated.events()] == [None, 1, None]


def test_deep_properties_are_kept(simulated: SimulatedBloomreach) -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]

    assert refused(simulated, event(properties={"deep": deep})) is None
    assert simulated.events()[1]["properties"] == {"deep": deep}


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "words", "breaches"),
    [
        (None, "At least one id should be specified.", 0),
        ({}, "At least one id should be specified.", 0),
        ("c-1", "At least one id should be specified.", 0),
        ({"registered": ""}, "At least one valid id should be specified", 1),
        ({"registered": None}, "At least one valid id should be specified", 1),
        ({"registered": " -- ", "cookie": "null"}, "At least one valid id should be specified", 2),
        ({"registered": "undefined"}, "At least one valid id should be specified", 1),
        ({"registered": ["c-1"]}, "Invalid customer_id", 1),
        ({"registered": True}, "Invalid customer_id", 1),
        ({"registered": "c-1", "loyalty": "4711"}, "Invalid customer_id", 0),
        ({"registered": "c-1", "cookie": ""}, None, 1),
        ({"registered": "c-1", "cookie": None}, None, 1),
        ({"registered": "c-1", "cookie": "undefined"}, None, 1),
        ({"cookie": "ü"}, None, 0),
        ({"registered": 4711}, None, 0),
        ({"registered": "{{ customer_ids.registered }}"}, None, 0),
    ],
)
@pytest.mark.parametrize("name", ["customers/events", "customers"])
def test_a_command_needs_a_valid_id(
    simulated: SimulatedBloomreach, ids: object, words: str | None, breaches: int, name: str
) -> None:
    assert refused(simulated, event(customer_ids=ids), name) == words
    by_kind = {"empty_id": breaches} if breaches else {}
    assert numbers(simulated, "breaches", "breaches_by") == [breaches, by_kind]


def test_the_project_says_which_ids_it_has() -> None:
    with simulated_bloomreach(ids=("loyalty",)) as simulated:
        assert refused_alone(simulated, event(customer_ids={"loyalty": "4711"})) is None
        assert refused_alone(simulated, event()) == "Invalid customer_id"


def refused_alone(simulated: SimulatedBloomreach, data: object) -> object:
    (result,) = results(simulated, commands(data))
    return result["errors"][0] if "errors" in result else None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"event_type": None}, "event_type is required"),
        ({"event_type": " "}, "event_type is required"),
        ({"event_type": 7}, "event_type is required"),
        ({"timestamp": "1760000000"}, "timestamp is not a number of seconds"),
        ({"timestamp": "2026-13-01T00:00:00"}, "timestamp is not a number of seconds"),
        ({"timestamp": True}, "timestamp is not a number of seconds"),
        ({"properties": []}, "properties is not an object"),
        ({"properties": {"text": "ü" * 8192}}, "A property value has 16 KB or more"),
        ({"properties": {"text": "ü" * 8191}}, None),
        ({"properties": {"list": ["x" * 16380]}}, "A property value has 16 KB or more"),
        ({"properties": {"list": ["x" * 16379]}}, None),
        (
            {"properties": {str(number): "x" * 16000 for number in range(50)}},
            "The message has 800 KB or more",
        ),
        ({"properties": {str(number): "x" * 16000 for number in range(49)}}, None),
    ],
)
def test_an_event_has_a_type_a_time_and_small_properties(
    simulated: SimulatedBloomreach, fields: dict[str, object], words: str | None
) -> None:
    assert refused(simulated, event(**fields)) == words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"properties": {}}, "properties are required"),
        ({"properties": None}, "properties are required"),
        ({"properties": "x"}, "properties is not an object"),
        ({"update_timestamp": "2026-01-31T10:00:00Z"}, "timestamp is not a number of seconds"),
        (
            {"properties": {str(number): "x" * 16000 for number in range(50)}},
            "The message has 800 KB or more",
        ),
    ],
)
def test_an_update_has_properties(
    simulated: SimulatedBloomreach, fields: dict[str, object], words: str
) -> None:
    assert refused(simulated, update(**fields), "customers") == words


def test_other_commands_and_data_that_is_none_are_refused_alone(simulated: SimulatedBloomreach) -> None:
    assert refused(simulated, event(), "campaigns/clicks") == "Unknown command"
    assert refused(simulated, None) == "At least one id should be specified."
    assert refused(simulated, [1], "customers") == "At least one id should be specified."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Invalid JSON"),
        (b'{"commands": [', "Invalid JSON"),
        (b"[]", "Invalid JSON"),
        (b'{"commands": [NaN]}', "Invalid JSON"),
        ({"commands": {"name": "system/time"}}, "Invalid JSON"),
        ({"commands": [*commands(event())["commands"], 7]}, "Invalid JSON"),
        ({"commands": [*commands(event())["commands"], None]}, "Invalid JSON"),
        ({}, "No commands"),
        ({"commands": []}, "No commands"),
        ({"commands": None}, "No commands"),
        (commands(*[event()] * 51), "More than 50 commands"),
    ],
)
def test_a_bad_batch_is_refused_whole(simulated: SimulatedBloomreach, body: object, message: str) -> None:
    answer = simulated.post("batch", body)

    assert (answer.status_code, answer.json()) == (400, {"success": False, "message": message})
    assert numbers(simulated, "events", "commands", "refused_whole") == [0, 0, 1]
    assert simulated.state()["breaches"] == (message == "More than 50 commands")


def test_50_commands_are_taken(simulated: SimulatedBloomreach) -> None:
    assert results(simulated, commands(*[event()] * 50)) == [{"success": True}] * 50


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_a_compressed_body_is_refused(simulated: SimulatedBloomreach, encoding: str) -> None:
    body = gzip.compress(json.dumps(commands(event())).encode())

    answer = simulated.post("batch", body, headers={"content-encoding": encoding})

    expected = "BadRequest: The browser (or proxy) sent a request that this server could not understand"
    assert (answer.status_code, answer.text) == (400, expected)
    assert numbers(simulated, "events", "breaches_by") == [0, {"compressed": 1}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/track/v2/projects/{}/batch"),
        ("POST", "/track/v2/projects/{}/batch/"),
        ("POST", "/track/v2/projects/{}/campaigns/clicks"),
        ("POST", "/track/v1/projects/{}/batch"),
        ("GET", "/"),
    ],
)
def test_other_routes_are_not_found(simulated: SimulatedBloomreach, method: str, path: str) -> None:
    url = simulated.url + path.format(simulated.project_token)

    answer = httpx2.request(method, url, trust_env=False)

    assert answer.status_code == answer.json()["errors"]["code"] == 404
    assert answer.json()["errors"]["description"].startswith("The requested URL was not found on the server")


# -- who may ask, and how often -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "status", "error"),
    [
        ("b1005ea0-0000-4000-8000-000000000008", 400, "Could not authenticate"),
        ("b1005ea0-0000-4000", 400, "Could not authenticate"),
        ("my-project", 400, "Invalid project id"),
        ("b1005ea0-0000-4000-8000-000000000007-", 400, "Invalid project id"),
    ],
)
def test_the_project_token_must_be_right(
    simulated: SimulatedBloomreach, token: str, status: int, error: str
) -> None:
    url = f"{simulated.url}/track/v2/projects/{token}/batch"

    answer = httpx2.post(
        url, json=commands(event()), auth=(simulated.key_id, simulated.secret), trust_env=False
    )

    assert (answer.status_code, answer.json()) == (status, {"success": False, "error": error})
    assert numbers(simulated, "denied", "events") == [1, 0]


@pytest.mark.parametrize(
    ("authorization", "status", "error"),
    [
        (None, 401, "Access key not provided"),
        ("Token abc", 401, "Access key not provided"),
        ("Basic", 401, "Access key not provided"),
        ("Basic ===", 401, "Access key not provided"),
        ("Basic c2ltdWxhdGVkLWtleQ==", 401, "Access key not provided"),  # no colon
        ("Basic b3RoZXI6c2VjcmV0", 401, "access key not found"),
        ("Basic c2ltdWxhdGVkLWtleTp3cm9uZw==", 403, "invalid secret"),
        ("basic c2ltdWxhdGVkLWtleTpzaW11bGF0ZWQtc2VjcmV0", 200, None),
    ],
)
def test_the_key_must_be_the_right_one(
    simulated: SimulatedBloomreach, authorization: str | None, status: int, error: str | None
) -> None:
    url = f"{simulated.url}/track/v2/projects/{simulated.project_token}/batch"
    headers = {"authorization": authorization} if authorization else {}

    answer = httpx2.post(url, json=commands(event()), headers=headers, trust_env=False)

    assert (answer.status_code, answer.json().get("error")) == (status, error)
    assert numbers(simulated, "denied", "events") == [int(status != 200), int(status == 200)]


def test_a_key_can_be_revoked_and_its_secret_changed(simulated: SimulatedBloomreach) -> None:
    def said() -> tuple[int, object]:
        answer = simulated.post("batch", commands(event()))
        return answer.status_code, answer.json().get("error")

    simulated.access(revoked=True)
    assert said() == (401, "access key not found")
    simulated.access(revoked=False, secrets=["new", simulated.secret])
    assert said() == (200, None)
    simulated.access(secrets=["new"])
    assert said() == (403, "invalid secret")
    simulated.reset()
    assert said() == (200, None)


def test_a_missing_right_looks_like_success(simulated: SimulatedBloomreach) -> None:
    simulated.access(denied_event_types=["campaign"])
    batch = {
        "commands": [
            *commands(event(), event(event_type="consent"))["commands"],
            *commands(update(), name="customers")["commands"],
        ]
    }
    no_event = {"success": False, "errors": ["Not authorized to add event of specified type"]}
    no_property = {"success": False, "errors": ["not authorized to update specified customer properties"]}

    assert results(simulated, batch) == [no_event, {"success": True}, {"success": True}]
    simulated.access(events=False, customers=False)
    assert results(simulated, batch) == [no_event, no_event, no_property]
    assert numbers(simulated, "events", "updates", "refused", "denied") == [1, 1, 4, 0]


def test_requests_above_the_rate_are_turned_away_and_dropped() -> None:
    with simulated_bloomreach(per_minute=5) as simulated:
        answers = [simulated.post("batch", commands(event())) for _ in range(8)]

        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
        assert "retry-after" not in answers[-1].headers
        assert numbers(simulated, "requests", "turned_away", "events") == [8, 3, 5]
        assert numbers(simulated, "most_in_a_minute", "answers") == [8, {"200": 5, "429": 3}]


def test_after_a_second_there_is_room_again() -> None:
    with simulated_bloomreach(per_second=2) as simulated:
        codes = [simulated.post("batch", commands(event())).status_code for _ in range(3)]
        time.sleep(1.01)
        codes.append(simulated.post("batch", commands(event())).status_code)

        assert codes == [200, 200, 429, 200]
        assert numbers(simulated, "most_in_a_second", "most_in_a_minute") == [3, 4]


def test_a_window_slides() -> None:
    window = Window(1)
    for moment in (0.0, 0.5, 0.9, 1.2, 1.3, 3.0):
        window.add(moment)

    assert (window.most, window.count(3.5), window.count(4.0)) == (4, 1, 0)


# -- what goes wrong ------------------------------------------------------------------------------

LOST = "no answer"


def said(simulated: SimulatedBloomreach, *, seconds: float = 20) -> tuple[object, ...]:
    """Status, kind of body and Retry-After of the answer to two events, for a client of its own."""
    url = f"{simulated.url}/track/v2/projects/{simulated.project_token}/batch"
    with httpx2.Client(auth=(simulated.key_id, simulated.secret), timeout=seconds, trust_env=False) as client:
        try:
            answer = client.post(url, json=commands(event("c-1"), event("c-2")))
        except httpx2.TransportError as error:
            return LOST, type(error).__name__
    kind = answer.headers["content-type"].partition(";")[0].partition("/")[2]
    return answer.status_code, kind, answer.headers.get("retry-after")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("429", (429, "plain", None)),
        ("429-retry", (429, "plain", "1")),
        ("500", (500, "plain", None)),
        ("502", (502, "html", None)),
        ("503", (503, "plain", None)),
        ("503-retry", (503, "plain", "1")),
        ("garbage", (200, "html", None)),
        ("refuse-whole", (400, "json", None)),
        ("hang", (LOST, "ReadTimeout")),
        ("cut", (LOST, "RemoteProtocolError")),
        ("reset", (LOST, "ReadError")),
        ("short", (200, "json", None)),
        ("shuffled", (200, "json", None)),
    ],
)
def test_a_fault_strikes_the_next_request_and_no_other(
    simulated: SimulatedBloomreach, fault: str, expected: tuple[object, ...]
) -> None:
    simulated.fail(fault)

    assert said(simulated, seconds=0.5 if "hang" in fault else 20) == expected
    kept = 2 if fault in ("short", "shuffled") else 0
    assert numbers(simulated, "events", "faults", "spoiled") == [kept, [], {fault: 1}]
    assert said(simulated) == (200, "json", None)
    assert numbers(simulated, "events", "repeats") == [kept + 2, kept]


@pytest.mark.parametrize("fault", sorted(fault for fault in FAULTS if fault.startswith("keep-then-")))
def test_what_is_kept_before_its_answer_is_lost_comes_again(
    simulated: SimulatedBloomreach, fault: str
) -> None:
    failure = fault.removeprefix("keep-then-")
    simulated.fail(failure, fault)

    # The same as where nothing is kept.
    wait = 0.5 if failure == "hang" else 20
    assert said(simulated, seconds=wait) == said(simulated, seconds=wait) != (200, "json", None)
    assert numbers(simulated, "requests", "events", "repeats") == [2, 2, 0]
    assert said(simulated) == (200, "json", None)
    assert [kept["repeat_of"] for kept in simulated.events()] == [None, None, 1, 2]
    assert simulated.state()["repeats"] == 2


def test_a_cut_answer_breaks_off_in_the_middle_of_the_results(simulated: SimulatedBloomreach) -> None:
    simulated.fail("keep-then-cut")
    body = json.dumps(commands(*(event(f"c-{number}") for number in range(4)))).encode()
    head = (
        f"POST /track/v2/projects/{simulated.project_token}/batch HTTP/1.1",
        "Host: simulated",
        "Authorization: Basic c2ltdWxhdGVkLWtleTpzaW11bGF0ZWQtc2VjcmV0",
        f"Content-Length: {len(body)}",
    )
    with socket.create_connection(("127.0.0.1", int(simulated.url.rpartition(":")[2]))) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    got = received.partition(b"\r\n\r\n")[2]
    assert got.startswith(b'{"success":true,"results":[{"success":true}')
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(got)
    assert simulated.state()["answers"] == {"cut": 1}


def test_a_result_is_missing(simulated: SimulatedBloomreach) -> None:
    simulated.fail("short")
    batch = commands(event(), event(), event())
    for number, command in enumerate(batch["commands"]):
        command["command_id"] = str(number)

    assert [result["command_id"] for result in results(simulated, batch)] == ["0", "2"]


def test_results_come_in_another_order(simulated: SimulatedBloomreach) -> None:
    simulated.fail("shuffled")
    batch = commands(*[event(str(number) if number % 2 else "") for number in range(50)])
    for number, command in enumerate(batch["commands"]):
        command["command_id"] = number

    found = results(simulated, batch)

    order = [result["command_id"] for result in found]
    assert order != sorted(order) == list(range(50))
    assert all(result["success"] == bool(result["command_id"] % 2) for result in found)


def test_chance_strikes_again_and_again_and_alike_for_the_same_seed(simulated: SimulatedBloomreach) -> None:
    def spoiled(seed: int) -> list[int]:
        simulated.trouble(chance=0.3, kinds=["500", "keep-then-502"], seed=seed)
        return [simulated.post("batch", commands(event())).status_code for _ in range(100)]

    first = spoiled(7)
    assert 10 < first.count(500) + first.count(502) < 50
    assert min(first.count(500), first.count(502)) > 0
    assert spoiled(7) == first != spoiled(8)
    simulated.trouble(chance=0)
    assert simulated.post("batch", commands(event())).status_code == 200
    assert simulated.state()["events"] == 301 - sum(
        count for kind, count in simulated.state()["spoiled"].items() if kind == "500"
    )


def test_a_sender_that_repeats_loses_nothing_and_its_repeats_are_known(
    simulated: SimulatedBloomreach,
) -> None:
    simulated.trouble(chance=0.4, seed=11)
    sent = [event(f"c-{number}", properties={"receiver_event_id": number}) for number in range(200)]
    for start in range(0, len(sent), 5):
        batch = commands(*sent[start : start + 5])
        while True:
            try:
                answer = simulated.post("batch", batch)
                if answer.status_code == 200 and len(answer.json()["results"]) == 5:
                    break
            except (httpx2.TransportError, json.JSONDecodeError):
                pass

    kept = simulated.events()
    firsts = [each for each in kept if each["repeat_of"] is None]
    assert [each["properties"]["receiver_event_id"] for each in firsts] == list(range(200))
    state = simulated.state()
    lost = sum(
        count for kind, count in state["spoiled"].items() if kind.startswith("keep") or kind == "short"
    )
    assert state["repeats"] == len(kept) - 200 == 5 * lost > 0
    assert state["accepted"] == state["commands"] == len(kept)
    assert sum(state["answers"].values()) == state["requests"]


def test_poison_spoils_its_command_or_its_whole_batch(simulated: SimulatedBloomreach) -> None:
    simulated.trouble(poison={"arsenic": "Too bitter"}, poison_whole=["cyanide"])

    assert refused(simulated, event(properties={"cup": "arsenic"})) == "Too bitter"
    assert refused(simulated, update(properties={"cup": "arsenic"}), "customers") == "Too bitter"
    assert refused(simulated, event(properties={"cup": "tea"})) is None
    kept = simulated.state()["events"]
    answer = simulated.post("batch", commands(event(), event(properties={"cup": "cyanide"})))

    assert (answer.status_code, answer.json()) == (400, {"success": False, "message": "Invalid JSON"})
    assert simulated.state()["events"] == kept
    # What follows leaves it as it is; an empty one takes it away.
    simulated.trouble(poison={})
    assert refused(simulated, event(properties={"cup": "arsenic"})) is None


def test_an_outage_lasts_until_it_is_ended(simulated: SimulatedBloomreach) -> None:
    simulated.trouble(outage=True)
    assert [said(simulated) for _ in range(3)] == [(503, "plain", None)] * 3
    simulated.trouble(outage=False)
    assert said(simulated) == (200, "json", None)
    assert numbers(simulated, "events", "spoiled") == [2, {"outage": 3}]


def test_answers_can_be_slow_and_requests_at_once_are_counted(simulated: SimulatedBloomreach) -> None:
    simulated.trouble(latency=0.5)
    asking = [
        threading.Thread(target=simulated.post, args=("batch", commands(event(str(number)))))
        for number in range(3)
    ]
    start = time.monotonic()
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()

    assert time.monotonic() - start >= 0.5
    assert numbers(simulated, "worst_concurrency", "events") == [3, 3]


def test_a_stopped_one_refuses_connections_and_forgets_nothing() -> None:
    with simulated_bloomreach() as simulated:
        said(simulated)
        simulated.stop()
        refused_connection = said(simulated)
        simulated.start()

        assert refused_connection == (LOST, "ConnectError")
        assert said(simulated) == (200, "json", None)
        assert numbers(simulated, "requests", "events", "repeats") == [2, 4, 2]


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("faults", {"faults": ["fire"]}, "keep-then-reset"),
        ("faults", {"kinds": []}, "keep-then-reset"),
        ("faults", {"chance": "often"}, "chance"),
        ("faults", {"poison": {"a": 1}}, "poison"),
        ("faults", {"weather": "bad"}, "weather"),
        ("faults", [], "object"),
        ("access", {"revoked": "yes"}, "revoked"),
        ("access", {"secrets": [1]}, "secrets"),
        ("access", {"password": "x"}, "password"),
    ],
)
def test_what_cannot_be_set_is_said_and_changes_nothing(
    simulated: SimulatedBloomreach, path: str, body: object, word: str
) -> None:
    before = simulated.state()
    answer = httpx2.post(f"{simulated.url}/simulator/{path}", json=body, trust_env=False)

    assert answer.status_code == 400
    assert word in answer.json()["message"]
    assert simulated.state() == before


@pytest.mark.parametrize("word", [*sorted(FAULTS), *(each.name for each in fields(Troubles) if each.init)])
def test_everything_that_can_go_wrong_is_explained(word: str) -> None:
    operations = Path(__file__).resolve().parent.parent / "docs/operations.md"
    section = operations.read_text().partition("## Without Bloomreach")[2].partition("\n## ")[0]

    assert f"`{word}`" in section or f'"{word}"' in section


def test_everything_can_be_forgotten(simulated: SimulatedBloomreach) -> None:
    fresh = simulated.state()
    results(simulated, commands(event(), event(), event("")))
    results(simulated, commands(update(), name="customers"))
    simulated.trouble(faults=["500"], chance=0.5, outage=True)
    assert simulated.state() != fresh

    simulated.reset()

    assert simulated.state() == fresh
    assert (simulated.events(), simulated.updates(), simulated.customer("registered", "c-1")) == ([], [], {})


def test_troubles_from_the_start_must_be_known() -> None:
    with pytest.raises(ValueError, match="keep-then-reset"):
        Bloomreach(Options(troubles={"kinds": ["fire"]}))


# -- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_shows_a_request_that_works_and_ends_without_noise(ending: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, "simulate", "bloomreach", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(8)]
        values = dict(line.strip().split("=") for line in lines[1:5])
        curl, option, user, url, header, content_type, data, body = shlex.split(lines[7])
        name, _, value = content_type.partition(": ")
        key_id, _, secret = user.partition(":")
        answer = httpx2.post(url, content=body, auth=(key_id, secret), headers={name: value}, trust_env=False)
        process.send_signal(ending)
        output, errors = process.communicate()

    assert (curl, option, header, data) == ("curl", "-u", "-H", "-d")
    assert answer.json()["results"] == [{"success": True}]
    assert list(values.values())[1:] == [url.split("/")[-2], key_id, secret]
    assert url.startswith(values["RECEIVER_BLOOMREACH_BASE_URL"] + "/track/")
    assert (process.returncode, output.strip(), errors) == (0, "", "")


def test_the_command_takes_its_rules_and_troubles() -> None:
    options = ("--per-minute", "3", "--id", "loyalty", "--chance", "1", "--kind", "keep-then-500")
    with bloomreach_process(*options, "--secret", "other") as simulated:
        codes = [
            simulated.post(
                "batch", commands(event(customer_ids={"loyalty": "1"})), auth=("simulated-key", secret)
            )
            for secret in ("other", simulated.secret, "other", "other")
        ]

        assert [answer.status_code for answer in codes] == [500, 500, 500, 429]
        assert numbers(simulated, "events", "denied", "turned_away") == [2, 1, 1]


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    simulating.register(app)
    result = CliRunner().invoke(app, ["simulate", "bloomreach", *arguments])
    return result.exit_code, result.stderr


def test_a_wrong_start_is_explained() -> None:
    code, words = run("--kind", "fire")
    assert code == 2
    assert "fire" in words
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert run("--port", str(port)) == (
            1,
            f"Cannot listen on 127.0.0.1:{port}: address already in use.\n",
        )
