"""What the official clients do by themselves when things go wrong behind us: they are told whether and when to try again, and an answer
that broke off is an error in their own classes, never half an answer that looks whole.

A model's name says how its vendor begins: `429/…`, `500/…` and `slow/…` fail once and then answer, `cut/…` dies in the middle of each
stream.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import anthropic
import openai
import pytest

from tests import javascript
from tests.server import Installation, Running, listening

SLOW_S = 1.0
CHATS = [f"{how}/{who}" for how in ("429", "500", "slow", "cut") for who in ("chat", "responses", "messages", "async", "claude", "node")]
OTHERS = {"embeddings": "500/embeds", "moderations": "500/judge", "images": "500/painter"}
SETTINGS = """
[transport]
first_byte_timeout_ms = {timeout_ms}

[health]
failures_max = 1000
failure_share = 1.0
samples_min = 10000
overloaded_ms = 1

[[pool]]
name = "vendor"
endpoints = ["http://127.0.0.1:{port}/v1"]
models = {{ {models} }}
"""


class Flaky(BaseHTTPRequestHandler):
    """One chat, embedding, verdict or picture, after whatever its model's name begins with."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[str]] = Counter()

    def log_message(self, format: str, *values: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._send(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        how = asked["model"].partition("/")[0]
        self.seen[asked["model"]] += 1
        if how == "cut" and asked.get("stream"):
            self._stream(asked, whole=False)
        elif self.seen[asked["model"]] == 1 and how != "cut":
            self._fail(how)
        elif asked.get("stream"):
            self._stream(asked, whole=True)
        else:
            self._send(200, _answer(self.path, asked["model"]))

    def _fail(self, how: str) -> None:
        if how == "429":
            self._send(429, {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}, "retry-after-ms: 1")
        elif how == "500":
            self._send(500, {"error": {"message": "a fault", "type": "server_error", "code": None}})
        else:
            time.sleep(SLOW_S)
            self.close_connection = True

    def _stream(self, asked: dict[str, Any], *, whole: bool) -> None:
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": asked["model"]}
        choice = {"index": 0, "delta": {"role": "assistant", "content": "Water runs "}, "finish_reason": None}
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        said = [{**chunk, "choices": [choice]}, {**chunk, "choices": [end]}, {**chunk, "choices": [], "usage": usage}]
        for one in said if whole else said[:1]:
            data = b"data: " + json.dumps(one).encode() + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if whole:
            self.wfile.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        self.close_connection = not whole

    def _send(self, status: int, body: dict[str, Any], *lines: str) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        for line in (*lines, "content-type: application/json", f"content-length: {len(raw)}"):
            self.send_header(*line.split(": ", 1))
        self.end_headers()
        self.wfile.write(raw)


def _answer(path: str, model: str) -> dict[str, Any]:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    match path.removeprefix("/v1"):
        case "/embeddings":
            return {"object": "list", "model": model, "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "usage": usage}
        case "/moderations":
            return {"id": "m", "model": model, "results": [{"flagged": False, "categories": {}, "category_scores": {}}]}
        case "/images/generations":
            return {"created": 1, "data": [{"b64_json": "eA=="}], "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}
        case _:
            message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Water."}}
            return {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [message], "usage": usage}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with listening(Flaky) as port:
        named = ", ".join(f'"{name}" = "{name}"' for name in (*CHATS, *OTHERS.values()))
        settings = SETTINGS.format(port=port, models=named, timeout_ms=int(SLOW_S * 400))
        settings += "".join(f'\n[[model]]\nname = "{name}"\noperations = ["{kind}"]\n' for kind, name in OTHERS.items())
        with Installation(tmp_path_factory.mktemp("retries"), settings).serving() as running:
            yield running


def chat(server: Running, how: str, retries: int) -> str | None:
    with openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=retries) as client:
        told = client.chat.completions.create(model=f"{how}/chat", messages=[{"role": "user", "content": "hi"}])
    return told.choices[0].message.content


def response(server: Running, how: str, retries: int) -> str | None:
    with openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=retries) as client:
        return client.responses.create(model=f"{how}/responses", input="hi").output_text


def message(server: Running, how: str, retries: int) -> str | None:
    with anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=retries) as client:
        told: Any = client.messages.create(model=f"{how}/messages", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
    return str(told.content[0].text)


ASKED: list[Callable[[Running, str, int], str | None]] = [chat, response, message]
STATUS = {"429": (429, 503), "500": (502,), "slow": (504,)}


@pytest.mark.parametrize("how", STATUS)
@pytest.mark.parametrize("asked", ASKED)
def test_what_failed_once_is_tried_again_by_the_client_itself(server: Running, how: str, asked: Callable[..., str | None]):
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as failed:
        asked(server, how, 0)
    error: Any = failed.value
    anthropics = {503: 529}
    known = STATUS[how] if asked is not message else tuple(anthropics.get(one, one) for one in STATUS[how])
    assert error.status_code in known
    assert error.request_id
    name = f"{how}/{'messages' if asked is message else 'responses' if asked is response else 'chat'}"
    Flaky.seen[name] = 0
    assert asked(server, how, 3) == "Water."
    assert Flaky.seen[name] == 2, "once more, and no more often"


async def test_the_async_clients_do_so_too(server: Running):
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key=server.key, max_retries=3) as client:
        told = await client.chat.completions.create(model="500/async", messages=[{"role": "user", "content": "hi"}])
        assert (told.choices[0].message.content, Flaky.seen["500/async"]) == ("Water.", 2)
        with pytest.raises(openai.APIError):
            async for _ in await client.chat.completions.create(
                model="cut/async", messages=[{"role": "user", "content": "hi"}], stream=True
            ):
                pass
    async with anthropic.AsyncAnthropic(base_url=server.url, api_key=server.key, max_retries=3) as claude:
        said: Any = await claude.messages.create(model="500/claude", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
        assert (said.content[0].text, Flaky.seen["500/claude"]) == ("Water.", 2)


def test_other_routes_are_tried_again(server: Running):
    for name in OTHERS.values():
        Flaky.seen[name] = 0
    with openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=3) as client:
        assert client.embeddings.create(model=OTHERS["embeddings"], input="x").data
        assert client.moderations.create(model=OTHERS["moderations"], input="x").results
        assert client.images.generate(model=OTHERS["images"], prompt="x").data
    assert {Flaky.seen[name] for name in OTHERS.values()} == {2}


def test_a_stream_that_broke_off_is_an_error_and_not_tried_again(server: Running):
    heard: list[Any] = []
    with openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=3) as client:
        stream = client.chat.completions.create(model="cut/chat", messages=[{"role": "user", "content": "hi"}], stream=True)
        with pytest.raises(openai.APIError):
            heard.extend(stream)
        events = list(client.responses.create(model="cut/responses", input="hi", stream=True))
        assert events[-1].type in ("response.failed", "error")
    with anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=3) as claude, pytest.raises(anthropic.APIError):
        list(claude.messages.create(model="cut/messages", max_tokens=9, messages=[{"role": "user", "content": "hi"}], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in heard) == "Water runs "
    assert [Flaky.seen[f"cut/{who}"] for who in ("chat", "responses", "messages")] == [1, 1, 1]


NODE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3], maxRetries: 3 });
const messages = [{ role: "user", content: "hi" }];
const said = {};
for (const how of ["429", "500", "slow"])
  said[how] = (await client.chat.completions.create({ model: `${how}/node`, messages })).choices[0].message.content;
