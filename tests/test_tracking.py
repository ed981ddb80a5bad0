"""What senders of callbacks are answered: the shapes and texts of wire-facts 1.5 and 1.6, word by word."""

import asyncio
import gzip
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from starlette.types import Message
from structlog.testing import capture_logs

from receiver.domain.commands import Reason
from receiver.inbound.writer import Writer
from receiver.store.tables import events, rejections
from tests.rows import locked
from tests.serving_app import FLAT, HANGS_UP, Answer, Sender, encoded, in_parts, serving

EVENT = "customers/events"
UPDATE = "customers"
BATCH = "batch"
TIME = "system/time"
ROUTES = (EVENT, UPDATE, BATCH, FLAT, TIME)

DONE = {"success": True, "errors": []}
NO_ID = "At least one id should be specified."
NO_VALID_ID = "At least one valid id should be specified"
INVALID_ID = "Invalid customer_id"


@pytest.fixture(scope="module")
def sender(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sender]:
    """For answers in which the database has no part: one service for all of them."""
    path = tmp_path_factory.mktemp("tracking") / "receiver.db"
    shutil.copyfile(migrated_sqlite, path)
    with serving(f"sqlite:///{path}") as sender:
        yield sender


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """For services with settings of their own."""
    shutil.copyfile(migrated_sqlite, tmp_path / "receiver.db")
    return f"sqlite:///{tmp_path}/receiver.db"


