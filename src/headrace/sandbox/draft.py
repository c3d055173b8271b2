"""A draft of a folder: all that a task does to files happens in it, and is taken over or thrown away as a whole.

The draft is a copy beside the folder's digests at that moment, so it works at every level of the sandbox, on every filesystem and also
without the right to mount. Taking over changes only what the draft changed, refuses what the person changed meanwhile, and keeps what it
replaces, so that it can be undone as a whole afterwards, too. Both may be cut off at any point and be done again: a file that is already
as it shall be is left alone. Symbolic links are copied as links and never followed; one that leads out
is never taken over. A task may be at work while we look: each part of a way is opened from the one before it, so that a folder which
becomes a link meanwhile leads nowhere.
"""

import contextlib
import difflib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from headrace.core.errors import SandboxRefused

FILES_MAX = 50_000
BYTES_MAX = 2 << 30
SKIPPED = frozenset((".venv", "node_modules", "__pycache__", ".headrace", ".mypy_cache", ".ruff_cache", ".pytest_cache"))
"""Not copied: they are made again, or are ours."""
DEPTH_MAX = 128
"""What lies in more folders than this is not seen: each takes a descriptor."""
LINK: Final = "link "
"""How the digest of a link begins."""
_PIECE = 1 << 20
_AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


Kind: TypeAlias = Literal["added", "changed", "deleted"]
_BACK: dict[Kind, Kind] = {"added": "deleted", "changed": "changed", "deleted": "added"}
TEXT_BYTES_MAX = 1 << 20


class Change(msgspec.Struct, frozen=True):
    """One file that the draft changed."""

    path: str
    kind: Kind


class _Taken(msgspec.Struct, frozen=True):
    """One file that was taken over, as which it was; None where it was deleted. `was` is what it was just before, of an earlier time."""

    path: str
    kind: Kind
    digest: str | None = None
    was: str | None = None


class _Kept(msgspec.Struct):
    """What the folder held when the draft began, and where both are."""

    origin: str
    digests: dict[str, str]


class Weight(NamedTuple):
    """How much a draft holds; `deep`: some of it lies deeper than is looked."""

    bytes: int
    entries: int
    deep: bool


