"""A conversation, from OpenAI's messages into Anthropic's turns.

There, instructions stand beside the conversation (with newer models also in it, just before an answer); turns of the user and the
assistant alternate, the user's first; results of tools are said by the user, before anything else; thoughts come back only with the
signature that proves them.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.core.unreadable import UNREADABLE
from headrace.wire.anthropic_generations import Generation
from headrace.wire.media import media_of
from headrace.wire.openai_chat import AudioPart, FilePart, ImagePart, Message, Part, RefusalPart, TextPart
from headrace.wire.openai_marks import Mark, mark_of
from headrace.wire.openai_thoughts import Thought, thoughts_of

Block: TypeAlias = dict[str, Any]
IMAGES = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
OPENING = "(The conversation begins.)"
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


class Turn(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: list[Block]


class Conversation(msgspec.Struct, frozen=True):
    """`called` names the tools of earlier turns; `thoughtless`: the answer goes on from what was said or called without thoughts. Blocks
    that end a cached prompt bear their `Mark` as `cache_control`."""

    system: list[Block]
    turns: list[Turn]
    called: tuple[str, ...]
    thoughtless: bool
    changes: tuple[Change, ...]

    @property
    def blocks(self) -> list[Block]:
        """All that is said, in the order of the prompt."""
        return [*self.system, *(block for turn in self.turns for block in turn.content)]

    @property
    def thoughts(self) -> bool:
        return any(block["type"] in THOUGHTS for block in self.blocks)


def conversation_for(messages: Sequence[Message], generation: Generation, *, thinks: bool = True) -> Conversation:
    """`thinks` is whether the model may think before it answers. Raises InvalidRequest or NotTranslatable, naming the message."""
    writer = _Writer(generation, thinks)
    for at, message in enumerate(messages):
        writer.add(message, f"messages[{at}]")
    return writer.conversation()


class _Instruction(msgspec.Struct):
    """Instructions from the middle of the conversation that wait for their place; `passed`: the user has spoken since."""

    blocks: list[Block]
    path: str
    passed: bool = False


class _Writer:
    def __init__(self, generation: Generation, thinks: bool) -> None:
        self._generation, self._thinks = generation, thinks
        self._system: list[Block] = []
        self._turns: list[Turn] = []
        self._waiting: list[_Instruction] = []
        self._ids = _CallIds()
        self._called: list[str] = []
        self._changes: list[Change] = []

    def add(self, message: Message, path: str) -> None:
        if message.name is not None:
            self._change("dropped", f"{path}.name", "messages carry no name here")
        match message.role:
            case "system" | "developer":
                self._instruct(self._ended(self._texts(message.content, path), message, path), path)
            case "user":
                self._say("user", self._ended(self._parts(message.content, path), message, path))
            case "tool":
                self._say("user", self._ended([self._result(message, path)], message, path))
            case "assistant":
                thoughts = self._thoughts(message, path)
                blocks = self._ended([*self._answer(message, path), *self._calls(message, path)], message, path)
                if thoughts or blocks:
                    self._place()
                    self._say("assistant", [*thoughts, *blocks])
            case "function":
                raise NotTranslatable("Anthropic knows no functions beside tools: use 'tools' and 'tool_calls'.", param=f"{path}.role")
            case never:
                assert_never(never)

    def conversation(self) -> Conversation:
        self._place()
        self._begin()
        last = self._turns[-1]
        if last.role == "assistant":
            self._end_with(last)
        return Conversation(self._system, self._turns, tuple(self._called), self._thoughtless(), tuple(self._changes))

    # Who says it, and where.

    def _say(self, role: Literal["user", "assistant"], blocks: list[Block]) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1].role == role:
            self._turns[-1].content += blocks
        else:
            self._turns.append(Turn(role, blocks))
        if role == "user":
            self._turns[-1].content.sort(key=lambda block: block["type"] != "tool_result")
            for waiting in self._waiting:
                waiting.passed = True

    def _instruct(self, blocks: list[Block], path: str) -> None:
        if not self._turns:
            self._system += blocks
        elif blocks:
            self._waiting.append(_Instruction(blocks, path))

    def _place(self) -> None:
        """Instructions hold for the answer that follows, so they may stand just before it; else they go to the beginning."""
        for waiting in self._waiting:
            if self._generation.system_turns and self._turns[-1].role != "assistant":
                if self._turns[-1].role == "system":
                    self._turns[-1].content += waiting.blocks
                else:
                    self._turns.append(Turn("system", waiting.blocks))
                if waiting.passed:
                    self._change("changed", waiting.path, "it stands behind the user's words that followed it")
            else:
                self._system += waiting.blocks
                self._change("changed", waiting.path, "its instructions stand before the whole conversation")
        self._waiting = []

    def _begin(self) -> None:
        """A conversation begins with the user."""
        if not self._turns and not self._system:
            raise InvalidRequest("Invalid value for 'messages': give at least one message that says something.", param="messages")
        if not self._turns:
            self._turns, self._system = [Turn("user", self._system)], []
            self._change("changed", "messages", "the instructions are said by the user: a conversation begins with the user here")
        elif self._turns[0].role == "assistant":
            self._turns.insert(0, Turn("user", [_text(OPENING)]))
            self._change("changed", "messages", "a conversation begins with the user here: a line is put before the assistant's first")

    def _end_with(self, last: Turn) -> None:
        """The assistant spoke last: what is asked for is more of that, which only some models do."""
        block = last.content[-1]
        if block["type"] == "tool_use":
            raise InvalidRequest("Invalid value for 'messages': 'tool_calls' must be followed by the tools' results.", param="messages")
        if not self._generation.prefill or block["type"] != "text":
            raise NotTranslatable("This model of Anthropic's answers only the user: the last message is the assistant's.", param="messages")
        block["text"] = block["text"].rstrip()  # white space at the very end is refused
        self._change("changed", "messages", "the answer continues the assistant's last message")

    def _thoughtless(self) -> bool:
        turn = next((turn for turn in reversed(self._turns) if turn.role == "assistant"), None)
        if turn is None:
            return False
        goes_on = turn is self._turns[-1] or turn.content[-1]["type"] == "tool_use"
        return goes_on and turn.content[0]["type"] not in THOUGHTS

    # What is said.

    def _parts(self, content: str | list[Part] | None, path: str) -> list[Block]:
        if not isinstance(content, list):
            return _spoken(content)
        return [block for at, part in enumerate(content) for block in self._part(part, f"{path}.content[{at}]")]

    def _part(self, part: Part, path: str) -> list[Block]:
        match part:
            case TextPart(text=text) | RefusalPart(refusal=text):
                return self._ended(_spoken(text), part, path)
            case ImagePart(image_url=image):
                if image.get("detail") not in (None, "auto"):
                    self._change("dropped", f"{path}.image_url.detail", "images have no detail here")
                return self._ended([_image(image, f"{path}.image_url.url")], part, path)
            case FilePart(file=file):
                return self._ended([_document(file, f"{path}.file")], part, path)
            case AudioPart():
                raise NotTranslatable("Anthropic takes no audio.", param=path)
            case never:
                assert_never(never)

    def _texts(self, content: str | list[Part] | None, path: str) -> list[Block]:
        for at, part in enumerate(content if isinstance(content, list) else ()):
            if not isinstance(part, TextPart | RefusalPart):
                raise NotTranslatable("Anthropic takes only text from who instructs and who answers.", param=f"{path}.content[{at}]")
        return self._parts(content, path)

    def _answer(self, message: Message, path: str) -> list[Block]:
        return [*self._texts(message.content, path), *_spoken(message.refusal)]

    def _result(self, message: Message, path: str) -> Block:
        if not message.tool_call_id:
            raise InvalidRequest(f"Missing required parameter: '{path}.tool_call_id'.", param=f"{path}.tool_call_id")
        content = self._parts(message.content, path)
        result: Block = {"type": "tool_result", "tool_use_id": self._ids.answered(message.tool_call_id)}
        marks: list[Mark] = [block.pop("cache_control") for block in content if "cache_control" in block]
        for mark in marks[:-1]:
            self._change("dropped", mark.param, "a tool's result has one mark at most")
        return result | ({"content": content} if content else {}) | ({"cache_control": marks[-1]} if marks else {})

    def _calls(self, message: Message, path: str) -> list[Block]:
        blocks = []
        for at, call in enumerate(message.tool_calls or ()):
            arguments = _arguments(call.function.arguments, f"{path}.tool_calls[{at}].function.arguments")
            self._called.append(call.function.name)
            blocks.append({"type": "tool_use", "id": self._ids.made(call.id), "name": call.function.name, "input": arguments})
        return blocks

    def _thoughts(self, message: Message, path: str) -> list[Block]:
        """Earlier thoughts go back to who thought them, with their signatures; another's go at most as plain text."""
        return [block for thought in thoughts_of(message) for block in self._thought(thought, f"{path}.{thought.place}")]

    def _thought(self, thought: Thought, path: str) -> list[Block]:
        own = thought.format in (None, self._generation.format)
        if not self._thinks:
            self._change("dropped", path, "thoughts are left out where this model shall not think")
        elif own and thought.redacted:
            return [{"type": "redacted_thinking", "data": thought.redacted}]
        elif own and thought.signature:
            return [{"type": "thinking", "thinking": thought.text, "signature": thought.signature}]
        elif thought.text and not self._generation.claude:
            if thought.signature:
                self._change("changed", path, "another vendor's signature is left out")
            return [{"type": "thinking", "thinking": thought.text, "signature": ""}]
        elif not thought.text.isspace():
            self._change("dropped", path, "thoughts go back only signed" if own else "only who thought it takes it back")
        return []

    def _ended(self, blocks: list[Block], marked: Part | Message, path: str) -> list[Block]:
        """The same blocks, the last of which bears the mark that stands there, if one does."""
        mark = mark_of(marked, path)
        if mark is not None and blocks:
            blocks[-1].setdefault("cache_control", mark)
        elif mark is not None:
            self._change("dropped", mark.param, "it marks what says nothing")
        return blocks

    def _change(self, what: Literal["dropped", "changed"], param: str, why: str) -> None:
        self._changes.append(Change(what, param, why))


