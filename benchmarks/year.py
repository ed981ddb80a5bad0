"""A year of letters: which campaigns there are, who gets letters, and what is heard of each, day by day.

Nothing is stored here.  The same size and seed always make the same year.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate, pairwise
from random import Random
from typing import NamedTuple

from benchmarks.traffic import campaign as reference_of
from receiver.domain.moments import DAY_US, HOUR_US, SECOND_US

DAYS = 365
OFTEN = 4
"""The first so many campaigns go on all year."""
RARE_STATUS, RARE_TYPE = "rerouted", "complaint"
RESPONSE = "voucher_redeemed"
STAFF = 3
"""The first so many customers see a proof of everything that goes out."""

_EVENTS_OF_A_LETTER = 3.64
_SHARE_OFTEN = (0.18, 0.14, 0.08, 0.05)
_SHRINKS = 0.85
_STRIDE = 2_654_435_761  # a prime above any number of customers, so that multiplying visits each one once
_MINUTE_US = 60 * SECOND_US
_RARE_STATUSES, _RARE_TYPES = 7, 5


class Size(NamedTuple):
    """How much there is; events are as many but for one in a hundred."""

    events: int = 5_000_000
    customers: int = 800_000
    campaigns: int = 40


class Campaign(NamedTuple):
    """One campaign.

    Attributes:
        letters: by day of the year, from 0.
        pool: letters go to the first so many customers, once to each.
        booked: the sender has a word of its own for what it took.
        prints: the sender tells when a letter is printed.
        ours: its letters went out through the service, so each is a mailing.
        variations: tested against each other; empty where nothing is.
    """

    number: int
    reference: str
    letters: dict[int, int]
    pool: int
    booked: bool
    prints: bool
    ours: bool
    variations: tuple[str, ...]


class Letter(NamedTuple):
    """One letter; *number* counts all letters, *mailing* is None where the service did not send it."""

    number: int
    customer: int
    campaign: Campaign
    at_us: int
    mailing: str | None
    variation: str | None
    fate: str


class Heard(NamedTuple):
    """Something that was heard of a letter.  Ordered by when, and then by *number*.

    *word* is a status, or the type of event where it has none; *sent* says that the service told it itself.
    """

    received_us: int
    number: int
    occurred_us: int
    letter: Letter
    word: str
    sent: bool


def campaigns(size: Size, seed: int) -> list[Campaign]:
    """Some go on all year, the others for some weeks with a drop in each; they differ in size by hundreds."""
    random = Random(seed)
    letters = size.events / _EVENTS_OF_A_LETTER
    shrinking = [_SHRINKS**number for number in range(max(0, size.campaigns - OFTEN))]
    unit = letters * (1 - sum(_SHARE_OFTEN)) / max(1, sum(shrinking))
    shares = [share * letters for share in _SHARE_OFTEN] + [unit * weight for weight in shrinking]
    order = list(range(len(shrinking)))
    random.shuffle(order)
    found = []
    for number, share in enumerate(shares[: size.campaigns]):
        if number < OFTEN:
            on = list(range(DAYS))
        else:
            begin = order[number - OFTEN] * (DAYS - 3) // max(1, len(order) - 1)
            on = [day for day in range(begin, begin + 7 * random.randint(2, 8), 7) if day < DAYS]
        reach = (1.0, 0.6, 0.4)[number % 3]
        reached = [round(share * place / len(on)) for place in range(len(on) + 1)]
        by_day = {day: after - before for day, (before, after) in zip(on, pairwise(reached), strict=True)}
        pool = max(round(size.customers * reach), sum(by_day.values()))
        if pool > size.customers:
            raise ValueError("a campaign writes once to each customer: take more customers, or fewer events")
        found.append(
            Campaign(
                number,
                reference_of(number).decode(),
                by_day,
                pool,
                booked=number % 3 == 0,
                prints=number % 5 != 2,
                ours=number % 6 == 1,
                variations=(("A", "B"), ("1", "2", "3"))[number % 2] if number % 4 in (1, 2) else (),
            )
        )
    return found


class Day(NamedTuple):
    """What goes out on a day, each with all that will be heard of it; and what is heard on it, in order."""

    begin_us: int
    letters: list[tuple[Letter, list[Heard]]]
    heard: list[Heard]


def days(size: Size, seed: int, since_us: int) -> Iterator[Day]:
    """The days of the year since then.

    In memory there is only what is still to be heard of letters that are on their way.
    """
    random = Random(seed)
    plan = campaigns(size, seed)
    given = [0] * len(plan)
    rare = _Rare(size)
    to_come: defaultdict[int, list[Heard]] = defaultdict(list)
    numbers = heard = 0
    for day in range(DAYS):
        begin_us = since_us + day * DAY_US
        letters = []
        for campaign in plan:
            for customer in _recipients(campaign, day, given):
                at_us = begin_us + 8 * HOUR_US + int(random.random() * 10 * HOUR_US)
                letters.append(_letter(random, numbers, customer, campaign, at_us, rare))
                numbers += 1
        letters.sort(key=lambda letter: letter.at_us)
        of_letters = []
        for letter in letters:
            of_letter = []
            for occurred_us, word, sent in _journey(random, letter, rare):
                received_us = occurred_us if sent else occurred_us + _delay_us(random)
                heard += 1
                of_letter.append(Heard(received_us, heard, occurred_us, letter, word, sent))
                to_come[(received_us - since_us) // DAY_US].append(of_letter[-1])
            of_letters.append((letter, of_letter))
        yield Day(begin_us, of_letters, sorted(to_come.pop(day, ())))


class _Rare:
    """What only a few letters of the year have."""

    def __init__(self, size: Size) -> None:
        letters = size.events / _EVENTS_OF_A_LETTER * 0.9
        self.statuses = {round(letters * (n + 0.5) / _RARE_STATUSES) for n in range(_RARE_STATUSES)}
        self.types = {round(letters * (n + 0.5) / _RARE_TYPES) for n in range(_RARE_TYPES)}


def _recipients(campaign: Campaign, day: int, given: list[int]) -> Iterator[int]:
    """Customers by their number, staff first."""
    letters = campaign.letters.get(day, 0)
    begun = given[campaign.number]
    given[campaign.number] = begun + letters
    if letters and (begun == 0 or (campaign.number < OFTEN and day % 30 == 0)):
        yield from range(STAFF)
    offset = campaign.number * 7919
    for number in range(begun, begun + letters):
        yield (offset + number) * _STRIDE % campaign.pool


_FATES = {
    "delivered": 0.892,
    "posted": 0.028,
    "returned": 0.02,
    "delivered, then returned": 0.01,
    "deferred": 0.007,
    "told in a strange word": 0.001,
    "silent": 0.02,
    "suppressed": 0.012,
    "failed": 0.008,
    "cancelled": 0.001,
    "lost": 0.001,
}
_REACHED = list(accumulate(_FATES.values()))
_WORDS = list(_FATES)


def _letter(
    random: Random, number: int, customer: int, campaign: Campaign, at_us: int, rare: _Rare
) -> Letter:
    mailing = f"{at_us:014x}{random.getrandbits(40):010x}" if campaign.ours else None
    variation = random.choice(campaign.variations) if campaign.variations else None
    (fate,) = random.choices(_WORDS, cum_weights=_REACHED)
    if number in rare.statuses or number in rare.types:
        fate = "delivered"
    return Letter(number, customer, campaign, at_us, mailing, variation, fate)


def _delay_us(random: Random) -> int:
    """Mostly a minute or two, now and then hours: then it comes in behind what happened later."""
    if random.random() < 0.98:
        return int((5 + random.expovariate(1 / 60)) * SECOND_US)
    return int(random.uniform(1, 30) * HOUR_US)


# How the service tells of it, and how a sender does.
_ENDS = {
    "failed": ("enqueue_failed", "failed"),
    "suppressed": ("suppressed", "preblocked"),
    "cancelled": ("cancelled", "cancelled"),
}


def _journey(random: Random, letter: Letter, rare: _Rare) -> Iterator[tuple[int, str, bool]]:
    """When, which word, and whether the service told it; in the order in which it happens."""
    campaign, fate, at_us = letter.campaign, letter.fate, letter.at_us
    if fate in _ENDS:
        yield at_us, _ENDS[fate][not campaign.ours], campaign.ours
    if fate in _ENDS or fate == "lost":
        return
    if campaign.ours:
        yield at_us, "enqueued", True
    if campaign.booked or not campaign.ours:
        at_us += int(random.uniform(1, 60) * _MINUTE_US)
        yield at_us, "booked" if campaign.booked else "queued", False
    if fate == "silent":
        return
    at_us += int(random.uniform(20, 50) * HOUR_US)
    if campaign.prints:
        yield at_us, "print", False
    at_us += int(random.uniform(6, 40) * HOUR_US)
    yield at_us, "posted", False
    if letter.number in rare.statuses:
        yield at_us + HOUR_US, RARE_STATUS, False
    if fate == "told in a strange word":
        yield at_us + 2 * HOUR_US, "scanned", False
    if fate == "deferred":
        yield at_us + DAY_US, "soft_bounced", False
    if fate == "posted":
        return
    if fate != "returned":
        at_us += int(random.uniform(20, 100) * HOUR_US)
        yield at_us, "delivered", False
    if fate in ("returned", "delivered, then returned"):
        yield at_us + int(random.uniform(4, 20) * DAY_US), "returned", False
    elif random.random() < 0.025:
        yield at_us + int(random.uniform(0.1, 30) * DAY_US), RESPONSE, False
    if letter.number in rare.types:
        yield at_us + 2 * DAY_US, RARE_TYPE, False
