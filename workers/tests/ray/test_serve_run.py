"""`serve run` with real Ray, as KubeRay has it: applications by their import path, over Serve's own proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from ray_serve import serve_run

from engineroom_workers.testing import Door, free_port

pytest.importorskip("ray", reason="Ray has an environment of its own: make test-ray")
pytestmark = [pytest.mark.real_ray, pytest.mark.timeout(120)]

QUESTION: Any = [{"role": "user", "content": "What is 2+2?"}]
APP = "engineroom_workers.ray:app"
OPTIONS = {"CPUS_PER_REPLICA": 0.1, "ENGINE": "echo"}


def application(name: str, **args: Any) -> dict[str, Any]:
    prefix = "/" if name == "front" else f"/{name}"
    return {"name": name, "route_prefix": prefix, "import_path": APP, "args": {**OPTIONS, **args}}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """Two applications with a model each, and one in front that picks by the body's `model`."""
    folder: Path = tmp_path_factory.mktemp("serve")
    # A replica's own environment: .env in its working directory. It is of no use to the one in front.
    (folder / ".env").write_text("ECHO_REPEAT=2\n")
    port = free_port()
    urls = f"http://127.0.0.1:{port}/small/v1,http://127.0.0.1:{port}/large/v1"
    config = {
        "http_options": {"host": "127.0.0.1", "port": port},
        "applications": [
            application("small", SERVED_MODEL_NAME="small"),
            application("large", SERVED_MODEL_NAME="large", API_KEYS="front:inner"),
            application("front", ENGINE="upstream", UPSTREAM_URLS=urls, UPSTREAM_API_KEY="inner", UPSTREAM_CHECK=1),
        ],
    }
    with serve_run(config, folder, {"HOST": "0.0.0.0"}, port) as door:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and {"small", "large"} - models(door):
            assert door.process.poll() is None, door.log
            time.sleep(0.2)
        yield door


def models(door: Door) -> set[str]:
    """The models that the application in front lists; none while it is not there."""
    try:
        listed = httpx.get(f"{door.url}/v1/models", timeout=10)
        return {model["id"] for model in listed.json()["data"]} if listed.status_code == 200 else set()
    except httpx.HTTPError:
        return set()


@pytest.mark.parametrize("model", ["small", "large"])
def test_the_body_s_model_decides(door: Door, model: str) -> None:
    with openai.OpenAI(base_url=f"{door.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(model=model, messages=QUESTION)
        assert answer.choices[0].message.content == "What is 2+2?What is 2+2?", door.log
        stream = client.chat.completions.create(model=model, messages=QUESTION, stream=True)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert text == answer.choices[0].message.content
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="none", messages=QUESTION)


def test_an_application_s_args_are_its_own(door: Door) -> None:
    body = {"model": "large", "messages": QUESTION}
    assert httpx.post(f"{door.url}/large/v1/chat/completions", json=body).status_code == 401
    keyed = httpx.post(f"{door.url}/large/v1/chat/completions", json=body, headers={"x-api-key": "inner"})
    assert keyed.status_code == 200
    assert httpx.post(f"{door.url}/small/v1/chat/completions", json=body).status_code == 404


def test_nobody_passes_for_a_program_of_this_machine(door: Door) -> None:
    """Everybody comes through Serve's proxy, which does run here; the page and operators' routes are for none."""
    page = httpx.get(f"{door.url}/small/", headers={"accept": "text/html"})
    assert page.status_code == 404


def test_what_is_of_no_effect_is_said(door: Door) -> None:
    door.says("HOST=0.0.0.0 (from environment) is of no effect here")
