"""A command, run in a draft at the level that was found: what it says, bounded, and a clear word when it was ended.

The command sees the system's programs read-only, the draft at `/work` (at level 2 where it lies), a small `/tmp` of its own, no other
process, no device but the harmless ones, none of our environment, and no network. Where hosts were given leave, a port of the inside
leads to our proxy, and nowhere else. Started as root, it runs as a user that has no account.
"""

import asyncio
import codecs
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from headrace.core.errors import SandboxRefused
from headrace.sandbox.draft import Draft, found_beneath
from headrace.sandbox.level import NOBODY, Level, is_root
from headrace.sandbox.limits import STOPPED_SAYS, Limits, Outcome, Stopped
from headrace.sandbox.seccomp import program

PROXY_PORT: Final = 3_128
USER_FIRST: Final = 61_184
USERS: Final = 4_000
"""Within the numbers that systemd keeps for users that exist only while something runs."""
INNER: Final = Path(__file__).with_name("inner.py")
LINED: Final = Path(__file__).with_name("lined.py")
OUTER: Final = Path(__file__).with_name("outer.py")
SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32")
ETC: Final = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/localtime",
    "/etc/passwd",
    "/etc/group",
    "/etc/mime.types",
)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TMP_BYTES: Final = 256 << 20
_PIECE: Final = 65_536
_GROWTH_CHECK_S: Final = 1.0
TOLD_EVERY_S: Final = 0.05
"""What is said in between is told at once: nobody reads faster."""


def unheard(said: str) -> None:
    """For who needs nothing of it before the end."""


async def run(
    command: str,
    draft: Draft,
    level: Level,
    limits: Limits,
    *,
    proxy: Path | None = None,
    hear: Callable[[str], None] = unheard,
    halt: asyncio.Event | None = None,
) -> Outcome:
    """Run it to its end, or to the first limit. `proxy` is the unix socket of the egress proxy, where hosts may be reached; `hear` is told
    what it says as it comes; when `halt` is set it is stopped."""
    return await run_line(confined(command, draft, level, limits, proxy=proxy), draft, limits, hear=hear, halt=halt)


async def run_line(
    line: "Line", draft: Draft, limits: Limits, *, hear: Callable[[str], None] = unheard, halt: asyncio.Event | None = None
) -> Outcome:
    """The same for what is confined already."""
    process = await asyncio.create_subprocess_exec(
        *line.words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=line.environment,
        cwd="/",
        start_new_session=True,
    )
    return await _watched(process, draft, limits, hear, halt or asyncio.Event())


class Line(msgspec.Struct, frozen=True):
    """A program that confines what it runs: its words, and all that it gets of an environment."""

    words: list[str]
    environment: dict[str, str]


def confined(
    command: str,
    draft: Draft,
    level: Level,
    limits: Limits,
    *,
    proxy: Path | None = None,
    read: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
    is_proxy: bool = True,
) -> Line:
    """How the command is run, for who starts it; `read` are more paths that it sees. What lies behind `proxy` is one, and the command's
    environment says so, unless it `is_proxy` no more than a door to one server. Raises SandboxRefused where nothing confines it."""
    if level.rung == 0:
        raise SandboxRefused(f"There is {level.says}")
    if level.rung == 2 and proxy is not None:
        raise SandboxRefused("At level 2 of the sandbox no command gets a network. Install bubblewrap for level 3.")
    _hand_over(draft)
    folder = folder_shown(level, draft, read)
    told = _told(command, folder, draft, level, limits, proxy, read)
    own = _environment(level, draft, proxy if is_proxy else None)
    return Line(_line(told, folder, draft, level, proxy, read), {**own, **(environment or {})})


def bounded(line_bytes_max: int, why: Path) -> list[str]:
    """What to put before a program that speaks in lines, so that one with a longer line is ended, and `why` says so."""
    return [os.path.realpath(sys.executable), "-I", "-S", str(LINED), str(line_bytes_max), str(why)]


