"""The gateway: what a webhook that was made for Optilyz sends, hears, and leaves on disk."""

import asyncio
import json
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2
import pytest
from sqlalchemy import Engine, insert, select, update
from starlette.types import Message
from structlog.testing import capture_logs

from receiver.domain.recipients import Code, address_key
from receiver.inbound.deliveries import Policy
from receiver.inbound.writer import NotStored
from receiver.outbound.access import Limits
from receiver.outbound.asking import Asked, Asker
from receiver.outbound.gateway import REPEAT_US, Gateway
from receiver.outbound.gateway_answers import NUMBERS
from receiver.outbound.jobs import optilyz_of
from receiver.outbound.letters import LetterRules
from receiver.outbound.passing import Request
from receiver.settings import read_settings
from receiver.store import tables
from receiver.store.engine import connect
from receiver.store.keys import GRACE_US, NewProject
from receiver.store.mailings import Route
from receiver.store.sets import Ledger
from receiver.web.auth import UNKNOWN_KEY
from receiver.web.gateway_documents import (
    AutomationsDocument,
    LetterDocument,
    LettersDocument,
    RefusedLettersDocument,
)
from tests.rows import T0, Rows, locked
from tests.serving_app import HANGS_UP, Sender, in_parts, serving
from tests.simulated import simulated_optilyz
from tests.test_auth import NOW, OLD_SECRET, RING, SECRET, TRACKER
from tests.test_house import OPERATIONS
from tests.waiting import wait_until

AUTOMATION = "64b0c0ffee0000000000abcd"
ONE = f"/api/v2/automations/{AUTOMATION}/recipient"
MANY = f"/api/v2/automations/{AUTOMATION}/recipients"
LIST = "/api/v2/automations"
TIED = {"gateway_individualisations": {"registered": 1, "cookie": 2, "campaign": 3}}
KEY = {"optilyz_api_key": "optilyz-key", "optilyz_base_url": "http://127.0.0.1:9/api"}
FAR_US = 2**62

ADDRESS = {
    "firstName": "Ada",
    "lastName": "Beispiel",
    "street": "Hauptstr.",
    "houseNumber": "1a",
    "zipCode": "01067",
    "city": "Dresden",
    "individualisation1": "c-1001",
}


def recipient(**fields: object) -> dict[str, Any]:
    """A good one but for these *fields* of its address; what is None is left out."""
    return {"address": {name: value for name, value in {**ADDRESS, **fields}.items() if value is not None}}


def addresses(*entries: object) -> dict[str, Any]:
    return {"addresses": entries}


@contextmanager
def gateway(database_url: str, **settings: Any) -> Iterator[Sender]:
    """The service, while Optilyz is not to be asked: what is stored stays as it is."""
    shut(database_url, FAR_US)
    with serving(database_url, **{**KEY, **settings}) as sender:
        yield sender


def shut(database_url: str, until_us: int) -> None:
    """Nobody asks Optilyz before *until_us*."""
    engine = connect(database_url)
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            update(tables.slots).where(tables.slots.c.number == 0), {"busy_until_us": until_us}
        )
    engine.dispose()


def post(sender: Sender, route: str, body: object) -> Any:
    """The document of a good answer."""
    answer = sender.send(route, body, role="sender")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def stored(engine: Engine) -> list[Any]:
    """All mailings, in the order of their IDs."""
    with engine.connect() as connection:
        return list(connection.execute(select(tables.mailings).order_by(tables.mailings.c.id)))


def bodies(sender: Sender) -> list[Any]:
    return [json.loads(mailing.body) for mailing in stored(sender.engine)]


def reasons(answer: Mapping[str, Any]) -> list[tuple[str, str]]:
    assert answer["success"] is False
    return [(each["reason"], each["field"]) for each in answer["errors"]]


