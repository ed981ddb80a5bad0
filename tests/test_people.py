"""The file of people: which row becomes whom, which is unreadable and why, whatever the bytes."""

import csv
import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver.domain.fields import is_storable
from receiver.domain.json_text import encode
from receiver.outbound.people import MAX_RAW_BYTES, PeopleFile, Person, Unreadable, WrongFile
from receiver.outbound.rows import MAX_ROW

IDS = ("registered", "cookie")
SURNAME = "Höflich"

Write = Callable[[str, str | bytes], PeopleFile]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of that name and content, and open it."""

    def _write(name: str, content: str | bytes) -> PeopleFile:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return PeopleFile(path, IDS)

    return _write


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that the examples of one property share."""
    return tmp_path_factory.mktemp("people")


def kinds(people: PeopleFile) -> str:
    """Tell of each row whether it is a person (P) or unreadable (u)."""
    return "".join("P" if isinstance(each, Person) else "u" for each in people)


def only(people: PeopleFile) -> Person:
    (person,) = people
    assert isinstance(person, Person)
    return person


def unreadable(people: PeopleFile, row: int) -> Unreadable:
    found = next(people.rows(after=row - 1))
    assert isinstance(found, Unreadable)
    assert found.row == row
    assert SURNAME not in found.detail
    return found


# CSV


def test_columns_named_like_an_id_are_ids_and_all_others_are_properties(write: Write) -> None:
    people = write("a.csv", "registered,firstName,cookie,zipCode\nc-1,Ada,u,01067\nc-2,,,\n")

    assert list(people) == [
        Person(1, {"firstName": "Ada", "zipCode": "01067"}, {"registered": "c-1", "cookie": "u"}),
        Person(2, {"firstName": "", "zipCode": ""}, {"registered": "c-2"}),
    ]


def test_names_with_a_prefix_say_what_the_column_is(write: Write) -> None:
    people = write("a.csv", "customer_ids.registered, customer.street ,customer.cookie\nc-1,Elbweg,none\n")

    assert only(people) == Person(1, {"street": "Elbweg", "cookie": "none"}, {"registered": "c-1"})


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_from_the_header_without_its_quoted_cells(write: Write, delimiter: str) -> None:
    header = delimiter.join(["registered", '"a,;\t|\n,;\t|,;\t|"', "city"])
    people = write("a.csv", f"{header}\n" + delimiter.join(["c-1", "x", '"a,;\t|b"']) + "\n")

    assert only(people).customer["city"] == "a,;\t|b"


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.CSV", "a", "a.export"])
def test_a_table_is_known_by_its_extension_or_its_content(write: Write, name: str) -> None:
    assert only(write(name, "registered\tcity\nc-1\tDresden\n")).customer == {"city": "Dresden"}


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_quoted_cells_may_hold_line_breaks_and_quotes(write: Write, line_end: str) -> None:
    cell = f'"Say ""hi"",{line_end}twice"'
    people = write("a.csv", line_end.join(["registered,line", f"c-1,{cell}", "c-2,x"]))

    assert [each.customer["line"] for each in people if isinstance(each, Person)] == [
        f'Say "hi",{line_end}twice',
        "x",
    ]


def test_cells_are_not_trimmed(write: Write) -> None:
    assert only(write("a.csv", "registered,city\n c-1 , Dresden \n")) == Person(
        1, {"city": " Dresden "}, {"registered": " c-1 "}
    )


def test_a_byte_order_mark_is_no_part_of_the_first_name(write: Write) -> None:
    assert only(write("a.csv", "\ufeffregistered\nc-1\n")).customer_ids == {"registered": "c-1"}
    assert only(write("a.jsonl", '\ufeff{"customer_ids": {"cookie": "u"}}')).customer_ids == {"cookie": "u"}
    assert only(write("a.json", '\ufeff[{"customer_ids": {"cookie": "u"}}]')).customer_ids == {"cookie": "u"}


def test_rows_without_any_text_are_no_rows(write: Write) -> None:
    people = write("a.csv", "\n\nregistered,city\n\nc-1,x\n,\n  \n , \nc-2,y\n,,,\n")

    assert [(each.row, each.customer_ids) for each in people if isinstance(each, Person)] == [
        (1, {"registered": "c-1"}),
        (2, {"registered": "c-2"}),
    ]
    assert kinds(people) == "PP"


