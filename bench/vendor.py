"""A vendor for load: streams of 100 events, 20 ms apart, as cheap as Python can send them; and the answer that nginx gives unstreamed.

python -m bench.vendor PORT [EVENTS INTERVAL_MS]
"""

import asyncio
import json
import sys

import httptools
import uvloop

EVENTS, INTERVAL_S = 100, 0.02
_USAGE = {"prompt_tokens": 512, "completion_tokens": EVENTS, "total_tokens": 512 + EVENTS, "prompt_tokens_details": {"cached_tokens": 256}}
_HEAD = {"id": "chatcmpl-bench", "created": 1_760_000_000, "model": "mock", "service_tier": "default", "system_fingerprint": "fp_1"}
_MESSAGE = {"role": "assistant", "content": "Every token is metered and none is lost. " * 12, "refusal": None}
ANSWER = json.dumps(
    {
        **_HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": _MESSAGE, "logprobs": None, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
)


def _frame(choices: list[object], usage: object) -> bytes:
    return b"data: " + json.dumps({**_HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage}).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


BEGIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = _chunk(_frame([{"index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": None}], None))
END = (
    _chunk(_frame([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}], None))
    + _chunk(_frame([], _USAGE) + b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Vendor(asyncio.Protocol):
    """Answers every request with a stream."""

    events, interval_s = EVENTS, INTERVAL_S

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's are like it
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._left = 0

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._left = self.events
        self._transport.write(BEGIN)
        self._tick()

    def _tick(self) -> None:
        if self._transport.is_closing():
            return
        if self._left == 0:
            self._transport.write(END)
            return
        self._left -= 1
        self._transport.write(EVENT)
        self._loop.call_later(self.interval_s, self._tick)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        Vendor.events, Vendor.interval_s = int(sys.argv[2]), int(sys.argv[3]) / 1000
    uvloop.run(main(int(sys.argv[1])))
