"""`headrace agent foreign`: another maker's agent works in a draft, reaches models alone, never sees a key, and its money is told.

The stand-in speaks our API with the standard library only. The real ones are tried where `sh scripts/agents.sh` has installed them.
"""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from headrace.cli.client import Client
from headrace.cli.minted import LEASE_S, keep_good, minted_key
from headrace.core.errors import InvalidRequest, SetupError
from tests.e2e.conftest import told
from tests.server import PROGRAM, Installation, eventually, pool, priced
from tests.talker import talking

AGENTS = Path(__file__).parents[2] / ".agents"
STAND_IN = """
import json, os, urllib.error, urllib.request

def ask(method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as wrong:
        return wrong.code, json.load(wrong)

asked = {"model": os.environ["HEADRACE_MODEL"], "messages": [{"role": "user", "content": os.environ["HEADRACE_TASK"]}]}
status, answer = ask("POST", "/v1/chat/completions", asked, authorization="Bearer " + os.environ["OPENAI_API_KEY"])
print("answered", status, answer["choices"][0]["message"]["content"] if status == 200 else answer)
for path in ("/v1/files", "/workspace/api/session", "/admin/pools", "/v1/keys"):
    print("refused", ask("GET", path)[0], path)
print("minting", ask("POST", "/v1/keys", {"name": "more"})[0])
other = ask("POST", "/v1/chat/completions", {**asked, "model": "visitor"})
print("other model", other[0])
try:
    urllib.request.urlopen("http://192.0.2.1/", timeout=2)
except OSError as wrong:
    print("network", type(wrong).__name__)
with open("note.txt", "w") as note:
    note.write(answer["choices"][0]["message"]["content"])
"""

pytestmark = pytest.mark.sandbox(3)


@pytest.fixture
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agent") / "agent.py"
    path.parent.chmod(0o755)
    path.write_text(STAND_IN)
    return path


def test_it_reaches_models_alone_and_what_it_made_is_a_draft(place, server, project, stand_in):
    said = told(
        place, "agent", "foreign", "command", "Write a note", "--command", f"python3 {stand_in}", "--read", str(stand_in.parent),
        "--folder", str(project), "--model", "talker", "--url", server.base_url, "--key", server.key, "--usd-max", "0.01",
    )  # fmt: skip
    for words in (
        "answered 200 I have written the file.",
        "refused 403 /v1/files",
        "refused 403 /workspace/api/session",
        "refused 403 /admin/pools",
        "refused 403 /v1/keys",
        "minting 403",
        "other model 404",
        "network URLError",
        "added    note.txt",
        "$0.00014 of $0.01",
    ):
        assert words in said, said
    assert not (project / "note.txt").exists()
    (run,) = {word for word in said.split() if word.startswith("run_")}
    assert "+I have written the file." in told(place, "agent", "diff", run)
    told(place, "agent", "keep", run)
    assert (project / "note.txt").read_text() == "I have written the file."
    told(place, "agent", "undo", run)
    assert not (project / "note.txt").exists()
    assert "done" in told(place, "agent", "list").splitlines()[0]


def kept_by(place: Installation) -> dict[str, Any]:
    """The key that was minted last, as the terminal lists it."""
    rows: list[dict[str, Any]] = json.loads(told(place, "keys", "list", "--format", "json"))
    return next(one for one in reversed(rows) if one["name"].startswith("foreign "))


