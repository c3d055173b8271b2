"""The browser's tools performed: Chromium in the sandbox, driven by Playwright, seen as accessibility trees with references.

It starts with the first page that is opened, and ends with the run, or a while after where people may see and use it. A host is reached
from the moment at which a page of it was opened with leave; what a page wants from other hosts is refused by the proxy, and told. A
reference is good until the page is seen again, or the person has had it.
"""

import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from msgspec import structs

from headrace.agents import Writers
from headrace.agents.browsing import BROWSER, HAND_OVER, OWN
from headrace.agents.tools import Tool
from headrace.agents.values import Value
from headrace.core.errors import InvalidRequest, SandboxRefused
from headrace.sandbox import Draft, Level
from headrace.sandbox.browser import browser_environment, browser_program
from headrace.sandbox.command import PROXY_PORT
from headrace.sandbox.draft import open_beneath
from headrace.sandbox.egress import PORTS, Egress, Reach
from headrace.workspace.stage import BrowserStage, host_of
from headrace.workspace.window import Window

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Locator, Page, Request, Route, WebSocketRoute

SNAPSHOT_CHARS_MAX: Final = 12_000
WORDS_CHARS_MAX: Final = 60_000
DOWNLOAD_BYTES_MAX: Final = 200 << 20
OPEN_MS_MAX: Final = 30_000
ACT_MS_MAX: Final = 10_000
SETTLE_MS_MAX: Final = 3_000
AROUND_LINES: Final = 3
_ASKS_ONLY: Final = frozenset(("GET", "HEAD", "OPTIONS"))

Arguments: TypeAlias = Mapping[str, Value]


