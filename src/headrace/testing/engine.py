"""What every backend of the embedded engine promises, as checks that one started engine has to pass.

A check takes a `Bench`: an engine with room for `SEQUENCES_MAX` answers and a line of `QUEUE_MAX`. `CHECKS` is the suite by name; a
backend's test runs them all. They hold for any chat model, however weak: what is said is never judged, only its form and its count.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import jsonschema
import msgspec

from headrace.core.errors import ContextLengthExceeded, EngineFailed, HeadraceError, InvalidRequest, QueueFull, UnsupportedParameter
from headrace.core.stream import Finished, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.engine import Engine, EngineSettings
from headrace.wire.openai_chat import ChatRequest, read_request

SEQUENCES_MAX = 8
QUEUE_MAX = 12
SOON_S = 20.0  # what takes a step or a few, on a slow machine that others use too

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"$ref": "#/$defs/unit"}},
        "required": ["city"],
        "$defs": {"unit": {"enum": ["celsius", "fahrenheit"]}},
    },
}
TIME = {"name": "get_time", "description": "The time", "parameters": {"type": "object", "properties": {"zone": {"enum": ["CET", "UTC"]}}}}
TOOLS = [{"type": "function", "function": each} for each in (WEATHER, TIME)]
LETTERS = {"type": "object", "properties": {"word": {"type": "string", "pattern": "^(?i:ab){1,3}$"}}, "required": ["word"]}


class Told(msgspec.Struct, frozen=True):
    """An answer that was read to its end."""

    said: tuple[Said, ...]
    usage: Usage

    def text(self, choice: int = 0) -> str:
        return "".join(each.text for each in self.said if isinstance(each, Text) and each.choice == choice)

    def reasons(self) -> dict[int, str]:
        return {each.choice: each.reason for each in self.said if isinstance(each, Finished)}

    def calls(self) -> list[tuple[str, str]]:
        begun = [each for each in self.said if isinstance(each, ToolCallBegun)]
        arguments = [each for each in self.said if isinstance(each, ToolCallArguments)]
        return [(call.name, "".join(each.text for each in arguments if each.index == call.index)) for call in begun]


class Bench:
    """A started engine, and short words for what the checks do with it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def tell(self, content: str = "Name a colour.", **fields: object) -> Told:
        """Ask, read to the end, and check the law of streams on the way."""
        answer = self.engine.chat("check", ask(content, **fields))
        said = tuple([each async for each in answer])
        uses = [each for each in said if isinstance(each, Used)]
        assert len(uses) == 1, "a finished answer says what it used, once"
        assert said[-1] is uses[0], "nothing follows the usage"
        finished = [each.choice for each in said if isinstance(each, Finished)]
        assert sorted(finished) == list(range(len(finished))), "each choice finishes once"
        assert answer.used == uses[0].usage
        return Told(said, uses[0].usage)

    def _at_work(self) -> bool:
        status = self.engine.status()
        return bool(status.running or status.waiting or not status.ready)

    async def idle(self) -> None:
        """Until nothing runs or waits."""
        async with asyncio.timeout(SOON_S):
            while self._at_work():  # noqa: ASYNC110 -- a status is looked at; there is no event
                await asyncio.sleep(0.01)


Check = Callable[[Bench], Awaitable[None]]


@asynccontextmanager
async def started(weights: Path, cache: Path, settings: EngineSettings) -> AsyncIterator[Bench]:
    """A bench with an engine of its own, ended on leaving."""
    engine = Engine(weights, msgspec.structs.replace(settings, sequences_max=SEQUENCES_MAX, queue_max=QUEUE_MAX), cache, lambda: "call_x")
    async with asyncio.TaskGroup() as tasks:
        await engine.start(tasks)
        try:
            yield Bench(engine)
        finally:
            await engine.stop()


def ask(content: str, **fields: object) -> ChatRequest:
    """A request of one message, of at most 16 tokens and without chance, but for what `fields` say."""
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": content}], "temperature": 0, "max_completion_tokens": 16}
    return read_request(json.dumps(body | fields).encode())


async def refusal(engine: Engine, request: ChatRequest) -> HeadraceError:
    """The error that the request meets, at once or on reading."""
    try:
        async with aclosing(engine.chat("check", request)) as answer:
            async for _ in answer:
                pass
    except HeadraceError as failure:
        return failure
    raise AssertionError("the request should have been refused")


