"""The page about one customer, over HTTP, on both databases."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert

from receiver.domain.moments import DAY_US, HOUR_US
from receiver.store import parquet
from receiver.store.mailings import State
from receiver.store.tables import mailings, projects, suppressions
from tests.rows import T0
from tests.serving_app import Sender, serving
from tests.visiting import CONSOLE, Seen, Visitor, signed_in

CUSTOMER = f"{CONSOLE}/customer"
LETTER = "65a1b2c3d4e5f60718293a4b"


@pytest.fixture
def sender(database_url: str) -> Iterator[Sender]:
    with serving(database_url, soft_ids=("cookie", "phone")) as sender:
        yield sender


@pytest.fixture
def visitor(sender: Sender) -> Visitor:
    return signed_in(sender)


def event(
    at_us: int = T0, /, status: str | None = None, campaign: str | None = None, **ids: str
) -> dict[str, Any]:
    """A command about whoever has *ids*; what tells no status is of the type visit."""
    properties = {
        name: value for name, value in (("status", status), ("campaign_id", campaign)) if value is not None
    }
    kind = "campaign" if status else "visit"
    told = {"event_type": kind, "timestamp": at_us / 1e6, "properties": properties}
    return {"name": "customers/events", "data": {"customer_ids": ids, **told}}


def described(properties: Mapping[str, object], **ids: str) -> dict[str, Any]:
    return {"name": "customers", "data": {"customer_ids": ids, "properties": properties}}


def send(sender: Sender, *commands: Mapping[str, Any]) -> None:
    for first in range(0, len(commands), 50):
        answer = sender.send("batch", {"commands": commands[first : first + 50]})
        assert all(each["success"] for each in answer.json()["results"])


def of(value: str, kind: str = "registered", path: str = "", **parameters: str) -> str:
    return f"{CUSTOMER}{path}?{urlencode({'kind': kind, 'value': value, **parameters})}"


def words(page: Seen) -> str:
    """In one line; spaces that do not break are spaces."""
    return re.sub(r"\s+", " ", page.words)


def linked(page: Seen, path: str) -> list[str]:
    return [each for each in page.links() if each.startswith(f"{CONSOLE}{path}")]


def number_of(page: Seen) -> str:
    found = re.search(r"Customer \d+", page.words)
    assert found is not None
    return found[0]


def put(sender: Sender, table: Any, **row: Any) -> None:
    with sender.engine.execution_options(writes=True).begin() as connection:
        project = connection.execute(projects.select().where(projects.c.token == sender.project.token)).one()
        connection.execute(insert(table), {"project_id": project.id, **row})


# -- who it is ------------------------------------------------------------------------------------


def test_the_form_offers_every_kind_of_id(visitor: Visitor) -> None:
    page = visitor.look(CUSTOMER)

    search = next(form for form in page.forms if form.action.endswith(CUSTOMER))
    assert (search.method, search.fields) == ("GET", {"kind": "registered", "value": ""})
    assert "registered cookie phone" in words(page)
    assert "Where these numbers are from" not in page.words


def test_a_customer_is_found_by_any_id(sender: Sender, visitor: Visitor) -> None:
    send(sender, event(registered="anna", cookie="k1"), event(registered="bert"))

    by_each = [of("anna"), of(" anna "), of("k1", "cookie"), f"{CUSTOMER}?customer=cookie:k1"]

    assert len({number_of(visitor.look(path)) for path in by_each}) == 1
    assert number_of(visitor.look(of("bert"))) != number_of(visitor.look(of("anna")))


@pytest.mark.parametrize("value", ["a/b c", "a:b=c", "<i>&amp;\"'</i>", "späte+%20#?", "{# 7*7 #}"])
def test_an_id_may_hold_anything(sender: Sender, visitor: Visitor, value: str) -> None:
    send(sender, event(registered=value))

    page = visitor.look(of(value))

    assert f"Who has the registered ID “{value}” now" in page.words
    assert {tag for tag, _ in page.elements} & {"i", "script"} == set()
    (link, *_) = linked(page, "/customer/events")
    assert visitor.get(link).text.count("\n") == 2


@pytest.mark.parametrize(("role", "links"), [("ops", 1), ("data", 0)])
def test_who_is_not_found_is_looked_for_elsewhere(sender: Sender, role: str, links: int) -> None:
    page = signed_in(sender, role).look(of("nobody", "cookie"), 404)

    assert "Nobody has the ID “nobody” of the kind cookie." in words(page)
    assert "Perhaps it is of another kind (registered, phone)" in words(page)
    assert len(linked(page, "/rejections?q=nobody")) == links
    assert page.forms[-1].fields == {"kind": "cookie", "value": "nobody"}


def test_what_cannot_be_asked_is_said_in_words(visitor: Visitor) -> None:
    page = visitor.look(of("anna", "passport"), 400)

    assert "customer: " in page.words
    assert "Nobody" not in page.words
    assert "anna" not in page.words.replace("registered:anna", "").partition("Where these")[0]


def test_ids_stand_by_kind_the_one_used_last_first(sender: Sender, visitor: Visitor) -> None:
    send(sender, *[event(T0, registered="anna", cookie=f"k{n:02}") for n in range(25)])

    shown = words(visitor.look(of("anna")))

    assert re.search(r"cookie k24 used last, since [-\d: ]+ k23 since", shown)
    assert "k05 since" in shown
    assert "k04 since" not in shown
    assert "and 5 more, used before" in shown


def test_properties_are_shown_as_people_read_them_and_hostile_ones_as_text(
    sender: Sender, visitor: Visitor
) -> None:
    hostile = {
        "<script>": "</td><script>alert(1)</script>",
        "tags": ["a", 'b"'],
        "long": "x" * 5000,
        "n": 1.5,
    }
    send(sender, described(hostile, registered="anna"))

    page = visitor.look(of("anna"))

    assert "<script> </td><script>alert(1)</script>" in words(page)
    assert 'tags ["a", "b\\""]' in words(page)
    assert "n 1.5" in words(page)
    assert "x" * 120 + "…" in page.words
    assert "x" * 121 not in page.words
    assert "script" not in {tag for tag, _ in page.elements}
    assert "Nothing has happened. Letters and events appear here" in words(page)


def test_merges_and_moved_ids_are_told_in_sentences(sender: Sender, visitor: Visitor) -> None:
    send(sender, event(registered="anna", cookie="k1"), event(cookie="k2"))
    send(sender, event(registered="anna", cookie="k2"))
    send(sender, event(registered="bert", cookie="k1"))

    told = words(visitor.look(of("anna"))).partition("How it came to be so")[2]

    assert re.search(
        r"customer \d+, known since [-\d]+, became part of customer \d+,"
        r" since registered=anna and cookie=k2 came in together\. All events",
        told,
    )
    assert re.search(
        r"the cookie ID k1 went to customer \d+, since registered=bert and cookie=k1 came in together", told
    )
    assert "How it came to be so" not in visitor.look(of("bert")).words


def test_who_gets_no_letters_is_told_with_the_reason(sender: Sender, visitor: Visitor) -> None:
    send(sender, event(registered="anna"))
    url = f"/v1/projects/{sender.project.token}/customer?customer=registered:anna"
    customer = sender.client.get(url, headers={"authorization": sender.authorization("data")}).json()[
        "customer"
    ]
    common = {"customer_id": customer, "mailing_id": None, "address": None}
    put(
        sender,
        suppressions,
        **common,
        id=1,
        kind="objection",
        note="by <phone>",
        created_us=T0,
        lifted_us=None,
    )
    put(
        sender,
        suppressions,
        **common,
        id=2,
        kind="bad_address",
        note="",
        created_us=T0,
        lifted_us=T0 + DAY_US,
    )

    shown = words(visitor.look(of("anna")))

    assert "Gets no letters since 2025-10-09 08:53: an objection – by <phone>" in shown
    assert "got no letters (bad address), until that was lifted 2025-10-10 08:53" in shown


# -- what happened --------------------------------------------------------------------------------


def cards(page: Seen) -> list[str]:
    return [given["aria-label"] for tag, given in page.elements if given.get("class") == "card letter"]


def test_what_belongs_to_one_letter_stands_together_the_newest_first(
    sender: Sender, visitor: Visitor
) -> None:
    send(
        sender,
        event(T0, "booked", "a/b", registered="anna"),
        event(T0 + HOUR_US, "booked", "winter", registered="anna"),
        event(T0 + 2 * HOUR_US, registered="anna"),
        event(T0 + 3 * HOUR_US, "delivered", "a/b", registered="anna"),
        event(T0 + 4 * HOUR_US, "Zugestellt", "winter", registered="anna"),
        event(T0 + 5 * HOUR_US, registered="anna"),
    )

    page = visitor.look(of("anna"))

    assert cards(page) == ["Letter of campaign winter", "Letter of campaign a/b"]
    shown = re.sub(
        r" Event \d+ type \w+ came in \S+ \S+ registered anna( status \S+ campaign_id \S+)?", "", words(page)
    )
    assert (
        "visit 2025-10-09 13:53"
        " Letter of winter unknown “Zugestellt” a word we do not know 2025-10-09 12:53"
        " queued “booked” 2025-10-09 09:53"
        " Letter of a/b delivered delivered 2025-10-09 11:53 queued “booked” 2025-10-09 08:53"
        " visit 2025-10-09 10:53 Download"
    ) in shown
    assert linked(page, "/campaigns/one") == [
        f"{CONSOLE}/campaigns/one?ref=winter",
        f"{CONSOLE}/campaigns/one?ref=a%2Fb",
    ]


@pytest.mark.parametrize(("role", "links"), [("ops", [f"{CONSOLE}/mailings/{LETTER}"]), ("data", [])])
def test_a_letter_of_ours_is_shown_with_its_times_and_leads_to_its_mailing(
    sender: Sender, role: str, links: list[str]
) -> None:
    send(sender, event(T0, registered="anna"))
    url = f"/v1/projects/{sender.project.token}/customer?customer=registered:anna"
    customer = sender.client.get(url, headers={"authorization": sender.authorization("data")}).json()[
        "customer"
    ]
    mailing = {
        "id": LETTER,
        "customer_id": customer,
        "campaign": "winback",
        "variation": "B",
        "state": State.QUEUED,
        "route": "many",
        "automation": "a" * 24,
        "ids": '{"registered":"anna"}',
        "together": 1,
        "attempts": 1,
        "created_us": T0 + HOUR_US,
        "settled_us": T0 + 2 * HOUR_US,
        "untold": False,
    }
    put(sender, mailings, **mailing)

    page = signed_in(sender, role).look(of("anna"))

    assert cards(page) == ["Letter of campaign winback"]
    shown = words(page)
    assert f"Letter of winback queued Variation B · Mailing {LETTER}" in shown
    assert "Letter queued at Optilyz 2025-10-09 10:53 Letter made campaign winback 2025-10-09 09:53" in shown
    assert linked(page, "/mailings/") == links


def test_times_are_those_of_the_viewer(sender: Sender, visitor: Visitor) -> None:
    send(sender, event(T0, registered="anna"))
    visitor.cookies["receiver_zone"] = "Europe/Berlin"

    assert "visit 2025-10-09 10:53" in words(visitor.look(of("anna")))


def test_an_event_shows_what_it_says(sender: Sender, visitor: Visitor) -> None:
    command = event(T0, "delivered", "spring", registered="anna", cookie="k1")
    command["data"]["properties"] |= {"<b>": {"deep": [1]}, **{f"p{n}": n for n in range(20)}}
    send(sender, command)

    page = visitor.look(of("anna"))

    assert 'registered anna cookie k1 status delivered campaign_id spring <b> {"deep": [1]} p0 0' in words(
        page
    )
    assert "3 more properties are in the files." in words(page)
    assert "b" not in {tag for tag, given in page.elements if given.get("class") == "under"}


def test_what_does_not_fit_on_a_page_is_on_the_next(sender: Sender, visitor: Visitor) -> None:
    send(sender, *[event(T0 + n * HOUR_US, registered="anna") for n in range(40)])

    first = visitor.look(of("anna"))
    (older,) = [each for each in linked(first, "/customer?") if "cursor" in each]
    second = visitor.look(older)

    events = [re.findall(r"visit ([-\d]+ [:\d]+)", page.words) for page in (first, second)]
    assert list(map(len, events)) == [30, 10]
    assert sorted({*events[0], *events[1]}, reverse=True) == events[0] + events[1]
    assert of("anna") in linked(second, "/customer?")
    assert not [each for each in linked(second, "/customer?") if "cursor" in each and older not in each]


def test_a_page_stays_small_however_much_is_known(sender: Sender, visitor: Visitor) -> None:
    many = {f"property {n:03} {'x' * 60}": "y" * 1000 for n in range(120)}
    send(sender, described(many, registered="anna"))
    for n in range(40):
        command = event(
            T0 + n * HOUR_US, "delivered", f"campaign {n} {'z' * 60}", registered="anna", cookie=f"k{n}"
        )
        command["data"]["properties"] |= many
        send(sender, command)

    answer = visitor.get(of("anna"))

    assert (answer.status_code, len(answer.content) < 100_000) == (200, True), len(answer.content)
    assert "And 70 more." in answer.text


# -- files ----------------------------------------------------------------------------------------


def test_the_buttons_give_the_customers_events_as_the_api_does(sender: Sender, visitor: Visitor) -> None:
    send(sender, event(registered="anna"), event(T0 + 1_000_000, registered="anna"), event(registered="bert"))

    links = linked(visitor.look(of("anna")), "/customer/events")

    forms = ["csv", "jsonl", *(["parquet"] if parquet.is_installed() else [])]
    assert links == [of("anna", path="/events", format=form) for form in forms]
    for form, link in zip(forms[:2], links, strict=False):
        answer = visitor.get(link)
        asked = sender.client.get(
            f"/v1/projects/{sender.project.token}/events",
            params={"customer": "registered:anna", "format": form},
            headers={"authorization": sender.authorization("data")},
        )
        assert answer.headers["content-disposition"] == f'attachment; filename="events.{form}"'
        assert (answer.content, answer.text.count("anna")) == (asked.content, 2)


def test_a_file_of_nobody_is_none_of_all_events(sender: Sender, visitor: Visitor) -> None:
    send(sender, event(registered="anna"))

    for link in (
        of("", path="/events", format="csv"),
        of("anna", path="/events"),
        f"{CUSTOMER}/events?format=csv",
    ):
        answer = visitor.get(link)
        assert answer.status_code == 400
        assert "Not this time" in answer.text
        assert "content-disposition" not in answer.headers