def folder_shown(level: Level, draft: Draft, read: Sequence[Path]) -> str:
    """Where the command sees the draft."""
    if level.rung != 3:
        return str(draft.work)
    return "/draft" if any(path.is_relative_to("/work") for path in read) else "/work"


def _told(command: str, folder: str, draft: Draft, level: Level, limits: Limits, proxy: Path | None, more: Sequence[Path]) -> str:
    """What `inner` is to do, as its one argument."""
    confined = level.rung == 3
    read = [*SYSTEM, *ETC, "/proc", "/dev", sys.base_prefix, *(("/run/headrace",) if confined else ()), *map(str, more)]
    write = [folder, *(("/tmp", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/shm") if confined else ("/dev/null", "/dev/zero"))]  # noqa: S108 its own
    filtered = program(confined=confined)
    assert filtered is not None, "a level above 0 has a filter"
    return json.dumps(
        {
            "command": command,
            "folder": folder,
            "limits": {
                "RLIMIT_NPROC": limits.processes_max,
                "RLIMIT_AS": limits.memory_bytes_max,
                "RLIMIT_FSIZE": limits.file_bytes_max,
                "RLIMIT_NOFILE": limits.open_files_max,
                "RLIMIT_CORE": 0,
            },
            "landlock": {"read": read, "write": write, "abi": level.landlock_abi},
            "seccomp": filtered.hex(),
            "proxy": "/run/headrace/proxy.sock" if proxy else None,
            "port": PROXY_PORT,
            "user": user_of(draft) if is_root() and not confined else None,
        }
    )


def _line(inner: str, folder: str, draft: Draft, level: Level, proxy: Path | None, read: Sequence[Path]) -> list[str]:
    """The program and its arguments."""
    python = [os.path.realpath(sys.executable), "-I", "-S"]
    if level.rung == 2 or level.bwrap is None:
        return [*python, str(INNER), inner]
    binds = {"work": draft.work, "inner.py": INNER, "python": Path(sys.base_prefix), **({"proxy.sock": proxy} if proxy else {})}
    binds.update((f"read{number}", path) for number, path in enumerate(read))
    shown = {name: f"/mnt/{name}" if is_root() else str(path) for name, path in binds.items()}
    line = [level.bwrap, "--unshare-all", "--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL"]
    line += ["--new-session", "--die-with-parent", "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"]
    line += ["--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108 a new one, inside
    line += [word for path in (*SYSTEM, *ETC) if os.path.exists(path) for word in bound(path)]
    if not sys.base_prefix.startswith("/usr"):
        line += ["--ro-bind", shown["python"], sys.base_prefix]
    line += ["--ro-bind", shown["inner.py"], "/run/headrace/inner.py", "--bind", shown["work"], folder]
    line += [word for number, path in enumerate(read) for word in ("--ro-bind", shown[f"read{number}"], str(path))]
    if proxy is not None:
        line += ["--bind", shown["proxy.sock"], "/run/headrace/proxy.sock"]
    line += ["--chdir", folder, "--", *python, "/run/headrace/inner.py", inner]
    if not is_root():
        return line
    told = {"binds": {name: str(path) for name, path in binds.items()}, "line": line, "user": user_of(draft)}
    return [*python, str(OUTER), json.dumps(told)]


def bound(path: str) -> tuple[str, ...]:
    """How bubblewrap is told to show a path of the system, read-only and where it is."""
    return ("--symlink", os.readlink(path), path) if os.path.islink(path) and path in SYSTEM else ("--ro-bind", path, path)


def _environment(level: Level, draft: Draft, proxy: Path | None) -> dict[str, str]:
    """All that the command gets of an environment; none of ours."""
    bins = f"{_PATH}:{sys.base_prefix}/bin"
    home = "/tmp" if level.rung == 3 else str(draft.work)  # noqa: S108 its own
    bare = {
        "PATH": bins,
        "HOME": home,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # what it prints is seen when it does
        "HEADRACE_SANDBOX": str(level.rung),
    }
    address = f"http://127.0.0.1:{PROXY_PORT}"
    return {
        **bare,
        **(dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), address) if proxy else {}),
    }


def user_of(draft: Draft) -> int:
    """As whom the draft's commands run when we are root: a number that no account has, so that two runs can't touch each other."""
    return USER_FIRST + crc32(bytes(draft.place)) % USERS


def _hand_over(draft: Draft) -> None:
    """As root: the draft belongs to whom the command runs as. Links are given, never followed."""
    if not is_root():
        return
    work, user = draft.work, user_of(draft)
    os.chown(work, user, user)
    for found in found_beneath(work):
        with contextlib.suppress(FileNotFoundError):
            os.chown(found.name, user, user, dir_fd=found.folder, follow_symlinks=False)


async def _watched(
    process: asyncio.subprocess.Process, draft: Draft, limits: Limits, hear: Callable[[str], None], halt: asyncio.Event
) -> Outcome:
    """Gather what it says until it ends or reaches a limit; then nothing of it is left."""
    assert process.stdout is not None
    assert process.stderr is not None
    speech = _Speech(hear, limits.output_bytes_max)
    stopped: list[Stopped] = []

    def stop(why: Stopped) -> None:
        if not stopped:
            stopped.append(why)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def weigh() -> None:
        while True:
            await asyncio.sleep(_GROWTH_CHECK_S)
            weight = await asyncio.to_thread(draft.weight)
            if weight.bytes > limits.draft_bytes_max:
                stop("draft")
            elif weight.entries > limits.draft_entries_max or weight.deep:
                stop("entries")

    async def obey() -> None:
        await halt.wait()
        stop("person")

    try:
        async with asyncio.timeout(limits.seconds_max), asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(each) for each in (weigh(), obey(), speech.tell())]
            tasks.create_task(speech.gather(process.stdout, speech.out, stop))
            tasks.create_task(speech.gather(process.stderr, speech.err, stop))
            await process.wait()
            for task in beside:
                task.cancel()
    except TimeoutError:
        stop("time")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = await process.wait()
        for stream in (process.stdout, process.stderr):
            while await stream.read(_PIECE):
                pass  # whoever held the other end is gone
        speech.pass_on()
    why = stopped[0] if stopped else None
    limit = {
        "time": f"{limits.seconds_max:g}",
        "output": f"{limits.output_bytes_max:,}",
        "draft": f"{limits.draft_bytes_max:,}",
        "entries": f"{limits.draft_entries_max:,}",
    }
    says = STOPPED_SAYS[why].format(limit=limit.get(why, "")) if why else ""
    return Outcome(code, speech.out.decode(errors="replace"), speech.err.decode(errors="replace"), why, says)


class _Speech:
    """What a command says, kept up to a bound, and passed on as it comes: the first words at once, more of them together."""

    def __init__(self, hear: Callable[[str], None], bytes_max: int) -> None:
        self._hear, self._bytes_max = hear, bytes_max
        self.out, self.err = bytearray(), bytearray()
        self._said: list[str] = []
        self._news = asyncio.Event()

    async def gather(self, stream: asyncio.StreamReader, kept: bytearray, stop: Callable[[Stopped], None]) -> None:
        """Keep all of it; `stop` is told when that is too much."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while piece := await stream.read(_PIECE):
            room = max(self._bytes_max - len(self.out) - len(self.err), 0)
            kept += piece[:room]
            self._add(decoder.decode(piece[:room]))
            if len(piece) > room:
                stop("output")
        self._add(decoder.decode(b"", final=True))

    def _add(self, text: str) -> None:
        if text:
            self._said.append(text)
            self._news.set()

    async def tell(self) -> None:
        while True:
            await self._news.wait()
            self.pass_on()
            await asyncio.sleep(TOLD_EVERY_S)

    def pass_on(self) -> None:
        self._news.clear()
        said, self._said = "".join(self._said), []
        if said:
            self._hear(said)
