"""Which properties events have, and the values of one: counted, by HTTP and by command, on both databases."""

import json
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from receiver.domain import property_counts
from receiver.domain.json_text import encode
from receiver.domain.moments import DAY_US, iso
from receiver.domain.properties import PropertyEquals, having
from receiver.domain.property_counts import Properties, Value, Values
from receiver.store import event_properties, reports
from receiver.web.event_properties import PropertiesDocument, ValuesDocument
from tests.reading_app import authorization
from tests.reading_commands import run
from tests.rows import T0, Rows


def keep(
    rows: Rows,
    properties: dict[str, object],
    occurred_us: int = T0,
    *,
    customer: int = 0,
    campaign: str | None = None,
    status: str | None = None,
) -> None:
    rows.event(customer, occurred_us, campaign=campaign, status=status, properties=encode(properties))


def get(client: TestClient, rows: Rows, path: str, role: str = "data", **parameters: str) -> Any:
    url = f"/v1/projects/{rows.project.token}/events/properties{path}"
    return client.get(url, params=parameters, headers=authorization(rows.project, role))


def good(client: TestClient, rows: Rows, path: str = "", **parameters: str) -> Any:
    answer = get(client, rows, path, **parameters)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    model = ValuesDocument if path else PropertiesDocument
    model.model_validate_json(answer.content, strict=True)
    return answer.json()


def listed(values: Values) -> list[tuple[str, int]]:
    return [(each.text, each.events) for each in values.listed()]


# -- values, counted ------------------------------------------------------------------------------

DIFFERENT: list[list[Any]] = [
    [1, 1.0, 1e0],
    ["1"],
    [True],
    ["true"],
    [0, 0.0, -0.0],
    [False],
    [None],
    ["null"],
    [""],
    [2.5, 25e-1],
    [2**70, float(2**70)],
    [2**70 + 1],
    [10**16, 1e16],
    [[1, {"a": 2.0}], [1.0, {"a": 2}]],
    [[True, {"a": 2}]],
    [{"a": 1, "b": [None]}, {"b": [None], "a": 1.0}],
    [{}],
    [[]],
    ['it\'s "ü" 😀 \n'],
]


def test_different_values_are_counted_each_for_itself() -> None:
    values = Values("name")
    for same in DIFFERENT:
        for value in same:
            values.add(encode({"other": 1, "name": value}), T0)

    assert sorted(events for _, events in listed(values)) == sorted(map(len, DIFFERENT))


def test_values_are_the_same_where_the_filter_of_events_takes_one_for_the_other() -> None:
    # Of texts it takes 1 also for "1", and it knows no lists and objects.
    scalars = [each for same in DIFFERENT for each in same if not isinstance(each, str | list | dict)]
    for one, other in product(scalars, repeat=2):
        values = Values("name")
        for value in (one, other):
            values.add(encode({"name": value}), T0)

        is_found = having(PropertyEquals("name", encode(one)))(encode({"name": other}))
        assert is_found == (len(listed(values)) == 1), (one, other)


def test_a_property_that_is_null_is_there_and_one_deeper_within_is_not() -> None:
    values = Values("name")
    for properties in ({"name": None}, {}, {"deep": {"name": 1}}, {"text": '"name":1'}):
        values.add(encode(properties), T0)

    assert (values.counted, values.without, listed(values)) == (4, 3, [("null", 1)])


def test_any_text_may_be_the_name_of_a_property() -> None:
    for name in ("", "a/b", 'say "hi"', "back\\slash", "line\nbreak", "ü😀", "\x7f\u2028"):
        values = Values(name)
        for other in (1, 2**70):
            values.add(encode({"other": other, name: "B"}), T0)

        assert (values.without, listed(values)) == (0, [('"B"', 2)])


def test_the_most_frequent_values_stand_first_and_of_these_the_last_one() -> None:
    values = Values("n")
    for at_us, value in enumerate([1, 2, 2, 3, 1]):
        values.add(encode({"n": value}), at_us)

    assert values.listed() == [Value("1", 2, 4), Value("2", 2, 2), Value("3", 1, 3)]


