"""LangChain's own suite for chat models, over headrace: `pytest langchain_suite.py` in .venv-clients, with HEADRACE_URL and _KEY set."""

import os
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

URL, KEY = os.environ["HEADRACE_URL"], os.environ["HEADRACE_KEY"]


class TestChatOpenAI(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "scholar", "base_url": f"{URL}/v1", "api_key": KEY, "max_retries": 0, "stream_usage": True}

    @property
    def model_override_value(self) -> str:
        return "scholar-2"


class TestChatOpenAIResponses(TestChatOpenAI):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "use_responses_api": True}


class TestChatAnthropic(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "scholar", "base_url": URL, "api_key": KEY, "max_retries": 0, "max_tokens": 256, "stream_usage": True}

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "scholar-2"
