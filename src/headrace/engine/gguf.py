"""GGUF, the file format of open weights: what a model says about itself, read without loading it.

A file is a header (magic, version, counts), key-value pairs, a table of tensors, then the tensors' bytes. Only the first three are
read. Whatever is not as the format says is a SetupError that names the file: a damaged download is found before a worker dies of it.
"""

import mmap
import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from headrace.core.errors import SetupError

Read = TypeVar("Read")
Value: TypeAlias = "int | float | bool | str | list[Value]"

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
NESTING_MAX = 4

# id: name, values a block, bytes a block
TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 30: ("BF16", 1, 2),
}  # fmt: skip

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


class Gguf(msgspec.Struct, frozen=True, kw_only=True):
    """What a GGUF says about itself. `control` are the tokens that steer (`<|im_end|>`), as text."""

    architecture: str
    name: str
    context: int
    template: str
    tensor_types: frozenset[str]
    parameters: int
    layers: int
    kv_heads: int
    head_size: int
    bos: str
    eos: str
    control: tuple[str, ...]


class Vocabulary(msgspec.Struct, frozen=True):
    """The tokens as written in the file, their kinds, the scheme (`gpt2` or `llama`), and the ids that end an answer."""

    scheme: str
    tokens: list[str]
    kinds: list[int]
    ends: frozenset[int]


def read_gguf(path: Path) -> Gguf:
    """The facts of the model at `path`. Raises SetupError when it is not a whole, readable GGUF."""
    return _read(path, _facts)


def read_vocabulary(path: Path) -> Vocabulary:
    """The tokens of the model at `path`. Raises SetupError when it is not a whole, readable GGUF."""
    return _read(path, lambda cursor: _vocabulary(cursor.pairs()))


def _read(path: Path, use: Callable[["Cursor"], Read]) -> Read:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return use(Cursor(data))
    except OSError as failure:
        raise SetupError(f"The model file {path} cannot be read: {failure.strerror or failure}.") from None
    except (ValueError, KeyError, TypeError, struct.error, OverflowError) as wrong:
        raise SetupError(f"{path} is not a GGUF model that headrace can read, or it is damaged: {wrong}.") from None


class Cursor:
    """A place in the file that moves on as values are taken."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0
        magic, version, self._tensors, self._pairs = struct.unpack("<4sIQQ", self._take(24))
        if magic != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        if version not in {2, 3}:
            raise ValueError(f"its version is {version}, known are 2 and 3")

    def pairs(self) -> dict[str, Value]:
        """The key-value pairs; to be read before the tensors."""
        return {self._string(): self._value(self._scalar("<I"), 0) for _ in range(self._pairs)}

    def tensors(self) -> list[tuple[str, int]]:
        """Type and count of values of each tensor, after checking that the file is long enough to hold them all."""
        found, end = [], 0
        for _ in range(self._tensors):
            self._string()
            shape = [self._scalar("<Q") for _ in range(self._scalar("<I"))]
            kind, offset = self._scalar("<I"), self._scalar("<Q")
            name, values, size = TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))
            found.append((name, prod(shape)))
            end = max(end, offset + prod(shape) // values * size)
        if self._at + end > len(self._data):
            raise ValueError(f"it is cut off: {self._at + end:,} bytes are expected, {len(self._data):,} are there")
        return found

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise ValueError("it is cut off in its header")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _scalar(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _string(self) -> str:
        return self._take(self._scalar("<Q")).decode("utf-8", "surrogateescape")

    def _value(self, kind: int, depth: int) -> Value:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            form = SCALARS[kind]
            scalar: int | float | bool = struct.unpack(form, self._take(struct.calcsize(form)))[0]
            return scalar
        if depth == NESTING_MAX:
            raise ValueError("its lists are nested too deeply")
        inner, count = self._scalar("<I"), self._scalar("<Q")
        if inner in SCALARS:
            form = SCALARS[inner]
            return list(struct.unpack(f"<{count}{form[1]}", self._take(count * struct.calcsize(form))))
        return [self._value(inner, depth + 1) for _ in range(count)]


def _facts(cursor: Cursor) -> Gguf:
    pairs = cursor.pairs()
    tensors = cursor.tensors()
    architecture = str(pairs["general.architecture"])

    def number(key: str, otherwise: int = 0) -> int:
        value = pairs.get(f"{architecture}.{key}", otherwise)
        return value if isinstance(value, int) else otherwise  # some architectures say one number a layer

    def token(key: str) -> str:
        at, tokens = pairs.get(f"tokenizer.ggml.{key}_token_id"), pairs.get("tokenizer.ggml.tokens")
        return str(tokens[at]) if isinstance(tokens, list) and isinstance(at, int) and at < len(tokens) else ""

    heads = max(1, number("attention.head_count", 1))
    words = _vocabulary(pairs)
    return Gguf(
        architecture=architecture,
        name=str(pairs.get("general.name", "")),
        context=number("context_length"),
        template=str(pairs.get("tokenizer.chat_template", "")),
        tensor_types=frozenset(kind for kind, _ in tensors),
        parameters=sum(count for _, count in tensors),
        layers=number("block_count", 1),
        kv_heads=number("attention.head_count_kv", heads),
        head_size=number("attention.key_length", number("embedding_length", heads) // heads),
        bos=token("bos"),
        eos=token("eos"),
        control=tuple(word for word, kind in zip(words.tokens, words.kinds, strict=False) if kind == CONTROL and len(word) > 1),
    )


# Tokens that end an answer whatever the file names as its one `eos`: a model tuned for chat may use either.
ENDS = frozenset(
    {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "<end_of_turn>", "</s>", "<|return|>"}
)


def _vocabulary(pairs: dict[str, Value]) -> Vocabulary:
    tokens, kinds = pairs.get("tokenizer.ggml.tokens"), pairs.get("tokenizer.ggml.token_type")
    words = [str(token) for token in tokens] if isinstance(tokens, list) else []
    types = [kind if isinstance(kind, int) else NORMAL for kind in kinds] if isinstance(kinds, list) else [NORMAL] * len(words)
    ends = {at for at, (word, kind) in enumerate(zip(words, types, strict=False)) if kind == CONTROL and word in ENDS}
    eos = pairs.get("tokenizer.ggml.eos_token_id")
    if isinstance(eos, int):
        ends.add(eos)
    return Vocabulary(str(pairs.get("tokenizer.ggml.model", "gpt2")), words, types, frozenset(ends))
