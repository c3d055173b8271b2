"""Escape attempts, at each level of the sandbox that this machine has: contained, and with a clear word."""

import asyncio
import socket
from pathlib import Path

import pytest

from headrace.core.errors import SandboxRefused
from headrace.sandbox import Draft, Level, Limits, Outcome, run, try_level
from headrace.sandbox.egress import Egress, Reach

FOUND = try_level()
pytestmark = pytest.mark.sandbox(2)
SECRET = "correct horse battery"
LIMITS = Limits(seconds_max=20)


def levels() -> list[Level]:
    lower = Level(2, None, FOUND.landlock_abi, ("bubblewrap is not used here.",))
    return {3: [FOUND, lower], 2: [FOUND], 0: []}[FOUND.rung]


@pytest.fixture(params=levels(), ids=lambda level: f"level-{level.rung}")
def level(request) -> Level:
    chosen: Level = request.param
    return chosen


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_text(SECRET)
    return folder


@pytest.fixture
def draft(tmp_path) -> Draft:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_text("one\n")
    return Draft.begin(project, tmp_path / "draft")


def tried(command: str, draft: Draft, level: Level, limits: Limits = LIMITS) -> Outcome:
    return asyncio.run(run(command, draft, level, limits))


def test_ordinary_work_is_done_and_stays_in_the_draft(draft, level):
    found = tried("cat a.txt; echo two > a.txt; mkdir b; echo three > b/c; echo $((6*7)); python3 -c 'print(6*8)'", draft, level)
    assert (found.exit_code, found.stdout.split(), found.stopped) == (0, ["one", "42", "48"], None)
    assert [(change.path, change.kind) for change in draft.changes()] == [("a.txt", "changed"), ("b/c", "added")]
    assert (draft.origin / "a.txt").read_text() == "one\n"


@pytest.mark.parametrize(
    "attempt",
    [
        "cat {outside}/secret",
        "ln -s {outside}/secret link && cat link",
        "ln {outside}/secret hard && cat hard",
        "cat /proc/1/environ /proc/1/root{outside}/secret",
        "cat /etc/shadow",
        "cd ../../../../.. && cat .{outside}/secret",
        "python3 -c 'import os; print(open(os.path.realpath(\"{outside}/secret\")).read())'",
    ],
)
def test_files_outside_are_not_read(attempt, outside, draft, level):
    found = tried(attempt.format(outside=outside), draft, level)
    assert SECRET not in found.stdout
    assert "root:" not in found.stdout
    assert found.exit_code != 0
    assert any(word in found.stderr for word in ("No such file", "denied", "not permitted", "cross-device", "can't cd"))


@pytest.mark.parametrize("target", ["{outside}/new", "/usr/bin/new", "/etc/new", "/new"])
def test_files_outside_are_not_written(target, outside, draft, level):
    place = target.format(outside=outside)
    found = tried(f"echo x > {place}", draft, level)
    assert found.exit_code != 0
    assert not Path(place).exists()


def test_no_network_is_reached(draft, level):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f'import socket; socket.create_connection(("127.0.0.1", {port}), 2); print("out")'
        found = tried(f"python3 -c '{code}'", draft, level)
    assert "out" not in found.stdout
    assert any(word in found.stderr for word in ("refused", "unreachable", "not permitted"))


@pytest.mark.parametrize("kind", ["socket.AF_NETLINK, socket.SOCK_RAW", "socket.AF_PACKET, socket.SOCK_RAW", "40, socket.SOCK_STREAM"])
def test_no_other_kind_of_socket_is_made(kind, draft, level):
    found = tried(f"python3 -c 'import socket; socket.socket({kind})'", draft, level)
    assert "not permitted" in found.stderr