def event(ids: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """An event as wire-facts 7 expects it; *members* replace its own."""
    return {
        "customer_ids": {"registered": "c-1001"} if ids is None else ids,
        "event_type": "campaign",
        "timestamp": 1_760_000_000,
        "properties": {"action_type": "direct mail", "status": "delivered"},
    } | members


def update(**members: Any) -> dict[str, Any]:
    return {"customer_ids": {"registered": "c-1001"}, "properties": {"city": "Dresden"}} | members


def command(data: object, name: str = "customers/events", **members: Any) -> dict[str, Any]:
    return {"name": name, "data": data} | members


def results(sender: Sender, *commands: object) -> list[dict[str, Any]]:
    answer = sender.send(BATCH, {"commands": commands})
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


# -- what is taken --------------------------------------------------------------------------------

TAKEN: dict[str, tuple[str, object]] = {
    "event": (EVENT, event({"registered": "c-1001", "cookie": "9b2f6c1e-0c1a-4a53-9a0e-0b7d1f0f9d11"})),
    "update": (UPDATE, update()),
    "update with a time": (UPDATE, update(update_timestamp=1_760_000_000.25)),
    "event without a time": (EVENT, {"customer_ids": {"registered": "x"}, "event_type": "campaign"}),
    "nulls of the Python SDK": (EVENT, event(timestamp=None, properties=None)),
    "age of the Android SDK": (EVENT, event(timestamp=None, age=0.12)),
    "number as ID": (EVENT, event({"registered": 4711})),
    "ISO 8601": (EVENT, event(timestamp="2025-10-09T08:53:20Z")),
}


@pytest.mark.parametrize(("route", "body"), TAKEN.values(), ids=TAKEN.keys())
def test_a_single_call_is_answered_with_success_and_an_empty_list_of_errors(
    sender: Sender, route: str, body: object
) -> None:
    answer = sender.send(route, body)

    assert (answer.status_code, answer.json()) == (200, DONE)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_repeat_is_answered_like_the_first_time(sender: Sender) -> None:
    once = event({"registered": "twice"})

    assert [sender.send(EVENT, once).json() for _ in range(2)] == [DONE, DONE]
    assert results(sender, command(once), command(once)) == [{"success": True}] * 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_time_is_told_in_seconds(sender: Sender, method: str) -> None:
    before = time.time()

    answer = sender.send(TIME, b"", method=method)

    document = answer.json()
    assert answer.status_code == 200
    assert before - 0.001 <= document.pop("time") <= time.time()
    assert document == DONE


# -- what is refused alone ------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, object, str | None, Reason, str]] = {
    "no IDs": (EVENT, event({}), NO_ID, Reason.NO_CUSTOMER_IDS, "/customer_ids"),
    "no IDs of an update": (
        UPDATE,
        update(customer_ids=None),
        NO_ID,
        Reason.NO_CUSTOMER_IDS,
        "/customer_ids",
    ),
    "empty ID": (
        EVENT,
        event({"registered": " ", "cookie": "u1"}),
        NO_VALID_ID,
        Reason.EMPTY_CUSTOMER_ID,
        "/customer_ids/registered",
    ),
    "ID null": (
        EVENT,
        event({"cookie": None}),
        NO_VALID_ID,
        Reason.EMPTY_CUSTOMER_ID,
        "/customer_ids/cookie",
    ),
    "ID as the word undefined": (
        EVENT,
        event({"registered": "undefined"}),
        NO_VALID_ID,
        Reason.PLACEHOLDER_CUSTOMER_ID,
        "/customer_ids/registered",
    ),
    "ID as an unfilled template": (
        EVENT,
        event({"registered": "{{ customer_ids.registered }}"}),
        NO_VALID_ID,
        Reason.PLACEHOLDER_CUSTOMER_ID,
        "/customer_ids/registered",
    ),
    "ID without letter or digit": (
        EVENT,
        event({"registered": "--"}),
        NO_VALID_ID,
        Reason.UNUSABLE_CUSTOMER_ID,
        "/customer_ids/registered",
    ),
    "ID type that is not configured": (
        EVENT,
        event({"email_id": "x"}),
        INVALID_ID,
        Reason.UNKNOWN_ID_TYPE,
        "/customer_ids/email_id",
    ),
    "no JSON": (EVENT, b'{"customer_ids":', "Invalid JSON", Reason.MALFORMED_JSON, ""),
    "no body": (UPDATE, b"", "Invalid JSON", Reason.MALFORMED_JSON, ""),
    "gzip": (EVENT, gzip.compress(encoded(event()), mtime=0), "Invalid JSON", Reason.MALFORMED_JSON, ""),
    "list instead of an event": (EVENT, [event()], None, Reason.COMMAND_NOT_AN_OBJECT, ""),
    "update without properties": (UPDATE, update(properties={}), None, Reason.MISSING_FIELD, "/properties"),
    "properties as text": (EVENT, event(properties="x"), None, Reason.WRONG_TYPE, "/properties"),
    "no event type": (EVENT, event(event_type=""), None, Reason.MISSING_EVENT_TYPE, "/event_type"),
    "a time that is none": (EVENT, event(timestamp="soon"), None, Reason.INVALID_TIMESTAMP, "/timestamp"),
    "milliseconds": (
        EVENT,
        event(timestamp=1_760_000_000_000),
        None,
        Reason.TIMESTAMP_IN_MILLISECONDS,
        "/timestamp",
    ),
    "before 2000": (
        UPDATE,
        update(update_timestamp=0),
        None,
        Reason.TIMESTAMP_OUT_OF_RANGE,
        "/update_timestamp",
    ),
    "16 KiB and a byte": (
        EVENT,
        event(properties={"note": "x" * (16 * 1024 + 1)}),
        None,
        Reason.PROPERTY_TOO_LARGE,
        "/properties/note",
    ),
    "800 KB and more": (
        EVENT,
        event(properties={f"note {n}": "x" * 16_000 for n in range(50)}),
        None,
        Reason.EVENT_TOO_LARGE,
        "",
    ),
    "NUL": (EVENT, event(properties={"note": "\0"}), None, Reason.UNSTORABLE_TEXT, "/properties/note"),
}


@pytest.mark.parametrize(
    ("route", "body", "vendors", "reason", "pointer"), REFUSED.values(), ids=REFUSED.keys()
)
def test_a_refused_single_call_lists_the_vendors_text_first_and_then_where_and_why(
    sender: Sender, route: str, body: object, vendors: str | None, reason: Reason, pointer: str
) -> None:
    answer = sender.send(route, body)

    document = answer.json()
    assert (answer.status_code, document["success"]) == (400, False)
    assert set(document) == {"success", "errors"}
    *first, ours = document["errors"]
    assert first == ([] if vendors is None else [vendors])
    assert ours.startswith(f"{reason} at {pointer or 'the command itself'}: ")
    assert ours.endswith(".")


