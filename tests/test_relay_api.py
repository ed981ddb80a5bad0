"""The relay over HTTP: how it goes, what was set aside, and what is decided then, on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.testclient import TestClient

from receiver.domain.commands import Form
from receiver.domain.moments import iso
from receiver.outbound import outbox_repairs
from receiver.store import outbox
from receiver.store.outbox import Reason, SetAside
from receiver.web import relay as web_relay
from receiver.web.documents import ProblemDocument
from receiver.web.relay_documents import MatchedDocument, RelayDocument, SetAsidePageDocument
from tests.mending import HOUR_US, MINUTE_US, SECOND_US, T0, event
from tests.reading_app import asking, authorization
from tests.relaying import Books, Clock, Station, numbered, run, standing_still, station, update
from tests.simulated_bloomreach import BloomreachInThread

WORDS = "timestamp: too old, 'c-1'"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """For all of them it is 08:59, four minutes after callbacks came."""
    clock = standing_still(monkeypatch)
    clock.now_us = T0 + 4 * MINUTE_US
    for module in (web_relay, outbox_repairs):
        monkeypatch.setattr(module, "_now_us", clock)
    return clock


@pytest.fixture
def at(database_url: str, far: BloomreachInThread, clock: Clock) -> Iterator[Station]:
    with station(database_url, far) as at:
        yield at


@contextmanager
def asking_with(at: Station, **settings: Any) -> Iterator[TestClient]:
    with asking(at.engine, **settings) as client:
        yield client


@pytest.fixture
def client(at: Station) -> Iterator[TestClient]:
    with asking(at.engine, **at.far.settings) as client:
        yield client


def ask(client: TestClient, at: Station, method: str, path: str, role: str = "ops", **request: Any) -> Any:
    url = f"/v1/projects/{at.post.rows.project.token}{path}"
    return client.request(method, url, headers=authorization(at.post.rows.project, role), **request)


def status(client: TestClient, at: Station, role: str = "data") -> dict[str, Any]:
    answer = ask(client, at, "GET", "/relay", role)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    RelayDocument.model_validate_json(answer.content, strict=True)
    document: dict[str, Any] = answer.json()
    return document


def aside(client: TestClient, at: Station, **parameters: Any) -> dict[str, Any]:
    answer = ask(client, at, "GET", "/relay/set-aside", params=parameters)
    assert answer.status_code == 200
    SetAsidePageDocument.model_validate_json(answer.content, strict=True)
    document: dict[str, Any] = answer.json()
    return document


def decide(client: TestClient, at: Station, do: str, wanted: dict[str, Any], **more: Any) -> Any:
    answer = ask(client, at, "POST", f"/relay/{do}", json={"filter": wanted, **more})
    assert answer.status_code == 200
    MatchedDocument.model_validate_json(answer.content, strict=True)
    return answer.json()


def problem(answer: Any, status: int) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    ProblemDocument.model_validate_json(answer.content, strict=True)
    return answer.json()


def set_aside(at: Station, number: int, reason: Reason, words: str, at_us: int) -> None:
    refused = [SetAside(number, reason, words)]
    at.change(lambda transaction: outbox.settle(transaction, [], refused, [], at_us))


class Refused:
    """What was set aside: two events of campaigns, one of none, and a customer update."""

    def __init__(self, at: Station) -> None:
        spring = {"status": "posted", "campaign_id": "spring"}
        self.spring, self.winback, self.other = (
            verdict.row_id
            for verdict in at.send(
                event({"registered": "c-1", "cookie": "u-1"}, properties=spring),
                event({"registered": "c-2"}),
                event({"registered": "c-3"}, event_type="other", properties={"a": 1}),
            )
        )
        at.send(update("c-4", city="Dresden"), form=Form.UPDATE)
        self.update = at.waiting()[-1]
        set_aside(at, self.spring, Reason.REFUSED, WORDS, T0)
        set_aside(at, self.winback, Reason.REFUSED, WORDS, T0 + MINUTE_US)
        set_aside(at, self.other, Reason.REFUSED, "No.", T0 + 2 * MINUTE_US)
        set_aside(at, self.update, Reason.UNREADABLE, "Invalid JSON", T0 + 3 * MINUTE_US)


@pytest.fixture
def refused(at: Station) -> Refused:
    return Refused(at)


# -- how it goes ----------------------------------------------------------------------------------


def test_who_has_switched_nothing_on_is_told_what_that_would_need(at: Station) -> None:
    at.change(outbox.switch_off)

    with asking_with(at, bloomreach_key_id="k") as client:
        found = status(client, at)

    assert (found["state"], found["on"], found["given"], found["waiting"]) == ("off", False, 0, 0)
    assert found["missing_settings"] == [
        f"RECEIVER_BLOOMREACH_{name}" for name in ("BASE_URL", "PROJECT_TOKEN", "SECRET")
    ]
    assert (found["problem"], found["oldest_at"], found["set_aside"]) == (
        None,
        None,
        {"commands": 0, "groups": []},
    )


def test_all_that_is_known_is_told(
    at: Station, client: TestClient, far: BloomreachInThread, clock: Clock
) -> None:
    far.trouble(poison={"bad": WORDS})
    at.take(1, 2)
    at.send(numbered(3, properties={"x": "bad"}))
    run(at.relay())
    at.send(numbered(4), at_us=clock.now_us - 2_500_000)

    found = status(client, at)
    hours = found.pop("hours")
    per_second = found.pop("per_second")

    moment = iso(clock.now_us)
    assert found == {
        "state": "relaying",
        "on": True,
        "missing_settings": [],
        "given": 4,
        "waiting": 1,
        "oldest_at": iso(clock.now_us - 2_500_000),
        "age_seconds": 2.5,
        "sent": {"total": 2, "this_hour": 2, "last_24_hours": 2},
        "sent_at": moment,
        "set_aside": {
            "commands": 1,
            "groups": [
                {
                    "reason": "refused",
                    "message": WORDS,
                    "commands": 1,
                    "first_at": moment,
                    "last_at": moment,
                }
            ],
        },
        "withdrawn": 0,
        "discarded": 0,
        "problem": None,
        "problem_since": None,
        "next_try": None,
    }
    assert per_second > 0
    assert len(hours) == 24
    counts = {"given": 4, "sent": 2, "set_aside": 1, "retried": 0, "withdrawn": 0, "discarded": 0}
    assert hours[-1] == {"hour": iso(T0 - T0 % HOUR_US), **counts}
    assert not any(any(list(each.values())[1:]) for each in hours[:-1])


def test_this_hour_and_the_day_are_told_apart(at: Station, client: TestClient, clock: Clock) -> None:
    for hours_ago, number in ((25, 1), (23, 2), (1, 3), (0, 4)):
        ids = at.take(*range(100 * number, 100 * number + number))
        at_us = clock.now_us - hours_ago * HOUR_US
        at.change(lambda each, ids=ids, at_us=at_us: outbox.settle(each, ids, [], [], at_us))  # type: ignore[misc]

    assert status(client, at)["sent"] == {"total": 10, "this_hour": 4, "last_24_hours": 9}


@pytest.mark.parametrize(
    ("trouble", "state", "problem"),
    [
        (
            {"revoked": True},
            "stopped",
            "Bloomreach says “Access key not found”; see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET.",
        ),
        ({"outage": True}, "away", "Bloomreach cannot take it now (503)."),
    ],
)
def test_what_is_wrong_is_told_and_when_it_is_tried_again(
    at: Station,
    client: TestClient,
    far: BloomreachInThread,
    clock: Clock,
    trouble: dict[str, bool],
    state: str,
    problem: str,
) -> None:
    (far.access if state == "stopped" else far.trouble)(**trouble)
    at.take(1)
    run(at.relay())

    found = status(client, at)
    assert (found["state"], found["problem"]) == (state, problem)
    assert found["problem_since"] == iso(clock.now_us)
    assert found["next_try"] == iso(at.pump().open_us)
    assert found["per_second"] is None

    clock.now_us = at.pump().open_us
    assert status(client, at)["next_try"] is None


def test_who_asks_for_no_groups_gets_none(at: Station, client: TestClient, refused: Refused) -> None:
    answer = ask(client, at, "GET", "/relay", params={"groups": "no"})

    assert answer.json()["set_aside"] == {"commands": 4}


def test_only_the_projects_own_commands_are_counted(at: Station, client: TestClient) -> None:
    set_aside(at, at.take(1)[0], Reason.REFUSED, WORDS, T0)
    at.take(2)
    with asking(at.engine) as other:
        at.project_id = at.post.rows.begin_project()
        found = status(other, at)

    assert (found["waiting"], found["given"], found["set_aside"]["commands"]) == (0, 0, 0)
    assert found["state"] == "quiet"


def test_the_sql_of_it_can_be_had(at: Station, client: TestClient, refused: Refused) -> None:
    answer = ask(client, at, "GET", "/relay", params={"show": "sql"})

    sql = answer.json()["sql"]
    assert any("outbox_hours" in each for each in sql)
    with at.engine.connect() as connection:
        for statement in sql:
            connection.exec_driver_sql(statement.replace("%", "%%"))


def test_a_sender_learns_nothing_of_it(at: Station, client: TestClient) -> None:
    for path in ("/relay", "/relay/set-aside"):
        problem(ask(client, at, "GET", path, "sender"), 403)
    problem(ask(client, at, "GET", "/relay", "tracking"), 403)


# -- what was set aside ---------------------------------------------------------------------------


def test_each_command_is_told_with_its_customer_and_the_words_about_it(
    at: Station, client: TestClient, refused: Refused
) -> None:
    of_update, _, _, of_event = aside(client, at)["data"]

    customer = at.events()[0].customer_id
    assert of_event == {
        "id": refused.spring,
        "reason": "refused",
        "message": WORDS,
        "given_at": iso(T0),
        "set_aside_at": iso(T0),
        "type": "campaign",
        "campaign": "spring",
        "status": "posted",
        "occurred_at": iso(T0 - 100 * SECOND_US),
        "customer": customer,
        "customer_ids": {"registered": "c-1", "cookie": "u-1"},
    }
    nothing = dict.fromkeys(("type", "campaign", "status", "occurred_at"))
    assert {name: of_update[name] for name in nothing} == nothing
    assert (of_update["id"], of_update["reason"]) == (refused.update, "unreadable")
    assert of_update["customer_ids"] == {"registered": "c-4"}


def test_it_is_found_by_what_it_is_and_by_when(at: Station, client: TestClient, refused: Refused) -> None:
    every = [refused.update, refused.other, refused.winback, refused.spring]

    def found(**wanted: Any) -> list[int]:
        return [each["id"] for each in aside(client, at, **wanted)["data"]]

    assert found() == every
    assert found(reason="refused") == every[1:]
    assert found(message=WORDS) == every[2:]
    assert found(type="other") == [refused.other]
    assert found(campaign="winback") == [refused.winback]
    assert found(since=iso(T0 + 2 * MINUTE_US)) == every[:2]
    assert found(until=iso(T0 + 2 * MINUTE_US)) == every[2:]
    assert found(message=WORDS, campaign="none") == []


def test_its_pages_follow_each_other(at: Station, client: TestClient, refused: Refused) -> None:
    first = aside(client, at, limit=3)
    second = aside(client, at, limit=3, cursor=first["next"])

    assert [each["id"] for each in first["data"]] == [refused.update, refused.other, refused.winback]
    assert ([each["id"] for each in second["data"]], second["next"]) == ([refused.spring], None)
    assert aside(client, at, limit=4)["next"] is None


@pytest.mark.parametrize(
    "wanted",
    [{"reason": "other"}, {"cursor": "0"}, {"limit": "0"}, {"since": "yesterday"}, {"state": "open"}],
)
def test_what_cannot_be_asked_is_said(at: Station, client: TestClient, wanted: dict[str, str]) -> None:
    found = problem(ask(client, at, "GET", "/relay/set-aside", params=wanted), 400)

    assert [each["parameter"] for each in found["errors"]] == list(wanted)


def test_only_operations_see_and_decide(at: Station, client: TestClient, refused: Refused) -> None:
    problem(ask(client, at, "GET", "/relay/set-aside", "data"), 403)
    for do in ("retry", "discard"):
        body = {"filter": {}, "dry_run": False}
        problem(ask(client, at, "POST", f"/relay/{do}", "data", json=body), 403)

    assert len(at.aside()) == 4


# -- what is decided ------------------------------------------------------------------------------


@pytest.mark.parametrize("do", ["retry", "discard"])
def test_a_dry_run_only_counts_and_it_is_one_unless_told(
    at: Station, client: TestClient, refused: Refused, do: str
) -> None:
    before = at.outbox()

    assert decide(client, at, do, {"message": WORDS}) == {"matched": 2, "dry_run": True}
    assert decide(client, at, do, {}, dry_run=True) == {"matched": 4, "dry_run": True}
    assert at.outbox() == before


def test_what_is_put_back_arrives(
    at: Station, client: TestClient, refused: Refused, far: BloomreachInThread
) -> None:
    assert decide(client, at, "retry", {"message": WORDS}, dry_run=False) == {"matched": 2, "dry_run": False}
    assert at.waiting() == [refused.spring, refused.winback]
    assert status(client, at)["set_aside"]["commands"] == 2

    run(at.relay())
    assert at.there() == [str(refused.spring), str(refused.winback)]
    assert at.books() == Books(given=4, sent=2, aside=2)
    assert decide(client, at, "retry", {"message": WORDS}, dry_run=False)["matched"] == 0


def test_what_is_discarded_never_arrives_and_our_events_stay(
    at: Station, client: TestClient, refused: Refused, far: BloomreachInThread
) -> None:
    assert decide(client, at, "discard", {"type": "other"}, dry_run=False)["matched"] == 1

    run(at.relay())
    found = status(client, at)
    assert (found["set_aside"]["commands"], found["discarded"], at.there()) == (3, 1, [])
    assert len(at.here()) == 3
    at.books()


def test_what_another_project_has_set_aside_is_not_touched(
    at: Station, client: TestClient, refused: Refused
) -> None:
    with asking(at.engine) as other:
        at.project_id = at.post.rows.begin_project()
        assert aside(other, at)["data"] == []
        for do in ("retry", "discard"):
            assert decide(other, at, do, {}, dry_run=False)["matched"] == 0

    assert len(at.aside()) == 4


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/filter"),
        ({"filter": {"state": "open"}}, "/filter/state"),
        ({"filter": {"reason": 7}}, "/filter/reason"),
        ({"filter": {}, "dry_run": "no"}, "/dry_run"),
        ({"filter": {}, "note": "x"}, "/note"),
    ],
)
def test_a_body_that_says_something_else_does_nothing(
    at: Station, client: TestClient, refused: Refused, body: dict[str, Any], pointer: str
) -> None:
    found = problem(ask(client, at, "POST", "/relay/discard", json=body), 400)

    assert [each["pointer"] for each in found["errors"]] == [pointer]
    assert len(at.aside()) == 4
