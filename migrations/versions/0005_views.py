"""Views for analysts and their tools: the part of the database that others may rely on (docs/sql.md).

Run it before the new version starts.
"""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for name, statement in _views(postgresql).items():
        op.execute(f"CREATE VIEW {name} AS {statement}")


def _views(postgresql: bool) -> dict[str, str]:
    def time(column: str, table: str) -> str:
        """A time that the database's own functions take; whole microseconds since 1970 are kept."""
        at = f"{table}.{column}"
        if postgresql:
            return f"timestamptz 'epoch' + {at} * interval '1 microsecond'"
        # Not strftime's %f, which rounds to milliseconds.
        return (
            f"strftime('%Y-%m-%dT%H:%M:%S', {at} / 1000000, 'unixepoch') || printf('.%06dZ', {at} % 1000000)"
        )

    json = "::jsonb" if postgresql else ""
    return {
        "events_v": (
            "SELECT p.token AS project, e.id, e.customer_id AS customer, e.type,"
            f" {time('occurred_us', 'e')} AS occurred_at, {time('received_us', 'e')} AS received_at,"
            " e.source, e.campaign, e.status, e.stage, e.mailing_id AS mailing, e.tied, e.occurred_us,"
            f" e.ids{json} AS customer_ids, e.properties{json} AS properties"
            " FROM events AS e JOIN projects AS p ON p.id = e.project_id"
        ),
        "mailings_v": (
            "SELECT p.token AS project, m.id, m.customer_id AS customer, m.automation, m.campaign,"
            " m.variation, m.route, m.state, m.reason, m.status, m.stage,"
            f" {time('created_us', 'm')} AS created_at, {time('asked_us', 'm')} AS asked_at,"
            f" {time('settled_us', 'm')} AS settled_at, {time('stage_us', 'm')} AS stage_at,"
            f" {time('heard_us', 'm')} AS heard_at, m.ids{json} AS customer_ids"
            " FROM mailings AS m JOIN projects AS p ON p.id = m.project_id"
        ),
        "outcomes_v": (
            f"SELECT p.token AS project, c.source, {time('hour_us', 'c')} AS hour,"
            " c.received, c.accepted, c.duplicate, c.rejected"
            " FROM counters AS c JOIN projects AS p ON p.id = c.project_id"
        ),
        "rejections_v": (
            "SELECT p.token AS project, r.id, r.reason, r.pointer, r.state, r.count, r.attempts,"
            f" {time('received_us', 'r')} AS received_at, {time('last_seen_us', 'r')} AS last_seen_at,"
            " s.event_type AS type, s.campaign"
            " FROM rejections AS r JOIN shapes AS s ON s.id = r.shape_id"
            " JOIN projects AS p ON p.id = r.project_id"
        ),
    }