NOT_OF_A_SINGLE_CALL = {
    Reason.NOT_A_BATCH,
    Reason.NO_COMMANDS,
    Reason.TOO_MANY_COMMANDS,
    Reason.UNKNOWN_COMMAND,
    Reason.UNKNOWN_CUSTOMER,  # below, as it needs a setting
    Reason.REFUSED_BY_DATABASE,  # in test_ingest.py, as it needs a broken database
}


def test_every_reason_has_a_worked_case() -> None:
    assert {reason for *_, reason, _ in REFUSED.values()} | NOT_OF_A_SINGLE_CALL == set(Reason)


def test_somebody_who_is_not_known_is_refused_where_nobody_is_created(sqlite_url: str) -> None:
    with serving(sqlite_url, unknown_customers="reject") as sender:
        answer = sender.send(EVENT, event({"registered": "nobody"}))

    assert answer.status_code == 400
    first, ours = answer.json()["errors"]
    assert (first, ours.partition(":")[0]) == (INVALID_ID, "unknown_customer at /customer_ids")


@pytest.mark.parametrize("route", [EVENT, UPDATE])
def test_a_sender_that_takes_4xx_for_final_can_be_answered_with_200(sqlite_url: str, route: str) -> None:
    with serving(sqlite_url, reject_status=200) as sender:
        answer = sender.send(route, {"customer_ids": {}})
        whole = sender.send(BATCH, {"commands": []})

    assert (answer.status_code, answer.json()["success"], answer.json()["errors"][0]) == (200, False, NO_ID)
    # Only single calls: the vendor refuses a whole batch with 400 in every version of its pages.
    assert whole.status_code == 400


# -- batches --------------------------------------------------------------------------------------


def test_a_batch_is_answered_in_the_order_of_its_commands(sender: Sender) -> None:
    good, bad = event({"registered": "order"}), event({"registered": ""})

    found = results(
        sender, command(good), command(bad), None, command(update(), "customers"), command(good, "nonsense")
    )

    assert [each["success"] for each in found] == [True, False, False, True, False]
    assert found[0] == found[3] == {"success": True}
    assert [each["errors"][-1].partition(":")[0] for each in (found[1], found[2], found[4])] == [
        "empty_customer_id at /customer_ids/registered",
        "command_not_an_object at the command itself",
        "unknown_command at the command itself",
    ]
    assert found[1]["errors"][0] == NO_VALID_ID


def test_a_batch_stays_a_success_with_status_200_though_all_its_commands_are_refused(sender: Sender) -> None:
    answer = sender.send(BATCH, {"commands": [command({}), 7, "x"]})

    document = answer.json()
    assert (answer.status_code, document["success"]) == (200, True)
    assert set(document) == {"success", "results", "start_time", "end_time"}
    assert [set(each) for each in document["results"]] == [{"success", "errors"}] * 3


def test_the_times_of_a_batch_are_seconds_around_its_work(sender: Sender) -> None:
    before = time.time()

    document = sender.send(BATCH, {"commands": [command(event())]}).json()

    assert before - 0.001 <= document["start_time"] <= document["end_time"] <= time.time() + 0.001


@pytest.mark.parametrize("command_id", ["opt-1", "", 'ä\\"\n', "\U0001f4ee", 7, 0, -1, 10**30])
def test_a_command_id_comes_back_as_it_was_sent_whatever_became_of_the_command(
    sender: Sender, command_id: str | int
) -> None:
    good, bad = event({"registered": "echo"}), event({})

    found = results(
        sender,
        command(good, command_id=command_id),
        command(bad, command_id=command_id),
        {"name": "nonsense", "command_id": command_id},
        {"name": TIME, "command_id": command_id},
    )

    assert [each["command_id"] for each in found] == [command_id] * 4
    assert [type(each["command_id"]) for each in found] == [type(command_id)] * 4