def basic(user: str, password: str, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {b64encode(f'{user}:{password}'.encode()).decode()}"}


def key_of(project: NewProject, role: str = "sender") -> tuple[str, str]:
    """The key's ID and secret."""
    key = next(key for key in project.keys if key.role == role)
    return key.key_id, key.secret


# -- one recipient --------------------------------------------------------------------------------


def test_a_recipient_is_on_disk_when_it_is_answered_and_the_answer_names_its_mailing(
    database_url: str,
) -> None:
    with gateway(database_url, **TIED) as sender:
        answer = post(sender, ONE, recipient(individualisation2="9b2f", individualisation3="spring"))

        (mailing,) = stored(sender.engine)
    LetterDocument.model_validate(answer)
    assert answer == {
        "success": True,
        "id": mailing.id,
        "result": {"code": 1, "status": "queued", "message": answer["result"]["message"]},
    }
    assert (mailing.state, mailing.run_id, mailing.place) == ("intended", None, None)
    assert (mailing.automation, mailing.route, mailing.campaign) == (AUTOMATION, "recipient", "spring")
    assert json.loads(mailing.ids) == {"registered": "c-1001", "cookie": "9b2f"}
    assert mailing.address_key == address_key(ADDRESS)
    assert mailing.customer_id is not None


def test_all_that_is_wrong_with_a_recipient_is_told_at_once_with_status_200(database_url: str) -> None:
    with gateway(database_url, **TIED) as sender:
        body = b'{"address": {"firstName":  "Ada", "city": ["Ghostville"], "individualisation2": "null"}}'
        answer = post(sender, ONE, body)

        (mailing,) = stored(sender.engine)
    LetterDocument.model_validate(answer)
    assert reasons(answer) == [
        ("missing_name", "lastName"),
        ("missing_street", "street"),
        ("missing_field", "zipCode"),
        ("wrong_type", "city"),
        ("placeholder_customer_id", "individualisation2"),
    ]
    assert [each["code"] for each in answer["errors"]] == [1002, 1003, 1001, 1006, 1016]
    assert "Ghostville" not in json.dumps(answer)
    assert (answer["id"], "refused", "missing_name") == (mailing.id, mailing.state, mailing.reason)
    assert mailing.body == body


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"12"])
def test_what_is_no_object_is_no_recipient(database_url: str, body: bytes) -> None:
    with gateway(database_url) as sender:
        assert reasons(post(sender, ONE, body)) == [("not_a_recipient", "")]
        assert [mailing.body for mailing in stored(sender.engine)] == [body]


def test_fields_beside_no_address_are_not_what_optilyz_takes(database_url: str) -> None:
    with gateway(database_url) as sender:
        assert reasons(post(sender, ONE, ADDRESS)) == [("missing_field", "address")]


