"""Files and uploads: bytes that clients keep here, to name them in requests and batches."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headrace.api.asgi import Asgi, bounded
from headrace.api.listing import page_of
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import Conflict, InvalidRequest, NotFound
from headrace.storage import (
    Archive,
    Blobs,
    StoredFile,
    StoredPart,
    StoredUpload,
    complete_upload,
    drop_file,
    end_upload,
    file_of,
    files_of,
    keep_file,
    keep_part,
    keep_upload,
    parts_of,
    upload_of,
)
from headrace.wire.openai_chat import read

PURPOSES = frozenset({"assistants", "batch", "fine-tune", "vision", "user_data", "evals"})
MIB = 1024 * 1024
AROUND = 64 * 1024
"""What a form has around its file."""
UPLOAD_LIFE_S = 3_600
PART_BYTES_MAX = 64 * MIB
LIST_MAX = 10_000
BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?")
CHUNK = 256 * 1024
EXPIRES_S = (3_600, 2_592_000)
"""How soon and how late a client may let a file expire: OpenAI's own bounds."""


class FilesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How large one file may be, how much a project may keep, and how much a person may put into threads. `retention_days` is how long
    files are kept whose clients name no time; 0: for ever. `url` is the bucket (`s3://bucket/prefix`) or the folder (`file:///path`) in
    which their bytes lie; None: one of the data folder's. `endpoint` is the address of what speaks S3 where that is not AWS, and `region`
    its region."""

    bytes_max: int = 512 * MIB
    project_bytes_max: int = 10_240 * MIB
    person_bytes_max: int = 2_048 * MIB
    retention_days: int = 0
    url: str | None = None
    endpoint: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        if self.url is not None and not BUCKET.fullmatch(self.url) and self.folder is None:
            raise ValueError('files.url is a bucket, such as "s3://headrace-files/eu", or a folder, such as "file:///mnt/headrace-files"')
        if not (self.url or "").startswith("s3:") and (self.endpoint or self.region):
            raise ValueError("files.endpoint and files.region are of files.url: name the bucket, too")
        if min(self.bytes_max, self.project_bytes_max, self.person_bytes_max) < 1 or self.retention_days < 0:
            raise ValueError("files.*_bytes_max and files.bytes_max are at least 1, files.retention_days 0 (for ever) or more")

    @property
    def folder(self) -> str | None:
        """The folder of `url`, where it names one."""
        path = (self.url or "").removeprefix("file://")
        return path if self.url != path and path.startswith("/") else None


class _Expiry(msgspec.Struct, frozen=True):
    anchor: str
    seconds: int


class _NewUpload(msgspec.Struct, frozen=True):
    bytes: int
    filename: str
    purpose: str
    mime_type: str | None = None
    expires_after: _Expiry | None = None


class _Parts(msgspec.Struct, frozen=True):
    part_ids: list[str]
    md5: str | None = None


_uploads = msgspec.json.Decoder(_NewUpload)
_completions = msgspec.json.Decoder(_Parts)


class Files:
    """The handlers."""

    def __init__(self, asgi: Asgi, archive: Archive, clock: Clock, blobs: Blobs, settings: FilesSettings) -> None:
        self._asgi, self._archive, self._clock, self._blobs, self._settings = asgi, archive, clock, blobs, settings

    def routes(self) -> list[Route]:
        return [
            Route("/v1/files", self.create, methods=["POST"]),
            Route("/v1/files", self.list, methods=["GET"]),
            Route("/v1/files/{id}", self.retrieve, methods=["GET"]),
            Route("/v1/files/{id}", self.delete, methods=["DELETE"]),
            Route("/v1/files/{id}/content", self.content, methods=["GET"]),
            Route("/v1/uploads", self.create_upload, methods=["POST"]),
            Route("/v1/uploads/{id}/parts", self.create_part, methods=["POST"]),
            Route("/v1/uploads/{id}/complete", self.complete, methods=["POST"]),
            Route("/v1/uploads/{id}/cancel", self.cancel, methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /v1/files"""
        owner = self._asgi.owner(request)
        form = await _form(request, self._settings.bytes_max + AROUND, "files.bytes_max")
        async with _closed(form):
            given, purpose = _file(form, "file"), _purpose(str(form.get("purpose") or ""))
            expires_s = self._expires_s(_expiry(form))
            id = self._asgi.new_id("file-")
            size = await asyncio.to_thread(self._blobs.write, id, given.file)
            made = self._made(id, size, given.filename or "upload", purpose, expires_s)
        await self._keep(owner, made)
        return self._asgi.json(file_object(made))

    async def list(self, request: Request) -> Response:
        """GET /v1/files"""
        owner, purpose = self._asgi.owner(request), request.query_params.get("purpose")
        files = await self._archive.run(files_of, owner, purpose, self._now_s())
        told = [file_object(one) for one in files]
        return self._asgi.json(page_of(told, request.query_params, newest_first=True, limit=LIST_MAX, limit_max=LIST_MAX))

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/files/{id}"""
        _, held = await self._held(request)
        return self._asgi.json(file_object(held))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/files/{id}"""
        owner, held = await self._held(request)
        await self._archive.run(drop_file, self._blobs, owner, held.id)
        return self._asgi.json({"id": held.id, "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        """GET /v1/files/{id}/content"""
        _, held = await self._held(request)
        opened = await asyncio.to_thread(self._blobs.read, held.id)

        async def pieces() -> AsyncIterator[bytes]:
            with opened:
                while piece := await asyncio.to_thread(opened.read, CHUNK):
                    yield piece

        headers = self._asgi.common() | {"content-length": str(held.size)}
        return StreamingResponse(pieces(), media_type="application/octet-stream", headers=headers)

    # Uploads.

    async def create_upload(self, request: Request) -> Response:
        """POST /v1/uploads"""
        owner = self._asgi.owner(request)
        asked = read(_uploads, await self._asgi.body(request))
        if not 1 <= asked.bytes <= self._settings.bytes_max:
            raise InvalidRequest(f"Invalid value for 'bytes': it is 1 to {self._settings.bytes_max} (files.bytes_max).", param="bytes")
        now_s = self._now_s()
        upload = StoredUpload(
            id=self._asgi.new_id("upload_"),
            created_s=now_s,
            expires_s=now_s + UPLOAD_LIFE_S,
            status="pending",
            size=asked.bytes,
            filename=asked.filename,
            purpose=_purpose(asked.purpose),
            file_expires_s=self._expires_s(asked.expires_after),
            file=None,
        )
        await self._archive.run(keep_upload, owner, upload, self._settings.project_bytes_max)
        return self._asgi.json(upload_object(upload, None))

    async def create_part(self, request: Request) -> Response:
        """POST /v1/uploads/{id}/parts"""
        owner, upload = await self._pending(request)
        form = await _form(request, PART_BYTES_MAX + AROUND, "a part's limit")
        async with _closed(form):
            id = self._asgi.new_id("part_")
            size = await asyncio.to_thread(self._blobs.write, id, _file(form, "data").file)
        part = StoredPart(id=id, size=size, created_s=self._now_s())
        try:
            await self._archive.run(keep_part, owner, upload.id, part)
        except BaseException:
            await asyncio.to_thread(self._blobs.drop, id)
            raise
        return self._asgi.json({"id": id, "object": "upload.part", "created_at": part.created_s, "upload_id": upload.id})

    async def complete(self, request: Request) -> Response:
        """POST /v1/uploads/{id}/complete"""
        owner, upload = await self._pending(request)
        asked = read(_completions, await self._asgi.body(request))
        held = {part.id: part.size for part in await self._archive.run(parts_of, owner, upload.id)}
        if unknown := [id for id in asked.part_ids if id not in held]:
            raise InvalidRequest(f"Part '{unknown[0]}' is not one of this upload.", param="part_ids")
        if (size := sum(held[id] for id in asked.part_ids)) != upload.size:
            raise InvalidRequest(f"The parts are {size} bytes, and the upload was made for {upload.size}.", param="part_ids")
        id = self._asgi.new_id("file-")
        await asyncio.to_thread(self._blobs.join, asked.part_ids, id)
        try:
            await asyncio.to_thread(_check_md5, self._blobs, id, asked.md5)
            made = self._made(id, upload.size, upload.filename, upload.purpose, upload.file_expires_s)
            await self._archive.run(complete_upload, self._blobs, owner, upload.id, made)
        except BaseException:
            await asyncio.to_thread(self._blobs.drop, id)
            raise
        return self._asgi.json(upload_object(msgspec.structs.replace(upload, status="completed", file=id), made))

    async def cancel(self, request: Request) -> Response:
        """POST /v1/uploads/{id}/cancel"""
        owner, upload = await self._pending(request)
        await self._archive.run(end_upload, self._blobs, owner, upload.id, "cancelled")
        return self._asgi.json(upload_object(msgspec.structs.replace(upload, status="cancelled"), None))

    async def _pending(self, request: Request) -> tuple[str, StoredUpload]:
        owner, id = self._asgi.owner(request), request.path_params["id"]
        upload = await self._archive.run(upload_of, owner, id)
        if upload is None:
            raise NotFound("Upload", id)
        if upload.status != "pending" or upload.expires_s <= self._now_s():
            raise Conflict(f"Upload '{id}' is {upload.status if upload.status != 'pending' else 'expired'}.")
        return owner, upload

    async def _held(self, request: Request) -> tuple[str, StoredFile]:
        owner, id = self._asgi.owner(request), request.path_params["id"]
        held = await self._archive.run(file_of, owner, id, self._now_s())
        if held is None:
            raise NotFound("File", id)
        return owner, held

    async def _keep(self, owner: str, made: StoredFile) -> None:
        try:
            await self._archive.run(keep_file, owner, made, self._settings.project_bytes_max)
        except BaseException:
            await asyncio.to_thread(self._blobs.drop, made.id)
            raise

    def _made(self, id: str, size: int, filename: str, purpose: str, expires_s: int) -> StoredFile:
        return StoredFile(id=id, created_s=self._now_s(), expires_s=expires_s, size=size, filename=filename, purpose=purpose)

    def _expires_s(self, asked: _Expiry | None) -> int:
        if asked is not None:
            if asked.anchor != "created_at" or not EXPIRES_S[0] <= asked.seconds <= EXPIRES_S[1]:
                words = f"its anchor is created_at and its seconds {EXPIRES_S[0]} to {EXPIRES_S[1]}"
                raise InvalidRequest(f"Invalid value for 'expires_after': {words}.", param="expires_after")
            return self._now_s() + asked.seconds
        days = self._settings.retention_days
        return self._now_s() + days * 86_400 if days else 0

    def _now_s(self) -> int:
        return self._clock.moment() // SECOND


class _closed:
    """A form whose temporary files are gone at the end of the block."""

    def __init__(self, form: FormData) -> None:
        self._form = form

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *failure: object) -> None:
        await self._form.close()


async def _form(request: Request, bytes_max: int, setting: str) -> FormData:
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        raise InvalidRequest("Send multipart/form-data, with the file in it.")
    try:
        return await bounded(request, bytes_max, setting).form(max_files=1, max_fields=16)
    except HTTPException as wrong:
        raise InvalidRequest(f"The form can't be read: {wrong.detail}") from None


def _file(form: FormData, name: str) -> UploadFile:
    given = form.get(name)
    if not isinstance(given, UploadFile):
        raise InvalidRequest(f"Missing required parameter: '{name}'.", param=name)
    return given


def _purpose(given: str) -> str:
    if given not in PURPOSES:
        raise InvalidRequest(f"Invalid value for 'purpose': it is one of {', '.join(sorted(PURPOSES))}.", param="purpose")
    return given


def _expiry(form: FormData) -> _Expiry | None:
    anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    text = str(seconds)
    return _Expiry(str(anchor), int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0)


def _check_md5(blobs: Blobs, name: str, md5: str | None) -> None:
    if md5 is None:
        return
    found = hashlib.md5(usedforsecurity=False)
    with blobs.read(name) as file:
        while piece := file.read(CHUNK):
            found.update(piece)
    if found.hexdigest() != md5.lower():
        raise InvalidRequest("The file's MD5 is another one.", param="md5")


def file_object(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_s,
        "expires_at": file.expires_s or None,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def upload_object(upload: StoredUpload, file: StoredFile | None) -> dict[str, Any]:
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size,
        "created_at": upload.created_s,
        "expires_at": upload.expires_s,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": file_object(file) if file is not None else None,
    }
