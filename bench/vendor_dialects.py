"""A vendor for load that answers in the dialect that it is asked in: streams of 100 events, 20 ms apart, or at once and whole.

python -m bench.vendor_dialects PORT
"""

import asyncio
import json
import sys
from typing import Any

import uvloop

from bench.vendor import ANSWER, BEGIN, END, EVENT, Vendor, _chunk

_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "mock",
    "content": [],
    "usage": {"input_tokens": 512, "output_tokens": 1},
}
_RESPONSE: dict[str, Any] = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "mock", "output": []}
_USAGE = {"input_tokens": 512, "output_tokens": 100, "total_tokens": 612}
_WORD = " token"


def _framed(*events: dict[str, Any]) -> bytes:
    return b"".join(_chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()) for event in events)


DIALECTS: dict[bytes, tuple[bytes, bytes, bytes]] = {
    b"/v1/chat/completions": (BEGIN, EVENT, END),
    b"/v1/messages": (
        BEGIN
        + _framed(
            {"type": "message_start", "message": _MESSAGE},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ),
        _framed({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": _WORD}}),
        _framed(
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}},
            {"type": "message_stop"},
        )
        + b"0\r\n\r\n",
    ),
    b"/v1/responses": (
        BEGIN + _framed({"type": "response.created", "sequence_number": 0, "response": _RESPONSE}),
        _framed(
            {
                "type": "response.output_text.delta",
                "sequence_number": 1,
                "item_id": "msg_1",
                "output_index": 0,
                "content_index": 0,
                "delta": _WORD,
                "logprobs": [],
            }
        ),
        _framed({"type": "response.completed", "sequence_number": 2, "response": {**_RESPONSE, "status": "completed", "usage": _USAGE}})
        + b"0\r\n\r\n",
    ),
}
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER.encode())


class Polyglot(Vendor):
    """Answers in the dialect of the path."""

    def on_url(self, url: bytes) -> None:
        self._dialect = DIALECTS[url]
        self._stream = False

    def on_body(self, body: bytes) -> None:
        self._stream = self._stream or b'"stream": true' in body or b'"stream":true' in body

    def on_message_complete(self) -> None:
        if not self._stream:
            self._transport.write(WHOLE)
            return
        self._left = self.events
        self._transport.write(self._dialect[0])
        self._tick()

    def _tick(self) -> None:
        if self._transport.is_closing():
            return
        if self._left == 0:
            self._transport.write(self._dialect[2])
            return
        self._left -= 1
        self._transport.write(self._dialect[1])
        self._loop.call_later(self.interval_s, self._tick)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Polyglot, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
