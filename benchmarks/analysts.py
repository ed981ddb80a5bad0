"""``python -m benchmarks.analysts``: how long questions about events, customers and campaigns take.

The promises: all events of a customer within 5 ms, a first page of events with any filter and every count of
a campaign within 30 ms, an export half as fast as a bare cursor.  The database holds a year of letters
(benchmarks.year) and is warm; questions go by HTTP to the application in this process.  What the command
line, HTTP and SQL tell of campaigns is compared with the events.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Iterator

from benchmarks.agreement import disagreements
from benchmarks.databases import Databases, analyze, count_rows
from benchmarks.exporting import GOAL, exported
from benchmarks.history import count, fill
from benchmarks.inquiries import BIG, OVER, SMALL, TESTED, inquiries
from benchmarks.processes import Stolen, on_server_core
from benchmarks.questions import Times, arguments, circumstances, publish, table, took
from benchmarks.report import commit
from benchmarks.service import Service
from benchmarks.year import Size
from receiver.domain.moments import DAY_US
from receiver.store.keys import Role


def main() -> int:
    """Runs, prints, writes; exit code 1 where figures do not agree."""
    parser = arguments("benchmarks.analysts", main.__doc__, rounds=15)
    parser.add_argument("--events", type=int, default=Size().events)
    parser.add_argument("--customers", type=int, default=Size().customers)
    parser.add_argument("--campaigns", type=int, default=Size().campaigns)
    parser.add_argument("--exported", type=int, default=1_000_000, help="rows of an export")
    parser.add_argument(
        "--filled", nargs="+", metavar="URL", help="databases that are there already, as --databases has them"
    )
    chosen = parser.parse_args()
    size = Size(chosen.events, chosen.customers, chosen.campaigns)
    databases = Databases([] if chosen.filled else chosen.databases)
    on_server_core()
    try:
        if chosen.filled:
            urls = dict(zip(chosen.databases, chosen.filled, strict=True))
        else:
            urls = {name: databases.fresh(name, "analysts") for name in chosen.databases}
            for name, url in urls.items():
                _prepare(name, url, size)
        lines, odd = _report(urls, chosen)
    finally:
        databases.close()
    publish(lines, chosen.output, "analysts")
    return 1 if odd else 0


def _prepare(name: str, url: str, size: Size) -> None:
    began = time.perf_counter()
    fill(url, size, time.time_ns() // 1000 // DAY_US * DAY_US)
    filled = time.perf_counter()
    count(url)
    counted = time.perf_counter()
    analyze(url)
    print(f"{name}: filled in {filled - began:.0f} s, counted in {counted - filled:.0f} s", flush=True)


def _report(urls: dict[str, str], chosen: Namespace) -> tuple[list[str], list[str]]:
    """The lines of the report, and where figures do not agree."""
    stolen, odd = Stolen(), []
    times: dict[str, Times] = {}
    goals: dict[str, float | None] = {}
    for name, url in urls.items():
        with Service(url, Role.DATA) as service:
            odd += [f"{name}: {each}" for each in disagreements(url, service, (BIG, TESTED, OVER, SMALL))]
            asked = inquiries(service, url)
            goals = {question: goal for question, (_, goal) in asked.items()}
            times[name] = took({question: ask for question, (ask, _) in asked.items()}, chosen.rounds)
    events, people = (count_rows(url, name) for name in ("events", "customers"))
    heads = [
        f"# Asking about {events:,} events of {people:,} customers, {commit()}",
        "",
        circumstances(chosen.rounds, stolen),
        "",
    ]
    exports = list(_exports(urls, chosen.exported))
    agreement = ["", "## The same figures by command line, HTTP, SQL and from the events", ""]
    agreement += [f"- {each}" for each in odd] or ["They agree."]
    return [*heads, *table(times, goals), *exports, *agreement], odd


def _exports(urls: dict[str, str], rows: int) -> Iterator[str]:
    yield from ("", f"## Export of {rows:,} events as JSON Lines, medians of 3 rounds", "")
    heads = "bare cursor, rows/s", "export, rows/s", f"ratio (goal {GOAL})", "", "MB at 10,000", "MB at all"
    yield f"| database | {' | '.join(heads)} |"
    yield "|---|---|---|---|---|---|---|"
    for name, url in urls.items():
        found = exported(url, rows, 3)
        verdict = "met" if found.ratio >= GOAL else "MISSED"
        yield (
            f"| {name} | {found.cursor:,.0f} | {found.service:,.0f} | {found.ratio:.2f} | {verdict}"
            f" | {found.few_mb:.0f} | {found.many_mb:.0f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
