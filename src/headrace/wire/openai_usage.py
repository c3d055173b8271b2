"""What a request used, as the many servers of OpenAI's dialect tell it, made one.

Their counts include each other: what was read from the cache is part of the prompt, thoughts are part of the completion. Two vendors
(xAI, Gemini) count thoughts beside the completion, and only their total holds them.
"""

from typing import Annotated, TypeAlias

import msgspec

from headrace.core.usage import Usage

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""What a vendor may claim: more would not be a count of tokens but a fault, and no bill shall be made of it."""


class _WrittenFor(msgspec.Struct, frozen=True):
    """What was written to the prompt cache, by how long it is kept."""

    ttl_30m_tokens: Count | None = None
    ttl_12h_tokens: Count | None = None


class InputDetails(msgspec.Struct, frozen=True):
    """What of a prompt is told apart."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_write_tokens_details: _WrittenFor | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


class OutputDetails(msgspec.Struct, frozen=True):
    """What of an answer is told apart."""

    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None


_NO_INPUT, _NO_OUTPUT = InputDetails(), OutputDetails()


class ToldUsage(msgspec.Struct, frozen=True):
    """The counts under all the names that servers of this dialect give them.

    `cached_tokens` at this level is Moonshot's, `num_cached_tokens` Mistral's, `prompt_cache_hit_tokens` DeepSeek's (its misses are the
    rest of the prompt), `reasoning_tokens` SGLang's, `cache_creation_input_tokens` that of proxies before Anthropic's models.
    """

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    cached_tokens: Count | None = None
    num_cached_tokens: Count | None = None
    prompt_cache_hit_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    reasoning_tokens: Count | None = None

    def segments(self) -> Usage | None:
        """Disjoint; a part is never larger than its whole, whatever the upstream claims. None where nothing was counted: no answer
        takes no tokens, so that is not a measurement."""
        prompt, said = self.prompt_tokens or 0, self.completion_tokens or 0
        before, after = self.prompt_tokens_details or _NO_INPUT, self.completion_tokens_details or _NO_OUTPUT
        read = before.cached_tokens or self.cached_tokens or self.num_cached_tokens or self.prompt_cache_hit_tokens or 0
        thought = after.reasoning_tokens or self.reasoning_tokens or 0
        if self.total_tokens and self.total_tokens > prompt + said and read <= prompt:
            thought = max(thought, self.total_tokens - prompt - said)
            said = self.total_tokens - prompt
        if not prompt and not said:
            return None
        read, thought = min(read, prompt), min(thought, said)
        written = before.cache_write_tokens or before.cache_creation_input_tokens or self.cache_creation_input_tokens or 0
        if not written and before.cache_write_tokens_details is None:
            usage = Usage(prompt - read, read, 0, said - thought, thought)
        else:
            usage = self._with_written(prompt, read, written, said - thought, thought)
        return _told_apart(usage, before, after) if _has_media(before) or _has_media(after) else usage

    def _with_written(self, prompt: int, read: int, written: int, output: int, reasoning: int) -> Usage:
        """With what was written to the cache, by how long it is kept where that is told."""
        kept = (self.prompt_tokens_details and self.prompt_tokens_details.cache_write_tokens_details) or _WrittenFor()
        half_hour, half_day = kept.ttl_30m_tokens or 0, kept.ttl_12h_tokens or 0
        written = min(max(written, half_hour + half_day), prompt - read)
        half_day = min(half_day, written)
        half_hour = min(half_hour, written - half_day)
        unstated = written - half_hour - half_day
        return Usage(prompt - read - written, read, unstated, output, reasoning, cache_write_30m=half_hour, cache_write_12h=half_day)


def _has_media(details: InputDetails | OutputDetails) -> bool:
    return bool(details.audio_tokens or details.image_tokens)


def _told_apart(usage: Usage, before: InputDetails, after: OutputDetails) -> Usage:
    """With sound and pictures as segments of their own. What was cached is not told by modality: only what was not is told apart."""
    heard = min(before.audio_tokens or 0, usage.uncached)
    seen = min(before.image_tokens or 0, usage.uncached - heard)
    spoken = min(after.audio_tokens or 0, usage.output)
    drawn = min(after.image_tokens or 0, usage.output - spoken)
    return msgspec.structs.replace(
        usage,
        uncached=usage.uncached - heard - seen,
        output=usage.output - spoken - drawn,
        audio_in=heard,
        image_in=seen,
        audio_out=spoken,
        image_out=drawn,
    )
