"""The official clients over all that a server offers, where the other tests of contracts have them do one thing each: OpenAI's for Python,
async, and for Node, which also talks over a WebSocket; Anthropic's, async. All are what they are when installed, but for address and key.
"""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import anyio
import openai
import pytest
from anthropic import AsyncAnthropic, beta_async_tool
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests import javascript
from tests.dialects import ARGUMENTS, TEXT, TOKENS_OUT, Polyglot
from tests.server import Installation, Running, pool, priced
from tests.studio import PNG, SOUND, WORDS, Studio
from tests.vendor import Vendor

WHOLE = "".join(TEXT)
HELLO: Any = [{"role": "user", "content": "Hi"}]
CONTENT = bytes(range(256)) * 1_000
STUDIO = {"silent/judge": "moderations", "tokens/painter": "images", "tokens/speaker": "speech", "tokens/scribe": "transcriptions"}
Got = TypeVar("Got")


class City(BaseModel):
    """What the vendor's calls, and its JSON, are about."""

    city: str


TOOL: Any = openai.pydantic_function_tool(City, name="weather")
CALL: Any = {"type": "function", "name": "weather", "strict": True, "parameters": TOOL["function"]["parameters"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, polyglot: Polyglot, vendor: Vendor) -> Iterator[Running]:
    with Studio.open() as studio:
        settings = (
            pool("chat", polyglot.url, "chat", "shaped", "broken", "cut")
            + pool("messages", polyglot.url, "messages", dialect="anthropic")
            + pool("responses", polyglot.url, "responses", responses=True)
            + pool("vendor", vendor.url, "embeds")
            + pool("slow", vendor.url, "answers-slowly", concurrency_max=2)
            + pool("studio", studio.url, *STUDIO)
            + priced("chat")
            + "".join(
                f'\n[[model]]\nname = "{name}"\noperations = ["{operation}"]\n'
                for name, operation in {"embeds": "embeddings", **STUDIO}.items()
            )
        )
        with Installation(tmp_path_factory.mktemp("whole"), settings).serving() as running:
            yield running


@pytest.fixture
async def client(server: Running) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.base_url, api_key=server.key, admin_api_key=server.key, max_retries=0) as opened:
        yield opened


async def when(done: Callable[[Got], bool], look: Callable[[], Awaitable[Got]], within_s: float = 20.0) -> Got:
    """What `look` finds as soon as that is `done`."""
    with anyio.fail_after(within_s):
        while not done(found := await look()):  # noqa: ASYNC110 -- it is another process that is waited for
            await anyio.sleep(0.05)
    return found


async def test_chats(client: AsyncOpenAI) -> None:
    said = await client.chat.completions.create(model="chat", messages=HELLO)
    assert (said.choices[0].message.content, said.usage and said.usage.completion_tokens) == (WHOLE, TOKENS_OUT)
    async with client.chat.completions.stream(model="messages", messages=HELLO, stream_options={"include_usage": True}) as stream:
        words = [event.delta async for event in stream if event.type == "content.delta"]
        final = await stream.get_final_completion()
    assert ("".join(words), final.choices[0].message.content, final.usage and final.usage.completion_tokens) == (WHOLE, WHOLE, TOKENS_OUT)
    shaped = await client.chat.completions.parse(model="shaped", messages=HELLO, response_format=City)
    assert shaped.choices[0].message.parsed == City(city="Ghent")
    for model in ("chat", "messages"):
        asked = await client.chat.completions.parse(model=model, messages=HELLO, tools=[TOOL])
        (call,) = asked.choices[0].message.tool_calls or []
        assert (call.function.name, call.function.parsed_arguments) == ("weather", City(city="Ghent"))
        assert asked.choices[0].finish_reason == "tool_calls"


async def test_what_goes_wrong(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="nobody"):
        await client.chat.completions.create(model="nobody", messages=HELLO)
    with pytest.raises(openai.BadRequestError, match="No such luck") as refused:
        await client.chat.completions.create(model="broken", messages=HELLO)
    assert (refused.value.code, refused.value.param) == ("bad_luck", "luck")
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-wrong").models.list()
    stream = await client.chat.completions.create(model="cut", messages=HELLO, stream=True)
    assert (await anext(stream)).choices[0].delta.role == "assistant"
    with pytest.raises(openai.APIError):
        await anext(one async for one in stream if one.choices[0].finish_reason)


