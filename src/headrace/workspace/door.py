"""The workspace's HTTP door: threads, their runs, events as they happen, answers to what is asked. Every thread is its owner's alone.

Events are streamed as server-sent events, whose ids are `RUN:NUMBER`: a page that comes back says the last that it has, and goes on from
there. What is not an event (words as they come, how a run stands) has no id, and is told again as far as it is still true.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headrace.agents import Budget
from headrace.agents.events import Event, ModelSaid, PersonSaid
from headrace.agents.question import Question, question
from headrace.agents.tools import CARDS
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import Conflict, HeadraceError, InvalidApiKey, InvalidRequest, NoRoomLeft, NotAllowed, NotFound
from headrace.core.identity import Principal
from headrace.core.money import pico_of, usd
from headrace.sandbox.cloning import Source
from headrace.storage import (
    Branch,
    Entry,
    LocalArchive,
    Thread,
    ThreadState,
    add_text,
    branches_of,
    change_thread,
    drop_shares,
    drop_thread,
    find_text,
    keep_branch,
    keep_share,
    keep_thread,
    put_into_thread,
    share_of,
    shares_context,
    show_branch,
    stand,
    thread_of,
    threads_of,
)
from headrace.workspace.bodies import as_json, body_of, read_body
from headrace.workspace.honesty import BUILT_IN
from headrace.workspace.intents import INTENTS, intent_of
from headrace.workspace.live import stands
from headrace.workspace.mail import Answer, Fate, Go, Halt, Letter, More, Say, Stop
from headrace.workspace.pictures import BYTES_MAX as PICTURE_BYTES_MAX
from headrace.workspace.pictures import MESSAGE_MAX, has_picture, keep_picture, kind_of, name_of, named_in, read_picture
from headrace.workspace.porting import Ported, exported, imported, whole
from headrace.workspace.runs import TITLE_MAX, Runs, title_of
from headrace.workspace.visitors import Visitor, Visitors

TEXT_MAX: Final = 400_000
BODY_MAX: Final = 1 << 20
IMPORT_MAX: Final = 256 << 20
BEAT_S: Final = 15.0
HELD_EVERY: Final = 2 * SECOND
"""How long who is signed out may still follow."""

PICTURE_HEADERS: Final = {
    "cache-control": "private, max-age=31536000, immutable",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
"""Its name says what it holds, so it never changes; and whatever it holds, it is nothing but a picture."""


class NewThread(msgspec.Struct, forbid_unknown_fields=True):
    """A thread to be made. `folder` is a folder of the server's machine, for who administers it; `clone` is a repository that the thread's
    own folder begins with."""

    title: str = ""
    label: str = ""
    folder: str | None = None
    clone: Source | None = None
    intent: str = "auto"
    model: str = ""
    budget_usd: str | None = None


class Changes(msgspec.Struct, forbid_unknown_fields=True):
    title: str | None = None
    label: str | None = None
    pinned: bool | None = None
    intent: str | None = None
    model: str | None = None
    budget_usd: str | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """`pictures` are shown with it, by the names that they were kept under."""

    text: str
    pictures: tuple[str, ...] = ()
    intent: str | None = None
    model: str | None = None
    budget_usd: str | None = None


class Answered(msgspec.Struct, forbid_unknown_fields=True):
    """One of these: whether calls may be made, by their ids; whether an effect has happened; how much more may be used."""

    calls: dict[str, bool] | None = None
    happened: bool | None = None
    more_usd: str | None = None
    more_tokens: int = 0
    more_steps: int = 0


class Forking(msgspec.Struct, forbid_unknown_fields=True):
    """Leave the shown branch, or `run`, before its event `at`; say `text` instead, or let the model answer again."""

    at: int
    run: str | None = None
    text: str | None = None
    model: str | None = None


class Showing(msgspec.Struct, forbid_unknown_fields=True):
    run: str


class Door:
    """The handlers. `new_secret` draws the token of a link. Of a model, '' being any, `built_in` says whether it is only the embedded one,
    and `blind` gives the models to choose instead where it sees no pictures, None where it does. `most` is how many bytes one person may
    put into threads."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        runs: Runs,
        archive: LocalArchive,
        clock: Clock,
        new_id: Callable[[str], str],
        new_secret: Callable[[], str],
        built_in: Callable[[str], bool],
        blind: Callable[[Principal, str], list[str] | None],
        most: Callable[[], int],
    ) -> None:
        self._visitors, self._runs, self._archive, self._clock = visitors, runs, archive, clock
        self._new_id, self._new_secret, self._built_in, self._blind, self._most = new_id, new_secret, built_in, blind, most

    def routes(self) -> list[Route]:
        at = "/workspace/api"
        return [
            Route(f"{at}/threads", self.threads, methods=["GET", "POST"]),
            Route(f"{at}/threads/{{thread}}", self.thread, methods=["GET", "PATCH", "DELETE"]),
            Route(f"{at}/threads/{{thread}}/log", self.log),
            Route(f"{at}/threads/{{thread}}/events", self.events),
            Route(f"{at}/threads/{{thread}}/messages", self.say, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/pictures", self.pictures, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/pictures/{{picture}}", self.picture),
            Route(f"{at}/threads/{{thread}}/stop", self.stop, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/halt", self.halt, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/go", self.go, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/answer", self.answer, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/fork", self.fork, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/branch", self.branch, methods=["POST"]),
            Route(f"{at}/threads/{{thread}}/share", self.share, methods=["POST", "DELETE"]),
            Route(f"{at}/threads/{{thread}}/export", self.export),
            Route(f"{at}/import", self.import_, methods=["POST"]),
            Route(f"{at}/search", self.search),
            Route(f"{at}/inbox", self.inbox),
            Route(f"{at}/intent", self.intent),
            Route(f"{at}/shared/{{token}}", self.shared),
            Route(f"{at}/shared/{{token}}/pictures/{{picture}}", self.shared_picture),
        ]

    async def threads(self, request: Request) -> Response:
        """GET: mine. POST: a new one."""
        visitor = await self._visitors.of(request)
        if request.method == "GET":
            return as_json({"threads": [_shown(one) for one in await self._archive.run(threads_of, visitor.owner)]})
        asked = await read_body(request, NewThread, BODY_MAX)
        if asked.folder is not None and not visitor.admin:
            raise NotAllowed("A folder of the server's machine is for those who administer it: leave it out, and add files instead.")
        if asked.folder is not None and asked.clone is not None:
            raise InvalidRequest("A thread works on a folder or on a clone, not on both.", param="clone")
        now = self._clock.moment()
        thread = Thread(
            id=self._new_id("thread_"),
            key=visitor.key,
            title=title_of(asked.title),
            label=asked.label.strip()[:TITLE_MAX],
            folder=asked.folder,
            intent=_intent(asked.intent),
            model=asked.model,
            created=now,
            updated=now,
            run=self._new_id("run_"),
        )
        budget = _budget(asked.budget_usd)
        if asked.clone is not None:
            await self._runs.clone(thread, asked.clone, local=visitor.admin)
        try:
            await asyncio.to_thread(self._runs.begin, thread.run, budget, self._runs.origin(thread))
        except (HeadraceError, OSError, ValueError) as wrong:
            await asyncio.to_thread(self._runs.forget, thread, (thread.run,))
            if thread.folder is None or isinstance(wrong, HeadraceError):
                raise
            raise InvalidRequest(f"The folder can't be copied: {wrong}.", param="folder") from wrong
        await self._keep(visitor, thread)
        return as_json(await self._whole(thread))

    async def thread(self, request: Request) -> Response:
        """GET, PATCH, DELETE one thread."""
        visitor, thread = await self._held(request)
        if request.method == "DELETE":
            await self._forget(visitor, thread)
            return Response(status_code=204)
        if request.method == "PATCH":
            changes = await read_body(request, Changes, BODY_MAX)
            thread = await self._change(visitor, thread, changes.intent, changes.model, changes.budget_usd, changes)
        return as_json(await self._whole(thread))

    async def _forget(self, visitor: Visitor, thread: Thread) -> None:
        shared = await self._archive.run(shares_context, thread.id)
        runs = await self._archive.run(drop_thread, visitor.owner, thread.id)
        if runs is None:
            return  # somebody else does it
        for run in runs:
            await self._runs.cease(run)
        await asyncio.to_thread(self._runs.forget, thread, runs, shared=shared)

    async def log(self, request: Request) -> Response:
        """GET the events of a branch, all or the last `limit` before `before`."""
        _, thread = await self._held(request)
        entries = await asyncio.to_thread(self._runs.entries, await self._run(request, thread))
        before = _number(request, "before", len(entries))
        start = max(0, before - _number(request, "limit", len(entries)))
        return as_json({"total": len(entries), "events": [_event(entry) for entry in entries[start:before]]})

    async def events(self, request: Request) -> Response:
        """GET the events of a branch as they happen, after the one that `Last-Event-ID` or `after` names."""
        _, thread = await self._held(request)
        run = await self._run(request, thread)
        named, _, number = request.headers.get("last-event-id", "").rpartition(":")
        after = int(number) if named == run and _is_number(number) else _number(request, "after", 0) - 1
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._follow(request, run, after), media_type="text/event-stream", headers=headers)

    async def _follow(self, request: Request, run: str, after: int) -> AsyncIterator[bytes]:
        """Until the server stops, or whoever follows is not signed in any more, or has no such thread."""
        held_at = self._clock.instant()
        beat_s = 0.0
        yield b"retry: 500\n\n"
        async with aclosing(self._runs.watch(run, after)) as watched:
            async for events, moments, quiet_s in watched:
                if self._clock.instant() - held_at > HELD_EVERY:
                    try:
                        await self._held(request)
                    except (InvalidApiKey, NotFound):
                        return
                    held_at = self._clock.instant()
                frames = [b"id: %s:%d\nevent: event\ndata: %s\n\n" % (run.encode(), seq, line) for seq, line in events]
                frames += [b"event: live\ndata: %s\n\n" % line for line in moments]
                if frames:
                    beat_s = 0.0
                    yield b"".join(frames)
                elif quiet_s > beat_s + BEAT_S:
                    beat_s = quiet_s
                    yield b": still here\n\n"

    async def say(self, request: Request) -> Response:
        """POST a message. While the run goes on it is heard at the next step."""
        visitor, thread = await self._held(request)
        message = await read_body(request, Message, BODY_MAX)
        text = message.text if message.pictures and len(message.text) <= TEXT_MAX else _text(message.text)
        self._check_pictures(visitor, thread, message)
        thread = await self._change(visitor, thread, message.intent, message.model, message.budget_usd, None)
        if not thread.title:
            await self._archive.run(change_thread, visitor.owner, thread.id, {"title": title_of(text) or "Picture"})
        return await self._posted(thread, Say(text, message.pictures))

    def _check_pictures(self, visitor: Visitor, thread: Thread, message: Message) -> None:
        """Raises InvalidRequest where they are too many, not kept here, or nothing to the model that would be shown them."""
        if len(message.pictures) > MESSAGE_MAX:
            raise InvalidRequest(f"A message has at most {MESSAGE_MAX} pictures.", param="pictures")
        for name in message.pictures:
            if not has_picture(self._runs.home(thread.run), name):
                raise InvalidRequest(f"The thread has no picture {name!r}: send it to {{thread}}/pictures first.", param="pictures")
        model = thread.model if message.model is None else message.model
        others = self._blind(visitor.principal, model) if message.pictures else None
        if others is not None:
            choose = f"choose one that does ({', '.join(others[:5])})" if others else "add a pool with a model that does"
            raise InvalidRequest(
                f"{model or 'No model here'} sees {'no ' if model else ''}pictures: {choose}, or send the words alone.", param="model"
            )

    async def pictures(self, request: Request) -> Response:
        """POST a picture, to be shown with a message of this thread."""
        visitor, thread = await self._held(request)
        content = await body_of(request, PICTURE_BYTES_MAX)
        await self._count_picture(visitor, thread.id, content)
        name = await asyncio.to_thread(keep_picture, self._runs.home(thread.run), content)
        return as_json({"name": name, "bytes": len(content)}, 201)

    async def _count_picture(self, visitor: Visitor, thread: str, content: bytes) -> None:
        """Raises NoRoomLeft."""
        await self._archive.run(put_into_thread, visitor.owner, thread, f"/pictures/{name_of(content)}", len(content), self._most())

    async def picture(self, request: Request) -> Response:
        """GET a picture of the thread, of whichever of its branches."""
        _, thread = await self._held(request)
        name = request.path_params["picture"]
        for branch in await self._archive.run(branches_of, thread.id):
            if has_picture(self._runs.home(branch.id), name):
                return await self._shown_picture(branch.id, name)
        raise NotFound("Picture", name)

    async def shared_picture(self, request: Request) -> Response:
        """GET a picture that a link shows."""
        share, name = await self._archive.run(share_of, request.path_params["token"]), request.path_params["picture"]
        if share is None:
            raise NotFound("Link", "…")
        if name not in named_in([entry.event for entry in await asyncio.to_thread(self._runs.entries, share.run)][: share.events]):
            raise NotFound("Picture", name)
        return await self._shown_picture(share.run, name)

    async def _shown_picture(self, run: str, name: str) -> Response:
        content = await asyncio.to_thread(read_picture, self._runs.home(run), name)
        return Response(content, media_type=kind_of(name), headers=PICTURE_HEADERS)

    async def stop(self, request: Request) -> Response:
        """POST: stop what is being done."""
        return await self._posted((await self._held(request))[1], Stop())

    async def halt(self, request: Request) -> Response:
        """POST: stop the command that runs; the run goes on with what it has said."""
        return await self._posted((await self._held(request))[1], Halt())

    async def go(self, request: Request) -> Response:
        """POST: go on after a failure or a stop."""
        return await self._posted((await self._held(request))[1], Go())

    async def answer(self, request: Request) -> Response:
        """POST an answer to what is asked."""
        _, thread = await self._held(request)
        answered = await read_body(request, Answered, BODY_MAX)
        asked = await asyncio.to_thread(lambda: question(self._events(thread.run), CARDS))
        return await self._posted(thread, _letter(answered, asked))

    async def _posted(self, thread: Thread, letter: Letter) -> Response:
        if not isinstance(letter, Stop | Halt):  # whoever looks from now on sees that something is done about it
            await self._archive.run(stand, thread.run, "running", self._clock.moment(), 0, 0)
        self._runs.post(thread.run, letter)
        return as_json({"run": thread.run}, 202)

    async def fork(self, request: Request) -> Response:
        """POST: a new branch, from before an event of the shown one."""
        visitor, thread = await self._held(request)
        asked = await read_body(request, Forking, BODY_MAX)
        run = asked.run or thread.run
        if run not in {one.id for one in await self._archive.run(branches_of, thread.id)}:
            raise NotFound("Branch", run)
        entries = await asyncio.to_thread(self._runs.entries, run)
        if not 0 <= asked.at <= len(entries):
            raise InvalidRequest(f"Invalid value for 'at': the branch has {len(entries)} events.", param="at")
        letter: Letter = Go()
        if asked.text is not None:
            instead = entries[asked.at].event if asked.at < len(entries) else None
            letter = Say(_text(asked.text), instead.pictures if isinstance(instead, PersonSaid) else ())
        thread = await self._change(visitor, thread, None, asked.model, None, None)
        fresh = Branch(id=self._new_id("run_"), thread=thread.id, parent=run, forked_at=asked.at, created=self._clock.moment())
        await asyncio.to_thread(self._runs.fork, run, fresh.id, asked.at)
        await self._archive.run(keep_branch, visitor.owner, fresh, "running")
        self._runs.post(fresh.id, letter)
        return as_json(await self._whole(await self._again(visitor, thread)))

    async def branch(self, request: Request) -> Response:
        """POST: show another branch from now on."""
        visitor, thread = await self._held(request)
        asked = await read_body(request, Showing, BODY_MAX)
        state = await asyncio.to_thread(self._state, asked.run) if asked.run != thread.run else thread.state
        if not await self._archive.run(show_branch, visitor.owner, thread.id, asked.run, state):
            raise NotFound("Branch", asked.run)
        return as_json(await self._whole(await self._again(visitor, thread)))

    def _state(self, run: str) -> ThreadState:
        told = stands(self._runs.home(run)) if run.isidentifier() else None
        return "new" if told is None else told.state

    async def share(self, request: Request) -> Response:
        """POST: a link by which anyone may read what is there now. DELETE: no link to it is good any more."""
        _, thread = await self._held(request)
        if request.method == "DELETE":
            return as_json({"revoked": await self._archive.run(drop_shares, thread.id)})
        token = self._new_secret()
        entries = await asyncio.to_thread(self._runs.entries, thread.run)
        await self._archive.run(keep_share, token, thread.id, thread.run, len(entries), self._clock.moment())
        return as_json({"path": f"/#/shared/{token}", "events": len(entries)})

    async def shared(self, request: Request) -> Response:
        """GET what a link shows; who has it needs nothing else."""
        share = await self._archive.run(share_of, request.path_params["token"])
        if share is None:
            raise NotFound("Link", "…")
        entries = await asyncio.to_thread(self._runs.entries, share.run)
        return as_json({"title": share.title, "events": [_event(entry) for entry in entries[: share.events]]})

    async def export(self, request: Request) -> Response:
        """GET the thread as a file."""
        _, thread = await self._held(request)
        branches = await self._archive.run(branches_of, thread.id)
        entries = {branch.id: await asyncio.to_thread(self._runs.entries, branch.id) for branch in branches}
        pictures = await asyncio.to_thread(self._pictures_in, entries)
        headers = {"content-disposition": f'attachment; filename="{thread.id}.json"'}
        return Response(exported(thread.title, thread.label, branches, entries, pictures), media_type="application/json", headers=headers)

    def _pictures_in(self, entries: Mapping[str, tuple[Entry, ...]]) -> dict[str, bytes]:
        """What the pictures of these branches hold."""
        shown = {name: run for run, told in entries.items() for name in named_in([entry.event for entry in told])}
        return {name: read_picture(self._runs.home(run), name) for name, run in shown.items() if has_picture(self._runs.home(run), name)}

    async def import_(self, request: Request) -> Response:
        """POST a file: a thread exported here, or the conversations of ChatGPT or Claude."""
        visitor = await self._visitors.of(request)
        content = await body_of(request, IMPORT_MAX)
        made = [await self._import(visitor, ported) for ported in await asyncio.to_thread(imported, content)]
        return as_json({"threads": made})

    async def _import(self, visitor: Visitor, ported: Ported) -> str:
        told, id, now = whole(ported.runs), self._new_id("thread_"), self._clock.moment()
        names = {run.id: self._new_id("run_") for run, _ in told}
        latest = max((at for _, said in told for at, _ in said), default=now) or now
        first, last = names[told[0][0].id], names[told[-1][0].id]
        thread = Thread(
            id=id,
            key=visitor.key,
            title=title_of(ported.title),
            label=ported.label,
            created=now,
            updated=min(latest, now),
            run=first,
            state="done",
        )
        pictures: set[str] = set()
        for run, said in told:
            await asyncio.to_thread(self._runs.begin, names[run.id], Budget(), self._runs.origin(thread))
            shown = set(named_in([event for _, event in said])) & ported.pictures.keys()
            pictures |= shown
            for name in shown:
                await asyncio.to_thread(keep_picture, self._runs.home(names[run.id]), ported.pictures[name])
            await asyncio.to_thread(self._runs.write, names[run.id], said)
            texts = [(seq, event.text) for seq, (_, event) in enumerate(said) if isinstance(event, PersonSaid | ModelSaid)]
            if run is told[0][0]:
                await self._keep(visitor, thread)
            else:
                parent = None if run.parent is None else names[run.parent]
                fresh = Branch(id=names[run.id], thread=id, parent=parent, forked_at=run.forked_at, created=now)
                await self._archive.run(keep_branch, visitor.owner, fresh, "done")
                texts = [(seq, text) for seq, text in texts if seq >= run.forked_at]
            await self._archive.run(add_text, id, names[run.id], texts)
        if last != first:
            await self._archive.run(show_branch, visitor.owner, id, last, "done")
        try:
            for name in sorted(pictures):
                await self._count_picture(visitor, id, ported.pictures[name])
        except NoRoomLeft:
            await self._forget(visitor, thread)
            raise
        return id

    async def search(self, request: Request) -> Response:
        """GET the places in my threads where the words of `q` stand."""
        visitor = await self._visitors.of(request)
        found = await self._archive.run(find_text, visitor.owner, request.query_params.get("q", "")[:200])
        return as_json({"found": [msgspec.to_builtins(one) for one in found]})

    async def inbox(self, request: Request) -> Response:
        """GET what waits for me: what is asked, in threads that wait or failed."""
        visitor = await self._visitors.of(request)
        waiting = [one for one in await self._archive.run(threads_of, visitor.owner) if one.state in ("waiting", "failed")]
        return as_json({"waiting": [{**_shown(one), "asks": await asyncio.to_thread(self._asks, one.run)} for one in waiting]})

    def _asks(self, run: str) -> list[dict[str, Any]]:
        asked, told = question(self._events(run), CARDS), stands(self._runs.home(run))
        if asked is None:
            return [{"kind": "failure", "code": told.code, "why": told.why}] if told is not None and told.state == "failed" else []
        if asked.pause is not None:
            return [{"kind": "pause", "reason": asked.pause}]
        if asked.fate is not None:
            return [{"kind": "fate", "call": msgspec.to_builtins(asked.fate)}]
        return [
            {"kind": "leave", "call": msgspec.to_builtins(call), "reasons": msgspec.to_builtins(why)}
            for call, why in zip(asked.calls, asked.reasons, strict=True)
        ]

    def _events(self, run: str) -> list[Event]:
        return [entry.event for entry in self._runs.entries(run)]

    async def intent(self, request: Request) -> Response:
        """GET what the words of `text` want."""
        await self._visitors.of(request)
        params = request.query_params
        return as_json({"intent": intent_of(params.get("text", "")[:4_000], folder=params.get("folder") == "true")})

    async def _held(self, request: Request) -> tuple[Visitor, Thread]:
        """Who asks, and the thread, if it is theirs. Raises NotFound also where it is somebody else's."""
        visitor = await self._visitors.of(request)
        thread = await self._archive.run(thread_of, visitor.owner, request.path_params["thread"])
        if thread is None:
            raise NotFound("Thread", request.path_params["thread"])
        return visitor, thread

    async def _again(self, visitor: Visitor, thread: Thread) -> Thread:
        found = await self._archive.run(thread_of, visitor.owner, thread.id)
        if found is None:
            raise NotFound("Thread", thread.id)
        return found

    async def _run(self, request: Request, thread: Thread) -> str:
        """The branch that is asked for; the shown one where none is."""
        run = request.query_params.get("run", thread.run)
        if run != thread.run and run not in {one.id for one in await self._archive.run(branches_of, thread.id)}:
            raise NotFound("Branch", run)
        return run

    async def _keep(self, visitor: Visitor, thread: Thread) -> None:
        branch = Branch(id=thread.run, thread=thread.id, parent=None, forked_at=0, created=thread.created)
        await self._archive.run(keep_thread, visitor.owner, thread, branch)

    async def _change(
        self, visitor: Visitor, thread: Thread, intent: str | None, model: str | None, budget_usd: str | None, more: Changes | None
    ) -> Thread:
        changes: dict[str, str | bool | int] = {}
        if intent is not None:
            changes["intent"] = _intent(intent)
        if model is not None:
            changes["model"] = model
        if more is not None and more.title is not None:
            changes["title"] = title_of(more.title)
        if more is not None and more.label is not None:
            changes["label"] = more.label.strip()[:TITLE_MAX]
        if more is not None and more.pinned is not None:
            changes["pinned"] = more.pinned
        if budget_usd is not None:
            await asyncio.to_thread(self._runs.allow, thread.run, _budget(budget_usd))
        changed = await self._archive.run(change_thread, visitor.owner, thread.id, changes)
        if changed is None:
            raise NotFound("Thread", thread.id)
        return changed

    async def _whole(self, thread: Thread) -> dict[str, Any]:
        branches = await self._archive.run(branches_of, thread.id)
        budget = await asyncio.to_thread(self._runs.budget, thread.run)
        return {
            **_shown(thread),
            "note": BUILT_IN if thread.intent in ("code", "browse", "task") and self._built_in(thread.model) else "",
            "budget_usd": None if budget.pico_usd_max is None else usd(budget.pico_usd_max),
            "branches": [{"id": one.id, "parent": one.parent, "forked_at": one.forked_at, "created": one.created} for one in branches],
        }


