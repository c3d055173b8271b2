"""The runs of the workspace: who works on which, what each begins with, and how a new one leaves an old one.

A run lies in a folder of its own: its log, its grant, its mail, its draft. Any worker of the server may take it up; the log's lock says who
has. What is marked as being worked on when nobody does was cut off by a crash, and is gone on with at the next start.
"""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import msgspec

from headrace.agents import Budget, Grant
from headrace.agents.events import Event, PersonSaid, ToolsGiven
from headrace.core.clock import Clock, Moment
from headrace.core.errors import HeadraceError, InternalFailure, RunBusy, RunNotFound
from headrace.sandbox import Draft, Level, Limits
from headrace.sandbox.cloning import Source, clone
from headrace.storage import Entry, LocalArchive, RunLog, Thread, ThreadState, add_text, owner_of_thread, read_run, stand, thread_of_run
from headrace.workspace.driver import Driver, Granted
from headrace.workspace.instructions import brought_along
from headrace.workspace.intents import INTENTS, Intent, intent_of
from headrace.workspace.live import Follower, Live
from headrace.workspace.mail import MAIL, Letter, Say, Stop, Task, post, spoken, take, waits
from headrace.workspace.outfit import Outfit, equipped
from headrace.workspace.pictures import copy_pictures, named_in
from headrace.workspace.porting import left
from headrace.workspace.remembering import Remembering
from headrace.workspace.telling import RunStands
from headrace.workspace.toolbox import Toolbox
from headrace.workspace.work import Speaker, Work, said_in

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
TITLE_MAX: Final = 60
DRIVING: Final = "driving"
BUSY_S: Final = 0.05
LINGER_S: Final = 600.0
LINGERING_MAX: Final = 4
"""How long, and how many of them at most, browsers stay open after the last step of their runs: people may look, sign in, answer."""
CEASE_S_MAX: Final = 10.0
LOOK_S, LOOK_IDLE_S, IDLE_S = 0.1, 0.5, 5.0
"""How often a follower looks for what another worker of this server does, and when for so long nothing was done; what this process does is
told at once."""


class Watched(NamedTuple):
    """What happened since one looked last: events by number, what was told between them, and for how long nothing has."""

    events: list[tuple[int, bytes]]
    moments: list[bytes]
    quiet_s: float


class Leaves(Protocol):
    """The leave that was signed for a run: what it may do now, and whether its changes are taken over unasked."""

    def __call__(self) -> Grant:
        """Raises LeaveInvalid."""
        ...

    @property
    def takes(self) -> bool:
        """Raises LeaveInvalid."""
        ...


Memory: TypeAlias = Callable[[str, Thread, str], Remembering]
"""The memory of an owner, for a thread and one run of it."""


class Speakers(Protocol):
    """Makes a speaker for one run: on behalf of the key of this digest, by the model's name or any, told of each word as it comes.
    `pictures`: some are shown, so that of any model one is chosen that sees."""

    def __call__(self, key: bytes, model: str, session: str, tell: Callable[[str, bool], None], *, pictures: bool) -> Speaker:
        """Raises HeadraceError where the key or the model is gone."""
        ...


