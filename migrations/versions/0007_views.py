"""The views of 0005 made anew, and those of letters and campaigns beside them (docs/sql.md).

Run it before the new version starts.  Who was allowed to read a view still is afterwards.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

STAGES = (
    "queued",
    "printing",
    "posted",
    "delivered",
    "returned",
    "deferred",
    "suppressed",
    "failed",
    "unknown",
)
"""Bit n of ``campaign_letters.stages`` is the n-th."""

MAILED = STAGES[:6]
"""A letter that has any of these is on its way."""

LETTERS_OF_DAY = " + ".join(f"c.h{hour}" for hour in range(24))


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for name, statement in _views(postgresql).items():
        op.execute(f"CREATE VIEW {name} AS {statement}")


def _views(postgresql: bool) -> dict[str, str]:
    json = "::jsonb" if postgresql else ""

    def time(column: str) -> str:
        return _time(postgresql, column)

    return {
        "events_v": (
            "SELECT p.token AS project, e.id, e.customer_id AS customer, e.type,"
            f" {time('e.occurred_us')} AS occurred_at, {time('e.received_us')} AS received_at,"
            " e.source, e.campaign, e.variation, e.status, e.stage, e.mailing_id AS mailing, e.tied,"
            f" e.occurred_us, e.ids{json} AS customer_ids, e.properties{json} AS properties"
            " FROM events AS e JOIN projects AS p ON p.id = e.project_id"
        ),
        "letters_v": _letters(postgresql),
        "campaign_funnel_v": _funnel(),
        "campaign_days_v": (
            "SELECT p.token AS project, nullif(c.campaign, '') AS campaign,"
            f" nullif(c.variation, '') AS variation, c.stage, {_day(postgresql, 'c.day_us')} AS day,"
            f" CAST({LETTERS_OF_DAY} AS bigint) AS letters"
            " FROM campaign_days AS c JOIN projects AS p ON p.id = c.project_id"
            f" WHERE {LETTERS_OF_DAY} > 0"
        ),
        "mailings_v": (
            "SELECT p.token AS project, m.id, m.customer_id AS customer, m.automation, m.campaign,"
            " m.variation, m.route, m.state, m.reason, m.status, m.stage,"
            f" {time('m.created_us')} AS created_at, {time('m.asked_us')} AS asked_at,"
            f" {time('m.settled_us')} AS settled_at, {time('m.stage_us')} AS stage_at,"
            f" {time('m.heard_us')} AS heard_at, m.ids{json} AS customer_ids"
            " FROM mailings AS m JOIN projects AS p ON p.id = m.project_id"
        ),
        "outcomes_v": (
            f"SELECT p.token AS project, c.source, {time('c.hour_us')} AS hour,"
            " nullif(c.campaign, '') AS campaign, c.received, c.accepted, c.duplicate, c.rejected, c.events"
            " FROM counters AS c JOIN projects AS p ON p.id = c.project_id"
        ),
        "rejections_v": (
            "SELECT p.token AS project, r.id, r.reason, r.pointer, r.state, r.count, r.attempts,"
            f" {time('r.received_us')} AS received_at, {time('r.last_seen_us')} AS last_seen_at,"
            " s.event_type AS type, s.campaign"
            " FROM rejections AS r JOIN shapes AS s ON s.id = r.shape_id"
            " JOIN projects AS p ON p.id = r.project_id"
        ),
    }


def _letters(postgresql: bool) -> str:
    times = ", ".join(f"{_time(postgresql, f'l.{stage}_us')} AS {stage}_at" for stage in STAGES)
    mailed = _earliest(postgresql, [f"l.{stage}_us" for stage in MAILED])
    return (
        "SELECT p.token AS project, CASE WHEN l.customer_id = 0 THEN l.reference END AS mailing,"
        " CASE WHEN l.customer_id = 0 THEN m.customer_id ELSE l.customer_id END AS customer,"
        " nullif(l.campaign, '') AS campaign, nullif(l.variation, '') AS variation,"
        f" {_time(postgresql, mailed)} AS mailed_at, {times}"
        " FROM letters AS l JOIN projects AS p ON p.id = l.project_id"
        " LEFT JOIN mailings AS m ON l.customer_id = 0 AND m.id = l.reference"
    )


def _funnel() -> str:
    masks = {"mailed": sum(1 << STAGES.index(stage) for stage in MAILED)}
    masks |= {stage: 1 << bit for bit, stage in enumerate(STAGES)}
    # PostgreSQL's sum of whole numbers is no whole number, which tools would show with a decimal point.
    letters = ", ".join(
        f"CAST(sum(CASE WHEN c.stages & {mask} > 0 THEN c.letters ELSE 0 END) AS bigint) AS {name}"
        for name, mask in masks.items()
    )
    return (
        "SELECT p.token AS project, nullif(c.campaign, '') AS campaign, nullif(c.variation, '') AS variation,"
        f" {letters} FROM campaign_letters AS c JOIN projects AS p ON p.id = c.project_id"
        " WHERE c.letters > 0 GROUP BY p.token, c.campaign, c.variation"
    )


def _time(postgresql: bool, at: str) -> str:
    """A time that the database's own functions take; whole microseconds since 1970 are kept."""
    if postgresql:
        return f"timestamptz 'epoch' + {at} * interval '1 microsecond'"
    # Not strftime's %f, which rounds to milliseconds.
    return f"strftime('%Y-%m-%dT%H:%M:%S', {at} / 1000000, 'unixepoch') || printf('.%06dZ', {at} % 1000000)"


def _day(postgresql: bool, at: str) -> str:
    """The day in UTC, whatever zone a session has."""
    if postgresql:
        return f"CAST(timestamp 'epoch' + {at} * interval '1 microsecond' AS date)"
    return f"strftime('%Y-%m-%d', {at} / 1000000, 'unixepoch')"


def _earliest(postgresql: bool, columns: list[str]) -> str:
    """The least of *columns*, without those that are null; null where all are."""
    if postgresql:
        return f"least({', '.join(columns)})"
    # SQLite's min of several values is null as soon as one of them is.
    never = 2**63 - 1
    return f"nullif(min({', '.join(f'coalesce({column}, {never})' for column in columns)}), {never})"
