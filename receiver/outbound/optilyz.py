"""Optilyz is asked: one request, and what became of each letter in it.

Optilyz has no key by which it would notice a repeated request, so every answer is read for one question
first: can anything have been printed?  `Unreached` and `Denied` say no, `Unknown` that nobody can tell.
"""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from receiver.outbound.answers import parsed, retry_after, words, words_without_json
from receiver.outbound.heard import Heard, Lost, NotSent

MAX_MESSAGE = 2000
_MAX_ID = 200


class Queued(NamedTuple):
    """Optilyz has the letter; *vendor_id* is None where its answer names none."""

    vendor_id: str | None


class Refused(NamedTuple):
    """Optilyz does not want this letter; *message* is in its words, at most `MAX_MESSAGE` characters."""

    message: str


class Unknown(NamedTuple):
    """Nobody can say whether the letter is printed; *detail* is our sentence why."""

    detail: str


Fate = Queued | Refused | Unknown


class Answered(NamedTuple):
    """One fate for each letter, by position."""

    fates: list[Fate]


class Unreached(NamedTuple):
    """Certainly nothing is printed, and it may be asked again: after *retry_after* seconds, where given."""

    detail: str
    retry_after: float | None


class Denied(NamedTuple):
    """Certainly nothing is printed, and asking again will not help: key, automation, the request itself."""

    status: int
    detail: str


class RefusedWhole(NamedTuple):
    """Optilyz refused a request of several letters without saying which of them is to blame."""

    status: int
    message: str


Answer = Answered | Unreached | Denied | RefusedWhole


class TakenBack(NamedTuple):
    """Optilyz answered whether it has dropped a queued letter."""

    taken: bool
    detail: str


class Optilyz:
    """One account of Optilyz; may be used by several threads.

    *base_url* is without the version (https://www.optilyz.com/api); *seconds* is what a whole request may
    take, to the last byte of its answer.
    """

    def __init__(self, base_url: str, api_key: str, *, seconds: float) -> None:
        from receiver.outbound.exchange import Exchange  # a tenth of a second, for those alone who ask

        self._automations = f"{base_url.rstrip('/')}/v2/automations"
        self._exchange = Exchange(api_key, seconds=seconds)

    def enqueue_one(self, automation: str, body: bytes) -> Answer:
        """Ask for one letter; *body* is one recipient as JSON."""
        heard = self._exchange.ask("POST", self._url(automation, "recipient"), body)
        return _answer(heard, 1, _fate_of_the_one)

    def enqueue_many(self, automation: str, body: bytes, letters: int) -> Answer:
        """Ask for as many *letters* as there are in *body*, ``{"addresses": [...]}`` as JSON."""
        heard = self._exchange.ask("POST", self._url(automation, "recipients"), body)
        return _answer(heard, letters, _fates_of_many)

    def take_back(self, automation: str, vendor_id: str) -> TakenBack | Unreached | Denied | Unknown:
        """Ask to drop a queued letter; this may be repeated, whatever it gives."""
        return _taken_back(self._exchange.ask("DELETE", self._url(automation, "recipients", vendor_id)))

    def check(self) -> str | None:
        """Say in a sentence why nothing can be sent with this key; None where Optilyz accepts it."""
        heard = self._exchange.ask("GET", self._automations)
        if not isinstance(heard, Heard):
            return _unheard(heard).detail
        if 200 <= heard.status < 300:
            return None
        turned_away = _turned_away(heard)
        return turned_away.detail if turned_away else f"Optilyz answered {heard.status}."

    def _url(self, *parts: str) -> str:
        # Also the dots, so that no part can climb to another.
        return "/".join([self._automations, *(quote(part, safe="").replace(".", "%2E") for part in parts)])


# -- what the status says -------------------------------------------------------------------------

_ELSEWHERE = "Optilyz sends us elsewhere ({}); see OPTILYZ_BASE_URL."
_NO_SUCH_REQUESTS = "Optilyz does not take such requests ({})."
_DENIED = {
    # Not 303, by which some servers say that they have done what was asked.
    **dict.fromkeys((301, 302, 307, 308), _ELSEWHERE),
    # What is wrong with the request as such: no address is bad because of it.
    **dict.fromkeys((405, 406, 411, 414, 415, 417, 421, 426, 431), _NO_SUCH_REQUESTS),
    401: "Optilyz refuses the API key ({}).",
    402: "Optilyz wants the account to be settled first ({}).",
    403: "Optilyz does not allow this with the API key ({}).",
    404: "Optilyz knows no such automation, or it is not live ({}).",
    407: "The proxy wants to know who we are ({}).",
    410: "Optilyz has no such automation any more ({}).",
}


