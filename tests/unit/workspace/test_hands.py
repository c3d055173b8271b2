"""The workspace's tools: files of the draft, pages of the web; what can't be done is said in a sentence for the model."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from headrace.agents.values import Value
from headrace.core.errors import HeadraceError, SandboxRefused, UpstreamFailed
from headrace.sandbox import Draft, Level, Limits
from headrace.sandbox.egress import Reach
from headrace.sandbox.fetch import fetch, readable
from headrace.workspace import Hands

NOWHERE = Level(0, None, 0, ("Nothing confines here.",))


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "a.txt").write_text("one two one")
    (project / "src" / "b.txt").write_text("b")
    (project / "picture").write_bytes(b"\xff\xfe\x00")
    return Draft.begin(project, tmp_path / "draft")


def perform(draft: Draft, tool: str, **arguments: Value) -> Value:
    return asyncio.run(Hands(draft, NOWHERE, Limits()).perform(tool, arguments))


def test_files(draft):
    assert perform(draft, "list_files") == ["a.txt", "picture", "src/b.txt"]
    assert perform(draft, "list_files", folder="./src/") == ["src/b.txt"]
    assert perform(draft, "read_file", path="a.txt") == "one two one"
    assert perform(draft, "write_file", path="new/c.txt", text="1\n2\n") == "new/c.txt holds 2 lines."
    assert perform(draft, "edit_file", path="a.txt", old="two", new="2") == "a.txt is changed."
    assert perform(draft, "delete_file", path="src/b.txt") == "src/b.txt is deleted."
    assert {change.path: change.kind for change in draft.changes()} == {"a.txt": "changed", "new/c.txt": "added", "src/b.txt": "deleted"}


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("read_file", {"path": "none"}, "can't be opened"),
        ("read_file", {"path": "../project/a.txt"}, "outside of the workspace"),
        ("read_file", {"path": "picture"}, "is no text"),
        ("read_file", {}, "'path' must be given"),
        ("read_file", {"path": 3}, "'path' must be given"),
        ("edit_file", {"path": "a.txt", "old": "one", "new": "1"}, "stands 2 times"),
        ("edit_file", {"path": "a.txt", "old": "", "new": "1"}, "stands 0 times"),
        ("delete_file", {"path": "src"}, "no plain file"),
        ("run_command", {"command": "true"}, "no command is run"),
        ("fetch", {"url": "http://127.0.0.1/"}, "no address of the internet"),
        ("fetch", {"url": "ftp://a.example/"}, "no address of the web"),
    ],
)
def test_what_can_not_be_done(draft, tool, arguments, says):
    with pytest.raises(HeadraceError, match=says):
        perform(draft, tool, **arguments)


def test_a_file_too_long_is_not_read_whole(draft):
    (draft.work / "long").write_text("x" * 500_000)
    with pytest.raises(HeadraceError, match="read a part of it"):
        perform(draft, "read_file", path="long")


PAGES = {
    "/": (200, "text/html", b"<head><title>x</title></head><p>Hello <b>you</b></p><script>evil()</script><p>two"),
    "/t": (200, "text/plain", b"<p>"),
}


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, kind, body = PAGES.get(self.path, (302, "text/plain", b""))
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if status == 302:
            self.send_header("location", "http://evil.example/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


async def lookup(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize(
    ("path", "status", "text", "leads_to"),
    [("", 200, "Hello you\ntwo", None), ("/t", 200, "<p>", None), ("/elsewhere", 302, "", "http://evil.example/")],
)
def test_a_page_is_read_and_a_redirection_is_told(port, path, status, text, leads_to):
    reach = Reach(frozenset(("site.example",)), frozenset((port,)), private=True)
    page = asyncio.run(fetch(f"http://site.example:{port}{path}", reach, lookup))
    assert (page.status, page.text, page.leads_to) == (status, text, leads_to)


def test_a_host_without_leave_and_one_that_does_not_answer(port):
    with pytest.raises(SandboxRefused, match="not among the hosts"):
        asyncio.run(fetch("http://other.example/", Reach(frozenset()), lookup))
    with pytest.raises(UpstreamFailed, match="did not answer"):
        asyncio.run(fetch("http://site.example:1/", Reach(frozenset(("site.example",)), frozenset((1,)), private=True), lookup))


def test_what_is_not_shown_is_not_read():
    assert readable("<style>x</style><div>a<br>b</div></script>c<svg><text>no</text></svg>") == "a\nb\nc"
