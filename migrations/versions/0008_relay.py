"""What is relayed to Bloomreach: the outbox, what came of it, and who relays.

Run it before the new version starts.  It reads and changes nothing that is there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

# As in 0001.
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.add_column("ledger", sa.Column("relay_from", sa.BigInteger))
    op.create_table(
        "outbox",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("customer_id", sa.BigInteger),
        sa.Column("given_us", sa.BigInteger, nullable=False),
        sa.Column("ids", sa.Text),
        sa.Column("body", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("set_aside_us", sa.BigInteger),
    )
    _index("ix_outbox_set_aside", ["project_id", "id"], "set_aside_us IS NOT NULL")
    _index("ix_outbox_customer", ["customer_id"], "customer_id IS NOT NULL")
    counts = ("given", "sent", "set_aside", "retried", "withdrawn", "discarded")
    op.create_table(
        "outbox_hours",
        sa.Column("project_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hour_us", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in counts),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox_spans",
        sa.Column("first_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
    )
    pump = op.create_table(
        "relay_pump",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.Text),
        sa.Column("until_us", sa.BigInteger, nullable=False),
        sa.Column("open_us", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("stopped", sa.Boolean, nullable=False),
        sa.Column("problem", sa.Text),
        sa.Column("problem_us", sa.BigInteger),
        sa.Column("sent_us", sa.BigInteger),
        sa.Column("per_second", sa.Integer, nullable=False),
        sa.Column("rewinds", sa.BigInteger, nullable=False),
    )
    nothing_yet = dict.fromkeys(("until_us", "open_us", "failures", "per_second", "rewinds"), 0)
    op.bulk_insert(pump, [{"id": 1, "stopped": False, **nothing_yet}])


def _index(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "outbox", columns, sqlite_where=where, postgresql_where=where)
