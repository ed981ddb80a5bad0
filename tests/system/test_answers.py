"""Every shape of answer that a client of the Tracking API knows, by wire-facts 1.5 and 1.6."""

import gzip
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.system.conftest import Installation
from tests.system.service import PRIVATE, Client, Key, Project, Service, commands, event

DONE = {"success": True, "errors": []}


def test_a_single_event_and_a_single_update_are_answered_alike(client: Client) -> None:
    update = {"customer_ids": {"registered": f"{PRIVATE}-u"}, "properties": {"first_name": PRIVATE}}

    for route, body in (("customers/events", event(1, registered="single")), ("customers", update)):
        answer = client.track(route, body)

        assert (answer.status_code, answer.json()) == (200, DONE)
        assert answer.headers["content-type"] == "application/json"


def test_null_stands_for_absent_and_an_age_and_a_number_as_id_are_taken(client: Client) -> None:
    official_python_client = {"timestamp": None, "properties": None}
    android = {"age": 0.12}
    numbered = {"customer_ids": {"registered": 4711}}

    for special in (official_python_client, android, numbered):
        body = {"customer_ids": {"registered": f"{PRIVATE}-special"}, "event_type": "opened"} | special
        answer = client.track("customers/events", body)

        assert (answer.status_code, answer.json()) == (200, DONE), special


def test_a_refused_single_call_is_a_400_with_reasons_in_errors(client: Client) -> None:
    cases: dict[str, dict[str, Any]] = {
        "At least one id should be specified.": {"customer_ids": {}},
        "At least one valid id should be specified": {"customer_ids": {"registered": "null"}},
        "Invalid customer_id": {"customer_ids": {"shoe_size": f"{PRIVATE}"}},
        "timestamp_in_milliseconds": {"timestamp": 1_760_000_000_000},
    }
    for text, wrong in cases.items():
        answer = client.track("customers/events", event(2, registered="wrong") | wrong)

        assert answer.status_code == 400
        document = answer.json()
        assert (set(document), document["success"]) == ({"success", "errors"}, False)
        assert any(text in reason for reason in document["errors"]), (text, document)


def test_what_is_no_json_is_refused_on_a_single_route_too(client: Client) -> None:
    answer = client.track("customers/events", b"{")

    assert answer.status_code == 400
    assert answer.json()["success"] is False
    assert "Invalid JSON" in answer.text


def test_a_batch_is_answered_command_by_command_with_its_start_and_end(client: Client) -> None:
    before = time.time()

    answer = client.track("batch", commands([event(3, registered="b"), event(4, registered="b")]))

    document = answer.json()
    assert answer.status_code == 200
    assert set(document) == {"success", "results", "start_time", "end_time"}
    assert document["success"] is True
    assert document["results"] == [{"success": True}, {"success": True}]
    assert before - 1 <= document["start_time"] <= document["end_time"] <= time.time() + 1


def test_a_bad_command_leaves_its_neighbours_alone_and_each_gets_its_own_id_back(
    client: Client,
) -> None:
    good = {"name": "customers/events", "command_id": "good", "data": event(5, registered="neighbour")}
    bad = {"name": "customers/events", "command_id": "bad", "data": {"customer_ids": {"registered": ""}}}
    clock = {"name": "system/time", "command_id": "clock"}
    update = {
        "name": "customers",
        "data": {"customer_ids": {"registered": f"{PRIVATE}-neighbour"}, "properties": {"x": 1}},
    }

    answer = client.track("batch", {"commands": [good, bad, None, 7, clock, update]})

    document = answer.json()
    assert (answer.status_code, document["success"]) == (200, True)
    first, second, third, fourth, fifth, sixth = document["results"]
    assert first == {"success": True, "command_id": "good"}
    assert (second["success"], second["command_id"]) == (False, "bad")
    for refused in (second, third, fourth):
        assert refused["success"] is False
        assert all(isinstance(reason, str) for reason in refused["errors"])
        assert refused["errors"]
    assert abs(fifth.pop("time") - time.time()) < 5
    assert fifth == {"success": True, "command_id": "clock"}
    assert sixth == {"success": True}
    found = client.customer_events({"registered": f"{PRIVATE}-neighbour"}, "campaign").json()["data"]
    assert [each["properties"]["number"] for each in found] == [5]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"commands": []}', "No commands"),
        (b"{}", "No commands"),
        (b"not json", "Invalid JSON"),
        (b"[]", "Invalid JSON"),
        (b"\xff\xfe\x00", "Invalid JSON"),
        (gzip.compress(b'{"commands": []}', mtime=0), "Invalid JSON"),
    ],
)
def test_a_batch_that_is_none_is_refused_as_a_whole(client: Client, body: bytes, message: str) -> None:
    answer = client.track("batch", body)

    assert (answer.status_code, answer.json()) == (400, {"success": False, "message": message})


