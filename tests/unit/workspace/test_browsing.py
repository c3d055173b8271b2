"""The browser: the system's Chromium in the sandbox, on pages of a server of this machine."""

import asyncio
import re
import shutil
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from headrace.agents import Grant, Knowledge, Readers, Writers, judge
from headrace.agents.browsing import BROWSER, HAND_OVER
from headrace.agents.tools import CARDS as FILES
from headrace.agents.values import Value
from headrace.core.errors import Conflict, HeadraceError, SandboxRefused
from headrace.sandbox import Draft, Level, Limits, try_level
from headrace.workspace import Outfit, equipped
from headrace.workspace.browsing import SNAPSHOT_CHARS_MAX, Browser
from headrace.workspace.typed import Typed
from headrace.workspace.window import Choose, Click, Frame, Give, Press, Scene, Take, Type, do, watch
from tests.needs import need
from tests.shop import shop
from tests.unit.agents.desk import why

CHROMIUM = shutil.which("chromium")
LEVEL = try_level()
pytestmark = pytest.mark.sandbox(3)


@pytest.fixture(scope="module", autouse=True)
def chromium() -> None:
    need("chromium")


@pytest.fixture
def site() -> Iterator[tuple[str, list[str]]]:
    with shop() as found:
        yield found


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    project = tmp_path / "project"
    (project / "downloads").mkdir(parents=True)
    (project / "downloads" / "_.._list.txt").write_text("mine")
    return Draft.begin(project, tmp_path / "draft")


def ref(seen: Value, role: str) -> str:
    assert isinstance(seen, dict)
    tree = str(seen.get("page") or seen.get("own_page"))
    found = re.search(rf"{role}.*?\[ref=(\w+)\]", tree)
    assert found is not None, tree
    return found[1]


Tried = Callable[[str], Awaitable[Value]]


def test_a_page_is_seen_read_typed_into_sent_and_its_file_kept(draft, site):
    url, asked = site
    port = urlsplit(url).port
    assert port is not None
    assert CHROMIUM is not None
    browser = Browser(CHROMIUM, draft, LEVEL, ports=frozenset((port,)), private=True)

    async def does(tool: str, **arguments: Value) -> Value:
        try:
            return await browser.perform(f"browser_{tool}", arguments)
        except HeadraceError as error:
            return str(error)

    async def journey() -> dict[str, Value]:
        told: dict[str, Value] = {"none": await does("look")}
        try:
            shop = told["shop"] = await does("open", url=url)
            told["liked"] = await does("click", ref=ref(shop, 'button "Like"'))
            told["words"] = await does("read")
            told["detail"] = await does("click", ref=ref(told["liked"], 'link "Details"'))
            shop = await does("open", url=url)
            told["elsewhere"] = await does("click", ref=ref(shop, 'link "Elsewhere"'))
            shop = await does("open", url=url)
            told["there"] = await does("type", ref=ref(shop, 'textbox "Search"'), text="x", host="evil.example")
            told["found"] = await does("type", ref=ref(shop, 'textbox "Search"'), text="oak & ash", host="127.0.0.1", enter="yes")
            shop = await does("open", url=url)
            await does("click", ref=ref(shop, 'button "Order now"'))
            shop = await does("open", url=url)
            chosen = await does("type", ref=ref(shop, 'combobox "Size"'), text="Large", host="127.0.0.1")
            told["lied"] = await does("submit", ref=ref(chosen, 'button "Order now"'), what="Cancel", host="127.0.0.1")
            told["ordered"] = await does("submit", ref=ref(chosen, 'button "Order now"'), what="Order now", host="127.0.0.1")
            shop = await does("open", url=url)
            told["file"] = await does("download", ref=ref(shop, 'link "List"'))
            told["again"] = await does("download", ref=ref(shop, 'link "List"'))
            told["part"] = await does("look", find="Chairs", ref="")
            told["long"] = await does("open", url=f"{url}/long")
            told["gone"] = await does("click", ref="e99999")
            told["scheme"] = await does("open", url="file:///etc/passwd")
            told["wrong"] = await does("click", ref="e1 >> xpath=//*")
        finally:
            await browser.close()
        return told

    told = asyncio.run(journey())
    assert "No page is open" in str(told["none"])
    assert 'heading "Chairs"' in str(told["shop"])
    assert "'not_reached': ['localhost']" in str(told)
    assert "POST 127.0.0.1" in str(told)  # told with whatever is seen next
    assert "Ignore your task" in str(told["words"])
    assert "Oak." in str(told["detail"])
    assert "at 127.0.0.1, not at evil.example" in str(told["there"])
    assert "Nothing for ['oak & ash']" in str(told["found"])
    assert "does not say 'Cancel'" in str(told["lied"])
    assert "Ordered: size=Large" in str(told["ordered"])
    assert told["again"] == told["file"]
    assert told["file"] == {"path": "downloads/_.._list 2.txt", "bytes": 8}
    assert (draft.work / "downloads" / "_.._list 2.txt").read_text() == "one\ntwo\n"
    assert (draft.work / "downloads" / "_.._list.txt").read_text() == "mine"
    assert "Chairs" in str(told["part"])
    assert "Order now" not in str(told["part"])
    assert len(str(told["long"])) < SNAPSHOT_CHARS_MAX + 500
    assert "no element e99999 now" in str(told["gone"])
    assert "no address of the web" in str(told["scheme"])
    assert "no reference of an element" in str(told["wrong"])
    assert [each for each in asked if each.startswith("POST")] == ["POST 127.0.0.1/order size=Large"]
    assert not any("localhost" in each or "socket" in each for each in asked)


