"""What rejections have in common, counted; and alarms, of which people are told.

Run it before the new version starts.  Of what was refused before, the event type and the campaign are not
looked up: they stay unknown.
"""

from hashlib import blake2b

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# As in 0001.
ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "shapes",
        sa.Column("id", ROW_ID, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("form", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("pointer", sa.Text, nullable=False),
        sa.Column("event_type", sa.Text),
        sa.Column("campaign", sa.Text),
    )
    op.create_index("ix_shapes_project_id", "shapes", ["project_id"])
    op.create_table(
        "shape_states",
        sa.Column("shape_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("rejections", sa.BigInteger, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("first_us", sa.BigInteger, nullable=False),
        sa.Column("last_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "shape_hours",
        sa.Column("project_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hour_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("shape_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("times", sa.BigInteger, nullable=False),
        sa.Column("last_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alarms",
        sa.Column("project_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("since_us", sa.BigInteger, nullable=False),
        sa.Column("told", sa.Boolean, nullable=False),
        sa.Column("telling_until_us", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column("counters", sa.Column("last_us", sa.BigInteger))
    # When within the hour is not known: the end of it makes nobody look silent who is not.
    op.execute("UPDATE counters SET last_us = hour_us + 3599999999")
    with op.batch_alter_table("counters", table_kwargs={"sqlite_with_rowid": False}) as batch:
        batch.alter_column("last_us", existing_type=sa.BigInteger, nullable=False)
    op.create_table(
        "rejection_hours",
        sa.Column("project_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hour_us", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.drop_index("ix_rejections_reason", "rejections")
    op.add_column("rejections", sa.Column("shape_id", sa.BigInteger))
    op.add_column("rejections", sa.Column("parent_id", sa.BigInteger))
    op.add_column("attempts", sa.Column("claimed", sa.LargeBinary))
    _fill()
    with op.batch_alter_table("rejections") as batch:
        batch.alter_column("shape_id", existing_type=sa.BigInteger, nullable=False)
        batch.create_index("ix_rejections_shape", ["shape_id", "state", "id"])


def _fill() -> None:
    connection = op.get_bind()
    found = connection.execute(
        sa.text("SELECT DISTINCT project_id, form, reason, pointer FROM rejections")
    ).all()
    for row in found:
        values = {**row._mapping, "id": _shape_id(*row, None, None)}
        connection.execute(
            sa.text(
                "INSERT INTO shapes (id, project_id, form, reason, pointer)"
                " VALUES (:id, :project_id, :form, :reason, :pointer)"
            ),
            values,
        )
        connection.execute(
            sa.text(
                "UPDATE rejections SET shape_id = :id WHERE project_id = :project_id AND form = :form"
                " AND reason = :reason AND pointer = :pointer"
            ),
            values,
        )
    connection.execute(
        sa.text(
            "INSERT INTO shape_states SELECT shape_id, state, count(*), sum(count), min(received_us),"
            " max(last_seen_us) FROM rejections GROUP BY shape_id, state"
        )
    )
    # When each came in between is not known: all count for the hour of the first.
    connection.execute(
        sa.text(
            "INSERT INTO shape_hours SELECT project_id, hour_us, shape_id, sum(times), max(last_us)"
            " FROM (SELECT project_id, received_us / 3600000000 * 3600000000 AS hour_us, shape_id,"
            " count AS times, received_us AS last_us FROM rejections"
            " UNION ALL SELECT project_id, last_seen_us / 3600000000 * 3600000000, shape_id, 0, last_seen_us"
            " FROM rejections WHERE last_seen_us <> received_us) AS hours"
            " GROUP BY project_id, hour_us, shape_id"
        )
    )
    connection.execute(
        sa.text(
            "INSERT INTO rejection_hours SELECT project_id, hour_us, min(first_id), max(last_id)"
            " FROM (SELECT project_id, received_us / 3600000000 * 3600000000 AS hour_us, id AS first_id,"
            " id AS last_id FROM rejections"
            " UNION ALL SELECT project_id, last_seen_us / 3600000000 * 3600000000, id, 0 FROM rejections"
            " WHERE last_seen_us <> received_us) AS hours GROUP BY project_id, hour_us"
        )
    )


def _shape_id(*parts: int | str | None) -> int:
    """As receiver.domain.shapes had it."""
    text = "\0".join("" if part is None else f"={part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), byteorder="big", signed=True)
