"""The page in a real browser: what people do with it, what no other site can, and that it can be used by all."""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from headrace.core.clock import Moment
from headrace.core.shown import Bars, Figure, News, Shown, ShownTable, Stack
from headrace.storage import KeptReport, Reports
from headrace.web import assets
from tests.needs import missing, need
from tests.receiver import receiving
from tests.server import Installation, Running, pool, priced
from tests.shop import shop
from tests.talker import SCRIPTS, Talker, blind
from tests.visitor import API, Visitor

AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
DATA = Path(str(files("headrace.simulator"))) / "data" / "scenarios"
SLOW_MS = 20_000
pytestmark = pytest.mark.xdist_group("page")
commands = pytest.mark.sandbox(2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if "index.html" not in assets():
        missing("the page was not built: make page")
    chromium = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])  # as root it has none of its own
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[str, list[str]]]:
    with shop() as found:
        yield found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, talker: Talker, site: tuple[str, list[str]]) -> Installation:
    settings = f"[agents]\nprivate_networks = true\nports = [{urlsplit(site[0]).port}]\n"
    pools = pool("vendor", talker.url, *SCRIPTS) + blind(talker.url) + priced(*SCRIPTS)
    return Installation(tmp_path_factory.mktemp("house"), settings + pools)


@pytest.fixture(scope="module")
def server(browser: Browser, place: Installation) -> Iterator[Running]:
    with place.serving() as running:
        yield running


@pytest.fixture(scope="module")
def visitor(server: Running) -> Visitor:
    return Visitor(server).sign_in(server.key)


class Seen:
    """A page, and what went wrong in it: errors of scripts, refusals of its policy, requests to anywhere else."""

    def __init__(self, page: Page, server: Running) -> None:
        self.page, self.url, self.faults = page, server.url, list[str]()
        page.set_default_timeout(SLOW_MS)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on(
            "console", lambda said: self.faults.append(said.text) if "Content Security" in said.text or "Trusted" in said.text else None
        )
        page.on("request", lambda asked: self.faults.append(asked.url) if not asked.url.startswith((server.url, "blob:")) else None)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.url}/#/{path.removeprefix('/').replace('threads/', 't/')}")

    def send(self, text: str) -> None:
        self.page.get_by_role("textbox", name="Message").fill(text)
        self.page.keyboard.press("Enter")


