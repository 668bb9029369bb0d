"""What every client is asked to do with a server, and what has to come of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

QUESTION = "Say hello to Zürich, please."
SHORT_ANSWER = "What is 2+2?"
"""The small model answers it in a sentence, at temperature 0: some clients take an answer cut off for a failure."""
WANTS_CITY = "Name a city, as JSON."
WANTS_WEATHER = "Call get_weather for 'Paris'."
WEATHER = "It is sunny."
LIMIT = 200
"""Tokens of an answer in JSON, which is done after some thirty: no schema here leaves room for an endless one."""
BRIEF = 16
"""Tokens of an answer in words: enough for an echo of the question, and soon over where a small model babbles."""

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Zürich"]}},
    "required": ["city"],
    "additionalProperties": False,
}
CHAT_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather in a city.", "parameters": PARAMETERS},
}
RESPONSES_TOOL: dict[str, Any] = {"type": "function", **CHAT_TOOL["function"]}
MESSAGES_TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": PARAMETERS,
}


class City(BaseModel):
    """A city."""

    name: Literal["Paris", "Zürich"]
    large: bool


@dataclass(frozen=True)
class JudgedServer:
    """A server that clients are tried with.

    url: its root.
    echoes: whether it says again what it is asked; of a real model nobody knows what it says.
    """

    engine: str
    url: str
    model: str
    echoes: bool

    @property
    def openai_url(self) -> str:
        """What OpenAI's clients call `base_url`."""
        return f"{self.url}/v1"

    def check_text(self, text: object, expected: str = QUESTION) -> None:
        """Check what it says to a question, or to a tool's result."""
        assert isinstance(text, str), f"a text, not {text!r}"
        assert text.strip(), "an answer has text"
        if self.echoes:
            assert text == expected

    def check_arguments(self, arguments: object) -> None:
        """Check the arguments of a call that it was made to make."""
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
        assert isinstance(given, dict), f"an object, not {arguments!r}"
        assert list(given) == ["city"]
        assert given["city"] in ("Paris", "Zürich")
        if self.echoes:
            assert given["city"] == "Paris"
