"""A stand-in for Bloomreach's Tracking API over HTTP, for tests, benchmarks, demos and people who try things.

It shares no rule with the rest of the project, because a fake that agrees with a mistake hides it.  What it
saw and kept, and what it shall do wrong next, is under ``/simulator``.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from receiver.simulator.connections import CutOff, hang, server_of
from receiver.simulator.obstacles import FAILURES, KEEP, Access, Rate, Troubles, Window, change
from receiver.simulator.tracked import Log
from receiver.simulator.tracking import Tracking, answer, parsed

# Of a fake: no secret of anybody's.
PROJECT_TOKEN = "b1005ea0-0000-4000-8000-000000000007"  # noqa: S105
KEY_ID = "simulated-key"
SECRET = "simulated-secret"  # noqa: S105

_NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your"
    " spelling and try again."
)
_COMPRESSED = "BadRequest: The browser (or proxy) sent a request that this server could not understand"
_COUNTS = ("requests", "turned_away", "denied", "refused_whole", "commands", "accepted", "refused")
_PAGE = {"after": 0, "limit": 1000}


class Options(NamedTuple):
    """How the simulated Tracking API behaves.

    Attributes:
        ids: names of the IDs that the project has, the most telling first; others are refused.
        per_minute, per_second: requests that one address may make; those above are answered 429 and dropped.
        classic: a bad event or update on a route of its own is answered 200, as older pages say, not 400.
        troubles: what goes wrong from the start; see `Troubles`.
    """

    project_token: str = PROJECT_TOKEN
    key_id: str = KEY_ID
    secret: str = SECRET
    ids: tuple[str, ...] = ("registered", "cookie")
    per_minute: int = 6000
    per_second: int | None = None
    classic: bool = False
    troubles: Mapping[str, object] = MappingProxyType({})


class Bloomreach:
    """The whole of it: *app* is the application.  What it kept outlives any server that runs it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._concurrent = 0
        self._start()
        project = "/track/v2/projects/{project_token}"
        self.app = Starlette(
            routes=[
                Route(project + "/batch", self._asked("batch"), methods=["POST"]),
                Route(project + "/customers/events", self._asked("event"), methods=["POST"]),
                Route(project + "/customers", self._asked("update"), methods=["POST"]),
                Route(project + "/system/time", self._asked("time"), methods=["GET", "POST"]),
                Route("/simulator/state", self._state),
                Route("/simulator/events", self._events),
                Route("/simulator/updates", self._updates),
                Route("/simulator/customer", self._customer),
                Route("/simulator/faults", self._set_troubles, methods=["POST"]),
                Route("/simulator/access", self._set_access, methods=["POST"]),
                Route("/simulator/reset", self._forget, methods=["POST"]),
            ],
            exception_handlers={404: _not_found, 405: _not_found},
        )
        self.app.router.redirect_slashes = False

    def server(self, *, host: str, port: int) -> uvicorn.Server:
        """Ready to run; says nothing by itself."""
        return server_of(self.app, host=host, port=port)

    def close(self) -> None:
        """Let go of what was kept."""
        self._tracking.tracked.close()

    def _start(self) -> None:
        options = self._options
        self._access = Access(options.project_token, options.key_id, [options.secret])
        self._troubles = Troubles()
        if complaint := self._troubles.change(options.troubles):
            raise ValueError(complaint)
        self._tracking = Tracking(options.ids, self._access, self._troubles, classic=options.classic)
        self._rate = Rate(options.per_minute, options.per_second)
        self._second, self._minute = Window(1), Window(60)
        self._seen: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._spoiled: Counter[str] = Counter()
        self._worst_concurrency = 0

    # -- every request to the Tracking API ---------------------------------------------------------

    def _asked(self, route: str) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def asked(request: Request) -> Response:
            self._concurrent += 1
            self._worst_concurrency = max(self._worst_concurrency, self._concurrent)
            try:
                return await self._answered(request, await request.body(), route)
            finally:
                self._concurrent -= 1

        return asked

    async def _answered(self, request: Request, body: bytes, route: str) -> Response:
        now = time.monotonic()
        self._seen["requests"] += 1
        self._second.add(now)
        self._minute.add(now)
        if not self._rate.admits(request.client.host if request.client else "", now):
            self._seen["turned_away"] += 1
            return self._counted(FAILURES["429"](0))
        if self._troubles.latency:
            await asyncio.sleep(self._troubles.latency)
        fault = self._troubles.next()
        if fault:
            self._spoiled[fault] += 1
        failure = "503" if fault == "outage" else fault.removeprefix(KEEP)
        if failure not in FAILURES:
            return self._counted(self._looked_at(request, body, route, fault))
        kept = self._looked_at(request, body, route, fault) if fault.startswith(KEEP) else None
        if failure == "hang":
            await hang(request)
        if failure == "cut" and kept is not None:
            return self._counted(CutOff(bytes(kept.body)[: len(kept.body) // 2]), failure)
        failed = FAILURES[failure](self._troubles.retry_after)
        return self._counted(failed, failure if failure in ("hang", "cut", "reset") else "")

    def _counted(self, answer: Response, name: str = "") -> Response:
        self._answers[name or str(answer.status_code)] += 1
        return answer

    def _looked_at(self, request: Request, body: bytes, route: str, fault: str) -> Response:
        authorization = request.headers.get("authorization", "")
        if refusal := self._access.refusal(request.path_params["project_token"], authorization):
            self._seen["denied"] += 1
            status, words = refusal
            return answer({"success": False, "error": words}, status)
        if request.headers.get("content-encoding", "identity") != "identity":
            self._tracking.breaches["compressed"] += 1
            self._tracking.counts["refused_whole"] += 1
            return PlainTextResponse(_COMPRESSED, 400)
        vendor: dict[str, Callable[[bytes, str], Response]] = {
            "batch": self._tracking.batch,
            "event": self._tracking.event,
            "update": self._tracking.update,
            "time": self._tracking.time,
        }
        return vendor[route](body, fault)

    # -- what people and tests ask -----------------------------------------------------------------

    async def _state(self, _request: Request) -> Response:
        tracking, troubles = self._tracking, self._troubles
        counts = {**self._seen, **tracking.counts}
        return answer(
            {
                **{name: counts.get(name, 0) for name in _COUNTS},
                "events": len(tracking.tracked.events),
                "updates": len(tracking.tracked.updates),
                "repeats": tracking.tracked.repeats,
                "breaches": tracking.breaches.total(),
                "breaches_by": {name: count for name, count in tracking.breaches.items() if count},
                "refusals": tracking.refusals,
                "answers": self._answers,
                "spoiled": self._spoiled,
                "commands_per_request": {str(size): count for size, count in sorted(tracking.sizes.items())},
                "worst_concurrency": self._worst_concurrency,
                "most_in_a_second": self._second.most,
                "most_in_a_minute": self._minute.most,
                "faults": troubles.faults,
                "chance": troubles.chance,
                "outage": troubles.outage,
            }
        )

    async def _events(self, request: Request) -> Response:
        return _page(request, self._tracking.tracked.events)

    async def _updates(self, request: Request) -> Response:
        return _page(request, self._tracking.tracked.updates)

    async def _customer(self, request: Request) -> Response:
        return answer({"properties": self._tracking.tracked.properties_of(request.query_params)})

    async def _set_troubles(self, request: Request) -> Response:
        return _changed(parsed(await request.body()), self._troubles.change)

    async def _set_access(self, request: Request) -> Response:
        return _changed(parsed(await request.body()), lambda wanted: change(self._access, wanted))

    async def _forget(self, _request: Request) -> Response:
        self.close()
        self._start()
        return answer({})


# -- what is answered -----------------------------------------------------------------------------


def _not_found(_request: Request, _error: Exception) -> Response:
    return answer({"errors": {"code": 404, "description": _NOT_FOUND}}, 404)


def _page(request: Request, log: Log) -> Response:
    """Records as they were kept, without reading them again."""
    try:
        after, limit = (int(request.query_params.get(name, start)) for name, start in _PAGE.items())
    except ValueError:
        after = limit = -1
    if min(after, limit) < 0:
        return _wrong("after and limit are whole numbers")
    records = b",".join(log.after(after, limit))
    return Response(b'{"total":%d,"records":[%s]}' % (len(log), records), media_type="application/json")


def _changed(document: object, change: Callable[[Mapping[str, object]], str | None]) -> Response:
    if not isinstance(document, dict):
        return _wrong("The body is no JSON object")
    complaint = change(document)
    return _wrong(complaint) if complaint else answer({"success": True})


def _wrong(message: str) -> Response:
    return answer({"success": False, "message": message}, 400)
