"""What every test of letters needs: people, settings, letters put on disk, and what the tables say then."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import Any

from sqlalchemy import Engine, func, select, update

from receiver.domain.commands import Form
from receiver.inbound import ingest
from receiver.inbound.deliveries import Delivery, Part, Policy, Verdict
from receiver.outbound.access import Limits
from receiver.outbound.asking import Asker, Step
from receiver.outbound.drafting import context_of, draft
from receiver.outbound.intending import Decided, intend
from receiver.outbound.jobs import PRESET
from receiver.outbound.letters import LetterRules, Order, mailing_id
from receiver.outbound.optilyz import Optilyz
from receiver.outbound.people import Person
from receiver.outbound.templates import Template
from receiver.settings import Settings
from receiver.simulator.service import AUTOMATION
from receiver.store import outcomes
from receiver.store.engine import connect
from receiver.store.mailings import Route
from receiver.store.sets import Ledger
from receiver.store.tables import events, ledger, mailings, metadata, suppressions
from receiver.store.writes import Source
from tests.rows import Rows

NOW_US = 1_760_000_100_000_000
MINUTE_US = 60_000_000
RUN = 7
"""A run whose file nobody needs."""

NOWHERE = "http://127.0.0.1:9/api"
"""Nobody listens there."""

ADDRESS = {"lastName": "Beispiel", "street": "Hauptstr.", "zipCode": "01067", "city": "Dresden"}

IDs = Mapping[str, object]


def person(ids: IDs | str, **properties: object) -> Person:
    """Somebody with a good address, which *properties* replace; *ids* may be the registered ID alone."""
    customer = ADDRESS | {"houseNumber": "1"} | properties
    return Person(1, customer, {"registered": ids} if isinstance(ids, str) else ids)


class Post:
    """One database, one project in it, and the settings that letters are made by."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.rows = Rows(engine)
        self.ledger = Ledger(engine)
        self._minutes = count(1)
        # Rows numbers its rows from 1, without asking the ledger.
        with engine.execution_options(writes=True).begin() as connection:
            connection.execute(update(ledger).values(last_id=1000))

    def order(self, **of_it: Any) -> Order:
        order = Order(
            self.rows.project_id, self.rows.project.token, AUTOMATION, "winback", Route.MANY, None, True
        )
        return order._replace(**of_it)

    def intend(
        self,
        *people: Person,
        run_id: int | None = RUN,
        template: Template | None = None,
        **order: Any,
    ) -> list[Decided]:
        """One chunk, a minute after the one before."""
        now_us = NOW_US + next(self._minutes) * MINUTE_US
        rules = LetterRules.of(self.settings)
        template = template or Template.load(PRESET, rules.kinds)
        of_all = self.order(**order)
        drafts = [
            draft(each, template, of_all, context_of(of_all), rules, mailing_id(now_us, number))
            for number, each in enumerate(people)
        ]
        with self.ledger.transaction() as transaction:
            return intend(
                transaction,
                of_all,
                drafts,
                Policy.of(self.settings),
                rules,
                run_id=run_id,
                now_us=now_us,
            )

    def fates(self, *people: Person, **how: Any) -> list[str]:
        """What each letter of one chunk became, with the reason where it is not sent."""
        return [_fate(state, reason) for _, state, reason in self.intend(*people, **how)]

    def asker(
        self, of_its_own: Ledger | None = None, *, settings: Settings | None = None, run_id: int | None = RUN
    ) -> Asker:
        settings = settings or self.settings
        return Asker(
            of_its_own or self.ledger,
            _optilyz(settings.optilyz_base_url, settings.optilyz_seconds),
            Policy.of(settings),
            LetterRules.of(settings),
            Limits.of(settings),
            run_id=run_id,
        )

    def call_back(
        self, *bodies: dict[str, Any], form: Form = Form.EVENT, at_us: int = NOW_US
    ) -> list[Verdict]:
        """One group of callbacks, each a request of its own."""
        policy = Policy.of(self.settings)
        deliveries = [
            Delivery(self.rows.project_id, Source.CALLBACK, form, json.dumps(body).encode(), [], at_us)
            for body in bodies
        ]
        parts = [Part(each, 0, list(ingest.read(each, policy))) for each in deliveries]
        return [verdict for part in ingest.keep(self.ledger, parts, policy) for verdict in part if verdict]

    # -- what the tables say ----------------------------------------------------------------------

    def query(self, query: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(query))

    def letters(self) -> list[Any]:
        """Every mailing, in the order of their IDs."""
        return self.query(select(mailings).order_by(mailings.c.id))

    def letter(self, mailing: str) -> Any:
        return next(each for each in self.letters() if each.id == mailing)

    def states(self) -> Counter[str]:
        """What became of how many letters."""
        return Counter(_fate(each.state, each.reason) for each in self.letters())

    def change(self, **values: object) -> None:
        """Change every mailing behind everybody's back."""
        with self.engine.execution_options(writes=True).begin() as connection:
            connection.execute(update(mailings).values(**values))

    def events(self, source: str = "sending") -> list[Any]:
        return self.query(select(events).where(events.c.source == source).order_by(events.c.id))

    def told(self) -> list[dict[str, Any]]:
        """The properties of every event about a letter."""
        return [json.loads(event.properties) for event in self.events()]

    def suppressions(self) -> list[Any]:
        return self.query(select(suppressions).order_by(suppressions.c.id))

    def disagreements(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(outcomes.disagreements(connection, self.rows.project_id, None, None))

    def sizes(self) -> dict[str, int]:
        """How many rows each table has, and the last number handed out."""
        sizes = {
            table.name: self.query(select(func.count()).select_from(table))[0][0]
            for table in metadata.sorted_tables
        }
        return sizes | {"last_id": self.query(select(metadata.tables["ledger"].c.last_id))[0][0]}


@cache
def _optilyz(url: str, seconds: float) -> Optilyz:
    """One for many tests: each new one reads the certificates of the whole world first."""
    return Optilyz(url, "k", seconds=seconds)


def _fate(state: str, reason: str | None) -> str:
    return f"{state}: {reason}" if reason else str(state)


@contextmanager
def posting(
    database_url: str, optilyz_url: str = NOWHERE, *, wait_seconds: float = 5.0, **of_settings: Any
) -> Iterator[Post]:
    """A post office for the time of the block; Optilyz may be asked as often as it likes."""
    of_settings.setdefault("optilyz_per_minute", 600_000)
    of_settings.setdefault("optilyz_api_key", "k")
    settings = Settings(
        database_url=database_url,
        optilyz_base_url=optilyz_url,
        database_seconds=wait_seconds,
        **of_settings,
    )
    engine = connect(database_url, wait_seconds=wait_seconds)
    post = Post(engine, settings)
    try:
        yield post
    finally:
        post.ledger.close()
        engine.dispose()


def steps(asker: Asker, most: int = 200) -> Sequence[Step]:
    """What the asker says until nothing is due; waits without looking at the clock."""
    found: list[Step] = []
    while len(found) < most:
        found.append(asker.step())
        if type(found[-1]).__name__ in {"Idle", "Stopped"}:
            return found
    raise AssertionError(f"it goes on after {most} steps")