@pytest.mark.parametrize("route", [ONE, MANY])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff{}", b"[" * 600])
def test_a_body_that_is_no_json_is_kept_and_refused_in_the_shape_of_its_route(
    database_url: str, route: str, body: bytes
) -> None:
    with gateway(database_url) as sender:
        answer = post(sender, route, body)

        (mailing,) = stored(sender.engine)
    assert reasons(answer) == [("malformed_json", "")]
    assert (mailing.state, mailing.reason, mailing.body) == ("refused", "malformed_json", body)
    assert mailing.customer_id is None
    (LetterDocument if route == ONE else RefusedLettersDocument).model_validate(answer)


@pytest.mark.parametrize("automation", ["x" * 101, "64b0%20c0", "a.b", "%00", "ü", "%FF"])
def test_an_automation_that_cannot_be_one_is_refused_without_stopping_a_run(
    database_url: str, automation: str
) -> None:
    with gateway(database_url) as sender:
        answer = post(sender, f"/api/v2/automations/{automation}/recipient", recipient())

        (mailing,) = stored(sender.engine)
        assert post_list(sender) == []
    assert reasons(answer) == [("wrong_type", "automation_id")]
    assert (mailing.state, json.loads(mailing.body)) == ("refused", recipient())


# -- passed on as sent ----------------------------------------------------------------------------


def test_fields_pass_unchanged_also_those_that_nobody_here_knows(database_url: str) -> None:
    body = (
        b'{"zebra": [1, {"deep": null}], "address": {"zipCode": 1067, "lastName": " Beispiel ",'
        b' "careOf": "-", "street": "Hauptstr. 1", "city": "D\\u00fcsseldorf", "newField": 12.50,'
        b' "number": 123456789012345678901234567890, "individualization7": " VOUCHER "},'
        b' "vouchers": [{"code": 12345678901234567890123, "name": "x"}], "variation": "1"}'
    )
    with gateway(database_url) as sender:
        assert post(sender, ONE, body)["success"]

        (mailing,) = stored(sender.engine)
    assert json.loads(mailing.body) == json.loads(body)
    assert list(json.loads(mailing.body)) == list(json.loads(body))
    assert list(json.loads(mailing.body)["address"]) == list(json.loads(body)["address"])
    assert mailing.variation == "1"


@pytest.mark.parametrize("nothing", ["", "  ", None])
def test_an_empty_individualisation_is_left_out_and_an_empty_field_is_none_of_our_business(
    database_url: str, nothing: object
) -> None:
    body = recipient()
    body["address"] |= {"individualisation2": nothing, "individualization9": nothing, "address2": nothing}
    with gateway(database_url, **TIED) as sender:
        assert post(sender, ONE, body)["success"]
        assert bodies(sender) == [{"address": {**ADDRESS, "address2": nothing}}]


def test_what_comes_back_is_trimmed_and_spelled_with_an_s(database_url: str) -> None:
    fields = {
        "individualisation1": "",
        "individualization1": " c-7 ",
        "individualization3": 12,
        "individualization4": " free ",
    }
    with gateway(database_url, **TIED) as sender:
        assert post(sender, ONE, recipient(**fields))["success"]

        (mailing,) = stored(sender.engine)
    address = json.loads(mailing.body)["address"]
    assert {name: value for name, value in address.items() if "indiv" in name} == {
        "individualisation1": "c-7",
        "individualisation3": 12,
        "individualization4": " free ",
    }
    assert (json.loads(mailing.ids), mailing.campaign) == ({"registered": "c-7"}, "12")


def test_without_a_mapping_letters_are_tied_to_nobody_and_any_field_may_carry_a_voucher(
    database_url: str,
) -> None:
    with gateway(database_url) as sender:
        assert post(sender, ONE, recipient(individualisation1="null", individualisation3="{{ x }}"))[
            "success"
        ]

        (mailing,) = stored(sender.engine)
        assert post(sender, ONE, recipient(individualisation1=None))["success"]
    assert (mailing.customer_id, mailing.campaign, mailing.ids) == (None, None, "{}")
    assert json.loads(mailing.body) == recipient(individualisation1="null", individualisation3="{{ x }}")


def test_our_mailing_id_travels_in_its_field_unless_that_is_used(database_url: str) -> None:
    with gateway(database_url, gateway_individualisations={"mailing": 5}) as sender:
        free = post(sender, ONE, recipient())
        post(sender, ONE, recipient(individualization5="theirs"))
        sent = bodies(sender)

    assert sent[0]["address"] == {**ADDRESS, "individualisation5": free["id"]}
    assert sent[1]["address"] == {**ADDRESS, "individualisation5": "theirs"}


def test_a_text_that_no_database_holds_is_refused_wherever_it_stands(database_url: str) -> None:
    odd = [
        (b'{"address": {"lastName": "\\ud800"}}', "lastName"),
        (b'{"address": {"\\ud800": "x"}}', "\ufffd"),
        (b'{"address": %s, "\\udfff": null}' % json.dumps(ADDRESS).encode(), ""),
    ]
    with gateway(database_url) as sender:
        for body, field in odd:
            assert ("unstorable_text", field) in reasons(post(sender, ONE, body))
        assert [mailing.body for mailing in stored(sender.engine)] == [body for body, _ in odd]


# -- who gets it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [{}, {"individualisation1": " ", "individualisation2": ""}])
def test_without_any_customer_id_nobody_would_know_what_became_of_it(
    database_url: str, sent: dict[str, str]
) -> None:
    with gateway(database_url, **TIED) as sender:
        answer = post(sender, ONE, recipient(**{"individualisation1": None, **sent}))

        assert reasons(answer) == [("no_customer_ids", "individualisation1")]


def test_a_customer_is_registered_by_the_same_rules_as_callbacks(database_url: str) -> None:
    with gateway(database_url, **TIED) as sender:
        post(sender, ONE, recipient(individualisation2="cookie-a"))
        post(sender, ONE, recipient(individualisation1=None, individualisation2="cookie-a"))
        event = {"customer_ids": {"cookie": "cookie-a"}, "event_type": "campaign", "properties": {"a": 1}}
        sender.send("customers/events", event)

        with sender.engine.connect() as connection:
            events = list(connection.execute(select(tables.events.c.customer_id)))
        assert {mailing.customer_id for mailing in stored(sender.engine)} == {row[0] for row in events}


def test_a_customer_who_objected_or_whose_address_is_bad_gets_none_and_the_answer_says_why(
    database_url: str,
) -> None:
    with gateway(database_url, **TIED) as sender:
        rows = Rows(sender.engine)
        project = project_id(sender)
        for number, kind, key in ((1, "objection", None), (2, "bad_address", address_key(ADDRESS))):
            rows.project_id = project
            customer = rows.customer({"registered": f"c-{number}"})
            with sender.engine.execution_options(writes=True).begin() as connection:
                connection.execute(insert(tables.suppressions), suppression(project, customer, kind, key))
        objected = post(sender, ONE, recipient(individualisation1="c-1"))
        returned = post(sender, ONE, recipient(individualisation1="c-2"))
        moved = post(sender, ONE, recipient(individualisation1="c-2", zipCode="01069"))

        assert [mailing.state for mailing in stored(sender.engine)] == ["suppressed"] * 2 + ["intended"]
    assert (reasons(objected), objected["errors"][0]["code"]) == ([("objection", "")], 1101)
    assert (reasons(returned), returned["errors"][0]["code"]) == ([("bad_address", "")], 1103)
    assert moved["success"]


def project_id(sender: Sender) -> int:
    with sender.engine.connect() as connection:
        token = tables.projects.c.token == sender.project.token
        return connection.execute(select(tables.projects.c.id).where(token)).scalar_one()


def suppression(project: int, customer: int, kind: str, key: bytes | None) -> dict[str, Any]:
    return {
        "id": 1000 + customer,
        "project_id": project,
        "customer_id": customer,
        "kind": kind,
        "address_key": key,
        "note": "",
        "mailing_id": None,
        "created_us": T0,
        "lifted_us": None,
    }


def test_a_stored_no_is_respected_and_who_never_said_anything_was_asked_by_the_sender(
    database_url: str,
) -> None:
    with gateway(database_url, consent_property="print_consent", **TIED) as sender:
        update = {"customer_ids": {"registered": "c-1001"}, "properties": {"print_consent": False}}
        sender.send("customers", update)

        answer = post(sender, ONE, recipient())
        assert (reasons(answer), answer["errors"][0]["code"]) == ([("no_consent", "")], 1102)
        assert post(sender, ONE, recipient(individualisation1="c-2"))["success"]


def test_recurring_letters_to_the_same_customer_are_letters(database_url: str) -> None:
    with gateway(database_url, **TIED) as sender:
        for city in ("Dresden", "Radebeul", "Pirna"):
            assert post(sender, ONE, recipient(city=city, individualisation3="monthly"))["success"]
        assert len({mailing.id for mailing in stored(sender.engine)}) == 3


# -- many recipients ------------------------------------------------------------------------------


def test_many_recipients_are_answered_by_position_and_a_bad_one_leaves_its_neighbours_alone(
    database_url: str,
) -> None:
    entries = [
        recipient(),
        None,
        recipient(city=" "),
        7,
        {**recipient(individualisation1="c-2"), "variation": 2},
    ]
    with gateway(database_url, **TIED) as sender:
        answer = post(sender, MANY, addresses(*entries))

        mailings = {mailing.id: mailing for mailing in stored(sender.engine)}
    LettersDocument.model_validate(answer)
    assert (answer["queued"], answer["ignored"]) == (2, 3)
    assert len(answer["requestId"]) == 24
    assert int(answer["requestId"], 16) >= 0
    ids = [each.get("id") or each["error"]["mailing"] for each in answer["results"]]
    assert ["id" in each for each in answer["results"]] == [True, False, False, False, True]
    assert [mailings[each].state for each in ids] == ["intended", "refused", "refused", "refused", "intended"]
    assert [json.loads(mailings[each].body) for each in ids] == entries
    assert {mailing.route for mailing in mailings.values()} == {"recipients"}
    assert answer["results"][2]["error"]["message"] == "city is missing; a letter always needs it."


def test_each_letter_of_a_request_has_its_own_campaign_reference(database_url: str) -> None:
    entries = [recipient(individualisation3=campaign) for campaign in ("spring", "autumn", "spring", None)]
    with gateway(database_url, **TIED) as sender:
        answer = post(sender, MANY, addresses(*entries))

        found = {mailing.id: mailing.campaign for mailing in stored(sender.engine)}
    assert [found[each["id"]] for each in answer["results"]] == ["spring", "autumn", "spring", None]


def test_a_refused_entry_is_kept_byte_for_byte(database_url: str) -> None:
    entry = b'{ "address" : {"city":"\\u0044resden", "city": "", "n": 1e400} }'
    with gateway(database_url) as sender:
        body = b'{"addresses": [%s , %s]}' % (json.dumps(recipient()).encode(), entry)
        post(sender, MANY, body)

        assert [mailing.body for mailing in stored(sender.engine) if mailing.state == "refused"] == [entry]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([recipient()], ""),
        ({}, "addresses"),
        ({"addresses": None}, "addresses"),
        ({"addresses": {}}, "addresses"),
        (addresses(), "addresses"),
        (addresses(*[recipient()] * 1001), "addresses"),
    ],
)
def test_a_body_without_1_to_1000_addresses_is_refused_as_a_whole_and_kept(
    database_url: str, body: Any, field: str
) -> None:
    with gateway(database_url) as sender:
        answer = post(sender, MANY, body)

        (mailing,) = stored(sender.engine)
    RefusedLettersDocument.model_validate(answer)
    assert reasons(answer) == [("not_a_recipient", field)]
    assert (answer["queued"], answer["ignored"], answer["results"]) == (0, 0, [])
    assert (mailing.state, json.loads(mailing.body)) == ("refused", json.loads(json.dumps(body)))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_thousand_addresses_are_taken(database_url: str) -> None:
    entries = [recipient(individualisation1=f"c-{number}") for number in range(1000)]
    with gateway(database_url, **TIED) as sender:
        answer = post(sender, MANY, addresses(*entries))

        mailings = stored(sender.engine)
    assert (answer["queued"], answer["ignored"]) == (1000, 0)
    assert [each["id"] for each in answer["results"]] == [mailing.id for mailing in mailings]
    assert [json.loads(mailing.body) for mailing in mailings] == entries


