"""The Dockerfile, really built, and the worker in it, really run: over a stand-in base with a stand-in engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from http_door import free_port
from standin_hub import COMMIT, REPOSITORY

from engineroom_workers.emulator.testing import RunningEmulator, running_emulator

from .buildah import Container
from .conftest import CANARY, Built
from .running import started, until

CHAT = {"model": REPOSITORY, "messages": [{"role": "user", "content": "Hello"}]}
PHASES = ("interpreter", "settings read", "model resolved", "engine spawned", "engine ready", "first job")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def container(built: Built) -> Iterator[Container]:
    with built.buildah.container(built.image) as running:
        yield running


@pytest.fixture
async def platform() -> AsyncIterator[RunningEmulator]:
    async with running_emulator() as running:
        yield running


async def test_the_queue_worker_answers_a_chat(container: Container, platform: RunningEmulator, tmp_path: Path) -> None:
    """The image as it is: its own entry command, the platform's environment, a baked model, a job."""
    log = tmp_path / "log"
    with started(container, log, **platform.worker_environment()):
        async with httpx.AsyncClient(base_url=platform.endpoint_url, timeout=90) as client:
            with anyio.fail_after(90):
                job = {"openai_route": "/v1/chat/completions", "openai_input": CHAT}
                answer = (await client.post("/runsync", json={"input": job})).json()
    text = log.read_text()
    assert answer["status"] == "COMPLETED", f"{answer}\n{text}"
    chat = answer["output"][0] if isinstance(answer["output"], list) else answer["output"]
    assert chat["model"] == REPOSITORY
    assert chat["choices"][0]["message"]["content"]
    positions = [text.find(phase, text.index("start-up: ")) for phase in PHASES]
    assert -1 not in positions, f"a phase is missing from the log:\n{text}"
    assert positions == sorted(positions)


def test_the_http_worker_answers_a_chat_and_its_health_check_follows(container: Container, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    environ = {"WORKER": "http", "PORT": str(port)}
    assert container.run(*container.healthcheck, **environ).returncode != 0, "nothing listens yet"
    with started(container, log, **environ) as process:
        until(f"http://127.0.0.1:{port}/ping", 200, process, log)
        assert container.run(*container.healthcheck, **environ).returncode == 0
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=CHAT, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        shown = httpx.get(f"http://127.0.0.1:{port}/health").json()["timeline"]
    assert [mark["phase"] for mark in shown][-1] == "first request"


def test_the_baked_model_wins_over_the_environment(container: Container) -> None:
    done = container.run("engineroom", "config", "--json", MODEL_NAME="another/model")
    settings = {row["name"]: row for row in json.loads(done.stdout)}
    assert settings["MODEL_NAME"]["source"].startswith("baked arguments")
    assert settings["MODEL_NAME"]["value"].endswith(f"models--Gated--Tiny.Model/snapshots/{COMMIT}")
    assert container.run("sh", "-c", "echo $HF_HUB_OFFLINE$TRANSFORMERS_OFFLINE").stdout.strip() == "11"


def test_it_does_not_run_as_root_where_the_row_says_so(container: Container) -> None:
    assert container.run("id", "-u").stdout.strip() == "10001"


def test_the_row_s_own_wheel_is_installed_over_the_base_s(container: Container) -> None:
    script = (
        "import fastdeploy, pathlib; print(pathlib.Path(fastdeploy.__file__).with_name('built_for.txt').read_text())"
    )
    assert container.run("python3", "-c", script).stdout.strip() == "86 89"


def test_the_engine_s_python_is_otherwise_untouched(built: Built, container: Container) -> None:
    freeze = ("python3", "-m", "pip", "list", "--format=json")
    with built.buildah.container(built.base) as base:
        before = json.loads(base.run(*freeze).stdout)
    assert json.loads(container.run(*freeze).stdout) == before
    assert "engineroom" not in {package["name"] for package in before}


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"STANDIN_GPU": "NVIDIA H100, 9.0, 550.54"}, "use the image fastdeploy-2.5.0-cu129"),
        ({"STANDIN_GPU": "NVIDIA A10, 8.6, 470.82"}, "the NVIDIA driver is 470"),
        ({"WORKER": "queue"}, "WORKER (from environment): expected one of runpod, http"),
    ],
)
def test_a_start_that_cannot_work_is_refused_at_once(
    container: Container, environ: dict[str, str], message: str
) -> None:
    done = container.run(*container.entry, **environ)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_it_is_labelled_after_its_row(built: Built) -> None:
    labels = built.buildah.inspect(built.image)["Docker"]["config"]["Labels"]
    assert "fastdeploy-2.4.0-cu126-sm86-89" in labels["org.opencontainers.image.description"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_token_is_in_no_layer_no_description_and_no_log(built: Built, tmp_path: Path) -> None:
    """The hub was asked with it, so it was there; every file of every layer is searched, uncompressed."""
    assert any(authorisation == f"Bearer {CANARY}" for _, authorisation in built.hub.asked)
    built.buildah("push", "--quiet", "--disable-compression", built.image, f"dir:{tmp_path / 'layers'}")
    blobs = sorted((tmp_path / "layers").iterdir())
    assert len(blobs) > 4
    assert not [blob.name for blob in blobs if holds(blob, CANARY.encode())]
    assert CANARY not in json.dumps(built.buildah.inspect(built.image))
    assert CANARY not in built.log


def holds(path: Path, needle: bytes) -> bool:
    """Whether a file of any size contains `needle`."""
    end = b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 24):
            if needle in end + chunk:
                return True
            end = chunk[-len(needle) :]
    return False
