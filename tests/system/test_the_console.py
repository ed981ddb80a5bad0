"""The main job at the console, in a real browser: clicked through as somebody does who has never seen it."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page, expect

from tests.system.browsing import NARROW, WIDE, Demo, at_a_desk, browsing, demo, go_to, sign_in, tab_to

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def shown(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all tests; each leaves it as it was, but the last one, which mends."""
    with demo(tmp_path_factory.mktemp("shown") / "demo") as shown:
        yield shown


@pytest.fixture
def page(browser: Browser, shown: Demo) -> Iterator[Page]:
    with at_a_desk(browser, shown.console) as page:
        sign_in(page, shown.key)
        yield page


def test_all_is_done_with_the_keyboard_alone(browser: Browser, shown: Demo) -> None:
    with at_a_desk(browser, shown.console) as page:
        keys = page.keyboard
        expect(page.get_by_label("Key ID")).to_be_focused()
        keys.type(shown.key.key_id)
        keys.press("Tab")
        keys.type(shown.key.secret)
        keys.press("Enter")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()

        tab_to(page, page.get_by_role("link", name="timestamp in milliseconds"))
        keys.press("Enter")
        tab_to(page, page.get_by_role("row").get_by_role("link", name=re.compile(r"^\d+$")).first)
        keys.press("Enter")
        tab_to(page, page.get_by_role("radio", name="As it came"))
        keys.press("ArrowDown")
        tab_to(page, page.get_by_role("combobox", name="Repair"))
        keys.type("milli")
        tab_to(page, page.get_by_role("button", name="Show what would become of it"))
        keys.press("Enter")
        expect(page.get_by_text("Nothing is written yet.")).to_be_visible()
        expect(page.get_by_role("heading", name="After")).to_be_visible()
        tab_to(page, page.get_by_role("button", name="Replay", exact=True))
        keys.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("It came in once more")

        tab_to(page, page.get_by_role("button", name="Take the replay back"))
        keys.press("Enter")
        expect(page.get_by_role("status")).to_contain_text("The replay was taken back")


