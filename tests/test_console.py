"""Who may enter the console, what its forms must carry, and what browsers are told about its pages."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.routing import Route

from receiver.console import routes, sessions
from receiver.store import keys
from receiver.store.keys import NewKey, Role
from receiver.store.tables import attempts, events, mailings, rejections, suppressions
from receiver.web.auth import Caller, Keyring
from tests.posting import person, posting
from tests.rows import T0
from tests.serving_app import Sender, serving
from tests.visiting import CONSOLE, HEADERS, Seen, Visitor, key_of, reload, signed_in, unchanged

COOKIE = sessions.COOKIE
NOW = 1_760_000_000.0


@pytest.fixture(scope="module")
def shared_url(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("console") / "receiver.db"
    shutil.copyfile(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def sender(shared_url: str) -> Iterator[Sender]:
    """A service that all tests share."""
    with serving(shared_url) as sender:
        yield sender


@pytest.fixture
def visitor(sender: Sender) -> Visitor:
    return signed_in(sender)


@pytest.fixture
def rejection(sender: Sender) -> int:
    """The number of one that is open."""
    sender.send("customers/events", {"customer_ids": {"registered": ""}, "event_type": "campaign"})
    api = f"/v1/projects/{sender.project.token}/rejections?limit=1"
    answer = sender.client.get(api, headers={"authorization": sender.authorization("ops")})
    number: int = answer.json()["data"][0]["id"]
    return number


def new_key(sender: Sender, role: Role = Role.OPS) -> NewKey:
    with sender.engine.execution_options(writes=True).begin() as connection:
        key = keys.create_key(connection, sender.project.token, role, now_us=T0)
    reload(sender)
    return key


# -- signing in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "headers", "secure"),
    [
        ("http://testserver", {}, False),
        ("https://testserver", {}, True),
        ("http://testserver", {"x_forwarded_proto": "https"}, True),
        ("http://testserver", {"origin": "https://testserver"}, True),
    ],
)
def test_the_cookie_is_for_the_console_and_nobody_else(
    sender: Sender, url: str, headers: dict[str, str], *, secure: bool
) -> None:
    key = key_of(sender, "ops")
    data = {"key_id": f" {key.key_id} ", "secret": f"{key.secret}\n"}

    answer = Visitor(sender, url).ask("POST", f"{CONSOLE}/sign-in", data=data, **headers)

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    (cookie,) = answer.headers.get_list("set-cookie")
    flags = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/console", "max-age=43200"} <= flags
    assert ("secure" in flags) is secure
    assert key.secret not in cookie


@pytest.mark.parametrize("role", ["tracking", "sender"])
def test_keys_that_may_not_read_may_not_enter(sender: Sender, role: str) -> None:
    answer = Visitor(sender).sign_in(key_of(sender, role))

    assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)
    assert f"This key has the role {role}" in answer.text


def test_a_public_token_opens_nothing(sender: Sender) -> None:
    token = sender.project.public_token
    assert token is not None

    for key_id in (token, "", "x"):
        answer = Visitor(sender).ask("POST", f"{CONSOLE}/sign-in", data={"key_id": key_id, "secret": token})
        assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)


def test_a_secret_alone_is_not_enough(sender: Sender) -> None:
    secret = key_of(sender, "ops").secret

    answer = Visitor(sender).ask("POST", f"{CONSOLE}/sign-in", data={"key_id": secret, "secret": " "})

    assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)


def test_who_has_not_signed_in_is_asked_to_and_then_comes_to_the_page(sender: Sender) -> None:
    visitor = Visitor(sender)
    asked = "/console/rejections?q=a%26b%3D%C3%BC&state="

    first = visitor.get(asked)
    assert first.status_code == 303
    (form,) = visitor.look(first.headers["location"]).posts()
    key = key_of(sender, "ops")
    answer = visitor.send(form, key_id=key.key_id, secret=key.secret)

    assert (answer.status_code, answer.headers["location"]) == (303, asked)
    assert visitor.get(first.headers["location"]).headers["location"] == asked


@pytest.mark.parametrize(
    "there",
    [
        *("//evil.example", "https://evil.example/console/", "/\\evil.example", "\\\\evil.example"),
        *(
            "%2f%2fevil.example",
            "/%2fevil.example",
            "javascript:alert(1)",
            "data:text/html,x",
            "evil.example",
        ),
        *("/console", "/consoles/", "/console@evil.example/", " //evil.example", "/\t/evil.example"),
        *("/console/\r\nset-cookie: x=y", "/console/sign-in?next=/console/sign-in", "", "/v1/projects"),
    ],
)
def test_signing_in_never_leads_to_another_site(sender: Sender, there: str) -> None:
    visitor = Visitor(sender)
    path = f"/sign-in?{urlencode({'next': there})}"

    answer = visitor.sign_in(key_of(sender, "ops"), path=path)

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    assert visitor.get(CONSOLE + path).headers["location"] == "/console/"
    zone = visitor.look("/console/rejections").posts()[0]
    assert visitor.send(zone, next=there).headers["location"] == "/console/"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_cannot_sign_somebody_in(sender: Sender, site: str) -> None:
    key = key_of(sender, "ops")
    data = {"key_id": key.key_id, "secret": key.secret}

    answer = Visitor(sender).ask("POST", f"{CONSOLE}/sign-in", data=data, sec_fetch_site=site)

    assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)


def test_who_guesses_has_to_wait_and_nobody_else_has_to(sender: Sender) -> None:
    key, other = new_key(sender), new_key(sender)
    visitor = Visitor(sender)

    for _ in range(sessions.MOST_FAILURES):
        assert visitor.sign_in(key, "wrong").status_code == 403
    waiting = [visitor.sign_in(key, "wrong"), visitor.sign_in(key)]

    assert [answer.status_code for answer in waiting] == [429, 429]
    assert "Wait" in waiting[1].text
    assert visitor.sign_in(other).status_code == 303


def test_a_right_secret_forgives_the_wrong_ones(sender: Sender) -> None:
    key = new_key(sender)
    visitor = Visitor(sender)

    for _ in range(2):
        for _ in range(sessions.MOST_FAILURES - 1):
            assert visitor.sign_in(key, "wrong").status_code == 403
        assert visitor.sign_in(key).status_code == 303


def test_a_throttle_forgets_and_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    throttle = sessions.Throttle()
    for _ in range(sessions.MOST_FAILURES):
        throttle.failed("host", "key")
    assert throttle.wait_seconds("host", "key") == sessions.FORGOTTEN_SECONDS

    now[0] += sessions.FORGOTTEN_SECONDS
    assert throttle.wait_seconds("host", "key") == 0
    throttle.failed("host", "key")
    assert throttle.wait_seconds("host", "key") == 0

    for number in range(10_001):
        throttle.failed("host", str(number))
    assert len(throttle._failures) == 10_000


@pytest.mark.parametrize("body", [b"", b"\xff=\xff&%zz", b"a=1&" * 300, b"key_id=" + b"x" * 200_000])
def test_what_is_no_form_signs_nobody_in(sender: Sender, body: bytes) -> None:
    for path in ("/console/sign-in", "/console/zone", "/console/rejections/1"):
        answer = sender.client.post(path, content=body, follow_redirects=False)
        assert answer.status_code == (403 if path.endswith("sign-in") else 303)
        assert "set-cookie" not in answer.headers
        assert len(answer.content) < 100_000


# -- being signed in ------------------------------------------------------------------------------


def test_nobody_stays_signed_in_with_a_key_that_is_revoked(sender: Sender) -> None:
    key = new_key(sender)
    visitor = Visitor(sender)
    visitor.sign_in(key)
    assert visitor.get("/console/").status_code == 200

    with sender.engine.execution_options(writes=True).begin() as connection:
        keys.revoke(connection, key.key_id, now_us=T0)
    reload(sender)

    assert visitor.get("/console/").status_code == 303
    assert visitor.sign_in(key).status_code == 403


def test_nobody_stays_signed_in_with_a_secret_that_is_rotated(sender: Sender) -> None:
    key = new_key(sender)
    visitor = Visitor(sender)
    visitor.sign_in(key)

    with sender.engine.execution_options(writes=True).begin() as connection:
        keys.rotate(connection, key.key_id, now_us=time.time_ns() // 1000)
    reload(sender)

    assert visitor.get("/console/").status_code == 303
    # The old secret is valid a while, also here.
    assert visitor.sign_in(key).status_code == 303
    assert visitor.get("/console/").status_code == 200


@pytest.fixture
def keyring(sender: Sender) -> Keyring:
    found: Keyring = sender.client.app_state["keys"].keyring
    return found


@pytest.fixture
def cookie(sender: Sender, keyring: Keyring) -> str:
    """Of a session that has begun at NOW."""
    made = sessions.begin(keyring, Caller(1, "ops", key_of(sender, "ops").key_id), NOW)
    assert made is not None
    return made


def test_a_session_lasts_twelve_hours(keyring: Keyring, cookie: str) -> None:
    lasts = sessions.LASTS_SECONDS
    seen = [sessions.read(keyring, cookie, NOW + later) is not None for later in (-1, 0, lasts - 1, lasts)]

    assert seen == [False, True, True, False]


Change = Callable[[str], str]


@pytest.mark.parametrize(
    "change",
    [
        lambda cookie: "",
        lambda cookie: cookie[:-1],
        lambda cookie: cookie + "0",
        lambda cookie: cookie[:-64],
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie.upper(),
        lambda cookie: cookie.replace(".1760", ".1761"),
        lambda cookie: cookie.replace(".1760", ".01760"),
        lambda cookie: cookie.replace(".1760", ".+1760"),
        lambda cookie: cookie.replace(".", ".."),
        lambda cookie: cookie.replace(".1760000000", ".x"),
        lambda cookie: f"{cookie}.{cookie}",
        lambda cookie: cookie.partition(".")[2],
        lambda cookie: "ü\udcff" + cookie,
        lambda cookie: cookie[:-1] + "ü",
        lambda cookie: "." * 5000,
    ],
)
def test_no_other_cookie_is_one_of_ours(keyring: Keyring, cookie: str, change: Change) -> None:
    assert sessions.read(keyring, cookie, NOW) is not None
    assert sessions.read(keyring, change(cookie), NOW) is None


def test_a_cookie_is_of_one_key_only(sender: Sender, keyring: Keyring, cookie: str) -> None:
    other = key_of(sender, "data").key_id

    assert sessions.read(keyring, cookie.replace(key_of(sender, "ops").key_id, other), NOW) is None


def test_a_proof_is_no_cookie_and_a_cookie_no_proof(keyring: Keyring, cookie: str) -> None:
    session = sessions.read(keyring, cookie, NOW)
    assert session is not None
    signature = cookie.rpartition(".")[2]

    assert not sessions.is_proof(session, signature)
    assert sessions.read(keyring, cookie.replace(signature, session.proof), NOW) is None


def test_signing_out_ends_it(visitor: Visitor) -> None:
    zone, out = visitor.look("/console/").posts()[:2]

    answer = visitor.send(out)

    assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    assert COOKIE not in visitor.cookies
    assert visitor.send(zone, zone="Europe/Berlin").headers["location"] == "/console/sign-in"


def test_another_site_cannot_sign_somebody_out(sender: Sender) -> None:
    """Its form comes without the cookie, as that is strict; the answer must not delete it either."""
    answer = Visitor(sender).ask("POST", "/console/sign-out", sec_fetch_site="cross-site")

    assert (answer.status_code, answer.headers.get("set-cookie")) == (303, None)


def test_times_are_shown_in_the_zone_that_was_chosen_and_in_utc_when_pointed_at(
    visitor: Visitor, rejection: int
) -> None:
    zone = visitor.look(f"/console/rejections/{rejection}").posts()[0]
    in_utc = _first_time(visitor.look(f"/console/rejections/{rejection}"))

    answer = visitor.send(zone, zone="Asia/Kathmandu")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/console/rejections/{rejection}")
    there = _first_time(visitor.look(answer.headers["location"]))

    assert in_utc["title"] == there["title"] == f"{in_utc['datetime'][:19].replace('T', ' ')} UTC"
    assert visitor.look("/console/").posts()[0].fields["zone"] == "Asia/Kathmandu"
    visitor.send(zone, zone="Nowhere/At/All")
    assert visitor.look("/console/").posts()[0].fields["zone"] == "Asia/Kathmandu"
    visitor.cookies["receiver_zone"] = "../../etc/passwd"
    assert visitor.look("/console/").posts()[0].fields["zone"] == "UTC"


def _first_time(page: Seen) -> dict[str, str]:
    return next(given for tag, given in page.elements if tag == "time")


# -- who may do what ------------------------------------------------------------------------------


def pages() -> list[tuple[str, frozenset[str]]]:
    """Path and methods of every route."""
    found = []
    for route in routes.routes:
        assert isinstance(route, Route)
        assert route.methods is not None
        found.append((route.path.removeprefix(CONSOLE), frozenset(route.methods)))
    return found


def a_path(pattern: str, rejection: int = 1) -> str:
    """One that fits, of something that is there if it is a rejection."""
    return CONSOLE + re.sub(r"\{\w+(:\w+)?\}", lambda _: str(rejection), pattern)


OPERATING = ("/rejections", "/mailings", "/suppressions")


def test_a_key_for_data_sees_no_rejections_and_no_mailings(sender: Sender, rejection: int) -> None:
    visitor = signed_in(sender, "data")

    paths = [a_path(path, rejection) for path, _ in pages() if path.startswith(OPERATING)]
    assert len(paths) > 4
    for path in paths:
        answer = visitor.get(path)
        if answer.status_code != 405:
            assert answer.status_code == 403, path
            assert "sign in with one of the role ops" in answer.text
    linked = set(visitor.look("/console/").links())
    assert not any(link.startswith(f"{CONSOLE}{part}") for link in linked for part in OPERATING)


def test_a_form_without_our_proof_changes_nothing(sender: Sender, shared_url: str, rejection: int) -> None:
    """Whatever the form: also with the proof of somebody else's session, or of none."""
    with posting(shared_url) as post:
        post.rows.project_id, post.rows.project = 1, sender.project
        (mailing,) = [each.mailing for each in post.intend(person("c-1"))]
    visitor = signed_in(sender)
    proof = signed_in(sender, "data").look("/console/").posts()[0].fields["proof"]
    posts = [path for path, methods in pages() if "POST" in methods and "DELETE" not in methods]
    paths = {a_path(path, rejection) for path in posts} - {f"{CONSOLE}/sign-in"}
    paths |= {a_path(path).replace("/1", f"/{mailing}") for path in posts if path.startswith("/mailings/{")}
    words = (
        "preview",
        "replay",
        "dismiss",
        "reopen",
        "undo",
        "cancel",
        "resolve",
        "suppress",
        "lift",
        "send",
    )
    before = dict(visitor.cookies)

    with unchanged(sender, rejections, attempts, events, mailings, suppressions):
        for path in paths:
            for forged in (None, "", "x", proof, visitor.cookies[COOKIE]):
                for do in words:
                    data = {"do": do, "zone": "Asia/Tokyo", "note": "x", "how": "as_it_came"}
                    answer = visitor.ask(
                        "POST", path, data=data if forged is None else {**data, "proof": forged}
                    )
                    assert answer.status_code == 403, (path, forged, do)
                    assert "This form is not ours" in answer.text

    assert len(paths) >= 4
    assert visitor.cookies == before