def _answer(heard: Heard | NotSent | Lost, letters: int, read: Callable[[bytes, int], list[Fate]]) -> Answer:
    if not isinstance(heard, Heard):
        unheard = _unheard(heard)
        return unheard if isinstance(unheard, Unreached) else Answered([unheard] * letters)
    if turned_away := _turned_away(heard):
        return turned_away
    if _refuses(heard.status):
        message = _words_of(heard.body) or f"Optilyz answered {heard.status} without a reason."
        return Answered([Refused(message)]) if letters == 1 else RefusedWhole(heard.status, message)
    if not 200 <= heard.status < 300:
        return _all_unknown(f"Optilyz answered {heard.status}, which may mean anything.", letters)
    if heard.body is None:
        return _all_unknown("The answer of Optilyz broke off, came too late or was too long.", letters)
    return Answered(read(heard.body, letters))


def _taken_back(heard: Heard | NotSent | Lost) -> TakenBack | Unreached | Denied | Unknown:
    if not isinstance(heard, Heard):
        return _unheard(heard)
    if heard.status in (404, 410):
        return TakenBack(False, f"Optilyz has no such letter in its queue ({heard.status}).")
    if turned_away := _turned_away(heard):
        return turned_away
    if _refuses(heard.status):
        return TakenBack(False, f"Optilyz does not give the letter back ({heard.status}).")
    document = parsed(heard.body) if 200 <= heard.status < 300 else None
    deleted = document.get("deleted") if isinstance(document, dict) else None
    if not isinstance(deleted, int | float):
        return Unknown(f"Optilyz answered {heard.status}, but not whether it dropped the letter.")
    if deleted >= 1:
        return TakenBack(True, "Optilyz has dropped the letter.")
    return TakenBack(False, "Optilyz has dropped nothing.")


def _unheard(heard: NotSent | Lost) -> Unreached | Unknown:
    if isinstance(heard, NotSent):
        return Unreached(f"Optilyz could not be reached ({heard.error}).", None)
    return Unknown(f"The connection to Optilyz ended without an answer ({heard.error}).")


def _turned_away(heard: Heard) -> Unreached | Denied | None:
    """Whether the head alone says that nothing was done."""
    wait = retry_after(heard.headers.get("retry-after"))
    if heard.status == 429 or (heard.status == 503 and wait is not None):
        return Unreached(f"Optilyz asks us to come back later ({heard.status}).", wait)
    if sentence := _DENIED.get(heard.status):
        return Denied(heard.status, sentence.format(heard.status))
    return None


def _refuses(status: int) -> bool:
    # 408 may come from something in between, which gave up waiting while Optilyz went on.
    return 400 <= status < 500 and status != 408


# -- what the body says ---------------------------------------------------------------------------


def _fates_of_many(body: bytes, letters: int) -> list[Fate]:
    document = parsed(body)
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list) or len(results) != letters:
        return [Unknown("Optilyz answered without one result for each letter.")] * letters
    return [_fate(result) for result in results]


def _fate(result: object) -> Fate:
    vendor_id, complaint = _vendor_id(result), _complaint(result)
    if vendor_id and not complaint:
        return Queued(vendor_id)
    message = words(complaint, MAX_MESSAGE)
    if message and not vendor_id:
        return Refused(message)
    return Unknown("Optilyz answered for this letter neither with an ID nor with an error alone.")


def _fate_of_the_one(body: bytes, _letters: int) -> list[Fate]:
    """Read an answer whose form is documented nowhere: what does not complain is taken as queued."""
    document = parsed(body)
    results = document.get("results") if isinstance(document, dict) else None
    levels = [document, *(results[:1] if isinstance(results, list) else [])]
    vendor_id = next(filter(None, map(_vendor_id, levels)), None)
    complaint = next(filter(None, map(_complaint, levels)), None)
    if not complaint:
        return [Queued(vendor_id)]
    if vendor_id:
        return [Unknown("Optilyz answered with an ID and an error at once.")]
    return [Refused(words(complaint, MAX_MESSAGE) or "Optilyz refused the letter without a reason.")]


def _vendor_id(result: object) -> str | None:
    if isinstance(result, dict):
        for name in ("id", "_id", "recipientId"):
            given = result.get(name)
            if isinstance(given, int) and not isinstance(given, bool):
                given = str(given)
            if isinstance(given, str) and given.strip() and len(given) <= _MAX_ID and given.isprintable():
                return given
    return None


def _complaint(result: object) -> object:
    """What stands under ``error`` or ``errors``; nothing where that is empty."""
    return (result.get("error") or result.get("errors")) if isinstance(result, dict) else None


def _words_of(body: bytes | None) -> str:
    """The message in the body of a refusal; empty where there is none for people to read."""
    document = parsed(body)
    return words_without_json(body, MAX_MESSAGE) if document is None else words(document, MAX_MESSAGE)


def _all_unknown(detail: str, letters: int) -> Answered:
    return Answered([Unknown(detail)] * letters)
