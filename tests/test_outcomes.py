"""What became of the commands: told by day and by campaign, and proved by a check."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text
from starlette.testclient import TestClient

from receiver.domain.commands import Form
from receiver.domain.moments import DAY_US
from receiver.inbound.rejections import How
from receiver.store import alarms, outcomes
from receiver.store.outcomes import Counts, OfCampaign, Span
from receiver.store.reports import reading
from receiver.store.tables import counters
from tests.mending import HOUR_US, MINUTE_US, SENT_US, T0, Bench, bench, command, event, in_milliseconds
from tests.posting import person
from tests.reading_app import asking, authorization
from tests.reading_commands import cells, document, run, said

SECONDS = How(names=("milliseconds-to-seconds",))
FIRST_HOUR = T0 - T0 % HOUR_US
NEXT_HOUR = FIRST_HOUR + HOUR_US
"""From here on every campaign is compared by itself."""

FIRST, NEXT = "2025-10-09T08:00:00.000000Z", "2025-10-09T09:00:00.000000Z"


@pytest.fixture
def at(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("RECEIVER_DATABASE_URL", database_url)
    with bench(database_url, max_commands=3) as at:
        yield at


def about(campaign: str | None, who: str = "c-1", **members: Any) -> dict[str, Any]:
    """A letter of *campaign* was delivered to *who*."""
    named = {} if campaign is None else {"campaign_id": campaign}
    return event({"registered": who}, properties={"status": "delivered", **named}, **members)


def update(city: str) -> dict[str, Any]:
    return {"customer_ids": {"registered": "c-1"}, "properties": {"city": city}}


def counted(at: Bench, *by: str) -> dict[Any, tuple[int, ...]]:
    """The counters, with the events, by these columns."""
    names = (*Counts._fields, "events")
    rows = at.post.query(select(*[counters.c[name] for name in (*by, *names)]))
    return {row[: len(by)] if len(by) > 1 else row[0]: tuple(row[len(by) :]) for row in rows}


def change(at: Bench, *statements: str) -> None:
    """Change the tables behind everybody's back."""
    with at.engine.execution_options(writes=True).begin() as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount == 1


def wrong(at: Bench, *arguments: str) -> list[str]:
    """What a check says."""
    result = run("outcomes", at.post.rows, "--check", *arguments)
    assert result.exit_code == (1 if result.stderr else 0)
    return result.stderr.splitlines()


# -- what is counted ------------------------------------------------------------------------------


def test_every_command_is_counted_for_its_campaign_whatever_became_of_it(at: Bench) -> None:
    at.send(about("spring"), about("spring", "c-2"), about("spring"), about("winter"), about(None))
    at.send(in_milliseconds(), in_milliseconds({"registered": "c-2"}), b"{", about(None, timestamp="soon"))
    at.send(update("Bonn"), update("Bonn"), update("Köln"), form=Form.UPDATE)

    assert counted(at, "campaign") == {
        "spring": (3, 2, 1, 0, 2),
        "winter": (1, 1, 0, 0, 1),
        "winback": (2, 0, 0, 2, 0),
        "": (6, 3, 1, 2, 1),
    }
    assert wrong(at) == []


def test_the_commands_of_a_batch_are_each_counted_for_their_own_campaign(at: Bench) -> None:
    at.send({"commands": [command(about("spring")), command(about("winter"))]}, form=Form.BATCH)
    at.send({"commands": [command(about("spring"))] * 4}, form=Form.BATCH)

    assert counted(at, "campaign") == {
        "spring": (1, 1, 0, 0, 1),
        "winter": (1, 1, 0, 0, 1),
        "": (1, 0, 0, 1, 0),  # as a whole: it has too many
    }


def test_who_is_not_known_is_counted_as_refused_for_the_campaign(database_url: str) -> None:
    with bench(database_url, unknown_customers="reject") as at:
        at.send(about("spring"), about("spring"))
        at.send(update("Bonn"), form=Form.UPDATE)

        assert counted(at, "campaign") == {"spring": (2, 0, 0, 2, 0), "": (1, 0, 0, 1, 0)}