# -- the same request -----------------------------------------------------------------------------


@pytest.mark.parametrize("route", [ONE, MANY])
def test_an_identical_request_gets_the_first_answer_to_the_byte_for_a_day_and_is_then_a_new_letter(
    database_url: str, route: str
) -> None:
    body = recipient() if route == ONE else addresses(recipient(), None)
    with gateway(database_url) as sender:
        first = sender.send(route, body, role="sender")
        assert sender.send(route, body, role="sender").content == first.content
        letters = len(stored(sender.engine))
    with gateway(database_url) as restarted:
        # The same project; its keys are the ones of before.
        again = restarted.client.post(route, content=json.dumps(body), headers=sender_header(sender))
        assert (again.content, len(stored(restarted.engine))) == (first.content, letters)

        age(restarted.engine, REPEAT_US + 1)
        later = restarted.client.post(route, content=json.dumps(body), headers=sender_header(sender))
        assert later.content != first.content
        assert len(stored(restarted.engine)) == 2 * letters


def sender_header(sender: Sender) -> dict[str, str]:
    return {"authorization": sender.authorization("sender")}


def age(engine: Engine, by_us: int) -> None:
    """What was answered was answered so much earlier."""
    answered = tables.gateway_answers.c.answered_us
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(tables.gateway_answers).values(answered_us=answered - by_us))


