"""Letters and their counts made anew from the events, and compared with what is kept of them.

What receiver.store.journeys does by differences, command by command, is done here from the beginning and,
but for the delays, by the database: so that the one checks the other.  So is what triggers count of mailings.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, insert, text

from receiver.domain.journeys import Counted, Journey
from receiver.domain.moments import DAY_US, HOUR_US
from receiver.domain.stages import BITS, STAGES
from receiver.store.journeys import told_of_campaigns, told_of_mailings
from receiver.store.refusal_counts import Miscount
from receiver.store.tables import HOURS, campaign_delays

_PAGE = 10_000
_PLACE = "project_id, campaign, variation"
_BITS = " + ".join(f"CASE WHEN {stage}_us IS NULL THEN 0 ELSE {bit} END" for stage, bit in BITS.items())
_KIND = "kind_id, project_id, type, campaign, status, stage"
_OURS = "project_id = :project_id"
_EVENTS = f"events AS e WHERE e.{_OURS}"
_REACHED = " UNION ALL ".join(
    f"SELECT {_PLACE}, '{stage}' AS stage, {stage}_us - {stage}_us % {DAY_US} AS day_us,"
    f" {stage}_us % {DAY_US} / {HOUR_US} AS hour FROM letters WHERE {_OURS} AND {stage}_us IS NOT NULL"
    for stage in STAGES
)
_OF_DAY = "project_id, campaign, day_us, stage, variation"
_BY_HOUR = ", ".join(f"count(CASE WHEN hour = {hour} THEN 1 END)" for hour in range(24))
_MAILED_FOR = "coalesce(campaign, '')"

_SHOULD_BE = {
    "event_kinds": f"SELECT {_KIND}, count(*) FROM events WHERE {_OURS} GROUP BY {_KIND}",
    "letters": f"{told_of_mailings(_EVENTS)} UNION ALL {told_of_campaigns(_EVENTS)}",
    "campaign_letters": (
        f"SELECT {_PLACE}, stages, count(*) FROM (SELECT {_PLACE}, {_BITS} AS stages FROM letters"
        f" WHERE {_OURS}) AS reached GROUP BY {_PLACE}, stages"
    ),
    "campaign_days": f"SELECT {_OF_DAY}, {_BY_HOUR} FROM ({_REACHED}) AS reached GROUP BY {_OF_DAY}",
    "campaign_mailings": (
        f"SELECT project_id, {_MAILED_FOR}, state, count(*), count(heard_us) FROM mailings WHERE {_OURS}"
        f" GROUP BY project_id, {_MAILED_FOR}, state"
    ),
}
"""What is to be in the tables of a project."""

# What nothing is left of may stand there with a zero.
_COUNTS = {
    "event_kinds": "events",
    "campaign_letters": "letters",
    "campaign_days": " + ".join(f"abs({hour})" for hour in HOURS),
    "campaign_mailings": "abs(mailings) + abs(heard)",
}


def recount(connection: Connection, project_id: int) -> None:
    """Make letters and counts of a project anew; the caller commits.

    Reads every event of the project, and lets nobody write until then.
    """
    connection.execute(text("UPDATE ledger SET last_id = last_id WHERE id = 1"))
    ours = {"project_id": project_id}
    for table, query in _SHOULD_BE.items():
        connection.execute(text(f"DELETE FROM {table} WHERE {_OURS}"), ours)
        connection.execute(text(f"INSERT INTO {table} {query}"), ours)
    connection.execute(text(f"DELETE FROM campaign_delays WHERE {_OURS}"), ours)
    names = [column.name for column in campaign_delays.columns]
    rows = [
        dict(zip(names, (*place, number), strict=True)) for place, number in _delays(connection, ours).items()
    ]
    if rows:
        connection.execute(insert(campaign_delays), rows)


def miscounts(connection: Connection, project_id: int) -> list[Miscount]:
    """Where letters and counts do not agree with the events.  Reads every event of the project."""
    ours = {"project_id": project_id}
    found = []
    for table, query in _SHOULD_BE.items():
        some = f" AND {_COUNTS[table]} <> 0" if table in _COUNTS else ""
        is_there = f"SELECT * FROM {table} WHERE {_OURS}{some}"
        missing, wrong = (
            connection.execute(text(f"SELECT count(*) FROM ({one} EXCEPT {other}) AS odd"), ours).scalar_one()
            for one, other in ((_of(query), is_there), (is_there, _of(query)))
        )
        if missing or wrong:
            told = "mailings" if table == "campaign_mailings" else "events"
            found.append(Miscount(f"rows of {table} that do not agree with the {told}", missing, wrong))
    kept = _delays(connection, ours)
    columns = f"{_PLACE}, since, stage, bucket, letters"
    query = f"SELECT {columns} FROM campaign_delays WHERE {_OURS} AND letters <> 0"
    counted = {(*place,): number for *place, number in connection.execute(text(query), ours)}
    odd = {place for place, _ in kept.items() ^ counted.items()}
    if odd:
        sums = (sum(each.get(place, 0) for place in odd) for each in (kept, counted))
        found.append(Miscount("times between stages", *sums))
    return found


def _of(query: str) -> str:
    # SQLite takes no brackets around a part of a compound query.
    return f"SELECT * FROM ({query}) AS made"


def _delays(connection: Connection, ours: dict[str, int]) -> dict[tuple[int, str, str, str, str, int], int]:
    counted = Counted()
    for journey in _journeys(connection, ours):
        counted.add(journey)
    return counted.delays


def _journeys(connection: Connection, ours: dict[str, int]) -> Iterator[Journey]:
    """All letters of the project, some at a time."""
    query = text(
        f"SELECT * FROM letters WHERE {_OURS} AND (customer_id, reference) > (:customer_id, :reference)"
        f" ORDER BY customer_id, reference LIMIT {_PAGE}"
    )
    behind: dict[str, int | str] = {"customer_id": -1, "reference": ""}
    while rows := connection.execute(query, {**ours, **behind}).all():
        for _, _, project_id, campaign, variation, *times in rows:
            yield Journey(project_id, campaign, variation, tuple(times))
        behind = {"customer_id": rows[-1][0], "reference": rows[-1][1]}