def test_what_the_database_refuses_is_counted_for_its_campaign_beside_its_neighbours(at: Bench) -> None:
    create = "CREATE TRIGGER fussy BEFORE INSERT ON events"
    statements = [f"{create} WHEN NEW.type = 'odd' BEGIN SELECT RAISE(ABORT, 'no'); END"]
    if at.engine.dialect.name == "postgresql":
        statements = [
            "CREATE FUNCTION fuss() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END$$",
            f"{create} FOR EACH ROW WHEN (NEW.type = 'odd') EXECUTE FUNCTION fuss()",
        ]
    with at.engine.execution_options(writes=True).begin() as connection:
        for statement in statements:
            connection.execute(text(statement))

    at.send(about("spring"), about("winter", event_type="odd"), about("spring", "c-2"))

    assert counted(at, "campaign") == {"spring": (2, 2, 0, 0, 2), "winter": (1, 0, 0, 1, 0)}


def test_a_replay_and_what_is_sent_are_counted_for_their_campaigns_by_their_sources(at: Bench) -> None:
    refused = at.refused(in_milliseconds())
    at.replay(refused, how=SECONDS)
    at.post.intend(person("c-9", city=""), campaign="winter")  # refused, of which an event tells

    assert counted(at, "source", "campaign") == {
        ("callback", "winback"): (1, 0, 0, 1, 0),
        ("replayed", "winback"): (1, 1, 0, 0, 1),
        ("sending", "winter"): (1, 1, 0, 0, 1),
    }
    assert wrong(at) == []


def test_the_last_callback_is_known_whichever_campaign_it_was_of(at: Bench) -> None:
    at.send(about("b"), at_us=T0 + MINUTE_US)
    at.send(about("a"), about("c"), at_us=T0)
    at.send(about("d"), at_us=T0 - HOUR_US)

    with reading(at.engine) as connection:
        (heard,) = alarms.heard(connection)

    assert heard.callback_us == T0 + MINUTE_US


# -- what is asked --------------------------------------------------------------------------------


def test_outcomes_are_summed_by_day_and_source(at: Bench) -> None:
    rows = at.post.rows
    rows.counter(5, 3, 1, 1, campaign="spring")
    rows.counter(2, 2, 0, 0, at_us=T0 + HOUR_US)
    rows.counter(4, 4, 0, 0, at_us=T0 + DAY_US, campaign="winter")
    rows.counter(1, 1, 0, 0, source="replayed")

    with reading(at.engine) as connection:
        found = outcomes.outcomes(connection, at.project_id, None, None)
        of_one = outcomes.outcomes(connection, at.project_id, None, None, campaign="spring")

    day = T0 - T0 % DAY_US
    assert found == {
        Span(day, "callback"): Counts(7, 5, 1, 1),
        Span(day, "replayed"): Counts(1, 1, 0, 0),
        Span(day + DAY_US, "callback"): Counts(4, 4, 0, 0),
    }
    assert of_one == {Span(day, "callback"): Counts(5, 3, 1, 1)}


def test_an_hour_that_a_period_cuts_is_counted_whole(at: Bench) -> None:
    for n in range(4):
        at.post.rows.counter(10**n, 10**n, 0, 0, at_us=FIRST_HOUR + n * HOUR_US)

    with reading(at.engine) as connection:
        cut, whole = (
            outcomes.outcomes(connection, at.project_id, FIRST_HOUR + since_us, FIRST_HOUR + until_us)
            for since_us, until_us in ((HOUR_US + 1, 2 * HOUR_US + 1), (HOUR_US, 3 * HOUR_US))
        )

    assert list(cut.values()) == list(whole.values()) == [Counts(110, 110, 0, 0)]


