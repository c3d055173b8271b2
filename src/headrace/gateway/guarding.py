"""Guardrails before a request is admitted: every text of it is read, and passes, passes with parts exchanged, or the request is refused.

They run here, in this process, before anything is placed: what they read has gone nowhere yet, and what is left of it goes only where the
rules let it. What a guardrail could not read does not go out: a request in another dialect is then asked in the chat that was read, and
refused where no chat can say it. A guardrail that fails refuses.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import GuardrailRefused, InvalidRequest, NotTranslatable
from headrace.core.guardrails import Allow, Guard, Passage, Redact, Refuse, Verdict, Way
from headrace.core.native import Native, Part, Post
from headrace.core.translation import Change
from headrace.gateway.injection import REACH as INJECTION_REACH
from headrace.gateway.injection import injection
from headrace.gateway.pii import REACH as PII_REACH
from headrace.gateway.pii import pii

GUARDS: dict[str, tuple[Guard, int]] = {"pii": (pii, PII_REACH), "injection": (injection, INJECTION_REACH)}
"""Ours, each with how many characters of a stream one of its matches can span."""
REACH = 128
CHANGES_MAX = 32
KINDS_MAX = 16_384
Action: TypeAlias = Literal["apply", "refuse", "note"]
_object = msgspec.json.Decoder(dict[str, Any])


class Guardrail(msgspec.Struct, frozen=True, kw_only=True):
    """One of the settings, and whom it holds for: every field that is given must match. `action` says what comes of what it finds: what it
    says itself, a refusal, or only a line in the record."""

    name: str
    guard: Guard
    ways: frozenset[Way]
    action: Action = "apply"
    reach: int = REACH
    organization: str | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    traffic_class: str | None = None


class Found(msgspec.Struct, frozen=True):
    """What a text became, and what was done to it by which guardrail."""

    text: str
    done: tuple[tuple[str, str], ...]


class Guards:
    """All guardrails of one version of the settings. `tally` counts verdicts by guardrail, way and verdict, over all versions."""

    def __init__(self, guardrails: Iterable[Guardrail], tally: "Counter[tuple[str, str, str]]") -> None:
        self._guardrails, self.tally = tuple(guardrails), tally
        self._kinds: dict[tuple[str, str, str], tuple[tuple[Guardrail, ...], tuple[Guardrail, ...]]] = {}

    def names(self, ask: Ask) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What those are called that hold for a request, and for its answer."""
        before, behind = self.of(ask, "input"), self.of(ask, "output")
        return tuple(one.name for one in before), tuple(one.name for one in behind)

    def of(self, ask: Ask, way: Way) -> tuple[Guardrail, ...]:
        """Those that hold for a request."""
        kind = ask.principal.key, ask.model, ask.traffic_class
        found = self._kinds.get(kind)
        if found is None:
            if len(self._kinds) >= KINDS_MAX:
                self._kinds.clear()
            holding = [one for one in self._guardrails if _holds(one, ask)]
            found = tuple(one for one in holding if "input" in one.ways), tuple(one for one in holding if "output" in one.ways)
            self._kinds[kind] = found
        return found[way == "output"]

    def admitted(self, ask: Ask) -> Ask:
        """The request as it may go on. Raises GuardrailRefused, or NotTranslatable or InvalidRequest for what can't be read."""
        rails = self.of(ask, "input")
        if not rails:
            return ask
        native = ask.native
        if native is not None and native.post is None and native.untold is not None:
            raise NotTranslatable(f"Guardrails read this request as a chat, and {native.untold}", param=native.param)
        changes: list[Change] = []

        def read(text: str, role: str, param: str) -> str:
            found = self.judged(rails, Passage(text, "input", role))
            changes.extend(Change("changed" if found.text != text else "noted", param, f"guardrail {by}: {why}") for by, why in found.done)
            return found.text

        if native is not None and native.post is not None:
            return _with_post(ask, native, native.post, read, changes)
        content = _object.decode(ask.body)
        _each_text(content, read)
        if native is not None and (native.changes or any(change.what == "changed" for change in changes)):
            native = msgspec.structs.replace(native, relayable=False)  # what goes out is what was read
        if not changes and native is ask.native:
            return ask
        altered = any(change.what == "changed" for change in changes)
        body = msgspec.json.encode(content) if altered else ask.body
        bound = ask.tokens_in_max + max(0, len(body) - len(ask.body))
        return msgspec.structs.replace(ask, body=body, native=native, guarded=tuple(changes[:CHANGES_MAX]), tokens_in_max=bound)

    def judged(self, rails: Iterable[Guardrail], passage: Passage, start: int = 0) -> Found:
        """A text as all of them leave it, one after another. Raises GuardrailRefused. `start`: what is before it was passed on before."""
        done: list[tuple[str, str]] = []
        for rail in rails:
            match self.verdict(rail, passage, start):
                case Allow():
                    continue
                case Redact(spans=spans, why=why):
                    done.append((rail.name, why))
                    if rail.action == "apply":
                        passage = msgspec.structs.replace(passage, text=exchanged(passage.text, spans))
                case Refuse(why=why):
                    raise GuardrailRefused(rail.name, why)
                case never:
                    assert_never(never)
        return Found(passage.text, tuple(done))

    def looked(self, rail: Guardrail, passage: Passage) -> tuple[tuple[int, int, str], ...]:
        """What it would exchange, neither counted nor told: only to know where a text must not be cut."""
        try:
            said = rail.guard(passage)
        except Exception:  # noqa: BLE001 -- it fails again where its verdict is asked for, and refuses there
            return ()
        return said.spans if isinstance(said, Redact) else ()

    def verdict(self, rail: Guardrail, passage: Passage, start: int = 0) -> Verdict:
        """What one of them says, as its action has it, counted. Of what it exchanges, the part from `start` on."""
        try:
            said = rail.guard(passage)
            if isinstance(said, Redact):
                spans = tuple((max(start, first), last, by) for first, last, by in _ordered(said.spans, passage.text) if last > start)
                said = Redact(spans, said.why) if spans else Allow()
        except Exception as wrong:
            self.tally[rail.name, passage.way, "failed"] += 1
            raise GuardrailRefused(rail.name, f"it failed ({type(wrong).__name__})") from wrong
        if isinstance(said, Redact) and rail.action == "refuse":
            said = Refuse(said.why)
        if isinstance(said, Refuse) and rail.action == "note":
            said = Redact((), said.why)
        if not isinstance(said, Allow):
            self.tally[rail.name, passage.way, "noted" if rail.action == "note" else type(said).__name__.lower()] += 1
        return said


