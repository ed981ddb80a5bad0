"""The tables, typed.  Migrations make them; a test compares the two on both databases.

Times are whole microseconds since 1970 in UTC (``_us``).  JSON is kept as text, as it was sent: a
database's own JSON type would reorder keys and round numbers.  ``id`` of customers, events and
rejections comes from ``ledger``, so within each of them it ascends in the order of the commits.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    text,
)

HEAD = "0008"
"""The last one of migrations/versions, which makes these tables."""

HOURS = tuple(f"h{hour}" for hour in range(24))
"""Columns of `campaign_days`."""

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
    it the lock that puts writers in a row.

    ``mailed`` tells whether there is any mailing, so that who has none never looks for them.  What has a
    number from ``relay_from`` on goes to the outbox; None: nothing does.
    """

    id: Named[int] = Column(SmallInteger, primary_key=True, autoincrement=False)
    last_id: Named[int] = Column(BigInteger)
    mailed: Named[bool] = Column(Boolean)
    relay_from: Named[int | None] = Column(BigInteger)


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
    """``ids`` are the IDs as sent, trimmed; ``source`` is one of store.writes.Source.

    ``tied`` says how the event was tied to ``mailing_id``, or why to none: one of inbound.ties.Tie.
    ``kind_id`` is that of receiver.domain.kinds.
    """

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
    mailing_id: Named[str | None] = Column(_KEY_TEXT)
    tied: Named[str | None] = Column(Text)
    variation: Named[str | None] = Column(_KEY_TEXT)
    kind_id: Named[int] = Column(BigInteger)


class EventKindColumns(TypedColumns):
    """What events have in common by which they are looked for, and how many of them there are."""

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int] = Column(index=True)
    type: Named[str] = Column(Text)
    campaign: Named[str | None] = Column(_KEY_TEXT)
    status: Named[str | None] = Column(Text)
    stage: Named[str | None] = Column(Text)
    events: Named[int] = Column(BigInteger)


class LetterColumns(TypedColumns):
    """What funnels count: a mailing, or where none is known a customer and a campaign.

    Of a mailing ``customer_id`` is 0 and ``reference`` its ID; else ``reference`` is the campaign.
    ``campaign`` and ``variation`` are empty where no event tells.  The others say when a stage was first
    reached, None where nothing was heard of it.  All is told by the events alone.
    """

    customer_id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    reference: Named[str] = Column(_KEY_TEXT, primary_key=True)
    project_id: Named[int]
    campaign: Named[str] = Column(_KEY_TEXT)
    variation: Named[str] = Column(_KEY_TEXT)
    queued_us: Named[int | None] = Column(BigInteger)
    printing_us: Named[int | None] = Column(BigInteger)
    posted_us: Named[int | None] = Column(BigInteger)
    delivered_us: Named[int | None] = Column(BigInteger)
    returned_us: Named[int | None] = Column(BigInteger)
    deferred_us: Named[int | None] = Column(BigInteger)
    suppressed_us: Named[int | None] = Column(BigInteger)
    failed_us: Named[int | None] = Column(BigInteger)
    unknown_us: Named[int | None] = Column(BigInteger)


class CampaignLetterColumns(TypedColumns):
    """How many letters have reached the very same stages: bit n of ``stages`` is the n-th of
    receiver.domain.stages.STAGES."""

    project_id: Named[int] = Column(primary_key=True)
    campaign: Named[str] = Column(_KEY_TEXT, primary_key=True)
    variation: Named[str] = Column(_KEY_TEXT, primary_key=True)
    stages: Named[int] = Column(SmallInteger, primary_key=True)
    letters: Named[int] = Column(BigInteger)


class CampaignDayColumns(TypedColumns):
    """How many letters have first reached a stage on a day in UTC, by hour: ``h0`` to ``h23``, HOURS.

    The day comes before the rest of the key, so that those of a period stand together.
    """

    project_id: Named[int] = Column(primary_key=True)
    campaign: Named[str] = Column(_KEY_TEXT, primary_key=True)
    day_us: Named[int] = Column(BigInteger, primary_key=True)
    stage: Named[str] = Column(_KEY_TEXT, primary_key=True)
    variation: Named[str] = Column(_KEY_TEXT, primary_key=True)