def test_memory_is_bounded_and_what_is_listed_is_counted_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(property_counts, "MOST", 20)
    monkeypatch.setattr(property_counts, "LISTED", 3)
    values = Values("n")
    for number in range(1000):
        values.add(encode({"n": number}), T0)
        values.add(encode({"n": 7}), T0)

    assert listed(values)[0] == ("7", 1001)
    assert (len(listed(values)), values.counted) == (3, 2000)
    assert len(values._times) == 20


def test_long_values_are_bounded_by_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(property_counts, "MOST_TEXT", 1000)
    values = Values("n")
    for number in range(100):
        values.add(encode({"n": f"{number:0100}"}), T0)

    assert len(listed(values)) == 9


def test_names_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(property_counts, "MOST", 20)
    monkeypatch.setattr(property_counts, "LISTED", 3)
    properties = Properties()
    properties.add(2, [encode({"n": 1}), encode({"n": "text"})])
    properties.add(1, [encode({f"{number}": 1 for number in range(1000)})])

    assert (properties.names, len(properties.listed())) == (20, 3)
    assert properties.listed()[0]._asdict() == {
        "name": "n",
        "types": ("number", "string"),
        "share": 2 / 3,
        "kinds": 1,
    }


# -- which properties there are -------------------------------------------------------------------


def test_properties_are_told_with_their_types_their_share_and_the_kinds_that_have_them(
    client: TestClient, rows: Rows
) -> None:
    for number in range(3):
        keep(rows, {"variation": "B", "n": number, "both": number or None}, campaign="spring")
    keep(rows, {"variation": "A", "deep": {"n": 1}, "list": [], "yes": True}, campaign="autumn")

    assert good(client, rows) == {
        "data": [
            {"name": "variation", "types": ["string"], "share": 1.0, "kinds": 2},
            {"name": "both", "types": ["number", "null"], "share": 0.75, "kinds": 1},
            {"name": "n", "types": ["number"], "share": 0.75, "kinds": 1},
            {"name": "deep", "types": ["object"], "share": 0.25, "kinds": 1},
            {"name": "list", "types": ["array"], "share": 0.25, "kinds": 1},
            {"name": "yes", "types": ["boolean"], "share": 0.25, "kinds": 1},
        ],
        "names": 6,
        "events": 4,
        "sampled": 4,
        "kinds": 2,
    }


def test_a_kind_counts_for_as_many_events_as_it_has_whatever_is_read_of_it(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_properties, "MOST_OF_A_KIND", 2)
    keep(rows, {"old": 1}, campaign="large")
    for number in range(1, 9):
        keep(rows, {"large": 1}, T0 + number, campaign="large")
    keep(rows, {"small": 1}, campaign="small")

    found = good(client, rows)

    assert {each["name"]: each["share"] for each in found["data"]} == {"large": 0.9, "small": 0.1}
    assert (found["events"], found["sampled"], found["kinds"]) == (10, 3, 2)


def test_only_so_many_events_are_read(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_properties, "MOST_SAMPLED", 4)
    for number in range(12):
        keep(rows, {"n": 1}, campaign=f"{number % 2}")
    assert good(client, rows)["sampled"] == 4

    for number in range(5):
        keep(rows, {"rare": 1}, campaign=f"rare {number}")
    found = good(client, rows)

    # Not even one of each: then the kinds with most events are told of.
    assert (found["sampled"], found["kinds"], found["events"]) == (4, 4, 14)