def test_one_command_too_many_refuses_the_whole_batch_and_stores_none_of_it(client: Client) -> None:
    answer = client.track("batch", commands(event(n, registered="fifty-one") for n in range(51)))

    document = answer.json()
    assert answer.status_code == 400
    assert (set(document), document["success"]) == ({"success", "message"}, False)
    assert client.events(customer=f"registered:{PRIVATE}-fifty-one") == []


def test_refusals_of_who_calls_carry_an_error(service: Service, project: Project) -> None:
    right = project.keys["tracking"]
    nobody = "00000000-0000-4000-8000-000000000000"
    cases: list[tuple[str, object, int, str]] = [
        (nobody, right, 400, "Could not authenticate"),
        ("nonsense", right, 400, "Invalid project id"),
        (project.token, None, 401, "Access key not provided"),
        (project.token, Key("unknown", right.secret), 401, "access key not found"),
        (project.token, Key(right.key_id, "wrong"), 403, "invalid secret"),
    ]
    for token, key, status, text in cases:
        answer = _post(service, token, auth=key)

        assert (answer.status_code, answer.json()) == (status, {"success": False, "error": text})

    answer = _post(service, project.token, auth=project.keys["data"])
    assert (answer.status_code, answer.json()["success"], set(answer.json())) == (
        403,
        False,
        {"success", "error"},
    )


def test_the_scheme_is_taken_in_any_case_and_a_public_token_in_both_places(
    service: Service, project: Project
) -> None:
    basic = httpx2.BasicAuth(*project.keys["tracking"])
    request = next(basic.auth_flow(httpx2.Request("GET", service.url)))
    lower = request.headers["authorization"].replace("Basic", "basic")

    for special in (
        {"headers": {"authorization": lower}},
        {"headers": {"authorization": f"Token {project.public_token}"}},
        {"params": {"access_token": project.public_token}},
    ):
        answer = _post(service, project.token, **special)

        assert answer.status_code == 200, (special, answer.text)


def _post(service: Service, token: str, **special: Any) -> httpx2.Response:
    url = f"{service.url}/track/v2/projects/{token}/customers/events"
    return httpx2.post(url, json=event(6, registered="auth"), **special)


def test_the_time_is_told_to_get_and_post(client: Client) -> None:
    for method in ("GET", "POST"):
        answer = client.track("system/time", b"", method=method)

        document = answer.json()
        assert answer.status_code == 200
        assert abs(document.pop("time") - time.time()) < 5
        assert document == DONE


def test_other_paths_and_methods_are_refused_as_http_says(client: Client) -> None:
    assert client.track("customers/nonsense", {}).status_code == 404
    wrong_method = client.track("customers/events", b"", method="GET")
    assert wrong_method.status_code == 405
    assert "POST" in wrong_method.headers["allow"]


