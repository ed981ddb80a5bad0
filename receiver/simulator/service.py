"""A stand-in for Optilyz over HTTP, for tests, demos and people who try things.

It shares no rule with the rest of the project, because a fake that agrees with a mistake hides it.  What it
saw, and what it shall do wrong next, is under ``/simulator``.
"""

import asyncio
import json
import re
from base64 import b64decode
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from random import SystemRandom
from secrets import token_hex
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from receiver.simulator.callbacks import Posted, Round, Target, post
from receiver.simulator.connections import hang, server_of
from receiver.simulator.faults import FAILURES, FAULTS, error
from receiver.simulator.letters import Recipient, breaches, complaint

MOST_LETTERS = 1000
AUTOMATION = "64b0c0ffee0000000000abcd"
"""One that is listed; any other of 24 hexadecimal digits is live too."""

_RANDOM = SystemRandom()


class Options(NamedTuple):
    """How the simulated Optilyz behaves.

    Attributes:
        key: the API key; None takes any but an empty one.
        latency: seconds that an answer takes, on average.
        max_concurrency: enqueue requests at once; one more is answered 429.
        retry_after: seconds that a 429 asks to wait.
        callbacks: where callbacks go.
        auto: seconds after which queued letters are told of without being asked to; None waits.
    """

    key: str | None = None
    latency: float = 0.0
    max_concurrency: int = 2
    retry_after: int = 1
    callbacks: Target = Target()
    auto: float | None = None


def create_simulator(options: Options) -> ASGIApp:
    """The whole of it as an application; start it with `server`, whose connections can be reset."""
    return _Simulator(options).app


def server(options: Options, *, host: str, port: int) -> uvicorn.Server:
    """Ready to run; says nothing by itself."""
    return server_of(create_simulator(options), host=host, port=port)