async def test_responses(client: AsyncOpenAI) -> None:
    first = await client.responses.create(model="chat", input="My name is Alice.")
    assert first.output_text == WHOLE
    async with client.responses.stream(model="messages", input="And?", previous_response_id=first.id) as stream:
        words = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        second = await stream.get_final_response()
    assert ("".join(words), second.output_text) == (WHOLE, WHOLE)
    items = [item async for item in client.responses.input_items.list(second.id, order="asc")]
    assert [item.content[0].text for item in items if item.type == "message"] == ["My name is Alice.", WHOLE, "And?"]  # type: ignore[union-attr]
    parsed = await client.responses.parse(model="shaped", input="Hi", text_format=City)
    assert parsed.output_parsed == City(city="Ghent")
    called = await client.responses.parse(model="chat", input="Hi", tools=[CALL])
    assert [item.parsed_arguments for item in called.output if item.type == "function_call"] == [json.loads(ARGUMENTS)]
    later = await client.responses.create(model="responses", input="Hi", background=True)
    done = await when(lambda one: one.status == "completed", lambda: client.responses.retrieve(later.id))
    assert done.output_text == WHOLE
    assert (await client.responses.cancel(later.id)).status == "completed"
    assert (await client.responses.input_tokens.count(model="chat", input="Where does water run?")).input_tokens > 0
    assert (await client.responses.compact(model="chat", previous_response_id=first.id)).output[-1].type == "compaction"
    await client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_responses_over_a_websocket(client: AsyncOpenAI, polyglot: Polyglot) -> None:
    async with client.responses.connect() as connection:

        async def turn(words: str, **more: Any) -> Any:
            await connection.response.create(model="chat", input=words, store=False, **more)
            return await anext(event async for event in connection if event.type in ("response.completed", "error"))

        first = (await turn("My name is Alice.")).response
        assert first.output_text == WHOLE
        assert (await turn("Who am I?", previous_response_id=first.id)).response.output_text == WHOLE
        assert b"My name is Alice." in polyglot.last.raw
        assert (await turn("Hi", previous_response_id="resp_none")).error.code == "previous_response_not_found"


