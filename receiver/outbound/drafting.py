"""A row of a file becomes a letter: printed by its template, checked, given what it is to carry.  Pure."""

from collections.abc import Mapping, Sequence

from receiver.domain.commands import ExternalId
from receiver.domain.fields import Refusal, read_customer_ids
from receiver.domain.json_text import encode
from receiver.domain.recipients import Code, Recipient, Violation, address_key, carry, read_recipient
from receiver.outbound.letters import Draft, LetterRules, Order, as_violation
from receiver.outbound.people import Person, Unreadable
from receiver.outbound.templates import Context, Template, TemplateFault


def context_of(order: Order) -> Context:
    """What templates may say about it; without a campaign there is no ``scenario['id']``."""
    scenario = {} if order.campaign is None else {"id": order.campaign, "name": order.campaign}
    action = {"id": order.automation, "name": order.automation}
    return Context(scenario, action, {"id": order.project_token})


def draft(
    person: Person | Unreadable,
    template: Template,
    order: Order,
    context: Context,
    rules: LetterRules,
    mailing: str,
) -> Draft:
    """The letter to *person*; *context* is that of the order."""
    if isinstance(person, Unreadable):
        unreadable = Violation(Code.UNREADABLE_ROW, "", person.detail)
        return Draft(person.row, mailing, (), person.raw, None, None, None, [unreadable])
    ids, wrong_ids = _ids(person.customer_ids, rules)
    printed = template.recipient(person.customer, person.customer_ids, context)
    if isinstance(printed, TemplateFault):
        recipient, violations = Recipient({}, None, {}), [Violation(Code.TEMPLATE_FAILED, "", printed.detail)]
    else:
        recipient, violations = read_recipient(printed)
    address, taken = carry(recipient.address, _carried(ids, order.campaign, mailing, rules.numbers))
    recipient = Recipient(address, order.variation or recipient.variation, recipient.extras)
    variation = None if recipient.variation is None else str(recipient.variation)
    consent = person.customer.get(rules.consent_property) if rules.consent_property else None
    found = [*wrong_ids, *violations, *taken]
    body = encode(recipient.document()).encode() if not found else _as_given(person)
    return Draft(person.row, mailing, ids, body, address_key(address), variation, consent, found)


def _as_given(person: Person) -> bytes:
    """What a refused letter was to be made of: nothing refused is lost."""
    return encode({"customer": dict(person.customer), "customer_ids": dict(person.customer_ids)}).encode(
        errors="replace"
    )


def _ids(
    given: Mapping[str, object], rules: LetterRules
) -> tuple[tuple[ExternalId, ...], Sequence[Violation]]:
    """The IDs that travel: of a list the first that is not empty; names that are no ID of ours are not
    looked at."""
    found = read_customer_ids(
        {kind: first_of(given[kind]) for kind in rules.kinds if kind in given}, rules.rules
    )
    if isinstance(found, Refusal):
        return (), [as_violation(found)]
    return found[0], ()


def first_of(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    return next((each for each in value if each is not None and str(each).strip()), None)


def _carried(
    ids: Sequence[ExternalId], campaign: str | None, mailing: str, numbers: Mapping[str, int]
) -> dict[int, str]:
    values = {**dict(ids), "campaign": campaign or "", "mailing": mailing}
    return {number: values[name] for name, number in numbers.items() if values.get(name)}
