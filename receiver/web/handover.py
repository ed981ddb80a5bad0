"""What whoever sets up the callbacks must know of this installation: where to, in which forms, by which
rules; with a template and examples."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from receiver.domain import payloads
from receiver.domain.callbacks import MAX_EVENT_BYTES
from receiver.domain.commands import Form, Reason, Rules
from receiver.domain.stages import FUNNEL, STAGE_WORDS, STAGES
from receiver.inbound.deliveries import Policy
from receiver.settings import Settings
from receiver.web import answers, tracking
from receiver.web.answers import Operation
from receiver.web.auth import Action, Caller
from receiver.web.documents import ROUTES
from receiver.web.outside import address_of
from receiver.web.questions import Parameters
from receiver.web.state import State


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IdDocument(_Document):
    """An ID of customers.  *individualisation* is the number of the field that brings it back."""

    name: str
    kind: Literal["hard", "soft"]
    individualisation: int | None


class PayloadDocument(_Document):
    """A body to be filled in: what changes stands in double braces."""

    route: str
    body: str


class ExampleDocument(PayloadDocument):
    """A body and what becomes of it; no *reason*: all of it is accepted."""

    title: str
    detail: str
    reason: Reason | None


class HandoverDocument(_Document):
    """Where and how callbacks are to be posted.  *status_words* are the senders' words by what they mean."""

    project: str
    urls: dict[str, str] = Field(description="By route, on the host that was asked.")
    role: Literal["tracking"] = Field(description="Of the key; its secret is shown when it is made.")
    customer_ids: list[IdDocument]
    campaign_individualisation: int | None
    mailing_individualisation: int | None
    campaign_properties: list[str]
    status_properties: list[str]
    status_words: dict[str, list[str]]
    empty_ids: Literal["reject", "drop"]
    unknown_customers: Literal["create", "reject"]
    reject_status: int
    max_commands: int
    max_body_bytes: int
    max_event_bytes: int
    duplicate_window: int
    templates: list[PayloadDocument]
    examples: list[ExampleDocument]


def handover(request: Request[State], caller: Caller, _: Parameters) -> Response:
    """What whoever sets up the callbacks must know of this installation, with a template and examples.

    No secret is in it.
    """
    project = request.state["keys"].keyring.project(caller.project_id)
    if project is None:
        return answers.problem(400, "The project has gone.")
    settings = request.state["settings"]
    host = address_of(request)
    urls = {
        _name(route): host + route.replace("projects/", f"projects/{project.token}/")
        for route in (*tracking.FORMS, tracking.SYSTEM_TIME)
    }
    return answers.document(_document(project.name, urls, settings, Policy.of(settings).rules))


def _name(route: str) -> str:
    return route.partition("projects/")[2]


def _document(name: str, urls: dict[str, str], settings: Settings, rules: Rules) -> HandoverDocument:
    return HandoverDocument(
        project=name,
        urls=urls,
        role="tracking",
        customer_ids=list(_ids(rules)),
        campaign_individualisation=settings.individualisations.get("campaign"),
        mailing_individualisation=settings.individualisations.get("mailing"),
        campaign_properties=list(rules.campaign_properties),
        status_properties=list(rules.status_properties),
        status_words=_words(rules),
        empty_ids=settings.empty_ids,
        unknown_customers=settings.unknown_customers,
        reject_status=settings.reject_status,
        max_commands=settings.max_commands,
        max_body_bytes=settings.max_body_bytes,
        max_event_bytes=MAX_EVENT_BYTES,
        duplicate_window=settings.duplicate_window,
        templates=[
            PayloadDocument(route=ROUTES[form], body=payloads.template(form, rules))
            for form in (Form.BATCH, Form.FLAT)
        ],
        examples=[
            ExampleDocument(
                title=each.title,
                detail=each.detail,
                route=ROUTES[each.form],
                body=each.body,
                reason=each.reason,
            )
            for each in payloads.examples(rules)
        ],
    )


def _ids(rules: Rules) -> list[IdDocument]:
    numbers = payloads.carried(rules)
    kinds: list[tuple[str, Literal["hard", "soft"]]] = [(name, "hard") for name in rules.hard_ids]
    kinds += [(name, "soft") for name in rules.soft_ids]
    return [IdDocument(name=name, kind=kind, individualisation=numbers.get(name)) for name, kind in kinds]


def _words(rules: Rules) -> dict[str, list[str]]:
    """Those of the operator go before ours."""
    together = {**STAGE_WORDS, **{word.lower(): stage for word, stage in rules.stage_words.items()}}
    stages = (*FUNNEL, *(stage for stage in STAGES if stage not in FUNNEL))
    found = {stage: [word for word, means in together.items() if means == stage] for stage in stages}
    return {stage: words for stage, words in found.items() if words}


OPERATIONS = (
    Operation("/handover", Action.READ, Parameters, handover, HandoverDocument, (400, 401, 403, 503)),
)
