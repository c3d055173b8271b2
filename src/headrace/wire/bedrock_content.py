"""A conversation as Converse wants it: instructions apart, turns of user and assistant in strict alternation, each a list of blocks.

Tool results are the user's, so several in a row and what the user says next become one turn. Text that is blank says nothing and is left
out, since Converse refuses it. Thoughts are given back only with the signature by which their vendor knows them as its own. What ends a
cached prompt is followed by a block that says so: not behind a thought or a file that is no PDF, and beside a tool's result, not in it.
"""

import hashlib
import re
from base64 import b64encode
from typing import Literal, TypeAlias, assert_never

import msgspec

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change, Changed
from headrace.wire.media import Media, media_of
from headrace.wire.openai_chat import AudioPart, FilePart, ImagePart, Message, Part, RefusalPart, TextPart, ToolCalled
from headrace.wire.openai_marks import Mark, mark_of
from headrace.wire.openai_thoughts import CLAUDE, thoughts_of

Block: TypeAlias = dict[str, object]

IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
AUDIO = frozenset({"wav", "mp3"})

_TOOL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9()\[\]-]+")
_NAME_LETTERS_MAX = 150


class Turn(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: list[Block]


class Conversation(msgspec.Struct, frozen=True):
    """What is said, and what of it had to be changed; `calls_tools` when a tool was called in it. A block `cachePoint` holds the `Mark`
    that asks for it."""

    system: list[Block] = []
    turns: list[Turn] = []
    changes: list[Change] = []

    @property
    def calls_tools(self) -> bool:
        return any("toolUse" in block or "toolResult" in block for turn in self.turns for block in turn.content)

    @property
    def thinks(self) -> bool:
        """Whether thoughts of earlier turns are in it."""
        return any("reasoningContent" in block for turn in self.turns for block in turn.content)

    @property
    def calls_unthought(self) -> bool:
        """Whether it ends with the results of calls whose thoughts were not given back."""
        if not any("toolResult" in block for block in self.turns[-1].content):
            return False
        return not any("reasoningContent" in block for turn in self.turns[-2:] for block in turn.content)


def conversation_of(messages: list[Message], format: str) -> Conversation:
    """`format` is whose thoughts the model takes back. Raises NotTranslatable for what Converse can't be told, and InvalidRequest for tool
    arguments that are no JSON object."""
    writer = _Writer(format)
    for at, message in enumerate(messages):
        writer.write(message, f"messages[{at}]")
    made = writer.made
    if not made.turns or made.turns[0].role != "user":
        raise NotTranslatable("A conversation with Bedrock starts with what the user says.", param="messages")
    for turn in made.turns:
        if any("document" in block for block in turn.content) and not any("text" in block for block in turn.content):
            raise NotTranslatable("Bedrock takes a file only beside a text: say what to do with it.", param="messages")
    return made


def bears_mark(block: Block) -> bool:
    """Whether a cached prompt may end behind it: Converse refuses a mark behind a thought, and behind a file that is no PDF
    (github.com/strands-agents/harness-sdk/issues/1820 and 1966)."""
    document = block.get("document")
    return "reasoningContent" not in block and not (isinstance(document, dict) and document["format"] != "pdf")


class _Writer:
    def __init__(self, format: str) -> None:
        self.made = Conversation()
        self._format = format
        self._names: set[str] = set()

    def write(self, message: Message, path: str) -> None:
        if message.name is not None and message.role != "tool":
            self._changed("dropped", f"{path}.name", "speakers have no names here")
        match message.role:
            case "system" | "developer":
                self._instruct(message, path)
            case "user":
                self._say("user", self._ended(self._blocks(message.content, f"{path}.content"), message, path))
            case "assistant":
                said = [*self._thoughts(message, path), *self._texts(message.content, f"{path}.content"), *_text(message.refusal or "")]
                calls = [_tool_use(call, f"{path}.tool_calls[{at}]") for at, call in enumerate(message.tool_calls or [])]
                self._say("assistant", self._ended([*said, *calls], message, path))
            case "tool":
                self._say("user", self._ended(self._tool_result(message, path), message, path))
            case "function":
                raise NotTranslatable("Bedrock knows no messages of the role function: use tools.", param=f"{path}.role")
            case never:
                assert_never(never)

    def _changed(self, what: Changed, param: str, why: str) -> None:
        self.made.changes.append(Change(what, param, why))

    def _say(self, role: Literal["user", "assistant"], blocks: list[Block]) -> None:
        turns = self.made.turns
        if blocks and turns and turns[-1].role == role:
            turns[-1].content.extend(blocks)
        elif blocks:
            turns.append(Turn(role, blocks))

    def _instruct(self, message: Message, path: str) -> None:
        if self.made.turns:
            self._changed("changed", path, "instructions are given before the conversation")
        self.made.system.extend(self._ended(self._texts(message.content, f"{path}.content"), message, path))

    def _thoughts(self, message: Message, path: str) -> list[Block]:
        thoughts: list[Block] = []
        for thought in thoughts_of(message):
            own = thought.format in (None, self._format)
            if own and thought.redacted:
                redacted = thought.redacted
                if self._format == CLAUDE:
                    redacted = b64encode(redacted.encode()).decode()  # its text, as Anthropic says it, is a blob here
                thoughts.append({"reasoningContent": {"redactedContent": redacted}})
            elif own and thought.signature:
                thoughts.append({"reasoningContent": {"reasoningText": {"text": thought.text, "signature": thought.signature}}})
            elif not own:
                self._changed("dropped", f"{path}.{thought.place}", "only who thought it takes it back")
            elif not thought.text.isspace():
                self._changed("dropped", f"{path}.{thought.place}", "thoughts are taken back only with a signature")
        return thoughts

    def _ended(self, blocks: list[Block], marked: Part | Message, path: str) -> list[Block]:
        """The same blocks, and behind them the mark that stands there, if one does."""
        mark = mark_of(marked, path)
        if mark is None:
            return blocks
        if not blocks:
            self._changed("dropped", mark.param, "it marks what says nothing")
        elif not bears_mark(blocks[-1]):
            self._changed("dropped", mark.param, "Bedrock takes no mark behind thoughts, or behind a file that is no PDF")
        elif "cachePoint" not in blocks[-1]:
            return [*blocks, {"cachePoint": mark}]
        return blocks

    def _tool_result(self, message: Message, path: str) -> list[Block]:
        if not message.tool_call_id:
            raise InvalidRequest(f"Missing required parameter: '{path}.tool_call_id'.", param=f"{path}.tool_call_id")
        content = self._blocks(message.content, f"{path}.content")
        marks = [mark for block in content if isinstance(mark := block.get("cachePoint"), Mark)]
        for mark in marks[:-1]:
            self._changed("dropped", mark.param, "a tool's result has one mark at most")
        said = [block for block in content if "cachePoint" not in block]
        result: Block = {"toolResult": {"toolUseId": _tool_id(message.tool_call_id), "content": said}}
        points: list[Block] = [{"cachePoint": mark} for mark in marks[-1:]]
        return [result, *points]

    def _blocks(self, content: str | list[Part] | None, path: str) -> list[Block]:
        if not isinstance(content, list):
            return _text(content or "")
        return [block for at, part in enumerate(content) for block in self._ended(self._part(part, f"{path}[{at}]"), part, f"{path}[{at}]")]

    def _texts(self, content: str | list[Part] | None, path: str) -> list[Block]:
        """Content that may be nothing but text."""
        for at, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, TextPart | RefusalPart):
                raise NotTranslatable("Bedrock takes media only from the user and from tools.", param=f"{path}[{at}]")
        return self._blocks(content, path)

    def _part(self, part: Part, path: str) -> list[Block]:
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                return _text(text)
            case ImagePart(image_url=image):
                if image.get("detail") not in (None, "auto"):
                    self._changed("dropped", f"{path}.image_url.detail", "images are always read in full")
                return [_image(image.get("url"), f"{path}.image_url")]
            case AudioPart(input_audio=audio):
                return [_audio(audio, f"{path}.input_audio")]
            case FilePart(file=file):
                return [self._document(file, f"{path}.file")]
            case never:
                assert_never(never)

    def _document(self, file: dict[str, object], path: str) -> Block:
        media = media_of(str(file.get("file_data") or ""))
        kind = DOCUMENTS.get(media.kind) if media is not None else None
        if media is None or kind is None:
            kinds = ", ".join(sorted(set(DOCUMENTS.values())))
            raise NotTranslatable(f"Bedrock takes files only as base64 data URLs in file_data, of these kinds: {kinds}.", param=path)
        return {"document": {"format": kind, "name": self._name(file.get("filename")), "source": {"bytes": media.base64}}}

    def _name(self, filename: object) -> str:
        """The file's name in the letters that Converse allows, and never the same twice."""
        stem = filename.rpartition(".")[0] or filename if isinstance(filename, str) else ""
        name = _NOT_IN_A_NAME.sub(" ", stem[:_NAME_LETTERS_MAX]).strip() or "document"
        count = 1
        while (unique := name if count == 1 else f"{name} {count}") in self._names:
            count += 1
        self._names.add(unique)
        return unique


