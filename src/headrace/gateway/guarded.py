"""Guardrails behind an answer: it is heard in events, and of a stream only so much is held back as a match can span.

Text is passed on up to a place before which no match can end later: the guardrails' reach from its end, and not in the middle of a word or
of a match. What is held is passed on when its choice ends or something else is said. Where a guardrail refuses, the choice ends there as
`content_filter`, nothing of it is passed on any more, and the upstream finishes unheard, so that what it used is paid to the token.
"""

import re
from collections.abc import Coroutine
from typing import Any, TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import GuardrailRefused
from headrace.core.guardrails import Passage
from headrace.core.stream import Finished, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.translation import Change
from headrace.gateway.guarded_posts import PostListening
from headrace.gateway.guarding import CHANGES_MAX, Guardrail, Guards
from headrace.providers import Between, Hearer, Provider, Tap

CONTEXT = 64
"""So much of what was passed on is shown again, so that a guardrail sees what stands before."""
WORD_MAX = 128
"""A longer run without a space may be cut."""
WORD = re.compile(r"[!-~]*\Z")
Piece: TypeAlias = Text | Reasoning | ToolCallArguments


class GuardedProvider:
    """`provider`, with the guardrails that hold for who asks."""

    def __init__(self, provider: Provider, guards: Guards) -> None:
        self.provider, self._guards = provider, guards

    def answer(self, ask: Ask, hearer: Hearer) -> Coroutine[Any, Any, None]:
        rails = () if ask.operation == "embeddings" else self._guards.of(ask, "output")  # those are numbers
        if not rails and not ask.guarded:
            return self.provider.answer(ask, hearer)
        return self._guarded(ask, hearer, rails)

    async def probe(self) -> None:
        await self.provider.probe()

    async def _guarded(self, ask: Ask, hearer: Hearer, rails: tuple[Guardrail, ...]) -> None:
        listening: Between
        if rails and ask.native is not None and ask.native.post is not None:
            listening = PostListening(hearer, ask, self._guards, rails)
        else:
            if rails and ask.native is not None:  # bytes of another dialect than the chat's can't be read
                ask = msgspec.structs.replace(ask, native=msgspec.structs.replace(ask.native, relayable=False))
            listening = _Listening(hearer, ask, self._guards, rails)
        listening.translated(())
        await self.provider.answer(ask, listening)
        listening.end()


