"""What comes through the gateway: read, checked, and passed on as it was sent.  Pure.

The two bodies are those of Optilyz (contract, 5.3 and 5.4).  Whatever the bytes, `read` gives letters.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from receiver.domain.commands import ExternalId
from receiver.domain.exact_json import entries_as_sent, parse
from receiver.domain.fields import (
    MAX_TEXT,
    Place,
    Refusal,
    first_text,
    is_storable,
    kind_of,
    read_customer_ids,
)
from receiver.domain.json_text import encode
from receiver.domain.recipients import (
    Code,
    Violation,
    address_key,
    carried,
    individualisation,
    read_recipient,
)
from receiver.domain.violations import unstorable
from receiver.outbound.letters import Draft, LetterRules, as_violation, mailing_id
from receiver.store.mailings import MOST_TOGETHER, Route

_AUTOMATION = re.compile("[A-Za-z0-9_-]{1,100}")
_NOT_OF_AN_AUTOMATION = re.compile("[^A-Za-z0-9_-]")
_INDIVIDUALISATIONS = ("individualisation", "individualization")


class Request(NamedTuple):
    """One request of a sender; *automation* and *body* are as received."""

    project_id: int
    automation: str
    route: Route
    body: bytes
    received_us: int


class Passed(NamedTuple):
    """The letters of one request.

    Attributes:
        automation: that they go through; of one that cannot be any, what can be kept of it.
        letters: each with its campaign reference, in the order of the request.
        whole: the request was refused as a whole; one letter keeps its bytes.
    """

    automation: str
    letters: Sequence[tuple[str | None, Draft]]
    whole: bool


def read(request: Request, rules: LetterRules) -> Passed:
    """The letters that *request* asks for; *rules* name the individualisations of the gateway."""
    if not _AUTOMATION.fullmatch(request.automation):
        detail = "The automation's ID in the URL is not 1 to 100 letters, digits, - and _; correct the URL."
        kept = _NOT_OF_AN_AUTOMATION.sub("_", request.automation[:100])
        return _refused(request, kept, Violation(Code.WRONG_TYPE, "automation_id", detail))
    sent = parse(request.body)
    if isinstance(sent, Refusal):
        return _refused(request, request.automation, Violation(Code.MALFORMED_JSON, "", sent.detail))
    if request.route is Route.ONE:
        letter = _letter(sent, mailing_id(request.received_us), rules)
        return Passed(request.automation, list(_kept([letter], iter([request.body]))), whole=False)
    entries = _entries(sent)
    if isinstance(entries, Violation):
        return _refused(request, request.automation, entries)
    letters = [
        _letter(entry, mailing_id(request.received_us, number), rules) for number, entry in enumerate(entries)
    ]
    as_sent = entries_as_sent(request.body, "addresses") if any(d.violations for _, d in letters) else None
    return Passed(request.automation, list(_kept(letters, as_sent)) if as_sent else letters, whole=False)


def _refused(request: Request, automation: str, violation: Violation) -> Passed:
    mailing = mailing_id(request.received_us)
    letter = Draft(0, mailing, (), request.body, None, None, None, [violation])
    return Passed(automation, [(None, letter)], whole=True)


def _kept(
    letters: Sequence[tuple[str | None, Draft]], as_sent: Iterator[bytes]
) -> Iterator[tuple[str | None, Draft]]:
    """*letters*, the refused ones with their exact bytes: nothing refused is lost."""
    for (campaign, letter), given in zip(letters, as_sent, strict=True):
        yield campaign, letter._replace(body=given) if letter.violations else letter


def _entries(sent: object) -> Sequence[object] | Violation:
    if not isinstance(sent, dict):
        detail = f"The body is {kind_of(sent)}; send an object with a list of addresses."
        return Violation(Code.NOT_A_RECIPIENT, "", detail)
    entries = sent.get("addresses")
    if entries is None or entries == []:
        return Violation(Code.NOT_A_RECIPIENT, "addresses", "There are no addresses; send at least one.")
    if not isinstance(entries, list):
        detail = f"addresses is {kind_of(entries)}; send a list."
        return Violation(Code.NOT_A_RECIPIENT, "addresses", detail)
    if len(entries) > MOST_TOGETHER:
        detail = f"There are {len(entries)} addresses; send at most {MOST_TOGETHER} in one request."
        return Violation(Code.NOT_A_RECIPIENT, "addresses", detail)
    return entries


# -- one letter -----------------------------------------------------------------------------------


def _letter(entry: object, mailing: str, rules: LetterRules) -> tuple[str | None, Draft]:
    """The campaign reference and the letter, which has no body where it is refused."""
    if isinstance(entry, dict) and "address" not in entry:
        detail = "address is missing; send an object of fields and texts."
        missing = Violation(Code.MISSING_FIELD, "address", detail)
        return None, Draft(0, mailing, (), b"", None, None, None, [missing])
    recipient, violations = read_recipient(entry, known_only=False)
    fields = entry["address"] if isinstance(entry, dict) else None
    address = fields if isinstance(fields, dict) else {}
    travelling = carried(address, rules.numbers)
    ids, wrong_ids = _ids(travelling, rules)
    said = {each.field for each in violations}
    violations += [each for each in wrong_ids if each.field not in said]
    body = b""
    if isinstance(entry, dict) and not violations:
        try:
            body = encode({**entry, "address": _passed(address, mailing, rules.numbers)}).encode()
        except ValueError:
            # Half of a surrogate pair in the name of a field whose value is empty.
            violations = [unstorable("")]
    variation = None if recipient.variation is None else str(recipient.variation)
    key = address_key(recipient.address)
    return _campaign(travelling), Draft(0, mailing, ids, body, key, variation, None, violations)


def _passed(address: Mapping[str, object], mailing: str, numbers: Mapping[str, int]) -> dict[str, object]:
    """The fields as sent, but no empty individualisation, and what callbacks bring back as they spell it."""
    spelled = {
        f"{begin}{number}": individualisation(number)
        for number in numbers.values()
        for begin in _INDIVIDUALISATIONS
    }
    fields: dict[str, object] = {}
    for name, value in address.items():
        text = value.strip() if isinstance(value, str) else value
        if name.startswith(_INDIVIDUALISATIONS) and text in (None, ""):
            continue
        if name in spelled:
            fields.setdefault(spelled[name], text)
        else:
            fields[name] = value
    if "mailing" in numbers:
        fields.setdefault(individualisation(numbers["mailing"]), mailing)
    return fields


def _ids(
    travelling: Mapping[str, object], rules: LetterRules
) -> tuple[tuple[ExternalId, ...], Sequence[Violation]]:
    """The customer IDs that travel in the letter; none are wanted where no individualisation is to
    carry any."""
    kinds = [kind for kind in rules.kinds if kind in rules.numbers]
    if not kinds:
        return (), ()
    place = Place("", {kind: individualisation(rules.numbers[kind]) for kind in kinds})
    sent = {kind: travelling[kind] for kind in kinds if kind in travelling}
    found = read_customer_ids(sent, rules.rules, place)
    if not isinstance(found, Refusal):
        return found[0], ()
    violation = as_violation(found)
    return (), [violation if sent else violation._replace(field=place.keys[kinds[0]])]


def _campaign(travelling: Mapping[str, object]) -> str | None:
    campaign = first_text(travelling, ("campaign",), MAX_TEXT)
    return campaign if campaign and is_storable(campaign) else None