@pytest.fixture
def seen(browser: Browser, server: Running, visitor: Visitor) -> Iterator[Seen]:
    """Somebody at a desk, signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    (cookie,) = visitor.cookies
    context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": server.url, "httpOnly": True, "sameSite": "Strict"}])
    seen = Seen(context.new_page(), server)
    yield seen
    context.close()
    assert seen.faults == []


def accessible(page: Page) -> None:
    """axe finds nothing serious."""
    if not AXE.exists():
        missing("axe-core is not installed: make page")
    client = page.context.new_cdp_session(page)  # past the page's policy, which lets no script in, and rightly
    client.send("Runtime.evaluate", {"expression": AXE.read_text()})
    told = client.send("Runtime.evaluate", {"expression": "axe.run().then(JSON.stringify)", "awaitPromise": True, "returnByValue": True})
    found = json.loads(told["result"]["value"])["violations"]
    serious = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


def looks_well(page: Page) -> None:
    """By day, by night, and within the width of a phone; then it is a desk by day again."""
    accessible(page)
    page.emulate_media(color_scheme="dark")
    accessible(page)
    page.set_viewport_size({"width": 390, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    accessible(page)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})


def test_the_link_of_the_start_signs_in_once_and_a_key_does(browser, server):
    found = re.search(r"http://\S+/#/in/\S+", server.said)
    assert found
    for works in (True, False):
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(SLOW_MS)
        page.goto(found[0])
        if works:
            expect(page.get_by_role("heading", name="What should be done?")).to_be_visible(timeout=SLOW_MS)
            assert "/in/" not in page.url, "what signs in is not left in the address"
        else:
            expect(page.get_by_role("alert")).to_contain_text("used before", timeout=SLOW_MS)
            accessible(page)
            page.get_by_label("API key").fill(server.key)
            page.keyboard.press("Enter")
            expect(page.get_by_role("textbox", name="Message")).to_be_visible(timeout=SLOW_MS)
        context.close()


def test_a_chat_streams_stops_and_stands_where_it_stood_after_a_reload(seen, talker):
    talker.go.clear()
    page = seen.page
    seen.go("")
    page.get_by_label("Model").select_option("slow")
    seen.send("Talk to me")
    expect(page.get_by_text("Water runs")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Water runs")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped.", exact=True).last).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("article").get_by_text("Water runs")).to_have_count(1)
    page.get_by_label("Model").select_option("echo")
    page.get_by_role("textbox", name="Message").fill("A draft")
    page.reload()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("A draft", timeout=SLOW_MS)
    page.get_by_label("Model").select_option("echo")
    page.get_by_role("textbox", name="Message").press("Enter")
    expect(page.get_by_text("You said: A draft")).to_be_visible(timeout=SLOW_MS)


def test_a_leave_is_asked_in_place_and_answered(seen, visitor):
    thread = visitor.thread(model="visitor")
    visitor.say(thread, "Look at that page", until="waiting", intent="task")
    page = seen.page
    seen.go("inbox")
    expect(page.get_by_text("You did not name collect.invalid.")).to_be_visible(timeout=SLOW_MS)
    seen.go(thread)
    expect(page.get_by_role("heading", name="This needs your leave")).to_be_visible(timeout=SLOW_MS)
    accessible(page)
    page.get_by_role("button", name="No", exact=True).click()
    expect(page.get_by_text("I could not read that page.")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text("refused", exact=True).first).to_be_visible()


def test_what_a_model_writes_is_shown_and_runs_nothing(seen, visitor):
    thread = visitor.thread(model="painter")
    visitor.say(thread, "Paint")
    page = seen.page
    seen.go(thread)
    expect(page.get_by_role("heading", name="A heading")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("pre .hljs-keyword").first).to_have_text("def", timeout=SLOW_MS)
    expect(page.locator(".katex").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("article img, article script")).to_have_count(0)
    expect(page.get_by_role("link", name="link", exact=True)).to_have_attribute("rel", "noreferrer noopener")
    assert page.evaluate("getComputedStyle(document.querySelector('article td.right')).textAlign") == "right"
    accessible(page)


def test_diagrams_are_drawn_and_a_faulty_one_says_why(seen, visitor):
    page = seen.page
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    thread = visitor.thread(model="echo")
    visitor.say(thread, "No diagram")
    seen.go(thread)
    expect(page.get_by_text("You said: No diagram")).to_be_visible(timeout=SLOW_MS)
    assert not any("diagrams" in url for url in asked), "it comes with the first diagram"
    thread = visitor.thread(model="drawer")
    visitor.say(thread, "Draw")
    seen.go(thread)
    pictures = page.locator("article .diagram img")
    expect(pictures).to_have_count(2, timeout=SLOW_MS)
    assert all(pictures.nth(at).evaluate("one => one.decode().then(() => one.naturalWidth > 100)") for at in range(2))
    expect(page.get_by_text("This diagram can't be drawn: this line can't be read: “a -->”.")).to_be_visible()
    page.get_by_text("Source").first.click()
    expect(page.get_by_text("flowchart LR ask[Ask]")).to_be_visible()
    accessible(page)
    page.emulate_media(color_scheme="dark")
    assert pictures.first.evaluate("one => one.decode().then(() => one.naturalWidth > 100)")


def test_code_is_shown_as_changed_lines_and_an_edit_branches(seen, visitor):
    thread = visitor.thread(model="coder")
    visitor.say(thread, "Write hello.py", intent="code")
    page = seen.page
    seen.go(thread)
    page.get_by_role("button", name="Write hello.py").click()
    panel = page.get_by_role("complementary", name="Work")
    if not panel.is_visible():
        page.get_by_role("button", name="Files, changes, cost").click()
    expect(panel.get_by_text("print('hello')")).to_be_visible(timeout=SLOW_MS)
    page.get_by_text("Write hello.py", exact=True).first.hover()
    page.get_by_role("button", name="Edit, and go another way from here").click()
    page.get_by_label("Say instead").fill("Write nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_text("2/2").first).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="The branch before").first.click()
    expect(page.get_by_text("1/2").first).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text("Write hello.py", exact=True).first).to_be_visible()


def test_what_is_told_late_of_one_branch_changes_no_other(seen, visitor):
    """The end of a run has the page ask anew how its thread stands; by the answer another branch may be shown."""
    thread = visitor.thread(model="coder")
    visitor.say(thread, "Write hello.py", intent="code")
    page, late = seen.page, []
    seen.go(thread)
    page.get_by_text("Write hello.py", exact=True).first.hover()
    page.get_by_role("button", name="Edit, and go another way from here").click()
    page.get_by_label("Say instead").fill("Write nothing")
    page.route(f"**{API}{thread}", lambda route: late.append((route, route.fetch())))
    with page.expect_request(f"**{API}{thread}", timeout=SLOW_MS):
        page.keyboard.press("Enter")
    page.get_by_role("button", name="The branch before").first.click()
    expect(page.get_by_text("1/2").first).to_be_visible(timeout=SLOW_MS)
    ((route, answer),) = late
    route.fulfill(response=answer)
    page.wait_for_timeout(200)
    expect(page.get_by_text("1/2").first).to_be_visible()
    page.unroute(f"**{API}{thread}")


def test_pictures_are_attached_pasted_and_dropped_and_who_sees_none_is_said_to(seen, tmp_path):
    page = seen.page
    seen.go("")
    page.get_by_label("Model").select_option("reader")
    dropped = """(name, wide) => {
        const canvas = new OffscreenCanvas(wide, wide / 2)
        canvas.getContext("2d").fillRect(0, 0, 9, 9)
        return canvas.convertToBlob().then((blob) => {
            const files = new DataTransfer()
            files.items.add(new File([blob], "river.png", { type: "image/png" }))
            const said = { bubbles: true, cancelable: true }
            const field = document.querySelector("textarea")
            field.dispatchEvent(name === "drop" ? new DragEvent(name, { ...said, dataTransfer: files })
                : new ClipboardEvent(name, { ...said, clipboardData: files }))
        })
    }"""
    for name, wide in (("drop", 4_000), ("paste", 40)):
        page.evaluate(f"([name, wide]) => ({dropped})(name, wide)", [name, wide])
        expect(page.get_by_role("img", name="river.png")).to_have_count(1 if name == "drop" else 2)
    expect(page.get_by_role("status").filter(has_text="reader sees no pictures")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    accessible(page)
    page.get_by_role("button", name="Leave river.png out").first.click()
    page.get_by_label("Model").select_option("seer")
    seen.send("Which river?")
    expect(page.get_by_text(re.compile("I see image/png of .* bytes with: Which river"))).to_be_visible(timeout=SLOW_MS)
    picture = page.get_by_role("img", name="What you showed, 1 of 1")
    expect(picture).to_be_visible()
    assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 40
    accessible(page)


def test_changes_are_taken_over_piece_by_piece(seen, visitor, tmp_path):
    project, lines = tmp_path / "project", [f"line {number}\n" for number in range(12)]
    project.mkdir()
    (project / "list.txt").write_text("".join(lines))
    thread = visitor.thread(model="echo", folder=str(project))
    visitor.call("PUT", f"/workspace/api{thread}/files/list.txt", "".join(["first\n", *lines[1:11], "last"]).encode())
    page = seen.page
    seen.go(thread)
    panel = page.get_by_role("complementary", name="Work")
    panel.get_by_role("checkbox", name=re.compile("^Line 1 ")).uncheck(timeout=SLOW_MS)
    accessible(page)
    panel.get_by_role("button", name="Take over chosen").click()
    expect(panel.get_by_text("1 taken over")).to_be_visible(timeout=SLOW_MS)
    assert (project / "list.txt").read_text() == "".join([*lines[:11], "last"])
    expect(panel.get_by_text("first")).to_be_visible()
    panel.get_by_role("button", name="Give up").click()
    expect(panel.get_by_text("All that was changed is taken over.")).to_be_visible(timeout=SLOW_MS)
    panel.get_by_role("button", name="Undo all").click()
    expect(panel.get_by_text("1 changed")).to_be_visible(timeout=SLOW_MS)
    assert (project / "list.txt").read_text() == "".join(lines)


@commands
def test_what_a_command_says_is_seen_as_it_comes_and_after_a_reload(seen, visitor):
    thread = visitor.thread(model="shell", intent="code")
    page = seen.page
    seen.go(thread)
    seen.send("Run it")
    output = page.get_by_role("complementary", name="Work").get_by_role("log")
    expect(output).to_contain_text("a red word", timeout=SLOW_MS)
    expect(output.locator(".red")).to_have_text("red")
    expect(output.get_by_text("100%", exact=True)).to_be_visible()
    accessible(page)
    page.reload()
    expect(output.get_by_text("100%", exact=True)).to_be_visible(timeout=SLOW_MS)
    assert visitor.call("PUT", f"{API}{thread}/files/go", b"")[0] == 201
    expect(output).to_contain_text("gone on", timeout=SLOW_MS)
    expect(page.get_by_text("It ran.", exact=True)).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("tab", name="Terminal").click()
    expect(output).to_contain_text("\N{REPLACEMENT CHARACTER}")


@commands
def test_a_command_is_stopped_and_the_run_goes_on(seen, visitor):
    thread = visitor.thread(model="waiter", intent="code")
    page = seen.page
    seen.go(thread)
    seen.send("Wait")
    output = page.get_by_role("complementary", name="Work").get_by_role("log")
    expect(output).to_have_text("waiting", timeout=SLOW_MS)
    page.get_by_role("button", name="Stop it").click()
    expect(page.get_by_text("Somebody stopped it.")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("tab", name="Terminal").click()
    expect(page.get_by_text("The person stopped it.")).to_be_visible()
    expect(output).to_have_text("waiting")


def test_a_schedule_is_made_in_words_rests_and_is_taken_back(seen):
    page = seen.page
    seen.go("schedules")
    expect(page.get_by_text("No schedules yet.")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("main").get_by_role("button", name="New").click()
    page.get_by_label("What is to be done").fill("Say good morning")
    page.get_by_label("When").fill("now and then")
    expect(page.get_by_role("status").filter(has_text="It is not clear when")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Make", exact=True)).to_be_disabled()
    page.get_by_label("When").fill("every weekday 9:00")
    expect(page.get_by_text(re.compile("^Next: "))).to_be_visible(timeout=SLOW_MS)
    page.get_by_text("What it may do without asking").click()
    page.get_by_label("Calls of tools").fill("fetch url=https://a.example x2")
    accessible(page)
    page.get_by_role("button", name="Make", exact=True).click()
    page.get_by_role("button", name="Say good morning").click()
    expect(page.get_by_text("It may use fetch up to 2 times a run, with url “https://a.example”.")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text(re.compile("^paused since"))).to_be_visible(timeout=SLOW_MS)
    page.emulate_media(color_scheme="dark")
    accessible(page)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("No schedules yet.")).to_be_visible(timeout=SLOW_MS)


def test_a_webhook_is_made_tried_told_again_rests_and_is_deleted(seen):
    page = seen.page
    with receiving() as receiver:
        seen.go("webhooks")
        expect(page.get_by_text("No webhooks yet.")).to_be_visible(timeout=SLOW_MS)
        page.get_by_role("main").get_by_role("button", name="New").click()
        page.get_by_label("Address").fill("ftp://example.org/")
        page.get_by_label("run.finished").check()
        looks_well(page)
        page.get_by_role("button", name="Make", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("no address of a web server", timeout=SLOW_MS)
        page.get_by_label("Address").fill(receiver.url)
        page.get_by_role("button", name="Make", exact=True).click()
        expect(page.get_by_text(re.compile("^whsec_"))).to_be_visible(timeout=SLOW_MS)
        page.reload()
        page.get_by_role("button", name=receiver.url).click()
        expect(page.get_by_text(re.compile("^whsec_")), "it is shown once").to_have_count(0)
        receiver.fails = [500]
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.get_by_text("once: it answered with 500")).to_be_visible(timeout=SLOW_MS)
        page.get_by_role("button", name=re.compile("^Tell test of")).click()
        expect(page.get_by_role("cell", name="heard")).to_be_visible(timeout=SLOW_MS)
        assert receiver.kinds() == ["test", "test"]
        looks_well(page)
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_text(re.compile("^paused since"))).to_be_visible(timeout=SLOW_MS)
        expect(page.get_by_role("button", name="Test", exact=True)).to_have_count(0)
        page.get_by_role("button", name="Go on").click()
        expect(page.get_by_role("button", name="Test", exact=True)).to_be_visible(timeout=SLOW_MS)
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_text("No webhooks yet.")).to_be_visible(timeout=SLOW_MS)


def test_what_is_closed_while_the_page_looks_again_stays_closed(seen, visitor):
    page = seen.page
    late: list[Route] = []
    made = visitor.post("/webhooks", {"url": "https://example.org/closed"})
    try:
        seen.go("webhooks")
        line = page.get_by_role("button", name="https://example.org/closed")
        line.click()
        expect(line).to_have_attribute("aria-expanded", "true", timeout=SLOW_MS)
        page.route(f"**/webhooks/{made['id']}", lambda route: late.append(route))
        with page.expect_request(f"**/webhooks/{made['id']}", timeout=SLOW_MS):
            pass
        line.click()
        expect(line).to_have_attribute("aria-expanded", "false")
        with page.expect_response(f"**/webhooks/{made['id']}"):
            late[0].continue_()
        page.wait_for_timeout(200)
        expect(line).to_have_attribute("aria-expanded", "false")
    finally:
        visitor.call("DELETE", f"{API}/webhooks/{made['id']}")


def test_a_trigger_is_made_called_and_taken_back(seen, visitor):
    page = seen.page
    seen.go("schedules")
    page.get_by_role("navigation", name="Automation").get_by_role("link", name="Triggers").click()
    expect(page.get_by_text("No triggers yet.")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("main").get_by_role("button", name="New").click()
    page.get_by_label("What is to be done with each message").fill("Note what came")
    page.get_by_label("Model").select_option("echo")
    page.get_by_label("Most a run may cost, $").fill("0.10")
    page.get_by_text("What it may do without asking").click()
    looks_well(page)
    page.get_by_role("button", name="Make", exact=True).click()
    secret = page.get_by_text(re.compile("^whsec_."))
    expect(secret).to_be_visible(timeout=SLOW_MS)
    address = page.get_by_text(re.compile("/hooks/trg_")).inner_text()
    signature = hmac.new(secret.inner_text().encode(), b"{}", hashlib.sha256).hexdigest()
    path = address.removeprefix(seen.url)
    assert visitor.call("POST", path, b"{}", x_hub_signature_256=f"sha256={signature}", x_github_delivery="build-7")[0] == 202
    page.get_by_role("button", name="I have it").click()
    page.get_by_role("button", name="Note what came").first.click()
    expect(page.get_by_role("cell", name="build-7")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text(re.compile(r"^Each run may use \$0\.10"))).to_be_visible()
    looks_well(page)
    page.get_by_role("cell", name="open").get_by_role("link").click()
    expect(page.get_by_text("You said: Note what came")).to_be_visible(timeout=SLOW_MS)
    seen.go("triggers")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("main").get_by_role("button", name="Note what came").click()
    page.get_by_role("button", name="Take back").click()
    expect(page.get_by_text("No triggers yet.")).to_be_visible(timeout=SLOW_MS)


def browsing(seen: Seen, visitor: Visitor, site: tuple[str, list[str]]) -> tuple[str, Locator]:
    """A thread whose agent has opened a page and waits for leave, and the part of the window in which its browser is seen."""
    thread = visitor.thread(model="guest", intent="browse")
    seen.go(thread)
    seen.send(f"Read {site[0]}/sign-in")
    expect(seen.page.get_by_role("heading", name="This needs your leave")).to_be_visible(timeout=SLOW_MS)
    return thread, seen.page.get_by_role("complementary", name="Work")


def click_seen(work: Locator, picture: Locator, x: int, y: int) -> None:
    """Where the page that the picture shows is so many of its own points from its corner."""
    box = picture.bounding_box()
    assert box is not None
    scale = box["width"] / 1_280
    work.get_by_role("textbox", name="The page").click(position={"x": x * scale, "y": y * scale})


@pytest.mark.sandbox(3)
def test_the_agents_browser_is_seen_taken_and_given_back(seen, visitor, site):
    page = seen.page
    thread, work = browsing(seen, visitor, site)
    expect(work.get_by_text("Sign in, please.")).to_be_visible()
    picture = work.get_by_role("img", name="What the browser shows: Sign in")
    expect(picture).to_be_visible(timeout=SLOW_MS)
    work.get_by_role("button", name="Take over").click()
    expect(work.get_by_role("textbox", name="The page")).to_be_focused()
    accessible(page)
    click_seen(work, picture, 40, 220)
    page.keyboard.type("hunter22")
    page.keyboard.press("Enter")
    expect(work.get_by_role("img", name="What the browser shows: In")).to_be_visible(timeout=SLOW_MS)
    work.get_by_role("button", name="Give back at 127.0.0.1").click()
    expect(page.get_by_text("I have read it.")).to_be_visible(timeout=SLOW_MS)
    expect(work.get_by_role("img", name="What the browser shows: Details")).to_be_visible(timeout=SLOW_MS)
    assert "POST 127.0.0.1/in user=&word=hunter22" in site[1]
    told = visitor.get(f"{thread}/log")["events"]
    assert "Oak." in str(told), "the click after it was made in the same browser"
    assert "hunter22" not in str(told)


@pytest.mark.sandbox(3)
def test_who_has_the_browser_chooses_from_a_list_beside_its_picture(seen, visitor, site):
    page = seen.page
    thread, work = browsing(seen, visitor, site)
    work.get_by_role("button", name="Take over").click()
    work.get_by_role("textbox", name="Address").fill(f"{site[0]}/lists")
    page.keyboard.press("Enter")
    picture = work.get_by_role("img", name="What the browser shows: Lists")
    expect(picture).to_be_visible(timeout=SLOW_MS)
    click_seen(work, picture, 40, 120)
    choices = work.get_by_role("group", name="Choices of Size")
    expect(choices.get_by_role("button", name="Small", pressed=True)).to_be_visible(timeout=SLOW_MS)
    expect(choices.get_by_role("button", name="None")).to_be_disabled()
    looks_well(page)
    choices.get_by_role("button", name="Large").click()
    expect(work.get_by_role("img", name="What the browser shows: Large is chosen")).to_be_visible(timeout=SLOW_MS)
    expect(choices.get_by_role("button", name="Large", pressed=True)).to_be_visible(timeout=SLOW_MS)
    expect(work.get_by_role("textbox", name="The page")).to_be_focused()
    visitor.call("POST", f"{API}{thread}/stop", {})


def test_plans_and_simulations_are_kept_for_the_console(seen, place):
    page = seen.page
    seen.go("console/reports")
    expect(page.get_by_text("headrace simulate --scale")).to_be_visible(timeout=SLOW_MS)
    table = ShownTable(
        "Classes", ("class", "within"), (1,), (("realtime", News("91.00%", good=False)), ("batch", News("100.00%", good=True)))
    )
    seen_as = Shown(
        title="small, balanced",
        figures=(Figure("163,267", "tokens a minute"),),
        sentences=("Seed 1.",),
        good=False,
        stacks=(Stack("Requests", "requests", ("0 h", "1 h"), ("served",), ((3.0, 4.0),)),),
        bars=(Bars("How full", ("a", "b"), (0.1, 1.0), ("10 %", "100 %")),),
        tables=(table,),
    )
    kept = KeptReport(
        id="report_1", kind="simulation", made=Moment(10**18), line="headrace simulate", shown=seen_as, whole=msgspec.Raw(b"{}")
    )
    Reports(place.data / "reports").keep(kept)
    page.reload()
    page.get_by_role("button", name="small, balanced", exact=True).click()
    expect(page.get_by_role("heading", name="small, balanced missed something")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("cell", name="91.00%")).to_have_text("91.00%")
    looks_well(page)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("No plans or simulations yet.")).to_be_visible(timeout=SLOW_MS)


def test_a_simulation_is_begun_in_the_page_seen_and_stopped(seen, place):
    """The terminal's own command does it; its report is in the list that is there already."""
    page = seen.page
    (place.data / "scenarios").mkdir()
    (place.data / "scenarios" / "mine.toml").write_text((DATA / "small.toml").read_text())
    seen.go("console/reports")
    page.get_by_role("main").get_by_role("button", name="New").click()
    page.get_by_label("Scenario").select_option("paste one")
    page.get_by_label("Scenario (TOML)").fill("[[pool]]\nname = 3\n")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("alert")).to_contain_text("$.pool[0].name", timeout=SLOW_MS)
    expect(page.get_by_label("Scenario (TOML)")).to_have_attribute("aria-invalid", "true")
    looks_well(page)
    page.get_by_role("combobox").select_option("mine.toml")
    page.get_by_label("Hours, on the virtual clock").fill("200")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_text("Simulating")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("came to nothing: Somebody stopped it.")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("main").get_by_role("button", name="New").click()
    page.get_by_label("Hours, on the virtual clock").fill("0.01")
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Open the last simulation").click(timeout=3 * SLOW_MS)
    expect(page.get_by_role("heading", name=re.compile("^mine"))).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Delete").click()


