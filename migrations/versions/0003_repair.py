"""What operations do about rejections, and the events that they withdraw.

Run it before the new version starts.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# As in 0001.
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
KEY_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("rejection_id", sa.BigInteger, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("how", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("results", sa.Text),
        sa.Column("bodies", sa.Text),
        sa.Column("undone_us", sa.BigInteger),
    )
    op.create_index("ix_attempts_rejection", "attempts", ["rejection_id", "id"])
    op.create_index("ix_attempts_project", "attempts", ["project_id", "id"])
    op.create_table(
        "withdrawn_events",
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
        sa.Column("mailing_id", KEY_TEXT),
        sa.Column("tied", sa.Text),
        sa.Column("attempt_id", sa.BigInteger, nullable=False),
        sa.Column("withdrawn_us", sa.BigInteger, nullable=False),
    )
