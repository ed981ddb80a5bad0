"""The repair of rejections over HTTP, on both databases."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select

from receiver.inbound import bulk
from receiver.store.tables import events
from receiver.web.documents import ProblemDocument, RejectionDocument
from receiver.web.repair_documents import (
    AuditDocument,
    DoneDocument,
    ReplayDocument,
    TotalsDocument,
    TracedRejectionDocument,
    UndoneDocument,
)
from tests.mending import command, event, in_milliseconds, without_id
from tests.serving_app import FLAT, Sender, serving

SECONDS = {"repair": "milliseconds-to-seconds"}


@pytest.fixture
def sender(database_url: str) -> Iterator[Sender]:
    with serving(database_url, max_body_bytes=20_000) as sender:
        yield sender


def ask(sender: Sender, method: str, path: str, role: str = "ops", **request: Any) -> httpx2.Response:
    url = f"/v1/projects/{sender.project.token}{path}"
    headers = {"authorization": sender.authorization(role)}
    return sender.client.request(method, url, headers=headers, **request)


def done(answer: httpx2.Response) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    return answer.json()


def problem(answer: httpx2.Response, status: int) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    ProblemDocument.model_validate_json(answer.content, strict=True)
    return answer.json()


def get(sender: Sender, path: str, **parameters: Any) -> Any:
    return done(ask(sender, "GET", path, params=parameters))


def post(sender: Sender, path: str, **body: Any) -> Any:
    return done(ask(sender, "POST", path, json=body))


def refuse(sender: Sender, body: object, route: str = "customers/events") -> int:
    """The number of the rejection that *body* becomes."""
    sender.send(route, body)
    number: int = get(sender, "/rejections", limit=1)["data"][0]["id"]
    return number


def state(sender: Sender, number: int) -> str:
    found: str = get(sender, f"/rejections/{number}")["state"]
    return found


def events_of(sender: Sender) -> list[int]:
    return [each["id"] for each in get(sender, "/events")["data"]]


# -- replaying one --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        SECONDS,
        {"patch": [{"op": "replace", "path": "/timestamp", "value": 1_760_000_000}]},
        {"body": json.dumps(event())},
        {"body": event()},
    ],
    ids=["repair", "patch", "text", "object"],
)
def test_a_mended_rejection_becomes_one_event(sender: Sender, how: dict[str, Any]) -> None:
    number = refuse(sender, in_milliseconds())

    answer = post(sender, f"/rejections/{number}/replay", **how)

    ReplayDocument.model_validate(answer)
    (made,) = events_of(sender)
    assert answer == {"outcome": "accepted", "event_id": made}
    assert state(sender, number) == "replayed"
    sender.send("customers/events", in_milliseconds())
    sender.send("customers/events", event())
    assert events_of(sender) == [made]


def test_a_rejection_that_is_replayed_as_it_came_is_still_refused(sender: Sender) -> None:
    number = refuse(sender, in_milliseconds())

    answer = done(ask(sender, "POST", f"/rejections/{number}/replay"))

    ReplayDocument.model_validate(answer)
    assert (answer["outcome"], answer["reason"], answer["pointer"]) == (
        "rejected",
        "timestamp_in_milliseconds",
        "/timestamp",
    )
    assert answer["detail"].endswith(".")
    assert (state(sender, number), events_of(sender)) == ("open", [])


def test_a_dry_run_shows_the_bodies_before_and_after_and_writes_nothing(sender: Sender) -> None:
    number = refuse(sender, in_milliseconds())

    answer = post(sender, f"/rejections/{number}/replay", **SECONDS, dry_run=True)

    ReplayDocument.model_validate(answer)
    assert answer["outcome"] == "accepted"
    assert answer["before"] == json.dumps(in_milliseconds())
    assert answer["after"] == [json.dumps(event())]
    assert (state(sender, number), events_of(sender)) == ("open", [])
    assert get(sender, "/rejections/audit") == {"data": [], "next": None}


def test_a_duplicate_is_told_with_the_event_that_was_there(sender: Sender) -> None:
    sender.send("customers/events", event())
    (there,) = events_of(sender)
    number = refuse(sender, in_milliseconds())

    answer = post(sender, f"/rejections/{number}/replay", body=event())

    assert answer == {"outcome": "duplicate", "event_id": there}


def test_an_event_that_says_the_same_a_moment_apart_is_named(sender: Sender) -> None:
    sender.send("customers/events", event(timestamp=1_760_000_000.5))
    (there,) = events_of(sender)
    number = refuse(sender, in_milliseconds())

    assert post(sender, f"/rejections/{number}/replay", body=event())["similar"] == [there]


def test_a_correction_that_comes_later_and_a_moment_apart_is_named_beside_the_rejection(
    sender: Sender,
) -> None:
    number = refuse(sender, in_milliseconds())
    post(sender, f"/rejections/{number}/replay", body=event())
    assert get(sender, f"/rejections/{number}")["similar"] == []

    sender.send("customers/events", event(timestamp=event()["timestamp"] + 0.5))
    sender.send("customers/events", event(timestamp=event()["timestamp"] + 1))

    _, half_a_second_later, mended = events_of(sender)
    assert get(sender, f"/rejections/{number}")["similar"] == [half_a_second_later]
    post(sender, f"/rejections/{number}/undo")
    assert get(sender, f"/rejections/{number}")["similar"] == []
    assert mended not in events_of(sender)


def test_a_whole_body_has_a_result_for_each_command(sender: Sender) -> None:
    entries = [command(event({"registered": f"c-{number}"})) for number in range(60)]
    number = refuse(sender, {"commands": entries}, "batch")

    answer = post(sender, f"/rejections/{number}/replay", repair="split-batch")

    ReplayDocument.model_validate(answer)
    assert [each["outcome"] for each in answer["results"]] == ["accepted"] * 60
    assert len(events_of(sender)) == 60


def test_what_is_refused_of_a_whole_body_is_named_where_it_is_kept(sender: Sender) -> None:
    entries = [command(event({"registered": f"c-{number}"})) for number in range(60)]
    number = refuse(sender, {"commands": [*entries, command(without_id())]}, "batch")

    shown = post(sender, f"/rejections/{number}/replay", repair="split-batch", dry_run=True)
    answer = post(sender, f"/rejections/{number}/replay", repair="split-batch")

    assert (shown["results"][-1]["outcome"], "rejection_id" in shown["results"][-1]) == ("rejected", False)
    child = answer["results"][-1]["rejection_id"]
    assert state(sender, child) == "open"
    (step,) = get(sender, f"/rejections/{number}")["attempts_made"]
    assert step["results"][-1]["rejection_id"] == child
    post(sender, f"/rejections/{number}/undo")
    problem(ask(sender, "GET", f"/rejections/{child}"), 404)


def test_several_repairs_are_made_one_after_the_other(sender: Sender) -> None:
    body = in_milliseconds({"registered": "", "cookie": "u-1"})
    number = refuse(sender, body)

    answer = post(sender, f"/rejections/{number}/replay", repair="drop-empty-ids, milliseconds-to-seconds")

    assert answer["outcome"] == "accepted"


def test_a_repair_that_cannot_be_applied_says_why(sender: Sender) -> None:
    number = refuse(sender, without_id())

    said = problem(ask(sender, "POST", f"/rejections/{number}/replay", json=SECONDS), 422)

    assert said["detail"] == "There is no time in milliseconds; choose another repair."
    assert (state(sender, number), get(sender, "/rejections/audit")["data"]) == ("open", [])


def test_a_flat_object_is_replayed_from_an_object(sender: Sender) -> None:
    number = refuse(sender, {"individualisation1": "", "status": "sent"}, FLAT)

    answer = post(
        sender, f"/rejections/{number}/replay", body={"individualisation1": "c-1", "status": "sent"}
    )

    assert [each["outcome"] for each in answer.get("results", [answer])] == ["accepted"]


def test_only_an_open_rejection_is_replayed(sender: Sender) -> None:
    number = refuse(sender, in_milliseconds())
    post(sender, f"/rejections/{number}/dismiss")

    said = problem(ask(sender, "POST", f"/rejections/{number}/replay", json=SECONDS), 409)

    assert said["detail"] == "The rejection is dismissed; only an open one can be replayed."
    assert events_of(sender) == []


def test_two_operators_at_once_make_one_event(sender: Sender) -> None:
    number = refuse(sender, in_milliseconds())
    together = Barrier(2)

    def replay_it() -> int:
        together.wait()
        return ask(sender, "POST", f"/rejections/{number}/replay", json=SECONDS).status_code

    with ThreadPoolExecutor(2) as pool:
        operators = [pool.submit(replay_it) for _ in range(2)]
        statuses = sorted(operator.result() for operator in operators)

    assert statuses == [200, 409]
    with sender.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(events)).scalar() == 1
    assert len(get(sender, "/rejections/audit")["data"]) == 1


# -- deciding and undoing -------------------------------------------------------------------------


def test_a_rejection_is_dismissed_and_reopened(sender: Sender) -> None:
    number = refuse(sender, in_milliseconds())

    dismissed = post(sender, f"/rejections/{number}/dismiss", note="A test of theirs")
    again = ask(sender, "POST", f"/rejections/{number}/dismiss", json={})
    reopened = done(ask(sender, "POST", f"/rejections/{number}/reopen"))

    RejectionDocument.model_validate(dismissed)
    assert (dismissed["id"], dismissed["state"], reopened["state"]) == (number, "dismissed", "open")
    assert problem(again, 409)["detail"] == "The rejection is dismissed; only an open one can be dismissed."
    said = problem(ask(sender, "POST", f"/rejections/{number}/reopen", json={}), 409)
    assert said["detail"] == "The rejection is open; only a dismissed one can be reopened."


def test_a_replay_is_taken_back_and_the_counts_add_up_all_the_while(sender: Sender) -> None:
    number = refuse(sender, in_milliseconds())
    sent = get(sender, "/outcomes")["total"]
    assert sent == {"received": 1, "accepted": 0, "duplicate": 0, "rejected": 1}
    made = post(sender, f"/rejections/{number}/replay", **SECONDS)["event_id"]
    assert get(sender, "/outcomes")["total"] == sent
    assert get(sender, "/outcomes")["replayed"]["accepted"] == 1

    undone = post(sender, f"/rejections/{number}/undo", note="The wrong one")

    UndoneDocument.model_validate(undone)
    assert (undone["state"], undone["withdrawn"], events_of(sender)) == ("open", [made], [])
    assert get(sender, "/outcomes")["total"] == sent
    assert get(sender, "/rejections/summary", state="open")["data"][0]["count"] == 1
    said = problem(ask(sender, "POST", f"/rejections/{number}/undo", json={}), 409)
    assert said["detail"] == "The rejection is open; only a replayed one can be undone."
    assert post(sender, f"/rejections/{number}/replay", **SECONDS)["outcome"] == "accepted"
    assert len(events_of(sender)) == 1


@pytest.mark.parametrize("number", ["0", "4711", "9" * 30, "x", "%00", "%C2%B2"])
def test_a_rejection_that_is_not_there_is_not_found(sender: Sender, number: str) -> None:
    problem(ask(sender, "GET", f"/rejections/{number}"), 404)
    for what in ("replay", "dismiss", "reopen", "undo"):
        problem(ask(sender, "POST", f"/rejections/{number}/{what}", json={}), 404)


# -- all that match -------------------------------------------------------------------------------


def refuse_many(sender: Sender) -> None:
    for customer in range(3):
        sender.send("customers/events", in_milliseconds({"registered": f"c-{customer}"}))
    sender.send("customers/events", without_id())
    sender.send("customers/events", event({"registered": ""}))


def test_many_are_first_shown_and_then_replayed(sender: Sender) -> None:
    refuse_many(sender)
    wanted = {"filter": {"reason": "timestamp_in_milliseconds"}, **SECONDS}

    shown = post(sender, "/rejections/replay", **wanted)

    TotalsDocument.model_validate(shown)
    samples = shown.pop("samples")
    assert shown == {
        "dry_run": True,
        "matched": 3,
        "accepted": 3,
        "duplicate": 0,
        "rejected": 0,
        "reasons": {},
        "next": None,
    }
    assert {each["outcome"] for each in samples} == {"accepted"}
    assert all(each["before"] and each["after"] for each in samples)
    assert events_of(sender) == []

    applied = post(sender, "/rejections/replay", **wanted, dry_run=False)

    assert (applied["dry_run"], applied["matched"], applied["accepted"]) == (False, 3, 3)
    assert not any("before" in each for each in applied["samples"])
    assert len(events_of(sender)) == 3
    assert post(sender, "/rejections/replay", **wanted, dry_run=False)["matched"] == 0
    open_ones = get(sender, "/rejections/summary", state="open")["data"]
    assert {each["reason"]: each["count"] for each in open_ones} == {"empty_customer_id": 2}


def test_some_at_a_time_are_replayed_from_cursor_to_cursor(sender: Sender) -> None:
    refuse_many(sender)
    wanted = {"filter": {}, "repair": "drop-empty-ids", "dry_run": False}

    first = post(sender, "/rejections/replay", **wanted, limit=4)
    rest = post(sender, "/rejections/replay", **wanted, limit=4, cursor=first["next"])

    assert (first["matched"], rest["matched"], rest["next"]) == (4, 1, None)
    assert first["accepted"] + rest["accepted"] == 1
    refused = ask(sender, "POST", "/rejections/replay", json={"filter": {}, "limit": 0})
    assert refused.status_code == 400


def test_what_is_still_refused_is_counted_by_reason(sender: Sender) -> None:
    refuse_many(sender)

    found = post(sender, "/rejections/replay", filter={}, repair="drop-empty-ids")

    assert (found["matched"], found["accepted"], found["rejected"]) == (5, 1, 4)
    assert found["reasons"] == {"not_mended": 4}
    as_they_came = post(sender, "/rejections/replay", filter={"q": "c-1"})
    assert (as_they_came["matched"], as_they_came["reasons"]) == (1, {"timestamp_in_milliseconds": 1})


def test_every_filter_reaches_the_database(sender: Sender) -> None:
    refuse_many(sender)

    def matched(**filters: str) -> int:
        found: int = post(sender, "/rejections/replay", filter=filters)["matched"]
        return found

    assert matched() == matched(state="open") == 5
    assert matched(reason="empty_customer_id") == 2
    assert matched(q="u-1") == 1
    assert matched(since="2100-01-01") == matched(until="2020-01-01") == 0
    assert matched(type="campaign") == matched(campaign="winback") == matched(route="customers/events") == 5
    assert matched(type="other") == matched(campaign="other") == matched(route="batch") == 0
    assert matched(pointer="/timestamp") == matched(pointer="/timestamp", q="c-") == 3
    assert matched(pointer="/customer_ids/registered", campaign="winback", since="2020-01-01") == 2


def test_only_what_has_that_in_common_is_decided_about(sender: Sender) -> None:
    refuse_many(sender)
    alike = {"pointer": "/timestamp", "type": "campaign", "campaign": "winback", "route": "customers/events"}

    dismissed = post(sender, "/rejections/dismiss", filter=alike)
    replayed = post(sender, "/rejections/replay", filter=alike, dry_run=False)
    reopened = post(sender, "/rejections/reopen", filter=alike | {"campaign": "other"})

    assert (dismissed["done"], replayed["matched"], reopened["done"]) == (3, 0, 0)
    states = get(sender, "/rejections/summary", by="shape")["data"]
    assert [(each["pointer"], each["rejections"], each["open"]) for each in states] == [
        ("/timestamp", 3, 0),
        ("/customer_ids/registered", 2, 2),
    ]
    assert post(sender, "/rejections/reopen", filter=alike)["done"] == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", ""),
        ("type", "x" * 501),
        ("campaign", "a\0"),
        ("route", "flat"),
        ("pointer", 7),
        ("by", "shape"),
    ],
)
def test_a_filter_that_cannot_be_used_is_named(sender: Sender, name: str, value: object) -> None:
    refuse_many(sender)

    answer = ask(sender, "POST", "/rejections/dismiss", json={"filter": {name: value}})

    (error,) = problem(answer, 400)["errors"]
    assert name in str(error)
    assert len(get(sender, "/rejections", state="open")["data"]) == 5


@pytest.mark.parametrize("at_once", [100, 2])
def test_many_are_dismissed_and_reopened(
    sender: Sender, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_AT_ONCE", at_once)
    refuse_many(sender)

    dismissed = post(sender, "/rejections/dismiss", filter={"q": "c-"}, note="Theirs")
    reopened = post(sender, "/rejections/reopen", filter={"state": "dismissed"})

    DoneDocument.model_validate(dismissed)
    assert (dismissed, reopened) == ({"done": 3}, {"done": 3})
    assert len(get(sender, "/rejections", state="open")["data"]) == 5
    notes = [each["note"] for each in get(sender, "/rejections/audit")["data"]]
    assert sorted(notes, key=str) == [None] * 3 + ["Theirs"] * 3


# -- the trace ------------------------------------------------------------------------------------


def test_all_that_was_done_is_told_with_who_did_it(sender: Sender) -> None:
    number = refuse(sender, in_milliseconds())
    other = refuse(sender, without_id())
    made = post(sender, f"/rejections/{number}/replay", **SECONDS)["event_id"]
    post(sender, f"/rejections/{number}/undo", note="No")
    post(sender, f"/rejections/{other}/dismiss")

    kept = get(sender, f"/rejections/{number}")
    audit = get(sender, "/rejections/audit")

    TracedRejectionDocument.model_validate(kept)
    AuditDocument.model_validate(audit)
    undo, replay = kept["attempts_made"]
    key = next(key.key_id for key in sender.project.keys if key.role == "ops")
    assert (undo["action"], undo["note"], undo["how"], undo["results"]) == ("undo", "No", None, None)
    assert (replay["action"], replay["how"], replay["key_id"]) == ("replay", SECONDS, key)
    assert replay["results"] == [{"outcome": "accepted", "event_id": made}]
    assert undo["undone_at"] is None
    assert replay["undone_at"] == undo["at"] > replay["at"]
    assert [each["rejection_id"] for each in audit["data"]] == [other, number, number]
    assert [{**undo, "rejection_id": number}, {**replay, "rejection_id": number}] == audit["data"][1:]


def test_a_rejection_tells_where_in_its_body_the_place_is(sender: Sender) -> None:
    kept = get(sender, f"/rejections/{refuse(sender, in_milliseconds())}")

    place = kept["place"]
    assert kept["body"][place["start"] : place["end"]] == "1760000000000"
    assert (place["line"], place["column"], place["missing"]) == (1, place["start"] + 1, False)


def test_the_trace_comes_in_pages(sender: Sender) -> None:
    refuse_many(sender)
    post(sender, "/rejections/dismiss", filter={})

    first = get(sender, "/rejections/audit", limit=3)
    second = get(sender, "/rejections/audit", limit=3, cursor=first["next"])

    together = [each["id"] for each in first["data"] + second["data"]]
    assert (len(together), together) == (5, sorted(together, reverse=True))
    assert second["next"] is None


# -- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("/rejections/1/replay", [], [""]),
        ("/rejections/1/replay", {"repair": "magic"}, ["/repair"]),
        ("/rejections/1/replay", {"repair": ""}, ["/repair"]),
        ("/rejections/1/replay", {"repair": ["split-batch"]}, ["/repair"]),
        ("/rejections/1/replay", {"patch": {}}, ["/patch"]),
        ("/rejections/1/replay", {"body": 1}, ["/body"]),
        ("/rejections/1/replay", {"dry_run": "yes"}, ["/dry_run"]),
        ("/rejections/1/replay", {"patch": [], "repair": "split-batch"}, [""]),
        ("/rejections/1/replay", {"body": "{}", "repair": "split-batch"}, [""]),
        ("/rejections/1/replay", {"why/not": 1}, ["/why~1not"]),
        ("/rejections/replay", {}, ["/filter"]),
        ("/rejections/replay", {"filter": {"state": "dismissed"}}, ["/filter/state"]),
        ("/rejections/replay", {"filter": {"reason": "mood"}}, ["/filter/reason"]),
        ("/rejections/replay", {"filter": {"since": "soon"}}, ["/filter/since"]),
        ("/rejections/replay", {"filter": {"limit": 1}}, ["/filter/limit"]),
        ("/rejections/replay", {"filter": {}, "body": "{}"}, ["/body"]),
        ("/rejections/1/dismiss", {"note": "x" * 501}, ["/note"]),
        ("/rejections/1/reopen", {"note": "a\0"}, ["/note"]),
        ("/rejections/1/undo", {"reason": "x"}, ["/reason"]),
        ("/rejections/dismiss", {"note": "x"}, ["/filter"]),
        ("/rejections/reopen", {"filter": {"state": "open"}}, ["/filter/state"]),
    ],
)
def test_a_body_that_cannot_be_used_is_told_where(
    sender: Sender, path: str, body: object, pointers: list[str]
) -> None:
    said = problem(ask(sender, "POST", path, json=body), 400)

    assert [error.get("pointer") for error in said["errors"]] == pointers
    assert all(error["detail"].endswith(".") for error in said["errors"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("number", [b"1e999", b"NaN", b"-Infinity"])
def test_a_number_that_is_none_is_refused(sender: Sender, number: bytes) -> None:
    refuse(sender, in_milliseconds())
    patch = b'{"patch": [{"op": "add", "path": "/timestamp", "value": %s}]}' % number

    problem(ask(sender, "POST", "/rejections/1/replay", content=patch), 400)
    problem(ask(sender, "POST", "/rejections/1/replay", content=b'{"body": {"a": %s}}' % number), 400)


@pytest.mark.parametrize(
    "how",
    [
        {"body": "\0"},
        {"body": ""},
        {"body": []},
        {"body": event({"registered": "a\0b"})},
        {"patch": []},
        {"patch": [7]},
        {"patch": [{"op": "add", "path": "/properties/a\0", "value": "\0"}]},
        {"patch": [{"op": "add", "path": "/customer_ids", "value": 10**400}]},
        {"patch": [{"op": "remove", "path": ""}]},
    ],
    ids=str,
)
def test_whatever_a_mended_body_says_it_is_accepted_or_told_why_not(
    sender: Sender, how: dict[str, Any]
) -> None:
    number = refuse(sender, in_milliseconds())

    answer = ask(sender, "POST", f"/rejections/{number}/replay", json=how)

    if answer.status_code == 200:
        assert answer.json()["outcome"] == "rejected"
        assert get(sender, f"/rejections/{number}")["attempts_made"][0]["results"] == [answer.json()]
    else:
        problem(answer, 422)
    assert (state(sender, number), events_of(sender)) == ("open", [])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "body",
    [
        b'{"patch": [{"op": "\\ud800"}]}',
        b'{"body": "\\ud800"}',
        b'{"body": %s1%s}' % (b"[" * 5000, b"]" * 5000),
    ],
)
def test_text_that_is_none_or_nested_too_deep_is_refused(sender: Sender, body: bytes) -> None:
    problem(ask(sender, "POST", "/rejections/1/replay", content=body), 400)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_body_that_is_no_json_or_too_large_is_refused(sender: Sender) -> None:
    said = problem(ask(sender, "POST", "/rejections/replay", content=b"{"), 400)
    assert [error["pointer"] for error in said["errors"]] == [""]

    problem(ask(sender, "POST", "/rejections/replay", content=b" " * 20_001), 413)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", ["tracking", "data", "sender"])
def test_only_operations_may(sender: Sender, role: str) -> None:
    problem(ask(sender, "GET", "/rejections/audit", role), 403)
    for path in ("replay", "dismiss", "reopen"):
        problem(ask(sender, "POST", f"/rejections/{path}", role, json={"filter": {}}), 403)
    for path in ("replay", "dismiss", "reopen", "undo"):
        problem(ask(sender, "POST", f"/rejections/1/{path}", role, json={}), 403)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("name", "value"), [("limit", "0"), ("cursor", "x"), ("state", "open")])
def test_a_parameter_of_the_trace_that_cannot_be_used_is_named(sender: Sender, name: str, value: str) -> None:
    said = problem(ask(sender, "GET", "/rejections/audit", params={name: value}), 400)

    assert [error["parameter"] for error in said["errors"]] == [name]
