"""Batches: a file of requests, worked on while there is room, at the price of batches, and answered in a file.

Every worker of every host looks for batches that nobody works on, and works on one at a time. What it has taken and not answered when it is
killed is reported as interrupted, and not asked again; the rest is taken up where it was left. While the database can't be reached, it goes
on with what it has taken and keeps the answers until it can.
"""

import asyncio
import contextlib
import logging
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.asgi import Asgi
from headrace.api.lines import ENDPOINTS, MESSAGES, Lines, line_answer
from headrace.api.listing import page_of
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import Conflict, HeadraceError, InvalidRequest, NotFound, StoreUnreachable
from headrace.storage import (
    AnsweredLine,
    Archive,
    BatchLine,
    BatchStatus,
    Blobs,
    Counts,
    StoredBatch,
    StoredFile,
    add_lines,
    answered_lines,
    batch_of,
    batches_of,
    cancel_batch,
    change_batch,
    claim_batch,
    counts_of,
    drop_lines,
    drop_requests,
    expire_lines,
    file_of,
    keep_batch,
    keep_file,
    leave_batch,
    pages_of,
    take_lines,
)
from headrace.wire.openai_chat import read
from headrace.wire.responses_request import check_metadata

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
Answers: TypeAlias = list[AnsweredLine]
WINDOW_S = 86_400
BYTES_MAX = 200 * 1024 * 1024
ERRORS_MAX = 100
ADDED_AT_ONCE = 1_000
LOOK_S, BEAT_S = 1.0, 5.0
STOP_S = 5.0
EXPIRED = msgspec.json.encode(
    {
        "response": None,
        "error": {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."},
    }
)
CANCELLED = msgspec.json.encode({"response": None, "error": {"code": "batch_cancelled", "message": "The batch was cancelled before."}})
INTERRUPTED = msgspec.json.encode(
    {"response": None, "error": {"code": "interrupted", "message": "The server was stopped while it worked on this line."}}
)


class BatchesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many lines a worker asks for at once, and how many a batch may have."""

    concurrency_max: int = 32
    lines_max: int = 50_000

    def __post_init__(self) -> None:
        if min(self.concurrency_max, self.lines_max) < 1:
            raise ValueError("batches.concurrency_max and batches.lines_max are at least 1")


class NewBatch(msgspec.Struct, frozen=True):
    """What a batch is made of."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


class _Line(msgspec.Struct, frozen=True):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct, frozen=True):
    model: str


_news = msgspec.json.Decoder(NewBatch)
_lines = msgspec.json.Decoder(_Line)
_bodies = msgspec.json.Decoder(_Body)


