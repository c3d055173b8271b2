"""Tasks that other agents give over A2A 1.0: each is a thread of the key's owner, worded by another agent.

    message ─► claimed by its id ─► a thread and its run, or more for one that goes on ─► followed until it stands
    running = working    waits for its owner = input required    done = completed    stopped = canceled    failed = failed

Nothing that the other agent says is its owner's word: what needs leave waits for them, in their inbox, and the other agent is told so. The
results are the answer and the files that the run has changed.
"""

import asyncio
import base64
import mimetypes
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import msgspec

from headrace.agents import Budget, Readers, Turn, Writers
from headrace.agents.events import ContextGiven, Ended, Event, ModelSaid, TaskGiven
from headrace.agents.question import question
from headrace.agents.tools import CARDS
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, SandboxRefused
from headrace.sandbox import Draft
from headrace.sandbox.draft import open_beneath, readable
from headrace.storage import (
    AgentTask,
    Branch,
    LocalArchive,
    Thread,
    ThreadState,
    claim_task,
    drop_task,
    keep_thread,
    last_of_context,
    stand,
    task_of,
    tasks_of,
)
from headrace.wire.a2a import (
    CONTENT_NOT_SUPPORTED,
    ENDED,
    INVALID_PARAMS,
    MOMENT_MAX,
    STANDS,
    TASK_NOT_CANCELABLE,
    UNSUPPORTED,
    Artifact,
    ArtifactUpdate,
    Fault,
    Listed,
    ListTasks,
    Message,
    OneTask,
    Part,
    PushConfig,
    SendMessage,
    Status,
    StatusUpdate,
    Streamed,
    Task,
    TaskState,
    moment_of,
    time_of,
)
from headrace.workspace.live import Begun, Happening, Words, stands
from headrace.workspace.mail import Stop
from headrace.workspace.mail import Task as TaskLetter
from headrace.workspace.pushes import Pushes, held_task
from headrace.workspace.runs import Runs, title_of
from headrace.workspace.visitors import Visitor

TEXT_CHARS_MAX: Final = 400_000
FILES_MAX: Final = 50
FILE_BYTES_MAX: Final = 1 << 20
FILES_BYTES_MAX: Final = 4 << 20
WAIT_S_MAX: Final = 600
"""So long who did not ask to be answered at once waits; then the task is told as it stands."""
FAILED_S: Final = 1.0
PAGE: Final = 50
PAGE_MAX: Final = 100
ANSWER: Final = "answer"
WHOSE: Final = ContextGiven("whose task this is", "The task comes from another agent.", Writers.ANYONE, Readers.ANYONE)
_STATES: Final[dict[ThreadState, TaskState]] = {
    "new": "TASK_STATE_SUBMITTED",
    "running": "TASK_STATE_WORKING",
    "waiting": "TASK_STATE_INPUT_REQUIRED",
    "done": "TASK_STATE_COMPLETED",
    "stopped": "TASK_STATE_CANCELED",
    "failed": "TASK_STATE_FAILED",
}
_PAUSED: Final = {
    "money": "The task's budget is used up: its owner has to give it more.",
    "tokens": "The task's tokens are used up: its owner has to give it more.",
    "steps": "The task has used all its steps: its owner has to give it more.",
}
_happening = msgspec.json.Decoder(Happening)


