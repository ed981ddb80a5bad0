"""The pages about campaigns, over HTTP, on both databases."""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from sqlalchemy import insert

from receiver.console.campaigns import window
from receiver.console.rendering import ZONE_COOKIE, share, span
from receiver.domain.moments import DAY_US, HOUR_US, moment_us
from receiver.domain.stages import FUNNEL, STAGES
from receiver.store import parquet
from receiver.store.mailings import State
from receiver.store.tables import mailings, projects
from tests.reading_commands import run
from tests.rows import T0
from tests.serving_app import Sender, serving
from tests.visiting import CONSOLE, Seen, Visitor, signed_in

CAMPAIGNS = f"{CONSOLE}/campaigns"
ODD = '<b>"50 %" & more</b>?#=+ / ../späte Post'
WORDS = {"deferred": "delayed", "suppressed": "excluded", "unknown": "Zugestellt"}


@pytest.fixture
def sender(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    with serving(database_url) as sender:
        yield sender


@pytest.fixture
def visitor(sender: Sender) -> Visitor:
    return signed_in(sender)


def told(campaign: str, stage: str, at_us: int = T0, who: str = "anna", **properties: str) -> dict[str, Any]:
    """A command: a stage of a letter, in a word of the sender's."""
    said = {"status": WORDS.get(stage, stage), "campaign_id": campaign, **properties}
    event = {"event_type": "campaign", "timestamp": at_us / 1e6, "properties": said}
    return {"name": "customers/events", "data": {"customer_ids": {"registered": who}, **event}}


def send(sender: Sender, *commands: Mapping[str, Any]) -> None:
    for first in range(0, len(commands), 50):
        answer = sender.send("batch", {"commands": commands[first : first + 50]})
        assert all(each["success"] for each in answer.json()["results"])


def asked(sender: Sender, path: str, **parameters: str) -> Any:
    """The answer of the API."""
    url = f"/v1/projects/{sender.project.token}{path}"
    answer = sender.client.get(
        url, params=parameters, headers={"authorization": sender.authorization("data")}
    )
    assert answer.status_code == 200
    return answer


def of(reference: str, path: str = "one", **parameters: str) -> str:
    return f"{CAMPAIGNS}/{path}?{urlencode({'ref': reference, **parameters})}"


def words(page: Seen) -> str:
    """In one line; spaces that do not break are spaces."""
    return re.sub(r"\s+", " ", page.words)


def linked(page: Seen, path: str) -> list[str]:
    return [each for each in page.links() if each.startswith(f"{CONSOLE}{path}")]


def drawn(page: Seen, css: str) -> list[str]:
    """What the drawings of a class say to those who do not see them."""
    return [given["aria-label"] for tag, given in page.elements if tag == "svg" and given.get("class") == css]


# -- the list -------------------------------------------------------------------------------------


def test_whoever_has_no_campaign_yet_is_told_how_the_first_one_comes(visitor: Visitor) -> None:
    page = visitor.look(CAMPAIGNS)

    assert "No campaign is known yet. The first one appears with the first callback" in words(page)
    assert f"{CONSOLE}/handover" in page.links()


def test_the_list_shows_how_far_letters_came_and_the_one_heard_of_last_first(
    sender: Sender, visitor: Visitor
) -> None:
    send(
        sender,
        *[told("spring", stage, T0 + n) for n, stage in enumerate(("queued", "posted", "delivered"))],
        told("spring", "returned", T0 + 5, "bert"),
        told(ODD, "queued", T0 + DAY_US),
    )

    page = visitor.look(CAMPAIGNS)

    assert linked(page, "/campaigns/one") == [of(ODD), of("spring")]
    assert drawn(page, "bar") == [
        f"{ODD}: queued 1, printing 0, posted 0, delivered 0, returned 0 of 1 letters",
        "spring: queued 1, printing 0, posted 1, delivered 1, returned 1 of 2 letters",
    ]
    assert "spring 2 50.0 % 50.0 % 0.0 % 2025-10-09 2025-10-09" in words(page)


@pytest.mark.parametrize("reference", [ODD, "a/b", ".", "x" * 200, " y", "100%25", "a\nb", "{{ 7*7 }}"])
def test_a_reference_may_hold_anything(sender: Sender, visitor: Visitor, reference: str) -> None:
    send(sender, told(reference, "queued"))
    kept = asked(sender, "/campaigns").json()["data"][0]["campaign"]

    for path in (CAMPAIGNS, f"{CONSOLE}/"):
        (link,) = linked(visitor.look(path), "/campaigns/one")
        page = visitor.look(link)

        assert words(page).count(words_of(kept)) >= 2  # in the title and above everything
        assert "1 event, the first 2025-10-09 08:53" in words(page)


def words_of(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def test_what_does_not_fit_on_a_page_is_on_the_next(sender: Sender, visitor: Visitor) -> None:
    send(sender, *[told(f"c{n:02}", "queued", T0 - n * HOUR_US) for n in range(60)])

    first = visitor.look(CAMPAIGNS)
    (link,) = [each for each in linked(first, "/campaigns?") if "cursor" in each]
    second = visitor.look(link)

    both = linked(first, "/campaigns/one") + linked(second, "/campaigns/one")
    assert both == [of(f"c{n:02}") for n in range(60)]
    assert "Older ones" not in second.words
    assert "Back to the newest" in second.words


def test_a_period_is_one_of_days_where_the_viewer_is(sender: Sender, visitor: Visitor) -> None:
    send(
        sender,
        told("late", "queued", moment_us("2025-10-09T22:30")),
        told("soon", "queued", moment_us("2025-10-09T21:30")),
    )

    def found(**period: str) -> list[str]:
        return linked(visitor.look(f"{CAMPAIGNS}?{urlencode(period)}"), "/campaigns/one")

    assert found(since="2025-10-10") == []
    visitor.cookies[ZONE_COOKIE] = "Europe/Berlin"
    assert found(since="2025-10-10") == [of("late")]
    assert found(until="2025-10-10") == [of("soon")]
    assert "No campaign matches." in visitor.look(f"{CAMPAIGNS}?since=2030-01-01").words


def test_what_cannot_be_asked_is_said_in_words(visitor: Visitor) -> None:
    page = visitor.look(f"{CAMPAIGNS}?since=yesterday", 400)

    assert "since: Write it in ISO 8601" in words(page)
    assert "No campaign" not in page.words
    assert "cursor: This is no cursor" in words(visitor.look(f"{CAMPAIGNS}?cursor=x", 400))


# -- one ------------------------------------------------------------------------------------------


def spring(sender: Sender) -> None:
    """Three letters; one of B whose printing nobody reported, and one of which nothing is told but an end."""
    send(
        sender,
        told("spring", "queued", T0, "anna", variation="A"),
        told("spring", "posted", T0 + DAY_US, "anna", variation="A"),
        told("spring", "delivered", T0 + 3 * DAY_US, "anna", variation="A"),
        told("spring", "queued", T0, "bert", variation="B"),
        told("spring", "returned", T0 + 9 * DAY_US, "bert", variation="B"),
        told("spring", "unknown", T0 + 2 * DAY_US, "bert", variation="B"),
        told("spring", "failed", T0 + DAY_US, "carl"),
    )


def test_a_campaign_is_shown_with_the_numbers_of_the_api(sender: Sender, visitor: Visitor) -> None:
    spring(sender)
    document = asked(sender, "/campaigns/spring").json()

    page = visitor.look(of("spring"))

    shown = words(page)
    for step in document["funnel"]:
        assert (
            f"{step['stage']}: {step['reached']} letters came so far, reported of {step['letters']}"
            in drawn(page, "bar")
        )
        shares = [share(step[name]).replace("\u202f", " ") for name in ("of_mailed", "of_previous")]
        assert f"{step['stage']} {step['reached']} {step['letters']} {' '.join(shares)}" in shown
    for each in document["times"]:
        took = f"{span(each['median_seconds'])} {span(each['p90_seconds'])} {each['letters']}"
        assert f"{each['since']} {each['stage']} {took}" in shown
    assert "mailed delivered 3 days 3 days 1" in shown
    assert "A 1 1 100.0 % 0.0 % 0.0 % 3 days" in shown
    assert "B 1 1 0.0 % 100.0 % 0.0 % –" in shown
    assert "Zugestellt a word we do not know 1" in shown
    assert "No letter of this campaign was sent from here" in shown


def test_who_tells_no_variation_sees_no_table_of_them(sender: Sender, visitor: Visitor) -> None:
    send(sender, told("spring", "queued"))

    assert "Variation" not in visitor.look(of("spring")).words


def test_our_own_letters_are_shown_by_state_and_by_silence(sender: Sender, visitor: Visitor) -> None:
    old_us, new_us = T0, T0 + DAY_US
    mailed(sender, 1, State.QUEUED, old_us)
    mailed(sender, 2, State.QUEUED, new_us)
    mailed(sender, 3, State.UNKNOWN, new_us)

    page = visitor.look(of("spring"))

    assert "No event has come in yet" in words(page)
    assert "No stage was reported of any letter yet." in words(page)
    assert "queued 2 unknown 1" in words(page)
    assert "30 days and more 2 letters" in words(page)
    assert linked(page, "/mailings?") == [
        f"{CONSOLE}/mailings?campaign=spring&state=queued",
        f"{CONSOLE}/mailings?campaign=spring&state=unknown",
        f"{CONSOLE}/mailings?campaign=spring&silent_days=30",
    ]


def test_who_may_not_see_mailings_gets_no_links_to_them(sender: Sender) -> None:
    mailed(sender, 1, State.QUEUED, T0)

    page = signed_in(sender, "data").look(of("spring"))

    assert "30 days and more 1 letter" in words(page)
    assert linked(page, "/mailings") == []


def mailed(sender: Sender, number: int, state: State, at_us: int) -> None:
    with sender.engine.execution_options(writes=True).begin() as connection:
        query = projects.select().where(projects.c.token == sender.project.token)
        row = {
            "project_id": connection.execute(query).one().id,
            "id": f"{number:024x}",
            "campaign": "spring",
            "state": state,
            "route": "many",
            "automation": "a" * 24,
            "ids": "{}",
            "together": 1,
            "attempts": 1,
            "created_us": at_us,
            "settled_us": at_us,
            "untold": False,
        }
        connection.execute(insert(mailings), row)


@pytest.mark.parametrize(("role", "links"), [("ops", 1), ("data", 0)])
def test_of_an_unknown_campaign_people_are_told_where_to_look(sender: Sender, role: str, links: int) -> None:
    page = signed_in(sender, role).look(of("sprnig"), 404)

    assert "Nothing is known of a campaign with this reference." in page.words
    assert "You asked for sprnig." in words(page)
    assert len(linked(page, "/rejections?campaign=sprnig")) == links


def test_without_a_reference_all_are_shown(visitor: Visitor) -> None:
    assert visitor.get(f"{CAMPAIGNS}/one?ref=").headers["location"] == CAMPAIGNS


def test_a_reference_that_the_api_takes_for_another_question_is_not_asked(
    sender: Sender, visitor: Visitor
) -> None:
    send(sender, told("spring", "queued"), told("spring/timeseries", "queued"))

    assert "on the command line: receiver funnel" in visitor.look(of("spring/timeseries"), 404).words


# -- when letters reached their stages ------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "by", "upto", "shown"),
    [
        ("01-01", "01-01", None, None, ("hour", "01-01", "01-02", None, None)),
        ("01-01", "01-03", None, None, ("day", "01-01", "01-04", None, None)),
        ("01-01", "12-31", None, "nonsense", ("week", "01-06", "01-01+1", "01-05", None)),
        ("01-01", "12-31", "day", "06-30", ("day", "05-20", "07-01", "05-19", "08-11")),
        ("01-01", "12-31", "week", "06-30", ("week", "01-01", "07-07", None, "12-31")),
        ("01-01", "12-31", "hour", "12-30", ("hour", "12-29", "12-31", "12-28", "12-31")),
        ("03-01", "03-09", "day", "01-01", ("day", "03-01", "03-02", None, "03-09")),
        ("03-01", "03-09", "month", "12-31", ("day", "03-01", "03-10", None, None)),
    ],
)
def test_so_many_days_are_drawn_at_once_within_those_of_the_campaign(
    first: str, last: str, by: str | None, upto: str | None, shown: tuple[str | None, ...]
) -> None:
    def day(text: str | None) -> date | None:
        if text is None:
            return None
        month_day, _, years = text.partition("+")
        return date.fromisoformat(f"{2025 + int(years or 0)}-{month_day}")

    wanted = upto if upto in {None, "nonsense"} else f"2025-{upto}"
    first_day, last_day = day(first), day(last)
    assert first_day is not None
    assert last_day is not None

    found = window(first_day, last_day, by, wanted)

    assert found == (shown[0], *map(day, shown[1:]))


def counts(page: Seen) -> dict[str, list[int]]:
    """The table beside the drawing: a row for each span."""
    text = words(page).partition("The same as a table")[2].partition("Our own letters")[0]
    found: dict[str, list[int]] = {}
    for begin, numbers in re.findall(r"(\d{4}-\d\d-\d\d(?: \d\d:\d\d)?) ((?:\d+ )+)", text):
        found[begin] = list(map(int, numbers.split()))
    return found


@pytest.mark.parametrize("drawn_as", ["columns", "lines"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_drawing_and_its_table_show_days_of_the_viewer(
    sender: Sender, visitor: Visitor, zone: str, drawn_as: str
) -> None:
    spring(sender)
    visitor.cookies[ZONE_COOKIE] = zone
    rows = asked(sender, "/campaigns/spring/timeseries", timezone=zone).json()["data"]
    stages = [stage for stage in STAGES if any(row["stages"][stage] for row in rows)]

    page = visitor.look(of("spring", **{"as": drawn_as}))

    assert counts(page) == {row["begin"]: [row["stages"][stage] for stage in stages] for row in rows}
    (title,) = drawn(page, "chart")
    assert title.startswith("Letters by the day in which each stage was first reported of them")
    assert zone in title
    marks = [given["class"] for tag, given in page.elements if tag == "polyline"]
    assert bool(marks) == (drawn_as == "lines")


def test_hours_and_weeks_can_be_chosen_and_what_is_earlier_or_later(sender: Sender, visitor: Visitor) -> None:
    spring(sender)

    assert list(counts(visitor.look(of("spring", by="week")))) == ["2025-10-06", "2025-10-13"]
    hours = visitor.look(of("spring", by="hour"))
    assert counts(hours) == {"2025-10-18 08:00": [0, 0, 0, 1, 0, 0]}
    earlier = next(each for each in linked(hours, "/campaigns/one") if "upto" in each)
    assert "upto=2025-10-16" in earlier
    empty = visitor.look(earlier)
    assert "No letter reached a stage from 2025-10-15 to 2025-10-16." in words(empty)
    beside = [each for each in linked(empty, "/campaigns/one") if "upto=2025-10-16" not in each]
    assert beside[1:] == [  # behind the one to the newest
        of("spring", by="hour", upto="2025-10-14", **{"as": "columns"}),
        of("spring", by="hour", upto="2025-10-18", **{"as": "columns"}),
    ]


def test_a_page_stays_small_however_much_there_is_to_draw(sender: Sender, visitor: Visitor) -> None:
    days = range(-60, 60)
    commands = [
        told("spring", stage, T0 + day * DAY_US, f"{day}{stage}", variation=f"v{abs(day)}")
        for day in days
        for stage in STAGES
    ]
    send(sender, *commands)

    for by in ("hour", "day", "week"):
        answer = visitor.get(of("spring", by=by))
        assert (answer.status_code, len(answer.content) < 100_000) == (200, True), len(answer.content)


# -- files ----------------------------------------------------------------------------------------


def test_the_buttons_give_the_files_of_the_api(sender: Sender, visitor: Visitor) -> None:
    spring(sender)
    send(sender, told("winter", "queued"))
    page = visitor.look(of("spring"))

    files = {link: visitor.get(link) for link in page.links() if "/one" not in link and "ref=" in link}

    forms = ["csv", "jsonl", *(["parquet"] if parquet.is_installed() else [])]
    assert list(files)[2:] == [of("spring", "events", format=form) for form in forms]
    for answer in files.values():
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert answer.headers["x-content-type-options"] == "nosniff"
    funnel, times, *events = [answer.content for answer in files.values()]
    assert funnel == asked(sender, "/campaigns/spring", format="csv").content
    period = {"since": "2025-10-09", "until": "2025-10-19"}
    assert times == asked(sender, "/campaigns/spring/timeseries", format="csv", **period).content
    for form, content in zip(forms[:2], events, strict=False):
        assert content == asked(sender, "/events", campaign="spring", format=form).content
    assert len(events[1].splitlines()) == 7


def test_the_funnel_as_csv_is_the_same_by_http_and_on_the_command_line(sender: Sender) -> None:
    spring(sender)
    command = ("funnel", None, sender.project.token, "spring")

    by_http = asked(sender, "/campaigns/spring", format="csv")

    assert by_http.headers["content-type"].startswith("text/csv")
    assert run(*command, "--csv").stdout_bytes == by_http.content
    by_day = asked(sender, "/campaigns/spring/timeseries", format="csv", variations="true")
    assert run(*command, "--by", "day", "--variations", "--csv").stdout_bytes == by_day.content
    records = list(csv.DictReader(io.StringIO(by_http.text, newline="")))
    assert [each["variation"] for each in records[:: len(FUNNEL) + 5]] == ["(all)", "(none)", "A", "B"]
    assert {each["stage"]: each["letters"] for each in records[:10]}["delivered"] == "1"


def test_a_file_of_no_campaign_is_none_of_all_events(sender: Sender, visitor: Visitor) -> None:
    spring(sender)

    for link in (of("", "events", format="csv"), of("spring", "events", format="pdf"), of("x", "funnel")):
        answer = visitor.get(link)
        assert answer.status_code in {400, 404}
        assert "Not this time" in answer.text
        assert "anna" not in answer.text


def test_every_number_can_be_asked_elsewhere(sender: Sender, visitor: Visitor) -> None:
    send(sender, told("a/b c", "queued"))

    page = visitor.look(of("a/b c", show="sql"))

    url = f"http://testserver/v1/projects/{sender.project.token}{quote('/campaigns/a/b c')}"
    assert f"{url}\n" in page.words
    assert f"{url}/timeseries?" in page.words
    assert "FROM campaign_letters" in page.words
