"""Guardrails behind what is no conversation: every text of the JSON, of the events or of the plain text that comes back.

It is held until all of it is there, since a match may lie across events, and judged twice: each text alone, and what events say in the same
place joined to one. Sound, pictures and what is written in base64 pass unread, as they come. Where a guardrail refuses, the client gets
that error and nothing of the answer, and the upstream is paid for what it used.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import GuardrailRefused
from headrace.core.guardrails import Passage
from headrace.core.stream import Said, Verbatim
from headrace.core.translation import Change
from headrace.core.unreadable import UNREADABLE
from headrace.gateway.guarding import CHANGES_MAX, Guardrail, Guards
from headrace.providers import Between, Hearer
from headrace.wire.sse import FrameCutter, frame, frames, payload

BYTES_HELD_MAX: Final = 64 * 1024 * 1024
UNREAD: Final = frozenset(("b64_json", "audio", "embedding", "id", "model", "object", "type"))
"""Members that are no text of anybody's."""
DATA_URL: Final = "data:"
READ_KINDS: Final = ("text/", "json", "xml", "subrip", "event-stream")
Path: TypeAlias = tuple[str | int, ...]
Leaf: TypeAlias = tuple[Path, str]
_any = msgspec.json.Decoder(Any)


class PostListening(Between):
    """Hears an adapter for `hearer`."""

    def __init__(self, hearer: Hearer, ask: Ask, guards: Guards, rails: tuple[Guardrail, ...]) -> None:
        super().__init__(hearer, ask.stream)
        self._guards, self._rails = guards, rails
        self._before, self._after = ask.guarded, list[Change]()
        self._held: list[bytes] = []
        self._held_size = 0
        self._kind = ""

    def translated(self, changes: tuple[Change, ...]) -> None:
        self._before = (*self._before, *changes)
        self._tell()

    def hear(self, said: Said) -> None:
        if not isinstance(said, Verbatim):
            self._hearer.hear(said)
            return
        self._kind = said.kind or self._kind
        if not any(kind in self._kind for kind in READ_KINDS):
            self._hearer.hear(said)
            return
        self._held.append(said.data)
        self._held_size += len(said.data)
        if self._held_size > BYTES_HELD_MAX:
            raise GuardrailRefused(self._rails[0].name, f"an answer of more than {BYTES_HELD_MAX} bytes can't be held to be read")

    def end(self) -> None:
        """The adapter has said all."""
        if not self._held:
            return
        body, self._held = b"".join(self._held), []
        read = self._events if "event-stream" in self._kind else self._document if "json" in self._kind else self._text
        self._hearer.hear(Verbatim(read(body), self._kind))

    def _document(self, body: bytes) -> bytes:
        try:
            box = [_any.decode(body)]
        except UNREADABLE:
            return self._text(body)
        return msgspec.json.encode(box[0]) if self._altered([box]) else body

    def _text(self, body: bytes) -> bytes:
        text = body.decode("utf-8", "surrogateescape")
        return self._read(text).encode("utf-8", "surrogateescape")

    def _events(self, body: bytes) -> bytes:
        cutter = FrameCutter()
        said = [*frames(cutter.feed(body)), *(rest for rest in (cutter.close(),) if rest)]
        boxes = [_boxed(payload(one)) for one in said]
        if not self._altered(boxes):
            return body
        return b"".join(_named(one) + frame(msgspec.json.encode(box[0])) if box else one for one, box in zip(said, boxes, strict=True))

    def _altered(self, boxes: Sequence[list[Any]]) -> bool:
        """Read all texts of what is in these, and exchange what is to be exchanged in them; whether anything was."""
        changed = False
        places: dict[Path, list[tuple[list[Any], str]]] = {}
        for box in boxes:
            for path, text in _leaves(box):
                found = self._read(text)
                if found != text:
                    changed = True
                    _put(box, path, found)
                places.setdefault(path, []).append((box, found))
        for path, spoken in places.items():
            whole = "".join(text for _, text in spoken)
            if len(spoken) > 1 and (found := self._read(whole)) != whole:
                changed = True
                for at, (box, _) in enumerate(spoken):
                    _put(box, path, found if at == 0 else "")
        return changed

    def _read(self, text: str) -> str:
        found = self._guards.judged(self._rails, Passage(text, "output", "post"))
        if found.done:
            self._after += [
                Change("changed" if found.text != text else "noted", "answer", f"guardrail {by}: {why}") for by, why in found.done
            ]
            self._tell()
        return found.text

    def _tell(self) -> None:
        self._hearer.translated((*self._before, *self._after[:CHANGES_MAX]))


def _boxed(data: bytes) -> list[Any]:
    """What an event carries, in a list of one; empty: nothing that can be read. What is no JSON is read as the text that it is."""
    if not data or data == b"[DONE]":
        return []
    try:
        return [_any.decode(data)]
    except UNREADABLE:
        return [data.decode("utf-8", "replace")]


def _named(one: bytes) -> bytes:
    """The fields of an event before its data: its name and id."""
    return b"".join(line + b"\n" for line in one.splitlines() if line and not line.startswith(b"data"))


def _leaves(value: Any, path: Path = ()) -> Iterator[Leaf]:
    """Every text with its place."""
    if isinstance(value, str):
        if not value.startswith(DATA_URL):
            yield path, value
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from _leaves(one, (*path, at))
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in UNREAD:
                yield from _leaves(one, (*path, name))


def _put(value: Any, path: Path, text: str) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = text
