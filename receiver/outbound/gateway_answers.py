"""How the gateway answers: in the shapes of Optilyz, and as a webhook of Bloomreach reads them.

A webhook stops for everybody on some statuses (contract, 4.4), so what is wrong with a recipient, or
with a body, is told within a good answer.  No sentence quotes a value.
"""

import json
import secrets
from collections.abc import Mapping

from receiver.domain.recipients import Code
from receiver.outbound.intending import Decided
from receiver.outbound.letters import Draft
from receiver.outbound.passing import Passed
from receiver.store.mailings import Reason, Route, State

NUMBERS: Mapping[str, int] = {
    **{code.value: number for number, code in enumerate(Code, start=1001)},
    Reason.OBJECTION.value: 1101,
    Reason.NO_CONSENT.value: 1102,
    Reason.BAD_ADDRESS.value: 1103,
}
"""Each reason as a number, which is what a webhook shows.  Outside users rely on them: add, never change."""

_SUPPRESSED: Mapping[str, str] = {
    Reason.OBJECTION: "The customer objected to letters; nothing is sent.",
    Reason.NO_CONSENT: "The customer does not consent to letters; nothing is sent.",
    Reason.BAD_ADDRESS: "A letter to this address was refused or came back; send a corrected address.",
}
_QUEUED = {"code": 1, "status": "queued", "message": "The letter is stored and will be sent right away."}


def answer(route: Route, passed: Passed, decided: Mapping[str, Decided]) -> str:
    """The JSON text for all letters of a request, by what became of them; always told with status 200."""
    letters = [(letter, decided[letter.mailing]) for _, letter in passed.letters]
    if route is Route.ONE:
        return json.dumps(_of_one(*letters[0]))
    if passed.whole:
        none = {"queued": 0, "ignored": 0, "results": []}
        return json.dumps({"success": False, "errors": _errors(*letters[0]), **none})
    results = [_of_many(*each) for each in letters]
    queued = sum("id" in result for result in results)
    counts = {"queued": queued, "ignored": len(results) - queued}
    return json.dumps({"requestId": secrets.token_hex(12), **counts, "results": results})


def _of_one(letter: Draft, decided: Decided) -> dict[str, object]:
    if decided.state is State.INTENDED:
        return {"success": True, "id": letter.mailing, "result": _QUEUED}
    return {"success": False, "id": letter.mailing, "errors": _errors(letter, decided)}


def _of_many(letter: Draft, decided: Decided) -> dict[str, object]:
    """Without an ``id`` where there is an error: clients take it for a success."""
    if decided.state is State.INTENDED:
        return {"id": letter.mailing}
    message = " ".join(str(each["description"]) for each in _errors(letter, decided))
    return {"error": {"message": message, "mailing": letter.mailing}}


def _errors(letter: Draft, decided: Decided) -> list[dict[str, object]]:
    """All that is wrong with the letter, or what speaks against it."""
    if letter.violations:
        return [_error(each.code, each.field, each.detail) for each in letter.violations]
    reason = decided.reason or ""
    return [_error(reason, "", _SUPPRESSED[reason])]


def _error(reason: str, field: str, description: str) -> dict[str, object]:
    return {"code": NUMBERS[reason], "reason": reason, "field": field, "description": description}
