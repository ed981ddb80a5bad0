"""Every metric and every log event, by name, in one list.  docs/operations.md explains the same names.

Neither ever holds an ID, a name, an address, a body or a secret: counts, codes, times and row numbers
only.  An exception is logged as its type and the places it went through, because its text may quote.
"""

import logging
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
)
from prometheus_client import REGISTRY as _REGISTRY

# When a counter began is of no use beside it.
disable_created_metrics()  # type: ignore[no-untyped-call]  # untyped there

RECEIVED = Counter("receiver_received", "Commands that reached the writer.")
OUTCOMES = Counter(
    "receiver_outcomes",
    "What became of them: accepted, duplicate or rejected, and why.",
    ["outcome", "reason"],
)
TURNED_AWAY = Counter(
    "receiver_turned_away", "Requests that were answered without being kept, by cause.", ["cause"]
)
DROPPED_IDS = Counter("receiver_dropped_ids", "Empty IDs left out beside a valid one (EMPTY_IDS=drop).")
GROUP_COMMANDS = Histogram(
    "receiver_group_commands",
    "Commands stored by one commit.",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
)
GROUP_SECONDS = Histogram(
    "receiver_group_seconds",
    "Time to store one group, commit included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
QUEUE_DEPTH = Gauge("receiver_queue_depth", "Requests that wait for the writer.", multiprocess_mode="livesum")
HTTP_SECONDS = Histogram(
    "receiver_http_seconds",
    "Time from the first byte of a request to its answer, by route and status.",
    ["route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LETTERS = Counter("receiver_letters", "What became of letters that Optilyz was asked for.", ["state"])
OPTILYZ_SECONDS = Histogram(
    "receiver_optilyz_seconds",
    "Time that Optilyz took for a request, by what came of it.",
    ["answer"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60),
)

RELAYED = Counter("receiver_relayed", "Commands that left for Bloomreach, or were set aside.", ["outcome"])
BLOOMREACH_SECONDS = Histogram(
    "receiver_bloomreach_seconds",
    "Time that Bloomreach took for a request, by what came of it.",
    ["answer"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60),
)
RELAY_WAITING = Gauge(
    "receiver_relay_waiting", "Commands that wait for Bloomreach.", multiprocess_mode="livemax"
)
RELAY_AGE = Gauge(
    "receiver_relay_age_seconds",
    "How long the oldest of them has waited.",
    multiprocess_mode="livemax",
)
RELAY_SET_ASIDE = Gauge(
    "receiver_relay_set_aside",
    "Commands that Bloomreach refused and that wait for a person.",
    multiprocess_mode="livemax",
)

LOG_EVENTS = {
    "started": "The service is ready to receive.",
    "stopped": "What was taken is stored and the service has ended.",
    "database_away": "A group could not be stored; its senders were told to come again.",
    "database_back": "Groups are stored again.",
    "group_failed": "A group met an error that nobody expected; please report it.",
    "request_failed": "A request met an error that nobody expected; please report it.",
    "keys_not_loaded": "Keys could not be read again; the ones in memory stay valid.",
    "answer_not_kept": "What Optilyz said could not be written down yet; tried again.",
    "optilyz_away": "Optilyz cannot be reached; letters wait, nothing is lost.",
    "optilyz_back": "Optilyz answers again.",
    "optilyz_denied": "Optilyz does not accept our key or our requests; letters wait for somebody to act.",
    "sending_failed": "Sending met an error that nobody expected; please report it.",
    "relay_away": "Bloomreach cannot be reached; events wait, nothing is lost.",
    "relay_back": "Bloomreach takes events again.",
    "relay_denied": "Bloomreach does not accept our key or our requests; events wait for somebody to act.",
    "relay_failed": "Relaying met an error that nobody expected; please report it.",
    "notice_failed": "A notification could not be sent; tried again later.",
    "checkpoint_failed": "SQLite's write-ahead log could not be copied into the database; tried again soon.",
}

_away = False


def group_stored(outcomes: Mapping[tuple[str, str], int], seconds: float, waiting: int) -> None:
    """*outcomes* counts (outcome, reason); *waiting* is what has queued up meanwhile."""
    global _away
    if _away:
        _away = False
        log("database_back")
    commands = sum(outcomes.values())
    RECEIVED.inc(commands)
    for (outcome, reason), times in outcomes.items():
        OUTCOMES.labels(outcome, reason).inc(times)
    GROUP_COMMANDS.observe(commands)
    GROUP_SECONDS.observe(seconds)
    QUEUE_DEPTH.set(waiting)


def group_failed(error: Exception, requests: int, *, expected: bool) -> None:
    """An outage is logged when it begins, not once per group."""
    global _away
    if not expected:
        log("group_failed", level=logging.ERROR, requests=requests, **described(error))
    elif not _away:
        _away = True
        log("database_away", level=logging.ERROR, requests=requests, error=type(error).__name__)


def exposition() -> tuple[bytes, str]:
    """The metrics as text for Prometheus, of all worker processes, and its content type."""
    registry: CollectorRegistry = _REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped there
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _forget_the_dead(folder: Path) -> None:
    """A worker that was killed leaves its gauges behind, and nobody else would take them away."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # untyped there


def log(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Write one log line; *event* must be in LOG_EVENTS."""
    if event not in LOG_EVENTS:
        raise ValueError(f"no such log event: {event}")
    structlog.get_logger("receiver").log(level, event, **fields)


def described(error: BaseException) -> dict[str, object]:
    """An exception without its text: its type and where it went through."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return {
        "error": type(error).__name__,
        "at": [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
    }


def configure_logging(level: str) -> None:
    """JSON lines on standard error, for our own events and for what libraries log."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_texts,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line per request would hold tokens of the query string; metrics count requests.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # They log the URL of each request, and with it the vendor's ID of a letter.
    for library in ("httpx2", "httpcore2"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _without_texts(_: object, __: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Replace exceptions, whose texts may quote what was sent, by what can be said of them."""
    info = fields.pop("exc_info", None)
    if isinstance(info, BaseException):
        fields |= described(info)
    elif isinstance(info, tuple) and isinstance(info[1], BaseException):
        fields |= described(info[1])
    elif info is True:
        current: tuple[Any, BaseException | None, TracebackType | None] = sys.exc_info()
        if current[1] is not None:
            fields |= described(current[1])
    return fields