def test_words_are_found_by_the_keyboard_alone(seen, visitor):
    visitor.say(visitor.thread(model="echo"), "The aqueduct of Segovia")
    page = seen.page
    seen.go("")
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("aqueduct")
    expect(page.get_by_role("option").filter(has_text="You said").first).to_be_visible(timeout=SLOW_MS)
    accessible(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text("You said: The aqueduct of Segovia")).to_be_visible(timeout=SLOW_MS)


def test_the_console_shows_the_books_at_a_desk_and_by_night(seen, visitor):
    visitor.say(visitor.thread(model="echo"), "Count me")
    page = seen.page
    page.emulate_media(color_scheme="dark")
    seen.go("console")
    expect(page.get_by_role("heading", name="Money today")).to_be_visible(timeout=SLOW_MS)
    accessible(page)
    seen.go("console/usage")
    expect(page.get_by_role("cell", name="echo").first).to_be_visible(timeout=SLOW_MS)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert Path(download.value.path()).read_text().startswith("From,model,Requests")
    seen.go("console/requests")
    page.get_by_role("table").get_by_role("button").filter(has_text=re.compile(r"\d\d:\d\d")).first.click()
    expect(page.get_by_role("heading", name="Attempt 1: vendor")).to_be_visible(timeout=SLOW_MS)
    accessible(page)


def test_a_phone_has_all_of_it_within_its_width(browser, server, place):
    """Somebody else, who sees nothing of the first one's."""
    key = place.run("keys", "create", "ben", "--organization", "default", "--project", "default").stdout.strip()
    context = browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    seen = Seen(context.new_page(), server)
    page = seen.page
    seen.go("")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    page.get_by_label("Model").select_option("echo")
    seen.send("From a phone")
    expect(page.get_by_text("You said: From a phone")).to_be_visible(timeout=SLOW_MS)
    accessible(page)
    page.get_by_role("button", name="Files, changes, cost").click()
    expect(page.get_by_role("complementary", name="Work")).to_be_visible()
    page.get_by_role("button", name="Close the panel").click()
    page.get_by_role("link", name="Threads").click()
    expect(page.get_by_role("main").get_by_role("link", name=re.compile("^From a phone"))).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("main").get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_role("link", name="Console")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
    assert seen.faults == []
