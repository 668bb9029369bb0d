"""What is chosen where the file leaves it open: GPUs, the image, the data center; and that it stays chosen."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from checked_transport import checked_transport
from deploy_commands import command
from deployment_specifications import specification

from engineroom.hardware import CatalogGpu, GpuCatalog
from engineroom.runpod_account import RunPodAccount
from engineroom_operations.deploy.applying import UnfinishedError, carry_out
from engineroom_operations.deploy.hardware import GpuChoice, Hardware
from engineroom_operations.deploy.observed import observe
from engineroom_operations.deploy.plan import make_plan
from engineroom_operations.deploy.preparing import best_data_center
from engineroom_operations.deploy.wanted import wanted_resources
from engineroom_operations.runpod_api import PODS, DataCenterOffer, RunPodClient
from engineroom_operations.runpod_api.resources import GpuStock
from engineroom_workers.emulator.platform_server import RunningPlatform
from engineroom_workers.emulator.testing import running_platform

IMAGE = "ghcr.io/me/engineroom:1-vllm-0.33.0-cu129"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


@pytest.fixture(scope="module", autouse=True)
def checked() -> Iterator[None]:
    with checked_transport():
        yield


@pytest.fixture(scope="module")
async def platform() -> AsyncIterator[RunningPlatform]:
    """One platform for all tests of this module; no worker starts in them."""
    async with running_platform(api_key="rpa_neverseen") as running:
        yield running


@pytest.fixture(autouse=True)
def stock(platform: RunningPlatform) -> Iterator[None]:
    yield
    platform.account.catalog.stock.clear()


def model(folder: Path, billions: float) -> str:
    """A model of that size: its configuration, and a header of weights without the weights."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    size = int(billions * 2e9)
    tensors = {"model.layers.0.mlp.up_proj.weight": {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}
    header = json.dumps(tensors).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)  # A hole, which takes no space.
    return str(folder)


async def deploy(platform: RunningPlatform, model_path: str, *words: str) -> str:
    finished = await command(platform, "deploy", model_path, "--engine", "vllm", "--image", IMAGE, *words)
    assert finished.code == 0, finished.output
    return finished.output


@pytest.mark.parametrize(("billions", "smallest_gb"), [(7.0, 16), (13.0, 32), (33.0, 80)])
@pytest.mark.parametrize("kind", ["queue", "pod"])
async def test_the_model_fits_on_what_is_chosen(
    platform: RunningPlatform, tmp_path: Path, billions: float, smallest_gb: int, kind: str
) -> None:
    name = f"fits-{kind}-{billions:g}".replace(".", "-")
    await deploy(platform, model(tmp_path / "m", billions), "--name", name, "--kind", kind, "--yes")
    record = {gpu.id: gpu for gpu in GpuCatalog.load().gpus}
    if kind == "pod":
        (pod,) = [each for each in platform.account.pods.values() if each.config["name"] == name]
        chosen = [pod.config["gpu"]["id"]]
        count = pod.config["gpu"]["count"]
    else:
        (endpoint,) = [each for each in platform.account.endpoints.values() if each.config["name"] == name]
        gpu = endpoint.config["gpu"]
        chosen = [each.id for each in record.values() if each.pool in gpu["pools"]]
        chosen = [each for each in chosen if each not in gpu.get("excludedTypes", [])]
        count = gpu["count"]
    assert chosen
    assert min(record[each].memory_gb * count for each in chosen) >= smallest_gb
    await command(platform, "deployments", "delete", name, "--yes")