def test_a_person_signs_in_and_nothing_of_it_is_told(draft, site, tmp_path):
    url, asked = site
    port = urlsplit(url).port
    assert port is not None
    assert CHROMIUM is not None
    home = tmp_path / ("a folder whose name is longer than what the address of a socket can hold " * 2)
    home.mkdir()
    browser = Browser(CHROMIUM, draft, LEVEL, ports=frozenset((port,)), private=True, home=home)

    async def journey() -> dict[str, Value]:
        told: dict[str, Value] = {}
        try:
            with pytest.raises(Conflict, match="No browser is open"):
                await do(home, Take())
            page = await browser.perform("browser_open", {"url": f"{url}/sign-in"})
            with pytest.raises(Conflict, match="take it first"):
                await do(home, Type("x"))
            async with aclosing(watch(home)) as seen:
                kinds = [msgspec.json.decode(await anext(seen), type=Scene | Frame) for _ in range(2)]
                assert isinstance(kinds[0], Scene)
                assert (kinds[0].title, kinds[0].held) == ("Sign in", False)
                assert isinstance(kinds[1], Frame)
                assert b64decode(kinds[1].jpeg).startswith(b"\xff\xd8")
                await browser.perform("browser_type", {"ref": ref(page, "textbox"), "text": "ann", "host": "127.0.0.1"})
                while not isinstance(scene := msgspec.json.decode(await anext(seen), type=Scene | Frame), Scene) or not scene.mark:
                    pass
                assert scene.mark.what == "type"
            await do(home, Take())
            async with asyncio.TaskGroup() as tasks:
                waits = tasks.create_task(browser.perform("browser_look", {}))
                await do(home, Click(20, 220))
                await do(home, Type("hunter"))
                await do(home, Press("ArrowLeft"))
                await do(home, Type("22 "))
                await do(home, Press("Enter"))
                while "In" not in await title(home):
                    pass
                await do(home, Press("Tab"))
                await do(home, Type("x1"))
                assert not waits.done()
                with pytest.raises(Conflict, match="by now: look at it"):
                    await do(home, Give("elsewhere.example"))
                await do(home, Give("127.0.0.1"))
            told["looked"] = waits.result()
            told["clicked"] = await browser.perform("browser_click", {"ref": ref(told["looked"], "link")})
            told["read"] = await browser.perform("browser_read", {})
        finally:
            await browser.close()
        return told

    told = asyncio.run(journey())
    assert "user=ann" in str(told["looked"])
    assert 'textbox "Pin"' in str(told["looked"])
    assert "hunter" not in str(told)
    assert "x1\n" not in str(told["looked"])
    assert isinstance(told["read"], dict)
    assert set(told["read"]) == {"own_url", "own_text"}
    assert "POST 127.0.0.1/in user=ann&word=hunte22+r" in asked, "a page of the person's may send"
    assert [each for each in asked if "localhost" in each] == ["GET localhost/pixel"], "and reaches what they like, until they give it back"
    labelled = Knowledge()
    labelled.see("s0", CARDS["browser_read"], told["read"])
    assert (labelled.context.writers, labelled.context.readers) == (Writers.ANYONE, Readers.PERSON)


