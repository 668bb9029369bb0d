"""LoRA adapters by name over a stand-in for `vllm serve`: what is loaded when, and what clients see and may do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standin_hub import standin_hub

from engineroom.adapters import Adapter
from engineroom.asgi import request
from engineroom.errors import APIError, SettingsError
from engineroom.pool_load import AdapterOccupancy
from engineroom.testing import running
from engineroom_vllm.adapter_errors import explained
from engineroom_vllm.engine import VLLMEngine

CHAT = "/v1/chat/completions"


def peft(folder: Path, rank: int = 8) -> None:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(b"not really weights")


@pytest.fixture(autouse=True)
def always_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter is taken as it was a second ago; these tests change it sooner."""
    monkeypatch.setattr("engineroom.adapters.sources._LOOK_S", 0.0)


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loras")
    for name in ("sql", "chat", "prose"):
        peft(folder / name)
    peft(folder / "wide", rank=64)
    peft(folder / "a")  # The model's own name is the model's.
    return folder


@pytest.fixture
async def engine(configure: Callable[..., VLLMEngine], loras: Path) -> AsyncIterator[VLLMEngine]:
    names = {"OPENAI_SERVED_MODEL_NAME_OVERRIDE": "a,b", "LOAD_FORMAT": "dummy"}
    async with running(configure(LORA_DIR=str(loras), MAX_LORAS="2", **names)) as engine:
        yield engine


async def post(engine: VLLMEngine, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    async with request(engine.app, "POST", path, body=msgspec.json.encode(body)) as answer:
        return answer.status, msgspec.json.decode(await answer.read())


async def ask(engine: VLLMEngine, model: str, **fields: Any) -> tuple[int, Any]:
    return await post(engine, CHAT, {"model": model, "messages": [{"role": "user", "content": "x"}], **fields})


async def listed(engine: VLLMEngine) -> list[tuple[str, str, str | None]]:
    async with request(engine.app, "GET", "/v1/models") as answer:
        models = msgspec.json.decode(await answer.read())["data"]
    return [(model["id"], model["root"], model["parent"]) for model in models]


def steps(engine: VLLMEngine) -> list[str]:
    """What the stand-in has loaded and unloaded, in order."""
    return [line.removeprefix("standin ") for line in engine.log() if line.startswith("standin ")]


async def test_they_are_loaded_when_asked_for_and_the_one_used_longest_ago_gives_way(
    engine: VLLMEngine, loras: Path
) -> None:
    adapters = [(name, name, "a") for name in ("chat", "prose", "sql", "wide")]
    expected = [("a", "org/model", None), ("b", "org/model", None), *adapters]
    assert await listed(engine) == expected
    for model in ("sql", "a", "chat", "sql", "prose", "b"):
        status, answer = await ask(engine, model)
        assert status == 200, answer
        assert json.loads(answer["choices"][0]["message"]["content"])["model"] == model
    assert steps(engine) == ["loaded sql", "loaded chat", "unloaded chat", "loaded prose"]
    metrics = await engine.metrics()
    assert "engineroom_adapters_loaded 2" in metrics
    assert "engineroom_adapter_loads_total 3" in metrics
    assert (await engine.scrape()).load.adapters == AdapterOccupancy(2, ("sql", "prose"))
    assert len(list((Path(str(engine.directory)) / "adapters").iterdir())) == 2, "nothing is left of what was unloaded"
    assert await listed(engine) == expected, "loaded or not, and no path is told"
    async with request(engine.app, "GET", "/v1/models/sql") as answer:
        assert msgspec.json.decode(await answer.read())["parent"] == "a"

    weights = loras / "sql" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b" and more")
    assert (await ask(engine, "sql"))[0] == 200
    assert steps(engine)[4:] == ["unloaded sql", "loaded sql"], "one that has changed is loaded anew"


async def test_requests_at_the_same_time_load_once_and_a_busy_one_stays(engine: VLLMEngine) -> None:
    stream = msgspec.json.encode({"model": "sql", "messages": [], "stream": True, "max_tokens": 100_000})
    async with request(engine.app, "POST", CHAT, body=stream) as answer:
        await answer.__aiter__().__anext__()
        models = ["chat", "chat", "prose", "chat", "prose", "prose"]
        assert {status for status, _ in await asyncio.gather(*(ask(engine, model) for model in models))} == {200}
        assert steps(engine) == ["loaded sql", "loaded chat", "unloaded chat", "loaded prose"]


