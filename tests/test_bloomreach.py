"""What became of each command of a batch, for every way in which a server can answer or fail to."""

import gzip
import json
import logging
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.outbound.bloomreach import (
    MAX_MESSAGE,
    Answer,
    Answered,
    Bloomreach,
    Denied,
    Fate,
    NotAllowed,
    Refused,
    RefusedWhole,
    Sent,
    Unreached,
    bloomreach_of,
)
from receiver.settings import read_settings
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
    trickling,
)

PROJECT = "6f0a1c0e-0c1a-4a53-9a0e-0b7d1f0f9d11"
KEY = "id-that-nobody-may-see"
SECRET = "secret-that-nobody-may-see"
IN_BASE_64 = b64encode(f"{KEY}:{SECRET}".encode()).decode()
GOOD: dict[str, object] = {"success": True}
BAD: dict[str, object] = {"success": False, "errors": ["At least one id should be specified."]}


def commands(*ids: str) -> list[tuple[str, bytes]]:
    return [(each, json.dumps({"name": "customers/events", "command_id": each}).encode()) for each in ids]


TWO = commands("a", "b")


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as vendor:
        yield vendor


@pytest.fixture
def bloomreach(vendor: Vendor) -> Iterator[Bloomreach]:
    with closing(client(vendor)) as bloomreach:
        yield bloomreach


def client(vendor: Vendor, seconds: float = 20) -> Bloomreach:
    return Bloomreach(vendor.url, PROJECT, KEY, SECRET, seconds=seconds)


def ok(*ids: str) -> bytes:
    """The whole answer that takes the commands with *ids*."""
    results = [{"success": True, "command_id": each} for each in ids]
    return whole(
        json.dumps({"success": True, "results": results, "start_time": 1.5, "end_time": 2.5}).encode()
    )


def whole(body: bytes, status: int = 200) -> bytes:
    return head(status, f"Content-Length: {len(body)}") + body


def in_turn(*behaviours: Behave) -> Behave:
    """Each of *behaviours* for one request."""
    turns = iter(behaviours)
    return lambda connection: next(turns)(connection)


def then_closing(behave: Behave) -> Behave:
    """Close also a connection that the server would keep."""

    def behave_and_close(connection: socket.socket) -> None:
        behave(connection)
        raise OSError("enough")

    return behave_and_close


def kinds(answer: Answer) -> list[type[Fate]]:
    assert isinstance(answer, Answered), answer
    return [type(fate) for fate in answer.fates]


# -- what is asked --------------------------------------------------------------------------------


