"""The pages about letters: what became of them, what people decide, and a file tried out; over HTTP."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urljoin

import httpx2
import pytest
from sqlalchemy import select, update

from receiver.store.mailings import State
from receiver.store.tables import mailings, metadata, suppressions
from receiver.web import mailings as web_mailings
from tests.posting import NOW_US, Post, person, posting, steps
from tests.serving_app import Sender, serving
from tests.simulated import SimulatedOptilyz
from tests.visiting import CONSOLE, Form, Seen, Visitor, signed_in, unchanged

# What the pages show is asked on both databases elsewhere.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MAILINGS = f"{CONSOLE}/mailings"
AUTOMATION = "64b0c0ffee0000000000abcd"
HEADER = "registered,lastName,address1,zipCode,city\n"
ANNA = "anna,Beispiel,Weg 1,01067,Dresden\n"
BERT = "bert,Beispiel,Weg 2,01067,\n"
CARL = "carl,Öhler,Weg 3,01067,Dresden\n"
FILE = HEADER + ANNA + BERT + CARL + ANNA


@pytest.fixture
def sender(database_url: str, optilyz: SimulatedOptilyz) -> Iterator[Sender]:
    settings = {"optilyz_base_url": optilyz.url, "optilyz_api_key": "k", "optilyz_per_minute": 600_000}
    with serving(database_url, max_body_bytes=200_000, **settings) as sender:
        yield sender


@pytest.fixture
def post(database_url: str, optilyz: SimulatedOptilyz, sender: Sender) -> Iterator[Post]:
    """Who writes letters into the project of the service."""
    with posting(database_url, optilyz.url) as post:
        post.rows.project_id, post.rows.project = 1, sender.project
        yield post


@pytest.fixture
def visitor(sender: Sender) -> Visitor:
    return signed_in(sender)


def words(page: Seen) -> str:
    return re.sub(r"\s+", " ", page.words.replace("\u202f", " "))


def intend(post: Post, *names: str, **how: Any) -> list[str]:
    return [each.mailing for each in post.intend(*map(person, names), **how)]


def make_unknown(post: Post, optilyz: SimulatedOptilyz, *names: str, **how: Any) -> list[str]:
    """Letters that Optilyz was asked for, and of which nobody knows more."""
    ids = intend(post, *names, **how)
    optilyz.fail("queue-then-cut")
    steps(post.asker())
    assert {post.letter(each).state for each in ids} == {State.UNKNOWN}
    return ids


def form_of(page: Seen, action: str) -> Form:
    (form,) = [form for form in page.posts() if form.action.endswith(action)]
    return form


def arrive(visitor: Visitor, answer: httpx2.Response) -> Seen:
    assert answer.status_code == 303
    return visitor.look(answer.headers["location"])


# -- the list -------------------------------------------------------------------------------------


def test_where_no_letter_is_yet_somebody_is_told_how_the_first_one_comes(visitor: Visitor) -> None:
    page = visitor.look(MAILINGS)

    assert "No letter has been asked for yet." in words(page)
    assert f"{MAILINGS}/try" in page.links()


def test_letters_are_counted_by_state_and_stand_one_by_one(visitor: Visitor, post: Post) -> None:
    (queued,) = intend(post, "anna")
    steps(post.asker())
    (waiting, bad) = [each.mailing for each in post.intend(person("bert"), person("carl", city=""))]

    page = visitor.look(MAILINGS)

    said = words(page)
    assert "queued is at Optilyz, which prints it 1" in said
    assert "intended waits to be sent 1" in said
    (why,) = [each for each in page.links() if "why=" in each]
    assert "refused missing field 1" in words(visitor.look(why))
    assert "nothing yet 1" in words(visitor.look(why))
    assert {f"{MAILINGS}/{each}" for each in (queued, waiting, bad)} <= set(page.links())


@pytest.mark.parametrize(
    ("asked", "who"),
    [
        ({"state": "intended"}, {"bert"}),
        ({"campaign": "spring"}, {"carl"}),
        ({"customer": "registered:anna"}, {"anna"}),
        ({"silent_days": "14"}, {"anna"}),
        ({"state": "cancelled"}, set()),
    ],
)
def test_the_list_can_be_narrowed(visitor: Visitor, post: Post, asked: dict[str, str], who: set[str]) -> None:
    intend(post, "anna")
    intend(post, "carl", campaign="spring")
    steps(post.asker())
    post.change(settled_us=NOW_US)
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(mailings).where(mailings.c.campaign == "spring").values(stage="delivered"))
    intend(post, "bert")

    page = visitor.look(f"{MAILINGS}?{urlencode(asked)}")

    said = words(page)
    assert {name for name in ("anna", "bert", "carl") if f"registered {name}" in said} == who
    assert ("No letter matches." in said) is (not who)


def test_a_filter_that_cannot_be_used_is_told(visitor: Visitor) -> None:
    said = words(visitor.look(f"{MAILINGS}?silent_days=x&customer=nobody", status=400))

    assert "silent_days" in said
    assert "Write it as NAME:VALUE" in said


def test_a_long_list_has_pages(visitor: Visitor, post: Post) -> None:
    post.intend(*[person(f"c-{number}") for number in range(60)])

    first = visitor.look(MAILINGS)
    (older,) = [each for each in first.links() if "cursor=" in each]
    second = visitor.look(older)

    assert len(re.findall(r"registered c-\d+", first.words)) == 50
    assert len(re.findall(r"registered c-\d+", second.words)) == 10


@pytest.mark.parametrize(
    "path", ["", "/try", "/suppressions", "/campaign?campaign=w", "/0123", "/0123/cancel"]
)
def test_who_only_reads_sees_no_letters(sender: Sender, path: str) -> None:
    assert signed_in(sender, "data").get(MAILINGS + path).status_code == 403


# -- one letter -----------------------------------------------------------------------------------


def test_a_letter_is_shown_with_what_was_heard_of_it(visitor: Visitor, post: Post) -> None:
    (mailing,) = intend(post, "anna")
    steps(post.asker())
    post.call_back(
        {
            "customer_ids": {"registered": "anna"},
            "event_type": "campaign",
            "timestamp": NOW_US / 1e6,
            "properties": {"status": "In_Production", "campaign_id": "winback"},
        }
    )

    said = words(visitor.look(f"{MAILINGS}/{mailing}"))

    assert "queued: the letter is at Optilyz, which prints it." in said
    assert "In_Production means printing 2025-10-09 08:55 told by a callback" in said
    assert "enqueued means queued" in said


def test_what_is_wrong_with_a_refused_letter_is_said(visitor: Visitor, post: Post) -> None:
    ((mailing, *_),) = post.intend(person("anna", city=""))

    page = visitor.look(f"{MAILINGS}/{mailing}")

    assert "city is missing" in words(page)
    assert not [form for form in page.posts() if mailing in form.action]


def test_a_letter_that_is_none_is_told(visitor: Visitor) -> None:
    assert "There is no such mailing." in words(visitor.look(f"{MAILINGS}/{'0' * 24}", status=404))


@pytest.mark.parametrize(
    ("printed", "state", "said"),
    [
        ("printed", State.QUEUED, "counts as queued at Optilyz from now on"),
        ("not_printed", State.INTENDED, "the same letter is to be sent again"),
    ],
)
def test_a_letter_of_unknown_fate_is_resolved(
    visitor: Visitor, post: Post, optilyz: SimulatedOptilyz, printed: str, state: State, said: str
) -> None:
    (mailing,) = make_unknown(post, optilyz, "anna")
    page = visitor.look(f"{MAILINGS}/{mailing}")
    assert "Is it printed?" in words(page)

    then = arrive(visitor, visitor.send(form_of(page, mailing), printed=printed, note="seen in the portal"))

    assert said in words(then)
    assert "Is it printed?" not in words(then)
    letter = post.letter(mailing)
    assert (letter.state, letter.message) == (state, "seen in the portal")


def test_who_resolves_what_another_one_has_resolved_is_told(
    visitor: Visitor, post: Post, optilyz: SimulatedOptilyz
) -> None:
    (mailing,) = make_unknown(post, optilyz, "anna")
    form = form_of(visitor.look(f"{MAILINGS}/{mailing}"), mailing)
    visitor.send(form, printed="printed")

    answer = visitor.send(form, printed="not_printed")

    assert answer.status_code == 422
    assert "The letter is queued; only one whose fate is unknown can be resolved." in words(Seen(answer))
    assert post.letter(mailing).state == State.QUEUED


def test_a_letter_is_cancelled_only_after_one_more_question(
    visitor: Visitor, post: Post, sender: Sender
) -> None:
    (mailing,) = intend(post, "anna")
    with unchanged(sender, mailings):
        page = visitor.look(f"{MAILINGS}/{mailing}")
        assert f"{MAILINGS}/{mailing}/cancel" in page.links()
        question = visitor.look(f"{MAILINGS}/{mailing}/cancel")

    answer = visitor.send(form_of(question, "/cancel"), do="cancel")

    assert "cancelled: It was not sent yet and will not be." in words(Seen(answer))
    assert post.letter(mailing).state == State.CANCELLED
    assert f"{MAILINGS}/{mailing}/cancel" not in visitor.look(f"{MAILINGS}/{mailing}").links()


def test_a_queued_letter_is_taken_back_from_optilyz(visitor: Visitor, post: Post) -> None:
    (mailing,) = intend(post, "anna")
    steps(post.asker())

    answer = visitor.send(form_of(visitor.look(f"{MAILINGS}/{mailing}/cancel"), "/cancel"), do="cancel")

    assert "taken back: Optilyz has dropped it." in words(Seen(answer))


# -- all letters of a campaign --------------------------------------------------------------------


def of_campaign(visitor: Visitor, campaign: str = "winback") -> Seen:
    return visitor.look(f"{MAILINGS}/campaign?{urlencode({'campaign': campaign})}")


def sends(page: Seen, **having: str) -> Form:
    return next(
        form
        for form in page.posts()
        if form.action.endswith("/campaign") and having.items() <= form.fields.items()
    )


def test_all_letters_of_a_campaign_are_cancelled_and_no_others(
    visitor: Visitor, post: Post, sender: Sender
) -> None:
    intend(post, "anna", "bert")
    steps(post.asker())
    intend(post, "carl")
    (other,) = intend(post, "carl", campaign="spring")
    with unchanged(sender, mailings):
        question = of_campaign(visitor)
        assert "1 waits and will not be sent. Optilyz is asked to drop 2 from its queue" in words(question)

    said = words(Seen(visitor.send(sends(question), do="cancel")))

    assert "taken back Optilyz has dropped it. 2" in said
    assert "cancelled It was not sent yet and will not be. 1" in said
    assert "Go on with the rest" not in said
    assert post.states() == {"cancelled: taken_back": 2, "cancelled": 1, "intended": 1}
    assert post.letter(other).state == State.INTENDED


def test_what_takes_long_goes_on_where_it_was_left(
    visitor: Visitor, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.intend(*[person(f"c-{number}") for number in range(5)])
    steps(post.asker())
    monkeypatch.setattr(web_mailings, "_CAMPAIGN_SECONDS", 0.0)
    page = of_campaign(visitor)

    page = Seen(visitor.send(sends(page), do="cancel"))
    assert "Go on with the rest" in words(page)
    rest = next(form for form in page.posts() if "cursor" in form.fields)
    monkeypatch.setattr(web_mailings, "_CAMPAIGN_SECONDS", 10.0)
    page = Seen(visitor.send(rest, do="cancel"))

    assert "Go on with the rest" not in words(page)
    assert post.states() == {"cancelled: taken_back": 5}


def test_all_unknown_letters_of_a_campaign_are_resolved(
    visitor: Visitor, post: Post, optilyz: SimulatedOptilyz
) -> None:
    make_unknown(post, optilyz, "anna", "bert")
    (other,) = make_unknown(post, optilyz, "carl", campaign="spring")

    page = Seen(visitor.send(sends(of_campaign(visitor)), printed="printed", note="all there"))

    assert "2 letters were resolved." in words(page)
    assert post.states() == {"queued: resolved": 2, "unknown: no_answer": 1}
    assert post.letter(other).state == State.UNKNOWN


def test_without_a_campaign_nothing_is_cancelled(visitor: Visitor) -> None:
    assert visitor.get(f"{MAILINGS}/campaign").status_code == 400
    assert "No letter of this campaign was asked for here." in words(of_campaign(visitor, "<b>"))


# -- suppressions ---------------------------------------------------------------------------------

SUPPRESSIONS = f"{MAILINGS}/suppressions"


def add(visitor: Visitor, **changed: str) -> httpx2.Response:
    page = visitor.look(SUPPRESSIONS)
    form = next(form for form in page.posts() if "value" in form.fields)
    return visitor.send(form, do="added", **changed)


def test_somebody_is_added_and_lifted_again(visitor: Visitor, post: Post) -> None:
    assert "Everybody may get letters." in words(visitor.look(SUPPRESSIONS))

    page = arrive(visitor, add(visitor, value="anna", kind="objection", note="by phone"))
    assert "registered anna objected, for good by phone" in words(page)
    assert post.fates(person("anna")) == ["suppressed: objection"]

    lift = next(form for form in page.posts() if "id" in form.fields)
    page = arrive(visitor, visitor.send(lift, do="lifted"))

    assert "Everybody may get letters." in words(page)
    assert "lifted" in words(visitor.look(f"{SUPPRESSIONS}?all=1"))
    assert [each.lifted_us is None for each in post.query(select(suppressions))] == [False]


def test_who_cannot_be_added_is_told_and_need_not_be_typed_again(visitor: Visitor, sender: Sender) -> None:
    with unchanged(sender, suppressions):
        answer = add(visitor, value="{{ id }}", note="typed")

    assert answer.status_code == 422
    page = Seen(answer)
    assert "template text that was not filled in" in words(page)
    form = next(form for form in page.posts() if "value" in form.fields)
    assert (form.fields["value"], form.fields["note"]) == ("{{ id }}", "typed")


def test_suppressions_are_found_by_customer_and_kind(visitor: Visitor) -> None:
    add(visitor, value="anna", kind="objection")
    add(visitor, value="bert", kind="objection")

    assert "bert" not in words(visitor.look(f"{SUPPRESSIONS}?customer=registered:anna"))
    assert "Nobody matches." in words(visitor.look(f"{SUPPRESSIONS}?kind=bad_address"))
    assert "Write it as NAME:VALUE" in words(visitor.look(f"{SUPPRESSIONS}?customer=x", status=422))


# -- a file tried out -----------------------------------------------------------------------------


def upload(
    visitor: Visitor, sender: Sender, content: bytes, name: str = "people.csv", **changed: str
) -> httpx2.Response:
    """As a browser sends the form with a file."""
    form = form_of(visitor.look(f"{MAILINGS}/try"), "/try")
    fields = {**form.fields, "automation": AUTOMATION, "campaign": "winback", **changed}
    fields.pop("file", None)
    cookie = "; ".join(f"{key}={value}" for key, value in visitor.cookies.items())
    url = urljoin("http://testserver", form.action)
    files = {"file": (name, content)}
    return sender.client.post(url, data=fields, files=files, headers={"cookie": cookie})


def test_a_file_is_tried_out_and_nothing_of_it_stays(visitor: Visitor, sender: Sender) -> None:
    with unchanged(sender, *metadata.sorted_tables):
        answer = upload(visitor, sender, FILE.encode())

    said = words(Seen(answer))
    assert answer.status_code == 200
    assert "What would become of 4 rows of people.csv" in said
    assert "2 would get a letter" in said
    assert "1 are refused: something is wrong with the row" in said
    assert "missing field refused 1 Row 2 (bert): city is missing; a letter always needs it." in said
    assert "already mailed held back 1 Row 4 (anna)" in said
    assert "Row 3 lastName Öhler address1 Weg 3" in said
    assert "individualisation3 winback" in said
    assert f"receiver send {sender.project.token} FILE --automation {AUTOMATION} --campaign winback" in said


def test_a_file_is_pasted_as_well(visitor: Visitor) -> None:
    form = form_of(visitor.look(f"{MAILINGS}/try"), "/try")

    answer = visitor.send(form, text=FILE.replace("\n", "\r\n"), automation=AUTOMATION)

    page = Seen(answer)
    assert "What would become of 4 rows" in words(page)
    assert form_of(page, "/try").fields["text"].strip() == FILE.replace("\n", "\r\n").strip()


@pytest.mark.parametrize(
    ("content", "changed", "said"),
    [
        (b"", {}, "The file is empty."),
        (HEADER.encode(), {}, "There is nobody in the file."),
        ("registered,lastName\nanna,Öhler\n".encode("latin-1"), {}, "is not UTF-8"),
        (b"PK\x03\x04\x00\x00", {}, "UTF-16 or a spreadsheet"),
        (FILE.encode(), {"automation": " "}, "Say which automation"),
        (FILE.encode(), {"automation": "../x"}, "pattern"),
        (FILE.encode(), {"variation": "x"}, "integer"),
        (FILE.encode(), {"template": "/etc/passwd"}, "individual-post"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(
    visitor: Visitor, sender: Sender, content: bytes, changed: dict[str, str], said: str
) -> None:
    answer = upload(visitor, sender, content, **changed)

    assert answer.status_code in {200, 422}
    assert said in words(Seen(answer))


def test_without_a_file_somebody_is_asked_for_one(visitor: Visitor) -> None:
    answer = visitor.send(form_of(visitor.look(f"{MAILINGS}/try"), "/try"), automation=AUTOMATION)

    assert (answer.status_code, "Choose a file, or paste its text." in answer.text) == (422, True)


def test_a_file_that_is_too_large_is_turned_away(visitor: Visitor, sender: Sender) -> None:
    assert upload(visitor, sender, b"x" * 200_000).status_code == 413


def test_the_page_of_a_large_file_stays_small(visitor: Visitor, sender: Sender) -> None:
    rows = "".join(
        f"c-{number},{'Ö' * 300},Weg 1,01067,{'' if number % 2 else 'Dresden'}\n" for number in range(300)
    )

    answer = upload(visitor, sender, (HEADER + rows).encode())

    assert "What would become of 300 rows" in words(Seen(answer))
    assert len(answer.content) < 100_000
    assert "@body.json" in answer.text


def test_a_form_from_elsewhere_tries_nothing_out(visitor: Visitor, sender: Sender) -> None:
    assert upload(visitor, sender, FILE.encode(), proof="x").status_code == 403
