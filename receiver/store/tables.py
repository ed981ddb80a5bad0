"""The tables, typed.  Migrations make them; a test compares the two on both databases.

Times are whole microseconds since 1970 in UTC (``_us``).  JSON is kept as text, as it was sent: a
database's own JSON type would reorder keys and round numbers.  ``id`` of customers, events and
rejections comes from ``ledger``, so within each of them it ascends in the order of the commits.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Named,
    SmallInteger,
    Table,
    Text,
    TypedColumns,
)

HEAD = "0001"
"""The last one of migrations/versions, which makes these tables."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a column the row's own number, without an index beside it, only where it is called INTEGER.
_ROW_ID = BigInteger().with_variant(Integer, "sqlite")
# Compared byte by byte, as SQLite does anyway: quicker, and the same order whatever a server's locale.
_KEY_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


class LedgerColumns(TypedColumns):
    """One row: the last ID handed out.  Every writing transaction begins by raising it, which makes
    it the lock that puts writers in a row."""

    id: Named[int] = Column(SmallInteger, primary_key=True, autoincrement=False)
    last_id: Named[int] = Column(BigInteger)


class ProjectColumns(TypedColumns):
    id: Named[int] = Column(primary_key=True)
    token: Named[str] = Column(Text, unique=True)
    name: Named[str] = Column(Text)
    created_us: Named[int] = Column(BigInteger)


class AccessKeyColumns(TypedColumns):
    """Who may do what.  Secrets are kept as SHA-256; the role ``public`` is a public token."""

    id: Named[str] = Column(Text, primary_key=True)
    project_id: Named[int] = Column(ForeignKey("projects.id"), index=True)
    role: Named[str] = Column(Text)
    secret_hash: Named[bytes] = Column(LargeBinary)
    previous_hash: Named[bytes | None] = Column(LargeBinary)
    previous_until_us: Named[int | None] = Column(BigInteger)
    created_us: Named[int] = Column(BigInteger)
    revoked_us: Named[int | None] = Column(BigInteger)


class CustomerColumns(TypedColumns):
    """``merged_into`` is set when the customer was merged away; the row stays as a trace."""

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    created_us: Named[int] = Column(BigInteger)
    merged_into: Named[int | None] = Column(BigInteger)


class CustomerIdColumns(TypedColumns):
    """Which customer holds an ID: at most one, which the primary key makes certain."""

    project_id: Named[int] = Column(primary_key=True)
    kind: Named[str] = Column(_KEY_TEXT, primary_key=True)
    value: Named[str] = Column(_KEY_TEXT, primary_key=True)
    customer_id: Named[int] = Column(BigInteger, index=True)
    used_us: Named[int] = Column(BigInteger)


class CustomerPropertyColumns(TypedColumns):
    customer_id: Named[int] = Column(BigInteger, primary_key=True)
    name: Named[str] = Column(Text, primary_key=True)
    value: Named[str] = Column(Text)
    updated_us: Named[int] = Column(BigInteger)


class EventColumns(TypedColumns):
    """``ids`` are the IDs as sent, trimmed; ``source`` is one of store.writes.Source."""

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    customer_id: Named[int] = Column(BigInteger)
    type: Named[str] = Column(Text)
    occurred_us: Named[int] = Column(BigInteger)
    received_us: Named[int] = Column(BigInteger)
    source: Named[str] = Column(Text)
    campaign: Named[str | None] = Column(_KEY_TEXT)
    status: Named[str | None] = Column(Text)
    stage: Named[str | None] = Column(Text)
    ids: Named[str] = Column(Text)
    properties: Named[str] = Column(Text)


class ClaimColumns(TypedColumns):
    """What was seen before, by its dedupe key; ``row_id`` is the event or rejection that it made.

    Apart from the events, so that deleting an old event does not let its repeat in again.
    """

    project_id: Named[int] = Column(primary_key=True)
    key: Named[bytes] = Column(LargeBinary, primary_key=True)
    content: Named[bytes] = Column(LargeBinary)
    claimed_us: Named[int] = Column(BigInteger)
    row_id: Named[int] = Column(BigInteger)


class RejectionColumns(TypedColumns):
    """What was refused, with the bytes as received; ``form`` tells how to read them again."""

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    form: Named[str] = Column(Text)
    reason: Named[str] = Column(Text)
    detail: Named[str] = Column(Text)
    pointer: Named[str] = Column(Text)
    state: Named[str] = Column(Text)
    count: Named[int] = Column(BigInteger)
    attempts: Named[int]
    received_us: Named[int] = Column(BigInteger)
    last_seen_us: Named[int] = Column(BigInteger)
    headers: Named[str] = Column(Text)
    body: Named[bytes] = Column(LargeBinary)


class CounterColumns(TypedColumns):
    """Commands by hour: ``received`` is raised from what came in, the others from what was done."""

    project_id: Named[int] = Column(primary_key=True)
    source: Named[str] = Column(Text, primary_key=True)
    hour_us: Named[int] = Column(BigInteger, primary_key=True)
    received: Named[int] = Column(BigInteger)
    accepted: Named[int] = Column(BigInteger)
    duplicate: Named[int] = Column(BigInteger)
    rejected: Named[int] = Column(BigInteger)


# Without a rowid where rows are small and always found by their key: then SQLite keeps them in its tree.
ledger = Table("ledger", metadata, LedgerColumns)
projects = Table("projects", metadata, ProjectColumns)
access_keys = Table("access_keys", metadata, AccessKeyColumns)
customers = Table("customers", metadata, CustomerColumns)
customer_ids = Table("customer_ids", metadata, CustomerIdColumns, sqlite_with_rowid=False)
customer_properties = Table("customer_properties", metadata, CustomerPropertyColumns, sqlite_with_rowid=False)
events = Table("events", metadata, EventColumns)
claims = Table("claims", metadata, ClaimColumns, sqlite_with_rowid=False)
rejections = Table("rejections", metadata, RejectionColumns)
counters = Table("counters", metadata, CounterColumns, sqlite_with_rowid=False)

Index("ix_events_time", events.c.project_id, events.c.occurred_us)
Index("ix_events_customer", events.c.customer_id, events.c.occurred_us)
Index("ix_events_campaign", events.c.project_id, events.c.campaign, events.c.occurred_us)
Index("ix_rejections_state", rejections.c.project_id, rejections.c.state, rejections.c.id)
Index("ix_rejections_reason", rejections.c.project_id, rejections.c.reason, rejections.c.id)
