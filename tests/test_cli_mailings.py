"""``receiver mailings`` and ``receiver suppressions`` as somebody at a terminal or a script sees them."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from typer.testing import CliRunner, Result

from receiver.cli import build, deciding
from receiver.store.tables import slots
from tests.posting import NOW_US, NOWHERE, Post, person, posting, steps
from tests.simulated import SimulatedOptilyz


@pytest.fixture
def optilyz(one_optilyz: SimulatedOptilyz, monkeypatch: pytest.MonkeyPatch) -> SimulatedOptilyz:
    one_optilyz.reset()
    monkeypatch.setenv("RECEIVER_OPTILYZ_BASE_URL", one_optilyz.url)
    monkeypatch.setenv("RECEIVER_OPTILYZ_API_KEY", "k")
    monkeypatch.setenv("RECEIVER_OPTILYZ_PER_MINUTE", "600000")
    return one_optilyz


@pytest.fixture
def post(database_url: str, optilyz: SimulatedOptilyz, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    with posting(database_url, optilyz.url) as post:
        yield post


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build(), arguments)


def said(*arguments: str) -> str:
    """What a command that ends well writes to standard output."""
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def cells(*arguments: str) -> list[list[str]]:
    """The table as a pipe gets it, without its head."""
    return [line.split("\t") for line in said(*arguments).splitlines()[1:]]


def document(*arguments: str) -> Any:
    return json.loads(said(*arguments, "--json"))


def failed(*arguments: str) -> str:
    """What a command that fails writes to standard error."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def intend(post: Post, *names: str, **how: Any) -> list[str]:
    return [each.mailing for each in post.intend(*map(person, names), **how)]


# -- reading --------------------------------------------------------------------------------------


def test_letters_are_a_table_with_tabs_where_nobody_looks(post: Post) -> None:
    (mailing,) = intend(post, "anna")

    head, line = said("mailings", "list", post.rows.project.token).splitlines()

    assert head.split("\t") == [
        "id",
        "state",
        "reason",
        "customer",
        "campaign",
        "last stage",
        "silent days",
        "made",
    ]
    assert line.split("\t")[:-1] == [mailing, "intended", "", "registered=anna", "winback", "", ""]


def test_every_filter_of_letters_reaches_the_database(post: Post) -> None:
    token = post.rows.project.token
    (anna,) = intend(post, "anna", campaign="spring")
    post.change(state="queued", settled_us=NOW_US)
    (bert,) = intend(post, "bert")

    def found(*options: str) -> list[str]:
        return [row[0] for row in cells("mailings", "list", token, *options)]

    assert found() == [bert, anna]
    assert found("--state", "queued") == [anna]
    assert found("--campaign", "winback") == [bert]
    assert found("--customer", "registered=anna") == [anna]
    assert found("--silent-days", "365") == [anna]


def test_a_page_tells_how_to_go_on(post: Post) -> None:
    token = post.rows.project.token
    anna, bert = intend(post, "anna", "bert")

    first = run("mailings", "list", token, "--limit", "1")

    assert first.stderr == f"There is more: --cursor {bert}\n"
    page = document("mailings", "list", token, "--limit", "1", "--cursor", bert)
    assert [each["id"] for each in page["data"]] == [anna]
    assert page["next"] is None


@pytest.mark.parametrize(
    ("option", "value"),
    [("--state", "printed"), ("--customer", "email=x"), ("--silent-days", "-1"), ("--limit", "0")],
)
def test_a_wrong_option_is_wrong_usage(post: Post, option: str, value: str) -> None:
    result = run("mailings", "list", post.rows.project.token, option, value)

    assert result.exit_code == 2
    assert option in result.stderr


def test_a_summary_is_two_tables_or_one_document(post: Post) -> None:
    token = post.rows.project.token
    intend(post, "anna", "bert")
    steps(post.asker())
    intend(post, "cora", campaign="spring")

    lines = said("mailings", "summary", token).splitlines()

    assert lines == [
        "letters\twhy\tnumber",
        "intended\t\t1",
        "queued\t\t2",
        "",
        "queued, last heard of as\tnumber",
        "nothing heard yet\t2",
    ]
    assert document("mailings", "summary", token, "--campaign", "spring") == {
        "data": [{"state": "intended", "reason": None, "count": 1}],
        "stages": [],
    }