@pytest.mark.parametrize("command_id", [None, True, 1.5, ["a"], {"a": 1}, "\ud800"])
def test_what_is_neither_text_nor_whole_number_is_no_command_id(sender: Sender, command_id: object) -> None:
    (found,) = results(sender, command(event(), command_id=command_id))

    assert found == {"success": True}


def test_the_time_within_a_batch_is_told_beside_the_others(sender: Sender) -> None:
    before = time.time()

    first, second, third = results(
        sender, {"name": TIME}, command(event()), {"name": TIME, "command_id": "t"}
    )

    assert before <= first.pop("time") <= third.pop("time") <= time.time()
    assert (first, second, third) == (
        {"success": True},
        {"success": True},
        {"success": True, "command_id": "t"},
    )


def test_a_batch_that_only_asks_for_the_time_is_answered(sender: Sender) -> None:
    (found,) = results(sender, {"name": TIME})

    assert set(found) == {"success", "time"}


WHOLE: dict[str, tuple[str, object, str]] = {
    "no commands": (BATCH, {}, "No commands"),
    "commands null": (BATCH, {"commands": None}, "No commands"),
    "commands empty": (BATCH, {"commands": []}, "No commands"),
    "commands as an object": (BATCH, {"commands": {}}, "Invalid JSON"),
    "a list": (BATCH, [command(event())], "Invalid JSON"),
    "cut off": (BATCH, b'{"commands": [', "Invalid JSON"),
    "no body": (BATCH, b"", "Invalid JSON"),
    "Latin-1": (BATCH, b'{"commands": ["\xfc"]}', "Invalid JSON"),
    "gzip": (BATCH, gzip.compress(b"{}", mtime=0), "Invalid JSON"),
    "51": (BATCH, {"commands": [None] * 51}, "There are over 50 commands; send them in several batches."),
    "flat empty list": (FLAT, [], "No commands"),
    "flat text": (FLAT, '"x"', "Invalid JSON"),
    "flat null": (FLAT, b"null", "Invalid JSON"),
    "flat cut off": (FLAT, b'[{"individualisation1": "x"', "Invalid JSON"),
}


@pytest.mark.parametrize(("route", "body", "message"), WHOLE.values(), ids=WHOLE.keys())
def test_what_is_no_batch_is_refused_whole_with_a_message(
    sender: Sender, route: str, body: object, message: str
) -> None:
    answer = sender.send(route, body)

    assert (answer.status_code, answer.json()) == (400, {"success": False, "message": message})


def test_fifty_commands_are_not_too_many_nor_is_any_number_that_is_set(
    sqlite_url: str, sender: Sender
) -> None:
    assert len(results(sender, *[None] * 50)) == 50
    with serving(sqlite_url, max_commands=2) as other:
        statuses = [other.send(BATCH, {"commands": [None] * n}).status_code for n in (2, 3)]

    assert statuses == [200, 400]


# -- the flat form --------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["individualisation", "individualization"])
def test_the_flat_form_is_read_in_either_spelling(sqlite_url: str, spelling: str) -> None:
    callback = {f"{spelling}{n}": value for n, value in enumerate(("c-1", "k-1", "spring"), 1)}

    with serving(sqlite_url) as sender:
        answer = sender.send(FLAT, callback | {"status": "printed", "timestamp": 1_760_000_000})
        found = rows(sender.engine, select(events.c.type, events.c.ids, events.c.campaign, events.c.stage))

    assert answer.json()["results"] == [{"success": True}]
    assert found == [("campaign", '{"registered":"c-1","cookie":"k-1"}', "spring", "printing")]


def test_the_flat_form_is_answered_like_a_batch_also_for_one_object(sender: Sender) -> None:
    for sent, expected in (
        ({"individualisation1": "x"}, [True]),
        ([{"individualisation1": "x"}, 7], [True, False]),
    ):
        answer = sender.send(FLAT, sent)

        document = answer.json()
        assert (answer.status_code, document["success"]) == (200, True)
        assert set(document) == {"success", "results", "start_time", "end_time"}
        assert [each["success"] for each in document["results"]] == expected


