"""``python -m benchmarks.sending``: how fast a file of people becomes letters on disk, and in what memory.

The promise: at least 5,000 recipients a second rendered, checked and stored, and memory that does not
grow with the file.  Nothing is sent.  Each turn is a process of its own, on a fresh database; the databases
take turns.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.databases import DATABASES, Databases
from benchmarks.processes import SERVER_CORE, Stolen
from benchmarks.report import commit, machine, today

_GOAL = 5000
_FEW = 10_000


def main() -> int:
    """Runs, prints, writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sending", description=main.__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", type=lambda text: text.split(","), default=list(DATABASES))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--turn", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        print(json.dumps(_turn(*arguments.turn)))
        return 0
    text = _measured(arguments)
    print(text)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / f"{today()}-{commit()}-sending.md").write_text(text)
    return 0


def _measured(arguments: argparse.Namespace) -> str:
    databases = Databases(arguments.databases)
    try:
        many, few = (_people(databases.folder, rows) for rows in (arguments.rows, _FEW))
        found: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.databases}
        small: dict[str, float] = {}
        stolen = Stolen()
        for _ in range(arguments.rounds):
            for name, turns in found.items():
                turns.append(_in_a_process(databases.fresh(name, "sending"), many))
        share = stolen.share
        for name in found:
            small[name] = _in_a_process(databases.fresh(name, "sending"), few)["megabytes"]
    finally:
        databases.close()
    lines = [
        f"# Preparing letters, {commit()}",
        "",
        f"{machine()}. {arguments.rounds} rounds of {arguments.rows:,} rows; other machines on the host took"
        f" {share:.0%} of the time.",
        "",
        f"| database | recipients a second (goal {_GOAL:,}) | CPU of ours a row | MB at {_FEW:,} rows |"
        f" MB at {arguments.rows:,} rows |",
        "|---|---|---|---|---|",
    ]
    for name, turns in found.items():
        rate, cpu, megabytes = (
            median(turn[key] for turn in turns) for key in ("rate", "cpu_us", "megabytes")
        )
        lines.append(f"| {name} | {rate:,.0f} | {cpu:.0f} us | {small[name]:.0f} | {megabytes:.0f} |")
    return "\n".join(lines) + "\n"


def _people(folder: Path, rows: int) -> Path:
    path = folder / f"people-{rows}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = "registered cookie title firstName lastName street houseNumber zipCode city country"
        writer.writerow(names.split())
        for n in range(rows):
            person = ["Frau", "Ada", f"Müller-{n}", "Hauptstraße", n % 200 + 1]
            writer.writerow(
                [f"c-{n}", f"9b2f6c1e-{n:012d}", *person, f"{1067 + n % 90000:05d}", "Dresden", "DE"]
            )
    return path


def _in_a_process(url: str, file: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.sending", "--turn", url, str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _turn(url: str, file: str) -> dict[str, float]:
    """Prepare *file* on a fresh database; what it took."""
    from receiver.outbound.sender import Job, Progress, Sender
    from receiver.settings import read_settings
    from receiver.store import engine as database
    from receiver.store import keys
    from receiver.store.mailings import State
    from receiver.store.migrations import migrate

    os.sched_setaffinity(0, {SERVER_CORE})
    engine = database.connect(url)
    migrate(engine)
    with engine.execution_options(writes=True).begin() as connection:
        token = keys.create_project(connection, "letters", public=False, now_us=0).token
    settings = read_settings(
        database_url=url, optilyz_api_key="key", optilyz_base_url="http://127.0.0.1:9/api"
    )
    with Sender(settings, engine) as sender:

        def stop_before_sending(progress: Progress) -> None:
            if progress.phase == "sent":
                sender.stop.set()

        began, cpu = time.perf_counter(), time.process_time()
        summary = sender.send(
            Job(token, file, "64b0c0ffee0000000000abcd", campaign="winback"), stop_before_sending
        )
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert summary.rows == summary.count(State.INTENDED), "every row becomes a letter"
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rate": summary.rows / seconds, "cpu_us": cpu / summary.rows * 1e6, "megabytes": megabytes}


if __name__ == "__main__":
    sys.exit(main())
