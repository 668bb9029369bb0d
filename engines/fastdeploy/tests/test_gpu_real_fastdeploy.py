"""Real FastDeploy with a real model on a real GPU. Run by whoever has one (`pytest -m gpu engines/fastdeploy`).

FASTDEPLOY_PYTHON names the Python with FastDeploy, MODEL_NAME the model; ERNIE-4.5-0.3B by default.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest

from engineroom import plugins
from engineroom.settings import Environment
from engineroom.testing import Target, running
from engineroom.testing.suite import test_conformance
from engineroom_fastdeploy import FastDeployEngine
from engineroom_fastdeploy.installed import FASTDEPLOY, find

from .conftest import target_of

__all__ = ["test_conformance"]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(
        find(os.environ.get("FASTDEPLOY_PYTHON")).version(*FASTDEPLOY) is None, reason="needs FastDeploy"
    ),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
async def target() -> AsyncIterator[Target]:
    settings = {"ENGINE": "fastdeploy", "ENABLE_LOGPROB": "true", "GUIDED_DECODING_BACKEND": "xgrammar"}
    names = ("FASTDEPLOY_PYTHON", "MODEL_NAME", "FASTDEPLOY_SM")
    settings |= {name: os.environ[name] for name in names if name in os.environ}
    engine = plugins.open_engine(Environment.of({"MAX_MODEL_LEN": 2048, **settings}))
    assert isinstance(engine, FastDeployEngine)
    async with running(engine):
        yield target_of(engine)
