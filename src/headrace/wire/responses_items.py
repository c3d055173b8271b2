"""The items of a response's input, as the messages of a chat.

Calls of tools that follow each other are one message of the assistant, with what it said and thought before them. Each output is a message
of its own. What was thought is sealed in `encrypted_content`, as we gave it out; what another vendor sealed, only he reads.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.core.errors import InvalidRequest
from headrace.core.translation import Change
from headrace.wire.messages_turns import Written
from headrace.wire.responses_seal import opened
from headrace.wire.responses_tools import Kinds, chat_name

Message = dict[str, Any]
CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call"})
OUTPUTS = frozenset(
    {"function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output", "apply_patch_call_output"}
)
SUMMARY = "Summary of the conversation so far:\n\n"
HOSTED = ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call", "mcp_list_tools")


class Item(msgspec.Struct, frozen=True):
    """One item of any kind: its fields that we read."""

    type: str = "message"
    role: str | None = None
    content: Any = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Any = None
    input: Any = None
    output: Any = None
    status: str | None = None
    summary: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None
    action: dict[str, Any] | None = None
    operation: dict[str, Any] | None = None


class _Thought(msgspec.Struct):
    texts: list[str]
    details: list[dict[str, Any]]


def messages_for(items: Sequence[Item], kinds: Kinds, written: Written) -> list[Message]:
    """Raises InvalidRequest for what no vendor would take, naming the item."""
    writer = _Writer(kinds, written)
    for at, item in enumerate(items):
        writer.add(item, f"input[{at}]")
    return writer.messages


class _Writer:
    def __init__(self, kinds: Kinds, written: Written) -> None:
        self._kinds, self._written = kinds, written
        self._thoughts = _Thought([], [])
        self._calls: set[str] = set()
        self.messages: list[Message] = []

    def add(self, item: Item, path: str) -> None:
        match item.type:
            case "message":
                self._message(item, path)
            case "reasoning":
                self._reasoning(item, path)
            case kind if kind in CALLS:
                self._call(item, path)
            case kind if kind in OUTPUTS:
                self._output(item, path)
            case "compaction" | "compaction_summary":
                self._compaction(item, path)
            case "item_reference":
                raise InvalidRequest(f"Item with id '{item.id}' not found.", param=path)
            case kind if kind in HOSTED:
                self._written.changes.append(Change("dropped", path, f"a chat does not say {kind}"))
            case kind:
                shown = isinstance(item.output, dict) and "file_id" in item.output
                self._written.cannot(f"a chat has no items of type {kind}.", path, open_ended=shown)

    def _message(self, item: Item, path: str) -> None:
        role = item.role or "user"
        if role not in ("user", "assistant", "system", "developer"):
            raise InvalidRequest(f"Invalid value for '{path}.role': '{role}'.", param=f"{path}.role")
        content: Any = item.content if isinstance(item.content, str) else self._parts(item.content, f"{path}.content")
        if role != "assistant":
            self.messages.append({"role": role, "content": content})
            return
        if isinstance(content, list) and all(part["type"] == "text" for part in content):
            content = "".join(part["text"] for part in content)
        last = self._assistant()
        last["content"] = content if last["content"] is None else f"{last['content']}{content}"

    def _assistant(self) -> Message:
        """The message of the assistant that is being said: the last, or a new one where another spoke or where it thought anew."""
        thought = self._thoughts.texts or self._thoughts.details
        if thought or not self.messages or self.messages[-1]["role"] != "assistant":
            message: Message = {"role": "assistant", "content": None}
            if self._thoughts.texts:
                message["reasoning_content"] = "".join(self._thoughts.texts)
            if self._thoughts.details:
                message["reasoning_details"] = [detail | {"index": at} for at, detail in enumerate(self._thoughts.details)]
            self._thoughts = _Thought([], [])
            self.messages.append(message)
        return self.messages[-1]

    def _reasoning(self, item: Item, path: str) -> None:
        texts = [str(part.get("text", "")) for part in (item.content if isinstance(item.content, list) else ()) if isinstance(part, dict)]
        if not texts:
            texts = [str(part.get("text", "")) for part in item.summary or ()]
        if item.encrypted_content:
            details = opened(item.encrypted_content)
            if details is None:
                self._written.changes.append(Change("dropped", f"{path}.encrypted_content", "only who thought it takes it back"))
            else:
                self._thoughts.details += details
        self._thoughts.texts += [text for text in texts if text]

    def _call(self, item: Item, path: str) -> None:
        if not item.call_id:
            raise InvalidRequest(f"Missing required parameter: '{path}.call_id'.", param=f"{path}.call_id")
        self._calls |= {item.call_id, item.id or item.call_id}
        name, arguments = self._called(item)
        last = self._assistant()
        call = {"id": item.call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        last.setdefault("tool_calls", []).append(call)

    def _called(self, item: Item) -> tuple[str, str]:
        """The function that a chat knows it by, and its arguments."""
        match item.type:
            case "custom_tool_call":
                return chat_name(item.name or "", item.namespace), _json({"input": item.input or ""})
            case "local_shell_call":
                return "local_shell", _json(item.action or {})
            case "shell_call":
                return "shell", _json(item.action or {})
            case "apply_patch_call":
                return "apply_patch", _json(item.operation or {})
            case _:
                return chat_name(item.name or "", item.namespace), item.arguments if isinstance(item.arguments, str) else "{}"

    def _output(self, item: Item, path: str) -> None:
        call = item.call_id or item.id
        if not call:
            raise InvalidRequest(f"Missing required parameter: '{path}.call_id'.", param=f"{path}.call_id")
        if call not in self._calls and self._written.untold is None:  # what only another vendor reads may hold the call
            raise InvalidRequest(f"No tool call found for {item.type} with call_id '{call}'.", param=f"{path}.call_id")
        images: list[dict[str, Any]] = []
        if isinstance(item.output, str) or item.output is None:
            text = item.output or item.status or ""
        elif item.type == "shell_call_output":
            text = _json(item.output)
        else:
            parts = self._parts(item.output, f"{path}.output")
            text = "\n".join(part["text"] for part in parts if part["type"] == "text")
            images = [part for part in parts if part["type"] != "text"]
        self.messages.append({"role": "tool", "tool_call_id": call, "content": text})
        if images:
            self._written.changes.append(Change("changed", f"{path}.output", "its images stand in the user's words behind it"))
            self.messages.append({"role": "user", "content": images})

    def _compaction(self, item: Item, path: str) -> None:
        told = opened(item.encrypted_content or "")
        if not told or "summary" not in told[0]:
            self._written.cannot("what another vendor compacted, only he reads.", path)
            return
        self.messages.append({"role": "user", "content": SUMMARY + str(told[0]["summary"])})

    def _parts(self, content: Any, path: str) -> list[dict[str, Any]]:
        if content is None:
            return []
        if not isinstance(content, list):
            raise InvalidRequest(f"Invalid value for '{path}': expected a text or an array of parts.", param=path)
        return [said for at, part in enumerate(content) if (said := self._part(part, f"{path}[{at}]")) is not None]

    def _part(self, part: Any, path: str) -> dict[str, Any] | None:
        kind = part.get("type") if isinstance(part, dict) else None
        mark = part.get("prompt_cache_breakpoint") if isinstance(part, dict) else None
        marked = {"prompt_cache_breakpoint": mark} if mark else {}
        match kind:
            case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
                return {"type": "text", "text": str(part.get("text", ""))} | marked
            case "refusal":
                return {"type": "text", "text": str(part.get("refusal", ""))}
            case "input_image":
                return self._image(part, path, marked)
            case "input_file":
                return self._file(part, path, marked)
            case "input_audio":
                return {"type": "input_audio", "input_audio": part.get("input_audio", {})} | marked
            case None:
                raise InvalidRequest(f"Invalid value for '{path}': a part has a type.", param=path)
            case _:
                elsewhere = "file_id" in part or "file_url" in part
                self._written.cannot(f"a chat has no parts of type {kind}.", path, open_ended=elsewhere)
                return None

    def _image(self, part: dict[str, Any], path: str, marked: dict[str, Any]) -> dict[str, Any] | None:
        if not isinstance(part.get("image_url"), str):
            self._written.cannot("only the vendor has the images that were uploaded to it.", path, open_ended=True)
            return None
        detail = {"detail": part["detail"]} if part.get("detail") not in (None, "auto") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}} | marked

    def _file(self, part: dict[str, Any], path: str, marked: dict[str, Any]) -> dict[str, Any] | None:
        if not isinstance(part.get("file_data"), str):
            self._written.cannot("only the vendor fetches files, and has those that were uploaded to it.", path, open_ended=True)
            return None
        return {"type": "file", "file": {"filename": part.get("filename") or "file", "file_data": part["file_data"]}} | marked


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
