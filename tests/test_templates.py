"""Templates: what they make of a customer, what they refuse, and that no value ever leaves its place."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.domain.recipients import FIELDS, read_recipient
from receiver.outbound.templates import PRESETS, Context, Template, TemplateFault, WrongTemplate

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "templates"
DOCUMENT = (HERE.parent / "docs/templates.md").read_text()
EXAMPLES = re.findall(r"^```jinja\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)

ID_NAMES = ("registered", "cookie")
CONTEXT = Context({"id": "winback"}, {"name": "letter"}, {"name": "shop"})
CUSTOMER = {
    "salutation": "Frau",
    "firstName": "Ada",
    "lastName": "Beispiel",
    "street": "Hauptstr. 1a",
    "zipCode": "01067",
    "city": "Dresden",
}


@cache
def template(text: str) -> Template:
    return Template("winback", text, ID_NAMES)


def rendered(
    text: str, customer: Mapping[str, object] = CUSTOMER, ids: Mapping[str, object] | None = None
) -> Any:
    return template(text).recipient(customer, ids or {}, CONTEXT)


def requested(text: str, recipients: Sequence[str]) -> Any:
    """The parsed request, or the fault."""
    request = template(text).request(recipients, CONTEXT)
    return request if isinstance(request, TemplateFault) else json.loads(request)


# -- as the source writes it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "cookie"),
    [
        ({"cookie": "9b2f"}, "9b2f"),
        ({"cookie": ["9b2f", "77aa"]}, "9b2f"),
        ({"cookie": ["a", "b"]}, "a"),
        ({"cookie": "a"}, "a"),
        ({"cookie": []}, ""),
        ({"cookie": ""}, ""),
        ({"cookie": None}, ""),
        ({}, ""),
    ],
)
def test_the_source_s_own_template_renders_with_any_kind_of_cookie(
    ids: dict[str, object], cookie: str
) -> None:
    template = Template.load(str(SAMPLES / "extended-implementation.json.j2"), ID_NAMES)

    assert template.name == "extended-implementation.json.j2"
    assert template.recipient(CUSTOMER, {"registered": "c-1", **ids}, CONTEXT) == {
        "title": "Frau",
        "firstName": "Ada",
        "lastName": "Beispiel",
        "address1": "Hauptstr. 1a",
        "zipCode": "01067",
        "city": "Dresden",
        "individualisation1": "c-1",
        "individualisation2": cookie,
        "individualisation3": "winback",
    }


def test_the_source_s_root_part_takes_the_recipients_of_the_preset() -> None:
    template = Template.load(str(SAMPLES / "batch-root.json.j2"), ID_NAMES)
    recipient = template.recipient({"lastName": 'a "b"'}, {}, CONTEXT)
    recipients = [json.dumps(recipient), '{"address": {"city": "\\u00e4, ]"}}']

    request = template.request(recipients, CONTEXT)

    assert isinstance(request, str)
    assert json.loads(request) == {
        "addresses": [{"address": {"lastName": 'a "b"'}}, {"address": {"city": "ä, ]"}}]
    }


# -- the preset -----------------------------------------------------------------------------------


def test_the_preset_takes_what_is_named_like_a_field_and_ignores_the_rest() -> None:
    known: dict[str, object] = {name: f"a {name}" for name in FIELDS}
    known |= {"individualisation4": "4", "individualization55": "55"}
    unknown = {"phone": "1", "individualisationX": "2", "individualisation0": "3", "lastname": "4"}
    beside = {"variation": "2", "vouchers": [{"code": "V", "name": "n"}]}

    recipient = Template.load("individual-post", ID_NAMES).recipient(
        {**unknown, **known, **beside}, {"registered": "c-1"}, CONTEXT
    )

    assert recipient == {"address": known, **beside}


def test_the_preset_s_recipient_is_one_that_can_be_mailed() -> None:
    recipient = Template.load("individual-post", ID_NAMES).recipient(
        {**CUSTOMER, "zipCode": 1067, "houseNumber": None, "vouchers": ""}, {}, CONTEXT
    )
    read, violations = read_recipient(recipient)

    assert violations == []
    assert read.document() == {
        "address": {
            "firstName": "Ada",
            "lastName": "Beispiel",
            "street": "Hauptstr. 1a",
            "zipCode": "1067",
            "city": "Dresden",
        }
    }


def test_a_customer_without_anything_is_left_to_the_rules_for_recipients() -> None:
    assert rendered(PRESETS["individual-post"], {}) == {"address": {}}


@pytest.mark.parametrize("name", ["items", "values", "keys", "get", "copy", "update"])
def test_a_property_may_be_called_like_a_method(name: str) -> None:
    customer = {name: "mine", "city": "Dresden"}

    assert rendered(f'"title": "{{{{ customer.{name} }}}}"', customer) == {"title": "mine"}
    assert rendered(PRESETS["individual-post"], customer) == {"address": {"city": "Dresden"}}


# -- how values are printed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("text", "text"),
        (["first", "second"], "first"),
        ([["deep"]], "deep"),
        ([], ""),
        (None, ""),
        ([None], ""),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (1.5, "1.5"),
        ('"', '"'),
        (["\\", "x"], "\\"),
    ],
)
def test_a_value_is_printed_as_one_text(value: object, printed: str) -> None:
    assert rendered('"title": "{{ customer.x }}"', {"x": value}) == {"title": printed}


@pytest.mark.parametrize("value", ['a "b"\n', 1.5, True, None, ["a", {"b": [1, "\\"]}], {"c": "é"}, 2**70])
def test_tojson_gives_the_value_itself(value: object) -> None:
    assert rendered('"x": {{ customer.x | tojson }}', {"x": value}) == {"x": value}


def test_a_constant_of_the_template_is_escaped_like_a_value() -> None:
    assert rendered('"a": "{{ \'say "x"\' }}", "b": "x{{ "\\n" }}y"') == {"a": 'say "x"', "b": "x\ny"}


def test_an_if_without_else_is_a_blank_that_was_meant() -> None:
    assert rendered('"a": "{{ "x" if customer.city == "y" }}"') == {"a": ""}


def test_a_set_block_and_a_macro_may_hold_whole_members() -> None:
    text = (
        '{% set city %}"city": "{{ customer.x }}"{% endset %}'
        '{% macro member(name, value) %}"{{ name }}": "{{ value }}"{% endmacro %}'
        '{ {{ city }}, {{ member("title", customer.x) }}, {{ member("street", customer.x | upper) }} }'
    )

    assert rendered(text, {"x": 'a\\"b"\n'}) == {
        "city": 'a\\"b"\n',
        "title": 'a\\"b"\n',
        "street": 'A\\"B"\n',
    }


def test_a_filter_on_a_set_block_works_on_what_people_read() -> None:
    text = (
        "{% set line %}{{ customer.x }}!{% endset %}"
        '{"length": {{ line | length }}, "upper": "{{ line | upper }}", "first": "{{ line[:2] }}",'
        ' "same": {{ (line == customer.x ~ "!") | tojson }}, "json": {{ line | tojson }}}'
    )

    assert rendered(text, {"x": '"\nß'}) == {
        "length": 4,
        "upper": '"\nSS!',
        "first": '"\n',
        "same": True,
        "json": '"\nß!',
    }


WAYS_TO_PRINT = [
    "{{ customer.x }}",
    "{{ customer['x'] }}",
    "{{ customer.x | safe }}",
    "{{ customer.x | e }}",
    "{{ customer.x | escape }}",
    "{{ customer.x | forceescape }}",
    "{{ customer.x | string }}",
    "{{ customer.x ~ '' }}",
    "{{ '' + customer.x }}",
    "{{ [customer.x, ''] | join }}",
    "{{ ['', ''] | join(customer.x) }}",
    "{{ [customer] | join(attribute='x') }}",
    "{{ (customer.x | list) | join }}",
    "{{ customer.x | list | join('') }}",
    "{{ [customer] | map(attribute='x') | list }}",
    "{{ '%s' | format(customer.x) }}",
    "{{ '%s' % customer.x }}",
    "{{ '{}'.format(customer.x) }}",
    "{{ '' | default(customer.x, true) }}",
    "{{ 'Q' | replace('Q', customer.x) }}",
    "{{ customer.x if true }}",
    "{% for each in [customer.x] %}{{ each }}{% endfor %}",
    "{% with y = customer.x %}{{ y }}{% endwith %}",
    "{% set y = customer.x %}{{ y }}",
    "{% set y %}{{ customer.x }}{% endset %}{{ y }}",
    "{% set y %}{{ customer.x }}{% endset %}{{ y | safe }}",
    "{% set y %}{{ customer.x }}{% endset %}{{ y ~ '' }}",
    "{% set y %}{{ customer.x }}{% endset %}{{ [y, ''] | join }}",
    "{% set y %}{{ customer.x }}{% endset %}{% set z %}{{ y }}{% endset %}{{ z }}",
    "{% set y | replace('Q', customer.x) %}Q{% endset %}{{ y }}",
    "{% set y %}{}{% endset %}{{ y.format(customer.x) }}",
    "{% set y %}{a}{% endset %}{{ y.format_map({'a': customer.x}) }}",
    "{% set y %}%s{% endset %}{{ y % customer.x }}",
    "{% set y = namespace(z=customer.x) %}{{ y.z }}",
    "{% macro m(y) %}{{ y }}{% endmacro %}{{ m(customer.x) }}",
    "{% macro m(y) %}{{ y }}{% endmacro %}{{ m(m(customer.x)) }}",
    "{% macro m(y) %}{{ y }}{% endmacro %}{{ m(customer.x)[:] }}",
    "{%- for each in [[customer.x]] recursive %}"
    "{% if each is string %}{{ each }}{% else %}{{ loop(each) }}{% endif %}{% endfor %}",
]

dangerous_texts = st.text() | st.text(alphabet='"\\/{}[],:%#\n\r\t\0\x1b\x7f\u2028 aé1')


@pytest.mark.parametrize("way", WAYS_TO_PRINT)
@example('", "extra": "')
@example("\\")
@example("{{ customer.x }}{% raw %}{# #}")
@example("<&>'")
@given(dangerous_texts)
def test_a_text_comes_back_equal_however_it_is_printed(way: str, value: str) -> None:
    if "Q" in way and "Q" in value:
        value = value.replace("Q", "q")
    text = f'"before": "1", "printed": "{way}", "after": "{{{{ customer.x }}}}"'

    assert rendered(text, {"x": value}) == {"before": "1", "printed": value, "after": value}


@given(st.fixed_dictionaries(dict.fromkeys(CUSTOMER, dangerous_texts)), dangerous_texts, dangerous_texts)
def test_no_customer_adds_or_breaks_a_field(customer: dict[str, str], registered: str, cookie: str) -> None:
    text = (SAMPLES / "extended-implementation.json.j2").read_text()
    recipient = rendered(text, customer, {"registered": registered, "cookie": [cookie + "long"]})

    assert list(recipient) == list(rendered(text))
    assert [*recipient.values()] == [
        *(customer[name] for name in CUSTOMER),
        registered,
        cookie + "long",
        "winback",
    ]


@example("{}", "x")
@example("1}", "{")
@given(dangerous_texts, dangerous_texts)
def test_no_value_adds_a_field_even_where_the_template_forgot_the_quotes(first: str, second: str) -> None:
    recipient = rendered('"a": {{ customer.x }}, "b": "{{ customer.y }}"', {"x": first, "y": second})

    assert isinstance(recipient, TemplateFault) or list(recipient) == ["a", "b"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "individualisation7"]), dangerous_texts))
def test_the_preset_gives_back_every_text(customer: dict[str, str]) -> None:
    assert rendered(PRESETS["individual-post"], customer) == {"address": customer}


# -- the whole request ----------------------------------------------------------------------------

documents = st.dictionaries(st.text(), dangerous_texts | st.integers() | st.none())


@pytest.mark.parametrize(
    "root",
    [
        '{"addresses": [ {{ customers | join(",") }} ]}',
        '"addresses": [ {{ customers | join(",") | safe }} ]',
        '"addresses": [{% for each in customers %}{{ each }}{% if not loop.last %},{% endif %}{% endfor %}]',
        '{# ROOT #}\n"addresses": [ {{ customers | join(", ") }} ]\n{# CUSTOMER #}\n"title": ""',
        '{% set all %}{{ customers | join(",") }}{% endset %}"addresses": [{{ all }}]',
        '"title": ""',
    ],
)
@given(recipients=st.lists(documents, min_size=1, max_size=4))
def test_every_recipient_stands_in_the_request_as_it_is(
    root: str, recipients: list[dict[str, object]]
) -> None:
    assert requested(root, [json.dumps(each) for each in recipients]) == {"addresses": recipients}


def test_a_root_part_may_say_more() -> None:
    root = (
        '"n": {{ customers | length }}, "of": "{{ scenario.id }}", "addresses": [{{ customers | join(",") }}]'
    )

    assert requested(root, ["{}", "{}"]) == {"addresses": [{}, {}], "of": "winback", "n": 2}


@pytest.mark.parametrize(
    "root",
    [
        '"addresses": [{{ customers }}]',
        '"addresses": [{{ customers | reverse | join(",") }}]',
        '"addresses": [{{ customers | join(",") }}, {{ customers[0] }}]',
        '"recipients": [{{ customers | join(",") }}]',
        '[{{ customers | join(",") }}]',
    ],
)
def test_a_root_part_that_loses_or_moves_a_recipient_is_refused(root: str) -> None:
    fault = requested(root, ['{"a": 1}', '{"a": 2}'])

    assert isinstance(fault, TemplateFault)
    assert fault.detail.startswith("The root part does not give every recipient once and in order")


def test_a_name_that_stands_twice_in_the_request_is_sent_once() -> None:
    request = template('"addresses": [], "addresses": [{{ customers | join(",") }}]').request(["{}"], CONTEXT)

    assert request == '{"addresses":[{}]}'


def test_a_fault_of_the_root_part_has_its_line() -> None:
    fault = requested('{# CUSTOMER #}\n"a": ""\n{# ROOT #}\n{{ customers | join(nobody) }}', ["{}"])

    assert fault == TemplateFault(
        "nobody is not there, in line 4 of the template; correct the name, or give a default.", 4, None
    )


# -- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "customer"),
    [
        ("{# ROOT #}", "{# CUSTOMER #}"),
        ("{#root#}", "\t{#-  Customer -#}  "),
        ("  {# Root #}", "{#\tcustomer #}"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_may_hold_both_parts_in_any_order(
    root: str, customer: str, turned: bool, newline: str, tmp_path: Path
) -> None:
    parts = [
        f'{root}\n"addresses": [{{{{ customers | join(",") }}}}], "root": 1\n',
        f'{customer}\n{{"title": "{{{{ customer.city }}}}"}}\n',
    ]
    text = "{# winback\n #}\n" + "".join(parts[::-1] if turned else parts)
    path = tmp_path / "both.json.j2"
    path.write_bytes(text.replace("\n", newline).encode("utf-8-sig"))
    template = Template.load(str(path), ID_NAMES)

    request = template.request(["[1]"], CONTEXT)
    assert template.recipient(CUSTOMER, {}, CONTEXT) == {"title": "Dresden"}
    assert isinstance(request, str)
    assert json.loads(request) == {"addresses": [[1]], "root": 1}


@pytest.mark.parametrize("ids", [{}, {"cookie": None}])
def test_an_id_that_is_absent_is_an_empty_text(ids: dict[str, object]) -> None:
    text = '"length": {{ customer_ids.cookie | length }}, "same": {{ (customer_ids.cookie == "") | tojson }}'

    assert rendered(text, CUSTOMER, ids) == {"length": 0, "same": True}


def test_each_part_may_stand_alone() -> None:
    assert rendered("{# ROOT #}\n[{{ customers }}]", {"city": "x"}) == {"address": {"city": "x"}}
    assert requested('{# CUSTOMER #}\n"title": "x"', ["{}"]) == {"addresses": [{}]}


def test_the_whole_recipient_may_be_written() -> None:
    text = '{"address": {"city": "{{ customer.city }}"}, "variation": {{ customer.n }}}'

    assert rendered(text, {"city": "x", "n": 2}) == {"address": {"city": "x"}, "variation": 2}


def test_every_name_of_the_run_is_there() -> None:
    assert rendered('"a": "{{ scenario.id }} {{ action.name }} {{ project[\'name\'] }}"') == {
        "a": "winback letter shop"
    }


def test_the_same_text_is_the_same_run() -> None:
    first, again, other = (Template(name, text, ()) for name, text in [("a", "1"), ("b", "1"), ("a", "2")])

    assert len(first.digest) == 16
    assert first.digest == again.digest != other.digest


# -- what cannot be used at all -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '"a": "1",\n"city": "{{ }}"',
            "Line 2 of the template is wrong: Expected an expression, got 'end of print statement'.",
        ),
        ("\n\n{% if %}", "Line 3 of the template is wrong: Expected an expression"),
        (
            "\n{{ customer.x | nope }}",
            "Line 2 of the template is wrong: there is no filter or test called nope.",
        ),
        (
            "{% if false %}\n{{ 1 is nope }}{% endif %}",
            "Line 2 of the template is wrong: there is no filter or test called nope.",
        ),
        ("{{ customer | xmlattr }}", "Line 1 of the template is wrong: there is no filter or test"),
        ("{{ customer.x | urlize }}", "Line 1 of the template is wrong: there is no filter or test"),
        ("\n{% include 'x' %}", "Line 2 of the template is wrong: only set, if, for, macro and with"),
        ("{% import 'x' as y %}", "Line 1 of the template is wrong: only set, if, for, macro and with"),
        ("{% from 'x' import y %}", "Line 1 of the template is wrong: only set, if, for, macro and with"),
        ("{% extends 'x' %}", "Line 1 of the template is wrong: only set, if, for, macro and with"),
        ("{% filter upper %}{% endfilter %}", "Line 1 of the template is wrong: only set, if, for,"),
        ("{% call x() %}{% endcall %}", "Line 1 of the template is wrong: only set, if, for, macro and"),
        ("{% autoescape true %}{% endautoescape %}", "Line 1 of the template is wrong: only set, if, for,"),
        ("{% do customer.clear() %}", "Line 1 of the template is wrong: Encountered unknown tag 'do'"),
        ("{# ROOT #}\n1\n{# CUSTOMER #}\n{{ ", "Line 4 of the template is wrong: "),
        (
            "{{ customer.x }}{{ customers }}",
            "Line 1 of the template begins a template that uses both customer and customers; "
            "put a line {# ROOT #} above the part for the whole request",
        ),
        (
            "{{ customer_ids.cookie }}{{ customers }}",
            "Line 1 of the template begins a template that uses both",
        ),
        (
            "{# ROOT #}\n{# CUSTOMER #}\n\n{# root #}",
            "Line 4 of the template begins the root part a second time; keep one.",
        ),
        (
            "\n{# ROOT #}\n{{ customer.x }}",
            "Line 2 of the template begins the root part, which cannot use customer; use it in the other",
        ),
        (
            "{# CUSTOMER #}\n{{ customers }}",
            "Line 1 of the template begins the customer part, which cannot use",
        ),
        (
            "{# Winback\n#}\n{% set x = 1 %}\n{# CUSTOMER #}\n{{ x }}",
            "Line 3 of the template stands above the first part; move it below {# ROOT #} or {# CUSTOMER #}.",
        ),
        ("{% for x in x %}" * 30 + "{% endfor %}" * 30, "The template is nested too deep; write it flatter."),
        ("{{ " + "(" * 3000 + ")" * 3000 + " }}", "The template is nested too deep; write it flatter."),
    ],
)
def test_a_template_that_cannot_be_used_says_where_and_why(text: str, sentence: str) -> None:
    with pytest.raises(WrongTemplate, match=re.escape(sentence)):
        template(text)


def test_a_file_that_is_not_there_names_the_presets(tmp_path: Path) -> None:
    for path in ("individual", str(tmp_path)):
        with pytest.raises(
            WrongTemplate, match=r"neither a preset \(individual-post\) nor a file that can be"
        ):
            Template.load(path, ID_NAMES)


def test_a_file_that_is_not_utf_8_says_from_which_line_on(tmp_path: Path) -> None:
    path = tmp_path / "latin.j2"
    path.write_bytes('"a": "1",\n"b": "ä"'.encode("latin-1"))

    with pytest.raises(WrongTemplate, match="Line 2 of the template is not UTF-8"):
        Template.load(str(path), ID_NAMES)


# -- what fails for one customer ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "beginning", "line"),
    [
        ('"a": "1",\n"b": "{{ customer.salutaion }}"', "customer.salutaion is not there, in line 2", 2),
        ("{{ scenario['nope'] }}", "scenario.nope is not there, in line 1", 1),
        ("\n{{ nobody }}", "nobody is not there, in line 2", 2),
        ("{{ customer_ids.email }}", "customer_ids.email is not there, in line 1", 1),
        ("{# CUSTOMER #}\n\n{{ customer.x.y }}", "customer.x is not there, in line 3", 3),
        ("{{ customer.city }}{{ customer.id }}{{ scenario.id }}", "id is not there, in line 1", 1),
        ("{% if customer.nope %}{% endif %}", "customer.nope is not there, in line 1", 1),
        ("{{ customer.nope | tojson }}", "customer.nope is not there, in line 1", 1),
        ("{{ [customer.nope] | join }}", "customer.nope is not there, in line 1", 1),
        ("{{ customer[customer.city] }}", "What it looks up is not there, in line 1", 1),
        ("{{ [] | first }}", "What it looks up is not there, in line 1", 1),
        ("{% macro m(a) %}\n{{ a.b }}{% endmacro %}\n{{ m(customer) }}", "a.b is not there, in line 2", 2),
        ("\n{{ customer }}", "What is printed in line 2 of the template is no text and no number", 2),
        ("{{ customer.items }}", "What is printed in line 1 of the template is no text", 1),
        ("{{ customer.pop('city') }}", "What is asked for in line 1 of the template is not allowed", 1),
        ("{{ ''.__class__ }}", "What is asked for in line 1 of the template is not allowed", 1),
        ("\n{{ 1 / 0 }}", "The value cannot be worked out in line 2 of the template (ZeroDivisionError)", 2),
        ("{{ range(10000000) | length }}", "The value cannot be worked out in line 1 of", 1),
        (
            "{{ customer.city + 1 }}",
            "The value cannot be worked out in line 1 of the template (TypeError)",
            1,
        ),
    ],
)
def test_a_fault_says_what_is_wrong_in_which_line_of_the_template(
    text: str, beginning: str, line: int
) -> None:
    fault = rendered(text)

    assert isinstance(fault, TemplateFault)
    assert fault.detail.startswith(beginning)
    assert (fault.line, fault.column) == (line, None)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{"a": "1"\n "b": "2"}', 2, 2),
        ('"a": x', 1, 6),
        ('"a": "1",\n"b": x', 2, 6),
        ("", 1, 1),
        ('{# CUSTOMER #}\n"a": "{{ customer.city }}" "b"', 2, 16),
        ('{"a": "line\nbreak"}', 1, 12),
        ('{"a": "1"} {"b": "2"}', 1, 12),
        ('"a": "{{ customer.city | tojson }}"', 1, 8),
    ],
)
def test_a_fault_says_where_the_rendered_text_is_not_json(text: str, line: int, column: int) -> None:
    fault = rendered(text)

    assert isinstance(fault, TemplateFault)
    assert fault.detail.startswith(f"The rendered text is not JSON at its line {line}, column {column} (")
    assert (fault.line, fault.column) == (line, column)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1" * 5000])
def test_a_number_that_json_does_not_know_is_a_fault(number: str) -> None:
    fault = rendered(f'"a": {number}')

    assert isinstance(fault, TemplateFault)
    assert fault.detail.startswith("The rendered text holds a number that JSON does not know")


def test_a_number_that_became_infinite_is_not_sent() -> None:
    assert isinstance(requested('"addresses": [{{ customers | join }}], "a": 1e400', ["{}"]), TemplateFault)


def test_brackets_without_end_are_a_fault() -> None:
    fault = rendered("{{ customer.x }}", {"x": "[" * 100_000})

    assert fault == TemplateFault("The rendered text is nested too deep; write flatter JSON.", None, None)


@pytest.mark.parametrize(
    "text",
    [
        "{{ customer[customer.secret] }}",
        "{{ customer.secret.nope }}",
        "{{ customer.secret[customer.secret] }}",
        "{{ customer.secret / 2 }}",
        "{{ {} [customer.secret] }}",
        "{{ customer.secret | attr(customer.secret) }}",
        "{{ ''[customer.under] }}",
        "{{ customer.secret() }}",
        "{{ '%d' | format(customer.secret) }}",
        "{{ customer.secret.index('x') }}",
        "{{ [customer.secret] | map(customer.secret) | list }}",
        "{{ customer.list }}",
        "{{ customer.secret }}",
        '"a": {{ customer.secret }}',
        '"a": "\\{{ customer.secret }}"',
    ],
)
def test_no_fault_quotes_a_value(text: str) -> None:
    customer = {"secret": "geheim", "under": "__geheim__", "list": [{"geheim": 1}]}

    fault = rendered(text, customer)

    assert isinstance(fault, TemplateFault)
    assert "geheim" not in fault.detail


def test_a_fault_leaves_the_next_customer_alone() -> None:
    shared = template('{% set x = namespace(y=customer.x) %}"a": "{{ x.y }}"')

    assert isinstance(shared.recipient({}, {}, CONTEXT), TemplateFault)
    assert shared.recipient({"x": "1"}, {}, CONTEXT) == {"a": "1"}


# -- docs/templates.md ----------------------------------------------------------------------------


def test_the_examples_of_the_document_render() -> None:
    single, batch = map(template, EXAMPLES)
    familiar = {
        "name": 'Ö "X"',
        "strasse": "Ring",
        "plz": "1010",
        "ort": "Wien",
        "land": "at",
        "gutschein": "V1",
    }
    recipients = [
        single.recipient(CUSTOMER, {"registered": "c-1", "cookie": ["9b2f", "77"]}, CONTEXT),
        batch.recipient(familiar, {}, CONTEXT),
        batch.recipient({**familiar, "land": "ch", "gutschein": ""}, {}, CONTEXT),
    ]

    assert [read_recipient(each)[1] for each in recipients] == [[], [], []]
    assert isinstance(recipients[0], dict)
    assert recipients[0]["individualisation2"] == "9b2f"
    assert recipients[1] == {
        "address": {
            "fullName": 'Ö "X"',
            "street": "Ring",
            "houseNumber": "",
            "zipCode": "1010",
            "city": "Wien",
            "country": "AT",
            "individualisation4": 'Liebe Familie Ö "X"',
        },
        "variation": 2,
        "vouchers": [{"code": "V1"}],
    }
    assert requested(EXAMPLES[1], [json.dumps(each) for each in recipients]) == {"addresses": recipients}


def test_the_document_names_every_field_and_preset() -> None:
    assert [name for name in (*FIELDS, *PRESETS) if f"`{name}`" not in DOCUMENT] == []


def test_the_document_s_short_templates_render() -> None:
    spans = re.findall(r"`(\{\"address\": \{\{.*?\}|\"city\": .*?)`", DOCUMENT)

    assert len(spans) == 3
    assert [rendered(span) for span in spans][1:] == [{"city": "Dresden"}] * 2
    assert rendered(spans[0], {"city": "x", "other": "y"}) == {"address": {"city": "x"}, "variation": 2}
