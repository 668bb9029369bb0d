"""A model on its way from the hub: a process that can be stopped at any time, and how far it is."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import EngineStartError
from ..process.child import Process
from ..progress import Progress
from ..timeline import Timeline
from .hub import client_environ

logger = logging.getLogger(__name__)

_POLL_S = 0.2


class DownloadedModel(NamedTuple):
    """A model that is on this machine now.

    folder: its snapshot in the cache.
    first: its GGUF file, the first of its parts; None for a model that is the folder.
    """

    folder: Path
    first: Path | None

    @property
    def place(self) -> Path:
        """What an engine loads: the GGUF file or the folder."""
        return self.first or self.folder


class ModelDownload:
    """A repository of the Hugging Face Hub on its way into a cache. `await stop()` it always.

    It goes on where an earlier try was broken off, and what is whole already is not fetched again.

    Args:
        repository: `org/name`.
        environ: the hub client's environment, as the engine's own process has it.
        timeline: gets the progress.
        revision: a branch, tag or commit; `main` by default.
        cache: a cache folder; the hub client's own by default.
        wanted: the quantisation or GGUF file that is meant.
        formats: the formats of weights to take, the best first; any by default.
        weights: whether the weights are wanted, and not only what is beside them, as of a tokenizer.
        client: leave large files to the hub's client, which is fast but begins a file that was broken off anew.
    """

    def __init__(
        self,
        repository: str,
        environ: Mapping[str, str],
        timeline: Timeline,
        *,
        revision: str | None = None,
        cache: str | None = None,
        wanted: str = "",
        formats: Sequence[str] = (),
        weights: bool = True,
        client: bool = False,
    ) -> None:
        self._repository = repository
        self._environ = client_environ(environ)
        self._timeline = timeline
        self._command = [sys.executable, "-m", "engineroom.models.fetch", repository, "--formats", ",".join(formats)]
        named = {"--revision": revision, "--cache": cache, "--wanted": wanted}
        for option, value in named.items():
            if value:
                self._command += [option, value]
        if not weights:
            self._command.append("--without-weights")
        if client:
            self._command.append("--client")
        self._process: Process | None = None
        self._watch: asyncio.Task[DownloadedModel] | None = None
        self._notes: set[str] = set()
        self.explained = False
        """Whether it failed for a reason that is known."""

    async def start(self) -> None:
        """Begin, and return once the hub has said what there is, or has not within five seconds.

        Raises:
            EngineStartError: with what to do, or else the hub's own last word.
        """
        self._process = await Process.spawn(self._command, name="fetch", environ=self._environ, grace=1, log=False)
        self._watch = asyncio.ensure_future(self._follow(self._process))
        while not self._watch.done() and not self._answers(self._process):
            await asyncio.wait({self._watch}, timeout=_POLL_S)
        if self._watch.done():
            self._watch.result()

    async def model(self) -> DownloadedModel:
        """Wait until it is complete.

        Raises:
            EngineStartError: with what to do, or else the hub's own last word.
        """
        assert self._watch is not None
        return await asyncio.shield(self._watch)

    async def stop(self) -> None:
        """End it. What has been downloaded is kept for the next try."""
        self._timeline.progress = None
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def _follow(self, process: Process) -> DownloadedModel:
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=_POLL_S)
                self._report(process)
        finally:
            ended.cancel()
        self._timeline.progress = None
        answer = next(iter(self._answers(process)), {})
        if "folder" in answer:
            folder = Path(answer["folder"])
            return DownloadedModel(folder, folder / answer["first"] if answer["first"] else None)
        self.explained = bool(answer.get("explained"))
        last = process.tail[-1] if process.tail else "no reason given"
        raise EngineStartError(answer.get("error") or f"cannot download {self._repository}: {last}")

    def _report(self, process: Process) -> None:
        answers = self._answers(process)
        for answer in answers:
            note = answer.get("note")
            if note and note not in self._notes:
                self._notes.add(note)
                logger.info("%s", note)
        latest = next((answer for answer in answers if "total" in answer), None)
        if latest is not None:
            self._timeline.progress = Progress(self._repository, latest["done"], latest["total"])

    @staticmethod
    def _answers(process: Process) -> list[dict[str, Any]]:
        """What the process has said of late, the last first; what its libraries write is left out."""
        return [json.loads(line) for line in reversed(process.tail) if line.startswith("{")]


async def download(repository: str, environ: Mapping[str, str], timeline: Timeline, **options: Any) -> DownloadedModel:
    """Download a model, and return once it is complete.

    Args:
        options: those of `ModelDownload`.

    Raises:
        EngineStartError: with what to do, or else the hub's own last word.
    """
    under_way = ModelDownload(repository, environ, timeline, **options)
    try:
        await under_way.start()
        return await under_way.model()
    finally:
        await under_way.stop()
