"""OpenAI's agents SDK: the loop over tools is its own."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from client_cases import SHORT_ANSWER, WANTS_CITY, WANTS_WEATHER, WEATHER, City, JudgedServer

pytest.importorskip("agents", reason="the other clients are not installed here; `make clients` does that")

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from openai import AsyncOpenAI

CLIENT, PACKAGE = "openai-agents", "openai-agents"
pytestmark = pytest.mark.parametrize("surface", ["chat", "Responses"])


def agent(surface: str, server: JudgedServer, tool_choice: str | None = None, **more: Any) -> Agent[None]:
    """An agent over one of both APIs; its choice of a tool holds for the first turn."""
    kind = OpenAIChatCompletionsModel if surface == "chat" else OpenAIResponsesModel
    client = AsyncOpenAI(base_url=server.openai_url, api_key="any", max_retries=0)
    settings = ModelSettings(max_tokens=200, temperature=0, tool_choice=tool_choice)
    return Agent(name="Judge", model=kind(model=server.model, openai_client=client), model_settings=settings, **more)


def run(asked: Agent[None], question: str) -> Any:
    return asyncio.run(Runner.run(asked, question, max_turns=4))


def run_streamed(asked: Agent[None], question: str) -> tuple[Any, list[Any]]:
    """The result, and the events that came of it."""

    async def read() -> tuple[Any, list[Any]]:
        result = Runner.run_streamed(asked, question, max_turns=4)
        return result, [event async for event in result.stream_events()]

    return asyncio.run(read())


def test_whole(server: JudgedServer, surface: str) -> None:
    server.check_text(run(agent(surface, server), SHORT_ANSWER).final_output, SHORT_ANSWER)


def test_streamed(server: JudgedServer, surface: str) -> None:
    result, events = run_streamed(agent(surface, server), SHORT_ANSWER)
    server.check_text(result.final_output, SHORT_ANSWER)
    raw = [event.data for event in events if event.type == "raw_response_event"]
    assert "".join(event.delta for event in raw if event.type == "response.output_text.delta") == result.final_output


def test_structured_output(server: JudgedServer, surface: str) -> None:
    assert isinstance(run(agent(surface, server, output_type=City), WANTS_CITY).final_output, City)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_tools(server: JudgedServer, surface: str, streamed: bool) -> None:
    calls: list[str] = []

    @function_tool
    def get_weather(city: Literal["Paris", "Zürich"]) -> str:
        """The weather in a city."""
        calls.append(city)
        return WEATHER

    # A model this small might call it for ever: the loop ends with the first result.
    behaviour: Any = "run_llm_again" if server.echoes else "stop_on_first_tool"
    forced = agent(surface, server, "required", tools=[get_weather], tool_use_behavior=behaviour)
    result = run_streamed(forced, WANTS_WEATHER)[0] if streamed else run(forced, WANTS_WEATHER)
    server.check_text(result.final_output, WEATHER)
    server.check_arguments({"city": calls[0]})


def test_a_conversation_goes_on(server: JudgedServer, surface: str) -> None:
    first = run(agent(surface, server), SHORT_ANSWER)
    turns = [*first.to_input_list(), {"role": "user", "content": SHORT_ANSWER}]
    server.check_text(asyncio.run(Runner.run(agent(surface, server), turns)).final_output, SHORT_ANSWER)
