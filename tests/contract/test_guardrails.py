"""Guardrails as clients and operators meet them, over sockets: what the vendor gets, what the client hears, and what the record says."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
import pytest

from tests.server import Installation, Running, eventually

SETTINGS = """
[[pool]]
name = "vendor"
endpoints = ["http://127.0.0.1:{port}/v1"]
models = {{ "echo" = "echo", "plain" = "plain", "painter" = "painter", "scribe" = "scribe" }}
pass_through = ["/rerank"]

[[model]]
name = "painter"
operations = ["images"]

[[model]]
name = "scribe"
operations = ["transcriptions", "pass_through"]

[[guardrail]]
name = "privacy"
use = "pii"
model = "echo"

[[guardrail]]
name = "projects"
use = "rails:no_bluebird"
model = "echo"
reach = 16

[[guardrail]]
name = "pictures"
use = "pii"
model = "painter"

[[guardrail]]
name = "recordings"
use = "pii"
model = "scribe"

[[guardrail]]
name = "named pictures"
use = "rails:no_bluebird"
model = "painter"
"""
OWN = """
from headrace.core.guardrails import Allow, Passage, Refuse, Verdict

def no_bluebird(passage: Passage) -> Verdict:
    return Refuse("a code name") if "Bluebird" in passage.text else Allow()
"""


class Echo(ThreadingHTTPServer):
    """Says the last message again, and what is written backwards in it the right way round, in pieces of three letters."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _EchoDoor)
        self.got: list[dict[str, Any]] = []


class _EchoDoor(BaseHTTPRequestHandler):
    server: Echo

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        if not self.path.endswith("/chat/completions"):
            self._other(raw)
            return
        asked = json.loads(raw)
        self.server.got.append(asked)
        content = asked["messages"][-1]["content"]
        text = content if isinstance(content, str) else "".join(part["text"] for part in content)
        said = " ".join(word[::-1] if word.startswith("~") else word for word in text.split(" ")).replace("~", "")
        head = {"id": "chatcmpl-1", "created": 1, "model": asked["model"]}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        if not asked.get("stream"):
            message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
            self._send("application/json", json.dumps({**head, "object": "chat.completion", "choices": [message], "usage": usage}).encode())
            return
        pieces = [{"index": 0, "delta": {"content": said[at : at + 3]}, "finish_reason": None} for at in range(0, len(said), 3)]
        chunks: list[dict[str, Any]] = [{**head, "object": "chat.completion.chunk", "choices": [piece]} for piece in pieces]
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        frames = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        self._send("text/event-stream", frames + b"data: [DONE]\n\n")

    def _other(self, raw: bytes) -> None:
        """A picture with the words that it was drawn by, or what a recording says: the prompt, words with a ~ turned round."""
        prompt = json.loads(raw)["prompt"] if raw[:1] == b"{" else re.findall(rb'name="prompt"\r\n\r\n(.*?)\r\n', raw)[0].decode()
        said = " ".join(word[::-1] if word.startswith("~") else word for word in prompt.split(" ")).replace("~", "")
        if self.path.endswith("/generations"):
            picture = {"b64_json": "bm9ib2R5QGV4YW1wbGUub3Jn", "revised_prompt": said}
            self._send("application/json", json.dumps({"created": 1, "data": [picture], "usage": {"total_tokens": 3}}).encode())
        elif self.path.endswith("/rerank"):
            self._send("application/json", json.dumps({"results": [{"document": {"text": said}}], "usage": {"total_tokens": 3}}).encode())
        elif b'name="stream"' in raw:
            events: list[dict[str, Any]] = [{"type": "transcript.text.delta", "delta": said[at : at + 3]} for at in range(0, len(said), 3)]
            events.append({"type": "transcript.text.done", "text": said, "usage": {"type": "duration", "seconds": 1}})
            frames = b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
            self._send("text/event-stream", frames)
        else:
            self._send("text/plain; charset=utf-8", said.encode())

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    server = Echo()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, echo: Echo) -> Installation:
    place = Installation(tmp_path_factory.mktemp("guardrails"), SETTINGS.format(port=echo.server_port))
    (place.folder / "rails.py").write_text(OWN)
    return place


