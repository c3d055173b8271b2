"""What is posted to OpenAI's other paths, and to those that vendors have beside them: moderations, images, speech, transcriptions, and
what a pool passes through.

All of them take the way of a chat: a key, limits, rules, a budget, a pool that offers it, an attempt in the log. What comes back passes as
it came: JSON, sound, text, or a stream of events.
"""

from collections.abc import Mapping

from headrace.api.askers import Askers, Keys
from headrace.api.asking import Reader
from headrace.api.door import limits_told
from headrace.api.errors import answer_for
from headrace.api.foreign import Foreign, Voice
from headrace.api.heads import Handler
from headrace.api.socket import Exchange
from headrace.api.telling import about
from headrace.api.voices import OfExchange
from headrace.core.ask import Ask, Operation
from headrace.core.errors import HeadraceError, InvalidRequest, RateLimited, UnsupportedMediaType
from headrace.core.identity import Principal
from headrace.core.stream import Said, Verbatim
from headrace.gateway import Visit, World
from headrace.providers import Tap
from headrace.wire import posts
from headrace.wire.forms import is_form

ROOT = "/v1"
POST_PATHS = tuple(ROOT + path for path in posts.PATHS)


class Posts:
    """The handlers."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign, self._reader = foreign, Reader(foreign.gateway, foreign.clock)
        self._world: World | None = None
        self._passed: frozenset[str] = frozenset()

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """In the order of `POST_PATHS`."""
        return tuple(self._handler(path) for path in posts.PATHS)

    def other(self, url: bytes) -> Handler | None:
        """Who serves a POST to a path that is none of ours: a vendor's, exactly as the settings name it; None: nobody."""
        path, mark, _ = url.partition(b"?")
        name = path.decode("latin-1").removeprefix(ROOT)
        if len(name) == len(path) or name not in self._passing() or name in posts.PATHS:
            return None
        return self._handler(name, query=bool(mark))

    def _passing(self) -> frozenset[str]:
        world = self._foreign.gateway.world
        if world is not self._world:
            self._world = world
            self._passed = frozenset(path for pool in world.snapshot.pools.values() for path in pool.paths)
        return self._passed

    def _handler(self, path: str, *, query: bool = False) -> Handler:
        operation: Operation = posts.PATHS.get(path, "pass_through")
        manner = _Manner(self._reader, self._foreign.keys, path, query=query)

        async def handle(exchange: Exchange) -> None:
            await self._foreign.serve(exchange, manner, operation, _body)

        return handle


class _Manner:
    """One path, at the door."""

    cacheable = True

    def __init__(self, reader: Reader, keys: Keys, path: str, *, query: bool) -> None:
        self._reader, self._askers, self._path, self._query = reader, Askers(keys), path, query

    def authenticate(self, headers: Mapping[bytes, bytes], keys: Keys) -> Principal:
        return self._askers.of(headers.get(b"authorization"))

    async def read(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask:
        if self._query:
            raise InvalidRequest(f"{ROOT}{self._path} takes no query: what stands behind the question mark is passed on to nobody.")
        return self._reader.post(request, principal, headers, self._path, body)

    def voice(self, exchange: Exchange, ask: Ask, visit: Visit) -> Voice:
        return PostVoice(exchange, ask, visit)

    def refusal(self, error: HeadraceError, request: str) -> tuple[int, bytes, bytes]:
        status, headers, body = answer_for(error)
        if isinstance(error, RateLimited):
            headers += limits_told(error.left).encode()
        return status, headers + f"x-request-id: {request}\r\nopenai-version: 2020-10-01\r\n".encode(), body


class PostVoice(OfExchange):
    """Passes on what is said, whole or as it comes."""

    verbatim: Tap | None = None
    lost = False

    def __init__(self, exchange: Exchange, ask: Ask, visit: Visit) -> None:
        self._exchange, self._ask, self._visit = exchange, ask, visit
        self._whole: list[bytes] = []
        self._kind = "application/json"
        self.begun = False
        self.gate = exchange

    def hear(self, said: Said) -> None:
        if not isinstance(said, Verbatim):
            return
        self._kind = said.kind or self._kind
        if not self._ask.stream:
            self._whole.append(said.data)
        elif said.data:
            self._begin()
            self._exchange.write(said.data)

    async def before_end(self) -> None:
        """Nothing is kept."""

    def finish(self, trailer: bytes) -> None:
        if self._ask.stream:
            self._begin()
            self._exchange.end(trailer)
        else:
            self.begun = True
            self._exchange.answer(200, self._headers(), b"".join(self._whole))

    def break_off(self, error: HeadraceError) -> None:
        """Sound can't tell of a failure: there the connection ends in the middle, so that nobody takes the part for the whole."""
        if "event-stream" in self._kind:
            _, _, body = answer_for(error)
            self._exchange.write(b"event: error\ndata: %b\n\n" % body)
            self._exchange.end()
        else:
            self._exchange.cut()

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self._exchange.begin(b"cache-control: no-cache\r\nx-accel-buffering: no\r\n" + self._headers())

    def _headers(self) -> bytes:
        ask, visit = self._ask, self._visit
        told = f"content-type: {self._kind}\r\nx-request-id: {ask.request}\r\nopenai-version: 2020-10-01\r\n"
        told += f"openai-organization: {ask.principal.organization}\r\n{about(ask, visit)}{limits_told(visit.left)}"
        return told.encode("latin-1", "replace")


def _body(exchange: Exchange) -> bytes:
    kind = exchange.headers.get(b"content-type", b"")
    if not is_form(kind) and kind.partition(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType(
            f"The request's content type is {kind.decode('latin-1')!r}: send application/json, or multipart/form-data where a file is sent."
        )
    return exchange.body
