"""A year of letters in a database, as the service would have stored it.

Letters and kinds are counted from the events by ``receiver.store.recounting``.  Claims, by which repeats
are known, are left out: no question asks for them.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from benchmarks import rows
from benchmarks.bulk import Bulk
from benchmarks.rows import PROJECT
from benchmarks.year import DAYS, OFTEN, Day, Heard, Size, days
from receiver.domain.moments import DAY_US, hour_of
from receiver.domain.stages import RETURNED, stage_of
from receiver.store import keys, recounting, tables
from receiver.store.engine import connect
from receiver.store.mailings import Kind
from receiver.store.migrations import migrate
from receiver.store.sets import Row
from receiver.store.writes import Source

_KNOWN_US = 60 * DAY_US
"""So long before the first letter the project began, and all customers were told of."""

_TOGETHER = 10_000
_REPEATED_OF = 97  # every so many callbacks one came once more


def fill(url: str, size: Size, until_us: int, seed: int = 5) -> None:
    """Make the empty database at *url* one of the year before *until_us*, a midnight, with one project.

    The same arguments make the same rows, but for the keys of the project.
    """
    engine = connect(url)
    migrate(engine)
    since_us = until_us - DAYS * DAY_US
    with engine.execution_options(writes=True).begin() as connection:
        keys.create_project(connection, "letters", public=False, now_us=since_us - _KNOWN_US)
    engine.dispose()
    history = _History(Bulk(url), size.customers)
    history.add_people(since_us - _KNOWN_US)
    for day in days(size, seed, since_us):
        history.add(day, until_us)
    history.close()


def count(url: str) -> None:
    """Count letters and kinds, as the service would have in each transaction."""
    engine = connect(url)
    with engine.execution_options(writes=True).begin() as connection:
        recounting.recount(connection, PROJECT)
    engine.dispose()


class _History:
    """Adds rows in the order of their arrival, which is that of their numbers."""

    def __init__(self, bulk: Bulk, customers: int) -> None:
        self._bulk = bulk
        self._customers = customers
        self._survivors = list(rows.survivors(customers))
        self._merged = 0
        self._last_id = 0

    def close(self) -> None:
        self._bulk.close(self._last_id, mailed=True)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def add_people(self, since_us: int) -> None:
        """Everybody, by an update within 30 days; then those who will be merged away."""
        told: Counter[int] = Counter()
        for begin in range(0, self._customers, _TOGETHER):
            people = [
                (who, since_us + who * 30 * DAY_US // self._customers)
                for who in range(begin, min(begin + _TOGETHER, self._customers))
            ]
            told.update(hour_of(at_us) for _, at_us in people)
            self._bulk.add(tables.customers, [(self._next_id(), PROJECT, at_us, None) for _, at_us in people])
            self._bulk.add(tables.customer_ids, [row for each in people for row in rows.id_rows(*each)])
            self._bulk.add(
                tables.customer_properties, [row for each in people for row in rows.property_rows(*each)]
            )
        last_us = since_us + 30 * DAY_US
        others = [(self._next_id(), PROJECT, last_us, who + 1) for who in self._survivors]
        self._bulk.add(tables.customers, others)
        told[hour_of(last_us)] += len(others)
        updates = [(hour, "", number, number, 0, 0, 0, hour) for hour, number in told.items()]
        self._bulk.add(tables.counters, [(PROJECT, Source.CALLBACK.value, *each) for each in updates])

    def add(self, day: Day, until_us: int) -> None:
        """The letters and events of *day*; what is heard of a letter is known up to *until_us*."""
        self._add_mailings(day, until_us)
        self._add_merges(day.begin_us)
        self._bulk.add(tables.events, [rows.event_row(self._next_id(), heard) for heard in day.heard])
        self._bulk.add(tables.counters, _counters(day.heard))
        self._bulk.add(tables.suppressions, list(self._suppressions(day.heard)))

    def _add_merges(self, at_us: int) -> None:
        begin, self._merged = self._merged, self._merged + -(-len(self._survivors) // DAYS)
        for place, who in enumerate(self._survivors[begin : self._merged], begin):
            source = self._customers + 1 + place
            self._bulk.add(tables.events, [rows.merge_row(self._next_id(), who, source, at_us)])

    def _add_mailings(self, day: Day, until_us: int) -> None:
        runs: dict[str, tuple[int, int]] = {}
        sent: defaultdict[str, list[Row]] = defaultdict(list)
        for letter, heard in day.letters:
            if letter.mailing is None:
                continue
            campaign, run = letter.campaign, None
            if campaign.number >= OFTEN:
                number, place = runs.get(campaign.reference) or (self._next_id(), 0)
                run = runs[campaign.reference] = number, place + 1
            known = [each for each in heard if each.received_us < until_us]
            sent["mailings"].append(rows.mailing_row(letter, run, known))
            sent["mailing_ids"] += rows.carried_rows(letter)
        for campaign in {letter.campaign.reference: letter.campaign for letter, _ in day.letters}.values():
            if campaign.reference in runs:
                number, place = runs[campaign.reference]
                row = rows.run_row(number, campaign, place, day.begin_us)
                self._bulk.add(tables.runs, [row])
        self._bulk.add(tables.mailings, sent["mailings"])
        self._bulk.add(tables.mailing_ids, sent["mailing_ids"])

    def _suppressions(self, heard: list[Heard]) -> Iterator[Row]:
        """Of letters of ours that came back: their addresses are bad."""
        for each in heard:
            letter = each.letter
            if letter.mailing and not each.sent and stage_of(each.word, {}) == RETURNED:
                about = self._next_id(), PROJECT, letter.customer + 1, Kind.BAD_ADDRESS.value
                key = rows.address_key(letter.customer)
                yield (*about, key, RETURNED, letter.mailing, each.received_us, None)


def _counters(heard: list[Heard]) -> list[Row]:
    counts: dict[tuple[str, int, str], list[int]] = {}
    for number, each in enumerate(heard):
        place = rows.source_of(each), hour_of(each.received_us), rows.campaign_of(each) or ""
        of_place = counts.setdefault(place, [0, 0, 0])
        of_place[0] += 1
        of_place[1] += not each.sent and number % _REPEATED_OF == 0
        of_place[2] = each.received_us
    return [
        (PROJECT, *place, events + again, events, again, 0, events, last_us)
        for place, (events, again, last_us) in counts.items()
    ]