def test_filters_say_of_which_kinds(client: TestClient, rows: Rows) -> None:
    keep(rows, {"a": 1}, campaign="it's", status="s")
    keep(rows, {"b": 1}, campaign="other", status="s")
    rows.event(type="t", stage="posted", properties=encode({"c": 1}))

    def names(**parameters: str) -> set[str]:
        return {each["name"] for each in good(client, rows, **parameters)["data"]}

    assert names() == {"a", "b", "c"}
    assert names(campaign="it's") == {"a"}
    assert names(status="s") == {"a", "b"}
    assert names(type="t") == names(stage="posted") == {"c"}
    assert names(campaign="none") == set()


def test_another_project_has_its_own(client: TestClient, rows: Rows) -> None:
    keep(rows, {"a": 1})
    rows.begin_project()

    assert good(client, rows) == {"data": [], "names": 0, "events": 0, "sampled": 0, "kinds": 0}
    assert good(client, rows, "/a")["counted"] == 0


# -- the values of one ----------------------------------------------------------------------------


def test_values_are_told_with_how_many_events_have_them_and_since_when(
    client: TestClient, rows: Rows
) -> None:
    for number, value in enumerate(["B", 1, "B", 1.0, "1"]):
        keep(rows, {"variation": value}, T0 + number)
    keep(rows, {})

    assert good(client, rows, "/variation") == {
        "name": "variation",
        "data": [
            {"value": 1, "events": 2, "share": 0.333333, "last_at": iso(T0 + 3)},
            {"value": "B", "events": 2, "share": 0.333333, "last_at": iso(T0 + 2)},
            {"value": "1", "events": 1, "share": 0.166667, "last_at": iso(T0 + 4)},
        ],
        "others": 0,
        "without": 1,
        "counted": 6,
        "complete": True,
    }


def test_values_are_those_of_the_events_that_match(client: TestClient, rows: Rows) -> None:
    anna = rows.customer({"registered": "anna"})
    keep(rows, {"v": "A", "with": 1}, customer=anna, campaign="c", status="s")
    keep(rows, {"v": "B"}, T0 + DAY_US)
    keep(rows, {"v": "C"}, T0 - DAY_US)

    def values(**parameters: str) -> list[str]:
        return sorted(each["value"] for each in good(client, rows, "/v", **parameters)["data"])

    assert values() == ["A", "B", "C"]
    assert values(campaign="c") == values(status="s") == values(customer="registered:anna") == ["A"]
    assert values(property="with:1") == ["A"]
    assert values(since="2025-10-09", until="2025-10-10") == ["A"]
    assert values(since="2025-10-09") == ["A", "B"]
    assert values(received_until="2025-10-09") == []


@pytest.mark.parametrize(
    "name", ["", "a/b", "/", "properties", "50%", "a?b#c", "line\nbreak\n", "ü 😀", "\x00"]
)
def test_any_text_may_be_asked_for(client: TestClient, rows: Rows, name: str) -> None:
    keep(rows, {name.replace("\x00", "other"): "B"})

    answer = get(client, rows, "/" + quote(name, safe=""))

    assert answer.json()["name"] == name
    assert answer.json()["without"] == (1 if name == "\x00" else 0)


def test_so_many_events_are_counted_the_newest_first(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "PAGE", 2)
    monkeypatch.setattr(event_properties, "MOST_PAGES", 2)
    for number in range(4):
        keep(rows, {"n": number}, T0 + number)
    found = good(client, rows, "/n")
    assert (found["counted"], found["complete"]) == (4, True)

    keep(rows, {"n": 4}, T0 + 4)
    found = good(client, rows, "/n")

    assert (found["counted"], found["complete"]) == (4, False)
    assert {each["value"] for each in found["data"]} == {1, 2, 3, 4}


def test_a_number_may_be_as_long_as_one_that_is_taken(client: TestClient, rows: Rows) -> None:
    value = 10**4299
    keep(rows, {"n": value, "deep": {"n": value}})

    assert [each["types"] for each in good(client, rows)["data"]] == [["object"], ["number"]]
    assert good(client, rows, "/n")["data"][0]["value"] == value
    assert run("properties", rows, "n").stdout.splitlines()[1].startswith(f"{value}\t1\t")