def test_nameless_columns_at_the_end_are_left_out_as_long_as_they_are_empty(write: Write) -> None:
    people = write("a.csv", "registered,city,, \nc-1,x,, \nc-2,y\nc-3,z,,Höflich\n")

    assert kinds(people) == "PPu"
    assert "4 cells and the header 2" in unreadable(people, 3).detail


def test_a_row_with_other_cells_than_the_header_leaves_its_neighbours_alone(write: Write) -> None:
    people = write("a.csv", "registered,name,city\nc-1,x,y\nc-2,Höflich\nc-3,Höflich,Ada,z\nc-4,x,y\n")

    assert kinds(people) == "PuuP"
    assert unreadable(people, 2).raw == "c-2,Höflich\n".encode()
    assert "2 cells and the header 3" in unreadable(people, 2).detail
    assert "4 cells and the header 3" in unreadable(people, 3).detail


@pytest.mark.parametrize(
    "broken",
    [
        'c-2,"Höflich',  # is closed by nothing
        'c-2,"Höflich"s',
        'c-2,"Höf"lich"',
    ],
)
@pytest.mark.parametrize("following", ["c-3,x\n", 'c-3,"x"\n', 'c-3,"x\ny"\n'])
def test_a_broken_quote_costs_one_line(write: Write, broken: str, following: str) -> None:
    people = write("a.csv", f"registered,name\nc-1,x\n{broken}\n{following}c-4,y\n")

    assert kinds(people) == "PuPP"
    assert "quotes" in unreadable(people, 2).detail
    assert unreadable(people, 2).raw == f"{broken}\n".encode()
    assert [each.customer_ids["registered"] for each in people if isinstance(each, Person)] == [
        "c-1",
        "c-3",
        "c-4",
    ]


def test_a_cell_beyond_the_limit_of_the_csv_module_costs_one_row(write: Write) -> None:
    people = write("a.csv", f"registered,name\nc-1,{'x' * 131_072}\nc-2,{'x' * 131_073}\nc-3,x\n")

    assert kinds(people) == "PuP"
    assert len(unreadable(people, 2).raw) == MAX_RAW_BYTES


@pytest.mark.parametrize("excess", [1, 2 * MAX_ROW])
def test_a_row_that_is_too_long_costs_one_row(write: Write, excess: int) -> None:
    header = ",".join(["registered", *"123456789"])
    rest = ",".join(["", *["x" * 99_999] * 9]) + "\n"
    longest = "c" * (MAX_ROW - len(rest)) + rest
    too_long = "c" * excess + longest
    people = write("a.csv", f'{header}\n{longest}{too_long}{longest}"\n{too_long}{longest}')

    assert kinds(people) == "PuPuuP"
    assert "characters" in unreadable(people, 2).detail
    assert len(unreadable(people, 2).raw) == MAX_RAW_BYTES


def test_bytes_that_are_no_text_cost_one_row(write: Write) -> None:
    people = write(
        "a.csv", b"registered,name\nc-1,\xc3\xb6\nc-2,H\xf6flich\nc-3,a\0b\nc-4,\xed\xa0\x80\nc-5,x\n"
    )

    assert kinds(people) == "PuuuP"
    assert unreadable(people, 2).raw == b"c-2,H\xf6flich\n"
    assert "UTF-8" in unreadable(people, 2).detail
    assert "NUL" in unreadable(people, 3).detail