async def counts_every_token(bench: Bench) -> None:
    told = await bench.tell("Count.", max_completion_tokens=9, ignore_eos=True)
    assert told.usage.tokens_out == 9
    assert told.reasons() == {0: "length"}
    alone = await bench.tell("hello", max_completion_tokens=1)
    longer = await bench.tell("hello hello hello", max_completion_tokens=1)
    assert longer.usage.tokens_in == alone.usage.tokens_in + 2


async def serves_more_than_run_at_once(bench: Bench) -> None:
    async with asyncio.TaskGroup() as tasks:
        stories = [tasks.create_task(bench.tell(f"Story {at}.", max_completion_tokens=12, ignore_eos=True)) for at in range(16)]
    told = [story.result() for story in stories]
    assert [each.usage.tokens_out for each in told] == [12] * 16
    assert all(each.text() for each in told)


async def refuses_what_does_not_fit_in_line(bench: Bench) -> None:
    room = SEQUENCES_MAX + QUEUE_MAX
    answers = [bench.engine.chat("check", ask("Go on.", max_completion_tokens=400, ignore_eos=True)) for _ in range(room)]
    try:
        failure = await refusal(bench.engine, ask("One more."))
        assert isinstance(failure, QueueFull)
        assert failure.retry_after_ms is not None
        assert failure.retry_after_ms > 0
    finally:
        for answer in answers:
            await answer.aclose()
    await bench.idle()
    await bench.tell()


async def leaving_frees_capacity(bench: Bench) -> None:
    long = ask("Go on for ever.", max_completion_tokens=2000, ignore_eos=True)
    answers = [bench.engine.chat("check", long) for _ in range(SEQUENCES_MAX + 2)]
    first = await anext(answers[0])
    assert isinstance(first, Text)
    for answer in answers:
        await answer.aclose()
    assert answers[0].used.tokens_in > 0
    assert 0 < answers[0].used.tokens_out < 2000
    assert answers[-1].used == Usage(0), "who only waited used nothing"
    async with asyncio.timeout(SOON_S):
        await bench.tell()
    assert bench.engine.status().running == 0


async def cancellation_leaves(bench: Bench) -> None:
    async def read() -> None:
        async for _ in bench.engine.chat("check", ask("Go on.", max_completion_tokens=2000, ignore_eos=True)):
            pass

    left = bench.engine.status().left
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(read())
        await asyncio.sleep(0.3)
        task.cancel()
    assert bench.engine.status().left == left + 1
    await bench.idle()


async def survives_its_workers_death(bench: Bench) -> None:
    await bench.idle()
    restarts = bench.engine.status().restarts
    long = ask("Go on.", max_completion_tokens=1000, ignore_eos=True)
    running = [bench.engine.chat("check", long) for _ in range(SEQUENCES_MAX)]
    waiting = bench.engine.chat("check", ask("Then I.", max_completion_tokens=3))
    for answer in running:
        await anext(answer)
    worker = bench.engine.status().worker_pid
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    for answer in running:
        failed = False
        try:
            async for _ in answer:
                pass
        except EngineFailed:
            failed = True
        assert failed, "what had begun fails"
    assert [each async for each in waiting], "what waited is served by the next worker"
    assert bench.engine.status().restarts == restarts + 1
    assert (await bench.tell()).text()


async def bad_schema_is_refused(bench: Bench) -> None:
    for schema in ({"type": "banana"}, {"type": "string", "pattern": "a(?=b)"}, {"$ref": "#/nope"}):
        failure = await refusal(bench.engine, ask("x", response_format=json_format(schema)))
        assert isinstance(failure, InvalidRequest), schema
        assert failure.param == "response_format.json_schema.schema"
    assert (await bench.tell()).text()


async def hard_schema_hurts_nobody_else(bench: Bench) -> None:
    """One that a backend's compiler may not know, though it is good: it answers rightly or is refused, and its neighbours go on."""

    async def hard() -> None:
        answer = bench.engine.chat("check", ask("A word.", response_format=json_format(LETTERS), max_completion_tokens=40))
        text = ""
        try:
            async for said in answer:
                text += said.text if isinstance(said, Text) else ""
        except InvalidRequest:
            return
        jsonschema.validate(json.loads(text), LETTERS)

    neighbours = [bench.tell("Count on.", max_completion_tokens=30, ignore_eos=True) for _ in range(4)]
    bound = bench.tell("Anna is 31.", response_format=json_format(PERSON), max_completion_tokens=60)
    async with asyncio.TaskGroup() as tasks:
        begun = [tasks.create_task(each) for each in (*neighbours, bound)]
        tasks.create_task(hard())
    assert [each.result().usage.tokens_out for each in begun[:-1]] == [30] * 4
    told = begun[-1].result()
    jsonschema.validate(json.loads(told.text()), PERSON)


