"""Processes on cores of their own: a server that answers, and the load generator.

The first core that we may use is the server's; the load generator and this program, from which it
inherits that, have the others.  PostgreSQL runs wherever there is room.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.load import Load, Measurement

ROOT = Path(__file__).parent.parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = CORES[0]
OTHER_CORES = set(CORES[1:]) or {SERVER_CORE}

_TICKS = os.sysconf("SC_CLK_TCK")


class Unavailable(Exception):
    """A contestant cannot take part; the message says why."""


class Stolen:
    """What other machines on the same host took from this one since it was made."""

    def __init__(self) -> None:
        self._before = _busy_and_stolen()

    @property
    def share(self) -> float:
        """Of the time in which a core had something to do, from 0 to 1; 0 where the system does not tell."""
        busy, stolen = (now - before for now, before in zip(_busy_and_stolen(), self._before, strict=True))
        return stolen / (busy + stolen) if busy + stolen else 0.0


def _busy_and_stolen() -> tuple[int, int]:
    """In ticks, of all cores (proc(5))."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _, _, interrupts, soft, stolen = map(int, file.readline().split()[1:9])
    except (OSError, ValueError):
        return 0, 0
    return user + nice + system + interrupts + soft, stolen


def on_server_core() -> None:
    """Moves the calling process, and what it starts, to the server's core."""
    os.sched_setaffinity(0, {SERVER_CORE})


@dataclass(frozen=True)
class Command:
    """How to start a server and how to talk to it.

    Attributes:
        arguments: with ``{port}`` in them.
        database: URL of what it writes to, empty where it writes nothing.
        rows: events that are in it from the start.
    """

    arguments: tuple[str, ...]
    folder: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)
    project_token: str = "bench"
    authorization: str = ""
    database: str = ""
    rows: int = 0


class Process:
    """A running server, ready to answer.

    Attributes:
        ready_after_s: from its start until ``/readyz`` answered 200.
    """

    def __init__(self, command: Command, log: Path) -> None:
        self.port = _free_port()
        started = time.perf_counter()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [argument.format(port=self.port) for argument in command.arguments],
                cwd=command.folder,
                env={**os.environ, **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=on_server_core,
            )
        while not self._is_ready():
            if self._process.poll() is not None or time.perf_counter() - started > 60:
                self.close()
                said = log.read_text(errors="replace")[-600:].strip()
                raise Unavailable(f"{Path(command.arguments[0]).name} did not become ready: {said}")
            time.sleep(0.01)
        self.ready_after_s = time.perf_counter() - started

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def cpu_s(self) -> float:
        """CPU time so far, of all its threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_mb(self) -> tuple[float, float]:
        """Resident memory now, and its peak."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        kilobytes = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
        return int(kilobytes["VmRSS"]) / 1024, int(kilobytes["VmHWM"]) / 1024

    def close(self) -> None:
        """Asks it to stop, then makes it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class LoadGenerator:
    """``benchmarks.load``, started once and given one load after the other."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, load: Load) -> Measurement:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asdict(load)), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise Unavailable("the load generator died; what it said is above")
        return Measurement(**json.loads(answer))

    def close(self) -> None:
        self._process.communicate()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