class Browser:
    """A kit of tools over one browser. `ports` opens more than the internet's two, for tests and for services of one's own. With a `home`,
    the run's folder, people see it there and may take it."""

    writers = Writers.PERSON

    def __init__(
        self, program: str, draft: Draft, level: Level, *, ports: frozenset[int] = PORTS, private: bool = False, home: Path | None = None
    ) -> None:
        self._program, self._draft, self._level = program, draft, level
        self._egress = Egress(Reach(frozenset(), ports, private))
        self._stage = BrowserStage(self._egress)
        self._window = None if home is None else Window(home, self._stage)
        self.tools: Sequence[Tool] = BROWSER if home is None else (*BROWSER, HAND_OVER)
        self._stack = AsyncExitStack()
        self._sending = False
        self._held_back: list[str] = []
        self._missed: list[str] = []
        self._does: dict[str, Callable[[Arguments], Awaitable[Value]]] = {
            "browser_open": self._open,
            "browser_look": self._look,
            "browser_read": self._read,
            "browser_click": self._click,
            "browser_type": self._type,
            "browser_submit": self._submit,
            "browser_download": self._download,
            "browser_hand_over": self._look,
        }

    @property
    def pulse(self) -> int | None:
        """Grows as a person uses it; None while none is open."""
        page = self._stage.page
        return None if page is None or page.is_closed() or self._window is None else self._stage.acts

    async def perform(self, tool: str, arguments: Arguments) -> Value:
        """Make one call. Where the browser fails that is a result, since a page can have a part in its words; else raises HeadraceError."""
        from playwright.async_api import Error

        async with self._stage.agents():
            try:
                told = await self._does[tool](arguments)
            except Error as wrong:
                told = {"error": f"The browser could not do it: {_first_line(wrong)}{self._refused()}"}
            return self._owned(await self._stage.hide(told))

    def _owned(self, told: Value) -> Value:
        """Once the person has had the browser, its pages may be what only they get to see."""
        if not self._stage.used or not isinstance(told, dict):
            return told
        return {f"{OWN}{name}": value for name, value in told.items()}

    async def close(self) -> None:
        """End the browser."""
        await self._stack.aclose()

    async def _start(self) -> "Page":
        from playwright.async_api import async_playwright

        place = self._draft.place
        downloads = place / "downloads"
        downloads.mkdir(exist_ok=True)
        proxy = place / "browser.sock"
        await self._egress.start(proxy)
        self._stack.push_async_callback(self._egress.stop)
        program = browser_program(self._program, self._draft, self._level, proxy, downloads)
        playwright = await self._stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(
            executable_path=program,
            chromium_sandbox=True,
            downloads_path=downloads,
            env=browser_environment(),
            proxy={"server": f"http://127.0.0.1:{PROXY_PORT}", "bypass": "<-loopback>"},
            args=["--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--no-pings", "--disable-background-networking"],
            timeout=OPEN_MS_MAX,
        )
        self._stack.push_async_callback(browser.close)
        context = await browser.new_context(accept_downloads=True, service_workers="block")
        context.set_default_timeout(ACT_MS_MAX)
        await self._guard(context)
        page = await context.new_page()
        if self._window is not None:
            await self._window.open()
            self._stack.push_async_callback(self._window.close)
        return page

    async def _guard(self, context: "BrowserContext") -> None:
        async def look(route: "Route") -> None:
            request = route.request
            if not self._is_reached(request.url):
                await route.abort("addressunreachable")  # the proxy would refuse it; so it is told at once
            elif request.method in _ASKS_ONLY or self._sending or self._stage.held:
                await route.continue_()
            else:
                self._held_back.append(f"{request.method} {host_of(request.url)}")
                await route.abort("blockedbyclient")

        await context.route("**/*", look)
        await context.route_web_socket("**/*", self._connect)
        context.on("page", self._turn_to)
        context.on("requestfailed", self._miss)

    async def _connect(self, socket: "WebSocketRoute") -> None:
        """A socket sends whatever it likes, so only the person's pages have any."""
        if not self._stage.held or not self._is_reached(socket.url):
            await socket.close()
            return
        self._stage.at_end(socket.connect_to_server().close)

    def _turn_to(self, page: "Page") -> None:
        """The last page that opened is the one that is seen."""
        self._stage.page = page

    def _miss(self, request: "Request") -> None:
        """What the page wants from a host that was not opened, also by way of a redirection."""
        if not self._is_reached(request.url):
            self._missed.append(host_of(request.url))

    def _is_reached(self, url: str) -> bool:
        """Data that lies in the page itself has no host."""
        host = host_of(url)
        return not host or self._egress.reach.holds(host)

    async def _open(self, arguments: Arguments) -> Value:
        url = _text(arguments, "url")
        url = url if "://" in url else f"https://{url}"
        host = host_of(url)
        if urlsplit(url).scheme not in ("http", "https") or not host:
            raise SandboxRefused(f"{url} is no address of the web.")
        reach = self._egress.reach
        self._egress.reach = structs.replace(reach, hosts=reach.hosts | {host})
        if self._stage.page is None:
            self._stage.page = await self._start()
        await self._stage.page.goto(url, timeout=OPEN_MS_MAX, wait_until="domcontentloaded")
        return await self._seen()

    async def _look(self, arguments: Arguments) -> Value:
        ref, find = _text(arguments, "ref", ""), _text(arguments, "find", "")
        return await self._seen(await self._element(ref) if ref else None, find)

    async def _read(self, arguments: Arguments) -> Value:
        ref = _text(arguments, "ref", "")
        words = await (await self._element(ref) if ref else self._there().locator("body")).inner_text()
        return {"url": self._there().url, "text": words[:WORDS_CHARS_MAX]}

    async def _click(self, arguments: Arguments) -> Value:
        element = await self._element(_text(arguments, "ref"))
        await self._stage.mark("click", element)
        await element.click()
        return await self._seen()

    async def _type(self, arguments: Arguments) -> Value:
        self._stays_at(_text(arguments, "host"))
        field, text = await self._element(_text(arguments, "ref")), _text(arguments, "text")
        await self._stage.mark("type", field)
        if await field.evaluate("field => field.tagName") == "SELECT":
            await field.select_option(label=text)
        else:
            await field.fill(text)
        if _text(arguments, "enter", "").casefold() in ("yes", "true"):
            await field.press("Enter")
        return await self._seen()

    async def _submit(self, arguments: Arguments) -> Value:
        self._stays_at(_text(arguments, "host"))
        element, what = await self._element(_text(arguments, "ref")), _text(arguments, "what")
        shown = await element.evaluate("element => element.innerText || element.value || element.getAttribute('aria-label') || ''")
        if " ".join(str(shown).split()) != " ".join(what.split()):
            raise InvalidRequest(f"That element does not say {what!r}: look at the page again.")
        await self._stage.mark("send", element)
        self._sending = True
        try:
            await element.click()
            return await self._seen()
        finally:
            self._sending = False

    async def _download(self, arguments: Arguments) -> Value:
        element = await self._element(_text(arguments, "ref"))
        await self._stage.mark("download", element)
        async with self._there().expect_download(timeout=OPEN_MS_MAX) as coming:
            await element.click()
        download = await coming.value
        came = await download.path()
        size = came.stat().st_size
        if size > DOWNLOAD_BYTES_MAX:
            raise InvalidRequest(f"The file has {size:,} bytes, which is more than {DOWNLOAD_BYTES_MAX:,}.")
        path = self._kept(came, download.suggested_filename)
        return {"path": path, "bytes": size}

    def _kept(self, came: Path, suggested: str) -> str:
        """Its path in the folder downloads, named as the page suggests: where nothing was yet, or the same was already."""
        name = PurePosixPath(suggested.replace("\\", "/")).name.lstrip(".") or "file"
        stem, dot, ending = name.rpartition(".")
        taken = set(self._draft.paths())
        names = (name, *(f"{stem or ending} {number}{dot if stem else ''}{ending if stem else ''}" for number in range(2, 1_000)))
        for path in (f"downloads/{each}" for each in names):
            if path not in taken:
                _copy(came, self._draft.work, path)
                return path
            if _is_same(came, self._draft.work, path):
                return path
        raise InvalidRequest(f"The folder downloads holds too many files called {name}.")

    def _there(self) -> "Page":
        page = self._stage.page
        if page is None or page.is_closed():
            raise InvalidRequest("No page is open: open one with browser_open.")
        return page

    async def _element(self, ref: str) -> "Locator":
        if not ref.isalnum():
            raise InvalidRequest(f"{ref!r} is no reference of an element, such as e7.")
        if self._stage.unseen:
            raise InvalidRequest("The person has used the browser since you saw the page: look at it again.")
        found = self._there().locator(f"aria-ref={ref}")
        if await found.count() != 1:
            raise InvalidRequest(f"The page has no element {ref} now: look at it again.")
        return found

    def _stays_at(self, host: str) -> None:
        """What leave was given for is the page that is open."""
        there = host_of(self._there().url)
        if host.casefold() != there:
            raise InvalidRequest(f"The page that is open is at {there}, not at {host}.")

    async def _seen(self, part: "Locator | None" = None, find: str = "") -> Value:
        from playwright.async_api import TimeoutError as Unsettled

        page = self._there()
        with contextlib.suppress(Unsettled):
            await page.wait_for_load_state("load", timeout=SETTLE_MS_MAX)
        tree = await (page.locator("body") if part is None else part).aria_snapshot(mode="ai")
        self._stage.unseen = False
        said: dict[str, Value] = {"url": page.url, "title": await page.title(), "page": _bounded(_around(tree, find) if find else tree)}
        for name, told in (("not_reached", self._missed), ("held_back", self._held_back)):
            if told:
                said[name] = list(dict.fromkeys(told))
                told.clear()
        return said

    def _refused(self) -> str:
        hosts = ", ".join(dict.fromkeys(self._missed))
        self._missed.clear()
        return f" It leads to {hosts}, which was not opened: browser_open does that, with leave." if hosts else ""