class CampaignDelayColumns(TypedColumns):
    """How many letters took about as long from one stage to another; ``bucket`` is one of
    receiver.domain.journeys."""

    project_id: Named[int] = Column(primary_key=True)
    campaign: Named[str] = Column(_KEY_TEXT, primary_key=True)
    variation: Named[str] = Column(_KEY_TEXT, primary_key=True)
    since: Named[str] = Column(_KEY_TEXT, primary_key=True)
    stage: Named[str] = Column(_KEY_TEXT, primary_key=True)
    bucket: Named[int] = Column(SmallInteger, primary_key=True)
    letters: Named[int] = Column(BigInteger)


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
    """What was refused, with the bytes as received; ``form`` tells how to read them again.

    ``parent_id`` is the one whose replay has left this one behind, as long as no other one did.
    """

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    shape_id: Named[int] = Column(BigInteger)
    parent_id: Named[int | None] = Column(BigInteger)
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


class ShapeColumns(TypedColumns):
    """What rejections have in common; ``id`` is that of receiver.domain.shapes."""

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int] = Column(index=True)
    form: Named[str] = Column(Text)
    reason: Named[str] = Column(Text)
    pointer: Named[str] = Column(Text)
    event_type: Named[str | None] = Column(Text)
    campaign: Named[str | None] = Column(Text)


class ShapeStateColumns(TypedColumns):
    """How many rejections of a shape are in a state, and how often they came.

    Between ``first_us`` and ``last_us`` all of them were seen; the first may be less and the last more
    than it need be, until none is left.
    """

    shape_id: Named[int] = Column(BigInteger, primary_key=True)
    state: Named[str] = Column(Text, primary_key=True)
    rejections: Named[int] = Column(BigInteger)
    times: Named[int] = Column(BigInteger)
    first_us: Named[int] = Column(BigInteger)
    last_us: Named[int] = Column(BigInteger)


class ShapeHourColumns(TypedColumns):
    """How often something of a shape came within an hour.

    ``last_us`` is when the sender sent one last, 0 where only a replay found any.
    """

    project_id: Named[int] = Column(primary_key=True)
    hour_us: Named[int] = Column(BigInteger, primary_key=True)
    shape_id: Named[int] = Column(BigInteger, primary_key=True)
    times: Named[int] = Column(BigInteger)
    last_us: Named[int] = Column(BigInteger)


class RejectionHourColumns(TypedColumns):
    """Which rejections were seen within an hour.

    ``first_id`` is the lowest number of those that were seen in it, ``last_id`` the highest one of those
    that were seen for the first time: numbers ascend with time, so they bound a period.
    """

    project_id: Named[int] = Column(primary_key=True)
    hour_us: Named[int] = Column(BigInteger, primary_key=True)
    first_id: Named[int] = Column(BigInteger)
    last_id: Named[int] = Column(BigInteger)


class AttemptColumns(TypedColumns):
    """What somebody did about a rejection; the trace of all that operations do.

    ``key_id`` is the key that was used, None for the command line.  ``action`` is one of
    inbound.rejections.Action, ``how`` the repair as JSON text.  ``results`` is the JSON text of a list
    with what became of each command, ``bodies`` the JSON text of what was replayed instead, None where
    the bytes as received were.  ``claimed`` is the key of a claim that a replay made for the bytes as
    received, beside the event's own.  ``undone_us`` is when it was taken back.
    """

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    rejection_id: Named[int] = Column(BigInteger)
    at_us: Named[int] = Column(BigInteger)
    key_id: Named[str | None] = Column(Text)
    action: Named[str] = Column(Text)
    how: Named[str | None] = Column(Text)
    note: Named[str | None] = Column(Text)
    results: Named[str | None] = Column(Text)
    bodies: Named[str | None] = Column(Text)
    claimed: Named[bytes | None] = Column(LargeBinary)
    undone_us: Named[int | None] = Column(BigInteger)