async def test_what_cannot_be_had_fails_its_own_requests_with_the_cause(engine: VLLMEngine, loras: Path) -> None:
    (status, answer), (other, _) = await asyncio.gather(ask(engine, "wide"), ask(engine, "sql"))
    assert (status, other) == (400, 200)
    expected = "The adapter `wide` cannot be loaded: its rank is 64, and this server takes up to 16 (MAX_LORA_RANK)."
    assert answer["error"] == {
        "message": expected,
        "type": "invalid_request_error",
        "param": "model",
        "code": "adapter_not_loadable",
    }
    again, _ = await ask(engine, "wide", stream=True)
    assert again == 400
    assert "engineroom_adapter_failures_total 1" in await engine.metrics(), "it is not tried again at once"

    for name in ("late", "../loras/sql", "acme/sql", "s3://bucket/sql"):
        status, answer = await ask(engine, name)
        assert (status, answer["error"]["code"]) == (404, "model_not_found"), name
    peft(loras / "late")
    try:
        assert (await ask(engine, "late"))[0] == 200
    finally:
        (loras / "late" / "adapter_config.json").unlink()
    assert (await ask(engine, "late"))[0] == 404


async def test_clients_load_nothing_by_its_path(engine: VLLMEngine, loras: Path) -> None:
    for path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"):
        status, _ = await post(engine, path, {"lora_name": "x", "lora_path": str(loras / "sql")})
        assert status == 404


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ENABLE_LORA": "false"}, "LORA_DIR and LORA_SOURCES need LoRA"),
        ({"VLLM_EXTRA_ARGS": "--max-loras 8"}, "LORA_DIR and LORA_SOURCES go by it"),
        ({"API_SERVER_COUNT": "2"}, "LORA_DIR and LORA_SOURCES need one API server"),
        ({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}, "lets clients load adapters"),
        ({"LORA_SOURCES": "everything"}, "'everything' is neither a repository nor an S3 folder"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_told(
    configure: Callable[..., VLLMEngine], loras: Path, variables: dict[str, str], expected: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        configure(LORA_DIR=str(loras), **variables)
    assert expected in str(raised.value)


def test_vllm_is_started_for_several_adapters(configure: Callable[..., VLLMEngine], loras: Path) -> None:
    options = configure(LORA_DIR=str(loras), LORA_MODULES="own=/loras/own", DATA_PARALLEL_SIZE="2")._options
    assert {"--enable-lora", "--max-loras=4", "--api-server-count=1"} <= set(options.argv)
    assert options.lora_capacity == 3, "what is loaded at the start counts"
    assert "--max-loras" not in " ".join(configure()._options.argv)


@pytest.mark.parametrize("variables", [{"NNODES": "2", "MASTER_ADDR": "h"}, {"DATA_PARALLEL_SIZE": "2"}], ids=str)
def test_other_machines_are_told_where_adapters_really_are(
    configure: Callable[..., VLLMEngine], loras: Path, variables: dict[str, str]
) -> None:
    """A link in this worker's own folder is on this machine only."""
    assert configure(LORA_DIR=str(loras), **variables)._options.one_machine == ("NNODES" not in variables)


async def test_one_of_the_hub_is_downloaded_when_it_is_asked_for(
    configure: Callable[..., VLLMEngine], tmp_path: Path
) -> None:
    """From a stand-in for the hub. What the setting does not allow is not even looked for there."""
    files = {"adapter_config.json": b'{"peft_type": "LORA", "r": 8}', "adapter_model.safetensors": b"weights"}
    with standin_hub(repositories={"acme/sql": files, "other/sql": files}) as hub:
        places = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        async with running(configure(LORA_SOURCES="acme/*", LOAD_FORMAT="dummy", **places)) as engine:
            answers = await asyncio.gather(*(ask(engine, "acme/sql") for _ in range(3)))
            assert {status for status, _ in answers} == {200}
            assert steps(engine) == ["loaded acme/sql"]
            assert [name for name, _, _ in await listed(engine)] == ["org/model", "acme/sql"]
            status, answer = await ask(engine, "acme/none")
            assert (status, answer["error"]["code"]) == (404, "model_not_found")
            assert "the hub has no repository acme/none" in answer["error"]["message"]
            assert (await ask(engine, "other/sql"))[0] == 404
            assert not [path for path, _ in hub.asked if "other" in path]


def test_an_adapter_that_vllm_refuses_without_a_reason() -> None:
    adapter = Adapter("sql", Path("/loras/sql"), "1")
    error = explained(adapter, adapter.path, APIError("Call to add_lora method failed: ", status=400))
    assert (error.status, error.code) == (400, "adapter_not_loadable")
    assert error.message == "The adapter `sql` cannot be loaded: vLLM does not say why."
