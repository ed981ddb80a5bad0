"""How far a command has come, on standard error, where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn


@contextmanager
def shown(words: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """*words*, a bar, and a number, of *total* where it is known; what is given takes how many more."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    number = "{task.completed}" if total is None else "{task.completed} of {task.total}"
    columns = (TextColumn(words), BarColumn(), TextColumn(number))
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(words, total=total)
        yield lambda more: bar.advance(task, more)
