"""The relay at the console: how it goes, in words, and what is done about what was set aside."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from receiver.domain.moments import iso
from receiver.simulator.bloomreach import KEY_ID, PROJECT_TOKEN, SECRET
from receiver.store import outbox, relay_pump, writes
from receiver.store.outbox import Reason, SetAside
from receiver.store.sets import Ledger, Transaction
from receiver.store.tables import outbox as rows_of_outbox
from receiver.store.tables import relay_pump as row_of_pump
from tests.mending import MINUTE_US, SECOND_US, event
from tests.serving_app import Sender, serving
from tests.visiting import CONSOLE, Form, Seen, Visitor, signed_in, unchanged

PAGE = f"{CONSOLE}/relay"
HOSTILE = "<script>alert('x')</script> \"&'"
SETTINGS = {
    "bloomreach_base_url": "http://127.0.0.1:9",
    "bloomreach_project_token": PROJECT_TOKEN,
    "bloomreach_key_id": KEY_ID,
    "bloomreach_secret": SECRET,
    # Nobody relays by itself: each test says how it goes.
    "relay_in_service": False,
}


@pytest.fixture
def database_path(migrated_sqlite: Path, tmp_path: Path) -> Path:
    path = tmp_path / "receiver.db"
    shutil.copyfile(migrated_sqlite, path)
    return path


@pytest.fixture
def sender(database_path: Path) -> Iterator[Sender]:
    with serving(f"sqlite:///{database_path}", unknown_customers="create", **SETTINGS) as sender:
        yield sender


@pytest.fixture
def visitor(sender: Sender) -> Visitor:
    return signed_in(sender)


def now_us() -> int:
    return time.time_ns() // 1000


def change(sender: Sender, do: Any) -> None:
    ledger = Ledger(sender.engine)
    with ledger.transaction() as transaction:
        writes.take_turn(transaction, 0)
        do(transaction)
    ledger.close()


def pump(sender: Sender, **columns: object) -> None:
    with sender.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(row_of_pump).values(**columns))


def take(sender: Sender, *events: dict[str, Any]) -> list[int]:
    """Their numbers."""
    for each in events:
        assert sender.send("customers/events", each).status_code == 200
    with sender.engine.connect() as connection:
        numbers = [row.id for row in connection.execute(rows_of_outbox.select())]
    return sorted(numbers)[-len(events) :]


def set_aside(sender: Sender, *ids: int, words: str = HOSTILE, reason: Reason = Reason.REFUSED) -> None:
    def settle(transaction: Transaction) -> None:
        refused = [SetAside(each, reason, words) for each in ids]
        outbox.settle(transaction, [], refused, [], now_us())

    change(sender, settle)


def told(seen: Seen) -> str:
    """Its words with single spaces."""
    return " ".join(seen.words.split())


def numbers_there(seen: Seen) -> list[str]:
    """The numbers of the commands of the table."""
    return re.findall(r" (\d+) (?:campaign|customer update)", told(seen).partition("One by one")[2])


def deciding(seen: Seen) -> Form:
    """The form that puts back or discards."""
    (form,) = (each for each in seen.posts() if each.action.endswith("/relay/decide"))
    return form


def refuse_three(sender: Sender) -> list[int]:
    """Two with hostile words, and a third one of another kind."""
    ids = take(
        sender, event({"registered": "c-1"}), event({"registered": "c-2"}), event({"registered": "c-3"})
    )
    set_aside(sender, *ids[:2])
    set_aside(sender, ids[2], words="Invalid JSON", reason=Reason.UNREADABLE)
    return ids


# -- how it goes ----------------------------------------------------------------------------------


def test_who_has_no_settings_is_told_which_to_set(database_path: Path) -> None:
    with serving(f"sqlite:///{database_path}", unknown_customers="create") as sender:
        visitor = signed_in(sender)
        sender.send("customers/events", event())

        overview, page = visitor.look(f"{CONSOLE}/"), visitor.look(PAGE)

    assert "the relay is off" in overview.words
    assert "All is well" in overview.words
    assert PAGE in overview.links()
    assert "Off. What arrives here does not reach Bloomreach." in page.words
    for name in ("BASE_URL", "PROJECT_TOKEN", "KEY_ID", "SECRET"):
        assert f"RECEIVER_BLOOMREACH_{name}" in page.words


def test_what_was_switched_off_is_switched_on_by_a_start(sender: Sender, visitor: Visitor) -> None:
    change(sender, outbox.switch_off)

    assert "Its settings are there: start the service again to switch it on." in visitor.look(PAGE).words


def test_a_quiet_relay_is_well(sender: Sender, visitor: Visitor) -> None:
    ids = take(sender, event())
    change(sender, lambda each: outbox.settle(each, ids, [], [], now_us()))

    page, overview = visitor.look(PAGE), visitor.look(f"{CONSOLE}/")

    assert "On and quiet. Nothing waits for Bloomreach." in page.words
    assert "Nothing is set aside." in page.words
    assert "All is well" in overview.words
    assert "For Bloomreach 0 Letters of unknown fate" in told(overview)


@pytest.mark.parametrize(
    ("columns", "sort", "said"),
    [
        ({"until_us": 30}, None, r"Relaying\. 1 waits, the oldest for 2 minutes\."),
        (
            {"until_us": 30, "open_us": 60, "failures": 3, "problem": "Down (503).", "problem_us": -60},
            "late",
            r"Bloomreach is away since \S+ \S+\. Down \(503\)\. 1 waits, the oldest for 2 minutes; nothing is"
            r" lost\. It is tried again at \S+ \S+\.",
        ),
        (
            {"until_us": 30, "open_us": -1, "failures": 3, "problem": "Down (503).", "problem_us": -60},
            "late",
            r"nothing is lost\. It is being tried again\.",
        ),
        (
            {
                "until_us": 30,
                "open_us": 60,
                "failures": 1,
                "problem": "See the key.",
                "problem_us": -60,
                "stopped": True,
            },
            "bad",
            r"Stopped since \S+ \S+\. See the key\. 1 waits, .*; nothing is lost\. It is tried again at \S+"
            r" \S+, and when the service starts\.",
        ),
        (
            {"until_us": -1},
            "bad",
            r"Nobody relays\. 1 waits, .*; nothing is lost\. Start the service, or receiver relay run",
        ),
    ],
)
def test_the_state_is_told_in_words(
    sender: Sender, visitor: Visitor, columns: dict[str, object], sort: str | None, said: str
) -> None:
    """Times in *columns* are seconds from now on."""
    take(sender, event())
    at_us = now_us()
    with sender.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(rows_of_outbox).values(given_us=at_us - 2 * MINUTE_US - SECOND_US))
    pump(
        sender,
        **{
            name: at_us + value * SECOND_US if name.endswith("_us") and isinstance(value, int) else value
            for name, value in columns.items()
        },
    )

    overview, page = visitor.look(f"{CONSOLE}/"), visitor.look(PAGE)

    assert re.search(said, told(page))
    assert ("div", {"class": f"state {sort or 'good'}"}) in page.elements
    assert bool(re.search(said, told(overview))) is (sort is not None)
    assert ("All is well" in overview.words) is (sort is None)
    assert re.search(r"For Bloomreach 1, the oldest since", told(overview))


def test_the_rate_and_the_hours_are_told(sender: Sender, visitor: Visitor) -> None:
    ids = take(sender, event({"registered": "c-1"}), event({"registered": "c-2"}))
    change(sender, lambda each: outbox.settle(each, ids, [], [], now_us()))
    change(sender, lambda each: relay_pump.sent(each, now_us(), 1234))

    page = visitor.look(PAGE)

    assert re.search(r"Sent this hour 2 1 234 a second now", told(page))
    assert re.search(r"Sent in 24 hours 2 2 in all", told(page))
    hour = iso(now_us())[11:13]
    assert re.search(rf"{hour}:00: 2 sent", page.words)


# -- what was set aside ---------------------------------------------------------------------------


def test_what_was_set_aside_is_found_from_the_overview(sender: Sender, visitor: Visitor) -> None:
    refuse_three(sender)

    overview = visitor.look(f"{CONSOLE}/")

    assert "3 commands were set aside: Bloomreach would not take them." in overview.words
    assert "All is well" not in overview.words
    assert PAGE in overview.links()


def test_words_of_others_are_shown_as_they_are(sender: Sender, visitor: Visitor) -> None:
    ids = take(sender, event({"registered": HOSTILE}, event_type=HOSTILE))
    set_aside(sender, *ids)

    for path in (PAGE, f"{PAGE}?message={HOSTILE.replace('&', '%26')}"):
        page = visitor.look(path)
        assert page.words.count(HOSTILE) >= 3
        assert "script" not in {tag for tag, _ in page.elements}


def test_a_group_leads_to_its_commands(sender: Sender, visitor: Visitor) -> None:
    first, second, third = refuse_three(sender)
    page = visitor.look(PAGE)
    assert numbers_there(page) == [str(third), str(second), str(first)]

    (link,) = (each for each in page.links() if "message=Invalid" in each)
    found = visitor.look(link)

    assert numbers_there(found) == [str(third)]
    assert "Put it back Discard it" in told(found)
    assert "Nothing that was set aside matches." in visitor.look(f"{PAGE}?campaign=none").words
    assert "Write it in ISO 8601" in visitor.look(f"{PAGE}?since=then", 400).words


def test_what_matches_is_put_back(sender: Sender, visitor: Visitor) -> None:
    refuse_three(sender)
    with sender.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(rows_of_outbox).values(given_us=now_us() - MINUTE_US))
    page = visitor.look(f"{PAGE}?reason=refused")

    answer = visitor.send(deciding(page), do="retry")

    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?done=retry&number=2")
    after = visitor.look(answer.headers["location"])
    assert "2 were put back. The relay tries them within seconds." in told(after)
    assert "Nobody relays" not in after.words
    assert len(numbers_there(after)) == 1


def test_it_is_asked_once_more_before_anything_is_discarded(sender: Sender, visitor: Visitor) -> None:
    refuse_three(sender)
    form = deciding(visitor.look(f"{PAGE}?reason=refused"))

    with unchanged(sender, rows_of_outbox):
        answer = visitor.send(form, do="ask")
    asked = Seen(answer)
    assert "Discard 2 commands?" in asked.words
    assert "This cannot be undone." in asked.words
    assert f"{PAGE}?reason=refused" in asked.links()

    answer = visitor.send(deciding(asked), do="discard")
    assert answer.headers["location"] == f"{PAGE}?done=discard&number=2"
    after = visitor.look(answer.headers["location"])
    assert "2 were discarded." in after.words
    assert len(numbers_there(after)) == 1


def test_a_form_without_its_proof_does_nothing(sender: Sender, visitor: Visitor) -> None:
    refuse_three(sender)
    form = deciding(visitor.look(PAGE))

    with unchanged(sender, rows_of_outbox):
        assert visitor.send(form, do="discard", proof="x").status_code == 403
        assert visitor.send(form, do="other").status_code == 400
        assert visitor.send(form, do="discard", reason="other").status_code == 400


def test_a_data_key_sees_how_it_goes_and_changes_nothing(sender: Sender) -> None:
    refuse_three(sender)
    visitor = signed_in(sender, "data")

    page = visitor.look(PAGE)

    assert "Invalid JSON" in page.words
    assert "c-1" not in page.words
    assert [each for each in page.posts() if "relay" in each.action] == []
    (proof,) = {form.fields["proof"] for form in page.posts()}
    with unchanged(sender, rows_of_outbox):
        data = {"proof": proof, "do": "discard"}
        assert visitor.ask("POST", f"{PAGE}/decide", data=data).status_code == 403


def test_a_page_of_many_groups_and_commands_is_small(sender: Sender, visitor: Visitor) -> None:
    ids = take(sender, *(event({"registered": f"c-{number}", "cookie": "u" * 400}) for number in range(60)))
    for number in ids:
        set_aside(sender, number, words=f"{number} " + "x" * 490)

    answer = visitor.get(PAGE)

    assert len(answer.content) < 100_000
    assert len(numbers_there(Seen(answer))) == 50
    assert "And others, of which there are fewer" in Seen(answer).words