def test_the_day_ends_to_the_microsecond(database_url: str) -> None:
    with passing(database_url) as (taker, project):
        body = json.dumps(recipient()).encode()

        def asked(at_us: int) -> str:
            return taker.take(Request(project, AUTOMATION, Route.ONE, body, at_us)).result(20)

        first = asked(T0)
        assert asked(T0 + REPEAT_US - 1) == first
        second = asked(T0 + REPEAT_US)
        assert second != first
        assert asked(T0 + 2 * REPEAT_US - 1) == second


def test_one_byte_makes_another_request_and_so_do_the_route_the_automation_and_the_project(
    database_url: str,
) -> None:
    with gateway(database_url) as sender:
        other = Rows(sender.engine).project
        body = json.dumps(addresses(recipient())).encode()
        post(sender, MANY, body)
        post(sender, MANY, body + b" ")
        post(sender, ONE, body)
        post(sender, MANY.replace("abcd", "abce"), body)
        answer = sender.client.post(MANY, content=body, headers=basic(*key_of(other)))

        assert answer.status_code == 200
        assert len(stored(sender.engine)) == 5
        assert len({mailing.project_id for mailing in stored(sender.engine)}) == 2


def test_twenty_identical_requests_at_once_are_one_letter_with_one_answer(database_url: str) -> None:
    with gateway(database_url, **TIED) as sender:
        answers = at_once(sender, [recipient()] * 20)

        assert len({answer.content for answer in answers}) == 1
        assert answers[0].json()["success"]
        assert len(stored(sender.engine)) == 1