# Files that cannot be used at all


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "registered,name\nc-1,Höflich\n".encode("utf-16"), "UTF-16"),
        ("a.csv", "registered,name\nc-1,Höflich\n".encode("utf-16-le"), "UTF-16"),
        ("a.csv", "registered,name\nc-1,Höflich\n".encode("latin-1"), "Line 2 is not UTF-8, from byte 22"),
        ("a.json", '[{"customer": {"name": "Höflich"}}]'.encode("latin-1"), "Line 1 is not UTF-8"),
        ("a.csv", "registered,Größe,".encode("latin-1") + "ö\n".encode(), "header line is damaged"),
        ("a.csv", b"PK\x03\x04\x14\0\x06\0", "spreadsheet"),
        ("a.csv", "registered,,name\nc-1,,Höflich\n", "Column 2 of the header line has no name"),
        ("a.csv", "registered,customer.,name\nc-1,,x\n", "Column 2 of the header line has no name"),
        ("a.csv", "registered,name,city, name\nc-1,,x,y\n", "Columns 2 and 4 of the header line"),
        ("a.csv", "registered,customer_ids.registered\nc-1,x\n", "Columns 1 and 2 of the header line"),
        ("a.csv", 'registered,"name\nc-1,Höflich\n', "header line is damaged"),
        ("a.json", "\nregistered,name\nc-1,Höflich\n", "Line 2 begins neither a list nor an object"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(
    write: Write, name: str, content: str | bytes, sentence: str
) -> None:
    with pytest.raises(WrongFile, match=sentence) as refused:
        write(name, content)

    assert "flich" not in str(refused.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongFile, match="no such file"):
        PeopleFile(tmp_path / "absent.csv", IDS)
    with pytest.raises(WrongFile, match="no such file"):
        PeopleFile(tmp_path, IDS)
    with pytest.raises(WrongFile, match="cannot be opened: File name too long"):
        PeopleFile(tmp_path / ("x" * 300), IDS)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a"])
@pytest.mark.parametrize("content", ["", "\ufeff", "\r\n \n"])
def test_an_empty_file_has_no_rows(write: Write, name: str, content: str) -> None:
    assert list(write(name, content)) == []


def test_a_header_alone_has_no_rows(write: Write) -> None:
    assert list(write("a.csv", "registered,name")) == []


# JSON

ADA: dict[str, dict[str, Any]] = {
    "customer": {"firstName": "Ada", "size": 38.5},
    "customer_ids": {"cookie": ["u", "v"]},
}
MAX: dict[str, dict[str, Any]] = {"customer_ids": {"registered": "c-2"}}
PEOPLE = [Person(1, ADA["customer"], ADA["customer_ids"]), Person(2, {}, MAX["customer_ids"])]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", json.dumps(ADA) + "\n\n \n" + json.dumps(MAX)),
        ("a.ndjson", json.dumps(ADA) + "\r\n" + json.dumps(MAX) + "\r\n"),
        ("a.json", json.dumps(ADA) + "\n" + json.dumps(MAX) + "\n"),
        ("a.json", json.dumps([ADA, MAX])),
        ("a.json", json.dumps([ADA, MAX], indent=2)),
        ("a.json", json.dumps(ADA, indent=2) + json.dumps(MAX, indent=2)),
        ("a", "\n" + json.dumps([ADA, MAX])),
        ("a.data", json.dumps(ADA) + "\n" + json.dumps(MAX)),
    ],
)
def test_people_of_json_stand_in_lines_in_a_list_or_one_after_the_other(
    write: Write, name: str, text: str
) -> None:
    assert list(write(name, text)) == PEOPLE


@pytest.mark.parametrize("customer_ids", [{"cookie": ""}, {"cookie": " "}, {"cookie": None}, {"cookie": []}])
def test_empty_ids_of_json_are_left_out(write: Write, customer_ids: dict[str, Any]) -> None:
    row = {"customer": None, "customer_ids": {"registered": "c-1"} | customer_ids}

    assert only(write("a.jsonl", json.dumps(row))) == Person(1, {}, {"registered": "c-1"})


WRONG_ROWS = [
    ("null", "is null"),
    ('["Höflich"]', "is a list"),
    ('{"registered": "c-1", "name": "Höflich"}', "neither customer nor customer_ids"),
    ('{"customer": null}', "neither customer nor customer_ids"),
    ('{"customer": "Höflich"}', "customer is a text"),
    ('{"customer": {}, "customer_ids": ["Höflich"]}', "customer_ids is a list"),
    ('{"customer": {"name": "Höflich", "size": NaN}}', "no finite number"),
    ('{"customer": {"size": -Infinity}}', "no finite number"),
    ('{"customer": {"size": 1e400}}', "no finite number"),
    ('{"customer": {"size": %s}}' % ("1" * 5000), "thousands of digits"),
    ('{"customer": {"name": "H\\u0000flich"}}', "NUL"),
    ('{"customer": {"name": "H\\ud800flich"}}', "surrogate"),
    ('{"customer": {"a": ' + "[" * 600 + "]" * 600 + "}}", "nested"),
]


