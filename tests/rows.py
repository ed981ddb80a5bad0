"""Rows put into the tables directly, without the way in, and a database that nobody else can write."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from typing import cast

from sqlalchemy import Engine, Table, insert

from receiver.domain.kinds import Kind
from receiver.domain.moments import HOUR_US
from receiver.domain.shapes import Shape
from receiver.store import keys, tables
from receiver.store.engine import connect
from receiver.store.keys import NewProject
from receiver.store.sets import Ledger
from receiver.store.shapes import counts_of
from receiver.store.tables import ledger
from receiver.store.writes import Writes, write

T0 = 1_760_000_000_250_000
"""2025-10-09T08:53:20.250000Z"""


class Rows:
    """Writes rows of one project; whatever a test does not say is some sensible value."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._ids = count(1)
        self.project: NewProject
        self.project_id = 0
        self.begin_project()

    def begin_project(self) -> int:
        """Another project, which all further rows belong to."""
        with self.engine.execution_options(writes=True).begin() as connection:
            self.project = keys.create_project(connection, "letters", public=True, now_us=T0)
            self.project_id = keys.projects(connection)[-1].id
        return self.project_id

    def customer(
        self,
        ids: Mapping[str, str | list[str]] | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> int:
        """A customer; of a list of IDs the last one was used last."""
        customer = next(self._ids)
        self._add(tables.customers, id=customer, created_us=T0, merged_into=None)
        for kind, values in (ids or {}).items():
            for used_us, value in enumerate([values] if isinstance(values, str) else values):
                self._add(tables.customer_ids, kind=kind, value=value, customer_id=customer, used_us=used_us)
        for name, content in (properties or {}).items():
            row = {"customer_id": customer, "name": name, "value": json.dumps(content), "updated_us": T0}
            self._add(tables.customer_properties, **row)
        return customer

    def event(self, customer: int = 0, occurred_us: int = T0, **columns: object) -> int:
        """One that is counted as one that came in is."""
        number = next(self._ids)
        row: dict[str, object] = {
            "id": number,
            "project_id": self.project_id,
            "customer_id": customer,
            "type": "campaign",
            "occurred_us": occurred_us,
            "received_us": T0,
            "source": "callback",
            "ids": '{"registered":"c-1"}',
            "properties": '{"status":"delivered"}',
            **columns,
        }
        event_type = str(row["type"])
        campaign, status, stage = (cast("str | None", row.get(name)) for name in Kind._fields[2:])
        row["kind_id"] = Kind(self.project_id, event_type, campaign, status, stage).id
        kept = Writes(events=[tuple(row.get(column.name) for column in tables.events.c)])
        with closing(Ledger(self.engine)) as ledger, ledger.transaction() as transaction:
            write(transaction, kept)
        return number

    def rejection(
        self,
        body: bytes = b"{}",
        received_us: int = T0,
        *,
        last_seen_us: int | None = None,
        form: str = "event",
        reason: str = "empty_customer_id",
        pointer: str = "/customer_ids/registered",
        state: str = "open",
        count: int = 1,
        attempts: int = 0,
        event_type: str | None = None,
        campaign: str | None = None,
    ) -> int:
        """One that is counted as one that came in is."""
        number = next(self._ids)
        seen_us = received_us if last_seen_us is None else last_seen_us
        shape = Shape(self.project_id, form, reason, pointer, event_type, campaign)
        detail = "The customer ID registered is empty; leave it out when there is no value."
        headers = '[["content-type","application/json"]]'
        row = (
            *(number, self.project_id, shape.id, None, form, reason, detail, pointer, state),
            *(count, attempts, received_us, seen_us, headers, body),
        )
        states, hours, seen = counts_of([row])
        kept = Writes(
            rejections=[row],
            shapes=[(shape.id, *shape)],
            shape_states=states,
            shape_hours=hours,
            rejection_hours=seen,
        )
        with closing(Ledger(self.engine)) as ledger, ledger.transaction() as transaction:
            write(transaction, kept)
        return number

    def counter(
        self,
        received: int,
        accepted: int,
        duplicate: int,
        rejected: int,
        at_us: int = T0,
        source: str = "callback",
        campaign: str = "",
    ) -> None:
        self._add(
            tables.counters,
            source=source,
            hour_us=at_us - at_us % HOUR_US,
            campaign=campaign,
            received=received,
            accepted=accepted,
            duplicate=duplicate,
            rejected=rejected,
            events=0,
            last_us=at_us,
        )

    def _add(self, table: Table, **row: object) -> None:
        if "project_id" in table.c:
            row["project_id"] = self.project_id
        with self.engine.execution_options(writes=True).begin() as connection:
            connection.execute(insert(table), row)


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """While the block runs nobody else can write."""
    engine = connect(database_url)
    try:
        with engine.execution_options(writes=True).begin() as connection:
            connection.execute(ledger.update().values(last_id=ledger.c.last_id))
            yield
    finally:
        engine.dispose()
