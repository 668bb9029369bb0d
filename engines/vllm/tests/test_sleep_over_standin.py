"""Sleep and wake over a stand-in for `vllm serve`. Real vLLM sleeps on GPUs only, so that nothing here says how quick
it is, or how much memory it gives back."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from engineroom.asgi import request
from engineroom.errors import APIError
from engineroom.testing import running
from engineroom_vllm.engine import VLLMEngine

Configure = Callable[..., VLLMEngine]


async def ask(engine: VLLMEngine, path: str = "/v1/chat/completions") -> int:
    body = msgspec.json.encode({"messages": [{"role": "user", "content": "x"}]})
    async with request(engine.app, "POST", path, body=body) as answer:
        await answer.read()
        return answer.status


async def test_it_is_not_ready_while_it_sleeps(configure: Configure) -> None:
    async with running(configure(ENABLE_SLEEP_MODE="true", LOAD_FORMAT="dummy")) as engine:
        assert engine.can_sleep
        assert await ask(engine) == 200
        await engine.sleep()
        health = engine.health()
        assert (health.live, health.ready, health.reason) == (True, False, "asleep")
        assert await ask(engine) == 503
        await engine.wake()
        assert engine.health().ready
        assert await ask(engine) == 200
        assert [line for line in engine.log() if "standin" in line] == ["standin asleep at level 1", "standin awake"]
        for path in ("/sleep", "/wake_up"):
            assert await ask(engine, path) == 404, "clients put nothing to sleep"


async def test_without_the_setting_it_does_not_sleep(configure: Configure) -> None:
    engine = configure()
    assert not engine.can_sleep
    assert "VLLM_SERVER_DEV_MODE" not in engine.environ()


async def test_a_server_that_cannot_says_so_and_can_be_stopped(configure: Configure) -> None:
    async with running(configure(ENABLE_SLEEP_MODE="true", LOAD_FORMAT="dummy")) as engine:
        engine.sleep_paths = ("/no-such-route", "/wake_up")
        with pytest.raises(APIError):
            await engine.sleep()