@pytest.mark.parametrize(("wrong", "sentence"), WRONG_ROWS)
@pytest.mark.parametrize(
    ("name", "form"),
    [("a.jsonl", "{0}\n{1}\n{0}\n"), ("a.json", "[{0},\n{1}, {0}]"), ("a.json", "{0} {1} {0}")],
)
def test_a_wrong_row_of_json_leaves_its_neighbours_alone(
    write: Write, name: str, form: str, wrong: str, sentence: str
) -> None:
    people = write(name, form.format(json.dumps(MAX), wrong))

    assert kinds(people) == "PuP"
    assert sentence in unreadable(people, 2).detail
    assert unreadable(people, 2).raw.strip() == wrong.encode()


def test_a_text_that_only_looks_like_an_escaped_nul_is_kept(write: Write) -> None:
    row: dict[str, dict[str, Any]] = {"customer": {"path": "C:\\u0000"}}

    assert only(write("a.jsonl", json.dumps(row))).customer == row["customer"]


def test_whole_numbers_are_exact(write: Write) -> None:
    number = 123_456_789_012_345_678_901_234_567_890
    row: dict[str, dict[str, Any]] = {"customer": {"number": number}, "customer_ids": {"registered": number}}

    assert only(write("a.jsonl", json.dumps(row))) == Person(1, row["customer"], row["customer_ids"])


def test_the_last_of_repeated_keys_counts(write: Write) -> None:
    assert only(write("a.jsonl", '{"customer": {"a": 1, "a": 2}}')).customer == {"a": 2}


def test_a_syntax_error_costs_one_line_of_json_lines(write: Write) -> None:
    people = write("a.jsonl", b'{"customer": {}}\n{"customer": H\xc3\xb6flich\n\xff\n{"customer": {}}')

    assert kinds(people) == "PuuP"
    assert unreadable(people, 2).detail.startswith("The row is not JSON")


@pytest.mark.parametrize("excess", [0, 3 * MAX_ROW])
def test_a_line_that_is_too_long_costs_one_row(write: Write, excess: int) -> None:
    line = '{"customer": {"a": "%s"}}'
    long = line % ("x" * (MAX_ROW - len(line) + 2 - 1))
    people = write("a.jsonl", f"{long}\n{' ' * (excess + 1)}{long}\n{line}\n")

    assert kinds(people) == "PuP"
    assert len(unreadable(people, 2).raw) == MAX_RAW_BYTES


@pytest.mark.parametrize(
    "end",
    [
        "",  # the file was cut off
        ", ",
        ', {"customer": {"name": "Höf',
        ", Höflich]",
        ' {"customer": {"name": "Höflich"}}]',
        '] {"customer": {"name": "Höflich"}}',
        ", " + "[" * 100_000 + "]" * 100_001,
        ', {"customer": {"name": "%s"}}]' % ("Höflich" * MAX_ROW),
    ],
)
def test_what_follows_a_syntax_error_in_a_list_is_one_unreadable_row(write: Write, end: str) -> None:
    people = write("a.json", f"[{json.dumps(ADA)}, {json.dumps(MAX)}{end}")

    assert kinds(people) == "PPu"
    assert "nobody can tell" in unreadable(people, 3).detail
    assert unreadable(people, 3).raw == end.lstrip(", ]").encode()[:MAX_RAW_BYTES]


def test_a_long_value_of_a_list_costs_one_row_where_its_end_is_found(write: Write) -> None:
    row = '{"customer": {"name": "%s"}}'
    people = write("a.json", f"[{row}, {row % ('x' * MAX_ROW)}, {row}]")

    assert kinds(people) == "PuP"


def test_an_empty_list_has_no_rows(write: Write) -> None:
    assert list(write("a.json", " [ ] ")) == []


@pytest.mark.parametrize("number", ["1.5", "-1.5e+9", "1E-9"])
def test_a_number_may_lie_across_the_end_of_a_chunk(write: Write, number: str) -> None:
    for before in range(len(number) + 1):
        padding = " " * (64 * 1024 - 1 - before)

        assert kinds(write("a.json", f"[{padding}{number}, {json.dumps(MAX)}]")) == "uP"


# Whatever the content

TABLES = st.lists(st.sampled_from([b"a", b'"', b",", b";", b"\n", b"\r", b"\0", b"\xff", "ö".encode(), b" "]))
JSONS = st.lists(
    st.sampled_from([b"{", b"}", b"[", b"]", b'"customer"', b":", b",", b"{}", b"\n", b"1", b"\xff"])
)
CONTENTS = st.one_of(st.binary(), TABLES.map(b"".join), JSONS.map(b"".join))