def test_a_refused_flat_object_is_pointed_at_as_it_was_spelt(sender: Sender) -> None:
    answer = sender.send(FLAT, {"individualization1": "", "individualisation2": "k"})

    (refused,) = answer.json()["results"]
    first, ours = refused["errors"]
    assert (first, ours.partition(":")[0]) == (NO_VALID_ID, "empty_customer_id at /individualization1")


def test_a_flat_list_may_have_more_than_fifty_entries_and_be_large(sender: Sender) -> None:
    sent = [{"individualisation1": f"many-{n}", "note": "x" * 200} for n in range(700)]

    answer = sender.send(FLAT, sent)

    assert [each["success"] for each in answer.json()["results"]] == [True] * 700


# -- who calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES)
def test_who_may_not_send_is_told_why_in_error(sender: Sender, route: str) -> None:
    path, key = sender.path(route), sender.authorization()
    nobody = path.replace(sender.project.token, "00000000-0000-4000-8000-000000000000")
    cases = [
        (path, None, 401, "Access key not provided"),
        (path, "Bearer x", 401, "Access key not provided"),
        (path, "Token x", 401, "access key not found"),
        (path, "Basic eDp5", 401, "access key not found"),
        (path, _with_another_secret(key), 403, "invalid secret"),
        (path.replace(sender.project.token, "nonsense"), key, 400, "Invalid project id"),
        (nobody, key, 400, "Could not authenticate"),
    ]
    for url, authorization, status, error in cases:
        headers = {} if authorization is None else {"authorization": authorization}

        answer = sender.client.post(url, content=b"not looked at", headers=headers)

        assert (answer.status_code, answer.json()) == (status, {"success": False, "error": error})


def _with_another_secret(authorization: str) -> str:
    return authorization[:-8] + "AAAA" + authorization[-4:]


@pytest.mark.parametrize("role", ["data", "ops", "sender"])
def test_a_key_of_another_role_may_not_send(sender: Sender, role: str) -> None:
    answer = sender.send(EVENT, event(), role=role)

    assert (answer.status_code, set(answer.json())) == (403, {"success", "error"})
    assert "tracking" in answer.json()["error"]


def test_a_public_token_may_send_from_the_header_and_from_the_query(sender: Sender) -> None:
    public = sender.project.public_token
    ways: list[dict[str, Any]] = [
        {"headers": {"authorization": f"Token {public}"}},
        {"params": {"access_token": public}},
        {"params": {"x": "a&b", "access_token": public}},
        {"headers": {"authorization": sender.authorization().replace("Basic", "bASIC")}},
    ]

    answers = [sender.client.post(sender.path(EVENT), json=event(), **way) for way in ways]

    assert [answer.status_code for answer in answers] == [200] * len(ways)


@pytest.mark.parametrize("token", ["", "nonsense", "%", "%ff", "a" * 10_000])
def test_a_public_token_that_is_none_is_refused(sender: Sender, token: str) -> None:
    answer = sender.client.post(f"{sender.path(EVENT)}?access_token={token}", json=event())

    expected = "access key not found" if token else "Access key not provided"
    assert (answer.status_code, answer.json()["error"]) == (401, expected)


# -- other methods and paths ----------------------------------------------------------------------


METHODS = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW")


@pytest.mark.parametrize(
    ("method", "route"), [(m, r) for m in METHODS for r in ROUTES if (m, r) != ("GET", TIME)]
)
def test_other_methods_are_refused_before_anything_else(sender: Sender, method: str, route: str) -> None:
    answer = sender.client.request(method, sender.path(route))

    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]
    if method != "HEAD":
        assert answer.json() == {
            "success": False,
            "errors": {"code": 405, "description": "The method is not allowed for the requested URL."},
        }


def test_the_methods_that_may_ask_for_the_time_are_both_named(sender: Sender) -> None:
    answer = sender.client.put(sender.path(TIME))

    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize(
    "path",
    [
        "/track/{token}/batch",
        "/track/v2/projects/{token}",
        "/track/v2/projects/{token}/",
        "/track/v2/projects/{token}/batch/",
        "/track/v2/projects/{token}/Batch",
        "/track/v2/projects/{token}/customers/",
        "/track/v2/projects/{token}/customers/events/x",
        "/track/v2/projects/{token}/campaigns/clicks",
        "/track/v2/projects/{token}/callbacks",
        "/optilyz/v1/projects/{token}/batch",
        "/optilyz/v1/projects/{token}/callbacks/",
    ],
)
def test_other_paths_are_refused_in_the_vendors_shape(sender: Sender, path: str) -> None:
    answer = sender.client.post(path.format(token=sender.project.token), json=event())

    document = answer.json()
    assert (answer.status_code, document["success"], document["errors"]["code"]) == (404, False, 404)
    assert document["errors"]["description"]


