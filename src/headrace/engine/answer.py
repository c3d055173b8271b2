"""One answer as its reader sees it: an asynchronous iterator of what is said, and at any moment what was used."""

import asyncio
from collections import deque
from collections.abc import Callable

from headrace.core.errors import HeadraceError
from headrace.core.stream import Finished, Said, Text, TokenLogprob, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import NOTHING, Usage
from headrace.engine.frames import Began, Spoke
from headrace.engine.request import Order
from headrace.engine.toolcalls import BoundReader, Call, CallReader, Piece, Reader


class Choice:
    """One of the answer's choices: its reader, and whether it is over."""

    def __init__(self, reader: Reader | None) -> None:
        self.reader, self.over, self.calls_said = reader, False, 0


class Answer:
    """What `Engine.chat` returns. Leaving it, by `aclose` or by the cancellation of who waits for it, gives the work up.

    `used` is exact at any moment: all tokens that are known to have been computed. What is said and not read yet waits here, bounded by
    the tokens that the answer may have.
    """

    def __init__(self, id: int, order: Order, model: str, new_id: Callable[[], str], leave: Callable[[int], None]) -> None:
        self.used: Usage = NOTHING
        self._id, self._model, self._new_id, self._leave = id, model, new_id, leave
        self._choices = [Choice(_reader(order)) for _ in range(order.choices)]
        self._said: deque[Said] = deque()
        self._failure: HeadraceError | None = None
        self._over = False
        self._waiter: asyncio.Future[None] | None = None

    def __aiter__(self) -> "Answer":
        return self

    async def __anext__(self) -> Said:
        while not self._said:
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                await self.aclose()
                raise
        return self._said.popleft()

    async def aclose(self) -> None:
        """Give it up: nothing more is said, and within a step nothing more is computed for it."""
        if not self._over:
            self._over = True
            self._leave(self._id)
        self._failure = None
        self._said.clear()

    def began(self, event: Began) -> None:
        self.used = Usage(event.tokens - event.cached, event.cached)

    def spoke(self, event: Spoke) -> bool:
        """Take in what a choice said; whether this was the last of all."""
        cached = self.used.cache_read if event.cached is None else event.cached
        self.used = Usage(self.used.tokens_in - cached, cached, 0, self.used.output + event.tokens)
        choice = self._choices[event.choice]
        if choice.reader is None:
            if event.text or event.logprobs:
                self._text(event.text, event.choice, event.logprobs)
        else:
            self._pieces(choice.reader.feed(event.text), event, choice)
        if event.finish:
            self._finish(event, choice)
        self._wake()
        return self._over

    def fail(self, failure: HeadraceError) -> None:
        """The answer ends here; its reader meets `failure` after what was said."""
        if not self._over:
            self._over, self._failure = True, failure
            self._wake()

    def _finish(self, event: Spoke, choice: Choice) -> None:
        reason = event.finish
        assert reason is not None
        if choice.reader is not None:
            self._pieces(choice.reader.end(), event, choice)
        choice.over = True
        self._said.append(Finished("tool_calls" if choice.calls_said and reason == "stop" else reason, event.choice))
        if all(each.over for each in self._choices):
            self._over = True
            self._said.append(Used(self.used, self._model))

    def _pieces(self, pieces: list[Piece], event: Spoke, choice: Choice) -> None:
        logprobs = event.logprobs
        for piece in pieces:
            if isinstance(piece, Call):
                self._said.append(ToolCallBegun(choice.calls_said, self._new_id(), piece.name, event.choice))
                self._said.append(ToolCallArguments(choice.calls_said, piece.arguments, event.choice))
                choice.calls_said += 1
            else:
                self._text(piece, event.choice, logprobs)
                logprobs = ()

    def _text(self, text: str, choice: int, logprobs: tuple[TokenLogprob, ...]) -> None:
        """Say it, together with what the reader hasn't taken yet: a slow reader gets more at once, not more to do."""
        last = self._said[-1] if self._said else None
        if isinstance(last, Text) and last.choice == choice:
            self._said[-1] = Text(last.text + text, choice, last.logprobs + logprobs)
        else:
            self._said.append(Text(text, choice, logprobs))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _reader(order: Order) -> Reader | None:
    names = frozenset(tool.name for tool in order.tools)
    if order.must_call:
        return BoundReader(names)
    return CallReader(names, order.calls_max) if names and not order.sampling.schema else None
