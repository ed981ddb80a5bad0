"""Questions that take turns, each time in another order, and the table of how long they took."""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from statistics import median

from benchmarks.databases import DATABASES
from benchmarks.processes import Stolen
from benchmarks.report import commit, machine, today

Ask = Callable[[], object]
Times = Mapping[str, list[float]]

PAGE_MS = 30
"""The goal of most questions: a first page, or a count."""

_WARM_UP = 3


def arguments(module: str, doc: str | None, rounds: int) -> argparse.ArgumentParser:
    """What each benchmark of questions takes."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--databases", type=lambda text: text.split(","), default=list(DATABASES))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    return parser


def took(asked: Mapping[str, Ask], rounds: int) -> Times:
    """By question, how many milliseconds each turn took, once all have been asked some times."""
    random = Random(5)
    times: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(_WARM_UP + rounds):
        for name in random.sample(list(asked), len(asked)):
            began = time.perf_counter()
            asked[name]()
            if turn >= _WARM_UP:
                times[name].append((time.perf_counter() - began) * 1000)
    return times


def circumstances(rounds: int, stolen: Stolen) -> str:
    return (
        f"{machine()}. Milliseconds, {rounds} times each, warm, in turn; other machines on the host took"
        f" {stolen.share:.0%} of the time. A goal is for the median."
    )


def table(of: Mapping[str, Times], goals: Mapping[str, float | None]) -> Iterator[str]:
    """A line for each question, with its goal and what it took on each database."""
    yield "| question | goal | " + " | ".join(f"{name} | p90 | worst |" for name in of) + " |"
    yield "|---|---|" + "---|---|---|---|" * len(of)
    for question, goal in goals.items():
        cells = [question, "" if goal is None else f"{goal:g}"]
        for times in of.values():
            ms = sorted(times[question])
            middle = median(ms)
            cells += [f"{middle:.1f}", f"{ms[len(ms) * 9 // 10]:.1f}", f"{ms[-1]:.1f}"]
            cells.append("" if goal is None else "met" if middle <= goal else "MISSED")
        yield "| " + " | ".join(cells) + " |"


def publish(lines: list[str], folder: Path, name: str) -> None:
    """Print the report and keep it."""
    text = "\n".join(lines) + "\n"
    print(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{today()}-{commit()}-{name}.md").write_text(text)
