"""People in front of the console: a real browser without JavaScript, and the demo to look at."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.system.service import RECEIVER, Key
from tests.waiting import wait_until

_NAMES = ("chromium", "chromium-browser", "google-chrome")
NARROW, WIDE = 360, 1440
"""Pixels: a telephone and a desk."""


def chromium() -> str:
    """The path of the system's; without one the tests are skipped, in CI they fail."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        why = f"there is no browser here: none of {', '.join(_NAMES)}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return path


@contextmanager
def browsing() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        # As root, as in a container, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Demo(NamedTuple):
    """What ``receiver demo --stay`` says to whoever has started it.

    Attributes:
        console: the address of the console.
        key: to sign in with.
        returned: an ID of somebody whose letter came back, as ``(name, value)``.
        folder: where its logs and its database are.
    """

    console: str
    key: Key
    returned: tuple[str, str]
    folder: Path


@contextmanager
def demo(folder: Path) -> Iterator[Demo]:
    """While it stays; at its end it is told to end, and its log is looked through."""
    said = folder.parent / "demo.txt"
    command = [RECEIVER, "demo", "--stay", "--keep", str(folder)]
    with said.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait_until(
                lambda: process.poll() is not None or "Ctrl-C ends it" in said.read_text(),
                "the demo is there",
                seconds=100,
            )
            text = said.read_text()
            assert process.poll() is None, text
            name, value = _said(r"--customer (\w+)=(\S+)", text)
            # The last ones are for the console that runs now.
            shown = Demo(
                _said(r".*(http://\S+/console)", text)[0],
                Key(_said(r".*key ID +(\w+)", text)[0], _said(r".*secret +(\w+)", text)[0]),
                (name, value),
                folder,
            )
            yield shown
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0, said.read_text()
        finally:
            process.terminate()
    log = (folder / "service.log").read_text()
    assert not any(private in log for private in ("Traceback", "/console", shown.key.secret, value)), log


def _said(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text, re.DOTALL)
    assert found is not None, text
    return found.groups()


@contextmanager
def at_a_desk(browser: Browser, console: str, *, scripts: bool = False) -> Iterator[Page]:
    """A window of somebody who has not been there before.

    Whatever it complains of is a fault of ours, and so is every request to another host.
    """
    context = browser.new_context(
        viewport={"width": WIDE, "height": 900},
        java_script_enabled=scripts,
        accept_downloads=True,
        reduced_motion="reduce",
    )
    context.set_default_timeout(15_000)
    faults: list[str] = []
    hosts: set[str] = set()
    context.on("console", lambda message: faults.append(message.text))
    context.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page = context.new_page()
    page.goto(console)
    yield page
    context.close()
    assert faults == []
    assert hosts == {urlsplit(console).netloc}


def sign_in(page: Page, key: Key) -> None:
    page.get_by_label("Key ID").fill(key.key_id)
    page.get_by_label("Secret").fill(key.secret)
    page.get_by_role("button", name="Sign in").click()


def go_to(page: Page, name: str) -> None:
    """By the line of pages above each of them."""
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True).click()


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until it is there; whoever cannot use a mouse must get everywhere so."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            seen = target.evaluate("element => getComputedStyle(element).outlineStyle")
            assert seen != "none", "nobody sees where they are"
            return
    raise AssertionError(f"no way to {target} with the keyboard")
