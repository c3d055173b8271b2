"""Keeps a worker process alive: loads it, notices its end or its silence, starts the next.

launch ──Loaded──> up ──ends, or silent while it has work──> down ──backoff──> launch …
   └──Broken, ended, too long──> SetupError at the start; later: down, and again
"""

import asyncio
import logging
from typing import Generic, Protocol, TypeVar

from headrace.core.errors import SetupError
from headrace.engine.frames import Broken, Loaded
from headrace.engine.process import WorkerProcess

BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
LIVED_WELL_S = 60.0  # a worker that lived so long starts the next one's backoff anew
WATCH_S = 1.0

Message = TypeVar("Message", contravariant=True)


class Owner(Protocol[Message]):
    """Who has the work done. All is called on the event loop."""

    def setup(self) -> bytes:
        """The first frame to a worker."""
        ...

    def decode(self, body: bytes) -> object:
        """A frame from the worker as a message."""
        ...

    def heard(self, message: Message) -> None:
        """A message other than Loaded and Broken."""
        ...

    def up(self) -> None:
        """A worker has loaded again, and can be given what waits."""
        ...

    def down(self, why: str, last: bool) -> None:
        """The worker is gone, with all that it had begun; with `last`, no other follows soon."""
        ...

    def busy(self) -> bool:
        """Whether the worker owes an answer."""
        ...


class Supervisor(Generic[Message]):
    """One worker process at a time, for `owner`. `module` is what it runs, `what` what it is called in messages."""

    def __init__(
        self, owner: Owner[Message], module: str, what: str, load_timeout_s: float, stall_timeout_s: float, log: logging.Logger
    ) -> None:
        self._owner, self._module, self._what, self._log = owner, module, what, log
        self._load_timeout_s, self._stall_timeout_s = load_timeout_s, stall_timeout_s
        self._worker: WorkerProcess | None = None
        self._heard_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.ready = False
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        return self._worker.pid if self._worker else None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Load the first worker; from then on a task of `tasks` keeps one alive. Raises SetupError."""
        await self._launch(tasks)
        self._task = tasks.create_task(self._supervise(tasks), name=f"headrace {self._what}")
        await asyncio.sleep(0)  # it has begun: were it cancelled before, its `finally` would not end the worker

    async def stop(self) -> None:
        """End the worker and the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def send(self, body: bytes) -> None:
        """To the worker, if there is one that has loaded; otherwise `up` is the time to say it again."""
        if self._worker is not None and self.ready:
            self._worker.send(body)

    def work_begins(self) -> None:
        """An idle worker has nothing to say: its silence counts from now."""
        self._heard_at = _now()

    async def _launch(self, tasks: asyncio.TaskGroup) -> None:
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def hear(body: bytes) -> None:
            self._heard_at = _now()
            message = self._owner.decode(body)
            if isinstance(message, Loaded):
                loaded.set_result(None)
            elif isinstance(message, Broken):
                loaded.set_exception(SetupError(f"The {self._what} cannot be loaded: {message.message}"))
            else:
                self._owner.heard(message)  # type: ignore[arg-type]  # decode gives Message beside these two

        worker = await WorkerProcess.spawn(self._module, hear)
        worker.send(self._owner.setup())
        dying = tasks.create_task(worker.ended())
        either: list[asyncio.Future[None] | asyncio.Future[int]] = [loaded, dying]
        try:
            await asyncio.wait(either, timeout=self._load_timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not loaded.done():
                loaded.set_exception(SetupError(f"The {self._what} cannot be loaded: {self._silence(worker, dying)}"))
            loaded.result()
        except BaseException:
            worker.kill()
            await asyncio.wait([dying])
            raise
        self._worker, self._dying, self.ready, self._heard_at = worker, dying, True, _now()

    def _silence(self, worker: WorkerProcess, dying: "asyncio.Future[int]") -> str:
        if dying.done():
            return f"its worker {_ending(dying.result())}. {worker.last_words}".rstrip()
        return f"it takes longer than {self._load_timeout_s:g} s (engine.load_timeout_s)."

    async def _supervise(self, tasks: asyncio.TaskGroup) -> None:
        tries, launched_at = 0, _now()
        try:
            while True:
                await self._watch()
                tries = 0 if _now() - launched_at > LIVED_WELL_S else tries
                while not self.ready:
                    await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
                    tries, launched_at = tries + 1, _now()
                    await self._relaunch(tasks)
        finally:
            self.ready = False
            if self._worker is not None:
                await self._worker.end()
                await asyncio.wait([self._dying])
                self._worker = None
            self._owner.down("The engine is shutting down.", last=True)

    async def _watch(self) -> None:
        """Until the worker's end; one that has work and says nothing for too long is ended."""
        worker = self._worker
        assert worker is not None
        while not self._dying.done():
            await asyncio.wait([self._dying], timeout=WATCH_S)
            silent_s = _now() - self._heard_at
            if self._owner.busy() and silent_s > self._stall_timeout_s and not self._dying.done():
                self._log.error("the %s's worker %d said nothing for %.0f s and is ended", self._what, worker.pid, silent_s)
                worker.kill()
        self._worker, self.ready = None, False
        self._log.error("the %s's worker %d %s. %s", self._what, worker.pid, _ending(self._dying.result()), worker.last_words)
        self._owner.down("The engine's worker ended while it worked on this request; it is being restarted.", last=False)

    async def _relaunch(self, tasks: asyncio.TaskGroup) -> None:
        self.restarts += 1
        try:
            await self._launch(tasks)
        except (SetupError, OSError) as failure:
            self._log.error("the %s's worker could not be restarted: %s", self._what, failure)
            self._owner.down("The engine's worker ended and could not be restarted.", last=True)
            return
        self._log.warning("the %s's worker was restarted as %d", self._what, self.pid)
        self._owner.up()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ending(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
