"""``python -m benchmarks``: runs the promises of ``cases`` and writes the table to ``benchmarks/results/``.

Exit code 1 when something went wrong or the service could not be measured; a missed goal is a
finding, not a failure.
"""

import argparse
import os
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES
from benchmarks.databases import DATABASES, Databases
from benchmarks.processes import OTHER_CORES
from benchmarks.run import Options, run


def main() -> int:
    """Runs, prints, writes."""
    arguments = _arguments()
    options = Options(
        cases=tuple(CASES[name] for name in arguments.cases),
        databases=tuple(arguments.databases),
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        stored=arguments.stored,
    )
    databases = Databases(list(options.databases))
    # After PostgreSQL was started, which may use every core, as on a machine that it shares with us.
    os.sched_setaffinity(0, OTHER_CORES)
    try:
        settings = {name: databases.settings(name) for name in options.databases}
        found = report.conditions(options, settings, quick=arguments.quick)
        results = run(options, databases)
    finally:
        databases.close()
    text = report.markdown(found, results)
    print("\n" + text)
    _write(arguments.output, f"{found.day}-{found.commit}", text, report.as_json(found, results))
    missing = [who for who in results.absent if who.startswith("receiver")]
    return 1 if results.failed or missing else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    named = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--cases", type=named, help=f"some of {', '.join(CASES)}; default: all but stored")
    parser.add_argument("--databases", type=named, default=list(DATABASES), help="default: both")
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--seconds", type=float, help="of each turn; default: 4")
    parser.add_argument(
        "--stored", type=int, default=0, metavar="N", help="adds the case of N events stored before"
    )
    parser.add_argument(
        "--quick", action="store_true", help="3 rounds of 0.5 s: a hint in a minute and a half"
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results", metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.cases is None:
        arguments.cases = [name for name in CASES if name != "stored" or arguments.stored]
    if unknown := {*arguments.cases} - {*CASES} | {*arguments.databases} - {*DATABASES}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if "stored" in arguments.cases and not arguments.stored:
        parser.error("the case stored needs --stored N")
    arguments.rounds = arguments.rounds or 3
    arguments.seconds = arguments.seconds or (0.5 if arguments.quick else 4.0)
    return arguments


def _write(folder: Path, name: str, text: str, data: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(data)
    print(f"written to {folder / name}.md and .json")


if __name__ == "__main__":
    sys.exit(main())