def test_thirty_different_requests_at_once_are_all_stored(database_url: str) -> None:
    with gateway(database_url, **TIED) as sender:
        answers = at_once(sender, [recipient(individualisation1=f"c-{number}") for number in range(30)])

        assert {answer.json()["id"] for answer in answers} == {each.id for each in stored(sender.engine)}
        assert len(stored(sender.engine)) == 30


def at_once(sender: Sender, sent: Sequence[object]) -> list[httpx2.Response]:
    start = threading.Barrier(len(sent))

    def one(body: object) -> httpx2.Response:
        start.wait()
        return sender.send(ONE, body, role="sender")

    with ThreadPoolExecutor(len(sent)) as pool:
        answers = list(pool.map(one, sent))
    assert {answer.status_code for answer in answers} == {200}
    return answers


# -- what waits together --------------------------------------------------------------------------


@contextmanager
def passing(database_url: str, *, started: bool = True, **settings: Any) -> Iterator[tuple[Gateway, int]]:
    """The gateway without HTTP, and the number of a project."""
    engine = connect(database_url)
    project = Rows(engine).project_id
    taker = Gateway(engine, read_settings(database_url=database_url, **KEY, **settings))
    try:
        if started:
            taker.start()
        yield taker, project
        taker.stop(20)
    finally:
        engine.dispose()


def requests(project: int, number: int) -> list[Request]:
    return [
        Request(project, AUTOMATION, Route.ONE, json.dumps(recipient(city=f"City {each}")).encode(), T0)
        for each in range(number)
    ]


def test_all_that_wait_are_stored_also_more_than_share_one_commit(database_url: str) -> None:
    with passing(database_url, started=False) as (taker, project):
        taken = [taker.take(each) for each in requests(project, 120)]
        taker.start()

        assert len({json.loads(each.result(60))["id"] for each in taken}) == 120


def test_one_that_the_database_will_not_take_costs_the_others_nothing(database_url: str) -> None:
    with passing(database_url, started=False) as (taker, project):
        good = requests(project, 3)
        # No project has this number, nor can any column hold it.
        bad = good[0]._replace(project_id=2**70)
        taken = [taker.take(each) for each in (good[0], bad, good[1], good[2])]
        taker.start()

        assert isinstance(taken[1].exception(60), Exception)
        assert all(json.loads(taken[number].result(60))["success"] for number in (0, 2, 3))


def test_whoever_gave_up_before_its_turn_has_sent_nothing(database_url: str) -> None:
    with passing(database_url, started=False) as (taker, project):
        gone, there = (taker.take(each) for each in requests(project, 2))
        assert gone.cancel()
        taker.start()

        assert json.loads(there.result(60))["success"]
        engine = connect(database_url)
        assert len(stored(engine)) == 1
        engine.dispose()


def test_what_was_taken_is_stored_before_the_end_and_nothing_is_taken_after_it(database_url: str) -> None:
    with passing(database_url, started=False) as (taker, project):
        taken = [taker.take(each) for each in requests(project, 60)]
        taker.start()
        taker.stop(60)

        assert all(each.done() for each in taken)
        with pytest.raises(NotStored, match="stopping"):
            taker.take(requests(project, 1)[0])


def test_more_bytes_than_may_wait_are_turned_away_until_others_are_stored(database_url: str) -> None:
    with passing(database_url, started=False, queue_bytes=300) as (taker, project):
        first, second = requests(project, 2)
        taken = taker.take(first)
        with pytest.raises(NotStored, match="busy"):
            taker.take(second)
        taker.start()
        taken.result(60)

        wait_until(lambda: taken_now(taker, second))


def taken_now(taker: Gateway, request: Request) -> bool:
    try:
        return bool(taker.take(request).result(60))
    except NotStored:
        return False


# -- what is turned away --------------------------------------------------------------------------


class Refusal(NamedTuple):
    status: int
    error: str


def refusal(answer: httpx2.Response) -> Refusal:
    document = answer.json()
    assert document.keys() == {"success", "error"}
    assert document["success"] is False
    return Refusal(answer.status_code, document["error"])


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
@pytest.mark.parametrize("password", ["", " ", "-", "anything"])
def test_a_secret_is_enough_as_the_user_whatever_the_password(
    database_url: str, scheme: str, password: str
) -> None:
    with gateway(database_url) as sender:
        _, secret = key_of(sender.project)
        answer = sender.client.post(
            ONE, content=json.dumps(recipient()), headers=basic(secret, password, scheme)
        )

        assert answer.json()["success"]


