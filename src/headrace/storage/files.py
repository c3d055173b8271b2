"""Files of clients: their facts in the database, their bytes in a folder or a bucket, each under its id. All by owner: a project's own.

Bytes are written whole before a row names them, and a row goes before its bytes do: what a crash leaves are bytes without a name, which
the sweep removes.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.errors import BodyTooLarge, Conflict
from headrace.storage.blobs import Blobs
from headrace.storage.database import Database, transaction

UploadStatus: TypeAlias = Literal["pending", "completed", "cancelled", "expired"]
ORPHANED_S: Final = 3_600
"""Bytes without a name that are older than this belong to no one who is still writing."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created_s: int
    expires_s: int
    size: int
    filename: str
    purpose: str


class StoredUpload(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created_s: int
    expires_s: int
    status: UploadStatus
    size: int
    filename: str
    purpose: str
    file_expires_s: int
    file: str | None


class StoredPart(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    size: int
    created_s: int


_FILE: Final = "id, created, expires, bytes, filename, purpose"
_UPLOAD: Final = "id, created, expires, status, bytes, filename, purpose, file_expires, file"


def keep_file(database: Database, owner: str, file: StoredFile, quota: int) -> None:
    """Raises BodyTooLarge where the project may keep no more."""
    with transaction(database, owner):
        _check_quota(database, owner, file.size, quota)
        row = (owner, file.id, file.created_s, file.expires_s, file.size, file.filename, file.purpose)
        database.execute("INSERT INTO file (owner, id, created, expires, bytes, filename, purpose) VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def _check_quota(database: Database, owner: str, size: int, quota: int) -> None:
    held = database.execute("SELECT coalesce(sum(bytes), 0) FROM file WHERE owner = ?", (owner,)).fetchone()[0]
    coming = database.execute("SELECT coalesce(sum(bytes), 0) FROM upload WHERE owner = ? AND status = 'pending'", (owner,)).fetchone()[0]
    if held + coming + size > quota:
        raise BodyTooLarge(
            f"The project keeps {held} bytes, {coming} are announced by uploads, and it may keep {quota}: delete files first."
        )


def file_of(database: Database, owner: str, id: str, now_s: int) -> StoredFile | None:
    row = database.execute(
        f"SELECT {_FILE} FROM file WHERE owner = ? AND id = ? AND (expires = 0 OR expires > ?)",  # noqa: S608 -- our own column names
        (owner, id, now_s),
    ).fetchone()
    return None if row is None else _file(row)


def files_of(database: Database, owner: str, purpose: str | None, now_s: int) -> list[StoredFile]:
    """First to last."""
    sql = f"SELECT {_FILE} FROM file WHERE owner = ? AND (expires = 0 OR expires > ?) ORDER BY created, id"  # noqa: S608 -- our own names
    found = [_file(row) for row in database.execute(sql, (owner, now_s))]
    return found if purpose is None else [one for one in found if one.purpose == purpose]


def drop_file(database: Database, blobs: Blobs, owner: str, id: str) -> bool:
    """Whether it was there."""
    gone = database.execute("DELETE FROM file WHERE owner = ? AND id = ?", (owner, id)).rowcount > 0
    if gone:
        blobs.drop(id)
    return gone


def sweep_files(database: Database, blobs: Blobs, now_s: int) -> int:
    """Remove what is over, and bytes that nobody names. How many files."""
    over = database.execute("SELECT owner, id FROM file WHERE expires > 0 AND expires <= ?", (now_s,)).fetchall()
    for owner, id in over:
        drop_file(database, blobs, owner, id)
    for owner, id in database.execute("SELECT owner, id FROM upload WHERE status = 'pending' AND expires <= ?", (now_s,)).fetchall():
        end_upload(database, blobs, owner, id, "expired")
    named = {row[0] for row in database.execute("SELECT id FROM file UNION SELECT id FROM upload_part")}
    blobs.sweep(named, now_s - ORPHANED_S)
    return len(over)


# Uploads.


def keep_upload(database: Database, owner: str, upload: StoredUpload, quota: int) -> None:
    """Raises BodyTooLarge where the project may keep no more."""
    with transaction(database, owner):
        _check_quota(database, owner, upload.size, quota)
        row = (owner, *msgspec.structs.astuple(upload))
        database.execute(f"INSERT INTO upload (owner, {_UPLOAD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608 -- our own column names


def upload_of(database: Database, owner: str, id: str) -> StoredUpload | None:
    row = database.execute(f"SELECT {_UPLOAD} FROM upload WHERE owner = ? AND id = ?", (owner, id)).fetchone()  # noqa: S608 -- our own column names
    return None if row is None else msgspec.convert(dict(zip(StoredUpload.__struct_fields__, row, strict=True)), StoredUpload)


def keep_part(database: Database, owner: str, upload: str, part: StoredPart) -> None:
    """Raises Conflict for an upload that takes no more, BodyTooLarge for more than was announced."""
    with transaction(database, upload):
        held = upload_of(database, owner, upload)
        if held is None or held.status != "pending":
            raise Conflict(f"Upload '{upload}' takes no more parts.")
        parts = parts_of(database, owner, upload)
        if sum(one.size for one in parts) + part.size > held.size:
            raise BodyTooLarge(f"The parts are larger than the {held.size} bytes that upload '{upload}' was made for.")
        database.execute("INSERT INTO upload_part VALUES (?, ?, ?, ?, ?)", (owner, upload, part.id, part.size, part.created_s))


def parts_of(database: Database, owner: str, upload: str) -> list[StoredPart]:
    rows = database.execute(
        "SELECT id, bytes, created FROM upload_part WHERE owner = ? AND upload = ? ORDER BY created, id", (owner, upload)
    )
    return [StoredPart(id=id, size=size, created_s=created_s) for id, size, created_s in rows]


def end_upload(database: Database, blobs: Blobs, owner: str, id: str, status: UploadStatus) -> None:
    """Cancel it, or find it expired: its parts are gone."""
    parts = parts_of(database, owner, id)
    with transaction(database, id):
        database.execute("UPDATE upload SET status = ? WHERE owner = ? AND id = ? AND status = 'pending'", (status, owner, id))
        database.execute("DELETE FROM upload_part WHERE owner = ? AND upload = ?", (owner, id))
    for part in parts:
        blobs.drop(part.id)


def complete_upload(database: Database, blobs: Blobs, owner: str, id: str, file: StoredFile) -> None:
    """The upload has become `file`, whose bytes are there. Raises Conflict where it is not pending any more."""
    parts = parts_of(database, owner, id)
    with transaction(database, id):
        done = database.execute(
            "UPDATE upload SET status = 'completed', file = ? WHERE owner = ? AND id = ? AND status = 'pending'", (file.id, owner, id)
        )
        if not done.rowcount:
            raise Conflict(f"Upload '{id}' is not pending any more.")
        database.execute("DELETE FROM upload_part WHERE owner = ? AND upload = ?", (owner, id))
        row = (owner, file.id, file.created_s, file.expires_s, file.size, file.filename, file.purpose)
        database.execute("INSERT INTO file (owner, id, created, expires, bytes, filename, purpose) VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    for part in parts:
        blobs.drop(part.id)


def _file(row: tuple[str, int, int, int, str, str]) -> StoredFile:
    return msgspec.convert(dict(zip(StoredFile.__struct_fields__, row, strict=True)), StoredFile)
