"""The page as people use it. Tests run in order and build on rows loaded by earlier ones."""

import json
import re
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from conftest import FILE, PAGE, TOKEN, WITHIN, Expected, Visit, check, drop, figure, rows_shown, screenshot

# Records the progress bar of an open job. A bar without the badge belongs to a file that is still being uploaded.
RECORD_PROGRESS = """() => {
    window.seen = new Set();
    const record = () => {
        if (document.querySelector('.badge.open')) seen.add(document.querySelector('progress').position);
    };
    new MutationObserver(record).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
PARTLY_DONE = "() => [...seen].some((position) => position > 0 && position < 1)"


def heading(page: Page, name: str) -> Locator:
    return page.get_by_role("heading", level=1, name=name, exact=True)


def is_completion(frame: str | bytes) -> bool:
    return json.loads(frame)["type"] == "completed"


def show_all(more: Locator) -> None:
    """Clicks the button until all entries are shown."""
    while more.is_visible():
        more.click()
        expect(more.page.locator("button:disabled")).to_have_count(0)


def test_signing_in_requires_a_valid_token(visit: Visit) -> None:
    page = visit(token=None)
    page.get_by_label("Token", exact=True).fill("lf_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("token")
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    check(page)

    page.get_by_label("Token", exact=True).fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(heading(page, "Load")).to_be_visible()
    page.reload()
    expect(heading(page, "Load")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(heading(page, "Sign in")).to_be_visible()
    page.reload()
    expect(heading(page, "Sign in")).to_be_visible()

    by_link = visit(token="lf_wrong")
    expect(by_link.get_by_role("alert")).to_contain_text("not accepted")
    expect(by_link).to_have_url(PAGE)


def test_a_sign_in_link_works_only_on_the_local_stack(browser: Browser) -> None:
    elsewhere = "http://stack.example"
    local = PAGE.removesuffix(urlsplit(PAGE).path)

    def forward(route: Route) -> None:
        route.fulfill(response=route.fetch(url=route.request.url.replace(elsewhere, local)))

    context = browser.new_context()
    context.route(f"{elsewhere}/**", forward)
    page = context.new_page()
    address = PAGE.replace(local, elsewhere)
    page.goto(f"{address}#token={TOKEN}")
    expect(heading(page, "Sign in")).to_be_visible()
    expect(page).to_have_url(address)
    # A request that is being forwarded would fail in the next test.
    context.unroute_all(behavior="wait")
    context.close()


def test_a_dropped_file_shows_progress_until_it_succeeds(visit: Visit, expected: Expected) -> None:
    page = visit()
    loaded_at = page.evaluate("performance.timeOrigin")
    expect(page).to_have_url(f"{PAGE}#/load")
    page.get_by_label("Dataset").select_option("products")
    page.evaluate(RECORD_PROGRESS)
    with page.expect_websocket() as socket:
        drop(FILE, page.locator(".drop"))
    with socket.value.expect_event("framereceived", is_completion, timeout=WITHIN):
        page.get_by_role("link", name=FILE.name).click()
        expect(heading(page, FILE.name)).to_be_focused()
        page.wait_for_function(PARTLY_DONE)
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        screenshot(page, "page-loading")
        page.get_by_role("button", name="Show rejects").click()
        check(page)
    expect(page.locator(".state-line")).to_contain_text("Succeeded")
    expect(page.get_by_role("progressbar")).to_have_js_property("position", 1)
    summary = f"Succeeded: {expected.records:,} rows, {expected.rejected:,} rejected"
    expect(page.locator("#status")).to_have_text(summary)

    expect(figure(page, "Rows")).to_have_text(f"{expected.records:,}")
    expect(figure(page, "Rejected")).to_have_text(f"{expected.rejected:,}")
    # Includes rejects that were written after the first were shown.
    more = page.get_by_role("button", name="Show more rejects")
    expect(more).to_be_visible()
    show_all(more)
    rejects = page.get_by_role("region", name="Rejected records")
    expect(rejects.locator("tbody tr")).to_have_count(expected.rejected)
    stores = page.get_by_role("region", name="Rows by store and outcome")
    for store in ("MongoDB", "SQLite"):
        row = stores.get_by_role("row", name=store)
        outcomes = [int(text.replace(",", "")) for text in row.get_by_role("cell").all_inner_texts()]
        assert sum(outcomes) + expected.rejected == expected.records
    assert page.evaluate("performance.timeOrigin") == loaded_at, "the page was reloaded"


def test_rejects_show_line_and_reason(visit: Visit, expected: Expected) -> None:
    page = visit("#/jobs")
    page.get_by_role("link", name=FILE.name).click()
    table = page.get_by_role("region", name="Rejected records")
    expect(table).to_be_visible()
    more = page.get_by_role("button", name="Show more rejects")
    show_all(more)
    lines = FILE.read_bytes().splitlines()
    rejects = [row for row in rows_shown(page) if len(row) == 4]
    assert len(rejects) == expected.rejected
    for line, _, reason, record in rejects:
        expected_line = lines[int(line.replace(",", "")) - 1].decode(errors="replace")
        assert record.startswith(expected_line[:100]), f"line {line}"
        assert reason

    with page.expect_download() as download:
        page.get_by_role("button", name="Download all").click()
    downloaded = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(downloaded) == expected.rejected
    assert {json.loads(reject)["line"] for reject in downloaded} == {int(line.replace(",", "")) for line, *_ in rejects}

    # A record that changes no row.
    fixed = json.loads(downloaded[0])
    fixed["record"] = dict(zip(("sku", "name", "description"), expected.rows[0]))
    bare = {"name": "fixed.ndjson", "mimeType": "application/x-ndjson", "buffer": json.dumps(fixed["record"]).encode()}
    page.get_by_label("Upload fixed rejects").set_input_files(bare)
    expect(page.get_by_role("alert")).to_contain_text("line 1: the line is not one of the rejects")
    page.get_by_label("Upload fixed rejects").set_input_files({**bare, "buffer": json.dumps(fixed).encode()})
    page.get_by_role("link", name="a job of their own").click()
    expect(page.locator(".state-line")).to_contain_text("Succeeded")
    page.get_by_role("link", name=re.compile("^job ")).click()
    expect(heading(page, FILE.name)).to_be_visible()


def test_rows_can_be_paged_forwards_and_backwards(visit: Visit, expected: Expected) -> None:
    page = visit("#/data/products")
    page.get_by_label("Rows per page").select_option("200")
    expect(page.locator("tbody tr")).to_have_count(200)
    pages = [rows_shown(page)]
    for number in range(2, 6):
        page.get_by_role("link", name="Next").click()
        expect(page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
        pages.append(rows_shown(page))
    assert sum(pages, []) == expected.rows[:1000]
    for number in range(4, 2, -1):
        page.get_by_role("link", name="Previous").click()
        expect(page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
        assert rows_shown(page) == pages[number - 1]

    page.reload()
    expect(page.get_by_text("Page 3", exact=True)).to_be_visible()
    assert rows_shown(page) == pages[2]
    page.get_by_label("Read from").select_option("mongodb")
    expect(page.get_by_text("Page 1", exact=True)).to_be_visible()
    assert rows_shown(page) == pages[0]


def test_rows_are_filtered_and_sorted(visit: Visit, expected: Expected) -> None:
    page = visit("#/data/products")
    page.get_by_role("button", name="Add a filter").click()
    page.get_by_label("Field").select_option("name")
    page.get_by_label("Condition").select_option(label="starts with")
    page.get_by_label("Value").fill("Marble")
    page.get_by_role("button", name="Apply").click()
    marble = [row for row in expected.rows if row[1].startswith("Marble")]
    expect(page.get_by_role("row").nth(50)).to_contain_text(marble[49][0])
    assert rows_shown(page) == marble[:50]

    for order in ("ascending", "descending"):
        page.get_by_role("columnheader", name="name").get_by_role("link", name=f"sort {order}").click()
        expect(page.get_by_role("columnheader", name="name")).to_have_attribute("aria-sort", order)
        if order == "ascending":
            screenshot(page, "page-rows")
    shown = rows_shown(page)
    assert [name for _, name, _ in shown] == sorted((name for _, name, _ in marble), reverse=True)[:50]
    assert all(row in marble for row in shown)

    page.get_by_role("button", name="Remove this filter").click()
    expect(page.get_by_role("button", name="Apply")).to_be_hidden()
    page.go_back()
    expect(page.get_by_label("Value")).to_have_value("Marble")


def test_a_whole_row_is_shown_from_each_store(visit: Visit, expected: Expected) -> None:
    sku, name, description = expected.rows[1]
    page = visit("#/data/products")
    page.get_by_role("link", name=sku, exact=True).click()
    expect(heading(page, sku)).to_be_focused()
    for store in ("MongoDB", "SQLite"):
        page.get_by_role("link", name=store).click()
        expect(page.get_by_role("link", name=store)).to_have_attribute("aria-current", "page")
        expect(page.get_by_role("definition")).to_have_text([sku, name, description])


def test_totals_match_the_rows(visit: Visit, expected: Expected) -> None:
    page = visit("#/data/products")
    page.get_by_role("link", name="products_by_name").click()
    more = page.get_by_role("button", name="Show more groups")
    expect(more).to_be_visible()
    show_all(more)
    counts = Counter(name for _, name, _ in expected.rows)
    assert rows_shown(page) == [[name, str(counts[name])] for name in sorted(counts)]


def test_the_page_polls_without_a_socket(visit: Visit) -> None:
    page = visit(with_socket=False)
    page.get_by_label("Dataset").select_option("products")
    page.get_by_label("Paste rows").fill('[{"sku": "zz-1", "name": "Pasted lamp"}, {"sku": "zz-2"}]')
    page.get_by_role("button", name="Send rows").click()
    expect(page.get_by_text("Refreshing every few seconds")).to_be_visible()
    sent = page.get_by_role("listitem").filter(has_text="Pasted rows")
    expect(sent).to_contain_text("Succeeded 2 rows, 1 rejected")


def test_the_rows_view_reports_new_rows(visit: Visit) -> None:
    viewer = visit("#/data/products?where=name:eq:New%20lamp")
    expect(viewer.get_by_text("No rows match these filters.")).to_be_visible()
    expect(viewer.get_by_text("Live", exact=True)).to_be_visible()
    page = visit()
    page.get_by_label("Dataset").select_option("products")
    page.get_by_label("Paste rows").fill("sku\tname\nzz-3\tNew lamp\n")
    expect(page.get_by_label("Format")).to_have_value("tsv")
    page.get_by_role("button", name="Send rows").click()
    viewer.get_by_role("button", name="Reload rows").click()
    expect(viewer.get_by_role("link", name="zz-3")).to_be_visible()


def test_the_job_list_can_be_filtered_and_updates_itself(visit: Visit) -> None:
    page = visit("#/jobs")
    expect(page.get_by_role("row")).to_have_count(5)
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_text("No jobs match these filters.")).to_be_visible()
    page.get_by_label("State").select_option("All states")
    page.get_by_label("Dataset").select_option("products")
    expect(page.get_by_role("row")).to_have_count(5)
    expect(page.get_by_role("row").nth(4)).to_contain_text(FILE.name)

    other = visit()
    other.get_by_label("Dataset").select_option("products")
    other.get_by_label("Paste rows").fill('{"sku": "zz-4", "name": "Late lamp"}\n')
    other.get_by_role("button", name="Send rows").click()
    expect(page.get_by_role("row")).to_have_count(6)
    expect(page.get_by_role("row").nth(1)).to_contain_text("Succeeded")


def tab_to(page: Page, target: Locator) -> None:
    """Presses Tab until the target has the focus."""
    for _ in range(100):
        if target.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"cannot reach {target} with the Tab key")


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    expect(target).to_be_visible()
    tab_to(page, target)
    page.keyboard.press(key)


def test_the_page_works_with_the_keyboard_alone(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "few.csv"
    file.write_text("sku,name\nzz-5,Small lamp\nzz-6\n", encoding="utf-8")
    page = visit(token=None)
    tab_to(page, page.get_by_label("Token", exact=True))
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    expect(heading(page, "Load")).to_be_visible()

    tab_to(page, page.get_by_label("Dataset"))
    page.keyboard.type("products")
    with page.expect_file_chooser() as chooser:
        press(page, page.locator("#files"), "Space")
    chooser.value.set_files(file)
    press(page, page.get_by_role("link", name="few.csv"))
    expect(heading(page, "few.csv")).to_be_focused()
    expect(page.locator(".state-line")).to_contain_text("Succeeded")
    expect(page.get_by_role("region", name="Rejected records")).to_contain_text("zz-6")

    press(page, page.get_by_role("link", name="products", exact=True))
    expect(heading(page, "products")).to_be_focused()
    for number in (2, 3):
        press(page, page.get_by_role("link", name="Next"))
        expect(page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name="Next")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Page 2", exact=True)).to_be_visible()

    heading(page, "products").focus()
    press(page, page.get_by_role("button", name="Add a filter"))
    expect(page.get_by_label("Field")).to_be_focused()
    page.keyboard.type("sku")
    page.keyboard.press("Tab")
    page.keyboard.type("is")
    page.keyboard.press("Tab")
    page.keyboard.type("zz-5")
    page.keyboard.press("Enter")
    press(page, page.get_by_role("link", name="zz-5"))
    expect(heading(page, "zz-5")).to_be_focused()
    expect(page.get_by_role("definition").nth(1)).to_have_text("Small lamp")


LIGHT = {"color_scheme": "light"}
DARK = {"color_scheme": "dark"}
# The narrowest viewport that WCAG 2.2 requires pages to fit (reflow).
PHONE = {"color_scheme": "light", "viewport": {"width": 320, "height": 640}}


@pytest.mark.parametrize("options", [LIGHT, DARK, PHONE], ids=["light", "dark", "phone"])
def test_every_view_is_accessible(visit: Visit, options: dict, request: pytest.FixtureRequest) -> None:
    kind = request.node.callspec.id
    page = visit(**options)
    page.get_by_label("Dataset").select_option("products")
    page.get_by_label("Paste rows").fill("7")
    page.get_by_label("Format").select_option("json")
    page.get_by_role("button", name="Send rows").click()
    expect(page.get_by_role("alert")).to_contain_text("JSON array")
    expect(page.get_by_text("torn accepts no files")).to_be_visible()
    page.get_by_text("3 fields").click()
    check(page)

    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("table")).to_be_visible()
    check(page)
    page.get_by_role("link", name=FILE.name).click()
    expect(page.get_by_role("region", name="Rejected records")).to_be_visible()
    check(page)
    if kind == "dark":
        screenshot(page, "page-job")
    if kind == "phone":
        screenshot(page, "page-phone")

    page.get_by_role("link", name="Data").click()
    expect(heading(page, "products")).to_be_visible()
    page.get_by_role("button", name="Add a filter").click()
    expect(page.get_by_role("link", name="Next")).to_be_visible()
    check(page)
    page.get_by_role("rowheader").get_by_role("link").nth(1).click()
    expect(page.get_by_role("definition")).to_have_count(3)
    check(page)
    page.goto(f"{PAGE}#/data/products/totals/products_by_name")
    expect(page.get_by_role("table")).to_be_visible()
    check(page)
    page.goto(f"{PAGE}#/data/readings")
    expect(page.get_by_text("There are no rows yet.")).to_be_visible()
    check(page)
    page.goto(f"{PAGE}#/data/products/rows/none")
    expect(page.get_by_role("alert")).to_contain_text("no row with this key")
    check(page)

    page.get_by_role("link", name="Sources").click()
    expect(page.get_by_text("torn_feed does not run")).to_be_visible()
    expect(page.get_by_role("region", name="Sources")).to_be_visible()
    check(page)
    page.get_by_role("link", name="feed", exact=True).click()
    expect(heading(page, "feed")).to_be_visible()
    expect(page.get_by_role("button", name="Pause source")).to_be_visible()
    check(page)

    page.get_by_role("link", name="Destinations").click()
    expect(page.get_by_text("torn_shop does not send")).to_be_visible()
    expect(page.get_by_role("region", name="Destinations")).to_be_visible()
    check(page)
    page.get_by_role("link", name="shop", exact=True).click()
    expect(heading(page, "shop")).to_be_visible()
    expect(page.get_by_role("button", name="Pause destination")).to_be_visible()
    check(page)

    page.get_by_role("button", name="Sign out").click()
    expect(heading(page, "Sign in")).to_be_visible()
    check(page)


def test_a_file_of_a_new_dataset_is_checked_before_it_is_loaded(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "Visits 2026.csv"
    file.write_text("visit_id,visitors,day\n1,20,05.01.2026\n2,many,06.01.2026\n")
    page = visit()
    page.get_by_label("Dataset").select_option(label="New dataset, from a file")
    drop(file, page.locator(".drop"))
    rows = page.get_by_role("region", name="First rows")
    expect(rows).to_contain_text("many")
    expect(page.get_by_label("Key of column visit_id")).to_be_checked()
    check(page)

    # Choices rewrite the definition and check the file again.
    page.get_by_label("Type of column visitors").select_option("integer")
    expect(page.get_by_text("Line 3")).to_be_visible()
    page.get_by_label("Type of column visitors").select_option("text")
    page.get_by_label("Name of column day").fill("visited_on")
    page.get_by_label("Required of column visitors").check()
    page.get_by_label("Key of column visit_id").uncheck()
    expect(page.get_by_text("Without a key, every row is kept")).to_be_visible()
    expect(page.get_by_role("columnheader", name="visited_on")).to_be_visible()
    page.get_by_text("Edit the definition as text").click()
    definition = page.get_by_label("Definition")
    text = definition.input_value()
    for part in ['key = "position"', 'name = "visited_on"', 'column = "day"', 'required = true', 'format = "%d.%m.%Y"']:
        assert part in text

    # So does a change of the text.
    definition.fill(text.replace('key = "position"', 'key = ["visited_on"]'))
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_label("Key of column day")).to_be_checked()
    check(page)
    page.get_by_role("button", name="Create and load").click()
    page.get_by_role("link", name=file.name).click()
    expect(page.locator(".state-line")).to_contain_text("Succeeded", timeout=WITHIN)
    expect(figure(page, "Rows")).to_have_text("2")
    page.goto(f"{PAGE}#/data/visits_2026")
    expect(page.get_by_role("link", name="2026-01-05")).to_be_visible()


def test_a_dataset_is_resumed_and_paused_on_the_page_of_an_open_job(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = page.request.post(f"{PAGE}datasets/orders/pause", headers=headers)
    assert answer.ok, answer.text()
    order = {"order_id": 1, "customer": {}, "items": [], "total": "9.50", "placed_at": "2026-11-20T08:30:00Z"}
    file = tmp_path / "waiting.ndjson"
    file.write_text(json.dumps(order))
    page.get_by_label("Dataset").select_option("orders")
    drop(file, page.locator(".drop"))
    page.get_by_role("link", name=file.name).click()
    pause = page.get_by_role("button", name="Pause dataset orders")
    resume = page.get_by_role("button", name="Resume dataset orders")
    notice = page.get_by_text("The dataset has been paused since")
    expect(notice).to_be_visible()
    expect(page.get_by_text(f"By {answer.json()['paused']['by']}.")).to_be_visible()
    expect(pause).to_be_hidden()
    check(page)
    # Once delivered, the chunk waits for half a minute or more, so the job stays open meanwhile.
    resume.click()
    expect(notice).to_be_hidden()
    pause.click()
    expect(notice).to_be_visible()
    resume.click()
    expect(pause).to_be_visible()


def test_a_source_is_run_paused_and_resumed_on_its_page(visit: Visit) -> None:
    page = visit("#/sources")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="feed", exact=True))
    expect(row).to_contain_text("every 1 hour")
    # The source is due at once, and nothing listens at its address.
    expect(row).to_contain_text("Waiting to retry")
    row.get_by_role("link").click()
    expect(heading(page, "feed")).to_be_focused()
    expect(page.get_by_text("GET http://127.0.0.1:9/feed")).to_be_visible()
    again = re.compile(r"; walk \d+ over its pages goes on at")
    expect(page.get_by_text(again)).to_contain_text("Connection refused")

    pause = page.get_by_role("button", name="Pause source")
    run = page.get_by_role("button", name="Run now")
    notice = page.get_by_text("The source has been paused since")
    pause.click()
    expect(notice).to_be_visible()
    expect(run).to_be_hidden()
    check(page)
    page.get_by_role("button", name="Resume source").click()
    expect(notice).to_be_hidden()
    run.click()
    expect(page.locator("#status")).to_have_text("Run now: done")
    expect(page.get_by_text("within a minute")).to_be_visible()


def test_a_destination_is_paused_and_resumed_on_its_page(visit: Visit) -> None:
    page = visit("#/destinations")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="shop", exact=True))
    expect(row).to_contain_text("orders")
    row.get_by_role("link").click()
    expect(heading(page, "shop")).to_be_focused()
    expect(page.get_by_text("There are none.")).to_be_visible()

    pause = page.get_by_role("button", name="Pause destination")
    resume = page.get_by_role("button", name="Resume destination")
    notice = page.get_by_text("The destination has been paused since")
    pause.click()
    expect(notice).to_be_visible()
    # The task waits until the destination is resumed.
    page.get_by_role("button", name="Send existing rows").click()
    expect(page.get_by_role("region", name="Tasks")).to_contain_text("Send existing rows")
    check(page)
    resume.click()
    expect(notice).to_be_hidden()
    expect(pause).to_be_visible()
