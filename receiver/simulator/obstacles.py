"""What may stand between a request and the simulated Tracking API: rights, the rate, and what goes wrong."""

import re
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from random import Random

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from receiver.simulator.connections import CutOff, Reset

CUT_BODY = b'{"success": true, "results": ['

# The bodies of 429 and 5xx are unknown: nobody may rely on what is in them.
FAILURES: Mapping[str, Callable[[int], Response]] = {
    "429": lambda _: PlainTextResponse("Too Many Requests", 429),
    "429-retry": lambda wait: PlainTextResponse("Too Many Requests", 429, {"retry-after": str(wait)}),
    "500": lambda _: PlainTextResponse("Internal Server Error", 500),
    "502": lambda _: HTMLResponse("<html><body><h1>502 Bad Gateway</h1></body></html>", 502),
    "503": lambda _: PlainTextResponse("Service Unavailable", 503),
    "503-retry": lambda wait: PlainTextResponse("Service Unavailable", 503, {"retry-after": str(wait)}),
    "garbage": lambda _: HTMLResponse("<html>Not what you expect"),
    "hang": lambda _: Response(),
    "cut": lambda _: CutOff(CUT_BODY),
    "reset": lambda _: Reset(),
}
"""The answer instead of the vendor's, by fault, for so many seconds to wait where it asks for that."""

KEEP = "keep-then-"
# What is kept and answered thus is what a careful sender repeats.
KEEPING = {KEEP + kind for kind in ("500", "502", "503", "429", "garbage", "hang", "cut", "reset")}
FAULTS = {*FAILURES, *KEEPING, "refuse-whole", "short", "shuffled"}
USUAL = sorted(FAULTS - {"hang", f"{KEEP}hang", "refuse-whole"})
"""What may go wrong again and again, and costs nobody a time-out or good events."""


@dataclass(slots=True)
class Access:
    """Who may do what; all of it can be changed while it runs.

    Attributes:
        secrets: any of them is good, as for a day after a rotation.
        revoked: nobody knows the key any more.
        events: the key may add events, except those whose type is in *denied_event_types*.
        customers: the key may set customer properties.
    """

    project_token: str
    key_id: str
    secrets: list[str]
    revoked: bool = False
    events: bool = True
    customers: bool = True
    denied_event_types: list[str] = field(default_factory=list)

    def refusal(self, project_token: str, authorization: str) -> tuple[int, str] | None:
        """Status and words for who may not even ask; the words are the vendor's."""
        if project_token != self.project_token:
            # A truncated one is wrong; one of other characters is malformed.
            wrong = re.fullmatch("[0-9a-fA-F-]{1,36}", project_token)
            return 400, "Could not authenticate" if wrong else "Invalid project id"
        user = _basic(authorization)
        if user is None:
            return 401, "Access key not provided"
        if self.revoked or user[0] != self.key_id:
            return 401, "access key not found"
        return None if user[1] in self.secrets else (403, "invalid secret")

    def may_add(self, event_type: object) -> bool:
        return self.events and event_type not in self.denied_event_types


def _basic(authorization: str) -> tuple[str, str] | None:
    scheme, _, given = authorization.partition(" ")
    try:
        user, colon, secret = b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, secret) if scheme.lower() == "basic" and user and colon else None


class Window:
    """How many there were in the last *seconds*, and the most that there ever were."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._moments: deque[float] = deque()
        self.most = 0

    def count(self, now: float) -> int:
        while self._moments and self._moments[0] <= now - self._seconds:
            self._moments.popleft()
        return len(self._moments)

    def add(self, now: float) -> None:
        self._moments.append(now)
        self.most = max(self.most, self.count(now))


class Rate:
    """Lets so many requests in from each address; those turned away do not count against it."""

    def __init__(self, per_minute: int, per_second: int | None) -> None:
        self._limits = {60: per_minute} if per_second is None else {60: per_minute, 1: per_second}
        self._admitted: dict[str, list[tuple[Window, int]]] = {}

    def admits(self, address: str, now: float) -> bool:
        if address not in self._admitted:
            self._admitted[address] = [(Window(seconds), most) for seconds, most in self._limits.items()]
        windows = self._admitted[address]
        if any(window.count(now) >= most for window, most in windows):
            return False
        for window, _ in windows:
            window.add(now)
        return True


@dataclass(slots=True)
class Troubles:
    """What goes wrong next.

    Attributes:
        faults: one for each of the next requests.
        chance: share of the other requests that are spoilt, each by one of *kinds*, at random from *seed*.
        poison: a command with such a property value is refused alone, with these words.
        poison_whole: a batch with such a property value anywhere is refused whole.
        outage: nothing is answered but 503.
        latency: seconds that an answer takes.
        retry_after: seconds that ``429-retry`` and ``503-retry`` ask to wait.
    """

    faults: list[str] = field(default_factory=list)
    chance: float = 0.0
    kinds: list[str] = field(default_factory=lambda: list(USUAL))
    seed: int = 0
    poison: dict[str, str] = field(default_factory=dict)
    poison_whole: list[str] = field(default_factory=list)
    outage: bool = False
    latency: float = 0.0
    retry_after: int = 1
    _random: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311  # the same faults again for the same seed

    def next(self) -> str:
        """The fault that strikes this request; empty for none."""
        if self.outage:
            return "outage"
        if self.faults:
            return self.faults.pop(0)
        if self.chance and self._random.random() < self.chance:
            return self._random.choice(self.kinds)
        return ""

    def change(self, wanted: Mapping[str, object]) -> str | None:
        """Take over what is wanted, or say what is wrong with it; new *faults* come after those that wait."""
        kinds = [*_texts(wanted.get("faults")), *_texts(wanted.get("kinds"))]
        if not FAULTS.issuperset(kinds) or wanted.get("kinds") == []:
            return f"faults and kinds are lists of {', '.join(sorted(FAULTS))}"
        waiting = self.faults
        if complaint := change(self, wanted):
            return complaint
        if "faults" in wanted:
            self.faults = waiting + self.faults
        if "seed" in wanted:
            self._random.seed(self.seed)
        return None


def change(settings: Access | Troubles, wanted: Mapping[str, object]) -> str | None:
    """Set the fields of *settings* that are *wanted*; a sentence, and nothing set, where one is wrong."""
    known = {each.name: getattr(settings, each.name) for each in fields(settings) if each.init}
    for name, value in wanted.items():
        if name not in known:
            return f"{name} is none of {', '.join(known)}"
        if not _is_alike(value, known[name]):
            return f"{name} is no {type(known[name]).__name__}"
    for name, value in wanted.items():
        setattr(settings, name, value)
    return None


def _is_alike(value: object, known: object) -> bool:
    if isinstance(known, float):
        return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
    texts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return type(value) is type(known) and all(isinstance(text, str) for text in texts)


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
