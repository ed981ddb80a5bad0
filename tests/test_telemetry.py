"""What several processes count together."""

import subprocess
import sys
from pathlib import Path

import pytest

from receiver import telemetry

WORKER = """
from receiver import telemetry
telemetry.QUEUE_DEPTH.set(7)
telemetry.RECEIVED.inc(3)
print("counted", flush=True)
input()
"""


def test_a_worker_that_was_killed_keeps_its_counts_and_waits_for_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "counted\n"
        assert {"receiver_queue_depth 7.0", "receiver_received_total 3.0"} <= shown()
        worker.kill()
        worker.wait()

        assert "receiver_received_total 3.0" in shown()
        assert not any(line.startswith("receiver_queue_depth ") and line[-3:] == "7.0" for line in shown())


def shown() -> set[str]:
    return set(telemetry.exposition()[0].decode().splitlines())