class WithdrawnEventColumns(EventColumns):
    """Events of a replay that was taken back, which have left all reports with it."""

    attempt_id: Named[int] = Column(BigInteger)
    withdrawn_us: Named[int] = Column(BigInteger)


class CounterColumns(TypedColumns):
    """Commands by hour and campaign: ``received`` is raised from what came in, the others from what was
    done.

    ``campaign`` is empty where a command tells none.  Of what was accepted ``events`` left one; the rest
    are customer updates.  ``last_us`` is when the last command came.
    """

    project_id: Named[int] = Column(primary_key=True)
    source: Named[str] = Column(Text, primary_key=True)
    hour_us: Named[int] = Column(BigInteger, primary_key=True)
    campaign: Named[str] = Column(_KEY_TEXT, primary_key=True)
    received: Named[int] = Column(BigInteger)
    accepted: Named[int] = Column(BigInteger)
    duplicate: Named[int] = Column(BigInteger)
    rejected: Named[int] = Column(BigInteger)
    events: Named[int] = Column(BigInteger)
    last_us: Named[int] = Column(BigInteger)


class OutboxColumns(TypedColumns):
    """What is yet to be relayed to Bloomreach, in the order of its numbers; what was sent is gone from here.

    ``id`` is that of an event, which is read when it is sent.  A customer update has a number of its own,
    its ``customer_id``, its ``ids`` as sent and its ``body``, the JSON text of all else.  What was set
    aside since ``set_aside_us`` waits for a person; ``reason`` is one of store.outbox.Reason, ``message``
    in the vendor's words.
    """

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    customer_id: Named[int | None] = Column(BigInteger)
    given_us: Named[int] = Column(BigInteger)
    ids: Named[str | None] = Column(Text)
    body: Named[str | None] = Column(Text)
    reason: Named[str | None] = Column(Text)
    message: Named[str | None] = Column(Text)
    set_aside_us: Named[int | None] = Column(BigInteger)


class OutboxHourColumns(TypedColumns):
    """Commands that came into the outbox and left it, by the hour when they did.

    ``given`` and ``retried`` made some wait; ``sent``, ``set_aside`` and ``withdrawn`` ended that.
    ``retried`` and ``discarded`` ended being set aside.
    """

    project_id: Named[int] = Column(primary_key=True)
    hour_us: Named[int] = Column(BigInteger, primary_key=True)
    given: Named[int] = Column(BigInteger)
    sent: Named[int] = Column(BigInteger)
    set_aside: Named[int] = Column(BigInteger)
    retried: Named[int] = Column(BigInteger)
    withdrawn: Named[int] = Column(BigInteger)
    discarded: Named[int] = Column(BigInteger)


class OutboxSpanColumns(TypedColumns):
    """Numbers, the first and the last one included, of which all that is relayed was given to the outbox.

    What is given now is not among them: see `LedgerColumns.relay_from`.
    """

    first_id: Named[int] = Column(BigInteger, primary_key=True, autoincrement=False)
    last_id: Named[int] = Column(BigInteger)


class RelayPumpColumns(TypedColumns):
    """One row: who relays, until ``until_us``, and how that goes.

    Nobody asks Bloomreach before ``open_us``.  ``failures`` counts how often in a row it could not be
    reached; ``stopped`` says that it turned us away, which only a person can mend.  ``problem`` is a
    sentence of ours about either, which lasts since ``problem_us``.  At ``sent_us`` something was sent
    last, ``per_second`` commands.  ``rewinds`` counts how often something began to wait with a number
    that the relay may have passed.
    """

    id: Named[int] = Column(SmallInteger, primary_key=True, autoincrement=False)
    owner: Named[str | None] = Column(Text)
    until_us: Named[int] = Column(BigInteger)
    open_us: Named[int] = Column(BigInteger)
    failures: Named[int]
    stopped: Named[bool] = Column(Boolean)
    problem: Named[str | None] = Column(Text)
    problem_us: Named[int | None] = Column(BigInteger)
    sent_us: Named[int | None] = Column(BigInteger)
    per_second: Named[int]
    rewinds: Named[int] = Column(BigInteger)