def test_the_flat_form_takes_both_spellings_alone_and_in_a_list(client: Client) -> None:
    flat: list[dict[str, object]] = [
        {
            "individualisation1": f"{PRIVATE}-flat-s",
            "individualisation2": f"{PRIVATE}-cookie",
            "individualisation3": "spring",
            "state": "delivered",
            "timestamp": 1_760_000_000,
        },
        {"individualization1": f"{PRIVATE}-flat-z", "individualization3": "spring", "state": "printing"},
        {"individualisation1": "", "individualisation2": "", "state": "printing"},
        {"customer_ids": {"registered": f"{PRIVATE}-flat-ids"}, "event_type": "print", "status": "returned"},
    ]

    _assert_results(client.flat(flat), [True, True, False, True])
    _assert_results(client.flat(flat[0] | {"state": "returned"}), [True])

    spring = client.events(campaign="spring")
    assert sorted((each["customer_ids"]["registered"], each["status"], each["stage"]) for each in spring) == [
        (f"{PRIVATE}-flat-s", "delivered", "delivered"),
        (f"{PRIVATE}-flat-s", "returned", "returned"),
        (f"{PRIVATE}-flat-z", "printing", "printing"),
    ]
    assert all(each["type"] == "campaign" for each in spring)
    assert [each["type"] for each in client.events(customer=f"registered:{PRIVATE}-flat-ids")] == ["print"]


def _assert_results(answer: httpx2.Response, succeeded: list[bool]) -> None:
    document = answer.json()
    assert (answer.status_code, document["success"]) == (200, True)
    assert [each["success"] for each in document["results"]] == succeeded


def test_a_refused_command_can_be_looked_up_byte_by_byte(client: Client) -> None:
    slice_of_it = '{"name":  "customers/events", "data": {"customer_ids": {"registered": "lost", "x": "y"}}}'

    client.track("batch", f'{{"commands": [ {slice_of_it} ]}}'.encode())

    assert slice_of_it in _refused_bodies(client, "unknown_id_type")


def _refused_bodies(client: Client, reason: str) -> list[str | None]:
    """None stands for what is no UTF-8."""
    found = client.our_own("rejections", reason=reason)["data"]
    return [client.our_own(f"rejections/{each['id']}").get("body") for each in found]


def test_nothing_is_lost_between_receiving_and_counting(client: Client) -> None:
    def total() -> Mapping[str, int]:
        counted: Mapping[str, int] = client.our_own("outcomes")["total"]
        return counted

    before = total()
    once = event(7, registered="counted")
    client.track("batch", commands([once, once, {"customer_ids": {}}, event(8, registered="counted")]))

    after = total()
    assert {name: after[name] - before[name] for name in before} == {
        "received": 4,
        "accepted": 2,
        "duplicate": 1,
        "rejected": 1,
    }


def test_a_sender_that_takes_4xx_for_final_can_be_given_200(sqlite: Installation, tmp_path: Path) -> None:
    with (
        Service(tmp_path, *sqlite, settings={"reject_status": 200}) as service,
        Client(service, sqlite.project) as client,
    ):
        answer = client.track("customers/events", {"customer_ids": {}})

    assert (answer.status_code, answer.json()["success"]) == (200, False)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" * 200_000, "malformed_json"),
        (b'{"customer_ids": {"registered": NaN}, "event_type": "a"}', "unusable_customer_id"),
        (b'{"customer_ids": {"registered": "\\ud800"}, "event_type": "a"}', "unusable_customer_id"),
        (
            b'{"customer_ids": {"registered": "a"}, "event_type": "a", "timestamp": 1e400}',
            "invalid_timestamp",
        ),
        (b'{"customer_ids": {"registered": "a"}, "event_type": "\\u0000"}', "unstorable_text"),
        (b'{"customer_ids": {"registered": ' + b"9" * 4_000_000 + b"}}", "unusable_customer_id"),
    ],
    ids=["brackets", "NaN", "half a surrogate pair", "1e400", "NUL", "digits"],
)
def test_whatever_the_bytes_a_refusal_is_said_and_kept(client: Client, body: bytes, reason: str) -> None:
    answer = client.track("customers/events", body)

    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert body.decode() in _refused_bodies(client, reason)