def test_no_device_is_made_or_opened(draft, level):
    found = tried("mknod disk b 8 0; cat /dev/mem; cat /dev/sda; cat /dev/kmsg", draft, level)
    assert found.stdout == ""
    assert found.exit_code != 0
    lines = found.stderr.splitlines()
    assert len(lines) == 4
    assert all("not permitted" in line or "No such file" in line or "denied" in line for line in lines)


def test_nobody_outside_is_signalled(draft, level):
    async def story() -> tuple[int | None, Outcome]:
        bystander = await asyncio.create_subprocess_exec("sleep", "60")
        found = await run(f"kill -9 {bystander.pid}; kill -9 1; echo still here", draft, level, LIMITS)
        alive = bystander.returncode
        bystander.kill()
        await bystander.wait()
        return alive, found

    alive, found = asyncio.run(story())
    assert alive is None
    assert "still here" in found.stdout
    refused = [line for line in found.stderr.splitlines() if line]
    assert len(refused) == 2
    assert all("No such process" in line or "not permitted" in line for line in refused)


def test_a_fork_bomb_ends_with_the_command(draft, level):
    code = "import os\nwhile True:\n try: os.fork()\n except OSError: pass"
    found = tried(f"python3 -c '{code}'", draft, level, Limits(seconds_max=3, processes_max=48))
    assert found.stopped == "time"
    assert "longer than 3 seconds" in found.says
    again = tried("echo calm", draft, level)
    assert again.stdout == "calm\n"


def test_endless_output_is_cut(draft, level):
    found = tried("yes", draft, level, Limits(output_bytes_max=10_000))
    assert (found.stopped, len(found.stdout)) == ("output", 10_000)
    assert "more than 10,000 bytes" in found.says


def test_what_it_says_is_heard_as_it_comes_and_a_person_stops_it(draft, level):
    halt, heard = asyncio.Event(), list[str]()

    def hear(text: str) -> None:
        heard.append(text)
        halt.set()

    command = r"printf 'caf\303'; printf '\251 \377\n' >&2; printf '\251\n'; sleep 60"
    found = asyncio.run(run(command, draft, level, LIMITS, hear=hear, halt=halt))
    assert (found.stopped, found.says) == ("person", "The person stopped it.")
    assert "caf" in heard[0]
    assert found.stdout.startswith("caf")


def test_what_stays_behind_is_ended_too(draft, level):
    tried("(sleep 3; echo late > late) & exit 0", draft, level, Limits(seconds_max=2))
    assert not (draft.work / "late").exists()


def test_files_have_a_size_and_memory_an_end(draft, level):
    found = tried("head -c 3000000 /dev/zero > big; ls -s big", draft, level, Limits(file_bytes_max=1_000_000))
    assert (draft.work / "big").stat().st_size <= 1_000_000
    found = tried("python3 -c 'bytearray(4 << 30)'", draft, level, Limits(memory_bytes_max=1 << 30))
    assert "MemoryError" in found.stderr


@pytest.mark.parametrize("folder", [".", "node_modules"], ids=["files", "what is not copied"])
def test_the_workspace_has_a_size(draft, level, folder):
    fill = f"mkdir -p {folder}; for i in 1 2 3 4 5 6; do head -c 900000 /dev/zero > {folder}/f$i; done; sleep 10"
    found = tried(fill, draft, level, Limits(draft_bytes_max=2_000_000))
    assert (found.stopped, "grew beyond 2,000,000" in found.says) == ("draft", True)


NEST = 'import os\nfor _ in range(140):\n os.mkdir("d")\n os.chdir("d")'


@pytest.mark.parametrize("fill", ["mkdir $(seq 500)", f"python3 -c '{NEST}'"], ids=["many", "deep"])
def test_a_workspace_has_so_many_files_and_folders_and_no_depth_to_hide_in(draft, level, fill):
    found = tried(f"{fill}; sleep 10", draft, level, Limits(draft_entries_max=400))
    assert (found.stopped, "more than 400 files and folders" in found.says) == ("entries", True)


