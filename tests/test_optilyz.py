"""What became of a letter, for every way in which a server can answer or fail to."""

import gzip
import json
import logging
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.outbound.optilyz import (
    MAX_MESSAGE,
    Answer,
    Answered,
    Denied,
    Fate,
    Optilyz,
    Queued,
    Refused,
    RefusedWhole,
    TakenBack,
    Unknown,
    Unreached,
)
from tests.vendor import (
    BROKEN,
    RESULTS,
    Behave,
    Vendor,
    head,
    more,
    resetting,
    running_vendor,
    saying,
    then_hanging,
)

KEY = "key-that-nobody-may-see"
AUTOMATION = "64b0c0ffee0000000000abcd"
LETTERS = b'{"addresses": [{"address": {"lastName": "Beispiel"}}, {"address": {}}]}'
LETTER = b'{"address": {"lastName": "Beispiel"}}'


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as vendor:
        yield vendor


def client(vendor: Vendor, seconds: float = 20) -> Optilyz:
    return Optilyz(vendor.url, KEY, seconds=seconds)


def ask_for_two(vendor: Vendor, seconds: float = 20) -> Answer:
    return client(vendor, seconds).enqueue_many(AUTOMATION, LETTERS, 2)


def ask_for_one(vendor: Vendor, seconds: float = 20) -> Answer:
    return client(vendor, seconds).enqueue_one(AUTOMATION, LETTER)


def kinds(answer: Answer) -> list[type[Fate]]:
    assert isinstance(answer, Answered), answer
    return [type(fate) for fate in answer.fates]


def only(answer: Answer) -> Fate:
    assert isinstance(answer, Answered), answer
    (fate,) = answer.fates
    return fate


# -- what is asked --------------------------------------------------------------------------------


def test_the_key_is_the_user_and_the_password_is_blank(vendor: Vendor) -> None:
    vendor.answers(200)

    ask_for_one(vendor)

    (request,) = vendor.requests
    assert f"\r\nauthorization: basic {b64encode(f'{KEY}:'.encode()).decode()}\r\n".lower() in (
        request.decode().lower()
    )


def test_a_request_is_sent_as_the_vendor_wants_it(vendor: Vendor) -> None:
    vendor.answers(200)

    ask_for_one(vendor)
    ask_for_two(vendor)

    one, many = vendor.requests
    assert one.startswith(f"POST /api/v2/automations/{AUTOMATION}/recipient HTTP/1.1\r\n".encode())
    assert many.startswith(f"POST /api/v2/automations/{AUTOMATION}/recipients HTTP/1.1\r\n".encode())
    assert one.endswith(b"\r\n\r\n" + LETTER)
    assert many.endswith(b"\r\n\r\n" + LETTERS)
    for request in (one, many):
        lines = request.lower().split(b"\r\n")
        assert b"content-type: application/json;charset=utf-8" in lines
        assert [line for line in lines if line.startswith((b"transfer-encoding", b"content-encoding"))] == []


def test_no_id_can_climb_to_another_address(vendor: Vendor) -> None:
    vendor.answers(404)

    client(vendor).enqueue_one("../x?y#z", LETTER)
    client(vendor).take_back(AUTOMATION, "..")

    assert [request.split(b" ")[1] for request in vendor.requests] == [
        b"/api/v2/automations/%2E%2E%2Fx%3Fy%23z/recipient",
        f"/api/v2/automations/{AUTOMATION}/recipients/%2E%2E".encode(),
    ]


def test_each_request_has_a_connection_of_its_own(vendor: Vendor) -> None:
    afterwards: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        connection.sendall(head(200, "Content-Length: 0", "Keep-Alive: timeout=60"))
        afterwards.append(connection.recv(65536))

    vendor.behave = behave
    optilyz = client(vendor)

    fates = [only(optilyz.enqueue_one(AUTOMATION, LETTER)) for _ in range(3)]

    assert fates == [Queued(None)] * 3
    assert afterwards[:2] == [b"", b""]  # closed by the client, before the next one came