class Batches:
    """The handlers, and the work."""

    def __init__(
        self,
        *,
        asgi: Asgi,
        archive: Archive,
        runner: str,
        clock: Clock,
        blobs: Blobs,
        lines: Lines,
        settings: BatchesSettings,
        quota: int,
        spawn: Spawn,
        log: logging.Logger,
    ) -> None:
        self._asgi, self._archive, self._runner, self._clock, self._blobs, self._lines = asgi, archive, runner, clock, blobs, lines
        self._settings, self._quota, self._spawn, self._log = settings, quota, spawn, log
        self._stopping = False
        self._news = asyncio.Event()

    def routes(self) -> list[Route]:
        return [
            Route("/v1/batches", self.create, methods=["POST"]),
            Route("/v1/batches", self.list, methods=["GET"]),
            Route("/v1/batches/{id}", self.retrieve, methods=["GET"]),
            Route("/v1/batches/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /v1/batches"""
        principal, owner = self._asgi.principal(request), self._asgi.owner(request)
        asked = read_new(await self._asgi.body(request))
        check_headers(request.headers.keys())
        check_metadata(asked.metadata)
        if asked.endpoint not in ENDPOINTS:
            raise InvalidRequest(f"Invalid value for 'endpoint': it is one of {', '.join(ENDPOINTS)}.", param="endpoint")
        if asked.completion_window != "24h":
            raise InvalidRequest("Invalid value for 'completion_window': it is 24h.", param="completion_window")
        now_s = self._now_s()
        file = await self._archive.run(file_of, owner, asked.input_file_id, now_s)
        if file is None:
            raise NotFound("File", asked.input_file_id)
        if file.purpose != "batch" or file.size > BYTES_MAX:
            raise InvalidRequest(f"The input file's purpose is batch, and it has at most {BYTES_MAX} bytes.", param="input_file_id")
        body = _body(self._asgi.new_id("batch_"), asked, now_s)
        made = StoredBatch(owner=owner, id=body["id"], status="validating", principal=principal, body=body)
        await self._archive.run(keep_batch, made, now_s)
        self._news.set()
        return self._asgi.json(batch_object(body, Counts(0, 0, 0)))

    async def list(self, request: Request) -> Response:
        """GET /v1/batches"""
        found = await self._archive.run(batches_of, self._asgi.owner(request))
        held = [(one, counts) for one, counts in found if one.body["endpoint"] != MESSAGES]
        return self._asgi.json(page_of([batch_object(one.body, counts) for one, counts in held], request.query_params, newest_first=True))

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/batches/{id}"""
        held, counts = await self._held(request)
        return self._asgi.json(batch_object(held.body, counts))

    async def cancel(self, request: Request) -> Response:
        """POST /v1/batches/{id}/cancel"""
        held, _ = await self._held(request)
        if not await self._archive.run(cancel_batch, held.owner, held.id, self._now_s()):
            raise Conflict(f"Batch '{held.id}' is {held.status}: there is nothing to cancel.")
        held, counts = await self._held(request)
        return self._asgi.json(batch_object(held.body, counts))

    async def _held(self, request: Request) -> tuple[StoredBatch, Counts]:
        owner, id = self._asgi.owner(request), request.path_params["id"]
        held = await self._archive.run(batch_of, owner, id)
        if held is None or held[0].body["endpoint"] == MESSAGES:
            raise NotFound("Batch", id)
        return held

    # The work.

    def look(self) -> None:
        """There is another batch to work on."""
        self._news.set()

    async def keep_working(self) -> None:
        """Look for batches and work on them; run it as a task of the server's group."""
        while not self._stopping:
            self._news.clear()
            try:
                batch = await self._archive.run(claim_batch, self._runner)
                if batch is not None:
                    await self._worked(batch)
                    continue
            except StoreUnreachable:
                pass  # which is in the log
            except (HeadraceError, sqlite3.Error, OSError):
                self._log.exception("a batch can't be worked on now")
            try:
                async with asyncio.timeout(LOOK_S):  # another worker may have been asked for one
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _worked(self, batch: StoredBatch) -> None:
        """Work on it as far as it goes, and leave what remains of it to whoever is next."""
        try:
            await self._work(batch)
        except Conflict:
            self._log.warning("batch %s was taken from this process, which was thought to be dead", batch.id)
            return
        finally:
            with contextlib.suppress(Conflict):
                await self._archive.insist(leave_batch, batch)

    async def stop(self) -> None:
        """Take no more lines."""
        self._stopping = True
        self._news.set()

    async def _work(self, batch: StoredBatch) -> None:
        """All of one batch, from wherever it is."""
        if batch.status == "validating" and not await self._validate(batch):
            return
        ended = await self._answer_all(batch)
        if ended is None:
            return  # the server stops; who comes next goes on
        if batch.body["endpoint"] == MESSAGES:
            await self._end_messages(batch, cancelled=ended == "cancelling")
            return
        if ended == "in_progress":
            finalizing = {"finalizing_at": self._now_s()}
            ended = (await self._archive.insist(change_batch, batch, "finalizing", finalizing, after="in_progress"))["status"]
        await self._finalize(batch, cancelled=ended == "cancelling")

    async def _validate(self, batch: StoredBatch) -> bool:
        """Every line is read before any is worked on. Whether they may be."""
        lines, errors = await asyncio.to_thread(
            read_lines, self._blobs, batch.body["input_file_id"], batch.body["endpoint"], self._settings.lines_max
        )
        if errors:
            told = {"object": "list", "data": errors}
            await self._archive.insist(change_batch, batch, "failed", {"errors": told, "failed_at": self._now_s()})
            return False
        for start in range(0, len(lines), ADDED_AT_ONCE):
            await self._archive.insist(add_lines, batch, lines[start : start + ADDED_AT_ONCE])
        await self._archive.insist(change_batch, batch, "in_progress", {"in_progress_at": self._now_s()}, after="validating")
        return True

    async def _answer_all(self, batch: StoredBatch) -> str | None:
        """The status in which all that shall be answered is; None when the server stops before."""
        running: dict[asyncio.Task[None], BatchLine] = {}
        answered: Answers = []
        expires_s = int(batch.body["expires_at"])
        try:
            while True:
                if self._now_s() >= expires_s:
                    await self._archive.insist(expire_lines, batch, EXPIRED, _state(batch, "expired"))
                wanted = 0 if self._stopping else self._settings.concurrency_max - len(running)
                done = list(answered)
                answered.clear()  # the same list, which who works holds, too
                status, taken = await self._archive.insist(take_lines, batch, done, wanted, idle=not running)
                for line in taken:
                    running[self._spawn(self._answer(batch, line, expires_s, answered))] = line
                if not running:
                    return None if self._stopping else status
                finished, _ = await asyncio.wait(running, timeout=STOP_S if self._stopping else BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                if self._stopping and not finished:
                    for task in running:
                        task.cancel()
                    finished, _ = await asyncio.wait(running)
                for task in finished:
                    line = running.pop(task)
                    if task.cancelled():
                        answered.append(AnsweredLine(number=line.number, custom_id=line.custom_id, failed=True, answer=INTERRUPTED))
        finally:
            for task in running:
                task.cancel()  # it is not ours any more

    async def _answer(self, batch: StoredBatch, line: BatchLine, until_s: int, answered: Answers) -> None:
        headers = {name.encode(): value.encode("latin-1", "replace") for name, value in batch.body.get("headers", {}).items()}
        told = await self._lines.answered(batch.body["endpoint"], batch.principal, line.request, until_s, headers)
        answered.append(AnsweredLine(number=line.number, custom_id=line.custom_id, failed=told.status != 200, answer=line_answer(told)))

    async def _end_messages(self, batch: StoredBatch, *, cancelled: bool) -> None:
        """One of Anthropic's: what came of its lines is read where they are kept."""
        now_s = self._now_s()
        if cancelled:
            await self._archive.insist(expire_lines, batch, CANCELLED, "canceled")
        await self._archive.insist(drop_requests, batch)
        late = now_s >= int(batch.body["expires_at"])
        status: BatchStatus = "cancelled" if cancelled else "expired" if late else "completed"
        await self._archive.insist(change_batch, batch, status, {"ended_at": now_s})

    async def _finalize(self, batch: StoredBatch, *, cancelled: bool) -> None:
        files: dict[str, str | None] = {}
        for kind, failed in (("output", False), ("error", True)):
            files[f"{kind}_file_id"] = await self._written(batch, kind, failed=failed)
        now_s = self._now_s()
        if cancelled:
            await self._archive.insist(change_batch, batch, "cancelled", {"cancelled_at": now_s, **files})
        elif now_s >= int(batch.body["expires_at"]):
            await self._archive.insist(change_batch, batch, "expired", {"expired_at": now_s, **files})
        else:
            await self._archive.insist(change_batch, batch, "completed", {"completed_at": now_s, **files})
        await self._archive.insist(drop_lines, batch)

    async def _written(self, batch: StoredBatch, kind: str, *, failed: bool) -> str | None:
        """The file of all lines that were answered, or that failed; None where there are none."""
        counts = await self._archive.insist(counts_of, batch.owner, batch.id)
        if not (counts.failed if failed else counts.completed):
            return None
        id, after = f"file-{batch.id.removeprefix('batch_')}-{kind}", -1
        with tempfile.TemporaryFile() as draft:
            while lines := await self._archive.insist(
                answered_lines, batch.owner, batch.id, failed=failed, after=after, count=ADDED_AT_ONCE
            ):
                await asyncio.to_thread(draft.write, b"".join(pages_of(lines)))
                after = lines[-1].number
            draft.seek(0)
            size = await asyncio.to_thread(self._blobs.write, id, draft)
        if await self._archive.insist(file_of, batch.owner, id, self._now_s()) is None:
            made = StoredFile(
                id=id, created_s=self._now_s(), expires_s=0, size=size, filename=f"{batch.id}_{kind}.jsonl", purpose="batch_output"
            )
            await self._archive.insist(
                keep_file, batch.owner, made, max(self._quota, 1 << 62)
            )  # the answers are theirs, whatever the quota
        return id

    def _now_s(self) -> int:
        return self._clock.moment() // SECOND


def _state(batch: StoredBatch, state: str) -> str:
    """How a line is said to stand: OpenAI's form knows only that it failed."""
    return state if batch.body["endpoint"] == MESSAGES else "failed"


def read_new(body: bytes) -> NewBatch:
    """A batch as it is asked for. Raises InvalidJson or InvalidRequest."""
    return read(_news, body)


def read_lines(blobs: Blobs, file: str, endpoint: str, lines_max: int) -> tuple[list[BatchLine], list[dict[str, Any]]]:
    """The lines of an input file, and what is wrong with them."""
    lines: list[BatchLine] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, text in enumerate(_texts(blobs, file), 1):
        try:
            lines.append(_line(number, text, endpoint, seen))
        except InvalidRequest as wrong:
            errors.append({"code": wrong.code, "line": number, "message": wrong.message, "param": wrong.param})
        if len(lines) > lines_max or len(errors) >= ERRORS_MAX:
            break
    if len(lines) > lines_max:
        errors.append({"code": "too_many_lines", "line": None, "message": f"A batch has at most {lines_max} lines.", "param": None})
    if not lines and not errors:
        errors.append({"code": "empty_file", "line": None, "message": "The input file has no lines.", "param": None})
    return lines, errors


def _texts(blobs: Blobs, file: str) -> Iterator[bytes]:
    with blobs.read(file) as lines:
        for text in lines:
            if text.strip():
                yield text


def _line(number: int, text: bytes, endpoint: str, seen: set[str]) -> BatchLine:
    line = read(_lines, text)
    if line.method != "POST":
        raise InvalidRequest("Invalid value for 'method': it is POST.", param="method")
    if line.url != endpoint:
        raise InvalidRequest(f"Invalid value for 'url': the batch's endpoint is {endpoint}.", param="url")
    if "\0" in line.custom_id:
        raise InvalidRequest("Invalid value for 'custom_id': it holds a NUL character.", param="custom_id")
    if line.custom_id in seen:
        raise InvalidRequest(f"Invalid value for 'custom_id': '{line.custom_id}' stands in the file twice.", param="custom_id")
    seen.add(line.custom_id)
    read(_bodies, bytes(line.body))
    return BatchLine(number=number, custom_id=line.custom_id, request=bytes(line.body))


def check_headers(names: Iterable[str]) -> None:
    """Lines are served by the rules of their key: what a header would narrow beside them must not be thought to hold."""
    for name in names:
        if name.lower().startswith("x-headrace"):
            raise InvalidRequest(f"{name} does not hold for the lines of a batch: rules for its key do. Leave it out.", param=name)


def _body(id: str, asked: NewBatch, now_s: int) -> dict[str, Any]:
    times = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")
    return {
        "id": id,
        "object": "batch",
        "endpoint": asked.endpoint,
        "errors": None,
        "input_file_id": asked.input_file_id,
        "completion_window": asked.completion_window,
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": now_s,
        "expires_at": now_s + WINDOW_S,
        **dict.fromkeys(times),
        "metadata": asked.metadata,
    }


def batch_object(body: dict[str, Any], counts: Counts) -> dict[str, Any]:
    return body | {"request_counts": {"total": counts.total, "completed": counts.completed, "failed": counts.failed}}