def test_a_link_that_leads_out_is_never_taken_over(draft, level, outside):
    tried(f"ln -s {outside}/secret link; ln -s ../../.. up; echo two > a.txt", draft, level)
    with pytest.raises(SandboxRefused, match="is a link that leads out of the workspace: nothing was taken over"):
        draft.take_over()
    assert (draft.origin / "a.txt").read_text() == "one\n"


def test_a_folder_of_the_kernel_is_not_written_and_no_socket_without_a_name_reached(draft, level):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0headrace-outside")
        server.listen()
        code = 'import socket; s = socket.socket(socket.AF_UNIX); s.connect("\\0headrace-outside"); print("out")'
        found = tried(f"echo b > /proc/sysrq-trigger; echo 1 > /proc/sys/kernel/panic; python3 -c '{code}'", draft, level)
    assert "out" not in found.stdout
    assert found.stderr.count("ermission denied") + found.stderr.count("ead-only") + found.stderr.count("onexistent") >= 2
    assert "refused" in found.stderr or "not permitted" in found.stderr


def test_secrets_of_the_environment_stay_outside(draft, level, monkeypatch):
    monkeypatch.setenv("HEADRACE_TEST_SECRET", SECRET)
    found = tried("env; cat /proc/self/environ; cat /proc/*/environ", draft, level)
    assert SECRET not in found.stdout


@pytest.mark.parametrize(
    "attempt",
    [
        "unshare -U true && cat /proc/self/fd/0",
        "mount -t tmpfs none /tmp",
        "chroot . /bin/true",
        "python3 -c 'import ctypes; l=ctypes.CDLL(None,use_errno=True); exit(0 if l.ptrace(0,0,0,0)==0 else 9)'",
        "python3 -c 'import ctypes; l=ctypes.CDLL(None,use_errno=True); exit(0 if l.syscall(321,0,0,0)>=0 else 9)'",
        "setpriv --reuid 0 true",
    ],
)
def test_no_way_to_more_rights(attempt, draft, level):
    assert tried(attempt, draft, level).exit_code != 0


def test_it_runs_without_any_right(draft, level):
    found = tried("grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; id -u", draft, level)
    assert [line.split()[-1] for line in found.stdout.splitlines()][1:3] == ["1", "2"]
    assert "CapEff:\t0000000000000000" in found.stdout
    assert found.stdout.splitlines()[-1] != "0"


def test_without_a_sandbox_nothing_is_run(draft):
    with pytest.raises(SandboxRefused, match="no command is run"):
        tried("true", draft, Level(0, None, 0, ("The sandbox needs Linux.",)))


def test_level_two_gets_no_network(draft, tmp_path):
    with pytest.raises(SandboxRefused, match="no command gets a network"):
        asyncio.run(run("true", draft, Level(2, None, FOUND.landlock_abi), LIMITS, proxy=tmp_path / "p"))


VISITOR = """
import urllib.request as r
for host in ("good.example", "evil.example"):
    try:
        print(r.urlopen(f"http://{host}:PORT/").read())
    except Exception as e:
        print(e, e.read())
"""


@pytest.mark.sandbox(3)
def test_only_hosts_with_leave_are_reached_through_the_proxy(draft, tmp_path):
    async def story() -> tuple[Outcome, Egress]:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy = Egress(Reach(frozenset(("good.example", "bad.example")), frozenset((port,)), private=True), lookup)
        await proxy.start(tmp_path / "proxy.sock")
        (draft.work / "t.py").write_text(VISITOR.replace("PORT", str(port)))
        found = await run("python3 t.py", draft, FOUND, LIMITS, proxy=tmp_path / "proxy.sock")
        await proxy.stop()
        server.close()
        return found, proxy

    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    found, proxy = asyncio.run(story())
    assert "b'hello'" in found.stdout
    assert "evil.example is not among the hosts" in found.stdout
    assert proxy.reached == ["good.example"]
    assert len(proxy.refused) == 1
