"""``receiver rejections`` that only reads, as somebody at a terminal or a script sees it."""

import pytest

from receiver.domain.moments import DAY_US
from tests.reading_commands import cells, document, run, said
from tests.rows import T0, Rows

SECOND = 1_000_000


# -- rejections -----------------------------------------------------------------------------------


def test_rejections_are_listed_and_filtered(rows: Rows) -> None:
    first = rows.rejection(b"hay", count=3)
    second = rows.rejection(b"needle", reason="malformed_json", state="dismissed")

    listed = cells("rejections list", rows)
    assert [line[0] for line in listed] == [str(second), str(first)]
    assert listed[1][2:6] == ["3", "open", "empty_customer_id", "customers/events"]
    for option in (("--q", "needle"), ("--state", "dismissed"), ("--reason", "malformed_json")):
        found = document("rejections list", rows, *option)
        assert [each["id"] for each in found["data"]] == [second]


def test_a_cut_list_of_rejections_tells_how_to_go_on(rows: Rows) -> None:
    first, second = rows.rejection(), rows.rejection()

    result = run("rejections list", rows, "--limit", "1")
    following = result.stderr.split()[-1]

    assert result.stderr.startswith("There is more")
    assert result.stdout.splitlines()[1].split("\t")[0] == str(second)
    assert [line[0] for line in cells("rejections list", rows, "--cursor", following)] == [str(first)]


def test_a_rejection_is_shown_with_its_body(rows: Rows) -> None:
    number = rows.rejection('{"name":\n "Köln"}'.encode())

    shown = said("rejections show", rows, str(number))

    assert '{"name":\n "Köln"}\n' in shown
    assert "content-type: application/json" in shown
    assert "/customer_ids/registered" in shown
    assert document("rejections show", rows, str(number))["body"] == '{"name":\n "Köln"}'


def test_the_place_is_marked_in_its_line(rows: Rows) -> None:
    number = rows.rejection(b'{"customer_ids": {\n\t"registered": ""}}')

    shown = said("rejections show", rows, str(number))

    assert 'line 2, column 16\n\ufffd"registered": ""}}\n               ^^ The customer ID' in shown


def test_a_long_line_is_cut_around_the_place(rows: Rows) -> None:
    long = "x" * 500
    body = f'{{"a": "{long}", "customer_ids": {{"registered": ""}}, "b": "{long}"}}'
    lines = said("rejections show", rows, str(rows.rejection(body.encode()))).splitlines()

    (at,) = [number for number, line in enumerate(lines) if line.strip() == "^^"]
    cut, marker, sentence = lines[at - 1 : at + 2]
    assert (len(cut), cut[0], cut[-1]) == (100, "…", "…")
    assert cut[marker.index("^") : len(marker)] == '""'
    assert sentence.startswith("The customer ID registered is empty")
    assert body in lines


def test_what_a_sender_wrote_cannot_move_the_cursor_of_a_terminal(rows: Rows) -> None:
    number = rows.rejection(b"\x1b]0;title\x07\r\n", pointer="/\x1b")

    for command in (["rejections list"], ["rejections show", str(number)]):
        shown = said(command[0], rows, *command[1:])
        assert "�" in shown
        assert not any(sign in shown for sign in "\x1b\x07\r")


def test_a_body_that_is_no_text_is_shown_in_base64(rows: Rows) -> None:
    number = rows.rejection(b"\xff\x00")

    assert "body, in base64\n/wA=\n" in said("rejections show", rows, str(number))
    assert document("rejections show", rows, str(number))["body_base64"] == "/wA="


def test_the_summary_is_by_reason(rows: Rows) -> None:
    rows.rejection(count=3)
    rows.rejection(reason="malformed_json", state="dismissed")

    assert [line[:4] for line in cells("rejections summary", rows)] == [
        ["empty_customer_id", "3", "1", "1"],
        ["malformed_json", "1", "1", "0"],
    ]
    assert len(document("rejections summary", rows, "--state", "open")["data"]) == 1


def test_rejections_are_filtered_by_what_they_have_in_common(rows: Rows) -> None:
    number = rows.rejection(form="flat", pointer="/a b", event_type="t", campaign="c")
    rows.rejection(pointer="")

    for option in (("--type", "t"), ("--campaign", "c"), ("--route", "callbacks"), ("--pointer", "/a b")):
        found = document("rejections list", rows, *option)["data"]
        assert [(each["id"], each["type"], each["campaign"]) for each in found] == [(number, "t", "c")]
        (group,) = document("rejections summary", rows, *option)["data"]
        assert group["rejections"] == 1
    assert len(cells("rejections list", rows, "--pointer", "")) == 1


def test_the_summary_by_shape_shows_the_failing_place(rows: Rows) -> None:
    for pointer in ("/a\tb", "/a\tb", "/c"):
        rows.rejection(pointer=pointer)

    shown = cells("rejections summary", rows, "--by", "shape")

    assert [line[0] for line in shown] == ["empty_customer_id"] * 2
    assert [line[2] for line in shown] == ["2", "1"]
    assert shown[1][1] == "/c"


def test_a_trend_is_drawn_with_a_bar_for_each_span(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: (T0 + DAY_US) * 1000)
    rows.rejection(count=8)
    rows.rejection(received_us=T0 + DAY_US)
    rows.rejection(reason="malformed_json", received_us=T0 - 60 * DAY_US)

    head, first, second = said("rejections summary", rows, "--trend", "day").splitlines()
    ((found, _), (_, of_hours)) = [
        [each["trend"] for each in document("rejections summary", rows, "--trend", span)["data"]]
        for span in ("day", "hour")
    ]

    assert head.split("\t")[-1] == "by day"
    assert first.split("\t")[-1] == "·" * 12 + "█▁"
    assert second.split("\t")[-1] == "·" * 14
    assert found == [*[0] * 12, 8, 1]
    assert of_hours == [0] * 24


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["rejections list", "rejections show", "rejections summary"])
def test_an_unknown_project_is_a_sentence(rows: Rows, command: str) -> None:
    for token in ("nope", "Köln\udcff"):
        result = run(command, None, token, *(["1"] if command.endswith("show") else []))

        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "There is no project with this token; `receiver project list` shows them all.\n"
        )


def test_rejections_of_another_project_are_not_shown(rows: Rows) -> None:
    number = rows.rejection()
    rows.begin_project()

    result = run("rejections show", rows, str(number))

    assert (result.exit_code, result.stderr) == (1, "There is no such rejection in this project.\n")


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("rejections list", "--reason", "nope"),
        ("rejections list", "--limit", "1001"),
        ("rejections summary", "--state", "shut"),
        ("rejections summary", "--by", "mood"),
        ("rejections summary", "--trend", "week"),
        ("rejections summary", "--q", "text"),
        ("rejections list", "--route", "flat"),
        ("rejections list", "--type", ""),
    ],
)
def test_a_wrong_option_is_wrong_usage_and_named(rows: Rows, command: str, option: str, value: str) -> None:
    result = run(command, rows, option, value)

    assert (result.exit_code, result.stdout) == (2, "")
    assert option in result.stderr
