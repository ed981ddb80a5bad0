"""Projects, keys, customers, events, claims, rejections and counters.

The first one: run it before the first start.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite makes a column the row's own number, without an index beside it, only where it is called INTEGER.
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
# Compared byte by byte, as SQLite does anyway: quicker, and the same order whatever a server's locale.
KEY_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    ledger = op.create_table(
        "ledger",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(ledger, [{"id": 1, "last_id": 0}])
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("token", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("token", name="uq_projects_token"),
    )
    op.create_table(
        "access_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("project_id", sa.Integer, sa.ForeignKey("projects.id"), nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("previous_hash", sa.LargeBinary),
        sa.Column("previous_until_us", sa.BigInteger),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("revoked_us", sa.BigInteger),
    )
    op.create_index("ix_access_keys_project_id", "access_keys", ["project_id"])
    op.create_table(
        "customers",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("merged_into", sa.BigInteger),
    )
    op.create_table(
        "customer_ids",
        sa.Column("project_id", sa.Integer, primary_key=True),
        sa.Column("kind", KEY_TEXT, primary_key=True),
        sa.Column("value", KEY_TEXT, primary_key=True),
        sa.Column("customer_id", sa.BigInteger, nullable=False),
        sa.Column("used_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_customer_ids_customer_id", "customer_ids", ["customer_id"])
    op.create_table(
        "customer_properties",
        sa.Column("customer_id", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("updated_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("occurred_us", sa.BigInteger, nullable=False),
        sa.Column("received_us", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("campaign", KEY_TEXT),
        sa.Column("status", sa.Text),
        sa.Column("stage", sa.Text),
        sa.Column("ids", sa.Text, nullable=False),
        sa.Column("properties", sa.Text, nullable=False),
    )
    op.create_index("ix_events_time", "events", ["project_id", "occurred_us"])
    op.create_index("ix_events_customer", "events", ["customer_id", "occurred_us"])
    op.create_index("ix_events_campaign", "events", ["project_id", "campaign", "occurred_us"])
    op.create_table(
        "claims",
        sa.Column("project_id", sa.Integer, primary_key=True),
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("claimed_us", sa.BigInteger, nullable=False),
        sa.Column("row_id", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rejections",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("form", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("pointer", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("received_us", sa.BigInteger, nullable=False),
        sa.Column("last_seen_us", sa.BigInteger, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_rejections_state", "rejections", ["project_id", "state", "id"])
    op.create_index("ix_rejections_reason", "rejections", ["project_id", "reason", "id"])
    op.create_table(
        "counters",
        sa.Column("project_id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("hour_us", sa.BigInteger, primary_key=True),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("accepted", sa.BigInteger, nullable=False),
        sa.Column("duplicate", sa.BigInteger, nullable=False),
        sa.Column("rejected", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
