"""The catalog in force, over a socket: RunPod's offers where it answers, the record where it does not."""

from __future__ import annotations

from typing import Any

import pytest
from standin_server import Handler, StandinServer

from engineroom.runpod_account import RunPodAccount
from engineroom.settings import Environment
from engineroom_operations.catalog import CurrentCatalog, current

OFFERS: list[dict[str, Any]] = [
    {
        "id": "NVIDIA GeForce RTX 4090",
        "name": "RTX 4090",
        "pool": "ADA_24",
        "manufacturer": "NVIDIA",
        "memory": 24,
        "secure": True,
        "community": False,
        "price": {"secure": 0.79, "community": 0, "serverless": 1.25},
        "maxCount": {"secure": 8, "community": 0},
        "availability": "LOW",
    },
    {
        "id": "NVIDIA Rubin",
        "name": "Rubin",
        "pool": None,
        "manufacturer": "NVIDIA",
        "memory": 288,
        "secure": True,
        "community": False,
        "price": {"secure": 9.5, "community": 0},
        "maxCount": {"secure": 8, "community": 0},
    },
]


class StandinCatalog(Handler):
    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer right":
            self.answer(401, {"title": "Unauthorized", "status": 401, "detail": "no such key"})
        else:
            self.answer(200, {"gpus": OFFERS})


async def catalog(url: str, key: str) -> CurrentCatalog:
    env = Environment.of({"RUNPOD_API_URL": url, **({"RUNPOD_API_KEY": key} if key else {})})
    return await current(RunPodAccount.load(env))


async def test_runpods_prices_of_today_go_over_the_recorded_hardware() -> None:
    with StandinServer(StandinCatalog) as server:
        now = await catalog(server.url, "right")
    assert now.live
    assert "of today" in now.note
    assert now.availability == {"NVIDIA GeForce RTX 4090": "LOW"}
    known, unknown = now.catalog.gpus
    assert (known.secure_usd, known.community_usd, known.serverless_usd) == (0.79, None, 1.25)
    assert (known.bandwidth_gb_s, known.sm) == (1008, "89")
    assert (unknown.pool, unknown.memory_gb, unknown.bandwidth_gb_s) == (None, 288, None)
    assert unknown.usable_memory_bytes > 250 * 1024**3
    assert now.catalog.dates[0] == now.catalog.dates[1] == now.catalog.recorded


@pytest.mark.parametrize("key", ["", "rpa_OUTDATED"])
async def test_without_an_answer_the_record_is_taken_and_its_dates_are_stated(key: str) -> None:
    with StandinServer(StandinCatalog) as server:
        now = await catalog(server.url, key)
    assert not now.live
    assert "Prices were recorded between 2026-03-10 and 2026-11-09" in now.note
    assert ("could not be asked" in now.note) == bool(key)
    assert not key or key not in now.note
    assert len(now.catalog.gpus) >= 40


async def test_a_network_without_runpod_does_not_hold_up_the_table() -> None:
    now = await catalog("http://127.0.0.1:9", "rpa_any")
    assert not now.live
    assert "cannot be reached" in now.note
    assert "\n" not in now.note