class Draft:
    """`place` is a folder of ours: `work` in it is what a task sees."""

    def __init__(self, place: Path, kept: _Kept) -> None:
        self.place = place.absolute()  # the sandbox is started in another folder than ours
        self.work, self._kept = self.place / "work", kept
        self.origin = Path(kept.origin)

    @classmethod
    def begin(cls, origin: Path, place: Path) -> "Draft":
        """Copy the folder. A draft that was begun and not finished is begun again."""
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True, mode=0o700)
        digests = _copy(origin.resolve(), place / "work")
        for path, digest in digests.items():
            _check_text(path, digest)
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

    @classmethod
    def blank(cls, place: Path) -> "Draft":
        """A folder of nobody's, for what must not see a draft."""
        work = place / "work"
        shutil.rmtree(place, ignore_errors=True)
        work.mkdir(parents=True, mode=0o700)
        return cls(place, _Kept(str(work), {}))

    def copy(self, place: Path) -> None:
        """The same draft once more, as it is now."""
        copy_beneath(self.work, place / "work")
        if (self.place / "undo").exists():
            shutil.copytree(self.place / "undo", place / "undo", symlinks=True)
        for name in ("taken.json", "draft.json"):
            if (self.place / name).exists():
                shutil.copy2(self.place / name, place / name)

    def changes(self) -> tuple[Change, ...]:
        """What taking over would do, by path."""
        now, before = _ours(_digests(self.work)), _ours(self._kept.digests)
        found = [Change(path, "added" if path not in before else "changed") for path, digest in now.items() if before.get(path) != digest]
        return tuple(sorted([*found, *[Change(path, "deleted") for path in before if path not in now]], key=lambda change: change.path))

    def paths(self) -> list[str]:
        """What the draft holds, files and links."""
        return [found.path for found in _files(self.work)]

    def sizes(self) -> dict[str, int]:
        """How many bytes each of them has, by path."""
        return {found.path: found.status.st_size for found in _files(self.work)}

    def pending(self) -> tuple[Change, ...]:
        """What of the draft is not in the folder as that is now, by path: all of it at first, then what was not taken over yet, or was
        changed again since. What others did to the folder counts only where the draft has changed the same file."""
        found = []
        for path in sorted({change.path for change in self.changes()} | {taken.path for taken in self._taken()}):
            there, drafted = self.digest_now(path), self.digest_drafted(path)
            if there != drafted:
                found.append(Change(path, "added" if there is None else "deleted" if drafted is None else "changed"))
        return tuple(found)

    def digest_now(self, path: str) -> str | None:
        """What the folder has there, as a digest; None: nothing."""
        return _digest(self.origin, path)

    def digest_drafted(self, path: str) -> str | None:
        """The same of the draft."""
        return _digest(self.work, path)

    def is_foreign(self, path: str) -> bool:
        """Whether the folder has something there that neither the draft began with nor took over."""
        return self.digest_now(path) not in self._known(path, {taken.path: taken for taken in self._taken()}.get(path))

    def take_over(self, chosen: Mapping[str, bytes | None] | None = None) -> tuple[Change, ...]:
        """Do to the folder what was done to the draft, or nothing at all when that can't be done safely. With `chosen` only at these paths,
        and where there is a content, so that the file holds that."""
        with self._alone():
            return self._take_over(chosen)

    def _take_over(self, chosen: Mapping[str, bytes | None] | None) -> tuple[Change, ...]:
        before = {taken.path: taken for taken in self._taken()}
        all_changes = self.changes()
        drafted = {change.path for change in all_changes}
        changes = [change for change in all_changes if chosen is None or change.path in chosen]
        parted = [path for path, content in (chosen or {}).items() if content is not None and path not in drafted and path in before]
        changes += [Change(path, "changed") for path in parted]  # the task has put it back, and only a part of that is chosen
        for change in changes:
            self._check(change, before.get(change.path))
        undo, parts = self.place / "undo", self._parts(chosen or {})
        for change in changes:
            if change.kind != "added" and change.path not in before:
                (undo / change.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.origin / change.path, undo / change.path, follow_symlinks=False)
        touched = {change.path for change in changes}
        back = [taken for path, taken in before.items() if path not in drafted | touched and (chosen is None or path in chosen)]
        now = [
            _Taken(change.path, change.kind, _digest(parts.get(change.path, self.work), change.path), self.digest_now(change.path))
            for change in changes
        ]
        rest = [taken for path, taken in before.items() if path not in touched]
        _write_whole(self.place / "taken.json", msgspec.json.encode([*rest, *now]))
        for change in changes:
            self._apply(change, parts.get(change.path, self.work))
        for taken in back:  # the task has put it back since it was taken over
            self._apply(Change(taken.path, _BACK[taken.kind]), undo)
        return (*changes, *([] if chosen is None else [Change(taken.path, _BACK[taken.kind]) for taken in back]))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of those who take over, give up or undo, one at a time."""
        lock = os.open(self.place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _parts(self, chosen: Mapping[str, bytes | None]) -> dict[str, Path]:
        """Where the files lie of which only a part is taken over, each as it is to be in the folder."""
        folder = self.place / "parts"
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in chosen.items():
            if content is not None:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
                there = self.origin / path
                runs = there.stat().st_mode & 0o100 if there.is_file() else (self.digest_drafted(path) or "").startswith("x")
                (folder / path).chmod(0o755 if runs else 0o644)
        return {path: folder for path, content in chosen.items() if content is not None}

    def put_back(self, path: str, content: bytes | None = None) -> None:
        """In the draft the file is again as in the folder; or, where there is a content, it holds that."""
        with self._alone():
            self._put_back(path, content)

    def _put_back(self, path: str, content: bytes | None) -> None:
        digest = self.digest_now(path) if content is None else self.digest_drafted(path)
        if digest is None:
            delete_beneath(self.work, path, links=True)
            return
        fresh = self.place / "fresh"
        fresh.unlink(missing_ok=True)
        if content is None:
            _copy_from(self.origin, path, fresh)
        else:
            fresh.write_bytes(content)
            fresh.chmod(0o755 if digest.startswith("x") else 0o644)
        try:
            with _beneath(self.work, path, make=True) as (folder, name):
                os.replace(fresh, name, dst_dir_fd=folder)
        except OSError as error:
            raise SandboxRefused(f"{path} can't be put back: {(error.strerror or 'failed').lower()}.") from error

    @property
    def is_taken(self) -> bool:
        """Whether something of it was taken over, and not undone."""
        return (self.place / "taken.json").exists()

    def taken(self) -> tuple[Change, ...]:
        """What was taken over, and not undone."""
        return tuple(Change(each.path, each.kind) for each in self._taken())

    def _taken(self) -> tuple[_Taken, ...]:
        try:
            return msgspec.json.decode((self.place / "taken.json").read_bytes(), type=tuple[_Taken, ...])
        except FileNotFoundError:
            return ()

    def undo(self) -> tuple[Change, ...]:
        """Put the folder back as it was before taking over; what changed since then by other hands stops it."""
        with self._alone():
            return self._undo()

    def _undo(self) -> tuple[Change, ...]:
        if not self.is_taken:
            raise SandboxRefused("This run has taken nothing over, so there is nothing to undo.")
        taken = self._taken()
        for each in taken:
            if self.digest_now(each.path) not in self._known(each.path, each):
                raise SandboxRefused(f"{each.path} was changed since: nothing was undone.")
        for each in taken:
            self._apply(Change(each.path, _BACK[each.kind]), self.place / "undo")
            if each.kind == "added":
                self._leave_no_folder(each.path)
        (self.place / "taken.json").unlink()
        shutil.rmtree(self.place / "undo", ignore_errors=True)
        return tuple(Change(each.path, each.kind) for each in taken)

    def _leave_no_folder(self, path: str) -> None:
        """Folders that were only made for a file that is gone again."""
        held = {str(folder) for kept in self._kept.digests for folder in Path(kept).parents}
        for folder in Path(path).parents:
            if str(folder) in held or str(folder) == ".":
                return
            try:
                (self.origin / folder).rmdir()
            except OSError:
                return

    def difference(self) -> Iterator[str]:
        """What the draft changed, as a unified diff; of what is no text, one line that says so."""
        for change in self.changes():
            before = _lines(self._before(change.path), change.path) if change.kind != "added" else []
            after = _lines(self.work, change.path) if change.kind != "deleted" else []
            if before is None or after is None:
                yield f"Binary file {change.path} {change.kind}\n"
                continue
            old = f"a/{change.path}" if change.kind != "added" else "/dev/null"
            new = f"b/{change.path}" if change.kind != "deleted" else "/dev/null"
            for line in difflib.unified_diff(before, after, old, new):
                yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"

    def _before(self, path: str) -> Path:
        """In which folder the file still is as the draft found it."""
        kept = self.place / "undo" / path
        return self.place / "undo" if kept.is_symlink() or kept.exists() else self.origin

    def discard(self) -> None:
        """Throw the draft away."""
        shutil.rmtree(self.place, ignore_errors=True)

    def _check(self, change: Change, before: _Taken | None) -> None:
        target = self.origin / change.path
        if self.digest_now(change.path) not in self._known(change.path, before):
            raise SandboxRefused(f"{change.path} was changed while the task ran: nothing was taken over.")
        for parent in target.relative_to(self.origin).parents:
            if (self.origin / parent).is_symlink():
                raise SandboxRefused(f"{parent} is a link: nothing is written through it, and nothing was taken over.")
        digest = _digest(self.work, change.path) or ""
        _check_text(change.path, digest)
        if change.kind != "deleted" and digest.startswith(LINK) and self._leads_out(change.path, digest.removeprefix(LINK)):
            raise SandboxRefused(f"{change.path} is a link that leads out of the workspace: nothing was taken over.")

    def _known(self, path: str, taken: _Taken | None) -> set[str | None]:
        """What the folder may hold there without that anybody else has been at it; when taking over was cut off, what was there before."""
        return {self._kept.digests.get(path), *((taken.digest, taken.was) if taken else ())}

    def _leads_out(self, path: str, leads_to: str) -> bool:
        there = Path(os.path.normpath((self.work / path).parent / leads_to))
        return os.path.isabs(leads_to) or not there.is_relative_to(self.work)

    def _apply(self, change: Change, source: Path) -> None:
        target = self.origin / change.path
        if change.kind == "deleted":
            target.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_symlink() and _digest(self.origin, change.path) == _digest(source, change.path):
            return
        fresh = target.with_name(f".{target.name}.headrace")
        fresh.unlink(missing_ok=True)
        _copy_from(source, change.path, fresh)
        if fresh.is_symlink() and source == self.work and self._leads_out(change.path, os.readlink(fresh)):
            fresh.unlink()
            raise SandboxRefused(f"{change.path} has become a link that leads out of the workspace: it was not taken over.")
        if not fresh.is_symlink():
            fresh.chmod(0o755 if fresh.stat().st_mode & 0o100 else 0o644)
        owner = (target if target.is_symlink() or target.exists() else target.parent).lstat()
        if os.geteuid() == 0:
            os.chown(fresh, owner.st_uid, owner.st_gid, follow_symlinks=False)
        fresh.replace(target)

    def weight(self) -> Weight:
        """All that lies in it, also what is never copied."""
        size = entries = 0
        deep = False
        for found in found_beneath(self.work):
            entries += 1
            size += found.status.st_size if stat.S_ISREG(found.status.st_mode) else 0
            deep = deep or found.path.count("/") >= DEPTH_MAX
        return Weight(size, entries, deep)


def open_beneath(root: Path, path: str, flags: int) -> int:
    """A descriptor of a file under `root`, by a path of which no part is a link: a task can't lead us out of its draft."""
    try:
        with _beneath(root, path, make=bool(flags & os.O_CREAT)) as (folder, name):
            found = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644, dir_fd=folder)
    except OSError as error:
        raise SandboxRefused(f"{path} can't be opened: {(error.strerror or 'failed').lower()}.") from error
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise SandboxRefused(f"{path} is no plain file.")
    return found


