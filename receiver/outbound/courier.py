"""Commands are carried to Bloomreach: in order, in requests as large as it takes them, not too fast.

A request that is refused as one is halved until the command that is to blame stands alone.
"""

import threading
import time
from collections.abc import Callable, Sequence

from receiver import telemetry
from receiver.domain.relaying import Command, batches
from receiver.outbound.bloomreach import (
    Answer,
    Answered,
    Bloomreach,
    Denied,
    Fate,
    NotAllowed,
    Refused,
    RefusedWhole,
    Unreached,
)
from receiver.store.outbox import Reason, SetAside

# It does nothing, and has nobody's data.
_PROBE = Command(0, b'{"name":"system/time","command_id":"0"}')


class Pace:
    """Spaces requests evenly, so that no second and no minute has too many of them; wider for a while where
    the other side found us too fast."""

    def __init__(self, per_minute: int, stop: threading.Event) -> None:
        self._least = self._spacing = 60.0 / per_minute
        self._stop = stop
        self._next = 0.0

    def wait(self) -> bool:
        """Wait for one's turn, which is not lost where nothing leaves then; False where all is to stop."""
        return not self._stop.wait(max(0.0, self._next - time.monotonic()))

    def leave(self) -> None:
        """A request leaves now."""
        self._next = max(time.monotonic(), self._next) + self._spacing

    def slower(self) -> None:
        self._spacing = min(2 * self._spacing, 20 * self._least)

    def faster(self) -> None:
        self._spacing = max(0.98 * self._spacing, self._least)


class Carried:
    """What became of commands, as far as it got.

    Attributes:
        sent: the numbers of those that Bloomreach has.
        answered: Bloomreach has looked at a command.
        problem: what ended it, for all that are left.
    """

    def __init__(self) -> None:
        self.sent: list[int] = []
        self.set_aside: list[SetAside] = []
        self.answered = False
        self.problem: Unreached | Denied | None = None

    def note(self, part: Sequence[Command], fates: Sequence[Fate]) -> None:
        """Bloomreach has given each command of *part* its fate."""
        self.answered = True
        for command, fate in zip(part, fates, strict=True):
            match fate:
                case Refused(message):
                    self.set_aside.append(SetAside(command.id, Reason.REFUSED, message))
                case NotAllowed(detail):
                    self.problem = Denied(detail)
                case _:
                    self.sent.append(command.id)


class Courier:
    """Asks one project of Bloomreach, one request at a time; until *stop* is set."""

    def __init__(self, bloomreach: Bloomreach, per_minute: int, stop: threading.Event) -> None:
        self._bloomreach = bloomreach
        self._pace = Pace(per_minute, stop)
        self._suspect: SetAside | None = None  # refused when it was alone in its request

    def carry(self, commands: Sequence[Command], has_time: Callable[[], bool]) -> Carried:
        """Send *commands*, as long as there is time for one more request."""
        done = Carried()
        for batch in batches(commands):
            if not self._send(batch, done, has_time):
                break
        return done

    def _send(self, batch: list[Command], done: Carried, has_time: Callable[[], bool]) -> bool:
        """False where nothing more can be sent now."""
        parts = [batch]
        while parts:
            # The turn may have been long in coming.
            if done.problem is not None or not self._pace.wait() or not has_time():
                return False
            part = parts.pop()
            if self._suspect is not None and [each.id for each in part] == [self._suspect.id]:
                self._blame(self._suspect, done)
                continue
            answer = self._ask(part)
            match answer:
                case Answered(fates):
                    done.note(part, fates)
                case RefusedWhole() if len(part) > 1:
                    half = len(part) // 2
                    parts += [part[half:], part[:half]]
                case RefusedWhole(message):
                    self._suspect = SetAside(part[0].id, Reason.UNREADABLE, message)
                    if not has_time():
                        return False
                    self._blame(self._suspect, done)
                case Unreached() | Denied():
                    done.problem = answer
        return done.problem is None

    def _ask(self, part: Sequence[Command]) -> Answer:
        self._pace.leave()
        began = time.perf_counter()
        answer = self._bloomreach.batch([(str(number), json) for number, json in part])
        seconds = time.perf_counter() - began
        telemetry.BLOOMREACH_SECONDS.labels(type(answer).__name__.lower()).observe(seconds)
        if isinstance(answer, Answered):
            self._pace.faster()
        elif isinstance(answer, Unreached) and answer.limited:
            self._pace.slower()
        return answer

    def _blame(self, suspect: SetAside, done: Carried) -> None:
        """Set *suspect* aside, unless by now nothing gets through, whatever it is."""
        self._suspect = None
        match self._ask([_PROBE]):
            case Answered([NotAllowed(detail)]):
                done.problem = Denied(detail)
            case Answered():
                done.answered = True
                done.set_aside.append(suspect)
            case RefusedWhole(why):
                done.problem = Denied(f"Bloomreach refuses to be asked for the time: {why}")
            case (Unreached() | Denied()) as problem:
                done.problem = problem

    def close(self) -> None:
        self._bloomreach.close()