def test_the_key_shows_nowhere(vendor: Vendor, caplog: pytest.LogCaptureFixture) -> None:
    for library in (None, "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, library)
    vendor.answers(401)
    optilyz = client(vendor)

    answers = [optilyz.enqueue_one(AUTOMATION, LETTER), optilyz.check()]

    shown = f"{optilyz!r} {vars(optilyz)!r} {answers!r} {caplog.text}"
    assert "127.0.0.1" in caplog.text
    assert KEY not in shown
    assert b64encode(f"{KEY}:".encode()).decode() not in shown


# -- nothing was sent -----------------------------------------------------------------------------


def test_where_nobody_listens_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    optilyz = Optilyz(url, KEY, seconds=20)

    assert isinstance(optilyz.enqueue_one(AUTOMATION, LETTER), Unreached)
    assert isinstance(optilyz.enqueue_many(AUTOMATION, LETTERS, 2), Unreached)
    assert isinstance(optilyz.take_back(AUTOMATION, "a"), Unreached)
    assert "could not be reached" in str(optilyz.check())


def test_a_name_that_does_not_exist_is_not_reached() -> None:
    optilyz = Optilyz("http://there-is-no-such-host.invalid", KEY, seconds=20)

    assert isinstance(optilyz.enqueue_many(AUTOMATION, LETTERS, 2), Unreached)


def test_a_server_that_does_not_speak_tls_has_seen_no_letter(vendor: Vendor) -> None:
    vendor.reads = False
    vendor.behave = then_hanging(b"HTTP/1.1 400 Speak up\r\n\r\n")

    optilyz = Optilyz(vendor.url.replace("http:", "https:"), KEY, seconds=20)

    assert isinstance(optilyz.enqueue_many(AUTOMATION, LETTERS, 2), Unreached)


@pytest.mark.parametrize(
    ("behave", "seconds"),
    [
        (saying(head(407, "Content-Length: 0")), 20),
        (saying(head(502, "Content-Length: 0")), 20),
        (then_hanging(b""), 0.3),
        (saying(b""), 20),
        (resetting, 20),
    ],
    ids=["wants a password", "bad gateway", "hangs", "closes", "resets"],
)
def test_a_proxy_that_does_not_connect_us_has_seen_no_letter(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch, behave: Behave, seconds: float
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{vendor.port}")
    vendor.behave = behave

    optilyz = Optilyz("https://optilyz.invalid/api", KEY, seconds=seconds)

    assert isinstance(optilyz.enqueue_many(AUTOMATION, LETTERS, 2), Unreached)
    assert [request.split(b" ")[0] for request in vendor.requests] == [b"CONNECT"]


# -- nobody knows ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", BROKEN)
def test_after_a_broken_answer_nobody_knows(vendor: Vendor, what: str) -> None:
    vendor.behave, seconds = BROKEN[what]

    assert kinds(ask_for_two(vendor, seconds)) == [Unknown, Unknown]
    assert kinds(ask_for_one(vendor, seconds)) == [Unknown]
    assert isinstance(client(vendor, seconds).take_back(AUTOMATION, "a"), Unknown)


def test_requests_at_once_have_a_time_of_their_own(vendor: Vendor) -> None:
    vendor.behave = then_hanging(b"")
    optilyz = client(vendor, 0.3)

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda _: optilyz.enqueue_one(AUTOMATION, LETTER), range(3)))

    assert [kinds(answer) for answer in answers] == [[Unknown]] * 3


def test_a_connection_lost_while_the_letters_leave_may_have_carried_them(vendor: Vendor) -> None:
    def behave(connection: socket.socket) -> None:
        seen = b""
        while b"Muster" not in seen[-65536:]:
            seen += more(connection)
        resetting(connection)

    vendor.reads = False
    vendor.behave = behave

    answer = client(vendor).enqueue_many(AUTOMATION, b"Muster" * 5_000_000, 3)

    assert kinds(answer) == [Unknown] * 3


def test_a_server_that_takes_the_letters_too_slowly_may_have_them(vendor: Vendor) -> None:
    gone = threading.Event()
    vendor.reads = False
    vendor.behave = lambda connection: (more(connection), gone.wait(60), None)[2]

    answer = client(vendor, 0.3).enqueue_many(AUTOMATION, b"x" * 30_000_000, 3)
    gone.set()

    assert kinds(answer) == [Unknown] * 3


