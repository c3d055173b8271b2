"""Where the bytes of clients' files lie, each under a name: a folder, or a bucket of anything that speaks S3.

Bytes are there whole or not at all. Names are ours, never a client's.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from headrace.core.errors import NotReady, SetupError

CHUNK: Final = 1 << 20


class Blobs(Protocol):
    """What a place for bytes can do; in a thread, since each of it may take a while. Raises OSError where a disk fails, and NotReady where
    a bucket does."""

    def write(self, name: str, source: BinaryIO) -> int:
        """Keep all of `source` under `name`. How many bytes."""
        ...

    def read(self, name: str) -> BinaryIO:
        """The bytes, to be read once and closed. Raises FileNotFoundError."""
        ...

    def join(self, parts: Sequence[str], name: str) -> int:
        """Keep under `name` what the parts make, in this order; they stay. How many bytes."""
        ...

    def drop(self, name: str) -> None:
        """Forget it; nothing where it is not there."""
        ...

    def sweep(self, named: Collection[str], before_s: int) -> None:
        """Forget what none of these names and was written before that second."""
        ...


class Folder:
    """A folder of this machine; its files are their owner's alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, source: BinaryIO) -> int:
        self._path.mkdir(mode=0o700, exist_ok=True)
        draft = self._path / f"{name}.new"
        try:
            with open(draft, "wb", opener=_private) as target:
                shutil.copyfileobj(source, target, CHUNK)
                target.flush()
                os.fsync(target.fileno())
                size = target.tell()
            draft.replace(self._path / name)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return size

    def read(self, name: str) -> BinaryIO:
        return (self._path / name).open("rb")

    def join(self, parts: Sequence[str], name: str) -> int:
        draft = self._path / f"{name}.new"
        with open(draft, "wb", opener=_private) as target:
            for part in parts:
                with self.read(part) as source:
                    shutil.copyfileobj(source, target, CHUNK)
            target.flush()
            os.fsync(target.fileno())
            size = target.tell()
        draft.replace(self._path / name)
        return size

    def drop(self, name: str) -> None:
        (self._path / name).unlink(missing_ok=True)

    def sweep(self, named: Collection[str], before_s: int) -> None:
        for path in self._path.iterdir() if self._path.exists() else ():
            if path.name.removesuffix(".new") not in named and path.stat().st_mtime < before_s:
                path.unlink(missing_ok=True)


class Bucket:
    """A bucket, under a prefix that is ours alone: `client` is boto3's for S3, which finds credentials as all of its programs do.

    Large objects go up in parts, which appear as one when the last is there.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def write(self, name: str, source: BinaryIO) -> int:
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        with _told(name):
            self._client.upload_fileobj(_Unclosed(source), self._bucket, self._prefix + name)
        return size

    def read(self, name: str) -> BinaryIO:
        held = tempfile.TemporaryFile()  # noqa: SIM115 -- it is closed by who asked for it
        try:
            with _told(name):
                self._client.download_fileobj(self._bucket, self._prefix + name, held)
        except BaseException:
            held.close()
            raise
        held.seek(0)
        return held

    def join(self, parts: Sequence[str], name: str) -> int:
        with tempfile.TemporaryFile() as whole:
            for part in parts:
                with self.read(part) as source:
                    shutil.copyfileobj(source, whole, CHUNK)
            return self.write(name, whole)

    def drop(self, name: str) -> None:
        with _told(name):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def sweep(self, named: Collection[str], before_s: int) -> None:
        with _told("what nobody names"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                for one in page.get("Contents", ()):
                    name = str(one["Key"]).removeprefix(self._prefix)
                    if name not in named and one["LastModified"].timestamp() < before_s:
                        self._client.delete_object(Bucket=self._bucket, Key=one["Key"])


def bucket(url: str, *, endpoint: str | None, region: str | None, installation: str) -> Bucket:
    """The bucket of `s3://BUCKET/PREFIX`, for the files of this installation alone. Raises SetupError without boto3."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise SetupError("files.url needs boto3: pip install 'headrace[s3]'") from None
    name, _, prefix = url.removeprefix("s3://").partition("/")
    retries = Config(retries={"mode": "standard", "max_attempts": 4}, connect_timeout=5, read_timeout=60)
    client = boto3.client("s3", endpoint_url=endpoint, region_name=region, config=retries)
    return Bucket(client, name, f"{prefix.rstrip('/')}/{installation}/".lstrip("/"))


class _Unclosed:
    """A file that boto3 may read and not close, as it else does."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell

    def close(self) -> None:
        """It is its owner's to close."""


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as wrong:
        if wrong.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
            raise FileNotFoundError(name) from None
        raise NotReady(f"The bucket of the files refuses: {wrong}") from wrong
    except (Boto3Error, BotoCoreError) as wrong:
        raise NotReady(f"The bucket of the files can't be reached: {wrong}") from wrong


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
