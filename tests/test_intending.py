"""May we send?  What becomes of letters before anybody is asked, on both databases."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from sqlalchemy import insert, select

from receiver.domain.recipients import address_key
from receiver.outbound.drafting import first_of
from receiver.outbound.intending import consents
from receiver.outbound.people import Unreadable
from receiver.outbound.templates import Template
from receiver.store.mailings import State
from receiver.store.tables import (
    counters,
    customer_ids,
    customer_properties,
    customers,
    mailing_ids,
    suppressions,
)
from tests.posting import ADDRESS, NOW_US, Post, person, posting

KEY = address_key(ADDRESS | {"houseNumber": "1"})

_numbers = count(1_000_000)


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    with posting(database_url) as post:
        yield post


def suppress(post: Post, customer: int, kind: str, **columns: object) -> None:
    row = {"address_key": None, "mailing_id": None, "lifted_us": None} | columns
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            insert(suppressions),
            {
                "id": next(_numbers),
                "project_id": post.rows.project_id,
                "customer_id": customer,
                "kind": kind,
                "note": "",
                "created_us": NOW_US,
                **row,
            },
        )


def said(post: Post, customer: int, name: str, value: object, updated_us: int) -> None:
    """A property of a customer as a callback would have set it."""
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(
            insert(customer_properties),
            {"customer_id": customer, "name": name, "value": json.dumps(value), "updated_us": updated_us},
        )


@contextmanager
def asking_for_consent(database_url: str, **more: Any) -> Iterator[Post]:
    with posting(database_url, consent_property="letters", **more) as post:
        yield post


def holders(post: Post) -> dict[str, int]:
    found = post.query(select(customer_ids.c.kind, customer_ids.c.value, customer_ids.c.customer_id))
    return {f"{kind}={value}": customer for kind, value, customer in found}


# -- what is on disk ------------------------------------------------------------------------------


def test_a_letter_is_on_disk_with_all_that_travels_in_it(post: Post) -> None:
    (decided,) = post.intend(person({"registered": "anna", "cookie": ["k1", "k2"]}, variation="2"))

    (letter,) = post.letters()
    assert letter.id == decided.mailing
    assert len(letter.id) == 24
    assert (letter.state, letter.reason, letter.run_id, letter.place) == ("intended", None, 7, 1)
    assert (letter.campaign, letter.route, letter.variation) == ("winback", "recipients", "2")
    assert json.loads(letter.body) == {
        "address": ADDRESS
        | {"houseNumber": "1", "individualisation1": "anna", "individualisation2": "k1"}
        | {"individualisation3": "winback"},
        "variation": 2,
    }
    assert json.loads(letter.ids) == {"registered": "anna", "cookie": "k1"}
    assert letter.address_key == KEY
    assert letter.customer_id == holders(post)["registered=anna"] == holders(post)["cookie=k1"]
    assert post.query(select(mailing_ids.c.kind, mailing_ids.c.value).order_by(mailing_ids.c.kind)) == [
        ("cookie", "k1"),
        ("registered", "anna"),
    ]
    assert post.events() == []
    assert not post.disagreements()


def test_our_mailing_id_travels_where_a_number_is_given_to_it(database_url: str) -> None:
    with posting(database_url, individualisations="registered=4,mailing=9") as post:
        (decided,) = post.intend(person("anna"))
        address = json.loads(post.letters()[0].body)["address"]

    assert address["individualisation9"] == decided.mailing
    assert address["individualisation4"] == "anna"
    assert "individualisation3" not in address


def test_a_bad_letter_is_refused_with_everything_that_is_wrong_and_leaves_its_neighbours_alone(
    post: Post,
) -> None:
    fates = post.fates(person("anna"), person("bert", city="-", zipCode=""), person("carl"))

    assert fates == ["intended", "refused: missing_field", "intended"]
    refused = post.letters()[1]
    assert json.loads(refused.body) == {
        "customer": ADDRESS | {"houseNumber": "1", "city": "-", "zipCode": ""},
        "customer_ids": {"registered": "bert"},
    }
    assert "zipCode is missing" in refused.message
    assert "city is missing" in refused.message
    assert refused.settled_us == refused.created_us
    (told,) = post.told()
    assert told == {
        "action_type": "direct mail",
        "status": "enqueue_failed",
        "campaign_id": "winback",
        "automation_id": refused.automation,
        "mailing_id": refused.id,
        "type": "missing_field",
        "message": refused.message,
    }
    (event,) = post.events()
    assert (event.type, event.stage, event.campaign) == ("campaign", "failed", "winback")
    assert (event.mailing_id, event.tied, event.customer_id) == (
        refused.id,
        "mailing_id",
        refused.customer_id,
    )
    counted = post.query(
        select(counters.c.source, counters.c.received, counters.c.accepted, counters.c.rejected)
    )
    assert counted == [("sending", 1, 1, 0)]
    assert not post.disagreements()


def test_a_letter_with_hundreds_of_faults_is_one_refused_letter(post: Post) -> None:
    everything = Template("mine", "{{ customer | tojson }}", ("registered", "cookie"))
    many = {f"no_such_field_{number}": "x" for number in range(400)}

    assert post.fates(person("anna", **many), person("bert"), template=everything) == [
        "refused: unknown_field",
        "intended",
    ]
    assert post.told()[0]["status"] == "enqueue_failed"


def test_nobody_gets_a_letter_whose_ids_cannot_come_back(post: Post) -> None:
    codes: list[tuple[dict[str, Any], str]] = [
        ({}, "no_customer_ids"),
        ({"registered": " ", "cookie": [""]}, "no_customer_ids"),
        ({"registered": "{{ customer_ids.registered }}"}, "placeholder_customer_id"),
        ({"registered": "anna", "cookie": "undefined"}, "placeholder_customer_id"),
        ({"registered": "---"}, "unusable_customer_id"),
        ({"registered": {"a": 1}}, "unusable_customer_id"),
    ]

    fates = post.fates(*(person(ids) for ids, _ in codes), person("bert"))

    assert fates == [*(f"refused: {code}" for _, code in codes), "intended"]
    assert post.events() == []
    assert {each.customer_id for each in post.letters()[:-1]} == {None}


def test_an_empty_id_beside_a_good_one_is_left_out(post: Post) -> None:
    assert post.fates(person({"registered": " ", "cookie": "k"})) == ["intended"]
    address = json.loads(post.letters()[0].body)["address"]
    assert "individualisation1" not in address
    assert address["individualisation2"] == "k"


def test_of_a_list_of_cookies_the_first_that_is_not_blank_travels() -> None:
    assert first_of(["", None, "  ", "k", "l"]) == "k"
    assert first_of([]) is None
    assert first_of("k") == "k"


def test_a_row_that_cannot_be_read_is_a_refused_letter_with_its_bytes(post: Post) -> None:
    unreadable: Any = Unreadable(3, "The row is a number; send an object.", b"17\xff")

    assert post.fates(unreadable, person("anna")) == ["refused: unreadable_row", "intended"]
    letter = post.letters()[0]
    assert (letter.body, letter.message, letter.place) == (unreadable.raw, unreadable.detail, 3)


# -- who it is ------------------------------------------------------------------------------------


def test_a_letter_registers_its_customer_as_a_callback_would(post: Post) -> None:
    anna = post.rows.customer({"registered": "anna", "cookie": "old"})

    post.intend(person({"registered": "anna", "cookie": "new"}), person({"cookie": "old"}, city="Bonn"))

    assert {each.customer_id for each in post.letters()} == {anna}
    assert holders(post) == {"registered=anna": anna, "cookie=old": anna, "cookie=new": anna}


def test_a_letter_merges_and_what_was_known_of_both_counts_for_who_is_left(post: Post) -> None:
    anna = post.rows.customer({"registered": "anna"})
    visitor = post.rows.customer({"cookie": "k"})
    post.intend(person({"cookie": "k"}), campaign="earlier")
    post.rows.event(visitor)

    assert post.fates(person({"registered": "anna", "cookie": "k"}), campaign="earlier") == [
        "suppressed: already_mailed"
    ]
    assert {each.customer_id for each in post.letters()} == {anna}
    assert {each.customer_id for each in post.events("callback")} == {anna}
    assert post.query(select(customers.c.merged_into).where(customers.c.id == visitor)) == [(anna,)]
    assert [event.type for event in post.events("identity")] == ["merge"]


@pytest.mark.parametrize("kind", ["objection", "bad_address"])
def test_a_suppression_of_who_is_merged_away_counts_at_once_and_from_then_on(post: Post, kind: str) -> None:
    anna = post.rows.customer({"registered": "anna"})
    suppress(post, post.rows.customer({"cookie": "k"}), kind)

    assert post.fates(person({"registered": "anna", "cookie": "k"})) == [f"suppressed: {kind}"]
    assert [each.customer_id for each in post.suppressions()] == [anna]
    assert post.fates(person("anna")) == [f"suppressed: {kind}"]


def test_one_chunk_that_merges_its_own_customers_sends_one_letter(post: Post) -> None:
    fates = post.fates(person("anna"), person({"cookie": "k"}), person({"registered": "anna", "cookie": "k"}))

    assert fates == ["intended", "suppressed: already_mailed", "suppressed: already_mailed"]
    assert len({each.customer_id for each in post.letters()}) == 1
    assert not post.disagreements()


def test_a_cookie_that_rows_fight_over_costs_nobody_a_letter(database_url: str) -> None:
    with posting(database_url, soft_ids="cookie,device", individualisations="registered=1") as post:
        ids = [{"registered": f"c-{number}", "cookie": "same", "device": "same"} for number in range(20)]
        post.intend(*(person(each, city="") for each in ids))
        fates = post.fates(*(person(each) for each in ids))

        assert fates == ["intended"] * 20
        numbers = [event.id for source in ("sending", "identity") for event in post.events(source)]
        last_id = post.sizes()["last_id"]
        assert len(numbers) == len(set(numbers))
        assert max(numbers) <= last_id
        post.intend(person("later", city=""))
        assert not post.disagreements()


# -- what speaks against it -----------------------------------------------------------------------


def test_who_objects_gets_no_letter_until_the_objection_is_lifted(post: Post) -> None:
    anna = post.rows.customer({"registered": "anna"})
    suppress(post, anna, "objection", lifted_us=NOW_US)
    assert post.fates(person("anna")) == ["intended"]

    suppress(post, anna, "objection")
    assert post.fates(person("anna", street="Other")) == ["suppressed: objection"]
    assert post.letters()[1].body is None
    assert [told["status"] for told in post.told()] == ["suppressed"]
    assert post.told()[0]["type"] == "objection"
    assert not post.disagreements()


def test_a_bad_address_is_bad_until_it_changes(post: Post) -> None:
    suppress(post, post.rows.customer({"registered": "anna"}), "bad_address", address_key=KEY)

    assert post.fates(person("anna", lastName="Neu", street="HAUPTSTR")) == ["suppressed: bad_address"]
    assert post.fates(person("anna", houseNumber="2")) == ["intended"]


def test_what_is_wrong_comes_first_then_objection_then_consent_then_address_then_repeats(
    database_url: str,
) -> None:
    with asking_for_consent(database_url) as post:
        anna = post.rows.customer({"registered": "anna"})
        assert post.fates(person("anna", letters="yes")) == ["intended"]
        assert post.fates(person("anna", letters="yes")) == ["suppressed: already_mailed"]
        suppress(post, anna, "bad_address", address_key=KEY)
        assert post.fates(person("anna", letters="yes")) == ["suppressed: bad_address"]
        assert post.fates(person("anna", letters="no")) == ["suppressed: no_consent"]
        suppress(post, anna, "objection")
        assert post.fates(person("anna", letters="no")) == ["suppressed: objection"]
        assert post.fates(person("anna", letters="no", city="")) == ["refused: missing_field"]


@pytest.mark.parametrize(
    ("given", "stored", "file", "gateway"),
    [
        (None, None, False, True),
        ("", None, False, True),
        ("  ", None, False, True),
        ("  ", "true", True, True),
        ("yes", None, True, True),
        (" TRUE ", None, True, True),
        (True, None, True, True),
        (1, None, True, True),
        ("opted in", None, True, True),
        (None, "true", True, True),
        (None, '"granted"', True, True),
        (None, "null", False, True),
        ("yes", "false", False, False),
        ("no", "true", False, False),
        ("0", None, False, False),
        (False, "true", False, False),
        (None, "false", False, False),
        (None, '"withdrawn"', False, False),
        ("maybe", None, False, False),
        (["yes"], None, False, False),
        ({"yes": True}, None, False, False),
    ],
)
def test_one_no_is_enough_and_a_file_needs_a_yes(
    given: object, stored: str | None, file: bool, gateway: bool
) -> None:
    assert (consents(given, stored, True), consents(given, stored, False)) == (file, gateway)


def test_consent_is_what_the_row_and_the_customer_say(database_url: str) -> None:
    with asking_for_consent(database_url) as post:
        post.rows.customer({"registered": "anna"}, {"letters": True, "mails": False})
        post.rows.customer({"registered": "bert"}, {"letters": "no"})

        fates = post.fates(
            person("anna"),
            person("bert"),
            person("bert", letters="yes"),
            person("carl"),
            person("dora", letters=1),
        )

    no = "suppressed: no_consent"
    assert fates == ["intended", no, no, no, "intended"]


@pytest.mark.parametrize("newest", ["survivor", "source"])
def test_of_two_who_are_merged_the_newest_word_about_consent_counts(database_url: str, newest: str) -> None:
    with asking_for_consent(database_url) as post:
        anna = post.rows.customer({"registered": "anna"})
        visitor = post.rows.customer({"cookie": "k"})
        for customer, role in ((anna, "survivor"), (visitor, "source")):
            said(post, customer, "letters", role != newest, NOW_US - (role != newest))

        both = person({"registered": "anna", "cookie": "k"})
        assert post.fates(both) == post.fates(both) == ["suppressed: no_consent"]


def test_nobody_is_asked_for_consent_where_no_property_is_set(post: Post) -> None:
    post.rows.customer({"registered": "anna"}, {"letters": False})

    assert post.fates(person("anna", letters="no")) == ["intended"]


# -- once -----------------------------------------------------------------------------------------


def test_a_customer_gets_one_letter_of_an_automation_and_campaign(post: Post) -> None:
    once = "suppressed: already_mailed"

    assert post.fates(person("anna"), person("anna", street="Other")) == ["intended", once]
    assert post.fates(person("anna"), run_id=8) == [once]
    assert post.fates(person("anna"), campaign=None) == ["intended"]
    assert post.fates(person("anna"), campaign=None) == [once]
    assert post.fates(person("anna"), campaign="summer") == ["intended"]
    assert post.fates(person("anna"), automation="f" * 24) == ["intended"]
    assert post.fates(person("anna"), person("anna"), once=False) == ["intended", "intended"]
    assert post.fates(person("anna"), person("anna"), once=False, run_id=None) == ["intended"] * 2


def test_only_a_letter_that_may_be_printed_stands_in_the_way_of_another(post: Post) -> None:
    post.intend(person("anna"))

    for state in State:
        post.change(state=state)
        stands = state in {State.INTENDED, State.ASKED, State.QUEUED, State.UNKNOWN}
        fate = "suppressed: already_mailed" if stands else "intended"
        assert (state, post.fates(person("anna"), run_id=8)) == (state, [fate])


def test_another_project_is_another_customer(post: Post) -> None:
    post.intend(person("anna"))
    post.rows.begin_project()

    assert post.fates(person("anna")) == ["intended"]
    assert len({each.customer_id for each in post.letters()}) == 2


def test_customers_may_be_unknown_where_callbacks_may_not_create_any(database_url: str) -> None:
    with posting(database_url, unknown_customers="reject") as post:
        assert post.fates(person("anna"), person("bert", city="")) == ["intended", "refused: missing_field"]
        (verdict,) = post.call_back({"customer_ids": {"registered": "anna"}, "event_type": "campaign"})

        assert verdict.became == "accepted"
        assert not post.disagreements()