def test_a_refusal_counts_even_when_the_server_did_not_read_on(vendor: Vendor) -> None:
    def behave(connection: socket.socket) -> None:
        more(connection)
        connection.sendall(head(413, "Content-Length: 0", "Connection: close"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    vendor.reads = False
    vendor.behave = behave

    answer = client(vendor).enqueue_many(AUTOMATION, b"x" * 3_000_000, 3)

    assert isinstance(answer, RefusedWhole)


def test_a_refusal_counts_even_when_its_words_are_cut_off(vendor: Vendor) -> None:
    vendor.behave = saying(head(422, "Content-Length: 1000") + b'{"error"')
    assert ask_for_two(vendor) == RefusedWhole(422, "Optilyz answered 422 without a reason.")

    vendor.behave = saying(head(401, "Content-Length: 1000"))
    assert isinstance(ask_for_two(vendor), Denied)


# -- what a status means --------------------------------------------------------------------------

DENIED = {301, 302, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410, 411, 414, 415, 417, 421, 426, 431}


def expected_of_two(status: int) -> list[type]:
    if status in DENIED:
        return [Denied]
    if status == 429:
        return [Unreached]
    if 400 <= status < 500 and status != 408:
        return [RefusedWhole]
    return [Unknown, Unknown]  # also of a 2xx, because its body is empty here


def test_every_status_has_one_meaning(vendor: Vendor) -> None:
    statuses = [*(int(each) for each in HTTPStatus if each >= 200), 299, 399, 444, 499, 520, 599, 999]
    optilyz = client(vendor)
    found = {}
    for status in statuses:
        vendor.answers(status)
        answer = optilyz.enqueue_many(AUTOMATION, LETTERS, 2)
        found[status] = kinds(answer) if isinstance(answer, Answered) else [type(answer)]

    assert found == {status: expected_of_two(status) for status in statuses}


def test_every_status_has_one_meaning_for_a_single_letter(vendor: Vendor) -> None:
    instead: dict[type, type] = {RefusedWhole: Refused}
    statuses = [int(each) for each in HTTPStatus if each >= 200]
    optilyz = client(vendor)
    found = {}
    for status in statuses:
        vendor.answers(status)
        answer = optilyz.enqueue_one(AUTOMATION, LETTER)
        found[status] = type(only(answer)) if isinstance(answer, Answered) else type(answer)

    assert found == {
        status: Queued if status < 300 else instead.get(kind, kind)
        for status in statuses
        for kind in expected_of_two(status)[:1]
    }


def test_words_of_patience_before_the_answer_are_passed_over(vendor: Vendor) -> None:
    body = f"Content-Length: {len(RESULTS)}"
    vendor.behave = saying(head(100) + head(103, "Link: </x>") + head(200, body) + RESULTS)

    assert ask_for_two(vendor) == Answered([Queued("a"), Queued("b")])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("1.5", 1.5),
        ("3601", 3600),
        ("9" * 5000, 3600),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_who_asks_us_to_come_back_has_printed_nothing(
    vendor: Vendor, status: int, text: str, seconds: float
) -> None:
    vendor.answers(status, b"", f"Retry-After: {text}")

    for answer in (ask_for_two(vendor), ask_for_one(vendor), client(vendor).take_back(AUTOMATION, "a")):
        assert isinstance(answer, Unreached)
        assert answer.retry_after == seconds


def test_a_date_to_come_back_at_is_read_as_seconds_from_now(vendor: Vendor) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    vendor.answers(503, b"", f"Retry-After: {date}")

    answer = ask_for_two(vendor)

    assert isinstance(answer, Unreached)
    assert answer.retry_after is not None
    assert 0 < answer.retry_after <= 600


@pytest.mark.parametrize("text", ["soon", "-1", "", "٣", "Wed, 99 Jan 2020 00:00:00 GMT"])
def test_words_that_name_no_time_are_no_promise_to_have_done_nothing(vendor: Vendor, text: str) -> None:
    vendor.answers(503, b"", f"Retry-After: {text}")
    assert kinds(ask_for_two(vendor)) == [Unknown, Unknown]

    vendor.answers(429, b"", f"Retry-After: {text}")
    assert ask_for_two(vendor) == Unreached("Optilyz asks us to come back later (429).", None)


# -- what the results of several letters mean -----------------------------------------------------


@pytest.mark.parametrize(
    ("result", "fate"),
    [
        ({"id": "5fc6ca6a89b5e200e0de42e1"}, Queued("5fc6ca6a89b5e200e0de42e1")),
        ({"_id": "a"}, Queued("a")),
        ({"id": 12}, Queued("12")),
        ({"id": "a", "error": None}, Queued("a")),
        ({"id": "a", "error": "", "errors": []}, Queued("a")),
        ({"error": {"message": "No such street"}}, Refused("No such street")),
        ({"error": "No such street"}, Refused("No such street")),
        ({"id": None, "error": {"message": "No such street"}}, Refused("No such street")),
        ({"errors": ["No street", {"message": "No town"}]}, Refused("No street; No town")),
        ({"error": {"message": "x" * 3000}}, Refused("x" * MAX_MESSAGE)),
        ({"error": {"message": "a\0b\ud800c"}}, Refused("a?b?c")),
    ],
)
def test_a_result_is_either_an_id_or_a_message(vendor: Vendor, result: object, fate: Fate) -> None:
    vendor.answers(200, {"results": [result, {"id": "neighbour"}]})

    assert ask_for_two(vendor) == Answered([fate, Queued("neighbour")])


@pytest.mark.parametrize(
    "result",
    [
        {},
        None,
        "a",
        ["a"],
        {"id": "a", "error": {"message": "No such street"}},
        {"id": ""},
        {"id": " "},
        {"id": True},
        {"id": 1.5},
        {"id": ["a"]},
        {"id": "a\0"},
        {"id": "x" * 201},
        {"error": {}},
        {"error": {"code": 4}},
        {"error": True},
        {"error": {"message": ""}},
        {"error": {"message": {"message": {"message": {"message": {"message": {"message": "deep"}}}}}}},
    ],
)
def test_any_other_result_leaves_its_letter_unknown_and_no_other(vendor: Vendor, result: object) -> None:
    vendor.answers(200, {"results": [result, {"id": "neighbour"}]})

    assert kinds(ask_for_two(vendor)) == [Unknown, Queued]


def test_the_results_count_and_not_the_numbers_beside_them(vendor: Vendor) -> None:
    vendor.answers(200, {"queued": 2, "ignored": 0, "results": [{"id": "a"}, {"error": {"message": "No"}}]})

    assert ask_for_two(vendor) == Answered([Queued("a"), Refused("No")])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"[]",
        b'{"queued": 2}',
        b'{"results": null}',
        b'{"results": {"0": {"id": "a"}, "1": {"id": "b"}}}',
        b'{"results": [{"id": "a"}]}',
        b'{"results": [{"id": "a"}, {"id": "b"}, {"id": "c"}]}',
        b'{"results": [{"id": "a"}, {"id": "b"}]',
        b"[" * 100_000,
        b"9" * 5000,
        b"\xff\xfe",
    ],
)
def test_without_a_result_for_each_letter_nobody_knows_of_any(vendor: Vendor, body: bytes) -> None:
    vendor.answers(200, body)

    assert kinds(ask_for_two(vendor)) == [Unknown, Unknown]