def test_a_batch_is_sent_as_the_vendor_wants_it(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.behave = saying(ok("a", "b"))

    bloomreach.batch(TWO)

    (request,) = vendor.requests
    before, _, body = request.partition(b"\r\n\r\n")
    first, *lines = before.split(b"\r\n")
    assert first == f"POST /api/track/v2/projects/{PROJECT}/batch HTTP/1.1".encode()
    assert {b"authorization: basic " + IN_BASE_64.lower().encode(), b"content-type: application/json"} <= {
        line.lower() for line in lines
    }
    assert IN_BASE_64.encode() in before
    assert [line for line in lines if line.lower().startswith((b"transfer-", b"content-encoding"))] == []
    assert body == b'{"commands":[%b,%b]}' % (TWO[0][1], TWO[1][1])


def test_no_token_can_climb_to_another_address(vendor: Vendor) -> None:
    vendor.answers(404)

    for token in ("../x?y#z", ".."):
        with closing(Bloomreach(f"{vendor.url}/", token, KEY, SECRET, seconds=20)) as bloomreach:
            bloomreach.batch(TWO)

    assert [request.split(b" ")[1] for request in vendor.requests] == [
        b"/api/track/v2/projects/%2E%2E%2Fx%3Fy%23z/batch",
        b"/api/track/v2/projects/%2E%2E/batch",
    ]


def test_neither_key_nor_secret_show_anywhere(
    vendor: Vendor, bloomreach: Bloomreach, caplog: pytest.LogCaptureFixture
) -> None:
    for library in (None, "httpx2", "httpcore2"):
        caplog.set_level(logging.DEBUG, library)
    vendor.answers(401, {"error": f"access key not found: {KEY}:{SECRET}"})

    answers = [bloomreach.batch(TWO), bloomreach.check()]

    shown = f"{bloomreach!r} {vars(bloomreach)!r} {answers!r} {caplog.text}"
    assert "127.0.0.1" in caplog.text
    assert [secret for secret in (KEY, SECRET, IN_BASE_64) if secret in shown] == []


def test_no_cookie_is_given_back_and_no_redirect_is_followed(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.answers(307, b"", f"Location: {vendor.url}/elsewhere", "Set-Cookie: visitor=1; Path=/")

    answers = [bloomreach.batch(TWO), bloomreach.batch(TWO)]

    assert {type(answer) for answer in answers} == {Denied}
    assert len(vendor.requests) == 2
    assert [request for request in vendor.requests if b"cookie:" in request.lower()] == []


# -- the connection is kept -----------------------------------------------------------------------


def test_batches_follow_each_other_on_one_connection(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.keeps = True
    vendor.behave = saying(ok("a", "b"))

    answers = [bloomreach.batch(TWO) for _ in range(20)]

    assert {tuple(kinds(answer)) for answer in answers} == {(Sent, Sent)}
    assert (vendor.connections, len(vendor.requests)) == (1, 20)


def test_a_refusal_does_not_end_the_connection(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.keeps = True
    vendor.behave = in_turn(
        *(saying(whole(b'{"message": "No"}', status)) for status in (400, 429, 503)), saying(ok("a", "b"))
    )

    answers = [type(bloomreach.batch(TWO)) for _ in range(4)]

    assert answers == [RefusedWhole, Unreached, Unreached, Answered]
    assert vendor.connections == 1


def test_one_batch_at_a_time_leaves_us_whoever_asks(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.keeps = True
    vendor.behave = saying(ok("a", "b"))

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: bloomreach.batch(TWO), range(40)))

    assert {tuple(kinds(answer)) for answer in answers} == {(Sent, Sent)}
    assert (vendor.connections, len(vendor.requests)) == (1, 40)


def test_a_connection_that_was_closed_meanwhile_is_made_anew(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.behave = saying(ok("a", "b"))  # and the server closes, of which its answer said nothing

    answers = [bloomreach.batch(TWO) for _ in range(5)]

    assert {tuple(kinds(answer)) for answer in answers} == {(Sent, Sent)}
    assert (vendor.connections, len(vendor.requests)) == (5, 5)


@pytest.mark.parametrize(
    "behave", [saying(b""), resetting, saying(b"HTTP/1.1 200 OK\r\nConte")], ids=["closes", "resets", "cuts"]
)
def test_a_connection_that_is_closed_as_it_is_used_again_is_made_anew(
    vendor: Vendor, bloomreach: Bloomreach, behave: Behave
) -> None:
    good = saying(ok("a", "b"))
    vendor.keeps = True
    vendor.behave = in_turn(good, then_closing(behave), good, good)

    answers = [bloomreach.batch(TWO) for _ in range(3)]

    assert {tuple(kinds(answer)) for answer in answers} == {(Sent, Sent)}
    assert (vendor.connections, len(vendor.requests)) == (2, 4)
    assert vendor.requests[1] == vendor.requests[2]


def test_a_batch_is_sent_again_once_and_no_more(vendor: Vendor, bloomreach: Bloomreach) -> None:
    closes = then_closing(saying(b""))
    vendor.keeps = True
    vendor.behave = in_turn(saying(ok("a", "b")), closes, closes)

    answers = [bloomreach.batch(TWO) for _ in range(2)]

    assert [type(answer) for answer in answers] == [Answered, Unreached]
    assert (vendor.connections, len(vendor.requests)) == (2, 3)


def test_what_is_lost_on_a_new_connection_is_not_sent_again(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.behave = saying(b"")

    assert isinstance(bloomreach.batch(TWO), Unreached)
    assert len(vendor.requests) == 1


LATE: dict[str, Behave] = {
    "never answers": then_hanging(b""),
    "hangs in the head": then_hanging(b"HTTP/1.1 200 OK\r\nConte"),
    "hangs in the body": then_hanging(head(200, "Content-Length: 1000") + b"{"),
    "trickles the head": trickling(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "trickles the body": trickling(head(200, "Content-Length: 100000"), b" "),
    "trickles without a length": trickling(head(200), b" "),
    "asks for patience for ever": trickling(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
}


@pytest.mark.parametrize("what", LATE)
def test_the_time_also_ends_a_batch_on_a_kept_connection(vendor: Vendor, what: str) -> None:
    good = saying(ok("a", "b"))
    vendor.keeps = True
    vendor.behave = in_turn(good, good, LATE[what], good)

    with closing(client(vendor, 1)) as bloomreach:
        before = [bloomreach.batch(TWO) for _ in range(2)]
        began = time.monotonic()
        late = bloomreach.batch(TWO)
        took = time.monotonic() - began
        after = bloomreach.batch(TWO)

    assert [kinds(answer) for answer in (*before, after)] == [[Sent, Sent]] * 3
    assert isinstance(late, Unreached)
    assert 0.9 < took < 10
    assert (vendor.connections, len(vendor.requests)) == (2, 4)  # it was not sent again


def test_the_time_is_that_of_each_batch_and_not_of_the_connection(vendor: Vendor) -> None:
    vendor.keeps = True
    vendor.behave = saying(ok("a", "b"))

    with closing(client(vendor, 1)) as bloomreach:
        ends = time.monotonic() + 2.2
        answers = []
        while time.monotonic() < ends:
            answers.append(bloomreach.batch(TWO))
            time.sleep(0.01)
        time.sleep(1.2)  # longer than a batch may take, with none under way
        answers.append(bloomreach.batch(TWO))
        vendor.behave = LATE["trickles the body"]
        late = bloomreach.batch(TWO)

    assert {tuple(kinds(answer)) for answer in answers} == {(Sent, Sent)}
    assert vendor.connections == 1
    assert isinstance(late, Unreached)


def test_the_connection_ends_when_it_is_closed(vendor: Vendor) -> None:
    ended = threading.Event()

    def behave(connection: socket.socket) -> None:
        connection.sendall(ok("a", "b"))
        assert connection.recv(1) == b""
        ended.set()

    vendor.behave = behave
    bloomreach = client(vendor)
    bloomreach.batch(TWO)
    assert not ended.is_set()

    bloomreach.close()

    assert ended.wait(10)


# -- it may be asked again ------------------------------------------------------------------------


@pytest.mark.parametrize("what", BROKEN)
def test_after_a_broken_answer_the_batch_may_be_sent_again(vendor: Vendor, what: str) -> None:
    vendor.behave, seconds = BROKEN[what]

    with closing(client(vendor, seconds)) as bloomreach:
        answer = bloomreach.batch(TWO)

    assert isinstance(answer, Unreached)
    assert answer[1:] == (None, False)


def test_the_answer_that_is_broken_above_would_be_a_good_one_whole(
    vendor: Vendor, bloomreach: Bloomreach
) -> None:
    vendor.behave = saying(whole(RESULTS))

    assert kinds(bloomreach.batch(TWO)) == [Sent, Sent]


def test_where_nobody_listens_it_may_be_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    with closing(Bloomreach(url, PROJECT, KEY, SECRET, seconds=20)) as bloomreach:
        assert bloomreach.batch(TWO) == Unreached(
            "Bloomreach could not be reached (ConnectError).", None, False
        )
        assert bloomreach.check() == "Bloomreach could not be reached (ConnectError)."


def test_a_server_that_does_not_speak_tls_may_be_asked_again(vendor: Vendor) -> None:
    vendor.reads = False
    vendor.behave = then_hanging(b"HTTP/1.1 400 Speak up\r\n\r\n")

    url = vendor.url.replace("http:", "https:")
    with closing(Bloomreach(url, PROJECT, KEY, SECRET, seconds=20)) as bloomreach:
        assert isinstance(bloomreach.batch(TWO), Unreached)


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_whose_words_are_cut_off_may_be_about_anything(
    vendor: Vendor, bloomreach: Bloomreach, status: int
) -> None:
    vendor.behave = saying(head(status, "Content-Length: 1000") + b'{"success": false, "error": "Could not')

    assert isinstance(bloomreach.batch(TWO), Unreached)


def test_a_batch_that_is_too_large_is_so_even_when_nobody_read_it(
    vendor: Vendor, bloomreach: Bloomreach
) -> None:
    def behave(connection: socket.socket) -> None:
        more(connection)
        connection.sendall(head(413, "Content-Length: 1000"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    vendor.reads = False
    vendor.behave = behave

    answer = bloomreach.batch([("a", b"x" * 3_000_000)])

    assert answer == RefusedWhole("Bloomreach answered 413 without a reason.")


def test_a_denial_counts_even_when_its_words_are_cut_off(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.behave = saying(head(403, "Content-Length: 1000") + b'{"success": false')

    assert isinstance(bloomreach.batch(TWO), Denied)


# -- what a status means --------------------------------------------------------------------------

DENIED = {*range(300, 400), 401, 402, 403, 404, 405, 406, 407, 410, 411, 414, 415, 417, 421, 426, 431}


def expected(status: int) -> type:
    if status in DENIED:
        return Denied
    return RefusedWhole if 400 <= status < 500 and status not in (408, 425, 429) else Unreached


def test_every_status_has_one_meaning(vendor: Vendor, bloomreach: Bloomreach) -> None:
    statuses = [*(int(each) for each in HTTPStatus if each >= 200), 299, 399, 444, 499, 520, 599, 999]
    found = {}
    for status in statuses:
        vendor.answers(status)
        found[status] = type(bloomreach.batch(TWO))

    assert found == {status: expected(status) for status in statuses}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("9" * 5000, 3600),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_who_is_too_busy_says_when_to_come_back(
    vendor: Vendor, bloomreach: Bloomreach, status: int, text: str, seconds: float | None
) -> None:
    vendor.answers(status, b"", f"Retry-After: {text}")

    answer = bloomreach.batch(TWO)

    assert answer == Unreached(f"Bloomreach cannot take it now ({status}).", seconds, status == 429)


def test_a_date_to_come_back_at_is_read_as_seconds_from_now(vendor: Vendor, bloomreach: Bloomreach) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    vendor.answers(429, b"", f"Retry-After: {date}")

    answer = bloomreach.batch(TWO)

    assert isinstance(answer, Unreached)
    assert answer.retry_after is not None
    assert 0 < answer.retry_after <= 600


# -- what the results mean ------------------------------------------------------------------------

NO_REASON = "Bloomreach refused the command without a reason."


@pytest.mark.parametrize(
    ("result", "fate"),
    [
        (GOOD, Sent()),
        ({"success": True, "errors": []}, Sent()),
        ({"success": True, "time": 1533663283.89}, Sent()),
        ({"success": True, "errors": ["Deprecated"]}, Sent()),
        (BAD, Refused("At least one id should be specified.")),
        ({"success": False}, Refused(NO_REASON)),
        ({"success": False, "errors": []}, Refused(NO_REASON)),
        ({"success": False, "errors": [{}], "error": 4}, Refused(NO_REASON)),
        ({"success": False, "error": "Invalid customer_id"}, Refused("Invalid customer_id")),
        ({"success": False, "message": "Too long"}, Refused("Too long")),
        ({"success": False, "errors": ["No id", "No type"]}, Refused("No id; No type")),
        (
            {"success": False, "errors": ["No id"], "error": "No id", "message": "Sorry"},
            Refused("No id; Sorry"),
        ),
        ({"success": False, "errors": {"_global": ["No", "customer"]}}, Refused("No; customer")),
        ({"success": False, "errors": {"timestamp": ["Too old"], "x": 4}}, Refused("timestamp: Too old")),
        ({"success": False, "errors": {"code": 404, "description": "Not here"}}, Refused("Not here")),
        ({"success": False, "errors": ["x" * 3000]}, Refused("x" * MAX_MESSAGE)),
        ({"success": False, "errors": {"a\0\ud800": ["b\0c\ud800"]}}, Refused("a??: b?c?")),
    ],
)
def test_a_result_says_what_became_of_its_command(
    vendor: Vendor, bloomreach: Bloomreach, result: object, fate: Fate
) -> None:
    vendor.answers(200, {"success": True, "results": [result, GOOD]})

    answer = bloomreach.batch(TWO)

    assert kinds(answer) == [type(fate), Sent]
    assert answer == Answered([fate, Sent()])


@pytest.mark.parametrize(
    "text",
    [
        "Not authorized to add event of specified type",
        "not authorized to update specified customer properties",
        "NO PERMISSION",
        "No permission to export customer",
        "access key not found",
        "invalid secret",
    ],
)
@pytest.mark.parametrize(
    "shape", ["error", "errors", "fields", "description", "message", "says nothing", "lies"]
)
def test_what_our_key_may_not_do_is_not_the_fault_of_the_command(
    vendor: Vendor, bloomreach: Bloomreach, text: str, shape: str
) -> None:
    result = {
        "error": {"success": False, "error": text},
        "errors": {"success": False, "errors": [text]},
        "fields": {"success": False, "errors": {"event_type": [text]}},
        "description": {"success": False, "errors": {"code": 403, "description": text}},
        "message": {"success": False, "errors": ["Sorry"], "message": text},
        "says nothing": {"errors": [text]},
        "lies": {"success": True, "errors": [text]},
    }[shape]
    vendor.answers(200, {"success": True, "results": [GOOD, result]})

    answer = bloomreach.batch(TWO)

    assert kinds(answer) == [Sent, NotAllowed]
    assert isinstance(answer, Answered)
    assert isinstance(last := answer.fates[1], NotAllowed)
    assert last.detail.startswith("Bloomreach says “")
    assert last.detail.endswith(".")


def test_results_are_matched_by_their_ids(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.answers(
        200,
        {"results": [{**BAD, "command_id": "c"}, {**GOOD, "command_id": "a"}, {**GOOD, "command_id": "b"}]},
    )

    assert kinds(bloomreach.batch(commands("a", "b", "c"))) == [Sent, Sent, Refused]


@pytest.mark.parametrize(
    "theirs",
    [
        (None, None, None),
        ("a", None, None),
        (None, None, "3"),
        ("A", "B", "C"),
        ("?", "?", "?"),
    ],
)
def test_without_all_ids_results_are_matched_by_their_place(
    vendor: Vendor, bloomreach: Bloomreach, theirs: tuple[str | None, ...]
) -> None:
    results = [
        {**result, **({} if their is None else {"command_id": their})}
        for result, their in zip((GOOD, BAD, GOOD), theirs, strict=True)
    ]
    vendor.answers(200, {"success": True, "results": results})

    assert kinds(bloomreach.batch(commands("a", "b", "3"))) == [Sent, Refused, Sent]


def test_an_id_that_comes_back_as_a_number_is_the_same(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.answers(200, {"results": [{**BAD, "command_id": 2}, {**GOOD, "command_id": 1}]})

    assert kinds(bloomreach.batch(commands("1", "2"))) == [Sent, Refused]


@pytest.mark.parametrize("theirs", [("b", None), ("b", "b"), ("b", "x"), ("a", "a")])
def test_ids_that_stand_in_the_wrong_place_are_not_guessed_at(
    vendor: Vendor, bloomreach: Bloomreach, theirs: tuple[str | None, ...]
) -> None:
    vendor.answers(200, {"results": [{**GOOD, "command_id": their} for their in theirs]})

    assert isinstance(bloomreach.batch(TWO), Unreached)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        b"null",
        b"[]",
        b"[true, true]",
        b"{}",
        b'{"success": true}',
        b'{"success": true, "results": null}',
        b'{"success": true, "results": []}',
        b'{"success": true, "results": {"a": {"success": true}, "b": {"success": true}}}',
        b'{"success": true, "results": [{"success": true}]}',
        b'{"success": true, "results": [{"success": true}, {"success": true}, {"success": true}]}',
        b'{"success": true, "results": [{"success": true}, {}]}',
        b'{"success": true, "results": [{"success": true}, null]}',
        b'{"success": true, "results": [{"success": true}, true]}',
        b'{"success": true, "results": [{"success": true}, {"success": "true"}]}',
        b'{"success": true, "results": [{"success": true}, {"success": 1}]}',
        b'{"success": true, "results": [{"success": true}, {"errors": ["No id"]}]}',
        b'{"success": true, "results": [{"success": true}, {"success": true}]',
        b"<html><title>Not authorized</title>",
        b"[" * 100_000,
        b"9" * 5000,
        b"\xff\xfe",
    ],
)
def test_without_a_usable_result_for_each_command_the_batch_may_be_sent_again(
    vendor: Vendor, bloomreach: Bloomreach, body: bytes
) -> None:
    vendor.answers(200, body)

    assert bloomreach.batch(TWO) == Unreached(
        "Bloomreach answered without one result for each command.", None, False
    )


def test_the_results_count_more_than_the_word_for_all(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.answers(200, {"success": False, "results": [GOOD, BAD]})

    assert kinds(bloomreach.batch(TWO)) == [Sent, Refused]


def test_a_packed_answer_is_unpacked(vendor: Vendor, bloomreach: Bloomreach) -> None:
    body = json.dumps({"success": True, "results": [GOOD, BAD]}).encode()
    vendor.answers(200, gzip.compress(body), "Content-Encoding: gzip")

    assert kinds(bloomreach.batch(TWO)) == [Sent, Refused]


# -- the batch as one -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"success": false, "message": "Invalid JSON"}', "Invalid JSON"),
        (400, b'{"success": false, "errors": {"commands": ["Too many"]}}', "commands: Too many"),
        (400, b'{"success": false, "error": "Something else"}', "Something else"),
        (400, b"BadRequest: The browser (or proxy) sent", "BadRequest: The browser (or proxy) sent"),
        (400, b'"No"', "No"),
        (413, b"<html><title>Too large</title>", "Bloomreach answered 413 without a reason."),
        (422, b"", "Bloomreach answered 422 without a reason."),
        (400, json.dumps({"message": "x" * 3000}).encode(), "x" * MAX_MESSAGE),
        (200, b'{"success": false, "message": "No commands"}', "No commands"),
        (200, b'{"success": false, "results": [{}], "errors": ["Broken"]}', "Broken"),
        (200, b'{"success": false}', "Bloomreach refused the batch without a reason."),
    ],
)
def test_a_batch_that_is_refused_as_one_keeps_the_words_of_the_vendor(
    vendor: Vendor, bloomreach: Bloomreach, status: int, body: bytes, message: str
) -> None:
    vendor.answers(status, body)

    answer = bloomreach.batch(TWO)

    assert isinstance(answer, RefusedWhole)
    assert answer.message == message


ADVICE = {
    "Could not authenticate": "BLOOMREACH_PROJECT_TOKEN",
    "Invalid project id": "BLOOMREACH_PROJECT_TOKEN",
    "Access key not provided": "BLOOMREACH_KEY_ID",
    "access key not found": "BLOOMREACH_SECRET",
    "invalid secret": "BLOOMREACH_SECRET",
    "Not authorized to add event of specified type": "Events > Set for this type",
    "not authorized to update specified customer properties": "Customer properties > Set",
    "Not authorized": "Events > Set and Customer properties > Set",
    "no permission": "Events > Set and Customer properties > Set",
}


@pytest.mark.parametrize("text", ADVICE)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 422])
def test_a_denial_says_what_to_look_at(
    vendor: Vendor, bloomreach: Bloomreach, status: int, text: str
) -> None:
    for body in (
        {"success": False, "error": text},
        {"success": False, "errors": [text]},
        {"success": False, "errors": {"_global": [text]}},
        {"success": False, "message": text.upper()},
        {"success": True, "error": text, "results": [GOOD, GOOD]},
        text,
        text.encode(),
    ):
        vendor.answers(status, body)
        answer = bloomreach.batch(TWO)
        assert isinstance(answer, Denied), body
        assert ADVICE[text] in answer.detail


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (302, "Bloomreach sends us elsewhere (302); see BLOOMREACH_BASE_URL."),
        (401, "Bloomreach refuses the key (401); see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET."),
        (403, "Bloomreach does not allow this (403); see BLOOMREACH_SECRET and the key's permissions."),
        (404, "Bloomreach has no such address (404); see BLOOMREACH_BASE_URL."),
    ],
)
def test_a_denial_repeats_no_words_that_we_do_not_know(
    vendor: Vendor, bloomreach: Bloomreach, status: int, sentence: str
) -> None:
    vendor.answers(status, {"success": False, "error": "Customer ada@example.com {0} may not", "errors": {}})

    assert bloomreach.batch(TWO) == Denied(sentence)


# -- the key is tried -----------------------------------------------------------------------------


def test_the_key_is_tried_by_asking_for_the_time(vendor: Vendor, bloomreach: Bloomreach) -> None:
    vendor.answers(200, {"success": True, "results": [{"success": True, "time": 1.5, "command_id": "check"}]})

    assert bloomreach.check() is None
    (request,) = vendor.requests
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {
        "commands": [{"name": "system/time", "command_id": "check"}]
    }


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (
            400,
            {"success": False, "error": "Could not authenticate"},
            "Bloomreach says “Could not authenticate”; see BLOOMREACH_PROJECT_TOKEN.",
        ),
        (403, {"error": "invalid secret"}, "Bloomreach says “Invalid secret”; see BLOOMREACH_SECRET."),
        (
            200,
            {"success": True, "results": [{"success": False, "errors": ["no permission"]}]},
            "Bloomreach says “No permission”; "
            "give the key's group Events > Set and Customer properties > Set.",
        ),
        (503, {}, "Bloomreach cannot take it now (503)."),
        (400, {"message": "Invalid JSON"}, "Bloomreach refuses to be asked for the time: Invalid JSON"),
        # the key was good enough to have the command looked at
        (200, {"success": True, "results": [{"success": False, "errors": ["Unknown command"]}]}, None),
    ],
)
def test_a_key_that_is_not_accepted_is_told(
    vendor: Vendor, bloomreach: Bloomreach, status: int, body: object, sentence: str | None
) -> None:
    vendor.answers(status, body)

    assert bloomreach.check() == sentence


@pytest.mark.parametrize(
    "missing",
    [None, "bloomreach_base_url", "bloomreach_project_token", "bloomreach_key_id", "bloomreach_secret"],
)
def test_there_is_a_project_only_where_all_four_settings_are(missing: str | None) -> None:
    four = {
        "bloomreach_base_url": "https://api.exponea.com",
        "bloomreach_project_token": PROJECT,
        "bloomreach_key_id": KEY,
        "bloomreach_secret": SECRET,
    }

    bloomreach = bloomreach_of(read_settings(**{name: four[name] for name in four if name != missing}))

    assert (bloomreach is None) == (missing is not None)


# -- whatever the body is -------------------------------------------------------------------------

words = st.text(max_size=20) | st.sampled_from(
    ["No permission", "invalid secret", "Not authorized", "a", "b"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
reasons = {
    "success": st.booleans() | anything,
    "error": words | anything,
    "errors": st.lists(words, max_size=3) | st.dictionaries(words, st.lists(words, max_size=2)) | anything,
    "message": words | anything,
}
result = st.fixed_dictionaries({}, optional={"command_id": st.sampled_from("abcd") | anything, **reasons})
answered = st.fixed_dictionaries(
    {"results": st.lists(result | anything, max_size=4) | anything}, optional=reasons
)
bodies = st.binary(max_size=50) | (answered | result | anything).map(lambda value: json.dumps(value).encode())


@pytest.fixture(scope="module")
def lasting_vendor() -> Iterator[Vendor]:
    """One for all examples."""
    with running_vendor() as vendor:
        vendor.keeps = True
        yield vendor


@pytest.fixture(scope="module")
def lasting_bloomreach(lasting_vendor: Vendor) -> Iterator[Bloomreach]:
    with closing(client(lasting_vendor)) as bloomreach:
        yield bloomreach


@settings(max_examples=300)
@given(body=bodies, sent=st.integers(1, 4), status=st.sampled_from([200, 200, 200, 202, 400, 401, 422, 500]))
def test_every_body_gives_an_answer_that_can_be_kept(
    lasting_vendor: Vendor, lasting_bloomreach: Bloomreach, body: bytes, sent: int, status: int
) -> None:
    lasting_vendor.answers(status, body)

    answer = lasting_bloomreach.batch(commands(*"abcd"[:sent]))

    match answer:
        case Answered(fates):
            assert 200 <= status < 300
            assert len(fates) == sent
            assert all(isinstance(fate, Sent) or storable(fate[0]) for fate in fates)
        case RefusedWhole(message):
            assert status < 500
            assert storable(message)
        case Unreached(detail, None, False):
            assert not 400 <= status < 500
            assert storable(detail)
        case Denied(detail):
            assert status < 500
            assert storable(detail)
        case _:
            pytest.fail(f"{answer}")


def storable(text: str) -> bool:
    return bool(text) and "\0" not in text and len(text) <= MAX_MESSAGE and bool(text.encode())
