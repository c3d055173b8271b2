"""What is posted to OpenAI's paths beside chats: read as far as placing, bounding and metering needs, and else passed on as it is.

moderations      JSON                          no usage, or tokens
images           JSON, or a form with images   tokens, or counted in `image`
speech           JSON; sound comes back        tokens (told in a stream of events only), or `character`
transcriptions   a form with a recording       tokens, or `second`
pass-through     whatever a vendor has         whatever usage it tells
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from headrace.core.ask import Operation
from headrace.core.errors import HeadraceError, InvalidRequest, UpstreamGarbled
from headrace.core.native import Part, Units
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.forms import is_form, read_form, written
from headrace.wire.openai_caps import images_in
from headrace.wire.openai_chat import read
from headrace.wire.openai_failure import reported
from headrace.wire.openai_usage import Count
from headrace.wire.sse import FrameCutter, frames, payload

PATHS: Final[Mapping[str, Operation]] = {
    "/moderations": "moderations",
    "/images/generations": "images",
    "/images/edits": "images",
    "/images/variations": "images",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcriptions",
    "/audio/translations": "transcriptions",
}
"""What is served at which path, below the API's root."""
READ = frozenset(("model", "n", "size", "stream", "output_format", "user", "safety_identifier", "max_cost"))
"""The fields of a form that we read."""
FORMS = frozenset(("/images/variations", "/audio/transcriptions", "/audio/translations"))
"""Asked with a form only."""
IMAGE, SECOND, CHARACTER = "image", "second", "character"
SOURCES: Final[Mapping[str, str]] = {
    "/images/generations": "image.generation",
    "/images/edits": "image.edit",
    "/images/variations": "image.variation",
}
"""How pictures are made at which path, as OpenAI's usage names it."""
SIZE_LENGTH_MAX = 16
IMAGE_TOKENS_MAX = 16_384
"""More than any vendor counts for one image, of whatever size: drawn or shown."""
AUDIO_TOKENS_PER_S_MAX = 50
"""More than any vendor counts for a second of sound."""
IMAGES_MAX = 128
FRAMES_HELD_MAX = 64 * 1024 * 1024
CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "max_new_tokens")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What placement and metering need of one request. `tokens` are those of text at most, `shown` and `drawn` count
    images; `authored` is whether they are written as text (SVG), which takes tokens of its own."""

    model: str | None
    stream: bool
    user: str
    parts: tuple[Part, ...]
    tokens: int
    shown: int = 0
    drawn: int = 0
    characters: int = 0
    authored: bool = False
    size: str = ""
    max_cost: str | float | None = None
    cap: int | None = None


class _Json(msgspec.Struct, frozen=True):
    """The members of any of them that we read."""

    model: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    stream: bool | None = None
    n: int | None = None
    max_cost: str | float | None = None


class _Speech(_Json, frozen=True):
    input: str = ""
    stream_format: Literal["sse", "audio"] | None = None


class _Images(_Json, frozen=True):
    prompt: str | None = None
    output_format: str | None = None
    size: str | None = None
    images: list[msgspec.Raw] | None = None
    mask: dict[str, Any] | None = None


class _Moderation(_Json, frozen=True):
    input: msgspec.Raw = msgspec.Raw()


_any, _moderations = msgspec.json.Decoder(_Json), msgspec.json.Decoder(_Moderation)
_speeches, _pictures = msgspec.json.Decoder(_Speech), msgspec.json.Decoder(_Images)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_post(path: str, kind: bytes, body: bytes) -> Asked:
    """What is posted to `path`. Raises InvalidJson or InvalidRequest, naming the field."""
    if is_form(kind):
        if path not in FORMS and path != "/images/edits" and path in PATHS:
            raise InvalidRequest(f"{path} takes application/json.")
        return _form(path, read_form(kind, body))
    if path in FORMS:
        raise InvalidRequest(f"{path} takes multipart/form-data.")
    tokens = len(body)
    match PATHS.get(path):
        case "moderations":
            moderation = read(_moderations, body)
            if not bytes(moderation.input):
                raise _missing("input")
            return replace(_asked(moderation, tokens), shown=images_in(body))
        case "speech":
            speech = read(_speeches, body)
            if not speech.input:
                raise _missing("input")
            return replace(_asked(speech, tokens), stream=True, characters=len(speech.input))
        case "images":
            images = read(_pictures, body)
            if not images.prompt:
                raise _missing("prompt")
            shown = len(images.images or ()) + (images.mask is not None)
            drawn, authored, size = _count(images.n), images.output_format == "svg", images.size or ""
            return replace(_asked(images, tokens), shown=shown, drawn=drawn, authored=authored, size=size)
        case _:
            return replace(_asked(read(_any, body), tokens), cap=_cap(read(_members, body)))


def _asked(said: _Json, tokens: int) -> Asked:
    user = said.safety_identifier or said.user or ""
    return Asked(model=said.model or None, stream=said.stream is True, user=user, parts=(), tokens=tokens, max_cost=said.max_cost)


def _cap(members: dict[str, msgspec.Raw]) -> int | None:
    """The length of an answer that a request names itself, under any vendor's name for it."""
    for name in CAPS:
        said = bytes(members.get(name, b""))
        if said.isdigit() and len(said) < 10:
            return int(said)
    return None


