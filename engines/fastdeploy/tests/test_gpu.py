"""GPU, driver and Paddle against the build, before anything is loaded; a script stands in for nvidia-smi."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engineroom.errors import EngineStartError
from engineroom.testing import running

from .conftest import Configure, install, standin


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script called nvidia-smi, first on PATH; it keeps its arguments."""
    script = tmp_path / "bin" / "nvidia-smi"
    script.parent.mkdir()
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return script


def prints(script: Path, *rows: str) -> None:
    script.write_text("#!/bin/sh\n" + f'echo "$@" > {script}.arguments\n' + "".join(f"echo '{row}'\n" for row in rows))
    script.chmod(0o755)


async def refusal(make: Configure, **values: str) -> str:
    """Why an engine does not start; it must be said before its process is."""
    engine = make(FASTDEPLOY_CHECKS="true", **values)
    with pytest.raises(EngineStartError) as refused:
        await engine.start()
    assert engine.directory is None, "the check comes before the process"
    await engine.stop()
    return str(refused.value)


@pytest.mark.parametrize(
    ("version", "row", "told"),
    [
        ("2.3", "NVIDIA L4, 8.9, 550.54.15", "NVIDIA L4 has compute capability 89"),
        ("2.4", "NVIDIA A10, 8.6, 550.54.15", "use FastDeploy 2.5 or newer"),
        ("2.4", "NVIDIA A10, 8.6, 550.54.15", "FASTDEPLOY_SM=86,89"),
        ("2.5", "Tesla T4, 7.5, 550.54.15", "built for 80, 86, 89, 90"),
        ("2.6", "NVIDIA GeForce RTX 5090, 12.0, 570.1", "has compute capability 120"),
        ("2.6", "NVIDIA B200, 10.0, 570.1", "no release is built for it; use an A100"),
        ("2.5", "NVIDIA H100 80GB HBM3, 9.0, 470.82.01", "the NVIDIA driver is 470; FastDeploy 2.5 needs 535 or newer"),
    ],
)
async def test_a_machine_that_cannot_run_it(smi: Path, configure: Configure, row: str, told: str) -> None:
    prints(smi, row)
    assert told in await refusal(configure)


@pytest.mark.parametrize("version", ["2.5"])
async def test_no_gpu(smi: Path, configure: Configure) -> None:
    smi.write_text("#!/bin/sh\nexit 9\n")
    smi.chmod(0o755)
    assert "--gpus all" in await refusal(configure)


async def test_paddle_of_another_series(smi: Path, tmp_path: Path) -> None:
    prints(smi, "NVIDIA H100, 9.0, 550.1")
    site = tmp_path / "site"
    install(site, fastdeploy_gpu="2.5.0", paddlepaddle_gpu="3.1.1")
    with standin("2.5", tmp_path, site) as make:
        told = await refusal(make)
    assert "Paddle 3.1.1 is installed beside FastDeploy 2.5" in told
    assert "install paddlepaddle-gpu 3.3.x" in told


@pytest.mark.parametrize(
    ("version", "row", "values"),
    [
        ("2.4", "NVIDIA A100-SXM4-80GB, 8.0, 535.129.03", {}),
        ("2.4", "NVIDIA L4, 8.9, 535.129.03", {"FASTDEPLOY_SM": "86,89"}),
        ("2.5", "NVIDIA L4, 8.9, 535.129.03", {}),
        ("2.6", "NVIDIA H100, 9.0, 550.1", {"CUDA_VISIBLE_DEVICES": "1"}),
    ],
)
async def test_a_machine_that_can(smi: Path, configure: Configure, row: str, values: dict[str, str]) -> None:
    prints(smi, row)
    async with running(configure(FASTDEPLOY_CHECKS="true", **values)) as engine:
        assert engine.health().ready
    asked = Path(f"{smi}.arguments").read_text()
    assert ("--id=1" in asked) == ("CUDA_VISIBLE_DEVICES" in values), "only the GPUs that FastDeploy will see"
