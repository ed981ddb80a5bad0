"""Jinja that writes JSON: whatever a template prints is escaped, and no value can leave its place.

All that is printed is escaped for JSON at that moment.  What a template makes of pieces (a set block, a
macro) is a `Piece`, which knows itself as people read it and as JSON.  Filters and comparisons work on the
first, and what they give is a common text, to be escaped again; printing a piece as it is takes the second.
"""

from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any

from jinja2 import Environment as AnyEnvironment
from jinja2 import (
    StrictUndefined,
    Template,
    TemplateRuntimeError,
    Undefined,
    nodes,
    pass_context,
    pass_environment,
)
from jinja2.exceptions import TemplateAssertionError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context as Variables
from jinja2.sandbox import ImmutableSandboxedEnvironment

from receiver.domain.json_text import encode


class Piece(str):
    """A part of what is rendered.

    Attributes:
        json: how it goes into JSON; as a str it is what people read.  Where nothing else is given,
            all of it is taken for a value.
    """

    __slots__ = ("json",)
    json: str

    def __new__(cls, text: str, json: str | None = None) -> "Piece":
        """Take *json* for safe: only what the template itself says, and escaped values, may be in it."""
        piece = super().__new__(cls, text)
        piece.json = encode_basestring(text)[1:-1] if json is None else json
        return piece

    def __str__(self) -> str:
        """Stay what it is: the code that Jinja makes puts str() around all that is printed."""
        return self


class NotPrintable(TemplateRuntimeError):
    """What shall be printed is no single value: an object, a function."""


class Environment(ImmutableSandboxedEnvironment):
    """A sandbox without files, in which what is undefined is an error and all that is printed is JSON."""

    def __init__(self) -> None:
        super().__init__(undefined=_Absent, finalize=_print, autoescape=False, loader=None)
        for name in ("xmlattr", "urlize", "random"):
            del self.filters[name]
        del self.globals["lipsum"]
        self.filters |= dict.fromkeys(("safe", "e", "escape", "forceescape"), _as_it_is)
        self.filters |= {"tojson": _to_json, "join": _join}

    @staticmethod
    def concat(parts: Iterable[str]) -> Piece:
        """Join what a set block or macro made; Jinja calls it wherever it captures text."""
        pieces = [*parts]
        return Piece("".join(pieces), join_json(pieces))

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Give a property before a method of the same name: people call their columns items and values."""
        try:
            return obj[attribute]
        except (TypeError, LookupError):
            return super().getattr(obj, attribute)


def join_json(pieces: Iterable[str]) -> str:
    """Join what compiled code gave: text of the template, and pieces."""
    return "".join([each.json if isinstance(each, Piece) else each for each in pieces])


class _Absent(StrictUndefined):
    """Has its bare name as message: Jinja's own sentences quote the values that names were made of."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        return self._undefined_name if isinstance(self._undefined_name, str) else ""


# Taking the context keeps Jinja from printing constants while it compiles, when it would forget about pieces.
@pass_context
def _print(_: Variables, value: object) -> str:
    text = _text(value)
    if isinstance(text, Piece):
        return text
    escaped = encode_basestring(text)
    # Most texts need no escapes, and are no longer then than with their quotes.
    return text if len(escaped) == len(text) + 2 else Piece(text, escaped[1:-1])


def _text(value: object) -> str:
    while isinstance(value, list | tuple):
        # A cookie may be a list; whoever prints it wants one.
        value = value[0] if value else ""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Undefined):
        return str(value)
    raise NotPrintable


def _as_it_is(value: object) -> object:
    return value


def _to_json(value: object) -> Piece:
    if isinstance(value, str):
        text = encode_basestring(value)
    else:
        # Of what is undefined str() raises, unless it is the blank of an if without else.
        text = encode(str(value) if isinstance(value, Undefined) else value)
    return Piece(text, text)


@pass_environment
def _join(
    environment: AnyEnvironment, value: Iterable[object], d: str = "", attribute: str | int | None = None
) -> str:
    """Join as Jinja does, but keep rendered recipients what they are."""
    if attribute is not None:
        value = map(make_attrgetter(environment, attribute), value)
    pieces = [each if isinstance(each, Piece) else Piece(_text(each)) for each in value]
    between = d if isinstance(d, Piece) else Piece(_text(d))
    return Piece(between.join(pieces), between.json.join(each.json for each in pieces))


# -- what may stand in a template -----------------------------------------------------------------

# A filter block, a call block and autoescape print without asking `_print`; the others want other files.
_STATEMENTS = (
    nodes.Output,
    nodes.Assign,
    nodes.AssignBlock,
    nodes.If,
    nodes.For,
    nodes.Macro,
    nodes.With,
    nodes.Scope,  # stands around autoescape and has no line itself
)


def parse(text: str, environment: Environment) -> nodes.Template:
    """Parse; raises TemplateSyntaxError, which has a line, also for what our templates may not hold."""
    tree = environment.parse(text)
    for statement in tree.find_all(nodes.Stmt):
        if not isinstance(statement, _STATEMENTS):
            raise TemplateAssertionError(
                "only set, if, for, macro and with are understood between {% and %}", statement.lineno
            )
    # Within an if Jinja itself would say so only while it renders.
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        known: Mapping[str, object] = (
            environment.filters if isinstance(node, nodes.Filter) else environment.tests
        )
        if node.name not in known:
            raise TemplateAssertionError(f"there is no filter or test called {node.name}", node.lineno)
    return tree


def spellings(tree: nodes.Template) -> dict[tuple[int, str], str]:
    """Map the line and last name of everything that the template looks up to how it is written there."""
    found: dict[tuple[int, str], str] = {}
    for node in tree.find_all((nodes.Name, nodes.Getattr, nodes.Getitem)):
        spelling = _spelling(node)
        name = spelling.rpartition(".")[2]
        if name:
            # Of two in one line nobody can tell which one was missed.
            known = found.setdefault((node.lineno, name), spelling)
            found[node.lineno, name] = spelling if spelling == known else name
    return found


def _spelling(node: nodes.Node) -> str:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        step = node.attr
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        step = str(node.arg.value)
    else:
        return ""
    before = _spelling(node.node)
    return f"{before}.{step}" if before else step


def line_of(error: Exception, template: Template) -> int | None:
    """Give the line of the template in which *error* came up while it was rendered."""
    line = None
    traceback = error.__traceback__
    while traceback:
        if traceback.tb_frame.f_globals is template.root_render_func.__globals__:
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line
