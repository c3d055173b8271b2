"""Text in, text and tool calls out.

Models write calls as they were tuned to, or as they please: `<tool_call>{…}</tool_call>`, a bare JSON object or list at the head of a
line, or the same in a ```json fence. All are understood, and only for tools that were declared: anything else is text, to the
character. While it is open whether text becomes a call it is held back; everything else flows at once. How the text is cut into
chunks changes nothing (that is a property in the tests).

    free ──"<tool_call>", or at the head of a line "{", "[", "```"──> candidate ──complete, declared──> Call, free
     ^────────── no: its first character is text, look again from the next ───────┘
"""

import json
import re
from typing import Any, NamedTuple, TypeAlias

TAG, TAG_END, FENCE = "<tool_call>", "</tool_call>", "```"
FENCE_LANGUAGES = ("", "json", "tool_call", "tool_code", "xml")
FIRST_KEYS = ("name", "arguments", "parameters", "function", "type", "id")
_HEAD = re.compile(r'\[?\s*(?:\{\s*(?:"(?P<key>[^"\\]*)(?P<closed>")?)?)?')
_NAME = re.compile(r'\[?\s*\{\s*"name"\s*:\s*"(?P<name>[^"\\]*)(?P<closed>")?')
_SUSPECT = re.compile(r"[<{\[`]")


class Call(NamedTuple):
    """A tool call; `arguments` is JSON text, broken only where the answer was cut off."""

    name: str
    arguments: str


Piece: TypeAlias = str | Call


class Found(NamedTuple):
    """The candidate is these calls, and `size` characters of the text."""

    calls: list[Call]
    size: int


class Open:
    """It can't be said yet."""


class No:
    """The candidate is text."""


OPEN, NO = Open(), No()
Verdict: TypeAlias = Found | Open | No


class CallReader:
    """Reads one answer of a model that was told of the tools `names`; at most `calls_max` calls count, later ones are dropped."""

    def __init__(self, names: frozenset[str], calls_max: int | None = None) -> None:
        self._names, self._calls_max = names, calls_max
        self._held = ""
        self._braces: Braces | None = None  # of the candidate at the head of what is held
        self._line_blank = True  # nothing but blanks since the line began
        self._blanks: str | None = ""  # white space that is dropped if only calls follow; None within text
        self.calls = 0

    def feed(self, text: str) -> list[Piece]:
        self._held += text
        return self._read(ended=False)

    def end(self) -> list[Piece]:
        """What was held back, now that nothing follows."""
        pieces = self._read(ended=True)
        if self._blanks and not self.calls:
            pieces.append(self._blanks)
        return pieces

    def _read(self, ended: bool) -> list[Piece]:
        pieces: list[Piece] = []
        at = 0
        while suspect := _SUSPECT.search(self._held, at):
            self._say(self._held[at : suspect.start()], pieces)
            at = suspect.start()
            verdict = self._judge(self._held[at:], ended)
            if isinstance(verdict, Open):
                break
            self._braces = None
            if isinstance(verdict, No):
                self._say(self._held[at], pieces)
                at += 1
                continue
            pieces += self._counted(verdict.calls)
            at += verdict.size
            self._blanks, self._line_blank = "", True
        else:
            self._say(self._held[at:], pieces)
            at = len(self._held)
        self._held = self._held[at:]
        return _joined(pieces)

    def _say(self, text: str, pieces: list[Piece]) -> None:
        if not text:
            return
        last_line = text.rpartition("\n")
        self._line_blank = not last_line[2].strip() and (bool(last_line[1]) or self._line_blank)
        if self._blanks is not None:
            if not text.strip():
                self._blanks += text
                return
            text, self._blanks = self._blanks + text, None
        pieces.append(text)

    def _counted(self, calls: list[Call]) -> list[Call]:
        room = len(calls) if self._calls_max is None else max(0, self._calls_max - self.calls)
        self.calls += len(calls[:room])
        return calls[:room]

    def _judge(self, text: str, ended: bool) -> Verdict:
        if text[0] == "<":
            start: int | Open | No = len(TAG) if text.startswith(TAG) else OPEN if TAG.startswith(text) else NO
            closing = TAG_END
        elif not self._line_blank:
            return NO
        elif text[0] == "`":
            start, closing = _fence(text), FENCE
        else:
            start, closing = 0, ""
        if isinstance(start, int):
            return self._body(text, start, closing, ended)
        return NO if ended else start

    def _body(self, text: str, start: int, closing: str, ended: bool) -> Verdict:
        body = text[start:].lstrip()
        if not body:
            return NO if ended else OPEN
        if body[0] not in "{[" or self._refuted(body):
            return NO
        self._braces = self._braces or Braces()
        size = self._braces.feed(body)
        if size is None:
            return NO if ended else OPEN
        calls = self._calls(body[:size])
        if not calls:
            return NO
        rest = body[size:].lstrip()
        used = len(text) - len(body) + size
        if not closing:
            return Found(calls, used)
        if rest.startswith(closing):
            return Found(calls, len(text) - len(rest) + len(closing))
        if closing.startswith(rest) and not ended:  # also when nothing follows yet
            return OPEN
        return Found(calls, len(text) if ended and closing.startswith(rest) else used)

    def _refuted(self, body: str) -> bool:
        """Whether what is there already can't begin a call of a declared tool."""
        head = _HEAD.match(body)
        if head is None or head["key"] is None:
            rest = body[head.end() :] if head else body
            return bool(rest.strip())
        key, closed = head["key"], head["closed"]
        if key not in FIRST_KEYS if closed else not any(known.startswith(key) for known in FIRST_KEYS):
            return True
        name = _NAME.match(body)
        if name is None:
            return False
        return name["name"] not in self._names if name["closed"] else not any(known.startswith(name["name"]) for known in self._names)

    def _calls(self, text: str) -> list[Call]:
        try:
            value = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return []
        calls = [self._call(each) for each in (value if isinstance(value, list) else [value])]
        return [call for call in calls if call] if all(calls) else []

    def _call(self, value: Any) -> Call | None:
        if isinstance(value, dict) and isinstance(value.get("function"), dict):
            value = value["function"]
        if not isinstance(value, dict) or not isinstance(value.get("name"), str) or value["name"] not in self._names:
            return None
        arguments = value.get("arguments", value.get("parameters", {}))
        if isinstance(arguments, dict):
            return Call(value["name"], json.dumps(arguments, ensure_ascii=False))
        return Call(value["name"], arguments) if isinstance(arguments, str) and _is_object(arguments) else None


