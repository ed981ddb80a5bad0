"""What every test of repair needs: callbacks that are refused, what is done about them, and what is left."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import func, select

from receiver.domain.commands import Form
from receiver.inbound import ingest, rejections, replaying, undoing
from receiver.inbound.deliveries import Delivery, Part, Policy, Verdict
from receiver.inbound.rejections import Action, How, Replayed, Who
from receiver.store.outcomes import Counts
from receiver.store.sets import Ledger
from receiver.store.tables import attempts, counters, events, withdrawn_events
from receiver.store.tables import rejections as rejected
from receiver.store.writes import Source
from tests.posting import Post, posting

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
SENT_US = 1_760_000_000 * SECOND_US
"""When the events happened that say so."""

T0 = SENT_US + 100 * SECOND_US
"""When callbacks come in, unless a test says otherwise."""

LATER = T0 + 24 * HOUR_US + 7
"""When operations do something."""

AS_IT_IS = How()


def event(ids: dict[str, Any] | None = None, /, **members: Any) -> dict[str, Any]:
    """An event that is accepted; *members* replace its own, None leaves one out."""
    whole: dict[str, Any] = {
        "customer_ids": {"registered": "c-1"} if ids is None else ids,
        "event_type": "campaign",
        "timestamp": SENT_US // SECOND_US,
        "properties": {"status": "delivered", "campaign_id": "winback"},
    }
    return {name: value for name, value in (whole | members).items() if value is not None}


def in_milliseconds(ids: dict[str, Any] | None = None, /, **members: Any) -> dict[str, Any]:
    return event(ids, **({"timestamp": SENT_US // 1000} | members))


def without_id(**members: Any) -> dict[str, Any]:
    """Its registered ID is empty, beside a good cookie."""
    return event({"registered": "", "cookie": "u-1"}, **members)


def command(data: object, name: str = "customers/events") -> dict[str, Any]:
    return {"name": name, "data": data}


class Now(NamedTuple):
    """What is left of a rejection."""

    state: str
    times: int
    attempts: int


class Bench:
    """A post office whose callbacks are refused, and one who mends them."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self.engine = post.engine
        self.project_id = post.rows.project_id
        self.policy = Policy.of(post.settings)

    def send(
        self, *bodies: object, form: Form = Form.EVENT, at_us: int = T0, ledger: Ledger | None = None
    ) -> list[Verdict]:
        """One group of callbacks, each a request of its own, of bytes or of what becomes JSON."""
        deliveries = [
            Delivery(self.project_id, Source.CALLBACK, form, as_bytes(body), [(b"x-a", b"b")], at_us)
            for body in bodies
        ]
        parts = [Part(each, 0, list(ingest.read(each, self.policy))) for each in deliveries]
        kept = ingest.keep(ledger or self.post.ledger, parts, self.policy)
        return [verdict for part in kept for verdict in part if verdict]

    def became(self, *bodies: object, form: Form = Form.EVENT, at_us: int = T0) -> list[tuple[str, int]]:
        """What became of the commands, and the number of what each became."""
        return [(each.became.value, each.row_id) for each in self.send(*bodies, form=form, at_us=at_us)]

    def refused(self, body: object, form: Form = Form.EVENT, at_us: int = T0) -> int:
        """The rejection that *body*, or the one bad command of it, has become."""
        (number,) = {v.row_id for v in self.send(body, form=form, at_us=at_us) if v.rejection}
        return number

    def replay(
        self, *ids: int, at_us: int = LATER, ledger: Ledger | None = None, how: How = AS_IT_IS, **more: Any
    ) -> list[Replayed]:
        who = Who("key-1", at_us)
        return replaying.replay(
            ledger or self.post.ledger, self.policy, self.project_id, ids, how, who, **more
        )

    def outcome(self, rejection_id: int, how: How = AS_IT_IS, at_us: int = LATER) -> list[str]:
        """What became of each command of the replay of one rejection."""
        (done,) = self.replay(rejection_id, how=how, at_us=at_us)
        return [result.outcome.value for result in done.results]

    def undo(self, rejection_id: int, note: str | None = None, at_us: int = LATER + MINUTE_US) -> list[int]:
        who = Who("key-2", at_us)
        return undoing.undo(self.post.ledger, self.project_id, rejection_id, note, who)

    def decide(self, action: Action, *ids: int, note: str | None = None, at_us: int = LATER) -> list[int]:
        who = Who("key-3", at_us)
        return rejections.decide(self.post.ledger, self.project_id, ids, action, note, who)

    # -- what the tables say ----------------------------------------------------------------------

    def now(self, rejection_id: int) -> Now:
        columns = rejected.c.state, rejected.c.count, rejected.c.attempts
        (row,) = self.post.query(select(*columns).where(rejected.c.id == rejection_id))
        return Now(*row)

    def states(self) -> dict[int, str]:
        return dict(map(tuple, self.post.query(select(rejected.c.id, rejected.c.state))))

    def events(self) -> list[Any]:
        """All that callbacks made, now or by a replay."""
        made = events.c.source.in_(["callback", "replayed"])
        return self.post.query(select(events).where(made).order_by(events.c.id))

    def withdrawn(self) -> list[Any]:
        return self.post.query(select(withdrawn_events).order_by(withdrawn_events.c.id))

    def trace(self, rejection_id: int) -> list[Any]:
        """What was done about a rejection, the oldest first."""
        mine = attempts.c.rejection_id == rejection_id
        return self.post.query(select(attempts).where(mine).order_by(attempts.c.id))

    def counts(self, source: str = "replayed") -> Counts:
        """What was counted; that it adds up, and agrees with the events, is seen to."""
        assert self.post.disagreements() == []
        sums = [func.coalesce(func.sum(counters.c[name]), 0) for name in Counts._fields]
        (row,) = self.post.query(select(*sums).where(counters.c.source == source))
        return Counts(*map(int, row))


def as_bytes(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@contextmanager
def bench(database_url: str, **of_settings: Any) -> Iterator[Bench]:
    of_settings.setdefault("unknown_customers", "create")
    with posting(database_url, **of_settings) as post:
        yield Bench(post)