def delete_beneath(root: Path, path: str, *, links: bool = False) -> None:
    """Delete a file under `root`, by such a path; with `links` also one that is a link. Raises SandboxRefused for what is none."""
    try:
        with _beneath(root, path) as (folder, name):
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(mode) or (links and stat.S_ISLNK(mode))):
                raise SandboxRefused(f"{path} is no plain file.")
            os.unlink(name, dir_fd=folder)
    except OSError as error:
        raise SandboxRefused(f"{path} can't be deleted: {(error.strerror or 'failed').lower()}.") from error


def names_in(path: str) -> list[str]:
    """The names of a path from folder to folder, the same for all spellings of it. Raises SandboxRefused for one that leads outside."""
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not names or ".." in names or path.startswith("/") or "\0" in path:
        raise SandboxRefused(f"{path or 'an empty path'} is outside of the workspace.")
    return names


@contextlib.contextmanager
def _beneath(root: Path, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that a path under `root` ends in, and the name there. Raises OSError where a part of the way is a link."""
    *folders, last = names_in(path)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, _AS_FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder, last
    finally:
        os.close(folder)


class Found(NamedTuple):
    """Something under a folder: by its path there, and by its name in the open folder that holds it, which is closed afterwards."""

    path: str
    name: str
    folder: int
    status: os.stat_result


def readable(path: str) -> str:
    """A path as it can be written down: names of files are bytes, and what is no text in them is replaced."""
    return os.fsencode(path).decode(errors="replace")


def _check_text(path: str, digest: str) -> None:
    """Raises SandboxRefused for what can't be written down as it is."""
    try:
        f"{path}{digest}".encode()
    except UnicodeEncodeError:
        raise SandboxRefused(f"{readable(path)} has a name, or leads to one, that is no text: rename it first.") from None


def found_beneath(root: Path, skipped: frozenset[str] = frozenset()) -> Iterator[Found]:
    """All that lies under `root`, folders before what is in them, without what goes while we look; no link is followed."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from _found_in(folder, "", skipped, DEPTH_MAX)
    finally:
        os.close(folder)


def _found_in(folder: int, at: str, skipped: frozenset[str], depth: int) -> Iterator[Found]:
    for name in sorted(os.listdir(folder)):
        if name in skipped:
            continue
        try:
            found = Found(at + name, name, folder, os.stat(name, dir_fd=folder, follow_symlinks=False))
        except FileNotFoundError:
            continue
        yield found
        if not stat.S_ISDIR(found.status.st_mode) or depth == 0:
            continue
        try:
            inner = os.open(name, _AS_FOLDER, dir_fd=folder)
        except OSError:
            continue  # it is gone, or another thing by now, or closed to us
        try:
            yield from _found_in(inner, f"{at}{name}/", skipped, depth - 1)
        finally:
            os.close(inner)


def _copy_from(root: Path, path: str, target: Path) -> None:
    """Raises SandboxRefused where it is there no more."""
    try:
        with _beneath(root, path) as (folder, name):
            _copy_found(Found(path, name, folder, os.stat(name, dir_fd=folder, follow_symlinks=False)), target)
    except (FileNotFoundError, NotADirectoryError):
        raise SandboxRefused(f"{path} was changed while it was taken over: do it again when the task rests.") from None


def copy_beneath(root: Path, target: Path) -> None:
    """All that lies under `root`, to a folder that is not there yet, or empty; what goes meanwhile is left out."""
    target.mkdir(parents=True, mode=0o700, exist_ok=True)
    for found in found_beneath(root):
        with contextlib.suppress(FileNotFoundError):
            _copy_found(found, target / found.path)


def _copy_found(found: Found, target: Path) -> None:
    """A file, a link or an empty folder, to a place where nothing is. Raises FileNotFoundError for a file that is another thing by now."""
    mode = found.status.st_mode
    if stat.S_ISDIR(mode):
        target.mkdir(mode=stat.S_IMODE(mode) | 0o700)
    elif stat.S_ISLNK(mode):
        target.symlink_to(_leads_to(found.folder, found.name))
    elif stat.S_ISREG(mode):
        with _opened(found.folder, found.name) as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy, _PIECE)
        target.chmod(stat.S_IMODE(mode) & 0o777)
        os.utime(target, ns=(found.status.st_atime_ns, found.status.st_mtime_ns))


def _leads_to(folder: int, name: str) -> str:
    """Where a link leads. Raises FileNotFoundError where it is none by now."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as wrong:
        raise FileNotFoundError(name) from wrong


def _opened(folder: int, name: str) -> BufferedReader:
    """A plain file of an open folder, to be read. Raises FileNotFoundError where it is something else by now."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as wrong:
        if wrong.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(name) from wrong
        raise
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(name)
    return os.fdopen(file, "rb")


def _copy(origin: Path, work: Path) -> dict[str, str]:
    if not origin.is_dir():
        raise SandboxRefused(f"{origin} is no folder.")
    count = size = 0
    for found in _files(origin):
        count, size = count + 1, size + found.status.st_size
        if count > FILES_MAX or size > BYTES_MAX:
            raise SandboxRefused(f"The folder holds more than {FILES_MAX:,} files or {BYTES_MAX:,} bytes: choose a smaller one.")
    shutil.copytree(origin, work, symlinks=True, ignore=lambda folder, names: [name for name in names if _left_out(Path(folder) / name)])
    return _digests(work)


def _left_out(path: Path) -> bool:
    """What is neither file, folder nor link (a socket, a device) is not copied, and neither is what is made again."""
    return path.name in SKIPPED or not (path.is_symlink() or path.is_dir() or path.is_file())


def _files(root: Path) -> Iterator[Found]:
    """Files and links."""
    for found in found_beneath(root, SKIPPED):
        if stat.S_ISREG(found.status.st_mode) or stat.S_ISLNK(found.status.st_mode):
            yield found


def _digests(root: Path) -> dict[str, str]:
    digests = ((found.path, _digest_in(found.folder, found.name)) for found in _files(root))
    return {path: digest for path, digest in digests if digest is not None}


def _ours(digests: dict[str, str]) -> dict[str, str]:
    """Without what lies in a folder of git: its hooks and settings are run by whoever uses it next, so a task never changes them."""
    return {path: digest for path, digest in digests.items() if ".git" not in path.split("/")}


def _digest(root: Path, path: str) -> str | None:
    """Of what a file holds, whether it may be run, or where a link leads; None where nothing is."""
    try:
        with _beneath(root, path) as (folder, name):
            return _digest_in(folder, name)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _digest_in(folder: int, name: str) -> str | None:
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            return LINK + _leads_to(folder, name)
        with _opened(folder, name) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    return f"{'x' if mode & 0o100 else '-'} {digest}"


def read_text(root: Path, path: str) -> bytes | None:
    """What a file holds that is text in UTF-8; None of what is no plain file, no text, too long to be read, or gone."""
    try:
        with _beneath(root, path) as (folder, name), _opened(folder, name) as file:
            content = file.read(TEXT_BYTES_MAX + 1)
    except OSError:
        return None
    if len(content) > TEXT_BYTES_MAX or b"\0" in content:
        return None
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    return content


def _lines(root: Path, path: str) -> list[str] | None:
    """The lines of a text, of a link where it leads; None of what is no text or too long to be read, or is gone."""
    try:
        with _beneath(root, path) as (folder, name):
            if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                return [f"link to {_leads_to(folder, name)}\n"]
            with _opened(folder, name) as file:
                content = file.read(TEXT_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(content) > TEXT_BYTES_MAX or b"\0" in content:
        return None
    try:
        return content.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None


def _write_whole(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
