"""What stands in for the model: it says the prompt back, a word or an emoji a token."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r"\s*[^\W_]+|\s*.", re.DOTALL)


@dataclass
class Piece:
    """What one choice says in one step; `finish_reason` on its last."""

    index: int
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    tokens: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] | None = None


def tokenize(text: str) -> list[str]:
    return _TOKEN.findall(text)


def prompt_of(body: dict[str, Any]) -> str:
    """The text to say back: the last message's, or the prompt."""
    if "messages" not in body:
        prompt = body.get("prompt")
        return prompt if isinstance(prompt, str) else " ".join(map(str, prompt or []))
    return _text(body["messages"][-1])


def prompt_length(body: dict[str, Any]) -> int:
    """Tokens of all messages, of which a template shows the contents, or of the prompt."""
    if "messages" not in body:
        return len(tokenize(prompt_of(body)))
    return sum(len(tokenize(_text(message))) for message in body["messages"])


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", part["type"]) for part in content)


async def generate(body: dict[str, Any], options: dict[str, Any], unthinking: bool = False) -> AsyncIterator[Piece]:
    """All choices of a request in turns, token by token, at STANDIN_GAP seconds a token."""
    schema = schema_of(body)
    words = tokenize(prompt_of(body) if schema is None else json.dumps(_example(schema), ensure_ascii=False)) or ["?"]
    if schema is not None:
        body = {**body, "max_tokens": len(words)}
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    stops = body.get("stop") or []
    stops = [stops] if isinstance(stops, str) else stops
    gap = float(os.environ.get("STANDIN_GAP", "0.001"))
    running = dict.fromkeys(range(body.get("n") or 1), "")
    thinking = bool(options.get("reasoning_parser"))
    if body.get("tools") and options.get("tool_call_parser"):
        for index in running:
            yield Piece(index, tokens=["<tool_call>"], tool_calls=[_tool_call(body)])
            yield Piece(index, tokens=[""], finish_reason="tool_calls")
        return
    for step in range(limit):
        await asyncio.sleep(gap)
        word = words[step % len(words)]
        last = step == limit - 1
        for index in list(running):
            if unthinking or (thinking and step == 0):
                yield Piece(index, reasoning=word, tokens=[word], finish_reason="length" if last else None)
                continue
            running[index] += word
            reason = "length" if last and limit != len(words) else "stop" if last else None
            if any(stop in running[index] for stop in stops):
                text = word if body.get("include_stop_str_in_output") else ""
                yield Piece(index, text=text, tokens=[word], finish_reason="stop")
                del running[index]
            else:
                yield Piece(index, text=word, tokens=[word], finish_reason=reason)


def schema_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that the answer is to satisfy, however it was asked for."""
    wanted = body.get("guided_json") or ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    found: dict[str, Any] | None = json.loads(wanted) if isinstance(wanted, str) else wanted
    return found


def _example(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _example(inner) for name, inner in schema.get("properties", {}).items()}
    return {"boolean": True, "integer": 1, "number": 1.5, "array": []}.get(schema.get("type", ""), "Paris")


def _tool_call(body: dict[str, Any]) -> dict[str, Any]:
    function = {"name": body["tools"][0]["function"]["name"], "arguments": '{"said": "hello"}'}
    return {"index": 0, "id": "call_standin", "type": "function", "function": function}