@given(
    content=CONTENTS,
    extension=st.sampled_from([".csv", ".jsonl", ".json", ""]),
    begin=st.sampled_from(
        [b"", b"a,b\n", b"registered;a\n1;2\n", b"[", b'{"customer": {}}\n', b'[{"customer":{}},']
    ),
)
@example(content=b"a" * 70_000 + b'"\0', extension=".csv", begin=b'a\n"')
def test_any_bytes_give_rows_without_gaps_or_a_wrong_file(
    scratch: Path, content: bytes, extension: str, begin: bytes
) -> None:
    path = scratch / f"any{extension}"
    path.write_bytes(begin + content)
    try:
        people = PeopleFile(path, IDS)
    except WrongFile:
        return
    rows = list(people)

    assert [each.row for each in rows] == list(range(1, len(rows) + 1))
    assert people.position == people.size == len(begin + content)
    assert all(is_storable(encode(each[1:])) for each in rows if isinstance(each, Person))
    for after in {0, 1, len(rows) // 2, len(rows), len(rows) + 1}:
        assert list(people.rows(after)) == rows[after:]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(
    table=st.lists(st.lists(TEXTS, min_size=3, max_size=3).filter(lambda row: any(map(str.strip, row)))),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_is_written_as_csv_is_read_as_it_was(
    scratch: Path, table: list[list[str]], delimiter: str, quoting: Any
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, quoting=quoting)
    writer.writerows([["registered", "name", "city"], *table])
    path = scratch / "written.csv"
    path.write_bytes(written.getvalue().encode())

    assert list(PeopleFile(path, IDS)) == [
        Person(row, {"name": name, "city": city}, {"registered": id_} if id_.strip() else {})
        for row, (id_, name, city) in enumerate(table, 1)
    ]


def _csv(rows: int) -> str:
    return "registered,name\n" + "".join(f'c-{row},"{SURNAME}, the {row}th"\n' for row in range(rows))


def _objects(rows: int) -> list[str]:
    return [
        json.dumps({"customer": {"name": SURNAME}, "customer_ids": {"registered": row}})
        for row in range(rows)
    ]


FORMS: dict[str, Callable[[int], str]] = {
    "a.csv": _csv,
    "a.jsonl": lambda rows: "\n".join(_objects(rows)),
    "a.json": lambda rows: f"[{','.join(_objects(rows))}]",
}


@pytest.mark.parametrize("name", FORMS)
def test_memory_does_not_grow_with_the_file(write: Write, name: str) -> None:
    def peak(rows: int) -> int:
        people = write(name, FORMS[name](rows))
        tracemalloc.start()
        try:
            assert sum(1 for _ in people) == rows
            assert people.digest
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Both files are longer than any chunk; the larger one has over a megabyte.
    assert peak(20_000) < peak(2_000) + 100_000


@pytest.mark.parametrize("name", FORMS)
def test_reading_can_begin_after_any_row(write: Write, name: str) -> None:
    people = write(name, FORMS[name](3_000))
    rows = list(people)

    assert list(people.rows(after=2_500)) == rows[2_500:]
    assert list(people.rows(after=3_000)) == []


@pytest.mark.parametrize("name", FORMS)
def test_the_position_goes_from_nothing_to_the_size(write: Write, name: str) -> None:
    people = write(name, FORMS[name](5_000))
    positions = [people.position] + [people.position for _ in people] + [people.position]

    assert positions[0] == 0
    assert positions == sorted(positions)
    assert 0 < positions[2_500] < people.size
    assert positions[-1] == people.size


def test_a_reading_that_stops_early_keeps_its_position_and_closes_the_file(write: Write) -> None:
    people = write("a.csv", FORMS["a.csv"](5_000))
    rows = people.rows()
    assert len(list(islice(rows, 10))) == 10
    rows.close()  # type: ignore[attr-defined]  # it is a generator

    assert 0 < people.position < people.size


def test_size_and_digest_are_those_of_the_content(write: Write) -> None:
    content = FORMS["a.csv"](5_000).encode()
    people = write("a.csv", content)

    assert people.size == len(content)
    assert people.digest == hashlib.sha256(content).digest()