@asynccontextmanager
async def browsing(browser: Browser | None) -> AsyncIterator[Sequence[Browser]]:
    """The browser where there is one, and its end."""
    if browser is None:
        yield ()
        return
    try:
        yield (browser,)
    finally:
        await browser.close()


def _first_line(wrong: Exception) -> str:
    return (str(wrong).splitlines() or [type(wrong).__name__])[0]


def _bounded(tree: str) -> str:
    if len(tree) <= SNAPSHOT_CHARS_MAX:
        return tree
    return f"{tree[:SNAPSHOT_CHARS_MAX]}\n[{len(tree) - SNAPSHOT_CHARS_MAX} characters more: look at a part by ref, or find]"


def _around(tree: str, find: str) -> str:
    lines = tree.splitlines()
    near = {
        near
        for number, line in enumerate(lines)
        if find.casefold() in line.casefold()
        for near in range(number - AROUND_LINES, number + AROUND_LINES + 1)
    }
    return "\n".join(line for number, line in enumerate(lines) if number in near) or f"[nothing here holds {find!r}]"


def _copy(came: Path, root: Path, path: str) -> None:
    with came.open("rb") as source, os.fdopen(open_beneath(root, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as target:
        while piece := source.read(1 << 20):
            target.write(piece)


def _is_same(came: Path, root: Path, path: str) -> bool:
    with contextlib.suppress(SandboxRefused), came.open("rb") as one, os.fdopen(open_beneath(root, path, os.O_RDONLY), "rb") as other:
        return hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()
    return False


def _text(arguments: Arguments, name: str, default: str | None = None) -> str:
    value = arguments.get(name, default)
    if not isinstance(value, str):
        raise InvalidRequest(f"The argument {name!r} must be given, as text.")
    return value
