"""The names of adapters: what a folder has, what may be downloaded, and what no client may reach."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from gguf_lora import write

from engineroom.adapters import AdapterSettings, AdapterSources
from engineroom.errors import APIError, SettingsError
from engineroom.settings import Environment

Download = Callable[[str], Awaitable[Path]]


@pytest.fixture(autouse=True)
def always_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engineroom.adapters.sources._LOOK_S", 0.0)


def peft(folder: Path, rank: int = 8) -> Path:
    """The files of an adapter in PEFT's layout; its weights are none."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": rank}))
    (folder / "adapter_model.safetensors").write_bytes(b"not really weights")
    return folder


async def no_download(name: str) -> Path:
    raise AssertionError(f"{name} must not be downloaded")


def sources(folder: Path | None, *allowed: str, download: Download = no_download) -> AdapterSources:
    settings = AdapterSettings.load(Environment.of({"LORA_DIR": str(folder or ""), "LORA_SOURCES": ",".join(allowed)}))
    return AdapterSources(settings, "peft", download)


async def test_each_subfolder_is_an_adapter_and_new_ones_are_noticed(tmp_path: Path) -> None:
    sql = peft(tmp_path / "sql")
    (tmp_path / "notes").mkdir()
    (tmp_path / "README.md").write_text("")
    adapters = sources(tmp_path)
    assert not adapters.knows("sql")
    assert await adapters.names() == ("sql",)
    assert adapters.knows("sql")
    assert (await adapters.obtain("sql")).path == sql

    peft(tmp_path / "chat")
    assert not adapters.knows("chat")
    assert await adapters.exists("chat")
    assert (await adapters.obtain("chat")).path == tmp_path / "chat"
    assert adapters.knows("chat")

    (tmp_path / "chat" / "adapter_config.json").unlink()
    with pytest.raises(APIError) as raised:
        await adapters.obtain("chat")
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")
    assert not adapters.knows("chat")


async def test_changed_files_are_another_version(tmp_path: Path) -> None:
    peft(tmp_path / "sql")
    adapters = sources(tmp_path)
    before = await adapters.obtain("sql")
    assert await adapters.obtain("sql") == before
    (tmp_path / "sql" / "adapter_model.safetensors").write_bytes(b"other weights altogether")
    assert (await adapters.obtain("sql")).version != before.version


@pytest.mark.parametrize(
    "name", ["../secret", "..", ".", "", "/etc", "sql/../../secret", ".hidden", "sql\0", "x" * 500, "s3://bucket/x"]
)
async def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    peft(tmp_path / "secret")
    peft(tmp_path / "loras" / ".hidden")
    adapters = sources(tmp_path / "loras")
    assert not await adapters.exists(name)
    with pytest.raises(APIError):
        await adapters.obtain(name)
    assert await adapters.names() == ()


async def test_gguf_adapters_are_files_or_in_folders(tmp_path: Path) -> None:
    write(tmp_path / "one.gguf")
    (tmp_path / "two").mkdir()
    write(tmp_path / "two" / "lora-f16.gguf")
    peft(tmp_path / "three")
    (tmp_path / "model.gguf").write_bytes(b"GGUF and no adapter")
    settings = AdapterSettings(lora_dir=str(tmp_path))
    adapters = AdapterSources(settings, "gguf", no_download)
    assert await adapters.names() == ("one", "two")
    assert (await adapters.obtain("two")).path == tmp_path / "two" / "lora-f16.gguf"


@pytest.mark.parametrize(
    ("source", "allowed", "refused"),
    [
        ("acme/sql", ["acme/sql"], ["acme/chat", "acme/sql2", "other/sql", "acme"]),
        ("acme/*", ["acme/sql", "acme/a.b-c_d"], ["acme/a/b", "acmee/sql", "acme/", "../acme/x", "acme/.."]),
        (
            "s3://bucket/loras/*",
            ["s3://bucket/loras/a", "s3://bucket/loras/a/b"],
            ["s3://bucket/x", "s3://other/loras/a"],
        ),
        (
            "s3://bucket/loras/*",
            [],
            ["s3://bucket/loras/../x", "s3://bucket/loras/a?versionId=1", "https://bucket/loras/a"],
        ),
        ("s3://bucket/a/", ["s3://bucket/a"], ["s3://bucket/a/b"]),
    ],
)
async def test_only_what_is_allowed_may_be_downloaded(source: str, allowed: list[str], refused: list[str]) -> None:
    adapters = sources(None, source)
    assert all([await adapters.exists(name) for name in allowed])
    assert not any([await adapters.exists(name) for name in refused])
    assert not any(adapters.knows(name) for name in allowed), "nobody knows yet whether it is there"


async def test_a_download_is_shared_and_outlives_its_clients(tmp_path: Path) -> None:
    place = peft(tmp_path / "here")
    gate = asyncio.Event()
    downloads = []

    async def download(name: str) -> Path:
        downloads.append(name)
        await gate.wait()
        return place

    adapters = sources(None, "acme/*", download=download)
    first, second = (asyncio.ensure_future(adapters.obtain("acme/sql")) for _ in range(2))
    await asyncio.sleep(0.05)
    first.cancel()
    gate.set()
    assert (await second).path == place
    assert (await adapters.obtain("acme/sql")).path == place
    assert downloads == ["acme/sql"]
    assert adapters.knows("acme/sql")
    assert await adapters.names() == ("acme/sql",)


async def test_downloads_that_nobody_waits_for_do_not_pile_up(tmp_path: Path) -> None:
    place = peft(tmp_path / "here")
    gate = asyncio.Event()
    downloads: list[str] = []

    async def download(name: str) -> Path:
        downloads.append(name)
        await gate.wait()
        return place

    adapters = sources(None, "acme/*", download=download)
    requests = [asyncio.ensure_future(adapters.obtain(f"acme/{number}")) for number in range(100)]
    await asyncio.sleep(0.05)
    for request in requests:
        request.cancel()
    await asyncio.gather(*requests, return_exceptions=True)
    last = asyncio.ensure_future(adapters.obtain("acme/last"))
    await asyncio.sleep(0.01)
    gate.set()
    assert (await last).path == place
    assert len(downloads) == 5, "four had begun, and the last one is for somebody"


async def test_closing_ends_downloads() -> None:
    ended = asyncio.Event()

    async def download(name: str) -> Path:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    adapters = sources(None, "acme/*", download=download)
    waiting = asyncio.ensure_future(adapters.obtain("acme/sql"))
    await asyncio.sleep(0.05)
    await adapters.close()
    assert ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"LORA_DIR": "/no/such/folder"}, "there is no folder /no/such/folder"),
        ({"LORA_DIR": "{itself}"}, "is an adapter itself; name the folder that it is in"),
        ({"LORA_SOURCES": "acme"}, "'acme' is neither a repository nor an S3 folder"),
        ({"LORA_SOURCES": "acme/sql, s3://bucket"}, "'s3://bucket' is neither"),
        ({"LORA_SOURCES": "https://huggingface.co/acme/sql"}, "is neither a repository nor an S3 folder"),
        ({"LORA_SOURCES": "acme/*/sql"}, "is neither a repository nor an S3 folder"),
    ],
)
def test_wrong_settings_are_told(values: dict[str, str], expected: str, tmp_path: Path) -> None:
    peft(tmp_path / "itself")
    environment = {name: value.format(itself=tmp_path / "itself") for name, value in values.items()}
    with pytest.raises(SettingsError) as raised:
        AdapterSettings.load(Environment.of(environment))
    assert expected in str(raised.value)
