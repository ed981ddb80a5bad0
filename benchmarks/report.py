"""The table: promises, goals, speeds, and under which conditions."""

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.cases import Figure, Turn
from benchmarks.load import Measurement
from benchmarks.processes import CORES, ROOT, SERVER_CORE
from benchmarks.run import Options, Results

_PACKAGES = (
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "sqlalchemy",
    "psycopg",
    "asyncpg",
    "aiosqlite",
    "fastapi",
)

_NOT_SHOWN = (
    "These are ratios on one machine where the server, the load generator and PostgreSQL share few cores, "
    "with a closed loop of clients on the same machine, traffic of one shape (nearly every event brings a "
    "customer who is new, none merges) and a disk of one kind. The peers do not authenticate and keep no "
    "rejections; the service does. The figures do not show the network, TLS, many "
    "projects, bursts beyond saturation, nor how speeds compare with those of another machine or day."
)


@dataclass(frozen=True)
class Conditions:
    """Under which the figures came about."""

    day: str
    commit: str
    machine: str
    versions: dict[str, str]
    databases: dict[str, dict[str, str]]
    run: str


def conditions(options: Options, settings: Mapping[str, dict[str, str]], *, quick: bool) -> Conditions:
    """Looks around."""
    node = _output("node", "--version")
    return Conditions(
        day=today(),
        commit=commit(),
        machine=f"{machine()}; server on core {SERVER_CORE}, load on the other {len(CORES) - 1}, "
        f"PostgreSQL on any; load average {os.getloadavg()[0]:.1f} before the run",
        versions={
            "python": platform.python_version(),
            **({"node": node} if node else {}),
            **{name: version(name) for name in _PACKAGES},
        },
        databases={name: settings[name] for name in options.databases},
        run=f"{options.rounds} rounds of {options.seconds:g} s a turn"
        + (", quick: hints only" if quick else ""),
    )


def today() -> str:
    return date.today().isoformat()  # noqa: DTZ011  # the day on the wall of who reads it


def machine() -> str:
    """Processor, cores, memory and system."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gb()} GB, {platform.system()} {platform.release()}"
    )


def commit() -> str:
    """Short hash, with ``-changed`` where the tree differs from it."""
    head = _output("git", "rev-parse", "--short", "HEAD")
    if not head:
        return "uncommitted"
    return head + ("-changed" if _output("git", "status", "--porcelain") else "")


def _output(*command: str) -> str:
    """What it printed; empty where it is not installed or failed."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def _memory_gb() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)


def markdown(found: Conditions, results: Results) -> str:
    """The whole report."""
    parts = [
        f"# Benchmark of {found.day}, commit {found.commit}",
        *(f"- {line}" for line in _circumstances(found)),
        "",
        "## Promises",
        "",
        *(f"- {name}: {promise}" for name, promise in _promises(results).items()),
        "",
        *_table(("case", "database", "figure", "measured", "goal", ""), _promise_rows(results)),
        "",
        "## Speeds, medians of the rounds (least to most)",
        "",
        *_table(
            (
                "database",
                "who and what",
                "per second",
                "p50 ms",
                "p99 ms",
                "server µs/request",
                "memory MB",
                "load busy",
            ),
            _speed_rows(results),
        ),
        "",
        "## Checked",
        "",
        *(f"- {line}" for line in results.kept),
        *(f"- not measured: {who}: {' '.join(why.split())}" for who, why in results.absent.items()),
        *(f"- FAILED: {' '.join(line.split())}" for line in results.failed),
        "",
        "## Stolen",
        "",
        "Share of the busy time that other machines on the same host took. From a tenth on, figures of"
        " different turns can hardly be compared.",
        "",
        *(f"- {database}, {heat}: {share:.0%}" for (database, heat), share in results.stolen.items()),
        "",
        "## What this does not show",
        "",
        _NOT_SHOWN,
    ]
    return "\n".join(parts) + "\n"


def _circumstances(found: Conditions) -> Iterable[str]:
    yield found.machine
    yield found.run
    yield ", ".join(f"{name} {number}" for name, number in found.versions.items())
    for database, settings in found.databases.items():
        yield f"{database}: " + ", ".join(f"{name} {value}" for name, value in settings.items())


def _promises(results: Results) -> dict[str, str]:
    return {case.name: case.promise for case, _, _ in results.judged}


def _promise_rows(results: Results) -> Iterable[tuple[str, ...]]:
    for case, database, figure in results.judged:
        yield (case.name, database, figure.what, *_judged(figure))


def _judged(figure: Figure) -> tuple[str, str, str]:
    sign = ">=" if figure.at_least else "<="
    goal = "" if figure.goal is None else f"{sign} {figure.goal:g} {figure.unit}"
    if figure.value is None:
        return "not measured", goal, "?"
    measured = f"{figure.value:,.2f}" if figure.value < 10 else f"{figure.value:,.1f}"
    verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
    return f"{measured} {figure.unit}", goal, verdict


def _speed_rows(results: Results) -> Iterable[tuple[str, ...]]:
    for (database, _), rounds in results.measured.items():
        for turn, measured in rounds.of.items():
            if turn.traffic is not None:
                yield (database, str(turn), *_speeds(turn, measured))


def _speeds(turn: Turn, measured: list[Measurement]) -> tuple[str, ...]:
    rates = [each.rate for each in measured]
    speed = f"{median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
    if not measured[0].sent:
        return speed, "", "", "", "", ""
    return (
        speed,
        f"{median(each.p50_ms for each in measured):.2f}",
        f"{median(each.p99_ms for each in measured):.2f}",
        f"{median(each.server_us for each in measured):,.0f}",
        f"{max(each.rss_mb for each in measured):.0f}",
        f"{median(each.generator_busy for each in measured):.0%}",
    )


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def as_json(found: Conditions, results: Results) -> str:
    """The same with every measurement, for machines."""
    return json.dumps(
        {
            "conditions": asdict(found),
            "figures": [
                {"case": case.name, "database": database, "met": figure.met, **asdict(figure)}
                for case, database, figure in results.judged
            ],
            "measurements": [
                {
                    "database": database,
                    "heat": heat,
                    "stolen": results.stolen.get((database, heat)),
                    "turn": str(turn),
                    "rounds": [asdict(each) for each in measured],
                }
                for (database, heat), rounds in results.measured.items()
                for turn, measured in rounds.of.items()
            ],
            "absent": results.absent,
            "failed": results.failed,
        },
        indent=1,
    )