@pytest.fixture(scope="module")
def running(place: Installation) -> Iterator[Running]:
    with place.serving() as running:
        yield running


@pytest.fixture
def client(running: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=running.base_url, api_key=running.key, max_retries=0) as opened:
        yield opened


@pytest.fixture
def asking(running: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=running.url, api_key=running.key, max_retries=0) as opened:
        yield opened


def say(client: openai.OpenAI, text: str, model: str = "echo") -> Any:
    return client.chat.completions.with_raw_response.create(model=model, messages=[{"role": "user", "content": text}])


HIDDEN = "~gro.elpmaxe@nna"
"""An address that the vendor turns round: only the answer shows it."""


def test_the_vendor_gets_what_is_left_and_so_does_the_client(client, echo):
    raw = say(client, f"I am bob@example.org, not {HIDDEN} there")
    assert echo.got[-1]["messages"][0]["content"] == f"I am [EMAIL], not {HIDDEN} there"
    answer = raw.parse()
    assert answer.choices[0].message.content == "I am [EMAIL], not [EMAIL] there"
    assert (answer.choices[0].finish_reason, answer.usage.total_tokens) == ("stop", 12)


def test_a_stream_is_read_as_well(client):
    long = f"so much to say before {HIDDEN} is told, " * 6
    stream = client.chat.completions.create(
        model="echo", messages=[{"role": "user", "content": long}], stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "so much to say before [EMAIL] is told, " * 6
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 3, "it still comes in pieces"
    assert chunks[-1].usage.total_tokens == 12


def test_a_refusal_before_and_a_refusal_behind(client):
    with pytest.raises(openai.BadRequestError) as refused:
        say(client, "tell me of Bluebird")
    assert (refused.value.code, refused.value.param, refused.value.type) == ("content_filter", "messages", "invalid_request_error")
    assert "projects" in refused.value.message
    ended = say(client, f"the rest {HIDDEN} of it ~dribeulB and more").parse()
    assert ended.choices[0].finish_reason == "content_filter"
    assert not ended.choices[0].message.content, "what was held with it is not passed on either"
    assert ended.usage.total_tokens == 12, "what the vendor has used is paid"
    stream = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "x " * 40 + "~dribeulB"}], stream=True)
    chunks = [chunk.choices[0] for chunk in stream if chunk.choices]
    assert "B" not in "".join(chunk.delta.content or "" for chunk in chunks)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["content_filter"]


def test_other_clients_are_guarded_as_well(running, client, asking):
    text = f"bob@example.org and {HIDDEN} are here"
    said = asking.messages.create(model="echo", max_tokens=50, messages=[{"role": "user", "content": text}])
    assert said.content[0].text == "[EMAIL] and [EMAIL] are here"
    assert client.responses.create(model="echo", input=text, store=False).output_text == "[EMAIL] and [EMAIL] are here"
    with pytest.raises(anthropic.BadRequestError, match="code name"):
        asking.messages.create(model="echo", max_tokens=50, messages=[{"role": "user", "content": "Bluebird"}])


