"""How commands show rows: a table for people, lines for a file or a pipe."""

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
    """The file, or standard output.  Half a file is not left behind: it would look like a whole one."""
    if path is None:
        yield typer.get_binary_stream("stdout")
        return
    try:
        with path.open("wb") as file:
            try:
                yield file
            except BaseException:
                if path.is_file():
                    path.unlink()
                raise
    except OSError as error:
        raise failed(f"The file cannot be written ({error.strerror}).") from None


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
