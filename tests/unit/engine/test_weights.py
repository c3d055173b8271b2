"""Weights come into the cache whole, with the right hash, or not at all."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.core.errors import SetupError, WeightsUnavailable
from headrace.engine import weights
from tests.unit.engine.test_gguf import model

SHA256 = hashlib.sha256(model()).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "my model.gguf"
    path.write_bytes(model())
    return path


def test_a_path_and_a_url(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    cache = tmp_path / "cache"
    added = weights.add(str(source), None, cache, lambda done, total: seen.append((done, total)))
    assert (added.name, added.sha256, added.path.read_bytes()) == ("tiny", SHA256, model())
    assert seen[-1] == (len(model()), len(model()))
    named = weights.add(source.as_uri(), SHA256.upper(), cache, name="Our Model")
    assert [each.name for each in weights.installed(cache)] == ["our-model", "tiny"]
    assert weights.find("our-model", cache) == named.path
    assert weights.find(str(source), cache) == source
    assert weights.digest(named.path, cache) == SHA256
    assert [path.name for path in (cache / "weights").iterdir() if path.name.startswith(".fetching")] == []


@pytest.mark.parametrize(
    ("what", "sha256", "said"),
    [
        ("file:///nowhere.gguf", None, "give --sha256"),
        ("file:///nowhere.gguf", SHA256, "cannot be read"),
        ("nowhere.gguf", None, "cannot be read"),
        ("{source}", "0" * 64, "its SHA-256 is"),
        ("{source}", "abc", "64 hexadecimal digits"),
        ("{broken}", None, "not a GGUF"),
    ],
)
def test_what_is_not_taken(what: str, sha256: str | None, said: str, source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises(SetupError, match=said):
        weights.add(what.format(source=source, broken=broken), sha256, tmp_path / "cache")
    assert weights.installed(tmp_path / "cache") == []


def test_an_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="headrace models add"):
        weights.find("none-such", tmp_path)


def test_a_hash_is_remembered_until_the_file_changes(source: Path, tmp_path: Path) -> None:
    assert weights.digest(source, tmp_path) == SHA256
    source.write_bytes(model() + b"x")
    assert weights.digest(source, tmp_path) == hashlib.sha256(model() + b"x").hexdigest()


def test_several_at_the_same_time(source: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        added = [*threads.map(lambda _: weights.add(str(source), SHA256, tmp_path / "cache"), range(8))]
    assert {each.path for each in added} == {tmp_path / "cache" / "weights" / "tiny.gguf"}


def test_no_index_says_how_to_bring_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "file:///nowhere")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(WeightsUnavailable, match="headrace models add PATH"):
        weights.obtain(tmp_path)
