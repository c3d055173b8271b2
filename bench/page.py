"""The page in a real browser: what it weighs, when it first paints, how long a thread of 2,000 messages takes to open, and whether frames
are late while a model streams 60 tokens a second into it.

    make bench-page

Chromium without a window, on loopback; the least of some rounds for times, since the machine is shared, the worst for frames.
"""

import argparse
import contextlib
import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from bench.machine import machine, tell
from headrace.web import assets
from tests.needs import need
from tests.server import Installation, Running, eventually, pool, priced
from tests.visitor import Visitor

MESSAGES = 2_000
TOKENS_PER_S = 60
STREAM_S = 8
WORDS = "Water runs down the headrace to the wheel and turns it, **slowly** at first, as `code` would have it."
FRAMES = """() => { window.gaps = []; let last = performance.now(); const look = (now) => { window.gaps.push(now - last); last = now;
  window.looking = requestAnimationFrame(look) }; window.looking = requestAnimationFrame(look) }"""


class Faucet(BaseHTTPRequestHandler):
    """Streams words at a steady rate, as long answers of Markdown come."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):  # the page is closed at the end, whatever is still to be said
            self._pour()

    def _pour(self) -> None:
        began, words = time.monotonic(), WORDS.split(" ")
        for at in range(TOKENS_PER_S * STREAM_S):
            ends = "\n\n" if at % 60 == 59 else "\n- " if at % 20 == 19 else " "
            self._say({"content": words[at % len(words)] + ends}, None)
            time.sleep(max(0.0, began + (at + 1) / TOKENS_PER_S - time.monotonic()))
        self._say({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, delta: dict[str, str], reason: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "faucet", "choices": [choice]}
        usage = {"usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}} if reason else {}
        self.wfile.write(b"data: " + json.dumps({**chunk, **usage}).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        pass


PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=5)
    rounds = ask.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, _faucet() as url, sync_playwright() as playwright:
        place = Installation(Path(folder), pool("vendor", url, "faucet") + priced("faucet"), forked=False)
        with place.serving() as running:
            browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
            figures = {**_weights(), **_figures(browser, running, rounds)}
            version = browser.version
            browser.close()
    rows = [(name.rpartition("_")[0].replace("_", " "), value, name.rpartition("_")[2]) for name, value in figures.items()]
    tell(f"{machine('headrace')}, Chromium {version}", ("what", "value", "unit"), rows, figures)


def _weights() -> dict[str, float]:
    """What comes before anything is shown, as it goes over the wire, and all that may come later."""
    found = assets()
    first = set(re.findall(r"/(assets/[^\"]+)", found["index.html"].content.decode()))
    sizes = {path: len(asset.packed or asset.content) for path, asset in found.items()}
    scripts = sum(size for path, size in sizes.items() if path in first and path.endswith(".js"))
    styles = sum(size for path, size in sizes.items() if path in first and path.endswith(".css"))
    later = sum(size for path, size in sizes.items() if path not in first and path.endswith((".js", ".css")))
    return {
        "js_initial_gzip_kb": round(scripts / 1024, 1),
        "css_initial_gzip_kb": round(styles / 1024, 1),
        "lazy_gzip_kb": round(later / 1024, 1),
    }


def _figures(browser: Browser, running: Running, rounds: int) -> dict[str, float]:
    visitor = Visitor(running).sign_in(running.key)
    thread = _long_thread(visitor)
    paints, opens = [], []
    for _ in range(rounds):
        with _signed_in(browser, visitor) as page:
            page.goto(running.url)
            page.get_by_role("textbox", name="Message").wait_for()
            paints.append(eventually(lambda page=page: page.evaluate(PAINTED)))
            opens.append(_opened_ms(page, thread))
    with _signed_in(browser, visitor) as page:
        page.goto(f"{running.url}/#/t/{thread}")
        page.get_by_text(f"Message {MESSAGES - 1}.").wait_for()
        gaps = _streamed(page)
    late = [gap for gap in gaps if gap > 100]
    return {
        "first_paint_ms": round(min(paints), 1),
        "thread_2000_open_ms": round(min(opens), 1),
        "frame_worst_while_streaming_ms": round(max(gaps), 1),
        "frames_over_100ms_count": len(late),
        "frame_p99_while_streaming_ms": round(sorted(gaps)[len(gaps) * 99 // 100], 1),
    }


def _opened_ms(page: Page, thread: str) -> float:
    """From the click to the last message, in the page."""
    page.evaluate(
        """([thread, words]) => { window.opened = new Promise((told) => { const began = performance.now(); location.hash = `#/t/${thread}`;
        const look = () => document.body.innerText.includes(words) ? requestAnimationFrame(() => told(performance.now() - began))
          : requestAnimationFrame(look); look() }) }""",
        [thread, f"Message {MESSAGES - 1}."],
    )
    return float(page.evaluate("() => window.opened"))


def _streamed(page: Page) -> list[float]:
    page.get_by_role("textbox", name="Message").fill("Go")
    page.keyboard.press("Enter")
    page.get_by_label("Being answered").get_by_text("Water").first.wait_for()
    page.evaluate(FRAMES)
    page.get_by_label("Being answered").wait_for(state="detached", timeout=(STREAM_S + 30) * 1_000)
    gaps: list[float] = page.evaluate("() => { cancelAnimationFrame(window.looking); return window.gaps }")
    return gaps


def _long_thread(visitor: Visitor) -> str:
    events: list[dict[str, object]] = []
    for number in range(0, MESSAGES, 2):
        text = f"Message {number + 1}. {WORDS}\n\n- one\n- two"
        events += [
            {"type": "PersonSaid", "text": f"Message {number}. {WORDS}"},
            {"type": "ModelSaid", "text": text},
            {"type": "Ended", "text": text},
        ]
    happened = [{"at": 10**18 + at * 10**9, "event": event} for at, event in enumerate(events)]
    file = {"format": "headrace-thread/1", "title": "Two thousand messages", "runs": [{"id": "one", "events": happened}]}
    return str(visitor.post("/import", file)["threads"][0])


@contextmanager
def _signed_in(browser: Browser, visitor: Visitor) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    (cookie,) = visitor.cookies
    context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": visitor.server.url}])
    yield context.new_page()
    context.close()


@contextmanager
def _faucet() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Faucet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


if __name__ == "__main__":
    main()
