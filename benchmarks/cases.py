"""The promises, each a case with the goal that it is judged by.

A case says which turns it needs and reads its figures from them.  Turns that are compared are
measured in the same heat: they take turns there (A B C A B C ...), and a ratio is taken within a
round, where both sides had the same machine; the median of the rounds is what counts.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

from benchmarks.load import Measurement
from benchmarks.traffic import Kind, Traffic


class Who(StrEnum):
    """The contestants; see ``contestants`` for what they are."""

    NOOP = "noop"
    NAIVE = "naive"
    NODE = "node"
    RAW = "raw"
    RECEIVER = "receiver"
    STORED = "receiver, full"


@dataclass(frozen=True)
class Turn:
    """One measurement: who is sent what.

    Attributes:
        traffic: None where only the start is measured.
        database: the only one on which it makes sense, None: both.
    """

    who: Who
    traffic: Traffic | None
    database: str | None = None

    def __str__(self) -> str:
        if self.traffic is None:
            return f"{self.who}: start"
        what = (
            f"{self.traffic.kind} events" if self.traffic.batch == 1 else f"batches of {self.traffic.batch}"
        )
        return f"{self.who}: {what}, {self.traffic.connections} conn."


@dataclass(frozen=True)
class Figure:
    """One figure beside its goal.

    Attributes:
        value: None where something that it needs could not be measured.
        goal: None where the figure is for comparison only.
        at_least: whether *goal* is a floor; else it is a ceiling.
    """

    what: str
    value: float | None
    goal: float | None
    at_least: bool
    unit: str = "x"

    @property
    def met(self) -> bool | None:
        if self.value is None or self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal


class Rounds:
    """What was measured on one database in one heat, by turn, in the order of the rounds.

    Attributes:
        seconds: how long each turn was.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.of: dict[Turn, list[Measurement]] = {}

    def median(self, turn: Turn, read: Callable[[Measurement], float]) -> float | None:
        measured = self.of.get(turn)
        return median(map(read, measured)) if measured else None

    def ratio(
        self, one: Turn, other: Turn, *, read: Callable[[Measurement], float] = lambda each: each.rate
    ) -> float | None:
        """The median over the rounds of *one* divided by *other*."""
        return self.compare(one, read, other, read)

    def compare(
        self,
        one: Turn,
        read_one: Callable[[Measurement], float],
        other: Turn,
        read_other: Callable[[Measurement], float],
    ) -> float | None:
        pairs = list(zip(self.of.get(one, ()), self.of.get(other, ()), strict=False))
        if not pairs or not all(read_other(right) for _, right in pairs):
            return None
        return median(read_one(left) / read_other(right) for left, right in pairs)


def p50(measured: Measurement) -> float:
    return measured.p50_ms


def p99(measured: Measurement) -> float:
    return measured.p99_ms


@dataclass(frozen=True)
class Case:
    """A promise.

    Attributes:
        promise: the docstring of its function.
        heat: cases of one heat share their turns.
        judge: (rounds, database) -> figures.
    """

    name: str
    promise: str
    heat: str
    turns: tuple[Turn, ...]
    judge: Callable[[Rounds, str], Iterable[Figure]]


CASES: dict[str, Case] = {}

_SINGLE = Traffic(Kind.NEW, batch=1, connections=64)
_ALONE = Traffic(Kind.NEW, batch=1, connections=1)
_BATCH = Traffic(Kind.NEW, batch=50, connections=16)

NOOP = Turn(Who.NOOP, _SINGLE)
NAIVE = Turn(Who.NAIVE, _SINGLE)
NODE = Turn(Who.NODE, _SINGLE)
SINGLE = Turn(Who.RECEIVER, _SINGLE)
BAD = Turn(Who.RECEIVER, Traffic(Kind.BAD, batch=1, connections=64))
REPEATED = Turn(Who.RECEIVER, Traffic(Kind.REPEATED, batch=1, connections=64))
NAIVE_BATCH = Turn(Who.NAIVE, _BATCH)
NODE_BATCH = Turn(Who.NODE, _BATCH)
RAW_SINGLE = Turn(Who.RAW, _SINGLE, database="postgresql")
RAW_BATCH = Turn(Who.RAW, _BATCH)
BATCH = Turn(Who.RECEIVER, _BATCH)
NOOP_ALONE = Turn(Who.NOOP, _ALONE)
ALONE = Turn(Who.RECEIVER, _ALONE)
STORED = Turn(Who.STORED, _SINGLE)
START = Turn(Who.RECEIVER, None)