# -- bodies ---------------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_turned_away_unread_where_its_length_is_announced(sqlite_url: str) -> None:
    async def receive() -> Message:
        raise AssertionError("read all the same")

    with serving(sqlite_url, max_body_bytes=1000) as sender:
        answer = sender.raw(BATCH, receive, (b"content-length", b"1001"))
        at_the_limit = sender.send(BATCH, b" " * 1000)

    _assert_turned_away(answer, 413)
    assert answer is not None
    assert answer.headers[b"connection"] == b"close"
    assert at_the_limit.json() == {"success": False, "message": "Invalid JSON"}


def test_a_body_over_the_limit_is_turned_away_in_chunks_too(sqlite_url: str) -> None:
    with serving(sqlite_url, max_body_bytes=1000) as sender:
        answer = sender.raw(BATCH, in_parts([b" " * 400] * 3))

    _assert_turned_away(answer, 413)


def test_a_body_in_chunks_is_put_together(sender: Sender) -> None:
    body = encoded(event({"registered": "chunks"}))

    answer = sender.raw(EVENT, in_parts([body[n : n + 7] for n in range(0, len(body), 7)]))

    assert answer is not None
    assert (answer.status, answer.document) == (200, DONE)


def test_a_body_that_does_not_come_in_time_is_answered_408(sqlite_url: str) -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("waited for ever")

    with serving(sqlite_url, body_seconds=0.05) as sender:
        answer = sender.raw(EVENT, receive)

    _assert_turned_away(answer, 408)
    assert answer is not None
    assert answer.headers[b"connection"] == b"close"


def test_a_sender_that_has_hung_up_is_not_answered_and_leaves_nothing(sqlite_url: str) -> None:
    body = encoded(event({"registered": "gone"}))

    with serving(sqlite_url) as sender:
        answer = sender.raw(EVENT, in_parts([body], HANGS_UP))
        kept = _counted(sender.engine)

    assert answer is None
    assert kept == (0, 0)


@pytest.mark.parametrize("settings", [{"held_bytes": 10}, {"queue_bytes": 10}], ids=str)
def test_when_too_much_comes_in_at_once_the_sender_shall_come_again(
    sqlite_url: str, settings: dict[str, int]
) -> None:
    body = encoded(event({"registered": "busy"}))

    with serving(sqlite_url, **settings) as sender:
        answer = sender.raw(EVENT, in_parts([body[:50], body[50:]]))
        kept = _counted(sender.engine)

    _assert_turned_away(answer, 503)
    assert kept == (0, 0)


def _assert_turned_away(answer: Answer | None, status: int) -> None:
    assert answer is not None
    assert (answer.status, answer.document["success"]) == (status, False)
    assert set(answer.document) == {"success", "error"}
    assert answer.document["error"].endswith(".")
    assert answer.headers[b"content-type"] == b"application/json"
    assert answer.headers.get(b"retry-after", b"").isdigit() is (status == 503)


# -- what is kept ---------------------------------------------------------------------------------


