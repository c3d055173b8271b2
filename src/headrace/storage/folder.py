"""The data folder: where things lie in it, and that one server at a time holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from headrace.core.errors import DataFolderLocked, SetupError
from headrace.metering import secret_from

SOCKET_PATH_MAX = 100


class Layout(msgspec.Struct, frozen=True):
    """The paths of a data folder."""

    root: Path

    @property
    def usage(self) -> Path:
        return self.root / "usage"

    @property
    def database(self) -> Path:
        return self.root / "headrace.sqlite"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def loader_lock(self) -> Path:
        return self.root / "loader.lock"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def reports(self) -> Path:
        """What plans and simulations came to, as far as it is kept."""
        return self.root / "reports"

    @property
    def keys_generation(self) -> Path:
        return self.root / "keys.generation"

    @property
    def prices_generation(self) -> Path:
        """Touched when a price is set."""
        return self.root / "prices.generation"

    @property
    def limits_generation(self) -> Path:
        """Touched when a project's limits are set."""
        return self.root / "limits.generation"

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def commons(self) -> Path:
        return self.root / "workers.shared"

    @property
    def budgets(self) -> Path:
        return self.root / "budgets.sqlite"

    @property
    def bank(self) -> Path:
        return self.root / "budgets.sock"

    @property
    def bank_lock(self) -> Path:
        return self.root / "budgets.lock"

    @property
    def host(self) -> Path:
        return self.root / "host.id"

    @property
    def moved(self) -> Path:
        """There where what hosts share lies in PostgreSQL, and not in this folder."""
        return self.root / "shared.id"

    @property
    def leave_key(self) -> Path:
        """What leave that is given ahead of time is signed with."""
        return self.root / "leave.key"

    @property
    def making(self) -> Path:
        """What the page has asked to be planned or simulated: its files, how far it is, and the lock of who does it."""
        return self.root / "making"

    @property
    def watch_lock(self) -> Path:
        """Held by the one process that does what is scheduled: a server's, or a watch."""
        return self.root / "watch.lock"

    @property
    def development_key(self) -> Path:
        return self.root / "development.key"


class FileLock:
    """A lock that the system takes back when its holder dies, however it dies. The file names the holder's process."""

    __slots__ = ("_file", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self, pid: int) -> bool:
        """True when it is ours now; False when another process has it."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % pid, 0)
        self._file = file
        return True

    def holder(self) -> str:
        """The process id that the holder wrote down, as text; `unknown` in the instant before it does."""
        return self._path.read_text().strip() or "unknown"

    def outlives_its_holder(self) -> bool:
        """True where the process that took it is dead, and one that it started (a worker that ends its answers) still has it."""
        holder = self.holder()
        if not holder.isdigit():
            return False
        try:
            os.kill(int(holder), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class DataFolder:
    """A data folder that this process alone serves from, until `close`."""

    __slots__ = ("_lock", "layout")

    def __init__(self, layout: Layout, lock: FileLock) -> None:
        self.layout, self._lock = layout, lock

    @classmethod
    def hold(cls, root: Path, pid: int) -> Self:
        """Make the folder where it is missing, and lock it. Raises DataFolderLocked, or SetupError where it can't be made."""
        layout = make_folder(root)
        lock = FileLock(layout.lock)
        if not lock.take(pid):
            raise DataFolderLocked(
                f"the data folder {root} is in use by another headrace server (process {lock.holder()}): "
                f"stop that one first, or give this one a folder of its own ([storage] path)",
                dying=lock.outlives_its_holder(),
            )
        return cls(layout, lock)

    def close(self) -> None:
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def make_folder(root: Path) -> Layout:
    """The folder and its parts, open to its owner alone; what is there already stays as it is."""
    layout = Layout(root)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.usage.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the data folder {root} can't be made ({error.strerror}): choose another with [storage] path") from error
    if not os.access(layout.usage, os.W_OK | os.X_OK):
        raise SetupError(f"the data folder {root} can't be written to: change its owner or choose another with [storage] path")
    return layout


def development_key(layout: Layout, token: bytes) -> str:
    """The secret of the development key: read from its file, or made of `token` and written there, for its owner alone to read."""
    path = layout.development_key
    if path.exists():
        secret = path.read_text().strip()
        if secret:
            return secret
    secret = secret_from(token)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, f"{secret}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    return secret


def leave_key(layout: Layout, fresh: bytes) -> bytes:
    """The key that signs leave: `fresh` at first, and kept for its owner alone to read."""
    if not layout.leave_key.exists():
        draft = layout.leave_key.with_suffix(f".{os.getpid()}")
        draft.unlink(missing_ok=True)
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, fresh)
            os.fsync(file)
        finally:
            os.close(file)
        with suppress(FileExistsError):
            os.link(draft, layout.leave_key)
        draft.unlink()
    return layout.leave_key.read_bytes()


def host_id(layout: Layout, fresh: str) -> str:
    """The name of this data folder among those that share a store: `fresh` at first, and kept in it."""
    if not layout.host.exists():
        draft = layout.host.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(f"{fresh}\n")
        with suppress(FileExistsError):
            os.link(draft, layout.host)
        draft.unlink()
    return layout.host.read_text().strip()


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for a socket that the system takes: one that is too long is named by way of its folder, which is open meanwhile."""
    if len(os.fsencode(path)) < SOCKET_PATH_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
