"""A job that can be begun: its file and its template are read, its project is known."""

import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from receiver.domain.fields import MAX_TEXT, is_storable
from receiver.domain.json_text import encode_canonically
from receiver.outbound.drafting import context_of, draft
from receiver.outbound.given import Given
from receiver.outbound.jobs import Job, NotSent
from receiver.outbound.letters import Draft, LetterRules, Order, mailing_id
from receiver.outbound.optilyz import Denied
from receiver.outbound.people import PeopleFile, Person, Unreadable
from receiver.outbound.templates import Template, TemplateFault
from receiver.store import reports

# Enough to share a commit well, few enough that callbacks wait only for a moment.
_ROWS_A_TIME = 200


class Opened(NamedTuple):
    people: PeopleFile
    template: Template
    order: Order
    rules: LetterRules

    def compose(self, recipients: Sequence[str]) -> str | Denied:
        body = self.template.request(recipients, context_of(self.order))
        return Denied(0, body.detail) if isinstance(body, TemplateFault) else body

    @property
    def key(self) -> bytes:
        """The same file and the same order are the same run."""
        order = self.order
        what = (order.automation, order.campaign, order.route.value, order.variation, order.once)
        return sha256(self.people.digest + self.template.digest + encode_canonically(what)).digest()

    def drafts(self, people: Sequence[Person | Unreadable]) -> list[Draft]:
        now_us, context = time.time_ns() // 1000, context_of(self.order)
        return [
            draft(person, self.template, self.order, context, self.rules, mailing_id(now_us, number))
            for number, person in enumerate(people)
        ]


def open_job(engine: Engine, rules: LetterRules, job: Job) -> Opened:
    """Raises WrongFile, WrongTemplate, NotSent, and what the database raises."""
    people = PeopleFile(job.file if isinstance(job.file, Given) else Path(job.file), rules.kinds)
    template = Template.load(job.template, rules.kinds)
    with reports.reading(engine) as connection:
        project_id = reports.find_project(connection, job.project_token)
    if project_id is None:
        raise NotSent("There is no such project; see `receiver project list`.")
    campaign = (job.campaign or "").strip() or None
    if campaign and not (len(campaign) <= MAX_TEXT and is_storable(campaign)):
        raise NotSent(f"The campaign reference cannot be used; send at most {MAX_TEXT} valid characters.")
    order = Order(project_id, job.project_token, job.automation, campaign, job.route, job.variation, job.once)
    opened = Opened(people, template, order, rules)
    if isinstance(denied := opened.compose(['{"address":{}}']), Denied):
        raise NotSent(denied.detail)
    return opened


def chunks(
    people: Iterator[Person | Unreadable], limit: int | None
) -> Iterator[Sequence[Person | Unreadable]]:
    """At most *limit* of them, some at a time."""
    people = islice(people, limit)
    while chunk := list(islice(people, _ROWS_A_TIME)):
        yield chunk
