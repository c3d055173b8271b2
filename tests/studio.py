"""A vendor that draws, speaks, listens and judges over a real socket, at OpenAI's paths, and has one path of its own.

The model's name says how it tells what it used: `tokens/…` in tokens, `units/…` in what else is counted, `silent/…` not at all.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.server import listening

PNG = "iVBORw0KGgo="
SOUND = b"ID3" + bytes(range(256)) * 400
WORDS = "Water runs down the headrace."
SECONDS = 2.4
IMAGE_USAGE = {
    "input_tokens": 60,
    "output_tokens": 1_056,
    "total_tokens": 1_116,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 50},
}
SOUND_USAGE = {
    "type": "tokens",
    "input_tokens": 24,
    "output_tokens": 7,
    "total_tokens": 31,
    "input_token_details": {"text_tokens": 4, "audio_tokens": 20},
}


@dataclass
class Sent:
    """One request as the vendor got it: JSON, or the parts of a form by name."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    files: dict[str, list[tuple[str | None, bytes]]] = field(default_factory=dict)


@dataclass
class Studio:
    url: str = ""
    sent: list[Sent] = field(default_factory=list)

    @property
    def last(self) -> Sent:
        return self.sent[-1]

    @staticmethod
    @contextmanager
    def open() -> "Iterator[Studio]":
        studio = Studio()

        class Handler(_Handler):
            told = studio

        with listening(Handler) as port:
            studio.url = f"http://127.0.0.1:{port}/v1"
            yield studio


class _Handler(BaseHTTPRequestHandler):
    told: Studio
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b'{"object":"list","data":[]}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        sent = _read(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
        self.told.sent.append(sent)
        asked, kind = sent.body, str(sent.body["model"]).partition("/")[0]
        match self.path.removeprefix("/v1"):
            case "/moderations":
                results = [{"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.9}}]
                self._answer(json.dumps({"id": "modr-1", "model": asked["model"], "results": results}).encode())
            case "/images/generations" | "/images/edits" | "/images/variations" if asked.get("stream") in (True, "true"):
                partial = {"type": "image_generation.partial_image", "b64_json": PNG, "partial_image_index": 0}
                done = {"type": "image_generation.completed", "b64_json": PNG, "usage": IMAGE_USAGE}
                self._stream(partial, done)
            case "/images/generations" | "/images/edits" | "/images/variations":
                usage = {"usage": IMAGE_USAGE} if kind == "tokens" else {}
                images = [{"b64_json": PNG}] * int(asked.get("n", 1))
                self._answer(json.dumps({"created": 1, "data": images, **usage}).encode())
            case "/audio/speech" if asked.get("stream_format") == "sse":
                spoken = {"input_tokens": 9, "output_tokens": 41, "total_tokens": 50}
                self._stream({"type": "speech.audio.delta", "audio": "AAAA"}, {"type": "speech.audio.done", "usage": spoken})
            case "/audio/speech":
                self._chunked("audio/mpeg", *(SOUND[at : at + 8_192] for at in range(0, len(SOUND), 8_192)))
            case "/audio/transcriptions" | "/audio/translations" if asked.get("stream") == "true":
                deltas = [{"type": "transcript.text.delta", "delta": word} for word in WORDS.split(" ")]
                self._stream(*deltas, {"type": "transcript.text.done", "text": WORDS, "usage": SOUND_USAGE})
            case "/audio/transcriptions" | "/audio/translations" if asked.get("response_format") == "text":
                self._answer(WORDS.encode(), "text/plain; charset=utf-8")
            case "/audio/transcriptions" | "/audio/translations":
                heard = {"tokens": SOUND_USAGE, "units": {"type": "duration", "seconds": SECONDS}}.get(kind)
                self._answer(json.dumps({"text": WORDS, "usage": heard}).encode())
            case "/rerank":
                told: dict[str, Any] = {"results": [{"index": 0, "relevance_score": 0.9}]}
                told |= {"usage": {"total_tokens": 33}} if kind == "tokens" else {"meta": {"billed_units": {"search_units": 2}}}
                self._answer(json.dumps(told).encode())
            case other:
                self._answer(json.dumps({"error": {"message": f"no {other} here", "type": "invalid_request_error"}}).encode(), status=404)

    def _stream(self, *events: dict[str, Any]) -> None:
        self._chunked("text/event-stream", *(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events))

    def _chunked(self, kind: str, *pieces: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in (*pieces, b""):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()

    def _answer(self, body: bytes, kind: str = "application/json", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _read(path: str, headers: dict[str, str], raw: bytes) -> Sent:
    kind = headers["content-type"]
    if not kind.startswith("multipart/form-data"):
        return Sent(path, headers, json.loads(raw))
    whole: Message = message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + raw)
    sent = Sent(path, headers, {})
    for part in whole.walk():
        if part.is_multipart():
            continue
        name, content = str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is None:
            sent.body[name] = content.decode()
        else:
            sent.files.setdefault(name, []).append((part.get_filename(), content))
    return sent