def _form(path: str, parts: tuple[Part, ...]) -> Asked:
    _check_once(parts)
    fields = {part.name: part.data.decode("utf-8", "replace") for part in parts if part.filename is None}
    files = [part for part in parts if part.filename is not None]
    tokens = sum(len(part.data) for part in parts if part.filename is None)
    operation = PATHS.get(path)
    if operation == "images" and path == "/images/edits" and not fields.get("prompt"):
        raise _missing("prompt")
    wanted = {"images": "image", "transcriptions": "file"}.get(operation or "")
    if wanted and not any(part.name.removesuffix("[]") == wanted for part in files):
        raise _missing(wanted)
    if operation is None:
        tokens += sum(len(part.data) for part in files)
    number = fields.get("n", "")
    if number and not (number.isascii() and number.isdigit() and len(number) < 6):
        raise _count_wrong()
    return Asked(
        model=fields.get("model") or None,
        stream=fields.get("stream", "").lower() in ("true", "1"),
        user=fields.get("safety_identifier") or fields.get("user", ""),
        parts=tuple(part for part in parts if part.name != "max_cost"),
        max_cost=fields.get("max_cost"),
        tokens=tokens,
        authored=fields.get("output_format") == "svg",
        size=fields.get("size", ""),
        shown=len(files) if operation == "images" else 0,
        drawn=_count(int(number) if number else None) if operation == "images" else 0,
    )


def detail_of(path: str, size: str) -> str:
    """What the books say of a request beside its counts: how pictures are made, and their size where one is named."""
    source = SOURCES.get(path, "")
    return f"{source}/{size[:SIZE_LENGTH_MAX]}" if source and size else source


def _check_once(parts: tuple[Part, ...]) -> None:
    """Of what a request is bounded and placed by nobody behind us may read another value than we do."""
    names = [part.name for part in parts]
    for part in parts:
        if part.name in READ and (part.filename is not None or names.count(part.name) > 1):
            raise InvalidRequest(f"Invalid value for '{part.name}': it is given once, and not as a file.", param=part.name)


def _count(number: int | None) -> int:
    if number is None:
        return 1
    if not 1 <= number <= IMAGES_MAX:
        raise _count_wrong()
    return number


def _count_wrong() -> InvalidRequest:
    return InvalidRequest(f"Invalid value for 'n': it must be 1 to {IMAGES_MAX}.", param="n")


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required parameter: '{name}'.", param=name)


def body_for(parts: tuple[Part, ...], body: bytes, its: str) -> tuple[str, bytes]:
    """Content type and body of the request under the upstream's own name of the model. It is written anew, so that what was read of it is
    what the upstream reads."""
    if parts:
        others = [part for part in parts if part.name != "model" or part.filename is not None]
        return written([Part(name="model", data=its.encode()), *others])
    members = _members.decode(body)
    members["model"] = msgspec.Raw(msgspec.json.encode(its))
    return "application/json", msgspec.json.encode(members)


# What is answered.


class _Details(msgspec.Struct, frozen=True):
    text_tokens: Count | None = None
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


_NO_DETAILS = _Details()


