"""Letters and how far they came, kinds of events, and outcomes by campaign.

Run it before the new version starts; it reads every event, and fills some tables from them only after it
has made all of them (receiver.store.migrations).  Outcomes from before it belong to no campaign.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

# As in 0001.
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
KEY_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

STAGES = (
    *("queued", "printing", "posted", "delivered", "returned"),
    *("deferred", "suppressed", "failed", "unknown"),
)

# As in 0002.
MORE_TO_COME = (
    "state = 'queued' AND (stage IS NULL OR stage NOT IN"
    " ('delivered', 'failed', 'posted', 'returned', 'suppressed'))"
)
RAISED = (
    "ON CONFLICT (project_id, campaign, state) DO UPDATE SET"
    " mailings = campaign_mailings.mailings + excluded.mailings,"
    " heard = campaign_mailings.heard + excluded.heard"
)


def upgrade() -> None:
    # SQLite renames no table that a view speaks of; 0007 makes them again.
    for view in ("events_v", "mailings_v", "outcomes_v", "rejections_v"):
        op.execute(f"DROP VIEW {view}")
    _make_tables()
    _count_mailings()
    _tell_kinds()
    _tell_campaigns_of_outcomes()


def _make_tables() -> None:
    op.create_table(
        "event_kinds",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("campaign", KEY_TEXT),
        sa.Column("status", sa.Text),
        sa.Column("stage", sa.Text),
        sa.Column("events", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_event_kinds_project_id", "event_kinds", ["project_id"])
    op.create_table(
        "letters",
        sa.Column("customer_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("reference", KEY_TEXT, primary_key=True),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("campaign", KEY_TEXT, nullable=False),
        sa.Column("variation", KEY_TEXT, nullable=False),
        *(sa.Column(f"{stage}_us", sa.BigInteger) for stage in STAGES),
        sqlite_with_rowid=False,
    )
    counts: dict[str, list[sa.Column[Any]]] = {
        "campaign_letters": [sa.Column("stages", sa.SmallInteger, primary_key=True, autoincrement=False)],
        "campaign_delays": [
            sa.Column("since", KEY_TEXT, primary_key=True),
            sa.Column("stage", KEY_TEXT, primary_key=True),
            sa.Column("bucket", sa.SmallInteger, primary_key=True, autoincrement=False),
        ],
    }
    for table, columns in counts.items():
        op.create_table(
            table,
            sa.Column("project_id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("campaign", KEY_TEXT, primary_key=True),
            sa.Column("variation", KEY_TEXT, primary_key=True),
            *columns,
            sa.Column("letters", sa.BigInteger, nullable=False),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "campaign_days",
        sa.Column("project_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("campaign", KEY_TEXT, primary_key=True),
        sa.Column("day_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stage", KEY_TEXT, primary_key=True),
        sa.Column("variation", KEY_TEXT, primary_key=True),
        *(sa.Column(f"h{hour}", sa.Integer, nullable=False) for hour in range(24)),
        sqlite_with_rowid=False,
    )


def _count_mailings() -> None:
    """Mailings are counted by the database, as more statements write them than anybody remembers.

    On SQLite a later batch that makes mailings anew has to make the triggers anew with them.
    """
    op.create_table(
        "campaign_mailings",
        sa.Column("project_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("campaign", KEY_TEXT, primary_key=True),
        sa.Column("state", KEY_TEXT, primary_key=True),
        sa.Column("mailings", sa.BigInteger, nullable=False),
        sa.Column("heard", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO campaign_mailings SELECT project_id, coalesce(campaign, ''), state, count(*),"
        " count(heard_us) FROM mailings GROUP BY project_id, coalesce(campaign, ''), state"
    )
    statements = _rows_are_counted() if op.get_bind().dialect.name == "sqlite" else _sets_are_counted()
    for statement in statements:
        op.execute(statement)
    op.create_index(
        "ix_mailings_silence",
        "mailings",
        ["project_id", "campaign", "heard_us", "settled_us", "state", "stage"],
        sqlite_where=sa.text(MORE_TO_COME),
        postgresql_where=sa.text(MORE_TO_COME),
    )


def _rows_are_counted() -> Iterator[str]:
    """As SQLite has it: row by row."""
    insert = "INSERT INTO campaign_mailings VALUES"
    came = f"{insert} (NEW.project_id, coalesce(NEW.campaign, ''), NEW.state, 1, NEW.heard_us IS NOT NULL)"
    gone = (
        f"{insert} (OLD.project_id, coalesce(OLD.campaign, ''), OLD.state, -1, -(OLD.heard_us IS NOT NULL))"
    )
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in ("project_id", "campaign", "state"))
    changed = f"{changed} OR (OLD.heard_us IS NULL) <> (NEW.heard_us IS NULL)"
    begin = "CREATE TRIGGER count_mailings_{} AFTER {} ON mailings"
    yield f"{begin.format('insert', 'INSERT')} BEGIN {came} {RAISED}; END"
    yield (
        f"{begin.format('update', 'UPDATE OF project_id, campaign, state, heard_us')} WHEN {changed}"
        f" BEGIN {gone} {RAISED}; {came} {RAISED}; END"
    )
    yield f"{begin.format('delete', 'DELETE')} BEGIN {gone} {RAISED}; END"


def _sets_are_counted() -> Iterator[str]:
    """As PostgreSQL has it: all rows of a statement together."""
    place = "project_id, coalesce(campaign, '') AS campaign, state"
    came = f"SELECT {place}, 1 AS mailings, (heard_us IS NOT NULL)::int AS heard FROM came"
    gone = f"SELECT {place}, -1 AS mailings, -(heard_us IS NOT NULL)::int AS heard FROM gone"
    for what, tables, rows in (
        ("insert", "NEW TABLE AS came", came),
        ("update", "OLD TABLE AS gone NEW TABLE AS came", f"{gone} UNION ALL {came}"),
        ("delete", "OLD TABLE AS gone", gone),
    ):
        yield (
            f"CREATE FUNCTION count_mailings_{what}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO campaign_mailings SELECT project_id, campaign, state, sum(mailings), sum(heard)"
            f" FROM ({rows}) AS changed GROUP BY project_id, campaign, state"
            f" HAVING sum(mailings) <> 0 OR sum(heard) <> 0 {RAISED}; RETURN NULL; END $$"
        )
        yield (
            f"CREATE TRIGGER count_mailings_{what} AFTER {what.upper()} ON mailings REFERENCING {tables}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION count_mailings_{what}()"
        )


def _tell_kinds() -> None:
    connection = op.get_bind()
    op.drop_index("ix_events_campaign", "events")
    for table in ("events", "withdrawn_events"):
        op.add_column(table, sa.Column("variation", KEY_TEXT))
        op.add_column(table, sa.Column("kind_id", sa.BigInteger))
        words = "project_id, type, campaign, status, stage"
        kinds = [
            {**row._mapping, "id": _kind_id(*row)}
            for row in connection.execute(sa.text(f"SELECT DISTINCT {words} FROM {table}"))
        ]
        op.execute("CREATE TEMPORARY TABLE kinds AS SELECT * FROM event_kinds WHERE id IS NULL")
        if kinds:
            marks = "(:id, :project_id, :type, :campaign, :status, :stage)"
            connection.execute(sa.text(f"INSERT INTO kinds (id, {words}) VALUES {marks}"), kinds)
        # One text for all of it: each part behind its length, so that no two kinds have the same.
        told = " || ".join(
            f"coalesce(length({each}) || ' ' || {each}, '-')"
            for each in ("type", "campaign", "status", "stage")
        )
        told = f"project_id || ' ' || {told}"
        op.execute(f"CREATE TEMPORARY TABLE told AS SELECT id, {told} AS words FROM kinds")
        if connection.dialect.name == "sqlite":
            # PostgreSQL hashes them, and has no index for texts as long as these can be.
            op.execute("CREATE INDEX ix_told ON told (words)")
        op.execute(f"UPDATE {table} SET kind_id = told.id FROM told WHERE told.words = {told}")
        op.execute("DROP TABLE told")
        op.execute("DROP TABLE kinds")
        with op.batch_alter_table(table) as batch:
            batch.alter_column("kind_id", existing_type=sa.BigInteger, nullable=False)
    op.create_index("ix_events_kind", "events", ["kind_id", "occurred_us"])
    op.create_index("ix_events_received", "events", ["received_us"])


def _kind_id(*parts: int | str | None) -> int:
    """As receiver.domain.kinds had it."""
    text = "\0".join("" if part is None else f"={part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), byteorder="big", signed=True)


def _tell_campaigns_of_outcomes() -> None:
    op.execute("CREATE TEMPORARY TABLE counted AS SELECT * FROM counters")
    op.drop_table("counters")
    op.create_table(
        "counters",
        sa.Column("project_id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("hour_us", sa.BigInteger, primary_key=True),
        sa.Column("campaign", KEY_TEXT, primary_key=True),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("duplicate", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("last_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "CREATE TEMPORARY TABLE kept AS SELECT project_id, source, hour_us, count(*) AS events FROM ("
        + " UNION ALL ".join(
            f"SELECT project_id, source, received_us - received_us % 3600000000 AS hour_us FROM {table}"
            for table in ("events", "withdrawn_events")
        )
        + ") AS each_one GROUP BY project_id, source, hour_us"
    )
    op.execute(
        "INSERT INTO counters SELECT c.project_id, c.source, c.hour_us, '', c.received, c.accepted,"
        " c.duplicate, c.rejected, coalesce(k.events, 0), c.last_us FROM counted AS c LEFT JOIN kept AS k"
        " ON k.project_id = c.project_id AND k.source = c.source AND k.hour_us = c.hour_us"
    )
    op.execute("DROP TABLE counted")
    op.execute("DROP TABLE kept")
