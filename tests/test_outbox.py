"""What the outbox is given, and how it is counted, in the transactions that do so, on both databases."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, func, select, text

from receiver.domain.commands import Form
from receiver.inbound import ingest
from receiver.inbound.deliveries import Delivery, Part, Policy
from receiver.inbound.rejections import How
from receiver.settings import read_settings
from receiver.store import outbox as outbox_store
from receiver.store import relay_status, reports, set_aside
from receiver.store.outbox import Reason, SetAside
from receiver.store.sets import Ledger
from receiver.store.tables import customer_ids, events, ledger, outbox, outbox_hours, outbox_spans
from receiver.store.writes import Source
from tests.mending import HOUR_US, LATER, T0, in_milliseconds
from tests.posting import person
from tests.relaying import Books, Station, numbered, station, update
from tests.simulated_bloomreach import BloomreachInThread, simulated_bloomreach

SECONDS = How(names=("milliseconds-to-seconds",))


@pytest.fixture(scope="module")
def far() -> Iterator[BloomreachInThread]:
    """Nobody asks it here."""
    with simulated_bloomreach() as far:
        yield far


def off(at: Station) -> None:
    at.change(outbox_store.switch_off)


def on(at: Station) -> None:
    at.change(outbox_store.switch_on)


def spans(at: Station) -> list[tuple[int, int]]:
    return [tuple(each) for each in at.post.query(select(outbox_spans).order_by(outbox_spans.c.first_id))]


# -- what is given ----------------------------------------------------------------------------------


def test_an_accepted_event_waits_with_its_number_and_nothing_else(at: Station) -> None:
    (number,) = at.take(1)

    (row,) = at.outbox()
    assert tuple(row) == (number, at.project_id, None, T0, None, None, None, None, None)
    assert at.books() == Books(given=1, waiting=1)


def test_an_accepted_update_waits_with_all_that_is_to_be_sent(at: Station) -> None:
    sent = {"registered": "c-1", "cookie": "u-1"}
    at.send(
        update(timestamp=1_760_000_000.5, b=[1, {"ä": None}], a="x") | {"customer_ids": sent},
        form=Form.UPDATE,
    )

    (row,) = at.outbox()
    (customer,) = at.post.query(select(customer_ids.c.customer_id).distinct())
    assert (row.project_id, row.customer_id, row.given_us) == (at.project_id, *customer, T0)
    assert json.loads(row.ids) == sent
    assert row.body == '{"update_timestamp":1760000000.500000,"properties":{"b":[1,{"ä":null}],"a":"x"}}'
    # Its number is nobody else's.
    assert at.post.query(select(events.c.id).where(events.c.id == row.id)) == []
    assert row.id != row.customer_id


def test_events_and_updates_of_one_group_stand_in_its_order(at: Station) -> None:
    commands = [
        {"name": "customers/events", "data": numbered(1)},
        {"name": "customers", "data": update(a=1)},
        {"name": "customers/events", "data": numbered(2)},
        {"name": "customers", "data": update(a=2)},
    ]
    at.send({"commands": commands}, form=Form.BATCH)

    assert [row.body is not None for row in at.outbox()] == [False, True, False, True]


def test_nothing_that_was_there_or_was_refused_is_given(at: Station) -> None:
    at.take(1)
    at.send(update(timestamp=1_760_000_000, a=1), form=Form.UPDATE)
    given = at.outbox()

    at.send(numbered(1), numbered(1), numbered(2, who=""), b"{")
    at.send(update(timestamp=1_760_000_000, a=1), update(), form=Form.UPDATE)

    assert at.outbox() == given
    assert at.books() == Books(given=2, waiting=2)


def test_what_we_note_about_identities_is_not_given(at: Station) -> None:
    at.send(numbered(1, customer_ids={"cookie": "u-1"}), numbered(2, customer_ids={"cookie": "u-2"}))
    at.send(numbered(3, customer_ids={"registered": "c-1", "cookie": "u-1"}))
    at.send(numbered(4, customer_ids={"registered": "c-1", "cookie": "u-2"}))
    at.send(numbered(5, customer_ids={"registered": "c-2", "cookie": "u-2"}))

    noted = at.post.query(select(events.c.type).where(events.c.source == "identity"))
    assert sorted(each for (each,) in noted) == ["id_moved", "merge"]
    assert [str(number) for number in at.waiting()] == at.here()
    assert len(at.here()) == 5


def test_what_is_replayed_is_given_once(at: Station) -> None:
    at.take(1)
    number = at.refused(in_milliseconds())
    at.replay(number, how=SECONDS)
    # The corrected resend is a repeat of it.
    assert at.became({**in_milliseconds(), "timestamp": 1_760_000_000})[0][0] == "duplicate"

    assert [str(each) for each in at.waiting()] == at.here()
    (_, row) = at.outbox()
    assert row.given_us == LATER
    assert at.books() == Books(given=2, waiting=2)


def test_a_replayed_update_is_given(at: Station) -> None:
    body = {**update(a=1), "customer_ids": {"registered": "c-1", "cookie": ""}}
    number = at.refused(body, form=Form.UPDATE)

    at.replay(number, how=How(names=("drop-empty-ids",)))

    (row,) = at.outbox()
    assert json.loads(row.ids) == {"registered": "c-1"}
    assert json.loads(row.body) == {"update_timestamp": T0 / 1_000_000, "properties": {"a": 1}}


def test_a_rehearsal_gives_nothing(at: Station) -> None:
    number = at.refused(in_milliseconds())

    at.replay(number, how=SECONDS, rehearsal=True)

    assert at.outbox() == []
    assert at.books() == Books()


@pytest.mark.parametrize(
    ("sources", "given"),
    [
        (("callback",), ["callback"]),
        (("replayed",), ["replayed"]),
        (("sending",), ["sending"]),
        (("callback", "replayed", "sending"), ["callback", "replayed", "sending"]),
        ((), []),
    ],
)
def test_only_the_sources_that_the_settings_name_are_given(
    database_url: str, far: BloomreachInThread, sources: tuple[str, ...], given: list[str]
) -> None:
    with station(database_url, far, relay_sources=sources) as at:
        at.take(1)
        at.replay(at.refused(in_milliseconds()), how=SECONDS)
        at.post.intend(person("anna", zipCode=""))

        of_rows = select(events.c.source).join(outbox, outbox.c.id == events.c.id).order_by(events.c.id)
        assert [source for (source,) in at.post.query(of_rows)] == given
        assert at.books() == Books(given=len(given), waiting=len(given))


def test_a_group_that_failed_has_given_nothing(at: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("as if the machine had stopped")

    monkeypatch.setattr("receiver.store.journeys.advance", fail)
    with pytest.raises(RuntimeError):
        at.take(1, 2)

    assert at.outbox() == []
    assert at.here() == []
    assert at.books() == Books()


@pytest.mark.parametrize("poisoned", [[0], [3], [0, 6], list(range(7))])
def test_a_row_that_the_database_refuses_costs_no_other_its_place(at: Station, poisoned: list[int]) -> None:
    _refuse_poison(at)
    kinds = {n: {"event_type": "poison"} if n in poisoned else {} for n in range(7)}

    at.send(*(numbered(n, f"c-{n}", **kinds[n]) for n in range(7)))

    assert [str(number) for number in at.waiting()] == at.here()
    assert len(at.here()) == 7 - len(poisoned)
    assert at.books() == Books(given=7 - len(poisoned), waiting=7 - len(poisoned))


def _refuse_poison(at: Station) -> None:
    with at.engine.execution_options(writes=True).begin() as connection:
        if at.engine.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE events ADD CHECK (type <> 'poison')"))
        else:
            connection.execute(
                text(
                    "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN new.type = 'poison'"
                    " BEGIN SELECT raise(ABORT, 'poison'); END"
                )
            )


def test_two_projects_are_counted_apart_and_wait_in_one_row(at: Station) -> None:
    first, (one,) = at.project_id, at.take(1)
    at.project_id = second = at.post.rows.begin_project()
    two, three = at.take(2, 3)

    assert [(row.id, row.project_id) for row in at.outbox()] == [(one, first), (two, second), (three, second)]
    with reports.reading(at.engine) as connection:
        assert [(each.project_id, each.given) for each in relay_status.totals(connection)] == [
            (first, 1),
            (second, 2),
        ]
    at.books()


def test_what_is_given_is_counted_in_its_hour(at: Station) -> None:
    hour = T0 - T0 % HOUR_US
    for at_us in (hour + HOUR_US - 1, hour + HOUR_US, hour + HOUR_US + 1):
        at.send(numbered(at_us % 1000), at_us=at_us)

    counted = at.post.query(select(outbox_hours.c.hour_us, outbox_hours.c.given))
    assert sorted(map(tuple, counted)) == [(hour, 1), (hour + HOUR_US, 2)]


# -- on and off -------------------------------------------------------------------------------------


def test_nothing_is_given_before_it_is_switched_on_nor_after_it_is_switched_off(at: Station) -> None:
    off(at)
    before = at.take(1)
    at.send(update(a=1), form=Form.UPDATE)
    assert at.outbox() == []
    on(at)
    between = at.take(2, 3)
    off(at)
    at.take(4)
    at.post.intend(person("anna", zipCode=""))

    assert at.waiting() == between
    assert before[0] < between[0]
    assert at.books() == Books(given=2, waiting=2)


def test_an_installation_that_was_never_switched_on_gives_nothing(engine: Engine) -> None:
    with keeping(engine) as keep:
        keep(numbered(1))

    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(events)).scalar() == 1
        assert connection.execute(select(func.count()).select_from(outbox)).scalar() == 0
        assert connection.execute(select(func.count()).select_from(outbox_hours)).scalar() == 0


@contextmanager
def keeping(engine: Engine) -> Iterator[Callable[[object], None]]:
    """Keeps an event as who has no settings would."""
    policy, ledger = Policy.of(read_settings()), Ledger(engine)

    def keep(body: object) -> None:
        delivery = Delivery(1, Source.CALLBACK, Form.EVENT, json.dumps(body).encode(), [], T0)
        ingest.keep(ledger, [Part(delivery, 0, list(ingest.read(delivery, policy)))], policy)

    yield keep
    ledger.close()


def test_whoever_knows_nothing_of_bloomreach_gives_where_the_ledger_says_so(at: Station) -> None:
    with keeping(at.engine) as keep:
        keep(numbered(1))

    assert [str(number) for number in at.waiting()] == at.here()
    assert len(at.here()) == 1


def test_to_switch_it_on_again_changes_nothing(at: Station) -> None:
    first = at.post.query(select(ledger.c.relay_from))
    at.take(1)

    on(at)
    at.switch_on()

    assert at.post.query(select(ledger.c.relay_from)) == first
    assert spans(at) == []


def test_what_was_given_is_remembered_as_spans_that_grow_together(at: Station) -> None:
    ((began,),) = at.post.query(select(ledger.c.relay_from))
    (number,) = at.take(1)
    off(at)
    (last_id,) = at.post.query(select(ledger.c.last_id))[0]
    assert spans(at) == [(began, last_id)]
    assert began <= number <= last_id
    # Nothing came between.
    on(at)
    off(at)
    assert spans(at) == [(began, last_id)]
    on(at)
    at.take(2)
    off(at)
    (later,) = at.post.query(select(ledger.c.last_id))[0]
    assert spans(at) == [(began, later)]
    at.take(3)
    on(at)
    at.take(4)
    off(at)
    first, second = spans(at)
    assert first == (began, later)
    assert second[0] > later + 1


def test_it_can_be_switched_off_twice(at: Station) -> None:
    at.take(1)
    off(at)
    before = spans(at)
    off(at)

    assert spans(at) == before
    with reports.reading(at.engine) as connection:
        assert not outbox_store.is_on(connection)


# -- merges -----------------------------------------------------------------------------------------


def test_a_waiting_update_follows_its_customer_through_merges(at: Station) -> None:
    for number, cookie in enumerate(("u-1", "u-2")):
        at.send(update(a=number) | {"customer_ids": {"cookie": cookie}}, form=Form.UPDATE)
    # In one group: a merge, and an update before and after it.
    commands = [
        {"name": "customers", "data": update(b=1) | {"customer_ids": {"cookie": "u-1"}}},
        {"name": "customers", "data": update(c=1) | {"customer_ids": {"cookie": "u-2"}}},
        {
            "name": "customers/events",
            "data": numbered(1, customer_ids={"registered": "c-1", "cookie": "u-1"}),
        },
        {
            "name": "customers/events",
            "data": numbered(2, customer_ids={"registered": "c-1", "cookie": "u-2"}),
        },
        {"name": "customers", "data": update(b=2) | {"customer_ids": {"cookie": "u-2"}}},
    ]
    at.send({"commands": commands}, form=Form.BATCH)

    (survivor,) = at.post.query(select(customer_ids.c.customer_id).distinct())
    updates = [row for row in at.outbox() if row.body]
    assert len(updates) == 5
    assert {row.customer_id for row in updates} == {*survivor}
    assert [json.loads(row.ids) for row in updates] == [
        {"cookie": cookie} for cookie in ("u-1", "u-2", "u-1", "u-2", "u-2")
    ]


# -- pages, and what becomes of them ----------------------------------------------------------------


def page(at: Station, after: int = 0, limit: int = 500) -> list[outbox_store.Waiting]:
    with reports.reading(at.engine) as connection:
        return outbox_store.page(connection, after=after, limit=limit)


def test_a_page_has_what_waits_in_order_from_behind_a_number(at: Station) -> None:
    one, two, three, four = at.take(1, 2, 3, 4)
    at.change(lambda t: outbox_store.settle(t, [], [SetAside(two, Reason.REFUSED, "Bad")], [], 5))

    assert [each.id for each in page(at)] == [one, three, four]
    assert [each.id for each in page(at, after=one, limit=1)] == [three]
    assert page(at, after=four) == []


def test_what_is_settled_is_counted_by_what_there_was(at: Station) -> None:
    one, two, three, four, five = at.take(1, 2, 3, 4, 5)
    aside = [SetAside(each, Reason.REFUSED, "Bad 'words' \u2028 🖂") for each in (two, 999_999)]
    at.change(lambda t: outbox_store.settle(t, [one, 999_998], aside, [three, 999_997], LATER))
    assert at.books() == Books(given=5, sent=1, waiting=2, aside=1, withdrawn=1)
    assert at.aside() == [(two, "refused", "Bad 'words' \u2028 🖂")]

    # Once more, as somebody would who was paused.
    at.change(lambda t: outbox_store.settle(t, [one], aside, [three], LATER))
    assert at.books() == Books(given=5, sent=1, waiting=2, aside=1, withdrawn=1)
    # What had been set aside was sent after all.
    at.change(lambda t: outbox_store.settle(t, [two, four], [SetAside(five, Reason.REFUSED, "x")], [], LATER))
    assert at.books() == Books(given=5, sent=3, aside=1, withdrawn=1)
    at.change(lambda t: outbox_store.withdraw(t, [five, one], LATER))
    assert at.books() == Books(given=5, sent=3, withdrawn=1, discarded=1)
    assert at.outbox() == []


def test_what_is_put_back_waits_and_what_is_discarded_is_gone(at: Station) -> None:
    one, two, three = at.take(1, 2, 3)
    aside = [SetAside(each, Reason.UNREADABLE, "Bad") for each in (one, two, three)]
    at.change(lambda t: outbox_store.settle(t, [], aside, [], 5))

    at.put_back(one)
    assert at.change(lambda t: set_aside.discard(t, [one, two], 5)) == 1

    assert at.waiting() == [one]
    (row,) = [each for each in at.outbox() if each.id == one]
    assert (row.reason, row.message, row.set_aside_us) == (None, None, None)
    assert at.books() == Books(given=3, waiting=1, aside=1, discarded=1)


def test_an_undo_lets_go_of_what_waits_or_is_set_aside_and_of_nothing_else(at: Station) -> None:
    stays = at.take(1)
    numbers = [at.refused(in_milliseconds(properties={"n": n})) for n in range(3)]
    for number in numbers:
        at.replay(number, how=SECONDS)
    waits, aside, sent = at.waiting()[1:]
    at.change(lambda t: outbox_store.settle(t, [sent], [SetAside(aside, Reason.REFUSED, "Bad")], [], 5))
    assert at.books() == Books(given=4, sent=1, waiting=2, aside=1)

    for number in numbers:
        at.undo(number)

    assert at.waiting() == stays
    assert at.books() == Books(given=4, sent=1, waiting=1, withdrawn=1, discarded=1)
    assert waits not in at.waiting()
    # What is replayed again is another event.
    at.replay(numbers[0], how=SECONDS, at_us=LATER + HOUR_US)
    assert at.books() == Books(given=5, sent=1, waiting=2, withdrawn=1, discarded=1)


def test_current_ids_are_the_last_used_of_each_kind(at: Station) -> None:
    for at_us, cookie in ((T0, "u-1"), (T0 + 1, "u-2"), (T0 + 2, "u-1")):
        ids = {"registered": "c-1", "cookie": cookie}
        at.send(numbered(at_us - T0, customer_ids=ids), at_us=at_us)
    at.send(numbered(9, who="c-2"))
    customers = [number for (number,) in at.post.query(select(customer_ids.c.customer_id).distinct())]

    with reports.reading(at.engine) as connection:
        found = outbox_store.current_ids(connection, [*customers, 999_999])
        assert outbox_store.current_ids(connection, []) == {}

    assert sorted(found) == sorted(customers)
    assert sorted(found.values(), key=str) == [
        {"cookie": "u-1", "registered": "c-1"},
        {"registered": "c-2"},
    ]
