"""How many GPUs there are for this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from engineroom.hardware import gpus


@pytest.mark.parametrize(
    ("environ", "files", "expected"),
    [
        ({}, 0, 0),
        ({}, 2, 2),
        ({"CUDA_VISIBLE_DEVICES": "0,3"}, 8, 2),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1b,MIG-2c/3/0"}, 8, 2),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,2"}, 8, 1),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, 4, 4),
        ({"NVIDIA_VISIBLE_DEVICES": "none"}, 4, 0),
    ],
)
def test_gpus_are_counted_by_what_is_visible(
    environ: dict[str, str], files: int, expected: int, tmp_path: Path
) -> None:
    for number in range(files):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    assert gpus.count(environ, tmp_path) == expected


@pytest.mark.parametrize(
    ("visible", "flags", "expected"),
    [
        ("0,1,2,3", {}, 4),
        ("0,1,2,3", {"pipeline_parallel_size": 2}, 2),
        ("0,1,2,3", {"data_parallel_size": 2, "pipeline_parallel_size": 2}, 1),
        ("0,1,2,3", {"nnodes": 2, "data_parallel_size": 4}, 2),
        ("0,1,2", {"data_parallel_size": 2}, 1),
        ("0,1", {"data_parallel_size": 0}, 2),
        ("-1", {}, 0),
    ],
)
def test_a_layer_is_split_over_all_gpus_that_are_left_to_it(visible: str, flags: dict[str, int], expected: int) -> None:
    assert gpus.tensor_parallel({"CUDA_VISIBLE_DEVICES": visible}, flags) == expected
