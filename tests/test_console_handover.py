"""The handover sheet and the grader: what is told to whoever sets up the callbacks is true."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from receiver.console import grader
from receiver.console.sheet import Code, Heading, Points, Sentence, Table, as_markdown, code, marked_up
from receiver.domain import payloads
from receiver.domain.commands import Form, Rejection
from receiver.domain.grading import grade
from receiver.inbound.deliveries import Policy
from receiver.settings import read_settings
from receiver.store.tables import metadata
from receiver.web import tracking
from receiver.web.handover import HandoverDocument
from tests.serving_app import FLAT, Sender, serving
from tests.visiting import CONSOLE, Seen, Visitor, signed_in, unchanged

HANDOVER = f"{CONSOLE}/handover"
GRADER = f"{CONSOLE}/grader"

SETTINGS: list[dict[str, Any]] = [
    {},
    {"empty_ids": "drop"},
    {
        "hard_ids": ("email", "registered"),
        "soft_ids": (),
        "empty_ids": "drop",
        "individualisations": {"email": 7, "campaign": 1, "mailing": 2},
        "max_commands": 1,
    },
    {"individualisations": {"mailing": 4}, "campaign_properties": (), "status_properties": ()},
    {
        "hard_ids": (),
        "soft_ids": ("cookie",),
        "individualisations": {"cookie": 9},
        "unknown_customers": "reject",
    },
]


# -- what it says is true -------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", SETTINGS)
def test_each_example_is_read_as_it_says(chosen: dict[str, Any]) -> None:
    rules = Policy.of(read_settings(**chosen)).rules
    found = payloads.examples(rules)

    assert len([each for each in found if each.reason is None]) >= 3
    assert len([each for each in found if each.reason is not None]) >= 6
    for each in found:
        grades = grade(each.form, each.body.encode(), rules, time.time_ns() // 1000, most=100)
        reasons = [
            command.outcome.reason for command in grades.commands if isinstance(command.outcome, Rejection)
        ]
        assert reasons == ([each.reason] if each.reason else []), each.title


@pytest.mark.parametrize("chosen", SETTINGS)
@pytest.mark.parametrize("form", [Form.BATCH, Form.FLAT])
def test_a_template_that_is_filled_in_is_taken_with_all_that_travels(
    form: Form, chosen: dict[str, Any]
) -> None:
    settings = read_settings(**chosen)
    rules = Policy.of(settings).rules
    places = {
        "the new state": "posted",
        "when it happened": "2025-10-09T10:53:20+02:00",
        **{
            f"individualisation{number}": f"value-{name}"
            for name, number in settings.individualisations.items()
        },
    }

    body = re.sub(
        r"\{\{ (.*?) \}\}", lambda place: places.get(place[1], "c-1"), payloads.template(form, rules)
    )
    (command,) = grade(form, body.encode(), rules, time.time_ns() // 1000, most=9).commands

    event = command.outcome
    assert not isinstance(event, Rejection)
    assert "{{" not in body
    carried = {name: f"value-{name}" for name in payloads.carried(rules)}
    assert dict(event.ids) == (carried or {(*rules.hard_ids, *rules.soft_ids)[0]: "c-1"})  # type: ignore[union-attr]
    if "mailing" in settings.individualisations:
        assert event.mailing == "value-mailing"  # type: ignore[union-attr]
    if "campaign" in settings.individualisations:
        assert event.campaign == "value-campaign"  # type: ignore[union-attr]
    if rules.status_properties:
        assert event.stage == "posted"  # type: ignore[union-attr]


def test_a_template_that_is_not_filled_in_is_refused() -> None:
    rules = Policy.of(read_settings()).rules

    (command,) = grade(Form.BATCH, payloads.template(Form.BATCH, rules).encode(), rules, 1, most=9).commands

    assert isinstance(command.outcome, Rejection)


# -- over HTTP ------------------------------------------------------------------------------------


@pytest.fixture
def sender(database_url: str) -> Iterator[Sender]:
    with serving(database_url) as sender:
        yield sender


@pytest.fixture
def visitor(sender: Sender) -> Visitor:
    return signed_in(sender, "data")


def facts(sender: Sender, role: str = "data", **headers: str) -> Any:
    url = f"/v1/projects/{sender.project.token}/handover"
    return sender.client.get(url, headers={"authorization": sender.authorization(role), **headers})


def test_every_url_of_the_sheet_answers(sender: Sender) -> None:
    found = facts(sender).json()
    HandoverDocument.model_validate(found)

    assert len(found["urls"]) == len(tracking.FORMS) + 1
    for route, url in found["urls"].items():
        path = urlsplit(url).path
        answer = sender.client.post(path, json={}, headers={"authorization": sender.authorization()})
        assert answer.status_code == (200 if route in {"system/time", "callbacks"} else 400), route


def test_each_example_is_answered_as_the_sheet_says(sender: Sender) -> None:
    for each in facts(sender).json()["examples"]:
        route = FLAT if each["route"] == "callbacks" else each["route"]

        heard = sender.send(route, each["body"].encode()).json()

        results = heard.get("results", [heard])
        assert [result["success"] for result in results] == [each["reason"] is None] * len(results), each[
            "title"
        ]


def test_behind_a_proxy_the_urls_are_those_of_the_proxy(sender: Sender) -> None:
    found = facts(sender, host="receiver.example.com", **{"x-forwarded-proto": "https"}).json()

    assert all(url.startswith("https://receiver.example.com/") for url in found["urls"].values())


def test_words_of_the_operator_are_told_with_ours(database_url: str) -> None:
    words = {"Zugestellt": "delivered", "sent": "queued"}
    with serving(database_url, stage_words=words) as sender:
        told = facts(sender).json()["status_words"]

    assert "zugestellt" in told["delivered"]
    assert ("sent" in told["queued"], "sent" in told["posted"]) == (True, False)


@pytest.mark.parametrize(
    ("role", "status"), [("data", 200), ("ops", 200), ("tracking", 403), ("sender", 403)]
)
def test_who_may_have_the_facts(sender: Sender, role: str, status: int) -> None:
    assert facts(sender, role).status_code == status


def test_the_page_and_the_file_say_the_same_and_no_secret(sender: Sender, visitor: Visitor) -> None:
    page, file = visitor.look(HANDOVER), visitor.get(f"{HANDOVER}.md")

    assert file.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "attachment" in file.headers["content-disposition"]
    assert "content-security-policy" in file.headers
    words = re.sub(r"\s+", " ", page.words)
    for url in facts(sender).json()["urls"].values():
        assert url in words
        assert url in file.text
    for sentence in re.findall(r"^- (.*)$", file.text, re.MULTILINE):
        assert sentence.replace("`", "") in words
    for key in sender.project.keys:
        assert key.secret not in file.text + page.words
    assert len(re.findall("^```json$", file.text, re.MULTILINE)) == 2 + len(facts(sender).json()["examples"])


def test_bodies_in_the_file_are_exactly_those_of_the_facts(sender: Sender, visitor: Visitor) -> None:
    fenced = re.findall(
        r"^```json\n(.*?)\n```$", visitor.get(f"{HANDOVER}.md").text, re.MULTILINE | re.DOTALL
    )
    found = facts(sender).json()

    assert fenced == [each["body"] for each in found["templates"] + found["examples"]]


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"empty_ids": "reject"}, "an empty one refuses the event, also beside a good one"),
        ({"empty_ids": "drop"}, "an empty one beside a good one is left out by us"),
        ({"unknown_customers": "reject"}, "A customer whom we do not know is refused"),
        ({"max_commands": 7}, "A batch has up to 7 commands"),
        ({"individualisations": {"registered": 8}}, "individualisation8 the customer's ID registered"),
        ({"reject_status": 200}, "200 a single event or update is refused"),
    ],
)
def test_the_sheet_is_that_of_this_installation(
    database_url: str, chosen: dict[str, Any], sentence: str
) -> None:
    with serving(database_url, **chosen) as sender:
        words = re.sub(r"\s+", " ", signed_in(sender).look(HANDOVER).words)

    assert sentence in words


# -- a document as text ---------------------------------------------------------------------------


def test_what_would_break_a_line_or_a_table_of_markdown_does_not() -> None:
    text = as_markdown(
        "a\n# b",
        [Table("t", ["x"], [["a|b\nc"]]), Points(["one\ntwo"]), Heading("h"), Sentence("s"), Code("c", "{}")],
    )

    assert text.splitlines()[0] == "# a # b"
    assert "| a\\|b c |" in text
    assert "- one two" in text
    assert "```json\n{}\n```" in text


def test_a_sentence_is_escaped_and_its_code_is_marked() -> None:
    assert marked_up(f"<b> {code('x`<i>')} & y") == "&lt;b&gt; <code>x&#39;&lt;i&gt;</code> &amp; y"


# -- the grader -----------------------------------------------------------------------------------

BODY = json.dumps(
    {
        "commands": [
            {
                "name": "customers/events",
                "data": {
                    "customer_ids": {"registered": value},
                    "event_type": "campaign",
                    "timestamp": 1_760_000_000,
                    "properties": {"status": "Zugestellt", "campaign_id": "<i>w"},
                },
            }
            for value in ("c-1", "")
        ]
    },
    indent=1,
)


def paste(visitor: Visitor, body: str, route: str = "batch", status: int = 200) -> Seen:
    (form,) = [form for form in visitor.look(GRADER).posts() if form.action.endswith("/grader")]
    answer = visitor.send(form, body=body.replace("\n", "\r\n"), route=route)
    assert answer.status_code == status
    return Seen(answer)


def words(page: Seen) -> str:
    return re.sub(r"\s+", " ", page.words)


def test_a_pasted_body_gets_a_verdict_in_words_and_nothing_is_stored(
    sender: Sender, visitor: Visitor
) -> None:
    with unchanged(sender, *metadata.sorted_tables):
        page = paste(visitor, BODY)

    said = words(page)
    assert "1 would be accepted, 1 refused." in said
    assert "The answer would have the status 200: read each result" in said
    assert "Zugestellt, which means unknown" in said
    assert "Number 2 would be refused empty customer id" in said
    assert "The customer ID registered is empty" in said
    # As in the body as it was pasted, whatever the browser made of its line breaks.
    line = BODY[: BODY.index('"registered": ""')].count("\n") + 1
    assert f"Line {line}, column" in said


def test_the_place_that_fails_is_marked_in_the_body(visitor: Visitor) -> None:
    page = paste(visitor, BODY)

    assert [given["id"] for tag, given in page.elements if tag == "mark"] == ["place-2"]
    assert '"registered": ""2' in page.words


def test_the_body_can_be_corrected_and_graded_again(visitor: Visitor) -> None:
    (form,) = [form for form in paste(visitor, BODY).posts() if form.action.endswith("/grader")]
    assert form.fields["body"].strip() == BODY

    page = Seen(visitor.send(form, body=BODY.replace('""', '"c-2"')))

    assert "All 2 would be accepted." in words(page)


def test_a_body_that_is_no_batch_at_all_is_told_as_one(visitor: Visitor) -> None:
    said = words(paste(visitor, "{]"))

    assert "The whole body would be refused: no command in it was read." in said
    assert "The answer would have the status 400." in said


def test_without_a_body_somebody_is_asked_for_one(visitor: Visitor) -> None:
    assert "There is no body yet: paste one." in words(paste(visitor, " \n ", status=422))


def test_a_route_that_is_none_is_said(visitor: Visitor) -> None:
    assert "route" in words(paste(visitor, BODY, route="<b>", status=422)).lower()


def test_a_long_body_is_graded_and_its_page_stays_small(visitor: Visitor) -> None:
    item = {"individualisation1": "c" * 400, "status": "x" * 150, "individualisation3": "w" * 400}
    body = json.dumps([item, {"individualisation1": ""}] * 1000)

    page = paste(visitor, body, route="callbacks")

    assert "1 000 would be accepted, 1 000 refused." in words(page).replace("\u202f", " ")
    assert len(page.words) < 100_000


@pytest.mark.parametrize("number", range(3))
def test_an_example_of_the_sheet_goes_to_the_grader(visitor: Visitor, number: int) -> None:
    links = [each for each in visitor.look(HANDOVER).links() if "body=" in each]

    (form,) = [form for form in visitor.look(links[number]).posts() if form.action.endswith("/grader")]

    assert form.fields["body"] == parse_qs(urlsplit(links[number]).query)["body"][0]
    assert " would be accepted. The answer" in words(Seen(visitor.send(form)))


def test_every_route_has_a_name_for_people() -> None:
    assert set(grader.ROUTES) == {"batch", "customers/events", "customers", "callbacks"}
