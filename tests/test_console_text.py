"""Whatever is stored, a page shows it as text: nothing of it runs, leads away or makes a page too long."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import func, insert, select, update

from receiver.console import routes
from receiver.store.tables import events, mailings, outbox, outbox_hours, projects, rejections
from tests.posting import person, posting
from tests.serving_app import FLAT, Sender, serving
from tests.visiting import CONSOLE, Seen, Visitor, reload, signed_in

HOSTILE = (
    "<script>alert(1)</script><b id=evil>\"onfocus=alert(1) x='onclick=alert(2) ` javascript:alert(3)"
    " {{7391*7}}{% raw %}${7391*7}#{7391*7} &lt;i&gt;&amp; </textarea></pre></title></select></svg> <!-- ]]>"
    " \u202eRTL\u2066 ../../?a=b&c#d%2f%00\\"
)
"""Nothing of it may be anything but text."""

ID = re.sub("[{}]", "|", HOSTILE)
"""What looks like a template that was not filled is no ID."""


ANYTHING = "/console/{rest:path}"
LONG = "w" * 400
MOST_BYTES = 100_000
ROWS = 60

HARMLESS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "body",
        "header",
        "nav",
        "main",
        "section",
        "footer",
        "article",
    ),
    *(
        "a",
        "abbr",
        "b",
        "br",
        "code",
        "details",
        "summary",
        "div",
        "em",
        "figure",
        "figcaption",
        "h1",
        "h2",
        "h3",
    ),
    *("hr", "i", "li", "mark", "ol", "p", "pre", "small", "span", "strong", "time", "ul", "dl", "dt", "dd"),
    *("table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"),
    *("form", "fieldset", "legend", "label", "input", "select", "option", "optgroup", "textarea", "button"),
    *("progress", "meter", "datalist", "output"),
    *("svg", "g", "rect", "line", "polyline", "circle", "path", "text", "title"),
}


@contextmanager
def service(migrated: Path, folder: Path, letters: list[dict[str, Any]]) -> Iterator[Sender]:
    """One with these letters in its project; made before it runs, so that numbers go on behind theirs."""
    shutil.copyfile(migrated, folder / "receiver.db")
    url = f"sqlite:///{folder}/receiver.db"
    with serving(url, queue_bytes=1_000_000) as sender, posting(url) as post:
        post.rows.project_id, post.rows.project = 1, sender.project
        for letter in letters:
            post.intend(person(letter.pop("ids"), **letter.pop("address", {})), **letter)
        yield sender


def track(sender: Sender, ids: dict[str, str], status: str, text: str, **members: Any) -> None:
    properties = {"status": status, "campaign_id": text, "variation": text, text: text, "list": [text]}
    event = {
        "customer_ids": ids,
        "event_type": "campaign",
        "timestamp": 1_760_000_000,
        "properties": properties,
    }
    answer = sender.send("customers/events", event | members)
    assert answer.status_code == (200 if ids["registered"] else 400), answer.text


def change(sender: Sender, table: Any, **values: object) -> None:
    with sender.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(table).values(**values))


def set_aside(sender: Sender, text: str) -> None:
    """The first event, in the words of whoever would not take it."""
    about = {"project_id": 1, "given_us": 1, "set_aside_us": 1, "reason": "refused", "message": text}
    with sender.engine.execution_options(writes=True).begin() as connection:
        connection.execute(insert(outbox).values(id=select(func.min(events.c.id)).scalar_subquery(), **about))
        counts = {"given": 1, "sent": 0, "set_aside": 1, "retried": 0, "withdrawn": 0, "discarded": 0}
        connection.execute(insert(outbox_hours).values(project_id=1, hour_us=0, **counts))


def refuse(sender: Sender, text: str, number: int = 0) -> None:
    """Callbacks of each kind that are not taken, with the text wherever there is room for it."""
    ids = {"registered": "", text: text}
    track(sender, ids, "posted", text, event_type=text, timestamp=number)
    sender.send(FLAT, [{"individualisation1": "", "individualisation3": text, "status": text, "n": number}])
    sender.send("batch", f"{text}{number}".encode())


def walk(visitor: Visitor, *first: str) -> dict[str, httpx2.Response]:
    """Every page that links lead to, two of each kind, and what their forms that only ask lead to."""
    waiting = ["/console/", *first]
    seen: dict[str, httpx2.Response] = {}
    kinds: Counter[tuple[str, ...]] = Counter()
    while waiting:
        path = waiting.pop(0)
        kind = _kind(path)
        if path in seen or kinds[kind] >= 2:
            continue
        kinds[kind] += 1
        answer = seen[path] = visitor.get(path)
        assert answer.status_code in {200, 303}, path
        if answer.headers.get("content-type", "").startswith("text/html"):
            page = Seen(answer)
            waiting += page.links()
            if "show" not in urlsplit(path).query:
                waiting.append(path + ("&" if "?" in path else "?") + "show=sql")
    return seen


def _kind(path: str) -> tuple[str, ...]:
    """The route and the names of the parameters."""
    split = urlsplit(path)
    found = [each.path for each in routes.routes if each.path_regex.match(split.path)]
    assert found[0] != ANYTHING, path
    return found[0], *sorted(part.partition("=")[0] for part in split.query.split("&"))


def assert_harmless(answer: httpx2.Response) -> None:
    """Nothing in the page does anything but what our own templates do."""
    where = str(answer.url)
    kind = answer.headers.get("content-type", "")
    if not kind.startswith("text/html"):
        assert (
            kind.startswith(("application/", "text/csv", "text/plain", "text/markdown")) or not answer.content
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        return
    page = Seen(answer)
    assert {tag for tag, _ in page.elements} <= HARMLESS, where
    assert str(7391 * 7) not in answer.text, where
    for tag, given in page.elements:
        bad = [name for name in given if name.startswith("on") or name in {"style", "srcdoc", "formaction"}]
        assert bad == [], (where, tag)
        assert given.get("id") != "evil", where
        for name in ("href", "src", "action", "xlink:href"):
            assert re.match(r"(/console(/|$)|\?|#|$)", given.get(name, "")), (where, tag, given)
        assert "refresh" not in given.get("http-equiv", ""), where


NOT_LINKED = {CONSOLE, f"{CONSOLE}/sign-in", f"{CONSOLE}/static/console.css", f"{CONSOLE}/static/icon.svg"}
FILES = {"body", "events", "funnel", "times", "handover.md"}
"""The last parts of their paths."""


SAYING_NOTHING = {"/grader", "/mailings/try", "/rejections/mend"}
"""Of what was stored, until somebody has put something in."""


def pages_to_look_at() -> set[str]:
    """The paths of all pages and files that can be looked at."""
    looked_at = {each.path for each in routes.routes if "GET" in (each.methods or ())}
    return looked_at - NOT_LINKED - {ANYTHING}


def test_hostile_text_stays_text_on_every_page(
    migrated_sqlite: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    letters: list[dict[str, Any]] = [
        {"ids": {"registered": ID, "cookie": ID}, "address": {"lastName": HOSTILE[:80]}},
        {"ids": "b", "campaign": HOSTILE},
    ]
    with service(migrated_sqlite, tmp_path, letters) as sender:
        change(sender, projects, name=HOSTILE)
        reload(sender)
        change(sender, mailings, campaign=HOSTILE, message=HOSTILE, status=HOSTILE)
        with sender.engine.execution_options(writes=True).begin() as connection:
            one = select(func.min(mailings.c.id)).scalar_subquery()
            connection.execute(update(mailings).values(state="unknown").where(mailings.c.id == one))
        who = {"registered": ID, "cookie": ID}
        properties = {HOSTILE: HOSTILE, "list": [HOSTILE]}
        assert sender.send("customers", {"customer_ids": who, "properties": properties}).is_success
        for status in ("queued", "posted", HOSTILE):
            track(sender, who, status, HOSTILE)
        track(sender, who, "returned", HOSTILE, event_type=HOSTILE)
        set_aside(sender, HOSTILE)
        refuse(sender, HOSTILE)
        sender.send("batch", b"\xff\x00" + HOSTILE.encode())
        header = HOSTILE.encode("latin-1", errors="ignore").decode("latin-1")
        change(sender, rejections, headers=json.dumps([[header, header]]))
        visitor = signed_in(sender)
        _note_on(visitor, HOSTILE)

        page = visitor.look("/console/customer")
        (ask,) = [form for form in page.forms if form.method == "GET"]
        found = [
            str(visitor.send(ask, **{name: value}).url) for name in ask.fields for value in (ID, HOSTILE)
        ]
        pages = walk(visitor, *(url.removeprefix("http://testserver") for url in found))
        for answer in pages.values():
            assert_harmless(answer)

    kinds = {_kind(path)[0] for path in pages}
    assert kinds == pages_to_look_at()
    shown = {_kind(path)[0] for path, answer in pages.items() if _shows(Seen(answer).words)}
    silent = {path.removeprefix(CONSOLE) for path in kinds - shown}
    assert {path for path in silent if path.rpartition("/")[2] not in FILES} == SAYING_NOTHING
    logged = capfd.readouterr()
    assert [each for each in ("alert", CONSOLE, "failed") if each in logged.out + logged.err] == []


def _shows(words: str) -> bool:
    """Whether it is there as it is, or the beginning of it where it is cut; not only as the project's name
    at the top."""
    return words.count(HOSTILE[:100]) + words.count(ID[:100]) > 1


def _note_on(visitor: Visitor, note: str) -> None:
    """Dismiss one, see what another would become, and show what a page says of a wrong question."""
    links = [link for link in visitor.look("/console/rejections").links() if re.search(r"/\d+$", link)]
    # The first two are those of every page: the time zone, and signing out.
    for link in links:
        for form in visitor.look(link).posts()[2:]:
            for do in ("preview", "replay"):
                assert_harmless(visitor.send(form, do=do, how="body", body=note, repair=note, note=note))
    assert visitor.send(visitor.look(links[0]).posts()[-1], do="dismiss", note=note).status_code == 303
    mend = visitor.look("/console/rejections/mend").posts()[-1]
    assert_harmless(visitor.send(mend, do="preview", repair=note))
    add = visitor.look("/console/mailings/suppressions").posts()[-1]
    added = visitor.send(add, value=ID, note=note, do="added")
    assert added.status_code == 303
    grade = visitor.look("/console/grader").posts()[-1]
    event = {
        "customer_ids": {"registered": ID},
        "event_type": note,
        "properties": {"status": note, note: note},
    }
    for body in (note, json.dumps(event), json.dumps([{"individualisation1": ID, "status": note}])):
        graded = visitor.send(grade, body=body)
        assert graded.status_code == 200
        assert_harmless(graded)
    attempt = visitor.look("/console/mailings/try").posts()[-1]
    fields = dict.fromkeys(("automation", "campaign", "template", "variation"), note)
    for text in (
        note,
        f'registered,lastName\n"{note.replace(chr(34), chr(34) * 2)}",x',
        json.dumps([{note: note}]),
    ):
        assert_harmless(visitor.send(attempt, **fields | {"text": text}))
        assert_harmless(visitor.send(attempt, text=text, automation="x"))
    for path in ("rejections", "campaigns", "customer", "mailings"):
        for name in ("q", "campaign", "cursor", "since", "state", "customer", "id", "show", "nothing"):
            assert_harmless(visitor.ask("GET", f"/console/{path}?{httpx2.QueryParams({name: note})}"))


def test_a_page_of_many_long_rows_is_short_enough(migrated_sqlite: Path, tmp_path: Path) -> None:
    letters = [{"ids": f"{number:03}{LONG}", "campaign": f"{number:03}{LONG}"} for number in range(ROWS)]
    with service(migrated_sqlite, tmp_path, letters) as sender:
        change(sender, mailings, message=LONG, status=LONG)
        who = {"registered": LONG, "cookie": LONG}
        for number in range(ROWS):
            track(sender, who, "posted", f"{number:03}{LONG}", timestamp=1_760_000_000 + number)
            refuse(sender, f"{number:03}{LONG}", number)
        sender.send("batch", b"\"'<&" * 20_000)
        visitor = signed_in(sender)
        mend = visitor.look("/console/rejections/mend").posts()[-1]
        preview = visitor.send(mend, do="preview", repair="drop-empty-ids")
        dismissed = visitor.send(mend, do="dismiss", note=LONG)

        pages = walk(visitor, "/console/rejections?state=")

    assert preview.status_code == dismissed.status_code == 200
    sizes = {
        path: len(answer.content)
        for path, answer in [*pages.items(), ("preview", preview), ("dismissed", dismissed)]
        if answer.headers.get("content-type", "").startswith("text/html") and "show=sql" not in path
    }
    assert len(sizes) > 10
    assert {path[:100]: size for path, size in sizes.items() if size >= MOST_BYTES} == {}