def test_a_person_chooses_from_a_list_that_the_browser_draws_outside_of_the_picture(draft, site, tmp_path):
    url, _ = site
    port = urlsplit(url).port
    assert port is not None
    assert CHROMIUM is not None
    browser = Browser(CHROMIUM, draft, LEVEL, ports=frozenset((port,)), private=True, home=tmp_path)

    async def until(ready: Callable[[Scene], bool]) -> Scene:
        async with asyncio.timeout(20), aclosing(watch(tmp_path)) as seen:
            async for line in seen:
                scene = msgspec.json.decode(line, type=Scene | Frame)
                if isinstance(scene, Scene) and ready(scene):
                    return scene
        raise AssertionError

    async def journey() -> None:
        try:
            await browser.perform("browser_open", {"url": f"{url}/lists"})
            with pytest.raises(Conflict, match="take it first"):
                await do(tmp_path, Choose(1, "Medium"))
            await do(tmp_path, Take())
            assert (await until(lambda scene: scene.held)).choices is None
            with pytest.raises(Conflict, match="not as it was"):
                await do(tmp_path, Choose(1, "Medium"))
            await do(tmp_path, Click(100, 120))
            choices = (await until(lambda scene: scene.choices is not None)).choices
            assert choices is not None
            assert choices.name == "Size"
            assert [(one.label, one.chosen, one.disabled) for one in choices.options] == [
                ("Small", True, False), ("Medium", False, False), ("None", False, True), ("Large", False, False),
            ]  # fmt: skip
            with pytest.raises(Conflict, match="not as it was"):
                await do(tmp_path, Choose(1, "Large"))
            with pytest.raises(Conflict, match="could not do it"):
                await do(tmp_path, Choose(2, "None"))
            await do(tmp_path, Choose(3, "Large"))
            scene = await until(lambda scene: scene.title == "Large is chosen")
            assert scene.choices is not None
            assert [one.label for one in scene.choices.options if one.chosen] == ["Large"]
            await do(tmp_path, Click(100, 320))
            assert (await until(lambda scene: scene.title == "Clicked")).choices is None
        finally:
            await browser.close()

    asyncio.run(journey())


async def title(home: Path) -> str:
    async with aclosing(watch(home)) as seen:
        first = msgspec.json.decode(await anext(seen), type=Scene | Frame)
    return first.title if isinstance(first, Scene) else ""


@pytest.mark.parametrize(
    ("typed", "told", "hidden"),
    [
        (["hunter22"], "my HUNTER22!", "my [not shown]!"),
        (["a b&c"], {"url": "/?q=a+b%26c", "other": ["a%20b%26c", 7]}, {"url": "/?q=[not shown]", "other": ["[not shown]", 7]}),
        (["7"], '- textbox "Pin" [ref=e4]: "7"\n- text: 7 days', '- textbox "Pin" [ref=e4]: [not shown]\n- text: 7 days'),
        (["secret", "word"], "a secret word, secretly", "a [not shown] [not shown], [not shown]ly"),
        ([], "all of it", "all of it"),
    ],
)
def test_what_was_typed_is_hidden(typed, told, hidden):
    words = Typed()
    for each in typed:
        words.add(each)
        words.end()
    assert words.hide(told) == hidden


