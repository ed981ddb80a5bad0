"""``receiver relay`` and ``receiver check --bloomreach`` as somebody at a terminal or a script sees them."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from typer.testing import CliRunner, Result

from receiver.cli import build, relay_running
from receiver.domain.commands import Form
from receiver.store import outbox, relay_pump
from receiver.store.outbox import Reason, SetAside
from receiver.store.tables import outbox as outbox_table
from receiver.store.tables import outbox_hours
from tests.mending import MINUTE_US, T0, event
from tests.relaying import Books, Station, numbered, station
from tests.relaying import update as customer_update
from tests.rows import locked
from tests.simulated_bloomreach import BloomreachInThread
from tests.waiting import wait_until

NAMES = ("BASE_URL", "PROJECT_TOKEN", "KEY_ID", "SECRET")
MAIN = (sys.executable, "-c", "from receiver.cli import main; main()", "relay")
NOTHING_LEFT = "Stopping after the request that is under way; the same command goes on later.\n"


@pytest.fixture
def at(database_url: str, far: BloomreachInThread, monkeypatch: pytest.MonkeyPatch) -> Iterator[Station]:
    """Whoever runs a command has all settings; the service does not relay."""
    settings = {"database_url": database_url, "bloomreach_per_minute": "6000", **far.settings}
    for name, value in settings.items():
        monkeypatch.setenv(f"RECEIVER_{name.upper()}", value)
    with station(database_url, far) as at:
        yield at


SECRETS = {"simulated-secret", "simulated-key"}


def run(command: str, *arguments: object) -> Result:
    """The command; that no secret is told is seen to."""
    result = CliRunner().invoke(build("relay"), ["relay", *command.split(), *map(str, arguments)])
    assert not any(secret in result.output for secret in SECRETS)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def said(command: str, *arguments: object) -> str:
    """What a command that ends well writes to standard output."""
    result = run(command, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(command: str, *arguments: object) -> str:
    """What a command that fails writes to standard error."""
    result = run(command, *arguments)
    assert result.exit_code == 1, result.output
    return result.stderr


def document(command: str, *arguments: object) -> Any:
    return json.loads(said(command, *arguments, "--json"))


def cells(command: str, *arguments: object) -> list[list[str]]:
    """The table as a pipe gets it, without its head."""
    return [line.split("\t") for line in said(command, *arguments).splitlines()[1:]]


def refuse(at: Station, number: int, reason: Reason, message: str, at_us: int) -> None:
    refused = [SetAside(number, reason, message)]
    at.change(lambda transaction: outbox.settle(transaction, [], refused, [], at_us))


def two_set_aside(at: Station) -> tuple[int, int]:
    """An event and a customer update."""
    posted = event(properties={"status": "posted", "campaign_id": "winback"})
    (number,) = (verdict.row_id for verdict in at.send(posted))
    at.send(customer_update("c-3", city="Dresden"), form=Form.UPDATE)
    other = at.waiting()[-1]
    refuse(at, number, Reason.REFUSED, "Too old.", T0)
    refuse(at, other, Reason.UNREADABLE, "Too\x1b[2J odd.", T0 + MINUTE_US)
    return number, other


# -- run ------------------------------------------------------------------------------------------


def test_what_waits_is_relayed_until_nothing_is_left(at: Station) -> None:
    at.take_many(1234)

    assert said("run", "--drain") == "Sent: 1234.  Set aside: 0.  Waiting: 0.\n"

    assert at.books() == Books(1234, 1234)
    assert at.there("n") == list(range(1234))
    assert said("run", "--drain") == "Sent: 0.  Set aside: 0.  Waiting: 0.\n"
    # Another process may relay at once.
    assert at.pump().until_us == 0


def test_it_relays_whatever_the_service_does(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECEIVER_RELAY_IN_SERVICE", "false")
    at.take(1)

    assert said("run", "--drain").startswith("Sent: 1.")


def test_it_switches_the_relay_on(at: Station) -> None:
    at.change(outbox.switch_off)
    at.take(1)

    assert said("run", "--drain").startswith("Sent: 0.")

    at.take(2)
    assert at.books() == Books(1, 0, 1)


def test_what_comes_meanwhile_does_not_keep_it_from_ending(
    at: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.take(1)
    look = relay_running._look
    more = iter(range(2, 1000))

    def look_late(*arguments: Any) -> Any:
        at.take(next(more))
        return look(*arguments)

    monkeypatch.setattr(relay_running, "_look", look_late)

    assert said("run", "--drain").startswith("Sent: ")


def test_what_bloomreach_refuses_is_set_aside_and_told(at: Station, far: BloomreachInThread) -> None:
    far.trouble(poison={"bad": "No such thing."})
    at.send(*(numbered(n, properties={"n": n, "is": "bad" if n == 2 else "good"}) for n in range(4)))

    assert said("run", "--drain") == "Sent: 3.  Set aside: 1.  Waiting: 0.\n"

    far.trouble(poison={})
    token = at.post.rows.project.token
    assert said("retry", token, "--message", "No such thing.") == (
        "1 command waits for Bloomreach once more.\n"
    )
    assert said("run", "--drain").startswith("Sent: 1.")
    assert at.books() == Books(4, 4)


def test_who_is_turned_away_ends_with_a_sentence(at: Station, far: BloomreachInThread) -> None:
    at.take(1, 2)
    far.access(revoked=True)

    said_to_do = failed("run", "--drain")

    assert said_to_do.splitlines()[-1] == (
        "Bloomreach says “Access key not found”; see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET."
        " Nothing is lost: 2 waiting."
    )
    assert at.books() == Books(2, 0, 2)
    far.access(revoked=False)
    # Whoever starts may have mended it.
    assert said("run", "--drain").startswith("Sent: 2.")


def test_an_outage_is_outlived(at: Station, far: BloomreachInThread) -> None:
    at.take(*range(5))
    far.fail("503", "reset")

    assert said("run", "--drain").startswith("Sent: 5.")


@pytest.mark.parametrize("missing", [NAMES, NAMES[3:], NAMES[1:3]])
def test_without_the_settings_it_says_which(
    at: Station, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    for name in missing:
        monkeypatch.delenv(f"RECEIVER_BLOOMREACH_{name}")

    sentence = failed("run")

    assert re.findall(r"RECEIVER_BLOOMREACH_(\w+)", sentence) == list(missing)
    assert sentence.count("\n") == 1
    assert failed("run", "--since", "2025-01-01") == sentence
    assert document("status")["missing_settings"] == [f"RECEIVER_BLOOMREACH_{name}" for name in missing]


def test_where_another_process_relays_it_waits_for_that(at: Station) -> None:
    at.take(1)
    other = at.relay()
    other.step()
    at.take(2)

    code, _, stderr = ended(started("run", "--drain"), after=1.5, until=other.step)

    assert (code, stderr) == (0, "")
    assert at.books() == Books(2, 2)


# -- run, as a process ----------------------------------------------------------------------------


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*MAIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy()
    )


def ended(process: subprocess.Popen[str], *, after: float, until: Any) -> tuple[int, str, str]:
    """How the process ends, when *until* was done after so many seconds."""
    time.sleep(after)
    assert process.poll() is None
    until()
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


def test_it_relays_until_it_is_told_to_end(at: Station) -> None:
    at.take(1, 2, 3)
    process = started("run")
    wait_until(lambda: at.books().sent >= 3)
    at.take(4)
    wait_until(lambda: at.books().sent >= 4)

    code, stdout, stderr = ended(process, after=0, until=lambda: process.send_signal(signal.SIGTERM))

    assert (code, stdout, stderr) == (0, "", NOTHING_LEFT)
    assert at.pump().until_us == 0


def test_turned_away_it_stays_and_says_so_at_its_end(at: Station, far: BloomreachInThread) -> None:
    far.access(revoked=True)
    at.take(1)
    process = started("run")
    wait_until(lambda: at.pump().stopped)

    code, stdout, stderr = ended(process, after=0.5, until=lambda: process.send_signal(signal.SIGINT))

    assert (code, stdout) == (1, "")
    logged, *rest = stderr.splitlines()
    assert json.loads(logged)["event"] == "relay_denied"
    assert rest[-1].endswith("Nothing is lost: 1 waiting.")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bar_shows_how_far_it_is_at_a_terminal(at: Station) -> None:
    at.change(outbox.switch_off)
    at.take_many(700)
    terminal, end = pty.openpty()

    done = subprocess.run(
        [*MAIN, "run", "--since", "2020-01-01"],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        timeout=60,
        check=True,
    )
    os.close(end)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", os.read(terminal, 65536).decode())
    os.close(terminal)

    assert re.search(r"Filling in .* 700 of 700", shown)
    assert re.search(r"Relaying .*/700", shown)
    assert done.stdout.endswith(b"Waiting: 0.\n")


# -- what was there before ------------------------------------------------------------------------


@pytest.fixture
def before(at: Station) -> Station:
    """Eleven events came a minute apart while nothing was relayed."""
    at.change(outbox.switch_off)
    for n in range(11):
        at.send(numbered(n, f"c-{n % 3}"), at_us=T0 + n * MINUTE_US)
    return at


def test_a_dry_run_says_what_would_be_filled_in_and_changes_nothing(before: Station) -> None:
    sizes = before.post.sizes()

    table = cells("run", "--since", "2025-10-09T08:58:00Z", "--dry-run")

    token = before.post.rows.project.token
    assert table == [
        [token, "callback", "8", "2025-10-09T08:58:00.000000Z", "2025-10-09T09:05:00.000000Z"],
        ["all", "", "8", "", ""],
    ]
    assert before.post.sizes() == sizes
    assert not document("status")["on"]


def test_what_came_before_is_filled_in_relayed_and_never_again(before: Station) -> None:
    assert said("run", "--since", "2025-10-09T08:58:00Z").splitlines() == [
        "8 events are to be relayed from before.",
        "Sent: 8.  Set aside: 0.  Waiting: 0.",
    ]
    assert before.there("n") == list(range(3, 11))
    before.take(77)

    assert said("run", "--since", "2020-01-01").splitlines() == [
        "3 events are to be relayed from before.",
        "Sent: 4.  Set aside: 0.  Waiting: 0.",
    ]
    assert said("run", "--since", "2020-01-01").splitlines()[0] == "0 events are to be relayed from before."
    assert before.books() == Books(12, 12)
    assert sorted(before.there("n")) == [*range(11), 77]


def test_only_the_sources_that_the_settings_name_are_filled_in(
    before: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_RELAY_SOURCES", "replayed,sending")

    assert cells("run", "--since", "2020-01-01", "--dry-run") == [["all", "", "0", "", ""]]
    assert said("run", "--since", "2020-01-01").startswith("0 events are")


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--since", "yesterday"], ["--since", ""]])
def test_wrong_usage_of_run_is_exit_code_two(at: Station, arguments: list[str]) -> None:
    assert run("run", *arguments).exit_code == 2


# -- status ---------------------------------------------------------------------------------------


def test_the_status_says_what_waits_what_was_sent_and_what_was_set_aside(at: Station) -> None:
    two_set_aside(at)
    at.take(1, 2, 3)
    said("run", "--drain")
    at.take(4)
    one = at.post.rows.project.token
    at.post.rows.begin_project()

    found = document("status")

    assert (found["on"], found["missing_settings"], found["leased_until"]) == (True, [], None)
    assert found["sent_at"]
    assert found["problem"] is None
    assert found["total"] == {
        "given": 6,
        "waiting": 1,
        "withdrawn": 0,
        "discarded": 0,
        "sent": {"total": 3, "this_hour": 3, "last_24_hours": 3},
        "set_aside": 2,
        "oldest_at": found["projects"][0]["oldest_at"],
    }
    assert [each["project"] for each in found["projects"]] == [one, at.post.rows.project.token]
    assert [each["waiting"] for each in found["projects"]] == [1, 0]
    assert [each["message"] for each in found["projects"][0]["set_aside"]["groups"]] == [
        "Too old.",
        "Too\x1b[2J odd.",
    ]


def test_the_status_is_shown_to_people(at: Station) -> None:
    two_set_aside(at)
    at.take(1)
    token = at.post.rows.project.token

    shown = said("status")

    assert shown.startswith("relay      on\nrelayed by nobody just now\nrate       -\nlast sent  -\n")
    rows = [line.split("\t") for line in shown.splitlines() if "\t" in line]
    assert rows[0][:4] == ["project", "state", "given", "waiting"]
    assert [row[:4] + row[8:9] for row in rows[1:3]] == [
        [token, "unattended", "3", "1", "2"],
        ["all", "", "3", "1", "2"],
    ]
    assert [row[1:4] for row in rows[4:]] == [
        ["refused", "Too old.", "1"],
        ["unreadable", "Too\N{REPLACEMENT CHARACTER}[2J odd.", "1"],
    ]


def test_the_status_says_why_nothing_is_sent_and_when_it_is_tried_again(at: Station) -> None:
    at.take(1)
    later = time.time_ns() // 1000 + 30 * MINUTE_US
    at.change(
        lambda transaction: relay_pump.close(transaction, "Away.", T0, later, failures=4, stopped=False)
    )

    shown = said("status")
    found = document("status")

    assert re.search(r"problem +Away\.\nsince +2025-10-09T08:55:00\.000000Z\nnext try +20", shown)
    assert (found["problem"], found["problem_since"][:10]) == ("Away.", "2025-10-09")
    assert found["next_try"]


def test_the_status_of_a_relay_that_is_off_says_what_is_missing(
    before: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECEIVER_BLOOMREACH_SECRET")

    shown = said("status")

    assert shown.startswith(
        "relay      off\nsettings   Nothing is relayed to Bloomreach from here:"
        " RECEIVER_BLOOMREACH_SECRET is not set.\n"
    )


def test_without_a_project_there_is_still_a_status(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)

    assert said("status", "--check").startswith("relay      off\n")
    assert document("status")["total"]["given"] == 0


def test_the_check_passes_where_it_adds_up(at: Station) -> None:
    two_set_aside(at)
    at.take(1, 2)
    said("run", "--drain")
    at.take(3)

    assert said("status", "--check").endswith(
        "It adds up: what was counted as waiting and as set aside is there.\n"
    )
    assert document("status", "--check")["differences"] == []


TAMPERING = {
    "a row that waits is gone": (
        delete(outbox_table).where(outbox_table.c.set_aside_us.is_(None)),
        ["counted as waiting were 1 commands, and 0 are there."],
    ),
    "a row that was set aside is gone": (
        delete(outbox_table).where(outbox_table.c.reason == "refused"),
        ["counted as set aside were 2 commands, and 1 are there."],
    ),
    "a row waits again that nobody put back": (
        update(outbox_table).where(outbox_table.c.reason == "refused").values(set_aside_us=None),
        [
            "counted as waiting were 1 commands, and 2 are there.",
            "counted as set aside were 2 commands, and 1 are there.",
        ],
    ),
    "more was counted as sent": (
        # Of one hour: what was set aside was counted in another one.
        update(outbox_hours)
        .where(outbox_hours.c.hour_us == select(func.max(outbox_hours.c.hour_us)).scalar_subquery())
        .values(sent=outbox_hours.c.sent + 1),
        ["counted as waiting were 0 commands, and 1 are there."],
    ),
    "the counters are gone": (
        delete(outbox_hours),
        [
            "counted as waiting were 0 commands, and 1 are there.",
            "counted as set aside were 0 commands, and 2 are there.",
        ],
    ),
    "all rows are of somebody else": (
        update(outbox_table).values(project_id=4711),
        [
            "counted as waiting were 1 commands, and 0 are there.",
            "counted as set aside were 2 commands, and 0 are there.",
            "counted as waiting were 0 commands, and 1 are there.",
            "counted as set aside were 0 commands, and 2 are there.",
        ],
    ),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_the_check_finds(at: Station, what: str) -> None:
    two_set_aside(at)
    at.take(1)
    statement, sentences = TAMPERING[what]
    with at.engine.execution_options(writes=True).begin() as connection:
        connection.execute(statement)

    result = run("status", "--check", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["differences"] == result.stderr.splitlines()
    assert [line.partition(": ")[2] for line in result.stderr.splitlines()] == sentences
    assert run("status").exit_code == 0


# -- what was set aside ---------------------------------------------------------------------------


def test_what_was_set_aside_is_listed(at: Station) -> None:
    number, other = two_set_aside(at)
    token = at.post.rows.project.token

    assert cells("list", token) == [
        [
            *(str(other), "2025-10-09T08:56:00.000000Z", "unreadable"),
            *("Too\N{REPLACEMENT CHARACTER}[2J odd.", "customer update", "", "registered=c-3"),
        ],
        [
            *(str(number), "2025-10-09T08:55:00.000000Z", "refused"),
            *("Too old.", "campaign", "winback", "registered=c-1"),
        ],
    ]
    found = document("list", token, "--reason", "refused")
    assert [each["id"] for each in found["data"]] == [number]
    assert found["next"] is None
    page = run("list", token, "--limit", 1)
    assert page.stderr == f"There is more: --cursor {other}\n"
    assert [row[0] for row in cells("list", token, "--cursor", other)] == [str(number)]
    assert said("list", token, "--show-sql").startswith("SELECT")


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        (["--all"], 2),
        (["--reason", "refused"], 1),
        (["--message", "Too old."], 1),
        (["--type", "campaign"], 1),
        (["--campaign", "winback"], 1),
        (["--campaign", "other"], 0),
        (["--since", "2025-10-09T08:55:30Z"], 1),
        (["--until", "2025-10-09T08:55:00Z"], 0),
    ],
)
def test_those_that_match_are_put_back_or_let_go(at: Station, filters: list[str], number: int) -> None:
    two_set_aside(at)
    token = at.post.rows.project.token
    commands = "1 command" if number == 1 else f"{number} commands"

    assert said("retry", token, *filters, "--dry-run").startswith(f"{commands} would wait")
    assert said("discard", token, *filters, "--dry-run").startswith(f"{commands} would be let go")
    assert at.books() == Books(2, 0, 0, 2)

    assert said("retry", token, *filters).startswith(f"{commands} wait")
    assert at.books() == Books(2, 0, number, 2 - number)
    assert said("discard", token, "--all").startswith(f"{2 - number} command")
    assert at.books() == Books(2, 0, number, 0, 0, 2 - number)
    assert said("status", "--check")


@pytest.mark.parametrize("command", ["retry", "discard"])
@pytest.mark.parametrize(
    "arguments", [[], ["--all", "--reason", "refused"], ["--reason", "nonsense"], ["--since", "today"]]
)
def test_who_does_not_say_which_is_asked(at: Station, command: str, arguments: list[str]) -> None:
    two_set_aside(at)

    assert run(command, at.post.rows.project.token, *arguments).exit_code == 2
    assert at.books().aside == 2


@pytest.mark.parametrize("command", [("list",), ("retry", "--all"), ("discard", "--all")])
def test_of_a_project_that_is_not_there_nothing_is_known(at: Station, command: tuple[str, ...]) -> None:
    name, *arguments = command

    assert failed(name, "nowhere", *arguments).startswith("There is no project with this token")


def test_stopped_it_says_how_far_it_got(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    two_set_aside(at)
    monkeypatch.setattr(outbox, "MOST_TOGETHER", 1)
    count = outbox.count

    def interrupted(*arguments: Any, **counts: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        count(*arguments, **counts)

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "count", interrupted)
        sentence = failed("retry", at.post.rows.project.token, "--all")

    assert sentence == "1 command done. Stopped; the same command goes on.\n"
    assert at.books() == Books(2, 0, 1, 1)


# -- off ------------------------------------------------------------------------------------------


def test_off_lets_what_waits_be_sent_and_gives_nothing_more(at: Station) -> None:
    at.take(1, 2)

    result = run("off")

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "The relay is off: what is accepted from now on is not given to it.",
        "2 commands still wait for Bloomreach.",
    ]
    assert "switches it on" in result.stderr
    at.take(3)
    assert at.books() == Books(2, 0, 2)
    assert document("status")["on"] is False


def test_off_can_let_go_of_what_waits(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECEIVER_BLOOMREACH_SECRET")
    two_set_aside(at)
    at.take(1)

    result = run("off", "--discard-waiting")

    assert result.stdout.splitlines()[1:] == ["1 command that waited is let go."]
    assert result.stderr == ""
    assert at.books() == Books(3, 0, 0, 2, 1)


# -- check ----------------------------------------------------------------------------------------


def check(*options: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(build("check"), ["check", *options])
    assert not any(secret in done.output for secret in SECRETS)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_key_is_tried_at_bloomreach(
    at: Station, far: BloomreachInThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, stdout, stderr = check("--bloomreach")
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[-1].startswith("Bloomreach accepts the key")
    assert far.events() == []

    far.access(revoked=True)
    assert check("--bloomreach") == (
        1,
        "",
        "Bloomreach says “Access key not found”; see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET.\n",
    )

    monkeypatch.setenv("RECEIVER_BLOOMREACH_BASE_URL", "http://127.0.0.1:9")
    code, _, stderr = check("--bloomreach")
    assert (code, stderr.startswith("Bloomreach could not be reached")) == (1, True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_half_a_relay_is_told(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check()[2] == ""

    monkeypatch.delenv("RECEIVER_BLOOMREACH_SECRET")
    sentence = "Nothing is relayed to Bloomreach from here: RECEIVER_BLOOMREACH_SECRET is not set.\n"
    assert check() == (
        0,
        "The settings are valid; the database is reachable, at head and writable.\n",
        sentence,
    )
    assert check("--bloomreach") == (1, "", sentence)

    for name in NAMES[:3]:
        monkeypatch.delenv(f"RECEIVER_BLOOMREACH_{name}")
    assert check()[2] == ""
    assert check("--bloomreach")[0] == 1


# -- the database ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["run --drain", "run --since 2020-01-01", "off", "retry TOKEN --all", "discard TOKEN --all"]
)
def test_a_database_that_is_away_is_a_sentence(
    at: Station, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    two_set_aside(at)
    monkeypatch.setenv("RECEIVER_DATABASE_SECONDS", "0.2")

    with locked(at.post.settings.database_url):
        result = run(command.replace("TOKEN", at.post.rows.project.token))

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
