"""`engineroom deploy` and `engineroom deployments` as processes, against the emulated platform with real workers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from checked_transport import checked_transport
from deploy_commands import ECHO_IMAGE, KEY, POD_KEY, command, process
from management_client import ManagementClient

from engineroom_workers.emulator.platform_server import RunningPlatform
from engineroom_workers.emulator.testing import running_platform

FILE = f"""
name: hello
engine: echo
image: {ECHO_IMAGE}
cpu: {{id: cpu3c, vcpus: 2}}
secrets: [HF_TOKEN]
"""


@pytest.fixture(scope="module", autouse=True)
def checked() -> Iterator[None]:
    with checked_transport():
        yield


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[RunningPlatform]:
    async with running_platform(api_key=KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "engineroom.yaml").write_text(FILE)
    return tmp_path


async def test_from_nothing_to_a_first_chat_as_a_process(platform: RunningPlatform) -> None:
    made = await process(platform, "deploy", "--name", "process", "--yes", "--wait")
    assert (made.code, "first answer after" in made.output) == (0, True), made.output
    gone = await process(platform, "deployments", "delete", "process", "--yes")
    assert (gone.code, gone.output.count("deleted")) == (0, 2), gone.output


@pytest.mark.parametrize("kind", ["queue", "load-balancer", "pod"])
async def test_from_a_file_to_a_first_chat_and_to_nothing_again(platform: RunningPlatform, kind: str) -> None:
    """API_KEYS makes the pod's URL one that not everybody may use; endpoints have RunPod's key before them."""
    name = f"life-{kind}"
    proxy = {"RUNPOD_PROXY_URL": f"{platform.url}/proxy/{{id}}/{{port}}", "API_KEYS": f"me:{POD_KEY}"}
    given = ("deploy", "--kind", kind, "--name", name)
    dry = await command(platform, *given, "--dry-run", **proxy)
    assert dry.code == 0, dry.output
    assert "this was a dry run" in dry.output
    assert name not in (await command(platform, "deployments")).output

    made = await command(platform, *given, "--yes", "--wait", **proxy)
    assert made.code == 0, made.output
    assert "first answer after" in made.output
    again = await command(platform, *given, **proxy)
    assert again.code == 0, again.output
    assert "nothing to change" in again.output

    listed = await command(platform, "deployments", **proxy)
    assert f"{name}" in listed.output
    assert kind in listed.output
    logs = await command(platform, "deployments", "logs", name)
    assert "start-up:" in logs.output
    gone = await command(platform, "deployments", "delete", name, "--yes")
    assert (gone.code, gone.output.count("deleted")) == (0, 2), gone.output


async def test_several_models_go_with_their_table(platform: RunningPlatform, folder: Path) -> None:
    """The file with them stays here; the worker has its content."""
    (folder / "models.yaml").write_text(
        "models:\n  - {name: a, engine: echo, memory: 1 GB}\n  - {name: b, engine: echo}\n"
    )
    made = await command(platform, "deploy", "--name", "several", "--yes", "--wait", MODELS="models.yaml")
    assert made.code == 0, made.output
    assert "first answer after" in made.output
    endpoint = next(each for each in platform.account.endpoints.values() if each.config["name"] == "several")
    table = json.loads(endpoint.config["env"]["MODELS"])
    assert [(model["name"], model["ENGINE"]) for model in table] == [("a", "echo"), ("b", "echo")]
    gone = await command(platform, "deployments", "delete", "several", "--yes")
    assert gone.code == 0, gone.output


async def test_several_models_that_no_image_of_ours_has_are_named(platform: RunningPlatform, folder: Path) -> None:
    (folder / "engineroom.yaml").write_text("name: mixed\ngpu: [L4]\n")
    mixed = '[{"name": "a", "engine": "echo"}, {"name": "b", "engine": "llamacpp"}]'
    refused = await command(platform, "deploy", "--dry-run", MODELS=mixed)
    assert (refused.code, "echo and llamacpp" in refused.output) == (2, True), refused.output
    (folder / "weights.gguf").write_bytes(b"GGUF")
    here = '[{"name": "a", "engine": "llamacpp", "model": "./weights.gguf"}]'
    refused = await command(platform, "deploy", "--dry-run", MODELS=here)
    assert (refused.code, "models[0].model" in refused.output) == (2, True), refused.output


async def test_several_engines_in_an_image_of_one_s_own(platform: RunningPlatform, folder: Path) -> None:
    (folder / "engineroom.yaml").write_text("name: mixed\nimage: me/mine:1\ngpu: [L4]\n")
    (folder / "weights.gguf").write_bytes(b"GGUF")
    mixed = '[{"name": "a", "engine": "echo"}, {"name": "b", "engine": "llamacpp", "model": "./weights.gguf"}]'
    planned = await command(platform, "deploy", "--dry-run", MODELS=mixed)
    assert planned.code == 0, planned.output
    assert "me/mine:1" in planned.output


async def test_a_template_that_exists_gives_image_and_environment(platform: RunningPlatform, folder: Path) -> None:
    (folder / "engineroom.yaml").write_text(FILE.replace("image:", "#").replace("name: hello", "name: from-template"))
    client = ManagementClient(platform.url)
    async with client.http:
        client.http.headers["Authorization"] = f"Bearer {KEY}"
        body = {"image": ECHO_IMAGE, "env": {"LOG_LEVEL": "DEBUG", "WORKER": "http"}, "disk": 70, "ports": ["22/tcp"]}
        await client.ok("POST", "/v2/templates", {**body, "name": "mine", "serverless": True})
        await client.ok("POST", "/v2/templates", {**body, "name": "of-pods", "serverless": False})
    (folder / "mine.yaml").write_text((folder / "engineroom.yaml").read_text() + "\ntemplate: mine\n")
    made = await command(platform, "deploy", "-f", "mine.yaml", "--yes", "--wait")
    assert made.code == 0, made.output
    (endpoint,) = [each for each in platform.account.endpoints.values() if each.config["name"] == "from-template"]
    assert endpoint.config["env"]["LOG_LEVEL"] == "DEBUG"
    assert (endpoint.config["disk"], endpoint.config["ports"]) == (70, ["22/tcp"])
    assert "nothing to change" in (await command(platform, "deploy", "-f", "mine.yaml")).output
    await command(platform, "deployments", "delete", "from-template", "--yes")
    (folder / "other.yaml").write_text(FILE + "\ntemplate: of-pods\n")
    assert "is for pods" in (await command(platform, "deploy", "-f", "other.yaml", "--dry-run")).output
    (folder / "none.yaml").write_text(FILE + "\ntemplate: nobodys\n")
    assert "there is no template nobodys" in (await command(platform, "deploy", "-f", "none.yaml", "--dry-run")).output


async def test_logs_are_followed_until_the_endpoint_is_gone(platform: RunningPlatform, folder: Path) -> None:
    (folder / "engineroom.yaml").write_text(f"{FILE}\nworkers: {{min: 1, max: 1}}\n")
    assert (await command(platform, "deploy", "--yes", "--wait", "--name", "followed")).code == 0
    following = asyncio.ensure_future(process(platform, "deployments", "logs", "followed", "-f"))
    await asyncio.sleep(3)
    await process(platform, "deployments", "delete", "followed", "--yes")
    finished = await asyncio.wait_for(following, 60)
    assert finished.code == 0, finished.output
    assert "engine ready" in finished.output


async def test_a_worker_that_cannot_start_is_the_reason_for_no_answer(platform: RunningPlatform) -> None:
    made = await command(platform, "deploy", "--yes", "--wait", "--name", "bad", "--env", "ECHO_FAULT=start")
    assert made.code == 1
    assert "bad does not answer: the first job FAILED: The worker cannot start: ECHO_FAULT=start" in made.output
    assert "It stays as it is" in made.output
    await command(platform, "deployments", "delete", "bad", "--yes")


async def test_an_unhealthy_worker_is_explained(platform: RunningPlatform, folder: Path) -> None:
    (folder / "engineroom.yaml").write_text(f"{FILE}\nworkers: {{min: 1, max: 1}}\n")
    made = await command(platform, "deploy", "--yes", "--wait", "--wait-limit", "3", "--image", "someone/other:1")
    assert made.code == 1
    assert "no answer within 3 s" in made.output
    status = await command(platform, "deployments", "status", "hello")
    assert "UNHEALTHY" in status.output
    assert "no program that stands for the image someone/other:1" in status.output
    await command(platform, "deployments", "delete", "hello", "--yes")


async def test_looking_after_one(platform: RunningPlatform) -> None:
    assert (await command(platform, "deploy", "--yes", "--name", "kept")).code == 0
    assert (
        "1 to 5 workers" in (await command(platform, "deployments", "scale", "kept", "--min", "1", "--max", "5")).output
    )
    assert "no workers any more" in (await command(platform, "deployments", "stop", "kept")).output
    assert "stopped" in (await command(platform, "deployments")).output
    assert "0 to 2 workers" in (await command(platform, "deployments", "start", "kept", "--max", "2")).output
    refused = await command(platform, "deployments", "delete", "kept")
    assert (refused.code, "say --yes" in refused.output) == (2, True)
    assert (await command(platform, "deployments", "delete", "kept", "--yes")).code == 0
    missing = await command(platform, "deployments", "status", "kept")
    assert (missing.code, "there is no deployment kept" in missing.output) == (1, True)


@pytest.mark.parametrize(
    ("words", "environ", "reason"),
    [
        ((), {}, "say --yes"),
        (("--yes",), {"key": "wrong"}, "RUNPOD_API_KEY is wrong"),
        (("--yes",), {"key": ""}, "RUNPOD_API_KEY: is not set"),
        (("--yes",), {"HF_TOKEN": ""}, "HF_TOKEN (from secrets): is named under `secrets`, and not set here"),
        (("--yes", "--env", "ECHO_TOKENS_PER_S=fast"), {}, "ECHO_TOKENS_PER_S"),
        (("--yes", "--env", "WORKER=http"), {}, "WORKER (from env): is decided by `kind`"),
        (("--yes", "--kind", "auto"), {}, "traffic"),
        (("--yes", "--cpu", "cpu9z"), {}, "cpu9z"),
        (("--yes", "-f", "absent.yaml"), {}, "absent.yaml"),
    ],
)
async def test_a_mistake_is_named_and_changes_nothing(
    platform: RunningPlatform, words: tuple[str, ...], environ: dict[str, str], reason: str
) -> None:
    before = len(platform.account.endpoints)
    finished = await command(platform, "deploy", *words, **environ)
    assert finished.code in (1, 2)
    assert reason in finished.output
    assert len(platform.account.endpoints) == before


async def test_ollama_as_runpod_llm_manager_s_backend(platform: RunningPlatform, folder: Path) -> None:
    """A model by its name in Ollama's library, which no hub has."""
    model = {"name": "llama3.2:1b", "backend": "ollama"}
    compute = {"gpu_type_id": "NVIDIA RTX A4000", "gpu_count": 1}
    (folder / "llm_config.json").write_text(json.dumps({"mode": "serverless", "model": model, "compute": compute}))
    words = ("deploy", "-f", "llm_config.json", "--dry-run")
    made = await command(platform, *words, IMAGE_REPOSITORY="ghcr.io/me/engineroom")
    assert made.code == 0, made.output
    assert "-ollama-" in made.output
    assert "llama3.2:1b" in made.output
