"""Where the bytes of files lie, by one suite for a folder and for a bucket of a server that speaks S3, over a socket."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from headrace.core.errors import NotReady
from headrace.storage import Blobs, Bucket, Folder, bucket

LONG_AGO_S, SOON_S = 1, 1 << 40


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(name, value)


def at_bucket(s3: str, name: str, installation: str = "host_1") -> Bucket:
    found = bucket(f"s3://{name}/files", endpoint=s3, region="us-east-1", installation=installation)
    found._client.create_bucket(Bucket=name)
    return found


@pytest.fixture(params=["folder", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, s3: str, credentials: None) -> Blobs:
    return Folder(tmp_path / "files") if request.param == "folder" else at_bucket(s3, "headrace-suite")


def test_what_is_written_is_read(blobs: Blobs) -> None:
    content = os.urandom(9_000_000)  # more than one part of an upload
    source = io.BytesIO(content)
    assert blobs.write("a", source) == len(content)
    assert not source.closed, "it is its owner's"
    with blobs.read("a") as held:
        assert held.read() == content
    assert blobs.write("a", io.BytesIO(b"two\nlines\n")) == 10
    with blobs.read("a") as held:
        assert list(held) == [b"two\n", b"lines\n"]


def test_what_is_not_there_is_said_not_to_be(blobs: Blobs) -> None:
    with pytest.raises(FileNotFoundError):
        blobs.read("nothing")
    blobs.drop("nothing")


def test_parts_become_one_in_the_order_that_is_given(blobs: Blobs) -> None:
    for name, content in (("p1", b"abc"), ("p2", b"def")):
        blobs.write(name, io.BytesIO(content))
    assert blobs.join(["p2", "p1"], "whole") == 6
    with blobs.read("whole") as held:
        assert held.read() == b"defabc"
    blobs.drop("p1")
    with pytest.raises(FileNotFoundError):
        blobs.read("p1")


def test_what_nobody_names_goes_once_it_is_old(blobs: Blobs) -> None:
    blobs.write("named", io.BytesIO(b"x"))
    blobs.write("orphan", io.BytesIO(b"x"))
    blobs.sweep({"named"}, LONG_AGO_S)
    blobs.read("orphan").close()
    blobs.sweep({"named"}, SOON_S)
    blobs.read("named").close()
    with pytest.raises(FileNotFoundError):
        blobs.read("orphan")


def test_installations_that_share_a_bucket_leave_each_others_bytes_alone(s3: str, credentials: None) -> None:
    one, other = at_bucket(s3, "headrace-shared"), at_bucket(s3, "headrace-shared", "host_2")
    one.write("a", io.BytesIO(b"one"))
    other.write("a", io.BytesIO(b"other"))
    other.sweep((), SOON_S)
    with one.read("a") as held:
        assert held.read() == b"one"


def test_a_bucket_that_is_not_there_is_told(s3: str, credentials: None) -> None:
    with pytest.raises(NotReady, match="bucket of the files refuses"):
        bucket("s3://headrace-nowhere", endpoint=s3, region="us-east-1", installation="h").write("a", io.BytesIO(b"x"))
