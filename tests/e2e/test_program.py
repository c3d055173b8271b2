"""The program as a person meets it: what it prints, what it keeps, what it says when something is wrong, and what it never says."""

import contextlib
import csv
import io
import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from tests.client import Heard, ask
from tests.needs import missing, need
from tests.server import KEY, START_WITH_MODEL_S, Installation, Running, at_once, eventually, pool, priced
from tests.vendor import TEXT, Vendor

MODEL = "smollm2-135m-instruct"

VENDOR_KEY = "vendor-secret-0123456789abcdef"
FIXED_KEY = "sk-hr-fixed-0123456789abcdefghijklmnopqrstuvwxyzABC"


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with Vendor.open() as opened:
        yield opened


def installed(folder: Path, settings: str = "", environment: Mapping[str, str] | None = None) -> Installation:
    """One whose servers start as a person starts them, imports and all."""
    return Installation(folder, settings, environment, forked=False)


@pytest.fixture
def place(tmp_path: Path, vendor: Vendor) -> Installation:
    """An installation whose only pool is the vendor, with a price."""
    return installed(tmp_path, pool("vendor", vendor.url, "answers", "answers-slowly", "answers-long", "500") + priced("answers"))


def settled(text: str) -> str:
    """What a program printed, without what differs from run to run."""
    for pattern, stands_for in (
        (KEY, "sk-hr-KEY"),
        (r"/#/in/[\w-]+", "/#/in/TOKEN"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"in \d+\.\d s", "in N s"),
        (r"\bkey_[0-9a-f]{8,}", "key_ID"),
        (r"sk-hr-…[\w-]{4}", "sk-hr-…LAST"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "WHEN"),
        (r"headrace \d+\.\d+\.\d+\S*", "headrace VERSION"),
        (r"process \d+", "process PID"),
        (r"/\S*/pytest-\S+?/([\w.-]+)(?=[\s:,'\"]|$)", r"…/\1"),
    ):
        text = re.sub(pattern, stands_for, text)
    return "\n".join(line.rstrip() for line in text.splitlines())


# Starting.


def test_the_banner(place: Installation):
    with place.serving() as server:
        banner = server.said[: server.said.index("Ctrl-C") + 6]
    assert settled(banner).replace(" -H ", "\n    -H ").replace(" -d ", "\n    -d ") == snapshot("""\

headrace VERSION is ready at http://127.0.0.1:PORT/v1   (in N s)
  page     http://127.0.0.1:PORT/#/in/TOKEN   (signs you in, once)
  models   answers, answers-slowly, answers-long, 500
  key      sk-hr-KEY
  try      curl -N http://127.0.0.1:PORT/v1/chat/completions
    -H 'Authorization: Bearer sk-hr-KEY'
    -H 'Content-Type: application/json'
    -d '{"model": "answers", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "max_tokens": 200, "stream": true}'
  usage    headrace usage     data in .headrace
  stop     Ctrl-C\
""")


