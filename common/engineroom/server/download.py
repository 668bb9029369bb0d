"""A model downloaded by the engine's own Python, in a process that can be stopped at any time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import EngineStartError
from ..models import fetch
from ..models.hub import explain
from ..process.child import Process


class ModelDownload:
    """A repository of the Hugging Face Hub on its way into a cache folder. `await stop()` it always.

    Args:
        python: the interpreter that has `huggingface_hub`.
        repository: `org/name`.
        environ: the engine's own environment, so that both look into the same cache with the same token.
        revision: a branch, tag or commit; `main` by default.
        cache: a cache folder; the hub client's own by default.
        one_format: leave out weights that the repository has once more in another format.
    """

    def __init__(
        self,
        python: str,
        repository: str,
        environ: Mapping[str, str],
        *,
        revision: str | None = None,
        cache: str | None = None,
        one_format: bool = False,
    ) -> None:
        self._repository = repository
        self._environ = environ
        self._command = [python, str(Path(fetch.__file__)), repository]
        if revision:
            self._command += ["--revision", revision]
        if cache:
            self._command += ["--cache", cache]
        if one_format:
            self._command.append("--one-format")
        self._process: Process | None = None

    async def start(self, name: str) -> None:
        """Begin, and return at once. What the process writes is logged as that of the engine `name`."""
        self._process = await Process.spawn(self._command, name=f"{name}.fetch", environ=self._environ, grace=1)

    async def folder(self) -> str:
        """Wait until it is complete; the folder with the files.

        Raises:
            EngineStartError: with what to do, or else the hub's own last word.
        """
        assert self._process is not None
        returncode = await self._process.wait()
        lines = list(self._process.tail)
        last = lines[-1] if lines else "no reason given"
        if returncode == 0 and lines:
            return last
        token = self._environ.get("HF_TOKEN") or self._environ.get("HUGGING_FACE_HUB_TOKEN")
        reason = explain(self._repository, "\n".join(lines), token)
        raise EngineStartError(reason or f"cannot download the model {self._repository}: {last}", lines)

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()
            self._process = None
