"""People are told once of letters that need them, over real HTTP."""

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, update

from receiver.outbound.notices import Notices
from receiver.simulator.service import AUTOMATION
from receiver.store.tables import mailings, notices
from tests.inbox import Inbox, receiving
from tests.posting import NOW_US, Post, person, posting

MINUTE_US = 60_000_000

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning:apprise")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with receiving() as inbox:
        yield inbox


@pytest.fixture
def post(database_url: str, inbox: Inbox) -> Iterator[Post]:
    with posting(database_url, alert_urls=inbox.url) as post:
        yield post


@pytest.fixture
def bell(post: Post) -> Iterator[Notices]:
    bell = Notices(post.engine, post.settings)
    yield bell
    bell.close()


def letters(post: Post, number: int, *, run_id: int | None = 7, campaign: str = "winback") -> list[str]:
    people = [person(f"anna-{each}") for each in range(number)]
    return [each.mailing for each in post.intend(*people, run_id=run_id, campaign=campaign, once=False)]


def became(engine: Engine, ids: list[str], state: str, **columns: object) -> None:
    values = {"state": state, "settled_us": NOW_US, "untold": True} | columns
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(mailings).where(mailings.c.id.in_(ids)).values(**values))


def untold(post: Post) -> int:
    return sum(each.untold for each in post.letters())


def test_a_run_tells_once_of_each_kind_of_news_and_not_per_letter(
    post: Post, bell: Notices, inbox: Inbox
) -> None:
    ids = letters(post, 9)
    became(post.engine, ids[:2], "refused", message="Anna Beispiel does not live here")
    became(post.engine, ids[2:3], "unknown")
    became(post.engine, ids[3:6], "queued", stage="returned", heard_us=NOW_US)
    became(post.engine, ids[6:], "queued", untold=False)

    bell.tell(run_id=7)
    bell.tell(run_id=7)
    bell.tell()

    (message,) = inbox.messages
    title, *lines = message.splitlines()
    assert title == "receiver: letters need you"
    of_all = f"Automation {AUTOMATION}, campaign winback: "
    assert sorted(lines) == [
        of_all + "1 letter without an answer: nobody knows whether they are printed. Look them up at"
        " Optilyz, then run `receiver mailings resolve`.",
        of_all + "2 letters refused by Optilyz; their addresses are marked as bad until they change.",
        of_all + "3 letters came back; their addresses are marked as bad until they change.",
    ]
    assert untold(post) == 0


def test_no_notice_holds_anything_personal(post: Post, bell: Notices, inbox: Inbox) -> None:
    ids = letters(post, 1)
    became(post.engine, ids, "refused", message="Anna Beispiel does not live here")

    bell.tell()

    (message,) = inbox.messages
    for word in ("anna", "beispiel", "hauptstr", "01067", "dresden"):
        assert word not in message.lower()


def test_a_run_is_told_of_when_it_is_over(post: Post, bell: Notices, inbox: Inbox) -> None:
    ids = letters(post, 3)
    became(post.engine, ids[:1], "refused")
    bell.tell(run_id=7)
    bell.tell()
    became(post.engine, ids[1:2], "queued", untold=False)
    became(post.engine, ids[2:], "asked", untold=False)
    bell.tell()
    assert inbox.messages == []

    became(post.engine, ids[2:], "unknown")
    bell.tell()
    assert len(inbox.messages) == 1
    assert untold(post) == 0


def test_what_comes_back_of_a_run_that_was_told_of_is_told_once(
    post: Post, bell: Notices, inbox: Inbox
) -> None:
    first, second = letters(post, 2)
    became(post.engine, [first, second], "queued", untold=False)
    for each in (first, second):
        became(post.engine, [each], "queued", stage="returned", heard_us=NOW_US)
        bell.tell()

    (message,) = inbox.messages
    assert "1 letter came back" in message
    assert untold(post) == 0


def test_the_gateway_tells_once_a_day_of_an_automation(post: Post, bell: Notices, inbox: Inbox) -> None:
    for told in (1, 1, 2):
        became(post.engine, letters(post, 1, run_id=None), "refused")
        if told == 2:
            with post.engine.execution_options(writes=True).begin() as connection:
                connection.execute(update(notices).values(sent_us=NOW_US))
        bell.tell()
        assert (len(inbox.messages), untold(post)) == (told, 0)