class _Simulator:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._concurrent = 0
        self._reset()
        automations = "/api/v2/automations"
        self.app = Starlette(
            routes=[
                Route(automations, self._automations),
                Route(automations + "/{automation}", self._automation),
                Route(automations + "/{automation}/recipient", self._enqueue, methods=["POST"]),
                Route(automations + "/{automation}/recipients", self._enqueue, methods=["POST"]),
                Route(automations + "/{automation}/recipients/{id}", self._delete, methods=["DELETE"]),
                Route("/simulator/state", self._state),
                Route("/simulator/faults", self._set_faults, methods=["POST"]),
                Route("/simulator/callbacks", self._call_back, methods=["POST"]),
                Route("/simulator/reset", self._forget, methods=["POST"]),
            ],
            lifespan=self._lifespan,
        )

    def _reset(self) -> None:
        self._faults: deque[str] = deque()
        self._recipients: dict[str, Recipient] = {}
        self._untold: list[str] = []
        self._addresses: set[bytes] = set()
        self._letters: list[int] = []
        self._posted = Posted()
        self._seen = dict.fromkeys(
            (
                "requests",
                "worst_concurrency",
                "turned_away",
                "refused",
                "taken_back",
                "duplicates",
                "breaches",
            ),
            0,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        telling = asyncio.create_task(self._tell_of_new_letters())
        yield
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling

    # -- Optilyz ----------------------------------------------------------------------------------

    async def _automations(self, request: Request) -> Response:
        return self._stranger(request) or JSONResponse([_described(AUTOMATION)])

    async def _automation(self, request: Request) -> Response:
        automation = request.path_params["automation"]
        return self._stranger(request) or _not_live(automation) or JSONResponse(_described(automation))

    async def _delete(self, request: Request) -> Response:
        automation, recipient = request.path_params["automation"], request.path_params["id"]
        if refusal := self._stranger(request) or _not_live(automation):
            return refusal
        known = self._recipients.get(recipient)
        deleted = known is not None and known.automation == automation
        if deleted:
            del self._recipients[recipient]
            self._seen["taken_back"] += 1
        return JSONResponse({"deleted": int(deleted)})

    async def _enqueue(self, request: Request) -> Response:
        self._concurrent += 1
        self._seen["worst_concurrency"] = max(self._seen["worst_concurrency"], self._concurrent)
        self._seen["requests"] += 1
        try:
            body = await request.body()
            if refusal := self._stranger(request):
                return refusal
            if self._concurrent > self._options.max_concurrency:
                self._seen["turned_away"] += 1
                return self._failure("429")
            await asyncio.sleep(self._options.latency * _RANDOM.uniform(0.5, 1.5))
            return await self._answer(request, body)
        finally:
            self._concurrent -= 1

    async def _answer(self, request: Request, body: bytes) -> Response:
        fault = self._faults.popleft() if self._faults else ""
        queues = fault in ("", "short") or fault.startswith("queue-then-")
        answer = self._queue(request, body, short=fault == "short") if queues else None
        fails = fault.removeprefix("queue-then-")
        if fails == "hang":
            await hang(request)
        return answer if answer and fault in ("", "short") else self._failure(fails)

    def _queue(self, request: Request, body: bytes, *, short: bool) -> Response:
        automation = request.path_params["automation"]
        if refusal := _not_live(automation):
            return refusal
        document = _parsed(body)
        if not isinstance(document, dict):
            return error(400, "The body is no JSON object")
        request_id = token_hex(12)
        if request.url.path.endswith("/recipient"):
            self._letters.append(1)
            result = self._enqueue_one(automation, document)
            return JSONResponse({"requestId": request_id, **result}, 400 if "error" in result else 200)
        entries = document.get("addresses")
        if not isinstance(entries, list) or not entries:
            return error(400, "addresses is no list with entries")
        self._letters.append(len(entries))
        if len(entries) > MOST_LETTERS:
            self._seen["breaches"] += 1
            return error(413, f"More than {MOST_LETTERS} addresses")
        results = [self._enqueue_one(automation, entry) for entry in entries]
        queued = sum("id" in result for result in results)
        counts = {"queued": queued, "ignored": len(results) - queued}
        return JSONResponse({"requestId": request_id, **counts, "results": results[: -1 if short else None]})

    def _enqueue_one(self, automation: str, entry: Any) -> dict[str, object]:
        address = entry.get("address") if isinstance(entry, dict) else None
        if not isinstance(address, dict):
            return {"error": {"message": "address is missing"}}
        self._seen["breaches"] += breaches(entry, address)
        if message := complaint(address):
            self._seen["refused"] += 1
            return {"error": {"message": message}}
        digest = blake2b(json.dumps(address, sort_keys=True).encode(), digest_size=16).digest()
        self._seen["duplicates"] += digest in self._addresses
        self._addresses.add(digest)
        recipient = Recipient(token_hex(12), automation, address, entry.get("variation"))
        self._recipients[recipient.id] = recipient
        self._untold.append(recipient.id)
        return {"id": recipient.id}

    def _stranger(self, request: Request) -> Response | None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        user = ""
        with suppress(ValueError):
            user = b64decode(given).decode().partition(":")[0]
        if scheme.lower() == "basic" and user and self._options.key in (None, user):
            return None
        return error(401, "Unauthorized")

    def _failure(self, fault: str) -> Response:
        wait = {"retry-after": str(self._options.retry_after)}
        if fault in ("429", "503-retry"):
            return error(int(fault[:3]), "Come back later", wait)
        return FAILURES[fault]()

    # -- what people and tests ask -----------------------------------------------------------------

    async def _state(self, request: Request) -> Response:
        document: dict[str, object] = {
            **self._seen,
            "queued": len(self._recipients),
            "letters_per_request": self._letters,
            "faults": list(self._faults),
            "callbacks": self._posted._asdict(),
        }
        if request.query_params.get("recipients"):
            document["recipients"] = [recipient._asdict() for recipient in self._recipients.values()]
        return JSONResponse(document)

    async def _set_faults(self, request: Request) -> Response:
        document = _parsed(await request.body())
        faults = document.get("faults") if isinstance(document, dict) else None
        if not isinstance(faults, list) or not FAULTS.issuperset(map(str, faults)):
            return error(400, f"faults is a list of {', '.join(sorted(FAULTS))}")
        self._faults.extend(map(str, faults))
        return JSONResponse({"faults": list(self._faults)})

    async def _call_back(self, request: Request) -> Response:
        document = _parsed(await request.body() or b"{}")
        if not isinstance(document, dict) or not set(document) <= set(Round._fields):
            return error(400, f"The body is an object of {', '.join(Round._fields)}")
        if not self._options.callbacks.url:
            return error(400, "There is no URL to call back")
        return JSONResponse((await self._tell(list(self._recipients), Round(**document)))._asdict())

    async def _forget(self, _request: Request) -> Response:
        self._reset()
        return JSONResponse({})

    async def _tell(self, ids: list[str], what: Round) -> Posted:
        # What has been taken back in the meantime is not printed, so nothing is heard of it.
        recipients = [self._recipients[each] for each in ids if each in self._recipients]
        posted = await post(self._options.callbacks, recipients, what)
        self._posted = Posted(*map(sum, zip(self._posted, posted, strict=True)))
        return posted

    async def _tell_of_new_letters(self) -> None:
        while self._options.auto is not None and self._options.callbacks.url:
            await asyncio.sleep(self._options.auto)
            ids, self._untold = self._untold, []
            if ids:
                await self._tell(ids, Round())


# -- what Optilyz says ----------------------------------------------------------------------------


def _not_live(automation: str) -> Response | None:
    live = re.fullmatch("[0-9a-f]{24}", automation)
    return None if live else error(404, "Automation not found or not live")


def _described(automation: str) -> dict[str, object]:
    return {"_id": automation, "name": "Simulated", "state": "live", "variations": [{"id": 1}, {"id": 2}]}


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