def mailed(at: Bench) -> None:
    """Five letters of winback, of which one was not sent and two were heard of, and one of no campaign."""
    at.post.intend(*[person(f"c-{n}") for n in range(5)])
    at.post.intend(person("c-5"), campaign=None)
    sent = "UPDATE mailings SET state = 'queued', asked_us = 1 WHERE id IN (SELECT id FROM mailings"
    with at.engine.execution_options(writes=True).begin() as connection:
        connection.execute(text(f"{sent} ORDER BY campaign, id)"))
        connection.execute(
            text(
                "UPDATE mailings SET state = 'refused' WHERE id = (SELECT max(id) FROM mailings"
                " WHERE campaign = 'winback')"
            )
        )
    at.send(about("winback", "c-0"), about("winback", "c-1"), about("winback", "c-100"))


def campaigns(at: Bench, *period: int | None, **which: str) -> dict[str, OfCampaign]:
    since_us, until_us = period or (None, None)
    with reading(at.engine) as connection:
        return outcomes.campaigns(connection, at.project_id, since_us, until_us, **which)


def test_outcomes_by_campaign_stand_beside_its_letters(at: Bench) -> None:
    mailed(at)
    at.send(about("spring"), about("spring"), about(None))

    spring = OfCampaign({"callback": Counts(2, 1, 1, 0)}, 0, 0, 1)
    found = campaigns(at)

    assert list(found) == ["", "spring", "winback"]
    assert found["spring"] == spring
    assert found["winback"] == OfCampaign({"callback": Counts(3, 3, 0, 0)}, 4, 2, 3)
    assert found[""] == OfCampaign({"callback": Counts(1, 1, 0, 0)}, 1, 0, 0)
    assert campaigns(at, campaign="spring") == {"spring": spring}
    assert campaigns(at, campaign="autumn") == {}


def test_of_a_period_there_are_the_campaigns_that_had_commands_in_it(at: Bench) -> None:
    mailed(at)
    at.send(about("spring"), at_us=T0 + DAY_US)

    assert list(campaigns(at, T0 + DAY_US, None)) == ["spring"]
    assert campaigns(at, None, T0 + HOUR_US) == {"winback": campaigns(at)["winback"]}


def test_campaigns_of_which_only_letters_are_known_are_there_as_well(at: Bench) -> None:
    at.post.intend(person("c-1"))
    at.post.change(state="unknown")

    assert campaigns(at) == {"winback": OfCampaign({}, 1, 0, 0)}


def test_the_table_has_a_row_for_each_day_and_source_and_one_of_them_by_campaign(at: Bench) -> None:
    mailed(at)
    at.replay(at.refused(in_milliseconds({"registered": "c-200"})), how=SECONDS)
    rows = at.post.rows

    assert cells("outcomes", rows) == [
        ["2025-10-09", "callback", "4", "3", "0", "1"],
        ["2025-10-10", "replayed", "1", "1", "0", "0"],
    ]
    assert cells("outcomes", rows, "--campaign", "spring") == []
    assert cells("outcomes", rows, "--by", "campaign") == [
        ["", "callback", "0", "0", "0", "0", "1", "0", "0"],
        ["winback", "callback", "4", "3", "0", "1", "4", "2", "4"],
        ["winback", "replayed", "1", "1", "0", "0", "", "", ""],
    ]
    assert len(cells("outcomes", rows, "--by", "campaign", "--campaign", "winback")) == 2
    assert len(cells("outcomes", rows, "--since", "2025-10-10")) == 1
    assert run("outcomes", rows, "--by", "week").exit_code == 2


def answer(at: Bench, client: TestClient, **parameters: Any) -> Any:
    project = at.post.rows.project
    url = f"/v1/projects/{project.token}/outcomes"
    return client.get(url, params=parameters, headers=authorization(project, "data"))