class AgentTasks:
    """`budget` is what one task may use before it waits for its owner."""

    def __init__(
        self,
        runs: Runs,
        archive: LocalArchive,
        pushes: Pushes,
        clock: Clock,
        new_id: Callable[[str], str],
        budget: Callable[[], Budget],
    ) -> None:
        self._runs, self._archive, self._pushes, self._clock = runs, archive, pushes, clock
        self._new_id, self._budget = new_id, budget

    async def send(self, visitor: Visitor, asked: SendMessage) -> Task:
        """Give a task, or say more about one; its answer waits until the task stands, unless who asks does not want to. Raises Fault."""
        claimed = await self._take_in(visitor, asked)
        configuration = asked.configuration
        if configuration is None or not configuration.return_immediately:
            try:
                async with asyncio.timeout(WAIT_S_MAX):
                    await self._stands(visitor, claimed)
            except TimeoutError:
                pass  # it is told as it is
        return await self.get(visitor, OneTask(id=claimed.thread, history_length=configuration.history_length if configuration else None))

    async def stream(self, visitor: Visitor, asked: SendMessage) -> AsyncGenerator[Streamed, None]:
        """The same, and what happens as it does. Raises Fault before the first."""
        claimed = await self._take_in(visitor, asked)
        return self._told(visitor, claimed)

    async def subscribe(self, visitor: Visitor, asked: OneTask) -> AsyncGenerator[Streamed, None]:
        """What happens to a task from now on. Raises Fault, also for one to which nothing will."""
        claimed, thread = await self._held(visitor, asked.id)
        if _STATES[thread.state] in ENDED:
            raise Fault(UNSUPPORTED, "The task is over: nothing more happens to it.")
        return self._told(visitor, claimed)

    async def get(self, visitor: Visitor, asked: OneTask) -> Task:
        """Raises Fault."""
        claimed, thread = await self._held(visitor, asked.id)
        return await asyncio.to_thread(self._whole, claimed, thread, asked.history_length, files=True)

    async def cancel(self, visitor: Visitor, asked: OneTask) -> Task:
        """Stop it. Raises Fault where it is over."""
        claimed, thread = await self._held(visitor, asked.id)
        if _STATES[thread.state] in ENDED:
            raise Fault(TASK_NOT_CANCELABLE, "The task is over already.")
        if thread.state == "running":
            self._runs.post(thread.run, Stop())
            await self._stands(visitor, claimed)
        else:  # nobody works on it, and from now on nobody shall
            await self._archive.run(stand, thread.run, "stopped", self._clock.moment(), 0, 0)
            claimed, thread = await self._held(visitor, asked.id)
            events = [entry.event for entry in self._runs.entries(thread.run)]
            await self.run_stands(visitor.owner, thread, thread.run, events, "stopped", None)
        return await self.get(visitor, asked)

    async def list(self, visitor: Visitor, asked: ListTasks) -> Listed:
        """The tasks of this key's owner, the latest changed first. Raises Fault."""
        size = PAGE if asked.page_size is None else asked.page_size
        if not 1 <= size <= PAGE_MAX:
            raise Fault(INVALID_PARAMS, f"pageSize is 1 to {PAGE_MAX}.")
        states = tuple(state for state, named in _STATES.items() if asked.status in (None, "TASK_STATE_UNSPECIFIED", named))
        since = 0 if asked.status_timestamp_after is None else moment_of(asked.status_timestamp_after)
        found, total = (
            await self._archive.run(
                tasks_of, visitor.owner, asked.context_id or None, states, since, _before(asked.page_token or ""), size + 1
            )
            if states
            else ([], 0)
        )
        shown = found[:size]
        whole = [
            await asyncio.to_thread(self._whole, claimed, thread, asked.history_length or 0, files=asked.include_artifacts)
            for claimed, thread in shown
        ]
        more = f"{shown[-1][1].updated}.{shown[-1][1].id}" if len(found) > size else ""
        tasks = tuple(whole if asked.include_artifacts else (msgspec.structs.replace(task, artifacts=()) for task in whole))
        return Listed(tasks=tasks, next_page_token=more, page_size=len(shown), total_size=total)

    # What comes in.

    async def _take_in(self, visitor: Visitor, asked: SendMessage) -> AgentTask:
        message = asked.message
        if not message.message_id:
            raise Fault(INVALID_PARAMS, "A message has a messageId.")
        text, files = _read(message)
        push = None if asked.configuration is None else asked.configuration.task_push_notification_config
        if push is not None:
            await self._pushes.check(push)
        if message.task_id:
            return await self._say_more(visitor, message, text, files, push)
        return await self._begin(visitor, message, text, files, push)

    async def _say_more(self, visitor: Visitor, message: Message, text: str, files: dict[str, bytes], push: PushConfig | None) -> AgentTask:
        claimed, thread = await self._held(visitor, message.task_id or "")
        if message.context_id and message.context_id != claimed.context:
            raise Fault(INVALID_PARAMS, "The task belongs to another context.")
        if _STATES[thread.state] in ENDED:
            raise Fault(UNSUPPORTED, "The task is over: give another in its context, with contextId alone.")
        if files:
            raise Fault(UNSUPPORTED, "Files are given with the first message of a task.")
        if push is not None:
            await self._pushes.keep(visitor.owner, claimed.thread, push)
        await self._archive.run(stand, thread.run, "running", self._clock.moment(), 0, 0)
        self._runs.post(thread.run, TaskLetter(text))
        return claimed

    async def _begin(self, visitor: Visitor, message: Message, text: str, files: dict[str, bytes], push: PushConfig | None) -> AgentTask:
        now, id = self._clock.moment(), self._new_id("thread_")
        context = message.context_id or self._new_id("context_")
        before = await self._archive.run(last_of_context, visitor.owner, context) if message.context_id else None
        fresh = AgentTask(thread=id, owner=visitor.owner, context=context, message=message.message_id, created=now)
        claimed, is_new = await self._archive.run(claim_task, fresh)
        if not is_new and await self._archive.run(task_of, visitor.owner, claimed.thread) is not None:
            if push is not None:
                await self._pushes.keep(visitor.owner, claimed.thread, push)
            return claimed
        thread = Thread(
            id=claimed.thread,
            key=visitor.key,
            title=title_of(text),
            label="A2A",
            intent="task",
            created=now,
            updated=now,
            run=self._new_id("run_"),
            state="running",
        )
        try:
            await asyncio.to_thread(self._make, thread, files, before)
        except (HeadraceError, OSError):
            await asyncio.to_thread(self._runs.forget, thread, (thread.run,), shared=before is not None)
            await self._archive.run(drop_task, claimed.thread)
            raise
        self._runs.put(thread.run, TaskLetter(text))
        branch = Branch(id=thread.run, thread=thread.id, parent=None, forked_at=0, created=now)
        await self._archive.run(keep_thread, visitor.owner, thread, branch)
        if push is not None:
            await self._pushes.keep(visitor.owner, thread.id, push)
        self._runs.take_up(thread.run)
        return claimed

    def _make(self, thread: Thread, files: dict[str, bytes], before: Thread | None) -> None:
        """A run in a folder of its own; or one that goes on from the last of its context, with its files, unless that one is under way."""
        if before is not None and before.state in ("done", "failed", "stopped"):
            entries = self._runs.entries(before.run)
            self._runs.fork(before.run, thread.run, len(entries))
            self._runs.write(thread.run, [(thread.created, WHOSE)])
            self._runs.allow(thread.run, _beside([entry.event for entry in entries], self._budget()))
            work = self._runs.draft(thread.run).work
            for path, content in files.items():
                _put(work, path, content)
            return
        origin = self._runs.origin(thread)
        origin.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path, content in files.items():
            _put(origin, path, content)
        self._runs.begin(thread.run, self._budget(), origin)
        self._runs.write(thread.run, [(thread.created, WHOSE)])

    async def _held(self, visitor: Visitor, id: str) -> tuple[AgentTask, Thread]:
        return await held_task(self._archive, visitor.owner, id)

    # What is told.

    async def run_stands(
        self, owner: str, thread: Thread, run: str, events: Sequence[Event], state: ThreadState, failure: HeadraceError | None
    ) -> None:
        """A run of a thread came to a stand, or is worked on: if it is a task's, its addresses are told so, and of one that is over first
        what has come of it."""
        if run != thread.run or not await self._pushes.wanted(thread.id):
            return
        found = await self._archive.run(task_of, owner, thread.id)
        if found is None:
            return
        claimed, stood = found[0], msgspec.structs.replace(thread, state=state)
        try:
            over = _STATES[state] in ENDED
            artifacts = await asyncio.to_thread(self._artifacts, stood, events, files=True) if over else ()
        except (HeadraceError, OSError):
            artifacts = ()  # how it stands is told in any case
        status = self._status(claimed, stood, events, None if failure is None else failure.message)
        told = [*(_update(claimed, one, last=True) for one in artifacts), _stood(claimed, status)]
        await self._pushes.tell(thread.id, f"{run}_{thread.updated}_{state}", told)

    async def _stands(self, visitor: Visitor, claimed: AgentTask) -> None:
        """Wait until nothing more happens by itself."""
        _, thread = await self._held(visitor, claimed.thread)
        async with aclosing(self._runs.watch(thread.run, -1)) as watched:
            async for _, _, quiet_s in watched:
                _, thread = await self._held(visitor, claimed.thread)
                if self._is_still(thread, quiet_s):
                    return

    async def _told(self, visitor: Visitor, claimed: AgentTask) -> AsyncGenerator[Streamed, None]:
        """First the task, then what becomes of it, until it stands."""
        _, thread = await self._held(visitor, claimed.thread)
        after = len(self._runs.entries(thread.run)) - 1
        yield Streamed(task=await asyncio.to_thread(self._whole, claimed, thread, None, files=False))
        begun = False
        async with aclosing(self._runs.watch(thread.run, after)) as watched:
            async for _, moments, quiet_s in watched:
                for said in map(_happening.decode, moments):
                    if isinstance(said, Begun):
                        begun = False
                    elif isinstance(said, Words) and said.kind == "text":
                        yield _update(claimed, Artifact(artifact_id=ANSWER, name=ANSWER, parts=(Part(text=said.text),)), append=begun)
                        begun = True
                _, thread = await self._held(visitor, claimed.thread)
                if self._is_still(thread, quiet_s):
                    break
        task = await asyncio.to_thread(self._whole, claimed, thread, 0, files=True)
        for artifact in task.artifacts:
            yield _update(claimed, artifact, last=True)
        yield _stood(claimed, task.status)

    def _is_still(self, thread: Thread, quiet_s: float) -> bool:
        """Nothing more happens by itself. Why it failed is told a moment after that it has."""
        if thread.state == "failed" and quiet_s < FAILED_S:
            told = stands(self._runs.home(thread.run))
            return told is not None and told.state == "failed"
        return _STATES[thread.state] in STANDS

    def _whole(self, claimed: AgentTask, thread: Thread, history: int | None, *, files: bool) -> Task:
        events = [entry.event for entry in self._runs.entries(thread.run)]
        begun = max((at for at, event in enumerate(events) if event == WHOSE), default=0)
        said = _history(events[begun:], claimed)
        return Task(
            id=claimed.thread,
            context_id=claimed.context,
            status=self._status(claimed, thread, events, None),
            artifacts=tuple(self._artifacts(thread, events, files=files)),
            history=tuple(said if history is None else said[-history:] if history > 0 else ()),
        )

    def _artifacts(self, thread: Thread, events: Sequence[Event], *, files: bool) -> Sequence[Artifact]:
        answer = _answer(events)
        found: Sequence[Artifact] = ()
        if answer and _STATES[thread.state] in ENDED:
            found = (Artifact(artifact_id=ANSWER, name=ANSWER, parts=(Part(text=answer),)),)
        return (*found, *_changed(self._runs.draft(thread.run))) if files else found

    def _status(self, claimed: AgentTask, thread: Thread, events: Sequence[Event], why: str | None) -> Status:
        """`why` it failed, where that is known; else it is looked up."""
        says = _answer(events)
        if thread.state == "waiting":
            says = _asks(events)
        elif thread.state == "failed":
            told = stands(self._runs.home(thread.run))
            says = why or (told.why if told is not None else "")
        message = _message(f"{claimed.thread}-{len(events)}-{thread.state}", says, claimed) if says else None
        return Status(state=_STATES[thread.state], message=message, timestamp=time_of(thread.updated))