def test_the_line_to_paste_works_in_a_narrow_window(place: Installation):
    """It must not be wrapped, nor must the address and the key."""
    place.environment["COLUMNS"] = "40"
    need("curl")
    with place.serving() as server:
        lines = server.said.splitlines()
        assert any(line.endswith(f" {server.key}") for line in lines), "the key is whole"
        assert any(line.startswith("headrace") and server.base_url in line for line in lines), "and so is the address"
        (line,) = (line for line in lines if "curl -N" in line)
        done = subprocess.run(["sh", "-c", line[line.index("curl") :]], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.endswith("data: [DONE]\n\n")


def test_the_development_key_is_private_and_stays(place: Installation):
    with place.serving() as server:
        first, path = server.key, place.data / "development.key"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.data.stat().st_mode) == 0o700
        assert KEY.fullmatch(first)
        assert ask(server, "answers").text == TEXT
    with place.serving() as server:
        assert server.key == first
        assert first in server.said
        assert ask(server, "answers").text == TEXT
    readable = [path for path in place.data.rglob("*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert not readable, "others on this machine can read what is inside"


def test_nothing_but_the_key_and_logs_in_json(place: Installation):
    """Where no terminal listens, what follows the banner is one JSON object a line."""
    with place.serving() as server:
        ask(server, "500")
        ask(server, "answers")
    after = server.said[server.said.index("Ctrl-C") + 6 :].strip().splitlines()
    lines = [json.loads(line) for line in after]
    assert lines, "a vendor that breaks is worth a line"
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)
    assert any("the vendor broke" in line["message"] and line["level"] == "warning" for line in lines)


@pytest.mark.engine
def test_with_the_embedded_model(tmp_path: Path):
    """First start, a question at the command line, the bill of it, and a second start that needs no download."""
    place = installed(tmp_path)
    with place.serving(within_s=START_WITH_MODEL_S) as server:
        url = ("--url", server.base_url)
        said = place.run("chat", "-m", "Say hello.", "--max-tokens", "8", *url)
        assert said.stdout.strip()
        listed = json.loads(server.get("/v1/models")[1])["data"]
        assert [model["id"] for model in listed] == ["smollm2-135m-instruct", "all-minilm-l6-v2"]
    (row,) = place.usage()
    assert (row["model"], row["key"], row["class"], row["requests"], row["output"]) == (
        "smollm2-135m-instruct",
        "development",
        "realtime",
        1,
        8,
    )
    prices = json.loads(place.run("price", "list", "--model", "smollm2-135m-instruct", "--format", "json").stdout)[0]
    cost = row["input"] * float(prices["usd_input"]) / 1e6 + 8 * float(prices["usd_output"]) / 1e6
    assert float(row["usd"]) == pytest.approx(cost, abs=1e-15)
    with place.serving():
        pass


# Commands.


def test_chat(place: Installation):
    with place.serving() as server:
        done = place.run("chat", "-m", "hi", "--url", server.base_url)
        assert (done.stdout, done.stderr) == (TEXT + "\n", "")
        other = place.run("chat", "-m", "hi", "--model", "gpt-9", "--url", server.base_url, expect=1)
        assert other.stderr == snapshot(
            "headrace: the server answers 404: The model `gpt-9` does not exist or you do not have access to it.\n"
        )
        wrong = place.run("chat", "-m", "hi", "--key", "sk-hr-wrong", "--url", server.base_url, expect=1)
        assert "Incorrect API key" in wrong.stderr
    gone = place.run("chat", "-m", "hi", "--url", "http://127.0.0.1:9/v1", expect=1)
    assert gone.stderr == snapshot(
        "headrace: no server answers at http://127.0.0.1:9/v1 (it refuses the connection): start one with `headrace serve`\n"
    )


def test_usage(place: Installation):
    empty = place.run("usage")
    assert "Nothing was used yet" in empty.stdout + empty.stderr
    with place.serving() as server:
        for stream in (False, True, True):
            ask(server, "answers", stream=stream)
        ask(server, "answers-slowly", stream=True)
        ask(server, "500")
        assert eventually(lambda: place.usage("model") and server.metric("headrace_usage_log_open_admits") == 0)
        now = place.run("usage")
    assert place.run("usage").stdout == now.stdout, "the same while the server runs and after"
    assert "\n".join(line.rstrip() for line in now.stdout.splitlines()) == snapshot("""\
model           key          class     requests  input  cached  output       usd  notes
answers         development  realtime         3     21       0      15  0.000081
answers-slowly  development  realtime         1      7       0       5      0.00  1 unpriced
total                                         4     28       0      20  0.000081\
""")
    rows = json.loads(place.run("usage", "--format", "json").stdout)
    assert rows[0] == snapshot(
        {
            "model": "answers",
            "key": "development",
            "class": "realtime",
            "requests": 3,
            "input": 21,
            "cached": 0,
            "output": 15,
            "usd": "0.000081",
            "unpriced": 0,
            "lost": 0,
            "estimated": 0,
            "running": 0,
            "ours": 0,
        }
    )
    as_csv = list(csv.DictReader(io.StringIO(place.run("usage", "--format", "csv").stdout)))
    assert [{name: str(value) for name, value in row.items()} for row in rows] == as_csv
    assert place.usage("pool")[0]["requests"] == 4
    assert json.loads(place.run("usage", "--since", "2000-01-01", "--until", "2001-01-01", "--format", "json").stdout) == []
    assert "agree with the usage log" in place.run("usage", "verify").stdout


def test_keys(place: Installation):
    made = place.run("keys", "create", "laptop", "--organization", "acme", "--project", "demo", "--class", "coding")
    secret = made.stdout.strip()
    assert KEY.fullmatch(secret)
    assert secret not in made.stderr, "on standard output alone, to be piped"
    assert secret not in place.run("keys", "list", "--format", "json").stdout
    with place.serving() as server:
        assert ask(server, "answers", key=secret).headers["openai-organization"] == "acme"
        later = place.run("keys", "create", "later").stdout.strip()
        assert ask(server, "answers", key=later).status == 200, "a key that is made while the server runs"
        place.run("keys", "revoke", "laptop")
        refused = ask(server, "answers", key=secret)
        assert (refused.status, refused.end) == (401, "invalid_api_key"), "on the very next request"
        assert ask(server, "answers", key=later).status == 200
    with place.serving() as server:
        assert ask(server, "answers", key=secret).status == 401
    assert settled(place.run("keys", "list").stdout) == snapshot("""\
id                               name         organization  project  class     secret       created               revoked               parent  budget usd  expires
key_ID  laptop       acme          demo     coding    sk-hr-…LAST  WHEN  WHEN
key_ID  development  default       default  realtime  sk-hr-…LAST  WHEN
key_ID  later        default       default  realtime  sk-hr-…LAST  WHEN\
""")  # noqa: E501 -- a table as it is shown
    assert "there is no key 'nobody'" in place.run("keys", "revoke", "nobody", expect=1).stderr
    assert "already" in place.run("keys", "create", "later", expect=1).stderr
    rows = place.usage("key", "class")
    assert {(row["key"], row["class"], row["requests"]) for row in rows} == {("laptop", "coding", 1), ("later", "realtime", 2)}


def test_a_running_stream_outlives_the_revocation_of_its_key(place: Installation):
    """It was admitted; what is refused is the next request."""
    secret = place.run("keys", "create", "laptop").stdout.strip()
    heard: list[Heard] = []
    with place.serving() as server:

        def revoke() -> None:
            assert eventually(lambda: server.metric("headrace_requests_inflight") == 1)
            place.run("keys", "revoke", "laptop")
            heard.append(ask(server, "answers", key=secret))

        at_once(lambda: heard.append(ask(server, "answers-long", stream=True, key=secret)), revoke)
    assert [one.end for one in heard] == ["invalid_api_key", "whole"]


def test_price_list(place: Installation):
    rows = {row["model"]: row for row in json.loads(place.run("price", "list", "--format", "json").stdout)}
    assert rows["answers"] == snapshot(
        {
            "model": "answers",
            "from": "always",
            "to": None,
            "tier": "standard",
            "above": None,
            "usd_input": "1.00",
            "usd_cached": "0.10",
            "usd_output": "4.00",
            "source": "settings",
        }
    )
    assert "smollm2-135m-instruct" in rows
    assert "usd output" in place.run("price", "list").stdout


def test_doctor(place: Installation):
    with place.serving() as server:
        ask(server, "answers")
        running = place.run("doctor", expect=None)
        assert f"process {server.process.pid}" in running.stdout
    healthy = place.run("doctor", expect=None).stdout
    assert "the books agree with the usage log" in healthy
    assert "every record of the usage log can be read" in healthy
    (segment,) = (path for path in (place.data / "usage").iterdir() if path.stat().st_size > 200)
    damaged = bytearray(segment.read_bytes())
    damaged[100] ^= 0xFF
    segment.write_bytes(bytes(damaged))
    found = place.run("doctor", expect=1)
    assert segment.name in found.stdout
    assert "Traceback" not in found.stderr
    with place.serving() as server:
        assert ask(server, "answers").text == TEXT, "a server starts on it all the same"


def test_the_books_survive_the_loss_of_the_database(place: Installation):
    """The usage log is the truth: without the database, the same bill is made of it again."""
    with place.serving() as server:
        for _ in range(3):
            ask(server, "answers")
    before = place.usage("model")
    for path in place.data.glob("headrace.sqlite*"):
        path.unlink()
    assert place.usage("model") == before


# What is wrong is said in one line, and ends with 1.

WRONG = {
    "a typo in a field": ("[server]\nprot = 1\n", "headrace.toml: unknown field `prot` in [server]: did you mean `port`?"),
    "a typo in a section": ("[serve]\nport = 1\n", "headrace.toml: unknown field `serve`: did you mean `server`?"),
    "a typo in a pool": ('[[pool]]\nname = "a"\nendpoint = ["http://x/v1"]\n', "did you mean `endpoints`?"),
    "a wrong type": ('[server]\nport = "many"\n', "headrace.toml: Expected `int`, got `str` - at `server.port`"),
    "a port that is none": ("[server]\nport = 70000\n", "server.port must be 0 to 65535"),
    "not TOML": ("[server\n", "headrace.toml is not valid TOML"),
    "a pool without models": ('[[pool]]\nname = "a"\nendpoints = ["http://x/v1"]\n', "pool 'a' needs endpoints"),
    "an endpoint that is none": ('[[pool]]\nname = "a"\nendpoints = ["x"]\nmodels = { a = "a" }\n', "'x' is not an endpoint"),
    "two pools of one name": (pool("a", "http://127.0.0.1:9/v1", "m") * 2, "two pools are named 'a'"),
    "a secret that is missing": (
        pool("a", "http://127.0.0.1:9/v1", "m", api_key_env="NO_SUCH_SECRET"),
        "pool 'a' takes its secret from the environment variable NO_SUCH_SECRET, which is not set",
    ),
    "a key whose secret is missing": ('[[key]]\nname = "dev"\nsecret_env = "NO_SUCH_SECRET"\n', "NO_SUCH_SECRET, which is not set"),
    "weights that are not there": ('[engine]\nweights = "/no/such.gguf"\n', "/no/such.gguf"),
    "a price that is none": ('[[model]]\nname = "m"\nusd_per_mtok = { input = "cheap", output = "1" }\n', "cheap"),
}


@pytest.mark.parametrize(("settings", "says"), WRONG.values(), ids=WRONG)
def test_wrong_settings(tmp_path: Path, settings: str, says: str):
    place = installed(tmp_path, settings)
    server = place.begin()
    try:
        assert server.process.wait(20) == 1
    finally:
        server.kill()
    assert says in server.said
    assert "Traceback" not in server.said
    assert len(server.said.strip().splitlines()) == 1, server.said


def test_weights_that_are_not_weights(tmp_path: Path):
    (tmp_path / "model.gguf").write_bytes(b"this is not a model" * 100)
    place = installed(tmp_path, f'[engine]\nweights = "{tmp_path}/model.gguf"\n')
    server = place.begin()
    try:
        assert server.process.wait(30) == 1
    finally:
        server.kill()
    assert "model.gguf" in server.said
    assert "Traceback" not in server.said


def test_a_settings_file_that_is_not_there(tmp_path: Path):
    told = Installation(tmp_path).run("--config", "nowhere.toml", "usage", expect=1)
    assert told.stderr == snapshot(
        "headrace: nowhere.toml does not exist: check --config or HEADRACE_CONFIG, or leave both out to run with defaults\n"
    )


def test_a_wrong_value_in_the_environment(tmp_path: Path):
    told = installed(tmp_path, environment={"HEADRACE_SERVER_PORT": "many"}).run("usage", expect=1)
    assert "HEADRACE_SERVER_PORT=many" in told.stderr


def test_a_port_in_use(place: Installation, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = place.run("serve", "--port", str(port), expect=1)
    assert told.stderr.replace(str(port + 1), "NEXT").replace(str(port), "PORT") == snapshot(
        "headrace: cannot listen on 127.0.0.1 port PORT: another program listens there: stop it, or choose another port with --port NEXT\n"
    )


def test_a_data_folder_in_use(place: Installation):
    with place.serving() as server:
        told = place.run("serve", "--port", "0", expect=1)
        assert settled(told.stderr).split("): ") == snapshot(
            [
                "headrace: the data folder .headrace is in use by another headrace server (process PID",
                "stop that one first, or give this one a folder of its own ([storage] path)",
            ]
        )
        assert str(server.process.pid) in told.stderr
        assert ask(server, "answers").text == TEXT, "the first one does not mind"


def test_a_data_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    told = Installation(tmp_path).run("--data", "file/data", "serve", "--port", "0", expect=1)
    assert "file/data can't be made" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_data_folder_that_cannot_be_written(tmp_path: Path):
    """As another user, where we are root."""
    if os.getuid() == 0:
        if not Path("/proc/self/task").exists():
            missing("neither a folder that root can't write to")
        told = Installation(tmp_path).run("--data", "/proc/headrace", "serve", "--port", "0", expect=1)
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        told = Installation(tmp_path).run("--data", "locked/data", "serve", "--port", "0", expect=1)
    assert "the data folder" in told.stderr
    assert "can't be" in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [("serv",), ("serve", "--prot", "1"), ("usage", "--by", "moon"), ("usage", "--since", "soon"), ("serve", "--port", "99999")],
)
def test_a_wrong_command_line(tmp_path: Path, arguments: tuple[str, ...]):
    told = Installation(tmp_path).run(*arguments, expect=2)
    assert "Error" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_locked_database(place: Installation):
    """Somebody else writes to it for long: requests are served all the same, and their usage is there afterwards."""
    with place.serving() as server:
        ask(server, "answers")
        assert eventually(lambda: place.usage("model"))
        with contextlib.closing(sqlite3.connect(place.data / "headrace.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert [ask(server, "answers").status for _ in range(5)] == [200] * 5
            time.sleep(0.5)
            other.execute("ROLLBACK")
        (row,) = place.usage("model")
        assert row["requests"] == 6


# Metrics and secrets.


def test_metrics_please_promtool(place: Installation):
    with place.serving() as server:
        for model in ("answers", "answers-slowly", "500"):
            ask(server, model, stream=True)
        status, text = server.get("/metrics")
        assert status == 200
        checked = subprocess.run([need("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
        assert server.metric("headrace_requests_total") == 3
        assert server.metric("headrace_tokens_total") == 24
        assert server.metric("gen_ai_server_request_duration_seconds_count") == 3


def test_no_secret_is_written_anywhere(tmp_path: Path, vendor: Vendor):
    """Not the vendor's, not a client's, not a wrong one that somebody sent: not in logs, the usage log, the database, or a refusal."""
    settings = (
        pool("vendor", vendor.url, "answers", "401", "500", api_key_env="VENDOR_KEY")
        + '[[key]]\nname = "fixed"\nsecret_env = "FIXED_KEY"\n'
    )
    settings += '[telemetry]\nlog_level = "debug"\naccess_log = true\n'
    place = installed(tmp_path, settings, {"VENDOR_KEY": VENDOR_KEY, "FIXED_KEY": FIXED_KEY})
    with place.serving() as server:
        made = place.run("keys", "create", "laptop").stdout.strip()
        wrong = "sk-hr-somebody-elses-key-0123456789abcdefghij"
        for key in (FIXED_KEY, made, wrong):
            for model in ("answers", "401", "500"):
                heard = ask(server, model, key=key)
                assert key not in json.dumps(heard.error)
        development = server.key
        server.get("/metrics")
        place.run("doctor", expect=None)
    assert any(f"authorization: bearer {VENDOR_KEY}" in head.lower() for head in vendor.heads), "the vendor gets its own"
    assert not any(secret in head for head in vendor.heads for secret in (FIXED_KEY, made)), "and nobody else's"
    told_once = server.said.replace(development, "", 2)
    kept = {
        path.relative_to(place.data): path.read_bytes()
        for path in place.data.rglob("*")
        if path.is_file() and path.name != "development.key"
    }
    for secret in (VENDOR_KEY, FIXED_KEY, made, wrong, development):
        assert secret not in told_once, "the banner alone says the development key"
        assert [path for path, data in kept.items() if secret.encode() in data] == []
    assert "What is a headrace?" not in server.said, "nor what people ask"
    assert [path for path, data in kept.items() if b"What is a headrace?" in data] == []


# Stopping, and a disk that is full.


def test_ctrl_c(place: Installation):
    server = place.start()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 0
    assert "Traceback" not in server.said


def test_sigterm_while_it_starts(place: Installation):
    for wait_s in (0.3, 0.6, 0.9):
        server = place.begin()
        time.sleep(wait_s)
        server.process.terminate()
        code = server.process.wait(10)
        assert code in (0, -signal.SIGTERM), server.said
        assert "Traceback" not in server.said
    with place.serving() as running:
        assert ask(running, "answers").text == TEXT


def test_the_loader_dies(place: Installation):
    """The process that loads the usage log is killed: nothing is lost, the books are whole after all."""
    with place.serving() as server:
        ask(server, "answers")
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        if not children.exists():
            missing("no list of a process's children")
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGKILL)
        time.sleep(0.3)
        assert ask(server, "answers").text == TEXT
    (row,) = place.usage("model")
    assert row["requests"] == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of twelve megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.getuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, check=False).returncode
    ):
        pytest.skip("only root can mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_full_disk(small_disk: Path, tmp_path: Path, vendor: Vendor):
    """New requests are refused with 503, what runs is finished and settled, and with room again all is well, without a restart."""
    settings = pool("vendor", vendor.url, "answers", "answers-long") + f'[storage]\npath = "{small_disk}/data"\nsegment_size_max = 65536\n'
    place = installed(tmp_path / "place", settings)
    server = place.begin()
    try:
        found = eventually(lambda: re.search(r"ready at (\S+)/v1", server.said), 20)
        assert found
        server.url, server.folder = found[1], tmp_path / "place"
        key = (small_disk / "data" / "development.key").read_text().strip()
        _fill(small_disk, server, key)
    finally:
        server.kill()


def _fill(disk: Path, server: Running, key: str) -> None:
    heard: list[Heard] = []
    filler = disk / "filler"

    def fill_up() -> None:
        assert eventually(lambda: server.process.poll() is None and _inflight(server) == 1)
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4_096))
        refused = eventually(lambda: next((one for one in [ask(server, "answers", key=key)] if one.status != 200), None), 25, 0)
        assert refused is not None
        assert (refused.status, refused.end) == (503, "storage_full")

    at_once(lambda: heard.append(ask(server, "answers-long", stream=True, key=key, max_completion_tokens=300)), fill_up)
    assert [one.end for one in heard] == ["whole"], "what ran was finished"
    assert eventually(lambda: ask(server, "answers", key=key).status == 503, 5, 0), "what ran has given its room back, and no more"
    filler.unlink()
    assert eventually(lambda: ask(server, "answers", key=key).status == 200, 5), "with room again, all is well"
    assert _inflight(server) == 0
    assert "Traceback" not in server.said
    server.stop()


def _inflight(server: Running) -> float:
    with contextlib.closing(socket.create_connection(("127.0.0.1", server.port))) as wire:
        wire.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: wire.recv(65_536), b"")).decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("headrace_requests_inflight"))


