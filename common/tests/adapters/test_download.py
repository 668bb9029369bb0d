"""Adapters brought here from stand-ins for the hub and for an S3 store: real clients, in processes of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from gguf_lora import write
from standin_bucket import StandinBucket, standin_bucket
from standin_hub import StandinHub, standin_hub

from engineroom.adapters import AdapterDownloads, AdapterForm
from engineroom.errors import APIError
from engineroom.models import HubSettings

CONFIG = b'{"peft_type": "LORA", "r": 8}'
REPOSITORIES = {
    "acme/sql": {"adapter_config.json": CONFIG, "adapter_model.safetensors": b"weights", "README.md": b""},
    "acme/pickled": {"adapter_config.json": CONFIG, "adapter_model.bin": b"pickled"},
    "acme/model": {"config.json": b"{}", "model.safetensors": b"weights"},
}
OBJECTS = {
    "bucket/loras/sql/adapter_config.json": CONFIG,
    "bucket/loras/sql/adapter_model.safetensors": b"weights",
    "bucket/loras/sql/checkpoint-1/adapter_model.safetensors": b"older weights",
    "bucket/loras/notes/README.md": b"",
}


@pytest.fixture(scope="module")
def hub() -> Iterator[StandinHub]:
    with standin_hub(repositories=REPOSITORIES) as hub:
        yield hub


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandinBucket]:
    gguf = write(tmp_path_factory.mktemp("gguf") / "one.gguf").read_bytes()
    with standin_bucket({**OBJECTS, "bucket/gguf/one.gguf": gguf}) as bucket:
        yield bucket


def downloads(home: Path, form: AdapterForm = "peft", **environ: str) -> AdapterDownloads:
    volume = home / "volume"
    volume.mkdir(exist_ok=True)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "HF_"))}
    return AdapterDownloads(form, HubSettings(base_path=str(volume)), {**own, "HF_HOME": str(home), **environ})


def contents(folder: Path) -> Mapping[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}


async def refused(source: AdapterDownloads, name: str) -> APIError:
    with pytest.raises(APIError) as raised:
        await source.fetch(name)
    return raised.value


async def test_a_repository(hub: StandinHub, tmp_path: Path) -> None:
    source = downloads(tmp_path, HF_ENDPOINT=hub.url)
    place = await source.fetch("acme/sql")
    assert contents(place) == {"adapter_config.json": CONFIG, "adapter_model.safetensors": b"weights"}
    asked = len(hub.asked)
    assert await source.fetch("acme/sql") == place, "what is in the cache is not asked for again"
    assert len(hub.asked) == asked


async def test_what_is_no_adapter_is_told(hub: StandinHub, tmp_path: Path) -> None:
    source = downloads(tmp_path, HF_ENDPOINT=hub.url)
    pickled, model, missing = await asyncio.gather(
        *(refused(source, name) for name in ("acme/pickled", "acme/model", "acme/none"))
    )
    assert "pickled weights are not loaded" in pickled.message
    assert "acme/model is no LoRA adapter: it has no adapter_config.json" in model.message
    assert "the hub has no repository acme/none" in missing.message
    assert {error.status for error in (pickled, model, missing)} == {404}


async def test_a_hub_that_cannot_be_reached(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    away = downloads(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    offline = downloads(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    for_now, for_good = await asyncio.gather(refused(away, "acme/sql"), refused(offline, "acme/sql"))
    assert (for_now.status, for_now.code, for_now.retry_after) == (503, "adapter_unavailable", 10)
    assert "cannot be reached" in caplog.text
    assert for_good.status == 404
    assert "HF_HUB_OFFLINE is set" in for_good.message


async def test_an_s3_folder(bucket: StandinBucket, tmp_path: Path) -> None:
    source = downloads(tmp_path, **bucket.environ)
    place = await source.fetch("s3://bucket/loras/sql")
    assert place == tmp_path / "volume" / "lora-cache" / "bucket" / "loras" / "sql"
    assert contents(place) == {"adapter_config.json": CONFIG, "adapter_model.safetensors": b"weights"}

    bucket.objects["bucket/loras/sql/adapter_model.safetensors"] = b"weights, trained anew"
    del bucket.asked[:]
    again = downloads(tmp_path, **bucket.environ)
    assert await again.fetch("s3://bucket/loras/sql") == place
    assert contents(place)["adapter_model.safetensors"] == b"weights, trained anew"
    assert "bucket/loras/sql/adapter_config.json" not in bucket.asked, "what has not changed is not fetched again"

    gone = {**bucket.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    assert await downloads(tmp_path, **gone).fetch("s3://bucket/loras/sql") == place, "what is here is used"


async def test_new_weights_beside_an_old_config_are_no_adapter(tmp_path: Path) -> None:
    with standin_bucket(OBJECTS) as bucket:
        gone = {**bucket.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
        await downloads(tmp_path, **bucket.environ).fetch("s3://bucket/loras/sql")
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            bucket.objects[f"bucket/loras/sql/{name}"] += b" "
            bucket.broken = {f"bucket/loras/sql/{name}"}
            for environ in (bucket.environ, gone):
                broken_off = await refused(downloads(tmp_path, **environ), "s3://bucket/loras/sql")
                assert broken_off.status == 503
            bucket.broken = set()
            place = await downloads(tmp_path, **bucket.environ).fetch("s3://bucket/loras/sql")
            assert (place / name).read_bytes() == bucket.objects[f"bucket/loras/sql/{name}"]
            assert await downloads(tmp_path, **gone).fetch("s3://bucket/loras/sql") == place


async def test_a_gguf_file_of_a_bucket(bucket: StandinBucket, tmp_path: Path) -> None:
    source = downloads(tmp_path, "gguf", **bucket.environ)
    folder, file = await asyncio.gather(source.fetch("s3://bucket/gguf"), source.fetch("s3://bucket/gguf/one.gguf"))
    assert folder == file == tmp_path / "volume" / "lora-cache" / "bucket" / "gguf" / "one.gguf"


async def test_what_a_bucket_has_not(bucket: StandinBucket, tmp_path: Path) -> None:
    source = downloads(tmp_path, **bucket.environ)
    anonymous = downloads(tmp_path, AWS_ENDPOINT_URL=bucket.url, AWS_EC2_METADATA_DISABLED="true", HOME=str(tmp_path))
    no_adapter, nothing, no_bucket, no_key = await asyncio.gather(
        refused(source, "s3://bucket/loras/notes"),
        refused(source, "s3://bucket/loras/none"),
        refused(source, "s3://none/loras/sql"),
        refused(anonymous, "s3://bucket/loras/sql"),
    )
    assert "it has no adapter_config.json" in no_adapter.message
    assert "has no files, or is not there" in nothing.message
    assert "the store has no bucket" in no_bucket.message
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in no_key.message
    bucket.refuses = True
    try:
        denied = await refused(source, "s3://bucket/loras/sql")
    finally:
        bucket.refuses = False
    assert "does not let these credentials read" in denied.message
