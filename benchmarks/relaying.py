"""``python -m benchmarks.relaying``: how fast events leave for Bloomreach, and what that costs the receiving.

The promises: at least 0.8 of what the vendor lets in, which is 6,000 requests a minute of 50 events each; and
nine tenths of the speed at which events are received without it.  The far side is `receiver simulate
bloomreach`, which keeps that limit.  Who is measured has the server's core for itself; the far side, the load
generator and this program have the others, PostgreSQL all.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import httpx2

from benchmarks.cases import p50, p99
from benchmarks.contestants import PROGRAMS, Place, Server, prepared
from benchmarks.databases import DATABASES, Databases, analyze
from benchmarks.load import Measurement
from benchmarks.processes import OTHER_CORES, LoadGenerator, Process, Stolen, Unavailable
from benchmarks.questions import publish
from benchmarks.report import commit, machine
from benchmarks.traffic import Kind, Traffic, bodies

_PER_MINUTE = 6000
_LIMIT = _PER_MINUTE / 60 * 50
_LEAST_OF_LIMIT = 0.8
_LEAST_OF_OFF = 0.9

_TRAFFIC = {
    "batches of 50, 16 conn.": Traffic(Kind.NEW, batch=50, connections=16),
    "single events, 64 conn.": Traffic(Kind.NEW, batch=1, connections=64),
}
_OFF, _GIVEN, _RELAYED = "off", "given to the outbox", "relayed as well"


def main() -> int:
    """Runs, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relaying", description=main.__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="events that are relayed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn of the receiving")
    parser.add_argument("--databases", type=lambda text: text.split(","), default=list(DATABASES))
    parser.add_argument("--only", choices=("relaying", "receiving"))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    databases = Databases(chosen.databases)
    os.sched_setaffinity(0, OTHER_CORES)
    load, stolen = os.getloadavg()[0], Stolen()
    lines: list[str] = []
    try:
        with closing(LoadGenerator()) as generator:
            places = [Place(databases, name, generator) for name in chosen.databases]
            if chosen.only != "receiving":
                lines += _relaying(places, chosen.rows, chosen.rounds)
            if chosen.only != "relaying":
                lines += _receiving(places, chosen.seconds, chosen.rounds)
    finally:
        databases.close()
    heads = [
        f"# Relaying to Bloomreach, {commit()}",
        "",
        f"{machine()}; load average {load:.1f} before the run. {chosen.rounds} rounds, medians; others"
        f" on the host took {stolen.share:.0%} of the busy time.",
    ]
    publish(heads + lines, chosen.output, "relaying")
    return 0


# -- the far side ---------------------------------------------------------------------------------


class _FarSide:
    """The simulated Bloomreach; *settings* are those of a service that relays to it."""

    def __init__(self, introduction: str) -> None:
        self.settings = dict(re.findall(r"^(RECEIVER_BLOOMREACH_\w+)=(\S+)$", introduction, re.MULTILINE))
        self.settings["RECEIVER_BLOOMREACH_PER_MINUTE"] = str(_PER_MINUTE)
        self._url = self.settings["RECEIVER_BLOOMREACH_BASE_URL"]
        self._client = httpx2.Client(trust_env=False)

    def state(self) -> Mapping[str, Any]:
        answer = self._client.get(f"{self._url}/simulator/state")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def close(self) -> None:
        self._client.close()