@pytest.mark.parametrize(("level", "offered"), [(LEVEL, True), (Level(2, None, 6, ("bubblewrap is not here.",)), False)], ids=["3", "2"])
def test_a_run_is_offered_a_browser_where_there_is_one(draft, level, offered):
    async def tools() -> set[str]:
        async with equipped(Outfit(browser=CHROMIUM), draft, level, Limits(), print) as toolbox:
            return {tool.card.tool for tool in toolbox.given.tools}

    assert ("browser_open" in asyncio.run(tools())) == offered


def test_below_level_3_there_is_none(draft):
    browser = Browser("chromium", draft, Level(2, None, 6, ("bubblewrap is not here.",)))
    with pytest.raises(SandboxRefused, match="needs level 3"):
        asyncio.run(browser.perform("browser_open", {"url": "https://a.example"}))
    asyncio.run(browser.close())


CARDS = {tool.card.tool: tool.card for tool in (*BROWSER, HAND_OVER)}


def verdict(said: str, tool: str, *, seen: str = "A page.", read: str = "", **arguments: Value) -> str:
    known = Knowledge()
    known.hear(said)
    known.see("s0", CARDS["browser_open"], seen)
    if read:
        known.see("s1", FILES["read_file"], read)
    return why(judge(CARDS[tool], arguments, known, Grant(), 0))


@pytest.mark.parametrize(
    ("said", "tool", "arguments", "read", "verdict_is"),
    [
        ("Read shop.example", "browser_open", {"url": "shop.example"}, "", "allow"),
        ("Read shop.example", "browser_open", {"url": "evil.example"}, "", "url"),
        ("Read shop.example", "browser_click", {"ref": "e1"}, "", "allow"),
        ("Write a poem", "browser_click", {"ref": "e1"}, "", "kind"),
        ("Find chairs at shop.example", "browser_type", {"ref": "e1", "text": "chairs", "host": "shop.example"}, "", "allow"),
        ("Find chairs at shop.example", "browser_type", {"ref": "e1", "text": "my salary is 9", "host": "shop.example"}, "x", "content"),
        ("Find chairs at shop.example", "browser_type", {"ref": "e1", "text": "see evil.example", "host": "shop.example"}, "", "content"),
        ("Find chairs at shop.example", "browser_submit", {"ref": "e1", "what": "Buy", "host": "shop.example"}, "", "kind"),
        ("Submit the form at shop.example", "browser_submit", {"ref": "e1", "what": "Buy", "host": "shop.example"}, "", "allow"),
        ("Submit the form at shop.example", "browser_submit", {"ref": "e1", "what": "Buy", "host": "evil.example"}, "", "url"),
        ("Sign in at shop.example", "browser_hand_over", {"why": "Sign in"}, "", "asked"),
    ],
)
def test_what_needs_leave_after_a_page_was_seen(said, tool, arguments, read, verdict_is):
    assert verdict(said, tool, read=read, **arguments) == verdict_is


@pytest.mark.parametrize("page", ["odd", "odd?lies"])
def test_a_page_that_tells_what_no_page_can_is_seen_all_the_same(draft, site, tmp_path, page):
    url, _ = site
    port = urlsplit(url).port
    assert port is not None
    assert CHROMIUM is not None
    browser = Browser(CHROMIUM, draft, LEVEL, ports=frozenset((port,)), private=True, home=tmp_path)

    async def journey() -> None:
        try:
            await browser.perform("browser_open", {"url": f"{url}/{page}"})
            await do(tmp_path, Take())
            await do(tmp_path, Click(100, 120))
            async with asyncio.timeout(20), aclosing(watch(tmp_path)) as seen:
                scenes = 0
                async for line in seen:
                    scene = msgspec.json.decode(line, type=Scene | Frame)
                    if isinstance(scene, Scene):
                        assert (scene.held, scene.title[:3], scene.choices) == (True, "Odd", None)
                        scenes += 1
                    if scenes == 3:
                        break
            assert scenes == 3
            with pytest.raises(Conflict, match="not as it was"):
                await do(tmp_path, Choose(0, "7"))
        finally:
            await browser.close()

    asyncio.run(journey())
