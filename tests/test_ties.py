"""Which letter a callback is about, on both databases."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from receiver.domain.commands import Form
from receiver.store import mailings
from receiver.store.mailings import State
from tests.posting import NOW_US, Post, person, posting

BOTH = {"registered": "anna", "cookie": "k"}
T0 = NOW_US // 1_000_000


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    with posting(database_url, individualisations="registered=1,cookie=2,campaign=3,mailing=4") as post:
        yield post


def letter(post: Post, ids: Any = BOTH, *, state: str = "queued", **order: Any) -> str:
    """The ID of a letter that Optilyz has; all others become that too."""
    (decided,) = post.intend(person(ids), **({"once": False} | order))
    post.change(state=state, attempts=1, body=None)
    return decided.mailing


def event(ids: dict[str, str], status: str = "posted", at: int = 0, **properties: Any) -> dict[str, Any]:
    return {
        "customer_ids": ids,
        "event_type": "campaign",
        "timestamp": T0 + at,
        "properties": {"status": status, "campaign_id": "winback"} | properties,
    }


def ties(post: Post) -> list[tuple[str | None, str | None]]:
    return [(each.mailing_id, each.tied) for each in post.events("callback")]


# -- which letter ---------------------------------------------------------------------------------


def test_our_mailing_id_says_it_whatever_else_the_callback_says(post: Post) -> None:
    mailing, other = letter(post), letter(post)

    post.call_back(event({"cookie": "stranger"}, mailing_id=mailing, campaign_id="another"))

    assert ties(post) == [(mailing, "mailing_id")]
    assert post.letter(mailing).stage == "posted"
    assert post.letter(other).stage is None


@pytest.mark.parametrize("form", [Form.FLAT, Form.FLAT_ITEM])
def test_the_flat_form_brings_it_back_in_its_individualisation(post: Post, form: Form) -> None:
    mailing = letter(post)
    flat = {f"individualisation{n}": v for n, v in enumerate(("anna", "k", "winback", mailing), 1)}

    post.call_back(flat | {"status": "printing", "timestamp": T0}, form=form)

    assert ties(post) == [(mailing, "mailing_id")]
    assert post.letter(mailing).stage == "printing"


def test_a_batch_brings_back_what_it_is_about(post: Post) -> None:
    first, second = letter(post, "anna"), letter(post, "bert")
    commands = [
        {"name": "customers/events", "data": event({"registered": who})} for who in ("anna", "bert", "carl")
    ]

    post.call_back({"commands": commands}, form=Form.BATCH)

    assert ties(post) == [(first, "ids"), (second, "ids"), (None, "no_mailing")]
    assert [each.stage for each in post.letters()] == ["posted", "posted"]


def test_without_it_one_id_as_it_travelled_and_the_campaign_are_enough(post: Post) -> None:
    mailing = letter(post)

    for number, ids in enumerate(({"registered": "anna"}, {"cookie": "k"}, BOTH, {"registered": " anna "})):
        post.call_back(event(ids, at=number))

    assert ties(post) == [(mailing, "ids")] * 4


def test_a_callback_that_fits_no_letter_says_so(post: Post) -> None:
    letter(post)

    post.call_back(
        event({"registered": "anna", "cookie": "other"}),
        event({"registered": "bert", "cookie": "k"}),
        event({"registered": "bert"}),
        event({"registered": "ANNA"}),
        event({"registered": "anna"}, campaign_id="summer"),
        event({"registered": "anna"}, campaign_id=None),
    )

    assert ties(post) == [*[(None, "no_mailing")] * 5, (None, None)]
    assert post.letters()[0].heard_us is None


def test_an_id_that_did_not_travel_contradicts_nothing(post: Post) -> None:
    mailing = letter(post, "anna")

    post.call_back(event({"registered": "anna", "cookie": "later"}))

    assert ties(post) == [(mailing, "ids")]


def test_what_fits_several_letters_is_tied_to_none(post: Post) -> None:
    letter(post)
    letter(post)
    only = letter(post, {"registered": "anna", "cookie": "k2"})

    post.call_back(event({"registered": "anna"}), event({"registered": "anna", "cookie": "k2"}, at=1))

    assert ties(post) == [(None, "several_mailings"), (only, "ids")]
    assert [each.stage for each in post.letters()] == [None, None, "posted"]


def test_only_a_letter_that_may_be_printed_fits(post: Post) -> None:
    mailing = letter(post)

    for number, state in enumerate(State):
        post.change(state=state, attempts=0)
        post.call_back(event(BOTH, at=number))
        fits = state in {State.ASKED, State.QUEUED, State.UNKNOWN}
        tie = (mailing, "ids") if fits else (None, "no_mailing")
        assert (state, ties(post)[-1]) == (state, tie)


def test_a_letter_that_was_never_sent_is_told_by_its_own_id_all_the_same(post: Post) -> None:
    mailing = letter(post, state="refused")

    post.call_back(event(BOTH, mailing_id=mailing))

    assert ties(post) == [(mailing, "mailing_id")]
    assert post.states() == {"refused": 1}


def test_a_mailing_id_that_nobody_gave_out_is_told(post: Post) -> None:
    post.call_back(event(BOTH, mailing_id="f" * 24))
    mailing = letter(post)
    post.call_back(event(BOTH, at=1, mailing_id="f" * 24))
    post.rows.begin_project()
    post.call_back(event(BOTH, at=2, mailing_id=mailing))

    assert ties(post) == [(None, "unknown_mailing")] * 3
    assert post.letters()[0].heard_us is None


def test_who_has_no_letters_pays_no_query(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = mailings.known_letters

    def known_letters(*arguments: Any) -> Any:
        asked.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(mailings, "known_letters", known_letters)
    post.call_back(event(BOTH))
    assert (asked, ties(post)) == ([], [(None, None)])

    letter(post)
    post.call_back(event(BOTH, at=1))
    assert len(asked) == 1


# -- what is heard --------------------------------------------------------------------------------


def test_the_last_stage_is_of_what_happened_last_not_of_what_came_last(post: Post) -> None:
    mailing = letter(post)

    def heard() -> tuple[str, str, int, int]:
        found = post.letter(mailing)
        return found.stage, found.status, found.stage_us - NOW_US, found.heard_us - NOW_US

    post.call_back(event(BOTH, "posted", at=30), event(BOTH, "booked", at=10), at_us=NOW_US + 40)
    assert heard() == ("posted", "posted", 30_000_000, 40)
    post.call_back(event(BOTH, "printing", at=20), at_us=NOW_US + 50)
    assert heard() == ("posted", "posted", 30_000_000, 50)
    post.call_back(event(BOTH, "delivered", at=30), at_us=NOW_US + 45)
    assert heard() == ("delivered", "delivered", 30_000_000, 50)
    post.call_back(event(BOTH, "", at=60), at_us=NOW_US + 60)
    assert heard() == ("delivered", "delivered", 30_000_000, 60)
    assert not post.disagreements()


def test_a_repeated_callback_is_heard_once(post: Post) -> None:
    mailing = letter(post)
    for at_us in (NOW_US, NOW_US + 1):
        post.call_back(event(BOTH), at_us=at_us)

    assert ties(post) == [(mailing, "ids")]
    assert post.letter(mailing).heard_us == NOW_US


def test_a_letter_that_came_back_flags_its_address_and_waits_to_be_told(post: Post) -> None:
    mailing = letter(post)

    post.call_back(event(BOTH, "undeliverable"))

    returned = post.letter(mailing)
    assert (returned.stage, returned.state, returned.untold) == ("returned", "queued", True)
    (flagged,) = post.suppressions()
    assert (flagged.customer_id, flagged.address_key, flagged.kind, flagged.mailing_id, flagged.note) == (
        returned.customer_id,
        returned.address_key,
        "bad_address",
        mailing,
        "returned",
    )
    assert post.fates(person("anna"), campaign="next") == ["suppressed: bad_address"]
    assert post.fates(person("anna", street="Other"), campaign="next") == ["intended"]


def test_a_letter_that_came_back_is_told_of_again_and_flagged_once(post: Post) -> None:
    (letter,) = post.intend(person("anna"))
    post.change(state="queued")
    for second in range(2):
        bodies = [
            {
                "customer_ids": {"registered": "anna"},
                "event_type": "campaign",
                "timestamp": 1_760_000_000 + 10 * second + each,
                "properties": {"status": "returned", "campaign_id": "winback"},
            }
            for each in range(2)
        ]
        assert [verdict.became.value for verdict in post.call_back(*bodies)] == ["accepted", "accepted"]

    (flagged,) = post.suppressions()
    assert flagged.mailing_id == letter.mailing


@pytest.mark.parametrize("revoke", [True, False])
def test_a_letter_that_came_back_takes_the_consent_back_where_that_is_wanted(
    database_url: str, revoke: bool
) -> None:
    with posting(database_url, consent_property="post", revoke_consent=revoke) as post:
        post.rows.customer({"registered": "anna"}, {"post": True})
        letter(post)
        post.call_back(event(BOTH, "returned"))

        fate = "suppressed: no_consent" if revoke else "intended"
        assert post.fates(person("anna", street="Other"), campaign="next") == [fate]


def test_a_letter_that_came_back_flags_who_is_left_of_a_merge_in_the_same_group(post: Post) -> None:
    anna = post.rows.customer({"registered": "anna"})
    letter(post, {"cookie": "k"})

    post.call_back(event({"cookie": "k"}, "returned"), event(BOTH, "visit", campaign_id=None))

    assert [each.customer_id for each in post.suppressions()] == [anna]
    assert post.letters()[0].customer_id == anna


def test_a_callback_about_somebody_elses_letter_flags_whom_it_was_sent_to(post: Post) -> None:
    mailing = letter(post, "anna")

    post.call_back(event({"registered": "bert"}, "returned", mailing_id=mailing))

    assert [each.customer_id for each in post.suppressions()] == [post.letter(mailing).customer_id]


@pytest.mark.parametrize("state", ["unknown", "intended"])
def test_a_letter_that_is_heard_of_was_taken_and_is_not_sent_again(post: Post, state: str) -> None:
    mailing = letter(post, state=state)
    post.change(untold=state == "unknown", body=b"{}", reason="no_answer")

    post.call_back(event(BOTH, "booked", mailing_id=mailing))

    heard = post.letter(mailing)
    assert (heard.state, heard.reason, heard.stage, heard.body) == ("queued", "heard_of", "queued", None)


def test_a_letter_that_was_never_asked_for_stays_due_whatever_is_heard(post: Post) -> None:
    (decided,) = post.intend(person("anna"))

    post.call_back(event({"registered": "anna"}, mailing_id=decided.mailing))

    assert post.states() == {"intended": 1}
    assert post.letters()[0].body


def test_what_is_heard_of_is_found_after_customers_were_merged(post: Post) -> None:
    mailing = letter(post, {"cookie": "k"})
    post.rows.customer({"registered": "anna"})
    post.call_back(event(BOTH, "visit", campaign_id=None))

    post.call_back(event({"cookie": "k"}, at=1))

    assert ties(post)[1] == (mailing, "ids")
    assert json.loads(post.letter(mailing).ids) == {"cookie": "k"}