def _text(text: str) -> list[Block]:
    return [{"text": text}] if text.strip() else []


def _image(url: object, path: str) -> Block:
    media: Media | None = media_of(url) if isinstance(url, str) else None
    if media is None:
        raise NotTranslatable("Bedrock takes images only as base64 data URLs: it fetches none.", param=f"{path}.url")
    if media.kind not in IMAGES:
        raise NotTranslatable(f"Bedrock takes images of png, jpeg, gif and webp, not {media.kind}.", param=f"{path}.url")
    return {"image": {"format": IMAGES[media.kind], "source": {"bytes": media.base64}}}


def _audio(audio: dict[str, object], path: str) -> Block:
    data, kind = audio.get("data"), audio.get("format")
    if not isinstance(data, str) or kind not in AUDIO:
        raise InvalidRequest(f"Invalid value for '{path}': base64 `data` in the `format` wav or mp3 is expected.", param=path)
    return {"audio": {"format": kind, "source": {"bytes": data}}}


def _tool_use(call: ToolCalled, path: str) -> Block:
    arguments = call.function.arguments
    try:
        msgspec.json.decode(arguments or "{}", type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        param = f"{path}.function.arguments"
        raise InvalidRequest(f"Invalid value for '{param}': a JSON object is expected.", param=param) from None
    # As it was written: numbers keep all of their digits.
    return {"toolUse": {"toolUseId": _tool_id(call.id), "name": call.function.name, "input": msgspec.Raw(arguments.encode() or b"{}")}}


def _tool_id(id: str) -> str:
    """The client's id where Converse takes it, else one of its own that is always the same for it: ids may come from another vendor."""
    return id if _TOOL_ID.fullmatch(id) else "call_" + hashlib.sha256(id.encode()).hexdigest()[:32]