try {
  const stream = await client.chat.completions.create({ model: "cut/node", messages, stream: true });
  for await (const chunk of stream) said.heard = chunk.choices[0]?.delta?.content;
} catch (error) { said.cut = error instanceof OpenAI.APIError || error.constructor.name; }
const response = await client.responses.create({ model: "500/node", input: "hi" });
said.response = response.output_text;
const stream = client.responses.stream({ model: "500/node", input: "hi" });
for await (const event of stream) said.last = event.type;
const file = await client.files.create({ file: new File(["{}"], "a.jsonl"), purpose: "batch" });
said.file = (await client.files.retrieve(file.id)).filename;
const conversation = await client.conversations.create({ metadata: { a: "b" } });
said.conversation = (await client.conversations.retrieve(conversation.id)).metadata.a;
said.embedding = (await client.embeddings.create({ model: "500/embeds", input: "x", encoding_format: "float" })).data[0].embedding[0];
said.flagged = (await client.moderations.create({ model: "500/judge", input: "x" })).results[0].flagged;
said.batches = (await client.batches.list()).data.length;
said.models = (await client.models.list()).data.length > 3;
console.log(JSON.stringify(said));
"""


def test_openai_for_node(server: Running, tmp_path: Path):
    said = javascript.told(NODE, server, tmp_path)
    assert {said[how] for how in ("429", "500", "slow")} == {"Water."}
    assert (said["heard"], said["cut"]) == ("Water runs ", True)
    assert (said["response"], said["last"], said["file"], said["conversation"]) == ("Water.", "response.completed", "a.jsonl", "b")
    assert (said["embedding"], said["flagged"], said["batches"], said["models"]) == (0.5, False, 0, True)