class RunColumns(TypedColumns):
    """One file that is sent; ``rows`` of it are prepared, and the same file with the same ``key`` goes on.

    ``key`` is a hash of the file and of all that makes its letters.
    """

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    key: Named[bytes] = Column(LargeBinary)
    automation: Named[str] = Column(_KEY_TEXT)
    campaign: Named[str | None] = Column(_KEY_TEXT)
    rows: Named[int] = Column(BigInteger)
    created_us: Named[int] = Column(BigInteger)


class MailingColumns(TypedColumns):
    """One letter to one customer; ``state`` and ``reason`` are store.mailings.State and words beside it.

    ``run_id`` is None for what came through the gateway; ``place`` is the row of the file.
    ``ids`` are those that travel in the letter.  ``body`` is the recipient as JSON, kept only as long as
    the letter may still be sent, or was refused.  ``asked_by`` is who asks, until ``asked_until_us``.
    ``together`` is the most letters of a request that this one may travel in.
    ``status``, ``stage`` and ``stage_us`` are the last that was heard of it, by the time when it
    happened; ``heard_us`` is when something was heard last.  ``untold`` waits for a notification.
    """

    id: Named[str] = Column(_KEY_TEXT, primary_key=True)
    project_id: Named[int]
    customer_id: Named[int | None] = Column(BigInteger)
    run_id: Named[int | None] = Column(BigInteger)
    place: Named[int | None] = Column(BigInteger)
    route: Named[str] = Column(Text)
    automation: Named[str] = Column(_KEY_TEXT)
    campaign: Named[str | None] = Column(_KEY_TEXT)
    state: Named[str] = Column(Text)
    reason: Named[str | None] = Column(Text)
    message: Named[str | None] = Column(Text)
    ids: Named[str] = Column(Text)
    body: Named[bytes | None] = Column(LargeBinary)
    address_key: Named[bytes | None] = Column(LargeBinary)
    variation: Named[str | None] = Column(Text)
    vendor_id: Named[str | None] = Column(_KEY_TEXT)
    asked_by: Named[str | None] = Column(Text)
    asked_until_us: Named[int | None] = Column(BigInteger)
    together: Named[int]
    attempts: Named[int]
    created_us: Named[int] = Column(BigInteger)
    asked_us: Named[int | None] = Column(BigInteger)
    settled_us: Named[int | None] = Column(BigInteger)
    status: Named[str | None] = Column(Text)
    stage: Named[str | None] = Column(Text)
    stage_us: Named[int | None] = Column(BigInteger)
    heard_us: Named[int | None] = Column(BigInteger)
    untold: Named[bool] = Column(Boolean)


class CampaignMailingColumns(TypedColumns):
    """How many mailings are in a state, and of how many of them anything was heard.

    Kept by triggers of the database, which the migrations make, whoever writes mailings.  ``campaign`` is
    empty for those without one.
    """

    project_id: Named[int] = Column(primary_key=True)
    campaign: Named[str] = Column(_KEY_TEXT, primary_key=True)
    state: Named[str] = Column(_KEY_TEXT, primary_key=True)
    mailings: Named[int] = Column(BigInteger)
    heard: Named[int] = Column(BigInteger)


class MailingIdColumns(TypedColumns):
    """The IDs that a letter carries, by which a callback without our mailing ID finds it."""

    project_id: Named[int] = Column(primary_key=True)
    kind: Named[str] = Column(_KEY_TEXT, primary_key=True)
    value: Named[str] = Column(_KEY_TEXT, primary_key=True)
    campaign: Named[str] = Column(_KEY_TEXT, primary_key=True)
    mailing_id: Named[str] = Column(_KEY_TEXT, primary_key=True)


