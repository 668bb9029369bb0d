"""Engines over the stand-in for FastDeploy: the real command line, in a Python that believes to have FastDeploy."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engineroom import plugins
from engineroom.settings import Environment, Layer
from engineroom.testing import Expectations, Target, engine_target, running
from engineroom_fastdeploy import FastDeployEngine

VERSIONS = ("2.3", "2.4", "2.5", "2.6")
PADDLES = {"2.3": "3.2.1", "2.4": "3.3.0", "2.5": "3.3.1", "2.6": "3.3.1"}
STANDIN = Path(__file__).with_name("standin")

KNOWN = {
    "ENGINE": "fastdeploy",
    "FASTDEPLOY_PYTHON": sys.executable,
    "FASTDEPLOY_CHECKS": "false",
    "START_TIMEOUT": "60",
    "STOP_TIMEOUT": "5",
}
"""Settings of an engine over the stand-in; the checks need a GPU."""

Configure = Callable[..., FastDeployEngine]


def install(folder: Path, **versions: str) -> None:
    """Metadata as pip leaves it, so that the versions are found the real way."""
    for name, version in versions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")


@contextmanager
def standin(version: str, folder: Path, site: Path | None = None, **environ: str) -> Iterator[Configure]:
    """The environment in which `python -m fastdeploy.entrypoints.openai.api_server` is the stand-in.

    Yields what makes an engine from settings; `environ` goes to its process. GPU checks are off unless asked for.

    Args:
        folder: one of pytest's, for this test or for all of a module.
        site: what that Python has beside the stand-in. By default FastDeploy of this version, in a folder that all
            tests share: it is asked once then what it has.
    """
    model = folder / "tiny-model"
    if site is None:
        site = folder.parent / f"site-{version}"
        if not site.exists():
            install(site, fastdeploy_gpu=f"{version}.0", paddlepaddle_gpu=PADDLES[version])
    model.mkdir()
    known = {**KNOWN, "MODEL_NAME": str(model)}

    def make(environment: Mapping[str, str] | None = None, **values: Any) -> FastDeployEngine:
        layers = Environment.of({**known, **values}).layers
        engine = plugins.open_engine(Environment([*layers, Layer("environment", environment or {}, owned=False)]))
        assert isinstance(engine, FastDeployEngine)
        return engine

    with pytest.MonkeyPatch.context() as patch:
        (folder / "tmp").mkdir()
        patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        for name, value in {"PYTHONPATH": f"{STANDIN}:{site}", "TMPDIR": str(folder / "tmp"), **environ}.items():
            patch.setenv(name, value)
        yield make


@pytest.fixture
def configure(version: str, tmp_path: Path) -> Iterator[Configure]:
    """Make an engine over the stand-in that plays the test's `version`."""
    with standin(version, tmp_path) as make:
        yield make


@pytest.fixture(scope="module", params=VERSIONS)
def serving_version(request: pytest.FixtureRequest) -> str:
    """The FastDeploy that the stand-in plays behind `engine`."""
    return str(request.param)


@pytest.fixture(scope="module")
async def engine(serving_version: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FastDeployEngine]:
    """A started engine for all tests of a module, once for each version."""
    with standin(serving_version, tmp_path_factory.mktemp("standin")) as make:
        made = make(ENABLE_LOGPROB="true", GUIDED_DECODING_BACKEND="xgrammar", MAX_MODEL_LEN=2048)
        async with running(made):
            yield made


def target_of(engine: FastDeployEngine) -> Target:
    """What the conformance kit talks to."""
    return engine_target(engine, Expectations(max_model_len=2048, running_metric="fastdeploy:num_requests_running"))