def test_each_campaign_of_the_gateway_is_told_of(post: Post, bell: Notices, inbox: Inbox) -> None:
    for campaign in ("winback", "spring"):
        became(post.engine, letters(post, 1, run_id=None, campaign=campaign), "refused")
        bell.tell()

    assert ["campaign spring" in message for message in inbox.messages] == [False, True]


def test_no_address_is_blamed_for_an_automation_that_is_not_there(
    post: Post, bell: Notices, inbox: Inbox
) -> None:
    became(post.engine, letters(post, 2, run_id=None), "refused", reason="unknown_automation")

    bell.tell()

    (message,) = inbox.messages
    assert "2 letters refused: Optilyz has no such automation" in message
    assert "address" not in message


def test_what_has_just_happened_waits_for_more_of_its_kind(post: Post, bell: Notices, inbox: Inbox) -> None:
    old, new = letters(post, 2)
    became(post.engine, [old], "refused")
    became(post.engine, [new], "refused", settled_us=NOW_US + MINUTE_US)

    bell.tell(before_us=NOW_US + 1)

    assert "1 letter refused" in inbox.messages[0]
    assert [each.id for each in post.letters() if each.untold] == [new]


def test_a_notice_that_failed_is_told_later(
    post: Post, bell: Notices, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    became(post.engine, letters(post, 2), "refused")
    inbox.status = 500
    with caplog.at_level(logging.DEBUG):
        bell.tell()
    assert (inbox.messages, untold(post)) == ([], 2)
    assert "secretword" not in caplog.text

    inbox.status = 200
    bell.tell()
    assert len(inbox.messages) == 1
    assert untold(post) == 0


def test_what_turned_out_well_before_anybody_was_told_is_not_told(
    post: Post, bell: Notices, inbox: Inbox
) -> None:
    heard, resolved, printed_again = letters(post, 3)
    became(post.engine, [heard, resolved, printed_again], "unknown")
    post.call_back(
        {
            "customer_ids": {"registered": "anna-0"},
            "event_type": "campaign",
            "properties": {"status": "posted", "mailing_id": heard},
        }
    )
    became(post.engine, [resolved], "queued", reason="resolved")
    became(post.engine, [printed_again], "queued")

    bell.tell(run_id=7)
    bell.tell()

    assert inbox.messages == []


def test_nobody_is_told_where_no_url_is_set(database_url: str, inbox: Inbox) -> None:
    with posting(database_url) as post:
        became(post.engine, letters(post, 1), "refused")
        bell = Notices(post.engine, post.settings)
        bell.tell()
        bell.close()

        assert untold(post) == 1
    assert inbox.messages == []


def test_two_projects_are_told_of_apart(post: Post, bell: Notices, inbox: Inbox) -> None:
    became(post.engine, letters(post, 1, run_id=None), "refused")
    post.rows.begin_project()
    became(post.engine, letters(post, 2, run_id=None), "refused")

    bell.tell()

    assert sorted(line.partition(": ")[2][:17] for line in inbox.messages[0].splitlines()[1:]) == [
        "1 letter refused ",
        "2 letters refused",
    ]
    assert untold(post) == 0


def test_a_notice_that_broke_is_told_later(
    post: Post, bell: Notices, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    became(post.engine, letters(post, 2), "refused")
    with monkeypatch.context() as broken:
        broken.setattr("apprise.Apprise.notify", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bell.tell()

    bell.tell()
    assert len(inbox.messages) == 1
    assert untold(post) == 0


@pytest.mark.parametrize("url", ["secretword", "nonsense://secretword/", "json://:secretword@"])
def test_a_url_that_cannot_be_used_is_in_no_log(
    database_url: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with posting(database_url, alert_urls=url) as post, caplog.at_level(logging.DEBUG):
        became(post.engine, letters(post, 1), "refused")
        bell = Notices(post.engine, post.settings)
        bell.tell()
        bell.close()

        assert untold(post) == 1
    assert "secretword" not in caplog.text


def test_who_can_be_told_is_told_once_though_another_one_cannot(database_url: str, inbox: Inbox) -> None:
    with posting(database_url, alert_urls=f"json://127.0.0.1:9/, {inbox.url}") as post:
        became(post.engine, letters(post, 1), "refused")
        bell = Notices(post.engine, post.settings)
        bell.tell()
        bell.tell()
        bell.close()

        assert untold(post) == 0
    assert len(inbox.messages) == 1