def test_what_is_not_listed_is_counted_together(
    client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(property_counts, "LISTED", 1)
    for value in ("A", "B", "A", "C"):
        keep(rows, {"v": value})

    found = good(client, rows, "/v")

    assert ([each["value"] for each in found["data"]], found["others"]) == (["A"], 2)


def test_who_may_read_events_may_read_this(client: TestClient, rows: Rows) -> None:
    for path in ("", "/v"):
        assert get(client, rows, path, role="ops").status_code == 200
        assert get(client, rows, path, role="tracking").status_code == 403


def test_what_cannot_be_asked_is_refused(client: TestClient, rows: Rows) -> None:
    assert get(client, rows, "", since="2025-10-09").json()["errors"][0]["parameter"] == "since"
    assert get(client, rows, "/v", limit="3").json()["errors"][0]["parameter"] == "limit"


def test_the_sql_of_the_sample_gives_the_sample(client: TestClient, rows: Rows) -> None:
    keep(rows, {"a": "it's"}, campaign="it's")

    statements = good_sql(client, rows, "", campaign="it's")

    with rows.engine.connect() as connection:
        assert connection.exec_driver_sql(statements[-1]).one()[1:] == (1, '{"a":"it\'s"}')


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_of_each_kind_only_the_newest_events_are_read(client: TestClient, rows: Rows) -> None:
    keep(rows, {"a": 1})
    *_, sample = good_sql(client, rows, "")

    with rows.engine.connect() as connection:
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sample}")]

    assert "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert "SEARCH events USING COVERING INDEX ix_events_kind (kind_id=?)" in plan
    assert "SCAN events" not in plan


def good_sql(client: TestClient, rows: Rows, path: str, **parameters: str) -> list[str]:
    statements: list[str] = get(client, rows, path, show="sql", **parameters).json()["sql"]
    return statements


# -- on the command line --------------------------------------------------------------------------


def test_a_command_says_the_same(client: TestClient, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "PAGE", 2)
    monkeypatch.setattr(event_properties, "MOST_PAGES", 1)
    for number, value in enumerate(["B", 1, "B"]):
        keep(rows, {"variation": value}, T0 + number, campaign="c")

    known, values = good(client, rows), good(client, rows, "/variation")

    assert json.loads(run("properties", rows, "--json").stdout) == known
    told = run("properties", rows, "--campaign", "c")
    assert told.stdout.splitlines()[1:] == ["variation\tstring number\t100.0%\t1"]
    assert told.stderr == "From a sample: 3 events of 1 kinds stand for 3.\n"

    # All of them, where HTTP counts the newest.
    assert values["complete"] is False
    every = json.loads(run("properties", rows, "variation", "--json").stdout)
    assert (every["counted"], every["complete"]) == (3, True)
    told = run("properties", rows, "variation", "--since", "2025-10-01")
    assert told.stdout.splitlines()[1:] == [
        f'"B"\t2\t66.7%\t{iso(T0 + 2)}',
        f"1\t1\t33.3%\t{iso(T0 + 1)}",
    ]
    assert told.stderr == "Of 3 events 0 do not have it, and 0 have values that are not listed.\n"


def test_a_command_shows_the_sql_of_http(client: TestClient, rows: Rows) -> None:
    keep(rows, {"variation": "B"})
    for path, arguments in (("", ()), ("/variation", ("variation",))):
        _, told = run("properties", rows, *arguments, "--show-sql").stdout.split(";\n", 1)
        assert told == "".join(f"{each};\n" for each in good_sql(client, rows, path))


def test_a_command_refuses_what_makes_no_sense(rows: Rows) -> None:
    without_a_name = run("properties", rows, "--since", "2025-10-09", "--customer", "registered=a")
    unreadable = run("properties", rows, "\udcff")

    assert (without_a_name.exit_code, unreadable.exit_code) == (2, 2)
    assert "--customer, --since" in without_a_name.stderr
