"""OpenAI's embeddings: the request, the answer, and what passes between two who both speak it."""

import base64
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace.core.errors import UpstreamGarbled
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.openai_chat import read
from headrace.wire.openai_failure import reported
from headrace.wire.openai_usage import ToldUsage


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One or many texts, or the same as token numbers."""

    model: str
    input: str | list[str | int | list[int]]
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None
    max_cost: str | float | None = None


_requests = msgspec.json.Decoder(EmbeddingsRequest)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_request(body: bytes) -> EmbeddingsRequest:
    """Raises InvalidJson or InvalidRequest, naming the field."""
    return read(_requests, body)


def body_for(body: bytes, ours: str, its: str) -> bytes:
    """The request under the upstream's own name of the model."""
    if ours == its:
        return body
    members = _members.decode(body)
    members["model"] = msgspec.Raw(msgspec.json.encode(its))
    return msgspec.json.encode(members)


class _Answer(msgspec.Struct):
    usage: ToldUsage | None = None
    model: str | None = None
    error: Any = None


_answers = msgspec.json.Decoder(_Answer)


def read_answer(body: bytes) -> tuple[Usage | None, str | None]:
    """Usage and served model of an upstream's answer. Raises what went wrong upstream where it is not one."""
    try:
        answer = _answers.decode(body)
    except UNREADABLE as wrong:
        raise UpstreamGarbled(f"The upstream's answer is not a list of embeddings: {wrong}.") from None
    if answer.error is not None:
        raise reported(body)
    return (_used(answer.usage) if answer.usage else None), answer.model


def _used(told: ToldUsage) -> Usage | None:
    """All that embeddings use is read: some servers name only the total."""
    tokens = told.prompt_tokens or told.total_tokens
    return Usage(tokens) if tokens else None


def write_answer(*, model: str, vectors: Sequence[bytes], tokens: int, encoding_format: str) -> bytes:
    """The answer. A vector is little-endian float32, as `base64` carries it."""
    written = [{"object": "embedding", "index": at, "embedding": _written(vector, encoding_format)} for at, vector in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return msgspec.json.encode({"object": "list", "data": written, "model": model, "usage": usage})


def _written(vector: bytes, encoding_format: str) -> Any:
    if encoding_format == "base64":
        return base64.b64encode(vector).decode()
    return memoryview(vector).cast("f").tolist()