@contextmanager
def _far_side() -> Iterator[_FarSide]:
    command = [str(PROGRAMS / "receiver"), "simulate", "bloomreach", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            with closing(_FarSide("".join(islice(process.stdout, 5)))) as far_side:
                yield far_side
        finally:
            process.terminate()


# -- how fast events leave ------------------------------------------------------------------------


class _Left(NamedTuple):
    """One turn: events a second, the share of its core that the service used, and requests turned away."""

    rate: float
    busy: float
    turned_away: int


def _relaying(places: Sequence[Place], rows: int, rounds: int) -> Iterator[str]:
    found: dict[str, list[_Left]] = {place.database: [] for place in places}
    for number in range(rounds):
        for place in places:
            left = _left(place, rows)
            found[place.database].append(left)
            print(
                f"round {number + 1}, {place.database}: {left.rate:,.0f}/s, {left.busy:.0%} of a core",
                flush=True,
            )
    yield ""
    yield f"## {rows:,} events that wait"
    yield ""
    yield "| database | events a second | of the limit | goal | | core of the service | turned away |"
    yield "|---|---|---|---|---|---|---|"
    for database, turns in found.items():
        rate, busy = median(turn.rate for turn in turns), median(turn.busy for turn in turns)
        verdict = "met" if rate / _LIMIT >= _LEAST_OF_LIMIT else "MISSED"
        turned_away = max(turn.turned_away for turn in turns)
        yield (
            f"| {database} | {rate:,.0f} | {rate / _LIMIT:.2f} | {_LEAST_OF_LIMIT} | {verdict} | {busy:.0%}"
            f" | {turned_away} |"
        )


def _left(place: Place, rows: int) -> _Left:
    """Relay so many events, which are all there when the service starts."""
    with _far_side() as far_side:
        command = prepared(place, far_side.settings)
        _fill(command.database, rows)
        with closing(Process(command, place.databases.folder / "relaying.log")) as process:
            while not (first := far_side.state()["events"]):
                time.sleep(0.01)
            began, cpu_s = time.perf_counter(), process.cpu_s()
            while (state := far_side.state())["events"] < rows:
                if time.perf_counter() - began > rows / 100:
                    raise Unavailable(f"after a long time only {state['events']} events were relayed")
                time.sleep(0.05)
            seconds, cpu_s = time.perf_counter() - began, process.cpu_s() - cpu_s
    assert state["events"] == rows, "no event is relayed twice"
    assert state["breaches"] == 0
    return _Left((rows - first) / seconds, cpu_s / seconds, state["turned_away"])


def _fill(url: str, rows: int) -> None:
    """Let so many events be accepted, and wait."""
    from receiver.domain.commands import Form
    from receiver.inbound import ingest
    from receiver.inbound.deliveries import Delivery, Part, Policy
    from receiver.outbound.relay_thread import switch_on
    from receiver.settings import read_settings
    from receiver.store.engine import connect
    from receiver.store.sets import Ledger
    from receiver.store.writes import Source

    engine = connect(url)
    switch_on(engine)
    policy = Policy.of(read_settings(database_url=url))
    batches = bodies(Kind.NEW, batch=50, first=0, count=None, base_s=int(time.time()) - 86_400)
    with closing(Ledger(engine)) as ledger:
        for _ in range(0, rows, 1000):
            sent = [
                Delivery(1, Source.CALLBACK, Form.BATCH, body, (), time.time_ns() // 1000)
                for body in islice(batches, 20)
            ]
            ingest.keep(ledger, [Part(each, 0, list(ingest.read(each, policy))) for each in sent], policy)
    engine.dispose()
    analyze(url)


# -- what that costs the receiving ----------------------------------------------------------------


def _receiving(places: Sequence[Place], seconds: float, rounds: int) -> Iterator[str]:
    yield ""
    yield "## Receiving beside it"
    yield ""
    yield "Each turn is a service just started; what it relays was received before and in it."
    yield ""
    heads = "database", "traffic", "relay", "events a second", "of off", "goal", ""
    yield "| " + " | ".join((*heads, "p50 ms", "p99 ms", "CPU of ours an event")) + " |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for place in places:
        for name, traffic in _TRAFFIC.items():
            found = _turns(place, name, traffic, seconds, rounds)
            for how, measured in found.items():
                yield (
                    f"| {place.database} | {name} | {how} | "
                    + " | ".join(_cells(measured, found[_OFF], traffic))
                    + " |"
                )


def _turns(
    place: Place, name: str, traffic: Traffic, seconds: float, rounds: int
) -> dict[str, list[Measurement]]:
    """What each of the three showed, round by round, on a database of its own."""
    base_s = int(time.time()) - 86_400
    found: dict[str, list[Measurement]] = {_OFF: [], _GIVEN: [], _RELAYED: []}
    with _far_side() as far_side:
        only_given = {**far_side.settings, "RECEIVER_RELAY_IN_SERVICE": "false"}
        settings = {_OFF: {}, _GIVEN: only_given, _RELAYED: far_side.settings}
        commands = {how: prepared(place, each) for how, each in settings.items()}
        sent = dict.fromkeys(found, 0)
        for number in range(rounds):
            for how, command in commands.items():
                with closing(Server("relaying", command, place, first=sent[how])) as server:
                    server.warm_up(traffic, seconds=2, base_s=base_s)
                    measured = server.measure(traffic, seconds=seconds, base_s=base_s)
                    sent[how] = server.next
                if measured.wrong:
                    raise Unavailable(f"{measured.wrong} wrong answers, such as: {measured.complaint}")
                found[how].append(measured)
                print(
                    f"{place.database}, {name}, round {number + 1}, {how}: {measured.rate:,.0f}/s", flush=True
                )
    return found


def _cells(measured: list[Measurement], off: list[Measurement], traffic: Traffic) -> Iterator[str]:
    ratio = median(ours.rate / theirs.rate for ours, theirs in zip(measured, off, strict=True))
    yield f"{median(each.rate for each in measured):,.0f}"
    yield f"{ratio:.2f}"
    if measured is off:
        yield from ("", "")
    else:
        yield from (f"{_LEAST_OF_OFF}", "met" if ratio >= _LEAST_OF_OFF else "MISSED")
    yield f"{median(map(p50, measured)):.1f}"
    yield f"{median(map(p99, measured)):.1f}"
    yield f"{median(each.server_us / traffic.batch for each in measured):.0f} us"


if __name__ == "__main__":
    sys.exit(main())