@pytest.mark.parametrize(("method", "route"), [("POST", ONE), ("POST", MANY), ("GET", LIST)])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_is_not_allowed_to_send_is_told_so_in_the_vendors_shape_and_nothing_is_kept(
    database_url: str, method: str, route: str
) -> None:
    with gateway(database_url) as sender:
        key_id, secret = key_of(sender.project)
        headers: list[tuple[dict[str, str], int]] = [
            ({}, 401),
            ({"authorization": f"Bearer {secret}"}, 401),
            ({"authorization": f"Basic {secret}"}, 401),
            ({"authorization": "Basic !"}, 401),
            (basic("", secret), 401),
            (basic("nobody", ""), 401),
            (basic("x" * 5000, ""), 401),
            (basic(key_id, secret[:-1]), 403),
            (basic(key_id, ""), 403),
            *[(basic(*key_of(sender.project, role)), 403) for role in ("tracking", "data", "ops")],
            (basic(key_of(sender.project, "tracking")[1], " "), 403),
            (basic(sender.project.public_token or "", " "), 403),
            ({"authorization": f"Token {sender.project.public_token}"}, 401),
        ]
        for header, status in headers:
            answer = sender.client.request(method, route, content=b"{}", headers=header)
            assert refusal(answer).status == status, header
            assert ("www-authenticate" in answer.headers) == (status == 401)
        assert stored(sender.engine) == []


def test_a_rotated_secret_is_enough_as_the_user_as_long_as_it_is_valid() -> None:
    old = basic(OLD_SECRET, " ")["authorization"]

    assert RING.authenticate_alone(old, NOW + GRACE_US - 1) == TRACKER
    assert RING.authenticate_alone(old, NOW + GRACE_US) == UNKNOWN_KEY
    assert RING.authenticate_alone(basic(SECRET, " ")["authorization"].encode(), NOW + GRACE_US) == TRACKER
    # A revoked one never is.
    assert RING.authenticate_alone(basic("aa" * 32, " ")["authorization"], NOW) == UNKNOWN_KEY


def test_a_key_made_a_moment_ago_is_known_at_once(database_url: str) -> None:
    with gateway(database_url) as sender:
        new = Rows(sender.engine).project

        answer = sender.client.post(ONE, content=json.dumps(recipient()), headers=basic(key_of(new)[1], " "))
        assert answer.json()["success"]


def test_a_database_that_is_locked_is_503_and_nothing_is_stored(database_url: str) -> None:
    with gateway(database_url, database_seconds=0.2) as sender:
        with capture_logs() as logged:
            with locked(database_url):
                for route in (ONE, MANY):
                    answer = sender.send(route, recipient(), role="sender")
                    assert refusal(answer).status == 503
                    assert int(answer.headers["retry-after"]) > 0
            assert stored(sender.engine) == []

            assert post(sender, ONE, recipient())["success"]
        # Told once, and nothing of what was in the requests.
        told = [line for line in logged if line["event"].startswith("database")]
        assert [(line["event"], line.get("requests")) for line in told] == [
            ("database_away", 1),
            ("database_back", None),
        ]
        assert not any(text in str(logged) for text in ADDRESS.values() if len(text) > 3)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_waits_for_too_long_is_told_to_come_again(database_url: str) -> None:
    with gateway(database_url, database_seconds=0.01) as sender:
        # One whose thread never begins is as slow as any.
        sender.client.app_state["gateway"] = Gateway(sender.engine, read_settings(database_url=database_url))

        assert refusal(sender.send(ONE, recipient(), role="sender")).status == 503


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_a_key_for_optilyz_nothing_is_taken(database_url: str) -> None:
    with gateway(database_url, optilyz_api_key=None) as sender:
        answer = sender.send(ONE, recipient(), role="sender")

        assert refusal(answer) == (503, "Letters cannot be sent yet: the service has no key for Optilyz.")
        assert "retry-after" in answer.headers
        assert stored(sender.engine) == []
        assert post_list(sender) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_body_that_is_too_large_too_slow_or_one_too_many_is_turned_away(database_url: str) -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("waited for ever")

    with gateway(database_url, max_body_bytes=1000, held_bytes=100, body_seconds=0.1) as sender:
        assert refusal(sender.send(ONE, b" " * 1001, role="sender")).status == 413
        for receive, status in ((never, 408), (in_parts([b"x" * 200]), 503)):
            answer = sender.raw(ONE, receive, role="sender")
            assert answer is not None
            assert answer.status == status
        assert sender.raw(ONE, in_parts([b"{"], HANGS_UP), role="sender") is not None
        assert stored(sender.engine) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_other_methods_and_paths_are_answered_as_everywhere(database_url: str) -> None:
    with gateway(database_url) as sender:
        for method, route in (("GET", ONE), ("PUT", MANY), ("DELETE", ONE), ("POST", LIST)):
            assert sender.send(route, b"", method=method, role="sender").status_code == 405
        for route in ("/api/v2/automations/a/b/recipient", "/api/v2/automations/a", "/api/v2"):
            answer = sender.send(route, recipient(), role="sender")
            assert (answer.status_code, answer.json()["success"]) == (404, False)
        assert stored(sender.engine) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_requests_are_measured_by_route_and_what_is_not_kept_is_counted(database_url: str) -> None:
    with gateway(database_url) as sender:
        before = metrics(sender)
        post(sender, ONE, recipient())
        sender.client.post(ONE)
        after = metrics(sender)

    route = 'receiver_http_seconds_count{route="/api/v2/automations/{automation_id}/recipient",status="200"}'
    assert after[route] - before.get(route, 0) == 1
    unauthorised = 'receiver_turned_away_total{cause="unauthorised"}'
    assert after[unauthorised] - before.get(unauthorised, 0) == 1


