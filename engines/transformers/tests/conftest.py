"""Fixtures: real transformers with the small real model, loaded once a session; on a CPU, or on TEST_DEVICE."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from real_engine import MODEL, ROOT, opened

from engineroom.engine import Engine
from engineroom.settings import Environment
from engineroom.testing import Expectations, Target, engine_target, running
from engineroom_transformers import TransformersEngine

TOOLS_TEMPLATE = ROOT / "engines" / "llamacpp" / "tests" / "data" / "chatml_with_tools.jinja"

REAL = {
    "ENGINE": "transformers",
    "MODEL_NAME": str(MODEL),
    "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "smol, alias",
    "DEVICE": os.environ.get("TEST_DEVICE", "cpu"),
    "DTYPE": "float32",
    "MAX_MODEL_LEN": "2048",
    "KV_CACHE_TOKENS": "8192",
    "STOP_TIMEOUT": "5",
}
"""Settings for the small model. float32, since bfloat16 has near-ties that fall either way."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs the library where it is not installed."""
    if item.get_closest_marker("real_transformers") is None:
        return
    if find_spec("torch") is None or find_spec("transformers") is None:
        pytest.skip("no torch and transformers here; `make test-transformers` installs them and runs this")
    if not (MODEL / "config.json").is_file():
        pytest.skip("the small model is missing; `make env-transformers` makes it")


def make(**settings: Any) -> TransformersEngine:
    """A configured engine with the small model, `settings` beside or in place of the usual ones."""
    return opened(TransformersEngine, Environment.of({**REAL, **settings}))


@pytest.fixture(scope="session")
def real() -> dict[str, str]:
    """Settings of a worker with the small model."""
    return dict(REAL)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers and random weights over the small model's vocabulary: it says nonsense, and fast."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("tiny")
    for file in MODEL.glob("*token*"):
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").symlink_to(TOOLS_TEMPLATE)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.5,
        bos_token_id=1,
        eos_token_id=2,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def configure() -> Callable[..., TransformersEngine]:
    """Makes engines, configured and not started."""
    return make


@pytest.fixture(scope="session")
async def engine(anyio_backend: str) -> AsyncIterator[TransformersEngine]:
    """The small model, with its own chat template. The limits on schemas are off: a test reaches its own."""
    async with running(make(MAX_WAYS=0, MAX_SCHEMA_ENTRIES=0, MAX_SCHEMA_KB=0)) as engine:
        yield engine


@pytest.fixture(scope="session")
async def with_tools(anyio_backend: str) -> AsyncIterator[TransformersEngine]:
    """The small model, with a chat template that has a place for tools."""
    async with running(make(CHAT_TEMPLATE=str(TOOLS_TEMPLATE), KV_CACHE_TOKENS=4096)) as engine:
        yield engine


def target_of(engine: Engine, **expected: Any) -> Target:
    """What a test talks to: greedy answers, unless it asks otherwise."""
    usual = {"running_metric": "engineroom_transformers_running", "fields": {"temperature": 0}}
    return engine_target(engine, Expectations(**{"max_model_len": 2048, **usual, **expected}))


@pytest.fixture(scope="session")
def target(engine: TransformersEngine) -> Target:
    return target_of(engine)


@pytest.fixture(scope="session")
def tools(with_tools: TransformersEngine) -> Target:
    return target_of(with_tools)
