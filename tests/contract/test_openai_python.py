"""The official Python client against the embedded model, with only `base_url` and `api_key` changed."""

import asyncio
import base64
import json
import re
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests import javascript
from tests.needs import need
from tests.server import Installation, Running, eventually, pool
from tests.vendor import TEXT, Vendor

pytestmark = pytest.mark.engine

MODEL = "smollm2-135m-instruct"
EMBEDDINGS = "all-minilm-l6-v2"
ASK: Any = [{"role": "user", "content": "Name three rivers."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


class River(BaseModel):
    name: str
    long: bool


def schema(inside: dict[str, Any]) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": inside}}


# Chat.


def test_unstreamed(client: OpenAI):
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=12)
    assert isinstance(answer, ChatCompletion)
    assert (answer.object, answer.model) == ("chat.completion", MODEL)
    assert answer.id.startswith("chatcmpl-")
    assert abs(answer.created - time.time()) < 60
    (choice,) = answer.choices
    assert choice.index == 0
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    assert answer.usage.prompt_tokens > 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.completion_tokens_details is not None


def test_streamed_is_the_same_answer(client: OpenAI):
    """With a temperature of 0 both forms say the same, once the prompt is cached: read anew, it is rounded a little otherwise."""
    for _ in range(2):
        client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=12, temperature=0)
    whole = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=12, temperature=0)
    with client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=12, temperature=0, stream=True) as stream:
        chunks = list(stream)
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == len({chunk.created for chunk in chunks}) == 1
    assert {(chunk.object, chunk.model) for chunk in chunks} == {("chat.completion.chunk", MODEL)}
    assert all(chunk.usage is None for chunk in chunks)
    assert all(len(chunk.choices) == 1 for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert len(chunks) > 5, "it comes in pieces"


def test_usage_comes_last_where_it_is_asked_for(client: OpenAI):
    with client.chat.completions.with_raw_response.create(
        model=MODEL, messages=ASK, max_completion_tokens=12, stream=True, stream_options={"include_usage": True}
    ).parse() as stream:
        chunks = list(stream)
    *others, last = chunks
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 12
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in others), "usage is null, and said so"


def test_stop(client: OpenAI):
    def ask(**more: Any) -> ChatCompletion:
        count: Any = [{"role": "user", "content": "Repeat exactly: red green blue yellow"}]
        answer: ChatCompletion = client.chat.completions.create(
            model=MODEL, messages=count, max_completion_tokens=40, temperature=0, stream=False, **more
        )
        return answer

    free = ask().choices[0].message.content or ""
    word = free.split()[2]
    stopped = ask(stop=[word, "\n\n\n"]).choices[0]
    assert stopped.finish_reason == "stop"
    assert stopped.message.content == free[: free.index(word)]


def test_a_seed_repeats(client: OpenAI):
    said = [
        client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=16, temperature=1.2, seed=seed)
        .choices[0]
        .message.content
        for seed in (5, 5, 6, 7)
    ]
    assert said[0] == said[1]
    assert len(set(said)) > 1


def test_several_choices(client: OpenAI):
    answer = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=4, n=2, extra_body={"ignore_eos": True})
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    with client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=8, n=2, stream=True) as stream:
        chunks = list(stream)
    assert {chunk.choices[0].index for chunk in chunks} == {0, 1}
    assert sum(chunk.choices[0].finish_reason is not None for chunk in chunks) == 2


def test_logprobs(client: OpenAI):
    """The engine tells them, or says that it can't: never a field that is silently left out."""
    try:
        answer = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=4, logprobs=True, top_logprobs=2)
    except openai.BadRequestError as refused:
        if refused.param in ("logprobs", "top_logprobs"):
            return
        raise
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.content is not None
    assert len(told.content) == 4
    assert all(one.logprob <= 0 and len(one.top_logprobs) == 2 for one in told.content)


def test_prompt_cache_is_reported(client: OpenAI):
    long: Any = [{"role": "system", "content": "You know every river. " * 60}, *ASK]
    asked = [client.chat.completions.create(model=MODEL, messages=long, max_completion_tokens=2) for _ in range(2)]
    details = [answer.usage and answer.usage.prompt_tokens_details for answer in asked]
    assert details[1]
    assert (details[1].cached_tokens or 0) > 100


# Tools and formats.


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=["required", "named"])
def test_tools(client: OpenAI, choice: Any):
    question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client.chat.completions.create(model=MODEL, messages=question, tools=[WEATHER], tool_choice=choice, max_completion_tokens=120)
    (called,) = (answer.choices[0].message.tool_calls or [])[:1]
    assert called.type == "function"
    assert called.function.name == "get_weather"
    arguments = json.loads(called.function.arguments)
    assert set(arguments) == {"city", "unit"}
    assert arguments["unit"] in ("celsius", "fahrenheit")
    assert answer.choices[0].finish_reason in ("tool_calls", "stop"), "OpenAI says `stop` where the tool was named"
    told: Any = [
        *question,
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": called.id, "content": "18 C"},
    ]
    after = client.chat.completions.create(model=MODEL, messages=told, tools=[WEATHER], tool_choice="none", max_completion_tokens=8)
    assert after.choices[0].message.content


