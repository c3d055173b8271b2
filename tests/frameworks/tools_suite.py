"""The OpenAI Agents SDK and pydantic-ai with a tool each, over headrace: `pytest tools_suite.py` in .venv-clients, with HEADRACE_URL and
HEADRACE_KEY set."""

import asyncio
import os

import pytest
from agents import Agent as OpenAIAgent
from agents import ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.openai import OpenAIResponsesModel as PydanticResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

URL, KEY = os.environ["HEADRACE_URL"], os.environ["HEADRACE_KEY"]
WORDS = "Water runs down the headrace to the wheel."
set_tracing_disabled(True)


class Place(BaseModel):
    city: str
    mills: int


def openai() -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [OpenAIChatCompletionsModel, OpenAIResponsesModel])
def test_an_agent_of_openais_calls_its_tool(model: type, stream: bool) -> None:
    called: list[str] = []

    @function_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        called.append(city)
        return "It rains."

    async def run() -> str:
        agent = OpenAIAgent(
            name="a", instructions="Help.", tools=[weather], model=model("scholar", openai()), model_settings=ModelSettings(max_tokens=64)
        )
        if not stream:
            return str((await Runner.run(agent, "How is the weather in Ghent?", max_turns=4)).final_output)
        result = Runner.run_streamed(agent, "How is the weather in Ghent?", max_turns=4)
        async for _ in result.stream_events():
            pass
        return str(result.final_output)

    assert asyncio.run(run()) == WORDS
    assert called == ["Ghent"]


def models() -> list[object]:
    return [
        OpenAIChatModel("scholar", provider=OpenAIProvider(openai_client=openai())),
        PydanticResponsesModel("scholar", provider=OpenAIProvider(openai_client=openai())),
        AnthropicModel("scholar", provider=AnthropicProvider(anthropic_client=AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0))),
    ]


@pytest.mark.parametrize("at", range(3))
def test_an_agent_of_pydantics_calls_its_tool(at: int) -> None:
    async def run() -> tuple[str, list[str]]:
        agent: Agent[None, str] = Agent(models()[at], instructions="Help.")
        called: list[str] = []

        @agent.tool_plain
        def weather(city: str) -> str:
            """The weather in a city."""
            called.append(city)
            return "It rains."

        return (await agent.run("How is the weather in Ghent?")).output, called

    assert asyncio.run(run()) == (WORDS, ["Ghent"])


@pytest.mark.parametrize("at", range(3))
def test_an_agent_of_pydantics_fills_in_a_form(at: int) -> None:
    async def run() -> Place:
        return (await Agent(models()[at], output_type=Place).run("Where is the mill?")).output

    assert asyncio.run(run()) == Place(city="Ghent", mills=3)