def heeding() -> None:
    """Signals that the tests themselves were begun to ignore, in the background or by nohup, would be ignored by what they start."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param(signal.SIGINT, 130, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, id="a service manager"),
        pytest.param(signal.SIGHUP, 129, id="a closed terminal"),
        pytest.param(None, 1, id="kill -9 of the agent"),
        pytest.param(signal.SIGKILL, -9, id="kill -9 of the terminal"),
    ],
)
def test_however_it_ends_nothing_of_it_is_left_and_its_key_is_worth_nothing(place, server, project, how, code):
    mark = f"{4 + (how or 0)}{os.getpid()}"
    line = (
        *PROGRAM, "agent", "foreign", "command", "Wait", "--command", f"echo begun; sleep {mark} & sleep {mark}",
        "--folder", str(project), "--model", "talker", "--url", server.base_url, "--key", server.key, "--minutes", "600",
    )  # fmt: skip
    with subprocess.Popen(
        line,
        cwd=place.folder,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=heeding,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            assert eventually(lambda: len(sleeping(mark)) == 2)
            key = kept_by(place)
            assert key["revoked"] is None
            for one in sleeping(mark) if how is None else ():
                os.kill(one, signal.SIGKILL)
            if how is not None:
                process.send_signal(how)
            assert process.wait(20) == code
        finally:
            process.kill()
    assert eventually(lambda: sleeping(mark) == [])
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database:
        (revoked, expires) = database.execute("SELECT revoked, expires FROM api_key WHERE id = ?", (key["id"],)).fetchone()
    if how == signal.SIGKILL:
        assert expires < time.time_ns() + LEASE_S * 10**9, "nobody was left who could revoke it: it ends by itself"
    else:
        assert revoked is not None
        assert "done" in told(place, "agent", "list").splitlines()[0]


def test_a_key_is_prolonged_while_it_is_needed_and_revoked_then(place, server):
    client = Client(server.base_url, server.key)

    def row(id: str) -> tuple[int | None, int]:
        with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database:
            found: tuple[int | None, int] = database.execute("SELECT revoked, expires FROM api_key WHERE id = ?", (id,)).fetchone()
            return found

    async def a_while(minted: Mapping[str, str]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await keep_good(client, minted, every_s=0.1)

    with minted_key(client, {"name": "kept good"}) as minted:
        first = row(minted["id"])
        asyncio.run(a_while(minted))
        then = row(minted["id"])
        assert (first[0], then[0]) == (None, None)
        assert first[1] < then[1] < time.time_ns() + LEASE_S * 10**9
    assert row(minted["id"])[0] is not None


def sleeping(seconds: str) -> list[int]:
    """The processes that sleep for so long."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if (process / "cmdline").read_bytes() == b"sleep\0%s\0" % seconds.encode():
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def test_what_can_be_started_is_checked(place, server, project):
    asked = ("--folder", str(project), "--model", "talker", "--url", server.base_url, "--key", server.key)
    with pytest.raises(InvalidRequest, match="--command"):
        told(place, "agent", "foreign", "command", "Do it", *asked)
    with pytest.raises(InvalidRequest, match="--command"):
        told(place, "agent", "foreign", "codex", "Do it", "--command", "true", *asked)
    if not (AGENTS / ".installed").exists():
        environment = os.environ.get("PATH", "")
        os.environ["PATH"] = str(Path(sys.executable).parent)
        try:
            with pytest.raises(SetupError, match="not on the PATH: npm install"):
                told(place, "agent", "foreign", "codex", "Do it", *asked)
        finally:
            os.environ["PATH"] = environment


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    if not (AGENTS / ".installed").exists():
        pytest.skip("no foreign agents are installed: sh scripts/agents.sh (660 MB)")
    with talking() as talker:
        settings = "[agents]\nbrowser = ''\n" + pool("vendor", talker.url, "codex", "claude") + priced("codex", "claude")
        yield Installation(tmp_path_factory.mktemp("house"), settings)


@pytest.mark.parametrize("agent", ["codex", "claude"])
def test_the_real_ones_write_a_file(house, project, agent):
    with house.serving() as server:
        ended = house.run(
            "agent", "foreign", agent, "Make hello.txt", "--model", agent, "--program", str(AGENTS / "node_modules" / ".bin" / agent),
            "--folder", str(project), "--url", server.base_url, "--take", timeout_s=110,
        )  # fmt: skip
    assert "added    hello.txt" in ended.stdout
    assert (project / "hello.txt").read_text() == f"made by {agent}\n"
    assert "2 requests, $0.00028 of $1" in ended.stderr
