"""What many would write: FastAPI and SQLAlchemy's async ORM, one transaction for each request.

The same tables and rules as the service in their plain form: a repeat is recognised and changes
nothing, the IDs lead to the customer, unknown customers are created, customers who share an ID
become one.  Durable like the service.  It has no authentication and keeps nothing that it refuses.
"""

import argparse
import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import uvicorn
import uvloop
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel, Field, StringConstraints, ValidationError
from sqlalchemy import JSON, DateTime, ForeignKey, Index, delete, event, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class EventIn(BaseModel):
    customer_ids: dict[Literal["registered", "cookie"], Text] = Field(min_length=1)
    event_type: Text
    timestamp: float | None = None
    properties: dict[str, Any] | None = None


class CommandIn(BaseModel):
    name: Literal["customers/events"]
    command_id: str | None = None
    data: EventIn


class BatchIn(BaseModel):
    commands: list[dict[str, Any]] = Field(min_length=1, max_length=50)


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, datetime: DateTime(timezone=True)}  # noqa: RUF012


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class CustomerId(Base):
    __tablename__ = "customer_ids"
    kind: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), index=True)


class Event(Base):
    __tablename__ = "events"
    __table_args__ = (Index("ix_events_customer_time", "customer_id", "occurred_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    type: Mapped[str]
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime]
    campaign: Mapped[str | None] = mapped_column(index=True)
    status: Mapped[str | None]
    properties: Mapped[dict[str, Any]]
    dedupe_key: Mapped[str] = mapped_column(unique=True)


def dedupe_key(sent: EventIn) -> str:
    text = json.dumps(sent.model_dump(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


async def find_customer(session: AsyncSession, sent: EventIn) -> int:
    """The customer who holds the IDs: found, created, or made of several."""
    pairs = list(sent.customer_ids.items())
    held = (
        await session.scalars(select(CustomerId).where(tuple_(CustomerId.kind, CustomerId.value).in_(pairs)))
    ).all()
    holders = sorted({each.customer_id for each in held})
    if holders:
        customer_id = holders[0]
    else:
        customer = Customer(created_at=datetime.now(UTC))
        session.add(customer)
        await session.flush()
        customer_id = customer.id
    for other in holders[1:]:
        await session.execute(update(Event).where(Event.customer_id == other).values(customer_id=customer_id))
        await session.execute(
            update(CustomerId).where(CustomerId.customer_id == other).values(customer_id=customer_id)
        )
        await session.execute(delete(Customer).where(Customer.id == other))
    known = {(each.kind, each.value) for each in held}
    session.add_all(
        CustomerId(kind=kind, value=value, customer_id=customer_id)
        for kind, value in pairs
        if (kind, value) not in known
    )
    return customer_id


async def store(session: AsyncSession, sent: EventIn) -> None:
    """Adds the event, unless it is there already."""
    key = dedupe_key(sent)
    if await session.scalar(select(Event.id).where(Event.dedupe_key == key)):
        return
    customer_id = await find_customer(session, sent)
    now = datetime.now(UTC)
    properties = sent.properties or {}
    session.add(
        Event(
            customer_id=customer_id,
            type=sent.event_type,
            occurred_at=now if sent.timestamp is None else datetime.fromtimestamp(sent.timestamp, UTC),
            received_at=now,
            campaign=properties.get("campaign_id"),
            status=properties.get("status"),
            properties=properties,
            dedupe_key=key,
        )
    )


async def store_together(sessions: async_sessionmaker[AsyncSession], events: list[EventIn]) -> None:
    """Adds the events in one transaction; once more where another request was a moment faster."""
    for attempt in range(5):
        try:
            async with sessions.begin() as session:
                for sent in events:
                    await store(session, sent)
            return
        except IntegrityError:
            if attempt == 4:
                raise


def get_sessions(request: Request) -> async_sessionmaker[AsyncSession]:
    sessions: async_sessionmaker[AsyncSession] = request.app.state.sessions
    return sessions


Sessions = Annotated[async_sessionmaker[AsyncSession], Depends(get_sessions)]
app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    return {"success": True}


@app.post("/track/v2/projects/{project_token}/customers/events")
async def add_event(project_token: str, sent: EventIn, sessions: Sessions) -> dict[str, Any]:
    await store_together(sessions, [sent])
    return {"success": True, "errors": []}


@app.post("/track/v2/projects/{project_token}/batch")
async def add_batch(project_token: str, batch: BatchIn, sessions: Sessions) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    events: list[EventIn] = []
    for each in batch.commands:
        result: dict[str, Any] = {"success": True}
        try:
            events.append(CommandIn.model_validate(each).data)
        except ValidationError as error:
            result = {"success": False, "errors": [problem["msg"] for problem in error.errors()]}
        if "command_id" in each:
            result["command_id"] = each["command_id"]
        results.append(result)
    await store_together(sessions, events)
    return {"success": True, "results": results}


def open_database(url: str) -> AsyncEngine:
    """The engine, durable on both databases."""
    if url.startswith("postgresql"):
        return create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    # One connection: SQLite has one writer anyway, and waiting in the pool is fairer than its busy handler.
    engine = create_async_engine(url.replace("sqlite://", "sqlite+aiosqlite://"), pool_size=1, max_overflow=0)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


async def serve(port: int, database: str) -> None:
    """Creates the tables and serves until it is told to stop."""
    engine = open_database(database)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    config = uvicorn.Config(app, port=port, http="httptools", access_log=False, log_level="warning")
    await uvicorn.Server(config).serve()
    await engine.dispose()


def main() -> None:
    """Serves on one core's event loop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.database))


if __name__ == "__main__":
    main()
