"""A browser between an agent and a person: both see the same page, one has it at a time.

While nobody looks nothing is pictured. While somebody does, Chromium tells of each change (`Page.startScreencast`), at most five times a
second. The agent's turn is one call of a tool; the person takes the browser between two of them, and the agent's next call waits until it
is given back.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, assert_never
from urllib.parse import urlsplit

import msgspec

from headrace.agents.values import Value
from headrace.core.errors import Conflict, InvalidRequest, SandboxRefused
from headrace.sandbox.egress import Egress
from headrace.workspace.typed import Typed
from headrace.workspace.window import Act, Choices, Choose, Click, Frame, Give, Mark, Press, Scene, Scroll, Take, Type, Visit

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, ElementHandle, Locator, Page

FRAME_S: Final = 0.2
LOOK_S: Final = 0.5
"""How often it is looked whether the address or who has it has changed, when no picture comes."""
BEAT_S: Final = 2.0
"""Who looks hears at least so often that it is still so."""
WIDTH_MAX, HEIGHT_MAX, QUALITY = 1_024, 1_024, 55
FRAME_CHARS_MAX: Final = 600_000
VISIT_MS_MAX: Final = 30_000
CHOOSE_MS_MAX: Final = 3_000
OPTIONS_MAX: Final = 500
HELD_S_MAX: Final = 1_800
"""The longest that an agent waits for a person who has the browser; then it is the agent's again."""
_EDITING: Final = ("Enter", "Tab", "Backspace", "Delete", "Escape", "Space")
_MOVING: Final = ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown")
KEYS: Final = frozenset((*_EDITING, *_MOVING))
CHORDS: Final = frozenset(("Control+a", "Shift+Tab", "Shift+ArrowLeft", "Shift+ArrowRight", "Shift+Home", "Shift+End"))
_FIELDS: Final = """() => [...document.querySelectorAll('input[type=password]'), document.activeElement]
    .map(field => field && typeof field.value === 'string' ? field.value : '')"""
_PASSWORDS: Final = "() => [...document.querySelectorAll('input[type=password]')].map(field => field.value)"

_FOCUSED_LIST: Final = """() => {
    let at = document.hasFocus() ? document.activeElement : null
    while (at && at.shadowRoot && at.shadowRoot.activeElement) at = at.shadowRoot.activeElement
    return at instanceof HTMLSelectElement && !at.multiple && at.size <= 1 ? at : null
}"""
_CHOICES: Final = """(list, most) => ({
    name: [...(list.getAttribute('aria-label') || list.labels[0]?.firstChild?.textContent || list.name || '').trim()]
        .slice(0, 200).join(''),
    options: [...list.options].slice(0, most).map(each => ({
        label: [...each.label.trim()].slice(0, 200).join(''), chosen: each.selected,
        disabled: each.disabled || each.parentElement.disabled === true })),
})"""