def test_a_packed_answer_is_unpacked(vendor: Vendor) -> None:
    vendor.answers(200, gzip.compress(RESULTS), "Content-Encoding: gzip")

    assert ask_for_two(vendor) == Answered([Queued("a"), Queued("b")])


def test_a_whole_refusal_keeps_the_words_of_the_vendor(vendor: Vendor) -> None:
    vendor.answers(400, {"error": {"message": "Unknown field"}})
    assert ask_for_two(vendor) == RefusedWhole(400, "Unknown field")

    vendor.answers(422, b"Too many letters\n")
    assert ask_for_two(vendor) == RefusedWhole(422, "Too many letters")

    vendor.answers(413, b"<html><title>Too large</title>")
    assert ask_for_two(vendor) == RefusedWhole(413, "Optilyz answered 413 without a reason.")


def test_several_letters_that_are_one_can_be_blamed(vendor: Vendor) -> None:
    vendor.answers(400, {"message": "Unknown field"})

    assert client(vendor).enqueue_many(AUTOMATION, LETTERS, 1) == Answered([Refused("Unknown field")])


# -- what the undocumented answer for one letter means --------------------------------------------


@pytest.mark.parametrize(
    ("body", "fate"),
    [
        (b"", Queued(None)),
        (b"OK", Queued(None)),
        (b"{}", Queued(None)),
        (b"null", Queued(None)),
        (b'{"id": "a", "error": null, "errors": []}', Queued("a")),
        (b'{"_id": "a", "errors": ""}', Queued("a")),
        (b'{"recipientId": 7}', Queued("7")),
        (b'{"requestId": "r", "queued": 1, "results": [{"id": "a"}]}', Queued("a")),
        (b'{"error": {"message": "No such street"}}', Refused("No such street")),
        (b'{"error": "No such street"}', Refused("No such street")),
        (b'{"errors": ["No street", "No town"]}', Refused("No street; No town")),
        (b'{"errors": [{"description": "No street", "code": 4}]}', Refused("No street")),
        (b'{"queued": 0, "results": [{"error": {"message": "No street"}}]}', Refused("No street")),
        (b'{"error": {"code": 4}}', Refused("Optilyz refused the letter without a reason.")),
        (b'{"error": true}', Refused("Optilyz refused the letter without a reason.")),
    ],
)
def test_what_does_not_complain_is_queued(vendor: Vendor, body: bytes, fate: Fate) -> None:
    vendor.answers(201, body)

    assert only(ask_for_one(vendor)) == fate