def rows(engine: Engine, query: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def _counted(engine: Engine) -> tuple[int, int]:
    """Events and rejections."""
    counts = [rows(engine, select(func.count()).select_from(table))[0][0] for table in (events, rejections)]
    return counts[0], counts[1]


def test_what_was_answered_with_success_is_there_for_everybody(database_url: str) -> None:
    with serving(database_url) as sender:
        assert sender.send(EVENT, event({"registered": "a"})).status_code == 200
        assert _counted(sender.engine) == (1, 0)
        results(
            sender,
            command(event({"registered": "b"})),
            command(event({})),
            command(event({"registered": "c"})),
        )
        assert _counted(sender.engine) == (3, 1)


def test_what_is_refused_is_kept_as_it_came_with_its_headers_but_no_credentials(database_url: str) -> None:
    credentials = {"cookie": "session=SECRET-1", "proxy-authorization": "Basic SECRET-2"}
    slice_of_it = b'{"name":  "customers/events", "data": {"customer_ids": {"shoe": 1}}}'

    with serving(database_url) as sender:
        headers = {"authorization": sender.authorization(), "x-sent-by": "optilyz", **credentials}
        body = b'{"commands": [ %b ]}' % slice_of_it
        assert sender.client.post(sender.path(BATCH), content=body, headers=headers).status_code == 200
        ((kept, kept_headers),) = rows(sender.engine, select(rejections.c.body, rejections.c.headers))
        secret = sender.authorization().partition(" ")[2]

    assert kept == slice_of_it
    assert ["x-sent-by", "optilyz"] in json.loads(kept_headers)
    assert not {name for name, _ in json.loads(kept_headers)} & {"authorization", *credentials}
    assert "SECRET" not in kept_headers
    assert secret not in kept_headers


def test_a_token_of_the_query_is_kept_nowhere(database_url: str) -> None:
    with serving(database_url) as sender:
        path, public = sender.path(EVENT), sender.project.public_token
        assert public is not None
        assert sender.client.post(f"{path}?access_token={public}", content=b"{").status_code == 400
        (kept,) = rows(sender.engine, select(rejections))

    assert not any(public in str(value) for value in kept)


@pytest.mark.parametrize("route", [EVENT, UPDATE, BATCH, FLAT])
def test_what_could_not_be_stored_is_answered_503_and_may_come_again(database_url: str, route: str) -> None:
    body = {
        EVENT: event(),
        UPDATE: update(update_timestamp=1_760_000_000),
        BATCH: {"commands": [command(event()), command({})]},
        FLAT: {"individualisation1": "x", "timestamp": 1_760_000_000},
    }[route]

    with serving(database_url, database_seconds=0.2) as sender:
        with locked(database_url):
            answer = sender.send(route, body)
        again = sender.send(route, body)
        kept = _counted(sender.engine)

    assert (answer.status_code, set(answer.json())) == (503, {"success", "error"})
    assert answer.headers["retry-after"].isdigit()
    assert again.status_code == 200
    assert kept == {EVENT: (1, 0), UPDATE: (0, 0), BATCH: (1, 1), FLAT: (1, 0)}[route]


def test_who_is_refused_is_refused_though_nothing_can_be_stored(database_url: str) -> None:
    with serving(database_url, database_seconds=0.2) as sender, locked(database_url):
        answer = sender.client.post(sender.path(EVENT), json=event())
        clock = sender.send(TIME, b"", method="GET")

    assert (answer.status_code, clock.status_code) == (401, 200)


def test_a_row_that_the_database_refuses_is_told_in_its_place(sqlite_url: str) -> None:
    with serving(sqlite_url) as sender:
        with sender.engine.execution_options(writes=True).begin() as connection:
            connection.execute(
                text(
                    "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.type = 'poison'"
                    " BEGIN SELECT RAISE(ABORT, 'SECRET'); END"
                )
            )
        first, second = results(sender, command(event(event_type="poison"), command_id="p"), command(event()))

    assert (first["success"], first["command_id"], second) == (False, "p", {"success": True})
    (said,) = first["errors"]
    assert said.startswith("refused_by_database at the command itself: ")
    assert "SECRET" not in said


def test_a_mistake_of_ours_is_answered_in_shape_and_logged_without_what_was_sent(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistake(*_: object) -> None:
        raise KeyError("SECRET")

    monkeypatch.setattr(Writer, "keep", mistake)

    with capture_logs() as logs:
        answer = sender.send(EVENT, event({"registered": "SECRET"}))

    assert answer.status_code == 500
    assert answer.json()["errors"]["code"] == 500
    assert [log["event"] for log in logs] == ["request_failed"]
    assert "SECRET" not in f"{answer.text} {logs}"
