"""Mailings and suppressions over HTTP, on both databases."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from receiver.domain.moments import DAY_US, iso
from receiver.store import letters
from receiver.web.documents import ProblemDocument
from receiver.web.mailing_documents import (
    CancelledMailingDocument,
    KeptMailingDocument,
    LiftedDocument,
    MailingDocument,
    MailingsDocument,
    MailingsSummaryDocument,
    SuppressionDocument,
    SuppressionsDocument,
)
from tests.posting import NOW_US, Post, person, steps
from tests.reading_app import asking, authorization


@pytest.fixture
def client(post: Post) -> Iterator[TestClient]:
    url = post.settings.optilyz_base_url
    of_letters = {"optilyz_base_url": url, "optilyz_api_key": "k", "optilyz_per_minute": 600_000}
    with asking(post.engine, max_body_bytes=1000, **of_letters) as client:
        yield client


def ask(client: TestClient, post: Post, method: str, path: str, role: str = "ops", **request: Any) -> Any:
    url = f"/v1/projects/{post.rows.project.token}{path}"
    return client.request(method, url, headers=authorization(post.rows.project, role), **request)


def get(client: TestClient, post: Post, path: str, **parameters: Any) -> Any:
    answer = ask(client, post, "GET", path, params=parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def done(answer: Any) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def problem(answer: Any, status: int) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    ProblemDocument.model_validate_json(answer.content, strict=True)
    return answer.json()


def intend(post: Post, *names: str, **how: Any) -> list[str]:
    return [each.mailing for each in post.intend(*map(person, names), **how)]


# -- reading --------------------------------------------------------------------------------------


def test_a_letter_is_told_with_all_that_is_known_of_it(client: TestClient, post: Post) -> None:
    (mailing,) = intend(post, "anna", variation=2)
    steps(post.asker())
    post.call_back(
        {
            "customer_ids": {"registered": "anna"},
            "event_type": "campaign",
            "timestamp": NOW_US / 1e6,
            "properties": {"status": "In_Production", "campaign_id": "winback"},
        }
    )
    post.change(created_us=NOW_US, asked_us=NOW_US + 1, settled_us=NOW_US + 2, heard_us=NOW_US + 3)

    found = get(client, post, "/mailings")

    MailingsDocument.model_validate(found, strict=False)
    (row,) = found["data"]
    assert row.pop("silent_days") > 365
    assert row == {
        "id": mailing,
        "state": "queued",
        "reason": None,
        "message": None,
        "customer_ids": {"registered": "anna"},
        "automation": "64b0c0ffee0000000000abcd",
        "campaign": "winback",
        "variation": "2",
        "vendor_id": post.letter(mailing).vendor_id,
        "attempts": 1,
        "created_at": iso(NOW_US),
        "asked_at": iso(NOW_US + 1),
        "settled_at": iso(NOW_US + 2),
        "status": "In_Production",
        "stage": "printing",
        "stage_at": iso(NOW_US),
        "heard_at": iso(NOW_US + 3),
    }
    assert found["next"] is None


def test_one_letter_is_told_with_its_events_the_newest_first(client: TestClient, post: Post) -> None:
    (mailing, _) = intend(post, "anna", "bert")
    steps(post.asker())

    found = get(client, post, f"/mailings/{mailing}")

    KeptMailingDocument.model_validate(found)
    assert found["id"] == mailing
    (event,) = found["events"]
    assert (event["status"], event["mailing"], event["source"]) == ("enqueued", mailing, "sending")


def test_pages_follow_each_other_by_their_cursor(client: TestClient, post: Post) -> None:
    ids = intend(post, *"abcde")

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(client, post, "/mailings", limit=2, **cursor)
        seen += [each["id"] for each in page["data"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}

    assert seen == ids[::-1]


def test_every_filter_reaches_the_database(client: TestClient, post: Post) -> None:
    (anna,) = intend(post, "anna", campaign="spring")
    post.change(state="queued", settled_us=NOW_US)
    (bert,) = intend(post, "bert")

    def found(**parameters: Any) -> list[str]:
        return [each["id"] for each in get(client, post, "/mailings", **parameters)["data"]]

    assert found(state="queued") == [anna]
    assert found(campaign="winback") == [bert]
    assert found(customer="registered:anna") == [anna]
    assert found(customer="registered:nobody") == []
    assert found(silent_days=365) == [anna]
    assert found(silent_days=36_500) == []
    assert found(state="intended", campaign="winback", customer="registered:bert") == [bert]


def test_silent_days_are_whole_ones(client: TestClient, post: Post) -> None:
    intend(post, "anna")
    now_us = 2**50

    post.change(state="queued", settled_us=now_us)

    rows = [MailingDocument.of(_row(post), now_us + DAY_US * 3 + extra) for extra in (-1, 0)]
    assert [row.silent_days for row in rows] == [2, 3]
    assert MailingDocument.of(_row(post), now_us - DAY_US).silent_days == 0


def _row(post: Post) -> Any:
    with post.engine.connect() as connection:
        return letters.find_mailing(connection, post.rows.project_id, post.letters()[0].id)


def test_a_summary_counts_all_or_a_campaign(client: TestClient, post: Post) -> None:
    intend(post, "anna", "bert")
    intend(post, "anna")
    steps(post.asker())
    intend(post, "cora", campaign="spring")

    found = get(client, post, "/mailings/summary")

    MailingsSummaryDocument.model_validate(found)
    assert found == {
        "data": [
            {"state": "intended", "reason": None, "count": 1},
            {"state": "queued", "reason": None, "count": 2},
            {"state": "suppressed", "reason": "already_mailed", "count": 1},
        ],
        "stages": [{"stage": None, "count": 2}],
    }
    assert get(client, post, "/mailings/summary", campaign="spring")["stages"] == []


# -- deciding -------------------------------------------------------------------------------------


def test_a_letter_is_resolved_as_somebody_says(client: TestClient, post: Post) -> None:
    anna, bert = intend(post, "anna", "bert")
    post.change(state="unknown", reason="no_answer", settled_us=NOW_US)

    body = {"printed": True, "note": "seen"}
    printed = done(ask(client, post, "POST", f"/mailings/{anna}/resolve", json=body))
    again = done(ask(client, post, "POST", f"/mailings/{bert}/resolve", json={"printed": False}))

    MailingDocument.model_validate(printed)
    assert (printed["state"], printed["reason"], printed["message"]) == ("queued", "resolved", "seen")
    assert (again["state"], again["reason"]) == ("intended", None)


def test_a_letter_whose_fate_is_known_is_a_conflict(client: TestClient, post: Post) -> None:
    (mailing,) = intend(post, "anna")

    said = problem(ask(client, post, "POST", f"/mailings/{mailing}/resolve", json={"printed": True}), 409)

    assert said["detail"].startswith("The letter is intended;")


def test_a_letter_is_cancelled_and_the_answer_says_how(client: TestClient, post: Post) -> None:
    (queued,) = intend(post, "anna")
    steps(post.asker())
    (waiting,) = intend(post, "bert")

    first = done(ask(client, post, "POST", f"/mailings/{queued}/cancel", json={}))
    second = done(ask(client, post, "POST", f"/mailings/{waiting}/cancel"))

    CancelledMailingDocument.model_validate(first)
    assert (first["state"], first["reason"], first["outcome"]) == ("cancelled", "taken_back", "taken_back")
    assert first["detail"].endswith(".")
    assert (second["state"], second["outcome"]) == ("cancelled", "cancelled")


@pytest.mark.parametrize("mailing", ["0" * 24, "1", "%00", "%F0%9F%93%AC", "x" * 2000])
def test_a_letter_that_is_not_there_is_not_found(client: TestClient, post: Post, mailing: str) -> None:
    problem(ask(client, post, "GET", f"/mailings/{mailing}"), 404)
    problem(ask(client, post, "POST", f"/mailings/{mailing}/cancel", json={}), 404)
    problem(ask(client, post, "POST", f"/mailings/{mailing}/resolve", json={"printed": True}), 404)


# -- suppressions ---------------------------------------------------------------------------------


def add(client: TestClient, post: Post, kind: str = "objection", **body: Any) -> Any:
    answer = done(ask(client, post, "POST", "/suppressions", json={"kind": kind, **body}))
    SuppressionDocument.model_validate(answer)
    return answer


def test_a_suppression_is_added_listed_and_lifted(client: TestClient, post: Post) -> None:
    added = add(client, post, customer_ids={"registered": "anna", "cookie": "k"}, note="called us")

    assert {**added, "created_at": ""} == {
        "id": added["id"],
        "kind": "objection",
        "customer_ids": {"cookie": ["k"], "registered": ["anna"]},
        "note": "called us",
        "mailing_id": None,
        "created_at": "",
        "lifted_at": None,
    }
    assert get(client, post, "/suppressions") == {"data": [added], "next": None}
    lifted = done(ask(client, post, "DELETE", "/suppressions", params={"id": added["id"]}))
    LiftedDocument.model_validate(lifted)
    (row,) = lifted["data"]
    assert row["lifted_at"] is not None
    assert get(client, post, "/suppressions") == {"data": [], "next": None}
    assert get(client, post, "/suppressions", all="true") == {"data": [row], "next": None}
    assert done(ask(client, post, "DELETE", "/suppressions", params={"id": added["id"]})) == {"data": []}


def test_a_suppression_that_a_letter_told_of_names_it(client: TestClient, post: Post) -> None:
    (mailing,) = [each.mailing for each in post.intend(person("anna", zipCode="00000"))]
    steps(post.asker())

    (row,) = get(client, post, "/suppressions")["data"]

    assert (row["kind"], row["mailing_id"], row["note"]) == ("bad_address", mailing, "refused")


def test_suppressions_are_filtered_and_paged(client: TestClient, post: Post) -> None:
    rows = [add(client, post, customer_ids={"registered": name}) for name in "abc"]
    bad = add(client, post, "bad_address", customer_ids={"registered": "a"})

    def found(**parameters: Any) -> list[int]:
        page = get(client, post, "/suppressions", **parameters)
        SuppressionsDocument.model_validate(page)
        return [each["id"] for each in page["data"]]

    assert found(kind="bad_address") == [bad["id"]]
    assert found(customer="registered:a") == [bad["id"], rows[0]["id"]]
    assert found(customer="registered:nobody") == []
    first = get(client, post, "/suppressions", limit=2)
    second = get(client, post, "/suppressions", limit=2, cursor=first["next"])
    together = [each["id"] for each in first["data"] + second["data"]]
    assert together == sorted([*(each["id"] for each in rows), bad["id"]], reverse=True)
    assert second["next"] is None


def test_a_merge_moves_suppressions_to_who_is_left(client: TestClient, post: Post) -> None:
    post.intend(person("anna"))
    added = add(client, post, customer_ids={"cookie": "k"})

    post.intend(person({"registered": "anna", "cookie": "k"}), once=False)

    (row,) = get(client, post, "/suppressions", customer="registered:anna")["data"]
    assert row["id"] == added["id"]
    assert row["customer_ids"] == {"cookie": ["k"], "registered": ["anna"]}


def test_all_suppressions_of_a_customer_or_of_one_kind_are_lifted(client: TestClient, post: Post) -> None:
    objection = add(client, post, customer_ids={"registered": "anna"})
    bad = add(client, post, "bad_address", customer_ids={"registered": "anna"})

    def lift(**parameters: Any) -> list[int]:
        answer = done(ask(client, post, "DELETE", "/suppressions", params=parameters))
        return [each["id"] for each in answer["data"]]

    assert lift(customer="registered:anna", kind="bad_address") == [bad["id"]]
    assert lift(customer="registered:anna") == [objection["id"]]
    assert lift(customer="registered:anna") == []


def test_a_suppression_of_another_project_is_not_there(client: TestClient, post: Post) -> None:
    added = add(client, post, customer_ids={"registered": "anna"})
    with asking(post.engine) as client:
        post.rows.begin_project()

        problem(ask(client, post, "DELETE", "/suppressions", params={"id": added["id"]}), 404)
        assert get(client, post, "/suppressions", all="1") == {"data": [], "next": None}


# -- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/mailings", "state", "printed"),
        ("/mailings", "campaign", ""),
        ("/mailings", "customer", "email:anna@example.com"),
        ("/mailings", "silent_days", "-1"),
        ("/mailings", "silent_days", "36501"),
        ("/mailings", "limit", "1001"),
        ("/mailings", "cursor", "nonsense"),
        ("/mailings", "cursor", "0" * 24 + "\n"),
        ("/mailings", "stage", "posted"),
        ("/mailings/summary", "state", "queued"),
        ("/suppressions", "kind", "mood"),
        ("/suppressions", "all", "perhaps"),
        ("/suppressions", "cursor", "0"),
        ("/suppressions", "cursor", "9" * 30),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(
    client: TestClient, post: Post, path: str, name: str, value: str
) -> None:
    answer = ask(client, post, "GET", path, params={name: value})

    assert [error["parameter"] for error in problem(answer, 400)["errors"]] == [name]
    assert "example.com" not in answer.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "parameters",
    [{}, {"kind": "objection"}, {"id": 1, "kind": "objection"}, {"id": 1, "customer": "cookie:k"}],
)
def test_what_is_to_be_lifted_is_named_in_one_way(
    client: TestClient, post: Post, parameters: dict[str, Any]
) -> None:
    said = problem(ask(client, post, "DELETE", "/suppressions", params=parameters), 400)

    assert said["errors"] == [{"detail": "Give an id, or a customer and perhaps a kind."}]


GOOD = {"customer_ids": {"registered": "anna"}, "kind": "objection"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("path", "body", "pointers"),
    [
        ("/suppressions", {}, ["/customer_ids", "/kind"]),
        ("/suppressions", [], [""]),
        ("/suppressions", {**GOOD, "kind": "mood"}, ["/kind"]),
        ("/suppressions", {**GOOD, "why/not": "~"}, ["/why~1not"]),
        ("/suppressions", {**GOOD, "note": "x" * 501}, ["/note"]),
        ("/suppressions", {**GOOD, "note": "a\0"}, ["/note"]),
        ("/suppressions", {**GOOD, "customer_ids": {"email": "anna@example.com"}}, ["/customer_ids"]),
        ("/suppressions", {**GOOD, "customer_ids": {"registered": "{{ id }}"}}, ["/customer_ids"]),
        ("/suppressions", {**GOOD, "customer_ids": {}}, ["/customer_ids"]),
        (f"/mailings/{'0' * 24}/resolve", {}, ["/printed"]),
        (f"/mailings/{'0' * 24}/resolve", {"printed": "yes"}, ["/printed"]),
        (f"/mailings/{'0' * 24}/resolve", {"printed": True, "note": ""}, ["/note"]),
        (f"/mailings/{'0' * 24}/cancel", {"printed": True}, ["/printed"]),
    ],
)
def test_a_body_that_cannot_be_used_is_told_where(
    client: TestClient, post: Post, path: str, body: object, pointers: list[str]
) -> None:
    answer = ask(client, post, "POST", path, json=body)

    said = problem(answer, 400)
    assert [error["pointer"] for error in said["errors"]] == pointers
    assert all(error["detail"].endswith(".") for error in said["errors"])
    assert "example.com" not in answer.text
    assert post.suppressions() == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_body_that_is_no_json_or_too_large_is_refused(client: TestClient, post: Post) -> None:
    said = problem(ask(client, post, "POST", "/suppressions", content=b"{"), 400)
    assert [error["pointer"] for error in said["errors"]] == [""]

    problem(ask(client, post, "POST", "/suppressions", content=b" " * 1001), 413)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", ["tracking", "data", "sender"])
def test_only_operations_may_ask(client: TestClient, post: Post, role: str) -> None:
    for method, path in (
        ("GET", "/mailings"),
        ("GET", "/mailings/summary"),
        ("GET", "/mailings/1"),
        ("POST", "/mailings/1/resolve"),
        ("POST", "/mailings/1/cancel"),
        ("GET", "/suppressions"),
        ("POST", "/suppressions"),
        ("DELETE", "/suppressions"),
    ):
        problem(ask(client, post, method, path, role), 403)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/mailings", None),
        ("POST", f"/mailings/{'0' * 24}/cancel", {}),
        ("POST", "/suppressions", GOOD),
        ("DELETE", "/suppressions?id=1", None),
    ],
)
def test_a_database_that_is_away_is_a_503(
    client: TestClient, post: Post, method: str, path: str, body: object
) -> None:
    with post.engine.execution_options(writes=True).begin() as connection:
        for table in ("mailings", "suppressions"):
            connection.execute(text(f"ALTER TABLE {table} RENAME TO {table}_away"))

    answer = ask(client, post, method, path, json=body)

    problem(answer, 503)
    assert answer.headers["retry-after"] == "5"
