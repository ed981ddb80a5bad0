"""The callbacks of the simulated Optilyz, with all that is odd about real ones.

A template is filled for each recipient, as a consultant has written it for one customer: it knows nothing
of what makes a callback good.  Among the recipients are seed addresses, which have no IDs.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import httpx2
from jinja2.sandbox import SandboxedEnvironment

from receiver.simulator.letters import Recipient

# The flat form, with the individualisations that the recipient came with.
TEMPLATE = """{
{%- for name, value in individualisations.items() %}{{ name | tojson }}: {{ value | tojson }}, {% endfor -%}
"status": {{ status | tojson }}, "timestamp": {{ timestamp }}}"""


class Target(NamedTuple):
    """Where callbacks go: *user* is ``user:password``; *batch* is how many are in a request."""

    url: str | None = None
    user: str = ":"
    template: str = TEMPLATE
    batch: int = 50


class Round(NamedTuple):
    """What is to be told.

    Attributes:
        repeat: share of the callbacks that come a second time, 0 to 1.
        control_addresses: seed addresses in each stage, with empty individualisations.
        unfilled: callbacks in each stage whose template was not filled.
        returned_share: share of the letters that come back, if the stages have ``returned``.
        in_milliseconds: how many callbacks of a stage tell the time in milliseconds; these come once.
    """

    stages: Sequence[str] = ("booked", "printing", "posted", "returned")
    repeat: float = 0.1
    control_addresses: int = 2
    unfilled: int = 1
    returned_share: float = 0.05
    in_milliseconds: Mapping[str, int] = MappingProxyType({})


class Posted(NamedTuple):
    """Callbacks posted and accepted, in how many requests; *failed* ones were not answered with 2xx."""

    posted: int = 0
    accepted: int = 0
    requests: int = 0
    failed: int = 0


async def post(target: Target, recipients: Sequence[Recipient], what: Round) -> Posted:
    """Tell of *recipients*, stage by stage and batch by batch; a request that fails is not repeated."""
    template = SandboxedEnvironment().from_string(target.template)
    user, _, password = target.user.partition(":")
    total = Posted()
    async with httpx2.AsyncClient(auth=(user, password), timeout=60) as client:
        for stage in what.stages:
            now = round(time.time(), 3)
            wrong = what.in_milliseconds.get(stage, 0)
            entries = [
                template.render(**variables, status=stage, timestamp=now if place >= wrong else 1000 * now)
                for place, variables in enumerate(_of_stage(stage, recipients, what))
            ]
            for start in range(0, len(entries), target.batch):
                batch = entries[start : start + target.batch]
                accepted = await _accepted(client, str(target.url), f"[{','.join(batch)}]")
                total = Posted(
                    total.posted + len(batch),
                    total.accepted + (accepted or 0),
                    total.requests + 1,
                    total.failed + (accepted is None),
                )
    return total


def _of_stage(stage: str, recipients: Sequence[Recipient], what: Round) -> Iterator[dict[str, object]]:
    """The variables of each callback of a stage."""
    told = list(_share(recipients, what.returned_share if stage == "returned" else 1))
    repeatable = told[what.in_milliseconds.get(stage, 0) :]
    for recipient in (*told, *_share(repeatable, what.repeat)):
        yield _variables(recipient.id, recipient.address, recipient.individualisations())
    names = sorted({name for each in recipients for name in each.individualisations()})
    names = names or ["individualisation1"]
    for number in range(what.control_addresses):
        yield _variables(f"control-{number}", {"lastName": "Control"}, dict.fromkeys(names, ""))
    for _ in range(what.unfilled):
        yield _variables("", {}, {name: f"{{{{ recipient.{name} }}}}" for name in names})


def _variables(
    recipient_id: str, address: Mapping[str, object], individualisations: Mapping[str, object]
) -> dict[str, object]:
    return {
        "recipient_id": recipient_id,
        "recipient": {**address, **individualisations},
        "individualisations": individualisations,
    }


def _share(recipients: Sequence[Recipient], share: float) -> Iterator[Recipient]:
    """As many as *share* says, spread evenly, and the same ones each time."""
    return (each for number, each in enumerate(recipients) if int((number + 1) * share) > int(number * share))


async def _accepted(client: httpx2.AsyncClient, url: str, body: str) -> int | None:
    """How many callbacks of one request were accepted; None where the request failed."""
    try:
        answer = await client.post(url, content=body, headers={"content-type": "application/json"})
        answer.raise_for_status()
        results = answer.json()["results"]
        return sum(1 for result in results if result["success"])
    except (httpx2.HTTPError, json.JSONDecodeError, KeyError, TypeError):
        return None