class _Told(msgspec.Struct, frozen=True):
    """Usage under all the names that these paths have for it."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    seconds: float | None = None
    search_units: Count | None = None
    input_tokens_details: _Details | None = None
    input_token_details: _Details | None = None
    prompt_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None

    def usage(self, operation: Operation) -> Usage | None:
        """In tokens; None: it tells none."""
        given, made = self.input_tokens or self.prompt_tokens or 0, self.output_tokens or self.completion_tokens or 0
        if not given and not made:
            given = self.total_tokens or 0
        if not given and not made:
            return None
        before = self.input_tokens_details or self.input_token_details or self.prompt_tokens_details or _NO_DETAILS
        after = self.output_tokens_details or self.completion_tokens_details or _NO_DETAILS
        read = min(before.cached_tokens or 0, given)
        heard = min(before.audio_tokens or 0, given - read)
        seen = min(before.image_tokens or 0, given - read - heard)
        thought = min(after.reasoning_tokens or self.reasoning_tokens or 0, made)
        spoken = min(made if operation == "speech" and after.text_tokens is None else after.audio_tokens or 0, made - thought)
        drawn = min(made if operation == "images" and after.text_tokens is None else after.image_tokens or 0, made - thought - spoken)
        return Usage(
            given - read - heard - seen,
            read,
            output=made - thought - spoken - drawn,
            reasoning=thought,
            audio_in=heard,
            image_in=seen,
            audio_out=spoken,
            image_out=drawn,
        )

    @property
    def units(self) -> Units:
        """In anything else."""
        seconds = () if self.seconds is None or not 0 <= self.seconds < 1e9 else ((SECOND, -int(-self.seconds // 1)),)
        return (*seconds, *((("search_unit", self.search_units),) if self.search_units is not None else ()))


class _Meta(msgspec.Struct, frozen=True):
    billed_units: _Told | None = None
    tokens: _Told | None = None


class _Answer(msgspec.Struct, frozen=True):
    usage: _Told | None = None
    svg_usage: _Told | None = None
    meta: _Meta | None = None
    data: Any = None
    model: Any = None
    error: Any = None
    duration: Any = None


_answers = msgspec.json.Decoder(_Answer)


class Said(msgspec.Struct, frozen=True):
    """What an answer says of itself. Neither usage nor units: nothing."""

    usage: Usage | None = None
    units: Units = ()
    model: str | None = None


SAID_NOTHING = Said()


def read_answer(operation: Operation, body: bytes) -> Said:
    """What a whole answer in JSON used. Raises what the upstream reports in it; an answer that we can't read says nothing of its usage."""
    try:
        answer = _answers.decode(body)
    except UNREADABLE:
        return SAID_NOTHING
    if answer.error:
        raise reported(body)
    return _said(operation, answer)


def _said(operation: Operation, answer: _Answer) -> Said:
    told = answer.usage or (answer.meta and (answer.meta.billed_units or answer.meta.tokens))
    usage, units = (None, ()) if not told else (told.usage(operation), told.units)
    if answer.svg_usage is not None and (authored := answer.svg_usage.usage("chat")) is not None:
        usage = _sum(usage, authored)
    if operation == "transcriptions" and isinstance(answer.duration, float | int) and not dict(units).get(SECOND):
        units = (*units, *_Told(seconds=answer.duration).units)
    if operation == "images" and isinstance(answer.data, list):
        units = (*units, (IMAGE, len(answer.data)))
    return Said(usage, units, answer.model if isinstance(answer.model, str) else None)


class StreamReader:
    """A stream of events as it comes. Whole frames pass; the last that tells usage is held, with what follows it, until all is told."""

    def __init__(self, operation: Operation, *, bytes_held_max: int = FRAMES_HELD_MAX) -> None:
        self._operation, self._cutter, self._bytes_held_max = operation, FrameCutter(), bytes_held_max
        self._held: list[bytes] = []
        self._held_size = 0
        self.said = SAID_NOTHING
        self.failure: HeadraceError | None = None

    def feed(self, data: bytes) -> bytes:
        """The frames that may pass now."""
        ready = self._cutter.feed(data)
        if len(self._cutter.rest) + self._held_size > self._bytes_held_max:
            self.failure = UpstreamGarbled(f"One event of the upstream's has more than {self._bytes_held_max} bytes.")
            return b""
        if not ready:
            return b""
        if not self._held and b'"usage"' not in ready and b'"error"' not in ready:
            return ready
        passing: list[bytes] = []
        for frame in frames(ready):
            told = self._look(frame)
            if self.failure is not None:
                break
            if told:
                passing, self._held = [*passing, *self._held], [frame]
            else:
                (self._held if self._held else passing).append(frame)
        self._held_size = sum(map(len, self._held))
        return b"".join(passing)

    def close(self) -> bytes:
        """What was held."""
        return b"".join((*self._held, self._cutter.close()))

    def _look(self, frame: bytes) -> bool:
        """Whether it tells usage."""
        if b'"usage"' not in frame and b'"error"' not in frame:
            return False
        data = payload(frame)
        try:
            answer = _answers.decode(data)
        except UNREADABLE:
            return False
        if answer.error:
            self.failure = reported(data)
        if answer.usage is None:
            return False
        said = _said(self._operation, answer)
        self.said = _one_more_image(self.said, said) if self._operation == "images" else said
        return True


def _sum(*usages: Usage | None) -> Usage | None:
    counts = [msgspec.structs.astuple(one) for one in usages if one is not None]
    return Usage(*map(sum, zip(*counts, strict=True))) if counts else None


def _one_more_image(before: Said, said: Said) -> Said:
    """Each image of a stream comes with the usage of its own."""
    return Said(_sum(before.usage, said.usage), ((IMAGE, sum(count for name, count in before.units if name == IMAGE) + 1),), said.model)
