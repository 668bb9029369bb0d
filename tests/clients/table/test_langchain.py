"""LangChain's packages for OpenAI's and Anthropic's APIs."""

from __future__ import annotations

from typing import Any

import pytest
from client_cases import BRIEF, CHAT_TOOL, LIMIT, QUESTION, WANTS_CITY, WANTS_WEATHER, WEATHER, City, JudgedServer

pytest.importorskip("langchain_openai", reason="the other clients are not installed here; `make clients` does that")

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

OPENAI, ANTHROPIC = "langchain-openai", "langchain-anthropic"
PLACES = [(OPENAI, "chat"), (OPENAI, "Responses"), (ANTHROPIC, "Messages")]
pytestmark = pytest.mark.parametrize(("client", "surface"), PLACES)


def model_of(surface: str, server: JudgedServer, limit: int = LIMIT) -> Any:
    common: dict[str, Any] = {"model": server.model, "api_key": "any", "max_retries": 0, "max_tokens": limit}
    if surface == "Messages":
        return ChatAnthropic(base_url=server.url, **common)
    return ChatOpenAI(base_url=server.openai_url, use_responses_api=surface == "Responses", **common)


def test_whole(server: JudgedServer, client: str, surface: str) -> None:
    answer = model_of(surface, server, BRIEF).invoke(QUESTION)
    server.check_text(answer.text)
    assert answer.usage_metadata["output_tokens"] > 0


def test_streamed(server: JudgedServer, client: str, surface: str) -> None:
    server.check_text("".join(chunk.text for chunk in model_of(surface, server, BRIEF).stream(QUESTION)))


def test_structured_output(server: JudgedServer, client: str, surface: str) -> None:
    structured = model_of(surface, server).with_structured_output(City, method="json_schema")
    assert isinstance(structured.invoke(WANTS_CITY), City)


def test_structured_output_by_a_tool(server: JudgedServer, client: str, surface: str) -> None:
    structured = model_of(surface, server).with_structured_output(City, method="function_calling")
    assert isinstance(structured.invoke("A City, as you like."), City)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_tools(server: JudgedServer, client: str, surface: str, streamed: bool) -> None:
    model = model_of(surface, server)
    turns: list[Any] = [HumanMessage(WANTS_WEATHER)]
    forced = model.bind_tools([CHAT_TOOL], tool_choice="any")
    if streamed:
        first, *rest = forced.stream(turns)
        message = sum(rest, start=first)
    else:
        message = forced.invoke(turns)
    call = message.tool_calls[0]
    server.check_arguments(call["args"])
    turns += [message, ToolMessage(WEATHER, tool_call_id=call["id"])]
    # langchain-anthropic takes a word that it does not know for the name of a tool.
    no_call: Any = {"type": "none"} if surface == "Messages" else "none"
    server.check_text(model.bind_tools([CHAT_TOOL], tool_choice=no_call).invoke(turns).text, WEATHER)
