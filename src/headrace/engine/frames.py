"""What the parent and the worker say to each other: length-framed MessagePack over a socket pair, one frame a step.

    parent  Setup ──────────────────────────────> worker          once, what to load
            Submit, Cancel, in any order
            <──────────────── Loaded or Broken                     once
            <──────────────── Report(events)                       one a step, for all requests together

A request's events come in this order: Accepted or Refused; Began; Spoke for any of its choices; the Spoke that carries `finish` is a
choice's last. Refused may come at any time instead, and nothing follows it. After a Cancel, events already on their way may arrive.
"""

import struct
from typing import Literal, TypeAlias

import msgspec

from headrace.core.stream import TokenLogprob
from headrace.engine.settings import BackendName

FRAME_BYTES_MAX = 256 << 20
_SIZE = struct.Struct("<I")


class Setup(msgspec.Struct, frozen=True, tag=True):
    """What the worker loads. `converted` is the folder where OpenVINO's form of the weights is or shall be."""

    backend: BackendName
    weights: str
    converted: str
    context: int
    kv_tokens: int
    threads: int
    sequences_max: int
    prefill_tokens_max: int


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are chosen. `schema` is a JSON schema that the answer must satisfy, as text, or empty."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    frequency_penalty: float
    presence_penalty: float
    repetition_penalty: float
    seed: int
    output_min: int
    ignore_end: bool
    logprobs: int | None  # None: none; else how many alternatives beside the chosen token
    schema: str


class Submit(msgspec.Struct, frozen=True, tag=True):
    """A request. `pieces` are the prompt, cut where the text on both sides must not be read as one token."""

    id: int
    pieces: tuple[str, ...]
    sampling: Sampling
    choices: int
    stops: tuple[str, ...]
    output_max: int | None


class Cancel(msgspec.Struct, frozen=True, tag=True):
    id: int


class Loaded(msgspec.Struct, frozen=True, tag=True):
    pass


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The model could not be loaded."""

    message: str


class Accepted(msgspec.Struct, frozen=True, tag=True):
    id: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The request fails: `code` is the code of an error in `core.errors`."""

    id: int
    code: Literal["context_length_exceeded", "invalid_value", "engine_failed"]
    message: str
    param: str | None = None


class Began(msgspec.Struct, frozen=True, tag=True):
    """The request left the waiting line; its prompt has `tokens`, `cached` of which need no computing as far as is known yet."""

    id: int
    tokens: int
    cached: int


class Spoke(msgspec.Struct, frozen=True, tag=True):
    """One choice went on by `tokens` tokens, which said `text`. `cached` corrects Began's, where the backend knows better."""

    id: int
    choice: int
    tokens: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()
    finish: Literal["stop", "length"] | None = None
    cached: int | None = None


Event: TypeAlias = Accepted | Refused | Began | Spoke


class Report(msgspec.Struct, frozen=True, tag=True):
    """All that happened in one step, and the share of the key-value cache in use."""

    events: list[Event]
    kv_use: float
    notes: list[str] = []


ToWorker: TypeAlias = Setup | Submit | Cancel
ToParent: TypeAlias = Loaded | Broken | Report


class EmbeddingSetup(msgspec.Struct, frozen=True, tag=True):
    """What the embedding worker loads."""

    weights: str
    threads: int


class Embed(msgspec.Struct, frozen=True, tag=True):
    """Texts, or the tokens of texts, to be embedded together."""

    id: int
    inputs: tuple[str | tuple[int, ...], ...]


class Vectors(msgspec.Struct, frozen=True, tag=True):
    """All vectors of a request, each as 32-bit floats, and the tokens that each input had."""

    id: int
    vectors: tuple[bytes, ...]
    tokens: tuple[int, ...]


ToEmbedding: TypeAlias = EmbeddingSetup | Embed | Cancel
FromEmbedding: TypeAlias = Loaded | Broken | Vectors | Refused


class Splitter:
    """Bytes in, frames out."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        held = self._held
        held += data
        frames, at = [], 0
        while len(held) - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(held, at)
            if size > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {size:,} bytes")
            if len(held) - at - _SIZE.size < size:
                break
            at += _SIZE.size
            frames.append(bytes(held[at : at + size]))
            at += size
        del held[:at]
        return frames


def frame(body: bytes) -> bytes:
    return _SIZE.pack(len(body)) + body
