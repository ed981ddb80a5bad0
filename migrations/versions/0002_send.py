"""Mailings, runs, suppressions, and what is needed to ask Optilyz; events are tied to mailings.

Run it before the new version starts; the old one must be stopped.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# As in 0001.
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
KEY_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    # Plain ADD COLUMN, which rewrites no table on either database.
    op.add_column("ledger", sa.Column("mailed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("events", sa.Column("mailing_id", KEY_TEXT))
    op.add_column("events", sa.Column("tied", sa.Text))
    _partly("ix_events_mailing", "events", ["mailing_id", "occurred_us"], "mailing_id IS NOT NULL")
    op.create_table(
        "runs",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("automation", KEY_TEXT, nullable=False),
        sa.Column("campaign", KEY_TEXT),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_runs_key", "runs", ["project_id", "key"], unique=True)
    op.create_table(
        "mailings",
        sa.Column("id", KEY_TEXT, primary_key=True),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.BigInteger),
        sa.Column("run_id", sa.BigInteger),
        sa.Column("place", sa.BigInteger),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("automation", KEY_TEXT, nullable=False),
        sa.Column("campaign", KEY_TEXT),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("ids", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary),
        sa.Column("address_key", sa.LargeBinary),
        sa.Column("variation", sa.Text),
        sa.Column("vendor_id", KEY_TEXT),
        sa.Column("asked_by", sa.Text),
        sa.Column("asked_until_us", sa.BigInteger),
        sa.Column("together", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("asked_us", sa.BigInteger),
        sa.Column("settled_us", sa.BigInteger),
        sa.Column("status", sa.Text),
        sa.Column("stage", sa.Text),
        sa.Column("stage_us", sa.BigInteger),
        sa.Column("heard_us", sa.BigInteger),
        sa.Column("untold", sa.Boolean, nullable=False),
    )
    op.create_index("ix_mailings_run", "mailings", ["run_id", "state", "id"])
    op.create_index("ix_mailings_customer", "mailings", ["customer_id", "automation"])
    op.create_index("ix_mailings_state", "mailings", ["project_id", "state", "id"])
    op.create_index("ix_mailings_campaign", "mailings", ["project_id", "campaign", "id"])
    _partly("ix_mailings_asked", "mailings", ["asked_until_us"], "state = 'asked'")
    _partly("ix_mailings_untold", "mailings", ["id"], "untold")
    heard_last = "('delivered', 'failed', 'posted', 'returned', 'suppressed')"
    more_to_come = f"state = 'queued' AND (stage IS NULL OR stage NOT IN {heard_last})"
    _partly("ix_mailings_silent", "mailings", ["project_id", "state", "id"], more_to_come)
    op.create_table(
        "mailing_ids",
        sa.Column("project_id", sa.Integer, primary_key=True),
        sa.Column("kind", KEY_TEXT, primary_key=True),
        sa.Column("value", KEY_TEXT, primary_key=True),
        sa.Column("campaign", KEY_TEXT, primary_key=True),
        sa.Column("mailing_id", KEY_TEXT, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "suppressions",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("address_key", sa.LargeBinary),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("mailing_id", KEY_TEXT),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("lifted_us", sa.BigInteger),
    )
    op.create_index("ix_suppressions_customer", "suppressions", ["customer_id"])
    slots = op.create_table(
        "slots",
        sa.Column("number", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text),
        sa.Column("busy_until_us", sa.BigInteger, nullable=False),
        sa.Column("begun_us", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
    )
    free = {"owner": None, "busy_until_us": 0, "begun_us": 0, "failures": 0}
    op.bulk_insert(slots, [{"number": number, **free} for number in (0, 1, 2)])
    op.create_table(
        "gateway_answers",
        sa.Column("project_id", sa.Integer, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("answered_us", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_gateway_answers_time", "gateway_answers", ["answered_us"])
    op.create_table(
        "notices",
        sa.Column("project_id", sa.Integer, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("sent_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _partly(name: str, table: str, columns: list[str], condition: str) -> None:
    """An index of the few rows that a question is about."""
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