def metrics(sender: Sender) -> dict[str, float]:
    lines = sender.client.get("/metrics").text.splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


# -- automations ----------------------------------------------------------------------------------


def post_list(sender: Sender) -> Any:
    answer = sender.send(LIST, b"", method="GET", role="sender")
    assert answer.status_code == 200
    return answer.json()


def test_the_automations_are_those_that_the_project_sends_through(database_url: str) -> None:
    with gateway(database_url) as sender:
        other = Rows(sender.engine).project
        assert post_list(sender) == []
        post(sender, ONE, recipient())
        post(sender, "/api/v2/automations/second/recipients", addresses(recipient(), recipient()))
        post(sender, "/api/v2/automations/refused/recipient", {})
        sender.client.post(
            "/api/v2/automations/foreign/recipient",
            content=json.dumps(recipient()),
            headers=basic(*key_of(other)),
        )

        found = post_list(sender)
    AutomationsDocument.model_validate(found)
    assert found == [{"_id": name, "name": name, "state": "live"} for name in (AUTOMATION, "second")]


# -- and on to Optilyz ----------------------------------------------------------------------------


def test_what_was_taken_arrives_at_optilyz_as_it_was_sent(database_url: str) -> None:
    with simulated_optilyz() as optilyz:
        one, *many = (recipient(individualisation1=f"c-{number}") for number in range(3))
        with gateway(database_url, optilyz_base_url=optilyz.url, **TIED) as sender:
            automation = optilyz.automation
            ids = [post(sender, f"/api/v2/automations/{automation}/recipient", one)["id"]]
            answer = post(sender, f"/api/v2/automations/{automation}/recipients", addresses(*many))
            ids += [each["id"] for each in answer["results"]]
        shut(database_url, 0)
        ask_for_all(database_url, optilyz.url)

        engine = connect(database_url)
        assert [(each.id, each.state) for each in stored(engine)] == [(each, "queued") for each in ids]
        engine.dispose()
        assert [each["address"] for each in optilyz.recipients()] == [
            one["address"],
            *[m["address"] for m in many],
        ]


def ask_for_all(database_url: str, url: str) -> None:
    """Two requests, as the background task of the service makes them."""
    settings = read_settings(
        database_url=database_url, optilyz_api_key="k", optilyz_base_url=url, optilyz_per_minute=60_000
    )
    engine = connect(database_url)
    ledger = Ledger(engine)
    asker = Asker(
        ledger, optilyz_of(settings), Policy.of(settings), LetterRules.of(settings), Limits.of(settings)
    )
    for _ in range(2):
        steps = iter(asker.step, None)
        assert any(isinstance(next(steps), Asked) for _ in range(100))
    ledger.close()
    engine.dispose()


# -- docs/operations.md ---------------------------------------------------------------------------


def test_every_number_is_listed_and_each_reason_keeps_its_own() -> None:
    table = OPERATIONS.partition("| code | reason |")[2].partition("\n\n")[0]
    listed = {
        line.split("`")[1]: int(line.split("|")[1]) for line in table.splitlines() if line.startswith("| 1")
    }

    assert listed == NUMBERS
    assert len(set(NUMBERS.values())) == len(NUMBERS) > len(Code)
