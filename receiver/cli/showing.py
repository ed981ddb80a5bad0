"""How commands show rows: a table for people, lines for a file or a pipe."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.cli.session import failed

Cells = Sequence[object]


@contextmanager
def opened_for_writing(path: Path | None) -> Iterator[BinaryIO]:
    """The file, or standard output.  A file has its name only when it is whole."""
    if path is None:
        yield typer.get_binary_stream("stdout")
        return
    try:
        # A pipe or a device is written as it is; a directory says itself that it cannot be.
        is_other = path.exists() and not path.is_file()
        with path.open("wb") if is_other else _whole_or_nothing(path) as file:
            yield file
    except OSError as error:
        raise failed(f"The file cannot be written ({error.strerror}).") from None


@contextmanager
def _whole_or_nothing(path: Path) -> Iterator[BinaryIO]:
    # Beside the file that a link leads to: only there it can be moved in one step.
    target = Path(os.path.realpath(path))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    file = part.open("wb")
    try:
        with file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def write_table(head: Sequence[str], rows: Iterable[Cells], path: Path | None = None) -> None:
    """For people a table as wide as the terminal; for a file or a pipe whole lines with tabs."""
    texts = ([printable("" if cell is None else str(cell)) for cell in row] for row in rows)
    console = Console()
    if path is None and console.is_terminal:
        table = Table(*head)
        for row in texts:
            table.add_row(*map(Text, row))
        console.print(table)
        return
    with opened_for_writing(path) as file:
        file.writelines(("\t".join(row) + "\n").encode() for row in chain([head], texts))


def printable(text: str) -> str:
    """*text* without what would move the cursor of a terminal, or end a cell."""
    return "".join([sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text])
