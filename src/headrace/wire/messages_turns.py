"""What is said in a conversation of Anthropic's Messages, as the messages of a chat.

A turn of the user may hold results of tools, which are messages of their own in a chat and stand first. Thoughts go with the answer
that followed them. Marks for the cache stay where they are.
"""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from headrace.core.errors import InvalidRequest
from headrace.core.translation import Change
from headrace.wire.messages_seal import unsealed

Message = dict[str, Any]


class Block(msgspec.Struct, frozen=True):
    """One block of any kind: its fields that we read."""

    type: str
    text: str | None = None
    source: dict[str, Any] | None = None
    title: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    tool_use_id: str | None = None
    content: Any = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    cache_control: dict[str, Any] | None = None


class Turn(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class Untold(msgspec.Struct, frozen=True):
    """Why a chat can't say it, and which field that is."""

    why: str
    param: str


class Written:
    """What became of the request while it was said anew."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.untold: Untold | None = None
        self.hosted: list[str] = []
        self.open_ended: str | None = None

    def cannot(self, why: str, param: str, *, open_ended: bool = False) -> None:
        """`open_ended`: and nobody knows beforehand what it comes to."""
        self.untold = self.untold or Untold(why, param)
        if open_ended:
            self.open_ended = self.open_ended or why

    def hosts(self, tools: Sequence[tuple[str, str]], *, alone: bool) -> None:
        """Tools that the vendor runs, each with its path and why nobody else can: beside others they are left out of a chat."""
        for path, why in tools:
            if alone:
                self.cannot(f"{why}.", path, open_ended=True)
            else:
                self.hosted.append(path)
                self.changes.append(Change("dropped", path, why))


def system_for(system: str | Sequence[Block] | None, written: Written) -> list[Message]:
    if not system:
        return []
    return [{"role": "system", "content": system if isinstance(system, str) else _parts(system, "system", written)}]


def messages_for(turns: Sequence[Turn], written: Written) -> list[Message]:
    messages: list[Message] = []
    for at, turn in enumerate(turns):
        path = f"messages.{at}.content"
        if isinstance(turn.content, str):
            messages.append({"role": turn.role, "content": turn.content})
        elif turn.role == "assistant":
            messages.append(_answer(turn.content, path, written))
        else:
            messages += _asked(turn.role, turn.content, path, written)
    return messages


def _asked(role: str, blocks: Sequence[Block], path: str, written: Written) -> list[Message]:
    """The results of tools, then what else is said: with the images that tools returned, since a chat's results are text."""
    messages: list[Message] = []
    shown: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        if block.type == "tool_result":
            result, images = _result(block, f"{path}.{at}", written)
            messages.append(result)
            shown += images
    said = shown + _parts([block for block in blocks if block.type != "tool_result"], path, written)
    return [*messages, {"role": role, "content": said}] if said or not messages else messages


def _result(block: Block, path: str, written: Written) -> tuple[Message, list[dict[str, Any]]]:
    if not block.tool_use_id:
        raise InvalidRequest(f"{path}.tool_use_id: Field required", param=f"{path}.tool_use_id")
    if block.is_error:
        written.changes.append(Change("dropped", f"{path}.is_error", "a chat's results of tools do not say whether they failed"))
    content = block.content
    if isinstance(content, str) or content is None:
        parts: list[dict[str, Any]] = []
        text = content or ""
    else:
        try:
            parts = _parts(msgspec.convert(content, list[Block]), f"{path}.content", written)
        except msgspec.ValidationError as wrong:
            raise InvalidRequest(f"{path}.content: {wrong}", param=f"{path}.content") from None
        text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    images = [part for part in parts if part["type"] != "text"]
    if images:
        written.changes.append(Change("changed", f"{path}.content", "its images stand in the user's words behind it"))
    result: Message = {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}
    return result | ({"cache_control": block.cache_control} if block.cache_control else {}), images


def _answer(blocks: Sequence[Block], path: str, written: Written) -> Message:
    message: Message = {"role": "assistant"}
    said = [block for block in blocks if block.type not in ("tool_use", "thinking", "redacted_thinking")]
    parts = _parts(said, path, written)
    message["content"] = parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else parts or None
    if calls := [block for block in blocks if block.type == "tool_use"]:
        message["tool_calls"] = [_call(block, path) for block in calls]
    return message | _thoughts(blocks)


def _call(block: Block, path: str) -> dict[str, Any]:
    if not block.id or not block.name:
        raise InvalidRequest(f"{path}: a tool_use block has an id and a name", param=path)
    arguments = msgspec.json.encode(block.input if block.input is not None else {}).decode()
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _thoughts(blocks: Iterable[Block]) -> dict[str, Any]:
    """Signed thoughts go back piece by piece, each to its maker; what was never signed is text."""
    details: list[dict[str, Any]] = []
    texts: list[str] = []
    for block in blocks:
        if block.type == "thinking":
            texts.append(block.thinking or "")
            if block.signature:
                signature, format = unsealed(block.signature)
                details.append({"type": "reasoning.text", "text": block.thinking or "", "signature": signature, "format": format})
        elif block.type == "redacted_thinking" and block.data:
            data, format = unsealed(block.data)
            details.append({"type": "reasoning.encrypted", "data": data, "format": format})
    numbered = [detail | {"index": index} for index, detail in enumerate(details)]
    said = {"reasoning_content": "".join(texts)} if any(texts) else {}
    return said | ({"reasoning_details": numbered} if numbered else {})


def _parts(blocks: Sequence[Block], path: str, written: Written) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for at, block in enumerate(blocks):
        found = _part(block, f"{path}.{at}", written)
        if found and block.cache_control:
            found[-1] |= {"cache_control": block.cache_control}
        parts += found
    return parts


def _part(block: Block, path: str, written: Written) -> list[dict[str, Any]]:
    match block.type:
        case "text":
            return [_text(block.text or "")] if block.text else []
        case "image":
            return _image(block.source or {}, path, written)
        case "document":
            return _document(block, path, written)
        case "search_result":
            content = block.content if isinstance(block.content, list) else []
            texts = [str(one.get("text", "")) for one in content if isinstance(one, dict)]
            return [_text("\n".join((block.title or "", *texts)))]
        case kind:
            shows = kind == "container_upload" or b'"base64"' in msgspec.json.encode(block.content)  # a page may be a PDF
            written.cannot(f"only Anthropic understands blocks of type {kind}.", path, open_ended=shows)
            return []


def _image(source: dict[str, Any], path: str, written: Written) -> list[dict[str, Any]]:
    match source.get("type"):
        case "base64":
            return [{"type": "image_url", "image_url": {"url": f"data:{source.get('media_type')};base64,{source.get('data')}"}}]
        case "url":
            return [{"type": "image_url", "image_url": {"url": source.get("url")}}]
        case _:
            written.cannot("only Anthropic has the files that were uploaded to it.", f"{path}.source", open_ended=True)
            return []


def _document(block: Block, path: str, written: Written) -> list[dict[str, Any]]:
    source = block.source or {}
    title = block.title or "document"
    match source.get("type"):
        case "base64":
            data = f"data:{source.get('media_type')};base64,{source.get('data')}"
            return [{"type": "file", "file": {"filename": title, "file_data": data}}]
        case "text":
            data = b64encode(str(source.get("data", "")).encode()).decode()
            return [{"type": "file", "file": {"filename": title, "file_data": f"data:text/plain;base64,{data}"}}]
        case _:
            why = "only Anthropic fetches documents, and has those that were uploaded to it."
            written.cannot(why, f"{path}.source", open_ended=True)
            return []


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
