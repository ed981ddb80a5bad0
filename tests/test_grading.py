"""What would become of a body, told before it is sent: the same as when it is sent."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.domain.commands import Form, Reason, Rejection, Rules
from receiver.domain.exact_json import entry_spans
from receiver.domain.grading import Graded, Grades, Worth, grade
from receiver.store.tables import metadata
from receiver.web.grading import FORMS, GradesDocument
from tests.serving_app import FLAT, Sender, serving
from tests.visiting import unchanged

NOW_US = 1_760_000_100_000_000
GOOD = {
    "customer_ids": {"registered": "c-1"},
    "event_type": "campaign",
    "timestamp": 1_760_000_000,
    "properties": {"status": "delivered", "campaign_id": "winback"},
}
EMPTY = {**GOOD, "customer_ids": {"registered": ""}}
ROUTES = {"callbacks": FLAT}


def graded(form: Form, body: object, *, most: int = 100, **rules: Any) -> Grades:
    text = body if isinstance(body, str) else json.dumps(body)
    return grade(form, text.encode(), Rules(**rules), NOW_US, most=most)


def batch(*events: object) -> dict[str, object]:
    return {"commands": [{"name": "customers/events", "data": each} for each in events]}


def marked(body: str, command: Graded) -> str:
    assert command.place is not None
    return body[command.place.start : command.place.end]


def codes(command: Graded) -> list[str]:
    return [remark.code.value for remark in command.remarks]


def remarks(event: dict[str, Any], **rules: Any) -> list[str]:
    (command,) = graded(Form.EVENT, event, **rules).commands
    assert not isinstance(command.outcome, Rejection)
    return codes(command)


# -- verdicts -------------------------------------------------------------------------------------


def test_each_command_of_a_batch_gets_its_own_verdict() -> None:
    found = graded(Form.BATCH, {"commands": [*batch(GOOD, EMPTY)["commands"], {"name": "system/time"}]})  # type: ignore[misc]  # a list

    assert [type(each.outcome).__name__ for each in found.commands] == ["Event", "Rejection", "SystemTime"]
    assert [each.number for each in found.commands] == [1, 2, 3]
    assert (found.accepted, found.rejected, found.whole) == (1, 1, False)


@pytest.mark.parametrize(
    ("form", "body", "reason"),
    [
        (Form.BATCH, "{", Reason.MALFORMED_JSON),
        (Form.BATCH, {"commands": []}, Reason.NO_COMMANDS),
        (Form.BATCH, batch(*[GOOD] * 51), Reason.TOO_MANY_COMMANDS),
        (Form.FLAT, [], Reason.NO_COMMANDS),
        (Form.FLAT, 1, Reason.NOT_A_BATCH),
    ],
)
def test_a_body_that_is_refused_as_a_whole_is_one_rejection(form: Form, body: object, reason: Reason) -> None:
    found = graded(form, body)

    (command,) = found.commands
    assert isinstance(command.outcome, Rejection)
    assert (command.outcome.reason, found.whole, found.rejected) == (reason, True, 1)


def test_one_event_that_is_refused_is_no_whole_batch() -> None:
    assert graded(Form.EVENT, "{").whole is False


def test_a_long_list_is_counted_to_its_end_and_told_at_its_beginning() -> None:
    item = {"individualisation1": "c-1", "individualisation3": "w", "status": "posted"}

    found = graded(Form.FLAT, [item, {**item, "individualisation1": ""}] * 500, most=3)

    assert (found.accepted, found.rejected, len(found.commands)) == (500, 500, 3)


# -- where it fails -------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "\ufeff"])
def test_a_place_is_counted_in_the_whole_body(prefix: str) -> None:
    first = '{"name": "customers/events", "data": {"customer_ids": {"registered": "é😀"}, "event_type": "x"}}'
    second = '{"name":"customers/events","data":{"customer_ids":{"registered": "" },"event_type":"x"}}'
    body = f'{prefix}{{"commands": [1], "commands": [\n  {first},\n  {second},\n 7 ]\n}}'

    _, empty, seven = graded(Form.BATCH, body).commands

    assert (marked(body, empty), marked(body, seven)) == ('""', "7")
    assert empty.place is not None
    assert (empty.place.line, empty.place.column) == (3, 3 + second.index('""'))


def test_what_is_missing_is_placed_in_what_should_hold_it() -> None:
    body = json.dumps([{"individualisation1": "c-1"}, {"status": "posted"}])

    found = graded(Form.FLAT, body).commands[1]

    assert marked(body, found) == '{"status": "posted"}'
    assert found.place is not None
    assert found.place.missing


def test_bytes_that_are_no_json_are_placed_where_they_cease_to_be() -> None:
    body = '{"commands": [1,]}'

    (found,) = graded(Form.BATCH, body).commands

    assert marked(body, found) == "]"


@given(st.lists(st.sampled_from([GOOD, EMPTY, None, 1, "", [], {}]), min_size=1, max_size=8), st.booleans())
def test_every_place_lies_within_its_own_command(commands: list[Any], spaced: bool) -> None:
    body = json.dumps(commands, indent=1 if spaced else None)

    found = graded(Form.FLAT, body)

    for each, (begin, end) in zip(found.commands, entry_spans(body), strict=True):
        if isinstance(each.outcome, Rejection):
            assert each.place is not None
            assert begin <= each.place.start < each.place.end <= end
        else:
            assert each.place is None


# -- what is worth knowing ------------------------------------------------------------------------


def test_of_a_good_event_nothing_is_worth_knowing() -> None:
    assert remarks(GOOD) == []


@pytest.mark.parametrize(
    ("changed", "rules", "code"),
    [
        ({"timestamp": None}, {}, Worth.NO_TIME),
        ({"timestamp": "2025-10-09T10:55:00"}, {}, Worth.TIME_AHEAD),
        ({"properties": {"campaign_id": "w"}}, {}, Worth.NO_STATUS),
        ({"properties": {"campaign_id": "w", "status": "Zugestellt"}}, {}, Worth.UNKNOWN_STATUS),
        ({"properties": {"status": "posted"}}, {}, Worth.NO_CAMPAIGN),
        ({"customer_ids": {"registered": "c-1", "cookie": ""}}, {"empty_ids": "drop"}, Worth.IDS_LEFT_OUT),
    ],
)
def test_what_is_accepted_may_still_be_worth_a_remark(
    changed: dict[str, Any], rules: dict[str, Any], code: Worth
) -> None:
    assert remarks({**GOOD, **changed}, **rules) == [code]


def test_a_word_that_the_operator_has_explained_is_no_unknown_one() -> None:
    event = {**GOOD, "properties": {"campaign_id": "w", "status": "Archived"}}

    assert remarks(event, stage_words={"archived": "unknown"}) == []


def test_an_event_that_is_of_no_letter_needs_no_status_and_no_campaign() -> None:
    assert remarks({**GOOD, "event_type": "visit", "properties": {}}) == []


def test_a_number_from_which_nothing_is_read_is_named() -> None:
    item = {
        "individualisation1": "c-1",
        "individualisation3": "w",
        "individualization9": "x",
        "status": "posted",
    }

    (command,) = graded(Form.FLAT, item | {"timestamp": 1_760_000_000}).commands

    (remark,) = command.remarks
    assert remark.code is Worth.UNUSED_INDIVIDUALISATION
    assert remark.detail.startswith("individualization9:")


def test_a_repeat_within_the_body_names_the_first_one() -> None:
    update = {
        "name": "customers",
        "data": {"customer_ids": {"registered": "c"}, "properties": {"a": 1}, "update_timestamp": 5e8 * 3},
    }
    first, other, second, *updates = graded(
        Form.BATCH,
        {"commands": [*batch(GOOD, {**GOOD, "timestamp": 1_760_000_001}, GOOD)["commands"], update, update]},  # type: ignore[misc]  # a list
    ).commands

    assert [codes(each) for each in (first, other, second)] == [[], [], [Worth.REPEATED]]
    assert "number 1" in second.remarks[0].detail
    assert [codes(each) for each in updates] == [[], [Worth.REPEATED]]


@pytest.mark.parametrize("code", Worth)
def test_every_remark_is_explained(code: Worth) -> None:
    operations = Path(__file__).parent.parent / "docs/operations.md"

    assert f"| `{code}` |" in operations.read_text()


# -- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture
def sender(database_url: str) -> Iterator[Sender]:
    with serving(database_url, max_body_bytes=100_000) as sender:
        yield sender


def ask(sender: Sender, route: str, body: object, role: str = "tracking", **more: Any) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    url = f"/v1/projects/{sender.project.token}/grade"
    headers = {"authorization": sender.authorization(role)}
    return sender.client.post(url, json={"route": route, "body": text, **more}, headers=headers)


BODIES = [
    ("batch", batch(GOOD, EMPTY, None)),
    ("batch", batch(GOOD)),
    ("batch", {"commands": []}),
    ("batch", "["),
    ("customers/events", GOOD),
    ("customers/events", EMPTY),
    ("customers", {"customer_ids": {"registered": "c"}, "properties": {"a": 1}}),
    ("customers", {"customer_ids": {"registered": "c"}, "properties": {}}),
    ("callbacks", [{"individualisation1": "c", "status": "posted"}, {"individualisation1": ""}]),
    ("callbacks", {"individualisation1": ""}),
    ("callbacks", []),
]


@pytest.mark.parametrize(("route", "body"), BODIES)
def test_the_grade_is_what_the_sender_hears_then(sender: Sender, route: str, body: object) -> None:
    with unchanged(sender, *metadata.sorted_tables):
        answer = ask(sender, route, body)
    found = answer.json()

    sent = sender.send(ROUTES.get(route, route), body.encode() if isinstance(body, str) else body)

    assert answer.status_code == 200
    GradesDocument.model_validate(found)
    assert found["status"] == sent.status_code
    heard = sent.json()
    results = heard.get("results") or [heard]
    assert [each["outcome"] == "accepted" for each in found["commands"]] == [
        each["success"] for each in results
    ]
    for each, result in zip(found["commands"], results, strict=True):
        if each["outcome"] == "rejected" and "errors" in result:
            assert each["detail"] in result["errors"][-1]


def test_an_accepted_event_is_told_as_it_was_understood(sender: Sender) -> None:
    (command,) = ask(sender, "customers/events", GOOD).json()["commands"]

    assert command == {
        "number": 1,
        "outcome": "accepted",
        "command_id": None,
        "kind": "event",
        "customer_ids": {"registered": "c-1"},
        "type": "campaign",
        "at": "2025-10-09T08:53:20.000000Z",
        "campaign": "winback",
        "status": "delivered",
        "stage": "delivered",
        "mailing": None,
        "variation": None,
        "remarks": [],
    }


@pytest.mark.parametrize(
    ("role", "status"), [("tracking", 200), ("data", 200), ("ops", 200), ("sender", 403)]
)
def test_who_sends_callbacks_may_have_them_graded_too(sender: Sender, role: str, status: int) -> None:
    assert ask(sender, "batch", batch(GOOD), role).status_code == status


def test_a_question_that_cannot_be_used_is_told(sender: Sender) -> None:
    assert ask(sender, "bulk", GOOD).status_code == 400
    assert ask(sender, "batch", GOOD, limit=0).status_code == 400
    assert ask(sender, "batch", "x" * 100_000).status_code == 413


def test_only_so_many_commands_are_told(sender: Sender) -> None:
    found = ask(sender, "batch", batch(GOOD, GOOD, EMPTY), limit=1).json()

    assert (found["accepted"], found["rejected"], len(found["commands"])) == (2, 1, 1)


def test_whether_a_customer_must_be_known_is_said(database_url: str) -> None:
    with serving(database_url, unknown_customers="reject") as sender:
        assert ask(sender, "batch", batch(GOOD)).json()["unknown_customers"] == "reject"


def test_no_sentence_of_a_verdict_quotes_a_value(sender: Sender) -> None:
    event = {
        **EMPTY,
        "customer_ids": {"registered": "{{ secret-value }}"},
        "properties": {"status": "secret-value"},
    }

    found = json.dumps(
        ask(sender, "batch", batch(event, {**GOOD, "properties": {"status": "Geheim"}})).json()
    )

    assert "secret-value" not in found
    assert not re.search(r'"detail": "[^"]*Geheim', found)


def test_every_form_that_is_posted_can_be_graded() -> None:
    assert set(FORMS.values()) == {Form.EVENT, Form.UPDATE, Form.BATCH, Form.FLAT}