def test_over_http_the_sender_stands_in_front_and_the_rest_beside_it(at: Bench) -> None:
    rows = at.post.rows
    rows.counter(5, 3, 1, 1)
    rows.counter(2, 2, 0, 0, at_us=T0 + DAY_US, campaign="spring")
    rows.counter(1, 1, 0, 0, source="replayed")

    replayed = {"received": 1, "accepted": 1, "duplicate": 0, "rejected": 0}
    nothing = {"received": 0, "accepted": 0, "duplicate": 0, "rejected": 0}
    with asking(at.engine) as client:
        assert answer(at, client).json() == {
            "total": {"received": 7, "accepted": 5, "duplicate": 1, "rejected": 1},
            "days": [
                {
                    "day": "2025-10-09",
                    "received": 5,
                    "accepted": 3,
                    "duplicate": 1,
                    "rejected": 1,
                    "replayed": replayed,
                },
                {"day": "2025-10-10", "received": 2, "accepted": 2, "duplicate": 0, "rejected": 0},
            ],
            "replayed": replayed,
        }
        for asked in ({"since": "2025-10-10"}, {"campaign": "spring"}):
            assert answer(at, client, **asked).json()["total"]["received"] == 2
        assert answer(at, client, until="2025-10-09").json() == {"total": nothing, "days": []}


def test_over_http_by_campaign_is_what_the_command_says(at: Bench) -> None:
    mailed(at)
    at.replay(at.refused(in_milliseconds({"registered": "c-200"})), how=SECONDS)

    replayed = {"received": 1, "accepted": 1, "duplicate": 0, "rejected": 0}
    winback = {
        "campaign": "winback",
        "received": 4,
        "accepted": 3,
        "duplicate": 0,
        "rejected": 1,
        "sent": 4,
        "heard": 2,
        "letters": 4,
        "replayed": replayed,
    }
    with asking(at.engine) as client:
        found = answer(at, client, by="campaign").json()
        of_one = answer(at, client, by="campaign", campaign="winback").json()
        wrong_one = answer(at, client, by="week")

    assert found == document("outcomes", at.post.rows, "--by", "campaign")
    assert found == {
        "total": {"received": 4, "accepted": 3, "duplicate": 0, "rejected": 1},
        "campaigns": [
            {
                "campaign": None,
                **dict.fromkeys(Counts._fields, 0),
                "sent": 1,
                "heard": 0,
                "letters": 0,
            },
            winback,
        ],
        "replayed": replayed,
    }
    assert of_one["campaigns"] == [winback]
    assert wrong_one.status_code == 400


# -- whether it adds up ---------------------------------------------------------------------------


