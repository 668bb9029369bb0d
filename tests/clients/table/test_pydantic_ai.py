"""Pydantic AI: structured output by schema and by a tool, and its own loop over tools."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from client_cases import BRIEF, LIMIT, QUESTION, WANTS_CITY, WANTS_WEATHER, WEATHER, City, JudgedServer

pytest.importorskip("pydantic_ai", reason="the other clients are not installed here; `make clients` does that")

from pydantic_ai import Agent, NativeOutput, RunContext, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

CLIENT, PACKAGE = "pydantic-ai", "pydantic-ai-slim"
pytestmark = pytest.mark.parametrize("surface", ["chat", "Responses", "Messages"])


def model_of(surface: str, server: JudgedServer) -> Any:
    if surface == "Messages":
        provider = AnthropicProvider(api_key="any", base_url=server.url)
        # By itself it knows of no model but Anthropic's what it can do.
        return AnthropicModel(server.model, provider=provider, profile={"supports_json_schema_output": True})
    kind = OpenAIChatModel if surface == "chat" else OpenAIResponsesModel
    return kind(server.model, provider=OpenAIProvider(base_url=server.openai_url, api_key="any"))


def agent(surface: str, server: JudgedServer, limit: int = LIMIT, **more: Any) -> Agent[None, Any]:
    return Agent(model_of(surface, server), model_settings={"max_tokens": limit}, retries=0, **more)


def test_whole(server: JudgedServer, surface: str) -> None:
    result = agent(surface, server, BRIEF).run_sync(QUESTION)
    server.check_text(result.output)
    assert result.usage.output_tokens > 0


def test_streamed(server: JudgedServer, surface: str) -> None:
    async def read() -> str:
        async with agent(surface, server, BRIEF).run_stream(QUESTION) as result:
            return "".join([delta async for delta in result.stream_text(delta=True)])

    server.check_text(asyncio.run(read()))


def test_structured_output(server: JudgedServer, surface: str) -> None:
    asked = agent(surface, server, output_type=NativeOutput(City))
    assert isinstance(asked.run_sync(WANTS_CITY).output, City)


def test_structured_output_by_a_tool(server: JudgedServer, surface: str) -> None:
    asked = agent(surface, server, output_type=ToolOutput(City, name="final_city"))
    assert isinstance(asked.run_sync("The final_city.").output, City)


def test_tools(server: JudgedServer, surface: str) -> None:
    """The loop ends with a structured answer, which the model is made to give once it has the tool's result."""
    calls: list[str] = []

    def get_weather(city: Literal["Paris", "Zürich"]) -> str:
        """The weather in a city."""
        calls.append(city)
        return WEATHER

    def settings(context: RunContext[None]) -> Any:
        choice = ["get_weather"] if not calls else "none"
        return {"max_tokens": LIMIT, "tool_choice": choice}

    asked = Agent(model_of(surface, server), model_settings=settings, retries=0, tools=[get_weather])
    server.check_text(asked.run_sync(WANTS_WEATHER).output, WEATHER)
    server.check_arguments({"city": calls[0]})
