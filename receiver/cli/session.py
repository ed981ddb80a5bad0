"""What every command shares: the database for the time of a command, and how a command fails or answers.

A command fails with a sentence on standard error and exit code 1, never with a traceback.
"""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from receiver.settings import Settings, WrongSettings, read_settings
from receiver.store import engine as database
from receiver.store.engine import Fault


def failed(sentence: str) -> typer.Exit:
    """Say *sentence* on standard error; to be raised: ``raise failed("There is no such key.")``."""
    typer.echo(sentence, err=True)
    return typer.Exit(1)


def settings_or_exit(**overrides: object) -> Settings:
    """The settings of this process; exits with every mistake in a line of its own."""
    try:
        return read_settings(**overrides)
    except WrongSettings as error:
        raise failed(str(error)) from None


@contextmanager
def opened(settings: Settings | None = None, *, create: bool = False) -> Iterator[Engine]:
    """The engine for the time of a command; whatever the database says ends the command in sentences.

    Nothing is migrated here, and a file that is not there is an error unless the command is to *create* it.
    Writes take ``engine.execution_options(writes=True).begin()``.
    """
    settings = settings or settings_or_exit()
    try:
        engine = database.connect(settings.database_url, wait_seconds=settings.database_seconds)
    except (ArgumentError, ImportError, ValueError) as error:
        raise failed(f"RECEIVER_DATABASE_URL cannot be used ({type(error).__name__}).") from None
    if not create:
        _refuse_a_missing_file(engine)
    try:
        yield engine
    except Exception as error:
        # Who writes talks to the driver itself, which raises errors of its own.
        if not isinstance(error, SQLAlchemyError) and database.fault(error) in {None, Fault.DATA}:
            raise
        raise failed(_sentence(engine, error)) from None
    finally:
        engine.dispose()


def answer_json(document: object) -> None:
    """The one document that a command for machines writes to standard output."""
    typer.echo(json.dumps(document, indent=2))


def _refuse_a_missing_file(engine: Engine) -> None:
    # Connecting would make an empty file, which others might read.
    name = engine.url.database if engine.dialect.name == "sqlite" else None
    if name and not name.startswith((":memory:", "file:")) and not Path(name).exists():
        raise failed(f"There is no database at {name}; run `receiver migrate`.")


def _sentence(engine: Engine, error: Exception) -> str:
    # The error's own words may quote a row, so only what is wrong with the database itself is told in words.
    problems = database.problems(engine)
    return "\n".join(problems) or f"The database refused the command ({type(error).__name__}); try again."


@contextmanager
def stopping(stop: threading.Event, sentence: str = "") -> Iterator[None]:
    """The first Ctrl-C, or SIGTERM, sets *stop*, so that what is under way can end; the second ends all."""

    def hear(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        if sentence:
            typer.echo(sentence, err=True)

    before = [(number, signal.signal(number, hear)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
