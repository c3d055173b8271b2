"""What a GGUF says about itself, and that nothing damaged is taken for one."""

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import SetupError
from headrace.engine.choosing import backend_for, kv_tokens_for
from headrace.engine.gguf import CONTROL, NORMAL, read_gguf, read_vocabulary

U32, F32, STRING, ARRAY = 4, 6, 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, value: str | int | list[str] | list[int]) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", STRING) + text(value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", U32, value)
    if value and isinstance(value[0], str):
        return text(key) + struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(text(str(each)) for each in value)
    return text(key) + struct.pack("<IIQ", ARRAY, U32, len(value)) + struct.pack(f"<{len(value)}I", *value)


def model(architecture: str = "llama", kind: int = 2, version: int = 3) -> bytes:
    """A file of one tensor of 64 values in blocks of 32."""
    pairs: dict[str, str | int | list[str] | list[int]] = {
        "general.architecture": architecture,
        "general.name": "Tiny",
        f"{architecture}.context_length": 2048,
        f"{architecture}.block_count": 2,
        f"{architecture}.embedding_length": 8,
        f"{architecture}.attention.head_count": 2,
        f"{architecture}.attention.head_count_kv": 1,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["<|im_end|>", "a", "b"],
        "tokenizer.ggml.token_type": [CONTROL, NORMAL, NORMAL],
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.chat_template": "{{ messages }}",
    }
    tensor = text("weight") + struct.pack("<IQIQ", 1, 64, kind, 0)
    head = struct.pack("<4sIQQ", b"GGUF", version, 1, len(pairs))
    return head + b"".join(pair(key, value) for key, value in pairs.items()) + tensor + bytes(64)


def test_facts(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(model())
    facts = read_gguf(path)
    assert (facts.architecture, facts.name, facts.context, facts.template) == ("llama", "Tiny", 2048, "{{ messages }}")
    assert (facts.tensor_types, facts.parameters) == (frozenset({"Q4_0"}), 64)
    assert (facts.layers, facts.kv_heads, facts.head_size) == (2, 1, 4)
    assert (facts.eos, facts.bos, facts.control) == ("<|im_end|>", "", ("<|im_end|>",))
    assert read_vocabulary(path).ends == {0}


def test_which_backend(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    table = [
        # architecture  tensors   asked        chosen
        ("llama", 2, "llamacpp", "llamacpp"),
        ("llama", 6, "auto", "llamacpp"),  # Q5_0, which OpenVINO's reader fails on
        ("gemma3", 2, "auto", "llamacpp"),
        ("qwen2", 12, "openvino", "openvino"),
    ]
    for architecture, kind, asked, chosen in table:
        path.write_bytes(model(architecture, kind))
        assert backend_for(read_gguf(path), asked) == chosen  # type: ignore[arg-type]  # of the table
    path.write_bytes(model("gemma3"))
    with pytest.raises(SetupError, match="its architecture is gemma3"):
        backend_for(read_gguf(path), "openvino")


def test_the_caches_size_in_tokens(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(model())
    facts = read_gguf(path)
    keys, values = 4 * (32 + 8), 32 * (4 + 8)
    assert kv_tokens_for(facts, "openvino", 1) == (1 << 20) // (2 * (keys + values)) * 32
    assert kv_tokens_for(facts, "llamacpp", 1) == (1 << 20) // (2 * 4 * 4)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(40), "does not begin with GGUF"),
        (model(version=9), "version is 9"),
        (model()[:300], "cut off"),
        (model()[:-40], "cut off"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 1, 1 << 60), "cut off"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("k") + struct.pack("<IIQ", ARRAY, STRING, 1 << 60), "cut off"),
    ],
)
def test_what_is_no_model_is_refused(data: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(SetupError, match=why) as refused:
        read_gguf(path)
    assert "bad.gguf" in str(refused.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="No such file"):
        read_gguf(tmp_path / "none.gguf")


@given(at=st.integers(0, len(model()) - 1), byte=st.integers(0, 255))
def test_no_damage_does_more_than_refuse(at: int, byte: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = bytearray(model())
    data[at] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(data)
    with contextlib.suppress(SetupError):
        read_gguf(path)
