"""What Gemini says in a stream: server-sent events, each a whole `GenerateContentResponse` with what is new.

No event marks the end: an answer is whole when the connection ends after a finish reason. Calls come whole, often without an id. Usage is
told again and again and grows, but it may also fall, and a number may be missing the last time, so that of each the last statement holds
(`thoughtsTokenCount` and `toolUsePromptTokenCount` beside `candidatesTokenCount` and `promptTokenCount`, the cached ones inside of the
prompt). An error in the midst of it comes as an event, or as bare JSON without `data:`.
"""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import msgspec

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamGarbled
from headrace.core.stream import Finished, FinishReason, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.gemini_failure import failure_in_stream, problem_in
from headrace.wire.gemini_signature import sealed
from headrace.wire.openai_thoughts import GEMINI
from headrace.wire.sse import FrameCutter, frames, payload

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""What a vendor may claim: more would not be a count of tokens but a fault, and no bill shall be made of it."""

BYTES_A_TOKEN = 4
"""How many bytes of an answer make a token, more or less: for answers whose end, and with it the usage, is never heard."""

FINISHED: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length"}
"""Any other reason means that Google stopped the answer: SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE, OTHER …"""
BROKEN = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"}
)
"""Reasons that leave no answer: what the model said could not be read."""
SHUT_OUT = frozenset({"PUP_LIMITED_DISABLED"})
"""Reasons that blame our account."""


class _Call(msgspec.Struct):
    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()
    id: str | None = None
    partialArgs: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct):
    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    functionCall: _Call | None = None
    inlineData: msgspec.Raw = msgspec.Raw()
    fileData: msgspec.Raw = msgspec.Raw()


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct):
    content: _Content | None = None
    finishReason: str | None = None
    finishMessage: str | None = None


class _Feedback(msgspec.Struct):
    blockReason: str | None = None


class _OfModality(msgspec.Struct):
    modality: str = "TEXT"
    tokenCount: Count = 0


class _Counts(msgspec.Struct):
    promptTokenCount: Count | None = None
    cachedContentTokenCount: Count | None = None
    toolUsePromptTokenCount: Count | None = None
    candidatesTokenCount: Count | None = None
    thoughtsTokenCount: Count | None = None
    promptTokensDetails: list[_OfModality] | None = None
    cacheTokensDetails: list[_OfModality] | None = None
    candidatesTokensDetails: list[_OfModality] | None = None

    def after(self, earlier: "_Counts") -> "_Counts":
        """Each number as it was last told."""
        told = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(earlier, **told)

    def segments(self) -> Usage:
        """Disjoint; what was cached is never more than the prompt, whatever is claimed."""
        prompt = self.promptTokenCount or 0
        cached = min(self.cachedContentTokenCount or 0, prompt)
        said, fresh = self.candidatesTokenCount or 0, prompt - cached
        heard_before, seen_before = _media(self.cacheTokensDetails, cached)
        heard, seen = _media(self.promptTokensDetails, prompt)  # of the whole prompt, what was cached too
        heard = min(max(0, heard - heard_before), fresh)
        seen = min(max(0, seen - seen_before), fresh - heard)
        spoken, drawn = _media(self.candidatesTokensDetails, said)
        return Usage(
            fresh - heard - seen + (self.toolUsePromptTokenCount or 0),
            cache_read=cached - heard_before - seen_before,
            output=said - spoken - drawn,
            reasoning=self.thoughtsTokenCount or 0,
            audio_in=heard,
            image_in=seen,
            audio_read=heard_before,
            image_read=seen_before,
            audio_out=spoken,
            image_out=drawn,
        )


def _media(details: list[_OfModality] | None, whole: int) -> tuple[int, int]:
    """Of so many tokens those that are sound and those that are pictures; a film is counted as pictures."""
    if not details:
        return 0, 0
    heard = min(sum(one.tokenCount for one in details if one.modality == "AUDIO"), whole)
    return heard, min(sum(one.tokenCount for one in details if one.modality in ("IMAGE", "VIDEO")), whole - heard)


class _Chunk(msgspec.Struct):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None
    usageMetadata: _Counts | None = None
    modelVersion: str | None = None


_chunks = msgspec.json.Decoder(_Chunk)
_any = msgspec.json.Decoder(msgspec.Raw)


class StreamReader:
    """Reads a streamed answer. `whose` names the upstream in failures; `new_id` makes the id of a call that has none; of the calls only
    the first `calls_max` are said.

    `usage` is what was told until now, and all of it once `finished`. When the upstream reports an error inside of its stream, or says
    what is no answer, `feed` returns what was said before, `failure` holds it, and nothing is read any more.
    """

    def __init__(self, *, whose: str, new_id: Callable[[], str], calls_max: int | None = None) -> None:
        self._cutter, self._whose, self._new_id, self._calls_max = FrameCutter(), whose, new_id, calls_max
        self._counts: _Counts | None = None
        self._finished: FinishReason | None = None
        self._calls = self._bytes_said = 0
        self.model: str | None = None
        self.failure: HeadraceError | None = None

    @property
    def usage(self) -> Usage | None:
        return None if self._counts is None else self._counts.segments()

    @property
    def finished(self) -> bool:
        """Whether the answer has said its end, and with it what it used."""
        return self._finished is not None and self.failure is None

    def spent(self, tokens_out_max: int) -> Usage | None:
        """What an answer costs that is left here: as told, though not every event tells all of it and what it tells may still fall, and at
        least what was said, of at most `tokens_out_max`."""
        usage = self.usage
        if usage is None or self.finished:
            return usage
        said = min(-(-self._bytes_said // BYTES_A_TOKEN), tokens_out_max)
        return msgspec.structs.replace(usage, output=max(usage.output, said - usage.reasoning))

    def feed(self, data: bytes) -> list[Said]:
        """What `data` completes."""
        return self._read(frames(self._cutter.feed(data)))

    def close(self) -> list[Said]:
        """The upstream's bytes have ended: what was left, how the answer finished and what it used. Raises `failure`, else UpstreamCut when
        they ended before the answer did."""
        rest = self._cutter.close()
        cut = self.failure is None and not _is_whole(rest)
        said = [] if cut else self._read(frames(rest))
        if self.failure is not None:
            raise self.failure
        if cut or self._finished is None:
            raise UpstreamCut(f"{self._whose} ended its stream before the answer was complete.")
        reason = "tool_calls" if self._calls and self._finished == "stop" else self._finished
        return [*said, Finished(reason), Used(self.usage, self.model)]

    def _read(self, whole: list[bytes]) -> list[Said]:
        said: list[Said] = []
        for frame in whole:
            if self.failure is not None:
                break
            data = payload(frame) or _bare(frame)
            if data:
                try:
                    self._chunk(data, said)
                except HeadraceError as failure:
                    self.failure = failure
        return said

    def _chunk(self, data: bytes, said: list[Said]) -> None:
        if b'"error"' in data and (problem := problem_in(data)) is not None:
            raise failure_in_stream(problem, self._whose)
        try:
            chunk = _chunks.decode(data)
        except UNREADABLE as wrong:
            raise UpstreamGarbled(f"{self._whose} does not answer as Gemini does: {wrong}.") from None
        self.model = chunk.modelVersion or self.model
        if chunk.usageMetadata is not None:
            self._counts = chunk.usageMetadata.after(self._counts or _Counts())
        if chunk.promptFeedback is not None and chunk.promptFeedback.blockReason:
            self._finished = "content_filter"
        for candidate in (chunk.candidates or [])[:1]:  # one is asked for
            for part in (candidate.content and candidate.content.parts) or []:
                self._part(part, said)
            if candidate.finishReason:
                self._finished = self._reason(candidate.finishReason, candidate.finishMessage)

    def _part(self, part: _Part, said: list[Said]) -> None:
        self._bytes_said += len((part.text or "").encode())
        if part.functionCall is not None:
            self._call(part.functionCall, part.thoughtSignature, said)
        elif part.thought:
            signature = sealed(part.thoughtSignature) if part.thoughtSignature else None
            said.append(Reasoning(part.text or "", signature=signature, format=GEMINI))
        elif part.text is not None or part.thoughtSignature:
            if part.text:
                said.append(Text(part.text))
            if part.thoughtSignature:
                said.append(Reasoning("", redacted=sealed(part.thoughtSignature), format=GEMINI))
        elif bytes(part.inlineData) or bytes(part.fileData):
            raise UpstreamGarbled(f"{self._whose} answers with a file, which a chat's answer can't hold.")

    def _call(self, call: _Call, signature: str | None, said: list[Said]) -> None:
        """A whole call. Its signature is said before it, so that who gathers the answer keeps both together."""
        if self._calls == self._calls_max:
            return
        arguments = _object(bytes(call.args))
        if not call.name or arguments is None or bytes(call.partialArgs):
            raise UpstreamGarbled(f"{self._whose} calls a tool without its name, or with arguments that are no object.")
        id = call.id or self._new_id()
        if signature:
            said.append(Reasoning("", redacted=sealed(signature, id), format=GEMINI))
        said.append(ToolCallBegun(self._calls, id, call.name))
        said.append(ToolCallArguments(self._calls, arguments))
        self._bytes_said += len(arguments.encode())
        self._calls += 1

    def _reason(self, reason: str, message: str | None) -> FinishReason:
        if reason in BROKEN:
            raise UpstreamGarbled(f"{self._whose} ended its answer with {reason}{': ' + message if message else '.'}")
        if reason in SHUT_OUT:
            raise UpstreamFailed(f"{self._whose} does not serve this account any more: {reason}.")
        return FINISHED.get(reason, "content_filter")


def _object(data: bytes) -> str | None:
    """The text of a JSON object, of an empty one where there is none; None for what is no object."""
    if data in (b"", b"null"):
        return "{}"
    try:
        return data.decode() if data.startswith(b"{") else None
    except UnicodeDecodeError:
        return None


def _is_whole(rest: bytes) -> bool:
    """Whether what stands at the end of a stream, without an empty line after it, could be all of it."""
    data = payload(rest) or _bare(rest)
    try:
        return not data or bool(_any.decode(data))
    except UNREADABLE:
        return False


def _bare(frame: bytes) -> bytes:
    """JSON that stands in the stream without `data:`, as Google's late errors do; else nothing."""
    stripped = frame.strip()
    return stripped if stripped.startswith((b"{", b"[")) else b""
