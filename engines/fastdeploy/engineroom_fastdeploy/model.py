"""The model's files, before FastDeploy starts: its own downloader asks another hub and hides every error."""

from __future__ import annotations

from collections.abc import Mapping

from engineroom.errors import EngineStartError
from engineroom.models import explain
from engineroom.process import Process

_DOWNLOAD = (
    "import sys; from huggingface_hub import snapshot_download as get; print(get(sys.argv[1], revision=sys.argv[2]))"
)


async def download(python: str, model: str, revision: str, environ: Mapping[str, str]) -> str:
    """The folder with a model's files, downloaded from Hugging Face by FastDeploy's Python, which has the client.

    Raises:
        EngineStartError: with what to do, or else the hub's own last word.
    """
    process = await Process.spawn([python, "-c", _DOWNLOAD, model, revision], name="fastdeploy", environ=environ)
    try:
        if await process.wait() == 0 and process.tail:
            return process.tail[-1]
    finally:
        await process.stop()
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    if reason := explain(model, "\n".join(process.tail), token):
        raise EngineStartError(reason, list(process.tail))
    told = process.tail[-1] if process.tail else "no reason given"
    raise EngineStartError(f"cannot download the model {model}: {told}", list(process.tail))