class BrowserStage:
    """`page` is the one that is open. `used`: the person has had it; `unseen`: and the agent has not looked since."""

    def __init__(self, egress: Egress) -> None:
        self.page: Page | None = None
        self.held = self.used = self.unseen = False
        self.acts = 0
        self.typed = Typed()
        self._egress = egress
        self._free, self._acting = asyncio.Event(), asyncio.Lock()
        self._free.set()
        self._opened: set[str] = set()
        self._at_end: list[Callable[[], Awaitable[None]]] = []
        self._mark: Mark | None = None
        self._lookers = 0
        self._cast: CDPSession | None = None
        self._cast_of: Page | None = None
        self._casting = asyncio.Lock()
        self._frame: Frame | None = None
        self._frames = 0
        self._unacknowledged: int | None = None
        self._news = asyncio.Event()

    @asynccontextmanager
    async def agents(self) -> AsyncIterator[None]:
        """The agent's turn, once the person has given it back."""
        while True:
            try:
                async with asyncio.timeout(HELD_S_MAX):
                    await self._free.wait()
            except TimeoutError:
                await self._give_back()
            async with self._acting:
                if not self.held:  # the person was faster
                    yield
                    return

    async def mark(self, what: str, element: "Locator") -> None:
        """The agent is about to do this to that element; nobody who looks: nothing is measured."""
        if not self._lookers:
            return
        with contextlib.suppress(Exception):  # what can't be measured isn't marked; the act itself says what is wrong
            await element.scroll_into_view_if_needed(timeout=1_000)
            box = await element.bounding_box(timeout=1_000)
            if box is not None:
                number = self._mark.number + 1 if self._mark else 1
                self._mark = Mark(number, what, box["x"], box["y"], box["width"], box["height"])
                self._news.set()

    async def hide(self, told: Value) -> Value:
        """What an agent may be told of it: nothing that the person typed, nor what stands in a field for a password."""
        return self.typed.hide(told, frozenset([field async for field in self._fields(_PASSWORDS) if field]))

    def at_end(self, do: Callable[[], Awaitable[None]]) -> None:
        """To be done when the person gives the browser back."""
        self._at_end.append(do)

    # ------------------------------------------------------------------------------------------------------- to be seen

    async def watched(self) -> AsyncGenerator[Scene | Frame]:
        """What changes, as long as anybody iterates."""
        scene, frames, quiet_s = None, -1, 0.0
        self._lookers += 1
        try:
            while self.page is None or not self.page.is_closed():
                await self._picture()
                now = await self._scene()
                quiet_s += FRAME_S
                if now != scene or quiet_s > BEAT_S:
                    scene, quiet_s = now, 0.0
                    yield now
                if self._frame is not None and self._frames != frames:
                    frames = self._frames
                    yield self._frame
                await asyncio.sleep(FRAME_S)
                await self._acknowledge()
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._news.wait()
                        continue
                quiet_s += LOOK_S
        finally:
            self._lookers -= 1
            if self._lookers == 0:
                await self._picture_no_more()

    async def _scene(self) -> Scene:
        from playwright.async_api import Error

        if self.page is None:
            return Scene("", "", self.held)
        title = ""
        with contextlib.suppress(Error, TimeoutError):
            async with asyncio.timeout(LOOK_S):
                title = (await self.page.title()).encode(errors="replace").decode()  # half a letter is no text
        return Scene(self.page.url, title, self.held, self._mark, await self._choices() if self.held else None)

    async def _choices(self) -> Choices | None:
        """What the list offers that has the focus; None where none has."""
        from playwright.async_api import Error

        focused = None
        with contextlib.suppress(Error, TimeoutError):
            async with asyncio.timeout(LOOK_S):
                focused = await self._focused_list()
                return None if focused is None else await _offered(focused)
        return None

    async def _focused_list(self) -> "ElementHandle | None":
        for frame in () if self.page is None or self.page.is_closed() else self.page.frames:
            found = (await frame.evaluate_handle(_FOCUSED_LIST)).as_element()
            if found is not None:
                return found
        return None

    async def _picture(self) -> None:
        """Have the page that is open tell of its changes."""
        async with self._casting:
            page = self.page
            if page is None or page is self._cast_of or page.is_closed():
                return
            await self._end_cast()
            cast = await page.context.new_cdp_session(page)
            cast.on("Page.screencastFrame", self._take_frame)
            await cast.send("Page.startScreencast", {"format": "jpeg", "quality": QUALITY, "maxWidth": WIDTH_MAX, "maxHeight": HEIGHT_MAX})
            self._cast, self._cast_of = cast, page

    def _take_frame(self, told: dict[str, Any]) -> None:
        self._unacknowledged = told["sessionId"]
        if len(told["data"]) <= FRAME_CHARS_MAX:
            self._frame = Frame(told["data"], told["metadata"]["deviceWidth"], told["metadata"]["deviceHeight"])
            self._frames += 1
        self._news.set()

    async def _acknowledge(self) -> None:
        """Let the next picture come."""
        from playwright.async_api import Error

        number, self._unacknowledged = self._unacknowledged, None
        if number is not None and self._cast is not None:
            with contextlib.suppress(Error):
                await self._cast.send("Page.screencastFrameAck", {"sessionId": number})

    async def _picture_no_more(self) -> None:
        async with self._casting:
            await self._end_cast()

    async def _end_cast(self) -> None:
        from playwright.async_api import Error

        cast, self._cast, self._cast_of, self._frame = self._cast, None, None, None
        if cast is not None:
            with contextlib.suppress(Error):
                await cast.send("Page.stopScreencast")
                await cast.detach()

    # ------------------------------------------------------------------------------------------------- the person's hands

    async def act(self, act: Act) -> None:
        """Do what the person does. Raises HeadraceError with a sentence for them."""
        from playwright.async_api import Error

        self.acts += 1
        try:
            await self._act(act)
        except Error as wrong:
            raise Conflict(f"The browser could not do it: {str(wrong).splitlines()[0]}") from None
        finally:
            self._news.set()

    async def _act(self, act: Act) -> None:
        if isinstance(act, Take):
            return await self._take()
        if not self.held or self.page is None:
            raise Conflict("The agent has the browser: take it first.")
        page = self.page
        match act:
            case Give(host):
                there = host_of(page.url)
                if host.casefold() != there:
                    raise Conflict(f"The page is at {there or 'no address'} by now: look at it, and give it back then.")
                await self._give_back()
            case Click(x, y, times):
                await self._leave_field()
                await page.mouse.move(x, y)
                await page.mouse.down(click_count=times)
                await page.mouse.up(click_count=times)
            case Scroll(x, y, right, down):
                await page.mouse.move(x, y)
                await page.mouse.wheel(right, down)
            case Type(text):
                self.typed.add(text)
                await page.keyboard.type(text)
            case Press(key):
                await self._press(page, key)
            case Choose(number, label):
                await self._choose(number, label)
            case Visit(url):
                await self._visit(page, url)
            case never:
                assert_never(never)
        return None

    async def _press(self, page: "Page", key: str) -> None:
        if key not in KEYS | CHORDS:
            raise InvalidRequest(f"{key!r} is no key that is passed on.", param="key")
        if key == "Backspace":
            self.typed.back()
        else:
            await self._leave_field()
        await page.keyboard.press(key)

    async def _choose(self, number: int, label: str) -> None:
        """As the agent does, by Playwright; a page may have changed its list since the person saw it."""
        focused = await self._focused_list()
        told = None if focused is None else await _offered(focused)
        if focused is None or told is None or not 0 <= number < len(told.options) or told.options[number].label != label:
            raise Conflict("The list is not as it was: look at it again.")
        await self._leave_field()
        await focused.select_option(index=number, timeout=CHOOSE_MS_MAX)

    async def _visit(self, page: "Page", url: str) -> None:
        await self._leave_field()
        if url == "back":
            await page.go_back(timeout=VISIT_MS_MAX, wait_until="commit")
            return
        url = url if "://" in url else f"https://{url}"
        if url.partition("://")[0].casefold() not in ("http", "https") or not host_of(url):
            raise SandboxRefused(f"{url} is no address of the web.")
        self._opened.add(host_of(url))
        await page.goto(url, timeout=VISIT_MS_MAX, wait_until="commit")

    async def _take(self) -> None:
        """Between two steps of the agent; from then on the person reaches what they like of the internet."""
        if self.page is None or self.held:
            return
        self._free.clear()
        try:
            await self._acting.acquire()
        except asyncio.CancelledError:
            self._free.set()
            raise
        try:
            self.held = self.used = self.unseen = True
            self._egress.reach = msgspec.structs.replace(self._egress.reach, everywhere=True)
        finally:
            self._acting.release()

    async def _give_back(self) -> None:
        """What was typed is known by now, and reached is only what the agent had leave for, what the person opened by its address, and
        where they leave it."""
        from playwright.async_api import Error

        if not self.held:
            return
        await self._leave_field()
        here = "" if self.page is None else host_of(self.page.url)
        hosts = self._egress.reach.hosts | self._opened | ({here} if here else frozenset())
        self._egress.reach = msgspec.structs.replace(self._egress.reach, hosts=hosts, everywhere=False)
        self._egress.close_others()
        for do in self._at_end:
            with contextlib.suppress(Error):
                await do()
        self._at_end.clear()
        self.held = False
        self._free.set()

    async def _leave_field(self) -> None:
        """What was typed until now is a word of its own, and what its field holds as a whole is, too."""
        if self.typed.begun:
            async for field in self._fields(_FIELDS):
                self.typed.note(field)
        self.typed.end()

    async def _fields(self, script: str) -> AsyncIterator[str]:
        from playwright.async_api import Error

        for frame in () if self.page is None or self.page.is_closed() else self.page.frames:
            with contextlib.suppress(Error):
                for value in await frame.evaluate(script):
                    yield str(value)


async def _offered(focused: "ElementHandle") -> Choices | None:
    """What a list offers; None where its page, whose scripts could have changed anything, tells what can't be shown."""
    try:
        told = msgspec.convert(await focused.evaluate(_CHOICES, OPTIONS_MAX), Choices)
        msgspec.json.encode(told)  # half a letter is no text
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    return told


def host_of(url: str) -> str:
    """The host of an address, in lower case."""
    return (urlsplit(url).hostname or "").casefold()
