"""The gateway: requests that would have gone to Optilyz, on disk before they are answered.

One thread stores whatever waits in one transaction, so that many requests at once share a commit.  The
same request within a day gets its first answer again, and no second letter.
"""

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from hashlib import blake2b
from queue import Empty, SimpleQueue
from typing import NamedTuple

from sqlalchemy import Engine

from receiver import telemetry
from receiver.inbound.deliveries import Policy
from receiver.inbound.writer import NotStored
from receiver.outbound import gateway_answers as answers
from receiver.outbound.intending import Decided, intend
from receiver.outbound.letters import Draft, LetterRules, Order
from receiver.outbound.passing import Passed, Request, read
from receiver.settings import Settings
from receiver.store import said, writes
from receiver.store.engine import Fault, fault
from receiver.store.sets import Ledger, Transaction

REPEAT_US = 24 * 3600 * 1_000_000
"""How long an identical request is the same one."""

# Together they are stored in far less than the time of an answer.
_MOST_REQUESTS = 50
_MOST_BYTES = 256 * 1024


class _Waiting(NamedTuple):
    """A request, and the text of the answer that somebody waits for."""

    request: Request
    answer: "Future[str]"


class Gateway:
    """Takes requests from any thread, and reads and stores them in a thread of its own."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._ledger = Ledger(engine)
        self._policy = Policy.of(settings)
        self._rules = replace(LetterRules.of(settings), numbers=settings.gateway_individualisations)
        self._free_bytes = settings.queue_bytes
        self._lock = threading.Lock()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()  # None is the end
        self._stopping = False
        self._away = False
        self._thread = threading.Thread(target=self._work, name="gateway", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests can be handed over."""
        return self._thread.is_alive() and not self._stopping

    def take(self, request: Request) -> "Future[str]":
        """The text of the answer, which is there when all of it is on disk; or it fails with NotStored.

        Never blocks.  Whoever cancels it before its turn has sent nothing.  Raises NotStored.
        """
        answer: Future[str] = Future()
        with self._lock:
            if self._stopping:
                raise NotStored("stopping")
            if len(request.body) > self._free_bytes:
                raise NotStored("busy")
            self._free_bytes -= len(request.body)
            self._queue.put(_Waiting(request, answer))
        return answer

    def stop(self, seconds: float) -> None:
        """Store what was taken and take nothing more.

        Not for ever: the thread may be waiting for a database that has stopped to answer.
        """
        with self._lock:
            self._stopping = True
            self._queue.put(None)
        self._thread.join(seconds)

    # -- what the thread does ---------------------------------------------------------------------

    def _work(self) -> None:
        more_to_come = True
        while more_to_come:
            group, more_to_come = self._gather()
            self._store([each for each in group if each.answer.set_running_or_notify_cancel()])
            with self._lock:
                self._free_bytes += sum(len(each.request.body) for each in group)
        self._ledger.close()

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Wait for one, then take those that wait with it; False at the end."""
        group: list[_Waiting] = []
        size = 0
        try:
            while len(group) < _MOST_REQUESTS and size < _MOST_BYTES:
                waiting = self._queue.get(block=not group)
                if waiting is None:
                    return group, False
                group.append(waiting)
                size += len(waiting.request.body)
        except Empty:
            pass
        return group, True

    def _store(self, group: Sequence[_Waiting]) -> None:
        try:
            texts = self._keep([each.request for each in group]) if group else []
        except Exception as error:
            self._failed(group, error)
            return
        if self._away:
            self._away = False
            telemetry.log("database_back")
        for waiting, text in zip(group, texts, strict=True):
            waiting.answer.set_result(text)

    def _failed(self, group: Sequence[_Waiting], error: Exception) -> None:
        meaning = fault(error)
        if len(group) > 1 and meaning is not Fault.AWAY:
            # One of them is to blame, and costs the others nothing.
            for waiting in group:
                self._store([waiting])
            return
        if meaning is Fault.AWAY and not self._away:
            self._away = True
            telemetry.log(
                "database_away", level=logging.ERROR, requests=len(group), error=type(error).__name__
            )
        passing = meaning in {Fault.AWAY, Fault.REPEAT}
        for waiting in group:
            waiting.answer.set_exception(NotStored("database") if passing else error)

    # -- one transaction --------------------------------------------------------------------------

    def _keep(self, requests: Sequence[Request]) -> list[str]:
        """The texts of the answers; when this returns all is on disk."""
        passed = [read(request, self._rules) for request in requests]
        with self._ledger.transaction() as transaction:
            writes.take_turn(transaction, 0)
            return [self._answer(transaction, *each) for each in zip(requests, passed, strict=True)]

    def _answer(self, transaction: Transaction, request: Request, passed: Passed) -> str:
        """The first answer to this request, or that to new letters, which are written."""
        key = _key(request)
        since_us = request.received_us - REPEAT_US
        answer = said.first_answer(transaction, request.project_id, key, since_us)
        if answer is None:
            decided = self._intend(transaction, request, passed)
            answer = answers.answer(request.route, passed, decided)
            said.keep_answer(
                transaction, request.project_id, key, request.received_us, answer, forget_us=since_us
            )
        return answer

    def _intend(self, transaction: Transaction, request: Request, passed: Passed) -> dict[str, Decided]:
        """What each letter became, by the ID of its mailing."""
        campaigns: dict[str | None, list[Draft]] = {}
        for campaign, letter in passed.letters:
            campaigns.setdefault(campaign, []).append(letter)
        decided: dict[str, Decided] = {}
        for campaign, letters in campaigns.items():
            # No template of ours is rendered, so nobody needs the project's token.
            order = Order(
                request.project_id, "", passed.automation, campaign, request.route, None, once=False
            )
            for each in intend(
                transaction,
                order,
                letters,
                self._policy,
                self._rules,
                run_id=None,
                now_us=request.received_us,
            ):
                decided[each.mailing] = each
        return decided


def _key(request: Request) -> bytes:
    """What an identical request has too; the project stands beside it."""
    head = f"{request.route}\n{request.automation}\n".encode(errors="surrogatepass")
    return blake2b(head + request.body, digest_size=32).digest()