async def answers_by_schema(bench: Bench) -> None:
    told = await bench.tell("Anna is 31 years old. JSON.", response_format=json_format(PERSON), max_completion_tokens=100)
    jsonschema.validate(json.loads(told.text()), PERSON)
    assert told.reasons() == {0: "stop"}


async def calls_a_tool_when_it_must(bench: Bench) -> None:
    told = await bench.tell("Weather in Paris?", tools=TOOLS, tool_choice="required", max_completion_tokens=100)
    ((name, arguments),) = told.calls()
    schemas: dict[str, Any] = {tool["name"]: tool["parameters"] for tool in (WEATHER, TIME)}  # type: ignore[misc]  # of mixed values
    jsonschema.validate(json.loads(arguments), schemas[name])
    assert told.reasons() == {0: "tool_calls"}
    assert told.text() == ""


async def calls_the_tool_that_is_named(bench: Bench) -> None:
    named = {"type": "function", "function": {"name": "get_time"}}
    told = await bench.tell("Weather in Paris?", tools=TOOLS, tool_choice=named, max_completion_tokens=100)
    assert [name for name, _ in told.calls()] == ["get_time"]


async def reads_a_tools_result(bench: Bench) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain, 9 degrees"},
    ]
    assert (await bench.tell("", messages=messages, tools=TOOLS)).usage.tokens_out > 0
    assert (await bench.tell("", messages=messages)).usage.tokens_out > 0