def _case(*turns: Turn, heat: str) -> Callable[[Callable[[Rounds, str], Iterable[Figure]]], Case]:
    def register(judge: Callable[[Rounds, str], Iterable[Figure]]) -> Case:
        case = Case(judge.__name__, " ".join((judge.__doc__ or "").split()), heat, turns, judge)
        CASES[case.name] = case
        return case

    return register


@_case(NOOP, NAIVE, NODE, SINGLE, heat="64 connections")
def single(rounds: Rounds, database: str) -> Iterable[Figure]:
    """Single events from 64 connections are stored at half the speed of an answer that does nothing,
    and many times faster than with a transaction for each."""
    sqlite = database == "sqlite"
    yield Figure("speed / noop", rounds.ratio(SINGLE, NOOP), 0.5, at_least=True)
    yield Figure("speed / naive", rounds.ratio(SINGLE, NAIVE), 20 if sqlite else 18, at_least=True)
    yield Figure("speed / node", rounds.ratio(SINGLE, NODE), 4 if sqlite else 2.5, at_least=True)
    if sqlite:
        yield Figure("p99 / p50 of noop", rounds.compare(SINGLE, p99, NOOP, p50), 8, at_least=False)


@_case(SINGLE, BAD, heat="64 connections")
def bad(rounds: Rounds, database: str) -> Iterable[Figure]:
    """Nothing but bad commands, each kept as a rejection, is hardly slower than good ones."""
    yield Figure("speed / good ones", rounds.ratio(BAD, SINGLE), 0.8, at_least=True)


@_case(SINGLE, REPEATED, heat="64 connections")
def repeated(rounds: Rounds, database: str) -> Iterable[Figure]:
    """Every command a repeat of one that was stored is no slower than new ones."""
    yield Figure("speed / new ones", rounds.ratio(REPEATED, SINGLE), 1.0, at_least=True)


@_case(NAIVE_BATCH, NODE_BATCH, RAW_SINGLE, RAW_BATCH, BATCH, heat="batches")
def batch(rounds: Rounds, database: str) -> Iterable[Figure]:
    """Batches of 50 events from 16 connections are stored at half the speed of the bare database."""
    yield Figure("events / naive", rounds.ratio(BATCH, NAIVE_BATCH), 20, at_least=True)
    yield Figure("events / node", rounds.ratio(BATCH, NODE_BATCH), 2.5, at_least=True)
    if database == "sqlite":
        yield Figure("events / raw rows", rounds.ratio(BATCH, RAW_BATCH), 0.5, at_least=True)
    else:
        yield Figure("events / raw rows", rounds.ratio(BATCH, RAW_SINGLE), 0.5, at_least=True)
        # Made in the server by one statement, so nothing that has to be sent to it can reach this.
        in_fifties = rounds.ratio(BATCH, RAW_BATCH)
        yield Figure("events / raw rows, 50 an insert", in_fifties, None, at_least=True)


@_case(NOOP_ALONE, ALONE, heat="one connection")
def latency(rounds: Rounds, database: str) -> Iterable[Figure]:
    """One sender that waits for each answer waits little longer than for an answer that does nothing."""
    goal = 4 if database == "sqlite" else 7
    yield Figure("p50 / p50 of noop", rounds.ratio(ALONE, NOOP_ALONE, read=p50), goal, at_least=False)


@_case(SINGLE, heat="64 connections")
def memory(rounds: Rounds, database: str) -> Iterable[Figure]:
    """Memory at saturation is bounded, from an empty database on, and does not grow with time."""
    yield _peak_memory(rounds, SINGLE, 130)
    measured = rounds.of.get(SINGLE, [])
    if rounds.seconds * len(measured) >= 600:
        growth = measured[-1].rss_mb / measured[0].rss_mb
        yield Figure("after the last round / after the first", growth, 1.1, at_least=False)


@_case(START, heat="start")
def start(rounds: Rounds, database: str) -> Iterable[Figure]:
    """On a migrated database the service is ready soon after its start."""
    yield Figure(
        "start to ready", rounds.median(START, lambda each: each.p50_ms / 1000), 1.5, at_least=False, unit="s"
    )


@_case(SINGLE, STORED, heat="stored")
def stored(rounds: Rounds, database: str) -> Iterable[Figure]:
    """Millions of events in the database cost little speed and a bounded amount of memory."""
    goal = 0.6 if database == "sqlite" else 0.8
    yield Figure("speed / speed when empty", rounds.ratio(STORED, SINGLE), goal, at_least=True)
    yield _peak_memory(rounds, STORED, 260)


def _peak_memory(rounds: Rounds, turn: Turn, goal_mb: float) -> Figure:
    peak_mb = max((each.peak_rss_mb for each in rounds.of.get(turn, ())), default=None)
    return Figure("peak resident memory", peak_mb, goal_mb, at_least=False, unit="MB")
