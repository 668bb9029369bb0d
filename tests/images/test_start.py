"""`engineroom start` outside of an image: which door it opens, and what it says of an image that there is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prepared_python import engineroom


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "RUNPOD_WEBHOOK_GET_JOB: is not set, so this is not running as a RunPod worker"),
        ({"WORKER": "runpod"}, "RUNPOD_WEBHOOK_GET_JOB: is not set"),
        (
            {"WORKER": "http", "PORT": "99999"},
            "PORT (from environment): expected at least 0 and at most 65535; got",
        ),
        ({"WORKER": "ray"}, "WORKER (from environment): expected one of runpod, http; got 'ray'"),
        ({"ENGINEROOM_IMAGE": "vllm-0.1-cu999"}, "matrix.json is not an image matrix"),
    ],
)
def test_the_door_that_worker_names_is_opened(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    given = {"PATH": os.environ["PATH"], "ENGINE": "echo", **environ}
    done = engineroom("start", environ=given, folder=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
