"""How far letters came, counted in the transaction that stores, moves or withdraws their events.

What a letter is, and what it is counted as, is said in receiver.domain.journeys; receiver.store.recounting
counts again from the events.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

from receiver.domain.journeys import Counted, Journey
from receiver.domain.moments import DAY_US, HOUR_US
from receiver.domain.stages import STAGES
from receiver.store.sets import Given, Insert, Row, Transaction, columns_of
from receiver.store.tables import (
    HOURS,
    campaign_days,
    campaign_delays,
    campaign_letters,
    event_kinds,
    events,
    letters,
)

Letter = tuple[int, str]
"""What names a letter: its customer and campaign, or 0 and its mailing."""

# -- what events tell, as SQL ---------------------------------------------------------------------

_TOLD = "e.project_id, coalesce(min(e.campaign), ''), coalesce(min(e.variation), ''), " + ", ".join(
    f"min(CASE WHEN e.stage = '{stage}' THEN e.occurred_us END)" for stage in STAGES
)


def told_of_mailings(source: str) -> str:
    """A query for the letters, as in their table, that are mailings; *source* gives the events as ``e``."""
    return (
        f"SELECT 0, e.mailing_id, {_TOLD} FROM {source} AND e.mailing_id IS NOT NULL"
        " AND e.stage IS NOT NULL GROUP BY e.mailing_id, e.project_id"
    )


def told_of_campaigns(source: str) -> str:
    """Likewise for those of which no mailing is known."""
    return (
        f"SELECT e.customer_id, e.campaign, {_TOLD} FROM {source} AND e.mailing_id IS NULL"
        " AND e.campaign IS NOT NULL AND e.stage IS NOT NULL GROUP BY e.customer_id, e.campaign, e.project_id"
    )


# -- statements -----------------------------------------------------------------------------------

_KEY = columns_of(letters, 2)
_LETTER = ", ".join(f"l.{name}" for name in columns_of(letters))
_FIND = Given(
    _KEY,
    f"SELECT {_LETTER} FROM given CROSS JOIN letters AS l"
    " WHERE l.customer_id = given.customer_id AND l.reference = given.reference",
)
_OF_CUSTOMERS = Given(
    {"customer_id": letters.c.customer_id},
    f"SELECT {_LETTER} FROM given CROSS JOIN letters AS l WHERE l.customer_id = given.customer_id",
)
# DISTINCT: on SQLite a row may be given twice.
_GIVEN = "(SELECT DISTINCT customer_id, reference FROM given) AS g CROSS JOIN events AS e WHERE"
_MAILINGS_AGAIN = Given(_KEY, told_of_mailings(f"{_GIVEN} e.mailing_id = g.reference"))
_CAMPAIGNS_AGAIN = Given(
    _KEY, told_of_campaigns(f"{_GIVEN} e.customer_id = g.customer_id AND e.campaign = g.reference")
)
_DROP = Given(_KEY, "DELETE FROM letters WHERE (customer_id, reference) IN (SELECT * FROM given)")
_EVENTS = Given(
    {"id": events.c.id},
    f"SELECT {', '.join(f'e.{name}' for name in columns_of(events))} FROM given CROSS JOIN events AS e"
    " WHERE e.id = given.id",
)
_SET = ", ".join(f"{name} = excluded.{name}" for name in list(columns_of(letters))[len(_KEY) :])
_ADD = Insert(letters)
_CHANGE = Insert(letters, f"ON CONFLICT (customer_id, reference) DO UPDATE SET {_SET}")


def _more(table: str, key: str, *counts: str) -> str:
    added = ", ".join(f"{each} = {table}.{each} + excluded.{each}" for each in counts)
    return f"ON CONFLICT ({key}) DO UPDATE SET {added}"


_PLACE = "project_id, campaign, variation"
_ADD_STAGES = Insert(campaign_letters, _more("campaign_letters", f"{_PLACE}, stages", "letters"))
_ADD_DAYS = Insert(campaign_days, _more("campaign_days", f"{_PLACE}, stage, day_us", *HOURS))
_ADD_DELAYS = Insert(campaign_delays, _more("campaign_delays", f"{_PLACE}, since, stage, bucket", "letters"))
_ADD_KINDS = Insert(event_kinds, _more("event_kinds", "id", "events"))


# -- new events and merges ------------------------------------------------------------------------


def advance(
    transaction: Transaction, rows: Sequence[Row], merges: Sequence[Row], new_customers: Iterable[int] = ()
) -> None:
    """Let letters be as new *rows* of events, and *merges* (source, survivor), make them.

    Nothing is looked for of *new_customers*, who had none before.
    """
    heard = _heard(rows)
    new = frozenset(new_customers)
    perhaps_known = dict.fromkeys(each.letter for each in heard if each.letter[0] not in new)
    found = [transaction.run(_FIND, list(perhaps_known))] if perhaps_known else []
    if merges:
        customers = dict.fromkeys(chain.from_iterable(merges))
        found.append(transaction.run(_OF_CUSTOMERS, [(each,) for each in customers]))
    before = _journeys(row for fetch in found for row in fetch())
    survivors: dict[int, int] = dict(merges)
    after: dict[Letter, Journey] = {}
    for (customer, reference), journey in before.items():
        _join(after, (survivors.get(customer, customer), reference), journey)
    for letter, project_id, campaign, variation, stage, at_us in heard:
        known = after.get(letter) or Journey(project_id)
        after[letter] = known.reached(campaign, variation, stage, at_us)
    _change(transaction, before, after)
    _count_events(transaction, rows)


class _Heard(NamedTuple):
    """What an event tells of a letter."""

    letter: Letter
    project_id: int
    campaign: str | None
    variation: str | None
    stage: str
    at_us: int


def _heard(rows: Iterable[Row]) -> list[_Heard]:
    """What *rows* of events, as in their table, tell of letters."""
    heard = []
    for row in rows:
        _, project_id, customer, _, at_us, _, _, campaign, _, stage, _, _, mailing, _, variation, _ = row
        if stage is not None and (mailing or campaign):
            letter = (0, mailing) if mailing else (customer, campaign)
            heard.append(_Heard(letter, project_id, campaign, variation, stage, at_us))
    return heard


def _join(journeys: dict[Letter, Journey], letter: Letter, journey: Journey) -> None:
    known = journeys.get(letter)
    journeys[letter] = journey if known is None else known.joined(journey)


def _journeys(rows: Iterable[Row]) -> dict[Letter, Journey]:
    """*rows* as in the table of letters."""
    return {
        (customer, reference): Journey(project_id, campaign, variation, tuple(times))
        for customer, reference, project_id, campaign, variation, *times in rows
    }


# -- withdrawals ----------------------------------------------------------------------------------


@contextmanager
def withdrawing(transaction: Transaction, ids: Iterable[int]) -> Iterator[None]:
    """The events with these *ids* are deleted within: letters are then what the others tell of them."""
    rows = list(set(transaction.run(_EVENTS, [(each,) for each in ids])()))
    touched = list(dict.fromkeys(each.letter for each in _heard(rows)))
    before = _journeys(transaction.run(_FIND, touched)()) if touched else {}
    yield
    after: dict[Letter, Journey] = {}
    mailings = [letter for letter in touched if letter[0] == 0]
    campaigns = [letter for letter in touched if letter[0] != 0]
    for statement, of_them in ((_MAILINGS_AGAIN, mailings), (_CAMPAIGNS_AGAIN, campaigns)):
        if of_them:
            after |= _journeys(transaction.run(statement, of_them)())
    _change(transaction, before, after)
    _count_events(transaction, rows, -1)


# -- what both leave behind -----------------------------------------------------------------------


def _change(
    transaction: Transaction, before: Mapping[Letter, Journey], after: Mapping[Letter, Journey]
) -> None:
    """Write and count what letters have become; those that are in *before* alone are gone."""
    counted = Counted()
    gone = [letter for letter in before if letter not in after]
    for letter in gone:
        counted.add(before[letter], -1)
    new, changed = [], []
    for letter, journey in after.items():
        known = before.get(letter)
        row = (*letter, *journey[:-1], *journey.times)
        if known is None:
            counted.add(journey)
            new.append(row)
        elif known != journey:
            counted.change(known, journey)
            changed.append(row)
    if gone:
        transaction.run(_DROP, gone)
    for statement, rows in (
        (_ADD, new),
        (_CHANGE, changed),
        (_ADD_STAGES, [(*place, number) for place, number in counted.stages.items()]),
        (_ADD_DAYS, _days(counted)),
        (_ADD_DELAYS, [(*place, number) for place, number in counted.delays.items()]),
    ):
        if rows:
            transaction.insert(statement, rows)


def _days(counted: Counted) -> list[Row]:
    """What is counted by hour, as rows of days."""
    days: defaultdict[Row, list[int]] = defaultdict(lambda: [0] * len(HOURS))
    for (project_id, campaign, variation, stage, hour_us), number in counted.hours.items():
        since_us = hour_us % DAY_US
        days[project_id, campaign, hour_us - since_us, stage, variation][since_us // HOUR_US] = number
    return [(*place, *numbers) for place, numbers in days.items()]


def _count_events(transaction: Transaction, rows: Iterable[Row], each: int = 1) -> None:
    """There are so many more events of the kinds of *rows*."""
    numbers: Counter[Row] = Counter()
    for _, project_id, _, event_type, _, _, _, campaign, status, stage, *_, kind_id in rows:
        numbers[kind_id, project_id, event_type, campaign, status, stage] += each
    if numbers:
        transaction.insert(_ADD_KINDS, [(*kind, number) for kind, number in numbers.items()])