class _CallIds:
    """Ids of tool calls as Anthropic takes them: of few letters, and each for one call, while other vendors number anew in each turn."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}
        self._taken: set[str] = set()

    def made(self, given: str) -> str:
        plain = _NOT_IN_IDS.sub("_", given) or "call"
        one, count = plain, 1
        while one in self._taken:
            count += 1
            one = f"{plain}_{count}"
        self._taken.add(one)
        self._now[given] = one
        return one

    def answered(self, given: str) -> str:
        return self._now.get(given) or _NOT_IN_IDS.sub("_", given)


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _spoken(text: str | None) -> list[Block]:
    """Text that says nothing is refused there, and so is left out."""
    return [_text(text)] if text and not text.isspace() else []


def _arguments(text: str, path: str) -> dict[str, Any]:
    if not text or text.isspace():
        return {}
    try:
        arguments: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except UNREADABLE:
        raise InvalidRequest(f"Invalid value for '{path}': it must be the text of a JSON object.", param=path) from None
    return arguments


def _image(image: dict[str, Any], path: str) -> Block:
    url = image.get("url")
    if not isinstance(url, str):
        raise InvalidRequest(f"Invalid value for '{path}': give the image's URL, or a data URL.", param=path)
    media = media_of(url)
    if media is None and url.startswith("https://"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    if media is None:
        raise NotTranslatable("Anthropic takes images as base64 data URLs and from https:// only.", param=path)
    if media.kind not in IMAGES:
        raise NotTranslatable(f"Anthropic takes images as JPEG, PNG, GIF and WebP, not {media.kind}.", param=path)
    return {"type": "image", "source": {"type": "base64", "media_type": IMAGES[media.kind], "data": media.base64}}


def _document(file: dict[str, Any], path: str) -> Block:
    data, title = file.get("file_data"), file.get("filename")
    if not isinstance(data, str):
        raise NotTranslatable("Anthropic can't read a file that was uploaded elsewhere: send it as 'file_data'.", param=path)
    media = media_of(data)
    if media is None:
        raise InvalidRequest(f"Invalid value for '{path}.file_data': give a base64 data URL.", param=f"{path}.file_data")
    if media.kind == "application/pdf":
        source = {"type": "base64", "media_type": media.kind, "data": media.base64}
    elif media.kind.startswith("text/"):
        source = {"type": "text", "media_type": "text/plain", "data": _plain(media.base64, f"{path}.file_data")}
    else:
        raise NotTranslatable(f"Anthropic reads files as PDF and plain text, not {media.kind}.", param=path)
    return {"type": "document", "source": source} | ({"title": title} if isinstance(title, str) and title else {})


def _plain(base64: str, path: str) -> str:
    try:
        return b64decode(base64, validate=True).decode()
    except (NotBase64, ValueError):
        raise InvalidRequest(f"Invalid value for '{path}': it is not UTF-8 text in base64.", param=path) from None