class _Listening(Between):
    """Hears an adapter for `hearer`."""

    def __init__(self, hearer: Hearer, ask: Ask, guards: Guards, rails: tuple[Guardrail, ...]) -> None:
        super().__init__(hearer, ask.stream)
        self._guards, self._rails = guards, rails
        self._before, self._changes, self._after = ask.guarded, (), list[Change]()
        self._held: dict[int, _Held] = {}
        self._refused: set[int] = set()
        self._unsigned: set[int] = set()
        self._reach = max((rail.reach for rail in rails), default=0)

    _changes: tuple[Change, ...]

    @property
    def verbatim(self) -> Tap | None:
        return None if self._rails else self._hearer.verbatim

    @verbatim.setter
    def verbatim(self, tap: Tap | None) -> None:
        """Who hears says where bytes go, not who speaks."""

    def translated(self, changes: tuple[Change, ...]) -> None:
        self._changes = changes
        self._tell()

    def hear(self, said: Said) -> None:
        if self._rails:
            super().hear(said)
        else:
            self._hearer.hear(said)

    def event(self, said: Said) -> None:
        match said:
            case Used():
                for choice in tuple(self._held):
                    self._release(choice)
                self._hearer.hear(said)
            case Text() | Reasoning() | ToolCallArguments():
                if said.choice not in self._refused:
                    self._piece(said)
            case Finished() | ToolCallBegun():
                self._release(said.choice)
                if said.choice not in self._refused:
                    self._hearer.hear(said)
            case Verbatim():  # pragma: no cover -- it was read before
                raise AssertionError("bytes are read before they are guarded")

    def _piece(self, said: Piece) -> None:
        if isinstance(said, Reasoning) and not said.text:
            self._proof(said)
            return
        held = self._held.get(said.choice)
        if held is not None and not held.goes_on_with(said):
            self._release(said.choice)
            held = None
        if said.choice in self._refused:
            return
        if held is None:
            held = self._held[said.choice] = _Held(said)
        held.text += said.text
        self._pass_on(held, self._reach)
        if isinstance(said, Reasoning) and said.signature is not None:
            self._proof(Reasoning("", said.choice, said.signature, said.redacted, said.format))

    def _proof(self, said: Reasoning) -> None:
        """What proves thoughts proves them only as they were."""
        self._release(said.choice)
        if said.choice not in self._refused and (said.choice not in self._unsigned or said.redacted is not None):
            self._hearer.hear(said if said.choice not in self._unsigned else msgspec.structs.replace(said, signature=None))

    def _release(self, choice: int) -> None:
        """Pass on all that is held of a choice."""
        held = self._held.pop(choice, None)
        if held is not None:
            self._pass_on(held, 0)

    def _pass_on(self, held: "_Held", reach: int) -> None:
        try:
            passed = self._judged(held, reach)
        except GuardrailRefused as refused:
            self._after.append(Change("dropped", "answer", f"guardrail {refused.guardrail}: {refused.why}"))
            self._tell()
            self._refused.add(held.choice)
            self._held.pop(held.choice, None)
            self._hearer.hear(Finished("content_filter", held.choice))
            return
        if passed:
            self._hearer.hear(held.saying(passed))

    def _judged(self, held: "_Held", reach: int) -> str:
        """The part of what is held that may go, as the guardrails leave it; it is held no more. Raises GuardrailRefused."""
        window, start = held.before + held.text, len(held.before)
        spans: list[tuple[int, int]] = []
        for rail in self._rails:  # where none of them may be cut; what they find is told when it is passed on
            if reach:
                said = self._guards.looked(rail, Passage(window, "output", held.role))
                spans += [(first, last) for first, last, _ in said]
        cut = len(window) if not reach else _cut(window, start, reach, spans)
        if cut <= start:
            return ""
        found = self._guards.judged(self._rails, Passage(window[:cut], "output", held.role), start)
        if found.done:
            self._after += [Change("changed", "answer", f"guardrail {by}: {why}") for by, why in found.done]
            if held.role == "thought":
                self._unsigned.add(held.choice)
            self._tell()
        held.text, held.before = window[cut:], window[max(0, cut - CONTEXT) : cut]
        return found.text[start:]

    def _tell(self) -> None:
        self._hearer.translated((*self._before, *self._changes, *self._after[:CHANGES_MAX]))


class _Held:
    """What of one kind of text of one choice is not passed on yet, and what was passed on before it."""

    __slots__ = ("_kind", "before", "choice", "role", "text")

    def __init__(self, said: Piece) -> None:
        self._kind = said
        self.choice, self.before, self.text = said.choice, "", ""
        self.role = {Text: "assistant", Reasoning: "thought", ToolCallArguments: "tool_call"}[type(said)]

    def goes_on_with(self, said: Piece) -> bool:
        """Whether it is more of the same text."""
        if isinstance(self._kind, ToolCallArguments) and isinstance(said, ToolCallArguments):
            return said.index == self._kind.index
        return type(said) is type(self._kind)

    def saying(self, text: str) -> Piece:
        """That text, said as the first piece was; without the probabilities of tokens, which would tell what was exchanged."""
        match self._kind:
            case ToolCallArguments(index=index, choice=choice):
                return ToolCallArguments(index, text, choice)
            case Reasoning(choice=choice, format=form):
                return Reasoning(text, choice, format=form)
            case Text(choice=choice):
                return Text(text, choice)


def _cut(window: str, start: int, reach: int, spans: list[tuple[int, int]]) -> int:
    """Up to where it may be passed on: no match that is not found yet can begin before it."""
    cut = len(window) - reach
    if cut <= start:
        return start
    word = WORD.search(window, 0, cut)
    run = 0 if word is None else cut - word.start()
    if run <= WORD_MAX:
        cut -= run
    for first, last in sorted(spans, reverse=True):
        if first < cut < last and last - first <= reach + WORD_MAX:
            cut = first
    return max(cut, start)