def lively(at: Bench) -> None:
    """All that can become of commands, in two hours and in the next days."""
    at.send(about("spring"), about(None, "c-2"), in_milliseconds())
    in_next_hour = NEXT_HOUR + MINUTE_US
    for campaign in ("spring", "winter"):
        people = [about(campaign, f"c-{n}", timestamp=SENT_US // 1_000_000 + 60) for n in range(3)]
        at.send(*people, people[0], at_us=in_next_hour)
    at.send(about(None), about(None, "c-2", timestamp="soon"), at_us=in_next_hour)
    at.send(update("Bonn"), update("Bonn"), update("Köln"), form=Form.UPDATE, at_us=in_next_hour)
    undone = at.refused(in_milliseconds({"registered": "c-7"}), at_us=in_next_hour)
    at.replay(undone, at.refused(in_milliseconds({"registered": "c-8"})), how=SECONDS)
    at.undo(undone)
    # Two customers were one.
    one, other = {"registered": "c-9"}, {"cookie": "u-1"}
    at.send(event(one), event(other), event(one | other), at_us=in_next_hour)


def test_a_check_of_all_that_can_happen_finds_nothing(at: Bench) -> None:
    lively(at)

    assert said("outcomes", at.post.rows, "--check").splitlines()[-1] == "Everything adds up."
    assert document("outcomes", at.post.rows, "--check")["disagreements"] == []


def test_another_project_is_checked_by_itself(at: Bench) -> None:
    lively(at)
    at.post.rows.begin_project()

    assert wrong(at) == []


ONE_OF_WINTER = "(SELECT min(id) FROM events WHERE campaign = 'winter' AND source = 'callback')"
IN_NEXT_HOUR = f"source = 'callback' AND hour_us = {NEXT_HOUR}"
OF_WINTER = f"{IN_NEXT_HOUR} AND campaign = 'winter'"
LATER_ON = "2025-10-10T08:00:00.000000Z"

TAMPERED = {
    "an event is gone": (
        f"DELETE FROM events WHERE id = {ONE_OF_WINTER}",
        [f"{NEXT}, callback, campaign winter: 2 as kept events, but 3 as counted ones."],
    ),
    "an event that was withdrawn is gone": (
        "DELETE FROM withdrawn_events",
        [f"{LATER_ON}, replayed, campaign winback: 1 as kept events, but 2 as counted ones."],
    ),
    "an event is of another campaign": (
        f"UPDATE events SET campaign = 'spring' WHERE id = {ONE_OF_WINTER}",
        [
            f"{NEXT}, callback, campaign spring: 4 as kept events, but 3 as counted ones.",
            f"{NEXT}, callback, campaign winter: 2 as kept events, but 3 as counted ones.",
        ],
    ),
    "an event is of no campaign any more": (
        f"UPDATE events SET campaign = NULL WHERE id = {ONE_OF_WINTER}",
        [
            f"{NEXT}, callback, without a campaign: 2 as kept events, but 1 as counted ones.",
            f"{NEXT}, callback, campaign winter: 2 as kept events, but 3 as counted ones.",
        ],
    ),
    "an event came in another hour": (
        f"UPDATE events SET received_us = {T0} WHERE id = {ONE_OF_WINTER}",
        [
            f"{FIRST}, callback: 3 as kept events, but 2 as counted ones.",
            f"{NEXT}, callback, campaign winter: 2 as kept events, but 3 as counted ones.",
        ],
    ),
    "an event has another source": (
        f"UPDATE events SET source = 'sending' WHERE id = {ONE_OF_WINTER}",
        [
            f"{NEXT}, callback, campaign winter: 2 as kept events, but 3 as counted ones.",
            f"{NEXT}, sending, campaign winter: 1 as kept events, but 0 as counted ones.",
        ],
    ),
    "an event of ours passes for a command": (
        "UPDATE events SET source = 'callback' WHERE source = 'identity'",
        [f"{NEXT}, callback, without a campaign: 2 as kept events, but 1 as counted ones."],
    ),
    "more was received than there are outcomes": (
        f"UPDATE counters SET received = received + 1 WHERE {OF_WINTER}",
        [f"{NEXT}, callback, campaign winter: 5 received, but 3 accepted + 1 duplicate + 0 rejected."],
    ),
    "more was accepted than was received": (
        f"UPDATE counters SET accepted = accepted + 1 WHERE {OF_WINTER}",
        [f"{NEXT}, callback, campaign winter: 4 received, but 4 accepted + 1 duplicate + 0 rejected."],
    ),
    "more events than accepted commands are counted": (
        f"UPDATE counters SET events = events + 1 WHERE {OF_WINTER}",
        [f"{NEXT}, callback, campaign winter: 4 counted as events, but only 3 as accepted commands."],
    ),
    "an update is counted as an event": (
        f"UPDATE counters SET events = events + 1 WHERE {IN_NEXT_HOUR} AND campaign = ''",
        [f"{NEXT}, callback, without a campaign: 1 as kept events, but 2 as counted ones."],
    ),
    "a counter is of another campaign": (
        f"UPDATE counters SET campaign = 'autumn' WHERE {OF_WINTER}",
        [
            f"{NEXT}, callback, campaign autumn: 0 as kept events, but 3 as counted ones.",
            f"{NEXT}, callback, campaign winter: 3 as kept events, but 0 as counted ones.",
        ],
    ),
    "a counter is gone": (
        f"DELETE FROM counters WHERE {OF_WINTER}",
        [f"{NEXT}, callback, campaign winter: 3 as kept events, but 0 as counted ones."],
    ),
}


@pytest.mark.parametrize("tampered", TAMPERED)
def test_a_check_finds_where_counters_and_events_were_tampered_with(at: Bench, tampered: str) -> None:
    statement, sentences = TAMPERED[tampered]
    lively(at)
    change(at, statement)

    found = wrong(at)

    assert [each for each in found if each[:4].isdigit()] == sentences
    # Beyond the hours themselves there is only what is kept of letters and kinds of events.
    rest = {each.split(":")[0] for each in found if each not in sentences}
    assert all(each.startswith(("rows of ", "times between stages")) for each in rest)


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("event_kinds", "UPDATE event_kinds SET events = events + 1 WHERE campaign = 'winter'"),
        (
            "letters",
            "DELETE FROM letters WHERE campaign = 'winter' AND customer_id ="
            " (SELECT min(customer_id) FROM letters WHERE campaign = 'winter')",
        ),
        ("campaign_letters", "UPDATE campaign_letters SET letters = letters + 1 WHERE campaign = 'winter'"),
        ("campaign_days", "UPDATE campaign_days SET h5 = h5 + 1 WHERE campaign = 'winter'"),
    ],
)
def test_a_check_finds_where_the_counts_of_letters_were_tampered_with(
    at: Bench, table: str, statement: str
) -> None:
    at.send(about("winter"), about("winter", "c-2"))
    change(at, statement)

    result = wrong(at)

    assert any(each.startswith(f"rows of {table} that do not agree with the events: ") for each in result)