def test_a_file_without_our_proof_is_not_looked_at(visitor: Visitor) -> None:
    kind = "multipart/form-data; boundary=b"
    for proof in ("", "--b\r\ncontent-disposition: form-data; name=proof\r\n\r\nx\r\n"):
        body = (
            f"{proof}--b\r\ncontent-disposition: form-data; name=file; filename=a.csv\r\n\r\na\r\n--b--\r\n"
        )
        answer = visitor.ask("POST", "/console/mailings/try", content=body, content_type=kind)
        assert answer.status_code == 403
        assert "This form is not ours" in answer.text


def test_every_form_that_is_posted_carries_the_proof(visitor: Visitor, rejection: int) -> None:
    proof = visitor.look("/console/").posts()[0].fields["proof"]

    forms = [
        form
        for path, methods in pages()
        if "GET" in methods and "rest" not in path and "sign-in" not in path
        for answer in [visitor.get(a_path(path, rejection))]
        if answer.headers.get("content-type", "").startswith("text/html")
        for form in Seen(answer).posts()
    ]

    assert len(forms) > 10
    assert {form.fields.get("proof") for form in forms} == {proof}


# -- what browsers are told -----------------------------------------------------------------------


def test_every_answer_carries_the_headers(sender: Sender, rejection: int) -> None:
    visitor, nobody, analyst = signed_in(sender), Visitor(sender), signed_in(sender, "data")

    seen = set()
    for path, _ in [*pages(), ("/nonsense", None), ("/rejections/99999999999999999999", None)]:
        for who in (visitor, nobody, analyst):
            for method in ("GET", "POST", "HEAD", "DELETE"):
                answer = who.ask(method, a_path(path, rejection))
                seen.add(answer.status_code)
                assert [name for name in HEADERS if name not in answer.headers] == [], (method, path)
                assert answer.status_code < 500
                rules = answer.headers["content-security-policy"]
                assert "default-src 'none'" in rules
                assert "unsafe" not in rules
                assert "script" not in rules
                cached = answer.headers["cache-control"]
                assert cached == ("max-age=300" if "static" in path and answer.is_success else "no-store")

    assert {200, 303, 403, 404} <= seen


def test_the_short_address_leads_to_the_first_page(sender: Sender) -> None:
    assert Visitor(sender).get("/console").headers["location"] == "/console/"


def test_the_style_sheet_asks_nobody_else(sender: Sender) -> None:
    answer = Visitor(sender).get("/console/static/console.css")

    assert answer.headers["content-type"].startswith("text/css")
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    assert "http" not in answer.text