def _beside(events: Sequence[Event], budget: Budget) -> Budget:
    """So much, beside what was used already."""
    turn = Turn(CARDS)
    for event in events:
        turn.add(event)
    return msgspec.structs.replace(
        budget,
        pico_usd_max=None if budget.pico_usd_max is None else budget.pico_usd_max + turn.pico_usd,
        tokens_max=None if budget.tokens_max is None else budget.tokens_max + turn.tokens,
        steps_max=budget.steps_max + turn.steps,
    )


def _answer(events: Sequence[Event]) -> str:
    last = events[-1] if events else None
    return last.text if isinstance(last, Ended) else ""


def _asks(events: Sequence[Event]) -> str:
    """What the task waits for, without what it is about: that is its owner's to see."""
    asked = question(events, CARDS)
    if asked is None:
        return ""
    if asked.pause is not None:
        return _PAUSED.get(asked.pause, "The task was stopped.")
    if asked.fate is not None:
        return f"A crash cut off {asked.fate.tool}: the task's owner has to say whether it has happened."
    tools = ", ".join(dict.fromkeys(call.tool for call in asked.calls))
    return f"The task needs its owner's leave for {tools}. They are asked; another message goes on without it."


def _history(events: Sequence[Event], claimed: AgentTask) -> list[Message]:
    said: list[Message] = []
    for number, event in enumerate(events):
        if isinstance(event, TaskGiven):
            said.append(_message(f"{claimed.thread}-{number}", event.text, claimed, of_agent=False))
        elif isinstance(event, ModelSaid) and event.text:
            said.append(_message(f"{claimed.thread}-{number}", event.text, claimed))
    return said


