"""Very many events for the relay, and what must come of them on the far side and in the relay's table."""

import json
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, NamedTuple

import httpx2

from tests.system.conftest import Installation
from tests.system.sending import asked
from tests.system.service import (
    PATIENCE_SECONDS,
    PRIVATE,
    Client,
    Service,
    succeed,
)
from tests.system.simulated_bloomreach import Bloomreach
from tests.waiting import wait_until

REFUSED_WORDS = "Custom property is not allowed here (made up)"
REFUSED_ALONE = "refused-alone"
REFUSED_WHOLE = "refused-whole"
"""Values of the property ``note`` that Bloomreach does not want; the second one spoils its whole batch."""


# -- what is sent ---------------------------------------------------------------------------------

LIST = 1000
"""Events in a flat list; each is followed by one update of a customer."""

_CUSTOMERS = 400
_FIRST_S = 1_760_000_000


class Traffic:
    """Lists of events as Optilyz sends them, on several connections, each about customers of its own.

    A list is numbered from 0, and so are its events and the update after them; what is in which is known
    beforehand.  An event of each list is refused by a Bloomreach that `spoil` was told to, and one of every
    tenth list spoils its batch there.
    """

    def __init__(self, installation: Installation, *, connections: int = 4) -> None:
        self._project = installation.project
        self._connections = connections
        self.lists: list[int] = []

    def event(self, number: int, part: int) -> dict[str, Any]:
        """Event number *part* of a list, as a command of the Tracking API."""
        return {
            "customer_ids": self._ids(number, part),
            "event_type": "campaign",
            "timestamp": float(_FIRST_S + number * LIST + part),
            "properties": {
                "status": ("posted", "delivered", "returned")[part % 3],
                "campaign_id": "winback",
                "place": f"{number}/{part}",
                "note": self._note(number, part),
            },
        }

    def update(self, number: int) -> dict[str, Any]:
        """The update after a list."""
        return {
            "customer_ids": self._ids(number, number % LIST),
            "update_timestamp": float(_FIRST_S + number * LIST + LIST),
            "properties": {"place": f"{number}/{LIST}", "city": f"{PRIVATE} Köln"},
        }

    def _ids(self, number: int, part: int) -> dict[str, str]:
        """Each connection shares its customers among its lists."""
        customer = f"{PRIVATE}-{number % self._connections}-{part % _CUSTOMERS}"
        return {"registered": customer, "cookie": f"k-{customer}"} if part % 2 else {"registered": customer}

    def _note(self, number: int, part: int) -> str:
        if part == 17:
            return REFUSED_ALONE
        return REFUSED_WHOLE if part == 523 and number % 10 == 3 else f"{PRIVATE} Straße {part}"

    @property
    def refused(self) -> dict[str, tuple[str, str]]:
        """Which events Bloomreach does not want -> why, and in which words."""
        found = {f"{number}/17": ("refused", REFUSED_WORDS) for number in self.lists}
        return found | {
            f"{number}/523": ("unreadable", "Invalid JSON") for number in self.lists if number % 10 == 3
        }

    def send(self, service: Service, lists: Sequence[int]) -> None:
        """Send these until all are acknowledged."""
        with self.sending(service, lists):
            pass

    @contextmanager
    def sending(self, service: Service, lists: Sequence[int]) -> Iterator[None]:
        """At its end all are acknowledged, whatever became of the service meanwhile."""
        self.lists += lists
        complaints: list[str] = []
        ending = threading.Event()
        threads = [
            threading.Thread(
                target=self._send,
                args=(
                    service,
                    [each for each in lists if each % self._connections == line],
                    complaints,
                    ending,
                ),
            )
            for line in range(self._connections)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        except BaseException:
            ending.set()
            raise
        finally:
            for thread in threads:
                thread.join()
        assert not complaints, complaints[:5]

    def _send(
        self, service: Service, lists: Sequence[int], complaints: list[str], ending: threading.Event
    ) -> None:
        with Client(service, self._project) as client:
            for number in lists:
                body = json.dumps([_flat(self.event(number, part)) for part in range(LIST)]).encode()
                for route, sent in ((None, body), ("customers", self.update(number))):
                    if not _insist(client, route, sent, ending):
                        complaints.append(f"list {number} never got through")
                        return


def _flat(event: Mapping[str, Any]) -> dict[str, Any]:
    """As Optilyz sends it."""
    return {
        **event["properties"],
        **{name: event[name] for name in ("customer_ids", "event_type", "timestamp")},
    }


def _insist(client: Client, route: str | None, body: object, ending: threading.Event) -> bool:
    """Send *body* until it is acknowledged; False where that never happens."""
    for _ in range(PATIENCE_SECONDS * 10):
        try:
            answer = client.flat(body) if route is None else client.track(route, body)
        except httpx2.TransportError:
            pass
        else:
            if answer.status_code == 200:
                # Each command, not only the request.
                return b"false" not in answer.content
            if answer.status_code != 503:
                return False
        if ending.wait(0.1):
            return False
    return False


# -- what must come of it -------------------------------------------------------------------------


class Table(NamedTuple):
    """What the relay says of its table: how many commands were ever given to it, and where they are now."""

    given: int
    sent: int = 0
    waiting: int = 0
    set_aside: int = 0


def table(database_url: str) -> Table:
    """By what was counted, which must be what is there."""
    said = json.loads(succeed("relay", "status", "--check", "--json", database_url=database_url))
    assert said["differences"] == []
    total = said["total"]
    assert (total["withdrawn"], total["discarded"]) == (0, 0)
    return Table(total["given"], total["sent"]["total"], total["waiting"], total["set_aside"])


def wait_until_nothing_waits(database_url: str) -> None:
    """Everything is relayed, or set aside."""
    waiting = "SELECT id FROM outbox WHERE set_aside_us IS NULL ORDER BY id LIMIT 1"
    wait_until(lambda: not asked(database_url, waiting), "nothing waits any more", seconds=120)


def set_aside(database_url: str) -> dict[str, tuple[str, str]]:
    """Which events -> why, and the vendor's words."""
    rows = asked(
        database_url,
        "SELECT e.properties, o.reason, o.message FROM outbox AS o JOIN events AS e ON e.id = o.id"
        " WHERE o.set_aside_us IS NOT NULL",
    )
    return {json.loads(properties)["place"]: (reason, message) for properties, reason, message in rows}


class Arrived:
    """What Bloomreach has.

    Attributes:
        repeats: how many events came more than once, each recognisable as a repeat.
    """

    def __init__(self, far_side: Bloomreach) -> None:
        self.repeats = 0
        self._first: dict[str, dict[str, Any]] = {}
        for record in far_side.events():
            first = self._first.setdefault(record["properties"]["place"], record)
            if first is record:
                assert record["repeat_of"] is None, "two events cannot be told apart"
            else:
                assert record["repeat_of"] == first["number"], "a repeat looks like an event of its own"
                self.repeats += 1
        self._updates = far_side.updates()

    def assert_complete(self, traffic: Traffic, database_url: str, *, refused: Collection[str]) -> None:
        """Each event of *traffic* but those *refused* is there as it was sent, under its own number, and
        nothing else; and so is each update."""
        wanted = {f"{number}/{part}": (number, part) for number in traffic.lists for part in range(LIST)}
        for place in refused:
            del wanted[place]
        assert self._first.keys() == wanted.keys()
        numbers = {
            json.loads(properties)["place"]: event_id for event_id, properties in _events(database_url)
        }
        for place, (number, part) in wanted.items():
            found = {name: self._first[place][name] for name in ("customer_ids", "event_type", "timestamp")}
            sent = traffic.event(number, part)
            properties = sent["properties"] | {"receiver_event_id": str(numbers[place])}
            assert found | {"properties": self._first[place]["properties"]} == sent | {
                "properties": properties
            }
        # A repeated update does no harm, as it has its time.
        updates = {each["properties"]["place"]: each for each in self._updates}
        for number in traffic.lists:
            assert updates.pop(f"{number}/{LIST}") | {"number": None} == traffic.update(number) | {
                "number": None
            }
        assert updates == {}

    def assert_in_order(self) -> None:
        """What came first of each customer came in the order in which it was sent."""
        first_updates = {each["properties"]["place"]: each for each in reversed(self._updates)}
        everything = sorted(
            (*self._first.values(), *first_updates.values()),
            key=lambda each: (each["customer_ids"]["registered"], each["number"]),
        )
        for customer, records in groupby(everything, lambda each: each["customer_ids"]["registered"]):
            places = [tuple(map(int, each["properties"]["place"].split("/"))) for each in records]
            assert places == sorted(places), customer


def _events(database_url: str) -> list[tuple[int, str]]:
    return [(event, text) for event, text in asked(database_url, "SELECT id, properties FROM events")]
