"""The files of a thread over HTTP: those of its draft, what was changed in them, taking that over piece by piece and undoing it.

What a file holds may be anyone's, so the browser never shows it by itself: it is always a download, of no kind, in a sandbox of its own.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.agents.hunks import Shown, shown
from headrace.core.errors import Conflict, InvalidRequest, NotFound, SandboxRefused
from headrace.sandbox import Change, Choice, Draft, Reviewed, drop, keep, review
from headrace.sandbox.draft import delete_beneath, names_in, open_beneath, readable
from headrace.storage import LocalArchive, Thread, gone_from_thread, put_into_thread, thread_of
from headrace.workspace.bodies import as_json, body_of, read_body
from headrace.workspace.runs import Runs
from headrace.workspace.visitors import Visitor, Visitors

FILE_BYTES_MAX: Final = 32 << 20
DOING_BYTES_MAX: Final = 1 << 20
DIFF_BYTES_MAX: Final = 400_000
LISTED_MAX: Final = 5_000
_SAFE: Final = {
    "content-disposition": "attachment",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Doing(msgspec.Struct, forbid_unknown_fields=True):
    """`take`: do to the folder what was done to the draft. `drop`: give that up. `undo`: put the folder back. `files` chooses files, and
    pieces of them; left out: all."""

    do: str
    files: tuple[Choice, ...] | None = None


class ThreadFiles:
    """The handlers. `most` is how many bytes one person may put into threads."""

    def __init__(self, visitors: Visitors, runs: Runs, archive: LocalArchive, most: Callable[[], int]) -> None:
        self._visitors, self._runs, self._archive, self._most = visitors, runs, archive, most

    def routes(self) -> list[Route]:
        at = "/workspace/api/threads/{thread}"
        return [
            Route(f"{at}/files", self.files),
            Route(f"{at}/files/{{path:path}}", self.file, methods=["GET", "PUT", "DELETE"]),
            Route(f"{at}/changes", self.changes, methods=["GET", "POST"]),
        ]

    async def files(self, request: Request) -> Response:
        """GET what the draft holds: paths and sizes."""
        _, _, draft = await self._draft(request)
        return as_json(await asyncio.to_thread(_listed, draft))

    async def file(self, request: Request) -> Response:
        """GET, PUT, DELETE one file."""
        visitor, thread, draft = await self._draft(request)
        path = request.path_params["path"]
        if request.method == "GET":
            content = await asyncio.to_thread(_content, draft, path)
            return Response(content, media_type="application/octet-stream", headers=_SAFE)
        content = await body_of(request, FILE_BYTES_MAX)
        counted = "/".join(names_in(path))
        if request.method == "DELETE":
            await asyncio.to_thread(delete_beneath, draft.work, path)
            await self._archive.run(gone_from_thread, thread.id, counted)
            return Response(status_code=204)
        await self._archive.run(put_into_thread, visitor.owner, thread.id, counted, len(content), self._most())
        try:
            await asyncio.to_thread(_write, draft, path, content)
        except (SandboxRefused, OSError):
            await self._archive.run(gone_from_thread, thread.id, counted)
            raise
        return as_json({"path": path, "bytes": len(content)}, 201)

    async def changes(self, request: Request) -> Response:
        """GET what taking over would do, piece by piece, and what was taken over. POST: take over, give up, or undo."""
        _, thread, draft = await self._draft(request)
        if request.method == "GET":
            return as_json(await asyncio.to_thread(_changed, draft, own=thread.folder is None))
        asked = await read_body(request, Doing, DOING_BYTES_MAX)
        if asked.do == "drop" and thread.state == "running":
            raise Conflict("The run is at work on these files: stop it first, or wait until it is done.")
        done = await asyncio.to_thread(_done, draft, asked)
        return as_json({"done": [{"path": readable(change.path), "kind": change.kind} for change in done]})

    async def _draft(self, request: Request) -> tuple[Visitor, Thread, Draft]:
        visitor = await self._visitors.of(request)
        thread = await self._archive.run(thread_of, visitor.owner, request.path_params["thread"])
        if thread is None:
            raise NotFound("Thread", request.path_params["thread"])
        return visitor, thread, self._runs.draft(thread.run)


def _listed(draft: Draft) -> dict[str, Any]:
    sizes = sorted(draft.sizes().items())
    shown = [{"path": readable(path), "bytes": size} for path, size in sizes[:LISTED_MAX]]
    return {"files": shown, "total": len(sizes), "folder": str(draft.origin)}


def _content(draft: Draft, path: str) -> bytes:
    with os.fdopen(open_beneath(draft.work, path, os.O_RDONLY), "rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise InvalidRequest(f"{path} holds more than {FILE_BYTES_MAX >> 20} MiB.")
    return content


def _write(draft: Draft, path: str, content: bytes) -> None:
    with os.fdopen(open_beneath(draft.work, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(content)


def _changed(draft: Draft, *, own: bool) -> dict[str, Any]:
    return {
        "changes": [_told(change) for change in review(draft)],
        "taken": msgspec.to_builtins(draft.taken()),
        "folder": None if own else str(draft.origin),
    }


def _told(change: Reviewed) -> dict[str, Any]:
    """One change with its lines, where they are not too many to look through."""
    told = {name: getattr(change, name) for name in ("kind", "version", "whole", "foreign")}
    told |= {"path": readable(change.path), "source": None if change.source is None else readable(change.source)}
    hunks = change.hunks
    if hunks is not None and sum(len(line) for hunk in hunks for line in (*hunk.old, *hunk.new)) > DIFF_BYTES_MAX:
        return {**told, "hunks": None, "whole": "it is too long to be shown"}
    return {**told, "hunks": None if hunks is None else [_piece(one) for one in shown(change.old, hunks)]}


def _piece(one: Shown) -> dict[str, Any]:
    hunk = one.hunk
    lines = {"lead": one.lead, "old": hunk.old, "new": hunk.new, "tail": one.tail}
    return {
        "old_start": hunk.old_start + 1,
        "new_start": hunk.new_start + 1,
        "skips": one.skips,
        **{name: [line.decode() for line in told] for name, told in lines.items()},
    }


def _done(draft: Draft, asked: Doing) -> tuple[Change, ...]:
    match asked.do:
        case "take":
            return draft.take_over() if asked.files is None else keep(draft, asked.files)
        case "drop":
            return drop(draft, [Choice(change.path) for change in review(draft)] if asked.files is None else asked.files)
        case "undo":
            return draft.undo()
        case _:
            raise InvalidRequest("Invalid value for 'do': it is take, drop or undo.", param="do")