def test_an_id_with_a_complaint_is_neither(vendor: Vendor) -> None:
    vendor.answers(200, {"id": "a", "error": {"message": "No such street"}})

    assert isinstance(only(ask_for_one(vendor)), Unknown)


def test_a_refused_letter_keeps_the_words_of_the_vendor(vendor: Vendor) -> None:
    vendor.answers(400, {"error": {"message": "No such street"}})

    assert only(ask_for_one(vendor)) == Refused("No such street")


# -- whatever the body is -------------------------------------------------------------------------

words = st.text(max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
result = anything | st.fixed_dictionaries(
    {},
    optional={
        "id": words | st.integers() | st.none() | anything,
        "error": words | st.fixed_dictionaries({"message": words | anything}) | anything,
        "errors": st.lists(words | st.fixed_dictionaries({"description": words}), max_size=3) | anything,
    },
)
answered = st.fixed_dictionaries({"results": st.lists(result, max_size=4) | anything}) | result
bodies = st.binary(max_size=50) | answered.map(lambda value: json.dumps(value).encode())


@pytest.fixture(scope="module")
def lasting_vendor() -> Iterator[Vendor]:
    """One for all examples."""
    with running_vendor() as vendor:
        yield vendor


@pytest.fixture(scope="module")
def lasting_optilyz(lasting_vendor: Vendor) -> Optilyz:
    return client(lasting_vendor)


@settings(max_examples=150)
@given(body=bodies, letters=st.integers(1, 4), status=st.sampled_from([200, 202, 400, 422]))
def test_every_letter_has_one_fate_that_can_be_kept(
    lasting_vendor: Vendor, lasting_optilyz: Optilyz, body: bytes, letters: int, status: int
) -> None:
    lasting_vendor.answers(status, body)

    for answer, count in (
        (lasting_optilyz.enqueue_many(AUTOMATION, LETTERS, letters), letters),
        (lasting_optilyz.enqueue_one(AUTOMATION, LETTER), 1),
    ):
        if isinstance(answer, RefusedWhole):
            assert status >= 400
            assert storable(answer.message)
            continue
        assert isinstance(answer, Answered)
        assert len(answer.fates) == count
        for fate in answer.fates:
            assert fate == Queued(None) or storable(fate[0])


def storable(text: str | None) -> bool:
    return bool(text) and "\0" not in str(text) and len(str(text).encode()) <= 4 * MAX_MESSAGE


# -- a letter is taken back, and the key is tried -------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "taken"),
    [
        (200, b'{"deleted": 1}', TakenBack, True),
        (200, b'{"deleted": 2}', TakenBack, True),
        (200, b'{"deleted": 0}', TakenBack, False),
        (404, b"", TakenBack, False),
        (410, b"", TakenBack, False),
        (409, b"", TakenBack, False),
        (200, b"", Unknown, None),
        (204, b"", Unknown, None),
        (200, b'{"deleted": "1"}', Unknown, None),
        (500, b'{"deleted": 1}', Unknown, None),
        (503, b"", Unknown, None),
        (408, b"", Unknown, None),
        (401, b"", Denied, None),
        (405, b"", Denied, None),
        (302, b"", Denied, None),
        (429, b"", Unreached, None),
    ],
)
def test_a_letter_is_taken_back_when_the_vendor_says_so(
    vendor: Vendor, status: int, body: bytes, kind: type, taken: bool | None
) -> None:
    vendor.answers(status, body)

    answer = client(vendor).take_back(AUTOMATION, "5fc6ca6a89b5e200e0de42e1")

    assert type(answer) is kind
    assert taken == (answer.taken if isinstance(answer, TakenBack) else None)
    assert vendor.requests[0].startswith(
        f"DELETE /api/v2/automations/{AUTOMATION}/recipients/5fc6ca6a89b5e200e0de42e1 HTTP/1.1".encode()
    )


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (200, None),
        (401, "Optilyz refuses the API key (401)."),
        (302, "Optilyz sends us elsewhere (302); see OPTILYZ_BASE_URL."),
        (500, "Optilyz answered 500."),
    ],
)
def test_the_key_is_tried_without_sending_anything(vendor: Vendor, status: int, sentence: str | None) -> None:
    vendor.answers(status, b"[]")

    assert client(vendor).check() == sentence
    assert vendor.requests[0].startswith(b"GET /api/v2/automations HTTP/1.1")
