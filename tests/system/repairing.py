"""What goes wrong on the way to us, and who repairs it: traffic with known faults, and an operator who works
at the command line or over HTTP."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar

import httpx2

from tests.system.service import PATIENCE_SECONDS, PRIVATE, Client, Project, Service, commands, event, succeed

FIRST_NUMBER = 1_000_000
"""Of the events here; what comes in beside them has lower numbers."""

CAMPAIGNS = ("welcome", "winback")
"""Each has every other event."""

UNFILLED = "{{customer.registered}}"
NEVER_FILLED = "{% if customer.registered %}"

Event = dict[str, Any]


class Fault(NamedTuple):
    """One event: as it was sent, and as it was meant, which is how it is to be stored in the end."""

    sent: Event
    meant: Event


class Request(NamedTuple):
    """One body, for the route of the Tracking API of this name, or for the flat form."""

    route: str
    body: bytes

    def post(self, client: Client) -> httpx2.Response:
        if self.route == "callbacks":
            return client.flat(self.body)
        return client.track(self.route, self.body)


class Traffic:
    """5,000 callbacks.  They are counted as the service counts them: one per event of a body that it can
    read, and one per body that is refused as a whole.  So these are

    =====  =======================================================================================
    4,439  good ones: alone, in batches, and flat in lists
      300  with milliseconds for seconds: 50 alone, the others in batches
      200  with an empty ``registered`` beside a good cookie: 40 flat, the others in batches
       50  with template text for ``registered``: 30 beside a good cookie, 20 alone
        1  batch of 400 commands where 50 are allowed; 4 of those have milliseconds, too
       10  bodies that are not JSON
    =====  =======================================================================================
    """

    def __init__(self) -> None:
        numbers = iter(range(FIRST_NUMBER, FIRST_NUMBER + 10_000))
        self.good = [_good(next(numbers)) for _ in range(4439)]
        self.milliseconds = [_in_milliseconds(next(numbers)) for _ in range(300)]
        self.empty = [_with_registered("", next(numbers)) for _ in range(200)]
        self.unfilled = [_with_registered(UNFILLED, next(numbers)) for _ in range(30)]
        self.hopeless = [_without_any_id(next(numbers)) for _ in range(20)]
        self.oversized = [_good(next(numbers)) for _ in range(396)]
        self.in_oversized = [_in_milliseconds(next(numbers)) for _ in range(4)]

        self.alone = [_alone(each) for each in self.milliseconds[:50]]
        self.flat = [*map(_flat, self.empty[:40])]
        self.too_many = _batch([*self.oversized, *self.in_oversized])
        self.no_json = _bodies_without_json()

    def requests(self) -> Iterator[Request]:
        """All of it, good and bad side by side."""
        in_batches = [
            *self.good[150:],
            *self.milliseconds[50:],
            *self.empty[40:],
            *self.unfilled,
            *self.hopeless,
        ]
        random.Random(4).shuffle(in_batches)
        in_lists = [*self.flat, *map(_flat, self.good[50:150])]
        yield from map(_alone, self.good[:50])
        yield from self.alone
        yield from map(_batch, _parts(in_batches, 50))
        yield from map(_list, _parts(in_lists, 35))
        yield self.too_many
        yield from self.no_json

    def resent(self) -> Iterator[Request]:
        """What the sender says once more about what was repaired: the same bytes, and its own corrections."""
        yield from self.alone[:5]
        yield _batch(chain(self.milliseconds[50:60], self.empty[40:50], self.unfilled[:10]))
        yield _list(self.flat[:10])
        yield self.too_many
        corrected = chain(self.milliseconds[:20], self.empty[40:55], self.unfilled[:15])
        yield _batch(Fault(each.meant, each.meant) for each in corrected)
        yield _list(_flat(Fault(each.meant, each.meant)) for each in self.empty[:10])
        for part in _parts([*self.oversized, *self.in_oversized], 50):
            yield _batch(Fault(each.meant, each.meant) for each in part)


RESENT = 5 + 30 + 10 + 1 + 50 + 10 + 400
"""Callbacks in `Traffic.resent`."""


_Each = TypeVar("_Each")


def _parts(each: Sequence[_Each], size: int) -> Iterator[Sequence[_Each]]:
    return (each[start : start + size] for start in range(0, len(each), size))


def _of_campaign(number: int, **customer_ids: str) -> Event:
    made = event(number, **customer_ids)
    made["properties"]["campaign_id"] = CAMPAIGNS[number % 2]
    return made


def _good(number: int) -> Fault:
    sent = _of_campaign(number, registered=f"r-{number}", cookie=f"k-{number}")
    return Fault(sent, sent)


def _in_milliseconds(number: int) -> Fault:
    meant = _good(number).meant
    return Fault(meant | {"timestamp": meant["timestamp"] * 1000}, meant)


def _with_registered(text: str, number: int) -> Fault:
    meant = _of_campaign(number, cookie=f"k-{number}")
    return Fault(meant | {"customer_ids": {"registered": text, **meant["customer_ids"]}}, meant)


def _without_any_id(number: int) -> Fault:
    sent = _of_campaign(number) | {"customer_ids": {"registered": NEVER_FILLED}}
    return Fault(sent, sent)


def _flat(fault: Fault) -> Event:
    """*fault* as it is sent flat, with the IDs in individualisations."""
    ids, properties = fault.sent["customer_ids"], fault.sent["properties"]
    places = {"registered": "individualisation1", "cookie": "individualisation2"}
    carried = {places[kind]: value for kind, value in ids.items()}
    return {**carried, "timestamp": fault.sent["timestamp"], **properties}


def _alone(fault: Fault) -> Request:
    return Request("customers/events", json.dumps(fault.sent).encode())


def _batch(faults: Iterable[Fault]) -> Request:
    return Request("batch", json.dumps(commands(each.sent for each in faults)).encode())


def _list(events: Iterable[Event]) -> Request:
    return Request("callbacks", json.dumps(list(events)).encode())


def _bodies_without_json() -> list[Request]:
    whole = json.dumps(event(FIRST_NUMBER, registered="cut")).encode()
    bodies = [
        *(whole[:-length] for length in range(1, 6)),
        whole.replace(b'"', b"'"),
        f"<html>{PRIVATE}</html>".encode(),
        f"registered={PRIVATE}-form&event_type=campaign".encode(),
        f"{PRIVATE} Straße".encode("latin-1"),
        b"",
    ]
    routes = ("customers/events", "batch", "callbacks")
    return [Request(routes[n % 3], body) for n, body in enumerate(bodies)]


# -- who repairs it -------------------------------------------------------------------------------

Document = dict[str, Any]
Filters = Mapping[str, str]
Mending = Mapping[str, object]
"""``repair`` or ``patch``, as the API takes them."""


class Operator(Protocol):
    """What can be done about rejections; answers are the documents of the API."""

    @property
    def key_id(self) -> str | None:
        """By which the trace knows who did it."""

    def summary(self, **filters: str) -> list[Document]: ...
    def listed(self, **filters: str) -> list[Document]: ...
    def show(self, rejection_id: int) -> Document: ...
    def preview(self, filters: Filters, mending: Mending) -> Document: ...
    def repair(self, filters: Filters, mending: Mending) -> Document: ...
    def repair_one(self, rejection_id: int, mending: Mending) -> Document: ...
    def dismiss(self, filters: Filters, note: str) -> int: ...
    def undo(self, rejection_id: int, note: str) -> Document: ...
    def audit(self) -> list[Document]: ...


class AtTheCommandLine:
    """``receiver rejections ... --json``."""

    key_id = None

    def __init__(self, service: Service, project: Project) -> None:
        self._database_url = service.database_url
        self._token = project.token

    def summary(self, **filters: str) -> list[Document]:
        rows: list[Document] = self._said("summary", **filters)["data"]
        return rows

    def listed(self, **filters: str) -> list[Document]:
        return _only_page(self._said("list", limit=1000, **filters))

    def show(self, rejection_id: int) -> Document:
        return self._said("show", rejection_id)

    def preview(self, filters: Filters, mending: Mending) -> Document:
        return self._said(_command(mending), "--dry-run", **filters, **mending)

    def repair(self, filters: Filters, mending: Mending) -> Document:
        return self._said(_command(mending), "--yes", **filters, **mending)

    def repair_one(self, rejection_id: int, mending: Mending) -> Document:
        return self._said(_command(mending), rejection_id, **mending)

    def dismiss(self, filters: Filters, note: str) -> int:
        done: int = self._said("dismiss", **filters, note=note)["done"]
        return done

    def undo(self, rejection_id: int, note: str) -> Document:
        return self._said("undo", rejection_id, note=note)

    def audit(self) -> list[Document]:
        return _only_page(self._said("audit", limit=1000))

    def _said(self, command: str, *arguments: object, **options: object) -> Document:
        given = chain.from_iterable((f"--{name}", _word(value)) for name, value in options.items())
        words = ["rejections", command, self._token, *map(str, arguments), *given, "--json"]
        document: Document = json.loads(succeed(*words, database_url=self._database_url))
        return document


def _command(mending: Mending) -> str:
    return "repair" if "repair" in mending else "replay"


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class OverHttp:
    """``/v1/projects/{project_token}/rejections...``."""

    def __init__(self, service: Service, project: Project) -> None:
        self.key_id = project.keys["ops"].key_id
        self._root = f"{service.url}/v1/projects/{project.token}/rejections"
        self._key = project.keys["ops"]

    def summary(self, **filters: str) -> list[Document]:
        rows: list[Document] = self._said("GET", "/summary", params=filters)["data"]
        return rows

    def listed(self, **filters: str) -> list[Document]:
        return _only_page(self._said("GET", "", params={**filters, "limit": "1000"}))

    def show(self, rejection_id: int) -> Document:
        return self._said("GET", f"/{rejection_id}")

    def preview(self, filters: Filters, mending: Mending) -> Document:
        return self._said("POST", "/replay", json={"filter": filters, **mending})

    def repair(self, filters: Filters, mending: Mending) -> Document:
        return self._said("POST", "/replay", json={"filter": filters, **mending, "dry_run": False})

    def repair_one(self, rejection_id: int, mending: Mending) -> Document:
        return self._said("POST", f"/{rejection_id}/replay", json=mending)

    def dismiss(self, filters: Filters, note: str) -> int:
        done: int = self._said("POST", "/dismiss", json={"filter": filters, "note": note})["done"]
        return done

    def undo(self, rejection_id: int, note: str) -> Document:
        return self._said("POST", f"/{rejection_id}/undo", json={"note": note})

    def audit(self) -> list[Document]:
        return _only_page(self._said("GET", "/audit", params={"limit": "1000"}))

    def _said(self, method: str, path: str, **request: Any) -> Document:
        answer = httpx2.request(
            method, self._root + path, auth=self._key, timeout=PATIENCE_SECONDS, **request
        )
        assert answer.status_code == 200, answer.text
        document: Document = answer.json()
        return document


def _only_page(page: Document) -> list[Document]:
    assert page["next"] is None, "all of it fits on one page"
    rows: list[Document] = page["data"]
    return rows


WAYS: Sequence[type[AtTheCommandLine] | type[OverHttp]] = (AtTheCommandLine, OverHttp)