async def test_what_is_kept(client: AsyncOpenAI) -> None:
    file = await client.files.create(file=("a.bin", CONTENT), purpose="user_data")
    assert (file.bytes, (await client.files.retrieve(file.id)).filename) == (len(CONTENT), "a.bin")
    assert (await client.files.wait_for_processing(file.id)).status == "processed"
    assert (await client.files.content(file.id)).content == CONTENT
    assert file.id in [one.id async for one in client.files.list(purpose="user_data", limit=1)]
    assert (await client.files.delete(file.id)).deleted
    digest = hashlib.md5(CONTENT).hexdigest()
    whole = await client.uploads.upload_file_chunked(
        file=CONTENT, filename="b.bin", bytes=len(CONTENT), mime_type="text/plain", purpose="user_data", part_size=100_000, md5=digest
    )
    assert (whole.status, whole.file and (await client.files.content(whole.file.id)).content) == ("completed", CONTENT)
    begun = await client.uploads.create(bytes=3, filename="c.bin", mime_type="text/plain", purpose="user_data")
    assert (await client.uploads.cancel(begun.id)).status == "cancelled"

    talk = await client.conversations.create(metadata={"topic": "water"}, items=[{"type": "message", "role": "user", "content": "One"}])
    assert (await client.conversations.update(talk.id, metadata={"topic": "fire"})).metadata == {"topic": "fire"}
    added = await client.conversations.items.create(talk.id, items=[{"type": "message", "role": "user", "content": "Two"}])
    await client.responses.create(model="chat", input="Three", conversation=talk.id)
    items = [item async for item in client.conversations.items.list(talk.id, limit=2, order="asc")]
    assert [item.content[0].text for item in items if item.type == "message"] == ["One", "Two", "Three", WHOLE]  # type: ignore[union-attr]
    await client.conversations.items.delete(added.data[0].id or "", conversation_id=talk.id)
    assert len((await client.conversations.items.list(talk.id)).data) == 3
    assert (await client.conversations.delete(talk.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.conversations.retrieve(talk.id)


async def test_a_batch(client: AsyncOpenAI) -> None:
    def line(id: str, model: str) -> dict[str, Any]:
        return {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": {"model": model, "messages": HELLO}}

    asked = "\n".join(json.dumps(line(model, model)) for model in ("chat", "messages", "broken"))
    file = await client.files.create(file=("lines.jsonl", asked.encode()), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    done = await when(lambda one: one.status == "completed", lambda: client.batches.retrieve(batch.id))
    counts = done.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (3, 2, 1)
    told = [json.loads(line) for line in (await client.files.content(done.output_file_id or "")).text.splitlines()]
    assert [(one["custom_id"], one["response"]["body"]["choices"][0]["message"]["content"]) for one in told] == [
        ("chat", WHOLE),
        ("messages", WHOLE),
    ]
    (failed,) = [json.loads(line) for line in (await client.files.content(done.error_file_id or "")).text.splitlines()]
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("broken", 400)
    many = "\n".join(json.dumps(line(f"slow {number}", "answers-slowly")) for number in range(100))
    slow = await client.files.create(file=("slow.jsonl", many.encode()), purpose="batch")
    other = await client.batches.create(input_file_id=slow.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert (await client.batches.cancel(other.id)).status in ("cancelling", "cancelled")
    assert [one.id async for one in client.batches.list(limit=1)][:2] == [other.id, batch.id]


async def test_models_and_what_is_not_chat(client: AsyncOpenAI) -> None:
    names = {model.id async for model in client.models.list()}
    assert {"chat", "messages", "responses", "embeds", *STUDIO} <= names
    assert (await client.models.retrieve("tokens/speaker")).id == "tokens/speaker"
    floats = await client.embeddings.create(model="embeds", input="x", encoding_format="float")
    assert floats.data[0].embedding == [0.1, 0.2]
    assert (await client.embeddings.create(model="embeds", input="x")).data[0].embedding == pytest.approx([0.1, 0.2])
    assert (await client.moderations.create(model="silent/judge", input="x")).results[0].flagged
    drawn = await client.images.generate(model="tokens/painter", prompt="A mill", n=2)
    assert len(drawn.data or []) == 2
    edited = await client.images.edit(model="tokens/painter", prompt="More", image=("a.png", b"PNG", "image/png"))
    assert (edited.data or [])[0].b64_json == PNG
    events = await client.images.generate(model="tokens/painter", prompt="A mill", stream=True)
    assert [event.type async for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    async with client.audio.speech.with_streaming_response.create(model="tokens/speaker", voice="alloy", input="Water") as spoken:
        assert b"".join([piece async for piece in spoken.iter_bytes()]) == SOUND
    heard = await client.audio.transcriptions.create(model="tokens/scribe", file=("a.mp3", b"sound"))
    assert heard.text == WORDS
    stream = await client.audio.transcriptions.create(model="tokens/scribe", file=("a.mp3", b"sound"), stream=True)
    assert [event.text async for event in stream if event.type == "transcript.text.done"] == [WORDS]
    audio: Any = client.audio
    with pytest.deprecated_call():
        translated = await audio.translations.create(model="tokens/scribe", file=("a.mp3", b"sound"))
    assert translated.text == WORDS


async def test_administration(client: AsyncOpenAI, server: Running) -> None:
    organization = client.admin.organization
    project = (await organization.projects.create(name="Atlas")).id
    assert (await organization.projects.update(project, name="Atlas II")).name == "Atlas II"
    assert project in [one.id async for one in organization.projects.list(limit=1)]
    account = await organization.projects.service_accounts.create(project, name="robot")
    assert account.api_key is not None
    start = int(time.time()) - 86_400
    async with AsyncOpenAI(base_url=server.base_url, api_key=account.api_key.value, max_retries=0) as robot:
        await robot.chat.completions.create(model="chat", messages=HELLO)
        used = await organization.usage.completions(start_time=start, group_by=["model"], project_ids=[project])
        (row,) = [result for bucket in used.data for result in bucket.results if result.object == "organization.usage.completions.result"]
        assert (row.model, row.num_model_requests, row.output_tokens) == ("chat", 1, TOKENS_OUT)
        paid = await organization.usage.costs(start_time=start, project_ids=[project])
        (cost,) = [result for bucket in paid.data for result in bucket.results if result.object == "organization.costs.result"]
        assert cost.amount is not None
        assert cost.amount.value == pytest.approx(27.4e-6), "7 tokens at 1, 4 at 0.1 and 5 at 4 USD a million"
        limits = {one.model: one async for one in organization.projects.rate_limits.list_rate_limits(project)}
        await organization.projects.rate_limits.update_rate_limit(limits["chat"].id, project_id=project, max_requests_per_1_minute=1)
        await robot.chat.completions.create(model="chat", messages=HELLO)
        with pytest.raises(openai.RateLimitError):
            await robot.chat.completions.create(model="chat", messages=HELLO)
        key = await organization.admin_api_keys.create(name="ci")
        assert key.id in [one.id async for one in organization.admin_api_keys.list()]
        await organization.admin_api_keys.delete(key.id)
        permissions = organization.projects.model_permissions
        assert (await permissions.update(project, mode="deny_list", model_ids=["shaped"])).mode == "deny_list"
        with pytest.raises(openai.NotFoundError, match="shaped"):
            await robot.chat.completions.create(model="shaped", messages=HELLO)
        invite = await organization.invites.create(email="ann@example.org", role="reader")
        assert invite.id in [one.id async for one in organization.invites.list()]
        assert (await organization.invites.delete(invite.id)).deleted
        limit = await organization.projects.spend_limit.update(project, currency="USD", interval="month", threshold_amount=500)
        assert await organization.projects.spend_limit.retrieve(project) == limit
        assert (await organization.projects.archive(project)).status == "archived"
        with pytest.raises(openai.AuthenticationError):
            await robot.models.list()
    kinds = [one.type async for one in organization.audit_logs.list(project_ids=[project], limit=2)]
    assert (kinds[-1], kinds[0]) == ("project.created", "project.archived")


async def test_anthropic(server: Running) -> None:
    async with AsyncAnthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        shaped = await client.messages.parse(model="shaped", max_tokens=64, messages=HELLO, output_format=City)
        assert shaped.parsed_output == City(city="Ghent")
        async with client.messages.stream(model="messages", max_tokens=64, messages=HELLO) as stream:
            assert "".join([text async for text in stream.text_stream]) == WHOLE

        asked: list[str] = []

        @beta_async_tool
        async def weather(city: str) -> str:
            """How it is there."""
            asked.append(city)
            return "Rain."

        for model in ("chat", "messages"):
            end = await client.beta.messages.tool_runner(model=model, max_tokens=64, messages=HELLO, tools=[weather]).until_done()
            assert [block.text for block in end.content if block.type == "text"] == [WHOLE]
        assert asked == ["Ghent", "Ghent"]
        assert (await client.messages.count_tokens(model="chat", messages=HELLO)).input_tokens > 0
        assert {"chat", "messages"} <= {model.id async for model in client.models.list()}

        def request(id: str, model: str) -> Any:
            return {"custom_id": id, "params": {"model": model, "max_tokens": 64, "messages": HELLO}}

        batches = client.messages.batches
        made = await batches.create(requests=[request(model, model) for model in ("chat", "messages", "responses", "broken")])
        done = await when(lambda one: one.processing_status == "ended", lambda: batches.retrieve(made.id))
        assert (done.request_counts.succeeded, done.request_counts.errored) == (3, 1)
        results = {one.custom_id: one.result async for one in await batches.results(made.id)}
        said = {id: result.message.content[0].text for id, result in results.items() if result.type == "succeeded"}  # type: ignore[union-attr]
        assert said == dict.fromkeys(("chat", "messages", "responses"), WHOLE)
        assert results["broken"].type == "errored"
        other = await batches.create(requests=[request(f"slow-{number}", "answers-slowly") for number in range(100)])
        assert [one.id async for one in batches.list(limit=1)][:2] == [other.id, made.id]
        assert (await batches.cancel(other.id)).cancel_initiated_at
        assert (await batches.delete(made.id)).type == "message_batch_deleted"


NODE = """
import OpenAI from "openai";
import { standardResponseFormat, standardTextFormat } from "openai/helpers/standard-schema";
import { ResponsesWS } from "openai/resources/responses/ws";
const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, adminAPIKey: apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Hi" }];
const said = {};

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };
const city = { "~standard": { version: 1, vendor: "here", validate: (value) => ({ value }), jsonSchema: { input: () => parameters } } };
const parsed = await client.chat.completions.parse({ model: "shaped", messages, response_format: standardResponseFormat(city, "city") });
const formed = await client.responses.parse({ model: "shaped", input: "Hi", text: { format: standardTextFormat(city, "city") } });
said.parsed = [parsed.choices[0].message.parsed, formed.output_parsed];
said.tools = [];
const weather = { name: "weather", parameters, parse: JSON.parse, function: ({ city }) => { said.tools.push(city); return "Rain."; } };
for (const stream of [false, true]) {
  const tools = [{ type: "function", function: weather }];
  const runner = client.chat.completions.runTools({ model: "messages", messages, stream, tools });
  said.tools.push(await runner.finalContent());
}

const socket = new ResponsesWS(client);
const turn = (asked) => new Promise((resolve, reject) => {
  socket.once("response.completed", (event) => resolve(event.response));
  socket.once("error", reject);
  socket.send({ type: "response.create", model: "chat", store: false, ...asked });
});
const text = (response) => response.output[0].content[0].text;
const first = await turn({ input: "My name is Node." });
said.socket = [text(first), text(await turn({ input: "Who am I?", previous_response_id: first.id }))];
said.refused = await turn({ input: "Hi", previous_response_id: "resp_none" }).catch((error) => error.error?.error?.code ?? error.message);
socket.close();

const content = Buffer.alloc(200_000, "water");
const upload = await client.uploads.create({ bytes: content.length, filename: "a.bin", mime_type: "text/plain", purpose: "user_data" });
const parts = [];
for (const at of [0, 100_000])
  parts.push((await client.uploads.parts.create(upload.id, { data: new File([content.subarray(at, at + 100_000)], "part") })).id);
const { file } = await client.uploads.complete(upload.id, { part_ids: parts });
said.uploaded = Buffer.from(await (await client.files.content(file.id)).arrayBuffer()).equals(content);

const lines = ["chat", "messages", "broken"].map((model) =>
  JSON.stringify({ custom_id: model, method: "POST", url: "/v1/chat/completions", body: { model, messages } }));
const input = await client.files.create({ file: new File([lines.join("\\n")], "lines.jsonl"), purpose: "batch" });
let batch = await client.batches.create({ input_file_id: input.id, endpoint: "/v1/chat/completions", completion_window: "24h" });
while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
  await new Promise((resolve) => setTimeout(resolve, 50));
  batch = await client.batches.retrieve(batch.id);
}
const told = (await (await client.files.content(batch.output_file_id)).text()).trim().split("\\n").map((line) => JSON.parse(line));
said.batch = [batch.status, batch.request_counts, told.map((one) => one.response.body.choices[0].message.content)];

const { organization } = client.admin;
const project = await organization.projects.create({ name: "Node" });
const account = await organization.projects.serviceAccounts.create(project.id, { name: "robot" });
const robot = new OpenAI({ baseURL, apiKey: account.api_key.value, maxRetries: 0 });
await robot.chat.completions.create({ model: "chat", messages });
const asked = { start_time: Math.floor(Date.now() / 1000) - 86_400, project_ids: [project.id] };
const rows = (page) => page.data.flatMap((bucket) => bucket.results);
said.used = rows(await organization.usage.completions(asked)).map((row) => [row.num_model_requests, row.output_tokens]);
said.paid = rows(await organization.usage.costs(asked)).map((row) => row.amount.value);
said.archived = (await organization.projects.archive(project.id)).status;
said.after = await robot.models.list().catch((error) => error.status);
said.audit = [];
for await (const entry of organization.auditLogs.list({ project_ids: [project.id], limit: 2 })) said.audit.push(entry.type);
console.log(JSON.stringify(said));
"""


def test_openai_for_node(server: Running, tmp_path: Path, polyglot: Polyglot) -> None:
    said = javascript.told(NODE, server, tmp_path, "ws")
    assert said == {
        "parsed": [{"city": "Ghent"}] * 2,
        "tools": ["Ghent", WHOLE] * 2,
        "socket": [WHOLE, WHOLE],
        "refused": "previous_response_not_found",
        "uploaded": True,
        "batch": ["completed", {"total": 3, "completed": 2, "failed": 1}, [WHOLE, WHOLE]],
        "used": [[1, TOKENS_OUT]],
        "paid": [pytest.approx(27.4e-6)],
        "archived": "archived",
        "after": 401,
        "audit": ["project.archived", "api_key.created", "service_account.created", "project.created"],
    }
    assert any(b"My name is Node." in sent.raw and b"Who am I?" in sent.raw for sent in polyglot.sent)
