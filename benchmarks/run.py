"""The turns: contestants on fresh databases, heat by heat and round by round."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from benchmarks import contestants
from benchmarks.cases import Case, Figure, Rounds, Turn, Who
from benchmarks.contestants import Contestant, Place, Server
from benchmarks.databases import Databases
from benchmarks.load import Measurement
from benchmarks.processes import LoadGenerator, Stolen, Unavailable


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        seconds: of each turn; half of it where there is only one connection.
        stored: events in the database of the full service.
    """

    cases: tuple[Case, ...]
    databases: tuple[str, ...]
    rounds: int
    seconds: float
    stored: int


@dataclass
class Results:
    """What a run showed.

    Attributes:
        judged: (case, database, figure).
        measured: (database, heat) -> rounds.
        stolen: (database, heat) -> share of the busy time that other machines on the host took.
        absent: who could not take part, and why.
        failed: turns that went wrong, and how.
        kept: whether the databases have what was acknowledged.
    """

    judged: list[tuple[Case, str, Figure]] = field(default_factory=list)
    measured: dict[tuple[str, str], Rounds] = field(default_factory=dict)
    stolen: dict[tuple[str, str], float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def run(options: Options, databases: Databases) -> Results:
    """Runs every heat that the cases need, on each database, and judges the cases."""
    results = Results()
    generator = LoadGenerator()
    try:
        for database in options.databases:
            heats = list(dict.fromkeys(case.heat for case in options.cases))
            # What was stored in other heats must not be there when empty is compared with full.
            for together in ([heat for heat in heats if heat != "stored"], ["stored"] * ("stored" in heats)):
                if together:
                    with _Ring(options, Place(databases, database, generator), results) as ring:
                        for heat in together:
                            ring.run(heat)
                        ring.check()
    finally:
        generator.close()
    return results


class _Ring:
    """The contestants on one database; each is started when first needed and stopped at the end."""

    def __init__(self, options: Options, place: Place, results: Results) -> None:
        self._options = options
        self._place = place
        self._results = results
        self._ready: dict[Who, Contestant | None] = {}
        self._running = ExitStack()
        # A day ago, so that no event lies in the future, however many are sent.
        self._base_s = int(time.time()) - 86_400

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def run(self, heat: str) -> None:
        """Lets the contestants of the heat take turns, and judges its cases."""
        database = self._place.database
        print(f"\n{database}, {heat}", flush=True)
        cases = [case for case in self._options.cases if case.heat == heat]
        turns = dict.fromkeys(turn for case in cases for turn in case.turns)
        running = [turn for turn in turns if turn.database in (None, database) and self._contestant(turn.who)]
        self._warm_up(running)
        rounds = self._results.measured[database, heat] = Rounds(self._options.seconds)
        stolen = Stolen()
        for number in range(self._options.rounds):
            for turn in list(running):
                if measurement := self._measure(turn):
                    print(f"  round {number + 1}  {turn!s:<40} {describe(measurement)}", flush=True)
                    rounds.of.setdefault(turn, []).append(measurement)
                else:
                    running.remove(turn)
                    rounds.of.pop(turn, None)
        self._results.stolen[database, heat] = stolen.share
        print(f"  {stolen.share:.0%} of the busy time was stolen by other machines", flush=True)
        for case in cases:
            self._results.judged += [(case, database, figure) for figure in case.judge(rounds, database)]

    def _contestant(self, who: Who) -> Contestant | None:
        if who not in self._ready:
            try:
                contestant = self._started(who)
            except Unavailable as reason:
                self._ready[who] = None
                self._results.absent[f"{who} on {self._place.database}"] = str(reason)
                print(f"  {who} cannot take part: {reason}", flush=True)
            else:
                self._ready[who] = contestant
                self._running.callback(contestant.close)
        return self._ready[who]

    def _started(self, who: Who) -> Contestant:
        start: dict[Who, Callable[[Place], Contestant]] = {
            Who.NOOP: contestants.noop,
            Who.NAIVE: contestants.naive,
            Who.NODE: contestants.node,
            Who.RAW: contestants.Raw,
            Who.RECEIVER: contestants.receiver,
            Who.STORED: partial(contestants.full_receiver, events=self._options.stored, until_s=self._base_s),
        }
        return start[who](self._place)

    def _warm_up(self, turns: list[Turn]) -> None:
        """Once for each contestant, with the first new traffic of its turns."""
        first = {turn.who: turn.traffic for turn in reversed(turns) if turn.traffic}
        for who, traffic in first.items():
            if contestant := self._contestant(who):
                contestant.warm_up(traffic, seconds=min(2, self._options.seconds), base_s=self._base_s)

    def check(self) -> None:
        """What was acknowledged must be there, once."""
        for who, contestant in self._ready.items():
            if contestant is not None and (kept := contestant.kept()):
                acknowledged, there = kept
                where = f"{self._place.database}, {who}"
                line = f"{where}: {acknowledged:,} new events acknowledged, {there:,} there"
                (self._results.kept if acknowledged == there else self._results.failed).append(line)

    def _measure(self, turn: Turn) -> Measurement | None:
        """None, and a line among the failures, if anything was not answered as it should."""
        contestant = self._contestant(turn.who)
        assert contestant is not None
        try:
            if turn.traffic is None:
                assert isinstance(contestant, Server)
                return contestant.start_again()
            seconds = self._options.seconds / 2 if turn.traffic.connections == 1 else self._options.seconds
            measurement = contestant.measure(turn.traffic, seconds=seconds, base_s=self._base_s)
        except Unavailable as reason:
            self._fail(turn, str(reason))
            return None
        if measurement.wrong:
            self._fail(turn, f"{measurement.wrong} wrong answers, such as: {measurement.complaint}")
            return None
        return measurement

    def _fail(self, turn: Turn, how: str) -> None:
        line = f"{self._place.database}, {turn}: {how}"
        print(f"  FAILED: {line}", flush=True)
        self._results.failed.append(line)


def describe(measured: Measurement) -> str:
    """One line."""
    if not measured.rate:
        return f"{measured.p50_ms:>8,.0f} ms until ready, {measured.rss_mb:.0f} MB"
    if not measured.sent:
        return f"{measured.rate:>8,.0f} rows/s"
    return (
        f"{measured.rate:>8,.0f}/s  p50 {measured.p50_ms:.2f} ms  p99 {measured.p99_ms:.2f} ms  "
        f"{measured.server_us:,.0f} µs of server CPU a request  {measured.rss_mb:.0f} MB"
    )
