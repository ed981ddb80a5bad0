"""``python -m benchmarks.asking``: how long questions about a million rejections take.

The promise: a first page and a summary within 30 ms, the database warm.  The rejections came over a year,
from 40 campaigns in two projects, and are written by the statements of the service; the questions are asked
one after the other, in another order each time.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from random import Random
from typing import NamedTuple

from sqlalchemy import Engine, select

from benchmarks.databases import Databases, analyze
from benchmarks.processes import Stolen, on_server_core
from benchmarks.questions import PAGE_MS, Ask, Times, arguments, circumstances, publish, table, took
from benchmarks.report import commit
from benchmarks.service import Service
from receiver.domain.moments import DAY_US, HOUR_US, hour_of
from receiver.domain.shapes import Shape
from receiver.store import keys, refusal_counts, refused, reports
from receiver.store.engine import connect
from receiver.store.migrations import migrate
from receiver.store.refused import RejectionFilter
from receiver.store.sets import Ledger
from receiver.store.shapes import counts_of
from receiver.store.tables import rejections
from receiver.store.writes import Writes, take_turn, write

_YEAR_US = 365 * DAY_US
_IN_A_TRANSACTION = 5_000

_OF_CAMPAIGNS = {
    ("empty_customer_id", "/customer_ids/registered"): 40,
    ("placeholder_customer_id", "/customer_ids/cookie"): 20,
    ("timestamp_in_milliseconds", "/timestamp"): 15,
    ("invalid_timestamp", "/timestamp"): 10,
    ("property_too_large", "/properties/note"): 5,
}
_OF_NONE = {
    ("malformed_json", "", None): 5,
    ("missing_event_type", "/event_type", None): 3,
    ("unknown_command", "/name", "campaign"): 2,
}
_CAMPAIGNS, _WITHOUT_END = 40, 4
_FORMS = ("flat", "flat", "flat", "event", "command")
_HEADERS = '[["content-type","application/json"],["user-agent","optilyz"]]'


def main() -> int:
    """Runs, prints, writes."""
    parser = arguments("benchmarks.asking", main.__doc__, rounds=21)
    parser.add_argument("--rows", type=int, default=1_000_000)
    chosen = parser.parse_args()
    databases = Databases(chosen.databases)
    on_server_core()
    try:
        urls = {name: databases.fresh(name, "asking") for name in chosen.databases}
        for url in urls.values():
            fill(url, chosen.rows)
        lines = _measured(urls, chosen.rows, chosen.rounds)
    finally:
        databases.close()
    publish(lines, chosen.output, "asking")
    return 0


def _measured(urls: dict[str, str], rows: int, rounds: int) -> list[str]:
    """The table of what the databases at *urls* took, which are filled."""
    stolen = Stolen()
    times = {name: _took(url, rounds) for name, url in urls.items()}
    goals = dict.fromkeys(next(iter(times.values())), PAGE_MS)
    heads = [f"# Asking about {rows:,} rejections, {commit()}", "", circumstances(rounds, stolen), ""]
    return [*heads, *table(times, goals)]


# -- the rejections -------------------------------------------------------------------------------


class _Refused(NamedTuple):
    """One rejection; *again_us* is when it came once more, None where it did not."""

    shape: Shape
    state: str
    received_us: int
    again_us: int | None
    body: bytes


def fill(url: str, rows: int) -> None:
    """Makes the database at *url*, which is empty, one with so many rejections up to now."""
    engine = connect(url)
    migrate(engine)
    now_us = time.time_ns() // 1000
    with engine.execution_options(writes=True).begin() as connection:
        for name in ("letters", "others"):
            keys.create_project(connection, name, public=False, now_us=now_us - _YEAR_US)
        projects = [each.id for each in keys.projects(connection)]
    waiting = _year(rows, projects, now_us)
    with closing(Ledger(engine)) as ledger:
        while some := list(islice(waiting, _IN_A_TRANSACTION)):
            with ledger.transaction() as transaction:
                last_id = take_turn(transaction, len(some))().last_id
                write(transaction, _writes(some, last_id - len(some) + 1))
    engine.dispose()
    analyze(url)


def _year(rows: int, projects: list[int], now_us: int) -> Iterator[_Refused]:
    random = Random(5)
    for number in range(rows):
        received_us = now_us - _YEAR_US + (number + 1) * _YEAR_US // rows
        shape = _shape(random, projects[random.random() < 0.1], number / rows)
        again_us = None
        if random.random() < 0.1:
            # Most come again within the day, a few when a file is sent once more.
            longest_us = DAY_US if random.random() < 0.8 else 14 * DAY_US
            again_us = received_us + int(random.random() * longest_us)
        state = "open"
        if received_us < now_us - 7 * DAY_US:
            state = random.choices(("replayed", "dismissed", "open"), (7, 2, 1))[0]
        note = ("Lorem ipsum dolor sit amet. " * 15)[: random.randrange(80, 360)]
        body = _BODY % (number, shape.campaign, received_us // 1_000_000, note)
        if again_us is not None and again_us > now_us:
            again_us = None
        yield _Refused(shape, state, received_us, again_us, body.encode())


_BODY = (
    '{"customer_ids":{"registered":"","cookie":"9b2f6c1e-%012d"},"event_type":"campaign","properties":'
    '{"status":"delivered","campaign_id":"%s","platform":"optilyz"},"timestamp":%d,"note":"%s"}'
)


def _shape(random: Random, project_id: int, place: float) -> Shape:
    """Of something that came at this *place* in the year, from 0 to 1."""
    if random.random() < 0.1:
        reason, pointer, event_type = random.choices(list(_OF_NONE), list(_OF_NONE.values()))[0]
        return Shape(
            project_id, "flat" if event_type is None else "command", reason, pointer, event_type, None
        )
    if random.random() < 0.3:
        campaign = random.randrange(_WITHOUT_END)
    else:
        # A campaign begins every ten days, and most is heard of it in the first weeks.
        begun = int(place * (_CAMPAIGNS - _WITHOUT_END))
        campaign = _WITHOUT_END + max(0, begun - int(random.expovariate(0.7)))
    reason, pointer = random.choices(list(_OF_CAMPAIGNS), list(_OF_CAMPAIGNS.values()))[0]
    form = _FORMS[campaign % len(_FORMS)]
    return Shape(project_id, form, reason, pointer, "campaign", f"campaign-{campaign:02d}")


def _writes(some: list[_Refused], first_id: int) -> Writes:
    """What ingest leaves behind of them."""
    writes = Writes()
    found: dict[int, Shape] = {}
    for number, (shape, state, seen_us, again_us, body) in enumerate(some, first_id):
        detail = f"Something is wrong with {shape.pointer or 'the JSON'}; it was kept as it came."
        about = shape.form, shape.reason, detail, shape.pointer, state, 1, int(state == "replayed")
        row = number, shape.project_id, shape.id, None, *about, seen_us, seen_us, _HEADERS, body
        writes.rejections.append(row)
        found[shape.id] = shape
        if again_us:
            writes.repeated_rejections.append((number, 1, again_us, hour_of(again_us)))
    writes.shapes = [(number, *shape) for number, shape in found.items()]
    writes.shape_states, writes.shape_hours, writes.rejection_hours = counts_of(writes.rejections)
    return writes


# -- the questions --------------------------------------------------------------------------------


def _took(url: str, rounds: int) -> Times:
    engine = connect(url)
    with engine.begin() as connection:
        project = keys.projects(connection)[0]
    with Service(url, keys.Role.OPS) as service:
        times = took(_questions(engine, project.id) | _requests(service), rounds)
    engine.dispose()
    return times


def _questions(engine: Engine, project_id: int) -> dict[str, Ask]:
    with engine.begin() as connection:
        newest = rejections.c.id.desc()
        last = select(rejections.c.id, rejections.c.received_us).order_by(newest).limit(1)
        last_id, now_us = connection.execute(last).one()
    since_us = now_us - 335 * DAY_US
    hour = RejectionFilter(since_us=now_us - HOUR_US)
    day = RejectionFilter(since_us=since_us, until_us=since_us + DAY_US)
    day_open = RejectionFilter(state="open", since_us=since_us, until_us=since_us + DAY_US)
    empty = "empty_customer_id"
    pages = {
        "all": RejectionFilter(),
        "open": RejectionFilter(state="open"),
        "a reason": RejectionFilter(reason=empty),
        "a reason, dismissed": RejectionFilter(reason=empty, state="dismissed"),
        "a rare reason": RejectionFilter(reason="unknown_command"),
        "a campaign": RejectionFilter(campaign="campaign-00"),
        "a campaign long over": RejectionFilter(campaign="campaign-04"),
        "a type and route": RejectionFilter(event_type="campaign", forms=("flat", "flat_item")),
        "a pointer": RejectionFilter(pointer="/timestamp"),
        "the last hour": hour,
        "the last hour, a reason": RejectionFilter(since_us=now_us - HOUR_US, reason=empty),
        "a day 11 months ago": day,
        "a day 11 months ago, a reason": RejectionFilter(
            since_us=since_us, until_us=since_us + DAY_US, reason=empty
        ),
        "since 11 months ago, open": RejectionFilter(state="open", since_us=since_us),
    }
    summaries = {"all": RejectionFilter(), "open": pages["open"], "a campaign": pages["a campaign"]}
    summaries |= {"a day 11 months ago": day, "a day 11 months ago, open": day_open}
    summaries |= {"since 11 months ago": RejectionFilter(since_us=since_us)}

    def ask(question: Callable[..., object], *given: object, **named: object) -> Ask:
        def answer() -> object:
            with reports.reading(engine) as connection:
                return question(connection, project_id, *given, **named)

        return answer

    asked = {f"page: {name}": ask(refused.rejections_page, wanted) for name, wanted in pages.items()}
    deep = last_id // 2
    asked["page: all, deep in"] = ask(refused.rejections_page, pages["all"], after=deep)
    asked["page: a reason, deep in"] = ask(refused.rejections_page, pages["a reason"], after=deep)
    for by in ("reason", "shape"):
        for name, wanted in summaries.items():
            asked[f"summary by {by}: {name}"] = ask(refusal_counts.summary, wanted, by)
        for span in refusal_counts.SPANS:
            asked[f"trend by {by} and {span}"] = ask(
                refusal_counts.trends, RejectionFilter(), by, span, now_us
            )
    asked["one rejection"] = ask(refused.find_rejection, last_id // 3)
    return asked


def _requests(service: Service) -> dict[str, Ask]:
    def get(path: str, **question: str) -> Ask:
        return lambda: service.ask(f"{service.v1}/{path}", **question)

    return {
        "HTTP, in process: rejections": get("rejections"),
        "HTTP, in process: open rejections": get("rejections", state="open"),
        "HTTP, in process: summary": get("rejections/summary"),
        "HTTP, in process: summary with trend by day": get("rejections/summary", trend="day"),
    }


if __name__ == "__main__":
    sys.exit(main())
