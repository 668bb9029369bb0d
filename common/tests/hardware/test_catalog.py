"""The record of RunPod's GPUs: complete, sourced, and looked up by the names that people use."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from engineroom.hardware import CatalogError, GpuCatalog

CATALOG = GpuCatalog.load()


def test_every_gpu_is_there_once_and_every_figure_has_a_source_with_a_date() -> None:
    assert len({gpu.id for gpu in CATALOG.gpus}) == len(CATALOG.gpus) >= 40
    for source in CATALOG.sources.values():
        assert datetime.date.fromisoformat(source.date) <= datetime.date.fromisoformat(CATALOG.recorded)
        assert source.what
        assert source.where


def test_figures_are_plausible() -> None:
    """Orders of magnitude: a slip of a digit, or of a unit, is noticed."""
    for gpu in CATALOG.gpus:
        assert 6 <= gpu.memory_gb <= 400, gpu.id
        assert gpu.memory_gb * 0.9 < gpu.usable_memory_bytes / 1024**3 <= gpu.memory_gb, gpu.id
        assert gpu.bandwidth_gb_s is None or 150 < gpu.bandwidth_gb_s < 20_000, gpu.id
        assert gpu.bf16_tflops is None or 25 < gpu.bf16_tflops < 5_000, gpu.id
        for price in (gpu.secure_usd, gpu.community_usd, gpu.serverless_usd):
            assert price is None or 0.1 < price < 20, gpu.id
        if gpu.serverless_usd and gpu.secure_usd:
            assert gpu.serverless_usd > gpu.secure_usd, f"{gpu.id}: a flex worker costs more than a pod"


def test_a_pool_has_one_serverless_price() -> None:
    for pool, gpus in CATALOG.pools.items():
        assert len({gpu.serverless_usd for gpu in gpus}) == 1, pool


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("NVIDIA GeForce RTX 4090", ["RTX 4090"]),
        ("rtx 4090", ["RTX 4090"]),
        ("4090", ["RTX 4090"]),
        ("L40", ["L40"]),
        ("h100", ["H100 SXM", "H100 NVL", "H100 PCIe"]),
        ("A100 80GB", ["A100 PCIe", "A100 SXM"]),
        ("ada_48_pro", ["L40", "L40S", "RTX 6000 Ada"]),
    ],
)
def test_a_gpu_is_looked_up_by_the_names_that_people_use(name: str, names: list[str]) -> None:
    assert [gpu.name for gpu in CATALOG.matching(name)] == names


@pytest.mark.parametrize("name", ["GTX 9000", "", "-"])
def test_an_unknown_name_lists_those_that_there_are(name: str) -> None:
    with pytest.raises(CatalogError, match="RTX 4090"):
        CATALOG.matching(name)


def test_a_figure_without_a_source_is_refused(tmp_path: Path) -> None:
    record = {"recorded": "2026-01-01", "sources": {}, "gpus": [{"id": "X", "name": "X", "manufacturer": "AMD"}]}
    record["gpus"][0] |= {"memory_gb": 16, "secure_usd": 1.0, "sources": {}}  # type: ignore[index]
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(record))
    with pytest.raises(CatalogError, match="X: id, X: secure_usd"):
        GpuCatalog.load(path)