def test_a_letter_is_followed_from_mailing_to_return(page: Page, shown: Demo) -> None:
    name, value = shown.returned

    go_to(page, "Customer")
    page.get_by_label("Kind of ID").select_option(name)
    page.get_by_label("ID", exact=True).fill(value)
    page.get_by_role("button", name="Find").click()
    letter = page.get_by_role("article", name="Letter of campaign winback")
    expect(letter.get_by_role("heading")).to_contain_text("returned")
    told = letter.get_by_role("listitem").all_inner_texts()
    stages = ["returned", "posted", "printing", "queued", "queued"]
    assert [each.split()[0] for each in told if not each.startswith("Letter")] == stages
    assert told[-1].startswith("Letter made")

    letter.get_by_role("link", name=re.compile("^Mailing ")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Letter")
    expect(page.get_by_text("Last heard: returned")).to_be_visible()
    expect(page.get_by_role("definition").filter(has_text=value)).to_be_visible()
    heard = page.get_by_role("list").last.get_by_role("listitem").all_inner_texts()
    words = [each.split()[0] for each in heard]
    assert words == ["returned", "posted", "printing", "booked", "enqueued"]


def test_the_funnel_of_a_campaign_is_downloaded(page: Page) -> None:
    go_to(page, "Campaigns")
    page.get_by_role("row").get_by_role("link", name="winback").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("winback")
    shown = {
        row.get_by_role("rowheader").inner_text(): row.get_by_role("cell").nth(1).inner_text()
        for row in page.get_by_role("region", name="How far the letters came").get_by_role("row").all()[1:]
    }

    with page.expect_download() as download:
        page.get_by_role("link", name="Funnel as CSV").click()

    assert download.value.suggested_filename.endswith(".csv")
    rows = csv.DictReader(io.StringIO(download.value.path().read_text()))
    told = {row["stage"]: row["reached"] for row in rows if row["variation"] == "(all)" and row["reached"]}
    assert told == {stage: count for stage, count in shown.items() if count != "–"}
    assert (told["mailed"], told["returned"]) == ("962", "48")


# -- how the pages look ---------------------------------------------------------------------------


LOOKS: list[tuple[int, Literal["dark", "light"]]] = [(NARROW, "dark"), (WIDE, "light")]
FILES = re.compile(r"/body|/funnel|/times|/events|\.md|format=")


def kinds_of_pages(page: Page) -> Iterator[str]:
    """The address of one page of each kind, found by following links; the browser is there."""
    waiting, seen = [page.url], set()
    while waiting:
        url = waiting.pop(0)
        split = urlsplit(url)
        number = re.sub(r"/([0-9]+|[0-9a-f]{24})(?=/|$)", "/1", split.path)
        if number in seen or FILES.search(url):
            continue
        seen.add(number)
        page.goto(url)
        yield url
        waiting += page.eval_on_selector_all("a[href]", "links => links.map(link => link.href.split('#')[0])")


def faults_of(axe: Axe, page: Page) -> Iterator[str]:
    """What is wrong with the page that is there, on a telephone in the dark and at a desk in the light."""
    for width, scheme in LOOKS:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        found = axe.run(page)
        if found.violations_count:
            yield f"{page.url}, {scheme}: {found.generate_report()}"
        if page.evaluate("document.documentElement.scrollWidth") > width:
            yield f"{page.url} scrolls sideways at {width} pixels"


def test_every_page_can_be_read_by_everybody_everywhere(browser: Browser, shown: Demo) -> None:
    axe, name, value = Axe(), *shown.returned
    with at_a_desk(browser, shown.console, scripts=True) as page:
        wrong = list(faults_of(axe, page))
        sign_in(page, shown.key)
        start = page.url
        seen = 0
        for _ in kinds_of_pages(page):
            seen += 1
            wrong += faults_of(axe, page)
        page.goto(f"{start}customer?kind={name}&value={value}")
        wrong += faults_of(axe, page)
        page.goto(f"{start}handover")
        page.get_by_role("link", name="Take it to the grader").first.click()
        wrong += faults_of(axe, page)
        page.goto(f"{start}rejections/mend?reason=empty_customer_id")
        page.get_by_role("button", name="Show what would become of them").click()
        wrong += faults_of(axe, page)

    assert wrong == []
    assert seen > 10


# -- and the last one mends -------------------------------------------------------------------------


def test_fifty_refused_callbacks_are_found_mended_and_replayed(page: Page) -> None:
    expect(page.get_by_text("58 rejections are open and wait to be mended.")).to_be_visible()
    why = page.get_by_role("row").filter(has_text="timestamp in milliseconds")
    expect(why.get_by_role("cell").nth(1)).to_have_text("50")

    why.get_by_role("link").click()
    page.get_by_role("row").get_by_role("link", name=re.compile(r"^\d+$")).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("timestamp in milliseconds")
    expect(page.locator("pre mark")).to_have_text(re.compile(r"^\d{13}(\.\d+)?$"))

    page.go_back()
    page.get_by_role("link", name="Mend all open ones that match").click()
    page.get_by_label("How they are mended").select_option("milliseconds to seconds")
    page.get_by_role("button", name="Show what would become of them").click()
    expect(page.get_by_role("heading", name="What would become of 50")).to_be_visible()
    expect(page.get_by_text("Nothing is written yet.")).to_be_visible()
    expect(page.get_by_text(re.compile('"timestamp": ?[0-9]{10}[.0-9]*[,}]')).first).to_be_visible()
    page.get_by_role("button", name="Replay all 50").click()
    expect(page.get_by_role("heading", name="What became of 50")).to_be_visible()

    go_to(page, "Overview")
    expect(page.get_by_text("8 rejections are open")).to_be_visible()
    page.get_by_role("link", name="Look at them").click()
    page.get_by_role("link", name="Mend all open ones that match").click()
    page.get_by_label("Or dismiss them, with a note").fill("Control addresses, and a test of the template")
    page.get_by_role("button", name="Dismiss all 8").click()
    expect(page.get_by_role("status")).to_contain_text("8 were dismissed")

    go_to(page, "Overview")
    expect(page.get_by_text("All is well: nothing waits for anybody.")).to_be_visible()
    go_to(page, "Rejections")
    page.get_by_role("link", name="What was done about it").click()
    expect(page.get_by_role("row").filter(has_text="Control addresses")).to_have_count(8)