async def test_what_was_chosen_stays_though_nothing_of_it_is_free_any_more(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    path = model(tmp_path / "m", 7)
    await deploy(platform, path, "--name", "stays", "--yes")
    (endpoint,) = [each for each in platform.account.endpoints.values() if each.config["name"] == "stays"]
    pools = endpoint.config["gpu"]["pools"]
    members = [gpu.id for gpu in platform.account.catalog.gpus.values() if gpu.pool in pools]
    platform.account.catalog.set_stock(dict.fromkeys(members, "NONE"))
    assert "nothing to change" in await deploy(platform, path, "--name", "stays")
    other = await deploy(platform, path, "--name", "other", "--dry-run")
    assert not [pool for pool in pools if f"{pool}," in other or f"{pool}\n" in other]


async def test_a_pod_is_created_on_the_next_gpu_where_the_first_is_gone(platform: RunningPlatform) -> None:
    gpus = [
        CatalogGpu(id=each, name=each, manufacturer="NVIDIA", memory_gb=24) for each in ("NVIDIA L4", "NVIDIA L40S")
    ]
    hardware = Hardware(pods=tuple(GpuChoice(gpu, 1) for gpu in gpus))
    account = RunPodAccount.model_validate({"runpod_api_url": platform.url, "runpod_api_key": "rpa_neverseen"})
    wanted = [
        wanted_resources(specification(name, "pod", hardware=hardware, template=False)) for name in ("next", "none")
    ]
    lines: list[str] = []
    async with RunPodClient(account, pause_s=0.001) as api:
        platform.account.catalog.set_stock({"NVIDIA L4": "NONE"})
        await carry_out(api, make_plan(wanted[0], await observe(api)), lines.append)
        (pod,) = await api.named(PODS, "next")
        assert pod.gpu is not None
        assert pod.gpu.id == "NVIDIA L40S"
        assert any("no NVIDIA L4" in line for line in lines)
        assert not make_plan(wanted[0], await observe(api)).changes
        platform.account.catalog.set_stock({"NVIDIA L40S": "NONE"})
        with pytest.raises(UnfinishedError, match="no instances of NVIDIA L40S"):
            await carry_out(api, make_plan(wanted[1], await observe(api)), lines.append)


@pytest.mark.parametrize(("traffic", "kind"), [("1", "queue"), ("900", "pod"), ("9-10:20", "queue"), ("3000", "queue")])
async def test_auto_takes_what_serves_the_traffic_at_the_lower_price(
    platform: RunningPlatform, tmp_path: Path, traffic: str, kind: str
) -> None:
    given = ("--name", "auto", "--kind", "auto", "--traffic", traffic, "--dry-run")
    output = await deploy(platform, model(tmp_path / "m", 7), *given)
    assert f"auto: a {kind}, because" in output
    assert ("+ pod auto" if kind == "pod" else "+ endpoint auto") in output


async def test_auto_reads_a_file(platform: RunningPlatform, tmp_path: Path) -> None:
    (tmp_path / "day.yaml").write_text("requests_per_hour: 3000\nprompt_tokens: 100\nanswer_tokens: 50\n")
    given = ("--kind", "auto", "--traffic", str(tmp_path / "day.yaml"), "--dry-run")
    assert "because" in await deploy(platform, model(tmp_path / "m", 7), *given)


@pytest.mark.parametrize(("words", "reason"), [((), "auto needs `traffic`"), (("--traffic", "often"), "is no pattern")])
async def test_traffic_that_says_nothing(
    platform: RunningPlatform, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    path = model(tmp_path / "m", 7)
    given = ("deploy", path, "--engine", "vllm", "--image", IMAGE, "--kind", "auto", "--dry-run")
    finished = await command(platform, *given, *words)
    assert finished.code in (1, 2)
    assert reason in finished.output


def test_the_data_center_with_most_of_the_gpus_and_with_volumes() -> None:
    def center(name: str, level: str, *types: str) -> DataCenterOffer:
        stock = [GpuStock(id="G", name="G", availability=level)]
        return DataCenterOffer(id=name, name=name, network_volume_types=list(types), gpu_availability=stock)

    offers = [center("A", "HIGH"), center("B", "LOW", "STANDARD"), center("C", "MEDIUM", "STANDARD")]
    assert best_data_center(offers, {"G"}) == "C"
    assert best_data_center([*offers, center("D", "NONE", "STANDARD")], {"H"}) is None
    assert best_data_center(offers, set()) in ("B", "C")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--image", "Me/Upper:1"), "no name of an image"),
        (("--gpu", "nothing like it"), "there is no GPU called"),
        (("--gpu", "MI300X"), "gpu"),
    ],
)
async def test_what_cannot_be_had_is_named(
    platform: RunningPlatform, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    path = model(tmp_path / "m", 7)
    finished = await command(platform, "deploy", path, "--engine", "vllm", "--image", IMAGE, *words, "--dry-run")
    assert finished.code in (1, 2), finished.output
    assert reason in finished.output


async def test_what_has_no_effect_is_told(platform: RunningPlatform, tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("gpu_count: 2\nworkers: {max: 2}\ncloud: SECURE\n")
    path = model(tmp_path / "m", 7)
    for kind, words in (("pod", ["workers has no effect on a pod"]), ("queue", ["cloud has no effect on a queue"])):
        output = await deploy(platform, path, "-f", str(tmp_path / "file.yaml"), "--kind", kind, "--dry-run")
        assert [line for line in output.splitlines() if "no effect" in line] == [f"note    {word}" for word in words]
        assert "TENSOR_PARALLEL_SIZE 2" in output


async def test_a_gpu_that_the_named_image_does_not_run_on_is_not_chosen(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    path = model(tmp_path / "m", 7)
    image = "ghcr.io/me/engineroom:1-fastdeploy-2.4.0-cu126-sm80-90"
    words = ("--engine", "fastdeploy", "--image", image, "--kind", "pod", "--dry-run")
    finished = await command(platform, "deploy", path, *words)
    assert finished.code == 0, finished.output
    chosen = {gpu.id: gpu for gpu in GpuCatalog.load().gpus}
    (line,) = [line for line in finished.output.splitlines() if "gpu.id" in line]
    assert chosen[line.split(maxsplit=1)[1].strip()].sm in ("80", "90")


async def test_a_model_that_fits_nowhere(platform: RunningPlatform, tmp_path: Path) -> None:
    path = model(tmp_path / "m", 3000)
    finished = await command(platform, "deploy", path, "--engine", "vllm", "--image", IMAGE, "--dry-run")
    assert (finished.code, "fits on no GPU that RunPod offers" in finished.output) == (2, True), finished.output


async def test_a_folder_of_this_machine_is_not_on_runpod(platform: RunningPlatform, tmp_path: Path) -> None:
    finished = await command(platform, "deploy", model(tmp_path / "m", 7), "--engine", "vllm", "--dry-run")
    assert (finished.code, "is on this machine and not on RunPod" in finished.output) == (2, True), finished.output


async def test_an_image_needs_a_registry(platform: RunningPlatform) -> None:
    words = ("deploy", "org/name", "--engine", "vllm", "--gpu", "L4", "--dry-run")
    finished = await command(platform, *words)
    assert (finished.code, "IMAGE_REPOSITORY" in finished.output) == (2, True), finished.output
    named = await command(platform, *words, IMAGE_REPOSITORY="ghcr.io/me/engineroom", IMAGE_TAG="7")
    assert "ghcr.io/me/engineroom:7-vllm-" in named.output