async def stops_before_its_stop(bench: Bench) -> None:
    await bench.tell("Tell me about rivers.")  # what is computed and what is found in the cache may differ in the last bit
    free = (await bench.tell("Tell me about rivers.", max_completion_tokens=24, ignore_eos=True)).text()
    middle = free[len(free) // 2 : len(free) // 2 + 5]
    told = await bench.tell("Tell me about rivers.", max_completion_tokens=24, ignore_eos=True, stop=["\u2603", middle])
    assert told.text() == free[: free.index(middle)]
    assert told.reasons() == {0: "stop"}
    assert told.usage.tokens_out < 24


async def repeats_by_seed(bench: Bench) -> None:
    await bench.idle()
    asked: dict[str, object] = {"temperature": 1.0, "top_p": 1.0, "max_completion_tokens": 12, "ignore_eos": True}
    await bench.tell("Say anything.", **asked)  # so that all of the next ones find the same prefix
    same = [(await bench.tell("Say anything.", seed=7, **asked)).text() for _ in range(2)]
    others = {(await bench.tell("Say anything.", seed=seed, **asked)).text() for seed in range(20, 23)}
    assert same[0] == same[1]
    assert len(others | {same[0]}) > 1


async def counts_cached_tokens(bench: Bench) -> None:
    await bench.idle()
    prefix = " ".join(f"fact {at} of {os.getpid()}" for at in range(60))
    first = await bench.tell(f"{prefix} One?", max_completion_tokens=2)
    second = await bench.tell(f"{prefix} Two?", max_completion_tokens=2)
    assert second.usage.cache_read >= 200
    assert second.usage.cache_read > first.usage.cache_read
    assert second.usage.uncached >= 1
    assert second.usage.tokens_in == first.usage.tokens_in


async def enforces_the_context(bench: Bench) -> None:
    context = bench.engine.model.context
    failure = await refusal(bench.engine, ask("Hi", max_completion_tokens=context))
    assert isinstance(failure, ContextLengthExceeded)
    assert failure.param == "messages"
    assert f"maximum context length is {context} tokens. However, you requested {context}" in failure.message.replace(
        str(context + int(failure.message.split("(")[1].split()[0])), str(context)
    )
    failure = await refusal(bench.engine, ask("word " * context, max_completion_tokens=None))
    assert isinstance(failure, ContextLengthExceeded)
    assert "resulted in" in failure.message


async def gives_several_choices(bench: Bench) -> None:
    one = await bench.tell("Say anything.", max_completion_tokens=5, ignore_eos=True)
    told = await bench.tell("Say anything.", n=3, temperature=1.5, max_completion_tokens=5, ignore_eos=True)
    assert told.reasons() == {0: "length", 1: "length", 2: "length"}
    assert told.usage.tokens_in == one.usage.tokens_in, "the prompt counts once"
    assert told.usage.tokens_out == 15
    assert len({told.text(choice) for choice in range(3)}) > 1


async def tells_probabilities(bench: Bench) -> None:
    told = await bench.tell("Say anything.", logprobs=True, max_completion_tokens=6)
    tokens = [each for said in told.said if isinstance(said, Text) for each in said.logprobs]
    assert "".join(each.token for each in tokens) == told.text()
    assert all(each.logprob <= 0 for each in tokens)
    alternatives = ask("Say anything.", logprobs=True, top_logprobs=3, max_completion_tokens=3)
    if bench.engine.model.backend == "openvino":
        assert isinstance(await refusal(bench.engine, alternatives), UnsupportedParameter)
        return
    said = [each async for each in bench.engine.chat("check", alternatives)]
    assert {len(each.top) for text in said if isinstance(text, Text) for each in text.logprobs} == {3}


async def keeps_characters_whole(bench: Bench) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"const": "\U0001f99c é 東京 \u0939\u093f"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    answer = bench.engine.chat("check", ask("JSON", response_format=json_format(schema), max_completion_tokens=80))
    texts = [each.text async for each in answer if isinstance(each, Text)]
    assert json.loads("".join(texts)) == {"a": "\U0001f99c é 東京 \u0939\u093f"}
    assert "\ufffd" not in "".join(texts)


async def reads_control_words_as_text(bench: Bench) -> None:
    plain = await bench.tell("ab", max_completion_tokens=1)
    steering = await bench.tell("a<|im_end|>b", max_completion_tokens=1)
    assert steering.usage.tokens_in >= plain.usage.tokens_in + 3, "the characters are read, not the token"


async def refuses_what_it_cannot(bench: Bench) -> None:
    for fields, kind, param in REFUSED:
        failure = await refusal(bench.engine, ask("x", **fields))
        assert type(failure) is kind, fields
        assert failure.param == param, fields


REFUSED: list[tuple[dict[str, object], type[HeadraceError], str]] = [
    ({"temperature": 2.1}, InvalidRequest, "temperature"),
    ({"top_p": -0.1}, InvalidRequest, "top_p"),
    ({"n": 0}, InvalidRequest, "n"),
    ({"n": SEQUENCES_MAX + 1}, InvalidRequest, "n"),
    ({"max_completion_tokens": 0}, InvalidRequest, "max_completion_tokens"),
    ({"stop": ["a", "b", "c", "d", "e"]}, InvalidRequest, "stop"),
    ({"stop": ""}, InvalidRequest, "stop"),
    ({"messages": []}, InvalidRequest, "messages"),
    ({"tool_choice": "required"}, InvalidRequest, "tool_choice"),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": 1}}}]},
        InvalidRequest,
        "tools[0].function.parameters",
    ),
    ({"logit_bias": {"1": 5}}, UnsupportedParameter, "logit_bias"),
    ({"modalities": ["audio"]}, UnsupportedParameter, "modalities"),
    ({"functions": [{"name": "f"}]}, UnsupportedParameter, "functions"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        InvalidRequest,
        "messages[0].content[0]",
    ),
]


def json_format(schema: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        counts_every_token, serves_more_than_run_at_once, refuses_what_does_not_fit_in_line, leaving_frees_capacity, cancellation_leaves,
        survives_its_workers_death, bad_schema_is_refused, hard_schema_hurts_nobody_else, answers_by_schema, calls_a_tool_when_it_must,
        calls_the_tool_that_is_named, reads_a_tools_result, stops_before_its_stop, repeats_by_seed, counts_cached_tokens,
        enforces_the_context, gives_several_choices, tells_probabilities, keeps_characters_whole, reads_control_words_as_text,
        refuses_what_it_cannot,
    )
}  # fmt: skip


async def check_engine(bench: Bench) -> None:
    """The whole suite, one check after the other."""
    for check in CHECKS.values():
        await check(bench)
