"""Senders at work while something breaks, and what they may expect of it.

A sender repeats what was not acknowledged, as the vendor advises, only sooner.  So when it ends well,
every event that it made must be stored, once.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from types import TracebackType
from typing import Any, Self

import httpx2

from tests.system.service import PATIENCE_SECONDS, Client, Project, Service, commands, event
from tests.waiting import wait_until

NO_ANSWER = 0
"""Stands among the statuses for a connection that could not be made, or broke."""


# Of all loads of a run, so that no two events are alike.
_numbers = count(1)


def one_customer_of_many(number: int) -> dict[str, Any]:
    return event(number, registered=f"c-{number % 300}", cookie=f"k-{number}")


class Load:
    """As a context: many connections send at the same time until its end, each its own events.

    Every third one sends batches of ten.  Every fifth request is sent again although it succeeded, as by
    a sender that has not heard the answer.  At the end of the block each sender brings what it is at to
    its end, unless `give_up` was called.

    Args:
        services: connections are spread over them.
        make: an event for a number, with that number as its property ``number``.

    Attributes:
        campaign: of its events, to find them by.
        sent: the numbers of all events that left at least once.
        acknowledged: those that were answered with success.
        statuses: how often there was which answer.
        complaints: what a sender must never meet: any answer but a success or a 503 that says when to
            come again, or none within the patience of a sender.
    """

    def __init__(
        self,
        project: Project,
        *services: Service,
        connections: int = 12,
        make: Callable[[int], Mapping[str, Any]] = one_customer_of_many,
    ) -> None:
        self.campaign = f"load-{next(_numbers)}"
        self.sent: set[int] = set()
        self.acknowledged: set[int] = set()
        self.statuses: Counter[int] = Counter()
        self.complaints: list[str] = []
        self._project = project
        self._make = make
        self._ending = threading.Event()
        self._giving_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(services[n % len(services)], 10 if n % 3 == 0 else 1))
            for n in range(connections)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if kind is not None:
            self._giving_up.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_SECONDS)
            if thread.is_alive():
                self.complaints.append("a sender never came to its end")
        if kind is None:
            assert not self.complaints, (self.complaints[:5], self.statuses)

    def give_up(self) -> None:
        """No sender repeats anything any more."""
        self._ending.set()
        self._giving_up.set()

    def go_on(self, acknowledged: int = 400) -> None:
        """Wait until so many more events are acknowledged."""
        goal = len(self.acknowledged) + acknowledged
        wait_until(
            lambda: self.complaints or len(self.acknowledged) >= goal, f"{acknowledged} more are acknowledged"
        )
        assert not self.complaints, self.complaints[:5]

    def meet(self, status: int, times: int) -> None:
        """Wait until so many more requests are answered with *status*."""
        goal = self.statuses[status] + times
        wait_until(
            lambda: self.complaints or self.statuses[status] >= goal, f"{times} more answers are {status}"
        )
        assert not self.complaints, self.complaints[:5]

    def _send(self, service: Service, size: int) -> None:
        with Client(service, self._project) as client:
            while not self._ending.is_set():
                numbers = [next(_numbers) for _ in range(size)]
                self.sent.update(numbers)
                times = 2 if numbers[0] % 5 == 0 else 1
                if not all(self._insist(client, numbers) for _ in range(times)):
                    return

    def _insist(self, client: Client, numbers: list[int]) -> bool:
        """Send events until they are acknowledged; False where nothing more can come of it."""
        events = [dict(self._make(number)) for number in numbers]
        for each in events:
            each["properties"] = each["properties"] | {"campaign_id": self.campaign}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                if len(events) == 1:
                    answer = client.track("customers/events", events[0])
                else:
                    answer = client.track("batch", commands(events))
            except httpx2.TimeoutException as error:
                self.complaints.append(f"no answer: {type(error).__name__}")
                return False
            except httpx2.TransportError:
                self.statuses[NO_ANSWER] += 1
            else:
                self.statuses[answer.status_code] += 1
                if answer.status_code == 200 and _all_done(answer.json()):
                    self.acknowledged.update(numbers)
                    return True
                if answer.status_code != 503 or not answer.headers.get("retry-after", "").isdigit():
                    self.complaints.append(f"{answer.status_code} {answer.headers} {answer.text}")
                    return False
            if self._giving_up.wait(0.05):
                return False
        self.complaints.append("a sender lost its patience")
        return False


def _all_done(document: Mapping[str, Any]) -> bool:
    return document["success"] is True and all(each["success"] for each in document.get("results", ()))


def assert_kept(load: Load, client: Client) -> None:
    """Every acknowledged event is there, none is there twice, and none that nobody sent."""
    found = Counter(each["properties"]["number"] for each in client.events(campaign=load.campaign))
    stored = set(found)
    assert not load.acknowledged - stored, "acknowledged and lost"
    assert not [number for number, times in found.items() if times > 1], "stored twice"
    assert not stored - load.sent, "nobody sent this"