def _shown(thread: Thread) -> dict[str, Any]:
    told = {name: getattr(thread, name) for name in Thread.__struct_fields__ if name not in ("key", "pico_usd")}
    return told | {"cost_usd": usd(thread.pico_usd)}


def _event(entry: Entry) -> dict[str, Any]:
    return {"seq": entry.seq, "at": entry.at, "event": entry.event}


def _letter(answered: Answered, asked: Question | None) -> Letter:
    """Raises Conflict where it answers nothing that is asked."""
    if answered.calls is not None:
        if asked is None or not asked.calls or {call.id for call in asked.calls} != answered.calls.keys():
            raise Conflict("These calls are not the ones that leave is asked for now: read the thread again.")
        return Answer(answered.calls)
    if answered.happened is not None:
        if asked is None or asked.fate is None:
            raise Conflict("Nothing is unknown of what the run did.")
        return Fate(answered.happened)
    if asked is None or asked.pause is None:
        raise Conflict("The run is not paused.")
    pico = 0 if answered.more_usd is None else _pico(answered.more_usd)
    return More(pico, max(0, answered.more_tokens), max(0, answered.more_steps))


def _budget(said: str | None) -> Budget:
    return Budget(pico_usd_max=_pico(said) if said else None)


def _pico(said: str) -> int:
    try:
        return pico_of(said)
    except ValueError as wrong:
        raise InvalidRequest(f"Invalid value for a budget: {wrong}.", param="budget_usd") from None


def _intent(said: str) -> str:
    if said != "auto" and said not in INTENTS:
        raise InvalidRequest(f"Invalid value for 'intent': it is auto, {', '.join(INTENTS)}.", param="intent")
    return said


def _text(text: str) -> str:
    if not text.strip():
        raise InvalidRequest("There is nothing in the message.", param="text")
    if len(text) > TEXT_MAX:
        raise InvalidRequest(f"A message has at most {TEXT_MAX:,} characters: add longer ones as files.", param="text")
    return text


def _number(request: Request, name: str, default: int) -> int:
    said = request.query_params.get(name)
    if said is None:
        return default
    if not _is_number(said):
        raise InvalidRequest(f"Invalid value for '{name}': it is a whole number.", param=name)
    return int(said)


def _is_number(said: str) -> bool:
    return said.isascii() and said.isdigit() and len(said) < 10