def _message(id: str, text: str, claimed: AgentTask, *, of_agent: bool = True) -> Message:
    role: Any = "ROLE_AGENT" if of_agent else "ROLE_USER"
    return Message(message_id=id, role=role, parts=(Part(text=text),), context_id=claimed.context, task_id=claimed.thread)


def _update(claimed: AgentTask, artifact: Artifact, *, append: bool = False, last: bool = False) -> Streamed:
    return Streamed(
        artifact_update=ArtifactUpdate(
            task_id=claimed.thread, context_id=claimed.context, artifact=artifact, append=append, last_chunk=last
        )
    )


def _stood(claimed: AgentTask, status: Status) -> Streamed:
    return Streamed(status_update=StatusUpdate(task_id=claimed.thread, context_id=claimed.context, status=status))


def _changed(draft: Draft) -> list[Artifact]:
    """The files that the run has made or changed, as far as they are few and small; of the others that they are there."""
    found, left = [], FILES_BYTES_MAX
    for change in draft.changes()[:FILES_MAX]:
        if change.kind == "deleted":
            continue
        content = _content(draft, change.path, min(left, FILE_BYTES_MAX))
        name = readable(change.path)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        if content is None:
            part = Part(data={"path": name, "leftOut": "It is too large, or no plain file: its owner has it."}, filename=name)
        else:
            left -= len(content)
            part = _file_part(name, content, kind)
        found.append(Artifact(artifact_id=f"file:{name}", name=name, description=change.kind, parts=(part,)))
    return found


