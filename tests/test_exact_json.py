"""JSON is read as the standard library reads it, whichever parser is quick enough for it."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from receiver.domain.exact_json import parse

numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
texts = st.builds(json.dumps, st.text(), ensure_ascii=st.booleans())
values = st.recursive(
    numbers | texts | st.sampled_from(["true", "false", "null", "NaN", "-Infinity"]),
    lambda inner: (
        st.lists(inner).map(lambda some: f"[{' , '.join(some)}]")
        | st.lists(st.tuples(texts, inner)).map(
            lambda some: "{" + ",".join(f"{name}:\t{value}" for name, value in some) + "}"
        )
    ),
    max_leaves=8,
)


@given(values)
@example("18446744073709551615")
@example("18446744073709551616")
@example("-9223372036854775809")
@example("[-0, -0.0, 1e400, 1e-400, 1E2]")
@example('{"a": 1, "a": 100000000000000000000}')
@example(r'"\ud800"')
def test_a_value_is_the_one_that_was_sent(text: str) -> None:
    # Compared as written: 1 is no 1.0, and what is no number equals nothing.
    assert repr(parse(text.encode(errors="surrogatepass"))) == repr(json.loads(text))
