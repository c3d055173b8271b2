"""A conversation as Gemini takes it: instructions apart, and contents in which a user and a model take turns.

The results of calls that were made together stand together in one content, right after the calls. Signatures go back to the part that
they came with (`gemini_signature`).
"""

from typing import TypeAlias, assert_never

import msgspec

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.core.unreadable import UNREADABLE
from headrace.wire.gemini_signature import SKIP, opened
from headrace.wire.media import media_of
from headrace.wire.openai_chat import AudioPart, FilePart, ImagePart, Message, RefusalPart, TextPart, ToolCalled
from headrace.wire.openai_chat import Part as Asked
from headrace.wire.openai_marks import mark_of
from headrace.wire.openai_thoughts import GEMINI, thoughts_of

Part: TypeAlias = dict[str, object]
"""One part of a content, in the vendor's own words."""

KINDS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "mp4": "video/mp4",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
}
"""Media types by the ending of an address: Gemini fetches a file itself, and wants to be told what it is."""

UNMARKED = "Gemini caches by itself what prompts share"
"""Why marks, which end a cached prompt, are not passed on."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Content(msgspec.Struct, frozen=True):
    """One turn. `parts` grow while those who speak after each other are the same."""

    role: str
    parts: list[Part]


class Conversation:
    """Filled message by message with `add`. `signed`: the model refuses calls in its history that bear no signature."""

    def __init__(self, *, signed: bool) -> None:
        self.instructions: list[Part] = []
        self.contents: list[Content] = []
        self.changes: list[Change] = []
        self._signed = signed
        self._names: dict[str, str] = {}
        self._results_last = False

    def add(self, message: Message, path: str) -> None:
        """Raises InvalidRequest for what no vendor could read, NotTranslatable for what this one can't."""
        if message.name is not None and message.role != "tool":
            self.changes.append(Change("dropped", f"{path}.name", "Gemini knows no names of speakers"))
        parts = message.content if isinstance(message.content, list) else ()
        marks = [mark_of(message, path), *(mark_of(part, f"{path}.content[{at}]") for at, part in enumerate(parts))]
        self.changes += [Change("dropped", mark.param, UNMARKED) for mark in marks if mark is not None]
        match message.role:
            case "system" | "developer":
                self._instruct(message, path)
            case "user":
                self._say("user", _parts(message, path, self.changes))
            case "assistant":
                self._say("model", self._answer(message, path))
            case "tool":
                self._result(message, path)
            case "function":
                raise NotTranslatable("Messages of the role 'function' are not translated for Gemini: use 'tool'.", param=f"{path}.role")
            case never:
                assert_never(never)

    def _instruct(self, message: Message, path: str) -> None:
        if self.contents:
            self.changes.append(Change("changed", path, "Gemini takes instructions before the conversation only, so it stands there"))
        self.instructions += _texts(message, path)

    def _say(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        if self.contents and self.contents[-1].role == role and not self._results_last:
            self.contents[-1].parts.extend(parts)
        else:
            self.contents.append(Content(role, parts))
        self._results_last = False

    def _result(self, message: Message, path: str) -> None:
        id = message.tool_call_id
        name = self._names.get(id or "") or message.name
        if id is None or name is None:
            raise InvalidRequest(f"Invalid value for '{path}.tool_call_id': no call of this id comes before.", param=f"{path}.tool_call_id")
        output = "\n".join(str(part["text"]) for part in _texts(message, path))
        part: Part = {"functionResponse": {"id": id, "name": name, "response": {"output": output}}}
        if self._results_last:
            self.contents[-1].parts.append(part)
        else:
            self.contents.append(Content("user", [part]))
        self._results_last = True

    def _answer(self, message: Message, path: str) -> list[Part]:
        """A turn of the model: what it thought, said and called, each with its signature where it had one."""
        thoughts, signatures = self._kept(message, path)
        texts = [part for part in _texts(message, path) if part["text"]] if message.content or message.refusal else []
        if texts and "" in signatures:
            texts[-1]["thoughtSignature"] = signatures[""]
        calls = []
        for at, call in enumerate(message.tool_calls or []):
            unsigned = SKIP if self._signed and at == 0 else None
            calls.append(self._call(call, signatures.get(call.id, unsigned), f"{path}.tool_calls[{at}]"))
        return [*thoughts, *texts, *calls] if texts or calls else []

    def _call(self, call: ToolCalled, signature: str | None, path: str) -> Part:
        name, arguments = call.function.name, call.function.arguments or "{}"
        try:
            _members.decode(arguments)
        except UNREADABLE:
            param = f"{path}.function.arguments"
            raise InvalidRequest(f"Invalid value for '{param}': a JSON object in a text is expected.", param=param) from None
        self._names[call.id] = name
        part: Part = {"functionCall": {"id": call.id, "name": name, "args": msgspec.Raw(arguments.encode())}}
        return part | ({"thoughtSignature": signature} if signature else {})

    def _kept(self, message: Message, path: str) -> tuple[list[Part], dict[str, str]]:
        """The thoughts of an earlier turn as a part, and the signatures of its other parts by their place."""
        text, signature, signatures = "", "", {}
        for thought in thoughts_of(message):
            seal = opened(thought.redacted or thought.signature)
            unsigned = thought.text and not thought.signature
            if thought.format not in (None, GEMINI) or not (seal or unsigned):
                where = f"{path}.{thought.place}"
                self.changes.append(Change("dropped", where, "Gemini can't read the thoughts of other vendors"))
            elif thought.redacted and seal:
                signatures[seal[0]] = seal[1]
            else:
                text += thought.text
                signature = seal[1] if seal else signature
        part: Part = {"thought": True, "text": text}
        part |= {"thoughtSignature": signature} if signature else {}
        return [part] if text or signature else [], signatures


def _texts(message: Message, path: str) -> list[Part]:
    """The content of a message that may hold text only, part by part."""
    texts: list[Part] = []
    for at, part in enumerate(_content(message, path)):
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                texts.append({"text": text})
            case _:
                where = f"{path}.content[{at}]"
                raise NotTranslatable(f"Gemini takes only text in messages of the role '{message.role}' ('{where}').", param=where)
    return texts


def _parts(message: Message, path: str, changes: list[Change]) -> list[Part]:
    return [_part(part, f"{path}.content[{at}]", changes) for at, part in enumerate(_content(message, path))]


def _content(message: Message, path: str) -> list[Asked]:
    content = message.refusal if message.refusal and not message.content else message.content
    if content is None:
        raise InvalidRequest(f"Missing required parameter: '{path}.content'.", param=f"{path}.content")
    return [TextPart(content)] if isinstance(content, str) else content


def _part(part: Asked, path: str, changes: list[Change]) -> Part:
    match part:
        case TextPart(text=text) | RefusalPart(refusal=text):
            return {"text": text}
        case ImagePart(image_url=image):
            if image.get("detail") not in (None, "auto"):
                changes.append(Change("dropped", f"{path}.image_url.detail", "Gemini chooses the resolution of an image itself"))
            return _media(image.get("url"), f"{path}.image_url.url")
        case AudioPart(input_audio=audio):
            kind, sound = {"wav": "audio/wav", "mp3": "audio/mp3"}.get(str(audio.get("format"))), audio.get("data")
            if kind is None or not isinstance(sound, str):
                raise InvalidRequest(
                    f"Invalid value for '{path}.input_audio': 'data' and a 'format' of wav or mp3 are expected.",
                    param=f"{path}.input_audio",
                )
            return {"inlineData": {"mimeType": kind, "data": sound}}
        case FilePart(file=file):
            if file.get("file_data") is None:
                raise NotTranslatable(f"'{path}.file' names a file that Gemini doesn't have: give its 'file_data'.", param=f"{path}.file")
            return _media(file["file_data"], f"{path}.file.file_data")
        case never:
            assert_never(never)


def _media(url: object, path: str) -> Part:
    """A file that is inside of the request, or that Gemini fetches from where it is."""
    if not isinstance(url, str):
        raise InvalidRequest(f"Invalid value for '{path}': a URL is expected.", param=path)
    if inside := media_of(url):
        return {"inlineData": {"mimeType": inside.kind, "data": inside.base64}}
    bare = url.partition("?")[0].partition("#")[0]
    kind = KINDS.get(bare.rpartition(".")[2].lower())
    if kind is None or not bare.startswith(("https://", "gs://")):
        raise NotTranslatable(
            f"Gemini can't take '{path}': it wants a base64 data URL, or an https:// or gs:// address whose ending tells the type of file.",
            param=path,
        )
    return {"fileData": {"mimeType": kind, "fileUri": url}}
