"""``receiver demo``: the whole loop on one machine, with real processes and a simulated Optilyz."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from json import loads
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx2
import typer
from sqlalchemy import Engine

from receiver.cli.demo_people import NUMBER, write_customers
from receiver.cli.demo_result import Result, read
from receiver.cli.session import answer_json, failed, opened
from receiver.settings import PREFIX
from receiver.store import keys

_RECEIVER = (sys.executable, "-c", "from receiver.cli import main; main()")
_AUTOMATION = "64b0c0ffee0000000000abcd"
_CAMPAIGN = "winback"
_HOST = "127.0.0.1"
_START_SECONDS = 60.0
_SERVED = f"http://{_HOST}:8000"
"""Where ``receiver serve`` listens when nobody says otherwise."""

_IN_MILLISECONDS = 50
"""Callbacks that are refused for it."""

_STOP_SECONDS = 15.0


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo")(demo)


def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A new or empty folder, to keep everything in.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(metavar="URL", help="An empty database, instead of a file in the folder.")
    ] = None,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay",
            help="Go on until Ctrl-C, with the console to look at; by default where somebody watches.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, for machines.")] = False,
) -> None:
    """Show the whole loop in under a minute: letters to a simulated Optilyz, and its callbacks."""
    stays = not json and (sys.stdout.isatty() if stay is None else stay)
    with _ended_in_order(), _folder(keep) as folder, ExitStack() as running:
        url = database_url or f"sqlite:///{folder / 'receiver.db'}"
        optilyz = f"http://{_HOST}:{_free_port()}"
        _set_up(url, f"{optilyz}/api")
        steps = _Steps(quiet=json)
        with opened(create=True) as engine:
            project = _install(engine)
            steps.say("A fresh database, with a project in it.")
            service = _serve(folder, running)
            steps.say(f"The service listens for callbacks on {service.url}.")
            sent, seen = _play(folder, project, service, optilyz, steps, running)
            result = read(engine, project.token, sent, seen)
        wrong = result.wrong()
        if json:
            answer_json(result.document())
        else:
            typer.echo(f"\n{result.text()}\n")
            if not wrong:
                typer.echo("Everything adds up, and no letter was sent twice.\n")
            if keep is not None or database_url:
                typer.echo(_where_to_look(result, project, url, own_database=database_url is not None))
            elif not stays:
                typer.echo("Nothing of it is kept. To look around afterwards: receiver demo --keep DIR")
        if wrong:
            raise failed("\n".join(["It does not add up.", *wrong]))
        if stays:
            typer.echo(
                f"\nNow look at it in the console:\n\n{_way_in(project, service.url)}\n\nCtrl-C ends it."
            )
            with suppress(KeyboardInterrupt):
                service.process.wait()


class _Service(NamedTuple):
    """Ours, while it runs."""

    url: str
    process: subprocess.Popen[bytes]


class _Steps:
    """Says what has been done, with the seconds since the beginning."""

    def __init__(self, *, quiet: bool) -> None:
        self._began = time.monotonic()
        self._quiet = quiet

    def say(self, sentence: str) -> None:
        sentence = sentence.replace("\n", "\n" + " " * 9)
        typer.echo(f"{time.monotonic() - self._began:5.1f} s  {sentence}", err=self._quiet)


def _set_up(database_url: str, optilyz_url: str) -> None:
    """Settings for us and for all that we start; the installation that the environment names is let alone."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    os.environ[f"{PREFIX}DATABASE_URL"] = database_url
    os.environ[f"{PREFIX}OPTILYZ_BASE_URL"] = optilyz_url
    os.environ[f"{PREFIX}OPTILYZ_API_KEY"] = "any-key"
    # Nothing of this leaves the machine.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = _HOST