def test_a_project_that_is_not_there_ends_in_a_sentence(post: Post) -> None:
    for command in (
        ["mailings", "list", "nobody"],
        ["mailings", "summary", "nobody"],
        ["mailings", "cancel", "--campaign", "c", "--project", "nobody"],
        ["suppressions", "list", "nobody"],
        ["suppressions", "add", "nobody", "--customer", "registered=x", "--kind", "objection"],
        ["suppressions", "lift", "nobody", "1"],
    ):
        assert failed(*command).startswith("There is no project with this token")


# -- resolving ------------------------------------------------------------------------------------


def test_a_letter_of_unknown_fate_is_resolved(post: Post) -> None:
    anna, bert = intend(post, "anna", "bert")
    (gateway,) = intend(post, "cora", run_id=None)
    post.change(state="unknown", settled_us=NOW_US)

    assert said("mailings", "resolve", anna, "--printed", "--note", "seen") == (
        "1 letter: from now on queued at Optilyz.\n"
    )
    assert said("mailings", "resolve", bert, gateway, "--not-printed").startswith(
        "2 letters: to be sent again."
    )

    assert post.letter(anna).message == "seen"
    assert post.states() == {"queued: resolved": 1, "intended": 2}


def test_a_resolved_letter_can_be_told_to_a_machine(post: Post) -> None:
    (mailing,) = intend(post, "anna")
    post.change(state="unknown", settled_us=NOW_US)

    found = document("mailings", "resolve", mailing, "--printed")

    assert (found["id"], found["state"], found["reason"]) == (mailing, "queued", "resolved")


def test_what_cannot_be_resolved_ends_in_a_sentence(post: Post) -> None:
    (mailing,) = intend(post, "anna")

    sentence = failed("mailings", "resolve", mailing, "--printed")
    assert sentence.startswith(f"The letter {mailing} is intended;")
    for nobodys in ("0" * 24, "a\0", "ü"):
        assert failed("mailings", "resolve", nobodys, "--printed").startswith("There is no letter")
    assert run("mailings", "resolve", mailing).exit_code == 2
    assert run("mailings", "resolve", "--printed").exit_code == 2
    assert run("mailings", "resolve", "--campaign", "winback", "--printed").exit_code == 2


def test_all_unknown_letters_of_a_campaign_are_resolved_at_once(post: Post) -> None:
    token = post.rows.project.token
    intend(post, "anna", "bert", "cora")
    steps(post.asker())
    post.change(state="unknown", settled_us=NOW_US)
    intend(post, "dora")
    command = ["mailings", "resolve", "--campaign", "winback", "--project", token, "--printed"]

    assert document(*command) == {"resolved": 3}

    assert post.states() == {"queued: resolved": 3, "intended": 1}
    assert document(*command) == {"resolved": 0}


# -- cancelling -----------------------------------------------------------------------------------


def test_letters_are_cancelled_by_their_ids(post: Post) -> None:
    (queued,) = intend(post, "anna")
    steps(post.asker())
    (waiting,) = intend(post, "bert")

    rows = cells("mailings", "cancel", queued, waiting)

    assert [row[:2] for row in rows] == [[queued, "taken_back"], [waiting, "cancelled"]]
    assert document("mailings", "cancel", queued)["data"] == [
        {"id": queued, "outcome": "was_cancelled", "detail": "It was cancelled before."}
    ]


def test_nothing_is_cancelled_where_one_id_is_wrong(post: Post) -> None:
    (mailing,) = intend(post, "anna")

    assert failed("mailings", "cancel", mailing, "0" * 24).startswith("There is no letter")

    assert post.states() == {"intended": 1}


def test_a_campaign_is_cancelled_and_its_outcomes_are_counted(post: Post) -> None:
    token = post.rows.project.token
    intend(post, "anna", "bert")
    steps(post.asker())
    intend(post, "cora")
    command = ["mailings", "cancel", "--campaign", "winback", "--project", token]

    assert [row[:2] for row in cells(*command)] == [["taken_back", "2"], ["cancelled", "1"]]

    assert said(*command) == "No letter of this campaign is waiting or queued.\n"
    assert document(*command) == {"data": []}