def _with_post(ask: Ask, native: Native, post: Post, read: "Read", changes: list[Change]) -> Ask:
    """What is no conversation: every text of its JSON, or every field of its form; files are not read. What grew has no sure bound."""
    if post.parts:
        parts = tuple(part if part.filename is not None else _with_part(part, read) for part in post.parts)
        grew = sum(len(part.data) for part in parts) > sum(len(part.data) for part in post.parts)
        native = msgspec.structs.replace(native, post=msgspec.structs.replace(post, parts=parts, bounded=post.bounded and not grew))
    else:
        body = msgspec.json.encode(_with_texts(msgspec.json.decode(native.body), read, ""))
        grew = any(change.what == "changed" for change in changes) and len(body) > len(native.body)
        native = msgspec.structs.replace(native, body=body, post=msgspec.structs.replace(post, bounded=post.bounded and not grew))
    if not changes:
        return ask
    kept = native if any(change.what == "changed" for change in changes) else ask.native
    assert kept is not None
    return msgspec.structs.replace(ask, body=kept.body, native=kept, guarded=tuple(changes[:CHANGES_MAX]))


def _with_part(part: Part, read: "Read") -> Part:
    text = part.data.decode("utf-8", "surrogateescape")
    return msgspec.structs.replace(part, data=read(text, "post", part.name).encode("utf-8", "surrogateescape"))


def _with_texts(value: object, read: "Read", param: str) -> object:
    """The same value with every text read, but for the model's name."""
    if isinstance(value, str):
        return value if param == "model" else read(value, "post", param)
    if isinstance(value, list):
        return [_with_texts(one, read, f"{param}[{number}]") for number, one in enumerate(value)]
    if isinstance(value, dict):
        return {name: _with_texts(one, read, f"{param}.{name}" if param else name) for name, one in value.items()}
    return value


def exchanged(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """The text with the parts exchanged."""
    parts, at = list[str](), 0
    for first, last, by in spans:
        parts += (text[at:first], by)
        at = last
    return "".join((*parts, text[at:]))


def _ordered(spans: tuple[tuple[int, int, str], ...], text: str) -> Iterator[tuple[int, int, str]]:
    """Raises ValueError for parts that overlap or are not there."""
    before = 0
    for first, last, by in spans:
        if not before <= first <= last <= len(text):
            raise ValueError("parts overlap, or stand in no order")
        before = last
        yield first, last, by


def _holds(one: Guardrail, ask: Ask) -> bool:
    who = ask.principal
    asked = (
        (one.organization, (who.organization,)),
        (one.project, (who.project,)),
        (one.key, (who.key, who.key_name, *who.parents, *who.parent_names)),
        (one.model, (ask.model,)),
        (one.traffic_class, (ask.traffic_class, who.traffic_class)),  # asking in another class leads past no guardrail
    )
    return all(named is None or named in values for named, values in asked)


Read: TypeAlias = Callable[[str, str, str], str]
"""A text, in which role, named how: what it becomes."""


def _each_text(content: dict[str, Any], read: Read) -> None:
    """Exchange every text of a chat or of an embedding's request."""
    if "input" in content and "messages" not in content:
        content["input"] = _embedded(content["input"], read)
        return
    for number, message in enumerate(content.get("messages") or ()):
        if not isinstance(message, dict):
            continue
        role, param = str(message.get("role", "user")), f"messages[{number}]"
        for field in ("content", "reasoning_content", "refusal", "name"):
            if isinstance(text := message.get(field), str):
                message[field] = read(text, role, f"{param}.{field}")
        for part in message["content"] if isinstance(message.get("content"), list) else ():
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                part["text"] = read(part["text"], role, f"{param}.content")
        for call in message.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                function["arguments"] = read(function["arguments"], role, f"{param}.tool_calls")


def _embedded(value: object, read: Read) -> object:
    if isinstance(value, str):
        return read(value, "embedding", "input")
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [read(one, "embedding", f"input[{number}]") for number, one in enumerate(value)]
    raise InvalidRequest("Guardrails hold for this request, and token numbers can't be read: send texts.", param="input")
