"""Fixtures and helpers of the page's tests: the browser, and checks that apply to every page opened in it.

`tests/end_to_end/browser.rs` starts the tests. Environment variables hold the address of the page, the token (so
that no command line shows it), the file to upload, and its expected content.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    WebSocket,
    expect,
    sync_playwright,
)

PAGE = os.environ["LANDFALL_PAGE"]
TOKEN = os.environ["LANDFALL_TOKEN"]
FILE = Path(os.environ["LANDFALL_FILE"])
SCREENSHOTS = os.environ.get("LANDFALL_SCREENSHOTS")

DESK = {"width": 1200, "height": 860}
# Milliseconds. Longer than any step takes on a slow machine.
WITHIN = 120_000
expect.set_options(timeout=WITHIN)

# The browser logs this for each failed response. Responses are checked separately.
FAILED_RESPONSE = "Failed to load resource: the server responded with a status of"
# Jobs requested before they exist, and requests that tests expect to fail.
EXPECTED_REFUSALS = [
    (404, re.compile(r"/jobs/[0-9a-f-]{36}$")),
    (401, re.compile(r"/session$")),
    (400, re.compile(r"/datasets/products/rows$")),
    (400, re.compile(r"/jobs/[0-9a-f-]{36}/rejects$")),
    (404, re.compile(r"/datasets/products/rows/none$")),
]


class Expected:
    """The content of the file, parsed independently of Landfall."""

    def __init__(self, text: str) -> None:
        content = json.loads(text)
        self.records: int = content["records"]
        self.rejected: int = content["rejected"]
        # As shown in the page's tables: sku, name, description, in key order.
        self.rows = [[sku, name, description or "null"] for sku, (name, description) in content["rows"].items()]


@pytest.fixture(scope="session")
def expected() -> Expected:
    return Expected(Path(os.environ["LANDFALL_EXPECTED"]).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Root cannot use Chromium's sandbox. The page under test is trusted.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)
        yield browser
        browser.close()


class Watch:
    """Records errors, failed responses and requests to other hosts on every page."""

    def __init__(self, context: BrowserContext) -> None:
        self.problems: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        context.on("request", self._request)
        context.on("response", self._response)
        context.on("page", lambda page: page.on("websocket", self._socket))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(FAILED_RESPONSE):
            self.problems.append(message.text)

    def _request(self, request: Request) -> None:
        self._address(request.url)

    def _socket(self, socket: WebSocket) -> None:
        self._address(socket.url)

    def _address(self, url: str) -> None:
        # One server provides the local stack's API, WebSocket and buckets.
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != urlsplit(PAGE).netloc:
            self.problems.append(f"request to {parts.netloc}")

    def _response(self, response: Response) -> None:
        path = urlsplit(response.url).path
        if response.status >= 400 and not any(
            response.status == status and pattern.search(path) for status, pattern in EXPECTED_REFUSALS
        ):
            self.problems.append(f"{response.status} for {path}")


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the page in a new browser context, by default with the sign-in link; can block WebSockets."""
    watched: list[tuple[BrowserContext, Watch]] = []

    def visit(view: str = "", *, token: str | None = TOKEN, with_socket: bool = True, **options) -> Page:
        context = browser.new_context(**{"locale": "en-GB", "viewport": DESK} | options)
        context.set_default_timeout(WITHIN)
        watched.append((context, Watch(context)))
        if not with_socket:
            context.route_web_socket(re.compile(".*"), lambda socket: socket.close())
        page = context.new_page()
        page.goto(PAGE if token is None else f"{PAGE}#token={token}")
        if view:
            expect(page.get_by_role("heading", level=1)).to_have_text("Load")
            page.goto(PAGE + view)
        return page

    yield visit
    for context, _ in watched:
        context.close()
    problems = [problem for _, watch in watched for problem in watch.problems]
    assert problems == []


def check(page: Page) -> None:
    """Asserts that axe finds no violation and that the page does not scroll sideways."""
    violations = Axe().run(page).response["violations"]
    found = [
        (one["id"], [node["target"] for node in one["nodes"]], one["nodes"][0].get("failureSummary"))
        for one in violations
    ]
    assert found == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url


def screenshot(page: Page, name: str) -> None:
    """Takes a screenshot for the docs if LANDFALL_SCREENSHOTS is set."""
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def drop(file: Path, zone: Locator) -> None:
    """Drops a file as a file manager does, with an event that contains it."""
    page = zone.page
    # A script cannot open a file on disk. Only an input element can hold it.
    page.evaluate(
        """() => {
            const held = Object.assign(document.createElement('input'), { type: 'file', id: 'held', hidden: true });
            document.body.append(held);
        }"""
    )
    page.set_input_files("#held", file)
    transfer = page.evaluate_handle(
        """() => {
            const held = document.getElementById('held');
            const transfer = new DataTransfer();
            transfer.items.add(held.files[0]);
            held.remove();
            return transfer;
        }"""
    )
    for event in ("dragenter", "dragover", "drop"):
        zone.dispatch_event(event, {"dataTransfer": transfer})


def rows_shown(page: Page) -> list[list[str]]:
    """Returns the cells of the table, row by row."""
    return page.locator("tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )


def figure(page: Page, term: str) -> Locator:
    """Returns the element with the number below a term."""
    return (
        page.locator(".figures > div")
        .filter(has=page.get_by_role("term").get_by_text(term, exact=True))
        .get_by_role("definition")
    )
