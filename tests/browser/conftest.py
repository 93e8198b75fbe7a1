"""What the tests of the page share: the browser, and what must hold on whatever page is opened in it.

`tests/end_to_end/browser.rs` starts them. It tells by the environment where the page is, the token (no command line
shows it), the file to drop, and what that holds.
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
# Milliseconds; longer than anything takes on a slow machine.
WITHIN = 120_000
expect.set_options(timeout=WITHIN)

# What the browser notes of an answer; answers are looked at themselves.
OF_AN_ANSWER = "Failed to load resource: the server responded with a status of"
# Jobs that are not there before their file has been seen; what tests ask for in vain.
EXPECTED_REFUSALS = [
    (404, re.compile(r"/jobs/[0-9a-f-]{36}$")),
    (401, re.compile(r"/session$")),
    (400, re.compile(r"/datasets/products/rows$")),
    (404, re.compile(r"/datasets/products/rows/none$")),
]


class Expected:
    """What the file holds, by a reading of it that is not Landfall's."""

    def __init__(self, text: str) -> None:
        content = json.loads(text)
        self.records: int = content["records"]
        self.rejected: int = content["rejected"]
        # As tables of the page show them: sku, name, description; in the order of keys.
        self.rows = [[sku, name, description or "null"] for sku, (name, description) in content["rows"].items()]


@pytest.fixture(scope="session")
def expected() -> Expected:
    return Expected(Path(os.environ["LANDFALL_EXPECTED"]).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Without Chromium's sandbox, which root cannot have: the page is our own.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), chromium_sandbox=False)
        yield browser
        browser.close()


class Watch:
    """Notes what must not happen on any page."""

    def __init__(self, context: BrowserContext) -> None:
        self.faults: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(str(error.error)))
        context.on("request", self._request)
        context.on("response", self._response)
        context.on("page", lambda page: page.on("websocket", self._socket))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(OF_AN_ANSWER):
            self.faults.append(message.text)

    def _request(self, request: Request) -> None:
        self._address(request.url)

    def _socket(self, socket: WebSocket) -> None:
        self._address(socket.url)

    def _address(self, url: str) -> None:
        # The local stack's API, WebSocket and buckets are one server.
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != urlsplit(PAGE).netloc:
            self.faults.append(f"request to {parts.netloc}")

    def _response(self, response: Response) -> None:
        path = urlsplit(response.url).path
        if response.status >= 400 and not any(
            response.status == status and pattern.search(path) for status, pattern in EXPECTED_REFUSALS
        ):
            self.faults.append(f"{response.status} of {path}")


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens the page in a new browser, by a link as the local stack prints it; WebSockets may be refused."""
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
    faults = [fault for _, watch in watched for fault in watch.faults]
    assert faults == []


def check(page: Page) -> None:
    """Nothing that axe knows is wrong, and nothing is cut off at the side."""
    violations = Axe().run(page).response["violations"]
    found = [
        (one["id"], [node["target"] for node in one["nodes"]], one["nodes"][0].get("failureSummary"))
        for one in violations
    ]
    assert found == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url


def screenshot(page: Page, name: str) -> None:
    """A picture for the docs, where they are wanted."""
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def drop(file: Path, zone: Locator) -> None:
    """Drops a file as a file manager does: by an event that has it."""
    page = zone.page
    # A script can make no file of one on the disk; only an input has it.
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
    """The cells of the table, row by row."""
    return page.locator("tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )


def figure(page: Page, term: str) -> Locator:
    """The number below a term."""
    return (
        page.locator(".figures > div")
        .filter(has=page.get_by_role("term").get_by_text(term, exact=True))
        .get_by_role("definition")
    )
