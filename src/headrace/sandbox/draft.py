"""A draft of a folder: all that a task does to files happens in it, and is taken over or thrown away as a whole.

The draft is a copy beside the folder's digests at that moment, so it works at every level of the sandbox, on every filesystem and also
without the right to mount. Taking over changes only what the draft changed, refuses what the person changed meanwhile, and keeps what it
replaces, so that it can be undone as a whole afterwards, too. Symbolic links are copied as links and never followed; one that leads out
is never taken over.
"""

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from headrace.core.errors import SandboxRefused

FILES_MAX = 50_000
BYTES_MAX = 2 << 30
SKIPPED = frozenset((".venv", "node_modules", "__pycache__", ".headrace", ".mypy_cache", ".ruff_cache", ".pytest_cache"))
"""Not copied: they are made again, or are ours."""
_PIECE = 1 << 20


Kind: TypeAlias = Literal["added", "changed", "deleted"]


class Change(msgspec.Struct, frozen=True):
    """One file that the draft changed."""

    path: str
    kind: Kind


class _Kept(msgspec.Struct):
    """What the folder held when the draft began, and where both are."""

    origin: str
    digests: dict[str, str]


class Draft:
    """`place` is a folder of ours: `work` in it is what a task sees."""

    def __init__(self, place: Path, kept: _Kept) -> None:
        self.place, self.work, self._kept = place, place / "work", kept
        self.origin = Path(kept.origin)

    @classmethod
    def begin(cls, origin: Path, place: Path) -> "Draft":
        """Copy the folder. A draft that was begun and not finished is begun again."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, mode=0o700)
        digests = _copy(origin.resolve(), place / "work")
        draft = cls(place, _Kept(str(origin.resolve()), digests))
        _write_whole(place / "draft.json", msgspec.json.encode(draft._kept))
        return draft

    @classmethod
    def open(cls, place: Path) -> "Draft | None":
        """The draft that is there, or None where none was begun."""
        try:
            return cls(place, msgspec.json.decode((place / "draft.json").read_bytes(), type=_Kept))
        except FileNotFoundError:
            return None

    def changes(self) -> tuple[Change, ...]:
        """What taking over would do, by path."""
        now, before = _ours(_digests(self.work)), _ours(self._kept.digests)
        found = [Change(path, "added" if path not in before else "changed") for path, digest in now.items() if before.get(path) != digest]
        return tuple(sorted([*found, *[Change(path, "deleted") for path in before if path not in now]], key=lambda change: change.path))

    def paths(self) -> list[str]:
        """What the draft holds, files and links."""
        return [str(path.relative_to(self.work)) for path in _files(self.work)]

    def take_over(self) -> tuple[Change, ...]:
        """Do to the folder what was done to the draft, or nothing at all when that can't be done safely."""
        changes = self.changes()
        for change in changes:
            self._check(change)
        undo = self.place / "undo"
        for change in changes:
            target = self.origin / change.path
            if change.kind != "added":
                (undo / change.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(target, undo / change.path, follow_symlinks=False)
        _write_whole(self.place / "taken.json", msgspec.json.encode(changes))
        for change in changes:
            self._apply(change, self.work)
        return changes

    def undo(self) -> tuple[Change, ...]:
        """Put the folder back as it was before taking over; what changed since then by other hands stops it."""
        try:
            taken = msgspec.json.decode((self.place / "taken.json").read_bytes(), type=tuple[Change, ...])
        except FileNotFoundError:
            raise SandboxRefused("This run has taken nothing over, so there is nothing to undo.") from None
        for change in taken:
            here = _digest(self.origin / change.path)
            there = None if change.kind == "deleted" else _digest(self.work / change.path)
            if here != there:
                raise SandboxRefused(f"{change.path} was changed since: nothing was undone.")
        back: dict[Kind, Kind] = {"added": "deleted", "changed": "changed", "deleted": "added"}
        for change in taken:
            self._apply(msgspec.structs.replace(change, kind=back[change.kind]), self.place / "undo")
        (self.place / "taken.json").unlink()
        return taken

    def discard(self) -> None:
        """Throw the draft away."""
        shutil.rmtree(self.place, ignore_errors=True)

    def _check(self, change: Change) -> None:
        target = self.origin / change.path
        if _digest(target) != self._kept.digests.get(change.path):
            raise SandboxRefused(f"{change.path} was changed while the task ran: nothing was taken over.")
        for parent in target.relative_to(self.origin).parents:
            if (self.origin / parent).is_symlink():
                raise SandboxRefused(f"{parent} is a link: nothing is written through it, and nothing was taken over.")
        source = self.work / change.path
        if change.kind != "deleted" and source.is_symlink():
            led_to = Path(os.path.normpath(source.parent / os.readlink(source)))
            if not led_to.is_relative_to(self.work) or os.path.isabs(os.readlink(source)):
                raise SandboxRefused(f"{change.path} is a link that leads out of the workspace: nothing was taken over.")

    def _apply(self, change: Change, source: Path) -> None:
        target = self.origin / change.path
        if change.kind == "deleted":
            target.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.headrace")
        shutil.copy2(source / change.path, fresh, follow_symlinks=False)
        if not fresh.is_symlink():
            fresh.chmod(0o755 if fresh.stat().st_mode & 0o100 else 0o644)
        owner = (target if target.is_symlink() or target.exists() else target.parent).lstat()
        if os.geteuid() == 0:
            os.chown(fresh, owner.st_uid, owner.st_gid, follow_symlinks=False)
        fresh.replace(target)

    def size_bytes(self) -> int:
        return sum(entry.lstat().st_size for entry in _files(self.work))


def open_beneath(root: Path, path: str, flags: int) -> int:
    """A descriptor of a file under `root`, by a path of which no part is a link: a task can't lead us out of its draft."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or path.startswith("/"):
        raise SandboxRefused(f"{path or 'an empty path'} is outside of the workspace.")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            if flags & os.O_CREAT:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = inner
        found = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=folder)
    except OSError as error:
        raise SandboxRefused(f"{path} can't be opened: {(error.strerror or 'failed').lower()}.") from error
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise SandboxRefused(f"{path} is no plain file.")
    return found


def _copy(origin: Path, work: Path) -> dict[str, str]:
    if not origin.is_dir():
        raise SandboxRefused(f"{origin} is no folder.")
    count = size = 0
    for entry in _files(origin):
        count, size = count + 1, size + entry.lstat().st_size
        if count > FILES_MAX or size > BYTES_MAX:
            raise SandboxRefused(f"The folder holds more than {FILES_MAX:,} files or {BYTES_MAX:,} bytes: choose a smaller one.")
    shutil.copytree(origin, work, symlinks=True, ignore=lambda folder, names: [name for name in names if _left_out(Path(folder) / name)])
    return _digests(work)


def _left_out(path: Path) -> bool:
    """What is neither file, folder nor link (a socket, a device) is not copied, and neither is what is made again."""
    return path.name in SKIPPED or not (path.is_symlink() or path.is_dir() or path.is_file())


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = [name for name in folders if name not in SKIPPED and name not in links]
        found += [path for name in (*names, *links) if not _left_out(path := Path(folder) / name)]
    return found


def _digests(root: Path) -> dict[str, str]:
    found = {str(path.relative_to(root)): _digest(path) for path in _files(root)}
    return {path: digest for path, digest in found.items() if digest is not None}


def _ours(digests: dict[str, str]) -> dict[str, str]:
    """Without what lies in a folder of git: its hooks and settings are run by whoever uses it next, so a task never changes them."""
    return {path: digest for path, digest in digests.items() if ".git" not in path.split("/")}


def _digest(path: Path) -> str | None:
    """Of what a file holds, whether it may be run, or where a link leads; None where nothing is."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"link {os.readlink(path)}"
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return f"{'x' if mode & 0o100 else '-'} {digest}"


def _write_whole(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