def test_what_is_not_decided_is_exit_code_one_and_can_be_run_again(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mailing,) = intend(post, "anna")
    steps(post.asker())
    monkeypatch.setattr(deciding, "_PATIENCE_SECONDS", 0.0)
    with monkeypatch.context() as away:
        away.setenv("RECEIVER_OPTILYZ_BASE_URL", NOWHERE)

        result = run("mailings", "cancel", mailing, "--json")

    assert (result.exit_code, result.stderr) == (1, "Not everything is decided; the same command goes on.\n")
    assert json.loads(result.stdout)["data"][0]["outcome"] == "unreached"
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(update(slots).values(busy_until_us=0))
    assert cells("mailings", "cancel", mailing)[0][1] == "taken_back"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--campaign", "c"], ["--project", "p"], ["1", "--campaign", "c", "--project", "p"]],
)
def test_what_is_to_be_cancelled_is_named_in_one_way(arguments: list[str]) -> None:
    assert run("mailings", "cancel", *arguments).exit_code == 2


def test_a_database_that_is_away_ends_in_sentences(post: Post) -> None:
    (mailing,) = intend(post, "anna")
    with post.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("ALTER TABLE suppressions RENAME TO suppressions_away"))

    said = failed(
        *("suppressions", "add", post.rows.project.token),
        *("--customer", "registered=x", "--kind", "objection"),
    )

    assert said.startswith("The database refused the command")
    assert mailing not in said


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bar_shows_how_far_a_campaign_is_at_a_terminal(post: Post, tmp_path: Path) -> None:
    intend(post, "anna", "bert")
    code = "from receiver.cli import main; main()"
    arguments = ["mailings", "cancel", "--campaign", "winback", "--project", post.rows.project.token]
    terminal, end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=end,
        env=environment,
        timeout=60,
        check=True,
    )
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)

    assert "Cancelling" in shown
    assert "2/2" in shown
    assert json.loads(done.stdout)["data"][0]["count"] == 2


# -- suppressions ---------------------------------------------------------------------------------


def test_a_suppression_is_added_listed_and_lifted_by_its_id(post: Post) -> None:
    token = post.rows.project.token
    added = document(
        *("suppressions", "add", token, "--customer", "registered=a=b"),
        *("--kind", "objection", "--note", "called us"),
    )
    assert (added["customer_ids"], added["note"]) == ({"registered": ["a=b"]}, "called us")

    (row,) = cells("suppressions", "list", token)
    assert row[:5] == [str(added["id"]), "objection", "registered=a=b", "", "called us"]

    (lifted,) = document("suppressions", "lift", token, str(added["id"]))["data"]
    assert lifted["lifted_at"] is not None
    assert cells("suppressions", "list", token) == []
    assert document("suppressions", "list", token, "--all")["data"] == [lifted]
    assert "none that is still open" in failed("suppressions", "lift", token, str(added["id"]))


def test_suppressions_of_a_customer_are_lifted_together_or_by_kind(post: Post) -> None:
    token = post.rows.project.token
    for kind in ("objection", "bad_address"):
        said("suppressions", "add", token, "--customer", "registered=x", "--kind", kind)
    customer = ["--customer", "registered=x"]

    assert len(cells("suppressions", "list", token, "--kind", "bad_address")) == 1
    assert len(cells("suppressions", "list", token, *customer)) == 2
    assert len(cells("suppressions", "lift", token, *customer, "--kind", "bad_address")) == 1
    assert len(cells("suppressions", "lift", token, *customer)) == 1
    assert failed("suppressions", "lift", token, *customer)


def test_suppressions_are_paged(post: Post) -> None:
    token = post.rows.project.token
    for name in "ab":
        said("suppressions", "add", token, "--customer", f"registered={name}", "--kind", "objection")

    first = run("suppressions", "list", token, "--limit", "1")

    cursor = first.stderr.removeprefix("There is more: --cursor ").strip()
    assert [row[2] for row in cells("suppressions", "list", token, "--cursor", cursor)] == ["registered=a"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", "TOKEN", "--customer", "email=x", "--kind", "objection"],
        ["add", "TOKEN", "--customer", "registered=null", "--kind", "objection"],
        ["add", "TOKEN", "--customer", "registered=x", "--kind", "mood"],
        ["add", "TOKEN", "--customer", "registered=x", "--kind", "objection", "--note", "x" * 501],
        ["lift", "TOKEN"],
        ["lift", "TOKEN", "1", "--kind", "objection"],
        ["lift", "TOKEN", "1", "--customer", "registered=x"],
        ["list", "TOKEN", "--kind", "mood"],
    ],
)
def test_wrong_usage_of_suppressions_is_told(arguments: list[str]) -> None:
    assert run("suppressions", *arguments).exit_code == 2