def test_tools_streamed(client: OpenAI):
    """The client's own accumulator puts the fragments together."""
    question: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    with client.chat.completions.stream(
        model=MODEL, messages=question, tools=[WEATHER], tool_choice="required", max_completion_tokens=120
    ) as stream:
        final = stream.get_final_completion()
    (called,) = (final.choices[0].message.tool_calls or [])[:1]
    assert set(json.loads(called.function.arguments)) == {"city", "unit"}
    assert final.choices[0].finish_reason == "tool_calls"


def test_parse(client: OpenAI):
    answer = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=River, max_completion_tokens=60, temperature=0)
    assert isinstance(answer.choices[0].message.parsed, River)


def test_json_object(client: OpenAI):
    question: Any = [{"role": "user", "content": "Answer in JSON: a river and its country"}]
    answer = client.chat.completions.create(
        model=MODEL, messages=question, response_format={"type": "json_object"}, max_completion_tokens=100, temperature=0
    )
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


BAD_SCHEMAS = [{"type": "rivre"}, {"type": "object", "properties": []}, {"$ref": "#/nowhere"}, {"type": "string", "pattern": "("}]


@pytest.mark.parametrize("inside", BAD_SCHEMAS, ids=lambda inside: json.dumps(inside))
def test_a_bad_schema(client: OpenAI, inside: dict[str, Any]):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=ASK, response_format=schema(inside), max_completion_tokens=5)
    assert (refused.value.param or "").startswith("response_format")
    assert client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=2).choices, "the engine is well after it"


REFUSED = [
    # what is wrong                                          the parameter named
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "judge", "content": "x"}]}, "messages[].role"),
    ({"messages": "hello"}, "messages"),
    ({"temperature": 3}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": "two"}, "n"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"stream": "yes"}, "stream"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"seed": 1.5}, "seed"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[].function.name"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "tool_choice"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"no_such_thing": 1}, "no_such_thing"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]}, "messages"),
]


@pytest.mark.parametrize(("wrong", "param"), REFUSED, ids=[json.dumps(row[0])[:60] for row in REFUSED])
def test_a_bad_request_names_its_parameter(client: OpenAI, wrong: dict[str, Any], param: str):
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/chat/completions", body={"model": MODEL, "messages": ASK, **wrong}, cast_to=object)
    body = refused.value.body
    assert isinstance(body, dict)
    assert set(body) == {"message", "type", "param", "code"}
    assert body["type"] == "invalid_request_error"
    assert re.sub(r"\[\d+\]", "[]", body["param"] or "").startswith(param)


def test_a_context_that_is_too_long(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "river " * 10_000}])
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "messages"


# Embeddings.


def test_embeddings(client: OpenAI):
    texts = ["a river in France", "a stream of water in France", "double-entry bookkeeping"]
    as_floats = client.embeddings.create(model=EMBEDDINGS, input=texts, encoding_format="float")
    by_default = client.embeddings.create(model=EMBEDDINGS, input=texts)
    assert as_floats.object == "list"
    assert [one.index for one in as_floats.data] == [0, 1, 2]
    vectors = [one.embedding for one in as_floats.data]
    for ours, theirs in zip(vectors, by_default.data, strict=True):
        assert ours == pytest.approx(theirs.embedding, abs=1e-6)
        assert sum(number * number for number in ours) == pytest.approx(1, abs=1e-3)
    near, far = (sum(one * other for one, other in zip(vectors[0], vectors[at], strict=True)) for at in (1, 2))
    assert near > far + 0.2, "it is a real model"
    assert as_floats.usage.prompt_tokens == as_floats.usage.total_tokens > 10


def test_embeddings_in_base64(client: OpenAI):
    raw = client.embeddings.with_raw_response.create(model=EMBEDDINGS, input="a river", encoding_format="base64").http_response.json()
    vector = base64.b64decode(raw["data"][0]["embedding"])
    floats = client.embeddings.create(model=EMBEDDINGS, input="a river", encoding_format="float").data[0].embedding
    assert list(struct.unpack(f"<{len(vector) // 4}f", vector)) == pytest.approx(floats, abs=1e-6)


def test_fewer_dimensions(client: OpenAI):
    vector = client.embeddings.create(model=EMBEDDINGS, input="a river", dimensions=64).data[0].embedding
    assert len(vector) == 64
    assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-3)


