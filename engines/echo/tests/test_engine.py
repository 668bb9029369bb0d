"""What the echo engine says, when, and how it fails."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineroom.asgi import client
from engineroom.errors import EngineStartError, SettingsError
from engineroom.in_process import TokenRequest
from engineroom.settings import Environment, WorkerSettings
from engineroom.testing import running
from engineroom_echo import EchoEngine, vocabulary

CHAT = "/v1/chat/completions"


async def ask(engine: EchoEngine, *contents: str, **fields: Any) -> dict[str, Any]:
    messages = fields.pop("messages", [{"role": "user", "content": content} for content in contents])
    status, body = await post(engine, CHAT, {"messages": messages, **fields})
    assert status == 200, body
    message: dict[str, Any] = body["choices"][0]["message"]
    return message


async def post(engine: EchoEngine, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
    async with client.request(engine.app, "POST", path, body=msgspec.json.encode(body)) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


def made(**settings: Any) -> EchoEngine:
    env = Environment.of(settings)
    return EchoEngine.configure(WorkerSettings.load(env), env)


@given(st.text())
def test_a_vocabulary_that_loses_nothing(text: str) -> None:
    tokens = vocabulary.encode(text)
    assert vocabulary.decode(tokens) == text.encode("utf-8", "replace").decode()
    assert all(1 <= len(vocabulary.as_bytes(token)) <= 2 for token in tokens)


async def test_the_last_message_is_echoed(engine: EchoEngine) -> None:
    assert (await ask(engine, "first", "second 😀"))["content"] == "second 😀"
    conversation = [
        {"role": "user", "content": "the question"},
        {"role": "assistant", "content": "an answer begun"},
    ]
    assert (await ask(engine, messages=conversation))["content"] == "the question"
    assert (await ask(engine, messages=[{"role": "system", "content": "be kind"}]))["content"] == ""


async def test_a_tool_s_result_is_echoed_and_not_called_again(engine: EchoEngine) -> None:
    tool = {"type": "function", "function": {"name": "clock"}}
    conversation: list[dict[str, Any]] = [{"role": "user", "content": "ask the clock"}]
    answer = await ask(engine, messages=conversation, tools=[tool])
    (call,) = answer["tool_calls"]
    conversation += [answer, {"role": "tool", "tool_call_id": call["id"], "content": "the clock says noon"}]
    assert (await ask(engine, messages=conversation, tools=[tool]))["content"] == "the clock says noon"


async def test_repeating(engine: EchoEngine) -> None:
    assert (await ask(engine, "ab", echo_repeat=3))["content"] == "ababab"
    assert (await ask(engine, "ab", ignore_eos=True, max_tokens=5))["content"] == "ab" * 5


async def test_a_pace_is_never_faster_than_asked_for(engine: EchoEngine) -> None:
    start = time.monotonic()
    answer = await ask(engine, "ab", echo_ttft_ms=100, echo_tokens_per_s=200, echo_repeat=41)
    assert answer["content"] == "ab" * 41
    assert time.monotonic() - start >= 0.1 + 40 / 200


async def test_a_pace_beyond_the_timer_s_resolution(engine: EchoEngine) -> None:
    start = time.monotonic()
    answer = await ask(engine, "ab", echo_tokens_per_s=20_000, echo_repeat=1001)
    assert answer["content"] == "ab" * 1001
    assert time.monotonic() - start >= 1000 / 20_000


@pytest.mark.parametrize(
    "fields", [{"echo_ttft_ms": -1}, {"echo_tokens_per_s": "fast"}, {"echo_repeat": 0}, {"echo_fault": "explode"}]
)
async def test_a_wrong_option(engine: EchoEngine, fields: dict[str, Any]) -> None:
    status, body = await post(engine, CHAT, {"messages": [{"role": "user", "content": "x"}], **fields})
    assert (status, body["error"]["param"]) == (400, next(iter(fields)))


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="ECHO_FAULT") as caught:
        made(ECHO_FAULT="explode", ECHO_TTFT_MS="-3")
    assert {problem.variable for problem in caught.value.problems} == {"ECHO_FAULT", "ECHO_TTFT_MS"}


async def test_settings_hold_for_every_request() -> None:
    engine = made(ECHO_REPEAT=2, ECHO_FAULT="error", ECHO_FAULT_AFTER=3, MODEL_NAME="org/parrot")
    await engine.start()
    assert engine.models == ("org/parrot",)
    assert (await ask(engine, "ab", echo_fault="none"))["content"] == "abab"
    status, _ = await post(engine, CHAT, {"messages": [{"role": "user", "content": "abcd"}]})
    assert status == 500
    await engine.stop()


async def test_a_start_that_fails_says_why() -> None:
    engine = made(ECHO_FAULT="start")
    with pytest.raises(EngineStartError, match="ECHO_FAULT=start"):
        await engine.start()
    assert not engine.health().live
    await engine.stop()


async def test_dying_ends_everything_that_runs() -> None:
    engine = made()
    await engine.start()
    hanging = asyncio.ensure_future(post(engine, CHAT, request(echo_fault="hang")))
    await until_running(engine)
    assert (await post(engine, CHAT, request(echo_fault="die")))[0] == 503
    status, body = await asyncio.wait_for(hanging, 60)
    assert (status, body["error"]["code"]) == (503, "engine_dead")
    assert "echo_fault=die" in await asyncio.wait_for(engine.died(), 60)
    assert (await post(engine, CHAT, request()))[0] == 503
    assert "engineroom_echo_running 0" in await engine.metrics()
    await engine.stop()


async def until_running(engine: EchoEngine) -> None:
    deadline = time.monotonic() + 60
    while "engineroom_echo_running 1" not in await engine.metrics():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_nobody_waits_for_a_long_prompt_to_be_tokenised() -> None:
    answered = threading.Event()

    class SlowTokenizer(EchoEngine):
        """Reads a long prompt only once another request has been answered."""

        def tokenize(self, text: str) -> list[int]:
            assert len(text) < 1_000 or answered.wait(30)
            return super().tokenize(text)

    async with running(SlowTokenizer.configure(WorkerSettings(), Environment.of({}))) as engine:
        body = {"prompt": "a" * 50_000, "max_tokens": 1}
        long = asyncio.ensure_future(post(engine, "/v1/completions", body))
        await asyncio.sleep(0)
        status, _ = await post(engine, "/v1/completions", {"prompt": "b", "max_tokens": 1})
        answered.set()
        assert (status, (await long)[0]) == (200, 200)


def request(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hello"}], **fields}


async def test_closing_the_tokens_frees_the_generation(engine: EchoEngine) -> None:
    tokens = engine.generate_tokens(TokenRequest(prompt=engine.tokenize("hello"), max_tokens=100))
    assert (await tokens.__anext__()).data == b"he"
    assert "engineroom_echo_running 1" in await engine.metrics()
    await tokens.aclose()
    assert "engineroom_echo_running 0" in await engine.metrics()
    assert "engineroom_echo_tokens_total 1" in await engine.metrics()


def test_the_settings_are_documented() -> None:
    (group,) = EchoEngine.settings(Environment.of({}))
    described = {setting.name: setting for setting in group.describe()}
    assert all(name.startswith("ECHO_") and setting.help for name, setting in described.items())
    assert described["ECHO_FAULT"].choices == ("none", "start", "memory", "error", "hang", "die")


def test_the_readme_names_every_setting_and_its_default() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (group,) = EchoEngine.settings(Environment.of({}))
    for setting in group.describe():
        assert re.search(rf"^\| `{setting.name}` \| {setting.default} \|", readme, re.MULTILINE), setting.name


def function(name: str, properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


INTEGER = {"type": "integer"}
TEXT = {"type": "string"}


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("What is magic_function(3)?", function("magic_function", {"input": INTEGER}, "input"), {"input": 3}),
        ("add -2 and 40.5", function("add", {"a": {"type": "number"}, "b": {"type": "number"}}, "a", "b"), [-2, 40.5]),
        ("roll 99, then 6", function("roll", {"sides": {"type": "integer", "maximum": 20}}, "sides"), {"sides": 6}),
        ("roll it", function("roll", {"sides": {"type": "integer", "minimum": 4}}, "sides"), {"sides": 4}),
        (
            "name a customer '你好啊集团' please",
            function("name_customer", {"name": TEXT}, "name"),
            {"name": "你好啊集团"},
        ),
        ("Generate a Pirate greeting.", function("greeting_generator", {"style": TEXT}, "style"), None),
        (
            "the weather in Paris in celsius",
            function("get_weather", {"unit": {"enum": ["K", "celsius"]}}, "unit"),
            None,
        ),
        ("move it", function("move", {"id": {"type": "string", "maxLength": 3}}, "id"), {"id": ""}),
    ],
)
async def test_a_call_s_arguments_are_what_the_message_names(
    engine: EchoEngine, text: str, tool: dict[str, Any], arguments: Any, choice: str
) -> None:
    answer = await ask(engine, text, tools=[tool], tool_choice=choice)
    (call,) = answer["tool_calls"]
    made = msgspec.json.decode(call["function"]["arguments"])
    if isinstance(arguments, list):
        assert list(made.values()) == arguments
    elif arguments is None:
        assert list(made.values()) in ([text], ["celsius"])
    else:
        assert made == arguments


async def test_a_json_object_has_the_keys_that_the_message_quotes(engine: EchoEngine) -> None:
    text = "A joke as JSON with 'setup' and 'punchline' keys."
    answer = await ask(engine, text, response_format={"type": "json_object"})
    assert msgspec.json.decode(answer["content"]) == {"setup": text, "punchline": text}


async def test_an_image_is_acknowledged_and_other_parts_are_refused(engine: EchoEngine) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    text = {"type": "text", "text": "Look:"}
    assert (await ask(engine, messages=[{"role": "user", "content": [text, image]}]))["content"] == "Look:\n[image]"
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    status, body = await post(engine, CHAT, {"messages": [{"role": "user", "content": [audio]}]})
    assert (status, body["error"]["param"]) == (400, "messages.0.content.0")
