"""Bloomreach is told: one batch of the Tracking API, and what became of each command in it.

A command may be told twice, as a repeat does little harm, so every answer is read for another question
first: whose fault is it?  `Refused` is the command's, `NotAllowed` and `Denied` are for a person to mend,
and after `Unreached` the same batch may simply be sent again.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from receiver.outbound.answers import parsed, retry_after, words, words_without_json
from receiver.outbound.heard import Heard, Lost, NotSent
from receiver.settings import Settings

MAX_MESSAGE = 500
_MAX_READ = 4 * MAX_MESSAGE


class Sent(NamedTuple):
    """Bloomreach has the command."""


class Refused(NamedTuple):
    """Bloomreach does not want this command; *message* is in its words, at most `MAX_MESSAGE` characters."""

    message: str


class NotAllowed(NamedTuple):
    """Our key may not do this, and the command is not to blame; *detail* says what is to be done."""

    detail: str


Fate = Sent | Refused | NotAllowed


class Answered(NamedTuple):
    """One fate for each command, in our order."""

    fates: list[Fate]


class Unreached(NamedTuple):
    """Nobody knows what came of it, and it may be asked again: after *retry_after* seconds, where given.

    Attributes:
        limited: we were too fast for Bloomreach.
    """

    detail: str
    retry_after: float | None
    limited: bool


class Denied(NamedTuple):
    """Nothing was taken, and asking again will not help until somebody does what *detail* says."""

    detail: str


class RefusedWhole(NamedTuple):
    """Bloomreach refused the batch without saying which command is to blame; *message* as with `Refused`."""

    message: str


Answer = Answered | Unreached | Denied | RefusedWhole


class Bloomreach:
    """One project of Bloomreach, asked one request at a time over a connection that is kept.

    *base_url* is without ``/track``; *seconds* is what a whole request may take, to the last byte of its
    answer.
    """

    def __init__(
        self, base_url: str, project_token: str, key_id: str, secret: str, *, seconds: float
    ) -> None:
        from receiver.outbound.exchange import Exchange  # a tenth of a second, for those alone who ask

        token = quote(project_token, safe="").replace(
            ".", "%2E"
        )  # so that it cannot climb to another address
        self._url = f"{base_url.rstrip('/')}/track/v2/projects/{token}/batch"
        self._exchange = Exchange(key_id, secret, seconds=seconds, keep=True, content_type="application/json")

    def batch(self, commands: Sequence[tuple[str, bytes]]) -> Answer:
        """Send 1 to 50 *commands*: the ``command_id`` of each, unlike the others, and its JSON as it is."""
        body = b'{"commands":[%b]}' % b",".join(json for _, json in commands)
        return _answer(
            self._exchange.ask("POST", self._url, body), [command_id for command_id, _ in commands]
        )

    def check(self) -> str | None:
        """Say in a sentence why nothing can be sent with this key; None where Bloomreach accepts it.

        What the key may do shows only in what is done: Bloomreach is asked for the time.
        """
        match self.batch([("check", b'{"name":"system/time","command_id":"check"}')]):
            case Answered([NotAllowed(detail)]):
                return detail
            case Answered():
                return None
            case RefusedWhole(message):
                return f"Bloomreach refuses to be asked for the time: {message}"
            case Unreached(detail) | Denied(detail):
                return detail

    def close(self) -> None:
        """End the connection, after the last request."""
        self._exchange.close()


def bloomreach_of(settings: Settings) -> Bloomreach | None:
    """The project of this installation; None unless all four settings are there."""
    url, token = settings.bloomreach_base_url, settings.bloomreach_project_token
    key_id, secret = settings.bloomreach_key_id, settings.bloomreach_secret
    if url is None or token is None or key_id is None or secret is None:
        return None
    return Bloomreach(url, token, key_id, secret.get_secret_value(), seconds=settings.bloomreach_seconds)


# -- the answer as one ----------------------------------------------------------------------------

_NO_SUCH_REQUESTS = "Bloomreach does not take such requests ({}); see BLOOMREACH_BASE_URL."
_DENIED = {
    **dict.fromkeys(range(300, 400), "Bloomreach sends us elsewhere ({}); see BLOOMREACH_BASE_URL."),
    # What is wrong with the request as such: no command is bad because of it.
    **dict.fromkeys((405, 406, 411, 414, 415, 417, 421, 426, 431), _NO_SUCH_REQUESTS),
    401: "Bloomreach refuses the key ({}); see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET.",
    402: "Bloomreach wants the account to be settled first ({}).",
    403: "Bloomreach does not allow this ({}); see BLOOMREACH_SECRET and the key's permissions.",
    404: "Bloomreach has no such address ({}); see BLOOMREACH_BASE_URL.",
    407: "The proxy wants to know who we are ({}).",
    410: "Bloomreach has no such address any more ({}); see BLOOMREACH_BASE_URL.",
}
_SET_EVENTS = "give the key's group Events > Set for this type of event"
_SET_PROPERTIES = "give the key's group Customer properties > Set"
_SET_ALL = "give the key's group Events > Set and Customer properties > Set"
_ACCESS = {
    # What Bloomreach says where a key is at fault, also in a 200, and what to do; the longer ones first.
    "Could not authenticate": "see BLOOMREACH_PROJECT_TOKEN",
    "Invalid project id": "see BLOOMREACH_PROJECT_TOKEN",
    "Access key not provided": "see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET",
    "Access key not found": "see BLOOMREACH_KEY_ID and BLOOMREACH_SECRET",
    "Invalid secret": "see BLOOMREACH_SECRET",
    "Not authorized to add event": _SET_EVENTS,
    "Not authorized to update specified customer properties": _SET_PROPERTIES,
    "Not authorized": _SET_ALL,
    "No permission": _SET_ALL,
}


def _answer(heard: Heard | NotSent | Lost, ids: Sequence[str]) -> Answer:
    if isinstance(heard, NotSent):
        return _again(f"Bloomreach could not be reached ({heard.error}).")
    if isinstance(heard, Lost):
        return _again(f"The connection to Bloomreach ended without an answer ({heard.error}).")
    if heard.status in (408, 425, 429) or not 200 <= heard.status < 500:
        wait = retry_after(heard.headers.get("retry-after"))
        return Unreached(f"Bloomreach cannot take it now ({heard.status}).", wait, heard.status == 429)
    document = parsed(heard.body)
    complaint = _complaint_of_all(document, heard.body)
    if denial := _about_access(complaint) or _DENIED.get(heard.status):
        return Denied(denial.format(heard.status))
    # Whoever finds a body too large may have closed before we had read a word.
    if heard.body is None and heard.status != 413:
        return _again("The answer of Bloomreach broke off, came too late or was too long.")
    if heard.status >= 400:
        no_reason = f"Bloomreach answered {heard.status} without a reason."
        return RefusedWhole(complaint[:MAX_MESSAGE] or no_reason)
    if fates := _fates(document, ids):
        return Answered(fates)
    if isinstance(document, dict) and document.get("success") is False:
        return RefusedWhole(complaint[:MAX_MESSAGE] or "Bloomreach refused the batch without a reason.")
    return _again("Bloomreach answered without one result for each command.")


def _again(detail: str) -> Unreached:
    return Unreached(detail, None, False)


def _complaint_of_all(document: object, body: bytes | None) -> str:
    if isinstance(document, dict):
        return _complaint(document)
    return words_without_json(body, _MAX_READ) if document is None else words(document, _MAX_READ)


def _about_access(complaint: str) -> str | None:
    """A sentence in words that are known beforehand, where *complaint* is about our key; else None."""
    said = complaint.casefold()
    known = next((text for text in _ACCESS if text.casefold() in said), None) if said else None
    return known and f"Bloomreach says “{known}”; {_ACCESS[known]}."


# -- one result for each command ------------------------------------------------------------------


def _fates(document: object, ids: Sequence[str]) -> list[Fate] | None:
    """In the order of *ids*; None where the results do not fit or one of them says nothing."""
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        return None
    ours = _in_our_order(results, ids)
    fates = [fate for fate in map(_fate, ours or ()) if fate is not None]
    return fates if len(fates) == len(ids) else None


def _in_our_order(results: list[dict[str, object]], ids: Sequence[str]) -> list[dict[str, object]] | None:
    """By the IDs of the commands where they all came back, else by place, unless an ID says otherwise."""
    if len(results) != len(ids):
        return None
    theirs = [str(result.get("command_id", "")) for result in results]
    by_id = dict(zip(theirs, results, strict=True))
    known = set(ids)
    if by_id.keys() == known:
        return [by_id[command_id] for command_id in ids]
    displaced = any(their != our and their in known for their, our in zip(theirs, ids, strict=True))
    return None if displaced else results


def _fate(result: dict[str, object]) -> Fate | None:
    complaint = _complaint(result)
    if denial := _about_access(complaint):
        return NotAllowed(denial)
    if result.get("success") is True:
        return Sent()
    if result.get("success") is False:
        return Refused(complaint[:MAX_MESSAGE] or "Bloomreach refused the command without a reason.")
    return None


def _complaint(result: dict[str, object]) -> str:
    """All that stands under the three names by which Bloomreach gives its reasons; often nothing."""
    found = (_reason(result[name]) for name in ("errors", "error", "message") if result.get(name))
    return "; ".join(dict.fromkeys(filter(None, found)))


def _reason(value: object) -> str:
    """The words of one reason, which may also come by the field that it is about."""
    if (found := words(value, _MAX_READ)) or not isinstance(value, dict):
        return found
    by_field = ((words(field, 100), words(reasons, _MAX_READ)) for field, reasons in value.items())
    told = (f"{field}: {text}" if field[:1].isalpha() else text for field, text in by_field if text)
    return "; ".join(told)[:_MAX_READ]
