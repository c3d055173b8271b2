"""A vendor that speaks OpenAI's dialect over a real socket, behaves as badly as it is told to, and keeps its own bill.

The model's name says how it behaves, up to a slash: `cut-mid-stream/7` is answered by the script `cut-mid-stream`. What it has
computed for a request it bills, whether or not anybody hears it; the tests compare its bills with headrace's books.
"""

import asyncio
import contextlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

TOKENS_IN = 7
WORDS = ("Water ", "runs ", "down ", "the ", "headrace.")
TEXT = "".join(WORDS)
STALL_S = 8.0
FLOOD_SIZE = 125_000
FLOODS = 600


@dataclass
class Bill:
    """What the vendor has computed for one request so far."""

    model: str
    tokens_in: int = TOKENS_IN
    tokens_out: int = 0
    hung_up: bool = False


@dataclass
class Call:
    """One request that is being answered."""

    vendor: "Vendor"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str
    asked: dict[str, Any]
    bill: Bill
    piece_size: int = 0
    chunked: bool = True
    newline: bytes = b"\n"
    usage_in: str = "own chunk"

    @property
    def streamed(self) -> bool:
        return bool(self.asked.get("stream"))

    @property
    def gone(self) -> bool:
        """The client has hung up."""
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.transport.is_closing()

    async def wait(self, seconds: float) -> None:
        """Let time pass, unless the client hangs up."""
        for _ in range(max(1, round(seconds / 0.02))):
            if self.gone:
                raise ConnectionResetError
            await asyncio.sleep(0.02 if seconds else 0)

    async def send(self, data: bytes) -> None:
        if self.gone:
            raise ConnectionResetError
        size = self.piece_size or len(data)
        for start in range(0, len(data), size):
            self.writer.write(data[start : start + size])
            await self.writer.drain()
            if self.piece_size:
                await asyncio.sleep(0)

    async def answer(self, status: str, body: bytes, *lines: str, kind: str = "application/json") -> None:
        """A whole answer."""
        head = "\r\n".join((f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *lines, "", ""))
        await self.send(head.encode() + body)

    async def begin(self) -> None:
        """The head of a streamed answer, and the chunk that names the role."""
        coding = "transfer-encoding: chunked\r\n" if self.chunked else "connection: close\r\n"
        await self.send(f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{coding}\r\n".encode())
        await self.chunk([self.choice({"role": "assistant", "content": ""})])

    async def say(self, words: tuple[str, ...], pause_s: float = 0.0) -> None:
        for word in words:
            if pause_s:
                await self.wait(pause_s)
            self.bill.tokens_out += 1
            await self.chunk([self.choice({"content": word})])

    async def finish(self, reason: str = "stop") -> None:
        """The last chunk, the usage where the client asked for it, the mark of the end."""
        asked = (self.asked.get("stream_options") or {}).get("include_usage")
        last = self.usage if asked and self.usage_in == "last chunk" else None
        await self.chunk([self.choice({}, reason)], last)
        if asked and self.usage_in == "own chunk":
            await self.chunk([], self.usage)
        await self.data(b"data: [DONE]" + self.newline * 2)
        await self.end()

    async def end(self) -> None:
        if self.chunked:
            await self.send(b"0\r\n\r\n")
        else:
            self.writer.close()

    async def chunk(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> None:
        if self.usage_in == "every chunk":
            usage = self.usage
        await self.data(self.frame(choices, usage))

    def frame(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        return b"data: " + json.dumps(self.completion("chat.completion.chunk", choices, usage)).encode() + self.newline * 2

    async def data(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    @property
    def usage(self) -> dict[str, Any]:
        tokens_in, tokens_out = self.bill.tokens_in, self.bill.tokens_out
        return {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}

    def choice(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}

    def completion(self, kind: str, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> dict[str, Any]:
        return {"id": "chatcmpl-vendor", "object": kind, "created": 1, "model": self.bill.model, "choices": choices, "usage": usage}

    def whole(self, text: str = TEXT) -> bytes:
        """An unstreamed answer, which is billed with this."""
        self.bill.tokens_out = len(WORDS)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = None if self.usage_in == "never" else self.usage
        return json.dumps(self.completion("chat.completion", [choice], usage)).encode()

    def cut(self) -> None:
        """The connection dies."""
        self.writer.transport.abort()


Script: TypeAlias = Callable[[Call], Awaitable[None]]


async def answers(call: Call, pause_s: float = 0.0) -> None:
    """As it should be."""
    if not call.streamed:
        await call.wait(pause_s)
        await call.answer("200 OK", call.whole())
        return
    await call.begin()
    await call.say(WORDS, pause_s)
    await call.finish()


async def answers_slowly(call: Call) -> None:
    await answers(call, 0.1)


async def talks_until_stopped(call: Call) -> None:
    """Streamed: a word a token, until the length that it was asked for is reached."""
    await call.begin()
    cap = int(call.asked.get("max_completion_tokens") or call.asked.get("max_tokens") or 5_000)
    await call.say((WORDS * (cap // len(WORDS) + 1))[:cap])
    await call.finish("length")


async def answers_long(call: Call) -> None:
    """A long answer; unstreamed, a long silence before it."""
    if not call.streamed:
        call.bill.tokens_out = len(WORDS)
        await call.wait(3.0)
        await call.answer("200 OK", call.whole())
        return
    await call.begin()
    await call.say(WORDS * 40, 0.02)
    await call.finish()


async def answers_an_embedding(call: Call) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]
    usage = {"prompt_tokens": TOKENS_IN, "total_tokens": TOKENS_IN}
    await call.answer("200 OK", json.dumps({"object": "list", "data": data, "model": call.bill.model, "usage": usage}).encode())


def telling_usage(where: str) -> Script:
    async def script(call: Call) -> None:
        call.usage_in = where
        await answers(call)

    return script


async def byte_by_byte(call: Call) -> None:
    call.piece_size = 1
    await answers(call)


async def with_crlf(call: Call) -> None:
    call.newline = b"\r\n"
    await answers(call)


async def until_eof(call: Call) -> None:
    """Neither a length nor chunks: the answer ends where the connection does."""
    call.chunked = False
    if call.streamed:
        await answers(call)
        return
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" + call.whole())
    call.writer.close()


async def huge_frames(call: Call) -> None:
    text = "x" * 3_000_000
    if not call.streamed:
        await call.answer("200 OK", call.whole(text))
        return
    await call.begin()
    await call.say((text,))
    await call.finish()


async def floods(call: Call) -> None:
    """25 MB, or streams 75, as fast as they are taken."""
    call.bill.tokens_out = len(WORDS)
    if not call.streamed:
        await call.answer("200 OK", call.whole("x" * 25_000_000))
        return
    await call.begin()
    await call.say(("x" * FLOOD_SIZE,) * FLOODS)
    await call.finish()


async def cut_mid_stream(call: Call) -> None:
    if not call.streamed:
        body = call.whole()
        await call.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body[: len(body) // 2]
        )
        await asyncio.sleep(0.05)
        call.cut()
        return
    await call.begin()
    await call.say(WORDS[:2])
    await asyncio.sleep(0.05)
    call.cut()


async def cut_mid_frame(call: Call) -> None:
    if not call.streamed:
        await cut_mid_stream(call)
        return
    await call.begin()
    await call.say(WORDS[:2])
    await call.data(b'data: {"id":"chatcmpl-vendor","choices":[{"index":0,"del')
    await asyncio.sleep(0.05)
    call.cut()


async def cut_before_done(call: Call) -> None:
    """The HTTP is whole and the stream is not: it ends without usage or `[DONE]`."""
    if not call.streamed:
        await cut_mid_stream(call)
        return
    await call.begin()
    await call.say(WORDS[:2])
    await call.end()


async def cut_at_once(call: Call) -> None:
    call.cut()


async def stalls_at_once(call: Call) -> None:
    await call.wait(STALL_S)
    call.cut()


async def stalls_between(call: Call) -> None:
    if not call.streamed:
        body = call.whole()
        await call.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body[: len(body) // 2]
        )
    else:
        await call.begin()
        await call.say(WORDS[:2])
    await stalls_at_once(call)


ERROR = b'{"error": {"message": "CUDA out of memory", "type": "server_error", "param": null, "code": null}}'
BROKEN = b'{"id": "chatcmpl-vendor", "choices": [], "usage": {"prompt_tokens": 7, "completion'


def breaking_with(said: bytes, words: tuple[str, ...] = WORDS[:2], pause_s: float = 0.0) -> Script:
    """200, and in the middle of it, or as all of it, `said`."""

    async def script(call: Call) -> None:
        if not call.streamed:
            call.bill.tokens_out = len(words)
            await call.answer("200 OK", said)
            return
        await call.begin()
        await call.say(words)
        await asyncio.sleep(pause_s)
        await call.data(b"data: " + said + b"\n\n")
        await call.end()

    return script


async def error_frame_first(call: Call) -> None:
    """200, and the only thing said is that it failed."""
    if not call.streamed:
        await call.answer("200 OK", ERROR)
        return
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    await call.data(b"data: " + ERROR + b"\n\n")
    await call.end()


async def error_in_one_write(call: Call) -> None:
    """The words and the error after them arrive together."""
    words = b"".join(call.frame([call.choice({"content": word})]) for word in WORDS[:2])
    call.bill.tokens_out = 2
    body = words + b"data: " + ERROR + b"\n\n"
    await call.answer("200 OK", body, kind="text/event-stream")


def refusing(status: str, message: str, *lines: str) -> Script:
    """An error in OpenAI's form."""

    async def script(call: Call) -> None:
        kind = "invalid_request_error" if status.startswith("4") else "server_error"
        body = {"error": {"message": message, "type": kind, "param": None, "code": "vendor_code"}}
        await call.answer(status, json.dumps(body).encode(), *lines)

    return script


async def html_error(call: Call) -> None:
    await call.answer("502 Bad Gateway", b"<html><h1>502</h1></html>", kind="text/html")


async def not_http(call: Call) -> None:
    await call.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


async def endless_head(call: Call) -> None:
    await call.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(3_000):
        await call.send(b"x-filler-%d: %s\r\n" % (number, b"y" * 60))
    await call.wait(STALL_S)


async def closes_after(call: Call) -> None:
    """A good answer that promises to keep the connection, and then closes it."""
    await answers(call)
    call.writer.close()


async def closes_when_asked_again(call: Call) -> None:
    """A good answer; the next request on this connection meets a vendor that is just closing it."""
    await answers(call)
    await call.reader.read(1)
    call.cut()


SCRIPTS: dict[str, Script] = {
    "answers": answers,
    "answers-slowly": answers_slowly,
    "answers-long": answers_long,
    "talks-until-stopped": talks_until_stopped,
    "embeds": answers_an_embedding,
    "usage-in-last-chunk": telling_usage("last chunk"),
    "usage-in-every-chunk": telling_usage("every chunk"),
    "usage-never": telling_usage("never"),
    "byte-by-byte": byte_by_byte,
    "with-crlf": with_crlf,
    "until-eof": until_eof,
    "huge-frames": huge_frames,
    "floods": floods,
    "cut-mid-stream": cut_mid_stream,
    "cut-mid-frame": cut_mid_frame,
    "cut-before-done": cut_before_done,
    "cut-at-once": cut_at_once,
    "stalls-at-once": stalls_at_once,
    "stalls-between": stalls_between,
    "error-frame": breaking_with(ERROR, pause_s=0.4),
    "error-frame-first": error_frame_first,
    "error-in-one-write": error_in_one_write,
    "broken-json": breaking_with(BROKEN, pause_s=0.4),
    "500": refusing("500 Internal Server Error", "the vendor broke"),
    "503": refusing("503 Service Unavailable", "the vendor is full"),
    "429-ms": refusing("429 Too Many Requests", "slow down", "retry-after-ms: 250", "retry-after: 9"),
    "429-s": refusing("429 Too Many Requests", "slow down", "retry-after: 2"),
    "401": refusing("401 Unauthorized", "wrong key"),
    "404": refusing("404 Not Found", "no such model"),
    "400": refusing("400 Bad Request", "temperature must be at most 2"),
    "html-error": html_error,
    "not-http": not_http,
    "endless-head": endless_head,
    "closes-after": closes_after,
    "closes-when-asked-again": closes_when_asked_again,
}


def _heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client that resets its connection is what happens here all day; anything else is told."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


@dataclass
class Vendor:
    """The vendor's own view of things. Read by the test's thread, written by the vendor's."""

    bills: list[Bill] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    @classmethod
    @contextlib.contextmanager
    def open(cls) -> Iterator["Vendor"]:
        """A vendor that listens on loopback, in a thread of its own, for as long as the block lasts."""
        vendor = cls()
        ready = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(vendor._live(ready)), daemon=True)
        thread.start()
        assert ready.wait(5)
        try:
            yield vendor
        finally:
            vendor._loop.call_soon_threadsafe(vendor._stop.set)
            thread.join(10)

    def bills_of(self, model: str) -> list[Bill]:
        return [bill for bill in tuple(self.bills) if bill.model == model]

    def by_model(self) -> dict[str, list[Bill]]:
        found: defaultdict[str, list[Bill]] = defaultdict(list)
        for bill in tuple(self.bills):
            found[bill.model].append(bill)
        return dict(found)

    @property
    def asked(self) -> Counter[str]:
        """How often each model was asked for."""
        return Counter(bill.model for bill in tuple(self.bills))

    async def _live(self, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(_heard)
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        ready.set()
        await self._stop.wait()
        server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while not writer.is_closing():
                await self._one(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client hung up, or the test is over
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if head.startswith("GET "):  # a probe
            writer.write(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 27\r\n\r\n{"object":"list","data":[]}')
            await writer.drain()
            return
        length = next(int(line[15:]) for line in head.lower().splitlines() if line.startswith("content-length:"))
        body = await reader.readexactly(length)
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            writer.write(
                b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ERROR), ERROR)
            )
            await writer.drain()
            return
        bill = Bill(asked["model"])
        self.bills.append(bill)
        self.heads.append(head)
        self.bodies.append(asked)
        script = SCRIPTS[asked["model"].partition("/")[0]]
        try:
            await script(Call(self, reader, writer, head, asked, bill))
        except OSError:
            bill.hung_up = True
            raise