def test_what_is_no_conversation_is_read_as_well(client):
    drawn = client.images.with_raw_response.generate(model="painter", prompt=f"bob@example.org and {HIDDEN}")
    (picture,) = drawn.parse().data
    assert picture.revised_prompt == "[EMAIL] and [EMAIL]"
    assert picture.b64_json == "bm9ib2R5QGV4YW1wbGUub3Jn", "pictures pass as they came"
    assert "changed answer" in drawn.headers["x-headrace-translation"]
    with pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(model="painter", prompt="show ~dribeulB to me")
    assert refused.value.code == "content_filter"
    heard = client.audio.transcriptions.create(model="scribe", file=("a.mp3", b"ID3"), prompt=f"I am {HIDDEN}", response_format="text")
    assert heard == "I am [EMAIL]"
    stream = client.audio.transcriptions.create(model="scribe", file=("a.mp3", b"ID3"), prompt=f"I am {HIDDEN} there", stream=True)
    *deltas, done = stream
    assert "".join(one.delta for one in deltas) == done.text == "I am [EMAIL] there"
    assert done.usage.seconds == 1
    ranked = client.post("/rerank", body={"model": "scribe", "prompt": HIDDEN}, cast_to=object)
    assert ranked["results"][0]["document"]["text"] == "[EMAIL]"


def test_guardrails_hold_on_every_way_to_a_model(client, asking):
    text, hidden = f"bob@example.org and {HIDDEN} are here", "[EMAIL] and [EMAIL] are here"
    chat = {"model": "echo", "messages": [{"role": "user", "content": text}]}
    with asking.messages.stream(max_tokens=50, **chat) as stream:
        assert stream.get_final_text() == hidden
    with client.responses.stream(model="echo", input=text) as events:
        assert events.get_final_response().output_text == hidden
    with client.responses.connect() as socket:
        socket.response.create(model="echo", input=text)
        done = next(event for event in socket if event.type == "response.completed")
    assert done.response.output[0].content[0].text == hidden
    behind = client.responses.create(model="echo", input=text, background=True)
    assert eventually(lambda: (now := client.responses.retrieve(behind.id)).status == "completed" and now.output_text) == hidden
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": chat}
    file = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    theirs = asking.messages.batches.create(requests=[{"custom_id": "a", "params": {"max_tokens": 50, **chat}}])
    ended = eventually(lambda: (now := client.batches.retrieve(batch.id)).status == "completed" and now, within_s=20, every_s=0.1)
    answered = json.loads(client.files.content(ended.output_file_id).text)
    assert answered["response"]["body"]["choices"][0]["message"]["content"] == hidden
    assert eventually(lambda: asking.messages.batches.retrieve(theirs.id).processing_status == "ended", within_s=20, every_s=0.1)
    (one,) = asking.messages.batches.results(theirs.id)
    assert one.result.message.content[0].text == hidden


def test_others_models_are_let_alone(client, echo):
    assert say(client, "I am bob@example.org", "plain").parse().choices[0].message.content == "I am bob@example.org"
    assert echo.got[-1]["messages"][0]["content"] == "I am bob@example.org"


def test_the_record_says_what_was_done(client, running):
    raw = say(client, f"I am bob@example.org, not {HIDDEN}")
    assert raw.headers["x-headrace-translation"] == "changed messages[0].content, changed answer"
    status, body = running.get(f"/admin/requests/{raw.headers['x-request-id']}")
    assert status == 200
    whys = [change["why"] for change in json.loads(body)["attempts"][0]["translation"]]
    assert whys == ["guardrail privacy: 1 email", "guardrail privacy: 1 email"]
    with pytest.raises(openai.BadRequestError) as refused:
        say(client, "Bluebird")
    status, body = running.get(f"/admin/requests/{refused.value.request_id}")
    assert (status, json.loads(body)["declined"]) == (200, "content_filter (projects: a code name)")
    lines = running.get("/metrics")[1].decode()
    assert 'headrace_guardrail_verdicts_total{headrace_guardrail="projects",headrace_verdict="refuse",headrace_way="input"}' in lines


def test_settings_that_are_wrong_are_said_and_not_taken_on(running, place):
    settings = place.folder / "headrace.toml"
    good = settings.read_text()
    settings.write_text(good.replace("rails:no_bluebird", "rails:nothing"))
    assert eventually(lambda: "guardrail 'projects'" in running.said)
    settings.write_text(good)
