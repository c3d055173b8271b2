"""The kinds of usage that OpenAI tells apart, as its newest client reads them: what each counts, how it may be grouped, how it is told."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from headrace.core.usage import Usage

Counted: TypeAlias = Literal["tokens", "units", "calls"]
"""Tokens; what else is made or heard; tools that a vendor ran."""
GROUPS: Final = (
    "project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source", "size", "source", "context_level",
    "vector_store_id",
)  # fmt: skip
UNKNOWN: Final[Mapping[str, str | None]] = {"api_source": "unlabeled", "context_level": None, "vector_store_id": None}
"""What may be grouped by, and nobody told us of: all is one group."""
_WHO: Final = ("project_id", "user_id", "api_key_id", "model")


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """What one group used in one bucket; of `count` only what its kind counts."""

    requests: int
    usage: Usage
    count: int


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind. `operation` and `unit` say what is counted: None, all operations; nothing is counted where both are. `named` is what its
    results call themselves, `only` what may be filtered by beside those of `groups`."""

    groups: tuple[str, ...]
    tell: Callable[[Amount], Mapping[str, Any]]
    operation: str | None = None
    counted: Counted = "tokens"
    unit: str = ""
    named: str = ""


def _tokens(amount: Amount) -> Mapping[str, Any]:
    usage = amount.usage
    return _prompt(amount) | {
        "output_tokens": usage.tokens_out,
        "input_cached_tokens": usage.cached,
        "input_cache_write_tokens": usage.cache_written,
        "input_cache_write_30m_tokens": usage.cache_write_30m,
        "input_cache_write_12h_tokens": usage.cache_write_12h,
        "input_uncached_tokens": usage.uncached + usage.audio_in + usage.image_in,
        "input_text_tokens": usage.uncached,
        "input_audio_tokens": usage.audio_in,
        "input_image_tokens": usage.image_in,
        "input_cached_text_tokens": usage.cache_read,
        "input_cached_audio_tokens": usage.audio_read,
        "input_cached_image_tokens": usage.image_read,
        "output_text_tokens": usage.output + usage.reasoning,
        "output_audio_tokens": usage.audio_out,
        "output_image_tokens": usage.image_out,
    }


def _prompt(amount: Amount) -> dict[str, Any]:
    return {"input_tokens": amount.usage.tokens_in, "num_model_requests": amount.requests}


def _count(field: str, requests: str | None = "num_model_requests") -> Callable[[Amount], Mapping[str, Any]]:
    return lambda amount: {field: amount.count} | ({} if requests is None else {requests: amount.requests})


KINDS: Final[Mapping[str, Kind]] = {
    "completions": Kind(operation="chat", groups=(*_WHO, "batch", "service_tier", "api_source"), tell=_tokens),
    "embeddings": Kind(operation="embeddings", groups=_WHO, tell=_prompt),
    "moderations": Kind(operation="moderations", groups=_WHO, tell=_prompt),
    "images": Kind(operation="images", counted="units", unit="image", groups=(*_WHO, "size", "source"), tell=_count("images")),
    "audio_speeches": Kind(operation="speech", counted="units", unit="character", groups=_WHO, tell=_count("characters")),
    "audio_transcriptions": Kind(operation="transcriptions", counted="units", unit="second", groups=_WHO, tell=_count("seconds")),
    "web_search_calls": Kind(
        counted="calls", unit="web_search", groups=(*_WHO, "context_level", "api_source"), tell=_count("num_requests"), named="web_searches"
    ),
    "file_search_calls": Kind(
        counted="calls", unit="file_search", groups=(*_WHO[:3], "vector_store_id"), tell=_count("num_requests", None), named="file_searches"
    ),
    "code_interpreter_sessions": Kind(counted="calls", unit="code_interpreter", groups=("project_id",), tell=_count("num_sessions", None)),
    "vector_stores": Kind(groups=("project_id",), tell=_count("usage_bytes", None)),
    "decisions": Kind(groups=_WHO, tell=_prompt),
}
"""Vector stores and decisions are nothing that we keep: their buckets are empty."""


def told(name: str, group: Sequence[str], values: Sequence[str], amount: Amount) -> dict[str, Any]:
    """One result."""
    kind = KINDS[name]
    named: dict[str, Any] = dict.fromkeys(kind.groups) | dict(zip(group, values, strict=True))
    if named.get("batch") is not None:
        named["batch"] = named["batch"] == "true"
    named |= {one: None if named[one] == "" else named[one] for one in ("size", "source") if one in named}
    return {"object": f"organization.usage.{kind.named or name}.result", **kind.tell(amount), **named}
