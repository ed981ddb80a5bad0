"""Commands that only read, run over rows that a test wrote."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from receiver.cli import build
from tests.rows import Rows


def run(command: str, rows: Rows | None, *arguments: str) -> Result:
    """The *command*, as ``rejections list``, about the project of *rows* where there are any."""
    words = command.split()
    token = [rows.project.token] if rows else []
    return CliRunner().invoke(build(words[0]), [*words, *token, *arguments])


def said(command: str, rows: Rows, *arguments: str) -> str:
    """What a command that ends well writes to standard output."""
    result = run(command, rows, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def cells(command: str, rows: Rows, *arguments: str) -> list[list[str]]:
    """The table as a pipe gets it, without its head."""
    lines = said(command, rows, *arguments).splitlines()
    return [line.split("\t") for line in lines[1:]]


def document(command: str, rows: Rows, *arguments: str) -> Any:
    return json.loads(said(command, rows, *arguments, "--json"))
