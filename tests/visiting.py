"""Somebody who looks at the console with a browser that has no JavaScript, within a test."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from receiver.store.keys import NewKey
from tests.serving_app import Sender
from tests.waiting import PATIENCE_SECONDS

CONSOLE = "/console"
HEADERS = (
    "content-security-policy",
    "x-content-type-options",
    "referrer-policy",
    "cache-control",
    "cross-origin-opener-policy",
)


_APART = {"td", "th", "dt", "dd", "li", "p", "h1", "h2", "h3", "option", "summary", "br"}
"""What begins in a place of its own, so that its words are not glued to those before."""


class Form:
    """What a browser would send: *fields* as they are when the page has been loaded."""

    def __init__(self, method: str, action: str) -> None:
        self.method = method
        self.action = action
        self.fields: dict[str, str] = {}


class Seen(HTMLParser):
    """What a browser makes of a page.

    Attributes:
        elements: every one with its attributes, in order.
        words: all its text.
    """

    def __init__(self, answer: httpx2.Response) -> None:
        super().__init__(convert_charrefs=True)
        self.url = str(answer.url)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.forms: list[Form] = []
        self._select = ""
        self._textarea = ""
        self._option = False
        self.feed(answer.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        if tag in _APART:
            self.words += " "
        if tag == "form":
            action = urljoin(self.url, given.get("action", ""))
            self.forms.append(Form(given.get("method", "get").upper(), action))
        elif self.forms:
            self._field(tag, given)

    def _field(self, tag: str, given: Mapping[str, str]) -> None:
        fields = self.forms[-1].fields
        name = given.get("name", "")
        if tag == "input" and (given.get("type") not in {"radio", "checkbox"} or "checked" in given):
            fields[name] = given.get("value", "")
        elif tag == "select":
            self._select = name
        elif tag == "option":
            # Its end need not be written: the next one ends it.
            chosen = "selected" in given or self._select not in fields
            if chosen:
                fields[self._select] = given.get("value", "")
            self._option = chosen and "value" not in given
        elif tag == "textarea":
            self._textarea = name
            fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = ""
        elif tag in {"option", "select"}:
            self._option = False

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._textarea:
            self.forms[-1].fields[self._textarea] += data
        elif self._option:
            self.forms[-1].fields[self._select] += data.strip()

    def links(self) -> Iterator[str]:
        """The paths, with their queries, of all links to pages of the console."""
        for tag, given in self.elements:
            if tag == "a" and "href" in given:
                split = urlsplit(urljoin(self.url, given["href"]))
                yield split._replace(scheme="", netloc="", fragment="").geturl()

    def posts(self) -> list[Form]:
        return [form for form in self.forms if form.method == "POST"]


class Visitor:
    """Has cookies of its own and goes where it is sent only when it wants to."""

    def __init__(self, sender: Sender, base_url: str = "http://testserver") -> None:
        self._sender = sender
        self._base_url = base_url
        self.cookies: dict[str, str] = {}

    def ask(
        self,
        method: str,
        path: str,
        *,
        data: Mapping[str, str] | None = None,
        content: str | None = None,
        **headers: str,
    ) -> httpx2.Response:
        """*path* with or without the host."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self._sender.client.request(
            method,
            urljoin(self._base_url, path),
            data=data,
            content=content,
            headers=sent,
            follow_redirects=False,
        )
        # Everybody who uses this client keeps cookies themselves.
        self._sender.client.cookies.clear()
        self._keep(answer)
        return answer

    def get(self, path: str) -> httpx2.Response:
        return self.ask("GET", path)

    def look(self, path: str, status: int = 200) -> Seen:
        answer = self.get(path)
        assert answer.status_code == status, (path, answer.status_code)
        return Seen(answer)

    def send(self, form: Form, **changed: str) -> httpx2.Response:
        """*form* as it stands there, with what somebody has put in."""
        return self.ask(form.method, form.action, data={**form.fields, **changed})

    def sign_in(self, key: NewKey, secret: str | None = None, *, path: str = "/sign-in") -> httpx2.Response:
        data = {"key_id": key.key_id, "secret": secret or key.secret}
        return self.ask("POST", CONSOLE + path, data=data)

    def _keep(self, answer: httpx2.Response) -> None:
        for header in answer.headers.get_list("set-cookie"):
            pair, _, attributes = header.partition(";")
            name, _, value = pair.partition("=")
            if "max-age=0" in attributes.lower():
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value.strip('"')


def key_of(sender: Sender, role: str) -> NewKey:
    return next(key for key in sender.project.keys if key.role == role)


def reload(sender: Sender) -> None:
    """The service reads the keys and the projects again, as it does by itself every two seconds."""
    live = sender.client.app_state["keys"]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (reading := live.reload_soon()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    reading.result(PATIENCE_SECONDS)


def signed_in(sender: Sender, role: str = "ops") -> Visitor:
    visitor = Visitor(sender)
    assert visitor.sign_in(key_of(sender, role)).status_code == 303
    return visitor


@contextmanager
def unchanged(sender: Sender, *tables: Any) -> Iterator[None]:
    """Nothing in these tables changes while the block runs."""

    def rows() -> list[list[Any]]:
        with sender.engine.connect() as connection:
            return [list(map(tuple, connection.execute(table.select()))) for table in tables]

    before = rows()
    yield
    assert rows() == before