class SuppressionColumns(TypedColumns):
    """Who gets no letter: ``kind`` is one of store.suppressions.Kind.

    A bad address holds for ``address_key`` (None: for any address); ``mailing_id`` is the letter that
    told.
    """

    id: Named[int] = Column(_ROW_ID, primary_key=True, autoincrement=False)
    project_id: Named[int]
    customer_id: Named[int] = Column(BigInteger)
    kind: Named[str] = Column(Text)
    address_key: Named[bytes | None] = Column(LargeBinary)
    note: Named[str] = Column(Text)
    mailing_id: Named[str | None] = Column(_KEY_TEXT)
    created_us: Named[int] = Column(BigInteger)
    lifted_us: Named[int | None] = Column(BigInteger)


class SlotColumns(TypedColumns):
    """Requests that may be under way to Optilyz, for all processes together.

    Number 0 is the door: nobody asks before its ``busy_until_us``, and ``failures`` counts how often in
    a row it could not be reached.  The others are one request each.
    """

    number: Named[int] = Column(SmallInteger, primary_key=True, autoincrement=False)
    owner: Named[str | None] = Column(Text)
    busy_until_us: Named[int] = Column(BigInteger)
    begun_us: Named[int] = Column(BigInteger)
    failures: Named[int]


class GatewayAnswerColumns(TypedColumns):
    """What a request of the gateway was answered, so that its repeat is no second letter."""

    project_id: Named[int] = Column(primary_key=True)
    key: Named[bytes] = Column(LargeBinary, primary_key=True)
    answered_us: Named[int] = Column(BigInteger)
    answer: Named[str] = Column(Text)


class NoticeColumns(TypedColumns):
    """What people were notified of, so that they are not told again."""

    project_id: Named[int] = Column(primary_key=True)
    subject: Named[str] = Column(Text, primary_key=True)
    sent_us: Named[int] = Column(BigInteger)


class AlarmColumns(TypedColumns):
    """What is not as it should be, while it lasts; ``subject`` is one of store.alarms.

    ``since_us`` is as of store.alarms.Alarm; ``told`` says that people know of it.  Somebody tells of its
    beginning or its end until ``telling_until_us``.
    """

    project_id: Named[int] = Column(primary_key=True)
    subject: Named[str] = Column(Text, primary_key=True)
    since_us: Named[int] = Column(BigInteger)
    told: Named[bool] = Column(Boolean)
    telling_until_us: Named[int] = Column(BigInteger)


# Without a rowid where rows are small and always found by their key: then SQLite keeps them in its tree.
ledger = Table("ledger", metadata, LedgerColumns)
projects = Table("projects", metadata, ProjectColumns)
access_keys = Table("access_keys", metadata, AccessKeyColumns)
customers = Table("customers", metadata, CustomerColumns)
customer_ids = Table("customer_ids", metadata, CustomerIdColumns, sqlite_with_rowid=False)
customer_properties = Table("customer_properties", metadata, CustomerPropertyColumns, sqlite_with_rowid=False)
events = Table("events", metadata, EventColumns)
event_kinds = Table("event_kinds", metadata, EventKindColumns)
letters = Table("letters", metadata, LetterColumns, sqlite_with_rowid=False)
campaign_letters = Table("campaign_letters", metadata, CampaignLetterColumns, sqlite_with_rowid=False)
campaign_days = Table(
    "campaign_days",
    metadata,
    CampaignDayColumns,
    *(Column(name, Integer, nullable=False) for name in HOURS),
    sqlite_with_rowid=False,
)
campaign_delays = Table("campaign_delays", metadata, CampaignDelayColumns, sqlite_with_rowid=False)
claims = Table("claims", metadata, ClaimColumns, sqlite_with_rowid=False)
rejections = Table("rejections", metadata, RejectionColumns)
shapes = Table("shapes", metadata, ShapeColumns)
shape_states = Table("shape_states", metadata, ShapeStateColumns, sqlite_with_rowid=False)
shape_hours = Table("shape_hours", metadata, ShapeHourColumns, sqlite_with_rowid=False)
rejection_hours = Table("rejection_hours", metadata, RejectionHourColumns, sqlite_with_rowid=False)
attempts = Table("attempts", metadata, AttemptColumns)
withdrawn_events = Table("withdrawn_events", metadata, WithdrawnEventColumns)
counters = Table("counters", metadata, CounterColumns, sqlite_with_rowid=False)
outbox = Table("outbox", metadata, OutboxColumns)
outbox_hours = Table("outbox_hours", metadata, OutboxHourColumns, sqlite_with_rowid=False)
outbox_spans = Table("outbox_spans", metadata, OutboxSpanColumns)
relay_pump = Table("relay_pump", metadata, RelayPumpColumns)
runs = Table("runs", metadata, RunColumns)
mailings = Table("mailings", metadata, MailingColumns)
campaign_mailings = Table("campaign_mailings", metadata, CampaignMailingColumns, sqlite_with_rowid=False)
mailing_ids = Table("mailing_ids", metadata, MailingIdColumns, sqlite_with_rowid=False)
suppressions = Table("suppressions", metadata, SuppressionColumns)
slots = Table("slots", metadata, SlotColumns)
gateway_answers = Table("gateway_answers", metadata, GatewayAnswerColumns, sqlite_with_rowid=False)
notices = Table("notices", metadata, NoticeColumns, sqlite_with_rowid=False)
alarms = Table("alarms", metadata, AlarmColumns, sqlite_with_rowid=False)