class Runs:
    """All runs of the data folder, as far as this process works on them. `level` finds the sandbox's level, once, in a thread; `outfit` is
    what agents have beside the workspace's own tools, and `memory` what they remember; None: nothing. `leaves` finds the leave that was
    signed for the run in a folder, None where it has only its own grant; `told` hears how runs come to a stand."""

    def __init__(
        self,
        *,
        folder: Path,
        origins: Path,
        archive: LocalArchive,
        clock: Clock,
        new_id: Callable[[str], str],
        speakers: Speakers,
        level: Callable[[], Level],
        outfit: Callable[[], Outfit],
        memory: Memory | None,
        leaves: Callable[[Path], Leaves | None],
        told: RunStands,
        spawn: Spawn,
        log: logging.Logger,
    ) -> None:
        self._folder, self._origins, self._archive, self._clock, self._new_id = folder, origins, archive, clock, new_id
        self._speakers, self._find_level, self._outfit, self._memory, self._spawn, self._log = speakers, level, outfit, memory, spawn, log
        self._leaves, self._told = leaves, told
        self._level: Level | None = None
        self._working: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._rooms = asyncio.Semaphore(LINGERING_MAX)
        self._followers: dict[str, set[asyncio.Event]] = {}
        self.stopping = False

    def home(self, run: str) -> Path:
        return self._folder / run

    def origin(self, thread: Thread) -> Path:
        """The folder that a thread works on: a project of the server's, or one of its own."""
        return Path(thread.folder) if thread.folder is not None else self._origins / thread.id

    def begin(self, run: str, budget: Budget, origin: Path, *, trusted: bool = False) -> None:
        """Make a new run, with a draft of this folder and what the folder brings along. In a thread: it may copy much."""
        home = self.home(run)
        self._make(home, budget)
        if origin.is_relative_to(self._origins):  # a folder of somebody's is there, or the person has mistyped it
            origin.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            draft = Draft.begin(origin, home / "draft")
        except HeadraceError:
            self.drop(run)
            raise
        self.write(run, [(self._clock.moment(), given) for given in brought_along(draft, trusted=trusted)])

    async def clone(self, thread: Thread, source: Source, *, local: bool) -> None:
        """Begin the thread's own folder with a repository; `local` allows those of this machine."""
        outfit, origin = self._outfit(), self.origin(thread)
        place = self._origins / f".{thread.id}"
        await clone(source, origin, place, await self._found_level(), local=local, ports=outfit.ports, private=outfit.private)

    async def _found_level(self) -> Level:
        if self._level is None:
            self._level = await asyncio.to_thread(self._find_level)
        return self._level

    def _make(self, home: Path, budget: Budget) -> None:
        home.mkdir(parents=True, mode=0o700)
        self.allow(home.name, budget)
        RunLog(home / "events.jsonl", new=True).close()

    def allow(self, run: str, budget: Budget) -> None:
        """From its next stretch of work on the run has this budget."""
        path = self.home(run) / "grant.json"
        held = msgspec.json.decode(path.read_bytes(), type=Grant) if path.exists() else Grant()
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(msgspec.structs.replace(held, budget=budget)))
        fresh.replace(path)

    def budget(self, run: str) -> Budget:
        return self._grant(run).budget

    def entries(self, run: str) -> tuple[Entry, ...]:
        return read_run(self.home(run) / "events.jsonl")

    def fork(self, run: str, fresh: str, at: int) -> None:
        """A new run that has happened like `run` until its event `at`, and goes its own way from there. Its files are as they are now.
        In a thread: it may copy much."""
        self._make(self.home(fresh), self.budget(run))
        self.write(fresh, left(self.entries(run), at))
        self.draft(run).copy(self.home(fresh) / "draft")
        copy_pictures(self.home(run), self.home(fresh))

    def write(self, run: str, events: list[tuple[Moment, Event]]) -> None:
        """What happened elsewhere, as this new run's own beginning."""
        log = RunLog(self.home(run) / "events.jsonl")
        try:
            for at, event in events:
                log.append(event, at, durable=False)
        finally:
            log.close()

    def drop(self, run: str) -> None:
        """Its log, its draft, everything. In a thread."""
        shutil.rmtree(self.home(run), ignore_errors=True)

    def forget(self, thread: Thread, runs: Collection[str], *, shared: bool = False) -> None:
        """All of a thread: these runs of it, and the folder of its own that they worked on, unless it is `shared`. In a thread."""
        drafts = [draft for run in runs if (draft := Draft.open(self.home(run) / "draft")) is not None]
        for run in runs:
            self.drop(run)
        if thread.folder is None and not shared:
            for folder in {self.origin(thread), *(draft.origin for draft in drafts)}:
                if self._origins.resolve() in folder.resolve().parents:
                    shutil.rmtree(folder, ignore_errors=True)

    def post(self, run: str, letter: Letter) -> None:
        """Tell a run something; it is worked on from now on, if that gives it anything to do."""
        self.put(run, letter)
        self.take_up(run)

    def put(self, run: str, letter: Letter) -> None:
        """Have it told as soon as the run is taken up, at the latest at the next start."""
        post(self.home(run), self._new_id("letter_"), letter)

    def take_up(self, run: str) -> None:
        """Work on it, if there is anything to do."""
        self._ensure(run, resumed=False)

    def resume(self, run: str) -> None:
        """Go on with it where it was."""
        self._ensure(run, resumed=True)

    def works_on(self, run: str) -> bool:
        return run in self._working

    async def cease(self, run: str) -> None:
        """Stop working on it, as at the end of the server; where another worker of this server does, have it stop."""
        working = self._working.get(run)
        if working is not None:
            working[0].cancel()
            await asyncio.wait((working[0],))
        told = False
        with contextlib.suppress(HeadraceError, TimeoutError):
            async with asyncio.timeout(CEASE_S_MAX):
                while (log := self._taken(run)) is None:
                    if not told:
                        told = True
                        post(self.home(run), self._new_id("letter_"), Stop())
                    await asyncio.sleep(BUSY_S)
                log.close()

    def recover(self) -> None:
        """Go on with what a crash or a stop cut off."""
        if not self._folder.exists():
            return
        begun = {marker.parent for marker in self._folder.glob(f"*/{DRIVING}")}
        asked = {letter.parent.parent for letter in self._folder.glob(f"*/{MAIL}/[!.]*")}  # and nobody had taken it up
        for home in sorted(begun | asked):
            self._ensure(home.name, resumed=home in begun)

    def follow(self, run: str) -> asyncio.Event:
        """Set whenever something happens in a run that this process works on."""
        news = asyncio.Event()
        self._followers.setdefault(run, set()).add(news)
        return news

    async def watch(self, run: str, after: int) -> AsyncGenerator["Watched", None]:
        """What happens in a run, whoever works on it, after the event of this number; also when nothing did, now and then. It ends with the
        server."""
        news, follower, quiet_s = self.follow(run), Follower(self.home(run), after), 0.0
        try:
            while not self.stopping:
                news.clear()
                events, moments = follower.events(), follower.moments()
                quiet_s = 0.0 if events or moments else quiet_s
                yield Watched(events, moments, quiet_s)
                look_s = LOOK_S if quiet_s < IDLE_S else LOOK_IDLE_S
                try:
                    async with asyncio.timeout(look_s):
                        await news.wait()
                except TimeoutError:
                    quiet_s += look_s
        finally:
            self.unfollow(run, news)

    def unfollow(self, run: str, news: asyncio.Event) -> None:
        followers = self._followers.get(run, set())
        followers.discard(news)
        if not followers:
            self._followers.pop(run, None)

    async def stop(self) -> None:
        """Let go of everything; it is gone on with at the next start."""
        self.stopping = True
        for task, _ in list(self._working.values()):
            task.cancel()
        if self._working:
            await asyncio.wait([task for task, _ in self._working.values()])

    def _ensure(self, run: str, *, resumed: bool) -> None:
        working = self._working.get(run)
        if working is not None:
            working[1].set()
        elif not self.stopping:
            woken = asyncio.Event()
            self._working[run] = self._spawn(self._work(run, woken, resumed=resumed)), woken

    async def _work(self, run: str, woken: asyncio.Event, *, resumed: bool) -> None:
        """Take the run up as soon as nobody else has it, for as long as there is anything to do."""
        try:
            while resumed or waits(self.home(run)):
                log = await asyncio.to_thread(self._taken, run)
                if log is None and resumed and not waits(self.home(run)):
                    return  # another worker goes on with it
                if log is None:
                    await asyncio.sleep(BUSY_S)  # whoever has it takes the mail
                    continue
                with contextlib.closing(log):
                    await self._stretch(run, log, woken, resumed=resumed)
                resumed = False
        except Exception:  # noqa: BLE001 -- a task that raises would end the server, which owns it
            self._log.exception("a run can't be worked on", extra={"run": run})
            with contextlib.suppress(Exception):
                take(self.home(run))  # what it fails on again is asked again by whoever asked it
                await self._archive.run(stand, run, "failed", self._clock.moment(), 0, 0)
        finally:
            self._working.pop(run, None)
        if not self.stopping and waits(self.home(run)):  # it came while we let go
            self._ensure(run, resumed=False)

    def _taken(self, run: str) -> RunLog | None:
        """The run's log, ours alone; None: another process has it."""
        try:
            return RunLog(self.home(run) / "events.jsonl")
        except RunBusy:
            return None

    async def _stretch(self, run: str, log: RunLog, woken: asyncio.Event, *, resumed: bool) -> None:
        home = self.home(run)
        (home / DRIVING).touch()
        live = Live(home, lambda: self._news(run))
        try:
            await self._worked(run, log, live, woken, resumed=resumed)
        except HeadraceError as error:
            live.fail(error)
            await self._failed(run, log, error)
        except Exception:  # noqa: BLE001 -- whatever our fault is, the page is told and the log the cause
            self._log.exception("a fault of ours in a run", extra={"run": run})
            failure = InternalFailure("headrace failed. Its log tells why.")
            live.fail(failure)
            await self._failed(run, log, failure)
        finally:
            live.close()
        (home / DRIVING).unlink(missing_ok=True)  # not when we are stopped: then the next start goes on

    async def _failed(self, run: str, log: RunLog, why: HeadraceError) -> None:
        await self._archive.run(stand, run, "failed", self._clock.moment(), 0, 0)
        self._keep_said(self.home(run), log)
        await self._tell(run, [entry.event for entry in self.entries(run)], "failed", why)

    async def _tell(self, run: str, events: Sequence[Event], state: ThreadState, why: HeadraceError | None) -> None:
        """Outside, as the thread stands by now."""
        thread = await self._archive.run(thread_of_run, run)
        if thread is not None:
            await self._told(await self._archive.run(owner_of_thread, thread.id), thread, run, events, state, why)

    def _keep_said(self, home: Path, log: RunLog) -> None:
        """What was told to a run that can't be worked on is not told again for ever, and what the person said is kept."""
        for letter in take(home):
            if isinstance(letter, Say | Task):
                log.append(said_in(letter, self._grant(home.name)), self._clock.moment(), durable=True)

    async def _worked(self, run: str, log: RunLog, live: Live, woken: asyncio.Event, *, resumed: bool) -> None:
        """Work on it until nothing is left to do, and, while a browser is open that people may use, until they leave it alone."""
        thread, draft, home = await self._thread(run), self.draft(run), self.home(run)
        level = await self._found_level()
        events = [entry.event for entry in log.entries]
        coming = spoken(home)
        talks = _intent(thread, [*events, *coming]) == "chat" and not any(isinstance(event, ToolsGiven) for event in events)
        bare = Outfit() if talks else self._outfit()  # who only talks needs no servers and no browser to be started
        owner = await self._archive.run(owner_of_thread, thread.id)
        memory = None if self._memory is None else self._memory(owner, thread, run)
        kits = [] if memory is None else [memory]

        async def equip(driver: Driver) -> None:
            if not talks:
                toolbox.give(driver)
            if memory is not None:
                await memory.bring(driver)

        async with equipped(bare, draft, level, Limits(), live.note, *kits, screen=live, home=home) as toolbox:
            while True:
                signed = self._leaves(home)
                work = await self._work_with(run, log, live, woken, toolbox, signed)
                await work.go_on(resumed=resumed, equip=equip)
                resumed = False
                if signed is not None and work.ended and signed.takes:
                    await asyncio.to_thread(draft.take_over)
                if not await self._lingers(run, woken, toolbox):
                    return

    async def _work_with(self, run: str, log: RunLog, live: Live, woken: asyncio.Event, toolbox: Toolbox, signed: Leaves | None) -> Work:
        """Work for the thread as it is now: its model, its intent and its budget may have changed."""
        thread, own = await self._thread(run), self._grant(run)
        said = [*(entry.event for entry in log.entries), *spoken(self.home(run))]
        speaker = self._speakers(
            thread.key,
            thread.model,
            thread.id,
            lambda text, thought: live.words(text, thought=thought),
            pictures=bool(named_in(said)),
        )
        granted: Granted = (lambda: own) if signed is None else signed

        async def keep(
            state: ThreadState, said: list[tuple[int, str]], pico_usd: int, tokens: int, events: Sequence[Event], why: HeadraceError | None
        ) -> None:
            if said:
                await self._archive.run(add_text, thread.id, run, said)
            await self._archive.run(stand, run, state, self._clock.moment(), pico_usd, tokens)
            await self._tell(run, events, state, why)
            self._news(run)

        return Work(
            home=self.home(run),
            log=log,
            speaker=speaker,
            hands=toolbox,
            grant=granted,
            clock=self._clock,
            intent=lambda events: _intent(thread, events),
            live=live,
            woken=woken,
            keep=keep,
            by="the person",
            interrupt=toolbox.interrupt,
        )

    async def _lingers(self, run: str, woken: asyncio.Event, toolbox: Toolbox) -> bool:
        """Wait with what is open for people until there is mail, or they have left it alone for long; whether there is mail."""
        if toolbox.pulse() is None or self._rooms.locked():
            return False
        async with self._rooms:
            pulse, quiet_s = toolbox.pulse(), 0.0
            while quiet_s < LINGER_S and toolbox.pulse() is not None:
                if waits(self.home(run)):
                    return True
                woken.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await woken.wait()
                quiet_s = quiet_s + LOOK_S if toolbox.pulse() == pulse else 0.0
                pulse = toolbox.pulse()
        return False

    async def _thread(self, run: str) -> Thread:
        thread = await self._archive.run(thread_of_run, run)
        if thread is None:
            raise InternalFailure(f"Run {run} belongs to no thread.")
        return thread

    def draft(self, run: str) -> Draft:
        """The files of a run. Raises RunNotFound."""
        found = Draft.open(self.home(run) / "draft")
        if found is None:
            raise RunNotFound(run)
        return found

    def _grant(self, run: str) -> Grant:
        return msgspec.json.decode((self.home(run) / "grant.json").read_bytes(), type=Grant)

    def _news(self, run: str) -> None:
        for news in self._followers.get(run, ()):
            news.set()


def _intent(thread: Thread, events: Sequence[Event]) -> Intent:
    """What the thread says, or else what the person's last words mean."""
    last = next((event.text for event in reversed(events) if isinstance(event, PersonSaid)), "")
    return INTENTS.get(thread.intent) or intent_of(last, folder=thread.folder is not None)


def title_of(text: str) -> str:
    """What a thread is called that begins with this text."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_MAX else f"{line[: TITLE_MAX - 1].rstrip()}…"