def test_a_development_key_that_is_gone_is_made_anew(place: Installation):
    """Its file deleted, or the key revoked: the next start has one that works, and the old one is what it was."""
    with place.serving() as server:
        first = server.key
    (place.data / "development.key").unlink()
    with place.serving() as server:
        second = server.key
        assert second != first
        assert ask(server, "answers").text == TEXT
    keys = json.loads(place.run("keys", "list", "--format", "json").stdout)
    place.run("keys", "revoke", next(row["id"] for row in keys if row["secret"].endswith(second[-4:])))
    with place.serving() as server:
        assert server.key not in (first, second)
        assert ask(server, "answers").text == TEXT


@pytest.mark.engine
def test_weights_brought_by_hand_where_no_index_is_reachable(tmp_path: Path):
    """Without an index the first start says what to do; what it says works, and only the embeddings are missing."""
    elsewhere = installed(tmp_path / "elsewhere")
    with elsewhere.serving(within_s=START_WITH_MODEL_S):
        pass  # whoever has an index has the weights now
    (weights,) = (row["path"] for row in json.loads(elsewhere.run("models", "list", "--format", "json").stdout) if row["name"] == MODEL)
    cut_off = {
        "HEADRACE_CACHE": str(tmp_path / "cache"),
        "PIP_INDEX_URL": "http://127.0.0.1:1/simple",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
    }
    place = installed(tmp_path / "place", environment=cut_off)
    said = place.run("serve", "--port", "0", expect=1).stderr
    assert "headrace models add PATH" in said
    assert "is added" in place.run("models", "add", weights).stdout
    with place.serving(within_s=START_WITH_MODEL_S) as server:
        assert [one["id"] for one in json.loads(server.get("/v1/models")[1])["data"]] == [MODEL]
        assert "there are no embeddings" in server.said
        assert ask(server, MODEL, max_tokens=4).status == 200
