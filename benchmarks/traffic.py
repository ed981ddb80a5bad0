"""The callbacks that are sent: campaign events of 800,000 customers in 40 campaigns, made from an index.

The same index always gives the same event, and no two indices give the same one, so a range of
indices can be sent anew (all new) or once more (all repeats).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

CUSTOMERS = 800_000
CAMPAIGNS = 40
STATUSES = (b"print", b"posted", b"delivered", b"returned")

# Coprime to the number of customers (and to 2**32), so that multiplying by it visits each one once.
_STRIDE = 2_654_435_761

_EVENT = (
    b'{"customer_ids":{"registered":"%b","cookie":"%b"},'
    b'"event_type":"campaign","timestamp":%d.%02d,"properties":{"action_type":"direct mail",'
    b'"status":"%b","campaign_id":"%b","campaign_name":"Winback %02d",'
    b'"platform":"optilyz"}}'
)
_COMMAND = b'{"name":"customers/events","command_id":"opt-%d","data":%b}'


class Kind(StrEnum):
    """What is wrong with the events, if anything."""

    NEW = "new"
    REPEATED = "repeated"
    BAD = "bad"


@dataclass(frozen=True)
class Traffic:
    """What one turn sends.

    Attributes:
        batch: events in a request; 1 uses the route of single events.
        connections: each has one request in flight.
    """

    kind: Kind
    batch: int
    connections: int

    @property
    def status(self) -> int:
        """The HTTP status that answers it."""
        return 400 if self.kind is Kind.BAD and self.batch == 1 else 200


def customer(index: int) -> int:
    """Whose event it is: all customers take their turn before one comes back."""
    return index * _STRIDE % CUSTOMERS


def registered(customer: int) -> bytes:
    return b"c-%07d" % customer


def cookie(customer: int) -> bytes:
    return b"%08x-0c1a-4a53-9a0e-0b7d1f0f9d11" % _mixed(customer)


def campaign(number: int) -> bytes:
    return b"64b0c0ffee0000000000ab%02d" % number


def _mixed(customer: int) -> int:
    """A number of 32 bits, another one for each customer and in no order."""
    return customer * _STRIDE & 0xFFFFFFFF


def event(index: int, base_s: int, *, bad: bool = False) -> bytes:
    """The event as JSON.  A hundred of them happen in a second, reported up to a minute out of order.

    Args:
        base_s: UNIX time of the first one.
        bad: its ``registered`` is empty, which refuses it.
    """
    who = customer(index)
    mixed = _mixed(who)
    mailing = mixed % CAMPAIGNS
    return _EVENT % (
        b"" if bad else registered(who),
        cookie(who),
        base_s + index // 100 + mixed % 60,
        index % 100,
        STATUSES[(mixed >> 8) % 4],
        campaign(mailing),
        mailing,
    )


def bodies(kind: Kind, *, batch: int, first: int, count: int | None, base_s: int) -> Iterator[bytes]:
    """Request bodies without end, the events *first*, *first* + 1, ...

    Args:
        count: after so many events it starts over; None: never.
    """
    bad = kind is Kind.BAD
    number = 0
    while True:
        numbers = range(number, number + batch)
        events = [
            event(first + (each if count is None else each % count), base_s, bad=bad) for each in numbers
        ]
        number += batch
        if batch == 1:
            yield events[0]
        else:
            commands = b",".join([_COMMAND % (at, each) for at, each in enumerate(events)])
            yield b'{"commands":[%b]}' % commands