def _file_part(path: str, content: bytes, kind: str) -> Part:
    try:
        return Part(text=content.decode(), filename=path, media_type=kind if kind.startswith("text/") else "text/plain")
    except UnicodeDecodeError:
        return Part(raw=base64.b64encode(content).decode(), filename=path, media_type=kind)


def _content(draft: Draft, path: str, bytes_max: int) -> bytes | None:
    try:
        with os.fdopen(open_beneath(draft.work, path, os.O_RDONLY), "rb") as file:
            content = file.read(bytes_max + 1)
    except SandboxRefused:
        return None
    return content if len(content) <= bytes_max else None


def _read(message: Message) -> tuple[str, dict[str, bytes]]:
    """The words of a message, and the files that came with it by name. Raises Fault."""
    texts: list[str] = []
    files: dict[str, bytes] = {}
    for number, part in enumerate(message.parts):
        content = part.content()
        if content is not None:
            name = _file_name(part.filename) or f"file-{number}"
            files[name] = content
            texts.append(f"[The file {name} is in the folder.]")
        elif part.text is not None:
            texts.append(part.text)
        elif part.url is not None:
            texts.append(f"[A file at {part.url}]")
        elif part.data is not None:
            texts.append(msgspec.json.encode(part.data).decode())
    text = "\n\n".join(texts)
    if not text.strip():
        raise Fault(CONTENT_NOT_SUPPORTED, "There is nothing in the message: text, data, files and addresses of files are taken.")
    if len(text) > TEXT_CHARS_MAX or len(files) > FILES_MAX or sum(map(len, files.values())) > FILES_BYTES_MAX:
        most = f"{TEXT_CHARS_MAX:,} characters, and {FILES_BYTES_MAX >> 20} MiB in {FILES_MAX} files"
        raise Fault(INVALID_PARAMS, f"A message has at most {most}.")
    return text, files


def _file_name(said: str | None) -> str:
    """The last part of a name, without what means something to anybody's system."""
    last = (said or "").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in last if letter.isprintable()).strip(". ")[:100]


def _put(root: Path, path: str, content: bytes) -> None:

    with os.fdopen(open_beneath(root, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(content)


def _before(token: str) -> tuple[int, str] | None:
    if not token:
        return None
    moment, _, id = token.partition(".")
    if not (moment.isascii() and moment.isdigit() and len(moment) < 20 and int(moment) <= MOMENT_MAX):
        raise Fault(INVALID_PARAMS, "pageToken is what an earlier list has told as nextPageToken.")
    return int(moment), id
