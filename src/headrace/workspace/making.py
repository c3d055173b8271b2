"""Plans and simulations that the page asks for: one at a time on a data folder, done by the terminal's own command in a process of its own.

    asked ─► checked as the command would ─► the lock ─► the command, followed by what it says ─► its report in the list, or why not
                                                              ▲ stopped from any worker by a file, by the clock, or with the server

How far it is lies in one file, which every worker reads. Where its server was killed the lock is free, and the next look says so.
"""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.core.clock import Clock, Moment
from headrace.core.errors import Conflict
from headrace.storage import FileLock
from headrace.workspace.bodies import as_json, read_body
from headrace.workspace.console import administrator
from headrace.workspace.runs import Spawn
from headrace.workspace.visitors import Visitors

ASKED_BYTES_MAX: Final = 1 << 20
SECONDS_MAX: Final = 1_800
LOOK_S: Final = 0.5
SAID_MAX: Final = 20
_KEPT: Final = re.compile(r"Kept as (report_\w+)")
_SHARE: Final = re.compile(r"(\d+) %, ")


class NewReport(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be found out. `source` names a scenario, or a demand file, that is offered; `text` is one as TOML instead.
    `portfolio` and `portfolio_text` are so of a plan. Empty ones are the examples that are shipped."""

    kind: Literal["simulation", "plan"]
    source: str = ""
    text: str = ""
    portfolio: str = ""
    portfolio_text: str = ""
    hours: float | None = None
    scale: float | None = None
    seed: int = 1


class Offered(msgspec.Struct, frozen=True):
    """What may be chosen by name, and what is to be installed first: in a sentence, empty where nothing is."""

    scenarios: tuple[str, ...]
    plans: tuple[str, ...]
    simulation_lacks: str
    plan_lacks: str


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands. `share` is of 1, None where nobody knows; `says` is the last that it said."""

    kind: Literal["simulation", "plan"]
    started: Moment
    share: float | None = None
    says: str = ""
    ended: Moment | None = None
    report: str | None = None
    failure: str | None = None


class Commands(Protocol):
    """The terminal's commands, as the page may have them run."""

    def offered(self) -> Offered: ...

    def line(self, asked: NewReport) -> Sequence[str]:
        """The whole command, which ends when its standard input does. Raises InvalidRequest that names the field, SettingsInvalid."""
        ...


class ReportMaking:
    """The handlers. `folder` is where it is written how far one is."""

    def __init__(
        self, visitors: Visitors, commands: Commands, folder: Path, clock: Clock, spawn: Spawn, stopping: Callable[[], bool], process: int
    ) -> None:
        self._visitors, self._commands, self._folder, self._clock = visitors, commands, folder, clock
        self._spawn, self._stopping, self._process = spawn, stopping, process
        self._task: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        return [Route("/workspace/api/console/reports/making", self.making, methods=["GET", "POST", "DELETE"])]

    async def making(self, request: Request) -> Response:
        """GET how the last one stands, and what may be asked for. POST: begin one. DELETE: stop it."""
        await administrator(self._visitors, request)
        if request.method == "GET":
            return as_json({"making": self._seen(), "offered": await asyncio.to_thread(self._commands.offered)})
        if request.method == "DELETE":
            if self._folder.exists():
                (self._folder / "stop").touch()
            return Response(status_code=204)
        asked = await read_body(request, NewReport, ASKED_BYTES_MAX)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(self._folder / "lock")
        if not lock.take(self._process):
            raise Conflict("Another plan or simulation is under way: wait for it, or stop it first.")
        try:
            line = await asyncio.to_thread(self._commands.line, asked)
            begun = self._write(Making(kind=asked.kind, started=self._clock.moment()))
            (self._folder / "stop").unlink(missing_ok=True)
            self._task = self._spawn(self._made(lock, line, begun))
        except BaseException:
            lock.release()
            raise
        return as_json({"making": begun}, 201)

    async def _made(self, lock: FileLock, line: Sequence[str], begun: Making) -> None:
        """Run it to its end, whatever ends it."""
        process = None
        stands = begun
        try:
            process = await asyncio.create_subprocess_exec(
                *line,
                stdin=asyncio.subprocess.PIPE,  # it ends when this process does, in whatever way
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            stands = await self._followed(process, begun)
        except* (OSError, ValueError) as wrong:  # a full disk, a line without an end: whatever it is, the server goes on
            what = "started" if process is None else "followed"
            stands = msgspec.structs.replace(begun, failure=f"The command can't be {what}: {_first(wrong)}.")
        finally:
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if stands.ended is None and stands.report is None and stands.failure is None:
                stands = msgspec.structs.replace(stands, failure="The server was stopped.")
            with contextlib.suppress(OSError):  # then the next look finds it begun, and nobody at it
                self._write(msgspec.structs.replace(stands, ended=self._clock.moment()))
            lock.release()

    async def _followed(self, process: asyncio.subprocess.Process, stands: Making) -> Making:
        assert process.stderr is not None
        said: list[str] = []
        why: list[str] = []

        async def watched() -> None:
            for _ in range(int(SECONDS_MAX / LOOK_S)):
                await asyncio.sleep(LOOK_S)
                if (self._folder / "stop").exists() or self._stopping():
                    why.append("Somebody stopped it." if not self._stopping() else "The server was stopped.")
                    break
            else:
                why.append(f"It took longer than {SECONDS_MAX // 60} minutes: take a smaller scale, or do it at the terminal.")
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)

        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watched())
            async for raw in process.stderr:
                words = raw.decode("utf-8", "replace").strip()
                if not words:
                    continue
                said = [*said, words][-SAID_MAX:]
                share, kept = _SHARE.match(words), _KEPT.match(words)
                stands = msgspec.structs.replace(
                    stands,
                    says=words,
                    share=int(share[1]) / 100 if share else stands.share,
                    report=kept[1] if kept else stands.report,
                )
                self._write(stands)
            code = await process.wait()
            watching.cancel()
        if why or code != 0:
            stands = msgspec.structs.replace(stands, failure=why[0] if why else said[-1] if said else f"It ended with {code}.")
        return stands

    def _seen(self) -> Making | None:
        """How the last one stands; one whose server was killed has failed."""
        try:
            stands = msgspec.json.decode((self._folder / "stands.json").read_bytes(), type=Making)
        except (OSError, msgspec.MsgspecError):
            return None
        if stands.ended is None:
            lock = FileLock(self._folder / "lock")
            if lock.take(self._process):
                lock.release()
                return msgspec.structs.replace(stands, ended=stands.started, failure="Its server was killed.")
        return stands

    def _write(self, stands: Making) -> Making:
        fresh = self._folder / ".stands.json"
        fresh.write_bytes(msgspec.json.encode(stands))
        fresh.replace(self._folder / "stands.json")
        return stands


def _first(wrong: BaseException) -> BaseException:
    """Of several that came together."""
    return _first(wrong.exceptions[0]) if isinstance(wrong, BaseExceptionGroup) else wrong