def test_embeddings_of_token_numbers(client: OpenAI):
    one = client.embeddings.create(model=EMBEDDINGS, input=[101, 1037, 2314, 102])
    rows = client.embeddings.create(model=EMBEDDINGS, input=[[101, 1037, 2314, 102], [101, 2300, 102]])
    assert len(one.data) == 1
    assert len(rows.data) == 2
    like, unlike = (sum(a * b for a, b in zip(one.data[0].embedding, row.embedding, strict=True)) for row in rows.data)
    assert like > 0.9999 > unlike, "one and the same beside another, but for the processor's short floats"


@pytest.mark.parametrize(
    "wrong", [{"input": []}, {"input": ""}, {"input": [1, "two"]}, {"dimensions": 0}, {"dimensions": 9_999}, {"encoding_format": "hex"}]
)
def test_bad_embeddings(client: OpenAI, wrong: dict[str, Any]):
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/embeddings", body={"model": EMBEDDINGS, "input": "a river", **wrong}, cast_to=object)
    assert (refused.value.param or "").startswith(next(iter(wrong)))


# Models, keys, headers.


def test_models(client: OpenAI):
    listed = {model.id: model for model in client.models.list()}
    assert list(listed) == [MODEL, EMBEDDINGS]
    assert client.models.retrieve(MODEL) == listed[MODEL]
    assert all(model.created > 1_500_000_000 and model.owned_by for model in listed.values())


def test_an_unknown_model(client: OpenAI):
    asks: list[Callable[[], object]] = [
        lambda: client.chat.completions.create(model="gpt-9", messages=ASK),
        lambda: client.models.retrieve("gpt-9"),
    ]
    for ask in asks:
        with pytest.raises(openai.NotFoundError) as refused:
            ask()
        assert refused.value.code == "model_not_found"
        assert refused.value.request_id


def test_the_wrong_operation_for_a_model(client: OpenAI):
    with pytest.raises(openai.BadRequestError, match="embeddings"):
        client.chat.completions.create(model=EMBEDDINGS, messages=ASK)
    with pytest.raises(openai.BadRequestError, match="chat"):
        client.embeddings.create(model=MODEL, input="x")


@pytest.mark.parametrize("key", ["sk-hr-wrong-but-long-enough-to-be-a-key-0000", "sk-", "naïve"])
def test_a_wrong_key(embedded: Running, key: str):
    with OpenAI(base_url=embedded.base_url, api_key=key) as stranger:
        calls: list[Callable[[], object]] = [
            lambda: stranger.chat.completions.create(model=MODEL, messages=ASK),
            lambda: stranger.embeddings.create(model=EMBEDDINGS, input="x"),
            lambda: stranger.models.list(),
        ]
        for call in calls:
            try:
                with pytest.raises(openai.AuthenticationError) as refused:
                    call()
            except UnicodeEncodeError:
                return  # the client itself refuses to send it
            assert refused.value.code == "invalid_api_key"
            assert isinstance(refused.value.body, dict)
            assert set(refused.value.body) == {"message", "type", "param", "code"}
            assert key not in str(refused.value) or len(key) < 8, "a key is never echoed whole"


def test_headers(client: OpenAI):
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ASK, max_completion_tokens=4)
    headers = raw.headers
    assert raw.parse()._request_id == headers["x-request-id"]
    assert headers["openai-version"] == "2020-10-01"
    assert headers["openai-organization"]
    assert int(headers["openai-processing-ms"]) >= 0
    for kind in ("requests", "tokens"):
        assert int(headers[f"x-ratelimit-limit-{kind}"]) >= int(headers[f"x-ratelimit-remaining-{kind}"]) >= 0
        assert re.fullmatch(r"\d+ms|(\d+h)?(\d+m)?[\d.]+s", headers[f"x-ratelimit-reset-{kind}"])


def test_cold_answers_have_a_request_id_too(client: OpenAI):
    raw = client.models.with_raw_response.list()
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["openai-version"] == "2020-10-01"


# Limits.


def test_a_rate_limit_tells_the_truth(tmp_path: Path):
    """A key of 60 requests a minute is refused the 61st, told how long to wait, and served when it has waited that long."""
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + "[limits]\nrequests_per_minute = 60\n"
        with (
            Installation(tmp_path, settings).serving() as server,
            OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client,
        ):

            def ask() -> str | None:
                return client.chat.completions.create(model="answers", messages=ASK, max_completion_tokens=50).choices[0].message.content

            def ask_often(times: int) -> None:
                for _ in range(times):
                    ask()

            with pytest.raises(openai.RateLimitError) as refused:
                ask_often(80)
            error = refused.value
            assert (error.code, error.type) == ("rate_limit_exceeded", "requests")
            wait_ms = int(error.response.headers["retry-after-ms"])
            assert 0 < wait_ms <= 1_000
            assert int(error.response.headers["retry-after"]) == 1
            assert error.response.headers["x-ratelimit-limit-requests"] == "60"
            assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
            time.sleep(wait_ms / 1_000)
            assert ask() == TEXT
            with pytest.raises(openai.RateLimitError):
                ask_often(2)
            assert client.with_options(max_retries=2).chat.completions.create(model="answers", messages=ASK).choices, (
                "the client waits by itself"
            )