def _install(engine: Engine) -> keys.NewProject:
    # Imported here, because no other command shall wait for Alembic.
    from receiver.store.migrations import migrate

    migrate(engine)
    with engine.execution_options(writes=True).begin() as connection:
        return keys.create_project(connection, "demo", public=False, now_us=time.time_ns() // 1000)


def _serve(folder: Path, running: ExitStack) -> _Service:
    port = _free_port()
    url = f"http://{_HOST}:{port}"
    listening = _listening(folder / "service.log", f"{url}/readyz", "serve", "--port", str(port))
    return _Service(url, running.enter_context(listening))


def _play(
    folder: Path, project: keys.NewProject, service: _Service, optilyz: str, steps: _Steps, running: ExitStack
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Send and be called back; what `receiver send` says, and what the simulated Optilyz has seen."""
    key = _key(project, keys.Role.TRACKING)
    callbacks = f"{service.url}/optilyz/v1/projects/{project.token}/callbacks"
    simulate = ("simulate", "optilyz", "--port", optilyz.rpartition(":")[2], "--callbacks", callbacks)
    user = ("--callbacks-user", f"{key.key_id}:{key.secret}")
    running.enter_context(_listening(folder / "optilyz.log", f"{optilyz}/simulator/state", *simulate, *user))
    steps.say(f"A simulated Optilyz listens for letters on {optilyz}.")
    odd = write_customers(folder / "customers.csv")
    steps.say(
        f"A file of {NUMBER:,} customers: {odd.broken} cannot become letters, {odd.nowhere} live nowhere,"
        f" {odd.twice} stand there twice."
    )
    sent = _send(folder / "customers.csv", project.token)
    steps.say("`receiver send` has sent it, a hundred letters a request.")
    posted = _asked(
        "POST", f"{optilyz}/simulator/callbacks", {"in_milliseconds": {"posted": _IN_MILLISECONDS}}
    )
    steps.say(
        f"Optilyz has posted {posted['posted']:,} callbacks in {posted['requests']} requests: booked,"
        " printing, posted, some returned;\none in ten is repeated, and among them are control addresses"
        " without IDs,\ntemplates that nobody filled,"
        f" and {_IN_MILLISECONDS} whose template counts in milliseconds."
    )
    return sent, _asked("GET", f"{optilyz}/simulator/state")


def _send(customers: Path, project_token: str) -> Mapping[str, Any]:
    command = ("send", project_token, str(customers), "--automation", _AUTOMATION, "--campaign", _CAMPAIGN)
    with _started(*command, "--json", stdout=subprocess.PIPE) as process:
        said, _ = process.communicate()
    if process.returncode != 0:
        raise failed("`receiver send` has not sent everything.")
    document: Mapping[str, Any] = loads(said)
    return document


def _asked(method: str, url: str, body: object = None) -> Mapping[str, Any]:
    """What the simulated Optilyz answers."""
    try:
        answer = httpx2.request(method, url, json=body, timeout=300)
        document: Mapping[str, Any] = answer.raise_for_status().json()
    except httpx2.HTTPError as error:
        raise failed(f"The simulated Optilyz does not answer ({type(error).__name__}).") from None
    return document


def _key(project: keys.NewProject, role: keys.Role) -> keys.NewKey:
    return next(key for key in project.keys if key.role == role)


def _way_in(project: keys.NewProject, url: str) -> str:
    """Where the console is, and how to sign in."""
    key = _key(project, keys.Role.OPS)
    return f"  {url}/console\n  key ID  {key.key_id}\n  secret  {key.secret}"


def _where_to_look(result: Result, project: keys.NewProject, url: str, *, own_database: bool) -> str:
    command = sys.argv[0] if Path(sys.argv[0]).name == "receiver" else "receiver"
    who = [f"--customer {kind}={value}" for kind, value in result.returned.items()]
    lines = (
        # Whoever gave us a database knows how it is reached, and its password is not for the screen.
        f"export RECEIVER_DATABASE_URL={'...' if own_database else shlex.quote(url)}",
        f"{command} mailings list {project.token} --state refused",
        f"{command} mailings summary {project.token}",
        f"{command} events {project.token} {who[0] if who else ''}   # somebody whose letter came back",
        f"{command} rejections list {project.token}",
        f"{command} outcomes {project.token} --check",
        f"{command} serve",
    )
    console = f"The console, once `{command} serve` runs:\n\n{_way_in(project, _SERVED)}\n\n"
    return f"{console}Where to look next:\n\n" + "\n".join(f"  {line}" for line in lines)


# -- folders and processes, none of which is left -------------------------------------------------


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Being told to end ends what we have started, too."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = [(number, signal.signal(number, end)) for number in (signal.SIGTERM, signal.SIGHUP)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="receiver-demo-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        empty = not any(keep.iterdir())
    except OSError as error:
        raise failed(f"The folder cannot be made ({error.strerror}).") from None
    if not empty:
        raise failed("The folder is not empty; give a new one, or run it without --keep.")
    yield keep.resolve()


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _listening(log: Path, url: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``receiver ...`` while it answers *url*; ended at the end of the block."""
    with log.open("wb") as file, _started(*arguments, stdout=file, stderr=file) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-2000:]
                raise failed(f"`receiver {arguments[0]}` has not started.\n{said}")
            time.sleep(0.05)
        yield process


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=10).is_success
    except httpx2.TransportError:
        return False


@contextmanager
def _started(*arguments: str, **files: Any) -> Iterator[subprocess.Popen[bytes]]:
    # In a session of its own, so that Ctrl-C reaches us alone and all ends in order.
    command = [*_RECEIVER, *arguments]
    with subprocess.Popen(command, start_new_session=True, **files) as process:  # noqa: S603  # our own
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
