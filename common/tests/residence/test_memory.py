"""The memory that models share, as it is looked at before a load and after an unload; nvidia-smi is a stand-in."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from engineroom import plugins
from engineroom.asgi import request
from engineroom.residence import engines
from engineroom.residence.machine_memory import GpuMemory, MainMemory, MemoryReading, machine_memory, wait_for_room
from engineroom.residence.resident_models import ResidentModels
from engineroom.settings import Environment


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one GPU of 24 GiB, as far as the stand-in says; the file has what is free, in MiB."""
    free = tmp_path / "free"
    free.write_text("10000")
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "24000, $(cat {free})"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(engines, "_ROOM_S", 0.0)
    return free


def models(**sizes: str) -> ResidentModels:
    table = [{"name": name, "engine": "echo", "memory": size} for name, size in sizes.items()]
    setup = plugins.set_up(Environment.of({"MODELS": json.dumps(table)}), lambda *settings: None)
    assert isinstance(setup.engine, ResidentModels)
    return setup.engine


async def ask(worker: ResidentModels, model: str) -> tuple[int, bytes]:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    async with request(worker.app, "POST", "/v1/chat/completions", json=body) as response:
        return response.status, await response.read()


async def test_models_share_the_gpus_memory_that_is_free_at_the_start(gpu: Path) -> None:
    assert isinstance(machine_memory(os.environ), GpuMemory)
    worker = models(a="6 GB", b="6 GB", c="3 GB")
    await worker.start()
    try:
        assert worker.report()["memory"]["budget_bytes"] == 10000 << 20
        for name in "abc":
            assert (await ask(worker, name))[0] == 200
        assert {model.name: model.phase for model in worker.residents()} == {
            "a": "absent",
            "b": "resident",
            "c": "resident",
        }
    finally:
        await worker.stop()


async def test_what_others_hold_is_no_room(gpu: Path) -> None:
    """A model gets the room of another that it would fit beside by the budget; where that is too little, it fails."""
    worker = models(a="4 GB", b="4 GB")
    await worker.start()
    try:
        assert (await ask(worker, "a"))[0] == 200
        gpu.write_text("1000")
        status, body = await ask(worker, "b")
        assert status == 503
        assert b"4 GB, and 1.05 GB are free" in body
        assert worker.residents()[0].phase == "absent"
        gpu.write_text("9000")
        assert (await ask(worker, "a"))[0] == 200
    finally:
        await worker.stop()


class StandinMemory:
    """Stands in for a GPU's memory, which comes back after some looks."""

    of_gpus = True

    def __init__(self, looks: int) -> None:
        self.looks = looks

    async def read(self) -> MemoryReading:
        self.looks -= 1
        return MemoryReading(100, 0 if self.looks > 0 else 80)


async def test_memory_that_comes_back_late_is_waited_for_a_bounded_time() -> None:
    assert await wait_for_room(StandinMemory(2), 50, 10) == 0
    assert await wait_for_room(StandinMemory(2), 90, 0) == 90
    assert await asyncio.wait_for(wait_for_room(StandinMemory(9), 50, 0.1), 10) == 50


async def test_the_machines_memory_is_what_a_container_may_have() -> None:
    reading = await MainMemory().read()
    assert reading is not None
    assert 0 < reading.free <= reading.total


async def test_a_gpu_that_nobody_can_ask_sets_no_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await GpuMemory({}).read() is None