def test_a_check_finds_where_the_counts_of_rejections_were_tampered_with(at: Bench) -> None:
    at.send(*[in_milliseconds()] * 3)
    change(at, "UPDATE rejections SET count = 2")

    assert wrong(at) == [
        "times by hour: 2 by the rejections themselves, 3 by their counters.",
        "times of open rejections: 2 by the rejections themselves, 3 by their counters.",
    ]


def test_a_check_fails_for_machines_with_the_same_words(at: Bench) -> None:
    lively(at)
    change(at, f"UPDATE counters SET received = received + 1 WHERE {OF_WINTER}")

    result = run("outcomes", at.post.rows, "--check", "--json")

    sentence = f"{NEXT}, callback, campaign winter: 5 received, but 3 accepted + 1 duplicate + 0 rejected."
    assert (result.exit_code, result.stderr) == (1, sentence + "\n")
    assert json.loads(result.stdout)["disagreements"] == [
        {
            "hour": NEXT,
            "source": "callback",
            "campaign": "winter",
            "received": 5,
            "accepted": 3,
            "duplicate": 1,
            "rejected": 0,
            "counted": 3,
            "events": 3,
            "detail": sentence,
        }
    ]
    assert run("outcomes", at.post.rows).exit_code == 0


def test_a_check_is_of_the_hours_of_its_period_and_of_all_campaigns(at: Bench) -> None:
    lively(at)
    change(at, f"UPDATE counters SET received = received + 1 WHERE {OF_WINTER}")

    assert wrong(at, "--until", NEXT) == wrong(at, "--since", "2025-10-09T10:00Z") == []
    assert len(wrong(at, "--since", "2025-10-09T09:59Z", "--until", "2025-10-10")) == 1
    assert len(wrong(at, "--by", "campaign", "--campaign", "spring")) == 1


def test_where_everything_is_wrong_a_check_tells_of_the_beginning(
    at: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "MOST_DISAGREEMENTS", 2)
    for hour in range(5):
        at.post.rows.counter(2, 1, 0, 0, at_us=FIRST_HOUR + hour * HOUR_US)

    assert wrong(at) == [
        f"{FIRST}, callback, without a campaign: 2 received, but 1 accepted + 0 duplicate + 0 rejected.",
        f"{NEXT}, callback, without a campaign: 2 received, but 1 accepted + 0 duplicate + 0 rejected.",
        "There may be more: no further hours were compared.",
    ]


