"""Cloning: real repositories, from a folder and from a server that speaks git's HTTP, in the sandbox."""

import asyncio
import base64
import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from headrace.core.errors import HeadraceError
from headrace.sandbox import Level, Limits, Outcome, try_level
from headrace.sandbox.cloning import Source, clone, failure, name_of
from tests.needs import need
from tests.server import listening

LEVEL = try_level()
TOKEN = "tok-secret-1"
pytestmark = pytest.mark.sandbox(2)


def git(folder: Path, *words: str) -> str:
    settings = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": os.environ["PATH"], "HOME": str(folder)}
    person = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"]
    return subprocess.run([need("git"), *person, *words], cwd=folder, env=settings, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two commits on main, a branch, a submodule, a filter, a hook in it, and a link that leads out."""
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    git(other, "commit", "-q", "--allow-empty", "-m", "one")
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "-q")
    (folder / "AGENTS.md").write_text("Be brief.")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "branch", "older")
    (folder / ".gitattributes").write_text("*.bin filter=evil\n")
    (folder / "a.bin").write_text("as it is")
    (folder / "out").symlink_to("/etc/passwd")
    git(folder, "submodule", "--quiet", "add", str(other), "sub")
    git(folder, "config", "filter.evil.smudge", "touch ran")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "two")
    (folder / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\ntouch ran\n")
    (folder / ".git" / "hooks" / "post-checkout").chmod(0o755)
    return folder


class GitServer(BaseHTTPRequestHandler):
    root: Path
    seen: list[str]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path, _, query = self.path.partition("?")
        given = self.headers.get("authorization", "")
        self.seen.append(f"{self.headers['host'].partition(':')[0]} {path} {given}")
        wanted = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        if path.startswith("/moved"):
            self.send_response(302)
            self.send_header("location", path.replace("/moved", "/open", 1))
            self.end_headers()
        elif path.startswith("/closed") and given != wanted:
            self.send_response(401)
            self.send_header("www-authenticate", "Basic")
            self.end_headers()
        else:
            self._serve("/" + path.strip("/").partition("/")[2], query)

    def _serve(self, path: str, query: str) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        said = subprocess.run([need("git"), "http-backend"], env=environment, input=body, check=True, capture_output=True).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, _, value in lines if name == "Status"), 200)
        self.send_response(status)
        for name, _, value in lines:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def served(repository: Path) -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    with listening(type("Here", (GitServer,), {"root": repository.parent, "seen": seen})) as port:
        yield f"http://127.0.0.1:{port}", seen


def bring(url: str, target: Path, *, level: Level = LEVEL, local: bool = True, limits: Limits | None = None, **more: str | int) -> None:
    source = Source(url=url, **more)  # type: ignore[arg-type]
    port = urlsplit(url).port or 443
    bounds = limits or Limits(seconds_max=30)
    work = target.parent / "work"
    asyncio.run(clone(source, target, work, level, local=local, ports=frozenset((port,)), private=True, limits=bounds))
    assert not work.exists()


def test_a_folder_is_cloned_and_nothing_of_it_runs(repository, tmp_path):
    target = tmp_path / "new"
    bring(str(repository), target)
    assert (target / "AGENTS.md").read_text() == "Be brief."
    assert (target / "a.bin").read_text() == "as it is"
    assert (target / "out").is_symlink()
    assert list((target / "sub").iterdir()) == []
    assert not (target / "ran").exists()
    assert git(target, "log", "--format=%s", "--", ".").split() == ["two", "one"]
    assert git(target, "status", "--porcelain", "--ignore-submodules") == ""
    assert not (target / ".git" / "hooks").exists()
    with pytest.raises(HeadraceError, match="holds something already"):
        bring(str(repository), target)


@pytest.mark.sandbox(3)
def test_an_address_is_cloned_with_a_token_that_is_written_nowhere(repository, served, tmp_path):
    url, seen = served
    target = tmp_path / "new"
    bring(f"{url}/closed/{repository.name}/.git", target, local=False, token=TOKEN, branch="older", depth=1)
    assert (target / "AGENTS.md").exists()
    assert not (target / "a.bin").exists()
    assert git(target, "remote", "get-url", "origin").strip() == f"{url}/closed/{repository.name}/.git"
    kept = b"".join(path.read_bytes() for path in target.rglob("*") if path.is_file())
    assert TOKEN.encode() not in kept
    assert base64.b64encode(f"x-access-token:{TOKEN}".encode()) not in kept
    in_address = f"{url}/closed/{repository.name}/.git".replace("//", f"//{TOKEN}@")
    bring(in_address, tmp_path / "again", local=False)
    assert TOKEN not in (tmp_path / "again" / ".git" / "config").read_text()
    assert {line.partition(" ")[0] for line in seen} == {"127.0.0.1"}


@pytest.mark.sandbox(3)
@pytest.mark.parametrize(
    ("path", "more", "why"),
    [
        ("/closed/NAME/.git", {}, "needs signing in: give a token"),
        ("/closed/NAME/.git", {"token": "wrong"}, "needs signing in: give a token"),
        ("/open/nothing.git", {}, "there is no repository there"),
        ("/open/NAME/.git", {"branch": "none"}, "no such branch"),
        ("/moved/NAME/.git", {}, "can't be cloned"),
    ],
)
def test_why_an_address_is_not_cloned_is_said(repository, served, tmp_path, path, more, why):
    with pytest.raises(HeadraceError, match=why) as caught:
        bring(served[0] + path.replace("NAME", repository.name), tmp_path / "new", **more)
    assert "wrong" not in caught.value.message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ssh://git@example.org/a.git", "Only https addresses"),
        ("git@example.org:a.git", "no repository of git"),
        ("ext::sh -c touch% ran", "no repository of git"),
        ("file:///etc", "Only https addresses"),
        ("/etc", "no repository of git"),
        ("--upload-pack=touch", "no repository of git"),
    ],
)
def test_other_ways_are_refused(tmp_path, url, why):
    with pytest.raises(HeadraceError, match=why):
        bring(url, tmp_path / "new")


def test_a_folder_of_the_machine_is_not_everyones(repository, tmp_path):
    with pytest.raises(HeadraceError, match="no https address"):
        bring(str(repository), tmp_path / "new", local=False)


def test_without_room_or_git_it_says_so(repository, tmp_path):
    with pytest.raises(HeadraceError, match="too large"):
        bring(str(repository), tmp_path / "new", limits=Limits(seconds_max=30, file_bytes_max=10))
    source = Source(url="https://example.org/a.git", token=TOKEN)
    assert "git is not installed" in failure(source, Outcome(127, "", "sh: git: not found")).message
    late = failure(source, Outcome(-9, "", "", "time", "It was stopped: it ran longer than 300 seconds."))
    assert late.message == "https://example.org/a.git was not cloned. It was stopped: it ran longer than 300 seconds."
    assert TOKEN not in failure(source, Outcome(1, "", f"odd: {TOKEN}")).message


@pytest.mark.parametrize("field", [{"branch": "--upload-pack=x"}, {"depth": 0}, {"branch": "a b"}])
def test_what_is_no_branch_and_no_depth_is_refused(field):
    with pytest.raises(ValueError, match=r"branch|depth"):
        Source(url="https://example.org/a.git", **field)


@pytest.mark.parametrize(("url", "name"), [("https://example.org/a/b.git", "b"), ("/x/y/", "y"), ("https://example.org", "example.org")])
def test_a_folder_is_called_like_its_repository(url, name):
    assert name_of(url) == name
