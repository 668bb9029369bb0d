"""The standard tests that LangChain has for its integrations, over chat, Responses and Messages of the echo engine.

A test whose property is not set below is skipped by the suite itself.
"""

from __future__ import annotations

import os
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


def _url() -> str:
    return os.environ["JUDGED_URL"]


class _Standard(ChatModelIntegrationTests):
    """What holds for all three."""

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "echo"

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestChat(_Standard):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        # Without `stream_usage` the client asks for no usage of a stream from a server that is not OpenAI's.
        return {"model": "echo", "base_url": f"{_url()}/v1", "api_key": "any", "stream_usage": True}


class TestResponses(TestChat):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "use_responses_api": True}


class TestMessages(_Standard):
    @property
    def supports_json_mode(self) -> bool:
        return False

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "echo", "base_url": _url(), "api_key": "any", "max_tokens": 1000}