class BoundReader:
    """Reads an answer that a grammar binds to be one call. It is held to its end; what a limit cut off is said as far as it got."""

    _PARTS = re.compile(r'\{\s*"name"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*(?:,\s*"arguments"\s*:\s*(?P<arguments>.*))?', re.DOTALL)

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._held: list[str] = []
        self.calls = 0

    def feed(self, text: str) -> list[Piece]:
        self._held.append(text)
        return []

    def end(self) -> list[Piece]:
        text = "".join(self._held)
        pieces: list[Piece] = list(CallReader(self._names).feed(text))
        if len(pieces) != 1 or not isinstance(pieces[0], Call):
            parts = self._PARTS.match(text.lstrip())
            pieces = [Call(json.loads(parts["name"]), parts["arguments"] or "")] if parts else []
        self.calls = len(pieces)
        return pieces


Reader: TypeAlias = CallReader | BoundReader


def _fence(text: str) -> int | Open | No:
    """Where a fence's content begins."""
    line, newline, _ = text.partition("\n")
    if newline:
        return len(line) + 1 if line.startswith(FENCE) and line[len(FENCE) :].strip() in FENCE_LANGUAGES else NO
    if FENCE.startswith(line):
        return OPEN
    language = line[len(FENCE) :].strip()
    return OPEN if line.startswith(FENCE) and any(known.startswith(language) for known in FENCE_LANGUAGES) else NO


class Braces:
    """Finds where a JSON object or list ends, looking at each character once though it is fed the whole text every time."""

    def __init__(self) -> None:
        self._at, self._depth, self._quoted, self._escaped = 0, 0, False, False
        self._size: int | None = None

    def feed(self, text: str) -> int | None:
        """How long the value at the head of `text` is, or None while it is open."""
        while self._size is None and self._at < len(text):
            self._take(text[self._at])
            self._at += 1
        return self._size

    def _take(self, character: str) -> None:
        if self._quoted:
            self._quoted = self._escaped or character != '"'
            self._escaped = character == "\\" and not self._escaped
        elif character == '"':
            self._quoted = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            if self._depth == 0:
                self._size = self._at + 1


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _joined(pieces: list[Piece]) -> list[Piece]:
    """The same with neighbouring texts made one."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
