"""The routes of the simulated Tracking API: what they answer to whom is let in, and count on the way."""

import time
from collections import Counter
from collections.abc import Mapping
from random import SystemRandom
from typing import Any
from uuid import uuid4

import orjson
from starlette.responses import Response

from receiver.simulator.obstacles import Access, Troubles
from receiver.simulator.tracked import Tracked, empty_ids, event_of, update_of

MOST_COMMANDS = 50

_NO_EVENT_RIGHT = "Not authorized to add event of specified type"
_NO_PROPERTY_RIGHT = "not authorized to update specified customer properties"

_RANDOM = SystemRandom()


class Tracking:
    """What the vendor's routes do with a body.

    Attributes:
        tracked: everything that was accepted.
        counts: ``commands`` that were looked at, of which each was ``accepted`` or ``refused``, and requests
            that were ``refused_whole``.
        refusals: how often which words were said of a command.
        breaches: what a careful sender never does, by what it is.
        sizes: requests by their number of commands.
    """

    def __init__(self, ids: tuple[str, ...], access: Access, troubles: Troubles, *, classic: bool) -> None:
        self._ids = ids
        self._access = access
        self._troubles = troubles
        self._classic = classic
        self.tracked = Tracked(ids)
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.breaches: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()

    def batch(self, body: bytes, fault: str) -> Response:
        document = parsed(body)
        commands = document.get("commands") if isinstance(document, dict) else document
        if isinstance(document, dict) and (commands is None or commands == []):
            return self._refused_whole("No commands")
        if not isinstance(document, dict) or not isinstance(commands, list) or fault == "refuse-whole":
            return self._refused_whole("Invalid JSON")
        self.sizes[len(commands)] += 1
        if len(commands) > MOST_COMMANDS:
            self.breaches["too_many_commands"] += 1
            # The vendor's words for this are unknown.
            return self._refused_whole(f"More than {MOST_COMMANDS} commands")
        if not all(isinstance(each, dict) for each in commands) or self._has_poison(commands):
            return self._refused_whole("Invalid JSON")
        start = time.time()
        results = [self._result(each) for each in commands]
        if fault == "short":
            results.pop(len(results) // 2)
        elif fault == "shuffled":
            _RANDOM.shuffle(results)
        return answer({"success": True, "results": results, "start_time": start, "end_time": time.time()})

    def event(self, body: bytes, fault: str) -> Response:
        return self._single("customers/events", body, fault)

    def update(self, body: bytes, fault: str) -> Response:
        return self._single("customers", body, fault)

    def _single(self, name: str, body: bytes, fault: str) -> Response:
        document = parsed(body)
        if not isinstance(document, dict) or fault == "refuse-whole":
            return self._refused_whole("Invalid JSON")
        self.sizes[1] += 1
        if words := self._complaint(name, document):
            status = 200 if self._classic else 400
            return answer({"success": False, "errors": [words]}, status)
        return answer({"success": True, "errors": []})

    def time(self, _body: bytes, _fault: str) -> Response:
        return answer({"success": True, "errors": [], "time": time.time()})

    def _refused_whole(self, message: str) -> Response:
        self.counts["refused_whole"] += 1
        return answer({"success": False, "message": message}, 400)

    def _has_poison(self, commands: list[dict[str, Any]]) -> bool:
        poison = self._troubles.poison_whole
        return bool(poison) and any(
            value in poison for each in commands for value in _property_values(each.get("data"))
        )

    def _result(self, command: dict[str, Any]) -> dict[str, object]:
        words = self._complaint(command.get("name"), command.get("data"))
        result: dict[str, object] = {"success": False, "errors": [words]} if words else {"success": True}
        if command.get("name") == "system/time":
            result["time"] = time.time()
        if command.get("command_id") is not None:
            result["command_id"] = command["command_id"]
        return result

    def _complaint(self, name: object, data: object) -> str | None:
        """Keep what a command brings, or say why it is refused."""
        self.counts["commands"] += 1
        self.breaches["empty_id"] += empty_ids(data)
        words = self._poisoned(data) or self._kept(name, data)
        self.counts["refused" if words else "accepted"] += 1
        if words:
            self.refusals[words] += 1
        return words

    def _kept(self, name: object, data: object) -> str | None:
        if name == "system/time":
            return None
        if name == "customers/events":
            event = event_of(data, self._ids)
            if isinstance(event, str):
                return event
            return (
                self.tracked.add_event(event) if self._access.may_add(event.event_type) else _NO_EVENT_RIGHT
            )
        if name == "customers":
            update = update_of(data, self._ids)
            if isinstance(update, str):
                return update
            return self.tracked.add_update(update) if self._access.customers else _NO_PROPERTY_RIGHT
        return "Unknown command"

    def _poisoned(self, data: object) -> str | None:
        poison = self._troubles.poison
        found = (poison[value] for value in _property_values(data) if value in poison) if poison else ()
        return next(iter(found), None)


def answer(document: Mapping[str, object], status: int = 200) -> Response:
    """In JSON, with the headers of the vendor."""
    return Response(
        orjson.dumps(document), status, {"x-request-id": str(uuid4())}, media_type="application/json"
    )


def parsed(body: bytes) -> object:
    """The JSON in *body*; None where it is none."""
    try:
        return orjson.loads(body)
    except ValueError:
        return None


def _property_values(data: object) -> list[str]:
    """Those that are text."""
    properties = data.get("properties") if isinstance(data, dict) else None
    values = properties.values() if isinstance(properties, dict) else ()
    return [value for value in values if isinstance(value, str)]
