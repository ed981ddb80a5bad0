"""A database of the service that already holds millions of events, written past the service."""

from collections.abc import Iterator
from hashlib import blake2b

from benchmarks.bulk import Bulk
from benchmarks.databases import analyze
from benchmarks.history import count
from benchmarks.traffic import CAMPAIGNS, CUSTOMERS, STATUSES, campaign, cookie, customer, registered
from receiver.domain.kinds import Kind
from receiver.domain.stages import stage_of
from receiver.store import tables
from receiver.store.sets import Row

_PROJECT = 1
_SPREAD_US = 90 * 86_400 * 1_000_000


def fill(url: str, events: int, until_s: int) -> None:
    """Writes so many events of the traffic's customers, over the 90 days before *until_s*.

    The database is migrated, has one project and is not in use.
    """
    bulk = Bulk(url)
    bulk.add(tables.customers, _customers(until_s))
    bulk.add(tables.customer_ids, _customer_ids(until_s))
    bulk.add(tables.events, _events(events, until_s))
    bulk.add(tables.claims, _claims(events, until_s))
    bulk.close(CUSTOMERS + events, mailed=False)
    count(url)
    analyze(url)


def _customers(until_s: int) -> Iterator[Row]:
    """Their IDs come first, the events' follow."""
    created_us = until_s * 1_000_000 - _SPREAD_US
    return ((who + 1, _PROJECT, created_us, None) for who in range(CUSTOMERS))


def _customer_ids(until_s: int) -> Iterator[Row]:
    used_us = until_s * 1_000_000 - _SPREAD_US
    for who in range(CUSTOMERS):
        yield _PROJECT, "registered", registered(who).decode(), who + 1, used_us
        yield _PROJECT, "cookie", cookie(who).decode(), who + 1, used_us


def _occurred_us(number: int, events: int, until_s: int) -> int:
    return until_s * 1_000_000 - _SPREAD_US + number * _SPREAD_US // events


def _events(events: int, until_s: int) -> Iterator[Row]:
    for number in range(events):
        who = customer(number)
        at_us = _occurred_us(number, events, until_s)
        word = STATUSES[number // CUSTOMERS % len(STATUSES)].decode()
        mailing = campaign((who + number // CUSTOMERS) % CAMPAIGNS).decode()
        kind = Kind(_PROJECT, "campaign", mailing, word, stage_of(word, {}))
        ids = f'{{"registered":"{registered(who).decode()}","cookie":"{cookie(who).decode()}"}}'
        properties = (
            f'{{"action_type":"direct mail","status":"{word}","campaign_id":"{mailing}",'
            f'"campaign_name":"Winback","platform":"optilyz"}}'
        )
        yield (
            *(CUSTOMERS + 1 + number, _PROJECT, who + 1, kind.type, at_us, at_us, "callback"),
            *(kind.campaign, kind.status, kind.stage, ids, properties, None, None, None, kind.id),
        )


def _claims(events: int, until_s: int) -> Iterator[Row]:
    for number in range(events):
        at_us = _occurred_us(number, events, until_s)
        key = (at_us // 1000).to_bytes(6) + blake2b(b"%d" % number, digest_size=16).digest()
        yield _PROJECT, key, b"", at_us, CUSTOMERS + 1 + number
