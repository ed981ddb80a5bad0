"""A customer becomes a recipient, by a Jinja template: a preset, or a file as Bloomreach’s guide writes it.

What may stand in a file is told in docs/templates.md, how values are kept in their place in `printing`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import NamedTuple, NoReturn

from jinja2 import TemplateSyntaxError, UndefinedError, meta
from jinja2.exceptions import SecurityError

from receiver.domain.json_text import encode
from receiver.domain.recipients import FIELDS
from receiver.outbound.printing import Environment, NotPrintable, Piece, join_json, line_of, parse, spellings

PRESETS: Mapping[str, str] = {"individual-post": "{{ customer | recipient | tojson }}\n"}
"""The text of each template that comes with us."""

_PRESET = "individual-post"
_INDIVIDUALISATION = re.compile("individuali[sz]ation[1-9][0-9]{0,3}")
_FIELDS = frozenset(FIELDS)
_BESIDE = ("variation", "vouchers")


class WrongTemplate(Exception):
    """The template cannot be used at all; the message is a sentence with its line."""


class TemplateFault(NamedTuple):
    """Why a template gave nothing for a customer or a request.

    Attributes:
        detail: a sentence that says what is wrong and what to do; names of properties may stand in it,
            values never.
        line: counted from 1, of the template or of the rendered text, as the sentence says; None where
            it is not known.
        column: counted from 1, of the rendered text; None beside a line of the template.
    """

    detail: str
    line: int | None
    column: int | None


class Context(NamedTuple):
    """What every template sees of the run, beside the customer."""

    scenario: Mapping[str, object]
    action: Mapping[str, object]
    project: Mapping[str, object]


class Template:
    """A template that was read and checked, for one customer after the other.

    Attributes:
        name: of the preset or file.
        digest: 16 bytes of its text: the same template is the same run.
    """

    def __init__(self, name: str, text: str, id_names: Sequence[str]) -> None:
        """Take *id_names* for all configured customer IDs; raises WrongTemplate for a text that is none."""
        self.name = name
        self.digest = blake2b(text.encode(), digest_size=16).digest()
        parts = _parts(text)
        self._customer = _Part(parts.get("customer", PRESETS[_PRESET]))
        self._root = _Part(parts["root"]) if "root" in parts else None
        self._no_ids = dict.fromkeys(id_names, "")

    @classmethod
    def load(cls, name_or_file: str, id_names: Sequence[str]) -> "Template":
        """Read a preset by its name, or else a file; raises WrongTemplate."""
        if name_or_file in PRESETS:
            return cls(name_or_file, PRESETS[name_or_file], id_names)
        return cls(Path(name_or_file).name, _read(Path(name_or_file)), id_names)

    def recipient(
        self, customer: Mapping[str, object], customer_ids: Mapping[str, object], context: Context
    ) -> object | TemplateFault:
        """Give the parsed JSON that the template makes of a customer, for `read_recipient`."""
        ids = self._no_ids | {name: value for name, value in customer_ids.items() if value is not None}
        return self._customer.document({"customer": customer, "customer_ids": ids, **context._asdict()})

    def request(self, recipients: Sequence[str], context: Context) -> str | TemplateFault:
        """Give the JSON text of a request for all *recipients*, which are JSON texts themselves."""
        if self._root is None:
            return f'{{"addresses":[{",".join(recipients)}]}}'
        customers = [Piece(each, each) for each in recipients]
        document = self._root.document({"customers": customers, **context._asdict()})
        if isinstance(document, TemplateFault):
            return document
        # The results of the answer are matched with the recipients by position.
        if not isinstance(document, dict) or document.get("addresses") != [*map(_decode, recipients)]:
            return _NOT_EVERY_RECIPIENT
        try:
            # Not the text as rendered: a name that stands there twice would be read in more than one way.
            return encode(document)
        except ValueError:
            return _NO_NUMBER


# -- the parts of a file --------------------------------------------------------------------------

_PART = re.compile(r"^[ \t]*\{#-?\s*(root|customer)\s*-?#\}[ \t]*$", re.IGNORECASE | re.MULTILINE)
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_OF_ONE = frozenset({"customer", "customer_ids"})
_OF_ALL = frozenset({"customers"})


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WrongTemplate(
            f"The template is neither a preset ({', '.join(PRESETS)}) nor a file that can be read: "
            f"{error.strerror}."
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise WrongTemplate(f"Line {line} of the template is not UTF-8; save the file as UTF-8.") from None
    # As Jinja does, so that its lines and ours are the same.
    return re.sub(r"\r\n?", "\n", text)


def _parts(text: str) -> dict[str, str]:
    """Give the text of each part, below as many empty lines as it has lines above it in the file."""
    marks = list(_PART.finditer(text))
    if not marks:
        return _unmarked(text)

    above = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text[: marks[0].start()])
    if above.strip():
        line = above[: -len(above.lstrip())].count("\n") + 1
        _refuse(line, "stands above the first part; move it below {# ROOT #} or {# CUSTOMER #}")
    parts: dict[str, str] = {}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        name = mark[1].lower()
        line = text.count("\n", 0, mark.start()) + 1
        if name in parts:
            _refuse(line, f"begins the {name} part a second time; keep one")
        parts[name] = "\n" * (line - 1) + text[mark.end() : end]
        foreign = _names_in(parts[name]) & (_OF_ALL if name == "customer" else _OF_ONE)
        if foreign:
            _refuse(
                line, f"begins the {name} part, which cannot use {min(foreign)}; use it in the other part"
            )
    return parts


def _unmarked(text: str) -> dict[str, str]:
    names = _names_in(text)
    if not names & _OF_ALL:
        return {"customer": text}
    if names & _OF_ONE:
        _refuse(
            1,
            "begins a template that uses both customer and customers; put a line {# ROOT #} above the part "
            "for the whole request and a line {# CUSTOMER #} above the part for one customer",
        )
    return {"root": text}


def _names_in(text: str) -> set[str]:
    with _lines_of_errors():
        return meta.find_undeclared_variables(parse(text, _environment()))


def _refuse(line: int, why: str) -> NoReturn:
    raise WrongTemplate(f"Line {line} of the template {why}.")


# -- one part -------------------------------------------------------------------------------------


def _environment() -> Environment:
    environment = Environment()
    environment.filters["address_fields"] = _address_fields
    environment.filters["recipient"] = _recipient
    return environment


def _address_fields(customer: Mapping[str, object]) -> dict[str, object]:
    """Keep the properties that are named like fields of an address."""
    return {
        name: value
        for name, value in customer.items()
        if name in _FIELDS or _INDIVIDUALISATION.fullmatch(name)
    }


def _recipient(customer: Mapping[str, object]) -> dict[str, object]:
    """Give the whole recipient, by properties that are named like its parts."""
    beside = {name: customer[name] for name in _BESIDE if customer.get(name)}
    return {"address": _address_fields(customer), **beside}


@contextmanager
def _lines_of_errors() -> Iterator[None]:
    try:
        yield
    except TemplateSyntaxError as error:
        _refuse(error.lineno, f"is wrong: {error.message}")
    except (SyntaxError, RecursionError):
        raise WrongTemplate("The template is nested too deep; write it flatter.") from None


class _Part:
    """The compiled text for one customer, or for the whole request."""

    def __init__(self, text: str) -> None:
        environment = _environment()
        with _lines_of_errors():
            tree = parse(text, environment)
            self._spellings = spellings(tree)
            self._compiled = environment.from_string(tree)
        self._globals = environment.globals

    def document(self, variables: dict[str, object]) -> object | TemplateFault:
        """Render, and parse what was rendered."""
        compiled = self._compiled
        try:
            # Shared: not copied together with the globals once more for every customer.
            context = compiled.new_context(self._globals | variables, shared=True)
            text = join_json(compiled.root_render_func(context))
        except Exception as error:  # a template can raise anything
            return self._fault(error)
        return _parsed(text)

    def _fault(self, error: Exception) -> TemplateFault:
        line = line_of(error, self._compiled)
        place = f"line {line} of the template" if line else "the template"
        if isinstance(error, UndefinedError):
            # A name that was made of values is not among the spellings.
            name = self._spellings.get((line or 0, str(error)), "What it looks up")
            detail = f"{name} is not there, in {place}; correct the name, or give a default."
        elif isinstance(error, NotPrintable):
            detail = f"What is printed in {place} is no text and no number; print one value of it, or tojson."
        elif isinstance(error, SecurityError):
            detail = f"What is asked for in {place} is not allowed; leave it out."
        else:
            detail = f"The value cannot be worked out in {place} ({type(error).__name__}); correct the line."
        return TemplateFault(detail, line, None)


# -- what was rendered ----------------------------------------------------------------------------

_NOT_EVERY_RECIPIENT = TemplateFault(
    "The root part does not give every recipient once and in order; "
    'write "addresses": [ {{ customers | join(",") }} ] in it.',
    None,
    None,
)
_NO_NUMBER = TemplateFault(
    "The rendered text holds a number that JSON does not know (NaN, Infinity) or one of thousands of digits; "
    "print it within quotes.",
    None,
    None,
)
_TOO_DEEP = TemplateFault("The rendered text is nested too deep; write flatter JSON.", None, None)


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError


_decode: Callable[[str], object] = JSONDecoder(parse_constant=_refuse_constant).decode


def _parsed(text: str) -> object | TemplateFault:
    """Parse JSON, or the members of an object without the braces around them."""
    bare = text.lstrip()[:1] == '"'
    try:
        return _decode(f"{{{text}}}" if bare else text)
    except JSONDecodeError as error:
        # The brace that we put before the first line is not in what the user wrote.
        column = error.colno - (bare and error.lineno == 1)
        why = error.msg.partition(":")[0]
        detail = (
            f"The rendered text is not JSON at its line {error.lineno}, column {column} ({why}); "
            "look there for a comma, quote or bracket too many or too few."
        )
        return TemplateFault(detail, error.lineno, column)
    except RecursionError:
        return _TOO_DEEP
    except ValueError:
        return _NO_NUMBER