HEARD_LAST = ("delivered", "failed", "posted", "returned", "suppressed")
"""Stages after which nothing more is to be expected: a letter in one of them is not silent."""

MORE_TO_COME = f"state = 'queued' AND (stage IS NULL OR stage NOT IN {HEARD_LAST})"
"""Of mailings: they are at Optilyz, and more is to be heard of them."""

Index("ix_events_time", events.c.project_id, events.c.occurred_us)
Index("ix_events_customer", events.c.customer_id, events.c.occurred_us)
Index("ix_events_kind", events.c.kind_id, events.c.occurred_us)
# As good as free to keep: but for clocks that are set back, new entries stand at its end.
Index("ix_events_received", events.c.received_us)
Index("ix_rejections_state", rejections.c.project_id, rejections.c.state, rejections.c.id)
Index("ix_rejections_shape", rejections.c.shape_id, rejections.c.state, rejections.c.id)
Index("ix_attempts_rejection", attempts.c.rejection_id, attempts.c.id)
Index("ix_attempts_project", attempts.c.project_id, attempts.c.id)
Index("ix_runs_key", runs.c.project_id, runs.c.key, unique=True)
Index("ix_mailings_run", mailings.c.run_id, mailings.c.state, mailings.c.id)
Index("ix_mailings_customer", mailings.c.customer_id, mailings.c.automation)
Index("ix_mailings_state", mailings.c.project_id, mailings.c.state, mailings.c.id)
Index("ix_mailings_campaign", mailings.c.project_id, mailings.c.campaign, mailings.c.id)
Index("ix_suppressions_customer", suppressions.c.customer_id)
Index("ix_gateway_answers_time", gateway_answers.c.answered_us)


def _partly(name: str, condition: str, *columns: Column[Any]) -> None:
    """An index of the few rows that a question is about."""
    where = text(condition)
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


_partly("ix_events_mailing", "mailing_id IS NOT NULL", events.c.mailing_id, events.c.occurred_us)
_partly("ix_outbox_set_aside", "set_aside_us IS NOT NULL", outbox.c.project_id, outbox.c.id)
_partly("ix_outbox_customer", "customer_id IS NOT NULL", outbox.c.customer_id)
_partly("ix_mailings_asked", "state = 'asked'", mailings.c.asked_until_us)
_partly("ix_mailings_untold", "untold", mailings.c.id)
_partly("ix_mailings_silent", MORE_TO_COME, mailings.c.project_id, mailings.c.state, mailings.c.id)
# With all that is asked of a silent mailing, so that its row need not be read.
_partly(
    "ix_mailings_silence",
    MORE_TO_COME,
    *(mailings.c[name] for name in ("project_id", "campaign", "heard_us", "settled_us", "state", "stage")),
)
