"""How an answer is spoken into an exchange: as it comes, or gathered into one. Both hear the same events."""

from collections.abc import Callable

from headrace.api.errors import body_of
from headrace.api.socket import Exchange
from headrace.core.ask import Ask
from headrace.core.errors import HeadraceError
from headrace.core.stream import Said, Verbatim
from headrace.wire import sse
from headrace.wire.openai_answer import AnswerGatherer, ChunkWriter

STREAM_HEADERS = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"
JSON_HEADERS = b"content-type: application/json\r\n"


class OfExchange:
    """Whatever speaks into an exchange: its client is there, and waits, as the exchange's."""

    _exchange: Exchange

    @property
    def left(self) -> bool:
        return self._exchange.left

    @property
    def patience_s(self) -> float:
        return self._exchange.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._exchange.patience_s = seconds


class _Voice(OfExchange):
    """What both share: the exchange they speak into, and whether the client has heard anything yet."""

    def __init__(self, exchange: Exchange, headers: Callable[[], bytes]) -> None:
        self._exchange, self._headers = exchange, headers
        self.begun = self.lost = False
        self.gate = exchange


class Streamed(_Voice):
    """Server-sent events, each written when it is said. The head goes out with the first, so that a failure before it has a status."""

    def __init__(self, exchange: Exchange, ask: Ask, created: Callable[[], int], headers: Callable[[], bytes]) -> None:
        super().__init__(exchange, headers)
        self._ask, self._created = ask, created
        self.verbatim: Exchange | None = exchange
        self._writer: ChunkWriter | None = None

    def hear(self, said: Said) -> None:
        data = said.data if type(said) is Verbatim else self._written(said)
        if not data:
            return
        if not self.begun:
            self._begin()
        self._exchange.write(data)

    def _written(self, said: Said) -> bytes:
        """In our own words, which a relayed answer needs none of."""
        if self._writer is None:
            ask = self._ask
            self._writer = ChunkWriter(
                id=f"chatcmpl-{ask.request[4:]}", model=ask.model, created=self._created(), include_usage=ask.include_usage
            )
        return self._writer.write(said)

    def finish(self, trailer: bytes) -> None:
        self._begin()
        self._exchange.end(trailer)

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self._exchange.begin(STREAM_HEADERS + self._headers())

    def break_off(self, error: HeadraceError) -> None:
        """Say what happened where the rest of the answer would have been."""
        self._exchange.write(sse.frame(body_of(error)))
        self._exchange.end()


class Gathered(_Voice):
    """One answer, when all is said."""

    verbatim = None  # a part of an answer is not said

    def __init__(self, exchange: Exchange, ask: Ask, created: Callable[[], int], headers: Callable[[], bytes]) -> None:
        super().__init__(exchange, headers)
        self._ask, self._created = ask, created
        self._whole: list[bytes] = []
        self._said: list[Said] = []

    def hear(self, said: Said) -> None:
        if type(said) is Verbatim:
            self._whole.append(said.data)
        else:
            self._said.append(said)

    def finish(self, trailer: bytes) -> None:
        self.begun = True
        whole = self._whole
        answer = self._written() if not whole else whole[0] if len(whole) == 1 else b"".join(whole)
        self._exchange.answer(200, JSON_HEADERS + self._headers(), answer)

    def _written(self) -> bytes:
        """In our own words, which a relayed answer needs none of."""
        gatherer = AnswerGatherer(id=f"chatcmpl-{self._ask.request[4:]}", model=self._ask.model, created=self._created())
        for said in self._said:
            gatherer.hear(said)
        return gatherer.answer()

    def break_off(self, error: HeadraceError) -> None:
        raise error  # nothing is said before all is
