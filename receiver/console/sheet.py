"""A document of a few kinds of blocks, shown as a page and given as a Markdown file with the same words.

In sentences, what stands between backticks is code.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape


class Heading(NamedTuple):
    text: str
    kind: str = "heading"


class Part(NamedTuple):
    """A heading below a heading."""

    text: str
    kind: str = "part"


class Sentence(NamedTuple):
    text: str
    kind: str = "sentence"


class Points(NamedTuple):
    texts: Sequence[str]
    kind: str = "points"


class Table(NamedTuple):
    """*name* says what it holds; cells are sentences."""

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    kind: str = "table"


class Code(NamedTuple):
    """*name* says what it is."""

    name: str
    text: str
    language: str = "json"
    kind: str = "code"


class Example(NamedTuple):
    """A body, what becomes of it in a sentence, and the route that it is posted to."""

    title: str
    text: str
    good: bool
    verdict: str
    route: str


class Examples(NamedTuple):
    """Some of them, side by side where there is room."""

    examples: Sequence[Example]
    kind: str = "examples"


Block = Heading | Part | Sentence | Points | Table | Code | Examples


def code(text: object) -> str:
    """A value as code within a sentence."""
    return f"`{str(text).replace('`', chr(39))}`"


def marked_up(text: str) -> Markup:
    """A sentence for a page."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def as_markdown(title: str, blocks: Iterable[Block]) -> str:
    return f"# {_line(title)}\n\n" + "\n".join(map(_text, blocks))


def _text(block: Block) -> str:
    if isinstance(block, Heading | Part):
        return f"{'##' if isinstance(block, Heading) else '###'} {_line(block.text)}\n"
    if isinstance(block, Sentence):
        return f"{_line(block.text)}\n"
    if isinstance(block, Points):
        return "".join(f"- {_line(each)}\n" for each in block.texts)
    if isinstance(block, Table):
        return "".join(_rows(block))
    if isinstance(block, Code):
        return _fenced(block.text, block.language)
    return "\n".join(map(_example, block.examples))


def _example(example: Example) -> str:
    verdict = f"**{'Accepted' if example.good else 'Refused'}**: {_line(example.verdict)}"
    return f"### {_line(example.title)}\n\n{verdict}\n\n{_fenced(example.text, 'json')}"


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```\n"


def _rows(table: Table) -> Iterator[str]:
    for row in (table.head, ["---"] * len(table.head), *table.rows):
        yield "| " + " | ".join(_line(cell).replace("|", "\\|") for cell in row) + " |\n"


def _line(text: str) -> str:
    return " ".join(text.split())