def test_a_campaign_cannot_move_the_cursor_of_a_terminal(at: Bench) -> None:
    at.send(about("\x1b[2Jspring"))
    change(at, "UPDATE counters SET received = 2")

    (sentence,) = wrong(at)

    assert "campaign \N{REPLACEMENT CHARACTER}[2Jspring: 2 received" in sentence


# -- hours before the upgrade to counters by campaign -----------------------------------------------


def as_before(at: Bench) -> None:
    """What is counted so far becomes what an upgrade makes of it: nothing is known of campaigns."""
    names = (*Counts._fields, "events")
    sums: dict[tuple[int, str, int], list[int]] = {}
    for row in at.post.query(select(counters)):
        of_hour = sums.setdefault(row[:3], [0] * len(names))
        for place, name in enumerate(names):
            of_hour[place] += row._mapping[name]
    rows = [
        {
            **dict(zip(("project_id", "source", "hour_us"), place, strict=True)),
            "campaign": "",
            **dict(zip(names, numbers, strict=True)),
            "last_us": place[2],
        }
        for place, numbers in sums.items()
    ]
    with at.engine.execution_options(writes=True).begin() as connection:
        connection.execute(delete(counters))
        connection.execute(insert(counters), rows)


def upgraded(at: Bench) -> None:
    """An hour before, one in which the upgrade was, and one after it."""
    at.send(about("spring"), about("winter"), about(None))
    at.send(about("spring", "c-2"), about(None, "c-2"), at_us=NEXT_HOUR)
    as_before(at)
    at.send(about("spring", "c-3"), about(None, "c-3"), at_us=NEXT_HOUR + MINUTE_US)
    at.send(about("spring", "c-4"), about(None, "c-4"), at_us=NEXT_HOUR + HOUR_US)


def test_hours_from_before_an_upgrade_agree_in_their_sums(at: Bench) -> None:
    upgraded(at)

    assert wrong(at) == []


def test_an_installation_without_campaigns_since_an_upgrade_agrees(at: Bench) -> None:
    at.send(about("spring"), about("winter"), about(None))
    as_before(at)
    at.send(about(None, "c-2"), at_us=NEXT_HOUR)

    assert wrong(at) == []


OLD = f"id = (SELECT min(id) FROM events WHERE received_us < {NEXT_HOUR})"
OF_UPGRADE = f"received_us > {NEXT_HOUR} AND received_us < {NEXT_HOUR + HOUR_US}"


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (f"DELETE FROM events WHERE {OLD}", f"{FIRST}, callback: 2 as kept events, but 3 as counted ones."),
        (
            f"UPDATE counters SET events = 2 WHERE hour_us = {FIRST_HOUR}",
            f"{FIRST}, callback: 3 as kept events, but 2 as counted ones.",
        ),
        (
            f"UPDATE counters SET events = 4, accepted = 4, received = 4 WHERE hour_us = {FIRST_HOUR}",
            f"{FIRST}, callback: 3 as kept events, but 4 as counted ones.",
        ),
        (
            f"DELETE FROM events WHERE campaign IS NULL AND {OF_UPGRADE}",
            f"{NEXT}, callback: 3 as kept events, but 4 as counted ones.",
        ),
        (
            f"UPDATE counters SET campaign = 'autumn' WHERE campaign = 'spring' AND hour_us = {NEXT_HOUR}",
            f"{NEXT}, callback, campaign autumn: 0 as kept events, but 1 as counted ones.",
        ),
        (
            f"UPDATE events SET campaign = 'spring' WHERE campaign IS NULL"
            f" AND received_us >= {NEXT_HOUR + HOUR_US}",
            "2025-10-09T10:00:00.000000Z, callback, without a campaign:"
            " 0 as kept events, but 1 as counted ones.",
        ),
    ],
)
def test_what_is_tampered_with_is_found_also_in_hours_from_before_an_upgrade(
    at: Bench, statement: str, sentence: str
) -> None:
    upgraded(at)
    change(at, statement)

    assert wrong(at)[0] == sentence