def test_a_token_limit_gives_back_what_was_not_used(tmp_path: Path):
    """Each request reserves some 600 tokens and uses 12, so that 10,000 a minute serve far more than sixteen."""
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + "[limits]\ntokens_per_minute = 10000\n"
        with (
            Installation(tmp_path, settings).serving() as server,
            OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client,
        ):
            for _ in range(100):
                client.chat.completions.create(model="answers", messages=ASK, max_completion_tokens=50)
            with pytest.raises(openai.RateLimitError) as refused:
                client.chat.completions.create(model="answers", messages=ASK, max_completion_tokens=20_000)
            assert refused.value.type == "tokens"
            assert "retry-after-ms" not in refused.value.response.headers, "no waiting helps"
            assert refused.value.response.headers["x-should-retry"] == "false"


# Many at once, and leaving early.


def test_sixteen_streams_at_once(embedded: Running):
    async def one(client: AsyncOpenAI, number: int) -> int:
        question: Any = [{"role": "user", "content": f"Tell me about the number {number}."}]
        stream = await client.chat.completions.create(
            model=MODEL, messages=question, max_completion_tokens=24, stream=True, stream_options={"include_usage": True}
        )
        usage = None
        async for chunk in stream:
            usage = chunk.usage or usage
        assert usage is not None
        return usage.completion_tokens

    async def all_of_them() -> list[int]:
        async with AsyncOpenAI(base_url=embedded.base_url, api_key=embedded.key) as client:
            return await asyncio.gather(*(one(client, number) for number in range(16)))

    tokens = asyncio.run(all_of_them())
    assert len(tokens) == 16
    assert all(0 < count <= 24 for count in tokens)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_leaving_frees_the_engine(embedded: Running, stream: bool):
    """A client who hangs up in the middle: its place is free again within moments, and it is billed what the engine made."""

    async def leave() -> None:
        async with AsyncOpenAI(base_url=embedded.base_url, api_key=embedded.key, max_retries=0) as client:
            asked: dict[str, Any] = {"model": MODEL, "messages": ASK, "max_completion_tokens": 1_500, "extra_body": {"ignore_eos": True}}
            if not stream:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.chat.completions.create(**asked), 0.5)
                return
            async with await client.chat.completions.create(stream=True, **asked) as answer:
                async for _ in answer:
                    break

    before = embedded.metric("headrace_engine_generation_tokens_total")
    asyncio.run(leave())
    assert eventually(lambda: embedded.metric("headrace_engine_requests_running") == 0, 2.0)
    assert embedded.metric("headrace_requests_inflight") == 0
    assert embedded.metric("headrace_usage_log_open_admits") == 0
    assert embedded.metric("headrace_engine_generation_tokens_total") - before < 1_000


# Other clients.


def test_curl_as_the_banner_prints_it(embedded: Running):
    need("curl")
    (line,) = (line for line in embedded.said.splitlines() if "curl -N" in line)
    command = line[line.index("curl") :]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    frames = [frame for frame in done.stdout.split("\n\n") if frame]
    assert frames[-1] == "data: [DONE]"
    assert all(frame.startswith("data: {") for frame in frames[:-1])


NODE = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3] });
const asked = { model: "smollm2-135m-instruct", messages: [{ role: "user", content: "Name a river." }], max_completion_tokens: 8 };
const whole = await client.chat.completions.create(asked);
let text = "", usage = null;
for await (const chunk of await client.chat.completions.create({ ...asked, stream: true, stream_options: { include_usage: true } })) {
  text += chunk.choices[0]?.delta?.content ?? ""; usage = chunk.usage ?? usage;
}
let refusal = null;
try { await new OpenAI({ baseURL: process.argv[2], apiKey: "sk-wrong" }).models.list(); } catch (error) { refusal = error; }
console.log(JSON.stringify({ said: whole.choices[0].message.content, used: whole.usage.completion_tokens, text,
  streamed: usage.completion_tokens, id: whole._request_id, status: refusal?.status, code: refusal?.code }));
"""


def test_openai_for_node(embedded: Running, tmp_path: Path):
    """The official client of JavaScript."""
    told = javascript.told(NODE, embedded, tmp_path)
    assert told["said"]
    assert told["text"]
    assert (told["used"], told["streamed"]) == (8, 8)
    assert told["id"].startswith("req_")
    assert (told["status"], told["code"]) == (401, "invalid_api_key")
